"""How the kernel is compiled: one decorator, and a cache on disk that never serves stale machine code.

numba notices a change in the file of a cached function, but not in the other files that the function calls into
(https://numba.readthedocs.io/en/stable/developer/caching.html). So the cache folder's name carries a digest of all
sources of this package that are compiled.
"""

import hashlib
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

import numba

F = TypeVar("F", bound=Callable[..., Any])

COMPILED_SOURCES = (
    "compilation.py",
    "kernel.py",
    "moldable.py",
    "bounds.py",
    "serial.py",
    "observation.py",
    "rollout.py",
    "rules.py",
    "improvement.py",
    "genetic.py",
    "replay.py",
    "environment.py",
    "agent.py",
)


def source_digest() -> str:
    """12 hex digits that name this version of the compiled sources."""
    package = Path(__file__).parent
    return hashlib.sha256(b"".join((package / name).read_bytes() for name in COMPILED_SOURCES)).hexdigest()[:12]


def _cache_folder() -> Path:
    """The folder for this version of the sources: beside them, or in the user's temporary folder if read-only."""
    package = Path(__file__).parent
    beside = package / "__pycache__"
    writable = os.access(beside if beside.exists() else package, os.W_OK)
    root = beside if writable else Path(tempfile.gettempdir()) / f"scheduler_env-{os.getuid()}"
    return root / f"numba-{source_digest()}"


if "NUMBA_CACHE_DIR" not in os.environ:
    numba.config.CACHE_DIR = str(_cache_folder())  # type: ignore[attr-defined]


def compiled(function: F) -> F:
    """`function` as machine code: no Python objects, no GIL, cached on disk."""
    return cast(F, numba.njit(cache=True, nogil=True, error_model="numpy")(function))


def compiled_fast(function: F) -> F:
    """As `compiled`, and sums may be re-ordered to vectorise: for the network only, where no infinity occurs."""
    return cast(F, numba.njit(cache=True, nogil=True, error_model="numpy", fastmath=True)(function))
