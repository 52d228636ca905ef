"""The server process: fast start, responsive while computing, and stopping without losing a request."""

import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import gevent
import pytest
import requests

from monitoring import PerformanceMonitor
from scheduler_service.http.server.connections import ConnectionCounts, Server
from scheduler_service.http.server.serving import DRAIN_S, listening_socket
from scheduler_service.settings import PROJECT_ROOT
from tests.conftest import NEW_PROCESS, LiveService, live_service
from tests.connections import computing, connected, read_all
from tests.waiting import HANG_S, until

SAMPLE = [10, 5, 8, 6, 7, 9, 6, 7, 6, 7, 7, 7, 4, 7, 5]


def test_health_answers_while_schedules_are_computed(service):
    with computing(service, 4, [{}] * 50):
        for _ in range(10):
            assert service.get("/health").status_code == 200


def test_accepted_connections_disable_nagle():
    listener = listening_socket("127.0.0.1", 0)
    with socket.create_connection(listener.getsockname()):
        accepted, _ = listener.accept()
        assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) != 0
        accepted.close()
    listener.close()


@pytest.fixture(scope="module")
def two_workers(tmp_path_factory):
    with live_service(tmp_path_factory.mktemp("two"), arguments=["--workers", "2"]) as running:
        yield running


def test_two_workers_give_the_same_answers(two_workers):
    body = {"experiment_name": "shared", "model_a": "DDQN_v1.0", "model_b": "DDQN_v2.0"}
    assert two_workers.post("/experiments", json=body).status_code == 201
    arms: dict[str, set[str]] = {}

    def ask(number: int) -> None:
        # A connection of its own, so that both workers get some.
        answer = requests.post(
            f"{two_workers.url}/run_algorithm",
            json={"params": SAMPLE, "experiment": "shared", "user_id": f"u{number % 10}"},
            timeout=HANG_S,
        )
        assert answer.status_code == 200, answer.text
        info = answer.json()["experiment_info"]
        arms.setdefault(info["user_id"], set()).add(info["variant"])

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(ask, range(60)))
    assert all(len(seen) == 1 for seen in arms.values())
    results = requests.get(f"{two_workers.url}/experiments/shared/results", timeout=HANG_S).json()["results"]
    assert sum(results["total_requests"].values()) == 60
    metrics = requests.get(f"{two_workers.url}/metrics", timeout=HANG_S).text
    counted = re.findall(r'http_requests_total\{.*route="/run_algorithm".*\} ([\d.]+)', metrics)
    assert sum(map(float, counted)) == 60, "summed over the workers"
    assert two_workers.wait_for_log("算法执行完成", 60).count("算法执行完成") == 60


def test_sigterm_finishes_requests_in_progress(tmp_path):
    with live_service(tmp_path, command=NEW_PROCESS) as running:
        finishes_requests_in_progress(running)


def test_sigterm_finishes_requests_in_progress_in_every_worker(two_workers):
    finishes_requests_in_progress(two_workers)


def finishes_requests_in_progress(running: LiveService) -> None:
    running.run(params=SAMPLE)
    idle = requests.Session()
    assert idle.get(f"{running.url}/health", timeout=HANG_S).status_code == 200  # and its connection stays open
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(lambda: (running.run(workpoints=[{}] * 5, time_budget_ms=3_000), time.monotonic()))
        until(lambda: running.queued() == 1)
        assert running.stop() == 0
        ended_s = time.monotonic()
        answer, answered_s = slow.result()
    assert answer["status"] == "success"
    assert ended_s - answered_s < DRAIN_S, "an idle connection is not waited for"
    runs = PerformanceMonitor(running.home / "logs" / "performance.db").get_performance_data()
    assert answer["request_id"] in set(runs["request_id"])
    with pytest.raises(requests.ConnectionError):
        requests.get(f"{running.url}/health", timeout=HANG_S)


def test_a_port_in_use_is_reported_and_ends_with_1(service, tmp_path):
    port = service.url.rpartition(":")[2]
    ended = subprocess.run(
        [sys.executable, "enhanced_flask.py", "--port", port, "--home", str(tmp_path)],
        cwd=PROJECT_ROOT, capture_output=True, text=True, timeout=HANG_S,
    )  # fmt: skip
    assert ended.returncode == 1
    assert f"127.0.0.1:{port}" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_only_the_configured_home_is_written_to(tmp_path):
    seeds = PROJECT_ROOT / "models" / "seed"
    before = {path: path.stat().st_mtime_ns for path in seeds.iterdir()}
    with live_service(tmp_path / "home") as running:
        running.run(params=SAMPLE)
        assert running.stop() == 0
    first = sorted(path.name for path in (tmp_path / "home" / "models" / "models").iterdir())
    assert first
    assert {path: path.stat().st_mtime_ns for path in seeds.iterdir()} == before
    with live_service(tmp_path / "home") as running:
        assert running.get("/models").json()["total"] == len(first), "the seeds are registered once"


# --- signals and worker processes ---


