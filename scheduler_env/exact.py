"""CP-SAT (Google OR-Tools), an exact solver that shortens a schedule or proves that it is optimal.

The model is the usual one of the multi-mode resource-constrained project scheduling problem (Laborie et al. 2018): an
optional interval per mode, a cumulative constraint per renewable resource, precedence, minimum makespan. CP-SAT uses
integer ticks. Durations are rounded down to ticks, so the proved bound also holds for the true durations. The solver's
schedule is decoded with the true durations and taken only if it is shorter.
"""

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from scheduler_env.cores import SOLVER_THREADS
from scheduler_env.incumbent import Incumbent
from scheduler_env.kernel import Floats, Ints, Problem
from scheduler_env.serial import FORWARDS, decode, new_decoder

if TYPE_CHECKING:
    from ortools.sat.python.cp_model import CpModel, CpSolver, IntervalVar, IntVar, LinearExprT

MAX_HORIZON_TICKS = 10**7
TICKS_PER_HOUR = 1000
"""Unless the horizon would be longer than `MAX_HORIZON_TICKS`."""
STAGE = "cpsat"
WEIGHT_UNITS = 1000
"""Weights are rounded down to one in so many, so that the proved bound also holds for the true ones."""


def improve_exactly(
    problem: Problem,
    incumbent: Incumbent,
    *,
    lower_bound_h: float,
    deadline_s: float,
    seed: int = 0,
    workers: int = 1,
    on_shorter: Callable[[float], None] | None = None,
) -> float:
    """Shorten `incumbent`, a complete schedule that is also the solver's warm start, until `deadline_s`.

    Args:
        lower_bound_h: a proved bound, passed to the solver.
        deadline_s: a time of `time.perf_counter`; the solver gets the time that remains after the model is built.
        workers: maximum number of solver threads; fewer while other searches use the cores (`SOLVER_THREADS`). With one
            thread the result is deterministic if the solver finishes before the deadline.
        on_shorter: called with each makespan that the solver finds, in hours of the rounded durations.

    Returns:
        A lower bound on the makespan in hours, at least `lower_bound_h`; the makespan itself if it is optimal.
    """
    from ortools.sat.python import cp_model  # importing it takes half a second; only this solver needs it

    class OnSolution(cp_model.CpSolverSolutionCallback):
        def on_solution_callback(self) -> None:
            if on_shorter is not None:
                on_shorter(self.objective_value / ticks)

    ticks = min(TICKS_PER_HOUR, MAX_HORIZON_TICKS / max(incumbent.makespan_h, 1e-9))
    model = cp_model.CpModel()
    horizon = int(np.ceil(incumbent.makespan_h * ticks)) + 1
    start, _, chosen, makespan = _build(model, problem, ticks, horizon, min(int(lower_bound_h * ticks), horizon))
    model.minimize(makespan)
    _hint(model, problem, start, chosen, incumbent.mode, incumbent.start, ticks)
    left_s = deadline_s - time.perf_counter()
    if left_s <= 0.0:
        return lower_bound_h
    solver = cp_model.CpSolver()
    solver.parameters.max_time_in_seconds = left_s
    solver.parameters.random_seed = seed % 2**31
    with SOLVER_THREADS.take(workers) as solver.parameters.num_workers:
        status = solver.solve(model, OnSolution())
    incumbent.evaluations += 1
    if status in (cp_model.OPTIMAL, cp_model.FEASIBLE):
        mode, begin = _decoded(solver, problem, start, chosen)
        incumbent.take(mode, begin, float((begin + problem.duration[mode]).max()), STAGE)
    if status in (cp_model.OPTIMAL, cp_model.FEASIBLE, cp_model.UNKNOWN):
        proved_h = solver.best_objective_bound / ticks
        return min(max(lower_bound_h, proved_h), incumbent.makespan_h)
    return lower_bound_h


