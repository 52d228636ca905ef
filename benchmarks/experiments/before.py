"""The method of before, for comparison: asymptotic confidence sequences of CUPED-adjusted means, at every look at once.

Until November 2026 verdicts rested on `boundary` standard errors (Waudby-Smith et al. 2024) of the difference of two
arms' means, Welch's error, adjusted by the lower bound (Deng et al. 2013), from 25 users in each arm on. Here is a
compact copy of it; each function answers the bounds of all looks.
"""

import math

import numpy as np

from benchmarks.experiments.bets import Flags
from scheduler_service.stats.summaries import Values

LEAST_USERS = 25
"""Of each arm, or pairs."""
TUNED_FOR = 400
LEAST_BASELINE_ERRORS = 3.0
"""A ratio to a mean that is nearer to zero had no bounds."""

Bounds = tuple[Values, Values]
"""(lower, upper) of the difference candidate - baseline after each user; NaN where there was no verdict."""


def bounds_of_arms(y: Values, x: Values | None, in_b: Flags, alpha: float, *, is_ratio_scale: bool) -> Bounds:
    """Of users with one request each; on another than the logarithmic scale the difference is a share of the baseline.

    Args:
        y: shape (n,), on the metric's scale.
        x: the covariate, log of the lower bound; None: not adjusted.
    """
    centre_y, centre_x = float(y[0]), 0.0 if x is None else float(x[0])  # so that the squares do not cancel
    arms = [_Running(y - centre_y, None if x is None else x - centre_x, chosen) for chosen in (~in_b, in_b)]
    n = np.arange(1.0, y.size + 1.0)
    with np.errstate(invalid="ignore", divide="ignore"):
        means, variances = [arm.mean_y for arm in arms], [arm.var_y for arm in arms]
        base = means[0] + centre_y
        if x is not None:
            theta = _pooled_slope(arms, n)
            mean_x = sum(arm.sum_x for arm in arms) / n
            means = [arm.mean_y - theta * (arm.sum_x / arm.n - mean_x) for arm in arms]
            variances = [arm.var_y + theta**2 * arm.var_x - 2.0 * theta * arm.covariance for arm in arms]
        difference = means[1] - means[0]
        errors = [np.sqrt(np.maximum(variance, 0.0) / arm.n) for variance, arm in zip(variances, arms, strict=True)]
        error = np.hypot(*errors)
        has_verdict = (np.minimum(arms[0].n, arms[1].n) >= LEAST_USERS) & (error > 1e-12)
        if not is_ratio_scale:
            has_verdict &= (base > 0.0) & (base >= LEAST_BASELINE_ERRORS * errors[0])
            error = np.maximum(np.hypot((1.0 + difference / base) * errors[0], errors[1]), error) / base
            difference = difference / base
    return _bounds(difference, error, n, alpha, has_verdict)


def boundary(n: Values, alpha: float) -> Values:
    """Standard errors that an estimate of n users may be off, at no moment more, with chance 1 - alpha."""
    log_a = -2.0 * math.log(alpha)
    nr2 = n * (log_a + math.log(log_a + 1.0)) / TUNED_FOR
    return np.asarray(np.sqrt(2.0 * (nr2 + 1.0) / nr2 * np.log(np.sqrt(nr2 + 1.0) / alpha)), np.float64)


def bounds_of_pairs(d: Values, alpha: float) -> Bounds:
    """Of users with one pair each, `d` being the difference of the logarithms."""
    n = np.arange(1.0, d.size + 1.0)
    mean, variance = _moments(d, n)
    error = np.sqrt(variance / n)
    return _bounds(mean, error, n, alpha, (n >= LEAST_USERS) & (error > 1e-12))


def _bounds(difference: Values, error: Values, n: Values, alpha: float, has_verdict: Flags) -> Bounds:
    radius = np.where(has_verdict, error * boundary(n, alpha), np.nan)
    return difference - radius, difference + radius


def _moments(values: Values, n: Values) -> tuple[Values, Values]:
    """Mean and sample variance of the first 1, 2, ... values."""
    centre = float(values[0])
    sums, squares = np.cumsum(values - centre), np.cumsum((values - centre) ** 2)
    mean = sums / n
    return mean + centre, np.maximum(squares - n * mean**2, 0.0) / np.maximum(n - 1.0, 1.0)


class _Running:
    """Moments of one arm's users after each user of both."""

    def __init__(self, y: Values, x: Values | None, chosen: Flags) -> None:
        self.n = np.cumsum(chosen).astype(np.float64)
        self.sum_y, self.sum_yy = np.cumsum(y * chosen), np.cumsum(y**2 * chosen)
        with np.errstate(invalid="ignore", divide="ignore"):
            self.mean_y = self.sum_y / self.n
            self.var_y = np.maximum(self.sum_yy - self.n * self.mean_y**2, 0.0) / (self.n - 1.0)
            if x is None:
                return
            self.sum_x, self.sum_xx = np.cumsum(x * chosen), np.cumsum(x**2 * chosen)
            self.sum_xy = np.cumsum(x * y * chosen)
            mean_x = self.sum_x / self.n
            self.var_x = np.maximum(self.sum_xx - self.n * mean_x**2, 0.0) / (self.n - 1.0)
            self.covariance = (self.sum_xy - self.n * mean_x * self.mean_y) / (self.n - 1.0)


def _pooled_slope(arms: list[_Running], n: Values) -> Values:
    """theta = cov(y, x) / var(x) of both arms together; 0 where the covariate does not vary."""
    x, y = sum(arm.sum_x for arm in arms), sum(arm.sum_y for arm in arms)
    variance = sum(arm.sum_xx for arm in arms) - x**2 / n
    slope = (sum(arm.sum_xy for arm in arms) - x * y / n) / variance
    return np.asarray(np.where(variance > 1e-18, slope, 0.0), np.float64)
