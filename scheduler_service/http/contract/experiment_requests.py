"""What the routes of experiments take."""

from typing import Annotated, Any

from pydantic import Field

from scheduler_env.validation import WHOLE, Whole
from scheduler_service.experiments.about import ABOUT, Hypothesis, Owner, Title
from scheduler_service.experiments.experiment import DEFAULT_DURATION_DAYS, MAX_DURATION_DAYS, OPTIONS
from scheduler_service.experiments.rollout import PromoteOn
from scheduler_service.http.contract.types import (
    MAX_NAME,
    Name,
    Query,
    QueryFlag,
    Signed,
    Strict,
    about,
    examples,
)
from scheduler_service.stats.arms import ARMS
from scheduler_service.stats.definitions import guardrails_described
from scheduler_service.stats.guardrails import GUARDRAILS
from scheduler_service.stats.metrics import METRICS

_ALTHOUGH_WORSE = "Promote it though figures speak against it: `objections` of the outlook."


class RolloutRequest(Strict):
    """How a candidate is ramped up: the shares of the users that get it, and what each stage needs before the next."""

    stages: list[Annotated[float, Field(gt=0, le=1)]] = Field(
        default=[0.1, 0.3, 0.5, 1.0],
        min_length=2,
        max_length=20,
        description="Rising; the last, 1.0, is the promotion.",
    )
    min_samples: Whole = Field(default=100, ge=2, le=10**9, description="Values of the metric per arm and stage.")
    min_hours: float = Field(default=24, ge=0, le=87_600, description="Least length of a stage.")
    auto: bool = Field(default=True, description="false: only people move it.")
    promote_on: PromoteOn = "better"


class ExperimentRequest(Strict):
    """Two or more models, compared on live traffic."""

    model_config = examples(
        {
            "experiment_name": "ddqn_v1_vs_v2",
            "model_a": "DDQN_v1.0",
            "model_b": "DDQN_v2.0",
            "traffic_split": {"model_a": 0.7, "model_b": 0.3},
            "success_metric": "makespan",
            "duration_days": 7,
        }
    )

    experiment_name: Name
    model_a: Name
    model_b: Name
    model_c: Name | None = None
    model_d: Name | None = None
    model_e: Name | None = None
    model_f: Name | None = None
    model_g: Name | None = None
    model_h: Name | None = None
    title: Title | None = None
    hypothesis: Hypothesis | None = Field(default=None, description="What is expected to come out.")
    owner: Owner | None = Field(default=None, description="Whom to ask.")
    traffic_split: dict[str, float] | None = Field(
        default=None, description="Shares that add up to 1; equal ones if absent."
    )
    coverage: float = Field(default=1, gt=0, le=1, description="Share of the users who take part.")
    success_metric: Name = Field(default="makespan", description=f"{', '.join(METRICS)}.")
    duration_days: Annotated[float, Field(gt=0, le=MAX_DURATION_DAYS)] | None = Field(
        default=None, description="7 if absent; of a rollout 3,650, open-ended: until it is promoted or ended."
    )
    min_samples: Whole = Field(default=100, ge=2, le=10**9)
    alpha: float = Field(default=0.05, gt=0, lt=1, description="Chance of a wrong verdict, a share: 0.05 is 5 %.")
    margin: float = Field(
        default=0.05, gt=0, lt=1, description="Of non-inferiority, a share of the baseline: 0.05 is 5 %."
    )
    guardrails: bool | dict[str, Annotated[float, Field(gt=0, le=100)] | None] | None = Field(
        default=True,
        description=guardrails_described(),
        json_schema_extra={"propertyNames": {"enum": list(GUARDRAILS)}},
    )
    shadow: bool | Annotated[float, Field(ge=0, le=1)] | None = Field(
        default=None,
        description="Share of the requests on which both models are run; true for all. "
        "Absent: all, in a rollout where few users are known, else none.",
    )
    forced_variants: dict[str, str] | None = Field(default=None, max_length=10_000, description="Tester -> arm.")
    excluded_users: list[Name] | None = Field(default=None, max_length=10_000)
    rollout: RolloutRequest | None = None
    actor: Annotated[str, Field(max_length=MAX_NAME)] = ""

    @property
    def options(self) -> dict[str, Any]:
        """What was said beside the arguments that every experiment has."""
        said = {name: getattr(self, name) for name in self.model_fields_set & (OPTIONS - {"rollout"})}
        return said | ({} if self.rollout is None else {"rollout": self.rollout.model_dump()})


