"""Servers as real processes over a folder of their own, and what the kernel says that they use."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
WEIGHTS = ROOT / "models" / "seed" / "ddqn_v2.pth"
START_TIMEOUT_S, STOP_TIMEOUT_S = 90.0, 45.0
TICKS_PER_S = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Server:
    """A server that answers; it and its workers are one process group."""

    port: int
    home: Path
    pid: int
    ready_after_s: float  # from its start until it said that it is ready

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def database(self) -> Path:
        return self.home / "logs" / "performance.db"

    def processes(self) -> list[int]:
        """The ids of its living processes, the first one first; the others are its workers."""
        found = {}
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                with suppress(OSError):
                    found[int(entry.name)] = _stat(int(entry.name))
        return [self.pid, *sorted(pid for pid, stat in found.items() if int(stat[2]) == self.pid and pid != self.pid)]

    def workers(self) -> list[int]:
        """Those that answer clients: all but the one that only looks after the others."""
        first, *others = self.processes()
        return others or [first]

    def cpu_s(self) -> float:
        """Processor time that its processes used until now."""
        total = 0.0
        for pid in self.processes():
            with suppress(OSError):
                stat = _stat(pid)
                total += (int(stat[11]) + int(stat[12])) / TICKS_PER_S
        return total


def _stat(pid: int) -> list[str]:
    """The fields of `/proc/<pid>/stat` after the name, which may hold spaces: state, parent, group, ..."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


@dataclass(frozen=True)
class Memory:
    """What a process has in memory; proportional: a page that n processes share counts as 1/n in each."""

    rss_mib: float
    pss_mib: float
    own_mib: float  # of its PSS, what no file stands behind: other programs that load the same files do not change it


def memory(pid: int) -> Memory:
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    mib = {line.split(":")[0]: int(line.split()[1]) / 1024 for line in text.splitlines()[1:]}
    return Memory(mib["Rss"], mib["Pss"], mib["Pss_Anon"])


def total_pss_mib(pids: Sequence[int]) -> float:
    total = 0.0
    for pid in pids:
        with suppress(OSError):
            total += memory(pid).pss_mib
    return total


@contextmanager
def our_service(home: Path, workers: int, environment: dict[str, str] | None = None) -> Iterator[Server]:
    """`python enhanced_flask.py` over `home`, warmed up; its own checks for alerts are off."""
    port = free_port()
    command = ["enhanced_flask.py", "--port", str(port), "--workers", str(workers), "--home", str(home)]
    more = {"SCHED_ALERT_EVERY_S": "0"} | (environment or {})
    with running(command, home, port, "/health/ready", workers, more) as server:
        yield server


@contextmanager
def fastapi_peer(home: Path, workers: int) -> Iterator[Server]:
    port = free_port()
    command = ["-m", "benchmarks.peers.fastapi_server", str(port), str(workers)]
    with running(command, home, port, "/noop", workers, _peer(home)) as server:
        yield server


@contextmanager
def flask_peer(home: Path, workers: int) -> Iterator[Server]:
    port = free_port()
    command = ["-m", "benchmarks.peers.flask_app", str(port), str(workers)]
    with running(command, home, port, "/noop", workers, _peer(home)) as server:
        yield server


def _peer(home: Path) -> dict[str, str]:
    (home / "logs").mkdir(parents=True, exist_ok=True)
    return {"PEER_HOME": str(home), "PEER_WEIGHTS": str(WEIGHTS)}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def running(
    arguments: Sequence[str], home: Path, port: int, ready_path: str, workers: int, environment: dict[str, str]
) -> Iterator[Server]:
    """`python <arguments>` until the block ends, in whatever way it ends.

    Raises:
        RuntimeError: it was not ready in time; with the end of its output.
    """
    home.mkdir(parents=True, exist_ok=True)
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("SCHED_", "PROMETHEUS_"))}
    output = home / "output.txt"
    began_s = time.monotonic()
    with output.open("wb") as file:
        # A group of its own: Ctrl-C reaches us alone, and we end all of its processes.
        process = subprocess.Popen(
            [sys.executable, *arguments], cwd=ROOT, env=clean | {"OMP_NUM_THREADS": "1"} | environment,
            stdout=file, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
    try:
        _wait_until_ready(process, f"http://127.0.0.1:{port}{ready_path}", 10 if workers > 1 else 1, output)
        yield Server(port, home, process.pid, time.monotonic() - began_s)
    finally:
        _end(process)


def _wait_until_ready(process: "subprocess.Popen[bytes]", url: str, times: int, output: Path) -> None:
    """Until it has said so so many times in a row, on a connection each: with workers, any of them answers."""
    deadline_s = time.monotonic() + START_TIMEOUT_S
    in_a_row = 0
    while in_a_row < times:
        if process.poll() is not None or time.monotonic() > deadline_s:
            raise RuntimeError(
                f"the server is not ready (exit status {process.poll()}):\n{output.read_text()[-3_000:]}"
            )
        try:
            with urllib.request.urlopen(url, timeout=5) as answer:
                in_a_row = in_a_row + 1 if answer.status == 200 else 0
        except OSError:
            in_a_row = 0
        if in_a_row == 0:
            time.sleep(0.05)


def _end(process: "subprocess.Popen[bytes]") -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
    try:
        process.wait(STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        pass
    finally:
        with suppress(ProcessLookupError):  # workers that outlived the first process
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
