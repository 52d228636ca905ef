"""What the routes of experiments answer."""

from typing import Annotated, Literal, NotRequired

from typing_extensions import TypedDict

from scheduler_service.experiments.lifecycle import EventKind, Status
from scheduler_service.experiments.prospect import Objection
from scheduler_service.experiments.rollout import DecisionKind, PromoteOn
from scheduler_service.http.contract.figures import (
    Advised,
    Alpha,
    Comparison,
    CoursePoint,
    Direction,
    IntervalFinding,
    PairedVerdict,
    Reason,
    Replayed,
    Text,
    VerdictBasis,
)
from scheduler_service.http.contract.types import (
    Count,
    Days,
    JsonObject,
    Moment,
    Pair,
    Seconds,
    Share,
    Success,
    about,
)
from scheduler_service.stats.guardrails import GUARDRAILS
from scheduler_service.stats.judged import Word

UserShare = Annotated[Share, about("Share of the users, 0 to 1.")]
Coverage = Annotated[Share, about("Share of the users who take part, 0 to 1.")]
Split = Annotated[dict[str, UserShare], about("Arm -> share of the users who take part.")]
DefaultName = Annotated[str, about("The model of every request that no running experiment claims, as configured.")]
Detectable = Annotated[
    float | None,
    about("The least improvement that is found with a chance of 80 %, percent; null: none yet."),
]


class Transition(TypedDict):
    """What was done with an experiment, by whom, why and on which figures."""

    id: str
    time: Moment
    experiment: str
    event: EventKind
    actor: Annotated[str, about("A person; rollout or guardrail for what the service did by itself.")]
    reason: str
    reason_text: NotRequired[Annotated[list[Text], about("`reason`, if the service decided it; empty for a person's.")]]
    before: JsonObject
    after: JsonObject
    figures: Annotated[JsonObject, about("What it was decided upon.")]


class Rollout(TypedDict):
    """How a candidate is ramped up, and how far it is."""

    stages: Annotated[list[UserShare], about("Of the candidate's arm, 0 to 1, rising to 1.")]
    min_samples: Count
    min_hours: Annotated[float, about("Of each stage, hours.")]
    auto: bool
    promote_on: PromoteOn
    stage: Annotated[Count, about("Index into stages.")]
    stage_since: Moment


class Promotion(TypedDict):
    """The promotion that concluded an experiment."""

    arm: str
    model: str
    previous_default: str
    previous_stable: str | None
    is_reverted: bool
    are_tags_right: bool


class Experiment(TypedDict):
    """An experiment."""

    name: str
    model_a: str
    model_b: str
    model_c: NotRequired[str]
    model_d: NotRequired[str]
    model_e: NotRequired[str]
    model_f: NotRequired[str]
    model_g: NotRequired[str]
    model_h: NotRequired[str]
    traffic_split: Split
    success_metric: str
    start_time: Moment
    duration_days: Days
    status: Status
    min_samples: Count
    alpha: Alpha
    margin: Annotated[float, about("Of non-inferiority, a share of the baseline: 0.05 is 5 %.")]
    guardrails: Annotated[
        dict[str, Annotated[float, about("A share: 0.05 is 5 %, in the `margin_unit` of the results.")]],
        about(f"Name -> harm that is put up with; the names are {', '.join(GUARDRAILS)}."),
    ]
    title: NotRequired[str]
    hypothesis: NotRequired[Annotated[str, about("What is expected to come out.")]]
    owner: NotRequired[Annotated[str, about("Whom to ask.")]]
    coverage: NotRequired[Coverage]
    shadow: NotRequired[
        Annotated[Share, about("Share of the requests that are run a second time by both models, 0 to 1.")]
    ]
    forced_variants: NotRequired[dict[str, str]]
    excluded_users: NotRequired[list[str]]
    stopped_arms: NotRequired[
        Annotated[dict[str, Moment], about("Candidate -> since when its users get the default model.")]
    ]
    rollout: NotRequired[Rollout]
    promotion: NotRequired[Promotion]
    last_transition: NotRequired[Transition]
    archived_at: NotRequired[Annotated[Moment, about("Since when it is in the archive; left out before.")]]


