"""HTTP over a connection: what is read strictly, answered in one piece, and ended without losing a request.

gevent's WSGI server with gunicorn's parser (`incoming`); here are the deadlines, the bound on what is held for clients,
answers in one piece, and the end (docs/decisions/gunicorn-reads-gevent-answers.md).
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
    LEAST_BYTES_PER_S,
    STALLED_S,
    Incoming,
    Refused,
    RequestBody,
    environ_of,
)
from scheduler_service.http.server.offload import HAS_CLIENT_LEFT

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication
    from gevent.socket import socket

IDLE_S = 75.0
"""How long a connection may wait for its next request."""
HEAD_S = 20.0
"""How long a request's head may take to arrive: a client that dribbles does not hold a place."""
LINGER_S, LINGER_BYTES = 5.0, 16 * 2**20
"""What a client still sends is read for so long, and so much of it, when its connection ends before its request does:
closed at once, the system would take back the answer that is on its way."""
MAX_HELD_BYTES = 512 * 2**20
"""Of requests that arrive and answers that leave, for all clients together."""
LOOK_EVERY_S = 1.0
DRAIN_POLL_S = 0.02
FIRST_REQUEST_S = 0.5
"""How long the first request of a connection that was accepted last may be on its way."""
YIELD_S = 0.002
"""How long a connection is left to a process that has fewer."""
ACCEPTED_AT_ONCE = 2
"""Connections that are accepted in a turn of the event loop. With gevent's one, new clients wait while there is nothing
to do; with 64 a worker under three times its load refuses clients instead of answering them (23 % of its capacity were
answered, 77 % with 4, 89 % with 2; docs/decisions/lanes-and-cores.md)."""
CUT_OFF_SHOWN = 10
ONE_PIECE = 65_536
"""Bytes of a body up to which it is copied behind its headers, so that both leave in one packet."""

log = logging.getLogger("scheduler.serving")


