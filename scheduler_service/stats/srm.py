"""Sample-ratio mismatch: whether the users' shares of the arms differ from the configured split."""

from collections.abc import Sequence

from scheduler_service.stats.outcome import NotComputable

MIN_EXPECTED = 5.0
"""Minimum expected number of units per arm; below it the chi-square approximation is poor (Cochran 1954)."""

SRM_ALARM = 0.001
"""A smaller p-value counts as a mismatch. The level is low because the test is repeated often."""


def srm_p_value(counts: Sequence[int], shares: Sequence[float]) -> float | NotComputable:
    """`srm_p_value_of_periods` for constant shares."""
    return srm_p_value_of_periods([(counts, shares)])


def srm_p_value_of_periods(periods: Sequence[tuple[Sequence[int], Sequence[float]]]) -> float | NotComputable:
    """p-value of the hypothesis that the assignment follows the configured shares (chi-square test).

    X^2 = sum over periods and arms of (count - n share)^2 / (n share);  p = survival_chi2(X^2; sum of (arms - 1))

    Args:
        periods: one per configured split: units (users, not requests) per arm, and the shares of the same arms, each
            greater than 0, adding up to 1. Periods with too few units are left out.

    Source: Fabijan et al., "Diagnosing Sample Ratio Mismatch in Online Controlled Experiments", KDD 2019; computed by
    scipy.stats.
    """
    from scipy import stats  # slow to import, and the service starts without it

    statistic, degrees_of_freedom, n = 0.0, 0, 0
    for counts, shares in periods:
        expected = [share * sum(counts) for share in shares]
        n += sum(counts)
        if min(expected) >= MIN_EXPECTED:
            statistic += float(stats.chisquare(counts, expected).statistic)
            degrees_of_freedom += len(counts) - 1
    if degrees_of_freedom == 0:
        return NotComputable("too_few_units", "too_few_to_check_the_split", users=n, least=MIN_EXPECTED)
    return float(stats.chi2.sf(statistic, degrees_of_freedom))
