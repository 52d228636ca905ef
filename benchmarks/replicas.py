"""Replicas over PostgreSQL behind HAProxy while parts of them are killed: what is lost, doubled, or told twice.

    python -m benchmarks.replicas               20 rounds, about fifteen minutes
    python -m benchmarks.replicas --rounds 6 --dry

Three replicas, two PostgreSQL servers with synchronous replication, clients through the real HAProxy; all are real
processes. All the time, models and experiments are promoted, moved and edited. Each round ends one process with
`kill -9`, see `KINDS`. Writes results/replicas.{md,json}; ends with 1 if an acknowledged run was lost or doubled, a
message was not told once, or models, experiments, ramps or replays are not as they must be.
"""

import argparse
import json
import random
import re
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass, field
from functools import partial
from itertools import count, pairwise
from pathlib import Path
from typing import Any

import requests

from benchmarks.machine import markdown_table, write_results
from benchmarks.replicas_changes import (
    OUTCOMES,
    STANDING,
    V1,
    V2,
    Changes,
    create,
    faults_in,
    mover,
    prepare,
    promote_until_killed,
    ramp_steps,
    read,
    seen_everywhere,
    slowest,
)
from monitoring import PerformanceMonitor, alert_desk
from scheduler_service.command_line import progress_bar
from scheduler_service.database_url import parse_database_url
from scheduler_service.errors import ServiceError
from scheduler_service.postgresql.slices import PREFIX
from scheduler_service.settings import Settings
from tests.receiver import Receiver
from tests.stack import Stack, running_stack
from tests.waiting import until

N_REPLICAS, N_CLIENTS, N_MESSAGES = 3, 4, 10
KINDS = {
    "replica": "a replica",
    "leaseholder": "the replica that holds the lease of the experiments",
    "primary": "the primary; its standby is promoted",
    "ramp": "the leaseholder in the middle of a ramp",
    "promotion": "a replica in the middle of promotions",
    "replay": "a replica that computes a replay",
}
STAGES = [0.1, 0.2, 0.35, 0.5, 1.0]
RAMP = {"stages": STAGES, "min_samples": 5, "min_hours": 0, "promote_on": "non_inferior"}
RAMP_MARGIN = 0.5  # soon kept with confidence: what is measured is the ramp, not the models
REPLAYED, REPLAY_BUDGET_MS = 300, 20.0
LEASE = "experiments.lease"
STEADY_S, PAUSE_S = 2.0, 0.01
CALM_S, CALM_GAP_S = 5.0, 1.0
PROMOTED_AFTER_S = 0.3  # how soon the operator's script notices the loss of the primary
SETTINGS = {"SCHED_ALERT_EVERY_S": "1", "SCHED_RATE_LIMIT": "0"}  # all clients have the same key


@dataclass
class Seen:
    """What the clients saw; shared by their threads."""

    answered_s: list[float] = field(default_factory=list)  # time.monotonic of each 200
    acknowledged: list[str] = field(default_factory=list)
    statuses: Counter[str] = field(default_factory=Counter)
    experiment: str | None = None  # that the clients' users take part in

    def longest_gap_s(self, since_s: float) -> tuple[float, float]:
        """The longest time since then without any answered run, and how long after `since_s` it began."""
        times = [since_s, *sorted(each for each in self.answered_s if each > since_s)]
        return max(((after - before, before - since_s) for before, after in pairwise(times)), default=(0.0, 0.0))

    def is_calm(self, now_s: float) -> bool:
        """Whether in the last seconds no time without an answered run was longer than `CALM_GAP_S`."""
        times = [now_s - CALM_S, *(each for each in tuple(self.answered_s) if each > now_s - CALM_S), now_s]
        return max(after - before for before, after in pairwise(times)) < CALM_GAP_S


@dataclass(frozen=True, slots=True)
class Round:
    """What one kill cost."""

    kind: str
    longest_gap_s: float
    gap_after_s: float  # from the kill until that gap began
    taken_over_s: float | None  # until another replica held the lease; None: its holder lived on
    at_s: float  # time.monotonic of the kill
    faults: tuple[str, ...] = ()  # of the ramp or the replay


