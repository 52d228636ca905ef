"""Requests a second and their latency, of our service and of the usual alternatives, on loopback.

`python -m benchmarks.serving [--seconds 5] [--rounds 3] [--kinds varied mix sample] [--only fastapi]`

Every server is a real process over a throw-away folder, driven by wrk with distinct users, so that each request is
assigned and recorded. The requests are those of `benchmarks.requests`, the same ones in the same order to every server:
`varied` single work points, a `mix` of 1 to 5 work points, and the `sample` alone, which is proved optimal at once.
Rounds are interleaved: each one starts every server anew, and figures are medians over rounds. What is compared:

  service       no-op: GET /health/live, the ceiling of its web stack
                runs: POST /run_algorithm, the record on disk before the answer
                cached: the same with the answer cache (SCHED_ANSWER_CACHE_MIB), the sample only
  FastAPI       the same agent, budget, answer and record, computed in the event loop ("inline") or in FastAPI's
  Flask+pywsgi  threads; without a record also, which is less than the service does

The quality of the schedules stands beside the speed, from the records: a server that answers sooner with longer
schedules has not won. Then, on the service alone: /health while every core computes, runs beside large instances, and
the first chart and the first report of a fresh process.

Writes benchmarks/results/serving.{md,json}; ends with 1 when a counted answer was not recorded, or a request failed.
Needs wrk (apt-get install wrk) and requirements-bench.txt.
"""

import argparse
import json
import random
import signal
import statistics
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from tqdm import tqdm

from benchmarks.answers import Answers, answers, shortest
from benchmarks.machine import markdown_table, write_results
from benchmarks.requests import KINDS, Body, bodies, sample
from benchmarks.servers import Server, fastapi_peer, flask_peer, memory, our_service, total_pss_mib
from benchmarks.wrk import Drive, Driving, Load, drive, is_installed
from scheduler_env.standard_cycle import SAMPLE_PARAMS

FIRSTS_S = 40.0
"""What the first charts and reports take, about; for the same line."""
START_S = 4.0
"""What a start takes, about; for the time left that the progress line says."""
CACHE_MIB = "64"
N_BODIES = 500
"""Different bodies of a kind; they are sent in turn."""
N_LARGE_BODIES = 20
Figures = dict[str, Any]


@dataclass(frozen=True)
class Route:
    """A way to ask a server."""

    name: str
    path: str
    kind: str = ""  # of the requests, see `benchmarks.requests`; none: a GET
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
    kind: str  # of the requests; "": a GET
    drive: Drive
    cpu_ms: float  # of the server's processes, by request
    pss_mib: float  # of all its processes
    rss_mib: float  # of its largest process
    ready_after_s: float
    acknowledged: int = 0  # good answers of a route that records
    answers: Answers | None = None  # what the database has of them; None: the route records nothing

    @property
    def recorded(self) -> int:
        return self.answers.runs if self.answers else 0

    def figures(self) -> Figures:
        """For the JSON: everything but the makespans of each body."""
        found = asdict(self)
        if self.answers:
            del found["answers"]["by_body"]
        return found


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; see the module's docstring."""
    options = _options(arguments)
    signal.signal(signal.SIGTERM, _interrupt)  # so that servers end with us, as with Ctrl-C
    contenders = [c for c in all_contenders(options.workers, options.kinds) if options.only.lower() in c.name.lower()]
    per_route_s = options.warm_up + options.seconds
    planned_s = options.rounds * sum(START_S + len(c.routes) * per_route_s for c in contenders)
    is_ours = any(c.name == "service" for c in contenders)
    if is_ours:
        planned_s += sum(START_S + 3 * (options.seconds + 3) for _ in options.workers) + FIRSTS_S
    measured: list[Measurement] = []
    firsts: Figures = {}
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
        if is_ours:
            bar.set_description("service, first chart and report")
            firsts = first_pictures()
            bar.update(round(FIRSTS_S))
    lost, failed = _lost(measured), sum(m.drive.failed for m in measured)
    command = "python -m benchmarks.serving " + " ".join(sys.argv[1:] if arguments is None else arguments)
    text = as_text(measured, calm, firsts, options)
    if not options.dry:
        figures = {
            "measurements": [m.figures() for m in measured], "beside_large_instances": calm, "firsts_s": firsts,
        }  # fmt: skip
        write_results("serving", command.strip(), text, figures)
    print(text)
    return int(lost > 0 or failed > 0)


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.serving", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--seconds", type=int, default=5, help="duration of each measurement (default: %(default)s)")
    add(
        "--warm-up", type=int, default=2, help="seconds of the same load before each measurement (default: %(default)s)"
    )
    add("--connections", type=int, default=32, help="connections of wrk (default: %(default)s)")
    add("--rounds", type=int, default=3, help="rounds; figures are medians over rounds (default: %(default)s)")
    add("--workers", type=int, nargs="+", default=[1, 2], help="processes per server (default: 1 2)")
    add("--kinds", nargs="+", choices=KINDS, default=["varied", "mix", "sample"], help="(default: varied mix sample)")
    add("--only", default="", help="only servers with this in their name: service, cached, fastapi, flask")
    add("--dry", action="store_true", help="print only; do not change benchmarks/results/")
    options = parser.parse_args(arguments)
    if not is_installed():
        parser.error("wrk is not installed: apt-get install wrk")
    return options


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def all_contenders(workers: Sequence[int], kinds: Sequence[str]) -> list[Contender]:
    """Everyone, with one worker first."""
    noop, live = Route("no-op", "/noop", is_recorded=False), Route("no-op", "/health/live", is_recorded=False)
    runs = [Route("run", "/run_algorithm", kind) for kind in kinds]
    bare = [Route("inline, no record", "/run", kind, is_recorded=False) for kind in kinds]
    recorded = [Route("inline, recorded", "/recorded", kind) for kind in kinds]
    threads = [Route("in threads, recorded", "/threads", kind) for kind in kinds]
    found = []
    for count in workers:
        found += [
            Contender("service", count, our_service, (live, *runs)),
            Contender("service, cached", count, _cached_service, (Route("run", "/run_algorithm", "sample"),)),
            Contender("FastAPI + uvicorn", count, fastapi_peer, (noop, *bare, *recorded, *threads)),
            Contender("Flask + pywsgi", count, flask_peer, (noop, *bare, *recorded)),
        ]
    return found


