"""Clients that send or read slowly, or not at all."""

import json
from contextlib import suppress

import gevent

from benchmarks.attacks.crowd import Crowd
from benchmarks.attacks.floods import CHUNKED, GET, HEAD, REFUSED_CHUNKED

BUFFER = 4_096
"""Bytes that the system of a slow reader takes for it."""
LARGE_REPORT = "performance_report_large.html"
LARGE_BYTES = 6 * 2**20
STALLED_BYTES = 7_900_000


def few_dribblers(crowd: Crowd) -> None:
    """A body in chunks, a byte of it every half a second."""
    crowd.dribble(20, CHUNKED, b"1\r\n \r\n", 0.5)


def many_dribblers(crowd: Crowd) -> None:
    """Bodies in chunks, bodies with a length, refused bodies, and heads: 150 clients each, a byte every 2 s."""
    kinds = [
        (CHUNKED, b"1\r\n \r\n"),
        (HEAD + b"Content-Length: 5000\r\n\r\n", b" "),
        (REFUSED_CHUNKED, b"1\r\n \r\n"),
        (b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n", b"X: y\r\n"),
    ]
    jobs = [gevent.spawn(crowd.dribble, 150, head, pieces, 2.0) for head, pieces in kinds]
    gevent.joinall(jobs)


def stalled_uploads(crowd: Crowd) -> None:
    """80 bodies that stop at 7.9 MB of 8."""
    head = HEAD + b"Content-Length: 8000000\r\n\r\n"

    def client() -> None:
        connection = crowd.connect()
        crowd.send(connection, head)
        for _ in range(STALLED_BYTES // 100_000):
            crowd.send(connection, b" " * 100_000)

    crowd.together([client] * 80)
    crowd.wait()


def unread_reports(crowd: Crowd) -> None:
    """150 readers of an answer of 6 MB who take nothing of it."""
    _ask_and_not_read(crowd, 150, GET % f"/reports/{LARGE_REPORT}".encode())


def unread_pipeline(crowd: Crowd) -> None:
    """8 clients ask for small files without a pause, and read none."""
    _ask_and_not_read(crowd, 8, GET % b"/console/style.css" * 2_000)


def unread_documents(crowd: Crowd) -> None:
    """60 clients ask for an answer of 0.4 MB without a pause, and read none."""
    _ask_and_not_read(crowd, 60, GET % b"/openapi.json" * 200)


def _ask_and_not_read(crowd: Crowd, n_clients: int, requests: bytes) -> None:
    def client() -> None:
        connection = crowd.connect(receive_buffer=BUFFER, reads=False)
        crowd.send(connection, requests)

    crowd.together([client] * n_clients)
    crowd.wait()


def idle_connections(crowd: Crowd) -> None:
    """2,000 that have asked once."""

    def client() -> None:
        crowd.send(crowd.connect(), GET % b"/health/live")

    for _ in range(20):
        crowd.together([client] * 100)
    crowd.wait()


def expects_to_be_asked(crowd: Crowd) -> None:
    """Refused requests with `Expect: 100-continue`: whoever goes on with the next one must not wait for ever."""
    while crowd.is_on:
        _expect_to_be_asked(crowd)


def _expect_to_be_asked(crowd: Crowd) -> None:
    lines = (b"POST /nowhere", b"DELETE /run_algorithm", b"POST /run_algorithm", b"POST /models/register")
    for line in lines:
        length = 10**9 if line == b"POST /run_algorithm" else 20
        head = HEAD.replace(b"POST /run_algorithm", line)
        client = crowd.target.connect(timeout_s=2.0)
        crowd.outcome.opened += 1
        client.sendall(head + b"Expect: 100-continue\r\nContent-Length: %d\r\n\r\n" % length)
        told = client.recv(65_536)
        status = told[9:12].decode()
        crowd.outcome.answers[status] += 1
        if status == "100":
            continue  # then it is asked for the body
        try:
            client.sendall(GET % b"/health/live")
            again = client.recv(65_536)
        except TimeoutError:
            crowd.outcome.note_wrong(f"{line.decode()}: {status}, and the next request is swallowed")
        except ConnectionError:
            continue
        else:
            if again and not again.startswith(b"HTTP/1.1 200 "):
                crowd.outcome.wrong.append(
                    f"{line.decode()}: {status}, and the next request is answered {again[:30]!r}"
                )


def smuggled_after_a_bad_chunk(crowd: Crowd) -> None:
    """What follows a bad chunk must not be executed: it sets a tag."""
    while crowd.is_on:
        _smuggle_after_a_bad_chunk(crowd)


def _smuggle_after_a_bad_chunk(crowd: Crowd) -> None:
    body = json.dumps({"model_key": "DDQN_v1.0"}).encode()
    hidden = b"PUT /models/tags/smuggled HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    hidden += b"Content-Length: %d\r\n\r\n" % len(body) + body
    beginnings = {
        "a length that is none": b"z\r\n",
        "a negative length": b"-1\r\n",
        "a length with a sign": b"+2\r\n{}\r\n0\r\n\r\n",
        "a length of 0x": b"0x2\r\n{}\r\n0\r\n\r\n",
        "a chunk longer than it says": b"2\r\n{}xx\r\n0\r\n\r\n",
        "lines without CR": b"2\n{}\n0\n\n",
        "a trailer that is none": b"2\r\n{}\r\n0\r\nno trailer\r\n\r\n",
    }
    for name, beginning in beginnings.items():
        client = crowd.target.connect(timeout_s=3.0)
        crowd.outcome.opened += 1
        told = b""
        with suppress(OSError):
            client.sendall(CHUNKED + beginning + hidden * 3)
            while piece := client.recv(65_536):
                told += piece
        statuses = [each[:3].decode() for each in told.split(b"HTTP/1.1 ")[1:]]
        crowd.outcome.answers.update(statuses)
        if len(statuses) != 1:
            crowd.outcome.note_wrong(f"{name}: answers {' '.join(statuses) or 'none'}")
    client = crowd.target.connect()
    client.sendall(b"GET /models?tag=smuggled HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    told = b""
    while piece := client.recv(65_536):
        told += piece
    if b'"total":0' not in told:
        crowd.outcome.note_wrong("the tag is set")