@dataclass
class Drill:
    """What the rounds work on."""

    stack: Stack
    seen: Seen
    changes: Changes
    lock: threading.Lock  # held: no other changes are made
    chance: random.Random


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; see the module's docstring."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.replicas", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=20, help="(default: %(default)d)")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS), help="in turn; all by default")
    parser.add_argument("--seed", type=int, default=0, help="of what is killed when (default: %(default)d)")
    parser.add_argument("--dry", action="store_true", help="print only; do not change benchmarks/results/")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="replicas-") as folder, Receiver() as receiver:
        channel = f"json={receiver.url}"
        settings = SETTINGS | {"SCHED_ALERT_WEBHOOKS": channel}
        with running_stack(Path(folder), replicas=N_REPLICAS, has_standby=True, settings=settings) as stack:
            figures, told = _measure(stack, Path(folder), channel, options)
            until(lambda: len({each["message"] for each in receiver.got if each.get("message") in told}) == len(told))
            got = list(zip(receiver.got, receiver.headers, strict=False))
            heard = Counter(each["message"] for each, _ in got if each.get("message") in told)
            letters = {(each["message"], headers["idempotency-key"]) for each, headers in got if "message" in each}
            alerts = Counter(json.dumps(each, sort_keys=True) for each in receiver.got if "message" not in each)
    figures |= {
        "messages": len(told),
        "told_once": sum(count == 1 for count in heard.values()),
        "told_more_often": sum(count > 1 for count in heard.values()),
        "told_with_another_key": sum(count > 1 for count in Counter(message for message, _ in letters).values()),
        "alerts": len(alerts),
        "alerts_told_more_often": sum(count > 1 for count in alerts.values()),
    }
    text = _text(figures)
    if not options.dry:
        command = "python -m benchmarks.replicas " + " ".join(sys.argv[1:] if arguments is None else arguments)
        write_results("replicas", command.strip(), text, figures)
    print(text)
    is_wrong = figures["lost"] or figures["doubled"] or any(figures["faults"].values()) or len(heard) < len(told)
    return int(bool(is_wrong or figures["told_with_another_key"]))


def _measure(stack: Stack, folder: Path, channel: str, options: argparse.Namespace) -> tuple[dict[str, Any], list[str]]:
    """(figures, the posted messages)."""
    chance, rounds, told = random.Random(options.seed), list[Round](), list[str]()
    address = parse_database_url(stack.environment["SCHED_DATABASE_URL"], folder / "database_password")
    monitor = PerformanceMonitor(address, reports_dir=folder)
    desk = alert_desk(monitor, Settings(home=folder, alert_webhooks=channel))
    try:
        changes = prepare(stack)
        with _clients(stack) as seen, mover(changes, address, folder) as lock, progress_bar("rounds", "round") as bar:
            drill = Drill(stack, seen, changes, lock, chance)
            bar(0, options.rounds)
            for number in range(options.rounds):
                _wait_until_steady(stack, seen)
                time.sleep(STEADY_S + chance.random())
                messages = [f"round {number}, message {each}" for each in range(N_MESSAGES)]
                posted = threading.Thread(target=_post, args=(partial(desk.tell, severity="info"), messages, told))
                posted.start()
                rounds.append(_round(options.kinds[number % len(options.kinds)], number, drill))
                posted.join()
                bar(number + 1, options.rounds)
            _wait_until_steady(stack, seen)
        stored = Counter(monitor.get_performance_data(columns=("request_id",))["request_id"])
    finally:
        monitor.close()
    faults = faults_in(changes, address, folder)
    faults["ramps and replays"] = [f"{each.kind}: {fault}" for each in rounds for fault in each.faults]
    return {
        "rounds": [asdict(each) for each in rounds],
        "acknowledged": len(seen.acknowledged),
        "lost": len(set(seen.acknowledged) - set(stored)),
        "doubled": sum(stored[each] > 1 for each in seen.acknowledged),
        "statuses": dict(seen.statuses),
        "changes": {outcome: sum(each.outcome == outcome for each in changes.made) for outcome in OUTCOMES},
        "seen_everywhere": seen_everywhere(changes.made),
        "seen": [
            (each.kind, each.at_s, each.seen_s, each.slowest_s) for each in changes.made if each.seen_s is not None
        ],
        "slowest": slowest(changes.made, [(each.at_s, each.kind) for each in rounds]),
        "faults": faults,
    }, told


def _round(kind: str, number: int, drill: Drill) -> Round:
    """Kill one process, wait until clients are served and the lease is held, and replace it."""
    stack, seen, chance = drill.stack, drill.seen, drill.chance
    with ExitStack() as held:
        if kind in ("ramp", "promotion", "replay"):  # otherwise, the default model would be another one in between
            held.enter_context(drill.lock)
        check = _ramp(drill, number) if kind == "ramp" else _replay(drill, number) if kind == "replay" else list
        holder, before = _holder(stack), _takeovers(stack)
        others = [n for n in range(N_REPLICAS) if n != holder]
        victim = holder if kind in ("leaseholder", "ramp") else chance.choice(others)
        promoting = threading.Thread(target=promote_until_killed, args=(drill.changes, victim, number))
        if kind == "promotion":
            promoting.start()
            time.sleep(1.0 + chance.random())
        began_s = time.monotonic()
        if kind == "primary":
            stack.database.stop(signal.SIGKILL)
            time.sleep(PROMOTED_AFTER_S)
            stack.promote_standby()
        else:
            stack.kill_replica(victim)
        if kind == "promotion":
            promoting.join()
        taken_over_s = None
        if victim == holder:
            until(lambda: _takeovers(stack) > before, "another holder of the lease")
            taken_over_s = time.monotonic() - began_s
        until(lambda: any(each > began_s + 1.0 for each in tuple(seen.answered_s)), "an answered run")
        faults = check()
        if kind == "primary":
            stack.replace_primary()
        else:
            stack.start_replica(victim)
    _wait_until_steady(stack, seen)
    return Round(kind, *seen.longest_gap_s(began_s), taken_over_s, began_s, tuple(faults))


