"""Guardrails: sequential non-inferiority tests of success, execution time and makespans."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal

import numpy as np

from scheduler_service.stats.arms import (
    FAILED_RATIO,
    metric_values,
    rows_of_arm,
    since_recorded,
    unrecorded,
    user_values,
)
from scheduler_service.stats.effect import Evidence, difference_of_arms, difference_of_pairs
from scheduler_service.stats.metrics import METRICS
from scheduler_service.stats.optimality import cannot_tell
from scheduler_service.stats.outcome import NotComputable
from scheduler_service.stats.pairs import paired_user_means, success_differences

if TYPE_CHECKING:
    import pandas as pd

DEFAULT_MARGINS: Mapping[str, float] = MappingProxyType({"makespan": 0.05, "success": 0.05, "execution_time": 0.5})
"""Tolerated harm. makespan: share of the baseline's geometric mean, failures penalised; success: share of the requests
(absolute); execution_time: share of the baseline's 95th percentile."""
GUARDRAILS = (*DEFAULT_MARGINS, "policy_makespan")
"""All names. policy_makespan, whose margin is a share as for makespan, is tested only if an experiment configures it,
because the schedule without the search is not the one that users get."""
ALPHA = 0.05
"""Probability that any guardrail ever stops a candidate that is within all margins, for any number of looks."""
QUANTILE = 0.95
UNNOTICED_S = 0.05
"""A smaller excess over the baseline's percentile is not noticeable and does not count as slow."""

MIN_BASELINE_RUNS = 100
"""Minimum number of runs of the baseline for its 95th percentile."""
_SLOW = replace(METRICS["execution_time"], is_ratio_scale=False, limits=(0.0, 1.0))
"""The execution time replaced by 1 for a slow run and 0 otherwise."""

GuardrailState = Literal["breached", "kept", "undecided"]
Unit = Literal["share_of_baseline", "share_of_requests"]
MarginUnit = Literal[Unit, "share_of_baseline_percentile"]


@dataclass(frozen=True)
class Guardrail:
    """The result of one test. `harm` and its bounds are shares in `unit`; each is valid at all times at 1 - alpha.

    For the execution time, the margin is part of the limit above which a run is slow. The harm is the candidate's share
    of slow runs minus the baseline's, and is compared with 0.
    """

    name: str
    margin: float
    state: GuardrailState  # breached: proved to be above the margin; kept: proved to be within it
    harm: float | None
    low: float | None
    high: float | None
    users: tuple[int, int]  # of the baseline and of the candidate
    message: str
    is_within_reach: bool = True  # this number of users is enough to prove `kept` if there is no harm

    @property
    def unit(self) -> Unit:
        """The quantity of which `harm` is a share."""
        return "share_of_baseline" if self.name in METRICS and METRICS[self.name].is_penalised else "share_of_requests"

    @property
    def margin_unit(self) -> MarginUnit:
        """The quantity of which `margin` is a share."""
        return "share_of_baseline_percentile" if self.name == "execution_time" else self.unit

    @property
    def harm_limit(self) -> float:
        """The limit with which the bounds of `harm` are compared, in its unit."""
        return 0.0 if self.name == "execution_time" else self.margin

    def to_dict(self) -> dict[str, object]:
        harm = None if self.harm is None else self.harm + 0.0  # + 0.0 turns -0.0 into 0.0
        bounds = None if self.low is None or self.high is None else [self.low + 0.0, self.high + 0.0]
        return {
            "name": self.name,
            "margin": self.margin,
            "margin_percentage": 100.0 * self.margin,
            "margin_unit": self.margin_unit,
            "state": self.state,
            "unit": self.unit,
            "harm": harm,
            "harm_percentage": None if harm is None else 100.0 * harm,
            "harm_bounds": bounds,
            "harm_bounds_percentage": None if bounds is None else [100.0 * bound for bound in bounds],
            "harm_limit": self.harm_limit,
            "users": list(self.users),
            "message": self.message,
            "is_within_reach": self.is_within_reach,
        }


