"""What the routes of a plan's figures take and answer: comparison, progress, explanation, advice, risk."""

from typing import Annotated, Self

from pydantic import Field, model_validator
from typing_extensions import TypedDict

from scheduler_env.availability import MAX_HOUR
from scheduler_env.problem_request import Name as EntryName
from scheduler_env.replan.progress import State
from scheduler_env.validation import WHOLE
from scheduler_service.errors import invalid
from scheduler_service.http.contract.plans import MAX_VERSION, ScopeChange, Version, VersionQuery
from scheduler_service.http.contract.types import (
    Count,
    Hours,
    Query,
    Share,
    Strict,
    Success,
    WholeNumber,
    about,
    examples,
)
from scheduler_service.plans.explanation import Reason

MAX_SAMPLES = 10_000
MAX_FACTOR = 100.0

PeopleHours = Annotated[float, about("People-hours.")]
Factor = Annotated[float, Field(ge=0, le=MAX_FACTOR)]
LongHours = Annotated[float, Field(ge=0, le=MAX_HOUR)]


# --- requests ---


class ComparisonQuery(Query):
    """Which two versions are compared."""

    before: WholeNumber = Field(default=0, ge=0, le=MAX_VERSION, description="A version; left out: the published one.")
    after: WholeNumber = Field(default=0, ge=0, le=MAX_VERSION, description="A version; left out: the latest.")


class ProgressQuery(VersionQuery):
    """Which version is measured, against which one."""

    baseline: WholeNumber = Field(
        default=0, ge=0, le=MAX_VERSION, description="The version that was planned; left out: the published one."
    )


class AdviceQuery(VersionQuery):
    """How long each case is planned."""

    time_budget_ms: WholeNumber = Field(
        default=100, ge=0, le=10_000, description="Of each of the short searches; all together end within a minute."
    )


class EstimateRequest(Strict):
    """How long a step may take, and whether it has to be done."""

    duration: Annotated[list[LongHours], Field(min_length=3, max_length=3)] | None = Field(
        default=None,
        description="Shortest, likeliest and longest hours, with the planned crew. Absent: by spread.",
    )
    chance: Annotated[float, Field(ge=0, le=1)] = Field(
        default=1.0, description="That the step has to be done at all, such as a repair; otherwise it takes no time."
    )

    @model_validator(mode="after")
    def _check_order(self) -> Self:
        _refuse_unsorted(self.duration)
        return self


class PlanRiskRequest(Strict):
    """What varies, and how it is simulated."""

    model_config = examples(
        {"spread": [0.9, 1, 1.4], "steps": {"1.3": {"duration": [6, 6.4, 10]}, "1.14": {"chance": 0.3}}}
    )

    version: Version | None = Field(default=None, description="Left out: the latest.")
    spread: Annotated[list[Factor], Field(min_length=3, max_length=3)] | None = Field(
        default=None,
        description="Shortest, likeliest and longest duration of all other open steps, as multiples of the planned. "
        "Absent: as planned.",
    )
    steps: Annotated[dict[EntryName, EstimateRequest], Field(max_length=5_000)] = Field(
        default={}, description="What is known of single steps, by id."
    )
    samples: Annotated[int, Field(ge=1, le=MAX_SAMPLES), WHOLE] = Field(
        default=1_000, description="Fewer for a large plan: samples times open steps are 5,000,000 at most."
    )
    seed: Annotated[int, Field(ge=0, lt=2**31), WHOLE] = 0

    @model_validator(mode="after")
    def _check_order(self) -> Self:
        _refuse_unsorted(self.spread)
        return self


def _refuse_unsorted(points: list[float] | None) -> None:
    if points is not None and points != sorted(points):
        raise invalid("three_points_not_rising", points=points)


# --- answers ---


class MovedStep(TypedDict):
    """A step that both versions have, otherwise."""

    id: str
    name: str
    workpoint_id: str
    team: str
    status: Annotated[State, about("In the later version.")]
    start_before: Annotated[float, about("Hours.")]
    start: Annotated[float, about("Hours.")]
    shift: Annotated[float, about("start - start_before, hours.")]
    end_before: Annotated[float, about("Hours.")]
    end: Annotated[float, about("Hours.")]
    workers_before: Count
    workers: Count


