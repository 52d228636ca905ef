"""Monitoring: from the click to the database row, the received message and the opened report."""

import json
import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from io import StringIO
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from playwright.sync_api import Browser, Locator, Page, Route, expect

from monitoring import PerformanceMonitor
from scheduler_env.standard_cycle import SAMPLE_PARAMS
from scheduler_service.keys import digest_of
from tests.conftest import LiveService, live_service
from tests.console.browsing import WIDE, check_accessibility, check_both_sizes, new_context
from tests.receiver import Receiver
from tests.test_trends import fill
from tests.waiting import until

MAKESPAN_ALERT = "平均总工期高于阈值"


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    with Receiver() as server:
        yield server


@pytest.fixture(scope="module")
def console(tmp_path_factory: pytest.TempPathFactory, receiver: Receiver) -> Iterator[LiveService]:
    """A service with runs of the past eight days, all above the makespan threshold."""
    home = tmp_path_factory.mktemp("monitoring")
    monitor = PerformanceMonitor(home / "logs" / "performance.db", reports_dir=home / "reports")
    fill(monitor, datetime.now(UTC) - timedelta(minutes=2), count=1_500)
    monitor.close()
    environment = {
        "SCHED_ALERT_THRESHOLDS": json.dumps({"max_makespan": 1.0, "min_success_rate": 0.0}),
        "SCHED_ALERT_CONFIRM_S": "0",
        "SCHED_ALERT_EVERY_S": "1",
        "SCHED_ALERT_WEBHOOKS": f"json={receiver.url}",
    }
    with live_service(home, environment=environment) as running:
        running.run(params=list(SAMPLE_PARAMS))
        running.post("/experiments", json={"experiment_name": "e", "model_a": "DDQN_v1.0", "model_b": "DDQN_v2.0"})
        receiver.wait_for(1)
        yield running


def rows(service: LiveService, query: str) -> list[dict[str, Any]]:
    with closing(sqlite3.connect(service.home / "logs" / "performance.db")) as connection:
        connection.row_factory = sqlite3.Row
        return [dict(row) for row in connection.execute(query)]


def card_of(page: Page, alert: str) -> Locator:
    return page.locator("li.alert").filter(has_text=alert)


def unacknowledged(route: Route) -> dict[str, Any]:
    """The alerts before they were acknowledged."""
    body: dict[str, Any] = route.fetch().json()
    for each in body["alerts"]:
        each["acknowledged"] = None
    return body


def figure(page: Page, name: str) -> Locator:
    return page.locator(f'[data-figure="{name}"] dd').first


# --- health and the figures of now ---


def test_the_current_figures_equal_those_of_the_service(page: Page, console: LiveService):
    page.goto("/#/monitoring")
    expect(figure(page, "makespan")).to_contain_text("高于阈值 1 小时")
    since = (datetime.now(UTC) - timedelta(hours=1)).isoformat()
    body = console.get("/performance", params={"start_time": since}).json()["performance"]
    expect(figure(page, "makespan")).to_contain_text(f"{body['makespan']['mean']:.1f} 小时")
    expect(figure(page, "success")).to_contain_text(f"{100 * body['success_rate']:.1f} %")
    expect(figure(page, "gap")).to_contain_text(f"{100 * body['gap']['mean']:.2f} %")
    expect(figure(page, "rate")).to_contain_text(f"一小时内 {body['total_requests']} 次")
    expect(figure(page, "waiting")).to_have_text(re.compile("^0 "))
    assert page.locator(".spark path").count() == 6


@pytest.mark.changes_context
def test_a_failing_part_is_named_with_advice_and_recovers(page: Page, console: LiveService, mistakes: list[str]):
    page.clock.install()
    page.goto("/#/monitoring")
    expect(page.get_by_text("各部分正常")).to_be_visible()
    reports, aside = console.home / "reports", console.home / "aside"
    reports.rename(aside)
    try:
        reports.write_text("in the way")
        until(lambda: console.get("/health").status_code == 503)  # an answer may be a second old
        page.clock.run_for(10_000)
        trouble = page.locator(".trouble")
        expect(trouble).to_contain_text("目录")
        expect(trouble).to_contain_text("请检查说明中目录的挂载、权限和剩余空间")
        expect(trouble).to_contain_text(str(reports))
        expect(page.get_by_text("1 个部分有故障").first).to_be_visible()
    finally:
        reports.unlink()
        aside.rename(reports)
    until(lambda: console.get("/health").status_code == 200)
    page.clock.run_for(10_000)
    expect(page.get_by_text("各部分正常")).to_be_visible()
    expect(trouble).to_have_count(0)
    assert all("503" in each and "/health" in each for each in mistakes)
    mistakes.clear()


