"""Consistency check and repair of the registry's files.

The check does not sweep or finish anything first, so it shows leftovers of crashes. Repairs never guess about the live
model: if the stable or a deployed model has lost its weights, this is only reported, and a person decides.
"""

import json
import os
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from scheduler_service.errors import ServiceError
from scheduler_service.files import move, write_json
from scheduler_service.registry.history import Event
from scheduler_service.registry.index import Index
from scheduler_service.registry.moves import commit_deletion
from scheduler_service.registry.names import STABLE, parse_versioned
from scheduler_service.registry.records import ModelRecord
from scheduler_service.registry.store import INCOMING_MAX_AGE_S, Store
from scheduler_service.registry.weights import sha256_of
from scheduler_service.words import WORDS, Message

Kind = Literal[
    "leftover",  # a temporary file, or a copy that was never registered
    "unfinished",  # a committed change that is not in all files yet
    "orphan",  # a file that belongs to no model
    "missing",  # a model without its weights or its configuration
    "damaged",  # weights with another SHA-256, unreadable metadata, a configuration that is not the model's
    "history",  # the history does not end with the current state
    "tag",  # a tag without a model, or `stable` on a model that is not deployed
]


@dataclass(frozen=True, slots=True)
class Problem:
    """An inconsistency; its texts are those of the catalogue's section `fsck`."""

    kind: Kind
    subject: str  # a model key, tag or file
    code: str
    remedy_code: str  # what mending does, or what a person has to do (`is_mendable` is false)
    params: Mapping[str, object] = field(default_factory=dict)
    is_mendable: bool = True

    @property
    def message(self) -> str:
        return WORDS.text(f"fsck.{self.code}", self.params)

    @property
    def remedy(self) -> str:
        return WORDS.text(f"fsck.{self.remedy_code}", self.params)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self) | {"message": self.message, "remedy": self.remedy}


RepairableProblem = tuple[Problem, Callable[[], None]]


def fsck(store: Store, *, mend: bool = False) -> list[Problem]:
    """The problems, in a fixed order; with `mend`, those found before the repairs that it makes.

    Other writers are locked out meanwhile, so hashing many large models delays them.

    Raises:
        StorageUnavailable: the registry is locked too long or cannot be read, or its tags are not JSON.
    """
    with store.excluding_writers():
        findings = list(_unfinished(store))
        if not findings or mend:
            for _, repair in findings:
                repair()
            for check in (_leftovers, _metadata, _orphans, _models, _tags, _history):
                index = store.index_under_lock()
                found = list(check(store, index))
                findings += found
                if mend:
                    for problem, repair in found:
                        if problem.is_mendable:
                            repair()
    return [problem for problem, _ in findings]


def _unfinished(store: Store) -> Iterator[RepairableProblem]:
    if store.has_pending:
        yield Problem("unfinished", ".pending.json", "unfinished", "finish"), store.finish_pending


def _leftovers(store: Store, _index: Index) -> Iterator[RepairableProblem]:
    files = [file for folder in (store.base, store.metadata_dir, store.configs_dir) for file in folder.glob(".*.tmp")]
    files += [file for file in store.incoming_dir.iterdir() if _age_s(file) > INCOMING_MAX_AGE_S]
    for file in sorted(files):
        yield Problem("leftover", file.name, "leftover", "remove", {"file": str(file)}), file.unlink


def _metadata(store: Store, index: Index) -> Iterator[RepairableProblem]:
    for file in sorted(store.metadata_dir.glob("[!.]*.json")):
        if file.stem not in index.records:
            params = {"file": str(file)}
            yield Problem("damaged", file.stem, "unreadable", "restore_metadata", params, is_mendable=False), _no_repair


def _orphans(store: Store, _index: Index) -> Iterator[RepairableProblem]:
    known = {file.stem for file in store.metadata_dir.glob("[!.]*.json")}
    for folder, pattern in ((store.weights_dir, "*.pth"), (store.configs_dir, "[!.]*.json")):
        for file in sorted(folder.glob(pattern)):
            if file.stem not in known:
                yield Problem("orphan", file.stem, "orphan", "to_trash", {"file": str(file)}), _trash(store, file)


def _models(store: Store, index: Index) -> Iterator[RepairableProblem]:
    for record in index.newest_first:
        yield from _weights(store, record)
        config_file = store.configs_dir / f"{record.model_key}.json"
        try:
            is_right = json.loads(config_file.read_bytes()) == record.training_params
        except FileNotFoundError:
            kind, code = "missing", "file_missing"
        except ValueError:
            kind, code = "damaged", "not_json"
        else:
            if is_right:
                continue
            kind, code = "damaged", "other_configuration"
        params = {"file": str(config_file), "model": record.model_key}
        yield (
            Problem(kind, record.model_key, code, "write_again", params),  # type: ignore[arg-type]
            lambda file=config_file, params=record.training_params: write_json(file, params),  # type: ignore[misc]
        )


