"""HTTP connections: strict reading, answers in one packet, and a shutdown that loses no request.

This is gevent's WSGI server with gunicorn's parser (`incoming`). This module adds timeouts, the limit on buffered
bytes, answers in one packet and the shutdown (docs/decisions/gunicorn-reads-gevent-answers.md).
"""

import errno
import logging
import select
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from functools import lru_cache
from http import HTTPStatus
from socket import SHUT_RD, SHUT_RDWR, SHUT_WR
from typing import TYPE_CHECKING, Any

import gevent
import gevent.event
from gevent.pool import Pool
from gevent.pywsgi import WSGIHandler, WSGIServer, format_date_time
from werkzeug.exceptions import HTTPException, ServiceUnavailable

from scheduler_service.http.bodies import json_bytes
from scheduler_service.http.server.incoming import (
    MIN_BYTES_PER_S,
    STALL_TIMEOUT_S,
    Incoming,
    Refused,
    RequestBody,
    environ_of,
)
from scheduler_service.http.server.offload import HAS_CLIENT_LEFT

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication
    from gevent.socket import socket

IDLE_TIMEOUT_S = 75.0
"""Longest time between two requests of a connection."""
HEAD_TIMEOUT_S = 20.0
"""Longest time for a request's head to arrive, so that slow clients do not hold connections."""
LINGER_S, LINGER_BYTES = 5.0, 16 * 2**20
"""If an answer is sent before the whole request has arrived, the rest is read up to these limits before the connection
is closed. Otherwise the system would reset the connection and discard the answer."""
MAX_HELD_BYTES = 512 * 2**20
"""Buffered requests and answers of all clients together."""
DEADLINE_CHECK_INTERVAL_S = 1.0
DRAIN_POLL_S = 0.02
FIRST_REQUEST_S = 0.5
"""At shutdown: how long a new connection waits for its first request."""
YIELD_S = 0.002
"""How long a connection is left for a process that has fewer connections."""
ACCEPTS_PER_TURN = 2
"""Connections accepted per turn of the event loop. With gevent's default of 1, new clients wait while the loop is idle.
With 64, a worker under three times its load refuses clients instead of answering: it answered 23 % of its capacity,
77 % with 4 and 89 % with 2 (docs/decisions/lanes-and-cores.md)."""
MAX_LISTED = 10
SEND_CHUNK_BYTES = 65_536
"""A body of at most this size is appended to its headers, so that both are sent in one packet."""

log = logging.getLogger("scheduler.serving")


