"""On a busy machine answers are later, not worse; and a search that was cut short is reported as such."""

import time
from types import SimpleNamespace

import pytest

from scheduler_env import agent, improvement, rules
from scheduler_env.agent import load_agent
from scheduler_env.improvement import min_search_evaluations
from scheduler_env.readers import instance_from_request
from tests.conftest import ROOT

SAMPLE = [10, 5, 8, 6, 7, 9, 6, 7, 6, 7, 7, 7, 4, 7, 5]


@pytest.fixture(scope="module")
def solver():
    return load_agent(ROOT / "models" / "seed" / "ddqn_v2.pth")


@pytest.fixture
def standstill(monkeypatch):
    """A machine on which every deadline has passed when it is set: the clock advances by a minute per call."""
    minutes = iter(range(10**9))
    clock = SimpleNamespace(perf_counter=lambda: time.perf_counter() + 60.0 * next(minutes))
    for module in (agent, improvement, rules):
        monkeypatch.setattr(module, "time", clock)


def plant(n_workpoints: int):
    return instance_from_request(
        {"workpoints": [{"params": [hours + 0.1 * n for hours in SAMPLE]} for n in range(n_workpoints)]}
    )


@pytest.mark.parametrize(("n_steps", "least"), [(15, 1_000), (60, 1_000), (75, 800), (300, 200), (5_000, 50)])
def test_the_minimum_number_of_schedules_depends_on_the_size(n_steps, least):
    assert min_search_evaluations(n_steps) == least


@pytest.mark.parametrize("n_workpoints", [2, 8, 20])
def test_the_default_search_is_the_same_on_a_busy_machine(solver, standstill, n_workpoints):
    found = solver.solve(plant(n_workpoints), time_budget_ms=solver.default_budget_ms)
    assert found.evaluations >= min_search_evaluations(15 * n_workpoints)
    assert not found.is_cut_short


def test_a_shorter_budget_is_kept_and_reported_as_cut_short(solver, standstill):
    found = solver.solve(plant(20), time_budget_ms=1.0)
    assert found.evaluations < min_search_evaluations(300)
    assert found.is_cut_short


def test_no_search_or_a_proved_result_is_not_reported_as_cut_short(solver, standstill):
    assert not solver.solve(plant(3), time_budget_ms=0.0).is_cut_short
    assert not solver.solve(plant(1), time_budget_ms=1.0).is_cut_short


def test_an_answer_states_whether_its_search_was_cut_short(service):
    workpoints = [{"params": [hours + 0.1 * n for hours in SAMPLE]} for n in range(20)]
    assert service.run(workpoints=workpoints)["result"]["search_cut_short"] is False
    assert service.run(workpoints=workpoints, time_budget_ms=1)["result"]["search_cut_short"] is True
    assert service.run(workpoints=workpoints, time_budget_ms=0)["result"]["search_cut_short"] is False
