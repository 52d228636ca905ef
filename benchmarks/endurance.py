"""Whether the service lasts: `python -m benchmarks.endurance soak|overload`.

soak      ten minutes at 80 % of its capacity, evenly spaced: memory, files, threads, queues and latency over time;
          with --hostile beside slow, broken and hostile clients, one kind of `benchmarks.attacks` after another
overload  three times its capacity for half a minute: how much is answered, how the rest is refused, how it is after

The requests are varied single work points; an overload is tried with a mix of 1 to 5 work points and with the sample
alone, too (see `benchmarks.requests`). The capacity for them is measured first, by the same client in a closed loop.
The client shares the cores with the service, and says what it takes. Every answer 200 is looked up in the database.
Writes benchmarks/results/endurance_<what>.{md,json} and, of a soak, endurance_soak.svg; ends with 1 when a record is
lost or a request failed otherwise than by 503.
"""

import argparse
import json
import re
import signal
import sqlite3
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Sequence
from contextlib import nullcontext, suppress
from dataclasses import asdict, dataclass
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from benchmarks.answers import PROVED_GAP
from benchmarks.attacks.crowd import Attacking
from benchmarks.attacks.rows import ROWS
from benchmarks.attacks.target import Target
from benchmarks.machine import RESULTS, markdown_table, write_results
from benchmarks.openloop import LOST_CONNECTION, Sent, send
from benchmarks.requests import KINDS, bodies
from benchmarks.servers import Server, memory, our_service

N_BODIES = 500
"""Different bodies of a kind; they are sent in turn."""
CONNECTIONS = 32
"""Of the closed loop that measures the capacity."""
MOST_CONNECTIONS = 8_000
SETTLING_S = 300.0
"""Before that, memory grows because caches and pools fill; not counted as growth unless the soak is shorter."""
STAGES_SHOWN = 5
Figures = dict[str, Any]


@dataclass(frozen=True)
class Sample:
    """The service at a moment."""

    at_s: float  # since the load began
    own_mib: tuple[float, ...]  # of each worker; see `servers.Memory`
    pss_mib: tuple[float, ...]
    rss_mib: tuple[float, ...]
    files: tuple[int, ...]  # open descriptors of each worker
    threads: tuple[int, ...]
    queues: dict[str, float]  # kind of work -> pieces being done or waiting


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; see the module's docstring."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.endurance",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True)
    soaking = commands.add_parser("soak", help="long run below capacity")
    soaking.add_argument("--minutes", type=float, default=10.0, help="(default: %(default)s)")
    soaking.add_argument("--share", type=float, default=0.8, help="share of the capacity (default: %(default)s)")
    soaking.add_argument("--kind", choices=KINDS, default="varied", help="kind of requests (default: %(default)s)")
    soaking.add_argument("--hostile", action="store_true", help="add hostile clients, one kind after another")
    soaking.add_argument("--every", type=float, default=10.0, help="seconds between samples (default: %(default)s)")
    overloading = commands.add_parser("overload", help="short run far above capacity")
    overloading.add_argument(
        "--factor", type=float, default=3.0, help="multiple of the capacity (default: %(default)s)"
    )
    overloading.add_argument(
        "--kinds", nargs="+", choices=KINDS, default=["varied", "mix", "sample"], help="(default: varied mix sample)"
    )
    overloading.add_argument("--seconds", type=float, default=30.0, help="(default: %(default)s)")
    for parsing in (soaking, overloading):
        parsing.add_argument("--workers", type=int, default=2, help="(default: %(default)s)")
        parsing.add_argument("--capacity-seconds", type=float, default=10.0, help="(default: %(default)s)")
        parsing.add_argument("--dry", action="store_true", help="print only; do not change benchmarks/results/")
    options = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, _interrupt)  # so that the service ends with us, as with Ctrl-C
    with tempfile.TemporaryDirectory(prefix="endurance-") as folder:
        text, figures, is_good = (soak if options.command == "soak" else overload)(Path(folder), options)
    if not options.dry:
        command = "python -m benchmarks.endurance " + " ".join(sys.argv[1:] if arguments is None else arguments)
        write_results(f"endurance_{options.command}", command, text, figures)
    print(text)
    return int(not is_good)


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def capacity(server: Server, kind: str, seconds: float) -> float:
    """Runs a second that it answers to a closed loop, after a warm-up."""
    sent = bodies(kind, N_BODIES)
    send(server.port, sent, "warm-", 3.0, rate=None, connections=CONNECTIONS)
    came = send(server.port, sent, "capacity-", seconds, rate=None, connections=CONNECTIONS)
    return came.count(200) / seconds


