"""What an experiment could have found, and how long it takes to find more."""

from __future__ import annotations

import math

import numpy as np

from scheduler_service.stats.sequential import boundary


def minimum_detectable_effect(standard_error: float, alpha: float = 0.05, power: float = 0.8) -> float:
    """The smallest difference that a two-sided test finds with chance `power`: (z(1 - alpha/2) + z(power)) se.

    In the unit of `standard_error`; of one look at the end.

    Source: Cohen, "Statistical Power Analysis for the Behavioral Sciences", 2nd ed. 1988, section 2.
    """
    from scipy import stats  # slow to import, and the service starts without it

    return float(stats.norm.isf(alpha / 2.0) + stats.norm.isf(1.0 - power)) * standard_error


def sequential_detectable_effect(
    units: int, deviation: float, alpha: float, tuned_for: float, power: float = 0.8
) -> float:
    """The smallest difference that a sequential two-sided bound tells from zero after `units`, with chance `power`.

    (boundary(n) + z(power)) deviation / sqrt(n): the bound excludes zero where the estimate is beyond boundary(n)
    standard errors. Earlier looks find some of them already, so the chance is at least `power`.

    Args:
        deviation: such that deviation / sqrt(n) is the standard error after n units.
    """
    from scipy import stats  # slow to import, and the service starts without it

    width = float(boundary(np.array([float(units)]), alpha, tuned_for, sides=2)[0])
    return (width + float(stats.norm.isf(1.0 - power))) * deviation / math.sqrt(units)


def units_needed(
    difference: float, deviation: float, alpha: float, tuned_for: float, *, power: float = 0.5, most: int = 10**8
) -> int:
    """The number of units from which a sequential two-sided bound excludes zero, with chance `power`.

    The smallest n with `sequential_detectable_effect(n)` < |difference|, which falls with n. At one half it is where
    the bound excludes zero if the estimate is just the difference; that is the projection of an experiment that runs.

    Args:
        deviation: such that deviation / sqrt(n) is the standard error after n units.
    """
    if difference == 0.0:
        return most
    low, high = 1, most
    while low < high:
        middle = (low + high) // 2
        width = sequential_detectable_effect(middle, deviation, alpha, tuned_for, power)
        low, high = (low, middle) if width < abs(difference) else (middle + 1, high)
    return low
