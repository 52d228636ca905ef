"""Runs of experiments that failed just now: they wake the watch, which looks every second otherwise."""

from collections.abc import Iterable

from gevent.event import Event

from monitoring import PerformanceRecord


class FailedRuns:
    """The experiments whose arms failed since somebody asked; used from one event loop."""

    def __init__(self) -> None:
        self._experiments: set[str] = set()
        self._is_told = Event()

    def tell(self, records: Iterable[PerformanceRecord]) -> None:
        """Of runs that are recorded now; only those in which an arm's own model failed matter."""
        failed = {each.experiment for each in records if not each.success and each.variant and each.experiment}
        if failed:
            self._experiments |= failed
            self._is_told.set()

    def wait(self, timeout_s: float) -> frozenset[str]:
        """The experiments, as soon as there are any; none when that time has passed without one."""
        self._is_told.wait(timeout_s)
        self._is_told.clear()
        found, self._experiments = frozenset(self._experiments), set()
        return found
