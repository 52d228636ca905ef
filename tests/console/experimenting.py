"""Steps that the tests of the experiments' page share."""

import json
from collections.abc import Iterable
from typing import Any

from playwright.sync_api import Page, expect

from scheduler_service.words import WORDS, Lang, Message
from tests.conftest import LiveService
from tests.console.browsing import HTTP_ERROR


def configured(console: LiveService) -> dict[str, Any]:
    """The configuration file of the experiments."""
    document: dict[str, Any] = json.loads((console.home / "ab_test_config.json").read_text("utf-8"))
    return document


def create(console: LiveService, name: str, **more: Any) -> None:
    body = {"experiment_name": name, "model_a": "DDQN_v1.0", "model_b": "DDQN_v2.0"} | more
    answer = console.post("/experiments", json=body)
    assert answer.status_code == 201, answer.text


def ask(console: LiveService, experiment: str, users: Iterable[int]) -> None:
    """One request of each user, each with another plant."""
    for user in users:
        params = [6 + user % 9, 5, 8, 6, 7, 4 + user % 11, 6, 7, 6, 7, 7, 3 + user % 7, 4, 7, 5]
        console.run(params=params, experiment=experiment, user_id=f"planner_{user}", time_budget_ms=0)


def agree(page: Page, action: str, *, reason: str = "", actor: str = "") -> list[str]:
    """Confirm in the dialog; return the consequences that it listed."""
    dialog = page.get_by_role("dialog")
    expect(dialog).to_be_visible()
    if reason:
        dialog.get_by_label("原因").fill(reason)
    if actor:
        dialog.get_by_label("操作人").fill(actor)
    consequences = dialog.get_by_role("listitem").all_inner_texts()
    dialog.get_by_role("button", name=action, exact=True).click()
    expect(dialog).to_be_hidden()
    return consequences


def signed(value: float) -> str:
    return f"{'+' if value > 0 else '−' if value < 0 else ''}{abs(value):.2f} %"


def said(*texts: dict[str, Any], lang: Lang = "zh") -> str:
    """The texts of an answer ({code, params} each) in the service's words."""
    return WORDS.say(*map(_message, texts), lang=lang)


def _message(value: Any) -> Any:
    if isinstance(value, dict) and "code" in value:
        return Message(value["code"], {name: _message(each) for name, each in value["params"].items()})
    return [_message(each) for each in value] if isinstance(value, list) else value


def takes_out(mistakes: list[str], count: int = 1) -> None:
    """Remove refused requests from the browser's complaints; nothing else may be there."""
    page_errors = [each for each in mistakes if HTTP_ERROR not in each]
    assert page_errors == []
    assert len(mistakes) >= count
    mistakes.clear()
