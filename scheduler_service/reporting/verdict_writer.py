"""What the A/B report says about a candidate: the verdict as a sentence, the next step, and the figures behind it."""

from dataclasses import dataclass, replace
from typing import Any

from scheduler_service.experiments.examination import Examination
from scheduler_service.experiments.lifecycle import OVER
from scheduler_service.reporting.content import Badge, Card
from scheduler_service.reporting.formatting import Formatter
from scheduler_service.stats.comparison import BASELINE
from scheduler_service.stats.effect import Effect
from scheduler_service.stats.headline import EQUAL_BELOW, Contradiction
from scheduler_service.stats.metrics import Metric
from scheduler_service.stats.optimality import CannotTell
from scheduler_service.stats.outcome import NotComputable
from scheduler_service.stats.pairs import PairedVerdict
from scheduler_service.stats.power import detectable_improvement
from scheduler_service.stats.verdict import DaysLeft, Failing, Verdict
from scheduler_service.stats.welch import Welch

SYMBOLS = {"better": "✓", "non_inferior": "≈", "worse": "×", "inconclusive": "?", "invalid": "!", "identical": "="}
"""Shown beside the colour of a verdict, for readers who do not see the colour."""

IN_FAVOUR = ("next_better", "next_non_inferior", "next_inconclusive", "next_over_better")
"""Advice that is not given if the candidate certainly fails more often."""

NEXT_IF_INVALID = {"ratio_mismatch": "next_mismatch", "model_changed": "next_model_changed"}
"""Advice by the reason why there is no verdict; other reasons get that of `inconclusive`."""

_WITHHELD: dict[str, Any] = {
    **dict.fromkeys(("improvement", "bounds", "detectable", "cannot_tell")),
    "days_left": DaysLeft(None),
}


@dataclass(frozen=True, slots=True)
class CandidateVerdict:
    """The verdict that counts for a candidate, from the users' means or from pairs, with the figures behind it."""

    arm: str
    metric: str
    word: str
    reason: str | None  # code, why it is invalid
    improvement: float | None  # share of the baseline; positive is better
    bounds: tuple[float, float] | None
    alpha: float
    units: int  # users, or pairs
    users: tuple[int, int]  # of the baseline and of the candidate
    requests: tuple[int, int]
    pair_users: int | None  # users whose requests were compared in pairs; None: the verdict is of users' means
    detectable: float | None  # share of the baseline
    days_left: DaysLeft
    failing: Failing | None = None  # the candidate fails more often
    is_one_model: bool = False  # the pairs are of a model and itself
    cannot_tell: CannotTell | None = None  # more data will not decide, and what would


def verdict_on(examined: Examination, arm: str) -> CandidateVerdict:
    """The verdict that counts for `arm`: that of the shadow pairs if it rests on them, that of the users otherwise."""
    on_pairs = examined.rests_on_pairs and arm == examined.experiment.candidates[0]
    found = verdict_on_pairs(examined, "shadow") if on_pairs else _verdict_on_users(examined, arm)
    if examined.model_changed is not None:
        found = replace(found, word="invalid", reason=examined.model_changed.reason)
    # Readers would believe figures of an invalid comparison.
    return replace(found, **_WITHHELD) if found.reason in ("ratio_mismatch", "model_changed") else found


def _verdict_on_users(examined: Examination, arm: str) -> CandidateVerdict:
    comparison, verdict = examined.comparisons[arm], examined.verdicts[arm]
    effect = verdict.effect
    return CandidateVerdict(
        **_common(examined, arm, verdict),
        metric=comparison.metric.name,
        alpha=examined.experiment.alpha / len(examined.verdicts),
        units=effect.units if isinstance(effect, Effect) else sum(comparison.users[each] for each in comparison.arms),
        pair_users=None,
        detectable=verdict.minimum_detectable_effect,
        days_left=verdict.days_left,
        failing=verdict.failing,
    )


