"""Row 3 of the issue: two equal models, looked at after every request, at any split, failure rate, ties and tails."""

from collections.abc import Mapping, Sequence

import numpy as np
from tqdm import tqdm

from benchmarks.experiments.before import bounds_of_arms
from benchmarks.experiments.bets import (
    NEVER,
    Flags,
    Ints,
    first_alarms,
    first_alarms_of_returning,
    first_of,
    renumbered,
)
from benchmarks.experiments.checks import ALPHA, frame, must_agree, speaks
from benchmarks.experiments.populations import (
    LOG_FAILED,
    Population,
    Requests,
    heavy_tailed,
    rng_of,
    skewed,
    tied,
)
from benchmarks.experiments.tables import Figures, share_of
from scheduler_service.stats.summaries import Values

SPLITS = (0.05, 0.1, 0.3, 0.5, 0.95)
"""Shares of the candidate."""
USERS = 2_000
"""One request each."""
MOST_USERS = 60_000
DAYS, REQUESTS_A_DAY = 30, 5
SERVICES = {10: 1, 50: 5, 200: 50, 2_000: 2_000}
"""Users a day -> requests from look to look where the users are the same each day."""
BEFORE = 500
"""The first so many experiments of a cell are judged by the method of before as well."""
SAMPLED = 3
"""Looks without an alarm that are repeated in full, of each cell."""
ENOUGH = 2.0 / ALPHA
"""The capital that excludes no difference: alpha is shared by both sides."""

Cell = tuple[Population, str]
"""And the metric."""

CELLS: Sequence[Cell] = (
    *((Population(f"{100 * rate:g} % fail", skewed, rate), "makespan") for rate in (0.0, 0.005, 0.01, 0.02, 0.05)),
    *(
        (Population(f"{100 * share:g} % ties, 0.5 % fail", tied(share), 0.005), "makespan")
        for share in (0.5, 0.9, 0.95)
    ),
    (Population("heavy tails", heavy_tailed), "makespan"),
    *((Population(f"{100 * rate:g} % fail", skewed, rate), "success") for rate in (0.002, 0.01, 0.05)),
    (Population("skewed", skewed), "gap"),
    (Population("95 % ties", tied(0.95)), "gap"),
    (Population("heavy tails", heavy_tailed), "gap"),
)
OF_SERVICES: Sequence[tuple[Cell, float]] = (
    ((Population("1 % fail", skewed, 0.01), "makespan"), 0.1),
    ((Population("90 % ties, 0.5 % fail", tied(0.9), 0.005), "makespan"), 0.5),
    ((Population("heavy tails", heavy_tailed), "makespan"), 0.95),
    ((Population("1 % fail", skewed, 0.01), "success"), 0.05),
    ((Population("heavy tails", heavy_tailed), "gap"), 0.1),
)


def values_of(requests: Requests, metric: str) -> tuple[Values, tuple[float, float], Flags]:
    """(what each request counts, what that stays within, which requests count): as `arms.user_values`."""
    if metric == "makespan":
        y = np.where(requests.success, np.clip(requests.excess, 0.0, LOG_FAILED), LOG_FAILED)
        return y, (0.0, LOG_FAILED), np.ones(y.size, np.bool_)
    if metric == "success":
        return requests.success.astype(np.float64), (0.0, 1.0), np.ones(requests.success.size, np.bool_)
    return np.clip(requests.gap, 0.0, 1.0), (0.0, 1.0), requests.success


def equal_models(cell: Cell, share: float, experiments: int) -> Figures:
    """Shares of experiments in which any look says better or worse, with the method of now and of before."""
    population, metric = cell
    rng = rng_of("equal", population.name, metric, str(share))
    wrong = wrong_before = held_back = 0
    for number in range(experiments):
        requests, in_b = population.draw(rng, USERS), rng.random(USERS) < share
        at = _first_alarm(requests, in_b, np.full(USERS, share), metric)
        wrong += at != NEVER
        wrong_before += number < BEFORE and _ever_before(requests, in_b, metric)
        if at != NEVER or number < SAMPLED:
            held_back += not _check(at, rng, requests, in_b, np.full(USERS, share), metric)
    beside = {"share_before": wrong_before / min(experiments, BEFORE), "held_back_by_judge": held_back}
    return {**share_of(wrong, experiments), **beside}


def equal_chunk(chunk: tuple[int, float, int]) -> Figures:
    """A chunk of batch work: `equal_models` of one of `CELLS`, by its index."""
    number, share, experiments = chunk
    return equal_models(CELLS[number], share, experiments)


def _first_alarm(requests: Requests, in_b: Flags, share: Values, metric: str) -> int:
    """The number of users who had taken part, or `NEVER`."""
    y, limits, counts = values_of(requests, metric)
    at = first_of(first_alarms(y[counts], in_b[counts], share[counts], limits, (ENOUGH, ENOUGH)))
    return at if at == NEVER else int(np.flatnonzero(counts)[at - 1]) + 1


def _check(at: int, rng: np.random.Generator, requests: Requests, in_b: Flags, share: Values, metric: str) -> bool:
    """Repeats the look of the alarm, or any look if there is none, through `judge`; whether it says the same."""
    looks = [(int(rng.integers(2, USERS)), False)] if at == NEVER else [(at, True)]
    return all(
        must_agree(says, frame(requests.chosen(np.arange(seen)), in_b[:seen], share[:seen]), metric)
        for seen, says in looks
        if len(set(in_b[:seen])) == 2
    )


