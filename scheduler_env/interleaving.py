"""A lower bound for two or three projects that share resources, by branching over the order in which stages end.

Each project (work point) is a sequence of stages: every activity of one stage precedes every activity of the next. In
any schedule the stages of all projects end in some order. For a fixed order, the time between two consecutive ends is
an interval in which each project is in one known stage. A linear program bounds the makespan: its variables are the
lengths of the intervals and the work that each stage does on each resource in each interval. Its constraints are:

* In an interval, the work of all projects on a resource does not exceed the capacity.
* A stage takes at least as long as it would without the other projects (`decomposition`).
* A stage that takes t hours needs at least the work f(t): the sum over its activities of the minimum work over the
  modes of at most t hours. The program uses the lower convex hull of f. Shorter modes need more work; the other bounds
  do not use this.

The orders form a tree, which is searched best first (Land and Doig 1960). If the order is fixed only up to some end,
the rest is one interval in which the stages of each project follow each other, without an order between projects. The
smallest bound of a leaf is a valid bound at any time. On 20 pairs of random work points, the best known schedules are
4.3 % above this bound and 8.1 % above `bounds.lower_bound`; one pair needs about 100 linear programs.
"""

import heapq
import itertools
import time
from dataclasses import dataclass

import numpy as np

from scheduler_env.decomposition import PART_NODES, decompose_some, modes_on, projects_and_stages
from scheduler_env.incumbent import OPTIMAL_WITHIN_H
from scheduler_env.kernel import Floats, Ints, Problem

MIN_BUDGET_MS = 100.0
"""With a shorter time budget, the time is better spent on the search."""
BUDGET_SHARE = 0.3
"""Share of the time budget, at most."""
MAX_PROGRAMS = 2_000
"""Limit for any budget. For two work points the bound is final after 30 to 250 programs."""
MAX_PROJECTS = 3
MAX_MODES = 1_000
"""Three standard work points have 380. Programs grow with the modes, and building them holds the GIL."""
MAX_STAGES = 40
"""Of all projects together; with more stages there are too many orders for a useful bound."""
ROUNDING_H = 1e-9
"""Times closer together than this count as equal."""
SLACK_H = 1e-5
"""Subtracted from the solver's optimum, because each constraint holds only to within 1e-7."""


@dataclass(frozen=True, slots=True)
class _Stage:
    """The minimum length and work of a stage in any schedule."""

    length_h: float  # minimum
    work: dict[int, list[tuple[float, float]]]  # resource -> (a, b), b <= 0: at least a + b t people-hours in t hours


def bound_by_orders(
    problem: Problem, bound_h: float, makespan_h: float, deadline_s: float, max_programs: int = MAX_PROGRAMS
) -> float:
    """A lower bound on the makespan, hours; `bound_h` if the method does not apply to the problem.

    Args:
        bound_h: a known lower bound; the result is not smaller.
        makespan_h: the makespan of a known schedule; a bound that reaches it ends the search.
        deadline_s: a time of `time.perf_counter`; may be exceeded by the time of two linear programs, milliseconds.
        max_programs: limit on the linear programs solved.
    """
    project, stage = projects_and_stages(problem)
    if not 1 <= project.max() < MAX_PROJECTS or problem.duration.size > MAX_MODES:
        return bound_h
    projects = [_stages(problem, project, stage, number) for number in range(project.max() + 1)]
    ends = [len(stages) for stages in projects]
    if sum(ends) > MAX_STAGES:
        return bound_h
    # a bound, and the projects in the order in which their stages end
    frontier: list[tuple[float, tuple[int, ...]]] = [(bound_h, ())]
    programs = 0
    while programs < max_programs and time.perf_counter() < deadline_s:
        value, order = frontier[0]
        passed = [order.count(number) for number in range(len(projects))]
        if value >= makespan_h - OPTIMAL_WITHIN_H or passed == ends:
            break
        heapq.heappop(frontier)
        for number, done in enumerate(passed):
            if done < ends[number]:
                longer = (*order, number)
                programs += 1
                heapq.heappush(frontier, (max(value, _program_bound_h(problem.capacity, projects, longer)), longer))
    return min(frontier[0][0], makespan_h)


def _stages(problem: Problem, project: Ints, stage: Ints, number: int) -> list[_Stage]:
    """The stages of one project, in order."""
    members = problem.topological[project[problem.topological] == number]
    return [_stage(problem, members[stage[members] == place]) for place in range(stage[members].max() + 1)]


def _stage(problem: Problem, members: Ints) -> _Stage:
    length_h = float(decompose_some(problem, members, PART_NODES).bound)
    work = {}
    for k in range(problem.capacity.size):
        mode_at, problem_mode, units = modes_on(problem, k, members)
        if units.any():
            work[k] = _hull(length_h, mode_at, problem.duration[problem_mode], units)
    return _Stage(length_h, work)


