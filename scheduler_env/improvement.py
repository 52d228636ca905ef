"""The search that shortens a schedule within a time budget: sampling by the agent, justification, annealing.

`improve` repeats three stages in rounds that double in length:

1. `sampling`: complete schedules by the agent with noise on its scores, each refined;
2. `resampling`: the best schedule is kept up to a random time, the rest is sampled again, and the result refined;
3. `annealing`: double justification, then simulated annealing (see `annealing`) from the best schedule. For large
   problems without a choice of modes, a genetic algorithm replaces it (see `alternating`).

Refining means: justify the schedule and, if it is then nearly as short as the best one, anneal it with few moves.
Without an agent only the third stage is used; the difference shows the value of the agent (docs/training.md).

All stages are compiled and release the GIL. The same seed and number of evaluations give the same schedule.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Unpack

import numpy as np

from scheduler_env.alternating import STAGE, alternating_search, can_alternate
from scheduler_env.annealing import anneal
from scheduler_env.compilation import compiled
from scheduler_env.incumbent import MIN_IMPROVEMENT_H, OPTIMAL_WITHIN_H, Incumbent, Limits
from scheduler_env.kernel import (
    BOUND,
    Floats,
    Ints,
    Outlook,
    Problem,
    SimulationState,
    new_outlook,
    new_state,
    observe,
    reset,
    restore,
)
from scheduler_env.observation import Network, Workspace, new_workspace
from scheduler_env.policy import continue_policy
from scheduler_env.random_numbers import RandomState, new_random, uniform
from scheduler_env.serial import FORWARDS, Decoder, decode, new_decoder, order_by_time

SAMPLING_TEMPERATURE = 0.02
"""Scale of the Gumbel noise on the agent's scores, in units of the mean shortest duration."""
MOVES_PER_SAMPLE = 280
"""Moves of the annealing stage per sample of a sampling stage."""
REFINING_MOVES, REFINING_LIMIT = 200, 1.02
"""Annealing moves for a sampled schedule; only if its makespan is at most this multiple of the best one."""
MAX_STAGE_S = 2.0
"""Longest run of a stage before `stop` is called again, so that an abandoned search ends soon."""
MIN_ALTERNATING = 40
"""With at least this many activities and no choice of modes, `alternating` replaces annealing (docs/decisions)."""
MIN_PLACEMENTS, MIN_EVALUATIONS_LIMITS = 60_000, (50, 1_000)
"""See `min_search_evaluations`; placements of steps over all schedules together."""
START_TEMPERATURE, COOLING_FACTOR = 2.0, 20.0
"""Annealing starts at START_TEMPERATURE * mean duration / activities; the temperature falls by the factor."""


