"""The problem of a run request as it is written: one model of a step, a work point, a team and the whole.

The readers validate with these models, and OpenAPI describes requests by them. What refers to something else in the
request, such as a predecessor or the headcount of a team, is checked by `readers` and `teams`.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SkipValidation,
    ValidationInfo,
    WithJsonSchema,
)

from scheduler_env.availability import MAX_HOUR, MAX_INTERVALS
from scheduler_env.clock import Clock, moment
from scheduler_env.errors import Loc
from scheduler_env.problem import MAX_HEADCOUNT, MAX_STEPS, Objective
from scheduler_env.standard_cycle import MAX_DURATION_H, SAMPLE_PARAMS, STANDARD_STEPS, Curve
from scheduler_env.validation import WHOLE, Whole, invalid, text_of_id
from scheduler_env.values import is_printable, shortened

MAX_NAME_LENGTH = 200
MAX_TEAMS = 200
MAX_WORKPOINTS = 200
MAX_STEPS_OF_A_WORKPOINT = 1_000
MAX_PREDECESSORS = 200
"""Per step. With the limit above it bounds the precedence graph, which grows with the square of a group."""
MAX_WEIGHT = 1_000_000.0


def _printable(text: str) -> str:
    if not is_printable(text):
        raise invalid("not_printable", limit=MAX_NAME_LENGTH)
    return text


def _one_for_each_standard_step(value: object) -> object:
    if isinstance(value, list) and len(value) != len(STANDARD_STEPS):
        raise invalid("wrong_number_of_params", n=len(value), expected=len(STANDARD_STEPS))
    return value


def _hours(value: object, info: ValidationInfo) -> object:
    """The hours from the start to a time of the clock; `info.context` is the request's `Clock`, if it has one."""
    if not isinstance(value, str):
        return value
    clock, time = info.context, moment(value)
    if not isinstance(clock, Clock):
        if time is None:
            return value  # no number
        raise invalid("time_without_start", value=shortened(value))
    if time is None:
        raise invalid("not_iso_time", value=shortened(value))
    if time.tzinfo is None:
        raise invalid("time_without_offset", value=shortened(value))
    hours = clock.hours(time)
    if hours < 0.0:
        raise invalid("time_before_start", value=shortened(value), start=clock.start.isoformat())
    return hours


Name = Annotated[str, Field(min_length=1, max_length=MAX_NAME_LENGTH), AfterValidator(_printable)]
"""One line of any script."""
Id = Annotated[
    Name,
    BeforeValidator(text_of_id),
    WithJsonSchema({"anyOf": [{"type": "string", "minLength": 1, "maxLength": MAX_NAME_LENGTH}, {"type": "integer"}]}),
]
People = Annotated[int, Field(ge=1, le=MAX_HEADCOUNT), WHOLE]
Hour = Annotated[
    float,
    Field(ge=0, le=MAX_HOUR),
    BeforeValidator(_hours),
    WithJsonSchema(
        {
            "anyOf": [{"type": "number", "minimum": 0, "maximum": MAX_HOUR}, {"type": "string", "format": "date-time"}],
            "description": "Hours after the start of the shutdown; with `start`, also a time with its offset.",
        }
    ),
]
Weight = Annotated[float, Field(gt=0, le=MAX_WEIGHT)]
NominalHours = Annotated[float, Field(gt=0, le=MAX_DURATION_H, description="Nominal hours.")]
Params = Annotated[
    list[NominalHours],
    Field(min_length=len(STANDARD_STEPS), max_length=len(STANDARD_STEPS), examples=[list(SAMPLE_PARAMS)]),
    BeforeValidator(_one_for_each_standard_step),
]


