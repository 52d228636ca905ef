"""The verdict on a candidate: one word, one sentence, a recommendation, and the figures behind them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from scheduler_service.stats.arms import since_recorded, unrecorded, user_values
from scheduler_service.stats.comparison import ArmComparison
from scheduler_service.stats.effect import Effect, difference_of_arms, effect_of_arms
from scheduler_service.stats.metrics import METRICS
from scheduler_service.stats.optimality import CannotTell, cannot_tell
from scheduler_service.stats.outcome import NotComputable
from scheduler_service.stats.power import detectable_improvement
from scheduler_service.stats.wording import percent

if TYPE_CHECKING:
    import pandas as pd

Word = Literal["better", "non_inferior", "worse", "inconclusive", "invalid"]

_UNKNOWN_DAYS = NotComputable("no_data", "nobody knows how soon more users come")

DEFAULT_MARGIN = 0.05
CLEAR_ERRORS = 2.0
"""Days are projected only if the difference is at least this many standard errors; otherwise its sign is uncertain."""
PROBABLE = 0.2
"""Probability that a candidate which does not fail more often is ever reported as probably failing."""


@dataclass(frozen=True, slots=True)
class Failing:
    """The candidate fails more often than the baseline."""

    is_certain: bool  # proved at level alpha, for any number of looks
    rates: tuple[float, float]  # success rates of baseline and candidate, means of the users


@dataclass(frozen=True, slots=True)
class DaysLeft:
    """Days until the bounds exclude "no difference", if the data continue like this; range: +- 1 standard error."""

    days: float | None
    low: float | None = None
    high: float | None = None
    reason: NotComputable | None = None  # why `days` is None

    def to_dict(self) -> dict[str, Any]:
        return {
            "projected_days_left": self.days,
            "projected_days_left_range": None if self.days is None else [self.low, self.high],
            "projected_days_left_reason": None if self.reason is None else self.reason.to_dict(),
        }


DaysUntil = Callable[[int], float | None]
"""Number of users of both arms -> days from now until it is reached; None: it is never reached."""


@dataclass(frozen=True)
class Verdict:
    """The verdict on the candidate compared with the baseline; valid for any number of looks."""

    word: Word
    reason: NotComputable | None  # why the word is `invalid`
    effect: Effect | NotComputable
    margin: float
    sentence: str
    recommendation: str
    minimum_detectable_effect: float | None  # share of the baseline, for a single look, power 80 %
    days_left: DaysLeft
    failing: Failing | None  # set if the candidate certainly or probably fails more often
    cannot_tell: CannotTell | None = None  # set if neither `better` nor `worse`, and more data will not help

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
            **self.days_left.to_dict(),
            "failing": None
            if self.failing is None
            else {"is_certain": self.failing.is_certain, "success_rates": list(self.failing.rates)},
            "cannot_tell": None if self.cannot_tell is None else self.cannot_tell.to_dict(),
        }


def judge(
    runs: pd.DataFrame, comparison: ArmComparison, margin: float, days_until: DaysUntil | NotComputable = _UNKNOWN_DAYS
) -> Verdict:
    """The verdict on the candidate of `comparison`.

    The first of these words that applies:

    * `invalid`: sample-ratio mismatch, or no effect can be computed;
    * `worse`: the bounds exclude "no difference" to the candidate's disadvantage, or it certainly fails more often and
      has never answered;
    * `invalid`: fewer than the experiment's `min_samples`;
    * `better`: the bounds exclude "no difference" to its advantage;
    * `non_inferior`: the bounds exclude a harm of `margin`, or both arms are equal and their answers proven optimal;
    * `inconclusive`.

    All bounds are anytime-valid at the experiment's alpha. Failures are considered twice. First by success: the
    sentence says whether the candidate certainly or probably fails more often, and if it certainly does, `better` and
    `non_inferior` become `inconclusive`; this can only lower the probability of a wrong verdict. Then by the metric, if
    it penalises failures. If the metric cannot tell the arms apart (`optimality`), the sentence names one that can.

    Args:
        runs: those that `comparison` was computed from.
        margin: share of the baseline by which the candidate may be worse and still be non-inferior.
        days_until: the expected number of days until more users arrive, or why it is unknown.
    """
    metric, arms = comparison.metric, comparison.arms
    users = user_values(since_recorded(runs, metric), metric, arms, comparison.split)
    effect = effect_of_arms(users, metric, comparison.alpha)
    failing = None if metric.name == "success" else _failing(runs, comparison)
    is_failing = failing is not None and failing.is_certain
    is_open = not comparison.has_ratio_mismatch
    undecidable = cannot_tell(runs, metric, arms) if is_open else None
    word, reason = _word(comparison, effect, margin, is_failing, unrecorded(runs, metric, arms))
    if is_failing and reason is not None and reason is effect and not users.b.size:
        word, reason = "worse", None  # it never answered
    undecidable = None if word in ("better", "worse") else undecidable
    is_equal = (
        undecidable is not None
        and not is_failing
        and isinstance(effect, Effect)
        and effect.improvement == 0.0 == effect.standard_error
    )
    if is_equal and word == "inconclusive":
        word = "non_inferior"  # no schedule could be shorter
    mde = None
    if isinstance(effect, Effect):
        mde = detectable_improvement(effect.standard_error, comparison.alpha, metric)
    days = _days_left(word, effect, undecidable, days_until)
    return Verdict(
        word=word,
        reason=reason,
        effect=effect,
        margin=margin,
        sentence=_sentence(word, reason, effect, comparison, margin, failing, is_equal) + addition(undecidable),
        recommendation=_recommendation(word, reason, comparison, days.days, failing, undecidable),
        minimum_detectable_effect=mde,
        days_left=days,
        failing=failing,
        cannot_tell=undecidable,
    )


def _word(
    comparison: ArmComparison,
    effect: Effect | NotComputable,
    margin: float,
    is_failing: bool,
    unrecorded: NotComputable | None,
) -> tuple[Word, NotComputable | None]:
    """The word, and the reason if it is `invalid`."""
    if comparison.has_ratio_mismatch:
        users = " / ".join(str(count) for count in comparison.users.values())
        said = f"the users are split {users}, not as asked for (p = {comparison.srm_p:.2g})"
        return "invalid", NotComputable("ratio_mismatch", said)
    if unrecorded is not None:
        return "invalid", unrecorded
    if isinstance(effect, NotComputable):
        return "invalid", effect
    word = word_for(effect, margin)
    if word == "worse":  # `worse` is reported even with few samples
        return word, None
    if comparison.too_few_samples is not None:
        return "invalid", comparison.too_few_samples
    return ("inconclusive" if is_failing and word in ("better", "non_inferior") else word), None


def _days_left(
    word: Word, effect: Effect | NotComputable, undecidable: CannotTell | None, days_until: DaysUntil | NotComputable
) -> DaysLeft:
    if word in ("better", "worse"):
        return DaysLeft(None, reason=NotComputable("decided", "the verdict stands"))
    if undecidable is not None:
        return DaysLeft(None, reason=NotComputable("cannot_tell", undecidable.message))
    if isinstance(effect, NotComputable):
        return DaysLeft(None, reason=effect)
    if isinstance(days_until, NotComputable):
        return DaysLeft(None, reason=days_until)
    evidence, alpha = effect.evidence, effect.alpha / 2.0
    if abs(evidence.estimate - evidence.none) <= CLEAR_ERRORS * evidence.standard_error:
        return DaysLeft(
            None,
            reason=NotComputable(
                "no_difference_yet", "the difference so far is no larger than twice its standard error"
            ),
        )
    needed, most = evidence.needed(alpha), evidence.needed(alpha, errors=1.0)
    days = None if needed is None else days_until(needed)
    if needed is None or days is None:
        more = "more" if needed is None else f"{needed}"
        said = f"the difference as it is takes {more} users, and so many do not come"
        return DaysLeft(None, reason=NotComputable("too_few_units", said))
    least = evidence.needed(alpha, errors=-1.0)
    return DaysLeft(days, days if least is None else days_until(least), None if most is None else days_until(most))


def addition(undecidable: CannotTell | None) -> str:
    """The sentence after a verdict whose metric cannot tell the arms apart; otherwise empty."""
    return "" if undecidable is None else f" {undecidable.message[0].upper()}{undecidable.message[1:]}."


def advice(undecidable: CannotTell) -> str:
    """The recommendation if the metric cannot tell the arms apart."""
    return (
        f"Judge by {undecidable.telling}: make a new experiment with that success_metric, or replay recorded traffic."
    )


def _failing(runs: pd.DataFrame, comparison: ArmComparison) -> Failing | None:
    """Whether the candidate certainly or probably fails more often; None if neither.

    Tested by the one-sided bounds of the difference of the users' mean success, at alpha and at `PROBABLE`.
    """
    users = user_values(runs, METRICS["success"], comparison.arms, comparison.split)
    evidence = difference_of_arms(users)
    if isinstance(evidence, NotComputable) or evidence.high(PROBABLE) >= 0.0:
        return None
    return Failing(evidence.high(comparison.alpha) < 0.0, (float(users.a.mean()), float(users.b.mean())))


def word_for(effect: Effect, margin: float) -> Word:
    """The word that follows from the bounds of an effect."""
    if effect.low > 0.0:
        return "better"
    if effect.high < 0.0:
        return "worse"
    return "non_inferior" if effect.low > -margin else "inconclusive"


def magnitude(effect: Effect) -> str:
    """An effect and its bounds in plain English; a worsening if the whole interval is negative."""
    if effect.high < 0.0:
        low, middle, high = (percent(-100.0 * each) for each in (effect.high, effect.improvement, effect.low))
        return f"a worsening of {middle}, between {low} and {high}"
    low, middle, high = (percent(100.0 * each) for each in (effect.low, effect.improvement, effect.high))
    return f"an improvement of {middle}, between {low} and {high}"


def _sentence(
    word: Word,
    reason: NotComputable | None,
    effect: Effect | NotComputable,
    comparison: ArmComparison,
    margin: float,
    failing: Failing | None,
    is_equal: bool,
) -> str:
    first = "" if failing is None else _failing_sentence(failing, comparison)
    if is_equal and word == "non_inferior":
        return f"{first}{comparison.candidate} and {comparison.baseline} are equal in {comparison.metric.name}."
    if word == "worse" and isinstance(effect, NotComputable):
        return f"{first}It has no value of {comparison.metric.name} at all, and counts as worse."
    if reason is not None or isinstance(effect, NotComputable):
        return f"{first}No verdict on {comparison.candidate} yet: {reason.message if reason else ''}."
    penalty = " (failures penalised)" if failing is not None and comparison.metric.is_penalised else ""
    requests = sum(comparison.total_requests[arm] for arm in comparison.arms)
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
        f"{' before that is mended' if is_held_back else ''}: {magnitude(effect)} with "
        f"{100.0 * (1.0 - effect.alpha):g} % confidence at any time, from {effect.units} users and {requests} requests."
    )


def _failing_sentence(failing: Failing, comparison: ArmComparison) -> str:
    how = "certainly" if failing.is_certain else "probably"
    theirs, ours = (f"{100.0 * rate:.1f} %" for rate in failing.rates)
    return (
        f"{comparison.candidate} {how} fails more often than {comparison.baseline}: it answered {ours} of a user's "
        f"requests on average, {comparison.baseline} {theirs}. "
    )


def _recommendation(
    word: Word,
    reason: NotComputable | None,
    comparison: ArmComparison,
    days: float | None,
    failing: Failing | None,
    undecidable: CannotTell | None,
) -> str:
    candidate, baseline = comparison.candidate, comparison.baseline
    is_failing = failing is not None and failing.is_certain
    if is_failing and (word in ("better", "non_inferior", "inconclusive") or undecidable is not None):
        return f"Do not promote {candidate} before it fails as seldom as {baseline}; find out why it fails."
    if word == "better":
        return f"Promote {candidate}."
    if word == "worse":
        return f"Stop the experiment and keep {baseline}."
    if word == "invalid" and reason is not None and reason.reason == "ratio_mismatch":
        return "Find out why users are missing from an arm; discard these figures."
    if undecidable is not None:
        promote = f"Promote {candidate} if it has other advantages. " if word == "non_inferior" else ""
        return f"{promote}{advice(undecidable)}"
    more = "" if days is None else f" for about {max(1, math.ceil(days))} more days at the present rate"
    if word == "non_inferior":
        return f"Promote {candidate} if it has other advantages, or go on{more}."
    return f"Go on{more}; do not promote {candidate} yet."