class Connection(WSGIHandler):  # type: ignore[misc]
    """One connection and its requests."""

    server: "Server"
    since_s = 0.0  # start of waiting for a request, or of receiving one; monotonic
    is_idle = True  # between two requests
    is_new = True  # before its first one
    is_reading_head = False
    is_hung_up = False  # by the service
    held_bytes = 0  # of its request and its answer
    sending_s: float | None = None  # start of sending an answer; monotonic
    sending_bytes = 0
    piece_s = 0.0  # start of sending the current chunk; monotonic
    wsgi_input: RequestBody | None
    response_headers: list[tuple[bytes, bytes]]
    provided_date: str | None

    def handle(self) -> None:
        self.server.connections.add(self)
        self.incoming = Incoming(self.socket, self._begin_head)
        try:
            super().handle()
        finally:
            self.server.forget(self)

    def _begin_head(self) -> None:
        if self.is_idle:
            self.is_new, self.is_idle, self.is_reading_head, self.since_s = False, False, True, time.monotonic()
            self.response_length = 0

    def handle_one_request(self) -> object:
        """True: read the next request. None: close. (status, bytes): send this answer, then close."""
        self.is_idle, self.since_s = True, time.monotonic()
        # Reading data that has already arrived does not switch greenlets, so a fast client would occupy the loop.
        gevent.sleep(0)
        try:
            self.environ = self._read_head()
        except OSError:
            return None
        except Refused as err:
            log.info("refused a request of %s: %s", self.client_address[0], err)
            return str(err.status), _refusal(err)
        self.is_reading_head = False
        self.application = self.server.application
        try:
            self.handle_one_response()
            return True if self._is_over() else None
        finally:
            self._hold(-self.held_bytes)

    def _is_over(self) -> bool:
        """Whether the next request can be read."""
        body = self.wsgi_input
        assert body is not None
        if not self.close_connection and body.can_be_passed_over:
            with suppress(HTTPException):
                body.readall()
                return True
        if not body.is_complete:
            self._hold(-self.held_bytes)  # its buffers are free while it lingers
            self._linger()
        return False

    def _linger(self) -> None:
        """Drop the rest of the request, so that the client can read its answer before the connection is closed."""
        with suppress(OSError, AttributeError), gevent.Timeout(LINGER_S, False):
            self.socket.shutdown(SHUT_WR)
            dropped = 0
            while dropped < LINGER_BYTES and (piece := self.socket.recv(SEND_CHUNK_BYTES)):
                dropped += len(piece)
                gevent.sleep(0)

    def _hold(self, n_bytes: int) -> None:
        self.held_bytes += n_bytes
        self.server.held_bytes += n_bytes

    def _take(self, n_bytes: int) -> None:
        """Count bytes of the body. A short body is always accepted: stalled uploads must not block all runs."""
        self._hold(n_bytes)
        if self.server.held_bytes > MAX_HELD_BYTES and self.held_bytes > SEND_CHUNK_BYTES:
            raise ServiceUnavailable("more is being sent than this service can hold; come back later", retry_after=5)

    def _invite(self) -> None:
        self.socket.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")

    def _sendall(self, data: bytes) -> None:
        if len(data) > SEND_CHUNK_BYTES:
            self._hold(len(data))
            if self.server.held_bytes > MAX_HELD_BYTES:
                raise BrokenPipeError(errno.EPIPE, "too much waits for clients that do not read")
        self.sending_s, self.sending_bytes = time.monotonic(), len(data)
        try:
            for beginning in range(0, len(data), SEND_CHUNK_BYTES):
                self.piece_s = time.monotonic()
                super()._sendall(data[beginning : beginning + SEND_CHUNK_BYTES])
        finally:
            self.sending_s = None

    def _read_head(self) -> dict[str, Any]:
        """The WSGI environment of the next request.

        Raises:
            Refused: it is not valid HTTP.
            OSError: the connection ends before the head does.
        """
        request = self.incoming.read_head(self.client_address)
        self.command, self.path = request.method, request.uri
        environ = {**self.server.get_environ(), **environ_of(request)}
        self.request_version = environ["SERVER_PROTOCOL"]
        is_1_1 = request.version >= (1, 1)
        expects = is_1_1 and environ.get("HTTP_EXPECT", "").lower() == "100-continue"
        wanted = environ.get("HTTP_CONNECTION", "").lower()
        self.close_connection = "close" in wanted if is_1_1 else "keep-alive" not in wanted
        self.wsgi_input = RequestBody(
            self.incoming, request, invite=self._invite if expects else None, count=self._take
        )
        environ.update(
            {
                HAS_CLIENT_LEFT: self.has_client_left,
                "REMOTE_ADDR": self.client_address[0],
                "REMOTE_PORT": str(self.client_address[1]),
                "wsgi.input": self.wsgi_input,
                "wsgi.input_terminated": True,
            }
        )
        return environ

    def finalize_headers(self) -> None:
        if self.provided_date is None:
            self.response_headers.append((b"Date", _date(int(time.time()))))
            self.provided_date = "given"
        body = self.wsgi_input
        if not self.close_connection and (self.server.is_ending or body is None or not body.can_be_passed_over):
            self.close_connection = True
            others = [header for header in self.response_headers if header[0].lower() != b"connection"]
            self.response_headers = [*others, (b"Connection", b"close")]
        super().finalize_headers()

    def _write_with_headers(self, data: bytes) -> None:
        if len(data) > SEND_CHUNK_BYTES:
            super()._write_with_headers(data)
            return
        self.headers_sent = True
        self.finalize_headers()
        lines = [b"HTTP/1.1 " + self.status]
        lines += [name + b": " + value for name, value in self.response_headers]
        if self.response_use_chunked and data:
            data = b"%x\r\n%b\r\n" % (len(data), data)
        self._sendall(b"\r\n".join(lines) + b"\r\n\r\n" + data)

    def log_request(self) -> None:
        """Nothing: gevent would format a line for a log that does not exist."""

    def has_client_left(self) -> bool:
        """Whether the client has closed the connection; always False after `hang_up`."""
        if self.is_hung_up or sys.platform != "linux":
            return False
        if self.socket.fileno() < 0:
            return True
        poll = select.poll()
        poll.register(self.socket.fileno(), select.POLLRDHUP)
        return bool(poll.poll(0))

    def hang_up(self) -> None:
        """Stop reading new data; a request that has arrived is still answered, then the connection ends."""
        self.is_hung_up = True
        with suppress(OSError, AttributeError):  # the client has closed it already
            self.socket.shutdown(SHUT_RD if self.sending_s is None else SHUT_RDWR)

    def is_slow(self, now_s: float) -> bool:
        """Whether the client has exceeded its time to send, or to read its answer."""
        waited_s = now_s - self.since_s
        if self.is_idle:
            return waited_s > IDLE_TIMEOUT_S
        if self.is_reading_head:
            return waited_s > HEAD_TIMEOUT_S
        if self.sending_s is not None:
            is_stalled = now_s - self.piece_s > STALL_TIMEOUT_S
            return is_stalled or now_s - self.sending_s > STALL_TIMEOUT_S + self.sending_bytes / MIN_BYTES_PER_S
        return self.wsgi_input is not None and self.wsgi_input.is_slow(now_s)