@pytest.fixture(scope="module")
def supervised(tmp_path_factory):
    """Two workers as in `deploy/`, killed after 10 s without a heartbeat; a busy machine delays it by less."""
    home = tmp_path_factory.mktemp("supervised")
    gunicorn = [str(Path(sys.executable).parent / "gunicorn"), "-c", str(PROJECT_ROOT / "deploy" / "gunicorn.conf.py")]
    with live_service(
        home, command=[*gunicorn, "--timeout", "10"], environment={"SCHED_WORKERS": "2", "HOME": str(home)}
    ) as running:
        yield running


def workers_of(running: LiveService) -> set[int]:
    children = Path(f"/proc/{running.process.pid}/task/{running.process.pid}/children").read_text()
    return {int(pid) for pid in children.split()}


@contextmanager
def load_on(running: LiveService) -> Iterator[list[int]]:
    """Four clients with persistent connections; the statuses of their answers, 0 for none."""
    statuses: list[int] = []
    is_over = threading.Event()

    def ask() -> None:
        with requests.Session() as session:
            while not is_over.is_set():
                try:
                    answer = session.post(f"{running.url}/run_algorithm", json={"params": SAMPLE}, timeout=HANG_S)
                    statuses.append(answer.status_code)
                except requests.RequestException:
                    statuses.append(0)

    with ThreadPoolExecutor(4) as pool:
        asking = [pool.submit(ask) for _ in range(4)]
        try:
            until(lambda: len(statuses) > 20)
            yield statuses
            enough = len(statuses) + 20
            until(lambda: len(statuses) > enough)
        finally:
            is_over.set()
        for each in asking:
            each.result()


def test_the_configuration_of_deploy_gives_the_same_answers(supervised):
    assert supervised.run(params=SAMPLE)["status"] == "success"
    until(lambda: len(workers_of(supervised)) == 2)
    supervised.wait_for_log("gunicorn.error: Booting worker")  # its lines are in our log
    assert not (supervised.home / ".gunicorn").exists()


@pytest.mark.parametrize(("siblings", "is_taken"), [(14, True), (13, False)])
def test_a_worker_leaves_a_connection_to_another_only_if_that_has_far_fewer(siblings, is_taken):
    counts = memoryview(bytearray(8)).cast("i")
    ConnectionCounts(counts, 1).set_count(siblings)
    ours = ConnectionCounts(counts, 0)
    ours.set_count(16)
    with closing(listening_socket("127.0.0.1", 0)) as listener:
        server = Server(listener, lambda *_: [], max_connections=100, connection_counts=ours)
        held = [server.pool.spawn(gevent.sleep, 60) for _ in range(16)]
        with socket.create_connection(listener.getsockname()):
            accepted = server.do_read()
        assert (accepted is not None) == is_taken
        gevent.killall(held)


def test_simultaneous_connections_are_shared_evenly(supervised):
    """If the machine is busy, a worker that gets no processor is not waited for."""
    supervised.wait_for_log("warmed up", 2)

    def least() -> int:
        before = {pid: n_sockets(pid) for pid in workers_of(supervised)}
        with ExitStack() as held:
            for _ in range(32):
                held.enter_context(connected(supervised))
            until(lambda: sum(n_sockets(pid) - before[pid] for pid in before) >= 32)
            shares = {pid: n_sockets(pid) - before[pid] for pid in before}
        until(lambda: all(n_sockets(pid) <= before[pid] for pid in before), "the connections to be closed")
        return min(shares.values())

    assert any(least() >= 12 for _ in range(5)), "as if the worker that wakes first accepted nearly all"


def n_sockets(pid: int) -> int:
    return sum(
        os.readlink(each).startswith("socket:") for each in Path(f"/proc/{pid}/fd").iterdir() if each.is_symlink()
    )


def test_sighup_replaces_every_worker_without_a_failed_request(supervised):
    until(lambda: len(workers_of(supervised)) == 2)
    before = workers_of(supervised)
    with load_on(supervised) as statuses:
        supervised.process.send_signal(signal.SIGHUP)
        until(lambda: len(workers_of(supervised)) == 2 and not workers_of(supervised) & before)
    assert set(statuses) == {200}


@pytest.mark.parametrize("fault", [signal.SIGKILL, signal.SIGSTOP], ids=["killed", "blocked"])
def test_a_killed_or_blocked_worker_is_replaced(supervised, fault):
    until(lambda: len(workers_of(supervised)) == 2)
    victim = min(workers_of(supervised))
    os.kill(victim, fault)
    until(lambda: len(workers_of(supervised) - {victim}) == 2)
    with load_on(supervised) as statuses:
        pass
    assert set(statuses) == {200}


def test_idle_workers_stop_without_waiting_for_their_clients(supervised):
    until(lambda: len(workers_of(supervised)) == 2)
    with requests.Session() as idle:
        assert idle.get(f"{supervised.url}/health", timeout=HANG_S).status_code == 200
        began_s = time.monotonic()
        assert supervised.stop() == 0
        assert time.monotonic() - began_s < DRAIN_S


