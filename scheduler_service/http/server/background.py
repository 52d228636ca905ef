"""Background work, which yields to the requests of clients."""

import atexit
import logging
import os
import queue
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress

LOWEST_PRIORITY = 19
MAX_PAUSE_S = 1.0
"""Longest pause of background work while clients wait. It then continues: on a busy service it would never finish."""
POLL_INTERVAL_S = 0.005
STOP_TIMEOUT_S = 1.0
"""At the end of the process, longer computations are aborted."""

log = logging.getLogger(__name__)

_started: list["Background"] = []  # in this process


class Background:
    """One native thread of the lowest priority with a short queue.

    The process waits at exit for the current job, unless `stop_background_work` aborts it.
    """

    def __init__(self, name: str, is_busy: Callable[[], bool], *, max_waiting: int) -> None:
        """`is_busy` returns whether clients wait for schedules. The thread starts with the first job."""
        self._name = name
        self._is_busy = is_busy
        self._waiting: queue.Queue[Callable[[], None] | None] = queue.Queue(max_waiting)
        self._start_lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._is_closed = False

    @property
    def waiting(self) -> int:
        """The number of jobs in the queue."""
        return self._waiting.qsize()

    def submit(self, work: Callable[[], None]) -> bool:
        """Queue `work`; False if the queue is full or closed. Does not block."""
        if self._is_closed:
            return False
        with suppress(queue.Full):
            self._waiting.put_nowait(work)
            self._start()
            return True
        return False

    def may_go_on(self) -> bool:
        """Called by a job between its parts: pauses while clients wait, a second at most; False once this is closed.

        A low priority is not enough: the thread may hold the GIL when the system preempts it, and then every thread
        waits.
        """
        until_s = time.monotonic() + MAX_PAUSE_S
        while self._is_busy() and not self._is_closed and time.monotonic() < until_s:
            time.sleep(POLL_INTERVAL_S)
        return not self._is_closed

    def close(self, timeout_s: float | None = None) -> bool:
        """Drop the queue and end the thread after its current job; returns whether it has ended.

        Args:
            timeout_s: how long to wait; None waits without limit.
        """
        self._is_closed = True
        if self._thread is not None:
            with suppress(queue.Empty):
                while True:
                    self._waiting.get_nowait()
            with suppress(queue.Full):  # then the thread takes a job and finds that it is closed
                self._waiting.put_nowait(None)
            self._thread.join(timeout_s)
        return self._thread is None or not self._thread.is_alive()

    def _start(self) -> None:
        with self._start_lock:
            if self._thread is None:
                # Not in __init__: worker processes are forked after that.
                self._thread = threading.Thread(target=self._work_off, name=self._name, daemon=True)
                self._thread.start()
                _started.append(self)
                atexit.register(self.close)

    def _work_off(self) -> None:
        if sys.platform == "linux":  # where each thread has its own priority
            with suppress(OSError):
                os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), LOWEST_PRIORITY)
        while not self._is_closed:
            work = self._waiting.get()
            if work is not None and self.may_go_on():
                try:
                    work()
                except Exception:  # no caller waits for the result
                    log.exception("work in the background (%s) failed", self._name)


def stop_background_work(status: int = 0) -> None:
    """End the background work; if that takes more than a second, exit the process immediately.

    Compiled code cannot be interrupted, and finalising the interpreter while it runs aborts the process (SIGABRT).
    """
    until_s = time.monotonic() + STOP_TIMEOUT_S
    is_over = [background.close(max(0.0, until_s - time.monotonic())) for background in _started]
    if not all(is_over):
        log.info("a computation in the background is broken off")
        logging.shutdown()
        os._exit(status)
