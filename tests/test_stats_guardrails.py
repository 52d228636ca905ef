"""Guardrails: what breaches them, what does not, and their messages."""

import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from scheduler_service.stats.arms import FAILED_RATIO
from scheduler_service.stats.guardrails import DEFAULT_MARGINS, MIN_BASELINE_RUNS, UNNOTICED_S, check_guardrails


def make_runs(n=300, *, makespan=1.0, success=1.0, slower=1.0, base_s=0.2, seed=0, per_user=1):
    """`n` users per arm; of the candidate: factor on makespan, success rate, factor on execution time."""
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


def test_two_equal_models_keep_all_guardrails_with_enough_users():
    assert set(states_of(make_runs(2_000)).values()) == {"kept"}


@pytest.mark.parametrize(
    ("name", "users", "harm", "state"),
    [
        ("makespan", 300, {"makespan": 1.10}, "breached"),
        ("success", 300, {"success": 0.8}, "breached"),
        ("execution_time", 300, {"slower": 3.0}, "breached"),
        ("makespan", 2_000, {"makespan": 1.03}, "kept"),
        ("makespan", 2_000, {"makespan": 1.04, "success": 0.95}, "breached"),  # failures count as long makespans
        ("execution_time", 500, {"slower": 3.0, "base_s": 0.005}, "kept"),  # below 50 ms
    ],
)
def test_harm_beyond_the_margin_breaches_a_guardrail(name, users, harm, state):
    assert states_of(make_runs(users, **harm))[name] == state


@pytest.mark.parametrize(("name", "gain"), [("makespan", {"makespan": 0.9}), ("execution_time", {"slower": 0.3})])
def test_the_opposite_of_harm_keeps_a_guardrail(name, gain):
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


def test_the_harm_is_the_ratio_of_geometric_means_with_failures_at_twice_the_bound():
    runs = make_runs(1_000, makespan=1.1, success=0.9)
    lengths = runs["makespan"].fillna(FAILED_RATIO * runs["lower_bound"]) / runs["lower_bound"]
    a, b = (stats.gmean(lengths[runs["variant"] == arm]) for arm in ("model_a", "model_b"))
    assert checks_of(runs)["makespan"].harm == pytest.approx(b / a - 1, abs=0.005)


def test_bounds_include_the_harm_and_are_wider_for_a_smaller_alpha():
    runs = make_runs(300, makespan=1.04)
    for name, wide in checks_of(runs, alpha=0.001).items():
        narrow = checks_of(runs, alpha=0.05)[name]
        assert wide.low < narrow.low < narrow.harm < narrow.high < wide.high


def test_the_given_margins_are_used():
    runs = make_runs(500, makespan=1.1)
    assert states_of(runs, margins={"makespan": 0.3}) == {"makespan": "kept"}
    assert checks_of(runs, margins={}) == {}


def test_any_arm_can_be_the_candidate():
    runs = make_runs(300, makespan=1.1)
    runs["variant"] = runs["variant"].replace("model_b", "model_c")
    assert states_of(runs, candidate="model_c")["makespan"] == "breached"


# --- execution time ---


def test_a_threefold_time_is_breached_if_it_exceeds_50_ms():
    check = checks_of(make_runs(500, slower=3.0, base_s=UNNOTICED_S))["execution_time"]
    assert check.state == "breached"
    assert check.text.code == "guardrails.seen_slow"


def test_a_slower_candidate_within_the_tolerated_time_is_kept():
    check = checks_of(make_runs(2_000, slower=1.2))["execution_time"]
    assert (check.state, check.harm < 0.0) == ("kept", True)


def test_the_percentile_needs_enough_runs_of_the_baseline():
    runs = make_runs(MIN_BASELINE_RUNS - 1, slower=100.0)
    check = checks_of(runs)["execution_time"]
    assert (check.state, check.harm) == ("undecided", None)
    assert check.text.params == {"least": MIN_BASELINE_RUNS}
    assert states_of(make_runs(MIN_BASELINE_RUNS, slower=100.0))["execution_time"] == "breached"


def test_an_acceptable_mean_does_not_hide_a_slow_tail():
    runs = make_runs(1_000)
    slow = (runs["variant"] == "model_b") & (runs.index % 10 < 2)
    runs.loc[slow, "execution_time"] = 2.0
    assert states_of(runs)["execution_time"] == "breached"


def test_a_clock_that_measured_zero_causes_no_division_by_zero():
    assert states_of(make_runs(100).assign(execution_time=0.0))["execution_time"] in {"kept", "undecided"}


def test_a_fast_failure_is_not_a_fast_answer():
    runs = make_runs(500, slower=3.0, success=0.5)
    runs.loc[~runs["success"], "execution_time"] = 0.001
    assert states_of(runs)["execution_time"] == "breached"


# --- identical plants ---


def on_one_plant(users, hours):
    runs = make_runs(users).assign(lower_bound=50.0, success=True)
    runs["makespan"] = np.where(runs["variant"] == "model_b", hours, 55.0)
    return runs


def test_a_longer_candidate_is_stopped_when_everybody_sends_the_same_plant():
    check = checks_of(on_one_plant(200, 60.5))["makespan"]
    assert (check.state, check.harm) == ("breached", pytest.approx(0.1))
    assert (check.text.params["way"], check.text.params["by"]) == ("longer", pytest.approx(0.1))


