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
from scheduler_service.stats.comparison import BASELINE, ArmComparison
from scheduler_service.stats.effect import Effect
from scheduler_service.stats.metrics import Metric
from scheduler_service.stats.outcome import NotComputable
from scheduler_service.stats.wording import percent

if TYPE_CHECKING:
    import pandas as pd

Records = Callable[[], "tuple[pd.DataFrame, pd.DataFrame]"]
"""Reads the runs and the pairs that an experiment is judged by."""

Basis = Literal["users", "shadow", "replay", "raw_means"]
"""What an interval is of: the means of users, pairs of shadow runs or of the last replay, or the raw means."""
BASES: tuple[Basis, ...] = get_args(Basis)
Side = Literal["worse", "better", "open", "unknown"]
"""Where the whole interval lies. open: on both sides of no difference; unknown: there is none."""
SIDES: tuple[Side, ...] = get_args(Side)
Objection = Literal["interval", "fails_more", "guardrail"]
OBJECTIONS: tuple[Objection, ...] = get_args(Objection)

CONSENT = "although_worse"
"""The field of a request, and the option of a command, that promotes whatever speaks against it."""

UNITS: Mapping[str, str] = {"makespan": "h", "policy_makespan": "h", "execution_time": "s"}
"""Of the metrics whose differences are told in it besides percent."""
WAYS: Mapping[str, tuple[str, str]] = {  # metric -> more and less of it
    **dict.fromkeys(UNITS, ("longer", "shorter")),
    "gap": ("larger", "smaller"),
}
_USUAL_WAYS = ("higher", "lower")


@dataclass(frozen=True, slots=True)
class Finding:
    """An interval of the improvement, a share of the baseline; positive is better."""

    basis: Basis
    is_of_verdict: bool
    candidate: str
    metric: Metric
    improvement: float | None
    bounds: tuple[float, float] | None
    level: float  # chance that the bounds hold, 0..1
    baseline_mean: float | None  # of model_a's user means, in the metric's unit
    users: Mapping[str, int]  # arm -> users; of pairs both arms have the same
    samples: Mapping[str, int]  # arm -> requests; of pairs: pairs

    @property
    def side(self) -> Side:
        if self.bounds is None:
            return "unknown"
        low, high = self.bounds
        return "worse" if high < 0.0 else "better" if low > 0.0 else "open"

    @property
    def is_harmful(self) -> bool:
        """Whether the whole interval lies on the bad side."""
        return self.side == "worse"

    def changes(self) -> tuple[float, float] | None:
        """By which shares of the baseline the candidate's value is higher, lower bound first."""
        if self.bounds is None:
            return None
        low, high = self.bounds
        return (-high, -low) if self.metric.lower_is_better else (low, high)

    @property
    def sentence(self) -> str:
        """In plain English: by how much the candidate's value is more or less, what that means, and of how many."""
        changes = self.changes()
        if changes is None:
            return f"No interval of {self.candidate} against {BASELINE} in {self.metric.name} yet; {self._basis()}."
        said = {"worse": "worse", "better": "better", "open": "not settled"}[self.side]
        return f"{self._difference(changes)} = {said}{self._absolute(changes)}; {self._basis()}."

    def _difference(self, changes: tuple[float, float]) -> str:
        low, high = changes
        more, less = WAYS.get(self.metric.name, _USUAL_WAYS)
        names = f"than {BASELINE} in {self.metric.name}"
        if low <= 0.0 <= high:
            between = f"between {percent(-100.0 * low)} {less} and {percent(100.0 * high)} {more}"
            return f"{self.candidate} is {between} {names}"
        near, far = sorted((abs(low), abs(high)))
        way = more if low > 0.0 else less
        return f"{self.candidate} is {100.0 * near:.2f} to {percent(100.0 * far)} {way} {names}"

    def _absolute(self, changes: tuple[float, float]) -> str:
        unit, mean = UNITS.get(self.metric.name), self.baseline_mean
        if unit is None or mean is None:
            return ""
        ends = [change * mean for change in changes]
        low, high = sorted(map(abs, ends)) if ends[0] * ends[1] > 0.0 else ends
        return f" ({low:.3g} to {high:.3g} {unit} at {BASELINE}'s mean of {mean:.4g} {unit})"

    def _basis(self) -> str:
        users, samples = (" and ".join(map(str, counts.values())) for counts in (self.users, self.samples))
        seen = {
            "users": f"{users} users with {samples} requests of {BASELINE} and {self.candidate}",
            "raw_means": f"raw means of {users} users with {samples} requests of {BASELINE} and {self.candidate}",
            "shadow": f"{self.samples[self.candidate]} shadow pairs of {self.users[self.candidate]} users",
            "replay": f"{self.samples[self.candidate]} replayed pairs of {self.users[self.candidate]} users",
        }[self.basis]
        if self.bounds is None:
            return seen
        when = "one look" if self.basis == "raw_means" else "any time"
        return f"{100.0 * self.level:g} % interval for {when}, from {seen}"

    def to_dict(self) -> dict[str, Any]:
        """JSON; `change` in the metric's `unit` where it has one."""
        changes, unit, mean = self.changes(), UNITS.get(self.metric.name), self.baseline_mean
        in_unit = None if changes is None or unit is None or mean is None else [each * mean for each in changes]
        return {
            "basis": self.basis,
            "is_of_verdict": self.is_of_verdict,
            "metric": self.metric.name,
            "side": self.side,
            "improvement_percentage": None if self.improvement is None else 100.0 * self.improvement,
            "interval_percentage": None if self.bounds is None else [100.0 * bound for bound in self.bounds],
            "change_percentage": None if changes is None else [100.0 * change for change in changes],
            "change": in_unit,
            "unit": unit,
            "baseline_mean": mean,
            "confidence_level": self.level,
            "users": dict(self.users),
            "samples": dict(self.samples),
            "sentence": self.sentence,
        }


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
            raise ConsentNeeded(f"{why} To promote {self.arm} all the same, say {CONSENT}.")

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
    found = _finding("users", examined.comparisons[arm], level, examined.verdicts[arm].effect)
    return replace(found, is_of_verdict=is_of_verdict)


