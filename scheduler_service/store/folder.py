"""A store in a folder: files that people may read and edit.

A change affects several files, so it is first written as a whole to `.pending.json`; the rename of that file commits
it. Then the other files are updated, the logs last. If the process is killed before the commit, nothing has changed. If
it is killed after it, readers apply `.pending.json` on top of the files, and the next writer finishes the update
(docs/decisions/one-store.md).
"""

import json
import logging
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Lock
from typing import Any, Generic

from scheduler_service.errors import LeaseLost, MustBeMended, StorageUnavailable
from scheduler_service.files import locked, move, remove_old, sha256_of, write_atomically, write_json
from scheduler_service.jsonlines import JsonLines
from scheduler_service.lease import Lease
from scheduler_service.store.change import MAX_DOCUMENT_BYTES, Change, Found, Line, Stamp

PENDING = ".pending.json"
PARTS = {"documents", "moves", "lines"}
"""Members of a pending change."""
LOCK_TIMEOUT_S = 10.0
RACY_NS = 50_000_000
"""A file changed more recently before it was read may change again within one tick of the file system's clock."""

logger = logging.getLogger(__name__)


class FolderStore:
    """The store below `home`; see `Store`.

    The lock is the file `.changes.lock`.
    """

    fault: StorageUnavailable | None = None
    is_edited_by_hand = True

    def __init__(self, home: Path) -> None:
        self.home = home = home.absolute()
        self._lock_of = home / "changes"
        self._prefix = f"{home}/"
        self._pending_file = home / PENDING
        self._mutex = Lock()
        self._pending: tuple[Stamp, Mapping[str, Any]] = (None, {})  # the last one that was read

    def shown(self, name: str = "") -> str:
        return str(self.home / name)

    # --- reading ---

    def stamp(self, *names: str) -> Stamp:
        # Called several times a request: joining texts is quicker than joining paths.
        found = [_stamp_of(f"{self._prefix}{name}") for name in names]
        return (self._pending_stamp(), *found)

    def read(self, name: str) -> Found:
        pending = self._pending_change()
        if name in pending.get("documents", {}):
            text = pending["documents"][name]
            return Found(None if text is None else text.encode(), None)
        if name in pending.get("moves", {}):
            return Found(None, None)
        try:
            with open(self.home / name, "rb") as file:
                status = os.fstat(file.fileno())
                content = file.read(MAX_DOCUMENT_BYTES + 1)
        except FileNotFoundError:
            return Found(None, None)
        is_settled = not pending and time.time_ns() - status.st_mtime_ns > RACY_NS
        return Found(content, (None, _stamp(status)) if is_settled else None)

    def documents(self, folder: str) -> dict[str, Stamp]:
        found: dict[str, Stamp] = {}
        with os.scandir(self.home / folder) as entries:
            for entry in entries:
                if entry.name.endswith(".json") and not entry.name.startswith("."):
                    with suppress(FileNotFoundError):  # deleted meanwhile
                        found[f"{folder}/{entry.name}"] = _stamp(entry.stat())
        with suppress(StorageUnavailable):  # told by `read`
            pending = self._pending_change()
            for name, text in pending.get("documents", {}).items():
                if text is None:
                    found.pop(name, None)
                elif name.rpartition("/")[0] == folder:
                    found[name] = text
            for name in pending.get("moves", {}):
                found.pop(name, None)
        return found

    def log(self, name: str, read: Callable[[dict[str, Any]], Line]) -> "FolderLog[Line]":
        return FolderLog(self, name, read)

    def pending_lines(self, log: str) -> tuple[Stamp, list[dict[str, Any]]]:
        """The lines of a committed change that may not be in their file yet, and a stamp of that change."""
        stamp = self._pending_stamp()
        try:
            return stamp, [line for its_log, line in self._pending_change().get("lines", ()) if its_log == log]
        except (StorageUnavailable, OSError):  # told by `read`
            return stamp, []

    def _pending_stamp(self) -> Stamp:
        """None if there is none, as usual; found without an exception, which would take longer than all the rest."""
        path = f"{self._prefix}{PENDING}"
        return _stamp_of(path) if os.access(path, os.F_OK) else None

    def _pending_change(self) -> Mapping[str, Any]:
        """The committed change that is not in all files yet; empty without one.

        Raises:
            MustBeMended: its file is not JSON; people may have edited it.
            OSError: it cannot be read.
        """
        stamp = self._pending_stamp()
        if stamp is None:
            return {}
        with self._mutex:
            if self._pending[0] != stamp:
                self._pending = (stamp, _read_object(self._pending_file))
            return self._pending[1]

    # --- changing ---

    @contextmanager
    def changing(self, *, within: Change | None = None, lease: Lease | None = None) -> Iterator[Change]:
        if within is not None:
            yield within
            return
        with locked(self._lock_of, LOCK_TIMEOUT_S):
            if lease is not None and not lease.is_held:
                raise LeaseLost("lease_lost", name=lease.name)
            try:
                self._finish_pending()
                change = Change(self)
                yield change
                self._commit(change)
            except OSError as err:
                raise StorageUnavailable("home_not_written", folder=str(self.home), reason=str(err)) from err
        for call in change.after:
            call()

    def has_unfinished(self) -> bool:
        """Whether a killed process has committed a change that is not in all files yet; waits for running changes."""
        with locked(self._lock_of, LOCK_TIMEOUT_S):
            return bool(self._pending_change())

    def _finish_pending(self) -> None:
        """Finish a committed change, if there is one. The caller holds the lock."""
        if pending := self._pending_change():
            self._apply(pending)

    def _commit(self, change: Change) -> None:
        if change.is_empty:
            return
        for name, content in change.files.items():
            (self.home / name).parent.mkdir(parents=True, exist_ok=True)
            move(content, self.home / name)
        documents = {name: None if it is None else it.decode() for name, it in change.written.items()}
        if len(documents) == 1 and not (change.lines or change.moves) and None not in documents.values():
            for name, content_of in change.written.items():
                write_atomically(self.home / name, content_of or b"")
            return
        pending = {"documents": documents, "moves": change.moves, "lines": change.lines}
        write_json(self._pending_file, pending)
        try:
            self._apply(pending)
        except (OSError, StorageUnavailable):
            # The change is committed: every reader sees it, and the next writer updates the files.
            logger.exception("%s: the files of a change could not all be written yet", self.home)

    def _apply(self, pending: Mapping[str, Any]) -> None:
        """Write the files of a change; idempotent."""
        for name, new_name in pending["moves"].items():
            self.move(name, new_name)
        for name, text in pending["documents"].items():
            if text is None:
                (self.home / name).unlink(missing_ok=True)
            else:
                write_atomically(self.home / name, text.encode())
        for log in dict.fromkeys(log for log, _ in pending["lines"]):
            lines = JsonLines(self.home / log, dict)
            lines.append_missing([line for its_log, line in pending["lines"] if its_log == log])
        self._pending_file.unlink()

    def move(self, name: str, new_name: str) -> None:
        """Rename a file, if it exists. The caller holds the lock."""
        with suppress(FileNotFoundError):
            os.utime(self.home / name)  # moved files are deleted by their age, counted from now
            (self.home / new_name).parent.mkdir(parents=True, exist_ok=True)
            move(self.home / name, self.home / new_name)

    # --- files ---

    def file(self, name: str) -> Path:
        return self.home / name

    def file_names(self, folder: str) -> list[str]:
        return sorted(f"{folder}/{path.name}" for path in (self.home / folder).glob("[!.]*"))

    def digests(self, folder: str) -> dict[str, str]:
        return {name: sha256_of(self.home / name) for name in self.file_names(folder)}

    def close(self) -> None:
        """Nothing is done in the background."""

    def scratch(self, folder: str) -> Path:
        path = self.home / folder
        path.mkdir(parents=True, exist_ok=True)
        return path

    def empty(self, folder: str, older_than_s: float) -> None:
        remove_old(self.home / folder, older_than_s)


