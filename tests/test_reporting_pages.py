"""Reports: correct figures, valid for any data, safe, self-contained, in both languages."""

import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sqlalchemy import insert

import monitoring
from monitoring import ABTestAnalyzer, PerformanceMonitor, PerformanceRecord
from scheduler_service.errors import InvalidInput
from scheduler_service.reporting.analysis import failure_reasons, over_time
from scheduler_service.reporting.formatting import report_texts
from scheduler_service.telemetry.schema import runs as runs_table
from scheduler_service.telemetry.writer import run_row
from scheduler_service.words import WORDS
from tests.pages import Page

NOW = datetime(2026, 11, 23, 12, 15, 30, tzinfo=UTC)
MODELS = {"model_a": "DDQN_1a2b3c4d_v1.0.0", "model_b": "DDQN_5c1f0a2e_v2.0.0"}


# Missing glyphs, empty means and deprecated calls only cause warnings.
pytestmark = [pytest.mark.filterwarnings("error"), pytest.mark.usefixtures("mostly_words")]


@pytest.fixture
def monitor(tmp_path):
    gaps = {"max_gap_1": 0.2}  # above those of `fill`
    created = PerformanceMonitor(
        tmp_path / "performance.db", reports_dir=tmp_path / "reports", thresholds=gaps, clock=lambda: NOW
    )
    yield created
    created.close()


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "ab_test_config.json"
    definition = {
        "name": "v1_vs_v2",
        "model_a": "DDQN_v1.0",
        "model_b": "DDQN_v2.0",
        "traffic_split": {"model_a": 0.7, "model_b": 0.3},
        "success_metric": "makespan",
        "start_time": "2026-11-20T00:00:00",
        "duration_days": 7,
        "status": "active",
    }
    path.write_text(json.dumps({"experiments": {"v1_vs_v2": definition}, "default_model": "DDQN_v1.0"}))
    return path


def fill(monitor: PerformanceMonitor, count: int, *, better_by_h: float = 3.0, share_b: float = 0.3) -> None:
    """`count` runs of 100 users over the last 14 days; one in 41 fails."""
    rng = np.random.default_rng(count)
    rows = []
    for number in range(count):
        user = number % 100
        variant = "model_b" if user < 100 * share_b else "model_a"
        failed = number % 41 == 40
        makespan = 56.0 + float(rng.normal()) - (better_by_h if variant == "model_b" else 0.0)
        rows.append(
            run_row(
                PerformanceRecord(
                    request_id=f"r{number}",
                    model_key=MODELS[variant],
                    algorithm="DDQN",
                    experiment="v1_vs_v2",
                    variant=variant,
                    reason="assigned",
                    user_id=f"user_{user}",
                    makespan=None if failed else makespan,
                    execution_time=float(rng.lognormal(-5, 0.4)),
                    lower_bound=50.0,
                    gap=None if failed else makespan / 50.0 - 1.0,
                    resource_utilization=0.4,
                    team_utilization={"team1": 0.2, "team3": 0.8},
                    n_workpoints=1,
                    n_steps=15,
                    success=not failed,
                    error_message=f"求解超时：{number} ms" if failed else None,
                    timestamp=NOW - timedelta(days=14) * float(rng.random()),
                ),
                NOW,
            )
        )
    with monitor.engine.begin() as connection:
        connection.execute(insert(runs_table), rows)


def test_both_languages_have_the_same_texts_and_parameters():
    assert report_texts("zh").keys() == report_texts("en").keys()
    for key, text in report_texts("zh").items():
        assert text.count("{") == report_texts("en")[key].count("{"), key


def test_the_figures_of_the_report_agree_with_pandas(monitor):
    fill(monitor, 2000)
    page = Page(monitor.generate_performance_report(days=7))
    runs = monitor.get_performance_data(start_time=NOW - timedelta(days=7))
    good = runs[runs["success"]]
    assert f"请求数 {len(runs):,}" in page.text
    assert f"{good['makespan'].mean():.2f} h" in page.text
    assert f"{100 * runs['success'].mean():.1f} %" in page.text
    for model, group in good.groupby("model_key"):
        assert f"{model} {(runs['model_key'] == model).sum():,}" in page.text
        assert f"{group['makespan'].mean():.2f} h" in page.text
    slowest = good.nlargest(1, "execution_time").iloc[0]
    assert slowest["request_id"] in page.text


