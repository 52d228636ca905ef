"""Logging: targets, formats, rotation, and protection against log injection.

`logs/flask_service.log` rotates by size and by local day, also with several processes. Every line has the request's id,
and its trace. After each run there is one line `... 算法执行完成 ... <seconds>`, which people search for. The
formatters keep that marker, line breaks, secrets and long parameter dumps out of all other lines.
"""

import contextvars
import errno
import fcntl
import json
import logging
import os
import re
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import date, datetime
from io import FileIO
from itertools import pairwise
from pathlib import Path
from queue import SimpleQueue
from typing import TextIO

from scheduler_service.settings import Settings
from scheduler_service.trace_context import trace_var

RUN_MARKER = "算法执行完成"
LOG_FILE_NAME = "flask_service.log"

request_id_var: contextvars.ContextVar[str] = contextvars.ContextVar("request_id", default="-")
"""The id of the current request; "-" outside of requests."""

MESSAGE_LIMIT = 2_000
"""Maximum length of a message, in characters."""

REPEAT_INTERVAL_S = 60.0
"""Identical warnings and errors are written once per interval, with the number of repetitions."""
MAX_REMEMBERED = 500

MAX_QUEUED_LINES = 10_000
"""Limit of lines that wait to be written; some megabytes."""
FLUSH_TIMEOUT_S = 2.0

TRACE_LIMIT = 20_000
"""Maximum length of a traceback, in characters; the middle is cut, because the error itself is at the end."""

_runs = logging.getLogger("scheduler.runs")
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_DATE = re.compile(rb"\d{4}-\d\d-\d\d")
_SECRET_HINTS = ("authorization", "key", "passw", "token", "secret", "sign", "bearer", "/hook/", "://")
_SECRET = re.compile(
    r"""
    (?P<name>
        authorization \\?["']? \s*[:=,]\s* (?:b?\\?["'])? (?:[a-z]+[ ]+)?
      | (?:api[_-]?key|passw(?:or)?d|(?:access|refresh|auth)[_-]?token|secret|\bsign(?:ature)?|[?&]key|\btoken)
        [\w-]{0,20}
        \\?["']? \s*[:=,]\s*
      | \bbearer\s+
      | /open-apis/bot/v2/hook/
    )
    (?: b?"[^"]*" | b?'[^']*' | \\?["']?[^\s"'&,;(){}\[\]<>\\]+ )
    | (?P<scheme>\b[a-z][a-z0-9+.-]{0,20}://) [^\s/"'<>]+ (?=@)
    """,
    re.IGNORECASE | re.VERBOSE,
)


def log_run(summary: str, execution_time_s: float) -> None:
    """Write the line for a completed run; its last word is the duration in seconds.

    `summary` may contain a client's text, so characters outside ASCII are escaped.
    """
    _runs.info(
        "%s %s %.6f",
        RUN_MARKER,
        summary.encode("ascii", "backslashreplace").decode(),
        execution_time_s,
        extra={"execution_time_s": execution_time_s},
    )


def configure_logging(settings: Settings) -> None:
    """Send the root logger's lines to stderr and the file, or only to stdout; a second call replaces the handlers."""
    settings.logs_dir.mkdir(parents=True, exist_ok=True)
    root = logging.getLogger()
    for handler in list(root.handlers):
        if isinstance(handler.formatter, LineFormatter | JsonFormatter):
            root.removeHandler(handler)
            handler.close()
    relay = Relay(*_targets(settings))
    relay.setFormatter(JsonFormatter() if settings.log_format == "json" else LineFormatter())
    relay.addFilter(RepetitionFilter())
    root.addHandler(relay)
    root.setLevel(settings.log_level.upper())
    # These log every font table and every pass of the compiler.
    for chatty in ("matplotlib", "fontTools", "numba", "PIL"):
        logging.getLogger(chatty).setLevel(logging.WARNING)


def _targets(settings: Settings) -> list[logging.Handler]:
    if settings.log_to == "stdout":
        return [StreamHandler(sys.stdout)]
    path = settings.logs_dir / LOG_FILE_NAME
    to_file = SharedRotatingFileHandler(path, max_bytes=settings.log_max_bytes, backups=settings.log_backups)
    return [to_file, StreamHandler(sys.stderr)]


