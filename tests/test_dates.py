"""Due dates, weights, deadlines and the objective, from request to schedule, against the exact solver of the tests."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from scheduler_env import InvalidInstance, Schedule, standard_instance
from scheduler_env.agent import Agent, load_agent
from scheduler_env.baselines import load_baseline
from scheduler_env.dates.bounds import tardiness_bound_h
from scheduler_env.generator import random_replan, random_residual, with_random_dates
from scheduler_env.kernel import compile_instance
from scheduler_env.placements import packed, unpacked
from scheduler_env.readers import instance_from_request
from scheduler_env.standard_cycle import SAMPLE_PARAMS
from tests.instances import three_points
from tests.residual_oracle import INFEASIBLE, TICKS, best_values

DUE = {"A": (12, 5), "B": (30, 1), "C": (28, 5)}
ENOUGH = {"time_budget_ms": 600_000, "max_evaluations": 8_000}


@pytest.fixture(scope="module")
def agent() -> Agent:
    return load_agent(Path(__file__).parent.parent / "models" / "seed" / "ddqn_v2.pth")


def dated(**more) -> dict:
    body = three_points(**more)
    for workpoint in body["workpoints"]:
        workpoint["due"], workpoint["weight"] = DUE[workpoint["id"]]
    return body


def refused(payload) -> InvalidInstance:
    with pytest.raises(InvalidInstance) as caught:
        instance_from_request(payload)
    return caught.value


def figures(schedule: Schedule) -> tuple[float, float]:
    return pytest.approx((schedule.weighted_tardiness_h, schedule.makespan_h), abs=1e-6)


# --- the examples of PLANNING.md ---


def test_the_least_weighted_tardiness_is_found_and_proved(agent):
    found = agent.solve(instance_from_request(dated(objective="weighted_tardiness")), **ENOUGH)
    assert figures(found.schedule) == (6.0, 36.0)
    assert found.tardiness_bound_h == pytest.approx(6.0)
    assert found.objective_gap == 0.0
    assert found.lower_bound_h <= 32.0


@pytest.mark.parametrize("objective", [{}, {"objective": "makespan"}], ids=["default", "asked for"])
def test_of_the_shortest_plans_the_least_late_is_taken(agent, objective):
    found = agent.solve(instance_from_request(dated(**objective)), **ENOUGH)
    assert figures(found.schedule) == (20.0, 32.0)
    assert (found.tardiness_bound_h, found.lower_bound_h) == (None, pytest.approx(32.0))


@pytest.mark.parametrize(
    ("algorithm", "parameters"),
    [("RULE", {"rule": "BEST"}), ("GA", {}), ("CPSAT", {"time_limit_s": 10})],
    ids=["RULE", "GA", "CPSAT"],
)
def test_every_algorithm_knows_the_objective(tmp_path, algorithm, parameters):
    file = tmp_path / "baseline.json"
    file.write_text(
        json.dumps({"format": "scheduler-baseline/1", "algorithm": algorithm, "parameters": parameters}), "utf-8"
    )
    solver = load_baseline(file, algorithm)
    found = solver.solve(instance_from_request(dated(objective="weighted_tardiness")), **ENOUGH)
    assert figures(found.schedule) == (6.0, 36.0)
    assert found.tardiness_bound_h == pytest.approx(6.0, abs=0.01)


# --- deadlines ---


def test_a_deadline_that_can_be_met_is_met_and_one_that_cannot_is_told(agent):
    body = three_points()
    body["workpoints"][2]["deadline"] = 20  # C alone takes 16 + 4 h
    found = agent.solve(instance_from_request(body), **ENOUGH).schedule
    assert (found.workpoint_ends_h["C"], found.missed_deadlines) == (pytest.approx(20.0), [])
    body["workpoints"][2]["deadline"] = 19
    found = agent.solve(instance_from_request(body), **ENOUGH).schedule
    assert (found.workpoint_ends_h["C"], found.missed_deadlines) == (pytest.approx(20.0), ["C"])


def test_a_plan_without_a_search_also_knows_dates(agent):
    found = agent.solve(instance_from_request(dated(objective="weighted_tardiness")))
    assert found.schedule.violations() == []
    assert found.tardiness_bound_h <= found.schedule.weighted_tardiness_h


# --- status ---


def test_what_is_done_counts_as_late_and_the_rest_is_planned_for_the_least(agent):
    body = dated(objective="weighted_tardiness", data_date=20)
    body["progress"] = {
        "A.1": {"status": "done", "actual_start": 0, "actual_finish": 8, "workers": 5},
        "A.2": {"status": "done", "actual_start": 8, "actual_finish": 14, "workers": 5},
        "C.1": {"status": "running", "actual_start": 8, "workers": 5, "remaining_duration": 4},
    }
    found = agent.solve(instance_from_request(body), **ENOUGH)
    # A ended 2 h late (10), C ends at 28 (0), B at 24 + 4 + 8 = 36 (6).
    assert figures(found.schedule) == (16.0, 36.0)
    assert found.tardiness_bound_h == pytest.approx(16.0)


def test_a_steadier_plan_lets_no_work_point_be_later_than_the_tolerance_allows(agent):
    published = {"C.1": (0, 5), "C.2": (16, 5), "B.1": (16, 5), "B.2": (20, 5), "A.1": (20, 5), "A.2": (28, 5)}
    body = dated(objective="weighted_tardiness", data_date=0)
    body["published"] = {name: {"start": start, "workers": crew} for name, (start, crew) in published.items()}
    found = agent.solve(instance_from_request(body), **ENOUGH)
    assert figures(found.schedule) == (6.0, 36.0)
    body["stability_tolerance_h"] = 40
    steady = agent.solve(instance_from_request(body), **ENOUGH).schedule
    assert {placed.step.id: round(placed.start_h, 6) for placed in steady.steps} == {
        name: float(start) for name, (start, _) in published.items()
    }


# --- requests ---


@pytest.mark.parametrize(
    ("change", "loc", "code"),
    [
        ({"due": -1}, ("workpoints", 0, "due"), "greater_than_equal"),
        ({"due": "soon"}, ("workpoints", 0, "due"), None),
        ({"weight": 0}, ("workpoints", 0, "weight"), "greater_than"),
        ({"deadline": True}, ("workpoints", 0, "deadline"), None),
        ({"due_date": 3}, ("workpoints", 0, "due_date"), None),
    ],
    ids=str,
)
def test_a_mistake_is_refused_with_its_place(change, loc, code):
    body = dated()
    body["workpoints"][0] |= change
    err = refused(body)
    assert err.loc == loc
    assert code in (None, err.code)


def test_an_objective_needs_due_dates_and_has_a_known_name():
    assert (refused(three_points(objective="weighted_tardiness")).code, refused(dated(objective="cost")).loc) == (
        "needs_due",
        ("objective",),
    )


def test_a_request_that_was_read_before_with_another_objective_is_read_anew():
    first, second = (instance_from_request(dated(**more)) for more in ({}, {"objective": "weighted_tardiness"}))
    assert (first.objective, second.objective) == ("makespan", "weighted_tardiness")
    assert [each.due_h for each in second.workpoints] == [12.0, 30.0, 28.0]


def test_an_instance_without_dates_is_the_same_as_before():
    assert not standard_instance(SAMPLE_PARAMS).has_dates
    plain, stripped = instance_from_request(three_points()), instance_from_request(dated()).without_dates()
    assert (stripped.workpoints, stripped.teams) == (plain.workpoints, plain.teams)


def test_a_recorded_schedule_keeps_its_figures(agent):
    instance = instance_from_request(dated(objective="weighted_tardiness"))
    schedule = agent.solve(instance, time_budget_ms=20).schedule
    assert unpacked(instance, packed(schedule)).weighted_tardiness_h == schedule.weighted_tardiness_h


# --- random instances ---


@pytest.mark.parametrize("seed", range(40))
def test_random_dates_give_valid_plans_bounds_that_are_proofs_and_optima(agent, seed):
    plain = random_residual(seed) if seed % 2 else random_replan(seed)
    if plain.status is not None:
        plain = plain.with_status(replace(plain.status, published=None, tolerance_h=0.0))
    objective = ("makespan", "weighted_tardiness")[seed // 2 % 2]
    instance = with_random_dates(plain, seed, objective, has_deadlines=seed % 3 == 0)
    ranks = ("tardiness", "makespan") if objective == "weighted_tardiness" else ("makespan", "tardiness")
    values = best_values(instance, "missed", *ranks, limit_s=20.0)
    if values is None:
        return
    if values == INFEASIBLE:
        with pytest.raises(InvalidInstance):
            agent.solve(instance, **ENOUGH)
        return
    found = agent.solve(instance, **ENOUGH)
    schedule, rounding_h = found.schedule, (len(instance.steps) + 1) / TICKS
    assert schedule.violations() == []
    if objective == "weighted_tardiness" and values[0] == 0:
        assert found.tardiness_bound_h <= values[1] + 20 * rounding_h
    if objective == "makespan" and values[0] == 0:
        assert found.lower_bound_h <= values[1] + rounding_h
    missed_h = sum(
        max(0.0, schedule.workpoint_ends_h[each.id] - each.deadline_h)
        for each in instance.workpoints
        if each.deadline_h is not None
    )
    reached = {"tardiness": schedule.weighted_tardiness_h, "makespan": schedule.makespan_h}
    assert missed_h <= values[0] + 4 * rounding_h
    assert reached[ranks[0]] <= values[1] + 20 * rounding_h


@pytest.mark.parametrize("seed", range(0, 40, 2))
def test_the_bound_is_never_above_the_least_weighted_tardiness(seed):
    instance = with_random_dates(random_residual(seed, 6), seed, "weighted_tardiness", has_deadlines=False)
    values = best_values(instance, "tardiness", limit_s=20.0)
    if values is not None:
        assert tardiness_bound_h(instance, compile_instance(instance)) <= values[0] + 20 * 9 / TICKS
