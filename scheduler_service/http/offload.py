"""Native threads beside the event loop: whatever computes, waits for a disk or imports runs there.

Nothing is monkey-patched: locks are real, the loop only parses, routes and answers, and a kernel that releases the
GIL leaves the loop its core.
"""

import contextvars
from collections.abc import Callable
from typing import TypeVar, cast

import gevent
from gevent.threadpool import ThreadPool

from scheduler_service.errors import Overloaded
from scheduler_service.http.metrics import QueueMetrics

Result = TypeVar("Result")


class NativeThreads:
    """A few native threads with a bounded queue in front of them; used from one event loop."""

    def __init__(self, size: int, *, max_waiting: int, metrics: QueueMetrics) -> None:
        self._pool = ThreadPool(size, gevent.get_hub())
        self._most = size + max_waiting
        self._now = 0
        self._metrics = metrics
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

    def run(self, work: Callable[[], Result]) -> Result:
        """What `work` returns or raises; other requests are served meanwhile.

        Context variables (the request's id) are the caller's.

        Raises:
            Overloaded: the queue is full.
        """
        if self.is_full:
            self._metrics.count_refused()
            raise Overloaded(f"{self._now} requests are being computed or wait for it; come back later")
        context = contextvars.copy_context()
        self._now += 1
        self._metrics.set_depth(self._now)
        try:
            # The error comes back as a value: gevent would print the trace of one that is raised in its thread.
            result, error = self._pool.spawn(context.run, _outcome, work).get()
        finally:
            self._now -= 1
            self._metrics.set_depth(self._now)
        if error is not None:
            raise error
        return cast(Result, result)


def _outcome(work: Callable[[], Result]) -> tuple[Result | None, Exception | None]:
    try:
        return work(), None
    except Exception as err:  # handed to the caller's thread
        return None, err
