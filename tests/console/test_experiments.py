"""The experiments' page: from a click to the file of the experiments, and from recorded runs to what is shown."""

import json
import re
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, Response, Route, expect

from monitoring import PerformanceMonitor, PerformanceRecord
from scheduler_service.http.runs.shadowing import MAX_WAITING
from scheduler_service.keys import digest_of
from tests.conftest import LiveService, live_service
from tests.console.browsing import check_accessibility, check_both_sizes
from tests.console.conftest import NARROW
from tests.waiting import until

USERS = 130
HTTP_ERROR = "Failed to load resource"


def configured(console: LiveService) -> dict[str, Any]:
    """The file of the experiments."""
    told: dict[str, Any] = json.loads((console.home / "ab_test_config.json").read_text("utf-8"))
    return told


def create(console: LiveService, name: str, **more: Any) -> None:
    body = {"experiment_name": name, "model_a": "DDQN_v1.0", "model_b": "DDQN_v2.0"} | more
    answer = console.post("/experiments", json=body)
    assert answer.status_code == 201, answer.text


def ask(console: LiveService, experiment: str, users: Iterable[int]) -> None:
    """One request of each user, each with a plant of their own."""
    for user in users:
        params = [6 + user % 9, 5, 8, 6, 7, 4 + user % 11, 6, 7, 6, 7, 7, 3 + user % 7, 4, 7, 5]
        console.run(params=params, experiment=experiment, user_id=f"planner_{user}", time_budget_ms=0)


def agree(page: Page, action: str, *, reason: str = "", actor: str = "") -> list[str]:
    """Agrees in the dialog, and answers what it said would happen."""
    dialog = page.get_by_role("dialog")
    expect(dialog).to_be_visible()
    if reason:
        dialog.get_by_label("原因").fill(reason)
    if actor:
        dialog.get_by_label("操作人").fill(actor)
    told = dialog.get_by_role("listitem").all_inner_texts()
    dialog.get_by_role("button", name=action, exact=True).click()
    expect(dialog).to_be_hidden()
    return told


def signed(value: float) -> str:
    return f"{'+' if value > 0 else '−' if value < 0 else ''}{abs(value):.2f} %"


def takes_out(mistakes: list[str], count: int = 1) -> None:
    """Refused requests, which the browser complains of; nothing else may be there."""
    page_errors = [each for each in mistakes if HTTP_ERROR not in each]
    assert page_errors == []
    assert len(mistakes) >= count
    mistakes.clear()


@pytest.fixture(scope="module")
def compared(console: LiveService) -> dict[str, Any]:
    """The results of an experiment with shadow runs, after every user asked once."""
    create(console, "compared", shadow=1, traffic_split={"model_a": 0.5, "model_b": 0.5}, actor="王工")
    monitor = PerformanceMonitor(console.home / "logs" / "performance.db")
    for begin in range(0, USERS, MAX_WAITING):  # what the queue cannot take is dropped, by design
        users = range(begin, min(begin + MAX_WAITING, USERS))
        ask(console, "compared", users)
        # In the background, once no client waits.
        until(lambda: len(monitor.get_pairs("compared")) >= users.stop, f"{users.stop} pairs")  # noqa: B023
    monitor.close()
    told: dict[str, Any] = console.get("/experiments/compared/results").json()["results"]
    assert told["verdict"] == "better"
    return told


# --- a new one; the first test needs a service without experiments and runs ---


def test_without_experiments_the_list_leads_to_a_new_one_whose_plan_says_what_is_missing(page: Page):
    page.goto("/#/experiments")
    expect(page.locator(".empty")).to_contain_text("还没有实验")
    page.locator(".empty").get_by_role("link", name="新建实验").click()
    expect(page).to_have_url(re.compile("#/experiments/new$"))
    expect(page.locator("[data-plan=none]")).to_contain_text("还没有可用的运行记录")
    expect(page.get_by_role("heading", name="新建实验")).to_be_focused()


