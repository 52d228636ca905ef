"""Changes of models and experiments while replicas are killed: when each replica shows them, what the histories have.

A *change* has a reason of its own, by which it is found in the histories. It is *acknowledged* if its answer was 200,
*refused* if the service answered anything else, and else *unknown* (the connection broke, or the service says so).
"""

import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path
from typing import Any

import requests

from ab_testing import ABTestManager
from model_manager import ModelVersionManager
from scheduler_service.clock import utc_now
from scheduler_service.database_url import DatabaseUrl
from scheduler_service.errors import ServiceError
from scheduler_service.experiments.exchange import export_config, import_config
from scheduler_service.registry.fsck import fsck
from scheduler_service.registry.store import RegistryStore
from scheduler_service.store.change import Store
from scheduler_service.store.opening import store_at
from tests.stack import Stack

V1, V2 = "DDQN_v1.0", "DDQN_v2.0"
STANDING = "standing"
"""The experiment that is paused and started, and replayed."""
SEEN_WITHIN_S = 60.0
POLL_S, PAUSE_S = 0.01, 0.1
UNKNOWN = "change_outcome_unknown"
Reads = Callable[[Callable[[str], Any]], bool]
"""Whether a replica shows a change; called with a function that gets a path of that replica."""


@dataclass(frozen=True, slots=True)
class Change:
    """A change that was asked for."""

    kind: str
    reason: str
    outcome: str  # "acknowledged", "refused" or "unknown"
    seen_s: float | None = None  # from its answer until a request was sent that the last replica answered with it
    asked_s: float | None = None  # from its request until the last replica had shown it
    at_s: float = 0.0  # time.monotonic of its answer
    last: str = ""  # the replica that showed it last
    slowest_s: float = 0.0  # the longest time that replica took for one answer


@dataclass
class Changes:
    """Asks for changes, one after the other; `made` is shared by threads."""

    stack: Stack
    keys: Mapping[str, str]  # of V1 and V2
    made: list[Change] = field(default_factory=list)
    unseen: list[str] = field(default_factory=list)  # reasons of changes that a replica did not show in time
    _numbers: Iterator[int] = field(default_factory=count)

    def ask(self, kind: str, path: str, body: Mapping[str, Any], *, url: str = "", method: str = "POST") -> Change:
        """Ask for a change, at the front or at one replica, and keep what came of it."""
        reason = f"{kind} {next(self._numbers)}"
        outcome, whole = "unknown", dict(body) | {"reason": reason, "actor": "benchmark"}
        with suppress(requests.RequestException):
            address = f"{url or self.stack.front.url}{path}"
            answer = requests.request(method, address, json=whole, headers=self.stack.headers, timeout=60)
            outcome = "acknowledged" if answer.status_code == 200 else _refusal(answer)
        change = Change(kind, reason, outcome)
        self.made.append(change)
        return change

    def candidate(self) -> tuple[str, str]:
        """(default model, the other one of the two), by key."""
        default = read(self.stack, f"/experiments/{STANDING}")["default_model"]
        first, second = self.keys[V1], self.keys[V2]
        return (first, second) if default in (V1, first) else (second, first)

    def make_default(self, name: str) -> bool:
        """Make a model the default model; False if this is refused or unknown."""
        body = {"model_key": name}
        return self.ask("change of the default model", "/models/default", body, method="PUT").outcome == "acknowledged"

    def observe(self, change: Change, began_s: float, is_shown: Reads) -> None:
        """Measure when every replica that lives shows an acknowledged change.

        A request that is sent after `seen_s` sees the change; how long its answer takes is another question.
        """
        if change.outcome != "acknowledged":
            return
        answered_s, waiting, last = time.monotonic(), list(self.stack.replicas), ""
        took_s: dict[str, float] = {}
        seen_s = 0.0
        while waiting:
            if time.monotonic() > answered_s + SEEN_WITHIN_S:
                self.unseen.append(change.reason)
                return
            for each in list(waiting):
                asked_s = time.monotonic()
                is_over = each.process.poll() is not None or _shows(each.url, self.stack.headers, is_shown)
                took_s[each.url] = max(took_s.get(each.url, 0.0), time.monotonic() - asked_s)
                if is_over:
                    waiting.remove(each)
                    last, seen_s = each.url, asked_s - answered_s
            time.sleep(POLL_S)
        now_s = time.monotonic()
        seen = replace(change, seen_s=seen_s, asked_s=now_s - began_s, at_s=answered_s, last=last)
        seen = replace(seen, slowest_s=took_s.get(last, 0.0))
        self.made[self.made.index(change)] = seen


