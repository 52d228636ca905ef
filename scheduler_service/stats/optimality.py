"""Whether the answers of both arms are proven optima: then no metric of the answers can tell the models apart."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from scheduler_service.stats.arms import rows_of_arm, succeeded
from scheduler_service.stats.metrics import Metric
from scheduler_service.stats.summaries import Values
from scheduler_service.words import WORDS, Message

if TYPE_CHECKING:
    import pandas as pd

PROVEN_SHARE = 0.95
"""Minimum share of proven optima among the answers of each arm; with fewer, a difference may still be found."""
MIN_ANSWERS = 25
"""Minimum number of answers of each arm for this share to be reliable."""
PROVEN_GAP = 1e-6
"""A schedule counts as optimal if its gap (a share) to the best proven bound is at most this; the rest is rounding."""


class Proven(NamedTuple):
    """Numbers of answers of an arm."""

    known: int  # with a gap to a proven bound
    proven: int  # of them, optimal


@dataclass(frozen=True)
class CannotTell:
    """The metric cannot tell the arms apart, however much data there is; another metric can."""

    metric: str
    telling: str  # the metric to use instead
    shares: Mapping[str, float]  # arm -> share of its answers that are proven optimal

    @property
    def message(self) -> Message:
        a, b = self.shares.items()
        params = {"a": a[0], "b": b[0], "n_a": a[1], "n_b": b[1], "metric": self.metric, "telling": self.telling}
        return Message("verdicts.cannot_tell", params)

    def explains(self, improvement: object) -> bool:
        """Whether a difference of the arms' means, percent, is caused by their different requests.

        This is possible for the makespan, because an optimal makespan depends only on the request. The gap of an
        optimum is 0 for every request.
        """
        return self.metric == "makespan" and isinstance(improvement, float) and improvement != 0.0

    def to_dict(self) -> dict[str, Any]:
        """JSON."""
        return {
            "code": "proven_optimal",
            "message": WORDS.say(self.message),
            "text": self.message.to_dict(),
            "telling_metric": self.telling,
            "proven_shares": dict(self.shares),
        }


def cannot_tell(runs: pd.DataFrame, metric: Metric, arms: tuple[str, str]) -> CannotTell | None:
    """The reason why `metric` cannot tell the two arms apart; None if it can.

    It cannot if each arm has at least `MIN_ANSWERS` answers and at least `PROVEN_SHARE` of them are proven optimal.
    Failed runs do not count as answers; they are judged separately.

    Args:
        runs: as for `comparison.compare_arms`; the column `gap` is the gap to the best proven bound.
    """
    if "gap" not in runs.columns:
        return None
    gaps = {}
    for arm in arms:
        rows = rows_of_arm(runs, arm)
        gaps[arm] = proven_of(np.asarray(rows["gap"][succeeded(rows)], np.float64))
    return cannot_tell_of(metric, gaps)


def proven_of(gaps: Values) -> Proven:
    """The counts of gaps; those that are not finite are unknown."""
    known = gaps[np.isfinite(gaps)]
    return Proven(int(known.size), int((known <= PROVEN_GAP).sum()))


def cannot_tell_of(metric: Metric, answers: Mapping[str, Proven]) -> CannotTell | None:
    """As `cannot_tell`, from the counts of each arm's answers."""
    if metric.telling is None:
        return None
    shares = {}
    for arm, counts in answers.items():
        if counts.known < MIN_ANSWERS:
            return None
        shares[arm] = counts.proven / counts.known
    return CannotTell(metric.name, metric.telling, shares) if min(shares.values()) >= PROVEN_SHARE else None
