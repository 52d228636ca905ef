"""Files in and out of the planner's page: read like the service reads them, and without loss."""

import json
import re
from pathlib import Path

import pandas as pd
import pytest
from playwright.sync_api import Locator, Page, expect

from scheduler_env.standard_cycle import SAMPLE_PARAMS
from scheduler_env.vocabulary import number_of
from scheduler_service.words import WORDS
from tests.conftest import LiveService
from tests.console.browsing import check_both_sizes
from tests.console.planning import recorded, run

HEAD = "workpoint_id,step,team,duration"
SEQUENCE = ("A,strip,team2,7,", "A,weld,team2,7,strip", "A,paint,team2,7,weld")


def choose(page: Page, name: str, content: str | bytes) -> None:
    data = content if isinstance(content, bytes) else content.encode()
    page.locator("input[type=file]").set_input_files({"name": name, "mimeType": "text/plain", "buffer": data})


def table(*lines: str, head: str = HEAD) -> str:
    return "\r\n".join([head, *lines])


def refused(page: Page, mistakes: list[str]) -> Locator:
    """The dialog that explains why nothing was imported."""
    dialog = page.locator("dialog.import[open]")
    expect(dialog.get_by_role("heading")).to_contain_text("没有导入")
    assert re.search("40[0-9]|422", mistakes.pop())
    return dialog


def export(page: Page, kind: str, folder: Path) -> Path:
    with page.expect_download() as result:
        page.get_by_role("button", name=f"导出 {kind}").click()
    file = folder / result.value.suggested_filename
    result.value.save_as(file)
    return file


# --- CSV ---


@pytest.mark.parametrize("heading", ["Predecessors", "前置工序", "PREDECESSOR"])
def test_sequential_steps_are_planned_sequentially(schedule: Page, heading: str):
    choose(schedule, "x.csv", table(*SEQUENCE, head=f"{HEAD},{heading}"))
    expect(schedule.get_by_text("已导入 1 个工作点，共 3 道工序。")).to_be_visible()
    run(schedule)
    expect(schedule.locator("[data-test=makespan]")).to_have_text("16.80 小时")


def test_an_unknown_heading_is_refused_with_the_nearest_one(schedule: Page, mistakes: list[str]):
    choose(schedule, "x.csv", table(*SEQUENCE, head=f"{HEAD},max_crews"))
    dialog = refused(schedule, mistakes)
    expect(dialog.get_by_role("heading")).to_have_text("x.csv 没有导入：有 1 处须改正")
    expect(dialog.get_by_role("row")).to_contain_text("第 1 行 max_crews没有“max_crews”这一列；最接近的是“max_crew”")


def test_every_mistake_is_listed_with_its_line(schedule: Page, mistakes: list[str]):
    lines = ('A,"a\nb",team2,7', "", "A,t,team2,0x10", "", ",u,team2,7", "A,,team2,7")
    choose(schedule, "x.csv", table(*lines))
    rows = refused(schedule, mistakes).get_by_role("row")
    expect(rows).to_have_count(3)
    expect(rows.nth(0)).to_contain_text("第 5 行 工时“0x10”不是数值")
    expect(rows.nth(0)).to_contain_text("A, t, team2, 0x10")
    expect(rows.nth(1)).to_contain_text("第 7 行 工作点编号缺少工作点编号")
    expect(rows.nth(2)).to_contain_text("第 8 行 工序单元格是空的")


def test_merged_cells_are_filled_down_only_on_request(schedule: Page, mistakes: list[str], console: LiveService):
    choose(schedule, "x.csv", table("A,s,team2,7", ",t,team2,7", "B,s,team2,7", ",t,team2,7"))
    dialog = refused(schedule, mistakes)
    dialog.get_by_label("空着的工作点编号沿用上一行").check()
    expect(schedule.get_by_text("已导入 2 个工作点，共 4 道工序。")).to_be_visible()
    expect(dialog.get_by_role("row")).to_contain_text("第 3 行 工作点编号2 行的工作点编号沿用了上一行")
    dialog.get_by_role("button", name="关闭").click()
    run(schedule)
    body = json.loads(recorded(console).iloc[-1].input_params)
    assert [[step["name"] for step in each["steps"]] for each in body["workpoints"]] == [["s", "t"], ["s", "t"]]


