"""The registry's part of a store; no other module reads or writes it.

models/<key>.pth  metadata/<key>.json  configs/<key>.json  tags.json  history.jsonl
.incoming/   weights being copied and checked        .trash/   files of deleted models
"""

import json
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Lock
from typing import Any

from scheduler_env.errors import CodedError
from scheduler_service.clock import Clock, to_iso
from scheduler_service.errors import InvalidInput, MustBeMended, StorageUnavailable, cannot_read
from scheduler_service.files import json_text, remove_old
from scheduler_service.lease import Lease
from scheduler_service.registry.history import ChangedValues, Event, EventKind
from scheduler_service.registry.index import Index
from scheduler_service.registry.names import parse_versioned
from scheduler_service.registry.records import MEMBERS, ModelRecord, check_text
from scheduler_service.store.change import Change, Source, Stamp, Store
from scheduler_service.store.folder import FolderStore

logger = logging.getLogger(__name__)

INCOMING_MAX_AGE_S = 3_600.0
"""An older file in `.incoming/` belongs to no running registration."""


class RegistryStore:
    """The registry in the folder `name` of a store; missing folders are created.

    Raises:
        StorageUnavailable: the folders cannot be created.
    """

    def __init__(self, store: Store, name: str, clock: Clock) -> None:
        self.store = store
        self.name = name
        self.shown = store.shown(name)
        self.metadata, self.configs, self.weights = (f"{name}/{part}" for part in ("metadata", "configs", "models"))
        self.trash, self.tags, self._history_name = (
            f"{name}/{each}" for each in (".trash", "tags.json", "history.jsonl")
        )
        self.history = store.log(self._history_name, Event.from_dict)
        self._clock = clock
        self._mutex = Lock()
        self._current: tuple[Stamp, Index, StorageUnavailable | None] | None = None  # and the fault
        self.fault: StorageUnavailable | None = None
        """The error of the last read, because of which the content read before remains in use."""
        self._parsed: dict[str, tuple[Stamp, ModelRecord | None]] = {}
        try:
            self.incoming = store.scratch(f"{name}/.incoming")
            if isinstance(store, FolderStore):
                for folder in (self.weights, self.metadata, self.configs, self.trash):
                    (store.home / folder).mkdir(parents=True, exist_ok=True)
        except OSError as err:
            raise StorageUnavailable("registry_not_created", folder=self.shown, reason=err.strerror) from err

    def weights_name(self, key: str) -> str:
        """The name of a model's weights in the store."""
        return f"{self.weights}/{key}.pth"

    def weights_file(self, key: str) -> Path:
        """The path at which a model's weights can be read."""
        return self.store.file(self.weights_name(key))

    # --- reading ---

    def index(self) -> Index:
        """The current registry, including changes of other processes; fast while nothing changes.

        If the store cannot be read, the content read before remains in use, and `fault` is set.

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
            index = self._read(self.store)
            if before == self._stamp():
                self._current = (before, index, self.fault)
                return index
        with self.store.changing():  # frequent changes: lock writers out
            stamp = self._stamp()
            index = self._read(self.store)
            self._current = (stamp, index, self.fault)
            return index

    def _stamp(self) -> Stamp:
        """Every change appends to the history, so equal stamps before and after reading mean that there was none.

        The times of the other files detect those that people edited or restored.
        """
        return self.store.stamp(self._history_name, self.tags, self.metadata)

    def _read(self, source: Source) -> Index:
        with self._mutex:
            try:
                records = self._read_records(source)
            except OSError as err:
                raise StorageUnavailable("registry_not_read", folder=self.shown, reason=str(err)) from err
            fault: StorageUnavailable | OSError | None = None
            tags = {} if self._current is None else self._current[1].tags
            try:
                tags = self.stored_tags(source)
            except (StorageUnavailable, OSError) as err:  # models can be found without them; changes are refused
                fault = err
            self._set_fault(fault)
            return Index(records, tags)

    def _set_fault(self, fault: StorageUnavailable | OSError | None) -> None:
        coded = cannot_read(Path(self.shown), fault) if isinstance(fault, OSError) else fault
        if coded is not None and str(coded) != str(self.fault):
            logger.error("%s; what was read before stays in force", coded)
        self.fault = coded

    def _read_records(self, source: Source) -> list[ModelRecord]:
        """The records of readable metadata; unchanged documents are not parsed again."""
        parsed: dict[str, tuple[Stamp, ModelRecord | None]] = {}
        for name, stamp in source.documents(self.metadata).items():
            known = self._parsed.get(name)
            if known is None or known[0] != stamp:
                content, _ = source.read(name)
                if content is None:
                    continue  # deleted meanwhile
                known = (stamp, _read_record(self.store.shown(name), key_in(name), content))
            parsed[name] = known
        self._parsed = parsed
        return [record for _, record in parsed.values() if record is not None]

    def stored_tags(self, source: Source) -> dict[str, str]:
        """The tags as stored, including tags of deleted models.

        Raises:
            MustBeMended: this is not a JSON object; people may have edited it.
        """
        content, _ = source.read(self.tags)
        return {} if content is None else _object(self.store.shown(self.tags), content)

    # --- changing ---

    @contextmanager
    def changing(self, within: Change | None = None, lease: Lease | None = None) -> Iterator["RegistryChange"]:
        """Lock other writers out, and commit what the block changes, as a whole.

        Args:
            within: a change of the store that is in progress; the block becomes a part of it.
            lease: as in `Store.changing`.

        Raises:
            LeaseLost: the lease is not held any more; nothing was changed.
            StorageUnavailable: the lock was held too long, or the store cannot be read or written.
        """
        with self.store.changing(within=within, lease=lease) as change:
            yield self.begin(change)

    def begin(self, change: Change) -> "RegistryChange":
        """The registry as `change` leaves it, to be changed further."""
        index = self._read(change)
        if self.fault is not None:
            raise self.fault.at(())
        return RegistryChange(self, change, index, self._clock)

    # --- leftovers ---

    def sweep(self) -> None:
        """Remove leftovers of killed processes: temporary files, and weights that were never registered.

        If this fails (for example because of a full disk), it is tried again at the next start; reading still works.
        """
        try:
            if isinstance(self.store, FolderStore):
                self._sweep(self.store)
            remove_old(self.incoming, INCOMING_MAX_AGE_S)
        except (StorageUnavailable, OSError):
            logger.exception("%s: what a crash left could not be removed", self.shown)

    def _sweep(self, store: FolderStore) -> None:
        with store.changing() as change:
            for folder in (self.name, self.metadata, self.configs):
                for file in (store.home / folder).glob(".*.tmp"):
                    file.unlink(missing_ok=True)
            self._finish_former(store, change)
            known = {key_in(name) for name in change.documents(self.metadata)}
            # Without any metadata, orphans cannot be recognised: a restore of a backup may be in progress.
            for name in store.file_names(self.weights) if known else ():
                if parse_versioned(key_in(name)) and key_in(name) not in known:
                    # At once: on a full disk, a file can be moved, but no change can be written.
                    store.move(name, f"{self.trash}/{name.rpartition('/')[2]}")

    def _finish_former(self, store: FolderStore, change: Change) -> None:
        """Finish a change that a version before 2026-12 has committed but not written to all its files."""
        file = store.home / self.name / ".pending.json"
        with suppress(FileNotFoundError):
            pending = _object(str(file), file.read_bytes())
            for key, stored in pending["records"].items():
                self.put(change, key, stored)
            change.put(self.tags, json_text(pending["tags"]).encode())
            if all(line.to_dict() != pending["event"] for line in self.history.lines()[-1:]):
                change.append(self._history_name, pending["event"])
            file.unlink()

    def put(self, change: Change, key: str, stored: Mapping[str, Any] | None) -> None:
        """Create or replace a model's record; None deletes the model."""
        metadata, config = f"{self.metadata}/{key}.json", f"{self.configs}/{key}.json"
        if stored is None:
            change.move(metadata, f"{self.trash}/{key}.json")
            change.move(self.weights_name(key), f"{self.trash}/{key}.pth")
            change.remove(config)
        else:
            if change.read(config).content is None:
                change.put(config, json_text(stored["training_params"]).encode())
            change.put(metadata, json_text({**self._unknown_members(change, metadata), **stored}).encode())

    def _unknown_members(self, change: Change, metadata: str) -> dict[str, Any]:
        """What a newer version has added to a model's metadata, which a change by this one must not remove."""
        content, _ = change.read(metadata)
        try:
            before = {} if content is None else _object(self.store.shown(metadata), content)
        except StorageUnavailable:  # it is damaged, and replaced
            return {}
        return {name: value for name, value in before.items() if name not in MEMBERS}

    def history_within(self, change: Change) -> list[Event]:
        """The history with the lines of a change in progress."""
        new = [Event.from_dict(line) for log, line in change.lines if log == self._history_name]
        return self.history.lines() + new

    def append(self, change: Change, event: Event) -> None:
        """Add a line to the history."""
        change.append(self._history_name, event.to_dict())


