"""The effect by size of plant on an experiment's page."""

import re

from playwright.sync_api import Page, expect

from monitoring import PerformanceMonitor, PerformanceRecord
from tests.conftest import LiveService
from tests.console.browsing import check_both_sizes
from tests.console.experimenting import create, signed

MODELS = {"model_a": "DDQN_v1.0", "model_b": "DDQN_v2.0"}


def record(console: LiveService, name: str) -> None:
    """300 users with plants of 1, 6 and 20 work points; only for 20 are model_b's schedules 30 % shorter."""
    monitor = PerformanceMonitor(console.home / "logs" / "performance.db")
    keys = {arm: console.get(f"/models/{model}").json()["model"]["model_key"] for arm, model in MODELS.items()}
    records = []
    for user in range(300):
        arm, size = ("model_a", "model_b")[user % 2], (1, 6, 20)[user // 2 % 3]
        length = 12.0 * size * (1.0 + user % 5 / 500) * (0.7 if arm == "model_b" and size == 20 else 1.0)
        records.append(
            PerformanceRecord(
                request_id=f"{name}_{user}", user_id=f"u{user}", experiment=name, variant=arm, reason="assigned",
                model_key=keys[arm], makespan=length, lower_bound=8.0 * size, execution_time=0.002, n_workpoints=size,
            )
        )  # fmt: skip
    monitor.record_performance(*records)
    monitor.close()


def test_each_size_class_shows_its_interval_and_empty_ones_are_marked(page: Page, console: LiveService):
    create(console, "sized", traffic_split={"model_a": 0.5, "model_b": 0.5}, guardrails=False, **MODELS)
    record(console, "sized")
    sizes = console.get("/experiments/sized/results").json()["results"]["by_size"]
    page.goto("/#/experiments/sized")
    card = page.locator("[data-sizes]")
    expect(card.locator("tbody tr")).to_have_count(5)
    for each in sizes["classes"]:
        row = card.locator(f"[data-size='{each['from_workpoints']}']")
        if each["interval_percentage"] is None:
            expect(row).to_contain_text("没有请求")
        else:
            expect(row.locator("b")).to_have_text(signed(each["improvement_percentage"]))
            expect(row).to_contain_text(" 至 ".join(map(signed, each["interval_percentage"])))
            expect(row).to_contain_text("100 / 100")
    large = card.locator("[data-size='16']")
    expect(large).to_have_attribute("data-side", "better")
    expect(large.get_by_role("rowheader")).to_contain_text("16 及以上")
    expect(large).to_contain_text(re.compile("−\\d+\\.\\d\\d … −\\d+\\.\\d\\d"))
    expect(card).to_contain_text("不作判定：五个区间各按 99 % 计算")
    check_both_sizes(page, "experiments-sizes")
    page.goto("/?lang=en#/experiments/sized")
    expect(card).to_contain_text("it decides nothing. Each of the five intervals has a level of 99 %")
    check_both_sizes(page, "experiments-sizes-en")
    page.goto("/?lang=zh#/experiments")