class TeamMoves(TypedDict):
    """What moves of a team's steps that are not yet started."""

    team: str
    moved: Annotated[Count, about("Steps that start at another time.")]
    crews_changed: Annotated[Count, about("Steps with another number of people.")]
    total_shift: Annotated[float, about("Sum of the absolute shifts, hours.")]


class PlanComparisonAnswer(Success):
    """What differs between two versions."""

    plan: str
    before: Count
    after: Count
    makespan_before: Hours
    makespan: Hours
    moved: Annotated[list[MovedStep], about("In the order of their later starts.")]
    teams: Annotated[list[TeamMoves], about("Those with a difference, the largest shift first.")]
    added: Annotated[list[ScopeChange], about("Steps that only the later version has.")]
    cancelled: Annotated[list[ScopeChange], about("Steps that only the earlier version has.")]


class Scope(TypedDict):
    """Steps and their people-hours."""

    steps: Count
    people_hours: PeopleHours
    earned: PeopleHours


class CurvePoint(TypedDict):
    """A point of the S-curve: people-hours since hour 0."""

    hour: Annotated[float, about("Hours.")]
    planned: PeopleHours
    earned: Annotated[float | None, about("People-hours; null after the data date.")]
    forecast: Annotated[float | None, about("People-hours; null before the data date.")]


class PlanProgressAnswer(Success):
    """How far a plan has come, against a baseline."""

    plan: str
    version: Count
    baseline: Count
    data_date: Annotated[float, about("Hours.")]
    planned_value: Annotated[float, about("People-hours of the baseline that are due by the data date.")]
    earned_value: Annotated[float, about("Those of them, and of later ones, that are done.")]
    spi: Annotated[float | None, about("Schedule performance index: earned over planned value; null: nothing was due.")]
    total: Annotated[float, about("People-hours of the baseline, without what was cancelled.")]
    added: Annotated[Scope, about("Steps that the baseline does not have; they count nowhere else.")]
    cancelled: Annotated[Scope, about("Steps that only the baseline has; they count nowhere else.")]
    baseline_end: Hours
    forecast_end: Hours
    curve: list[CurvePoint]


class ChainLink(TypedDict):
    """A step of the chain, and why it did not start earlier."""

    id: str
    name: str
    workpoint_id: str
    team: str
    start: Annotated[float, about("Hours.")]
    end: Annotated[float, about("Hours.")]
    wait: Annotated[float, about("Hours from the end of the link before, or from hour 0, to its start.")]
    hours: Annotated[float, about("wait + end - start: its part of the makespan.")]
    reason: Annotated[Reason, about("Why it did not start earlier.")]
    cause: Annotated[str | None, about("The step that it waited for.")]
    resource: Annotated[str | None, about("The team or place that was not free.")]


class PlanExplanationAnswer(Success):
    """Why a plan takes as long as it does."""

    plan: str
    version: Count
    makespan: Hours
    chain: Annotated[list[ChainLink], about("In the order of time; their hours add up to the makespan.")]


class TeamSaving(TypedDict):
    """What more people in a team would save."""

    team: str
    people: Annotated[Count, about("So many more, at all times.")]
    makespan: Hours
    saves: Annotated[float, Field(ge=0, description="Hours; the difference of the shortest schedules found.")]
    proved: Annotated[bool, about("Whether both schedules are proved to be the shortest ones.")]


class PlanAdviceAnswer(Success):
    """What more people would save."""

    plan: str
    version: Count
    makespan: Annotated[float, about("Hours; of the shortest schedule found with the people who are there.")]
    proved: Annotated[bool, about("Whether it is proved to be the shortest one.")]
    teams: list[TeamSaving]


class Criticality(TypedDict):
    """How often an open step is critical."""

    id: str
    name: str
    critical: Annotated[Share, about("Share of the samples in which its delay would delay the restart.")]


class PlanRiskAnswer(Success):
    """The makespan if durations vary."""

    plan: str
    version: Count
    samples: Count
    makespan: Annotated[float, about("Hours; as planned.")]
    mean: Hours
    deviation: Annotated[float, about("Standard deviation, hours.")]
    p10: Annotated[float, about("Hours; one of ten samples is not longer.")]
    p50: Annotated[float, about("Hours; half of the samples are not longer.")]
    p80: Annotated[float, about("Hours; four of five samples are not longer.")]
    p90: Annotated[float, about("Hours; nine of ten samples are not longer.")]
    steps: Annotated[list[Criticality], about("The open steps, the most often critical ones first.")]
