"""Complete schedules by following the network, greedily or with noise: the compiled heart of serving and search."""

import math

import numpy as np

from scheduler_env.compilation import compiled
from scheduler_env.kernel import (
    BOUND,
    UNSTARTED,
    Problem,
    State,
    View,
    candidates,
    decide,
    observe,
    reset,
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
) -> int:
    """Run `state` from where it stands to the end; how many decisions it took.

    `initial_bound` is the lower bound of the empty state, hours.
    """
    decisions = 0
    while state.counts[UNSTARTED] > 0:
        count = candidates(problem, state, workspace.activity, workspace.mode)
        chosen = 0
        if count > 1:
            observe(problem, state, view)
            score_candidates(problem, state, view, network, workspace, initial_bound, count)
            chosen = choose(workspace, count, epsilon, temperature, random)
        decide(problem, state, workspace.activity[chosen], workspace.mode[chosen])
        decisions += 1
    return decisions
