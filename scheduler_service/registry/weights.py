"""Weights files: treated as untrusted input, and loaded by their algorithm."""

import errno
import hashlib
import logging
import os
import secrets
import stat
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from scheduler_env.errors import MAX_REASON, CodedError, InvalidCheckpoint
from scheduler_service.errors import ForbiddenPath, InvalidModel, StorageUnavailable

if TYPE_CHECKING:
    from scheduler_env.solver import Solver

MAX_WEIGHTS_BYTES = 64 * 2**20
MAX_ZIP_MEMBERS = 1_000

_CHUNK_BYTES = 2**20

_PATH = ("model_path",)
"""The location of the path in a registration, for errors."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class IncomingWeights:
    """A private copy of a weights file, not yet part of the registry."""

    path: Path
    sha256: str
    size_bytes: int


def _load_ddqn(path: Path) -> "Solver":
    _check_archive(path)
    from scheduler_env.agent import load_agent  # numba and torch take seconds to import

    return load_agent(path)


def _load_baseline(algorithm: str) -> Callable[[Path], "Solver"]:
    def load_it(path: Path) -> "Solver":
        from scheduler_env.baselines import load_baseline

        return load_baseline(path, algorithm)

    return load_it


LOADERS: Mapping[str, Callable[[Path], "Solver"]] = {
    "DDQN": _load_ddqn,
    "RULE": _load_baseline("RULE"),
    "GA": _load_baseline("GA"),
    "CPSAT": _load_baseline("CPSAT"),
}
"""Algorithm -> loader of its files: a torch archive, or a JSON file."""


def load(algorithm: str, path: Path) -> "Solver":
    """The solver in a model's file.

    Raises:
        InvalidModel: the file is not a usable model of the algorithm; the text gives the reason.
    """
    try:
        return LOADERS[algorithm](path)
    except InvalidModel:
        raise
    except CodedError as err:
        raise InvalidModel.of([err.at(())]) from err
    except Exception as err:
        # The bytes are untrusted, so a parser may raise anything.
        reason = (str(err) or type(err).__name__)[:MAX_REASON]
        raise InvalidModel("unusable_weights", algorithm=algorithm, reason=reason) from err


def pack(solver: "Solver") -> bytes:
    """The packed weights of a loaded model for `cache_packed`; empty if loading is fast anyway."""
    from scheduler_env.agent import Agent

    try:
        return solver.packed() if isinstance(solver, Agent) else b""
    except InvalidCheckpoint:
        return b""


def cache_packed(path: Path, packed: bytes) -> None:
    """Cache packed weights, so that `load` does not need torch to read the file at `path`.

    Args:
        packed: from `pack`. The child that packed it read untrusted bytes, so it is validated too.
    """
    from scheduler_env import weights

    try:
        if packed:
            weights.store_cached(path.read_bytes(), packed)
    except (InvalidCheckpoint, OSError):
        logger.warning("the weights at %s will be read again by torch", path, exc_info=True)


def sha256_of(path: Path) -> str:
    """Hex digest of a file.

    Raises:
        OSError: it cannot be read.
    """
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def copied(source: BinaryIO, folder: Path) -> Iterator[IncomingWeights]:
    """A private copy of the rest of `source` in `folder`, synced to disk; removed at the end unless it was moved.

    The bytes are read once, so the hashed, the checked and the stored bytes are the same.

    Raises:
        InvalidModel: empty, or more than `MAX_WEIGHTS_BYTES`.
        StorageUnavailable: the copy cannot be written.
    """
    path = folder / f"{secrets.token_hex(16)}.pth"
    digest, size = hashlib.sha256(), 0
    try:
        try:
            with open(path, "xb") as copy:
                while chunk := source.read(_CHUNK_BYTES):
                    size += len(chunk)
                    if size > MAX_WEIGHTS_BYTES:
                        raise InvalidModel("weights_too_large", limit=MAX_WEIGHTS_BYTES)
                    digest.update(chunk)
                    copy.write(chunk)
                copy.flush()
                os.fsync(copy.fileno())
        except OSError as err:
            raise StorageUnavailable("weights_not_copied", folder=str(folder), reason=err.strerror) from err
        if size == 0:
            raise InvalidModel("weights_empty")
        yield IncomingWeights(path, digest.hexdigest(), size)
    finally:
        with suppress(FileNotFoundError):
            path.unlink()


def open_weights(path_as_given: str | Path, allowed: Sequence[Path] | None) -> BinaryIO:
    """The file, open for reading.

    Args:
        path_as_given: a relative path is relative to the first folder of `allowed`, else to the working folder.
        allowed: resolved folders; the file must be in one of them, and no component below it may be a symbolic link.
            None: any file.

    Raises:
        ForbiddenPath: outside the allowed folders, or through a symbolic link. Does not reveal whether the file exists.
        InvalidModel: missing, unreadable, or not a regular file.
    """
    text = os.fspath(path_as_given)
    if "\0" in text:
        raise InvalidModel("path_not_usable", _PATH, path=repr(text))
    try:
        descriptor = _open_plain(text) if allowed is None else _open_below(text, allowed)
    except UnicodeEncodeError as err:
        raise InvalidModel("path_not_usable", _PATH, path=repr(text)) from err
    except OSError as err:
        if err.errno == errno.ELOOP:
            raise ForbiddenPath("path_through_link", _PATH, path=repr(text)) from err
        if isinstance(err, FileNotFoundError):
            raise InvalidModel("path_missing", _PATH, path=repr(text)) from err
        raise InvalidModel("path_unreadable", _PATH, path=repr(text), reason=err.strerror) from err
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise InvalidModel("path_not_a_file", _PATH, path=repr(text))
    return open(descriptor, "rb")


def _open_plain(text: str) -> int:
    return os.open(text, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)  # O_NONBLOCK: opening a pipe must not block


def _open_below(text: str, allowed: Sequence[Path]) -> int:
    """A descriptor opened from an allowed folder one component at a time, so that no link can be inserted."""
    path = Path(text)
    folder, parts = _below(allowed[0] / path if allowed else path, allowed)  # an absolute path stays as it is
    current = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for part in parts[:-1]:
            inner = _open_no_follow(part, os.O_DIRECTORY, current)
            os.close(current)
            current = inner
        return _open_no_follow(parts[-1], os.O_NONBLOCK, current)
    finally:
        os.close(current)


def _open_no_follow(name: str, flags: int, folder: int) -> int:
    try:
        return os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | flags, dir_fd=folder)
    except NotADirectoryError as err:
        # O_DIRECTORY gives this error for a link to a folder; report it as any other link.
        if stat.S_ISLNK(os.lstat(name, dir_fd=folder).st_mode):
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP)) from err
        raise


def _below(path: Path, allowed: Sequence[Path]) -> tuple[Path, tuple[str, ...]]:
    """The allowed folder that contains `path`, and the components below it."""
    if ".." not in path.parts:
        for folder in allowed:
            if path != folder and path.is_relative_to(folder):
                return folder, path.relative_to(folder).parts
    raise ForbiddenPath("path_outside", _PATH, path=repr(os.fspath(path)), folders=[str(each) for each in allowed])


def _check_archive(path: Path) -> None:
    """Check that the file is a plain zip with stored (uncompressed) members; torch must not read others.

    `torch.save` never compresses, so a valid file cannot expand when it is read.

    Raises:
        InvalidModel: not a zip, damaged, compressed, too many members, or members that overlap.
    """
    with open(path, "rb") as file:
        if file.read(4) != b"PK\x03\x04":
            raise InvalidModel("not_a_torch_archive")
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
    except (zipfile.BadZipFile, NotImplementedError, ValueError, OSError) as err:
        raise InvalidModel("archive_damaged", reason=str(err)) from err
    if len(members) > MAX_ZIP_MEMBERS:
        raise InvalidModel("archive_members", n=len(members), limit=MAX_ZIP_MEMBERS)
    if any(member.compress_type != zipfile.ZIP_STORED for member in members):
        raise InvalidModel("archive_compressed")
    if sum(member.file_size for member in members) > path.stat().st_size:
        raise InvalidModel("archive_overlaps")
