"""Guardrails: sequential non-inferiority tests. A guardrail is defined here and nowhere else.

The schema of experiments, the console's form and charts, reports, verdicts and rollouts are made from `GUARDRAILS`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from scheduler_service.stats.arms import (
    FAILED_RATIO,
    metric_values,
    rows_of_arm,
    since_recorded,
    unrecorded,
    user_values,
)
from scheduler_service.stats.effect import (
    Evidence,
    difference_of_arms,
    difference_of_pairs,
    improvement_at,
    ratio_of_arms,
)
from scheduler_service.stats.metrics import METRICS, Metric
from scheduler_service.stats.optimality import cannot_tell
from scheduler_service.stats.outcome import NotComputable
from scheduler_service.stats.pairs import paired_user_means, success_differences
from scheduler_service.words import WORDS, Message

if TYPE_CHECKING:
    import pandas as pd

ALPHA = 0.05
"""Probability that any guardrail ever stops a candidate that is within all margins, for any number of looks."""
QUANTILE = 0.95
UNNOTICED_S = 0.05
"""A smaller excess over the baseline's percentile is not noticeable and does not count as slow."""
MIN_BASELINE_RUNS = 100
"""Minimum number of runs of the baseline for its 95th percentile."""

GuardrailState = Literal["breached", "kept", "undecided"]
Unit = Literal["share_of_baseline", "share_of_requests"]
MarginUnit = Literal[Unit, "share_of_baseline_percentile"]
Test = Literal["relative", "points", "slow"]
"""relative: the candidate's mean over the baseline's (of ratio scales: geometric means, failures penalised), minus 1.
points: the difference of the means of shares. slow: the share of runs above a percentile of the baseline's."""
_UNITS: Mapping[Test, tuple[Unit, MarginUnit]] = {
    "relative": ("share_of_baseline", "share_of_baseline"),
    "points": ("share_of_requests", "share_of_requests"),
    "slow": ("share_of_requests", "share_of_baseline_percentile"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Definition:
    """A guardrail that experiments can have; it has the name of its metric."""

    metric: Metric
    test: Test
    default: float | None  # margin in the unit of `margin_unit`; None: only of experiments that configure it
    is_needed: bool  # must be kept for certain before a rollout gives the candidate to more users

    @property
    def name(self) -> str:
        return self.metric.name

    @property
    def unit(self) -> Unit:
        """The quantity of which the harm is a share."""
        return _UNITS[self.test][0]

    @property
    def margin_unit(self) -> MarginUnit:
        """The quantity of which the margin is a share."""
        return _UNITS[self.test][1]

    @property
    def is_paired(self) -> bool:
        """Whether it is also tested on pairs."""
        return self.test != "slow" and (self.metric.is_paired or self.name == "success")

    @property
    def label(self) -> Message:
        """The harm in words: makespan longer."""
        way = self.metric.way(is_more=self.metric.lower_is_better)
        return Message(f"guardrails.label_{self.test}", {"metric": self.name, "way": way})

    def to_dict(self) -> dict[str, Any]:
        """What forms and charts need of it, as JSON."""
        return {
            "name": self.name,
            "test": self.test,
            "unit": self.unit,
            "margin_unit": self.margin_unit,
            "default": self.default,
            "is_needed": self.is_needed,
            "label": self.label.to_dict(),
            "form_label": Message(f"guardrails.form_{self.test}", self.label.params).to_dict(),
        }


GUARDRAILS: Mapping[str, Definition] = {
    each.name: each
    for each in (
        Definition(metric=METRICS["makespan"], test="relative", default=0.05, is_needed=True),
        # Not by default, because the schedule without the search is not the one that users get.
        Definition(metric=METRICS["policy_makespan"], test="relative", default=None, is_needed=True),
        Definition(metric=METRICS["success"], test="points", default=0.05, is_needed=True),
        Definition(metric=METRICS["execution_time"], test="slow", default=0.5, is_needed=False),
    )
}
DEFAULT_MARGINS: Mapping[str, float] = {
    name: each.default for name, each in GUARDRAILS.items() if each.default is not None
}
_SLOW = replace(METRICS["execution_time"], is_ratio_scale=False, limits=(0.0, 1.0))
"""The execution time replaced by 1 for a slow run and 0 otherwise."""


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
    text: Message
    is_within_reach: bool = True  # this number of users is enough to prove `kept` if there is no harm

    @property
    def message(self) -> str:
        """What was seen, in English, without a full stop."""
        return WORDS.say(self.text)

    @property
    def definition(self) -> Definition | None:
        """None for the breaker."""
        return GUARDRAILS.get(self.name)

    @property
    def label(self) -> Message:
        return Message("guardrails.label_requests") if self.definition is None else self.definition.label

    @property
    def unit(self) -> Unit:
        """The quantity of which `harm` is a share."""
        return "share_of_requests" if self.definition is None else self.definition.unit

    @property
    def margin_unit(self) -> MarginUnit:
        """The quantity of which `margin` is a share."""
        return self.unit if self.definition is None else self.definition.margin_unit

    @property
    def harm_limit(self) -> float:
        """The limit with which the bounds of `harm` are compared, in its unit."""
        return 0.0 if self.margin_unit == "share_of_baseline_percentile" else self.margin

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
            "text": self.text.to_dict(),
            "label": self.label.to_dict(),
            "is_within_reach": self.is_within_reach,
        }


def harm_of(name: str, harm: float) -> Message:
    """The harm of the guardrail `name`, or of the breaker, in words."""
    of = GUARDRAILS.get(name)
    label = Message("guardrails.label_requests") if of is None else of.label
    kind = "points" if of is not None and of.unit == "share_of_requests" else "relative"
    return Message(f"guardrails.harm_{kind}", {"label": label, "harm": harm})


@dataclass(frozen=True, slots=True)
class _Check:
    """One guardrail of one candidate: what its test needs besides the records."""

    of: Definition
    margin: float
    alpha: float  # of one test

    def on_runs(self, runs: pd.DataFrame, arms: tuple[str, str], split: Mapping[str, float] | None) -> Guardrail:
        """The result of the live runs of both arms."""
        if self.of.test == "slow":
            return self._slow(runs, arms, split)
        metric, is_points = self.of.metric, self.of.test == "points"
        values = user_values(since_recorded(runs, metric), metric, arms, split)
        users = (values.a.size, values.b.size)
        difference = is_points or metric.is_ratio_scale
        evidence = unrecorded(runs, metric, arms) or (difference_of_arms if difference else ratio_of_arms)(values)
        if isinstance(evidence, NotComputable):
            return self._undecided(users, evidence.text)
        found = self._judged(evidence, users)
        is_equal = evidence.estimate == 0.0 == evidence.standard_error
        if found.state == "undecided" and is_equal and cannot_tell(runs, metric, arms) is not None:
            return replace(found, state="kept", text=Message("guardrails.proven_optimal"))
        return found

    def on_pairs(self, pairs: pd.DataFrame) -> Guardrail:
        """The result of pairs: both models on the same requests."""
        if self.of.test == "points":
            d, limit = success_differences(pairs), 1.0
        else:
            a, b = paired_user_means(pairs, self.of.metric)
            limit = math.log(FAILED_RATIO)
            d = np.clip(b - a, -limit, limit)
        evidence, users = difference_of_pairs(d, limit), (d.size, d.size)
        if isinstance(evidence, NotComputable):
            return self._undecided(users, evidence.text)
        judged = self._judged(evidence, users)
        return replace(judged, text=Message("guardrails.on_pairs", {"seen": judged.text}))

    def _harm(self, estimate: float) -> float:
        """The harm at an estimate: a difference of means or of their logarithms, or a ratio of means."""
        metric = self.of.metric
        if self.of.test == "points":
            return estimate if metric.lower_is_better else -estimate
        return -improvement_at(estimate, metric)

    def _estimate_at_margin(self) -> float:
        """The inverse of `_harm` at the margin."""
        signed = self.margin if self.of.metric.lower_is_better else -self.margin
        if self.of.test == "points":
            return signed
        return math.log1p(max(signed, -1.0 + 1e-9)) if self.of.metric.is_ratio_scale else 1.0 + signed

    def _judged(self, evidence: Evidence, users: tuple[int, int]) -> Guardrail:
        metric = self.of.metric
        low, high = sorted(self._harm(bound) for bound in (evidence.low(self.alpha), evidence.high(self.alpha)))
        harm = min(max(self._harm(evidence.estimate), low), high)
        side: Literal["below", "above"] = "below" if metric.lower_is_better else "above"
        is_within_reach = evidence.could_exclude(self._estimate_at_margin(), side, self.alpha)
        state: GuardrailState = "breached" if low > self.margin else "kept" if high < self.margin else "undecided"
        way = metric.way(is_more=(harm >= 0.0) == metric.lower_is_better)
        bounds = {"low": low, "high": high, "margin": self.margin}
        params = {"metric": self.of.name, "way": way, "by": abs(harm), **bounds}
        text = Message(f"guardrails.seen_{self.of.test}", params)
        return Guardrail(self.of.name, self.margin, state, harm, low, high, users, text, is_within_reach)

    def _slow(self, runs: pd.DataFrame, arms: tuple[str, str], split: Mapping[str, float] | None) -> Guardrail:
        took_a, took_b = (metric_values(rows_of_arm(runs, arm), self.of.metric) for arm in arms)
        if took_a is None or took_b is None or not took_b.notna().any() or took_a.notna().sum() < MIN_BASELINE_RUNS:
            return self._undecided((0, 0), Message("guardrails.too_few_runs", {"least": MIN_BASELINE_RUNS}))
        quantile_s = float(took_a.quantile(QUANTILE))
        limit_s = max(quantile_s * (1.0 + self.margin), quantile_s + UNNOTICED_S)
        is_candidate = runs["variant"].eq(arms[1]).fillna(value=False).astype(bool)
        took = runs[self.of.name].astype("float64")
        slow = took.gt(quantile_s).where(~is_candidate, took.gt(limit_s)).astype("float64").where(took.notna())
        values = user_values(runs.assign(**{self.of.name: slow}), _SLOW, arms, split)
        evidence, users = difference_of_arms(values), (values.a.size, values.b.size)
        if isinstance(evidence, NotComputable):
            return self._undecided(users, evidence.text)
        low, high = evidence.low(self.alpha), evidence.high(self.alpha)
        state: GuardrailState = "breached" if low > 0.0 else "kept" if high <= 0.0 else "undecided"
        shares = {"share_a": float(values.a.mean()), "share_b": float(values.b.mean()), "low": low, "high": high}
        limits = {"limit_ms": round(1e3 * limit_s, 1), "quantile_ms": round(1e3 * quantile_s, 1)}
        text = Message("guardrails.seen_slow", {**shares, **limits})
        return Guardrail(self.of.name, self.margin, state, evidence.estimate, low, high, users, text)

    def _undecided(self, users: tuple[int, int], text: Message) -> Guardrail:
        return Guardrail(self.of.name, self.margin, "undecided", None, None, None, users, text, is_within_reach=False)


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
        of = GUARDRAILS[name]
        shadow = pairs if pairs is not None and len(pairs) and of.is_paired else None
        check = _Check(of, margin, each if shadow is None else each / 2.0)
        live = check.on_runs(runs, arms, split)
        found.append(live if shadow is None else _combined(live, check.on_pairs(shadow)))
    return found


def _combined(live: Guardrail, paired: Guardrail) -> Guardrail:
    """The result of both tests: breached, else kept; if both are undecided, the one with more users."""
    for state in ("breached", "kept"):
        for each in (live, paired):
            if each.state == state:
                return each
    is_within_reach = live.is_within_reach or paired.is_within_reach
    return replace(live if sum(live.users) > paired.users[1] else paired, is_within_reach=is_within_reach)
