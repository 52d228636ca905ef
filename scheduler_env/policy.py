"""The policy: schedules built by following the network's scores, greedily or with noise."""

import math

import numpy as np

from scheduler_env.compilation import compiled
from scheduler_env.kernel import BOUND, UNSTARTED, Outlook, Problem, SimulationState, candidates, decide, observe, reset
from scheduler_env.observation import Network, Workspace, score_candidates
from scheduler_env.random_numbers import RandomState, uniform


@compiled
def choose(workspace: Workspace, count: int, epsilon: float, temperature: float, random: RandomState) -> int:
    """Index of the candidate to execute.

    With probability `epsilon` it is uniformly random; otherwise it has the best score after Gumbel noise of scale
    `temperature` is added. This samples from the softmax of the scores (Gumbel-max trick, Gumbel 1954).
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
def run_policy(
    problem: Problem,
    state: SimulationState,
    outlook: Outlook,
    network: Network,
    workspace: Workspace,
    epsilon: float,
    temperature: float,
    random: RandomState,
) -> int:
    """Reset `state` and build a complete schedule by the network's choices; returns the number of decisions."""
    reset(problem, state)
    observe(problem, state, outlook)
    return continue_policy(
        problem, state, outlook, network, workspace, state.clock[BOUND], epsilon, temperature, random
    )


@compiled
def continue_policy(
    problem: Problem,
    state: SimulationState,
    outlook: Outlook,
    network: Network,
    workspace: Workspace,
    initial_bound: float,
    epsilon: float,
    temperature: float,
    random: RandomState,
) -> int:
    """Complete the schedule in `state` by the network's choices; returns the number of decisions.

    `initial_bound` is the lower bound of the empty schedule, hours.
    """
    decisions = 0
    while state.counts[UNSTARTED] > 0:
        count = candidates(problem, state, workspace.activity, workspace.mode)
        chosen = 0
        if count > 1:
            observe(problem, state, outlook)
            score_candidates(problem, state, outlook, network, workspace, initial_bound, count)
            chosen = choose(workspace, count, epsilon, temperature, random)
        decide(problem, state, workspace.activity[chosen], workspace.mode[chosen])
        decisions += 1
    return decisions
