"""One replay with every executor of batch work: `python -m benchmarks.batch [--requests 10000] [--budget-ms 0]`.

One thread, the local workers, and Ray on two nodes of this machine (`requirements-ray.txt`; without Ray its rows are
left out); with both executors a second time while a worker is killed. With --sizes, also the memory and time for the
plan and the verdict of replays of so many requests, without computing them. Writes benchmarks/results/batch.{md,json};
ends with 1 if a pair is missing, doubled or different.
"""

import argparse
import hashlib
import importlib.util
import json
import os
import resource
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

from benchmarks.machine import markdown_table, write_results
from benchmarks.requests import bodies
from model_manager import ModelVersionManager
from monitoring import PerformanceMonitor, PerformanceRecord
from scheduler_env.batch.worker import NICENESS
from scheduler_env.cores import usable_cores
from scheduler_service.clock import to_iso, utc_now
from scheduler_service.experiments.replay import (
    Contest,
    ReplayOptions,
    in_this_thread,
    on_workers,
    plan_replay,
    run_replay,
)
from scheduler_service.settings import Settings
from scheduler_service.stats.metrics import METRICS
from scheduler_service.stats.pairs import judge_sums

MODELS = ("DDQN_v1.0", "DDQN_v2.0")
KIND = "mix"
RAY_HOST = "127.0.0.2"  # Ray replaces 127.0.0.1 by another address of the machine
KILL_AFTER = 0.2  # of the requests

NUMBERS = "WITH RECURSIVE numbers(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM numbers WHERE i < :last) "
FILL_RUNS = (
    "INSERT INTO runs (request_id, timestamp, success, input_params) SELECT 'r' || i, :now, true, :input FROM numbers"
)
FILL_PAIRS = (  # two of each user, of a replay that is not recorded
    "INSERT INTO pairs (request_id, user_id, timestamp, source, replay, candidate, key_a, key_b, success_a, success_b,"
    " makespan_a, makespan_b, input_digest) SELECT 'r' || i, 'u' || (i / 2), :now, 'replay', 'sized', 'model_b', 'A',"
    " 'B', true, true, 40.0 + i % 97, (40.0 + i % 97) * (0.97 + i * 7919 % 6007 / 100000.0), 'digest' || i FROM numbers"
)

