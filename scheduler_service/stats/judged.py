"""A verdict on a candidate: one word, the texts that say it, the next step, and the figures behind them. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, Literal, Self

from scheduler_service.stats.arms import BASELINE, FAILED_RATIO
from scheduler_service.stats.effect import Effect
from scheduler_service.stats.metrics import Metric
from scheduler_service.stats.optimality import CannotTell
from scheduler_service.stats.outcome import NotComputable
from scheduler_service.stats.power import detectable_improvement
from scheduler_service.words import WORDS, Message

Word = Literal["identical", "better", "non_inferior", "worse", "inconclusive", "invalid"]
"""identical: of pairs only, where both models make the same schedules."""
UNRELIABLE = ("ratio_mismatch", "model_changed")
"""Reasons for which the figures of a comparison are wrong, and not only too few."""
EQUAL_BELOW = 5e-5
"""A smaller improvement (a share) is shown as 0 % and called equal."""


@dataclass(frozen=True, slots=True)
class Failing:
    """The candidate fails more often than the baseline."""

    is_certain: bool  # proved at level alpha, for any number of looks
    rates: tuple[float, float]  # success rates of baseline and candidate, means of the users

    def message(self, candidate: str) -> Message:
        theirs, ours = self.rates
        code = "verdicts.failing_certainly" if self.is_certain else "verdicts.failing_probably"
        return Message(code, {"a": BASELINE, "b": candidate, "ours": ours, "theirs": theirs})


@dataclass(frozen=True, slots=True)
class DaysLeft:
    """Days until the bounds exclude "no difference", if the data continue like this; range: +- 1 standard error."""

    days: float | None
    low: float | None = None
    high: float | None = None
    reason: NotComputable | None = None  # why `days` is None

    @property
    def message(self) -> Message | None:
        """Whole days: "3", "3–9" or "at least 3"; None if they are unknown."""
        if self.days is None:
            return None
        low = _whole(self.days if self.low is None else self.low)
        if self.high is None:
            return Message("next.days_at_least", {"low": low})
        high = _whole(self.high)
        return (
            Message("next.days_range", {"low": low, "high": high}) if low < high else Message("next.days", {"n": low})
        )

    def to_dict(self) -> dict[str, Any]:
        return {
            "projected_days_left": self.days,
            "projected_days_left_range": None if self.days is None else [self.low, self.high],
            "projected_days_left_text": None if self.message is None else self.message.to_dict(),
            "projected_days_left_reason": None if self.reason is None else self.reason.to_dict(),
        }


def _whole(days: float) -> int:
    return max(1, math.ceil(days))


@dataclass(frozen=True, kw_only=True)
class Judged:
    """The verdict on the candidate compared with the baseline; valid for any number of looks."""

    candidate: str
    metric: Metric
    word: Word
    reason: NotComputable | None  # why the word is `invalid`
    effect: Effect | NotComputable
    margin: float  # share of the baseline by which the candidate may be worse and still be non-inferior
    alpha: float  # probability of a wrong verdict
    days_left: DaysLeft
    failing: Failing | None = None  # set if the candidate certainly or probably fails more often
    cannot_tell: CannotTell | None = None  # set if neither `better` nor `worse`, and more data will not help

    @property
    def is_failing(self) -> bool:
        """Whether the candidate certainly fails more often."""
        return self.failing is not None and self.failing.is_certain

    @property
    def is_equal(self) -> bool:
        """Whether both arms are equal without exception, and all their answers are proven optimal."""
        effect = self.effect
        return (
            self.cannot_tell is not None
            and not self.is_failing
            and isinstance(effect, Effect)
            and effect.improvement == 0.0 == effect.standard_error
        )

    @property
    def minimum_detectable_effect(self) -> float | None:
        """Share of the baseline, for a single look, power 80 %."""
        if isinstance(self.effect, NotComputable):
            return None
        return detectable_improvement(self.effect.standard_error, self.alpha, self.metric)

    @property
    def basis(self) -> Message:
        """What the verdict rests on."""
        raise NotImplementedError

    @property
    def messages(self) -> tuple[Message, ...]:
        """What the verdict says; that the candidate fails more often comes first."""
        said = [] if self.failing is None else [self.failing.message(self.candidate)]
        said.append(Message(f"verdicts.{self._key}", self._params))
        if self.failing is not None and self.metric.is_penalised and isinstance(self.effect, Effect):
            said.append(Message("verdicts.penalised", {"ratio": FAILED_RATIO}))
        if self.cannot_tell is not None:
            said.append(self.cannot_tell.message)
        return tuple(said)

    @property
    def sentence(self) -> str:
        """The messages in English."""
        return WORDS.say(*self.messages)

    @property
    def next_code(self) -> str:
        """What to do next, as the figures alone have it: a key of the catalogue's section `next`."""
        if self.is_failing and (self.word in ("better", "non_inferior", "inconclusive") or self.cannot_tell):
            return "failing"
        if self.reason is not None and self.reason.reason in UNRELIABLE:
            return self.reason.reason
        if self.cannot_tell is not None:
            return "cannot_tell_non_inferior" if self.word == "non_inferior" else "cannot_tell"
        return "inconclusive" if self.word == "invalid" else self.word

    def next_step(self, code: str = "", days_planned: float = math.inf, **params: object) -> Message:
        """What to do next.

        Args:
            code: a key of the catalogue's section `next`; empty: `next_code`.
            days_planned: until the experiment ends.
            params: further parameters of the text.
        """
        left = self.days_left
        days: Message | str = ""
        if left.days is not None:
            days = Message(f"next.days_{'more' if left.days <= days_planned else 'beyond'}", {"days": left.message})
        telling = "" if self.cannot_tell is None else self.cannot_tell.telling
        arms = {"a": BASELINE, "b": self.candidate}
        return Message(f"next.{code or self.next_code}", {**arms, "days": days, "metric": telling, **params})

    def withheld(self) -> Self:
        """Without the figures of a comparison that is unreliable, because readers would believe them."""
        if self.reason is None or self.reason.reason not in UNRELIABLE:
            return self
        return replace(self, effect=self.reason, cannot_tell=None, days_left=DaysLeft(None))

    def words(self) -> dict[str, Any]:
        """The verdict as JSON, without its figures."""
        return {
            "verdict": self.word,
            "verdict_reason": None if self.reason is None else self.reason.to_dict(),
            "verdict_sentence": self.sentence,
            "verdict_text": [each.to_dict() for each in self.messages],
            "cannot_tell": None if self.cannot_tell is None else self.cannot_tell.to_dict(),
            "margin_percentage": 100.0 * self.margin,
        }

    def to_dict(self) -> dict[str, Any]:
        """JSON; shares as percentages."""
        effect = None if isinstance(self.effect, NotComputable) else self.effect
        least = self.minimum_detectable_effect
        return {
            **self.words(),
            **advice(self.next_step()),
            "anytime_effect": None
            if effect is None
            else {
                "improvement_percentage": 100.0 * effect.improvement,
                "confidence_sequence": [100.0 * effect.low, 100.0 * effect.high],
                "confidence_level": 1.0 - effect.alpha,
                "users": effect.units,
                "covariate_correlation": effect.correlation,
            },
            "minimum_detectable_effect_percentage": None if least is None else 100.0 * least,
            **self.days_left.to_dict(),
            "failing": None
            if self.failing is None
            else {"is_certain": self.failing.is_certain, "success_rates": list(self.failing.rates)},
        }

    @property
    def _key(self) -> str:
        if self.word == "identical" and self.cannot_tell is not None:
            return "equal_lengths"  # proven optima may differ in their steps
        if self.word == "non_inferior" and self.is_equal:
            return "equal"
        if self.word == "worse" and isinstance(self.effect, NotComputable):
            return "never_answered"
        return "held_back" if self._is_held_back else self.word

    @property
    def _is_held_back(self) -> bool:
        """Whether only the failures keep the candidate from being called better or non-inferior."""
        is_open = self.word == "inconclusive" and self.is_failing and isinstance(self.effect, Effect)
        return is_open and isinstance(self.effect, Effect) and word_for(self.effect, self.margin) != "inconclusive"

    @property
    def _params(self) -> dict[str, object]:
        return {
            "a": BASELINE,
            "b": self.candidate,
            "metric": self.metric.name,
            "margin": self.margin,
            "basis": self.basis,
            "effect": effect_message(self.effect, self.metric),
            "reason": "" if self.reason is None else self.reason.text,
        }


