"""Request bodies on a real connection: framing, slow and endless bodies, and unread remainders."""

import io
import json
import socket
import subprocess
import sys
import threading
import time
from contextlib import suppress
from types import SimpleNamespace
from typing import cast

import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st
from werkzeug.exceptions import RequestEntityTooLarge, ServiceUnavailable

from scheduler_service.http.bodies import MAX_SEPARATORS, SEPARATORS, parse_json
from scheduler_service.http.server.connections import MAX_HELD_BYTES, SEND_CHUNK_BYTES, Connection
from scheduler_service.http.server.incoming import (
    MAX_FRAMING_BYTES,
    MIN_BYTES_PER_S,
    STALL_TIMEOUT_S,
    BadFraming,
    Incoming,
    RequestBody,
)
from tests.conftest import LiveService, live_service
from tests.connections import connected, read_all
from tests.waiting import HANG_S, until


class Sent:
    """A socket whose client has sent `data` and closed its side."""

    def __init__(self, data: bytes, most: int = 65_536) -> None:
        """At most `most` bytes arrive per call."""
        self.file, self.most = io.BytesIO(data), most

    def recv(self, size: int) -> bytes:
        return self.file.read(min(size, self.most))


def body_of(sent: bytes, length: int | None = None, *, recv: int = 65_536, **options) -> RequestBody:
    framing = b"Transfer-Encoding: chunked" if length is None else b"Content-Length: %d" % length
    incoming = Incoming(Sent(b"POST / HTTP/1.1\r\nHost: x\r\n%b\r\n\r\n%b" % (framing, sent), recv))
    request = incoming.read_head(("127.0.0.1", 1))
    usual = {"invite": None, "count": lambda _n: None}
    return RequestBody(incoming, request, **usual | options)


# --- the reader ---


@given(st.lists(st.binary(min_size=1, max_size=300), max_size=8), st.integers(1, 700), st.booleans())
def test_chunks_are_decoded_exactly_to_their_end(pieces, size, is_extended):
    extension = b" ;name=value" if is_extended else b""
    sent = b"".join(b"%X%b\r\n%b\r\n" % (len(piece), extension, piece) for piece in pieces) + b"0\r\nX: y\r\n\r\nGET /"
    body = body_of(sent)
    found = b""
    while piece := body.read(size):
        assert len(piece) <= size
        found += piece
    assert found == b"".join(pieces)
    assert body.is_complete
    assert body._incoming.read() == b"GET /"


@pytest.mark.parametrize("size", [1_000, 8_192, 10**6])
@pytest.mark.parametrize("recv", [97, 700, 65_536])
def test_long_chunks_are_read_in_any_pieces(size, recv):
    """Bytes read beyond a piece do not count as framing."""
    n_chunks = 2_000_000 // size
    body = body_of((b"%x\r\n" % size + b"x" * size + b"\r\n") * n_chunks + b"0\r\n\r\n", recv=recv)
    assert len(body.readall()) == n_chunks * size


@given(st.binary(max_size=500))
def test_lines_are_those_of_a_file(content):
    assert list(body_of(content, len(content))) == list(io.BytesIO(content))
    assert body_of(content, len(content)).read() == content


@pytest.mark.parametrize(
    "sent",
    [
        b"z\r\nabc\r\n0\r\n\r\n",
        b"-3\r\nabc\r\n0\r\n\r\n",
        b"3\nabc\n0\n\n",
        b"3\r\nabcd\r\n0\r\n\r\n",
        b"3\r\nab",
        b"3\r\nabc\r\n",
        b"1" * 16 + b"\r\n",
        b"3;" + b"x" * 20_000 + b"\r\nabc\r\n0\r\n\r\n",
        b"0\r\nno trailer\r\n\r\n",
        b"0\r\nContent-Length: 3\r\n\r\n",
        b"0\r\n" + b"X: y\r\n" * 2_000 + b"\r\n",
        b"".join(b"1\r\nx\r\n" for _ in range(MAX_FRAMING_BYTES)) + b"0\r\n\r\n",
    ],
)
def test_invalid_framing_is_refused_also_on_later_reads(sent):
    body = body_of(sent)
    for _ in range(2):
        with pytest.raises(BadFraming):
            body.read()
    assert not body.can_be_passed_over


