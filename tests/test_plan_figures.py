"""What is computed from a plan: comparison, earned value, explanation, advice and risk."""

import math
from collections import Counter
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from scheduler_env import SAMPLE_PARAMS, Schedule
from scheduler_env.generator import random_instance, random_residual
from scheduler_env.incumbent import empty_incumbent
from scheduler_env.kernel import compile_instance, to_schedule
from scheduler_env.problem import Instance, Mode
from scheduler_env.readers import instance_from_request
from scheduler_env.rules import improve_by_rules
from scheduler_env.schedule import ScheduledStep, Solution
from scheduler_service.errors import InvalidInput
from scheduler_service.plans.advice import MAX_TOTAL_MS, advise, with_more_people
from scheduler_service.plans.comparison import compare
from scheduler_service.plans.earned_value import earned_value
from scheduler_service.plans.edits import AddedStep, CancelledStep
from scheduler_service.plans.explanation import explain
from scheduler_service.plans.risk import Uncertainty, simulate, triangular
from scheduler_service.plans.versions import placements_of, schedule_of
from tests.codes import coded
from tests.instances import three_points
from tests.plans import after, solved, solver, version
from tests.residual_oracle import TICKS, optimum_h
from tests.test_progress import done, late_grinding, running

SAMPLE = list(SAMPLE_PARAMS)


def by_rules(instance) -> Schedule:
    problem = compile_instance(instance)
    incumbent = empty_incumbent(problem)
    improve_by_rules(problem, incumbent)
    return to_schedule(instance, problem, incumbent.mode, incumbent.start)


def at(schedule: Schedule, **starts: float) -> Schedule:
    """The schedule with other starts of some steps."""
    names = {name.replace("_", "."): hour for name, hour in starts.items()}
    placed = [each._replace(start_h=names.get(each.step.id, each.start_h)) for each in schedule.steps]
    return Schedule(schedule.instance, tuple(placed))


@pytest.fixture(scope="module")
def points() -> Schedule:
    """C, B, A one after the other on team1, then on team4: C.1 0-16, B.1 16-20, A.1 20-28, A.2 28-32, ..."""
    return solved(three_points(published={
        "C.1": {"start": 0, "workers": 5}, "C.2": {"start": 16, "workers": 5}, "B.1": {"start": 16, "workers": 5},
        "B.2": {"start": 20, "workers": 5}, "A.1": {"start": 20, "workers": 5}, "A.2": {"start": 28, "workers": 5},
    }))  # fmt: skip


# --- comparison ---


def test_a_comparison_tells_what_moved_by_how_much_and_whose_crews(points):
    later = at(points, C_2=22, B_2=26, A_2=34)
    found = compare(points, later)
    assert [(each.after.step.id, each.shift_h) for each in found.moved] == [("C.2", 6), ("B.2", 6), ("A.2", 6)]
    assert [(each.team, each.moved, each.crews_changed, each.total_shift_h) for each in found.teams] == [
        ("team4", 3, 0, 18.0)
    ]
    assert (found.makespan_before_h, found.makespan_after_h) == (32.0, 38.0)
    assert compare(later, later).moved == compare(later, later).added == compare(later, later).gone == ()


def test_a_comparison_tells_of_other_crews_and_of_steps_that_come_and_go():
    first = version("p", {"params": SAMPLE})
    schedule = schedule_of(first)
    step = next(each for each in schedule.steps if each.step.id == "1.4")
    crew = next(mode for mode in step.step.modes if mode != step.mode)
    other = Schedule(
        schedule.instance, tuple(each._replace(mode=crew) if each is step else each for each in schedule.steps)
    )
    (moved,) = compare(schedule, other).moved
    assert (moved.has_other_crew, moved.shift_h) == (True, 0.0)
    work = {"name": "复拍", "order": 6, "team": "team4", "duration": 5}
    second = after(first, added=[AddedStep("1", work, (), "x")], cancelled=[CancelledStep("1.10", "y")])
    found = compare(schedule, schedule_of(second))
    assert ([each.step.id for each in found.added], [each.step.id for each in found.gone]) == (["1.v2-1"], ["1.10"])


# --- earned value ---