def _ever_before(requests: Requests, in_b: Flags, metric: str) -> bool:
    if metric == "makespan":
        y = requests.bound + np.where(requests.success, requests.excess, LOG_FAILED)
        low, high = bounds_of_arms(y, requests.bound, in_b, ALPHA, is_ratio_scale=True)
    else:
        y, _, counts = values_of(requests, metric)
        low, high = bounds_of_arms(y[counts], None, in_b[counts], ALPHA, is_ratio_scale=False)
    return bool(((low > 0.0) | (high < 0.0)).any())  # NaN is neither


def new_users(cell: Cell, share: float, experiments: int) -> dict[int, Figures]:
    """Of each service, users a day: experiments that ever err within 30 days, everybody coming once."""
    population, metric = cell
    rng = rng_of("new", population.name, metric)
    at = np.empty(experiments, np.int64)
    for number in tqdm(range(experiments), desc=f"new users, {population.name}"):
        requests, in_b = population.draw(rng, MOST_USERS), rng.random(MOST_USERS) < share
        at[number] = _first_alarm(requests, in_b, np.full(MOST_USERS, share), metric)
    return {users: share_of(int(((at != NEVER) & (at <= users * DAYS)).sum()), experiments) for users in SERVICES}


def same_users(cell: Cell, share: float, users: int, experiments: int) -> Figures:
    """The same where those come again each day, with five requests each: their means move while one looks."""
    population, metric = cell
    rng = rng_of("same", population.name, metric, str(users))
    wrong = 0
    for number in range(experiments):
        user = days_of(rng, users)
        requests = population.draw_returning(rng, user)
        y, limits, counts = values_of(requests, metric)
        code, known = renumbered(user[counts])
        in_b = rng.random(users) < share
        looked = first_alarms_of_returning(
            code, y[counts], in_b[known], np.full(known.size, share), limits, ENOUGH, SERVICES[users]
        )
        at = first_of(looked)
        wrong += at != NEVER
        if at != NEVER or number < SAMPLED:
            seen = at if at != NEVER else SERVICES[users] * int(rng.integers(1, code.size // SERVICES[users]))
            which = np.flatnonzero(counts)[:seen]
            runs = frame(requests.chosen(which), in_b[user[which]], np.full(seen, share), user[which])
            if runs["variant"].nunique() == 2:
                must_agree(at != NEVER, runs, metric)
    return share_of(wrong, experiments)


def same_chunk(chunk: tuple[int, int, int]) -> Figures:
    """A chunk of batch work: `same_users` of one of `OF_SERVICES`, by its index."""
    number, users, experiments = chunk
    cell, share = OF_SERVICES[number]
    return same_users(cell, share, users, experiments)


def days_of(rng: np.random.Generator, users: int, days: int = DAYS, requests: int = REQUESTS_A_DAY) -> Ints:
    """The user of each request: each day everybody so often, in any order."""
    return np.concatenate([rng.permutation(np.repeat(np.arange(users), requests)) for _ in range(days)])


CHANGED_USERS, CHANGED_AT = 3_000, 1_500
DRIFT = 0.04
"""On the logarithmic scale: the plants become harder to plan well when the split changes."""


def changed_split(experiments: int, returning: int) -> Mapping[str, Figures]:
    """A split changed by hand from 90/10 to 50/50, while the plants drift (row 8): new users, and some who come again.

    Args:
        returning: experiments with users who come again; looked at 30 times, through `judge` itself.
    """
    rng = rng_of("changed")
    share = np.where(np.arange(CHANGED_USERS) < CHANGED_AT, 0.1, 0.5)
    drift = np.where(np.arange(CHANGED_USERS) < CHANGED_AT, 0.0, DRIFT)
    wrong = wrong_before = held_back = 0
    population = Population("", skewed, 0.01)
    for number in tqdm(range(experiments), desc="changed split"):
        requests = population.draw(rng, CHANGED_USERS)
        requests = Requests(requests.bound, requests.excess + drift, requests.success)
        in_b = rng.random(CHANGED_USERS) < share
        at = _first_alarm(requests, in_b, share, "makespan")
        wrong += at != NEVER
        wrong_before += number < BEFORE and _ever_before(requests, in_b, "makespan")
        if at != NEVER or number < SAMPLED:
            held_back += not _check(at, rng, requests, in_b, share, "makespan")
    again = sum(_changed_while_returning(rng, population) for _ in tqdm(range(returning), desc="who come again"))
    return {
        "everybody new": {
            **share_of(wrong, experiments),
            "share_before": wrong_before / min(experiments, BEFORE),
            "held_back_by_judge": held_back,
        },
        "the same 300, half of them moved": share_of(again, returning),
    }


def _changed_while_returning(rng: np.random.Generator, population: Population) -> bool:
    """Whether any of 30 looks errs: 300 users daily; the change moves some to the candidate."""
    user = days_of(rng, 300, 20, 1)
    requests, bucket = population.draw_returning(rng, user), rng.random(300)
    is_late = np.arange(user.size) >= user.size // 2
    share = np.where(is_late, 0.5, 0.1)
    requests = Requests(requests.bound, requests.excess + np.where(is_late, DRIFT, 0.0), requests.success)
    runs = frame(requests, bucket[user] < share, share, user)
    looks = np.linspace(user.size / 30, user.size, 30).astype(int)
    return any(speaks(runs.iloc[:seen], "makespan") for seen in looks)
