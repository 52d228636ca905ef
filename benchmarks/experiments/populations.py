"""Who asks for what, and what comes of it: simulated requests of which the truth is known."""

import math
import zlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from benchmarks.experiments.bets import Flags, Ints
from scheduler_service.stats.arms import FAILED_RATIO
from scheduler_service.stats.summaries import Values

LOG_FAILED = math.log(FAILED_RATIO)


@dataclass(frozen=True)
class Requests:
    """One entry a request; shapes (n,)."""

    bound: Values  # log of the lower bound
    excess: Values  # log of makespan / lower bound, if it is answered
    success: Flags

    def chosen(self, which: Flags | Ints) -> "Requests":
        return Requests(self.bound[which], self.excess[which], self.success[which])

    @property
    def gap(self) -> Values:
        return np.expm1(self.excess)


def rng_of(*words: str) -> np.random.Generator:
    """Random numbers of their own for each cell, the same in each run."""
    return np.random.default_rng([2026, *(zlib.crc32(word.encode()) for word in words)])


Excess = Callable[[np.random.Generator, int], Values]


@dataclass(frozen=True)
class Population:
    """Requests that are independent of each other, or of users who have a size, excess and failures of their own."""

    name: str
    excess: Excess
    failures: float = 0.0  # share of the requests

    def draw(self, rng: np.random.Generator, n: int) -> Requests:
        """Of n users with one request each."""
        return Requests(_bounds(rng, n), self.excess(rng, n), rng.random(n) >= self.failures)

    def draw_returning(self, rng: np.random.Generator, user: Ints) -> Requests:
        """Of users who come again: half of the excess and of the size is theirs; a tenth of them has all failures."""
        n_users, n = int(user.max()) + 1, user.size
        of_user, fails = self.excess(rng, n_users), rng.random(n_users) < FAILING_USERS
        excess = 0.5 * (of_user[user] + self.excess(rng, n))
        size = _bounds(rng, n_users)[user] + rng.normal(0.0, 0.05, n)
        is_failure = fails[user] & (rng.random(n) < self.failures / FAILING_USERS)
        return Requests(size, excess, ~is_failure)


FAILING_USERS = 0.1
"""Of users who come again, the share of those whose requests ever fail."""


def _bounds(rng: np.random.Generator, n: int) -> Values:
    """1 to 5 work points, few of them large."""
    points = rng.choice(5, n, p=[0.5, 0.25, 0.12, 0.08, 0.05]) + 1.0
    return np.asarray(np.log(50.0 * points**0.9) + rng.normal(0.0, 0.12, n), np.float64)


def skewed(rng: np.random.Generator, n: int) -> Values:
    """6 % on average, as greedy schedules have."""
    return rng.gamma(1.5, 0.04, n)


def heavy_tailed(rng: np.random.Generator, n: int) -> Values:
    """Pareto with tail index 1.2: the variance is infinite, before a schedule of twice its bound counts as failed."""
    return np.minimum(0.01 * rng.pareto(1.2, n), 5.0)


def tied(share: float) -> Excess:
    """So many answers equal their lower bound; the others are skewed."""

    def draw(rng: np.random.Generator, n: int) -> Values:
        return np.where(rng.random(n) < share, 0.0, rng.gamma(1.5, 0.04, n))

    return draw


# --- pairs whose mean difference is exactly zero ---

Differences = Callable[[np.random.Generator, int], Values]
"""log(makespan_b / makespan_a), as clipped: negative where the candidate is better."""


def small_wins_and_a_failure(rng: np.random.Generator, n: int) -> Values:
    """The candidate is 1.4 % better, but fails on one request in 50."""
    return np.where(rng.random(n) < 0.02, LOG_FAILED, -LOG_FAILED / 49.0)


def skewed_losses(rng: np.random.Generator, n: int) -> Values:
    """90 % ties; of the others four in five are wins of 2 %, and one is a loss of 8 % on average."""
    kind = rng.random(n)
    losses = 0.08 * np.minimum(rng.exponential(1.0, n), LOG_FAILED / 0.08)
    mean_loss = 0.08 * (1.0 - math.exp(-LOG_FAILED / 0.08))
    return np.where(kind < 0.9, 0.0, np.where(kind < 0.98, -mean_loss / 4.0, losses))


def tied_pairs(share: float) -> Differences:
    """So many ties; the other differences are exponential on either side, 4 % on average."""

    def draw(rng: np.random.Generator, n: int) -> Values:
        d = np.clip(rng.laplace(0.0, 0.04, n), -LOG_FAILED, LOG_FAILED)
        return np.where(rng.random(n) < share, 0.0, d)

    return draw


def heavy_pairs(rng: np.random.Generator, n: int) -> Values:
    """Student's t with 1.5 degrees of freedom, 1 % wide: rare differences are as large as can be counted."""
    return np.clip(0.01 * rng.standard_t(1.5, n), -LOG_FAILED, LOG_FAILED)
