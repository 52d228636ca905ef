"""A problem taken apart into parts that know nothing of each other, and each part's shortest schedule.

Two cuts, one after the other until neither applies, lose nothing:

* **side by side**: activities that share no scarce resource and no precedence. A resource is scarce among some
  activities if their largest demands together exceed it. The makespan is that of the longest part.
* **in sequence**: every activity of one part precedes every activity of the next, or one activity can run beside none
  of the others. The makespan is the sum.

What is left are parts. One activity is done in its shortest mode; independent activities on one scarce resource are
packed by branch and bound (`moldable`). One work point with orders falls apart into such parts, whatever its teams,
crews and durations: its schedule is then proved to be optimal. Any other part stays open, with a bound by paths and
work.

Source: substitution decomposition of partial orders, Moehring and Radermacher 1984.
"""

from typing import NamedTuple

import numpy as np

from scheduler_env.compilation import compiled, whole
from scheduler_env.incumbent import PROVED_H, Incumbent
from scheduler_env.kernel import Floats, Ints, Problem
from scheduler_env.moldable import least_by_work, pack

PART_NODES = whole(50_000)
"""Of the branch and bound of one part: some milliseconds. Five steps of ten people take 3,500 on average."""
MAX_PACKED = 12
"""Members of a part that is packed; those with over eight are not often proved."""
ROUNDING = 1e-13
"""Share of a bound."""
MAX_ALONE = 64
"""Activities among which pairs are compared; with more of them a part stays as it is."""

DEFAULT_BUDGET_MS, MAX_DEEPENING = 20.0, 25.0
"""A longer time budget than this gets more nodes in proportion, at most so many times as many."""
EXACT, PARTS = "exact", "parts"
"""What found a schedule: its parts, all of them proved; or its parts and, where those are open, something else."""

PART, SIDE_BY_SIDE, IN_SEQUENCE = 0, 1, 2


class Tree(NamedTuple):
    """Parts within parts. A node is a slice of `items`; its children have higher numbers and lie side by side in it."""

    items: Ints  # (n,) activities, in every node by topological order
    kind: Ints  # (nodes,)
    begin: Ints  # (nodes,) slice of items
    end: Ints
    parent: Ints  # of the root: -1


class Decomposition(NamedTuple):
    """The parts of a problem, solved as far as they could be; hours."""

    tree: Tree
    bound: float  # no schedule of the problem is shorter
    makespan: float  # of the parts' schedules put together; infinity while a part has none
    mode: Ints  # (n,) as in `kernel.State`; -1 in a part without schedule
    start: Floats  # (n,) after the begin of the activity's part
    is_cut_short: bool  # more nodes could prove more
    nodes: int  # that the branch and bound took, all parts together


@compiled
def decompose(problem: Problem, part_nodes: int) -> Decomposition:
    """The parts of `problem` with their shortest schedules.

    Args:
        part_nodes: most nodes of the branch and bound of one part; all parts together get twice as many.
    """
    return decompose_some(problem, problem.topological, part_nodes)


@compiled
def decompose_some(problem: Problem, members: Ints, part_nodes: int) -> Decomposition:
    """As `decompose`, of the problem that `members` (by topological order) are without the other activities."""
    n = problem.shortest.size
    tree = _take_apart(problem, members)
    size = tree.kind.size
    mode, start = np.full(n, -1, dtype=np.int64), np.zeros(n)
    bound, makespan = np.zeros(size), np.zeros(size)
    nodes, is_cut_short = 0, False
    for node in range(size):
        if tree.kind[node] == PART:
            members = tree.items[tree.begin[node] : tree.end[node]]
            most = max(0, min(part_nodes, 2 * part_nodes - nodes))
            bound[node], makespan[node], spent = _solve(problem, members, mode, start, most)
            nodes += spent
            is_cut_short = is_cut_short or bound[node] < makespan[node] < np.inf
    _add_up(tree, bound)
    _add_up(tree, makespan)
    # Sums come out a little different in another order: a hair less is a bound in any.
    return Decomposition(tree, bound[0] * (1.0 - ROUNDING), makespan[0], mode, start, is_cut_short, nodes)


@compiled
def has_parts(parts: Decomposition) -> bool:
    """Whether there is something to put together: several parts, or one with a schedule."""
    return parts.tree.kind.size > 1 or parts.makespan < np.inf


def nodes_for(time_budget_ms: float) -> int:
    """The nodes of a part in a search that has so much time."""
    return int(PART_NODES * min(max(time_budget_ms / DEFAULT_BUDGET_MS, 1.0), MAX_DEEPENING))


