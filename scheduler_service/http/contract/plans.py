"""What the routes of plans take and answer."""

from typing import Annotated, Self

from pydantic import AfterValidator, Field, SkipValidation, WrapValidator, model_validator
from pydantic_core import PydanticCustomError
from typing_extensions import TypedDict

from scheduler_env.problem_request import (
    DataDate,
    FrozenHours,
    Id,
    Pinned,
    Progress,
    StabilityTolerance,
    StepRequest,
    TeamRequest,
)
from scheduler_env.problem_request import Name as EntryName
from scheduler_env.validation import WHOLE
from scheduler_env.values import is_printable
from scheduler_service.errors import invalid
from scheduler_service.http.contract.runs import RunRequest, RunSchedule
from scheduler_service.http.contract.types import (
    MAX_NAME,
    MAX_TEXT,
    Count,
    Hours,
    JsonObject,
    Moment,
    OptionalName,
    Query,
    Strict,
    Success,
    WholeNumber,
    about,
    examples,
)
from scheduler_service.plans.versions import Kind

MAX_EDITS = 1_000
MAX_VERSION = 2**31 - 1


def _usable_in_a_path(name: str) -> str:
    if not is_printable(name) or name != name.strip() or "/" in name or name in (".", ".."):
        raise invalid("plan_name_form")
    return name


def _object(value: object, _: object) -> object:
    if not isinstance(value, dict):
        raise PydanticCustomError("dict_type", "not an object")
    return value


NewPlanName = Annotated[str, Field(min_length=1, max_length=MAX_NAME), AfterValidator(_usable_in_a_path)]
PlanName = Annotated[str, Field(description="Name of the plan.", examples=["锅炉大修"])]
Version = Annotated[int, Field(ge=1, le=MAX_VERSION), WHOLE]
Reason = Annotated[str, Field(max_length=MAX_TEXT)]
Given = Annotated[str, Field(min_length=1, max_length=MAX_TEXT)]

_STEP = {"name": "射线检测 2", "team": "team4", "duration": 9, "predecessors": ["14"]}


# --- requests ---


# What refers to the clock, the teams or the steps of the plan is read with the next request, on a thread.


class Authored(Strict):
    """A change of a plan: who makes it, and why."""

    reason: Reason = ""
    by: Annotated[str, Field(max_length=MAX_NAME)] = Field(
        default="", description="Who makes the change; the name of the key is added."
    )


class Searched(Authored):
    """A change that builds a schedule."""

    model: OptionalName = Field(default=None, description="As in POST /run_algorithm.")
    algorithm: OptionalName = Field(default=None, description="As in POST /run_algorithm.")
    time_budget_ms: Annotated[int, Field(ge=0), WHOLE] | None = Field(
        default=None, description="Improve the schedule for so long."
    )
    seed: Annotated[int, Field(ge=0, lt=2**31), WHOLE] | None = None

    @property
    def options(self) -> dict[str, object]:
        """The members of a run's request about its search."""
        names = ("model", "algorithm", "time_budget_ms", "seed")
        return {name: value for name in names if (value := getattr(self, name)) is not None}


class NewPlanRequest(Authored):
    """A new plan: a request, or a recorded run."""

    model_config = examples(
        {"name": "锅炉大修", "request": {"params": [10, 5, 8, 6, 7, 9, 6, 7, 6, 7, 7, 7, 4, 7, 5]}, "by": "张工"},
        oneOf=[{"required": ["request"]}, {"required": ["request_id"]}],
    )

    name: NewPlanName
    request: RunRequest | None = Field(
        default=None, description="As POST /run_algorithm takes it, without charts and without a published plan."
    )
    request_id: OptionalName = Field(default=None, description="Of a recorded run: its request and its schedule.")

    @model_validator(mode="after")
    def _check_source(self) -> Self:
        if (self.request is None) == (self.request_id is None):
            raise invalid("plan_source")
        if self.request is not None:
            if self.request.charts != "none":
                raise invalid("plan_without_charts")
            if self.request.published is not None:
                raise invalid("plan_publishes_itself")
        return self


class PlanProgressRequest(Searched):
    """What was done since the last report."""

    model_config = examples(
        {
            "based_on": 1,
            "data_date": 10,
            "progress": {"1.1": {"status": "done", "actual_start": 0, "actual_finish": 9.5, "workers": 5}},
            "by": "张工",
        }
    )

    based_on: Version = Field(description="The latest version: 409 if there is a later one.")
    data_date: SkipValidation[DataDate | None] = Field(
        default=None, description="Now. Absent: as in the version before."
    )
    progress: Annotated[SkipValidation[Progress], WrapValidator(_object)] = Field(
        default={},
        description="Steps that are done or at work, by id; each replaces what was reported of it.",
    )
    withdraw: Annotated[list[EntryName], Field(max_length=MAX_EDITS)] = Field(
        default=[], description="Steps that were reported by mistake; they are not yet started."
    )


