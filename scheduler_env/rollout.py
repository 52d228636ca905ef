"""Complete schedules by following the network, greedily or with noise: the compiled heart of serving and search."""

import math

import numpy as np

from scheduler_env.compilation import compiled
from scheduler_env.kernel import (
    BOUND,
    UNSTARTED,
    Ints,
    Problem,
    State,
    View,
    candidates,
    decide,
    makespan,
    observe,
    reset,
    restore,
)
from scheduler_env.observation import Network, Workspace, score_candidates

RandomState = np.ndarray[tuple[int], np.dtype[np.uint64]]


def new_random(seed: int) -> RandomState:
    """The state of the generator below; the same seed gives the same numbers on every machine."""
    return np.array([(seed * 0x9E3779B97F4A7C15 + 0x1234567) % 2**64], dtype=np.uint64)


@compiled
def uniform(random: RandomState) -> float:
    """The next number in [0, 1). Source: SplitMix64, Steele, Lea and Flood 2014."""
    random[0] += np.uint64(0x9E3779B97F4A7C15)
    z = random[0]
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    z = z ^ (z >> np.uint64(31))
    return float(z >> np.uint64(11)) / 9007199254740992.0


@compiled
def choose(workspace: Workspace, count: int, epsilon: float, temperature: float, random: RandomState) -> int:
    """The candidate to carry out: the best score, after Gumbel noise of scale `temperature`; random with `epsilon`.

    Adding Gumbel noise to the scores and taking the best samples from their softmax (Gumbel-max trick, Gumbel 1954).
    """
    if epsilon > 0.0 and uniform(random) < epsilon:
        return int(uniform(random) * count)
    best, best_score = 0, -np.inf
    for c in range(count):
        score = float(workspace.score[c])
        if temperature > 0.0:
            score -= temperature * math.log(-math.log(uniform(random) + 1e-300) + 1e-300)
        if score > best_score:
            best, best_score = c, score
    return best


@compiled
def roll_out(
    problem: Problem,
    state: State,
    view: View,
    network: Network,
    workspace: Workspace,
    epsilon: float,
    temperature: float,
    random: RandomState,
) -> int:
    """Run `state` from time 0 to the end by the network's choices; how many decisions it took."""
    reset(problem, state)
    observe(problem, state, view)
    return complete(problem, state, view, network, workspace, state.clock[BOUND], epsilon, temperature, random)


@compiled
def complete(
    problem: Problem,
    state: State,
    view: View,
    network: Network,
    workspace: Workspace,
    initial_bound: float,
    epsilon: float,
    temperature: float,
    random: RandomState,
    left: int = 0,
    thin: float = 0.0,
) -> int:
    """Run `state` from where it stands until no more than `left` activities have not started; how many decisions.

    `initial_bound` is the lower bound of the empty state, hours.
    """
    decisions = 0
    while state.counts[UNSTARTED] > left:
        count = candidates(problem, state, workspace.activity, workspace.mode)
        chosen = 0
        if count > 4 and thin > 0.0:
            count = _thin(workspace.activity, workspace.mode, count, thin, random)
        if count > 1:
            observe(problem, state, view)
            score_candidates(problem, state, view, network, workspace, initial_bound, count)
            chosen = choose(workspace, count, epsilon, temperature, random)
        decide(problem, state, workspace.activity[chosen], workspace.mode[chosen])
        decisions += 1
    return decisions


@compiled
def _thin(activity: Ints, mode: Ints, count: int, thin: float, random: RandomState) -> int:
    kept = 0
    for c in range(count):
        if (
            c > 0 and c < count - 1 and activity[c] == activity[c - 1] and activity[c] == activity[c + 1]
            and uniform(random) < thin
        ):
            continue
        activity[kept], mode[kept] = activity[c], mode[c]
        kept += 1
    return kept


@compiled
def _keep_if_shorter(
    state: State, best_mode: Ints, best_start: np.ndarray[tuple[int], np.dtype[np.float64]], best: float
) -> float:
    """The shorter makespan of `best` and a finished `state`, whose schedule then overwrites the two arrays."""
    if makespan(state) >= best - 1e-9:
        return best
    best_mode[:] = state.mode
    best_start[:] = state.start
    return makespan(state)


@compiled
def roll_out_until(
    problem: Problem,
    state: State,
    view: View,
    network: Network,
    workspace: Workspace,
    temperature: float,
    random: RandomState,
    rounds: int,
    best_mode: Ints,
    best_start: np.ndarray[tuple[int], np.dtype[np.float64]],
    best: float,
) -> float:
    """The shortest makespan of `best` and `rounds` noisy rollouts; a better schedule overwrites the two arrays."""
    for _ in range(rounds):
        roll_out(problem, state, view, network, workspace, 0.0, temperature, random)
        best = _keep_if_shorter(state, best_mode, best_start, best)
    return best


@compiled
def resample(
    problem: Problem,
    state: State,
    view: View,
    network: Network,
    workspace: Workspace,
    temperature: float,
    random: RandomState,
    rounds: int,
    best_mode: Ints,
    best_start: np.ndarray[tuple[int], np.dtype[np.float64]],
    best: float,
    initial_bound: float,
) -> float:
    """As `roll_out_until`, but each rollout keeps the best schedule up to a random time and goes on from there."""
    n = best_start.size
    kept = np.empty(n, dtype=np.int64)
    for _ in range(rounds):
        now = best_start[int(uniform(random) * n)]
        for j in range(n):
            kept[j] = best_mode[j] if best_start[j] < now - 1e-9 else -1
        restore(problem, state, now, initial_bound, kept, best_start)
        complete(problem, state, view, network, workspace, initial_bound, 0.0, temperature, random)
        best = _keep_if_shorter(state, best_mode, best_start, best)
    return best
