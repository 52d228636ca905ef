"""A million records, and ten kills under load: `python -m benchmarks.telemetry [--records 1000000] [--kills 10]`.

With `--database URL` an empty PostgreSQL database is measured beside the file, in turns.

Writes benchmarks/results/telemetry.{md,json}; ends with 1 when an answered request was not recorded, or a database
was damaged.
"""

import argparse
import http.client
import json
import multiprocessing
import os
import random
import resource
import signal
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

import gevent
import numpy as np
from tqdm import tqdm

from benchmarks.machine import markdown_table, write_results
from monitoring import PerformanceMonitor, PerformanceRecord
from scheduler_env.standard_cycle import SAMPLE_PARAMS
from scheduler_service.clock import utc_now
from scheduler_service.database_url import DatabaseUrl, parse_database_url
from scheduler_service.errors import StorageUnavailable
from scheduler_service.http.runs.recording import Recorder
from scheduler_service.http.server.offload import NativeThreads
from scheduler_service.http.watch.metrics import Metrics
from scheduler_service.reporting.analysis import SUMMARY_COLUMNS
from scheduler_service.telemetry.moving import TABLES, move
from scheduler_service.telemetry.readings import ALERT_COLUMNS
from scheduler_service.telemetry.trends import trend_of_last
from scheduler_service.telemetry.writer import run_row

DAYS = 70  # a tenth of the records in the last week
MODELS = ("DDQN_1adf98e2_v1.0.0", "DDQN_b903aa25_v2.0.0", "DDQN_0c0ffee0_v2.1.0")
TEAMS = ("清洗", "拆卸", "检验", "机加工", "装配", "电气")
ROUNDS, REPEATS = 5, 5
CLIENTS = 32
Rate = Callable[[PerformanceMonitor, int], tuple[list[float], float]]
"""Gets an empty database and the number of clients; returns how long each record took, ms, and all of them, s."""
SPAWN = multiprocessing.get_context("spawn")

Figures = dict[str, Any]


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; see the module's docstring."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0] if __doc__ else None)
    parser.add_argument("--records", type=int, default=1_000_000, help="(default: %(default)s)")
    parser.add_argument("--kills", type=int, default=10, help="(default: %(default)s)")
    parser.add_argument("--database", metavar="URL", help="an empty PostgreSQL database; all its records are deleted")
    options = parser.parse_args(arguments)
    server = None if options.database is None else parse_database_url(options.database)
    with tempfile.TemporaryDirectory(prefix="telemetry-benchmark-") as folder:
        home = Path(folder)
        places: list[Path | DatabaseUrl] = [home / "door.db", *([] if server is None else [server])]
        durable = [each for threads in (1, 8, 32) for each in rates(door_rate, places, home, threads)]
        service = rates(service_rate, places, home, CLIENTS)
        path = home / "million.db"
        bulk = fill(path, options.records)
        if server is not None:
            bulk["moved_s"] = take_over(path, server, home)
        queries = timed_queries([path] if server is None else [path, server], home, utc_now())
        reports = [in_a_process(make_report, path, home / "reports")]
        exports = [in_a_process(make_export, path, home / f"runs.{suffix}") for suffix in ("csv", "parquet")]
        compaction = in_a_process(compact_half, path)
        kills = kill_rounds(home / "killed", options.kills)
    text = "\n\n".join(
        (
            "Recorded through the door, one at a time, each on disk when it returns; "
            f"medians of {ROUNDS} rounds, the engines in turn:",
            markdown_table(
                ("engine", "threads", "records/s", "p50 ms", "p99 ms"),
                [
                    [d["engine"], d["threads"], f"{d['rate']:.0f}", f"{d['p50_ms']:.2f}", f"{d['p99_ms']:.2f}"]
                    for d in durable
                ],
            ),
            f"As the service records, the runs of {CLIENTS} clients that wait at a time in one commit:",
            markdown_table(
                ("engine", "records/s", "p50 ms", "p99 ms"),
                [[s["engine"], f"{s['rate']:.0f}", f"{s['p50_ms']:.2f}", f"{s['p99_ms']:.2f}"] for s in service],
            ),
            f"{options.records:,} records over {DAYS} days were then put in, a thousand to a commit: "
            f"{bulk['rate']:.0f} records/s, {bulk['bytes'] / 2**20:.0f} MiB."
            + ("" if server is None else f" Moving them to PostgreSQL took {bulk['moved_s']:.0f} s."),
            markdown_table(
                ("query", "rows", f"best of {REPEATS}, ms", *([] if server is None else ["PostgreSQL, ms"])),
                [
                    [q["what"], q["rows"], *(f"{q[name]:.1f}" for name in ("ms", "ms_postgresql") if name in q)]
                    for q in queries
                ],
            ),
            markdown_table(
                ("in a process of its own", "rows", "CPU s", "elapsed s", "peak MiB"),
                [
                    [r["what"], r["rows"], f"{r['cpu_s']:.1f}", f"{r['elapsed_s']:.1f}", f"{r['peak_mib']:.0f}"]
                    for r in (*reports, *exports, compaction)
                ],
            ),
            f"{options.kills} times `kill -9` of the service while 8 clients called it without a pause: "
            f"{kills['answered']} requests were answered 200, {kills['lost']} of them are not in the database; "
            f"{kills['damaged']} databases were damaged.",
        )
    )
    figures = {
        "durable": durable, "service": service, "bulk": bulk, "queries": queries, "reports": reports,
        "exports": exports, "compaction": compaction, "kills": kills,
    }  # fmt: skip
    write_results("telemetry", "python -m benchmarks.telemetry", text, figures)
    return int(kills["lost"] > 0 or kills["damaged"] > 0)


