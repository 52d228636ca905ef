"""deploy/front/haproxy.cfg: the real HAProxy in front of a real service, and of one that records requests.

The configuration is the shipped one; variables set only addresses and limits of time and number.
"""

import math
import select
import signal
import socket
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import cycle
from typing import Any

import pytest
import requests

from scheduler_env import SAMPLE_PARAMS
from scheduler_service.keys import digest_of
from tests.conftest import LiveService, live_service
from tests.connections import read_all
from tests.fronts import CLIENT_TIMEOUT_S, Front, front
from tests.waiting import HANG_S, until

KEY = "the key of the front's tests"
BEARER = {"Authorization": f"Bearer {KEY}"}
BEHIND_A_FRONT = {"SCHED_API_KEYS": f"ops:admin:{digest_of(KEY)}", "SCHED_TRUSTED_PROXIES": "127.0.0.1"}
ANSWERS = {"/large": b"x" * 400_000, "/huge": b"x" * 32 * 2**20}
PIECE_S = 0.1
SIGNAL_AGAIN_S = 5.0


class Recorder(ThreadingHTTPServer):
    """Answers and records every request, like a service without protection."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Recording)
        self.requests: list[Recording] = []
        self.answered: list[str] = []
        self.is_ready = True
        self.left = threading.Event()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.server_port}"


class Recording(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Recorder
    body = b""

    def do_GET(self) -> None:
        if self.path.startswith("/health"):
            self._answer(200 if self.server.is_ready else 503, b"")
            return
        self.server.requests.append(self)
        self.body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.path == "/waits":
            with suppress(ConnectionError):
                self.connection.recv(1)
            self.server.left.set()
            return
        self._answer(200, ANSWERS.get(self.path, b"{}"))

    do_POST = do_GET

    def _answer(self, status: int, content: bytes) -> None:
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4_096)
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        with suppress(ConnectionError):  # the client has disconnected
            self.end_headers()
            self.wfile.write(content)
        self.server.answered.append(self.path)

    def log_message(self, *_: Any) -> None:
        """Log nothing."""


@pytest.fixture
def recorder() -> Iterator[Recorder]:
    with Recorder() as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def recorded(recorder, tmp_path) -> Iterator[Front]:
    """A front with the recorder behind it."""
    with front(recorder.address, tmp_path) as running:
        yield running


@dataclass
class Served:
    service: LiveService
    front: Front
    session: requests.Session = field(default_factory=requests.Session)

    def ask(self, method: str, path: str, **options: Any) -> requests.Response:
        return self.session.request(method, self.front.url + path, headers=BEARER, timeout=HANG_S, **options)


@pytest.fixture(scope="module")
def served(tmp_path_factory) -> Iterator[Served]:
    """A front with the service behind it."""
    folder = tmp_path_factory.mktemp("front")
    with (
        live_service(folder / "home", environment=BEHIND_A_FRONT) as service,
        front(service.url.removeprefix("http://"), folder) as running,
    ):
        yield Served(service, running)


def head(method: str, path: str, *headers: str) -> bytes:
    return "\r\n".join([f"{method} {path} HTTP/1.1", "Host: localhost", *headers, "", ""]).encode()


# --- forwarded requests ---


def test_a_run_passes_and_needs_its_key(served):
    body = {"params": list(SAMPLE_PARAMS)}
    answer = served.ask("POST", "/run_algorithm", json=body)
    assert answer.status_code == 200, answer.text
    assert answer.json()["result"]["makespan"] == pytest.approx(52.87, abs=0.01)
    assert answer.headers["X-API-Scopes"] == "admin read run"
    assert requests.post(f"{served.front.url}/run_algorithm", json=body, timeout=HANG_S).status_code == 401


def test_pages_and_reports_pass(served):
    assert "<html" in served.ask("GET", "/").text
    assert "<html" in served.ask("GET", "/docs").text
    created = served.ask("POST", "/reports/performance", json={"days": 1})
    assert created.status_code in (200, 201), created.text
    report = served.ask("GET", created.json()["url"])
    assert report.status_code == 200
    assert report.content.rstrip().endswith(b"</html>")


def test_a_run_may_take_longer_than_the_client_timeout(served):
    plants = [{"id": str(n), "params": [1 + (n * i) % 9 for i in range(15)]} for n in range(1, 11)]
    answer = served.ask("POST", "/run_algorithm", json={"workpoints": plants, "time_budget_ms": 4_000})
    assert answer.status_code == 200, answer.text
    assert answer.elapsed.total_seconds() > 2 * CLIENT_TIMEOUT_S


def test_a_client_that_expects_100_continue_gets_it(served):
    body = b'{"params": [10, 5, 8, 6, 7, 9, 6, 7, 6, 7, 7, 7, 4, 7, 5]}'
    with served.front.connect() as connection:
        fields = (f"Content-Length: {len(body)}", "Content-Type: application/json", f"X-API-Key: {KEY}")
        connection.sendall(head("POST", "/run_algorithm", *fields, "Expect: 100-continue", "Connection: close"))
        assert connection.recv(25, socket.MSG_WAITALL) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(body)
        assert read_all(connection).startswith(b"HTTP/1.1 200 ")


# --- the client's address ---


def test_the_service_gets_the_clients_address_and_no_forged_one(recorded, recorder):
    forged = ("X-Forwarded-For: 6.6.6.6", "X-Forwarded-For: 7.7.7.7", "Forwarded: for=8.8.8.8")
    trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    with recorded.connect(source="127.0.0.9") as connection:
        connection.sendall(
            head("GET", "/x", *forged, "X-Forwarded-Proto: https", f"traceparent: {trace}", "Connection: close")
        )
        assert read_all(connection).startswith(b"HTTP/1.1 200 ")
    (arrived,) = recorder.requests
    assert arrived.headers.get_all("X-Forwarded-For") == ["127.0.0.9"]
    assert arrived.headers.get_all("X-Forwarded-Proto") == ["http"]
    assert arrived.headers["Forwarded"] is None
    assert arrived.headers["traceparent"] == trace


def test_the_services_log_has_the_clients_address(served):
    with served.front.connect(source="127.0.0.9") as connection:
        connection.sendall(head("GET", "/models", "X-API-Key: a guess", "Connection: close"))
        assert read_all(connection).startswith(b"HTTP/1.1 401 ")
    served.service.wait_for_log("an unknown API key from 127.0.0.9")


# --- aborted and refused requests ---

DRIBBLED = {
    "head": (b"GET /x HTTP/1.1\r\nHost: localhost\r\n", b"A: b\r\n"),
    "body": (head("POST", "/x", "Content-Length: 100000"), b"a"),
    "chunks": (head("POST", "/x", "Transfer-Encoding: chunked"), b"1\r\na\r\n"),
}


@pytest.mark.parametrize(("begun", "piece"), DRIBBLED.values(), ids=DRIBBLED)
def test_a_slowly_sent_request_is_ended_before_it_reaches_the_service(recorded, recorder, begun, piece):
    with recorded.connect() as connection:
        connection.sendall(begun)
        connection.settimeout(PIECE_S)
        result = until(lambda: answer_while_sending(connection, piece), "an end")
    assert result.startswith(b"HTTP/1.1 408 ")
    assert recorder.requests == []


def answer_while_sending(connection: socket.socket, piece: bytes) -> bytes:
    with suppress(TimeoutError):
        return connection.recv(65_536)
    connection.sendall(piece)
    return b""


FRAMED_BADLY = {
    "two lengths": head("POST", "/x", "Content-Length: 5", "Content-Length: 6") + b"abcdef",
    "a length that is no number": head("POST", "/x", "Content-Length: +5") + b"abcde",
    "a bad chunk": head("POST", "/x", "Transfer-Encoding: chunked") + b"z\r\nabc\r\n0\r\n\r\n",
    "an unknown coding": head("POST", "/x", "Transfer-Encoding: xchunked") + b"0\r\n\r\n",
    "a space before the colon": head("POST", "/x", "Content-Length : 3") + b"abc",
    "trailers without end": head("POST", "/x", "Transfer-Encoding: chunked") + b"0\r\n" + b"A: b\r\n" * 200_000,
    "no HTTP": b"\x16\x03\x01\x00\xa5\r\n\r\n",
}


@pytest.mark.parametrize("sent", FRAMED_BADLY.values(), ids=FRAMED_BADLY)
def test_invalid_framing_is_refused_and_the_rest_is_not_read_as_a_request(recorded, recorder, sent):
    with recorded.connect() as connection:
        with suppress(ConnectionError):
            connection.sendall(sent + head("GET", "/smuggled"))
        result = read_all(connection)
    assert result == b"" or result.startswith(b"HTTP/1.1 400 ")
    assert result.count(b"HTTP/1.1 ") <= 1
    assert recorder.requests == []


def test_with_length_and_chunks_the_service_gets_only_chunks(recorded, recorder):
    with recorded.connect() as connection:
        connection.sendall(head("POST", "/x", "Content-Length: 6", "Transfer-Encoding: chunked") + b"0\r\n\r\nX")
        until(lambda: recorder.requests)
    (arrived,) = recorder.requests
    assert arrived.headers["Content-Length"] is None
    assert arrived.headers["Transfer-Encoding"] == "chunked"


@pytest.mark.parametrize("waits", [False, True], ids=["sent", "announced"])
def test_a_body_above_the_limit_is_refused_by_the_front(recorded, recorder, waits):
    fields = ("Content-Length: 8388609", *(["Expect: 100-continue"] if waits else []))
    with recorded.connect() as connection:
        connection.sendall(head("POST", "/x", *fields))
        result = read_all(connection)
    assert result.startswith(b"HTTP/1.1 413 ")
    assert b"application/problem+json" in result
    assert recorder.requests == []


def test_a_chunked_body_above_the_limit_is_refused_by_the_service(served):
    pieces = (b" " * 65_536 for _ in range(150))
    answer = served.ask("POST", "/run_algorithm", data=pieces)
    assert answer.status_code == 413
    assert answer.headers["Content-Type"] == "application/problem+json"


def never_reading(running: Front) -> socket.socket:
    """A connection with a small buffer, for a client that never reads."""
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
    connection.connect(("127.0.0.1", running.port))
    return connection


def test_a_client_that_reads_nothing_occupies_nothing_in_the_service(recorded, recorder):
    with never_reading(recorded) as connection:
        connection.sendall(head("GET", "/large"))
        until(lambda: "/large" in recorder.answered, "the answer has left")


def test_a_client_that_reads_less_than_the_front_buffers_is_disconnected(recorded):
    with never_reading(recorded) as connection:
        connection.sendall(head("GET", "/huge"))
        recorded.wait_for_log(" cD-- ")  # HAProxy's log entry for the client timeout while sending


def test_connections_per_address_are_limited_and_others_are_not_affected(recorder, tmp_path):
    patient = {"FRONT_REQUEST_TIMEOUT": "1h", "FRONT_CLIENT_TIMEOUT": "1h", "FRONT_CONNECTIONS_PER_CLIENT": "5"}
    with front(recorder.address, tmp_path, **patient) as running, ExitStack() as connections:
        crowd = []
        for _ in range(8):
            with suppress(ConnectionResetError):  # disconnected without an answer
                crowd.append(connections.enter_context(running.connect(source="127.0.0.9")))
        until(lambda: 8 - len(crowd) + len(select.select(crowd, [], [], 0)[0]) >= 3, "the end of three")
        assert requests.get(f"{running.url}/x", timeout=HANG_S).status_code == 200
        answers = [answer_on(each)[:13] for each in crowd]
        assert set(answers) <= {b"HTTP/1.1 200 ", b""}
        assert 1 <= answers.count(b"HTTP/1.1 200 ") <= 5


def answer_on(connection: socket.socket) -> bytes:
    """The answer; empty if the connection was closed."""
    with suppress(ConnectionError):
        connection.sendall(head("GET", "/x", "Connection: close"))
    return read_all(connection)


def test_the_service_learns_that_a_client_has_disconnected(recorded, recorder):
    with recorded.connect() as connection:
        connection.sendall(head("GET", "/waits"))
        until(lambda: recorder.requests)
    assert recorder.left.wait(HANG_S)


# --- stops of the service or the front ---


def test_without_a_service_the_front_answers_in_the_services_format(tmp_path):
    with socket.socket() as nobody:  # has the port, and does not listen
        nobody.bind(("127.0.0.1", 0))
        with front(f"127.0.0.1:{nobody.getsockname()[1]}", tmp_path, FRONT_RETRIES="1") as running:
            answer = requests.get(f"{running.url}/models", timeout=HANG_S)
    assert answer.status_code == 503
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.headers["Retry-After"] == "5"
    assert answer.json()["status"] == 503


def test_a_request_that_was_sent_is_not_repeated(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        taken = []

        def breaks_off() -> None:
            with suppress(OSError):
                while True:
                    connection, _ = listener.accept()
                    taken.append(connection.recv(65_536))
                    connection.close()

        threading.Thread(target=breaks_off, daemon=True).start()
        with front(f"127.0.0.1:{listener.getsockname()[1]}", tmp_path) as running:
            answer = requests.post(f"{running.url}/run_algorithm", json={}, timeout=HANG_S)
    assert answer.status_code == 502
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert len([each for each in taken if each.startswith(b"POST")]) == 1


def test_a_service_that_is_not_ready_still_answers_if_there_is_no_other(recorded, recorder):
    recorder.is_ready = False
    recorded.wait_for_log("ready/scheduler1 is DOWN")
    assert requests.get(f"{recorded.url}/x", timeout=HANG_S).status_code == 200
    recorder.is_ready = True
    recorded.wait_for_log("ready/scheduler1 is UP")


@contextmanager
def asking(ask: Callable[[], str]) -> Iterator[list[str]]:
    """Four clients that send requests one after the other during the block; their answers."""
    answers: list[str] = []
    is_over = threading.Event()

    def go_on() -> None:
        while not is_over.is_set():
            try:
                answers.append(ask())
            except requests.RequestException as err:  # the connection was closed
                answers.append(repr(err))

    with ThreadPoolExecutor(4) as pool:
        clients = [pool.submit(go_on) for _ in range(4)]
        try:
            yield answers
        finally:
            is_over.set()
        for each in clients:
            each.result()


def more(answers: list[str], n_requests: int = 20) -> None:
    before = len(answers)
    until(lambda: len(answers) >= before + n_requests)


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_restart_of_the_service_is_bridged_and_no_run_is_repeated(tmp_path, workers):
    home = tmp_path / "home"
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    plants = cycle(range(6, 15))

    def ask() -> str:
        body = {"params": [next(plants), *SAMPLE_PARAMS[1:]]}
        answer = requests.post(f"{running.url}/run_algorithm", json=body, headers=BEARER, timeout=HANG_S)
        if answer.status_code == 503 and answer.json()["type"] == "/docs#overloaded":
            return "overloaded"  # a busy machine; no run was made
        return str(answer.status_code) if answer.status_code in (200, 502) else answer.text

    environment = BEHIND_A_FRONT | {"SCHED_PORT": port, "SCHED_WORKERS": workers}
    patient = {"FRONT_RETRIES": "300", "FRONT_CHECKS_FAILED": "100000"}
    with front(f"127.0.0.1:{port}", tmp_path, **patient) as running, ExitStack() as services:
        service = services.enter_context(live_service(home, environment=environment))
        with asking(ask) as answers:
            more(answers)
            until(lambda: 'route="/health/ready"' in service.get("/metrics", headers=BEARER).text, "the first check")
            assert service.stop() == 0
            services.enter_context(live_service(home, environment=environment))
            more(answers)
    # 502: the request was sent when the service closed its socket, so its fate is unknown.
    assert set(answers) <= {"200", "overloaded", "502"}
    assert answers.count("502") <= 4, "at most one per client"
    with sqlite3.connect(home / "logs" / "performance.db") as database:
        (n_runs,) = database.execute("SELECT count(*) FROM runs").fetchone()
    assert answers.count("200") <= n_runs <= answers.count("200") + answers.count("502")


def reload(front: Front, times: int) -> None:
    """Let HAProxy read its configuration for the `times`-th time; a signal during the end of the last one is lost."""
    sent_s = -math.inf

    def is_reloaded() -> bool:
        nonlocal sent_s
        if time.monotonic() - sent_s > SIGNAL_AGAIN_S:
            front.process.send_signal(signal.SIGUSR2)
            sent_s = time.monotonic()
        return front.output.read_text("utf-8").count("Loading success") >= times

    until(is_reloaded, f"start {times} of the workers")


def test_reloading_the_fronts_configuration_loses_nothing(recorded):
    kept = threading.local()

    def ask() -> str:
        if not hasattr(kept, "session"):
            kept.session = requests.Session()
        with kept.session.get(f"{recorded.url}/x", timeout=HANG_S) as answer:
            return str(answer.status_code)

    with asking(ask) as answers:
        for times in (2, 3):
            more(answers)
            reload(recorded, times)
        more(answers)
    assert set(answers) == {"200"}
