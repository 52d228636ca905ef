"""Users and pairs until 1 % or 3 % is found on real schedules, with the method of now and of before."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from tqdm import tqdm

from benchmarks.experiments.before import bounds_of_arms, bounds_of_pairs
from benchmarks.experiments.bets import NEVER, Flags, first_alarms, first_alarms_of_pairs
from benchmarks.experiments.checks import ALPHA
from benchmarks.experiments.errors import ENOUGH
from benchmarks.experiments.populations import LOG_FAILED, rng_of
from benchmarks.experiments.tables import Figures
from scheduler_env.agent import load_agent
from scheduler_env.generator import random_instance
from scheduler_service.settings import Settings
from scheduler_service.stats.summaries import Values

EFFECTS = (0.01, 0.03)
SPLITS = (0.05, 0.1, 0.5)
POWER = 0.8
INFINITE = float("inf")
SEEDS = Settings().seed_models_dir


def real_schedules(requests: int) -> pd.DataFrame:
    """Greedy makespans of both seed models on generated requests: `n_workpoints`, `v1`, `v2`, `bound`, in hours."""
    agents = {name: load_agent(SEEDS / f"ddqn_{name}.pth") for name in ("v1", "v2")}
    rows = []
    for n_workpoints in range(1, 6):
        for number in tqdm(range(requests), desc=f"{n_workpoints} work points"):
            instance = random_instance(n_workpoints, 400_000 + number)
            solved = {name: agent.solve(instance) for name, agent in agents.items()}
            rows.append(
                {
                    "n_workpoints": n_workpoints,
                    **{name: solution.schedule.makespan_h for name, solution in solved.items()},
                    "bound": min(solution.lower_bound_h for solution in solved.values()),
                }
            )
    return pd.DataFrame(rows)


@dataclass(frozen=True)
class Pool:
    """Log makespans of the baseline and log ratios of the candidate to it, mean taken off; one entry a request."""

    a: Values
    ratio: Values
    bound: Values
    real_mean_log_ratio: float  # of the two seed models

    def candidate(self, effect: float) -> Values:
        """Log makespans of one that is better by exactly so much, but never shorter than the bound."""
        return np.asarray(np.maximum(self.a + self.ratio + np.log1p(-effect), self.bound), np.float64)


def pools_of(schedules: pd.DataFrame) -> dict[str, Pool]:
    """Who asks for what."""
    return {
        "1 to 5 work points, evenly": _pool(schedules),
        "`params` only: 1 work point": _pool(schedules[schedules["n_workpoints"] == 1]),
        "3 work points only": _pool(schedules[schedules["n_workpoints"] == 3]),
        "5 work points only": _pool(schedules[schedules["n_workpoints"] == 5]),
    }


def _pool(rows: pd.DataFrame) -> Pool:
    a, b, bound = (np.log(rows[name].to_numpy(np.float64)) for name in ("v1", "v2", "bound"))
    ratio = b - a
    return Pool(a, ratio - ratio.mean(), bound, float(ratio.mean()))


def users_needed(name: str, pool: Pool, effect: float, share: float | None, experiments: int) -> Figures:
    """Users until 80 % of the experiments said `better`, one request each, looked at after each; now and before.

    Args:
        share: of the candidate; None: pairs.
    """
    rng = rng_of("price", name, str(effect), str(share))
    first: dict[str, list[int]] = {"now": [], "before": []}
    for _ in tqdm(range(experiments), desc=f"{100 * effect:g} %, {name}, {share or 'pairs'}"):
        for method, found in first.items():
            found.append(_first_better(method, pool, effect, share, rng))
    return {method: int(np.quantile(found, POWER, method="higher")) for method, found in first.items()}


def _first_better(method: str, pool: Pool, effect: float, share: float | None, rng: np.random.Generator) -> int:
    state, horizon = rng.bit_generator.state, 2_000
    while True:
        rng.bit_generator.state = state  # the same users again, and more of them
        of_request, of_arm = rng.spawn(2)
        drawn = of_request.integers(0, pool.a.size, horizon)
        b = pool.candidate(effect)[drawn]
        if share is None:
            at = _better_pairs(method, b - pool.a[drawn])
        else:
            in_b = of_arm.random(horizon) < share
            at = _better_arms(method, np.where(in_b, b, pool.a[drawn]), pool.bound[drawn], in_b, share)
        if at != NEVER:
            return at
        horizon *= 2


def _better_pairs(method: str, d: Values) -> int:
    if method == "now":
        return first_alarms_of_pairs(np.clip(d, -LOG_FAILED, LOG_FAILED), LOG_FAILED, (INFINITE, ENOUGH))[1]
    return _first(bounds_of_pairs(d, ALPHA)[1] < 0.0)


def _better_arms(method: str, y: Values, x: Values, in_b: Flags, share: float) -> int:
    if method == "now":
        excess = np.clip(y - x, 0.0, LOG_FAILED)
        return first_alarms(excess, in_b, np.full(y.size, share), (0.0, LOG_FAILED), (INFINITE, ENOUGH))[1]
    return _first(bounds_of_arms(y, x, in_b, ALPHA, is_ratio_scale=True)[1] < 0.0)


def _first(says: Flags) -> int:
    return int(np.argmax(says)) + 1 if says.any() else NEVER