def records(total: int, seed: int = 1) -> Iterator[PerformanceRecord]:
    """Synthetic runs, the oldest first: log-normal times, gaps that fall with the size, 2 % failures."""
    rng = np.random.default_rng(seed)
    ages_s = np.sort(rng.uniform(0.0, DAYS * 86_400.0, total))[::-1]
    now = utc_now()
    for number, age_s in enumerate(ages_s):
        size = int(rng.choice((1, 1, 1, 2, 5, 10, 20)))
        bound = 50.0 * size**0.5 * float(rng.lognormal(0.0, 0.1))
        gap = float(rng.exponential(0.02 / size))
        is_good = rng.random() > 0.02
        yield PerformanceRecord(
            request_id=f"run-{seed}-{number}", model_key=MODELS[number % 3], algorithm="DDQN",
            experiment="ddqn_v1_vs_v2" if number % 5 == 0 else None,
            variant=("model_a", "model_b")[number % 2] if number % 5 == 0 else None,
            reason="assigned" if number % 5 == 0 else "default", user_id=f"user_{number % 2_000}",
            makespan=bound * (1.0 + gap) if is_good else None, lower_bound=bound, gap=gap if is_good else None,
            execution_time=float(rng.lognormal(-4.0, 0.4)), resource_utilization=float(rng.beta(5, 9)),
            team_utilization={team: float(share) for team, share in zip(TEAMS, rng.beta(4, 6, 6), strict=True)},
            n_workpoints=size, n_steps=15 * size, stage="search", input_params={"params": list(SAMPLE_PARAMS)},
            success=bool(is_good), error_message=None if is_good else f"TimeoutError: after {number} ms",
            time_budget_ms=20.0, queue_time=0.0004, total_time=0.025, timestamp=now - timedelta(seconds=float(age_s)),
        )  # fmt: skip


def take_over(path: Path, server: DatabaseUrl, home: Path) -> float:
    """Move all records of the file to the server; returns the time, s."""
    source, target = (PerformanceMonitor(place, reports_dir=home) for place in (path, server))
    empty(target)
    began_s = time.perf_counter()
    move(source.engine, target.engine)
    return time.perf_counter() - began_s


