"""The Gantt chart of the planner's page, as the browser draws it."""

from playwright.sync_api import Page, expect

from tests.console.planning import run

VIEWS = ("工序", "工作点", "班组")

LABELS = """async () => {
    const { getInstanceByDom } = await import('echarts');
    const chart = getInstanceByDom(document.querySelector('.gantt canvas').closest('[_echarts_instance_]'));
    const drawn = chart.getZr().storage.getDisplayList(true);
    const texts = drawn.map((each) => each.type === 'rect' && each.getTextContent());
    return texts.filter(Boolean).map((each) => each.style.text);
}"""


def labels(page: Page) -> list[str]:
    """What stands on the bars that are drawn."""
    found: list[str] = page.evaluate(LABELS)
    return found


def test_a_view_that_is_come_back_to_bears_its_own_labels(schedule: Page):
    run(schedule)
    expect(schedule.locator(".gantt canvas")).to_be_visible()
    first: dict[str, list[str]] = {}
    for view in (*VIEWS, *reversed(VIEWS), VIEWS[1], VIEWS[0]):
        schedule.get_by_role("button", name=view, exact=True).click()
        found = labels(schedule)
        assert len(found) > 3
        assert found == first.setdefault(view, found), view
    assert len({tuple(each) for each in first.values()}) == 3
    assert all("人" in text and len(text) <= 3 for text in first["工序"])
