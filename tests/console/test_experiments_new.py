"""The form of a new experiment: from the input to the configuration file."""

import re

import pytest
from playwright.sync_api import Page, expect

from tests.conftest import LiveService
from tests.console.browsing import check_accessibility
from tests.console.experimenting import agree, configured, create, takes_out


# The first test needs a service without experiments and runs.
def test_without_experiments_the_list_links_to_a_new_one_whose_plan_names_what_is_missing(page: Page):
    page.goto("/#/experiments")
    expect(page.locator(".empty")).to_contain_text("还没有实验")
    page.locator(".empty").get_by_role("link", name="新建实验").click()
    expect(page).to_have_url(re.compile("#/experiments/new$"))
    expect(page.locator("[data-plan=none]")).to_contain_text("还没有总工期的运行记录")
    expect(page.get_by_role("heading", name="新建实验")).to_be_focused()


def test_the_form_creates_the_experiment_that_it_describes(page: Page, console: LiveService):
    page.goto("/#/experiments/new")
    page.get_by_label("实验名称").fill("from_the_form")
    page.get_by_label("A 组（基线）").select_option(label="DDQN v1.0.0 · 已部署 · stable")
    page.get_by_label("B 组（候选）").select_option(label="DDQN v2.0.0 · 已验证 · latest")
    page.get_by_role("slider", name="候选份额").fill("30")
    expect(page.get_by_label("B 组份额（%）")).to_have_value("30")
    page.get_by_label("天数").fill("14")
    page.get_by_text("高级设置").click()
    page.get_by_label("不劣界限（%）").fill("3")
    page.get_by_label("参与用户（%）").fill("80")
    page.get_by_label("计算时间 P95 延长（%）").fill("")
    page.get_by_label("模型自身排程的总工期延长（%）").fill("8")
    page.get_by_label("影子运行（% 的请求）").fill("25")
    page.get_by_role("button", name="创建实验").click()
    text = " ".join(agree(page, "创建实验"))
    for sentence in ("A 70 % · B 30 %", "只有 80 % 的用户参与", "25 % 的请求", "默认模型现在不变", "14 天后"):
        assert sentence in text
    expect(page).to_have_url(re.compile("#/experiments/from_the_form$"))
    expect(page.locator(".page-head")).to_contain_text("进行中")
    created = configured(console)["experiments"]["from_the_form"]
    models = {each["version"]: each["model_key"] for each in console.get("/models").json()["models"]}
    assert (created["model_a"], created["model_b"]) == (models["1.0.0"], models["2.0.0"])
    assert created["traffic_split"] == {"model_a": 0.7, "model_b": 0.3}
    assert (created["duration_days"], created["margin"], created["coverage"], created["shadow"]) == (
        14,
        0.03,
        0.8,
        0.25,
    )
    assert created["guardrails"] == {"makespan": 0.05, "policy_makespan": 0.08, "success": 0.05}


def test_mistakes_are_shown_beside_their_fields_and_nothing_is_created(page: Page, console: LiveService, mistakes):
    before = configured(console)
    page.goto("/#/experiments/new")
    page.get_by_role("button", name="创建实验").click()
    name = page.get_by_label("实验名称")
    expect(name).to_be_focused()
    expect(name).to_have_attribute("aria-invalid", "true")
    expect(page.locator("form [role=alert]")).to_contain_text("有 1 处需要改正：实验名称")
    name.fill("no spaces, please")
    expect(page.locator(".field", has=name).locator(".error")).to_contain_text("只能用字母、数字")
    name.fill("well_named")
    baseline = page.get_by_label("A 组（基线）")
    page.get_by_label("B 组（候选）").select_option(baseline.input_value())
    expect(page.locator(".field .error", has_text="这个模型已经在另一组")).to_be_visible()
    page.get_by_label("B 组（候选）").select_option(label="DDQN v1.0.0 · 已部署 · stable")
    page.get_by_label("灰度发布").check()
    stages = page.get_by_label("各阶段的候选份额（%）")
    stages.fill("10, 80, 100")
    expect(page.locator(".field", has=stages).locator(".error")).to_contain_text("倒数第二级不超过 50")
    page.get_by_role("button", name="创建实验").click()
    expect(stages).to_be_focused()
    expect(page.get_by_role("dialog")).to_have_count(0)
    check_accessibility(page)
    assert configured(console) == before
    takes_out(mistakes)


def test_an_empty_field_is_reported_and_not_replaced_by_a_default(page: Page):
    page.goto("/#/experiments/new")
    page.get_by_label("实验名称").fill("left_empty")
    page.get_by_text("高级设置").click()
    labels = ("天数", "误判概率上限（%）", "不劣界限（%）", "每组最少样本数", "参与用户（%）")
    fields = [page.get_by_role("spinbutton", name=label) for label in labels]
    for field in fields:
        field.fill("")
    page.get_by_text("高级设置").click()
    page.get_by_role("button", name="创建实验").click()
    expect(fields[0]).to_be_focused()
    for field in fields:
        expect(page.locator(".field", has=field).locator(".error")).to_have_text("必填")
    expect(page.get_by_role("dialog")).to_be_hidden()
    for field in fields:
        field.fill("7")
    page.get_by_role("button", name="创建实验").click()
    expect(page.get_by_role("dialog")).to_contain_text("7 天后")


