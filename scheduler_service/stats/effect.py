"""By how much the candidate is better, with bounds that hold at every moment: the figure that verdicts rest on."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt

from scheduler_service.stats.arms import FAILED_RATIO, UserValues
from scheduler_service.stats.betting import enough_for, excluded_from, log_capital, values_needed
from scheduler_service.stats.metrics import Metric
from scheduler_service.stats.outcome import NotComputable, nearly_constant
from scheduler_service.stats.summaries import Values

MOST_RATIO = 4.0
"""Where nothing limits a value on the logarithmic scale, one that is so many times as large, or as small, as those of
the users before it counts as this."""
FARTHEST_RATIO = 1_000.0
"""Of means that are compared: bounds end there."""

Side = Literal["above", "below"]
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Terms:
    """One for each user: values whose mean is zero if the truth is what was supposed. Shapes (n,)."""

    value: Values
    least: Values  # below zero; what the value could have been, as was known before it was seen
    most: Values

    def bet_on(self, side: Side) -> tuple[Values, Values]:
        """`betting.log_capital`'s arguments for the gambler who says that the mean is on this side of zero."""
        if side == "above":
            return self.value - self.least, np.maximum(-self.least, _NO_ROOM)
        return self.most - self.value, np.maximum(self.most, _NO_ROOM)


_NO_ROOM = 1e-12


@dataclass(frozen=True)
class Evidence:
    """All that was seen of a difference of two means, or of a ratio; `supposing` turns one into what is bet upon."""

    supposing: Callable[[float], Terms]
    estimate: float
    standard_error: float
    none: float  # what stands for no difference: 0, or a ratio of 1
    farthest: tuple[float, float]
    n: int

    def low(self, alpha: float) -> float:
        """Below the truth at every moment, but for a chance of alpha."""
        return excluded_from(lambda supposed: self._log_capital(supposed, "above"), *self._way(0), alpha)

    def high(self, alpha: float) -> float:
        """Above the truth at every moment, but for a chance of alpha."""
        return excluded_from(lambda supposed: self._log_capital(supposed, "below"), *self._way(1), alpha)

    def needed(self, alpha: float, errors: float = 0.0) -> int | None:
        """The users from which no difference is excluded at `alpha`, if all goes on as it is; None: it never is.

        Args:
            errors: so many standard errors the truth is nearer to no difference than the estimate.
        """
        side: Side = "above" if self.estimate > self.none else "below"
        shift = errors * self.standard_error * (1.0 if side == "above" else -1.0)
        return values_needed(*self.supposing(self.none + shift).bet_on(side), alpha)

    def could_exclude(self, supposed: float, side: Side, alpha: float) -> bool:
        """Whether so many users exclude at `alpha` what is supposed, if none of them shows any difference."""
        terms, difference = self.supposing(supposed), self.none - supposed
        neutral = Terms(np.full(terms.value.size, difference), terms.least, terms.most)
        return log_capital(*neutral.bet_on(side)) >= enough_for(alpha)

    def _log_capital(self, supposed: float, side: Side) -> float:
        return log_capital(*self.supposing(supposed).bet_on(side))

    def _way(self, end: int) -> tuple[float, float]:
        return min(max(self.estimate, self.farthest[0]), self.farthest[1]), self.farthest[end]


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
    correlation: float | None  # of the makespans with the lower bounds or with their pairs; None: neither was used
    evidence: Evidence = field(repr=False, compare=False)


def improvement_at(difference: float, metric: Metric) -> float:
    """A difference of mean logarithms, or a ratio of means, as an improvement."""
    ratio = math.exp(difference) if metric.is_ratio_scale else difference
    return (1.0 - ratio if metric.lower_is_better else ratio - 1.0) + 0.0  # + 0.0 turns -0.0 into 0.0


def effect_of_arms(users: UserValues, metric: Metric, alpha: float) -> Effect | NotComputable:
    """The improvement of the candidate over the baseline, independent users.

    On the logarithmic scale it is that of geometric means; otherwise of the ratio of means.
    """
    evidence = difference_of_arms(users) if metric.is_ratio_scale else ratio_of_arms(users)
    if isinstance(evidence, NotComputable):
        return evidence
    return _effect(evidence, users.correlation, metric, alpha)


def effect_of_pairs(a: Values, b: Values, metric: Metric, alpha: float) -> Effect | NotComputable:
    """The improvement of `b` over `a` where both were computed for the same instances; `a[i]` belongs to `b[i]`.

    d = b - a on the logarithmic scale, from -log `FAILED_RATIO` to log `FAILED_RATIO`; se = s_d / sqrt(n).
    """
    limit = math.log(FAILED_RATIO)
    evidence = difference_of_pairs(np.clip(b - a, -limit, limit), limit)
    if isinstance(evidence, NotComputable):
        return evidence
    varies = a.size > 1 and not any(nearly_constant(float(side.std()), 1.0) for side in (a, b))
    return _effect(evidence, float(np.corrcoef(a, b)[0, 1]) if varies else None, metric, alpha)