def test_planned_and_earned_value_are_the_people_hours_due_and_done(points):
    first = version("p", three_points(), at(points))
    progress = {"C.1": done(0, 18, 5), "B.1": running(18, 5, remaining_duration=3)}
    found = earned_value(points, schedule_of(after(first, first, data_date=20, progress=progress)))
    # Due by 20: C.1 and B.1, and C.2, all of 5 people; done: C.1, and 2 of the 5 hours of B.1's 4 planned ones.
    assert found.planned_value == pytest.approx(5 * (16 + 4 + 4))
    assert found.earned_value == pytest.approx(5 * (16 + 0.4 * 4))
    assert found.spi == pytest.approx(found.earned_value / found.planned_value)
    assert found.total == pytest.approx(5 * (16 + 4 + 8 + 4 + 8 + 4))
    assert (found.baseline_end_h, found.data_date_h) == (32.0, 20.0)
    assert found.forecast_end_h >= 33.0
    planned = [point.planned for point in found.curve]
    assert planned == sorted(planned)
    assert found.curve[-1].planned == found.curve[-1].forecast == pytest.approx(found.total)
    here = next(point for point in found.curve if point.hour == 20.0)
    assert here.earned == here.forecast == pytest.approx(found.earned_value)
    assert all((point.earned is None) == (point.hour > 20.0) for point in found.curve)


def test_added_and_cancelled_scope_counts_apart(points):
    first = version("p", three_points(), at(points))
    work = {"name": "复拍", "order": 3, "team": "team4", "duration": 5}
    second = after(first, added=[AddedStep("A", work, (), "x")], cancelled=[CancelledStep("C.2", "y")])
    third = after(second, data_date=40, progress={"A.v2-1": done(30, 34, 5)})
    found = earned_value(points, schedule_of(third))
    assert (found.added.steps, found.added.people_hours, found.added.earned) == (1, 20.0, 20.0)
    assert (found.cancelled.steps, found.cancelled.people_hours) == (1, 20.0)
    assert found.total == pytest.approx(5 * (16 + 4 + 8 + 8 + 4))
    assert (found.planned_value, found.earned_value, found.spi) == (pytest.approx(found.total), 0.0, 0.0)


def test_there_is_no_index_before_anything_is_due(points):
    assert earned_value(points, points).spi is None


# --- explanation ---


def test_the_chain_of_each_of_1_000_schedules_adds_up_to_its_makespan():
    reasons: Counter[str] = Counter()
    for seed in range(1_000):
        schedule = by_rules(random_residual(seed) if seed % 4 else random_instance(1 + seed % 3, seed=seed))
        chain = explain(schedule)
        assert sum(link.hours for link in chain) == pytest.approx(schedule.makespan_h, abs=1e-5)
        assert all(link.wait_h >= -1e-5 for link in chain)
        for former, link in pairwise(chain):
            assert link.cause == former.placed.step.id
        assert chain[0].cause is None
        waits = [link for link in chain if link.wait_h > 1e-5]
        assert {link.reason for link in waits} <= {"release", "absence", "choice"}
        reasons.update(link.reason for link in chain)
    assert reasons["choice"] <= 0.005 * reasons.total(), reasons
    assert {"start", "predecessor", "team", "release", "absence"} <= reasons.keys()


def test_each_link_says_why_it_did_not_start_earlier():
    schedule = solved(late_grinding())
    reasons = {link.placed.step.id: (link.reason, link.cause) for link in explain(schedule)}
    assert reasons["1.1"] == ("start", None)
    assert reasons["1.15"] == ("predecessor", "1.14")
    moved = after(version("p", three_points()), pinned={"A.2": {"start": 60, "workers": 5}})
    last = explain(schedule_of(moved))[-1]
    assert (last.placed.step.id, last.reason) == ("A.2", "pin")
    away = three_points(teams={"team4": {"availability": [{"from": 0, "to": 50, "people": 0}]}})
    found = {link.reason for link in explain(solved(away))}
    assert found & {"absence"}
    assert not found & {"choice"}
    first = explain(solved(three_points(data_date=7)))[0]
    assert (first.reason, first.wait_h) == ("data_date", 7.0)
    released = [{"id": "a", "release": 9, "steps": [{"name": "x", "team": "team2", "duration": 4}]}]
    assert [(link.reason, link.wait_h) for link in explain(solved({"workpoints": released}))] == [("release", 9.0)]


