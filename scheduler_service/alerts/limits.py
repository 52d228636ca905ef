"""The thresholds that users set: `alert_thresholds.json`, and its history in `logs/alert_thresholds.jsonl`.

    {"thresholds": {"max_makespan": 80, "max_gap_20": 0.04}}

A change of the file and its line in the history, with author and reason, are one change of the store.
"""

import logging
import secrets
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from types import NoneType
from typing import Any

from scheduler_service.alert_rules import check, is_threshold, threshold
from scheduler_service.clock import Clock, to_iso
from scheduler_service.documents import Document, DocumentFile
from scheduler_service.errors import InvalidInput, NotFound
from scheduler_service.jsonlines import check_types
from scheduler_service.store.change import Store

log = logging.getLogger("scheduler.changes")


@dataclass(frozen=True, slots=True)
class LimitChange:
    """A threshold that a user set, or reset to its default (`after` is None)."""

    id: str
    time: str  # ISO-8601, UTC
    name: str
    before: float | None  # None: the default
    after: float | None
    actor: str
    reason: str

    @classmethod
    def from_dict(cls, line: Mapping[str, Any]) -> "LimitChange":
        """The change in a line; KeyError, TypeError or ValueError if it is not one."""
        numbers = dict.fromkeys(("before", "after"), (int, float, NoneType))
        check_types(line, {**dict.fromkeys(("id", "time", "name", "actor", "reason"), str), **numbers})
        return cls(**{name: line[name] for name in cls.__dataclass_fields__})


@dataclass(frozen=True)
class Limits:
    """A valid state of the file."""

    document: Document = field(default_factory=dict)
    thresholds: Mapping[str, float] = field(default_factory=dict)


class LimitFile(DocumentFile[Limits]):
    """The document. Safe for threads and processes. A missing one sets no threshold."""

    def __init__(self, store: Store, name: str, clock: Clock) -> None:
        super().__init__(store, name, _validate, Limits())
        self._history_name = f"logs/{name.removesuffix('.json')}.jsonl"
        self._history = self.store.log(self._history_name, LimitChange.from_dict)
        self._clock = clock

    @property
    def thresholds(self) -> Mapping[str, float]:
        """The thresholds set at present; the last valid ones while the file is invalid."""
        return self.current().thresholds

    def put(self, name: str, value: float | None, *, actor: str, reason: str) -> LimitChange:
        """Set a threshold, or reset it to its default (None).

        Raises:
            NotFound: there is no such threshold, or it is to be reset and is not set.
            InvalidInput: the value is out of range.
            StorageUnavailable: the file is invalid (it is not overwritten), locked by others, or cannot be written.
        """
        try:
            threshold(name)
            if value is not None:
                check(name, value)
        except InvalidInput as err:
            raise err.at(("value",)) from err
        made: list[LimitChange] = []

        def apply(document: Document) -> None:
            values = document.setdefault("thresholds", {})
            before = values.pop(name, None)
            if value is None and before is None:
                raise NotFound("threshold_not_set", name=name)
            if value is not None:
                values[name] = value
            change = LimitChange(secrets.token_hex(8), to_iso(self._clock()), name, before, value, actor, reason)
            document["last_change"] = asdict(change)
            made.append(change)

        with self.store.changing() as whole:
            self.update(apply, within=whole)
            whole.append(self._history_name, asdict(made[-1]))
        log.info("threshold %s: %s -> %s by %s: %s", name, made[-1].before, value, actor or "nobody named", reason)
        return made[-1]

    def changes(self) -> list[LimitChange]:
        """All changes, oldest first."""
        return self._history.lines()


def _validate(document: object, unknown: set[str] | None) -> Limits:
    """The state in the JSON of the file; raises InvalidInput or NotFound if it is invalid.

    Args:
        unknown: names that are not known are added to it, and ignored; None: they are refused.
    """
    if not isinstance(document, dict):
        raise InvalidInput("thresholds_not_object")
    if others := set(document) - {"thresholds", "last_change"}:
        if unknown is None:
            raise InvalidInput("thresholds_member", name=sorted(others)[0])
        unknown |= others
    values = document.get("thresholds", {})
    if not isinstance(values, dict):
        raise InvalidInput("thresholds_not_numbers")
    for name, value in values.items():
        if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= sys.float_info.max:
            raise InvalidInput("finite_number", (name,))
        if unknown is not None and not is_threshold(name):
            unknown.add(f"thresholds.{name}")
        else:
            check(name, value)
    if (last := document.get("last_change")) is not None:
        try:
            LimitChange.from_dict(last)
        except (KeyError, TypeError, ValueError) as err:
            raise InvalidInput("last_change_invalid") from err
    return Limits(document, {name: float(value) for name, value in values.items() if is_threshold(name)})