# --- trends ---


@pytest.mark.parametrize(("hours", "model"), [(24, ""), (168, "M1"), (720, "")])
def test_trends_equal_those_of_pandas(page: Page, console: LiveService, tmp_path: Path, hours: int, model: str):
    page.goto(f"/#/monitoring?hours={hours}&model={model}")
    expect(page.locator("figure canvas")).to_have_count(6)
    page.get_by_text("以表格查看").click()
    with page.expect_download() as saved:
        page.get_by_role("button", name="下载 CSV").click()
    saved.value.save_as(tmp_path / "trends.csv")
    shown = pd.read_csv(StringIO((tmp_path / "trends.csv").read_text("utf-8-sig")), parse_dates=["start", "end"])
    assert len(shown) == page.locator(".as-table tbody tr").count() > 20
    runs = PerformanceMonitor(console.home / "logs" / "performance.db").get_performance_data(model_key=model or None)
    bucket = pd.cut(runs["timestamp"], [*shown["start"], shown["end"].iloc[-1]], right=False, labels=False)
    good = runs[runs["success"]].groupby(bucket)
    everything = runs.groupby(bucket)
    expected = pd.DataFrame(
        {
            "runs": everything.size(),
            "failures": everything["success"].agg(lambda each: (~each).sum()),
            "success_rate": everything["success"].mean(),
            "mean_makespan": good["makespan"].mean(),
            "mean_policy_makespan": good["policy_makespan"].mean(),
            "mean_gap": good["gap"].mean(),
            "p50_execution_time": good["execution_time"].quantile(0.5),
            "p95_execution_time": good["execution_time"].quantile(0.95),
            "mean_satisfaction": everything["user_satisfaction"].mean(),
        }
    ).reindex(range(len(shown)))
    expected[["runs", "failures"]] = expected[["runs", "failures"]].fillna(0)
    pd.testing.assert_frame_equal(shown[list(expected)], expected, check_dtype=False, check_names=False)


def test_the_charts_share_their_cursor(page: Page):
    page.goto("/#/monitoring?hours=168")
    charts = page.locator("figure[data-chart]")
    expect(charts.locator("canvas")).to_have_count(6)
    # Early in the week: on one day, further right, there were no runs and nothing is shown.
    box = charts.nth(1).bounding_box()
    assert box is not None
    charts.nth(1).hover(position={"x": box["width"] / 4.0, "y": 100})
    # Verdicts are rare: without one, their chart shows nothing.
    tips = page.locator('figure:not([data-chart="satisfaction"]) .chart > div > div + div')
    expect(tips).to_have_text([re.compile(r"\d+:\d+ – ")] * 5)
    texts = [tip.inner_text() for tip in tips.all()]
    assert len({text.splitlines()[0] for text in texts}) == 1, "all tell of the same moment"
    assert "成功率" in texts[1]
    assert "总工期" in texts[2]


def test_days_are_those_of_the_reader(browser: Browser, console: LiveService):
    context = new_context(browser, console.url, timezone_id="Asia/Tokyo")
    page = context.new_page()
    page.goto("/#/monitoring?hours=720")
    page.get_by_text("以表格查看").click()
    expect(page.locator(".as-table tbody tr td:first-child")).to_have_text([re.compile(r" 00:00$")] * 30)
    context.close()


