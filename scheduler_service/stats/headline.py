"""The summary of a candidate: the effect of the verdict, and whether the raw means contradict it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from scheduler_service.stats.arms import BASELINE, metric_values, rows_of_arm, totals, units
from scheduler_service.stats.comparison import ArmComparison
from scheduler_service.stats.judged import EQUAL_BELOW, Judged, change_message
from scheduler_service.stats.metrics import Metric
from scheduler_service.stats.optimality import CannotTell
from scheduler_service.words import WORDS, Message

if TYPE_CHECKING:
    import pandas as pd

Cause = Literal["failures", "requests", "pairs", "weights"]
"""Why the raw means have the opposite sign. failures: they do not include failed runs. requests: the arms got requests
of different length. pairs: the effect compares both models on the same requests, the raw means use each arm's own.
weights: a few users with large values dominate a mean of values."""


@dataclass(frozen=True, slots=True)
class Contradiction:
    """The raw means of successful runs and the effect of the verdict have opposite signs."""

    candidate: str
    metric: Metric
    raw_percentage: float  # improvement; positive is better
    effect_percentage: float
    causes: tuple[Cause, ...]  # the causes that act in the direction of the difference; never empty
    failed_percentages: tuple[float, float]  # failed requests of the baseline and of the candidate
    requests_longer_percentage: float | None  # excess of the candidate's requests, by lower bounds

    @property
    def message(self) -> Message:
        """Both figures, the causes, and which one to use."""
        raw, effect = (
            change_message(each / 100.0, self.metric) for each in (self.raw_percentage, self.effect_percentage)
        )
        causes = [self._why(cause) for cause in self.causes]
        return Message("contradiction.text", {"b": self.candidate, "raw": raw, "effect": effect, "causes": causes})

    def _why(self, cause: Cause) -> Message:
        failed_a, failed_b = (each / 100.0 for each in self.failed_percentages)
        longer = (self.requests_longer_percentage or 0.0) / 100.0
        code = cause if cause != "requests" else "requests_longer" if longer > 0.0 else "requests_shorter"
        params = {"a": BASELINE, "b": self.candidate, "failed_a": failed_a, "failed_b": failed_b, "by": abs(longer)}
        return Message(f"contradiction.{code}", params)

    def to_dict(self) -> dict[str, Any]:
        """JSON."""
        return {
            "causes": list(self.causes),
            "message": WORDS.say(self.message),
            "text": self.message.to_dict(),
            "raw_improvement_percentage": self.raw_percentage,
            "effect_improvement_percentage": self.effect_percentage,
            "failed_percentages": list(self.failed_percentages),
            "requests_longer_percentage": self.requests_longer_percentage,
        }


def contradiction(
    comparison: ArmComparison, effect_percentage: float | None, requests_longer: float | None, *, is_of_pairs: bool
) -> Contradiction | None:
    """The contradiction of raw improvement and effect; None if the signs are equal, or either is 0 or unknown.

    Args:
        effect_percentage: the improvement of the verdict; None: there is none.
        requests_longer: the result of `requests_longer`, a share.
        is_of_pairs: whether the verdict is based on pairs.
    """
    raw = comparison.improvement_percentage
    if effect_percentage is None or not isinstance(raw, float):
        return None
    if min(abs(raw), abs(effect_percentage)) < 100.0 * EQUAL_BELOW or (raw > 0.0) == (effect_percentage > 0.0):
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
        metric=metric,
        raw_percentage=raw,
        effect_percentage=effect_percentage,
        causes=tuple(causes) or ("weights",),
        failed_percentages=(100.0 * (1.0 - rates[0]), 100.0 * (1.0 - rates[1])),
        requests_longer_percentage=None if requests_longer is None else 100.0 * requests_longer,
    )


def requests_longer(runs: pd.DataFrame, metric: Metric, arms: tuple[str, str]) -> float | None:
    """The share by which the lower bounds of the candidate's successful requests exceed the baseline's.

    It is the ratio of the means of the user means, as for `improvement_percentage`, minus 1. None if an arm has no
    recorded lower bounds, or the metric does not depend on them.
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
    comparison: ArmComparison, judged: Judged, contradicted: Contradiction | None, undecidable: CannotTell | None
) -> str:
    """The result in English: a contradiction if there is one, the verdict with its effect, then the raw means."""
    first = "" if contradicted is None else f"{WORDS.say(contradicted.message)} "
    return f"{first}{judged.word}: {judged.sentence} {WORDS.say(*raw_means(comparison, undecidable))}"


def raw_means(comparison: ArmComparison, undecidable: CannotTell | None) -> tuple[Message, ...]:
    """The result of the raw means, and that their difference is one of the requests where this is known."""
    said = comparison.messages
    if undecidable is not None and undecidable.explains(comparison.improvement_percentage):
        said += (Message("raw_means.of_requests"),)
    return said
