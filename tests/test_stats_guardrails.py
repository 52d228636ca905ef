"""Guardrails: what breaches them, what does not, and what they say."""

import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from scheduler_service.stats.arms import FAILED_RATIO, Totals
from scheduler_service.stats.effect import LEAST_USERS
from scheduler_service.stats.guardrails import DEFAULT_MARGINS, UNNOTICED_S, check_guardrails, rate_with_error


def make_runs(n=300, *, makespan=1.0, success=1.0, slower=1.0, base_s=0.2, seed=0, per_user=1):
    """`n` users an arm; of the candidate: factor on makespan, success rate, factor on execution time."""
    rng = np.random.default_rng(seed)
    rows = 2 * n * per_user
    user = np.arange(rows) // per_user
    is_b = user % 2 == 1
    bound = rng.choice([30.0, 60.0, 120.0], rows) * rng.uniform(0.9, 1.1, rows)
    done = rng.random(rows) < np.where(is_b, success, 1.0)
    return pd.DataFrame(
        {
            "variant": np.where(is_b, "model_b", "model_a"),
            "user_id": [f"u{number}" for number in user],
            "success": done,
            "makespan": np.where(
                done, bound * np.exp(rng.gamma(2.0, 0.03, rows)) * np.where(is_b, makespan, 1.0), np.nan
            ),
            "lower_bound": bound,
            "execution_time": rng.gamma(4.0, base_s / 4.0, rows) * np.where(is_b, slower, 1.0),
        }
    )


def checks_of(runs, margins=DEFAULT_MARGINS, candidate="model_b", **options):
    return {each.name: each for each in check_guardrails(runs, margins, "model_a", candidate, **options)}


def states_of(runs, **options):
    return {name: each.state for name, each in checks_of(runs, **options).items()}


# --- breached, kept, undecided ---


def test_two_equal_models_keep_all_guardrails_when_there_are_enough_users():
    assert set(states_of(make_runs(2_000)).values()) == {"kept"}


@pytest.mark.parametrize(
    ("name", "harm"),
    [("makespan", {"makespan": 1.10}), ("success", {"success": 0.8}), ("execution_time", {"slower": 3.0})],
)
def test_a_clear_harm_breaches_its_guardrail(name, harm):
    assert states_of(make_runs(300, **harm))[name] == "breached"


@pytest.mark.parametrize(
    ("name", "gain"),
    [("makespan", {"makespan": 0.9}), ("execution_time", {"slower": 0.3})],
)
def test_the_opposite_of_harm_is_kept(name, gain):
    check = checks_of(make_runs(1_000, **gain))[name]
    assert check.state == "kept"
    assert check.harm < 0


@pytest.mark.parametrize("name", list(DEFAULT_MARGINS))
def test_swapping_the_arms_turns_harm_into_gain(name):
    runs = make_runs(500, makespan=1.2, success=0.7, slower=3.0)
    swapped = runs.assign(variant=runs["variant"].map({"model_a": "model_b", "model_b": "model_a"}))
    assert checks_of(runs)[name].state == "breached"
    assert checks_of(swapped)[name].state != "breached"
    assert checks_of(runs)[name].harm > 0 > checks_of(swapped)[name].harm


def test_harm_within_the_margin_does_not_breach():
    assert states_of(make_runs(2_000, makespan=1.03))["makespan"] == "kept"


def test_what_failures_add_to_the_makespan_counts_against_its_margin():
    assert states_of(make_runs(2_000, makespan=1.04, success=0.95))["makespan"] == "breached"


def test_the_harm_is_the_ratio_of_geometric_means_with_failures_at_twice_the_bound():
    runs = make_runs(1_000, makespan=1.1, success=0.9)
    lengths = runs["makespan"].fillna(FAILED_RATIO * runs["lower_bound"]) / runs["lower_bound"]
    a, b = (stats.gmean(lengths[runs["variant"] == arm]) for arm in ("model_a", "model_b"))
    assert checks_of(runs)["makespan"].harm == pytest.approx(b / a - 1, abs=0.005)


def test_bounds_surround_the_harm_and_a_smaller_alpha_widens_them():
    runs = make_runs(300, makespan=1.04)
    for name, wide in checks_of(runs, alpha=0.001).items():
        narrow = checks_of(runs, alpha=0.05)[name]
        assert wide.low < narrow.low < narrow.harm < narrow.high < wide.high


def test_margins_are_those_asked_for():
    runs = make_runs(500, makespan=1.1)
    assert states_of(runs, margins={"makespan": 0.3}) == {"makespan": "kept"}
    assert checks_of(runs, margins={}) == {}


def test_any_arm_can_be_guarded():
    runs = make_runs(300, makespan=1.1)
    runs["variant"] = runs["variant"].replace("model_b", "model_c")
    assert states_of(runs, candidate="model_c")["makespan"] == "breached"


# --- execution time ---


def test_a_threefold_time_below_50_ms_is_noticed_by_nobody():
    assert states_of(make_runs(500, slower=3.0, base_s=0.005))["execution_time"] == "kept"


def test_a_threefold_time_is_breached_where_it_costs_more_than_50_ms():
    check = checks_of(make_runs(500, slower=3.0, base_s=UNNOTICED_S))["execution_time"]
    assert check.state == "breached"
    assert "5 % may" in check.message


def test_a_mean_that_is_kept_does_not_hide_a_slow_tail():
    runs = make_runs(1_000)
    slow = (runs["variant"] == "model_b") & (runs.index % 10 < 2)
    runs.loc[slow, "execution_time"] = 2.0
    assert states_of(runs)["execution_time"] == "breached"


