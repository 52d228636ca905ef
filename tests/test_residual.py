"""Residual problems, with people who come and go and with releases, against an exact solver of the tests."""

import math
import time

import numpy as np
import pytest

from scheduler_env.bounds import lower_bound
from scheduler_env.exact import improve_exactly
from scheduler_env.generator import random_residual
from scheduler_env.improvement import improve, justify
from scheduler_env.incumbent import empty_incumbent
from scheduler_env.kernel import compile_instance, to_schedule
from scheduler_env.rules import improve_by_rules
from scheduler_env.serial import new_decoder
from tests.residual_oracle import TICKS, optimum_h
from tests.waiting import HANG_S

SLOW_PROOFS = {16}
"""Left to the benchmark."""
SEEDS = [seed for seed in range(40) if seed not in SLOW_PROOFS]


@pytest.fixture(scope="module")
def optima() -> dict[int, float]:
    return {seed: optimum_h(random_residual(seed)) for seed in SEEDS}


def _rounding_h(instance) -> float:
    return (len(instance.steps) + 1) / TICKS


@pytest.mark.parametrize("seed", SEEDS)
def test_schedules_are_valid_bounds_are_not_above_the_optimum_and_the_search_finds_it(optima, seed):
    instance = random_residual(seed)
    problem, optimum = compile_instance(instance), optima[seed]
    assert float(lower_bound(problem)) <= optimum + _rounding_h(instance)
    incumbent = empty_incumbent(problem)
    improve_by_rules(problem, incumbent)
    assert to_schedule(instance, problem, incumbent.mode, incumbent.start).violations() == []
    improve(problem, None, incumbent, lower_bound_h=0.0, deadline_s=math.inf, max_evaluations=20_000)
    assert to_schedule(instance, problem, incumbent.mode, incumbent.start).violations() == []
    assert optimum - 1e-6 <= incumbent.makespan_h <= optimum + _rounding_h(instance)


@pytest.mark.parametrize("seed", SEEDS)
def test_justification_keeps_a_schedule_valid_and_never_lengthens_it(seed):
    instance = random_residual(seed)
    problem = compile_instance(instance)
    incumbent = empty_incumbent(problem)
    improve_by_rules(problem, incumbent)
    order, before_h = np.empty(len(instance.steps), dtype=np.int64), incumbent.makespan_h
    after_h = justify(problem, new_decoder(problem), incumbent.mode, incumbent.start, order)
    assert after_h <= before_h + 1e-9
    assert to_schedule(instance, problem, incumbent.mode, incumbent.start).violations() == []


@pytest.mark.parametrize("seed", SEEDS[:12])
def test_the_exact_solver_of_the_service_agrees(optima, seed):
    instance = random_residual(seed)
    problem = compile_instance(instance)
    incumbent = empty_incumbent(problem)
    improve_by_rules(problem, incumbent)
    deadline_s = time.perf_counter() + HANG_S
    proved_h = improve_exactly(problem, incumbent, lower_bound_h=0.0, deadline_s=deadline_s)
    assert incumbent.makespan_h == pytest.approx(optima[seed], abs=0.02)
    assert optima[seed] - 0.02 <= proved_h <= optima[seed] + _rounding_h(instance)
    assert to_schedule(instance, problem, incumbent.mode, incumbent.start).violations() == []
