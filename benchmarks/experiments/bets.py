"""The bets of `scheduler_service.stats.effect` at every look of an experiment: the same figures, quicker.

`effect_of_arms` computes the capital of all users at each call. Where each user has one request the capital of the
first n users is that of the first n - 1 and one factor more; where users come again, their means and all factors
change with each request, and all of them are computed again. The benchmark compares both ways at every alarm and at a
sample of the other looks (`checks`).
"""

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from scheduler_env.compilation import compiled_fast
from scheduler_service.stats.betting import PRIOR, STAKES
from scheduler_service.stats.summaries import Values

Flags = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]

LOST = 1e-200
"""Of the first capital."""
BLOCK = 128
"""Factors that are multiplied before a logarithm is taken: so many do not leave the range of numbers."""

NEVER = -1
"""In the place of a look: there is none."""


def first_alarms(
    y: Values,
    in_b: Flags,
    share: Values,
    limits: tuple[float, float],
    enough: tuple[float, float],
    supposed: float = 0.0,
    both_from: int = 0,
) -> tuple[int, int]:
    """The numbers of users at which the bet that the difference of the arms is above, and below, `supposed` is won.

    Each user has one request; looked at after each. `NEVER` where it is not won.

    Args:
        y, in_b, share: as `arms.UserValues`, shapes (n,).
        limits: that y stays within.
        enough: the capitals to reach, above and below; infinite for a bet that does not matter.
        both_from: users from which both arms have one: before that there is no verdict.
    """
    above, below = _first_alarms(
        y, in_b, share, limits[0], limits[1], *_wanted(enough), supposed, both_from, STAKES, PRIOR
    )
    return int(above), int(below)


def _wanted(enough: tuple[float, float]) -> tuple[float, float, bool, bool]:
    """The capitals, and which of the two bets matter."""
    wants = [math.isfinite(each) for each in enough]
    above, below = (each if wanted else 0.0 for each, wanted in zip(enough, wants, strict=True))
    return above, below, wants[0], wants[1]


@compiled_fast
def _first_alarms(
    y: Values,
    in_b: Flags,
    share: Values,
    low: float,
    high: float,
    enough_above: float,
    enough_below: float,
    wants_above: bool,
    wants_below: bool,
    supposed: float,
    both_from: int,
    stakes: Values,
    prior: Values,
) -> tuple[int, int]:
    above, below = prior.copy(), prior.copy()
    first_above, first_below = -1, -1
    total, has_a, has_b = y[0], not in_b[0], in_b[0]
    for i in range(1, y.size):
        c = min(max(total / i, low), high)
        p, q = share[i], 1.0 - share[i]
        if in_b[i]:
            value = (y[i] - c) / p - supposed
            has_b = True
        else:
            value = (c - y[i]) / q - supposed
            has_a = True
        least = min((low - c) / p, (c - high) / q) - supposed
        most = max((high - c) / p, (c - low) / q) - supposed
        up = (value - least) / max(-least, 1e-12) - 1.0
        down = (most - value) / max(most, 1e-12) - 1.0
        of_above, of_below = 0.0, 0.0
        for k in range(stakes.size):
            # What is nearly lost is given up: numbers below the range are slow.
            above[k] = above[k] * (1.0 + stakes[k] * up) if above[k] > LOST else 0.0
            below[k] = below[k] * (1.0 + stakes[k] * down) if below[k] > LOST else 0.0
            of_above += above[k]
            of_below += below[k]
        total += y[i]
        if has_a and has_b and i + 1 >= both_from:
            if wants_above and of_above >= enough_above:
                first_above, wants_above = i + 1, False
            if wants_below and of_below >= enough_below:
                first_below, wants_below = i + 1, False
            if not (wants_above or wants_below):
                break
    return first_above, first_below


def first_alarms_of_pairs(
    d: Values, limit: float, enough: tuple[float, float], supposed: float = 0.0
) -> tuple[int, int]:
    """As `first_alarms`, of users with one pair each; `d` as `effect.difference_of_pairs` takes it."""
    above, below = _first_alarms_of_pairs(d, limit, *_wanted(enough), supposed, STAKES, PRIOR)
    return int(above), int(below)


@compiled_fast
def _first_alarms_of_pairs(
    d: Values,
    limit: float,
    enough_above: float,
    enough_below: float,
    wants_above: bool,
    wants_below: bool,
    supposed: float,
    stakes: Values,
    prior: Values,
) -> tuple[int, int]:
    above, below = prior.copy(), prior.copy()
    first_above, first_below = -1, -1
    for i in range(d.size):
        up, down = (d[i] - supposed) / (limit + supposed), -(d[i] - supposed) / (limit - supposed)
        of_above, of_below = 0.0, 0.0
        for k in range(stakes.size):
            # What is nearly lost is given up: numbers below the range are slow.
            above[k] = above[k] * (1.0 + stakes[k] * up) if above[k] > LOST else 0.0
            below[k] = below[k] * (1.0 + stakes[k] * down) if below[k] > LOST else 0.0
            of_above += above[k]
            of_below += below[k]
        if wants_above and of_above >= enough_above:
            first_above, wants_above = i + 1, False
        if wants_below and of_below >= enough_below:
            first_below, wants_below = i + 1, False
        if not (wants_above or wants_below):
            break
    return first_above, first_below


