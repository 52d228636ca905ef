"""What the routes of runs take and answer."""

from typing import Annotated, Literal, NotRequired

from pydantic import Field, SkipValidation, WithJsonSchema, model_validator
from typing_extensions import TypedDict

from scheduler_env.clock_request import Calendars, ClockRequest, PlantCalendar, Start, TimeZone
from scheduler_env.problem_request import (
    CrewEfficiency,
    DataDate,
    FrozenHours,
    ObjectiveAsked,
    Params,
    Pinned,
    Progress,
    Published,
    StabilityTolerance,
    StatusRequest,
    Teams,
    WorkPoints,
)
from scheduler_env.standard_cycle import SAMPLE_PARAMS, STANDARD_STEPS
from scheduler_env.validation import WHOLE, Whole
from scheduler_service.experiments.answering import AssignmentReason
from scheduler_service.http.contract.types import (
    MAX_CHARTS,
    MAX_NAME,
    MAX_TEXT,
    Count,
    Hours,
    JsonObject,
    Moment,
    Name,
    OneLine,
    OptionalId,
    OptionalName,
    Query,
    QueryFlag,
    Seconds,
    Share,
    Strict,
    Success,
    WholeNumber,
    about,
    examples,
)

RUN_PATHS = ("/run_algorithm", "/api/algorithm/run")
STATUS_MEMBERS = tuple(StatusRequest.model_fields)
CLOCK_MEMBERS = tuple(ClockRequest.model_fields)
View = Literal["process", "workpoint", "team"]
VIEWS: tuple[View, ...] = ("process", "workpoint", "team")
AnswerReason = Literal[AssignmentReason, "fallback"]

_CHART = {"enum": ["none", *VIEWS]}
_RUN = {"params": list(SAMPLE_PARAMS), "experiment": "ddqn_v1_vs_v2", "user_id": "user_12345"}
_WORKPOINTS = {
    "workpoints": [
        {
            "id": "boiler",
            "name": "锅炉",
            "steps": [
                {"name": "搭架子", "order": 1, "team": "team1", "duration": 10},
                {"name": "焊接", "order": 2, "team": "welders", "team_size": 4, "duration": 6, "parallel": False},
            ],
        },
        {"id": "pipe"},
    ],
    "time_budget_ms": 50,
    "charts": ["team"],
}
_ONE_PROBLEM = {
    "oneOf": [
        {"required": ["params"], "properties": {"params": {"type": "array"}}},
        {"required": ["workpoints"], "properties": {"workpoints": {"type": ["array", "object"]}}},
    ]
}
TABLE = "工作点,工序,班组,工时,前置工序\r\n锅炉,除锈,team2,7,\r\n锅炉,焊接,team2,7,除锈\r\n锅炉,返修,返修,7,焊接\r\n"


# --- requests ---


