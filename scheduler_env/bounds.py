"""The lower bound on the makespan of an instance, from which the gap of a schedule is computed.

The bound is the largest over all renewable resources k and all pairs (h, q) of

    h + W / c + q,    W = minimum work content on k of the activities with head >= h and tail after them >= q,
                      c = capacity of k,

because those activities can use k only from h until q before the end (Carlier 1982 for one machine; Baptiste, Le Pape
and Nuijten 2001 for cumulative resources). Heads and tails are first the longest paths in shortest modes. They are then
raised by the same argument: before an activity can start, the work of all its predecessors on k must be finished. The
minimum makespan of groups of activities that share one resource raises them further (see `moldable`).

In a residual problem heads begin at the releases, and h + W / c becomes the earliest end of that work with all units
that are there over time (`levels.work_end`). Tails, and the groups' makespans, hold with all units always there.

A problem that decomposes, as one work point does, has the bound of its parts, which is often the optimum (see
`decomposition`).
"""

from typing import NamedTuple

import numpy as np

from scheduler_env.compilation import compiled, whole
from scheduler_env.decomposition import PART_NODES, Decomposition, decompose, modes_on
from scheduler_env.incumbent import OPTIMAL_WITHIN_H
from scheduler_env.kernel import Floats, Ints, Problem
from scheduler_env.levels import earliest_fit, work_end
from scheduler_env.moldable import MAX_MEMBERS, pack

MAX_ANCESTORS = 400
"""The head of an activity with more ancestors is raised by paths only, which limits the computing time."""
MAX_ACTIVITIES_FOR_GROUPS = 60
"""With more activities, resources are so loaded that groups raise no bound (measured: docs/decisions/)."""
MAX_GROUP_NODES = whole(20_000)
"""Limit of the search for the minimum makespan of one group: usually a millisecond; five steps with ten people need
3,500 nodes."""


@compiled
def lower_bound(problem: Problem) -> float:
    """A lower bound on the makespan of every schedule, hours."""
    return bound_with_parts(problem, decompose(problem, PART_NODES))


@compiled
def bound_with_parts(problem: Problem, parts: Decomposition) -> float:
    """As `lower_bound`, for a problem whose decomposition is known."""
    if parts.makespan <= parts.bound + OPTIMAL_WITHIN_H:
        return parts.bound
    return max(parts.bound, bound_by_heads_and_tails(problem))


@compiled
def bound_by_heads_and_tails(problem: Problem) -> float:
    """The largest h + W / c + q; see the module's docstring."""
    n = problem.shortest.size
    predecessor_at, predecessors = reversed_precedence(problem)
    rows = n if n <= MAX_ACTIVITIES_FOR_GROUPS else 0
    groups = _Groups(
        np.full((rows, problem.capacity.size, MAX_MEMBERS), -1, dtype=np.int64), np.zeros((rows, problem.capacity.size))
    )
    head, length = np.zeros(n), problem.shortest
    if problem.is_residual:
        length = length.copy()
    for position in range(n):
        j = problem.topological[position]
        head[j] = _raised_head(problem, j, head, length, predecessor_at, predecessors, problem.is_residual)
        head[j] = _head_after_groups(problem, j, head, predecessor_at, predecessors, groups)
        if problem.is_residual:
            head[j], end = _first_fit(problem, j, max(head[j], problem.release[j]))
            length[j] = end - head[j]
    after = np.zeros(n)
    for position in range(n - 1, -1, -1):
        j = problem.topological[position]
        after[j] = _raised_head(problem, j, after, problem.shortest, problem.successor_at, problem.successors, False)
        after[j] = _head_after_groups(problem, j, after, problem.successor_at, problem.successors, groups)
    bound = 0.0
    for j in range(n):
        bound = max(bound, head[j] + length[j] + after[j])
    for k in range(problem.capacity.size):
        bound = max(bound, _resource_bound(problem, k, head, after))
    return bound


@compiled
def _first_fit(problem: Problem, j: int, head: float) -> tuple[float, float]:
    """The earliest start and the earliest end of `j`, each in any mode, if it is alone and not before `head`, hours."""
    first_start = first_end = np.inf
    for m in range(problem.mode_at[j], problem.mode_at[j + 1]):
        first, last = problem.demand_at[m], problem.demand_at[m + 1]
        begin = earliest_fit(
            problem.levels, problem.level_at, head, problem.duration[m], problem.demand_resource[first:last],
            problem.demand_units[first:last],
        )  # fmt: skip
        first_start = min(first_start, begin)
        first_end = min(first_end, begin + problem.duration[m])
    return first_start, first_end


@compiled
def reversed_precedence(problem: Problem) -> tuple[Ints, Ints]:
    """Predecessors as CSR: those of j are `predecessors[predecessor_at[j]:predecessor_at[j + 1]]`."""
    n = problem.shortest.size
    at = np.zeros(n + 1, dtype=np.int64)
    at[1:] = np.cumsum(problem.predecessors_of)
    place = at[:-1].copy()
    predecessors = np.empty(at[n], dtype=np.int64)
    for j in range(n):
        for e in range(problem.successor_at[j], problem.successor_at[j + 1]):
            s = problem.successors[e]
            predecessors[place[s]] = j
            place[s] += 1
    return at, predecessors


