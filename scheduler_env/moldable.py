"""Independent moldable activities on one renewable resource: a shortest schedule, by branch and bound.

The steps that one team may do in parallel are such a group. Minimising its makespan is a strip-packing problem. The
bound by work (work over headcount) covers that a long step needs a large, inefficient crew to finish in time. It does
not cover that crews are whole people and that the steps must fit next to each other.

Depth-first search over *active* schedules. At time 0, and whenever an activity ends, the search starts any number of
activities, each in any mode that ends within the limit, then waits for the next end. The limit is the shortest makespan
found so far. The search prunes

* a start in a mode that fits into the people who were idle before the event: the activity could have started earlier
  (active schedules are sufficient: Sprecher, Kolisch and Drexl 1995);
* an activity that starts before another one with the same modes and a lower number, because both are interchangeable;
* a node whose minimum remaining work, over the modes that still end in time, exceeds the remaining capacity (energetic
  reasoning: Baptiste, Le Pape and Nuijten 2001).

Activities are sorted by descending duration, modes by ascending units. Short probes with limits just above the bound by
work either find a good first schedule quickly or raise the bound.
"""

from typing import NamedTuple

import numpy as np

from scheduler_env.compilation import compiled
from scheduler_env.kernel import Floats, Ints

MAX_MEMBERS = 8
PRECISION_H = 1e-8
"""Tolerance of the optimum: a completed search may miss it by this much; less than `incumbent.OPTIMAL_WITHIN_H`."""
MODES_PER_NODE = 64
"""A wait scans all modes, so it counts as one node plus one per this many modes (a large team has a thousand)."""
PROBE_NODES = 100
"""Nodes of each probe. On 300 groups of five steps with ten people, 100 lead to 3,500 nodes in total, 400 to 4,800."""
PROBE_STEP = 0.02
"""The second probe is this share above the bound by work; the step doubles with each further probe."""


class Packing(NamedTuple):
    """A schedule of a group and a lower bound; hours."""

    bound: float  # equals the makespan if the schedule is proved to be optimal
    makespan: float
    mode: Ints  # (members,) indices into the given list of modes
    start: Floats  # (members,)
    nodes: int  # nodes of the search


@compiled
def pack(mode_at: Ints, duration: Floats, units: Ints, capacity: int, max_nodes: int) -> Packing:
    """A shortest schedule of the group, or the best one found with `max_nodes`, and its bound.

    Args:
        mode_at: (members + 1,) CSR: the modes of member i are mode_at[i] .. mode_at[i + 1] - 1.
        duration, units: (modes,) hours and people; units at most `capacity`.
        max_nodes: limit of the search, about 0.04 microseconds per node; deterministic, unlike a time limit.
    """
    members = mode_at.size - 1
    low = min_makespan_by_work(mode_at, duration, units, capacity)
    mode, start = np.empty(members, dtype=np.int64), np.empty(members)
    high = 0.0  # makespan of the first schedule: one activity after the other
    for i in range(members):
        mode[i] = mode_at[i] + np.argmin(duration[mode_at[i] : mode_at[i + 1]])
        start[i] = high
        high += duration[mode[i]]
    if high <= low + PRECISION_H:
        return Packing(high, high, mode, start, 0)
    group = _group(mode_at, duration, units)
    best_mode, best_start = np.empty(members, dtype=np.int64), np.empty(members)
    spent, step, found = 0, 0.0, np.inf
    while found == np.inf and low * (1.0 + step) < high and spent < max_nodes:
        nodes = np.array([min(PROBE_NODES, max_nodes - spent)])
        spent += nodes[0]
        found = _search(group, low * (1.0 + step) + PRECISION_H, capacity, nodes, best_mode, best_start)
        spent -= nodes[0]
        if found == np.inf and nodes[0] > 0:
            low *= 1.0 + step  # refuted
        step = 2.0 * step if step > 0.0 else PROBE_STEP
    if found < high:
        high = found
        _take(group, best_mode, best_start, mode, start)
    if high > low + PRECISION_H and spent < max_nodes:
        nodes = np.array([max_nodes - spent])
        found = _search(group, high - PRECISION_H, capacity, nodes, best_mode, best_start)
        spent = max_nodes - nodes[0]
        if found < high:
            high = found
            _take(group, best_mode, best_start, mode, start)
        if nodes[0] > 0:
            low = high
    return Packing(high if high <= low + PRECISION_H else low, high, mode, start, spent)


@compiled
def min_makespan_by_work(mode_at: Ints, duration: Floats, units: Ints, capacity: int) -> float:
    """The smallest T for which the minimum work in modes of at most T hours does not exceed T times the capacity."""
    low = 0.0
    for i in range(mode_at.size - 1):
        low = max(low, duration[mode_at[i] : mode_at[i + 1]].min())
    times = np.sort(duration[duration >= low])  # between two times the minimum work is that of the earlier one
    first, last = 0, times.size
    while first < last:  # binary search for the first sufficient time
        middle = (first + last) // 2
        if _min_work(mode_at, duration, units, times[middle]) <= capacity * times[middle]:
            last = middle
        else:
            first = middle + 1
    if first == 0:
        return low
    before = _min_work(mode_at, duration, units, times[first - 1]) / capacity
    return float(before if first == times.size else min(before, times[first]))