def test_the_form_makes_the_experiment_that_it_says_it_will(page: Page, console: LiveService):
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
    page.get_by_label("计算时间 P95 变慢（%）").fill("")
    page.get_by_label("模型自身排程的完工时间延长（%）").fill("8")
    page.get_by_label("影子运行（% 的请求）").fill("25")
    page.get_by_role("button", name="创建实验").click()
    told = " ".join(agree(page, "创建实验"))
    for sentence in ("A 70 % · B 30 %", "只有 80 % 的用户参与", "25 % 的请求", "默认模型现在不变", "14 天后"):
        assert sentence in told
    expect(page).to_have_url(re.compile("#/experiments/from_the_form$"))
    expect(page.locator(".page-head")).to_contain_text("进行中")
    made = configured(console)["experiments"]["from_the_form"]
    models = {each["version"]: each["model_key"] for each in console.get("/models").json()["models"]}
    assert (made["model_a"], made["model_b"]) == (models["1.0.0"], models["2.0.0"])
    assert made["traffic_split"] == {"model_a": 0.7, "model_b": 0.3}
    assert (made["duration_days"], made["margin"], made["coverage"], made["shadow"]) == (14, 0.03, 0.8, 0.25)
    assert made["guardrails"] == {"makespan": 0.05, "policy_makespan": 0.08, "success": 0.05}


def test_mistakes_are_told_beside_their_fields_and_nothing_is_made(page: Page, console: LiveService, mistakes):
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


def test_an_empty_field_is_told_and_not_filled_in_by_the_service(page: Page):
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


@pytest.mark.parametrize("days", ["0", "99999999999"])  # the second is beyond every date
def test_what_was_entered_last_is_what_is_judged(page: Page, mistakes, days: str):
    page.goto("/#/experiments/new")
    page.get_by_label("实验名称").fill("judged")
    field = page.get_by_role("spinbutton", name="天数")
    field.fill(days)
    field.press("Enter")  # before the estimate was asked for
    expect(page.locator(".field", has=field).locator(".error")).to_contain_text("不超过 3650")
    expect(page.get_by_role("dialog")).to_be_hidden()
    field.fill("7")
    field.press("Enter")
    expect(page.get_by_role("dialog")).to_contain_text("7 天后")
    takes_out(mistakes)


def test_an_estimate_that_is_asked_for_wrongly_hinders_no_experiment(page: Page, mistakes):
    page.goto("/#/experiments/new")
    page.get_by_label("实验名称").fill("not_hindered")
    page.get_by_label("想要发现的最小改进（%）").fill("0")
    expect(page.locator(".plan .error")).to_be_visible()
    page.get_by_role("button", name="创建实验").click()
    expect(page.get_by_role("dialog")).to_be_visible()
    takes_out(mistakes)


@pytest.fixture
def third(console: LiveService) -> Iterator[str]:
    """The key of one more model."""
    (weights,) = (console.home / "models").rglob("*_v1.0.0.pth")
    body = {"model_path": str(weights), "algorithm_name": "DDQN", "bump": "major", "created_by": "tests"}
    answer = console.post("/models/register", json=body)
    assert answer.status_code == 201, answer.text
    key = answer.json()["model_key"]
    yield key
    console.delete(f"/models/{key}").raise_for_status()


def test_wrong_shares_of_three_arms_are_told_and_found(page: Page, third: str, mistakes):
    page.goto("/#/experiments/new")
    page.get_by_label("实验名称").fill("three_arms")
    page.get_by_role("button", name="再加一个候选").click()
    page.get_by_label("C 组（候选）").select_option(third)
    shares = [page.get_by_label(f"{letter} 组份额（%）") for letter in "ABC"]
    for share, value in zip(shares, ("-10", "60", "50"), strict=True):  # which add up to 100
        share.fill(value)
    expect(shares[0]).to_have_attribute("aria-invalid", "true")
    expect(page.locator("#shares-error")).to_contain_text("0 到 100 之间")
    shares[1].fill("")
    expect(page.locator("#shares-error")).to_contain_text("合计 40%")
    for share, value in zip(shares, ("20", "30", "50"), strict=True):
        share.fill(value)
    expect(page.locator("#shares-error")).to_have_count(0)
    takes_out(mistakes)


def test_one_arm_of_three_is_stopped_alone_and_shown_as_stopped(page: Page, console: LiveService, third: str):
    create(console, "arm_stopped", model_c=third)
    page.goto("/#/experiments/arm_stopped")
    page.locator(".moves select").select_option("model_c")
    page.get_by_role("button", name="停止 C 组").click()
    told = agree(page, "停止 C 组", reason="人员不够", actor="王工")
    assert any("C 组的用户（占全部 33.33 %）" in each for each in told)
    expect(page.locator("[data-stopped=model_c]")).to_be_visible()
    expect(page.locator("[data-stopped]")).to_have_count(1)
    expect(page.locator("[data-event=arm_stopped]")).to_contain_text("停止 C 组")
    expect(page.locator("[data-event=arm_stopped]")).to_contain_text("候选份额 33.33 %")
    assert list(configured(console)["experiments"]["arm_stopped"]["stopped_arms"]) == ["model_c"]
    page.get_by_role("group", name="候选", exact=True).get_by_role("button", name="C 组").click()
    expect(page.locator(".verdict .next")).to_contain_text("C 组已停止")
    users = (f"user_{number}" for number in range(100))
    path = "/experiments/arm_stopped/assignment?user_id="
    user = next(each for each in users if console.get(path + each).json()["assignment"]["stopped_arm"])
    page.get_by_label("用户 ID").fill(user)
    page.get_by_role("button", name="查询").click()
    expect(page.locator("[data-assignment]")).to_contain_text("该组已停止")
    check_accessibility(page)
    page.locator(".moves select").select_option("model_b")
    expect(page.locator("[data-move=stop_arm]")).to_have_count(0)  # the last one is stopped with the experiment
    console.post("/experiments/arm_stopped/conclude")


