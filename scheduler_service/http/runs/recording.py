"""Writes records of runs in batches: records that arrive during a commit share the next one.

An answer is sent only after its record is on the disk. One thread writes at a time, so that waiting for the disk needs
no further threads, which would compete for the GIL.
"""

import contextvars
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import gevent
from gevent.event import AsyncResult

from monitoring import PerformanceMonitor, PerformanceRecord
from scheduler_service.errors import StorageUnavailable
from scheduler_service.http.server.offload import NativeThreads
from scheduler_service.http.watch.metrics import Metrics

MAX_BLOCKED, BLOCKED_AFTER_S = 64, 1.0
"""If writing a batch takes longer than `BLOCKED_AFTER_S`, at most this many runs wait; others are refused immediately.
They wait in greenlets, not in threads: a disk that blocks for two seconds should not cause refusals at moderate
load."""


@dataclass(frozen=True, slots=True, eq=False)
class _Waiting:
    records: Sequence[PerformanceRecord]
    then: Callable[[], None]
    context: contextvars.Context  # of the request, for its id in the log
    is_written: AsyncResult


class Recorder:
    """Writes records; used from one event loop."""

    def __init__(self, monitor: PerformanceMonitor, storage: NativeThreads, metrics: Metrics) -> None:
        self._monitor = monitor
        self._storage = storage
        self._metrics = metrics
        self._waiting: list[_Waiting] = []
        self._is_writing = False
        self._began_s = 0.0  # start of the current batch; monotonic

    def record(self, records: Sequence[PerformanceRecord], then: Callable[[], None]) -> None:
        """Write the records, then call `then`, which may also wait for a disk; returns when both are done.

        Raises:
            StorageUnavailable: they cannot be written, or the disk is slow and `MAX_BLOCKED` others wait for it.
            Overloaded: the queue of the storage threads is full.
        """
        waiting = _Waiting(records, then, contextvars.copy_context(), AsyncResult())
        if self._is_blocked and len(self._waiting) >= MAX_BLOCKED:
            raise self._refusal()
        self._waiting.append(waiting)
        if not self._is_writing:
            self._is_writing = True
            gevent.spawn(self._write)
        while not waiting.is_written.ready():
            waiting.is_written.wait(BLOCKED_AFTER_S)
            if self._is_blocked and waiting in self._waiting[MAX_BLOCKED:]:
                self._waiting.remove(waiting)
                raise self._refusal()
        waiting.is_written.get()

    @property
    def _is_blocked(self) -> bool:
        return self._is_writing and time.monotonic() - self._began_s > BLOCKED_AFTER_S

    def _refusal(self) -> StorageUnavailable:
        took_s = time.monotonic() - self._began_s
        return StorageUnavailable("recording_blocked", waited=round(took_s, 1))

    def _write(self) -> None:
        try:
            while self._waiting:
                batch, self._waiting = self._waiting, []
                self._began_s = time.monotonic()
                self._write_together(batch)
        finally:
            self._is_writing = False

    def _write_together(self, batch: list[_Waiting]) -> None:
        records = [record for waiting in batch for record in waiting.records]

        def write() -> None:
            self._monitor.record_performance(*records)
            self._metrics.count_records("written", len(records))
            for record in records:
                self._metrics.observe_run(record)
            for waiting in batch:
                waiting.context.run(waiting.then)

        try:
            self._storage.run(write)
        except Exception as err:
            if isinstance(err, StorageUnavailable):
                self._metrics.count_records("failed", len(records))
            for waiting in batch:
                waiting.is_written.set_exception(err)
        else:
            for waiting in batch:
                waiting.is_written.set(None)
