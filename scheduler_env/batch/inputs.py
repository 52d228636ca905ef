"""Large inputs of batch work, by their SHA-256 in a folder of this process."""

import atexit
import fcntl
import hashlib
import os
import shutil
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

from scheduler_env.errors import BatchFailed

FOLDER = "SCHED_BATCH_INPUTS"
"""The environment variable by which a local worker gets the folder of the process that started it."""
PREFIX = "scheduler-batch-"
"""Of the folder's name, in the system's folder for temporary files."""
LOCKED_WITHIN_S = 60.0
"""A new folder is locked within this time."""
_declared: frozenset[str] = frozenset()


@cache
def folder() -> Path:
    """The folder of the inputs; this process's own one is removed when it ends."""
    if given := os.environ.get(FOLDER):
        return Path(given)
    own = Path(tempfile.mkdtemp(prefix=PREFIX))
    fcntl.flock(os.open(own, os.O_RDONLY), fcntl.LOCK_EX)  # until this process ends
    atexit.register(shutil.rmtree, own, ignore_errors=True)
    _remove_leftovers(own.parent)
    return own


def _remove_leftovers(place: Path) -> None:
    """Remove the folders of killed processes: nobody has locked them."""
    for old in place.glob(f"{PREFIX}*"):
        with suppress(OSError):  # it is locked, belongs to another user, or was removed meanwhile
            descriptor = os.open(old, os.O_RDONLY | os.O_NOFOLLOW)
            try:
                if time.time() - os.fstat(descriptor).st_mtime > LOCKED_WITHIN_S:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    shutil.rmtree(old, ignore_errors=True)
            finally:
                os.close(descriptor)


def keep(content: bytes) -> str:
    """Store an input; returns its SHA-256 as hex digits, by which workers read it."""
    digest = hashlib.sha256(content).hexdigest()
    path = folder() / digest
    if not path.exists():
        incoming = path.with_name(f"{digest}.{os.getpid()}")
        incoming.write_bytes(content)
        incoming.replace(path)
    return digest


def input_file(digest: str) -> Path:
    """The file of an input that was declared for the running chunk.

    Raises:
        BatchFailed: it was not declared, or its content was changed.
    """
    if digest not in _declared:
        raise BatchFailed("input_not_declared", digest=digest)
    path = folder() / digest
    if hashlib.sha256(path.read_bytes()).hexdigest() != digest:
        raise BatchFailed("input_changed", path=str(path))
    return path


def is_kept(digest: str) -> bool:
    """Whether this process can read the input from its folder."""
    return (folder() / digest).exists()


@contextmanager
def declared(digests: Iterable[str]) -> Iterator[None]:
    """Within the block, `input_file` gives these inputs."""
    global _declared
    before, _declared = _declared, frozenset(digests)
    try:
        yield
    finally:
        _declared = before
