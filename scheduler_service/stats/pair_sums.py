"""The figures that a verdict on pairs rests on. They come from a data frame, or as sums from a database.

The bounds of a verdict are no function of a few moments: they need sum_i log(1 + stake x_i) for many stakes. A database
therefore returns the users' differences in `BINS` bins, each with its number of users and its first three moments, and
`quadrature` replaces the users of a bin by the two values that have the same moments. A sum of logarithms is then exact
up to the fourth power of the width of a bin: 1e-12, relative. One or two users of a bin are replaced by themselves.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

import numpy as np

from scheduler_service.stats.effect import PAIR_LIMIT, correlation_of
from scheduler_service.stats.metrics import Metric
from scheduler_service.stats.optimality import Proven
from scheduler_service.stats.outcome import NotComputable, nearly_constant
from scheduler_service.stats.summaries import Values

TIE = 1e-9
"""Two schedules are equally long if their makespans differ by at most this share."""
BINS = 4_096
"""Even, so that equal users, whose difference is 0, are at the centre of a bin."""
WIDTH = 2.0 * PAIR_LIMIT / BINS
BINS_A_SIDE = 20
"""Bins of a chart for each side."""
SHOWN_SHARE = 0.99
"""Of the differences, the share within the range of the chart; larger ones are counted in its outermost bins."""
NO_REACH = 0.01
"""Range of a chart of ties."""


@dataclass(frozen=True, kw_only=True)
class Users:
    """The users' mean log makespans of both sides, a and b, and d = b - a; shapes (k,)."""

    n: int
    means: tuple[float, float]  # of a and b
    mean_difference: float
    standard_error: float  # of the mean difference
    correlation: float | None  # of a and b; None if one does not vary
    differences: Values  # clipped to +- `PAIR_LIMIT`
    weights: Values | None = None  # number of users with each difference; None: one

    @classmethod
    def of(cls, a: Values, b: Values) -> Users:
        """From the values of each user, shapes (n,)."""
        d = b - a
        return cls(
            n=int(d.size),
            means=(float(a.mean()), float(b.mean())) if d.size else (0.0, 0.0),
            mean_difference=float(d.mean()) if d.size else 0.0,
            standard_error=float(d.std(ddof=1)) / math.sqrt(d.size) if d.size > 1 else 0.0,
            correlation=correlation_of(a, b),
            differences=np.clip(d, -PAIR_LIMIT, PAIR_LIMIT),
        )

    @classmethod
    def of_bins(cls, bins: Sequence[Mapping[str, Any]], near: tuple[float, float]) -> Users:
        """From the bins of `d`.

        Args:
            bins: `bin`, the number of d / `WIDTH` rounded; `n` users; the sums `x1`, `x2`, `x3` of the powers of the
                distance from the centre in half widths, -1..1; and the sums of a, b, a², b², a b, d and d², where a and
                b are distances from `near`, and d is that of the unclipped difference from the difference of `near`.
            near: values near the means of a and b; then the sums lose no digits.
        """
        total = {name: math.fsum(row[name] for row in bins) for name in ("n", "a", "b", "d", "aa", "bb", "ab", "dd")}
        n = max(total["n"], 1.0)
        mean = {name: total[name] / n for name in "abd"}

        def covariance(first: str, second: str) -> float:
            return total[first + second] / n - mean[first] * mean[second]

        of_a, of_b = (math.sqrt(max(0.0, covariance(side, side))) for side in "ab")
        varies = n > 1.0 and not any(nearly_constant(spread, 1.0) for spread in (of_a, of_b))
        differences, weights = quadrature(bins)
        return cls(
            n=round(total["n"]),
            means=(near[0] + mean["a"], near[1] + mean["b"]),
            mean_difference=near[1] - near[0] + mean["d"],
            standard_error=math.sqrt(max(0.0, covariance("d", "d")) / (n - 1.0)) if n > 1.0 else 0.0,
            correlation=min(max(covariance("a", "b") / (of_a * of_b), -1.0), 1.0) if varies else None,
            differences=differences,
            weights=weights,
        )


