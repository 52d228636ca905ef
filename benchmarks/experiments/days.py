"""Row 6 of the issue: what the projected days are worth."""

import numpy as np
from tqdm import tqdm

from benchmarks.experiments.bets import NEVER, Flags, first_alarms, first_of
from benchmarks.experiments.checks import ALPHA, MARGIN, frame
from benchmarks.experiments.errors import ENOUGH, values_of
from benchmarks.experiments.populations import Population, Requests, rng_of, skewed, tied
from benchmarks.experiments.tables import Figures, share_of
from scheduler_service.stats.comparison import compare_arms
from scheduler_service.stats.summaries import Values
from scheduler_service.stats.verdict import DaysUntil, judge

USERS_A_DAY = 200
LOOKS_DAYS = (1, 2, 4, 8, 16)
MOST_USERS = 60_000
CASES: dict[str, tuple[Population, float]] = {
    "3 % better": (Population("", skewed, 0.0), 0.03),
    "1 % better": (Population("", skewed, 0.0), 0.01),
    "1 % better, 2 % fail in both": (Population("", skewed, 0.02), 0.01),
    "equal": (Population("", skewed, 0.0), 0.0),
    "equal, 90 % ties": (Population("", tied(0.9), 0.0), 0.0),
}


def projections(name: str, experiments: int) -> Figures:
    """Of looks at experiments that are not decided yet: how many projected days, how many ranges are right.

    200 new users a day, halves; looked at after 1, 2, 4, 8 and 16 days by `judge`; the real day is that of the first
    look after a user that says better or worse. A range without an end holds every later day.
    """
    population, effect = CASES[name]
    rng = rng_of("days", name)
    looks, told, right, too_early, too_late = 0, 0, 0, 0, 0
    factors: list[float] = []
    for _ in tqdm(range(experiments), desc=f"projected days, {name}"):
        requests, in_b, real = _experiment(rng, population, effect)
        for day in LOOKS_DAYS:
            seen = day * USERS_A_DAY
            if seen >= real:
                break
            runs = frame(requests.chosen(np.arange(seen)), in_b[:seen], np.full(seen, 0.5))
            left = judge(runs, compare_arms(runs, "makespan", min_samples=2, alpha=ALPHA), MARGIN, _until(seen))
            looks += 1
            days = left.days_left
            if days.days is None:
                continue
            told += 1
            real_days = (real - seen) / USERS_A_DAY
            low, high = days.low or 0.0, float("inf") if days.high is None else days.high
            too_late += real_days < low  # it came earlier than the range begins
            too_early += real_days > high
            right += low <= real_days <= high
            if real < float("inf"):
                factors.append(days.days / real_days)
    return {
        "looks": looks,
        "told": share_of(told, looks) if looks else None,
        "within": share_of(right, told) if told else None,
        "real_day_before_range": too_late / told if told else None,
        "real_day_after_range": too_early / told if told else None,
        "median_projected_over_real": float(np.median(factors)) if factors else None,
    }


def _until(seen: int) -> DaysUntil:
    return lambda users: max(users - seen, 0) / USERS_A_DAY


def _experiment(rng: np.random.Generator, population: Population, effect: float) -> tuple[Requests, Flags, float]:
    """(requests, arms, users at the first look that decides; infinite if none of `MOST_USERS` does)."""
    requests, in_b = population.draw(rng, MOST_USERS), rng.random(MOST_USERS) < 0.5
    # Longer by so much in the baseline: an answer cannot be shorter than its bound.
    excess: Values = requests.excess - np.where(in_b, 0.0, np.log1p(-effect))
    requests = Requests(requests.bound, excess, requests.success)
    y, limits, _ = values_of(requests, "makespan")
    at = first_of(first_alarms(y, in_b, np.full(MOST_USERS, 0.5), limits, (ENOUGH, ENOUGH)))
    return requests, in_b, float("inf") if at == NEVER else float(at)
