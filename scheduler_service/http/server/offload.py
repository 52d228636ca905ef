"""Native threads beside the event loop: whatever computes, waits for a disk or imports runs there.

Nothing is monkey-patched: locks are real, the loop only parses, routes and answers, and a kernel that releases the
GIL leaves the loop its core.

Not gevent's own thread pool: that wakes the loop once for each piece of work, through a watcher made for it, and keeps
those who wait for a thread where nobody can tell them that their client has gone.
"""

import contextvars
import os
import queue
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar, cast

import gevent
from gevent.event import Event

from scheduler_service.errors import ClientGone, Overloaded
from scheduler_service.http.watch.metrics import QueueMetrics

Result = TypeVar("Result")

LOOK_FOR_CLIENT_EVERY_S = 0.5
"""How long the work of a client that has gone may go on, at least."""
HAS_CLIENT_LEFT = "scheduler.has_client_left"
"""Where `connections` puts into a request's environment what tells whether its client is still there."""
LONGEST_WAIT_S = 1.0
"""Short work that waited longer before it was begun means that the queue is full, however few are in it."""
LONG_WORK_NICENESS = 15
"""Of threads that compute for seconds, and of those that they start; the event loop has 0, work in the background 19.

Eight of them together have a weight of 288 against the loop's 1,024 on the same core; with 10 it would be 880."""
CORES = os.sched_getaffinity(0) if sys.platform == "linux" else frozenset(range(os.cpu_count() or 1))
"""Those that this process might use when it was started."""


def keep_to(core: int) -> None:
    """From now on this thread, and the threads that it starts, run on `core` only; but see `is_for_long_work`.

    For one of several worker processes: what its loop hands to its threads and back is then in that core's cache,
    and nobody waits for a lock that another core holds: a quarter more requests a second
    (docs/decisions/lanes-and-cores.md).
    """
    if sys.platform == "linux":
        with suppress(OSError):
            os.sched_setaffinity(0, {core})


class Ticket:
    """Tells a piece of work that is being done whether it is still wanted."""

    def __init__(self) -> None:
        self.is_dropped = False


class _Job:
    """A piece of work, and what came of it."""

    def __init__(self, work: Callable[[], Any], ticket: Ticket) -> None:
        self.work = work
        self.ticket = ticket
        self.context = contextvars.copy_context()
        self.since_s = time.monotonic()
        self.done = Event()
        self.result: Any = None
        self.error: BaseException | None = None

    def do(self) -> None:
        if self.ticket.is_dropped:
            return
        try:
            self.result = self.context.run(self.work)
        except BaseException as err:  # handed to the greenlet that waits
            self.error = err


class NativeThreads:
    """A few native threads with a bounded queue in front of them; used from one event loop."""

    def __init__(self, size: int, *, max_waiting: int, metrics: QueueMetrics, is_for_long_work: bool = False) -> None:
        """The threads start with the first piece of work.

        Args:
            is_for_long_work: the threads let the event loop and short work go first, and may use every core.
        """
        self._size = size
        self._most = size + max_waiting
        self._now = 0
        self._waited_s = 0.0  # what was begun last
        self._metrics = metrics
        self._is_for_long_work = is_for_long_work
        self._jobs: queue.SimpleQueue[_Job] = queue.SimpleQueue()
        self._finished: deque[_Job] = deque()
        self._wake_loop = gevent.get_hub().loop.async_()
        self._is_started = False
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
        is_slow = self._waited_s > LONGEST_WAIT_S and self._now > self._size and not self._is_for_long_work
        return is_slow or self._now >= self._most

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
            is_gone: whether the client has gone, asked now and then. Work of his that was not begun is dropped;
                `ticket` tells the work that was.

        Raises:
            Overloaded: the queue is full.
            ClientGone: nobody waits for the result.
        """
        if self.is_full:
            self.count_refused()
            raise Overloaded("overloaded", n_waiting=self._now)
        if not self._is_started:
            self._start()
        job = _Job(work, ticket or Ticket())
        self._change_depth(1)
        self._jobs.put(job)
        while not job.done.wait(None if is_gone is None else LOOK_FOR_CLIENT_EVERY_S):
            if is_gone is not None and is_gone():
                job.ticket.is_dropped = True
                raise ClientGone
        if job.error is not None:
            try:
                raise job.error
            finally:
                job.error = None  # its traceback holds the job: both, and a body of 8 MB, would wait for the collector
        return cast(Result, job.result)

    def count_refused(self) -> None:
        """For who refuses work before it gets here."""
        self._metrics.count_refused()

    def _start(self) -> None:
        self._is_started = True
        self._wake_loop.start(self._hand_over)
        for _ in range(self._size):
            threading.Thread(target=self._work_off, daemon=True).start()

    def _work_off(self) -> None:
        if self._is_for_long_work and sys.platform == "linux":  # where threads have priorities and cores of their own
            with suppress(OSError):
                os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), LONG_WORK_NICENESS)
                os.sched_setaffinity(threading.get_native_id(), CORES)
        while True:
            job = self._jobs.get()
            self._waited_s = time.monotonic() - job.since_s
            job.do()
            self._finished.append(job)
            self._wake_loop.send()  # several before the loop gets to it wake it once
            del job  # or the last one's result would live until the next

    def _hand_over(self) -> None:
        """Called by the loop: also what nobody waits for any more makes room in the queue."""
        done = 0
        while self._finished:
            self._finished.popleft().done.set()
            done += 1
        self._change_depth(-done)

    def _change_depth(self, by: int) -> None:
        self._now += by
        self._metrics.set_depth(self._now)
