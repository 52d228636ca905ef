"""Simulated annealing for schedules with due dates and deadlines of work points; it does not use the agent.

The cost of a schedule is a weighted sum of the makespan and of how late work points end. The moves, and the solutions,
are those of `annealing`.
"""

import math
from typing import NamedTuple

import numpy as np

from scheduler_env.annealing import fill_rest, random_move, teams_of
from scheduler_env.compilation import compiled
from scheduler_env.kernel import Floats, Ints, Problem
from scheduler_env.random_numbers import RandomState, uniform
from scheduler_env.serial import FORWARDS, Decoder, place

MIN_PRUNING = 0.01
"""With a smaller cost per hour of the makespan, a limit on the makespan would hardly ever end the decoding early."""
RETURN_AFTER = 4_000
"""Moves after which the search goes back to the best schedule so far."""


class Cost(NamedTuple):
    """What the cost of a schedule consists of: `per_makespan` for each hour of it, and for each row its weight for each
    hour by which the work point ends after the row's hour.
    """

    workpoint: Ints  # (n,) number of the work point of each activity
    of_row: Ints  # (rows,) number of a work point; that of the last one + 1 stands for the whole project
    due: Floats  # (rows,) hours
    weight: Floats  # (rows,) cost per hour
    per_makespan: float
    ends: Floats  # (work points + 1,) scratch memory


@compiled
def cost_of(cost: Cost, problem: Problem, start: Floats, mode: Ints) -> float:
    """The cost of the schedule in `start` and `mode`."""
    ends, whole = cost.ends, cost.ends.size - 1
    ends[:] = 0.0
    for j in range(start.size):
        ending = start[j] + problem.duration[mode[j]]
        ends[cost.workpoint[j]] = max(ends[cost.workpoint[j]], ending)
        ends[whole] = max(ends[whole], ending)
    total = cost.per_makespan * ends[whole]
    for row in range(cost.due.size):
        total += cost.weight[row] * max(0.0, ends[cost.of_row[row]] - cost.due[row])
    return float(total)


@compiled
def anneal_cost(
    problem: Problem,
    decoder: Decoder,
    order: Ints,
    mode: Ints,
    start: Floats,
    cost: Cost,
    moves: int,
    start_temperature: float,
    end_temperature: float,
    random: RandomState,
    target: float,
) -> float:
    """Simulated annealing from the given schedule; returns the lowest cost.

    The schedule with this cost overwrites `mode` and `start`.

    Args:
        decoder: made with `incremental=True`, which halves the time.
        order: the activity list of the schedule; modified.
        moves: number of schedules to decode.
        start_temperature, end_temperature: in units of the cost; the temperature falls geometrically.
        target: a schedule with this cost ends the search.
    """
    n = order.size
    position, team = decoder.position, teams_of(problem)
    mode_at, durations, topological = problem.mode_at, problem.duration, problem.topological
    after_at, after = problem.successor_at, problem.successors
    size, side, rest, capacity = decoder.size, decoder.side, decoder.rest, problem.capacity
    width = (size.size - capacity.size) // n
    for i in range(n):
        position[order[i]] = i
    chosen, now = mode.copy(), start.copy()
    best, best_mode = cost_of(cost, problem, start, mode), mode.copy()
    best_order, best_chosen = order.copy(), mode.copy()
    trial_order, trial_mode, trial_chosen, trial = order.copy(), mode.copy(), mode.copy(), np.empty(n)
    marked, moved = np.zeros(n, dtype=np.bool_), np.empty(n, dtype=np.int64)
    is_pruning = cost.per_makespan >= MIN_PRUNING
    rest[:] = 0.0
    if is_pruning:
        fill_rest(topological, after_at, after, durations, mode, rest)
    cooling = (end_temperature / start_temperature) ** (1.0 / max(moves, 1))
    temperature, current, since = start_temperature, np.inf, 0
    first, last, changes_modes = 0, n - 1, False
    for move in range(moves + 1):  # the first iteration only decodes the unchanged list
        allowed, limit = np.inf, np.inf
        since += 1
        if since > RETURN_AFTER and current > best + 1e-9:
            order[:], mode[:] = best_order, best_chosen
            trial_order[:], trial_mode[:] = order, mode
            for i in range(n):
                position[order[i]] = i
            if is_pruning:
                fill_rest(topological, after_at, after, durations, mode, rest)
            first, last, changes_modes, since, current = 0, n - 1, False, 0, np.inf
        elif move > 0:
            temperature *= cooling
            first, last, changes_modes = random_move(
                trial_order, trial_mode, position, team, mode_at, after_at, after, decoder.predecessor_at,
                decoder.predecessors, marked, moved, random,
            )  # fmt: skip
            while first <= last and trial_order[first] == order[first]:
                if trial_mode[order[first]] != mode[order[first]]:
                    break
                first += 1
            if first > last:
                continue
            if changes_modes and is_pruning:
                fill_rest(topological, after_at, after, durations, trial_mode, rest)
            allowed = current - temperature * math.log(uniform(random) + 1e-300) + 1e-9
            if is_pruning:
                limit = allowed / cost.per_makespan
        trial[:], trial_chosen[:] = now, chosen
        unchanged = first if width > 0 else 0
        found = place(
            trial_order, trial_mode, True, unchanged, trial, trial_chosen, limit, width, after_at, after, decoder.at,
            decoder.used, size, decoder.row, side, decoder.ready, rest, decoder.full, durations, capacity, mode_at,
            problem.demand_at, problem.demand_resource, problem.demand_units, problem.release, problem.level_at,
            problem.levels, FORWARDS,
        )  # fmt: skip
        reached = np.inf
        if found < np.inf:
            reached = cost_of(cost, problem, trial, trial_chosen)
        if reached > allowed or reached == np.inf:
            for p in range(first, last + 1):
                j = order[p]
                trial_order[p], trial_mode[j], position[j] = j, mode[j], p
            if changes_modes and is_pruning:
                fill_rest(topological, after_at, after, durations, mode, rest)
            continue
        for p in range(first, last + 1):
            j = trial_order[p]
            order[p], mode[j] = j, trial_mode[j]
        for p in range(first, n):
            side[p] = 1 - side[p]
        now[:], chosen[:] = trial, trial_chosen
        current = reached
        if reached < best - 1e-9:
            best, since = reached, 0
            best_mode[:], start[:] = chosen, now
            best_order[:], best_chosen[:] = order, mode
            if best <= target:
                break
    mode[:] = best_mode
    return float(best)
