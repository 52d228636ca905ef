"""The benchmark's fast paths decide at each look as the service's own functions do."""

import numpy as np
import pytest

from benchmarks.experiments.bets import (
    NEVER,
    first_alarms,
    first_alarms_of_pairs,
    first_alarms_of_returning,
    first_alarms_of_returning_pairs,
    first_of,
    renumbered,
)
from benchmarks.experiments.checks import ALPHA, frame, pair_frame, speaks
from benchmarks.experiments.errors import ENOUGH, values_of
from benchmarks.experiments.populations import LOG_FAILED, Population, Requests, skewed
from scheduler_service.stats.pairs import judge_pairs

SHARE = 0.3


def first_that(speaks_after, looks):
    return next((seen for seen in looks if speaks_after(seen)), NEVER)


def requests_of(rng, in_b, user=None):
    """The candidate's makespans are 25 % longer, and 3 % of the requests fail in both arms."""
    population = Population("", skewed, 0.03)
    drawn = population.draw(rng, in_b.size) if user is None else population.draw_returning(rng, user)
    return Requests(drawn.bound, drawn.excess + 0.25 * in_b, drawn.success)


@pytest.mark.parametrize("metric", ["makespan", "success", "gap"])
def test_users_of_two_arms_are_decided_at_the_same_look(metric):
    decided = 0
    for seed in range(4):
        rng = np.random.default_rng(seed)
        in_b = rng.random(160) < SHARE
        requests, share = requests_of(rng, in_b), np.full(160, SHARE)
        y, limits, counts = values_of(requests, metric)
        runs = frame(requests, in_b, share)
        at = first_of(first_alarms(y[counts], in_b[counts], share[counts], limits, (ENOUGH, ENOUGH)))
        at = at if at == NEVER else int(np.flatnonzero(counts)[at - 1]) + 1
        both = 1 + max(int(np.argmax(in_b)), int(np.argmin(in_b)))
        looks = range(both, 161) if at != NEVER else range(160, both, -4)  # some of them, where none decides
        assert at == first_that(lambda seen, runs=runs: speaks(runs.iloc[:seen], metric), looks)
        decided += at != NEVER
    assert decided >= 3 or metric == "success"


def test_users_who_return_are_decided_at_the_same_look():
    decided = 0
    for seed in range(3):
        rng = np.random.default_rng(seed)
        user, known = renumbered(rng.integers(0, 60, 240))
        in_b = rng.random(known.size) < SHARE
        requests = requests_of(rng, in_b[user], user)
        y, limits, _ = values_of(requests, "makespan")
        runs = frame(requests, in_b[user], np.full(240, SHARE), user)
        looked = first_alarms_of_returning(user, y, in_b, np.full(known.size, SHARE), limits, ENOUGH, 5)
        looks = [seen for seen in range(5, 241, 5) if len(set(in_b[user[:seen]])) == 2]
        assert first_of(looked) == first_that(lambda seen, runs=runs: speaks(runs.iloc[:seen], "makespan"), looks)
        decided += first_of(looked) != NEVER
    assert decided


@pytest.mark.parametrize("is_returning", [False, True])
def test_pairs_are_decided_at_the_same_look(is_returning):
    rng = np.random.default_rng(1)
    user = renumbered(rng.integers(0, 80, 240))[0] if is_returning else np.arange(240)
    d = rng.normal(0.08, 0.1, 240)
    if is_returning:
        at = first_of(first_alarms_of_returning_pairs(user, d, LOG_FAILED, ENOUGH, 1))
    else:
        at = first_of(first_alarms_of_pairs(np.clip(d, -LOG_FAILED, LOG_FAILED), LOG_FAILED, (ENOUGH, ENOUGH)))
    pairs = pair_frame(d, user)

    def word(seen):
        return judge_pairs(pairs.iloc[:seen], margin=0.05, alpha=ALPHA).word

    assert at != NEVER
    assert at == first_that(lambda seen: word(seen) == "worse", range(1, 241))
