"""Betting bounds compared with a plain implementation, the package confseq, and simulations with frequent looks."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler_service.stats.arms import FAILED_RATIO, UserValues
from scheduler_service.stats.betting import PRIOR, STAKES, log_capital, nearest_excluded, values_needed
from scheduler_service.stats.effect import (
    MAX_RATIO,
    difference_of_arms,
    difference_of_pairs,
    effect_of_arms,
    effect_of_pairs,
    ratio_of_arms,
)
from scheduler_service.stats.metrics import METRICS
from tests.properties import examples

ALPHA = 0.05
FAILED = math.log(FAILED_RATIO)
MAKESPAN, GAP, SUCCESS = METRICS["makespan"], METRICS["gap"], METRICS["success"]


def running(above, room):
    """Logarithm of the capital after each value; the last axis is time."""
    each = np.log(1.0 + STAKES[:, None] * (above / room - 1.0)[..., None, :]).cumsum(axis=-1)
    return np.log((PRIOR[:, None] * np.exp(each)).sum(axis=-2))


def is_ever_wrong(evidence, truth=0.0):
    """Whether the truth is excluded after any user, two-sided."""
    terms = evidence.terms_at(truth)
    return any(running(*terms.bet_on(side)).max() >= math.log(2.0 / ALPHA) for side in ("above", "below"))


def users_of(y, is_candidate, share, limits=(0.0, FAILED)):
    y = np.asarray(y, float)
    return UserValues(y, limits, np.asarray(is_candidate, bool), np.broadcast_to(share, y.shape).astype(float), None)


def excess(rng, n, failing=0.02):
    """Log of makespan over lower bound, of n users."""
    return np.where(rng.random(n) < failing, FAILED, np.minimum(rng.gamma(1.5, 0.05, n), FAILED))


def random_users(seed=0, n=60, share=0.3, limits=(0.0, FAILED)):
    rng = np.random.default_rng(seed)
    return users_of(excess(rng, n), rng.random(n) < share, share, limits)


# --- the capital ---


def test_the_capital_is_the_prior_weighted_sum_of_products():
    rng = np.random.default_rng(1)
    room = rng.uniform(0.5, 2.0, 80)
    above = rng.uniform(0.0, 2.5, 80)
    capital = sum(
        prior * math.prod(1.0 + stake * (a - r) / r for a, r in zip(above, room, strict=True))
        for stake, prior in zip(STAKES, PRIOR, strict=True)
    )
    assert log_capital(above, room) == pytest.approx(math.log(capital))
    assert [log_capital(above[:n], room[:n]) for n in range(1, 81)] == pytest.approx(list(running(above, room)))


def test_no_bet_exceeds_the_capital_and_no_loss_the_stake():
    assert (STAKES < 1.0).all()
    assert 0.9 < PRIOR.sum() < 1.0
    assert math.isfinite(log_capital(np.zeros(10_000), np.ones(10_000)))
    assert log_capital(np.empty(0), np.empty(0)) == pytest.approx(math.log(PRIOR.sum()))


# Of x_i = 0.6 |sin(12.9898 i + 1)|, i = 0..59, and a supposed mean m: log of the capital that confseq 0.0.11 (MIT,
# https://github.com/gostevehoward/confseq) computes after 1, 10 and 60 values, of bets on more and on less than m:
#
#     fns = [lambda x, m, s=s: np.repeat(s / m, len(x)) for s in STAKES]            # for less: s / (1 - m), theta=0
#     np.log(confseq.betting.diversified_betting_mart(x, m, fns, lambdas_weights=PRIOR, theta=1, trunc_scale=1))
#
# and the bounds of the mean after 10 and 60 values: the m of a grid of width 0.0001 that are not excluded at 5 % each.
X = 0.6 * np.abs(np.sin(12.9898 * np.arange(60) + 1.0))
CONFSEQ = {
    0.05: [(1.8483148210991645, -0.43341345370114376), (17.635385755392452, -1.5911815445000086)],
    0.2: [(0.6102042030158769, -0.34748182761091506), (4.243715885995698, -1.387512586016359)],
    0.3: [(0.29258349696532376, -0.27562561427088306), (0.8863027063254255, -1.1065916303645953)],
    0.45: [(0.005918624788566818, -0.13475384376534413), (-0.9838688636245893, -0.03766223966781922)],
    0.9: [(-0.39751518160616367, 1.189501701228283), (-1.7567619014704632, 16.099711193590032)],
}
CONFSEQ_AFTER_60 = {
    0.05: (103.9612921940023, -2.3693900969909527),
    0.3: (3.34178704397068, -1.8967347442996374),
    0.45: (-2.029721439948849, 3.679069201889652),
}
CONFSEQ_BOUNDS = {10: (0.2300, 0.6197), 60: (0.3035, 0.4432)}


@pytest.mark.parametrize("mean", list(CONFSEQ))
def test_the_capital_equals_that_of_the_package_confseq(mean):
    expected = [
        *zip((1, 10), CONFSEQ[mean], strict=True),
        *([(60, result)] if (result := CONFSEQ_AFTER_60.get(mean)) else []),
    ]
    for n, (more, less) in expected:
        assert log_capital(X[:n], np.full(n, mean)) == pytest.approx(more, rel=1e-10)
        assert log_capital(1.0 - X[:n], np.full(n, 1.0 - mean)) == pytest.approx(less, rel=1e-10)


@pytest.mark.parametrize("n", list(CONFSEQ_BOUNDS))
def test_the_bounds_equal_those_of_the_package_confseq(n):
    evidence = difference_of_pairs(X[:n] - 0.5, 0.5)
    assert (evidence.low(ALPHA) + 0.5, evidence.high(ALPHA) + 0.5) == pytest.approx(CONFSEQ_BOUNDS[n], abs=1.1e-4)


def test_the_excluded_value_nearest_to_the_start_is_found():
    assert nearest_excluded(lambda value: -100.0 * value, 1.0, -1.0, math.exp(-25.0)) == pytest.approx(-0.25)
    assert nearest_excluded(lambda value: -100.0 * value, 1.0, -0.2, math.exp(-25.0)) == -0.2


# --- error rates with a look after every value ---


def coin(rng, n):
    return rng.choice([-1.0, 1.0], n)


def small_wins_and_a_failure_in_50(rng, n):
    return np.where(rng.random(n) < 0.02, FAILED, -FAILED * 0.02 / 0.98)


def ties_and_skewed_losses(rng, n):
    lost = rng.exponential(0.08, n).clip(0.0, FAILED)
    win = -0.08 * (1.0 - math.exp(-FAILED / 0.08)) / 4.0  # a quarter of the mean loss, four times as often
    drawn = rng.random(n)
    return np.where(drawn < 0.9, 0.0, np.where(drawn < 0.98, win, lost))


def a_loss_in_1000(rng, n):
    return np.where(rng.random(n) < 0.001, FAILED, -FAILED * 0.001 / 0.999)


@pytest.mark.parametrize("law", [coin, small_wins_and_a_failure_in_50, ties_and_skewed_losses, a_loss_in_1000])
def test_the_error_rate_of_pairs_without_a_difference_is_at_most_alpha(law):
    rng = np.random.default_rng(2)
    limit = 1.0 if law is coin else FAILED
    d = law(rng, (400, 1_000))
    assert abs(d.mean()) < 3.0 * d.std() / math.sqrt(d.size)  # the distribution has mean 0
    room = np.full(1_000, limit)
    ever = sum(running(side * d + limit, room).max(axis=-1) >= math.log(2.0 / ALPHA) for side in (1.0, -1.0))
    assert ever.mean() <= ALPHA


@pytest.mark.parametrize("share", [0.05, 0.1, 0.5, 0.95])
@pytest.mark.parametrize("law", ["rare failures", "success", "ties and a tail"])
def test_the_error_rate_of_equal_arms_is_at_most_alpha_at_any_split(share, law):
    rng = np.random.default_rng(3)
    limits, wrong = (0.0, 1.0) if law == "success" else (0.0, FAILED), 0
    for _ in range(200):
        y = {
            "rare failures": lambda: excess(rng, 500),
            "success": lambda: (rng.random(500) < 0.99).astype(float),
            "ties and a tail": lambda: np.where(rng.random(500) < 0.9, 0.0, rng.exponential(0.2, 500)).clip(0, FAILED),
        }[law]()
        wrong += is_ever_wrong(difference_of_arms(users_of(y, rng.random(500) < share, share, limits)))
    assert wrong / 200 <= ALPHA


def test_a_changed_split_with_changed_users_is_not_reported_as_a_difference():
    rng = np.random.default_rng(4)
    share = np.repeat([0.1, 0.5], 250)
    wrong = pooled = 0
    for _ in range(200):
        y = np.where(share < 0.3, 0.05, 0.15) + rng.uniform(0.0, 0.1, 500)  # later users have harder plants
        is_b = rng.random(500) < share
        wrong += is_ever_wrong(difference_of_arms(users_of(y, is_b, share)))
        pooled += is_ever_wrong(difference_of_arms(users_of(y, is_b, is_b.mean())))
    assert wrong / 200 <= ALPHA
    assert pooled / 200 > 0.9  # the result with one share for all


@pytest.mark.parametrize(("metric", "truth"), [(GAP, 0.8), (SUCCESS, 0.9), (GAP, 1.0)])
def test_the_bounds_of_a_ratio_of_means_cover_it_at_all_looks(metric, truth):
    rng = np.random.default_rng(5)
    missed = 0
    for _ in range(150):
        is_b = rng.random(400) < 0.3
        mean = np.where(is_b, truth, 1.0) * (0.95 if metric is SUCCESS else 0.1)
        y = rng.random(400) < mean if metric is SUCCESS else rng.beta(2.0, 2.0 / mean - 2.0)
        missed += is_ever_wrong(ratio_of_arms(users_of(y, is_b, 0.3, (0.0, 1.0))), truth)
    assert missed / 150 <= ALPHA


def test_the_bounds_cover_a_true_difference_and_converge_to_it():
    rng = np.random.default_rng(6)
    wide = []
    for n in (50, 400, 3_000):
        y = 0.1 + rng.uniform(0.0, 0.1, n)
        is_b = rng.random(n) < 0.5
        effect = effect_of_arms(users_of(y + math.log(0.96) * is_b, is_b, 0.5), MAKESPAN, ALPHA)
        assert effect.low <= 0.04 <= effect.high
        wide.append(effect.high - effect.low)
    assert wide[0] > 2.0 * wide[1] > 4.0 * wide[2]


# --- terms ---


def test_a_term_depends_on_its_user_and_earlier_ones_only():
    users = random_users(n=80)
    first = users_of(users.y[:50], users.is_candidate[:50], users.share[:50])
    for evidence in (difference_of_arms, ratio_of_arms):
        whole, part = evidence(users).terms_at(0.5), evidence(first).terms_at(0.5)
        for name in ("value", "low", "high"):
            np.testing.assert_allclose(getattr(whole, name)[:49], getattr(part, name), rtol=1e-12)


def test_the_first_user_only_centres_the_others():
    users = random_users()
    other = users.is_candidate.copy()
    other[0] = not other[0]
    one, two = (difference_of_arms(users_of(users.y, arm, 0.3)).terms_at(0.0) for arm in (users.is_candidate, other))
    np.testing.assert_array_equal(one.value, two.value)
    assert one.value.size == 59
    moved = users.y.copy()
    moved[0] = FAILED
    assert (difference_of_arms(users_of(moved, users.is_candidate, 0.3)).terms_at(0.0).value != one.value).any()


def test_terms_are_inverse_probability_weighted_and_limited():
    users = random_users(n=200, share=0.05)
    terms = difference_of_arms(users).terms_at(0.1)
    centre = np.cumsum(users.y)[:-1] / np.arange(1, 200)
    weight = np.where(users.is_candidate, 1 / 0.05, -1 / 0.95)[1:]
    np.testing.assert_allclose(terms.value, weight * (users.y[1:] - centre) - 0.1, atol=1e-12)
    for each in (terms, ratio_of_arms(users).terms_at(0.8)):
        assert (each.low <= each.value + 1e-12).all()
        assert (each.value <= each.high + 1e-12).all()


def test_without_known_limits_an_extreme_value_is_clipped_to_the_earlier_ones():
    users = users_of([1.0, 1.0, 100.0, 1.0], [0, 1, 1, 0], 0.5, limits=None)
    assert difference_of_arms(users).terms_at(0.0).value[1] == pytest.approx(2.0 * math.log(MAX_RATIO))


# --- symmetries ---


def test_swapping_the_arms_mirrors_the_bounds():
    users = random_users(3, 150)
    swapped = users_of(users.y, ~users.is_candidate, 1.0 - users.share)
    for alpha in (0.01, 0.2):
        forward, backward = difference_of_arms(users), difference_of_arms(swapped)
        assert forward.low(alpha) == pytest.approx(-backward.high(alpha), abs=1e-9)
        forward, backward = ratio_of_arms(users), ratio_of_arms(swapped)
        assert forward.low(alpha) == pytest.approx(1.0 / backward.high(alpha), rel=1e-6)
    forward, backward = (effect_of_arms(each, MAKESPAN, ALPHA) for each in (users, swapped))
    assert (1 - forward.improvement) * (1 - backward.improvement) == pytest.approx(1)
    assert (1 - forward.low) * (1 - backward.high) == pytest.approx(1)


def test_the_order_of_users_does_not_matter_for_pairs():
    rng = np.random.default_rng(7)
    d = ties_and_skewed_losses(rng, 200)
    sorted_d = np.sort(d)
    zero = np.zeros(200)
    one, other = (effect_of_pairs(zero, each, MAKESPAN, ALPHA) for each in (d, sorted_d))
    assert (one.low, one.high) == pytest.approx((other.low, other.high))


@examples(60)
@given(st.integers(0, 10**6), st.integers(2, 40), st.floats(0.02, 0.98), st.sampled_from([MAKESPAN, GAP, SUCCESS]))
def test_bounds_are_ordered_possible_and_wider_for_a_smaller_alpha(seed, n, share, metric):
    users = random_users(seed, n, share, (0.0, FAILED) if metric is MAKESPAN else (0.0, 1.0))
    is_b = users.is_candidate.copy()
    is_b[:2] = [False, True]
    users = users_of(np.maximum(users.y, 1e-3), is_b, share, users.limits)
    wide, narrow = (effect_of_arms(users, metric, alpha) for alpha in (0.001, 0.2))
    assert wide.low <= narrow.low <= narrow.improvement <= narrow.high <= wide.high
    evidence = narrow.evidence
    assert evidence.low(0.1) <= evidence.low(0.2) <= evidence.high(0.2) <= evidence.high(0.1)
    if metric is MAKESPAN:  # no user is more than twice as long or as short as another
        assert wide.low >= -1.0 - 1e-9
        assert wide.high <= 0.5 + 1e-9
    elif metric is GAP:
        assert wide.high <= 1.0
    else:
        assert wide.low >= -1.0


# --- number of values needed ---


@pytest.mark.parametrize(("value", "alpha"), [(0.5, 0.05), (0.02, 0.05), (0.001, 0.01)])
def test_the_number_of_equal_values_needed_is_where_the_capital_suffices(value, alpha):
    needed = values_needed(np.array([1.0 + value]), np.ones(1), alpha)
    assert log_capital(np.full(needed, 1.0 + value), np.ones(needed)) >= -math.log(alpha)
    assert log_capital(np.full(needed // 2, 1.0 + value), np.ones(needed // 2)) < -math.log(alpha)


def test_the_share_of_experiments_with_enough_values_is_about_the_power():
    rng = np.random.default_rng(8)
    values = rng.uniform(-0.3, 0.36, 5_000)
    for power, least, most in ((0.5, 0.4, 0.7), (0.8, 0.75, 0.95)):
        needed = values_needed(values + 1.0, np.ones(5_000), ALPHA, power=power)
        drawn = rng.choice(values, (400, needed))
        enough = (running(drawn + 1.0, np.ones(needed)).max(axis=-1) >= -math.log(ALPHA)).mean()
        assert least < enough < most


def test_weights_are_the_frequencies_of_values():
    repeated = values_needed(np.array([1.2, 1.2, 1.2, 0.9]), np.ones(4), ALPHA)
    assert values_needed(np.array([1.2, 0.9]), np.ones(2), ALPHA, weights=np.array([0.75, 0.25])) == repeated


def test_a_capital_that_does_not_grow_never_suffices():
    assert values_needed(np.array([0.9, 1.1]), np.ones(2), ALPHA) is None
    assert values_needed(np.array([1.0]), np.ones(1), ALPHA) is None
    assert values_needed(np.array([1.0 + 1e-9]), np.ones(1), ALPHA) is None
