"""Machine code of the kernel, compiled once by one checkout and copied by a user's other checkouts of the same sources.

numba finds the code of a function by the content of its source file, its signature, the processor and numba's version.
Only the name of the folder depends on where the checkout is, so a copy of the folder under another name is valid.
"""

import os
import shutil
import stat
import tempfile
from contextlib import suppress
from pathlib import Path

import numba
from numba.core.caching import UserProvidedCacheLocator

from scheduler_env.compilation import source_digest

KEPT = 4
"""Versions of the sources whose code is kept, 30 MB each; the oldest are removed."""


def own_folder() -> Path:
    """Where numba keeps the machine code of this checkout."""
    subfolder = UserProvidedCacheLocator.get_suitable_cache_subpath(__file__)  # type: ignore[no-untyped-call]
    return Path(numba.config.CACHE_DIR, subfolder)  # type: ignore[attr-defined]


def shared_folder() -> Path:
    """The user's copy for this version of the sources.

    Raises:
        RuntimeError: the user has no home folder.
    """
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "scheduler_env", source_digest())


def take() -> None:
    """Copy what another checkout has compiled, unless this one has compiled already."""
    with suppress(OSError, RuntimeError):
        shared = shared_folder()
        if _is_only_ours(shared.parent) and _is_only_ours(shared) and not own_folder().exists():
            _copy(shared, own_folder())


def give() -> None:
    """Keep a copy for other checkouts; a user whose home cannot be written to has none."""
    with suppress(OSError, RuntimeError):
        shared = shared_folder()
        shared.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if _is_only_ours(shared.parent) and not shared.exists():
            _copy(own_folder(), shared)
            for oldest in sorted(shared.parent.iterdir(), key=lambda path: path.stat().st_mtime)[:-KEPT]:
                shutil.rmtree(oldest)


def _is_only_ours(folder: Path) -> bool:
    """Whether it is a folder of this user that no other can write to: the code in it is executed. A link is none."""
    try:
        status = folder.lstat()
    except FileNotFoundError:
        return False
    return stat.S_ISDIR(status.st_mode) and status.st_uid == os.getuid() and not status.st_mode & 0o022


def _copy(source: Path, target: Path) -> None:
    """The whole folder or nothing, whoever else copies at the same time.

    Only the user can write to the parent folder that is made here, because the machine code is executed.
    """
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    made = Path(tempfile.mkdtemp(dir=target.parent))
    try:
        shutil.copytree(source, made, dirs_exist_ok=True)
        made.rename(target)
    finally:
        shutil.rmtree(made, ignore_errors=True)