def test_an_unread_body_is_discarded_and_the_connection_closed():
    invitations = []
    body = body_of(b"{}", 2, invite=lambda: invitations.append(1))
    assert not body.can_be_passed_over
    assert body.read() == b"{}"
    assert (invitations, body.can_be_passed_over) == ([1], True)


def test_a_short_remainder_is_skipped_and_a_long_one_is_not():
    assert body_of(b"x" * 100, 100).can_be_passed_over
    assert not body_of(b"", 10**6).can_be_passed_over
    assert not body_of(b"0\r\n\r\n").can_be_passed_over


def test_time_counts_for_every_kind_of_framing():
    for body in (body_of(b"5\r\nab"), body_of(b"ab", 5)):
        now_s = body.began_s
        assert not body.is_slow(now_s + STALL_TIMEOUT_S - 1.0)
        assert body.is_slow(now_s + STALL_TIMEOUT_S + 1.0)
    body = body_of(b"x" * 100_000, 10**6)
    body.read(90_000)
    assert body.is_slow(body.began_s + STALL_TIMEOUT_S + 1.0 + 100_000 / MIN_BYTES_PER_S)
    assert body.is_slow(body.began_s + 600.0), "single bytes do not extend the limit"
    assert not body_of(b"", 0).is_slow(time.monotonic() + 10**6)


def test_every_byte_is_counted_and_can_be_refused():
    counted = []
    assert body_of(b"x" * 200_000, 200_000, count=counted.append).read() == b"x" * 200_000
    assert sum(counted) == 200_000

    def refuse(_n_bytes):
        raise ServiceUnavailable

    with pytest.raises(ServiceUnavailable):
        body_of(b"xx", 2, count=refuse).read()


def test_short_bodies_are_accepted_while_others_use_all_shared_memory():
    connection = Connection.__new__(Connection)
    connection.server = SimpleNamespace(held_bytes=MAX_HELD_BYTES)
    connection._take(SEND_CHUNK_BYTES)
    with pytest.raises(ServiceUnavailable):
        connection._take(1)


def test_answers_wait_for_slow_clients_only_while_there_is_room():
    connection = Connection.__new__(Connection)
    connection.server = SimpleNamespace(held_bytes=MAX_HELD_BYTES)
    with pytest.raises(BrokenPipeError):
        connection._sendall(b"x" * (SEND_CHUNK_BYTES + 1))
    assert connection.sending_s is None


def test_a_client_that_reads_nothing_of_a_large_answer_gets_no_more_time_than_for_a_small_one():
    connection = Connection.__new__(Connection)
    connection.is_idle, connection.sending_s, connection.sending_bytes = False, 0.0, 10**9
    connection.piece_s = 100.0
    assert not connection.is_slow(100.0 + STALL_TIMEOUT_S - 1.0)
    assert connection.is_slow(100.0 + STALL_TIMEOUT_S + 1.0)
    connection.piece_s = connection.sending_s + STALL_TIMEOUT_S + 10**9 / MIN_BYTES_PER_S + 1.0
    assert connection.is_slow(connection.piece_s), "small pieces do not extend the limit"


def test_a_text_of_quotes_and_backslashes_is_read_in_linear_time():
    """With an expression that searches the end of every quote again, five megabytes took days."""
    program = (
        "from scheduler_service.http.bodies import MalformedBody, parse_json\n"
        "try:\n    parse_json(b'[' + b'[],' * 33 + b'\"' + b'\\\\\"' * 2_500_000)\n"
        "except MalformedBody:\n    print('refused')"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=HANG_S, check=False)
    assert done.stdout == "refused\n", done.stderr


@pytest.mark.parametrize("levels", [33, 1_000, 1_024, 1_025, 100_000])
def test_a_deeply_nested_body_is_refused_at_any_depth(either, levels):
    for text in ("[" * levels + "]" * levels, '{"a":' * levels + "1" + "}" * levels):
        answer = requests.post(
            f"{either.url}/run_algorithm", data=text, headers={"Content-Type": "application/json"}, timeout=HANG_S
        )
        assert answer.status_code == 400, answer.text[:200]


# --- over a connection ---


@pytest.fixture(scope="module", params=[1, 2], ids=["one process", "two workers"])
def either(request, tmp_path_factory) -> LiveService:
    home = tmp_path_factory.mktemp("bodies")
    with live_service(home, arguments=["--workers", str(request.param)]) as running:
        yield running


