"""The service over a folder of its own, under each server that could carry it.

`python -m benchmarks.attacks.servers pywsgi PORT` is one of them: gevent's WSGI server as it is.
"""

import os
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path

from benchmarks.attacks.slow import LARGE_BYTES, LARGE_REPORT
from benchmarks.attacks.target import Target
from benchmarks.attacks.work import CPSAT_FILE
from benchmarks.servers import free_port, our_service, running
from scheduler_service.keys import digest_of

HOST = "127.0.0.1"
ENVIRONMENT = {
    # A key that exists, so that an unknown one is refused; who has none may do everything on loopback.
    "SCHED_API_KEYS": f"benchmark:admin:{digest_of('benchmark')}",
    "SCHED_LOG_LEVEL": "WARNING",
    "SCHED_ALERT_EVERY_S": "0",
}
GUNICORN = ("-m", "gunicorn", "enhanced_flask:worker_application()", "--workers", "1", "--backlog", "4096")
THREADS = "32"


def prepare(home: Path) -> None:
    """The files that attacks ask for."""
    (home / "reports").mkdir(parents=True, exist_ok=True)
    (home / "reports" / LARGE_REPORT).write_bytes(b"<p>x</p>" * (LARGE_BYTES // 8))
    (home / CPSAT_FILE).write_text(
        '{"format": "scheduler-baseline/1", "algorithm": "CPSAT", "parameters": {"time_limit_s": 10, "workers": 8}}'
    )


@contextmanager
def ours(home: Path, *, workers: int) -> Iterator[Target]:
    with our_service(home, workers, ENVIRONMENT) as server:
        yield Target(HOST, server.port, (server.pid,), home)


@contextmanager
def started(home: Path, *, command: Callable[[int], Sequence[str]]) -> Iterator[Target]:
    """Another server; `command` makes its arguments of its port."""
    port = free_port()
    environment = ENVIRONMENT | {"SCHED_HOME": str(home), "SCHED_PORT": str(port)}
    with running(command(port), home, port, "/health/ready", 1, environment) as server:
        yield Target(HOST, port, (server.pid,), home)


def _pywsgi(port: int) -> Sequence[str]:
    return ("-m", "benchmarks.attacks.servers", "pywsgi", str(port))


def _gunicorn_gevent(port: int) -> Sequence[str]:
    return (*GUNICORN, "-k", "gevent", "--worker-connections", "10000", "--bind", f"{HOST}:{port}")


def _gunicorn_threads(port: int) -> Sequence[str]:
    """See `threaded_application`: as it is, every route that uses a native thread answers 500."""
    return ("-m", "benchmarks.attacks.servers", "gunicorn-threads", str(port))


SERVERS: dict[str, Callable[[Path], AbstractContextManager[Target]]] = {
    "ours": partial(ours, workers=1),
    "workers": partial(ours, workers=2),
    "pywsgi": partial(started, command=_pywsgi),
    "gunicorn-gevent": partial(started, command=_gunicorn_gevent),
    "gunicorn-threads": partial(started, command=_gunicorn_threads),
}


def _serve_pywsgi(port: int) -> None:
    import gevent
    from gevent.pywsgi import WSGIServer

    from enhanced_flask import make_app
    from scheduler_service.http.guards.limits import Limits
    from scheduler_service.http.server.serving import connection_limit, listening_socket
    from scheduler_service.logs import configure_logging
    from scheduler_service.settings import settings_from_environment

    settings = settings_from_environment()
    configure_logging(settings)
    connection_limit()  # as many open files as the system allows
    app, after_start = make_app(settings, Limits(settings))
    gevent.spawn(after_start)
    WSGIServer(listening_socket(HOST, port), app, log=None).serve_forever()


class _Directly:
    """In place of what wakes an event loop, which gunicorn's threads do not have."""

    def __init__(self) -> None:
        self._one_at_a_time = threading.Lock()
        self._hand_over: Callable[[], None] | None = None

    def start(self, hand_over: Callable[[], None]) -> None:
        self._hand_over = hand_over

    def send(self) -> None:
        with self._one_at_a_time:
            if self._hand_over is not None:
                self._hand_over()


def threaded_application() -> object:
    """The application, made to wait for its native threads by locks instead of greenlets."""
    from enhanced_flask import create_app, warm_up
    from scheduler_service.http.server import offload
    from scheduler_service.http.services import EXTENSION

    vars(offload)["Event"] = threading.Event
    app = create_app()
    parts = app.extensions[EXTENSION]
    for each in vars(parts).values():
        if isinstance(each, offload.NativeThreads):
            each._wake_loop = _Directly()
    threading.Thread(target=warm_up, args=(parts,), daemon=True).start()
    return app


def _serve_gunicorn_threads(port: int) -> None:
    arguments = [*GUNICORN, "-k", "gthread", "--threads", THREADS, "--bind", f"{HOST}:{port}"]
    arguments[2] = "benchmarks.attacks.servers:threaded_application()"
    os.execv(sys.executable, [sys.executable, *arguments])


if __name__ == "__main__":
    {"pywsgi": _serve_pywsgi, "gunicorn-threads": _serve_gunicorn_threads}[sys.argv[1]](int(sys.argv[2]))