class PlanBasis(TypedDict):
    """The records that a plan rests on."""

    model: Annotated[str | None, about("Whose runs the spread is of; null: of every model.")]
    days: Annotated[float, about("That the runs are of.")]
    runs: Count
    users: Count
    least_users: Count
    requests_per_day: Annotated[float, about("Of the record.")]
    new_users_per_day: Annotated[float, about("Once those on record have come again.")]
    covariate_correlation: Annotated[float | None, about("Of makespans with lower bounds, -1 to 1.")]


class RampStage(TypedDict):
    """A stage of a rollout, as planned."""

    share: UserShare
    users: Count
    days: Days


class Ramp(TypedDict):
    """How far a rollout can come with the users that are known."""

    basis: Annotated[VerdictBasis, about("What the verdict of the rollout rests on.")]
    users: Annotated[Count, about("Of the whole service, within `horizon_days`.")]
    horizon_days: Days
    stages: Annotated[
        list[RampStage],
        about("Before the promotion: users in both arms, and the first day on which the stage can be left."),
    ]
    smallest_improvement_percentage: Annotated[
        float | None, about("Percent; that the promotion can be decided by, with a chance of 80 %; null: none.")
    ]
    proposed_stages: Annotated[list[UserShare] | None, about("Which can end sooner where users are few; null: none.")]
    notes: Annotated[list[str], about("What its owner should know, in English.")]
    notes_text: Annotated[list[Text], about("What `notes` say.")]


class PlanPoint(TypedDict):
    """What is found after so many days."""

    days: Annotated[float, about("Since the beginning.")]
    users: dict[str, Count]
    minimum_detectable_effect_percentage: Detectable


class Plan(TypedDict):
    """How long an experiment would take."""

    metric: str
    direction: Direction
    alpha: Annotated[float, about("Of each candidate; a share: 0.05 is 5 %.")]
    power: Annotated[Share, about("Chance of finding what is there, a share: 0.8 is 80 %.")]
    reason: Annotated[Reason | None, about("Why the records do not allow a plan.")]
    basis: PlanBasis
    minimum_effect_percentage: Annotated[float, about("Improvement that is to be found, percent.")]
    users_needed: Annotated[dict[str, Count] | None, about("Arm -> users.")]
    days_needed: Annotated[float | None, about("To find the minimum effect; null: beyond ten years.")]
    days_to_non_inferior: Annotated[float | None, about("If both are equal, until that is sure by the margin.")]
    is_long_enough: Annotated[bool | None, about("Whether the minimum effect is found before the planned end.")]
    conclusion: Annotated[str | None, about("Whether the days are enough, and what to do if not; null: no plan.")]
    conclusion_text: Annotated[Text | None, about("What `conclusion` says.")]
    duration_days: Days
    is_open_ended: Annotated[bool, about("No end is planned; `duration_days` is the period of the estimate.")]
    users_in_duration: dict[str, Count]
    minimum_detectable_effect_percentage: Detectable
    ramp: Ramp | None
    curve: list[PlanPoint]


class PlanAnswer(Success):
    """How long an experiment would take."""

    plan: Plan


class Course(TypedDict):
    """How the improvement and its bounds came to be what they are."""

    experiment_name: str
    metric: str
    users: Annotated[dict[str, list[CoursePoint]], about("Candidate -> its improvement at up to 40 moments.")]
    pairs: Annotated[dict[str, list[CoursePoint]], about("shadow and replay, where there are pairs: of model_b.")]


class CourseAnswer(Success):
    """How the improvement came about."""

    course: Course


class ExperimentsAnswer(Success):
    """The experiments."""

    experiments: list[Experiment]
    total: Count
    default_model: DefaultName


class ExperimentAnswer(Success):
    """One experiment."""

    experiment: Experiment
    default_model: DefaultName


class ExperimentChangedAnswer(Success):
    """An experiment after a change."""

    experiment_name: str
    message: str
    experiment: Experiment


