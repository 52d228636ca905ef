"""Consistency check and repair of the registry.

The check does not sweep or finish anything first, so it shows leftovers of crashes. Repairs never guess about the live
model: if the stable or a deployed model has lost its weights, this is only reported, and a person decides.
"""

import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal

from scheduler_service.errors import ServiceError
from scheduler_service.files import json_text
from scheduler_service.registry.history import Event
from scheduler_service.registry.moves import commit_deletion
from scheduler_service.registry.names import STABLE, parse_versioned
from scheduler_service.registry.records import ModelRecord
from scheduler_service.registry.store import INCOMING_MAX_AGE_S, RegistryChange, RegistryStore, key_in
from scheduler_service.registry.weights import sha256_of
from scheduler_service.store.folder import PENDING, FolderStore
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


def fsck(store: RegistryStore, *, mend: bool = False) -> list[Problem]:
    """The problems, in a fixed order; with `mend`, those found before the repairs that it makes.

    Other writers are locked out meanwhile, so hashing many large models delays them. All repairs of the registry are
    one change.

    Raises:
        StorageUnavailable: the registry is locked too long or cannot be read, or its tags are not JSON.
    """
    folder = store.store if isinstance(store.store, FolderStore) else None
    findings = []
    if folder is not None and folder.has_unfinished():
        findings.append(Problem("unfinished", PENDING, "unfinished", "finish"))
        if not mend:
            return findings
    with store.store.changing() as whole:  # this finishes it
        for check in (_leftovers, _metadata, _orphans, _models, _tags, _history):
            for problem, repair in list(check(store.begin(whole))):
                findings.append(problem)
                if mend and problem.is_mendable:
                    repair()
    return findings


def _leftovers(change: RegistryChange) -> Iterator[RepairableProblem]:
    registry = change.registry
    files = [file for file in registry.incoming.iterdir() if _age_s(file) > INCOMING_MAX_AGE_S]
    if isinstance(registry.store, FolderStore):
        folders = [registry.store.home / each for each in (registry.name, registry.metadata, registry.configs)]
        files += [file for folder in folders for file in folder.glob(".*.tmp")]
    for file in sorted(files):
        yield Problem("leftover", file.name, "leftover", "remove", {"file": str(file)}), file.unlink


def _metadata(change: RegistryChange) -> Iterator[RepairableProblem]:
    for name in sorted(change.change.documents(change.registry.metadata)):
        if key_in(name) not in change.index.records:
            params = {"file": change.registry.store.shown(name)}
            problem = Problem("damaged", key_in(name), "unreadable", "restore_metadata", params, is_mendable=False)
            yield problem, _no_repair


def _orphans(change: RegistryChange) -> Iterator[RepairableProblem]:
    registry, store = change.registry, change.registry.store
    known = {key_in(name) for name in change.change.documents(registry.metadata)}
    configs = sorted(change.change.documents(registry.configs))
    for name in [*(each for each in store.file_names(registry.weights) if each.endswith(".pth")), *configs]:
        if key_in(name) not in known and name not in change.change.moves:
            problem = Problem("orphan", key_in(name), "orphan", "to_trash", {"file": store.shown(name)})
            bare = name.rpartition("/")[2]
            target = f"{registry.trash}/{bare if parse_versioned(key_in(name)) else f'orphan-{bare}'}"
            yield problem, partial(change.change.move, name, target)


def _models(change: RegistryChange) -> Iterator[RepairableProblem]:
    registry = change.registry
    for record in change.index.newest_first:
        yield from _weights(change, record)
        name = f"{registry.configs}/{record.model_key}.json"
        content = change.change.read(name).content
        try:
            if content is None:
                kind, code = "missing", "file_missing"
            elif json.loads(content) == record.training_params:
                continue
            else:
                kind, code = "damaged", "other_configuration"
        except ValueError:
            kind, code = "damaged", "not_json"
        params = {"file": registry.store.shown(name), "model": record.model_key}
        yield (
            Problem(kind, record.model_key, code, "write_again", params),  # type: ignore[arg-type]
            partial(change.change.put, name, json_text(record.training_params).encode()),
        )


