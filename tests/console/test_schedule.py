"""The planner's page: from the click to the database row."""

import json
import re
import time
from itertools import pairwise, product
from xml.etree import ElementTree

import pandas as pd
import pytest
from playwright.sync_api import Page, Route, expect

from scheduler_env.agent import GREEDY
from scheduler_env.alternating import STAGE as GENETIC
from scheduler_env.decomposition import PARTS
from scheduler_env.exact import STAGE as CPSAT
from scheduler_env.rules import ALL_RULES
from scheduler_env.standard_cycle import DEFAULT_TEAMS, MAX_DURATION_H, SAMPLE_PARAMS, STANDARD_STEPS
from tests.conftest import LiveService
from tests.console.browsing import check_both_sizes
from tests.console.planning import recorded, run
from tests.waiting import until


def test_the_pages_standard_cycle_equals_that_of_the_service(schedule: Page):
    result = schedule.evaluate("""async () => {
        const { STEPS, TEAMS, MAX_HOURS } = await import(ownFile('pages/schedule/standard.js'));
        return { STEPS, TEAMS, MAX_HOURS };
    }""")
    assert result["MAX_HOURS"] == MAX_DURATION_H
    assert result["TEAMS"] == [
        {"name": t.name, "headcount": t.headcount, "dedicated": t.dedicated} for t in DEFAULT_TEAMS
    ]
    assert result["STEPS"] == [
        {"zh": step.name_zh, "en": step.name, "order": step.order, "team": step.team, "sample": sample}
        for step, sample in zip(STANDARD_STEPS, SAMPLE_PARAMS, strict=True)
    ]


def test_one_click_on_a_new_page_draws_and_records_the_sample(schedule: Page, console: LiveService):
    answer = run(schedule)
    expect(schedule.locator(".gantt canvas")).to_be_visible()
    expect(schedule.get_by_test_id("makespan").or_(schedule.locator("[data-test=makespan]"))).to_have_text("52.87 小时")
    expect(schedule.get_by_text("已证明最优", exact=True)).to_be_visible()
    expect(schedule.locator("[data-test=found-by]")).to_have_text("分解求解，已证明最优")
    chart = schedule.get_by_role("img", name=re.compile("甘特图：总工期 52.87 小时"))
    critical = sum(step["critical"] for step in answer["result"]["schedule_details"])
    expect(chart).to_have_attribute("aria-label", re.compile(f"共 15 道工序，其中关键工序 {critical} 道"))
    row = recorded(console).iloc[-1]
    assert row.request_id == answer["request_id"]
    assert json.loads(row.input_params) == {"params": list(SAMPLE_PARAMS)}
    expect(schedule.locator(".history tbody tr").first).to_contain_text("52.87 小时")


FOUND_BY = {
    GREEDY: "模型自身排程",
    PARTS: "分解求解，尚未全部证明 · 7 个方案中选出",
    "annealing": "模拟退火 · 7 个方案中选出",
    GENETIC: "遗传算法 · 7 个方案中选出",
    CPSAT: "CP-SAT 求解 · 7 个方案中选出",
    str(ALL_RULES[0]): f"优先规则 {ALL_RULES[0]} · 7 个方案中选出",
}


def test_the_search_method_is_shown_in_the_readers_language(schedule: Page):
    stages = iter(FOUND_BY)

    def answer(route: Route) -> None:
        result = route.fetch()
        body = result.json()
        body["result"] |= {"stage": next(stages), "evaluations": 7}
        route.fulfill(response=result, json=body)

    schedule.route("**/run_algorithm", answer)
    for words in FOUND_BY.values():
        run(schedule)
        expect(schedule.locator("[data-test=found-by]")).to_have_text(words)


