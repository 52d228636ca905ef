"""Files shared by several processes: replaced atomically, and changed under a lock.

A reader sees the old bytes or the new ones, never a mixture, also after a crash or a power cut.
"""

import hashlib
import json
import os
import re
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from scheduler_service.errors import StorageUnavailable, cannot_write

LOCK_POLL_S = 0.005
LEFTOVER_S = 3_600.0
"""A temporary file that has been unchanged for longer has no writer."""

_TEMPORARY = re.compile(r"\.(?P<of>.+)\.[0-9a-f]{16}\.tmp(?:-wal|-shm|-journal)?")


def write_atomically(path: Path, data: bytes) -> None:
    """Replace the content of `path` by `data` and sync it to disk. Missing folders are created.

    Raises:
        StorageUnavailable: the disk is full, or the folder cannot be written; the old content remains.
    """
    temporary = temporary_beside(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(temporary, "xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        move(temporary, path)
    except OSError as err:
        raise cannot_write(path, err) from err
    finally:
        with suppress(OSError):  # usually it no longer exists
            temporary.unlink()


def write_json(path: Path, value: object) -> None:
    """Replace the content of `path` by `value` as readable JSON; as `write_atomically`.

    Raises:
        ValueError: `value` contains NaN or infinity.
        TypeError: `value` contains a type that JSON does not have.
        StorageUnavailable: as `write_atomically`.
    """
    write_atomically(path, json_text(value).encode())


def json_text(value: object) -> str:
    """`value` as readable JSON; raises ValueError and TypeError as `write_json`."""
    return f"{json.dumps(value, ensure_ascii=False, indent=2, allow_nan=False)}\n"


@contextmanager
def locked(path: Path, timeout_s: float = 10.0) -> Iterator[None]:
    """An exclusive lock for `path`, within this process and between processes; not re-entrant.

    The lock is the file `.<name>.lock` next to `path`; it is released when its process ends.

    Raises:
        StorageUnavailable: it was held for `timeout_s` seconds, or the folder cannot be written.
    """
    lock_path = path.with_name(f".{path.name}.lock")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # A new FileLock each time, so that threads and greenlets of this process also exclude each other; any thread
        # may release it.
        lock = FileLock(lock_path, timeout=timeout_s, poll_interval=LOCK_POLL_S, thread_local=False)
        lock.acquire()
    except Timeout as err:
        raise StorageUnavailable("locked_by_others", path=str(path), waited=timeout_s) from err
    except OSError as err:
        raise StorageUnavailable("cannot_lock", path=str(path), reason=err.strerror or str(err)) from err
    try:
        yield
    finally:
        lock.release()


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def temporary_beside(path: Path) -> Path:
    """A temporary name in the folder of `path`: `os.replace` is atomic only within one file system."""
    return path.with_name(f".{path.name}.{secrets.token_hex(8)}.tmp")


def remove_leftovers(folder: Path, *, of: str | None = None, unchanged_for_s: float = LEFTOVER_S) -> None:
    """Remove temporary files of killed processes from `folder`; errors are ignored.

    Args:
        of: only temporary files of the file with this name.
        unchanged_for_s: minimum age; 0 only under the lock of all writers of that file.
    """
    with suppress(OSError):
        for path in folder.iterdir():
            found = _TEMPORARY.fullmatch(path.name)
            if found is not None and of in (None, found["of"]):
                with suppress(OSError):  # removed by another process
                    if time.time() - path.stat().st_mtime >= unchanged_for_s:
                        path.unlink()


def remove_old(folder: Path, older_than_s: float) -> None:
    """Delete the files of a folder that have not changed for that long, by the system clock, which also sets the times.

    Raises:
        OSError: the folder cannot be read or written.
    """
    for path in folder.iterdir():
        with suppress(FileNotFoundError):  # removed by another process
            if time.time() - path.stat().st_mtime > older_than_s:
                path.unlink()


def move(source: Path, target: Path) -> None:
    """Rename `source` to `target` within one file system, replacing it, and sync the folder to disk.

    Raises:
        OSError: as `os.replace`.
    """
    os.replace(source, target)
    # Without this, a power failure may undo the rename, although the file's bytes are on disk.
    folder = os.open(target.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
