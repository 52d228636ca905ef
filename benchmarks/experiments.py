"""What the verdict of an experiment errs and costs: `python -m benchmarks.experiments [--experiments 2000]`.

Writes benchmarks/results/experiments.{md,json}; ends with 1 when a promise of docs/statistics.md is not kept.
"""

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.special import stdtr
from statsmodels.stats.proportion import proportion_confint
from tqdm import tqdm

from benchmarks.machine import markdown_table, write_results
from scheduler_env.agent import load_agent
from scheduler_env.generator import random_instance
from scheduler_service.settings import Settings
from scheduler_service.stats.arms import FAILED_RATIO
from scheduler_service.stats.comparison import compare_arms
from scheduler_service.stats.effect import LEAST_USERS, TUNED_FOR, Effect, effect_of_arms, effect_of_pairs
from scheduler_service.stats.guardrails import DEFAULT_MARGINS, check_guardrails
from scheduler_service.stats.metrics import METRICS
from scheduler_service.stats.outcome import NotComputable
from scheduler_service.stats.sequential import boundary
from scheduler_service.stats.summaries import Values
from scheduler_service.stats.verdict import judge, word_for

ALPHA = 0.05
MARGIN = 0.05
PROMISED = 0.05
EFFECT = 0.01
POWER = 0.8
FEWER_TIMES = 10.0
LOOK_EVERY, N_USERS = 20, 1_000
GUARD_LOOKS = (*range(40, 200, 20), *range(200, N_USERS + 1, 100))
MIXED_SHAPE, MIXED_SCALE = 1.5, 0.04
"""Of the gamma distribution of log makespan minus log lower bound."""
METRIC = METRICS["makespan"]
SEEDS = Settings().seed_models_dir

Figures = dict[str, Any]
Draw = Callable[[np.random.Generator, int], tuple[Values, Values]]


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; see the module's docstring."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0] if __doc__ else None)
    parser.add_argument("--experiments", type=int, default=2_000, help="simulated experiments without a difference")
    parser.add_argument("--guarded", type=int, default=150, help="simulated experiments whose guardrails are watched")
    parser.add_argument("--requests", type=int, default=600, help="generated requests of each number of work points")
    parser.add_argument("--resampled", type=int, default=500, help="experiments drawn from the real schedules")
    options = parser.parse_args(arguments)
    peeked = {name: peeked_at(name, draw, options.experiments) for name, draw in POPULATIONS.items()}
    peeked |= {f"{n} users x 50 requests, {n // 2} an arm": few_users(n, options.experiments) for n in (40, 80)}
    guarded = {
        "no harm": false_alarms(options.guarded, (1.0, 0.0, 1.0)),
        "harm of exactly every margin": false_alarms(options.guarded, (1.05, 0.05, 1.5)),
    }
    schedules = real_schedules(options.requests)
    peeked["pairs of real schedules, their mean log ratio taken off"] = peeked_pairs(schedules, options.experiments)
    power = {name: users_needed(name, chosen, options.resampled) for name, chosen in populations_of(schedules).items()}
    text = "\n\n".join(
        [
            "# Experiments: what the verdict errs and costs",
            ERRORS_TEXT.format(n=options.experiments, least=LEAST_USERS),
            markdown_table(ERROR_HEADER, [_error_row(name, found) for name, found in peeked.items()]),
            GUARDRAILS_TEXT.format(n=options.guarded),
            markdown_table(GUARDRAIL_HEADER, [_alarm_row(name, found) for name, found in guarded.items()]),
            POWER_TEXT.format(n=len(schedules), resampled=options.resampled),
            markdown_table(POWER_HEADER, [_power_row(name, found) for name, found in power.items()]),
            CORRELATION_TEXT,
        ]
    )
    command = "python -m benchmarks.experiments" + "".join(f" {each}" for each in arguments or sys.argv[1:])
    write_results("experiments", command, text, {"peeked": peeked, "guardrails": guarded, "power": power})
    print(text)
    broken = _broken(peeked, guarded, power)
    if broken:
        print(f"not as promised: {'; '.join(broken)}", file=sys.stderr)
    return 1 if broken else 0


