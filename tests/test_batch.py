"""Batch work: results, killed workers, Ctrl-C and errors, with real processes."""

import importlib.util
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from scheduler_env.batch import keep, local, map_all, map_unordered, on_ray
from scheduler_env.batch.inputs import folder
from scheduler_env.batch.worker import NICENESS
from scheduler_env.cores import usable_cores
from scheduler_env.errors import BatchFailed
from tests.codes import coded
from tests.conftest import ROOT
from tests.waiting import HANG_S, until

has_ray = importlib.util.find_spec("ray") is not None
needs_ray = pytest.mark.skipif(not has_ray, reason="Ray is not installed (requirements-ray.txt)")
EXECUTORS = ["local", pytest.param("ray", marks=needs_ray)]


@pytest.fixture(params=EXECUTORS)
def executor(request, monkeypatch) -> str:
    monkeypatch.setenv("SCHED_BATCH", request.param)
    return request.param


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_each_chunk_gives_its_result(executor):
    found = dict(map_unordered("tests.chunks:square", range(20)))
    assert found == {number: number**2 for number in range(20)}
    assert map_all("tests.chunks:square", range(20)) == [number**2 for number in range(20)]


def test_no_chunks_give_no_results(executor):
    assert list(map_unordered("tests.chunks:square", [])) == []


def test_progress_counts_the_finished_chunks():
    reported = []
    map_all("tests.chunks:square", range(3), progress=lambda done, total: reported.append((done, total)))
    assert reported == [(0, 3), (1, 3), (2, 3), (3, 3)]


def test_chunks_are_read_only_when_a_worker_is_free():
    read = []

    def chunks():
        for number in range(100):
            read.append(number)
            yield number

    results = map_unordered("tests.chunks:process", chunks())
    next(results)
    results.close()
    assert len(read) <= 2 * usable_cores()


def test_workers_have_a_lower_priority_and_one_thread_and_are_used_again():
    first, second = (map_all("tests.chunks:process", range(4 * usable_cores())) for _ in range(2))
    for each in first:
        assert (each["niceness"], each["omp"]) == (max(NICENESS, os.nice(0)), "1")
    assert len({each["pid"] for each in first + second}) <= usable_cores()
    assert os.getpid() not in {each["pid"] for each in first}


def test_idle_workers_that_were_killed_are_replaced(monkeypatch):
    """A task is not lost with them, also if it has only one attempt."""
    former = {each["pid"] for each in map_all("tests.chunks:process", range(4 * usable_cores()))}
    for pid in former:
        os.kill(pid, signal.SIGKILL)
    until(lambda: not any(map(is_alive, former)))
    monkeypatch.setattr(local, "ATTEMPTS", 1)
    found = {each["pid"] for each in map_all("tests.chunks:process", range(4 * usable_cores()))}
    assert not found & former


def test_a_small_job_is_done_in_this_process():
    found = map_all("tests.chunks:process", range(2), here_s=HANG_S)
    assert {each["pid"] for each in found} == {os.getpid()}


def test_inputs_travel_by_digest(executor):
    digests = [keep(b"x" * size) for size in (10, 100_000)]
    assert map_all("tests.chunks:length_of", digests, inputs=digests) == [10, 100_000]


def test_an_input_that_is_not_declared_is_refused():
    digest = keep(b"hello")
    with pytest.raises(BatchFailed, match=f"the input {digest} was not declared"):
        map_all("tests.chunks:length_of", [digest])


def test_a_changed_input_is_refused():
    digest = keep(b"right")
    (folder() / digest).write_bytes(b"wrong")
    with pytest.raises(BatchFailed, match="was changed after it was stored"):
        map_all("tests.chunks:length_of", [digest], inputs=[digest])


def test_an_error_names_the_chunk_and_has_the_workers_traceback(executor):
    with pytest.raises(BatchFailed) as caught:
        map_all("tests.chunks:fail_at_three", [1, 2, 3])
    assert coded("chunk_failed", number=2, chunk="3", reason="ValueError: three is refused")(caught.value)
    assert "in fail_at_three" in str(caught.value.__cause__)


def test_a_killed_worker_costs_only_time(executor, tmp_path):
    chunks = [{"folder": str(tmp_path), "number": number} for number in range(6)]
    assert map_all("tests.chunks:die_once", chunks) == list(range(6))
    assert len(list(tmp_path.iterdir())) == 6  # each chunk had killed its worker