def test_every_bar_of_the_three_views_is_drawn_at_its_scheduled_time(schedule: Page):
    answer = run(schedule)
    expect(schedule.locator(".gantt canvas")).to_be_visible()
    for view in ("process", "workpoint", "team"):
        bars = schedule.evaluate(
            """async ([result, view]) => {
            const { gantt } = await import(ownFile('pages/schedule/gantt.js'));
            const look = {};
            const { option } = gantt(result, view, { t: (key) => key, lang: 'zh', look, showCritical: true });
            return option.series.find((each) => each.type === 'custom').data.map((each) => each.value);
        }""",
            [answer["result"], view],
        )
        at_work: dict[tuple[int, int], list[tuple[float, float]]] = {}
        for _, row, start, end, count in bars:
            for lane in range(row, row + count):
                at_work.setdefault((0, lane), []).append((start, end))
        for spans in at_work.values():  # no two bars overlap
            spans.sort()
            assert all(before[1] <= after[0] + 1e-6 for before, after in pairwise(spans)), view
        drawn = sorted({(round(start, 6), round(end, 6)) for _, _, start, end, _ in bars})
        assert drawn == sorted(
            {(round(s["start"], 6), round(s["end"], 6)) for s in answer["result"]["schedule_details"]}
        ), view
        if view == "team":
            people = sum(count for *_, count in bars)
            assert people == sum(step["workers"] for step in answer["result"]["schedule_details"])


def test_rows_of_every_second_work_point_are_shaded(workpoints: Page):
    answer = run(workpoints)
    expect(workpoints.locator(".gantt canvas")).to_be_visible()
    rows, shapes = workpoints.evaluate(
        """async (result) => {
            const { gantt } = await import(ownFile('pages/schedule/gantt.js'));
            const { option } = gantt(result, 'process', { t: (key) => key, lang: 'zh', look: {}, showCritical: true });
            const [, ground] = option.series.filter((each) => each.type === 'custom');
            const size = { coordSys: { x: 100, width: 500 } };
            const at = (row) => ({ value: () => row, coord: () => [0, 10 + 20 * row], size: () => [0, 20] });
            const drawn = ([, row]) => ground.renderItem(size, at(row));
            return [ground.data.map(([, row]) => row), ground.data.map((each) => drawn(each).shape)];
        }""",
        answer["result"],
    )
    assert rows == list(range(15, 30))
    assert shapes == [{"x": 100, "y": 20 * row, "width": 500, "height": 20} for row in rows]


def test_a_pasted_list_fills_the_fields_from_the_focused_one_on(schedule: Page, console: LiveService):
    schedule.get_by_text("粘贴数值", exact=True).click()
    schedule.get_by_label("15 个数值").fill("[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15.5]")
    schedule.get_by_role("button", name="填入", exact=True).click()
    expect(schedule.locator("[name=duration-15]")).to_have_value("15.5")
    schedule.locator("[name=duration-2]").evaluate("""field => {
        const clipboardData = new DataTransfer();
        clipboardData.setData('text', '20，21 22');
        field.dispatchEvent(new ClipboardEvent('paste', { clipboardData, bubbles: true, cancelable: true }));
    }""")
    run(schedule)
    expect(schedule.locator(".gantt canvas")).to_be_visible()
    assert json.loads(recorded(console).iloc[-1].input_params)["params"] == [1, 20, 21, 22, *range(5, 15), 15.5]


def test_full_width_digits_are_accepted(schedule: Page):
    schedule.get_by_text("粘贴数值", exact=True).click()
    schedule.get_by_label("15 个数值").fill("１０，５．５；８、６　7,9,6,7,6,7,7,7,4,7,５")
    schedule.get_by_role("button", name="填入", exact=True).click()
    for at, hours in (("1", "10"), ("2", "5.5"), ("3", "8"), ("15", "5")):
        expect(schedule.locator(f"[name=duration-{at}]")).to_have_value(hours)


def test_enter_in_a_field_schedules_without_a_mouse(schedule: Page):
    schedule.locator("[name=duration-1]").focus()
    with schedule.expect_response("**/run_algorithm"):
        schedule.keyboard.press("Enter")
    expect(schedule.locator(".gantt canvas")).to_be_visible()
    schedule.locator(".stars input").first.focus()
    schedule.keyboard.press("ArrowRight")
    expect(schedule.get_by_text("2 分：较差", exact=True).last).to_be_visible()


