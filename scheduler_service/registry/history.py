"""The registry's append-only history, `history.jsonl`, with one line per change."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any, Literal

from scheduler_service.clock import parse_time
from scheduler_service.jsonlines import check_types
from scheduler_service.registry.names import STABLE, Version, parse_versioned
from scheduler_service.words import Message

EventKind = Literal[
    "registered", "promoted", "tagged", "untagged", "rolled_back", "made_default", "deleted", "refused", "mended"
]


@dataclass(frozen=True, slots=True)
class ChangedValues:
    """Status of models and targets of tags before or after a change; None for one that does not exist."""

    status: Mapping[str, str | None]
    tags: Mapping[str, str | None]


@dataclass(frozen=True, slots=True)
class Event:
    """One change. Applying `after` of all events in order gives the current registry."""

    time: str  # ISO-8601, UTC
    event: EventKind
    model_key: str
    actor: str
    reason: str
    before: ChangedValues
    after: ChangedValues
    details: Mapping[str, Any] = field(default_factory=dict)  # `code` and `params`: the reason in the catalogue

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @property
    def coded_reason(self) -> list[Message]:
        """The service's reason; empty if a person wrote it."""
        code, params = self.details.get("code"), self.details.get("params")
        return [Message(f"errors.{code}", params)] if isinstance(code, str) and isinstance(params, Mapping) else []

    def concerns(self, until: datetime, algorithm: str | None, model_key: str | None) -> bool:
        """Whether it happened before `until` and concerns the given algorithm and model, if any."""
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
        """The event of a line; KeyError, TypeError or ValueError if it is not an event."""
        check_types(line, _TYPES)
        return cls(
            line["time"],
            line["event"],
            line["model_key"],
            line["actor"],
            line["reason"],
            _changed(line["before"]),
            _changed(line["after"]),
            dict(line.get("details", {})),
        )


_TYPES = {
    **dict.fromkeys(("time", "event", "model_key", "actor", "reason"), str),
    **dict.fromkeys(("before", "after"), Mapping),
}


def _changed(values: Mapping[str, Any]) -> ChangedValues:
    """The values in a line; a newer version may have written further ones."""
    for name in ("status", "tags"):
        if not all(value is None or isinstance(value, str) for value in values[name].values()):
            raise TypeError(f"{name} has another value than texts")
    return ChangedValues(values["status"], values["tags"])


def used_versions(events: Iterable[Event], algorithm: str) -> set[tuple[str, Version]]:
    """(hash of the configuration, version) of every model that the algorithm ever had."""
    used = set()
    for event in events:
        for key in event.after.status:
            name = parse_versioned(key)
            if name is not None and name.algorithm == algorithm and name.config_hash and len(name.numbers) == 3:
                used.add((name.config_hash, Version(*name.numbers)))
    return used


def previous_target(events: Iterable[Event], tag: str, existing: Collection[str]) -> str | None:
    """The model that had `tag` (`DDQN:stable`) before the current one and still exists; None without one.

    A rollback removes the model it leaves: after A, B, C and one rollback to B, the previous one is A, not C.
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
class LiveModel:
    """The model with the tag `stable`: since when, by whom and why."""

    algorithm: str
    model_key: str
    since: str  # ISO-8601, UTC
    event: EventKind
    actor: str
    reason: str
    code: str  # of the reason in the catalogue; empty if a person wrote the reason
    params: Mapping[str, Any]

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def live_at(events: Iterable[Event], moment: datetime) -> dict[str, LiveModel]:
    """Algorithm -> the stable model at `moment`, according to the history."""
    live: dict[str, LiveModel] = {}
    for event in events:
        if parse_time(event.time) > moment:
            continue  # clocks may step back, so later lines may have earlier times
        for tag, key in event.after.tags.items():
            algorithm, _, bare = tag.rpartition(":")
            if bare != STABLE:
                continue
            if key is None:
                live.pop(algorithm, None)
            elif algorithm not in live or live[algorithm].model_key != key:
                code, params = event.details.get("code", ""), event.details.get("params", {})
                live[algorithm] = LiveModel(
                    algorithm, key, event.time, event.event, event.actor, event.reason, code, params
                )
    return live


def is_cooling_down(events: Iterable[Event], algorithm: str, actor: str, since: datetime) -> bool:
    """Whether `actor` has rolled the algorithm back since `since`."""
    return any(
        event.event == "rolled_back"
        and event.actor == actor
        and f"{algorithm}:{STABLE}" in event.after.tags
        and parse_time(event.time) > since
        for event in events
    )
