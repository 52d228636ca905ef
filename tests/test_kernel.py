"""The compiled kernel compared with a plain Python oracle, and the guarantees of its schedules and bounds."""

import os
import re
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler_env import SAMPLE_PARAMS, Instance, standard_instance
from scheduler_env.bounds import lower_bound
from scheduler_env.generator import random_instance
from scheduler_env.kernel import (
    BOUND,
    NOW,
    UNSTARTED,
    candidates,
    compile_instance,
    decide,
    makespan,
    new_outlook,
    new_state,
    observe,
    restore,
    to_schedule,
)
from scheduler_env.rules import ALL_RULES, Rule, build, solve_by_rule
from tests.instances import instances
from tests.properties import examples
from tests.reference_simulator import ReferenceSimulator


def _walk(instance: Instance, choices: np.random.Generator):
    """Yield (problem, state, outlook, count, activity, mode) before each decision of a random episode."""
    problem = compile_instance(instance)
    state, outlook = new_state(problem), new_outlook(problem)
    activity = np.zeros(problem.duration.size + 1, dtype=np.int64)
    mode = np.zeros_like(activity)
    while state.counts[UNSTARTED] > 0:
        count = candidates(problem, state, activity, mode)
        observe(problem, state, outlook)
        chosen = int(choices.integers(count))
        yield (
            problem,
            state,
            outlook,
            list(zip(activity[:count].tolist(), mode[:count].tolist(), strict=True)),
            chosen,
        )
        decide(problem, state, int(activity[chosen]), int(mode[chosen]))


@examples(200)
@given(instance=instances(), seed=st.integers(0, 2**32 - 1))
def test_the_kernel_agrees_with_the_plain_simulator_at_every_decision(instance, seed):
    reference = ReferenceSimulator(instance)
    names = list(instance.capacity)
    for problem, state, _, found, chosen in _walk(instance, np.random.default_rng(seed)):
        expected = reference.candidates()
        assert [(j, int(m - problem.mode_at[j]) if j >= 0 else -1) for j, m in found] == expected
        assert state.clock[NOW] == pytest.approx(reference.now, abs=1e-12)
        assert dict(zip(names, state.free.tolist(), strict=True)) == reference.free()
        reference.decide(*expected[chosen])
    assert reference.is_complete()
    assert makespan(state) == pytest.approx(max(end for _, _, end in reference.started.values()))


@examples(100)
@given(instance=instances(), seed=st.integers(0, 2**32 - 1))
def test_every_random_schedule_is_valid_and_not_below_any_bound(instance, seed):
    bounds = []
    problem = compile_instance(instance)
    for _, state, _, _, _ in _walk(instance, np.random.default_rng(seed)):
        bounds.append(float(state.clock[BOUND]))
    schedule = to_schedule(instance, problem, state.mode, state.start)
    assert schedule.violations() == []
    assert bounds == sorted(bounds)
    assert bounds[-1] <= schedule.makespan_h + 1e-9


@examples(100)
@given(instance=instances(max_steps=4))
def test_no_lower_bound_exceeds_the_optimum_of_complete_enumeration(instance):
    problem = compile_instance(instance)
    state, outlook = new_state(problem), new_outlook(problem)
    observe(problem, state, outlook)
    assert state.clock[BOUND] <= lower_bound(problem) + 1e-9
    assert lower_bound(problem) <= _optimum_h(instance) + 1e-9


def _optimum_h(instance: Instance) -> float:
    """The shortest makespan over all decision sequences; semi-active schedules contain an optimum."""
    best = float("inf")

    def search(started: dict[int, tuple[int, float, float]], now: float) -> None:
        nonlocal best
        simulator = ReferenceSimulator(instance)
        simulator.started, simulator.now = dict(started), now
        if simulator.is_complete():
            best = min(best, max(end for _, _, end in started.values()))
            return
        if started and max(end for _, _, end in started.values()) >= best:
            return
        for candidate in simulator.candidates():
            simulator.started, simulator.now = dict(started), now
            simulator.decide(*candidate)
            search(simulator.started, simulator.now)

    search({}, 0.0)
    return best