@pytest.mark.parametrize("days", ["0", "99999999999"])  # the second one is beyond every date
def test_the_latest_input_is_judged(page: Page, mistakes, days: str):
    page.goto("/#/experiments/new")
    page.get_by_label("实验名称").fill("judged")
    field = page.get_by_role("spinbutton", name="天数")
    field.fill(days)
    field.press("Enter")  # before the estimate was requested
    expect(page.locator(".field", has=field).locator(".error")).to_contain_text("不超过 3650")
    expect(page.get_by_role("dialog")).to_be_hidden()
    field.fill("7")
    field.press("Enter")
    expect(page.get_by_role("dialog")).to_contain_text("7 天后")
    takes_out(mistakes)


def test_a_failed_estimate_does_not_prevent_an_experiment(page: Page, mistakes):
    page.goto("/#/experiments/new")
    page.get_by_label("实验名称").fill("not_hindered")
    page.get_by_label("想要发现的最小改进（%）").fill("0")
    expect(page.locator(".plan .error")).to_be_visible()
    page.get_by_role("button", name="创建实验").click()
    expect(page.get_by_role("dialog")).to_be_visible()
    takes_out(mistakes)


def test_invalid_shares_of_three_arms_are_reported_at_their_fields(page: Page, third: str, mistakes):
    page.goto("/#/experiments/new")
    page.get_by_label("实验名称").fill("three_arms")
    page.get_by_role("button", name="再加一个候选").click()
    page.get_by_label("C 组（候选）").select_option(third)
    shares = [page.get_by_label(f"{letter} 组份额（%）") for letter in "ABC"]
    for share, value in zip(shares, ("-10", "60", "50"), strict=True):  # which sum to 100
        share.fill(value)
    expect(shares[0]).to_have_attribute("aria-invalid", "true")
    expect(page.locator("#shares-error")).to_contain_text("0 到 100 之间")
    shares[1].fill("")
    expect(page.locator("#shares-error")).to_contain_text("合计 40%")
    for share, value in zip(shares, ("20", "30", "50"), strict=True):
        share.fill(value)
    expect(page.locator("#shares-error")).to_have_count(0)
    takes_out(mistakes)


def test_small_shares_are_shown_exactly(page: Page, console: LiveService):
    page.goto("/#/experiments/new")
    page.get_by_label("实验名称").fill("small_share")
    page.get_by_label("B 组份额（%）").fill("0.4")
    page.get_by_role("button", name="创建实验").click()
    assert any("A 99.6 % · B 0.4 %" in each for each in agree(page, "创建实验"))
    expect(page.locator("[data-event=created]")).to_contain_text("候选份额 0.4 %")
    page.get_by_role("link", name="全部实验").click()
    expect(page.get_by_role("row", name=re.compile("small_share"))).to_contain_text("0.4 %")
    assert configured(console)["experiments"]["small_share"]["traffic_split"] == {"model_a": 0.996, "model_b": 0.004}


def test_the_days_of_a_rollout_are_shown_if_given_and_the_list_has_no_bar_otherwise(page: Page, console: LiveService):
    page.goto("/#/experiments/new")
    page.get_by_label("实验名称").fill("some_days")
    page.get_by_label("灰度发布").check()
    expect(page.get_by_role("spinbutton", name="天数")).to_have_value("")
    page.get_by_role("spinbutton", name="天数").fill("30")
    page.get_by_role("button", name="创建实验").click()
    assert any("30 天后" in each for each in agree(page, "创建实验"))
    expect(page.locator("[data-event=created]")).to_be_visible()
    create(
        console, "no_days", model_a=configured(console)["default_model"], model_b="DDQN_v1.0", rollout={"auto": False}
    )
    page.get_by_role("link", name="全部实验").click()
    row = page.get_by_role("row", name=re.compile("some_days"))
    expect(row).to_contain_text("第 1 天，共 30 天")
    expect(row.get_by_role("progressbar")).to_have_count(1)
    row = page.get_by_role("row", name=re.compile("no_days"))
    expect(row).to_contain_text("第 1 天")
    expect(row.get_by_role("progressbar")).to_have_count(0)


def test_a_name_in_use_is_reported_by_the_service(page: Page, console: LiveService, mistakes):
    create(console, "taken")
    page.goto("/#/experiments/new")
    page.get_by_label("实验名称").fill("taken")
    page.get_by_role("button", name="创建实验").click()
    agree(page, "创建实验")
    expect(page.locator("form [role=alert]")).to_contain_text("taken 已被使用")
    takes_out(mistakes)
