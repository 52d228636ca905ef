"""Recorded runs of an experiment -> what each user of an arm contributes, since the user is the unit of inference."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from scheduler_service.stats.metrics import Metric
from scheduler_service.stats.outcome import NotComputable
from scheduler_service.stats.summaries import Values

if TYPE_CHECKING:
    import pandas as pd  # slow to import, and only callers that have a frame already come here

FAILED_RATIO = 2.0
"""A failed run counts as a schedule so many times as long as its lower bound: a planner has to do without one."""


@dataclass(frozen=True)
class Totals:
    """Sums over the requests of each user: a rate is `sums.sum() / counts.sum()`. Shapes (n_users,)."""

    sums: Values
    counts: Values


def rows_of_arm(runs: pd.DataFrame, arm: str) -> pd.DataFrame:
    """The runs that speak of the arm; those of testers who were forced into it do not."""
    chosen = runs["variant"].eq(arm).fillna(value=False).astype(bool)
    if "reason" in runs.columns:
        chosen &= runs["reason"].ne("pinned").fillna(value=True).astype(bool)
    return runs[chosen]


def succeeded(rows: pd.DataFrame) -> pd.Series[bool]:
    """Which runs the arm's own model answered; `fallback` is the work of another one."""
    done = rows["success"].astype("boolean").fillna(value=False).astype(bool)
    if "reason" in rows.columns:
        done &= rows["reason"].ne("fallback").fillna(value=True).astype(bool)
    return done


def metric_values(rows: pd.DataFrame, metric: Metric) -> pd.Series[float] | None:
    """The metric of each run, NaN where it has none; None if it was never recorded."""
    done = succeeded(rows)
    if metric.name == "success":
        return done.astype("float64")
    if metric.name not in rows.columns:
        return None
    values = rows[metric.name].astype("float64").replace([np.inf, -np.inf], np.nan)
    return values.where(done) if metric.of_successes else values


def since_recorded(runs: pd.DataFrame, metric: Metric) -> pd.DataFrame:
    """The runs since the metric is recorded: without those before its first value, all where it has none.

    Records of an older version lack a metric that was added since. Of their time only the failures would count, which
    are penalised and need no value.

    Args:
        runs: of all arms together; column `timestamp`.
    """
    if not metric.may_be_unrecorded or not {metric.name, "timestamp"} <= set(runs.columns):
        return runs
    known = runs[metric.name].notna()
    return runs[runs["timestamp"] >= runs["timestamp"][known].min()] if known.any() else runs


def unrecorded(runs: pd.DataFrame, metric: Metric, arms: Sequence[str]) -> NotComputable | None:
    """That an arm has answers, but none with a value of the metric: they are older than it. None if that is not so."""
    if not metric.may_be_unrecorded or metric.name not in runs.columns:
        return None
    old = []
    for arm in arms:
        rows = rows_of_arm(runs, arm)
        answered = rows[metric.name][succeeded(rows)]
        if len(answered) and not answered.notna().any():
            old.append(arm)
    if not old:
        return None
    return NotComputable("not_recorded", f"the runs of {' and '.join(old)} are from before {metric.name} was recorded")


def units(rows: pd.DataFrame) -> npt.NDArray[np.int64]:
    """A number for each row, the same for rows of one user; a row without a user gets one of its own."""
    codes, users = rows["user_id"].factorize()  # -1 where there is no user
    missing = codes < 0
    return np.where(missing, len(users) - 1 + np.cumsum(missing), codes).astype(np.int64)


def totals(values: pd.Series[float], unit: npt.NDArray[np.int64]) -> Totals:
    """Sum and number of the values of each user who has any."""
    known = np.asarray(values.notna(), dtype=bool)
    size = int(unit.max()) + 1 if unit.size else 0
    counts = np.bincount(unit[known], minlength=size).astype(np.float64)
    sums = np.bincount(unit[known], weights=np.asarray(values, np.float64)[known], minlength=size)
    return Totals(sums[counts > 0].astype(np.float64), counts[counts > 0])


def user_means_on_scale(rows: pd.DataFrame, metric: Metric) -> tuple[Values, Values | None]:
    """(mean of each user on the metric's scale, mean of the covariate or None), both (n_users,).

    On the logarithmic scale differences are ratios, so that users with large plants do not outweigh the others. A
    failed run has the penalised makespan `FAILED_RATIO` times its lower bound. The covariate is what was known of a
    request before it was assigned: its lower bound. A run without one gets the geometric mean of the arm's others, so
    that failures are not lost; where no run has one, there is no covariate and no penalty.
    """
    values = metric_values(rows, metric)
    if values is None:
        return np.empty(0), None
    bound = None
    if metric.covariate is not None and metric.covariate in rows.columns:
        bound = _known_bounds(rows[metric.covariate].astype("float64"))
        if metric.is_penalised and bound is not None:
            values = values.where(succeeded(rows), FAILED_RATIO * bound)
    if metric.is_ratio_scale:
        values = values.where(values > 0.0).transform(np.log)
        bound = None if bound is None else bound.transform(np.log)
    unit = units(rows)
    if bound is None:
        mine = totals(values, unit)
        return mine.sums / mine.counts, None
    mine, theirs = totals(values, unit), totals(bound.where(values.notna()), unit)
    return mine.sums / mine.counts, theirs.sums / theirs.counts


def _known_bounds(bound: pd.Series[float]) -> pd.Series[float] | None:
    """The lower bounds, gaps filled with their geometric mean; None where there is none at all."""
    bound = bound.where((bound > 0.0) & np.isfinite(bound))
    if not bound.notna().any():
        return None
    return bound.fillna(math.exp(float(np.log(bound.dropna()).mean())))
