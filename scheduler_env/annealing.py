"""Simulated annealing over activity lists and crews; it does not use the agent.

A solution is an activity list with a preferred mode per activity. The serial scheme schedules one activity after the
other, in a longer mode with fewer people if the activity then ends sooner than if it waited for its preferred mode
(`serial.place`). So a crew can grow without delaying its neighbours: their crews shrink instead.
"""

import math
from typing import Any

import numpy as np

from scheduler_env.compilation import compiled
from scheduler_env.kernel import Floats, Ints, Problem
from scheduler_env.random_numbers import RandomState, uniform
from scheduler_env.serial import FORWARDS, Decoder, place, shift

Bools = np.ndarray[Any, np.dtype[np.bool_]]

SPREADING, EXCHANGING, RESIZING = 0.3, 0.14, 0.14
"""Shares of the three kinds of moves that change modes; the other moves change the list."""
BLOCKS = 0.5
"""Share of the list moves that move a block of activities."""
MAX_SPREAD = 30
"""Maximum number of activities that a `spread` move changes."""
MAX_PARTNER_DISTANCE = 4
"""Two activities of a team exchange people only if they are within this many activities of that team in the list."""
MAX_EXCHANGED = 3
"""Maximum number of people that an `exchange` move transfers."""
NEIGHBOURING = 0.3
"""Share of the resizing moves that select an adjacent mode; the others select a random one."""


@compiled
def anneal(
    problem: Problem,
    decoder: Decoder,
    order: Ints,
    mode: Ints,
    start: Floats,
    makespan: float,
    moves: int,
    start_temperature: float,
    end_temperature: float,
    random: RandomState,
    lower_bound: float,
) -> float:
    """Simulated annealing from the given schedule; returns the best makespan, hours.

    The best schedule overwrites `mode` and `start`. The temperature, in hours, falls geometrically from
    `start_temperature` to `end_temperature`. A move

    * spreads the crew size of one activity over the next activities of the same team,
    * transfers people from one activity to another of the same team,
    * gives an activity another mode,
    * shifts an activity between its predecessors and successors in the list, or
    * shifts it to any place, together with the activities that must stay after or before it: so one work point can
      overtake another.

    Args:
        decoder: made with `incremental=True`, which halves the time.
        order: the activity list of the schedule; modified.
        makespan: of the schedule, hours.
        moves: number of schedules to decode.
        lower_bound: a schedule of this length ends the search.
    """
    n = order.size
    position, team = decoder.position, teams_of(problem)
    mode_at, durations, topological = problem.mode_at, problem.duration, problem.topological
    after_at, after = problem.successor_at, problem.successors
    before_at, before = decoder.predecessor_at, decoder.predecessors
    at, used, size, row, side = decoder.at, decoder.used, decoder.size, decoder.row, decoder.side
    ready, rest, full, capacity = decoder.ready, decoder.rest, decoder.full, problem.capacity
    demand_at, demand_resource, demand_units = problem.demand_at, problem.demand_resource, problem.demand_units
    release, level_at, levels = problem.release, problem.level_at, problem.levels
    width = (size.size - capacity.size) // n
    for i in range(n):
        position[order[i]] = i
    # The current schedule: `order`, `mode` (preferred modes), `chosen` (modes taken) and `now` (starts).
    chosen, now = mode.copy(), start.copy()
    best, best_mode = makespan, mode.copy()
    trial_order, trial_mode, trial_chosen, trial = order.copy(), mode.copy(), mode.copy(), np.empty(n)
    marked, moved = np.zeros(n, dtype=np.bool_), np.empty(n, dtype=np.int64)
    fill_rest(topological, after_at, after, durations, mode, rest)
    cooling = (end_temperature / start_temperature) ** (1.0 / max(moves, 1))
    temperature = start_temperature
    current = np.inf
    first, last, changes_modes = 0, n - 1, False
    for move in range(moves + 1):  # the first iteration only decodes the unchanged list
        limit = np.inf
        if move > 0:
            temperature *= cooling
            first, last, changes_modes = random_move(
                trial_order, trial_mode, position, team, mode_at, after_at, after, before_at, before, marked,
                moved, random,
            )  # fmt: skip
            while first <= last and trial_order[first] == order[first]:
                if trial_mode[order[first]] != mode[order[first]]:
                    break
                first += 1
            if first > last:
                continue
            if changes_modes:
                fill_rest(topological, after_at, after, durations, trial_mode, rest)
            limit = current - temperature * math.log(uniform(random) + 1e-300) + 1e-9
        trial[:], trial_chosen[:] = now, chosen
        unchanged = first if width > 0 else 0
        found = place(
            trial_order, trial_mode, True, unchanged, trial, trial_chosen, limit, width, after_at, after, at, used,
            size, row, side, ready, rest, full, durations, capacity, mode_at, demand_at, demand_resource, demand_units,
            release, level_at, levels, FORWARDS,
        )  # fmt: skip
        if found == np.inf:
            for p in range(first, last + 1):
                j = order[p]
                trial_order[p], trial_mode[j], position[j] = j, mode[j], p
            if changes_modes:
                fill_rest(topological, after_at, after, durations, mode, rest)
            continue
        for p in range(first, last + 1):
            j = trial_order[p]
            order[p], mode[j] = j, trial_mode[j]
        for p in range(first, n):
            side[p] = 1 - side[p]
        now[:], chosen[:] = trial, trial_chosen
        current = found
        if found < best - 1e-9:
            best = found
            best_mode[:], start[:] = chosen, now
            if best <= lower_bound + 1e-9:
                break
    mode[:] = best_mode
    return best


