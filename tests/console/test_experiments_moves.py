"""Actions on an experiment, from a click to the configuration file and the history."""

from playwright.sync_api import Page, expect

from tests.conftest import LiveService
from tests.console.browsing import check_accessibility, check_both_sizes
from tests.console.experimenting import agree, configured, create, takes_out


def test_pause_resume_and_stop_are_stored_in_file_and_history(page: Page, console: LiveService):
    create(console, "moved", traffic_split={"model_a": 0.6, "model_b": 0.4})
    page.goto("/#/experiments/moved")
    page.get_by_role("button", name="暂停").press("Enter")  # with the keyboard only
    expect(page.get_by_role("dialog")).to_be_visible()
    check_accessibility(page)
    result = agree(page, "暂停", reason="锅炉数据有误", actor="王工")
    assert "40 %" in result[0]
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


def test_a_move_that_is_no_longer_possible_is_reported_with_the_possible_ones(
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


def test_an_unseen_stage_of_a_rollout_is_not_advanced(page: Page, console: LiveService, mistakes):
    candidate = {"model_a": configured(console)["default_model"], "model_b": "DDQN_v1.0"}
    create(console, "raced", **candidate, rollout={"stages": [0.1, 0.2, 0.4, 1.0], "auto": False})
    page.goto("/#/experiments/raced")
    page.get_by_role("button", name="推进到下一阶段").click()
    expect(page.get_by_role("dialog")).to_contain_text("从 10 % 增加到 20 %")
    assert console.post("/experiments/raced/advance").status_code == 200  # another person, in another tab
    agree(page, "推进到下一阶段")
    expect(page.locator(".toast.bad")).to_contain_text("没有执行：它已被推进到 20 % 的阶段")
    assert configured(console)["experiments"]["raced"]["rollout"]["stage"] == 1
    takes_out(mistakes)


def test_cancelling_the_dialog_changes_nothing(page: Page, console: LiveService):
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
    result = agree(page, "创建实验")
    assert any("10 % → 40 % → 100 %" in each for each in result)
    assert any("不会自动到期" in each for each in result)
    expect(page.locator(".facts")).to_contain_text("不限期")
    expect(page.locator(".verdict")).to_contain_text("不限期")
    stage = page.locator(".stages [aria-current=step]")
    expect(stage).to_contain_text("10 %")
    check_both_sizes(page, "experiments-rollout")
    page.get_by_role("button", name="推进到下一阶段").click()
    assert "从 10 % 增加到 40 %" in agree(page, "推进到下一阶段")[0]
    expect(stage).to_contain_text("40 %")
    created = configured(console)["experiments"]["ramped"]
    assert (created["rollout"]["stage"], created["rollout"]["auto"], created["duration_days"]) == (1, False, 3650)
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


def test_one_of_three_arms_is_stopped_and_shown_as_stopped(page: Page, console: LiveService, third: str):
    create(console, "arm_stopped", model_c=third)
    page.goto("/#/experiments/arm_stopped")
    page.locator(".moves select").select_option("model_c")
    page.get_by_role("button", name="停止 C 组").click()
    result = agree(page, "停止 C 组", reason="人员不够", actor="王工")
    assert any("C 组的用户（占全部 33.33 %）" in each for each in result)
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
