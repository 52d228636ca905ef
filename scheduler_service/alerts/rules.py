"""What is wrong, by which rule: plain values and frames in, readings out.

A rule has a reading whenever it looked; what to make of it over time (confirm it, send it, end it) is `episodes`'.
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
"""Of an event: a text on record, or messages."""
State = Literal["beyond", "near", "within", "unknown"]
"""`near`: not beyond the threshold, but not clear of it either; an alert neither begins nor ends there."""

HYSTERESIS = 0.05
"""How far within its threshold a figure has to come before its alert ends, a share of the threshold."""
GAP_RUNS = 20
"""Runs of a size before their mean gap is held against its threshold, which was measured on means."""
DRIFT_PSI = threshold("input_drift").usual
"""Population stability index from which a distribution counts as shifted (Siddiqi, Credit Risk Scorecards, 2006)."""
DRIFT_RUNS = 100
"""Runs on either side before distributions are compared."""
SILENCE_AT_LEAST = timedelta(hours=1)
SILENCE_RUNS = threshold("silent_service").usual
"""Runs that every earlier week had in the hours that are silent now."""
SILENCE_WEEKS = 2
"""Earlier weeks that have to be recorded before a silence says anything."""
EVENTS = frozenset(rule.name for rule in RULES.values() if rule.is_event)
RULES_OF_RUNS = frozenset(RULES) - EVENTS
"""The rules that judge what is recorded, and the disk that it is on."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What a rule sees of a subject now."""

    name: str  # of the rule
    state: State
    value: float | None
    threshold: float | None
    message: str  # one line: what is wrong
    advice: str  # what to do about it
    subject: str = ""  # what it is about, when a rule has several: a model, an experiment, a size
    severity: Severity = "warning"
    is_event: bool = False  # something that happened once: it is told, and its end is not
    params: Mapping[str, object] = field(default_factory=dict)  # of the texts that its name is the code of
    details: Mapping[str, object] = field(default_factory=dict)  # further fields of `GET /alerts`
    requests: tuple[str, ...] = ()  # ids of the worst runs it is about, at most `RUNS_SHOWN`


@dataclass(frozen=True, slots=True)
class Seen:
    """What the rules look at."""

    now: datetime
    runs: "pd.DataFrame"  # of the last hour
    recent: "pd.DataFrame"  # of the last day
    before: "pd.DataFrame"  # of the weeks before that
    silent: timedelta  # since the last run
    runs_then: Sequence[int]  # runs in the same hours of each earlier week
    free_bytes: int  # of the disk
    limits: Mapping[str, float]  # threshold -> value
    gap_limits: Mapping[int, float]  # as `GAP_THRESHOLDS`
    said_gaps: frozenset[int]  # the sizes whose thresholds somebody said


def performance(runs: "pd.DataFrame", thresholds: Mapping[str, float], lang: Lang = "zh") -> list[Reading]:
    """The three thresholds of the guide, and each model that could not answer.

    The makespan is judged of requests of one standard cycle, which its threshold was made for, and of those whose size
    is not recorded; the execution time beyond what a request was granted.

    Args:
        runs: columns `success`, `makespan` (h), `execution_time` (s), `model_key`, `error_message`, and where known
            `n_workpoints`, `n_steps`, `time_budget_ms`, `request_id`; any number of rows.
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
    """What `performance` holds against its thresholds: rule -> figure, None where there is none."""
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
    runs: "pd.DataFrame", limits: Mapping[int, float], lang: Lang = "zh", *, said: Iterable[int] = ()
) -> list[Reading]:
    """The mean gap of each size with at least `GAP_RUNS` successful runs, held against the size's threshold.

    The usual thresholds were measured on standard cycles and are for them alone; one that somebody said is for all
    runs of its size.

    Args:
        runs: columns `success`, `gap` (share), `n_workpoints`, and where known `n_steps`, `request_id`.
        limits: greatest number of work points of a size -> greatest mean gap, a share; as `GAP_THRESHOLDS`.
        said: the sizes whose thresholds somebody said.
    """
    readings = []
    told = with_judged_gaps(runs[runs["success"].astype(bool)].iloc[::-1], limits, said)
    for largest, limit in sorted(limits.items()):
        subject, mine = subject_of(largest, limits), told[told["size"] == largest]
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
    """Of each size with recent runs, how much longer its schedules are than they were: see `rise.judged`."""
    readings = []
    limits = tuple(limits)
    for size, runs in judged(recent, before, now, limits).groupby("size"):
        subject, (value, is_chance) = subject_of(int(str(size)), limits), rise_of(runs)
        more: dict[str, Any] = {"subject": subject, "requests": _first(runs), "limits": limits}
        reading = held_against("max_makespan_rise", value, limit, lang, **more)
        # What chance explains is no alert yet, and no end of one.
        readings.append(replace(reading, state="near") if is_chance and reading.state == "beyond" else reading)
    return readings


def drift(
    name: str, recent: "pd.Series[float]", reference: "pd.Series[float]", lang: Lang = "zh", *, limit: float = DRIFT_PSI
) -> Reading:
    """Whether what is asked for lately is distributed as it was before, by the population stability index.

    PSI = sum over bins of (p - q) ln(p / q); bins are the reference's deciles and what lies between. By chance alone it
    is about (1/n + 1/m) times a chi-square with B - 1 degrees of freedom (Yurdakul and Naranjo, Statistical properties
    of the population stability index, J. Risk Model Validation 14(4), 2020), so the threshold is `limit` or that
    distribution's 99.9th percentile, whichever is greater. A bin that only one side has counts half a run there.
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
    """`drift` of the lower bounds, each by its rank among the earlier ones of as many work points.

    Other sizes have other bounds, which is no drift of its own; a size with few earlier runs does not count.
    """
    bounds = {n: each.sort_values() for n, each in reference.dropna().groupby("n_workpoints")["lower_bound"]}
    usual: dict[object, pd.Series[float]] = {n: each for n, each in bounds.items() if len(each) >= GAP_RUNS}
    return drift("lower_bound", _ranks(recent, usual), _ranks(reference, usual), lang, limit=limit)


