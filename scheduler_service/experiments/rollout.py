"""The stages of a rollout, and the decision to advance, promote or abort. Pure; `automatic` executes the decisions.

At a stage with share s, the candidate and the baseline each have a share s of the users: coverage 2 s, equal arms. All
others get the default model and are excluded from the analysis. A higher coverage moves nobody out of an arm
(`assignment.bucket_ranges`), so no user changes arms between stages. The last stage, 1.0, is the promotion.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationInfo, field_validator

from scheduler_env.validation import Whole
from scheduler_service.clock import to_iso
from scheduler_service.errors import invalid
from scheduler_service.experiments.definition import Definition, FromList
from scheduler_service.experiments.moment import Moment
from scheduler_service.stats.arms import BASELINE
from scheduler_service.stats.guardrails import GUARDRAILS, Guardrail
from scheduler_service.words import WORDS, Message

DEFAULT_STAGES = (0.1, 0.3, 0.5, 1.0)
MAX_STAGES = 20
MAX_HOURS = 87_600.0

PromoteOn = Literal["better", "non_inferior"]
DecisionKind = Literal["hold", "advance", "promote", "stop_arm", "abort"]


class Rollout(Definition):
    """The plan of a rollout and its current stage."""

    stages: Annotated[tuple[float, ...], FromList] = DEFAULT_STAGES  # shares of the users that get the candidate
    min_samples: Whole = Field(default=100, ge=2, le=10**9)  # values of the metric in each arm, in each stage
    min_hours: float = Field(default=24.0, ge=0.0, le=MAX_HOURS, allow_inf_nan=False)  # in each stage
    auto: bool = True  # false: only people advance it
    promote_on: PromoteOn = "better"
    stage: Whole = Field(default=0, ge=0)  # index into `stages`
    stage_since: Moment

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
        """JSON, as in the file and in the HTTP interface."""
        return self.model_dump() | {"stages": list(self.stages), "stage_since": to_iso(self.stage_since)}

    @property
    def share(self) -> float:
        """Share of the users who get the candidate now."""
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
    """The figures for a decision."""

    samples: Mapping[str, int]  # arm -> values of the success metric since the start of the stage
    word: str | None  # of the verdict; None: only the breaker was evaluated
    verdict: Sequence[Message]  # in words
    is_mismatched: bool  # sample ratio mismatch
    guardrails: Mapping[str, Sequence[Guardrail]]  # running candidate -> its checks
    is_baseline_the_default: bool  # whether the baseline is the default model, which a promotion replaces
    cannot_tell: Message | None = None  # why more data will not decide, and what would
    is_one_of_several: bool = False  # whether the experiment has several candidates, stopped or not
    words: Mapping[str, str] = field(default_factory=dict)  # candidate -> word of its verdict; default: `word`


@dataclass(frozen=True, slots=True)
class Condition:
    """A condition for leaving the stage."""

    text: Message  # a noun phrase with the present figures
    is_met: bool

    def to_dict(self) -> dict[str, Any]:
        """JSON."""
        return {"text": self.text.to_dict(), "is_met": self.is_met}


@dataclass(frozen=True, slots=True)
class Decision:
    """The next move, and the reason."""

    kind: DecisionKind
    reasons: Sequence[Message]
    figures: Mapping[str, Any] = field(default_factory=dict)
    is_breach: bool = False  # of a guardrail
    arm: str | None = None  # the candidate that `stop_arm` stops
    conditions: Sequence[Condition] = ()  # for leaving the stage

    @property
    def reason(self) -> str:
        """The reasons in English."""
        return WORDS.say(*self.reasons)

    def to_dict(self) -> dict[str, Any]:
        """The answer of the HTTP interface, as JSON."""
        return {
            "kind": self.kind,
            "reason": self.reason,
            "reason_text": [each.to_dict() for each in self.reasons],
            "conditions": [each.to_dict() for each in self.conditions],
        }


NEEDED = tuple(name for name, each in GUARDRAILS.items() if each.is_needed)
"""Before more users get the candidate, these guardrails must be kept with confidence, if the number of users suffices
for it; the others must not be breached."""


def decide(rollout: Rollout | None, evidence: Evidence, now: datetime) -> Decision:
    """The next move of an experiment, with or without a rollout.

    * A breached guardrail stops its candidate, one at a time, or aborts the experiment if no other candidate runs.
    * A rollout is aborted if the verdict is `worse`.
    * A stage ends after `min_hours` if each arm has `min_samples` values, there is no sample ratio mismatch, and the
      guardrails `NEEDED` are kept with confidence (with too few users for that: if their estimates are within the
      margins). Otherwise the decision is to hold.
    * The promotion also needs the verdict `better` (with `promote_on: non_inferior`, at least `non_inferior`).
    """
    figures = _figures(evidence, evidence.guardrails)
    conditions = [] if rollout is None else _conditions(rollout, evidence, now)
    breached = {
        arm: [each for each in checks if each.state == "breached"] for arm, checks in evidence.guardrails.items()
    }
    harmful = [arm for arm, found in breached.items() if found]
    if harmful and len(harmful) == len(evidence.guardrails):
        reasons = _breaches(breached, is_one_of_several=evidence.is_one_of_several)
        return Decision("abort", reasons, figures, is_breach=True, conditions=conditions)
    if harmful:
        arm = harmful[0]
        figures = {"arm": arm, **_figures(evidence, {arm: evidence.guardrails[arm]})}
        reasons = _breaches({arm: breached[arm]}, is_one_of_several=True)
        return Decision("stop_arm", reasons, figures, is_breach=True, arm=arm, conditions=conditions)
    if rollout is None:
        return Decision("hold", [Message("rollout.none")], figures)
    if evidence.word == "worse":
        return Decision("abort", evidence.verdict, figures, conditions=conditions)
    if unmet := [each.text for each in conditions if not each.is_met]:
        told = [Message("rollout.waiting", {"conditions": unmet})]
        if rollout.is_last_before_promotion and evidence.cannot_tell is not None:
            told.append(evidence.cannot_tell)
        return Decision("hold", told, figures, conditions=conditions)
    kind: Literal["advance", "promote"] = "promote" if rollout.is_last_before_promotion else "advance"
    return Decision(kind, evidence.verdict, figures, conditions=conditions)


def _figures(evidence: Evidence, guardrails: Mapping[str, Sequence[Guardrail]]) -> dict[str, Any]:
    """The figures of a decision; for a guardrail of several candidates, those of the worst."""
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


def _breaches(breached: Mapping[str, Sequence[Guardrail]], *, is_one_of_several: bool) -> list[Message]:
    """Each breached guardrail; with its arm if the experiment has several candidates."""
    code = "rollout.breached_by_arm" if is_one_of_several else "rollout.breached"
    return [Message(code, {"arm": arm, "seen": each.text}) for arm, found in breached.items() for each in found]


def _is_enough(guardrail: Guardrail) -> bool:
    """Whether it is kept with confidence or, if the users are too few for that, its estimate is within the margin."""
    if guardrail.state == "kept" or guardrail.is_within_reach:
        return guardrail.state == "kept"
    return guardrail.harm is None or guardrail.harm <= guardrail.margin


def _conditions(rollout: Rollout, evidence: Evidence, now: datetime) -> list[Condition]:
    """What must hold before the stage is left."""
    until = rollout.stage_since + timedelta(hours=rollout.min_hours)
    samples, least = evidence.samples, rollout.min_samples
    counts = [Message("reasons.samples_of_arm", {"arm": arm, "count": count}) for arm, count in samples.items()]
    guardrails = (each for checks in evidence.guardrails.values() for each in checks if each.name in NEEDED)
    enough = ["better"] if rollout.promote_on == "better" else ["better", "non_inferior"]
    verdict = Message(f"rollout.verdict_{rollout.promote_on}", {"verdict": evidence.word})
    return [
        Condition(Message("rollout.hours", {"hours": rollout.min_hours, "until": to_iso(until)}), now >= until),
        Condition(
            Message("rollout.samples", {"least": least, "counts": counts}), min(samples.values(), default=0) >= least
        ),
        Condition(Message("rollout.split"), not evidence.is_mismatched),
        *(
            Condition(Message("rollout.guardrail", {"label": each.label, "state": each.state}), _is_enough(each))
            for each in guardrails
        ),
        *([Condition(verdict, evidence.word in enough)] if rollout.is_last_before_promotion else []),
        Condition(Message("rollout.baseline", {"a": BASELINE}), evidence.is_baseline_the_default),
        Condition(Message("rollout.auto" if rollout.auto else "rollout.manual"), rollout.auto),
    ]
