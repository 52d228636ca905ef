"""However often one looks: verdicts and guardrails on simulated experiments in which nothing is better or worse.

Kept short; `python -m benchmarks.experiments` does the same at full size.
"""

import math

import numpy as np
import pandas as pd
import pytest

from scheduler_service.stats.comparison import compare_arms
from scheduler_service.stats.effect import LEAST_USERS, effect_of_arms, effect_of_pairs
from scheduler_service.stats.guardrails import check_guardrails
from scheduler_service.stats.metrics import METRICS
from scheduler_service.stats.outcome import NotComputable
from scheduler_service.stats.verdict import judge, word_for

MAKESPAN = METRICS["makespan"]
ALPHA = 0.05


def at_most(alpha, experiments):
    """Three standard errors above alpha."""
    return alpha + 3 * math.sqrt(alpha * (1 - alpha) / experiments)


def is_wrong(effect):
    return not isinstance(effect, NotComputable) and word_for(effect, 0.05) in {"better", "worse"}


def population(name, rng, n):
    """log makespan, log lower bound."""
    if name == "one size":
        bound = rng.normal(4.0, 0.15, n)
        return bound + rng.normal(0.1, 0.05, n), bound
    if name == "skewed sizes":
        bound = np.log(50.0 * rng.choice(5, n, p=[0.5, 0.25, 0.12, 0.08, 0.05]) + 50.0) + rng.normal(0, 0.1, n)
        return bound + rng.gamma(1.5, 0.04, n), bound
    bound = rng.normal(4.0, 1.0, n)
    return bound + np.where(rng.random(n) < 0.02, math.log(2), rng.exponential(0.05, n)), bound


@pytest.mark.parametrize("name", ["one size", "skewed sizes", "rare failures"])
def test_a_verdict_looked_at_after_every_20_users_is_wrong_as_seldom_as_promised(name):
    rng = np.random.default_rng(5)
    experiments, wrong = 80, 0
    for _ in range(experiments):
        y, x = population(name, rng, 600)
        is_b = rng.random(600) < 0.5
        ever = False
        for seen in range(60, 601, 20):
            a, b = ~is_b[:seen], is_b[:seen]
            sides, covariates = (y[:seen][a], y[:seen][b]), (x[:seen][a], x[:seen][b])
            ever |= is_wrong(effect_of_arms(*sides, covariates, MAKESPAN, ALPHA))
        wrong += ever
    assert wrong / experiments <= at_most(ALPHA, experiments)


def test_pairs_looked_at_after_every_20_are_wrong_as_seldom_as_promised():
    rng = np.random.default_rng(6)
    wrong = 0
    for _ in range(150):
        a = rng.normal(4, 0.5, 600)
        b = a + rng.gamma(1.0, 0.05, 600) - 0.05
        wrong += any(is_wrong(effect_of_pairs(a[:n], b[:n], MAKESPAN, ALPHA)) for n in range(40, 601, 20))
    assert wrong / 150 <= at_most(ALPHA, 150)


def few_users(rng, n_users, requests=50):
    user = rng.permutation(np.repeat(np.arange(n_users), requests))
    size = rng.normal(4.0, 0.5, n_users)[user] + rng.normal(0.0, 0.1, user.size)
    excess = rng.normal(0.08, 0.06, n_users)[user] + rng.normal(0.0, 0.06, user.size)
    return pd.DataFrame(
        {
            "variant": np.where((rng.permutation(n_users) % 2 == 1)[user], "model_b", "model_a"),
            "user_id": user,
            "success": True,
            "makespan": np.exp(size + excess),
            "lower_bound": np.exp(size),
        }
    )


def words_on(runs, looks):
    for seen in looks:
        part = runs.iloc[:seen]
        yield judge(part, compare_arms(part, "makespan", min_samples=2), 0.05, 1.0).word


def test_80_users_with_50_requests_each_are_not_taken_for_4000():
    rng = np.random.default_rng(8)
    wrong = sum(not {"better", "worse"}.isdisjoint(words_on(few_users(rng, 80), (1_000, 4_000))) for _ in range(15))
    assert wrong / 15 <= at_most(ALPHA, 15)


def test_40_users_in_all_are_too_few_for_any_verdict():
    assert LEAST_USERS > 20
    assert set(words_on(few_users(np.random.default_rng(9), 40), [200, 2_000])) == {"invalid"}


def test_the_bounds_cover_a_true_effect_at_all_looks_together():
    rng = np.random.default_rng(10)
    truth, missed = 0.04, 0
    for _ in range(80):
        y, x = population("skewed sizes", rng, 600)
        y[1::2] += math.log(1 - truth)
        effects = (effect_of_arms(y[:n:2], y[1:n:2], (x[:n:2], x[1:n:2]), MAKESPAN, ALPHA) for n in range(60, 601, 20))
        missed += any(not effect.low <= truth <= effect.high for effect in effects)
    assert missed / 80 <= at_most(ALPHA, 80)


def test_guardrails_at_exactly_their_margins_are_breached_as_seldom_as_promised():
    rng = np.random.default_rng(11)
    experiments, breached = 25, 0
    for _ in range(experiments):
        bound = rng.lognormal(4.0, 0.4, 600)
        is_b = rng.random(600) < 0.5
        runs = pd.DataFrame(
            {
                "variant": np.where(is_b, "model_b", "model_a"),
                "user_id": np.arange(600),
                "success": True,
                "makespan": bound * np.exp(rng.gamma(1.5, 0.04, 600)) * np.where(is_b, 1.05, 1.0),
                "lower_bound": bound,
                "execution_time": rng.gamma(2.0, 0.1, 600) * np.where(is_b, 1.5, 1.0),
            }
        )
        margins = {"makespan": 0.05, "execution_time": 0.5}
        breached += any(
            each.state == "breached"
            for seen in range(200, 601, 200)
            for each in check_guardrails(runs.iloc[:seen], margins, "model_a", "model_b")
        )
    assert breached / experiments <= at_most(ALPHA, experiments)
