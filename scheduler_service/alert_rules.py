"""The rules of the alerts, each defined once: severity, unit, threshold and what it is about.

Settings, schemas, the file of what people set, the console's forms, reports and notices read this list. A rule's texts
are `alerts.<name>` of the catalogue; its figure is read in `scheduler_service.alerts.rules`.
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
    """A rule; where it has a threshold, that is a finite number from 0 to `most`."""

    name: str
    severity: Severity
    unit: Unit  # of its figure and its threshold
    worse: Literal["above", "below"] | None = None  # the wrong side of its threshold; None: it has none
    usual: float = math.nan  # its threshold where nobody says otherwise
    most: float = math.nan
    about: Subject = "none"  # what its subjects are
    is_event: bool = False  # of something that happens once: it is told at once, and its end is not


MAX_GAP = AlertRule("max_gap", "warning", "share", "above", most=10.0, about="size")
"""Its thresholds are by size: `max_gap_<work points>`."""

RULES: tuple[AlertRule, ...] = (
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
BY_NAME: Mapping[str, AlertRule] = {rule.name: rule for rule in RULES}
THRESHOLDS = tuple(rule for rule in RULES if rule.worse is not None and rule is not MAX_GAP)
"""The rules that have one threshold each."""

GAP_THRESHOLDS: dict[int, float] = {1: 0.02, 2: 0.10, 5: 0.10, 10: 0.042, 20: 0.0125, 50: 0.0112}
"""Greatest mean gap to the lower bound, a share, of standard cycles for up to so many work points.

Twice what the shipped model leaves in its default 20 ms (benchmarks/results/scheduling.md) on the smallest instances of
each size, which have the larger gaps; but for one work point, where that is less than any planner would notice. Larger
instances than 50 have no threshold.
"""
GAP_RULE = MAX_GAP.name
GAP_PREFIX = f"{GAP_RULE}_"
_GAP = re.compile(r"max_gap_([1-9][0-9]{0,5})")
NAMES = (*(each.name for each in THRESHOLDS), "max_gap_<work points>")
"""Of the thresholds."""


def threshold(name: str) -> AlertRule:
    """The rule whose threshold has this name; that of a size's gap has the threshold's name and its usual value.

    Raises:
        NotFound: there is none; the text lists them.
    """
    size = _GAP.fullmatch(name)
    if size is not None:
        return replace(MAX_GAP, name=name, usual=GAP_THRESHOLDS.get(int(size[1]), math.nan))
    found = next((each for each in THRESHOLDS if each.name == name), None)
    if found is None:
        raise NotFound("unknown_threshold", name=name[:100], known=list(NAMES))
    return found


def check(name: str, value: float) -> None:
    """Nothing, if the threshold may have this value.

    Raises:
        NotFound, InvalidInput: there is no such threshold, or the value is beyond its limits.
    """
    most = threshold(name).most
    if not 0.0 <= value <= most:
        raise InvalidInput("out_of_range", (name,), value=f"{value:g}", minimum=0, maximum=f"{most:,.12g}")


def gap_limits(said: Mapping[str, float]) -> dict[int, float]:
    """Greatest number of work points of a size -> its threshold, of those in `said`, as max_gap_<work points>."""
    return {int(name.removeprefix(GAP_PREFIX)): value for name, value in said.items() if name.startswith(GAP_PREFIX)}
