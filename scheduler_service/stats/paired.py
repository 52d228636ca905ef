"""The paired t-test of two results of the same unit."""

import math
from dataclasses import dataclass

from scheduler_service.stats.outcome import NotComputable, nearly_constant
from scheduler_service.stats.summaries import Values, scaled, unscaled


@dataclass(frozen=True, slots=True)
class Paired:
    """Two-sided test of a mean difference of zero; `low` and `high` are its confidence interval at level 1 - alpha."""

    mean_difference: float  # b - a, in the unit of the values
    standard_error: float
    degrees_of_freedom: int
    p_value: float
    low: float
    high: float


def paired(a: Values, b: Values, alpha: float = 0.05) -> Paired | NotComputable:
    """Test whether `b` differs from `a` on the same units.

    d = b - a;  t = mean(d) / (s_d / sqrt(n));  df = n - 1;  p = 2 * survival_t(|t|; df)

    Args:
        a, b: shape (n,) both, finite; `a[i]` and `b[i]` belong to one unit, and units are independent.

    Raises:
        ValueError: the shapes differ.

    Source: Student, Biometrika 6 (1908) 1-25. The results equal those of scipy.stats.ttest_rel, which is not called
    because it warns about nearly equal differences and overflows for very large values.
    """
    if a.shape != b.shape:
        raise ValueError(f"pairs need as many values on both sides; there are {a.size} and {b.size}")
    if a.size < 2:
        return paired_of(a.size, (0.0, 0.0), 0.0, 0.0, alpha)
    exponent, (a, b) = scaled(a, b)
    difference = b - a
    standard_error = float(difference.std(ddof=1)) / math.sqrt(a.size)
    means = float(a.mean()), float(b.mean())
    return paired_of(a.size, means, float(difference.mean()), standard_error, alpha, exponent)


def paired_of(
    n: int, means: tuple[float, float], mean: float, standard_error: float, alpha: float, exponent: int = 0
) -> Paired | NotComputable:
    """As `paired`, from the figures of the values.

    Args:
        n: number of units.
        means: of both sides.
        mean, standard_error: of the differences; all of them divided by 2^exponent.
    """
    from scipy import stats  # slow to import, and the service starts without it

    if n < 2:
        return NotComputable("too_few_units", "too_few_pairs", least=2, pairs=n)
    if nearly_constant(standard_error, *means):
        return NotComputable("no_variation", "no_variation_of_pairs")
    df = n - 1
    radius = float(stats.t.isf(alpha / 2.0, df)) * standard_error
    return Paired(
        mean_difference=unscaled(mean, exponent),
        standard_error=unscaled(standard_error, exponent),
        degrees_of_freedom=df,
        p_value=2.0 * float(stats.t.sf(abs(mean) / standard_error, df)),
        low=unscaled(mean - radius, exponent),
        high=unscaled(mean + radius, exponent),
    )
