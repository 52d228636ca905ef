"""Native threads beside the event loop, for computing, disk access and imports.

Nothing is monkey-patched: locks are native. The event loop only parses, routes and answers; the compiled code releases
the GIL.

gevent's own thread pool is not used: it creates a watcher and wakes the loop for each job, and a request that waits
for a thread there cannot be cancelled when its client disconnects.
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

CLIENT_CHECK_INTERVAL_S = 0.5
"""How often a request that waits for a thread checks whether its client has disconnected."""
HAS_CLIENT_LEFT = "scheduler.has_client_left"
"""The key in the WSGI environment of a function that returns whether the client has disconnected."""
MAX_QUEUE_WAIT_S = 1.0
"""If the last short job waited longer, the queue counts as full, however few jobs are in it."""
LONG_WORK_NICENESS = 15
"""For threads that compute for seconds, and for those that they start. The event loop has 0, background work 19.

Eight such threads have a total weight of 288 against the loop's 1,024 on the same core; with 10 it would be 880."""
CORES = os.sched_getaffinity(0) if sys.platform == "linux" else frozenset(range(os.cpu_count() or 1))
"""The cores that were available to the process at its start."""


def pin_to_core(core: int) -> None:
    """Pin this thread, and the threads that it starts, to `core`; but see `is_for_long_work`.

    For one of several worker processes: data that the loop and its threads exchange stays in that core's cache, and no
    thread waits for a lock held on another core. This serves 25 % more requests a second
    (docs/decisions/lanes-and-cores.md).
    """
    if sys.platform == "linux":
        with suppress(OSError):
            os.sched_setaffinity(0, {core})


class Ticket:
    """Lets a running job see that its client has disconnected."""

    def __init__(self) -> None:
        self.is_dropped = False


class _Job:
    """A function to call, and its result or error."""

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
        except BaseException as err:  # raised in the greenlet that waits
            self.error = err


class NativeThreads:
    """Native threads with a bounded queue; used from one event loop."""

    def __init__(self, size: int, *, max_waiting: int, metrics: QueueMetrics, is_for_long_work: bool = False) -> None:
        """The threads start with the first job.

        Args:
            is_for_long_work: the threads have a lower priority than the event loop, and may use every core.
        """
        self._size = size
        self._capacity = size + max_waiting
        self._depth = 0
        self._last_wait_s = 0.0  # of the job that was started last
        self._metrics = metrics
        self._is_for_long_work = is_for_long_work
        self._jobs: queue.SimpleQueue[_Job] = queue.SimpleQueue()
        self._finished: deque[_Job] = deque()
        self._wake_loop = gevent.get_hub().loop.async_()
        self._is_started = False
        metrics.set_capacity(self._capacity)

    @property
    def is_busy(self) -> bool:
        """Whether any job runs or waits; thread-safe."""
        return self._depth > 0

    @property
    def load(self) -> str:
        """Running and waiting jobs, and the limit, as "3 of 20"."""
        return f"{self._depth} of {self._capacity}"

    @property
    def is_full(self) -> bool:
        """Whether the next job would be refused."""
        is_slow = self._last_wait_s > MAX_QUEUE_WAIT_S and self._depth > self._size and not self._is_for_long_work
        return is_slow or self._depth >= self._capacity

    def run(
        self,
        work: Callable[[], Result],
        *,
        is_gone: Callable[[], bool] | None = None,
        ticket: Ticket | None = None,
    ) -> Result:
        """Run `work` on a thread; returns its result or raises its error. Other requests are served meanwhile.

        `work` sees the context variables of the caller (the request's id).

        Args:
            is_gone: whether the client has disconnected; called periodically. A job that has not started is then
                dropped; a running one sees it on its `ticket`.

        Raises:
            Overloaded: the queue is full.
            ClientGone: the client has disconnected.
        """
        if self.is_full:
            self.count_refused()
            raise Overloaded("overloaded", n_waiting=self._depth)
        if not self._is_started:
            self._start()
        job = _Job(work, ticket or Ticket())
        self._change_depth(1)
        self._jobs.put(job)
        while not job.done.wait(None if is_gone is None else CLIENT_CHECK_INTERVAL_S):
            if is_gone is not None and is_gone():
                job.ticket.is_dropped = True
                raise ClientGone
        if job.error is not None:
            try:
                raise job.error
            finally:
                job.error = None  # breaks a cycle: the traceback refers to the job, which may hold a body of 8 MB
        return cast(Result, job.result)

    def count_refused(self) -> None:
        """Count a job that the caller refused."""
        self._metrics.count_refused()

    def _start(self) -> None:
        self._is_started = True
        self._wake_loop.start(self._hand_over)
        for _ in range(self._size):
            threading.Thread(target=self._work_off, daemon=True).start()

    def _work_off(self) -> None:
        if self._is_for_long_work and sys.platform == "linux":  # where each thread has its own priority and cores
            with suppress(OSError):
                os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), LONG_WORK_NICENESS)
                os.sched_setaffinity(threading.get_native_id(), CORES)
        while True:
            job = self._jobs.get()
            self._last_wait_s = time.monotonic() - job.since_s
            job.do()
            self._finished.append(job)
            self._wake_loop.send()  # several calls before the loop runs wake it once
            del job  # else its result would stay in memory until the next job

    def _hand_over(self) -> None:
        """Called by the loop. Also jobs of disconnected clients make room in the queue."""
        done = 0
        while self._finished:
            self._finished.popleft().done.set()
            done += 1
        self._change_depth(-done)

    def _change_depth(self, by: int) -> None:
        self._depth += by
        self._metrics.set_depth(self._depth)
