"""Making a schedule shorter while there is time: sampling by the agent, justification, annealing over order and crews.

`improve` goes round three stages, each with as much time, in rounds that double in length:

1. `sampling`: complete schedules by the agent with noise on its scores;
2. `resampling`: the best schedule up to a random time, the rest sampled anew;
3. `annealing`: double justification, then simulated annealing over (activity list, modes), decoded serially.

Without an agent only the third is left; what the agent is worth is the difference (docs/training.md).

All of it is compiled and releases the GIL. The same seed and number of evaluations give the same schedule.
"""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

from typing import Any

import numpy as np

from scheduler_env.compilation import compiled
from scheduler_env.incumbent import PROVED_H, SHORTER_H, Incumbent, Stop
from scheduler_env.kernel import BOUND, UNSTARTED, Floats, Ints, Problem, State, View, new_state, new_view, observe, reset, restore
from scheduler_env.observation import Network, Workspace, new_workspace
from scheduler_env.rollout import RandomState, complete, new_random, uniform
from scheduler_env.serial import Decoder, decode, new_decoder, place

Bools = np.ndarray[Any, np.dtype[np.bool_]]
WEIGHTS = (1.0, 1.0, 1.0)
KNOBS = np.zeros(32)

SAMPLING_TEMPERATURE = 0.02
"""Scale of the noise on the agent's scores, in units of the mean shortest duration."""
DECODES_PER_ROLLOUT = 140
"""How many activity lists are decoded in the time of one rollout of the agent (measured, at any size)."""
FIRST_ROUND = 2
"""Rollouts in each sampling stage of the first round."""
LONGEST_STAGE_S = 2.0
"""So that a search that nobody waits for any more ends soon."""
HOT_SHARE, COOLING = 6.0, 20.0
"""Annealing starts at HOT_SHARE mean durations over the number of activities, and ends at a COOLING-th of that."""


