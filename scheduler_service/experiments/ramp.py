"""The plan of a rollout before it starts: users, days and detectable improvement of each stage."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from scheduler_service.experiments.planning import MAX_DAYS, Plan
from scheduler_service.experiments.rollout import Rollout
from scheduler_service.stats.metrics import PAIRED
from scheduler_service.stats.outcome import NotComputable
from scheduler_service.words import WORDS, Message

HORIZON_DAYS = 30.0
"""Only users within this period are expected to take part."""
SHORT_STAGES = (0.5, 1.0)
"""Proposed if there are few users: all of them take part from the first day."""
STAGE_USERS = 540
"""Users in both arms needed to show that an equal model's makespans keep the default margin of 5 % (greedy schedules of
300 generated requests with 1 to 5 work points). With pairs, 81 are enough."""
TYPICAL_IMPROVEMENT = 0.03
"""A rollout that cannot detect this improvement gets a note with remedies."""


@dataclass(frozen=True)
class Ramp:
    """A rollout with the known users."""

    plan: Plan  # of the experiment at the last stage before the promotion
    rollout: Rollout

    @property
    def users(self) -> int:
        """Users of the whole service within `HORIZON_DAYS`; with a short record, only the recorded users."""
        traffic = self.plan.traffic
        return traffic.users if traffic.is_even else int(traffic.users_after(HORIZON_DAYS))

    @property
    def rests_on_pairs(self) -> bool:
        """Whether the verdict is that of shadow pairs, to which all users contribute."""
        experiment = self.plan.experiment
        return experiment.shadow > 0.0 and experiment.success_metric in PAIRED

    @property
    def smallest_improvement(self) -> float | None:
        """The smallest improvement, a share of the baseline, detected with a power of 80 %; None: no improvement is."""
        return self._detectable(on_pairs=self.rests_on_pairs, stages=self.rollout.stages)

    def stages(self, shares: tuple[float, ...] | None = None) -> list[dict[str, Any]]:
        """Each stage before the promotion, as JSON: users in both arms, and the day on which it can end.

        Args:
            shares: other stages than the rollout's.
        """
        found, day = [], 0.0
        for share in (shares or self.rollout.stages)[:-1]:
            samples_per_day = self.plan.traffic.requests_per_day * share
            samples_days = self.rollout.min_samples / samples_per_day if samples_per_day else MAX_DAYS
            day = min(day + max(self.rollout.min_hours / 24.0, samples_days), MAX_DAYS)
            users = _taking_part(share, self.plan.traffic.users_after(day))
            found.append({"share": share, "users": users, "days": day})
        return found

    @property
    def proposed_stages(self) -> tuple[float, ...] | None:
        """Stages that end sooner if there are few users; None: the rollout's own are suitable."""
        first = self.rollout.stages[0]
        if first >= SHORT_STAGES[0] or _taking_part(first, self.users) >= STAGE_USERS:
            return None
        return SHORT_STAGES if self.stages(SHORT_STAGES)[-1]["days"] < self.stages()[-1]["days"] else None

    def notes(self) -> list[Message]:
        """Notes for the owner of the experiment."""
        if isinstance(self.plan.forecast, NotComputable):
            return [Message("ramp.unknown", {"reason": self.plan.forecast.text})]
        if self.proposed_stages is None:
            return self._reach()
        sooner, later = (
            round(self.stages(each)[-1]["days"], 1) for each in (self.proposed_stages, self.rollout.stages)
        )
        stages = {"stages": list(self.proposed_stages), "sooner": sooner, "later": later}
        return [*self._reach(), Message("ramp.sooner", stages)]

    def _reach(self) -> list[Message]:
        """What can be detected at the last stage before the promotion, and remedies if that is not enough."""
        least, basis = self.smallest_improvement, "pairs" if self.rests_on_pairs else "users"
        known = {"users": self.users, "days": HORIZON_DAYS, "basis": basis}
        if self.rollout.promote_on == "non_inferior":
            if self._shows_non_inferiority():
                return []
            note = Message("ramp.non_inferior", known)
        elif least is None:
            note = Message("ramp.nothing", known)
        else:
            note = Message("ramp.least", {**known, "least": least})
            if least <= TYPICAL_IMPROVEMENT:
                return [note]
        return [note, Message("ramp.weak", {"share": self.rollout.stages[-2], "remedies": self._remedies()})]

    def to_dict(self, *first: Message) -> dict[str, Any]:
        """JSON; shares as percentages.

        Args:
            first: notes before the others.
        """
        least, notes = self.smallest_improvement, [*first, *self.notes()]
        return {
            "basis": "pairs" if self.rests_on_pairs else "users",
            "users": self.users,
            "horizon_days": HORIZON_DAYS,
            "stages": self.stages(),
            "smallest_improvement_percentage": None if least is None else 100.0 * least,
            "proposed_stages": None if self.proposed_stages is None else list(self.proposed_stages),
            "notes": [WORDS.say(each) for each in notes],
            "notes_text": [each.to_dict() for each in notes],
        }

    def _remedies(self) -> list[Message]:
        found = []
        if not self.rests_on_pairs:
            on_pairs = self._detectable(on_pairs=True, stages=self.rollout.stages)
            if on_pairs is not None:
                found.append(Message("ramp.remedy_shadow", {"least": on_pairs}))
            short = self._detectable(on_pairs=False, stages=SHORT_STAGES)
            if short is not None and self.rollout.stages[-2] < SHORT_STAGES[0]:
                found.append(Message("ramp.remedy_stages", {"stages": list(SHORT_STAGES), "least": short}))
        if self.rollout.promote_on == "better" and self._shows_non_inferiority():
            found.append(Message("ramp.remedy_non_inferior", {"margin": self.plan.experiment.margin}))
        return [*found, Message("ramp.remedy_replay")]

    def _detectable(self, *, on_pairs: bool, stages: tuple[float, ...]) -> float | None:
        forecast = self.plan.forecast
        if isinstance(forecast, NotComputable):
            return None
        if on_pairs:
            return forecast.detectable_in_pairs(self.users) if self.plan.experiment.success_metric in PAIRED else None
        return forecast.detectable(_taking_part(stages[-2], self.users), 0.5)

    def _shows_non_inferiority(self) -> bool:
        forecast, supposed = self.plan.forecast, -self.plan.experiment.margin
        if isinstance(forecast, NotComputable):
            return False
        if self.rests_on_pairs:
            needed, users = forecast.pairs_needed(0.0, supposed=supposed), self.users
        else:
            needed = forecast.users_needed(0.0, 0.5, supposed=supposed)
            users = _taking_part(self.rollout.stages[-2], self.users)
        return needed is not None and needed <= users


