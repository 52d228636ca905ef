"""Work that nobody waits for, beside the work that clients wait for."""

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
LULL_WITHIN_S = 1.0
"""How long a piece of work waits for a moment when no client waits; then it goes on all the same, or a busy service
would never get anything of it done."""
LOOK_EVERY_S = 0.005
PATIENCE_S = 1.0
"""How long the end of the process waits for what is being done; a longer computation is broken off."""

log = logging.getLogger(__name__)

_started: list["Background"] = []  # of this process


class Background:
    """One native thread of the lowest priority that works off a short queue.

    The end of the process waits for the piece of work that is being done, unless `leave` ends it.
    """

    def __init__(self, name: str, is_busy: Callable[[], bool], *, max_waiting: int) -> None:
        """`is_busy` says whether clients wait for schedules now. The thread starts with the first piece of work."""
        self._name = name
        self._is_busy = is_busy
        self._waiting: queue.Queue[Callable[[], None] | None] = queue.Queue(max_waiting)
        self._starting = threading.Lock()
        self._thread: threading.Thread | None = None
        self._is_over = False

    @property
    def waiting(self) -> int:
        """Pieces of work in the queue."""
        return self._waiting.qsize()

    def submit(self, work: Callable[[], None]) -> bool:
        """Whether the work will be done; False if the queue is full. Never waits."""
        if self._is_over:
            return False
        with suppress(queue.Full):
            self._waiting.put_nowait(work)
            self._start()
            return True
        return False

    def may_go_on(self) -> bool:
        """For the work to ask in between: waits while clients wait, a second at most; False when all is over.

        A low priority alone does not keep a thread out of the way: it may be holding the interpreter's lock when the
        system takes the processor from it, and then everybody waits.
        """
        until_s = time.monotonic() + LULL_WITHIN_S
        while self._is_busy() and not self._is_over and time.monotonic() < until_s:
            time.sleep(LOOK_EVERY_S)
        return not self._is_over

    def close(self, patience_s: float | None = None) -> bool:
        """Drops the queue and ends the thread when it is done with what it is doing; whether that was in time.

        Args:
            patience_s: how long to wait for that; None: until it is done.
        """
        self._is_over = True
        if self._thread is not None:
            with suppress(queue.Empty):
                while True:
                    self._waiting.get_nowait()
            with suppress(queue.Full):  # then the thread finds work, and that all is over
                self._waiting.put_nowait(None)
            self._thread.join(patience_s)
        return self._thread is None or not self._thread.is_alive()

    def _start(self) -> None:
        with self._starting:
            if self._thread is None:
                # Here and not where this is made: a worker process is forked after that.
                self._thread = threading.Thread(target=self._work_off, name=self._name, daemon=True)
                self._thread.start()
                _started.append(self)
                atexit.register(self.close)

    def _work_off(self) -> None:
        if sys.platform == "linux":  # where a thread has a priority of its own
            with suppress(OSError):
                os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), LOWEST_PRIORITY)
        while not self._is_over:
            work = self._waiting.get()
            if work is not None and self.may_go_on():
                try:
                    work()
                except Exception:  # nobody waits for it, so nobody is told
                    log.exception("work in the background (%s) failed", self._name)


def leave(status: int = 0) -> None:
    """Ends the work in the background; if that cannot be done in a second, also the process, there and then.

    Compiled code cannot be interrupted, and an interpreter that ends beneath it aborts (SIGABRT).
    """
    until_s = time.monotonic() + PATIENCE_S
    is_over = [background.close(max(0.0, until_s - time.monotonic())) for background in _started]
    if not all(is_over):
        log.info("a computation in the background is broken off")
        logging.shutdown()
        os._exit(status)
