"""The serial schedule generation scheme: schedules the activities of a list in order, each as early as it fits.

Source: Kelley 1963; Kolisch 1996.
"""

from typing import NamedTuple

import numpy as np

from scheduler_env.bounds import reversed_precedence
from scheduler_env.compilation import compiled
from scheduler_env.kernel import Floats, Ints, Problem
from scheduler_env.levels import FROM, SAME_H, UNITS

FORWARDS = -1.0
"""Value of `mirror` to schedule from hour 0 on."""
MAX_BREAKPOINTS = 1_000_000
"""Limit of the memory for incremental decoding, in breakpoints of 16 bytes; a larger problem is decoded completely."""


class Decoder(NamedTuple):
    """Scratch memory of the serial scheme, and the reversed precedence relation.

    A row is the use of one resource over time: breakpoints, and the units in use from each breakpoint on. Row k belongs
    to resource k. An incremental decoder has two more rows for each place of the list and each resource of a mode: the
    use after that place in the accepted list (`side`) and in the list that is being tried. So a list that differs from
    the accepted one only from some place on is decoded only from there on.
    """

    predecessor_at: Ints  # (n + 1,) CSR into predecessors
    predecessors: Ints
    at: Floats  # (rows, 2 users + 2 + levels) breakpoints, hours; users: the maximum number of activities of one
    # resource; levels: the maximum number of rows of one resource in `Problem.levels`
    used: Ints  # (rows, 2 users + 2 + levels) units in use, or not there, from that breakpoint on
    size: Ints  # (rows,) number of breakpoints
    full: Ints  # (K,) with this many units in use, no activity fits any more
    row: Ints  # (K,) the row with the current use of each resource
    side: Ints  # (n,) which rows of a place belong to the accepted list: 0 the first ones, 1 the second ones
    ready: Floats  # (n,) finish time of the latest predecessor scheduled so far
    rest: Floats  # (n,) longest path after each activity, hours; used with a limit
    position: Ints  # (n,) place of each activity in the list


def new_decoder(problem: Problem, *, incremental: bool = False) -> Decoder:
    """A decoder for `problem`; an incremental one can reuse the unchanged beginning of a list (see `place`)."""
    n, k = problem.shortest.size, problem.capacity.size
    predecessor_at, predecessors = reversed_precedence(problem)
    users, width, full = _extent(problem)
    length = 2 * users + 2
    if problem.is_residual:
        length += int(np.diff(problem.level_at).max())
    rows = k + (2 * n * width if incremental and 2 * n * width * length <= MAX_BREAKPOINTS else 0)
    return Decoder(
        predecessor_at=predecessor_at,
        predecessors=predecessors,
        at=np.zeros((rows, length)),
        used=np.zeros((rows, length), dtype=np.int64),
        size=np.ones(rows, dtype=np.int64),
        full=full,
        row=np.arange(k),
        side=np.zeros(n, dtype=np.int64),
        ready=np.zeros(n),
        rest=np.zeros(n),
        position=np.zeros(n, dtype=np.int64),
    )


@compiled
def _extent(problem: Problem) -> tuple[int, int, Ints]:
    """Maximum number of activities of one resource, maximum number of resources of one mode, and `Decoder.full`."""
    most, width = 0, 0
    full = np.zeros(problem.capacity.size, dtype=np.int64)
    users = np.zeros(problem.capacity.size, dtype=np.int64)
    last_user = np.full(problem.capacity.size, -1, dtype=np.int64)
    for j in range(problem.shortest.size):
        for m in range(problem.mode_at[j], problem.mode_at[j + 1]):
            width = max(width, problem.demand_at[m + 1] - problem.demand_at[m])
            for d in range(problem.demand_at[m], problem.demand_at[m + 1]):
                k = problem.demand_resource[d]
                full[k] = max(full[k], problem.capacity[k] - problem.demand_units[d] + 1)
                if last_user[k] != j:
                    last_user[k] = j
                    users[k] += 1
                    most = max(most, users[k])
    return most, width, full


