"""The request bodies, strictly typed; a field that does not exist is refused, `null` is as good as absent."""

from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    AliasChoices,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    WithJsonSchema,
    model_validator,
)

from scheduler_env.standard_cycle import MAX_DURATION_H, SAMPLE_PARAMS, STANDARD_STEPS
from scheduler_env.teams import MAX_TEAMS
from scheduler_env.values import is_printable, whole
from scheduler_env.written import MAX_PREDECESSORS, MAX_STEPS_OF_A_WORKPOINT, MAX_WORKPOINTS
from scheduler_service.alerts.rules import SEVERITIES
from scheduler_service.experiments.definition import Whole

View = Literal["process", "workpoint", "team"]
VIEWS: tuple[View, ...] = ("process", "workpoint", "team")

Schema = dict[str, Any]


def _or_null(schema: Schema) -> Schema:
    """`schema`, or null, which counts as absent."""
    if "anyOf" in schema:
        return schema | {"anyOf": [*schema["anyOf"], {"type": "null"}]}
    if "enum" in schema:
        return schema | {"enum": [*schema["enum"], None]}
    return schema | {"type": [schema["type"], "null"]}


def _optional(**members: Schema) -> dict[str, Schema]:
    return {name: _or_null(schema) for name, schema in members.items()}


_PEOPLE: Schema = {"type": "integer", "minimum": 1, "maximum": 1000}
_HOURS: Schema = {"type": "number", "exclusiveMinimum": 0, "maximum": MAX_DURATION_H, "description": "Nominal hours."}
_NAME: Schema = {"type": "string", "minLength": 1, "maxLength": 200}
_ID: Schema = {"anyOf": [_NAME, {"type": "integer"}]}
_PARAMS: Schema = {"type": "array", "items": _HOURS, "minItems": 15, "maxItems": 15, "examples": [list(SAMPLE_PARAMS)]}
_FLAG: Schema = {"type": "boolean"}
_STEP: Schema = {
    "type": "object",
    "required": ["name", "team", "duration"],
    "additionalProperties": False,
    "properties": {
        "name": _NAME,
        "team": _ID,
        "duration": _HOURS,
        **_optional(
            id=_ID,
            order={"type": "integer"},
            dedicated=_FLAG | {"description": "Takes its team's whole headcount."},
            team_size=_PEOPLE | {"description": "Headcount of its team."},
            parallel=_FLAG | {"description": "false: alone among the steps of its order."},
            min_crew=_PEOPLE,
            max_crew=_PEOPLE,
            predecessors={
                "type": "array",
                "items": _ID,
                "maxItems": MAX_PREDECESSORS,
                "description": "Ids or names of steps to wait for.",
            },
        ),
    },
}
_STEPS: Schema = {"type": "array", "items": _STEP, "maxItems": MAX_STEPS_OF_A_WORKPOINT}
_WORKPOINT: Schema = {
    "type": "object",
    "additionalProperties": False,
    "properties": _optional(id=_ID, name=_NAME, steps=_STEPS, params=_PARAMS),
}
_WORKPOINTS: Schema = {
    "anyOf": [
        {"type": "array", "items": _WORKPOINT, "minItems": 1, "maxItems": MAX_WORKPOINTS},
        {
            "type": "object",
            "additionalProperties": _WORKPOINT,
            "propertyNames": _NAME,
            "minProperties": 1,
            "maxProperties": MAX_WORKPOINTS,
        },
    ],
    "description": "Work points, as a list or by id; one without steps gets the standard cycle.",
}
_TEAM: Schema = {
    "type": "object",
    "additionalProperties": False,
    "properties": {"name": _ID, **_optional(headcount=_PEOPLE, dedicated=_FLAG, min_crew=_PEOPLE)},
}
_NAMED_TEAM = _TEAM | {"required": ["name"]}
_TEAMS: Schema = {
    "anyOf": [
        {"type": "array", "items": _NAMED_TEAM, "maxItems": MAX_TEAMS},
        {"type": "object", "additionalProperties": _TEAM, "propertyNames": _NAME, "maxProperties": MAX_TEAMS},
    ],
    "description": "Changes to the default plant.",
}
_CURVE: Schema = {"enum": ["default", "linear"], "description": "linear: a crew twice as large takes half as long."}
_MAYBE_EMPTY: Schema = {"type": ["string", "null"], "maxLength": 200}
MAX_FIELDS = 100
"""Of a body; none has half as many."""
MAX_ENTRIES = 10_000
MAX_CHARTS = 100
READ_ELSEWHERE = frozenset({"params", "workpoints", "teams"})
"""Members with limits of their own, in `scheduler_env.written` and `teams`."""
_CHART: Schema = {"enum": ["none", *VIEWS]}
_ONE_PROBLEM: Schema = {
    "oneOf": [
        {"required": ["params"], "properties": {"params": {"type": "array"}}},
        {"required": ["workpoints"], "properties": {"workpoints": {"type": ["array", "object"]}}},
    ]
}