class ConnectionCounts:
    """The number of connections of each worker process, in shared memory.

    Without it, the process that wakes first accepts nearly all: 26 of 32 simultaneous ones (docs/operations.md).
    """

    def __init__(self, counts: memoryview, place: int) -> None:
        """`place` is the index of this process in `counts`; -1 there means no process."""
        self._counts, self.place = counts, place
        self.set_count(0)

    def set_count(self, n_connections: int) -> None:
        self._counts[self.place] = n_connections

    def withdraw(self) -> None:
        """This process accepts no more connections."""
        self._counts[self.place] = -1

    def any_below(self, n_connections: int) -> bool:
        """Whether some process has fewer connections than that."""
        return any(0 <= count < n_connections for count in self._counts)


class Server(WSGIServer):  # type: ignore[misc]
    """Accepts connections on a listening socket, and shuts down gracefully."""

    handler_class = Connection

    def __init__(
        self,
        listener: "socket",
        app: "WSGIApplication",
        *,
        max_connections: int,
        connection_counts: "ConnectionCounts | None" = None,
    ) -> None:
        """`connection_counts`: given if several processes accept on the same socket."""
        environ = {
            # Without this, gevent queries the DNS.
            "SERVER_NAME": listener.getsockname()[0],
            "wsgi.multithread": True,
            "wsgi.multiprocess": connection_counts is not None,  # gevent then accepts one connection at a time
        }
        self._connection_counts, self._has_waited = connection_counts, False
        super().__init__(listener, app, spawn=Pool(max_connections), log=None, error_log=log, environ=environ)
        self.max_accept = ACCEPTS_PER_TURN
        self.connections: set[Connection] = set()
        self.held_bytes = 0
        self.is_ending = False

    @property
    def in_flight(self) -> int:
        """The number of requests that are being read or answered."""
        return sum(not each.is_idle for each in self.connections)

    def start(self) -> None:
        super().start()
        gevent.spawn(self._watch_the_slow)

    def do_read(self) -> Any:
        """An accepted connection; None if there is none, or if another worker should accept it."""
        n_connections = len(self.pool)
        # With many connections, small differences are not worth a delay.
        enough = n_connections - n_connections // 8
        if self._connection_counts is not None and not self._has_waited and self._connection_counts.any_below(enough):
            # Only briefly: the other worker may be busy or hang.
            self._has_waited = True
            self.stop_accepting()
            self._timer = self.loop.timer(YIELD_S)
            self._timer.start(self._start_accepting_if_started)
            return None
        self._has_waited = False
        accepted = super().do_read()
        if self._connection_counts is not None and accepted:
            self._connection_counts.set_count(len(self.pool) + 1)
        return accepted

    def forget(self, connection: Connection) -> None:
        """Remove a connection that has ended."""
        self.connections.discard(connection)
        if self._connection_counts is not None and not self.is_ending:
            self._connection_counts.set_count(len(self.pool) - 1)

    def drain(self, limit_s: float, *, keeps_idle: Callable[[float], bool], force: gevent.event.Event) -> bool:
        """Accept no more connections and wait for requests in flight; False if some were cut off.

        Args:
            limit_s: how long that may take.
            keeps_idle: whether idle connections stay open for one more request, by the seconds since the start: a
                client may already be sending one.
            force: when set, requests in flight are cut off.
        """
        self.is_ending = True
        if self._connection_counts is not None:
            self._connection_counts.withdraw()
        if self._connection_counts is None or not keeps_idle(0.0):  # else a new worker accepts the waiting connections
            self._accept_what_waits()
        self.close()  # immediately: a client that connects in between is reset
        gevent.sleep(0)  # lets the newest connections start
        began_s = time.monotonic()
        while self.connections:
            waited_s = time.monotonic() - began_s
            if not keeps_idle(waited_s):
                for each in list(self.connections):
                    if each.is_idle and (not each.is_new or waited_s > FIRST_REQUEST_S):
                        each.hang_up()
            if force.wait(DRAIN_POLL_S) or waited_s > limit_s:
                self._tell_what_is_cut_off()
                return False
        return True

    def _accept_what_waits(self) -> None:
        """Connections in the system's backlog would be reset otherwise."""
        while not self.full() and (accepted := super().do_read()):
            self.do_handle(*accepted)

    def _tell_what_is_cut_off(self) -> None:
        now_s = time.monotonic()
        busy = [each for each in self.connections if not each.is_idle]
        listed = [f"{each.command} {each.path} after {now_s - each.since_s:.1f} s" for each in busy[:MAX_LISTED]]
        more = f" and {len(busy) - len(listed)} more" if len(busy) > len(listed) else ""
        log.warning("%d requests are cut off: %s%s", len(busy), ", ".join(listed) or "none", more)

    def _watch_the_slow(self) -> None:
        while True:
            gevent.sleep(DEADLINE_CHECK_INTERVAL_S)
            now_s = time.monotonic()
            for each in list(self.connections):
                if each.is_slow(now_s):
                    each.hang_up()


@lru_cache(maxsize=1)
def _date(_second: int) -> bytes:
    return bytes(format_date_time(_second))


def _refusal(err: Refused) -> bytes:
    """The complete answer: a problem document (RFC 9457), like every other error."""
    title = HTTPStatus(err.status).phrase
    told = {"detail": str(err), "error": str(err), "code": "not_http", "params": {"detail": str(err)}}
    body = json_bytes({"type": "about:blank", "title": title, "status": err.status, **told})
    head = (
        f"HTTP/1.1 {err.status} {title}\r\nContent-Type: application/problem+json\r\nContent-Length: {len(body)}\r\n"
        "X-Content-Type-Options: nosniff\r\nCache-Control: no-store\r\nConnection: close\r\n\r\n"
    )
    return head.encode() + body
