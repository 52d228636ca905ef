"""How the recorded runs went over time: figures by bucket, computed where the records are."""

import math
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise

from sqlalchemy import Engine

from scheduler_service.telemetry import queries

BUCKETS_S = (
    *(10, 15, 30, 60, 120, 300, 600, 900, 1_800),
    *(3_600, 7_200, 10_800, 21_600, 43_200, 86_400, 172_800, 604_800, 1_209_600, 2_419_200),
)
"""Lengths that people read on a clock or a calendar."""
A_MONDAY_S = 4 * 86_400
"""1970-01-05; all buckets are counted from it, so that weeks begin on Mondays."""


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
    """Buckets of equal length without a gap, the oldest first; the last one is not over yet."""

    end: datetime  # when it was looked at
    bucket_s: int
    points: tuple[TrendPoint, ...]


def trend_of_last(
    engine: Engine,
    now: datetime,
    hours: float,
    points: int,
    *,
    utc_offset: timedelta | None = None,
    model_key: str | None = None,
    experiment: str | None = None,
) -> Trend:
    """The last `hours`, or nearly so, in at most `points` buckets that begin on the clock of `bucket_starts`.

    Raises:
        StorageUnavailable: the database cannot be read.
    """
    starts, bucket_s = bucket_starts(now, timedelta(hours=hours), points, utc_offset)
    bounds = [*starts, starts[-1] + timedelta(seconds=bucket_s)]
    found = queries.trend_rows(engine, bounds, model_key=model_key, experiment=experiment)
    told = (TrendPoint(start=start, end=end, **found.get(n, {})) for n, (start, end) in enumerate(pairwise(bounds)))
    return Trend(now, bucket_s, tuple(told))


def bucket_starts(
    now: datetime, period: timedelta, points: int, utc_offset: timedelta | None = None
) -> tuple[list[datetime], int]:
    """The starts of the buckets that begin within `period` before `now`, at most `points`; and their length in seconds.

    They begin where a clock `utc_offset` ahead of UTC (None: the server's, by its present offset) shows a multiple of
    the length, so that they stay where they are while time goes on, and days are those of whoever reads that clock.
    """
    wanted_s = period.total_seconds() / points
    length_s = next((each for each in BUCKETS_S if each >= wanted_s), math.ceil(wanted_s))
    offset = (now.astimezone().utcoffset() or timedelta(0)) if utc_offset is None else utc_offset
    zero_s = A_MONDAY_S - offset.total_seconds()
    local_s = now.timestamp() - zero_s
    last_s = math.floor(local_s / length_s) * length_s
    # Those that begin within the period; one at least.
    count = max(1, min(points, math.floor((period.total_seconds() - (local_s - last_s)) / length_s) + 1))
    first = datetime.fromtimestamp(zero_s + last_s - (count - 1) * length_s, UTC)
    return [first + timedelta(seconds=place * length_s) for place in range(count)], length_s
