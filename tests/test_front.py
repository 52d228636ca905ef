"""deploy/front/haproxy.cfg: the real HAProxy before a real service, and before one that notes what arrives.

The configuration is the shipped one. Only addresses, and limits of time and number, are set by its variables.
"""

import os
import select
import shutil
import signal
import socket
import sqlite3
import subprocess
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import cycle
from pathlib import Path
from typing import Any

import pytest
import requests

from scheduler_env import SAMPLE_PARAMS
from scheduler_service.keys import digest_of
from scheduler_service.settings import PROJECT_ROOT
from tests.conftest import LiveService, live_service
from tests.waiting import HANG_S, until

CONFIGURATION = PROJECT_ROOT / "deploy" / "front" / "haproxy.cfg"
KEY = "the key of the front's tests"
BEARER = {"Authorization": f"Bearer {KEY}"}
BEHIND_A_FRONT = {"SCHED_API_KEYS": f"ops:admin:{digest_of(KEY)}", "SCHED_TRUSTED_PROXIES": "127.0.0.1"}
CLIENT_TIMEOUT_S = 1
END_S = 20.0
QUICK = {
    "FRONT_REQUEST_TIMEOUT": "1s",
    "FRONT_CLIENT_TIMEOUT": f"{CLIENT_TIMEOUT_S}s",
    "FRONT_CHECK_EVERY": "100ms",
}
ANSWERS = {"/large": b"x" * 400_000, "/huge": b"x" * 32 * 2**20}
PIECE_S = 0.1


@dataclass
class Front:
    port: int
    process: subprocess.Popen[bytes]
    output: Path

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def connect(self, *, source: str = "127.0.0.1") -> socket.socket:
        connection = socket.create_connection(("127.0.0.1", self.port), HANG_S, source_address=(source, 0))
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection

    def said(self, text: str, times: int = 1) -> None:
        until(lambda: self.output.read_text("utf-8").count(text) >= times, f"{text!r} {times} times")


@contextmanager
def front(service: str, folder: Path, **variables: str) -> Iterator[Front]:
    """HAProxy on a free port before `service` (host:port), with its master process, as its image starts it."""
    haproxy = shutil.which("haproxy", path=f"{os.environ['PATH']}:/usr/sbin")
    assert haproxy is not None, "make debian-packages installs it; apt-get install haproxy"
    output = folder / "haproxy.txt"
    with socket.create_server(("127.0.0.1", 0)) as listener, output.open("wb") as file:
        number = listener.fileno()
        known = {"PATH": os.environ["PATH"], "FRONT_SERVICE": service, "FRONT_REPLICAS": "1"}
        process = subprocess.Popen(
            [haproxy, "-W", "-f", CONFIGURATION],
            env=known | QUICK | variables | {"FRONT_ADDRESS": f"fd@{number}"},
            pass_fds=[number],
            start_new_session=True,
            stdout=file,
            stderr=subprocess.STDOUT,
        )
        running = Front(listener.getsockname()[1], process, output)
    try:
        running.said("Loading success")
        yield running
    finally:
        process.terminate()
        try:
            process.wait(END_S)
        except subprocess.TimeoutExpired:  # a master that is just reading its configuration again may miss it
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(HANG_S)


class Recorder(ThreadingHTTPServer):
    """Answers everything and notes it, as a service that nothing protects."""

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
        with suppress(ConnectionError):  # who has seen enough is gone
            self.end_headers()
            self.wfile.write(content)
        self.server.answered.append(self.path)

    def log_message(self, *_: Any) -> None:
        """Nothing."""


@pytest.fixture
def recorder() -> Iterator[Recorder]:
    with Recorder() as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def recorded(recorder, tmp_path) -> Iterator[Front]:
    """A front before the recorder."""
    with front(recorder.address, tmp_path) as running:
        yield running


@dataclass
class Served:
    service: LiveService
    front: Front
    session: requests.Session = field(default_factory=requests.Session)

    def ask(self, method: str, path: str, **more: Any) -> requests.Response:
        return self.session.request(method, self.front.url + path, headers=BEARER, timeout=HANG_S, **more)