@compiled
def teams_of(problem: Problem) -> Ints:
    """(n,) the first resource that all modes of the activity need; -1 if there is none."""
    team = np.full(problem.shortest.size, -1, dtype=np.int64)
    for j in range(team.size):
        if problem.use_at[j + 1] > problem.use_at[j]:
            team[j] = problem.use_resource[problem.use_at[j]]
    return team


@compiled
def fill_rest(topological: Ints, after_at: Ints, after: Ints, durations: Floats, mode: Ints, rest: Floats) -> None:
    """Fill `rest` with the longest path after each activity in the given modes, hours."""
    for p in range(topological.size - 1, -1, -1):
        j = topological[p]
        longest = 0.0
        for e in range(after_at[j], after_at[j + 1]):
            longest = max(longest, durations[mode[after[e]]] + rest[after[e]])
        rest[j] = longest


@compiled
def random_move(
    order: Ints,
    mode: Ints,
    position: Ints,
    team: Ints,
    mode_at: Ints,
    after_at: Ints,
    after: Ints,
    before_at: Ints,
    before: Ints,
    marked: Bools,
    moved: Ints,
    random: RandomState,
) -> tuple[int, int, bool]:
    """Change the list or modes at random; returns (first place changed, last place changed, whether modes changed)."""
    n = order.size
    j = int(uniform(random) * n)
    old = position[j]
    kind = uniform(random)
    if mode_at[j + 1] - mode_at[j] > 1 and kind < SPREADING + EXCHANGING + RESIZING:
        if kind < SPREADING:
            return old, _spread(order, mode, team, mode_at, old, random), True
        if kind < SPREADING + EXCHANGING:
            other = _exchange(order, mode, team, mode_at, old, random)
            return min(old, other), max(old, other), True
        mode[j] = _resized(mode_at[j], mode_at[j + 1] - 1, mode[j], random)
        return old, old, True
    if uniform(random) < BLOCKS:
        new = int(uniform(random) * n)
        if new > old:
            _shift_block(order, position, old, new, after_at, after, marked, moved)
        else:
            _shift_block(order, position, old, new, before_at, before, marked, moved)
    else:
        low, high = 0, n - 1
        for e in range(before_at[j], before_at[j + 1]):
            low = max(low, position[before[e]] + 1)
        for e in range(after_at[j], after_at[j + 1]):
            high = min(high, position[after[e]] - 1)
        new = low + int(uniform(random) * (high - low + 1))
        shift(order, position, old, new)
    return min(old, new), max(old, new), False


@compiled
def _spread(order: Ints, mode: Ints, team: Ints, mode_at: Ints, old: int, random: RandomState) -> int:
    """Give the mode at place `old`, or an adjacent one, to the next activities of its team; returns the last place.

    Modes are matched by their index within the activity.
    """
    j = order[old]
    number = mode[j] - mode_at[j]
    if uniform(random) < NEIGHBOURING:
        number += 1 if uniform(random) < 0.5 else -1
        number = min(max(number, 0), mode_at[j + 1] - mode_at[j] - 1)
    left = 1 + int(uniform(random) * MAX_SPREAD)
    last = old
    for p in range(old, order.size):
        i = order[p]
        if team[i] != team[j]:
            continue
        mode[i] = min(mode_at[i] + number, mode_at[i + 1] - 1)
        last = p
        left -= 1
        if left == 0:
            break
    return last


@compiled
def _exchange(order: Ints, mode: Ints, team: Ints, mode_at: Ints, old: int, random: RandomState) -> int:
    """Transfer people to the activity at place `old` from another one of its team; returns the other one's place."""
    j = order[old]
    step = 1 if uniform(random) < 0.5 else -1
    left = 1 + int(uniform(random) * MAX_PARTNER_DISTANCE)
    amount = 1 + int(uniform(random) * uniform(random) * MAX_EXCHANGED)
    p = old
    while left > 0:
        p += step
        if p < 0 or p >= order.size:
            return old
        if team[order[p]] == team[j]:
            left -= 1
    i = order[p]
    if mode[j] + amount < mode_at[j + 1] and mode[i] - amount >= mode_at[i]:
        mode[j] += amount
        mode[i] -= amount
    return p


@compiled
def _resized(low: int, high: int, m: int, random: RandomState) -> int:
    """A mode in low .. high: adjacent to `m` with probability `NEIGHBOURING`, otherwise random."""
    if uniform(random) < NEIGHBOURING:
        return min(max(m + (1 if uniform(random) < 0.5 else -1), low), high)
    return low + int(uniform(random) * (high - low + 1))


@compiled
def _shift_block(
    order: Ints, position: Ints, old: int, new: int, bound_at: Ints, bound: Ints, marked: Bools, moved: Ints
) -> None:
    """Move the activity at place `old` to place `new`, along with the activities in between that depend on it.

    `bound_at` and `bound` are the CSR of the successors if `new` is the later place, otherwise of the predecessors.
    """
    step = 1 if new > old else -1
    count, free = 0, old
    marked[order[old]] = True
    for p in range(old, new + step, step):
        j = order[p]
        if marked[j]:
            moved[count] = j
            count += 1
            for e in range(bound_at[j], bound_at[j + 1]):
                if (position[bound[e]] - new) * step <= 0:
                    marked[bound[e]] = True
        else:
            order[free] = j
            position[j] = free
            free += step
    for i in range(count):
        j = moved[i]
        order[free] = j
        position[j] = free
        marked[j] = False
        free += step