def test_the_change_is_relative_to_the_previous_period(monitor):
    for days, makespan in ((10, 60.0), (3, 54.0)):
        moment = NOW - timedelta(days=days)
        monitor.record_performance(PerformanceRecord(request_id=str(days), makespan=makespan, timestamp=moment))
    page = Page(monitor.generate_performance_report(days=7, lang="en"))
    assert "Mean makespan 54.00 h vs. previous period ▼ 10.0 %" in page.text


def test_exceeded_thresholds_are_named_with_advice(monitor, monkeypatch):
    fill(monitor, 500)
    page = Page(monitor.generate_performance_report(lang="en"))
    assert "All figures are within" not in page.text
    assert not any(report_texts("en")[key] in page.text for key in ("above", "below"))
    monkeypatch.setitem(monitoring.PERFORMANCE_THRESHOLDS, "max_makespan", 50.0)
    monkeypatch.setitem(monitoring.PERFORMANCE_THRESHOLDS, "min_success_rate", 0.99)
    page = Page(monitor.generate_performance_report(lang="en"))
    assert [page.text.count(report_texts("en")[key]) for key in ("above", "below")] == [1, 1]
    assert "above the threshold of 50 h; 100 % of these requests exceed it" in page.text
    assert re.search(
        r"below the threshold of 99 %\. The most frequent failure is “求解超时：# ms” \(\d+ times\)", page.text
    )


@pytest.mark.parametrize("lang", ["zh", "en"])
def test_an_empty_report_says_so(monitor, config, lang):
    page = Page(monitor.generate_performance_report(lang=lang))
    assert WORDS.text("performance.no_runs", lang=lang) in page.text
    page = Page(ABTestAnalyzer(monitor, config_path=config).generate_ab_test_report("v1_vs_v2", lang=lang))
    assert report_texts(lang)["ab_no_data"] in page.text


@pytest.mark.parametrize(
    ("count", "fields"),
    [
        (1, {"makespan": 53.0, "execution_time": 0.004, "gap": 0.02, "model_key": "m", "team_utilization": {"t": 0.5}}),
        (4, {"success": False, "error_message": None}),
        (1, {"success": False, "error_message": "x"}),
        (4, {"makespan": float("nan"), "execution_time": float("inf"), "team_utilization": {"t": float("nan")}}),
        (4, {"makespan": 0.0, "execution_time": 0.0, "gap": 0.0, "resource_utilization": 0.0, "user_satisfaction": 1}),
    ],
    ids=["plain", "failures", "failure", "nan", "zeros"],
)
def test_few_rows_of_any_kind_give_a_valid_report(pictures, monitor, config, count, fields):
    for number in range(count):
        moment = NOW - timedelta(minutes=number)
        arm = {"experiment": "v1_vs_v2", "variant": ("model_a", "model_b")[number % 2], "user_id": str(number)}
        monitor.record_performance(PerformanceRecord(request_id=str(number), timestamp=moment, **arm, **fields))
    page = Page(monitor.generate_performance_report())
    assert f"请求数 {count}" in page.text
    assert "nan" not in page.text.lower().split()
    page = Page(ABTestAnalyzer(monitor, config_path=config).generate_ab_test_report("v1_vs_v2"))
    assert "nan" not in page.text.lower().split()


def test_external_names_are_shown_as_text(pictures, monitor, config):
    hostile = "<script>alert(1)</script>\"'>$\\frac{1}{0}$\ud800😀𠮷\x00" + "长" * 300
    for number in range(3):
        record = PerformanceRecord(
            request_id=f"{hostile}{number}",
            model_key=hostile,
            experiment="v1_vs_v2",
            variant="model_a",
            user_id=hostile,
            makespan=50.0,
            execution_time=1.0,
            gap=0.1,
            team_utilization={hostile: 0.5},
            success=number != 0,
            error_message=hostile,
            timestamp=NOW - timedelta(hours=number),
        )
        monitor.record_performance(record)
    for path in (
        monitor.generate_performance_report(),
        ABTestAnalyzer(monitor, config_path=config).generate_ab_test_report("v1_vs_v2"),
    ):
        page = Page(path)
        assert "script" not in page.tags
        assert "长" * 100 not in page.text


def test_a_report_is_self_contained(pictures, monitor, config):
    fill(monitor, 300)
    for path in (
        monitor.generate_performance_report(),
        ABTestAnalyzer(monitor, config_path=config).generate_ab_test_report("v1_vs_v2"),
    ):
        page = Page(path)
        assert len(page.sources) >= 3
        assert all(source.startswith("data:image/svg+xml;base64,") for source in page.sources)
        assert not page.tags & {"script", "link", "iframe", "object"}
        assert all(address.startswith("data:") for address in re.findall(r"url\(([^)]*)\)", page.html))
        assert "@import" not in page.html
        assert "default-src 'none'" in page.html