@pytest.fixture(scope="module")
def served(tmp_path_factory) -> Iterator[Served]:
    """A front before the service."""
    folder = tmp_path_factory.mktemp("front")
    with (
        live_service(folder / "home", environment=BEHIND_A_FRONT) as service,
        front(service.url.removeprefix("http://"), folder) as running,
    ):
        yield Served(service, running)


def rest(connection: socket.socket) -> bytes:
    """All that comes until the other side ends the connection."""
    told = b""
    with suppress(ConnectionError):
        while piece := connection.recv(65_536):
            told += piece
    return told


def head(method: str, path: str, *headers: str) -> bytes:
    return "\r\n".join([f"{method} {path} HTTP/1.1", "Host: localhost", *headers, "", ""]).encode()


# --- what passes ---


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
    made = served.ask("POST", "/reports/performance", json={"days": 1})
    assert made.status_code in (200, 201), made.text
    report = served.ask("GET", made.json()["url"])
    assert report.status_code == 200
    assert report.content.rstrip().endswith(b"</html>")


def test_a_run_may_take_longer_than_clients_may_be_silent(served):
    plants = [{"id": str(n), "params": [1 + (n * i) % 9 for i in range(15)]} for n in range(1, 11)]
    answer = served.ask("POST", "/run_algorithm", json={"workpoints": plants, "time_budget_ms": 4_000})
    assert answer.status_code == 200, answer.text
    assert answer.elapsed.total_seconds() > 2 * CLIENT_TIMEOUT_S


def test_a_client_that_waits_to_be_asked_for_its_body_is_asked(served):
    body = b'{"params": [10, 5, 8, 6, 7, 9, 6, 7, 6, 7, 7, 7, 4, 7, 5]}'
    with served.front.connect() as connection:
        fields = (f"Content-Length: {len(body)}", "Content-Type: application/json", f"X-API-Key: {KEY}")
        connection.sendall(head("POST", "/run_algorithm", *fields, "Expect: 100-continue", "Connection: close"))
        assert connection.recv(25, socket.MSG_WAITALL) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(body)
        assert rest(connection).startswith(b"HTTP/1.1 200 ")


# --- who it was ---


def test_the_service_is_told_the_clients_address_and_nothing_that_the_client_made_up(recorded, recorder):
    claims = (
        "X-Forwarded-For: 6.6.6.6",
        "X-Forwarded-For: 7.7.7.7",
        "Forwarded: for=8.8.8.8",
        "X-Forwarded-Proto: https",
    )
    trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    with recorded.connect(source="127.0.0.9") as connection:
        connection.sendall(head("GET", "/x", *claims, f"traceparent: {trace}", "Connection: close"))
        assert rest(connection).startswith(b"HTTP/1.1 200 ")
    (arrived,) = recorder.requests
    assert arrived.headers.get_all("X-Forwarded-For") == ["127.0.0.9"]
    assert arrived.headers.get_all("X-Forwarded-Proto") == ["http"]
    assert arrived.headers["Forwarded"] is None
    assert arrived.headers["traceparent"] == trace


def test_the_log_of_the_service_tells_the_clients_address(served):
    with served.front.connect(source="127.0.0.9") as connection:
        connection.sendall(head("GET", "/models", "X-API-Key: a guess", "Connection: close"))
        assert rest(connection).startswith(b"HTTP/1.1 401 ")
    served.service.said("an unknown API key from 127.0.0.9")


# --- what is ended, or refused ---

DRIBBLED = {
    "head": (b"GET /x HTTP/1.1\r\nHost: localhost\r\n", b"A: b\r\n"),
    "body": (head("POST", "/x", "Content-Length: 100000"), b"a"),
    "chunks": (head("POST", "/x", "Transfer-Encoding: chunked"), b"1\r\na\r\n"),
}


