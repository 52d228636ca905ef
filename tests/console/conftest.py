"""A real browser on the real service: Debian's Chromium, driven by playwright, which brings no browser of its own."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, expect

from tests.conftest import LiveService, live_service
from tests.console.browsing import PATIENCE_MS, WIDE, new_context

expect.set_options(timeout=PATIENCE_MS)


@pytest.fixture(scope="module")
def console(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveService]:
    """A service of the module's own, whose records, models and experiments its tests may change."""
    with live_service(tmp_path_factory.mktemp("console")) as running:
        yield running


@pytest.fixture
def mistakes() -> list[str]:
    """What the browser's console complained of. A test that provokes it takes out what it expects."""
    return []


@pytest.fixture(scope="module")
def contexts(browser: Browser, console: LiveService) -> Iterator[list[BrowserContext]]:
    """The browser context of the module's tests: a page loads in half the time where its scripts are cached."""
    made: list[BrowserContext] = []
    yield made
    for context in made:
        context.close()


def context_of(contexts: list[BrowserContext], browser: Browser, console: LiveService) -> BrowserContext:
    """The module's context, without what an earlier page stored."""
    if not contexts:
        contexts.append(new_context(browser, console.url, viewport=WIDE, locale="zh-CN"))
    return contexts[0]


@pytest.fixture
def page(
    browser: Browser,
    console: LiveService,
    contexts: list[BrowserContext],
    mistakes: list[str],
    request: pytest.FixtureRequest,
) -> Iterator[Page]:
    """A page 1280 pixels wide; `page.goto("/#/models")`. Any error in the browser's console fails the test.

    A test that changes its context, by a clock or by permissions, is marked with `changes_context`.
    """
    context = context_of(contexts, browser, console)
    opened = context.new_page()
    stored = {"origin": console.url, "storageTypes": "local_storage"}
    context.new_cdp_session(opened).send("Storage.clearDataForOrigin", stored)

    def tell(message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            mistakes.append(f"{message.type}: {message.text} ({message.location.get('url')})")

    opened.on("console", tell)
    opened.on("pageerror", lambda err: mistakes.append(f"uncaught: {err}"))
    yield opened
    if folder := os.environ.get("SCREENSHOTS"):  # to look at what a failed test saw
        opened.screenshot(path=Path(folder) / f"{os.environ['PYTEST_CURRENT_TEST'].split('::')[-1].split(' ')[0]}.png")
    for each in context.pages:
        each.close()
    if request.node.get_closest_marker("changes_context"):
        contexts.remove(context)
        context.close()
    assert mistakes == []


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
    """The key of one more model."""
    (weights,) = (console.home / "models").rglob("*_v1.0.0.pth")
    body = {"model_path": str(weights), "algorithm_name": "DDQN", "bump": "major", "created_by": "tests"}
    answer = console.post("/models/register", json=body)
    assert answer.status_code == 201, answer.text
    key = answer.json()["model_key"]
    yield key
    console.delete(f"/models/{key}").raise_for_status()
