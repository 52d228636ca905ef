"""A finished plan: who does what when, how long it takes, and whether it keeps every rule."""

from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from typing import NamedTuple

from scheduler_env.errors import InvalidSchedule
from scheduler_env.problem import Instance, Mode, Step

TOLERANCE_H = 1e-6
"""Times closer than this (3.6 ms) count as equal: they are sums of floating-point durations."""


class ScheduledStep(NamedTuple):
    """A step with its mode and its start; ends after the mode's duration (no preemption)."""

    step: Step
    mode: Mode
    start_h: float

    @property
    def end_h(self) -> float:
        return self.start_h + self.mode.duration_h

    @property
    def crew(self) -> int:
        """People of the step's team at work on it from start to end."""
        return self.step.crew(self.mode)


@dataclass(frozen=True)
class Schedule:
    """Every step of `instance` placed in time. `violations()` says whether it may be carried out."""

    instance: Instance
    steps: tuple[ScheduledStep, ...]

    @cached_property
    def makespan_h(self) -> float:
        """The end of the last step, hours after the start of the shutdown."""
        return max(self._ends_h)

    @cached_property
    def _ends_h(self) -> list[float]:
        return [start_h + mode.duration_h for _, mode, start_h in self.steps]

    @cached_property
    def team_utilization(self) -> dict[str, float]:
        """Of each team that the instance uses: crew-hours at work over headcount times makespan, 0..1."""
        crew_hours = self._crew_hours
        return {
            team.name: self._share(crew_hours[team.name], team.headcount)
            for team in self.instance.teams
            if team.name in crew_hours
        }

    @cached_property
    def resource_utilization(self) -> float:
        """Of the plant: crew-hours of all used teams over their headcounts times makespan, 0..1."""
        crew_hours = self._crew_hours
        headcount = sum(team.headcount for team in self.instance.teams if team.name in crew_hours)
        return self._share(sum(crew_hours.values()), headcount)

    @cached_property
    def critical_steps(self) -> frozenset[str]:
        """Ids of the steps on a critical sequence: delay one of them, and the plant restarts later.

        From the steps that end last, back along whatever each had to wait for: predecessors and lower orders that end
        when it starts, and the steps that then free people of whom there were too few. A sequence begins at time 0,
        or where a step waits for nothing.

        Source: Wiest 1964, Some properties of schedules for large projects with limited resources.
        """
        index = {step.id: number for number, step in enumerate(self.instance.steps)}
        predecessors, capacity = self.instance.predecessors, self.instance.capacity
        by_end = sorted(zip(self._ends_h, range(len(self.steps)), strict=True))
        ends = [end_h for end_h, _ in by_end]
        found: set[int] = set()
        waiting = [number for end_h, number in by_end if end_h >= self.makespan_h - TOLERANCE_H]
        while waiting:
            number = waiting.pop()
            if number in found:
                continue
            found.add(number)
            step, mode, start_h = self.steps[number]
            if start_h <= TOLERANCE_H:
                continue
            before = predecessors[index[step.id]]
            scarce = {name for name, units in mode.demand if units + self._busy_before(name, start_h) > capacity[name]}
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
        """Of each resource: when units are taken and given back, in time (hours, units, steps), and the units in use
        before the first of these moves, before the second, ..., and after the last.

        What is given back at the time when something else is taken comes first.
        """
        found: dict[str, list[tuple[float, int, int]]] = {}
        for (_, mode, start_h), end_h in zip(self.steps, self._ends_h, strict=True):
            if mode.duration_h > 0.0:
                for name, units in mode.demand:
                    moves = found.get(name) or found.setdefault(name, [])
                    moves += (start_h + TOLERANCE_H, units, 1), (end_h, -units, -1)
        for moves in found.values():
            moves.sort()
        return {name: (moves, [0, *accumulate([units for _, units, _ in moves])]) for name, moves in found.items()}

    def _busy_before(self, resource: str, hour: float) -> int:
        """How many units of a resource are in use just before a time."""
        moves, units = self._use.get(resource, ([], [0]))
        return units[bisect_left(moves, (hour - TOLERANCE_H,))]

    def violations(self) -> list[str]:
        """What breaks a rule, in words; empty when the schedule may be carried out.

        Checked from the instance alone, by a sweep that shares no code with the kernel: every step placed once,
        in one of its own modes (this covers crew limits, dedicated teams and durations; no preemption follows), not
        before time 0, after its predecessors and every lower order of its work point, and no team over its headcount.
        """
        return list(self._violations)

    @cached_property
    def _violations(self) -> tuple[str, ...]:
        """Worked out once: whoever builds a schedule checks it, and so does whoever answers with it."""
        found: list[str] = []
        ends: dict[str, float] = {}
        for (step, mode, start_h), end_h in zip(self.steps, self._ends_h, strict=True):
            if step.id in ends:
                found.append(f"step {step.id!r} is placed twice")
            ends[step.id] = end_h
            if mode not in step.modes:
                found.append(f"step {step.id!r} is done in a mode that it does not have: {mode}")
            if not start_h >= -TOLERANCE_H:
                found.append(f"step {step.id!r} starts at {start_h} h, before the shutdown")
        missing = [step.id for step in self.instance.steps if step.id not in ends]
        found += [f"step {step_id!r} is not placed" for step_id in missing]
        if not missing and len(ends) != len(self.instance.steps):
            found.append("a step is placed that the instance does not have")
        if not missing:
            found += self._precedence_violations(ends)
        return (*found, *self._capacity_violations())

    def check(self) -> None:
        """Nothing, if the schedule keeps every rule.

        Raises:
            InvalidSchedule: it does not; the text lists the first violations.
        """
        found = self.violations()
        if found:
            raise InvalidSchedule("violations", n=len(found), first=found[:5])

    def _precedence_violations(self, ends: dict[str, float]) -> list[str]:
        found = []
        ordered: dict[str, list[tuple[int, float, float, str]]] = {}  # of each work point: order, start, end, step
        for (step, _, start_h), end_h in zip(self.steps, self._ends_h, strict=True):
            if step.order is not None:
                ordered.setdefault(step.workpoint_id, []).append((step.order, start_h, end_h, step.id))
            for predecessor in step.predecessors:
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
                if start_h < latest_lower - TOLERANCE_H:
                    found.append(
                        f"step {step_id!r} of order {order} starts at {start_h:.4f} h, before the lower "
                        f"orders of its work point end at {latest_lower:.4f} h"
                    )
                latest = max(latest, end_h)
        return found

    def _capacity_violations(self) -> list[str]:
        found = []
        dedicated = {team.name for team in self.instance.teams if team.dedicated}
        for resource, (moves, units) in self._use.items():
            most = self.instance.capacity[resource]
            if max(units) > most:
                number = next(number for number, people in enumerate(units) if people > most)
                found.append(f"{resource!r} is over its {most} people at {moves[number - 1][0]:.4f} h: {units[number]}")
            elif resource in dedicated:
                steps = list(accumulate([more for _, _, more in moves]))
                if max(steps) > 1:
                    number = next(number for number, count in enumerate(steps) if count > 1)
                    found.append(
                        f"the dedicated team {resource!r} is on {steps[number]} steps at {moves[number][0]:.4f} h"
                    )
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

    def _share(self, crew_hours: float, headcount: int) -> float:
        available = headcount * self.makespan_h
        return min(1.0, crew_hours / available) if available > 0.0 else 0.0


@dataclass(frozen=True)
class Solution:
    """A schedule with what is known of its quality and how it was found."""

    schedule: Schedule
    lower_bound_h: float  # no schedule of the instance is shorter
    stage: str  # what found it: "greedy", "sampling", a rule's name, ...
    evaluations: int  # complete schedules that were built
    instance_bound_h: float  # what was known before anything was built: the same whoever schedules
    policy_makespan_h: float  # of the solver's own schedule, before any search or proof: what a budget of 0 answers
    is_cut_short: bool = False  # the search ended long before one that is worth its name

    @property
    def gap(self) -> float:
        """How much longer than the lower bound the schedule is, as a share of the bound, >= 0."""
        if self.lower_bound_h <= 0.0:
            return 0.0
        return max(0.0, self.schedule.makespan_h / self.lower_bound_h - 1.0)
