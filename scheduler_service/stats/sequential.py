"""Anytime-valid bounds of a mean: they are valid for a look after each value and for any stopping rule."""

import math

import numpy as np

from scheduler_service.stats.summaries import Values, scaled


def lower_confidence_sequence(values: Values, alpha: float = 0.05, tuned_for: int = 200) -> Values:
    """For each t, a lower bound of the mean from the first t values; all are valid together with probability 1 - alpha.

    L_t = m_t - s_t sqrt( 2 (t r^2 + 1) / (t^2 r^2) * log(1 + sqrt(t r^2 + 1) / (2 alpha)) )
    m_t, s_t: mean and standard deviation (divided by t) of the first t values
    r = sqrt( (-2 log(2 alpha) + log(-2 log(2 alpha) + 1)) / tuned_for )

    The one-sided normal-mixture confidence sequence with an estimated standard deviation. It is asymptotic, so the
    first few dozen bounds are not reliable (simulated error rates: docs/registry.md). While all values are equal, the
    bound is minus infinity, because the standard deviation cannot be estimated.

    Args:
        values: shape (n,), finite, in order of time, independent.
        alpha: probability that any of the bounds is above the mean; in (0, 0.5).
        tuned_for: number of values at which the bound is tightest.

    Returns:
        Shape (n,).

    Source: Waudby-Smith, Arbour, Sinha, Kennedy, Ramdas, "Time-uniform central limit theory and asymptotic confidence
    sequences", Annals of Statistics 52 (2024) 2613-2640: Theorem 2.2, its one-sided form, and the choice of r in the
    appendix; the mixture itself is Robbins 1970, and Howard, Ramdas, McAuliffe, Sekhon, Annals of Statistics 49 (2021).
    """
    exponent, (values,) = scaled(values)
    t = np.arange(1.0, values.size + 1.0)
    mean = np.cumsum(values) / t
    # Relative to the first value, to avoid cancellation in the squares of large, nearly equal values.
    shifted = values - values[:1]
    variance = np.maximum(np.cumsum(shifted**2) / t - (np.cumsum(shifted) / t) ** 2, 0.0)
    log_a = -2.0 * math.log(2.0 * alpha)
    tr2 = t * (log_a + math.log(log_a + 1.0)) / tuned_for
    radius = np.sqrt(2.0 * variance / t * (tr2 + 1.0) / tr2 * np.log1p(np.sqrt(tr2 + 1.0) / (2.0 * alpha)))
    return np.where(variance > 0.0, np.ldexp(mean - radius, exponent), -np.inf)
