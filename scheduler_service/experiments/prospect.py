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
from scheduler_service.stats.comparison import BASELINE, ArmComparison
from scheduler_service.stats.outcome import NotComputable

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
    verdict: Mapping[str, Any]  # as JSON
    findings: tuple[Finding, ...]  # those wholly on the bad side first, then that of the verdict
    objections: tuple[tuple[Objection, str], ...]  # what has to be consented to
    advised: str | None
    samples: Mapping[str, int]

    def check(self, *, is_consented: bool) -> None:
        """Nothing, if nothing speaks against the promotion, or somebody wants it all the same.

        Raises:
            ConsentNeeded: the text says what speaks against it.
        """
        if self.objections and not is_consented:
            why = " ".join(sentence for _, sentence in self.objections)
            codes = [code for code, _ in self.objections]
            raise ConsentNeeded("consent_needed", arm=self.arm, objections=codes, why=why, consent=CONSENT)

    def figures(self, *, is_consented: bool) -> dict[str, Any]:
        """What the history keeps of the promotion."""
        told = {"samples": dict(self.samples), "verdict": self.verdict["verdict"]}
        shown = next((each for each in self.findings if each.is_of_verdict and each.bounds), None)
        if shown is not None:
            told["interval_percentage"] = shown.to_dict()["interval_percentage"]
        return told | ({CONSENT: True} if self.objections and is_consented else {})

    def to_dict(self) -> dict[str, Any]:
        names = ("verdict", "verdict_reason", "verdict_sentence", "recommendation")
        return {
            "experiment_name": self.experiment,
            "arm": self.arm,
            "model": self.model,
            **{name: self.verdict[name] for name in names},
            "advised_move": self.advised,
            "needs_consent": bool(self.objections),
            "objections": [{"code": code, "message": sentence} for code, sentence in self.objections],
            "findings": [each.to_dict() for each in self.findings],
        }


def prospect(examined: Examination, arm: str) -> Prospect:
    """The prospect of promoting `arm`; of the baseline there is nothing to say, and nothing against it."""
    experiment = examined.experiment
    if arm == BASELINE:
        nothing = dict.fromkeys(("verdict", "verdict_reason", "verdict_sentence", "recommendation"))
        return Prospect(experiment.name, arm, experiment.models[arm], nothing, (), (), None, examined.samples)
    verdict = examined.verdict_on(arm)
    findings = sorted(_findings(examined, arm), key=lambda each: (not each.is_harmful, not each.is_of_verdict))
    return Prospect(
        experiment=experiment.name,
        arm=arm,
        model=experiment.models[arm],
        verdict=verdict,
        findings=tuple(findings),
        objections=tuple(_objections(examined, arm, verdict, findings)),
        advised=advised_move(experiment, arm, verdict),
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
    on_pairs = examined.rests_on_pairs and arm == examined.experiment.candidates[0]
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
    examined: Examination, arm: str, verdict: Mapping[str, Any], findings: list[Finding]
) -> list[tuple[Objection, str]]:
    """Intervals wholly on the bad side, certain failures, breached guardrails.

    The raw means leave failures out and know nothing of the plants: where a verdict speaks for the candidate, they do
    not speak against it.
    """
    is_favoured = verdict["verdict"] in ("better", "non_inferior", "identical")
    found: list[tuple[Objection, str]] = [
        ("interval", each.sentence)
        for each in findings
        if each.is_harmful and not (is_favoured and each.basis == "raw_means")
    ]
    failing = verdict["failing"]
    if failing is not None and failing["is_certain"]:
        theirs, ours = (f"{100.0 * rate:.1f} %" for rate in failing["success_rates"])
        found.append(("fails_more", f"{arm} certainly fails more often: it answered {ours}, {BASELINE} {theirs}."))
    found += [
        ("guardrail", f"The guardrail {each.name} is breached: {each.message}.")
        for each in examined.guardrails[arm]
        if each.state == "breached"
    ]
    return found
