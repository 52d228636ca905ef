"""Decoding, justification and annealing: valid, never longer, deterministic for a seed and number of evaluations."""

import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler_env import SAMPLE_PARAMS, standard_instance
from scheduler_env.agent import Agent, load_agent
from scheduler_env.annealing import anneal
from scheduler_env.generator import random_instance
from scheduler_env.improvement import improve, justify
from scheduler_env.incumbent import empty_incumbent
from scheduler_env.kernel import compile_instance, new_state, to_schedule
from scheduler_env.network import QNetwork, signature_of
from scheduler_env.random_numbers import new_random
from scheduler_env.readers import instance_from_request
from scheduler_env.rules import ALL_RULES, Rule, build, improve_by_rules, solve_by_rule
from scheduler_env.serial import FORWARDS, decode, new_decoder
from tests.instances import instances
from tests.properties import examples

AGENT = load_agent(Path(__file__).parent.parent / "models" / "seed" / "ddqn_v2.pth")
HOUR_MS = 3_600_000.0


def _by_rule(instance, rule):
    """(problem, mode, start, makespan) of a rule's schedule."""
    problem = compile_instance(instance)
    state = new_state(problem)
    makespan_h = build(problem, state, rule)
    return problem, state.mode.copy(), state.start.copy(), makespan_h


@examples(100)
@given(instance=instances(), rule=st.sampled_from(ALL_RULES))
def test_decoding_by_start_time_delays_no_step_and_is_valid(instance, rule):
    problem, mode, start, makespan_h = _by_rule(instance, rule)
    order = np.argsort(start, kind="stable")
    # A step without duration may start together with its successor; the list must name the predecessor first.
    order = np.array(sorted(order, key=lambda j: (start[j], list(problem.topological).index(j))), dtype=np.int64)
    again = np.empty_like(start)
    decoder = new_decoder(problem)
    found = decode(problem, decoder, order, mode, problem.successor_at, problem.successors, again, np.inf, FORWARDS)
    assert to_schedule(instance, problem, mode, again).violations() == []
    assert (again <= start + 1e-9).all()
    assert found <= makespan_h + 1e-9


@examples(100)
@given(instance=instances(), rule=st.sampled_from(ALL_RULES), seed=st.integers(0, 2**32))
def test_justification_and_annealing_are_valid_and_never_lengthen(instance, rule, seed):
    problem, mode, start, makespan_h = _by_rule(instance, rule)
    order = np.empty(start.size, dtype=np.int64)
    decoder = new_decoder(problem, incremental=True)
    justified = justify(problem, decoder, mode, start, order)
    assert justified <= makespan_h + 1e-9
    schedule = to_schedule(instance, problem, mode, start)
    assert schedule.violations() == []
    assert schedule.makespan_h == pytest.approx(justified)
    annealed = anneal(problem, decoder, order, mode, start, justified, 200, 1.0, 0.01, new_random(seed), 0.0)
    assert annealed <= justified + 1e-9
    schedule = to_schedule(instance, problem, mode, start)
    assert schedule.violations() == []
    assert schedule.makespan_h == pytest.approx(annealed)


@pytest.mark.parametrize("n_workpoints", [1, 3])
def test_the_same_seed_and_number_of_evaluations_give_the_same_schedule(n_workpoints):
    instance = random_instance(n_workpoints, seed=9)
    one, two = (AGENT.solve(instance, time_budget_ms=HOUR_MS, seed=4, max_evaluations=2_000) for _ in range(2))
    assert one.evaluations == two.evaluations <= 2_000
    assert [(p.start_h, p.mode) for p in one.schedule.steps] == [(p.start_h, p.mode) for p in two.schedule.steps]


@pytest.mark.parametrize("seed", range(4))
def test_more_time_never_gives_a_longer_schedule_and_the_answer_names_the_method(seed):
    instance = random_instance(2, seed)
    greedy, improved = AGENT.solve(instance), AGENT.solve(instance, time_budget_ms=60)
    assert greedy.stage == "greedy"
    assert improved.evaluations > greedy.evaluations == 1
    assert improved.schedule.makespan_h <= greedy.schedule.makespan_h
    assert (improved.stage != "greedy") == (improved.schedule.makespan_h < greedy.schedule.makespan_h - 1e-9)