@compiled
def _min_work(mode_at: Ints, duration: Floats, units: Ints, max_hours: float) -> float:
    """The minimum work of all members in modes of at most `max_hours`, people-hours."""
    work = 0.0
    for i in range(mode_at.size - 1):
        min_work = np.inf
        for m in range(mode_at[i], mode_at[i + 1]):
            if duration[m] <= max_hours:
                min_work = min(min_work, duration[m] * units[m])
        work += min_work
    return work


class _Group(NamedTuple):
    """A group with members sorted by descending duration, without dominated modes."""

    mode_at: Ints
    duration: Floats
    units: Ints  # ascending within a member
    member_of: Ints  # (modes,)
    twin: Ints  # (members,) the previous member if it has the same modes, otherwise -1
    outer_member: Ints  # (members,) number of the member in the given group
    outer_mode: Ints  # (modes,) index of the mode in the given group


@compiled
def _group(mode_at: Ints, duration: Floats, units: Ints) -> _Group:
    members = mode_at.size - 1
    shortest = np.empty(members)
    for i in range(members):
        shortest[i] = duration[mode_at[i] : mode_at[i + 1]].min()
    outer_member = np.argsort(-shortest, kind="mergesort")
    outer_mode = np.empty(duration.size, dtype=np.int64)
    member_of = np.empty(duration.size, dtype=np.int64)
    at = np.zeros(members + 1, dtype=np.int64)
    count = 0
    for i in range(members):
        first = mode_at[outer_member[i]]
        last = mode_at[outer_member[i] + 1]
        shortest_so_far = np.inf
        # Ascending units, for equal units the shortest first; a mode is not dominated if it is shorter than all before.
        by_duration = first + np.argsort(duration[first:last], kind="mergesort")
        for m in by_duration[np.argsort(units[by_duration], kind="mergesort")]:
            if duration[m] < shortest_so_far:
                shortest_so_far = duration[m]
                outer_mode[count], member_of[count] = m, i
                count += 1
        at[i + 1] = count
    outer_mode = outer_mode[:count]
    kept_duration, kept_units = duration[outer_mode], units[outer_mode]
    twin = np.full(members, -1, dtype=np.int64)
    for i in range(1, members):
        here, before, size = at[i], at[i - 1], at[i + 1] - at[i]
        if (
            size == here - before
            and (kept_units[here : here + size] == kept_units[before:here]).all()
            and (kept_duration[here : here + size] == kept_duration[before:here]).all()
        ):
            twin[i] = i - 1
    return _Group(at, kept_duration, kept_units, member_of[:count], twin, outer_member, outer_mode)


@compiled
def _take(group: _Group, found_mode: Ints, found_start: Floats, mode: Ints, start: Floats) -> None:
    """Copy a schedule into `mode` and `start`, in the numbering of the given group."""
    for i in range(found_mode.size):
        mode[group.outer_member[i]] = group.outer_mode[found_mode[i]]
        start[group.outer_member[i]] = found_start[i]


