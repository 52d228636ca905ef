"""Copy everything from one store to another one, and prove that it is the same."""

import hashlib
import shutil
from collections.abc import Iterator

from scheduler_service.command_line import Progress
from scheduler_service.errors import Conflict, StorageUnavailable
from scheduler_service.store.change import Store

DOCUMENTS = ("ab_test_config.json", "alert_thresholds.json", "models/tags.json")
FOLDERS = ("models/metadata", "models/configs")
LOGS = (
    "models/history.jsonl",
    "logs/experiments.jsonl",
    "logs/experiments_archive.jsonl",
    "logs/alert_thresholds.jsonl",
)
FILES = "models/models"
USED = ("models/history.jsonl", "logs/experiments.jsonl")
"""Logs that a store in use has."""


def move_store(source: Store, target: Store, progress: Progress | None = None) -> tuple[int, str]:
    """Copy all documents, logs and files into the empty `target`, as one change; returns (number of parts, digest).

    The source stays as it is; models in the trash are not copied.

    Raises:
        Conflict: the target has models or experiments, or the source was changed meanwhile.
        StorageUnavailable: a store cannot be used, or the copy differs.
    """
    if any(target.log(name, dict).lines() for name in USED):
        raise Conflict("move_target_used", database=target.shown())
    names, files = document_names(source), source.file_names(FILES)
    before = source.stamp(*DOCUMENTS, *FOLDERS, *LOGS)
    total, done = len(names) + len(files), 0
    with target.changing() as change:
        for name in names:
            if (content := source.read(name).content) is not None:
                change.put(name, content)
            done += 1
            if progress is not None:
                progress(done, total)
        for name in files:
            copy = target.scratch("models/.incoming") / name.rpartition("/")[2]
            shutil.copyfile(source.file(name), copy)
            change.add_file(name, copy)
            done += 1
            if progress is not None:
                progress(done, total)
        for log in LOGS:
            for line in source.log(log, dict).lines():
                change.append(log, line)
        if source.stamp(*DOCUMENTS, *FOLDERS, *LOGS) != before:
            raise Conflict("move_source_used", database=source.shown())
    found = digest(target)
    if found != digest(source):
        raise StorageUnavailable("move_differs", table="store", rows=total)
    return total, found


def document_names(store: Store) -> list[str]:
    """The names of all documents."""
    return [*DOCUMENTS, *(name for folder in FOLDERS for name in sorted(_documents(store, folder)))]


def digest(store: Store) -> str:
    """The SHA-256 of all documents, logs and files."""
    found = hashlib.sha256()
    for part in _parts(store):
        found.update(b"%d:" % len(part) + part)
    return found.hexdigest()


def _parts(store: Store) -> Iterator[bytes]:
    for name in document_names(store):
        yield name.encode()
        yield store.read(name).content or b""
    for name in store.file_names(FILES):
        yield name.encode()
        yield store.file(name).read_bytes()
    for log in LOGS:
        yield log.encode()
        yield from (repr(line).encode() for line in store.log(log, dict).lines())


def _documents(store: Store, folder: str) -> list[str]:
    try:
        return list(store.documents(folder))
    except FileNotFoundError:  # a home without models
        return []
