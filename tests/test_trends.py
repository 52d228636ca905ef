"""Trends compared with pandas on the same records; and the list of reports."""

import math
import os
import time
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta, timezone
from itertools import pairwise
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pytest

from enhanced_flask import create_app
from monitoring import PerformanceMonitor, PerformanceRecord
from scheduler_service.settings import Settings
from scheduler_service.telemetry.trends import BUCKETS_S, bucket_bounds, trend_of_last

NOW = datetime(2026, 11, 25, 12, 10, 30, tzinfo=UTC)
FIGURES = {
    "mean_makespan": ("makespan", "mean"),
    "mean_policy_makespan": ("policy_makespan", "mean"),
    "mean_gap": ("gap", "mean"),
    "p50_execution_time": ("execution_time", 0.5),
    "p95_execution_time": ("execution_time", 0.95),
}


def fill(monitor: PerformanceMonitor, now: datetime, count: int = 800, days: float = 8.0) -> None:
    """Runs at random times of several days, none on one of them; with failures, missing figures and verdicts."""
    rng = np.random.default_rng(7)
    ages_h = rng.uniform(0.0, 24.0 * days, count)
    records = []
    for number, age_h in enumerate(ages_h[(ages_h < 48.0) | (ages_h > 72.0)]):
        is_good = rng.random() > 0.1
        records.append(
            PerformanceRecord(
                request_id=f"r{number}", timestamp=now - timedelta(hours=float(age_h)), success=bool(is_good),
                model_key=(None, "M1", "M2")[number % 3], experiment="e" if number % 4 == 0 else None,
                makespan=float(rng.lognormal(4.0, 0.2)) if is_good else None,
                policy_makespan=float(50 + number % 9) if is_good and number % 8 else None,
                gap=float(rng.exponential(0.02)) if is_good and number % 5 else None,
                execution_time=float(rng.lognormal(-4.0, 0.5)) if number % 6 else None,
                user_satisfaction=int(rng.integers(1, 6)) if number % 7 == 0 else None,
            )
        )  # fmt: skip
    monitor.record_performance(*records)


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def monitor(request, tmp_path_factory):
    home = tmp_path_factory.mktemp("trends")
    with ExitStack() as held:
        where = home / "performance.db"
        if request.param == "postgresql":
            where = held.enter_context(request.getfixturevalue("postgresql").schema())
        opened = PerformanceMonitor(where, reports_dir=home, clock=lambda: NOW)
        fill(opened, NOW)
        yield opened
        opened.close()


def same(found: float | None, wanted: float) -> bool:
    return found is None if math.isnan(wanted) else found == pytest.approx(wanted, rel=1e-12)


@pytest.mark.parametrize(
    "named", [{}, {"model_key": "M1"}, {"experiment": "e"}, {"model_key": "M2", "experiment": "e"}]
)
@pytest.mark.parametrize(("hours", "points"), [(1, 60), (24, 48), (168, 84), (168, 7), (720, 60)])
def test_trends_equal_those_of_pandas(monitor, hours, points, named):
    trend = trend_of_last(monitor.engine, NOW, hours, points, **named)
    runs = monitor.get_performance_data(**named)
    assert len(trend.points) <= points
    counted = 0
    for point in trend.points:
        mine = runs[(runs["timestamp"] >= point.start) & (runs["timestamp"] < point.end)]
        good = mine[mine["success"]]
        counted += len(mine)
        assert (point.runs, point.failures) == (len(mine), len(mine) - len(good))
        assert same(point.success_rate, mine["success"].mean() if len(mine) else math.nan)
        assert same(point.mean_satisfaction, mine["user_satisfaction"].mean())
        assert point.verdicts == mine["user_satisfaction"].count()
        for name, (column, what) in FIGURES.items():
            wanted = good[column].mean() if what == "mean" else good[column].quantile(what)
            assert same(getattr(point, name), wanted), (point, name)
    assert counted == len(runs[runs["timestamp"] >= trend.points[0].start])


def test_a_day_without_runs_is_an_empty_bucket(monitor):
    trend = trend_of_last(monitor.engine, NOW, 168, 168)
    silent = [point for point in trend.points if NOW - timedelta(hours=72) <= point.start < NOW - timedelta(hours=49)]
    assert len(silent) == 23
    for point in silent:
        assert (point.runs, point.success_rate, point.mean_makespan, point.p95_execution_time) == (0, None, None, None)