class RunRequest(Strict):
    """What to schedule, where things stand, and who asks.

    The problem itself is validated by `scheduler_env.readers`, on a thread.
    """

    model_config = examples(_RUN, _WORKPOINTS, **_ONE_PROBLEM)

    params: SkipValidation[Params | None] = None
    workpoints: SkipValidation[WorkPoints | None] = None
    teams: SkipValidation[Teams | None] = None
    crew_efficiency: SkipValidation[CrewEfficiency | None] = None
    start: SkipValidation[Start | None] = None
    time_zone: SkipValidation[TimeZone | None] = None
    calendars: SkipValidation[Calendars | None] = None
    calendar: SkipValidation[PlantCalendar | None] = None
    objective: SkipValidation[ObjectiveAsked | None] = None
    data_date: SkipValidation[DataDate | None] = None
    progress: SkipValidation[Progress | None] = None
    pinned: SkipValidation[Pinned | None] = None
    published: SkipValidation[Published | None] = None
    frozen_hours: SkipValidation[FrozenHours | None] = None
    stability_tolerance_h: SkipValidation[StabilityTolerance | None] = None
    experiment: OptionalName = None
    user_id: OptionalId = None
    model: OptionalName = Field(default=None, description="Pins a model: key, short name or tag; no experiment.")
    algorithm: OptionalName = Field(default=None, description="Its stable model answers where no experiment decides.")
    time_budget_ms: Annotated[int, Field(ge=0), WHOLE] | None = Field(
        default=None, description="Improve the schedule for so long. Left out: as long as the model does by default."
    )
    seed: Annotated[int, Field(ge=0, lt=2**31), WHOLE] | None = Field(
        default=None, description="Of the search's random choices, 0 by default: others show how far schedules scatter."
    )
    charts: Annotated[
        Literal["none"] | View | list[Literal["none"] | View],
        WithJsonSchema(
            {
                "anyOf": [_CHART, {"type": "array", "items": _CHART, "maxItems": MAX_CHARTS}, {"type": "null"}],
                "description": "Pictures wanted.",
            }
        ),
    ] = Field(default="none")
    chart_format: Annotated[Literal["png", "svg"], WithJsonSchema({"enum": ["png", "svg", None]})] = Field(
        default="png"
    )

    @model_validator(mode="before")
    @classmethod
    def _drop_nulls(cls, value: object) -> object:
        return {key: entry for key, entry in value.items() if entry is not None} if isinstance(value, dict) else value

    @property
    def problem(self) -> dict[str, object]:
        """What `scheduler_env.readers.instance_from_request` reads."""
        members = ("params", "workpoints", "teams", "crew_efficiency", "objective", *CLOCK_MEMBERS, *STATUS_MEMBERS)
        return {name: value for name in members if (value := getattr(self, name)) is not None}

    @property
    def size(self) -> int:
        """Steps that are to be scheduled, as far as one can tell before they are read."""
        workpoints = self.workpoints
        if isinstance(workpoints, dict):
            workpoints = list(workpoints.values())
        if not isinstance(workpoints, list):
            return len(STANDARD_STEPS)
        steps = (each.get("steps") if isinstance(each, dict) else None for each in workpoints)
        return sum(len(each) if isinstance(each, list) else len(STANDARD_STEPS) for each in steps)

    @property
    def views(self) -> tuple[View, ...]:
        """The charts asked for, each once."""
        asked = self.charts if isinstance(self.charts, list) else [self.charts]
        return tuple(view for view in VIEWS if view in asked)


class FeedbackRequest(Strict):
    """A person's verdict on a run."""

    model_config = examples({"request_id": "0d2d4c3e-7f0b-4a52-8a52-9f2f8d1c7b11", "user_satisfaction": 5})

    request_id: Name
    user_satisfaction: Whole = Field(ge=1, le=5)
    comment: Annotated[str, Field(max_length=MAX_TEXT)] | None = None


class NameRequest(Strict):
    """What a run is called, and whose it is."""

    model_config = examples({"name": "2 号锅炉 十二月检修", "owner": "张工"})

    name: OneLine = None
    owner: OneLine = None


class ReadQuery(Query):
    """How a file is read."""

    fill_down: QueryFlag = Field(
        default=False, description="true: a blank workpoint_id of a CSV is that of the line above."
    )
    teams: Annotated[str | None, about("JSON, as in a run's body: the plant that a file without teams is for.")] = None


class RunFilter(Query):
    """Which runs are asked about, by names that stand for something."""

    model_key: Annotated[str | None, about("Only what concerns this model's key.")] = None
    experiment: Annotated[str | None, about("Only runs of this experiment.")] = None


class RunsQuery(RunFilter):
    """Which runs are listed."""

    limit: WholeNumber = Field(default=50, ge=1, le=1_000, description="So many at most.")
    before: WholeNumber = Field(
        default=0, ge=0, le=2**63 - 1, description="Only runs recorded before the one of this id: `next` of an answer."
    )
    search: str = Field(
        default="", max_length=MAX_NAME, description="Words of name and owner, or a request id from its start."
    )
    without_experiments: QueryFlag = Field(default=False, description="true: only runs that no experiment assigned.")


# --- answers ---


class ScheduledStep(TypedDict):
    """When a step is done, and by how many people."""

    id: Annotated[str, about("<work point>.<step>.")]
    name: str
    workpoint_id: str
    workpoint_name: str
    team: str
    order: int | None
    workers: Annotated[int, Field(ge=1, description="People at work on it.")]
    start: Annotated[float, about("Hours after the start of the shutdown.")]
    end: Annotated[float, about("Hours after the start of the shutdown.")]
    start_at: NotRequired[Annotated[str | None, about("Its time, if the request has a start; null: after 9999.")]]
    end_at: NotRequired[Annotated[str | None, about("Its time, as start_at.")]]
    critical: Annotated[bool, about("Delayed, it delays the makespan: it lies on a critical sequence.")]
    status: NotRequired[
        Annotated[Literal["done", "running", "planned"], about("If the request says where things stand.")]
    ]
    published_start: NotRequired[
        Annotated[float | None, about("Hours; null: the published plan does not have the step.")]
    ]
    shift: NotRequired[Annotated[float | None, about("start - published_start, hours.")]]