def _ramp(drill: Drill, number: int) -> Callable[[], Sequence[str]]:
    """Start a ramp and wait for its first step; the result waits for its end, and returns what is wrong with it."""
    stack, name = drill.stack, f"ramp-{number}"
    if drill.changes.candidate()[1] == drill.changes.keys[V1]:  # the candidate has to be the better model
        until(lambda: drill.changes.make_default(V1), "the other default model")
    assert create(stack, name, V1, V2, rollout=RAMP, margin=RAMP_MARGIN, shadow=0.0)
    drill.seen.experiment = name
    until(lambda: len(ramp_steps(stack, name)) > 1, "the first step of the ramp")
    time.sleep(drill.chance.random())

    def check() -> Sequence[str]:
        last = ("promoted", STAGES[-1])
        until(lambda: ramp_steps(stack, name)[-1][0] in (last[0], "aborted"), "the end of the ramp")
        drill.seen.experiment = None
        steps = ramp_steps(stack, name)
        wanted = [("created", STAGES[0]), *(("advanced", stage) for stage in STAGES[1:-1]), last]
        return [] if steps == wanted else [f"{name} went {steps}"]

    return check


def _replay(drill: Drill, number: int) -> Callable[[], Sequence[str]]:
    """Start a replay and wait until all replicas compute; the result waits for its end, and says what is wrong."""
    stack, path = drill.stack, f"/experiments/{STANDING}/replay"
    body = {"limit": REPLAYED, "seed": number, "time_budget_ms": REPLAY_BUDGET_MS}
    answer = requests.post(f"{stack.front.url}{path}", json=body, headers=stack.headers, timeout=60)
    assert answer.status_code == 202, answer.text
    id_, total = (answer.json()["replay"][name] for name in ("replay_id", "total"))
    begun = f"SELECT count(*) FROM leases WHERE starts_with(name, '{PREFIX}') AND expires > clock_timestamp()"  # noqa: S608
    until(lambda: stack.database.execute(begun)[0][0] == N_REPLICAS, "all replicas to compute")

    def check() -> Sequence[str]:
        until(lambda: read(stack, path)["replay"]["state"] in ("done", "failed"), "the end of the replay")
        query = f"SELECT count(*), count(DISTINCT request_id) FROM pairs WHERE replay = '{id_}'"  # noqa: S608
        found = (read(stack, path)["replay"]["state"], *stack.database.execute(query)[0])
        return [] if found == ("done", total, total) else [f"of {total} requests: {found}"]

    return check


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
        chance, users = random.Random(client), count()
        with requests.Session() as session:
            session.headers.update(stack.headers)
            while not is_over.wait(PAUSE_S):
                body: dict[str, Any] = {"params": [round(chance.uniform(2.0, 20.0), 2) for _ in range(15)]}
                body |= {"time_budget_ms": 0}
                if (experiment := seen.experiment) is not None:
                    body |= {"experiment": experiment, "user_id": f"{client}-{next(users)}"}
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


def _text(figures: dict[str, Any]) -> str:
    rows = []
    for kind, what in KINDS.items():
        mine = [each for each in figures["rounds"] if each["kind"] == kind]
        takeovers = [each["taken_over_s"] for each in mine if each["taken_over_s"] is not None]
        gap_s, after_s = max(((each["longest_gap_s"], each["gap_after_s"]) for each in mine), default=(0.0, 0.0))
        rows.append((what, len(mine), f"{gap_s:.2f}", f"{after_s:.1f}", f"{max(takeovers):.2f}" if takeovers else ""))
    header = (
        "killed",
        "rounds",
        "longest time without an answered run, s",
        "which began so long after the kill, s",
        "lease taken over after, s, at most",
    )
    seen = [(kind, *values.values()) for kind, values in figures["seen_everywhere"].items()]
    changes, faults = figures["changes"], figures["faults"]
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
            f"{figures['told_more_often']} more often (a copy that was being sent when its sender was killed), "
            f"{figures['told_with_another_key']} of these with another `Idempotency-Key`; "
            f"of {figures['alerts']} notices of alerts, {figures['alerts_told_more_often']} more often.",
            "",
            "From the answer to a change until a request was sent that the last living replica answered with it, s (in "
            "brackets: from the request of the change to that answer), also during the rounds:",
            "",
            markdown_table(("change", "number", "p50", "p99", "max"), seen),
            "",
            f"The latest: {'; '.join(figures['slowest'])}.",
            "",
            f"{changes['acknowledged']} changes of models and experiments were acknowledged, {changes['refused']} "
            f"refused, {changes['unknown']} without an answer. Afterwards:",
            "",
            *(f"* {what}: {'; '.join(found) or 'none'}" for what, found in faults.items()),
        ]
    )


if __name__ == "__main__":
    sys.exit(main())
