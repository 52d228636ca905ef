"""The bound that is valid after every value."""

import math

import numpy as np
import pytest

from scheduler_service.stats.sequential import lower_confidence_sequence

FIRST = 50
"""The bound is asymptotic; it is tested from this number of values on."""


def draws(name, rng, n):
    """n independent values with mean 0."""
    return {
        "normal": lambda: rng.normal(0.0, 1.0, n),
        "exponential": lambda: rng.exponential(1.0, n) - 1.0,
        "gaps": lambda: rng.beta(2.0, 18.0, n) - 0.1,
        "rare failures": lambda: np.where(rng.random(n) < 0.02, 1.0, rng.uniform(-0.1, 0.1, n)) - 0.02,
    }[name]()


@pytest.mark.parametrize("name", ["normal", "exponential", "gaps", "rare failures"])
def test_the_error_rate_of_looking_after_each_of_2000_values_is_at_most_alpha(name):
    rng = np.random.default_rng(1)
    wrong = sum((lower_confidence_sequence(draws(name, rng, 2_000))[FIRST - 1 :] > 0.0).any() for _ in range(600))
    assert wrong / 600 <= 0.05


def test_the_error_rate_of_the_ordinary_bound_is_far_higher():
    """The reason for the other bound: the same values and looks with the usual one-sided 95 % bound."""
    rng = np.random.default_rng(1)
    t = np.arange(1.0, 2_001.0)
    wrong = 0
    for _ in range(300):
        values = draws("normal", rng, 2_000)
        mean = np.cumsum(values) / t
        deviation = np.sqrt(np.cumsum(values**2) / t - mean**2)
        wrong += (mean - 1.645 * deviation / np.sqrt(t) > 0.0)[FIRST - 1 :].any()
    assert wrong / 300 > 0.2


@pytest.mark.parametrize(("effect", "within"), [(1.0, 60), (0.5, 150), (0.25, 500)])
def test_a_true_excess_is_found_early(effect, within):
    rng = np.random.default_rng(2)
    found = sum(
        (lower_confidence_sequence(rng.normal(effect, 1.0, within))[FIRST - 1 :] > 0.0).any() for _ in range(200)
    )
    assert found / 200 > 0.9


def test_each_bound_matches_the_published_formula_on_the_values_so_far():
    values = np.random.default_rng(3).gamma(2.0, 3.0, 300)
    bounds = lower_confidence_sequence(values, 0.02, tuned_for=100)
    r2 = (-2 * math.log(0.04) + math.log(1 - 2 * math.log(0.04))) / 100
    for t in (2, 50, 300):
        seen = values[:t]
        width = 2 * (t * r2 + 1) / (t**2 * r2) * math.log(1 + math.sqrt(t * r2 + 1) / 0.04)
        assert bounds[t - 1] == pytest.approx(seen.mean() - seen.std() * math.sqrt(width), rel=1e-9)


def test_the_bound_shifts_and_scales_with_the_values():
    values = np.random.default_rng(4).normal(0.0, 1.0, 200)
    bounds = lower_confidence_sequence(values)[1:]
    np.testing.assert_allclose(lower_confidence_sequence(values + 1e6)[1:], bounds + 1e6, rtol=1e-12)
    np.testing.assert_allclose(lower_confidence_sequence(3.0 * values)[1:], 3.0 * bounds, rtol=1e-9)


def test_without_variation_there_is_no_bound():
    assert (lower_confidence_sequence(np.full(100, 7.0)) == -np.inf).all()
    assert lower_confidence_sequence(np.array([])).size == 0