def test_an_english_report_is_english(monitor, config):
    fill(monitor, 300)
    analyzer = ABTestAnalyzer(monitor, config_path=config)
    page = Page(analyzer.generate_ab_test_report("v1_vs_v2", lang="en"))
    assert not re.search(r"[\u4e00-\u9fff]", page.text)
    assert '<html lang="en">' in page.html


def test_report_files_are_named_by_the_server_and_never_overwritten(monitor, config):
    first, second = (Path(monitor.generate_performance_report()) for _ in range(2))
    local = NOW.astimezone()
    assert first.parent == monitor.reports_dir
    assert first.name == f"performance_{local:%Y%m%d_%H%M%S}_zh.html"
    assert second.name == f"performance_{local:%Y%m%d_%H%M%S}_zh_2.html"
    assert sorted(path.name for path in monitor.reports_dir.iterdir()) == sorted([first.name, second.name])
    odd = "../../etc/passwd"
    monitor.record_performance(PerformanceRecord(request_id="r", experiment=odd, variant="model_a", timestamp=NOW))
    path = Path(ABTestAnalyzer(monitor, config_path=config).generate_ab_test_report(odd))
    assert path.parent == monitor.reports_dir


def test_a_period_of_any_length_has_a_legible_time_axis(monitor):
    from scheduler_service.reporting.figures import latency

    fill(monitor, 300)
    runs = monitor.get_performance_data()
    for hours in (0.01, 0.3, 2, 7, 30, 71, 100, 170, 700, 3000, 9000, 80_000):
        start = NOW - timedelta(hours=hours)
        drawn = latency(over_time(runs, start, NOW), report_texts("zh"), (start, NOW))
        axes = drawn.axes[0]
        assert 2 <= len(axes.get_xticks()) <= 10, hours


@pytest.mark.parametrize(("days", "lang"), [(0, "zh"), (-1, "zh"), (float("nan"), "zh"), (10**6, "zh"), (7, "fr")])
def test_an_invalid_period_or_language_is_refused(monitor, days, lang):
    with pytest.raises(InvalidInput):
        monitor.generate_performance_report(days=days, lang=lang)


def test_messages_that_differ_only_in_numbers_are_one_reason():
    runs = pd.DataFrame(
        {
            "success": [False, False, False, True],
            "error_message": ["timeout after 12 ms", "timeout after 3.5 ms", "team 'x' is unknown", None],
        }
    )
    assert failure_reasons(runs) == [("timeout after # ms", 2), ("team 'x' is unknown", 1)]


def test_buckets_cover_every_run_once(monitor):
    fill(monitor, 700)
    runs = monitor.get_performance_data()
    buckets = over_time(runs, NOW - timedelta(days=14), NOW)
    assert buckets["requests"].sum() == 700
    assert buckets["failures"].sum() == (~runs["success"]).sum()
    assert 12 <= len(buckets) <= 60


def test_a_report_of_ten_times_as_many_runs_is_not_longer(pictures, monitor):
    fill(monitor, 2_000)
    few = len(Path(monitor.generate_performance_report(days=7)).read_bytes())
    fill(monitor, 20_000)
    many = len(Path(monitor.generate_performance_report(days=7)).read_bytes())
    assert many < 1.5 * few


def test_the_snippets_of_the_guide_run_unchanged(pictures, monitor, config, tmp_path, monkeypatch, capsys):
    guide = (Path(__file__).resolve().parents[2] / "shared" / "GUIDE.zh.md").read_text(encoding="utf-8")
    section = guide.split("## 📊 监控和报告", 1)[1].split("## 🎯", 1)[0]
    make_report, analyse = re.findall(r"```python\n(.*?)```", section, re.DOTALL)
    from scheduler_service.settings import settings_from_environment

    config.write_text(config.read_text().replace("v1_vs_v2", "ddqn_v1_vs_v2"))
    monkeypatch.setenv("SCHED_HOME", str(tmp_path))
    settings_from_environment.cache_clear()
    try:
        names: dict[str, object] = {}
        exec(make_report, names)
        exec(analyse, names)
        names["monitor"].close()
    finally:
        monkeypatch.undo()
        settings_from_environment.cache_clear()
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(": ")[0] for line in lines] == ["报告生成", "A/B测试报告"]
    assert all(Path(line.split(": ")[1]).is_file() for line in lines)
