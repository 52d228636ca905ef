"""Append-only files with one JSON object per line; an incomplete last line after a crash is removed."""

import errno
import json
import logging
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from threading import Lock
from typing import IO, Any, Generic, TypeVar

from scheduler_service.clock import parse_time

Line = TypeVar("Line")

MAX_LINE_BYTES = 32 * 2**20
"""Longer lines are neither written nor read. Twice the largest experiments' file, four times the largest body."""

logger = logging.getLogger(__name__)


class JsonLines(Generic[Line]):
    """The file at `path`; only new lines are read again.

    Args:
        read: converts a line's object; ValueError, KeyError or TypeError if it is invalid. See `check_types`.
    """

    def __init__(self, path: Path, read: Callable[[dict[str, Any]], Line]) -> None:
        self.path = path
        self._read = read
        self._forget()
        self._mutex = Lock()

    def unreadable_lines(self) -> int:
        """The number of lines that `lines` skips, including an incomplete last line."""
        fresh = JsonLines(self.path, self._read)
        fresh.lines()
        return fresh._n_unreadable + (self.path.exists() and self.path.stat().st_size > fresh._read_bytes)

    def lines(self) -> list[Line]:
        """All lines, oldest first. Unreadable lines are skipped and logged as a warning."""
        with self._mutex:
            try:
                with open(self.path, "rb") as file:
                    if os.fstat(file.fileno()).st_size < self._read_bytes:  # the file was replaced
                        self._forget()
                    file.seek(self._read_bytes)
                    for n_bytes, line in _whole_lines(file):
                        self._add(line)
                        self._read_bytes += n_bytes
            except FileNotFoundError:
                self._forget()
            return list(self._lines)

    def raw(self, position: int) -> dict[str, Any]:
        """The complete object of the line at `position` in the result of `lines`, read from the file again.

        Raises:
            OSError, ValueError: the file was removed or replaced meanwhile.
        """
        with self._mutex, open(self.path, "rb") as file:
            file.seek(self._offsets[position])
            value: dict[str, Any] = json.loads(file.readline(MAX_LINE_BYTES))
            return value

    def _forget(self) -> None:
        self._lines: list[Line] = []
        self._offsets: list[int] = []
        self._read_bytes = self._n_unreadable = 0

    def _add(self, line: bytes | None) -> None:
        try:
            if line is None:
                raise ValueError(f"it has more than {MAX_LINE_BYTES / 2**20:.0f} MiB")
            self._lines.append(self._read(json.loads(line)))
            self._offsets.append(self._read_bytes)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as err:
            self._n_unreadable += 1
            logger.warning("%s: a line is unreadable and passed over (%s): %.200r", self.path, err, line)

    def append_missing(self, values: Sequence[Mapping[str, Any]]) -> None:
        """Append lines and sync them to disk. The caller must hold a lock.

        After a crash this is repeated with the same lines: those that are the last ones already are not appended again,
        and an incomplete last line is removed first.

        Raises:
            OSError: the file cannot be written, or a line is too long.
        """
        lines = [_line_of(value) for value in values]
        if too_long := [len(line) for line in lines if len(line) > MAX_LINE_BYTES]:
            text = f"a line of {too_long[0]} bytes; at most {MAX_LINE_BYTES} are read"
            raise OSError(errno.EFBIG, text, str(self.path))
        self.path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        with open(descriptor, "r+b", buffering=0) as file:
            end = end_of_last_line(file.fileno())
            os.ftruncate(file.fileno(), end)
            missing = b"".join(lines[_n_present(file.fileno(), end, lines) :])
            if missing and os.write(file.fileno(), missing) != len(missing):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.path))
            os.fsync(file.fileno())


def check_types(line: Mapping[str, Any], types: Mapping[str, type | tuple[type, ...]], *, time: str = "time") -> None:
    """Check the types of members of a line, which people may edit and other versions of the program write.

    Args:
        time: this member must be ISO-8601.

    Raises:
        KeyError, TypeError, ValueError: a member is missing, has another type, or is no time.
    """
    for name, kind in types.items():
        if isinstance(line[name], bool) or not isinstance(line[name], kind):
            raise TypeError(f"{name} is {line[name]!r:.50}")
    parse_time(line[time])


def _line_of(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value, ensure_ascii=False, allow_nan=False).encode() + b"\n"


def _n_present(descriptor: int, end: int, lines: Sequence[bytes]) -> int:
    """With how many of the first `lines` a file ends."""
    for count in range(len(lines), 0, -1):
        joined = b"".join(lines[:count])
        if end >= len(joined) and os.pread(descriptor, len(joined), end - len(joined)) == joined:
            return count
    return 0


def _whole_lines(file: IO[bytes]) -> Iterator[tuple[int, bytes | None]]:
    """(length in bytes, line) of each complete line; None instead of a line that is too long."""
    while line := file.readline(MAX_LINE_BYTES + 1):
        n_bytes, is_too_long, rest = len(line), len(line) > MAX_LINE_BYTES, line
        while not rest.endswith(b"\n"):
            rest = file.readline(MAX_LINE_BYTES)
            if not rest:
                return
            n_bytes += len(rest)
        yield n_bytes, None if is_too_long else line


def end_of_last_line(descriptor: int) -> int:
    """Offset after the last newline; 0 if there is none."""
    end = os.fstat(descriptor).st_size
    while end > 0:
        start = max(0, end - 65_536)
        newline = os.pread(descriptor, end - start, start).rfind(b"\n")
        if newline >= 0:
            return start + newline + 1
        end = start
    return 0
