"""A standard genetic algorithm: activity lists with modes, two-point crossover, double justification.

An individual is an activity list with a mode per activity (Hartmann 2001), decoded by the serial scheme. Every child's
schedule is justified, right then left, and its list is rebuilt from the result (Valls, Ballestin and Quintanilla 2005,
2008). Parents are selected by tournaments of two. A child replaces the worst individual if it is no longer; a makespan
occurs only once in the population, which keeps it diverse. After `PATIENCE` children in a row without a replacement a
new population is started. Every other population contains the best schedule so far.

Problems without a choice of modes are searched by `alternating`, which needs fewer schedules.

An evaluation is a schedule: a child, which is decoded and justified, counts as `SCHEDULES_PER_CHILD`.
"""

from collections.abc import Callable
from typing import Any, Unpack

import numpy as np

from scheduler_env.alternating import STAGE, can_alternate
from scheduler_env.compilation import compiled
from scheduler_env.improvement import Stage, alternating_stage, justify, run_stages
from scheduler_env.incumbent import MIN_IMPROVEMENT_H, Incumbent, Limits
from scheduler_env.kernel import Floats, Ints, Problem
from scheduler_env.random_numbers import RandomState, new_random, uniform
from scheduler_env.rules import activity_list, preferred_modes, priorities
from scheduler_env.serial import FORWARDS, Decoder, decode, new_decoder

Bools = np.ndarray[Any, np.dtype[np.bool_]]

POPULATION = 40
"""Individuals; Valls et al. use 50 for 5,000 schedules."""
MUTATION = 0.05
"""Probability that an activity is swapped with its neighbour, and that its mode changes."""
NOISE = 0.5
"""Width of the random factor on the latest start times by which the first individuals are ordered."""
PATIENCE = 5 * POPULATION
SIZE, USELESS, POPULATIONS = 0, 1, 2
"""Indices into `counts`: individuals so far, children in a row without a replacement, populations abandoned."""
SCHEDULES_PER_CHILD = 3
"""One from decoding, two from double justification."""


def evolve(problem: Problem, incumbent: Incumbent, *, seed: int = 0, **limits: Unpack[Limits]) -> None:
    """Shorten `incumbent`, a complete schedule that becomes one of the first individuals, within `limits`.

    The same seed and number of evaluations give the same schedule.
    """
    random = new_random(seed)
    if can_alternate(problem):
        stage = alternating_stage(problem, incumbent, random, limits["lower_bound_h"], 1)
    else:
        stage = Stage(STAGE, _crossing_search(problem, incumbent, random), SCHEDULES_PER_CHILD)
    run_stages([stage], incumbent, **limits)


def _crossing_search(problem: Problem, incumbent: Incumbent, random: RandomState) -> Callable[[int], tuple[float, int]]:
    """The search of a `Stage` that continues from call to call; `search(n)` makes n children."""
    n = problem.shortest.size
    decoder = new_decoder(problem)
    orders = np.zeros((POPULATION, n), dtype=np.int64)
    modes = np.zeros((POPULATION, n), dtype=np.int64)
    makespans = np.full(POPULATION, np.inf)
    latest_start = priorities(problem, "LST")
    typical = preferred_modes(problem, 0.5)
    mode, start = incumbent.mode.copy(), incumbent.start.copy()
    counts = np.zeros(3, dtype=np.int64)

    def search(children: int) -> tuple[float, int]:
        makespan_h = breed(
            problem, decoder, orders, modes, makespans, counts, latest_start, typical, children, mode, start, random
        )
        if makespan_h < incumbent.makespan_h - MIN_IMPROVEMENT_H:
            incumbent.mode[:], incumbent.start[:] = mode, start
        return makespan_h, children * SCHEDULES_PER_CHILD

    return search