def test_work_points_edited_in_a_table_are_sent_as_edited(workpoints: Page, console: LiveService):
    page = workpoints
    page.get_by_label("名称", exact=True).fill("锅炉")
    page.get_by_label("工时 1", exact=True).fill("12.5")
    page.get_by_label("最多人数 2", exact=True).fill("6")
    page.get_by_label("须单独进行 4", exact=True).check()
    page.get_by_role("button", name="删除 合格报告出具").click()
    page.get_by_role("button", name="复制").click()
    page.get_by_text("班组人数", exact=True).click()
    page.get_by_label("3 班 检验", exact=True).fill("12")
    run(page)
    expect(page.locator(".gantt canvas")).to_be_visible()
    body = json.loads(recorded(console).iloc[-1].input_params)
    assert body["teams"] == {"team3": {"headcount": 12}}
    boiler, copy, other = body["workpoints"]
    assert (boiler["id"], boiler["name"], len(boiler["steps"])) == ("1", "锅炉", 14)
    assert boiler["steps"][0] == {"name": "搭架子", "order": 1, "team": "team1", "duration": 12.5}
    assert boiler["steps"][1]["max_crew"] == 6
    assert boiler["steps"][3]["parallel"] is False
    assert copy == boiler | {"id": "3"}
    assert len(other["steps"]) == 15


@pytest.mark.parametrize("kind", ["JSON", "CSV"])
def test_an_export_can_be_imported_again(workpoints: Page, console: LiveService, kind: str, tmp_path):
    page = workpoints
    page.get_by_label("名称", exact=True).fill('=HYPERLINK("x"),"引号"')
    page.get_by_label("最少人数 3", exact=True).fill("4")
    page.get_by_label("须单独进行 4", exact=True).check()
    run(page)
    before = json.loads(recorded(console).iloc[-1].input_params)
    with page.expect_download() as result:
        page.get_by_role("button", name=f"导出 {kind}").click()
    file = tmp_path / result.value.suggested_filename
    result.value.save_as(file)
    page.evaluate("localStorage.clear()")
    page.reload()
    page.get_by_role("button", name="多个工作点").click()
    page.locator("input[type=file]").set_input_files(file)
    expect(page.get_by_text("已导入 2 个工作点，共 30 道工序。")).to_be_visible()
    run(page)
    after = json.loads(recorded(console).iloc[-1].input_params)
    assert after == before
    if kind == "CSV":  # text that a spreadsheet would run as a formula is marked
        assert "\"'=HYPERLINK(" in file.read_text(encoding="utf-8-sig")


def test_a_table_written_by_excel_is_read(workpoints: Page):
    kinds = product(["utf-8", "utf-8-sig", "utf-16", "gb18030"], [",", ";", "\t"])
    for number, (encoding, separator) in enumerate(kinds, 1):
        lines = [["workpoint_id", "workpoint_name", "step", "team", "duration"]]
        lines += [["1", f"锅炉{number}", f"打磨{number}", "team2", "8"]]
        table = "".join(separator.join(line) + "\r\n" for line in lines)
        workpoints.locator("input[type=file]").set_input_files(
            {"name": "表.CSV", "mimeType": "application/vnd.ms-excel", "buffer": table.encode(encoding)}
        )
        expect(workpoints.get_by_label("名称", exact=True)).to_have_value(f"锅炉{number}")
        expect(workpoints.get_by_label("工序 1", exact=True)).to_have_value(f"打磨{number}")
    expect(workpoints.get_by_text("已导入 1 个工作点，共 1 道工序。").first).to_be_visible()


def test_a_file_with_the_15_durations_is_reported_as_such(workpoints: Page):
    content = json.dumps({"params": [float(n) for n in range(1, 16)]})
    workpoints.locator("input[type=file]").set_input_files(
        {"name": "x.json", "mimeType": "application/json", "buffer": content.encode()}
    )
    expect(workpoints.get_by_text("已导入 15 道标准工序的工时。")).to_be_visible()
    expect(workpoints.locator("[name=duration-15]")).to_have_value("15")