class RegistryChange:
    """A change in progress, made of one or more commits; committed at the end of the block of `changing`."""

    def __init__(self, registry: RegistryStore, change: Change, index: Index, clock: Clock) -> None:
        self.registry, self.change, self._clock = registry, change, clock
        self._index: Index | None = index

    @property
    def index(self) -> Index:
        """The registry as the commits so far leave it."""
        if self._index is None:
            self._index = self.registry.begin(self.change).index
        return self._index

    def commit(
        self,
        event: EventKind,
        model_key: str,
        *,
        records: Mapping[str, ModelRecord | None] | None = None,
        tags: Mapping[str, str | None] | None = None,
        weights: Mapping[str, Path] | None = None,
        actor: str,
        reason: str | CodedError,
        details: Mapping[str, Any] | None = None,
    ) -> None:
        """Add new or changed records (None: deleted) and tags (None: removed), with their line of the history.

        Args:
            weights: key -> file with the weights of a new model.
            reason: a person's text, or a code of the catalogue, which is also added to `details`.

        Raises:
            InvalidInput: `actor` or `reason` is not a text that can be stored; nothing has changed.
        """
        records, tags, details = records or {}, tags or {}, details or {}
        if isinstance(reason, CodedError):
            details = {**details, **reason.to_dict()}
        actor, reason = check_text("actor", actor), check_text("reason", str(reason))
        index, registry = self.index, self.registry
        before = ChangedValues(
            {key: index.records[key].status if key in index.records else None for key in records},
            {tag: index.tags.get(tag) for tag in tags},
        )
        after = ChangedValues({key: record.status if record else None for key, record in records.items()}, dict(tags))
        for key, path in (weights or {}).items():
            self.change.add_file(registry.weights_name(key), path)
        for key, record in records.items():
            registry.put(self.change, key, record.to_stored() if record else None)
        # As stored, not from the index, which omits tags of models whose metadata cannot be read now.
        stored = {**registry.stored_tags(self.change), **tags}
        kept = {tag: key for tag, key in sorted(stored.items()) if key is not None}
        self.change.put(registry.tags, json_text(kept).encode())
        line = Event(to_iso(self._clock()), event, model_key, actor, reason, before, after, details)
        registry.append(self.change, line)
        self._index = None


def key_in(name: str) -> str:
    """The model's key in the name of its metadata or weights."""
    return name.rpartition("/")[2].rpartition(".")[0]


def _object(shown: str, content: bytes) -> dict[str, Any]:
    try:
        value = json.loads(content)
    except ValueError as err:
        raise MustBeMended("file_not_json", file=shown, reason=str(err)) from err
    if not isinstance(value, dict):
        raise MustBeMended("file_not_object", file=shown)
    return value


def _read_record(shown: str, key: str, content: bytes) -> ModelRecord | None:
    """The record in metadata; if it is invalid, it is logged and None is returned: other models still serve."""
    try:
        record = ModelRecord.from_stored(json.loads(content))
    except (ValueError, KeyError, TypeError, InvalidInput) as err:
        logger.error("%s is unreadable, its model is left out: %s: %s", shown, type(err).__name__, err)
        return None
    if record.model_key != key:
        logger.error("%s is the metadata of %s; it is left out", shown, record.model_key)
        return None
    return record
