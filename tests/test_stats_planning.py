"""Several tests at once, what could have been found, and how long it takes: against statsmodels and simulation."""

import math

import numpy as np
import pandas as pd
import pytest
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.power import NormalIndPower, TTestIndPower

from scheduler_service.stats.arms import UserValues
from scheduler_service.stats.effect import difference_of_arms, effect_of_arms, effect_of_pairs
from scheduler_service.stats.holm import holm
from scheduler_service.stats.metrics import METRICS
from scheduler_service.stats.power import Forecast, detectable_improvement, minimum_detectable_effect
from scheduler_service.stats.secondary import secondary

# --- Holm ---


@pytest.mark.parametrize("seed", range(5))
def test_holm_agrees_with_statsmodels(seed):
    p_values = {f"m{index}": p for index, p in enumerate(np.random.default_rng(seed).beta(0.4, 2.0, 6))}
    oracle = multipletests(list(p_values.values()), method="holm")[1]
    assert holm(p_values) == pytest.approx(dict(zip(p_values, oracle, strict=True)))


def test_equal_p_values_nothing_and_a_single_one_are_corrected_as_they_should_be():
    assert holm({}) == {}
    assert holm({"gap": 0.04}) == {"gap": 0.04}
    assert holm({"a": 0.02, "b": 0.02, "c": 0.9}) == pytest.approx({"a": 0.06, "b": 0.06, "c": 0.9})


def secondary_runs(seed=0, n=200, worse=0.0):
    rng = np.random.default_rng(seed)
    is_b = np.arange(2 * n) % 2 == 1
    return pd.DataFrame(
        {
            "variant": np.where(is_b, "model_b", "model_a"),
            "user_id": range(2 * n),
            "success": rng.random(2 * n) < 0.9,
            "makespan": rng.normal(50, 5, 2 * n),
            "execution_time": rng.gamma(4, 0.01, 2 * n) * (1 + worse * is_b),
            "gap": rng.random(2 * n),
            "resource_utilization": rng.random(2 * n),
            "user_satisfaction": np.nan,
        }
    )


def test_secondary_metrics_are_all_but_the_one_that_is_judged_and_those_never_recorded():
    runs = secondary_runs().drop(columns="gap")
    assert set(secondary(runs, "makespan", "model_b")) == set(METRICS) - {"makespan", "gap", "policy_makespan"}
    assert "success" not in secondary(runs, "success_rate", "model_b")


def test_a_secondary_metric_without_a_value_has_a_reason_and_does_not_count_for_holm():
    told = secondary(secondary_runs(), "makespan", "model_b")
    empty = told.pop("user_satisfaction")
    assert (empty["p_value"], empty["p_value_holm"], empty["reason"]["code"]) == (None, None, "no_data")
    oracle = multipletests([each["p_value"] for each in told.values()], method="holm")[1]
    assert [each["p_value_holm"] for each in told.values()] == pytest.approx(list(oracle))


def test_a_worse_secondary_metric_is_negative_and_significant():
    told = secondary(secondary_runs(worse=0.5), "makespan", "model_b")["execution_time"]
    assert told["improvement_percentage"] < 0
    assert told["is_significant"]


def test_secondary_metrics_together_cry_wolf_as_seldom_as_alpha_says():
    experiments = 20
    wrong = sum(
        any(each["is_significant"] for each in secondary(secondary_runs(seed, 40), "makespan", "model_b").values())
        for seed in range(experiments)
    )
    assert wrong / experiments <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / experiments)


# --- power ---


@pytest.mark.parametrize(("alpha", "power", "n"), [(0.05, 0.8, 100), (0.01, 0.9, 40), (0.025, 0.8, 5_000)])
def test_the_detectable_effect_agrees_with_statsmodels(alpha, power, n):
    oracle = NormalIndPower().solve_power(nobs1=n, alpha=alpha, power=power)
    assert minimum_detectable_effect(math.sqrt(2 / n), alpha, power) == pytest.approx(oracle, rel=1e-4)
    with_t = TTestIndPower().solve_power(nobs1=n, alpha=alpha, power=power)
    assert minimum_detectable_effect(math.sqrt(2 / n), alpha, power) == pytest.approx(with_t, rel=0.04)


def test_an_effect_of_the_detectable_size_is_found_four_times_in_five():
    rng = np.random.default_rng(2)
    n, experiments = 200, 4_000
    error = math.sqrt(2 / n)
    difference = rng.normal(minimum_detectable_effect(error), error, experiments)
    assert np.mean(np.abs(difference) > 1.959964 * error) == pytest.approx(0.8, abs=0.02)


@pytest.mark.parametrize("metric", [METRICS["makespan"], METRICS["gap"], METRICS["success"]])
def test_a_detectable_improvement_is_positive_whichever_way_the_metric_points_and_none_where_nothing_varies(metric):
    assert detectable_improvement(0.01, 0.05, metric) == pytest.approx(minimum_detectable_effect(0.01), rel=0.02)
    assert detectable_improvement(0.0, 0.05, metric) is None


# --- how many users the bounds take ---

LIMITS = (0.0, math.log(2.0))
MAKESPAN = METRICS["makespan"]


