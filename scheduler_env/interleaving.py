"""A lower bound for a few projects that share resources: by the order in which their stages end.

Each project (work point) is a sequence of stages, every activity of one before every activity of the next. Whatever the
schedule, the ends of all stages come in some order. For a given order the time from one end to the next is an interval
in which each project is in one known stage, and a linear program bounds the makespan: its variables are the lengths of
the intervals and the work that each stage does on each resource in each of them.

* In an interval the resource's capacity suffices for the work of all projects.
* A stage takes at least as long as it does when it has the plant to itself (`decomposition`).
* A stage that takes t hours does at least the work f(t): of each of its activities, the least work over the modes of at
  most t hours; the lower convex hull of f stands in for it. Haste costs work: that is what other bounds do not see.

The orders are a tree, searched best first (Land and Doig 1960). Where an order is known only up to some end, what
follows is one interval in which the stages of each project still come after each other, without an order between
projects. The least bound of a leaf of the tree is a bound at any time. On 20 pairs of random work points the best known
schedules are 4.3 % above it, and 8.1 % above `bounds.lower_bound`; some 100 linear programs are solved for one pair.
"""

import heapq
import itertools
import time
from dataclasses import dataclass

import numpy as np

from scheduler_env.decomposition import PART_NODES, decompose_some, modes_on, projects_and_stages
from scheduler_env.incumbent import PROVED_H
from scheduler_env.kernel import Floats, Ints, Problem

MIN_BUDGET_MS = 100.0
"""With less time than this the search finds more than the bound would gain."""
BUDGET_SHARE = 0.3
"""Of the time budget, at most."""
MAX_PROGRAMS = 2_000
"""However long the budget. Two work points take 30 to 250 until the bound is final."""
MAX_PROJECTS = 3
MAX_MODES = 1_000
"""Three standard work points have 380. Programs grow with the modes, and are made while no other thread may run."""
MAX_STAGES = 40
"""Of all projects together: with more of them the orders are too many to tell anything."""
ROUNDING_H = 1e-9
"""Times closer together than this are equal."""
SLACK_H = 1e-5
"""Taken off what the solver answers: its rows hold to within 1e-7 each."""


@dataclass(frozen=True, slots=True)
class _Stage:
    """What any schedule has to spend on a stage."""

    length_h: float  # at least
    work: dict[int, list[tuple[float, float]]]  # resource -> (a, b), b <= 0: in t hours at least a + b t people-hours


def bound_by_orders(
    problem: Problem, bound_h: float, enough_h: float, deadline_s: float, max_programs: int = MAX_PROGRAMS
) -> float:
    """A makespan in hours that no schedule can beat; `bound_h` where there are no stages to bring into an order.

    Args:
        bound_h: proved otherwise; never undercut.
        enough_h: the makespan of a known schedule; a bound of that much ends the search.
        deadline_s: of `time.perf_counter`; may be overrun by two linear programs, some milliseconds.
        max_programs: linear programs to solve at most.
    """
    project, stage = projects_and_stages(problem)
    if not 1 <= project.max() < MAX_PROJECTS or problem.duration.size > MAX_MODES:
        return bound_h
    projects = [_stages(problem, project, stage, number) for number in range(project.max() + 1)]
    ends = [len(stages) for stages in projects]
    if sum(ends) > MAX_STAGES:
        return bound_h
    open_: list[tuple[float, tuple[int, ...]]] = [(bound_h, ())]  # a bound, and the projects whose stages ended so far
    programs = 0
    while programs < max_programs and time.perf_counter() < deadline_s:
        value, order = open_[0]
        passed = [order.count(number) for number in range(len(projects))]
        if value >= enough_h - PROVED_H or passed == ends:
            break
        heapq.heappop(open_)
        for number, done in enumerate(passed):
            if done < ends[number]:
                longer = (*order, number)
                programs += 1
                heapq.heappush(open_, (max(value, _least_h(problem.capacity, projects, longer)), longer))
    return min(open_[0][0], enough_h)


def _stages(problem: Problem, project: Ints, stage: Ints, number: int) -> list[_Stage]:
    """What the stages of one project cost, in sequence."""
    members = problem.topological[project[problem.topological] == number]
    return [_stage(problem, members[stage[members] == place]) for place in range(stage[members].max() + 1)]


def _stage(problem: Problem, members: Ints) -> _Stage:
    length_h = float(decompose_some(problem, members, PART_NODES).bound)
    work = {}
    for k in range(problem.capacity.size):
        mode_at, given, units = modes_on(problem, k, members)
        if units.any():
            work[k] = _hull(length_h, mode_at, problem.duration[given], units)
    return _Stage(length_h, work)


def _hull(length_h: float, mode_at: Ints, hours: Floats, units: Ints) -> list[tuple[float, float]]:
    """The lower convex hull of the least work over the hours that a stage takes, as lines (a, b)."""
    times = np.unique(np.append(hours[hours > length_h], length_h))
    least = np.zeros(times.size)
    for first, last in itertools.pairwise(mode_at):
        shortest_first = first + np.argsort(hours[first:last])
        so_far = np.minimum.accumulate(hours[shortest_first] * units[shortest_first])
        # A bound on a stage may be a hair below its shortest mode.
        least += so_far[np.searchsorted(hours[shortest_first], times + ROUNDING_H, side="right") - 1]
    corners: list[tuple[float, float]] = []
    for corner in zip(times.tolist(), least.tolist(), strict=True):
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
    """The rows of a linear program, each at most its right side, as triplets."""

    def __init__(self) -> None:
        self.row: list[int] = []
        self.column: list[int] = []
        self.value: list[float] = []
        self.most: list[float] = []

    def add(self, columns: list[int], values: list[float], most: float) -> None:
        self.row += [len(self.most)] * len(columns)
        self.column += columns
        self.value += values
        self.most.append(most)


def _least_h(capacity: Ints, projects: list[list[_Stage]], order: tuple[int, ...]) -> float:
    """The optimum of the linear program in which stages end in this order, then everything else in any."""
    from scipy.optimize import LinearConstraint, milp  # takes a third of a second, and few requests need it
    from scipy.sparse import csr_array

    rows = _Rows()
    columns = itertools.count(len(order) + 1)  # the first ones are the intervals' lengths; the last of them is the rest
    rest = len(order)
    hours_of: dict[tuple[int, int], list[int]] = {}  # (project, stage) -> columns that add up to the hours it takes
    work_of: dict[tuple[int, int, int], list[int]] = {}  # (project, stage, resource) -> those of its work
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
    matrix = csr_array((rows.value, (rows.row, rows.column)), shape=(len(rows.most), size))
    found = milp(cost, constraints=LinearConstraint(matrix, ub=np.array(rows.most)))
    return float(found.fun) - SLACK_H if found.success else 0.0
