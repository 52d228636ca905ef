"""What to do about a candidate: one word, one sentence, and the figures they rest on."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from scheduler_service.stats.arms import (
    rows_of_arm,
    since_recorded,
    succeeded,
    totals,
    units,
    unrecorded,
    user_means_on_scale,
)
from scheduler_service.stats.comparison import ArmComparison
from scheduler_service.stats.effect import LEAST_USERS, TUNED_FOR, Effect, effect_of_arms, to_improvement, to_scale
from scheduler_service.stats.guardrails import rate_with_error
from scheduler_service.stats.optimality import CannotTell, cannot_tell
from scheduler_service.stats.outcome import NotComputable
from scheduler_service.stats.power import minimum_detectable_effect, units_needed
from scheduler_service.stats.sequential import boundary

if TYPE_CHECKING:
    import pandas as pd

Word = Literal["better", "non_inferior", "worse", "inconclusive", "invalid"]

DEFAULT_MARGIN = 0.05
MAX_DAYS = 3_650.0
LIKELY = 0.05
"""One-sided p-value of one look below which fewer successes are called probable, not yet certain."""


@dataclass(frozen=True, slots=True)
class Failing:
    """The candidate fails more often than the baseline."""

    is_certain: bool  # at every moment, with chance 1 - alpha; otherwise by one look
    rates: tuple[float, float]  # of success; baseline, candidate


@dataclass(frozen=True)
class Verdict:
    """Of the candidate against the baseline; may be looked at as often as one likes."""

    word: Word
    reason: NotComputable | None  # why it is `invalid`
    effect: Effect | NotComputable
    margin: float
    sentence: str
    recommendation: str
    minimum_detectable_effect: float | None  # share of the baseline, one look, power 80 %
    days_left: float | None  # until the bounds exclude "no difference", if all goes on as it is
    failing: Failing | None  # where failures are penalised, and the candidate has more of them
    cannot_tell: CannotTell | None = None  # where it is neither `better` nor `worse`, and more data will not help

    def to_dict(self) -> dict[str, Any]:
        """JSON; shares as percentages."""
        effect = self.effect
        known = None if isinstance(effect, NotComputable) else effect
        return {
            "verdict": self.word,
            "verdict_reason": None if self.reason is None else self.reason.to_dict(),
            "verdict_sentence": self.sentence,
            "recommendation": self.recommendation,
            "margin_percentage": 100.0 * self.margin,
            "anytime_effect": None
            if known is None
            else {
                "improvement_percentage": 100.0 * known.improvement,
                "confidence_sequence": [100.0 * known.low, 100.0 * known.high],
                "confidence_level": 1.0 - known.alpha,
                "users": known.units,
                "covariate_correlation": known.correlation,
            },
            "minimum_detectable_effect_percentage": None
            if self.minimum_detectable_effect is None
            else 100.0 * self.minimum_detectable_effect,
            "projected_days_left": self.days_left,
            "failing": None
            if self.failing is None
            else {"is_certain": self.failing.is_certain, "success_rates": list(self.failing.rates)},
            "cannot_tell": None if self.cannot_tell is None else self.cannot_tell.to_dict(),
        }


def judge(runs: pd.DataFrame, comparison: ArmComparison, margin: float, elapsed_days: float) -> Verdict:
    """The verdict on `comparison`'s candidate.

    In this order: `invalid` when the users fell into the arms in wrong shares, when there are fewer samples than the
    experiment wants or no error can be computed; `better` or `worse` when the bounds exclude no difference;
    `non_inferior` when they exclude a harm of `margin`, or when there is no error since the answers of both arms are
    proven optimal; otherwise `inconclusive`. All bounds are anytime-valid at the
    experiment's alpha, so the order of looks does not matter.

    Failures are treated in two stages. First success: the sentence says whether the candidate certainly or probably
    fails more often, and one that certainly does is `inconclusive` where it would be better or non-inferior, whatever
    its schedules are like; that can only lower the chance of a wrong verdict. Then the metric, failures penalised where
    it takes that.

    Where the metric cannot tell the arms apart any more (`optimality`), the sentence says so and names one that can.

    Args:
        runs: those that `comparison` was made of.
        margin: share of the baseline that the candidate may be worse and still be called non-inferior.
        elapsed_days: since the experiment began.
    """
    metric = comparison.metric
    recorded = since_recorded(runs, metric)
    sides = [user_means_on_scale(rows_of_arm(recorded, arm), metric) for arm in comparison.arms]
    (y_a, x_a), (y_b, x_b) = sides
    covariates = None if x_a is None or x_b is None else (x_a, x_b)
    effect = effect_of_arms(y_a, y_b, covariates, metric, comparison.alpha)
    reason = _invalid(comparison, effect, unrecorded(runs, metric, comparison.arms))
    word: Word = "invalid"
    if reason is None and not isinstance(effect, NotComputable):
        word = word_for(effect, margin)
    failing = None if metric.name == "success" else _failing(runs, comparison)
    if failing is not None and failing.is_certain and word in ("better", "non_inferior"):
        word = "inconclusive"
    is_open = word in ("inconclusive", "non_inferior", "invalid") and not comparison.has_ratio_mismatch
    told = cannot_tell(runs, metric, comparison.arms) if is_open else None
    is_failing = failing is not None and failing.is_certain
    if told is not None and reason is effect and reason.reason == "no_variation" and not is_failing:
        word, reason = "non_inferior", None  # equal but for what the plants explain, and no schedule could be shorter
    mde, days = None, None
    if not isinstance(effect, NotComputable):
        mde = to_improvement(minimum_detectable_effect(effect.standard_error, comparison.alpha), metric)
        if word in ("inconclusive", "non_inferior") and told is None:
            scaled = to_scale(effect.improvement, metric)
            needed = units_needed(scaled, effect.standard_error * math.sqrt(effect.units), comparison.alpha, TUNED_FOR)
            days = elapsed_days * (needed / effect.units - 1.0)
            days = days if 0.0 < days <= MAX_DAYS else None
    return Verdict(
        word=word,
        reason=reason,
        effect=effect,
        margin=margin,
        sentence=_sentence(word, reason, effect, comparison, margin, failing) + addition(told),
        recommendation=_recommendation(word, reason, comparison, days, failing, told),
        minimum_detectable_effect=mde,
        days_left=days,
        failing=failing,
        cannot_tell=told,
    )


def addition(told: CannotTell | None) -> str:
    """The sentence that follows a verdict where its metric cannot tell; empty where it can."""
    return "" if told is None else f" {told.message[0].upper()}{told.message[1:]}."


def summary_beside(comparison: ArmComparison, told: CannotTell | None) -> str:
    """The summary of the classical test, which knows the means only and may call a difference of plants significant."""
    if told is None or not told.explains(comparison.improvement_percentage):
        return comparison.summary
    return (
        f"{comparison.summary} Nearly all answers of both arms are proven optimal: "
        "this difference is mostly one of the requests of the two arms, not of the models."
    )


def advice(told: CannotTell) -> str:
    """What to do where the metric cannot tell."""
    return f"Judge by {told.telling}: make a new experiment with that success_metric, or replay recorded traffic."


def _failing(runs: pd.DataFrame, comparison: ArmComparison) -> Failing | None:
    """Whether the candidate certainly or probably fails more often; None if neither can be said.

    The difference of the request rates, users as clusters (`guardrails.rate_with_error`), against the one-sided
    sequential boundary at alpha, and against the normal quantile at `LIKELY`.
    """
    from scipy import stats  # slow to import, and the service starts without it

    arms = [rows_of_arm(runs, arm) for arm in comparison.arms]
    sides = [totals(succeeded(rows).astype("float64"), units(rows)) for rows in arms]
    users = [side.counts.size for side in sides]
    if min(users) < LEAST_USERS:
        return None
    (rate_a, error_a), (rate_b, error_b) = (rate_with_error(side) for side in sides)
    errors = (rate_a - rate_b) / math.hypot(error_a, error_b)
    if errors <= float(stats.norm.isf(LIKELY)):
        return None
    limit = float(boundary(np.array([float(sum(users))]), comparison.alpha, TUNED_FOR, sides=1)[0])
    return Failing(is_certain=errors > limit, rates=(rate_a, rate_b))


def word_for(effect: Effect, margin: float) -> Word:
    """What the bounds of an effect say."""
    if effect.low > 0.0:
        return "better"
    if effect.high < 0.0:
        return "worse"
    return "non_inferior" if effect.low > -margin else "inconclusive"


def _invalid(
    comparison: ArmComparison, effect: Effect | NotComputable, unrecorded: NotComputable | None
) -> NotComputable | None:
    if comparison.has_ratio_mismatch:
        users = " / ".join(str(count) for count in comparison.users.values())
        return NotComputable(
            "ratio_mismatch", f"the users are split {users}, not as asked for (p = {comparison.srm_p:.2g})"
        )
    shortfall = unrecorded or comparison.too_few_samples
    if shortfall is not None:
        return shortfall
    return effect if isinstance(effect, NotComputable) else None


def _sentence(
    word: Word,
    reason: NotComputable | None,
    effect: Effect | NotComputable,
    comparison: ArmComparison,
    margin: float,
    failing: Failing | None,
) -> str:
    first = "" if failing is None else _failing_sentence(failing, comparison)
    if word == "non_inferior" and isinstance(effect, NotComputable):
        return f"{first}{comparison.candidate} and {comparison.baseline} are equal in {comparison.metric.name}."
    if reason is not None or isinstance(effect, NotComputable):
        return f"{first}No verdict on {comparison.candidate} yet: {reason.message if reason else ''}."
    penalty = " (failures penalised)" if failing is not None and comparison.metric.is_penalised else ""
    requests = sum(comparison.total_requests[arm] for arm in comparison.arms)
    bounds = f"between {100.0 * effect.low:.2f} % and {100.0 * effect.high:.2f} %"
    is_held_back = failing is not None and failing.is_certain and word_for(effect, margin) != word
    said = {
        "better": "is better than",
        "worse": "is worse than",
        "non_inferior": f"is at most {100.0 * margin:g} % worse than",
        "inconclusive": "is not called better than" if is_held_back else "cannot be told from",
        "invalid": "",
    }[word]
    return (
        f"{first}{comparison.candidate} {said} {comparison.baseline} in {comparison.metric.name}{penalty}"
        f"{' before that is mended' if is_held_back else ''}: an improvement of "
        f"{100.0 * effect.improvement:.2f} %, {bounds} with {100.0 * (1.0 - effect.alpha):g} % confidence at any time, "
        f"from {effect.units} users and {requests} requests."
    )


def _failing_sentence(failing: Failing, comparison: ArmComparison) -> str:
    how = "certainly" if failing.is_certain else "probably"
    theirs, ours = (f"{100.0 * rate:.1f} %" for rate in failing.rates)
    return (
        f"{comparison.candidate} {how} fails more often than {comparison.baseline}: it answered {ours} of its "
        f"requests, {comparison.baseline} {theirs}. "
    )


def _recommendation(
    word: Word,
    reason: NotComputable | None,
    comparison: ArmComparison,
    days: float | None,
    failing: Failing | None,
    told: CannotTell | None,
) -> str:
    candidate, baseline = comparison.candidate, comparison.baseline
    is_failing = failing is not None and failing.is_certain
    if is_failing and (word in ("better", "non_inferior", "inconclusive") or told is not None):
        return f"Do not promote {candidate} before it fails as seldom as {baseline}; find out why it fails."
    if word == "better":
        return f"Promote {candidate}."
    if word == "worse":
        return f"Stop the experiment and keep {baseline}."
    if word == "invalid" and reason is not None and reason.reason == "ratio_mismatch":
        return "Find out why users are missing from an arm; discard these figures."
    if told is not None:
        return f"{f'Promote {candidate} if it has other advantages. ' if word == 'non_inferior' else ''}{advice(told)}"
    if word == "invalid" and reason is not None and reason.reason == "no_variation":
        return "Let users with other plants take part, or replay recorded traffic."
    more = "" if days is None else f" for about {max(1, math.ceil(days))} more days at the present rate"
    if word == "non_inferior":
        return f"Promote {candidate} if it has other advantages, or go on{more}."
    return f"Go on{more}; do not promote {candidate} yet."