def test_a_database_without_runs_has_empty_trends(tmp_path):
    empty = PerformanceMonitor(tmp_path / "performance.db", reports_dir=tmp_path)
    points = trend_of_last(empty.engine, NOW, 24, 10).points
    assert {point.runs for point in points} == {0}


@pytest.mark.parametrize("zone", ["UTC", "Asia/Shanghai", "America/St_Johns"])
@pytest.mark.parametrize(
    ("hours", "points"), [(0.01, 1), (0.1, 500), (1, 60), (24, 48), (168, 84), (720, 30), (8784, 500)]
)
def test_buckets_start_on_the_local_clock_and_the_last_one_includes_now(set_time_zone, zone, hours, points):
    set_time_zone(zone)
    bounds, length_s = bucket_bounds(NOW, timedelta(hours=hours), points)
    starts = bounds[:-1]
    assert 1 <= len(starts) <= points
    assert length_s in BUCKETS_S
    lengths_s = {(b - a).total_seconds() for a, b in pairwise(bounds)}
    assert lengths_s <= {length_s + change_s for change_s in (0.0, 3_600.0, -3_600.0)}
    assert bounds[-2] <= NOW < bounds[-1]
    assert len(starts) == 1 or NOW - starts[0] <= timedelta(hours=hours)
    for start in starts:
        local = start.astimezone()
        if length_s < 86_400:
            assert (local.hour * 3_600 + local.minute * 60 + local.second) % length_s == 0
        else:
            assert (local.hour, local.minute) == (0, 0)
            assert length_s < 604_800 or local.weekday() == 0


@pytest.mark.parametrize("offset_min", [480, -210, 0, 840])
def test_buckets_can_start_on_the_readers_clock(offset_min):
    offset = timedelta(minutes=offset_min)
    for hours, points, length_s in ((168, 84, 7_200), (720, 30, 86_400)):
        bounds, found_s = bucket_bounds(NOW, timedelta(hours=hours), points, timezone(offset))
        assert found_s == length_s
        assert bounds[-2] <= NOW < bounds[-1]
        shown = [start.astimezone(timezone(offset)) for start in bounds]
        assert all((each.hour * 3_600 + each.minute * 60) % length_s == 0 for each in shown)


# --- over HTTP ---


@pytest.fixture(scope="module")
def client(home):
    opened = create_app(Settings(home=home)).test_client()
    fill(PerformanceMonitor(home / "logs" / "performance.db", reports_dir=home), datetime.now(UTC))
    return opened


def test_trends_over_http_include_their_parameters(client):
    body = client.get("/performance/trends?hours=168&points=84&model_key=M1").json["trends"]
    assert (body["hours"], body["bucket_s"], body["model_key"], body["experiment"]) == (168.0, 7_200, "M1", None)
    frame = pd.DataFrame(body["points"])
    assert len(frame) == 84
    all_of_it = client.get(f"/performance?model_key=M1&start_time={frame['start'][0].replace('+', '%2B')}").json[
        "performance"
    ]
    assert frame["runs"].sum() == all_of_it["total_requests"]
    assert frame["failures"].sum() == all_of_it["failed_requests"]


@pytest.mark.parametrize(("offset_min", "hour"), [(480, 16), (-300, 5), (0, 0)])
def test_days_over_http_use_the_given_offset(client, offset_min, hour):
    body = client.get(f"/performance/trends?hours=720&points=30&utc_offset_min={offset_min}").json["trends"]
    assert {datetime.fromisoformat(point["start"]).hour for point in body["points"]} == {hour}


@pytest.mark.parametrize(
    ("zone", "now", "lengths_h"),
    [
        ("Europe/Berlin", "2026-10-27T09:00:00+00:00", [24, 25, 24, 24]),
        ("Europe/Berlin", "2026-03-31T09:00:00+00:00", [24, 23, 24, 24]),
        ("America/Havana", "2026-11-03T12:00:00+00:00", [24, 25, 24, 24]),  # from 1 to 0 o'clock: two midnights
        ("Africa/Cairo", "2026-04-26T12:00:00+00:00", [24, 23, 24, 24]),  # from 0 to 1 o'clock: no midnight
        ("Asia/Shanghai", "2026-10-27T09:00:00+00:00", [24, 24, 24, 24]),
    ],
)
def test_days_last_from_midnight_to_midnight_when_the_clock_changes(zone, now, lengths_h):
    bounds, _ = bucket_bounds(datetime.fromisoformat(now), timedelta(days=4), 4, ZoneInfo(zone))
    assert [(b - a) / timedelta(hours=1) for a, b in pairwise(bounds)] == lengths_h
    local = [bound.astimezone(ZoneInfo(zone)) for bound in bounds]
    assert {bound.hour for bound in local} <= ({0, 1} if zone == "Africa/Cairo" else {0})


