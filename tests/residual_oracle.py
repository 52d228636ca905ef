"""An exact solver for small residual instances that shares nothing with the product: CP-SAT on the instance itself."""

from collections.abc import Mapping
from itertools import combinations, pairwise
from typing import Any

from ortools.sat.python import cp_model

from scheduler_env import Instance
from scheduler_env.availability import Interval
from scheduler_env.problem import Team

TICKS = 10_000
"""Per hour. Durations are rounded down, so the optimum is at most one tick per step below the true one."""
INFEASIBLE = float("inf")


def optimum_h(instance: Instance, limit_s: float = 3_600.0) -> float | None:
    """The optimum, at most `len(instance.steps) / TICKS` below the true one; infinity if there is no schedule.

    None if it is not proved in time. Steps that are done or at work are where they were, whatever they contradict.
    """
    return _Model(instance).shortest(limit_s)


def least_shift_h(instance: Instance, latest_h: float, limit_s: float = 3_600.0) -> float | None:
    """The least sum of |start - published start| over the open steps, of all schedules that end by `latest_h`."""
    return _Model(instance).steadiest(latest_h, limit_s)


def best_values(instance: Instance, *ranks: str, limit_s: float = 3_600.0, ends_by_h: float | None = None) -> Any:
    """The least of each of `ranks` ("missed", "tardiness", "makespan"), while those before it stay least.

    None if one of them is not proved in time, infinity if there is no schedule. "missed" is in hours after deadlines.
    """
    return _Model(instance).ranked(ranks, limit_s, ends_by_h)


