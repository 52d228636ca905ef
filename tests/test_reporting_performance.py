"""The performance report: what is anomalous, gaps by size, alerts, and the same on a page and in a PDF."""

import re
import shutil
import subprocess
import warnings
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.dates import date2num
from statsmodels.robust.scale import mad

from monitoring import PerformanceMonitor, PerformanceRecord
from scheduler_service.alert_rules import GAP_THRESHOLDS
from scheduler_service.alerts.about import FOR_EVER, sizes
from scheduler_service.alerts.episodes import Episode
from scheduler_service.reporting import figures
from scheduler_service.reporting.analysis import gap_change, size_labels
from scheduler_service.reporting.anomalies import anomalous_buckets, anomalous_runs
from scheduler_service.reporting.content import Table
from scheduler_service.reporting.facts import AlertRow
from scheduler_service.reporting.formatting import Formatter, report_texts
from scheduler_service.reporting.look import label
from scheduler_service.reporting.page import html_of
from scheduler_service.reporting.pdf import pdf_of
from scheduler_service.reporting.performance import performance_report
from scheduler_service.stats.outliers import OUTLIER_SCORE, modified_z_scores
from scheduler_service.telemetry.queries import DTYPES
from scheduler_service.words import WORDS
from tests.pages import Page

NOW = datetime(2026, 11, 23, 12, 15, 30, tzinfo=UTC)
WEEK = timedelta(days=7)
THRESHOLDS = {"max_makespan": 60.0, "max_execution_time": 10.0, "min_success_rate": 0.95}


pytestmark = pytest.mark.usefixtures("mostly_words")


