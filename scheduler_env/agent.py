"""The trained scheduler in service: instance in, checked schedule out. No torch once the weights are arrays."""

import io
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scheduler_env.bounds import lower_bound
from scheduler_env.compilation import compiled
from scheduler_env.errors import InvalidCheckpoint
from scheduler_env.improvement import improve
from scheduler_env.incumbent import Incumbent, Stop
from scheduler_env.kernel import Problem, State, View, compile_instance, makespan, new_state, new_view, to_schedule
from scheduler_env.observation import Network, Workspace, new_workspace
from scheduler_env.problem import Instance
from scheduler_env.rollout import RandomState, new_random, roll_out
from scheduler_env.rules import improve_by_rules
from scheduler_env.schedule import Solution
from scheduler_env.weights import Weights, keep, kept, pack


@dataclass(frozen=True)
class Agent:
    """A DDQN whose greedy policy builds a schedule; with time to spare it improves that schedule."""

    network: Network
    signature: dict[str, Any]
    training: dict[str, Any]
    default_budget_ms: float = 20.0

    def packed(self) -> bytes:
        """Itself as `weights.pack` packs it. Raises `InvalidCheckpoint` as that does."""
        return pack(Weights(self.network, self.signature, self.training))

    def solve(
        self,
        instance: Instance,
        *,
        time_budget_ms: float = 0.0,
        seed: int = 0,
        max_evaluations: int | None = None,
        stop: Stop | None = None,
    ) -> Solution:
        """The shortest schedule found within the budget, never worse than the greedy one.

        Nor worse than the best priority rule, if the budget leaves time to try them all.

        Args:
            time_budget_ms: 0 answers the greedy schedule, the same one every time; more tries the priority rules and
                goes on improving the best until the time is over (see `improvement`).
            seed: of the improvement.
            max_evaluations: stop after so many complete schedules also if there is time left; the same seed and number
                give the same schedule.
            stop: asked between the stages of the search, which last two seconds at most.

        Raises:
            InvalidSchedule: the schedule breaks a rule; a defect, never an answer.
        """
        deadline_s = time.perf_counter() + time_budget_ms / 1000.0
        problem = compile_instance(instance)
        state, workspace = new_state(problem), new_workspace(problem, self.network)
        lower_bound_h, makespan_h = _bound_and_greedy(
            problem, state, new_view(problem), self.network, workspace, new_random(seed)
        )
        best = Incumbent(state.mode, state.start, makespan_h, "greedy", 1)
        if time_budget_ms > 0.0 and not best.is_optimal(lower_bound_h):
            improve_by_rules(
                problem,
                best,
                lower_bound_h=lower_bound_h,
                deadline_s=deadline_s,
                seed=seed,
                max_evaluations=max_evaluations,
            )
        if time_budget_ms > 0.0 and not best.is_optimal(lower_bound_h):
            improve(
                problem,
                self.network,
                best,
                lower_bound_h=lower_bound_h,
                deadline_s=deadline_s,
                seed=seed,
                max_evaluations=max_evaluations,
                stop=stop,
            )
        schedule = to_schedule(instance, problem, best.mode, best.start)
        schedule.check()
        return Solution(schedule, best.bound_h(lower_bound_h), best.stage, best.evaluations, lower_bound_h, makespan_h)


@compiled
def _bound_and_greedy(
    problem: Problem, state: State, view: View, network: Network, workspace: Workspace, random: RandomState
) -> tuple[float, float]:
    """The lower bound and the makespan of the greedy schedule, hours; `state` holds the schedule.

    In one call, since each call releases the GIL and has to wait for it afterwards.
    """
    bound = lower_bound(problem)
    roll_out(problem, state, view, network, workspace, 0.0, 0.0, random)
    return bound, makespan(state)


def load_agent(path: Path) -> Agent:
    """The agent in a weights file; read by torch only once on each machine (see `weights`).

    Raises:
        InvalidCheckpoint: see `network.read_checkpoint`.
    """
    try:
        checkpoint = path.read_bytes()
    except OSError as err:
        raise InvalidCheckpoint(f"the file cannot be read: {err.strerror}") from err
    weights = kept(checkpoint)
    if weights is None:
        from scheduler_env.network import read_checkpoint

        weights = read_checkpoint(io.BytesIO(checkpoint)).to_weights()
        with suppress(InvalidCheckpoint):
            keep(checkpoint, pack(weights))
    return Agent(weights.network, weights.signature, weights.training)
