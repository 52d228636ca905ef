"""The figures and verdicts of experiments, as they are answered."""

from typing import Annotated, Literal, NotRequired

from typing_extensions import TypedDict

from scheduler_service.experiments.advice import AdvisedMove
from scheduler_service.experiments.finding import Basis, Side
from scheduler_service.http.contract.types import Count, Hours, JsonObject, Moment, Pair, Share, about, one_of
from scheduler_service.stats.breaker import BREAKER
from scheduler_service.stats.guardrails import GUARDRAILS, GuardrailState, MarginUnit, Unit
from scheduler_service.stats.headline import Cause
from scheduler_service.stats.judged import Word
from scheduler_service.stats.metrics import PAIRED, metrics_described

Direction = Literal["lower_is_better", "higher_is_better"]
VerdictBasis = Literal["users", "pairs"]
Improvement = Annotated[float | None, about("Percent of the baseline; positive when the candidate is better.")]
ConfidenceSequence = Annotated[
    Pair | None, about("Bounds of the improvement that hold at every moment, percent: [low, high].")
]
Level = Annotated[Share, about("Chance that the bounds hold, a share: 0.95 is 95 %.")]
Alpha = Annotated[float, about("Chance of an error that is put up with, a share: 0.05 is 5 %.")]
OfMetric = Annotated[
    float | None,
    about(f"In the metric's unit: {metrics_described()}."),
]
Advised = Annotated[
    AdvisedMove | None,
    about("The move that the verdict calls for; null: go on, or find something out first."),
]
UsersOfArms = Annotated[dict[str, Count], about("Arm -> users; of pairs the same users for both.")]
SamplesOfArms = Annotated[dict[str, Count], about("Arm -> requests, or pairs.")]
Interval = Annotated[Pair | None, about("Of the improvement: [low, high].")]
MetricUnit = Annotated[Literal["h", "s"] | None, about("Of `change` and `baseline_mean`; null: the metric has none.")]


class Text(TypedDict):
    """A text of the catalogue: `/console/words/<language>.json` holds it at the path `code`."""

    code: str
    params: Annotated[JsonObject, about("The values of the text's parameters; a value may itself be a text.")]


class Reason(TypedDict):
    """Why a figure cannot be computed."""

    code: str
    message: str
    text: Text


class Summary(TypedDict):
    """Figures of a metric."""

    mean: OfMetric
    count: Count
    min: OfMetric
    max: OfMetric
    std: OfMetric


class CannotTell(TypedDict):
    """Both arms answer proven optima, so that no figure of the answers tells the models apart."""

    code: Literal["proven_optimal"]
    message: str
    text: Text
    telling_metric: str
    proven_shares: Annotated[
        dict[str, Annotated[Share, about("Share of the answers, 0 to 1.")]],
        about("Arm -> of its answers that are proven optimal."),
    ]


class Contradiction(TypedDict):
    """The raw means and the effect that the verdict rests on have opposite signs."""

    causes: Annotated[
        list[Cause],
        about(
            "failures: the raw means leave failed runs out; requests: the candidate's requests are longer or shorter; "
            "pairs: the effect is of the same requests; weights: few users with large values outweigh the others."
        ),
    ]
    message: str
    text: Text
    raw_improvement_percentage: Annotated[float, about("Percent of the baseline: `improvement_percentage`.")]
    effect_improvement_percentage: Annotated[float, about("Percent of the baseline: that of `anytime_effect`.")]
    failed_percentages: Annotated[Pair, about("Percent of the requests: [baseline, candidate].")]
    requests_longer_percentage: Annotated[
        float | None,
        about("By which the candidate's requests are longer than the baseline's, by their lower bounds."),
    ]


class Guardrail(TypedDict):
    """A guardrail of an experiment, and how it stands."""

    name: Annotated[str, about(f"{', '.join(GUARDRAILS)}, or {BREAKER}: the circuit breaker.")]
    label: Annotated[Text, about("The harm in words.")]
    margin: Annotated[float, about("Harm that is put up with; a share (0.05 is 5 %) in `margin_unit`.")]
    margin_percentage: Annotated[float, about("The same in percent; of success, percentage points.")]
    margin_unit: Annotated[
        MarginUnit,
        about(
            "share_of_baseline: of the baseline's geometric mean; share_of_requests: absolute, of the requests; "
            "share_of_baseline_percentile: of the baseline's 95th percentile, above which a run counts as slow."
        ),
    ]
    state: GuardrailState
    unit: Annotated[
        Unit,
        about(
            "Of `harm`. share_of_baseline: by which the schedules are longer; share_of_requests: the baseline's "
            "success rate minus the candidate's, or how much more of the candidate's runs are slow; of the breaker, "
            "`requests`, how many of the candidate's requests its own model failed on."
        ),
    ]
    harm: Annotated[float | None, about("As seen; a share (0.05 is 5 %) in `unit`, negative where it is a benefit.")]
    harm_percentage: Annotated[float | None, about("The same in percent; of share_of_requests, percentage points.")]
    harm_bounds: Annotated[Pair | None, about("Of `harm`, in its unit; they hold at every moment: [low, high].")]
    harm_bounds_percentage: Annotated[
        Pair | None, about("The same in percent; of share_of_requests, percentage points.")
    ]
    harm_limit: Annotated[
        float, about("What the bounds are held against, a share in `unit`: breached above, kept below.")
    ]
    users: Annotated[list[Count], about("Of the baseline and of the candidate.")]
    message: str
    text: Annotated[Text, about("What `message` says.")]
    is_within_reach: Annotated[
        bool, about("Whether so many users could show that it is kept; if not, nobody waits for it.")
    ]


