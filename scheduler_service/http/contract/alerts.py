"""What the routes of alerts take and answer."""

from typing import Annotated, Literal, NotRequired

from pydantic import Field, WithJsonSchema
from typing_extensions import TypedDict

from scheduler_service.alert_rules import RULES, Severity, Unit
from scheduler_service.http.contract.types import (
    MAX_NAME,
    MAX_TEXT,
    Count,
    DecimalNumber,
    Hours,
    JsonObject,
    Moment,
    Name,
    Query,
    Reasoned,
    Seconds,
    Signed,
    Strict,
    Success,
    WholeNumber,
    about,
    examples,
)

_OPERATOR = "operator_name"
AlertName = Annotated[Name | None, WithJsonSchema({"enum": [*RULES, None]})]
AlertId = Annotated[str, Field(description="Its id, as in GET /alerts.", examples=["1"])]
ThresholdName = Annotated[str, Field(description="Its name, as in GET /alerts/thresholds.", examples=["max_makespan"])]

# --- requests ---


class AcknowledgeRequest(Strict):
    """Who sees to an alert."""

    model_config = examples({"actor": _OPERATOR, "note": "the pump team is short of people"})

    actor: Annotated[str, Field(max_length=MAX_NAME)] = ""
    note: Annotated[str, Field(max_length=MAX_TEXT)] = ""


class SilenceRequest(Reasoned):
    """Of what nobody is to be told for some hours."""

    model_config = examples({"name": "silent_service", "hours": 48, "reason": "national holiday", "actor": _OPERATOR})

    name: AlertName = Field(default=None, description="The rule, as in GET /alerts; every rule if absent.")
    subject: Name | None = Field(default=None, description="Only for this model, experiment or size.")
    hours: float = Field(gt=0, le=8_760, description="For how long.")


class ThresholdRequest(Reasoned):
    """From which figure on a rule fires, and why."""

    model_config = examples({"value": 80, "reason": "two shifts less in winter", "actor": _OPERATOR})

    value: float = Field(ge=0, allow_inf_nan=False, description="In the threshold's unit, at most its `most`.")


class ThresholdResetRequest(Signed):
    """Why a threshold is put back."""

    model_config = examples({"reason": "the winter is over", "actor": _OPERATOR})


class AlertHistoryQuery(Query):
    """How far back alerts are listed."""

    days: DecimalNumber = Field(default=7.0, gt=0, le=3_660, description="How far back.")


class AlertRunsQuery(Query):
    """How many runs of an alert are shown."""

    limit: WholeNumber = Field(default=20, ge=1, le=200, description="So many at most.")


# --- answers ---


class Delivery(TypedDict):
    """What became of a notice on a channel."""

    channel: str
    state: Literal["delivered", "waiting", "failed"]
    at: Annotated[Moment, about("When it arrived, or else was written.")]
    error: Annotated[str | None, about("Of the last attempt.")]


class Alert(TypedDict):
    """A rule that is, or was, beyond its threshold."""

    id: int | None
    name: Annotated[str, about("The rule.")]
    code: Annotated[str, about("The same as name: what is wrong, as a name that stays when the text is improved.")]
    params: Annotated[
        JsonObject | None, about("The values that message and advice name; null of alerts from before they were kept.")
    ]
    subject: Annotated[str, about("Which model, experiment or size it is about, where a rule has several.")]
    severity: Severity
    value: Annotated[
        float | None,
        about(
            "In the rule's unit, which the message names: max_makespan hours; max_execution_time seconds; "
            "min_success_rate and max_gap shares (0.05 is 5 %); min_free_disk_gib GiB; input_drift the population "
            "stability index, without a unit (0: no drift); counts otherwise."
        ),
    ]
    threshold: Annotated[float | None, about("In the unit of value.")]
    message: str
    advice: str
    fired: Moment | None
    notified: Moment | None
    acknowledged: Moment | None
    acknowledged_by: str | None
    note: str | None
    state: Literal["pending", "firing", "resolved"]
    began: Moment | None
    silenced: NotRequired[bool]
    requests: NotRequired[Annotated[list[str], about("Ids of the worst runs that it is about now, 5 at most.")]]
    deliveries: NotRequired[
        Annotated[
            list[Delivery],
            about("What became of the last notice, channel by channel; none where no channel is configured."),
        ]
    ]
    ended: NotRequired[Moment | None]
    last_beyond: NotRequired[Moment]
    notices: NotRequired[Count]
    experiment: NotRequired[str]
    arm: NotRequired[str]


