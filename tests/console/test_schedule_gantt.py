"""The Gantt chart of the planner's page, as drawn by the browser."""

import json
import re
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from scheduler_env.standard_cycle import SAMPLE_PARAMS
from tests.console.browsing import NARROW
from tests.console.planning import run

VIEWS = ("工序", "工作点", "班组")
CHART = """
    const { getInstanceByDom } = await import('echarts');
    const box = document.querySelector('.gantt canvas').closest('[_echarts_instance_]');
    const chart = getInstanceByDom(box);
"""
LABELS = f"""async () => {{
    {CHART}
    const drawn = chart.getZr().storage.getDisplayList(true);
    const texts = drawn.map((each) => each.type === 'rect' && each.getTextContent());
    return texts.filter((each) => each && each.style.text).map((each) => each.style.text);
}}"""
SHOWN = f"""async () => {{
    {CHART}
    const drawn = chart.getZr().storage.getDisplayList(true).filter((each) => each.type === 'rect');
    const texts = drawn.map((each) => each.getTextContent()).filter((each) => each?.style.text);
    const shown = texts.map((each) => each.childrenRef().map((part) => part.style.text).join(''));
    return shown;
}}"""
TEXTS = f"""async () => {{
    {CHART}
    return chart.getZr().storage.getDisplayList(true).map((each) => each.style.text).filter(Boolean);
}}"""
SIGHT = f"""async () => {{
    {CHART}
    const [{{ startValue: from, endValue: to }}, {{ startValue: first, endValue: last }}] = chart.getOption().dataZoom;
    const {{ top, bottom }} = box.getBoundingClientRect();
    return {{ from, to, first, last, top, bottom, height: innerHeight, scrolled: scrollY }};
}}"""
HOUR = f"async (x) => {{ {CHART} return chart.convertFromPixel({{ xAxisIndex: 0 }}, x); }}"
LARGE = {"workpoints": [{"id": f"E-{101 + at}", "name": f"换热器{at}", "params": SAMPLE_PARAMS} for at in range(20)]}


def sight(page: Page) -> dict[str, float]:
    """The visible part of the chart: hours from..to, rows first..last, and its position in the window."""
    found: dict[str, float] = page.evaluate(SIGHT)
    return found


def drawn(page: Page) -> dict[str, Any]:
    """The schedule that is drawn after pressing the button."""
    answer = run(page)
    expect(page.locator(".gantt canvas")).to_be_visible()
    return answer


def load(page: Page, request: dict[str, Any]) -> None:
    content = json.dumps(request).encode()
    page.locator("input[type=file]").set_input_files({"name": "x.json", "mimeType": "text/plain", "buffer": content})
    expect(page.locator(".workpoint")).to_have_count(len(request["workpoints"]))


def over_the_chart(page: Page) -> tuple[float, float]:
    """Move the pointer to the middle of the chart, which is below the head of the page."""
    page.locator(".gantt-tools").evaluate("(tools) => scrollBy(0, tools.getBoundingClientRect().top - 100)")
    box = page.locator(".gantt-scroll").bounding_box()
    assert box is not None
    middle = (box["x"] + box["width"] / 2, box["y"] + min(box["height"] / 2, 250.0))
    page.mouse.move(*middle)
    return middle


@pytest.fixture
def large(schedule: Page) -> Page:
    """20 work points, 300 rows, drawn."""
    load(schedule, LARGE)
    drawn(schedule)
    return schedule


def test_a_view_selected_again_shows_its_own_labels(schedule: Page):
    drawn(schedule)
    first: dict[str, list[str]] = {}
    for view in (*VIEWS, *reversed(VIEWS), VIEWS[1], VIEWS[0]):
        schedule.get_by_role("button", name=view, exact=True).click()
        found = schedule.evaluate(LABELS)
        assert len(found) > 3
        assert found == first.setdefault(view, found), view
    assert len({tuple(each) for each in first.values()}) == 3
    assert all("人" in text and len(text) <= 3 for text in first["工序"])


