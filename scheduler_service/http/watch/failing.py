"""Failed runs of experiments wake the check of the breakers."""

from collections.abc import Iterable

from gevent.event import Event

from monitoring import PerformanceRecord


class FailedRuns:
    """The experiments with failed runs since the last `wait`; used from one event loop."""

    def __init__(self) -> None:
        self._experiments: set[str] = set()
        self._has_failures = Event()

    def add(self, records: Iterable[PerformanceRecord]) -> None:
        """Add newly recorded runs; only failures of an arm's own model count."""
        failed = {each.experiment for each in records if not each.success and each.variant and each.experiment}
        if failed:
            self._experiments |= failed
            self._has_failures.set()

    def wait(self, timeout_s: float | None) -> frozenset[str]:
        """Wait for failures; returns their experiments, or an empty set after `timeout_s`; None: no limit."""
        self._has_failures.wait(timeout_s)
        self._has_failures.clear()
        found, self._experiments = frozenset(self._experiments), set()
        return found
