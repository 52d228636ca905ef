"""Error rates under repeated looks: verdicts and guardrails on simulated experiments without a difference.

Kept short, through the functions of the service; `tests/test_stats_betting.py` looks after every user, and
`python -m benchmarks.experiments` simulates at full size.
"""

import math

import numpy as np
import pandas as pd
import pytest

from scheduler_service.stats.arms import UserValues
from scheduler_service.stats.comparison import compare_arms
from scheduler_service.stats.effect import effect_of_arms
from scheduler_service.stats.guardrails import check_guardrails
from scheduler_service.stats.metrics import METRICS
from scheduler_service.stats.verdict import judge

MAKESPAN = METRICS["makespan"]
ALPHA = 0.05


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


def words_on(runs, looks, split=None):
    for seen in looks:
        part = runs.iloc[:seen]
        yield judge(part, compare_arms(part, "makespan", min_samples=2, split=split), 0.05).word


@pytest.mark.parametrize("users", [12, 40, 80])
def test_few_users_with_50_requests_each_are_not_treated_as_many(users):
    """They return repeatedly and their means change; nothing is proved about the looks in between."""
    rng = np.random.default_rng(8)
    looks = (users, 5 * users, 20 * users, 50 * users)
    wrong = sum(not {"better", "worse"}.isdisjoint(words_on(few_users(rng, users), looks)) for _ in range(12))
    assert wrong == 0  # of 12


def drifting(rng, n=500):
    """Equal models; the split is changed halfway, and later users have harder plants."""
    share = np.repeat([0.1, 0.5], n // 2)
    bound = rng.lognormal(4.0, 0.4, n)
    excess = np.where(share < 0.3, 0.05, 0.15) + rng.uniform(0.0, 0.1, n)
    return pd.DataFrame(
        {
            "variant": np.where(rng.random(n) < share, "model_b", "model_a"),
            "user_id": np.arange(n),
            "success": True,
            "makespan": bound * np.exp(excess),
            "lower_bound": bound,
            "split": np.where(share < 0.3, "0.9/0.1", "0.5/0.5"),
        }
    )


def test_a_split_changed_by_hand_while_the_plants_change_causes_no_verdict():
    rng = np.random.default_rng(12)
    now = {"model_a": 0.5, "model_b": 0.5}
    words = [set(words_on(drifting(rng), (250, 375, 500), now)) for _ in range(10)]
    assert sum(not {"better", "worse"}.isdisjoint(each) for each in words) == 0  # of 10
    unaware = [set(words_on(drifting(rng).drop(columns="split"), (500,))) for _ in range(5)]
    assert unaware == [{"worse"}] * 5  # the result with one share for the whole time


def test_the_bounds_cover_a_true_effect_at_all_looks_together():
    rng = np.random.default_rng(10)
    truth, missed = 0.04, 0
    for _ in range(60):
        is_b = rng.random(600) < 0.3
        y = 0.1 + rng.gamma(1.5, 0.04, 600).clip(0.0, 0.5) + math.log(1 - truth) * is_b
        seen = (UserValues(y[:n], (0.0, math.log(2.0)), is_b[:n], np.full(n, 0.3), None) for n in range(60, 601, 60))
        effects = [effect_of_arms(each, MAKESPAN, ALPHA) for each in seen]
        missed += any(not effect.low <= truth <= effect.high for effect in effects)
    assert missed / 60 <= ALPHA


@pytest.mark.parametrize("margins", [{"makespan": 0.05, "execution_time": 0.5}, {"success": 0.05}])
def test_guardrails_exactly_at_their_margins_are_breached_with_at_most_the_stated_rate(margins):
    rng = np.random.default_rng(11)
    experiments, breached = 15, 0
    for _ in range(experiments):
        bound = rng.lognormal(4.0, 0.4, 600)
        is_b = rng.random(600) < 0.5
        runs = pd.DataFrame(
            {
                "variant": np.where(is_b, "model_b", "model_a"),
                "user_id": np.arange(600),
                "success": rng.random(600) < np.where(is_b, 0.94, 0.99) if "success" in margins else True,
                "makespan": bound * np.exp(rng.gamma(1.5, 0.04, 600)) * np.where(is_b, 1.05, 1.0),
                "lower_bound": bound,
                "execution_time": rng.gamma(2.0, 0.1, 600) * np.where(is_b, 1.5, 1.0),
            }
        )
        breached += any(
            each.state == "breached"
            for seen in range(200, 601, 200)
            for each in check_guardrails(runs.iloc[:seen], margins, "model_a", "model_b")
        )
    assert breached == 0  # of 15