class Changes(TypedDict):
    """What differs from the published plan, of the steps that are not yet started."""

    moved: Annotated[Count, about("Steps that start at another time.")]
    crews_changed: Annotated[Count, about("Steps with another number of people.")]
    total_shift: Annotated[float, about("Sum of the absolute shifts, hours.")]


class Warned(TypedDict):
    """A contradiction in what was reported; the plan is made in spite of it."""

    loc: Annotated[list[str | int], about("Its path in the request.")]
    code: str
    params: Annotated[JsonObject, about("What the text is made of.")]
    msg: str


class Dates(TypedDict):
    """When a work point ends, and when it should."""

    workpoint_id: str
    end: Annotated[float, about("Hours after the start of the shutdown.")]
    due: Annotated[float | None, about("Hours; null: it is never late.")]
    weight: Annotated[float, about("Of each hour of its tardiness.")]
    tardiness: Annotated[float, about("Hours by which it ends after due, at least 0.")]
    deadline: Annotated[float | None, about("Hours; null: it has none.")]


Presence = TypedDict("Presence", {"from": float, "to": float, "people": int})
Presence.__doc__ = "How many people are there from one hour to another."


class RunSchedule(TypedDict):
    """Who does what when, as POST /run_algorithm answered it."""

    team_utilization: Annotated[
        dict[str, Share],
        about("Crew-hours at work over headcount times makespan, of each team; over the hours of the people there."),
    ]
    team_headcount: Annotated[dict[str, Count], about("People of each team that the instance uses.")]
    team_availability: NotRequired[
        Annotated[
            dict[str, Count | list[Presence]],
            about("As asked for: the people there, of the teams for which it was said."),
        ]
    ]
    hours_at_work: NotRequired[
        Annotated[float, about("Hours of the plant's calendar until the end of the last step, if it has one.")]
    ]
    schedule_details: list[ScheduledStep]
    objective: NotRequired[
        Annotated[Literal["makespan", "weighted_tardiness"], about("What was to be least; if a work point has dates.")]
    ]
    weighted_tardiness: NotRequired[
        Annotated[float, about("Sum of weight x hours after due of the work points; if one has dates.")]
    ]
    missed_deadlines: NotRequired[
        Annotated[list[str], about("Ids of the work points that end after their deadlines; if one has dates.")]
    ]
    dates: NotRequired[Annotated[list[Dates], about("Of the work points with due or deadline.")]]
    data_date: NotRequired[
        Annotated[float, about("As asked for, if the request says where things stand; 0 by default.")]
    ]
    warnings: NotRequired[Annotated[list[Warned], about("Contradictions of what was reported, 100 at most.")]]
    changes: NotRequired[Annotated[Changes, about("If a published plan was given.")]]
    unpinned: NotRequired[
        Annotated[list[str], about("Steps within frozen_hours that could not be kept as published; as changes.")]
    ]


class ModelInfo(TypedDict):
    """The model that answered."""

    model_key: str
    algorithm: str
    version: str


class RunResult(RunSchedule):
    """A schedule, and how good it is."""

    makespan: Annotated[float, about("End of the last step, in hours after the start of the shutdown.")]
    lower_bound: Annotated[
        float, about("Hours; no schedule is shorter. With objective weighted_tardiness: no schedule has less of it.")
    ]
    gap: Annotated[
        float | None,
        about(
            "Share of the bound by which the schedule is longer: makespan / lower_bound - 1. With objective "
            "weighted_tardiness that of the tardiness; null if its bound is 0 and it is not."
        ),
    ]
    resource_utilization: Annotated[Share, about("Crew-hours at work over headcount times makespan, of the plant.")]
    gantt_charts: Annotated[dict[str, str], about("Pictures in base64 by view, as asked for with charts.")]
    model_info: ModelInfo
    plot_image: NotRequired[Annotated[str, about("The first of gantt_charts.")]]
    stage: NotRequired[
        Annotated[
            str,
            about(
                "What found the schedule: greedy (the model's own), exact (its parts, all of them proved), parts (not "
                "all), a priority rule such as MWKR, sampling, resampling, annealing, genetic, cpsat. Requests with "
                "releases or with people who come and go are answered without the agent."
            ),
        ]
    ]
    evaluations: NotRequired[Annotated[Count, about("How many schedules were built for it.")]]
    search_cut_short: NotRequired[
        Annotated[
            bool,
            about("true: the service was busy, or time_budget_ms is short for such an instance; more time may help."),
        ]
    ]


