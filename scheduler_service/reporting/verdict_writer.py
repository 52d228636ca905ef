"""The texts of the A/B report on a candidate: the verdict, the next step, and their figures."""

from scheduler_service.experiments.advice import next_step
from scheduler_service.experiments.examination import Examination
from scheduler_service.experiments.lifecycle import Status
from scheduler_service.reporting.content import Badge, Card
from scheduler_service.reporting.formatting import Formatter, letter
from scheduler_service.stats.arms import BASELINE
from scheduler_service.stats.effect import Effect
from scheduler_service.stats.headline import Contradiction, raw_means
from scheduler_service.stats.outcome import NotComputable
from scheduler_service.stats.pairs import PairedVerdict
from scheduler_service.stats.verdict import Verdict

SYMBOLS = {"better": "✓", "non_inferior": "≈", "worse": "×", "inconclusive": "?", "invalid": "!", "identical": "="}
"""Shown beside the colour of a verdict, for readers who do not see the colour."""


class VerdictWriter:
    """Words the verdicts of an experiment in the report's language."""

    def __init__(self, examined: Examination, show: Formatter) -> None:
        self._examined = examined
        self._experiment = examined.experiment
        self._show = show
        self._text = show.text

    def badge(self, found: Verdict | PairedVerdict) -> Badge:
        """The verdict in one word."""
        return Badge(f"{SYMBOLS[found.word]} {self._show.term('verdict', found.word)}", found.word)

    def sentence(self, found: Verdict | PairedVerdict) -> str:
        """The verdict in words."""
        return self._show.say(*found.withheld().messages)

    def why_no_bounds(self, effect: Effect | NotComputable) -> str:
        """The reason why an effect has no bounds; "" if it has bounds."""
        return "" if isinstance(effect, Effect) else self._show.say(effect.text)

    def next_step(
        self, found: Verdict | PairedVerdict, status: Status, last_event: str | None, days_planned: float
    ) -> str:
        """The recommended next step; `days_planned`: until the experiment ends."""
        step = next_step(
            self._experiment, found.withheld(), status=status, last_event=last_event, days_planned=days_planned
        )
        return self._show.say(step)

    def cards(self, found: Verdict | PairedVerdict, *, is_running: bool) -> list[Card]:
        """The figures that the verdict rests on."""
        text, show, found = self._text, self._show, found.withheld()
        a, b = letter(BASELINE), letter(found.candidate)
        tone = {"better": "good", "worse": "bad"}.get(found.word, "plain")
        effect = found.effect if isinstance(found.effect, Effect) else None
        note = self.interval((effect.low, effect.high), effect.alpha) if effect else self.why_no_bounds(found.effect)
        improvement, least = None if effect is None else effect.improvement, found.minimum_detectable_effect
        return [
            Card(text("experiments.kpi.improvement_of", b=b, a=a), show.signed_percent(improvement), note, tone),
            self._basis_card(found, a, b),
            Card(
                text("experiments.kpi.mde"), show.fine_percent(least), text("experiments.kpi.mde_note") if least else ""
            ),
            self._days_card(found, is_running=is_running),
        ]

    def _basis_card(self, found: Verdict | PairedVerdict, a: str, b: str) -> Card:
        text, count = self._text, self._show.count
        if isinstance(found, PairedVerdict):
            return Card(text("card_pairs"), count(found.pairs), text("card_of_users", users=count(found.users)))
        users = " / ".join(map(count, found.users.values()))
        of_a, of_b = map(count, found.requests.values())
        requests = text("experiments.kpi.requests", a=of_a, b=of_b)
        return Card(text("experiments.kpi.users", a=a, b=b), users, requests)

    def _days_card(self, found: Verdict | PairedVerdict, *, is_running: bool) -> Card:
        value, left = self._show.none, found.days_left
        if not is_running:
            note = self._text("experiments.kpi.not_running")
        elif left.message is not None:
            value = self._text("experiments.kpi.days", days=self._show.say(left.message))
            note = self._text("experiments.kpi.days_note")
        else:
            note = self._text("experiments.kpi.unknown") if left.reason is None else self._show.say(left.reason.text)
        return Card(self._text("experiments.kpi.days_left"), value, note)

    def interval(self, bounds: tuple[float, float], alpha: float) -> str:
        """Anytime-valid bounds, given as shares."""
        low, high = map(self._show.signed_percent, bounds)
        return self._text("experiments.plot.interval", level=self.level(alpha), low=low, high=high)

    def level(self, alpha: float) -> str:
        return self._text("anytime_level", level=1.0 - alpha)

    def contradiction(self, contradicted: Contradiction | None) -> str:
        """A warning that raw means and verdict have opposite signs, with the reason; "" if they do not."""
        return "" if contradicted is None else self._show.say(contradicted.message)

    def raw_means(self, arm: str) -> str:
        """The raw means and their single-look test in words; "" if they cannot be computed."""
        comparison = self._examined.comparisons[arm]
        if comparison.has_ratio_mismatch or self._examined.model_changed is not None:
            return ""
        figures = (comparison.improvement_percentage, comparison.confidence_interval, comparison.test)
        if any(isinstance(figure, NotComputable) for figure in figures):
            return ""
        return self._show.say(*raw_means(comparison, self._examined.verdicts[arm].cannot_tell))
