"""The serial schedule generation scheme: an activity list with modes becomes a schedule, each step as early as it fits.

Source: Kelley 1963; Kolisch 1996.
"""

from typing import NamedTuple

import numpy as np

from scheduler_env.bounds import reversed_precedence
from scheduler_env.compilation import compiled
from scheduler_env.kernel import Floats, Ints, Problem


class Decoder(NamedTuple):
    """Scratch memory of the serial scheme, and the precedence seen from the end.

    A row is the use of one resource over time: breakpoints, and the units in use from each of them on. Row k is that of
    resource k; if the rows are `kept`, further rows tell the use after each place of the list, so that a list that
    differs only from some place on is decoded from there on.
    """

    predecessor_at: Ints  # (n + 1,) CSR into predecessors
    predecessors: Ints
    at: Floats  # (rows, 2 most + 2) breakpoints; most: activities of one resource
    used: Ints  # (rows, 2 most + 2) units in use from that breakpoint on
    size: Ints  # (rows,) breakpoints
    full: Ints  # (K,) units in use that leave no room for anybody
    row: Ints  # (K,) where each resource's present use is
    side: Ints  # (n,) which of the two rows of a place belongs to the list that was kept
    ready: Floats  # (n,) end of the latest predecessor placed so far
    finish: Floats  # (n,)
    chosen: Ints  # (n,)
    rest: Floats  # (n,) hours that are sure to follow the end of each activity
    position: Ints  # (n,) of each activity in the list


def new_decoder(problem: Problem, *, kept: bool = False) -> Decoder:
    n, k = problem.shortest.size, problem.capacity.size
    predecessor_at, predecessors = reversed_precedence(problem)
    most, width, full = _extent(problem)
    rows = k + (2 * n * width if kept else 0)
    return Decoder(
        predecessor_at=predecessor_at,
        predecessors=predecessors,
        at=np.zeros((rows, 2 * most + 2)),
        used=np.zeros((rows, 2 * most + 2), dtype=np.int64),
        size=np.ones(rows, dtype=np.int64),
        full=full,
        row=np.arange(k),
        side=np.zeros(n, dtype=np.int64),
        ready=np.zeros(n),
        finish=np.zeros(n),
        chosen=np.zeros(n, dtype=np.int64),
        rest=np.zeros(n),
        position=np.zeros(n, dtype=np.int64),
    )


@compiled
def _extent(problem: Problem) -> tuple[int, int, Ints]:
    """Most activities of one resource, most resources of one mode, and `Decoder.full`."""
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
) -> float:
    """Place the activities of `order`, each as early as it fits, and fill `start`; the makespan.

    `after_at` and `after` are the CSR of what has to wait for an activity: the successors, or, to decode from the end
    of the project backwards, the predecessors. Gives up with infinity once an activity ends after `limit`.

    Source: Kelley 1963; Kolisch 1996 (serial schedule generation scheme).
    """
    decoder.ready[:] = 0.0
    return place(
        order, mode, 0, start, limit, 0, after_at, after, decoder.at, decoder.used, decoder.size, decoder.row,
        decoder.side, decoder.ready, decoder.finish, decoder.rest, problem.duration, problem.capacity,
        problem.demand_at, problem.demand_resource, problem.demand_units,
        decoder.full, problem.mode_at, decoder.chosen, False,
    )  # fmt: skip


@compiled
def place(
    order: Ints,
    mode: Ints,
    first: int,
    start: Floats,
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
    finish: Floats,
    rest: Floats,
    durations: Floats,
    capacity: Ints,
    demand_at: Ints,
    demand_resource: Ints,
    demand_units: Ints,
    full: Ints,
    mode_at: Ints,
    chosen: Ints,
    flexible: bool,
) -> float:
    """`decode` from place `first` on; `width`: rows of a place, 0 if none are kept.
    """
    half = width // 2
    n_resources = capacity.size
    for k in range(n_resources):
        row[k] = k
        size[k] = 1
        at[k, 0] = 0.0
        used[k, 0] = 0
    for j in range(ready.size):
        ready[j] = 0.0
    makespan = 0.0
    for position in range(first):
        j = order[position]
        m = chosen[j]
        ending = start[j] + durations[m]
        finish[j] = ending
        makespan = max(makespan, ending)
        if durations[m] > 0.0:
            target = n_resources + position * width + side[position] * half
            for d in range(demand_at[m], demand_at[m + 1]):
                row[demand_resource[d]] = target + d - demand_at[m]
        for e in range(after_at[j], after_at[j + 1]):
            ready[after[e]] = max(ready[after[e]], ending)
    for position in range(first, order.size):
        j = order[position]
        m = mode[j]
        begin = _earliest(
            at, used, size, row, capacity, demand_at, demand_resource, demand_units, m, ready[j], durations[m]
        )
        if flexible and begin > ready[j] + 1e-9:
            best = begin + durations[m]
            least = durations[m]
            for other in range(mode_at[j], mode_at[j + 1]):
                if durations[other] <= least or ready[j] + durations[other] >= best - 1e-9:
                    continue
                sooner = _earliest(
                    at, used, size, row, capacity, demand_at, demand_resource, demand_units, other, ready[j],
                    durations[other],
                )  # fmt: skip
                if sooner + durations[other] < best - 1e-9:
                    best, begin, m = sooner + durations[other], sooner, other
        chosen[j] = m
        duration = durations[m]
        first_demand, last_demand = demand_at[m], demand_at[m + 1]
        ending = begin + duration
        if ending + rest[j] > limit:
            return np.inf
        if duration > 0.0:
            target = n_resources + position * width + (1 - side[position]) * half
            for d in range(first_demand, last_demand):
                k = demand_resource[d]
                r = row[k]
                if width > 0:
                    t = target + d - first_demand
                    size[t] = size[r]
                    for i in range(size[r]):
                        at[t, i] = at[r, i]
                        used[t, i] = used[r, i]
                    row[k] = r = t
                _occupy(at, used, size, r, begin, ending, demand_units[d], full[k], capacity[k])
        start[j] = begin
        finish[j] = ending
        makespan = max(makespan, ending)
        for e in range(after_at[j], after_at[j + 1]):
            ready[after[e]] = max(ready[after[e]], ending)
    return makespan


@compiled
def _earliest(
    at: Floats,
    used: Ints,
    size: Ints,
    row: Ints,
    capacity: Ints,
    demand_at: Ints,
    demand_resource: Ints,
    demand_units: Ints,
    m: int,
    begin: float,
    duration: float,
) -> float:
    first_demand, last_demand = demand_at[m], demand_at[m + 1]
    moved = True
    while moved:
        moved = False
        for d in range(first_demand, last_demand):
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
                    moved = last_demand - first_demand > 1
                i += 1
    return begin


@compiled
def _occupy(at: Floats, used: Ints, size: Ints, r: int, begin: float, ending: float, units: int, full: int, capacity: int) -> None:
    """Add `units` from `begin` to `ending` to row `r`."""
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
