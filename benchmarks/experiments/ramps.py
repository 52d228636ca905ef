"""Rows 1 and 2 of the issue, simulated: days and exposure until a rollout ends.

`ABTestManager` decides, at the times of a clock of its own, on frames as the service records them: of runs, and of the
shadow pairs of every request where shadow is on by default.
"""

import tempfile
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from ab_testing import ABTestManager
from benchmarks.experiments.bets import Flags, Ints
from benchmarks.experiments.errors import DAYS, REQUESTS_A_DAY, days_of
from benchmarks.experiments.populations import rng_of
from benchmarks.experiments.price import Pool
from scheduler_service.experiments.experiment import Experiment
from scheduler_service.experiments.ramp import default_shadow
from scheduler_service.experiments.rollout import DEFAULT_STAGES, Evidence, decide
from scheduler_service.stats.arms import BASELINE
from scheduler_service.stats.comparison import compare_arms
from scheduler_service.stats.guardrails import check_guardrails
from scheduler_service.stats.pairs import judge_pairs
from scheduler_service.stats.summaries import Values
from scheduler_service.stats.verdict import judge

START = datetime(2026, 1, 5, tzinfo=UTC)
SERVICES = (10, 50, 200, 2_000)
SHORTENED = (10, 50, 200)
"""Services whose rollouts are also tried with `ramp.SHORT_STAGES`, which are proposed to services with few users."""
CANDIDATES = {"fails always": None, "30 % worse": -0.3, "6 % worse": -0.06, "3 % better": 0.03}
"""Improvements."""
GROWTH = 1.25
"""Looked at after each of the first 20 requests, then when there are a quarter more, and when a stage may be left."""


@dataclass(frozen=True)
class Ending:
    """Of one rollout."""

    event: str  # "aborted", "promoted" or "none" within 30 days
    days: float | None
    exposed: int | None  # requests that the candidate was to answer until then


@dataclass
class Clock:
    now: datetime = START

    def __call__(self) -> datetime:
        return self.now


def endings(
    candidate: str,
    users: int,
    pool: Pool,
    sizes: Ints,
    experiments: int,
    *,
    stages: Sequence[float] = DEFAULT_STAGES,
) -> list[Ending]:
    """Of so many rollouts, each of other users and plants.

    Args:
        users: the same each day, five requests each.
        sizes: work points of each entry of the pool: a user always asks for plants of one size.
    """
    rng = rng_of("ramps", candidate, str(users))
    found = []
    with tempfile.TemporaryDirectory() as folder:
        for number in tqdm(range(experiments), desc=f"{candidate}, {users} users, {list(stages)}"):
            traffic = _Traffic(candidate, users, pool, sizes, rng)
            path = Path(folder) / f"ramp_{users}_{number}.json"
            found.append(_ending(path, traffic, stages, shadow=default_shadow(stages, "makespan", users).share > 0.0))
    return found


def _ending(path: Path, traffic: "_Traffic", stages: Sequence[float], *, shadow: bool) -> Ending:
    clock, name = Clock(), path.stem
    manager = ABTestManager(path, clock=clock)
    manager.config["default_model"] = "DDQN_v1.0"
    options: dict[str, Any] = {"rollout": {"stages": list(stages)}, "shadow": shadow}
    manager.create_experiment(name, "DDQN_v1.0", "DDQN_v2.0", duration_days=DAYS, **options)
    traffic.assign(manager, name, 0)
    seen = 1
    while seen <= traffic.user.size:
        clock.now = traffic.times[seen - 1] + timedelta(seconds=1)
        if clock.now >= START + timedelta(days=DAYS):
            break
        runs, pairs = traffic.seen(seen, with_pairs=shadow)
        made = None if bool(runs["success"].iloc[-1]) else manager.trip(name, runs)
        if made is None and _may_move(manager.get_experiment(name), runs, pairs, clock.now):
            made = manager.review(name, runs, pairs)
        if made is not None and made.event in ("aborted", "promoted"):
            exposed = int((traffic.variant[:seen] == "model_b").sum())
            return Ending(made.event, (clock.now - START) / timedelta(days=1), exposed)
        if made is not None:  # the next stage
            traffic.assign(manager, name, seen)
        seen = traffic.next_look(seen, manager.get_experiment(name))
    return Ending("none", None, None)


