"""Three questions to a service: is it healthy, does it live, is it ready (docs/decisions/health-three-questions.md).

Each check answers what it found, in words, and raises what is wrong. All but the last ones may have to wait for a disk,
so each has a native thread of its own while it looks, at most one at a time; who asks gets what it found last.
"""

import _thread
import logging
import os
import shutil
import time
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import gevent

from scheduler_service.errors import Overloaded, ServiceError, StorageUnavailable, cannot_write

if TYPE_CHECKING:
    from scheduler_service.http.services import Services

MIN_FREE_BYTES = 50 * 2**20
"""Below this the disk counts as full: the database and the logs still want to write their last lines."""
NEW_FOR_S = 0.5
"""After so long a part is looked at again when somebody asks, who still gets the former answer."""
OLD_AFTER_S = 1.0
"""After so long who asks waits for a new answer."""
PATIENCE_S = 0.5
"""How long: a check that takes longer is what is wrong."""
FIRST_PATIENCE_S = 5.0
"""How long for the first answer, before which models are read and modules imported."""
LOOK_EVERY_S = 0.002
CLOCK_STEP_S = 30.0
"""A clock that is put right by less is not worth a word."""

log = logging.getLogger(__name__)

HIDDEN = "an API key with the scope read shows more"

Told = Mapping[str, Mapping[str, str]]  # part -> its status, `ok` or `failing`, and detail
Check = Callable[["Services"], str]


class Checks:
    """What the parts of one process said last; used from its event loop."""

    def __init__(self) -> None:
        self._found: dict[str, tuple[float, dict[str, str]]] = {}  # part -> when it was begun, what it found
        self._looking: dict[str, float] = {}  # part -> since when
        self._begun_s = time.monotonic()
        self._offset_s = time.time() - self._begun_s
        self.clock_note = ""

    @property
    def uptime_s(self) -> float:
        """Seconds since the process made this, whatever became of the clock."""
        return time.monotonic() - self._begun_s

    def ask(self, parts: "Services", checks: Mapping[str, Check]) -> Told:
        """What each check finds now, or found at most `OLD_AFTER_S` ago; waits `PATIENCE_S` for it at most."""
        asked_s = time.monotonic()
        for name, check in checks.items():
            if asked_s - self._found_s(name) > NEW_FOR_S:
                self._begin(name, check, parts)
        patience_s = PATIENCE_S if all(name in self._found for name in checks) else FIRST_PATIENCE_S
        while self._missing(checks, asked_s) and time.monotonic() - asked_s < patience_s:
            gevent.sleep(LOOK_EVERY_S)
        missing = self._missing(checks, asked_s)
        return {name: self._overdue(name) if name in missing else self._found[name][1] for name in checks}

    def look_at_clock(self) -> str:
        """What became of the system's clock since the process began."""
        offset_s = time.time() - time.monotonic()
        step_s, self._offset_s = offset_s - self._offset_s, offset_s
        if abs(step_s) >= CLOCK_STEP_S:
            direction = "forward" if step_s > 0 else "back"
            self.clock_note = f"was set {direction} by {abs(step_s):.0f} s at {datetime.now().astimezone():%F %T %z}"
            log.warning("the system's clock %s", self.clock_note)
        return self.clock_note

    def _found_s(self, name: str) -> float:
        """When the look began that the answer is of."""
        return self._found[name][0] if name in self._found else float("-inf")

    def _missing(self, names: Iterable[str], asked_s: float) -> list[str]:
        return [name for name in names if asked_s - self._found_s(name) > OLD_AFTER_S]

    def _begin(self, name: str, check: Check, parts: "Services") -> None:
        if name not in self._looking:
            self._looking[name] = time.monotonic()
            # Unlike `threading`, it does not wait until the thread has begun.
            _thread.start_new_thread(self._look, (name, check, parts))

    def _look(self, name: str, check: Check, parts: "Services") -> None:
        found = _checked(check, parts)
        self._found[name] = self._looking[name], found
        del self._looking[name]

    def _overdue(self, name: str) -> dict[str, str]:
        took_s = time.monotonic() - self._looking.get(name, time.monotonic())
        if name not in self._found:
            return {"status": "failing", "detail": f"no answer yet, for {took_s:.1f} s"}
        last = self._found[name][1]["detail"]
        return {
            "status": "failing",
            "detail": f"no answer for {took_s:.1f} s: a disk that hangs, or a lock; before that: {last}",
        }


