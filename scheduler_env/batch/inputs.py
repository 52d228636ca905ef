"""Large inputs of batch work, by their SHA-256 in a folder of this process."""

import atexit
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from scheduler_env.errors import BatchFailed

FOLDER = "SCHED_BATCH_INPUTS"
"""The environment variable by which a local worker gets the folder of the process that started it."""
_declared: frozenset[str] = frozenset()


@cache
def folder() -> Path:
    """The folder of the inputs; this process's own one is removed when it ends."""
    if given := os.environ.get(FOLDER):
        return Path(given)
    own = Path(tempfile.mkdtemp(prefix="scheduler-batch-"))
    atexit.register(shutil.rmtree, own, ignore_errors=True)
    return own


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
