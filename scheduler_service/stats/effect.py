"""The improvement of the candidate with anytime-valid bounds; verdicts are based on it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt

from scheduler_service.stats.arms import FAILED_RATIO, UserValues
from scheduler_service.stats.betting import exclusion_threshold, log_capital, nearest_excluded, values_needed
from scheduler_service.stats.metrics import Metric
from scheduler_service.stats.outcome import NotComputable, nearly_constant
from scheduler_service.stats.summaries import Values

MAX_RATIO = 4.0
"""On a logarithmic scale without limits, a value is clipped to this factor above or below the mean of the previous
users."""
PAIR_LIMIT = math.log(FAILED_RATIO)
"""The differences of pairs, on the logarithmic scale, are clipped to +- this value."""
MAX_RATIO_OF_MEANS = 1_000.0
"""Bounds of a ratio of means are limited to this value."""

Side = Literal["above", "below"]
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Terms:
    """One value per user, whose expectation is zero if the supposed difference is the true one. Shapes (n,)."""

    value: Values
    low: Values  # limits of the value, known before it was observed; low is below zero
    high: Values

    def bet_on(self, side: Side) -> tuple[Values, Values]:
        """The arguments of `betting.log_capital` for bets that the mean is on this side of zero."""
        if side == "above":
            return self.value - self.low, np.maximum(-self.low, _NO_ROOM)
        return self.high - self.value, np.maximum(self.high, _NO_ROOM)


_NO_ROOM = 1e-12


@dataclass(frozen=True)
class Evidence:
    """The data on a difference of two means, or on their ratio."""

    terms_at: Callable[[float], Terms]  # the terms for a supposed difference (or ratio)
    estimate: float
    standard_error: float
    none: float  # the value of "no difference": 0, or 1 for a ratio
    farthest: tuple[float, float]  # limits of the bounds
    n: int
    weights: Values | None = None  # number of users with each term; None: one

    def low(self, alpha: float) -> float:
        """Lower bound; with probability 1 - alpha it is below the true value at all times."""
        return nearest_excluded(lambda supposed: self._log_capital(supposed, "above"), *self._search_interval(0), alpha)

    def high(self, alpha: float) -> float:
        """Upper bound; with probability 1 - alpha it is above the true value at all times."""
        return nearest_excluded(lambda supposed: self._log_capital(supposed, "below"), *self._search_interval(1), alpha)

    def needed(self, alpha: float, errors: float = 0.0) -> int | None:
        """The number of users at which "no difference" is excluded, if the data continue like this; None: never.

        Args:
            errors: the true value is assumed this many standard errors closer to no difference than the estimate.
        """
        side: Side = "above" if self.estimate > self.none else "below"
        shift = errors * self.standard_error * (1.0 if side == "above" else -1.0)
        shares = None if self.weights is None else self.weights / self.weights.sum()
        return values_needed(*self.terms_at(self.none + shift).bet_on(side), alpha, weights=shares)

    def could_exclude(self, supposed: float, side: Side, alpha: float) -> bool:
        """Whether this number of users can exclude the supposed value at `alpha`, if they show no difference."""
        terms, difference = self.terms_at(supposed), self.none - supposed
        neutral = Terms(np.full(terms.value.size, difference), terms.low, terms.high)
        return log_capital(*neutral.bet_on(side), self.weights) >= exclusion_threshold(alpha)

    def _log_capital(self, supposed: float, side: Side) -> float:
        return log_capital(*self.terms_at(supposed).bet_on(side), self.weights)

    def _search_interval(self, end: int) -> tuple[float, float]:
        return min(max(self.estimate, self.farthest[0]), self.farthest[1]), self.farthest[end]


@dataclass(frozen=True)
class Effect:
    """The improvement of the candidate as a share of the baseline; positive is better for any direction of the metric.

    `low` and `high` are valid at all times simultaneously with probability 1 - alpha.
    """

    improvement: float
    low: float
    high: float
    alpha: float
    standard_error: float  # of the difference, on the scale of the evidence
    units: int  # users of both arms, or users with pairs
    correlation: float | None  # of makespans and lower bounds, or of both sides of the pairs; None if not applicable
    evidence: Evidence = field(repr=False, compare=False)


def improvement_at(difference: float, metric: Metric) -> float:
    """A difference of mean logarithms, or a ratio of means, converted to an improvement (share of the baseline)."""
    ratio = math.exp(difference) if metric.is_ratio_scale else difference
    return (1.0 - ratio if metric.lower_is_better else ratio - 1.0) + 0.0  # + 0.0 turns -0.0 into 0.0


def effect_of_arms(users: UserValues, metric: Metric, alpha: float) -> Effect | NotComputable:
    """The improvement of the candidate over the baseline, from independent users.

    For metrics on a ratio scale it compares geometric means, otherwise the ratio of means.
    """
    evidence = difference_of_arms(users) if metric.is_ratio_scale else ratio_of_arms(users)
    if isinstance(evidence, NotComputable):
        return evidence
    return _effect(evidence, users.correlation, metric, alpha)


def effect_of_pairs(a: Values, b: Values, metric: Metric, alpha: float) -> Effect | NotComputable:
    """The improvement of `b` over `a`, computed for the same instances: `a[i]` and `b[i]` are a pair.

    d = b - a on the logarithmic scale, clipped to -log `FAILED_RATIO` .. log `FAILED_RATIO`; se = s_d / sqrt(n).
    """
    return effect_of_differences(np.clip(b - a, -PAIR_LIMIT, PAIR_LIMIT), correlation_of(a, b), metric, alpha)


def effect_of_differences(
    d: Values, correlation: float | None, metric: Metric, alpha: float, weights: Values | None = None
) -> Effect | NotComputable:
    """As `effect_of_pairs`, of clipped differences; `weights` as for `difference_of_pairs`."""
    evidence = difference_of_pairs(d, PAIR_LIMIT, weights)
    return evidence if isinstance(evidence, NotComputable) else _effect(evidence, correlation, metric, alpha)


def correlation_of(a: Values, b: Values) -> float | None:
    """The correlation of both sides of pairs, shapes (n,); None if a side does not vary."""
    varies = a.size > 1 and not any(nearly_constant(float(side.std()), 1.0) for side in (a, b))
    return float(np.corrcoef(a, b)[0, 1]) if varies else None


def difference_of_pairs(d: Values, limit: float, weights: Values | None = None) -> Evidence | NotComputable:
    """The evidence on the mean of the users' differences.

    Args:
        d: shape (n,), in -limit .. limit.
        weights: number of users with each difference, shape (n,); None: one.
    """
    if not d.size:
        return NotComputable("no_data", "no_pairs")
    ends = np.full(d.size, limit)
    return Evidence(
        terms_at=lambda supposed: Terms(d - supposed, -ends - supposed, ends - supposed),
        estimate=float(d.mean() if weights is None else np.average(d, weights=weights)),
        standard_error=_error(d, weights),
        none=0.0,
        farthest=(-limit, limit),
        n=d.size if weights is None else round(float(weights.sum())),
        weights=weights,
    )


def difference_of_arms(users: UserValues) -> Evidence | NotComputable:
    """The evidence on the difference of the candidate's and the baseline's mean, m_b - m_a.

    z_i = (y_i - c_i) / p_i for a user of the candidate, -(y_i - c_i) / (1 - p_i) for one of the baseline
    E z_i = m_b - m_a

    p_i is the probability of assignment to the candidate, and c_i the mean of the previous users. Both are known before
    the user's arm and value, so the expectation holds for any split and for changing splits. The first user only
    provides c for the others. The estimate is the difference of the arms' means, weighted over periods of equal split.

    Source: inverse probability weights: Horvitz, Thompson, Journal of the American Statistical Association 47 (1952)
    663-685; bets upon them: Karampatziakis, Mineiro, Ramdas, ICML 2021, section 4.
    """
    arms = _arms(users)
    if isinstance(arms, NotComputable):
        return arms
    a, b, y, c, low, high = arms
    means = _means(users.share, users.is_candidate, a, b)
    p, in_b = users.share[1:], users.is_candidate[1:]
    value = np.where(in_b, (y - c) / p, (c - y) / (1.0 - p))
    min_value = np.minimum((low - c) / p, (c - high) / (1.0 - p))
    max_value = np.maximum((high - c) / p, (c - low) / (1.0 - p))
    farthest = float((high - low).max())
    return Evidence(
        terms_at=lambda supposed: Terms(value - supposed, min_value - supposed, max_value - supposed),
        estimate=means[1] - means[0],
        standard_error=math.hypot(_error(a), _error(b)),
        none=0.0,
        farthest=(-farthest, farthest),
        n=a.size + b.size,
    )


def ratio_of_arms(users: UserValues) -> Evidence | NotComputable:
    """The evidence on the ratio of the candidate's and the baseline's mean, m_b / m_a; neither is negative.

    z_i(r) = 1{candidate} (y_i - c_i) / p_i + c_i - r (1{baseline} (y_i - c_i) / (1 - p_i) + c_i)
    E z_i(r) = m_b - r m_a, which is zero at the true ratio (as in Fieller's theorem)

    The standard error is that of the delta method, as in `lift`, but at least that at r = 1.
    """
    arms = _arms(users)
    if isinstance(arms, NotComputable):
        return arms
    a, b, y, c, low, high = arms
    base, mean_b = _means(users.share, users.is_candidate, a, b)
    if not base > 0.0:
        return NotComputable("baseline_not_positive", mean=base)
    p, in_b = users.share[1:], users.is_candidate[1:]
    of_b, of_a = np.where(in_b, (y - c) / p, 0.0) + c, np.where(in_b, 0.0, (y - c) / (1.0 - p)) + c
    (of_b_low, of_b_high), (of_a_low, of_a_high) = (
        ((low - c) / share + c, (high - c) / share + c) for share in (p, 1.0 - p)
    )

    def terms_at(ratio: float) -> Terms:
        min_value = np.minimum(of_b_low - ratio * c, c - ratio * of_a_high)
        max_value = np.maximum(of_b_high - ratio * c, c - ratio * of_a_low)
        return Terms(of_b - ratio * of_a, min_value, max_value)

    ratio = mean_b / base
    return Evidence(
        terms_at=terms_at,
        estimate=ratio,
        standard_error=math.hypot(max(ratio, 1.0) * _error(a), _error(b)) / base,
        none=1.0,
        farthest=(0.0, MAX_RATIO_OF_MEANS),
        n=a.size + b.size,
    )


def _means(share: Values, is_candidate: Flags, a: Values, b: Values) -> tuple[float, float]:
    """The means of the baseline's and the candidate's users, with each period of equal split weighted by its users.

    Without the weights, other changes at the same time as the split (the season, the plants) would appear as an effect.
    Periods without a user of one of the arms are left out, unless there are no others.
    """
    periods, period = np.unique(share, return_inverse=True)
    of_a, of_b = period[~is_candidate], period[is_candidate]
    n_a, n_b = np.bincount(of_a, minlength=periods.size), np.bincount(of_b, minlength=periods.size)
    has_both = (n_a > 0) & (n_b > 0)
    if periods.size == 1 or not has_both.any():
        return float(a.mean()), float(b.mean())
    weights = (n_a + n_b)[has_both] / float((n_a + n_b)[has_both].sum())
    sums = (np.bincount(of_a, weights=a, minlength=periods.size), np.bincount(of_b, weights=b, minlength=periods.size))
    mean_a, mean_b = (
        float(weights @ (total[has_both] / n[has_both])) for total, n in zip(sums, (n_a, n_b), strict=True)
    )
    return mean_a, mean_b


def _arms(users: UserValues) -> tuple[Values, Values, Values, Values, Values, Values] | NotComputable:
    """(y of the baseline's users; y of the candidate's; for all users but the first: y, mean of the previous, limits).

    If the values have no limits, they are clipped to `MAX_RATIO` around the mean of the previous users.
    """
    y, n = users.y, np.arange(users.y.size, dtype=np.float64)
    counts = users.a.size, users.b.size
    if min(counts) == 0:
        return NotComputable("too_few_units", least=1, users=counts)
    if users.limits is None:
        y, reach = y.copy(), math.log(MAX_RATIO)
        c, total = np.empty(y.size), 0.0
        for i, value in enumerate(y):
            c[i] = total / i if i else value
            y[i] = min(max(value, c[i] - reach), c[i] + reach)
            total += y[i]
        low, high = c - reach, c + reach
    else:
        low, high = (np.full(y.size, limit) for limit in users.limits)
        c = np.clip((np.cumsum(y) - y) / np.maximum(n, 1.0), low, high)
    return y[~users.is_candidate], y[users.is_candidate], y[1:], c[1:], low[1:], high[1:]


def _effect(evidence: Evidence, correlation: float | None, metric: Metric, alpha: float) -> Effect:
    bounds = [improvement_at(bound, metric) for bound in (evidence.low(alpha / 2.0), evidence.high(alpha / 2.0))]
    low, high = min(bounds), max(bounds)
    return Effect(
        improvement=min(max(improvement_at(evidence.estimate, metric), low), high),
        low=low,
        high=high,
        alpha=alpha,
        standard_error=evidence.standard_error,
        units=evidence.n,
        correlation=correlation,
        evidence=evidence,
    )


def _error(values: Values, weights: Values | None = None) -> float:
    if weights is None:
        return float(values.std(ddof=1)) / math.sqrt(values.size) if values.size > 1 else 0.0
    n = float(weights.sum())
    squares = float(weights @ (values - np.average(values, weights=weights)) ** 2)
    return math.sqrt(squares / (n - 1.0) / n) if n > 1.0 else 0.0