@pytest.fixture(autouse=True)
def _every_warning_fails():
    """A missing glyph, a chart that cannot be laid out: nobody would see the warning."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


@pytest.fixture
def monitor(tmp_path):
    made = PerformanceMonitor(tmp_path / "performance.db", reports_dir=tmp_path / "reports", clock=lambda: NOW)
    yield made
    made.close()


def frame(*rows: dict[str, object]) -> pd.DataFrame:
    """Runs as the database gives them, each an hour older than the one before; `times`: so often."""
    usual = {
        "model_key": "m", "makespan": 50.0, "execution_time": 0.02, "gap": 0.01, "n_workpoints": 1, "success": True,
        "time_budget_ms": 20.0, "team_utilization": '{"team1": 0.5}', "resource_utilization": 0.5, "reason": "assigned",
    }  # fmt: skip
    given = [usual | {k: v for k, v in row.items() if k != "times"} for row in rows for _ in range(row.get("times", 1))]
    made = [
        {"request_id": f"r{place}", "timestamp": NOW - timedelta(hours=1 + place % 160)} | row
        for place, row in enumerate(given)
    ]
    columns = {name: [row.get(name) for row in made] for name in DTYPES}
    return pd.DataFrame(
        {
            name: pd.to_datetime(pd.Series(values, dtype=object), utc=True).dt.as_unit("us")
            if name == "timestamp"
            else pd.Series(values, dtype=DTYPES[name])
            for name, values in columns.items()
        }
    )


def report_on(runs: pd.DataFrame, *alerts: AlertRow, lang="en", gap_thresholds=GAP_THRESHOLDS):
    return performance_report(
        runs, frame(), NOW - WEEK, NOW, THRESHOLDS, lang, gap_thresholds=gap_thresholds, alerts=alerts
    )


def page_on(*arguments, **options) -> Page:
    return Page(html_of(report_on(*arguments, **options)))


def tables_of(report) -> dict[str, Table]:
    blocks = [block for section in report.sections for block in section.blocks]
    return {block.title: block for block in blocks if isinstance(block, Table)}


def noisy_gaps(count: int, mean: float, seed: int = 0) -> list[dict[str, object]]:
    chance = np.random.default_rng(seed)
    return [{"gap": float(value)} for value in chance.normal(mean, 0.001, count)]


# --- outliers ---


def test_modified_z_scores_agree_with_statsmodels():
    values = np.random.default_rng(1).standard_t(3, 101)
    assert modified_z_scores(values) == pytest.approx((values - np.median(values)) / mad(values), rel=1e-4)


def test_outliers_do_not_hide_themselves_where_they_hide_from_ordinary_z_scores():
    values = np.array([2.1, 2.6, 2.4, 2.5, 2.3, 2.1, 2.3, 2.6, 8.2, 8.3])
    ordinary = (values - values.mean()) / values.std(ddof=1)
    assert np.abs(ordinary).max() < 2.0
    assert np.flatnonzero(modified_z_scores(values) > OUTLIER_SCORE).tolist() == [8, 9]


def test_values_that_are_mostly_equal_are_judged_by_their_mean_deviation():
    values = np.array([1.0] * 9 + [2.0])
    assert modified_z_scores(values)[-1] == pytest.approx(1.0 / (1.253314 * 0.1))


@pytest.mark.parametrize("values", [[], [1.0], [3.0] * 5])
def test_values_that_do_not_differ_have_no_score(values):
    assert np.isnan(modified_z_scores(np.array(values))).all()


# --- anomalies ---


def test_a_run_is_anomalous_among_its_like_and_not_among_others():
    far_for_one = {"gap": 0.08, "request_id": "far"}
    large = [row | {"n_workpoints": 4, "request_id": "large"} for row in noisy_gaps(40, 0.08, 1)]
    other = [row | {"model_key": "other", "request_id": "other"} for row in noisy_gaps(40, 0.08, 2)]
    budget = [row | {"time_budget_ms": 0.0, "request_id": "budget"} for row in noisy_gaps(40, 0.08, 3)]
    found = anomalous_runs(frame(*noisy_gaps(40, 0.01), far_for_one, *large, *other, *budget), GAP_THRESHOLDS)
    assert [(each.request_id, each.metric) for each in found] == [("far", "gap")]
    assert found[0].usual == pytest.approx(0.01, abs=0.001)
    assert found[0].value == 0.08


def test_neither_a_small_gap_nor_a_quick_answer_nor_a_trifle_is_an_anomaly():
    rows = [*noisy_gaps(40, 0.05), {"gap": 0.0}, {"gap": 0.05, "execution_time": 0.0001}]
    assert anomalous_runs(frame(*rows), GAP_THRESHOLDS) == []
    steady = [{"gap": 0.01}] * 40 + [{"gap": 0.011}, {"gap": 0.01, "execution_time": 0.03}]
    assert anomalous_runs(frame(*steady), GAP_THRESHOLDS) == []


def test_a_slow_answer_is_an_anomaly():
    found = anomalous_runs(frame({"times": 40}, {"execution_time": 1.0, "request_id": "slow"}), GAP_THRESHOLDS)
    assert [(each.request_id, each.metric, each.usual) for each in found] == [("slow", "execution_time", 0.02)]


def test_a_few_runs_or_failed_ones_are_never_anomalous():
    assert anomalous_runs(frame(*noisy_gaps(10, 0.01), {"gap": 0.9}), GAP_THRESHOLDS) == []
    failed = {"gap": 0.9, "success": False}
    assert anomalous_runs(frame(*noisy_gaps(40, 0.01), failed), GAP_THRESHOLDS) == []


def test_a_bad_spell_is_found_and_a_quiet_one_is_not_taken_for_it():
    chance = np.random.default_rng(0)
    start = NOW - WEEK
    rows = []
    for spell in range(28):  # of 6 hours each
        count = 5 if spell == 20 else 60
        for _ in range(count):
            moment = start.replace(hour=12, minute=0, second=0) + timedelta(hours=6 * spell + 5 * chance.random())
            gap = float(chance.normal(0.05, 0.02)) + (0.05 if spell == 9 else 0.0)
            rows.append({"timestamp": moment, "gap": gap})
    found = anomalous_buckets(frame(*rows), start, NOW)
    assert [(each.metric, each.moment.to_pydatetime()) for each in found] == [
        ("gap", start.replace(hour=12, minute=0, second=0) + timedelta(hours=54))
    ]
    assert found[0].runs == 60
    assert found[0].score > OUTLIER_SCORE


def test_anomalies_are_listed_with_their_reason_and_counted():
    slow = {"execution_time": 1.0, "request_id": "slow"}
    page = page_on(frame(*noisy_gaps(60, 0.01), {"gap": 0.2, "request_id": "far"}, slow))
    assert "far m 1 gap 20.0 %, usually 1.0 % for similar requests (z = " in page.text
    assert "slow m 1 compute time 1.00 s, usually 20 ms for similar requests (z = " in page.text
    assert "Outliers among similar requests: 1 by gap, 1 by compute time" in page.text
    assert report_texts("en")["no_anomalies"] in page_on(frame({"times": 60})).text


def test_more_anomalies_than_are_listed_are_counted_and_both_kinds_are_shown():
    far = [{"gap": 0.5 + 0.001 * number, "request_id": f"far{number}"} for number in range(30)]
    page = page_on(frame(*noisy_gaps(300, 0.01), *far, {"execution_time": 1.0, "request_id": "slow"}))
    found = int(re.search(r"(\d+) more are not listed", page.text).group(1)) + 12
    assert found >= 31
    assert "slow m 1 compute time" in page.text


# --- sizes ---


def test_sizes_are_those_of_the_alerts():
    numbers = [1, 2, 3, 4, 5, 6, 10, 11, 20, 21, 50, 51, 1_000]
    found = sizes(frame(*({"n_workpoints": number} for number in numbers)), GAP_THRESHOLDS)
    assert found.tolist() == [min((n for n in GAP_THRESHOLDS if number <= n), default=FOR_EVER) for number in numbers]
    assert list(size_labels(GAP_THRESHOLDS).values()) == ["1", "2", "3–5", "6–10", "11–20", "21–50", ">50"]
    assert size_labels(GAP_THRESHOLDS)[FOR_EVER] == ">50"


def test_the_mean_gap_of_each_size_is_held_against_its_threshold():
    runs = frame(
        {"times": 30, "gap": 0.01, "n_workpoints": 1},
        {"times": 30, "gap": 0.3, "n_workpoints": 4},
        {"times": 3, "gap": 0.3, "n_workpoints": 8},
        {"times": 30, "gap": 0.9, "n_workpoints": 80},
        {"times": 30, "gap": 0.9, "n_workpoints": None},
        {"times": 30, "gap": None, "n_workpoints": 30},
    )
    report = report_on(runs)
    rows = [
        [cell if isinstance(cell, str) else cell.text for cell in row] for row in tables_of(report)["Thresholds"].rows
    ]
    assert rows[3:] == [
        ["Mean gap with 1 work points, at most", "2.00 %", "1.00 %", "ok"],
        ["Mean gap with 3–5 work points, at most", "10.00 %", "30.00 %", "above threshold"],
        ["Mean gap with 6–10 work points, at most", "4.20 %", "30.00 %", "too few runs"],
    ]
    assert "Mean gaps above their thresholds: 3–5 work points, 30 % (threshold 10 %)" in Page(html_of(report)).text


def test_the_threshold_of_every_size_is_within_its_chart(pictures):
    labels = {"1": 2.0, "2": 10.0}
    drawn = figures.boxes(
        {"1": pd.Series([0.1, 0.3]), "2": pd.Series([0.2])}, "", report_texts("en"), limits=labels, scale="root"
    )
    assert drawn.axes[0].get_xlim()[1] > 10.0


# --- alerts ---

ALERT = AlertRow("min_success_rate", "too many failures", "critical", NOW - timedelta(hours=5), None, 0.91, 0.95)


def test_alerts_of_the_period_are_listed_and_shaded():
    ended = replace(ALERT, severity="warning", message="slow", ended=NOW - timedelta(hours=4))
    report = report_on(frame({"times": 9}), ALERT, ended)
    assert (
        tables_of(report)[report_texts("en")["alerts_of_period"]].rows[0][1] == "too many failures (min_success_rate)"
    )
    page = Page(html_of(report))
    assert "There were 2 alerts, 1 of them critical and 1 ongoing." in page.text
    assert "ongoing 91.00 % 95.00 %" in page.text
    trend = next(block for section in report.sections for block in section.blocks if block.kind == "pictures")
    legend = trend.pictures[0].figure.axes[0].get_legend()
    assert [text.get_text() for text in legend.get_texts()] == ["critical alert", "warning"]


def test_a_period_without_alerts_says_so():
    assert report_texts("en")["no_alerts"] in page_on(frame({"times": 3})).text
    assert report_texts("en")["no_alerts"] in page_on(frame()).text


def test_nothing_is_fine_while_an_alert_is_ongoing():
    fine = WORDS.text("performance.fine")
    assert fine in page_on(frame({"times": 3})).text
    assert fine not in page_on(frame({"times": 3}), ALERT).text


def test_an_alert_that_began_before_the_period_is_shaded_from_its_start():
    report = report_on(frame({"times": 9}), replace(ALERT, began=NOW - 3 * WEEK))
    trend = next(block for section in report.sections for block in section.blocks if block.kind == "pictures")
    axes = trend.pictures[0].figure.axes[0]
    left, right = axes.get_xlim()
    assert min(patch.get_x() for patch in axes.patches) == pytest.approx(left)
    assert max(patch.get_x() + patch.get_width() for patch in axes.patches) == pytest.approx(right)


def test_the_report_and_its_charts_begin_with_the_first_run():
    runs = frame({"times": 30})
    report = report_on(runs, replace(ALERT, began=NOW - WEEK, ended=NOW - timedelta(days=6)))
    first = runs["timestamp"].min()
    assert report.period.startswith(first.strftime("%Y-%m-%d %H:%M:%S"))
    trend = next(block for section in report.sections for block in section.blocks if block.kind == "pictures")
    left, _ = trend.pictures[0].figure.axes[0].get_xlim()
    assert date2num(first - timedelta(hours=1)) < left <= date2num(first), "the whole first hour is shown"


def test_alerts_that_overlap_are_shaded_once_for_each_severity():
    others = [replace(ALERT, severity="warning", began=NOW - timedelta(hours=n)) for n in (6, 5, 4)]
    report = report_on(frame({"times": 9}), ALERT, *others)
    trend = next(block for section in report.sections for block in section.blocks if block.kind == "pictures")
    shades = [patch for patch in trend.pictures[0].figure.axes[0].patches if patch.get_zorder() == 0.5]
    assert len(shades) == 2
    assert min(patch.get_x() for patch in shades) == pytest.approx(date2num(NOW - timedelta(hours=6)), abs=1e-3)


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("max_makespan", 56.634, "56.63 h"),
        ("max_makespan_rise", 0.0612, "6.12 %"),
        ("max_execution_time", 0.195, "195 ms"),
        ("min_success_rate", 0.9484, "94.84 %"),
        ("max_gap", 0.0125, "1.25 %"),
        ("min_free_disk_gib", 0.5, "0.50 GiB"),
        ("input_drift", 0.314, "0.314"),
        ("model_failures", 24.0, "24"),
        ("max_makespan", None, "–"),
    ],
)
def test_what_an_alert_measures_bears_its_unit(name, value, told):
    assert Formatter("en", UTC).of_rule(name, value) == told


def test_the_monitor_s_own_alerts_are_in_its_report(monitor):
    monitor.record_performance(PerformanceRecord(request_id="r", makespan=50.0, timestamp=NOW - timedelta(hours=1)))
    began = NOW - timedelta(hours=3)
    episode = Episode("model_failures", "m", "warning", "firing", began, NOW, "<b>失败</b>", "", 3.0, 0.0, fired=began)
    monitor.alerts.store([episode], lambda _: [])
    page = Page(monitor.generate_performance_report())
    assert "警告 <b>失败</b> (model_failures)" in page.text
    assert "b" not in page.tags


# --- the page and the PDF ---

HOSTILE = "<script>alert(1)</script>\"'>$\\frac{1}{0}$😀𠮷\x00" + "长" * 300
POOR = {
    "nothing": [],
    "one run": [{}],
    "one model": [{"times": 50}],
    "all failed": [{"times": 5, "success": False, "makespan": None, "gap": None, "error_message": "x" * 300}],
    "failed before a model was chosen": [{"success": False, "model_key": None, "makespan": None, "gap": None}],
    "no figures": [{"times": 40, "makespan": None, "gap": None, "execution_time": None, "n_workpoints": None}],
    "zeros": [{"times": 40, "makespan": 0.0, "gap": 0.0, "execution_time": 0.0}],
    "one is huge": [{"times": 40}, {"makespan": 1e9, "gap": 1e7, "execution_time": 1e5}],
    "100 models": [{"model_key": f"DDQN_a_long_name_of_a_model_{place:03d}_v1.0.{place}"} for place in range(100)],
    "hostile": [
        {"times": 3, "model_key": HOSTILE, "request_id": HOSTILE, "team_utilization": '{"%s": 0.5}' % ("队" * 200)},
        {"success": False, "model_key": HOSTILE, "makespan": None, "gap": None, "error_message": HOSTILE},
    ],
}  # fmt: skip


@pytest.mark.parametrize("rows", POOR.values(), ids=POOR)
def test_poor_data_make_a_sensible_report_in_both_forms(pictures, rows, caplog):
    runs = frame(*rows)
    for lang in ("en", "zh"):
        report = report_on(runs, lang=lang)
        page = Page(html_of(report))
        assert f"{report_texts(lang)['requests']} {len(runs)}" in page.text
        assert not {"nan", "inf", "None"} & set(page.text.split())
        assert "script" not in page.tags
    assert pdf_of(report).startswith(b"%PDF-")
    assert "missing" not in caplog.text, "a character is not in the font"


def test_models_beyond_a_hundred_are_counted():
    report = report_on(frame(*({"model_key": f"m{place}"} for place in range(103))))
    assert len(tables_of(report)[report_texts("en")["models_of_period"]].rows) == 100
    assert "3 more are not listed" in Page(html_of(report)).text


def test_long_names_that_differ_at_their_ends_differ_in_the_charts():
    names = [f"DDQN_a_very_long_name_of_a_model_v1.0.{place}" for place in range(5)]
    shown = [label(name, 26) for name in names]
    assert len(set(shown)) == 5
    assert all(len(name) <= 26 for name in shown)
    assert label("检" * 40, 26).count("检") == 12


def rich_runs() -> pd.DataFrame:
    chance = np.random.default_rng(0)
    rows = [
        {
            "model_key": f"DDQN_{number % 3}_v1.0.{number % 3}",
            "gap": float(chance.gamma(2.0, 0.01)),
            "makespan": float(chance.normal(55.0, 2.0)),
            "execution_time": float(chance.lognormal(-4.0, 0.3)),
            "n_workpoints": int(chance.choice([1, 2, 4, 8, 15, 30, 80])),
            "success": number % 40 != 7,
            "error_message": "timed out" if number % 40 == 7 else None,
        }
        for number in range(600)
    ]
    return frame(*rows, {"gap": 0.9, "request_id": "the-far-one", "model_key": "DDQN_0_v1.0.0", "n_workpoints": 1})


@pytest.mark.parametrize("lang", ["zh", "en"])
def test_the_pdf_says_what_the_page_says_in_text_that_can_be_copied(pictures, lang, tmp_path):
    if shutil.which("pdftotext") is None:
        pytest.skip("pdftotext (poppler-utils) reads the PDF here")
    report = report_on(rich_runs(), ALERT, lang=lang)
    (tmp_path / "report.pdf").write_bytes(pdf_of(report))
    command = ["pdftotext", "-raw", str(tmp_path / "report.pdf"), "-"]
    told = "".join(subprocess.run(command, capture_output=True, check=True).stdout.decode().split())
    assert len(tables_of(report)) == 6
    said = [report.title, report.period, report_texts(lang)["footer"], *(card.value for card in report.cards)]
    for section in report.sections:
        said.append(section.title)
        for block in section.blocks:
            if block.kind == "findings":
                said += block.sentences
            elif block.kind == "pictures":
                said += [text for picture in block.pictures for text in (picture.title, picture.note)]
            else:
                said += [block.title, block.note if block.rows else block.nothing]
                said += [cell if isinstance(cell, str) else cell.text for row in block.rows for cell in row]
    missing = [text for text in said if "".join(text.split()) not in told]
    assert missing == []


def test_the_pdf_is_a4_with_numbered_pages_small_and_the_same_each_time(pictures):
    runs = rich_runs()
    first, second = (pdf_of(report_on(runs, ALERT, lang="zh")) for _ in range(2))
    assert first == second
    assert len(first) < 1_000_000
    assert set(re.findall(rb"/MediaBox \[([^]]*)\]", first)) == {b"0 0 595.28 841.89"}
    assert b"/Lang (zh-CN)" in first
    assert 4 <= len(re.findall(rb"/Type /Page\b", first)) <= 8


def test_the_pdf_lies_beside_its_page_under_the_same_name(pictures, monitor):
    monitor.record_performance(PerformanceRecord(request_id="r", makespan=50.0, timestamp=NOW))
    pages = [Path(monitor.generate_performance_report(pdf=with_pdf)) for with_pdf in (True, False, True)]
    assert [page.suffix for page in pages] == [".html"] * 3
    assert [page.with_suffix(".pdf").exists() for page in pages] == [True, False, True]
    assert len(set(pages)) == 3


def test_a_pdf_alone_keeps_its_name(pictures, monitor):
    """Somebody may have removed the page; the next report of that second must not replace the PDF."""
    page = Path(monitor.generate_performance_report(pdf=True))
    page.unlink()
    before = page.with_suffix(".pdf").read_bytes()
    again = Path(monitor.generate_performance_report(pdf=True))
    assert again != page
    assert page.with_suffix(".pdf").read_bytes() == before


# --- like with like ---


def test_another_mix_of_sizes_is_no_change_of_the_gap():
    before = frame({"times": 200, "gap": 0.001}, {"times": 40, "gap": 0.05, "n_workpoints": 3})
    now = frame({"times": 40, "gap": 0.001}, {"times": 200, "gap": 0.05, "n_workpoints": 3})
    mean = (40 * 0.001 + 200 * 0.05) / 240
    assert gap_change(before, now) == pytest.approx((mean, mean))
    was, became = gap_change(before, now.assign(gap=now["gap"] + 0.02)) or (0.0, 0.0)
    assert became - was == pytest.approx(0.02)
    assert gap_change(before, frame({"times": 99, "n_workpoints": 20})) is None, "no size that both have"


def test_a_spell_of_larger_requests_is_no_anomaly():
    rng = np.random.default_rng(2)
    rows = [
        {"makespan": 50.0 + rng.normal(0, 1), "gap": 0.01, "n_workpoints": 1, "timestamp": hours_ago(hour)}
        for hour in range(100) for _ in range(8)
    ]  # fmt: skip
    large = [
        {"makespan": 390.0 + rng.normal(0, 5), "gap": 0.04, "n_workpoints": 20, "timestamp": hours_ago(hour)}
        for hour in (3, 4) for _ in range(8)
    ]  # fmt: skip
    runs = frame(*rows, *large)
    assert [each.metric for each in anomalous_buckets(runs, NOW - WEEK, NOW)] == []
    longer = [row | {"makespan": 80.0} if row["timestamp"] == hours_ago(50) else row for row in rows]
    assert "makespan" in [each.metric for each in anomalous_buckets(frame(*longer, *large), NOW - WEEK, NOW)]


def hours_ago(hour: int) -> datetime:
    return NOW - timedelta(hours=1 + hour)


def test_the_thresholds_of_the_report_are_those_of_one_cycle_and_of_time_beyond_what_was_granted():
    large = {"times": 50, "makespan": 400.0, "n_workpoints": 20, "n_steps": 267, "gap": 0.05}
    waited = {"times": 50, "execution_time": 60.1, "time_budget_ms": 60_000.0}
    page = Page(html_of(report_on(frame(large, waited)))).text
    assert report_texts("en")["above"] not in page
    assert report_texts("en")["above"] in Page(html_of(report_on(frame({"times": 50, "makespan": 61.0})))).text
