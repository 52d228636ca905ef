"""Each statistic compared with an independent oracle (statsmodels, simulation) and with reference figures."""

import math

import numpy as np
import pytest
from statsmodels.stats.proportion import proportions_ztest
from statsmodels.stats.weightstats import CompareMeans, DescrStatsW

from scheduler_service.stats.lift import lift, lift_interval
from scheduler_service.stats.outcome import NotComputable
from scheduler_service.stats.paired import paired
from scheduler_service.stats.srm import srm_p_value, srm_p_value_of_periods
from scheduler_service.stats.summaries import Summary, summarise
from scheduler_service.stats.welch import welch

INDEX = np.arange(200)
DIFFICULTY = 100 + 30 * np.sin(12.9898 * INDEX)
ALL_A = DIFFICULTY + 5 * np.sin(78.233 * INDEX)
ALL_B = 0.97 * DIFFICULTY + 5 * np.sin(37.719 * INDEX)
A, B = ALL_A[0::2], ALL_B[1::2]


def _arms(seed, size_a=30, size_b=45, shift=1.5):
    rng = np.random.default_rng(seed)
    return rng.normal(50, 4, size_a), rng.normal(50 + shift, 9, size_b)


# --- the reference figures, to 1e-8 ---


def test_a_candidate_with_all_means_zero_has_no_interval():
    """All its gaps are closed, those of the baseline are not: the linearised error is zero, and so is its square."""
    result = lift_interval(np.array([0.10, 0.11, 0.12, 0.09]), np.zeros(5))
    assert isinstance(result, NotComputable)
    assert result.reason == "no_variation"


def test_lift_gives_the_reference_share_and_interval():
    assert lift(A.mean(), B.mean()) == pytest.approx(-0.0073747297, abs=1e-8)
    interval = lift_interval(A, B)
    assert (interval.low, interval.high) == (pytest.approx(-0.066, abs=5e-4), pytest.approx(0.051, abs=5e-4))


def test_the_tests_give_the_reference_p_values():
    assert welch(A, B).p_value == pytest.approx(0.80535850564634, abs=1e-8)
    assert paired(ALL_A, ALL_B).p_value == pytest.approx(0.00427738630654775, abs=1e-8)
    assert srm_p_value([550, 450], [0.5, 0.5]) == pytest.approx(0.001565402258, abs=1e-8)


# --- figures of GrowthBook's package gbstats 0.8.0 (MIT) for the same users ---
# gbstats needs numpy below 2 and pandas below 2, so its figures are stored here; computed by
#
#     stat = lambda x: SampleMeanStatistic(n=len(x), sum=x.sum(), sum_squares=(x**2).sum())
#     test = TwoSidedTTest(stat(A), stat(B), FrequentistConfig(difference_type=...))  # "absolute", then "relative"
#     test.compute_result(), test.variance ** 0.5, test.dof; gbstats.utils.check_srm(users, weights)


def test_welch_agrees_with_gbstats():
    result = welch(A, B)
    assert result.mean_difference == pytest.approx(-0.7415016924538236, rel=1e-9)
    assert result.standard_error == pytest.approx(3.0050808308328816, rel=1e-9)
    assert result.degrees_of_freedom == pytest.approx(197.50434946947846, rel=1e-9)
    assert result.p_value == pytest.approx(0.8053585056463413, rel=1e-9)
    assert (result.low, result.high) == pytest.approx((-6.667665063348124, 5.184661678440476), rel=1e-9)


def test_the_lift_agrees_with_gbstats_except_for_the_degrees_of_freedom():
    """gbstats uses those of the difference for the ratio as well."""
    interval = lift_interval(A, B)
    assert lift(A.mean(), B.mean()) == pytest.approx(-0.007374729718007357, rel=1e-9)
    assert interval.standard_error == pytest.approx(0.02977201287765944, rel=1e-9)
    assert (interval.low, interval.high) == pytest.approx((-0.06608656548066762, 0.0513371060446529), abs=1e-6)


@pytest.mark.parametrize(
    ("users", "shares", "p_value"),
    [([720, 280], [0.75, 0.25], 0.028459736916310638), ([410, 300, 290], [0.4, 0.3, 0.3], 0.7470175003104327)],
)
def test_the_ratio_check_agrees_with_gbstats(users, shares, p_value):
    assert srm_p_value(users, shares) == pytest.approx(p_value, rel=1e-9)


# --- Welch ---


@pytest.mark.parametrize("seed", range(5))
def test_welch_agrees_with_statsmodels(seed):
    a, b = _arms(seed)
    oracle = CompareMeans(DescrStatsW(b), DescrStatsW(a))
    t, p_value, df = oracle.ttest_ind(usevar="unequal")
    low, high = oracle.tconfint_diff(alpha=0.1, usevar="unequal")
    result = welch(a, b, alpha=0.1)
    assert (result.p_value, result.degrees_of_freedom) == (pytest.approx(p_value), pytest.approx(df))
    assert (result.low, result.high) == (pytest.approx(low), pytest.approx(high))
    assert result.mean_difference / result.standard_error == pytest.approx(t)


def test_a_tiny_p_value_is_not_rounded_to_zero():
    a, b = _arms(0, 300, 300, shift=30.0)
    assert 0.0 < welch(a, b).p_value < 1e-100


def test_swapping_the_arms_inverts_the_difference_and_keeps_the_p_value():
    a, b = _arms(1)
    forward, backward = welch(a, b), welch(b, a)
    assert forward.mean_difference == -backward.mean_difference
    assert forward.p_value == pytest.approx(backward.p_value)


