"""A lower bound on the weighted tardiness of an instance.

Each work point ends at the earliest as if it were alone. And on each resource, some work point is the first to finish
its work there, another one the second, and so on. The i-th ends at the earliest when its own work and the i - 1 least
works of others are done with all units there are, plus the shortest path after its work. The least cost of an
assignment of work points to places in this order is a bound.

Source: the bound by assignment of Lawler 1964 (On scheduling problems with deferral costs), for resources of several
units.
"""

import numpy as np

from scheduler_env.bounds import lower_bound
from scheduler_env.kernel import Problem, compile_instance
from scheduler_env.levels import DONE, FROM, UNITS
from scheduler_env.problem import Instance, WorkPoint
from scheduler_env.zone_bounds import zone_bound_h

MAX_STEPS_ALONE = 300
"""In a larger instance a work point ends at the earliest after its longest path, which costs less time."""
MAX_RESOURCES = 12
"""The most loaded ones are considered."""


def tardiness_bound_h(instance: Instance, problem: Problem) -> float:
    """A lower bound on the weighted tardiness of every schedule, weighted hours. `instance` has no status."""
    late = [number for number, each in enumerate(instance.workpoints) if each.due_h is not None]
    if not late:
        return 0.0
    head, after = _paths(instance, problem)
    end_h = _ends_alone(instance, problem, head, late)
    cost = {number: _cost(instance.workpoints[number], end_h[number]) for number in late}
    best = sum(cost.values())
    first, steps_of = 0, {}
    for number, workpoint in enumerate(instance.workpoints):
        steps_of[number] = range(first, first + len(workpoint.steps))
        first += len(workpoint.steps)
    for k in _loaded(problem):
        work: dict[int, float] = {}
        rest: dict[int, float] = {}
        begin = np.inf
        for number in late:
            for j in steps_of[number]:
                for u in range(problem.use_at[j], problem.use_at[j + 1]):
                    if problem.use_resource[u] == k and problem.use_work[u] > 0.0:
                        work[number] = work.get(number, 0.0) + float(problem.use_work[u])
                        rest[number] = min(rest.get(number, np.inf), after[j])
                        begin = min(begin, head[j])
        if len(work) < 2:
            continue
        others = sum(value for number, value in cost.items() if number not in work)
        best = max(best, others + _assigned(instance, problem, k, begin, work, rest, end_h))
    return best


def _cost(workpoint: WorkPoint, end_h: float) -> float:
    return workpoint.weight * max(0.0, end_h - (workpoint.due_h or 0.0))


def _paths(instance: Instance, problem: Problem) -> tuple[list[float], list[float]]:
    """Of each activity: its earliest start, and the longest path after it within its work point, hours."""
    head, shortest = problem.release.tolist(), problem.shortest.tolist()
    after = [0.0] * len(head)
    steps, successors = instance.steps, instance.successors
    for j in instance.topological_order:
        for s in successors[j]:
            head[s] = max(head[s], head[j] + shortest[j])
    for j in reversed(instance.topological_order):
        for s in successors[j]:
            if steps[s].workpoint_id == steps[j].workpoint_id:
                after[j] = max(after[j], shortest[s] + after[s])
    return head, after


def _ends_alone(instance: Instance, problem: Problem, head: list[float], late: list[int]) -> dict[int, float]:
    """The earliest end of each work point of `late`, hours."""
    found: dict[str, float] = {}
    for j, step in enumerate(instance.steps):
        found[step.workpoint_id] = max(found.get(step.workpoint_id, 0.0), head[j] + float(problem.shortest[j]))
    ends = {number: found[instance.workpoints[number].id] for number in late}
    if len(instance.steps) > MAX_STEPS_ALONE:
        return ends
    for number in late:
        workpoint = instance.workpoints[number]
        own = {step.id for step in workpoint.steps}
        steps = tuple(
            step._replace(predecessors=tuple(other for other in step.predecessors if other in own))
            for step in workpoint.steps
        )
        alone = Instance(
            instance.teams, (WorkPoint(workpoint.id, "", steps, workpoint.zone),), instance.places, instance.taken
        )
        ends[number] = max(ends[number], float(lower_bound(compile_instance(alone))), zone_bound_h(alone))
    return ends


def _loaded(problem: Problem) -> list[int]:
    """The resources, the one whose work takes longest first."""
    hours = np.zeros(problem.capacity.size)
    np.add.at(hours, problem.use_resource, problem.use_work)
    hours /= problem.capacity
    return [int(k) for k in np.argsort(-hours, kind="stable")[:MAX_RESOURCES]]


def _assigned(
    instance: Instance,
    problem: Problem,
    k: int,
    begin: float,
    work: dict[int, float],
    rest: dict[int, float],
    end_h: dict[int, float],
) -> float:
    """The least cost of the order in which the work points finish their `work` on resource `k`."""
    from scipy.optimize import linear_sum_assignment  # importing it takes a third of a second; few requests need it

    numbers = sorted(work, key=lambda number: work[number])
    lengths = [work[number] for number in numbers]
    costs = np.empty((len(numbers), len(numbers)))
    for row, number in enumerate(numbers):
        least_others = np.concatenate(([0.0], np.cumsum(lengths[:row] + lengths[row + 1 :])))
        for place, others in enumerate(least_others):
            done_h = _work_end(problem, k, begin, work[number] + float(others))
            costs[row, place] = _cost(instance.workpoints[number], max(end_h[number], done_h + rest[number]))
    rows, places = linear_sum_assignment(costs)
    return float(costs[rows, places].sum())


def _work_end(problem: Problem, k: int, begin: float, work: float) -> float:
    """As `levels.work_end`: the earliest end of `work` unit-hours that begin at `begin` and take all units there."""
    rows = problem.levels[problem.level_at[k] : problem.level_at[k + 1]]
    if not rows.size:
        return begin + work / float(problem.capacity[k])
    row = max(0, int(np.searchsorted(rows[:, FROM], begin, side="right")) - 1)
    target = rows[row, DONE] + rows[row, UNITS] * (begin - rows[row, FROM]) + work
    row = max(row, int(np.searchsorted(rows[:, DONE], target, side="left")) - 1)
    if rows[row, UNITS] <= 0.0:
        return begin
    return float(rows[row, FROM] + (target - rows[row, DONE]) / rows[row, UNITS])
