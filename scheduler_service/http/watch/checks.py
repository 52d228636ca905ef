"""What the parts of a service say when they are asked how they are.

Each check answers what it found, in words, and raises what is wrong. A check may have to wait for a disk, so each has a
native thread of its own while it looks, at most one at a time; who asks gets what it found last.
"""

import _thread
import logging
import time
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime

import gevent

from scheduler_service.errors import ServiceError

NEW_FOR_S = 0.5
"""An older answer is renewed when somebody asks, who still gets the former one."""
OLD_AFTER_S = 1.0
"""Who asks waits for a new answer when the former one is older."""
CHECK_TIMEOUT_S = 0.5
"""Slower checks count as failing."""
FIRST_CHECK_TIMEOUT_S = 5.0
"""For the first answer, before which models are read and modules imported."""
LOOK_EVERY_S = 0.002
CLOCK_STEP_S = 30.0
"""Smaller corrections of the clock are not reported."""

log = logging.getLogger(__name__)

Told = Mapping[str, Mapping[str, str]]  # part -> its status, `ok` or `failing`, and detail
Check = Callable[[], str]


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

    def ask(self, checks: Mapping[str, Check]) -> Told:
        """What each check finds now, or found at most `OLD_AFTER_S` ago; waits `CHECK_TIMEOUT_S` for it at most."""
        asked_s = time.monotonic()
        for name, check in checks.items():
            if asked_s - self._found_s(name) > NEW_FOR_S:
                self._begin(name, check)
        timeout_s = CHECK_TIMEOUT_S if all(name in self._found for name in checks) else FIRST_CHECK_TIMEOUT_S
        while self._missing(checks, asked_s) and time.monotonic() - asked_s < timeout_s:
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

    def _begin(self, name: str, check: Check) -> None:
        if name not in self._looking:
            self._looking[name] = time.monotonic()
            # Unlike `threading`, it does not wait until the thread has begun.
            _thread.start_new_thread(self._look, (name, check))

    def _look(self, name: str, check: Check) -> None:
        found = checked(check)
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


def checked(check: Check) -> dict[str, str]:
    """What `check` finds, or what is wrong."""
    try:
        return {"status": "ok", "detail": check()}
    except (ServiceError, OSError) as err:
        return {"status": "failing", "detail": str(err)}
    except Exception as err:  # a check that breaks says nothing good of its part
        log.exception("a part could not be checked")
        return {"status": "failing", "detail": f"it cannot be checked: {type(err).__name__}"}
