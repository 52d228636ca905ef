"""What the page shows before a promotion, and which action it offers first."""

import re
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from monitoring import PerformanceMonitor, PerformanceRecord
from tests.conftest import LiveService
from tests.console.browsing import check_accessibility, check_both_sizes
from tests.console.experimenting import configured, create, said

HALVES = {"model_a": 0.5, "model_b": 0.5}


def record(console: LiveService, name: str, users: int, times: float, arms: tuple[str, ...] = ("model_a", "model_b")):
    """One run of each user, as if recorded by the service; model_b's makespans are `times` as long."""
    monitor = PerformanceMonitor(console.home / "logs" / "performance.db")
    models = console.get(f"/experiments/{name}").json()["experiment"]
    keys = {arm: console.get(f"/models/{models[arm]}").json()["model"]["model_key"] for arm in arms}
    records = []
    for user in range(users):
        arm = arms[user % len(arms)]
        length = (20.0 + user % 5 / 100) * (times if arm == "model_b" else 1.0)
        records.append(
            PerformanceRecord(
                request_id=f"{name}_{user}", user_id=f"u{user}", experiment=name, variant=arm, reason="assigned",
                model_key=keys[arm], makespan=length, lower_bound=16.0, gap=length / 16.0 - 1.0, execution_time=0.002,
            )
        )  # fmt: skip
    monitor.record_performance(*records)
    monitor.close()


@pytest.fixture(scope="module")
def worse(console: LiveService) -> dict[str, Any]:
    """The outlook of an experiment whose candidate's schedules take 30 % longer."""
    create(console, "worse", model_a="DDQN_v2.0", model_b="DDQN_v1.0", guardrails=False, traffic_split=HALVES)
    record(console, "worse", 300, 1.3)
    body: dict[str, Any] = console.get("/experiments/worse/outlook").json()["outlook"]
    assert (body["verdict"], body["advised_move"], body["needs_consent"]) == ("worse", "stop", True)
    return body


def moves(page: Page) -> list[str]:
    return [str(each.get_attribute("data-move")) for each in page.locator("[data-move]").all()]


def test_for_a_worse_candidate_stopping_comes_first_and_promotion_needs_a_tick(
    page: Page, console: LiveService, worse: dict[str, Any]
):
    page.goto("/#/experiments/worse")
    expect(page.locator(".verdict .word")).to_have_text("更差")
    assert moves(page)[0] == "stop"
    assert moves(page)[-1] == "promote"
    expect(page.locator(".moves .primary")).to_have_text("停止")
    before = configured(console)["default_model"]
    page.locator("[data-move=promote]").click()
    dialog = page.get_by_role("dialog")
    first = worse["findings"][0]
    expect(dialog.locator("[data-beware] li").first).to_have_text(said(first["text"]))
    expect(dialog.locator("[data-beware] li").first).to_contain_text("B 的总工期比 A 长")
    expect(dialog.locator("[data-beware] li").first).to_contain_text(
        "A 150 名用户、150 次请求，B 150 名用户、150 次请求"
    )
    assert dialog.get_by_role("listitem").first.inner_text() == dialog.locator("[data-beware] li").first.inner_text()
    expect(dialog).to_contain_text("目前的结论：更差。停止实验，保留 A。")
    check_accessibility(page)
    check_both_sizes(page, "experiments-promotion")
    dialog.get_by_role("button", name="上线候选").click()
    expect(dialog).to_be_visible()  # the browser requires the tick
    assert configured(console)["default_model"] == before
    dialog.get_by_role("checkbox", name="我清楚 B 看来更差，仍要让它上线").check()
    dialog.get_by_role("button", name="上线候选").click()
    expect(page.locator(".page-head")).to_contain_text("已结束")
    assert configured(console)["default_model"] != before
    assert console.get("/experiments/worse/history").json()["history"][-1]["figures"]["although_worse"] is True
    console.post("/experiments/worse/revert")


def test_too_few_samples_and_an_unfavourable_interval_are_both_shown(page: Page, console: LiveService):
    create(console, "few", model_a="DDQN_v2.0", model_b="DDQN_v1.0", guardrails=False, traffic_split=HALVES)
    record(console, "few", 16, 1.05)
    page.goto("/?lang=en#/experiments/few")
    expect(page.locator(".verdict .word")).to_have_text("no verdict")
    expect(page.locator(".moves .primary")).to_have_count(0)
    assert moves(page)[-1] == "promote"
    page.locator("[data-move=promote]").click()
    dialog = page.get_by_role("dialog")
    raw = re.compile(r"B is 4\.\d+ % to 5\.\d+ % longer than A in makespan = worse \(0\.\d+ to 1\.\d+ h at the mean")
    expect(dialog.locator("[data-beware] li")).to_have_count(1)
    expect(dialog.locator("[data-beware] li")).to_contain_text(raw)
    expect(dialog).to_contain_text(
        "The verdict now: no verdict. It has none, since too few samples: A has 8, B has 8 of the 100 that each arm"
    )
    expect(dialog.get_by_role("checkbox")).to_have_count(1)
    check_both_sizes(page, "experiments-promotion-en")


def test_for_a_better_candidate_promotion_comes_first_without_a_tick(page: Page, console: LiveService):
    create(console, "good", model_a="DDQN_v1.0", model_b="DDQN_v2.0", traffic_split=HALVES)
    record(console, "good", 300, 0.7)
    page.goto("/?lang=zh#/experiments/good")
    expect(page.locator(".moves .primary")).to_have_text("上线候选")
    assert moves(page)[0] == "promote"
    page.locator("[data-move=promote]").click()
    dialog = page.get_by_role("dialog")
    expect(dialog.locator("[data-beware]")).to_have_count(0)
    expect(dialog.get_by_role("checkbox")).to_have_count(0)
    expect(dialog.get_by_role("listitem").first).to_contain_text(re.compile("B 的总工期比 A 短 .* = 更优"))


def test_of_several_candidates_the_worse_one_is_stopped_first(page: Page, console: LiveService):
    (weights,) = (console.home / "models").rglob("*_v1.0.0.pth")
    body = {"model_path": str(weights), "algorithm_name": "DDQN", "bump": "major"}
    third = console.post("/models/register", json=body).json()["model_key"]
    arms = ("model_a", "model_b", "model_c")
    models = {"model_a": "DDQN_v2.0", "model_b": "DDQN_v1.0", "model_c": third}
    create(console, "several", **models, guardrails=False)
    record(console, "several", 450, 1.3, arms)
    page.goto("/#/experiments/several")
    expect(page.locator(".moves .primary")).to_have_text("停止 B 组")
    expect(page.locator(".verdict .next")).to_contain_text("停止 B 组，保留 A")
    results = console.get("/experiments/several/results").json()["results"]
    assert results["recommendation_text"]["code"] == "next.worse_arm"
    page.locator(".moves select").select_option("model_c")
    expect(page.locator(".moves .primary")).to_have_count(0)