def test_small_shares_are_told_as_they_are(page: Page, console: LiveService):
    page.goto("/#/experiments/new")
    page.get_by_label("实验名称").fill("small_share")
    page.get_by_label("B 组份额（%）").fill("0.4")
    page.get_by_role("button", name="创建实验").click()
    assert any("A 99.6 % · B 0.4 %" in each for each in agree(page, "创建实验"))
    expect(page.locator("[data-event=created]")).to_contain_text("候选份额 0.4 %")
    page.get_by_role("link", name="全部实验").click()
    expect(page.get_by_role("row", name=re.compile("small_share"))).to_contain_text("0.4 %")
    assert configured(console)["experiments"]["small_share"]["traffic_split"] == {"model_a": 0.996, "model_b": 0.004}


def test_the_days_of_a_rollout_are_told_where_they_are_said_and_the_list_shows_no_bar_where_not(
    page: Page, console: LiveService
):
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


def test_a_name_that_is_taken_is_told_by_the_service(page: Page, console: LiveService, mistakes):
    create(console, "taken")
    page.goto("/#/experiments/new")
    page.get_by_label("实验名称").fill("taken")
    page.get_by_role("button", name="创建实验").click()
    agree(page, "创建实验")
    expect(page.locator("form [role=alert]")).to_contain_text("taken 已被使用")
    takes_out(mistakes)


# --- what an experiment says ---


def test_what_is_shown_are_the_figures_of_the_results(page: Page, compared: dict[str, Any]):
    page.goto("/#/experiments/compared")
    effect, pairs = compared["anytime_effect"], compared["paired"]["shadow"]
    card = page.locator(".verdict")
    expect(card.locator(".word")).to_have_text("更优")
    expect(card.locator(".figure strong")).to_have_text(signed(effect["improvement_percentage"]))
    expect(card.locator(".figure")).to_contain_text(" 至 ".join(map(signed, effect["confidence_sequence"])))
    expect(card.locator("[data-verdict]")).to_have_text(
        f"B 优于 A：完工时间平均缩短 {effect['improvement_percentage']:.2f} %，依据 {pairs['pairs']} 次配对比较"
        f"（同一请求由两个模型分别排程，来自 {pairs['users']} 名用户）。"
    )
    users, requests = compared["users"], compared["total_requests"]
    expect(card).to_contain_text(f"{users['model_a']} / {users['model_b']}")
    expect(card).to_contain_text(f"请求 {requests['model_a']} / {requests['model_b']}")
    expect(page.locator("[data-srm]")).to_contain_text(f"p = {compared['srm_p_value']:.2f}")
    for guardrail in compared["guardrails"]:
        expect(page.locator(f"[data-guardrail={guardrail['name']}]")).to_have_attribute(
            "data-state", guardrail["state"]
        )
    longer, rarer = (page.locator(f"[data-guardrail={name}] .figures") for name in ("makespan", "success"))
    expect(longer).to_have_text(re.compile(r"^[+−]?\d+\.\d % \([+−]?\d+\.\d % … [+−]?\d+\.\d %\)$"))
    expect(rarer).to_have_text(re.compile(r"^[+−]?\d+\.\d \([+−]?\d+\.\d … [+−]?\d+\.\d\)$"))
    counts = page.locator("[data-pairs=shadow] .won-lost-key dd").all_inner_texts()
    assert counts[:3] == [str(pairs[name]) for name in ("wins", "ties", "losses")]
    assert counts[3] == f"{pairs['geometric_mean_ratio']:.4f}"
    expect(page.locator("[data-pairs=shadow] tbody tr")).to_have_count(len(pairs["worst"]))
    raw_means = page.locator("[data-raw-means]")
    expect(raw_means).to_contain_text(signed(compared["improvement_percentage"]))
    expect(page.get_by_role("img", name=re.compile("折线图：改进的估计"))).to_be_visible()
    check_both_sizes(page, "experiments-one")


