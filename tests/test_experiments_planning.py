"""What an experiment that is being thought of could find: against simulated experiments, and through the service."""

import json
from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pytest

from scheduler_service.clock import to_iso
from scheduler_service.experiments.examination import examine
from scheduler_service.experiments.experiment import Experiment
from scheduler_service.experiments.planning import MAX_DAYS, MAX_RUNS, MIN_USERS, plan, planning_columns
from scheduler_service.reporting.evolution import course
from scheduler_service.stats.arms import UserValues
from scheduler_service.stats.effect import effect_of_arms
from scheduler_service.stats.metrics import METRICS
from tests.conftest import LiveService, live_service

NOW = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)
SPREAD = 0.05
"""Of the logarithms of makespan over lower bound, in `records`."""


def experiment(**more) -> Experiment:
    start = to_iso(NOW)
    return Experiment.parse({"name": "planned", "model_a": "a", "model_b": "b", "start_time": start} | more)


def records(users=200, days=10.0, each=1, model="a", seed=0) -> pd.DataFrame:
    """`each` requests of every user, evenly over the last `days`; all of a user before the next one's."""
    rng = np.random.default_rng(seed)
    n = users * each
    bound = np.exp(rng.normal(4.0, 0.5, n))
    ages = np.linspace(days, 0.001, n)
    return pd.DataFrame(
        {
            "timestamp": pd.to_datetime([NOW - timedelta(days=float(age)) for age in ages], utc=True),
            "model_key": model,
            "reason": "default",
            "user_id": [f"u{number // each}" for number in range(n)],
            "success": True,
            "lower_bound": bound,
            "makespan": bound * np.exp(rng.normal(0.1, SPREAD, n)),
            "gap": rng.uniform(0.05, 0.15, n),
        }
    )


def test_the_planned_users_find_the_wanted_effect_four_times_in_five():
    planned = plan(experiment(min_samples=2), 0.03, records(users=2_000, days=28.0), NOW, "a")
    n = planned.to_dict()["users_needed"]["model_a"]
    rng = np.random.default_rng(1)
    found = 0
    for _ in range(200):
        is_b = rng.random(2 * n) < 0.5
        y = rng.choice(planned.forecast.y, 2 * n) + np.log1p(-0.03) * is_b
        users = UserValues(np.clip(y, 0.0, np.log(2.0)), (0.0, np.log(2.0)), is_b, np.full(2 * n, 0.5), None)
        found += effect_of_arms(users, METRICS["makespan"], 0.05).low > 0.0
    assert 0.7 < found / 200 < 0.95


def test_at_the_planned_day_the_curve_shows_the_wanted_effect():
    planned = plan(experiment(min_samples=2), 0.02, records(), NOW, "a")
    days = planned.days_for(0.02)
    assert planned.detectable_after(days) == pytest.approx(0.02, rel=0.03)
    assert planned.detectable_after(2 * days) < 0.02 < planned.detectable_after(days / 2)


@pytest.mark.parametrize(
    ("more", "needs_more"),
    [
        ({"alpha": 0.01}, True),
        ({"traffic_split": {"model_a": 0.9, "model_b": 0.1}}, True),
        ({"coverage": 0.5}, True),
        ({"model_c": "c"}, True),
        ({"min_samples": 1_000}, True),
        ({"alpha": 0.2}, False),
    ],
)
def test_the_days_follow_from_the_setting(more, needs_more):
    runs = records(users=1_000, days=5.0)
    usual, other = (plan(experiment(**each), 0.02, runs, NOW, "a").days_for(0.02) for each in ({}, more))
    assert (other > usual) == needs_more


def test_a_larger_effect_or_margin_needs_fewer_days():
    def days(**more):
        told = plan(experiment(min_samples=2, **more), 0.02, records(), NOW, "a").to_dict()
        return told["days_needed"], told["days_to_non_inferior"]

    larger = plan(experiment(min_samples=2), 0.03, records(), NOW, "a").to_dict()["days_needed"]
    assert larger < days()[0]
    assert days(margin=0.05)[1] < days(margin=0.02)[1]
    assert days(margin=0.02)[1] == pytest.approx(days()[0], rel=0.1)  # an equal model is as far from the margin


def test_users_who_come_again_bring_no_more():
    again = pd.concat([records(users=60, days=14.0, seed=seed) for seed in range(5)])
    again["timestamp"] = again["timestamp"].sample(frac=1.0, random_state=1).to_numpy()
    told = plan(experiment(), 0.001, again, NOW, "a").to_dict()
    assert told["basis"]["users"] == 60
    assert told["basis"]["new_users_per_day"] < 0.5
    assert told["days_needed"] is None
    assert told["users_needed"]["model_a"] > 30


def test_an_hour_of_records_is_no_flood():
    told = plan(experiment(), 0.02, records(users=100, days=0.04), NOW, "a").to_dict()
    assert told["basis"]["days"] == 1.0
    assert told["basis"]["new_users_per_day"] == pytest.approx(100.0)