def improve(
    problem: Problem,
    network: Network | None,
    incumbent: Incumbent,
    *,
    lower_bound_h: float,
    deadline_s: float,
    seed: int = 0,
    max_evaluations: int | None = None,
    stop: Stop | None = None,
) -> None:
    """Shorten `incumbent`, a complete schedule, until `deadline_s` (`time.perf_counter`), a proof, `max_evaluations`.

    Or until `stop`, which is asked between the stages. The deadline may be overrun by what one evaluation takes.
    `network` None: without an agent.
    """
    random = new_random(seed)
    stages = [_annealing(problem, incumbent, random, lower_bound_h)]
    if network is not None:
        stages = [*_sampling(problem, network, incumbent, random), *stages]
    rollouts = FIRST_ROUND
    seconds: dict[str, float] = {}
    while True:
        for stage in stages:
            left_s = deadline_s - time.perf_counter()
            if left_s <= 0.0 or incumbent.is_optimal(lower_bound_h) or (stop is not None and stop()):
                return
            if stage.weight == 0.0:
                continue
            now = max(1, int(rollouts * stage.weight))
            if stage.name in seconds:
                now = int(max(1.0, min(float(now), min(left_s, LONGEST_STAGE_S) / seconds[stage.name])))
            if max_evaluations is not None:
                now = min(now, (max_evaluations - incumbent.evaluations) // stage.evaluations)
                if now <= 0:
                    return
            began_s = time.perf_counter()
            found = stage.search(now)
            seconds[stage.name] = max((time.perf_counter() - began_s) / now, 1e-7)
            incumbent.evaluations += now * stage.evaluations
            if found < incumbent.makespan_h - SHORTER_H:
                incumbent.makespan_h, incumbent.stage = found, stage.name
        rollouts *= 2


@dataclass(frozen=True)
class _Stage:
    """A way of searching; `search(n)`, as long as n rollouts, leaves mode and start of what it returns if shorter."""

    name: str
    search: Callable[[int], float]
    weight: float
    evaluations: int  # complete schedules built per rollout's worth of time


def _sampling(problem: Problem, network: Network, incumbent: Incumbent, random: RandomState) -> tuple[_Stage, _Stage]:
    """Whole schedules by the agent, and the incumbent's ends by the agent."""
    state, view, workspace = new_state(problem), new_view(problem), new_workspace(problem, network)
    observe(problem, state, view)
    initial_bound_h = float(state.clock[BOUND])  # what the agent's features are relative to

    decoder = new_decoder(problem, kept=True)
    hot_h = HOT_SHARE * problem.unit / problem.shortest.size

    def sample(rollouts: int) -> float:
        return refine(
            problem, state, view, network, workspace, decoder, SAMPLING_TEMPERATURE, random, rollouts,
            incumbent.mode, incumbent.start, incumbent.makespan_h, initial_bound_h, False, hot_h, KNOBS,
        )  # fmt: skip

    def sample_again(rollouts: int) -> float:
        return refine(
            problem, state, view, network, workspace, decoder, SAMPLING_TEMPERATURE, random, rollouts,
            incumbent.mode, incumbent.start, incumbent.makespan_h, initial_bound_h, True, hot_h, KNOBS,
        )  # fmt: skip

    return _Stage("sampling", sample, WEIGHTS[0], 1), _Stage("resampling", sample_again, WEIGHTS[1], 1)


def _annealing(problem: Problem, incumbent: Incumbent, random: RandomState, lower_bound_h: float) -> _Stage:
    """Double justification and simulated annealing from the incumbent."""
    decoder = new_decoder(problem, kept=True)
    hot_h = HOT_SHARE * problem.unit / problem.shortest.size

    def shake(rollouts: int) -> float:
        order = np.empty(incumbent.start.size, dtype=np.int64)
        mode, start = incumbent.mode.copy(), incumbent.start.copy()
        begin = justify(problem, decoder, mode, start, order)
        found = anneal(
            problem, decoder, order, mode, start, begin, rollouts * DECODES_PER_ROLLOUT, hot_h, hot_h / COOLING, random,
            lower_bound_h + PROVED_H, KNOBS,
        )  # fmt: skip
        if found < incumbent.makespan_h - SHORTER_H:
            incumbent.mode[:], incumbent.start[:] = mode, start
        return found

    return _Stage("annealing", shake, WEIGHTS[2], DECODES_PER_ROLLOUT)


@compiled
def refine(
    problem: Problem,
    state: State,
    view: View,
    network: Network,
    workspace: Workspace,
    decoder: Decoder,
    temperature: float,
    random: RandomState,
    rounds: int,
    best_mode: Ints,
    best_start: Floats,
    best: float,
    initial_bound: float,
    again: bool,
    hot: float,
    knobs: Floats,
) -> float:
    n = best_start.size
    kept = np.empty(n, dtype=np.int64)
    order, mode, start = np.empty(n, dtype=np.int64), np.empty(n, dtype=np.int64), np.empty(n)
    for _ in range(rounds):
        if again:
            now = best_start[int(uniform(random) * n)]
            for j in range(n):
                kept[j] = best_mode[j] if best_start[j] < now - 1e-9 else -1
            restore(problem, state, now, initial_bound, kept, best_start)
        else:
            reset(problem, state)
            observe(problem, state, view)
        left = 0
        if again and knobs[16] > 0.0 and uniform(random) < knobs[17]:
            left = max(0, state.counts[UNSTARTED] - 2 - int(uniform(random) * knobs[16]))
        complete(problem, state, view, network, workspace, initial_bound, 0.0, temperature, random, left, knobs[20])
        if left > 0:
            for j in range(n):
                if state.mode[j] < 0:
                    mode[j] = best_mode[j]
                    start[j] = best_start[j] + 1e6
                else:
                    mode[j] = state.mode[j]
                    start[j] = state.start[j]
            _order_from_begin(problem, start, order)
            found = anneal(problem, decoder, order, mode, start, np.inf, int(knobs[24]), hot * knobs[12], hot * knobs[12] / COOLING, random, 0.0, knobs)
            if found < best * knobs[14]:
                found = justify(problem, decoder, mode, start, order)
            if found < best - 1e-9:
                best = found
                best_mode[:], best_start[:] = mode, start
            continue
        else:
            found = state.finish.max()
        if knobs[11] >= 0.0 and found < best * knobs[13]:
            mode[:], start[:] = state.mode, state.start
            found = justify(problem, decoder, mode, start, order)
            if knobs[11] > 0.0 and found < best * knobs[14]:
                found = anneal(problem, decoder, order, mode, start, found, int(knobs[11]), hot * knobs[12], hot * knobs[12] / COOLING, random, 0.0, knobs)
            if found < best - 1e-9:
                best = found
                best_mode[:], best_start[:] = mode, start
        elif found < best - 1e-9:
            best = found
            best_mode[:], best_start[:] = state.mode, state.start
    return best


@compiled
def justify(problem: Problem, decoder: Decoder, mode: Ints, start: Floats, order: Ints) -> float:
    """Double justification of the schedule in `start`: right, then left; never longer. Fills `start` and `order`.

    Source: Valls, Ballestin and Quintanilla 2005; Tormos and Lova 2001 (forward-backward improvement).
    """
    n = order.size
    backward = np.empty(n)
    for j in range(n):
        decoder.finish[j] = start[j] + problem.duration[mode[j]]
    _order_from_end(problem, decoder.finish, order)
    decode(problem, decoder, order, mode, decoder.predecessor_at, decoder.predecessors, backward, np.inf)
    for j in range(n):
        backward[j] = -backward[j] - problem.duration[mode[j]]  # latest start, relative to the end
    _order_from_begin(problem, backward, order)
    return decode(problem, decoder, order, mode, problem.successor_at, problem.successors, start, np.inf)


@compiled
def _order_from_end(problem: Problem, finish: Floats, order: Ints) -> None:
    """Fill `order` by falling `finish`, each activity after its successors, also where one takes no time."""
    n = order.size
    key, backwards = finish.copy(), problem.topological[::-1].copy()
    for j in backwards:
        for e in range(problem.successor_at[j], problem.successor_at[j + 1]):
            key[j] = min(key[j], key[problem.successors[e]])
    place = np.argsort(-key[backwards], kind="mergesort")
    for i in range(n):
        order[i] = backwards[place[i]]


@compiled
def _order_from_begin(problem: Problem, begin: Floats, order: Ints) -> None:
    """Fill `order` by rising `begin`, each activity after its predecessors, also where one takes no time."""
    n = order.size
    key = begin.copy()
    for position in range(n):
        j = problem.topological[position]
        for e in range(problem.successor_at[j], problem.successor_at[j + 1]):
            key[problem.successors[e]] = max(key[problem.successors[e]], key[j])
    place = np.argsort(key[problem.topological], kind="mergesort")
    for i in range(n):
        order[i] = problem.topological[place[i]]


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
    knobs: Floats,
) -> float:
    """Simulated annealing from the given schedule; the best found overwrites the arrays, its makespan is returned."""
    n = order.size
    position = decoder.position
    predecessor_at, predecessors = decoder.predecessor_at, decoder.predecessors
    successor_at, successors, mode_at = problem.successor_at, problem.successors, problem.mode_at
    use_at, use_resource = problem.use_at, problem.use_resource
    for i in range(n):
        position[order[i]] = i
    at, used, size, row, side = decoder.at, decoder.used, decoder.size, decoder.row, decoder.side
    ready, finish, rest = decoder.ready, decoder.finish, decoder.rest
    durations, capacity, topological = problem.duration, problem.capacity, problem.topological
    demand_at, demand_resource, demand_units = problem.demand_at, problem.demand_resource, problem.demand_units
    width = (size.size - capacity.size) // n
    load = np.zeros(problem.capacity.size)
    for j in range(n):
        for u in range(use_at[j], use_at[j + 1]):
            load[use_resource[u]] += problem.use_work[u] / problem.capacity[use_resource[u]]
    busy = np.empty(n, dtype=np.int64)
    n_busy = 0
    for j in range(n):
        for u in range(use_at[j], use_at[j + 1]):
            if load[use_resource[u]] >= knobs[6] * load.max():
                busy[n_busy] = j
                n_busy += 1
                break
    full, flexible = decoder.full, knobs[18] > 0.0
    chosen = mode.copy()
    trial_order, trial_mode, trial = order.copy(), mode.copy(), np.empty(n)
    moved = np.empty(n, dtype=np.int64)
    marked = np.zeros(n, dtype=np.bool_)
    best_order, best_mode, best_start = order.copy(), mode.copy(), start.copy()
    _rest(topological, successor_at, successors, durations, mode, rest)
    best = current = place(order, mode, 0, start, np.inf, width, successor_at, successors, at, used, size, row, side, ready, finish, rest, durations, capacity, demand_at, demand_resource, demand_units, full, mode_at, chosen, flexible)
    for p in range(n):
        side[p] = 1 - side[p]
    trial_chosen = chosen.copy()
    if best < makespan - 1e-9:
        best_start[:], best_mode[:] = start, chosen
    cooling = (cold / hot) ** (1.0 / max(moves, 1))
    temperature = hot
    dirty, critical, n_critical = True, np.empty(n, dtype=np.int64), 0
    for _ in range(moves):
        temperature *= cooling
        if dirty and knobs[19] > 0.0:
            dirty = False
            n_critical = _critical(order, start, durations, chosen, current, use_at, use_resource, predecessor_at, predecessors, marked, critical)
        pick = uniform(random)
        if pick < knobs[5]:
            j = busy[int(uniform(random) * n_busy)]
        elif pick < knobs[5] + knobs[19]:
            j = critical[int(uniform(random) * n_critical)]
        else:
            j = int(uniform(random) * n)
        kind = uniform(random)
        first, last = n, -1  # places whose activity or mode changed
        old = position[j]
        if kind < knobs[0]:  # exchange people with a neighbour of the same team
            if use_at[j + 1] == use_at[j]:
                continue
            k = use_resource[use_at[j]]
            step = 1 if uniform(random) < 0.5 else -1
            skip = int(uniform(random) * knobs[7])
            p = old + step
            while 0 <= p < n:
                if use_at[trial_order[p] + 1] > use_at[trial_order[p]] and use_resource[use_at[trial_order[p]]] == k:
                    if skip == 0:
                        break
                    skip -= 1
                p += step
            if p < 0 or p >= n:
                continue
            i = trial_order[p]
            amount = 1 + int(uniform(random) * uniform(random) * knobs[8])
            if trial_mode[j] + amount >= mode_at[j + 1] or trial_mode[i] - amount < mode_at[i]:
                continue
            trial_mode[j] += amount
            trial_mode[i] -= amount
            first, last = min(old, p), max(old, p)
        else:
            n_modes = mode_at[j + 1] - mode_at[j]
            if kind < knobs[2] and n_modes > 1:
                if uniform(random) < knobs[9]:
                    step = 1 if uniform(random) < 0.5 else -1
                    m = min(max(trial_mode[j] + step, mode_at[j]), mode_at[j + 1] - 1)
                else:
                    m = mode_at[j] + int(uniform(random) * n_modes)
                if m != trial_mode[j]:
                    trial_mode[j] = m
                    first, last = old, old
            if kind >= knobs[1] or n_modes == 1:
                if kind >= knobs[3]:  # with all that comes after or before it
                    new = int(uniform(random) * n)
                    if knobs[10] > 0.0:
                        new = min(max(old + int((uniform(random) - 0.5) * knobs[10]), 0), n - 1)
                    if new > old:
                        _later(successor_at, successors, moved, trial_order, position, old, new, marked)
                    elif new < old:
                        _earlier(predecessor_at, predecessors, moved, trial_order, position, old, new, marked)
                else:
                    low, high = 0, n - 1
                    for e in range(predecessor_at[j], predecessor_at[j + 1]):
                        low = max(low, position[predecessors[e]] + 1)
                    for e in range(successor_at[j], successor_at[j + 1]):
                        high = min(high, position[successors[e]] - 1)
                    new = low + int(uniform(random) * (high - low + 1))
                    _shift(trial_order, position, old, new)
                if new != old:
                    first, last = min(old, new), max(old, new)
        if last < 0:
            continue
        while trial_order[first] == order[first] and trial_mode[trial_order[first]] == mode[trial_order[first]]:
            first += 1
            if first > last:
                break
        if first > last:
            continue
        if kind < knobs[2] and knobs[4] > 0.0:
            _rest(topological, successor_at, successors, durations, trial_mode, rest)
        limit = current - temperature * math.log(uniform(random) + 1e-300)
        trial[:] = start
        trial_chosen[:] = chosen
        found = place(trial_order, trial_mode, first, trial, limit + 1e-9, width, successor_at, successors, at, used, size, row, side, ready, finish, rest, durations, capacity, demand_at, demand_resource, demand_units, full, mode_at, trial_chosen, flexible)
        if found == np.inf:
            for p in range(first, last + 1):
                i = order[p]
                trial_order[p] = i
                trial_mode[i] = mode[i]
                position[i] = p
            if kind < knobs[2] and knobs[4] > 0.0:
                _rest(topological, successor_at, successors, durations, mode, rest)
            continue
        for p in range(first, n):
            side[p] = 1 - side[p]
        for p in range(first, last + 1):
            i = trial_order[p]
            order[p] = i
            mode[i] = trial_mode[i]
        start[:] = trial
        chosen[:] = trial_chosen
        current = found
        dirty = True
        if found < best - 1e-9:
            best = found
            best_order[:], best_mode[:], best_start[:] = order, chosen, start
            if best <= lower_bound + 1e-9:
                break
    order[:], mode[:], start[:] = best_order, best_mode, best_start
    return best


