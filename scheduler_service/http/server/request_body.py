"""The body of a request as it arrives: read by its framing, no further than its end, and bounded at every step.

gevent's own reader takes chunks apart byte by byte without ever letting others run, follows trailers without end, and
cannot say whether the body is over. Source: RFC 9112, sections 6 and 7.
"""

import re
import time
from collections.abc import Callable, Iterator
from typing import IO

import gevent
from werkzeug.exceptions import BadRequest

MAX_CHUNK_LINE, MAX_TRAILER_BYTES = 256, 8_192
FRAMING_ALLOWED = 65_536
"""Bytes that chunks may take beyond what they carry: who sends every byte by itself is refused soon."""
PIECE = 65_536
TURN_BYTES, READ_COST = 65_536, 4_096
"""After so many bytes others have their turn, however quickly the client sends; each read counts as some more."""
STALLED_S = 20.0
"""How long a client may send nothing in the middle of a body."""
LEAST_BYTES_PER_S = 16_384
"""What a body has to arrive with, and an answer to leave with, on the whole, beside the time above."""

_CHUNK_LINE = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;[^\r\n]*)?\r\n")
_TRAILER = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+:[^\r\n]*\r\n")


class BadFraming(BadRequest):
    """The body does not end where it says, or says nothing that can be read; nobody knows what follows it."""


class RequestBody:
    """`wsgi.input` of one request."""

    def __init__(
        self,
        rfile: IO[bytes],
        length: int | None,
        *,
        is_chunked: bool,
        invite: Callable[[], None] | None,
        count: Callable[[int], None],
    ) -> None:
        """Neither a length nor chunks: there is no body.

        Args:
            invite: called before the first read of a client that waits to be asked for its body (100-continue).
            count: told of each byte that is read, as it is in memory from then on; may raise to refuse it.
        """
        self._rfile = rfile
        self._left = length or 0  # of the body, or of the chunk
        self._is_chunked = is_chunked
        self._invite = invite
        self._count = count
        self._turn_bytes = 0
        self._framing = 0  # bytes
        self.is_complete = not is_chunked and not length
        self.is_broken = False
        self.received = 0  # bytes
        self.began_s = self.last_s = time.monotonic()

    def is_slow(self, now_s: float) -> bool:
        """Whether the client has had its time to send the rest."""
        if self.is_complete:
            return False
        return now_s - self.last_s > STALLED_S or now_s - self.began_s > STALLED_S + self.received / LEAST_BYTES_PER_S

    @property
    def can_be_passed_over(self) -> bool:
        """Whether the next request is at most `PIECE` bytes away, and sure to be there."""
        if self.is_complete:
            return True
        return not self.is_broken and not self._is_chunked and self._invite is None and self._left <= PIECE

    def pass_over(self) -> None:
        """Reads the rest; to be called only if it `can_be_passed_over`."""
        while self._next(PIECE):
            pass

    def _discard(self) -> None:
        """Nothing: gevent's handler calls this after the answer, and would read without end."""

    # --- the file that WSGI wants ---

    def read(self, size: int | None = -1) -> bytes:
        pieces, left = [], -1 if size is None else size
        while left != 0:
            piece = self._next(PIECE if left < 0 else min(left, PIECE))
            if not piece:
                break
            pieces.append(piece)
            left = left - len(piece) if left > 0 else left
        return b"".join(pieces)

    def readline(self, size: int | None = -1) -> bytes:
        line, limit = bytearray(), -1 if size is None else size
        while limit < 0 or len(line) < limit:
            byte = self._next(1)
            line += byte
            if byte in (b"", b"\n"):
                break
        return bytes(line)

    def readlines(self, _hint: int = -1) -> list[bytes]:
        return list(self)

    def __iter__(self) -> Iterator[bytes]:
        while line := self.readline():
            yield line

    # --- framing ---

    def _next(self, most: int) -> bytes:
        """Some of the bytes that come next, at most `most`; none at the end.

        Raises:
            BadFraming: the client broke off, or what it sends is no body.
        """
        if self.is_complete or most == 0:
            return b""
        if self.is_broken:
            raise BadFraming("the body is broken")
        if self._invite is not None:
            invite, self._invite = self._invite, None
            invite()
        try:
            if self._left == 0 and not self._begin_chunk():
                return b""
            piece = self._rfile.read1(min(most, self._left))  # type: ignore[attr-defined]
            if not piece:
                raise BadFraming("the body ends before its end")
            self._taken(len(piece))
            self._left -= len(piece)
            if self._left == 0:
                self._end_piece()
        except BadFraming:
            self.is_broken = True
            raise
        except OSError as err:
            self.is_broken = True
            raise BadFraming("the client broke off") from err
        return bytes(piece)

    def _taken(self, n_bytes: int) -> None:
        self.received += n_bytes
        self.last_s = time.monotonic()
        self._count(n_bytes)
        self._let_others_run(n_bytes)

    def _let_others_run(self, n_bytes: int) -> None:
        """Now and then, after reading `n_bytes`."""
        self._turn_bytes += n_bytes + READ_COST
        if self._turn_bytes > TURN_BYTES:
            self._turn_bytes = 0
            gevent.sleep(0)

    def _begin_chunk(self) -> bool:
        """Whether there is another one."""
        found = _CHUNK_LINE.fullmatch(self._line(MAX_CHUNK_LINE))
        if found is None:
            raise BadFraming("a chunk does not begin with its length")
        self._left = int(found[1], 16)
        if self._left > 0:
            return True
        n_bytes = 0
        while (line := self._line(MAX_TRAILER_BYTES - n_bytes)) != b"\r\n":
            n_bytes += len(line)
            if not _TRAILER.fullmatch(line):
                raise BadFraming("a trailer is not NAME: VALUE on one line")
        self.is_complete = True
        return False

    def _end_piece(self) -> None:
        if not self._is_chunked:
            self.is_complete = True
        elif self._line(2) != b"\r\n":
            raise BadFraming("a chunk is longer than it says")

    def _line(self, most: int) -> bytes:
        """The next line, which takes at most so many bytes."""
        line = self._rfile.readline(most)
        if not line.endswith(b"\n"):
            raise BadFraming("the body ends before its end" if len(line) < most else "a line of the body is too long")
        self._framing += len(line)
        self._let_others_run(len(line))
        if self._framing > FRAMING_ALLOWED + self.received:
            raise BadFraming("the body has more framing than content")
        return line