@pytest.mark.parametrize(
    ("a", "b", "reason"),
    [([], [], "too_few_units"), ([1.0], [1.0, 2.0], "too_few_units"), ([53.1] * 7, [52.9] * 9, "no_variation")],
)
def test_an_untestable_comparison_has_a_reason_instead_of_p_equal_to_1(a, b, reason):
    for function in (welch, lift_interval):
        result = function(np.array(a, dtype=float), np.array(b, dtype=float))
        assert isinstance(result, NotComputable)
        assert result.reason == reason


def test_rounding_errors_are_not_treated_as_variation():
    noisy = np.array([53.1 * (1 + 1e-15 * sign) for sign in (0, 1, -1, 0, 1)])
    assert welch(noisy, np.full(5, 52.9)).reason == "no_variation"


# --- lift ---


def test_the_lift_interval_has_its_stated_coverage():
    rng = np.random.default_rng(7)
    truth = 0.06
    covered = 0
    for _ in range(2000):
        a = rng.gamma(20.0, 2.5, 12)  # mean 50; arms are small, so a normal quantile would give too low a coverage
        b = rng.gamma(10.0, 5.0 * (1 + truth), 15)
        interval = lift_interval(a, b)
        covered += interval.low <= truth <= interval.high
    assert covered / 2000 == pytest.approx(0.95, abs=0.015)


def test_the_lift_error_agrees_with_the_jackknife():
    a, b = _arms(3, 200, 300)
    ratio = b.mean() / a.mean()
    without_a = b.mean() / ((a.sum() - a) / (a.size - 1))
    without_b = ((b.sum() - b) / (b.size - 1)) / a.mean()
    variance = sum((x.size - 1) / x.size * ((x - x.mean()) ** 2).sum() for x in (without_a, without_b))
    assert lift_interval(a, b).standard_error == pytest.approx(math.sqrt(variance), rel=0.01)
    assert lift(a.mean(), b.mean()) == ratio - 1


def test_at_equal_means_the_lift_has_the_degrees_of_freedom_of_welch():
    a, b = _arms(4)
    b = b - b.mean() + a.mean()
    assert lift_interval(a, b).degrees_of_freedom == pytest.approx(welch(a, b).degrees_of_freedom)


@pytest.mark.parametrize("mean", [0.0, -1.0, math.nan])
def test_there_is_no_relative_change_to_a_non_positive_baseline(mean):
    assert lift(mean, 1.0).reason == "baseline_not_positive"


def test_a_baseline_near_zero_has_no_interval():
    assert lift_interval(np.array([0.0, 0.0, 0.0, 0.3]), np.array([0.1, 0.2, 0.3])).reason == "baseline_near_zero"


# --- paired ---


def test_the_paired_test_agrees_with_statsmodels():
    oracle = DescrStatsW(ALL_B - ALL_A)
    t, p_value, df = oracle.ttest_mean(0.0)
    result = paired(ALL_A, ALL_B, alpha=0.1)
    assert result.p_value == pytest.approx(p_value)
    assert result.degrees_of_freedom == df
    assert result.mean_difference / result.standard_error == pytest.approx(t)
    assert (result.low, result.high) == pytest.approx(oracle.tconfint_mean(alpha=0.1))


def test_a_model_paired_with_itself_has_no_p_value():
    assert paired(A, A.copy()).reason == "no_variation"
    assert paired(A[:1], A[:1]).reason == "too_few_units"


def test_pairs_must_match():
    with pytest.raises(ValueError, match="as many values on both sides"):
        paired(A, A[:-1])


# --- sample-ratio mismatch ---


@pytest.mark.parametrize(("count", "share"), [(720, 0.7), (130, 0.1), (515, 0.5)])
def test_the_ratio_check_agrees_with_the_z_test_of_one_proportion(count, share):
    oracle = proportions_ztest(count, 1000, share, prop_var=share)[1]
    assert srm_p_value([count, 1000 - count], [share, 1 - share]) == pytest.approx(oracle)


def test_three_arms_can_be_checked():
    assert srm_p_value([200, 300, 500], [0.2, 0.3, 0.5]) == 1.0


def test_a_few_users_cannot_be_checked():
    assert srm_p_value([6, 2], [0.5, 0.5]).reason == "too_few_units"
    assert srm_p_value([0, 0], [0.5, 0.5]).reason == "too_few_units"


def test_periods_with_different_shares_are_summed_in_one_test():
    """The sum of independent chi-squares has the sum of their degrees of freedom."""
    rng = np.random.default_rng(12)
    periods = [[rng.multinomial(400, [0.9, 0.1]), rng.multinomial(400, [0.5, 0.5])] for _ in range(800)]
    p_values = [srm_p_value_of_periods([(one, [0.9, 0.1]), (two, [0.5, 0.5])]) for one, two in periods]
    for level in (0.05, 0.5):
        assert np.mean(np.array(p_values) < level) == pytest.approx(level, abs=3.5 * math.sqrt(0.25 / 800))
    assert srm_p_value_of_periods([([550, 450], [0.5, 0.5]), ([3, 1], [0.5, 0.5])]) == srm_p_value(
        [550, 450], [0.5, 0.5]
    )


# --- summaries ---


def test_a_summary_agrees_with_pandas():
    import pandas as pd

    values = np.array([3.0, np.nan, 1.0, 4.0, np.inf, 1.5])
    oracle = pd.Series(values[np.isfinite(values)]).describe()
    summary = summarise(values)
    assert (summary.count, summary.min, summary.max) == (oracle["count"], oracle["min"], oracle["max"])
    assert (summary.mean, summary.std) == (pytest.approx(oracle["mean"]), pytest.approx(oracle["std"]))


def test_no_values_have_no_mean_and_one_value_has_no_deviation():
    assert summarise(np.array([])) == Summary(None, 0, None, None, None)
    assert summarise(np.array([2.0])) == Summary(2.0, 1, 2.0, 2.0, None)