@compiled
def decode(
    problem: Problem,
    decoder: Decoder,
    order: Ints,
    mode: Ints,
    after_at: Ints,
    after: Ints,
    start: Floats,
    limit: float,
    mirror: float,
) -> float:
    """Schedule the activities of `order`, each as early as it fits; fills `start` and returns the makespan, hours.

    `after_at` and `after` are the CSR of the activities that must wait for an activity: the successors, or the
    predecessors to schedule backwards from the project end. Stops and returns infinity once an activity ends after
    `limit`. `mirror` is `FORWARDS`, or the project end, hours, from which a residual problem is scheduled backwards;
    releases then have no effect.

    Source: Kelley 1963; Kolisch 1996 (serial schedule generation scheme).
    """
    return place(
        order, mode, False, 0, start, mode, limit, 0, after_at, after, decoder.at, decoder.used, decoder.size,
        decoder.row, decoder.side, decoder.ready, decoder.rest, decoder.full, problem.duration, problem.capacity,
        problem.mode_at, problem.demand_at, problem.demand_resource, problem.demand_units, problem.release,
        problem.level_at, problem.levels, mirror,
    )  # fmt: skip


@compiled
def place(
    order: Ints,
    mode: Ints,
    is_flexible: bool,
    first: int,
    start: Floats,
    chosen: Ints,
    limit: float,
    width: int,
    after_at: Ints,
    after: Ints,
    at: Floats,
    used: Ints,
    size: Ints,
    row: Ints,
    side: Ints,
    ready: Floats,
    rest: Floats,
    full: Ints,
    durations: Floats,
    capacity: Ints,
    mode_at: Ints,
    demand_at: Ints,
    demand_resource: Ints,
    demand_units: Ints,
    release: Floats,
    level_at: Ints,
    levels: Floats,
    mirror: float,
) -> float:
    """`decode` with all arrays as arguments, because each access to an array in a tuple counts a reference.

    Args:
        is_flexible: an activity that would have to wait in its `mode` takes the longer mode in which it ends earliest,
            if that is earlier.
        first: the places before it are the same as in the accepted list, as are their `start` and `chosen`.
        chosen: filled with the modes taken; may be `mode` itself if they are fixed.
        limit: stops and returns infinity once the end of an activity plus its `rest` is later.
        width: incremental rows of a place; 0 if there are none, then `first` must be 0.
    """
    n_resources = capacity.size
    for k in range(n_resources):
        row[k] = k
        size[k] = 1
        at[k, 0] = 0.0
        used[k, 0] = 0
    for j in range(ready.size):
        ready[j] = release[j] if mirror < 0.0 else 0.0
    if levels.shape[0] > 0:
        _open(at, used, size, capacity, full, level_at, levels, mirror)
    makespan = 0.0
    for position in range(first):
        j = order[position]
        m = chosen[j]
        ending = start[j] + durations[m]
        makespan = max(makespan, ending)
        if durations[m] > 0.0:
            accepted = n_resources + position * width + side[position] * (width // 2)
            for d in range(demand_at[m], demand_at[m + 1]):
                row[demand_resource[d]] = accepted + d - demand_at[m]
        for e in range(after_at[j], after_at[j + 1]):
            ready[after[e]] = max(ready[after[e]], ending)
    for position in range(first, order.size):
        j = order[position]
        m = mode[j]
        begin = _earliest(
            m, ready[j], durations[m], at, used, size, row, capacity, demand_at, demand_resource, demand_units
        )
        if is_flexible and begin > ready[j] + 1e-9:
            preferred_h, soonest = durations[m], begin + durations[m]
            for other in range(mode_at[j], mode_at[j + 1]):
                duration = durations[other]
                if duration <= preferred_h or ready[j] + duration >= soonest - 1e-9:
                    continue
                sooner = _earliest(
                    other, ready[j], duration, at, used, size, row, capacity, demand_at, demand_resource, demand_units
                )
                if sooner + duration < soonest - 1e-9:
                    begin, soonest, m = sooner, sooner + duration, other
        ending = begin + durations[m]
        if ending + rest[j] > limit:
            return np.inf
        if durations[m] > 0.0:
            target = n_resources + position * width + (1 - side[position]) * (width // 2)
            for d in range(demand_at[m], demand_at[m + 1]):
                k = demand_resource[d]
                if width > 0:
                    _copy(at, used, size, row[k], target)
                    row[k] = target
                    target += 1
                _occupy(at, used, size, row[k], begin, ending, demand_units[d], full[k], capacity[k])
        start[j], chosen[j] = begin, m
        makespan = max(makespan, ending)
        for e in range(after_at[j], after_at[j + 1]):
            ready[after[e]] = max(ready[after[e]], ending)
    return makespan


@compiled
def _open(
    at: Floats, used: Ints, size: Ints, capacity: Ints, full: Ints, level_at: Ints, levels: Floats, mirror: float
) -> None:
    """Enter what is not there of each resource as units in use; backwards in time from `mirror` unless `FORWARDS`."""
    for k in range(capacity.size):
        count = 0
        if mirror < 0.0:
            for row in range(level_at[k], level_at[k + 1]):
                at[k, count] = levels[row, FROM]
                used[k, count] = _absent(levels[row, UNITS], capacity[k], full[k])
                count += 1
        else:
            for row in range(level_at[k + 1] - 1, level_at[k] - 1, -1):
                if levels[row, FROM] < mirror - SAME_H:
                    used[k, count] = _absent(levels[row, UNITS], capacity[k], full[k])
                    at[k, count + 1] = mirror - levels[row, FROM]
                    used[k, count + 1] = 0
                    count += 1
            count += 1 if count > 0 else 0
        if count > 0:
            size[k] = count


@compiled
def _absent(there: float, capacity: int, full: int) -> int:
    """The units that are not there; the capacity, as `_occupy` does, if no activity fits into the others."""
    absent = capacity - int(there)
    return capacity if absent >= full else absent


@compiled
def _earliest(
    m: int,
    begin: float,
    duration: float,
    at: Floats,
    used: Ints,
    size: Ints,
    row: Ints,
    capacity: Ints,
    demand_at: Ints,
    demand_resource: Ints,
    demand_units: Ints,
) -> float:
    """The earliest start, not before `begin`, at which mode `m` fits for `duration` hours."""
    moved = True
    while moved:
        moved = False
        for d in range(demand_at[m], demand_at[m + 1]):
            r = row[demand_resource[d]]
            most = capacity[demand_resource[d]] - demand_units[d]
            n = size[r]
            i = n - 1
            while i > 0 and at[r, i] > begin + 1e-9:
                i -= 1
            end = begin + duration - 1e-9
            while i < n and at[r, i] < end:
                if used[r, i] > most:
                    begin = at[r, i + 1]
                    end = begin + duration - 1e-9
                    moved = demand_at[m + 1] - demand_at[m] > 1
                i += 1
    return begin


@compiled
def _copy(at: Floats, used: Ints, size: Ints, source: int, target: int) -> None:
    size[target] = size[source]
    for i in range(size[source]):
        at[target, i] = at[source, i]
        used[target, i] = used[source, i]


@compiled
def _occupy(
    at: Floats, used: Ints, size: Ints, r: int, begin: float, ending: float, units: int, full: int, capacity: int
) -> None:
    """Add `units` from `begin` to `ending` to row `r`.

    To keep rows short, use from `full` on is stored as the capacity, and breakpoints without a change are removed.
    """
    n = size[r]
    last = n - 1
    while at[r, last] > ending + 1e-9:
        last -= 1
    first = last
    while at[r, first] > begin + 1e-9:
        first -= 1
    opens = 1 if begin - at[r, first] > 1e-9 else 0
    closes = 1 if ending - at[r, last] > 1e-9 else 0
    for i in range(n - 1, last, -1):
        at[r, i + opens + closes] = at[r, i]
        used[r, i + opens + closes] = used[r, i]
    before_end = used[r, last]
    if opens == 1:
        for i in range(last, first, -1):
            at[r, i + 1] = at[r, i]
            used[r, i + 1] = used[r, i]
        at[r, first + 1] = begin
        used[r, first + 1] = used[r, first]
    if closes == 1:
        at[r, last + opens + 1] = ending
        used[r, last + opens + 1] = before_end
    for i in range(first + opens, last + opens + closes):
        used[r, i] += units
        if used[r, i] >= full:
            used[r, i] = capacity
    n += opens + closes
    kept = max(first + opens, 1)
    for i in range(kept, n):
        if used[r, i] != used[r, kept - 1]:
            at[r, kept] = at[r, i]
            used[r, kept] = used[r, i]
            kept += 1
    size[r] = kept


@compiled
def order_by_time(problem: Problem, time: Floats, order: Ints) -> None:
    """Fill `order` by ascending `time`; each activity is after its predecessors, even if its duration is 0."""
    n = order.size
    key = time.copy()
    for position in range(n):
        j = problem.topological[position]
        for e in range(problem.successor_at[j], problem.successor_at[j + 1]):
            key[problem.successors[e]] = max(key[problem.successors[e]], key[j])
    place = np.argsort(key[problem.topological], kind="mergesort")
    for i in range(n):
        order[i] = problem.topological[place[i]]


@compiled
def shift(order: Ints, position: Ints, old: int, new: int) -> None:
    """Move the activity at place `old` of the list to place `new`; updates `position`."""
    j = order[old]
    step = 1 if new > old else -1
    i = old
    while i != new:
        order[i] = order[i + step]
        position[order[i]] = i
        i += step
    order[new] = j
    position[j] = new