def forecast(power=0.5, alpha=0.05, spread=0.06, seed=4):
    y = np.random.default_rng(seed).uniform(0.2 - spread, 0.2 + spread, 500)
    return Forecast(y, LIMITS, MAKESPAN, alpha, power)


def found(planned, users, improvement, share, experiments=150, looks=1):
    """Share of simulated experiments whose bounds exclude no difference after so many users, or at a look before."""
    rng = np.random.default_rng(5)
    better = 0
    for _ in range(experiments):
        is_b = rng.random(users) < share
        y = rng.choice(planned.y, users) + math.log1p(-improvement) * is_b
        for seen in np.linspace(users / looks, users, looks).astype(int):
            drawn = UserValues(y[:seen], LIMITS, is_b[:seen], np.full(seen, share), None)
            effect = effect_of_arms(drawn, MAKESPAN, planned.alpha)
            if effect.low > 0.0:
                better += 1
                break
    return better / experiments


@pytest.mark.parametrize(("improvement", "share"), [(0.03, 0.5), (0.05, 0.1)])
def test_as_many_experiments_as_the_power_says_find_the_effect_with_the_users_needed(improvement, share):
    for power, least, most in ((0.5, 0.4, 0.75), (0.8, 0.75, 0.95)):
        planned = forecast(power)
        users = planned.users_needed(improvement, share)
        assert least < found(planned, users, improvement, share, 120) < most


def test_pairs_take_fewer_users_and_as_many_as_planned_are_enough():
    planned = forecast(0.8)
    users = planned.pairs_needed(0.03)
    assert users < planned.users_needed(0.03, 0.5)
    rng = np.random.default_rng(6)
    better = 0
    for _ in range(200):
        a, noise = rng.choice(planned.y, users), rng.choice(planned.y, users) - planned.y.mean()
        better += effect_of_pairs(a, a + noise + math.log1p(-0.03), MAKESPAN, planned.alpha).low > 0.0
    assert 0.7 < better / 200 < 0.95


def test_more_alpha_a_larger_difference_less_noise_and_an_even_split_need_fewer_users():
    least = forecast().users_needed(0.02, 0.5)
    assert least < forecast(alpha=0.01).users_needed(0.02, 0.5)
    assert least < forecast().users_needed(0.01, 0.5)
    assert least < forecast(spread=0.12).users_needed(0.02, 0.5)
    assert least < forecast(power=0.8).users_needed(0.02, 0.5)
    assert least < forecast().users_needed(0.02, 0.1)
    assert least < forecast().users_needed(0.02, 0.9)


def test_no_difference_is_never_found_and_a_margin_is_told_from_none():
    planned = forecast()
    assert planned.users_needed(0.0, 0.5) is None
    assert planned.users_needed(0.0, 0.5, supposed=-0.05) < planned.users_needed(0.0, 0.5, supposed=-0.02)
    assert planned.pairs_needed(0.0) is None
    assert planned.pairs_needed(0.0, supposed=-0.05) < planned.pairs_needed(0.0, supposed=-0.02)


@pytest.mark.parametrize("name", ["makespan", "gap", "success", "resource_utilization", "execution_time"])
def test_what_is_detectable_with_the_users_needed_is_the_effect_whatever_the_metric(name):
    metric = METRICS[name]
    rng = np.random.default_rng(7)
    y = rng.beta(4.0, 6.0, 300) if metric.limits == (0.0, 1.0) else rng.uniform(0.1, 0.3, 300)
    planned = Forecast(y, LIMITS if name == "makespan" else metric.limits, metric, 0.05, 0.8)
    users = planned.users_needed(0.04, 0.3)
    assert planned.detectable(users, 0.3) == pytest.approx(0.04, rel=0.01)
    assert planned.detectable(2 * users, 0.3) < 0.04 < planned.detectable(users // 2, 0.3)
    assert planned.detectable(2, 0.3) is None
    if name == "makespan":
        assert planned.detectable_in_pairs(planned.pairs_needed(0.04)) == pytest.approx(0.04, rel=0.01)


def test_half_of_the_experiments_have_their_verdict_by_about_the_users_needed():
    """Looks before the end only add to the chance."""
    planned = forecast(0.5)
    users = planned.users_needed(0.04, 0.5)
    assert 0.4 < found(planned, users, 0.04, 0.5, 60, looks=5) < 0.8


def test_the_users_that_an_experiment_still_needs_are_those_of_more_of_the_same():
    rng = np.random.default_rng(8)
    is_b = rng.random(150) < 0.5
    y = rng.uniform(0.1, 0.3, 150) - 0.03 * is_b
    evidence = difference_of_arms(UserValues(y, LIMITS, is_b, np.full(150, 0.5), None))
    needed = evidence.needed(0.025)
    assert evidence.needed(0.025, errors=-1.0) < needed < evidence.needed(0.025, errors=0.5)
    copies = math.ceil(needed / 150) + 1
    more = difference_of_arms(
        UserValues(np.tile(y, copies), LIMITS, np.tile(is_b, copies), np.full(150 * copies, 0.5), None)
    )
    assert more.high(0.025) < 0.0
    assert evidence.high(0.025) > 0.0