def _broken(peeked: Mapping[str, Figures], guarded: Mapping[str, Figures], power: Mapping[str, Figures]) -> list[str]:
    found = [name for name, each in {**peeked, **guarded}.items() if each["share"] > PROMISED]
    return found + [f"paired, {name}" for name, each in power.items() if each["fewer_times"] < FEWER_TIMES]


# --- no difference, looked at again and again ---


def _mixed_sizes(rng: np.random.Generator, n: int) -> tuple[Values, Values]:
    """log makespan and log lower bound; requests of 1 to 5 work points, few of them large; the excess is skewed."""
    points = rng.choice(5, n, p=[0.5, 0.25, 0.12, 0.08, 0.05]) + 1.0
    bound = np.log(50.0 * points**0.9) + rng.normal(0.0, 0.12, n)
    return bound + rng.gamma(MIXED_SHAPE, MIXED_SCALE, n), bound


def _one_size(rng: np.random.Generator, n: int) -> tuple[Values, Values]:
    bound = np.log(50.0) + rng.normal(0.0, 0.15, n)
    return bound + rng.normal(0.08, 0.05, n), bound


def _heavy_tails(rng: np.random.Generator, n: int) -> tuple[Values, Values]:
    """One run in fifty fails and counts twice its bound; sizes are log-normal."""
    bound = rng.normal(4.0, 1.0, n)
    excess = np.where(rng.random(n) < 0.02, np.log(2.0), rng.exponential(0.05, n))
    return bound + excess, bound


POPULATIONS: Mapping[str, Draw] = {
    "one size, normal": _one_size,
    "mixed sizes, skewed": _mixed_sizes,
    "log-normal sizes, 2 % failures penalised": _heavy_tails,
}


def peeked_at(name: str, draw: Draw, experiments: int) -> Figures:
    """Shares of A/A experiments that ever say better or worse, looked at after every 20 users, up to 1,000.

    Every alarm and a sample of the other looks are repeated through `compare_arms` and `judge` on a frame of runs; they
    must say the same word as `effect_of_arms` and `word_for`, which `judge` calls.
    """
    rng = np.random.default_rng([2026, experiments])
    wrong = {"verdict": 0, "verdict_without_covariate": 0, "welch": 0}
    repeated = 0
    for _ in tqdm(range(experiments), desc=name):
        y, x = draw(rng, N_USERS)
        is_b = rng.random(N_USERS) < 0.5
        said = dict.fromkeys(wrong, False)
        for seen in range(LOOK_EVERY, N_USERS + 1, LOOK_EVERY):
            in_a, in_b = ~is_b[:seen], is_b[:seen]
            y_a, y_b, x_a, x_b = y[:seen][in_a], y[:seen][in_b], x[:seen][in_a], x[:seen][in_b]
            word = _word(effect_of_arms(y_a, y_b, (x_a, x_b), METRIC, ALPHA))
            alarm = word in ("better", "worse")
            if (alarm and not said["verdict"]) or rng.random() < 1e-3:
                repeated += 1
                _must_agree(word, _frame(y[:seen], x[:seen], is_b[:seen]))
            said["verdict"] |= alarm
            plain = _word(effect_of_arms(y_a, y_b, None, METRIC, ALPHA))
            said["verdict_without_covariate"] |= plain in ("better", "worse")
            if min(y_a.size, y_b.size) >= LEAST_USERS:
                said["welch"] |= bool(_welch_p(y_a, y_b) < ALPHA)
        for kind, is_wrong in said.items():
            wrong[kind] += is_wrong
    return {**_share(wrong["verdict"], experiments), "repeated_in_full": repeated, **_beside(wrong, experiments)}


