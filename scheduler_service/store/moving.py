"""Copy everything from one store to another one, and prove that it is the same."""

import hashlib
import shutil
from collections.abc import Iterator
from pathlib import Path

from scheduler_service.command_line import Progress
from scheduler_service.errors import Conflict, StorageUnavailable
from scheduler_service.store.change import Store
from scheduler_service.store.folder import FolderStore

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

    The source stays as it is; models in the trash are not copied. If the target has the same content already, nothing
    is copied: so a move that was interrupted in another part can be repeated.

    Raises:
        Conflict: the target has other models or experiments, or the source was changed meanwhile.
        StorageUnavailable: a store cannot be used, or the copy differs.
    """
    names, files = document_names(source), source.file_names(FILES)
    before = source.stamp(*DOCUMENTS, *FOLDERS, *LOGS)
    total, done = len(names) + len(files), 0
    wanted = digest(source)
    if any(target.log(name, dict).lines() for name in USED):
        if digest(target) != wanted:
            raise Conflict("move_target_used", database=target.shown())
        return total, wanted
    with target.changing() as change:
        for name in names:
            if (content := source.read(name).content) is not None:
                change.put(name, content)
            done += 1
            if progress is not None:
                progress(done, total)
        for name in files:
            change.add_file(name, _copied(source.file(name), name, target))
            done += 1
            if progress is not None:
                progress(done, total)
        for log in LOGS:
            for line in source.log(log, dict).lines():
                change.append(log, line)
        if source.stamp(*DOCUMENTS, *FOLDERS, *LOGS) != before:
            raise Conflict("move_source_used", database=source.shown())
    if digest(target) != wanted:
        raise StorageUnavailable("move_differs", table="store", rows=total)
    return total, wanted


def _copied(file: Path, name: str, target: Store) -> Path:
    """A file that the target may take; a folder moves it, and a database reads it only."""
    if not isinstance(target, FolderStore):
        return file
    copy = target.scratch("models/.incoming") / name.rpartition("/")[2]
    shutil.copyfile(file, copy)
    return copy


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
    for name, sha256 in sorted(store.digests(FILES).items()):
        yield f"{name} {sha256}".encode()
    for log in LOGS:
        yield log.encode()
        yield from (repr(line).encode() for line in store.log(log, dict).lines())


def _documents(store: Store, folder: str) -> list[str]:
    try:
        return list(store.documents(folder))
    except FileNotFoundError:  # a home without models
        return []
