"""Requests a second and their latency, of our service and of the usual alternatives, on loopback.

`python -m benchmarks.serving [--seconds 5] [--connections 32] [--rounds 3] [--only fastapi]`

Every server is a real process over a throw-away folder, driven by wrk with distinct users, so that each request is
assigned and recorded. Rounds are interleaved: each one starts every server anew, and figures are medians over rounds.
What is compared:

  service       no-op: GET /health/live, the ceiling of its web stack
                flagship: POST /run_algorithm with 15 durations, the record on disk before the answer
                cached: the same with the answer cache (SCHED_ANSWER_CACHE_MIB)
  FastAPI       the same agent, budget, answer and record, computed in the event loop ("inline") or in FastAPI's
  Flask+pywsgi  threads; without a record also, which is less than the flagship does

Then, on the service alone: /health while every core computes, and the flagship beside large instances.

Writes benchmarks/results/serving.{md,json}; ends with 1 when a counted answer was not recorded, or a request failed.
Needs wrk (apt-get install wrk) and requirements-bench.txt.
"""

import argparse
import random
import signal
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from tqdm import tqdm

from benchmarks.machine import markdown_table, write_results
from benchmarks.servers import Server, fastapi_peer, flask_peer, memory, our_service, total_pss_mib
from benchmarks.wrk import Drive, Driving, Load, drive, is_installed
from scheduler_env.standard_cycle import SAMPLE_PARAMS

START_S = 4.0
"""What a start takes, about; for the time left that the progress line says."""
CACHE_MIB = "64"
FLAGSHIP: dict[str, object] = {"params": list(SAMPLE_PARAMS)}
Figures = dict[str, Any]


@dataclass(frozen=True)
class Route:
    """A way to ask a server."""

    name: str
    path: str
    is_run: bool = True  # a POST of the flagship's body; else a GET
    is_recorded: bool = True


@dataclass(frozen=True)
class Contender:
    """A server with the ways to ask it."""

    name: str
    workers: int
    start: Callable[[Path, int], AbstractContextManager[Server]]
    routes: tuple[Route, ...]

    @property
    def label(self) -> str:
        return f"{self.name}, {self.workers} worker{'s' * (self.workers > 1)}"