def test_a_bar_too_short_for_its_text_shows_none(large: Page):
    over_the_chart(large)
    all_hours = large.evaluate(LABELS)
    for _ in range(6):
        large.get_by_role("button", name="放大时间").click()
    large.get_by_role("button", name="全部时间").click()
    assert large.evaluate(LABELS) == all_hours


def test_a_redrawn_chart_keeps_nothing_of_the_previous_one(schedule: Page):
    texts = schedule.evaluate(
        """async () => {
        const { createApp, h, reactive, nextTick } = await import('vue');
        const { getInstanceByDom } = await import('echarts');
        const { default: EChart } = await import(ownFile('parts/chart.js'));
        const option = (label) => ({
            animation: false, xAxis: {}, yAxis: {},
            series: { type: 'custom', data: [[1, 1]], renderItem: () => ({
                type: 'rect', shape: { x: 50, y: 50, width: 50, height: 20 },
                ...(label ? { textContent: { style: { text: label } } } : {}),
            }) },
        });
        const shown = reactive({ option: option('former') });
        const place = document.body.appendChild(document.createElement('div'));
        createApp({ render: () => h(EChart, { option: shown.option, label: 'x' }) }).mount(place);
        shown.option = option('');
        await nextTick();
        const chart = getInstanceByDom(place.querySelector('[_echarts_instance_]'));
        const rects = chart.getZr().storage.getDisplayList(true).filter((each) => each.type === 'rect');
        return rects.map((each) => each.getTextContent()?.style.text ?? '');
    }"""
    )
    assert texts == [""]


def test_the_wheel_scrolls_all_rows_with_visible_hours_and_then_the_page(large: Page):
    over_the_chart(large)
    before = sight(large)
    assert before["first"] == 0
    expect(large.locator("[data-test=rows]")).to_have_text(f"第 1–{before['last'] + 1:.0f} 行，共 300 行")
    seen = set(range(int(before["last"]) + 1))
    while max(seen) < 299:
        large.mouse.wheel(0, 22 * 10)
        large.wait_for_function(
            "(last) => !document.querySelector('[data-test=rows]').textContent.includes(`–${last} `)",
            arg=max(seen) + 1,
        )
        now = sight(large)
        assert now["top"] >= 0, "the chart stays where it is"
        assert now["bottom"] <= now["height"], "with the hours below its rows"
        assert now["first"] <= max(seen) + 1, "no row is passed over"
        seen |= set(range(int(now["first"]), int(now["last"]) + 1))
    assert seen == set(range(300))
    assert sight(large)["scrolled"] == before["scrolled"]
    large.wait_for_timeout(500)  # the browser sends a turn of the wheel to where it began
    large.mouse.wheel(0, 300)
    large.wait_for_function("(before) => scrollY > before", arg=before["scrolled"])


def test_the_wheel_scrolls_the_page_if_all_rows_are_visible(schedule: Page):
    drawn(schedule)
    schedule.mouse.move(10, 10)
    schedule.evaluate("scrollTo(0, 0)")
    box = schedule.locator(".gantt-scroll").bounding_box()
    assert box is not None
    schedule.mouse.move(box["x"] + 300, box["y"] + 100)
    schedule.mouse.wheel(0, 200)
    schedule.wait_for_function("scrollY > 0")
    assert sight(schedule)["last"] == 14


@pytest.mark.parametrize("key", ["Control", "Meta"])
def test_the_wheel_with_ctrl_or_command_zooms_at_the_pointer(large: Page, key: str):
    across, _ = over_the_chart(large)
    left = large.locator(".gantt").bounding_box()
    assert left is not None
    x = across - left["x"]
    before, hour = sight(large), large.evaluate(HOUR, x)
    large.keyboard.down(key)
    large.mouse.wheel(0, -240)
    large.keyboard.up(key)
    expect(large.get_by_role("button", name="全部时间")).to_be_enabled()
    after = sight(large)
    assert after["to"] - after["from"] == pytest.approx((before["to"] - before["from"]) / 2, rel=0.01)
    assert large.evaluate(HOUR, x) == pytest.approx(hour, abs=0.5)
    assert (after["first"], after["scrolled"]) == (before["first"], before["scrolled"])


