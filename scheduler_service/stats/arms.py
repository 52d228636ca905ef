"""The contribution of each user of an arm, from the recorded runs: the user is the unit of inference."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from scheduler_service.stats.metrics import Metric
from scheduler_service.stats.outcome import NotComputable, nearly_constant
from scheduler_service.stats.summaries import Values

if TYPE_CHECKING:
    import pandas as pd  # slow to import; callers that have a frame have imported it

BASELINE = "model_a"
ARMS = tuple(f"model_{letter}" for letter in "abcdefgh")
"""All possible arms of an experiment; the first one is the baseline."""
MEASURED_SHARE = 0.9
"""Minimum share of an arm's answers with a recorded lower bound; below it, makespans are compared without the bound."""
FAILED_RATIO = 2.0
"""A failed run counts as a schedule this many times as long as its lower bound, because the planner got no schedule."""


@dataclass(frozen=True)
class Totals:
    """Sums over the requests of each user: a rate is `sums.sum() / counts.sum()`. Shapes (n_users,)."""

    sums: Values
    counts: Values


def rows_of_arm(runs: pd.DataFrame, arm: str) -> pd.DataFrame:
    """The runs of the arm, without those of testers who were pinned to it."""
    return runs[runs["variant"].eq(arm).fillna(value=False).astype(bool) & _is_assigned(runs)]


def assigned(runs: pd.DataFrame) -> pd.DataFrame:
    """The runs that were randomly assigned to an arm, sorted by `timestamp` if there is such a column."""
    rows = runs[_is_assigned(runs)]
    return rows.sort_values("timestamp", kind="stable") if "timestamp" in rows.columns else rows


def _is_assigned(runs: pd.DataFrame) -> pd.Series[bool]:
    chosen = runs["variant"].notna()
    if "reason" in runs.columns:
        chosen &= runs["reason"].ne("pinned").fillna(value=True).astype(bool)
    return chosen


def succeeded(rows: pd.DataFrame) -> pd.Series[bool]:
    """Which runs the arm's own model answered; `fallback` runs were answered by another model."""
    done = rows["success"].astype("boolean").fillna(value=False).astype(bool)
    if "reason" in rows.columns:
        done &= rows["reason"].ne("fallback").fillna(value=True).astype(bool)
    return done


def metric_values(rows: pd.DataFrame, metric: Metric) -> pd.Series[float] | None:
    """The metric of each run, NaN if the run has no value; None if the metric was never recorded."""
    done = succeeded(rows)
    if metric.name == "success":
        return done.astype("float64")
    if metric.name not in rows.columns:
        return None
    values = rows[metric.name].astype("float64").replace([np.inf, -np.inf], np.nan)
    return values.where(done) if metric.of_successes else values


def since_recorded(runs: pd.DataFrame, metric: Metric) -> pd.DataFrame:
    """The runs from the first recorded value of the metric on; all runs if it has no value.

    Records of an older version lack a metric that was added later. Of the older runs only the failures would count,
    because they are penalised and need no value.

    Args:
        runs: those of all arms; column `timestamp`.
    """
    if not metric.may_be_unrecorded or not {metric.name, "timestamp"} <= set(runs.columns):
        return runs
    known = runs[metric.name].notna()
    return runs[runs["timestamp"] >= runs["timestamp"][known].min()] if known.any() else runs


def unrecorded(runs: pd.DataFrame, metric: Metric, arms: Sequence[str]) -> NotComputable | None:
    """The reason `not_recorded` if an arm has answers, but all are older than the metric; otherwise None."""
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
    return NotComputable("not_recorded", metric=metric.name, arms=old)


def units(rows: pd.DataFrame) -> npt.NDArray[np.int64]:
    """A number for each row, the same for the rows of a user; a row without a user gets its own number."""
    codes, users = rows["user_id"].factorize()  # -1 for rows without a user
    missing = codes < 0
    return np.where(missing, len(users) - 1 + np.cumsum(missing), codes).astype(np.int64)


def totals(values: pd.Series[float], unit: npt.NDArray[np.int64]) -> Totals:
    """Sum and number of the values of each user, without users who have no value."""
    known = np.asarray(values.notna(), dtype=bool)
    size = int(unit.max()) + 1 if unit.size else 0
    counts = np.bincount(unit[known], minlength=size).astype(np.float64)
    sums = np.bincount(unit[known], weights=np.asarray(values, np.float64)[known], minlength=size)
    return Totals(sums[counts > 0].astype(np.float64), counts[counts > 0])


@dataclass(frozen=True)
class UserValues:
    """The contribution of each user, sorted by the time of the first request. Shapes (n_users,)."""

    y: Values  # mean over the user's requests, on the metric's scale
    limits: tuple[float, float] | None  # limits of y; None if there are none
    is_candidate: npt.NDArray[np.bool_]  # True: the candidate's arm; False: the baseline's
    share: Values  # probability that the user was assigned to the candidate, given one of the two arms; 0..1
    correlation: float | None  # of makespan and lower bound; None if makespans are compared without the bound

    @property
    def a(self) -> Values:
        """y of the baseline's users."""
        return self.y[~self.is_candidate]

    @property
    def b(self) -> Values:
        """y of the candidate's users."""
        return self.y[self.is_candidate]


