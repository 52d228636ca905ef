"""The trained agent in service: instance in, checked schedule out. It needs no torch once the weights are arrays."""

import io
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from scheduler_env.bounds import bound_with_parts, lower_bound
from scheduler_env.compilation import compiled
from scheduler_env.decomposition import EXACT, PART_NODES, PARTS, assemble, decompose, has_parts, nodes_for, take_parts
from scheduler_env.errors import InvalidCheckpoint
from scheduler_env.improvement import improve, min_search_evaluations
from scheduler_env.incumbent import Incumbent, Stop
from scheduler_env.interleaving import BUDGET_SHARE, MIN_BUDGET_MS, bound_by_orders
from scheduler_env.kernel import Floats, Ints, Problem, compile_instance, makespan, new_outlook, new_state, to_schedule
from scheduler_env.observation import Network, new_workspace
from scheduler_env.policy import run_policy
from scheduler_env.problem import Instance
from scheduler_env.replan.solving import replans
from scheduler_env.rules import EVEN, Rule, build, improve_by_rules
from scheduler_env.schedule import Solution
from scheduler_env.weights import Weights, load_cached, pack, store_cached
from scheduler_env.zone_bounds import zone_bound_h

GREEDY = "greedy"
"""Stage of a schedule that the policy built without a search."""
FIRST_RULE = Rule("LFT", EVEN, "parallel")
"""Schedules a residual problem of any size within milliseconds."""
RULES_SHARE = 0.1
"""Share of the time budget for the priority rules of a large problem. Without this limit, schedules of 20 work points
after 20 ms are 0.36 % longer."""


@dataclass(frozen=True)
class Agent:
    """A DDQN whose greedy policy builds a schedule, and a search that shortens it within a time budget."""

    network: Network
    signature: dict[str, Any]
    training: dict[str, Any]
    default_budget_ms: float = 20.0

    def packed(self) -> bytes:
        """The agent in the format of `weights.pack`; raises `InvalidCheckpoint` as `pack` does."""
        return pack(Weights(self.network, self.signature, self.training))

    @replans
    def solve(
        self,
        instance: Instance,
        *,
        time_budget_ms: float = 0.0,
        seed: int = 0,
        max_evaluations: int | None = None,
        stop: Stop | None = None,
    ) -> Solution:
        """The shortest schedule found within the budget, never longer than the greedy one.

        It is not longer than that of the best priority rule either, if a tenth of the budget is enough to try all
        rules. If the problem decomposes into parts that are solved to optimality, as one work point does, their
        schedule is returned (see `decomposition`).

        The network has not been trained on residual problems, those with releases or with people who come and go.
        Priority rules and the search without an agent answer them; `stage` tells which.

        Args:
            time_budget_ms: 0 returns the greedy schedule, which is deterministic. Otherwise the parts are solved, the
                priority rules tried, and the best schedule is improved until the time is up (see `improvement`). From
                the default budget on, `min_search_evaluations` are made even if they take longer on a busy machine.
            seed: of the search.
            max_evaluations: stop after this many complete schedules, even if there is time left; the same seed and
                number give the same schedule.
            stop: called between the stages of the search, which last two seconds at most.

        Raises:
            InvalidSchedule: the schedule violates a constraint; this is a defect of the solver.
        """
        deadline_s = time.perf_counter() + time_budget_ms / 1000.0
        problem = compile_instance(instance)
        required = min_search_evaluations(len(instance.steps))
        min_evaluations = required if time_budget_ms >= self.default_budget_ms else 0
        is_improving = time_budget_ms > 0.0 and (max_evaluations is None or max_evaluations > 1)
        network = None if problem.is_residual else self.network
        if network is None:
            best, is_divided = _schedule_by_rules(problem, seed, max_evaluations), False
            instance_bound_h, policy_makespan_h = float(lower_bound(problem)), best.makespan_h
        else:
            mode, start, instance_bound_h, policy_makespan_h, makespan_h, is_divided = _first_schedule(
                problem, network, is_improving
            )
            best = Incumbent(mode, start, makespan_h, GREEDY, 1)
        bound_h = instance_bound_h = max(instance_bound_h, zone_bound_h(instance))
        if is_improving and is_divided:
            best.evaluations += 1
            best.stage = EXACT if best.is_optimal(bound_h) else PARTS
        if is_improving and not best.is_optimal(bound_h):
            has_more_nodes = nodes_for(time_budget_ms) > PART_NODES  # otherwise the result is in `best` already
            parts = decompose(problem, nodes_for(time_budget_ms)) if is_divided and has_more_nodes else None
            if parts is not None:
                bound_h = max(bound_h, float(parts.bound))
                take_parts(problem, parts, best)
            improve_by_rules(
                problem,
                best,
                lower_bound_h=bound_h,
                deadline_s=deadline_s - (1.0 - RULES_SHARE) * time_budget_ms / 1000.0,
                seed=seed,
                max_evaluations=max_evaluations,
            )
            if time_budget_ms >= MIN_BUDGET_MS and not best.is_optimal(bound_h):
                until_s = min(deadline_s, time.perf_counter() + BUDGET_SHARE * time_budget_ms / 1000.0)
                bound_h = bound_by_orders(problem, bound_h, best.makespan_h, until_s)
            improve(
                problem,
                network,
                best,
                lower_bound_h=bound_h,
                deadline_s=deadline_s,
                seed=seed,
                min_evaluations=min_evaluations,
                max_evaluations=max_evaluations,
                stop=stop,
            )
            if parts is not None:
                take_parts(problem, parts, best)
        schedule = to_schedule(instance, problem, best.mode, best.start)
        schedule.check()
        is_enough = best.is_optimal(bound_h) or best.evaluations >= required
        return Solution(
            schedule,
            best.bound_h(bound_h),
            best.stage,
            best.evaluations,
            instance_bound_h,
            policy_makespan_h,
            is_cut_short=is_improving and not is_enough,
        )