WAYS = {
    "thread": "one thread",
    "local": "local workers",
    "local-killed": "local workers, one killed",
    "ray": "Ray, two nodes",
    "ray-killed": "Ray, two nodes, a worker killed",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; see the module's docstring."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0] if __doc__ else None)
    parser.add_argument("--requests", type=int, default=10_000, help="(default: %(default)s)")
    parser.add_argument("--budget-ms", type=float, default=0.0, help="of each model (default: %(default)g)")
    parser.add_argument("--sizes", type=int, nargs="*", default=[], help="replays that are planned and judged only")
    parser.add_argument("--way", choices=[*WAYS, "size"], help=argparse.SUPPRESS)  # the process of one row
    parser.add_argument("--home", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.way == "size":
        print(json.dumps(planned_and_judged(options.home, options.requests)))
        return 0
    if options.way:
        print(json.dumps(replayed(options.way, options.home, options.requests, options.budget_ms)))
        return 0
    with tempfile.TemporaryDirectory(prefix="batch-benchmark-") as folder:
        home = Path(folder)
        fill(home, options.requests)
        has_ray = importlib.util.find_spec("ray") is not None
        found = {way: measured(way, home, options) for way in WAYS if has_ray or not way.startswith("ray")}
    sizes = [sized(n) for n in options.sizes]
    command = f"python -m benchmarks.batch --requests {options.requests} --budget-ms {options.budget_ms:g}"
    command += " --sizes " * bool(sizes) + " ".join(map(str, options.sizes))
    text = report(found, sizes, options)
    write_results("batch", command, text, {"ways": found, "sizes": sizes})
    print(text)
    return int(any(each["pairs"] != options.requests or not each["same"] for each in found.values()))


def fill(home: Path, n_requests: int) -> None:
    """A home with the seed models and `n_requests` recorded runs of `KIND`."""
    ModelVersionManager(home / "models").register_seed_models(Settings().seed_models_dir)
    monitor = _monitor(home)
    for number, body in enumerate(bodies(KIND, n_requests)):
        monitor.record_performance(PerformanceRecord(request_id=f"r{number}", user_id=f"u{number}", input_params=body))
    monitor.close()


def replayed(way: str, home: Path, n_requests: int, budget_ms: float) -> dict[str, Any]:
    """Run one replay; seconds until the first pair and until the end."""
    os.nice(NICENESS)  # as the workers
    models = [ModelVersionManager(home / "models").load_model(name) for name in MODELS]
    monitor = _monitor(home)
    plan = plan_replay(
        monitor.replays,
        Contest(models[0].key, models[1].key, way),
        ReplayOptions(limit=n_requests, time_budget_ms=budget_ms),
        utc_now(),
    )
    began_s, first_s = time.monotonic(), 0.0

    def progress(done: int, _: int) -> None:
        nonlocal first_s
        first_s = first_s or (time.monotonic() - began_s if done else 0.0)

    compute = in_this_thread(*models) if way == "thread" else on_workers(*models, here_s=0.0)
    run_replay(plan, monitor, *models, progress=progress, compute=compute)
    took_s = time.monotonic() - began_s
    monitor.close()
    return {"replay": plan.id, "seconds": took_s, "first_s": first_s, "peak_mib": _peak_mib()}


def measured(way: str, home: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Run one replay in a process of its own, and compare its pairs with those of one thread."""
    command = [sys.executable, "-m", "benchmarks.batch", "--way", way, "--home", str(home)]
    command += ["--requests", str(options.requests), "--budget-ms", str(options.budget_ms)]
    load = os.getloadavg()[0]
    with ExitStack() as stack:
        environment = stack.enter_context(two_nodes()) if way.startswith("ray") else {"SCHED_BATCH": "local"}
        process = subprocess.Popen(command, env=os.environ | environment, stdout=subprocess.PIPE, text=True)
        killed = 0
        if way.endswith("killed"):
            address = environment.get("RAY_ADDRESS", "")
            killed = _kill_a_worker(way, home, process, options.requests, address)
        output, _ = process.communicate()
    if process.returncode:
        raise SystemExit(f"{WAYS[way]}: the replay ended with {process.returncode}")
    found: dict[str, Any] = json.loads(output.splitlines()[-1])
    monitor = _monitor(home)
    replayed_pairs, expected = (
        monitor.get_pairs(experiment=each).set_index("request_id").sort_index() for each in (way, "thread")
    )
    monitor.close()
    same = ["user_id", "key_a", "key_b", "lower_bound", "n_workpoints", "input_digest"]
    if options.budget_ms == 0.0:
        same += ["makespan_a", "makespan_b"]
    columns = ["makespan_a", "makespan_b"]
    equal = (
        (replayed_pairs[columns] == expected[columns]).all(axis=1).mean()
        if len(replayed_pairs) == len(expected)
        else 0.0
    )
    return found | {
        "killed": killed,
        "pairs": len(replayed_pairs),
        "same": bool(replayed_pairs.index.is_unique and replayed_pairs[same].equals(expected[same])),
        "equal_makespans": float(equal),
        "digest": hashlib.sha256(replayed_pairs[[*same, *columns]].to_csv().encode()).hexdigest()[:12],
        "load_before": load,
    }


def sized(n: int) -> dict[str, Any]:
    """A replay of `n` requests in a database of its own, planned and judged in a process of its own."""
    with tempfile.TemporaryDirectory(prefix="batch-benchmark-") as folder:
        home = Path(folder)
        monitor = _monitor(home)
        with monitor.engine.begin() as connection:
            for statement in (FILL_RUNS, FILL_PAIRS):
                facts = {"last": n - 1, "now": to_iso(utc_now()), "input": json.dumps(bodies(KIND, 1)[0])}
                connection.exec_driver_sql(NUMBERS + statement, facts)
        monitor.close()
        command = [sys.executable, "-m", "benchmarks.batch", "--way", "size", "--home", folder, "--requests", str(n)]
        output = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
        found: dict[str, Any] = json.loads(output.splitlines()[-1])
        return found


def planned_and_judged(home: Path, n_requests: int) -> dict[str, Any]:
    """Seconds of the plan, of reading one range and of the verdict, and the memory of this process."""
    monitor = _monitor(home)
    judge_sums(monitor.replays.pairs("none").sums(METRICS["makespan"]), margin=0.05, alpha=0.05)  # imports
    before_mib, times = _peak_mib(), [time.monotonic()]
    plan = plan_replay(monitor.replays, Contest("A", "B", "e"), ReplayOptions(limit=n_requests), utc_now())
    times.append(time.monotonic())
    read = len(monitor.replays.requests(plan.record, plan.ranges[-1], 1_000))
    times.append(time.monotonic())
    verdict = judge_sums(monitor.replays.pairs("sized").sums(METRICS["makespan"]), margin=0.05, alpha=0.05)
    times.append(time.monotonic())
    plan_s, read_s, verdict_s = (later - sooner for sooner, later in pairwise(times))
    monitor.close()
    return {
        "requests": plan.total,
        "ranges": len(plan.ranges),
        "read": read,
        "users": verdict.users,
        "plan_s": plan_s,
        "read_s": read_s,
        "verdict_s": verdict_s,
        "before_mib": before_mib,
        "peak_mib": _peak_mib(),
    }


def _peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1_024.0


@contextmanager
def two_nodes() -> Iterator[dict[str, str]]:
    """The environment for a Ray cluster of two nodes on this machine with half of the cores each, while it runs."""
    with socket.socket() as free:
        free.bind((RAY_HOST, 0))
        port = str(free.getsockname()[1])
    environment = {
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": secrets.token_hex(32),
        "RAY_USAGE_STATS_ENABLED": "0",
    }
    address = f"{RAY_HOST}:{port}"
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="ray-", ignore_cleanup_errors=True))
        head = ["--head", "--port", port, "--include-dashboard", "false", "--temp-dir", folder]
        for place in (head, ["--address", address]):
            stack.callback(_end, _start_node(place, os.environ | environment))
        yield environment | {"SCHED_BATCH": "ray", "RAY_ADDRESS": address}


def _start_node(place: Sequence[str], environment: Mapping[str, str]) -> "subprocess.Popen[str]":
    cores = str(max(1, usable_cores() // 2))
    command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--node-ip-address", RAY_HOST]
    command += ["--num-cpus", cores, "--block", *place]
    node = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
    assert node.stdout is not None
    for line in node.stdout:
        if "Ray runtime started" in line:
            return node
    raise SystemExit(f"a Ray node ended with {node.wait()}")


def _end(node: "subprocess.Popen[str]") -> None:
    node.terminate()
    node.communicate()


def _kill_a_worker(way: str, home: Path, replay: "subprocess.Popen[str]", n_requests: int, address: str) -> int:
    """kill -9 of a busy worker in the middle of the replay; returns the number of killed processes.

    Args:
        address: of the Ray cluster, which stands in the command of its nodes.
    """
    monitor = _monitor(home)
    while replay.poll() is None:
        begun = monitor.replays.last(experiment=way)
        if begun is not None and monitor.replays.done(begun.id) >= KILL_AFTER * n_requests:
            break
        time.sleep(0.2)
    monitor.close()
    for process in Path("/proc").iterdir():
        command, parent = _facts_of(process) if process.name.isdigit() else ("", "")
        is_local = "scheduler_env.batch.worker" in command and parent == str(replay.pid)
        if is_local or ("ray::_compute" in command and address in _facts_of(Path("/proc") / parent)[0]):
            os.kill(int(process.name), signal.SIGKILL)
            return 1
    return 0


def _facts_of(process: Path) -> tuple[str, str]:
    """(command, id of the parent) of a process; empty if it has ended."""
    try:
        parent = (process / "stat").read_text().rpartition(")")[2].split()[1]
        return (process / "cmdline").read_text().replace("\0", " "), parent
    except OSError:
        return "", ""


def report(found: dict[str, dict[str, Any]], sizes: Sequence[Mapping[str, Any]], options: argparse.Namespace) -> str:
    """The tables."""
    rows = [
        [
            WAYS[way],
            f"{each['seconds']:.1f}",
            f"{each['first_s']:.1f}",
            each["pairs"],
            "yes" if each["same"] else "NO",
            each["digest"],
            f"{each['equal_makespans']:.1%}",
            each["killed"],
            f"{each['peak_mib']:.0f}",
            f"{each['load_before']:.1f}",
        ]
        for way, each in found.items()
    ]
    header = [
        "how",
        "seconds",
        "first pair after, s",
        "pairs",
        "same pairs",
        "digest",
        "equal makespans",
        "workers killed",
        "peak memory, MiB",
        "load before",
    ]
    memory = [
        [
            f"{each['requests']:,}",
            f"{each['users']:,}",
            each["ranges"],
            *(f"{each[name]:.2f}" for name in ("plan_s", "read_s", "verdict_s")),
            *(f"{each[name]:.0f}" for name in ("before_mib", "peak_mib")),
        ]
        for each in sizes
    ]
    sized_header = ["requests", "users", "ranges", "plan, s", "read 1,000, s", "verdict, s", "MiB before", "peak MiB"]
    more = [
        "## Plan and verdict of large replays",
        "In SQLite. Nothing is computed: runs and pairs were written before. MiB: of the process, before and after.",
        markdown_table(sized_header, memory),
    ]
    return "\n\n".join(
        [
            "# Batch work: one replay with every executor",
            f"{options.requests} recorded requests of the kind `{KIND}`, {MODELS[0]} and {MODELS[1]}, "
            f"{options.budget_ms:g} ms for each model. Same pairs: each request once, with the same models, input and "
            "lower bound as with one thread, and without a time budget the same makespans; the digest is of these "
            "columns. With a time budget, makespans depend on the speed of the machine. Memory: of the process that "
            "gives out the work, without its workers. Everything runs with the lowest priority, so other processes "
            "delay it. Load: their number in the minute before.",
            markdown_table(header, rows),
            *(more if sizes else []),
        ]
    )


def _monitor(home: Path) -> PerformanceMonitor:
    return PerformanceMonitor(home / "logs" / "performance.db", reports_dir=home / "reports")


if __name__ == "__main__":
    sys.exit(main())
