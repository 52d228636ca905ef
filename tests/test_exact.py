"""CP-SAT: the flagship's optimum, valid schedules, correct bounds, the deadline."""

import time

import pytest
from hypothesis import given

from scheduler_env import SAMPLE_PARAMS, standard_instance
from scheduler_env.bounds import lower_bound
from scheduler_env.exact import improve_exactly
from scheduler_env.generator import random_instance
from scheduler_env.incumbent import empty_incumbent
from scheduler_env.kernel import compile_instance, to_schedule
from scheduler_env.readers import instance_from_request
from scheduler_env.rules import Rule, improve_by_rules
from tests.instances import instances
from tests.properties import examples
from tests.waiting import HANG_S

POOR = (Rule("SPT", 0.2, "serial"),)


def _begun(instance):
    problem = compile_instance(instance)
    incumbent = empty_incumbent(problem)
    improve_by_rules(problem, incumbent, rules=POOR)
    return problem, incumbent, float(lower_bound(problem))


def test_the_optimum_of_the_flagship_is_found_from_a_poor_start():
    instance = standard_instance(SAMPLE_PARAMS)
    problem, incumbent, bound_h = _begun(instance)
    assert incumbent.makespan_h > 53.0
    improve_exactly(problem, incumbent, lower_bound_h=bound_h, deadline_s=time.perf_counter() + HANG_S, workers=2)
    assert incumbent.makespan_h == pytest.approx(52.87, abs=0.005)
    assert incumbent.stage == "cpsat"
    assert to_schedule(instance, problem, incumbent.mode, incumbent.start).violations() == []


def test_an_optimum_is_proved():
    optimum_h = 92.90  # proved by a longer run; seeds with slow proofs are left to the benchmark
    problem, incumbent, bound_h = _begun(random_instance(1, 400))
    proved_h = improve_exactly(problem, incumbent, lower_bound_h=bound_h, deadline_s=time.perf_counter() + HANG_S)
    assert incumbent.makespan_h == pytest.approx(optimum_h, abs=0.01)
    assert proved_h == pytest.approx(optimum_h, abs=0.02)


def test_a_proved_bound_does_not_exceed_an_existing_schedule():
    """OR-Tools 9.15 proved 6.859 h here, from a warm start and with one end variable for the intervals of all modes."""
    steps = [("a", 1, 1, {}), ("b", 1, 1, {"min_crew": 1, "max_crew": 4}), ("b", 2, 1, {}), ("a", 1, 1, {})]
    steps += [("a", 1, 1, {}), ("b", 1, 3, {"min_crew": 1, "max_crew": 4}), ("b", 1, 4, {})]
    body = {
        "workpoints": [
            {
                "id": "1",
                "steps": [
                    {"name": f"s{number}", "team": team, "order": order, "duration": hours, **crews}
                    for number, (team, order, hours, crews) in enumerate(steps)
                ],
            }
        ],
        "teams": [{"name": "a", "headcount": 4}, {"name": "b", "headcount": 5, "min_crew": 2}],
    }
    problem, incumbent, _ = _begun(instance_from_request(body))
    proved_h = improve_exactly(problem, incumbent, lower_bound_h=0.0, deadline_s=time.perf_counter() + 60.0)
    assert incumbent.makespan_h == pytest.approx(6.7156, abs=0.001)
    assert proved_h == pytest.approx(6.7156, abs=0.002)


@examples(25)
@given(instance=instances())
def test_schedules_are_valid_never_longer_and_not_below_the_bound(instance):
    problem, incumbent, bound_h = _begun(instance)
    began_h = incumbent.makespan_h
    proved_h = improve_exactly(problem, incumbent, lower_bound_h=bound_h, deadline_s=time.perf_counter() + 0.3)
    assert bound_h - 1e-9 <= proved_h <= incumbent.makespan_h <= began_h
    assert to_schedule(instance, problem, incumbent.mode, incumbent.start).violations() == []


def test_a_short_deadline_is_kept_and_returns_the_initial_schedule():
    problem, incumbent, bound_h = _begun(random_instance(20, seed=1))
    began_h, began_s = incumbent.makespan_h, time.perf_counter()
    assert improve_exactly(problem, incumbent, lower_bound_h=bound_h, deadline_s=began_s) == bound_h
    assert incumbent.makespan_h == began_h
    proved_h = improve_exactly(problem, incumbent, lower_bound_h=bound_h, deadline_s=time.perf_counter() + 1.0)
    assert proved_h < incumbent.makespan_h <= began_h, "ended by the deadline; a proof takes hours"
