"""Decomposition of a problem into independent parts, and a shortest schedule of each part.

Two kinds of decomposition are applied repeatedly. Both preserve optimality:

* **parallel**: activities that share no scarce resource and no precedence relation. A resource is scarce among some
  activities if the sum of their maximum demands exceeds its capacity. The makespan is that of the longest part.
* **series**: every activity of one part precedes every activity of the next, or one activity cannot run at the same
  time as any other. The makespan is the sum.

The leaves are the parts. A single activity is done in its shortest mode; independent activities on one scarce resource
are packed by branch and bound (`moldable`). One work point with orders decomposes into such parts for any teams, crews
and durations, so its schedule is proved to be optimal. Any other part is open: it only has a bound by paths and work.

Source: substitution decomposition of partial orders, Moehring and Radermacher 1984.
"""

from typing import NamedTuple

import numpy as np

from scheduler_env.compilation import compiled, whole
from scheduler_env.incumbent import OPTIMAL_WITHIN_H, Incumbent
from scheduler_env.kernel import Floats, Ints, Problem
from scheduler_env.moldable import min_makespan_by_work, pack

PART_NODES = whole(50_000)
"""Limit of the branch and bound of one part: some milliseconds. Five steps with ten people need 3,500 on average."""
MAX_PACKED = 12
"""A part with more members is not packed; with more than eight, optimality is rarely proved."""
ROUNDING = 1e-13
"""Relative rounding error of a bound."""
MAX_EXCLUSIVE = 64
"""In a part with more activities, pairs are not compared to find activities that exclude all others."""

DEFAULT_BUDGET_MS, MAX_DEEPENING = 20.0, 25.0
"""The node limit grows in proportion to the time budget over the default budget, at most by this factor."""
EXACT, PARTS = "exact", "parts"
"""Stages: all parts are solved to optimality; some parts are open and their schedules come from another method."""

PART, PARALLEL, SERIES = 0, 1, 2


class Tree(NamedTuple):
    """The decomposition tree. A node is a slice of `items`; its children have higher numbers and partition it."""

    items: Ints  # (n,) activities; in topological order within each node
    kind: Ints  # (nodes,)
    begin: Ints  # (nodes,) slice of items
    end: Ints
    parent: Ints  # (nodes,) -1 for the root


class Decomposition(NamedTuple):
    """The parts of a problem with their schedules and bounds; hours."""

    tree: Tree
    bound: float  # lower bound on the makespan of the problem
    makespan: float  # of the assembled schedule; infinity if a part has no schedule
    mode: Ints  # (n,) as in `kernel.SimulationState`; -1 in a part without schedule
    start: Floats  # (n,) relative to the start of the activity's part
    is_cut_short: bool  # a search was stopped by its node limit
    nodes: int  # nodes of all branch-and-bound searches


@compiled
def decompose(problem: Problem, part_nodes: int) -> Decomposition:
    """The parts of `problem` with their shortest schedules.

    Args:
        part_nodes: node limit of the branch and bound of one part; all parts together get twice as many.

    A residual problem is one open part: its bound is that of the problem without releases and with all units always
    there, which no schedule of it can beat.
    """
    parts = decompose_some(problem, problem.topological, part_nodes)
    return _undivided(parts) if problem.is_residual else parts


@compiled
def decompose_some(problem: Problem, members: Ints, part_nodes: int) -> Decomposition:
    """As `decompose`, for the subproblem of the activities `members` (in topological order)."""
    n = problem.shortest.size
    tree = _take_apart(problem, members)
    size = tree.kind.size
    mode, start = np.full(n, -1, dtype=np.int64), np.zeros(n)
    bound, makespan = np.zeros(size), np.zeros(size)
    nodes, is_cut_short = 0, False
    for node in range(size):
        if tree.kind[node] == PART:
            members = tree.items[tree.begin[node] : tree.end[node]]
            max_nodes = max(0, min(part_nodes, 2 * part_nodes - nodes))
            bound[node], makespan[node], spent = _solve(problem, members, mode, start, max_nodes)
            nodes += spent
            is_cut_short = is_cut_short or bound[node] < makespan[node] < np.inf
    _sum_up(tree, bound)
    _sum_up(tree, makespan)
    # Rounding depends on the order of summation; slightly less is a valid bound for any order.
    return Decomposition(tree, bound[0] * (1.0 - ROUNDING), makespan[0], mode, start, is_cut_short, nodes)


