"""The bound by the order in which stages end, compared with optima, schedules and the head-and-tail bound."""

import math
import time

import pytest
from hypothesis import given

from scheduler_env.bounds import lower_bound
from scheduler_env.exact import improve_exactly
from scheduler_env.generator import random_instance
from scheduler_env.incumbent import empty_incumbent
from scheduler_env.interleaving import bound_by_orders
from scheduler_env.kernel import compile_instance
from scheduler_env.readers import instance_from_request
from scheduler_env.rules import improve_by_rules
from tests.instances import instances
from tests.properties import examples


def bounds_h(problem, enough_h=math.inf, max_programs=400):
    """(head-and-tail bound, with orders in addition)"""
    plain_h = float(lower_bound(problem))
    return plain_h, bound_by_orders(problem, plain_h, enough_h, math.inf, max_programs)


@examples(60)
@given(instance=instances(max_steps=6))
def test_it_is_between_the_other_bound_and_the_optimum(instance):
    problem = compile_instance(instance)
    incumbent = empty_incumbent(problem)
    improve_by_rules(problem, incumbent)
    improve_exactly(problem, incumbent, lower_bound_h=0.0, deadline_s=time.perf_counter() + 300.0)
    plain_h, ordered_h = bounds_h(problem, max_programs=20)
    assert plain_h <= ordered_h <= incumbent.makespan_h + 1e-6


def pair(hours):
    """Two work points of three stages: the cost of the second and third stage depends on which goes first."""
    steps = [
        [
            {"name": "open", "order": 1, "team": "a", "duration": first},
            *({"name": f"test{i}", "order": 2, "team": "b", "duration": each} for i, each in enumerate(tests)),
            {"name": "close", "order": 3, "team": "b", "duration": last},
        ]
        for first, tests, last in hours
    ]
    return instance_from_request(
        {
            "workpoints": [{"id": str(number), "steps": each} for number, each in enumerate(steps)],
            "teams": [{"name": "a", "headcount": 3, "dedicated": True}, {"name": "b", "headcount": 4, "min_crew": 1}],
        }
    )


@pytest.mark.parametrize("hours", [[(4, (6, 8), 5), (3, (9, 4), 7)], [(1, (5, 5), 9), (6, (3, 8), 2)]])
def test_it_is_between_the_other_bound_and_the_optimum_for_two_work_points(hours):
    problem = compile_instance(pair(hours))
    incumbent = empty_incumbent(problem)
    improve_by_rules(problem, incumbent)
    proved_h = improve_exactly(problem, incumbent, lower_bound_h=0.0, deadline_s=time.perf_counter() + 300.0)
    assert incumbent.makespan_h - proved_h < 0.02
    plain_h, ordered_h = bounds_h(problem)
    assert plain_h + 0.5 < ordered_h <= incumbent.makespan_h


@pytest.mark.parametrize("seed", [2, 6])
def test_it_halves_the_gap_of_two_standard_work_points(seed):
    known_h = {2: 123.48, 6: 116.41}[seed]  # schedules from benchmarks/results/scheduling.json
    plain_h, ordered_h = bounds_h(compile_instance(random_instance(2, seed)))
    assert ordered_h <= known_h
    assert known_h - ordered_h < 0.5 * (known_h - plain_h)


def test_a_schedule_equal_to_the_bound_ends_the_search():
    problem = compile_instance(random_instance(2, 2))
    plain_h, ordered_h = bounds_h(problem, enough_h=112.0)
    assert plain_h < ordered_h == 112.0


@pytest.mark.parametrize("n_workpoints", [1, 4])
def test_one_work_point_and_many_keep_their_bound(n_workpoints):
    plain_h, ordered_h = bounds_h(compile_instance(random_instance(n_workpoints, 3)))
    assert ordered_h == plain_h


def test_a_problem_with_very_many_modes_keeps_its_bound():
    """Setting up the linear programs would take seconds during which nothing else could run."""
    steps = [[{"name": f"s{i}", "order": i, "team": "a", "duration": 5 + i} for i in range(3)] for _ in range(2)]
    body = {
        "workpoints": [{"id": str(number), "steps": each} for number, each in enumerate(steps)],
        "teams": [{"name": "a", "headcount": 1_000}],
    }
    plain_h, ordered_h = bounds_h(compile_instance(instance_from_request(body)))
    assert ordered_h == plain_h


def test_without_time_the_initial_bound_is_returned():
    problem = compile_instance(random_instance(2, 2))
    assert bound_by_orders(problem, 100.0, 200.0, 0.0) == 100.0