@dataclass(frozen=True)
class Measurement:
    """One route of one contender in one round."""

    server: str
    workers: int
    route: str
    drive: Drive
    cpu_ms: float  # of the server's processes, by request
    pss_mib: float  # of all its processes
    rss_mib: float  # of its largest process
    ready_after_s: float
    acknowledged: int = 0  # good answers of a route that records
    recorded: int = 0  # rows of distinct users that the database has of it


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; see the module's docstring."""
    options = _options(arguments)
    signal.signal(signal.SIGTERM, _interrupt)  # so that servers end with us, as with Ctrl-C
    contenders = [c for c in all_contenders(options.workers) if options.only.lower() in c.name.lower()]
    per_route_s = options.warm_up + options.seconds
    planned_s = options.rounds * sum(START_S + len(c.routes) * per_route_s for c in contenders)
    is_ours = any(c.name == "service" for c in contenders)
    if is_ours:
        planned_s += sum(START_S + 3 * (options.seconds + 3) for _ in options.workers)
    measured: list[Measurement] = []
    calm: list[Figures] = []
    with tqdm(
        total=round(planned_s), unit="s", file=sys.stderr, bar_format="{l_bar}{bar}| {elapsed}<{remaining}"
    ) as bar:
        for number in range(options.rounds):
            for contender in contenders:
                bar.set_description(f"round {number + 1}/{options.rounds}: {contender.label}")
                measured += contend(contender, options)
                bar.update(round(START_S + len(contender.routes) * per_route_s))
        for workers in options.workers if is_ours else ():
            bar.set_description(f"service beside large instances, {workers} workers")
            calm.append(beside_large_instances(workers, options))
            bar.update(round(START_S + 3 * (options.seconds + 3)))
    lost, failed = _lost(measured), sum(m.drive.failed for m in measured)
    command = "python -m benchmarks.serving " + " ".join(sys.argv[1:] if arguments is None else arguments)
    text = as_text(measured, calm, options)
    if not options.dry:
        figures = {"measurements": [asdict(m) for m in measured], "beside_large_instances": calm}
        write_results("serving", command.strip(), text, figures)
    print(text)
    return int(lost > 0 or failed > 0)


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.serving", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--seconds", type=int, default=5, help="of each measurement (default: %(default)s)")
    add("--warm-up", type=int, default=2, help="seconds of the same load before it (default: %(default)s)")
    add("--connections", type=int, default=32, help="that wrk keeps open (default: %(default)s)")
    add("--rounds", type=int, default=3, help="figures are medians of so many (default: %(default)s)")
    add("--workers", type=int, nargs="+", default=[1, 2], help="processes of a server (default: 1 2)")
    add("--only", default="", help="contenders whose name has this in it: service, cached, fastapi, flask")
    add("--dry", action="store_true", help="print only; leave benchmarks/results/ as it is")
    options = parser.parse_args(arguments)
    if not is_installed():
        parser.error("wrk is not installed: apt-get install wrk")
    return options


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def all_contenders(workers: Sequence[int]) -> list[Contender]:
    """Everyone, with one worker first."""
    noop, live = Route("no-op", "/noop", False, False), Route("no-op", "/health/live", False, False)
    flagship = Route("flagship", "/run_algorithm")
    bare, recorded = Route("inline, no record", "/run", is_recorded=False), Route("inline, recorded", "/recorded")
    threads = Route("in threads, recorded", "/threads")
    found = []
    for count in workers:
        found += [
            Contender("service", count, our_service, (live, flagship)),
            Contender("service, cached", count, _cached_service, (replace(flagship, name="flagship"),)),
            Contender("FastAPI + uvicorn", count, fastapi_peer, (noop, bare, recorded, threads)),
            Contender("Flask + pywsgi", count, flask_peer, (noop, bare, recorded)),
        ]
    return found


@contextmanager
def _cached_service(home: Path, workers: int) -> Iterator[Server]:
    with our_service(home, workers, {"SCHED_ANSWER_CACHE_MIB": CACHE_MIB}) as server:
        yield server


def contend(contender: Contender, options: argparse.Namespace) -> list[Measurement]:
    """All routes of a fresh server, one after the other; then what its database holds of them."""
    measured: list[tuple[Measurement, str]] = []
    with tempfile.TemporaryDirectory(prefix="serving-benchmark-") as folder:
        with contender.start(Path(folder), contender.workers) as server:
            for number, route in enumerate(contender.routes):
                user = f"load{number}-"
                load = Load(route.path, options.connections, FLAGSHIP | {"user_id": user} if route.is_run else None)
                if options.warm_up:
                    drive(server.url, _with_user(load, "warm-"), options.warm_up)
                before_s = server.cpu_s()
                came = drive(server.url, load, options.seconds)
                cpu_ms = 1e3 * (server.cpu_s() - before_s) / max(came.requests, 1)
                pids = server.processes()
                measurement = Measurement(
                    contender.name, contender.workers, route.name, came, cpu_ms, total_pss_mib(pids),
                    max(memory(pid).rss_mib for pid in pids), server.ready_after_s,
                )  # fmt: skip
                measured.append((measurement, user if route.is_recorded else ""))
        # Now that the server has ended, what wrk left behind when its time was over has been recorded, too.
        return [
            replace(m, acknowledged=m.drive.good, recorded=recorded_users(server.database, user)) if user else m
            for m, user in measured
        ]


def _with_user(load: Load, user: str) -> Load:
    return load if load.body is None else replace(load, body=load.body | {"user_id": user})


def recorded_users(database: Path, prefix: str) -> int:
    """How many distinct users whose names begin so have a run in the database."""
    with sqlite3.connect(database) as connection:
        query = "SELECT COUNT(DISTINCT user_id) FROM runs WHERE substr(user_id, 1, ?) = ? AND success"
        return int(connection.execute(query, (len(prefix), prefix)).fetchone()[0])


