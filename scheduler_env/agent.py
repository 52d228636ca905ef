"""The trained scheduler in service: instance in, checked schedule out. No torch once the weights are arrays."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scheduler_env.kernel import BOUND, compile_instance, makespan, new_state, new_view, observe, to_schedule
from scheduler_env.observation import Network, new_workspace
from scheduler_env.problem import Instance
from scheduler_env.rollout import new_random, roll_out, roll_out_until
from scheduler_env.schedule import Solution

SAMPLING_TEMPERATURE = 0.02
"""Scale of the noise on the scores while sampling, in units of the mean shortest duration."""


@dataclass(frozen=True)
class Agent:
    """A DDQN whose greedy policy builds a schedule; with time to spare it samples around that policy."""

    network: Network
    signature: dict[str, Any]
    training: dict[str, Any]

    def solve(self, instance: Instance, *, time_budget_ms: float = 0.0, seed: int = 0) -> Solution:
        """The shortest schedule found within the budget, never worse than the greedy one.

        Args:
            time_budget_ms: 0 answers the greedy schedule, the same one every time; more goes on sampling schedules
                around the policy until the time is over (it may overrun by the length of one sample).
            seed: of the sampling.

        Raises:
            InvalidSchedule: the schedule breaks a rule; a defect, never an answer.
        """
        deadline = time.perf_counter() + time_budget_ms / 1000.0
        problem = compile_instance(instance)
        state, view = new_state(problem), new_view(problem)
        observe(problem, state, view)
        lower_bound_h = float(state.clock[BOUND])
        workspace, random = new_workspace(problem, self.network), new_random(seed)
        began = time.perf_counter()
        roll_out(problem, state, view, self.network, workspace, 0.0, 0.0, random)
        one_s = max(time.perf_counter() - began, 1e-6)
        best_mode, best_start, best = state.mode.copy(), state.start.copy(), float(makespan(state))
        stage, evaluations = "greedy", 1
        while best > lower_bound_h + 1e-6 and (left_s := deadline - time.perf_counter()) > 0.0:
            rounds = max(1, min(int(left_s / one_s / 4), 1_000))
            shorter = roll_out_until(
                problem, state, view, self.network, workspace, SAMPLING_TEMPERATURE, random, rounds,
                best_mode, best_start, best,
            )  # fmt: skip
            evaluations += rounds
            if shorter < best:
                best, stage = float(shorter), "sampling"
        schedule = to_schedule(instance, problem, best_mode, best_start)
        schedule.check()
        return Solution(schedule, lower_bound_h, stage, evaluations)


def load_agent(path: Path) -> Agent:
    """The agent in a weights file.

    Raises:
        InvalidCheckpoint: see `network.read_checkpoint`.
    """
    from scheduler_env.network import read_checkpoint  # torch takes a second to import; only loading needs it

    checkpoint = read_checkpoint(path)
    return Agent(checkpoint.network.to_arrays(), checkpoint.signature, checkpoint.training)
