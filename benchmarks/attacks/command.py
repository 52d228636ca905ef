"""The command line of the attacks."""

import argparse
import json
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from benchmarks.attacks.framing import answers
from benchmarks.attacks.resting import at_rest
from benchmarks.attacks.rows import ROWS, Row
from benchmarks.attacks.servers import SERVERS, prepare
from benchmarks.attacks.table import as_text, line
from benchmarks.attacks.target import Target, preferred_session
from benchmarks.attacks.throughput import speeds
from benchmarks.attacks.trial import Trial, attempt
from benchmarks.machine import RESULTS, machine, write_results
from benchmarks.wrk import is_installed

NAME = "attacks"


def main(arguments: Sequence[str] | None = None) -> int:
    """Attack; 1 if a row failed."""
    options = _options(arguments)
    rows = [row for row in ROWS if options.only.lower() in row.name.lower()]
    with preferred_session(), _target(options) as target:
        target.prefer()
        found: dict[str, Any] = {"machine": machine()}
        if not options.only:
            found["framing"] = [vars(came) | {"case": came.case.name} for came in answers(target)]
            if is_installed():
                found["speeds"] = [speed.figures() for speed in speeds(target)]
        found["trials"] = [_told(_settled(row, target, options.attempts)).figures() for row in rows]
    if not options.only and not options.through:
        with tempfile.TemporaryDirectory() as folder:
            found["at_rest"] = at_rest(SERVERS[options.server], Path(folder))
    name = options.name or options.server
    if options.dry or options.only:
        print(as_text({name: found}))
    else:
        _write(name, found)
    return int(any(trial["faults"] for trial in found["trials"]))


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.attacks")
    add = parser.add_argument
    add("--server", choices=SERVERS, default="ours")
    add("--through", default="", help="address of a running service")
    add("--pid", type=int, nargs="+", default=[], help="its process ids; descendants are included")
    add("--home", type=Path, default=None, help="its SCHED_HOME")
    add("--attempts", type=int, default=3, help="attempts for a row that was only late")
    add("--name", default="", help="name of its column in the results")
    add("--only", default="", help="only rows with this in their name; writes nothing")
    add("--dry", action="store_true", help="print only")
    options = parser.parse_args(arguments)
    if options.through and not (options.pid and options.name):
        parser.error("--through needs --pid and --name")
    return options


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


def _settled(row: Row, target: Target, attempts: int) -> Trial:
    """The first attempt that was not late, or the last one: a busy machine is late once, a service each time."""
    for _ in range(attempts - 1):
        trial = attempt(row, target)
        if not trial.is_only_late:
            return trial
    return attempt(row, target)


def _told(trial: Trial) -> Trial:
    print(" | ".join(line(trial.figures())), flush=True)
    return trial


def _write(name: str, found: dict[str, Any]) -> None:
    """Put it beside what was found of the other servers."""
    path = RESULTS / f"{NAME}.json"
    servers = json.loads(path.read_text("utf-8"))["servers"] if path.exists() else {}
    servers[name] = found
    ordered = {each: servers[each] for each in sorted(servers, key=[*SERVERS, *servers].index)}
    command = "python -m benchmarks.attacks [--server " + "|".join(SERVERS) + "]"
    write_results(NAME, command, as_text(ordered), {"servers": ordered})
