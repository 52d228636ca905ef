"""Protection against too many, too large or too slow requests, and against forged log lines."""

import hashlib
import multiprocessing
import re
import select
import socket
import time

import pytest
import requests

from enhanced_flask import create_app
from scheduler_service.http.guards.limits import (
    ADDRESS_SLOTS,
    FAILED_KEYS_BURST,
    MIN_BURST,
    Limits,
    RateExceeded,
    RateLimit,
)
from scheduler_service.settings import Settings
from tests.conftest import live_service
from tests.connections import connected, read_all
from tests.waiting import HANG_S

KEYS = {"slow": "the key of a slow client", "other": "the key of another client"}
ENTRIES = tuple(f"{name}:read:{hashlib.sha256(key.encode()).hexdigest()}" for name, key in KEYS.items())
SAMPLE = [10, 5, 8, 6, 7, 9, 6, 7, 6, 7, 7, 7, 4, 7, 5]
FOREIGN = {"REMOTE_ADDR": "203.0.113.7"}


@pytest.fixture(scope="module")
def exposed(tmp_path_factory):
    """Two worker processes beyond loopback; each key is allowed one request a second, in bursts of 20."""
    environment = {
        "SCHED_API_KEYS": ",".join(ENTRIES),
        "SCHED_RATE_LIMIT": "60",
        "SCHED_ANONYMOUS_SCOPES": "run,read",
    }
    arguments = ["--host", "0.0.0.0", "--workers", "2"]
    with live_service(tmp_path_factory.mktemp("limited"), arguments=arguments, environment=environment) as running:
        yield running


def bearer(name):
    return {"Authorization": f"Bearer {KEYS.get(name, name)}"}


def limit_at(per_minute, burst, *, slots=4):
    """A limit with a fixed clock, and the list whose entry is the time."""
    now = [1_000.0]
    return RateLimit(per_minute, burst, slots=slots, clock=lambda: now[0]), now


# --- the algorithm ---


def test_a_burst_is_allowed_and_then_one_request_per_interval():
    limit, now = limit_at(60, 5)
    assert [limit.take(0).remaining for _ in range(5)] == [4, 3, 2, 1, 0]
    refused = limit.take(0)
    assert not refused.is_allowed
    assert refused.wait_s == pytest.approx(1.0)
    now[0] += 1.0
    assert limit.take(0).is_allowed
    assert not limit.take(0).is_allowed


def test_refused_requests_do_not_count():
    limit, now = limit_at(60, 1)
    for _ in range(100):
        limit.take(0)
    now[0] += 1.0
    assert limit.take(0).is_allowed


def test_an_idle_client_gets_its_burst_back_and_no_more():
    limit, now = limit_at(60, 5)
    for _ in range(5):
        limit.take(0)
    now[0] += 1e6
    assert sum(limit.take(0).is_allowed for _ in range(50)) == 5


def test_the_long_term_rate_is_kept_at_any_pace():
    limit, now = limit_at(600, 10)
    taken = 0
    for _ in range(10_000):
        taken += limit.take(1).is_allowed
        now[0] += 0.013
    assert taken == pytest.approx(10_000 * 0.013 * 10 + 10, abs=2)


def test_one_client_does_not_use_the_allowance_of_another():
    limit, _ = limit_at(60, 3)
    for _ in range(10):
        limit.take(0)
    assert limit.take(1).is_allowed


def _take(limit, count, results):
    results.put(sum(limit.take(0).is_allowed for _ in range(count)))