@compiled
def _undivided(parts: Decomposition) -> Decomposition:
    """One open part with the bound of `parts`."""
    none, n = np.zeros(1, dtype=np.int64), parts.mode.size
    tree = Tree(parts.tree.items, none, none, none + n, none - 1)
    nothing = np.full(n, -1, dtype=np.int64)
    return Decomposition(tree, parts.bound, np.inf, nothing, parts.start, parts.is_cut_short, parts.nodes)


@compiled
def has_parts(parts: Decomposition) -> bool:
    """Whether there are several parts, or one part with a schedule."""
    return parts.tree.kind.size > 1 or parts.makespan < np.inf


def nodes_for(time_budget_ms: float) -> int:
    """The nodes of a part in a search that has so much time."""
    return int(PART_NODES * min(max(time_budget_ms / DEFAULT_BUDGET_MS, 1.0), MAX_DEEPENING))


@compiled
def _sum_up(tree: Tree, hours: Floats) -> None:
    """Fill `hours` of all nodes from those of the parts: the sum for a series, the maximum for a parallel node."""
    for node in range(tree.kind.size - 1, 0, -1):
        above = tree.parent[node]
        if tree.kind[above] == SERIES:
            hours[above] += hours[node]
        else:
            hours[above] = max(hours[above], hours[node])


@compiled
def assemble(problem: Problem, parts: Decomposition, mode: Ints, start: Floats) -> float:
    """Combine the schedules of the parts with the complete schedule in `mode` and `start`, which is overwritten.

    Each part gets the shorter of its own schedule, if it has one, and its piece of the complete schedule.

    Returns:
        The makespan, hours; never longer than that of the complete schedule.
    """
    tree = parts.tree
    size = tree.kind.size
    hours = np.zeros(size)
    for node in range(size):
        if tree.kind[node] != PART:
            continue
        members = tree.items[tree.begin[node] : tree.end[node]]
        first, last, own = np.inf, 0.0, 0.0
        for j in members:
            first, last = min(first, start[j]), max(last, start[j] + problem.duration[mode[j]])
            known = parts.mode[j]
            own = max(own, parts.start[j] + problem.duration[known] if known >= 0 else np.inf)
        takes_own = own <= last - first
        for j in members:
            if takes_own:
                mode[j], start[j] = parts.mode[j], parts.start[j]
            else:
                start[j] -= first
        hours[node] = min(own, last - first)
    _sum_up(tree, hours)
    makespan = 0.0
    begin, passed = np.zeros(size), np.zeros(size)  # start of each node; total length of its children visited so far
    for node in range(size):
        above = tree.parent[node]
        if above >= 0:
            begin[node] = begin[above] + passed[above]
            if tree.kind[above] == SERIES:
                passed[above] += hours[node]
        if tree.kind[node] == PART:
            for j in tree.items[tree.begin[node] : tree.end[node]]:
                start[j] += begin[node]
                makespan = max(makespan, start[j] + problem.duration[mode[j]])
    return makespan


def take_parts(problem: Problem, parts: Decomposition, incumbent: Incumbent) -> None:
    """Combine the incumbent, a complete schedule, with the schedules of the parts; it is never longer afterwards."""
    mode, start = incumbent.mode.copy(), incumbent.start.copy()
    makespan_h = float(assemble(problem, parts, mode, start))
    incumbent.evaluations += 1
    incumbent.take(mode, start, makespan_h, PARTS)
    if makespan_h <= parts.bound + OPTIMAL_WITHIN_H:
        incumbent.mode[:], incumbent.start[:] = mode, start
        incumbent.makespan_h, incumbent.stage = makespan_h, EXACT


