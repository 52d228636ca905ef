"""A schedule: when each step starts and in which mode, its makespan and utilization, and its validation."""

from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from typing import NamedTuple

from scheduler_env.availability import before, person_hours
from scheduler_env.errors import InvalidSchedule
from scheduler_env.problem import Instance, Mode, Step, Team
from scheduler_env.replan.progress import Fact, Status
from scheduler_env.working_time import in_hours_at_work, rest_violations

TOLERANCE_H = 1e-6
"""Times closer together than this (3.6 ms) count as equal, because they are sums of floating-point durations."""


class ScheduledStep(NamedTuple):
    """A step with its mode and start; it ends after the mode's duration, or at `finish_h` if its crew rests."""

    step: Step
    mode: Mode
    start_h: float
    finish_h: float | None = None

    @property
    def end_h(self) -> float:
        return self.start_h + self.mode.duration_h if self.finish_h is None else self.finish_h

    @property
    def crew(self) -> int:
        """People of the step's team who work on it from start to end."""
        return self.step.crew(self.mode)


def as_it_happened(step: Step, fact: Fact) -> ScheduledStep:
    """A step that is done or at work, with the crew and the hours of the fact; they need not be one of its modes."""
    usual = next((mode for mode in step.modes if step.crew(mode) == fact.crew), step.modes[0])
    demand = tuple((name, fact.crew if name == step.team else units) for name, units in usual.demand)
    return ScheduledStep(step, Mode(fact.end_h - fact.start_h, demand), fact.start_h)