def test_days_over_http_use_the_given_zone(client):
    body = client.get("/performance/trends?hours=8784&points=366&time_zone=Europe/Berlin").json["trends"]
    starts = [datetime.fromisoformat(point["start"]) for point in body["points"]]
    assert {start.astimezone(ZoneInfo("Europe/Berlin")).hour for start in starts} == {0}
    assert {start.hour for start in starts} == {22, 23}


@pytest.mark.parametrize("name", ["Asia/Peking", "../etc/passwd", "/etc/localtime", "x" * 5_000, "Asia", "%00"])
def test_an_unknown_zone_is_refused(client, name):
    answer = client.get(f"/performance/trends?time_zone={name}")
    assert answer.status_code == 422, answer.text
    assert answer.json["errors"][0]["loc"] == ["time_zone"]
    assert client.get("/performance/trends?time_zone=UTC&utc_offset_min=60").status_code == 422


@pytest.mark.parametrize(
    "query",
    [
        *(
            "hours=0",
            "hours=-1",
            "hours=nan",
            "hours=inf",
            "hours=1e9",
            "hours=x",
            "points=0",
            "points=501",
            "points=1.5",
        ),
        *("points=-1", "utc_offset_min=841", "utc_offset_min=-841", "utc_offset_min=--1", "utc_offset_min=%2B480"),
    ],
)
def test_an_invalid_period_or_number_of_points_is_refused(client, query):
    answer = client.get(f"/performance/trends?{query}")
    assert answer.status_code == 422
    assert answer.json["errors"][0]["loc"] == [query.partition("=")[0]]


def test_reports_are_listed_newest_first(client, home):
    assert client.get("/reports").json == {"status": "success", "reports": [], "total": 0}
    client.post("/experiments", json={"experiment_name": "v1_vs_v2", "model_a": "DDQN_v1.0", "model_b": "DDQN_v2.0"})
    created = [
        client.post("/reports/performance", json={"days": 1, "lang": "en", "format": "pdf"}).json["report"],
        client.post("/reports/ab_test", json={"experiment_name": "v1_vs_v2"}).json["report"],
    ]
    for age_s, name in ((60, created[0]), (50, created[0].replace(".pdf", ".html")), (40, created[1])):
        moment = time.time() - age_s
        os.utime(home / "reports" / name, (moment, moment))
    listed = client.get("/reports").json["reports"]
    assert [(each["kind"], each["experiment"], each["format"], each["lang"]) for each in listed] == [
        ("ab_test", "v1_vs_v2", "html", "zh"),
        ("performance", None, "html", "en"),
        ("performance", None, "pdf", "en"),
    ]
    for each in listed:
        answer = client.get(each["url"])
        assert (answer.status_code, len(answer.data)) == (200, each["size_bytes"])
        assert abs(datetime.fromisoformat(each["created_at"]) - datetime.now(UTC)) < timedelta(minutes=5)
    limited = client.get("/reports?limit=1").json
    assert ([each["name"] for each in limited["reports"]], limited["total"]) == ([created[1]], 3)
    assert str(home) not in client.get("/reports").text


def test_other_files_are_not_listed_as_reports(client, home):
    folder = home / "reports"
    before = client.get("/reports").json["total"]
    for name in ("notes.txt", "index.html", ".performance_20261123_130241_en.html.1.2.tmp", "performance_x.html"):
        (folder / name).write_text("x")
    (folder / "performance_20261123_130241_en.html").symlink_to("/etc/passwd")
    (folder / "ab_test_x_20261123_130241_en.pdf").mkdir()
    assert client.get("/reports").json["total"] == before
    (folder / "performance_20261123_130241.html").write_text("of a version that did not tell the language")
    (folder / "ab_test_a_b_20261123_130241_zh_2.html").write_text("the second one of a second")
    body = {each["name"]: (each["experiment"], each["lang"]) for each in client.get("/reports").json["reports"]}
    assert body["performance_20261123_130241.html"] == (None, None)
    assert body["ab_test_a_b_20261123_130241_zh_2.html"] == ("a_b", "zh")
    assert client.get("/reports?limit=0").status_code == 422
