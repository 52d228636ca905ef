"""Bounds of a mean that hold at every moment and from the first value on, for whatever stays within known limits.

A gambler who bets on values that are no better than zero on average does not get rich, however cleverly the stakes are
chosen: the chance that the capital ever exceeds `1 / alpha` times the first one is at most `alpha` (Ville 1939). So a
mean that would have made the gambler so rich is excluded. Nothing is supposed of the values but their limits: neither a
least number, nor a law, nor that what is rare has been seen.

Source: Waudby-Smith, Ramdas, "Estimating means of bounded random variables by betting", Journal of the Royal
Statistical Society B 86 (2024) 1-27; a mixture of constant bets as in section 4.4 there, and Robbins 1970.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from scheduler_service.stats.summaries import Values

STAKES = 0.97 * np.exp2(-np.arange(14.0))
"""Shares of the largest stake that cannot lose more than the capital. The large ones are for what shows in few values,
the small ones for small differences in many; a stake twice too large or small costs a tenth of the growth."""
PRIOR = 1.0 / (np.arange(14.0) + 1.0) / (np.arange(14.0) + 2.0)
"""Of the first capital, what is bet at each stake; the rest is never touched."""
TINY = 1e-300
MOST_VALUES = 10**8
"""Nobody waits for more: a capital that takes more is one that does not grow."""
STEPS = 40
"""Of the bisection: more digits than anybody reads."""


def log_capital(above: Values, room: Values) -> float:
    """log of the capital, at first 1, of betting that the mean of some values is above zero.

        log sum_k prior_k prod_i (1 + stake_k x_i / l_i)

    where x_i >= -l_i. Below zero at every moment, but for a chance of 1 / c that it ever reaches log c, if each value
    is at most zero in expectation, given those before it.

    Args:
        above: x_i + l_i, shape (n,), at least 0: how far each value is above its least possible one.
        room: l_i, shape (n,), greater than 0, known before x_i.
    """
    growth = above / room - 1.0
    each = np.log1p(np.multiply.outer(STAKES, growth)).sum(axis=1) + np.log(PRIOR)
    highest = float(each.max())
    return highest + float(np.log(np.exp(each - highest).sum()))


def enough_for(alpha: float) -> float:
    """The log capital that excludes something at `alpha`, which is any share of one."""
    return -math.log(max(alpha, TINY))


def excluded_from(log_capital_at: Callable[[float], float], start: float, far: float, alpha: float) -> float:
    """The value nearest to `start` that is excluded at `alpha`, on the way to `far`; `far` if none is.

    Args:
        log_capital_at: of the gambler who bets against a value; grows on the way.
        alpha: chance that the truth is ever excluded.
    """
    enough = enough_for(alpha)
    if log_capital_at(far) < enough:
        return far
    near = start
    for _ in range(STEPS):
        middle = 0.5 * (near + far)
        if log_capital_at(middle) < enough:
            near = middle
        else:
            far = middle
    return far


def values_needed(
    above: Values, room: Values, alpha: float, *, weights: Values | None = None, power: float = 0.5
) -> int | None:
    """How many values like these it takes until the capital is `1 / alpha`; None if that is beyond `MOST_VALUES`.

    The least n over the stakes with  n g - z(power) s sqrt(n) > -log alpha - log prior,  g and s being the mean and the
    standard deviation of what one value adds to the logarithm. Arguments as `log_capital`.

    Args:
        weights: how often each of the values comes, adding up to 1; equally often if None.
        power: the chance that so many are enough; one half is what happens if all goes on as it is.
    """
    from scipy import stats  # slow to import, and the service starts without it

    shares = np.full(above.size, 1.0 / above.size) if weights is None else weights
    growth = np.log1p(np.multiply.outer(STAKES, above / room - 1.0))
    mean = growth @ shares
    spread = float(stats.norm.ppf(power)) * np.sqrt(np.maximum(growth**2 @ shares - mean**2, 0.0))
    grows = mean > 0.0
    if not grows.any():
        return None
    g, s, wanted = mean[grows], spread[grows], enough_for(alpha) - np.log(PRIOR[grows])
    roots = (s + np.sqrt(s**2 + 4.0 * g * wanted)) / (2.0 * g)
    needed = float(np.ceil((roots**2).min()))
    return int(needed) if needed <= MOST_VALUES else None