class Judged(TypedDict):
    """A verdict and what follows from it."""

    verdict: Word
    verdict_reason: Reason | None
    verdict_sentence: str
    verdict_text: Annotated[list[Text], about("What `verdict_sentence` says.")]
    recommendation: str
    recommendation_text: Annotated[Text, about("What `recommendation` says.")]
    cannot_tell: Annotated[
        CannotTell | None, about("Why more data will not decide, and which metric would; null: it may decide.")
    ]
    margin_percentage: Annotated[
        float, about("Percent of the baseline that the candidate may be worse and still be called non_inferior.")
    ]


class Replayed(TypedDict):
    """How often the same two models were replayed."""

    alpha: Annotated[
        Share, about("Chance of a wrong verdict; replay k of the same two models is left 1 / (k (k + 1)) of it.")
    ]
    replay_number: Annotated[Count | None, about("Of all replays of the same two models; null: no replay.")]


class ImprovementInterval(TypedDict):
    """An interval of the improvement, and on which side it lies."""

    side: Annotated[
        Side, about("worse, better: where the whole interval lies; open: on both sides; unknown: there is none.")
    ]
    improvement_percentage: Improvement
    interval_percentage: Interval
    change_percentage: Annotated[Pair | None, about("By which the candidate's metric is higher: [low, high].")]
    change: Annotated[Pair | None, about("The same in `unit`, at the baseline's mean; null where there is no unit.")]
    unit: MetricUnit
    baseline_mean: Annotated[float | None, about("Mean of the users of model_a, in the metric's unit.")]
    users: UsersOfArms
    samples: SamplesOfArms


class SizeClass(ImprovementInterval):
    """The effect on requests of so many work points."""

    from_workpoints: Count
    to_workpoints: Annotated[Count | None, about("null: any more.")]
    reason: Annotated[Reason | None, about("Why there is no interval.")]


class BySize(TypedDict):
    """The effect by number of work points; a breakdown that decides nothing."""

    basis: VerdictBasis
    confidence_level: Annotated[Share, about("Of each interval; all classes together hold at that of the verdict.")]
    classes: list[SizeClass]
    unknown_samples: Annotated[Count, about("Requests, or pairs, whose size is not on record.")]


class AnytimeEffect(TypedDict):
    """The headline: the improvement that the verdict rests on, with bounds that are valid at every moment.

    Where the metric is a makespan, each request is measured by its lower bound, and failures count.
    """

    improvement_percentage: Improvement
    confidence_sequence: ConfidenceSequence
    confidence_level: Level
    users: Annotated[Count, about("That it rests on; of both arms together, or of pairs.")]
    covariate_correlation: Annotated[
        float | None, about("Of makespans with lower bounds, or of both sides of pairs; -1 to 1, null: neither.")
    ]


class Failing(TypedDict):
    """The candidate fails more often."""

    is_certain: bool
    success_rates: Annotated[Pair, about("Shares of the requests answered, 0 to 1: [baseline, candidate].")]


class Secondary(TypedDict):
    """A metric that the experiment is not judged by."""

    direction: str
    improvement_percentage: Annotated[
        float | None, about("Of the raw means of the users, percent of the baseline's; positive is better.")
    ]
    p_value: Annotated[
        Share | None, about("Chance, 0 to 1, of means this far apart or farther if nothing differs; one look.")
    ]
    p_value_holm: Annotated[Share | None, about("Corrected for looking at several metrics (Holm), 0 to 1.")]
    is_significant: Annotated[bool, about("`p_value_holm` is below 0.05.")]
    reason: Reason | None


