"""Simulated annealing over activity lists and crews: the part of the search that knows no agent.

A schedule is a list of activities and a preferred mode of each; the serial scheme places one after the other, in a
thriftier mode where that ends sooner than to wait for the preferred one (`serial.place`). So a crew can grow without
its neighbours having to wait: they shrink.
"""

import math
from typing import Any

import numpy as np

from scheduler_env.compilation import compiled
from scheduler_env.kernel import Floats, Ints, Problem
from scheduler_env.rollout import RandomState, uniform
from scheduler_env.serial import Decoder, place, shift

Bools = np.ndarray[Any, np.dtype[np.bool_]]

SPREADING, EXCHANGING, RESIZING = 0.3, 0.14, 0.14
"""Shares of the moves that change modes; the others change the list."""
BLOCKS = 0.5
"""Share of the moves of the list that move a whole block."""
LONGEST_SPREAD = 30
"""Activities that take over a mode at once."""
FARTHEST_PARTNER = 4
"""Steps of the same team, counted along the list, within which two exchange people."""
MOST_EXCHANGED = 3
NEIGHBOURING = 0.3
"""Share of the resizing moves that go to the next mode; the others go to any."""


@compiled
def anneal(
    problem: Problem,
    decoder: Decoder,
    order: Ints,
    mode: Ints,
    start: Floats,
    makespan: float,
    moves: int,
    hot: float,
    cold: float,
    random: RandomState,
    lower_bound: float,
) -> float:
    """Simulated annealing from the given schedule; the best found overwrites `mode` and `start`, returns its makespan.

    Temperatures are hours, falling geometrically from `hot` to `cold`. A move

    * spreads the crew of one activity over the next ones of the same team,
    * lets one activity give people to another of the same team,
    * gives an activity another mode,
    * shifts an activity within its precedence window, or
    * shifts it anywhere, along with all that has to stay behind or before it: one work point overtakes another.

    Args:
        decoder: made with `kept=True`, which saves half of the time.
        order: the activity list of the schedule; changed.
        makespan: of the schedule.
        moves: schedules that are decoded.
        lower_bound: a schedule of this length ends the search.
    """
    n = order.size
    position, team = decoder.position, _teams(problem)
    mode_at, durations, topological = problem.mode_at, problem.duration, problem.topological
    after_at, after = problem.successor_at, problem.successors
    before_at, before = decoder.predecessor_at, decoder.predecessors
    at, used, size, row, side = decoder.at, decoder.used, decoder.size, decoder.row, decoder.side
    ready, rest, full, capacity = decoder.ready, decoder.rest, decoder.full, problem.capacity
    demand_at, demand_resource, demand_units = problem.demand_at, problem.demand_resource, problem.demand_units
    width = (size.size - capacity.size) // n
    for i in range(n):
        position[order[i]] = i
    # The current schedule: `order`, `mode` (what is preferred), `chosen` (what was taken) and `now` (the starts).
    chosen, now = mode.copy(), start.copy()
    best, best_mode = makespan, mode.copy()
    trial_order, trial_mode, trial_chosen, trial = order.copy(), mode.copy(), mode.copy(), np.empty(n)
    marked, moved = np.zeros(n, dtype=np.bool_), np.empty(n, dtype=np.int64)
    fill_rest(topological, after_at, after, durations, mode, rest)
    cooling = (cold / hot) ** (1.0 / max(moves, 1))
    temperature = hot
    current = np.inf
    first, last, changes_modes = 0, n - 1, False
    for move in range(moves + 1):  # the first one only decodes the list as it is
        limit = np.inf
        if move > 0:
            temperature *= cooling
            first, last, changes_modes = _move(
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
def _teams(problem: Problem) -> Ints:
    """Of each activity the first resource that all of its modes need; -1 if there is none."""
    team = np.full(problem.shortest.size, -1, dtype=np.int64)
    for j in range(team.size):
        if problem.use_at[j + 1] > problem.use_at[j]:
            team[j] = problem.use_resource[problem.use_at[j]]
    return team


@compiled
def fill_rest(topological: Ints, after_at: Ints, after: Ints, durations: Floats, mode: Ints, rest: Floats) -> None:
    """Fill `rest` with the longest path after each activity, hours, in the given modes."""
    for p in range(topological.size - 1, -1, -1):
        j = topological[p]
        longest = 0.0
        for e in range(after_at[j], after_at[j + 1]):
            longest = max(longest, durations[mode[after[e]]] + rest[after[e]])
        rest[j] = longest


@compiled
def _move(
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
    """Change list or modes at random: (first place touched, last place touched, whether modes were changed)."""
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
    """Give the mode at place `old`, or one beside it, to the next activities of the same team; the last one's place.

    Modes are matched by number, as crews are.
    """
    j = order[old]
    number = mode[j] - mode_at[j]
    if uniform(random) < NEIGHBOURING:
        number += 1 if uniform(random) < 0.5 else -1
        number = min(max(number, 0), mode_at[j + 1] - mode_at[j] - 1)
    left = 1 + int(uniform(random) * LONGEST_SPREAD)
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
    """The activity at place `old` gets people from one of the same team; the other one's place."""
    j = order[old]
    step = 1 if uniform(random) < 0.5 else -1
    left = 1 + int(uniform(random) * FARTHEST_PARTNER)
    amount = 1 + int(uniform(random) * uniform(random) * MOST_EXCHANGED)
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
    """A mode of low .. high beside `m`, or any."""
    if uniform(random) < NEIGHBOURING:
        return min(max(m + (1 if uniform(random) < 0.5 else -1), low), high)
    return low + int(uniform(random) * (high - low + 1))


@compiled
def _shift_block(
    order: Ints, position: Ints, old: int, new: int, bound_at: Ints, bound: Ints, marked: Bools, moved: Ints
) -> None:
    """Move the activity at place `old` to place `new`, and before it what is between them and bound to it.

    `bound_at` and `bound` are the CSR of the successors if `new` is the later place, else of the predecessors.
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