def test_a_clock_that_measured_nothing_divides_by_nothing():
    assert states_of(make_runs(100).assign(execution_time=0.0))["execution_time"] in {"kept", "undecided"}


def test_a_quick_failure_is_no_quick_answer():
    runs = make_runs(500, slower=3.0, success=0.5)
    runs.loc[~runs["success"], "execution_time"] = 0.001
    assert states_of(runs)["execution_time"] == "breached"


# --- one plant for all ---


def test_a_candidate_that_is_longer_on_the_one_plant_everybody_sends_is_stopped():
    runs = make_runs(40).assign(lower_bound=50.0, success=True)
    runs["makespan"] = np.where(runs["variant"] == "model_b", 60.5, 55.0)
    check = checks_of(runs)["makespan"]
    assert (check.state, check.harm) == ("breached", pytest.approx(0.1))
    assert "10.0 % longer" in check.message


@pytest.mark.parametrize("hours", [55.0, 57.0, 50.0])
def test_on_one_plant_nothing_within_the_margin_is_stopped(hours):
    runs = make_runs(40).assign(lower_bound=50.0, success=True)
    runs["makespan"] = np.where(runs["variant"] == "model_b", hours, 55.0)
    assert states_of(runs)["makespan"] == "undecided"


def test_a_handful_of_users_of_one_plant_stops_nothing():
    runs = make_runs(LEAST_USERS - 1).assign(lower_bound=50.0, success=True)
    runs["makespan"] = np.where(runs["variant"] == "model_b", 60.5, 55.0)
    assert set(states_of(runs).values()) == {"undecided"}


# --- failures ---


def test_failures_without_a_recorded_bound_are_harm_in_makespan_too():
    runs = make_runs(400, success=0.7)
    runs["lower_bound"] = runs["lower_bound"].where(runs["success"])
    assert states_of(runs)["makespan"] == "breached"


def test_answers_of_another_model_are_failures():
    runs = make_runs(300)
    runs["reason"] = np.where((runs["variant"] == "model_b") & (runs.index % 3 == 0), "fallback", "assigned")
    assert states_of(runs)["success"] == "breached"


def test_a_candidate_that_never_answers_breaches_success_and_crashes_nothing():
    states = states_of(make_runs(100, success=0.0))
    assert states["success"] == "breached"
    assert states["execution_time"] == "undecided"


def test_no_failure_so_far_is_not_taken_for_a_proof():
    assert states_of(make_runs(LEAST_USERS))["success"] == "undecided"


# --- nothing there ---


@pytest.mark.parametrize("column", ["makespan", "lower_bound", "execution_time"])
@pytest.mark.parametrize("is_dropped", [False, True])
def test_a_column_without_a_value_breaches_nothing_and_crashes_nothing(column, is_dropped):
    runs = make_runs(60)
    runs = runs.drop(columns=column) if is_dropped else runs.assign(**{column: np.nan})
    for each in checks_of(runs).values():
        assert each.state != "breached"
        assert each.harm is None or math.isfinite(each.harm)
        each.to_dict()


@pytest.mark.parametrize("keep", ["model_a", "model_b", "nobody"])
def test_an_empty_arm_is_undecided(keep):
    runs = make_runs(60)
    checks = checks_of(runs[runs["variant"] == keep])
    assert {each.state for each in checks.values()} == {"undecided"}
    assert all(each.to_dict()["harm_bounds"] is None for each in checks.values())


@pytest.mark.parametrize("options", [{}, {"makespan": 1.2, "success": 0.8, "slower": 3.0}, {"n": 5}, {"makespan": 0.9}])
def test_messages_have_no_full_stop_since_they_are_joined_and_say_shares_in_percent(options):
    for each in checks_of(make_runs(**options)).values():
        assert not each.message.endswith(".")
        assert "nan" not in each.message
        assert "-0.0 %" not in each.message


# --- the error of a rate ---


@pytest.mark.parametrize("users", [60, 400])
def test_the_error_of_a_rate_is_that_of_a_cluster_bootstrap_or_a_little_more(users):
    rng = np.random.default_rng(8)
    counts = rng.integers(1, 30, users).astype(float)
    sums = rng.binomial(counts.astype(int), rng.beta(8, 2, users)).astype(float)
    draws = rng.integers(0, users, (4_000, users))
    resampled = sums[draws].sum(axis=1) / counts[draws].sum(axis=1)
    rate, error = rate_with_error(Totals(sums, counts))
    assert rate == sums.sum() / counts.sum()
    assert 0.97 < error / resampled.std() < 1.0 + 25.0 / users


def test_with_one_request_each_it_is_the_error_of_agresti_and_caffo():
    sums = np.array([1.0] * 45 + [0.0] * 5)
    smoothed = 46 / 52
    assert rate_with_error(Totals(sums, np.ones(50)))[1] == pytest.approx(math.sqrt(smoothed * (1 - smoothed) / 51))


def test_an_arm_without_a_failure_has_an_error():
    assert rate_with_error(Totals(np.full(50, 9.0), np.full(50, 9.0)))[1] == pytest.approx(1 / 52, rel=0.02)


def test_failures_that_gather_in_few_users_are_less_certain():
    spread = make_runs(200, success=0.9, per_user=25)
    gathered = spread.assign(success=spread["user_id"].str[1:].astype(int) % 20 != 1)  # all or nothing
    one, other = checks_of(spread)["success"], checks_of(gathered)["success"]
    assert other.harm == pytest.approx(one.harm, abs=0.02)
    assert other.high - other.low > 2.0 * (one.high - one.low)
