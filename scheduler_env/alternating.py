"""A genetic algorithm for activities without a choice of modes, placed forwards and backwards in turn.

An individual is a schedule and its activity list. One parent lends a window of its schedule, as often as not the one in
which the resources are busiest, and what stands before, in and after it; the order inside the window comes from one
parent, the order outside from the other. Then a few activities are shifted to another place between their predecessors
and successors.

There are two populations of the same size. One pass places the children of the first from the begin of the project on,
the next pass those of the second from its end backwards; children of either compete for places in the other, so that
each pass justifies what the pass before it left: half of a double justification for the price of one schedule instead
of two. A child takes the place that has its parent's number, if it is no longer than what stands there, and no other
place: no family can take the population over. A small population is better for a few thousand schedules, a large one
for many, and nobody knows beforehand how many there is time for: after some passes a new, larger one is begun.

An evaluation is a schedule, placed forwards or backwards.

Source: Debels and Vanhoucke 2005, 2007 (two populations, left- and right-justified, in turn); Valls, Ballestin and
Quintanilla 2008 (peak crossover); Kolisch and Drexl 1996 (regret-based biased random sampling). What each part is
worth: docs/decisions/placed-forwards-and-backwards-in-turn.md.
"""

from collections.abc import Callable

import numpy as np

from scheduler_env.compilation import compiled
from scheduler_env.incumbent import PROVED_H, SHORTER_H, Incumbent
from scheduler_env.kernel import Floats, Ints, Problem
from scheduler_env.rollout import RandomState, uniform
from scheduler_env.rules import priorities
from scheduler_env.serial import Decoder, decode, new_decoder, order_by_time, shift

STAGE = "genetic"
SIZES, PASSES = (30, 240, 480), (60, 400, 1_000)
"""Individuals of the first population, of the second and of each one after that, and how many passes it has."""
BINS, SHORTEST_WINDOW, LONGEST_WINDOW, BUSIEST = 64, 0.25, 0.75, 0.5
"""Equal parts of a schedule in which the use of resources is summed up; a window's length as a share of it; how
probably it is the busiest one of this length and not any."""
RIVALS = 3
"""Individuals, picked at random, of which the best is the second parent."""
MOST_SHIFTS = 3
"""Of activities in a child; any number up to it is as probable."""
AGE, FILLED, TURN, PASSED, BACKWARD = range(5)
"""Places in `counts`: populations before this one, its individuals so far, place of the next child's parent, passes so
far, whether this pass places backwards."""


def has_single_modes(problem: Problem) -> bool:
    """Whether no activity has a choice of modes."""
    return problem.duration.size == problem.shortest.size


def alternating_search(
    problem: Problem, incumbent: Incumbent, random: RandomState, lower_bound_h: float
) -> Callable[[int], float]:
    """A search whose calls continue each other; `search(n)` places n schedules.

    It returns the makespan, in hours, of the best schedule that it has found, and leaves that in `incumbent.start` if
    it is shorter than `incumbent.makespan_h`, which it leaves to the caller to lower. The incumbent is the first
    individual, and becomes one again when something else has shortened it between two calls. A schedule of
    `lower_bound_h` ends a call.
    """
    n = problem.shortest.size
    decoder, first_choice = new_decoder(problem), priorities(problem, "LST")
    orders, starts = np.zeros((2, SIZES[-1], n), dtype=np.int64), np.zeros((2, SIZES[-1], n))
    makespans = np.full((2, SIZES[-1]), np.inf)
    counts = np.array([0, 0, 0, 0, 1], dtype=np.int64)  # what is new was placed forwards: backwards next
    best_start, best_h = incumbent.start.copy(), incumbent.makespan_h

    def search(schedules: int) -> float:
        nonlocal best_h
        if incumbent.makespan_h < best_h - SHORTER_H:
            best_start[:] = incumbent.start
            if counts[FILLED] > 0:
                parent = counts[BACKWARD], counts[TURN]
                is_backward = counts[BACKWARD] == 1
                key = best_start + problem.duration[problem.mode_at[:n]] if is_backward else best_start
                order_by_time(problem, key, orders[parent])
                starts[parent], makespans[parent] = best_start, incumbent.makespan_h
        best_h = breed_alternating(
            problem, decoder, orders, starts, makespans, counts, first_choice, schedules, best_start, random,
            lower_bound_h + PROVED_H,
        )  # fmt: skip
        if best_h < incumbent.makespan_h - SHORTER_H:
            incumbent.start[:] = best_start
        return best_h

    return search


