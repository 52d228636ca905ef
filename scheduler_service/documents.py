"""JSON files that both people and services change: read again after each change, used only if valid.

Each access compares the file's stamp (1.6 us), so changes by other processes or editors take effect with the next
request. If a file is invalid, the last valid state remains in use, and `problem` describes the error.
"""

import copy
import logging
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

from scheduler_env.values import strict_json
from scheduler_service.errors import InvalidInput, MustBeMended, ServiceError
from scheduler_service.files import json_text, locked, write_atomically

logger = logging.getLogger(__name__)

RACY_NS = 50_000_000
"""A file changed more recently before it was read may change again within one tick of the file system's clock."""

MAX_BYTES = 16 * 2**20
"""Larger files are neither read nor written: parsing them would delay every request."""

Document = dict[str, Any]
Stamp = tuple[int, int, int]  # (mtime in ns, size, inode)


class Snapshot(Protocol):
    """A valid state of a file."""

    @property
    def document(self) -> Document:
        """The complete JSON of the file; must not be modified."""


S = TypeVar("S", bound=Snapshot)


@dataclass(frozen=True)
class _Reading(Generic[S]):
    stamp: Stamp | None  # of the file read; None: read it again next time
    content: bytes | None  # None: no file; b"" also if it could not be opened
    snapshot: S  # the last valid one
    fault: MustBeMended | None  # why `content` was not accepted as `snapshot`


class DocumentFile(Generic[S]):
    """The file at `path`, shared by several processes.

    Safe to use from several threads, greenlets and processes. A missing file means `initial`; the first change creates
    it. Comment lines (`// ...`) at its head are accepted, and lost when the service changes the file.
    """

    def __init__(
        self,
        path: Path,
        validate: Callable[[object], S],
        initial: S,
        *,
        approve: Callable[[S, S], None] | None = None,
        too_large: type[InvalidInput] = InvalidInput,
    ) -> None:
        """Read the file.

        Args:
            validate: returns the state for a file's JSON; ServiceError or ValueError if it is invalid.
            approve: called under the lock with the states before and after, before a change is written; may raise to
                refuse it.
            too_large: the error for a change that would make the file too large.
        """
        self._path = path
        self._validate, self._approve, self._too_large = validate, approve, too_large
        self._mutex = threading.Lock()
        self._initial = initial
        self._reading: _Reading[S] = _Reading(stamp=None, content=None, snapshot=initial, fault=None)
        self.current()

    @property
    def path(self) -> Path:
        return self._path

    def current(self) -> S:
        """The current state of the file; while it is invalid, the last valid one."""
        reading = self._reading
        if reading.stamp is None or reading.stamp != _stamp(self._path):
            reading = self._read()
        return reading.snapshot

    def known(self) -> S:
        """As `current`.

        Raises:
            StorageUnavailable: the file is invalid, and no valid state has been read since the start.
        """
        found = self.current()
        if found is self._initial:
            self.check()
        return found

    def check(self) -> None:
        """Raise StorageUnavailable with the remedy if there is a `problem`."""
        if (fault := self.fault) is not None:
            raise MustBeMended("file_needs_repair", problem=fault.messages)

    @property
    def problem(self) -> str | None:
        """The error in the current file; None if it is valid."""
        fault = self.fault
        return None if fault is None else str(fault)

    @property
    def fault(self) -> MustBeMended | None:
        """`problem` as an error; a new object each time, because it may be raised."""
        self.current()
        fault = self._reading.fault
        return None if fault is None else fault.at(())

    def update(self, change: Callable[[Document], None]) -> S:
        """Apply `change` to the current JSON of the file; returns the new state.

        Raises:
            InvalidInput: the result would be invalid or too large; nothing is written.
            StorageUnavailable: the file is invalid (it is not overwritten), locked by others, or cannot be written.
        """
        with locked(self._path):
            reading = self._read()  # without comparing the stamp: a lost update would be worse than a slow one
            if reading.fault is not None and reading.content is not None:
                raise MustBeMended("file_needs_repair", problem=reading.fault.messages)
            before = reading.snapshot
            document = copy.deepcopy(before.document)
            change(document)
            after = self._validate(document)
            if self._approve is not None:
                self._approve(before, after)
            content = json_text(document).encode()
            if len(content) > MAX_BYTES:
                raise self._too_large("file_too_large", file=self._path.name, size=len(content), limit=MAX_BYTES)
            write_atomically(self._path, content)
            return self.current()

    def _read(self) -> _Reading[S]:
        with self._mutex:
            last = self._reading
            try:
                with open(self._path, "rb") as file:
                    status = os.fstat(file.fileno())
                    content = file.read(MAX_BYTES + 1)
            except FileNotFoundError:
                fault = last.fault if last.content is None else MustBeMended("file_vanished", path=str(self._path))
                return self._adopt(_Reading(stamp=None, content=None, snapshot=last.snapshot, fault=fault))
            except OSError as err:
                fault = MustBeMended("cannot_read", path=str(self._path), reason=err.strerror or str(err))
                return self._adopt(_Reading(None, b"", last.snapshot, fault))
            is_settled = time.time_ns() - status.st_mtime_ns > RACY_NS
            stamp = (status.st_mtime_ns, status.st_size, status.st_ino) if is_settled else None
            if content == last.content:
                return self._adopt(_Reading(stamp, content, last.snapshot, last.fault))
            try:
                if len(content) > MAX_BYTES:
                    raise InvalidInput("file_above_limit", limit=MAX_BYTES)
                snapshot = self._validate(parse(content))
            except (ServiceError, ValueError, RecursionError) as err:
                reason = err.messages if isinstance(err, ServiceError) else str(err)
                fault = MustBeMended("file_not_valid", path=str(self._path), reason=reason)
                return self._adopt(_Reading(stamp, content, last.snapshot, fault))
            return self._adopt(_Reading(stamp, content, snapshot, None))

    def _adopt(self, reading: _Reading[S]) -> _Reading[S]:
        if reading.fault is not None and str(reading.fault) != str(self._reading.fault):
            logger.warning("%s; the last good configuration stays in force", reading.fault)
        self._reading = reading
        return reading


def parse(content: bytes) -> object:
    """The JSON in the file's bytes; `//` lines at the head and a byte order mark are accepted.

    Raises:
        ValueError: it is not JSON, or has a duplicate key.
    """
    lines = content.decode("utf-8-sig").splitlines(keepends=True)
    head = 0
    while head < len(lines) and (not lines[head].strip() or lines[head].lstrip().startswith("//")):
        head += 1
    # Blank lines instead of the comments keep line numbers in error messages correct.
    text = "\n" * head + "".join(lines[head:])
    return strict_json(text)


def _stamp(path: Path) -> Stamp | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return (status.st_mtime_ns, status.st_size, status.st_ino)
