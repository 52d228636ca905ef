"""Requests as they arrive over a connection: read by gunicorn's parser, and bounded in bytes and time at every step.

gevent's own parser takes a head for an e-mail, lets pass what two servers in a row may understand differently, and
takes chunks apart without ever letting others run. gunicorn's is strict; it is fed here, in small pieces and by turns.

Source: RFC 9112, sections 2 to 7.
"""

import io
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import gevent
from gunicorn.config import Config
from gunicorn.http.body import LengthReader
from gunicorn.http.errors import (
    ExpectationFailed,
    LimitRequestHeaders,
    LimitRequestLine,
    NoMoreData,
    ParseException,
    UnsupportedTransferCoding,
)
from gunicorn.http.message import Request
from gunicorn.http.unreader import Unreader
from gunicorn.util import split_request_uri, unquote_to_wsgi_str
from werkzeug.exceptions import BadRequest

if TYPE_CHECKING:
    from gevent.socket import socket

MAX_HEAD_BYTES = 65_536
PIECE = 65_536
FRAMING_ALLOWED = 4 * PIECE
"""Bytes that may arrive beyond twice what was handed on: who sends every byte by itself is refused soon. Up to two
pieces are on their way at any time: the one that is being put together, and what was read behind it."""
LINES_PIECE = 1_024
"""Bytes that are read at once where their structure has to be looked for: some 0.6 ms for chunks of one byte."""
TURN_BYTES, READ_COST, LINES_COST = 65_536, 4_096, 64
"""After so many bytes others have their turn, however quickly the client sends. Each read counts as some more, each
byte whose structure has to be looked for as several."""
STALLED_S = 20.0
"""How long a client may send nothing in the middle of a body."""
LEAST_BYTES_PER_S = 16_384
"""What a body has to arrive with, and an answer to leave with, on the whole, beside the time above."""
DETAIL_SHOWN = 200

_STATUS = {LimitRequestLine: 414, LimitRequestHeaders: 431, ExpectationFailed: 417, UnsupportedTransferCoding: 501}

_settings = Config()
for _name, _value in {
    "http_parser": "python",
    "limit_request_fields": 100,
    "forwarded_allow_ips": "",  # what a client says of its scheme or address is not believed
    "header_map": "drop",  # WSGI cannot tell X_Y from X-Y, and who stands before us may check only one of them
}.items():
    _settings.set(_name, _value)


