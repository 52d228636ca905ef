"""The genetic algorithm: valid schedules, never longer, reproducible, the flagship's optimum."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler_env import SAMPLE_PARAMS, standard_instance
from scheduler_env.alternating import can_alternate
from scheduler_env.generator import random_instance
from scheduler_env.genetic import POPULATION, SCHEDULES_PER_CHILD, evolve
from scheduler_env.incumbent import empty_incumbent
from scheduler_env.kernel import compile_instance, to_schedule
from scheduler_env.rules import Rule, improve_by_rules
from tests.instances import instances
from tests.properties import examples


def _evolved(instance, seed, evaluations):
    """(problem, incumbent, initial makespan)."""
    problem = compile_instance(instance)
    incumbent = empty_incumbent(problem)
    improve_by_rules(problem, incumbent, rules=[Rule("SPT", 0.2, "serial")])
    began_h = incumbent.makespan_h
    evolve(
        problem,
        incumbent,
        lower_bound_h=0.0,
        deadline_s=time.perf_counter() + 3600.0,
        seed=seed,
        max_evaluations=evaluations,
    )
    return problem, incumbent, began_h


@examples(100)
@given(instance=instances(), seed=st.integers(0, 2**32), evaluations=st.integers(1, 12 * POPULATION))
def test_schedules_are_valid_and_never_longer(instance, seed, evaluations):
    problem, incumbent, began_h = _evolved(instance, seed, evaluations)
    assert incumbent.makespan_h <= began_h
    step = 1 if can_alternate(problem) else SCHEDULES_PER_CHILD
    assert evaluations - step < incumbent.evaluations <= evaluations
    schedule = to_schedule(instance, problem, incumbent.mode, incumbent.start)
    assert schedule.violations() == []
    assert schedule.makespan_h == pytest.approx(incumbent.makespan_h)


def test_the_same_seed_and_number_of_evaluations_give_the_same_schedule():
    instance = random_instance(3, seed=5)
    (_, one, _), (_, two, _), (_, other, _) = (_evolved(instance, seed, 3_000) for seed in (7, 7, 8))
    assert one.mode.tolist() == two.mode.tolist()
    assert one.start.tolist() == two.start.tolist()
    assert one.start.tolist() != other.start.tolist()


@pytest.mark.parametrize("seed", range(3))
def test_from_a_poor_start_it_comes_close_to_the_flagship_s_optimum(seed):
    _, incumbent, began_h = _evolved(standard_instance(SAMPLE_PARAMS), seed, 120_000)
    assert began_h > 56.0
    assert 52.87 - 0.01 < incumbent.makespan_h < 1.035 * 52.87
    assert incumbent.stage == "genetic"


def test_a_deadline_ends_it_and_the_available_time_is_used():
    problem = compile_instance(random_instance(5, seed=1))
    incumbent = empty_incumbent(problem)
    improve_by_rules(problem, incumbent)
    by_rules = incumbent.evaluations
    evolve(problem, incumbent, lower_bound_h=0.0, deadline_s=time.perf_counter(), seed=0)
    at_once = incumbent.evaluations - by_rules
    deadline_s = time.perf_counter() + 0.3
    evolve(problem, incumbent, lower_bound_h=0.0, deadline_s=deadline_s, seed=0)  # no bound: only the deadline ends it
    assert time.perf_counter() >= deadline_s
    assert incumbent.evaluations - by_rules > 2 * at_once