class Written(BaseModel):
    """An object of the request: strict, and an unknown field is refused. `null` counts as absent."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False)


class StepRequest(Written):
    """An inspection step."""

    name: Name
    team: Id
    duration: NominalHours
    id: Id | None = None
    order: Whole | None = None
    dedicated: bool | None = Field(default=None, description="Takes its team's whole headcount.")
    team_size: People | None = Field(default=None, description="Headcount of its team.")
    parallel: bool | None = Field(default=None, description="false: alone among the steps of its order.")
    min_crew: People | None = None
    max_crew: People | None = None
    reference_crew: People | None = Field(
        default=None, description="People who need `duration` hours. Absent: the curve's nominal hours."
    )
    release: Hour | None = Field(default=None, description="Earliest start, hours after the start of the shutdown.")
    interruptible: bool | None = Field(
        default=None, description="false: must fit into one stretch of the plant's calendar. Default: true."
    )
    exclusive: bool | None = Field(
        default=None, description="true: while it is at work, nobody else works in the zone of its work point."
    )
    predecessors: Annotated[list[Id], Field(max_length=MAX_PREDECESSORS)] | None = Field(
        default=None, description="Ids or names of steps to wait for."
    )


class WorkPointRequest(Written):
    """A work point; one without steps gets the standard cycle."""

    id: Id | None = None
    name: Name | None = None
    steps: SkipValidation[Annotated[list[StepRequest], Field(max_length=MAX_STEPS_OF_A_WORKPOINT)] | None] = None
    params: Params | None = None
    release: Hour | None = Field(default=None, description="No step of it starts earlier: handed over, gas-free.")
    due: Hour | None = Field(default=None, description="When it should end; by how much it is late is tardiness.")
    weight: Weight | None = Field(default=None, description="Of each hour of its tardiness. Default: 1.")
    deadline: Hour | None = Field(
        default=None, description="When it has to end. A plan that misses it is answered, and says so."
    )
    zone: Name | None = Field(
        default=None, description="Where it is, for exclusive steps. Absent: the work point is a zone of its own."
    )


class PresenceRequest(Written):
    """How many people of a team are there from one hour to another."""

    begin: Hour = Field(alias="from")
    to: Hour
    people: Annotated[int, Field(ge=0, le=MAX_HEADCOUNT), WHOLE]


class TeamRequest(Written):
    """A change to a team of the default plant, or a further team."""

    name: Id | None = None
    headcount: People | None = None
    dedicated: bool | None = None
    min_crew: People | None = None
    availability: SkipValidation[
        Annotated[int, Field(ge=0, le=MAX_HEADCOUNT), WHOLE]
        | Annotated[list[PresenceRequest], Field(max_length=MAX_INTERVALS)]
        | None
    ] = Field(
        default=None,
        description="People who are there, for the whole time or in intervals; outside them, the headcount. More than "
        "the headcount: more crews side by side. Durations and crews keep the headcount.",
    )


class NamedTeamRequest(TeamRequest):
    """A team of a list."""

    name: Id


WorkPoints = Annotated[
    Annotated[list[WorkPointRequest], Field(min_length=1, max_length=MAX_WORKPOINTS)]
    | Annotated[dict[Name, WorkPointRequest], Field(min_length=1, max_length=MAX_WORKPOINTS)],
    Field(description="Work points, as a list or by id; one without steps gets the standard cycle."),
]
Teams = Annotated[
    Annotated[list[NamedTeamRequest], Field(max_length=MAX_TEAMS)]
    | Annotated[dict[Name, TeamRequest], Field(max_length=MAX_TEAMS)],
    Field(description="Changes to the default plant."),
]
ObjectiveAsked = Annotated[
    Objective,
    Field(
        description="What is to be least: makespan, or weighted_tardiness, the sum of weight x hours after due of the "
        "work points, and then the makespan. Default: makespan."
    ),
]
CrewEfficiency = Annotated[Curve, Field(description="linear: a crew twice as large takes half as long.")]


class ProblemRequest(BaseModel):
    """What is to be scheduled. Work points, steps and teams are read one by one, so that every mistake is found."""

    model_config = ConfigDict(strict=True, frozen=True, allow_inf_nan=False)

    params: Params | None = None
    workpoints: SkipValidation[WorkPoints | None] = None
    teams: SkipValidation[Teams | None] = None
    crew_efficiency: CrewEfficiency | None = None
    objective: ObjectiveAsked | None = None


def steps_written(payload: Mapping[str, Any]) -> Iterator[tuple[Loc, dict[str, Any]]]:
    """The steps of a request, with their paths, before it is validated; what is no step is left out."""
    workpoints = payload.get("workpoints")
    entries: list[tuple[Any, Any]] = []
    if isinstance(workpoints, Mapping):
        entries = list(workpoints.items())
    elif isinstance(workpoints, list):
        entries = list(enumerate(workpoints))
    for key, workpoint in entries:
        steps = workpoint.get("steps") if isinstance(workpoint, Mapping) else None
        for at, step in enumerate(steps if isinstance(steps, list) else ()):
            if isinstance(step, dict):
                yield ("workpoints", key, "steps", at), step


@dataclass(frozen=True, slots=True)
class WrittenStep:
    """A step of a work point, with its defaults filled in.

    Attributes:
        loc: its path in the request.
        read: None if it has a mistake of its own. Then `id`, `name` and `team` are as far as they can be read: others
            may refer to them.
        sizes_team: whether it has a `team_size`.
        is_named: False if its id or its name cannot be read, so that others may mean it by any name.
    """

    loc: Loc
    id: str
    name: str | None
    team: str | None
    sizes_team: bool
    read: StepRequest | None
    is_named: bool = True


@dataclass(frozen=True, slots=True)
class WrittenWorkPoint:
    """A work point with its id.

    Attributes:
        loc: its path in the request.
        read: None if it has a mistake of its own, those of its steps aside.
        steps: None for the standard cycle.
        is_named: False if its id or the list of its steps cannot be read.
    """

    loc: Loc
    id: str
    read: WorkPointRequest | None
    steps: Sequence[WrittenStep] | None
    is_named: bool = True


# --- where things stand ---

MAX_STATUS_ENTRIES = MAX_STEPS
_WORKERS = "People at work. Absent: those of the published plan, or the only crew that the step can have."


class DoneRequest(Written):
    """A step that is finished."""

    status: Literal["done"]
    actual_start: Hour
    actual_finish: Hour
    workers: People | None = Field(default=None, description=_WORKERS)


class RunningRequest(Written):
    """A step that is at work."""

    status: Literal["running"]
    actual_start: Hour
    workers: People | None = Field(default=None, description=_WORKERS)
    remaining_duration: Annotated[float, Field(ge=0, le=MAX_HOUR)] | None = Field(
        default=None, description="Hours after the data date. Absent: until its planned end, at least the data date."
    )


class PinRequest(Written):
    """What is promised about a step: its start, its crew or both."""

    start: Hour | None = None
    workers: People | None = None


class PublishedRequest(Written):
    """A step of the plan that people have in hand."""

    start: Hour
    workers: People


Progress = Annotated[
    dict[Name, Annotated[DoneRequest | RunningRequest, Field(discriminator="status")]],
    Field(max_length=MAX_STATUS_ENTRIES, description="Steps that are done or at work, by id."),
]
Pinned = Annotated[
    dict[Name, PinRequest], Field(max_length=MAX_STATUS_ENTRIES, description="What is promised and kept, by step id.")
]
Published = Annotated[
    Name | dict[Name, PublishedRequest],
    Field(description="The plan that people have in hand: a recorded run's request_id, or start and workers by id."),
]


DataDate = Annotated[Hour, Field(description="Now; what is not at work starts later. Default: 0.")]
FrozenHours = Annotated[
    float,
    Field(
        ge=0,
        le=MAX_HOUR,
        description="What the published plan starts within so many hours after the data date is kept while possible.",
    ),
]
StabilityTolerance = Annotated[
    float,
    Field(
        ge=0,
        le=MAX_HOUR,
        description="The plan that moves least may end so many hours later than the shortest one. Default: 0.",
    ),
]


class StatusRequest(BaseModel):
    """Where things stand. The entries of the objects are read one by one, so that every mistake is found."""

    model_config = ConfigDict(strict=True, frozen=True, allow_inf_nan=False)

    data_date: DataDate | None = None
    progress: SkipValidation[Progress | None] = None
    pinned: SkipValidation[Pinned | None] = None
    published: SkipValidation[Published | None] = None
    frozen_hours: FrozenHours | None = None
    stability_tolerance_h: StabilityTolerance | None = None
