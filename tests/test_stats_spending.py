"""One error budget for all replays of the same two models, however many samples are tried."""

from itertools import pairwise

import numpy as np
import pandas as pd
import pytest

from scheduler_service.stats.pairs import judge_pairs
from scheduler_service.stats.spending import replay_alpha


def no_difference(random: np.random.Generator, users: int = 12) -> pd.DataFrame:
    """A replay of two models; in each pair, one or the other takes twice as long: the largest variation."""
    longer = random.random(users) < 0.5
    return pd.DataFrame(
        {
            "user_id": [f"u{number}" for number in range(users)],
            "key_a": "A",
            "key_b": "B",
            "makespan_a": 10.0,
            "makespan_b": np.where(longer, 20.0, 5.0),
            "success_a": True,
            "success_b": True,
            "lower_bound": 5.0,
        }
    )


def wrong_ever(alphas: list[float], *, repetitions: int, seed: int) -> int:
    """For each alpha, the number of repetitions in which some replay without a difference reports one."""
    random, wrong = np.random.default_rng(seed), 0
    for _ in range(repetitions):
        words = (judge_pairs(no_difference(random), margin=0.05, alpha=alpha).word for alpha in alphas)
        wrong += any(word in ("better", "worse") for word in words)
    return wrong


def test_the_shares_sum_to_the_whole_for_any_number_of_replays():
    shares = [replay_alpha(0.05, number) for number in range(1, 1_001)]
    assert shares[:3] == pytest.approx([0.025, 0.05 / 6, 0.05 / 12])
    assert sum(shares) == pytest.approx(0.05 * (1.0 - 1.0 / 1_001.0))
    assert all(late < early for early, late in pairwise(shares))


def test_the_error_rate_of_the_best_of_20_replays_is_far_below_1_in_20():
    alphas = [replay_alpha(0.05, number) for number in range(1, 21)]
    assert wrong_ever(alphas, repetitions=30, seed=11) == 0


def test_without_shares_the_error_rate_of_20_replays_is_higher():
    alpha = 0.5
    shares = [replay_alpha(alpha, number) for number in range(1, 21)]
    shared, whole = (wrong_ever(alphas, repetitions=15, seed=12) for alphas in (shares, [alpha] * 20))
    assert shared + 2 <= whole


def test_a_real_difference_is_found_by_a_late_replay():
    better = no_difference(np.random.default_rng(13), users=400).assign(makespan_b=7.0)
    assert judge_pairs(better, margin=0.05, alpha=replay_alpha(0.05, 30)).word == "better"