def empty(monitor: PerformanceMonitor) -> None:
    """Delete all records of a server's database."""
    with monitor.engine.begin() as connection:
        connection.exec_driver_sql(f"TRUNCATE {', '.join(table.name for table in TABLES)}")


def rates(rate: Rate, places: Sequence[Path | DatabaseUrl], home: Path, clients: int) -> list[Figures]:
    """How many records a second are taken from so many clients; medians of rounds, the places in turn."""
    rounds = [[round_of(rate, place, home, clients) for place in places] for _ in range(ROUNDS)]
    names = ("rate", "p50_ms", "p99_ms")
    return [
        {"engine": of_place[0]["engine"], "threads": clients}
        | {name: statistics.median(each[name] for each in of_place) for name in names}
        | {"rates": [each["rate"] for each in of_place]}
        for of_place in zip(*rounds, strict=True)
    ]


def round_of(rate: Rate, place: Path | DatabaseUrl, home: Path, clients: int) -> Figures:
    """One round, with an empty database."""
    if isinstance(place, Path):
        for suffix in ("", "-wal", "-shm"):
            Path(f"{place}{suffix}").unlink(missing_ok=True)
    monitor = PerformanceMonitor(place, reports_dir=home)
    if isinstance(place, DatabaseUrl):
        empty(monitor)
    waits_ms, took_s = rate(monitor, clients)
    assert monitor.count_runs() == len(waits_ms)
    p50_ms, p99_ms = map(float, np.percentile(waits_ms, [50, 99]))
    engine = monitor.engine.dialect.name
    monitor.close()
    return {"engine": engine, "rate": len(waits_ms) / took_s, "p50_ms": p50_ms, "p99_ms": p99_ms}


def door_rate(monitor: PerformanceMonitor, threads: int, seconds: float = 3.0) -> tuple[list[float], float]:
    """`record_performance`, one record at a time in each thread."""
    waits_ms: list[float] = []
    refused: list[StorageUnavailable] = []
    made = list(records(2_000))  # beforehand: making a record takes as long as recording it
    until_s = time.monotonic() + seconds

    def client(first: int) -> None:
        for number in count(first):
            began_s = time.perf_counter()
            try:
                monitor.record_performance(made[number % len(made)])
                waits_ms.append(1000.0 * (time.perf_counter() - began_s))
            except StorageUnavailable as err:  # the machine stood still
                refused.append(err)
            if time.monotonic() > until_s:
                return

    clients = [threading.Thread(target=client, args=(61 * number,)) for number in range(threads)]
    for thread in clients:
        thread.start()
    for thread in clients:
        thread.join()
    if refused:
        print(f"{len(refused)} records were refused: {refused[0]}", file=sys.stderr)
    return waits_ms, seconds


def service_rate(monitor: PerformanceMonitor, clients: int, seconds: float = 3.0) -> tuple[list[float], float]:
    """The service's recorder: what waits while a commit runs is written by the next one."""
    metrics = Metrics()
    storage = NativeThreads(1, max_waiting=clients, metrics=metrics.queue("storage"))
    recorder = Recorder(monitor, storage, metrics)
    waits_ms: list[float] = []
    made = list(records(2_000))
    began_s = time.monotonic()

    def client(first: int) -> None:
        for number in count(first):
            called_s = time.perf_counter()
            recorder.record([made[number % len(made)]], lambda: None)
            waits_ms.append(1000.0 * (time.perf_counter() - called_s))
            if time.monotonic() > began_s + seconds:
                return

    gevent.joinall([gevent.spawn(client, 61 * number) for number in range(clients)], raise_error=True)
    return waits_ms, time.monotonic() - began_s


