"""The stages of a rollout, and when one is left: decided here, of plain values; acted upon by `ABTestManager`.

At a stage of share s the candidate has a share s of the users and the baseline as many: coverage 2 s, halves. The
others get the default model and are left out of the analysis. Raising the coverage moves nobody out of an arm
(`assignment.bucket_ranges`), so no user switches sides between the stages. The last stage, 1.0, is the promotion.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Literal

from pydantic import Field, ValidationInfo, field_validator

from scheduler_env.validation import Whole, invalid
from scheduler_service.clock import to_iso
from scheduler_service.experiments.definition import Definition
from scheduler_service.experiments.moment import Moment
from scheduler_service.stats.guardrails import GUARDRAILS, Guardrail

DEFAULT_STAGES = (0.1, 0.3, 0.5, 1.0)
MAX_STAGES = 20
MAX_HOURS = 87_600.0

PromoteOn = Literal["better", "non_inferior"]
DecisionKind = Literal["hold", "advance", "promote", "stop_arm", "abort"]


class Rollout(Definition):
    """The plan of a rollout and how far it is."""

    stages: tuple[float, ...] = DEFAULT_STAGES  # shares of the users that get the candidate
    min_samples: Whole = Field(default=100, ge=2, le=10**9)  # values of the metric in each arm, in each stage
    min_hours: float = Field(default=24.0, ge=0.0, le=MAX_HOURS, allow_inf_nan=False)  # in each stage
    auto: bool = True  # false: only people move it (`advance`)
    promote_on: PromoteOn = "better"
    stage: Whole = Field(default=0, ge=0)  # index into `stages`
    stage_since: Moment

    @field_validator("stages", mode="before")
    @classmethod
    def _numbers(cls, stages: object) -> object:
        if isinstance(stages, list):
            return tuple(
                float(stage) if isinstance(stage, int) and not isinstance(stage, bool) else stage for stage in stages
            )
        return stages

    @field_validator("stages")
    @classmethod
    def _climbing(cls, stages: tuple[float, ...]) -> tuple[float, ...]:
        if not 2 <= len(stages) <= MAX_STAGES:
            raise invalid("number_of_stages", n=len(stages), limit=MAX_STAGES)
        if any(not low < high for low, high in zip((0.0, *stages), stages, strict=False)):
            raise invalid("stages_not_rising", stages=list(stages))
        if stages[-1] != 1.0:
            raise invalid("last_stage", stage=stages[-1])
        if stages[-2] > 0.5:
            raise invalid("stage_too_large", stage=stages[-2])
        return stages

    @field_validator("stage")
    @classmethod
    def _existing(cls, stage: int, info: ValidationInfo) -> int:
        if stage >= len(info.data.get("stages", DEFAULT_STAGES)):
            raise invalid("no_such_stage", stage=stage)
        return stage

    def to_dict(self) -> dict[str, Any]:
        """The words of the file and of the HTTP interface, as JSON."""
        return self.model_dump() | {"stages": list(self.stages), "stage_since": to_iso(self.stage_since)}

    @property
    def share(self) -> float:
        """Of the users who get the candidate now."""
        return self.stages[self.stage]

    @property
    def coverage(self) -> float:
        """Share of the users who take part: both arms together."""
        return min(1.0, 2.0 * self.share)

    @property
    def is_last_before_promotion(self) -> bool:
        return self.stage >= len(self.stages) - 2


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is known of a candidate at one moment."""

    samples: Mapping[str, int]  # arm -> values of the success metric since the stage began
    word: str | None  # of the verdict; None: only the breaker was looked at
    sentence: str
    is_mismatched: bool  # the users fell into the arms in wrong shares
    guardrails: Mapping[str, Sequence[Guardrail]]  # running candidate -> its checks
    is_baseline_the_default: bool  # what the candidate was compared with is what its promotion would replace
    cannot_tell: str | None = None  # why the verdict will not become another one, and what would tell
    is_one_of_several: bool = False  # candidates of the experiment, stopped or not
    words: Mapping[str, str] = field(default_factory=dict)  # candidate -> of its verdict; `word` where it has none


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do now, and why."""

    kind: DecisionKind
    reason: str
    figures: Mapping[str, Any] = field(default_factory=dict)
    is_breach: bool = False  # of a guardrail
    arm: str | None = None  # the candidate that `stop_arm` stops


NEEDED = tuple(name for name, each in GUARDRAILS.items() if each.is_needed)
"""Guardrails that must be kept for certain before more users get the candidate, where the experiment has them and
the users who took part could show it; the others must not be breached."""


def decide(rollout: Rollout | None, evidence: Evidence, now: datetime) -> Decision:
    """The next move of an experiment, with or without a rollout.

    A breached guardrail stops its candidate, whatever else is true, and where no other one runs, the experiment: it
    aborts. So does a candidate that is certainly worse, while ramping. Of several candidates one is stopped at a time.
    Everything else that is missing or not certain holds: a stage is left when it lasted `min_hours`, both arms have
    `min_samples` values from it, the users are split as they should be, and the guardrails of makespans and success are
    kept for certain (where the users are too few to show that, when what they show is within the margin). The promotion
    needs in addition that the candidate is certainly better (or, with `promote_on: non_inferior`, certainly not worse
    by the margin).
    """
    figures = _figures(evidence, evidence.guardrails)
    breached = {
        arm: [each for each in checks if each.state == "breached"] for arm, checks in evidence.guardrails.items()
    }
    harmful = [arm for arm, found in breached.items() if found]
    if harmful and len(harmful) == len(evidence.guardrails):
        reason = _reason(breached, is_one_of_several=evidence.is_one_of_several)
        return Decision("abort", reason, figures, is_breach=True)
    if harmful:
        arm = harmful[0]
        figures = {"arm": arm, **_figures(evidence, {arm: evidence.guardrails[arm]})}
        return Decision(
            "stop_arm", _reason({arm: breached[arm]}, is_one_of_several=True), figures, is_breach=True, arm=arm
        )
    if rollout is None:
        return Decision("hold", "there is no rollout", figures)
    if evidence.word == "worse":
        return Decision("abort", evidence.sentence, figures)
    missing = _missing(rollout, evidence, now)
    if missing is not None:
        return Decision("hold", missing, figures)
    kind: Literal["advance", "promote"] = "promote" if rollout.is_last_before_promotion else "advance"
    return Decision(kind, evidence.sentence, figures)


def _figures(evidence: Evidence, guardrails: Mapping[str, Sequence[Guardrail]]) -> dict[str, Any]:
    """What a move is based on; of a guardrail of several candidates the worst one's."""
    order = ("kept", "undecided", "breached")
    worst: dict[str, Guardrail] = {}
    for each in (check for checks in guardrails.values() for check in checks):
        other = worst.setdefault(each.name, each)
        if (order.index(each.state), each.harm or 0.0) > (order.index(other.state), other.harm or 0.0):
            worst[each.name] = each
    arms = list(guardrails)
    word = evidence.words.get(arms[0], evidence.word) if len(arms) == 1 else evidence.word
    return {
        **({} if word is None else {"samples": dict(evidence.samples), "verdict": word}),
        "guardrails": {name: {"state": each.state, "harm": each.harm} for name, each in worst.items()},
    }


