"""The field's standard genetic algorithm: activity lists with modes, two-point crossover, double justification.

An individual is an activity list with a mode per activity (Hartmann 2001), decoded by the serial scheme. Every child's
schedule is justified, right then left, and its list rewritten from what came out (Valls, Ballestin and Quintanilla
2005, 2008). Parents win tournaments of two; a child replaces the worst individual if it is no longer than that one, and
no makespan stands twice in the population, which keeps it diverse. Once `PATIENCE` children in a row were of no use,
a new population is begun, every other one with the best schedule so far in it.

Without a choice of modes every activity is placed as `alternating` does it, which needs fewer schedules.

An evaluation is a schedule: a child that is decoded and justified counts as `SCHEDULES_PER_CHILD`.
"""

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from scheduler_env.alternating import STAGE, alternating_search, has_single_modes
from scheduler_env.compilation import compiled
from scheduler_env.improvement import justify
from scheduler_env.incumbent import SHORTER_H, Incumbent, Stop
from scheduler_env.kernel import Floats, Ints, Problem
from scheduler_env.rollout import RandomState, new_random, uniform
from scheduler_env.rules import activity_list, preferred_modes, priorities
from scheduler_env.serial import Decoder, decode, new_decoder

Bools = np.ndarray[Any, np.dtype[np.bool_]]

POPULATION = 40
"""Individuals; Valls et al. use 50 for 5,000 schedules."""
MUTATION = 0.05
"""Probability that an activity changes places with its neighbour, and that it changes its mode."""
NOISE = 0.5
"""Width of the random factor on the latest start times that order the first individuals."""
PATIENCE = 5 * POPULATION
SIZE, USELESS, POPULATIONS = 0, 1, 2
"""Places in `counts`: individuals so far, children in a row that were of no use, populations given up."""
SCHEDULES_PER_CHILD = 3
"""Its own, and the two of its double justification."""


def evolve(
    problem: Problem,
    incumbent: Incumbent,
    *,
    lower_bound_h: float,
    deadline_s: float,
    seed: int = 0,
    max_evaluations: int | None = None,
    stop: Stop | None = None,
) -> None:
    """Shorten `incumbent`, a complete schedule and one of the first individuals, until the time is over or a proof.

    Args:
        lower_bound_h: a schedule of this length ends the search.
        deadline_s: of `time.perf_counter`; may be overrun by what one evaluation takes.
        seed: the same one and the same number of evaluations give the same schedule.
        max_evaluations: how many may have been made when this ends, those of the incumbent included.
        stop: ends the search, too.
    """
    random = new_random(seed)
    if has_single_modes(problem):
        search, schedules = alternating_search(problem, incumbent, random, lower_bound_h), 1
    else:
        search, schedules = _crossing_search(problem, incumbent, random), SCHEDULES_PER_CHILD
    children, seconds_per_child = 1, 0.0
    while True:
        left_s = deadline_s - time.perf_counter()
        if left_s <= 0.0 or incumbent.is_optimal(lower_bound_h) or (stop is not None and stop()):
            return
        now = children
        if seconds_per_child > 0.0:
            now = int(max(1.0, min(float(children), left_s / seconds_per_child)))
        if max_evaluations is not None:
            now = min(now, (max_evaluations - incumbent.evaluations) // schedules)
            if now <= 0:
                return
        began_s = time.perf_counter()
        found = search(now)
        seconds_per_child = max((time.perf_counter() - began_s) / now, 1e-7)
        incumbent.evaluations += now * schedules
        if found < incumbent.makespan_h - SHORTER_H:
            incumbent.makespan_h, incumbent.stage = found, STAGE
        children = min(2 * children, 4096)


def _crossing_search(problem: Problem, incumbent: Incumbent, random: RandomState) -> Callable[[int], float]:
    """A search whose calls continue each other; `search(n)` makes n children.

    It returns the makespan of the best schedule that it has found, and leaves that in the incumbent's arrays if it is
    shorter than the incumbent.
    """
    n = problem.shortest.size
    decoder = new_decoder(problem)
    orders = np.zeros((POPULATION, n), dtype=np.int64)
    modes = np.zeros((POPULATION, n), dtype=np.int64)
    makespans = np.full(POPULATION, np.inf)
    latest_start = priorities(problem, "LST")
    typical = preferred_modes(problem, 0.5)
    mode, start = incumbent.mode.copy(), incumbent.start.copy()
    counts = np.zeros(3, dtype=np.int64)

    def search(children: int) -> float:
        found = breed(
            problem, decoder, orders, modes, makespans, counts, latest_start, typical, children, mode, start, random
        )
        if found < incumbent.makespan_h - SHORTER_H:
            incumbent.mode[:], incumbent.start[:] = mode, start
        return found

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
    """Make `children` individuals; the makespan of the best one ever.

    While the population is not full the children are its first generation: biased random samples, before them
    the schedule in `best_mode` and `best_start` (see above). These two hold the best schedule afterwards.
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
            decode(problem, decoder, order, mode, problem.successor_at, problem.successors, start, np.inf)
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
    """The shorter one of two individuals picked at random."""
    one, two = int(uniform(random) * makespans.size), int(uniform(random) * makespans.size)
    return one if makespans[one] <= makespans[two] else two


@compiled
def _random_modes(problem: Problem, typical: Ints, mode: Ints, random: RandomState) -> None:
    """Half of the activities in their typical mode, the others in any."""
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
    """Two-point crossover: mother's list up to one place and from another on, in between father's order. Hartmann 1998.

    What comes from a parent brings its mode. Keeps the precedence of both parents' lists.
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
    """Swap neighbours that are not bound by precedence, and change modes, each with probability `MUTATION`."""
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
