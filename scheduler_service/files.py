"""Files that several processes read and write: replaced as a whole, and changed under a lock.

A reader sees the old bytes or the new ones, never a mixture, also after a crash or a power cut.
"""

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
"""A temporary file that has not changed for so long has no writer any more."""

_TEMPORARY = re.compile(r"\.(?P<of>.+)\.[0-9a-f]{16}\.tmp(?:-wal|-shm|-journal)?")


def write_atomically(path: Path, data: bytes) -> None:
    """Replaces the content of `path` by `data`; on disk when this returns. Missing folders are created.

    Raises:
        StorageUnavailable: the disk is full, or the folder cannot be written; the old content stays.
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
        with suppress(OSError):  # usually there is nothing left to remove
            temporary.unlink()


def write_json(path: Path, value: object) -> None:
    """Replaces the content of `path` by `value` as JSON that people can read; as `write_atomically`.

    Raises:
        ValueError: `value` holds a number that JSON lacks (NaN, infinity).
        TypeError: `value` holds something that JSON lacks.
        StorageUnavailable: as `write_atomically`.
    """
    write_atomically(path, json_text(value).encode())


def json_text(value: object) -> str:
    """`value` as JSON that people can read; raises ValueError and TypeError as `write_json`."""
    return f"{json.dumps(value, ensure_ascii=False, indent=2, allow_nan=False)}\n"


@contextmanager
def locked(path: Path, timeout_s: float = 10.0) -> Iterator[None]:
    """Keeps every other holder of the same `path` out, in this process and in others; not re-entrant.

    The lock is the file `.<name>.lock` beside `path`, and goes with the process that held it.

    Raises:
        StorageUnavailable: others held it for `timeout_s` seconds, or the folder cannot be written.
    """
    lock_path = path.with_name(f".{path.name}.lock")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # A new FileLock each time: two threads (or greenlets) of this process must exclude each other, too.
        lock = FileLock(lock_path, timeout=timeout_s, poll_interval=LOCK_POLL_S)
        lock.acquire()
    except Timeout as err:
        raise StorageUnavailable("locked_by_others", path=str(path), waited=timeout_s) from err
    except OSError as err:
        raise StorageUnavailable("cannot_lock", path=str(path), reason=err.strerror or str(err)) from err
    try:
        yield
    finally:
        lock.release()


def temporary_beside(path: Path) -> Path:
    """A new name in the folder of `path`: `os.replace` is atomic only within one file system."""
    return path.with_name(f".{path.name}.{secrets.token_hex(8)}.tmp")


def remove_leftovers(folder: Path, *, of: str | None = None, unchanged_for_s: float = LEFTOVER_S) -> None:
    """Removes the temporary files that killed processes left in `folder`; what cannot be removed stays.

    Args:
        of: only those of the file of this name.
        unchanged_for_s: 0 only under a lock that every writer of that file holds.
    """
    with suppress(OSError):
        for path in folder.iterdir():
            found = _TEMPORARY.fullmatch(path.name)
            if found is not None and of in (None, found["of"]):
                with suppress(OSError):  # another process may be quicker
                    if time.time() - path.stat().st_mtime >= unchanged_for_s:
                        path.unlink()


def move(source: Path, target: Path) -> None:
    """Renames `source` to `target` within one file system, replacing it; on disk when this returns.

    Raises:
        OSError: as `os.replace`.
    """
    os.replace(source, target)
    # Without this a power cut may undo the rename, although the file's bytes are safe.
    folder = os.open(target.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