def advice(next_step: Message) -> dict[str, Any]:
    """The next step as JSON."""
    return {"recommendation": WORDS.say(next_step), "recommendation_text": next_step.to_dict()}


def effect_message(effect: Effect | NotComputable, metric: Metric) -> Message | str:
    """An effect with its bounds; "" if there is none."""
    if isinstance(effect, NotComputable):
        return ""
    level = 1.0 - effect.alpha
    bounds = Message("verdicts.interval", {"level": level, "low": effect.low, "high": effect.high})
    return change_message(effect.improvement, metric, bounds)


def change_message(improvement: float, metric: Metric, bounds: Message | str = "") -> Message:
    """By how much the candidate's values are longer, larger or higher, or the opposite.

    Args:
        improvement: share of the baseline; positive is better.
        bounds: said after it.
    """
    if abs(improvement) < EQUAL_BELOW:
        return Message("verdicts.effect_equal", {"metric": metric.name, "bounds": bounds})
    change, by = metric.way(is_more=(improvement > 0.0) != metric.lower_is_better), abs(improvement)
    return Message("verdicts.effect", {"metric": metric.name, "change": change, "by": by, "bounds": bounds})


def word_for(effect: Effect, margin: float) -> Word:
    """The word that follows from the bounds of an effect."""
    if effect.low > 0.0:
        return "better"
    if effect.high < 0.0:
        return "worse"
    return "non_inferior" if effect.low > -margin else "inconclusive"