def fill(path: Path, total: int) -> Figures:
    """The records, put in without the door: a thousand to a commit."""
    monitor = PerformanceMonitor(path, reports_dir=path.parent)
    now = monitor.clock()
    spent_s, batch = 0.0, []
    with sqlite3.connect(path) as connection:
        for record in tqdm(records(total), total=total, desc="filling", unit="record", file=sys.stderr):
            batch.append(run_row(record, now))
            if len(batch) == 1_000:
                began_s = time.perf_counter()
                _insert(connection, batch)
                spent_s += time.perf_counter() - began_s
                batch = []
        if batch:
            _insert(connection, batch)
    return {"records": total, "rate": total / max(spent_s, 1e-9), "bytes": path.stat().st_size}


def _insert(connection: sqlite3.Connection, rows: list[dict[str, object]]) -> None:
    names = list(rows[0])
    marks = ", ".join(f":{name}" for name in names)
    connection.executemany(f"INSERT INTO runs ({', '.join(names)}) VALUES ({marks})", rows)  # noqa: S608
    connection.commit()


def timed_queries(places: Sequence[Path | DatabaseUrl], home: Path, now: datetime) -> list[Figures]:
    """What users ask of databases of this size; each query goes to all of them, in turn."""
    names = ("ms", "ms_postgresql")[: len(places)]
    asked = [queries_of(place, home, now) for place in places]
    figures = []
    for what in asked[0]:
        times_ms: list[list[float]] = [[] for _ in places]
        rows = set()
        for _ in range(REPEATS):
            for times, queries in zip(times_ms, asked, strict=True):
                began_s = time.perf_counter()
                rows.add(queries[what]())
                times.append(1000.0 * (time.perf_counter() - began_s))
        assert len(rows) == 1, f"{what}: the engines differ: {rows}"
        figures.append({"what": what, "rows": rows.pop()} | dict(zip(names, map(min, times_ms), strict=True)))
    return figures


def queries_of(place: Path | DatabaseUrl, home: Path, now: datetime) -> dict[str, Callable[[], int]]:
    """Each query with its name; it returns the number of rows."""
    monitor = PerformanceMonitor(place, reports_dir=home, thresholds={}, thresholds_file=home / "thresholds.json")

    def data(since: timedelta, **more: Any) -> Callable[[], int]:
        return lambda: len(monitor.get_performance_data(start_time=now - since, **more))

    def trend(period: timedelta, points: int) -> Callable[[], int]:
        hours = period / timedelta(hours=1)
        return lambda: sum(each.runs for each in trend_of_last(monitor.engine, now, hours, points).points)

    hour, day, week = timedelta(hours=1), timedelta(days=1), timedelta(days=7)
    return {
        "last hour, every column": data(hour),
        "last hour, the columns of the alerts": data(hour, columns=ALERT_COLUMNS),
        "last day, every column": data(day),
        "last day, of one model": data(day, model_key=MODELS[0]),
        "last day, of one experiment": data(day, experiment="ddqn_v1_vs_v2"),
        "last 7 days, the columns of the summary": data(week, columns=SUMMARY_COLUMNS),
        "last 7 days, every column": data(week),
        "GET /performance of the last 7 days": lambda: int(str(monitor.summary(now - week)["total_requests"])),
        "GET /performance/trends of a day, 48 buckets": trend(day, 48),
        "GET /performance/trends of 7 days, 84 buckets": trend(week, 84),
        "GET /performance/trends of 30 days, 60 buckets": trend(timedelta(days=30), 60),
        "a whole look for alerts": lambda: len(monitor.alert_readings()),
        "count_runs": monitor.count_runs,
        "count_runs of one experiment": lambda: monitor.count_runs("ddqn_v1_vs_v2"),
    }


def make_report(path: Path, reports: Path) -> tuple[str, int]:
    """A report of the last 7 days."""
    monitor = PerformanceMonitor(path, reports_dir=reports)
    monitor.generate_performance_report(7)
    count = len(monitor.get_performance_data(monitor.clock() - timedelta(days=7), columns=("success",)))
    return "report of 7 days", count


def make_export(path: Path, target: Path) -> tuple[str, int]:
    """Everything as a file."""
    rows = PerformanceMonitor(path, reports_dir=path.parent).export(target)
    return f"export to {target.suffix}, {target.stat().st_size / 2**20:.0f} MiB", rows


