"""Making a schedule shorter while there is time: sampling by the agent, justification, annealing over order and crews.

`improve` goes round three stages, each with as much time, in rounds that double in length:

1. `sampling`: complete schedules by the agent with noise on its scores;
2. `resampling`: the best schedule up to a random time, the rest sampled anew;
3. `annealing`: double justification, then simulated annealing over (activity list, modes), decoded serially.

For large problems without a choice of modes a genetic algorithm takes the place of the third (`alternating`).
Without an agent only the third is left; what the agent is worth is the difference (docs/training.md).

All of it is compiled and releases the GIL. The same seed and number of evaluations give the same schedule.
"""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from scheduler_env.alternating import STAGE, alternating_search, has_single_modes
from scheduler_env.compilation import compiled
from scheduler_env.incumbent import PROVED_H, SHORTER_H, Incumbent, Stop
from scheduler_env.kernel import BOUND, Floats, Ints, Problem, new_state, new_view, observe
from scheduler_env.observation import Network, new_workspace
from scheduler_env.rollout import RandomState, new_random, resample, roll_out_until, uniform
from scheduler_env.serial import Decoder, decode, new_decoder, order_by_time
from scheduler_env.serial import shift as _shift

SAMPLING_TEMPERATURE = 0.02
"""Scale of the noise on the agent's scores, in units of the mean shortest duration."""
DECODES_PER_ROLLOUT = 140
"""How many activity lists are decoded in the time of one rollout of the agent (measured, at any size)."""
FIRST_ROUND = 2
"""Rollouts in each sampling stage of the first round."""
LONGEST_STAGE_S = 2.0
"""So that a search that nobody waits for any more ends soon."""
MIN_ALTERNATING = 40
"""Activities from which on, without a choice of modes, `alternating` replaces annealing (measured: docs/decisions)."""
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
    stages = [_last_stage(problem, incumbent, random, lower_bound_h)]
    if network is not None:
        stages = [*_sampling(problem, network, incumbent, random), *stages]
    rollouts = FIRST_ROUND
    seconds_per_rollout = 0.0
    while True:
        for stage in stages:
            left_s = deadline_s - time.perf_counter()
            if left_s <= 0.0 or incumbent.is_optimal(lower_bound_h) or (stop is not None and stop()):
                return
            now = rollouts
            if seconds_per_rollout > 0.0:
                now = int(max(1.0, min(float(now), min(left_s, LONGEST_STAGE_S) / seconds_per_rollout)))
            if max_evaluations is not None:
                now = min(now, (max_evaluations - incumbent.evaluations) // stage.evaluations)
                if now <= 0:
                    return
            began_s = time.perf_counter()
            found = stage.search(now)
            seconds_per_rollout = max((time.perf_counter() - began_s) / now, 1e-7)
            incumbent.evaluations += now * stage.evaluations
            if found < incumbent.makespan_h - SHORTER_H:
                incumbent.makespan_h, incumbent.stage = found, stage.name
        rollouts *= 2


@dataclass(frozen=True)
class _Stage:
    """A way of searching; `search(n)`, as long as n rollouts, leaves mode and start of what it returns if shorter."""

    name: str
    search: Callable[[int], float]
    evaluations: int  # complete schedules built per rollout's worth of time


def _sampling(problem: Problem, network: Network, incumbent: Incumbent, random: RandomState) -> tuple[_Stage, _Stage]:
    """Whole schedules by the agent, and the incumbent's ends by the agent."""
    state, view, workspace = new_state(problem), new_view(problem), new_workspace(problem, network)
    observe(problem, state, view)
    initial_bound_h = float(state.clock[BOUND])  # what the agent's features are relative to

    def sample(rollouts: int) -> float:
        return roll_out_until(
            problem, state, view, network, workspace, SAMPLING_TEMPERATURE, random, rollouts,
            incumbent.mode, incumbent.start, incumbent.makespan_h,
        )  # fmt: skip

    def sample_again(rollouts: int) -> float:
        return resample(
            problem, state, view, network, workspace, SAMPLING_TEMPERATURE, random, rollouts,
            incumbent.mode, incumbent.start, incumbent.makespan_h, initial_bound_h,
        )  # fmt: skip

    return _Stage("sampling", sample, 1), _Stage("resampling", sample_again, 1)


def _last_stage(problem: Problem, incumbent: Incumbent, random: RandomState, lower_bound_h: float) -> _Stage:
    """Annealing; for large problems without a choice of modes the search that is better for them."""
    if problem.shortest.size < MIN_ALTERNATING or not has_single_modes(problem):
        return _annealing(problem, incumbent, random, lower_bound_h)
    search = alternating_search(problem, incumbent, random, lower_bound_h)
    return _Stage(STAGE, lambda rollouts: search(rollouts * DECODES_PER_ROLLOUT), DECODES_PER_ROLLOUT)


def _annealing(problem: Problem, incumbent: Incumbent, random: RandomState, lower_bound_h: float) -> _Stage:
    """Double justification and simulated annealing from the incumbent."""
    decoder = new_decoder(problem)
    hot_h = HOT_SHARE * problem.unit / problem.shortest.size

    def shake(rollouts: int) -> float:
        order = np.empty(incumbent.start.size, dtype=np.int64)
        mode, start = incumbent.mode.copy(), incumbent.start.copy()
        begin = justify(problem, decoder, mode, start, order)
        found = anneal(
            problem, decoder, order, mode, start, begin, rollouts * DECODES_PER_ROLLOUT, hot_h, hot_h / COOLING, random,
            lower_bound_h + PROVED_H,
        )  # fmt: skip
        if found < incumbent.makespan_h - SHORTER_H:
            incumbent.mode[:], incumbent.start[:] = mode, start
        return found

    return _Stage("annealing", shake, DECODES_PER_ROLLOUT)


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
    order_by_time(problem, backward, order)
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
    """Simulated annealing from the given schedule; the best found overwrites the arrays, its makespan is returned.

    A move shifts one activity within its precedence window, gives one another mode, or both. Temperatures are hours,
    falling geometrically from `hot` to `cold`; `moves` schedules are decoded.
    """
    n = order.size
    position = decoder.position
    for i in range(n):
        position[order[i]] = i
    trial = np.empty(n)
    best_order, best_mode, best_start = order.copy(), mode.copy(), start.copy()
    best = current = makespan
    cooling = (cold / hot) ** (1.0 / max(moves, 1))
    temperature = hot
    for _ in range(moves):
        temperature *= cooling
        j = int(uniform(random) * n)
        kind = uniform(random)
        old_mode = mode[j]
        n_modes = problem.mode_at[j + 1] - problem.mode_at[j]
        old_position = new_position = position[j]
        if kind < 0.6 and n_modes > 1:
            if uniform(random) < 0.7:
                step = 1 if uniform(random) < 0.5 else -1
                m = min(max(old_mode + step, problem.mode_at[j]), problem.mode_at[j + 1] - 1)
            else:
                m = problem.mode_at[j] + int(uniform(random) * n_modes)
            mode[j] = m
        if kind >= 0.4 or n_modes == 1:
            low, high = 0, n - 1
            for e in range(decoder.predecessor_at[j], decoder.predecessor_at[j + 1]):
                low = max(low, position[decoder.predecessors[e]] + 1)
            for e in range(problem.successor_at[j], problem.successor_at[j + 1]):
                high = min(high, position[problem.successors[e]] - 1)
            new_position = low + int(uniform(random) * (high - low + 1))
        if new_position == old_position and mode[j] == old_mode:
            continue
        _shift(order, position, old_position, new_position)
        limit = current - temperature * math.log(uniform(random) + 1e-300)
        found = decode(problem, decoder, order, mode, problem.successor_at, problem.successors, trial, limit + 1e-9)
        if found == np.inf:
            _shift(order, position, new_position, old_position)
            mode[j] = old_mode
            continue
        current = found
        if found < best - 1e-9:
            best = found
            best_order[:], best_mode[:], best_start[:] = order, mode, trial
            if best <= lower_bound + 1e-9:
                break
    order[:], mode[:], start[:] = best_order, best_mode, best_start
    return best
