"""What must not get worse: sequential non-inferiority tests of success, execution time and makespans."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal

import numpy as np

from scheduler_service.stats.arms import (
    Totals,
    metric_values,
    rows_of_arm,
    since_recorded,
    succeeded,
    totals,
    units,
    unrecorded,
    user_means_on_scale,
)
from scheduler_service.stats.cuped import adjust
from scheduler_service.stats.effect import LEAST_USERS, TUNED_FOR, effect_of_arms
from scheduler_service.stats.metrics import METRICS
from scheduler_service.stats.optimality import cannot_tell
from scheduler_service.stats.outcome import NotComputable
from scheduler_service.stats.sequential import boundary
from scheduler_service.stats.summaries import Values

if TYPE_CHECKING:
    import pandas as pd

DEFAULT_MARGINS: Mapping[str, float] = MappingProxyType({"makespan": 0.05, "success": 0.05, "execution_time": 0.5})
"""Harm that is put up with. makespan: share of the baseline's geometric mean, failures penalised; success: share of the
requests, absolute; execution_time: share of the baseline's 95th percentile."""
GUARDRAILS = (*DEFAULT_MARGINS, "policy_makespan")
"""Every name. policy_makespan, a share as makespan's, is tested only where an experiment asks for it: what a model
would have answered without the search harms nobody."""
ALPHA = 0.05
"""Chance that any of the guardrails stops a candidate that is within all margins, however often one looks."""
QUANTILE = 0.95
UNNOTICED_S = 0.05
"""Nobody notices an answer that comes so much later: the least excess over the baseline's percentile that counts."""

State = Literal["breached", "kept", "undecided"]


@dataclass(frozen=True)
class Guardrail:
    """One test. `harm` is in the unit of `margin`; its bounds hold at all moments with chance 1 - alpha each."""

    name: str
    margin: float
    state: State  # breached: certainly beyond the margin; kept: certainly within
    harm: float | None
    low: float | None
    high: float | None
    users: tuple[int, int]  # of the baseline and of the candidate
    message: str

    def to_dict(self) -> dict[str, object]:
        return {
            "name": self.name,
            "margin": self.margin,
            "state": self.state,
            "harm": self.harm,
            "harm_bounds": None if self.low is None else [self.low, self.high],
            "users": list(self.users),
            "message": self.message,
        }


def check_guardrails(
    runs: pd.DataFrame, margins: Mapping[str, float], baseline: str, candidate: str, alpha: float = ALPHA
) -> list[Guardrail]:
    """The guardrails of `candidate` against `baseline`, each at a share of `alpha` (Bonferroni).

    makespan, policy_makespan: the one-sided bound of the ratio of geometric user means, adjusted for the lower bound of
    the instances; a failed run counts as `arms.FAILED_RATIO` times its lower bound. Where there is no error since the
    answers of both arms are proven optimal, the makespan is kept.
    success: difference of the request rates; users are clusters.
    execution_time: the share of the candidate's runs above T, the baseline's 95th percentile times 1 + margin, but no
    less than `UNNOTICED_S` above it. If the candidate's percentile is at most T, that share is at most 5 %; its
    standard error adds the error of the baseline's percentile, sqrt(0.05 * 0.95 / n) at the border, to that of the
    share (delta method).

    Args:
        runs: as `comparison.compare_arms` takes them; `lower_bound` and `timestamp` too, if they were recorded.
        margins: name -> harm that is put up with.
    """
    each = alpha / max(1, len(margins))
    a, b = rows_of_arm(runs, baseline), rows_of_arm(runs, candidate)
    found = []
    for name, margin in margins.items():
        if name in METRICS and METRICS[name].is_penalised:
            found.append(_length(name, runs, (baseline, candidate), margin, each))
        else:
            found.append((_success if name == "success" else _execution_time)(a, b, margin, each))
    return found


def _length(name: str, runs: pd.DataFrame, arms: tuple[str, str], margin: float, alpha: float) -> Guardrail:
    """Of the schedules: those answered, or the models' own."""
    metric = METRICS[name]
    unknown = unrecorded(runs, metric, arms)
    recorded = since_recorded(runs, metric)
    (y_a, x_a), (y_b, x_b) = (user_means_on_scale(rows_of_arm(recorded, arm), metric) for arm in arms)
    users = (y_a.size, y_b.size)
    if unknown is not None:
        return Guardrail(name, margin, "undecided", None, None, None, users, unknown.message)
    covariates = None if x_a is None or x_b is None else (x_a, x_b)
    effect = effect_of_arms(y_a, y_b, covariates, metric, alpha)
    if not isinstance(effect, NotComputable):
        low, high = -effect.margin_high(alpha, metric), -effect.margin_low(alpha, metric)
        what = "schedules" if name == "makespan" else "own schedules"
        return _judged(name, margin, -effect.improvement, low, high, users, ("longer", "shorter"), what)
    if effect.reason != "no_variation":
        return Guardrail(name, margin, "undecided", None, None, None, users, effect.message)
    harm = math.expm1(_difference(y_a, y_b, covariates))
    if harm > margin:  # everybody asks for one plant: exact there, and a safety stop is not blind to it
        message = (
            f"schedules of the one plant that all users ask for are {_percent(harm)} longer than the baseline's "
            f"({_percent(margin)} is allowed)"
        )
        return Guardrail(name, margin, "breached", harm, harm, harm, users, message)
    if cannot_tell(runs, metric, arms) is not None:  # the whole difference is known, and it is within the margin
        message = "nearly all answers of both arms are proven optimal: no schedule could be shorter"
        return Guardrail(name, margin, "kept", harm, harm, harm, users, message)
    return Guardrail(name, margin, "undecided", None, None, None, users, effect.message)