@pytest.mark.parametrize("name", ["返修", "6 班 返修"])
def test_a_chinese_team_name_is_accepted_and_reported(schedule: Page, name: str):
    choose(schedule, "x.csv", table(f"锅炉,补焊,{name},12.5", head="工作点,工序,班组,工时"))
    dialog = schedule.locator("dialog.import[open]")
    expect(dialog.get_by_role("row")).to_contain_text(f"第 2 行 班组班组“{name}”识别为“6 班 返修”（1 道工序）")
    dialog.get_by_role("button", name="关闭").click()
    answer = run(schedule)
    assert [step["team"] for step in answer["result"]["schedule_details"]] == ["team6"]


def test_values_not_in_a_csv_are_kept(schedule: Page, console: LiveService):
    schedule.get_by_text("班组人数", exact=True).click()
    schedule.get_by_label("2 班 保温打磨", exact=True).fill("6")
    choose(schedule, "x.csv", table(*SEQUENCE, head=f"{HEAD},predecessors"))
    expect(schedule.get_by_text("页面上的班组人数保持不变")).to_be_visible()
    assert run(schedule)["result"]["team_headcount"] == {"team2": 6}
    assert "order" not in json.loads(recorded(console).iloc[-1].input_params)["workpoints"][0]["steps"][0]


def test_a_csv_may_name_the_teams_of_the_page(schedule: Page, tmp_path: Path):
    step = {"name": "焊接", "team": "外协", "duration": 6}
    request = {"workpoints": [{"id": "A", "steps": [step]}], "teams": {"外协": {"headcount": 4}}}
    choose(schedule, "x.json", json.dumps(request))
    expect(schedule.get_by_text("已导入 1 个工作点，共 1 道工序。")).to_be_visible()
    csv = export(schedule, "CSV", tmp_path).read_bytes()
    choose(schedule, "y.csv", csv)
    expect(schedule.get_by_text("页面上的班组人数保持不变")).to_be_visible()
    assert json.loads(export(schedule, "JSON", tmp_path).read_text("utf-8")) == request


def test_team_sizes_of_a_csv_replace_those_of_the_page(schedule: Page):
    schedule.get_by_text("班组人数", exact=True).click()
    schedule.get_by_label("2 班 保温打磨", exact=True).fill("6")
    choose(schedule, "x.csv", table("A,s,team2,7,8", head=f"{HEAD},team_size"))
    expect(schedule.get_by_text("已导入 1 个工作点，共 1 道工序。")).to_be_visible()
    assert run(schedule)["result"]["team_headcount"] == {"team2": 8}


def test_the_list_accepts_the_numbers_that_a_csv_accepts(schedule: Page):
    words = [
        "7",
        "12.5",
        "１２．５",
        ".5",
        "7.",
        "1e3",
        "-1",
        "+2",
        "0x10",
        "0b11",
        "1e999",
        "²",
        "½",
        "٣",
        "1_0",
        "7h",
        "1" * 61,
    ]
    taken = schedule.evaluate(
        """async (words) => {
            const { numbersOf } = await import(ownFile('pages/schedule/exchange.js'));
            return words.map((word) => { try { return numbersOf(word)[0]; } catch { return null; } });
        }""",
        words,
    )
    assert taken == [number_of(word) for word in words]


# --- JSON ---


REFUSED_JSON = [
    ({"workpoints": [{"id": "A", "Steps": []}]}, "第 1 个工作点 Steps没有这一项；最接近的是“steps”"),
    ({"params": [*SAMPLE_PARAMS, 1]}, "应有 15 个数值"),
    ({"workpoints": [None]}, "第 1 个工作点应为 JSON 对象"),
    ({"workpoints": "x"}, "工作点应为列表或对象，现在是 'x'"),
    ({"steps": []}, "没有这一项"),
    ({}, "标准工序的工时与工作点必须且只能给出一个"),
    ([1, 2, 3], "整个文件应为 JSON 对象"),
]


def test_json_is_refused_like_by_the_service(schedule: Page, mistakes: list[str]):
    for request_, result in REFUSED_JSON:
        choose(schedule, "x.json", json.dumps(request_))
        dialog = refused(schedule, mistakes)
        expect(dialog.get_by_role("row").first).to_contain_text(result)
        dialog.get_by_role("button", name="关闭").click()
        expect(schedule.locator("[name=duration-1]")).to_have_value("10")


