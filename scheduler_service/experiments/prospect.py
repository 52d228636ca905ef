"""The evidence for a promotion: the candidate's intervals, and the objections. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal

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

    from scheduler_service.stats.pair_sums import Replayed

Records = Callable[[], "tuple[pd.DataFrame, pd.DataFrame] | tuple[pd.DataFrame, pd.DataFrame, Replayed | None]"]
"""Reads what `examine` needs of an experiment: its runs, its pairs, and `replayed` if replays are not among them."""

Objection = Literal["interval", "fails_more", "guardrail"]

CONSENT = "although_worse"
"""The field of a request, and the option of a command, that promotes in spite of objections."""


@dataclass(frozen=True, slots=True)
class Prospect:
    """The evidence for the promotion of an arm."""

    experiment: str
    arm: str
    model: str
    judged: Judged | None  # None for the baseline
    next_step: Message | None
    findings: tuple[Finding, ...]  # harmful ones first, then that of the verdict
    objections: tuple[tuple[Objection, Message], ...]  # these need consent
    advised: str | None
    samples: Mapping[str, int]

    def check(self, *, is_consented: bool) -> None:
        """Raise ConsentNeeded, with the objections in its text, if there are any without consent."""
        if self.objections and not is_consented:
            codes, why = map(list, zip(*self.objections, strict=True))
            raise ConsentNeeded("consent_needed", arm=self.arm, objections=codes, why=why, consent=CONSENT)

    def figures(self, *, is_consented: bool) -> dict[str, Any]:
        """The figures for the history."""
        found = {"samples": dict(self.samples), "verdict": None if self.judged is None else self.judged.word}
        shown = next((each for each in self.findings if each.is_of_verdict and each.bounds), None)
        if shown is not None:
            found["interval_percentage"] = shown.to_dict()["interval_percentage"]
        return found | ({CONSENT: True} if self.objections and is_consented else {})

    def to_dict(self) -> dict[str, Any]:
        return {
            "experiment_name": self.experiment,
            "arm": self.arm,
            "model": self.model,
            **self._verdict(),
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
        words = self.judged.words()
        return {**{name: words[name] for name in names}, **advice(self.next_step)}


def prospect(examined: Examination, arm: str) -> Prospect:
    """The evidence for the promotion of `arm`; the baseline has no findings and no objections."""
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
    """The figures of a promotion for the history; None if the records cannot be read and `although_worse` is set.

    Raises:
        ConsentNeeded: there are objections, and `although_worse` is not set.
        StorageUnavailable: the records cannot be read, and `although_worse` is not set.
    """
    try:
        runs, pairs, *replayed = records()
        found = prospect(examine(experiment, runs, pairs, now, *replayed), arm)
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
    """None if there are no pairs of this candidate."""
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
    """Harmful intervals, certainly more failures, and breached guardrails.

    Raw means exclude failures and are not adjusted for the instances, so they are no objection to a favourable verdict.
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
