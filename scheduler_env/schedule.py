"""A finished plan: who does what when, how long it takes, and whether it keeps every rule."""

from bisect import bisect_left, bisect_right
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate

from scheduler_env.errors import InvalidSchedule
from scheduler_env.problem import Instance, Mode, Step

TOLERANCE_H = 1e-6
"""Times closer than this (3.6 ms) count as equal: they are sums of floating-point durations."""


@dataclass(frozen=True, slots=True)
class ScheduledStep:
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
        return max(placed.end_h for placed in self.steps)

    @cached_property
    def team_utilization(self) -> dict[str, float]:
        """Of each team that the instance uses: crew-hours at work over headcount times makespan, 0..1."""
        crew_hours = self._crew_hours()
        return {
            team.name: self._share(crew_hours[team.name], team.headcount)
            for team in self.instance.teams
            if team.name in crew_hours
        }

    @cached_property
    def resource_utilization(self) -> float:
        """Of the plant: crew-hours of all used teams over their headcounts times makespan, 0..1."""
        crew_hours = self._crew_hours()
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
        by_end = sorted(self.steps, key=lambda placed: placed.end_h)
        ends = [placed.end_h for placed in by_end]
        busy = self._busy_before()
        capacity = self.instance.capacity
        found: set[str] = set()
        waiting = [placed for placed in by_end if placed.end_h >= self.makespan_h - TOLERANCE_H]
        while waiting:
            placed = waiting.pop()
            if placed.step.id in found:
                continue
            found.add(placed.step.id)
            if placed.start_h <= TOLERANCE_H:
                continue
            before = set(self.instance.predecessors[index[placed.step.id]])
            scarce = {name for name, units in placed.mode.demand if units + busy(name, placed.start_h) > capacity[name]}
            just_before = slice(
                bisect_left(ends, placed.start_h - TOLERANCE_H), bisect_right(ends, placed.start_h + TOLERANCE_H)
            )
            waiting += [
                other
                for other in by_end[just_before]
                if other is not placed
                and (index[other.step.id] in before or any(name in scarce for name, _ in other.mode.demand))
            ]
        return frozenset(found)

    def _busy_before(self) -> Callable[[str, float], int]:
        """How many units of a resource are at work just before a time."""
        changes: dict[str, list[tuple[float, int]]] = {}
        for placed in self.steps:
            for name, units in placed.mode.demand:
                changes.setdefault(name, []).extend([(placed.start_h, units), (placed.end_h, -units)])
        times: dict[str, list[float]] = {}
        totals: dict[str, list[int]] = {}
        for name, moves in changes.items():
            moves.sort()
            times[name] = [time for time, _ in moves]
            totals[name] = list(accumulate((units for _, units in moves), initial=0))
        return lambda name, hour: totals[name][bisect_left(times[name], hour - TOLERANCE_H)]

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
        for placed in self.steps:
            if placed.step.id in ends:
                found.append(f"step {placed.step.id!r} is placed twice")
            ends[placed.step.id] = placed.end_h
            if placed.mode not in placed.step.modes:
                found.append(f"step {placed.step.id!r} is done in a mode that it does not have: {placed.mode}")
            if not placed.start_h >= -TOLERANCE_H:
                found.append(f"step {placed.step.id!r} starts at {placed.start_h} h, before the shutdown")
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
            raise InvalidSchedule(f"{len(found)} violations: " + "; ".join(found[:5]))

    def _precedence_violations(self, ends: dict[str, float]) -> list[str]:
        found = []
        by_workpoint: dict[str, list[ScheduledStep]] = {}
        for placed in self.steps:
            by_workpoint.setdefault(placed.step.workpoint_id, []).append(placed)
            for predecessor in placed.step.predecessors:
                if placed.start_h < ends[predecessor] - TOLERANCE_H:
                    found.append(
                        f"step {placed.step.id!r} starts at {placed.start_h:.4f} h, before its predecessor "
                        f"{predecessor!r} ends at {ends[predecessor]:.4f} h"
                    )
        for placed_steps in by_workpoint.values():
            ordered = [placed for placed in placed_steps if placed.step.order is not None]
            ordered.sort(key=lambda placed: placed.step.order or 0)
            latest_lower = latest = 0.0  # end of all lower orders; end of everything seen so far
            order = None
            for placed in ordered:
                if placed.step.order != order:
                    order, latest_lower = placed.step.order, latest
                if placed.start_h < latest_lower - TOLERANCE_H:
                    found.append(
                        f"step {placed.step.id!r} of order {order} starts at {placed.start_h:.4f} h, before the lower "
                        f"orders of its work point end at {latest_lower:.4f} h"
                    )
                latest = max(latest, placed.end_h)
        return found

    def _capacity_violations(self) -> list[str]:
        found = []
        dedicated = {team.name for team in self.instance.teams if team.dedicated}
        for resource, units in self.instance.capacity.items():
            changes: list[tuple[float, int, int]] = []  # (time, people, steps); ends before starts at equal times
            for placed in self.steps:
                demand = sum(amount for name, amount in placed.mode.demand if name == resource)
                if demand and placed.mode.duration_h > 0.0:
                    changes.append((placed.start_h + TOLERANCE_H, demand, 1))
                    changes.append((placed.end_h, -demand, -1))
            changes.sort()
            people = steps = 0
            for time, more_people, more_steps in changes:
                people += more_people
                steps += more_steps
                if people > units:
                    found.append(f"{resource!r} is over its {units} people at {time:.4f} h: {people}")
                    break
                if resource in dedicated and steps > 1:
                    found.append(f"the dedicated team {resource!r} is on {steps} steps at {time:.4f} h")
                    break
        return found

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

    @property
    def gap(self) -> float:
        """How much longer than the lower bound the schedule is, as a share of the bound, >= 0."""
        if self.lower_bound_h <= 0.0:
            return 0.0
        return max(0.0, self.schedule.makespan_h / self.lower_bound_h - 1.0)
