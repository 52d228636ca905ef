"""Rules and thresholds on the page, and the links from an alert to its runs and log lines."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from monitoring import PerformanceMonitor, PerformanceRecord
from scheduler_env.standard_cycle import SAMPLE_PARAMS
from scheduler_service.keys import digest_of
from tests.conftest import LiveService, live_service
from tests.console.browsing import check_both_sizes, new_context
from tests.waiting import until

RISE = "11–20 个工作点的请求，总工期比同规模以往更长"
SIZES = (20, 3, 1)


def seed(home: Path) -> None:
    """A plant of 20 work points with four weeks of runs, whose schedules are a tenth longer in the last hour."""
    monitor = PerformanceMonitor(home / "logs" / "performance.db", reports_dir=home / "reports")
    rng, now = np.random.default_rng(5), datetime.now(UTC)
    created = []
    for place in range(1_000):
        is_new = place < 90
        at = now - (timedelta(minutes=0.5 * place + 1) if is_new else timedelta(days=1.1, hours=0.6 * place))
        n = SIZES[place % 3]
        bound = float(18.0 * n * rng.uniform(0.95, 1.05) + 30.0)
        gap = float(rng.gamma(4.0, 0.005)) + (0.1 if is_new and n == 20 else 0.0)
        is_done = place % 97 != 96
        created.append(
            PerformanceRecord(
                request_id=f"run-{place:04}", timestamp=at, model_key="DDQN_b903aa25_v2.0.0", algorithm="DDQN",
                reason="default", n_workpoints=n, n_steps=round(13.35 * n) if n > 1 else 15, success=is_done,
                makespan=bound * (1.0 + gap) if is_done else None, lower_bound=bound, gap=gap if is_done else None,
                execution_time=0.1, time_budget_ms=20.0, error_message=None if is_done else "the weights are gone",
            )
        )  # fmt: skip
    monitor.record_performance(*created)
    monitor.close()


@pytest.fixture(scope="module")
def console(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveService]:
    home = tmp_path_factory.mktemp("thresholds")
    seed(home)
    environment = {
        "SCHED_ALERT_CONFIRM_S": "0", "SCHED_ALERT_EVERY_S": "1", "SCHED_ALERT_THRESHOLDS": '{"min_free_disk_gib": 0}',
    }  # fmt: skip
    with live_service(home, environment=environment) as running:
        running.run(params=list(SAMPLE_PARAMS))
        until(lambda: is_noted(running, "max_makespan_rise"))
        yield running


def is_noted(service: LiveService, name: str) -> bool:
    return any(each["name"] == name and each["id"] for each in service.get("/alerts").json()["alerts"])


def row(page: Page, name: str) -> Locator:
    return page.locator(f'tr[data-threshold="{name}"]')


def test_a_large_plant_is_no_alert_and_longer_schedules_are(page: Page, console: LiveService):
    page.goto("/#/monitoring?tab=alerts")
    expect(page.locator("li.alert").filter(has_text=RISE)).to_have_count(1)
    expect(page.locator("li.alert").filter(has_text="平均总工期高于阈值")).to_have_count(0)
    body = {each["name"] for each in console.get("/alerts").json()["alerts"]}
    assert "max_makespan" not in body


def test_each_rule_is_shown_with_its_threshold_and_value(page: Page, console: LiveService):
    page.goto("/#/monitoring?tab=alerts")
    seen = {(each["name"], each["subject"]): each for each in console.get("/alerts").json()["rules"]}
    expect(row(page, "max_makespan")).to_contain_text("60.00 小时")
    expect(row(page, "max_makespan")).to_contain_text(f"{seen['max_makespan', '']['value']:.2f} 小时")
    expect(row(page, "max_makespan_rise").locator(".beyond")).to_contain_text("11–20")
    risen = seen["max_makespan_rise", "N<=20"]["value"]
    expect(row(page, "max_makespan_rise").locator(".beyond")).to_contain_text(f"{100 * risen:.2f} %")
    expect(row(page, "max_gap_20")).to_contain_text("1.25 %")
    expect(row(page, "max_gap_20")).to_contain_text("运行太少，暂不判断")
    assert page.locator("tr[data-threshold]").count() == len(console.get("/alerts/thresholds").json()["thresholds"])


def test_a_threshold_is_changed_with_person_and_reason_and_reset(page: Page, console: LiveService):
    page.goto("/#/monitoring?tab=alerts")
    row(page, "max_makespan_rise").get_by_role("button", name="修改").click()
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_label("新阈值（%）")).to_have_value("5")
    dialog.get_by_label("新阈值（%）").fill("25")
    dialog.get_by_role("button", name="保存阈值").click()  # without a reason nothing happens
    assert not (console.home / "alert_thresholds.json").exists()
    dialog.get_by_label("原因").fill("新装置，工序不同")
    dialog.get_by_label("操作人").fill("李工")
    dialog.get_by_role("button", name="保存阈值").click()
    expect(dialog).to_be_hidden()
    assert json.loads((console.home / "alert_thresholds.json").read_text())["thresholds"] == {"max_makespan_rise": 0.25}
    expect(row(page, "max_makespan_rise")).to_contain_text("25.00 %")
    expect(row(page, "max_makespan_rise")).to_contain_text("李工")
    expect(row(page, "max_makespan_rise")).to_contain_text("新装置，工序不同 · 默认 5.00 %")
    expect(page.get_by_role("heading", name="规则与阈值")).to_be_focused()
    expect(page.locator("li.alert").filter(has_text=RISE)).to_have_count(0)  # it ends with the new threshold
    check_both_sizes(page, "thresholds-set")

    row(page, "max_makespan_rise").get_by_role("button", name="恢复默认").click()
    dialog_of_reset = page.get_by_role("dialog", name="恢复默认阈值")
    expect(dialog_of_reset).to_contain_text("改回 5.00 %")
    dialog_of_reset.get_by_label("原因").fill("装置已投用")
    dialog_of_reset.get_by_role("button", name="恢复默认").click()
    expect(row(page, "max_makespan_rise")).not_to_contain_text("人工设定")
    page.get_by_text("变更记录").click()
    expect(page.locator(".changes li")).to_have_count(2)
    expect(page.locator(".changes li").first).to_contain_text("25.00 % → 默认值")
    expect(page.locator(".changes li").first).to_contain_text("装置已投用")
    until(
        lambda: any(
            each["name"] == "max_makespan_rise" and each["id"] for each in console.get("/alerts").json()["alerts"]
        )
    )


def test_a_value_outside_its_limits_is_refused_in_the_dialog(page: Page, console: LiveService):
    page.goto("/#/monitoring?tab=alerts")
    row(page, "min_success_rate").get_by_role("button", name="修改").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("0 至 100 %")
    dialog.get_by_label("原因").fill("x")
    for wrong in ("101", "-1", ""):
        dialog.get_by_label("新阈值（%）").fill(wrong)
        dialog.get_by_role("button", name="保存阈值").click()
        expect(dialog).to_be_visible()
    assert not any(each["is_set"] for each in console.get("/alerts/thresholds").json()["thresholds"])


def test_a_broken_file_is_reported_beside_the_thresholds(page: Page, console: LiveService, mistakes: list[str]):
    path = console.home / "alert_thresholds.json"
    good = path.read_text() if path.exists() else None
    path.write_text('{"thresholds": {"max_makespn": 1}}')
    try:
        page.goto("/#/monitoring?tab=alerts")
        result = page.get_by_role("alert").filter(has_text="沿用上一份有效的阈值")
        expect(result.first).to_contain_text("max_makespn")
    finally:
        path.write_text(good or '{"thresholds": {}}')
    until(lambda: console.get("/health").status_code == 200)
    assert all("503" in each for each in mistakes)
    mistakes.clear()


def test_an_alert_links_to_its_worst_runs_and_each_to_schedule_and_log(page: Page, console: LiveService):
    page.goto("/#/monitoring?tab=alerts")
    card = page.locator("li.alert").filter(has_text=RISE)
    card.get_by_role("button", name="相关运行与日志").click()
    (alert,) = [each for each in console.get("/alerts").json()["alerts"] if each["name"] == "max_makespan_rise"]
    body = console.get(f"/alerts/{alert['id']}?limit=10").json()
    expect(card.locator(".alert-runs li")).to_have_count(10)
    first = card.locator(".alert-runs li").first
    expect(first).to_contain_text(body["runs"][0]["request_id"])
    expect(first).to_contain_text("20 个工作点 267 道工序")
    expect(first.get_by_role("link")).to_have_attribute("href", f"#/schedule/{body['runs'][0]['request_id']}")
    expect(card.locator("code.command")).to_have_text(body["log"]["command"])
    first.get_by_role("button", name="日志").click()
    expect(first.locator(".none")).to_contain_text("没有这次运行的记录")
    check_both_sizes(page, "alert-runs")
    page.get_by_role("button", name="English").click()
    expect(card).to_have_count(0)
    check_both_sizes(page, "alert-runs-en")


def test_the_log_of_a_run_is_shown(page: Page, console: LiveService):
    console.put("/alerts/thresholds/max_makespan", json={"value": 1, "reason": "x"}).raise_for_status()
    run = console.run(params=list(SAMPLE_PARAMS))["request_id"]
    try:
        until(
            lambda: any(
                each["name"] == "max_makespan" and each["id"] for each in console.get("/alerts").json()["alerts"]
            )
        )
        page.goto("/#/monitoring?tab=alerts")
        card = page.locator("li.alert").filter(has_text="平均总工期高于阈值")
        card.get_by_role("button", name="相关运行与日志").click()
        item = card.locator(".alert-runs li").filter(has_text=run)
        item.get_by_role("button", name="日志").click()
        expect(item.locator("pre")).to_contain_text("算法执行完成")
    finally:
        console.delete("/alerts/thresholds/max_makespan").raise_for_status()


def test_a_reader_sees_the_thresholds_without_actions(browser: Browser, tmp_path: Path):
    key = "a-key-of-the-readers-0123456789"
    environment = {"SCHED_HOST": "0.0.0.0", "SCHED_API_KEYS": f"reader:read:{digest_of(key)}"}
    with live_service(tmp_path, environment=environment) as running:
        context = new_context(browser, running.url, locale="zh-CN")
        context.add_init_script(f"sessionStorage.setItem('scheduler.api_key', '{key}')")
        page = context.new_page()
        page.goto("/#/monitoring?tab=alerts")
        expect(row(page, "max_makespan")).to_contain_text("60.00 小时")
        expect(row(page, "max_makespan").get_by_role("button", name="修改")).to_have_count(0)
        context.close()
