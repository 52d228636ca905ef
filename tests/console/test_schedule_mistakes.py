"""The planner's page: mistakes are shown in the reader's language at their place, and change nothing."""

import json

from playwright.sync_api import Locator, Page, Route, expect

from scheduler_env.standard_cycle import SAMPLE_PARAMS
from scheduler_service.words import WORDS
from tests.console.browsing import check_both_sizes
from tests.console.planning import run


def zh(code: str, **params: object) -> str:
    """The Chinese text of an error."""
    return WORDS.text(f"errors.{code}", params, "zh")


def test_a_list_of_the_wrong_length_is_reported_and_changes_nothing(schedule: Page):
    schedule.get_by_text("粘贴数值", exact=True).click()
    schedule.get_by_label("15 个数值").fill("1,2,3")
    schedule.get_by_role("button", name="填入", exact=True).click()
    expect(schedule.get_by_role("alert")).to_have_text("需要 15 个数值，现在是 3 个。")
    schedule.get_by_label("15 个数值").fill("1,2,drei")
    schedule.get_by_role("button", name="填入", exact=True).click()
    expect(schedule.get_by_role("alert")).to_have_text("“drei”不是数值。")
    expect(schedule.locator("[name=duration-1]")).to_have_value("10")


PASTED = [
    ("20\r\n\r\n22", "列表中间有空格子"),
    ("20\t\t22", "列表中间有空格子"),
    ("20，，22", "列表中间有空格子"),
    ("20 0x10", "“0x10”不是数值。"),
    ("20,1e999", "“1e999”不是数值。"),
]


def test_an_empty_cell_does_not_shift_the_others(schedule: Page):
    for cells, complaint in PASTED:
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


def listed(page: Page) -> Locator:
    """The mistakes listed at the button, one button each."""
    return page.locator(".go [role=alert]")


def beside(field: Locator) -> Locator:
    """The description of a field, without its name."""
    expect(field).to_have_attribute("aria-invalid", "true")
    return field.page.locator(f"[id='{field.get_attribute('aria-describedby')}']")


def test_an_invalid_duration_is_explained_in_the_pages_language_and_focused(schedule: Page, mistakes: list[str]):
    field = schedule.locator("[name=duration-3]")
    limits = {each: zh("greater_than", value=each, gt=0.0) for each in ("-1", "0")}
    limits["10001"] = zh("less_than_equal", value="10001", le=10_000.0)
    for wrong, text in {"": zh("missing"), **limits}.items():
        field.fill(wrong)
        run(schedule)
        expect(listed(schedule)).to_contain_text(f"有 1 处需要改正：第 3 道工序（打磨）: {text}")
        expect(beside(field)).to_have_text(text)
        expect(field).to_be_focused()
        field.fill("8")
        expect(listed(schedule)).to_be_hidden()
        assert "422" in mistakes.pop()
    run(schedule)
    expect(schedule.locator(".gantt canvas")).to_be_visible()


def test_all_mistakes_of_a_form_are_listed_in_order_and_each_links_to_its_field(workpoints: Page, mistakes: list[str]):
    page = workpoints
    page.get_by_label("工时 2", exact=True).fill("0")
    page.get_by_label("最少人数 3", exact=True).fill("50")
    page.get_by_label("工序 5", exact=True).fill("")
    page.get_by_label("编号", exact=True).fill("")
    page.locator(".plant summary").click()
    page.get_by_label("3 班 检验", exact=True).fill("0")
    page.locator(".plant summary").click()
    run(page)
    entries = listed(page).get_by_role("button")
    expect(listed(page).locator("strong")).to_have_text("有 4 处需要改正：")
    expect(entries).to_have_text(
        [
            f"工作点 1 的工序“拆保温” 工时: {zh('greater_than', value=0, gt=0.0)}",
            "工作点 1 的工序“打磨” 最少人数: 50 人超过班组“2 班 保温打磨”的总人数 10",
            f"工作点 1 的工序“5” 工序: {zh('missing')}",
            "3 班 检验人数: 应在 1 到 1000 之间，现在是 0",
        ]
    )
    expect(page.get_by_label("工时 2", exact=True)).to_be_focused()
    entries.nth(3).click()
    team = page.get_by_label("3 班 检验", exact=True)
    expect(team).to_be_focused()
    expect(team).to_be_in_viewport()
    expect(beside(team)).to_have_text("应在 1 到 1000 之间，现在是 0")
    entries.nth(1).press("Enter")
    expect(page.get_by_label("最少人数 3", exact=True)).to_be_focused()
    page.keyboard.press("Delete")
    page.get_by_label("最少人数 3", exact=True).fill("5")
    expect(entries).to_have_count(3)
    page.get_by_role("button", name="English").click()
    expect(listed(page).locator("strong")).to_have_text("3 mistakes:")
    check_both_sizes(page, "schedule-mistakes")
    assert "422" in mistakes.pop()


