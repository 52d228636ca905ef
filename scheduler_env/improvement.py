"""Making a schedule shorter while there is time: sampling by the agent, justification, annealing over order and crews.

`improve` goes round three stages in rounds that double in length:

1. `sampling`: complete schedules by the agent with noise on its scores, each refined;
2. `resampling`: the best schedule up to a random time, the rest sampled anew, and refined;
3. `annealing`: double justification, then simulated annealing (see `annealing`) from the best schedule. Large problems
   without a choice of modes have a genetic algorithm in its place (see `alternating`).

To refine a schedule is to justify it and, if it then is nearly as short as the best one, to anneal it a little. Without
an agent only the third stage is left; what the agent is worth is the difference (docs/training.md).

All of it is compiled and releases the GIL. The same seed and number of evaluations give the same schedule.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

from scheduler_env.alternating import STAGE, alternating_search, has_single_modes
from scheduler_env.annealing import anneal
from scheduler_env.compilation import compiled
from scheduler_env.incumbent import PROVED_H, SHORTER_H, Incumbent, Stop
from scheduler_env.kernel import (
    BOUND,
    Floats,
    Ints,
    Problem,
    State,
    View,
    new_state,
    new_view,
    observe,
    reset,
    restore,
)
from scheduler_env.observation import Network, Workspace, new_workspace
from scheduler_env.rollout import RandomState, complete, new_random, uniform
from scheduler_env.serial import Decoder, decode, new_decoder, order_by_time

SAMPLING_TEMPERATURE = 0.02
"""Scale of the noise on the agent's scores, in units of the mean shortest duration."""
DECODES_PER_ROLLOUT = 280
"""Moves of the annealing stage to one rollout of a sampling stage."""
REFINING_MOVES, NEARLY = 200, 1.02
"""Moves by which a sampled schedule is annealed if it is at most so many times as long as the best one."""
LONGEST_STAGE_S = 2.0
"""So that a search that nobody waits for any more ends soon."""
MIN_ALTERNATING = 40
"""Activities from which on, without a choice of modes, `alternating` replaces annealing (measured: docs/decisions)."""
MIN_EVALUATIONS, MOST_EVALUATIONS, PLACEMENTS = 50, 1_000, 60_000
"""See `least_evaluations`: the last is of steps in all of the schedules together."""
HOT_SHARE, COOLING = 2.0, 20.0
"""Annealing starts at HOT_SHARE mean durations over the number of activities, and ends at a COOLING-th of that."""