def _hint(
    model: "CpModel",
    problem: Problem,
    start: list["IntVar"],
    chosen: list["IntVar"],
    mode: Ints,
    begin: Floats,
    ticks: float,
) -> None:
    """The schedule in `mode` and `begin` as the solver's warm start."""
    for j, variable in enumerate(start):
        model.add_hint(variable, int(begin[j] * ticks))
        for m in range(problem.mode_at[j], problem.mode_at[j + 1]):
            model.add_hint(chosen[m], int(m == mode[j]))


def _build(
    model: "CpModel", problem: Problem, ticks: float, horizon: int, least: int
) -> tuple[list["IntVar"], list["IntVar"], list["IntVar"], "IntVar"]:
    """Build the model without an objective.

    Returns the start and the end of each activity, the choice variable of each mode, and the makespan (>= `least`).
    """
    length = np.floor(problem.duration * ticks + 1e-9).astype(np.int64).tolist()
    n = problem.shortest.size
    makespan = model.new_int_var(least, horizon, "makespan")
    ends = []
    start = [model.new_int_var(int(problem.release[j] * ticks), horizon, f"start{j}") for j in range(n)]
    chosen = [model.new_bool_var(f"mode{m}") for m in range(problem.duration.size)]
    of_resource: list[list[tuple[IntervalVar, int]]] = [[] for _ in range(problem.capacity.size)]
    for j in range(n):
        modes = range(problem.mode_at[j], problem.mode_at[j + 1])
        model.add_exactly_one(chosen[m] for m in modes)
        lengths = [length[m] for m in modes]
        hours = model.new_int_var(min(lengths), max(lengths), f"length{j}")
        end = model.new_int_var(0, horizon, f"end{j}")
        ends.append(end)
        model.new_interval_var(start[j], hours, end, f"step{j}")
        model.add(makespan >= end)
        for m in modes:
            # The intervals of the modes do not share the end variable: with it, OR-Tools 9.15 returns wrong bounds
            # (a case is in tests/test_exact.py).
            interval = model.new_optional_fixed_size_interval_var(start[j], length[m], chosen[m], f"mode{m}")
            model.add(hours == length[m]).only_enforce_if(chosen[m])
            for d in range(problem.demand_at[m], problem.demand_at[m + 1]):
                of_resource[problem.demand_resource[d]].append((interval, int(problem.demand_units[d])))
        for e in range(problem.successor_at[j], problem.successor_at[j + 1]):
            model.add(start[problem.successors[e]] >= end)
    for k, demands in enumerate(of_resource):
        intervals = [interval for interval, _ in demands]
        absent = _absences(model, problem, k, ticks, horizon)
        intervals += [interval for interval, _ in absent]
        units = [units for _, units in (*demands, *absent)]
        model.add_cumulative(intervals, units, int(problem.capacity[k]))
    return start, ends, chosen, makespan


def _absences(
    model: "CpModel", problem: Problem, k: int, ticks: float, horizon: int
) -> "list[tuple[IntervalVar, int]]":
    """The units of a resource that are not there, as intervals whose ends are rounded down like those of activities."""
    rows = problem.levels[problem.level_at[k] : problem.level_at[k + 1]].tolist()
    ends = [int(from_h * ticks + 1e-9) for from_h, _, _ in rows[1:]] + [horizon]
    found = []
    for (from_h, there, _), end in zip(rows, ends, strict=False):  # a resource without rows is always there
        begin, absent = int(from_h * ticks + 1e-9), int(problem.capacity[k]) - int(there)
        if absent > 0 and begin < min(end, horizon):
            interval = model.new_fixed_size_interval_var(begin, min(end, horizon) - begin, f"absent{k}")
            found.append((interval, absent))
    return found


def _decoded(
    solver: "CpSolver", problem: Problem, starts: list["IntVar"], chosen: list["IntVar"]
) -> tuple[Ints, Floats]:
    """The solver's modes, and the starts that its order of starts gives with the true durations."""
    mode = np.array(
        [
            next(m for m in range(problem.mode_at[j], problem.mode_at[j + 1]) if solver.value(chosen[m]))
            for j in range(len(starts))
        ],
        dtype=np.int64,
    )
    begin = np.array([solver.value(variable) for variable in starts], dtype=np.float64)
    place = np.empty(begin.size)
    place[problem.topological] = np.arange(begin.size)
    order = np.lexsort((place, begin)).astype(np.int64)
    start = np.empty(begin.size)
    decoder = new_decoder(problem)
    decode(problem, decoder, order, mode, problem.successor_at, problem.successors, start, np.inf, FORWARDS)
    return mode, start