def _absent_if_empty(value: object) -> object:
    # Front ends send "" for a user who is not logged in: not one user, but each of them.
    return None if value == "" else value


def _text_of_id(value: object) -> object:
    value = whole(value)
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _printable(text: str | None) -> str | None:
    if text is not None and not (text.strip() and is_printable(text)):
        raise ValueError("must be one line of printable characters, not only blanks")
    return text


Name = Annotated[str, Field(min_length=1, max_length=200)]
OptionalName = Annotated[Name | None, BeforeValidator(_absent_if_empty), WithJsonSchema(_MAYBE_EMPTY)]
OneLine = Annotated[OptionalName, AfterValidator(_printable)]
"""A name that people see, in any script."""
OptionalId = Annotated[
    Name | None,
    BeforeValidator(_absent_if_empty),
    BeforeValidator(_text_of_id),
    WithJsonSchema({"anyOf": [_MAYBE_EMPTY, {"type": "integer"}]}),
]


AlertName = Annotated[Name | None, WithJsonSchema({"enum": [*SEVERITIES, None]})]


class Strict(BaseModel):
    """A body: unknown fields, "5" for 5 and numbers that are not finite are refused."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False, protected_namespaces=())

    @model_validator(mode="before")
    @classmethod
    def _refuse_masses(cls, value: object) -> object:
        # Each entry that does not fit would be an error of its own: a minute of them in 3 MB, on the event loop.
        if not isinstance(value, dict):
            return value
        if len(value) > MAX_FIELDS:
            raise ValueError(f"the body has {len(value)} fields; {MAX_FIELDS} are possible")
        for name, entry in value.items():
            most = MAX_CHARTS if name == "charts" else MAX_ENTRIES
            if isinstance(entry, list | dict) and name not in READ_ELSEWHERE and len(entry) > most:
                raise ValueError(f"{name[:60]} has {len(entry)} entries; {most} are possible")
        return value


class RunRequest(Strict):
    """What to schedule, and who asks. The instance itself is read by `scheduler_env.readers`."""

    model_config = ConfigDict(json_schema_extra=_ONE_PROBLEM)

    params: Annotated[Any, WithJsonSchema(_or_null(_PARAMS))] = None
    workpoints: Annotated[Any, WithJsonSchema(_or_null(_WORKPOINTS))] = None
    teams: Annotated[Any, WithJsonSchema(_or_null(_TEAMS))] = None
    crew_efficiency: Annotated[Any, WithJsonSchema(_or_null(_CURVE))] = None
    experiment: OptionalName = None
    user_id: OptionalId = None
    model: OptionalName = Field(default=None, description="Pins a model: key, short name or tag; no experiment.")
    algorithm: OptionalName = Field(default=None, description="Its stable model answers where no experiment decides.")
    time_budget_ms: Annotated[Whole, Field(ge=0)] | None = Field(
        default=None, description="Improve the schedule for so long. Left out: as long as the model does by default."
    )
    seed: Annotated[Whole, Field(ge=0, lt=2**31)] | None = Field(
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
        members = ("params", "workpoints", "teams", "crew_efficiency")
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

    request_id: Name
    user_satisfaction: Whole = Field(ge=1, le=5)
    comment: Annotated[str, Field(max_length=2_000)] | None = None


class NameRequest(Strict):
    """What a run is called, and whose it is."""

    name: OneLine = None
    owner: OneLine = None


class RegisterRequest(Strict):
    """A trained model: where its weights are, and what is known of it. An upload has `file` for `model_path`."""

    model_path: Annotated[str, Field(min_length=1, max_length=4_096)]
    algorithm_name: Name
    training_params: dict[str, Any] = Field(default_factory=dict)
    performance_metrics: dict[str, Any] = Field(default_factory=dict)
    description: Annotated[str, Field(max_length=10_000)] = ""
    created_by: Annotated[str, Field(max_length=200)] = ""
    version: Name | None = None
    bump: Literal["major", "minor", "patch"] | None = None
    tags: list[Name] = Field(default_factory=list, max_length=50)
    lineage: dict[str, Any] | None = Field(
        default=None, description="Where it comes from: parent (a model), training_data_seed, code_version."
    )


class PromoteRequest(Strict):
    """The next stage of a model's life."""

    status: Literal["validated", "deployed", "retired"]
    reason: Annotated[str, Field(max_length=2_000)] = ""
    actor: Annotated[str, Field(max_length=200)] = ""


