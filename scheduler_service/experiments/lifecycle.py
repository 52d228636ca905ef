"""The statuses of an experiment, the moves between them, and the record of a move."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from types import MappingProxyType
from typing import Any, Literal

from scheduler_service.errors import ExperimentConflict
from scheduler_service.jsonlines import check_types

Status = Literal["scheduled", "active", "paused", "stopped", "completed", "concluded"]
"""`scheduled` (before the start) and `completed` (after the end) follow from the clock."""

Action = Literal["start", "pause", "stop", "conclude"]

EventKind = Literal[
    "created",
    "described",
    "started",
    "paused",
    "stopped",
    "concluded",
    "advanced",
    "arm_stopped",
    "aborted",
    "promoted",
    "reverted",
    "archived",
]

MOVES: Mapping[Action, tuple[frozenset[Status], Status, EventKind]] = MappingProxyType(
    {  # action -> (allowed statuses, new status, event in the history)
        "start": (frozenset({"paused"}), "active", "started"),
        "pause": (frozenset({"scheduled", "active"}), "paused", "paused"),
        "stop": (frozenset({"scheduled", "active", "paused"}), "stopped", "stopped"),
        "conclude": (frozenset({"active", "paused", "stopped", "completed"}), "concluded", "concluded"),
    }
)
"""Stopped and concluded experiments never run again; a new experiment with another name has a new split."""

AUTOMATIC = ("rollout", "guardrail")
"""Actors of the history that are not people."""

OVER: frozenset[Status] = frozenset({"stopped", "completed", "concluded"})
"""With these statuses, an experiment does not need its models, and may be archived."""


def check_allowed(name: str, status: Status, action: str, allowed: Collection[Status]) -> None:
    """Raise ExperimentConflict if `action` is not allowed in this status."""
    if status not in allowed:
        raise ExperimentConflict(
            "move_of_experiment", experiment=name, status=status, action=action, allowed=sorted(allowed)
        )


@dataclass(frozen=True, slots=True)
class Transition:
    """A change of an experiment.

    `before` and `after` have its `status`, the `stage` of a rollout (a share), and `stopped_arms`, if any; after
    archiving also `is_archived`. `figures` have the `arm` that was stopped.
    """

    id: str
    time: str  # ISO-8601, UTC
    experiment: str
    event: EventKind
    actor: str  # a person; `rollout` or `guardrail` for automatic changes
    reason: str  # in English, if the service decided it
    before: Mapping[str, Any]
    after: Mapping[str, Any]
    figures: Mapping[str, Any] = field(default_factory=dict)
    reason_text: Sequence[Mapping[str, Any]] = ()  # `reason` as messages, if the service decided it; JSON

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, line: Mapping[str, Any]) -> "Transition":
        """Parse a line; KeyError, TypeError or ValueError if it is invalid."""
        known = {"reason_text": (), **line}  # lines of earlier versions have no `reason_text`
        texts = dict.fromkeys(("id", "time", "experiment", "event", "actor", "reason"), str)
        maps = dict.fromkeys(("before", "after", "figures"), Mapping)
        check_types(known, {**texts, **maps, "reason_text": (list, tuple)})
        return cls(**{name: known[name] for name in cls.__dataclass_fields__})
