"""The registry's files; no other module reads or writes them.

    models/<key>.pth  metadata/<key>.json  configs/<key>.json  tags.json  history.jsonl
    .incoming/   weights being copied and checked        .trash/   files of deleted models
    .pending.json   the change in progress

A change affects several files, so it is first written as a whole to `.pending.json`; the rename of that file commits
it. Then the other files are updated, the history last. If the process is killed before the commit, nothing has changed.
If it is killed after it, readers apply `.pending.json` on top of the files, and the next writer finishes the update
(docs/decisions/registry-changes-as-a-whole.md).
"""

import json
import logging
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Lock
from typing import Any, NamedTuple

from scheduler_env.errors import CodedError
from scheduler_service.clock import Clock, to_iso
from scheduler_service.errors import InvalidInput, MustBeMended, StorageUnavailable, cannot_read
from scheduler_service.files import locked, move, write_json
from scheduler_service.registry.history import ChangedValues, Event, EventKind, open_history
from scheduler_service.registry.index import Index
from scheduler_service.registry.names import parse_versioned
from scheduler_service.registry.records import ModelRecord, check_text

logger = logging.getLogger(__name__)

INCOMING_MAX_AGE_S = 3_600.0
"""An older file in `.incoming/` belongs to no running registration."""


class _Stamp(NamedTuple):
    """A stamp that changes whenever the content changes.

    Every change appends to the history, and has a pending file while it is in progress. So equal stamps before and
    after reading mean that no change happened in between. The times detect files that people edited or restored.
    """

    history_bytes: int
    pending: tuple[int, int] | None
    tags: tuple[int, int] | None
    metadata: tuple[int, int] | None