HEAD = b"POST /run_algorithm HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"


def flood(client: socket.socket, piece: bytes) -> None:
    try:
        while True:
            client.sendall(piece)
    except OSError:
        return


@pytest.mark.parametrize("piece", [b"1\r\n \r\n" * 1_000, b"0\r\n" + b"X: y\r\n" * 1_000], ids=["bytes", "trailers"])
def test_a_flood_of_small_pieces_is_ended_without_delaying_others(either, piece):
    clients = [connected(either) for _ in range(4)]
    threads = [threading.Thread(target=flood, args=(client, piece), daemon=True) for client in clients]
    for client, thread in zip(clients, threads, strict=True):
        client.sendall(CHUNKED)
        thread.start()
    assert requests.get(f"{either.url}/health/live", timeout=HANG_S).status_code == 200
    for client, thread in zip(clients, threads, strict=True):
        assert read_all(client).startswith(b"HTTP/1.1 400 ")
        client.close()
        thread.join(HANG_S)
        assert not thread.is_alive()


def test_nothing_is_executed_after_an_invalid_chunk(either):
    hidden = b"POST /models/DDQN_v1.0/tags HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n"
    with connected(either) as client:
        client.sendall(CHUNKED + b"z\r\n" + hidden * 3)
        result = read_all(client)
    assert result.count(b"HTTP/1.1 ") == 1
    assert result.startswith(b"HTTP/1.1 400 ")
    problem = json.loads(result.partition(b"\r\n\r\n")[2])
    assert problem["detail"] == "Invalid chunk size: b'z'"


@pytest.mark.parametrize(
    ("line", "status"), [(b"POST /nowhere", 404), (b"DELETE /run_algorithm", 405), (b"POST /run_algorithm", 413)]
)
def test_a_refusal_before_the_body_closes_the_connection(either, line, status):
    length = 10**9 if status == 413 else 20
    head = HEAD.replace(b"POST /run_algorithm", line) + b"Expect: 100-continue\r\nContent-Length: %d\r\n\r\n" % length
    with connected(either) as client:
        client.sendall(head)
        result = read_all(client)
    assert result.startswith(b"HTTP/1.1 %d " % status), result[:100]
    assert b"Connection: close" in result
    assert b"100 Continue" not in result