@compiled
def breed(
    problem: Problem,
    decoder: Decoder,
    orders: Ints,
    modes: Ints,
    makespans: Floats,
    counts: Ints,
    latest_start: Floats,
    typical: Ints,
    children: int,
    best_mode: Ints,
    best_start: Floats,
    random: RandomState,
) -> float:
    """Make `children` individuals; returns the makespan of the best schedule so far, hours.

    While the population is not full, the children are its first generation: biased random samples, preceded in every
    other population by the schedule in `best_mode` and `best_start`. These two hold the best schedule afterwards.
    """
    population, n = orders.shape
    order, mode = np.empty(n, dtype=np.int64), np.empty(n, dtype=np.int64)
    start, biased = np.empty(n), np.empty(n)
    best = 0.0
    for j in range(n):
        best = max(best, best_start[j] + problem.duration[best_mode[j]])
    for _ in range(children):
        size = counts[SIZE]
        if size == 0 and counts[POPULATIONS] % 2 == 0:
            mode[:], start[:] = best_mode, best_start
        else:
            if size < population:
                for j in range(n):
                    biased[j] = latest_start[j] * (1.0 + NOISE * (uniform(random) - 0.5))
                order[:] = activity_list(problem, biased)
                _random_modes(problem, typical, mode, random)
            else:
                mother, father = _winner(makespans, random), _winner(makespans, random)
                _cross(orders, modes, mother, father, order, mode, random)
                _mutate(problem, order, mode, random)
            decode(problem, decoder, order, mode, problem.successor_at, problem.successors, start, np.inf, FORWARDS)
        makespan = justify(problem, decoder, mode, start, order)
        if makespan < best - 1e-9:
            best = makespan
            best_mode[:], best_start[:] = mode, start
        place = size
        if size == population:
            place = int(np.argmax(makespans))
            if makespan > makespans[place] or np.abs(makespans - makespan).min() < 1e-9:
                counts[USELESS] += 1
                if counts[USELESS] >= PATIENCE:
                    makespans[:] = np.inf
                    counts[SIZE], counts[USELESS] = 0, 0
                    counts[POPULATIONS] += 1
                continue
        else:
            counts[SIZE] += 1
        counts[USELESS] = 0
        orders[place], modes[place], makespans[place] = order, mode, makespan
    return best


@compiled
def _winner(makespans: Floats, random: RandomState) -> int:
    """Tournament selection: the shorter of two random individuals."""
    one, two = int(uniform(random) * makespans.size), int(uniform(random) * makespans.size)
    return one if makespans[one] <= makespans[two] else two


@compiled
def _random_modes(problem: Problem, typical: Ints, mode: Ints, random: RandomState) -> None:
    """Fill `mode`: each activity gets its typical mode or, with probability 0.5, a random one."""
    for j in range(mode.size):
        mode[j] = typical[j]
        if uniform(random) < 0.5:
            mode[j] = _any_mode(problem, j, random)


@compiled
def _any_mode(problem: Problem, j: int, random: RandomState) -> int:
    n_modes = problem.mode_at[j + 1] - problem.mode_at[j]
    return int(problem.mode_at[j] + int(uniform(random) * n_modes))


@compiled
def _cross(orders: Ints, modes: Ints, mother: int, father: int, order: Ints, mode: Ints, random: RandomState) -> None:
    """Two-point crossover: mother's list before the first and after the second point, in between the father's order.

    An activity keeps the mode of the parent it comes from. The child respects precedence, as both parents do.

    Source: Hartmann 1998.
    """
    n = order.size
    first, last = int(uniform(random) * (n + 1)), int(uniform(random) * (n + 1))
    first, last = min(first, last), max(first, last)
    taken = np.zeros(n, dtype=np.bool_)
    for position in range(first):
        _append(modes, mother, orders[mother, position], position, order, mode, taken)
    position = first
    for i in range(n):
        if position == last:
            break
        j = orders[father, i]
        if not taken[j]:
            _append(modes, father, j, position, order, mode, taken)
            position += 1
    for i in range(n):
        j = orders[mother, i]
        if not taken[j]:
            _append(modes, mother, j, position, order, mode, taken)
            position += 1


@compiled
def _append(modes: Ints, parent: int, j: int, position: int, order: Ints, mode: Ints, taken: Bools) -> None:
    order[position] = j
    mode[j] = modes[parent, j]
    taken[j] = True


@compiled
def _mutate(problem: Problem, order: Ints, mode: Ints, random: RandomState) -> None:
    """Swap neighbours without a precedence relation and change modes, each with probability `MUTATION`."""
    for position in range(order.size - 1):
        if uniform(random) < MUTATION:
            one, two = order[position], order[position + 1]
            is_bound = False
            for e in range(problem.successor_at[one], problem.successor_at[one + 1]):
                is_bound = is_bound or problem.successors[e] == two
            if not is_bound:
                order[position], order[position + 1] = two, one
    for j in range(mode.size):
        if uniform(random) < MUTATION:
            mode[j] = _any_mode(problem, j, random)
