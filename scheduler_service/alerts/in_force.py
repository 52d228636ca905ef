"""The thresholds that count: what people set, before what the settings say, before the usual ones."""

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

from scheduler_service.alert_rules import (
    GAP_PREFIX,
    GAP_RULE,
    GAP_THRESHOLDS,
    gap_limits,
    single_thresholds,
    threshold,
)
from scheduler_service.alerts.limits import LimitChange, LimitFile
from scheduler_service.alerts.wording import sizes_of

CHANGES_SHOWN = 100


class ThresholdsInForce:
    """Those of one monitor; read anew whenever they are asked for.

    Args:
        file: what people set.
        said: what the settings say.
        usual: the guide's, which programs may change.
    """

    def __init__(self, file: LimitFile, said: Mapping[str, float], usual: Callable[[], Mapping[str, float]]) -> None:
        self.file = file
        self._said = dict(said)
        self._usual = usual

    def all(self) -> dict[str, float]:
        """Name -> value; of the gaps those that somebody said."""
        usual = {each.name: each.usual for each in single_thresholds()}
        return usual | dict(self._usual()) | self._said | dict(self.file.thresholds)

    def said_gaps(self) -> dict[int, float]:
        """Greatest number of work points of a size -> its threshold, where somebody said one."""
        return gap_limits(self.all())

    def gaps(self) -> dict[int, float]:
        """Greatest number of work points of a size -> greatest mean gap to the lower bound, a share."""
        return GAP_THRESHOLDS | self.said_gaps()

    def shown(self) -> dict[str, Any]:
        """Each with its default and how it came to be set, the newest changes, and what is wrong with the file."""
        changes = self.file.changes()
        latest = {change.name: change for change in changes}
        names = [each.name for each in single_thresholds()] + [f"{GAP_PREFIX}{size}" for size in sorted(self.gaps())]
        return {
            "thresholds": [self.shown_one(name, latest.get(name)) for name in names],
            "changes": [asdict(each) for each in reversed(changes[-CHANGES_SHOWN:])],
            "problem": self.file.problem,
        }

    def shown_one(self, name: str, change: LimitChange | None) -> dict[str, Any]:
        """One of them; `change`: its last one.

        Raises:
            NotFound: there is no such threshold.
        """
        known, said = threshold(name), self.file.thresholds
        default = (dict(self._usual()) | self._said).get(name, None if math.isnan(known.usual) else known.usual)
        return {
            "name": name,
            "rule": GAP_RULE if name.startswith(GAP_PREFIX) else name,
            "params": {"sizes": sizes_of(f"N<={size}", self.gaps())} if (size := _size_of(name)) else {},
            "unit": known.unit,
            "value": said.get(name, default),
            "default": default,
            "is_set": name in said,
            "most": known.most,
            "changed": asdict(change) if change is not None and name in said else None,
        }


def _size_of(name: str) -> int | None:
    """The greatest number of work points of the size that a gap's threshold is for."""
    return int(name.removeprefix(GAP_PREFIX)) if name.startswith(GAP_PREFIX) else None