def _weights(change: RegistryChange, record: ModelRecord) -> Iterator[RepairableProblem]:
    registry = change.registry
    name, shown = registry.weights_name(record.model_key), registry.store.shown(registry.weights_name(record.model_key))
    params: dict[str, object] = {"file": shown, "status": record.status, "expected": record.sha256}
    try:
        digest = sha256_of(registry.store.file(name))
    except OSError as err:
        kind, code, params = "missing", "weights_unreadable", {**params, "reason": err.strerror}
    else:
        if digest == record.sha256:
            return
        kind, code, params = "damaged", "weights_differ", {**params, "found": digest}
    copy = registry.store.home / registry.trash / f"{record.model_key}.pth"
    repair: Callable[[], None]
    if copy.is_file() and sha256_of(copy) == record.sha256:
        remedy, repair, is_mendable = "bring_back", partial(change.change.add_file, name, copy), True
    elif record.status == "deployed" or STABLE in record.tags:
        remedy, repair, is_mendable = "restore_weights", _no_repair, False
    else:
        remedy, is_mendable = "delete_model", True

        def repair() -> None:
            commit_deletion(change, change.index.records[record.model_key], "fsck", reason)

    reason = ServiceError("found_by_fsck", problem=Message(f"fsck.{code}", params))
    problem = Problem(kind, record.model_key, code, remedy, params, is_mendable)  # type: ignore[arg-type]
    yield problem, repair


def _tags(change: RegistryChange) -> Iterator[RepairableProblem]:
    for tag, key in sorted(change.registry.stored_tags(change.change).items()):
        if key not in change.index.records:
            yield (
                Problem("tag", tag, "tag_of_none", "remove_tag", {"tag": tag, "model": key}),
                partial(
                    change.commit,
                    "untagged",
                    key,
                    tags={tag: None},
                    actor="fsck",
                    reason=ServiceError("fsck_no_model"),
                ),
            )
        elif tag.endswith(f":{STABLE}") and change.index.records[key].status != "deployed":
            params = {"tag": tag, "model": key, "status": change.index.records[key].status}
            yield Problem("tag", tag, "tag_not_deployed", "deploy", params, is_mendable=False), _no_repair


def _history(change: RegistryChange) -> Iterator[RepairableProblem]:
    registry, index = change.registry, change.index
    unreadable = registry.history.unreadable_lines()
    if unreadable:
        params = {"n": unreadable}
        problem = Problem("history", "history.jsonl", "lines_unreadable", "restore_lines", params, is_mendable=False)
        yield problem, _no_repair
    status, tags = _end_state(registry.history_within(change.change))
    differing = {
        key: (status.get(key), index.records[key].status if key in index.records else None)
        for key in status.keys() | index.records.keys()
    }
    hidden = {key_in(name) for name in change.change.documents(registry.metadata)} - index.records.keys()
    for key, (recorded, found) in sorted(differing.items()):
        if recorded != found and key not in hidden:
            ends = {"told": recorded or "-", "found": found or "-"}
            yield Problem("history", key, "history_differs", "add_line", ends), partial(_record_status, change, key)
    for tag in sorted(tags.keys() | index.tags.keys()):
        if tags.get(tag) != index.tags.get(tag):
            ends = {"told": tags.get(tag, "-"), "found": index.tags.get(tag, "-")}
            yield Problem("history", tag, "tags_differ", "add_line", ends), partial(_record_tag, change, tag)


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


def _record_status(change: RegistryChange, key: str) -> None:
    reason = ServiceError("fsck_files_differ")
    change.commit("mended", key, records={key: change.index.records.get(key)}, actor="fsck", reason=reason)


def _record_tag(change: RegistryChange, tag: str) -> None:
    key = change.index.tags.get(tag)
    reason = ServiceError("fsck_tags_differ")
    change.commit("mended", key or tag, tags={tag: key}, actor="fsck", reason=reason)


def _age_s(file: Path) -> float:
    return time.time() - file.stat().st_mtime


def _no_repair() -> None:
    """For problems that a person has to repair."""