# --- beside large instances ---


def large_body(workpoints: int, time_budget_ms: int) -> dict[str, object]:
    """A run of so many work points with random durations, the same ones every time."""
    chooser = random.Random(workpoints)
    plants = [
        {"id": str(number + 1), "params": [round(chooser.uniform(2.0, 12.0), 1) for _ in SAMPLE_PARAMS]}
        for number in range(workpoints)
    ]
    return {"workpoints": plants, "time_budget_ms": time_budget_ms, "user_id": "large-"}


def beside_large_instances(workers: int, options: argparse.Namespace) -> Figures:
    """What else the service answers while it computes schedules that take long."""
    flagship = Load("/run_algorithm", options.connections, FLAGSHIP | {"user_id": "flagship-"})
    large_1s = Load("/run_algorithm", 4, large_body(20, 1_000))
    large_2s = Load("/run_algorithm", 5, large_body(50, 2_000))
    probes = [Load(path, 1, pause_ms=10.0) for path in ("/health", "/health/live")]
    seconds = options.seconds
    with (
        tempfile.TemporaryDirectory(prefix="serving-benchmark-") as folder,
        our_service(Path(folder), workers) as server,
    ):
        drive(server.url, _with_user(flagship, "warm-"), 2)
        idle = together(server, [], probes, seconds)
        busy = together(server, [large_1s, replace(flagship, connections=8)], probes, seconds)
        mixed = together(server, [large_2s], [flagship], seconds)
    return {
        "workers": workers,
        "idle": dict(zip(("health", "live"), map(asdict, idle), strict=True)),
        "busy": dict(zip(("health", "live"), map(asdict, busy), strict=True)),
        "flagship_beside_large": asdict(mixed[0]),
    }


def together(server: Server, others: Sequence[Load], asked: Sequence[Load], seconds: int) -> list[Drive]:
    """Figures of the loads `asked`, all at the same time and while `others` go on."""
    background = [Driving(server.url, load, seconds + 3) for load in others]
    try:
        if others:
            time.sleep(1.0)  # until every core is busy
        foreground = [Driving(server.url, load, seconds) for load in asked]
        background += foreground
        return [driving.wait() for driving in foreground]
    finally:
        for driving in background:
            driving.stop()


# --- results ---


def _lost(measured: Sequence[Measurement]) -> int:
    return sum(max(0, m.acknowledged - m.recorded) for m in measured)


Key = tuple[str, int, str]


def medians(measured: Sequence[Measurement], figure: Callable[[Measurement], float]) -> dict[Key, float]:
    """The median over the rounds, by (server, workers, route), in the order of the first round."""
    values: dict[Key, list[float]] = {}
    for m in measured:
        values.setdefault((m.server, m.workers, m.route), []).append(figure(m))
    return {key: statistics.median(found) for key, found in values.items()}