@contextmanager
def mover(changes: Changes, url: DatabaseUrl, home: Path) -> Iterator[threading.Lock]:
    """Ask for changes of all kinds in turn, through the front, while the lock that it returns is free."""
    lock, is_over = threading.Lock(), threading.Event()
    kinds = (_promote_model, _promote_arm, _move, _edit(url, home))

    def work() -> None:
        for number in count():
            for kind in kinds:
                with lock, suppress(requests.RequestException, _Unready):
                    kind(changes, number)
                if is_over.wait(PAUSE_S):
                    return

    thread = threading.Thread(target=work, name="mover")
    thread.start()
    try:
        yield lock
    finally:
        is_over.set()
        thread.join()


class _Unready(Exception):
    """The state before a change could not be read."""


def prepare(stack: Stack) -> Changes:
    """Make both models deployable, and create the standing experiment."""
    for path, body in (
        (f"/models/{V1}/promote", {"status": "validated"}),
        (f"/models/{V2}/promote", {"status": "validated"}),
        (f"/models/{V1}/promote", {"status": "deployed"}),
        (f"/models/{V2}/promote", {"status": "deployed"}),
    ):
        requests.post(f"{stack.front.url}{path}", json=body, headers=stack.headers, timeout=60)
    create(stack, STANDING, V2, V1)
    return Changes(stack, keys_of(stack))


def create(stack: Stack, name: str, model_a: str, model_b: str, url: str = "", **more: Any) -> bool:
    """Create an experiment; False if this is refused or unknown."""
    body = {"experiment_name": name, "model_a": model_a, "model_b": model_b, "guardrails": False} | more
    with suppress(requests.RequestException):
        answer = requests.post(f"{url or stack.front.url}/experiments", json=body, headers=stack.headers, timeout=60)
        return answer.status_code == 201
    return False


def read(stack: Stack, path: str, url: str = "") -> Any:
    """The JSON at a path of the front or of a replica."""
    answer = requests.get(f"{url or stack.front.url}{path}", headers=stack.headers, timeout=60)
    if answer.status_code != 200:
        raise _Unready(answer.text)
    return answer.json()


def keys_of(stack: Stack) -> dict[str, str]:
    """The keys of V1 and V2."""
    return {each: read(stack, f"/models/{each}")["model"]["model_key"] for each in (V1, V2)}


# --- the kinds ---


def _promote_model(changes: Changes, _number: int) -> None:
    """Move the tag `stable`, and with it the status."""
    (stable,) = (each["model_key"] for each in read(changes.stack, "/models?tag=stable")["models"])
    key, began_s = next(each for each in changes.keys.values() if each != stable), time.monotonic()
    change = changes.ask("promotion of a model", f"/models/{key}/promote", {"status": "deployed"})
    changes.observe(change, began_s, lambda get: "stable" in get(f"/models/{key}")["model"]["tags"])


def _promote_arm(changes: Changes, number: int) -> None:
    """Promote the candidate of an experiment: the default model, a status, a tag and two histories change."""
    name, (default, candidate) = f"mover-{number}", changes.candidate()
    if not create(changes.stack, name, default, candidate):
        return
    began_s = time.monotonic()
    change = changes.ask(f"promotion by {name}", f"/experiments/{name}/promote", {"although_worse": True})

    def is_shown(get: Callable[[str], Any]) -> bool:
        found = get(f"/experiments/{name}")
        return bool(found["experiment"]["status"] == "concluded" and found["default_model"] == candidate)

    changes.observe(change, began_s, is_shown)