def _schedule_by_rules(problem: Problem, seed: int, max_evaluations: int | None) -> Incumbent:
    """The first schedule of a residual problem: by `FIRST_RULE`, or by the best rule if there are few activities."""
    state = new_state(problem)
    makespan_h = build(problem, state, FIRST_RULE)
    best = Incumbent(state.mode, state.start, makespan_h, str(FIRST_RULE), 1)
    improve_by_rules(problem, best, deadline_s=0.0, seed=seed, max_evaluations=max_evaluations)
    return best


@compiled
def _first_schedule(
    problem: Problem, network: Network, is_improving: bool
) -> tuple[Ints, Floats, float, float, float, bool]:
    """The first schedule: (mode, start, lower bound, greedy makespan, makespan, whether there are parts).

    Times are hours. If there are parts and `is_improving`, the greedy schedule is combined with the schedules of the
    parts. All of this is one compiled call, because each call releases the GIL and waits for it afterwards. The call
    allocates its own arrays: passing an array into compiled code costs more than allocating it there.
    """
    parts = decompose(problem, PART_NODES)
    bound = bound_with_parts(problem, parts)
    state, random = new_state(problem), np.zeros(1, dtype=np.uint64)  # unused: there is no noise
    run_policy(problem, state, new_outlook(problem), network, new_workspace(problem, network), 0.0, 0.0, random)
    policy_makespan = makespan(state)
    is_divided = has_parts(parts)
    if is_improving and is_divided:
        divided_makespan = assemble(problem, parts, state.mode, state.start)
        return state.mode, state.start, bound, policy_makespan, divided_makespan, True
    return state.mode, state.start, bound, policy_makespan, policy_makespan, is_divided


def load_agent(path: Path) -> Agent:
    """The agent in a weights file. torch reads a file only once on each machine (see `weights`).

    Raises:
        InvalidCheckpoint: see `network.read_checkpoint`.
    """
    try:
        checkpoint = path.read_bytes()
    except OSError as err:
        raise InvalidCheckpoint("file_unreadable", reason=err.strerror) from err
    weights = load_cached(checkpoint)
    if weights is None:
        try:
            from scheduler_env.network import read_checkpoint
        except ModuleNotFoundError as err:
            raise InvalidCheckpoint("torch_missing") from err
        weights = read_checkpoint(io.BytesIO(checkpoint)).to_weights()
        with suppress(InvalidCheckpoint):
            store_cached(checkpoint, pack(weights))
    return Agent(weights.network, weights.signature, weights.training)