UNREADABLE = [
    ("x.json", "{", "请求体不是 JSON"),
    ("x.csv", "", "文件是空的"),
    ("x.csv", f"{HEAD}\n", "文件只有列名，没有数据行"),
    ("x.csv", "a,b\n1,2\n", "缺少列：workpoint_id、step、team、duration"),
    ("x.xlsx", "PK\x03\x04", "请另存为 CSV"),
    ("x.csv", "PK\x03\x04", "请另存为 CSV"),
    ("x.csv", f"{HEAD}\n1,打磨,team2,viel\n", "第 2 行 工时“viel”不是数值"),
]


def test_an_unreadable_file_is_reported_with_the_reason(workpoints: Page, mistakes: list[str]):
    for name, content, complaint in UNREADABLE:
        choose(workpoints, name, content)
        dialog = refused(workpoints, mistakes)
        expect(dialog).to_contain_text(complaint)
        dialog.get_by_role("button", name="关闭").click()
        expect(workpoints.locator("details.workpoint")).to_have_count(2)


def test_an_import_adds_no_order(schedule: Page, console: LiveService):
    steps = [{"name": "a", "team": "team2", "duration": 7}, {"name": "b", "team": "team3", "duration": 7}]
    request = {"workpoints": [{"id": "A", "steps": [*steps, {**steps[1], "name": "c", "predecessors": ["a"]}]}]}
    choose(schedule, "x.json", json.dumps(request))
    expect(schedule.get_by_text("已导入 1 个工作点，共 3 道工序。")).to_be_visible()
    run(schedule)
    assert json.loads(recorded(console).iloc[-1].input_params) == request
    schedule.get_by_role("button", name="添加工序").click()
    expect(schedule.get_by_label("次序 4", exact=True)).to_have_value("")


def test_an_earlier_run_is_loaded_completely_and_unchanged(schedule: Page, console: LiveService):
    steps = [{"name": "a", "team": "team2", "duration": 7}, {"name": "b", "team": "team2", "duration": 7}]
    request = {"workpoints": [{"id": "A", "steps": [steps[0], {**steps[1], "predecessors": ["a"]}]}]}
    first = console.run(**request)["result"]["makespan"]
    schedule.get_by_text("班组人数", exact=True).click()
    schedule.get_by_label("2 班 保温打磨", exact=True).fill("6")
    schedule.wait_for_function("localStorage.getItem('scheduler.draft')?.includes('\"team2\":6')")
    schedule.reload()
    schedule.locator(".history tbody tr").first.get_by_role("button", name=re.compile("载入")).click()
    expect(schedule.get_by_text("已载入这次排程的输入")).to_be_visible()
    assert run(schedule)["result"]["makespan"] == first
    assert json.loads(recorded(console).iloc[-1].input_params) == request


EVERYTHING = {
    "workpoints": [
        {
            "id": "A",
            "name": "锅炉",
            "release": 6,
            "steps": [
                {"id": "s1", "name": "除锈", "team": "team2", "duration": 7.5, "min_crew": 2, "max_crew": 6},
                {
                    "name": "测厚",
                    "team": "team3",
                    "duration": 8,
                    "reference_crew": 2,
                    "release": 8.5,
                    "interruptible": False,
                },
                {"name": "焊接", "team": "外协", "duration": 6, "predecessors": ["s1"], "dedicated": True},
                {"name": "检验", "team": "team3", "duration": 4, "predecessors": ["焊接"], "parallel": False},
            ],
        }
    ],
    "teams": {
        "外协": {"headcount": 4},
        "team3": {"headcount": 12, "min_crew": 3, "availability": [{"from": 8, "to": 20, "people": 6}]},
        "team2": {"headcount": 6},
    },
    "crew_efficiency": "linear",
    "model": "DDQN_v2.0",
    "experiment": "boilers",
    "time_budget_ms": 250,
    "user_id": "planner",
    "algorithm": "DDQN",
    "charts": ["team"],
    "data_date": 14.5,
    "progress": {
        "A.s1": {"status": "done", "actual_start": 6.5, "actual_finish": 12, "workers": 3},
        "A.2": {"status": "running", "actual_start": 9, "workers": 4, "remaining_duration": 1.5},
    },
    "pinned": {"A.3": {"start": 21}},
    "published": {"A.4": {"start": 40, "workers": 3}},
    "frozen_hours": 8,
    "stability_tolerance_h": 2.5,
}