def _move(changes: Changes, _number: int) -> None:
    """Pause or start the standing experiment."""
    is_active = read(changes.stack, f"/experiments/{STANDING}")["experiment"]["status"] == "active"
    action, status, began_s = ("pause", "paused") if is_active else ("start", "active"), "", time.monotonic()
    change = changes.ask("move of an experiment", f"/experiments/{STANDING}/{action[0]}", {})
    status = action[1]
    changes.observe(
        change, began_s, lambda get: bool(get(f"/experiments/{STANDING}")["experiment"]["status"] == status)
    )


def _edit(url: DatabaseUrl, home: Path) -> Callable[[Changes, int], None]:
    """`python -m ab_testing export`, an edit of the default model, and `import`, without their start-up."""

    def edit(changes: Changes, _number: int) -> None:
        file = managers(url, home)[0]._changes.file
        began_s, reason = time.monotonic(), f"edit {next(changes._numbers)}"
        outcome, key = "acknowledged", changes.candidate()[1]
        try:
            document = json.loads(export_config(file)) | {"default_model": key}
            import_config(file, json.dumps(document).encode())
        except ServiceError as err:
            outcome = "unknown" if err.code == UNKNOWN else "refused"
        change = Change("edit of the configuration", reason, outcome)
        changes.made.append(change)
        changes.observe(change, began_s, lambda get: bool(get(f"/experiments/{STANDING}")["default_model"] == key))

    return edit