class Comparison(Judged):
    """A candidate against the baseline."""

    metric: str
    advised_move: Advised
    direction: Direction
    total_requests: Annotated[dict[str, Count], about("Arm -> runs.")]
    users: Annotated[dict[str, Count], about("Arm -> users.")]
    average_metrics: Annotated[dict[str, dict[str, Summary]], about("Arm -> metric -> its figures over requests.")]
    user_means: Annotated[dict[str, Summary], about("Arm -> the success metric over the users' means.")]
    improvement_percentage: Annotated[
        float | None,
        about(
            "Of the raw means of successful runs (means of `user_means`), percent of the baseline's; positive when "
            "the candidate is better, whatever the direction. Not what the verdict rests on: that is `anytime_effect`."
        ),
    ]
    confidence_interval: Annotated[
        Pair | None,
        about("Of that raw improvement, percent, at `confidence_level`; holds for one look at the end: [low, high]."),
    ]
    confidence_level: Annotated[Share, about("Of `confidence_interval`, a share: 0.95 is 95 %.")]
    p_value: Annotated[
        Share | None, about("Of equal raw means of successful runs (Welch), 0 to 1; holds for one look at the end.")
    ]
    srm_p_value: Annotated[
        Share | None, about("Whether the users fell into the arms as they should, 0 to 1; 0.001 is an alarm.")
    ]
    is_significant: Annotated[
        bool,
        about("Each arm has `min_samples` values, and `p_value` is below `alpha`: of the raw means, for one look."),
    ]
    alpha: Alpha
    min_samples: Count
    reasons: Annotated[dict[str, Reason], about("Figure -> why it is null.")]
    summary: Annotated[
        str,
        about("What contradicts the verdict, if anything; the verdict and its effect; then the raw means, named so."),
    ]
    raw_means_text: Annotated[list[Text], about("What `summary` says of the raw means.")]
    split_text: Annotated[Text, about("Whether the users are split as configured.")]
    by_size: BySize
    raw_means_contradict: Annotated[
        bool, about("`improvement_percentage` and that of `anytime_effect` have opposite signs: go by the latter.")
    ]
    contradiction: Annotated[Contradiction | None, about("Why they have; null: they have not.")]
    anytime_effect: AnytimeEffect | None
    minimum_detectable_effect_percentage: Annotated[
        float | None,
        about("The least improvement that is found by now with a chance of 80 %, percent of the baseline."),
    ]
    projected_days_left: Annotated[float | None, about("Until a verdict, if all goes on as it is; days.")]
    projected_days_left_range: Annotated[
        list[float | None] | None, about("Of one standard error, [least, most]; a null most is beyond ten years.")
    ]
    projected_days_left_text: Annotated[Text | None, about("The days, in whole numbers.")]
    projected_days_left_reason: Annotated[Reason | None, about("Why no days are projected.")]
    failing: Annotated[Failing | None, about("Where the candidate fails more often; else null.")]
    guardrails: list[Guardrail]
    secondary: Annotated[
        dict[str, Secondary],
        about("Metrics that the experiment is not judged by: raw means and tests of one look, which decide nothing."),
    ]


class WorstPair(TypedDict):
    """A request where the candidate lost."""

    makespan_a: Hours
    makespan_b: Hours
    ratio: Annotated[float, about("Candidate's over baseline's makespan.")]
    policy_makespan_a: NotRequired[Hours]
    policy_makespan_b: NotRequired[Hours]
    request_id: NotRequired[str]
    user_id: NotRequired[str | None]
    n_workpoints: NotRequired[Count | None]
    input_digest: NotRequired[str | None]


class PairedVerdict(Judged, Replayed):
    """What pairs of runs on the same requests say."""

    metric: Annotated[str, one_of(*PAIRED)]
    pairs: Count
    users: Count
    distinct_instances: Count
    wins: Count
    ties: Count
    losses: Count
    improvement_percentage: Improvement
    geometric_mean_ratio: Annotated[float | None, about("Candidate's over baseline's makespan; below 1 is better.")]
    correlation: Annotated[float | None, about("Of both models' makespans, -1 to 1.")]
    confidence_sequence: ConfidenceSequence
    p_value: Annotated[Share | None, about("Of the paired t-test, 0 to 1; holds for one look at the end.")]
    p_value_reason: Reason | None
    failures: dict[str, Count]
    worst: Annotated[list[WorstPair], about("The requests where the candidate lost most.")]


class IntervalFinding(ImprovementInterval):
    """An interval that speaks for or against a promotion."""

    basis: Annotated[Basis, about("What the interval is of; raw_means: holds for one look at the end.")]
    is_of_verdict: Annotated[bool, about("Whether the verdict rests on it.")]
    metric: str
    confidence_level: Level
    sentence: Annotated[str, about("The interval, its sign and the samples in words.")]
    text: Text


class CoursePoint(TypedDict):
    """The improvement at a moment."""

    time: Moment
    improvement_percentage: Improvement
    confidence_sequence: ConfidenceSequence