class PlanRequest(ExperimentRequest):
    """An experiment that is being thought of: as it would be created, but that nothing of it is needed."""

    model_config = examples(
        {"model_a": "DDQN_v1.0", "success_metric": "makespan", "duration_days": 7, "minimum_effect": 0.02}
    )

    experiment_name: Name = "plan"
    model_a: Name | None = Field(default=None, description="Its runs say how far users lie apart; all runs if absent.")  # type: ignore[assignment]
    model_b: Name | None = None  # type: ignore[assignment]
    minimum_effect: float = Field(
        default=0.02, gt=0, lt=1, description="The least improvement that one wants to find, a share of the baseline."
    )

    @property
    def is_open_ended(self) -> bool:
        return self.rollout is not None and self.duration_days is None

    @property
    def definition(self) -> dict[str, Any]:
        """In the words of `Experiment.parse`, but for `start_time`. What has no end is planned for the usual days."""
        named = {"name": self.experiment_name, "model_a": self.model_a or "?", "model_b": self.model_b or "??"}
        limits = {name: getattr(self, name) for name in ("traffic_split", "success_metric")}
        days = DEFAULT_DURATION_DAYS if self.duration_days is None else self.duration_days
        return self.options | named | limits | {"duration_days": days}


class MoveRequest(Signed):
    """Who moves an experiment, and why."""

    model_config = examples({"reason": "the results were discussed", "actor": "developer_name"})


class DescribeRequest(Signed):
    """Another title, hypothesis or owner, in any script; what is left out stays, null takes one away."""

    model_config = examples({"title": "新模型是否缩短停工", "hypothesis": "大厂的总工期缩短 2 % 以上", "owner": "王工"})

    title: Title | None = None
    hypothesis: Hypothesis | None = None
    owner: Owner | None = None

    @property
    def texts(self) -> dict[str, str | None]:
        """What was said."""
        return {name: getattr(self, name) for name in ABOUT if name in self.model_fields_set}


class AdvanceRequest(MoveRequest):
    """Who moves a rollout on, from where, and why."""

    although_worse: bool = Field(default=False, description=f"At the last stage. {_ALTHOUGH_WORSE}")
    from_stage: Annotated[int, Field(ge=0, le=100), WHOLE] | None = Field(
        default=None, description="The `rollout.stage` that was looked at: refused if it is another by now."
    )


class PromoteArmRequest(Signed):
    """The arm whose model becomes the default one, and why."""

    model_config = examples({"arm": "model_b", "reason": "better in every week"})

    arm: Name = "model_b"
    although_worse: bool = Field(default=False, description=_ALTHOUGH_WORSE)


class StopArmRequest(Signed):
    """The candidate that is taken away from its users, and why."""

    model_config = examples({"arm": "model_c", "reason": "planners complain of its crews"})

    arm: Name


class ReplayRequest(Strict):
    """Which logged requests both models are run on."""

    model_config = examples({"days": 7, "limit": 1000})

    candidate: Name | None = Field(default=None, description="The arm; model_b if absent.")
    days: float = Field(default=7, gt=0, le=3_650, description="How far back.")
    limit: Whole = Field(default=1_000, ge=1, le=10_000_000, description="The newest so many requests.")
    seed: Annotated[int, Field(ge=0, le=2**63 - 1), WHOLE] | None = Field(
        default=None, description="A random sample of `limit` requests instead of the newest."
    )
    time_budget_ms: Annotated[float, Field(ge=0, le=60_000)] | None = Field(
        default=None, description="For each model, instead of what the request had."
    )
    own_requests: bool = Field(default=False, description="Only requests that named the experiment.")


class ExperimentsQuery(Query):
    """Which experiments are listed."""

    archived: QueryFlag = Field(default=False, description="true: those in the archive, without their lists of users.")


class ArmQuery(Query):
    """Which arm is looked at."""

    arm: Annotated[str, Field(description="The arm; model_b if left out.", json_schema_extra={"enum": [*ARMS, ""]})] = (
        "model_b"
    )


class UserQuery(Query):
    """Which user is asked about."""

    user_id: Annotated[Name, about("The user.")]
