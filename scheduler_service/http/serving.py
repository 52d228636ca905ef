"""Sockets, signals and worker processes: how an application is served, and how it ends.

One process: gevent's WSGI server. Several: gunicorn with its gevent worker, which here patches nothing (see
`offload`). Either way SIGTERM and SIGINT stop accepting, finish what is in flight, and end with 0.
"""

import logging
import os
import signal
import socket
import tempfile
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import gevent
import gevent.event
from gevent import socket as gevent_socket
from gevent.pool import Pool
from gevent.pywsgi import WSGIHandler, WSGIServer
from werkzeug.wsgi import ClosingIterator

from scheduler_service.http.background import leave
from scheduler_service.http.offload import CLIENT_SOCKET, CORES, keep_to
from scheduler_service.settings import Settings

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

BACKLOG = 1_024
MAX_CONNECTIONS = 10_000
DRAIN_S = 30.0
"""How long requests in flight may take after SIGTERM."""

log = logging.getLogger("scheduler.serving")

WarmUp = Callable[[], None]


def serve(app: "WSGIApplication", warm_up: WarmUp, settings: Settings) -> None:
    """Serve in this process until SIGTERM or SIGINT; `warm_up` is called once clients can connect."""
    draining = Draining(app)
    listener = listening_socket(settings.host, settings.port)
    server = WSGIServer(
        listener, draining, spawn=Pool(MAX_CONNECTIONS), log=None, error_log=log, handler_class=ConnectedHandler
    )
    stop = gevent.event.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        gevent.signal_handler(number, stop.set)
    server.start()
    _announce(listener.getsockname())
    gevent.spawn(warm_up)
    stop.wait()
    log.info("stopping: %d requests are in flight", draining.in_flight)
    server.close()
    draining.drain(DRAIN_S)
    server.stop(timeout=0)
    log.info("stopped")


def serve_with_workers(make_app: Callable[[], tuple["WSGIApplication", WarmUp]], settings: Settings) -> None:
    """Serve in `settings.workers` processes until SIGTERM or SIGINT; each makes its own application after the fork."""
    # The workers add their numbers up through files here; has to be known before prometheus_client is imported.
    with tempfile.TemporaryDirectory(prefix="scheduler-metrics-") as folder:
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = folder
        from gunicorn.app.base import BaseApplication

        class Application(BaseApplication):  # type: ignore[misc]
            def load_config(self) -> None:
                for name, value in _gunicorn_settings(settings).items():
                    self.cfg.set(name, value)

            def load(self) -> "WSGIApplication":
                app, warm_up = make_app()
                gevent.spawn(warm_up)
                return app

        Application().run()


def listening_socket(host: str, port: int) -> gevent_socket.socket:
    """A socket that clients can connect to.

    Raises:
        OSError: the address cannot be had.
    """
    family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    listener = gevent_socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    # Connections inherit it. Left alone, Nagle's algorithm costs a keep-alive request 44 ms (docs/architecture).
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    listener.bind(address)
    listener.listen(BACKLOG)
    listener.setblocking(False)
    return listener


class ConnectedHandler(WSGIHandler):  # type: ignore[misc]
    """Lets the application see the connection, so that it can tell whether the client is still there."""

    def get_environ(self) -> dict[str, Any]:
        environ: dict[str, Any] = super().get_environ()
        environ[CLIENT_SOCKET] = self.socket
        return environ


class Draining:
    """An application that knows how many requests are in flight, so that stopping can wait for them, and for no more.

    Idle keep-alive connections are not waited for.
    """

    def __init__(self, app: "WSGIApplication") -> None:
        self._app = app
        self._is_over = False
        self._idle = gevent.event.Event()
        self._idle.set()
        self.in_flight = 0

    def __call__(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        self.in_flight += 1
        self._idle.clear()

        def start(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
            return start_response(status, [*headers, ("Connection", "close")] if self._is_over else headers, exc_info)

        try:
            return ClosingIterator(self._app(environ, start), [self._finished])
        except BaseException:
            self._finished()
            raise

    def drain(self, timeout_s: float) -> None:
        """Wait until nothing is in flight, for at most `timeout_s`; connections close after their answer."""
        self._is_over = True
        if not self._idle.wait(timeout_s):
            log.warning("%d requests are cut off after %g s", self.in_flight, timeout_s)

    def _finished(self) -> None:
        self.in_flight -= 1
        if self.in_flight == 0:
            self._idle.set()


def _gunicorn_settings(settings: Settings) -> dict[str, object]:
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    return {
        "bind": f"{host}:{settings.port}",
        "workers": settings.workers,
        "worker_class": "scheduler_service.http.worker.UnpatchedGeventWorker",
        "worker_connections": MAX_CONNECTIONS,
        "backlog": BACKLOG,
        "graceful_timeout": int(DRAIN_S),
        "timeout": 60,
        "keepalive": 5,
        "proc_name": "shutdown-scheduler",
        "pre_fork": _choose_core,
        "post_fork": _keep_to_core,
        "when_ready": lambda arbiter: _announce(arbiter.LISTENERS[0].sock.getsockname()),
        "child_exit": _forget_worker,
        "worker_exit": _end_worker,
    }


def _choose_core(arbiter: Any, worker: Any) -> None:
    """The core that the fewest of the other workers keep to; none if there are more workers than cores."""
    taken = [other.core for other in arbiter.WORKERS.values()]
    cores = sorted(CORES)
    worker.core = min(cores, key=taken.count) if arbiter.num_workers <= len(cores) else None


def _keep_to_core(_arbiter: object, worker: Any) -> None:
    if worker.core is not None:
        keep_to(worker.core)


def _end_worker(_arbiter: object, _worker: object) -> None:
    leave()


def _forget_worker(_arbiter: object, worker: Any) -> None:
    from prometheus_client.multiprocess import mark_process_dead

    mark_process_dead(worker.pid)  # type: ignore[no-untyped-call]


def _announce(address: tuple[Any, ...]) -> None:
    host = f"[{address[0]}]" if ":" in address[0] else address[0]
    log.info("serving on http://%s:%d", host, address[1])
