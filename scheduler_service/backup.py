"""A copy of what cannot be made again: records, experiments, models, histories; taken while services run.

The copy is a folder laid out like `SCHED_HOME`, with `backup.json`: when it was made, size and SHA-256 of each file. It
appears under its name as a whole. The database is copied first and the registry last, so every run that a client was
told of before is in it, with the model that answered; what happens meanwhile may be in it or not.
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
from scheduler_service.telemetry.database import snapshot

MANIFEST = "backup.json"
FORMAT = 1
PREFIX, UNFINISHED = "scheduler-", ".unfinished-"
LOCK_TIMEOUT_S = 10.0
DATABASE = "logs/performance.db"
# The configuration first: what is archived meanwhile is then in both, and settled after a restore.
EXPERIMENTS = ("ab_test_config.json", "logs/experiments.jsonl", "logs/experiments_archive.jsonl")
# In the same order: a change is in the file before it is in the history.
THRESHOLDS = ("alert_thresholds.json", "logs/alert_thresholds.jsonl")
# The last one is a change that the registry's files do not all show yet; to readers it is made.
REGISTRY = ("models/tags.json", "models/history.jsonl", "models/.pending.json")


@dataclass(frozen=True, slots=True)
class Backup:
    """A folder that holds one."""

    path: Path
    manifest: Mapping[str, Any]

    @property
    def size_bytes(self) -> int:
        return sum(int(entry["bytes"]) for entry in self.manifest["files"].values())


def back_up(settings: Settings, folder: Path, *, keep: int | None = None, clock: Clock = utc_now) -> Backup:
    """Puts a copy of the home's files into a new folder `scheduler-<time in UTC>` below `folder`.

    Args:
        keep: so many of the newest copies stay in `folder`; the older ones are removed once the new one is there.

    Raises:
        NotFound: the home holds no records.
        DatabaseDamaged: the database is; nothing is kept of the copy.
        StorageUnavailable: no room, no permission, another backup at work there, or the registry is locked.
    """
    if not settings.database_file.is_file():
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
                files = _copy_home(settings, staging)
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
                    move(old, dead := folder / f"{UNFINISHED}{old.name}")  # never half of one under its name
                    shutil.rmtree(dead)
    return Backup(target, manifest)


def backups(folder: Path) -> list[Path]:
    """The copies in `folder`, oldest first."""
    return sorted(found.parent for found in folder.glob(f"{PREFIX}*/{MANIFEST}"))


def restore(backup: Path, settings: Settings) -> Backup:
    """Puts the files of a copy into a home that has none of them; each is checked on its way.

    Raises:
        NotFound, InvalidInput: `backup` holds none, or not what its `backup.json` says.
        Conflict: the home has records or models of its own, which are not touched.
        StorageUnavailable: no room, or no permission.
    """
    found = read(backup)
    taken = [name for name in _belongings(settings.home) if (settings.home / name).exists()]
    if taken:
        raise Conflict("home_not_empty", home=str(settings.home), names=taken)
    with _storage_errors(settings.home):
        settings.home.mkdir(parents=True, exist_ok=True)
        for dead in settings.home.glob(f"{UNFINISHED}*"):
            if time.time() - dead.stat().st_mtime > LEFTOVER_S:
                shutil.rmtree(dead)
        _put_back(found, settings.home)
    return found


def _put_back(found: Backup, home: Path) -> None:
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


def read(backup: Path) -> Backup:
    """What `backup.json` says of the copy.

    Raises:
        NotFound: there is none.
        InvalidInput: it cannot be understood, or is of a newer program.
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


# --- what is copied ---


def _copy_home(settings: Settings, staging: Path) -> dict[str, dict[str, Any]]:
    """Name below the home -> size and digest."""
    copy = staging / DATABASE
    copy.parent.mkdir(parents=True)
    snapshot(settings.database_file, copy)
    _sync(copy)
    files = {DATABASE: _entry(copy)}

    def take(name: str) -> None:
        # A file that is replaced is read as it was or as it is; one that is gone meanwhile was not to be kept.
        if name not in files and (entry := _copy(settings.home / name, staging / name)) is not None:
            files[name] = entry

    for name in (*EXPERIMENTS, *THRESHOLDS):
        take(name)
    # Weights never change, and may be large: those that are there are copied before others have to wait.
    for name in _weights(settings.home):
        take(name)
    with locked(settings.models_dir / "tags.json", LOCK_TIMEOUT_S):
        for name in (*_weights(settings.home), *_of_registry(settings.home)):
            take(name)
    return files


def _weights(home: Path) -> list[str]:
    return _names(home, "models/models/*.pth")


def _of_registry(home: Path) -> list[str]:
    found = [*_names(home, "models/metadata/*.json"), *_names(home, "models/configs/*.json")]
    return found + [name for name in REGISTRY if (home / name).exists()]


def _names(home: Path, pattern: str) -> list[str]:
    return sorted(str(path.relative_to(home)) for path in home.glob(pattern) if not path.name.startswith("."))


def _belongings(home: Path) -> list[str]:
    """What a restored home must not have yet."""
    return [DATABASE, f"{DATABASE}-wal", *EXPERIMENTS, *_weights(home)[:1], *_of_registry(home)[:1]]


def _copy(source: Path, target: Path) -> dict[str, Any] | None:
    """Size and digest of what was copied; None, if there is nothing."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        with source.open("rb") as read_from, target.open("x+b") as written:
            shutil.copyfileobj(read_from, written)
            written.flush()
            if source.suffix == ".jsonl":  # appended to at any time: the copy ends with the last whole line
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