@dataclass(frozen=True)
class Schedule:
    """A start and a mode for every step of `instance`. `violations()` lists the constraints that it violates."""

    instance: Instance
    steps: tuple[ScheduledStep, ...]

    @cached_property
    def makespan_h(self) -> float:
        """The end of the last step, hours from the start of the shutdown."""
        return max(self._ends_h)

    @cached_property
    def _ends_h(self) -> list[float]:
        return [
            start_h + mode.duration_h if finish_h is None else finish_h for _, mode, start_h, finish_h in self.steps
        ]

    @cached_property
    def at_work(self) -> "Schedule | None":
        """The schedule in hours at work; None without a calendar."""
        calendar = self.instance.calendar
        if calendar is None:
            return None
        instance = in_hours_at_work(self.instance)
        step_of = {step.id: step for step in instance.steps}
        facts = {} if instance.status is None else instance.status.facts
        return Schedule(
            instance,
            tuple(
                as_it_happened(step_of[step.id], facts[step.id])
                if step.id in facts
                else ScheduledStep(step_of[step.id], mode, calendar.working(start_h))
                for step, mode, start_h, _ in self.steps
                if step.id in step_of
            ),
        )

    @cached_property
    def workpoint_ends_h(self) -> dict[str, float]:
        """The end of each work point's last step, hours, by its id."""
        found: dict[str, float] = {}
        for (step, _, _, _), end_h in zip(self.steps, self._ends_h, strict=True):
            found[step.workpoint_id] = max(found.get(step.workpoint_id, 0.0), end_h)
        return found

    @cached_property
    def weighted_tardiness_h(self) -> float:
        """The sum over the work points of weight times hours after the due date, >= 0."""
        return sum(
            each.weight * max(0.0, self.workpoint_ends_h[each.id] - each.due_h)
            for each in self.instance.workpoints
            if each.due_h is not None
        )

    @property
    def missed_deadlines(self) -> list[str]:
        """Ids of the work points that end after their deadlines."""
        return [
            each.id
            for each in self.instance.workpoints
            if each.deadline_h is not None and self.workpoint_ends_h[each.id] > each.deadline_h + TOLERANCE_H
        ]

    @cached_property
    def team_utilization(self) -> dict[str, float]:
        """For each team that the instance uses: crew-hours worked over the hours of the people there, 0..1.

        With a calendar, only hours at work count.
        """
        if self.at_work is not None:
            return self.at_work.team_utilization
        crew_hours = self._crew_hours
        return {
            team.name: self._share(crew_hours[team.name], [team])
            for team in self.instance.teams
            if team.name in crew_hours
        }

    @cached_property
    def resource_utilization(self) -> float:
        """For the plant: crew-hours worked by all used teams over the hours of their people there, 0..1."""
        if self.at_work is not None:
            return self.at_work.resource_utilization
        crew_hours = self._crew_hours
        return self._share(sum(crew_hours.values()), [team for team in self.instance.teams if team.name in crew_hours])

    @cached_property
    def critical_steps(self) -> frozenset[str]:
        """Ids of the steps on a critical sequence: a delay of any of them delays the restart of the plant.

        A sequence is followed backwards from a step that ends last. Before each step come those that it waits for: the
        predecessors and steps of lower orders that end when it starts, and the steps that then release people who
        were scarce. A sequence begins at time 0, or with a step that waits for nothing, or for people or its release.
        What is done can no longer be delayed; a step at work begins a sequence.

        Source: Wiest 1964, Some properties of schedules for large projects with limited resources.
        """
        if self.at_work is not None:
            return self.at_work.critical_steps
        index = {step.id: number for number, step in enumerate(self.instance.steps)}
        predecessors, capacity = self.instance.predecessors, self.instance.capacity
        by_end = sorted(zip(self._ends_h, range(len(self.steps)), strict=True))
        ends = [end_h for end_h, _ in by_end]
        facts = {} if self.instance.status is None else self.instance.status.facts
        found: set[int] = set()
        waiting = [number for end_h, number in by_end if end_h >= self.makespan_h - TOLERANCE_H]
        while waiting:
            number = waiting.pop()
            if number in found:
                continue
            step, mode, start_h, _ = self.steps[number]
            fact = facts.get(step.id)
            if fact is None or fact.status == "running":
                found.add(number)
            if start_h <= TOLERANCE_H or fact is not None:
                continue
            before = predecessors[index[step.id]]
            there = self._there_before(start_h) if self.instance.levels else capacity
            scarce = {name for name, units in mode.demand if units + self._busy_before(name, start_h) > there[name]}
            first = bisect_left(ends, start_h - TOLERANCE_H)
            for _, other in by_end[first : bisect_right(ends, start_h + TOLERANCE_H, first)]:
                by = self.steps[other]
                if other != number and (
                    index[by.step.id] in before or (scarce and any(name in scarce for name, _ in by.mode.demand))
                ):
                    waiting.append(other)
        return frozenset([self.steps[number].step.id for number in found])

    @cached_property
    def _use(self) -> dict[str, tuple[list[tuple[float, int, int]], list[int]]]:
        """For each resource: the changes of its use by time (hours, units, steps), and the units in use before the
        first change, before the second, ..., and after the last.

        At the same time, releases come before acquisitions.
        """
        found: dict[str, list[tuple[float, int, int]]] = {}
        for (_, mode, start_h, _), end_h in zip(self.steps, self._ends_h, strict=True):
            if mode.duration_h > 0.0:
                for name, units in mode.demand:
                    moves = found.get(name) or found.setdefault(name, [])
                    moves += (start_h + TOLERANCE_H, units, 1), (end_h, -units, -1)
        for moves in found.values():
            moves.sort()
        return {name: (moves, [0, *accumulate([units for _, units, _ in moves])]) for name, moves in found.items()}

    def _busy_before(self, resource: str, hour: float) -> int:
        """The units of a resource in use just before `hour`."""
        moves, units = self._use.get(resource, ([], [0]))
        return units[bisect_left(moves, (hour - TOLERANCE_H,))]

    def _there_before(self, hour: float) -> dict[str, int]:
        """The units of each resource that are there just before `hour`."""
        changing = self.instance.levels.items()
        return self.instance.capacity | {name: before(levels, hour - TOLERANCE_H) for name, levels in changing}

    def violations(self) -> list[str]:
        """The constraints that the schedule violates, as English sentences; empty if it is valid.

        The check uses only the instance and shares no code with the kernel. It covers: every step is scheduled once, in
        one of its own modes (so also crew limits, dedicated teams, durations and no preemption), not before time 0 and
        its release, after its predecessors and after every lower order of its work point, and no team ever has more
        people at work than are there, and an exclusive step is alone in its zone. Facts may contradict all this; the
        other steps may not. They start at the data date at the earliest, as promised if they are pinned, and while
        nobody is missing on their team.
        """
        return list(self._violations)

    @cached_property
    def _violations(self) -> tuple[str, ...]:
        """Cached, because both the solver and the service check a schedule."""
        found: list[str] = []
        ends: dict[str, float] = {}
        status = self.instance.status
        for (step, mode, start_h, _), end_h in zip(self.steps, self._ends_h, strict=True):
            if step.id in ends:
                found.append(f"step {step.id!r} is scheduled twice")
            ends[step.id] = end_h
            if status is not None:
                found += _status_violations(ScheduledStep(step, mode, start_h, end_h), status)
                if step.id in status.facts:
                    continue
            if mode not in step.modes:
                found.append(f"step {step.id!r} has the mode {mode}, which is not one of its modes")
            if not start_h >= -TOLERANCE_H:
                found.append(f"step {step.id!r} starts at {start_h} h, before the shutdown")
            if start_h < step.release_h - TOLERANCE_H:
                found.append(f"step {step.id!r} starts at {start_h:.4f} h, before its release at {step.release_h} h")
        missing = [step.id for step in self.instance.steps if step.id not in ends]
        found += [f"step {step_id!r} is not scheduled" for step_id in missing]
        if not missing and len(ends) != len(self.instance.steps):
            found.append("the schedule has a step that the instance does not have")
        if not missing:
            found += self._precedence_violations(ends)
        found += self._zone_violations()
        if self.instance.calendar is not None:
            facts = {} if status is None else status.facts
            open_steps = zip(self.steps, self._ends_h, strict=True)
            found += rest_violations(
                self.instance.calendar,
                [
                    (step, start_h, end_h, mode.duration_h)
                    for (step, mode, start_h, _), end_h in open_steps
                    if step.id not in facts
                ],
            )
        work = self.at_work or self
        status = work.instance.status
        return (*found, *(work._capacity_violations() if status is None else work._overuse(status)))

    def check(self) -> None:
        """Raise InvalidSchedule if the schedule violates a constraint; the text lists the first violations."""
        found = self.violations()
        if found:
            raise InvalidSchedule("violations", n=len(found), first=found[:5])

    def _precedence_violations(self, ends: dict[str, float]) -> list[str]:
        found = []
        facts = {} if self.instance.status is None else self.instance.status.facts
        ordered: dict[str, list[tuple[int, float, float, str]]] = {}  # of each work point: order, start, end, step
        for (step, _, start_h, _), end_h in zip(self.steps, self._ends_h, strict=True):
            if step.order is not None:
                ordered.setdefault(step.workpoint_id, []).append((step.order, start_h, end_h, step.id))
            for predecessor in () if step.id in facts else step.predecessors:
                if start_h < ends[predecessor] - TOLERANCE_H:
                    found.append(
                        f"step {step.id!r} starts at {start_h:.4f} h, before its predecessor "
                        f"{predecessor!r} ends at {ends[predecessor]:.4f} h"
                    )
        for rows in ordered.values():
            rows.sort()
            latest_lower = latest = 0.0  # end of all lower orders; end of everything seen so far
            present = None
            for order, start_h, end_h, step_id in rows:
                if order != present:
                    present, latest_lower = order, latest
                if start_h < latest_lower - TOLERANCE_H and step_id not in facts:
                    found.append(
                        f"step {step_id!r} of order {order} starts at {start_h:.4f} h, before the lower "
                        f"orders of its work point end at {latest_lower:.4f} h"
                    )
                latest = max(latest, end_h)
        return found

    def _zone_violations(self) -> list[str]:
        """For each zone the first time at which an exclusive step is not alone. Facts may contradict each other."""
        if not any(placed.step.is_exclusive for placed in self.steps):
            return []
        of_step = {step.id: workpoint for workpoint in self.instance.workpoints for step in workpoint.steps}
        facts = {} if self.instance.status is None else self.instance.status.facts
        moves: dict[tuple[bool, str], list[tuple[float, int, int, int]]] = {}  # of a zone: hour, steps, exclusive, open
        for (step, mode, start_h, _), end_h in zip(self.steps, self._ends_h, strict=True):
            workpoint = of_step.get(step.id)
            if workpoint is not None and mode.duration_h > 2 * TOLERANCE_H:
                zone = (True, workpoint.id) if workpoint.zone is None else (False, workpoint.zone)
                is_open = int(step.id not in facts)
                moves.setdefault(zone, []).append((start_h + TOLERANCE_H, 1, int(step.is_exclusive), is_open))
                moves[zone].append((end_h, -1, -int(step.is_exclusive), -is_open))
        found = []
        for (_, name), changes in moves.items():
            present = exclusive = n_open = 0
            for hour, step_more, exclusive_more, open_more in sorted(changes):
                present, exclusive, n_open = present + step_more, exclusive + exclusive_more, n_open + open_more
                if exclusive and present > 1 and n_open:
                    found.append(f"{present} steps are at work in the zone {name!r} at {hour:.4f} h, one must be alone")
                    break
        return found

    def _capacity_violations(self) -> list[str]:
        found = []
        dedicated = {team.name for team in self.instance.teams if team.dedicated}
        for resource, (moves, units) in self._use.items():
            most = self.instance.capacity[resource]
            if resource in self.instance.levels:
                found += self._absences(resource)
            if max(units) > most:
                number = next(number for number, people in enumerate(units) if people > most)
                at_h = moves[number - 1][0]
                found.append(f"{resource!r} needs {units[number]} people at {at_h:.4f} h, more than its {most}")
            elif resource in dedicated:
                steps = list(accumulate([more for _, _, more in moves]))
                if max(steps) > 1:
                    number = next(number for number, count in enumerate(steps) if count > 1)
                    found.append(
                        f"the dedicated team {resource!r} works on {steps[number]} steps at {moves[number][0]:.4f} h"
                    )
        return found

    def _absences(self, resource: str) -> list[str]:
        """Where more units of a resource are in use than there are at that time: at most one sentence.

        A sweep over the steps and over the changes of what is there; a step that begins or ends within the tolerance
        of a change is on its good side.
        """
        levels = self.instance.levels[resource]
        ends = [hour for hour, _ in levels[1:]] + [float("inf")]
        for (from_h, there), to_h in zip(levels, ends, strict=True):
            inside: list[tuple[float, int]] = []
            for (_, mode, start_h, _), end_h in zip(self.steps, self._ends_h, strict=True):
                units = sum(units for name, units in mode.demand if name == resource)
                begin_h, finish_h = max(start_h, from_h), min(end_h, to_h)
                if units and finish_h > begin_h + TOLERANCE_H:
                    inside += (begin_h + TOLERANCE_H, units), (finish_h, -units)
            at_work = 0
            for hour, units in sorted(inside):
                at_work += units
                if at_work > there:
                    return [f"{resource!r} needs {at_work} people at {hour:.4f} h, when {there} are there"]
        return []

    def _overuse(self, status: Status) -> list[str]:
        """For each resource the first time at which a step that is no fact is at work and more is in use than is there.

        A sweep over times at which something begins, ends or changes, each moved into the stretch that follows it.
        """
        facts, found = status.facts, []
        dedicated = {team.name for team in self.instance.teams if team.dedicated}
        by_resource: dict[str, list[tuple[float, float, int, bool]]] = {}  # start, end, units, whether it is no fact
        for (step, mode, start_h, _), end_h in zip(self.steps, self._ends_h, strict=True):
            for name, units in mode.demand:
                by_resource.setdefault(name, []).append((start_h, end_h, units, step.id not in facts))
        for name, uses in by_resource.items():
            levels = self.instance.levels.get(name, ((0.0, self.instance.capacity[name]),))
            changes = [(start_h + TOLERANCE_H, units, 1, is_open) for start_h, end_h, units, is_open in uses]
            changes += [(end_h, -units, -1, is_open) for _, end_h, units, is_open in uses]
            changes += [(hour + TOLERANCE_H, 0, 0, False) for hour, _ in levels]  # where fewer may be there
            at_work = steps = n_open = 0
            changes.sort()
            for number, (hour, units, more, is_open) in enumerate(changes):
                at_work, steps, n_open = at_work + units, steps + more, n_open + more * is_open
                if number + 1 < len(changes) and changes[number + 1][0] <= hour + TOLERANCE_H:
                    continue
                there = before(levels, hour + TOLERANCE_H)
                if n_open and (at_work > there or (name in dedicated and steps > 1)):
                    found.append(
                        f"{name!r} has {at_work} people at work on {steps} steps at {hour:.4f} h; {there} are there"
                    )
                    break
        return found

    @cached_property
    def _crew_hours(self) -> dict[str, float]:
        teams = {team.name for team in self.instance.teams}
        total: dict[str, float] = {}
        for placed in self.steps:
            for resource, units in placed.mode.demand:
                if resource in teams:
                    total[resource] = total.get(resource, 0.0) + units * placed.mode.duration_h
        return total

    def _share(self, crew_hours: float, teams: list[Team]) -> float:
        """`crew_hours` over the hours, until the makespan, of the people of `teams` who are there."""
        constant, changing = 0, 0.0
        for team in teams:
            if isinstance(team.availability, tuple):
                changing += person_hours(team.people, self.makespan_h)
            else:
                constant += team.headcount if team.availability is None else team.availability
        available = constant * self.makespan_h + changing
        return min(1.0, crew_hours / available) if available > 0.0 else 0.0