def searches(console: LiveService) -> float:
    """The number of running and waiting searches."""
    answer = re.search(r'^queue_depth\{kind="improving"\} (\S+)$', console.get("/metrics").text, re.MULTILINE)
    assert answer is not None
    return float(answer[1])


def test_progress_is_shown_during_a_time_budget_and_stopping_stops_the_service_too(
    workpoints: Page, console: LiveService
):
    page = workpoints
    page.get_by_label("改进时间").select_option("30000")

    def ends_early() -> bool:
        page.get_by_role("button", name="开始排程").click()
        began_s = time.monotonic()
        expect(page.get_by_role("progressbar")).to_be_visible()
        expect(page.locator(".progress")).to_contain_text(
            re.compile(r"正在改进方案：已用 \d+\.\d 秒，还需约 \d+\.\d 秒")
        )
        page.get_by_role("button", name="停止").click()
        expect(page.get_by_text("已停止，服务器也已停止计算。")).to_be_visible()
        expect(page.get_by_role("button", name="开始排程")).to_be_enabled()
        until(lambda: not searches(console))
        return time.monotonic() - began_s < 25.0

    assert any(ends_early() for _ in range(3)), "of the 30 s that it was given, unless the machine stands still"


def test_the_schedule_is_kept_while_another_page_is_visited(schedule: Page):
    run(schedule)
    schedule.get_by_role("button", name="班组").click()
    schedule.get_by_role("link", name="模型", exact=True).click()
    expect(schedule.locator(".page.models")).to_be_visible()
    schedule.go_back()
    expect(schedule.locator("[data-test=makespan]")).to_have_text("52.87 小时")
    expect(schedule.locator(".gantt canvas")).to_be_visible()
    expect(schedule.get_by_role("button", name="班组")).to_have_attribute("aria-pressed", "true")


def hold(page: Page, address: str) -> list[Route]:
    """Hold requests; the list has those that came so far."""
    held: list[Route] = []

    def add(route: Route) -> None:  # the library sets attributes of its handlers, which a method of a list has not
        held.append(route)

    page.route(address, add)
    return held


def begin_held(page: Page) -> Route:
    """Begin a run, and hold its request, so that it does not end before the test has looked at the page."""
    held = hold(page, "**/run_algorithm")
    page.get_by_role("button", name="开始排程").click()
    expect(page.get_by_role("progressbar")).to_be_visible()
    return held[0]


FIRST_TOAST = """() => {
  window.firstToast = new Promise((resolve) => {
    const look = () => document.querySelector(".toast") && resolve(document.querySelector(".toast").innerText);
    new MutationObserver(look).observe(document.body, { childList: true, subtree: true });
  });
}"""
"""Keeps the text of the next toast, which closes after seconds: a busy machine may look for it too late."""


def test_a_run_continues_on_another_page_and_its_end_is_reported(schedule: Page, console: LiveService):
    before = len(recorded(console))
    held = begin_held(schedule)
    style = hold(schedule, "**/pages/monitoring/style.css")
    with schedule.expect_request("**/pages/monitoring/style.css"):
        schedule.get_by_role("link", name="监控").click()
    for _ in range(3):  # drawn again and again while the next page loads
        shown = schedule.locator(".progress").inner_text()
        expect(schedule.locator(".progress")).not_to_have_text(shown)
    style[0].continue_()
    expect(schedule.get_by_role("heading", name="监控", exact=True)).to_be_visible()
    schedule.evaluate(FIRST_TOAST)
    with schedule.expect_response("**/run_algorithm") as response:
        held.continue_()
    makespan = f"{response.value.json()['result']['makespan']:.2f} 小时"
    assert f"排程已完成：总工期 {makespan}" in schedule.evaluate("window.firstToast")
    assert len(recorded(console)) == before + 1
    schedule.get_by_role("link", name="排程", exact=True).click()
    expect(schedule.locator("[data-test=makespan]")).to_have_text(makespan)


