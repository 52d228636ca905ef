"""Reading of requests with gunicorn's parser, limited in bytes and time.

gevent's own parser treats a head as an e-mail header, accepts requests that two servers may interpret differently, and
decodes chunks without yielding. gunicorn's parser is strict; this module feeds it small chunks and yields in between.

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
CHUNK_BYTES = 65_536
MAX_FRAMING_BYTES = 4 * CHUNK_BYTES
"""Bytes that may arrive in excess of twice the decoded body, so that a body sent in one-byte chunks is refused early.
Up to two chunks are buffered at any time: the one that is being assembled, and the data read after it."""
FRAMING_CHUNK_BYTES = 1_024
"""Bytes per read while framing is parsed: some 0.6 ms for chunks of one byte."""
TURN_BYTES, READ_COST, LINES_COST = 65_536, 4_096, 64
"""The reader yields after `TURN_BYTES`, however fast the client sends. Each read counts as `READ_COST` more bytes, each
byte of framing as `LINES_COST` bytes."""
STALL_TIMEOUT_S = 20.0
"""Longest pause of a client within a body."""
MIN_BYTES_PER_S = 16_384
"""Minimum average rate of a body or answer, after an allowance of `STALL_TIMEOUT_S`."""
MAX_DETAIL_CHARS = 200

_STATUS = {LimitRequestLine: 414, LimitRequestHeaders: 431, ExpectationFailed: 417, UnsupportedTransferCoding: 501}

_settings = Config()
for _name, _value in {
    "http_parser": "python",
    "limit_request_fields": 100,
    "forwarded_allow_ips": "",  # forwarding headers of clients are not trusted
    "header_map": "drop",  # WSGI cannot distinguish X_Y from X-Y, and a proxy may check only one of them
}.items():
    _settings.set(_name, _value)


class Refused(Exception):
    """A request that is not valid HTTP; the connection is closed after the answer."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail[:MAX_DETAIL_CHARS])
        self.status = status


class BadFraming(BadRequest):
    """The framing of the body is invalid, so the start of the next request is unknown."""


class Incoming(Unreader):  # type: ignore[misc]
    """The bytes of one connection."""

    def __init__(self, sock: "socket", on_head: Callable[[], None] = lambda: None) -> None:
        """`on_head` is called when the first bytes of a request have arrived."""
        super().__init__()
        self._socket, self._on_head = sock, on_head
        self._turn_bytes = 0
        self._is_head = False
        self.allowed = 0  # bytes that may still arrive
        self.received = 0  # bytes in total
        self.last_s = time.monotonic()

    def chunk(self, size_hint: int | None = None) -> bytes:
        """The next bytes, of which at least `size_hint` belong to the body.

        Raises:
            NoMoreData: the connection is closed.
            LimitRequestHeaders: more bytes than allowed.
        """
        piece: bytes = self._socket.recv(min(max(size_hint or 0, FRAMING_CHUNK_BYTES), CHUNK_BYTES))
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
        """Yield to other greenlets after `TURN_BYTES`."""
        self._turn_bytes += n_bytes
        if self._turn_bytes > TURN_BYTES:
            self._turn_bytes = 0
            gevent.sleep(0)

    def read_head(self, client_address: tuple[str, int]) -> Request:
        """The next request, up to its body.

        Raises:
            Refused: it is malformed, too long, or ambiguous.
            OSError: the connection ends before the head does.
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
        self.allowed = MAX_FRAMING_BYTES
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
            invite: called before the first read, if the client waits for "100 Continue".
            count: called with the number of bytes read, which are in memory from then on; may raise to refuse them.
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
        """Whether the whole body has been read."""
        if isinstance(self._reader, LengthReader):
            return self._reader.length == 0 and not self.is_broken
        return self._reader.parser is None and not self.is_broken

    def is_slow(self, now_s: float) -> bool:
        """Whether the client has exceeded its time to send the rest."""
        if self.is_complete:
            return False
        if now_s - max(self.began_s, self._incoming.last_s) > STALL_TIMEOUT_S:
            return True
        received = self._incoming.received - self._received_before
        return now_s - self.began_s > STALL_TIMEOUT_S + received / MIN_BYTES_PER_S

    @property
    def can_be_passed_over(self) -> bool:
        """Whether the next request is at most `CHUNK_BYTES` away, and the client will send these bytes."""
        if self.is_complete:
            return True
        if self.is_broken or self._invite is not None:
            return False
        return isinstance(self._reader, LengthReader) and self._reader.length <= CHUNK_BYTES

    def _discard(self) -> None:
        """Nothing: gevent's handler calls this after the answer, and would read without limit."""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill some of `buffer`.

        Raises:
            BadFraming: the connection ends within the body, or the framing is invalid.
        """
        if self.is_broken:
            raise BadFraming("the body is broken")
        if self._invite is not None and not self.is_complete:
            invite, self._invite = self._invite, None
            invite()
        try:
            piece = self._body.read(min(len(buffer), CHUNK_BYTES))
        except ParseException as err:
            raise BadFraming(str(err)[:MAX_DETAIL_CHARS]) from err
        except OSError as err:
            raise BadFraming("the body ends before its end") from err
        self._incoming.allowed += 2 * len(piece)
        self._count(len(piece))
        buffer[: len(piece)] = piece
        return len(piece)


def environ_of(request: Request) -> dict[str, Any]:
    """The WSGI environment for the head of `request`.

    Raises:
        Refused: there is no Host header.
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
        environ["HTTP_HOST"] = authority  # RFC 9112, 3.2.2: it overrides the header
    path = "/" if request.path in ("", "*") else request.path  # "*" of OPTIONS means the whole service
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
