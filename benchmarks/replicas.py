"""Replicas over PostgreSQL behind HAProxy while parts of them are killed: what is lost, doubled, or told twice.

    python -m benchmarks.replicas               20 rounds, about ten minutes
    python -m benchmarks.replicas --rounds 3 --dry

Three replicas, two PostgreSQL servers with synchronous replication, clients through the real HAProxy; all are real
processes. Each round ends one of them with `kill -9`: a replica, the replica that holds the lease of the experiments,
or the primary, whose standby is then promoted. Writes results/replicas.{md,json}; ends with 1 if an acknowledged run
was lost or doubled, or a message was not told.
"""

import argparse
import random
import re
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from functools import partial
from itertools import pairwise
from pathlib import Path

import requests

from benchmarks.machine import markdown_table, write_results
from monitoring import PerformanceMonitor, alert_desk
from scheduler_service.command_line import progress_bar
from scheduler_service.database_url import parse_database_url
from scheduler_service.errors import ServiceError
from scheduler_service.settings import Settings
from tests.receiver import Receiver
from tests.stack import Stack, running_stack
from tests.waiting import until

N_REPLICAS, N_CLIENTS, N_MESSAGES = 3, 4, 10
KINDS = ("replica", "leaseholder", "primary")
LEASE = "experiments.lease"
STEADY_S, PAUSE_S = 2.0, 0.01
CALM_S, CALM_GAP_S = 5.0, 1.0
PROMOTED_AFTER_S = 0.3  # how soon the operator's script notices the loss of the primary
SETTINGS = {"SCHED_ALERT_EVERY_S": "1"}


@dataclass
class Seen:
    """What the clients saw; shared by their threads."""

    answered_s: list[float] = field(default_factory=list)  # time.monotonic of each 200
    acknowledged: list[str] = field(default_factory=list)
    statuses: Counter[str] = field(default_factory=Counter)

    def longest_gap_s(self, since_s: float) -> float:
        """The longest time since then without any answered run."""
        times = [since_s, *sorted(each for each in self.answered_s if each > since_s)]
        return max((after - before for before, after in pairwise(times)), default=0.0)

    def is_calm(self, now_s: float) -> bool:
        """Whether in the last seconds no time without an answered run was longer than `CALM_GAP_S`."""
        times = [now_s - CALM_S, *(each for each in tuple(self.answered_s) if each > now_s - CALM_S), now_s]
        return max(after - before for before, after in pairwise(times)) < CALM_GAP_S


@dataclass(frozen=True, slots=True)
class Round:
    """What one kill cost."""

    kind: str
    longest_gap_s: float
    taken_over_s: float | None  # until another replica held the lease; None: its holder lived on


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; see the module's docstring."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.replicas", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=20, help="(default: %(default)d)")
    parser.add_argument("--seed", type=int, default=0, help="of what is killed when (default: %(default)d)")
    parser.add_argument("--dry", action="store_true", help="print only; do not change benchmarks/results/")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="replicas-") as folder, Receiver() as receiver:
        channel = f"json={receiver.url}"
        settings = SETTINGS | {"SCHED_ALERT_WEBHOOKS": channel}
        with running_stack(Path(folder), replicas=N_REPLICAS, has_standby=True, settings=settings) as stack:
            rounds, seen, told, stored = _measure(stack, Path(folder), channel, options)
            until(lambda: len({each["message"] for each in receiver.got if each.get("message") in told}) == len(told))
            heard = Counter(each["message"] for each in receiver.got if each.get("message") in told)
    lost = set(seen.acknowledged) - set(stored)
    doubled = [each for each in seen.acknowledged if stored[each] > 1]
    figures = {
        "rounds": [asdict(each) for each in rounds],
        "acknowledged": len(seen.acknowledged),
        "lost": len(lost),
        "doubled": len(doubled),
        "statuses": dict(seen.statuses),
        "messages": len(told),
        "told_once": sum(count == 1 for count in heard.values()),
        "told_more_often": sum(count > 1 for count in heard.values()),
    }
    text = _text(rounds, figures)
    if not options.dry:
        command = "python -m benchmarks.replicas " + " ".join(sys.argv[1:] if arguments is None else arguments)
        write_results("replicas", command.strip(), text, figures)
    print(text)
    return int(bool(lost or doubled or len(heard) < len(told)))


def _measure(
    stack: Stack, folder: Path, channel: str, options: argparse.Namespace
) -> tuple[list[Round], Seen, list[str], Counter[str]]:
    """The rounds, what the clients saw, the posted messages, and how often each request is recorded."""
    chance, rounds, told = random.Random(options.seed), list[Round](), list[str]()
    address = parse_database_url(stack.environment["SCHED_DATABASE_URL"], folder / "database_password")
    monitor = PerformanceMonitor(address, reports_dir=folder)
    desk = alert_desk(monitor, Settings(home=folder, alert_webhooks=channel))
    try:
        with _clients(stack) as seen, progress_bar("rounds", "round") as progress:
            progress(0, options.rounds)
            for number in range(options.rounds):
                _wait_until_steady(stack, seen)
                time.sleep(STEADY_S + chance.random())
                messages = [f"round {number}, message {each}" for each in range(N_MESSAGES)]
                posted = threading.Thread(target=_post, args=(partial(desk.tell, severity="info"), messages, told))
                posted.start()
                rounds.append(_round(KINDS[number % len(KINDS)], stack, seen, chance))
                posted.join()
                progress(number + 1, options.rounds)
            _wait_until_steady(stack, seen)
        stored = Counter(monitor.get_performance_data(columns=("request_id",))["request_id"])
    finally:
        monitor.close()
    return rounds, seen, told, stored