def test_an_axis_has_few_steps_for_close_values(page: Page):
    page.goto("/#/monitoring")
    steps = page.evaluate("""async () => {
        const { CHARTS, optionOf } = await import(ownFile("pages/monitoring/trend_options.js"));
        const words = { series: String, threshold: String };
        const point = (n) => ({
            start: new Date(n * 6e4).toISOString(), end: new Date((n + 1) * 6e4).toISOString(), runs: 9, failures: 1,
            success_rate: 0.95 + n / 1e4, mean_makespan: 55 + n / 100, mean_policy_makespan: 55 + n / 90,
            mean_gap: 0.02 + n / 1e4,
            p50_execution_time: 0.003, p95_execution_time: 0.003 + n / 1e6, mean_satisfaction: 4.9 + n / 1e2,
        });
        const trends = { bucket_s: 60, points: [point(0), point(1)] };
        return CHARTS.map((chart) => optionOf(chart, trends, { limit: 0.95, words }).yAxis)
            .filter(({ interval }) => interval).map(({ min, max, interval }) => (max - min) / interval);
    }""")
    assert len(steps) == 4
    assert all(2 <= each <= 8 for each in steps), steps


def test_a_screen_reader_gets_the_content_of_a_chart(page: Page):
    page.goto("/#/monitoring?hours=168")
    label = page.locator('[data-chart="makespan"] [role=img]').get_attribute("aria-label")
    assert label is not None
    assert re.match(r"平均总工期（小时），7 天：最近 [\d.]+ 小时，最低 [\d.]+ 小时，最高 [\d.]+ 小时。", label)


def test_period_model_and_experiment_are_in_the_address(page: Page):
    page.goto("/#/monitoring")
    page.get_by_role("button", name="7 天", exact=True).click()
    page.get_by_role("combobox", name="实验").select_option("e")
    expect(page).to_have_url(re.compile(r"hours=168&experiment=e|experiment=e&hours=168"))
    page.reload()
    expect(page.get_by_role("combobox", name="实验")).to_have_value("e")
    expect(page.get_by_role("button", name="7 天", exact=True)).to_have_attribute("aria-pressed", "true")


@pytest.mark.changes_context
def test_nothing_is_requested_while_the_page_is_hidden_and_it_is_updated_when_shown(page: Page):
    page.clock.install()
    page.goto("/#/monitoring?hours=720")  # whose charts are requested every ten minutes
    expect(page.locator("figure canvas")).to_have_count(6)
    page.wait_for_load_state("networkidle")
    turn = """isHidden => {
        Object.defineProperty(document, "hidden", { configurable: true, get: () => isHidden });
        document.dispatchEvent(new Event("visibilitychange"));
    }"""
    page.evaluate(turn, True)
    requested: list[str] = []
    page.on("request", lambda request: requested.append(request.url))
    page.clock.fast_forward(1_200_000)
    assert [each for each in requested if re.search("hours=720|/health", each)] == []
    with page.expect_request(re.compile("hours=720")), page.expect_request(re.compile("/health")):
        page.evaluate(turn, False)


# --- alerts ---


def test_an_acknowledgement_is_stored_with_person_and_reason(page: Page, console: LiveService):
    page.goto("/#/monitoring")
    lines = page.get_by_label("当前告警")
    expect(lines).to_contain_text(MAKESPAN_ALERT)
    lines.get_by_role("button", name="查看与处理").click()
    card = card_of(page, MAKESPAN_ALERT)
    expect(card).to_contain_text("1.00 小时")
    expect(card).to_contain_text("核对各工序工时与班组人数")
    card.get_by_role("button", name="确认").click()
    dialog = page.get_by_role("dialog", name=f"确认告警：{MAKESPAN_ALERT}")
    expect(dialog).to_contain_text("不再重复提醒")
    dialog.get_by_label("原因").fill("大修批次，工作点多")
    dialog.get_by_label("操作人").fill("王工")
    dialog.get_by_role("button", name="确认告警").click()
    expect(card).to_contain_text("王工 已于")
    expect(page.get_by_role("heading", name="当前告警")).to_be_focused()
    (row,) = rows(console, "SELECT * FROM alerts WHERE name = 'max_makespan' AND ended IS NULL")
    assert (row["acknowledged_by"], row["note"], row["state"]) == ("王工", "大修批次，工作点多", "firing")
    assert datetime.now(UTC) - datetime.fromisoformat(row["acknowledged"]) < timedelta(minutes=1)
    expect(page.get_by_role("region", name="告警历史").get_by_role("row").filter(has_text="王工")).to_have_count(1)


