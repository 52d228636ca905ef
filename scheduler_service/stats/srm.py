"""Whether the units fell into the arms in the shares that were asked for: sample-ratio mismatch."""

from collections.abc import Sequence

from scheduler_service.stats.outcome import NotComputable

LEAST_EXPECTED = 5.0
"""Units that each arm should expect: below it the chi-square law is a poor approximation (Cochran 1954)."""

SRM_ALARM = 0.001
"""A mismatch with a smaller p-value is taken for a fault, not for chance: the test is looked at often."""


def srm_p_value(counts: Sequence[int], shares: Sequence[float]) -> float | NotComputable:
    """Probability of a split at least as far from `shares` as `counts`, when the assignment works.

    X^2 = sum (count - n share)^2 / (n share);  p = survival_chi2(X^2; arms - 1)

    Args:
        counts: units (users, not requests) per arm.
        shares: of the same arms, each greater than 0, adding up to 1.

    Source: Fabijan et al., "Diagnosing Sample Ratio Mismatch in Online Controlled Experiments", KDD 2019; computed by
    scipy.stats.chisquare.
    """
    from scipy import stats  # slow to import, and the service starts without it

    expected = [share * sum(counts) for share in shares]
    if min(expected) < LEAST_EXPECTED:
        return NotComputable(
            "too_few_units",
            f"{sum(counts)} users are too few to check the split: each arm must expect {LEAST_EXPECTED:g} of them",
        )
    return float(stats.chisquare(counts, expected).pvalue)