def test_mistakes_found_by_page_and_service_are_shown_together(workpoints: Page, mistakes: list[str]):
    page = workpoints
    page.get_by_label("最少人数 3", exact=True).fill("50")
    page.locator(".workpoint").nth(1).locator("summary").click()
    second = page.locator(".workpoint").nth(1)
    for _ in range(15):
        second.get_by_role("button", name="删除").last.click()
    page.get_by_role("button", name="开始排程").click()
    expect(listed(page).get_by_role("button")).to_have_text(
        [
            "工作点 1 的工序“打磨” 最少人数: 50 人超过班组“2 班 保温打磨”的总人数 10",
            "工作点 2 编号: 这个工作点没有工序",
        ]
    )
    assert "422" in mistakes.pop()


def test_text_in_a_number_field_is_not_treated_as_empty(workpoints: Page):
    field = workpoints.get_by_label("最少人数 3", exact=True)
    field.press_sequentially("1e")  # shown by the browser, though the field has no value
    workpoints.get_by_role("button", name="开始排程").click()
    expect(beside(field)).to_have_text("不是数值")
    field.fill("3")
    run(workpoints)
    expect(workpoints.locator(".gantt canvas")).to_be_visible()


def test_mistakes_without_a_field_are_listed_too(schedule: Page, mistakes: list[str]):
    request = {"params": SAMPLE_PARAMS, "teams": {"welders": {"headcount": 3}}, "time_budget_ms": 5_000}
    file = {"name": "x.json", "mimeType": "text/plain", "buffer": json.dumps(request).encode()}
    schedule.locator("input[type=file]").set_input_files(file)  # type: ignore[arg-type]
    expect(schedule.get_by_text("已导入 15 道标准工序的工时。")).to_be_visible()

    def spoil(route: Route) -> None:
        body = route.request.post_data_json
        body["teams"]["welders"] = {"headcount": 0}
        route.continue_(post_data=json.dumps(body))

    schedule.route("**/run_algorithm", spoil)
    run(schedule)
    expect(listed(schedule)).to_contain_text("有 1 处需要改正：welders人数: 应在 1 到 1000 之间，现在是 0")
    assert "422" in mistakes.pop()


REFUSED = [
    ("最少人数 2", "50", "工作点 1 的工序“拆保温” 最少人数: 50 人超过班组“2 班 保温打磨”的总人数 10"),
    ("最多人数 2", "1", "工作点 1 的工序“拆保温” 最多人数: 最多人数 1 少于最少人数 2"),
    ("最多人数 1", "3", zh("dedicated_above_max_crew", team="team1", headcount=5, people=3)),
    ("次序 2", "1.5", "工作点 1 的工序“拆保温” 次序: 应为整数，现在是 1.5"),
    ("最少人数 2", "0", "最少人数: 应在 1 到 1000 之间，现在是 0"),
    ("编号", "2", zh("workpoint_id_twice", id="2")),
    ("3 班 检验", "0", "3 班 检验人数: 应在 1 到 1000 之间，现在是 0"),
]


def test_a_refusal_by_the_service_is_shown_in_the_pages_language(workpoints: Page, mistakes: list[str]):
    workpoints.get_by_text("班组人数", exact=True).click()
    for label, value, result in REFUSED:
        field = workpoints.get_by_label(label, exact=True)
        before = field.input_value()
        field.fill(value)
        run(workpoints)
        expect(listed(workpoints)).to_contain_text(result)
        field.fill(before)
        expect(listed(workpoints)).to_be_hidden()
        assert "422" in mistakes.pop()


def test_an_invalid_headcount_is_focused_even_in_a_closed_list(schedule: Page, mistakes: list[str]):
    schedule.locator(".plant summary").click()
    schedule.get_by_label("3 班 检验", exact=True).fill("0")
    schedule.locator(".plant summary").click()
    run(schedule)
    expect(schedule.get_by_label("3 班 检验", exact=True)).to_be_focused()
    assert "422" in mistakes.pop()


def test_a_deleted_model_is_reported_in_the_pages_language(schedule: Page, mistakes: list[str]):
    schedule.evaluate("""() => {
        const draft = {
            mode: "params", params: Array(15).fill(5), workpoints: [], headcounts: {}, teams: null, isLinear: false,
            options: { model: "DDQN_v9.0.0", compare: "", budgetMs: 0, experiment: "", userId: "" },
        };
        localStorage.setItem("scheduler.draft", JSON.stringify(draft));
    }""")
    schedule.reload()
    run(schedule)
    expect(listed(schedule)).to_contain_text(f"模型: {zh('no_such_model', name='DDQN_v9.0.0')}")
    expect(schedule.locator("[name=model]")).to_be_focused()
    assert "404" in mistakes.pop()
