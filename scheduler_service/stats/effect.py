"""By how much the candidate is better, with bounds that hold at every moment: the figure that verdicts rest on."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from scheduler_service.stats.cuped import adjust
from scheduler_service.stats.lift import LEAST_BASELINE_ERRORS
from scheduler_service.stats.metrics import Metric
from scheduler_service.stats.outcome import NotComputable, nearly_constant
from scheduler_service.stats.sequential import boundary
from scheduler_service.stats.summaries import Values

LEAST_USERS = 25
"""Of each arm; with fewer the bounds, which are asymptotic, are not to be relied upon (docs/statistics.md)."""
TUNED_FOR = 400
"""Users, or pairs, at which the bounds are tightest."""


@dataclass(frozen=True)
class Effect:
    """The improvement of the candidate, a share of the baseline; positive is better whatever the metric's direction.

    `low` and `high` hold at all moments together with chance 1 - alpha.
    """

    improvement: float
    low: float
    high: float
    alpha: float
    standard_error: float  # of the difference on the scale it is taken on
    units: int  # users of both arms, or pairs
    correlation: float | None  # of the metric with the covariate or with its pair; None: neither was used

    def margin_low(self, alpha: float, metric: Metric) -> float:
        """The one-sided lower bound of the improvement at `alpha`, also valid at every moment."""
        return self._shifted(-self._radius(alpha, sides=1), metric)

    def margin_high(self, alpha: float, metric: Metric) -> float:
        """The one-sided upper bound of the improvement at `alpha`."""
        return self._shifted(self._radius(alpha, sides=1), metric)

    def _radius(self, alpha: float, *, sides: Literal[1, 2]) -> float:
        return self.standard_error * float(boundary(np.array([float(self.units)]), alpha, TUNED_FOR, sides=sides)[0])

    def _shifted(self, by: float, metric: Metric) -> float:
        centre = to_scale(self.improvement, metric)
        return to_improvement(centre + by, metric)


def to_scale(improvement: float, metric: Metric) -> float:
    """The difference "better by", on the scale where it is additive: minus the log ratio where lower is better."""
    if not metric.is_ratio_scale:
        return improvement
    return -math.log1p(-improvement) if metric.lower_is_better else math.log1p(improvement)


def to_improvement(scaled: float, metric: Metric) -> float:
    """The inverse of `to_scale`."""
    if not metric.is_ratio_scale:
        return scaled
    return -math.expm1(-scaled) if metric.lower_is_better else math.expm1(scaled)


def effect_of_arms(
    a: Values, b: Values, covariates: tuple[Values, Values] | None, metric: Metric, alpha: float
) -> Effect | NotComputable:
    """The improvement of `b` over `a`, independent users.

    Without a covariate the difference of means, se^2 = s_a^2 / n_a + s_b^2 / n_b. With one: both are adjusted first,
    y' = y - theta (x - mean(x)) with one theta for both arms (CUPED, see `cuped`). On the logarithmic scale exp of the
    difference is the ratio of geometric means; otherwise the difference is divided by the baseline's mean m_a, and the
    error is that of the ratio r = m_b / m_a by the delta method, se^2 = (r^2 v_a + v_b) / m_a^2 (as in `lift`), but no
    less than at r = 1.

    Args:
        a, b: on the metric's scale (`arms.user_means_on_scale`), one value per user, shapes (n_a,) and (n_b,).
        covariates: of the same users.
    """
    if min(a.size, b.size) < LEAST_USERS:
        return NotComputable(
            "too_few_units", f"each arm needs at least {LEAST_USERS} users; they have {a.size} and {b.size}"
        )
    correlation = None
    base = float(a.mean())
    if covariates is not None and not isinstance(adjustment := adjust(a, b, *covariates), NotComputable):
        a, b, correlation = adjustment.a, adjustment.b, adjustment.correlation
    difference = float(b.mean() - a.mean())
    errors = math.sqrt(a.var(ddof=1) / a.size), math.sqrt(b.var(ddof=1) / b.size)
    standard_error = math.hypot(*errors)
    if not metric.is_ratio_scale and base > 0.0:
        if base < LEAST_BASELINE_ERRORS * errors[0]:
            return NotComputable(
                "baseline_near_zero",
                f"the mean of model_a, {base:g}, is within {LEAST_BASELINE_ERRORS:g} standard errors of zero",
            )
        standard_error = max(math.hypot((1.0 + difference / base) * errors[0], errors[1]), standard_error)
    return _effect(difference, standard_error, a.size + b.size, base, correlation, metric, alpha)


def effect_of_pairs(a: Values, b: Values, metric: Metric, alpha: float) -> Effect | NotComputable:
    """The improvement of `b` over `a` where both were computed for the same instances; `a[i]` belongs to `b[i]`.

    d = b - a on the metric's scale;  se = s_d / sqrt(n).
    """
    if a.size < LEAST_USERS:
        return NotComputable("too_few_units", f"a paired verdict needs {LEAST_USERS} pairs; there are {a.size}")
    d = b - a
    correlation = float(np.corrcoef(a, b)[0, 1]) if a.std() > 0.0 and b.std() > 0.0 else None
    standard_error = float(d.std(ddof=1) / math.sqrt(d.size))
    return _effect(float(d.mean()), standard_error, d.size, float(a.mean()), correlation, metric, alpha)


def _effect(
    difference: float,
    standard_error: float,
    n: int,
    base: float,
    correlation: float | None,
    metric: Metric,
    alpha: float,
) -> Effect | NotComputable:
    # On the logarithmic scale an error is relative already, and the mean may be zero.
    sizes = (1.0,) if metric.is_ratio_scale else (base, base + difference)
    if nearly_constant(standard_error, *sizes):
        return NotComputable("no_variation", "within each arm all users have the same value, so there is no error")
    if not metric.is_ratio_scale:
        if not base > 0.0:
            return NotComputable("baseline_not_positive", f"the mean of the baseline is {base:g}")
        difference, standard_error = difference / base, standard_error / base
    better = -difference if metric.lower_is_better else difference
    radius = standard_error * float(boundary(np.array([float(n)]), alpha, TUNED_FOR, sides=2)[0])
    return Effect(
        improvement=to_improvement(better, metric),
        low=to_improvement(better - radius, metric),
        high=to_improvement(better + radius, metric),
        alpha=alpha,
        standard_error=standard_error,
        units=n,
        correlation=correlation,
    )