@compiled
def _add_up(tree: Tree, hours: Floats) -> None:
    """From the parts to the root: the sum of what is in sequence, the longest of what is side by side."""
    for node in range(tree.kind.size - 1, 0, -1):
        above = tree.parent[node]
        if tree.kind[above] == IN_SEQUENCE:
            hours[above] += hours[node]
        else:
            hours[above] = max(hours[above], hours[node])


@compiled
def assemble(problem: Problem, parts: Decomposition, mode: Ints, start: Floats) -> float:
    """Put the parts' schedules together; the makespan, never above that of the complete schedule in `mode` and `start`.

    That one is overwritten. A part takes its schedule from it where that is the shorter one, or the only one.
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
    _add_up(tree, hours)
    makespan = 0.0
    begin, passed = np.zeros(size), np.zeros(size)  # of each node; and of those of its children that were seen
    for node in range(size):
        above = tree.parent[node]
        if above >= 0:
            begin[node] = begin[above] + passed[above]
            if tree.kind[above] == IN_SEQUENCE:
                passed[above] += hours[node]
        if tree.kind[node] == PART:
            for j in tree.items[tree.begin[node] : tree.end[node]]:
                start[j] += begin[node]
                makespan = max(makespan, start[j] + problem.duration[mode[j]])
    return makespan


def take_parts(problem: Problem, parts: Decomposition, incumbent: Incumbent) -> None:
    """Put the parts' schedules into `incumbent`, a complete schedule: shorter then, or as it was, or proved optimal."""
    mode, start = incumbent.mode.copy(), incumbent.start.copy()
    makespan_h = float(assemble(problem, parts, mode, start))
    incumbent.evaluations += 1
    incumbent.take(mode, start, makespan_h, PARTS)
    if makespan_h <= parts.bound + PROVED_H:
        incumbent.mode[:], incumbent.start[:] = mode, start
        incumbent.makespan_h, incumbent.stage = makespan_h, EXACT


@compiled
def _solve(problem: Problem, members: Ints, mode: Ints, start: Floats, most_nodes: int) -> tuple[float, float, int]:
    """Bound and makespan of a part, and the nodes it took; fills `mode` and `start` of its members from time 0 on."""
    if members.size == 1:
        j = members[0]
        first = problem.mode_at[j]
        mode[j] = first + np.argmin(problem.duration[first : problem.mode_at[j + 1]])
        return problem.shortest[j], problem.shortest[j], 0
    scarce = _scarce(problem, members)
    if scarce.sum() != 1 or _levels(problem, members)[0].max() > 0:
        return _bound(problem, members), np.inf, 0
    k = int(np.argmax(scarce))
    mode_at, given, units = modes_on(problem, k, members)
    if members.size > MAX_PACKED:
        return least_by_work(mode_at, problem.duration[given], units, problem.capacity[k]), np.inf, 0
    packing = pack(mode_at, problem.duration[given], units, problem.capacity[k], most_nodes)
    mode[members], start[members] = given[packing.mode], packing.start
    return packing.bound, packing.makespan, packing.nodes


@compiled
def modes_on(problem: Problem, k: int, members: Ints) -> tuple[Ints, Ints, Ints]:
    """The members' modes as CSR: (members + 1,) places, (modes,) numbers in the problem, (modes,) units of `k`."""
    mode_at = np.zeros(members.size + 1, dtype=np.int64)
    for position in range(members.size):
        j = members[position]
        mode_at[position + 1] = mode_at[position] + problem.mode_at[j + 1] - problem.mode_at[j]
    given, units = np.empty(mode_at[-1], dtype=np.int64), np.zeros(mode_at[-1], dtype=np.int64)
    for position in range(members.size):
        for place in range(mode_at[position], mode_at[position + 1]):
            m = problem.mode_at[members[position]] + place - mode_at[position]
            given[place] = m
            for d in range(problem.demand_at[m], problem.demand_at[m + 1]):
                if problem.demand_resource[d] == k:
                    units[place] = problem.demand_units[d]
    return mode_at, given, units