@compiled
def _search(group: _Group, limit: float, capacity: int, nodes: Ints, best_mode: Ints, best_start: Floats) -> float:
    """The shortest makespan of at most `limit` hours, and its schedule; infinity if there is none.

    `nodes[0]` is reduced by the nodes used; if it reaches 0, the result may not be the shortest. Each level of the
    search starts one activity or waits for the next end; an epoch is the time between two ends. A level undoes its
    change when the search returns to it, so no level needs its own copy of the state. The modes that may start in an
    epoch are a range, because units ascend and durations descend: from `first`, as long as enough people are free. A
    start updates the remaining work by a difference; the sum is recomputed only if rounding could decide.
    """
    members = group.mode_at.size - 1
    mode_at, duration, units, twin = group.mode_at, group.duration, group.units, group.twin
    work = group.units * group.duration
    min_work_from = work.copy()  # minimum over a mode and the later, shorter modes of its member
    for m in range(work.size - 2, -1, -1):
        if group.member_of[m] == group.member_of[m + 1]:
            min_work_from[m] = min(min_work_from[m], min_work_from[m + 1])
    mode = np.full(members, -1, dtype=np.int64)
    start, finish = np.zeros(members), np.zeros(members)
    levels, epochs = 2 * members + 2, members + 2
    free = np.zeros(levels, dtype=np.int64)
    left = np.zeros(levels)  # minimum remaining work from now on, people-hours
    epoch_of = np.zeros(levels, dtype=np.int64)
    next_member = np.zeros(levels, dtype=np.int64)  # next member to try; `members`: wait; beyond: the level is finished
    next_mode = np.zeros(levels, dtype=np.int64)  # next mode of that member
    started = np.zeros(levels, dtype=np.int64)  # the member that this level started; -1: it waited
    now = np.zeros(epochs)
    idle = np.zeros(epochs, dtype=np.int64)  # idle people just before `now`
    in_time = np.zeros((epochs, members), dtype=np.int64)  # the first mode that ends within the limit
    first = np.zeros((epochs, members), dtype=np.int64)  # the first of these that could not have started before `now`
    min_work = np.zeros((epochs, members))  # minimum work of a member that starts now or later, people-hours
    rounding = 1e-12 * capacity * limit
    wait_nodes = 1 + duration.size // MODES_PER_NODE
    free[0], idle[0] = capacity, -1
    best, level, missing, nodes_left = np.inf, 0, members, nodes[0]
    is_limit_new = True
    while True:
        if is_limit_new:
            is_limit_new = False
            for e in range(epoch_of[level] + 1):
                for i in range(members):
                    m, end = mode_at[i], mode_at[i + 1]
                    while m < end and now[e] + duration[m] > limit:
                        m += 1
                    in_time[e, i] = m
                    min_work[e, i] = min_work_from[m] if m < end else np.inf
                    while m < end and units[m] <= idle[e]:
                        m += 1
                    first[e, i] = m
            mode_then = np.full(members, -1, dtype=np.int64)
            for at_level in range(level + 1):
                e = epoch_of[at_level]
                left[at_level] = _work_left(units, mode_then, finish, now[e], min_work[e])
                if at_level < level and started[at_level] >= 0:
                    mode_then[started[at_level]] = mode[started[at_level]]
        epoch, people, i = epoch_of[level], free[level], next_member[level]
        at = now[epoch]
        room = capacity * (limit - at) + 1e-9
        is_deeper = False
        m = max(next_mode[level], first[epoch, i]) if i < members else 0
        while i < members:
            if mode[i] < 0 and (twin[i] < 0 or mode[twin[i]] >= 0):
                end = mode_at[i + 1]
                without = left[level] - min_work[epoch, i]
                while m < end and units[m] <= people:
                    nodes_left -= 1
                    if nodes_left <= 0:
                        nodes[0] = nodes_left
                        return best
                    total = without + work[m]
                    if missing == 1:
                        mode[i], start[i], finish[i] = m, at, at + duration[m]
                        best = finish.max()
                        best_mode[:], best_start[:] = mode, start
                        mode[i] = -1
                        limit = best - PRECISION_H
                        is_limit_new = True
                        break
                    if total <= room + rounding:
                        mode[i], start[i], finish[i] = m, at, at + duration[m]
                        if total < room - rounding or _work_left(units, mode, finish, at, min_work[epoch]) <= room:
                            is_deeper = True
                            break
                        mode[i] = -1
                    m += 1
                if is_deeper or is_limit_new:
                    break
            i += 1
            if i < members:
                m = first[epoch, i]
        if is_limit_new:
            next_member[level], next_mode[level] = i, m + 1
            continue
        if is_deeper:
            next_member[level], next_mode[level] = i, m + 1
            started[level] = i
            missing -= 1
            level += 1
            free[level] = people - (units[m] if duration[m] > 0.0 else 0)
            left[level] = total
            epoch_of[level] = epoch
            # Members that start at the same time are started in the order of their numbers.
            next_member[level], next_mode[level] = i + 1, 0
            continue
        if i == members:  # wait
            next_member[level] = members + 1
            next_end = np.inf
            for j in range(members):
                if mode[j] >= 0 and finish[j] > at:
                    next_end = min(next_end, finish[j])
            if next_end < np.inf:
                nodes_left -= wait_nodes
                if nodes_left <= 0:
                    nodes[0] = nodes_left
                    return best
                later, total = epoch + 1, np.inf
                if left[level] + people * (next_end - at) <= room + rounding:
                    for j in range(members):
                        if mode[j] < 0:
                            m, end = in_time[epoch, j], mode_at[j + 1]
                            while m < end and next_end + duration[m] > limit:
                                m += 1
                            in_time[later, j] = m
                            min_work[later, j] = min_work_from[m] if m < end else np.inf
                    total = _work_left(units, mode, finish, next_end, min_work[later])
                if total <= capacity * (limit - next_end) + 1e-9:
                    now[later], idle[later] = next_end, people
                    people = capacity
                    for j in range(members):
                        if mode[j] < 0:
                            m, end = in_time[later, j], mode_at[j + 1]
                            while m < end and units[m] <= idle[later]:
                                m += 1
                            first[later, j] = m
                        elif finish[j] > next_end:
                            people -= units[mode[j]]
                    started[level] = -1
                    level += 1
                    free[level], left[level], epoch_of[level] = people, total, later
                    next_member[level], next_mode[level] = 0, 0
                    continue
        level -= 1
        if level < 0:
            nodes[0] = nodes_left
            return best
        if started[level] >= 0:
            mode[started[level]] = -1
            missing += 1


@compiled
def _work_left(units: Ints, mode: Ints, finish: Floats, now: float, min_work: Floats) -> float:
    """Minimum remaining work from `now` on, people-hours; `min_work` is that of the unstarted members."""
    total = 0.0
    for i in range(mode.size):
        if mode[i] >= 0:
            total += units[mode[i]] * max(0.0, finish[i] - now)
        else:
            total += min_work[i]
    return total