def few_users(n_users: int, experiments: int, requests: int = 50) -> Figures:
    """The same for few users who ask 50 times each; half of them in each arm; a look at each 40th of them."""
    rng = np.random.default_rng([40, n_users, experiments])
    wrong = {"verdict": 0, "verdict_without_covariate": 0, "welch": 0, "welch_on_rows": 0}
    for _ in tqdm(range(experiments), desc=f"{n_users} users"):
        user = rng.permutation(np.repeat(np.arange(n_users), requests))
        size = rng.normal(4.0, 0.5, n_users)[user] + rng.normal(0.0, 0.1, user.size)
        y = size + rng.normal(0.08, 0.06, n_users)[user] + rng.normal(0.0, 0.06, user.size)
        is_b = rng.permutation(n_users) % 2 == 1
        said = dict.fromkeys(wrong, False)
        for seen in range(user.size // 40, user.size + 1, user.size // 40):
            counts = np.bincount(user[:seen], minlength=n_users)
            there = counts > 0
            y_mean = np.bincount(user[:seen], y[:seen], n_users)[there] / counts[there]
            x_mean = np.bincount(user[:seen], size[:seen], n_users)[there] / counts[there]
            b = is_b[there]
            if min(b.sum(), (~b).sum()) < 2:
                continue
            covariates = (x_mean[~b], x_mean[b])
            said["verdict"] |= _word(effect_of_arms(y_mean[~b], y_mean[b], covariates, METRIC, ALPHA)) in _SPEAKING
            plain = effect_of_arms(y_mean[~b], y_mean[b], None, METRIC, ALPHA)
            said["verdict_without_covariate"] |= _word(plain) in _SPEAKING
            said["welch"] |= bool(_welch_p(y_mean[~b], y_mean[b]) < ALPHA)
            row_b = is_b[user[:seen]]
            said["welch_on_rows"] |= bool(_welch_p(y[:seen][~row_b], y[:seen][row_b]) < ALPHA)
        for kind, is_wrong in said.items():
            wrong[kind] += is_wrong
    return {**_share(wrong["verdict"], experiments), **_beside(wrong, experiments)}


def peeked_pairs(schedules: pd.DataFrame, experiments: int) -> Figures:
    """The same for the paired verdict: real schedules of both seed models, drawn with replacement, 1,000 pairs."""
    rng = np.random.default_rng([3, experiments])
    a, b = (np.log(schedules[name].to_numpy(np.float64)) for name in ("v1", "v2"))
    b = b - (b - a).mean()
    wrong = 0
    for _ in tqdm(range(experiments), desc="pairs"):
        drawn = rng.integers(0, a.size, N_USERS)
        looks = range(2 * LOOK_EVERY, N_USERS + 1, LOOK_EVERY)
        wrong += any(_word(effect_of_pairs(a[drawn[:n]], b[drawn[:n]], METRIC, ALPHA)) in _SPEAKING for n in looks)
    return _share(wrong, experiments)


_SPEAKING = ("better", "worse")


def _word(effect: Effect | NotComputable) -> str:
    return "invalid" if isinstance(effect, NotComputable) else word_for(effect, MARGIN)


def _must_agree(word: str, runs: pd.DataFrame) -> None:
    full = judge(runs, compare_arms(runs, "makespan", min_samples=2, alpha=ALPHA), MARGIN, 1.0)
    if full.word != word:
        raise RuntimeError(f"judge says {full.word}, the short way {word}")


def _frame(y: Values, x: Values, is_b: npt.NDArray[np.bool_]) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "variant": np.where(is_b, "model_b", "model_a"),
            "user_id": np.arange(y.size),
            "success": True,
            "makespan": np.exp(y),
            "lower_bound": np.exp(x),
        }
    )


def _welch_p(a: Values, b: Values) -> float:
    """What scipy.stats.ttest_ind(equal_var=False) answers, without its checks, which take most of its time."""
    va, vb = a.var(ddof=1) / a.size, b.var(ddof=1) / b.size
    if va + vb == 0.0:
        return 1.0
    df = (va + vb) ** 2 / (va**2 / (a.size - 1) + vb**2 / (b.size - 1))
    return float(2.0 * stdtr(df, -abs(b.mean() - a.mean()) / np.sqrt(va + vb)))


def _share(wrong: int, n: int) -> Figures:
    low, high = proportion_confint(wrong, n, method="wilson")
    return {"wrong": wrong, "experiments": n, "share": wrong / n, "wilson_95": [float(low), float(high)]}


def _beside(wrong: Mapping[str, int], n: int) -> Figures:
    return {f"share_{kind}": count / n for kind, count in wrong.items() if kind != "verdict"}


