"""How the recorded runs went over time: figures by bucket, computed where the records are."""

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
"""Lengths that people read on a clock or a calendar."""
A_MONDAY = datetime(1970, 1, 5)
"""On the reader's clock; all buckets are counted from it, so that weeks begin on Mondays."""
HOUR_S = 3_600


@dataclass(frozen=True, slots=True)
class TrendPoint:
    """The runs from `start` until before `end`; a figure that there is none of is None.

    All figures but the counts and the verdicts are of the successful runs: a failure after 1 ms is not a quick answer.
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
    verdicts: int = 0  # of people

    @property
    def success_rate(self) -> float | None:
        """0..1."""
        return 1.0 - self.failures / self.runs if self.runs else None


@dataclass(frozen=True, slots=True)
class Trend:
    """Buckets without a gap, the oldest first; the last one is not over yet.

    They are equally long, but for those in which the clock is changed.
    """

    end: datetime  # when it was looked at
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
    """The last `hours`, or nearly so, in at most `points` buckets as of `bucket_bounds`.

    Raises:
        StorageUnavailable: the database cannot be read.
    """
    bounds, bucket_s = bucket_bounds(now, timedelta(hours=hours), points, zone)
    found = queries.trend_rows(engine, bounds, model_key=model_key, experiment=experiment)
    told = (TrendPoint(start=start, end=end, **found.get(n, {})) for n, (start, end) in enumerate(pairwise(bounds)))
    return Trend(now, bucket_s, tuple(told))


def bucket_bounds(
    now: datetime, period: timedelta, points: int, zone: tzinfo | None = None
) -> tuple[list[datetime], int]:
    """The starts of the buckets that begin within `period` before `now`, at most `points`, and the last one's end.

    And their length in seconds. They begin where the clock of `zone` (None: the server's) shows a multiple of the
    length, so that they stay where they are while time goes on, and days are those of whoever reads that clock, from
    midnight to midnight also where it is changed.
    """
    wanted_s = period.total_seconds() / points
    length_s = next((each for each in BUCKETS_S if each >= wanted_s), math.ceil(wanted_s))
    length, local = timedelta(seconds=length_s), now.astimezone(zone)
    shown = local.replace(tzinfo=None)
    last = A_MONDAY + (shown - A_MONDAY) // length * length

    def moment(clock: datetime) -> datetime:
        if length_s <= HOUR_S:  # clocks are changed by whole hours as a rule, and show one of them twice
            return now.astimezone(UTC) + (clock - shown)
        return (clock if zone is None else clock.replace(tzinfo=zone)).astimezone(UTC)

    bounds = [moment(last + length), moment(last)]
    while len(bounds) <= points and (earlier := moment(last - (len(bounds) - 1) * length)) >= now - period:
        bounds.append(earlier)
    return bounds[::-1], length_s