@compiled
def _critical(order: Ints, start: Floats, durations: Floats, mode: Ints, makespan: float, use_at: Ints, use_resource: Ints, predecessor_at: Ints, predecessors: Ints, marked: Bools, critical: Ints) -> int:
    n = order.size
    count = 0
    for j in range(n):
        if start[j] + durations[mode[j]] >= makespan - 1e-6:
            critical[count] = j
            count += 1
            marked[j] = True
    done = 0
    while done < count:
        j = critical[done]
        done += 1
        begin = start[j]
        for e in range(predecessor_at[j], predecessor_at[j + 1]):
            i = predecessors[e]
            if not marked[i] and start[i] + durations[mode[i]] >= begin - 1e-6:
                marked[i] = True
                critical[count] = i
                count += 1
        if use_at[j + 1] > use_at[j]:
            k = use_resource[use_at[j]]
            for i in range(n):
                if not marked[i] and abs(start[i] + durations[mode[i]] - begin) <= 1e-6 and use_at[i + 1] > use_at[i] and use_resource[use_at[i]] == k:
                    marked[i] = True
                    critical[count] = i
                    count += 1
    for c in range(count):
        marked[critical[c]] = False
    return count


@compiled
def _rest(topological: Ints, successor_at: Ints, successors: Ints, durations: Floats, mode: Ints, rest: Floats) -> None:
    """Fill `rest` with the longest path after each activity, in the given modes."""
    for p in range(topological.size - 1, -1, -1):
        j = topological[p]
        longest = 0.0
        for e in range(successor_at[j], successor_at[j + 1]):
            s = successors[e]
            longest = max(longest, durations[mode[s]] + rest[s])
        rest[j] = longest