def test_what_could_start_earlier_is_told_as_a_choice_or_as_published(points):
    published = placements_of(at(points, A_2=40))
    schedule = replace(points, instance=instance_from_request(three_points(published=published)))
    assert explain(at(schedule, A_2=40))[-1].reason == "published"
    assert explain(at(schedule, A_2=41))[-1].reason == "choice"


# --- advice ---


def exact(instance, _budget_ms: float = 0.0):
    return solver().solve(instance, time_budget_ms=60_000, max_evaluations=20_000)


def requests(n: int):
    """Small requests with a shared team that is short of people."""
    random = np.random.default_rng(7)
    for _ in range(n):
        points = [
            {"id": f"p{number}", "steps": [
                {"name": str(order), "order": order, "team": str(random.choice(["team3", "w"])), "duration":
                 float(random.integers(2, 12)), **({"max_crew": 3} if random.random() < 0.5 else {})}
                for order in range(1, int(random.integers(2, 4)))
            ]}
            for number in range(int(random.integers(1, 4)))
        ]  # fmt: skip
        w = {"headcount": int(random.integers(3, 6)), "availability": int(random.integers(2, 5))}
        yield {"workpoints": points, "teams": {"w": w, "team3": {"headcount": int(random.integers(4, 8))}}}


def test_advice_is_that_of_an_exact_solver_and_never_negative():
    n_proved = n_saving = 0
    for request in requests(15):
        instance = instance_from_request(request)
        found = advise(request, math.inf, exact, 100.0)
        now_h = optimum_h(instance)
        assert found.makespan_h == pytest.approx(now_h, abs=len(instance.steps) / TICKS)
        for saving in found.savings:
            team = next(each for each in instance.teams if each.name == saving.team)
            more = instance_from_request(with_more_people(request, team, saving.people))
            saved_h = now_h - optimum_h(more)
            assert saving.saves_h == pytest.approx(saved_h, abs=2 * len(instance.steps) / TICKS)
            assert saving.saves_h >= 0.0
            n_proved, n_saving = n_proved + saving.is_proved, n_saving + (saving.saves_h > 0.0)
    assert n_proved > 30
    assert n_saving > 5


def test_more_people_are_there_at_all_times_and_the_headcount_stays():
    away = [{"from": 5, "to": 9, "people": 2}]
    request = three_points(teams=[{"name": "team1", "availability": away}])
    for said, levels in ((request, ((0.0, 7), (5.0, 4), (9.0, 7))), (three_points(), ((0.0, 7),))):
        team = instance_from_request(said).teams[0]
        more = instance_from_request(with_more_people(said, team, 2)).teams[0]
        assert (more.headcount, more.dedicated, more.people[:3]) == (5, True, levels)


def test_people_who_can_do_nothing_save_nothing_and_that_is_proved():
    found = advise(three_points(), math.inf, exact, 100.0)
    assert {(each.team, each.people, each.saves_h, each.is_proved) for each in found.savings} == {
        (team, more, 0.0, True) for team in ("team1", "team4") for more in (1, 2)
    }


def test_a_plan_that_is_shorter_than_the_search_finds_counts():
    found = advise({"params": SAMPLE}, 40.0, exact, 100.0)
    assert (found.makespan_h, found.is_proved) == (40.0, True)
    assert all(each.saves_h >= 0.0 for each in found.savings)


def test_all_searches_of_the_advice_together_have_a_limit():
    budgets: list[float] = []

    def noted(instance: Instance, budget_ms: float) -> Solution:
        budgets.append(budget_ms)
        return exact(instance)

    teams = [{"name": f"t{n}", "team": f"t{n}", "team_size": 2, "duration": 1} for n in range(9)]
    advise({"workpoints": [{"id": "A", "steps": teams}]}, math.inf, noted, 10_000.0)
    assert set(budgets) == {MAX_TOTAL_MS / 19}


# --- risk ---