@pytest.mark.parametrize(
    "expected", [EVERYTHING, {"params": list(SAMPLE_PARAMS[::-1]), "teams": {"team5": {"headcount": 9}}}]
)
def test_an_export_contains_the_whole_request_and_is_imported_unchanged(schedule: Page, expected: dict, tmp_path: Path):
    choose(schedule, "x.json", json.dumps(expected))
    expect(schedule.locator(".toast").first).to_contain_text("已导入")
    first = export(schedule, "JSON", tmp_path).read_text("utf-8")
    assert json.loads(first) == expected
    schedule.evaluate("localStorage.clear()")
    schedule.reload()
    choose(schedule, "y.json", first)
    expect(schedule.locator(".toast").first).to_contain_text("已导入")
    assert export(schedule, "JSON", tmp_path).read_text("utf-8") == first


REPLAN = {
    "params": list(SAMPLE_PARAMS),
    "data_date": 30,
    "progress": {
        **{
            f"1.{step}": {"status": "done", "actual_start": start, "actual_finish": end, "workers": workers}
            for step, start, end, workers in ((1, 0, 8, 5), (2, 8, 12, 10), (3, 12, 20, 10), (6, 20, 27.2, 5))
        },
        "1.4": {"status": "running", "actual_start": 11, "workers": 2},
    },
    "published": {"1.5": {"start": 20, "workers": 2}, "1.13": {"start": 36, "workers": 5}},
}


def test_a_replan_shows_what_is_done_what_moved_and_what_contradicts(schedule: Page, tmp_path: Path):
    choose(schedule, "x.json", json.dumps(REPLAN))
    expect(schedule.locator(".toast").first).to_contain_text("已导入")
    answer = run(schedule)["result"]
    section = schedule.locator("[data-test=replanned]")
    expect(section).to_contain_text("从第 30.00 小时起重排")
    expect(section).to_contain_text(f"{answer['changes']['moved']} 道改了开始时间")
    expect(section.get_by_role("listitem")).to_have_count(len(answer["warnings"]))
    expect(section).to_contain_text("在 1.2、1.3 完工之前就已开工")
    schedule.get_by_text("以表格查看").click()
    rows = schedule.locator(".result details tbody tr")
    expect(rows.filter(has_text="已完工")).to_have_count(4)
    expect(rows.filter(has_text="施工中")).to_have_count(1)
    with schedule.expect_download() as saved:
        schedule.locator(".result").get_by_role("button", name="CSV", exact=True).click()
    saved.value.save_as(tmp_path / "x.csv")
    table = pd.read_csv(tmp_path / "x.csv")
    assert list(table["status"]) == [step["status"] for step in answer["schedule_details"]]
    assert table["shift_h"].count() == 2


def test_the_bound_of_a_plan_by_due_dates_is_not_drawn_as_a_makespan(schedule: Page):
    points = [
        {"id": name, "due": 5, "steps": [{"name": "搭架子", "team": "team1", "duration": 10}]} for name in ("A", "B")
    ]
    choose(schedule, "x.json", json.dumps({"workpoints": points, "objective": "weighted_tardiness"}))
    expect(schedule.locator(".toast").first).to_contain_text("已导入")
    answer = run(schedule)["result"]
    expect(schedule.locator("[data-test=tardiness]")).to_have_text(f"{answer['weighted_tardiness']:.2f}")
    expect(schedule.get_by_text("加权拖期下限")).to_be_visible()
    assert schedule.get_by_text("理论最短工期", exact=True).count() == 0


def test_values_from_a_file_are_shown_in_their_fields(schedule: Page):
    choose(schedule, "x.json", json.dumps(EVERYTHING))
    expect(schedule.locator(".toast").first).to_contain_text("已导入")
    expect(schedule.locator("[name=budget]")).to_have_value("250")
    expect(schedule.locator("[name=model]")).to_have_value("DDQN_v2.0")
    others = "algorithm、charts、data_date、progress、pinned、published、frozen_hours、stability_tolerance_h"
    expect(schedule.get_by_text(f"导入的文件还要求：{others}。")).to_be_visible()
    schedule.locator(".plant summary").click()
    expect(schedule.get_by_label("3 班 检验", exact=True)).to_have_value("12")