@contextmanager
def _cached_service(home: Path, workers: int) -> Iterator[Server]:
    with our_service(home, workers, {"SCHED_ANSWER_CACHE_MIB": CACHE_MIB}) as server:
        yield server


def contend(contender: Contender, options: argparse.Namespace) -> list[Measurement]:
    """All routes of a fresh server, one after the other; then what its database holds of them."""
    measured: list[tuple[Measurement, str, int]] = []
    with tempfile.TemporaryDirectory(prefix="serving-benchmark-") as folder:
        with contender.start(Path(folder), contender.workers) as server:
            for number, route in enumerate(contender.routes):
                user = f"load{number}-"
                sent = bodies(route.kind, N_BODIES) if route.kind else []
                load = Load(route.path, options.connections, sent, user)
                if options.warm_up:
                    drive(server.url, replace(load, user="warm-"), options.warm_up)
                before_s = server.cpu_s()
                came = drive(server.url, load, options.seconds)
                cpu_ms = 1e3 * (server.cpu_s() - before_s) / max(came.requests, 1)
                pids = server.processes()
                measurement = Measurement(
                    contender.name, contender.workers, route.name, route.kind, came, cpu_ms, total_pss_mib(pids),
                    max(memory(pid).rss_mib for pid in pids), server.ready_after_s,
                )  # fmt: skip
                measured.append((measurement, user if route.is_recorded else "", len(sent)))
        # Now that the server has ended, what wrk left behind when its time was over has been recorded, too.
        return [
            replace(m, acknowledged=m.drive.good, answers=answers(server.database, user, count)) if user else m
            for m, user, count in measured
        ]


# --- beside large instances ---


def large_bodies(workpoints: int, time_budget_ms: int) -> list[Body]:
    """Runs of so many work points with random durations, the same ones every time."""
    chooser = random.Random(workpoints)
    return [
        {
            "workpoints": [
                {"id": str(number + 1), "params": [round(chooser.uniform(2.0, 12.0), 1) for _ in SAMPLE_PARAMS]}
                for number in range(workpoints)
            ],
            "time_budget_ms": time_budget_ms,
        }
        for _ in range(N_LARGE_BODIES)
    ]