class Connection(WSGIHandler):  # type: ignore[misc]
    """One connection, request after request."""

    server: "Server"
    since_s = 0.0  # when it began to wait for a request, or to get one; monotonic
    is_idle = True  # between two requests
    is_new = True  # before its first one
    is_reading_head = False
    is_hung_up = False  # by us
    held_bytes = 0  # of its request and its answer
    sending_s: float | None = None  # since when an answer leaves; monotonic
    sending_bytes = 0
    piece_s = 0.0  # since when a piece of it leaves; monotonic
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
        """True: go on with the next one. None: close. (status, bytes): answer that, then close."""
        self.is_idle, self.since_s = True, time.monotonic()
        # What has arrived is read without waiting: a client that is quicker than this loop would have it for itself.
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
            self._hold(-self.held_bytes)  # it is not kept meanwhile
            self._linger()
        return False

    def _linger(self) -> None:
        """Let the client read its answer before the connection is closed upon what it still sends."""
        with suppress(OSError, AttributeError), gevent.Timeout(LINGER_S, False):
            self.socket.shutdown(SHUT_WR)
            dropped = 0
            while dropped < LINGER_BYTES and (piece := self.socket.recv(ONE_PIECE)):
                dropped += len(piece)
                gevent.sleep(0)

    def _hold(self, n_bytes: int) -> None:
        self.held_bytes += n_bytes
        self.server.held_bytes += n_bytes

    def _take(self, n_bytes: int) -> None:
        """Of the request's body; a short one is taken always, or stalled uploads would stop all runs."""
        self._hold(n_bytes)
        if self.server.held_bytes > MAX_HELD_BYTES and self.held_bytes > ONE_PIECE:
            raise ServiceUnavailable("more is being sent than this service can hold; come back later", retry_after=5)

    def _invite(self) -> None:
        self.socket.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")

    def _sendall(self, data: bytes) -> None:
        if len(data) > ONE_PIECE:
            self._hold(len(data))
            if self.server.held_bytes > MAX_HELD_BYTES:
                raise BrokenPipeError(errno.EPIPE, "too much waits for clients that do not read")
        self.sending_s, self.sending_bytes = time.monotonic(), len(data)
        try:
            for beginning in range(0, len(data), ONE_PIECE):
                self.piece_s = time.monotonic()
                super()._sendall(data[beginning : beginning + ONE_PIECE])
        finally:
            self.sending_s = None

    def _read_head(self) -> dict[str, Any]:
        """The WSGI environment of the next request.

        Raises:
            Refused: it is not HTTP as we read it.
            OSError: it is not all there.
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
        if len(data) > ONE_PIECE:
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
        """Nothing: gevent would format a line for a log that is not there."""

    def has_client_left(self) -> bool:
        """Whether the client has closed its end; not to be known once we have hung up."""
        if self.is_hung_up or sys.platform != "linux":
            return False
        if self.socket.fileno() < 0:
            return True
        poll = select.poll()
        poll.register(self.socket.fileno(), select.POLLRDHUP)
        return bool(poll.poll(0))

    def hang_up(self) -> None:
        """Read no more than what has arrived: a request that is there is still answered; then the connection ends."""
        self.is_hung_up = True
        with suppress(OSError, AttributeError):  # the client was quicker
            self.socket.shutdown(SHUT_RD if self.sending_s is None else SHUT_RDWR)

    def is_slow(self, now_s: float) -> bool:
        """Whether the client has had its time to send something, or to read its answer."""
        waited_s = now_s - self.since_s
        if self.is_idle:
            return waited_s > IDLE_S
        if self.is_reading_head:
            return waited_s > HEAD_S
        if self.sending_s is not None:
            is_stalled = now_s - self.piece_s > STALLED_S
            return is_stalled or now_s - self.sending_s > STALLED_S + self.sending_bytes / LEAST_BYTES_PER_S
        return self.wsgi_input is not None and self.wsgi_input.is_slow(now_s)


class Share:
    """Of the connections to several processes, how many each has, in memory that they share.

    Whoever wakes first would take nearly all: of 32 connections that are opened at once, 26 (docs/operations.md).
    """

    def __init__(self, counts: memoryview, place: int) -> None:
        """The process has the number at `place` in `counts`; -1 there means nobody."""
        self._counts, self.place = counts, place
        self.tell(0)

    def tell(self, n_connections: int) -> None:
        self._counts[self.place] = n_connections

    def give_up(self) -> None:
        """This process accepts no more."""
        self._counts[self.place] = -1

    def is_above(self, n_connections: int) -> bool:
        """Whether some process has fewer than that."""
        return any(0 <= count < n_connections for count in self._counts)


class Server(WSGIServer):  # type: ignore[misc]
    """Accepts connections on a listening socket, and ends them decently."""

    handler_class = Connection

    def __init__(
        self, listener: "socket", app: "WSGIApplication", *, max_connections: int, share: "Share | None" = None
    ) -> None:
        """`share` is for processes that accept on the same socket."""
        environ = {
            # Named here, because gevent would ask the DNS.
            "SERVER_NAME": listener.getsockname()[0],
            "wsgi.multithread": True,
            "wsgi.multiprocess": share is not None,  # gevent then accepts one connection at a time
        }
        self._share, self._has_waited = share, False
        super().__init__(listener, app, spawn=Pool(max_connections), log=None, error_log=log, environ=environ)
        self.max_accept = ACCEPTED_AT_ONCE
        self.connections: set[Connection] = set()
        self.held_bytes = 0
        self.is_ending = False

    @property
    def in_flight(self) -> int:
        """How many requests are being read or answered."""
        return sum(not each.is_idle for each in self.connections)

    def start(self) -> None:
        super().start()
        gevent.spawn(self._watch_the_slow)

    def do_read(self) -> Any:
        """A connection that was accepted; None if there is none, or one that a sibling should rather take."""
        n_connections = len(self.pool)
        # Of many connections a few more or less do not matter, but the time to take them does.
        enough = n_connections - n_connections // 8
        if self._share is not None and not self._has_waited and self._share.is_above(enough):
            # For a moment: that sibling may be busy, or hang.
            self._has_waited = True
            self.stop_accepting()
            self._timer = self.loop.timer(YIELD_S)
            self._timer.start(self._start_accepting_if_started)
            return None
        self._has_waited = False
        accepted = super().do_read()
        if self._share is not None and accepted:
            self._share.tell(len(self.pool) + 1)
        return accepted

    def forget(self, connection: Connection) -> None:
        """It has ended."""
        self.connections.discard(connection)
        if self._share is not None and not self.is_ending:
            self._share.tell(len(self.pool) - 1)

    def drain(self, limit_s: float, *, keeps_idle: Callable[[float], bool], at_once: gevent.event.Event) -> bool:
        """Accept no more, and wait until what is in flight is finished; False if something was cut off.

        Args:
            limit_s: how long that may take.
            keeps_idle: whether, so many seconds later, idle connections still stay open for one more request each: a
                client may be sending one just now.
            at_once: cuts off what is in flight when it is set.
        """
        self.is_ending = True
        if self._share is not None:
            self._share.give_up()
        if self._share is None or not keeps_idle(0.0):  # else a new worker accepts what waits
            self._accept_what_waits()
        self.close()  # at once: who connects in between is reset
        gevent.sleep(0)  # those who were accepted last begin
        began_s = time.monotonic()
        while self.connections:
            waited_s = time.monotonic() - began_s
            if not keeps_idle(waited_s):
                for each in list(self.connections):
                    if each.is_idle and (not each.is_new or waited_s > FIRST_REQUEST_S):
                        each.hang_up()
            if at_once.wait(DRAIN_POLL_S) or waited_s > limit_s:
                self._tell_what_is_cut_off()
                return False
        return True

    def _accept_what_waits(self) -> None:
        """Connections that the system has accepted for us would be reset."""
        while not self.full() and (accepted := super().do_read()):
            self.do_handle(*accepted)

    def _tell_what_is_cut_off(self) -> None:
        now_s = time.monotonic()
        busy = [each for each in self.connections if not each.is_idle]
        told = [f"{each.command} {each.path} after {now_s - each.since_s:.1f} s" for each in busy[:CUT_OFF_SHOWN]]
        more = f" and {len(busy) - len(told)} more" if len(busy) > len(told) else ""
        log.warning("%d requests are cut off: %s%s", len(busy), ", ".join(told) or "none", more)

    def _watch_the_slow(self) -> None:
        while True:
            gevent.sleep(LOOK_EVERY_S)
            now_s = time.monotonic()
            for each in list(self.connections):
                if each.is_slow(now_s):
                    each.hang_up()


@lru_cache(maxsize=1)
def _date(_second: int) -> bytes:
    return bytes(format_date_time(_second))


def _refusal(err: Refused) -> bytes:
    """The whole answer: a problem (RFC 9457) as of every other error."""
    title = HTTPStatus(err.status).phrase
    told = {"detail": str(err), "error": str(err), "code": "not_http", "params": {"detail": str(err)}}
    body = json_bytes({"type": "about:blank", "title": title, "status": err.status, **told})
    head = (
        f"HTTP/1.1 {err.status} {title}\r\nContent-Type: application/problem+json\r\nContent-Length: {len(body)}\r\n"
        "X-Content-Type-Options: nosniff\r\nCache-Control: no-store\r\nConnection: close\r\n\r\n"
    )
    return head.encode() + body