class DefaultRequest(Strict):
    """The model that answers what no experiment takes from now on; a tag is followed."""

    model_key: Name
    reason: Annotated[str, Field(max_length=2_000)] = ""
    actor: Annotated[str, Field(max_length=200)] = ""


class TagRequest(Strict):
    """The model that a tag names from now on."""

    model_key: Name
    reason: Annotated[str, Field(max_length=2_000)] = ""
    actor: Annotated[str, Field(max_length=200)] = ""


class RemovalRequest(Strict):
    """Who takes something away, and why."""

    reason: Annotated[str, Field(max_length=2_000)] = ""
    actor: Annotated[str, Field(max_length=200)] = ""


class RollbackRequest(Strict):
    """Back to the model that was deployed before, and why."""

    algorithm: Name
    reason: Annotated[str, Field(min_length=1, max_length=2_000)]
    actor: Annotated[str, Field(max_length=200)] = ""


class AcknowledgeRequest(Strict):
    """Who sees to an alert."""

    actor: Annotated[str, Field(max_length=200)] = ""
    note: Annotated[str, Field(max_length=2_000)] = ""


class SilenceRequest(Strict):
    """Of what nobody is to be told for some hours."""

    name: AlertName = Field(default=None, description="The rule, as in GET /alerts; every rule if absent.")
    subject: Name | None = Field(default=None, description="Only for this model, experiment or size.")
    hours: float = Field(gt=0, le=8_760, description="For how long.")
    reason: Annotated[str, Field(min_length=1, max_length=2_000)]
    actor: Annotated[str, Field(max_length=200)] = ""


class ThresholdRequest(Strict):
    """From which figure on a rule fires, and why."""

    value: float = Field(ge=0, allow_inf_nan=False, description="In the threshold's unit, at most its `most`.")
    reason: Annotated[str, Field(min_length=1, max_length=2_000)]
    actor: Annotated[str, Field(max_length=200)] = ""


class ThresholdResetRequest(Strict):
    """Why a threshold is put back."""

    reason: Annotated[str, Field(max_length=2_000)] = ""
    actor: Annotated[str, Field(max_length=200)] = ""


class PerformanceReportRequest(Strict):
    """A report on the runs of the last days."""

    days: Whole = Field(default=7, ge=1, le=3_650)
    lang: Literal["zh", "en"] = "zh"
    format: Literal["html", "pdf"] = Field(default="html", description="pdf: beside the page, under the same name.")


def _either_name(schema: Schema) -> None:
    """Both words for the experiment, of which one is needed."""
    schema["properties"]["experiment"] = schema["properties"]["experiment_name"] | {"description": "The same."}
    schema["required"] = [name for name in schema["required"] if name != "experiment_name"]
    schema["oneOf"] = [{"required": ["experiment_name"]}, {"required": ["experiment"]}]


class ABTestReportRequest(Strict):
    """A report on an experiment."""

    model_config = ConfigDict(json_schema_extra=_either_name)

    experiment_name: Name = Field(validation_alias=AliasChoices("experiment_name", "experiment"))
    days: Whole = Field(default=7, ge=1, le=3_650)
    lang: Literal["zh", "en"] = "zh"
    format: Literal["html", "pdf"] = Field(default="html", description="pdf: beside the page, under the same name.")