def difference_of_pairs(d: Values, limit: float) -> Evidence | NotComputable:
    """Of the mean of differences of one user's results each, shape (n,), from -limit to limit."""
    if not d.size:
        return NotComputable("no_data", "there are no pairs yet")
    ends = np.full(d.size, limit)
    return Evidence(
        supposing=lambda supposed: Terms(d - supposed, -ends - supposed, ends - supposed),
        estimate=float(d.mean()),
        standard_error=_error(d),
        none=0.0,
        farthest=(-limit, limit),
        n=d.size,
    )


def difference_of_arms(users: UserValues) -> Evidence | NotComputable:
    """Of the candidate's and the baseline's mean, m_b - m_a.

    z_i = (y_i - c_i) / p_i for a user of the candidate, -(y_i - c_i) / (1 - p_i) for one of the baseline
    E z_i = m_b - m_a

    p_i is the chance that the user fell into the candidate's arm, and c_i the mean of the users before: both are known
    before the user's arm and value are, so the terms are as good as independent whatever the split is and however it
    changes. The first user only centres the others. The estimate itself is the difference of the arms' means, by
    periods of one split.

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
    least = np.minimum((low - c) / p, (c - high) / (1.0 - p))
    most = np.maximum((high - c) / p, (c - low) / (1.0 - p))
    farthest = float((high - low).max())
    return Evidence(
        supposing=lambda supposed: Terms(value - supposed, least - supposed, most - supposed),
        estimate=means[1] - means[0],
        standard_error=math.hypot(_error(a), _error(b)),
        none=0.0,
        farthest=(-farthest, farthest),
        n=a.size + b.size,
    )


def ratio_of_arms(users: UserValues) -> Evidence | NotComputable:
    """Of the candidate's mean over the baseline's, m_b / m_a; neither is below 0.

    z_i(r) = 1{candidate} (y_i - c_i) / p_i + c_i - r (1{baseline} (y_i - c_i) / (1 - p_i) + c_i)
    E z_i(r) = m_b - r m_a

    which is zero at the true ratio (as in Fieller's theorem). The standard error is that of the delta method, as in
    `lift`, but no less than at r = 1.
    """
    arms = _arms(users)
    if isinstance(arms, NotComputable):
        return arms
    a, b, y, c, low, high = arms
    base, mean_b = _means(users.share, users.is_candidate, a, b)
    if not base > 0.0:
        return NotComputable("baseline_not_positive", f"the mean of the baseline is {base:g}")
    p, in_b = users.share[1:], users.is_candidate[1:]
    of_b, of_a = np.where(in_b, (y - c) / p, 0.0) + c, np.where(in_b, 0.0, (y - c) / (1.0 - p)) + c
    (of_b_low, of_b_high), (of_a_low, of_a_high) = (
        ((low - c) / share + c, (high - c) / share + c) for share in (p, 1.0 - p)
    )

    def supposing(ratio: float) -> Terms:
        least = np.minimum(of_b_low - ratio * c, c - ratio * of_a_high)
        most = np.maximum(of_b_high - ratio * c, c - ratio * of_a_low)
        return Terms(of_b - ratio * of_a, least, most)

    ratio = mean_b / base
    return Evidence(
        supposing=supposing,
        estimate=ratio,
        standard_error=math.hypot(max(ratio, 1.0) * _error(a), _error(b)) / base,
        none=1.0,
        farthest=(0.0, FARTHEST_RATIO),
        n=a.size + b.size,
    )


def _means(share: Values, is_candidate: Flags, a: Values, b: Values) -> tuple[float, float]:
    """Of the baseline's and of the candidate's users, each period of one split weighted by all users that came in it.

    What else changed when the split did (the season, the plants) would be taken for an effect otherwise. Periods that
    one of the arms had no user in are left out, unless there is no other.
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
    """(y of the baseline's, of the candidate's users; of all but the first y, mean of those before, least, greatest).

    Where no limits are known they are those of `MOST_RATIO` around the mean of those before.
    """
    y, n = users.y, np.arange(users.y.size, dtype=np.float64)
    counts = users.a.size, users.b.size
    if min(counts) == 0:
        return NotComputable("too_few_units", f"each arm needs a user; they have {counts[0]} and {counts[1]}")
    if users.limits is None:
        y, reach = y.copy(), math.log(MOST_RATIO)
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


def _error(values: Values) -> float:
    return float(values.std(ddof=1)) / math.sqrt(values.size) if values.size > 1 else 0.0