def min_search_evaluations(n_steps: int) -> int:
    """The minimum number of schedules of a search: about half of what an idle core builds in 20 ms, 50 to 1,000."""
    low, high = MIN_EVALUATIONS_LIMITS
    return max(low, min(high, MIN_PLACEMENTS // max(1, n_steps)))


def improve(
    problem: Problem, network: Network | None, incumbent: Incumbent, *, seed: int = 0, **limits: Unpack[Limits]
) -> None:
    """Shorten `incumbent`, a complete schedule, within `limits`.

    Args:
        network: None searches without an agent.
        seed: of everything random.
    """
    random, decoder = new_random(seed), new_decoder(problem, incremental=True)
    lower_bound_h = limits["lower_bound_h"]
    stages = [_last_stage(problem, decoder, incumbent, random, lower_bound_h)]
    if network is not None:
        stages = [*_sampling(problem, network, decoder, incumbent, random, lower_bound_h), *stages]
    run_stages(stages, incumbent, **limits)


@dataclass(frozen=True)
class Stage:
    """A search method. `search(n)` runs n samples (children, moves) and returns a makespan and the schedules built.

    If the makespan is shorter than that of the incumbent, its mode and start are in the incumbent's arrays.
    """

    name: str
    search: Callable[[int], tuple[float, int]]
    evaluations: int  # schedules built per sample, at most


def run_stages(stages: Sequence[Stage], incumbent: Incumbent, **limits: Unpack[Limits]) -> None:
    """Run the stages in turn, in rounds that double in length, until one of the limits is reached."""
    stop, max_evaluations = limits.get("stop"), limits.get("max_evaluations")
    samples = 1
    seconds_per_sample: dict[str, float] = {}
    while True:
        for stage in stages:
            left_s = limits["deadline_s"] - time.perf_counter()
            is_late = left_s <= 0.0 and incumbent.evaluations >= limits.get("min_evaluations", 0)
            if is_late or incumbent.is_optimal(limits["lower_bound_h"]) or (stop is not None and stop()):
                return
            n = 1  # the first time, to measure the stage
            if stage.name in seconds_per_sample:
                n = int(max(1.0, min(samples, min(left_s, MAX_STAGE_S) / seconds_per_sample[stage.name])))
            if max_evaluations is not None:
                n = min(n, (max_evaluations - incumbent.evaluations) // stage.evaluations)
                if n <= 0:
                    return
            began_s = time.perf_counter()
            makespan_h, evaluations = stage.search(n)
            seconds_per_sample[stage.name] = max((time.perf_counter() - began_s) / n, 1e-7)
            incumbent.evaluations += evaluations
            if makespan_h < incumbent.makespan_h - MIN_IMPROVEMENT_H:
                incumbent.makespan_h, incumbent.stage = makespan_h, stage.name
        samples *= 2


def _sampling(
    problem: Problem,
    network: Network,
    decoder: Decoder,
    incumbent: Incumbent,
    random: RandomState,
    lower_bound_h: float,
) -> tuple[Stage, Stage]:
    """The two stages that use the agent: complete schedules, and new ends of the incumbent."""
    state, outlook, workspace = new_state(problem), new_outlook(problem), new_workspace(problem, network)
    observe(problem, state, outlook)
    initial_bound_h = float(state.clock[BOUND])  # the agent's features are relative to it

    def search(is_resampling: bool, samples: int) -> tuple[float, int]:
        return sample(
            problem, state, outlook, network, workspace, decoder, is_resampling, samples, random, initial_bound_h,
            _start_temperature_h(problem), incumbent.mode, incumbent.start, incumbent.makespan_h,
            lower_bound_h + OPTIMAL_WITHIN_H,
        )  # fmt: skip

    return (
        Stage("sampling", partial(search, False), 1 + REFINING_MOVES),
        Stage("resampling", partial(search, True), 1 + REFINING_MOVES),
    )


def _last_stage(
    problem: Problem, decoder: Decoder, incumbent: Incumbent, random: RandomState, lower_bound_h: float
) -> Stage:
    """Annealing, or the alternating search for large problems without a choice of modes."""
    if problem.shortest.size < MIN_ALTERNATING or not can_alternate(problem):
        return _annealing(problem, decoder, incumbent, random, lower_bound_h)
    return alternating_stage(problem, incumbent, random, lower_bound_h, MOVES_PER_SAMPLE)


def alternating_stage(
    problem: Problem, incumbent: Incumbent, random: RandomState, lower_bound_h: float, schedules: int
) -> Stage:
    """`alternating_search` as a stage whose samples are `schedules` schedules each."""
    search = alternating_search(problem, incumbent, random, lower_bound_h)
    return Stage(STAGE, lambda samples: (search(samples * schedules), samples * schedules), schedules)


def _annealing(
    problem: Problem, decoder: Decoder, incumbent: Incumbent, random: RandomState, lower_bound_h: float
) -> Stage:
    """Double justification and simulated annealing from the incumbent."""
    start_temperature_h = _start_temperature_h(problem)

    def search(samples: int) -> tuple[float, int]:
        order = np.empty(incumbent.start.size, dtype=np.int64)
        mode, start = incumbent.mode.copy(), incumbent.start.copy()
        makespan_h = justify(problem, decoder, mode, start, order)
        moves = samples * MOVES_PER_SAMPLE
        makespan_h = anneal(
            problem, decoder, order, mode, start, makespan_h, moves, start_temperature_h,
            start_temperature_h / COOLING_FACTOR, random, lower_bound_h + OPTIMAL_WITHIN_H,
        )  # fmt: skip
        if makespan_h < incumbent.makespan_h - MIN_IMPROVEMENT_H:
            incumbent.mode[:], incumbent.start[:] = mode, start
        return makespan_h, moves

    return Stage("annealing", search, MOVES_PER_SAMPLE)


def _start_temperature_h(problem: Problem) -> float:
    return START_TEMPERATURE * problem.unit / problem.shortest.size


@compiled
def sample(
    problem: Problem,
    state: SimulationState,
    outlook: Outlook,
    network: Network,
    workspace: Workspace,
    decoder: Decoder,
    is_resampling: bool,
    samples: int,
    random: RandomState,
    initial_bound: float,
    start_temperature: float,
    best_mode: Ints,
    best_start: Floats,
    best: float,
    lower_bound: float,
) -> tuple[float, int]:
    """Build and refine `samples` schedules by the agent; returns the shortest makespan so far and the schedules built.

    A schedule shorter than `best` overwrites `best_mode` and `best_start`.

    Args:
        is_resampling: each sample keeps the best schedule up to a random time and completes it from there.
        initial_bound: the lower bound of the empty schedule, hours.
        start_temperature: temperature at which annealing starts, hours.
        best: makespan of the schedule in `best_mode` and `best_start`, hours.
        lower_bound: a schedule of this length ends the search.
    """
    n = best_start.size
    kept, order, mode, start = np.empty(n, np.int64), np.empty(n, np.int64), np.empty(n, np.int64), np.empty(n)
    evaluations = 0
    for _ in range(samples):
        if is_resampling:
            now = best_start[int(uniform(random) * n)]
            for j in range(n):
                kept[j] = best_mode[j] if best_start[j] < now - 1e-9 else -1
            restore(problem, state, now, initial_bound, kept, best_start)
        else:
            reset(problem, state)
        continue_policy(problem, state, outlook, network, workspace, initial_bound, 0.0, SAMPLING_TEMPERATURE, random)
        mode[:], start[:] = state.mode, state.start
        found = justify(problem, decoder, mode, start, order)
        evaluations += 1
        if found <= REFINING_LIMIT * best:
            evaluations += REFINING_MOVES
            found = anneal(
                problem, decoder, order, mode, start, found, REFINING_MOVES, start_temperature,
                start_temperature / COOLING_FACTOR, random, lower_bound,
            )  # fmt: skip
        if found < best - 1e-9:
            best = found
            best_mode[:], best_start[:] = mode, start
            if best <= lower_bound:
                break
    return best, evaluations


@compiled
def justify(problem: Problem, decoder: Decoder, mode: Ints, start: Floats, order: Ints) -> float:
    """Double justification of the schedule in `start`: right, then left. Fills `start` and `order`.

    Returns the new makespan, hours; it is never longer.

    Source: Valls, Ballestin and Quintanilla 2005; Tormos and Lova 2001 (forward-backward improvement).
    """
    n = order.size
    backward, finish = np.empty(n), np.empty(n)
    for j in range(n):
        finish[j] = start[j] + problem.duration[mode[j]]
    end = finish.max()
    _order_from_end(problem, finish, order)
    decode(problem, decoder, order, mode, decoder.predecessor_at, decoder.predecessors, backward, np.inf, end)
    for j in range(n):
        backward[j] = -backward[j] - problem.duration[mode[j]]  # latest start, relative to the makespan
    order_by_time(problem, backward, order)
    return decode(problem, decoder, order, mode, problem.successor_at, problem.successors, start, np.inf, FORWARDS)


@compiled
def _order_from_end(problem: Problem, finish: Floats, order: Ints) -> None:
    """Fill `order` by descending `finish`; each activity is after its successors, even if its duration is 0."""
    n = order.size
    key, backwards = finish.copy(), problem.topological[::-1].copy()
    for j in backwards:
        for e in range(problem.successor_at[j], problem.successor_at[j + 1]):
            key[j] = min(key[j], key[problem.successors[e]])
    place = np.argsort(-key[backwards], kind="mergesort")
    for i in range(n):
        order[i] = backwards[place[i]]
