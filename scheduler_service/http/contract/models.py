"""What the routes of the registry take and answer."""

from typing import Annotated, Any, Literal, NotRequired

from pydantic import Field
from typing_extensions import TypedDict

from scheduler_service.http.contract.types import (
    MAX_NAME,
    AnyTime,
    Count,
    JsonObject,
    Moment,
    Name,
    Query,
    Reasoned,
    Share,
    Signed,
    Strict,
    Success,
    WholeNumber,
    about,
    examples,
)
from scheduler_service.registry.history import EventKind
from scheduler_service.registry.records import STATUSES, Status

FORM_JSON_FIELDS = ("training_params", "performance_metrics", "tags", "lineage")
"""Parts of an upload's form that hold JSON; the others are texts."""
MAX_EVENTS = 1_000
"""Most changes that one answer lists."""

# --- requests ---


class RegisterRequest(Strict):
    """A trained model: where its weights are, and what is known of it. An upload has `file` for `model_path`."""

    model_config = examples(
        {
            "model_path": "./best_model_v2.pth",
            "algorithm_name": "DDQN",
            "training_params": {"episodes": 1000, "learning_rate": 0.001, "batch_size": 32},
            "performance_metrics": {"makespan": 53.1, "resource_utilization": 0.6},
            "description": "改进奖励函数的DDQN模型",
            "created_by": "developer_name",
        }
    )

    model_path: Annotated[str, Field(min_length=1, max_length=4_096)]
    algorithm_name: Name
    training_params: dict[str, Any] = Field(default_factory=dict)
    performance_metrics: dict[str, Any] = Field(default_factory=dict)
    description: Annotated[str, Field(max_length=10_000)] = ""
    created_by: Annotated[str, Field(max_length=MAX_NAME)] = ""
    version: Name | None = None
    bump: Literal["major", "minor", "patch"] | None = None
    tags: list[Name] = Field(default_factory=list, max_length=50)
    lineage: dict[str, Any] | None = Field(
        default=None, description="Where it comes from: parent (a model), training_data_seed, code_version."
    )


class PromoteRequest(Signed):
    """The next stage of a model's life."""

    model_config = examples({"status": "validated"})

    status: Literal["validated", "deployed", "retired"]


class DefaultRequest(Signed):
    """The model that answers what no experiment takes from now on; a tag is followed."""

    model_config = examples({"model_key": "DDQN_v1.0", "reason": "planners know its plans"})

    model_key: Name


class TagRequest(Signed):
    """The model that a tag names from now on."""

    model_config = examples({"model_key": "DDQN_v2.0"})

    model_key: Name


class RemovalRequest(Signed):
    """Who takes something away, and why."""

    model_config = examples({"reason": "not needed any more", "actor": "developer_name"})


class RollbackRequest(Reasoned):
    """Back to the model that was deployed before, and why."""

    model_config = examples({"algorithm": "DDQN", "reason": "makespan rose"})

    algorithm: Name


class ModelsQuery(Query):
    """Which models are listed."""

    algorithm: Annotated[str | None, about("Only models of this algorithm.")] = None
    status: Annotated[
        str | None, Field(description="Only models of this status.", json_schema_extra={"enum": [*STATUSES, ""]})
    ] = None
    tag: Annotated[str | None, about("Only models that bear this tag.")] = None


class HistoryQuery(Query):
    """Which changes are listed."""

    algorithm: Annotated[str | None, about("Only models of this algorithm.")] = None
    model_key: Annotated[str | None, about("Only what concerns this model's key.")] = None
    at: Annotated[AnyTime | None, about("ISO-8601; without an offset local time. Now if left out.")] = None
    limit: WholeNumber = Field(default=MAX_EVENTS, ge=1, le=MAX_EVENTS, description="So many at most.")


Tag = Annotated[
    str,
    Field(
        description="A letter, then letters, digits, _, . and -, 64 at most; also <algorithm>:<tag>.",
        examples=["canary"],
        pattern="^([A-Za-z][A-Za-z0-9_-]{0,31}:)?[A-Za-z][A-Za-z0-9_.-]{0,63}$",
    ),
]

# --- answers ---


class ClaimFlag(TypedDict):
    """A claim that differs from what was measured by more than 2 %."""

    metric: str
    claimed: Annotated[float, about("In the metric's unit.")]
    verified: Annotated[float, about("In the metric's unit.")]
    difference_percent: Annotated[float | None, about("Percent of what was measured.")]
    message: str
    code: Annotated[str, about("What message says, as a name that stays when the text is improved.")]
    params: Annotated[JsonObject, about("The values that message names.")]


class ModelState(TypedDict):
    """A registered model."""

    model_key: Annotated[str, about("<algorithm>_<hash of the configuration>_v<version>.")]
    algorithm: str
    version: str
    status: Status
    tags: list[str]
    performance: Annotated[JsonObject, about("Metric -> what the caller claimed at registration.")]
    created_at: Moment
    created_by: str
    description: str
    training_params: JsonObject
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$", description="Of the weights file.")]
    size_bytes: Count
    status_since: Moment
    verified_metrics: Annotated[JsonObject, about("As measured at registration on a fixed set of instances.")]
    validation: Annotated[JsonObject, about("As measured when it last became validated; empty before.")]
    lineage: Annotated[
        JsonObject, about("Where the weights come from: parent, training_data_seed, code_version, config.")
    ]
    flags: list[ClaimFlag]