def verdict_on_pairs(examined: Examination, source: str) -> CandidateVerdict:
    """The verdict of the pairs of `source` on the first candidate."""
    found = examined.pairs[source]
    detectable = None
    if isinstance(found.effect, Effect):
        detectable = detectable_improvement(found.effect.standard_error, found.alpha, found.metric)
    return CandidateVerdict(
        **_common(examined, examined.experiment.candidates[0], found),
        metric=found.metric.name,
        alpha=found.alpha,
        units=found.pairs,
        pair_users=found.users,
        detectable=detectable,
        days_left=DaysLeft(None),
        is_one_model=found.is_one_model,
    )


def _common(examined: Examination, arm: str, found: Verdict | PairedVerdict) -> dict[str, Any]:
    """The fields that both kinds of verdict have."""
    comparison = examined.comparisons[arm]
    effect = found.effect if isinstance(found.effect, Effect) else None
    return {
        "arm": arm,
        "word": found.word,
        "reason": None if found.reason is None else found.reason.reason,
        "improvement": None if effect is None else effect.improvement,
        "bounds": None if effect is None else (effect.low, effect.high),
        "users": (comparison.users[BASELINE], comparison.users[arm]),
        "requests": (comparison.total_requests[BASELINE], comparison.total_requests[arm]),
        "cannot_tell": found.cannot_tell,
    }