@compiled
def _later(successor_at: Ints, successors: Ints, moved: Ints, order: Ints, position: Ints, old: int, new: int, marked: Bools) -> None:
    """Move the activity at place `old`, and what comes after it up to `new`, to the end of these places."""
    count, place = 0, old
    marked[order[old]] = True
    for p in range(old, new + 1):
        j = order[p]
        if marked[j]:
            moved[count] = j
            count += 1
            for e in range(successor_at[j], successor_at[j + 1]):
                if position[successors[e]] <= new:
                    marked[successors[e]] = True
        else:
            order[place] = j
            position[j] = place
            place += 1
    for i in range(count):
        order[place + i] = moved[i]
        position[moved[i]] = place + i
        marked[moved[i]] = False


@compiled
def _earlier(predecessor_at: Ints, predecessors: Ints, moved: Ints, order: Ints, position: Ints, old: int, new: int, marked: Bools) -> None:
    """Move the activity at place `old`, and what it waits for from `new` on, to the begin of these places."""
    count, place = 0, old
    marked[order[old]] = True
    for p in range(old, new - 1, -1):
        j = order[p]
        if marked[j]:
            moved[count] = j
            count += 1
            for e in range(predecessor_at[j], predecessor_at[j + 1]):
                if position[predecessors[e]] >= new:
                    marked[predecessors[e]] = True
        else:
            order[place] = j
            position[j] = place
            place -= 1
    for i in range(count):
        order[place - i] = moved[i]
        position[moved[i]] = place - i
        marked[moved[i]] = False


@compiled
def _shift(order: Ints, position: Ints, old: int, new: int) -> None:
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
