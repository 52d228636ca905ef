"""Native threads beside the event loop: whatever computes, waits for a disk or imports runs there.

Nothing is monkey-patched: locks are real, the loop only parses, routes and answers, and a kernel that releases the
GIL leaves the loop its core.
"""

import contextvars
import os
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar, cast

import gevent
from gevent.lock import Semaphore
from gevent.threadpool import ThreadPool

from scheduler_service.errors import Overloaded
from scheduler_service.http.metrics import QueueMetrics

Result = TypeVar("Result")

LOOK_FOR_CLIENT_EVERY_S = 0.5
"""How long the work of a client that has gone may go on, at least."""


class ClientGone(Exception):
    """Nobody waits for the answer any more; the work was dropped."""


class Ticket:
    """Tells a piece of work that is being done whether it is still wanted."""

    def __init__(self) -> None:
        self.is_dropped = False


class NativeThreads:
    """A few native threads with a bounded queue in front of them; used from one event loop."""

    def __init__(self, size: int, *, max_waiting: int, metrics: QueueMetrics, niceness: int = 0) -> None:
        """`niceness`: 0 (as the event loop) to 19; a thread that computes for long lets the others go first."""
        self._pool = ThreadPool(size, gevent.get_hub())
        self._free = Semaphore(size)  # in front of the pool's own, which does not let go of those who wait
        self._most = size + max_waiting
        self._now = 0
        self._metrics = metrics
        self._niceness = niceness
        self._local = threading.local()
        metrics.set_capacity(self._most)

    @property
    def is_busy(self) -> bool:
        """Whether anything is computed now, or waits for it; may be asked from any thread."""
        return self._now > 0

    @property
    def load(self) -> str:
        """How much is being computed or waits, of how much there is room for."""
        return f"{self._now} of {self._most}"

    @property
    def is_full(self) -> bool:
        """Whether the next piece of work would be refused."""
        return self._now >= self._most

    def run(
        self,
        work: Callable[[], Result],
        *,
        is_gone: Callable[[], bool] | None = None,
        ticket: Ticket | None = None,
    ) -> Result:
        """What `work` returns or raises; other requests are served meanwhile.

        Context variables (the request's id) are the caller's.

        Args:
            is_gone: whether the client has gone, asked now and then; work of his that was not begun is dropped, and
                `ticket` tells the work that was.

        Raises:
            Overloaded: the queue is full.
            ClientGone: nobody waits for the result.
        """
        if self.is_full:
            self._metrics.count_refused()
            raise Overloaded(f"{self._now} requests are being computed or wait for it; come back later")
        self._change_depth(1)
        try:
            self._wait_for_thread(is_gone)
        except BaseException:
            self._change_depth(-1)
            raise
        # The error comes back as a value: gevent would print the trace of one that is raised in its thread.
        outcome = self._pool.spawn(contextvars.copy_context().run, self._outcome, work)
        outcome.rawlink(self._finished)
        while is_gone is not None and not outcome.ready():
            outcome.wait(LOOK_FOR_CLIENT_EVERY_S)
            if not outcome.ready() and is_gone():
                if ticket is not None:
                    ticket.is_dropped = True
                raise ClientGone
        result, error = outcome.get()
        if error is not None:
            raise error
        return cast(Result, result)

    def _wait_for_thread(self, is_gone: Callable[[], bool] | None) -> None:
        if self._free.acquire(blocking=False):
            return
        while not self._free.acquire(timeout=None if is_gone is None else LOOK_FOR_CLIENT_EVERY_S):
            if is_gone is not None and is_gone():
                raise ClientGone
        if is_gone is not None and is_gone():
            self._free.release()
            raise ClientGone

    def _finished(self, _: object) -> None:
        """Called by the loop when the thread is free again, whether or not anybody still waits for the result."""
        self._free.release()
        self._change_depth(-1)

    def _change_depth(self, by: int) -> None:
        self._now += by
        self._metrics.set_depth(self._now)

    def _outcome(self, work: Callable[[], Result]) -> tuple[Result | None, Exception | None]:
        if self._niceness:
            self._let_others_go_first()
        try:
            return work(), None
        except Exception as err:  # handed to the caller's thread
            return None, err

    def _let_others_go_first(self) -> None:
        if not getattr(self._local, "is_nice", False) and sys.platform == "linux":  # threads have their own priority
            with suppress(OSError):
                os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), self._niceness)
        self._local.is_nice = True
