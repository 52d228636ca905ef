"""Compilation of the kernel with numba, and an on-disk cache that never serves stale machine code.

numba detects a change in the file of a cached function, but not in other files that the function calls into
(https://numba.readthedocs.io/en/stable/developer/caching.html). Therefore the name of the cache folder contains a
digest of all compiled sources of this package.
"""

import fcntl
import hashlib
import os
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar, cast

import numba
import numpy as np

LOCK = "compiling.lock"
"""In the cache folder: locked by a process that compiles everything."""
F = TypeVar("F", bound=Callable[..., Any])

COMPILED_SOURCES = (
    "compilation.py",
    "levels.py",
    "kernel.py",
    "moldable.py",
    "decomposition.py",
    "bounds.py",
    "serial.py",
    "observation.py",
    "random_numbers.py",
    "policy.py",
    "rules.py",
    "annealing.py",
    "tardiness.py",
    "alternating.py",
    "improvement.py",
    "genetic.py",
    "stability.py",
    "replay_buffer.py",
    "agent.py",
)


def source_digest() -> str:
    """12 hex digits that identify this version of the compiled sources."""
    package = Path(__file__).parent
    return hashlib.sha256(b"".join((package / name).read_bytes() for name in COMPILED_SOURCES)).hexdigest()[:12]


def _cache_folder() -> Path:
    """The cache folder of this version: beside the sources, or a folder of the user if the sources are read-only.

    If read-only sources (in an image, or installed by another user) come with a compiled cache, that cache is copied:
    numba only uses a cache folder that it can write to, and the shipped code may be for another processor.
    """
    package = Path(__file__).parent
    shipped = package / "__pycache__" / f"numba-{source_digest()}"
    nearest = next(folder for folder in (shipped, *shipped.parents) if folder.exists())
    if os.access(nearest, os.W_OK):
        return shipped
    own = _folder_of_user() / shipped.name
    if shipped.exists() and not own.exists():
        copy = Path(tempfile.mkdtemp(dir=own.parent))
        shutil.copytree(shipped, copy, dirs_exist_ok=True)
        try:
            copy.rename(own)
        except OSError:  # another process has created it meanwhile
            shutil.rmtree(copy)
    return own


def _folder_of_user() -> Path:
    """A folder in the temporary directory that only this user can write to.

    The machine code in it is executed, so a folder that another user made or may write to is not used.
    """
    folder = Path(tempfile.gettempdir()) / f"scheduler_env-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    is_ours = stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not found.st_mode & 0o022
    return folder if is_ours else Path(tempfile.mkdtemp(prefix=f"{folder.name}-"))


if "NUMBA_CACHE_DIR" not in os.environ:
    numba.config.CACHE_DIR = str(_cache_folder())  # type: ignore[attr-defined]


@contextmanager
def compiling() -> Iterator[None]:
    """Only one process at a time compiles everything; `is_compiling` tells the others."""
    folder = Path(numba.config.CACHE_DIR)  # type: ignore[attr-defined]
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / LOCK).open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def is_compiling() -> bool:
    """Whether a process compiles everything now, so that who waits need not compile the same."""
    try:
        with (Path(numba.config.CACHE_DIR) / LOCK).open() as file:  # type: ignore[attr-defined]
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        pass  # nobody has ever compiled everything here
    return False


def whole(number: int) -> int:
    """A constant for compiled code that is typed as any integer: numba compiles a callee again for a plain constant."""
    return cast(int, np.int64(number))


def compiled(function: F) -> F:
    """`function` compiled without Python objects, releasing the GIL, cached on disk."""
    return cast(F, numba.njit(cache=True, nogil=True, error_model="numpy")(function))


def compiled_fast(function: F) -> F:
    """As `compiled`, but sums may be reordered for vectorisation; only for the network, where no infinity occurs."""
    return cast(F, numba.njit(cache=True, nogil=True, error_model="numpy", fastmath=True)(function))
