"""Health checks of the parts of the service.

A check returns a text, or raises an error. Since checks may block on a disk, each runs on its own native thread, at
most once at a time; callers get the latest result.
"""

import _thread
import logging
import time
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime

import gevent

from scheduler_service.errors import ServiceError

FRESH_FOR_S = 0.5
"""An older result is still returned, but starts a new check."""
STALE_AFTER_S = 1.0
"""If the latest result is older, the caller waits for a new one."""
CHECK_TIMEOUT_S = 0.5
"""Slower checks count as failing."""
FIRST_CHECK_TIMEOUT_S = 5.0
"""For the first check, which loads models and imports modules."""
POLL_INTERVAL_S = 0.002
CLOCK_STEP_S = 30.0
"""Smaller corrections of the clock are not reported."""

log = logging.getLogger(__name__)

CheckResults = Mapping[str, Mapping[str, str]]  # part -> its status, `ok` or `failing`, and detail
Check = Callable[[], str]


class Checks:
    """The latest check results of one process; used from its event loop."""

    def __init__(self) -> None:
        self._found: dict[str, tuple[float, dict[str, str]]] = {}  # part -> start time, result
        self._running: dict[str, float] = {}  # part -> start time
        self._begun_s = time.monotonic()
        self._offset_s = time.time() - self._begun_s
        self.clock_note = ""

    @property
    def uptime_s(self) -> float:
        """Seconds since this object was created, independent of changes of the system clock."""
        return time.monotonic() - self._begun_s

    def ask(self, checks: Mapping[str, Check]) -> CheckResults:
        """The result of each check, at most `STALE_AFTER_S` old; waits at most `CHECK_TIMEOUT_S`."""
        asked_s = time.monotonic()
        for name, check in checks.items():
            if asked_s - self._found_s(name) > FRESH_FOR_S:
                self._start(name, check)
        timeout_s = CHECK_TIMEOUT_S if all(name in self._found for name in checks) else FIRST_CHECK_TIMEOUT_S
        while self._missing(checks, asked_s) and time.monotonic() - asked_s < timeout_s:
            gevent.sleep(POLL_INTERVAL_S)
        missing = self._missing(checks, asked_s)
        return {name: self._overdue(name) if name in missing else self._found[name][1] for name in checks}

    def check_clock(self) -> str:
        """Text on the last step of the system clock since the process started; "" without one."""
        offset_s = time.time() - time.monotonic()
        step_s, self._offset_s = offset_s - self._offset_s, offset_s
        if abs(step_s) >= CLOCK_STEP_S:
            direction = "forward" if step_s > 0 else "back"
            self.clock_note = f"was set {direction} by {abs(step_s):.0f} s at {datetime.now().astimezone():%F %T %z}"
            log.warning("the system's clock %s", self.clock_note)
        return self.clock_note

    def _found_s(self, name: str) -> float:
        """Start time of the check that produced the latest result."""
        return self._found[name][0] if name in self._found else float("-inf")

    def _missing(self, names: Iterable[str], asked_s: float) -> list[str]:
        return [name for name in names if asked_s - self._found_s(name) > STALE_AFTER_S]

    def _start(self, name: str, check: Check) -> None:
        if name not in self._running:
            self._running[name] = time.monotonic()
            # Unlike `threading`, this does not wait until the thread has started.
            _thread.start_new_thread(self._run, (name, check))

    def _run(self, name: str, check: Check) -> None:
        found = checked(check)
        self._found[name] = self._running[name], found
        del self._running[name]

    def _overdue(self, name: str) -> dict[str, str]:
        took_s = time.monotonic() - self._running.get(name, time.monotonic())
        if name not in self._found:
            return {"status": "failing", "detail": f"no answer yet, for {took_s:.1f} s"}
        last = self._found[name][1]["detail"]
        return {
            "status": "failing",
            "detail": f"no answer for {took_s:.1f} s: a disk that hangs, or a lock; before that: {last}",
        }


def checked(check: Check) -> dict[str, str]:
    """The result of `check`, or its error."""
    try:
        return {"status": "ok", "detail": check()}
    except (ServiceError, OSError) as err:
        return {"status": "failing", "detail": str(err)}
    except Exception as err:  # a defect in a check counts as failing
        log.exception("a part could not be checked")
        return {"status": "failing", "detail": f"it cannot be checked: {type(err).__name__}"}