def test_the_dialog_fits_both_sizes_and_is_accessible(schedule: Page, mistakes: list[str]):
    choose(schedule, "x.csv", table(*[f"A,s{n},team2,x" for n in range(40)], ",t,team9,7"))
    expect(refused(schedule, mistakes).get_by_role("row")).to_have_count(41)
    check_both_sizes(schedule, "import")


# --- whatever the service refuses of a file ---


def steps(*changes: dict, **every: object) -> list[dict]:
    return [
        {"name": f"工序{n}", "team": "team1", "duration": 5, **every, **change} for n, change in enumerate(changes, 1)
    ]


def one(*changes: dict, **every: object) -> dict:
    return {"workpoints": [{"id": "甲", "steps": steps(*changes, **every)}]}


WRONG = {
    "two work points of one id": ({"workpoints": [{"id": "甲"}, {"id": "甲"}]}, "workpoint_id_twice"),
    "two steps of one id": (one({"id": "1"}, {"id": "1"}), "step_id_twice"),
    "an order is missing": (
        one({"order": 1}, {"order": None}),
        "no_order",
    ),
    "half a person": (one({"order": 1.5}), "int_type"),
    "nobody at work": (one({"min_crew": 0}), "greater_than_equal"),
    "too small a team": (one({"min_crew": 99}), "crew_above_headcount"),
    "a crew upside down": (one({"min_crew": 3, "max_crew": 2}, team="team5"), "max_crew_below_min_crew"),
    "a team that goes as a whole": (one({"max_crew": 2}), "dedicated_above_max_crew"),
    "a team that nobody knows": (one({"team": "外协"}), "unknown_team"),
    "a team of two sizes": (
        one({"team_size": 3}, {"team_size": 4}, team="外协"),
        "team_sizes_differ",
    ),
    "a predecessor that is not there": (one({"predecessors": ["焊接"]}), "unknown_predecessor"),
    "a predecessor of two": (
        one({"name": "焊接"}, {"name": "焊接"}, {"predecessors": ["焊接"]}),
        "ambiguous_predecessor",
    ),
    "a circle": (one({"predecessors": ["2"]}, {"predecessors": ["1"]}), "cycle"),
    "a name without end": (one({"name": "长" * 201}), "string_too_long"),
    "too many work points": ({"workpoints": [{"id": str(n)} for n in range(201)]}, "too_long"),
    "too many predecessors": (one({"predecessors": [str(n) for n in range(201)]}), "too_long"),
    "a team without people": (one({}) | {"teams": {"外协": {}}}, "no_headcount"),
    "neither yes nor no": (one({"dedicated": "是"}), "bool_type"),
    "a field that does not exist": (one({"颜色": "红"}), "unknown_member"),
    "nobody in a team": (
        {"params": list(SAMPLE_PARAMS), "teams": {"team1": {"headcount": 0}}},
        "greater_than_equal",
    ),
}


PLACES = {
    "an order is missing": "第 1 个工作点 第 2 道工序 次序",
    "too small a team": "最少人数",
    "a predecessor of two": "前置工序 1",
    "a team without people": "班组 外协 人数",
    "nobody in a team": "班组 1 班 脚手架 人数",
}


def test_a_refusal_of_a_file_is_completely_in_the_pages_language(schedule: Page, mistakes: list[str]):
    dialog = schedule.locator("dialog.import[open]")
    for mistake, (request, code) in WRONG.items():
        error = refusal_of(schedule, request)
        assert (mistake, error["code"]) == (mistake, code)
        text = WORDS.text(f"errors.{code}", error["params"], "zh")
        expect(refused(schedule, mistakes).get_by_role("row")).to_contain_text(PLACES.get(mistake, "") + text)
        assert set(re.findall(r"[A-Za-z]{3,}", dialog.inner_text())) <= {
            "true",
            "false",
            "json",
        }  # words of JSON itself
        dialog.get_by_role("button", name="关闭").click()
    schedule.get_by_role("button", name="English").click()
    for request, _ in WRONG.values():
        expect(dialog).to_be_hidden()
        error = refusal_of(schedule, request)
        expect(dialog.get_by_role("row")).to_contain_text(error["msg"])
        assert "422" in mistakes.pop()
        dialog.get_by_role("button", name="Close").click()


def refusal_of(page: Page, request: dict) -> dict:
    """The first error of the service for a file with this request."""
    with page.expect_response("**/requests/read") as result:
        choose(page, "文件.json", json.dumps(request))
    error: dict = result.value.json()["errors"][0]
    return error