def _status_violations(placed: ScheduledStep, status: Status) -> list[str]:
    """What contradicts the status in the placement of one step: its fact, the data date, or its pin."""
    step_id, start_h = placed.step.id, placed.start_h
    fact, pin = status.facts.get(step_id), status.pinned.get(step_id)
    if fact is not None:
        happened = (fact.start_h, fact.end_h, fact.crew)
        as_placed = (start_h, placed.end_h, placed.crew)
        is_same = all(abs(a - b) <= TOLERANCE_H for a, b in zip(happened, as_placed, strict=True))
        return [] if is_same else [f"step {step_id!r} is {fact.status} as {happened}, not as {as_placed}"]
    found = []
    if start_h < status.data_date_h - TOLERANCE_H:
        found.append(f"step {step_id!r} starts at {start_h:.4f} h, before the data date {status.data_date_h} h")
    if pin is not None and pin.start_h is not None and abs(start_h - pin.start_h) > TOLERANCE_H:
        found.append(f"step {step_id!r} starts at {start_h:.4f} h; {pin.start_h} h is promised")
    if pin is not None and pin.crew not in (None, placed.crew):
        found.append(f"step {step_id!r} has {placed.crew} people; {pin.crew} are promised")
    return found


@dataclass(frozen=True)
class Solution:
    """A schedule, its lower bound, and how it was found."""

    schedule: Schedule
    lower_bound_h: float  # no schedule of the instance is shorter
    stage: str  # the method that found it: "greedy", "sampling", a rule's name, ...
    evaluations: int  # complete schedules that were built
    instance_bound_h: float  # the lower bound before the search; it is the same for every solver
    policy_makespan_h: float  # makespan of the solver's own schedule, without a search: the result of a budget of 0
    is_cut_short: bool = False  # the search built fewer schedules than `improvement.min_search_evaluations`
    tardiness_bound_h: float | None = None  # no schedule has a lower weighted tardiness; None unless that was asked for

    @property
    def gap(self) -> float:
        """The makespan's excess over the lower bound, as a share of the bound, >= 0."""
        if self.lower_bound_h <= 0.0:
            return 0.0
        return max(0.0, self.schedule.makespan_h / self.lower_bound_h - 1.0)

    @property
    def objective_bound_h(self) -> float:
        """The lower bound on what was asked for: the makespan, or the weighted tardiness."""
        return self.lower_bound_h if self.tardiness_bound_h is None else self.tardiness_bound_h

    @property
    def objective_gap(self) -> float | None:
        """As `gap`, of what was asked for; None if its bound is 0 and it is not."""
        if self.tardiness_bound_h is None:
            return self.gap
        excess_h = self.schedule.weighted_tardiness_h - self.tardiness_bound_h
        if excess_h <= TOLERANCE_H:
            return 0.0
        return excess_h / self.tardiness_bound_h if self.tardiness_bound_h > 0.0 else None
