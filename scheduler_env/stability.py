"""Among all schedules that end by a given hour, the one that moves least from a published plan.

The search is simulated annealing over activity lists, crews and earliest starts: the serial scheme schedules each
activity as early as it fits, but not before its own earliest start. With a published start as the earliest one an
activity waits for it; moves try this, other hours at which something begins or ends, and the release.
"""

import math

import numpy as np

from scheduler_env.compilation import compiled
from scheduler_env.kernel import Floats, Ints, Problem
from scheduler_env.levels import FROM
from scheduler_env.random_numbers import RandomState, uniform
from scheduler_env.serial import FORWARDS, Decoder, order_by_time, place, shift

CREW_COST_H = 1e-5
"""Cost of a changed crew: less than any shift that anybody sees, so shifts come first."""
ORDERING, CREWING = 0.25, 0.25
"""Shares of the moves that change the list and the crews; the others change earliest starts."""
PUBLISHED = 0.4
"""Share of the moves of earliest starts, and of crews, that go back to the published ones."""
START_TEMPERATURE, END_TEMPERATURE = 1.5, 0.002
"""In units of the mean shortest duration."""


@compiled
def cost(start: Floats, mode: Ints, published_start: Floats, published_mode: Ints) -> float:
    """The sum of the shifts in hours, and `CREW_COST_H` for each changed crew. NaN: not in the published plan."""
    total = 0.0
    for j in range(start.size):
        if not math.isnan(published_start[j]):
            total += abs(start[j] - published_start[j])
            if mode[j] != published_mode[j]:
                total += CREW_COST_H
    return total


@compiled
def steadier(
    problem: Problem,
    decoder: Decoder,
    mode: Ints,
    start: Floats,
    published_start: Floats,
    published_mode: Ints,
    latest: float,
    spare: Floats,
    moves: int,
    random: RandomState,
) -> float:
    """Move the schedule in `mode` and `start` towards the published one; returns its `cost`.

    Args:
        published_start: (n,) hours; NaN for an activity that was not published.
        published_mode: (n,) -1 if it has no mode with the published crew.
        latest: no activity ends later, hours.
        spare: (n,) hours that must pass between the end of each activity and `latest`; it ends so much earlier.
        moves: number of schedules to decode.
    """
    n = start.size
    order, position = np.empty(n, np.int64), np.empty(n, np.int64)
    order_by_time(problem, start, order)
    earliest, trial_order, trial_mode, trial_earliest = start.copy(), order.copy(), mode.copy(), start.copy()
    current_mode, now, trial, chosen = mode.copy(), start.copy(), start.copy(), mode.copy()
    limit = latest + 1e-7
    best = current = cost(start, mode, published_start, published_mode)
    keeps, keeps_mode = start.copy(), mode.copy()
    _as_published(problem, published_start, published_mode, trial_order, trial_mode, trial_earliest)
    cooling = (END_TEMPERATURE / START_TEMPERATURE) ** (1.0 / max(moves, 1))
    temperature = START_TEMPERATURE * problem.unit
    for move in range(moves):
        if best <= 0.0:
            break
        if move > 0:  # the first trial is the published plan, pushed to the right
            temperature *= cooling
            _change(problem, decoder, trial_order, trial_mode, trial_earliest, position, now,
                    published_start, published_mode, latest, random)  # fmt: skip
        _fill_rest(problem, trial_mode, spare, decoder.rest)
        found = place(
            trial_order, trial_mode, False, 0, trial, chosen, limit, 0, problem.successor_at, problem.successors,
            decoder.at, decoder.used, decoder.size, decoder.row, decoder.side, decoder.ready, decoder.rest,
            decoder.full, problem.duration, problem.capacity, problem.mode_at, problem.demand_at,
            problem.demand_resource, problem.demand_units, trial_earliest, problem.level_at, problem.levels, FORWARDS,
        )  # fmt: skip
        is_taken = False
        if found <= limit:
            reached = cost(trial, trial_mode, published_start, published_mode)
            is_taken = reached <= current - temperature * math.log(uniform(random) + 1e-300)
            if reached < best - 1e-9:
                best = reached
                keeps[:], keeps_mode[:] = trial, trial_mode
                is_taken = True
        if is_taken:
            current = reached
            order[:], current_mode[:], earliest[:], now[:] = trial_order, trial_mode, trial_earliest, trial
        else:
            trial_order[:], trial_mode[:], trial_earliest[:] = order, current_mode, earliest
        if move % 4000 == 3999 and current > best + 1e-9:
            now[:], current_mode[:], earliest[:] = keeps, keeps_mode, keeps
            order_by_time(problem, now, order)
            trial_order[:], trial_mode[:], trial_earliest[:] = order, current_mode, earliest
            current = best
    start[:], mode[:] = keeps, keeps_mode
    return best


