"""Whether both sides of a comparison answer proven optima: then no metric of the answers can tell the models apart."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from scheduler_service.stats.arms import rows_of_arm, succeeded
from scheduler_service.stats.metrics import Metric
from scheduler_service.stats.summaries import Values

if TYPE_CHECKING:
    import pandas as pd

PROVEN_SHARE = 0.95
"""Of the answers of each side; fewer leave enough room for a difference to be found."""
LEAST_ANSWERS = 25
"""Of each side; fewer do not show such a share."""
PROVEN_GAP = 1e-6
"""Schedules that exceed the best proven bound by no greater share are optimal; the rest is rounding."""


@dataclass(frozen=True)
class CannotTell:
    """Why more data will not decide by a metric, and which metric would."""

    metric: str
    telling: str  # the metric that would
    shares: Mapping[str, float]  # arm -> of its answers that are proven optimal

    @property
    def message(self) -> str:
        """In plain English, a sentence without its full stop."""
        told = ", ".join(f"{arm} {100.0 * share:.4g} %" for arm, share in self.shares.items())
        return (
            f"nearly all answers of both arms are proven optimal ({told}), so more data will not tell them apart in "
            f"{self.metric}; {self.telling}, the makespan of each model's own schedule, would"
        )

    def explains(self, improvement: object) -> bool:
        """Whether a difference of the arms' means (percent), if there is one, is that of their requests.

        A proven gap is 0 whatever the request; the makespan of an optimum is the request's.
        """
        return self.metric == "makespan" and isinstance(improvement, float) and improvement != 0.0

    def to_dict(self) -> dict[str, Any]:
        """JSON."""
        return {
            "code": "proven_optimal",
            "message": self.message,
            "telling_metric": self.telling,
            "proven_shares": dict(self.shares),
        }


def cannot_tell(runs: pd.DataFrame, metric: Metric, arms: tuple[str, str]) -> CannotTell | None:
    """That `metric` cannot tell the two arms apart any more; None while it can.

    That is so when of each arm's answers at least `PROVEN_SHARE` are proven optimal, and there are `LEAST_ANSWERS`.
    Failed runs are no answers: they are judged beside.

    Args:
        runs: as `comparison.compare_arms` takes them; column `gap`, to the best bound that was proven.
    """
    if "gap" not in runs.columns:
        return None
    gaps = {}
    for arm in arms:
        rows = rows_of_arm(runs, arm)
        gaps[arm] = np.asarray(rows["gap"][succeeded(rows)], np.float64)
    return _judged(metric, gaps)


def cannot_tell_pairs(metric: Metric, gaps: Mapping[str, Values]) -> CannotTell | None:
    """The same of pairs; `gaps` are those of the answers of each arm, NaN where it failed."""
    return _judged(metric, gaps)


def _judged(metric: Metric, gaps: Mapping[str, Values]) -> CannotTell | None:
    if metric.telling is None:
        return None
    shares = {}
    for arm, values in gaps.items():
        known = values[np.isfinite(values)]
        if known.size < LEAST_ANSWERS:
            return None
        shares[arm] = float((known <= PROVEN_GAP).mean())
    return CannotTell(metric.name, metric.telling, shares) if min(shares.values()) >= PROVEN_SHARE else None
