"""Alert rules, each defined once: severity, unit, threshold and subject.

Settings, schemas, the thresholds file, the console's forms, reports and notices are derived from this list. The texts
of a rule are `alerts.<name>` in the catalogue; its value is computed in `scheduler_service.alerts.rules`.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from scheduler_service.errors import InvalidInput, NotFound

Severity = Literal["warning", "critical"]
Unit = Literal["hours", "seconds", "share", "index", "runs", "gib"]
Subject = Literal["none", "size", "column", "model", "experiment", "arm", "algorithm"]


@dataclass(frozen=True, slots=True)
class AlertRule:
    """A rule; its threshold, if any, is a finite number from 0 to `most`."""

    name: str
    severity: Severity
    unit: Unit  # of its value and its threshold
    worse: Literal["above", "below"] | None = None  # the side of the threshold that alerts; None: no threshold
    usual: float = math.nan  # default threshold
    most: float = math.nan  # largest allowed threshold
    about: Subject = "none"  # kind of its subjects
    is_event: bool = False  # a single event: notified immediately, and not when it ends


MAX_GAP = AlertRule("max_gap", "warning", "share", "above", most=10.0, about="size")
"""It has one threshold per size: `max_gap_<work points>`."""

_ALL = (
    AlertRule("max_makespan", "warning", "hours", "above", 60.0, 100_000.0),
    AlertRule("max_makespan_rise", "warning", "share", "above", 0.05, 10.0, about="size"),
    AlertRule("max_execution_time", "warning", "seconds", "above", 10.0, 86_400.0),
    AlertRule("min_success_rate", "critical", "share", "below", 0.95, 1.0),
    AlertRule("model_failures", "warning", "runs", about="model"),
    MAX_GAP,
    AlertRule("input_drift", "warning", "index", "above", 0.25, 100.0, about="column"),
    AlertRule("silent_service", "critical", "runs", "above", 10.0, 1_000_000.0),
    AlertRule("min_free_disk_gib", "critical", "gib", "below", 1.0, 10_000_000.0),
    AlertRule("experiment_aborted", "warning", "runs", about="experiment", is_event=True),
    AlertRule("experiment_arm_stopped", "warning", "runs", about="arm", is_event=True),
    AlertRule("model_rolled_back", "critical", "runs", about="algorithm", is_event=True),
)
RULES: dict[str, AlertRule] = {rule.name: rule for rule in _ALL}
"""Name -> the rule."""

GAP_THRESHOLDS: dict[int, float] = {1: 0.02, 2: 0.10, 5: 0.10, 10: 0.042, 20: 0.0125, 50: 0.0112}
"""Number of work points -> largest mean gap to the lower bound, a share, of standard cycles up to that size.

These are twice the gaps of the shipped model with its default 20 ms (benchmarks/results/scheduling.md) on the smallest
instances of each size, which have the larger gaps. The exception is one work point, where that would be too small to
matter to a planner. Instances with more than 50 work points have no threshold.
"""
GAP_RULE = MAX_GAP.name
GAP_PREFIX = f"{GAP_RULE}_"
_GAP = re.compile(r"max_gap_([1-9][0-9]{0,5})")


def single_thresholds() -> list[AlertRule]:
    """The rules that have one threshold each."""
    return [rule for rule in RULES.values() if rule.worse is not None and rule is not MAX_GAP]


def definitions() -> list[dict[str, object]]:
    """The rules as data: what the console's forms are made from; JSON."""
    names = ("name", "severity", "unit", "worse", "about", "is_event")
    return [{name: getattr(rule, name) for name in names} for rule in RULES.values()]


def threshold(name: str) -> AlertRule:
    """The rule of the threshold `name`; for the gap of a size, with that name and its default value.

    Raises:
        NotFound: there is no such threshold; the text lists them.
    """
    size = _GAP.fullmatch(name)
    if size is not None:
        return replace(MAX_GAP, name=name, usual=GAP_THRESHOLDS.get(int(size[1]), math.nan))
    known = {each.name: each for each in single_thresholds()}
    if name not in known:
        raise NotFound("unknown_threshold", name=name[:100], known=[*known, f"{GAP_PREFIX}<work points>"])
    return known[name]


def is_threshold(name: str) -> bool:
    """Whether there is such a threshold."""
    return _GAP.fullmatch(name) is not None or name in {each.name for each in single_thresholds()}


def check(name: str, value: float) -> None:
    """Check that the threshold may have this value.

    Raises:
        NotFound, InvalidInput: there is no such threshold, or the value is out of range.
    """
    most = threshold(name).most
    if not 0.0 <= value <= most:
        raise InvalidInput("out_of_range", (name,), value=f"{value:g}", minimum=0, maximum=f"{most:,.12g}")


def gap_limits(thresholds: Mapping[str, float]) -> dict[int, float]:
    """Number of work points -> threshold, for those of `thresholds` named max_gap_<work points>."""
    return {
        int(name.removeprefix(GAP_PREFIX)): value for name, value in thresholds.items() if name.startswith(GAP_PREFIX)
    }
