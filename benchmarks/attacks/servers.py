"""The service over a folder of its own, under each server that could carry it."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from benchmarks.attacks.slow import LARGE_BYTES, LARGE_REPORT
from benchmarks.attacks.target import Target
from benchmarks.attacks.work import CPSAT_FILE
from benchmarks.servers import our_service
from scheduler_service.keys import digest_of

ENVIRONMENT = {
    # A key that exists, so that an unknown one is refused; who has none may do everything on loopback.
    "SCHED_API_KEYS": f"benchmark:admin:{digest_of('benchmark')}",
    "SCHED_LOG_LEVEL": "WARNING",
}


def prepare(home: Path) -> None:
    """The files that attacks ask for."""
    (home / "reports").mkdir(parents=True, exist_ok=True)
    (home / "reports" / LARGE_REPORT).write_bytes(b"<p>x</p>" * (LARGE_BYTES // 8))
    (home / CPSAT_FILE).write_text(
        '{"format": "scheduler-baseline/1", "algorithm": "CPSAT", "parameters": {"time_limit_s": 10, "workers": 8}}'
    )


@contextmanager
def ours(home: Path) -> Iterator[Target]:
    with our_service(home, 1, ENVIRONMENT) as server:
        yield Target("127.0.0.1", server.port, (server.pid,), home)


@contextmanager
def workers(home: Path) -> Iterator[Target]:
    with our_service(home, 2, ENVIRONMENT) as server:
        yield Target("127.0.0.1", server.port, (server.pid,), home)


SERVERS: dict[str, Callable[[Path], AbstractContextManager[Target]]] = {"ours": ours, "workers": workers}
