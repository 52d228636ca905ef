"""Backup of the data that cannot be recreated: records, experiments, models, histories; works while services run.

A backup is a folder laid out like `SCHED_HOME`, with `backup.json`: its time, and size and SHA-256 of each file. It
appears under its name only when it is complete. The database is copied first and the registry last, so the backup has
every run that was answered before its start, with its model. Later changes may be included or not.
"""

import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scheduler_service.clock import Clock, to_iso, utc_now
from scheduler_service.errors import Conflict, InvalidInput, NotFound, StorageUnavailable
from scheduler_service.files import LEFTOVER_S, locked, move, write_json
from scheduler_service.jsonlines import end_of_last_line
from scheduler_service.settings import Settings
from scheduler_service.store.folder import FolderStore
from scheduler_service.telemetry.engines.sqlite import snapshot

MANIFEST = "backup.json"
FORMAT = 1
PREFIX, UNFINISHED = "scheduler-", ".unfinished-"
LOCK_TIMEOUT_S = 10.0
DATABASE = "logs/performance.db"
DUMP = "database.dump"
"""The only file of a backup of a PostgreSQL database."""
EXPERIMENTS = ("ab_test_config.json", "logs/experiments.jsonl", "logs/experiments_archive.jsonl")
THRESHOLDS = ("alert_thresholds.json", "logs/alert_thresholds.jsonl")
REGISTRY = ("models/tags.json", "models/history.jsonl")


@dataclass(frozen=True, slots=True)
class Backup:
    """A backup folder."""

    path: Path
    manifest: Mapping[str, Any]

    @property
    def size_bytes(self) -> int:
        return sum(int(entry["bytes"]) for entry in self.manifest["files"].values())


def back_up(settings: Settings, folder: Path, *, keep: int | None = None, clock: Clock = utc_now) -> Backup:
    """Back up the home into a new folder `scheduler-<time in UTC>` below `folder`.

    Args:
        keep: number of newest backups to keep in `folder`; older ones are removed after the new one is complete.

    Raises:
        NotFound: the home has no records.
        DatabaseDamaged: the database is damaged; no backup is left behind.
        StorageUnavailable: no space, no permission, another backup is running there, or the registry is locked.
    """
    if isinstance(settings.records, Path) and not settings.database_file.is_file():
        raise NotFound("no_records", home=str(settings.home))
    moment = clock()
    target = folder / f"{PREFIX}{moment:%Y%m%dT%H%M%S}.{moment.microsecond // 1000:03}Z"
    with _storage_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        with locked(folder / "backup", LOCK_TIMEOUT_S):
            for dead in folder.glob(f"{UNFINISHED}*"):
                shutil.rmtree(dead)
            staging = Path(tempfile.mkdtemp(prefix=UNFINISHED, dir=folder))
            try:
                files = (
                    _copy_home(settings, staging) if isinstance(settings.records, Path) else _dump(settings, staging)
                )
                manifest = {"format": FORMAT, "made": to_iso(moment), "home": str(settings.home), "files": files}
                write_json(staging / MANIFEST, manifest)
                for inner in {path.parent for path in staging.rglob("*")}:
                    _sync(inner)
                move(staging, target)
            except BaseException:
                shutil.rmtree(staging, ignore_errors=True)
                raise
            if keep is not None:
                for old in backups(folder)[:-keep]:
                    move(
                        old, dead := folder / f"{UNFINISHED}{old.name}"
                    )  # a partly deleted backup must not have a valid name
                    shutil.rmtree(dead)
    return Backup(target, manifest)


def backups(folder: Path) -> list[Path]:
    """The backups in `folder`, oldest first."""
    return sorted(found.parent for found in folder.glob(f"{PREFIX}*/{MANIFEST}"))


def restore(backup: Path, settings: Settings) -> Backup:
    """Restore a backup into a home without data of its own; each file is verified.

    Raises:
        NotFound, InvalidInput: `backup` is not a backup, or does not match its `backup.json`.
        Conflict: the home has records or models of its own, which remain unchanged.
        StorageUnavailable: no space, or no permission.
    """
    found = read(backup)
    taken = [name for name in _own_files(settings.home) if (settings.home / name).exists()]
    if taken:
        raise Conflict("home_not_empty", home=str(settings.home), names=taken)
    with _storage_errors(settings.home):
        settings.home.mkdir(parents=True, exist_ok=True)
        if DUMP in found.manifest["files"]:
            _restore_dump(found, settings)
            return found
        for dead in settings.home.glob(f"{UNFINISHED}*"):
            if time.time() - dead.stat().st_mtime > LEFTOVER_S:
                shutil.rmtree(dead)
        _copy_back(found, settings.home)
    return found