def _may_move(experiment: Experiment, runs: pd.DataFrame, pairs: pd.DataFrame | None, now: datetime) -> bool:
    """Whether `review` may find anything to do: the same decision, without the figures that it does not rest on."""
    rollout = experiment.rollout
    if rollout is None:
        return False
    margins, split = experiment.guardrails, experiment.traffic_split
    guardrails = check_guardrails(runs, margins, BASELINE, "model_b", split=split, pairs=pairs)
    word: str
    if pairs is None:
        word = judge(runs, compare_arms(runs, "makespan", split=split), experiment.margin).word
    else:
        word = judge_pairs(pairs, margin=experiment.margin, alpha=experiment.alpha).word
    is_of_stage = runs["timestamp"] >= rollout.stage_since
    samples = {arm: int((is_of_stage & runs["variant"].eq(arm) & runs["success"]).sum()) for arm in experiment.models}
    evidence = Evidence(samples, word, (), False, {"model_b": guardrails}, is_baseline_the_default=True)
    return decide(rollout, evidence, now).kind != "hold"


class _Traffic:
    """30 days of requests, what both models would make of each, and which arm each falls into."""

    def __init__(self, candidate: str, users: int, pool: Pool, sizes: Ints, rng: np.random.Generator) -> None:
        self.user = days_of(rng, users)
        n = self.user.size
        self.times = [START + timedelta(days=(number + 0.5) / users / REQUESTS_A_DAY) for number in range(n)]

        size = rng.choice(np.unique(sizes), users)
        of_size = {each: np.flatnonzero(sizes == each) for each in np.unique(sizes)}
        drawn = np.empty(n, np.int64)
        for each, entries in of_size.items():
            mine = size[self.user] == each
            drawn[mine] = entries[rng.integers(0, entries.size, int(mine.sum()))]
        effect = CANDIDATES[candidate]
        self.fails = effect is None
        self.a, self.bound = np.exp(pool.a[drawn]), np.exp(pool.bound[drawn])
        self.b = np.exp(pool.candidate(0.0 if effect is None else effect)[drawn])
        self.took: Values = rng.gamma(2.0, 0.05, n)
        self.variant = np.full(n, "", dtype=object)
        self.runs, self.pairs, self.has_failed = pd.DataFrame(), pd.DataFrame(), np.zeros(n, np.bool_)

    def assign(self, manager: ABTestManager, name: str, since: int) -> None:
        """The arms of all requests from the `since`-th on, as the experiment is now."""
        arms = np.array([manager.assign(name, f"planner_{user}").variant or "" for user in range(self.user.max() + 1)])
        self.variant[since:] = arms[self.user[since:]]
        self._frames()

    def next_look(self, seen: int, experiment: Experiment) -> int:
        """Requests at the next look: a quarter more, at the end of the stage, or when a request fails before that."""
        found = max(seen + 1, int(seen * GROWTH) if seen > 20 else 0)
        rollout = experiment.rollout
        if rollout is not None:
            stage_ends = bisect_left(self.times, rollout.stage_since + timedelta(hours=rollout.min_hours)) + 1
            found = min(found, stage_ends) if stage_ends > seen else found
        failed = np.flatnonzero(self.has_failed[seen:found])
        return seen + int(failed[0]) + 1 if failed.size else found

    def seen(self, requests: int, *, with_pairs: bool) -> tuple[pd.DataFrame, pd.DataFrame | None]:
        """Runs and pairs so far."""
        return self.runs.iloc[:requests], self.pairs.iloc[:requests] if with_pairs else None

    def _frames(self) -> None:
        in_b: Flags = self.variant == "model_b"
        takes_part: Flags = self.variant != ""
        self.has_failed = in_b & self.fails
        answered = ~self.has_failed
        makespan = np.where(answered, np.where(in_b, self.b, self.a), np.nan)
        # Columns that no decision rests on are left out: the secondary metrics take most of the time.
        user = np.array([f"planner_{each}" for each in range(self.user.max() + 1)], dtype=object)[self.user]
        times = pd.to_datetime(self.times, utc=True)
        self.runs = pd.DataFrame(
            {
                "timestamp": times,
                "model_key": np.where(in_b, "DDQN_v2.0", "DDQN_v1.0"),
                "variant": pd.Series(self.variant).where(takes_part),
                "reason": np.where(takes_part, "assigned", "default"),
                "split": pd.Series("0.5/0.5", index=range(in_b.size)).where(takes_part),
                "user_id": user,
                "success": answered,
                "makespan": makespan,
                "execution_time": np.where(answered, self.took, np.nan),
                "lower_bound": self.bound,
            }
        )
        b = np.full(self.b.size, np.nan) if self.fails else self.b
        pairs = pd.DataFrame(
            {
                "timestamp": times,
                "request_id": np.arange(self.user.size).astype(str),
                "source": "shadow",
                "replay": None,
                "user_id": user,
                "candidate": "model_b",
                "key_a": "DDQN_v1.0",
                "key_b": "DDQN_v2.0",
                "makespan_a": self.a,
                "makespan_b": b,
                "success_a": True,
                "success_b": not self.fails,
                "lower_bound": self.bound,
            }
        )
        self.pairs = pairs  # of every request: a pair needs no arm