@compiled
def breed_alternating(
    problem: Problem,
    decoder: Decoder,
    orders: Ints,
    starts: Floats,
    makespans: Floats,
    counts: Ints,
    first_choice: Floats,
    schedules: int,
    best_start: Floats,
    random: RandomState,
    lower_bound: float,
) -> float:
    """Place `schedules` schedules, fewer if one is as short as `lower_bound`; the makespan of the best one ever.

    Args:
        orders: shape (2, capacity, n), the individuals' lists, those that the forward passes cross and those that the
            backward passes do; children of either compete with the others. `starts` and `makespans`: their schedules.
        counts: how far the search is, see `AGE` and so on.
        first_choice: priorities for the sampling of new individuals; the least is the likeliest.
        best_start: a schedule, the first individual of the first population; afterwards the best one.
    """
    n = orders.shape[2]
    mode = problem.mode_at[:n].copy()
    order, rank, backwards = np.empty(n, dtype=np.int64), np.empty(n, dtype=np.int64), np.empty(n, dtype=np.int64)
    start, end = np.empty(n), np.empty(n)
    best = 0.0
    for j in range(n):
        best = max(best, best_start[j] + problem.duration[mode[j]])
    for _ in range(schedules):
        if best <= lower_bound:
            break
        parents = counts[BACKWARD]
        generation = min(counts[AGE], len(SIZES) - 1)
        size = SIZES[generation]
        is_new = counts[FILLED] < size
        is_backward = not is_new and parents == 1
        into, place = (parents, counts[FILLED]) if is_new else (1 - parents, counts[TURN])
        limit = np.inf if is_new else makespans[into, place] + 1e-9
        if counts[AGE] == 0 and counts[FILLED] == 0:
            order_by_time(problem, best_start, order)
        elif is_new:
            _sample(problem, first_choice, order, random)
        else:
            _cross(
                problem, orders[parents], starts[parents], makespans[parents, :size], counts[TURN], order, rank, random
            )
            _shift_some(problem, decoder, order, random)
        if is_backward:
            for i in range(n):
                backwards[i] = order[n - 1 - i]
            makespan = decode(
                problem, decoder, backwards, mode, decoder.predecessor_at, decoder.predecessors, start, limit
            )
        else:
            makespan = decode(problem, decoder, order, mode, problem.successor_at, problem.successors, start, limit)
        if makespan < np.inf:  # no longer than the limit
            if is_backward:
                for j in range(n):
                    start[j] = makespan - start[j] - problem.duration[mode[j]]
                order_by_time(problem, start, order)
            else:
                for j in range(n):
                    end[j] = start[j] + problem.duration[mode[j]]
                order_by_time(problem, end, order)
            orders[into, place], starts[into, place], makespans[into, place] = order, start, makespan
            if makespan < best - 1e-9:
                best = makespan
                best_start[:] = start
        if is_new:
            makespans[1 - parents, place] = np.inf  # any child is welcome there
            counts[FILLED] += 1
            continue
        counts[TURN] += 1
        if counts[TURN] == size:
            counts[TURN] = 0
            counts[BACKWARD] = into
            counts[PASSED] += 1
            if counts[PASSED] == PASSES[generation]:
                counts[AGE] += 1
                counts[FILLED], counts[PASSED], counts[BACKWARD] = 0, 0, 1
    return best


@compiled
def _sample(problem: Problem, first_choice: Floats, order: Ints, random: RandomState) -> None:
    """Fill `order` with a random activity list: the likelier an activity, the more it regrets to be the last choice.

    Source: Kolisch and Drexl 1996; the regret of an activity is how much less its priority is than the largest one of
    those that may come next.
    """
    n = order.size
    missing = problem.predecessors_of.copy()
    open_, weight, count = np.empty(n, dtype=np.int64), np.empty(n), 0
    for j in range(n):
        if missing[j] == 0:
            open_[count] = j
            count += 1
    for position in range(n):
        largest = -np.inf
        for i in range(count):
            largest = max(largest, first_choice[open_[i]])
        total = 0.0
        for i in range(count):
            weight[i] = largest - first_choice[open_[i]] + problem.unit / 5.0
            total += weight[i]
        drawn, place = uniform(random) * total, 0
        while place < count - 1 and drawn >= weight[place]:
            drawn -= weight[place]
            place += 1
        j = open_[place]
        count -= 1
        open_[place] = open_[count]
        order[position] = j
        for e in range(problem.successor_at[j], problem.successor_at[j + 1]):
            s = problem.successors[e]
            missing[s] -= 1
            if missing[s] == 0:
                open_[count] = s
                count += 1


