"""The scheduling problem: teams, work points, steps and their modes. All times are in hours.

It is the multi-mode resource-constrained multi-project scheduling problem with renewable resources:
team = renewable resource, work point = project, step = activity, crew size = mode.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from graphlib import CycleError, TopologicalSorter
from itertools import pairwise
from typing import Any, Literal, NamedTuple, overload

from scheduler_env import availability as presence
from scheduler_env.availability import MAX_PEOPLE, Availability, Levels
from scheduler_env.calendars import Calendar
from scheduler_env.clock import Clock
from scheduler_env.errors import InvalidInstance
from scheduler_env.replan.progress import Status

MAX_STEPS = 5_000
MAX_HEADCOUNT = MAX_PEOPLE
DEFAULT_MIN_CREW = 2
"""Default minimum crew of a shared team, because nobody may work alone."""
Objective = Literal["makespan", "weighted_tardiness"]
"""What is to be least: the end of the last step; or by how much work points are late (`Schedule.weighted_tardiness_h`),
then the makespan."""


@dataclass(frozen=True, slots=True)
class Team:
    """A renewable resource of `headcount` people, which works on one step at a time (`dedicated`) or on several.

    The headcount is the reference of the crew-efficiency curve, and no crew is larger. `availability` says how many
    people are there, if it is not the headcount all the time.
    """

    name: str
    headcount: int
    dedicated: bool = False
    min_crew: int | None = None
    availability: Availability | None = None

    def __post_init__(self) -> None:
        if not 1 <= self.headcount <= MAX_HEADCOUNT:
            raise InvalidInstance("headcount_out_of_range", team=self.name, value=self.headcount, limit=MAX_HEADCOUNT)
        if self.min_crew is not None and not 1 <= self.min_crew <= self.headcount:
            raise InvalidInstance(
                "min_crew_out_of_range", team=self.name, value=self.min_crew, headcount=self.headcount
            )
        if self.availability is not None:
            presence.check(self.availability)

    @property
    def people(self) -> Levels:
        """The people who are there over time."""
        return presence.levels(self.headcount, self.availability)

    @property
    def usable(self) -> Levels:
        """The people who can be at work over time: a dedicated team has one crew, however many people are there."""
        if not self.dedicated:
            return self.people
        return presence.merged([(hour, min(people, self.headcount)) for hour, people in self.people])

    @property
    def largest_crew(self) -> int:
        """People in the largest crew that can ever be at work; less than the headcount if so many are never there."""
        if self.availability is None:
            return self.headcount
        return min(self.headcount, max(people for _, people in self.usable))

    @property
    def least_crew(self) -> int:
        """People in the smallest crew that may work on a step."""
        if self.dedicated:
            return self.headcount
        return min(DEFAULT_MIN_CREW, self.headcount) if self.min_crew is None else self.min_crew


Demand = tuple[tuple[str, int], ...]
"""(resource name, units), units >= 1."""


class Mode(NamedTuple):
    """One way to do a step: its duration and the people it needs of each team for that time."""

    duration_h: float
    demand: Demand


@dataclass(frozen=True, slots=True)
class CrewModes(Sequence[Mode]):
    """The modes of a step of `nominal_h` hours, one per crew; the `Mode` objects are created on access."""

    nominal_h: float
    relative_h: Mapping[Demand, float]  # hours per nominal hour; shared by all steps with the same crews

    def __len__(self) -> int:
        return len(self.relative_h)

    @overload
    def __getitem__(self, index: int) -> Mode: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Mode, ...]: ...
    def __getitem__(self, index: int | slice) -> Mode | tuple[Mode, ...]:
        if isinstance(index, slice):
            return tuple(self)[index]
        demand, relative_h = tuple(self.relative_h.items())[index]
        return Mode(self.nominal_h * relative_h, demand)

    def __iter__(self) -> Iterator[Mode]:
        return (Mode(self.nominal_h * relative_h, demand) for demand, relative_h in self.relative_h.items())

    def __contains__(self, mode: object) -> bool:
        if not isinstance(mode, Mode) or (relative_h := self.relative_h.get(mode.demand)) is None:
            return False
        return mode.duration_h == self.nominal_h * relative_h


class Step(NamedTuple):
    """An activity: done once, without preemption, in one of its modes.

    `order` groups the steps of a work point: a step starts only when every step of a lower order is finished (None:
    the step has no order). `predecessors` are the ids of further steps that must finish before. It cannot start before
    `release_h`, hours after the start of the shutdown. While an exclusive step is at work, nobody else works in the
    zone of its work point; its modes say so to the solvers (see `zones`).
    """

    id: str
    name: str
    workpoint_id: str
    team: str
    order: int | None
    modes: Sequence[Mode]
    predecessors: tuple[str, ...] = ()
    release_h: float = 0.0
    is_interruptible: bool = True  # its crew may rest between shifts; else it fits into one stretch of work
    is_exclusive: bool = False

    def crew(self, mode: Mode) -> int:
        """People of the step's own team that `mode` needs."""
        for resource, units in mode.demand:
            if resource == self.team:
                return units
        return 0


