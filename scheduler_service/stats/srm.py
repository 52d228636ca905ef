"""Whether the units fell into the arms in the shares that were asked for: sample-ratio mismatch."""

from collections.abc import Sequence

from scheduler_service.stats.outcome import NotComputable

LEAST_EXPECTED = 5.0
"""Units that each arm should expect: below it the chi-square law is a poor approximation (Cochran 1954)."""

SRM_ALARM = 0.001
"""A mismatch with a smaller p-value is taken for a fault, not for chance: the test is looked at often."""


def srm_p_value(counts: Sequence[int], shares: Sequence[float]) -> float | NotComputable:
    """`srm_p_value_of_periods` where the shares were always the same."""
    return srm_p_value_of_periods([(counts, shares)])


def srm_p_value_of_periods(periods: Sequence[tuple[Sequence[int], Sequence[float]]]) -> float | NotComputable:
    """Probability of splits at least as far from the shares as these, when the assignment works.

    X^2 = sum over periods and arms of (count - n share)^2 / (n share);  p = survival_chi2(X^2; sum of (arms - 1))

    Args:
        periods: one for each set of shares that was asked for: units (users, not requests) per arm, and the shares of
            the same arms, each greater than 0, adding up to 1. Periods of too few units are left out.

    Source: Fabijan et al., "Diagnosing Sample Ratio Mismatch in Online Controlled Experiments", KDD 2019; computed by
    scipy.stats.
    """
    from scipy import stats  # slow to import, and the service starts without it

    statistic, degrees_of_freedom, n = 0.0, 0, 0
    for counts, shares in periods:
        expected = [share * sum(counts) for share in shares]
        n += sum(counts)
        if min(expected) >= LEAST_EXPECTED:
            statistic += float(stats.chisquare(counts, expected).statistic)
            degrees_of_freedom += len(counts) - 1
    if degrees_of_freedom == 0:
        return NotComputable(
            "too_few_units",
            f"{n} users are too few to check the split: each arm must expect {LEAST_EXPECTED:g} of them",
        )
    return float(stats.chi2.sf(statistic, degrees_of_freedom))