class _OnceFormatter(logging.Formatter):
    """Formats a record once for several targets; again only if its time was changed."""

    def format(self, record: logging.LogRecord) -> str:
        made_for, line = getattr(record, "line", (None, ""))
        if made_for != (self, record.created):
            line = self.line_of(record)
            record.line = (self, record.created), line
        return line

    def line_of(self, record: logging.LogRecord) -> str:
        raise NotImplementedError


class LineFormatter(_OnceFormatter):
    """`time LEVEL [request id] logger: message trace_id=...`; a traceback follows on lines that start with a bar.

    The trace is at the end of the message, before the seconds of a run, because people's expressions know the beginning
    of a line. Lines outside of requests have no trace.
    """

    def line_of(self, record: logging.LogRecord) -> str:
        at = f"{self.formatTime(record)} {record.levelname} [{request_id_var.get()}] {record.name}: "
        trace = trace_var.get()
        line = _UNPRINTABLE.sub(_escaped, at + _message(record, f" trace_id={trace.trace_id}" if trace else ""))
        line += "".join(f"\n  | {_UNPRINTABLE.sub(_escaped, part)}" for part in _trace(record).splitlines())
        return line if record.name == _runs.name else line.replace(RUN_MARKER, _ESCAPED_MARKER)


class JsonFormatter(_OnceFormatter):
    """One JSON object per line: time (ISO-8601, local, with offset), level, request_id, logger, message.

    Lines of requests also have `trace_id`, and `span_id` if spans are recorded. Failures have `exception`, the
    traceback as a string; lines of runs have `execution_time_s`, a number.
    """

    def line_of(self, record: logging.LogRecord) -> str:
        entry: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created).astimezone().isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "request_id": request_id_var.get(),
            "logger": record.name,
            "message": _message(record),
        }
        if at := trace_var.get():
            entry |= {"trace_id": at.trace_id} | ({"span_id": at.span_id} if at.recorded else {})
        if trace := _trace(record):
            entry["exception"] = trace
        if record.name == _runs.name and hasattr(record, "execution_time_s"):
            entry["execution_time_s"] = record.execution_time_s
        line = _UNPRINTABLE.sub(lambda found: f"\\u{ord(found.group()):04x}", json.dumps(entry, ensure_ascii=False))
        return line if record.name == _runs.name else line.replace(RUN_MARKER, _ESCAPED_MARKER)