@compiled
def _fill_rest(problem: Problem, mode: Ints, spare: Floats, rest: Floats) -> None:
    """Fill `rest` with the hours that each activity must end before the latest hour: `spare`, or a path after it."""
    for p in range(mode.size - 1, -1, -1):
        j = problem.topological[p]
        longest = spare[j]
        for e in range(problem.successor_at[j], problem.successor_at[j + 1]):
            s = problem.successors[e]
            longest = max(longest, problem.duration[mode[s]] + rest[s])
        rest[j] = longest


@compiled
def _as_published(
    problem: Problem, published_start: Floats, published_mode: Ints, order: Ints, mode: Ints, earliest: Floats
) -> None:
    """The published plan as far as there is one: its order, its crews, and no start earlier than its own."""
    key = earliest.copy()
    for j in range(order.size):
        if not math.isnan(published_start[j]):
            key[j] = published_start[j]
            earliest[j] = max(problem.release[j], published_start[j])
        else:
            earliest[j] = problem.release[j]
        if published_mode[j] >= 0:
            mode[j] = published_mode[j]
    order_by_time(problem, key, order)


@compiled
def _change(
    problem: Problem,
    decoder: Decoder,
    order: Ints,
    mode: Ints,
    earliest: Floats,
    position: Ints,
    now: Floats,
    published_start: Floats,
    published_mode: Ints,
    latest: float,
    random: RandomState,
) -> None:
    """Change the list, a crew or an earliest start at random."""
    n = order.size
    kind = uniform(random)
    j = int(uniform(random) * n)
    if kind < ORDERING:
        for i in range(n):
            position[order[i]] = i
        low, high = 0, n - 1
        for e in range(decoder.predecessor_at[j], decoder.predecessor_at[j + 1]):
            low = max(low, position[decoder.predecessors[e]] + 1)
        for e in range(problem.successor_at[j], problem.successor_at[j + 1]):
            high = min(high, position[problem.successors[e]] - 1)
        shift(order, position, position[j], low + int(uniform(random) * (high - low + 1)))
        if uniform(random) < 0.5:
            earliest[j] = problem.release[j]
        return
    count = problem.mode_at[j + 1] - problem.mode_at[j]
    if kind < ORDERING + CREWING and count > 1:
        if published_mode[j] >= 0 and uniform(random) < PUBLISHED:
            mode[j] = published_mode[j]
        else:
            mode[j] = problem.mode_at[j] + int(uniform(random) * count)
        return
    if not math.isnan(published_start[j]) and uniform(random) < PUBLISHED:
        earliest[j] = max(problem.release[j], published_start[j])
    elif uniform(random) < 0.3:
        earliest[j] = problem.release[j]
    else:  # where another one, as it is or as it was published, begins or ends, or the people change, or at the end
        rows = problem.levels.shape[0]
        i = int(uniform(random) * (n + 1 + rows))
        hour = latest
        if i < n:
            hour = now[i] if math.isnan(published_start[i]) or uniform(random) < 0.5 else published_start[i]
            if uniform(random) < 0.5:
                hour += problem.duration[mode[i]] + problem.duration[mode[j]]
        elif i < n + rows:
            hour = problem.levels[i - n, FROM]
        earliest[j] = max(problem.release[j], hour - problem.duration[mode[j]])