def _copy_back(found: Backup, home: Path) -> None:
    staging = Path(tempfile.mkdtemp(prefix=UNFINISHED, dir=home))
    try:
        for name, entry in found.manifest["files"].items():
            if _copy(found.path / name, staging / name) != entry:
                raise InvalidInput("backup_damaged", file=str(found.path / name), manifest=MANIFEST)
        for name in found.manifest["files"]:
            target = home / name
            target.parent.mkdir(parents=True, exist_ok=True)
            move(staging / name, target)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _dump(settings: Settings, staging: Path) -> dict[str, dict[str, Any]]:
    from scheduler_service.postgresql.dump import dump

    if not isinstance(settings.records, Path):
        dump(settings.records, staging / DUMP)
    _sync(staging / DUMP)
    return {DUMP: _entry(staging / DUMP)}


def _restore_dump(found: Backup, settings: Settings) -> None:
    from scheduler_service.postgresql.dump import restore_dump

    if isinstance(settings.records, Path):
        raise InvalidInput("backup_of_database", folder=str(found.path))
    if _entry(found.path / DUMP) != found.manifest["files"][DUMP]:
        raise InvalidInput("backup_damaged", file=str(found.path / DUMP), manifest=MANIFEST)
    restore_dump(settings.records, found.path / DUMP)


def read(backup: Path) -> Backup:
    """The backup with its `backup.json`.

    Raises:
        NotFound: there is no `backup.json`.
        InvalidInput: it is invalid, or was written by a newer version.
    """
    try:
        manifest = json.loads((backup / MANIFEST).read_bytes())
        names = list(manifest["files"]) if manifest["format"] == FORMAT else None
    except OSError as err:
        raise NotFound("not_a_backup", folder=str(backup), manifest=MANIFEST) from err
    except (ValueError, KeyError, TypeError) as err:
        raise InvalidInput(
            "manifest_not_valid", file=str(backup / MANIFEST), reason=f"{type(err).__name__}: {err}"
        ) from err
    if names is None:
        raise InvalidInput("backup_format", folder=str(backup), found=str(manifest["format"])[:100], expected=FORMAT)
    if any(Path(name).is_absolute() or ".." in Path(name).parts for name in names):
        raise InvalidInput("manifest_outside", file=str(backup / MANIFEST))
    return Backup(backup, manifest)


# --- files ---


def _copy_home(settings: Settings, staging: Path) -> dict[str, dict[str, Any]]:
    """Name below the home -> size and digest."""
    copy = staging / DATABASE
    copy.parent.mkdir(parents=True)
    snapshot(settings.database_file, copy)
    _sync(copy)
    files = {DATABASE: _entry(copy)}

    def take(name: str) -> None:
        # Files are replaced atomically, so a copy is never mixed. A file deleted meanwhile is not needed.
        if name not in files and (entry := _copy(settings.home / name, staging / name)) is not None:
            files[name] = entry

    # Weights never change and may be large, so most are copied before the writers are locked out.
    for name in _weights(settings.home):
        take(name)
    with FolderStore(settings.home).changing():
        for name in (*EXPERIMENTS, *THRESHOLDS, *_weights(settings.home), *_registry_files(settings.home)):
            take(name)
    return files


def _weights(home: Path) -> list[str]:
    return _names(home, "models/models/*.pth")


def _registry_files(home: Path) -> list[str]:
    found = [*_names(home, "models/metadata/*.json"), *_names(home, "models/configs/*.json")]
    return found + [name for name in REGISTRY if (home / name).exists()]


def _names(home: Path, pattern: str) -> list[str]:
    return sorted(str(path.relative_to(home)) for path in home.glob(pattern) if not path.name.startswith("."))


def _own_files(home: Path) -> list[str]:
    """Files that a home must not have before a restore."""
    return [DATABASE, f"{DATABASE}-wal", *EXPERIMENTS, *_weights(home)[:1], *_registry_files(home)[:1]]


def _copy(source: Path, target: Path) -> dict[str, Any] | None:
    """Size and digest of the copy; None if there is no source."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        with source.open("rb") as read_from, target.open("x+b") as written:
            shutil.copyfileobj(read_from, written)
            written.flush()
            if source.suffix == ".jsonl":  # lines may be appended meanwhile: the copy ends with the last complete line
                os.ftruncate(written.fileno(), end_of_last_line(written.fileno()))
            os.fsync(written.fileno())
    except FileNotFoundError:
        return None
    return _entry(target)


def _entry(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {"bytes": path.stat().st_size, "sha256": digest}


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _storage_errors(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as err:
        raise StorageUnavailable("cannot_write", path=str(folder), reason=str(err)) from err
