"""A genetic algorithm for activities without a choice of modes that schedules forwards and backwards alternately.

An individual is a schedule and its activity list. Crossover takes a time window of one parent's schedule, in half of
the cases the window with the highest resource use. It divides the activities into those before, in and after the
window. The order inside the window comes from one parent, the order outside from the other. Then a few activities are
shifted to another position between their predecessors and successors.

There are two populations of the same size. One pass schedules the children of the first population forwards from the
project start, the next pass those of the second population backwards from the project end. The children of one
population compete for places in the other, so each pass justifies the result of the previous one: half of a double
justification for the price of one schedule instead of two. A child can only take the place with its parent's number,
and only if it is no longer than the individual there, so no family can take over the population. A small population is
better for a few thousand schedules, a large one for many. The number of schedules is not known in advance, so a new
and larger population is started after some passes.

An evaluation is a schedule, built forwards or backwards.

Source: Debels and Vanhoucke 2005, 2007 (two populations, left- and right-justified, in turn); Valls, Ballestin and
Quintanilla 2008 (peak crossover); Kolisch and Drexl 1996 (regret-based biased random sampling). The effect of each
part: docs/decisions/placed-forwards-and-backwards-in-turn.md.
"""

from collections.abc import Callable

import numpy as np

from scheduler_env.compilation import compiled
from scheduler_env.incumbent import MIN_IMPROVEMENT_H, OPTIMAL_WITHIN_H, Incumbent
from scheduler_env.kernel import Floats, Ints, Problem
from scheduler_env.random_numbers import RandomState, uniform
from scheduler_env.rules import priorities
from scheduler_env.serial import FORWARDS, Decoder, decode, new_decoder, order_by_time, shift

STAGE = "genetic"
SIZES, PASSES = (30, 240, 480), (60, 400, 1_000)
"""Individuals and passes of the first population, of the second one, and of each later one."""
BINS, MIN_WINDOW, MAX_WINDOW, BUSIEST_PROBABILITY = 64, 0.25, 0.75, 0.5
"""Equal time intervals in which resource use is added up; limits of a window's length as a share of the makespan; the
probability that the window is the busiest one of its length instead of a random one."""
RIVALS = 3
"""The second parent is the best of this many random individuals."""
MAX_SHIFTS = 3
"""The number of shifted activities in a child is uniform in 0..MAX_SHIFTS."""
POPULATION, FILLED, PARENT, PASSES_DONE, BACKWARD = range(5)
"""Indices into `counts`: number of earlier populations, individuals so far, place of the next child's parent, finished
passes, whether this pass schedules backwards."""


def can_alternate(problem: Problem) -> bool:
    """Whether no activity has a choice of modes, and the problem has no release or level: it is the same backwards."""
    return problem.duration.size == problem.shortest.size and not problem.is_residual