def _difference(a: Values, b: Values, covariates: tuple[Values, Values] | None) -> float:
    """Of the means, without what the covariate explains: users of the two arms have different plants."""
    adjustment = None if covariates is None else adjust(a, b, *covariates)
    if adjustment is not None and not isinstance(adjustment, NotComputable):
        a, b = adjustment.a, adjustment.b
    return float(b.mean() - a.mean())


def _success(a: pd.DataFrame, b: pd.DataFrame, margin: float, alpha: float) -> Guardrail:
    sides = [totals(succeeded(rows).astype("float64"), units(rows)) for rows in (a, b)]
    users = (sides[0].counts.size, sides[1].counts.size)
    if min(users) < LEAST_USERS:
        return _too_few("success", margin, users)
    (rate_a, error_a), (rate_b, error_b) = (rate_with_error(side) for side in sides)
    radius = math.hypot(error_a, error_b) * _boundary(users, alpha)
    harm = rate_a - rate_b
    return _judged("success", margin, harm, harm - radius, harm + radius, users, ("fewer", "more"), "requests answered")


def _execution_time(a: pd.DataFrame, b: pd.DataFrame, margin: float, alpha: float) -> Guardrail:
    took_a, took_b = (metric_values(rows, METRICS["execution_time"]) for rows in (a, b))
    if took_a is None or took_b is None or not took_a.notna().any() or not took_b.notna().any():
        return _too_few("execution_time", margin, (0, 0))
    quantile = float(took_a.quantile(QUANTILE))
    slow_a = took_a.gt(quantile).astype("float64").where(took_a.notna())
    limit_s = max(quantile * (1.0 + margin), quantile + UNNOTICED_S)
    slow_b = took_b.gt(limit_s).astype("float64").where(took_b.notna())
    side_a, side_b = totals(slow_a, units(a)), totals(slow_b, units(b))
    users = (side_a.counts.size, side_b.counts.size)
    if min(users) < LEAST_USERS:
        return _too_few("execution_time", margin, users)
    (_, error_a), (share_b, error_b) = rate_with_error(side_a), rate_with_error(side_b)
    radius = math.hypot(error_a, error_b) * _boundary(users, alpha)
    excess = share_b - (1.0 - QUANTILE)
    low, high = excess - radius, excess + radius
    state: State = "breached" if low > 0.0 else "kept" if high <= 0.0 else "undecided"
    least, most = max(0.0, low + 1.0 - QUANTILE), min(1.0, high + 1.0 - QUANTILE)
    message = (
        f"{_percent(share_b)} of the candidate's runs take longer than {1e3 * limit_s:.4g} ms, the baseline's 95th "
        f"percentile, {1e3 * quantile:.4g} ms, and what is put up with; 5 % may ({_percent(least)} to {_percent(most)})"
    )
    return Guardrail("execution_time", margin, state, excess, low, high, users, message)


def rate_with_error(side: Totals) -> tuple[float, float]:
    """(share of the requests, standard error) where users are clusters.

    r = sum s / sum n;  var(r) = K / (K - 1) sum (s_i - r n_i)^2 / (sum n)^2  over K users (delta method for a ratio of
    means). The error, not the rate, is that of K = k + 2 users: to the k of the arm two of average activity are added,
    one of whom always fails and one never: an arm in which all is well so far has not shown that nothing can fail.

    Source: Deng, Knoblich, Lu, KDD 2018, section 3; Agresti, Caffo, The American Statistician 54 (2000) 280-288, whose
    two added observations are users here.
    """
    mean = float(side.counts.mean())
    sums, counts = np.append(side.sums, [0.0, mean]), np.append(side.counts, [mean, mean])
    n, k = float(counts.sum()), counts.size
    residuals = sums - float(sums.sum()) / n * counts
    error = math.sqrt(k / (k - 1) * float((residuals**2).sum())) / n
    return float(side.sums.sum() / side.counts.sum()), error


def _boundary(users: tuple[int, int], alpha: float) -> float:
    return float(boundary(np.array([float(sum(users))]), alpha, TUNED_FOR, sides=1)[0])


def _judged(
    name: str,
    margin: float,
    harm: float,
    low: float,
    high: float,
    users: tuple[int, int],
    comparatives: tuple[str, str],
    what: str,
) -> Guardrail:
    """`comparatives`: of harm, and of its opposite."""
    state: State = "breached" if low > margin else "kept" if high < margin else "undecided"
    said = f"{_percent(abs(harm))} {comparatives[0] if harm >= 0.0 else comparatives[1]} {what} than the baseline"
    message = f"{said} (harm {_percent(low)} to {_percent(high)}, {_percent(margin)} is allowed)"
    return Guardrail(name, margin, state, harm, low, high, users, message)


def _percent(share: float) -> str:
    return f"{round(100.0 * share, 1) + 0.0:.1f} %"  # + 0.0 turns -0.0 into 0.0


def _too_few(name: str, margin: float, users: tuple[int, int]) -> Guardrail:
    message = f"each arm needs at least {LEAST_USERS} users; they have {users[0]} and {users[1]}"
    return Guardrail(name, margin, "undecided", None, None, None, users, message)
