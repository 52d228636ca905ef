"""Several tests at once, what could have been found, and how long it takes: against statsmodels and simulation."""

import math

import numpy as np
import pandas as pd
import pytest
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.power import NormalIndPower, TTestIndPower

from scheduler_service.stats.effect import TUNED_FOR, effect_of_arms
from scheduler_service.stats.holm import holm
from scheduler_service.stats.metrics import METRICS
from scheduler_service.stats.power import minimum_detectable_effect, units_needed
from scheduler_service.stats.secondary import secondary
from scheduler_service.stats.sequential import boundary

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


@pytest.mark.parametrize(("difference", "deviation"), [(0.01, 0.1), (-0.05, 0.2), (0.3, 0.2), (2.0, 0.1)])
def test_the_units_needed_are_the_first_whose_bound_excludes_zero(difference, deviation):
    n = units_needed(difference, deviation, 0.05, TUNED_FOR)
    widths = [
        boundary(np.array([float(units)]), 0.05, TUNED_FOR, sides=2)[0] * deviation / math.sqrt(units)
        for units in (n, max(1, n - 1))
    ]
    assert widths[0] < abs(difference)
    assert n == 1 or widths[1] >= abs(difference)


def test_more_alpha_a_larger_difference_and_less_noise_need_fewer_units():
    least = units_needed(0.02, 0.1, 0.05, TUNED_FOR)
    assert least < units_needed(0.02, 0.1, 0.01, TUNED_FOR)
    assert least < units_needed(0.01, 0.1, 0.05, TUNED_FOR)
    assert least < units_needed(0.02, 0.2, 0.05, TUNED_FOR)


def test_no_difference_is_never_found():
    assert units_needed(0.0, 0.1, 0.05, TUNED_FOR, most=10**6) == 10**6


def test_half_of_the_experiments_have_their_verdict_by_about_the_units_needed():
    """The projection goes by the difference seen; at the true difference it is about the median of the waiting time."""
    rng = np.random.default_rng(3)
    needed = units_needed(0.05, 0.4, 0.05, TUNED_FOR)  # deviation 2 sd: two arms of half the users
    early = 0
    for _ in range(100):
        y = rng.normal(4.0, 0.2, 2 * needed)
        y[1::2] -= 0.05
        looks = range(100, needed, 50)
        early += any(
            effect_of_arms(y[:seen:2], y[1:seen:2], None, METRICS["makespan"], 0.05).low > 0.0 for seen in looks
        )
    assert 0.35 < early / 100 < 0.75


# --- the boundary ---


@pytest.mark.parametrize(("alpha", "n"), [(0.05, 30), (0.01, 400), (0.2, 10_000)])
def test_the_boundary_is_the_published_formula(alpha, n):
    def width(sides):
        log_a = -2 * math.log(alpha * (1 if sides == 2 else 2))
        t = n * (log_a + math.log(log_a + 1)) / TUNED_FOR
        inner = math.log(math.sqrt(t + 1) / alpha) if sides == 2 else math.log(1 + math.sqrt(t + 1) / (2 * alpha))
        return math.sqrt(2 * (t + 1) / t * inner)

    for sides in (1, 2):
        assert boundary(np.array([float(n)]), alpha, TUNED_FOR, sides=sides)[0] == pytest.approx(width(sides))


def test_the_boundary_is_wider_than_any_single_look_and_two_sides_wider_than_one():
    n = np.arange(1.0, 5_000.0)
    two, one = (boundary(n, 0.05, TUNED_FOR, sides=sides) for sides in (2, 1))
    assert (two > one).all()
    assert (two > 1.96).all()
    assert (one > 1.645).all()


def test_the_bounds_are_tightest_near_the_number_they_are_tuned_for():
    n = np.array([float(TUNED_FOR)])
    at = boundary(n, 0.05, TUNED_FOR, sides=2)[0]
    others = [boundary(n, 0.05, tuned_for, sides=2)[0] for tuned_for in range(20, 4_000, 20)]
    assert at == pytest.approx(min(others), rel=0.01)