def least_evaluations(n_steps: int) -> int:
    """Schedules of a search that is worth its name: about half of what an idle core builds in 20 ms, at least 50."""
    return max(MIN_EVALUATIONS, min(MOST_EVALUATIONS, PLACEMENTS // max(1, n_steps)))


def improve(
    problem: Problem,
    network: Network | None,
    incumbent: Incumbent,
    *,
    lower_bound_h: float,
    deadline_s: float,
    seed: int = 0,
    min_evaluations: int = 0,
    max_evaluations: int | None = None,
    stop: Stop | None = None,
) -> None:
    """Shorten `incumbent`, a complete schedule, until `deadline_s` (`time.perf_counter`), a proof, `max_evaluations`.

    The deadline does not count before `min_evaluations`, and may be overrun by what one rollout takes. Or until `stop`,
    which is asked between the stages.
    `network` None: without an agent.
    """
    random, decoder = new_random(seed), new_decoder(problem, kept=True)
    stages = [_last_stage(problem, decoder, incumbent, random, lower_bound_h)]
    if network is not None:
        stages = [*_sampling(problem, network, decoder, incumbent, random, lower_bound_h), *stages]
    rollouts = 1
    seconds_per_rollout: dict[str, float] = {}
    while True:
        for stage in stages:
            left_s = deadline_s - time.perf_counter()
            is_late = left_s <= 0.0 and incumbent.evaluations >= min_evaluations
            if is_late or incumbent.is_optimal(lower_bound_h) or (stop is not None and stop()):
                return
            now = 1  # until its time is known
            if stage.name in seconds_per_rollout:
                now = int(max(1.0, min(rollouts, min(left_s, LONGEST_STAGE_S) / seconds_per_rollout[stage.name])))
            if max_evaluations is not None:
                now = min(now, (max_evaluations - incumbent.evaluations) // stage.evaluations)
                if now <= 0:
                    return
            began_s = time.perf_counter()
            found, evaluations = stage.search(now)
            seconds_per_rollout[stage.name] = max((time.perf_counter() - began_s) / now, 1e-7)
            incumbent.evaluations += evaluations
            if found < incumbent.makespan_h - SHORTER_H:
                incumbent.makespan_h, incumbent.stage = found, stage.name
        rollouts *= 2


@dataclass(frozen=True)
class _Stage:
    """A way of searching; `search(n)`, of n rollouts or their like, gives a makespan and how many schedules it built.

    Mode and start of the makespan are in the incumbent if that is shorter.
    """

    name: str
    search: Callable[[int], tuple[float, int]]
    evaluations: int  # schedules built per rollout, at most


def _sampling(
    problem: Problem,
    network: Network,
    decoder: Decoder,
    incumbent: Incumbent,
    random: RandomState,
    lower_bound_h: float,
) -> tuple[_Stage, _Stage]:
    """Whole schedules by the agent, and the incumbent's ends by the agent."""
    state, view, workspace = new_state(problem), new_view(problem), new_workspace(problem, network)
    observe(problem, state, view)
    initial_bound_h = float(state.clock[BOUND])  # what the agent's features are relative to

    def search(is_again: bool, rollouts: int) -> tuple[float, int]:
        return sample(
            problem, state, view, network, workspace, decoder, is_again, rollouts, random, initial_bound_h,
            _hot_h(problem), incumbent.mode, incumbent.start, incumbent.makespan_h, lower_bound_h + PROVED_H,
        )  # fmt: skip

    return (
        _Stage("sampling", partial(search, False), 1 + REFINING_MOVES),
        _Stage("resampling", partial(search, True), 1 + REFINING_MOVES),
    )


def _last_stage(
    problem: Problem, decoder: Decoder, incumbent: Incumbent, random: RandomState, lower_bound_h: float
) -> _Stage:
    """Annealing; for large problems without a choice of modes the search that is better for them."""
    if problem.shortest.size < MIN_ALTERNATING or not has_single_modes(problem):
        return _annealing(problem, decoder, incumbent, random, lower_bound_h)
    search = alternating_search(problem, incumbent, random, lower_bound_h)

    def breed(rollouts: int) -> tuple[float, int]:
        schedules = rollouts * DECODES_PER_ROLLOUT
        return search(schedules), schedules

    return _Stage(STAGE, breed, DECODES_PER_ROLLOUT)


def _annealing(
    problem: Problem, decoder: Decoder, incumbent: Incumbent, random: RandomState, lower_bound_h: float
) -> _Stage:
    """Double justification and simulated annealing from the incumbent."""
    hot_h = _hot_h(problem)

    def shake(rollouts: int) -> tuple[float, int]:
        order = np.empty(incumbent.start.size, dtype=np.int64)
        mode, start = incumbent.mode.copy(), incumbent.start.copy()
        begin = justify(problem, decoder, mode, start, order)
        moves = rollouts * DECODES_PER_ROLLOUT
        found = anneal(
            problem, decoder, order, mode, start, begin, moves, hot_h, hot_h / COOLING, random, lower_bound_h + PROVED_H
        )
        if found < incumbent.makespan_h - SHORTER_H:
            incumbent.mode[:], incumbent.start[:] = mode, start
        return found, moves

    return _Stage("annealing", shake, DECODES_PER_ROLLOUT)


def _hot_h(problem: Problem) -> float:
    return HOT_SHARE * problem.unit / problem.shortest.size


@compiled
def sample(
    problem: Problem,
    state: State,
    view: View,
    network: Network,
    workspace: Workspace,
    decoder: Decoder,
    is_again: bool,
    rollouts: int,
    random: RandomState,
    initial_bound: float,
    hot: float,
    best_mode: Ints,
    best_start: Floats,
    best: float,
    lower_bound: float,
) -> tuple[float, int]:
    """The shortest makespan of `best` and `rollouts` refined schedules by the agent, and how many schedules were built.

    A better schedule overwrites the two arrays. If `is_again` each rollout keeps the best schedule up to a random time
    and goes on from there.

    Args:
        initial_bound: the lower bound of the empty state, hours.
        hot: temperature at which annealing starts, hours.
        lower_bound: a schedule of this length ends the search.
    """
    n = best_start.size
    kept, order, mode, start = np.empty(n, np.int64), np.empty(n, np.int64), np.empty(n, np.int64), np.empty(n)
    evaluations = 0
    for _ in range(rollouts):
        if is_again:
            now = best_start[int(uniform(random) * n)]
            for j in range(n):
                kept[j] = best_mode[j] if best_start[j] < now - 1e-9 else -1
            restore(problem, state, now, initial_bound, kept, best_start)
        else:
            reset(problem, state)
        complete(problem, state, view, network, workspace, initial_bound, 0.0, SAMPLING_TEMPERATURE, random)
        mode[:], start[:] = state.mode, state.start
        found = justify(problem, decoder, mode, start, order)
        evaluations += 1
        if found <= NEARLY * best:
            evaluations += REFINING_MOVES
            found = anneal(
                problem, decoder, order, mode, start, found, REFINING_MOVES, hot, hot / COOLING, random, lower_bound
            )
        if found < best - 1e-9:
            best = found
            best_mode[:], best_start[:] = mode, start
            if best <= lower_bound:
                break
    return best, evaluations


@compiled
def justify(problem: Problem, decoder: Decoder, mode: Ints, start: Floats, order: Ints) -> float:
    """Double justification of the schedule in `start`: right, then left; never longer. Fills `start` and `order`.

    Source: Valls, Ballestin and Quintanilla 2005; Tormos and Lova 2001 (forward-backward improvement).
    """
    n = order.size
    backward, finish = np.empty(n), np.empty(n)
    for j in range(n):
        finish[j] = start[j] + problem.duration[mode[j]]
    _order_from_end(problem, finish, order)
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