@compiled
def _solve(problem: Problem, members: Ints, mode: Ints, start: Floats, max_nodes: int) -> tuple[float, float, int]:
    """Solve a part: (bound, makespan, nodes). Fills `mode` and `start` of its members, starting at time 0."""
    if members.size == 1:
        j = members[0]
        first = problem.mode_at[j]
        mode[j] = first + np.argmin(problem.duration[first : problem.mode_at[j + 1]])
        return problem.shortest[j], problem.shortest[j], 0
    scarce = _scarce(problem, members)
    if scarce.sum() != 1 or _levels(problem, members)[0].max() > 0:
        return _bound(problem, members), np.inf, 0
    k = int(np.argmax(scarce))
    mode_at, problem_mode, units = modes_on(problem, k, members)
    if members.size > MAX_PACKED:
        return min_makespan_by_work(mode_at, problem.duration[problem_mode], units, problem.capacity[k]), np.inf, 0
    packing = pack(mode_at, problem.duration[problem_mode], units, problem.capacity[k], max_nodes)
    mode[members], start[members] = problem_mode[packing.mode], packing.start
    return packing.bound, packing.makespan, packing.nodes


@compiled
def modes_on(problem: Problem, k: int, members: Ints) -> tuple[Ints, Ints, Ints]:
    """The members' modes as CSR: (members + 1,) places, (modes,) numbers in the problem, (modes,) units of `k`."""
    mode_at = np.zeros(members.size + 1, dtype=np.int64)
    for position in range(members.size):
        j = members[position]
        mode_at[position + 1] = mode_at[position] + problem.mode_at[j + 1] - problem.mode_at[j]
    problem_mode, units = np.empty(mode_at[-1], dtype=np.int64), np.zeros(mode_at[-1], dtype=np.int64)
    for position in range(members.size):
        for place in range(mode_at[position], mode_at[position + 1]):
            m = problem.mode_at[members[position]] + place - mode_at[position]
            problem_mode[place] = m
            for d in range(problem.demand_at[m], problem.demand_at[m + 1]):
                if problem.demand_resource[d] == k:
                    units[place] = problem.demand_units[d]
    return mode_at, problem_mode, units


@compiled
def _bound(problem: Problem, members: Ints) -> float:
    """Lower bound of an open part, hours: the longest path in shortest modes, and the work on each resource."""
    n = problem.shortest.size
    inside = np.zeros(n, dtype=np.bool_)
    inside[members] = True
    end, work = np.zeros(n), np.zeros(problem.capacity.size)
    bound = 0.0
    for j in members:
        end[j] += problem.shortest[j]
        bound = max(bound, end[j])
        for e in range(problem.successor_at[j], problem.successor_at[j + 1]):
            s = problem.successors[e]
            if inside[s]:
                end[s] = max(end[s], end[j])
        for u in range(problem.use_at[j], problem.use_at[j + 1]):
            work[problem.use_resource[u]] += problem.use_work[u]
    for k in range(work.size):
        bound = max(bound, work[k] / problem.capacity[k])
    return bound


@compiled
def _take_apart(problem: Problem, members: Ints) -> Tree:
    """The decomposition tree of `members`, built from the root down."""
    n = members.size
    items = members.copy()
    kind, parent = np.zeros(2 * n, dtype=np.int64), np.full(2 * n, -1, dtype=np.int64)
    begin, end = np.zeros(2 * n, dtype=np.int64), np.zeros(2 * n, dtype=np.int64)
    end[0], size, node = n, 1, 0
    while node < size:
        first, last = begin[node], end[node]
        if last - first > 1:
            mine = items[first:last].copy()
            kind[node], child, children = _cut(problem, mine)
            if children > 1:
                items[first:last] = mine[np.argsort(child, kind="mergesort")]
                at = first
                for number in range(children):
                    begin[size], parent[size] = at, node
                    at += (child == number).sum()
                    end[size] = at
                    size += 1
        node += 1
    return Tree(items, kind[:size], begin[:size], end[:size], parent[:size])