class Silence(TypedDict):
    """A time in which nobody is told of a rule."""

    id: int
    name: Annotated[str | None, about("The rule; null: every one.")]
    subject: str | None
    params: Annotated[JsonObject, about("What texts say of the subject.")]
    began: Moment
    until: Moment
    actor: str
    reason: str


class RuleNow(TypedDict):
    """What a rule sees now."""

    name: str
    subject: str
    params: Annotated[JsonObject, about("What texts say of the subject.")]
    state: Literal["beyond", "near", "within", "unknown"]
    value: Annotated[float | None, about("In the rule's unit; null: too few runs to say.")]
    threshold: Annotated[float | None, about("In the rule's unit.")]


class Outbox(TypedDict):
    """Notices that did not arrive yet."""

    waiting: Count
    given_up: Count


class AlertsAnswer(Success):
    """What is beyond its threshold now."""

    alerts: list[Alert]
    thresholds: Annotated[
        dict[str, Annotated[float, about("In the rule's unit.")]], about("Rule -> from which it fires.")
    ]
    since: Moment
    runs: Count
    silences: list[Silence]
    channels: list[str]
    outbox: Outbox
    rules: NotRequired[Annotated[list[RuleNow], about("What each rule sees now, also where nothing is wrong.")]]


class ThresholdChange(TypedDict):
    """How a threshold came to be set."""

    id: str
    time: Moment
    name: str
    before: Annotated[float | None, about("Null: it was not set.")]
    after: Annotated[float | None, about("Null: it was put back.")]
    actor: str
    reason: str


class Threshold(TypedDict):
    """What a rule is held against."""

    name: str
    rule: Annotated[str, about("Whose it is, as in GET /alerts.")]
    params: Annotated[JsonObject, about("What texts say of it: the sizes, where a rule has a threshold for each.")]
    unit: Unit
    value: Annotated[float | None, about("In force; null: none counts.")]
    default: Annotated[float | None, about("What it goes back to: of SCHED_ALERT_THRESHOLDS, or the usual one.")]
    is_set: Annotated[bool, about("Whether somebody set it.")]
    most: Annotated[float, about("The greatest value that it may have; the least is 0.")]
    changed: ThresholdChange | None


class ThresholdsAnswer(Success):
    """The thresholds of the alerts."""

    thresholds: list[Threshold]
    changes: Annotated[list[ThresholdChange], about("The newest first, 100 at most.")]
    problem: Annotated[str | None, about("What is wrong with the file of what people set; null: nothing.")]


class ThresholdAnswer(Success):
    """A threshold after a change."""

    threshold: Threshold
    change: ThresholdChange


class AlertRun(TypedDict):
    """A run that an alert is about."""

    request_id: str
    timestamp: Moment
    success: bool
    model_key: str | None
    experiment: str | None
    variant: str | None
    n_workpoints: Count | None
    n_steps: Count | None
    makespan: Hours | None
    lower_bound: Hours | None
    gap: Annotated[float | None, about("Share of the lower bound.")]
    execution_time: Seconds | None
    time_budget_ms: Annotated[float | None, about("Milliseconds.")]
    error_message: str | None
    value: Annotated[float | None, about("What the rule reads of it, in the rule's unit.")]
    url: Annotated[str, about("Of the run: GET it.")]


class Window(TypedDict):
    """A time."""

    start: Moment
    end: Moment


class LogHint(TypedDict):
    """Where the log tells of runs."""

    request_ids: list[str]
    command: Annotated[str | None, about("For a shell in SCHED_HOME.")]


class AlertRunsAnswer(Success):
    """An alert with its runs."""

    alert: Alert
    window: Annotated[Window, about("Whose runs it is about.")]
    total: Annotated[Count, about("Runs that it is about, of the last 5,000 in that time.")]
    runs: list[AlertRun]
    log: LogHint


class AlertHistoryAnswer(Success):
    """The alerts of the last days."""

    alerts: list[Alert]
    total: Count


class AlertAnswer(Success):
    """One alert."""

    alert: Alert


class SilenceAnswer(Success):
    """A silence that was set."""

    silence: Silence


class ChannelTest(TypedDict):
    """What came of a test message."""

    channel: str
    delivered: bool
    error: str | None


class ChannelsAnswer(Success):
    """What came of a test message through each channel."""

    channels: list[ChannelTest]