def check_guardrails(
    runs: pd.DataFrame,
    margins: Mapping[str, float],
    baseline: str,
    candidate: str,
    alpha: float = ALPHA,
    *,
    split: Mapping[str, float] | None = None,
    pairs: pd.DataFrame | None = None,
) -> list[Guardrail]:
    """The guardrails of `candidate` compared with `baseline`, each at an equal share of `alpha` (Bonferroni).

    makespan, policy_makespan: the one-sided bound of the ratio of the users' geometric means, relative to the lower
    bound of the instances; a failed run counts as `arms.FAILED_RATIO` times its lower bound. If the answers of both
    arms are proved optimal and do not vary, the makespan is `kept`.
    success: the difference of the users' mean success.
    execution_time: the difference of the users' mean shares of slow runs. A run of the baseline is slow above the
    baseline's 95th percentile; a run of the candidate above the percentile times 1 + margin, at least the percentile
    plus `UNNOTICED_S`.

    If there are pairs, makespans and success are also tested on them, and both tests use half of the alpha: breached if
    either is breached, otherwise kept if either is kept. Pairs need no share of the users.

    Args:
        runs: as for `comparison.compare_arms`, with `lower_bound` and `timestamp` if they were recorded.
        margins: name -> tolerated harm.
        split: as for `arms.user_values`.
        pairs: shadow runs of the same candidate, as for `pairs.judge_pairs`.
    """
    each = alpha / max(1, len(margins))
    arms = (baseline, candidate)
    found = []
    for name, margin in margins.items():
        is_paired = pairs is not None and len(pairs) > 0 and name != "execution_time"
        share = each / 2.0 if is_paired else each
        if name in METRICS and METRICS[name].is_penalised:
            live = _length(name, runs, arms, split, margin, share)
        elif name == "success":
            live = _success(runs, arms, split, margin, share)
        else:
            live = _execution_time(runs, arms, split, margin, share)
        found.append(_combined(live, _paired(name, pairs, margin, share)) if is_paired and pairs is not None else live)
    return found


def _combined(live: Guardrail, paired: Guardrail) -> Guardrail:
    """The result of both tests: breached, else kept; if both are undecided, the one with more users."""
    for state in ("breached", "kept"):
        for each in (live, paired):
            if each.state == state:
                return each
    is_within_reach = live.is_within_reach or paired.is_within_reach
    return replace(live if sum(live.users) > paired.users[1] else paired, is_within_reach=is_within_reach)


def _length(
    name: str,
    runs: pd.DataFrame,
    arms: tuple[str, str],
    split: Mapping[str, float] | None,
    margin: float,
    alpha: float,
) -> Guardrail:
    """The guardrail of a makespan: of the answered schedules, or of the models' own ones."""
    metric = METRICS[name]
    values = user_values(since_recorded(runs, metric), metric, arms, split)
    users = (values.a.size, values.b.size)
    unknown = unrecorded(runs, metric, arms)
    evidence = unknown or difference_of_arms(values)
    if isinstance(evidence, NotComputable):
        return _undecided(name, margin, users, evidence.message)
    found = _judged_length(name, margin, evidence, alpha, users)
    is_equal = evidence.estimate == 0.0 == evidence.standard_error
    if found.state == "undecided" and is_equal and cannot_tell(runs, metric, arms) is not None:
        return replace(
            found,
            state="kept",
            message="nearly all answers of both arms are proven optimal: no schedule could be shorter",
        )
    return found


def _judged_length(name: str, margin: float, evidence: Evidence, alpha: float, users: tuple[int, int]) -> Guardrail:
    low, high = (math.expm1(bound) for bound in (evidence.low(alpha), evidence.high(alpha)))
    what = "schedules" if name == "makespan" else "own schedules"
    is_within_reach = evidence.could_exclude(math.log1p(margin), "below", alpha)
    harm = min(max(math.expm1(evidence.estimate), low), high)
    return _judged(name, margin, harm, low, high, users, ("longer", "shorter"), what, is_within_reach)


def _success(
    runs: pd.DataFrame, arms: tuple[str, str], split: Mapping[str, float] | None, margin: float, alpha: float
) -> Guardrail:
    values = user_values(runs, METRICS["success"], arms, split)
    evidence, users = difference_of_arms(values), (values.a.size, values.b.size)
    if isinstance(evidence, NotComputable):
        return _undecided("success", margin, users, evidence.message)
    return _judged_success(margin, evidence, alpha, users)