def compact_half(path: Path) -> tuple[str, int]:
    """What is older than half of the period becomes sums; then the file is rewritten."""
    upkeep = PerformanceMonitor(path, reports_dir=path.parent).upkeep
    rows = upkeep.compact(utc_now() - timedelta(days=DAYS / 2))
    return f"compaction, then vacuum: {upkeep.vacuum() / 2**20:.0f} MiB freed", rows


def in_a_process(work: Callable[..., tuple[str, int]], *arguments: Any) -> Figures:
    """What the work took, in a fresh process."""
    receiver, sender = SPAWN.Pipe(duplex=False)
    process = SPAWN.Process(target=_measured, args=(sender, work, arguments))
    process.start()
    figures: Figures = receiver.recv()
    process.join()
    return figures


def _measured(sender: Any, work: Callable[..., tuple[str, int]], arguments: Sequence[Any]) -> None:
    began_s = time.perf_counter()
    what, rows = work(*arguments)
    used = resource.getrusage(resource.RUSAGE_SELF)
    sender.send(
        {
            "what": what, "rows": rows, "elapsed_s": time.perf_counter() - began_s,
            "cpu_s": used.ru_utime + used.ru_stime, "peak_mib": _peak_mib(),
        }
    )  # fmt: skip


def _peak_mib() -> float:
    """Of this program's resident memory. Linux hands `ru_maxrss` on from the parent, so that is not it."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:", 1)[1].split()[0]) / 1024


def kill_rounds(home: Path, rounds: int) -> Figures:
    """The service is killed under load, again and again, over one home; what it answered has to be in the database."""
    answered: list[str] = []
    damaged, counts = 0, []
    for number in tqdm(range(rounds), desc="killing", unit="kill", file=sys.stderr):
        before = len(answered)
        _load_until_killed(home, answered, random.Random(number).uniform(0.5, 3.0))
        counts.append(len(answered) - before)
        with sqlite3.connect(home / "logs" / "performance.db") as connection:
            damaged += connection.execute("PRAGMA integrity_check").fetchone() != ("ok",)
    stored = set(PerformanceMonitor(home / "logs" / "performance.db").get_performance_data()["request_id"])
    lost = sum(request not in stored for request in answered)
    return {
        "rounds": rounds, "answered": len(answered), "per_round": statistics.mean(counts), "lost": lost,
        "damaged": damaged, "recorded": len(stored),
    }  # fmt: skip


def _load_until_killed(home: Path, answered: list[str], seconds: float) -> None:
    home.mkdir(parents=True, exist_ok=True)
    output = home / "output.txt"
    with output.open("wb") as file:
        service = subprocess.Popen(
            [sys.executable, "enhanced_flask.py", "--port", "0", "--home", str(home)], stdout=file, stderr=file,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
        )  # fmt: skip
    try:
        url = _wait_for_url(output)
        clients = [threading.Thread(target=_call, args=(url, answered)) for _ in range(8)]
        for client in clients:
            client.start()
        time.sleep(seconds)
    finally:
        service.send_signal(signal.SIGKILL)
        service.wait()
    for client in clients:
        client.join()


def _wait_for_url(output: Path) -> str:
    for _ in range(3_000):
        text = output.read_text(errors="replace")
        if "serving on " in text:
            return text.split("serving on ", 1)[1].split()[0]
        time.sleep(0.02)
    raise RuntimeError(f"the service did not start: {output.read_text(errors='replace')[-2000:]}")


def _call(url: str, answered: list[str]) -> None:
    body = json.dumps({"params": list(SAMPLE_PARAMS), "time_budget_ms": 0}).encode()
    request = urllib.request.Request(f"{url}/run_algorithm", body, {"Content-Type": "application/json"})
    while True:
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                answered.append(json.load(answer)["request_id"])
        except (OSError, ValueError, http.client.HTTPException):  # it was killed
            return


if __name__ == "__main__":
    sys.exit(main())