def test_the_page_says_the_same_in_english(page: Page, compared: dict[str, Any]):
    page.goto("/?lang=en#/experiments/compared")
    effect = compared["anytime_effect"]["improvement_percentage"]
    expect(page.locator("[data-verdict]")).to_contain_text(f"B is better than A: makespan {effect:.2f} % shorter")
    expect(page.locator("main")).not_to_contain_text(re.compile("[一-鿿]{2,}(?<!王工)"))
    page.set_viewport_size(NARROW)  # type: ignore[arg-type]
    is_narrow = "document.documentElement.scrollWidth <= document.documentElement.clientWidth"
    assert page.evaluate(is_narrow)
    page.get_by_role("link", name="All experiments").click()
    expect(page.get_by_role("link", name="compared")).to_be_visible()
    assert page.evaluate(is_narrow)


def test_a_p_value_is_not_judged_before_there_are_enough_samples(page: Page, compared: dict[str, Any]):
    assert compared["reasons"]["is_significant"]["code"] == "too_few_samples"
    page.goto("/#/experiments/compared")
    expect(page.locator("[data-raw-means]")).to_contain_text("p < 0.0001，暂不判定（样本不足，每组至少需要 100 个）")


def record_optima(console: LiveService, name: str, users: int = 160) -> None:
    """Runs of both arms whose answers are proven optimal, as if the service had recorded them; B's own are shorter."""
    monitor = PerformanceMonitor(console.home / "logs" / "performance.db")
    keys = {each["version"]: each["model_key"] for each in console.get("/models").json()["models"]}
    records = []
    for user in range(users):
        arm, bound = ("model_a", "model_b")[user % 2], 20.0 + user % 31 + user % 7 / 10
        own = bound * (1.05 + user % 11 / 500) * (0.95 if arm == "model_b" else 1.0)
        records.append(
            PerformanceRecord(
                request_id=f"{name}_{user}", user_id=f"u{user}", experiment=name, variant=arm, reason="assigned",
                model_key=keys["2.0.0" if arm == "model_a" else "1.0.0"], makespan=bound, policy_makespan=own,
                lower_bound=bound, gap=0.0, execution_time=0.002, stage="exact",
            )
        )  # fmt: skip
    monitor.record_performance(*records)
    monitor.close()


def record_flattering(console: LiveService, name: str, users: int = 300) -> None:
    """Runs of both arms; B plans as A does, but fails on the largest plants, so that its mean is short."""
    monitor = PerformanceMonitor(console.home / "logs" / "performance.db")
    keys = {each["version"]: each["model_key"] for each in console.get("/models").json()["models"]}
    records = []
    for user in range(users):
        arm, bound = ("model_a", "model_b")[user % 2], 30.0 + user * 7 % 41
        fails = arm == "model_b" and bound > 58.0
        length = {} if fails else {"makespan": bound * 1.1, "gap": 0.1}
        records.append(
            PerformanceRecord(
                request_id=f"{name}_{user}", user_id=f"u{user}", experiment=name, variant=arm, reason="assigned",
                model_key=keys["1.0.0" if arm == "model_a" else "2.0.0"], lower_bound=bound, success=not fails,
                execution_time=0.002, **length,
            )
        )  # fmt: skip
    monitor.record_performance(*records)
    monitor.close()


def test_raw_means_that_contradict_the_verdict_are_named_before_it(page: Page, console: LiveService):
    create(console, "flattering", min_samples=20, traffic_split={"model_a": 0.5, "model_b": 0.5}, guardrails=False)
    record_flattering(console, "flattering")
    results = console.get("/experiments/flattering/results").json()["results"]
    assert (results["verdict"], results["is_significant"], results["raw_means_contradict"]) == ("worse", True, True)
    page.goto("/#/experiments/flattering")
    card = page.locator(".verdict")
    said = card.locator("[data-contradiction]")
    raw, effect = (abs(results["contradiction"][f"{name}_improvement_percentage"]) for name in ("raw", "effect"))
    expect(said).to_contain_text(
        f"按原始均值，B 的完工时间平均缩短 {raw:.2f} %；按结论所依据的效果，完工时间平均延长 {effect:.2f} %"
    )
    expect(said).to_contain_text(
        f"原始均值不含失败的运行（B 组失败 {results['contradiction']['failed_percentages'][1]:.1f} %"
    )
    expect(card.locator(".figure strong")).to_have_text(signed(-effect))
    assert said.bounding_box()["y"] < card.locator("[data-verdict]").bounding_box()["y"]
    expect(page.locator("[data-raw-means]")).to_contain_text("在成功运行中的原始均值（不计失败")
    check_both_sizes(page, "experiments-contradiction")
    page.goto("/?lang=en#/experiments/flattering")
    expect(said).to_contain_text("Mind: the raw means point the other way than the verdict.")
    console.post("/experiments/flattering/stop")