@compiled
def _cut(problem: Problem, members: Ints) -> tuple[int, Ints, int]:
    """How a node decomposes: (kind, (members,) child of each member, number of children); `PART` if it does not."""
    scarce = _scarce(problem, members)
    child, children = _components(problem, members, scarce)
    if children > 1:
        return PARALLEL, child, children
    level, next_level = _levels(problem, members)
    child, children = _stages(problem, members, level, next_level)
    if children == 1 and level.max() == 0 and members.size <= MAX_EXCLUSIVE:
        child, children = _exclusive(problem, members, scarce)
    return (SERIES if children > 1 else PART), child, children


@compiled
def projects_and_stages(problem: Problem) -> tuple[Ints, Ints]:
    """The project of each activity, by precedence only, and its stage in the project; (n,) each, from 0."""
    n = problem.shortest.size
    everything = problem.topological
    child, projects = _components(problem, everything, np.zeros(problem.capacity.size, dtype=np.int64))
    project, stage = np.empty(n, dtype=np.int64), np.empty(n, dtype=np.int64)
    for number in range(projects):
        members = everything[child == number]
        level, next_level = _levels(problem, members)
        project[members] = number
        stage[members] = _stages(problem, members, level, next_level)[0]
    return project, stage


@compiled
def _scarce(problem: Problem, members: Ints) -> Ints:
    """(K,) 1 if the sum of the members' maximum demands exceeds the resource's capacity, otherwise 0."""
    total = np.zeros(problem.capacity.size, dtype=np.int64)
    largest = np.zeros(problem.capacity.size, dtype=np.int64)
    for j in members:
        if problem.shortest[j] == 0.0:  # takes no time, so it occupies no resource
            continue
        for m in range(problem.mode_at[j], problem.mode_at[j + 1]):
            for d in range(problem.demand_at[m], problem.demand_at[m + 1]):
                k = problem.demand_resource[d]
                largest[k] = max(largest[k], problem.demand_units[d])
        for m in range(problem.mode_at[j], problem.mode_at[j + 1]):
            for d in range(problem.demand_at[m], problem.demand_at[m + 1]):
                k = problem.demand_resource[d]
                total[k] += largest[k]
                largest[k] = 0
    return (total > problem.capacity).astype(np.int64)


@compiled
def _components(problem: Problem, members: Ints, scarce: Ints) -> tuple[Ints, int]:
    """(members,) the component of each member, from 0, and their number.

    Two members are linked by a precedence relation or by a scarce resource that both use.
    """
    n = problem.shortest.size
    place = np.full(n, -1, dtype=np.int64)
    place[members] = np.arange(members.size)
    root = np.arange(members.size)
    user = np.full(problem.capacity.size, -1, dtype=np.int64)  # some member that uses the scarce resource
    for position in range(members.size):
        j = members[position]
        for e in range(problem.successor_at[j], problem.successor_at[j + 1]):
            if place[problem.successors[e]] >= 0:
                _join(root, position, place[problem.successors[e]])
        if problem.shortest[j] == 0.0:
            continue
        for m in range(problem.mode_at[j], problem.mode_at[j + 1]):
            for d in range(problem.demand_at[m], problem.demand_at[m + 1]):
                k = problem.demand_resource[d]
                if scarce[k]:
                    if user[k] >= 0:
                        _join(root, position, user[k])
                    user[k] = position
    child = np.full(members.size, -1, dtype=np.int64)
    children = 0
    for position in range(members.size):
        top = _top(root, position)
        if child[top] < 0:
            child[top] = children
            children += 1
        child[position] = child[top]
    return child, children


