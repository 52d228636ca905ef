"""JSON files that people edit and services change: read when they change, trusted only when they are valid.

Every access looks at the file's stamp (1.6 us), so what another process or an editor wrote counts from the next request
on. A file that cannot be read leaves the last good one in force, and `problem` says what is wrong with it.
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
"""A file changed this shortly before it was read may change again within one tick of the file system's clock."""

MAX_BYTES = 16 * 2**20
"""A larger file is refused unread, and none is written: everybody would wait while it is parsed."""

Document = dict[str, Any]
Stamp = tuple[int, int, int]  # (mtime in ns, size, inode)


class State(Protocol):
    """One valid state of a file."""

    @property
    def document(self) -> Document:
        """Its JSON with everything that was written there; never changed."""


S = TypeVar("S", bound=State)


@dataclass(frozen=True)
class _Reading(Generic[S]):
    stamp: Stamp | None  # of the file that was read; None: read it again next time
    content: bytes | None  # None: there was no file; b"" also stands for one that could not be opened
    snapshot: S  # the last good one
    fault: MustBeMended | None  # why `content` is not what `snapshot` holds


class DocumentFile(Generic[S]):
    """The file at `path`, through which every process sees the same.

    Safe to use from several threads, greenlets and processes. A missing file stands for `initial`; it is written with
    the first change. Comment lines (`// ...`) at its head are read, and lost when the service changes the file.
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
        """Looks at the file.

        Args:
            validate: the state that a file's JSON describes; ServiceError or ValueError when it is none.
            approve: called with the states before and after, under the lock, before a change is written; raises to
                refuse it.
            too_large: what is raised of a file that would be.
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
        """The state of the file now; the last good one while it is broken."""
        reading = self._reading
        if reading.stamp is None or reading.stamp != _stamp(self._path):
            reading = self._read()
        return reading.snapshot

    def known(self) -> S:
        """As `current`.

        Raises:
            StorageUnavailable: the file is broken, and nothing good was read of it since the start.
        """
        found = self.current()
        if found is self._initial:
            self.check()
        return found

    def check(self) -> None:
        """Raises StorageUnavailable with the remedy if there is a `problem`."""
        if (problem := self.problem) is not None:
            raise MustBeMended("file_needs_repair", problem=problem)

    @property
    def problem(self) -> str | None:
        """What is wrong with the file as it is now; None when all is well."""
        fault = self.fault
        return None if fault is None else str(fault)

    @property
    def fault(self) -> MustBeMended | None:
        """`problem` as an error; a new one each time, since it may be raised."""
        self.current()
        fault = self._reading.fault
        return None if fault is None else fault.at(())

    def update(self, change: Callable[[Document], None]) -> S:
        """Applies `change` to the file's JSON as it is on the disk now, and answers the new state.

        Raises:
            InvalidInput: the result would not be valid, or too large to be read again; nothing is written.
            StorageUnavailable: the file is broken (it is not overwritten), locked by others, or cannot be written.
        """
        with locked(self._path):
            reading = self._read()  # whatever the stamp says: a lost change would be worse than a slow one
            if reading.fault is not None and reading.content is not None:
                raise MustBeMended("file_needs_repair", problem=str(reading.fault))
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
                    raise ValueError(f"it has more than {MAX_BYTES / 2**20:.0f} MiB")
                snapshot = self._validate(parse(content))
            except (ServiceError, ValueError, RecursionError) as err:
                fault = MustBeMended("file_not_valid", path=str(self._path), reason=str(err))
                return self._adopt(_Reading(stamp, content, last.snapshot, fault))
            return self._adopt(_Reading(stamp, content, snapshot, None))

    def _adopt(self, reading: _Reading[S]) -> _Reading[S]:
        if reading.fault is not None and str(reading.fault) != str(self._reading.fault):
            logger.warning("%s; the last good configuration stays in force", reading.fault)
        self._reading = reading
        return reading


def parse(content: bytes) -> object:
    """The JSON of the file's bytes; `//` lines at its head, a byte-order mark and nothing else are forgiven.

    Raises:
        ValueError: it is not JSON, or a key is written twice.
    """
    lines = content.decode("utf-8-sig").splitlines(keepends=True)
    head = 0
    while head < len(lines) and (not lines[head].strip() or lines[head].lstrip().startswith("//")):
        head += 1
    # Blank lines in place of the comments keep the line numbers of error messages right.
    text = "\n" * head + "".join(lines[head:])
    return strict_json(text)


def _stamp(path: Path) -> Stamp | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return (status.st_mtime_ns, status.st_size, status.st_ino)
