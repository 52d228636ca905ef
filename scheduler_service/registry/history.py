"""The registry's append-only history, `history.jsonl`: one line for each change, none ever rewritten."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from scheduler_service.clock import parse_time
from scheduler_service.jsonlines import JsonLines
from scheduler_service.registry.names import STABLE, Version, parse_versioned

EventKind = Literal[
    "registered", "promoted", "tagged", "untagged", "rolled_back", "made_default", "deleted", "refused", "mended"
]


@dataclass(frozen=True, slots=True)
class State:
    """What a change touched: the status of models and the targets of tags; None where there is none."""

    status: Mapping[str, str | None]
    tags: Mapping[str, str | None]


@dataclass(frozen=True, slots=True)
class Event:
    """One change. Applying the `after` of all events in turn gives the registry of today."""

    time: str  # ISO-8601, UTC
    event: EventKind
    model_key: str
    actor: str
    reason: str
    before: State
    after: State
    details: Mapping[str, Any] = field(default_factory=dict)  # `code` and `params`: the reason in the catalogue

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    def concerns(self, until: datetime, algorithm: str | None, model_key: str | None) -> bool:
        """Whether it happened by then, and touches the algorithm and the model, if any is given."""
        if parse_time(self.time) > until:
            return False
        former = self.details.get("before") if self.event == "made_default" else None
        keys = {self.model_key, former, *self.after.status, *self.before.tags.values(), *self.after.tags.values()}
        name = parse_versioned(self.model_key)
        return (model_key is None or model_key in keys) and (
            algorithm is None or (name is not None and name.algorithm == algorithm)
        )

    @classmethod
    def from_dict(cls, line: Mapping[str, Any]) -> "Event":
        """The event of a line; KeyError or TypeError when it is none."""
        return cls(
            line["time"],
            line["event"],
            line["model_key"],
            line["actor"],
            line["reason"],
            State(**line["before"]),
            State(**line["after"]),
            line.get("details", {}),
        )


def open_history(path: Path) -> JsonLines[Event]:
    """The history in the file at `path`."""
    return JsonLines(path, Event.from_dict)


def used_versions(events: Iterable[Event], algorithm: str) -> set[tuple[str, Version]]:
    """(configuration's hash, version) of every model that the algorithm ever had."""
    used = set()
    for event in events:
        for key in event.after.status:
            name = parse_versioned(key)
            if name is not None and name.algorithm == algorithm and name.config_hash and len(name.numbers) == 3:
                used.add((name.config_hash, Version(*name.numbers)))
    return used


def previous_target(events: Iterable[Event], tag: str, existing: Collection[str]) -> str | None:
    """The model that bore `tag` (`DDQN:stable`) before the present one, and still exists; None if there is none.

    Rollbacks undo: after A, B, C and one rollback to B, the previous one is A, not C.
    """
    line: list[str] = []
    for event in events:
        target = event.after.tags.get(tag)
        if target is None:
            continue
        if event.event == "rolled_back":
            while line and line[-1] != target:
                line.pop()
        elif not line or line[-1] != target:
            line.append(target)
    return next((key for key in reversed(line[:-1]) if key in existing and key != line[-1]), None)


@dataclass(frozen=True, slots=True)
class Live:
    """The model that bore `stable`, since when, who put it there and why."""

    algorithm: str
    model_key: str
    since: str  # ISO-8601, UTC
    event: EventKind
    actor: str
    reason: str
    code: str  # of the reason in the catalogue; empty: the words of a person
    params: Mapping[str, Any]

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def live_at(events: Iterable[Event], moment: datetime) -> dict[str, Live]:
    """By algorithm, the stable model at `moment`, by what the history says."""
    live: dict[str, Live] = {}
    for event in events:
        if parse_time(event.time) > moment:
            continue  # clocks may step back, so later lines may be earlier
        for tag, key in event.after.tags.items():
            algorithm, _, bare = tag.rpartition(":")
            if bare != STABLE:
                continue
            if key is None:
                live.pop(algorithm, None)
            elif algorithm not in live or live[algorithm].model_key != key:
                code, params = event.details.get("code", ""), event.details.get("params", {})
                live[algorithm] = Live(algorithm, key, event.time, event.event, event.actor, event.reason, code, params)
    return live


def is_cooling_down(events: Iterable[Event], algorithm: str, actor: str, since: datetime) -> bool:
    """Whether `actor` rolled the algorithm back after `since`."""
    return any(
        event.event == "rolled_back"
        and event.actor == actor
        and f"{algorithm}:{STABLE}" in event.after.tags
        and parse_time(event.time) > since
        for event in events
    )
