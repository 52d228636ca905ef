"""The alert rules: plain values and frames in, readings out.

Each evaluation of a rule gives a reading. `episodes` turns readings into alerts, which it confirms and ends.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal

from scheduler_service.alert_rules import GAP_THRESHOLDS, RULES, AlertRule, Severity, threshold
from scheduler_service.alerts.about import RUNS_SHOWN, runs_about, subject_of, with_judged_gaps
from scheduler_service.alerts.rise import judged, rise_of
from scheduler_service.alerts.wording import advice, message, params_of
from scheduler_service.words import Lang, Message

if TYPE_CHECKING:
    import pandas as pd

Reason = str | Sequence[Message]
"""The reason of an event: a recorded text, or messages."""
State = Literal["beyond", "near", "within", "unknown"]
"""`near`: within the threshold by less than the hysteresis; an alert neither begins nor ends."""

HYSTERESIS = 0.05
"""An alert ends when its value is within the threshold by this share of it."""
GAP_RUNS = 20
"""Minimum number of runs of a size: the thresholds were measured on means."""
DRIFT_PSI = threshold("input_drift").usual
"""Population stability index above which a distribution has shifted (Siddiqi, Credit Risk Scorecards, 2006)."""
DRIFT_RUNS = 100
"""Minimum number of runs in each distribution."""
SILENCE_AT_LEAST = timedelta(hours=1)
SILENCE_RUNS = threshold("silent_service").usual
"""Minimum number of runs in the same hours of each earlier week."""
SILENCE_WEEKS = 2
"""Minimum number of recorded earlier weeks."""
EVENTS = frozenset(rule.name for rule in RULES.values() if rule.is_event)
RULES_OF_RUNS = frozenset(RULES) - EVENTS
"""The rules that evaluate the records and their disk."""


@dataclass(frozen=True, slots=True)
class Reading:
    """The result of a rule for a subject now."""

    name: str  # of the rule
    state: State
    value: float | None
    threshold: float | None
    message: str  # one line
    advice: str
    subject: str = ""  # of rules with several: a model, an experiment, a size
    severity: Severity = "warning"
    is_event: bool = False  # a single event: its end is not notified
    params: Mapping[str, object] = field(default_factory=dict)  # of the texts with the code `name`
    details: Mapping[str, object] = field(default_factory=dict)  # further fields of `GET /alerts`
    requests: tuple[str, ...] = ()  # ids of the worst runs, at most `RUNS_SHOWN`


@dataclass(frozen=True, slots=True)
class Seen:
    """The input of the rules."""

    now: datetime
    runs: "pd.DataFrame"  # of the last hour
    recent: "pd.DataFrame"  # of the last day
    before: "pd.DataFrame"  # of the weeks before that
    silent: timedelta  # since the last run
    runs_then: Sequence[int]  # runs in the same hours of each earlier week
    free_bytes: int  # of the disk
    limits: Mapping[str, float]  # threshold -> value
    gap_limits: Mapping[int, float]  # as `GAP_THRESHOLDS`
    custom_gaps: frozenset[int]  # the sizes with a configured threshold


def performance(runs: "pd.DataFrame", thresholds: Mapping[str, float], lang: Lang = "zh") -> list[Reading]:
    """The three thresholds of the guide, and each model that could not answer.

    The threshold of the makespan applies to requests of one standard cycle and to those whose size is not recorded,
    that of the execution time to the time beyond the budget of the request.

    Args:
        runs: columns `success`, `makespan` (h), `execution_time` (s), `model_key`, `error_message`, and optionally
            `n_workpoints`, `n_steps`, `time_budget_ms`, `request_id`.
        thresholds: `max_makespan` (h, of the mean), `max_execution_time` (s, of the 99th percentile),
            `min_success_rate` (0..1).
    """
    about = _about(runs)
    readings = [
        held_against(name, value, thresholds[name], lang, requests=_first(about[name]))
        for name, value in _figures(runs, about).items()
    ]
    for key, failures in about["min_success_rate"].groupby("model_key"):
        reason = str(failures["error_message"].iloc[0])
        value, requests = float(len(failures)), _first(failures)
        readings.append(_event("model_failures", str(key), reason, lang, value=value, requests=requests))
    return readings


def measured(runs: "pd.DataFrame") -> dict[str, float | None]:
    """Rule -> the value that `performance` compares with its threshold; None without data."""
    return _figures(runs, _about(runs))


def _about(runs: "pd.DataFrame") -> "dict[str, pd.DataFrame]":
    return {name: runs_about(name, "", runs) for name in ("max_makespan", "max_execution_time", "min_success_rate")}


def _figures(runs: "pd.DataFrame", about: "Mapping[str, pd.DataFrame]") -> dict[str, float | None]:
    return {
        "max_makespan": _finite(float(about["max_makespan"]["value"].mean())),
        "max_execution_time": _finite(float(about["max_execution_time"]["value"].quantile(0.99))),
        "min_success_rate": float(runs["success"].astype(bool).mean()) if len(runs) else None,
    }


def gaps(
    runs: "pd.DataFrame", limits: Mapping[int, float], lang: Lang = "zh", *, custom: Iterable[int] = ()
) -> list[Reading]:
    """The mean gap of each size with at least `GAP_RUNS` successful runs.

    Args:
        runs: columns `success`, `gap` (share), `n_workpoints`, and optionally `n_steps`, `request_id`.
        limits: largest number of work points of a size -> threshold of the mean gap, a share; as `GAP_THRESHOLDS`.
        custom: as for `about.is_gap_judged`.
    """
    readings = []
    judged_runs = with_judged_gaps(runs[runs["success"].astype(bool)].iloc[::-1], limits, custom)
    for largest, limit in sorted(limits.items()):
        subject, mine = subject_of(largest, limits), judged_runs[judged_runs["size"] == largest]
        value = float(mine["value"].mean()) if len(mine) >= GAP_RUNS else None
        readings.append(
            held_against("max_gap", value, limit, lang, subject=subject, requests=_first(mine), limits=limits)
        )
    return readings


def makespan_rises(
    recent: "pd.DataFrame",
    before: "pd.DataFrame",
    now: datetime,
    limit: float,
    lang: Lang = "zh",
    *,
    limits: Iterable[int] = GAP_THRESHOLDS,
) -> list[Reading]:
    """How much longer the schedules of each size with recent runs have become: see `rise.judged`."""
    readings, limits = [], tuple(limits)
    for size, runs in judged(recent, before, now, limits).groupby("size"):
        subject, (value, is_chance) = subject_of(int(str(size)), limits), rise_of(runs)
        more: dict[str, Any] = {"subject": subject, "requests": _first(runs), "limits": limits}
        reading = held_against("max_makespan_rise", value, limit, lang, **more)
        # A rise that may be chance neither begins nor ends an alert.
        readings.append(replace(reading, state="near") if is_chance and reading.state == "beyond" else reading)
    return readings


def drift(
    name: str, recent: "pd.Series[float]", reference: "pd.Series[float]", lang: Lang = "zh", *, limit: float = DRIFT_PSI
) -> Reading:
    """The population stability index of recent requests against earlier ones.

    PSI = sum over bins of (p - q) ln(p / q). The bins are the deciles of the reference and the intervals between them.
    Without a shift, PSI is about (1/n + 1/m) times a chi-square with B - 1 degrees of freedom (Yurdakul and Naranjo,
    Statistical properties of the population stability index, J. Risk Model Validation 14(4), 2020), so the threshold is
    the larger of `limit` and the 99.9th percentile of that distribution. An empty bin counts as half a run.
    """
    from scipy.special import chdtri

    recent, reference = recent.dropna(), reference.dropna()
    if min(len(recent), len(reference)) < DRIFT_RUNS:
        return held_against("input_drift", None, limit, lang, subject=name)
    edges = sorted({float(edge) for edge in reference.quantile([share / 10 for share in range(1, 10)])})
    expected, found = _shares(reference, edges), _shares(recent, edges)
    used = [(p, q) for p, q in zip(found, expected, strict=True) if p or q]
    least_p, least_q = 0.5 / len(recent), 0.5 / len(reference)
    psi = sum((max(p, least_p) - max(q, least_q)) * math.log(max(p, least_p) / max(q, least_q)) for p, q in used)
    by_chance = float(chdtri(max(1, len(used) - 1), 0.001)) * (1.0 / len(recent) + 1.0 / len(reference))
    return held_against("input_drift", psi, max(limit, by_chance), lang, subject=name)


def drifts(recent: "pd.DataFrame", before: "pd.DataFrame", lang: Lang = "zh", *, limit: float) -> list[Reading]:
    """`drift` of the numbers of work points, and `drift_of_bounds`."""
    columns = ["n_workpoints", "lower_bound"]
    return [
        drift("n_workpoints", recent["n_workpoints"], before["n_workpoints"], lang, limit=limit),
        drift_of_bounds(recent[columns], before[columns], lang, limit=limit),
    ]


def drift_of_bounds(
    recent: "pd.DataFrame", reference: "pd.DataFrame", lang: Lang = "zh", *, limit: float = DRIFT_PSI
) -> Reading:
    """`drift` of the lower bounds, replaced by their ranks among earlier runs with the same number of work points.

    So another mix of sizes is not a drift of the bounds. Sizes with few earlier runs are left out.
    """
    bounds = {n: each.sort_values() for n, each in reference.dropna().groupby("n_workpoints")["lower_bound"]}
    usual: dict[object, pd.Series[float]] = {n: each for n, each in bounds.items() if len(each) >= GAP_RUNS}
    return drift("lower_bound", _ranks(recent, usual), _ranks(reference, usual), lang, limit=limit)


def silence(silent: timedelta, runs_then: Sequence[int], lang: Lang = "zh", *, limit: float = SILENCE_RUNS) -> Reading:
    """Whether no requests arrive in hours of the week in which they always did.

    If ten requests are expected, none arrives with probability exp(-10) (Poisson).

    Args:
        silent: time since the last run.
        runs_then: numbers of runs in the same hours of each recorded earlier week.
    """
    if silent < SILENCE_AT_LEAST:
        return held_against("silent_service", 0.0, limit, lang)
    expected = float(min(runs_then)) if len(runs_then) >= SILENCE_WEEKS else None
    return held_against("silent_service", expected, limit, lang)


def disk(free_bytes: int, min_free_gib: float, lang: Lang = "zh") -> Reading:
    """The free space of the disk with records and logs."""
    return held_against("min_free_disk_gib", free_bytes / 2**30, min_free_gib, lang)


def experiment_aborted(experiment: str, reason: Reason, time: str, lang: Lang = "zh") -> Reading:
    """An experiment that was stopped automatically."""
    details = {"experiment": experiment, "time": time}
    return _event("experiment_aborted", experiment, reason, lang, details=details)


def arm_stopped(experiment: str, arm: str, reason: Reason, time: str, lang: Lang = "zh") -> Reading:
    """A candidate that was stopped automatically; its experiment continues."""
    details = {"experiment": experiment, "arm": arm, "time": time}
    return _event("experiment_arm_stopped", f"{experiment}/{arm}", reason, lang, details=details)


def rolled_back(algorithm: str, reason: Reason, time: str, lang: Lang = "zh") -> Reading:
    """A live model that was rolled back automatically."""
    # The subject has the time, because each rollback is an alert of its own.
    return _event("model_rolled_back", f"{algorithm}@{time}", reason, lang, details={"time": time})


READERS: "list[Callable[[Seen, Lang], Iterable[Reading]]]" = [
    lambda seen, lang: performance(seen.runs, seen.limits, lang),
    lambda seen, lang: gaps(seen.runs, seen.gap_limits, lang, custom=seen.custom_gaps),
    lambda seen, lang: makespan_rises(
        seen.recent, seen.before, seen.now, seen.limits["max_makespan_rise"], lang, limits=seen.gap_limits
    ),
    lambda seen, lang: drifts(seen.recent, seen.before, lang, limit=seen.limits["input_drift"]),
    lambda seen, lang: [silence(seen.silent, seen.runs_then, lang, limit=seen.limits["silent_service"])],
    lambda seen, lang: [disk(seen.free_bytes, seen.limits["min_free_disk_gib"], lang)],
]
"""The functions that evaluate `RULES_OF_RUNS`."""


def beyond(readings: Iterable[Reading]) -> list[Reading]:
    """The readings beyond their thresholds."""
    return [reading for reading in readings if reading.state == "beyond"]


def held_against(
    name: str,
    value: float | None,
    limit: float,
    lang: Lang,
    *,
    subject: str = "",
    requests: tuple[str, ...] = (),
    limits: Iterable[int] = GAP_THRESHOLDS,
) -> Reading:
    """The reading of `value`; `limits` are the largest numbers of work points of the sizes."""
    state, params = _state(RULES[name], value, limit), params_of(name, subject, limits)
    return _reading(name, state, value, limit, lang, subject=subject, params=params, requests=requests)


def _state(rule: AlertRule, value: float | None, limit: float) -> State:
    if value is None:
        return "unknown"
    if rule.worse == "below":
        # A share is at most 1, so its margin is relative to the room below 1.
        room = rule.most - limit if rule.unit == "share" else limit
        return "beyond" if value < limit else "near" if value < limit + HYSTERESIS * room else "within"
    return "beyond" if value > limit else "near" if value > limit * (1.0 - HYSTERESIS) else "within"


def _event(name: str, subject: str, reason: Reason, lang: Lang, *, value: float = 1.0, **more: Any) -> Reading:
    recorded = reason if isinstance(reason, str) else [each.to_dict() for each in reason]
    params = {**params_of(name, subject), "reason": recorded}
    return _reading(name, "beyond", value, 0.0, lang, subject=subject, params=params, **more)


def _reading(
    name: str,
    state: State,
    value: float | None,
    limit: float,
    lang: Lang,
    *,
    subject: str,
    params: Mapping[str, object],
    details: Mapping[str, object] | None = None,
    requests: tuple[str, ...] = (),
) -> Reading:
    rule, texts = RULES[name], (message(name, params, lang), advice(name, params, lang))
    return Reading(
        name, state, value, limit, *texts, subject, rule.severity, rule.is_event, params, details or {}, requests
    )


def _ranks(runs: "pd.DataFrame", usual: "Mapping[object, pd.Series[float]]") -> "pd.Series[float]":
    """The share of lower bounds in `usual` below that of each run of the same size; equal ones count half."""
    import numpy as np
    import pandas as pd

    found = []
    for n, bounds in runs.dropna().groupby("n_workpoints")["lower_bound"]:
        if n in usual:
            sides = [np.searchsorted(usual[n], bounds, side=side) for side in ("left", "right")]
            found.append(pd.Series((sides[0] + sides[1]) / (2.0 * len(usual[n]))))
    return pd.concat(found) if found else pd.Series(dtype=float)


def _shares(values: "pd.Series[float]", edges: Sequence[float]) -> list[float]:
    """Shares of the values below the first edge, at it, between it and the second, ..., above the last."""
    import numpy as np

    at, limits = values.to_numpy(dtype=float), np.asarray(edges)
    # Each edge is a bin of its own, because most whole numbers are equal to an edge.
    bins = np.searchsorted(limits, at, side="left") + np.searchsorted(limits, at, side="right")
    counts = np.bincount(bins, minlength=2 * len(edges) + 1)
    return [float(count) / len(values) for count in counts]


def _first(runs: "pd.DataFrame") -> tuple[str, ...]:
    """The ids of the first requests, if known."""
    return tuple(str(each) for each in runs["request_id"].head(RUNS_SHOWN)) if "request_id" in runs else ()


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
