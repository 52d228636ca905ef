"""What the A/B report says of a candidate: its verdict as a sentence, what to do next, and the figures beside them."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from scheduler_service.experiments.examination import Examination
from scheduler_service.experiments.lifecycle import OVER
from scheduler_service.reporting.content import Card
from scheduler_service.reporting.page import Formatter
from scheduler_service.stats.comparison import BASELINE, ArmComparison
from scheduler_service.stats.effect import Effect
from scheduler_service.stats.headline import EQUAL_BELOW, Contradiction
from scheduler_service.stats.metrics import Metric
from scheduler_service.stats.optimality import CannotTell
from scheduler_service.stats.outcome import NotComputable
from scheduler_service.stats.power import detectable_improvement
from scheduler_service.stats.verdict import DaysLeft, Failing
from scheduler_service.stats.welch import Welch

Words = Mapping[str, str]

SYMBOLS = {"better": "✓", "non_inferior": "≈", "worse": "×", "inconclusive": "?", "invalid": "!", "identical": "="}
"""Beside the colour of a verdict, for those who do not see it."""

HASTY = ("next_better", "next_non_inferior", "next_inconclusive", "next_over_better")
"""Advice that a candidate does not get that certainly fails more often."""

NEXT_OF_INVALID = {
    "ratio_mismatch": "next_mismatch",
    "model_changed": "next_model_changed",
}
"""Advice by the reason for which there is no verdict."""

NEXT_OTHERWISE = "next_inconclusive"

_WITHHELD: dict[str, Any] = {
    **dict.fromkeys(("improvement", "bounds", "detectable", "cannot_tell")),
    "days_left": DaysLeft(None),
}


@dataclass(frozen=True, slots=True)
class Standing:
    """A candidate against the baseline, as the verdict that counts sees it."""

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


def standing_of(examined: Examination, arm: str) -> Standing:
    """What counts for `arm`: the shadow pairs where the verdict rests on them, the users' means otherwise."""
    on_pairs = examined.rests_on_pairs and arm == examined.experiment.candidates[0]
    found = standing_of_pairs(examined, "shadow") if on_pairs else _standing_of_users(examined, arm)
    if examined.model_changed is not None:
        found = replace(found, word="invalid", reason=examined.model_changed.reason)
    # Figures of a comparison that is none would be believed all the same.
    return replace(found, **_WITHHELD) if found.reason in ("ratio_mismatch", "model_changed") else found


def _standing_of_users(examined: Examination, arm: str) -> Standing:
    comparison, verdict = examined.comparisons[arm], examined.verdicts[arm]
    effect = None if isinstance(verdict.effect, NotComputable) else verdict.effect
    return Standing(
        arm=arm,
        metric=comparison.metric.name,
        word=verdict.word,
        reason=None if verdict.reason is None else verdict.reason.reason,
        improvement=None if effect is None else effect.improvement,
        bounds=None if effect is None else (effect.low, effect.high),
        alpha=examined.experiment.alpha / len(examined.verdicts),
        units=sum(comparison.users[each] for each in comparison.arms) if effect is None else effect.units,
        users=(comparison.users[BASELINE], comparison.users[arm]),
        requests=(comparison.total_requests[BASELINE], comparison.total_requests[arm]),
        pair_users=None,
        detectable=verdict.minimum_detectable_effect,
        days_left=verdict.days_left,
        failing=verdict.failing,
        cannot_tell=verdict.cannot_tell,
    )