@compiled
def _bound(problem: Problem, members: Ints) -> float:
    """Of a part that stays open: the longest path in shortest modes, and the work on each resource."""
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
    """The tree of parts, found from the root on."""
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
    """How to take a part apart: the kind of cut (`PART`: none), each member's child, and how many children."""
    scarce = _scarce(problem, members)
    child, children = _side_by_side(problem, members, scarce)
    if children > 1:
        return SIDE_BY_SIDE, child, children
    level, next_level = _levels(problem, members)
    child, children = _stages(problem, members, level, next_level)
    if children == 1 and level.max() == 0 and members.size <= MAX_ALONE:
        child, children = _alone(problem, members, scarce)
    return (IN_SEQUENCE if children > 1 else PART), child, children


@compiled
def projects_and_stages(problem: Problem) -> tuple[Ints, Ints]:
    """Of each activity its project, by precedence alone, and its stage in it; (n,) each, numbered from 0 on."""
    n = problem.shortest.size
    everything = problem.topological
    child, projects = _side_by_side(problem, everything, np.zeros(problem.capacity.size, dtype=np.int64))
    project, stage = np.empty(n, dtype=np.int64), np.empty(n, dtype=np.int64)
    for number in range(projects):
        members = everything[child == number]
        level, next_level = _levels(problem, members)
        project[members] = number
        stage[members] = _stages(problem, members, level, next_level)[0]
    return project, stage


@compiled
def _scarce(problem: Problem, members: Ints) -> Ints:
    """(K,) 1 for resources of which the members together could need more than there is, in some modes; else 0."""
    total = np.zeros(problem.capacity.size, dtype=np.int64)
    most = np.zeros(problem.capacity.size, dtype=np.int64)
    for j in members:
        if problem.shortest[j] == 0.0:  # takes no time, and nobody's
            continue
        for m in range(problem.mode_at[j], problem.mode_at[j + 1]):
            for d in range(problem.demand_at[m], problem.demand_at[m + 1]):
                k = problem.demand_resource[d]
                most[k] = max(most[k], problem.demand_units[d])
        for m in range(problem.mode_at[j], problem.mode_at[j + 1]):
            for d in range(problem.demand_at[m], problem.demand_at[m + 1]):
                k = problem.demand_resource[d]
                total[k] += most[k]
                most[k] = 0
    return (total > problem.capacity).astype(np.int64)


@compiled
def _side_by_side(problem: Problem, members: Ints, scarce: Ints) -> tuple[Ints, int]:
    """Each member's component, numbered from 0 on, and how many: linked by precedence or a scarce resource."""
    n = problem.shortest.size
    place = np.full(n, -1, dtype=np.int64)
    place[members] = np.arange(members.size)
    root = np.arange(members.size)
    user = np.full(problem.capacity.size, -1, dtype=np.int64)  # of a scarce resource: some member
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
    """Union; the lower place becomes the root, so that it is met first."""
    one, other = _top(root, one), _top(root, other)
    root[max(one, other)] = min(one, other)


@compiled
def _levels(problem: Problem, members: Ints) -> tuple[Ints, Ints]:
    """Of each member: how many members precede it in the longest chain, and the lowest level of its successors.

    Members without successors among the members have a next level above every level.
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
    """Each member's stage, and how many: every member of a stage precedes every member of the next.

    Between two levels there is such a border if each member at the upper level is a direct successor of each one whose
    successors are all above the border: whoever is not below it then is below one that is.
    """
    top = int(level.max())
    first = np.zeros(top + 2, dtype=np.int64)  # members at a level
    last = np.zeros(top + 2, dtype=np.int64)  # members at or below a level with no successor there; as differences
    links = np.zeros(top + 2, dtype=np.int64)  # from such members to a level
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
def _alone(problem: Problem, members: Ints, scarce: Ints) -> tuple[Ints, int]:
    """Each member's turn, and how many: one that can run beside no other has its own turn, after the rest."""
    child = np.zeros(members.size, dtype=np.int64)
    alone = 0
    for position in range(members.size):
        is_alone = True
        for other in range(members.size):
            if other != position and not _collide(problem, members[position], members[other], scarce):
                is_alone = False
                break
        if is_alone:
            alone += 1
            child[position] = alone
    if alone == members.size:  # there is no rest
        return child - 1, alone
    return child, alone + 1


@compiled
def _collide(problem: Problem, one: int, other: int, scarce: Ints) -> bool:
    """Whether some resource does not suffice for both, whatever their modes."""
    for u in range(problem.use_at[one], problem.use_at[one + 1]):
        k = problem.use_resource[u]
        if scarce[k]:
            for v in range(problem.use_at[other], problem.use_at[other + 1]):
                if problem.use_resource[v] == k and problem.use_units[u] + problem.use_units[v] > problem.capacity[k]:
                    return True
    return False