@examples(100)
@given(instance=instances(), seed=st.integers(0, 2**32 - 1))
def test_a_restored_state_equals_the_saved_one(instance, seed):
    rng = np.random.default_rng(seed)
    for problem, state, _, found, _ in _walk(instance, rng):
        copy = new_state(problem)
        restore(problem, copy, float(state.clock[NOW]), float(state.clock[BOUND]), state.mode, state.start)
        activity = np.zeros(problem.duration.size + 1, dtype=np.int64)
        mode = np.zeros_like(activity)
        count = candidates(problem, copy, activity, mode)
        assert list(zip(activity[:count].tolist(), mode[:count].tolist(), strict=True)) == found
        assert copy.work == pytest.approx(state.work, abs=1e-9)
        assert sorted(copy.running[: copy.counts[1]]) == sorted(state.running[: state.counts[1]])


@examples(100)
@given(instance=instances(), rule=st.sampled_from(ALL_RULES))
def test_every_rule_makes_a_valid_schedule(instance, rule):
    solution = solve_by_rule(instance, rule)
    assert solution.schedule.violations() == []
    assert solution.schedule.makespan_h >= solution.lower_bound_h - 1e-9


def test_even_crews_reach_the_proven_optimum_of_the_flagship():
    solution = solve_by_rule(standard_instance(SAMPLE_PARAMS), Rule("LFT", 0.0, "parallel"))
    assert solution.schedule.makespan_h == pytest.approx(52.87, abs=0.005)


def test_a_rule_is_deterministic():
    problem = compile_instance(random_instance(5, seed=1))
    for rule in ALL_RULES:
        assert build(problem, new_state(problem), rule) == build(problem, new_state(problem), rule)


def test_the_bound_of_the_flagship_is_its_optimum():
    problem = compile_instance(standard_instance(SAMPLE_PARAMS))
    optimum_h = solve_by_rule(standard_instance(SAMPLE_PARAMS), Rule("MWKR", 0.0, "parallel")).schedule.makespan_h
    assert optimum_h == pytest.approx(52.87, abs=0.005)
    assert optimum_h - 1e-6 <= lower_bound(problem) <= optimum_h


def test_work_content_over_headcount_with_head_and_tail_bounds_the_flagship():
    problem = compile_instance(standard_instance(SAMPLE_PARAMS))
    state, outlook = new_state(problem), new_outlook(problem)
    observe(problem, state, outlook)
    # By hand: team3's work with crews of two over 10 people, after scaffolding and preparation with full crews.
    r = 0.2
    work_h = sum((6, 7, 7, 7, 7, 4, 5)) * (0.6 + 0.4 * r) * (1 - 0.2 * r**0.5)
    assert state.clock[BOUND] == pytest.approx(0.8 * (10 + 5 + 8) + work_h)


@pytest.mark.slow
def test_nothing_is_compiled_after_set_up():
    """After `make setup`, searches for one and several work points find every compiled stage on disk."""
    program = """
from scheduler_env import SAMPLE_PARAMS, standard_instance
from scheduler_env.agent import load_agent
from scheduler_env.generator import random_instance
from pathlib import Path

agent = load_agent(Path("models/seed/ddqn_v2.pth"))
for instance in (standard_instance(SAMPLE_PARAMS), random_instance(3, 1)):
    solved = agent.solve(instance, time_budget_ms=10_000.0, max_evaluations=2_000)
assert solved.evaluations > 1_000, solved
"""
    command, environment = [sys.executable, "-c", program], os.environ | {"NUMBA_DEBUG_CACHE": "1"}

    def log_of_search() -> str:
        return subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout

    found = log_of_search()
    if "data saved" in found:  # `make setup` has not run on these sources
        subprocess.run([sys.executable, "-m", "scheduler_env.warm_up"], check=True)
        found = log_of_search()
    assert {"sample", "anneal"} <= set(re.findall(r"data loaded from '.*/\w+\.(\w+)-", found))
    assert "data saved" not in found