class RunFigures(TypedDict):
    """What a run is measured by."""

    makespan: Hours
    policy_makespan: Annotated[float, about("Hours; of the model's own schedule, before any search or proof.")]
    execution_time: Annotated[float, about("Seconds that building and checking took.")]
    resource_utilization: Share


class ExperimentInfo(TypedDict):
    """Why this model answered."""

    experiment: str | None
    variant: str | None
    model_used: str
    user_id: Annotated[str, about("The unit of assignment; the request's own id where nobody was named.")]
    user_id_generated: bool
    reason: AnswerReason


class RunAnswer(Success):
    """A schedule, and who made it."""

    result: RunResult
    performance: RunFigures
    experiment_info: ExperimentInfo
    request_id: Annotated[str, about("What POST /feedback asks for.")]
    cached: NotRequired[Annotated[bool, about("true: the schedule was computed for an identical request before.")]]


class RecordedRun(TypedDict):
    """A run on record; what does not concern it is null."""

    id: Annotated[Count, about("Rises with each record; what `before` takes.")]
    request_id: str
    timestamp: Moment
    success: bool
    n_workpoints: Count | None
    n_steps: Count | None
    model_key: str | None
    algorithm: str | None
    experiment: str | None
    variant: str | None
    reason: str | None
    user_id: str | None
    makespan: Hours | None
    policy_makespan: Hours | None
    lower_bound: Hours | None
    gap: float | None
    resource_utilization: float | None
    execution_time: Seconds | None
    time_budget_ms: float | None
    stage: str | None
    error_message: str | None
    comment: str | None
    name: str | None
    owner: str | None
    split: Annotated[str | None, about("Shares of the arms that it was assigned under, 0.9/0.1; null: not assigned.")]
    user_satisfaction: Annotated[int, Field(ge=1, le=5)] | None


class RunsAnswer(Success):
    """A page of recorded runs."""

    runs: list[RecordedRun]
    next: Annotated[Count | None, about("What `before` takes for the next page; null: this is the last one.")]


class RunRecordAnswer(Success):
    """A recorded run with its schedule."""

    run: RecordedRun
    input: Annotated[JsonObject | None, about("As POST /run_algorithm took it.")]
    schedule: Annotated[RunSchedule | None, about("null: it failed, or was recorded before schedules were kept.")]


class Finding(TypedDict):
    """What was read otherwise than it is written."""

    loc: Annotated[
        list[str | int],
        about("line, its number and the column, of CSV; the path of JSON; nothing for the whole file."),
    ]
    code: Literal["team_read_as", "filled_down"]
    params: Annotated[JsonObject, about("What the text is made of.")]
    msg: str
    source: NotRequired[Annotated[str, about("The line, its cells separated by commas.")]]


class ReadAnswer(Success):
    """The request that a file describes."""

    request: Annotated[
        JsonObject, about("As POST /run_algorithm takes it, with nothing added that the file does not say.")
    ]
    n_workpoints: Count
    n_steps: Count
    findings: list[Finding]


class NamedAnswer(Success):
    """What a run is called now."""

    request_id: str
    name: str | None
    owner: str | None


class FeedbackAnswer(Success):
    """A verdict that was recorded."""

    request_id: str
    message: str


class RunLogAnswer(Success):
    """What the log says of a run."""

    request_id: str
    lines: Annotated[list[str], about("As they were written, without secrets; a trace's lines belong to its first.")]
    command: Annotated[
        str,
        about("For a shell in SCHED_HOME; no use with SCHED_LOG_TO=stdout."),
    ]
