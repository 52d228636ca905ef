"""The log lines of one run: those that contain its id, and the others of the same request.

The lines are written without secrets (`logs`), and redacted again before they are shown.
"""

import json
import os
import re
import shlex
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from scheduler_service.errors import cannot_read
from scheduler_service.logs import LOG_FILE_NAME, redact

MAX_LINES = 200
FILES_READ = 2
"""A run's lines are in the current file of its end, or in the next one after a rotation."""
_REQUEST = re.compile(rb"^\S+ \S+ [A-Z]+ \[([^\]]*)\]")


def lines_about(folder: Path, run: str, at: datetime) -> list[str]:
    """The lines, oldest first, at most `MAX_LINES`; a traceback counts as part of its line.

    Args:
        folder: the folder of the log files.
        run: the run's request id.
        at: time of the record; older files are not read.

    Raises:
        StorageUnavailable: a file cannot be read.
    """
    lines = [line for path in _files(folder, at) for line in _whole_lines(path)]
    named = run.encode("utf-8", "replace")
    requests = {request for line in lines if named in line and (request := _request(line)) not in (None, b"-")}
    found = [line for line in lines if named in line or _request(line) in requests]
    return [redact(line.decode("utf-8", "replace")) for line in found[:MAX_LINES]]


def command_for(runs: list[str]) -> str:
    """A shell command, for SCHED_HOME, that shows the log lines of these runs."""
    wanted = " ".join(f"-e {shlex.quote(run)}" for run in runs)
    return f"grep -hF {wanted} logs/{LOG_FILE_NAME}*"


def _files(folder: Path, at: datetime) -> list[Path]:
    """The log files that may contain lines of that time, oldest first."""
    try:
        stamped = sorted((path.stat().st_mtime, path) for path in folder.glob(f"{LOG_FILE_NAME}*"))
    except OSError as err:
        raise cannot_read(folder, err) from err
    return [path for written, path in stamped if written >= at.timestamp() - 1.0][:FILES_READ]


def _whole_lines(path: Path) -> Iterator[bytes]:
    """Each line, with its traceback."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:  # rotated away meanwhile
        return
    except OSError as err:
        raise cannot_read(path, err) from err
    yield from re.split(rb"\n(?!  \| )", content.rstrip(b"\n"))


def _request(line: bytes) -> bytes | None:
    """The request id of a line, in either format; None if it has none."""
    if found := _REQUEST.match(line):
        return found[1]
    if not line.startswith(b"{"):
        return None
    try:
        return os.fsencode(str(json.loads(line).get("request_id")))
    except ValueError:
        return None