@pytest.mark.parametrize(("begun", "piece"), DRIBBLED.values(), ids=DRIBBLED)
def test_a_request_that_dribbles_is_ended_and_the_service_does_not_hear_of_it(recorded, recorder, begun, piece):
    with recorded.connect() as connection:
        connection.sendall(begun)
        connection.settimeout(PIECE_S)
        told = until(lambda: answer_while_sending(connection, piece), "an end")
    assert told.startswith(b"HTTP/1.1 408 ")
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
def test_bad_framing_is_refused_and_what_follows_it_is_no_request(recorded, recorder, sent):
    with recorded.connect() as connection:
        with suppress(ConnectionError):
            connection.sendall(sent + head("GET", "/smuggled"))
        told = rest(connection)
    assert told == b"" or told.startswith(b"HTTP/1.1 400 ")
    assert told.count(b"HTTP/1.1 ") <= 1
    assert recorder.requests == []


def test_of_a_length_beside_chunks_the_service_sees_the_chunks_alone(recorded, recorder):
    with recorded.connect() as connection:
        connection.sendall(head("POST", "/x", "Content-Length: 6", "Transfer-Encoding: chunked") + b"0\r\n\r\nX")
        until(lambda: recorder.requests)
    (arrived,) = recorder.requests
    assert arrived.headers["Content-Length"] is None
    assert arrived.headers["Transfer-Encoding"] == "chunked"


@pytest.mark.parametrize("waits", [False, True], ids=["sent", "announced"])
def test_a_body_above_the_limit_is_refused_before_the_service_hears_of_it(recorded, recorder, waits):
    fields = ("Content-Length: 8388609", *(["Expect: 100-continue"] if waits else []))
    with recorded.connect() as connection:
        connection.sendall(head("POST", "/x", *fields))
        told = rest(connection)
    assert told.startswith(b"HTTP/1.1 413 ")
    assert b"application/problem+json" in told
    assert recorder.requests == []


def test_a_chunked_body_above_the_limit_is_refused_by_the_service(served):
    pieces = (b" " * 65_536 for _ in range(150))
    answer = served.ask("POST", "/run_algorithm", data=pieces)
    assert answer.status_code == 413
    assert answer.headers["Content-Type"] == "application/problem+json"


def test_a_reader_that_never_reads_holds_nothing_of_the_service(recorded, recorder):
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        connection.connect(("127.0.0.1", recorded.port))
        connection.sendall(head("GET", "/large"))
        until(lambda: "/large" in recorder.answered, "the answer has left")


def test_a_reader_of_more_than_the_front_holds_is_ended(recorded):
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        connection.connect(("127.0.0.1", recorded.port))
        connection.sendall(head("GET", "/huge"))
        recorded.said(" cD-- ")  # how HAProxy's log names the end by the timeout of a client that should read


def test_one_address_has_so_many_connections_and_the_others_do_not_notice(recorder, tmp_path):
    patient = {"FRONT_REQUEST_TIMEOUT": "1h", "FRONT_CLIENT_TIMEOUT": "1h", "FRONT_CONNECTIONS_PER_CLIENT": "5"}
    with front(recorder.address, tmp_path, **patient) as running, ExitStack() as connections:
        crowd = []
        for _ in range(8):
            with suppress(ConnectionResetError):  # ended before it was told of it
                crowd.append(connections.enter_context(running.connect(source="127.0.0.9")))
        until(lambda: 8 - len(crowd) + len(select.select(crowd, [], [], 0)[0]) >= 3, "the end of three")
        assert requests.get(f"{running.url}/x", timeout=HANG_S).status_code == 200
        answers = [asked(each)[:13] for each in crowd]
        assert set(answers) <= {b"HTTP/1.1 200 ", b""}
        assert 1 <= answers.count(b"HTTP/1.1 200 ") <= 5


def asked(connection: socket.socket) -> bytes:
    """What it is answered; nothing, if it has been ended."""
    with suppress(ConnectionError):
        connection.sendall(head("GET", "/x", "Connection: close"))
    return rest(connection)


def test_the_service_hears_of_a_client_that_has_left(recorded, recorder):
    with recorded.connect() as connection:
        connection.sendall(head("GET", "/waits"))
        until(lambda: recorder.requests)
    assert recorder.left.wait(HANG_S)