# --- guardrails ---


def false_alarms(experiments: int, harm: tuple[float, float, float]) -> Figures:
    """Shares of experiments in which a guardrail is ever breached, looked at up to 1,000 users (`GUARD_LOOKS`).

    Args:
        harm: factor on the makespan, loss of success (absolute), factor on the execution time; at the margins the
            chance of an alarm is the highest that is still false.
    """
    rng = np.random.default_rng([7, experiments])
    factor, loss, slower = harm
    answered = 0.98
    # What the makespans must be multiplied by so that they and the penalised failures are together `factor` longer.
    excess = MIXED_SHAPE * MIXED_SCALE
    rest = (np.log(factor) + answered * excess - loss * np.log(FAILED_RATIO)) / (answered - loss) - excess
    alarms, by_name = 0, dict.fromkeys(DEFAULT_MARGINS, 0)
    for _ in tqdm(range(experiments), desc=f"guardrails {harm}"):
        y, x = _mixed_sizes(rng, N_USERS)
        is_b = rng.random(N_USERS) < 0.5
        runs = _frame(y + rest * is_b, x, is_b).assign(
            success=rng.random(N_USERS) < np.where(is_b, answered - loss, answered),
            execution_time=rng.gamma(2.0, 0.1, N_USERS) * np.where(is_b, slower, 1.0),
        )
        breached: set[str] = set()
        for seen in GUARD_LOOKS:
            checks = check_guardrails(runs.iloc[:seen], DEFAULT_MARGINS, "model_a", "model_b")
            breached |= {each.name for each in checks if each.state == "breached"}
        alarms += bool(breached)
        for name in breached:
            by_name[name] += 1
    return {**_share(alarms, experiments), "by_guardrail": {name: n / experiments for name, n in by_name.items()}}


# --- a difference of 1 % in real schedules ---


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
    """Log makespans of the baseline and of a candidate that is 1 % better, log lower bounds; one entry a request."""

    a: Values
    b: Values
    bound: Values
    real_mean_log_ratio: float  # of the two seed models, before the shift


def populations_of(schedules: pd.DataFrame) -> dict[str, Pool]:
    """Who asks for what."""
    chosen = {
        "1 to 5 work points, evenly": schedules,
        "`params` only: 1 work point": schedules[schedules["n_workpoints"] == 1],
        "3 work points only": schedules[schedules["n_workpoints"] == 3],
        "5 work points only": schedules[schedules["n_workpoints"] == 5],
    }
    return {name: _pool(rows) for name, rows in chosen.items()}


def _pool(rows: pd.DataFrame) -> Pool:
    a, b, bound = (np.log(rows[name].to_numpy(np.float64)) for name in ("v1", "v2", "bound"))
    ratio = b - a
    return Pool(a, a + ratio - ratio.mean() + np.log1p(-EFFECT), bound, float(ratio.mean()))


def users_needed(name: str, pool: Pool, experiments: int) -> Figures:
    """Users until 80 % of the resampled experiments say `better`: without a covariate, with it, and paired."""
    rng = np.random.default_rng([1, experiments])
    needed: Figures = {}
    for kind in ("unpaired", "cuped", "paired"):
        first = _first_times(kind, pool, rng, experiments, name)
        needed[kind] = int(np.quantile(first, POWER, method="higher"))
    return {
        "users": needed,
        "fewer_times": needed["unpaired"] / needed["paired"],
        "fewer_times_than_cuped": needed["cuped"] / needed["paired"],
        "correlation_of_the_pair": float(np.corrcoef(pool.a, pool.b)[0, 1]),
        "correlation_with_the_bound": float(np.corrcoef(pool.a, pool.bound)[0, 1]),
        "sd_log_makespan": float(pool.a.std(ddof=1)),
        "sd_log_ratio": float((pool.b - pool.a).std(ddof=1)),
        "real_mean_log_ratio": pool.real_mean_log_ratio,
        "requests": int(pool.a.size),
    }