class ExperimentCreatedAnswer(ExperimentChangedAnswer):
    """A new experiment."""

    notes: Annotated[list[str], about("Of a rollout: how far it can come with the users that are known.")]
    notes_text: Annotated[list[Text], about("What `notes` say.")]


class Assignment(TypedDict):
    """Where a user falls, and why."""

    experiment: str
    status: Status
    user_id: str
    variant: Annotated[str | None, about("The arm now; null: none.")]
    variant_while_active: str | None
    stopped_arm: Annotated[str | None, about("The arm that they were in until it was stopped; null: none.")]
    model: str
    reason: str
    why: str
    why_text: Annotated[list[Text], about("What `why` says.")]
    bucket: Annotated[Share | None, about("Where the hash falls, 0 to 1; null where nothing was hashed.")]
    hash_version: int
    coverage: Coverage
    ranges: Annotated[
        dict[str, Annotated[Pair, about("Of buckets, 0 to 1.")]], about("Arm -> its buckets, [from, to).")
    ]


class AssignmentAnswer(Success):
    """Where a user falls."""

    assignment: Assignment


class ExperimentHistoryAnswer(Success):
    """What was done with an experiment."""

    history: list[Transition]
    total: Count


class Condition(TypedDict):
    """A condition for leaving the stage."""

    text: Text
    is_met: bool


class RolloutDecision(TypedDict):
    """What an active rollout does next by itself."""

    kind: DecisionKind
    reason: str
    reason_text: Annotated[list[Text], about("What `reason` says.")]
    conditions: Annotated[list[Condition], about("For leaving the stage.")]


class Results(Comparison):
    """What the runs say of an experiment: of model_b, and of each further candidate in `comparisons`."""

    experiment_name: str
    status: Status
    models: dict[str, str]
    traffic_split: Split
    coverage: Coverage
    start_time: Moment
    end_time: Moment
    verdict_basis: VerdictBasis
    paired: Annotated[dict[str, PairedVerdict], about("shadow and replay, where there are pairs.")]
    comparisons: Annotated[dict[str, Comparison], about("The same figures of model_c and further candidates.")]
    rollout: Rollout | None
    is_baseline_the_default: Annotated[bool, about("Whether model_a is what answers by default.")]
    rollout_decision: Annotated[
        RolloutDecision | None,
        about("What an active rollout does next by itself, and why; hold: what it waits for."),
    ]
    stopped_arms: Annotated[dict[str, Moment], about("Candidate -> its end; its figures are of the runs until then.")]
    stage_samples: Annotated[dict[str, Count] | None, about("Arm -> values of the metric since the stage began.")]


class ResultsAnswer(Success):
    """What the runs say of an experiment."""

    results: Results


class ObjectionTold(TypedDict):
    """What speaks against a promotion."""

    code: Objection
    message: str
    text: Text


class ExperimentOutlook(TypedDict):
    """What promoting the arm would rest on. Of model_a all is null and empty."""

    experiment_name: str
    arm: str
    model: str
    default_model: DefaultName
    verdict: Word | None
    verdict_reason: Reason | None
    verdict_sentence: str | None
    verdict_text: list[Text] | None
    recommendation: str | None
    recommendation_text: Text | None
    advised_move: Advised
    needs_consent: Annotated[bool, about("Whether promoting it takes `although_worse`.")]
    objections: list[ObjectionTold]
    findings: Annotated[list[IntervalFinding], about("Every interval there is; those wholly on the bad side first.")]


class ExperimentOutlookAnswer(Success):
    """What promoting an arm would rest on."""

    outlook: ExperimentOutlook


class Replay(Replayed):
    """The last replay of an experiment."""

    experiment: str
    candidate: str
    models: dict[str, str]
    replay_id: str | None
    state: Literal["running", "done", "unfinished", "failed", "identical"]
    done: Count
    total: Count
    remaining_s: Seconds | None
    began_at: Moment | None
    options: JsonObject
    error: str | None
    verdict: PairedVerdict


class ReplayAnswer(Success):
    """How far a replay is, and what it says so far."""

    replay: Replay