class Lateness(NamedTuple):
    """What each hour of a work point after `due_h` costs."""

    workpoint: int
    due_h: float
    weight: float


def improve_dates_exactly(
    problem: Problem,
    workpoint_of: Ints,
    ranks: Sequence[Sequence[Lateness]],
    mode: Ints,
    start: Floats,
    *,
    ends_by_h: float,
    deadline_s: float,
    seed: int = 0,
    workers: int = 1,
) -> tuple[Ints, Floats, float]:
    """A schedule with less lateness than the given one, as far as it is found until `deadline_s`.

    Args:
        workpoint_of: number of the work point of each activity; `problem.shortest.size` of them.
        ranks: what is to be least first, second, and so on: sums of lateness; an empty one stands for the makespan.
        ends_by_h: the schedule has to end by then; infinity if any end will do.

    Returns:
        Modes, starts, and a lower bound on the first of `ranks`, 0 if it is the makespan.
    """
    from ortools.sat.python import cp_model  # importing it takes half a second; only this solver needs it

    proved = 0.0
    tried: list[tuple[Sequence[Lateness], int]] = []
    end_h = float((start + problem.duration[mode]).max())
    latest_h = max([end_h, *problem.levels[:, 0], *problem.release])
    at = problem.mode_at
    longest_h = sum(float(problem.duration[at[j] : at[j + 1]].max()) for j in range(start.size))
    horizon_h = min(latest_h + longest_h, max(ends_by_h, end_h))
    ticks = min(TICKS_PER_HOUR, MAX_HORIZON_TICKS / max(horizon_h, 1e-9))
    horizon = int(np.ceil(horizon_h * ticks)) + 1
    for number, rank in enumerate(ranks):
        model = cp_model.CpModel()
        starts, ends, chosen, makespan = _build(model, problem, ticks, horizon, 0)
        for earlier, value in tried:
            model.add(_lateness(model, earlier, workpoint_of, ends, ticks, horizon, makespan) <= value)
        model.minimize(_lateness(model, rank, workpoint_of, ends, ticks, horizon, makespan))
        _hint(model, problem, starts, chosen, mode, start, ticks)
        left_s = deadline_s - time.perf_counter()
        if left_s <= 0.0:
            break
        solver = cp_model.CpSolver()
        solver.parameters.max_time_in_seconds = left_s
        solver.parameters.random_seed = seed % 2**31
        with SOLVER_THREADS.take(workers) as solver.parameters.num_workers:
            status = solver.solve(model)
        if status in (cp_model.OPTIMAL, cp_model.FEASIBLE):
            mode, start = _decoded(solver, problem, starts, chosen)
            tried.append((rank, int(solver.objective_value)))
        if number == 0 and rank and status in (cp_model.OPTIMAL, cp_model.FEASIBLE, cp_model.UNKNOWN):
            proved = max(0.0, solver.best_objective_bound / ticks / WEIGHT_UNITS)
        if status != cp_model.OPTIMAL:
            break
    return mode, start, proved


def _lateness(
    model: "CpModel",
    rank: Sequence[Lateness],
    workpoint_of: Ints,
    ends: list["IntVar"],
    ticks: float,
    horizon: int,
    makespan: "IntVar",
) -> "LinearExprT":
    """The sum of a rank, in ticks / `WEIGHT_UNITS`, never above the true one; the makespan in ticks if it is empty."""
    if not rank:
        return makespan
    late = []
    for workpoint, due_h, weight in rank:
        variable = model.new_int_var(0, horizon, f"late{workpoint}")
        due = int(np.ceil(due_h * ticks - 1e-9))
        for j in np.flatnonzero(workpoint_of == workpoint):
            model.add(variable >= ends[j] - due)
        late.append(int(weight * WEIGHT_UNITS + 1e-9) * variable)
    return sum(late)
