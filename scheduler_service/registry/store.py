"""The registry's files: the one place that reads and writes them.

    models/<key>.pth  metadata/<key>.json  configs/<key>.json  tags.json  history.jsonl
    .incoming/   weights being copied and checked        .trash/   files of deleted models
    .pending.json   the change that is being made

A change touches several files, so it is first written down as a whole in `.pending.json`; that rename is the moment
at which it happens. Then the files follow, the history's line last. A process killed before leaves the registry as it
was; one killed after leaves it as it will be: readers lay `.pending.json` over the files, and the next writer finishes
the work (docs/decisions/registry-changes-as-a-whole.md).
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
from scheduler_service.registry.history import Event, EventKind, State, open_history
from scheduler_service.registry.index import Index
from scheduler_service.registry.names import parse_versioned
from scheduler_service.registry.records import ModelRecord, check_text

logger = logging.getLogger(__name__)

INCOMING_LEFTOVER_S = 3_600.0
"""Age at which a file in `.incoming/` belongs to no registration that still runs."""


class _Stamp(NamedTuple):
    """Changes whenever the content does.

    Every change adds to the history, and while it is being made there is a pending file; so equal stamps before and
    after reading mean that no change fell in between. The times catch files that people edited or restored.
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
        self._current: tuple[_Stamp, Index, StorageUnavailable | None] | None = None  # and what could not be read
        self.fault: StorageUnavailable | None = None
        """What cannot be read now, so that what was read before is in force."""
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
        """The registry as it is now, other processes' changes included; quick while nothing changes.

        Files that cannot be read leave in force what was read of them before, and `fault` says so.

        Raises:
            StorageUnavailable: nothing was read yet.
        """
        try:
            return self._present_index()
        except (StorageUnavailable, OSError) as err:
            self._note(err)
            if self._current is None:
                raise
            return self._current[1]

    def _present_index(self) -> Index:
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
        with locked(self._tags_file):  # writers are busy: keep them out for once
            return self.index_under_lock()

    def index_under_lock(self) -> Index:
        """The registry as it is now, while other writers are kept out."""
        stamp = self._stamp()
        index = self._read()
        self._current = (stamp, index, self.fault)
        return index

    def _stamp(self) -> _Stamp:
        history = _signs(self.history.path)
        return _Stamp(
            history[1] if history else 0,
            _signs(self._pending_file),
            _signs(self._tags_file),
            _signs(self.metadata_dir),
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
            except (StorageUnavailable, OSError) as err:  # a model is found without them; a change is refused
                fault = err
            self._note(fault)
            if pending is not None:
                for key, stored in pending["records"].items():
                    records.pop(key, None)
                    if stored is not None:
                        records[key] = ModelRecord.from_stored(stored)
                tags = pending["tags"]
            return Index(records.values(), tags)

    def _note(self, fault: StorageUnavailable | OSError | None) -> None:
        coded = cannot_read(self.base, fault) if isinstance(fault, OSError) else fault
        if coded is not None and str(coded) != str(self.fault):
            logger.error("%s; what was read before stays in force", coded)
        self.fault = coded

    def _read_records(self) -> dict[str, ModelRecord]:
        """The readable metadata files; one that is unchanged since last time is not parsed again."""
        parsed: dict[str, tuple[tuple[int, int, int], ModelRecord | None]] = {}
        with os.scandir(self.metadata_dir) as entries:
            for entry in entries:
                if not entry.name.endswith(".json") or entry.name.startswith("."):
                    continue
                try:
                    info = entry.stat()
                    signs = (info.st_mtime_ns, info.st_ino, info.st_size)
                    known = self._parsed.get(entry.name)
                    parsed[entry.name] = known if known and known[0] == signs else (signs, _read_record(Path(entry)))
                except FileNotFoundError:
                    continue  # deleted meanwhile
        self._parsed = parsed
        return {record.model_key: record for _, record in parsed.values() if record is not None}

    # --- changing ---

    @contextmanager
    def changing(self) -> Iterator[Index]:
        """Keeps other writers out, and yields the registry as it is now; `commit` belongs inside.

        Raises:
            StorageUnavailable: others held the lock too long, or the files cannot be read or written.
        """
        with self.excluding_writers():
            self.finish_pending()
            yield self.index_under_lock()

    @contextmanager
    def excluding_writers(self) -> Iterator[None]:
        """Keeps other writers out, and leaves everything as it is; raises as `changing`."""
        with locked(self._tags_file):
            try:
                yield
            except OSError as err:
                raise StorageUnavailable("registry_not_written", folder=str(self.base), reason=str(err)) from err

    @property
    def has_pending(self) -> bool:
        """Whether a change is made that not all files show yet."""
        return self._pending_file.exists()

    def finish_pending(self) -> None:
        """Brings the files up to date with a change that is made, if there is one. Under the lock."""
        pending = _read_object(self._pending_file)
        if pending is not None:
            self._carry_out(pending)

    def stored_tags(self) -> dict[str, str]:
        """The tags as their file has them, also those of models that are gone."""
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
        """Makes one change: new or changed records (None: deleted) and tags (None: removed), and its line of history.

        Only inside `changing`, with the index that it gave. Weights must be in place.

        Args:
            reason: the words of a person, or a code of the catalogue, which `details` then holds too.

        Raises:
            InvalidInput: `actor` or `reason` is not a text that can be stored; nothing has changed.
            StorageUnavailable: the change could not be written down; nothing has changed.
        """
        records, tags, details = records or {}, tags or {}, details or {}
        if isinstance(reason, CodedError):
            details = {**details, "code": reason.code, "params": reason.params}
        actor, reason = check_text("actor", actor), check_text("reason", str(reason))
        before = State(
            {key: index.records[key].status if key in index.records else None for key in records},
            {tag: index.tags.get(tag) for tag in tags},
        )
        after = State({key: record.status if record else None for key, record in records.items()}, dict(tags))
        line = Event(to_iso(self._clock()), event, model_key, actor, reason, before, after, details)
        # From the file, not from the index: that leaves out the tags of models whose metadata cannot be read just now.
        new_tags = {tag: key for tag, key in sorted({**self.stored_tags(), **tags}.items()) if key is not None}
        pending = {
            "records": {key: record.to_stored() if record else None for key, record in records.items()},
            "tags": new_tags,
            "event": line.to_dict(),
        }
        write_json(self._pending_file, pending)
        try:
            self._carry_out(pending)
        except (OSError, StorageUnavailable):
            # The change is made: it is on disk as a whole, and every reader sees it. The next one brings the files on.
            logger.exception("%s: the files of a change could not all be written yet", self.base)
        self._current = None

    def _carry_out(self, pending: Mapping[str, Any]) -> None:
        """Writes the files of a change; doing so twice changes nothing."""
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
                os.utime(source)  # the trash is emptied by age, counted from now
                move(source, self.trash_dir / source.name)
        (self.configs_dir / f"{key}.json").unlink(missing_ok=True)

    # --- leftovers ---

    def sweep(self) -> None:
        """Removes what killed processes left: temporary files, and weights whose registration never happened.

        Where that cannot be done now (a full disk, say) it waits for the next start: reading works all the same.
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
            # Without any metadata nobody can tell an orphan: a backup may be on its way back.
            anything_known = any(self.metadata_dir.glob("[!.]*.json"))
            for file in self.weights_dir.glob("*.pth") if anything_known else ():
                if parse_versioned(file.stem) and not (self.metadata_dir / f"{file.stem}.json").exists():
                    os.utime(file)
                    move(file, self.trash_dir / file.name)
        self._remove_old(self.incoming_dir, INCOMING_LEFTOVER_S)

    def empty_trash(self, older_than_s: float) -> None:
        """Removes for good what has been in the trash for that long."""
        self._remove_old(self.trash_dir, older_than_s)

    def _remove_old(self, folder: Path, age_s: float) -> None:
        # File times are the system's, so their age is measured by the system's clock, too.
        for file in folder.iterdir():
            with suppress(FileNotFoundError):  # another process was quicker
                if time.time() - file.stat().st_mtime > age_s:
                    file.unlink()


def _signs(path: Path) -> tuple[int, int] | None:
    """(time of change, size) of a file or folder; None if there is none."""
    try:
        info = os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    return info.st_mtime_ns, info.st_size


def _read_object(path: Path) -> dict[str, Any] | None:
    """The JSON object in a file; None if there is no file.

    Raises:
        StorageUnavailable: it holds something else; people may have edited it.
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
    """The record in a metadata file; None, and a line in the log, if it holds none: the others still serve."""
    try:
        record = ModelRecord.from_stored(json.loads(path.read_bytes()))
    except (ValueError, KeyError, TypeError, InvalidInput) as err:
        logger.error("%s is unreadable, its model is left out: %s: %s", path, type(err).__name__, err)
        return None
    if record.model_key != path.stem:
        logger.error("%s is the metadata of %s; it is left out", path, record.model_key)
        return None
    return record