def user_values(
    runs: pd.DataFrame, metric: Metric, arms: tuple[str, str], split: Mapping[str, float] | None = None
) -> UserValues:
    """The contributions of the users of two arms to a comparison in `metric`.

    On the logarithmic scale differences are ratios, so users with large plants do not outweigh the others. Makespans
    are divided by the instance's lower bound, which is known before the assignment:
    y = log(makespan / lower bound), clipped to 0 .. log `FAILED_RATIO`. A failure counts log `FAILED_RATIO`. If fewer
    than `MEASURED_SHARE` of either arm's answers have a recorded bound, y = log(makespan), and a failure counts
    `FAILED_RATIO` times the geometric mean of both arms' answers.

    A user who was in several arms, or under several splits, counts with the first arm and split, and not at all if the
    first arm is another one: later runs depend on changes made meanwhile. Runs from a time when one of the two arms had
    no share are left out, because there was no random assignment.

    Args:
        runs: as for `comparison.compare_arms`, in order of time if they have no `timestamp`; the column `split` holds
            the shares by which a run was assigned.
        arms: baseline and candidate.
        split: the shares of runs without `split`. If it is None, or one of the arms has no share, the observed shares
            are used.
    """
    rows = assigned(runs)
    shares = _shares(rows, arms)
    rows, shares = rows[~np.isinf(shares)], shares[~np.isinf(shares)]
    of_a, of_b = (np.asarray(rows["variant"].eq(arm), bool) for arm in arms)
    unit = units(rows)
    begin = np.unique(unit, return_index=True)[1]
    first = begin[unit]  # for each run, the user's first run
    has_arm_of_first = (of_a & of_a[first]) | (of_b & of_b[first])
    counts = has_arm_of_first & (np.isnan(shares[first]) | (shares == shares[first]))
    values, limits, correlation = _on_scale(rows[counts], metric)
    known = np.asarray(values.notna(), bool)
    mine = totals(values, unit[counts])
    begin = begin[np.unique(unit[counts][known])]
    order = np.argsort(begin)
    is_candidate, share = of_b[begin][order], shares[begin][order]
    otherwise = math.nan if split is None else _share_of(split, arms)
    if not math.isfinite(otherwise):
        otherwise = float(is_candidate.mean()) if len(order) else 0.5
    share = np.where(np.isnan(share), otherwise, share)
    return UserValues((mine.sums / mine.counts)[order], limits, is_candidate, share, correlation)


def user_means(rows: pd.DataFrame, metric: Metric) -> tuple[Values, tuple[float, float] | None, float | None]:
    """(y, limits, correlation) as in `UserValues`, for all runs regardless of their arm."""
    values, limits, correlation = _on_scale(rows, metric)
    mine = totals(values, units(rows))
    return mine.sums / mine.counts, limits, correlation


def _on_scale(rows: pd.DataFrame, metric: Metric) -> tuple[pd.Series[float], tuple[float, float] | None, float | None]:
    """(value of each run, NaN if it does not count; limits of the values; correlation with the lower bound)."""
    values = metric_values(rows, metric)
    if values is None:
        return rows["success"].astype("float64") * np.nan, metric.limits, None
    if not metric.is_ratio_scale:
        return values if metric.limits is None else values.clip(*metric.limits), metric.limits, None
    logs = values.where(values > 0.0).transform(np.log)
    failed = ~succeeded(rows) if metric.is_penalised else None
    if metric.covariate in rows.columns:
        bound = rows[metric.covariate].astype("float64")
        log_bound = bound.where((bound > 0.0) & np.isfinite(bound)).transform(np.log)
        if _is_measurable(rows, logs, log_bound):
            limits = (0.0, math.log(FAILED_RATIO))
            measured = (logs - log_bound).clip(*limits)
            correlation = _correlation(logs, log_bound)
            return measured if failed is None else measured.mask(failed, limits[1]), limits, correlation
    if failed is not None:
        logs = logs.mask(failed, float(logs.mean()) + math.log(FAILED_RATIO))
    return logs, None, None


def _is_measurable(rows: pd.DataFrame, logs: pd.Series[float], log_bound: pd.Series[float]) -> bool:
    """Whether at least `MEASURED_SHARE` of every arm's answers have a lower bound; the others are then left out."""
    has_bound = log_bound.notna()[logs.notna()]
    if not has_bound.any():
        return bool(log_bound.notna().any() and not logs.notna().any())
    arm = rows["variant"] if "variant" in rows.columns else np.zeros(len(rows))
    shares = has_bound.groupby(np.asarray(arm)[np.asarray(logs.notna())]).mean()
    return bool(shares.min() >= MEASURED_SHARE)


def _correlation(a: pd.Series[float], b: pd.Series[float]) -> float | None:
    known = np.asarray(a.notna() & b.notna(), bool)
    x, y = np.asarray(a, np.float64)[known], np.asarray(b, np.float64)[known]
    if x.size < 2 or nearly_constant(float(x.std()), 1.0) or nearly_constant(float(y.std()), 1.0):
        return None
    return float(np.corrcoef(x, y)[0, 1])


def _shares(rows: pd.DataFrame, arms: tuple[str, str]) -> Values:
    """The candidate's share (see `_share_of`) of each run by its recorded split; NaN if there is none."""
    if "split" not in rows.columns:
        return np.full(len(rows), np.nan)
    codes, splits = rows["split"].factorize()
    recorded = (split_of(text) for text in splits)
    of_split = [math.nan if split is None else _share_of(split, arms) for split in recorded]
    found: Values = np.array([*of_split, math.nan])[codes]  # the code of a missing value is -1
    return found


def split_of(text: str) -> dict[str, float] | None:
    """The shares in a record, such as "0.9/0.1", in the order of the arms; None if the text has another form."""
    try:
        return {f"model_{letter}": float(share) for letter, share in zip("abcdefgh", text.split("/"), strict=False)}
    except ValueError:
        return None


def _share_of(split: Mapping[str, float], arms: tuple[str, str]) -> float:
    """The candidate's share of the traffic of both arms; infinite if one of them has no share."""
    a, b = (split.get(arm, 0.0) for arm in arms)
    return b / (a + b) if a > 0.0 and b > 0.0 else math.inf
