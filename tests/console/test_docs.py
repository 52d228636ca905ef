"""`/docs`: searchable, with curl for each call, and a request can be sent; nothing comes from elsewhere."""

import re
from typing import Any

from playwright.sync_api import Page, expect

from scheduler_service.http.routes.docs import whole_document

CALLS = ("/models/rollback", "/models", "/health/live", "/health")


def shortened() -> dict[str, Any]:
    """The document with a few calls: Scalar draws each of them, half a second of processor time a time."""
    whole: dict[str, Any] = whole_document()
    return whole | {"paths": {path: whole["paths"][path] for path in CALLS}}


def test_the_documentation_can_be_searched_and_tried_without_external_requests(
    page: Page, console, mistakes: list[str]
):
    requested: list[str] = []
    page.on("request", lambda request: requested.append(request.url))
    page.route("**/openapi.json", lambda route: route.fulfill(json=shortened()))
    page.goto("/docs")
    expect(page.get_by_role("search")).to_be_visible()
    page.keyboard.press("Control+k")
    page.get_by_role("combobox", name="Enter search query").fill("roll back")
    page.get_by_role("option", name="Roll back").first.click()
    expect(page).to_have_url(re.compile("POST/models/rollback$"))
    expect(page.get_by_role("button", name="Test Request (post /models/rollback)")).to_be_visible()
    expect(page.get_by_text("curl").first).to_be_visible()
    page.goto("/docs#tag/operations/GET/health/live")
    page.reload()
    page.get_by_role("button", name="Test Request (get /health/live)").click()
    with page.expect_response("**/health/live") as answered:
        page.get_by_role("button", name="Send").last.click()
    assert answered.value.json()["status"] == "alive"
    assert {url for url in requested if not url.startswith((console.url, "data:", "blob:"))} == set()
    # Scalar's own checks do not know every keyword of JSON Schema.
    mistakes[:] = [each for each in mistakes if not each.startswith("warning: ") or "Content Security" in each]
