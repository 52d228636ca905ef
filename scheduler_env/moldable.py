"""Independent moldable activities on one renewable resource: a shortest schedule, by branch and bound.

The steps that one team may do side by side are such a group. Its least makespan is a strip-packing problem: work over
headcount knows that a long step needs a large, wasteful crew to be done in time, but not that crews are whole people
whose steps have to fit beside each other.

Depth-first search over *active* schedules. At time 0, and whenever an activity ends, the search starts any number of
activities, each in any mode that ends within the limit, then waits for the next end. The limit is the shortest makespan
found so far. Cut off are

* a start in a mode that fits into what was idle before the event: it could have begun then (active schedules suffice:
  Sprecher, Kolisch and Drexl 1995);
* an activity before another one with the same modes and a lower number: the two are interchangeable;
* a node whose least work left, over modes that still end in time, exceeds the capacity left (energetic reasoning:
  Baptiste, Le Pape and Nuijten 2001).

Activities are numbered by falling duration, modes by rising units. Short probes just above the bound by work find a
good first schedule, or refute those limits at once.
"""

from typing import NamedTuple

import numpy as np

from scheduler_env.compilation import compiled
from scheduler_env.kernel import Floats, Ints

MAX_MEMBERS = 8
PRECISION_H = 1e-8
"""When the search ends, nothing is shorter than what it found by more than this; finer than `incumbent.PROVED_H`."""
MODES_PER_NODE = 64
"""A wait looks through the modes: with a thousand people it counts as so many nodes more as it takes longer."""
PROBE_NODES = 100
"""Nodes of each probe. On 300 groups of five steps of ten people 100 need 3,500 nodes in all, 400 need 4,800."""
PROBE_STEP = 0.02
"""The second probe lies this share above the bound by work; each further one twice as far as the one before."""


class Packing(NamedTuple):
    """A schedule of a group, and how short any could be; hours."""

    bound: float  # no schedule is shorter; the makespan itself once that is proved
    makespan: float
    mode: Ints  # (members,) places in the given list of modes
    start: Floats  # (members,)
    nodes: int  # that the search took


@compiled
def pack(mode_at: Ints, duration: Floats, units: Ints, capacity: int, max_nodes: int) -> Packing:
    """A shortest schedule of the group, or the best one that `max_nodes` find, and its bound.

    Args:
        mode_at: (members + 1,) CSR: the modes of member i are mode_at[i] .. mode_at[i + 1] - 1.
        duration, units: (modes,) hours and people; units at most `capacity`.
        max_nodes: of the search, some 0.04 microseconds each; deterministic, unlike a time limit.
    """
    members = mode_at.size - 1
    low = least_by_work(mode_at, duration, units, capacity)
    mode, start = np.empty(members, dtype=np.int64), np.empty(members)
    high = 0.0  # one after the other
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
def least_by_work(mode_at: Ints, duration: Floats, units: Ints, capacity: int) -> float:
    """The least T whose modes of at most T hours have no more work than T hours of the capacity."""
    low = 0.0
    for i in range(mode_at.size - 1):
        low = max(low, duration[mode_at[i] : mode_at[i + 1]].min())
    times = np.sort(duration[duration >= low])  # between two of them the work is that of the first one
    first, last = 0, times.size
    while first < last:  # the first time that is enough
        middle = (first + last) // 2
        if _least_work(mode_at, duration, units, times[middle]) <= capacity * times[middle]:
            last = middle
        else:
            first = middle + 1
    if first == 0:
        return low
    before = _least_work(mode_at, duration, units, times[first - 1]) / capacity
    return float(before if first == times.size else min(before, times[first]))


@compiled
def _least_work(mode_at: Ints, duration: Floats, units: Ints, most_hours: float) -> float:
    """People-hours of all members in their thriftiest modes of at most so many hours."""
    work = 0.0
    for i in range(mode_at.size - 1):
        least = np.inf
        for m in range(mode_at[i], mode_at[i + 1]):
            if duration[m] <= most_hours:
                least = min(least, duration[m] * units[m])
        work += least
    return work


class _Group(NamedTuple):
    """The same group with its members by falling duration and no mode that another one dominates."""

    mode_at: Ints
    duration: Floats
    units: Ints  # rising within a member
    member_of: Ints  # (modes,)
    twin: Ints  # (members,) the member before with the same modes, -1: none
    given_member: Ints  # (members,) its number outside
    given_mode: Ints  # (modes,) their places outside


