"""The thresholds in force: those set by users, else by the settings, else the defaults."""

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
    """The thresholds of one monitor; each call reads them again.

    Args:
        file: set by users.
        configured: set by the settings.
        usual: those of the guide, which programs may change.
    """

    def __init__(
        self, file: LimitFile, configured: Mapping[str, float], usual: Callable[[], Mapping[str, float]]
    ) -> None:
        self.file = file
        self._configured = dict(configured)
        self._usual = usual

    def all(self) -> dict[str, float]:
        """Name -> value; of the gap thresholds, the configured ones only."""
        usual = {each.name: each.usual for each in single_thresholds()}
        return usual | dict(self._usual()) | self._configured | dict(self.file.thresholds)

    def custom_gaps(self) -> dict[int, float]:
        """Largest number of work points of a size -> its configured threshold."""
        return gap_limits(self.all())

    def gaps(self) -> dict[int, float]:
        """Largest number of work points of a size -> threshold of the mean gap to the lower bound, a share."""
        return GAP_THRESHOLDS | self.custom_gaps()

    def shown(self) -> dict[str, Any]:
        """Each threshold with its default and last change, the newest changes, and the error in the file; JSON."""
        changes = self.file.changes()
        latest = {change.name: change for change in changes}
        names = [each.name for each in single_thresholds()] + [f"{GAP_PREFIX}{size}" for size in sorted(self.gaps())]
        return {
            "thresholds": [self.shown_one(name, latest.get(name)) for name in names],
            "changes": [asdict(each) for each in reversed(changes[-CHANGES_SHOWN:])],
            "problem": self.file.problem,
        }

    def shown_one(self, name: str, change: LimitChange | None) -> dict[str, Any]:
        """The threshold `name` with its last change; raises NotFound if there is none."""
        known, own = threshold(name), self.file.thresholds
        usual = None if math.isnan(known.usual) else known.usual
        default = (dict(self._usual()) | self._configured).get(name, usual)
        size = name.removeprefix(GAP_PREFIX) if name.startswith(GAP_PREFIX) else ""
        return {
            "name": name,
            "rule": GAP_RULE if size else name,
            "params": {"sizes": sizes_of(f"N<={size}", self.gaps())} if size else {},
            "unit": known.unit,
            "value": own.get(name, default),
            "default": default,
            "is_set": name in own,
            "most": known.most,
            "changed": asdict(change) if change is not None and name in own else None,
        }