class VerdictWriter:
    """Words the verdicts of an experiment in the report's language."""

    def __init__(self, examined: Examination, show: Formatter) -> None:
        self._examined = examined
        self._experiment = examined.experiment
        self._show = show
        self._text = show.text

    def badge(self, found: CandidateVerdict) -> Badge:
        """The verdict in one word."""
        return Badge(f"{SYMBOLS[found.word]} {self._text(f'word_{found.word}')}", found.word)

    def sentence(self, found: CandidateVerdict) -> str:
        """The verdict in one sentence; that the candidate fails more often comes before any makespan."""
        count = self._show.count
        if found.pair_users is not None:
            basis = self._text("basis_pairs", count(found.units), count(found.pair_users))
        else:
            basis = self._text("basis_users", count(found.units), count(sum(found.requests)))
        verdict = self._text(
            self._sentence_key(found),
            **_letters(found),
            effect=self._effect(found.metric, found.improvement),
            basis=basis,
            margin=f"{100.0 * self._experiment.margin:g}%",
            reason=self.why_invalid(found),
        )
        return self._failing(found) + verdict + self._cannot_tell(found)

    @staticmethod
    def _sentence_key(found: CandidateVerdict) -> str:
        if found.cannot_tell is not None and found.word == "identical":
            return "verdict_equal_lengths"  # proven optima may be of any shape
        is_equal = found.improvement == 0.0 and found.detectable is None  # nothing varies but for what plants explain
        if found.word == "non_inferior" and is_equal and found.cannot_tell is not None:
            return "verdict_equal"
        return "verdict_one_model" if found.is_one_model else f"verdict_{found.word}"

    def _cannot_tell(self, found: CandidateVerdict) -> str:
        """That the metric cannot tell the models apart, and which one could; "" if it can."""
        blocked = found.cannot_tell
        if blocked is None:
            return ""
        names = (self._text(f"name_{metric}") for metric in (blocked.metric, blocked.telling))
        shares = (self._show.percent(blocked.shares[arm]) for arm in (BASELINE, found.arm))
        return self._text("cannot_tell", *shares, *names, **_letters(found))

    def _failing(self, found: CandidateVerdict) -> str:
        if found.failing is None:
            return ""
        key = "failing_certainly" if found.failing.is_certain else "failing_probably"
        return self._text(key, *map(self._show.percent, reversed(found.failing.rates)), **_letters(found))

    def why_invalid(self, found: CandidateVerdict) -> str:
        """Why there is no verdict; "" if there is one."""
        return "" if found.reason is None else self._reason_of(found.reason, of_pairs=found.pair_users is not None)

    def why_no_bounds(self, effect: Effect | NotComputable, *, of_pairs: bool = False) -> str:
        """Why an effect has no bounds; "" if it has."""
        return "" if isinstance(effect, Effect) else self._reason_of(effect.reason, of_pairs=of_pairs)

    def _reason_of(self, code: str, *, of_pairs: bool) -> str:
        is_of_pairs = of_pairs and code == "too_few_units"
        return self._text("reason_too_few_pairs", 1) if is_of_pairs else self.reason(code)

    def reason(self, code: str, min_units: int = 1) -> str:
        """The text of a reason's code."""
        limits = {"too_few_units": min_units, "too_few_samples": self._experiment.min_samples}
        key = f"reason_{code}" if f"reason_{code}" in self._show.words else "reason_other"
        return self._text(key, limits.get(code, f"{self._experiment.alpha:g}"))

    def next_step(self, found: CandidateVerdict, status: str, last_event: str | None, days_planned: float) -> str:
        """What to do now; `days_planned`: until the experiment ends."""
        promoted, left = self._experiment.promotion, found.days_left
        days = ""
        if left.days is not None:
            days = self._text("days_more" if left.days <= days_planned else "days_beyond", self._days(left))
        return self._text(
            self._next_key(found, status, last_event),
            **_letters(found),
            days=days,
            other="" if promoted is None else letter(promoted.arm),
            metric="" if found.cannot_tell is None else self._text(f"name_{found.cannot_tell.telling}"),
        )

    def _next_key(self, found: CandidateVerdict, status: str, last_event: str | None) -> str:
        outcome = self._outcome(found.arm, last_event)
        if outcome is not None:
            return outcome
        if found.word == "worse" and status not in OVER and len(self._experiment.running_candidates) > 1:
            return "next_worse_arm"
        if found.word != "worse" and status in ("paused", "scheduled"):
            return f"next_{status}"
        by_word = f"next_{found.word}" if found.reason is None else "next_inconclusive"
        key = NEXT_IF_INVALID.get(found.reason or "", by_word)
        if status in OVER and key not in NEXT_IF_INVALID.values():
            key = {"better": "next_over_better", "worse": "next_over_worse"}.get(found.word, "next_over")
        is_failing = found.failing is not None and found.failing.is_certain
        if is_failing and (key in IN_FAVOUR or found.cannot_tell is not None):
            return "next_failing"
        if found.cannot_tell is not None:
            return "next_cannot_tell"
        rollout = self._experiment.rollout
        is_automatic = status == "active" and rollout is not None and rollout.auto
        return f"{key}_auto" if is_automatic and f"{key}_auto" in self._show.words else key

    def _outcome(self, arm: str, last_event: str | None) -> str | None:
        """Which advice follows a promotion, a stop or an abort; None: none of these happened."""
        promoted = self._experiment.promotion
        if promoted is not None:
            if promoted.is_reverted:
                return "next_reverted"
            return "next_promoted" if promoted.arm == arm else "next_other_promoted"
        if arm in self._experiment.stopped_arms:
            return "next_arm_stopped"
        return "next_aborted" if last_event == "aborted" else None

    def cards(self, found: CandidateVerdict, *, is_running: bool) -> list[Card]:
        """The figures that the verdict rests on."""
        text, show, pair = self._text, self._show, (letter(BASELINE), letter(found.arm))
        tone = {"better": "good", "worse": "bad"}.get(found.word, "plain")
        note = self.why_invalid(found) if found.bounds is None else self.interval(found.bounds, found.alpha)
        if found.pair_users is None:
            users, requests = (" / ".join(map(show.count, counts)) for counts in (found.users, found.requests))
            basis = Card(text("card_users", *pair), users, text("card_requests", requests))
        else:
            of_users = text("card_of_users", show.count(found.pair_users))
            basis = Card(text("card_pairs"), show.count(found.units), of_users)
        return [
            Card(text("card_improvement", *reversed(pair)), show.signed_percent(found.improvement), note, tone),
            basis,
            Card(
                text("card_mde"), show.fine_percent(found.detectable), text("card_mde_note") if found.detectable else ""
            ),
            self._days_card(found, is_running=is_running),
        ]

    def _days_card(self, found: CandidateVerdict, *, is_running: bool) -> Card:
        value, left = self._show.none, found.days_left
        if not is_running:
            note = "over"
        elif found.cannot_tell is not None:
            note = "cannot_tell"
        elif found.word in ("better", "worse", "identical"):
            note = "decided"
        elif left.days is None:
            code = left.reason.reason if left.reason is not None else ""
            note = code if f"card_days_{code}" in self._show.words else "unknown"
        else:
            value, note = self._text("card_days_value", self._days(left)), "note"
        return Card(self._text("card_days"), value, self._text(f"card_days_{note}"))

    def _days(self, left: DaysLeft) -> str:
        """Whole days, from one standard error farther from no difference to one nearer."""
        low = _days(left.days if left.low is None else left.low)
        if left.high is None:
            return self._text("days_at_least", low)
        high = _days(left.high)
        return low if low == high else f"{low}\N{EN DASH}{high}"

    def interval(self, bounds: tuple[float, float], alpha: float) -> str:
        """Anytime-valid bounds, given as shares."""
        return self._text("interval", self.level(alpha), *map(self._show.signed_percent, bounds))

    def level(self, alpha: float) -> str:
        return self._text("anytime_level", 100.0 * (1.0 - alpha))

    def contradiction(self, found: CandidateVerdict, contradicted: Contradiction | None) -> str:
        """That the raw means have the opposite sign, why, and which to trust; "" if they have not."""
        if contradicted is None:
            return ""
        failed_a, failed_b = (f"{each:.1f}%" for each in contradicted.failed_percentages)
        longer = contradicted.requests_longer_percentage or 0.0
        named: dict[str, Any] = {"failed_a": failed_a, "failed_b": failed_b, "by": f"{abs(longer):.1f}%"}
        requests = "requests_longer" if longer > 0.0 else "requests_shorter"
        causes = (requests if cause == "requests" else cause for cause in contradicted.causes)
        why = [self._text(f"contradicts_{cause}", **_letters(found), **named) for cause in causes]
        return self._text(
            "contradicts",
            **_letters(found),
            raw=self._effect(found.metric, contradicted.raw_percentage / 100.0),
            effect=self._effect(found.metric, contradicted.effect_percentage / 100.0),
            why=self._text("clause_separator").join(why),
        )

    def raw_means(self, arm: str) -> str:
        """What the raw means and the test of one look say; "" if they cannot be computed."""
        comparison, show = self._examined.comparisons[arm], self._show
        if comparison.has_ratio_mismatch or self._examined.model_changed is not None:
            return ""
        improvement, interval, test = comparison.improvement_percentage, comparison.confidence_interval, comparison.test
        if not isinstance(improvement, float) or not isinstance(interval, tuple) or not isinstance(test, Welch):
            return ""
        level = self._text("confidence_level", 100.0 * (1.0 - comparison.alpha))
        bounds = self._text("interval", level, *(show.signed_percent(bound / 100.0) for bound in interval))
        shortfall = comparison.not_significant
        verdict = self._text("significant")
        if shortfall is not None:
            verdict = self._text("not_significant") + self._text("because", self.reason(shortfall.reason, 2))
        text = self._text(
            "raw_text", show.signed_percent(improvement / 100.0), bounds, show.p_value(test.p_value), verdict
        )
        blocked = self._examined.verdicts[arm].cannot_tell
        if blocked is not None and blocked.explains(improvement):
            text += self._text("raw_of_requests")
        return self._text(_raw_key(comparison.metric)) + self._text("colon") + text

    def _effect(self, metric: str, improvement: float | None) -> str:
        if improvement is None or abs(100.0 * improvement) < EQUAL_BELOW:
            return self._text("effect_equal", self._text(f"name_{metric}"))
        side = "better" if improvement > 0.0 else "worse"
        return self._text(f"effect_{side}_{metric}", f"{100.0 * abs(improvement):.2f}%")


def _raw_key(metric: Metric) -> str:
    if metric.covariate is not None:
        return "raw_unadjusted"
    return "raw" if metric.of_successes else "raw_all"


def letter(arm: str) -> str:
    """The letter of an arm: model_b is B."""
    return arm.removeprefix("model_").upper()


def _letters(found: CandidateVerdict) -> dict[str, str]:
    return {"a": letter(BASELINE), "b": letter(found.arm)}


def _days(days: float | None) -> str:
    assert days is not None
    return f"{max(1.0, -(-days // 1.0)):,.0f}"