@compiled
def _top(root: Ints, position: int) -> int:
    while root[position] != position:
        root[position] = root[root[position]]
        position = root[position]
    return position


@compiled
def _join(root: Ints, one: int, other: int) -> None:
    """Union of two components; the lower place becomes the root, so components are numbered by their first member."""
    one, other = _top(root, one), _top(root, other)
    root[max(one, other)] = min(one, other)


@compiled
def _levels(problem: Problem, members: Ints) -> tuple[Ints, Ints]:
    """(members,) twice: the level of each member, and the lowest level of its successors.

    The level is the number of members in the longest chain before it. A member without successors among the members
    has a next level above all levels.
    """
    place = np.full(problem.shortest.size, -1, dtype=np.int64)
    place[members] = np.arange(members.size)
    level = np.zeros(members.size, dtype=np.int64)
    next_level = np.full(members.size, members.size, dtype=np.int64)
    for position in range(members.size):
        j = members[position]
        for e in range(problem.successor_at[j], problem.successor_at[j + 1]):
            s = place[problem.successors[e]]
            if s >= 0:
                level[s] = max(level[s], level[position] + 1)
    for position in range(members.size):
        j = members[position]
        for e in range(problem.successor_at[j], problem.successor_at[j + 1]):
            s = place[problem.successors[e]]
            if s >= 0:
                next_level[position] = min(next_level[position], level[s])
    return level, next_level


@compiled
def _stages(problem: Problem, members: Ints, level: Ints, next_level: Ints) -> tuple[Ints, int]:
    """(members,) the stage of each member and the number of stages; every member of a stage precedes all of the next.

    There is a border between two levels if each member at the upper level is a direct successor of each member below
    the border whose successors are all above it. Every other member below the border precedes one of those.
    """
    top = int(level.max())
    first = np.zeros(top + 2, dtype=np.int64)  # members at a level
    last = np.zeros(top + 2, dtype=np.int64)  # members up to a level whose successors are all above it; as differences
    links = np.zeros(top + 2, dtype=np.int64)  # precedence relations from such members to a level
    place = np.full(problem.shortest.size, -1, dtype=np.int64)
    place[members] = np.arange(members.size)
    for position in range(members.size):
        first[level[position]] += 1
        last[level[position]] += 1
        last[min(next_level[position], top + 1)] -= 1
        j = members[position]
        for e in range(problem.successor_at[j], problem.successor_at[j + 1]):
            s = place[problem.successors[e]]
            if s >= 0 and level[s] == next_level[position]:
                links[level[s]] += 1
    stage_of = np.zeros(top + 1, dtype=np.int64)
    stages, ending = 1, 0
    for border in range(1, top + 1):
        ending += last[border - 1]
        if links[border] == ending * first[border]:
            stages += 1
        stage_of[border] = stages - 1
    return stage_of[level], stages


@compiled
def _exclusive(problem: Problem, members: Ints, scarce: Ints) -> tuple[Ints, int]:
    """(members,) the position of each member in a series, and their number.

    A member that can run at the same time as no other one gets its own position, after all others.
    """
    child = np.zeros(members.size, dtype=np.int64)
    alone = 0
    for position in range(members.size):
        is_alone = True
        for other in range(members.size):
            if other != position and not _conflict(problem, members[position], members[other], scarce):
                is_alone = False
                break
        if is_alone:
            alone += 1
            child[position] = alone
    if alone == members.size:  # there are no others
        return child - 1, alone
    return child, alone + 1


@compiled
def _conflict(problem: Problem, one: int, other: int, scarce: Ints) -> bool:
    """Whether the two cannot run at the same time in any modes, because a resource does not suffice for both."""
    for u in range(problem.use_at[one], problem.use_at[one + 1]):
        k = problem.use_resource[u]
        if scarce[k]:
            for v in range(problem.use_at[other], problem.use_at[other + 1]):
                if problem.use_resource[v] == k and problem.use_units[u] + problem.use_units[v] > problem.capacity[k]:
                    return True
    return False