# --- soak ---


def soak(home: Path, options: argparse.Namespace) -> tuple[str, Figures, bool]:
    """A long load below the capacity; the text, the figures, and whether nothing failed."""
    seconds = 60.0 * options.minutes
    with our_service(home, options.workers) as server:
        most = capacity(server, options.kind, options.capacity_seconds)
        rate = options.share * most
        sampler = Sampler(server, options.every)
        among = Hostile(server) if options.hostile else nullcontext()
        with _progress(f"soak at {rate:.0f}/s", seconds) as bar, sampler, among:
            came = send(
                server.port, bodies(options.kind, N_BODIES), "soak-", seconds, rate=rate, connections=1_000,
                on_tick=lambda _: bar.update(1),
            )  # fmt: skip
    attacked = among.told() if isinstance(among, Hostile) else ""
    lost, found = lost_records(server.database, came), found_by(server.database, "soak-")
    failed = came.due - came.count(200)
    samples = sampler.samples
    windows = by_window(came, options.every)
    from_s = SETTLING_S if seconds > 2 * SETTLING_S else seconds / 5
    growth = [growth_mib_h(samples, number, from_s) for number in range(options.workers)]
    p50_ms, p99_ms = came.quantiles_ms(200) or (float("nan"), float("nan"))
    figures: Figures = {
        "requests": options.kind, "capacity": most, "rate": rate, "seconds": seconds, "due": came.due,
        "answered": came.count(200),
        "statuses": statuses(came), "lost": lost, "p50_ms": p50_ms, "p99_ms": p99_ms, "growth_mib_h": growth,
        "growth_after_s": from_s, "client_cpu_share": came.cpu_s / seconds, "windows": windows, "found_by": found,
        "samples": [asdict(sample) for sample in samples],
    }  # fmt: skip
    if not options.dry:
        draw(samples, windows, RESULTS / "endurance_soak.svg")
    shown = samples[:: max(1, len(samples) // 20)]
    text = "\n\n".join(
        (
            f"{options.workers} workers; requests: {options.kind}; capacity {most:.0f} runs/s ({CONNECTIONS} "
            f"connections, closed loop). Then {rate:.0f} runs/s, evenly spaced, for {seconds / 60:g} minutes. The "
            f"client took {came.cpu_s / seconds:.0%} of a core.",
            markdown_table(
                ("sent", "answered 200", "otherwise", "200 without a record", "p50 ms", "p99 ms",
                 f"growth after {from_s:.0f} s, MiB/h by worker"),
                [[came.due, came.count(200), failed, lost, f"{p50_ms:.1f}", f"{p99_ms:.1f}",
                  ", ".join(f"{value:+.1f}" for value in growth)]],
            ),
            *([f"Otherwise: {statuses(came)}."] if failed else []),
            *([attacked] if attacked else []),
            stage_table({options.kind: found}),
            markdown_table(
                ("s", "own MiB", "PSS MiB", "RSS MiB", "files", "threads", "queues"),
                [
                    [f"{s.at_s:.0f}", *map(_each, (s.own_mib, s.pss_mib, s.rss_mib, s.files, s.threads)),
                     ", ".join(f"{kind} {depth:.0f}" for kind, depth in s.queues.items() if depth) or "empty"]
                    for s in shown
                ],
            ),
            markdown_table(
                ("s", "answered 200", "p50 ms", "p99 ms"),
                [[f"{w['at_s']:.0f}", w["good"], f"{w['p50_ms']:.1f}", f"{w['p99_ms']:.1f}"]
                 for w in windows[:: max(1, len(windows) // 20)]],
            ),
        )
    )  # fmt: skip
    return text, figures, lost == 0 and failed == 0


HOSTILE = (
    *("one-byte chunks", "endless trailers", "bad chunks, then a hidden request", "Expect: 100-continue, refused"),
    *("dribbled chunks, 20 clients", "small answers unread, 8 clients", "endless headers", "unknown keys"),
    *("bytes that are not HTTP", "quotes and backslashes, 500 KB"),
)
"""The rows of `benchmarks.attacks` that take little of the processors: the rest would be an overload."""
REST_BETWEEN_S = 10.0


class Hostile:
    """Clients that attack the service while the block lasts: each row of `HOSTILE` in turn, then a rest."""

    def __init__(self, server: Server) -> None:
        self.attacks: Counter[str] = Counter()
        self.wrong: list[str] = []
        self._target = Target("127.0.0.1", server.port, tuple(server.workers()))
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._attack, daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def told(self) -> str:
        """What attacked, how often, and what must not happen and did."""
        rows = ", ".join(f"{name} ({times} times)" for name, times in self.attacks.items())
        return f"Hostile clients beside them: {rows}. Wrong: {'; '.join(self.wrong) or 'nothing'}."

    def _attack(self) -> None:
        for row in cycle([row for row in ROWS if row.name in HOSTILE]):
            outcome = Attacking(row.name, row.play, self._target, row.seconds).end(row.seconds + REST_BETWEEN_S)
            self.attacks[row.name] += 1
            self.wrong += outcome.wrong
            if self._stop.wait(REST_BETWEEN_S):
                return


class Sampler:
    """Looks at the service every few seconds while the block lasts."""

    def __init__(self, server: Server, every_s: float) -> None:
        self.samples: list[Sample] = []
        self._server, self._every_s = server, every_s
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _look(self) -> None:
        began_s = time.monotonic()
        while True:
            with suppress(OSError):  # a worker that was replaced between two looks
                self.samples.append(self._sample(time.monotonic() - began_s))
            if self._stop.wait(self._every_s):
                return

    def _sample(self, at_s: float) -> Sample:
        pids = self._server.workers()
        found = [memory(pid) for pid in pids]
        with urllib.request.urlopen(f"{self._server.url}/metrics", timeout=30) as answer:
            told = answer.read().decode()
        return Sample(
            at_s=at_s,
            own_mib=tuple(one.own_mib for one in found),
            pss_mib=tuple(one.pss_mib for one in found),
            rss_mib=tuple(one.rss_mib for one in found),
            files=tuple(len(list(Path(f"/proc/{pid}/fd").iterdir())) for pid in pids),
            threads=tuple(len(list(Path(f"/proc/{pid}/task").iterdir())) for pid in pids),
            queues={
                kind: float(value) for kind, value in re.findall(r'^queue_depth\{kind="(\w+)"\} (\S+)', told, re.M)
            },
        )


def growth_mib_h(samples: Sequence[Sample], worker: int, from_s: float) -> float:
    """The slope of a worker's own memory, by least squares; nan with fewer than three samples."""
    points = [(s.at_s, s.own_mib[worker]) for s in samples if s.at_s >= from_s and worker < len(s.own_mib)]
    if len(points) < 3:
        return float("nan")
    at_s, mib = np.array(points).T
    return float(np.polyfit(at_s, mib, 1)[0] * 3_600)


def by_window(came: Sent, every_s: float) -> list[Figures]:
    """Latency of the good answers by window of time."""
    status = np.frombuffer(came.status, dtype=np.int16)
    at_s, latency_ms = np.frombuffer(came.answered_s)[status == 200], np.frombuffer(came.latency_ms)[status == 200]
    window = (at_s // every_s).astype(int)
    found = []
    for number in np.unique(window):
        times = latency_ms[window == number]
        p50_ms, p99_ms = np.percentile(times, [50, 99])
        good = len(times)
        found.append({"at_s": float(number * every_s), "good": good, "p50_ms": float(p50_ms), "p99_ms": float(p99_ms)})
    return found


def draw(samples: Sequence[Sample], windows: Sequence[Figures], path: Path) -> None:
    """Memory of each worker and latency over time, one above the other."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 6), layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True)
    for worker in range(min(len(s.own_mib) for s in samples)):
        upper.plot([s.at_s for s in samples], [s.own_mib[worker] for s in samples], label=f"worker {worker + 1}")
    upper.set(ylabel="own memory, MiB", ylim=(0, None), title="Memory and latency during the soak")
    for name in ("p50_ms", "p99_ms"):
        lower.plot([w["at_s"] for w in windows], [w[name] for w in windows], label=name.removesuffix("_ms"))
    lower.set(xlabel="s", ylabel="latency, ms", yscale="log")
    for axes in (upper, lower):
        axes.legend()
        axes.grid(alpha=0.3)
    path.parent.mkdir(exist_ok=True)
    figure.savefig(path)


# --- overload ---


def overload(home: Path, options: argparse.Namespace) -> tuple[str, Figures, bool]:
    """Loads far above the capacity; the text, the figures, and whether nothing failed otherwise than by 503."""
    tried = [overloaded(home / kind, kind, options) for kind in options.kinds]
    rows = [
        [f["requests"], f"{f['capacity']:.0f}", f["due"], f"{f['goodput']:.0f}", f"{f['goodput_of_capacity']:.0%}",
         f["refused"], f["without_retry_after"], f["failed"], f["lost"],
         *(f"{f[name]:.0f}" for name in ("p50_ms", "p99_ms", "refusal_p50_ms", "refusal_p99_ms"))]
        for f in tried
    ]  # fmt: skip
    after = [
        [f["requests"], f["after"]["due"], f["after"]["failed"], f"{f['after']['p50_ms']:.1f}",
         f"{f['after']['p99_ms']:.1f}", f["after"]["health"]]
        for f in tried
    ]  # fmt: skip
    text = "\n\n".join(
        (
            f"{options.workers} workers. First the capacity ({CONNECTIONS} connections, closed loop), then "
            f"{options.factor:g} times as many runs, evenly spaced, for {options.seconds:g} s and on up to "
            f"{MOST_CONNECTIONS} connections, whatever comes of them. The client took "
            f"{max(f['client_cpu_share'] for f in tried):.0%} of a core of the same machine. Latencies count from when "
            "a request was due.",
            markdown_table(
                ("requests", "capacity/s", "sent", "200 in that time, per s", "of the capacity", "503",
                 "of them without Retry-After", "failed", "200 without a record", "200: p50 ms", "p99 ms",
                 "503: p50 ms", "p99 ms"),
                rows,
            ),
            *(f"Answers by status, {f['requests']}: {f['statuses']}." for f in tried if f["failed"]),
            stage_table({f["requests"]: f["found_by"] for f in tried}),
            "Right after, at half of the capacity for 5 s:",
            markdown_table(("requests", "sent", "failed", "p50 ms", "p99 ms", "/health"), after),
            markdown_table(("wanted", "limit", "measured", "met"), wanted_rows(tried)),
        )
    )  # fmt: skip
    return text, {"seconds": options.seconds, "loads": tried}, all(_is_good(f) for f in tried)


def overloaded(home: Path, kind: str, options: argparse.Namespace) -> Figures:
    """What came of one load."""
    seconds, sent = options.seconds, bodies(kind, N_BODIES)
    with our_service(home, options.workers) as server:
        most = capacity(server, kind, options.capacity_seconds)
        rate = options.factor * most
        with _progress(f"overload, {kind}, at {rate:.0f}/s", seconds) as bar:
            came = send(
                server.port, sent, "over-", seconds, rate=rate, connections=MOST_CONNECTIONS,
                on_tick=lambda _: bar.update(1),
            )  # fmt: skip
        after = send(server.port, sent, "after-", 5.0, rate=0.5 * most, connections=1_000)
        health = _status(f"{server.url}/health")
    in_time = int((np.frombuffer(came.answered_s)[np.frombuffer(came.status, dtype=np.int16) == 200] <= seconds).sum())
    goodput = in_time / seconds
    good, refused = came.count(200), came.count(503)
    latency = came.quantiles_ms(200) or [float("nan")] * 2
    refusals = came.quantiles_ms(503) or [float("nan")] * 2
    after_ms = after.quantiles_ms(200) or [float("nan")] * 2
    return {
        "requests": kind, "capacity": most, "rate": rate, "due": came.due, "goodput": goodput,
        "goodput_of_capacity": goodput / most, "statuses": statuses(came), "refused": refused,
        "failed": came.due - good - refused,
        "lost": lost_records(server.database, came, "over-") + lost_records(server.database, after, "after-"),
        "without_retry_after": came.without_retry_after, "p50_ms": latency[0], "p99_ms": latency[1],
        "refusal_p50_ms": refusals[0], "refusal_p99_ms": refusals[1], "client_cpu_share": came.cpu_s / seconds,
        "found_by": found_by(server.database, "over-"),
        "after": {
            "due": after.due, "p50_ms": after_ms[0], "p99_ms": after_ms[1], "failed": after.due - after.count(200),
            "health": health,
        },
    }  # fmt: skip


def wanted_rows(tried: Sequence[Figures]) -> list[list[str]]:
    """What an overloaded service has to reach, beside what it reached."""
    rows = []
    for f in tried:
        share = f["goodput_of_capacity"]
        rows.append([f"{f['requests']}: 200 in time, of the capacity", ">= 80 %", f"{share:.0%}", _met(share >= 0.8)])
        for name in ("p50", "p99"):
            took_ms = f[f"{name}_ms"]
            rows.append(
                [f"{f['requests']}: {name} of the 200", "<= 2 s", f"{took_ms / 1e3:.1f} s", _met(took_ms <= 2e3)]
            )
    return rows


def _met(is_met: bool) -> str:
    return "yes" if is_met else "**no**"


def _is_good(f: Figures) -> bool:
    after = f["after"]
    is_well_after = after["failed"] == 0 and after["health"] == 200
    return bool(f["lost"] == 0 and f["failed"] == 0 and f["without_retry_after"] == 0 and is_well_after)


# --- both ---


def lost_records(database: Path, came: Sent, prefix: str = "soak-") -> int:
    """How many answers 200 have no run in the database."""
    with sqlite3.connect(database) as connection:
        query = "SELECT user_id FROM runs WHERE substr(user_id, 1, ?) = ? AND success"
        stored = {int(user[len(prefix) :]) for (user,) in connection.execute(query, (len(prefix), prefix))}
    return sum(number not in stored for number in came.good_numbers())


def found_by(database: Path, prefix: str) -> dict[str, list[float]]:
    """What found the schedules of a load: stage -> how many, mean gap, share of proved optima, mean seconds.

    The default budget is a time, so that a busy machine may answer worse schedules: this shows whether it did.
    """
    query = (
        "SELECT stage, COUNT(*), AVG(gap), AVG(gap < ?), AVG(execution_time) FROM runs "
        "WHERE substr(user_id, 1, ?) = ? AND success GROUP BY stage ORDER BY COUNT(*) DESC"
    )
    with sqlite3.connect(database) as connection:
        found = connection.execute(query, (PROVED_GAP, len(prefix), prefix))
        return {stage: list(rest) for stage, *rest in found}


def stage_table(found_of: dict[str, dict[str, list[float]]]) -> str:
    """By kind of requests: all runs of the load, and the stages that found most of them."""
    rows = []
    for kind, found in found_of.items():
        stages = list(found.items())
        shown = [("all", _together([rest for _, rest in stages])), *stages[:STAGES_SHOWN]]
        if len(stages) > STAGES_SHOWN:
            others = stages[STAGES_SHOWN:]
            shown.append((f"{len(others)} others", _together([rest for _, rest in others])))
        rows += [
            [kind, stage, f"{n:.0f}", f"{gap:.2%}", f"{proved:.1%}", f"{1e3 * took_s:.1f}"]
            for stage, (n, gap, proved, took_s) in shown
        ]
    return markdown_table(
        ("requests", "schedules found by", "runs", "mean gap", "proved optimal", "mean ms to compute"), rows
    )


def _together(rows: Sequence[Sequence[float]]) -> list[float]:
    """Counts summed, means weighted by them."""
    if not rows:
        return [0.0, *[float("nan")] * 3]
    counts, *means = np.array(rows).T
    return [float(counts.sum()), *(float(np.average(each, weights=counts)) for each in means)]


def statuses(came: Sent) -> dict[str, int]:
    """Status -> answers; and what had none."""
    values, counts = np.unique(np.frombuffer(came.status, dtype=np.int16), return_counts=True)
    found = {"connection lost" if v == LOST_CONNECTION else str(v): int(n) for v, n in zip(values, counts, strict=True)}
    return found | ({"no answer": came.unanswered} if came.unanswered else {})


def _status(url: str) -> int:
    try:
        with urllib.request.urlopen(url, timeout=30) as answer:
            json.load(answer)
            return int(answer.status)
    except urllib.error.HTTPError as err:
        return err.code


def _progress(what: str, seconds: float) -> "tqdm[Any]":
    form = "{l_bar}{bar}| {elapsed}<{remaining}"
    return tqdm(total=round(seconds), desc=what, unit="s", file=sys.stderr, bar_format=form)


def _each(values: Sequence[float]) -> str:
    return ", ".join(f"{value:.0f}" for value in values)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit("interrupted; the service has ended")