def standing_of_pairs(examined: Examination, source: str) -> Standing:
    """What the pairs of `source` say of the first candidate."""
    arm = examined.experiment.candidates[0]
    comparison, found = examined.comparisons[arm], examined.pairs[source]
    effect, alpha = None if isinstance(found.effect, NotComputable) else found.effect, found.alpha
    detectable = None
    if effect is not None:
        detectable = detectable_improvement(effect.standard_error, alpha, found.metric)
    return Standing(
        arm=arm,
        metric=found.metric.name,
        word=found.word,
        reason=None if found.reason is None else found.reason.reason,
        improvement=None if effect is None else effect.improvement,
        bounds=None if effect is None else (effect.low, effect.high),
        alpha=alpha,
        units=found.pairs,
        users=(comparison.users[BASELINE], comparison.users[arm]),
        requests=(comparison.total_requests[BASELINE], comparison.total_requests[arm]),
        pair_users=found.users,
        detectable=detectable,
        days_left=DaysLeft(None),
        is_one_model=found.is_one_model,
        cannot_tell=found.cannot_tell,
    )


class Teller:
    """Says in the report's language what was found of an experiment."""

    def __init__(self, examined: Examination, words: Words, show: Formatter) -> None:
        self._examined = examined
        self._experiment = examined.experiment
        self._words = words
        self._show = show

    def sentence(self, found: Standing) -> str:
        """The verdict in one sentence."""
        words = self._words
        if found.pair_users is not None:
            basis = words["basis_pairs"].format(self._show.count(found.units), self._show.count(found.pair_users))
        else:
            counts = (found.units, sum(found.requests))
            basis = words["basis_users"].format(*(self._show.count(count) for count in counts))
        key = "verdict_one_model" if found.is_one_model else f"verdict_{found.word}"
        if found.cannot_tell is not None and found.word == "identical":
            key = "verdict_equal_lengths"  # proven optima may be of any shape
        is_equal = found.improvement == 0.0 and found.detectable is None  # nothing varies but for what plants explain
        if found.word == "non_inferior" and is_equal and found.cannot_tell is not None:
            key = "verdict_equal"
        return (
            self._failing(found)
            + words[key].format(
                b=letter(found.arm),
                a=letter(BASELINE),
                effect=self._effect(found),
                basis=basis,
                margin=f"{100.0 * self._experiment.margin:g}%",
                reason=self.why_invalid(found),
            )
            + self._cannot_tell(found)
        )

    def _cannot_tell(self, found: Standing) -> str:
        """That the metric cannot tell the models apart, where it cannot, and which one could."""
        told = found.cannot_tell
        if told is None:
            return ""
        names = (self._words[f"name_{metric}"] for metric in (told.metric, told.telling))
        shares = (self._show.percent(told.shares[arm]) for arm in (BASELINE, found.arm))
        return self._words["cannot_tell"].format(*shares, *names, a=letter(BASELINE), b=letter(found.arm))

    def _failing(self, found: Standing) -> str:
        """That the candidate fails more often, where it does: that comes before any makespan."""
        if found.failing is None:
            return ""
        ours, theirs = reversed(found.failing.rates)
        key = "failing_certainly" if found.failing.is_certain else "failing_probably"
        rates = (self._show.percent(rate) for rate in (ours, theirs))
        return self._words[key].format(*rates, b=letter(found.arm), a=letter(BASELINE))

    def why_invalid(self, found: Standing) -> str:
        """Why there is no verdict; empty if there is one."""
        if found.reason is None:
            return ""
        return self._reason_of(found.reason, of_pairs=found.pair_users is not None)

    def why_no_bounds(self, effect: Effect | NotComputable, *, of_pairs: bool = False) -> str:
        """Why an effect has no bounds; empty if it has."""
        return "" if isinstance(effect, Effect) else self._reason_of(effect.reason, of_pairs=of_pairs)

    def _reason_of(self, code: str, *, of_pairs: bool) -> str:
        if code == "too_few_units" and of_pairs:
            return self._words["reason_too_few_pairs"].format(1)
        return self.reason(code)

    def reason(self, code: str, least_units: int = 1) -> str:
        """What a code stands for."""
        limits = {"too_few_units": least_units, "too_few_samples": self._experiment.min_samples}
        key = f"reason_{code}"
        return self._words[key if key in self._words else "reason_other"].format(
            limits.get(code, f"{self._experiment.alpha:g}")
        )

    def next_step(self, found: Standing, status: str, last_event: str | None, days_planned: float) -> str:
        """What to do now; `days_planned`: until the experiment ends."""
        promoted = self._experiment.promotion
        days = ""
        left = found.days_left
        if left.days is not None:
            more = "days_more" if left.days <= days_planned else "days_beyond"
            days = self._words[more].format(self._range(left))
        return self._words[self._next_key(found, status, last_event)].format(
            a=letter(BASELINE),
            b=letter(found.arm),
            days=days,
            other="" if promoted is None else letter(promoted.arm),
            metric="" if found.cannot_tell is None else self._words[f"name_{found.cannot_tell.telling}"],
        )

    def _next_key(self, found: Standing, status: str, last_event: str | None) -> str:
        outcome = self._outcome(found.arm, last_event)
        if outcome is not None:
            return outcome
        if found.word == "worse" and status not in OVER and len(self._experiment.running_candidates) > 1:
            return "next_worse_arm"
        if found.word != "worse" and status in ("paused", "scheduled"):
            return f"next_{status}"
        key = NEXT_OF_INVALID.get(found.reason or "", f"next_{found.word}" if found.reason is None else NEXT_OTHERWISE)
        if status in OVER and key not in NEXT_OF_INVALID.values():
            key = {"better": "next_over_better", "worse": "next_over_worse"}.get(found.word, "next_over")
        is_failing = found.failing is not None and found.failing.is_certain
        if is_failing and (key in HASTY or found.cannot_tell is not None):
            return "next_failing"
        if found.cannot_tell is not None:
            return "next_cannot_tell"
        rollout = self._experiment.rollout
        is_automatic = status == "active" and rollout is not None and rollout.auto
        return f"{key}_auto" if is_automatic and f"{key}_auto" in self._words else key

    def _outcome(self, arm: str, last_event: str | None) -> str | None:
        """What is left to do after a promotion or an abort; None where there was none."""
        promoted = self._experiment.promotion
        if promoted is not None:
            if promoted.is_reverted:
                return "next_reverted"
            return "next_promoted" if promoted.arm == arm else "next_other_promoted"
        if arm in self._experiment.stopped_arms:
            return "next_arm_stopped"
        return "next_aborted" if last_event == "aborted" else None

    def cards(self, found: Standing, *, is_running: bool) -> list[Card]:
        """The figures that the verdict rests on."""
        words, show = self._words, self._show
        pair = (letter(BASELINE), letter(found.arm))
        tone = {"better": "good", "worse": "bad"}.get(found.word, "plain")
        value = words["none"] if found.improvement is None else show.signed_percent(100.0 * found.improvement)
        note = self.why_invalid(found) if found.bounds is None else self.interval(found.bounds, found.alpha)
        cards = [Card(words["card_improvement"].format(*reversed(pair)), value, note, tone)]
        if found.pair_users is None:
            users, requests = (" / ".join(map(show.count, counts)) for counts in (found.users, found.requests))
            cards.append(
                Card(words["card_users"].format(*pair), users, words["card_requests"].format(requests), "plain")
            )
        else:
            note = words["card_of_users"].format(show.count(found.pair_users))
            cards.append(Card(words["card_pairs"], show.count(found.units), note, "plain"))
        detectable = words["none"] if found.detectable is None else f"{100.0 * found.detectable:.2f}%"
        cards.append(Card(words["card_mde"], detectable, words["card_mde_note"] if found.detectable else "", "plain"))
        cards.append(self._days_card(found, is_running=is_running))
        return cards

    def _days_card(self, found: Standing, *, is_running: bool) -> Card:
        words, value = self._words, self._words["none"]
        if not is_running:
            note = words["card_days_over"]
        elif found.cannot_tell is not None:
            note = words["card_days_cannot_tell"]
        elif found.word in ("better", "worse", "identical"):
            note = words["card_days_decided"]
        elif found.days_left.days is None:
            code = found.days_left.reason.reason if found.days_left.reason is not None else ""
            note = words.get(f"card_days_{code}", words["card_days_unknown"])
        else:
            value, note = words["card_days_value"].format(self._range(found.days_left)), words["card_days_note"]
        return Card(words["card_days"], value, note, "plain")

    def _range(self, left: DaysLeft) -> str:
        """Whole days, from one standard error farther from no difference to one nearer."""
        assert left.days is not None
        low = _days(left.days if left.low is None else left.low)
        if left.high is None:
            return self._words["days_at_least"].format(low)
        high = _days(left.high)
        return low if low == high else f"{low}\N{EN DASH}{high}"

    def interval(self, bounds: tuple[float, float], alpha: float) -> str:
        """Anytime-valid bounds, given as shares."""
        texts = (self._show.signed_percent(100.0 * bound) for bound in bounds)
        return self._words["interval"].format(self.level(alpha), *texts)

    def level(self, alpha: float) -> str:
        return self._words["anytime_level"].format(100.0 * (1.0 - alpha))

    def contradiction(self, found: Standing, contradicted: Contradiction | None) -> str | None:
        """That the raw means have another sign than the effect, why, and which to go by; None if they have not."""
        if contradicted is None:
            return None
        words, arms = self._words, {"a": letter(BASELINE), "b": letter(found.arm)}
        failed_a, failed_b = (f"{each:.1f}%" for each in contradicted.failed_percentages)
        longer = contradicted.requests_longer_percentage or 0.0
        figures = {"failed_a": failed_a, "failed_b": failed_b, "by": f"{abs(longer):.1f}%"}
        keys = {"requests": "contradicts_requests_longer" if longer > 0.0 else "contradicts_requests_shorter"}
        why = [words[keys.get(each, f"contradicts_{each}")].format(**arms, **figures) for each in contradicted.causes]
        raw, effect = (
            self._effect(replace(found, improvement=each / 100.0))
            for each in (contradicted.raw_percentage, contradicted.effect_percentage)
        )
        return words["contradicts"].format(**arms, raw=raw, effect=effect, why=words["clause_separator"].join(why))

    def raw_key(self, metric: Metric) -> str:
        """Which text names the raw means of `metric`."""
        if metric.covariate is not None:
            return "raw_unadjusted"
        return "raw" if metric.of_successes else "raw_all"

    def raw_means(self, comparison: ArmComparison, told: CannotTell | None) -> str | None:
        """What the raw means and the test of one look say; None where it cannot be computed."""
        words, show = self._words, self._show
        if comparison.has_ratio_mismatch or self._examined.model_changed is not None:
            return None
        improvement, interval, test = comparison.improvement_percentage, comparison.confidence_interval, comparison.test
        if not isinstance(improvement, float) or not isinstance(interval, tuple) or not isinstance(test, Welch):
            return None
        level = words["confidence_level"].format(100.0 * (1.0 - comparison.alpha))
        bounds = words["interval"].format(level, *(show.signed_percent(bound) for bound in interval))
        shortfall = comparison.not_significant
        verdict = words["significant"]
        if shortfall is not None:
            verdict = words["not_significant"] + words["because"].format(self.reason(shortfall.reason, 2))
        text = words["raw_text"].format(show.signed_percent(improvement), bounds, show.p_value(test.p_value), verdict)
        return text + (words["raw_of_requests"] if told is not None and told.explains(improvement) else "")

    def _effect(self, found: Standing) -> str:
        metric, improvement = found.metric, found.improvement
        if improvement is None or abs(100.0 * improvement) < EQUAL_BELOW:
            return self._words["effect_equal"].format(self._words[f"name_{metric}"])
        side = "better" if improvement > 0.0 else "worse"
        return self._words[f"effect_{side}_{metric}"].format(f"{100.0 * abs(improvement):.2f}%")


def letter(arm: str) -> str:
    """How people call an arm: model_b is B."""
    return arm.removeprefix("model_").upper()


def _days(days: float) -> str:
    return f"{max(1.0, -(-days // 1.0)):,.0f}"