class _Model:
    def __init__(self, instance: Instance) -> None:
        self.instance, self.model = instance, cp_model.CpModel()
        status = instance.status
        facts = {} if status is None else status.facts
        pinned = {} if status is None else status.pinned
        now_h = 0.0 if status is None else status.data_date_h
        model = self.model
        promised = [pin.start_h for pin in pinned.values() if pin.start_h is not None]
        horizon = self.horizon = int(
            TICKS
            * (
                max((interval.to_h for team in instance.teams for interval in _intervals(team)), default=0.0)
                + max(step.release_h for step in instance.steps)
                + sum(max(mode.duration_h for mode in step.modes) for step in instance.steps)
                + max([now_h, *promised, *(fact.end_h for fact in facts.values())])
            )
        )
        self.begin: list[Any] = []
        self.end: list[Any] = []
        demands: dict[str, list[tuple[Any, int]]] = {name: [] for name in instance.capacity}
        running: dict[str, list[tuple[float, int]]] = {name: [] for name in instance.capacity}  # (end, units)
        for step in instance.steps:
            fact = facts.get(step.id)
            if fact is not None:
                self.begin.append(round(fact.start_h * TICKS))
                self.end.append(round(fact.end_h * TICKS))
                if fact.status == "running":
                    running[step.team].append((fact.end_h, fact.crew))
                    for place in {name for name, _ in step.modes[0].demand} - {step.team}:
                        running[place].append((fact.end_h, dict(step.modes[0].demand)[place]))
                continue
            begin = model.new_int_var(round(max(step.release_h, now_h) * TICKS), horizon, "")
            end = model.new_int_var(0, horizon, "")
            self.begin.append(begin)
            self.end.append(end)
            chosen = []
            for mode in step.modes:
                length, literal = int(mode.duration_h * TICKS + 1e-6), model.new_bool_var("")
                chosen.append(literal)
                model.add(end == begin + length).only_enforce_if(literal)
                interval = model.new_optional_fixed_size_interval_var(begin, length, literal, "")
                for name, units in mode.demand:
                    demands[name].append((interval, units))
                pin = pinned.get(step.id)
                if pin is not None and pin.crew not in (None, step.crew(mode)):
                    model.add(literal == 0)
            model.add_exactly_one(chosen)
            promised_h = pinned[step.id].start_h if step.id in pinned else None
            if promised_h is not None:
                model.add(begin == round(promised_h * TICKS))
        for number, step in enumerate(instance.steps):
            if step.id in facts:
                continue
            for other, before in enumerate(instance.steps):
                is_lower = step.order is not None and before.order is not None and before.order < step.order
                if before.id in step.predecessors or (is_lower and before.workpoint_id == step.workpoint_id):
                    model.add(self.begin[number] >= self.end[other])
        for team in instance.teams:
            most = team.headcount
            if isinstance(team.availability, int):
                most = team.availability
            usual, most = most, max([most, *(interval.people for interval in _intervals(team))])
            # Everybody above those who are free is at work elsewhere.
            rows = list(demands[team.name])
            ends = running[team.name]
            hours = {0.0, horizon / TICKS, *(h for i in _intervals(team) for h in (i.from_h, i.to_h))}
            for from_h, to_h in pairwise(sorted(hours | {end_h for end_h, _ in ends})):
                there = next((i.people for i in _intervals(team) if i.from_h <= from_h < i.to_h), usual)
                at_work = sum(units for end_h, units in ends if end_h > from_h)
                free = 0 if team.dedicated and at_work else max(0, there - at_work)
                if most > free and to_h > from_h:
                    first, last = round(from_h * TICKS), round(to_h * TICKS)
                    rows.append((model.new_fixed_size_interval_var(first, last - first, ""), most - free))
            model.add_cumulative([interval for interval, _ in rows], [units for _, units in rows], most)
            if team.dedicated:
                model.add_no_overlap([interval for interval, _ in demands[team.name]])
        self._add_zones(facts)
        for name, units in instance.places.items():
            if name.startswith("zone"):  # said in `_add_zones`, by another constraint than the product's
                continue
            rows = list(demands[name])
            for end_h, held in running[name]:
                rows.append((model.new_fixed_size_interval_var(0, round(end_h * TICKS), ""), held))
            model.add_cumulative([i for i, _ in rows], [u for _, u in rows], units)
        self.makespan = model.new_int_var(0, horizon, "")
        model.add_max_equality(self.makespan, self.end)

    def _add_zones(self, facts: Mapping[str, Any]) -> None:
        """An exclusive step overlaps no other step of its zone; two facts may."""
        zone = {
            step.id: (workpoint.zone is None, workpoint.zone or workpoint.id)
            for workpoint in self.instance.workpoints
            for step in workpoint.steps
        }
        steps = self.instance.steps
        for one, other in combinations(range(len(steps)), 2):
            a, b = steps[one], steps[other]
            are_facts = a.id in facts and b.id in facts
            if zone[a.id] != zone[b.id] or are_facts or not (a.is_exclusive or b.is_exclusive):
                continue
            is_first = self.model.new_bool_var("")
            self.model.add(self.end[one] <= self.begin[other]).only_enforce_if(is_first)
            self.model.add(self.end[other] <= self.begin[one]).only_enforce_if(~is_first)

    def shortest(self, limit_s: float) -> float | None:
        self.model.minimize(self.makespan)
        return self._solved(limit_s)

    def steadiest(self, latest_h: float, limit_s: float) -> float | None:
        model, status = self.model, self.instance.status
        assert status is not None
        assert status.published is not None
        model.add(self.makespan <= int(latest_h * TICKS))
        shifts = []
        for begin, step in zip(self.begin, self.instance.steps, strict=True):
            if step.id in status.facts or step.id not in status.published:
                continue
            shift = model.new_int_var(0, 2 * self.horizon, "")
            published_h = status.published[step.id].start_h
            assert published_h is not None
            model.add_abs_equality(shift, begin - round(published_h * TICKS))
            shifts.append(shift)
        model.minimize(sum(shifts))
        return self._solved(limit_s)

    def ranked(self, ranks: tuple[str, ...], limit_s: float, ends_by_h: float | None) -> Any:
        model, found = self.model, []
        if ends_by_h is not None:
            model.add(self.makespan <= int(ends_by_h * TICKS))
        sums: dict[str, Any] = {"makespan": self.makespan, "missed": 0, "tardiness": 0}
        for workpoint in self.instance.workpoints:
            ends = [
                end
                for end, step in zip(self.end, self.instance.steps, strict=True)
                if step.workpoint_id == workpoint.id
            ]
            for name, hour, weight in (
                ("tardiness", workpoint.due_h, workpoint.weight),
                ("missed", workpoint.deadline_h, 1),
            ):
                if hour is not None:
                    late = model.new_int_var(0, self.horizon, "")
                    for end in ends:
                        model.add(late >= end - round(hour * TICKS))
                    sums[name] += int(weight) * late
        for name in ranks:
            model.minimize(sums[name])
            value = self._solved(limit_s)
            if value is None or value == INFEASIBLE:
                return value
            found.append(value)
            model.add(sums[name] <= round(value * TICKS))
        return found

    def _solved(self, limit_s: float) -> float | None:
        solver = cp_model.CpSolver()
        solver.parameters.max_time_in_seconds = limit_s
        solver.parameters.num_workers = 1
        found = solver.solve(self.model)
        if found == cp_model.INFEASIBLE:
            return INFEASIBLE
        return solver.objective_value / TICKS if found == cp_model.OPTIMAL else None


def _intervals(team: Team) -> tuple[Interval, ...]:
    return team.availability if isinstance(team.availability, tuple) else ()
