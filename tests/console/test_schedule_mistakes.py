"""The planner's page: what is wrong is told in the reader's language, where it is, and changes nothing."""

import pytest
from playwright.sync_api import Page, expect

from scheduler_env.standard_cycle import SAMPLE_PARAMS
from tests.console.planning import run


def test_a_list_that_does_not_fit_is_told_and_changes_nothing(schedule: Page):
    schedule.get_by_text("粘贴数值", exact=True).click()
    schedule.get_by_label("15 个数值").fill("1,2,3")
    schedule.get_by_role("button", name="填入", exact=True).click()
    expect(schedule.get_by_role("alert")).to_have_text("需要 15 个数值，现在是 3 个。")
    schedule.get_by_label("15 个数值").fill("1,2,drei")
    schedule.get_by_role("button", name="填入", exact=True).click()
    expect(schedule.get_by_role("alert")).to_have_text("“drei”不是数值。")
    expect(schedule.locator("[name=duration-1]")).to_have_value("10")


@pytest.mark.parametrize(
    ("cells", "complaint"),
    [
        ("20\r\n\r\n22", "列表中间有空格子"),
        ("20\t\t22", "列表中间有空格子"),
        ("20，，22", "列表中间有空格子"),
        ("20 0x10", "“0x10”不是数值。"),
        ("20,1e999", "“1e999”不是数值。"),
    ],
)
def test_an_empty_cell_does_not_let_the_others_move_up(schedule: Page, cells: str, complaint: str):
    schedule.locator("[name=duration-2]").evaluate(
        """(field, text) => {
            const clipboardData = new DataTransfer();
            clipboardData.setData('text', text);
            field.dispatchEvent(new ClipboardEvent('paste', { clipboardData, bubbles: true, cancelable: true }));
        }""",
        cells,
    )
    expect(schedule.get_by_role("alert")).to_contain_text(complaint)
    expect(schedule.locator("[name=duration-2]")).to_have_value(str(SAMPLE_PARAMS[1]))


@pytest.mark.parametrize("wrong", ["-1", "0", "", "10001"])
def test_a_wrong_duration_is_named_in_the_pages_language_and_gets_the_focus(schedule: Page, wrong: str):
    schedule.locator("[name=duration-3]").fill(wrong)
    schedule.get_by_role("button", name="开始排程").click()
    alert = schedule.get_by_role("alert")
    expect(alert).to_contain_text("第 3 道工序（打磨）: 需要大于 0、不超过 10,000 的小时数")
    expect(schedule.locator("[name=duration-3]")).to_have_attribute("aria-invalid", "true")
    expect(schedule.locator("[name=duration-3]")).to_be_focused()
    schedule.locator("[name=duration-3]").fill("8")
    run(schedule)
    expect(alert).to_be_hidden()


def test_a_mistake_in_a_work_point_is_named_by_its_step_and_field(workpoints: Page):
    workpoints.get_by_label("工时 2", exact=True).fill("0")
    workpoints.get_by_role("button", name="开始排程").click()
    expect(workpoints.get_by_role("alert")).to_contain_text("工作点 1 的工序“拆保温” 工时: 需要大于 0")
    expect(workpoints.get_by_label("工时 2", exact=True)).to_be_focused()


def test_a_mistake_that_only_the_service_finds_is_shown_at_its_step(workpoints: Page, mistakes: list[str]):
    workpoints.get_by_label("最少人数 2", exact=True).fill("50")
    run(workpoints)
    expect(workpoints.get_by_role("alert")).to_contain_text("工作点 1 的工序“拆保温”")
    assert "422" in mistakes.pop()


@pytest.mark.parametrize(
    ("label", "value", "told"),
    [
        ("最少人数 2", "50", "工作点 1 的工序“拆保温” 最少人数: 50 人超过班组“2 班 保温打磨”的总人数 10"),
        ("最多人数 2", "1", "工作点 1 的工序“拆保温” 最多人数: 最多人数 1 少于最少人数 2"),
        ("最多人数 1", "3", "“1 班 脚手架”是专用班组，总是全员 5 人上阵"),
        ("次序 2", "1.5", "工作点 1 的工序“拆保温” 次序: 应为整数，现在是 1.5"),
        ("最少人数 2", "0", "最少人数: 应在 1 到 1000 之间，现在是 0"),
        ("编号", "2", "编号“2”用了两次"),
        ("3 班 检验", "0", "3 班 检验人数: 应在 1 到 1000 之间，现在是 0"),
    ],
)
def test_what_the_service_refuses_is_told_in_the_pages_language(
    workpoints: Page, mistakes: list[str], label: str, value: str, told: str
):
    workpoints.get_by_text("班组人数", exact=True).click()
    workpoints.get_by_label(label, exact=True).fill(value)
    run(workpoints)
    expect(workpoints.get_by_role("alert")).to_contain_text(told)
    assert "422" in mistakes.pop()


def test_a_wrong_headcount_gets_the_focus_though_its_list_is_closed(schedule: Page, mistakes: list[str]):
    schedule.locator(".plant summary").click()
    schedule.get_by_label("3 班 检验", exact=True).fill("0")
    schedule.locator(".plant summary").click()
    run(schedule)
    expect(schedule.get_by_label("3 班 检验", exact=True)).to_be_focused()
    assert "422" in mistakes.pop()


def test_a_model_that_is_gone_is_told_in_the_pages_language(schedule: Page, mistakes: list[str]):
    schedule.evaluate("""() => {
        const draft = {
            mode: "params", params: Array(15).fill(5), workpoints: [], headcounts: {}, teams: null, isLinear: false,
            options: { model: "DDQN_v9.0.0", compare: "", budgetMs: 0, experiment: "", userId: "" },
        };
        localStorage.setItem("scheduler.draft", JSON.stringify(draft));
    }""")
    schedule.reload()
    run(schedule)
    expect(schedule.get_by_role("alert")).to_contain_text("模型 DDQN_v9.0.0 已不存在，请另选一个模型")
    assert "404" in mistakes.pop()
