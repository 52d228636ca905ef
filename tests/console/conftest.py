"""A real browser on the real service: Debian's Chromium, driven by playwright."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import Browser, CDPSession, ConsoleMessage, Page, expect

from tests.conftest import LiveService, live_service
from tests.console.browsing import HTTP_ERROR, PATIENCE_MS, WIDE, new_context

expect.set_options(timeout=PATIENCE_MS)


@pytest.fixture(scope="module")
def console(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveService]:
    """A service for one module; its tests may change records, models and experiments."""
    with live_service(tmp_path_factory.mktemp("console")) as running:
        yield running


@pytest.fixture
def mistakes() -> list[str]:
    """The errors in the browser's console. A test that provokes one removes it from the list."""
    return []


@dataclass
class Tab:
    """The page of a module's tests, in a context of its own; `mistakes` are those of the test that has it."""

    page: Page
    cdp: CDPSession
    mistakes: list[str]
    refusals: int = 0
    """Requests of this test that were refused, also those that it has removed from `mistakes`."""


@pytest.fixture(scope="module")
def tabs(browser: Browser, console: LiveService) -> Iterator[list[Tab]]:
    """The one that the next test uses, if there is one: a document costs half the processor time where its scripts are
    cached, and a quarter less again in a process that is there already."""
    made: list[Tab] = []
    yield made
    for tab in made:
        tab.page.context.close()


def new_tab(browser: Browser, console: LiveService) -> Tab:
    """A page 1280 pixels wide; any error in the browser's console is a mistake."""
    page = new_context(browser, console.url, viewport=WIDE, locale="zh-CN").new_page()
    tab = Tab(page, page.context.new_cdp_session(page), [])

    def tell(message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            tab.mistakes.append(f"{message.type}: {message.text} ({message.location.get('url')})")
            tab.refusals += HTTP_ERROR in message.text

    page.on("console", tell)
    page.on("pageerror", lambda err: tab.mistakes.append(f"uncaught: {err}"))
    return tab


def cleared(tab: Tab, url: str) -> None:
    """What a test left in the page: its document, further pages, replaced answers, what it stored, its size."""
    page = tab.page
    for each in page.context.pages:
        if each != page:
            each.close()
    page.unroute_all(behavior="ignoreErrors")
    if page.url.startswith(url):
        tab.cdp.send("DOMStorage.clear", {"storageId": {"storageKey": f"{url}/", "isLocalStorage": False}})
    page.goto("about:blank")
    tab.cdp.send("Storage.clearDataForOrigin", {"origin": url, "storageTypes": "local_storage"})
    if page.viewport_size != WIDE:
        page.set_viewport_size(WIDE)  # type: ignore[arg-type]


@pytest.fixture
def page(
    browser: Browser, console: LiveService, tabs: list[Tab], mistakes: list[str], request: pytest.FixtureRequest
) -> Iterator[Page]:
    """A page 1280 pixels wide; `page.goto("/#/models")`. Any error in the browser's console fails the test.

    A test that changes its context, by a clock or by permissions, is marked with `changes_context`.
    """
    if not tabs:
        tabs.append(new_tab(browser, console))
    (tab,) = tabs
    tab.mistakes, tab.refusals = mistakes, 0
    yield tab.page
    if folder := os.environ.get("SCREENSHOTS"):  # to look at what a failed test saw
        tab.page.screenshot(
            path=Path(folder) / f"{os.environ['PYTEST_CURRENT_TEST'].split('::')[-1].split(' ')[0]}.png"
        )
    if request.node.get_closest_marker("changes_context"):
        tabs.remove(tab)
        tab.page.context.close()
    else:
        cleared(tab, console.url)
    # A page asks for several things at once. If the test has removed one refusal, the others may arrive later.
    late = [each for each in mistakes if HTTP_ERROR in each]
    is_expected = len(late) < tab.refusals
    assert [each for each in mistakes if not (is_expected and each in late)] == []


@pytest.fixture
def schedule(page: Page) -> Page:
    page.goto("/#/schedule")
    page.get_by_role("button", name="开始排程").wait_for()
    return page


@pytest.fixture
def workpoints(schedule: Page) -> Page:
    schedule.get_by_role("button", name="多个工作点").click()
    return schedule


@pytest.fixture
def third(console: LiveService) -> Iterator[str]:
    """The key of a third model."""
    (weights,) = (console.home / "models").rglob("*_v1.0.0.pth")
    body = {"model_path": str(weights), "algorithm_name": "DDQN", "bump": "major", "created_by": "tests"}
    answer = console.post("/models/register", json=body)
    assert answer.status_code == 201, answer.text
    key = answer.json()["model_key"]
    yield key
    console.delete(f"/models/{key}").raise_for_status()
