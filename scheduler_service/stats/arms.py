"""Recorded runs of an experiment -> what each user of an arm contributes, since the user is the unit of inference."""

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
    import pandas as pd  # slow to import, and only callers that have a frame already come here

MEASURED_SHARE = 0.9
"""Of an arm's answers that have a lower bound on record; with fewer, makespans are compared as they are."""
FAILED_RATIO = 2.0
"""A failed run counts as a schedule so many times as long as its lower bound: a planner has to do without one."""


@dataclass(frozen=True)
class Totals:
    """Sums over the requests of each user: a rate is `sums.sum() / counts.sum()`. Shapes (n_users,)."""

    sums: Values
    counts: Values


def rows_of_arm(runs: pd.DataFrame, arm: str) -> pd.DataFrame:
    """The runs that speak of the arm; those of testers who were forced into it do not."""
    return runs[runs["variant"].eq(arm).fillna(value=False).astype(bool) & _is_assigned(runs)]


def assigned(runs: pd.DataFrame) -> pd.DataFrame:
    """The runs that fell into any arm by chance, in the order of their `timestamp`, as they are if they have none."""
    rows = runs[_is_assigned(runs)]
    return rows.sort_values("timestamp", kind="stable") if "timestamp" in rows.columns else rows


def _is_assigned(runs: pd.DataFrame) -> pd.Series[bool]:
    chosen = runs["variant"].notna()
    if "reason" in runs.columns:
        chosen &= runs["reason"].ne("pinned").fillna(value=True).astype(bool)
    return chosen


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


@dataclass(frozen=True)
class UserValues:
    """What each user contributes, in the order in which they were first seen. Shapes (n_users,)."""

    y: Values  # mean of the user's requests, on the metric's scale
    limits: tuple[float, float] | None  # that y stays within; None: no limits are known
    is_candidate: npt.NDArray[np.bool_]  # of the two arms
    share: Values  # chance that this user fell into the candidate's arm rather than the baseline's
    correlation: float | None  # of makespan and lower bound; None where the one is not measured by the other

    @property
    def a(self) -> Values:
        """Of the baseline's users."""
        return self.y[~self.is_candidate]

    @property
    def b(self) -> Values:
        """Of the candidate's users."""
        return self.y[self.is_candidate]


def user_values(
    runs: pd.DataFrame, metric: Metric, arms: tuple[str, str], split: Mapping[str, float] | None = None
) -> UserValues:
    """What the users of two arms contribute to a comparison in `metric`.

    On the logarithmic scale differences are ratios, so that users with large plants do not outweigh the others.
    Makespans are measured by the instance's lower bound, which was known before the request was assigned:
    y = log(makespan / lower bound), from 0 to log `FAILED_RATIO`, which is also what a failure counts. Where fewer
    than `MEASURED_SHARE` of either arm's answers have a bound on record, nothing is measured by bounds:
    y = log(makespan), and a failure counts `FAILED_RATIO` times the geometric mean of both arms' answers.

    A user who was seen in several arms, or under several splits, counts with the arm and the split of the first time,
    and not at all if that was another arm: what came later depends on what somebody changed meanwhile. Runs from while
    one of the two arms had no share are left out, as nothing fell to chance then.

    Args:
        runs: as `comparison.compare_arms` takes them, in the order in which they came if they have no `timestamp`; the
            column `split` says which shares a run was assigned by.
        arms: baseline and candidate.
        split: the shares where the runs do not say them. None, or where one of the arms has none: those that the users
            fell into.
    """
    rows = assigned(runs)
    shares = _shares(rows, arms)
    rows, shares = rows[~np.isinf(shares)], shares[~np.isinf(shares)]
    of_a, of_b = (np.asarray(rows["variant"].eq(arm), bool) for arm in arms)
    unit = units(rows)
    begin = np.unique(unit, return_index=True)[1]
    first = begin[unit]  # of each run the user's first one
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
    """(y, limits, correlation) of `UserValues`, of runs whose arms do not matter."""
    values, limits, correlation = _on_scale(rows, metric)
    mine = totals(values, units(rows))
    return mine.sums / mine.counts, limits, correlation


def _on_scale(rows: pd.DataFrame, metric: Metric) -> tuple[pd.Series[float], tuple[float, float] | None, float | None]:
    """Of each run the value, NaN where it counts for nothing; what the values stay within; the bound's correlation."""
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
    """Whether nearly all answers of every arm have a bound on record; those without are then left out."""
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
    """Of each run the candidate's share of both arms by the split on record, as `_share_of`; NaN where none is."""
    if "split" not in rows.columns:
        return np.full(len(rows), np.nan)
    codes, splits = rows["split"].factorize()
    recorded = (split_of(text) for text in splits)
    of_split = [math.nan if split is None else _share_of(split, arms) for split in recorded]
    found: Values = np.array([*of_split, math.nan])[codes]  # the code of what is missing is -1
    return found


def split_of(text: str) -> dict[str, float] | None:
    """The shares that a record says, "0.9/0.1" in the order of the arms; None if it says something else."""
    try:
        return {f"model_{letter}": float(share) for letter, share in zip("abcdefgh", text.split("/"), strict=False)}
    except ValueError:
        return None


def _share_of(split: Mapping[str, float], arms: tuple[str, str]) -> float:
    """The candidate's share of both arms; infinite where one of them has none."""
    a, b = (split.get(arm, 0.0) for arm in arms)
    return b / (a + b) if a > 0.0 and b > 0.0 else math.inf
