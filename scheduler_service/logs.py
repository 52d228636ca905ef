"""The log: where lines go, what each carries, and why no client can write one of its own.

`logs/flask_service.log` rotates by size and by local day, also with several processes. Every line has the request's id.
After each run there is one line `... 算法执行完成 ... <seconds>`, which people grep for. The formatters let nobody else
write that marker, nor a line break, nor a secret, nor a whole parameter dump.
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

RUN_MARKER = "算法执行完成"
LOG_FILE_NAME = "flask_service.log"

request_id_var: contextvars.ContextVar[str] = contextvars.ContextVar("request_id", default="-")
"""The id of the request that is being served; "-" outside of one."""

MESSAGE_LIMIT = 2_000
"""Characters of a message that are kept."""

REPEATED_AFTER_S = 60.0
"""A warning or error that says the same word for word is written once in so long, with how often it was said."""
MOST_REMEMBERED = 500

MOST_WAITING = 10_000
"""Lines that wait to be written; some megabytes."""
FLUSH_S = 2.0

TRACE_LIMIT = 20_000
"""Characters of a trace that are kept: its first and its last half, as the error itself stands at the end."""

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
    """Write the line that says that a run is complete; its last word is the seconds it took.

    `summary` may hold a client's text: whatever is not ASCII is escaped.
    """
    _runs.info(
        "%s %s %.6f",
        RUN_MARKER,
        summary.encode("ascii", "backslashreplace").decode(),
        execution_time_s,
        extra={"execution_time_s": execution_time_s},
    )


def configure_logging(settings: Settings) -> None:
    """Send the root logger's lines to stderr and to the log file; calling it again replaces the former handlers."""
    settings.logs_dir.mkdir(parents=True, exist_ok=True)
    root = logging.getLogger()
    for handler in list(root.handlers):
        if isinstance(handler.formatter, LineFormatter | JsonFormatter):
            root.removeHandler(handler)
            handler.close()
    to_file = SharedRotatingFileHandler(
        settings.logs_dir / LOG_FILE_NAME, max_bytes=settings.log_max_bytes, backups=settings.log_backups
    )
    relay = Relay(to_file, StderrHandler(sys.stderr))
    relay.setFormatter(JsonFormatter() if settings.log_format == "json" else LineFormatter())
    relay.addFilter(Repetitions())
    root.addHandler(relay)
    root.setLevel(settings.log_level.upper())
    # They tell of every font table and every pass of the compiler.
    for chatty in ("matplotlib", "fontTools", "numba", "PIL"):
        logging.getLogger(chatty).setLevel(logging.WARNING)


class _OnceFormatter(logging.Formatter):
    """Makes a record's line for the first of several targets; for the others anew only if its time was changed."""

    def format(self, record: logging.LogRecord) -> str:
        made_for, line = getattr(record, "line", (None, ""))
        if made_for != (self, record.created):
            line = self.line_of(record)
            record.line = (self, record.created), line
        return line

    def line_of(self, record: logging.LogRecord) -> str:
        raise NotImplementedError


class LineFormatter(_OnceFormatter):
    """`time LEVEL [request id] logger: message`; a trace follows on lines that begin with a bar."""

    def line_of(self, record: logging.LogRecord) -> str:
        at = f"{self.formatTime(record)} {record.levelname} [{request_id_var.get()}] {record.name}: "
        line = _UNPRINTABLE.sub(_escaped, at + _message(record))
        line += "".join(f"\n  | {_UNPRINTABLE.sub(_escaped, part)}" for part in _trace(record).splitlines())
        return line if record.name == _runs.name else line.replace(RUN_MARKER, _ESCAPED_MARKER)


class JsonFormatter(_OnceFormatter):
    """One JSON object on one line: time (ISO-8601, local, with offset), level, request_id, logger, message.

    A failure has `exception` too, the trace as one string; a run's line has `execution_time_s`, a number.
    """

    def line_of(self, record: logging.LogRecord) -> str:
        entry: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created).astimezone().isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "request_id": request_id_var.get(),
            "logger": record.name,
            "message": _message(record),
        }
        if trace := _trace(record):
            entry["exception"] = trace
        if record.name == _runs.name and hasattr(record, "execution_time_s"):
            entry["execution_time_s"] = record.execution_time_s
        line = _UNPRINTABLE.sub(lambda found: f"\\u{ord(found.group()):04x}", json.dumps(entry, ensure_ascii=False))
        return line if record.name == _runs.name else line.replace(RUN_MARKER, _ESCAPED_MARKER)


