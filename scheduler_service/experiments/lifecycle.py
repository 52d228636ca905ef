"""The life of an experiment: its statuses, the moves between them, and what is written of each move."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from types import MappingProxyType
from typing import Any, Literal

from scheduler_service.errors import ExperimentConflict

Status = Literal["scheduled", "active", "paused", "stopped", "completed", "concluded"]
"""`scheduled` (before its start) and `completed` (after its last day) follow from the clock."""

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
    {  # action -> (from which statuses, to which, what it is called afterwards)
        "start": (frozenset({"paused"}), "active", "started"),
        "pause": (frozenset({"scheduled", "active"}), "paused", "paused"),
        "stop": (frozenset({"scheduled", "active", "paused"}), "stopped", "stopped"),
        "conclude": (frozenset({"active", "paused", "stopped", "completed"}), "concluded", "concluded"),
    }
)
"""What may be done with an experiment. Stopped and concluded ones never run again: a new name is a fresh split."""

AUTOMATIC = ("rollout", "guardrail")
"""Actors of the history that are not people."""

OVER: frozenset[Status] = frozenset({"stopped", "completed", "concluded"})
"""The statuses of an experiment that needs its models no longer, and may be archived."""


def check_allowed(name: str, status: Status, action: str, allowed: Collection[Status]) -> None:
    """Raises ExperimentConflict if `action` does not take an experiment of this status."""
    if status not in allowed:
        raise ExperimentConflict(
            "move_of_experiment", experiment=name, status=status, action=action, allowed=sorted(allowed)
        )


@dataclass(frozen=True, slots=True)
class Transition:
    """One move of an experiment.

    `before` and `after` hold its `status`, in a rollout its `stage` (a share), and its `stopped_arms`, if it has any;
    `is_archived` is there once it is in the archive. `figures` name the `arm` that was stopped.
    """

    id: str
    time: str  # ISO-8601, UTC
    experiment: str
    event: EventKind
    actor: str  # a person, or `rollout` and `guardrail` for what the service did by itself
    reason: str  # in English, if the service decided it
    before: Mapping[str, Any]
    after: Mapping[str, Any]
    figures: Mapping[str, Any] = field(default_factory=dict)
    reason_text: Sequence[Mapping[str, Any]] = ()  # `reason` as messages, if the service decided it; JSON

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, line: Mapping[str, Any]) -> "Transition":
        """The transition of a line; KeyError or TypeError when it is none."""
        known = {"reason_text": (), **line}  # lines of earlier versions have no `reason_text`
        return cls(**{name: known[name] for name in cls.__dataclass_fields__})