def test_where_all_answers_are_optimal_the_page_says_what_would_tell(page: Page, console: LiveService):
    ramp = {"stages": [0.5, 1.0], "min_hours": 0, "min_samples": 20}
    models = {"model_a": "DDQN_v2.0", "model_b": "DDQN_v1.0"}
    create(console, "optimal", min_samples=20, rollout=ramp, shadow=False, **models)
    create(console, "by_own_schedules", min_samples=20, success_metric="policy_makespan", **models)
    for name in ("optimal", "by_own_schedules"):
        record_optima(console, name)
    page.goto("/#/experiments/optimal")
    said = "两组的应答几乎都已证明最优（A 100.0 %，B 100.0 %），再多的数据也无法按完工时间分出高下"
    expect(page.locator("[data-verdict]")).to_contain_text("B 与 A 没有差别：完工时间持平")
    expect(page.locator("[data-verdict]")).to_contain_text(said)
    expect(page.locator(".verdict .next")).to_contain_text("改用模型自身排程的完工时间来比较")
    expect(page.locator("[data-cannot-tell]")).to_contain_text(said)
    expect(page.locator("[data-guardrail=makespan]")).to_have_attribute("data-state", "kept")
    page.goto("/?lang=en#/experiments/optimal")
    expect(page.locator("[data-verdict]")).to_contain_text("Nearly all answers of both arms are proven optimal")
    page.goto("/?lang=zh#/experiments/by_own_schedules")
    expect(page.locator(".verdict .word")).to_have_text("更优")
    expect(page.locator("[data-verdict]")).to_contain_text("B 优于 A：模型自身排程的完工时间平均缩短")
    for name in ("optimal", "by_own_schedules"):
        console.post(f"/experiments/{name}/stop")


@pytest.mark.usefixtures("compared")
def test_the_end_is_told_by_the_services_clock(page: Page):
    page.clock.install(time=datetime.now(UTC) + timedelta(days=30))
    page.goto("/#/experiments/compared")
    expect(page.locator(".verdict")).to_contain_text("到期")
    expect(page.locator(".verdict")).not_to_contain_text("已到期")


@pytest.mark.usefixtures("compared")
def test_a_course_that_could_not_be_read_once_is_asked_for_again(page: Page, mistakes):
    page.clock.install()
    page.route("**/experiments/compared/course", lambda route: route.abort(), times=1)
    page.goto("/#/experiments/compared")
    card = page.get_by_role("region", name="改进随时间的变化")
    expect(card.get_by_role("alert")).to_be_visible()
    page.clock.run_for(25_000)
    expect(card.get_by_role("img")).to_be_visible()
    expect(card.get_by_role("alert")).to_have_count(0)
    takes_out(mistakes)


def test_new_runs_appear_by_themselves(page: Page, console: LiveService):
    create(console, "watched")
    page.goto("/#/experiments/watched")
    expect(page.locator("[data-verdict]")).to_contain_text("还不能对 B 下结论")
    before = page.locator(".arm-facts").first.inner_text()
    ask(console, "watched", range(12))
    expect(page.locator(".arm-facts").first).not_to_have_text(before)


def test_an_experiment_that_a_guardrail_stopped_says_which_and_on_what_figures(page: Page, console: LiveService):
    guardrails = {"makespan": 0.005, "success": None, "execution_time": None}
    create(console, "harmful", model_a="DDQN_v2.0", model_b="DDQN_v1.0", guardrails=guardrails)
    ask(console, "harmful", range(USERS))
    page.goto("/#/experiments/harmful")
    expect(page.locator(".page-head")).to_contain_text("自动中止")
    expect(page.locator("[data-guardrail=makespan]")).to_have_attribute("data-state", "breached")
    line = page.locator("[data-event=aborted]")
    expect(line).to_contain_text("护栏被突破：完工时间延长")
    expect(line).to_contain_text("候选份额 0 %")
    line.get_by_text("依据的数据").click()
    samples = console.get("/experiments/harmful/history").json()["history"][-1]["figures"]["samples"]
    expect(line).to_contain_text(f"A {samples['model_a']} · B {samples['model_b']}")
    assert configured(console)["experiments"]["harmful"]["status"] == "stopped"


