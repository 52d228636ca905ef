"""The difference of two means, without supposing that the arms vary alike: Welch's t-test."""

from dataclasses import dataclass

from scheduler_service.stats.outcome import NotComputable, nearly_constant
from scheduler_service.stats.summaries import Values


@dataclass(frozen=True, slots=True)
class Welch:
    """Two-sided test of equal means; `low` and `high` bound the mean difference at 1 - alpha."""

    mean_difference: float  # b - a, in the unit of the values
    standard_error: float
    degrees_of_freedom: float  # Welch-Satterthwaite
    p_value: float
    low: float
    high: float


def welch(a: Values, b: Values, alpha: float = 0.05) -> Welch | NotComputable:
    """Whether the mean of `b` differs from that of `a`.

    t = (mean_b - mean_a) / se,  se^2 = va + vb,  va = s_a^2 / n_a,  vb = s_b^2 / n_b
    df = (va + vb)^2 / (va^2 / (n_a - 1) + vb^2 / (n_b - 1))
    p = 2 * survival_t(|t|; df)

    Args:
        a, b: shapes (n_a,) and (n_b,), finite; one value per independent unit (a user, not a request).
        alpha: of the interval, 0..1.

    Source: Welch, Biometrika 34 (1947) 28-35; computed by scipy.stats.ttest_ind(equal_var=False).
    """
    from scipy import stats  # slow to import, and the service starts without it

    if min(a.size, b.size) < 2:
        return NotComputable("too_few_units", f"each arm needs at least 2 users; they have {a.size} and {b.size}")
    standard_error = float((a.var(ddof=1) / a.size + b.var(ddof=1) / b.size) ** 0.5)
    if nearly_constant(standard_error, float(a.mean()), float(b.mean())):
        return NotComputable(
            "no_variation", "within each arm all users have the same mean, so there is no error to test by"
        )
    test = stats.ttest_ind(b, a, equal_var=False)
    interval = test.confidence_interval(1.0 - alpha)
    return Welch(
        mean_difference=float(b.mean() - a.mean()),
        standard_error=standard_error,
        degrees_of_freedom=float(test.df),
        p_value=float(test.pvalue),
        low=float(interval.low),
        high=float(interval.high),
    )