def beside_large_instances(workers: int, options: argparse.Namespace) -> Figures:
    """What else the service answers while it computes schedules that take long."""
    varied = Load("/run_algorithm", options.connections, bodies("varied", N_BODIES), "varied-")
    large_1s = Load("/run_algorithm", 4, large_bodies(20, 1_000), "large-")
    large_2s = Load("/run_algorithm", 5, large_bodies(50, 2_000), "large-")
    probes = [Load(path, 1, pause_ms=10.0) for path in ("/health", "/health/live")]
    seconds = options.seconds
    with (
        tempfile.TemporaryDirectory(prefix="serving-benchmark-") as folder,
        our_service(Path(folder), workers) as server,
    ):
        drive(server.url, replace(varied, user="warm-"), 2)
        idle = together(server, [], probes, seconds)
        busy = together(server, [large_1s, replace(varied, connections=8)], probes, seconds)
        mixed = together(server, [large_2s], [varied], seconds)
    return {
        "workers": workers,
        "idle": dict(zip(("health", "live"), map(asdict, idle), strict=True)),
        "busy": dict(zip(("health", "live"), map(asdict, busy), strict=True)),
        "varied_beside_large": asdict(mixed[0]),
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


# --- the first pictures of a process ---


def first_pictures() -> Figures:
    """Seconds that a client waits for the first and the second chart and report of a fresh process.

    "New machine": no program of this user has drawn a chart before, so that matplotlib looks for the fonts, too.
    """
    found: Figures = {}
    asked: dict[str, tuple[str, Body]] = {
        "chart": ("/run_algorithm", sample() | {"charts": "process"}),
        "report": ("/reports/performance", {"days": 7}),
    }
    for what, (path, body) in asked.items():
        for where in ("", "new machine"):
            with tempfile.TemporaryDirectory(prefix="serving-benchmark-") as folder:
                home = Path(folder)
                environment = {"MPLCONFIGDIR": str(home / "matplotlib")} if where else {}
                with our_service(home, 1, environment) as server:
                    for _ in range(3):
                        _post_s(server.url + "/run_algorithm", sample())
                    for turn in ("first", "second"):
                        name = f"{turn} {what}" + (f", {where}" if where else "")
                        found[name] = _post_s(server.url + path, body)
    return found


def _post_s(url: str, body: Body) -> float:
    """Seconds until the whole answer is there. Raises `OSError`: it is an error."""
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    began_s = time.perf_counter()
    with urllib.request.urlopen(request, timeout=120) as answer:
        answer.read()
    return time.perf_counter() - began_s


# --- results ---


def _lost(measured: Sequence[Measurement]) -> int:
    return sum(max(0, m.acknowledged - m.recorded) for m in measured)


Key = tuple[str, int, str, str]
"""Server, workers, route, kind of requests."""


def key_of(m: Measurement) -> Key:
    return (m.server, m.workers, m.route, m.kind)


def medians(measured: Sequence[Measurement], figure: Callable[[Measurement], float]) -> dict[Key, float]:
    """The median over the rounds, by key, in the order of the first round."""
    values: dict[Key, list[float]] = {}
    for m in measured:
        values.setdefault(key_of(m), []).append(figure(m))
    return {key: statistics.median(found) for key, found in values.items()}


def quality(measured: Sequence[Measurement]) -> dict[Key, tuple[str, str, str]]:
    """Mean gap, share of proved optima, and mean excess over the shortest schedule that anybody answered."""
    shortest_h = {
        kind: shortest([m.answers for m in measured if m.kind == kind and m.answers])
        for kind in {m.kind for m in measured}
    }
    recorded = [m for m in measured if m.answers]
    gap = medians(recorded, lambda m: m.answers.mean_gap if m.answers else 0.0)
    proved = medians(recorded, lambda m: m.answers.proved_share if m.answers else 0.0)
    excess = medians(recorded, lambda m: m.answers.excess(shortest_h[m.kind]) if m.answers else 0.0)
    return {key: (f"{gap[key]:.2%}", f"{proved[key]:.1%}", f"{excess[key]:.2%}") for key in gap}


def as_text(
    measured: Sequence[Measurement], calm: Sequence[Figures], firsts: Figures, options: argparse.Namespace
) -> str:
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
    good = quality(measured)
    failed = {key: sum(m.drive.failed for m in measured if key_of(m) == key) for key in rate}
    rows = [
        [*key[:3], key[3] or "-", format(rate[key], ".0f"), *good.get(key, ("-", "-", "-")),
         *(format(by_key[key], form) for by_key, form in shown[1:]), failed[key]]
        for key in rate
    ]  # fmt: skip
    ready = statistics.median([m.ready_after_s for m in measured if m.server == "service"] or [0.0])
    loop = "uvloop and httptools" if find_spec("uvloop") and find_spec("httptools") else "asyncio and h11"
    acknowledged, recorded = sum(m.acknowledged for m in measured), sum(m.recorded for m in measured)
    parts = [
        f"{options.connections} keep-alive connections, {options.seconds} s each after {options.warm_up} s of warm-up, "
        f"medians of {options.rounds} rounds in which every server starts anew. wrk takes its share of the same cores, "
        f"so a server alone would do more. uvicorn runs on {loop}.",
        f"Requests: {N_BODIES} different bodies of a kind in turn, the same ones to every server; what the kinds are, "
        "`benchmarks/requests.py` says. Quality is that of the recorded answers: the gap to the bound that is proved, "
        "the share of proved optima, and how much longer they are than the shortest schedule that any server answered "
        "to the same body in this run. A route without a record solves the same way.",
        markdown_table(
            ("server", "workers", "route", "requests", "requests/s", "mean gap", "proved optimal", "over best known",
             "p50 ms", "p95 ms", "p99 ms", "CPU ms/request", "memory MiB (PSS, all)", "RSS MiB (largest)", "failed"),
            rows,
        ),
        f"{acknowledged} runs were answered 200 on routes that record, {recorded} are in the databases (those that wrk "
        f"gave up when its time was over are there, too), {_lost(measured)} are missing. The service was ready "
        f"{ready:.1f} s after its start.",
    ]  # fmt: skip
    if calm:
        parts += [
            "The service while every core computes (4 connections ask for 20 work points with 1 s each, 8 for varied "
            f"single work points; probed every 10 ms), and varied single work points ({options.connections} "
            "connections) beside 5 connections that ask for 50 work points with 2 s each:",
            markdown_table(
                ("workers", "request", "p50 ms", "p99 ms", "max ms", "requests/s", "failed"), calm_rows(calm)
            ),
        ]
    if firsts:
        parts += [
            "Charts and reports of a fresh process that has answered three runs; one client, nothing beside it. New "
            "machine: matplotlib has no list of fonts yet.",
            markdown_table(("answer", "s"), [[name, f"{took_s:.2f}"] for name, took_s in firsts.items()]),
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
            "varied beside large instances": figures["varied_beside_large"],
        }
        for name, drive_figures in told.items():
            came = Drive(**drive_figures)
            times = [f"{value:.1f}" for value in (came.p50_ms, came.p99_ms, came.max_ms)]
            rows.append([figures["workers"], name, *times, f"{came.rate:.0f}", came.failed])
    return rows


def wanted_rows(measured: Sequence[Measurement], calm: Sequence[Figures]) -> list[list[str]]:
    """What the service has to reach, beside what it reached; only what was measured."""
    rate = medians(measured, lambda m: m.drive.rate)
    cpu_ms = medians(measured, lambda m: m.cpu_ms)
    rows: list[list[str]] = []

    def add(what: str, limit: str, value: float, is_met: bool | None) -> None:
        rows.append([what, limit, f"{value:.2f}", {True: "yes", False: "**no**", None: "-"}[is_met]])

    def run_of(kind: str) -> Key:
        return ("service", 2, "run", kind)

    varied, alone = run_of("varied"), run_of("sample")
    if varied in rate and alone in rate:
        share = rate[varied] / rate[alone]
        add("varied single work points / the sample alone, requests/s", ">= 0.8", share, share >= 0.8)
    for route, least in (("inline, recorded", 1.3), ("in threads, recorded", 1.3), ("inline, no record", 1.0)):
        for kind in ("varied", "mix", "sample"):
            peer = ("FastAPI + uvicorn", 2, route, kind)
            if run_of(kind) in rate and peer in rate:
                ratio = rate[run_of(kind)] / rate[peer]
                is_target = kind == "varied"
                limit = f">= {least:g}" if is_target else "shown"
                add(f"{kind}: service / FastAPI {route}", limit, ratio, ratio >= least if is_target else None)
    for kind in ("varied", "mix", "sample"):
        if run_of(kind) in cpu_ms:
            is_target = kind == "varied"
            value = cpu_ms[run_of(kind)]
            add(
                f"{kind}: CPU ms a request",
                "<= 1.2" if is_target else "shown",
                value,
                value <= 1.2 if is_target else None,
            )
    cached = ("service, cached", 2, "run", "sample")
    if alone in rate and cached in rate:
        add("sample: cached / not cached", "shown", rate[cached] / rate[alone], None)
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
