"""False alarms of the guardrails: no harm, and a harm of exactly each margin."""

from collections.abc import Mapping

import numpy as np
from tqdm import tqdm

from benchmarks.experiments.bets import NEVER, Flags, first_alarms, first_alarms_of_pairs
from benchmarks.experiments.checks import frame
from benchmarks.experiments.populations import LOG_FAILED, Population, Requests, rng_of, skewed
from benchmarks.experiments.tables import Figures, share_of
from scheduler_service.stats.guardrails import ALPHA, DEFAULT_MARGINS, check_guardrails

USERS = 2_000
MARGINS = {name: DEFAULT_MARGINS[name] for name in ("makespan", "success")}
SPLITS = (0.05, 0.1, 0.5)
EACH = 3.0 / ALPHA
"""The capital at which one of the three default guardrails is breached; twice as much where pairs are tested, too."""
INFINITE = float("inf")
ANSWERED = 0.98
LOOKS = (*range(100, 400, 50), *range(400, 2_001, 200))
"""Of the guardrail of the execution time, whose limits move with the baseline's percentile."""

POPULATION = Population("", skewed, 1.0 - ANSWERED)


def harmed(requests: Requests, rng: np.random.Generator, *, is_at_margins: bool) -> Requests:
    """The same requests by a candidate without harm, or with one of exactly the margins of makespan and success.

    At the margins 5 % more of the requests fail, and so much is put upon the others that the mean of the logarithms,
    failures penalised, is greater by log 1.05 altogether.
    """
    if not is_at_margins:
        return requests
    loss = MARGINS["success"] / ANSWERED
    success = requests.success & (rng.random(requests.success.size) >= loss)
    mean = 0.06  # of `skewed`
    more = (np.log1p(MARGINS["makespan"]) - MARGINS["success"] * (LOG_FAILED - mean)) / (ANSWERED * (1.0 - loss))
    return Requests(requests.bound, np.maximum(requests.excess + more, 0.0), success)


def breaches(share: float, experiments: int, *, is_at_margins: bool) -> dict[str, Figures]:
    """Shares of experiments in which makespan or success is ever breached, by users and by users and shadow pairs.

    Looked at after each user, one request each; the first breaches are repeated through `check_guardrails`.
    """
    rng = rng_of("guardrails", str(share), str(is_at_margins))
    users = paired = 0
    for number in tqdm(range(experiments), desc=f"guardrails {share:g} {is_at_margins}"):
        of_a, in_b = POPULATION.draw(rng, USERS), rng.random(USERS) < share
        of_b = harmed(of_a, rng, is_at_margins=is_at_margins)
        live = Requests(
            of_a.bound, np.where(in_b, of_b.excess, of_a.excess), np.where(in_b, of_b.success, of_a.success)
        )
        alone = _live(live, in_b, share, EACH)
        users += min(alone.values()) < INFINITE
        both = {**_live(live, in_b, share, 2.0 * EACH), **_paired(of_a, of_b)}
        paired += min(both.values()) < INFINITE
        if number < 20 and min(alone.values()) < INFINITE:
            _must_breach(live, in_b, share, int(min(alone.values())))
    return {"users": share_of(users, experiments), "users and pairs": share_of(paired, experiments)}


def _live(live: Requests, in_b: Flags, share: float, enough: float) -> dict[str, float]:
    """Guardrail -> users at its first breach."""
    y = np.where(live.success, np.clip(live.excess, 0.0, LOG_FAILED), LOG_FAILED)
    answered, shares = live.success.astype(np.float64), np.full(in_b.size, share)
    longer = float(np.log1p(MARGINS["makespan"]))
    above = first_alarms(y, in_b, shares, (0.0, LOG_FAILED), (enough, INFINITE), longer)[0]
    below = first_alarms(answered, in_b, shares, (0.0, 1.0), (INFINITE, enough), -MARGINS["success"])[1]
    return {"makespan": _at(above), "success": _at(below)}


def _paired(of_a: Requests, of_b: Requests) -> dict[str, float]:
    a, b = (np.where(side.success, side.excess, LOG_FAILED) for side in (of_a, of_b))
    # A failure is never shorter than the answer of the other one.
    a = np.where(of_b.success & ~of_a.success, np.maximum(a, b), a)
    b = np.where(of_a.success & ~of_b.success, np.maximum(a, b), b)
    d = np.clip(b - a, -LOG_FAILED, LOG_FAILED)
    answered = of_b.success.astype(np.float64) - of_a.success
    longer = float(np.log1p(MARGINS["makespan"]))
    above = first_alarms_of_pairs(d, LOG_FAILED, (2.0 * EACH, INFINITE), longer)[0]
    below = first_alarms_of_pairs(answered, 1.0, (INFINITE, 2.0 * EACH), -MARGINS["success"])[1]
    return {"makespan of pairs": _at(above), "success of pairs": _at(below)}


def _at(look: int) -> float:
    return INFINITE if look == NEVER else float(look)


def _must_breach(live: Requests, in_b: Flags, share: float, seen: int) -> None:
    which = np.arange(seen)
    runs = frame(live.chosen(which), in_b[:seen], np.full(seen, share)).assign(execution_time=0.1)
    found = check_guardrails(runs, DEFAULT_MARGINS, "model_a", "model_b")
    if not any(each.state == "breached" for each in found):
        raise RuntimeError(f"check_guardrails sees no breach in {seen} runs, the short way does")


def slow_runs(share: float, experiments: int, *, is_at_margin: bool) -> Figures:
    """Of the execution time, through `check_guardrails` at `LOOKS`: no harm, or one of exactly the margin."""
    rng = rng_of("slow", str(share), str(is_at_margin))
    factor = 1.0 + DEFAULT_MARGINS["execution_time"] if is_at_margin else 1.0
    margins: Mapping[str, float] = {"execution_time": DEFAULT_MARGINS["execution_time"]}
    wrong = 0
    for _ in tqdm(range(experiments), desc=f"execution time {share:g}"):
        n = LOOKS[-1]
        requests, in_b = POPULATION.draw(rng, n), rng.random(n) < share
        took = rng.gamma(2.0, 0.1, n) * np.where(in_b, factor, 1.0)
        runs = frame(requests, in_b, np.full(n, share)).assign(execution_time=took)
        for seen in LOOKS:
            (found,) = check_guardrails(runs.iloc[:seen], margins, "model_a", "model_b", ALPHA / 3.0)
            if found.state == "breached":
                wrong += 1
                break
    return share_of(wrong, experiments)