IsDefault = Annotated[bool, about("Whether it answers what no experiment takes.")]


class ListedModel(ModelState):
    """A registered model, without its signature, which is long."""

    is_default: IsDefault


class Model(ModelState):
    """A registered model."""

    signature: Annotated[JsonObject, about("What the weights expect: format, features, layers.")]
    is_default: NotRequired[IsDefault]


class DefaultModel(TypedDict):
    """Who answers where no experiment and no request names a model."""

    name: Annotated[str, about("As configured.")]
    model_key: Annotated[str | None, about("null: no model bears the name.")]


class ArmShare(TypedDict):
    """An arm of a running experiment."""

    experiment: str
    arm: str
    share_of_users: Annotated[Share, about("Of the users who name the experiment, 0 to 1.")]


class AnsweringModel(TypedDict):
    """A model that answers."""

    model_key: str
    is_default: bool
    requests: Annotated[Count | None, about("That it answered.")]
    share: Annotated[Share | None, about("Of all answers in that time, 0 to 1; null: there were none.")]
    experiments: list[ArmShare]


class StableElsewhere(TypedDict):
    """A model that bears the tag stable and does not answer by default."""

    algorithm: str
    model_key: str
    message: str
    code: Annotated[str, about("What message says, as a name that stays when the text is improved.")]
    params: Annotated[JsonObject, about("The values that message names.")]


class Answering(TypedDict):
    """Who answers, and what share of the requests of late was whose."""

    days: Annotated[Count, about("That the shares are of.")]
    requests: Annotated[
        Count | None, about("Answers in that time, the newest 20,000 at most; null: the records are not to be had.")
    ]
    models: list[AnsweringModel]
    stable_elsewhere: list[StableElsewhere]


class RegistrationAnswer(Success):
    """The key of a model that was registered."""

    model_key: str
    message: str


class ModelsAnswer(Success):
    """The registered models."""

    models: list[ListedModel]
    total: Count
    default_model: DefaultModel
    answering: Answering


class ModelAnswer(Success):
    """One model."""

    model: Model
    default_model: DefaultModel


class ModelChangedAnswer(Success):
    """A model after a change."""

    model_key: str
    model: Model


class DefaultChangedAnswer(ModelChangedAnswer):
    """The new default model."""

    default_model: DefaultModel


class TaggedAnswer(ModelChangedAnswer):
    """The model that a tag names now."""

    tag: str


class ModelUser(TypedDict):
    """Who needs a model."""

    role: Annotated[Literal["default", "experiment", "way_back"], about("way_back: the default before an experiment.")]
    named: Annotated[str, about("What the model is called there.")]
    experiment: str | None


class Refusals(TypedDict):
    """Move -> why it would be refused; null: it may be made."""

    validated: str | None
    deployed: str | None
    retired: str | None
    default: str | None
    deleted: str | None


class CodedReason(TypedDict):
    """The code and parameters of a refusal."""

    code: str
    params: JsonObject


class CodedRefusals(TypedDict):
    """Move -> the code and parameters of its refusal."""

    validated: CodedReason | None
    deployed: CodedReason | None
    retired: CodedReason | None
    default: CodedReason | None
    deleted: CodedReason | None


class OutlookAnswer(Success):
    """What may be done with a model now."""

    model_key: str
    refusals: Refusals
    reasons: CodedRefusals
    used_by: Annotated[list[ModelUser], about("Who needs this model.")]
    stable: Annotated[str | None, about("Key of the live version of its algorithm.")]
    follows_stable: Annotated[list[ModelUser], about("Who gets another model when the tag stable moves.")]
    rollback_to: Annotated[str | None, about("What a rollback of its algorithm would return to; null: nothing.")]
    default_model: DefaultModel
    held_by_default: Annotated[list[str], about("Rollouts that wait once another model is the default.")]


class Changed(TypedDict):
    """Status and tags, of the models and tags that a change concerned."""

    status: dict[str, str | None]
    tags: dict[str, str | None]


class ModelEvent(TypedDict):
    """A change of the registry."""

    time: Moment
    event: EventKind
    model_key: str
    actor: str
    reason: str
    before: Changed
    after: Changed
    details: Annotated[JsonObject, about("`code` and `params`: of the reason, unless it is the words of a person.")]


class LiveModel(TypedDict):
    """A model that bears the tag stable, and since when."""

    algorithm: str
    model_key: str
    since: Moment
    event: EventKind
    actor: str
    reason: str
    code: Annotated[str, about("Of the reason; empty: the words of a person.")]
    params: JsonObject


class ModelHistoryAnswer(Success):
    """What changed, and what was live."""

    events: list[ModelEvent]
    total: Annotated[Count, about("Of all that fit, also those beyond the limit.")]
    live: Annotated[dict[str, LiveModel], about("Algorithm -> the model that bears the tag stable.")]