class Taken(NamedTuple):
    """Units of a resource that are in use from one hour to another by what is not part of the instance."""

    resource: str
    from_h: float
    to_h: float
    units: int


@dataclass(frozen=True, slots=True)
class WorkPoint:
    """A project: a place to be inspected, and its steps.

    Attributes:
        zone: where it is; None if it is a zone of its own.
        due_h: each hour by which it ends later costs `weight`. None: it is never late.
        deadline_h: should not end later; a plan that does is worse than one that does not.
    """

    id: str
    name: str
    steps: tuple[Step, ...]
    zone: str | None = None
    due_h: float | None = None
    weight: float = 1.0
    deadline_h: float | None = None


@dataclass(frozen=True)
class Instance:
    """A complete and valid problem, which has at least one feasible schedule.

    `places` (name -> units) are renewable resources that are not teams: they prevent steps from running at the same
    time, and their utilization is not reported. `taken` is in use by others. `status`: what is done, at work, promised
    and published; only `replan.solving` plans such an instance. `objective`: what is to be least. `clock`: the
    time of hour 0, to tell times by. `calendar`: when people work; hours are elapsed hours, but durations are hours at
    work. Such an instance is planned through `working_time`.

    Raises:
        InvalidInstance: unknown team or predecessor, a cycle, a demand above the capacity, a repeated id, or no step.
    """

    teams: tuple[Team, ...]
    workpoints: tuple[WorkPoint, ...]
    places: Mapping[str, int] = field(default_factory=dict)
    taken: tuple[Taken, ...] = ()
    status: Status | None = None
    objective: Objective = "makespan"
    clock: Clock | None = None
    calendar: Calendar | None = None
    shared: dict[str, Any] = field(default_factory=dict, repr=False, compare=False)
    """Cache of values that do not depend on durations, by owner; shared with the instances from `with_durations`."""

    def __post_init__(self) -> None:
        if not self.steps:
            raise InvalidInstance("no_steps", ("workpoints",))
        if len(self.steps) > MAX_STEPS:
            raise InvalidInstance("too_many_steps", ("workpoints",), limit=MAX_STEPS)
        _refuse_repeats("team", [team.name for team in self.teams] + list(self.places))
        _refuse_repeats("workpoint", [workpoint.id for workpoint in self.workpoints])
        _refuse_repeats("step", [step.id for step in self.steps])
        capacity = self.capacity
        # A mode that fits only for a while might never be possible; without an end, one that fits at last is.
        lasting = capacity | {name: levels[-1][1] for name, levels in self.levels.items()}
        checked: set[Demand] = set()  # most steps of a team have the same crews
        for step in self.steps:
            if not step.modes:
                raise InvalidInstance("step_without_mode", step=step.id)
            if not step.release_h >= 0.0:
                raise InvalidInstance("negative_release", step=step.id, value=step.release_h)
            for duration_h, demand in step.modes:
                if not duration_h >= 0.0:
                    raise InvalidInstance("negative_duration", step=step.id, value=duration_h)
                if demand in checked:
                    continue
                for resource, units in demand:
                    if resource not in capacity:
                        raise InvalidInstance("unknown_team", step=step.id, team=resource, known=list(capacity))
                    if not 1 <= units <= lasting[resource]:
                        raise InvalidInstance(
                            "demand_above_capacity",
                            step=step.id,
                            units=units,
                            resource=resource,
                            capacity=lasting[resource],
                        )
                checked.add(demand)
        self.topological_order  # noqa: B018  (raises InvalidInstance for unknown predecessors and cycles)

    def with_durations(self, nominal_h: Sequence[float]) -> "Instance":
        """The same instance with other nominal hours (each greater than 0), which shares everything else.

        Only for instances whose steps all have `CrewModes`.
        """
        hours = iter(nominal_h)
        workpoints = tuple(
            WorkPoint(
                workpoint.id,
                workpoint.name,
                tuple(
                    Step(*step[:5], CrewModes(next(hours), step.modes.relative_h), *step[6:])  # type: ignore[attr-defined]
                    for step in workpoint.steps
                ),
                workpoint.zone,
                workpoint.due_h,
                workpoint.weight,
                workpoint.deadline_h,
            )
            for workpoint in self.workpoints
        )
        new = object.__new__(Instance)  # skips validation: the new instance is as valid as this one
        new.__dict__.update(self.__dict__, workpoints=workpoints)
        new.__dict__.pop("steps")
        return new

    def with_status(self, status: Status) -> "Instance":
        """The same instance with a status (checked by `replan.reading`), which shares everything else."""
        new = object.__new__(Instance)
        new.__dict__.update(self.__dict__, status=status)
        return new

    def with_clock(self, clock: Clock, calendar: Calendar | None) -> "Instance":
        """The same instance with a clock, which shares everything else."""
        new = object.__new__(Instance)
        new.__dict__.update(self.__dict__, clock=clock, calendar=calendar)
        return new

    def without_dates(self) -> "Instance":
        """The same instance without due dates and deadlines, which shares everything else; its makespan counts."""
        new = object.__new__(Instance)
        workpoints = tuple(replace(each, due_h=None, weight=1.0, deadline_h=None) for each in self.workpoints)
        new.__dict__.update(self.__dict__, workpoints=workpoints, objective="makespan", has_dates=False)
        return new

    @cached_property
    def has_dates(self) -> bool:
        """Whether a work point has a due date or a deadline."""
        return any(each.due_h is not None or each.deadline_h is not None for each in self.workpoints)

    @cached_property
    def steps(self) -> tuple[Step, ...]:
        """All steps, work point by work point; the index in this tuple is the activity number."""
        return tuple(step for workpoint in self.workpoints for step in workpoint.steps)

    @cached_property
    def capacity(self) -> dict[str, int]:
        """The most units of each renewable resource that are ever there: of the teams, then of the places."""
        teams = {
            team.name: team.headcount if team.availability is None else max(people for _, people in team.usable)
            for team in self.teams
        }
        usual = teams | dict(self.places)
        return usual | {name: max(units for _, units in rows) for name, rows in self._left.items()}

    @cached_property
    def _left(self) -> dict[str, Levels]:
        """What is left over time of the resources of which others take something."""
        by_name: dict[str, list[tuple[float, float, int]]] = {}
        for resource, *use in self.taken:
            by_name.setdefault(resource, []).append(tuple(use))  # type: ignore[arg-type]
        usual = {team.name: team.usable for team in self.teams}
        return {
            name: presence.less(usual[name] if name in usual else ((0.0, self.places[name]),), uses)
            for name, uses in by_name.items()
        }

    @cached_property
    def levels(self) -> dict[str, Levels]:
        """The units over time of the resources whose units change."""
        changing = {team.name: team.usable for team in self.teams if isinstance(team.availability, tuple)}
        return {name: levels for name, levels in (changing | self._left).items() if len(levels) > 1}

    @cached_property
    def predecessors(self) -> tuple[tuple[int, ...], ...]:
        """For each activity its direct predecessors, sorted.

        Of the lower orders of the work point only the next one is included; the others follow from it.
        """
        index = {step.id: number for number, step in enumerate(self.steps)}
        found: list[set[int]] = []
        for step in self.steps:
            before: set[int] = set()
            for predecessor in step.predecessors:
                if predecessor not in index:
                    raise InvalidInstance("no_such_predecessor", step=step.id, name=predecessor)
                before.add(index[predecessor])
            found.append(before)
        for workpoint in self.workpoints:
            groups: dict[int, list[int]] = {}
            for step in workpoint.steps:
                if step.order is not None:
                    groups.setdefault(step.order, []).append(index[step.id])
            orders = sorted(groups)
            for lower, higher in pairwise(orders):
                for activity in groups[higher]:
                    found[activity].update(groups[lower])
        return tuple(tuple(sorted(before)) for before in found)

    @cached_property
    def successors(self) -> tuple[tuple[int, ...], ...]:
        """For each activity its direct successors, sorted."""
        after: list[list[int]] = [[] for _ in self.steps]
        for activity, before in enumerate(self.predecessors):
            for predecessor in before:
                after[predecessor].append(activity)
        return tuple(map(tuple, after))

    @cached_property
    def topological_order(self) -> tuple[int, ...]:
        """Activity numbers, each after its predecessors.

        Raises:
            InvalidInstance: the precedence has a cycle; the text names its steps.

        Source: Kahn 1962.
        """
        missing = [len(before) for before in self.predecessors]
        order = [activity for activity, count in enumerate(missing) if count == 0]
        for activity in order:  # the list grows during the loop
            for successor in self.successors[activity]:
                missing[successor] -= 1
                if missing[successor] == 0:
                    order.append(successor)
        if len(order) < len(missing):
            raise InvalidInstance("cycle", steps=self._cycle())
        return tuple(order)

    def _cycle(self) -> list[str]:
        """Ids of the steps of a cycle, the first one again at the end."""
        try:
            TopologicalSorter(dict(enumerate(self.predecessors))).prepare()
        except CycleError as err:
            return [self.steps[activity].id for activity in err.args[1]]
        return []


def _refuse_repeats(kind: str, names: list[str]) -> None:
    if len(set(names)) == len(names):
        return
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise InvalidInstance("id_twice", owner=kind, id=name)
        seen.add(name)