def alternating_search(
    problem: Problem, incumbent: Incumbent, random: RandomState, lower_bound_h: float
) -> Callable[[int], float]:
    """A search that continues from call to call; `search(n)` builds n schedules.

    It returns the makespan, in hours, of its best schedule. If that is shorter than `incumbent.makespan_h`, the
    schedule is copied into `incumbent.start`; the caller updates `makespan_h`. The incumbent is the first individual.
    If another stage has shortened it between two calls, it becomes an individual again. A schedule of `lower_bound_h`
    ends a call.
    """
    n = problem.shortest.size
    decoder, sampling_priority = new_decoder(problem), priorities(problem, "LST")
    orders, starts = np.zeros((2, SIZES[-1], n), dtype=np.int64), np.zeros((2, SIZES[-1], n))
    makespans = np.full((2, SIZES[-1]), np.inf)
    counts = np.array([0, 0, 0, 0, 1], dtype=np.int64)  # new individuals are built forwards, so backwards is next
    best_start, best_h = incumbent.start.copy(), incumbent.makespan_h

    def search(schedules: int) -> float:
        nonlocal best_h
        if incumbent.makespan_h < best_h - MIN_IMPROVEMENT_H:
            best_start[:] = incumbent.start
            if counts[FILLED] > 0:
                parent = counts[BACKWARD], counts[PARENT]
                is_backward = counts[BACKWARD] == 1
                key = best_start + problem.duration[problem.mode_at[:n]] if is_backward else best_start
                order_by_time(problem, key, orders[parent])
                starts[parent], makespans[parent] = best_start, incumbent.makespan_h
        best_h = breed_alternating(
            problem, decoder, orders, starts, makespans, counts, sampling_priority, schedules, best_start, random,
            lower_bound_h + OPTIMAL_WITHIN_H,
        )  # fmt: skip
        if best_h < incumbent.makespan_h - MIN_IMPROVEMENT_H:
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
    sampling_priority: Floats,
    schedules: int,
    best_start: Floats,
    random: RandomState,
    lower_bound: float,
) -> float:
    """Build `schedules` schedules, fewer if one is as short as `lower_bound`; returns the best makespan so far, hours.

    Args:
        orders: shape (2, capacity, n), the activity lists of the forward and of the backward population. `starts` and
            `makespans` are their schedules.
        counts: progress of the search, see `POPULATION`.
        sampling_priority: priorities for sampling new individuals; the lowest is the most likely.
        best_start: a schedule, the first individual of the first population; afterwards the best schedule.
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
        population = min(counts[POPULATION], len(SIZES) - 1)
        size = SIZES[population]
        is_new = counts[FILLED] < size
        is_backward = not is_new and parents == 1
        into, place = (parents, counts[FILLED]) if is_new else (1 - parents, counts[PARENT])
        limit = np.inf if is_new else makespans[into, place] + 1e-9
        if counts[POPULATION] == 0 and counts[FILLED] == 0:
            order_by_time(problem, best_start, order)
        elif is_new:
            _sample(problem, sampling_priority, order, random)
        else:
            _cross(
                problem, orders[parents], starts[parents], makespans[parents, :size], counts[PARENT], order, rank,
                random,
            )  # fmt: skip
            _shift_some(problem, decoder, order, random)
        if is_backward:
            for i in range(n):
                backwards[i] = order[n - 1 - i]
            makespan = decode(
                problem, decoder, backwards, mode, decoder.predecessor_at, decoder.predecessors, start, limit, FORWARDS
            )
        else:
            makespan = decode(
                problem, decoder, order, mode, problem.successor_at, problem.successors, start, limit, FORWARDS
            )
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
            makespans[1 - parents, place] = np.inf  # any child may take this place
            counts[FILLED] += 1
            continue
        counts[PARENT] += 1
        if counts[PARENT] == size:
            counts[PARENT] = 0
            counts[BACKWARD] = into
            counts[PASSES_DONE] += 1
            if counts[PASSES_DONE] == PASSES[population]:
                counts[POPULATION] += 1
                counts[FILLED], counts[PASSES_DONE], counts[BACKWARD] = 0, 0, 1
    return best


@compiled
def _sample(problem: Problem, sampling_priority: Floats, order: Ints, random: RandomState) -> None:
    """Fill `order` with a random activity list by regret-based biased random sampling.

    The probability of an activity grows with its regret: the largest priority value among the activities that may come
    next, minus its own.

    Source: Kolisch and Drexl 1996.
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
            largest = max(largest, sampling_priority[open_[i]])
        total = 0.0
        for i in range(count):
            weight[i] = largest - sampling_priority[open_[i]] + problem.unit / 5.0
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
    """Fill `order` with a child of the individual `one` and the best of `RIVALS` random individuals.

    The window is taken from either parent with the same probability. Either this parent's order is kept outside the
    window and the activities inside are sorted by the other parent's order, or the other way round. The child respects
    precedence, as both parents do.
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
    """Begin and end, hours, of a window of random length: the one with the highest resource use, or a random one."""
    use, width = np.zeros(BINS), makespan / BINS
    length = int(BINS * (MIN_WINDOW + (MAX_WINDOW - MIN_WINDOW) * uniform(random)))
    if uniform(random) >= BUSIEST_PROBABILITY:
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
    max_use, at = within, 0
    for b in range(1, BINS - length + 1):
        within += use[b + length - 1] - use[b - 1]
        if within > max_use:
            max_use, at = within, b
    return at * width, (at + length) * width


@compiled
def _sort(order: Ints, first: int, last: int, rank: Ints) -> None:
    """Sort the places `first` .. `last - 1` of `order` by ascending rank (insertion sort)."""
    for i in range(first + 1, last):
        j, place = order[i], i
        while place > first and rank[order[place - 1]] > rank[j]:
            order[place] = order[place - 1]
            place -= 1
        order[place] = j


@compiled
def _shift_some(problem: Problem, decoder: Decoder, order: Ints, random: RandomState) -> None:
    """Shift up to `MAX_SHIFTS` random activities to a random place between their predecessors and successors."""
    n, position = order.size, decoder.position
    for i in range(n):
        position[order[i]] = i
    for _ in range(int(uniform(random) * (MAX_SHIFTS + 1))):
        j = int(uniform(random) * n)
        low, high = 0, n - 1
        for e in range(decoder.predecessor_at[j], decoder.predecessor_at[j + 1]):
            low = max(low, position[decoder.predecessors[e]] + 1)
        for e in range(problem.successor_at[j], problem.successor_at[j + 1]):
            high = min(high, position[problem.successors[e]] - 1)
        shift(order, position, position[j], low + int(uniform(random) * (high - low + 1)))