def _judged_success(margin: float, evidence: Evidence, alpha: float, users: tuple[int, int]) -> Guardrail:
    harm, low, high = -evidence.estimate, -evidence.high(alpha), -evidence.low(alpha)
    is_within_reach = evidence.could_exclude(-margin, "above", alpha)
    harm = min(max(harm, low), high)
    return _judged("success", margin, harm, low, high, users, ("fewer", "more"), "requests answered", is_within_reach)


def _execution_time(
    runs: pd.DataFrame, arms: tuple[str, str], split: Mapping[str, float] | None, margin: float, alpha: float
) -> Guardrail:
    took_a, took_b = (metric_values(rows_of_arm(runs, arm), METRICS["execution_time"]) for arm in arms)
    if took_a is None or took_b is None or not took_b.notna().any() or took_a.notna().sum() < MIN_BASELINE_RUNS:
        message = f"the baseline's 95th percentile takes {MIN_BASELINE_RUNS} of its runs, and the candidate needs one"
        return _undecided("execution_time", margin, (0, 0), message)
    quantile = float(took_a.quantile(QUANTILE))
    limit_s = max(quantile * (1.0 + margin), quantile + UNNOTICED_S)
    is_candidate = runs["variant"].eq(arms[1]).fillna(value=False).astype(bool)
    took = runs["execution_time"].astype("float64")
    slow = took.gt(quantile).where(~is_candidate, took.gt(limit_s)).astype("float64").where(took.notna())
    values = user_values(runs.assign(execution_time=slow), _SLOW, arms, split)
    evidence, users = difference_of_arms(values), (values.a.size, values.b.size)
    if isinstance(evidence, NotComputable):
        return _undecided("execution_time", margin, users, evidence.message)
    low, high, share = evidence.low(alpha), evidence.high(alpha), float(values.b.mean())
    state: GuardrailState = "breached" if low > 0.0 else "kept" if high <= 0.0 else "undecided"
    message = (
        f"{_percent(share)} of the candidate's runs (mean of the users) take longer than {1e3 * limit_s:.4g} ms, the "
        f"baseline's 95th percentile, {1e3 * quantile:.4g} ms, and what is put up with; above the percentile are "
        f"{_percent(float(values.a.mean()))} of the baseline's (difference {_percent(low)} to {_percent(high)})"
    )
    return Guardrail("execution_time", margin, state, evidence.estimate, low, high, users, message)


def _paired(name: str, pairs: pd.DataFrame, margin: float, alpha: float) -> Guardrail:
    """The guardrail from pairs: both models on the same requests."""
    if name == "success":
        d = success_differences(pairs)
        evidence = difference_of_pairs(d, 1.0)
    else:
        a, b = paired_user_means(pairs, METRICS[name])
        limit = math.log(FAILED_RATIO)
        d = np.clip(b - a, -limit, limit)
        evidence = difference_of_pairs(d, limit)
    users = (d.size, d.size)
    if isinstance(evidence, NotComputable):
        return _undecided(name, margin, users, evidence.message)
    judged = (
        _judged_success(margin, evidence, alpha, users)
        if name == "success"
        else _judged_length(name, margin, evidence, alpha, users)
    )
    return replace(judged, message=f"on the same requests: {judged.message}")


def _judged(
    name: str,
    margin: float,
    harm: float,
    low: float,
    high: float,
    users: tuple[int, int],
    comparatives: tuple[str, str],
    what: str,
    is_within_reach: bool,
) -> Guardrail:
    """The result for bounds of the harm; `comparatives` are the words for harm and for its opposite."""
    state: GuardrailState = "breached" if low > margin else "kept" if high < margin else "undecided"
    said = f"{_percent(abs(harm))} {comparatives[0] if harm >= 0.0 else comparatives[1]} {what} than the baseline"
    message = f"{said} (harm {_percent(low)} to {_percent(high)}, {_percent(margin)} is allowed)"
    return Guardrail(name, margin, state, harm, low, high, users, message, is_within_reach)


def _percent(share: float) -> str:
    return f"{round(100.0 * share, 1) + 0.0:.1f} %"  # + 0.0 turns -0.0 into 0.0


def _undecided(name: str, margin: float, users: tuple[int, int], message: str) -> Guardrail:
    return Guardrail(name, margin, "undecided", None, None, None, users, message, is_within_reach=False)