def promote_until_killed(changes: Changes, victim: int, number: int) -> None:
    """Promote at one replica, in several threads, until it does not answer any more."""
    stack, url = changes.stack, changes.stack.replicas[victim].url
    is_over = threading.Event()

    def work(thread: int) -> None:
        for each in count():
            name = f"killed-{number}-{thread}-{each}"
            models = (V1, V2) if each % 2 else (V2, V1)
            if not create(stack, name, *models, url):
                break
            body = {"although_worse": True}
            if changes.ask(f"promotion by {name}", f"/experiments/{name}/promote", body, url=url).outcome == "unknown":
                break
        is_over.set()

    threads = [threading.Thread(target=work, args=(each,)) for each in range(3)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()


# --- afterwards ---


def managers(url: DatabaseUrl, home: Path) -> tuple[ABTestManager, ModelVersionManager]:
    """The experiments and models of the database, as a command line uses them."""
    store: Store = store_at(url, home)
    models = ModelVersionManager(store=store)
    return ABTestManager(registry=models, store=store), models


def faults_in(changes: Changes, url: DatabaseUrl, home: Path) -> dict[str, list[str]]:
    """What is wrong at the end, by kind; all lists are empty if all is well."""
    experiments, models = managers(url, home)
    registry = RegistryStore(models.store, "models", utc_now)
    moves, events = experiments.history.transitions(), models.history()
    noted = Counter([each.reason for each in moves] + [str(each.reason) for each in events if each.event in NOTED])
    by = {outcome: [each for each in changes.made if each.outcome == outcome] for outcome in OUTCOMES}
    in_history = [each for each in by["acknowledged"] if not each.reason.startswith("edit")]
    twice = [each.reason for each in changes.made if noted[each.reason] > 1]
    promoted = {each.experiment for each in moves if each.event == "promoted"}
    made_default = Counter(
        str(each.details.get("params", {}).get("experiment")) for each in events if each.event == "made_default"
    )
    concluded = {each.name for each in experiments.list_experiments() if each.promotion is not None}
    halves = {name for name in promoted | concluded if made_default[name] != 1 or name not in promoted & concluded}
    return {
        "acknowledged changes that the history lacks": [r.reason for r in in_history if noted[r.reason] == 0],
        "changes that the history has twice": twice,
        "refused changes that happened": [r.reason for r in by["refused"] if noted[r.reason]],
        "changes that a replica did not show": list(changes.unseen),
        "promotions that are not in all of configuration and histories": sorted(halves),
        "problems found by fsck": [f"{each.kind} {each.subject}: {each.message}" for each in fsck(registry)],
        "answers that differ between replicas": _differences(changes.stack),
    }


OUTCOMES = ("acknowledged", "refused", "unknown")
NOTED = ("promoted", "made_default")
"""Events of the registry's history that changes of their own make."""


def _differences(stack: Stack) -> list[str]:
    """The paths that replicas answer differently."""
    names = [each["name"] for each in read(stack, "/experiments")["experiments"]]
    paths = ["/models", "/models/history", "/experiments", *(f"/experiments/{name}/history" for name in names)]

    def differs(path: str) -> bool:
        return len({json.dumps(read(stack, path, each.url), sort_keys=True) for each in stack.replicas}) > 1

    return [path for path in paths if differs(path)]


def ramp_steps(stack: Stack, name: str) -> list[tuple[str, float | None]]:
    """The events of an experiment with the stage after each."""
    lines = read(stack, f"/experiments/{name}/history")["history"]
    return [(line["event"], line["after"].get("stage")) for line in lines]


def _refusal(answer: requests.Response) -> str:
    """Whether the service itself refused the change; the front's own answers say nothing of it."""
    with suppress(ValueError):
        if (code := answer.json().get("code")) is not None and code != UNKNOWN:
            return "refused"
    return "unknown"


def _shows(url: str, headers: Mapping[str, str], is_shown: Reads) -> bool:
    def get(path: str) -> Any:
        answer = requests.get(f"{url}{path}", headers=headers, timeout=60)
        answer.raise_for_status()
        return answer.json()

    with suppress(requests.RequestException):
        return is_shown(get)
    return False


def seen_everywhere(made: Sequence[Change]) -> dict[str, dict[str, Any]]:
    """Kind -> number and quantiles of the time until every replica showed it, as texts; all kinds together last."""
    seen = [each for each in made if each.seen_s is not None]
    by_kind: dict[str, list[Change]] = {}
    for each in seen:
        kind = "promotion by an experiment" if each.kind.startswith("promotion by") else each.kind
        by_kind.setdefault(kind, []).append(each)
    return {kind: _quantiles(found) for kind, found in (*sorted(by_kind.items()), ("all", seen)) if found}


def _quantiles(changes: Sequence[Change]) -> dict[str, Any]:
    after_answer = sorted(each.seen_s or 0.0 for each in changes)
    after_request = sorted(each.asked_s or 0.0 for each in changes)
    found: dict[str, Any] = {"number": len(changes)}
    for name, share in (("p50", 0.5), ("p99", 0.99), ("max", 1.0)):
        place = min(len(changes) - 1, int(share * len(changes)))
        found[name] = f"{after_answer[place]:.2f} ({after_request[place]:.2f})"
    return found


def slowest(made: Sequence[Change], kills: Sequence[tuple[float, str]]) -> list[str]:
    """The five changes that were shown latest, with what was killed last before their answer.

    Args:
        kills: (time.monotonic, kind).
    """
    ordered = sorted((each for each in made if each.seen_s is not None), key=lambda each: each.seen_s or 0.0)
    found = []
    for each in ordered[:-6:-1]:
        before = [(round(each.at_s - at_s, 1), kind) for at_s, kind in kills if at_s <= each.at_s]
        when = f"{before[-1][0]:g} s after the kill ({before[-1][1]})" if before else "before the first kill"
        what = f"last at {each.last}, whose slowest answer took {each.slowest_s:.2f} s"
        found.append(f"{each.reason}: {each.seen_s:.2f} s, {what}, {when}")
    return found
