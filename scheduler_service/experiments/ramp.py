"""What a rollout can come to with the users that there are: planned stage by stage, before anybody is in it."""

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
"""Users who come later are not counted upon."""
SHORT = (0.5, 1.0)
"""The stages proposed where users are few: they all take part from the first day on."""
STAGE_USERS = 540
"""Of both arms: so many show for certain that the makespans of an equal model keep to the usual margin of 5 % (greedy
schedules of 300 generated requests of 1 to 5 work points). Pairs show it with 81."""
USUAL = 0.03
"""An improvement that one may hope for: a ramp that cannot show it is said to be out of reach."""


@dataclass(frozen=True)
class Ramp:
    """A rollout with the users that are known. `plan` is that of its experiment, at the last stage before promotion."""

    plan: Plan
    rollout: Rollout

    @property
    def users(self) -> int:
        """Of the whole service, within `HORIZON_DAYS`; of a short record only those it has, who may come again."""
        traffic = self.plan.traffic
        return traffic.users if traffic.is_even else int(traffic.users_after(HORIZON_DAYS))

    @property
    def rests_on_pairs(self) -> bool:
        """Whether its verdict is that of shadow pairs, which everybody contributes to."""
        experiment = self.plan.experiment
        return experiment.shadow > 0.0 and experiment.success_metric in PAIRED

    @property
    def smallest_improvement(self) -> float | None:
        """That the promotion can be decided by, with a chance of 80 %; a share of the baseline. None: none is found."""
        return self._found(on_pairs=self.rests_on_pairs, stages=self.rollout.stages)

    def stages(self, shares: tuple[float, ...] | None = None) -> list[dict[str, Any]]:
        """Each stage before the promotion, as JSON: users in both arms, and the first day on which it can be left.

        Args:
            shares: other stages than the rollout's.
        """
        found, day = [], 0.0
        for share in (shares or self.rollout.stages)[:-1]:
            values_a_day = self.plan.traffic.requests_per_day * share
            samples_days = self.rollout.min_samples / values_a_day if values_a_day else MAX_DAYS
            day = min(day + max(self.rollout.min_hours / 24.0, samples_days), MAX_DAYS)
            found.append(
                {"share": share, "users": self._taking_part(share, self.plan.traffic.users_after(day)), "days": day}
            )
        return found

    @property
    def proposed_stages(self) -> tuple[float, ...] | None:
        """Stages that end sooner, for users too few to be ramped slowly; None where the rollout's own do."""
        first = self.rollout.stages[0]
        if first >= SHORT[0] or self._taking_part(first, self.users) >= STAGE_USERS:
            return None
        return SHORT if self.stages(SHORT)[-1]["days"] < self.stages()[-1]["days"] else None

    def notes(self) -> list[Message]:
        """What its owner should know; empty where there is nothing to say."""
        if isinstance(self.plan.prospect, NotComputable):
            return [Message("ramp.unknown", {"reason": self.plan.prospect.text})]
        if self.proposed_stages is None:
            return self._reach()
        sooner, later = (
            round(self.stages(each)[-1]["days"], 1) for each in (self.proposed_stages, self.rollout.stages)
        )
        stages = {"stages": list(self.proposed_stages), "sooner": sooner, "later": later}
        return [*self._reach(), Message("ramp.sooner", stages)]

    def _reach(self) -> list[Message]:
        """What the users can show at the last stage before the promotion, and what would do if that is not enough."""
        least, basis = self.smallest_improvement, "pairs" if self.rests_on_pairs else "users"
        known = {"users": self.users, "days": HORIZON_DAYS, "basis": basis}
        if self.rollout.promote_on == "non_inferior":
            if self._shows_non_inferiority(on_pairs=self.rests_on_pairs):
                return []
            said = Message("ramp.non_inferior", known)
        elif least is None:
            said = Message("ramp.nothing", known)
        else:
            said = Message("ramp.least", {**known, "least": least})
            if least <= USUAL:
                return [said]
        return [said, Message("ramp.weak", {"share": self.rollout.stages[-2], "remedies": self._remedies()})]

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
        on_pairs = None if self.rests_on_pairs else self._found(on_pairs=True, stages=self.rollout.stages)
        if on_pairs is not None:
            found.append(Message("ramp.remedy_shadow", {"least": on_pairs}))
        short = None if self.rests_on_pairs else self._found(on_pairs=False, stages=SHORT)
        if short is not None and self.rollout.stages[-2] < SHORT[0]:
            found.append(Message("ramp.remedy_stages", {"stages": list(SHORT), "least": short}))
        if self.rollout.promote_on == "better" and self._shows_non_inferiority(on_pairs=self.rests_on_pairs):
            found.append(Message("ramp.remedy_non_inferior", {"margin": self.plan.experiment.margin}))
        return [*found, Message("ramp.remedy_replay")]

    def _found(self, *, on_pairs: bool, stages: tuple[float, ...]) -> float | None:
        prospect = self.plan.prospect
        if isinstance(prospect, NotComputable):
            return None
        if on_pairs:
            return prospect.detectable_in_pairs(self.users) if self.plan.experiment.success_metric in PAIRED else None
        return prospect.detectable(self._taking_part(stages[-2], self.users), 0.5)

    def _taking_part(self, share: float, users: float) -> int:
        """Of so many users, those in both arms at a stage."""
        return int(users * min(1.0, 2.0 * share))

    def _shows_non_inferiority(self, *, on_pairs: bool) -> bool:
        prospect, supposed = self.plan.prospect, -self.plan.experiment.margin
        if isinstance(prospect, NotComputable):
            return False
        if on_pairs:
            needed, users = prospect.pairs_needed(0.0, supposed=supposed), self.users
        else:
            needed = prospect.users_needed(0.0, 0.5, supposed=supposed)
            users = self._taking_part(self.rollout.stages[-2], self.users)
        return needed is not None and needed <= users


@dataclass(frozen=True, slots=True)
class ShadowChoice:
    """What `shadow` is where nobody said it, and why."""

    share: float
    reason: Message


def usual_shadow(stages: Sequence[float], metric: str, users: int | None) -> ShadowChoice:
    """The shadow of a new rollout: everything where the users are too few for two arms, else nothing.

    Too few are those of whom less than `STAGE_USERS` take part in the first stage: 2,700 where that is 10 %. Pairs are
    judged by the makespans only, so with another metric nothing is shadowed.

    Args:
        stages: of the rollout; shares of the users that get the candidate.
        metric: what the experiment is judged by.
        users: known from the records of late; None: nobody knows.
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
    """The plan's rollout; None where it has none."""
    rollout = plan.experiment.rollout
    return None if rollout is None else Ramp(plan, rollout)