@pytest.mark.parametrize("hours", [55.0, 57.0, 50.0])
def test_on_one_plant_nothing_within_the_margin_is_stopped(hours):
    assert states_of(on_one_plant(200, hours))["makespan"] != "breached"


def test_a_few_users_of_one_plant_stop_nothing():
    assert set(states_of(on_one_plant(5, 60.5)).values()) == {"undecided"}


# --- failures ---


@pytest.mark.parametrize("users", [12, 100])
def test_a_candidate_that_never_answers_is_stopped_by_a_dozen_users(users):
    states = states_of(make_runs(users, success=0.0))
    assert (states["success"], states["execution_time"]) == ("breached", "undecided")


def test_no_failure_so_far_is_no_proof_and_the_message_says_whether_one_is_possible():
    few, many = (checks_of(make_runs(users))["success"] for users in (25, 400))
    assert (few.state, few.is_within_reach) == ("undecided", False)
    assert (many.state, many.is_within_reach) == ("kept", True)


@pytest.mark.parametrize("name", ["makespan", "success"])
def test_the_users_needed_to_keep_a_guardrail_suffice_without_harm(name):
    runs = on_one_plant(400, 55.0)
    found = [checks_of(runs.head(n))[name] for n in range(40, 801, 40)]
    assert [each.is_within_reach for each in found] == [each.state == "kept" for each in found]
    assert {each.state for each in found} == {"kept", "undecided"}


@pytest.mark.parametrize("share", [0.05, 0.5])
def test_harm_in_success_is_between_the_possible_shares(share):
    rng = np.random.default_rng(3)
    split = {"model_a": 1.0 - share, "model_b": share}
    for success in (0.0, 0.5, 1.0):
        runs = make_runs(30, success=success)
        runs["variant"] = np.where(rng.random(60) < share, "model_b", "model_a")
        runs.loc[[0, 1], "variant"] = ["model_a", "model_b"]
        check = checks_of(runs, split=split)["success"]
        assert -1.0 <= check.low <= check.harm <= check.high <= 1.0


# --- missing data ---


@pytest.mark.parametrize("column", ["makespan", "lower_bound", "execution_time"])
@pytest.mark.parametrize("is_dropped", [False, True])
def test_a_column_without_values_breaches_nothing_and_does_not_crash(column, is_dropped):
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
def test_messages_have_no_full_stop_and_give_shares_in_percent(options):
    for each in checks_of(make_runs(**options)).values():
        assert not each.message.endswith(".")
        assert "nan" not in each.message
        assert "-0.0 %" not in each.message


# --- users ---


def test_failures_concentrated_in_few_users_have_wider_bounds():
    spread = make_runs(200, success=0.9, per_user=25)
    gathered = spread.assign(success=spread["user_id"].str[1:].astype(int) % 20 != 1)  # each user fails always or never
    one, other = checks_of(spread)["success"], checks_of(gathered)["success"]
    assert other.harm == pytest.approx(one.harm, abs=0.02)
    assert other.high - other.low > 1.2 * (one.high - one.low)


def test_columns_of_any_type_are_accepted():
    runs = make_runs(150, makespan=1.1, success=0.9, slower=2.0).assign(reason="assigned")
    runs.loc[::17, "execution_time"] = np.nan
    expected = [each.to_dict() for each in checks_of(runs).values()]
    for other in (runs.convert_dtypes(), runs.astype(object).where(runs.notna(), None)):
        assert [each.to_dict() for each in checks_of(other).values()] == expected


# --- with shadow pairs ---


def pairs_of(n, *, longer=1.0, failing=0.0, seed=0):
    rng = np.random.default_rng(seed)
    bound = rng.uniform(30.0, 120.0, n)
    done = rng.random(n) >= failing
    return pd.DataFrame(
        {
            "user_id": [f"p{number}" for number in range(n)],
            "makespan_a": bound * 1.1,
            "makespan_b": np.where(done, bound * 1.1 * longer * rng.uniform(0.99, 1.01, n), np.nan),
            "success_a": True,
            "success_b": done,
            "lower_bound": bound,
        }
    )


def test_pairs_can_keep_what_few_users_cannot_and_the_message_names_them():
    checks = checks_of(make_runs(20), pairs=pairs_of(400))
    assert {name: checks[name].state for name in ("makespan", "success")} == {"makespan": "kept", "success": "kept"}
    assert checks["makespan"].text.code == "guardrails.on_pairs"
    assert checks["execution_time"].state == "undecided"


@pytest.mark.parametrize(
    ("name", "live", "shadow"),
    [
        ("makespan", {"makespan": 1.3}, {}),
        ("makespan", {}, {"longer": 1.3}),
        ("success", {"success": 0.5}, {}),
        ("success", {}, {"failing": 0.5}),
    ],
)
def test_a_breach_in_pairs_or_live_runs_is_a_breach(name, live, shadow):
    assert states_of(make_runs(300, **live), pairs=pairs_of(300, **shadow))[name] == "breached"


def test_pairs_use_half_of_the_error_of_the_live_test():
    runs = make_runs(300)
    margins = {"makespan": 0.05}
    alone = check_guardrails(runs, margins, "model_a", "model_b", 0.025)[0]
    assert checks_of(runs, margins=margins, pairs=pairs_of(3))["makespan"].low == alone.low
    assert checks_of(runs, margins=margins, pairs=pairs_of(0))["makespan"].low > alone.low