def as_text(measured: Sequence[Measurement], calm: Sequence[Figures], options: argparse.Namespace) -> str:
    """The tables, and what they say about what was wanted."""
    rate = medians(measured, lambda m: m.drive.rate)
    shown: list[tuple[dict[Key, float], str]] = [
        (rate, ".0f"),
        (medians(measured, lambda m: m.drive.p50_ms), ".1f"),
        (medians(measured, lambda m: m.drive.p95_ms), ".1f"),
        (medians(measured, lambda m: m.drive.p99_ms), ".1f"),
        (medians(measured, lambda m: m.cpu_ms), ".2f"),
        (medians(measured, lambda m: m.pss_mib), ".0f"),
        (medians(measured, lambda m: m.rss_mib), ".0f"),
    ]
    failed = {key: sum(m.drive.failed for m in measured if (m.server, m.workers, m.route) == key) for key in rate}
    rows = [[*key, *(format(by_key[key], form) for by_key, form in shown), failed[key]] for key in rate]
    ready = statistics.median([m.ready_after_s for m in measured if m.server == "service"] or [0.0])
    loop = "uvloop and httptools" if find_spec("uvloop") and find_spec("httptools") else "asyncio and h11"
    acknowledged, recorded = sum(m.acknowledged for m in measured), sum(m.recorded for m in measured)
    parts = [
        f"{options.connections} keep-alive connections, {options.seconds} s each after {options.warm_up} s of warm-up, "
        f"medians of {options.rounds} rounds in which every server starts anew. wrk takes its share of the same cores, "
        f"so a server alone would do more. uvicorn runs on {loop}.",
        markdown_table(
            ("server", "workers", "request", "requests/s", "p50 ms", "p95 ms", "p99 ms", "CPU ms/request",
             "memory MiB (PSS, all)", "RSS MiB (largest)", "failed"),
            rows,
        ),
        f"{acknowledged} runs were answered 200 on routes that record, {recorded} are in the databases (those that wrk "
        f"gave up when its time was over are there, too), {_lost(measured)} are missing. The service was ready "
        f"{ready:.1f} s after its start.",
    ]  # fmt: skip
    if calm:
        parts += [
            "The service while every core computes (4 connections ask for 20 work points with 1 s each, 8 for the "
            f"flagship; probed every 10 ms), and the flagship ({options.connections} connections) beside 5 connections "
            "that ask for 50 work points with 2 s each:",
            markdown_table(
                ("workers", "request", "p50 ms", "p99 ms", "max ms", "requests/s", "failed"), calm_rows(calm)
            ),
        ]
    if wanted := wanted_rows(measured, calm):
        parts.append(markdown_table(("wanted, at 2 workers", "limit", "measured", "met"), wanted))
    return "\n\n".join(parts)


def calm_rows(calm: Sequence[Figures]) -> list[list[object]]:
    rows: list[list[object]] = []
    for figures in calm:
        told = {
            "/health, idle": figures["idle"]["health"],
            "/health/live, idle": figures["idle"]["live"],
            "/health, all cores busy": figures["busy"]["health"],
            "/health/live, all cores busy": figures["busy"]["live"],
            "flagship beside large instances": figures["flagship_beside_large"],
        }
        for name, drive_figures in told.items():
            came = Drive(**drive_figures)
            times = [f"{value:.1f}" for value in (came.p50_ms, came.p99_ms, came.max_ms)]
            rows.append([figures["workers"], name, *times, f"{came.rate:.0f}", came.failed])
    return rows


def wanted_rows(measured: Sequence[Measurement], calm: Sequence[Figures]) -> list[list[str]]:
    """What the service has to reach, beside what it reached; only what was measured."""
    rate = medians(measured, lambda m: m.drive.rate)
    tail = medians(measured, lambda m: m.drive.p99_ms / m.drive.p50_ms)
    flagship = ("service", 2, "flagship")
    rows: list[list[str]] = []

    def add(what: str, limit: str, value: float, is_met: bool) -> None:
        rows.append([what, limit, f"{value:.2f}", "yes" if is_met else "**no**"])

    if flagship in rate:
        ceiling = rate[flagship] / rate["service", 2, "no-op"]
        add("flagship / no-op ceiling", ">= 0.5", ceiling, ceiling >= 0.5)
        add("p99 / p50 of the flagship", "< 5", tail[flagship], tail[flagship] < 5.0)
    for route in ("inline, recorded", "in threads, recorded", "inline, no record"):
        peer = ("FastAPI + uvicorn", 2, route)
        if flagship in rate and peer in rate:
            ratio = rate[flagship] / rate[peer]
            # The last one does less than the flagship: it is shown, and was not asked for.
            limit = ">= 1" if "no record" not in route else "shown"
            add(f"flagship / FastAPI {route}", limit, ratio, ratio >= 1.0)
    cached = ("service, cached", 2, "flagship")
    if flagship in rate and cached in rate:
        add("flagship cached / not cached", "shown", rate[cached] / rate[flagship], True)
    for figures in calm:
        if figures["workers"] == 2:
            health = figures["busy"]["health"]["p99_ms"]
            add("p99 of /health while every core computes, ms", "< 20", health, health < 20.0)
    return rows


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit("interrupted; the servers have ended")
