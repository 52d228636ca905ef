"""Random replans against the exact solver of the tests, which shares nothing with the product."""

from pathlib import Path

import pytest

from scheduler_env import InvalidInstance
from scheduler_env.agent import Agent, load_agent
from scheduler_env.generator import random_replan
from scheduler_env.replan.report import changes
from scheduler_env.replan.solving import lower_bound_h
from tests.residual_oracle import INFEASIBLE, TICKS, least_shift_h, optimum_h

SLOW_PROOFS = {9}
"""Left to the benchmark."""
SEEDS = [seed for seed in range(36) if seed not in SLOW_PROOFS]


@pytest.fixture(scope="module")
def agent() -> Agent:
    return load_agent(Path(__file__).parent.parent / "models" / "seed" / "ddqn_v2.pth")


@pytest.mark.parametrize("seed", SEEDS)
def test_a_replan_is_valid_its_bound_not_above_the_optimum_and_pins_are_refused_only_if_no_plan_keeps_them(agent, seed):
    instance = random_replan(seed)
    optimum, rounding_h = optimum_h(instance), (len(instance.steps) + 1) / TICKS
    if optimum == INFEASIBLE:
        with pytest.raises(InvalidInstance):
            agent.solve(instance, time_budget_ms=600_000, max_evaluations=5_000)
        return
    found = agent.solve(instance, time_budget_ms=600_000, max_evaluations=5_000)
    assert found.schedule.violations() == []
    assert max(found.lower_bound_h, lower_bound_h(instance)) <= optimum + rounding_h
    assert optimum - 1e-6 <= found.schedule.makespan_h <= optimum + rounding_h + instance.status.tolerance_h


@pytest.mark.parametrize("seed", [seed for seed in SEEDS[:20] if random_replan(seed).status.published])
def test_no_plan_within_the_tolerance_moves_less(agent, seed):
    instance = random_replan(seed)
    optimum, rounding_h = optimum_h(instance), (len(instance.steps) + 1) / TICKS
    if optimum == INFEASIBLE:
        return
    found = agent.solve(instance, time_budget_ms=600_000, max_evaluations=50_000).schedule
    least_h = least_shift_h(instance, optimum + instance.status.tolerance_h + rounding_h, limit_s=20.0)
    assert least_h is None or changes(found).total_shift_h <= 1.02 * least_h + 0.01
