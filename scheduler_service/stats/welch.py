"""Welch's t-test: the difference of two means without the assumption of equal variances."""

import math
from dataclasses import dataclass

from scheduler_service.stats.outcome import NotComputable, nearly_constant
from scheduler_service.stats.summaries import Values, scaled, unscaled


@dataclass(frozen=True, slots=True)
class Welch:
    """Two-sided test of equal means; `low` and `high` are the confidence interval of the difference at 1 - alpha."""

    mean_difference: float  # b - a, in the unit of the values
    standard_error: float
    degrees_of_freedom: float  # Welch-Satterthwaite
    p_value: float
    low: float
    high: float


def welch(a: Values, b: Values, alpha: float = 0.05) -> Welch | NotComputable:
    """Test whether the mean of `b` differs from that of `a`.

    t = (mean_b - mean_a) / se,  se^2 = va + vb,  va = s_a^2 / n_a,  vb = s_b^2 / n_b
    df = (va + vb)^2 / (va^2 / (n_a - 1) + vb^2 / (n_b - 1)) = 1 / (w^2 / (n_a - 1) + (1 - w)^2 / (n_b - 1))
    w = va / (va + vb)
    p = 2 * survival_t(|t|; df)

    Args:
        a, b: shapes (n_a,) and (n_b,), finite; one value per independent unit (a user, not a request).
        alpha: of the interval, 0..1.

    Source: Welch, Biometrika 34 (1947) 28-35. The results equal those of scipy.stats.ttest_ind(equal_var=False), which
    is not called because it warns about nearly equal values and overflows for very large values.
    """
    from scipy import stats  # slow to import, and the service starts without it

    if min(a.size, b.size) < 2:
        return NotComputable("too_few_units", least=2, users=(a.size, b.size))
    exponent, (a, b) = scaled(a, b)
    mean_a, mean_b = float(a.mean()), float(b.mean())
    variance_a, variance_b = float(a.var(ddof=1)) / a.size, float(b.var(ddof=1)) / b.size
    standard_error = math.sqrt(variance_a + variance_b)
    if nearly_constant(standard_error, mean_a, mean_b):
        return NotComputable("no_variation")
    difference = mean_b - mean_a
    df = satterthwaite(variance_a / (variance_a + variance_b), a.size, b.size)
    radius = float(stats.t.isf(alpha / 2.0, df)) * standard_error
    return Welch(
        mean_difference=unscaled(difference, exponent),
        standard_error=unscaled(standard_error, exponent),
        degrees_of_freedom=df,
        p_value=2.0 * float(stats.t.sf(abs(difference) / standard_error, df)),
        low=unscaled(difference - radius, exponent),
        high=unscaled(difference + radius, exponent),
    )


def satterthwaite(share: float, n_a: int, n_b: int) -> float:
    """Degrees of freedom of the sum of two variances; `share` (0..1) is the first variance's share of the sum.

    Source: Satterthwaite, Biometrics Bulletin 2 (1946) 110-114.
    """
    return 1.0 / (share**2 / (n_a - 1) + (1.0 - share) ** 2 / (n_b - 1))