class AddStepRequest(Strict):
    """A step that was found to be necessary."""

    workpoint: Id
    step: Annotated[SkipValidation[StepRequest], WrapValidator(_object)] = Field(
        description="As in a request; without `id`, it gets a new one."
    )
    before: Annotated[list[EntryName], Field(max_length=MAX_EDITS)] = Field(
        default=[], description="Ids of steps, <work point>.<step>, that wait for it."
    )
    reason: Given


class CancelStepRequest(Strict):
    """A step that is not necessary."""

    id: EntryName
    reason: Given


class PlanReplanRequest(PlanProgressRequest):
    """What the next version has otherwise; everything else is as before."""

    model_config = examples(
        {
            "based_on": 1,
            "teams": {"team3": {"availability": 8}},
            "add_steps": [
                {"workpoint": "1", "step": _STEP, "before": ["1.15"], "reason": "返修后复拍"}  # second radiography
            ],
            "cancel_steps": [{"id": "1.10", "reason": "not necessary"}],
            "time_budget_ms": 50,
            "by": "张工",
        }
    )

    pinned: Annotated[SkipValidation[Pinned], WrapValidator(_object)] = Field(
        default={}, description="What is promised and kept, by step id; each replaces the promise about the step."
    )
    unpin: Annotated[list[EntryName], Field(max_length=MAX_EDITS)] = Field(
        default=[], description="Steps of which nothing is promised any more."
    )
    teams: dict[EntryName, TeamRequest] = Field(
        default={}, description="Changes to teams; what is not said of a team stays."
    )
    frozen_hours: FrozenHours | None = Field(
        default=None, description="As in POST /run_algorithm, of the published version. Kept for later versions."
    )
    stability_tolerance_h: StabilityTolerance | None = Field(
        default=None, description="As in POST /run_algorithm. Kept for later versions."
    )
    add_steps: Annotated[list[AddStepRequest], Field(max_length=MAX_EDITS)] = Field(default=[])
    cancel_steps: Annotated[list[CancelStepRequest], Field(max_length=MAX_EDITS)] = Field(default=[])


class PlanPublishRequest(Authored):
    """The version that people hold from now on."""

    model_config = examples({"version": 1, "reason": "handed out at the morning meeting", "by": "张工"})

    version: Version


class PlansQuery(Query):
    """Which plans are listed."""

    limit: WholeNumber = Field(default=50, ge=1, le=1_000, description="So many at most.")
    after: str = Field(default="", description="Only plans that come later by name: `next` of an answer.")
    search: str = Field(default="", max_length=100, description="A part of the name.")


class VersionQuery(Query):
    """Which version of a plan."""

    version: WholeNumber = Field(default=0, ge=0, le=MAX_VERSION, description="Its number; left out: the latest.")


# --- answers ---


class ScopeChange(TypedDict):
    """A step that was added or cancelled."""

    id: str
    name: str
    workpoint_id: str
    team: str
    reason: str


class PlanVersion(TypedDict):
    """A version of a plan, without its schedule."""

    number: Count
    timestamp: Moment
    kind: Annotated[Kind, about("What made it.")]
    by: str
    reason: str
    based_on: Count | None
    published: Annotated[Count | None, about("The version that people held when it was made.")]
    makespan: Hours
    lower_bound: Annotated[float, about("Hours; no schedule is shorter.")]
    n_steps: Count
    model_key: str | None
    request_id: Annotated[str | None, about("Of the run that built it.")]
    added: Annotated[list[ScopeChange], about("Steps that this version adds.")]
    cancelled: Annotated[list[ScopeChange], about("Steps that this version cancels.")]
    lapsed: Annotated[list[str], about("Steps whose promised start has passed; the promise is dropped.")]


class PlanVersionAnswer(Success):
    """A version of a plan with its request and its schedule."""

    plan: str
    latest: Annotated[Count, about("Number of the latest version: `based_on` of the next change.")]
    published: Annotated[Count | None, about("Number of the version that people hold.")]
    version: PlanVersion
    request: Annotated[JsonObject, about("As POST /run_algorithm takes it, without the published plan.")]
    schedule: RunSchedule


class ListedPlan(TypedDict):
    """A plan in the list."""

    name: str
    created: Moment
    published: Count | None
    latest: PlanVersion


class PlansAnswer(Success):
    """A page of plans."""

    plans: list[ListedPlan]
    next: Annotated[str | None, about("What `after` takes for the next page; null: this is the last one.")]


class Publication(TypedDict):
    """From when on people held a version."""

    version: Count
    timestamp: Moment
    by: str
    reason: str


class PlanVersionsAnswer(Success):
    """The history of a plan, the latest first."""

    plan: str
    versions: list[PlanVersion]
    publications: list[Publication]


class PublishedAnswer(Success):
    """The version that people hold now."""

    plan: str
    publication: Publication