def test_the_list_shows_every_experiment_with_its_verdict(page: Page, compared: dict[str, Any]):
    page.goto("/#/experiments")
    row = page.get_by_role("row", name=re.compile("compared"))
    expect(row).to_contain_text("更优")
    expect(row).to_contain_text(f"{USERS} 名用户")
    check_both_sizes(page, "experiments-list")
    row.get_by_role("link", name="compared").click()
    expect(page.get_by_role("heading", name="compared")).to_be_focused()


def test_the_oldest_of_many_experiments_do_not_seem_to_be_loading_for_ever(page: Page, console: LiveService):
    for number in range(31):  # one more than are summarised
        create(console, f"many_{number}")
    page.goto("/#/experiments")
    cells = page.locator(".verdict-cell")
    expect(cells.nth(30)).to_have_text("–")
    expect(cells.first).to_contain_text("数据不足")
    for number in range(31):
        console.post(f"/experiments/many_{number}/stop")


@pytest.mark.usefixtures("compared")
def test_the_plan_is_that_of_the_service(page: Page, console: LiveService):
    page.goto("/#/experiments/new")
    models = {each["version"]: each["model_key"] for each in console.get("/models").json()["models"]}
    page.get_by_label("A 组（基线）").select_option(models["1.0.0"])
    page.get_by_label("B 组（候选）").select_option(models["2.0.0"])

    def is_asked(answer: Response) -> bool:
        return answer.url.endswith("/plan") and answer.request.post_data_json["minimum_effect"] == 0.005

    with page.expect_response(is_asked) as asked:
        page.get_by_label("想要发现的最小改进（%）").fill("0.5")
    plan = asked.value.json()["plan"]
    known = page.locator("[data-plan=known]")
    expect(known).to_contain_text(f"每组约 {plan['users_needed']['model_a']:,} 名用户")
    expect(known).to_contain_text(f"{plan['basis']['runs']} 次请求、{plan['basis']['users']} 名用户")
    expect(known.get_by_role("img")).to_have_attribute("aria-label", re.compile("7 天内可发现至少"))
    assert plan["basis"]["model"] == models["1.0.0"]
    check_both_sizes(page, "experiments-new")
    with page.expect_response(
        lambda answer: answer.url.endswith("/plan") and "rollout" in answer.request.post_data
    ) as asked:
        page.get_by_label(re.compile("^灰度发布")).check()
    ramp = asked.value.json()["plan"]["ramp"]
    expect(page.locator("[data-ramp]")).to_contain_text(f"{ramp['users']:,} 名用户")


def test_where_a_user_falls_is_looked_up(page: Page, console: LiveService):
    create(console, "looked_up", excluded_users=["guest"], forced_variants={"tester": "model_b"})
    page.goto("/#/experiments/looked_up")
    told = console.get("/experiments/looked_up/assignment?user_id=planner_1").json()["assignment"]
    shown, user = page.locator("[data-assignment]"), page.get_by_label("用户 ID")
    for name, words in (("planner_1", f"{told['bucket']:.4f}"), ("guest", "排除名单"), ("tester", "固定在 B 组")):
        user.fill(name)
        user.press("Enter")
        expect(shown).to_contain_text(words)


# --- what can be done with it ---


def test_pause_resume_and_stop_are_in_the_file_and_in_the_history(page: Page, console: LiveService):
    create(console, "moved", traffic_split={"model_a": 0.6, "model_b": 0.4})
    page.goto("/#/experiments/moved")
    page.get_by_role("button", name="暂停").press("Enter")  # by the keyboard alone
    expect(page.get_by_role("dialog")).to_be_visible()
    check_accessibility(page)
    told = agree(page, "暂停", reason="锅炉数据有误", actor="王工")
    assert "40 %" in told[0]
    expect(page.locator(".page-head")).to_contain_text("已暂停")
    expect(page.get_by_role("button", name="恢复")).to_be_focused()
    assert configured(console)["experiments"]["moved"]["status"] == "paused"
    assert console.run(params=[5] * 15, experiment="moved")["experiment_info"]["reason"] == "experiment_not_active"
    page.get_by_role("button", name="恢复").click()
    agree(page, "恢复")
    expect(page.locator(".page-head")).to_contain_text("进行中")
    page.get_by_role("button", name="停止").click()
    assert any("不能恢复" in each for each in agree(page, "停止"))
    expect(page.locator(".page-head")).to_contain_text("已停止")
    assert configured(console)["experiments"]["moved"]["status"] == "stopped"
    lines = console.get("/experiments/moved/history").json()["history"]
    assert [line["event"] for line in lines] == ["created", "paused", "started", "stopped"]
    assert (lines[1]["reason"], lines[1]["actor"]) == ("锅炉数据有误", "王工")
    expect(page.locator("[data-event]").first).to_have_attribute("data-event", "stopped")
    page.get_by_role("button", name="结束").click()
    agree(page, "结束")
    expect(page.locator(".page-head")).to_contain_text("已结束")
    assert configured(console)["experiments"]["moved"]["status"] == "concluded"
    expect(page.locator("[data-move]")).to_have_count(1)
    page.get_by_role("button", name="归档").click()
    assert any("名称也不能再次使用" in each for each in agree(page, "归档"))
    expect(page.locator("[data-archived]")).to_have_text("已归档")
    expect(page.locator("[data-move]")).to_have_count(0)
    assert "moved" not in configured(console)["experiments"]
    page.goto("/#/experiments")
    expect(page.get_by_role("link", name="moved", exact=True)).to_have_count(0)
    page.get_by_role("button", name="已归档").click()
    page.get_by_role("link", name="moved", exact=True).click()
    expect(page.locator("[data-event]").first).to_have_attribute("data-event", "archived")


