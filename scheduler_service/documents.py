"""JSON documents that both people and services change: read again after each change, used only if valid.

Each access compares the document's stamp, so changes by other processes or editors take effect with the next request.
If a document is invalid, the last valid state remains in use, and `problem` describes the error.
"""

import copy
import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from scheduler_env.values import strict_json
from scheduler_service.errors import InvalidInput, MustBeMended, ServiceError, StorageUnavailable
from scheduler_service.files import json_text
from scheduler_service.store.change import MAX_DOCUMENT_BYTES, Change, Source, Stamp, Store

logger = logging.getLogger(__name__)

Document = dict[str, Any]


class Snapshot(Protocol):
    """A valid state of a file."""

    @property
    def document(self) -> Document:
        """The complete JSON of the file; must not be modified."""


S = TypeVar("S", bound=Snapshot)


@dataclass(frozen=True)
class _Reading(Generic[S]):
    stamp: Stamp  # None: read it again next time
    content: bytes | None  # None: no document; b"" also if it could not be read
    snapshot: S  # the last valid one
    fault: StorageUnavailable | None  # why `content` was not accepted as `snapshot`


class DocumentFile(Generic[S]):
    """The document `name` of a store, shared by several processes.

    Safe to use from several threads, greenlets and processes. A missing document means `initial`; the first change
    creates it. Comment lines (`// ...`) at its head are accepted, and lost when the service changes the document.
    """

    def __init__(
        self,
        store: Store,
        name: str,
        validate: Callable[[object, set[str] | None], S],
        initial: S,
        *,
        approve: Callable[[S, S], None] | None = None,
        too_large: type[InvalidInput] = InvalidInput,
    ) -> None:
        """Read the document.

        Args:
            validate: returns the state for a document's JSON; ServiceError or ValueError if it is invalid. With a set,
                it adds unknown names to it and ignores them; with None, it refuses them.
            approve: called under the lock with the states before and after, before a change is written; may raise to
                refuse it.
            too_large: the error for a change that would make the document too large.
        """
        self.store, self._name = store, name
        self._validate, self._approve, self._too_large = validate, approve, too_large
        self._mutex = threading.Lock()
        self._initial = initial
        self._reading: _Reading[S] = _Reading(stamp=None, content=None, snapshot=initial, fault=None)
        self.current()

    @property
    def shown(self) -> str:
        """The document as a person finds it."""
        return self.store.shown(self._name)

    @property
    def exists(self) -> bool:
        """Whether somebody has written it."""
        self.current()
        return self._reading.content is not None

    def current(self) -> S:
        """The current state of the file; while it is invalid, the last valid one."""
        reading = self._reading
        if reading.stamp is None or reading.stamp != self.store.stamp(self._name):
            reading = self._read(self.store)
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
            raise _refusal(fault)

    @property
    def problem(self) -> str | None:
        """The error in the current file; None if it is valid."""
        fault = self.fault
        return None if fault is None else str(fault)

    @property
    def fault(self) -> StorageUnavailable | None:
        """`problem` as an error; a new object each time, because it may be raised."""
        self.current()
        fault = self._reading.fault
        return None if fault is None else fault.at(())

    def update(self, change: Callable[[Document], None], *, within: Change | None = None) -> S:
        """Apply `change` to the current JSON of the document; returns the new state.

        Args:
            within: a change of the store, with which this one is committed.

        Raises:
            InvalidInput: the result would be invalid or too large; nothing is written.
            StorageUnavailable: the document is invalid (it is not overwritten), locked by others, or cannot be written.
        """
        with self.store.changing(within=within) as whole:
            # Without comparing the stamp: a lost update would be worse than a slow one.
            before = self._before(whole)
            document = copy.deepcopy(before.document)
            change(document)
            after = self._checked(document, before.document)
            if self._approve is not None:
                self._approve(before, after)
            content = json_text(document).encode()
            if len(content) > MAX_DOCUMENT_BYTES:
                raise self._too_large("file_too_large", file=self._name, size=len(content), limit=MAX_DOCUMENT_BYTES)
            whole.put(self._name, content)
            whole.after.append(self.current)
        return after

    def _as_read(self, document: object) -> S:
        """The state; unknown names that people can have written are refused as misspelled."""
        return self._validate(document, None if self.store.is_edited_by_hand else set())

    def _checked(self, document: Document, before: Document) -> S:
        """The state after a change; the unknown names that were there before may remain: of a newer version."""
        if not self.store.is_edited_by_hand:
            former: set[str] = set()
            found: set[str] = set()
            self._validate(before, former)
            after = self._validate(document, found)
            if found <= former:
                return after
        return self._validate(document, None)

    def _before(self, whole: Change) -> S:
        if self._name in whole.written:
            return self._as_read(parse(whole.written[self._name] or b""))
        reading = self._read(whole)
        if reading.fault is not None and reading.content is not None:
            raise _refusal(reading.fault)
        return reading.snapshot

    def _read(self, source: Source) -> _Reading[S]:
        with self._mutex:
            last = self._reading
            try:
                content, stamp = source.read(self._name)
            except OSError as err:
                fault = MustBeMended("cannot_read", path=self.shown, reason=err.strerror or str(err))
                return self._adopt(_Reading(None, b"", last.snapshot, fault))
            except StorageUnavailable as err:
                return self._adopt(_Reading(None, b"", last.snapshot, err))
            if content is None:
                gone = last.fault if last.content is None else None
                if last.content:  # b"": it could not be read, so perhaps it was never there
                    gone = MustBeMended("file_vanished", path=self.shown)
                return self._adopt(_Reading(stamp=None, content=None, snapshot=last.snapshot, fault=gone))
            if content == last.content:
                return self._adopt(_Reading(stamp, content, last.snapshot, last.fault))
            try:
                if len(content) > MAX_DOCUMENT_BYTES:
                    raise InvalidInput("file_above_limit", limit=MAX_DOCUMENT_BYTES)
                snapshot = self._as_read(parse(content))
            except (ServiceError, ValueError, RecursionError) as err:
                reason = err.messages if isinstance(err, ServiceError) else str(err)
                fault = MustBeMended("file_not_valid", path=self.shown, reason=reason)
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


def _refusal(fault: StorageUnavailable) -> StorageUnavailable:
    """The error of a change, or of a reading that needs a valid document."""
    if isinstance(fault, MustBeMended):
        return MustBeMended("file_needs_repair", problem=fault.messages)
    return fault