@dataclass(frozen=True, kw_only=True)
class PairSums:
    """The figures of pairs of one candidate; of those that can be compared, unless it says otherwise."""

    pairs: int
    users: Users
    is_one_model: bool  # of all pairs: both sides have the same key
    wins: int
    ties: int
    losses: int
    failures: tuple[int, int]  # of all pairs
    proven: tuple[Proven, Proven]  # of all pairs: the answers of both sides
    distinct_instances: int
    worst: tuple[dict[str, Any], ...]
    unrecorded: NotComputable | None  # set if all pairs are older than the metric; then everything else is empty


def no_pairs(unrecorded: NotComputable | None = None) -> PairSums:
    """The figures of no pair."""
    return PairSums(
        pairs=0,
        users=Users.of(np.empty(0), np.empty(0)),
        is_one_model=False,
        wins=0,
        ties=0,
        losses=0,
        failures=(0, 0),
        proven=(Proven(0, 0), Proven(0, 0)),
        distinct_instances=0,
        worst=(),
        unrecorded=unrecorded,
    )


@dataclass(frozen=True)
class Differences:
    """How many pairs differ by how much, for a chart. Both sides have `BINS_A_SIDE` bins from 0 to `reach`."""

    reach: float  # share of the baseline
    lost: Values  # pairs, by the size of the loss
    tied: int
    won: Values
    unanswered: int  # pairs that a model failed, which have no difference

    @property
    def n(self) -> int:
        return self.tied + round(float(self.lost.sum() + self.won.sum()))


def differences_of(improvement: Values, unanswered: int) -> Differences:
    """From the improvement of each pair, a share of the baseline, 0 for a tie; shape (n,)."""
    size = np.abs(improvement)
    untied = size[size > 0.0]
    reach = float(np.quantile(untied, SHOWN_SHARE)) if untied.size else NO_REACH
    edges = np.linspace(0.0, reach, BINS_A_SIDE + 1)
    lost, won = (
        np.histogram(np.minimum(size[side], reach), edges)[0].astype(np.float64)
        for side in (improvement < 0.0, improvement > 0.0)
    )
    return Differences(reach, lost, int(size.size - untied.size), won, unanswered)


class Replayed(Protocol):
    """The pairs of one candidate's last replay, which are too many to be read."""

    @property
    def number(self) -> int | None:
        """Of the replay among all replays of the two models."""

    def sums(self, metric: Metric, until: datetime | None = None) -> PairSums:
        """The figures of all pairs, or of those recorded until then."""

    def moments(self, most: int) -> list[datetime]:
        """Times of up to `most` pairs, evenly spaced by place, the first and the last among them."""

    def differences(self, metric: Metric) -> Differences:
        """Of the pairs that both models answered."""


def quadrature(bins: Sequence[Mapping[str, Any]]) -> tuple[Values, Values]:
    """(values, weights), shapes (k,): up to two values for each bin, with the moments 0 to 3 of its users.

    The nodes t of the Gaussian quadrature of a distribution with variance v and third central moment c are the roots of
    t² - (c / v) t - v = 0. Arguments as for `Users.of_bins`.
    """
    place, n, x1, x2, x3 = (
        np.array([row[name] for row in bins], np.float64) for name in ("bin", "n", "x1", "x2", "x3")
    )
    mean, square, cube = x1 / n, x2 / n, x3 / n
    variance = np.maximum(square - mean**2, 0.0)
    third = cube - 3.0 * mean * square + 2.0 * mean**3
    is_one = variance < 1e-14  # equal values: the rest is rounding
    variance = np.where(is_one, 1.0, variance)
    skew = np.where(is_one, 0.0, third / variance)
    root = np.sqrt(skew**2 + 4.0 * variance)
    right, left = 0.5 * (skew + root), 0.5 * (skew - root)
    share = np.where(is_one, 1.0, -left / root)  # of the right node
    nodes = np.where(is_one, 0.0, np.clip(np.stack((right, left)), -1.0 - mean, 1.0 - mean)) + mean
    values = np.clip((place + 0.5 * nodes) * WIDTH, -PAIR_LIMIT, PAIR_LIMIT)
    weights = np.stack((n * share, n * (1.0 - share)))
    has_users = weights > 0.0
    return values[has_users], weights[has_users]
