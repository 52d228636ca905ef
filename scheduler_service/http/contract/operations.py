"""What the routes for operators take and answer: health, figures, trends, reports."""

from typing import Annotated, Any, Literal, NotRequired

from pydantic import AliasChoices, BeforeValidator, ConfigDict, Field
from typing_extensions import TypedDict

from scheduler_env.validation import Whole
from scheduler_service.http.contract.runs import RunFilter
from scheduler_service.http.contract.types import (
    AnyTime,
    Count,
    DecimalNumber,
    JsonObject,
    Moment,
    Name,
    Problem,
    Query,
    Seconds,
    Share,
    Strict,
    Success,
    WholeNumber,
    about,
    examples,
    whole_number,
)
from scheduler_service.keys import Scope

MAX_TREND_HOURS = 24.0 * 366
MAX_UTC_OFFSET_MIN = 14 * 60
MAX_REPORT_DAYS = 3_650
Format = Annotated[Literal["html", "pdf"], about("pdf: beside the page, under the same name.")]

# --- requests ---


class PerformanceReportRequest(Strict):
    """A report on the runs of the last days."""

    model_config = examples({"days": 7})

    days: Whole = Field(default=7, ge=1, le=MAX_REPORT_DAYS)
    lang: Literal["zh", "en"] = "zh"
    format: Format = "html"


def _either_name(schema: dict[str, Any]) -> None:
    """Both words for the experiment, of which one is needed."""
    schema["examples"] = [{"experiment_name": "ddqn_v1_vs_v2", "days": 7}]
    schema["properties"]["experiment"] = schema["properties"]["experiment_name"] | {"description": "The same."}
    schema["required"] = [name for name in schema["required"] if name != "experiment_name"]
    schema["oneOf"] = [{"required": ["experiment_name"]}, {"required": ["experiment"]}]


class ABTestReportRequest(PerformanceReportRequest):
    """A report on an experiment."""

    model_config = ConfigDict(json_schema_extra=_either_name)

    experiment_name: Name = Field(validation_alias=AliasChoices("experiment_name", "experiment"))


class PerformanceQuery(RunFilter):
    """Which runs the figures are of."""

    start_time: Annotated[AnyTime | None, about("ISO-8601, included; without an offset local time.")] = None
    end_time: Annotated[AnyTime | None, about("ISO-8601, included; without an offset local time.")] = None


UtcOffset = Annotated[int, Field(ge=-MAX_UTC_OFFSET_MIN, le=MAX_UTC_OFFSET_MIN), BeforeValidator(whole_number)]


class TrendsQuery(RunFilter):
    """Which runs, and how they are put into buckets."""

    hours: DecimalNumber = Field(default=24.0, gt=0, le=MAX_TREND_HOURS, description="How far back.")
    points: WholeNumber = Field(default=60, ge=1, le=500, description="Buckets at most.")
    time_zone: Annotated[
        str | None,
        about("IANA name (Asia/Shanghai) of the clock by which buckets begin; the server's if left out."),
    ] = None
    utc_offset_min: UtcOffset | None = Field(
        default=None, description="Instead of time_zone: minutes that the clock is ahead of UTC, all year."
    )


class ReportsQuery(Query):
    """How many reports are listed."""

    limit: WholeNumber = Field(default=100, ge=1, le=1_000, description="So many at most.")


ReportName = Annotated[str, Field(description="Name of the report.", examples=["performance_20261123_130241_en.html"])]

# --- answers ---


class Part(TypedDict):
    """How a part of the service is."""

    status: Literal["ok", "degraded", "failing"]
    detail: str


Parts = Annotated[dict[str, Part], about("Part -> how it is.")]


class HealthAnswer(TypedDict):
    """How the service is."""

    status: Literal["healthy", "degraded"]
    parts: Parts
    started_at: Moment
    uptime_s: Seconds


class LivenessAnswer(TypedDict):
    """The process answers."""

    status: Literal["alive"]
    uptime_s: Seconds


class ReadinessAnswer(TypedDict):
    """Whether runs should be sent here."""

    status: Literal["ready", "degraded"]
    parts: Parts


