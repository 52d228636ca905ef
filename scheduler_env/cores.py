"""The cores that this process may use, and how searches that want several share them. Imports next to nothing."""

import math
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from scheduler_env.locks import native_rlock

CGROUPS = Path("/sys/fs/cgroup")
OWN_CGROUP = Path("/proc/self/cgroup")


def usable_cores() -> int:
    """How many cores this process may use, >= 1: those of its affinity, at most its share of their time, rounded up."""
    present = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    return math.ceil(min(present, _quota(CGROUPS, OWN_CGROUP)))


class Threads:
    """Of the threads that all searches of this process may have together, some for each; used from any thread."""

    def __init__(self, most: int) -> None:
        """`most` may be changed at any time; who has some keeps them."""
        self.most = most
        self._taken = 0
        self._lock = native_rlock()

    @contextmanager
    def take(self, wanted: int) -> Iterator[int]:
        """As many as are free, at most `wanted`; one, if none is: a search is never refused."""
        with self._lock:
            given = max(1, min(wanted, self.most - self._taken))
            self._taken += given
        try:
            yield given
        finally:
            with self._lock:
                self._taken -= given


def _quota(cgroups: Path, own: Path) -> float:
    """The cores' worth of time that the process gets by cgroup (version 2 or 1), > 0; infinity without a limit."""
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
"""More than cores only take each other's time, and that of everybody else."""
