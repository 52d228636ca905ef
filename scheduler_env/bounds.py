"""How short any schedule of an instance can be at best: what makes a gap an honest statement.

The bound is the largest over all renewable resources k and all pairs (h, q) of

    h + W / c + q,    W = least work content on k of the activities with head >= h and tail after them >= q,

since those activities can use k only from h until q before the end (Carlier 1982 for one machine; Baptiste, Le Pape
and Nuijten 2001 for cumulative resources). Heads and tails start as longest paths with the shortest modes and are
raised by the same argument: before an activity can start, all of its predecessors' work on k must have been done. They
are raised further by the least makespan of groups that one resource may do side by side (see `moldable`).

A problem that falls apart, as one work point does, has its parts' bounds: often the optimum (see `decomposition`).
"""

from typing import NamedTuple

import numpy as np

from scheduler_env.compilation import compiled, whole
from scheduler_env.decomposition import PART_NODES, Decomposition, decompose, modes_on
from scheduler_env.incumbent import PROVED_H
from scheduler_env.kernel import Floats, Ints, Problem
from scheduler_env.moldable import MAX_MEMBERS, pack

MAX_ANCESTORS = 400
"""Of an activity; with more of them its head is raised by paths only, to keep the time in check."""


MAX_ACTIVITIES_FOR_GROUPS = 60
"""With more of them, resources are so busy that groups raise no bound (measured: docs/decisions/)."""
GROUP_NODES = whole(20_000)
"""Of the search for the least makespan of one group: a millisecond as a rule; five steps of ten people take 3,500."""


@compiled
def lower_bound(problem: Problem) -> float:
    """A makespan in hours that no schedule can beat."""
    return bound_with_parts(problem, decompose(problem, PART_NODES))


@compiled
def bound_with_parts(problem: Problem, parts: Decomposition) -> float:
    """As `lower_bound`, of a problem that was taken apart already."""
    if parts.makespan <= parts.bound + PROVED_H:
        return parts.bound
    return max(parts.bound, bound_by_heads_and_tails(problem))


@compiled
def bound_by_heads_and_tails(problem: Problem) -> float:
    """The largest h + W / c + q; see the module's docstring."""
    n = problem.shortest.size
    predecessor_at, predecessors = reversed_precedence(problem)
    rows = n if n <= MAX_ACTIVITIES_FOR_GROUPS else 0
    groups = _Groups(
        np.full((rows, problem.capacity.size, MAX_MEMBERS), -1, dtype=np.int64),
        np.zeros((rows, problem.capacity.size)),
    )
    head = np.zeros(n)
    for position in range(n):
        j = problem.topological[position]
        head[j] = _raised_head(problem, j, head, predecessor_at, predecessors)
        head[j] = _head_after_groups(problem, j, head, predecessor_at, predecessors, groups)
    after = np.zeros(n)
    for position in range(n - 1, -1, -1):
        j = problem.topological[position]
        after[j] = _raised_head(problem, j, after, problem.successor_at, problem.successors)
        after[j] = _head_after_groups(problem, j, after, problem.successor_at, problem.successors, groups)
    bound = 0.0
    for j in range(n):
        bound = max(bound, head[j] + problem.shortest[j] + after[j])
    for k in range(problem.capacity.size):
        bound = max(bound, _resource_bound(problem, k, head, after))
    return bound


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
def _raised_head(problem: Problem, j: int, head: Floats, before_at: Ints, before: Ints) -> float:
    """The earliest start of `j`, given those (`head`) of all that come before it; mirrored for tails."""
    earliest = 0.0
    for e in range(before_at[j], before_at[j + 1]):
        earliest = max(earliest, head[before[e]] + problem.shortest[before[e]])
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
            earliest = max(earliest, head[i] + work[k] / problem.capacity[k])
    return earliest


class _Groups(NamedTuple):
    """Least makespans found so far, by the group's first member and resource: a group is met from both of its sides."""

    members: Ints  # (n, K, MAX_MEMBERS) ascending, -1: none
    makespan: Floats  # (n, K) hours


@compiled
def _head_after_groups(problem: Problem, j: int, head: Floats, before_at: Ints, before: Ints, groups: _Groups) -> float:
    """The head of `j`, raised by its direct predecessors that share a resource; mirrored for tails.

    If there are too many of them, by the longest.
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
    """Of activities that all need resource `k`, hours; precedence between them is left out of account."""
    count, first = members.size, members[0]
    known = groups.members[first, k]
    if (known[:count] == members).all() and (count == MAX_MEMBERS or known[count] < 0):
        return float(groups.makespan[first, k])
    mode_at, given, units = modes_on(problem, k, members)
    known[:] = -1
    known[:count] = members
    packing = pack(mode_at, problem.duration[given], units, problem.capacity[k], GROUP_NODES)
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
                bound = max(bound, head[j] + total / problem.capacity[k] + q)
    return bound
