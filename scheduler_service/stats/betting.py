"""Anytime-valid bounds of the mean of bounded values, from the first value on, by betting.

If the values have a mean of at most zero, a betting strategy cannot be expected to win: the probability that the
capital ever exceeds `1 / alpha` times the initial capital is at most `alpha` (Ville 1939). So a mean for which the
capital would have grown that much is excluded. The only assumption about the values is their limits; no minimum number
and no distribution is assumed, and rare values need not have occurred.

Source: Waudby-Smith, Ramdas, "Estimating means of bounded random variables by betting", Journal of the Royal
Statistical Society B 86 (2024) 1-27; a mixture of constant bets as in section 4.4 there, and Robbins 1970.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from scheduler_service.stats.summaries import Values

STAKES = 0.97 * np.exp2(-np.arange(14.0))
"""Stakes as shares of the largest stake that cannot lose more than the capital. Large stakes detect large differences
in few values, small ones small differences in many. A stake that is wrong by a factor of two costs a tenth of the
growth."""
PRIOR = 1.0 / (np.arange(14.0) + 1.0) / (np.arange(14.0) + 2.0)
"""Share of the initial capital that is bet at each stake; the rest is not bet."""
TINY = 1e-300
MAX_VALUES = 10**8
"""A capital that needs more values counts as one that does not grow."""
STEPS = 40
"""Steps of the bisection."""


def log_capital(above: Values, room: Values, weights: Values | None = None) -> float:
    """log of the capital, initially 1, of bets that the mean of the values x_i is above zero.

        log sum_k prior_k prod_i (1 + stake_k x_i / l_i),  x_i >= -l_i

    If the expectation of each value, given the values before it, is at most zero, the probability that this ever
    reaches log c is at most 1 / c.

    Args:
        above: x_i + l_i, shape (n,), at least 0: the distance of each value from its minimum.
        room: l_i, shape (n,), greater than 0, known before x_i.
        weights: number of times that each value occurs, shape (n,); None: once.
    """
    growth = np.log1p(np.multiply.outer(STAKES, above / room - 1.0))
    each = (growth.sum(axis=1) if weights is None else growth @ weights) + np.log(PRIOR)
    highest = float(each.max())
    return highest + float(np.log(np.exp(each - highest).sum()))


def exclusion_threshold(alpha: float) -> float:
    """The log capital from which a value is excluded at level `alpha` (0..1)."""
    return -math.log(max(alpha, TINY))


def nearest_excluded(log_capital_at: Callable[[float], float], start: float, far: float, alpha: float) -> float:
    """The value between `start` and `far` nearest to `start` that is excluded at `alpha`; `far` if none is.

    Args:
        log_capital_at: log capital of the bets against a value; increases from `start` to `far`.
        alpha: probability that the true value is ever excluded.
    """
    threshold = exclusion_threshold(alpha)
    if log_capital_at(far) < threshold:
        return far
    near = start
    for _ in range(STEPS):
        middle = 0.5 * (near + far)
        if log_capital_at(middle) < threshold:
            near = middle
        else:
            far = middle
    return far


def values_needed(
    above: Values, room: Values, alpha: float, *, weights: Values | None = None, power: float = 0.5
) -> int | None:
    """The number of values like these until the capital reaches `1 / alpha`; None if it is above `MAX_VALUES`.

    The minimum over the stakes of the smallest n with  n g - z(power) s sqrt(n) > -log alpha - log prior,  where g and
    s are the mean and the standard deviation of the growth of the log capital per value. Arguments as in `log_capital`.

    Args:
        weights: frequency of each value, adding up to 1; None: equal frequencies.
        power: probability that this number is sufficient; 0.5 extrapolates the mean growth.
    """
    from scipy import stats  # slow to import, and the service starts without it

    shares = np.full(above.size, 1.0 / above.size) if weights is None else weights
    growth = np.log1p(np.multiply.outer(STAKES, above / room - 1.0))
    mean = growth @ shares
    spread = float(stats.norm.ppf(power)) * np.sqrt(np.maximum(growth**2 @ shares - mean**2, 0.0))
    grows = mean > 0.0
    if not grows.any():
        return None
    g, s, wanted = mean[grows], spread[grows], exclusion_threshold(alpha) - np.log(PRIOR[grows])
    roots = (s + np.sqrt(s**2 + 4.0 * g * wanted)) / (2.0 * g)
    needed = float(np.ceil((roots**2).min()))
    return int(needed) if needed <= MAX_VALUES else None
