"""A sharper comparison of two means, by what was known of each unit before it was assigned: CUPED."""

from dataclasses import dataclass

import numpy as np

from scheduler_service.stats.outcome import NotComputable, nearly_constant
from scheduler_service.stats.summaries import Values, scaled, unscaled
from scheduler_service.stats.welch import Welch, welch


@dataclass(frozen=True, slots=True)
class Cuped:
    """Welch's test of the adjusted values, and what the covariate was worth."""

    adjusted: Welch
    theta: float  # slope of the metric on the covariate, both arms together
    correlation: float  # of the metric with the covariate, both arms together; the variance shrinks by its square


def cuped(a: Values, b: Values, covariate_a: Values, covariate_b: Values, alpha: float = 0.05) -> Cuped | NotComputable:
    """Whether the mean of `b` differs from that of `a`, after taking out what the covariate explains.

    theta = cov(y, x) / var(x) over both arms together;  y' = y - theta (x - mean(x));  Welch's test of y'.

    One theta for both arms: with one of each arm the adjusted difference would not estimate the same effect. The
    covariate must be fixed before the assignment (the instance's lower bound is), or the adjustment takes out part of
    the effect itself.

    Args:
        a, b: the metric, shapes (n_a,) and (n_b,), finite; one value per independent unit.
        covariate_a, covariate_b: of the same units, same shapes.

    Source: Deng, Xu, Kohavi, Walker, "Improving the Sensitivity of Online Controlled Experiments by Utilizing
    Pre-Experiment Data", WSDM 2013, section 3.
    """
    adjustment = adjust(a, b, covariate_a, covariate_b)
    if isinstance(adjustment, NotComputable):
        return adjustment
    adjusted = welch(adjustment.a, adjustment.b, alpha)
    if isinstance(adjusted, NotComputable):
        return adjusted
    return Cuped(adjusted, adjustment.theta, adjustment.correlation)


@dataclass(frozen=True, slots=True)
class Adjustment:
    """The metric of each unit without what the covariate explains of it."""

    a: Values
    b: Values
    theta: float
    correlation: float  # of the metric with the covariate


def adjust(a: Values, b: Values, covariate_a: Values, covariate_b: Values) -> Adjustment | NotComputable:
    """y' = y - theta (x - mean(x)), theta = cov(y, x) / var(x) over both arms. Arguments as `cuped`."""
    if a.size + b.size < 2:
        return NotComputable("too_few_units", f"a slope needs at least 2 users; there are {a.size + b.size}")
    exponent, (a, b) = scaled(a, b)
    covariate_exponent, (covariate_a, covariate_b) = scaled(covariate_a, covariate_b)
    metric, covariate = np.concatenate([a, b]), np.concatenate([covariate_a, covariate_b])
    if nearly_constant(float(covariate.std(ddof=1)), float(covariate.mean())):
        return NotComputable("no_variation", "the covariate is the same for every user, so it explains nothing")
    covariance = np.cov(metric, covariate, ddof=1)
    theta, centre = float(covariance[0, 1] / covariance[1, 1]), covariate.mean()
    spread = float(np.sqrt(covariance[0, 0] * covariance[1, 1]))
    return Adjustment(
        np.ldexp(a - theta * (covariate_a - centre), exponent),
        np.ldexp(b - theta * (covariate_b - centre), exponent),
        unscaled(theta, exponent - covariate_exponent),
        float(covariance[0, 1]) / spread if spread > 0.0 else 0.0,
    )