def test_a_chunk_that_kills_every_worker_is_named(executor):
    with pytest.raises(BatchFailed, check=coded("chunk_lost", number=0, chunk="7", attempts=3)):
        map_all("tests.chunks:die", [7])


def test_an_abandoned_job_kills_its_workers(tmp_path, monkeypatch):
    chunks = [{"folder": str(tmp_path), "number": number} for number in range(usable_cores())]

    def all_started(*_: object) -> None:
        until(lambda: len(list(tmp_path.glob("*.pid"))) == len(chunks))
        raise KeyboardInterrupt

    monkeypatch.setattr(local, "wait", all_started)
    with pytest.raises(KeyboardInterrupt):
        map_all("tests.chunks:announce", chunks)
    assert not any(is_alive(int(path.read_text())) for path in tmp_path.glob("*.pid"))


PROGRAM = """
from scheduler_env.batch import map_all
map_all("tests.chunks:announce", [{{"folder": {folder!r}, "number": number}} for number in range(2)])
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_the_workers_end_with_their_program(tmp_path, number):
    program = subprocess.Popen(
        [sys.executable, "-c", PROGRAM.format(folder=str(tmp_path))],
        cwd=ROOT,
        stderr=subprocess.PIPE,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    until(lambda: all(path.read_text() for path in tmp_path.glob("*.pid")) and list(tmp_path.glob("*.pid")))
    program.send_signal(number)
    program.communicate(timeout=HANG_S)
    assert program.returncode == -number
    pids = [int(path.read_text()) for path in tmp_path.glob("*.pid")]
    until(lambda: not any(map(is_alive, pids)))


def test_the_inputs_of_a_killed_program_are_removed_by_the_next_one(tmp_path):
    def start(code: str) -> subprocess.Popen[str]:
        program = f"import time; from scheduler_env.batch.inputs import *; keep(b'x'); {code}"
        environment = os.environ | {"TMPDIR": str(tmp_path)}
        return subprocess.Popen([sys.executable, "-c", program], cwd=ROOT, env=environment)

    running = start("time.sleep(600)")
    (used,) = until(lambda: [path.parent for path in tmp_path.glob("*/*") if path.suffix == ""])
    os.utime(used, (0, 0))
    assert start("").wait() == 0
    assert list(tmp_path.iterdir()) == [used]  # its process runs
    running.kill()
    running.wait()
    os.utime(used)
    assert start("").wait() == 0
    assert list(tmp_path.iterdir()) == [used]  # too new: a process locks its folder after it has made it
    os.utime(used, (0, 0))
    assert start("").wait() == 0
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_executor_is_refused(monkeypatch):
    monkeypatch.setenv("SCHED_BATCH", "dask")
    with pytest.raises(BatchFailed, check=coded("unknown_executor", value="dask", known=["local", "ray"])):
        map_all("tests.chunks:square", [1])


def test_without_ray_the_error_names_the_remedy(monkeypatch):
    monkeypatch.setenv("SCHED_BATCH", "ray")
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(BatchFailed, match=r"pip install -r requirements-ray\.txt"):
        map_all("tests.chunks:square", [1], here_s=HANG_S)


@needs_ray
def test_ray_listens_only_on_loopback_and_needs_a_token(monkeypatch):
    monkeypatch.setenv("SCHED_BATCH", "ray")
    map_all("tests.chunks:square", [1])
    import ray

    (node,) = ray.nodes()
    ports = [
        node["NodeManagerPort"],
        node["ObjectManagerPort"],
        int(ray.get_runtime_context().gcs_address.split(":")[1]),
    ]
    for port in ports:
        socket.create_connection(("127.0.0.1", port)).close()
        with pytest.raises(ConnectionRefusedError):  # an open port would accept every address of this machine
            socket.create_connection(("127.0.0.2", port))
    assert os.environ["RAY_AUTH_MODE"] == "token"
    assert os.environ["RAY_USAGE_STATS_ENABLED"] == "0"


@needs_ray
def test_a_ray_node_with_other_code_is_refused(monkeypatch):
    monkeypatch.setenv("SCHED_BATCH", "ray")
    monkeypatch.setattr(on_ray, "code_digest", lambda: "other")
    with pytest.raises(BatchFailed, match="has another version of the code"):
        map_all("tests.chunks:square", [1])
