"""Rows 4 and 7 of the issue: pairs of two models that are equal on average, and the best of many replays of them."""

from collections.abc import Mapping

import numpy as np
from tqdm import tqdm

from benchmarks.experiments.before import bounds_of_pairs
from benchmarks.experiments.bets import (
    NEVER,
    Ints,
    first_alarms_of_pairs,
    first_alarms_of_returning_pairs,
    first_of,
    renumbered,
)
from benchmarks.experiments.checks import ALPHA, pairs_must_agree
from benchmarks.experiments.errors import DAYS, ENOUGH, MOST_USERS, SAMPLED, SERVICES, days_of
from benchmarks.experiments.populations import (
    LOG_FAILED,
    Differences,
    heavy_pairs,
    rng_of,
    skewed_losses,
    small_wins_and_a_failure,
    tied_pairs,
)
from benchmarks.experiments.tables import Figures, share_of
from scheduler_service.stats.summaries import Values

SIMULATED: Mapping[str, Differences] = {
    "small wins and one failure in 50": small_wins_and_a_failure,
    "90 % ties, skewed losses": skewed_losses,
    "no ties": tied_pairs(0.0),
    "50 % ties": tied_pairs(0.5),
    "95 % ties": tied_pairs(0.95),
    "heavy tails": heavy_pairs,
}
BEFORE = 200
"""The first so many experiments are judged by the method of before as well."""
REPLAYS = (1, 20, 30)
REPLAYED = 1_000
"""Requests of a replay."""


def drawn_from(real: Values) -> Differences:
    """Log ratios of real schedules, their mean taken off; drawn with replacement."""
    centred = np.clip(real - real.mean(), -LOG_FAILED, LOG_FAILED)
    centred = centred - centred.mean()
    return lambda rng, n: centred[rng.integers(0, centred.size, n)]


def new_users(name: str, draw: Differences, experiments: int) -> dict[int, Figures]:
    """Of each service, users a day: experiments that ever err within 30 days, everybody coming once, one pair each."""
    rng = rng_of("pairs", name)
    at, at_before = np.empty(experiments, np.int64), np.full(min(experiments, BEFORE), NEVER)
    for number in tqdm(range(experiments), desc=f"pairs, {name}"):
        d = draw(rng, MOST_USERS)
        at[number] = first_of(first_alarms_of_pairs(d, LOG_FAILED, (ENOUGH, ENOUGH)))
        if number < BEFORE:
            low, high = bounds_of_pairs(d, ALPHA)
            wrong = (low > 0.0) | (high < 0.0)
            at_before[number] = int(np.argmax(wrong)) + 1 if wrong.any() else NEVER
        if at[number] != NEVER:
            pairs_must_agree(True, d[: at[number]], ALPHA)
        elif number < SAMPLED:
            pairs_must_agree(False, d[: int(rng.integers(1, 5_000))], ALPHA)
    return {
        users: {
            **share_of(_within(at, users), experiments),
            "share_before": _within(at_before, users) / at_before.size,
        }
        for users in SERVICES
    }


def _within(at: Ints, users: int) -> int:
    return int(((at != NEVER) & (at <= users * DAYS)).sum())


def same_users(name: str, draw: Differences, users: int, experiments: int) -> Figures:
    """The same where they come again each day, five pairs each: half of a difference is the user's own."""
    rng = rng_of("same pairs", name, str(users))
    wrong = 0
    for number in range(experiments):
        code, _ = renumbered(days_of(rng, users))
        d = np.where(rng.random(code.size) < 0.5, draw(rng, users)[code], draw(rng, code.size))
        every = SERVICES[users]
        at = first_of(first_alarms_of_returning_pairs(code, d, LOG_FAILED, ENOUGH, every))
        wrong += at != NEVER
        if at != NEVER or number < SAMPLED:
            seen = at if at != NEVER else every * int(rng.integers(1, code.size // every))
            pairs_must_agree(at != NEVER, d[:seen], ALPHA, code[:seen])
    return share_of(wrong, experiments)


def best_of_replays(name: str, draw: Differences, replays: int, experiments: int) -> dict[str, Figures]:
    """Experiments in which any of so many replays of other requests calls the candidate better, wrongly.

    The k-th replay of two models is judged at alpha / (k (k + 1)), which adds up to less than alpha. Beside it: each at
    alpha, and the method of before at alpha.
    """
    rng = rng_of("replays", name, str(replays))
    wrong = dict.fromkeys(("counted", "each at alpha", "before"), 0)
    for number in tqdm(range(experiments), desc=f"best of {replays} replays, {name}"):
        said = dict.fromkeys(wrong, False)
        for k in range(1, replays + 1):
            d = draw(rng, REPLAYED)
            alpha = ALPHA / (k * (k + 1.0)) if replays > 1 else ALPHA
            at = first_alarms_of_pairs(d, LOG_FAILED, (float("inf"), 2.0 / alpha))[1]
            if at != NEVER:
                pairs_must_agree(True, d[:at], alpha)
            said["counted"] |= at != NEVER
            said["each at alpha"] |= first_alarms_of_pairs(d, LOG_FAILED, (float("inf"), ENOUGH))[1] != NEVER
            said["before"] |= number < BEFORE and bool((bounds_of_pairs(d, ALPHA)[1] < 0.0).any())
        for kind, is_wrong in said.items():
            wrong[kind] += is_wrong
    return {
        kind: share_of(count, min(experiments, BEFORE) if kind == "before" else experiments)
        for kind, count in wrong.items()
    }