@compiled
def _cross(
    problem: Problem,
    orders: Ints,
    starts: Floats,
    makespans: Floats,
    one: int,
    order: Ints,
    rank: Ints,
    random: RandomState,
) -> None:
    """Fill `order` with a child of the individual `one` and the best of `RIVALS` others.

    One of them, either with the same probability, lends the window; its own order stands inside the window and the
    other one's outside, or the other way round. Keeps the precedence of both lists.
    """
    n, size = order.size, makespans.size
    other = int(uniform(random) * size)
    for _ in range(RIVALS - 1):
        rival = int(uniform(random) * size)
        if makespans[rival] < makespans[other]:
            other = rival
    if other == one:
        other = (one + 1 + int(uniform(random) * (size - 1))) % size
    if uniform(random) < 0.5:
        one, other = other, one
    begin, end = _window(problem, starts[one], makespans[one], random)
    first = 0
    while first < n and starts[one, orders[one, first]] < begin:
        first += 1
    last = first
    while last < n and starts[one, orders[one, last]] < end:
        last += 1
    order[:] = orders[one]
    for i in range(n):
        rank[orders[other, i]] = i
    if uniform(random) < 0.5:
        _sort(order, first, last, rank)
    else:
        _sort(order, 0, first, rank)
        _sort(order, last, n, rank)


@compiled
def _window(problem: Problem, start: Floats, makespan: float, random: RandomState) -> tuple[float, float]:
    """Begin and end of a window of random length: where most resources are in use, as shares of them, or anywhere."""
    use, width = np.zeros(BINS), makespan / BINS
    length = int(BINS * (SHORTEST_WINDOW + (LONGEST_WINDOW - SHORTEST_WINDOW) * uniform(random)))
    if uniform(random) >= BUSIEST:
        at = int(uniform(random) * (BINS - length + 1))
        return at * width, (at + length) * width
    for j in range(start.size):
        m = problem.mode_at[j]
        share = 0.0
        for d in range(problem.demand_at[m], problem.demand_at[m + 1]):
            share += problem.demand_units[d] / problem.capacity[problem.demand_resource[d]]
        for b in range(int(start[j] / width), min(int((start[j] + problem.duration[m]) / width), BINS)):
            use[b] += share
    within = use[:length].sum()
    most, at = within, 0
    for b in range(1, BINS - length + 1):
        within += use[b + length - 1] - use[b - 1]
        if within > most:
            most, at = within, b
    return at * width, (at + length) * width


@compiled
def _sort(order: Ints, first: int, last: int, rank: Ints) -> None:
    """Sort the places from `first` up to `last` by rising rank."""
    for i in range(first + 1, last):
        j, place = order[i], i
        while place > first and rank[order[place - 1]] > rank[j]:
            order[place] = order[place - 1]
            place -= 1
        order[place] = j


@compiled
def _shift_some(problem: Problem, decoder: Decoder, order: Ints, random: RandomState) -> None:
    """Shift up to `MOST_SHIFTS` activities to any place between their predecessors and successors."""
    n, position = order.size, decoder.position
    for i in range(n):
        position[order[i]] = i
    for _ in range(int(uniform(random) * (MOST_SHIFTS + 1))):
        j = int(uniform(random) * n)
        low, high = 0, n - 1
        for e in range(decoder.predecessor_at[j], decoder.predecessor_at[j + 1]):
            low = max(low, position[decoder.predecessors[e]] + 1)
        for e in range(problem.successor_at[j], problem.successor_at[j + 1]):
            high = min(high, position[problem.successors[e]] - 1)
        shift(order, position, position[j], low + int(uniform(random) * (high - low + 1)))
