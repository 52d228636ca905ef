"""A worker process of gunicorn that serves as the service does in one process (`connections`).

gunicorn keeps the processes: it starts them, replaces the dead and the hung, and asks them to end. Its own way to serve
is not used: it closes idle connections when a worker ends, at once or not for a second, and patches locks, which the
native threads use (`offload`).
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

from scheduler_service.http.server.connections import Server, Share
from scheduler_service.http.server.serving import answer_without_delay, drain, give_memory_back, room_for_connections

BEAT_S = 1.0
"""How often the worker tells that its event loop turns; gunicorn kills it after `processes.HUNG_S` without."""
REPLACED_PATIENCE_S = 5.0
"""How long the idle connections of a worker that is replaced stay open."""

log = logging.getLogger("scheduler.serving")


class Worker(GeventWorker):  # type: ignore[misc]
    """SIGTERM: another worker takes over. SIGQUIT: the service ends. SIGQUIT again: at once."""

    share: Share | None = None  # given by the master before the fork

    def patch(self) -> None:
        """Only the listening sockets become gevent's."""
        self.sockets: list[socket.socket] = [
            socket.socket(listener.FAMILY, socket.SOCK_STREAM, fileno=listener.sock.detach())
            for listener in self.sockets
        ]

    def init_signals(self) -> None:
        super().init_signals()
        # Ctrl-C reaches every process of the terminal; the master tells the workers what it means.
        signal.signal(signal.SIGINT, signal.SIG_IGN)

    def handle_quit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002  (gunicorn's signature)
        """Before `run`: there is nothing to finish yet."""
        self.alive = False

    def run(self) -> None:
        give_memory_back()
        (listener,) = self.sockets
        answer_without_delay(listener)
        listener.setblocking(False)
        server = Server(listener, self.wsgi, max_connections=room_for_connections(), share=self.share)
        stop, service_ends, at_once = gevent.event.Event(), gevent.event.Event(), gevent.event.Event()

        def end() -> None:
            (at_once if service_ends.is_set() else service_ends).set()
            stop.set()

        gevent.signal_handler(signal.SIGTERM, stop.set)
        gevent.signal_handler(signal.SIGQUIT, end)
        gevent.spawn(self._beat, end)
        if self.alive:
            server.start()
            stop.wait()
        drain(
            server,
            keeps_idle=lambda waited_s: waited_s < REPLACED_PATIENCE_S and not service_ends.is_set(),
            at_once=at_once,
        )

    def _beat(self, end: Callable[[], None]) -> None:
        is_orphan = False
        while True:
            self.tmp.notify()
            if os.getppid() != self.ppid and not is_orphan:
                is_orphan = True
                log.error("the master process is gone; this worker ends, too")
                end()
            gevent.sleep(BEAT_S)


class ServiceLog(Logger):  # type: ignore[misc]
    """gunicorn's lines go where ours go, so that the log tells of workers that were replaced."""

    def setup(self, cfg: object) -> None:
        self.cfg = cfg
        self._access_log_enabled = False
        self.error_log.propagate = True

    def reopen_files(self) -> None:
        """Nothing: our handler follows a file that was renamed, and must not be closed."""

    def close_on_exec(self) -> None:
        """Nothing: Python opens files so."""
