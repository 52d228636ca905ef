"""Steps and checks that the tests of all pages share."""

import os
from pathlib import Path
from typing import Any

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, Page

HTTP_ERROR = "Failed to load resource"
"""What the browser says of an answer with an error status."""

AXE = Axe()
WIDE, NARROW = {"width": 1280, "height": 900}, {"width": 390, "height": 844}
PATIENCE_MS = 120_000
OWN_FILE = "window.ownFile = (name) => new URL(name, document.querySelector('script[type=module]').src).href"
"""A module of the console by the path that the page itself imports, so that both have the same instance."""


def new_context(browser: Browser, url: str, **more: Any) -> BrowserContext:
    """A browser context for the console of the service at `url`, with a timeout that a busy machine does not reach."""
    context = browser.new_context(base_url=url.replace("0.0.0.0", "127.0.0.1"), **more)
    context.set_default_timeout(PATIENCE_MS)
    context.add_init_script(OWN_FILE)
    return context


def check_accessibility(page: Page) -> None:
    """Check with axe-core that the current page has no serious or critical violation."""
    if not page.evaluate("'axe' in window"):
        page.evaluate(AXE.axe_script)
    found = page.evaluate("axe.run({resultTypes: ['violations']}).then((found) => found.violations)")
    grave = [
        f"{each['id']} ({each['impact']}): {node['html'][:200]} {node['failureSummary'][:300]}"
        for each in found
        if each["impact"] in ("serious", "critical")
        for node in each["nodes"]
    ]
    assert not grave, "\n".join(grave)


def check_both_sizes(page: Page, name: str) -> None:
    """Check that the page fits 1280 and 390 pixels without a serious violation; pictures go to $SCREENSHOTS."""
    for size in (NARROW, WIDE):
        page.set_viewport_size(size)  # type: ignore[arg-type]
        page.wait_for_timeout(150)  # charts adapt to their box
        overflow = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert overflow <= 0, f"{name} is {overflow} pixels too wide at {size['width']}"
        check_accessibility(page)
        if folder := os.environ.get("SCREENSHOTS"):
            page.screenshot(path=Path(folder) / f"{name}-{size['width']}.png", full_page=True)
