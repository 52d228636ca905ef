"""The cores that this process may use, and how parallel searches share them. Imports only the standard library."""

import math
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")
OWN_CGROUP = Path("/proc/self/cgroup")


def usable_cores() -> int:
    """Number of cores this process may use, >= 1: its CPU affinity, limited by its cgroup quota, rounded up."""
    present = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    return math.ceil(min(present, _quota(CGROUPS, OWN_CGROUP)))


class Threads:
    """A limit on the threads that all searches of this process use together; thread-safe."""

    def __init__(self, limit: int) -> None:
        """`limit` may be changed at any time; threads that are already taken are not affected."""
        self.limit = limit
        self._taken = 0
        self._lock = threading.Lock()

    @contextmanager
    def take(self, wanted: int) -> Iterator[int]:
        """Reserve the free threads, at most `wanted`, within the block; at least one, so that no search is refused."""
        with self._lock:
            given = max(1, min(wanted, self.limit - self._taken))
            self._taken += given
        try:
            yield given
        finally:
            with self._lock:
                self._taken -= given


def _quota(cgroups: Path, own: Path) -> float:
    """The CPU quota of the process's cgroup (version 2 or 1) in cores, > 0; infinity without a limit."""
    quotas = [math.inf]
    with suppress(OSError, ValueError):
        name = own.read_text().rpartition("0::")[2].strip().lstrip("/")
        folder = cgroups / name
        for each in (folder, *folder.parents):
            if each.is_relative_to(cgroups) and (each / "cpu.max").exists():
                used, period = (each / "cpu.max").read_text().split()
                quotas.append(math.inf if used == "max" else int(used) / int(period))
    with suppress(OSError, ValueError):
        used_us = int((cgroups / "cpu" / "cpu.cfs_quota_us").read_text())  # -1: no limit
        quotas.append(used_us / int((cgroups / "cpu" / "cpu.cfs_period_us").read_text()) if used_us > 0 else math.inf)
    return min(quotas)


SOLVER_THREADS = Threads(usable_cores())
"""More threads than cores would only compete for the cores, also with other requests."""