class FolderLog(Generic[Line]):
    """A log in a file, with the lines of a committed change that is not in all files yet."""

    def __init__(self, store: FolderStore, name: str, read: Callable[[dict[str, Any]], Line]) -> None:
        self._store, self._name, self._read = store, name, read
        self._file = JsonLines(store.home / name, read)

    def lines(self) -> list[Line]:
        return self._all()[0]

    def raw(self, position: int) -> dict[str, Any]:
        found, pending = self._all()
        first = len(found) - len(pending)
        return pending[position - first] if position >= first else self._file.raw(position)

    def unreadable_lines(self) -> int:
        return self._file.unreadable_lines()

    def _all(self) -> tuple[list[Line], list[dict[str, Any]]]:
        """All lines, and those at their end that are not in the file."""
        while True:
            stamp, pending = self._store.pending_lines(self._name)
            found = self._file.lines()
            if stamp is None or stamp == self._store.pending_lines(self._name)[0]:
                break
        new = [self._read(line) for line in pending]
        n_present = max(n for n in range(len(new) + 1) if n == 0 or found[-n:] == new[:n])
        return found + new[n_present:], pending[n_present:]


def _stamp(status: os.stat_result) -> Stamp:
    return (status.st_mtime_ns, status.st_size, status.st_ino)


def _stamp_of(path: str) -> Stamp:
    """None if it does not exist."""
    try:
        return _stamp(os.stat(path))
    except (FileNotFoundError, NotADirectoryError):
        return None


def _read_object(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_bytes())
    except FileNotFoundError:
        return {}  # finished meanwhile
    except ValueError as err:
        raise MustBeMended("file_not_json", file=str(path), reason=str(err)) from err
    if not isinstance(value, dict) or set(value) != PARTS:
        raise MustBeMended("file_not_object", file=str(path))
    return value