def first_alarms_of_returning(
    user: Ints,
    y: Values,
    in_b: Flags,
    share: Values,
    limits: tuple[float, float],
    enough: float,
    every: int,
) -> tuple[int, int]:
    """The requests after which the bets are won by users who come again, as the numbers of requests; else `NEVER`.

    Args:
        user: of each request; numbered from 0 in the order in which they are first seen. Shape (n,).
        y: of each request, shape (n,).
        in_b, share: of each user, shapes (n_users,).
        every: looked at after each so many requests.
    """
    above, below = _first_alarms_of_returning(
        user, y, in_b, share, limits[0], limits[1], enough, every, 0.0, STAKES, PRIOR
    )
    return int(above), int(below)


def first_alarms_of_returning_pairs(
    user: Ints, d: Values, limit: float, enough: float, every: int, supposed: float = 0.0
) -> tuple[int, int]:
    """The same of pairs, one of each request; `d` need not be clipped."""
    nobody = np.zeros(0)
    above, below = _first_alarms_of_returning(
        user, d, nobody > 0.0, nobody, -limit, limit, enough, every, supposed, STAKES, PRIOR
    )
    return int(above), int(below)


@compiled_fast
def _first_alarms_of_returning(
    user: Ints,
    y: Values,
    in_b: Flags,
    share: Values,
    low: float,
    high: float,
    enough: float,
    every: int,
    supposed: float,
    stakes: Values,
    prior: Values,
) -> tuple[int, int]:
    """Arms, or pairs where `share` is empty."""
    n_users = user.max() + 1
    sums, counts = np.zeros(n_users), np.zeros(n_users)
    up, down = np.zeros(n_users), np.zeros(n_users)
    seen, first_above, first_below = 0, -1, -1
    is_paired = share.size == 0
    for request in range(user.size):
        sums[user[request]] += y[request]
        counts[user[request]] += 1.0
        seen = max(seen, user[request] + 1)
        if (request + 1) % every:
            continue
        total, has_a, has_b = 0.0, is_paired, is_paired
        for i in range(seen):
            mean = sums[i] / counts[i]
            if is_paired:
                mean = min(max(mean, low), high)
                up[i], down[i] = (mean - supposed) / (high + supposed), -(mean - supposed) / (high - supposed)
                continue
            has_a |= not in_b[i]
            has_b |= in_b[i]
            if i > 0:
                c = min(max(total / i, low), high)
                p, q = share[i], 1.0 - share[i]
                value = (mean - c) / p - supposed if in_b[i] else (c - mean) / q - supposed
                least = min((low - c) / p, (c - high) / q) - supposed
                most = max((high - c) / p, (c - low) / q) - supposed
                up[i] = (value - least) / max(-least, 1e-12) - 1.0
                down[i] = (most - value) / max(most, 1e-12) - 1.0
            total += mean
        if not (has_a and has_b):
            continue
        of_above, of_below = 0.0, 0.0
        for k in range(stakes.size):
            log_above, log_below = 0.0, 0.0
            for start in range(0, seen, BLOCK):
                product_above, product_below = 1.0, 1.0
                for i in range(start, min(start + BLOCK, seen)):
                    product_above *= 1.0 + stakes[k] * up[i]
                    product_below *= 1.0 + stakes[k] * down[i]
                log_above += np.log(product_above)
                log_below += np.log(product_below)
            of_above += prior[k] * np.exp(min(log_above, 300.0))
            of_below += prior[k] * np.exp(min(log_below, 300.0))
        if first_above < 0 and of_above >= enough:
            first_above = request + 1
        if first_below < 0 and of_below >= enough:
            first_below = request + 1
        if first_above >= 0 and first_below >= 0:
            break
    return first_above, first_below


def renumbered(users: npt.NDArray[np.int64]) -> tuple[Ints, Ints]:
    """(each request's user, numbered in the order in which they are first seen; which user each number was)."""
    known, first, code = np.unique(users, return_index=True, return_inverse=True)
    order = np.argsort(first)
    place = np.empty(order.size, np.int64)
    place[order] = np.arange(order.size)
    return place[code], known[order]


def first_of(looks: Sequence[int]) -> int:
    """The earliest of them that is one; `NEVER` if none is."""
    found = [look for look in looks if look != NEVER]
    return min(found) if found else NEVER
