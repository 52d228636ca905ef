"""Statistical power: the improvements that an experiment can detect, and the users that it needs."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from scheduler_service.stats.arms import FAILED_RATIO
from scheduler_service.stats.betting import values_needed
from scheduler_service.stats.effect import MAX_RATIO, improvement_at
from scheduler_service.stats.metrics import Metric
from scheduler_service.stats.outcome import nearly_constant
from scheduler_service.stats.summaries import Values

MIN_IMPROVEMENT, MAX_IMPROVEMENT = 1e-4, 0.99
"""Range of the improvements that are considered, shares."""


def minimum_detectable_effect(standard_error: float, alpha: float = 0.05, power: float = 0.8) -> float:
    """The smallest difference that a two-sided test detects with probability `power`: (z(1 - alpha/2) + z(power)) se.

    In the unit of `standard_error`, for a single look at the end.

    Source: Cohen, "Statistical Power Analysis for the Behavioral Sciences", 2nd ed. 1988, section 2.
    """
    from scipy import stats  # slow to import, and the service starts without it

    return float(stats.norm.isf(alpha / 2.0) + stats.norm.isf(1.0 - power)) * standard_error


def detectable_improvement(standard_error: float, alpha: float, metric: Metric) -> float | None:
    """`minimum_detectable_effect` as an improvement; None without variation. The error is that of `effect.Effect`."""
    if nearly_constant(standard_error, 1.0):
        return None
    difference = minimum_detectable_effect(standard_error, alpha) * (-1.0 if metric.lower_is_better else 1.0)
    return improvement_at(difference if metric.is_ratio_scale else 1.0 + difference, metric)


@dataclass(frozen=True)
class Forecast:
    """A forecast of the verdict's bounds for users like the recorded ones."""

    y: Values  # mean of each user of the baseline, on the metric's scale (`arms.user_means`)
    limits: tuple[float, float] | None
    metric: Metric
    alpha: float  # of the verdict, two-sided
    power: float  # probability of detection

    def users_needed(self, improvement: float, share: float, *, supposed: float = 0.0) -> int | None:
        """Number of users of both arms until the bounds exclude the improvement `supposed`; None if they never do.

        The candidate's users are those of the baseline with the same improvement for each. The bets are those of
        `effect.difference_of_arms`, so the effect of the limits is included.

        Args:
            improvement: the true improvement, a share of the baseline; greater than `supposed`.
            share: probability that a user of the two arms is assigned to the candidate.
        """
        a, b = self._scaled(supposed), self._scaled(improvement)
        centre = float(a.mean())
        low, high = self._limits(centre)
        sign = -1.0 if self.metric.lower_is_better else 1.0
        value = sign * np.concatenate([(b - centre) / share, (centre - a) / (1.0 - share)])
        ends = [
            (low - centre) / share,
            (high - centre) / share,
            (centre - low) / (1 - share),
            (centre - high) / (1 - share),
        ]
        room = max(-sign * end for end in ends)
        weights = np.repeat([share / a.size, (1.0 - share) / a.size], a.size)
        return values_needed(
            value + room, np.full(value.size, room), self.alpha / 2.0, weights=weights, power=self.power
        )

    def pairs_needed(self, improvement: float, *, supposed: float = 0.0) -> int | None:
        """Number of users with pairs. Pairs are assumed to vary as much as single users, which is conservative."""
        sign = -1.0 if self.metric.lower_is_better else 1.0
        limit = math.log(FAILED_RATIO)
        difference = math.log1p(sign * improvement) - math.log1p(sign * supposed)
        value = sign * np.clip(difference + self.y - self.y.mean(), -limit, limit)
        room = limit - abs(math.log1p(sign * supposed))
        return values_needed(
            np.maximum(value + room, 0.0), np.full(value.size, room), self.alpha / 2.0, power=self.power
        )

    def detectable(self, users: int, share: float) -> float | None:
        """The smallest improvement that this number of users of both arms detects; None if there is none."""
        return self._smallest(users, lambda improvement: self.users_needed(improvement, share))

    def detectable_in_pairs(self, users: int) -> float | None:
        """The smallest improvement that this number of users with pairs detects; None if there is none."""
        return self._smallest(users, self.pairs_needed)

    def _smallest(self, users: int, needed: Callable[[float], int | None]) -> float | None:
        def finds(improvement: float) -> bool:
            wanted = needed(improvement)
            return wanted is not None and wanted <= users

        low, high = MIN_IMPROVEMENT, MAX_IMPROVEMENT
        if not finds(high):
            return None
        for _ in range(20):
            middle = math.sqrt(low * high)
            low, high = (low, middle) if finds(middle) else (middle, high)
        return high

    def _scaled(self, improvement: float) -> Values:
        ratio = 1.0 - improvement if self.metric.lower_is_better else 1.0 + improvement
        y = self.y + math.log(ratio) if self.metric.is_ratio_scale else self.y * ratio
        return y if self.limits is None else np.clip(y, *self.limits)

    def _limits(self, centre: float) -> tuple[float, float]:
        reach = math.log(MAX_RATIO)
        return (centre - reach, centre + reach) if self.limits is None else self.limits
