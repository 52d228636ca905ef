"""The serial schedule generation scheme: an activity list with modes becomes a schedule, each step as early as it fits.

Source: Kelley 1963; Kolisch 1996.
"""

from typing import NamedTuple

import numpy as np

from scheduler_env.bounds import reversed_precedence
from scheduler_env.compilation import compiled
from scheduler_env.kernel import Floats, Ints, Problem


class Decoder(NamedTuple):
    """Scratch memory of the serial scheme, and the precedence seen from the end."""

    predecessor_at: Ints  # (n + 1,) CSR into predecessors
    predecessors: Ints
    at: Floats  # (K, 2 n + 2) breakpoints of each resource's use
    used: Ints  # (K, 2 n + 2) units in use from that breakpoint on
    size: Ints  # (K,) breakpoints
    ready: Floats  # (n,) end of the latest predecessor placed so far
    finish: Floats  # (n,)
    position: Ints  # (n,) of each activity in the list


def new_decoder(problem: Problem) -> Decoder:
    n, k = problem.shortest.size, problem.capacity.size
    predecessor_at, predecessors = reversed_precedence(problem)
    return Decoder(
        predecessor_at=predecessor_at,
        predecessors=predecessors,
        at=np.zeros((k, 2 * n + 2)),
        used=np.zeros((k, 2 * n + 2), dtype=np.int64),
        size=np.ones(k, dtype=np.int64),
        ready=np.zeros(n),
        finish=np.zeros(n),
        position=np.zeros(n, dtype=np.int64),
    )


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
    at, used, size, ready, finish = decoder.at, decoder.used, decoder.size, decoder.ready, decoder.finish
    for k in range(problem.capacity.size):
        size[k] = 1
        at[k, 0] = 0.0
        used[k, 0] = 0
    ready[:] = 0.0
    makespan = 0.0
    for position in range(order.size):
        j = order[position]
        m = mode[j]
        duration = problem.duration[m]
        begin = ready[j]
        first_demand, last_demand = problem.demand_at[m], problem.demand_at[m + 1]
        moved = True
        while moved:
            moved = False
            for d in range(first_demand, last_demand):
                k = problem.demand_resource[d]
                most = problem.capacity[k] - problem.demand_units[d]
                i = size[k] - 1
                while i > 0 and at[k, i] > begin + 1e-9:
                    i -= 1
                end = begin + duration - 1e-9
                while i < size[k] and at[k, i] < end:
                    if used[k, i] > most:
                        begin = at[k, i + 1]
                        end = begin + duration - 1e-9
                        moved = last_demand - first_demand > 1
                    i += 1
        ending = begin + duration
        if ending > limit:
            return np.inf
        if duration > 0.0:
            for d in range(first_demand, last_demand):
                _occupy(at, used, size, problem.demand_resource[d], begin, ending, problem.demand_units[d])
        start[j] = begin
        finish[j] = ending
        makespan = max(makespan, ending)
        for e in range(after_at[j], after_at[j + 1]):
            ready[after[e]] = max(ready[after[e]], ending)
    return makespan


@compiled
def _occupy(at: Floats, used: Ints, size: Ints, k: int, begin: float, ending: float, units: int) -> None:
    last = _breakpoint(at, used, size, k, ending)
    n = size[k]
    first = _breakpoint(at, used, size, k, begin)
    last += size[k] - n
    for i in range(first, last):
        used[k, i] += units


@compiled
def _breakpoint(at: Floats, used: Ints, size: Ints, k: int, time: float) -> int:
    i = size[k] - 1
    while i > 0 and at[k, i] > time + 1e-9:
        i -= 1
    if time - at[k, i] <= 1e-9:
        return int(i)
    for later in range(size[k], i + 1, -1):
        at[k, later] = at[k, later - 1]
        used[k, later] = used[k, later - 1]
    at[k, i + 1] = time
    used[k, i + 1] = used[k, i]
    size[k] += 1
    return int(i + 1)


@compiled
def order_by_time(problem: Problem, time: Floats, order: Ints) -> None:
    """Fill `order` by rising `time`, each activity after its predecessors, also where one takes no time."""
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
    """Move the activity at place `old` of the list to place `new`."""
    j = order[old]
    step = 1 if new > old else -1
    i = old
    while i != new:
        order[i] = order[i + step]
        position[order[i]] = i
        i += step
    order[new] = j
    position[j] = new