def health(parts: "Services") -> Told:
    """Whether every part works, as clients have always been told."""
    disks = {
        "database": _database,
        "models": _models,
        "experiments": _experiments,
        "thresholds": _thresholds,
        "disk": _disk,
        "folders": _folders,
    }
    return {**parts.checks.ask(parts, disks), **_told(parts, {"clock": _clock})}


def readiness(parts: "Services") -> Told:
    """Whether this process should be sent runs now: `health`, and that it is warm and has room for more."""
    return {**health(parts), **_told(parts, {"queues": _queues, "warm_up": _warm_up})}


def without_details(told: Told) -> Told:
    """For who may not read: the parts, and which of them do not work."""
    return {name: {"status": part["status"], "detail": HIDDEN} for name, part in told.items()}


def failing(told: Told) -> list[str]:
    """The names of the parts that do not work."""
    return [name for name, part in told.items() if part["status"] != "ok"]


def _told(parts: "Services", checks: Mapping[str, Check]) -> Told:
    return {name: _checked(check, parts) for name, check in checks.items()}


def _checked(check: Check, parts: "Services") -> dict[str, str]:
    try:
        return {"status": "ok", "detail": check(parts)}
    except (ServiceError, OSError) as err:
        return {"status": "failing", "detail": str(err)}
    except Exception as err:  # a check that breaks says nothing good of its part
        log.exception("a part could not be checked")
        return {"status": "failing", "detail": f"it cannot be checked: {type(err).__name__}"}


def _database(parts: "Services") -> str:
    note = parts.monitor.check_writable()
    return f"runs can be recorded; {note}" if note else "runs can be recorded"


def _models(parts: "Services") -> str:
    detail = _default_model(parts)
    for experiment in parts.experiments.active_experiments():
        for name in experiment.models.values():
            _check_file(parts.models.resolve(name, standing=True), parts)
    if (fault := parts.models.fault) is not None:
        raise fault
    return detail


def _default_model(parts: "Services") -> str:
    key = parts.models.resolve(parts.experiments.default_model, standing=True)
    parts.models.load_model(key)  # from memory, once it was read
    _check_file(key, parts)
    return f"the default model is {key}"


def _check_file(key: str, parts: "Services") -> None:
    """A model in memory answers without its file, until the process ends."""
    record = parts.models.get_model(key)
    parts.models.loaded.check_file(record, parts.settings.models_dir / "models" / f"{key}.pth")


def _experiments(parts: "Services") -> str:
    if (fault := parts.experiments.config_fault) is not None:
        raise fault
    return "the configuration is valid"


def _thresholds(parts: "Services") -> str:
    file = parts.monitor.limits.file
    if (fault := file.fault) is not None:
        raise fault
    return f"{len(file.thresholds)} thresholds of alerts are set"


def _disk(parts: "Services") -> str:
    free = shutil.disk_usage(parts.settings.home).free
    if free < MIN_FREE_BYTES:
        raise StorageUnavailable("disk_nearly_full", free=free, minimum=MIN_FREE_BYTES)
    return f"{free / 2**20:.0f} MiB are free"


def _folders(parts: "Services") -> str:
    for folder in (parts.settings.models_dir, parts.settings.logs_dir, parts.settings.reports_dir):
        _check_folder(folder)
    return "models, logs and reports can be written"


def _check_folder(folder: Path) -> None:
    if not folder.is_dir() or not os.access(folder, os.W_OK | os.X_OK):
        raise StorageUnavailable("folder_not_writable", folder=str(folder))
    # What the permissions say is not all: they do not know of a flag that forbids changes, nor bind root.
    probe = folder / f".writable.{os.getpid()}.tmp"
    try:
        probe.touch()
        probe.unlink()
    except OSError as err:
        raise cannot_write(folder, err) from err


def _clock(parts: "Services") -> str:
    note = parts.checks.look_at_clock()
    return f"the clock {note}" if note else "the clock has run evenly"


def _queues(parts: "Services") -> str:
    queues = {"compute": parts.compute, "large": parts.large, "improving": parts.improving, "storage": parts.storage}
    for kind, threads in queues.items():
        if threads.is_full:
            raise Overloaded("queue_full", queue=kind, load=str(threads.load))
    return ", ".join(f"{kind}: {threads.load}" for kind, threads in queues.items())


def _warm_up(parts: "Services") -> str:
    if not parts.warmed_up.is_set():
        raise Overloaded("warming_up")
    return "the warm-up is over"
