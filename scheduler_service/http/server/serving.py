"""Sockets and signals of one serving process.

Several processes: see `processes`. In both cases SIGTERM and SIGINT stop accepting, finish requests in flight, and exit
with 0. A second signal cuts off requests in flight.
"""

import ctypes
import logging
import os
import resource
import signal
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import gevent
import gevent.event
from gevent import socket as gevent_socket

from scheduler_service.http.server.connections import Server
from scheduler_service.http.server.incoming import CHUNK_BYTES
from scheduler_service.settings import Settings

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

BACKLOG = 4_096
"""Connections that wait to be accepted, Linux' default maximum. Beyond it clients have to retry for seconds."""
MAX_CONNECTIONS = 10_000
SPARE_FILES = 256
"""Open files other than connections: libraries, the database, logs, models."""
DRAIN_S = 30.0
"""How long requests in flight may take after SIGTERM."""

M_MMAP_THRESHOLD = -3
"""From glibc's malloc.h."""

log = logging.getLogger("scheduler.serving")

WarmUp = Callable[[], None]


def serve(app: "WSGIApplication", warm_up: WarmUp, settings: Settings, *, reload: Callable[[], None]) -> None:
    """Serve in this process until SIGTERM or SIGINT.

    Args:
        warm_up: called once clients can connect.
        reload: called at SIGHUP.
    """
    return_freed_memory()
    listener = listening_socket(settings.host, settings.port)
    server = Server(listener, app, max_connections=connection_limit())
    stop, force = gevent.event.Event(), gevent.event.Event()

    def end() -> None:
        (force if stop.is_set() else stop).set()

    for number in (signal.SIGTERM, signal.SIGINT):
        gevent.signal_handler(number, end)
    gevent.signal_handler(signal.SIGHUP, reload)
    server.start()
    announce(listener.getsockname())
    gevent.spawn(warm_up)
    stop.wait()
    drain(server, keeps_idle=lambda _waited_s: False, force=force)


def drain(server: Server, *, keeps_idle: Callable[[float], bool], force: gevent.event.Event) -> None:
    """Shut down `server` (see `Server.drain`); also exit the process if requests were cut off."""
    log.info("stopping: %d requests are in flight", server.in_flight)
    is_finished = server.drain(DRAIN_S, keeps_idle=keeps_idle, force=force)
    log.info("stopped")
    if not is_finished:
        exit_now()


def exit_now() -> None:
    """Exit with 0 without waiting for threads: compiled code cannot be interrupted.

    No acknowledged run is lost: records are committed before the answer is sent.
    """
    logging.shutdown()
    os._exit(0)


def listening_socket(host: str, port: int) -> gevent_socket.socket:
    """A socket that clients can connect to.

    Raises:
        OSError: the address is not available.
    """
    family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    listener = gevent_socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    disable_nagle(listener)
    listener.bind(address)
    listener.listen(BACKLOG)
    listener.setblocking(False)
    return listener


def disable_nagle(listener: Any) -> None:
    """Accepted connections inherit it. Nagle's algorithm delays a keep-alive request by 44 ms (docs/architecture)."""
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def connection_limit() -> int:
    """The number of connections that this process can hold; raises its limit of open files as far as allowed."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MAX_CONNECTIONS + SPARE_FILES
    if soft != resource.RLIM_INFINITY and soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        return max(soft // 2, min(MAX_CONNECTIONS, soft - SPARE_FILES))
    return MAX_CONNECTIONS


def return_freed_memory() -> None:
    """Make malloc return freed bodies and answers to the system immediately.

    By default glibc raises its threshold whenever a large block is freed, and then keeps hundreds of MiB.
    """
    with suppress(AttributeError, OSError):  # another C library
        ctypes.CDLL(None).mallopt(M_MMAP_THRESHOLD, CHUNK_BYTES)


def announce(address: tuple[Any, ...]) -> None:
    """Log the address of the service."""
    host = f"[{address[0]}]" if ":" in address[0] else address[0]
    log.info("serving on http://%s:%d", host, address[1])
