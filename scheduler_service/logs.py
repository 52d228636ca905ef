"""The log: where lines go, what each carries, and why no client can write one of its own.

`logs/flask_service.log` rotates by size, also with several worker processes. Every line has the request's id. After
each run there is one line `... 算法执行完成 ... <seconds>`, which people grep for; the formatter lets nobody else write
that marker, nor a line break.
"""

import contextvars
import logging
import os
import re
import sys
from logging.handlers import RotatingFileHandler
from pathlib import Path

from filelock import FileLock

from scheduler_service.settings import Settings

RUN_MARKER = "算法执行完成"
LOG_FILE_NAME = "flask_service.log"

request_id_var: contextvars.ContextVar[str] = contextvars.ContextVar("request_id", default="-")
"""The id of the request that is being served; "-" outside of one."""

_runs = logging.getLogger("scheduler.runs")
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


def log_run(summary: str, execution_time_s: float) -> None:
    """Write the line that says that a run is complete; its last word is the seconds it took.

    `summary` may hold a client's text: whatever is not ASCII is escaped.
    """
    _runs.info("%s %s %.6f", RUN_MARKER, summary.encode("ascii", "backslashreplace").decode(), execution_time_s)


def configure_logging(settings: Settings) -> None:
    """Send the root logger's lines to stderr and to the log file; calling it again replaces the former handlers."""
    settings.logs_dir.mkdir(parents=True, exist_ok=True)
    root = logging.getLogger()
    for handler in list(root.handlers):
        if isinstance(handler.formatter, LineFormatter):
            root.removeHandler(handler)
            handler.close()
    to_file = SharedRotatingFileHandler(
        settings.logs_dir / LOG_FILE_NAME, max_bytes=settings.log_max_bytes, backups=settings.log_backups
    )
    for handler in (to_file, logging.StreamHandler(sys.stderr)):
        handler.setFormatter(LineFormatter())
        root.addHandler(handler)
    root.setLevel(settings.log_level.upper())
    # They tell of every font table and every pass of the compiler.
    for chatty in ("matplotlib", "fontTools", "numba", "PIL"):
        logging.getLogger(chatty).setLevel(logging.WARNING)


class LineFormatter(logging.Formatter):
    """`time LEVEL [request id] logger: message`; a trace follows on lines that begin with a bar."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s [%(request_id)s] %(name)s: %(message)s")

    def format(self, record: logging.LogRecord) -> str:
        record.request_id = request_id_var.get()
        line, _, trace = super().format(record).partition("\n") if record.exc_info else (super().format(record), "", "")
        line = _UNPRINTABLE.sub(_escaped, line)
        if trace:
            line += "".join(f"\n  | {_UNPRINTABLE.sub(_escaped, part)}" for part in trace.splitlines())
        if record.name != _runs.name:
            line = line.replace(RUN_MARKER, RUN_MARKER.encode("unicode_escape").decode())
        return line


class SharedRotatingFileHandler(RotatingFileHandler):
    """Rotates by size although several processes append to the file: one of them renames, the others reopen."""

    def __init__(self, path: Path, *, max_bytes: int, backups: int) -> None:
        super().__init__(path, maxBytes=max_bytes, backupCount=backups, encoding="utf-8")
        self._rotation = FileLock(path.with_name(f".{path.name}.lock"))

    def doRollover(self) -> None:
        with self._rotation:
            if self._is_current():
                super().doRollover()
                return
        # Another process has rotated it already: only the new file is to be opened.
        if self.stream is not None:
            self.stream.close()
        self.stream = self._open()

    def _is_current(self) -> bool:
        if self.stream is None:
            return False
        try:
            here, there = os.fstat(self.stream.fileno()), os.stat(self.baseFilename)
        except OSError:
            return False
        return (here.st_dev, here.st_ino) == (there.st_dev, there.st_ino)


def _escaped(match: re.Match[str]) -> str:
    return match.group().encode("unicode_escape", "surrogatepass").decode()
