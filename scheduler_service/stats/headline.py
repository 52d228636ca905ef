"""What is said first of a candidate: the effect that the verdict rests on, and that the raw means contradict it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from scheduler_service.stats.arms import metric_values, rows_of_arm, totals, units
from scheduler_service.stats.comparison import ArmComparison
from scheduler_service.stats.metrics import Metric
from scheduler_service.stats.optimality import CannotTell

if TYPE_CHECKING:
    import pandas as pd

Cause = Literal["failures", "requests", "pairs", "weights"]
"""Why the raw means have another sign. failures: they leave failed runs out. requests: the arms' requests are of other
lengths. pairs: the effect is of both models on the same requests, the raw means are of each arm's own. weights: a few
users with large values outweigh the others in a mean of values."""

EQUAL_BELOW = 0.005
"""Percent; a smaller improvement is written as 0.00 % and contradicts nothing."""


@dataclass(frozen=True, slots=True)
class Contradiction:
    """The raw means of successful runs and the effect that the verdict rests on have opposite signs."""

    candidate: str
    raw_percentage: float  # improvement; positive is better
    effect_percentage: float
    causes: tuple[Cause, ...]  # those that pull in the direction of the difference; never empty
    failed_percentages: tuple[float, float]  # of the requests of the baseline and of the candidate
    requests_longer_percentage: float | None  # the candidate's requests than the baseline's, by their lower bounds

    @property
    def message(self) -> str:
        """In plain English: what differs, why, and which of both to go by."""
        why = " and ".join(self._why(cause) for cause in self.causes)
        return (
            f"The raw means and the verdict's effect point opposite ways: by the raw means {self.candidate} is "
            f"{_better_by(self.raw_percentage)}, by the effect {_better_by(self.effect_percentage)}. Go by the effect: "
            f"{why}."
        )

    def _why(self, cause: Cause) -> str:
        failed_a, failed_b = self.failed_percentages
        longer = self.requests_longer_percentage or 0.0
        return {
            "failures": (
                f"the raw means leave out failed runs ({self.candidate} {failed_b:.1f} %, model_a {failed_a:.1f} %)"
            ),
            "requests": (
                f"{self.candidate} happened to get requests that are {abs(longer):.1f} % "
                f"{'longer' if longer > 0.0 else 'shorter'} (by their lower bounds)"
            ),
            "pairs": "the effect compares both models on the same requests, the raw means each arm's own",
            "weights": "a few users with large values outweigh the others in the raw means",
        }[cause]

    def to_dict(self) -> dict[str, Any]:
        """JSON."""
        return {
            "causes": list(self.causes),
            "message": self.message,
            "raw_improvement_percentage": self.raw_percentage,
            "effect_improvement_percentage": self.effect_percentage,
            "failed_percentages": list(self.failed_percentages),
            "requests_longer_percentage": self.requests_longer_percentage,
        }


def contradiction(
    comparison: ArmComparison, effect_percentage: float | None, requests_longer: float | None, *, is_of_pairs: bool
) -> Contradiction | None:
    """That the raw improvement and the verdict's have opposite signs; None if not, or if either is 0 or unknown.

    Args:
        effect_percentage: the improvement that the verdict rests on; None: there is none.
        requests_longer: as `requests_longer` tells it, a share.
        is_of_pairs: whether the verdict rests on pairs.
    """
    raw = comparison.improvement_percentage
    if effect_percentage is None or not isinstance(raw, float):
        return None
    if min(abs(raw), abs(effect_percentage)) < EQUAL_BELOW or (raw > 0.0) == (effect_percentage > 0.0):
        return None
    metric, flatters = comparison.metric, raw > effect_percentage
    rates = [comparison.average_metrics[arm]["success"].mean or 0.0 for arm in comparison.arms]
    causes: list[Cause] = ["pairs"] if is_of_pairs else []
    if metric.is_penalised and rates[0] != rates[1] and (rates[1] < rates[0]) == flatters:
        causes.append("failures")
    if metric.covariate is not None and requests_longer and (requests_longer < 0.0) == flatters:
        causes.append("requests")
    return Contradiction(
        candidate=comparison.candidate,
        raw_percentage=raw,
        effect_percentage=effect_percentage,
        causes=tuple(causes) or ("weights",),
        failed_percentages=(100.0 * (1.0 - rates[0]), 100.0 * (1.0 - rates[1])),
        requests_longer_percentage=None if requests_longer is None else 100.0 * requests_longer,
    )


def requests_longer(runs: pd.DataFrame, metric: Metric, arms: tuple[str, str]) -> float | None:
    """By which share the candidate's successful requests are longer than the baseline's, by their lower bounds.

    Ratio of the means of the user means, as `improvement_percentage` is one, minus 1; negative: shorter. None where an
    arm has no lower bounds on record, or the metric does not depend on them.
    """
    if metric.covariate is None or metric.covariate not in runs.columns:
        return None
    means = []
    for arm in arms:
        rows = rows_of_arm(runs, arm)
        values = metric_values(rows, metric)
        if values is None:
            return None
        bounds = rows[metric.covariate].astype("float64").where(values.notna())
        of_users = totals(bounds, units(rows))
        means.append(float((of_users.sums / of_users.counts).mean()) if of_users.counts.size else math.nan)
    ratio = means[1] / means[0] if means[0] > 0.0 else math.nan
    return ratio - 1.0 if math.isfinite(ratio) else None


def summary(
    comparison: ArmComparison, verdict: Mapping[str, Any], contradicted: Contradiction | None, told: CannotTell | None
) -> str:
    """The finding in plain English: what contradicts it, the verdict with its effect, then the raw means by their name.

    Args:
        verdict: as JSON, of users or of pairs.
        told: that the metric cannot tell the arms apart, where that is so.
    """
    first = "" if contradicted is None else f"{contradicted.message} "
    of_requests = (
        " Nearly all answers of both arms are proven optimal: "
        "this difference is mostly one of the requests of the two arms, not of the models."
    )
    explained = of_requests if told is not None and told.explains(comparison.improvement_percentage) else ""
    return f"{first}{verdict['verdict']}: {verdict['verdict_sentence']} {comparison.summary}{explained}"


def _better_by(percentage: float) -> str:
    return f"{abs(percentage):.2f} % {'better' if percentage > 0.0 else 'worse'}"
