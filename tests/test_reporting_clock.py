"""Reports of days on which the clock changes."""

import time
from datetime import datetime, timedelta

import pandas as pd
import pytest

from scheduler_service.reporting.analysis import bucket_starts, over_time
from scheduler_service.reporting.formatting import local_zone

BACK, FORTH = "2026-10-25", "2026-03-29"


def hours_around(day: str, zone: str) -> "pd.Series[pd.Timestamp]":
    """Three days in steps of an hour."""
    return pd.Series(pd.date_range(f"{day}T00:20", periods=72, freq="1h", tz="UTC") - timedelta(days=1)).dt.tz_convert(
        zone
    )


@pytest.mark.parametrize(
    ("day", "zone"), [(BACK, "Europe/Berlin"), (FORTH, "Europe/Berlin"), ("2026-04-24", "Africa/Cairo")]
)
@pytest.mark.parametrize("length", ["15s", "15min", "1h", "6h", "1D", "7D"])
def test_each_time_is_in_the_bucket_of_its_local_hour(day, zone, length):
    times = hours_around(day, zone)
    starts = bucket_starts(times, length)
    assert (starts <= times).all()
    if length == "1D":
        assert (starts.dt.date == times.dt.date).all()
        assert starts.nunique() <= 4
        assert set(starts.dt.hour) <= ({0, 1} if zone == "Africa/Cairo" else {0})


def test_a_report_of_these_days_counts_every_run():
    times = hours_around(BACK, "Europe/Berlin")
    columns = dict.fromkeys(("makespan", "gap", "execution_time"), 1.0)
    runs = pd.DataFrame({"timestamp": times, "success": True, **columns})
    for days in (1, 10, 30):
        end = times.iloc[-1].to_pydatetime()
        assert over_time(runs, end - timedelta(days=days), end)["requests"].sum() == len(runs)


@pytest.mark.parametrize(
    ("name", "summer_h"), [("Europe/Berlin", 2.0), ("Asia/Shanghai", 8.0), ("no/where", None), ("CET-1", 1.0)]
)
def test_the_server_knows_when_its_clock_changes(monkeypatch, name, summer_h):
    monkeypatch.setenv("TZ", name)
    time.tzset()
    try:
        winter = datetime.fromisoformat("2026-12-01T12:00:00+00:00")
        zone = local_zone(winter)
        summer = datetime.fromisoformat("2026-07-01T12:00:00+00:00").astimezone(zone).utcoffset()
        assert summer_h is None or summer == timedelta(hours=summer_h)
    finally:
        monkeypatch.undo()
        time.tzset()