def _taking_part(share: float, users: float) -> int:
    """Of so many users, those in both arms at the stage with this share."""
    return int(users * min(1.0, 2.0 * share))


@dataclass(frozen=True, slots=True)
class ShadowChoice:
    """The default of `shadow`, with its reason."""

    share: float
    reason: Message


def default_shadow(stages: Sequence[float], metric: str, users: int | None) -> ShadowChoice:
    """The shadow share of a new rollout: 1 if there are too few users for two arms, otherwise 0.

    There are too few if less than `STAGE_USERS` take part in the first stage: 2,700 users if that is 10 %. Only
    makespans are judged by pairs, so with another metric nothing is shadowed.

    Args:
        stages: of the rollout; shares of the users that get the candidate.
        metric: success metric of the experiment.
        users: number of recent users; None: unknown.
    """
    if metric not in PAIRED:
        return ShadowChoice(0.0, Message("ramp.shadow_not_judged", {"metric": metric}))
    if users is None:
        return ShadowChoice(1.0, Message("ramp.shadow_unknown"))
    coverage = min(1.0, 2.0 * stages[0]) if stages else 1.0
    needed = STAGE_USERS / coverage if coverage > 0.0 else float("inf")
    if users < needed:
        counts = {"users": users, "taking_part": int(users * coverage), "needed": STAGE_USERS}
        return ShadowChoice(1.0, Message("ramp.shadow_few", counts))
    return ShadowChoice(0.0, Message("ramp.shadow_enough", {"users": users}))


def ramp_of(plan: Plan) -> Ramp | None:
    """The plan's rollout; None if it has none."""
    rollout = plan.experiment.rollout
    return None if rollout is None else Ramp(plan, rollout)
