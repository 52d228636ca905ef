"""What moved between two schedules of a plan, by how much, and whose crews. Pure."""

from dataclasses import dataclass

from scheduler_env.replan.open_steps import status_of
from scheduler_env.replan.progress import State
from scheduler_env.replan.report import state_of
from scheduler_env.schedule import TOLERANCE_H, Schedule, ScheduledStep


@dataclass(frozen=True, slots=True)
class MovedStep:
    """A step of both schedules that starts or ends at another time, or has another crew."""

    before: ScheduledStep
    after: ScheduledStep
    state: State  # in the later schedule

    @property
    def shift_h(self) -> float:
        return self.after.start_h - self.before.start_h

    @property
    def has_other_crew(self) -> bool:
        return self.after.crew != self.before.crew


@dataclass(frozen=True, slots=True)
class TeamMoves:
    """What moves of a team's steps that are not yet started."""

    team: str
    moved: int  # other starts
    crews_changed: int
    total_shift_h: float  # sum of the absolute shifts of the starts


@dataclass(frozen=True, slots=True)
class Comparison:
    """What differs between two schedules.

    Attributes:
        moved: in the order of their later starts.
        teams: those with a difference, the largest total shift first.
        added, gone: steps that only the later, or only the earlier schedule has.
    """

    makespan_before_h: float
    makespan_after_h: float
    moved: tuple[MovedStep, ...]
    teams: tuple[TeamMoves, ...]
    added: tuple[ScheduledStep, ...]
    gone: tuple[ScheduledStep, ...]


def compare(before: Schedule, after: Schedule) -> Comparison:
    """What differs between two schedules; steps are the same if their ids are."""
    status = status_of(after.instance)
    then = {placed.step.id: placed for placed in before.steps}
    now = {placed.step.id for placed in after.steps}
    by_start = sorted(after.steps, key=lambda placed: (placed.start_h, placed.step.id))
    moved = tuple(
        MovedStep(former, placed, state_of(placed.step.id, status))
        for placed in by_start
        if (former := then.get(placed.step.id)) is not None and _is_different(former, placed)
    )
    return Comparison(
        before.makespan_h,
        after.makespan_h,
        moved,
        _of_teams(moved),
        tuple(placed for placed in by_start if placed.step.id not in then),
        tuple(placed for placed in before.steps if placed.step.id not in now),
    )


def _is_different(before: ScheduledStep, after: ScheduledStep) -> bool:
    is_later = abs(after.start_h - before.start_h) > TOLERANCE_H
    return is_later or abs(after.end_h - before.end_h) > TOLERANCE_H or after.crew != before.crew


def _of_teams(moved: tuple[MovedStep, ...]) -> tuple[TeamMoves, ...]:
    by_team: dict[str, list[MovedStep]] = {}
    for each in moved:
        if each.state == "planned":
            by_team.setdefault(each.after.step.team, []).append(each)
    found = [
        TeamMoves(
            team,
            sum(abs(each.shift_h) > TOLERANCE_H for each in steps),
            sum(each.has_other_crew for each in steps),
            sum(abs(each.shift_h) for each in steps),
        )
        for team, steps in by_team.items()
    ]
    return tuple(sorted(found, key=lambda each: (-each.total_shift_h, each.team)))