def test_a_silence_is_stored_until_it_is_lifted(page: Page, console: LiveService):
    page.goto("/#/monitoring?tab=alerts")
    card_of(page, MAKESPAN_ALERT).get_by_role("button", name="静默…").click()
    dialog = page.get_by_role("dialog", name="静默告警")
    expect(dialog.get_by_label("规则")).to_have_value("max_makespan")
    dialog.get_by_label("时长").select_option("其他（小时）")
    dialog.get_by_label("其他（小时）", exact=True).fill("9000")
    dialog.get_by_role("button", name="开始静默").click()  # while the input is invalid nothing happens
    expect(dialog.get_by_role("alert")).to_contain_text("有 2 处需要改正：")
    result = dialog.get_by_role("alert").get_by_role("button")
    expect(result).to_have_text(["其他（小时）: 应在 0.1 到 8760 之间", "原因: 需要填写"])
    expect(dialog.get_by_label("其他（小时）", exact=True)).to_be_focused()
    dialog.get_by_label("其他（小时）", exact=True).fill("36")
    result.click()
    expect(dialog.get_by_label("原因")).to_be_focused()
    check_accessibility(page)
    assert rows(console, "SELECT * FROM silences") == []
    dialog.get_by_label("原因").fill("国庆停产")
    dialog.get_by_label("操作人").fill("李工")
    dialog.get_by_role("button", name="开始静默").click()
    expect(dialog).to_be_hidden()
    expect(card_of(page, MAKESPAN_ALERT)).to_contain_text("已静默")
    (row,) = rows(console, "SELECT * FROM silences")
    assert (row["name"], row["subject"], row["reason"], row["actor"]) == ("max_makespan", None, "国庆停产", "李工")
    assert datetime.fromisoformat(row["until"]) - datetime.fromisoformat(row["began"]) == timedelta(hours=36)

    listed = page.get_by_role("region", name="生效中的静默")
    expect(listed).to_contain_text("国庆停产 — 李工")
    listed.get_by_role("button", name="解除").click()
    page.get_by_role("dialog", name=f"解除静默：{MAKESPAN_ALERT}").get_by_role("button", name="解除静默").click()
    expect(listed).to_contain_text("没有生效中的静默")
    expect(card_of(page, MAKESPAN_ALERT)).not_to_contain_text("已静默")
    (row,) = rows(console, "SELECT * FROM silences")
    assert datetime.fromisoformat(row["until"]) <= datetime.now(UTC)


def test_a_change_by_another_person_is_reported_and_kept(page: Page, console: LiveService, mistakes: list[str]):
    (alert,) = (each for each in console.get("/alerts").json()["alerts"] if each["name"] == "max_makespan")
    silence = {"name": "max_makespan", "reason": "夜班", "hours": 1}
    assert console.post("/alerts/silences", json=silence).status_code < 300
    page.route("**/alerts", lambda route: route.fulfill(json=unacknowledged(route)))
    page.goto("/#/monitoring?tab=alerts")
    card_of(page, MAKESPAN_ALERT).get_by_role("button", name="确认").click()
    assert console.post(f"/alerts/{alert['id']}/acknowledge", json={"actor": "赵工"}).status_code == 200
    page.unroute("**/alerts")
    page.get_by_role("dialog").get_by_role("button", name="确认告警").click()
    expect(page.locator(".toast")).to_contain_text("赵工 已于")
    expect(page.get_by_role("heading", name="当前告警")).to_be_focused()
    (row,) = rows(console, "SELECT acknowledged_by FROM alerts WHERE name = 'max_makespan' AND ended IS NULL")
    assert row["acknowledged_by"] == "赵工"

    page.get_by_role("region", name="生效中的静默").get_by_role("button", name="解除").first.click()
    for each in console.get("/alerts").json()["silences"]:
        console.delete(f"/alerts/silences/{each['id']}").raise_for_status()
    page.get_by_role("dialog").get_by_role("button", name="解除静默").click()
    expect(page.locator(".toast").last).to_contain_text("已由他人解除")
    assert all("404" in each for each in mistakes)
    mistakes.clear()


