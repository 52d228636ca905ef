"""What a promotion would rest on: each interval of the candidate with its sign, and what speaks against it. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal, get_args

from scheduler_service.errors import ConsentNeeded, StorageUnavailable
from scheduler_service.experiments.advice import advised_move
from scheduler_service.experiments.examination import Examination, examine
from scheduler_service.experiments.experiment import Experiment
from scheduler_service.experiments.finding import BASES, Basis, Finding, finding_of
from scheduler_service.stats.arms import BASELINE
from scheduler_service.stats.comparison import ArmComparison
from scheduler_service.stats.judged import Judged, advice
from scheduler_service.stats.outcome import NotComputable
from scheduler_service.words import WORDS, Message

if TYPE_CHECKING:
    import pandas as pd

Records = Callable[[], "tuple[pd.DataFrame, pd.DataFrame]"]
"""Reads the runs and the pairs that an experiment is judged by."""

Objection = Literal["interval", "fails_more", "guardrail"]
OBJECTIONS: tuple[Objection, ...] = get_args(Objection)

CONSENT = "although_worse"
"""The field of a request, and the option of a command, that promotes whatever speaks against it."""


@dataclass(frozen=True, slots=True)
class Prospect:
    """Of promoting a candidate as its figures are now."""

    experiment: str
    arm: str
    model: str
    judged: Judged | None  # None: of the baseline
    next_step: Message | None
    findings: tuple[Finding, ...]  # those wholly on the bad side first, then that of the verdict
    objections: tuple[tuple[Objection, Message], ...]  # what has to be consented to
    advised: str | None
    samples: Mapping[str, int]

    def check(self, *, is_consented: bool) -> None:
        """Nothing, if nothing speaks against the promotion, or somebody wants it all the same.

        Raises:
            ConsentNeeded: the text says what speaks against it.
        """
        if self.objections and not is_consented:
            codes, why = map(list, zip(*self.objections, strict=True))
            raise ConsentNeeded("consent_needed", arm=self.arm, objections=codes, why=why, consent=CONSENT)

    def figures(self, *, is_consented: bool) -> dict[str, Any]:
        """What the history keeps of the promotion."""
        told = {"samples": dict(self.samples), "verdict": None if self.judged is None else self.judged.word}
        shown = next((each for each in self.findings if each.is_of_verdict and each.bounds), None)
        if shown is not None:
            told["interval_percentage"] = shown.to_dict()["interval_percentage"]
        return told | ({CONSENT: True} if self.objections and is_consented else {})

    def to_dict(self) -> dict[str, Any]:
        said = self._verdict()
        return {
            "experiment_name": self.experiment,
            "arm": self.arm,
            "model": self.model,
            **said,
            "advised_move": self.advised,
            "needs_consent": bool(self.objections),
            "objections": [
                {"code": code, "message": WORDS.say(message), "text": message.to_dict()}
                for code, message in self.objections
            ],
            "findings": [each.to_dict() for each in self.findings],
        }

    def _verdict(self) -> dict[str, Any]:
        names = ("verdict", "verdict_reason", "verdict_sentence", "verdict_text")
        if self.judged is None or self.next_step is None:
            return dict.fromkeys((*names, "recommendation", "recommendation_text"))
        told = self.judged.words()
        return {**{name: told[name] for name in names}, **advice(self.next_step)}


def prospect(examined: Examination, arm: str) -> Prospect:
    """The prospect of promoting `arm`; of the baseline there is nothing to say, and nothing against it."""
    experiment = examined.experiment
    if arm == BASELINE:
        return Prospect(experiment.name, arm, experiment.models[arm], None, None, (), (), None, examined.samples)
    judged = examined.judged(arm)
    findings = sorted(_findings(examined, arm), key=lambda each: (not each.is_harmful, not each.is_of_verdict))
    return Prospect(
        experiment=experiment.name,
        arm=arm,
        model=experiment.models[arm],
        judged=judged,
        next_step=examined.next_step(arm),
        findings=tuple(findings),
        objections=tuple(_objections(examined, arm, judged, findings)),
        advised=advised_move(experiment, judged),
        samples=examined.samples,
    )


def consented(
    experiment: Experiment, arm: str, records: Records, now: datetime, *, although_worse: bool
) -> dict[str, Any] | None:
    """What the promotion rests on, for the history; None where the records cannot be read and nobody minds.

    Raises:
        ConsentNeeded: figures speak against it, and `although_worse` was not said.
        StorageUnavailable: the records cannot be read.
    """
    try:
        found = prospect(examine(experiment, *records(), now), arm)
    except StorageUnavailable:
        if although_worse:
            return None
        raise
    found.check(is_consented=although_worse)
    return found.figures(is_consented=although_worse)


def _findings(examined: Examination, arm: str) -> list[Finding]:
    on_pairs = examined.is_of_pairs(arm)
    found = [
        _of_users(examined, arm, is_of_verdict=not on_pairs),
        _raw(examined.comparisons[arm]),
        *(_of_pairs(examined, arm, basis, is_of_verdict=on_pairs and basis == "shadow") for basis in BASES[1:3]),
    ]
    return [each for each in found if each is not None and (each.bounds is not None or each.is_of_verdict)]


def _of_users(examined: Examination, arm: str, *, is_of_verdict: bool) -> Finding:
    level = 1.0 - examined.experiment.alpha / len(examined.verdicts)
    found = finding_of("users", examined.comparisons[arm], level, examined.verdicts[arm].effect)
    return replace(found, is_of_verdict=is_of_verdict)


def _raw(comparison: ArmComparison) -> Finding | None:
    improvement, interval = comparison.improvement_percentage, comparison.confidence_interval
    if isinstance(improvement, NotComputable) or isinstance(interval, NotComputable):
        return None
    bounds = (interval[0] / 100.0, interval[1] / 100.0)
    found = finding_of("raw_means", comparison, 1.0 - comparison.alpha)
    return replace(found, improvement=improvement / 100.0, bounds=bounds)


def _of_pairs(examined: Examination, arm: str, basis: Basis, *, is_of_verdict: bool) -> Finding | None:
    """None where there are no pairs of this candidate."""
    judged, comparison = examined.pairs.get(basis), examined.comparisons[arm]
    if judged is None or judged.candidate != arm:
        return None
    found = finding_of(basis, comparison, 1.0 - judged.alpha, judged.effect)
    return replace(
        found,
        is_of_verdict=is_of_verdict,
        metric=judged.metric,
        baseline_mean=found.baseline_mean if judged.metric.name == comparison.metric.name else None,
        users=dict.fromkeys(comparison.arms, judged.users),
        samples=dict.fromkeys(comparison.arms, judged.pairs),
    )


def _objections(
    examined: Examination, arm: str, judged: Judged, findings: list[Finding]
) -> list[tuple[Objection, Message]]:
    """Intervals wholly on the bad side, certain failures, breached guardrails.

    The raw means leave failures out and know nothing of the plants: where a verdict speaks for the candidate, they do
    not speak against it.
    """
    is_favoured = judged.word in ("better", "non_inferior", "identical")
    found: list[tuple[Objection, Message]] = [
        ("interval", each.message)
        for each in findings
        if each.is_harmful and not (is_favoured and each.basis == "raw_means")
    ]
    if judged.failing is not None and judged.failing.is_certain:
        found.append(("fails_more", judged.failing.message(arm)))
    found += [
        ("guardrail", Message("findings.guardrail", {"label": each.label, "seen": each.text}))
        for each in examined.guardrails[arm]
        if each.state == "breached"
    ]
    return found
