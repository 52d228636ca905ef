"""An exact solver for small residual instances that shares nothing with the product: CP-SAT on the instance itself."""

from itertools import pairwise

from ortools.sat.python import cp_model

from scheduler_env import Instance

TICKS = 10_000
"""Per hour. Durations are rounded down, so the optimum is at most one tick per step below the true one."""


def optimum_h(instance: Instance, limit_s: float = 3_600.0) -> float | None:
    """The optimum, at most `len(instance.steps) / TICKS` below the true one; None if it is not proved in time."""
    model = cp_model.CpModel()
    horizon = int(
        TICKS
        * (
            max((interval.to_h for team in instance.teams for interval in _intervals(team)), default=0.0)
            + max(step.release_h for step in instance.steps)
            + sum(max(mode.duration_h for mode in step.modes) for step in instance.steps)
        )
    )
    begin, end, demands = [], [], {name: [] for name in instance.capacity}
    for number, step in enumerate(instance.steps):
        begin.append(model.new_int_var(round(step.release_h * TICKS), horizon, ""))
        end.append(model.new_int_var(0, horizon, ""))
        chosen = []
        for mode in step.modes:
            length, literal = int(mode.duration_h * TICKS + 1e-6), model.new_bool_var("")
            chosen.append(literal)
            model.add(end[number] == begin[number] + length).only_enforce_if(literal)
            interval = model.new_optional_fixed_size_interval_var(begin[number], length, literal, "")
            for name, units in mode.demand:
                demands[name].append((interval, units))
        model.add_exactly_one(chosen)
    for number, before in enumerate(instance.predecessors):
        for other in before:
            model.add(begin[number] >= end[other])
    for team in instance.teams:
        most = team.headcount
        if isinstance(team.availability, int):
            most = team.availability
        most = max([most, *(interval.people for interval in _intervals(team))])
        rows = list(demands[team.name])
        # Everybody above those who are there is at work elsewhere.
        hours = sorted({0.0, horizon / TICKS, *(h for i in _intervals(team) for h in (i.from_h, i.to_h))})
        for from_h, to_h in pairwise(hours):
            there = next(
                (i.people for i in _intervals(team) if i.from_h <= from_h < i.to_h),
                team.headcount if not isinstance(team.availability, int) else team.availability,
            )
            if most > there:
                away = model.new_fixed_size_interval_var(round(from_h * TICKS), round((to_h - from_h) * TICKS), "")
                rows.append((away, most - there))
        model.add_cumulative([interval for interval, _ in rows], [units for _, units in rows], most)
        if team.dedicated:
            model.add_no_overlap([interval for interval, _ in demands[team.name]])
    for name, units in instance.places.items():
        model.add_cumulative([i for i, _ in demands[name]], [u for _, u in demands[name]], units)
    makespan = model.new_int_var(0, horizon, "")
    model.add_max_equality(makespan, end)
    model.minimize(makespan)
    solver = cp_model.CpSolver()
    solver.parameters.max_time_in_seconds = limit_s
    solver.parameters.num_workers = 1
    return solver.objective_value / TICKS if solver.solve(model) == cp_model.OPTIMAL else None


def _intervals(team):
    return team.availability if isinstance(team.availability, tuple) else ()