@compiled
def _group(mode_at: Ints, duration: Floats, units: Ints) -> _Group:
    members = mode_at.size - 1
    shortest = np.empty(members)
    for i in range(members):
        shortest[i] = duration[mode_at[i] : mode_at[i + 1]].min()
    given_member = np.argsort(-shortest, kind="mergesort")
    given_mode = np.empty(duration.size, dtype=np.int64)
    member_of = np.empty(duration.size, dtype=np.int64)
    at = np.zeros(members + 1, dtype=np.int64)
    count = 0
    for i in range(members):
        first = mode_at[given_member[i]]
        last = mode_at[given_member[i] + 1]
        least = np.inf
        # By rising units, and of equal units the shortest first: a mode is worth something if it is shorter yet.
        by_duration = first + np.argsort(duration[first:last], kind="mergesort")
        for m in by_duration[np.argsort(units[by_duration], kind="mergesort")]:
            if duration[m] < least:
                least = duration[m]
                given_mode[count], member_of[count] = m, i
                count += 1
        at[i + 1] = count
    given_mode = given_mode[:count]
    kept_duration, kept_units = duration[given_mode], units[given_mode]
    twin = np.full(members, -1, dtype=np.int64)
    for i in range(1, members):
        here, before, size = at[i], at[i - 1], at[i + 1] - at[i]
        if (
            size == here - before
            and (kept_units[here : here + size] == kept_units[before:here]).all()
            and (kept_duration[here : here + size] == kept_duration[before:here]).all()
        ):
            twin[i] = i - 1
    return _Group(at, kept_duration, kept_units, member_of[:count], twin, given_member, given_mode)


@compiled
def _take(group: _Group, found_mode: Ints, found_start: Floats, mode: Ints, start: Floats) -> None:
    """Into `mode` and `start`, in the numbers outside of the search."""
    for i in range(found_mode.size):
        mode[group.given_member[i]] = group.given_mode[found_mode[i]]
        start[group.given_member[i]] = found_start[i]


@compiled
def _search(group: _Group, limit: float, capacity: int, nodes: Ints, best_mode: Ints, best_start: Floats) -> float:
    """The shortest makespan of at most `limit` hours, with its schedule; infinity if there is none.

    Takes from `nodes`; when none is left, what was found need not be the shortest. One level of the search starts one
    activity, or waits for the next end; an epoch is the time between two ends. What a level changed is taken back when
    the search returns to it, so that no level has a copy of its own. The modes that may be started in an epoch are a
    range, since a member's units rise and its durations fall: from `first`, while there are people. A start changes the
    least work left by a difference; only where rounding could decide is it summed up again.
    """
    members = group.mode_at.size - 1
    mode_at, duration, units, twin = group.mode_at, group.duration, group.units, group.twin
    work = group.units * group.duration
    thriftiest = work.copy()  # of a mode and the later, shorter ones of its member
    for m in range(work.size - 2, -1, -1):
        if group.member_of[m] == group.member_of[m + 1]:
            thriftiest[m] = min(thriftiest[m], thriftiest[m + 1])
    mode = np.full(members, -1, dtype=np.int64)
    start, finish = np.zeros(members), np.zeros(members)
    levels, epochs = 2 * members + 2, members + 2
    free = np.zeros(levels, dtype=np.int64)
    left = np.zeros(levels)  # people-hours that are at least to be done from now on
    epoch_of = np.zeros(levels, dtype=np.int64)
    next_member = np.zeros(levels, dtype=np.int64)  # to try; `members`: wait; then nothing is left
    next_mode = np.zeros(levels, dtype=np.int64)  # of that member
    started = np.zeros(levels, dtype=np.int64)  # the member with which the search went on; -1: it waited
    now = np.zeros(epochs)
    idle = np.zeros(epochs, dtype=np.int64)  # people without work just before `now`
    in_time = np.zeros((epochs, members), dtype=np.int64)  # the first mode that ends within the limit
    first = np.zeros((epochs, members), dtype=np.int64)  # of these, the first that could not have begun before
    least = np.zeros((epochs, members))  # people-hours of a member that is begun now or later
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
                    least[e, i] = thriftiest[m] if m < end else np.inf
                    while m < end and units[m] <= idle[e]:
                        m += 1
                    first[e, i] = m
            mode_then = np.full(members, -1, dtype=np.int64)
            for at_level in range(level + 1):
                e = epoch_of[at_level]
                left[at_level] = _work_left(units, mode_then, finish, now[e], least[e])
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
                without = left[level] - least[epoch, i]
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
                        if total < room - rounding or _work_left(units, mode, finish, at, least[epoch]) <= room:
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
            # Those started at the same moment: in the order of their numbers.
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
                            least[later, j] = thriftiest[m] if m < end else np.inf
                    total = _work_left(units, mode, finish, next_end, least[later])
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
def _work_left(units: Ints, mode: Ints, finish: Floats, now: float, least: Floats) -> float:
    """People-hours that are at least to be done from `now` on; `least`: of what has not started."""
    total = 0.0
    for i in range(mode.size):
        if mode[i] >= 0:
            total += units[mode[i]] * max(0.0, finish[i] - now)
        else:
            total += least[i]
    return total