def test_a_move_that_came_too_late_is_told_and_what_can_be_done_now_is_shown(
    page: Page, console: LiveService, mistakes
):
    create(console, "overtaken")
    page.goto("/#/experiments/overtaken")
    page.get_by_role("button", name="暂停").click()
    console.post("/experiments/overtaken/stop")
    agree(page, "暂停")
    expect(page.locator(".toast.bad")).to_contain_text("没有执行：实验现在是“已停止”，不能再暂停")
    expect(page.locator("[data-move=pause]")).to_have_count(0)
    expect(page.locator("[data-move=conclude]")).to_be_visible()
    assert configured(console)["experiments"]["overtaken"]["status"] == "stopped"
    takes_out(mistakes)


def test_nobody_advances_a_rollout_by_a_stage_that_they_did_not_see(page: Page, console: LiveService, mistakes):
    candidate = {"model_a": configured(console)["default_model"], "model_b": "DDQN_v1.0"}
    create(console, "raced", **candidate, rollout={"stages": [0.1, 0.2, 0.4, 1.0], "auto": False})
    page.goto("/#/experiments/raced")
    page.get_by_role("button", name="推进到下一阶段").click()
    expect(page.get_by_role("dialog")).to_contain_text("从 10 % 增加到 20 %")
    assert console.post("/experiments/raced/advance").status_code == 200  # somebody else, in another tab
    agree(page, "推进到下一阶段")
    expect(page.locator(".toast.bad")).to_contain_text("没有执行：它已被推进到 20 % 的阶段")
    assert configured(console)["experiments"]["raced"]["rollout"]["stage"] == 1
    takes_out(mistakes)


def test_a_no_in_the_dialog_changes_nothing(page: Page, console: LiveService):
    create(console, "kept")
    page.goto("/#/experiments/kept")
    page.get_by_role("button", name="停止").click()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_be_hidden()
    expect(page.get_by_role("button", name="停止")).to_be_focused()
    assert configured(console)["experiments"]["kept"]["status"] == "active"


def test_a_rollout_is_advanced_promoted_and_reverted(page: Page, console: LiveService):
    before = configured(console)["default_model"]
    page.goto("/#/experiments/new")
    page.get_by_label("实验名称").fill("ramped")
    page.get_by_label("灰度发布").check()
    page.get_by_label("各阶段的候选份额（%）").fill("10、40、100")
    page.get_by_label("自动推进", exact=True).uncheck()
    page.get_by_role("button", name="创建实验").click()
    told = agree(page, "创建实验")
    assert any("10 % → 40 % → 100 %" in each for each in told)
    assert any("不会自动到期" in each for each in told)
    expect(page.locator(".facts")).to_contain_text("不限期")
    expect(page.locator(".verdict")).to_contain_text("不限期")
    stage = page.locator(".stages [aria-current=step]")
    expect(stage).to_contain_text("10 %")
    check_both_sizes(page, "experiments-rollout")
    page.get_by_role("button", name="推进到下一阶段").click()
    assert "从 10 % 增加到 40 %" in agree(page, "推进到下一阶段")[0]
    expect(stage).to_contain_text("40 %")
    made = configured(console)["experiments"]["ramped"]
    assert (made["rollout"]["stage"], made["rollout"]["auto"], made["duration_days"]) == (1, False, 3650)
    page.get_by_role("button", name="上线候选").click()
    assert any("默认模型从" in each for each in agree(page, "上线候选", reason="例会决定"))
    expect(page.locator(".page-head")).to_contain_text("已结束")
    assert configured(console)["default_model"] == configured(console)["experiments"]["ramped"]["promotion"]["model"]
    stable = console.get("/models/DDQN:stable").json()["model"]["model_key"]
    assert stable == configured(console)["default_model"]
    page.get_by_role("button", name="撤回上线").click()
    agree(page, "撤回上线")
    expect(page.locator("[data-event]").first).to_have_attribute("data-event", "reverted")
    assert configured(console)["default_model"] == before


