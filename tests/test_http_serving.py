"""How the service lives: quick to start, quick to answer while it computes, and gone without losing a request."""

import re
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests

from monitoring import PerformanceMonitor
from scheduler_service.http.serving import listening_socket
from scheduler_service.settings import PROJECT_ROOT
from tests.conftest import LiveService, live_service

SAMPLE = [10, 5, 8, 6, 7, 9, 6, 7, 6, 7, 7, 7, 4, 7, 5]
SLOW = ("torch", "pandas", "matplotlib", "scipy", "seaborn", "statsmodels", "numba", "sklearn")


def test_starting_imports_nothing_slow():
    code = f"import enhanced_flask, sys; print([name for name in {SLOW!r} if name in sys.modules])"
    told = subprocess.run([sys.executable, "-c", code], cwd=PROJECT_ROOT, capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "[]"


def test_health_stays_quick_while_schedules_are_computed(service, capsys):
    busy = threading.Event()

    def compute(_number: int) -> None:
        while not busy.is_set():
            service_answer = requests.post(
                f"{service.url}/run_algorithm", json={"workpoints": [{}] * 50, "time_budget_ms": 300}, timeout=60
            )
            assert service_answer.status_code == 200

    service.run(params=SAMPLE)
    took_ms = []
    with ThreadPoolExecutor(4) as pool:
        waiting = [pool.submit(compute, number) for number in range(4)]
        time.sleep(0.3)
        for _ in range(100):
            began = time.perf_counter()
            assert service.get("/health").status_code == 200
            took_ms.append((time.perf_counter() - began) * 1_000)
        busy.set()
        for each in waiting:
            each.result()
    took_ms.sort()
    with capsys.disabled():
        print(f"\n/health while every core computes: p50 {took_ms[50]:.1f} ms, p99 {took_ms[98]:.1f} ms")
    assert took_ms[50] < 100, "a bound for a busy machine that also runs the clients"


def test_accepted_connections_do_not_wait_for_nagle():
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


def test_two_workers_agree(two_workers):
    body = {"experiment_name": "shared", "model_a": "DDQN_v1.0", "model_b": "DDQN_v2.0"}
    assert two_workers.post("/experiments", json=body).status_code == 201
    arms: dict[str, set[str]] = {}

    def ask(number: int) -> None:
        # A connection of its own, so that both workers get some.
        answer = requests.post(
            f"{two_workers.url}/run_algorithm",
            json={"params": SAMPLE, "experiment": "shared", "user_id": f"u{number % 10}"},
            timeout=60,
        )
        assert answer.status_code == 200, answer.text
        told = answer.json()["experiment_info"]
        arms.setdefault(told["user_id"], set()).add(told["variant"])

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(ask, range(60)))
    assert all(len(seen) == 1 for seen in arms.values())
    results = requests.get(f"{two_workers.url}/experiments/shared/results", timeout=30).json()["results"]
    assert sum(results["total_requests"].values()) == 60
    told = requests.get(f"{two_workers.url}/metrics", timeout=10).text
    counted = re.findall(r'http_requests_total\{.*route="/run_algorithm".*\} ([\d.]+)', told)
    assert sum(map(float, counted)) == 60, "the workers' numbers are added up"
    assert two_workers.log().count("算法执行完成") == 60


def test_sigterm_finishes_what_is_in_flight(tmp_path):
    with live_service(tmp_path) as running:
        finishes_what_is_in_flight(running)


def test_sigterm_finishes_what_is_in_flight_in_every_worker(two_workers):
    finishes_what_is_in_flight(two_workers)


def finishes_what_is_in_flight(running: LiveService) -> None:
    running.run(params=SAMPLE)
    idle = requests.Session()
    assert idle.get(f"{running.url}/health", timeout=10).status_code == 200  # and its connection stays open
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(running.run, workpoints=[{}] * 5, time_budget_ms=1_500)
        time.sleep(0.5)
        began = time.monotonic()
        assert running.stop() == 0
        took_s = time.monotonic() - began
        answer = slow.result()
    assert answer["status"] == "success"
    assert took_s < 15, "an idle connection is not waited for"
    runs = PerformanceMonitor(running.home / "logs" / "performance.db").get_performance_data()
    assert answer["request_id"] in set(runs["request_id"])
    with pytest.raises(requests.ConnectionError):
        requests.get(f"{running.url}/health", timeout=5)


def test_a_port_that_is_taken_is_said_and_ends_with_1(service, tmp_path):
    port = service.url.rpartition(":")[2]
    ended = subprocess.run(
        [sys.executable, "enhanced_flask.py", "--port", port, "--home", str(tmp_path)],
        cwd=PROJECT_ROOT, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert ended.returncode == 1
    assert f"127.0.0.1:{port}" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_another_home_is_the_only_place_written_to(tmp_path):
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
