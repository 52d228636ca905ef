"""Figures of the recorded runs by time interval (bucket), computed in the database."""

import math
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from itertools import pairwise

from sqlalchemy import Engine

from scheduler_service.telemetry import queries

BUCKETS_S = (
    *(10, 15, 30, 60, 120, 300, 600, 900, 1_800),
    *(3_600, 7_200, 10_800, 21_600, 43_200, 86_400, 172_800, 604_800, 1_209_600, 2_419_200),
)
"""Common units of a clock or a calendar."""
FIRST_MONDAY = datetime(1970, 1, 5)
"""Local time; buckets are counted from it, so weeks begin on Mondays."""
HOUR_S = 3_600


@dataclass(frozen=True, slots=True)
class TrendPoint:
    """The runs from `start` (inclusive) to `end` (exclusive); None: no value.

    All figures except the counts and the ratings are of successful runs: a failure after 1 ms is not a fast run.
    """

    start: datetime
    end: datetime
    runs: int = 0
    failures: int = 0
    mean_makespan: float | None = None  # hours
    mean_policy_makespan: float | None = None  # hours
    mean_gap: float | None = None  # share of the lower bound
    p50_execution_time: float | None = None  # seconds
    p95_execution_time: float | None = None
    mean_satisfaction: float | None = None  # 1..5
    verdicts: int = 0  # number of users' ratings

    @property
    def success_rate(self) -> float | None:
        """0..1."""
        return 1.0 - self.failures / self.runs if self.runs else None


@dataclass(frozen=True, slots=True)
class Trend:
    """Consecutive buckets, oldest first; the last one is incomplete.

    They have the same length, except those in which daylight saving time begins or ends.
    """

    end: datetime  # time of the query
    bucket_s: int
    points: tuple[TrendPoint, ...]


def trend_of_last(
    engine: Engine,
    now: datetime,
    hours: float,
    points: int,
    *,
    zone: tzinfo | None = None,
    model_key: str | None = None,
    experiment: str | None = None,
) -> Trend:
    """The runs of about the last `hours` in at most `points` buckets, see `bucket_bounds`.

    Raises:
        StorageUnavailable: the database cannot be read.
    """
    bounds, bucket_s = bucket_bounds(now, timedelta(hours=hours), points, zone)
    found = queries.trend_rows(engine, bounds, model_key=model_key, experiment=experiment)
    buckets = (TrendPoint(start=start, end=end, **found.get(n, {})) for n, (start, end) in enumerate(pairwise(bounds)))
    return Trend(now, bucket_s, tuple(buckets))


def bucket_bounds(
    now: datetime, period: timedelta, points: int, zone: tzinfo | None = None
) -> tuple[list[datetime], int]:
    """The starts of at most `points` buckets within `period` before `now` and the end of the last; their length, s.

    Buckets begin at multiples of the length in local time of `zone` (None: the server's). So they do not move between
    two queries, and a day lasts from midnight to midnight also when daylight saving time begins or ends.
    """
    wanted_s = period.total_seconds() / points
    length_s = next((each for each in BUCKETS_S if each >= wanted_s), math.ceil(wanted_s))
    length, local = timedelta(seconds=length_s), now.astimezone(zone)
    shown = local.replace(tzinfo=None)
    last = FIRST_MONDAY + (shown - FIRST_MONDAY) // length * length

    def moment(clock: datetime) -> datetime:
        if length_s <= HOUR_S:  # daylight saving time shifts clocks by whole hours, and one local hour occurs twice
            return now.astimezone(UTC) + (clock - shown)
        return (clock if zone is None else clock.replace(tzinfo=zone)).astimezone(UTC)

    bounds = [moment(last + length), moment(last)]
    while len(bounds) <= points and (earlier := moment(last - (len(bounds) - 1) * length)) >= now - period:
        bounds.append(earlier)
    return bounds[::-1], length_s
