"""The thresholds that people set: `alert_thresholds.json`, and its history in `logs/alert_thresholds.jsonl`.

    {"thresholds": {"max_makespan": 80, "max_gap_20": 0.04}}

How the file is read and changed is `documents`'. Each change is in the file with its author and reason before it is a
line of the history, so that a kill loses none.
"""

import logging
import math
import secrets
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from scheduler_service.alert_rules import check, threshold
from scheduler_service.clock import Clock, to_iso
from scheduler_service.documents import Document, DocumentFile
from scheduler_service.errors import InvalidInput, NotFound, StorageUnavailable, cannot_write
from scheduler_service.files import locked
from scheduler_service.jsonlines import JsonLines

log = logging.getLogger("scheduler.changes")


@dataclass(frozen=True, slots=True)
class LimitChange:
    """A threshold that somebody set, or put back (`after` None: to what counts where nobody says otherwise)."""

    id: str
    time: str  # ISO-8601, UTC
    name: str
    before: float | None  # as `after`
    after: float | None
    actor: str
    reason: str

    @classmethod
    def from_dict(cls, line: Mapping[str, Any]) -> "LimitChange":
        """The change of a line; KeyError or TypeError when it is none."""
        return cls(**{name: line[name] for name in cls.__dataclass_fields__})


@dataclass(frozen=True)
class Limits:
    """One valid state of the file."""

    document: Document = field(default_factory=dict)
    thresholds: Mapping[str, float] = field(default_factory=dict)


class LimitFile:
    """The file at `path`; safe for threads and processes. A missing one stands for none set."""

    def __init__(self, path: Path, clock: Clock) -> None:
        self._file = DocumentFile(path, _validate, Limits())
        self._history = JsonLines(path.parent / "logs" / f"{path.stem}.jsonl", LimitChange.from_dict)
        self._clock = clock

    @property
    def thresholds(self) -> Mapping[str, float]:
        """Those that are set now; the last good ones while the file is broken."""
        return self._file.current().thresholds

    @property
    def problem(self) -> str | None:
        """What is wrong with the file as it is now; None when all is well."""
        return self._file.problem

    @property
    def fault(self) -> StorageUnavailable | None:
        """`problem` as an error to raise."""
        return self._file.fault

    def put(self, name: str, value: float | None, *, actor: str, reason: str) -> LimitChange:
        """Sets a threshold, or puts it back to what counts where nobody says otherwise (None).

        Raises:
            NotFound: there is no such threshold, or it is to be put back and is not set.
            InvalidInput: the value is beyond its limits; `errors` says which.
            StorageUnavailable: the file is broken (it is not overwritten), locked by others, or cannot be written.
        """
        threshold(name)
        if value is not None:
            _check_value(name, value)
        made: list[LimitChange] = []

        def apply(document: Document) -> None:
            self._settle(document.get("last_change"))  # before the file forgets it
            said = document.setdefault("thresholds", {})
            before = said.pop(name, None)
            if value is None and before is None:
                raise NotFound("threshold_not_set", name=name)
            if value is not None:
                said[name] = value
            change = LimitChange(secrets.token_hex(8), to_iso(self._clock()), name, before, value, actor, reason)
            document["last_change"] = asdict(change)
            made.append(change)

        self._file.update(apply)
        self._settle(asdict(made[-1]))
        log.info("threshold %s: %s -> %s by %s: %s", name, made[-1].before, value, actor or "nobody named", reason)
        return made[-1]

    def changes(self) -> list[LimitChange]:
        """All changes, oldest first."""
        last = self._file.current().document.get("last_change")
        found = self._history.lines()
        if last is not None and all(each.id != last["id"] for each in reversed(found)):
            found.append(LimitChange.from_dict(last))  # a kill came between the file and the history
        return found

    def _settle(self, change: Mapping[str, Any] | None) -> None:
        """Adds a change to the history, unless it is there."""
        if change is None:
            return
        try:
            with locked(self._history.path):
                if all(each.id != change["id"] for each in reversed(self._history.lines())):
                    self._history.append_once(change)
        except OSError as err:
            raise cannot_write(self._history.path, err) from err


def _check_value(name: str, value: float) -> None:
    try:
        check(name, value)
    except InvalidInput as err:
        raise err.at(("value",)) from err


def _validate(document: object) -> Limits:
    """The state that the file's JSON describes.

    Raises:
        InvalidInput, NotFound: it is invalid.
    """
    if not isinstance(document, dict):
        raise InvalidInput("thresholds_not_object")
    if unknown := set(document) - {"thresholds", "last_change"}:
        raise InvalidInput("thresholds_member", name=sorted(unknown)[0])
    said = document.get("thresholds", {})
    if not isinstance(said, dict):
        raise InvalidInput("thresholds_not_numbers")
    for name, value in said.items():
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise InvalidInput("finite_number", (name,))
        check(name, value)
    if (last := document.get("last_change")) is not None:
        _check_change(last)
    return Limits(document, {name: float(value) for name, value in said.items()})


def _check_change(last: object) -> None:
    try:
        LimitChange.from_dict(last)  # type: ignore[arg-type]
    except (KeyError, TypeError, AttributeError) as err:
        raise InvalidInput("last_change_invalid") from err