@pytest.mark.usefixtures("compared")
def test_a_replay_leaves_its_pairs_in_the_database(page: Page, console: LiveService):
    create(console, "replayed")
    page.goto("/#/experiments/replayed")
    page.get_by_label("请求数").fill("20")
    page.get_by_role("button", name="开始回放").click()
    agree(page, "开始回放")
    expect(page.locator("[data-replay]")).to_have_attribute("data-state", "done")
    expect(page.locator("[data-pairs=replay]")).to_contain_text("20 对")
    monitor = PerformanceMonitor(console.home / "logs" / "performance.db")
    assert len(monitor.get_pairs("replayed", source="replay")) == 20
    monitor.close()


@pytest.mark.usefixtures("compared")
def test_a_replay_is_followed_to_its_end_though_the_service_could_not_be_reached_once(
    page: Page, console: LiveService, mistakes
):
    create(console, "followed")
    page.goto("/#/experiments/followed")
    page.get_by_label("请求数").fill("100")
    answers = iter(("running", "unreachable"))  # then what the service says

    def answer(route: Route) -> None:
        match "begun" if route.request.method == "POST" else next(answers, "told"):
            case "running":  # however quick it was
                told = route.fetch().json()
                told["replay"]["state"] = "running"
                route.fulfill(json=told)
            case "unreachable":
                route.abort()
            case _:
                route.continue_()

    page.route("**/replay", answer)
    page.get_by_role("button", name="开始回放").click()
    agree(page, "开始回放")
    expect(page.locator("[data-replay]")).to_have_attribute("data-state", "done")
    expect(page.locator("[data-pairs=replay]")).to_contain_text("100 对")
    takes_out(mistakes)


def test_with_an_api_key_the_report_of_an_experiment_opens(browser: Browser, tmp_path: Path):
    key = "a-key-of-the-engineers-0123456789"
    environment = {"SCHED_HOST": "0.0.0.0", "SCHED_API_KEYS": f"ml:admin:{digest_of(key)}"}
    with live_service(tmp_path, environment=environment) as running:
        running.session.headers["Authorization"] = f"Bearer {key}"
        running.url = running.url.replace("0.0.0.0", "127.0.0.1")
        create(running, "with_a_key")
        context = browser.new_context(base_url=running.url, locale="zh-CN")
        context.add_init_script(f"sessionStorage.setItem('scheduler.api_key', '{key}')")
        page = context.new_page()
        page.goto("/#/experiments/with_a_key")
        page.get_by_role("button", name="生成 A/B 报告").click()
        with page.expect_popup() as opened:
            page.get_by_role("link", name="在新标签页打开 ab_test_with_a_key").click(timeout=60_000)
        expect(opened.value).to_have_url(re.compile("^blob:"))
        expect(opened.value.get_by_role("heading", level=1)).to_contain_text("A/B 测试报告")
        context.close()


def test_an_experiment_may_be_called_new(page: Page, console: LiveService):
    create(console, "new")
    page.goto("/#/experiments")
    page.get_by_role("link", name="new", exact=True).click()
    expect(page.locator("[data-verdict]")).to_be_visible()


def test_the_longest_name_fits_into_the_list(page: Page, console: LiveService):
    name = "x" * 64
    models = {"model_a": "DDQN_v1.0", "model_b": "DDQN_v2.0", "traffic_split": {"model_a": 0.5, "model_b": 0.5}}
    asked = {"experiment_name": name, **models, "success_metric": "makespan", "duration_days": 7}
    assert console.post("/experiments", json=asked).status_code == 201
    page.goto("/#/experiments")
    expect(page.get_by_role("link", name=name)).to_be_visible()
    check_both_sizes(page, "experiments-long-name")


def test_an_experiment_that_does_not_exist_is_told(page: Page, mistakes):
    page.goto("/#/experiments/nothing")
    expect(page.get_by_role("alert")).to_contain_text("没有这个实验")
    takes_out(mistakes)