def test_returning_during_a_run_shows_it_and_its_entry_in_the_history(workpoints: Page):
    page = workpoints
    held = begin_held(page)
    page.get_by_role("link", name="模型", exact=True).click()
    page.get_by_role("link", name="排程", exact=True).click()
    expect(page.get_by_role("button", name="停止")).to_be_visible()
    held.continue_()
    expect(page.get_by_role("button", name="停止")).to_be_hidden()
    makespan = page.locator("[data-test=makespan]").inner_text()
    expect(page.locator(".history tbody tr").first).to_contain_text(makespan)


def test_pictures_and_tables_can_be_saved(schedule: Page, tmp_path):
    answer = run(schedule)
    files = {}
    for kind in ("PNG", "SVG", "CSV", "JSON"):
        with schedule.expect_download() as result:
            schedule.locator(".result").get_by_role("button", name=kind, exact=True).click()
        files[kind] = tmp_path / result.value.suggested_filename
        result.value.save_as(files[kind])
    assert files["PNG"].read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    drawn = ElementTree.parse(files["SVG"]).getroot()
    words = "".join(drawn.itertext())
    assert all(step["name"] in words for step in answer["result"]["schedule_details"])
    table = pd.read_csv(files["CSV"])
    assert list(table.start_h) == [step["start"] for step in answer["result"]["schedule_details"]]
    assert list(table.critical) == [step["critical"] for step in answer["result"]["schedule_details"]]
    assert json.loads(files["JSON"].read_text("utf-8")) == answer


def test_a_verdict_is_recorded_with_its_run(schedule: Page, console: LiveService):
    answer = run(schedule)
    schedule.locator(".stars label").nth(3).click()
    schedule.get_by_label("意见").fill("<b>可行</b>")
    schedule.get_by_role("button", name="提交评价").click()
    expect(schedule.get_by_text("评价已记录")).to_be_visible()
    row = recorded(console).set_index("request_id").loc[answer["request_id"]]
    assert row.user_satisfaction == 4
    assert console.get(f"/runs/{answer['request_id']}").json()["run"]["comment"] == "<b>可行</b>"


def test_an_earlier_run_is_loaded_from_the_history_and_repeated(schedule: Page, console: LiveService):
    request = {"workpoints": [{"id": "k", "params": list(SAMPLE_PARAMS[::-1])}], "teams": {"team5": {"headcount": 9}}}
    first = console.run(**request)
    schedule.reload()
    schedule.locator(".history tbody tr").first.get_by_role("button", name=re.compile("载入")).click()
    expect(schedule.get_by_text("已载入这次排程的输入")).to_be_visible()
    expect(schedule.get_by_label("工时 1", exact=True)).to_have_value(str(SAMPLE_PARAMS[-1]))
    again = run(schedule)
    assert again["result"]["team_headcount"]["team5"] == 9
    assert [step["id"] for step in again["result"]["schedule_details"]] == [
        step["id"] for step in first["result"]["schedule_details"]
    ]
    asked_again = json.loads(recorded(console).iloc[-1].input_params)
    durations = [step["duration"] for step in asked_again["workpoints"][0]["steps"]]
    assert (durations, asked_again["teams"]) == (list(SAMPLE_PARAMS[::-1]), request["teams"])


def test_input_survives_a_reload(schedule: Page):
    schedule.locator("[name=duration-1]").fill("33")
    schedule.wait_for_function("localStorage.getItem('scheduler.draft')?.includes('33')")
    schedule.reload()
    expect(schedule.locator("[name=duration-1]")).to_have_value("33")


