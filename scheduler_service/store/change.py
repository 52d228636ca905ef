"""The interface of a store, and a change in progress."""

from collections.abc import Callable, Hashable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TypeVar

from scheduler_service.errors import StorageUnavailable
from scheduler_service.lease import Lease

Line = TypeVar("Line")

MAX_DOCUMENT_BYTES = 16 * 2**20
"""Larger documents are neither read nor written: parsing them would delay every request."""

Stamp = Hashable
"""Equal stamps: the content is the same. None: unknown, so read it again."""


class Found(NamedTuple):
    """A document as it is now."""

    content: bytes | None  # None: there is none; at most `MAX_DOCUMENT_BYTES` and one byte
    stamp: Stamp


class Source(Protocol):
    """Where documents are read: a store, or a change in progress."""

    def read(self, name: str) -> Found:
        """A document.

        Raises:
            OSError, StorageUnavailable: it cannot be read.
        """

    def documents(self, folder: str) -> dict[str, Stamp]:
        """Name and stamp of each document in a folder; hidden ones (`.name`) are left out.

        Raises:
            OSError, StorageUnavailable: the folder cannot be read.
        """


class Log(Protocol[Line]):
    """Lines that are only appended, each a JSON object."""

    def lines(self) -> list[Line]:
        """All lines, oldest first; unreadable ones are logged and left out."""

    def raw(self, position: int) -> dict[str, Any]:
        """The complete object of the line at `position` in the result of `lines`; OSError or ValueError if gone."""

    def unreadable_lines(self) -> int:
        """The number of lines that `lines` leaves out."""


class Store(Source, Protocol):
    """Documents, logs and files below a home, shared by several processes. Safe for threads."""

    @property
    def home(self) -> Path:
        """The home whose names the store has; also where a process keeps what it does not share."""

    @property
    def is_edited_by_hand(self) -> bool:
        """Whether people write documents, too; else only this program does, in this version or another one."""

    @property
    def fault(self) -> StorageUnavailable | None:
        """Why what was read before remains in use; None if all is well."""

    def shown(self, name: str = "") -> str:
        """What a person has to look at: a path, or the database's address with the name."""

    def stamp(self, *names: str) -> Stamp:
        """A stamp of several documents, logs and folders together."""

    def log(self, name: str, read: Callable[[dict[str, Any]], Line]) -> Log[Line]:
        """A log; `read` converts a line's object: ValueError, KeyError or TypeError if it is invalid."""

    def changing(
        self, *, within: "Change | None" = None, lease: Lease | None = None
    ) -> "AbstractContextManager[Change]":
        """Lock other writers out, and commit the change at the end of the block, as a whole or not at all.

        Args:
            within: a change of this store that is in progress; the block becomes a part of it.
            lease: the change rests on it: nobody else takes it before the end of the block. Not with `within`, whose
                change rests on what it was begun with.

        Raises:
            LeaseLost: the lease is not held any more; the block was not begun.
            StorageUnavailable: others held the lock too long, or the change cannot be written; nothing has changed.
                With the code `change_outcome_unknown` it may have happened.
        """

    def file(self, name: str) -> Path:
        """The path at which the content of a file can be read; it may not exist."""

    def file_names(self, folder: str) -> list[str]:
        """The names of the files in a folder."""

    def digests(self, folder: str) -> dict[str, str]:
        """The SHA-256 of the content of each file in a folder, computed from what is stored."""

    def empty(self, folder: str, older_than_s: float) -> None:
        """Delete what was moved to `folder` that long ago."""

    def close(self) -> None:
        """End what the store does in the background."""

    def scratch(self, folder: str) -> Path:
        """A folder of this machine alone, created if missing, from which `Change.add_file` can take files."""


@dataclass
class Change:
    """What a block of `Store.changing` has changed so far; documents are read as it leaves them."""

    before: Source
    written: dict[str, bytes | None] = field(default_factory=dict)  # documents; None: removed
    lines: list[tuple[str, Mapping[str, Any]]] = field(default_factory=list)  # (log, object)
    files: dict[str, Path] = field(default_factory=dict)  # name -> where its content is now
    moves: dict[str, str] = field(default_factory=dict)  # name of a document or file -> its new name
    after: list[Callable[[], object]] = field(default_factory=list)  # called when the change is committed

    @property
    def is_empty(self) -> bool:
        return not (self.written or self.lines or self.files or self.moves)

    def read(self, name: str) -> Found:
        """As `Source.read`."""
        if name in self.written:
            return Found(self.written[name], None)
        return Found(None, None) if name in self.moves else self.before.read(name)

    def documents(self, folder: str) -> dict[str, Stamp]:
        """As `Source.documents`."""
        found = {name: stamp for name, stamp in self.before.documents(folder).items() if name not in self.moves}
        for name, content in self.written.items():
            if content is None:
                found.pop(name, None)
            elif name.rpartition("/")[0] == folder:
                found[name] = content
        return found

    def put(self, name: str, content: bytes) -> None:
        """Create or replace a document."""
        self.written[name] = content

    def remove(self, name: str) -> None:
        """Remove a document, if it exists."""
        self.written[name] = None

    def append(self, log: str, line: Mapping[str, Any]) -> None:
        """Append a line to a log."""
        self.lines.append((log, line))

    def add_file(self, name: str, content: Path) -> None:
        """Add a file; it is moved from `content`, or copied from there, when the change is committed."""
        self.files[name] = content

    def move(self, name: str, new_name: str) -> None:
        """Give a document or a file another name, if it exists."""
        self.moves[name] = new_name
