"""A version of a plan: a request and its schedule, who made it and why. Versions never change."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, get_args

from scheduler_env.readers import instance_from_request
from scheduler_env.schedule import Schedule

Kind = Literal["created", "progress", "replan"]
KINDS: tuple[Kind, ...] = get_args(Kind)
NEEDS_PUBLISHED = ("frozen_hours", "stability_tolerance_h")
"""Members of a request that have no meaning without a published plan."""

Request = Mapping[str, Any]
"""As `POST /run_algorithm` takes it, without `published`."""


@dataclass(frozen=True, slots=True)
class ScopeChange:
    """A step that was added or cancelled."""

    id: str
    name: str
    workpoint_id: str
    team: str
    reason: str


@dataclass(frozen=True, slots=True)
class Edits:
    """What a version changes besides times.

    Attributes:
        lapsed: pinned steps whose promised start has passed although they are not at work; the promise is dropped.
    """

    added: tuple[ScopeChange, ...] = ()
    cancelled: tuple[ScopeChange, ...] = ()
    lapsed: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PlanVersion:
    """A version of a plan.

    Attributes:
        number: 1 for the first one.
        by: who made it; "" if nobody said so.
        based_on: the version that it was made from; None for the first one.
        published: the version that people held when it was made; None if none was published.
        digest: of the change that made it, so that a repeated change is recognised.
        request: complete; each fact has its crew.
        placements: of its schedule, see `scheduler_env.placements`.
        request_id: of the run that built it.
    """

    plan: str
    number: int
    kind: Kind
    by: str
    reason: str
    based_on: int | None
    published: int | None
    digest: str
    request: Request
    placements: bytes
    makespan_h: float
    lower_bound_h: float
    n_steps: int
    model_key: str | None
    request_id: str | None
    edits: Edits = field(default_factory=Edits)
    timestamp: datetime | None = None  # of the record; None: not recorded yet


def digest_of(change: Mapping[str, Any]) -> str:
    """Identifies a change: the same for the same JSON."""
    text = json.dumps(change, ensure_ascii=True, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def problem_of(request: Request, held: PlanVersion | None) -> dict[str, Any]:
    """The problem of a version, for `scheduler_env.readers`.

    Args:
        held: the version that people have in hand; None if there is none.
    """
    if held is None:
        return {name: value for name, value in request.items() if name not in NEEDS_PUBLISHED}
    return {**request, "published": placements_of(schedule_of(held))}


def schedule_of(version: PlanVersion, held: PlanVersion | None = None) -> Schedule:
    """The schedule of a version.

    Args:
        held: the version that people had in hand when it was made; without it, the schedule tells of no shifts.

    Raises:
        InvalidInstance, InvalidSchedule: the record is damaged, or of a later version of the program.
    """
    from scheduler_env.placements import unpacked  # imports numpy, which is slow

    return unpacked(instance_from_request(problem_of(version.request, held)), version.placements)


def placements_of(schedule: Schedule) -> dict[str, dict[str, Any]]:
    """Start and crew of each step by its id, as a request's `published`."""
    return {placed.step.id: {"start": max(0.0, placed.start_h), "workers": placed.crew} for placed in schedule.steps}