def _weights(store: Store, record: ModelRecord) -> Iterator[RepairableProblem]:
    file = store.weights_file(record.model_key)
    params: dict[str, object] = {"file": str(file), "status": record.status, "expected": record.sha256}
    try:
        digest = sha256_of(file)
    except OSError as err:
        kind, code, params = "missing", "weights_unreadable", {**params, "reason": err.strerror}
    else:
        if digest == record.sha256:
            return
        kind, code, params = "damaged", "weights_differ", {**params, "found": digest}
    copy = store.trash_dir / file.name
    if copy.is_file() and sha256_of(copy) == record.sha256:
        remedy, repair, is_mendable = "bring_back", lambda: move(copy, file), True
    elif record.status == "deployed" or STABLE in record.tags:
        remedy, repair, is_mendable = "restore_weights", _no_repair, False
    else:
        remedy, is_mendable = "delete_model", True

        def repair() -> None:
            # Earlier repairs may have changed the registry.
            fresh = store.index_under_lock()
            commit_deletion(store, fresh, fresh.records[record.model_key], "fsck", reason)

    reason = ServiceError("found_by_fsck", problem=Message(f"fsck.{code}", params))
    problem = Problem(kind, record.model_key, code, remedy, params, is_mendable)  # type: ignore[arg-type]
    yield problem, repair


def _tags(store: Store, index: Index) -> Iterator[RepairableProblem]:
    for tag, key in sorted(store.stored_tags().items()):
        if key not in index.records:
            yield (
                Problem("tag", tag, "tag_of_none", "remove_tag", {"tag": tag, "model": key}),
                lambda tag=tag, key=key: store.commit(  # type: ignore[misc]
                    store.index_under_lock(),
                    "untagged",
                    key,
                    tags={tag: None},
                    actor="fsck",
                    reason=ServiceError("fsck_no_model"),
                ),
            )
        elif tag.endswith(f":{STABLE}") and index.records[key].status != "deployed":
            params = {"tag": tag, "model": key, "status": index.records[key].status}
            yield Problem("tag", tag, "tag_not_deployed", "deploy", params, is_mendable=False), _no_repair


def _history(store: Store, index: Index) -> Iterator[RepairableProblem]:
    unreadable = store.history.unreadable_lines()
    if unreadable:
        name, params = store.history.path.name, {"n": unreadable}
        yield Problem("history", name, "lines_unreadable", "restore_lines", params, is_mendable=False), _no_repair
    status, tags = _end_state(store.history.lines())
    differing = {
        key: (status.get(key), index.records[key].status if key in index.records else None)
        for key in status.keys() | index.records.keys()
    }
    hidden = {file.stem for file in store.metadata_dir.glob("[!.]*.json")} - index.records.keys()
    for key, (recorded, found) in sorted(differing.items()):
        if recorded != found and key not in hidden:
            yield (
                Problem(
                    "history", key, "history_differs", "add_line", {"told": recorded or "-", "found": found or "-"}
                ),
                lambda key=key: _record_status(store, key),  # type: ignore[misc]
            )
    for tag in sorted(tags.keys() | index.tags.keys()):
        if tags.get(tag) != index.tags.get(tag):
            ends = {"told": tags.get(tag, "-"), "found": index.tags.get(tag, "-")}
            yield (
                Problem("history", tag, "tags_differ", "add_line", ends),
                lambda tag=tag: _record_tag(store, tag),  # type: ignore[misc]
            )


def _end_state(events: list[Event]) -> tuple[dict[str, str], dict[str, str]]:
    """Status of each model and target of each tag according to the history."""
    status: dict[str, str | None] = {}
    tags: dict[str, str | None] = {}
    for event in events:
        status.update(event.after.status)
        tags.update(event.after.tags)
    return (
        {key: value for key, value in status.items() if value},
        {tag: key for tag, key in tags.items() if key},
    )


def _record_status(store: Store, key: str) -> None:
    index = store.index_under_lock()
    reason = ServiceError("fsck_files_differ")
    store.commit(index, "mended", key, records={key: index.records.get(key)}, actor="fsck", reason=reason)


def _record_tag(store: Store, tag: str) -> None:
    index = store.index_under_lock()
    key = index.tags.get(tag)
    reason = ServiceError("fsck_tags_differ")
    store.commit(index, "mended", key or tag, tags={tag: key}, actor="fsck", reason=reason)


def _trash(store: Store, file: Path) -> Callable[[], None]:
    def repair() -> None:
        os.utime(file)  # the trash is emptied by file age, counted from now
        move(file, store.trash_dir / (file.name if parse_versioned(file.stem) else f"orphan-{file.name}"))

    return repair


def _age_s(file: Path) -> float:
    return time.time() - file.stat().st_mtime


def _no_repair() -> None:
    """For problems that a person has to repair."""
