"""The effect by size of plant: a breakdown of the verdict's data, for information only. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from scheduler_service.experiments.examination import Examination, pairs_by_source
from scheduler_service.experiments.finding import Finding, finding_of
from scheduler_service.stats.arms import (
    BASELINE,
    metric_values,
    rows_of_arm,
    since_recorded,
    totals,
    units,
    user_values,
)
from scheduler_service.stats.comparison import ArmComparison
from scheduler_service.stats.effect import Effect, effect_of_arms, effect_of_pairs
from scheduler_service.stats.outcome import NotComputable
from scheduler_service.stats.pairs import paired_user_means

if TYPE_CHECKING:
    import pandas as pd

CLASSES: tuple[tuple[int, int | None], ...] = ((1, 1), (2, 3), (4, 7), (8, 15), (16, None))
"""Numbers of work points, from and to; None: no upper limit."""


@dataclass(frozen=True, slots=True)
class SizeClass:
    """The effect in one size class."""

    low: int
    high: int | None
    finding: Finding
    reason: NotComputable | None  # why there is no interval

    def to_dict(self) -> dict[str, Any]:
        found = self.finding.to_dict()
        names = ("side", "improvement_percentage", "interval_percentage", "change_percentage", "change", "unit")
        return {
            "from_workpoints": self.low,
            "to_workpoints": self.high,
            **{name: found[name] for name in (*names, "baseline_mean", "users", "samples")},
            "reason": None if self.reason is None else self.reason.to_dict(),
        }


@dataclass(frozen=True, slots=True)
class Breakdown:
    """All classes, also empty ones, of one candidate."""

    is_of_pairs: bool
    level: float  # confidence level of each interval, 0..1; simultaneously that of the verdict
    classes: tuple[SizeClass, ...]
    unknown: int  # requests or pairs without a recorded size

    def to_dict(self) -> dict[str, Any]:
        return {
            "basis": "pairs" if self.is_of_pairs else "users",
            "confidence_level": self.level,
            "classes": [each.to_dict() for each in self.classes],
            "unknown_samples": self.unknown,
        }


def breakdowns(examined: Examination, runs: pd.DataFrame, pairs: pd.DataFrame | None) -> dict[str, Breakdown]:
    """Candidate -> its breakdown.

    The basis is that of the verdict: users or pairs. Each of the five intervals has a fifth of the verdict's alpha
    (Bonferroni), so all of them hold simultaneously, at any time. The size belongs to the request and does not depend
    on the arm. A user with requests in several classes counts in each.

    Args:
        runs, pairs: the data of `examined`; runs with the column `n_workpoints`.
    """
    return {arm: _breakdown(examined, arm, runs, pairs) for arm in examined.experiment.candidates}


def _breakdown(examined: Examination, arm: str, runs: pd.DataFrame, pairs: pd.DataFrame | None) -> Breakdown:
    comparison = examined.comparisons[arm]
    alpha = examined.experiment.alpha / len(examined.verdicts) / len(CLASSES)
    of_pairs = pairs_by_source(pairs, arm)["shadow"] if examined.is_of_pairs(arm) else None
    rows = _until_stopped(examined, arm, runs) if of_pairs is None else of_pairs
    compared = rows[rows["variant"].isin((BASELINE, arm)).astype(bool)] if of_pairs is None else rows
    sizes = _sizes(rows)
    classes, examine_rows = [], _of_runs if of_pairs is None else _of_pairs
    for low, high in CLASSES:
        mine = rows[(sizes >= low) & (sizes <= (np.inf if high is None else high))]
        finding, effect = examine_rows(comparison, mine, alpha)
        classes.append(SizeClass(low, high, finding, effect if isinstance(effect, NotComputable) else None))
    return Breakdown(
        is_of_pairs=of_pairs is not None,
        level=1.0 - alpha,
        classes=tuple(classes),
        unknown=int(np.isnan(_sizes(compared)).sum()),
    )


def with_sizes(results: dict[str, Any], breakdowns: Mapping[str, Breakdown]) -> dict[str, Any]:
    """The results as JSON with the breakdown of each candidate."""
    first, *others = breakdowns
    comparisons = {arm: results["comparisons"][arm] | {"by_size": breakdowns[arm].to_dict()} for arm in others}
    return results | {"by_size": breakdowns[first].to_dict(), "comparisons": comparisons}


def _until_stopped(examined: Examination, arm: str, runs: pd.DataFrame) -> pd.DataFrame:
    end = examined.experiment.stopped_arms.get(arm)
    kept = runs if end is None else runs[runs["timestamp"] <= end]
    return since_recorded(kept, examined.comparisons[arm].metric)


def _sizes(rows: pd.DataFrame) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Work points of each row; NaN if not recorded."""
    if "n_workpoints" not in rows.columns:
        return np.full(len(rows), np.nan)
    return np.asarray(rows["n_workpoints"].astype("Float64").to_numpy(dtype=np.float64, na_value=np.nan), np.float64)


def _of_runs(comparison: ArmComparison, rows: pd.DataFrame, alpha: float) -> tuple[Finding, Effect | NotComputable]:
    effect = effect_of_arms(
        user_values(rows, comparison.metric, comparison.arms, comparison.split), comparison.metric, alpha
    )
    of_arm = {arm: rows_of_arm(rows, arm) for arm in comparison.arms}
    values = metric_values(of_arm[BASELINE], comparison.metric)
    found = replace(
        finding_of("users", comparison, 1.0 - alpha, effect),
        baseline_mean=None if values is None else _mean(values, of_arm[BASELINE]),
        users={arm: int(np.unique(units(mine)).size) for arm, mine in of_arm.items()},
        samples={arm: len(mine) for arm, mine in of_arm.items()},
    )
    return found, effect


def _of_pairs(comparison: ArmComparison, rows: pd.DataFrame, alpha: float) -> tuple[Finding, Effect | NotComputable]:
    a, b = paired_user_means(rows, comparison.metric)
    effect = effect_of_pairs(a, b, comparison.metric, alpha)
    answered = rows[f"{comparison.metric.name}_a"].astype("float64")
    found = replace(
        finding_of("shadow", comparison, 1.0 - alpha, effect),
        baseline_mean=_mean(answered, rows),
        users=dict.fromkeys(comparison.arms, int(a.size)),
        samples=dict.fromkeys(comparison.arms, len(rows)),
    )
    return found, effect


def _mean(values: pd.Series[float], rows: pd.DataFrame) -> float | None:
    """The mean of the user means; None: no value."""
    of_users = totals(values, units(rows))
    return float((of_users.sums / of_users.counts).mean()) if of_users.counts.size else None