class Store:
    """The files under `base`; missing folders are created.

    Raises:
        StorageUnavailable: the folders cannot be created.
    """

    def __init__(self, base: Path, clock: Clock) -> None:
        self.base = base
        self.weights_dir = base / "models"
        self.metadata_dir = base / "metadata"
        self.configs_dir = base / "configs"
        self.incoming_dir = base / ".incoming"
        self.trash_dir = base / ".trash"
        self.history = open_history(base / "history.jsonl")
        self._tags_file = base / "tags.json"
        self._pending_file = base / ".pending.json"
        self._clock = clock
        self._mutex = Lock()
        self._current: tuple[_Stamp, Index, StorageUnavailable | None] | None = None  # and the fault
        self.fault: StorageUnavailable | None = None
        """The error of the last read, because of which the content read before remains in use."""
        self._parsed: dict[str, tuple[tuple[int, int, int], ModelRecord | None]] = {}
        try:
            for folder in (self.weights_dir, self.metadata_dir, self.configs_dir, self.incoming_dir, self.trash_dir):
                folder.mkdir(parents=True, exist_ok=True)
        except OSError as err:
            raise StorageUnavailable("registry_not_created", folder=str(base), reason=err.strerror) from err

    def weights_file(self, key: str) -> Path:
        return self.weights_dir / f"{key}.pth"

    # --- reading ---

    def index(self) -> Index:
        """The current registry, including changes of other processes; fast while nothing changes.

        If files cannot be read, the content read before remains in use, and `fault` is set.

        Raises:
            StorageUnavailable: nothing has been read successfully yet.
        """
        try:
            return self._current_index()
        except (StorageUnavailable, OSError) as err:
            self._set_fault(err)
            if self._current is None:
                raise
            return self._current[1]

    def _current_index(self) -> Index:
        current = self._current
        if current is not None and current[0] == self._stamp():
            self.fault = current[2]
            return current[1]
        for _ in range(3):
            before = self._stamp()
            index = self._read()
            if before == self._stamp():
                self._current = (before, index, self.fault)
                return index
        with locked(self._tags_file):  # frequent changes: lock writers out
            return self.index_under_lock()

    def index_under_lock(self) -> Index:
        """The current registry; the caller holds the lock."""
        stamp = self._stamp()
        index = self._read()
        self._current = (stamp, index, self.fault)
        return index

    def _stamp(self) -> _Stamp:
        history = _stat_of(self.history.path)
        return _Stamp(
            history[1] if history else 0,
            _stat_of(self._pending_file),
            _stat_of(self._tags_file),
            _stat_of(self.metadata_dir),
        )

    def _read(self) -> Index:
        with self._mutex:
            try:
                records = self._read_records()
            except OSError as err:
                raise StorageUnavailable("registry_not_read", folder=str(self.base), reason=str(err)) from err
            fault: StorageUnavailable | OSError | None = None
            tags, pending = {} if self._current is None else self._current[1].tags, None
            try:
                tags = _read_object(self._tags_file) or {}
                pending = _read_object(self._pending_file)
            except (StorageUnavailable, OSError) as err:  # models can be found without them; changes are refused
                fault = err
            self._set_fault(fault)
            if pending is not None:
                for key, stored in pending["records"].items():
                    records.pop(key, None)
                    if stored is not None:
                        records[key] = ModelRecord.from_stored(stored)
                tags = pending["tags"]
            return Index(records.values(), tags)

    def _set_fault(self, fault: StorageUnavailable | OSError | None) -> None:
        coded = cannot_read(self.base, fault) if isinstance(fault, OSError) else fault
        if coded is not None and str(coded) != str(self.fault):
            logger.error("%s; what was read before stays in force", coded)
        self.fault = coded

    def _read_records(self) -> dict[str, ModelRecord]:
        """The records of readable metadata files; unchanged files are not parsed again."""
        parsed: dict[str, tuple[tuple[int, int, int], ModelRecord | None]] = {}
        with os.scandir(self.metadata_dir) as entries:
            for entry in entries:
                if not entry.name.endswith(".json") or entry.name.startswith("."):
                    continue
                try:
                    info = entry.stat()
                    stat = (info.st_mtime_ns, info.st_ino, info.st_size)
                    known = self._parsed.get(entry.name)
                    parsed[entry.name] = known if known and known[0] == stat else (stat, _read_record(Path(entry)))
                except FileNotFoundError:
                    continue  # deleted meanwhile
        self._parsed = parsed
        return {record.model_key: record for _, record in parsed.values() if record is not None}

    # --- changing ---

    @contextmanager
    def changing(self) -> Iterator[Index]:
        """Lock other writers out, and yield the current registry; `commit` must be called inside.

        Raises:
            StorageUnavailable: the lock was held too long, or the files cannot be read or written.
        """
        with self.excluding_writers():
            self.finish_pending()
            yield self.index_under_lock()

    @contextmanager
    def excluding_writers(self) -> Iterator[None]:
        """Lock other writers out without finishing a pending change; raises as `changing`."""
        with locked(self._tags_file):
            try:
                yield
            except OSError as err:
                raise StorageUnavailable("registry_not_written", folder=str(self.base), reason=str(err)) from err

    @property
    def has_pending(self) -> bool:
        """Whether a committed change is not in all files yet."""
        return self._pending_file.exists()

    def finish_pending(self) -> None:
        """Finish a committed change, if there is one. The caller holds the lock."""
        pending = _read_object(self._pending_file)
        if pending is not None:
            self._apply(pending)

    def stored_tags(self) -> dict[str, str]:
        """The tags in the file, including tags of deleted models."""
        return _read_object(self._tags_file) or {}

    def commit(
        self,
        index: Index,
        event: EventKind,
        model_key: str,
        *,
        records: Mapping[str, ModelRecord | None] | None = None,
        tags: Mapping[str, str | None] | None = None,
        actor: str,
        reason: str | CodedError,
        details: Mapping[str, Any] | None = None,
    ) -> None:
        """Commit one change: new or changed records (None: deleted) and tags (None: removed), and its history line.

        Only inside `changing`, with the index that it yields. Weights must be in place.

        Args:
            reason: a person's text, or a code of the catalogue, which is also added to `details`.

        Raises:
            InvalidInput: `actor` or `reason` is not a text that can be stored; nothing has changed.
            StorageUnavailable: the change could not be written; nothing has changed.
        """
        records, tags, details = records or {}, tags or {}, details or {}
        if isinstance(reason, CodedError):
            details = {**details, **reason.to_dict()}
        actor, reason = check_text("actor", actor), check_text("reason", str(reason))
        before = ChangedValues(
            {key: index.records[key].status if key in index.records else None for key in records},
            {tag: index.tags.get(tag) for tag in tags},
        )
        after = ChangedValues({key: record.status if record else None for key, record in records.items()}, dict(tags))
        line = Event(to_iso(self._clock()), event, model_key, actor, reason, before, after, details)
        # From the file, not from the index, which omits tags of models whose metadata cannot be read now.
        new_tags = {tag: key for tag, key in sorted({**self.stored_tags(), **tags}.items()) if key is not None}
        pending = {
            "records": {key: record.to_stored() if record else None for key, record in records.items()},
            "tags": new_tags,
            "event": line.to_dict(),
        }
        write_json(self._pending_file, pending)
        try:
            self._apply(pending)
        except (OSError, StorageUnavailable):
            # The change is committed: every reader sees it, and the next writer updates the files.
            logger.exception("%s: the files of a change could not all be written yet", self.base)
        self._current = None

    def _apply(self, pending: Mapping[str, Any]) -> None:
        """Write the files of a change; idempotent."""
        for key, stored in pending["records"].items():
            if stored is None:
                self._move_to_trash(key)
            else:
                config_file = self.configs_dir / f"{key}.json"
                if not config_file.exists():
                    write_json(config_file, stored["training_params"])
                write_json(self.metadata_dir / f"{key}.json", stored)
        write_json(self._tags_file, pending["tags"])
        self.history.append_once(pending["event"])
        self._pending_file.unlink()

    def _move_to_trash(self, key: str) -> None:
        for source in (self.metadata_dir / f"{key}.json", self.weights_file(key)):
            with suppress(FileNotFoundError):
                os.utime(source)  # the trash is emptied by file age, counted from now
                move(source, self.trash_dir / source.name)
        (self.configs_dir / f"{key}.json").unlink(missing_ok=True)

    # --- leftovers ---

    def sweep(self) -> None:
        """Remove leftovers of killed processes: temporary files, and weights that were never registered.

        If this fails (for example because of a full disk), it is tried again at the next start; reading still works.
        """
        try:
            self._sweep()
        except StorageUnavailable:
            logger.exception("%s: what a crash left could not be removed", self.base)

    def _sweep(self) -> None:
        with self.changing():
            for folder in (self.base, self.metadata_dir, self.configs_dir):
                for file in folder.glob(".*.tmp"):
                    file.unlink(missing_ok=True)
            # Without any metadata, orphans cannot be recognised: a restore of a backup may be in progress.
            has_metadata = any(self.metadata_dir.glob("[!.]*.json"))
            for file in self.weights_dir.glob("*.pth") if has_metadata else ():
                if parse_versioned(file.stem) and not (self.metadata_dir / f"{file.stem}.json").exists():
                    os.utime(file)
                    move(file, self.trash_dir / file.name)
        self._remove_old(self.incoming_dir, INCOMING_MAX_AGE_S)

    def empty_trash(self, older_than_s: float) -> None:
        """Delete files that have been in the trash for that long."""
        self._remove_old(self.trash_dir, older_than_s)

    def _remove_old(self, folder: Path, age_s: float) -> None:
        # The system clock, because it also sets the file times.
        for file in folder.iterdir():
            with suppress(FileNotFoundError):  # removed by another process
                if time.time() - file.stat().st_mtime > age_s:
                    file.unlink()


def _stat_of(path: Path) -> tuple[int, int] | None:
    """(mtime in ns, size) of a file or folder; None if it does not exist."""
    try:
        info = os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    return info.st_mtime_ns, info.st_size


def _read_object(path: Path) -> dict[str, Any] | None:
    """The JSON object in a file; None if there is no file.

    Raises:
        StorageUnavailable: it does not hold a JSON object; people may have edited it.
    """
    try:
        value = json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except ValueError as err:
        raise MustBeMended("file_not_json", file=str(path), reason=str(err)) from err
    if not isinstance(value, dict):
        raise MustBeMended("file_not_object", file=str(path))
    return value


def _read_record(path: Path) -> ModelRecord | None:
    """The record in a metadata file; if it is invalid, it is logged and None is returned: other models still serve."""
    try:
        record = ModelRecord.from_stored(json.loads(path.read_bytes()))
    except (ValueError, KeyError, TypeError, InvalidInput) as err:
        logger.error("%s is unreadable, its model is left out: %s: %s", path, type(err).__name__, err)
        return None
    if record.model_key != path.stem:
        logger.error("%s is the metadata of %s; it is left out", path, record.model_key)
        return None
    return record