def chain() -> Schedule:
    """Three steps one after the other, of (8, 10, 18), (4, 5, 9) and (6, 8, 16) hours."""
    steps = [{"name": str(n), "order": n, "team": "w", "team_size": 1, "duration": d, "reference_crew": 1}
             for n, d in ((1, 10), (2, 5), (3, 8))]  # fmt: skip
    return solved({"workpoints": [{"id": "A", "steps": steps}]})


CHAIN = {"A.1": Uncertainty(8, 10, 18), "A.2": Uncertainty(4, 5, 9), "A.3": Uncertainty(6, 8, 16)}


def test_a_chain_of_triangular_durations_has_the_known_distribution():
    found = simulate(chain(), CHAIN, samples=10_000)
    assert found.mean_h == pytest.approx(28.0, abs=0.02)
    assert found.deviation_h == pytest.approx(3.24, abs=0.05)
    assert found.quantiles_h[0.8] == pytest.approx(30.8, abs=0.15)
    assert found.quantiles_h[0.5] == pytest.approx(27.8, abs=0.2)
    assert set(found.critical.values()) == {1.0}


def test_the_quantiles_of_a_triangular_distribution_are_those_of_the_formula():
    share = np.linspace(0.0, 1.0, 11)
    hours = triangular(share, 2.0, 3.0, 7.0)
    low, mode, high = 2.0, 3.0, 7.0
    there = np.where(
        hours < mode,
        (hours - low) ** 2 / ((high - low) * (mode - low)),
        1 - (high - hours) ** 2 / ((high - low) * (high - mode)),
    )
    assert there == pytest.approx(share)
    assert triangular(share, 4.0, 4.0, 4.0) == pytest.approx(4.0)


def test_a_step_that_is_not_always_needed_takes_time_in_its_share_of_the_samples():
    found = simulate(chain(), {"A.2": Uncertainty(5, 5, 5, chance=0.3)}, samples=1_000)
    assert found.mean_h == pytest.approx(18 + 0.3 * 5, abs=1e-6)
    assert found.critical["A.2"] == pytest.approx(0.3)
    assert found.quantiles_h == {0.1: 18.0, 0.5: 18.0, 0.8: 23.0, 0.9: 23.0}


def test_a_step_has_the_same_random_numbers_in_every_plan_and_others_with_another_seed():
    alone = simulate(chain(), {"A.1": CHAIN["A.1"]}, samples=200)
    longer = Schedule(
        chain().instance,
        tuple(
            ScheduledStep(each.step, Mode(each.mode.duration_h, each.mode.demand), each.start_h)
            for each in chain().steps
        ),
    )
    assert simulate(longer, {"A.1": CHAIN["A.1"]}, samples=200) == alone
    assert simulate(longer, {"A.1": CHAIN["A.1"]}, samples=200, seed=1) != alone


def test_without_uncertainty_the_plan_itself_is_simulated():
    for seed in range(5):
        schedule = by_rules(random_instance(3, seed=seed))
        found = simulate(schedule, {}, samples=2)
        assert found.mean_h <= schedule.makespan_h + 1e-6
        assert found.deviation_h == 0.0
        assert found.critical.keys() == {step.id for step in schedule.instance.steps}


def test_facts_stay_and_only_open_steps_vary():
    schedule = solved(late_grinding())
    found = simulate(schedule, {"1.15": Uncertainty(3, 4, 8), "1.1": Uncertainty(1, 2, 90)}, samples=500)
    assert found.critical.keys() == {"1.13", "1.14", "1.15"}
    assert found.mean_h == pytest.approx(schedule.makespan_h - 4 + 5, abs=0.05)
    over = solved(three_points(data_date=50, progress={
        key: done(0, 40, 5) for key in ("A.1", "A.2", "B.1", "B.2", "C.1", "C.2")
    }))  # fmt: skip
    assert simulate(over, {}, samples=3).mean_h == 40.0


def test_more_durations_than_the_memory_is_meant_for_are_refused():
    with pytest.raises(InvalidInput, check=coded("too_many_samples", value=2_000_000, n=3, limit=1_666_666)):
        simulate(chain(), {}, samples=2_000_000)


def test_a_simulation_that_nobody_waits_for_ends():
    asked: list[int] = []
    simulate(chain(), {}, samples=1_000, stop=lambda: bool(asked.append(1)) or len(asked) > 3)
    assert len(asked) == 4