@compiled
def _raised_head(
    problem: Problem, j: int, head: Floats, length: Floats, before_at: Ints, before: Ints, has_levels: bool
) -> float:
    """The earliest start of `j`, from the heads of its predecessors, hours; for tails, with the graph reversed.

    `length` is the time from each head to the activity's earliest end. `has_levels` is False for tails.
    """
    earliest = 0.0
    for e in range(before_at[j], before_at[j + 1]):
        earliest = max(earliest, head[before[e]] + length[before[e]])
    ancestors = np.empty(MAX_ANCESTORS, dtype=np.int64)
    seen = np.zeros(problem.shortest.size, dtype=np.bool_)
    count, done = 0, -1
    i = j
    while True:
        for e in range(before_at[i], before_at[i + 1]):
            if not seen[before[e]]:
                if count == MAX_ANCESTORS:
                    return earliest
                seen[before[e]] = True
                ancestors[count] = before[e]
                count += 1
        done += 1
        if done == count:
            break
        i = ancestors[done]
    latest_first = np.argsort(-head[ancestors[:count]], kind="mergesort")
    work = np.zeros(problem.capacity.size)
    for a in latest_first:
        i = ancestors[a]
        for u in range(problem.use_at[i], problem.use_at[i + 1]):
            k = problem.use_resource[u]
            work[k] += problem.use_work[u]
            if has_levels:
                end = work_end(problem.levels, problem.level_at, k, head[i], work[k], problem.capacity[k])
                earliest = max(earliest, end)
            else:
                earliest = max(earliest, head[i] + work[k] / problem.capacity[k])
    return earliest


class _Groups(NamedTuple):
    """Cache of minimum makespans by first member and resource: heads and tails need the makespan of the same group."""

    members: Ints  # (n, K, MAX_MEMBERS) ascending, -1: none
    makespan: Floats  # (n, K) hours


@compiled
def _head_after_groups(problem: Problem, j: int, head: Floats, before_at: Ints, before: Ints, groups: _Groups) -> float:
    """The head of `j`, raised by its direct predecessors that share a resource; for tails, with the graph reversed.

    Only the `MAX_MEMBERS` longest predecessors are considered.
    """
    earliest = float(head[j])
    if head.size > MAX_ACTIVITIES_FOR_GROUPS:
        return earliest
    for k in range(problem.capacity.size):
        members = np.empty(before_at[j + 1] - before_at[j], dtype=np.int64)
        count = 0
        for e in range(before_at[j], before_at[j + 1]):
            i = before[e]
            for u in range(problem.use_at[i], problem.use_at[i + 1]):
                if problem.use_resource[u] == k and problem.use_units[u] > 0:
                    members[count] = i
                    count += 1
        if count < 2:
            continue
        members = members[:count]
        if count > MAX_MEMBERS:
            members = members[np.argsort(-problem.shortest[members], kind="mergesort")[:MAX_MEMBERS]]
        members = np.sort(members)
        earliest = max(earliest, float(head[members].min()) + _group_makespan(problem, k, members, groups))
    return earliest


@compiled
def _group_makespan(problem: Problem, k: int, members: Ints, groups: _Groups) -> float:
    """A lower bound on the makespan of activities that all need resource `k`, hours; ignores precedence among them."""
    count, first = members.size, members[0]
    known = groups.members[first, k]
    if (known[:count] == members).all() and (count == MAX_MEMBERS or known[count] < 0):
        return float(groups.makespan[first, k])
    mode_at, problem_mode, units = modes_on(problem, k, members)
    known[:] = -1
    known[:count] = members
    packing = pack(mode_at, problem.duration[problem_mode], units, problem.capacity[k], MAX_GROUP_NODES)
    groups.makespan[first, k] = packing.bound
    return float(groups.makespan[first, k])


@compiled
def _resource_bound(problem: Problem, k: int, head: Floats, after: Floats) -> float:
    """The largest h + W / c + q over the resource's own heads and tails."""
    n = problem.shortest.size
    work = np.zeros(n)
    users = np.empty(n, dtype=np.int64)
    count = 0
    for j in range(n):
        for u in range(problem.use_at[j], problem.use_at[j + 1]):
            if problem.use_resource[u] == k and problem.use_work[u] > 0.0:
                work[j] = problem.use_work[u]
                users[count] = j
                count += 1
    users = users[:count]
    latest_first = users[np.argsort(-head[users], kind="mergesort")]
    bound, previous = 0.0, -1.0
    for q in np.sort(after[users]):
        if q == previous:
            continue
        previous = q
        total = 0.0
        for j in latest_first:
            if after[j] >= q:
                total += work[j]
                if problem.is_residual:
                    done = work_end(problem.levels, problem.level_at, k, head[j], total, problem.capacity[k])
                    bound = max(bound, done + q)
                else:
                    bound = max(bound, head[j] + total / problem.capacity[k] + q)
    return bound
