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


def units_needed(difference: float, deviation: float, alpha: float, tuned_for: float, *, most: int = 10**8) -> int:
    """The number of units from which a sequential two-sided bound excludes zero, if the difference stays as it is.

    The smallest n with boundary(n) deviation / sqrt(n) < |difference|; the bound's width falls with n.

    Args:
        deviation: such that deviation / sqrt(n) is the standard error after n units.
    """
    if difference == 0.0:
        return most
    low, high = 1, most
    while low < high:
        middle = (low + high) // 2
        width = float(boundary(np.array([float(middle)]), alpha, tuned_for, sides=2)[0]) * deviation / math.sqrt(middle)
        low, high = (low, middle) if width < abs(difference) else (middle + 1, high)
    return low