def test_hours_are_zoomed_and_moved_with_buttons_and_keys(schedule: Page):
    drawn(schedule)
    whole = sight(schedule)
    rows = schedule.get_by_role("region", name="甘特图的各行")
    less, all_hours = (schedule.get_by_role("button", name=name) for name in ("缩小时间", "全部时间"))
    expect(less).to_be_disabled()
    schedule.get_by_role("button", name="放大时间").press("Enter")
    expect(less).to_be_enabled()
    closer = sight(schedule)
    assert closer["to"] - closer["from"] == pytest.approx((whole["to"] - whole["from"]) / 1.6)
    rows.press("ArrowRight")
    moved = sight(schedule)
    assert moved["from"] > closer["from"]
    assert moved["to"] - moved["from"] == pytest.approx(closer["to"] - closer["from"])
    schedule.get_by_role("button", name="工作点", exact=True).click()
    assert sight(schedule)["from"] == pytest.approx(moved["from"]), "the same hours in another view"
    rows.press("-")
    rows.press("+")
    rows.press("+")
    assert sight(schedule)["to"] - sight(schedule)["from"] < closer["to"] - closer["from"]
    all_hours.click()
    expect(all_hours).to_be_disabled()
    assert (sight(schedule)["from"], sight(schedule)["to"]) == (whole["from"], whole["to"])


def test_the_equipment_number_is_shown_beside_its_rows_in_the_tooltip_and_in_the_table(schedule: Page):
    load(schedule, {"workpoints": LARGE["workpoints"][:2]})
    drawn(schedule)
    assert "E-102 换热器1 搭架子" in schedule.evaluate(TEXTS)
    schedule.get_by_role("button", name="工作点", exact=True).click()
    assert "E-101 换热器0" in schedule.evaluate(TEXTS)
    schedule.get_by_role("button", name="班组", exact=True).click()
    assert any(text.startswith("E-102 ") for text in schedule.evaluate(LABELS))
    shown = schedule.evaluate(SHOWN)
    assert len(shown) > 3
    assert all(re.match(r"E-10[12]", text) for text in shown), "half a number is another one's"
    x, y = over_the_chart(schedule)
    tip = schedule.locator(".gantt div", has_text="编号: E-10")
    for down in range(-200, 200, 25):
        schedule.mouse.move(x, y + down)
        schedule.wait_for_timeout(50)
        if tip.count():
            break
    expect(tip.last).to_contain_text("工作点: 换热器")
    schedule.get_by_text("以表格查看").click()
    expect(schedule.locator(".result table tbody tr", has_text="E-102")).to_have_count(15)


def test_a_name_containing_its_number_is_shown_without_it(schedule: Page):
    result = schedule.evaluate(
        """async () => {
        const { placeOf } = await import(ownFile('pages/schedule/gantt_rows.js'));
        const named = [['1', '工作点1'], ['1', '锅炉11'], ['E-1', 'E-1 锅炉'], ['E-1', 'E-11'], ['k', '锅炉']];
        return named.map(([workpoint_id, workpoint_name]) => placeOf({ workpoint_id, workpoint_name }));
    }"""
    )
    assert result == ["工作点1", "1 锅炉11", "E-1 锅炉", "E-1 E-11", "k 锅炉"]


@pytest.mark.parametrize("size", [NARROW, {"width": 1280, "height": 800}])
def test_the_chart_fits_the_window_including_its_hours(large: Page, size: dict[str, int]):
    large.set_viewport_size(size)  # type: ignore[arg-type]
    for view in ("工作点", "班组", "工序"):
        large.get_by_role("button", name=view, exact=True).click()
        over_the_chart(large)
        now = sight(large)
        assert 0 <= now["top"] < now["bottom"] <= now["height"]