class UnwellAnswer(Problem):
    """A problem that names the parts which do not work."""

    failing: list[str]
    parts: Parts


class Distribution(TypedDict):
    """In the unit of what it is of."""

    count: Count
    mean: float | None
    std: float | None
    min: float | None
    max: float | None
    p50: float | None
    p95: float | None
    p99: float | None


class Satisfaction(TypedDict):
    """People's verdicts."""

    mean: Annotated[float | None, about("1 to 5.")]
    count: Count


class RunFiguresOf(TypedDict):
    """Figures of some runs."""

    total_requests: Count
    failed_requests: Count
    success_rate: Annotated[Share | None, about("Share of the runs, 0 to 1.")]
    makespan: Annotated[Distribution, about("Hours.")]
    policy_makespan: Annotated[Distribution, about("Hours; of the models' own schedules, before any search or proof.")]
    execution_time: Annotated[Distribution, about("Seconds.")]
    gap: Annotated[Distribution, about("Share of the lower bound: 0.05 is 5 % above it.")]
    resource_utilization: Annotated[Share | None, about("Mean share of the crew-hours at work, 0 to 1.")]
    user_satisfaction: Satisfaction


class Performance(RunFiguresOf):
    """Figures of the runs of a time, together and by model."""

    start_time: Moment | None
    end_time: Moment | None
    by_model: Annotated[dict[str, RunFiguresOf], about("The same of each model's key.")]


class PerformanceAnswer(Success):
    """Figures of the recorded runs."""

    performance: Performance


class TrendPoint(TypedDict):
    """A bucket of runs."""

    start: Moment
    end: Annotated[Moment, about("Where the next one begins.")]
    runs: Count
    failures: Count
    success_rate: Annotated[Share | None, about("Share of the runs, 0 to 1.")]
    mean_makespan: Annotated[float | None, about("Hours; of the successful runs, as the gap and the times.")]
    mean_policy_makespan: Annotated[float | None, about("Hours; of the models' own schedules.")]
    mean_gap: Annotated[float | None, about("Share of the lower bound.")]
    p50_execution_time: Annotated[float | None, about("Seconds.")]
    p95_execution_time: Annotated[float | None, about("Seconds.")]
    mean_satisfaction: Annotated[float | None, about("Of people's verdicts on these runs, 1 to 5.")]
    verdicts: Count


class Trends(TypedDict):
    """How the runs went over time."""

    hours: Annotated[float, about("How far back.")]
    model_key: str | None
    experiment: str | None
    end: Annotated[Moment, about("When it was looked at: the last bucket is not over yet.")]
    bucket_s: Annotated[int, Field(ge=1, description="Length of a bucket, seconds.")]
    points: Annotated[list[TrendPoint], about("The buckets, the oldest first, without a gap.")]


class TrendsAnswer(Success):
    """How the runs went over time."""

    trends: Trends


class MadeReport(TypedDict):
    """A report that is there."""

    name: str
    kind: Literal["performance", "ab_test"]
    experiment: str | None
    format: Literal["html", "pdf"]
    lang: Literal["zh", "en"] | None
    size_bytes: Count
    created_at: Moment
    url: str


class ReportsAnswer(Success):
    """The reports that are there."""

    reports: list[MadeReport]
    total: Annotated[Count, about("Also beyond the limit.")]


class ReportAnswer(Success):
    """A report that was made."""

    report: Annotated[str, about("Its name.")]
    url: str
    path: Annotated[str, about("On the service's machine; of a report in PostgreSQL its name.")]


class AccessAnswer(Success):
    """What this request may do."""

    key: Annotated[str | None, about("The name of the key that came along; null: none, or none counts here.")]
    scopes: Annotated[list[Scope], about("What this request may do.")]
    without_key: Annotated[list[Scope], about("What anybody may do without a key.")]
    needs_key: Annotated[bool, about("Whether anything needs a key here.")]
    knows_keys: Annotated[bool, about("Whether the service has keys; one then tells histories who did it.")]


class Document(TypedDict):
    """OpenAPI 3.1."""

    openapi: Annotated[str, Field(pattern="^3\\.1\\.")]
    info: JsonObject
    paths: JsonObject
    components: NotRequired[JsonObject]
