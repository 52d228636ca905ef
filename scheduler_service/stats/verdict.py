"""The verdict on a candidate from the means of its users."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from scheduler_service.stats.arms import since_recorded, unrecorded, user_values
from scheduler_service.stats.comparison import ArmComparison
from scheduler_service.stats.effect import Effect, difference_of_arms, effect_of_arms
from scheduler_service.stats.judged import DaysLeft, Failing, Judged, Word, word_for
from scheduler_service.stats.metrics import METRICS
from scheduler_service.stats.optimality import CannotTell, cannot_tell
from scheduler_service.stats.outcome import NotComputable
from scheduler_service.words import Message

if TYPE_CHECKING:
    import pandas as pd

_UNKNOWN_DAYS = NotComputable("no_data", "users_to_come")

DEFAULT_MARGIN = 0.05
CLEAR_ERRORS = 2.0
"""Days are projected only if the difference is at least this many standard errors; otherwise its sign is uncertain."""
PROBABLE = 0.2
"""Probability that a candidate which does not fail more often is ever reported as probably failing."""

DaysUntil = Callable[[int], float | None]
"""Number of users of both arms -> days from now until it is reached; None: it is never reached."""


@dataclass(frozen=True, kw_only=True)
class Verdict(Judged):
    """A verdict from the means of the users of both arms."""

    users: Mapping[str, int]  # arm -> users, of baseline and candidate
    requests: Mapping[str, int]

    @property
    def units(self) -> int:
        """The users that the effect is of."""
        return self.effect.units if isinstance(self.effect, Effect) else sum(self.users.values())

    @property
    def basis(self) -> Message:
        return Message("verdicts.basis_users", {"users": self.units, "requests": sum(self.requests.values())})


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
    found = Verdict(
        candidate=comparison.candidate,
        metric=metric,
        word=word,
        reason=reason,
        effect=effect,
        margin=margin,
        alpha=comparison.alpha,
        days_left=_days_left(word, effect, undecidable, days_until),
        failing=failing,
        cannot_tell=undecidable,
        users={arm: comparison.users[arm] for arm in arms},
        requests={arm: comparison.total_requests[arm] for arm in arms},
    )
    # No schedule could be shorter.
    return replace(found, word="non_inferior") if found.is_equal and word == "inconclusive" else found


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
        return "invalid", NotComputable("ratio_mismatch", users=users, p=comparison.srm_p)
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
        return DaysLeft(None, reason=NotComputable("decided"))
    if undecidable is not None:
        return DaysLeft(None, reason=NotComputable("cannot_tell"))
    if isinstance(effect, NotComputable):
        return DaysLeft(None, reason=effect)
    if isinstance(days_until, NotComputable):
        return DaysLeft(None, reason=days_until)
    evidence, alpha = effect.evidence, effect.alpha / 2.0
    if abs(evidence.estimate - evidence.none) <= CLEAR_ERRORS * evidence.standard_error:
        return DaysLeft(None, reason=NotComputable("no_difference_yet"))
    needed, most = evidence.needed(alpha), evidence.needed(alpha, errors=1.0)
    days = None if needed is None else days_until(needed)
    if needed is None or days is None:
        text = "users_never_enough" if needed is None else "users_do_not_come"
        return DaysLeft(None, reason=NotComputable("too_few_units", text, users=needed))
    least = evidence.needed(alpha, errors=-1.0)
    return DaysLeft(days, days if least is None else days_until(least), None if most is None else days_until(most))


def _failing(runs: pd.DataFrame, comparison: ArmComparison) -> Failing | None:
    """Whether the candidate certainly or probably fails more often; None if neither.

    Tested by the one-sided bounds of the difference of the users' mean success, at alpha and at `PROBABLE`.
    """
    users = user_values(runs, METRICS["success"], comparison.arms, comparison.split)
    evidence = difference_of_arms(users)
    if isinstance(evidence, NotComputable) or evidence.high(PROBABLE) >= 0.0:
        return None
    return Failing(evidence.high(comparison.alpha) < 0.0, (float(users.a.mean()), float(users.b.mean())))