def _round(kind: str, stack: Stack, seen: Seen, chance: random.Random) -> Round:
    """Kill one part, wait until clients are served and the lease is held, and replace the part."""
    holder, before = _holder(stack), _takeovers(stack)
    victim = holder if kind == "leaseholder" else chance.choice([n for n in range(N_REPLICAS) if n != holder])
    began_s = time.monotonic()
    if kind == "primary":
        stack.database.stop(signal.SIGKILL)
        time.sleep(PROMOTED_AFTER_S)
        stack.promote_standby()
    else:
        stack.kill_replica(victim)
    taken_over_s = None
    if kind == "leaseholder":
        until(lambda: _takeovers(stack) > before, "another holder of the lease")
        taken_over_s = time.monotonic() - began_s
    until(lambda: any(each > began_s + 1.0 for each in tuple(seen.answered_s)), "an answered run")
    if kind == "primary":
        stack.replace_primary()
    else:
        stack.start_replica(victim)
    _wait_until_steady(stack, seen)
    return Round(kind, seen.longest_gap_s(began_s), taken_over_s)


def _takeovers(stack: Stack) -> int:
    return sum(_lines_of_lease(each.output) for each in stack.replicas)


def _lines_of_lease(output: Path) -> int:
    return len(re.findall(rf"process \d+ holds the lease {LEASE}", output.read_text(errors="replace")))


def _holder(stack: Stack) -> int:
    """The number of the replica that holds the lease: of those whose log says so, the one with the latest line."""
    latest: list[tuple[str, int]] = []
    for number, each in enumerate(stack.replicas):
        found = re.findall(rf'"time": "([^"]+)".*holds the lease {LEASE}', each.output.read_text(errors="replace"))
        latest += [(time_, number) for time_ in found]
    return max(latest)[1]


def _wait_until_steady(stack: Stack, seen: Seen) -> None:
    """Wait until all replicas are ready and answer: the first check for alerts, which imports pandas, is a pause."""
    until(lambda: all(_is_ready(each.url, stack) for each in stack.replicas), "all replicas to be ready")
    until(lambda: _takeovers(stack) > 0, "a holder of the lease")
    until(lambda: seen.is_calm(time.monotonic()), "clients to be answered without a pause")


def _is_ready(url: str, stack: Stack) -> bool:
    with suppress(requests.RequestException):
        return requests.get(f"{url}/health/ready", headers=stack.headers, timeout=10).status_code == 200
    return False


def _post(tell: Callable[[str], bool], messages: Sequence[str], told: list[str]) -> None:
    """Post messages for the replicas to send, some before, during and after the kill; only those that were stored."""
    for message in messages:
        with suppress(ServiceError):
            if tell(message):
                told.append(message)
        time.sleep(0.3)


@contextmanager
def _clients(stack: Stack) -> Iterator[Seen]:
    """Clients that send runs through the front for the length of the block, each with a connection of its own."""
    seen, is_over = Seen(), threading.Event()

    def call(client: int) -> None:
        chance = random.Random(client)
        with requests.Session() as session:
            session.headers.update(stack.headers)
            while not is_over.wait(PAUSE_S):
                body = {"params": [round(chance.uniform(2.0, 20.0), 2) for _ in range(15)], "time_budget_ms": 0}
                try:
                    answer = session.post(f"{stack.front.url}/run_algorithm", json=body, timeout=60)
                except requests.RequestException as err:
                    seen.statuses[type(err).__name__] += 1
                    continue
                seen.statuses[str(answer.status_code)] += 1
                if answer.status_code == 200:
                    seen.acknowledged.append(answer.json()["request_id"])
                    seen.answered_s.append(time.monotonic())

    threads = [threading.Thread(target=call, args=(number,)) for number in range(N_CLIENTS)]
    for thread in threads:
        thread.start()
    try:
        yield seen
    finally:
        is_over.set()
        for thread in threads:
            thread.join()


def _text(rounds: Sequence[Round], figures: dict[str, object]) -> str:
    rows = []
    for kind in KINDS:
        mine = [each for each in rounds if each.kind == kind]
        takeovers = [each.taken_over_s for each in mine if each.taken_over_s is not None]
        gap_s = f"{max(each.longest_gap_s for each in mine):.2f}" if mine else ""
        rows.append((kind, len(mine), gap_s, f"{max(takeovers):.2f}" if takeovers else ""))
    header = ("killed", "rounds", "longest time without an answered run, s", "lease taken over after, s, at most")
    return "\n".join(
        [
            "# Replicas",
            "",
            f"{N_REPLICAS} replicas, two PostgreSQL servers with synchronous replication, {N_CLIENTS} clients through "
            f"HAProxy. The standby is promoted {PROMOTED_AFTER_S:g} s after the primary was killed.",
            "",
            markdown_table(header, rows),
            "",
            f"{figures['acknowledged']} runs were answered with 200; {figures['lost']} of them are lost, "
            f"{figures['doubled']} recorded twice. Answers by status: {figures['statuses']}.",
            f"Of {figures['messages']} messages to an alert channel, {figures['told_once']} were told once, "
            f"{figures['told_more_often']} more often.",
        ]
    )


if __name__ == "__main__":
    sys.exit(main())
