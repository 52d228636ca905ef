"""The command line of the attacks, and their table."""

import argparse
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from benchmarks.attacks.rows import ROWS, Row
from benchmarks.attacks.servers import SERVERS, prepare
from benchmarks.attacks.target import Target
from benchmarks.attacks.trial import Trial, attempt
from benchmarks.machine import markdown_table, write_results

MAX_ATTEMPTS = 3
HEADER = (
    "attack", "held", "/health/live p50 / p99 / max ms", "machine late p99 ms", "a schedule p99 ms", "failed",
    "RSS MiB before, at most, after",
    "connections opened, left", "closed after s", "answers", "remarks",
)  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> int:
    """Attack; 1 if a row failed."""
    options = _options(arguments)
    rows = [row for row in ROWS if options.only.lower() in row.name.lower()]
    with _target(options) as target:
        trials = [_told(_settled(row, target)) for row in rows]
    text = markdown_table(HEADER, [cells(trial) for trial in trials])
    if not options.dry:
        write_results("attacks", "python -m benchmarks.attacks", text, {"trials": [each.figures() for each in trials]})
    print(text)
    return int(any(trial.faults for trial in trials))


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.attacks")
    add = parser.add_argument
    add("--server", choices=SERVERS, default="ours")
    add("--through", default="", help="a service that runs already: the address that clients use")
    add("--pid", type=int, nargs="+", default=[], help="of its processes; their descendants count, too")
    add("--home", type=Path, default=None, help="its folder")
    add("--only", default="", help="rows with this in their name")
    add("--dry", action="store_true", help="print only")
    return parser.parse_args(arguments)


@contextmanager
def _target(options: argparse.Namespace) -> Iterator[Target]:
    if options.through:
        parts = urlsplit(options.through)
        if options.home:
            prepare(options.home)
        yield Target(parts.hostname or "127.0.0.1", parts.port or 80, tuple(options.pid), options.home)
        return
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "home"
        prepare(home)
        with SERVERS[options.server](home) as target:
            yield target


def _settled(row: Row, target: Target) -> Trial:
    """The first attempt that was not late, or the last one: a busy machine is late once, a service each time."""
    for _ in range(MAX_ATTEMPTS - 1):
        trial = attempt(row, target)
        if not trial.is_only_late:
            return trial
    return attempt(row, target)


def _told(trial: Trial) -> Trial:
    print(" | ".join(map(str, cells(trial))), flush=True)
    return trial


def cells(trial: Trial) -> list[object]:
    live, outcome = trial.live, trial.outcome
    closed = f"{min(trial.closed_s):.1f} - {max(trial.closed_s):.1f}" if trial.closed_s else "-"
    answers = ", ".join(f"{status}: {count}" for status, count in sorted(outcome.answers.items()))
    return [
        trial.row.name,
        "**no**" if trial.faults else "yes",
        f"{live.ms(0.5):.1f} / {live.ms(0.99):.1f} / {live.ms(1.0):.1f}",
        f"{trial.machine_late_ms:.1f}",
        f"{trial.runs.ms(0.99):.0f}",
        f"{len(live.failed)}, {len(trial.runs.failed)}",
        ", ".join(f"{each:.0f}" for each in trial.rss_mib),
        f"{outcome.opened}, {trial.left}",
        closed,
        answers or "-",
        "; ".join([*trial.faults, *outcome.notes]) or "-",
    ]
