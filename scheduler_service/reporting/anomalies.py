"""Anomalous runs and periods of time, each with the figures that make it one.

A run is compared with the runs of the same model, size and time budget; a bucket of time with the other buckets of the
period. An anomaly has a modified z-score above `OUTLIER_SCORE` and a difference that matters: where values hardly vary,
the score alone would report trifles. A small gap or a quick answer is no anomaly.
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

MIN_SIMILAR_RUNS = 20
"""Runs that a group of the same model, size and time budget needs before its runs are judged."""
MIN_BUCKET_RUNS, MIN_BUCKETS = 5, 8
"""Runs that a bucket needs to be judged, and number of such buckets that is needed to judge any."""
MIN_GAP_DIFFERENCE = 0.005
"""Smaller differences of gaps, a share, are not reported."""
MIN_TIME_FACTOR = 2.0
"""Compute times below this multiple of the usual one are not reported."""
MIN_MAKESPAN_DIFFERENCE = 0.1
"""Differences below this share of the usual mean makespan are not reported."""


@dataclass(frozen=True, slots=True)
class Anomaly:
    """A run or a bucket of time whose figure is far from those that it is compared with."""

    metric: Metric
    moment: datetime  # of a bucket, its start
    value: float  # a share, seconds (of a bucket, the geometric mean) or hours
    usual: float  # the median of similar runs, or of the buckets
    score: float  # modified z-score; of compute times, of their logarithms
    runs: int = 1
    request_id: str | None = None  # this and what follows is of a run
    model: str = UNKNOWN_MODEL
    n_workpoints: int | None = None


def anomalous_runs(runs: "pd.DataFrame", limits: Iterable[int]) -> list[Anomaly]:
    """The anomalous ones of the successful runs, the most anomalous first.

    Args:
        runs: columns as in `analysis.REPORT_COLUMNS`.
        limits: largest number of work points of each size.
    """
    good = runs[runs["success"]]
    similar = [
        good["model_key"].fillna(UNKNOWN_MODEL).rename("model"),
        sizes(good, limits).fillna(0).rename("size"),
        good["time_budget_ms"].fillna(-1.0).rename("budget"),
    ]
    found = [*_anomalies(good, "gap", similar), *_anomalies(good, "execution_time", similar)]
    return sorted(found, key=lambda each: (-each.score, each.moment))


def _anomalies(good: "pd.DataFrame", metric: Metric, similar: "list[pd.Series[Any]]") -> list[Anomaly]:
    import numpy as np

    is_log = metric == "execution_time"
    values = good[metric]
    values = values[np.isfinite(values) & (values > 0.0)] if is_log else values[np.isfinite(values)]
    found = []
    for (model, *_), group in values.groupby([key.loc[values.index] for key in similar], sort=False):
        if len(group) < MIN_SIMILAR_RUNS:
            continue
        plain = group.to_numpy(float)
        usual = float(np.median(plain))
        scores = modified_z_scores(np.log(plain) if is_log else plain)
        far = np.flatnonzero((scores > OUTLIER_SCORE) & _matters(plain, usual, metric))
        rows = good.loc[group.index[far], ["timestamp", "request_id", "n_workpoints"]].itertuples(index=False)
        for place, (moment, request_id, n_workpoints) in zip(far, rows, strict=True):
            size, known_id = number(n_workpoints), request_id if isinstance(request_id, str) else None
            figures = (float(plain[place]), usual, float(scores[place]))
            of_run = (known_id, str(model), None if size is None else int(size))
            found.append(Anomaly(metric, moment, *figures, 1, *of_run))
    return found


def anomalous_buckets(runs: "pd.DataFrame", start: datetime, end: datetime) -> list[Anomaly]:
    """The buckets of `analysis.over_time` with an anomalous mean, the most anomalous first.

    Each run counts as if it had the usual number of work points: the median of its size is replaced by the median of
    all runs. So a period of larger requests is no anomaly.

    The mean of few runs varies by chance, so it must also be `OUTLIER_SCORE` of its own standard errors from the
    median; the score is the smaller of the two.
    """
    good = runs[runs["success"]]
    times = bucket_starts(good["timestamp"], bucket_length(start, end))
    metrics: tuple[Metric, ...] = ("gap", "execution_time", "makespan")
    of_size = good["n_workpoints"].fillna(0)
    found = [each for metric in metrics for each in _anomalous_buckets(good[metric], of_size, times, metric)]
    return sorted(found, key=lambda each: (-abs(each.score), each.moment))


def _anomalous_buckets(
    values: "pd.Series[Any]", of_size: "pd.Series[Any]", times: "pd.Series[Any]", metric: Metric
) -> list[Anomaly]:
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
    buckets = buckets[buckets["count"] >= MIN_BUCKET_RUNS]
    if len(buckets) < MIN_BUCKETS:
        return []
    means, counts = buckets["mean"].to_numpy(float), buckets["count"].to_numpy(float)
    within = float(np.sqrt(np.sum(buckets["std"] ** 2 * (counts - 1.0)) / np.sum(counts - 1.0)))
    usual = float(np.median(means))
    own = (means - usual) * np.sqrt(counts) / within if within > 0.0 else np.copysign(np.inf, means - usual)
    robust = modified_z_scores(means)
    scores = np.copysign(np.minimum(np.abs(own), np.abs(robust)), robust)
    if is_log:
        means, usual = np.exp(means), float(np.exp(usual))
    far = _matters(means, usual, metric) & (np.abs(scores) > OUTLIER_SCORE)
    return [
        Anomaly(metric, buckets.index[place], float(means[place]), usual, float(scores[place]), int(counts[place]))
        for place in map(int, np.flatnonzero(far))
    ]


def _matters(means: Any, usual: float, metric: Metric) -> Any:
    """Whether each difference is large enough to be reported."""
    if metric == "gap":
        return means > usual + MIN_GAP_DIFFERENCE
    if metric == "execution_time":
        return means > MIN_TIME_FACTOR * usual
    # Shorter makespans are reported as well: a client may be sending wrong durations.
    return abs(means - usual) > MIN_MAKESPAN_DIFFERENCE * usual