def _reason(breached: Mapping[str, Sequence[Guardrail]], *, is_one_of_several: bool) -> str:
    """Which guardrails are breached, and whose they are where that is not clear."""
    return "; ".join(
        f"guardrail {each.name}{f' of {arm}' if is_one_of_several else ''}: {each.message}"
        for arm, found in breached.items()
        for each in found
    )


def _is_enough(guardrail: Guardrail) -> bool:
    """Kept for certain, or as well as so few users can show: what they show is within the margin."""
    if guardrail.state == "kept" or guardrail.is_within_reach:
        return guardrail.state == "kept"
    return guardrail.harm is None or guardrail.harm <= guardrail.margin


def _missing(rollout: Rollout, evidence: Evidence, now: datetime) -> str | None:
    """What the stage still waits for; None if for nothing."""
    if not rollout.auto:
        return "auto is off: a person decides"
    if not evidence.is_baseline_the_default:
        return "model_a is not the default model any more; the candidate was compared with another one"
    if evidence.is_mismatched:
        return "users are missing from an arm; find out why"
    until = rollout.stage_since + timedelta(hours=rollout.min_hours)
    if now < until:
        return f"the stage lasts until {to_iso(until)} at least (min_hours {rollout.min_hours:g})"
    short = [f"{arm} has {count}" for arm, count in evidence.samples.items() if count < rollout.min_samples]
    if short or not evidence.samples:
        return f"{' and '.join(short) or 'no arm has any'} of the {rollout.min_samples} samples that the stage needs"
    checks = (each for checks in evidence.guardrails.values() for each in checks)
    unsure = [each for each in checks if each.name in NEEDED and not _is_enough(each)]
    if unsure:
        return "; ".join(f"guardrail {each.name} is {each.state}: {each.message}" for each in unsure)
    enough = ("better",) if rollout.promote_on == "better" else ("better", "non_inferior")
    if rollout.is_last_before_promotion and evidence.word not in enough:
        why = "" if evidence.cannot_tell is None else f". {evidence.cannot_tell}"
        return f"the verdict is {evidence.word}; the promotion needs {' or '.join(enough)}{why}"
    return None