def test_the_keyboard_focus_is_kept_when_the_button_of_a_silenced_alert_disappears(page: Page, console: LiveService):
    page.goto("/#/monitoring?tab=alerts")
    card_of(page, MAKESPAN_ALERT).get_by_role("button", name="静默…").press("Enter")
    dialog = page.get_by_role("dialog", name="静默告警")
    dialog.get_by_label("原因").fill("夜班")
    dialog.get_by_role("button", name="开始静默").press("Enter")
    expect(card_of(page, MAKESPAN_ALERT)).to_contain_text("已静默")
    expect(page.get_by_role("heading", name="当前告警")).to_be_focused()
    for each in console.get("/alerts").json()["silences"]:
        console.delete(f"/alerts/silences/{each['id']}").raise_for_status()


def test_too_many_hours_and_a_blank_reason_are_refused_in_the_dialog(page: Page, console: LiveService):
    before = rows(console, "SELECT * FROM silences")
    page.goto("/#/monitoring?tab=alerts")
    page.get_by_role("button", name="静默某类告警…").click()
    dialog = page.get_by_role("dialog", name="静默告警")
    dialog.get_by_label("时长").select_option("其他（小时）")
    hours = dialog.get_by_label("其他（小时）", exact=True)
    hours.fill("99999999999999")
    expect(dialog.get_by_role("listitem").first).to_contain_text("到 –")
    hours.fill("2")
    reason = dialog.get_by_label("原因")
    reason.fill("   ")
    dialog.get_by_role("button", name="开始静默").click()
    expect(reason).to_be_focused()
    assert rows(console, "SELECT * FROM silences") == before