def _first_times(kind: str, pool: Pool, rng: np.random.Generator, experiments: int, name: str) -> npt.NDArray[np.int64]:
    """Users at the first look that says `better`, of each experiment; looks after every 20 users."""
    expected = _expected_users(kind, pool)
    first = []
    for _ in tqdm(range(experiments), desc=f"{kind}, {name}"):
        horizon = LOOK_EVERY * (2 * expected // LOOK_EVERY + 10)
        found = None
        while found is None:
            state = rng.bit_generator.state
            found = _first_better(kind, pool, rng, horizon)
            if found is None:  # the same users again, and more of them
                rng.bit_generator.state = state
                horizon *= 2
        first.append(found)
    return np.array(first, np.int64)


def _expected_users(kind: str, pool: Pool) -> int:
    """By the usual formula with the boundary in the place of the quantile, roughly."""
    if kind == "paired":
        variance = float((pool.b - pool.a).var())
    else:
        share = 1.0 if kind == "unpaired" else 1.0 - float(np.corrcoef(pool.a, pool.bound)[0, 1]) ** 2
        variance = 4.0 * float(pool.a.var()) * share
    return int(20.0 * variance / np.log1p(-EFFECT) ** 2) + 2 * LEAST_USERS


def _first_better(kind: str, pool: Pool, rng: np.random.Generator, horizon: int) -> int | None:
    """Running sums give what `effect_of_arms` or `effect_of_pairs` would say at each look; the find is checked."""
    drawn = rng.integers(0, pool.a.size, horizon)
    seen = np.arange(LOOK_EVERY, horizon + 1, LOOK_EVERY)
    if kind == "paired":
        mean, variance = _running(pool.b[drawn] - pool.a[drawn], seen)
        error = np.sqrt(variance / seen)
        enough = seen >= LEAST_USERS
    else:
        is_b = np.arange(horizon) % 2 == 1
        y, x = np.where(is_b, pool.b[drawn], pool.a[drawn]), pool.bound[drawn]
        mean, error = _running_difference(y, x if kind == "cuped" else None, seen)
        enough = seen // 2 >= LEAST_USERS
    with np.errstate(invalid="ignore"):
        says_better = enough & (mean + error * boundary(seen.astype(np.float64), ALPHA, TUNED_FOR, sides=2) < 0.0)
    if not says_better.any():
        return None
    n = int(seen[np.argmax(says_better)])
    if kind == "paired":
        effect = effect_of_pairs(pool.a[drawn[:n]], pool.b[drawn[:n]], METRIC, ALPHA)
    else:
        covariates = (x[:n:2], x[1:n:2]) if kind == "cuped" else None
        effect = effect_of_arms(y[:n:2], y[1:n:2], covariates, METRIC, ALPHA)
    if _word(effect) != "better":
        raise RuntimeError(f"after {n} users the running sums say better, the function does not")
    return n


def _running(values: Values, seen: npt.NDArray[np.int64]) -> tuple[Values, Values]:
    """Mean and sample variance of the first `seen` values."""
    sums, squares = np.cumsum(values)[seen - 1], np.cumsum(values**2)[seen - 1]
    mean = sums / seen
    return mean, (squares - seen * mean**2) / (seen - 1)


def _running_difference(y: Values, x: Values | None, seen: npt.NDArray[np.int64]) -> tuple[Values, Values]:
    """Difference of the arms' means and its error, users of the arms by turns, after `seen` users, both adjusted."""
    half = seen // 2
    y = y - y.mean()  # so that the squares do not cancel
    means, variances = zip(*(_running(y[arm::2], half) for arm in (0, 1)), strict=True)
    difference = means[1] - means[0]
    if x is None:
        return difference, np.sqrt((variances[0] + variances[1]) / half)
    x = x - x.mean()
    mean_x, var_x = zip(*(_running(x[arm::2], half) for arm in (0, 1)), strict=True)
    products = [np.cumsum((x * y)[arm::2])[half - 1] for arm in (0, 1)]
    covariance = [(products[arm] - half * mean_x[arm] * means[arm]) / (half - 1) for arm in (0, 1)]
    pooled_mean_x, pooled_var_x = _running(x, seen)
    pooled_mean_y = (means[0] + means[1]) / 2.0
    pooled = (products[0] + products[1] - seen * pooled_mean_x * pooled_mean_y) / (seen - 1)
    theta = pooled / pooled_var_x
    adjusted = [variances[arm] + theta**2 * var_x[arm] - 2.0 * theta * covariance[arm] for arm in (0, 1)]
    return difference - theta * (mean_x[1] - mean_x[0]), np.sqrt((adjusted[0] + adjusted[1]) / half)


# --- tables ---

ERRORS_TEXT = (
    "## No difference, looked at again and again\n\n"
    "{n:,} simulated experiments a line, both arms alike, at alpha 5 %. Up to 1,000 users are assigned by a coin and "
    "looked at after every 20; the lines of few users at every 40th of the requests. Wrong: any look says `better` or "
    "`worse`. A verdict needs {least} users in each arm, so with 20 an arm it never speaks. Beside it: the same bounds "
    "without the covariate, and a Welch test repeated at every look, on user means and on rows."
)
ERROR_HEADER = [
    "users",
    "wrong verdicts (95 % Wilson interval)",
    "without the covariate",
    "Welch at every look",
    "on rows",
]
GUARDRAILS_TEXT = (
    "## False alarms of the guardrails\n\n"
    "{n:,} simulated experiments a line of mixed sizes and 2 % failures, up to 1,000 users, looked at after every 20 "
    "up to 200, then every 100; makespan (failures penalised), success and execution time at a third of 5 % each. At "
    "the margins an alarm is as likely as it can be while it is false."
)
GUARDRAIL_HEADER = ["candidate", "any breach (95 % Wilson interval)", "makespan", "success", "execution time"]
POWER_TEXT = (
    "## A difference of 1 % in real schedules\n\n"
    "Greedy schedules (time budget 0) of the seed models v1 and v2 for {n:,} generated requests. The baseline's "
    "makespans are v1's. The candidate's log ratios to it are those of v2, shifted by one constant so that the "
    "geometric mean is exactly 1 % shorter: the effect is made, the noise of the pairs is real. Users, one request "
    "each, are drawn with replacement, {resampled} experiments a line, looked at after every 20: users until 80 % of "
    "the experiments said `better`. Unpaired: half of the users in each arm. Paired: both models on each request."
)
CORRELATION_TEXT = (
    "The correlation is that of the two models' log makespans on the same request. With n users, the variance of the "
    "paired mean is 2 (1 - correlation) / n times that of one log makespan, that of the difference of two arms 4 / n: "
    "pairs need 2 / (1 - correlation) times fewer, if both models vary alike. Against the unpaired test with CUPED the "
    "gain is smaller, since the lower bound explains much of the same."
)
POWER_HEADER = [
    "requests",
    "unpaired",
    "with CUPED",
    "paired",
    "unpaired / paired",
    "correlation of the pair",
    "of makespan and bound",
    "sd of log makespan, of log ratio",
    "real geometric mean ratio v2 / v1",
]


def _interval(found: Figures) -> str:
    low, high = found["wilson_95"]
    return f"{100 * found['share']:.2f} % ({100 * low:.2f} % to {100 * high:.2f} %)"


def _error_row(name: str, found: Figures) -> list[object]:
    beside = [found.get(f"share_{kind}") for kind in ("verdict_without_covariate", "welch", "welch_on_rows")]
    return [name, _interval(found), *("-" if share is None else f"{100 * share:.1f} %" for share in beside)]


def _alarm_row(name: str, found: Figures) -> list[object]:
    return [name, _interval(found), *(f"{100 * share:.1f} %" for share in found["by_guardrail"].values())]


def _power_row(name: str, found: Figures) -> list[object]:
    users = found["users"]
    return [
        name,
        *(f"{users[kind]:,}" for kind in ("unpaired", "cuped", "paired")),
        f"{found['fewer_times']:.0f}",
        f"{found['correlation_of_the_pair']:.4f}",
        f"{found['correlation_with_the_bound']:.4f}",
        f"{found['sd_log_makespan']:.3f}, {found['sd_log_ratio']:.4f}",
        f"{np.exp(found['real_mean_log_ratio']):.4f}",
    ]


if __name__ == "__main__":
    sys.exit(main())
