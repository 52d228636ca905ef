"""Append-only files of JSON, one object to a line: nothing is rewritten, and half a line left by a crash is cut off."""

import errno
import json
import logging
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from threading import Lock
from typing import Any, Generic, TypeVar

Line = TypeVar("Line")

logger = logging.getLogger(__name__)


class JsonLines(Generic[Line]):
    """The file at `path`; reading it again costs only what was added since.

    Args:
        read: what a line's object stands for; ValueError, KeyError or TypeError when it is none.
    """

    def __init__(self, path: Path, read: Callable[[dict[str, Any]], Line]) -> None:
        self.path = path
        self._read = read
        self._lines: list[Line] = []
        self._read_bytes = 0
        self._mutex = Lock()

    def unreadable_lines(self) -> int:
        """How many lines `lines` passes over, and the end of the file if it is half a line."""
        try:
            found = self.path.read_bytes().split(b"\n")
        except FileNotFoundError:
            return 0
        n_readable = len(JsonLines(self.path, self._read).lines())
        return len(found) - 1 - n_readable + (found[-1] != b"")

    def lines(self) -> list[Line]:
        """All lines, oldest first. An unreadable one is passed over, with a warning in the log."""
        with self._mutex:
            try:
                with open(self.path, "rb") as file:
                    if os.fstat(file.fileno()).st_size < self._read_bytes:  # another file was put in its place
                        self._lines, self._read_bytes = [], 0
                    file.seek(self._read_bytes)
                    added = file.read()
            except FileNotFoundError:
                self._lines, self._read_bytes = [], 0
                return []
            complete = added[: added.rfind(b"\n") + 1]
            self._read_bytes += len(complete)
            for line in complete.splitlines():
                try:
                    self._lines.append(self._read(json.loads(line)))
                except (ValueError, KeyError, TypeError) as err:
                    logger.warning("%s: a line is unreadable and passed over (%s): %.200r", self.path, err, line)
            return list(self._lines)

    def append_once(self, value: Mapping[str, Any]) -> None:
        """Adds a line, unless it is the last one already; on disk when this returns. Call under a lock of your own.

        A last line without its end, left by a crash, is cut off first.

        Raises:
            OSError: the file cannot be written.
        """
        line = json.dumps(value, ensure_ascii=False, allow_nan=False).encode() + b"\n"
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        with open(descriptor, "r+b", buffering=0) as file:
            end = _end_of_last_line(file.fileno())
            os.ftruncate(file.fileno(), end)
            is_there = end >= len(line) and os.pread(file.fileno(), len(line), end - len(line)) == line
            if not is_there and os.write(file.fileno(), line) != len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.path))
            os.fsync(file.fileno())


def _end_of_last_line(descriptor: int) -> int:
    """Offset behind the last newline; 0 if there is none."""
    end = os.fstat(descriptor).st_size
    while end > 0:
        start = max(0, end - 65_536)
        newline = os.pread(descriptor, end - start, start).rfind(b"\n")
        if newline >= 0:
            return start + newline + 1
        end = start
    return 0
