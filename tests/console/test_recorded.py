"""Recorded schedules in the console: opened by address, named, and found."""

import re

from playwright.sync_api import Page, expect

from monitoring import PerformanceMonitor, PerformanceRecord
from scheduler_env.standard_cycle import SAMPLE_PARAMS
from tests.conftest import LiveService
from tests.console.browsing import check_both_sizes
from tests.console.planning import run


def records(console: LiveService) -> PerformanceMonitor:
    return PerformanceMonitor(console.home / "logs" / "performance.db")


def rows(page: Page):
    return page.locator(".history tbody tr")


def test_a_schedule_is_named_found_by_its_name_and_opened(schedule: Page, console: LiveService):
    answer = run(schedule)
    schedule.get_by_role("button", name="命名").click()
    schedule.locator("[name=run-name]").fill("２号锅炉 December")
    schedule.locator("[name=run-owner]").fill("张工")
    check_both_sizes(schedule, "naming")
    schedule.get_by_role("button", name="保存").click()
    expect(schedule.locator("[data-test=run-name]")).to_have_text("２号锅炉 December")
    expect(rows(schedule).first).to_contain_text("２号锅炉 December")
    assert console.get(f"/runs/{answer['request_id']}").json()["run"]["owner"] == "张工"
    later = console.run(params=[5.0] * 15)["request_id"]
    schedule.locator("[name=search]").fill("2号锅炉 張工")
    expect(schedule.get_by_text("没有找到")).to_be_visible()
    schedule.locator("[name=search]").fill("2号锅炉 december")
    expect(rows(schedule)).to_have_count(1)
    schedule.goto(re.sub("#.*", f"#/schedule/{later}", schedule.url))
    expect(schedule.locator("[data-test=run-name]")).to_have_count(0)
    schedule.locator("[name=search]").fill("2号锅炉 december")
    rows(schedule).get_by_role("link", name="打开方案").click()
    expect(schedule.locator("[data-test=run-name]")).to_have_text("２号锅炉 December")
    expect(schedule.locator("[data-test=makespan]")).to_have_text("52.87 小时")
    schedule.go_back()
    expect(schedule.locator("[data-test=run-name]")).to_have_count(0)
    expect(schedule.locator(".result [data-test=makespan]")).to_be_visible()
    assert schedule.url.endswith(later)
    schedule.get_by_role("button", name="载入输入").click()
    expect(schedule.get_by_text("已载入这次排程的输入")).to_be_visible()
    expect(schedule.locator("[name=duration-1]")).to_have_value("5")


def test_a_new_schedule_does_not_inherit_the_name_of_the_previous_one(schedule: Page):
    run(schedule)
    schedule.get_by_role("button", name="命名").click()
    schedule.locator("[name=run-name]").fill("December")
    schedule.get_by_role("button", name="保存").click()
    expect(schedule.locator("[data-test=run-name]")).to_have_text("December")
    answer = run(schedule)
    expect(schedule.get_by_role("link", name=answer["request_id"][:8]).first).to_be_visible()
    expect(schedule.locator("[data-test=run-name]")).to_have_count(0)


def test_two_recorded_schedules_are_compared(schedule: Page, console: LiveService):
    ids = [console.run(params=params)["request_id"] for params in (list(SAMPLE_PARAMS), [5.0] * 15)]
    schedule.goto(re.sub("#.*", f"#/schedule/{','.join(ids)}", schedule.url))
    expect(schedule.locator(".result")).to_have_count(2)
    expect(schedule.locator("[data-test=makespan]").first).to_have_text("52.87 小时")
    expect(schedule.get_by_text("已证明最优", exact=True).first).to_be_visible()


def test_an_invalid_address_of_a_schedule_is_explained(schedule: Page, console: LiveService, mistakes: list[str]):
    records(console).record_performance(
        PerformanceRecord(request_id="without", input_params={"params": list(SAMPLE_PARAMS)}, makespan=53.0)
    )
    for request_id, words in {"without": "没有留存方案", "nobody": "没有这个编号的记录"}.items():
        schedule.goto(re.sub("#.*", f"#/schedule/{request_id}", schedule.url))
        result = schedule.get_by_role("alert").filter(has_text="方案无法打开")
        expect(result).to_contain_text(words)
    mistakes.clear()  # the browser logs each 404


def test_runs_of_experiments_are_hidden_unless_requested(schedule: Page, console: LiveService):
    records(console).record_performance(
        PerformanceRecord(request_id="assigned", experiment="some", variant="model_a", reason="assigned", makespan=77.0)
    )
    console.run(params=list(SAMPLE_PARAMS))
    schedule.reload()
    expect(rows(schedule).first).to_be_visible()
    expect(rows(schedule).filter(has_text="77.00 小时")).to_have_count(0)
    schedule.get_by_label("含实验流量").check()
    expect(rows(schedule).filter(has_text="77.00 小时")).to_have_count(1)
