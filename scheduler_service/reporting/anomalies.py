"""Runs and spells of time that are not like the others: the ones worth a look, each with its reason in figures.

A run is held against the runs of the same model, size and time granted; a bucket of time against the other buckets of
the period. Far away is what has a modified z-score beyond `OUTLIER_SCORE`; it has to matter as well, or a service that
always does the same would have an anomaly at every breath. A small gap or a quick answer is no anomaly.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal

from scheduler_service.alerts.about import sizes
from scheduler_service.reporting.analysis import UNKNOWN_MODEL, bucket_length, bucket_starts, number
from scheduler_service.stats.outliers import OUTLIER_SCORE, modified_z_scores

if TYPE_CHECKING:
    import pandas as pd

Metric = Literal["gap", "execution_time", "makespan"]

RUNS_ALIKE = 20
"""Runs of a model, size and time granted, before one of them can be called unlike the others."""
RUNS_IN_BUCKET, BUCKETS = 5, 8
"""Runs that a bucket needs to be judged, and buckets that it takes to judge any."""
WORTH_SAYING_GAP = 0.005
"""Difference of gaps, a share, below which two of them count as alike."""
WORTH_SAYING_FACTOR = 2.0
"""Times the usual compute time, below which it counts as usual."""
WORTH_SAYING_MAKESPAN = 0.1
"""Share of the usual mean makespan, below which a bucket's counts as usual."""


@dataclass(frozen=True, slots=True)
class RunAnomaly:
    """A run whose gap is far larger, or whose compute time far longer, than those of runs like it."""

    metric: Metric
    moment: datetime
    request_id: str | None
    model: str
    n_workpoints: int | None
    value: float  # a share, or seconds
    usual: float  # the median of runs alike
    score: float  # modified z-score; of the compute time, on log scale


@dataclass(frozen=True, slots=True)
class BucketAnomaly:
    """A spell of time whose mean is far from those of the others."""

    metric: Metric
    moment: datetime  # its start
    runs: int
    value: float  # a share, seconds (geometric mean) or hours
    usual: float  # the median of the buckets
    score: float


def anomalous_runs(runs: "pd.DataFrame", limits: Iterable[int]) -> list[RunAnomaly]:
    """The anomalous ones of the successful runs, the most anomalous first.

    Args:
        runs: columns as in `analysis.REPORT_COLUMNS`.
        limits: greatest number of work points of each size.
    """
    good = runs[runs["success"]]
    alike = [
        good["model_key"].fillna(UNKNOWN_MODEL).rename("model"),
        sizes(good, limits).fillna(0).rename("size"),
        good["time_budget_ms"].fillna(-1.0).rename("budget"),
    ]
    found = [*_far(good, "gap", alike), *_far(good, "execution_time", alike)]
    return sorted(found, key=lambda each: (-each.score, each.moment))


def _far(good: "pd.DataFrame", metric: Metric, alike: "list[pd.Series[Any]]") -> list[RunAnomaly]:
    import numpy as np

    is_log = metric == "execution_time"
    values = good[metric]
    values = values[np.isfinite(values) & (values > 0.0)] if is_log else values[np.isfinite(values)]
    found = []
    for (model, *_), group in values.groupby([key.loc[values.index] for key in alike], sort=False):
        if len(group) < RUNS_ALIKE:
            continue
        plain = group.to_numpy(float)
        usual = float(np.median(plain))
        scores = modified_z_scores(np.log(plain) if is_log else plain)
        least = WORTH_SAYING_FACTOR * usual if is_log else usual + WORTH_SAYING_GAP
        far = np.flatnonzero((scores > OUTLIER_SCORE) & (plain > least))
        told = good.loc[group.index[far], ["timestamp", "request_id", "n_workpoints"]].itertuples(index=False)
        for place, (moment, request_id, n_workpoints) in zip(far, told, strict=True):
            size = number(n_workpoints)
            found.append(
                RunAnomaly(
                    metric,
                    moment,
                    request_id if isinstance(request_id, str) else None,
                    str(model),
                    None if size is None else int(size),
                    float(plain[place]),
                    usual,
                    float(scores[place]),
                )
            )
    return found


def anomalous_buckets(runs: "pd.DataFrame", start: datetime, end: datetime) -> list[BucketAnomaly]:
    """The buckets of `analysis.over_time` with an anomalous mean, the most anomalous first.

    Each run counts as if it had the usual number of work points: what is usual for its own is taken off, and what is
    usual for all is put in its place. So a spell of larger requests is no anomaly.

    A bucket of few runs strays far by chance alone, so its mean has to be `OUTLIER_SCORE` of its own standard errors
    from the median, too; the score is the smaller of the two.
    """
    good = runs[runs["success"]]
    times = bucket_starts(good["timestamp"], bucket_length(start, end))
    metrics: tuple[Metric, ...] = ("gap", "execution_time", "makespan")
    of_size = good["n_workpoints"].fillna(0)
    found = [each for metric in metrics for each in _far_buckets(good[metric], of_size, times, metric)]
    return sorted(found, key=lambda each: (-abs(each.score), each.moment))


def _far_buckets(
    values: "pd.Series[Any]", of_size: "pd.Series[Any]", times: "pd.Series[Any]", metric: Metric
) -> list[BucketAnomaly]:
    import numpy as np

    is_log = metric == "execution_time"
    values = np.log(values[values > 0.0]) if is_log else values
    values = values[np.isfinite(values)]
    usual_of_size = values.groupby(of_size.loc[values.index]).transform("median")
    if metric == "makespan":
        values = values / usual_of_size * values.median()
    else:
        values = values - usual_of_size + values.median()
    buckets = values.groupby(times.loc[values.index]).agg(["mean", "std", "count"])
    buckets = buckets[buckets["count"] >= RUNS_IN_BUCKET]
    if len(buckets) < BUCKETS:
        return []
    means, counts = buckets["mean"].to_numpy(float), buckets["count"].to_numpy(float)
    within = float(np.sqrt(np.sum(buckets["std"] ** 2 * (counts - 1.0)) / np.sum(counts - 1.0)))
    usual = float(np.median(means))
    own = (means - usual) * np.sqrt(counts) / within if within > 0.0 else np.copysign(np.inf, means - usual)
    robust = modified_z_scores(means)
    scores = np.copysign(np.minimum(np.abs(own), np.abs(robust)), robust)
    if is_log:
        means, usual = np.exp(means), float(np.exp(usual))
    far = _far_enough(means, usual, metric) & (np.abs(scores) > OUTLIER_SCORE)
    return [
        BucketAnomaly(
            metric, buckets.index[int(place)], int(counts[place]), float(means[place]), usual, float(scores[place])
        )
        for place in np.flatnonzero(far)
    ]


def _far_enough(means: Any, usual: float, metric: Metric) -> Any:
    if metric == "gap":
        return means > usual + WORTH_SAYING_GAP
    if metric == "execution_time":
        return means > WORTH_SAYING_FACTOR * usual
    # Of makespans, shorter ones are remarkable as well: somebody may be sending the wrong durations.
    return abs(means - usual) > WORTH_SAYING_MAKESPAN * usual
