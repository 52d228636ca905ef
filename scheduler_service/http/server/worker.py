"""A gunicorn worker that serves like the single process (`connections`).

gunicorn manages the processes: it starts them, replaces dead and hung ones, and asks them to end. Its own serving is
not used: it does not give idle connections time for one more request when a worker ends, and it patches locks, which
the native threads use (`offload`).
"""

import logging
import os
import signal
from collections.abc import Callable
from types import FrameType

import gevent
import gevent.event
from gevent import socket
from gunicorn.glogging import Logger
from gunicorn.workers.ggevent import GeventWorker

from scheduler_service.http.server.connections import ConnectionCounts, Server
from scheduler_service.http.server.serving import connection_limit, disable_nagle, drain, return_freed_memory

HEARTBEAT_S = 1.0
"""Interval of the worker's heartbeats; gunicorn kills it after `processes.HANG_TIMEOUT_S` without one."""
REPLACED_IDLE_TIMEOUT_S = 5.0
"""How long idle connections of a worker stay open while it is being replaced."""

log = logging.getLogger("scheduler.serving")


class Worker(GeventWorker):  # type: ignore[misc]
    """SIGTERM: another worker takes over. SIGQUIT: the service ends. A second SIGQUIT: immediately."""

    connection_counts: ConnectionCounts | None = None  # set by the master before the fork

    def patch(self) -> None:
        """Make only the listening sockets gevent sockets."""
        self.sockets: list[socket.socket] = [
            socket.socket(listener.FAMILY, socket.SOCK_STREAM, fileno=listener.sock.detach())
            for listener in self.sockets
        ]

    def init_signals(self) -> None:
        super().init_signals()
        # Ctrl-C reaches every process of the terminal, but the master signals the workers.
        signal.signal(signal.SIGINT, signal.SIG_IGN)

    def handle_quit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002  (gunicorn's signature)
        """Used before `run`: there is nothing to finish yet."""
        self.alive = False

    def run(self) -> None:
        return_freed_memory()
        (listener,) = self.sockets
        disable_nagle(listener)
        listener.setblocking(False)
        server = Server(
            listener, self.wsgi, max_connections=connection_limit(), connection_counts=self.connection_counts
        )
        stop, service_ends, force = gevent.event.Event(), gevent.event.Event(), gevent.event.Event()

        def end() -> None:
            (force if service_ends.is_set() else service_ends).set()
            stop.set()

        gevent.signal_handler(signal.SIGTERM, stop.set)
        gevent.signal_handler(signal.SIGQUIT, end)
        gevent.spawn(self._heartbeat, end)
        if self.alive:
            server.start()
            stop.wait()
        drain(
            server,
            keeps_idle=lambda waited_s: waited_s < REPLACED_IDLE_TIMEOUT_S and not service_ends.is_set(),
            force=force,
        )

    def _heartbeat(self, end: Callable[[], None]) -> None:
        is_orphan = False
        while True:
            self.tmp.notify()
            if os.getppid() != self.ppid and not is_orphan:
                is_orphan = True
                log.error("the master process is gone; this worker ends, too")
                end()
            gevent.sleep(HEARTBEAT_S)


class ServiceLog(Logger):  # type: ignore[misc]
    """Sends gunicorn's messages to the service's log, so that it shows replaced workers."""

    def setup(self, cfg: object) -> None:
        self.cfg = cfg
        self._access_log_enabled = False
        self.error_log.propagate = True

    def reopen_files(self) -> None:
        """Nothing: the service's handler reopens a renamed file itself, and must not be closed."""

    def close_on_exec(self) -> None:
        """Nothing: Python sets close-on-exec by default."""
