"""Records of runs on their way to the disk: those that arrive while a commit is made share the next one.

An answer leaves only when its record is on the disk. One thread at a time writes, so that waiting for the disk costs
neither threads nor their fight for the interpreter.
"""

from collections.abc import Sequence

import gevent
from gevent.event import AsyncResult

from monitoring import PerformanceMonitor, PerformanceRecord
from scheduler_service.errors import StorageUnavailable
from scheduler_service.http.metrics import Metrics
from scheduler_service.http.offload import NativeThreads

_Waiting = tuple[Sequence[PerformanceRecord], AsyncResult]


class Recorder:
    """Writes records; used from one event loop."""

    def __init__(self, monitor: PerformanceMonitor, storage: NativeThreads, metrics: Metrics) -> None:
        self._monitor = monitor
        self._storage = storage
        self._metrics = metrics
        self._waiting: list[_Waiting] = []
        self._is_writing = False

    def record(self, records: Sequence[PerformanceRecord]) -> None:
        """Returns when the records are on the disk.

        Raises:
            StorageUnavailable: they cannot be written.
            Overloaded: too many others wait for the disk.
        """
        written = AsyncResult()
        self._waiting.append((records, written))
        if not self._is_writing:
            self._is_writing = True
            gevent.spawn(self._write)
        written.get()

    def _write(self) -> None:
        try:
            while self._waiting:
                batch, self._waiting = self._waiting, []
                self._write_together(batch)
        finally:
            self._is_writing = False

    def _write_together(self, batch: list[_Waiting]) -> None:
        records = [record for some, _ in batch for record in some]

        def write() -> None:
            self._monitor.record_performance(*records)
            self._metrics.count_records("written", len(records))
            for record in records:
                self._metrics.observe_run(record)

        try:
            self._storage.run(write)
        except Exception as err:
            if isinstance(err, StorageUnavailable):
                self._metrics.count_records("failed", len(records))
            for _, written in batch:
                written.set_exception(err)
        else:
            for _, written in batch:
                written.set(None)