class RepetitionFilter(logging.Filter):
    """Passes identical warnings and errors once per `REPEAT_INTERVAL_S`, so that a fault is not logged per request."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        self._seen: dict[tuple[str, int, str], tuple[float, int]] = {}  # message -> (time, repetitions since)

    def filter(self, record: logging.LogRecord) -> bool:
        if record.levelno < logging.WARNING:
            return True
        what, now = (record.name, record.levelno, record.getMessage()), self._clock()
        written_at, more = self._seen.get(what, (-REPEAT_INTERVAL_S, 0))
        if now - written_at < REPEAT_INTERVAL_S:
            self._seen[what] = written_at, more + 1
            return False
        if len(self._seen) >= MAX_REMEMBERED:
            self._seen.clear()
        self._seen[what] = now, 0
        record.repetitions = more
        return True


class Relay(logging.Handler):
    """Writes lines in order on its own thread, so that callers do not wait for a disk or a lock.

    A line is written within milliseconds, and before `flush` returns; a kill may lose the last lines. If a disk hangs,
    up to `MAX_QUEUED_LINES` lines wait; further lines are dropped and counted.
    """

    def __init__(self, *targets: logging.Handler) -> None:
        super().__init__()
        self._targets = targets
        self._waiting: SimpleQueue[tuple[contextvars.Context, logging.LogRecord] | threading.Event] = SimpleQueue()
        self._process: int | None = None  # the process of the thread, which a fork does not copy
        self._dropped = 0

    def setFormatter(self, fmt: logging.Formatter | None) -> None:
        super().setFormatter(fmt)
        for target in self._targets:
            target.setFormatter(fmt)

    def emit(self, record: logging.LogRecord) -> None:
        if self._waiting.qsize() >= MAX_QUEUED_LINES:
            self._dropped += 1
            return
        # Formatted now, because the arguments may change before the line is written.
        record.msg, record.args = record.getMessage(), None
        self._start()
        self._waiting.put((contextvars.copy_context(), record))

    def flush(self) -> None:
        """Wait until all lines so far are written, at most `FLUSH_TIMEOUT_S`."""
        if self._process == os.getpid():
            done = threading.Event()
            self._waiting.put(done)
            done.wait(FLUSH_TIMEOUT_S)

    def close(self) -> None:
        self.flush()
        super().close()
        for target in self._targets:
            target.close()

    def _start(self) -> None:
        if self._process != os.getpid():
            self._process, self._waiting = os.getpid(), SimpleQueue()
            threading.Thread(target=self._write_lines, args=(self._waiting,), name="log", daemon=True).start()

    def _write_lines(
        self, waiting: "SimpleQueue[tuple[contextvars.Context, logging.LogRecord] | threading.Event]"
    ) -> None:
        while True:
            item = waiting.get()
            if isinstance(item, threading.Event):
                item.set()
                continue
            context, record = item
            for target in self._targets:
                context.run(target.handle, record)
            if self._dropped and waiting.empty():
                dropped, self._dropped = self._dropped, 0
                logging.getLogger(__name__).error(
                    "%d lines were dropped: they came faster than they could be written", dropped
                )


class StreamHandler(logging.StreamHandler[TextIO]):
    """Ignores errors of the stream, such as a full disk or a closed pipe; only these lines are lost."""

    def handleError(self, record: logging.LogRecord) -> None:
        if not isinstance(sys.exc_info()[1], OSError):
            super().handleError(record)


class SharedRotatingFileHandler(logging.Handler):
    """Appends to a file shared by several processes; a new file starts with each local day and at `max_bytes`.

    Rotated files are `<name>.1` (the newest) to `<name>.<backups>`. The rotation check, the timestamp and the write are
    under one lock. So only one process rotates, none writes to a renamed file, and the times in a file are of one day.

    If the file cannot be written, the whole line is lost, and stderr gets one message. The number of lost lines
    precedes the next line that can be written.
    """

    def __init__(self, path: Path, *, max_bytes: int, backups: int, clock: Callable[[], float] = time.time) -> None:
        super().__init__()
        self._path = path
        self._max_bytes, self._backups, self._clock = max_bytes, backups, clock
        self._lock_file: FileIO | None = None
        self._file: FileIO | None = None
        self._day: date | None = None
        self._lost_lines, self._last_error = 0, ""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            with self._locked():
                now = self._clock()
                today = date.fromtimestamp(now)
                # Created before midnight, but the file may already be that of the new day: the line gets the new time.
                if date.fromtimestamp(record.created) != today:
                    record.created, record.msecs = now, now % 1 * 1000
                data = f"{self.format(record)}\n".encode("utf-8", "replace")
                if self._lost_lines:
                    data = self._lost_lines_notice() + data
                file = self._open_current(today)
                size = os.fstat(file.fileno()).st_size
                if size and (size + len(data) > self._max_bytes or (self._day is not None and self._day < today)):
                    self._rotate()
                    file = self._open_current(today)
                    size = os.fstat(file.fileno()).st_size
                self._write(file, data, size)
                self._lost_lines, self._last_error = 0, ""
        except OSError as err:
            self._count_lost(err)
        except Exception:
            self.handleError(record)

    def close(self) -> None:
        super().close()
        for file in (self._file, self._lock_file):
            if file is not None:
                file.close()
        self._file = self._lock_file = None

    def _write(self, file: FileIO, data: bytes, size: int) -> None:
        """Write all of `data` or nothing; the caller holds the lock, so a partial write can be truncated."""
        written = 0
        try:
            written = os.write(file.fileno(), data)
            if written < len(data):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError:
            if written:
                os.ftruncate(file.fileno(), size)
            raise

    def _count_lost(self, err: OSError) -> None:
        self._lost_lines += 1
        error = err.strerror or str(err)
        if error != self._last_error:
            self._last_error = error
            with suppress(OSError):
                print(f"{self._path} cannot be written ({error}); its lines are only here meanwhile", file=sys.stderr)

    def _lost_lines_notice(self) -> bytes:
        text = f"{self._lost_lines} lines are missing here: {self._last_error}; stderr had them"
        record = logging.LogRecord(__name__, logging.WARNING, __file__, 0, text, (), None)
        return f"{self.format(record)}\n".encode()

    @contextmanager
    def _locked(self) -> Iterator[None]:
        if self._lock_file is None:
            # A POSIX record lock belongs to the process and is not inherited by forked workers. FileLock would poll
            # every 50 ms, while this lock waits in the kernel.
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._lock_file = self._path.with_name(f".{self._path.name}.lock").open("ab", buffering=0)
        fcntl.lockf(self._lock_file, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.lockf(self._lock_file, fcntl.LOCK_UN)

    def _open_current(self, today: date) -> FileIO:
        """The open file that currently has the name; sets `_day` to the day of its lines."""
        if self._file is not None:
            with suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(self._file.fileno()), os.stat(self._path)):
                    return self._file
            self._file.close()
            self._file = None
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._file = self._path.open("ab", buffering=0)
        self._day = _day_of(self._path) or today
        return self._file

    def _rotate(self) -> None:
        names = [str(self._path), *(f"{self._path}.{number}" for number in range(1, self._backups + 1))]
        Path(names[-1]).unlink(missing_ok=True)
        for source, target in reversed(list(pairwise(names))):
            if os.path.exists(source):
                os.replace(source, target)


_ESCAPED_MARKER = RUN_MARKER.encode("unicode_escape").decode()


def redact(text: str) -> str:
    """`text` with `***` in place of keys, passwords, tokens, signatures, users in URLs and webhook ids."""
    lowered = text.lower()
    return _SECRET.sub(_starred, text) if any(hint in lowered for hint in _SECRET_HINTS) else text


def _starred(match: re.Match[str]) -> str:
    return f"{match['name'] or match['scheme']}***"


def _message(record: logging.LogRecord, addition: str = "") -> str:
    """The redacted message, at most `MESSAGE_LIMIT` long, and `addition`; a run's message keeps its last word."""
    text, last = record.getMessage(), ""
    if more := getattr(record, "repetitions", 0):
        last = f" (repeated {more} times meanwhile)"
    if record.name == _runs.name:
        text, space, last = text.rpartition(" ")
        last = space + last
    more = len(text) - MESSAGE_LIMIT
    # Redact beyond the cut, so that a secret at the cut is still recognised.
    text = redact(text[: 2 * MESSAGE_LIMIT])
    return f"{text[:MESSAGE_LIMIT]}… ({more} more characters){addition}{last}" if more > 0 else text + addition + last


def _trace(record: logging.LogRecord) -> str:
    """The redacted traceback and stack of a record; "" if it has none."""
    parts = [logging.Formatter().formatException(record.exc_info)] if record.exc_info and record.exc_info[0] else []
    text = redact("\n".join([*parts, record.stack_info] if record.stack_info else parts))
    more, half = len(text) - TRACE_LIMIT, TRACE_LIMIT // 2
    return f"{text[:half]}\n… ({more} more characters)\n{text[-half:]}" if more > 0 else text


def _day_of(path: Path) -> date | None:
    """The local day of a log file: that of its first line, else of its last write; None if it is empty."""
    with path.open("rb") as file:
        start = file.read(64)
    if not start:
        return None
    try:
        return date.fromisoformat(_DATE.findall(start)[0].decode())
    except (IndexError, ValueError):
        return date.fromtimestamp(path.stat().st_mtime)


def _escaped(match: re.Match[str]) -> str:
    return match.group().encode("unicode_escape", "surrogatepass").decode()