def test_sighup_without_workers_fails_no_request(service):
    with load_on(service) as statuses:
        service.process.send_signal(signal.SIGHUP)
        service.wait_for_log("SIGHUP: models")
    assert set(statuses) == {200}


@pytest.mark.parametrize("arguments", [[], ["--workers", "2"]])
def test_a_second_sigterm_aborts_requests_in_progress_and_logs_them(tmp_path, arguments):
    with live_service(tmp_path, arguments=arguments) as running:
        running.run(params=SAMPLE)
        with ThreadPoolExecutor(1) as pool:
            slow = pool.submit(running.run, workpoints=[{}] * 5, time_budget_ms=30_000)
            until(lambda: running.queued() == 1)
            running.process.send_signal(signal.SIGTERM)
            running.wait_for_log("stopping: 1 requests are in flight")
            assert running.stop() == 0
            with pytest.raises(requests.ConnectionError):
                slow.result()
        assert "1 requests are cut off: POST /run_algorithm after" in running.log()


# --- invalid requests ---

HEAD = b"GET /health/live HTTP/1.1\r\nHost: x\r\n"


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (HEAD + b"\r\n", 200),
        (b"\r\n" + HEAD + b"\r\n", 200),
        (b"GET /health/live HTTP/1.1\r\n\r\n", 400),
        (b"GET /health/live\r\n\r\n", 400),
        (HEAD + b"Host: y\r\n\r\n", 400),
        (HEAD + b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
        (HEAD + b"Content-Length: 1\r\nContent-Length: 1\r\n\r\n", 400),
        (HEAD + b"Content-Length: +1\r\n\r\n", 400),
        (HEAD + b"Transfer-Encoding: gzip\r\n\r\n", 400),
        (HEAD + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 501),
        (HEAD + b"Transfer-Encoding: x, chunked\r\n\r\n0\r\n\r\n", 501),
        (HEAD + b"Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n", 400),
        (HEAD + b"Content-Length: 1, 1\r\n\r\n", 400),
        (HEAD + b"Expect: 200-ok\r\n\r\n", 417),
        (HEAD + b"Connection: close\n\n", 400),
        (HEAD + b"X-A : b\r\n\r\n", 400),
        (HEAD + b"X-A: b\r\n folded\r\n\r\n", 400),
        (HEAD + b"X-A: b\rc\r\n\r\n", 400),
        (HEAD + b"X-A: " + b"b" * 9_000 + b"\r\n\r\n", 431),
        (HEAD + b"X-A: b\r\n" * 120 + b"\r\n", 431),
        (b"GET /" + b"a" * 9_000 + b" HTTP/1.1\r\n\r\n", 414),
    ],
)
def test_ambiguous_requests_are_refused(service, sent, status):
    with connected(service) as client:
        client.sendall(sent)
        client.shutdown(socket.SHUT_WR)
        answer = read_all(client)
    assert answer.startswith(b"HTTP/1.1 %d " % status)
    assert answer.count(b"HTTP/1.1 ") == 1


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_the_memory_of_bodies_is_freed_after_their_clients_disconnect(tmp_path):
    def resident_mib() -> float:
        pages = int((Path("/proc") / str(running.process.pid) / "statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 2**20

    head = b"POST /run_algorithm HTTP/1.1\r\nHost: localhost\r\nContent-Length: 8000000\r\n\r\n"
    with live_service(tmp_path, command=NEW_PROCESS) as running:
        running.run(params=[5.0] * 15)
        before = resident_mib()
        for _ in range(2):
            clients = [connected(running) for _ in range(30)]
            for client in clients:
                client.sendall(head + b" " * 7_900_000)
            until(lambda: resident_mib() > before + 200)
            for client in clients:
                client.close()
            until(lambda: resident_mib() < before + 120)  # some 60 MiB stay with the allocator


@pytest.mark.parametrize(
    ("target", "host", "status"),
    [
        ("GET http://localhost:5001/health/live", "x", 200),
        ("GET http://localhost/models", "evil.example", 200),  # the target overrides the header
        ("GET http://evil.example/models", "localhost", 403),
        ("GET http://a@localhost/models", "localhost", 403),
        ("GET http://localhost", "localhost", 200),
        ("GET http://localhost?x=1", "localhost", 200),
        ("OPTIONS http://localhost/models", "localhost", 200),
        ("OPTIONS *", "localhost", 200),
        ("OPTIONS *", "evil.example", 403),
        ("GET *", "localhost", 400),
        ("GET localhost:80", "localhost", 400),
        ("GET http://[::1/models", "localhost", 400),
        ("CONNECT localhost:80", "localhost", 404),
        ("CONNECT /models", "localhost", 405),
    ],
)
def test_every_valid_form_of_a_target_is_accepted(service, target, host, status):
    with connected(service) as client:
        client.sendall(f"{target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
        assert client.recv(100).startswith(b"HTTP/1.1 %d " % status)