def test_sixty_planners_who_all_came_again_within_the_hour_are_no_sixty_new_ones_a_day():
    again = pd.concat([records(users=60, days=0.03, seed=seed) for seed in range(3)])
    first = records(users=60, days=0.03).assign(timestamp=pd.Timestamp(NOW - timedelta(days=0.05)))
    told = plan(experiment(), 0.01, pd.concat([first, again]), NOW, "a").to_dict()
    assert told["basis"]["users"] == 60
    assert told["basis"]["new_users_per_day"] == 0.0
    assert told["days_needed"] is None


def test_the_newest_runs_of_a_busy_service_are_of_the_hour_that_they_took():
    busy = records(users=MAX_RUNS // 20, days=0.05, each=20)
    told = plan(experiment(), 0.02, busy, NOW, "a").to_dict()["basis"]
    assert told["days"] == pytest.approx(0.05)
    assert told["requests_per_day"] == pytest.approx(20 * MAX_RUNS)


def test_a_rollout_is_planned_at_its_last_stage_before_the_promotion():
    ramped = experiment(rollout={"stages": [0.1, 0.25, 1.0]})
    assert plan(ramped, 0.02, records(), NOW, "a").shares == (0.25, 0.25)


@pytest.mark.parametrize("more", [{"coverage": 5e-324}, {"traffic_split": {"model_a": 1.0, "model_b": 0.0}}])
def test_an_arm_that_nobody_falls_into_finds_nothing_ever(more):
    told = plan(experiment(**more), 0.02, records(), NOW, "a").to_dict()
    assert (told["days_needed"], told["users_needed"]) == (None, None)
    assert told["minimum_detectable_effect_percentage"] is None
    assert all(point["minimum_detectable_effect_percentage"] is None for point in told["curve"])


@pytest.mark.parametrize("effect", [5e-324, 1e-12, 0.999999])
def test_a_plan_for_an_extreme_effect_has_finite_figures_or_none(effect):
    json.dumps(plan(experiment(), effect, records(), NOW, "a").to_dict(), allow_nan=False)


@pytest.mark.parametrize(
    ("runs", "metric", "code"),
    [
        (records(users=0), "makespan", "no_data"),
        (records(users=MIN_USERS - 1), "makespan", "too_few_units"),
        (records().assign(gap=0.0), "gap", "baseline_not_positive"),
    ],
)
def test_records_that_do_not_do_have_a_reason_and_no_figures(runs, metric, code):
    told = plan(experiment(success_metric=metric), 0.02, runs, NOW, "a").to_dict()
    assert told["reason"]["code"] == code
    assert (told["days_needed"], told["users_needed"], told["curve"]) == (None, None, [])
    assert told["minimum_detectable_effect_percentage"] is None


@pytest.mark.parametrize(
    "more",
    [
        {"traffic_split": {"model_a": 1.0, "model_b": 0.0}},
        {"traffic_split": {"model_a": 0.0, "model_b": 1.0}},
        {"coverage": 5e-324},
        {"alpha": 5e-324, "model_c": "c", "model_d": "d"},
        {"duration_days": 5e-324},
        {"min_samples": 10**9},
        {"margin": 5e-324},
    ],
)
def test_an_experiment_at_the_border_of_sense_has_a_plan(more):
    told = plan(experiment(**more), 5e-324, records(), NOW, "a").to_dict()
    assert told["days_needed"] is None
    json.dumps(told, allow_nan=False)


def test_one_plant_for_all_takes_users_all_the_same_and_a_baseline_near_zero_takes_more_than_come():
    constant = plan(experiment(), 0.02, records().assign(makespan=50.0, lower_bound=40.0), NOW, "a").to_dict()
    assert 20 < constant["users_needed"]["model_a"] < 500
    near_zero = records().assign(gap=np.where(np.arange(200) == 7, 1e-4, 0.0))
    told = plan(experiment(success_metric="gap"), 0.02, near_zero, NOW, "a").to_dict()
    assert (told["reason"], told["users_needed"], told["days_needed"]) == (None, None, None)


@pytest.mark.parametrize(
    ("minimum", "is_open_ended", "code"),
    [
        (0.5, False, "long_enough"),
        (1e-4, False, "too_short"),
        (0.5, True, "open_ended"),
        (5e-324, True, "out_of_reach"),
    ],
)
def test_a_plan_says_whether_its_days_are_enough(minimum, is_open_ended, code):
    told = plan(experiment(min_samples=2), minimum, records(), NOW, "a", is_open_ended=is_open_ended).to_dict()
    assert told["conclusion_text"]["code"] == f"plan.{code}"
    assert told["is_long_enough"] == (code in ("long_enough", "open_ended"))


def test_without_a_figure_a_plan_concludes_nothing():
    told = plan(experiment(), 0.02, records().iloc[:0], NOW, "a").to_dict()
    assert (told["is_long_enough"], told["conclusion"], told["conclusion_text"]) == (None, None, None)


def test_a_baseline_that_has_hardly_run_is_planned_from_the_runs_of_all_models():
    both = pd.concat([records(users=MIN_USERS - 1, model="a"), records(users=91, model="b", seed=1)])
    both["user_id"] = [f"u{number}" for number in range(100)]
    assert plan(experiment(), 0.02, both, NOW, "a").to_dict()["basis"]["model"] is None
    assert plan(experiment(), 0.02, both, NOW, "b").to_dict()["basis"]["model"] == "b"
    basis = plan(experiment(), 0.02, both.assign(user_id="x"), NOW, "b").to_dict()["basis"]
    assert (basis["model"], basis["runs"], basis["users"]) == (None, 100, 1)
    basis = plan(experiment(), 0.02, both, NOW, "b").to_dict()["basis"]
    assert (basis["runs"], basis["users"], basis["requests_per_day"]) == (91, 91, pytest.approx(10.0))


def test_columns_are_read_once():
    assert len(set(planning_columns("success"))) == len(planning_columns("success"))
    assert planning_columns("success_rate") == planning_columns("success")
    assert MAX_DAYS > 0


# --- the course ---


def test_the_course_ends_where_the_verdict_stands():
    runs = records(users=300)
    runs["variant"] = np.where(np.arange(300) % 2, "model_b", "model_a")
    runs["makespan"] *= np.where(runs["variant"] == "model_b", 0.97, 1.0)
    runs = runs.assign(execution_time=0.01, resource_utilization=0.3, user_satisfaction=np.nan)
    pairs = pd.DataFrame({"candidate": pd.Series(dtype="str"), "source": pd.Series(dtype="str"), "replay": []})
    told = course(experiment(), runs, pairs)["users"]["model_b"]
    verdict = examine(experiment(), runs, None, NOW).to_dict()["anytime_effect"]
    assert told[-1]["improvement_percentage"] == pytest.approx(verdict["improvement_percentage"])
    assert told[-1]["confidence_sequence"] == pytest.approx(verdict["confidence_sequence"])
    assert told[0] == {"time": told[0]["time"], "improvement_percentage": None, "confidence_sequence": None}
    assert len(told) == 40


# --- through the service ---


@pytest.fixture(scope="module")
def running(tmp_path_factory) -> LiveService:
    with live_service(tmp_path_factory.mktemp("planning")) as service:
        yield service


def test_a_plan_without_records_says_so_and_one_with_them_has_figures(running):
    empty = running.post("/experiments/plan", json={}).json()["plan"]
    assert empty["reason"]["code"] == "no_data"
    for number in range(60):
        params = [5 + number % 13, 5, 8, 6, 7, 4 + number % 7, 6, 7, 6, 7, 7, 3 + number % 5, 4, 7, 5]
        running.run(params=params, user_id=f"user_{number}", time_budget_ms=0)
    told = running.post("/experiments/plan", json={"model_a": "DDQN_v1.0", "minimum_effect": 0.01}).json()["plan"]
    assert told["reason"] is None
    assert (told["basis"]["runs"], told["basis"]["users"]) == (60, 60)
    assert told["days_needed"] > 0.0
    assert len(told["curve"]) == 40


def test_a_plan_is_checked_like_the_experiment_and_leaves_nothing_behind(running):
    before = json.loads((running.home / "ab_test_config.json").read_text())
    for body, place in (
        ({"traffic_split": {"model_a": 0.5, "model_b": 0.6}}, ["traffic_split"]),
        ({"success_metric": "speed"}, ["success_metric"]),
        ({"minimum_effect": 0}, ["minimum_effect"]),
        ({"experiment_name": "no spaces"}, ["experiment_name"]),
    ):
        answer = running.post("/experiments/plan", json=body)
        assert answer.status_code == 422
        assert [each["loc"] for each in answer.json()["errors"]] == [place]
    assert running.post("/experiments/plan", json={"model_a": "DDQN_v9.9"}).status_code == 404
    assert json.loads((running.home / "ab_test_config.json").read_text()) == before


def test_an_experiment_may_be_called_plan(running):
    made = running.post(
        "/experiments", json={"experiment_name": "plan", "model_a": "DDQN_v1.0", "model_b": "DDQN_v2.0"}
    )
    assert made.status_code == 201
    assert running.get("/experiments/plan").json()["experiment"]["name"] == "plan"
    assert running.get("/experiments/plan/course").json()["course"]["users"] == {"model_b": []}


def test_days_left_know_how_many_of_the_users_fall_into_the_two_arms_that_are_compared():
    runs = records(users=600, days=10.0, seed=3)
    arms = np.array(["model_a", "model_b", "model_c"])[np.arange(600) % 3]
    runs = runs.assign(variant=arms, makespan=runs["makespan"] * np.where(arms == "model_c", 0.98, 1.0))
    of = experiment(model_c="c", start_time=to_iso(NOW - timedelta(days=10)), duration_days=100, min_samples=2)
    verdict = examine(of, runs, None, NOW).verdicts["model_c"]
    needed = verdict.effect.evidence.needed(verdict.effect.alpha / 2.0)
    assert verdict.days_left.days == pytest.approx((1.5 * needed - 600) / 60.0, rel=0.02)
    assert examine(of, runs.drop(columns="timestamp"), None, NOW).verdicts["model_c"].days_left.days is None
    over = examine(of, runs, None, NOW + timedelta(days=100)).verdicts["model_c"].days_left
    assert (over.days, over.reason.reason) == (None, "not_running")