def _raw(comparison: ArmComparison) -> Finding | None:
    improvement, interval = comparison.improvement_percentage, comparison.confidence_interval
    if isinstance(improvement, NotComputable) or isinstance(interval, NotComputable):
        return None
    bounds = (interval[0] / 100.0, interval[1] / 100.0)
    found = _finding("raw_means", comparison, 1.0 - comparison.alpha)
    return replace(found, improvement=improvement / 100.0, bounds=bounds)


def _of_pairs(examined: Examination, arm: str, basis: Basis, *, is_of_verdict: bool) -> Finding | None:
    """None where there are no pairs of this candidate."""
    judged, comparison = examined.pairs.get(basis), examined.comparisons[arm]
    if judged is None or judged.candidate != arm:
        return None
    found = _finding(basis, comparison, 1.0 - judged.alpha, judged.effect)
    return replace(
        found,
        is_of_verdict=is_of_verdict,
        metric=judged.metric,
        baseline_mean=found.baseline_mean if judged.metric.name == comparison.metric.name else None,
        users=dict.fromkeys(comparison.arms, judged.users),
        samples=dict.fromkeys(comparison.arms, judged.pairs),
    )


def _finding(
    basis: Basis, comparison: ArmComparison, level: float, effect: Effect | NotComputable | None = None
) -> Finding:
    known = effect if isinstance(effect, Effect) else None
    return Finding(
        basis=basis,
        is_of_verdict=False,
        candidate=comparison.candidate,
        metric=comparison.metric,
        improvement=None if known is None else known.improvement,
        bounds=None if known is None else (known.low, known.high),
        level=level,
        baseline_mean=comparison.user_means[BASELINE].mean,
        users={each: comparison.users[each] for each in comparison.arms},
        samples={each: comparison.total_requests[each] for each in comparison.arms},
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