def test_the_schedule_survives_a_reload_and_has_an_address(schedule: Page):
    answer = run(schedule)
    expect(schedule.locator(".gantt canvas")).to_be_visible()
    schedule.reload()
    expect(schedule.locator(".gantt canvas")).to_be_visible()
    expect(schedule.locator("[data-test=makespan]")).to_have_text("52.87 小时")
    with schedule.expect_download() as result:
        schedule.get_by_role("button", name="JSON", exact=True).click()
    assert json.loads(result.value.path().read_text(encoding="utf-8")) == answer
    other = schedule.context.new_page()
    other.goto(schedule.url.partition("#")[0])
    expect(other.get_by_text("甘特图会显示在这里")).to_be_visible()
    assert schedule.url.endswith(f"#/schedule/{answer['request_id']}")
    other.goto(schedule.url)
    expect(other.locator(".gantt canvas")).to_be_visible()
    expect(other.locator("[data-test=makespan]")).to_have_text("52.87 小时")
    with other.expect_download() as result:
        other.get_by_role("button", name="JSON", exact=True).click()
    same = json.loads(result.value.path().read_text(encoding="utf-8"))
    assert same["result"]["schedule_details"] == answer["result"]["schedule_details"]
    other.close()


@pytest.mark.parametrize("setting", ["forbidden", "full"])
def test_with_full_browser_storage_a_schedule_is_still_drawn(schedule: Page, setting: str):
    what = {
        "forbidden": "void Object.defineProperty(window, 'sessionStorage', { get() { throw Error('no'); } })",
        "full": "void (Storage.prototype.setItem = () => { throw new DOMException('full'); })",
    }[setting]
    run(schedule)
    schedule.add_init_script(what)
    schedule.evaluate(what)
    schedule.locator("[name=duration-1]").fill("33")
    answer = run(schedule)
    makespan = f"{answer['result']['makespan']:.2f} 小时"
    expect(schedule.locator("[data-test=makespan]")).to_have_text(makespan)
    expect(schedule).to_have_url(re.compile(answer["request_id"]))
    schedule.reload()
    expect(schedule.locator("[data-test=makespan]")).to_have_text(makespan)  # that of the address, not the previous one


def test_names_are_shown_as_text_everywhere(workpoints: Page):
    evil = "<img src=x onerror='window.isOwned=true'>"
    workpoints.get_by_label("名称", exact=True).fill(evil)
    workpoints.get_by_label("工序 1", exact=True).fill(evil)
    run(workpoints)
    box = workpoints.locator(".gantt").bounding_box()
    assert box is not None
    tips = workpoints.locator(".gantt div", has_text="onerror")
    for across in range(120, int(box["width"]), 40):  # over all bars, until the tooltip of the renamed one opens
        for down in range(40, int(box["height"]), 12):
            workpoints.mouse.move(box["x"] + across, box["y"] + down)
            workpoints.wait_for_timeout(20)
            if tips.count() > 0:
                break
        if tips.count() > 0:
            break
    assert tips.count() > 0
    assert workpoints.evaluate("window.isOwned") is None


def test_the_page_with_schedules_fits_both_sizes_and_is_accessible(workpoints: Page):
    keys = workpoints.get_by_label("对比模型").locator("option").evaluate_all("each => each.map(one => one.value)")
    workpoints.get_by_label("对比模型").select_option(keys[1])
    workpoints.get_by_label("改进时间").select_option("0")
    workpoints.get_by_role("button", name="开始排程").click()
    expect(workpoints.locator(".gantt canvas")).to_have_count(2)
    workpoints.locator(".stars label").nth(2).click()
    check_both_sizes(workpoints, "schedule-two")
    workpoints.get_by_role("button", name="15 道标准工序").click()
    workpoints.get_by_role("button", name="English").click()
    check_both_sizes(workpoints, "schedule-english")


def test_data_that_could_not_be_refreshed_is_marked_as_old(schedule: Page, mistakes: list[str]):
    run(schedule)
    history = schedule.get_by_role("region", name="最近的排程").last
    expect(history).to_have_css("filter", "none")
    schedule.route("**/runs?*", lambda route: route.abort())
    run(schedule)
    expect(schedule.get_by_text("以下是上次读到的内容。")).to_be_visible()
    expect(history).to_have_css("filter", "grayscale(1)")
    schedule.unroute("**/runs?*")
    schedule.get_by_role("button", name="重试").click()
    expect(history).to_have_css("filter", "none")
    assert "ERR_FAILED" in mistakes.pop()