def silence(silent: timedelta, runs_then: Sequence[int], lang: Lang = "zh", *, limit: float = SILENCE_RUNS) -> Reading:
    """Whether the service is asked nothing in hours of the week in which it always was.

    If requests came as before, none at all would come with probability exp(-10) where ten or more are usual (Poisson).

    Args:
        silent: since the last run.
        runs_then: how many runs there were in the same hours of each earlier week that is recorded.
    """
    if silent < SILENCE_AT_LEAST:
        return held_against("silent_service", 0.0, limit, lang)
    expected = float(min(runs_then)) if len(runs_then) >= SILENCE_WEEKS else None
    return held_against("silent_service", expected, limit, lang)


def disk(free_bytes: int, min_free_gib: float, lang: Lang = "zh") -> Reading:
    """Whether the records and logs have room."""
    return held_against("min_free_disk_gib", free_bytes / 2**30, min_free_gib, lang)


def experiment_aborted(experiment: str, reason: Reason, time: str, lang: Lang = "zh") -> Reading:
    """An experiment that stopped itself."""
    details = {"experiment": experiment, "time": time}
    return _event("experiment_aborted", experiment, reason, lang, details=details)


def arm_stopped(experiment: str, arm: str, reason: Reason, time: str, lang: Lang = "zh") -> Reading:
    """An experiment that took one of its candidates away from its users, and goes on with the others."""
    details = {"experiment": experiment, "arm": arm, "time": time}
    return _event("experiment_arm_stopped", f"{experiment}/{arm}", reason, lang, details=details)


def rolled_back(algorithm: str, reason: Reason, time: str, lang: Lang = "zh") -> Reading:
    """A live model that the service took back by itself."""
    # With the time, since it may happen again.
    return _event("model_rolled_back", f"{algorithm}@{time}", reason, lang, details={"time": time})


READERS: "list[Callable[[Seen, Lang], Iterable[Reading]]]" = [
    lambda seen, lang: performance(seen.runs, seen.limits, lang),
    lambda seen, lang: gaps(seen.runs, seen.gap_limits, lang, said=seen.said_gaps),
    lambda seen, lang: makespan_rises(
        seen.recent, seen.before, seen.now, seen.limits["max_makespan_rise"], lang, limits=seen.gap_limits
    ),
    lambda seen, lang: drifts(seen.recent, seen.before, lang, limit=seen.limits["input_drift"]),
    lambda seen, lang: [silence(seen.silent, seen.runs_then, lang, limit=seen.limits["silent_service"])],
    lambda seen, lang: [disk(seen.free_bytes, seen.limits["min_free_disk_gib"], lang)],
]
"""What each rule of `RULES_OF_RUNS` sees."""


def beyond(readings: Iterable[Reading]) -> list[Reading]:
    """Those that are beyond their thresholds."""
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
    """`value` against its threshold; `limits` are the sizes' greatest numbers of work points."""
    state, params = _state(RULES[name], value, limit), params_of(name, subject, limits)
    return _reading(name, state, value, limit, lang, subject=subject, params=params, requests=requests)


def _state(rule: AlertRule, value: float | None, limit: float) -> State:
    if value is None:
        return "unknown"
    if rule.worse == "below":
        # A share cannot come further within than 1, so the margin is of what is left up to there.
        room = rule.most - limit if rule.unit == "share" else limit
        return "beyond" if value < limit else "near" if value < limit + HYSTERESIS * room else "within"
    return "beyond" if value > limit else "near" if value > limit * (1.0 - HYSTERESIS) else "within"


def _event(name: str, subject: str, reason: Reason, lang: Lang, *, value: float = 1.0, **more: Any) -> Reading:
    said = reason if isinstance(reason, str) else [each.to_dict() for each in reason]
    params = {**params_of(name, subject), "reason": said}
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
    """Of each run whose size is in `usual`, the share of its size's bounds that are lower; equal ones count half."""
    import numpy as np
    import pandas as pd

    found = []
    for n, bounds in runs.dropna().groupby("n_workpoints")["lower_bound"]:
        if n in usual:
            sides = [np.searchsorted(usual[n], bounds, side=side) for side in ("left", "right")]
            found.append(pd.Series((sides[0] + sides[1]) / (2.0 * len(usual[n]))))
    return pd.concat(found) if found else pd.Series(dtype=float)


def _shares(values: "pd.Series[float]", edges: Sequence[float]) -> list[float]:
    """Share of the values below the first edge, at it, between it and the second, at that, ..., beyond the last."""
    import numpy as np

    at, limits = values.to_numpy(dtype=float), np.asarray(edges)
    # An edge itself is a place of its own: of whole numbers most lie on one.
    bins = np.searchsorted(limits, at, side="left") + np.searchsorted(limits, at, side="right")
    counts = np.bincount(bins, minlength=2 * len(edges) + 1)
    return [float(count) / len(values) for count in counts]


def _first(runs: "pd.DataFrame") -> tuple[str, ...]:
    """The ids of the first requests, where they are known."""
    return tuple(str(each) for each in runs["request_id"].head(RUNS_SHOWN)) if "request_id" in runs else ()


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