# --- when the service or the front ends ---


def test_without_a_service_the_front_says_so_as_the_service_would(tmp_path):
    with socket.socket() as nobody:  # has the port, and does not listen
        nobody.bind(("127.0.0.1", 0))
        with front(f"127.0.0.1:{nobody.getsockname()[1]}", tmp_path, FRONT_RETRIES="1") as running:
            answer = requests.get(f"{running.url}/models", timeout=HANG_S)
    assert answer.status_code == 503
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.headers["Retry-After"] == "5"
    assert answer.json()["status"] == 503


def test_a_request_that_was_sent_is_not_sent_again(tmp_path):
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


def test_a_service_that_is_not_ready_answers_all_the_same_when_there_is_no_other(recorded, recorder):
    recorder.is_ready = False
    recorded.said("ready/scheduler1 is DOWN")
    assert requests.get(f"{recorded.url}/x", timeout=HANG_S).status_code == 200
    recorder.is_ready = True
    recorded.said("ready/scheduler1 is UP")


@contextmanager
def asking(ask: Callable[[], str]) -> Iterator[list[str]]:
    """Four clients that ask one request after the other while the block runs; what each was told."""
    told: list[str] = []
    is_over = threading.Event()

    def go_on() -> None:
        while not is_over.is_set():
            try:
                told.append(ask())
            except requests.RequestException as err:  # a connection that broke
                told.append(repr(err))

    with ThreadPoolExecutor(4) as pool:
        clients = [pool.submit(go_on) for _ in range(4)]
        try:
            yield told
        finally:
            is_over.set()
        for each in clients:
            each.result()


def more(told: list[str], n_requests: int = 20) -> None:
    before = len(told)
    until(lambda: len(told) >= before + n_requests)


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_restart_of_the_service_is_waited_for_and_no_run_is_made_twice(tmp_path, workers):
    home = tmp_path / "home"
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    plants = cycle(range(6, 15))

    def ask() -> str:
        body = {"params": [next(plants), *SAMPLE_PARAMS[1:]]}
        answer = requests.post(f"{running.url}/run_algorithm", json=body, headers=BEARER, timeout=HANG_S)
        if answer.status_code == 503 and answer.json()["type"] == "/docs#overloaded":
            return "overloaded"  # a machine with much else to do; nothing was made
        return str(answer.status_code) if answer.status_code in (200, 502) else answer.text

    environment = BEHIND_A_FRONT | {"SCHED_PORT": port, "SCHED_WORKERS": workers}
    patient = {"FRONT_RETRIES": "300", "FRONT_CHECKS_FAILED": "100000"}
    with front(f"127.0.0.1:{port}", tmp_path, **patient) as running, ExitStack() as services:
        service = services.enter_context(live_service(home, environment=environment))
        with asking(ask) as told:
            more(told)
            until(lambda: 'route="/health/ready"' in service.get("/metrics", headers=BEARER).text, "the first check")
            assert service.stop() == 0
            services.enter_context(live_service(home, environment=environment))
            more(told)
    # 502: it was on its way when the service closed its socket, and nobody knows what became of it.
    assert set(told) <= {"200", "overloaded", "502"}
    assert told.count("502") <= 4, "one of each client"
    with sqlite3.connect(home / "logs" / "performance.db") as database:
        (n_runs,) = database.execute("SELECT count(*) FROM runs").fetchone()
    assert told.count("200") <= n_runs <= told.count("200") + told.count("502")


def test_a_front_that_reads_its_configuration_again_loses_nothing(recorded):
    kept = threading.local()

    def ask() -> str:
        if not hasattr(kept, "session"):
            kept.session = requests.Session()
        with kept.session.get(f"{recorded.url}/x", timeout=HANG_S) as answer:
            return str(answer.status_code)

    with asking(ask) as told:
        for times in (2, 3):
            more(told)
            recorded.process.send_signal(signal.SIGUSR2)
            recorded.said("Loading success", times)
        more(told)
    assert set(told) == {"200"}
