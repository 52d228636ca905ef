"""Sockets and signals of one process: how an application is served, and how it ends.

Several processes: `processes`. Either way SIGTERM and SIGINT stop accepting, finish what is in flight, and end with 0;
once more, and what is in flight is cut off.
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
from scheduler_service.http.server.incoming import PIECE
from scheduler_service.settings import Settings

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

BACKLOG = 4_096
"""Connections that wait to be accepted; the system allows no more by default, and turns the others away for seconds."""
MAX_CONNECTIONS = 10_000
SPARE_FILES = 256
"""Open files that are not connections: libraries, the database, logs, models."""
DRAIN_S = 30.0
"""How long requests in flight may take after SIGTERM."""

M_MMAP_THRESHOLD = -3
"""Of glibc's malloc.h."""

log = logging.getLogger("scheduler.serving")

WarmUp = Callable[[], None]


def serve(app: "WSGIApplication", warm_up: WarmUp, settings: Settings, *, reload: Callable[[], None]) -> None:
    """Serve in this process until SIGTERM or SIGINT.

    Args:
        warm_up: called once clients can connect.
        reload: called at SIGHUP.
    """
    give_memory_back()
    listener = listening_socket(settings.host, settings.port)
    server = Server(listener, app, max_connections=room_for_connections())
    stop, at_once = gevent.event.Event(), gevent.event.Event()

    def end() -> None:
        (at_once if stop.is_set() else stop).set()

    for number in (signal.SIGTERM, signal.SIGINT):
        gevent.signal_handler(number, end)
    gevent.signal_handler(signal.SIGHUP, reload)
    server.start()
    announce(listener.getsockname())
    gevent.spawn(warm_up)
    stop.wait()
    drain(server, keeps_idle=lambda _waited_s: False, at_once=at_once)


def drain(server: Server, *, keeps_idle: Callable[[float], bool], at_once: gevent.event.Event) -> None:
    """End `server` (see `Server.drain`); and this process, if something had to be cut off."""
    log.info("stopping: %d requests are in flight", server.in_flight)
    is_finished = server.drain(DRAIN_S, keeps_idle=keeps_idle, at_once=at_once)
    log.info("stopped")
    if not is_finished:
        end_there_and_then()


def end_there_and_then() -> None:
    """End this process with 0, whatever its threads do: compiled code cannot be interrupted.

    Nothing that was acknowledged is lost: records are committed before the answer leaves.
    """
    logging.shutdown()
    os._exit(0)


def listening_socket(host: str, port: int) -> gevent_socket.socket:
    """A socket that clients can connect to.

    Raises:
        OSError: the address cannot be had.
    """
    family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    listener = gevent_socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    answer_without_delay(listener)
    listener.bind(address)
    listener.listen(BACKLOG)
    listener.setblocking(False)
    return listener


def answer_without_delay(listener: Any) -> None:
    """Connections inherit it. Left alone, Nagle's algorithm costs a keep-alive request 44 ms (docs/architecture)."""
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def room_for_connections() -> int:
    """How many connections this process can hold, once it may open as many files as the system lets it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MAX_CONNECTIONS + SPARE_FILES
    if soft != resource.RLIM_INFINITY and soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        return max(soft // 2, min(MAX_CONNECTIONS, soft - SPARE_FILES))
    return MAX_CONNECTIONS


def give_memory_back() -> None:
    """From now on what is freed of bodies and answers goes back to the system at once.

    glibc raises its threshold for that whenever something large is freed, and then keeps hundreds of MiB of pieces.
    """
    with suppress(AttributeError, OSError):  # another C library
        ctypes.CDLL(None).mallopt(M_MMAP_THRESHOLD, PIECE)


def announce(address: tuple[Any, ...]) -> None:
    """The line that says where clients can connect."""
    host = f"[{address[0]}]" if ":" in address[0] else address[0]
    log.info("serving on http://%s:%d", host, address[1])
