"""The planner's page: what is wrong is told in the reader's language, where it is, and changes nothing."""

import json
import re

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


@pytest.mark.parametrize(
    ("name", "content", "complaint"),
    [
        ("x.json", "{", "JSON"),
        ("x.json", '{"steps": []}', "params, workpoints"),
        ("x.json", "[1, 2, 3]", "params: 3 ≠ 15"),
        ("x.json", '{"workpoints": "x"}', "params, workpoints"),
        ("x.csv", "workpoint_id,step,team,duration\n", "没有数据行"),
        ("x.csv", "a,b\n1,2\n", "workpoint_id"),
        ("x.xlsx", "PK\x03\x04", "请在 Excel 里另存为 CSV"),
        ("x.csv", "PK\x03\x04", "请在 Excel 里另存为 CSV"),
        ("x.csv", "workpoint_id,step,team,duration\n1,打磨,team2,viel\n", "2: duration viel"),
    ],
)
def test_a_file_that_cannot_be_read_is_told_with_the_reason(workpoints: Page, name, content, complaint):
    workpoints.locator("input[type=file]").set_input_files(
        {"name": name, "mimeType": "text/plain", "buffer": content.encode()}
    )
    expect(workpoints.locator(".toast.bad")).to_contain_text(complaint)
    expect(workpoints.locator("details.workpoint")).to_have_count(2)


def steps(*changes: dict, **every: object) -> list[dict]:
    return [
        {"name": f"工序{n}", "team": "team1", "duration": 5, **every, **change} for n, change in enumerate(changes, 1)
    ]


def one(*changes: dict, **every: object) -> dict:
    return {"workpoints": [{"id": "甲", "steps": steps(*changes, **every)}]}


WRONG = {
    "two work points of one id": ({"workpoints": [{"id": "甲"}, {"id": "甲"}]}, "编号“甲”用了两次"),
    "two steps of one id": (one({"id": "1"}, {"id": "1"}), "工序编号“1”在同一工作点里用了两次"),
    "an order is missing": (one({"order": 1}, {"order": None}), "“工序2” 次序: 同一工作点的其他工序有次序"),
    "half a person": (one({"order": 1.5}), "次序: 应为整数"),
    "nobody at work": (one({"min_crew": 0}), "最少人数: 应在 1 到 1000 之间，现在是 0"),
    "too small a team": (one({"min_crew": 99}), "最少人数: 99 人超过班组“1 班 脚手架”"),
    "a crew upside down": (one({"min_crew": 3, "max_crew": 2}, team="team5"), "最多人数 2 少于最少人数 3"),
    "a team that goes as a whole": (one({"max_crew": 2}), "“1 班 脚手架”是专用班组，总是全员"),
    "a team that nobody knows": (one({"team": "外协"}), "班组: 没有班组“外协”；现有 1 班 脚手架、"),
    "a team of two sizes": (
        one({"team_size": 3}, {"team_size": 4}, team="外协"),
        "班组人数在这里是 4 人，在别处是 3 人",
    ),
    "a predecessor that is not there": (one({"predecessors": ["焊接"]}), "前置工序 1: 找不到前置工序“焊接”"),
    "a predecessor of two": (
        one({"name": "焊接"}, {"name": "焊接"}, {"predecessors": ["焊接"]}),
        "前置工序 1: 前置工序“焊接”可指多道工序：甲.1, 甲.2",
    ),
    "a circle": (one({"predecessors": ["2"]}, {"predecessors": ["1"]}), "前置关系成了环：甲.1 -> 甲.2 -> 甲.1"),
    "a name without end": (one({"name": "长" * 201}), "应为 1 到 200 个可显示的字符"),
    "too many work points": ({"workpoints": [{"id": str(n)} for n in range(201)]}, "工作点过多，最多 200 个"),
    "too many predecessors": (one({"predecessors": [str(n) for n in range(201)]}), "前置工序过多，最多 200 道"),
    "a team without people": (one({}) | {"teams": {"外协": {}}}, "外协人数: 新班组“外协”没有给出人数"),
    "neither yes nor no": (one({"dedicated": "是"}), "全员作业: 应为 true 或 false，现在是 '是'"),
    "a field that does not exist": (one({"颜色": "红"}), "颜色: 工序没有“颜色”这一项"),
    "nobody in a team": (
        {"params": list(SAMPLE_PARAMS), "teams": {"team1": {"headcount": 0}}},
        "1 班 脚手架人数: 应在 1 到 1000 之间，现在是 0",
    ),
}


@pytest.mark.parametrize("mistake", WRONG)
def test_whatever_the_service_refuses_of_a_file_leaves_nothing_in_english(
    schedule: Page, mistakes: list[str], mistake: str
):
    request, said = WRONG[mistake]
    file = {"name": "x.json", "mimeType": "application/json", "buffer": json.dumps(request).encode()}
    schedule.get_by_role("button", name="多个工作点").click()
    schedule.locator("input[type=file]").set_input_files(file)  # type: ignore[arg-type]
    with schedule.expect_response(lambda answer: answer.url.endswith("/run_algorithm")) as told:
        schedule.get_by_role("button", name="开始排程").click()
    assert told.value.status == 422
    alert = schedule.get_by_role("alert")
    expect(alert).to_contain_text(said)
    assert set(re.findall(r"[A-Za-z]{3,}", alert.inner_text())) <= {"true", "false"}  # JSON's own words
    assert "422" in mistakes.pop()
    schedule.get_by_role("button", name="English").click()
    expect(schedule.get_by_role("alert")).to_contain_text(told.value.json()["errors"][0]["msg"])
