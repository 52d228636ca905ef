"""Requests whose framing is unusual, wrong or ambiguous: what is answered, and whether the connection stays open."""

import json
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from benchmarks.attacks.floods import CHUNKED, GET, HEAD
from benchmarks.attacks.target import Target
from benchmarks.requests import sample

PATIENCE_S, STAYS_OPEN_S = 10.0, 0.6
N_AT_ONCE = 4
BODY = json.dumps(sample()).encode()
POST = HEAD + b"Content-Length: %d\r\n\r\n" % len(BODY) + BODY
LIVE = GET % b"/health/live"
HIDDEN = GET % b"/hidden"
"""After what is wrong: 404 if it is executed."""
GET_HEAD = b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n"


@dataclass(frozen=True)
class Case:
    """What is sent, and what may come of it: statuses in turn, then `open` or `closed`."""

    name: str
    sent: bytes
    right: tuple[str, ...]
    methods: tuple[str, ...] = ()  # of the requests, where one is HEAD
    must_not_tell: bytes = b""


@dataclass(frozen=True)
class Came:
    """What came of a case."""

    case: Case
    told: str
    is_right: bool


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def good(name: str, sent: bytes, *right: str, methods: tuple[str, ...] = ()) -> Case:
    return Case(name, sent, right or ("200 open",), methods)


def bad(name: str, sent: bytes, *statuses: int, or_else: tuple[str, ...] = ()) -> Case:
    """One answer at most, then the end: nobody knows where the next request begins."""
    return Case(name, sent + HIDDEN, (*(f"{status} closed" for status in statuses or (400,)), "closed", *or_else))


