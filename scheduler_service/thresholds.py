"""The thresholds of the alerts: their names, units, limits, and what counts where nobody says otherwise.

Settings, the file of what people set, the form, the routes and the rules all read this one list.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from scheduler_service.errors import InvalidInput, NotFound

Unit = Literal["hours", "seconds", "share", "index", "runs", "gib"]


@dataclass(frozen=True, slots=True)
class Threshold:
    """One of them; its value is a finite number from 0 to `most`."""

    name: str  # of its rule; a gap has one for each size: max_gap_<work points>
    unit: Unit
    usual: float
    most: float


THRESHOLDS: tuple[Threshold, ...] = (
    Threshold("max_makespan", "hours", 60.0, 100_000.0),
    Threshold("max_makespan_rise", "share", 0.05, 10.0),
    Threshold("max_execution_time", "seconds", 10.0, 86_400.0),
    Threshold("min_success_rate", "share", 0.95, 1.0),
    Threshold("input_drift", "index", 0.25, 100.0),
    Threshold("silent_service", "runs", 10.0, 1_000_000.0),
    Threshold("min_free_disk_gib", "gib", 1.0, 10_000_000.0),
)
"""All but those of the gaps, which are by size."""

GAP_THRESHOLDS: dict[int, float] = {1: 0.02, 2: 0.10, 5: 0.10, 10: 0.042, 20: 0.0125, 50: 0.0112}
"""Greatest mean gap to the lower bound, a share, of standard cycles for up to so many work points.

Twice what the shipped model leaves in its default 20 ms (benchmarks/results/scheduling.md) on the smallest instances of
each size, which have the larger gaps; but for one work point, where that is less than any planner would notice. Larger
instances than 50 have no threshold.
"""
MOST_GAP = 10.0
GAP_RULE = "max_gap"
GAP_PREFIX = f"{GAP_RULE}_"
_GAP = re.compile(r"max_gap_([1-9][0-9]{0,5})")
NAMES = (*(each.name for each in THRESHOLDS), "max_gap_<work points>")


def threshold(name: str) -> Threshold:
    """The threshold of this name.

    Raises:
        NotFound: there is none; the text lists them.
    """
    for each in THRESHOLDS:
        if each.name == name:
            return each
    size = _GAP.fullmatch(name)
    if size is None:
        raise NotFound("unknown_threshold", name=name[:100], known=list(NAMES))
    return Threshold(name, "share", GAP_THRESHOLDS.get(int(size[1]), math.nan), MOST_GAP)


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