def test_a_rule_can_be_silenced_with_the_keyboard_only(page: Page, console: LiveService):
    page.goto("/#/monitoring?tab=alerts")
    opener = page.get_by_role("button", name="静默某类告警…")
    opener.press("Enter")
    expect(page.get_by_role("dialog", name="静默告警")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog", name="静默告警")).to_have_count(0)
    expect(opener).to_be_focused()
    opener.press("Enter")
    expect(page.get_by_role("dialog", name="静默告警")).to_be_visible()
    for _ in range(2):  # past the rule and the hours
        page.keyboard.press("Tab")
    page.keyboard.type("春节")
    page.keyboard.press("Tab")
    page.keyboard.type("赵工")
    page.keyboard.press("Enter")
    expect(page.get_by_role("region", name="生效中的静默")).to_contain_text("春节 — 赵工")
    assert rows(console, "SELECT name FROM silences ORDER BY id DESC LIMIT 1") == [{"name": "silent_service"}]


def test_delivered_and_failed_test_messages_are_reported(page: Page, receiver: Receiver):
    page.goto("/#/monitoring?tab=alerts")
    channels = page.get_by_role("region", name="通知渠道")

    def send() -> None:
        channels.get_by_role("button", name="发送测试消息").click()
        page.get_by_role("dialog", name="发送测试消息").get_by_role("button", name="发送").click()

    send()
    expect(channels).to_contain_text("已送达")
    assert receiver.got[-1]["title"].startswith("[测试]")
    receiver.status = 500
    try:
        send()
        expect(channels).to_contain_text("未送达")
        expect(channels).to_contain_text("500")
    finally:
        receiver.status = 200


# --- reports ---


def test_a_created_report_is_listed_and_opens(page: Page, console: LiveService):
    page.goto("/#/monitoring?tab=reports")
    expect(page.get_by_text("还没有报告。")).to_be_visible()
    page.get_by_label("统计最近（天）").fill("3")
    page.get_by_role("button", name="生成", exact=True).click()
    expect(page.locator(".made")).to_contain_text("报告已生成")
    (created,) = (console.home / "reports").glob("performance_*_zh.html")
    link = page.locator(".made").get_by_role("link", name=f"在新标签页打开 {created.name}")
    expect(link).to_be_focused()
    with page.expect_popup() as opened:
        link.click()
    expect(opened.value.get_by_role("heading", level=1)).to_contain_text("性能报告")
    listed = page.locator("table.reports tbody tr")
    expect(listed).to_have_count(1)
    expect(listed).to_contain_text("全部运行")


def test_an_invalid_report_request_is_explained_in_the_pages_language(page: Page, console: LiveService):
    before = set((console.home / "reports").iterdir())
    page.goto("/?lang=en#/monitoring?tab=reports")
    days = page.locator("input[name=days]")
    for wrong, result in (
        ("0", "must be between 1 and 3650"),
        ("1.5", "must be a whole number"),
        ("", "this is needed"),
    ):
        days.fill(wrong)
        page.locator("form.make .btn.primary").click()
        expect(page.locator("form.make [role=alert]")).to_contain_text(result)
        expect(days).to_be_focused()
        expect(days).to_have_attribute("aria-invalid", "true")
    days.fill("7")
    expect(page.locator("form.make [role=alert]")).to_be_hidden()
    assert set((console.home / "reports").iterdir()) == before


def test_a_report_of_an_experiment_is_created_in_the_chosen_language(page: Page, console: LiveService):
    page.goto("/#/monitoring?tab=reports")
    page.get_by_label("A/B 测试报告").check()
    page.get_by_role("combobox", name="实验").select_option("e")
    page.get_by_label("语言").select_option("英文")
    page.get_by_role("button", name="生成", exact=True).click()
    expect(page.locator(".made")).to_contain_text("ab_test_e_")
    row = page.locator("table.reports tbody tr").filter(has_text="A/B")
    expect(row).to_contain_text("英文")
    with page.expect_download() as saved:
        row.get_by_role("button", name=re.compile("下载")).click()
    (created,) = (console.home / "reports").glob("ab_test_e_*_en.html")
    assert saved.value.path().read_bytes() == created.read_bytes()


def test_with_an_api_key_a_report_opens_unchanged_from_memory(browser: Browser, tmp_path: Path):
    key = "a-key-of-the-operators-0123456789"
    environment = {"SCHED_HOST": "0.0.0.0", "SCHED_API_KEYS": f"ops:admin:{digest_of(key)}"}
    complaints: list[str] = []
    monitor = PerformanceMonitor(tmp_path / "logs" / "performance.db", reports_dir=tmp_path / "reports")
    created = Path(monitor.generate_performance_report())
    monitor.close()
    with live_service(tmp_path, environment=environment) as running:
        context = new_context(browser, running.url, viewport=WIDE)
        context.add_init_script(f"sessionStorage.setItem('scheduler.api_key', '{key}')")
        context.on("console", lambda message: message.type == "error" and complaints.append(message.text))
        page = context.new_page()
        page.goto("/#/monitoring")
        expect(page.get_by_text("这段时间没有运行记录。")).to_be_visible()
        page.get_by_role("tab", name="报告").click()
        link = page.get_by_role("link", name=f"在新标签页打开 {created.name}")
        with page.expect_popup() as opened:
            link.click()
        expect(opened.value).to_have_url(re.compile("^blob:"))
        expect(opened.value.get_by_role("heading", level=1)).to_contain_text("性能报告")
        fonts = opened.value.evaluate("document.fonts.ready.then(() => [...document.fonts].map((font) => font.status))")
        assert fonts == ["loaded"]
        context.close()
    assert complaints == []


# --- the page as a whole ---


@pytest.mark.parametrize(("tab", "lang"), [("trends", "en"), ("alerts", "zh"), ("reports", "en")])
def test_every_tab_fits_both_sizes_and_is_accessible(page: Page, tab: str, lang: str):
    page.goto(f"/?lang={lang}#/monitoring?tab={tab}&hours=168")
    page.wait_for_load_state("networkidle")
    check_both_sizes(page, f"monitoring-{tab}-{lang}")


@pytest.mark.changes_context
@pytest.mark.parametrize("ahead_h", [-1, 1])
def test_the_last_hour_is_by_the_services_clock_if_the_browsers_is_wrong(page: Page, ahead_h: int):
    page.clock.install(time=datetime.now(UTC) + timedelta(hours=ahead_h))
    page.goto("/#/monitoring")
    expect(page.locator("main")).to_contain_text(re.compile(r"一小时内 [1-9]"))
    expect(page.locator("main")).not_to_contain_text("后开始")
