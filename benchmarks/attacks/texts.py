"""Bodies that cost much to read: 8 MB of JSON in every shape, forms, and what regular expressions choke on."""

from collections.abc import Callable
from functools import partial

from benchmarks.attacks.crowd import Crowd
from benchmarks.attacks.floods import HEAD

LARGE = 7_900_000
N_SENDERS = 2


def quotes(n_bytes: int) -> bytes:
    return b"[" + b"[]," * 33 + b'"' + b'\\"' * (n_bytes // 2)


def _filled(beginning: bytes, piece: bytes, end: bytes) -> bytes:
    return beginning + piece * ((LARGE - len(beginning) - len(end)) // len(piece)) + end


def _keys() -> bytes:
    return b"{" + b",".join(b'"k%07d":1' % number for number in range(LARGE // 13)) + b"}"


def _repeated_keys() -> bytes:
    return b'{"params":[' + _filled(b"", b'{"a":1,"a":2},', b'{"a":1}]}')


def _nested() -> bytes:
    return _filled(b'{"workpoints":[', b"[" * 30 + b"]" * 30 + b",", b"1]}")


def _form(part: bytes, n_bytes: int = LARGE) -> bytes:
    return part * (n_bytes // len(part)) + b"--x--\r\n"


FORM = (
    b"POST /models/register HTTP/1.1\r\nHost: localhost\r\n"
    b"Content-Type: multipart/form-data; boundary=x\r\n"
)  # fmt: skip
PART = b'--x\r\nContent-Disposition: form-data; name="%b"\r\n\r\n%b\r\n'

SHAPES: dict[str, Callable[[], bytes]] = {
    "quotes and backslashes, 32 KB": lambda: quotes(32_000),
    "quotes and backslashes, 500 KB": lambda: quotes(500_000),
    "quotes and backslashes, 7.9 MB": lambda: quotes(LARGE),
    "7.9 MB of numbers": lambda: _filled(b'{"params":[', b"1,", b"1]}"),
    "7.9 MB of objects": lambda: _filled(b'{"workpoints":[', b'{"id":1},', b"{}]}"),
    "7.9 MB of empty arrays": lambda: _filled(b'{"workpoints":[', b"[],", b"[]]}"),
    "7.9 MB of arrays 30 deep": _nested,
    "7.9 MB of different keys": _keys,
    "7.9 MB of keys that stand twice": _repeated_keys,
    "7.9 MB of texts with escapes": lambda: _filled(b'{"workpoints":["', b"\\u0041\\n", b'"]}'),
    "7.9 MB of short texts with colons": lambda: _filled(b'{"workpoints":[', b'":",', b'""]}'),
    "7.9 MB of digits": lambda: _filled(b'{"params":[', b"9", b"]}"),
    "7.9 MB of numbers, NaN last": lambda: _filled(b'{"params":[', b"1.5,", b"NaN]}"),
    "7.9 MB of numbers, not closed": lambda: _filled(b'{"params":[', b"1.5,", b""),
    "7.9 MB of user_id": lambda: _filled(b'{"user_id":"', b"u", b'"}'),
}
"""Sent to `POST /run_algorithm`."""
FORMS: dict[str, Callable[[], bytes]] = {
    "form of 7.9 MB of small parts": lambda: _form(PART % (b"a", b"1")),
    "form whose file is 7.9 MB of line ends": lambda: (
        PART % (b'file"; filename="f', b"\r" * (LARGE - 200)) + b"--x--\r\n"
    ),
    "form whose field is 7.9 MB": lambda: _form(PART % (b"tags", b"\r\n-" * (LARGE // 3 - 100))),
    "form whose tags are quotes and backslashes": lambda: _form(PART % (b"tags", quotes(LARGE - 500))),
}
"""Sent to `POST /models/register`."""


def attacks() -> dict[str, Callable[[Crowd], None]]:
    """The name of each body, and who sends it."""
    return {name: partial(_send, name=name) for name in (*SHAPES, *FORMS)}


def _send(crowd: Crowd, *, name: str) -> None:
    make, head = (SHAPES[name], HEAD) if name in SHAPES else (FORMS[name], FORM)
    body = make()
    crowd.ask(N_SENDERS, head + b"Content-Length: %d\r\n\r\n" % len(body) + body)
