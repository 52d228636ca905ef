"""What is wrong, by which rule: plain values and frames in, readings out.

A rule has a reading whenever it looked; what to make of it over time (confirm it, send it, end it) is `episodes`'.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Literal

from scheduler_service.alerts.texts import RULES, Lang

if TYPE_CHECKING:
    import pandas as pd

State = Literal["beyond", "near", "within", "unknown"]
"""`near`: not beyond the threshold, but not clear of it either; an alert neither begins nor ends there."""

HYSTERESIS = 0.05
"""How far within its threshold a figure has to come before its alert ends, a share of the threshold."""
GAP_RUNS = 20
"""Runs of a size before their mean gap is held against its threshold, which was measured on means."""
FOR_EVER = 2**31
"""Stands for the size beyond the greatest of `GAP_THRESHOLDS`."""

GAP_THRESHOLDS: dict[int, float] = {1: 0.02, 2: 0.10, 5: 0.10, 10: 0.042, 20: 0.0125, 50: 0.0112}
"""Greatest mean gap to the lower bound, a share, of instances of up to so many work points.

Twice what the shipped model leaves in its default 20 ms (benchmarks/results/scheduling.md) on the smallest instances of
each size, which have the larger gaps; but for one work point, where that is less than any planner would notice. Larger
instances than 50 have no threshold.
"""

MIN_FREE_GIB = 1.0
"""Free space below which people are told; below 50 MiB the service is not ready."""
DRIFT_PSI = 0.25
"""Population stability index from which a distribution counts as shifted (Siddiqi, Credit Risk Scorecards, 2006)."""
DRIFT_RUNS = 100
"""Runs on either side before distributions are compared."""
SILENCE_AT_LEAST = timedelta(hours=1)
SILENCE_RUNS = 10.0
"""Runs that every earlier week had in the hours that are silent now."""
SILENCE_WEEKS = 2
"""Earlier weeks that have to be recorded before a silence says anything."""


SEVERITIES: Mapping[str, Literal["warning", "critical"]] = {
    "max_makespan": "warning",
    "max_execution_time": "warning",
    "min_success_rate": "critical",
    "model_failures": "warning",
    "max_gap": "warning",
    "input_drift": "warning",
    "silent_service": "critical",
    "min_free_disk_gib": "critical",
    "experiment_aborted": "warning",
    "experiment_arm_stopped": "warning",
    "model_rolled_back": "critical",
}
"""Every rule."""
EVENTS = frozenset({"experiment_aborted", "experiment_arm_stopped", "model_rolled_back"})
"""Rules of things that happen once: they are told at once, and their end is not."""
RULES_OF_RUNS = frozenset(SEVERITIES) - EVENTS
"""The others: they judge what is recorded, and the disk that it is on."""


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
    severity: Literal["warning", "critical"] = "warning"
    is_event: bool = False  # something that happened once: it is told, and its end is not
    details: Mapping[str, object] = field(default_factory=dict)  # further fields of `GET /alerts`


def performance(runs: "pd.DataFrame", thresholds: Mapping[str, float], lang: Lang = "zh") -> list[Reading]:
    """The three thresholds of the guide, and each model that could not answer.

    Args:
        runs: columns `success`, `makespan` (h), `execution_time` (s), `model_key`, `error_message`; any number of rows.
        thresholds: `max_makespan` (h, of the mean), `max_execution_time` (s, of the 99th percentile),
            `min_success_rate` (0..1).
    """
    is_done = runs["success"].astype(bool)
    done = runs[is_done]
    figures: dict[str, float | None] = {
        "max_makespan": _finite(float(done["makespan"].mean())) if len(done) else None,
        "max_execution_time": _finite(float(done["execution_time"].quantile(0.99))) if len(done) else None,
        "min_success_rate": len(done) / len(runs) if len(runs) else None,
    }
    readings = [_held_against(name, value, thresholds[name], lang) for name, value in figures.items()]
    for key, failures in runs[~is_done].groupby("model_key"):
        reason = str(failures["error_message"].iloc[-1])
        readings.append(_event("model_failures", str(key), reason, lang, value=float(len(failures))))
    return readings


def gaps(runs: "pd.DataFrame", limits: Mapping[int, float], lang: Lang = "zh") -> list[Reading]:
    """The mean gap of each size with at least `GAP_RUNS` successful runs, held against the size's threshold.

    Args:
        runs: columns `success`, `gap` (share), `n_workpoints`.
        limits: greatest number of work points of a size -> greatest mean gap, a share; as `GAP_THRESHOLDS`.
    """
    good = runs[runs["success"].astype(bool) & runs["gap"].notna() & runs["n_workpoints"].notna()]
    sizes = good["n_workpoints"].astype(int).map(lambda n: size_of(n, limits))
    readings = []
    for largest, limit in sorted(limits.items()):
        values = good.loc[sizes == largest, "gap"]
        value = float(values.mean()) if len(values) >= GAP_RUNS else None
        readings.append(_held_against("max_gap", value, limit, lang, subject=f"N<={largest}"))
    return readings


def size_of(n_workpoints: int, limits: Iterable[int]) -> int:
    """The one of `limits` that instances of `n_workpoints` fall under; `FOR_EVER` beyond the greatest."""
    return min((largest for largest in limits if n_workpoints <= largest), default=FOR_EVER)


def drift(name: str, recent: "pd.Series[float]", reference: "pd.Series[float]", lang: Lang = "zh") -> Reading:
    """Whether what is asked for lately is distributed as it was before, by the population stability index.

    PSI = sum over bins of (p - q) ln(p / q); bins are the reference's deciles and what lies between. By chance alone it
    is about (1/n + 1/m) times a chi-square with B - 1 degrees of freedom (Yurdakul and Naranjo, Statistical properties
    of the population stability index, J. Risk Model Validation 14(4), 2020), so the threshold is `DRIFT_PSI` or that
    distribution's 99.9th percentile, whichever is greater. A bin that only one side has counts half a run there.
    """
    from scipy.special import chdtri

    recent, reference = recent.dropna(), reference.dropna()
    if min(len(recent), len(reference)) < DRIFT_RUNS:
        return _held_against("input_drift", None, DRIFT_PSI, lang, subject=name)
    edges = sorted({float(edge) for edge in reference.quantile([share / 10 for share in range(1, 10)])})
    expected, found = _shares(reference, edges), _shares(recent, edges)
    used = [(p, q) for p, q in zip(found, expected, strict=True) if p or q]
    least_p, least_q = 0.5 / len(recent), 0.5 / len(reference)
    psi = sum((max(p, least_p) - max(q, least_q)) * math.log(max(p, least_p) / max(q, least_q)) for p, q in used)
    by_chance = float(chdtri(max(1, len(used) - 1), 0.001)) * (1.0 / len(recent) + 1.0 / len(reference))
    return _held_against("input_drift", psi, max(DRIFT_PSI, by_chance), lang, subject=name)


def silence(silent: timedelta, runs_then: Sequence[int], lang: Lang = "zh") -> Reading:
    """Whether the service is asked nothing in hours of the week in which it always was.

    If requests came as before, none at all would come with probability exp(-10) where ten or more are usual (Poisson).

    Args:
        silent: since the last run.
        runs_then: how many runs there were in the same hours of each earlier week that is recorded.
    """
    if silent < SILENCE_AT_LEAST:
        return _held_against("silent_service", 0.0, SILENCE_RUNS, lang)
    expected = float(min(runs_then)) if len(runs_then) >= SILENCE_WEEKS else None
    return _held_against("silent_service", expected, SILENCE_RUNS, lang)


def disk(free_bytes: int, min_free_gib: float, lang: Lang = "zh") -> Reading:
    """Whether the records and logs have room."""
    return _held_against("min_free_disk_gib", free_bytes / 2**30, min_free_gib, lang)


def experiment_aborted(experiment: str, reason: str, time: str, lang: Lang = "zh") -> Reading:
    """An experiment that stopped itself."""
    details = {"experiment": experiment, "time": time}
    return _event("experiment_aborted", experiment, reason, lang, details=details)


def arm_stopped(experiment: str, arm: str, reason: str, time: str, lang: Lang = "zh") -> Reading:
    """An experiment that took one of its candidates away from its users, and goes on with the others."""
    details = {"experiment": experiment, "arm": arm, "time": time}
    return _event("experiment_arm_stopped", f"{experiment}/{arm}", reason, lang, details=details)


def rolled_back(algorithm: str, reason: str, time: str, lang: Lang = "zh") -> Reading:
    """A live model that the service took back by itself."""
    # With the time, since it may happen again.
    return _event("model_rolled_back", f"{algorithm}@{time}", reason, lang, details={"time": time})


def beyond(readings: Iterable[Reading]) -> list[Reading]:
    """Those that are beyond their thresholds."""
    return [reading for reading in readings if reading.state == "beyond"]


def _held_against(name: str, value: float | None, limit: float, lang: Lang, *, subject: str = "") -> Reading:
    """`value` against its threshold: a lower one if the rule's name begins with `min_`."""
    state: State
    if value is None:
        state = "unknown"
    elif name.startswith("min_"):
        # A rate cannot come further within than 1, so the margin is of what is left up to there.
        room = 1.0 - limit if name.endswith("_rate") else limit
        state = "beyond" if value < limit else "near" if value < limit + HYSTERESIS * room else "within"
    else:
        state = "beyond" if value > limit else "near" if value > limit * (1.0 - HYSTERESIS) else "within"
    message, advice = RULES[lang][name]
    return Reading(name, state, value, limit, message.format(subject=subject), advice, subject, SEVERITIES[name])


def _event(
    name: str, subject: str, reason: str, lang: Lang, *, value: float = 1.0, details: Mapping[str, object] | None = None
) -> Reading:
    named = {**(details or {}), "subject": subject, "reason": reason}
    message, advice = (text.format(**named) for text in RULES[lang][name])
    return Reading(
        name, "beyond", value, 0.0, message, advice, subject, SEVERITIES[name], name in EVENTS, details or {}
    )


def _shares(values: "pd.Series[float]", edges: Sequence[float]) -> list[float]:
    """Share of the values below the first edge, at it, between it and the second, at that, ..., beyond the last."""
    import numpy as np

    at, limits = values.to_numpy(dtype=float), np.asarray(edges)
    # An edge itself is a place of its own: of whole numbers most lie on one.
    bins = np.searchsorted(limits, at, side="left") + np.searchsorted(limits, at, side="right")
    counts = np.bincount(bins, minlength=2 * len(edges) + 1)
    return [float(count) / len(values) for count in counts]


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