@pytest.mark.parametrize(
    ("line", "status"),
    [
        (b"GET http://localhost/health/live HTTP/1.1", 200),
        (b"GET HTTP://localhost/reports?limit=5 HTTP/1.1", 200),
        (b"GET http://evil.example/models HTTP/1.1", 403),
        (b"GET /models/history?at=http://evil.example/ HTTP/1.1", 422),
        (b"get /health/live HTTP/1.1", 400),
    ],
)
def test_an_absolute_target_overrides_the_host_header(either, line, status):
    with connected(either) as client:
        client.sendall(line + b"\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        assert read_all(client).startswith(b"HTTP/1.1 %d " % status)


def test_a_client_that_expects_100_continue_gets_it(either):
    body = json.dumps({"params": [5.0] * 15}).encode()
    with connected(either) as client:
        client.sendall(HEAD + b"Expect: 100-continue\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(body))
        assert client.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        client.sendall(body)
        assert read_all(client).startswith(b"HTTP/1.1 200 ")


def test_the_connection_stays_open_after_a_short_unread_body(either):
    refused = HEAD.replace(b"/run_algorithm", b"/nowhere") + b'Content-Length: 9\r\n\r\n{"a": 1}\n'
    second = b"GET /health/live HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    with connected(either) as client:
        client.sendall(refused + second)
        result = read_all(client)
    assert [each[:3] for each in result.split(b"HTTP/1.1 ")[1:]] == [b"404", b"200"]


def test_an_answer_reaches_a_client_that_sends_too_much(either):
    length = 12_000_000
    with connected(either) as client:
        client.sendall(HEAD + b"Content-Length: %d\r\n\r\n" % length + b" " * length)
        assert read_all(client).startswith(b"HTTP/1.1 413 ")


def test_a_chunked_body_above_the_limit_is_413_and_what_follows_is_no_request(either):
    piece = b"2000\r\n" + b" " * 0x2000 + b"\r\n"
    second = b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n"
    with connected(either) as client:
        with suppress(ConnectionError):  # the service may close it while we send
            client.sendall(CHUNKED + piece * (9 * 2**20 // 0x2000) + b"0\r\n\r\n" + second)
        result = read_all(client)
    assert [each[:3] for each in result.split(b"HTTP/1.1 ")[1:]] == [b"413"]
    assert json.loads(result.partition(b"\r\n\r\n")[2])["code"] == "content_too_large"


def test_an_aborted_request_leaves_nothing(either):
    for sent in (HEAD + b"Content-Length: 50\r\n\r\n{", CHUNKED + b"5\r\nab"):
        with connected(either) as client:
            client.sendall(sent)
    until(lambda: requests.get(f"{either.url}/health/live", timeout=HANG_S).status_code == 200)


# --- expensive bodies ---


@pytest.mark.parametrize("unit", [b"[]", b"{}", b'{"a":1}', b"1", b'"a"', b"[" * 30 + b"]" * 30])
def test_a_body_with_too_many_values_is_refused_before_it_is_parsed(unit):
    marks = 1 + sum(map(unit.count, SEPARATORS))
    with pytest.raises(RequestEntityTooLarge, match="250000 commas, colons and opening brackets"):
        parse_json(b"[" + b",".join([unit] * (MAX_SEPARATORS // marks + 2)) + b"]")
    few = b"[" + b",".join([unit] * (MAX_SEPARATORS // marks - 1)) + b"]"
    assert len(cast(list[object], parse_json(few))) == MAX_SEPARATORS // marks - 1


def test_the_largest_instance_with_every_field_and_twenty_predecessors_is_read():
    step = {"id": 1, "name": "s", "team": "t", "duration": 1.5, "order": 1, "dedicated": False, "team_size": 5}
    step |= {"parallel": True, "min_crew": 1, "max_crew": 5, "predecessors": list(range(20))}
    workpoints = [{"id": number, "name": "w", "steps": [step] * 25} for number in range(200)]
    data = json.dumps({"workpoints": workpoints}).encode()
    assert parse_json(data) == {"workpoints": workpoints}


@pytest.mark.parametrize(
    ("form", "status", "code"),
    [
        (b"--b\r\n" + b"a: b\r\n" * 10_000 + b"\r\nx\r\n--b--\r\n", 400, "part_head_too_long"),
        (b'--b\r\nContent-Disposition: form-data; name="' + b"a" * 100_000, 400, "part_head_too_long"),
        (
            b'--b\r\nContent-Disposition: form-data; name="a"\r\n\r\n\r\n' * 2_000 + b"--b--\r\n",
            413,
            "content_too_large",
        ),
        (b"\r\n" * 1_000, 422, "no_file_part"),
    ],
)
def test_an_expensive_form_is_refused(service, form, status, code):
    headers = {"Content-Type": "multipart/form-data; boundary=b"}
    answer = service.post("/models/register", data=form, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (status, code)


def test_a_form_without_a_boundary_is_refused(service):
    answer = service.post("/models/register", data=b"--b\r\n", headers={"Content-Type": "multipart/form-data"})
    assert answer.status_code == 400, answer.text


@pytest.mark.parametrize(
    ("sent", "loc", "code", "params"),
    [
        ({"Params": [5.0] * 15}, ["Params"], "unknown_member_near", {"nearest": "params"}),
        (
            {"params": [5.0] * 15, "timeBudgetMs": 5},
            ["timeBudgetMs"],
            "unknown_member_near",
            {"nearest": "time_budget_ms"},
        ),
        ({"params": [5.0] * 15, "colour": 5}, ["colour"], "unknown_member", {}),
        ([1], [], "not_a_json_object", {}),
        ({"params": [None] * 15}, ["params", 0], "missing", {"name": "0"}),
        ({"params": [True] * 15}, ["params", 0], "float_type", {"value": "true"}),
    ],
)
def test_a_refusal_names_the_limit_and_the_remedy(service, sent, loc, code, params):
    answer = service.post("/run_algorithm", json=sent)
    assert answer.status_code == 422
    (error,) = (each for each in answer.json()["errors"] if each["loc"] == loc)
    assert (error["code"], error["params"]) == (code, params)