class Refused(Exception):
    """A request that is not HTTP as we read it; the connection is closed after the answer."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail[:DETAIL_SHOWN])
        self.status = status


class BadFraming(BadRequest):
    """The body does not end where it says, or says nothing that can be read; nobody knows what follows it."""


class Incoming(Unreader):  # type: ignore[misc]
    """The bytes of one connection."""

    def __init__(self, sock: "socket", on_head: Callable[[], None] = lambda: None) -> None:
        """`on_head` is called when the first bytes of a request have arrived."""
        super().__init__()
        self._socket, self._on_head = sock, on_head
        self._turn_bytes = 0
        self._is_head = False
        self.allowed = 0  # bytes that may still arrive
        self.received = 0  # bytes, ever
        self.last_s = time.monotonic()

    def chunk(self, size_hint: int | None = None) -> bytes:
        """The next bytes; `size_hint` is how many of them belong to the body for sure.

        Raises:
            NoMoreData: the client has ended, or was ended.
            LimitRequestHeaders: more than may arrive.
        """
        piece: bytes = self._socket.recv(min(max(size_hint or 0, LINES_PIECE), PIECE))
        if not piece:
            raise NoMoreData(b"")
        self.received += len(piece)
        self.allowed -= len(piece)
        self.last_s = time.monotonic()
        if self._is_head:
            self._on_head()
        if self.allowed < 0:
            raise LimitRequestHeaders(
                f"the head has more than {MAX_HEAD_BYTES} bytes" if self._is_head else "more framing than content"
            )
        self._let_others_run(READ_COST + len(piece) * (1 if size_hint else LINES_COST))
        return piece

    def _let_others_run(self, n_bytes: int) -> None:
        """Now and then, after reading `n_bytes`."""
        self._turn_bytes += n_bytes
        if self._turn_bytes > TURN_BYTES:
            self._turn_bytes = 0
            gevent.sleep(0)

    def read_head(self, client_address: tuple[str, int]) -> Request:
        """The next request, up to its body.

        Raises:
            Refused: it is malformed, too long, or could be understood in two ways.
            OSError: it is not all there.
        """
        self._is_head, self.allowed = True, MAX_HEAD_BYTES
        if self.buf.tell():
            self._on_head()
        try:
            request = Request(_settings, self, client_address)
        except ParseException as err:
            raise Refused(_STATUS.get(type(err), 400), str(err)) from err
        finally:
            self._is_head = False
        if request.must_close:
            raise Refused(501, "a Transfer-Encoding other than chunked")
        self.allowed = FRAMING_ALLOWED
        return request


class RequestBody(io.RawIOBase):
    """`wsgi.input` of one request."""

    def __init__(
        self,
        incoming: Incoming,
        request: Request,
        *,
        invite: Callable[[], None] | None,
        count: Callable[[int], None],
    ) -> None:
        """The body of `request`.

        Args:
            invite: called before the first read of a client that waits to be asked for its body (100-continue).
            count: told of the bytes that are read, as they are in memory from then on; may raise to refuse them.
        """
        self._incoming, self._body = incoming, request.body
        self._reader = request.body.reader
        self._invite, self._count = invite, count
        self._received_before = incoming.received
        if isinstance(self._reader, LengthReader):
            incoming.allowed += self._reader.length
        self.began_s = time.monotonic()

    @property
    def is_broken(self) -> bool:
        return bool(self._body.failed)

    @property
    def is_complete(self) -> bool:
        """Whether all of it has been read from the connection."""
        if isinstance(self._reader, LengthReader):
            return self._reader.length == 0 and not self.is_broken
        return self._reader.parser is None and not self.is_broken

    def is_slow(self, now_s: float) -> bool:
        """Whether the client has had its time to send the rest."""
        if self.is_complete:
            return False
        if now_s - max(self.began_s, self._incoming.last_s) > STALLED_S:
            return True
        received = self._incoming.received - self._received_before
        return now_s - self.began_s > STALLED_S + received / LEAST_BYTES_PER_S

    @property
    def can_be_passed_over(self) -> bool:
        """Whether the next request is at most `PIECE` bytes away, and sure to be there."""
        if self.is_complete:
            return True
        if self.is_broken or self._invite is not None:
            return False
        return isinstance(self._reader, LengthReader) and self._reader.length <= PIECE

    def _discard(self) -> None:
        """Nothing: gevent's handler calls this after the answer, and would read without end."""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill some of `buffer`.

        Raises:
            BadFraming: the client broke off, or what it sends is no body.
        """
        if self.is_broken:
            raise BadFraming("the body is broken")
        if self._invite is not None and not self.is_complete:
            invite, self._invite = self._invite, None
            invite()
        try:
            piece = self._body.read(min(len(buffer), PIECE))
        except ParseException as err:
            raise BadFraming(str(err)[:DETAIL_SHOWN]) from err
        except OSError as err:
            raise BadFraming("the body ends before its end") from err
        self._incoming.allowed += 2 * len(piece)
        self._count(len(piece))
        buffer[: len(piece)] = piece
        return len(piece)


def environ_of(request: Request) -> dict[str, Any]:
    """What WSGI wants to know of the head of `request`.

    Raises:
        Refused: it does not say whom it is for.
    """
    environ: dict[str, Any] = {}
    for name, value in request.headers:
        key = name.replace("-", "_")
        if key not in ("CONTENT_TYPE", "CONTENT_LENGTH"):
            key = f"HTTP_{key}"
        environ[key] = value if key not in environ else environ[key] + ("; " if name == "COOKIE" else ",") + value
    if request.version >= (1, 1) and "HTTP_HOST" not in environ:
        raise Refused(400, "the header Host is missing")
    if not request.uri.startswith("/") and (authority := split_request_uri(request.uri).netloc):
        environ["HTTP_HOST"] = authority  # RFC 9112, 3.2.2: it counts, whatever the header says
    path = "/" if request.path in ("", "*") else request.path  # "*" of OPTIONS: the service as a whole
    environ.update(
        {
            "REQUEST_METHOD": request.method,
            "SCRIPT_NAME": "",
            "PATH_INFO": unquote_to_wsgi_str(path),
            "QUERY_STRING": request.query,
            "SERVER_PROTOCOL": "HTTP/{}.{}".format(*request.version),
        }
    )
    return environ