def test_forked_processes_share_the_used_allowance():
    fork = multiprocessing.get_context("fork")
    limit, results = RateLimit(1, 500, slots=1), fork.SimpleQueue()
    workers = [fork.Process(target=_take, args=(limit, 400, results)) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    # Each lost update allows one more; separate limits per process would allow 1,600.
    assert 500 <= sum(results.get() for _ in workers) < 600


# --- addresses ---


def test_an_ipv6_client_is_identified_by_its_network_and_loopback_is_exempt(tmp_path):
    limits = Limits(Settings(home=tmp_path, rate_limit=1))
    for number in range(MIN_BURST):
        assert limits.decide_for_address(f"2001:db8::{number:x}").is_allowed
    assert not limits.decide_for_address("2001:db8::ffff").is_allowed
    assert limits.decide_for_address("2001:db8:0:1::1").is_allowed
    for loopback in ("127.0.0.1", "::1", "::ffff:127.0.0.1"):
        assert limits.decide_for_address(loopback) is None


def test_an_ipv4_address_mapped_to_ipv6_is_the_same_client(tmp_path):
    limits = Limits(Settings(home=tmp_path, rate_limit=1))
    for _ in range(MIN_BURST):
        limits.decide_for_address("203.0.113.7")
    assert not limits.decide_for_address("::ffff:203.0.113.7").is_allowed


def test_guessing_keys_is_blocked_without_affecting_other_addresses(tmp_path):
    limits = Limits(Settings(home=tmp_path))
    for _ in range(FAILED_KEYS_BURST):
        limits.refuse_guessers("203.0.113.7")
        limits.count_failed_key("203.0.113.7")
    with pytest.raises(RateExceeded) as refused:
        limits.refuse_guessers("203.0.113.7")
    assert 1 <= refused.value.retry_after_s <= 6
    limits.refuse_guessers("203.0.113.8")


def test_addresses_are_spread_over_the_slots(tmp_path):
    limits = Limits(Settings(home=tmp_path))
    slots = {limits._slot(f"10.0.{number // 250}.{number % 250}") for number in range(10_000)}
    # Birthday problem: 10,000 addresses use about 9,276 different slots of 65,536.
    assert 9_100 < len(slots) < 9_450
    assert max(slots) < ADDRESS_SLOTS


# --- over HTTP ---


@pytest.fixture(scope="module")
def app(tmp_path_factory):
    home = tmp_path_factory.mktemp("app")
    return create_app(
        Settings(home=home, host="0.0.0.0", api_keys=ENTRIES, rate_limit=60, anonymous_scopes=("run", "read"))
    )


def test_a_client_above_its_rate_gets_a_retry_after(app):
    client = app.test_client()
    for left in range(MIN_BURST - 1, -1, -1):
        answer = client.get("/models", headers=bearer("slow"))
        assert answer.status_code == 200
        assert answer.headers["RateLimit-Policy"] == '"requests";q=60;w=60'
        assert answer.headers["RateLimit"].startswith(f'"requests";r={left};t=')
    refused = client.get("/models", headers=bearer("slow"))
    assert refused.status_code == 429
    assert refused.mimetype == "application/problem+json"
    assert refused.headers["Retry-After"] == "1"
    assert refused.headers["RateLimit"] == '"requests";r=0;t=1'
    assert refused.json["type"] == "/docs#rate-exceeded"
    assert client.get("/models", headers=bearer("other")).status_code == 200
    for path in ("/health", "/health/live", "/health/ready"):
        assert client.get(path, headers=bearer("slow"), environ_base=FOREIGN).status_code != 429


def test_a_forwarded_address_is_not_trusted(app):
    client = app.test_client()
    answers = [
        client.get("/nope", environ_base={"REMOTE_ADDR": "198.51.100.1"}, headers={"X-Forwarded-For": f"10.0.0.{n}"})
        for n in range(MIN_BURST + 1)
    ]
    assert [answer.status_code for answer in answers] == [404] * MIN_BURST + [429]


def test_a_blocked_address_is_refused_even_with_a_valid_key(app):
    def status_of(key):
        return app.test_client().get("/models", headers=bearer(key), environ_base=FOREIGN).status_code

    assert [status_of(f"guess {number}") for number in range(FAILED_KEYS_BURST)] == [401] * FAILED_KEYS_BURST
    assert status_of("guess") == 429
    assert status_of("other") == 429


def test_without_a_key_loopback_clients_are_not_limited(app, tmp_path):
    for where in (app, create_app(Settings(home=tmp_path, rate_limit=1))):
        answers = [where.test_client().get("/models") for _ in range(3 * MIN_BURST)]
        assert {answer.status_code for answer in answers} == {200}
        assert "RateLimit" not in answers[0].headers


def test_replicas_share_the_limits(tmp_path):
    of_three = Limits(Settings(home=tmp_path, api_keys=ENTRIES, rate_limit=100, replicas=3))
    assert of_three.keys.policy == '"requests";q=34;w=60'
    assert of_three.keys.burst == of_three.addresses.burst == MIN_BURST
    for _ in range(4):  # of ten unknown keys
        of_three.refuse_guessers("203.0.113.7")
        of_three.count_failed_key("203.0.113.7")
    with pytest.raises(RateExceeded):
        of_three.refuse_guessers("203.0.113.7")
    assert Limits(Settings(home=tmp_path, rate_limit=0, replicas=3)).addresses is None


def test_zero_means_no_limit(tmp_path):
    app = create_app(
        Settings(home=tmp_path, host="0.0.0.0", api_keys=ENTRIES, rate_limit=0, anonymous_scopes=("read",))
    )
    for options in ({"headers": bearer("slow")}, {"environ_base": FOREIGN}):
        assert {app.test_client().get("/models", **options).status_code for _ in range(2 * MIN_BURST)} == {200}


def test_two_workers_share_the_counts(exposed):
    began = time.monotonic()
    # A new connection each, so that both workers get some.
    statuses = [
        requests.get(f"{exposed.url}/models", headers=bearer("slow"), timeout=HANG_S).status_code
        for _ in range(3 * MIN_BURST)
    ]
    most = MIN_BURST + int(time.monotonic() - began) + 2
    assert set(statuses) == {200, 429}
    assert MIN_BURST <= statuses.count(200) <= most


# --- invalid HTTP on real sockets: gevent's server, and gunicorn ---


@pytest.fixture(params=["service", "exposed"])
def either(request):
    return request.getfixturevalue(request.param)


def spoken(service, sent: bytes) -> bytes:
    """Everything received for `sent` until the server closes the connection; our side sends nothing more."""
    with connected(service) as client:
        try:
            client.sendall(sent)
            client.shutdown(socket.SHUT_WR)
        except TimeoutError:
            raise
        except OSError:  # closed before everything was sent
            pass
        return read_all(client)


def statuses(received: bytes) -> list[int]:
    return [int(found) for found in re.findall(rb"HTTP/1\.[01] (\d{3})", received)]


def post(*headers: str, body: bytes = b"") -> bytes:
    lines = ["POST /run_algorithm HTTP/1.1", "Host: localhost", "Content-Type: application/json", "Connection: close"]
    return "\r\n".join([*lines, *headers, "", ""]).encode() + body


def still_answers(service):
    assert requests.get(f"{service.url}/health/live", timeout=HANG_S).status_code == 200


@pytest.mark.parametrize(
    "sent",
    [
        post(f"X-Long: {'x' * 1_000_000}"),
        post(*(f"X-{number}: y" for number in range(20_000))),
        b"GET /" + b"x" * 1_000_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
    ],
    ids=["one long header", "many headers", "a long path"],
)
def test_oversized_heads_are_refused(either, sent):
    assert set(statuses(spoken(either, sent))) <= {400, 414, 431}
    still_answers(either)


@pytest.mark.parametrize(
    ("length", "status"),
    [("99999999999999", 413), ("9" * 30, 413), ("-1", 400), ("ten", 400), ("1_0", 400), ("+5", 400)],
)
def test_an_invalid_content_length_is_refused_immediately(either, length, status):
    with connected(either) as client:
        client.sendall(post(f"Content-Length: {length}", body=b"{}"))  # the rest is never sent
        assert statuses(client.recv(65_536)) in ([status], [400])
    still_answers(either)


@pytest.mark.parametrize(
    "sent",
    [
        post("Content-Length: 5", "Content-Length: 6", body=b"hello!"),
        post("Content-Length: 4", "Transfer-Encoding: chunked", body=b"0\r\n\r\nGET /smuggled HTTP/1.1\r\n\r\n"),
        post("Transfer-Encoding: chunked", "Transfer-Encoding: identity", body=b"0\r\n\r\n"),
        post("Transfer-Encoding: xchunked", body=b"0\r\n\r\nGET /smuggled HTTP/1.1\r\n\r\n"),
        post("Transfer-Encoding : chunked", body=b"0\r\n\r\nGET /smuggled HTTP/1.1\r\n\r\n"),
        post("Transfer-Encoding: chunked", body=b"zz\r\nhello\r\n0\r\n\r\n"),
        post("Transfer-Encoding: chunked", body=b"ffffffffffffffffffff\r\nhello\r\n0\r\n\r\n"),
    ],
    ids=["two lengths", "both", "two encodings", "unknown encoding", "space", "no hex", "huge chunk"],
)
def test_ambiguous_framing_is_one_refusal(either, sent):
    result = statuses(spoken(either, sent))
    assert len(result) <= 1, result
    assert all(400 <= status <= 501 and status != 500 for status in result), result
    still_answers(either)


def test_clients_that_send_their_head_slowly_block_no_other(either):
    slow = [connected(either) for _ in range(100)]
    try:
        for client in slow:
            client.sendall(b"GET /health HTTP/1.1\r\nHost: lo")
        still_answers(either)
        given_up, _, _ = select.select(slow, [], [], 0.0)
        assert len(given_up) < len(slow), "answered while some slow clients were still connected"
        for _ in range(3):
            still_answers(either)
    finally:
        for client in slow:
            client.close()


# --- text of clients in the log ---


FORGED = "x\n2026-01-01 00:00:00,000 INFO [-] scheduler.runs: 算法执行完成 9.9\r\x1b[2J\x1b[31m\u2028算法执行完成 8.8"


def test_no_text_of_a_client_creates_a_line_or_a_colour_in_the_log(exposed):
    before = exposed.log()
    answers = [
        requests.post(f"{exposed.url}/run_algorithm", json={"params": SAMPLE} | options, timeout=HANG_S)
        for options in ({"user_id": FORGED}, {"experiment": FORGED}, {"model": FORGED}, {"user_id": "\x1b]0;title\x07"})
    ]
    assert [answer.status_code for answer in answers] == [200, 200, 404, 200]
    requests.post(f"{exposed.url}/feedback", json={"request_id": FORGED, "user_satisfaction": 1}, timeout=HANG_S)
    requests.post(f"{exposed.url}/experiments/x%0a2026-01-01%20算法执行完成%207.7/start", timeout=HANG_S)
    # Lines are written in order, so this one is the last.
    requests.post(
        f"{exposed.url}/run_algorithm", json={"params": SAMPLE}, headers={"X-Request-ID": "last"}, timeout=HANG_S
    )
    added = exposed.wait_for_log("[last] scheduler.runs")[len(before) :]
    assert sum("算法执行完成" in line for line in added.splitlines()) == 4
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028]", added)
    assert all(re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} [A-Z]+ \[", line) for line in added.split("\n")[:-1])


def test_a_request_id_that_could_forge_a_line_is_replaced(exposed):
    head = "GET /models/nothing HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
    received = spoken(exposed, f"{head}X-Request-ID: a] b: \x1b[31m算法执行完成 1\r\n\r\n".encode())
    assert "算法执行完成".encode() not in received
    assert b"\x1b" not in received
    assert b"\x1b" not in exposed.log().encode()