class Repetitions(logging.Filter):
    """Lets a warning or an error pass once in `REPEATED_AFTER_S`: a fault is said, and not with every request."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        self._said: dict[tuple[str, int, str], tuple[float, int]] = {}  # what -> (when, how often since)

    def filter(self, record: logging.LogRecord) -> bool:
        if record.levelno < logging.WARNING:
            return True
        what, now = (record.name, record.levelno, record.getMessage()), self._clock()
        said_at, more = self._said.get(what, (-REPEATED_AFTER_S, 0))
        if now - said_at < REPEATED_AFTER_S:
            self._said[what] = said_at, more + 1
            return False
        if len(self._said) >= MOST_REMEMBERED:
            self._said.clear()
        self._said[what] = now, 0
        record.repetitions = more
        return True


class Relay(logging.Handler):
    """Writes lines on a thread of its own, in order: whoever has something to say waits for no disk and no lock.

    A line is written within milliseconds, and before `flush` returns; a kill may lose the last ones. If a disk hangs,
    `MOST_WAITING` lines wait for it, and it is said how many more there were.
    """

    def __init__(self, *targets: logging.Handler) -> None:
        super().__init__()
        self._targets = targets
        self._waiting: SimpleQueue[tuple[contextvars.Context, logging.LogRecord] | threading.Event] = SimpleQueue()
        self._process: int | None = None  # in which the thread is: a fork leaves it behind
        self._dropped = 0

    def setFormatter(self, fmt: logging.Formatter | None) -> None:
        super().setFormatter(fmt)
        for target in self._targets:
            target.setFormatter(fmt)

    def emit(self, record: logging.LogRecord) -> None:
        if self._waiting.qsize() >= MOST_WAITING:
            self._dropped += 1
            return
        # Said now: what the arguments are may change until it is written.
        record.msg, record.args = record.getMessage(), None
        self._start()
        self._waiting.put((contextvars.copy_context(), record))

    def flush(self) -> None:
        """What was said until now is written when this returns, or after `FLUSH_S`."""
        if self._process == os.getpid():
            done = threading.Event()
            self._waiting.put(done)
            done.wait(FLUSH_S)

    def close(self) -> None:
        self.flush()
        super().close()
        for target in self._targets:
            target.close()

    def _start(self) -> None:
        if self._process != os.getpid():
            self._process, self._waiting = os.getpid(), SimpleQueue()
            threading.Thread(target=self._work, args=(self._waiting,), name="log", daemon=True).start()

    def _work(self, waiting: "SimpleQueue[tuple[contextvars.Context, logging.LogRecord] | threading.Event]") -> None:
        while True:
            said = waiting.get()
            if isinstance(said, threading.Event):
                said.set()
                continue
            context, record = said
            for target in self._targets:
                context.run(target.handle, record)
            if self._dropped and waiting.empty():
                dropped, self._dropped = self._dropped, 0
                logging.getLogger(__name__).error("%d lines were said faster than they could be written", dropped)


class StderrHandler(logging.StreamHandler[TextIO]):
    """Where nobody reads stderr (a full disk, a pipe that is closed) its lines are lost, and nothing else is."""

    def handleError(self, record: logging.LogRecord) -> None:
        if not isinstance(sys.exc_info()[1], OSError):
            super().handleError(record)


class SharedRotatingFileHandler(logging.Handler):
    """Appends to a file that several processes share; each local day begins a new file, as does `max_bytes`.

    Former files are `<name>.1` (the newest) to `<name>.<backups>`. Every line is checked, stamped and written under one
    lock: so only one process rotates, none writes to a file that was renamed, and a line's time is its file's day.

    Where the file cannot be written, a line is left out as a whole, and stderr is told once. The first line that can be
    written again is preceded by how many are missing.
    """

    def __init__(self, path: Path, *, max_bytes: int, backups: int, clock: Callable[[], float] = time.time) -> None:
        super().__init__()
        self._path = path
        self._max_bytes, self._backups, self._clock = max_bytes, backups, clock
        self._lock_file: FileIO | None = None
        self._file: FileIO | None = None
        self._day: date | None = None
        self._missing, self._trouble = 0, ""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            with self._locked():
                now = self._clock()
                today = date.fromtimestamp(now)
                # Created before midnight, but another process has begun the new day's file: the line is of today.
                if date.fromtimestamp(record.created) != today:
                    record.created, record.msecs = now, now % 1 * 1000
                data = f"{self.format(record)}\n".encode("utf-8", "replace")
                if self._missing:
                    data = self._line_of_missing() + data
                file = self._follow(today)
                size = os.fstat(file.fileno()).st_size
                if size and (size + len(data) > self._max_bytes or (self._day is not None and self._day < today)):
                    self._rotate()
                    file = self._follow(today)
                    size = os.fstat(file.fileno()).st_size
                self._write(file, data, size)
                self._missing, self._trouble = 0, ""
        except OSError as err:
            self._miss(err)
        except Exception:
            self.handleError(record)

    def close(self) -> None:
        super().close()
        for file in (self._file, self._lock_file):
            if file is not None:
                file.close()
        self._file = self._lock_file = None

    def _write(self, file: FileIO, data: bytes, size: int) -> None:
        """All of it or nothing: under the lock, so what is behind `size` is ours."""
        written = 0
        try:
            written = os.write(file.fileno(), data)
            if written < len(data):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError:
            if written:
                os.ftruncate(file.fileno(), size)
            raise

    def _miss(self, err: OSError) -> None:
        self._missing += 1
        trouble = err.strerror or str(err)
        if trouble != self._trouble:
            self._trouble = trouble
            with suppress(OSError):
                print(f"{self._path} cannot be written ({trouble}); its lines are only here meanwhile", file=sys.stderr)

    def _line_of_missing(self) -> bytes:
        text = f"{self._missing} lines are missing here: {self._trouble}; stderr had them"
        record = logging.LogRecord(__name__, logging.WARNING, __file__, 0, text, (), None)
        return f"{self.format(record)}\n".encode()

    @contextmanager
    def _locked(self) -> Iterator[None]:
        if self._lock_file is None:
            # A POSIX record lock belongs to the process: a worker forked from this one does not inherit it. FileLock
            # would poll every 50 ms where this one waits in the kernel.
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._lock_file = self._path.with_name(f".{self._path.name}.lock").open("ab", buffering=0)
        fcntl.lockf(self._lock_file, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.lockf(self._lock_file, fcntl.LOCK_UN)

    def _follow(self, today: date) -> FileIO:
        """The file that bears the name now, open; `_day` is then the day of its lines."""
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


def _message(record: logging.LogRecord) -> str:
    """The message without secrets and at most `MESSAGE_LIMIT` long; a run's keeps its last word, the seconds."""
    text, last = record.getMessage(), ""
    if more := getattr(record, "repetitions", 0):
        last = f" (said {more} more times meanwhile)"
    if record.name == _runs.name:
        text, space, last = text.rpartition(" ")
        last = space + last
    more = len(text) - MESSAGE_LIMIT
    # Some way past the cut, so that a secret there is still seen whole.
    text = redact(text[: 2 * MESSAGE_LIMIT])
    return f"{text[:MESSAGE_LIMIT]}… ({more} more characters){last}" if more > 0 else text + last


def _trace(record: logging.LogRecord) -> str:
    """The trace and the stack of a record, without secrets; "" if it has none."""
    parts = [logging.Formatter().formatException(record.exc_info)] if record.exc_info and record.exc_info[0] else []
    text = redact("\n".join([*parts, record.stack_info] if record.stack_info else parts))
    more, half = len(text) - TRACE_LIMIT, TRACE_LIMIT // 2
    return f"{text[:half]}\n… ({more} more characters)\n{text[-half:]}" if more > 0 else text


def _day_of(path: Path) -> date | None:
    """The local day of a log file's lines: its first line's, or else that of its last write; None if it is empty."""
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