def _hull(length_h: float, mode_at: Ints, hours: Floats, units: Ints) -> list[tuple[float, float]]:
    """The lower convex hull of the minimum work as a function of the stage's length, as lines (a, b)."""
    times = np.unique(np.append(hours[hours > length_h], length_h))
    min_work = np.zeros(times.size)
    for first, last in itertools.pairwise(mode_at):
        shortest_first = first + np.argsort(hours[first:last])
        so_far = np.minimum.accumulate(hours[shortest_first] * units[shortest_first])
        # The bound on a stage may be below its shortest mode by a rounding error.
        min_work += so_far[np.searchsorted(hours[shortest_first], times + ROUNDING_H, side="right") - 1]
    corners: list[tuple[float, float]] = []
    for corner in zip(times.tolist(), min_work.tolist(), strict=True):
        if corners and corner[1] >= corners[-1][1]:
            continue
        while len(corners) >= 2 and _slope(corners[-1], corner) <= _slope(corners[-2], corners[-1]):
            corners.pop()
        corners.append(corner)
    slopes = [_slope(one, other) for one, other in itertools.pairwise(corners)]
    lines = [(work - slope * at, slope) for (at, work), slope in zip(corners, slopes, strict=False)]
    return [*lines, (corners[-1][1], 0.0)]


def _slope(one: tuple[float, float], other: tuple[float, float]) -> float:
    return (other[1] - one[1]) / (other[0] - one[0])


class _Rows:
    """The constraints (row <= limit) of a linear program, as sparse triplets."""

    def __init__(self) -> None:
        self.row: list[int] = []
        self.column: list[int] = []
        self.value: list[float] = []
        self.limit: list[float] = []

    def add(self, columns: list[int], values: list[float], limit: float) -> None:
        self.row += [len(self.limit)] * len(columns)
        self.column += columns
        self.value += values
        self.limit.append(limit)


def _program_bound_h(capacity: Ints, projects: list[list[_Stage]], order: tuple[int, ...]) -> float:
    """The optimum, hours, of the linear program in which stages end in `order`, followed by the rest in any order."""
    from scipy.optimize import LinearConstraint, milp  # importing it takes a third of a second; few requests need it
    from scipy.sparse import csr_array

    rows = _Rows()
    rest = len(order)  # columns 0 .. rest are the lengths of the intervals; the last interval is the rest
    columns = itertools.count(rest + 1)
    hours_of: dict[tuple[int, int], list[int]] = {}  # (project, stage) -> columns that sum to its length
    work_of: dict[tuple[int, int, int], list[int]] = {}  # (project, stage, resource) -> columns that sum to its work
    passed = [0] * len(projects)
    for interval, ending in enumerate(order):
        at_work: dict[int, list[int]] = {}
        for number, stage in enumerate(passed):
            if stage < len(projects[number]):
                hours_of.setdefault((number, stage), []).append(interval)
                for k in projects[number][stage].work:
                    at_work.setdefault(k, []).append(next(columns))
                    work_of.setdefault((number, stage, k), []).append(at_work[k][-1])
        for k, worked in at_work.items():
            rows.add([*worked, interval], [*[1.0] * len(worked), -float(capacity[k])], 0.0)
        passed[ending] += 1
    at_work = {}
    for number, done in enumerate(passed):
        lengths = []
        for stage in range(done, len(projects[number])):
            lengths.append(next(columns))
            hours_of.setdefault((number, stage), []).append(lengths[-1])
            for k in projects[number][stage].work:
                at_work.setdefault(k, []).append(next(columns))
                work_of.setdefault((number, stage, k), []).append(at_work[k][-1])
        rows.add([*lengths, rest], [*[1.0] * len(lengths), -1.0], 0.0)
    for k, worked in at_work.items():
        rows.add([*worked, rest], [*[1.0] * len(worked), -float(capacity[k])], 0.0)
    for (number, stage), hours in hours_of.items():
        rows.add(hours, [-1.0] * len(hours), -projects[number][stage].length_h)
        for k, lines in projects[number][stage].work.items():
            worked = work_of[number, stage, k]
            for a, b in lines:
                rows.add([*worked, *hours], [*[-1.0] * len(worked), *[b] * len(hours)], -a)
    size = next(columns)
    cost = np.zeros(size)
    cost[: rest + 1] = 1.0
    matrix = csr_array((rows.value, (rows.row, rows.column)), shape=(len(rows.limit), size))
    found = milp(cost, constraints=LinearConstraint(matrix, ub=np.array(rows.limit)))
    return float(found.fun) - SLACK_H if found.success else 0.0