def lengths() -> Iterator[Case]:
    yield bad("two different lengths", HEAD + b"Content-Length: 2\r\nContent-Length: 7\r\n\r\n{}")
    yield bad(
        "two equal lengths", HEAD + b"Content-Length: 2\r\nContent-Length: 2\r\n\r\n{}", 400, or_else=("422 404 open",)
    )
    yield bad("a list of lengths", HEAD + b"Content-Length: 2, 2\r\n\r\n{}", 400, or_else=("422 404 open",))
    for value in (b"+2", b"-1", b"0x2", b"2 2", b"2.0", b"", b"\xb2", b"9" * 30):
        yield bad(
            f"the length {value[:5].decode('latin-1')!r}", HEAD + b"Content-Length: " + value + b"\r\n\r\n{}", 400, 413,
            or_else=("413 open",),
        )  # fmt: skip
    yield bad("a space before the colon of the length", HEAD + b"Content-Length : 2\r\n\r\n{}")
    yield bad("length and chunks", HEAD + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400)
    yield bad("chunks and length", HEAD + b"Transfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n0\r\n\r\n", 400)
    yield bad("chunks in HTTP/1.0", CHUNKED.replace(b"1.1", b"1.0") + b"0\r\n\r\n", 400)
    for coding in (b"chunked, chunked", b"identity", b"xchunked", b"gzip, chunked", b"chunked, gzip", b"\x0bchunked"):
        sent = HEAD + b"Transfer-Encoding: " + coding + b"\r\n\r\n0\r\n\r\n"
        yield bad(f"the coding {coding.decode()!r}", sent, 400, 501)
    yield bad("two codings", CHUNKED[:-2] + b"Transfer-Encoding: identity\r\n\r\n0\r\n\r\n", 400, 501)
    yield bad("a space before the colon of the coding", HEAD + b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n")
    yield good("the coding 'Chunked'", HEAD + b"Transfer-Encoding: Chunked\r\n\r\n" + chunk(BODY) + b"0\r\n\r\n")


def chunks() -> Iterator[Case]:
    end = b"0\r\n\r\n"
    yield good("chunks, then a request", CHUNKED + chunk(BODY[:9]) + chunk(BODY[9:]) + end + LIVE, "200 200 open")
    yield good("a chunk with an extension", CHUNKED + b"%x;a=b\r\n" % len(BODY) + BODY + b"\r\n" + end)
    yield good(
        "chunks and a trailer, then a request", CHUNKED + chunk(BODY) + b"0\r\nX: y\r\n\r\n" + LIVE, "200 200 open"
    )
    yield good(
        "a length in the trailer, then a request",
        CHUNKED + chunk(BODY) + b"0\r\nContent-Length: 50\r\n\r\n" + LIVE, "200 200 open", "400 closed",
    )  # fmt: skip
    for size in (b"z", b"0x2", b"+2", b"-2", b" 2", b"2_0", b"", b"1" * 17, b"f" * 16):
        waits = ("no answer",) if len(size) > 9 else ()
        yield bad(f"a chunk of {size[:5].decode()!r}", CHUNKED + size + b"\r\n{}\r\n" + end, 400, 413, or_else=waits)
    yield bad("chunks whose lines end with LF", CHUNKED + b"2\n{}\n0\n\n")
    yield bad("LF in an extension", CHUNKED + b"2;a\nb\r\n{}\r\n" + end)
    yield bad("a chunk longer than it says", CHUNKED + b"2\r\n{}xx\r\n" + end)
    yield bad("a trailer without a colon", CHUNKED + chunk(BODY) + b"0\r\nno trailer\r\n\r\n")
    yield bad(
        "a chunk's extension of 10,000 bytes",
        CHUNKED + b"2;" + b"a" * 10_000 + b"\r\n{}\r\n" + end,
        400,
        or_else=("422 404 open",),
    )


def heads() -> Iterator[Case]:
    yield bad("a folded header", GET_HEAD + b"X: y\r\n z\r\n\r\n", 400, or_else=("200 404 open",))
    yield bad(
        "a first header that is folded", b"GET /health/live HTTP/1.1\r\n Host: localhost\r\nHost: localhost\r\n\r\n"
    )
    for name, line in {
        "NUL in a header": b"X: a\0b",
        "CR in a header": b"X: a\rb",
        "a header without a colon": b"nothing",
        "a header without a name": b": y",
        "a space in a header's name": b"X Y: z",
        "no token as a header's name": b"X[Y]: z",
    }.items():
        yield bad(name, GET_HEAD + line + b"\r\n\r\n")
    yield bad("no Host", b"GET /health/live HTTP/1.1\r\n\r\n", 400, or_else=("400 404 open",))
    yield bad("two Hosts", GET_HEAD + b"Host: localhost\r\n\r\n", 400, or_else=("400 404 open",))
    yield good("lines that end with LF", LIVE.replace(b"\r\n", b"\n"), "200 open", "400 closed")
    yield good("an empty line before the request", b"\r\n" + LIVE)
    yield good("a header with an underscore", GET_HEAD + b"Content_Length: 5\r\n\r\n", "200 open", "400 closed")
    yield good("Latin-1 in a header", GET_HEAD + b"X: \xe9\r\n\r\n", "200 open", "400 closed")
    yield bad("a request line of 20,000 bytes", GET % (b"/" + b"a" * 20_000), 414, 431, 400)
    yield bad("a header of 70,000 bytes", GET_HEAD + b"X: " + b"a" * 70_000 + b"\r\n\r\n", 431, 400)
    yield bad("1,000 headers", GET_HEAD + b"X: y\r\n" * 1_000 + b"\r\n", 431, 400)


def lines() -> Iterator[Case]:
    yield good("absolute form", GET % b"http://localhost/health/live")
    yield good(
        "absolute form of another host",
        GET % b"http://evil.example/models",
        "403 open",
        "400 closed",
        "400 open",
        "403 closed",
        "421 open",
    )
    yield good(
        "OPTIONS *",
        b"OPTIONS * HTTP/1.1\r\nHost: localhost\r\n\r\n",
        *(f"{s} {o}" for s in (200, 204, 400, 404, 405) for o in ("open", "closed")),
    )
    yield good(
        "CONNECT",
        b"CONNECT localhost:80 HTTP/1.1\r\nHost: localhost\r\n\r\n",
        *(f"{s} {o}" for s in (400, 404, 405, 501) for o in ("open", "closed")),
    )
    yield bad("HTTP/0.9", b"GET /health/live\r\n\r\n")
    yield bad("HTTP/2.0", LIVE.replace(b"HTTP/1.1", b"HTTP/2.0"), 400, 505)
    yield bad("the greeting of HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400, 505)
    yield bad("two spaces in the request line", LIVE.replace(b" /", b"  /"))
    yield bad("a space in the target", GET % b"/health/live x")
    yield bad("a control character in the target", GET % b"/health/\x01live")
    yield bad("a greeting of TLS", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n")
    yield good(
        "small letters as the method",
        LIVE.replace(b"GET", b"get"),
        *(f"{s} {o}" for s in (400, 405, 501) for o in ("open", "closed")),
    )


def connections() -> Iterator[Case]:
    unread = HEAD.replace(b"/run_algorithm", b"/nowhere")
    yield good("GET", LIVE)
    yield good("three GETs at once", LIVE * 3, "200 200 200 open")
    yield good("POST and GET at once", POST + LIVE, "200 200 open")
    yield good("HEAD, then GET", LIVE.replace(b"GET", b"HEAD") + LIVE, "200 200 open", methods=("HEAD", "GET"))
    yield good("Connection: close", GET_HEAD + b"Connection: close\r\n\r\n" + LIVE, "200 closed")
    yield good("HTTP/1.0", LIVE.replace(b"1.1", b"1.0"), "200 closed")
    yield good(
        "HTTP/1.0, keep-alive",
        GET_HEAD.replace(b"1.1", b"1.0") + b"Connection: keep-alive\r\n\r\n",
        "200 open",
        "200 closed",
    )
    yield good("Upgrade: h2c", GET_HEAD + b"Connection: upgrade\r\nUpgrade: h2c\r\n\r\n")
    yield good(
        "GET with a body, then GET", GET_HEAD + b"Content-Length: 5\r\n\r\nhello" + LIVE, "200 200 open", "200 closed"
    )
    yield good(
        "404 with a body, then GET", unread + b"Content-Length: 2\r\n\r\n{}" + LIVE, "404 200 open", "404 closed"
    )
    yield good(
        "404 with chunks, then GET",
        unread + b"Transfer-Encoding: chunked\r\n\r\n" + chunk(b"{}") + b"0\r\n\r\n" + LIVE,
        "404 200 open",
        "404 closed",
    )
    yield good(
        "404, Expect: 100-continue without the body, then GET",
        unread + b"Expect: 100-continue\r\nContent-Length: 20\r\n\r\n" + LIVE,
        "404 closed",
    )
    yield good(
        "Expect: 100-continue",
        HEAD + b"Expect: 100-continue\r\nContent-Length: %d\r\n\r\n" % len(BODY) + BODY,
        "100 200 open",
        "200 open",
    )
    yield good(
        "Expect: something", GET_HEAD + b"Expect: something\r\n\r\n", "200 open", "417 open", "417 closed", "400 closed"
    )


def held() -> Iterator[Case]:
    """Hosts, paths and uploads that are refused by the application."""
    evil = LIVE.replace(b"localhost", b"evil.example")
    yield good("another Host, /models", evil.replace(b"/health/live", b"/models"), "403 open", "400 closed")
    yield good("another Host, /health/live", evil, "200 open", "403 open")
    for path in (
        b"/console/../../../etc/passwd",
        b"/console/..%2f..%2f..%2fetc%2fpasswd",
        b"/reports/..%2f..%2f..%2fetc%2fpasswd",
        b"/reports/%2fetc%2fpasswd",
        b"/models/%00",
        b"//etc/passwd",
    ):
        yield Case(
            f"GET {path.decode()}",
            GET % path,
            ("404 open", "400 open", "400 closed", "308 open"),
            must_not_tell=b"root:",
        )
    stranger = json.dumps(
        {"model_path": "/etc/passwd", "algorithm_name": "DDQN", "training_params": {}, "performance_metrics": {}}
    ).encode()
    line = HEAD.replace(b"/run_algorithm", b"/models/register")
    yield good(
        "registering /etc/passwd",
        line + b"Content-Length: %d\r\n\r\n" % len(stranger) + stranger,
        "422 open",
        "403 open",
        "400 open",
    )
    pickled = b"\x80\x04\x95\x1d\x00\x00\x00\x00\x00\x00\x00\x8c\x05posix\x8c\x06system\x93\x8c\x04true\x85R."
    form = (
        b"".join(
            b'--x\r\nContent-Disposition: form-data; name="%b"\r\n\r\n%b\r\n' % part
            for part in (
                (b"algorithm_name", b"DDQN"),
                (b"training_params", b"{}"),
                (b"performance_metrics", b"{}"),
                (b'file"; filename="a.pth', pickled),
            )
        )
        + b"--x--\r\n"
    )
    line = line.replace(b"application/json", b"multipart/form-data; boundary=x")
    yield good("uploading a pickle", line + b"Content-Length: %d\r\n\r\n" % len(form) + form, "422 open", "400 open")


CASES: tuple[Case, ...] = (*connections(), *lengths(), *chunks(), *heads(), *lines(), *held())


def answers(target: Target) -> list[Came]:
    """What the service makes of every case."""
    with ThreadPoolExecutor(N_AT_ONCE) as pool:
        return list(pool.map(lambda case: try_case(case, target), CASES))


def try_case(case: Case, target: Target) -> Came:
    with target.connect(timeout_s=PATIENCE_S) as client:
        told, received = _exchange(client, case)
    tells = bool(case.must_not_tell) and case.must_not_tell in received
    return Came(case, told, told in case.right and not tells)


def _exchange(client: socket.socket, case: Case) -> tuple[str, bytes]:
    received, is_open = b"", True
    try:
        client.sendall(case.sent)
        while True:
            statuses, is_whole = _parsed(received, case.methods)
            client.settimeout(STAYS_OPEN_S if statuses and is_whole else PATIENCE_S)
            piece = client.recv(65_536)
            if not piece:
                is_open = False
                break
            received += piece
    except TimeoutError:
        pass
    except OSError:
        is_open = False
    statuses, is_whole = _parsed(received, case.methods)
    if is_open and not statuses:
        return "no answer", received
    told = [*statuses, *([] if is_whole else ["cut off"]), "open" if is_open else "closed"]
    return " ".join(told), received


def _parsed(received: bytes, methods: tuple[str, ...]) -> tuple[list[str], bool]:
    """The statuses of the answers, and whether the last one is all there."""
    statuses: list[str] = []
    while received:
        head, found, rest = received.partition(b"\r\n\r\n")
        if not found:
            return statuses, False
        status = head[9:12].decode("latin-1") if head.startswith(b"HTTP/1.") else "no HTTP"
        method = methods[len(statuses)] if len(statuses) < len(methods) else "GET"
        statuses.append(status)
        size = 0 if method == "HEAD" or status[0] == "1" else _size(head, rest)
        if size is None or len(rest) < size:
            return statuses, False
        received = rest[size:]
    return statuses, True


def _size(head: bytes, rest: bytes) -> int | None:
    """Of the body, framing and all; None if that cannot be told yet."""
    for line in head.lower().split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name == b"content-length":
            return int(value)
        if name == b"transfer-encoding":
            end = rest.find(b"0\r\n\r\n")
            return end + 5 if end >= 0 else None
    return len(rest)