def test_a_deadline_ends_the_search_and_the_available_time_is_used():
    problem = compile_instance(random_instance(5, seed=1))
    incumbent = empty_incumbent(problem)
    improve_by_rules(problem, incumbent)
    deadline_s = time.perf_counter() + 0.3
    improve(problem, AGENT.network, incumbent, lower_bound_h=0.0, deadline_s=deadline_s)
    assert time.perf_counter() >= deadline_s


def test_no_search_starts_after_the_deadline():
    problem = compile_instance(random_instance(5, seed=1))
    incumbent = empty_incumbent(problem)
    improve_by_rules(problem, incumbent)
    before = incumbent.evaluations
    improve(problem, AGENT.network, incumbent, lower_bound_h=0.0, deadline_s=time.perf_counter())
    assert incumbent.evaluations == before


@pytest.mark.parametrize("seed", range(5))
def test_search_reaches_the_proven_optimum_of_the_flagship_from_every_rule(seed):
    found = AGENT.solve(standard_instance(SAMPLE_PARAMS), time_budget_ms=HOUR_MS, seed=seed, max_evaluations=100)
    assert found.schedule.makespan_h == pytest.approx(52.87, abs=0.005)


@examples(100)
@given(instance=instances(), rules=st.lists(st.sampled_from(ALL_RULES), min_size=1))
def test_all_rules_together_are_as_good_as_the_best_one(instance, rules):
    problem = compile_instance(instance)
    incumbent = empty_incumbent(problem)
    improve_by_rules(problem, incumbent, rules=rules)
    assert incumbent.evaluations == len(rules)
    assert incumbent.makespan_h == pytest.approx(min(build(problem, new_state(problem), rule) for rule in rules))
    assert to_schedule(instance, problem, incumbent.mode, incumbent.start).violations() == []


@examples(40)
@given(instance=instances())
def test_a_budget_never_gives_a_longer_schedule_than_the_best_rule(instance):
    problem = compile_instance(instance)
    best_h = min(build(problem, new_state(problem), rule) for rule in ALL_RULES)
    solution = AGENT.solve(instance, time_budget_ms=HOUR_MS, max_evaluations=100)
    assert solution.schedule.makespan_h <= best_h + 1e-9


def test_search_without_an_agent_shortens_and_is_reported_as_annealing():
    problem = compile_instance(random_instance(2, seed=3))
    incumbent = empty_incumbent(problem)
    improve_by_rules(problem, incumbent, rules=[Rule("SPT", 1.0, "serial")])
    began_h = incumbent.makespan_h
    improve(problem, None, incumbent, lower_bound_h=0.0, deadline_s=time.perf_counter() + 3600, max_evaluations=5_000)
    assert incumbent.makespan_h < began_h
    assert incumbent.stage == "annealing"


def test_worst_case_slack_starts_with_the_step_that_would_wait_longest():
    # LST starts the long step, which has the longest tail; WCS the short one, which would have to wait for all of it.
    steps_a = [{"name": "long", "team": "team1", "duration": 10}]
    steps_b = [{"name": "short", "team": "team1", "order": 1, "duration": 1}]
    steps_b.append({"name": "after", "team": "team6", "order": 2, "duration": 8.5})
    instance = instance_from_request({"workpoints": [{"steps": steps_a}, {"steps": steps_b}]})
    first = {}
    for name in ("LST", "WCS"):
        schedule = solve_by_rule(instance, Rule(name, 1.0, "parallel")).schedule
        first[name] = min(schedule.steps, key=lambda placed: placed.start_h).step.name
    assert first == {"LST": "long", "WCS": "short"}


def test_worst_case_slack_is_refused_with_the_serial_scheme():
    with pytest.raises(ValueError, match="parallel scheme only"):
        solve_by_rule(random_instance(1, seed=0), Rule("WCS", 0.5, "serial"))


@pytest.mark.parametrize("tiny_h", [5e-324, 1e-300, 1e-9, 1e-7, 1e-6])
def test_steps_with_almost_no_duration_are_scheduled_validly(tiny_h):
    """Their end equals that of their predecessors: an order by ends alone puts them first, which crashed a service."""
    random = np.random.default_rng(7)
    network = QNetwork((8, 8, 8))
    agent = Agent(network.to_arrays(), signature_of(network), {})
    for _ in range(60):
        params = np.where(random.random(15) < 0.4, tiny_h, random.uniform(0.5, 10_000, 15)).tolist()
        agent.solve(standard_instance(params), time_budget_ms=600_000.0, max_evaluations=1_000)  # validates the result
