"""What is answered of figures and verdicts, in the words of schemas."""

from typing import get_args

from scheduler_service.experiments.advice import ADVISED_MOVES
from scheduler_service.experiments.finding import BASES, SIDES
from scheduler_service.http.contract.answers.words import (
    COUNT,
    FLAG,
    NUMBER,
    PAIR,
    SHARE,
    TEXT,
    list_of,
    map_of,
    maybe,
    object_of,
    one_of,
    ref,
    told,
)
from scheduler_service.stats.guardrails import MarginUnit, Unit
from scheduler_service.stats.headline import Cause

IMPROVEMENT = told(maybe(NUMBER), "Percent of the baseline; positive when the candidate is better.")
SEQUENCE = told(maybe(PAIR), "Bounds of the improvement that hold at every moment, percent: [low, high].")
LEVEL = told(SHARE, "Chance that the bounds hold, a share: 0.95 is 95 %.")
ALPHA = told(NUMBER, "Chance of an error that is put up with, a share: 0.05 is 5 %.")
P_VALUE = told(maybe(SHARE), "Chance, 0 to 1, of means this far apart or farther if nothing differs; one look.")
OF_METRIC = told(
    maybe(NUMBER),
    "In the metric's unit: makespans hours; execution_time seconds; gap a share of the lower bound; "
    "resource_utilization and success shares, 0 to 1; user_satisfaction 1 to 5.",
)
SUMMARY = object_of({"mean": OF_METRIC, "count": COUNT} | dict.fromkeys(("min", "max", "std"), OF_METRIC))
WHY = object_of({"code": TEXT, "message": TEXT}, about="Why a figure cannot be computed.")
WORDS = ("better", "non_inferior", "worse", "inconclusive", "invalid", "identical")
JUDGED = {
    "verdict": one_of(*WORDS),
    "verdict_reason": maybe(ref("Reason")),
    "verdict_sentence": TEXT,
    "recommendation": TEXT,
    "cannot_tell": told(
        maybe(ref("CannotTell")), "Why more data will not decide, and which metric would; null: it may decide."
    ),
    "margin_percentage": told(
        NUMBER, "Percent of the baseline that the candidate may be worse and still be called non_inferior."
    ),
}
COUNTED = {
    "alpha": told(SHARE, "Chance of a wrong verdict; replay k of the same two models is left 1 / (k (k + 1)) of it."),
    "replay_number": told(maybe(COUNT), "Of all replays of the same two models; null: no replay."),
}
CANNOT_TELL = object_of(
    {
        "code": one_of("proven_optimal"),
        "message": TEXT,
        "telling_metric": TEXT,
        "proven_shares": map_of(
            told(SHARE, "Share of the answers, 0 to 1."), "Arm -> of its answers that are proven optimal."
        ),
    },
    about="Both arms answer proven optima, so that no figure of the answers tells the models apart.",
)
GUARDRAIL = object_of(
    {
        "name": TEXT,
        "margin": told(NUMBER, "Harm that is put up with; a share (0.05 is 5 %) in `margin_unit`."),
        "margin_percentage": told(NUMBER, "The same in percent; of success, percentage points."),
        "margin_unit": told(
            one_of(*get_args(MarginUnit)),
            "share_of_baseline: of the baseline's geometric mean; share_of_requests: absolute, of the requests; "
            "share_of_baseline_percentile: of the baseline's 95th percentile, above which a run counts as slow.",
        ),
        "state": one_of("breached", "kept", "undecided"),
        "unit": told(
            one_of(*get_args(Unit)),
            "Of `harm`. share_of_baseline: by which the schedules are longer; share_of_requests: the baseline's "
            "success rate minus the candidate's, or how much more of the candidate's runs are slow; of the breaker, "
            "`requests`, how many of the candidate's requests its own model failed on.",
        ),
        "harm": told(maybe(NUMBER), "As seen; a share (0.05 is 5 %) in `unit`, negative where it is a benefit."),
        "harm_percentage": told(maybe(NUMBER), "The same in percent; of share_of_requests, percentage points."),
        "harm_bounds": told(maybe(PAIR), "Of `harm`, in its unit; they hold at every moment: [low, high]."),
        "harm_bounds_percentage": told(maybe(PAIR), "The same in percent; of share_of_requests, percentage points."),
        "harm_limit": told(NUMBER, "What the bounds are held against, a share in `unit`: breached above, kept below."),
        "users": told(list_of(COUNT), "Of the baseline and of the candidate."),
        "message": TEXT,
        "is_within_reach": told(FLAG, "Whether so many users could show that it is kept; if not, nobody waits for it."),
    }
)
ADVISED = told(
    maybe(one_of(*ADVISED_MOVES)), "The move that the verdict calls for; null: go on, or find something out first."
)
FIGURES = {
    "metric": TEXT,
    "advised_move": ADVISED,
    "direction": one_of("lower_is_better", "higher_is_better"),
    "total_requests": map_of(COUNT, "Arm -> runs."),
    "users": map_of(COUNT, "Arm -> users."),
    "average_metrics": map_of(map_of(ref("Summary")), "Arm -> metric -> its figures over requests."),
    "user_means": map_of(ref("Summary"), "Arm -> the success metric over the users' means."),
    "improvement_percentage": told(
        maybe(NUMBER),
        "Of the raw means of successful runs (means of `user_means`), percent of the baseline's; positive when the "
        "candidate is better, whatever the direction. Not what the verdict rests on: that is `anytime_effect`.",
    ),
    "confidence_interval": told(
        maybe(PAIR),
        "Of that raw improvement, percent, at `confidence_level`; holds for one look at the end: [low, high].",
    ),
    "confidence_level": told(SHARE, "Of `confidence_interval`, a share: 0.95 is 95 %."),
    "p_value": told(
        maybe(SHARE), "Of equal raw means of successful runs (Welch), 0 to 1; holds for one look at the end."
    ),
    "srm_p_value": told(
        maybe(SHARE), "Whether the users fell into the arms as they should, 0 to 1; 0.001 is an alarm."
    ),
    "is_significant": told(
        FLAG, "Each arm has `min_samples` values, and `p_value` is below `alpha`: of the raw means, for one look."
    ),
    "alpha": ALPHA,
    "min_samples": COUNT,
    "reasons": map_of(ref("Reason"), "Figure -> why it is null."),
    "summary": told(
        TEXT, "What contradicts the verdict, if anything; the verdict and its effect; then the raw means, named so."
    ),
    "by_size": object_of(
        {
            "basis": one_of("users", "pairs"),
            "confidence_level": told(SHARE, "Of each interval; all classes together hold at that of the verdict."),
            "classes": list_of(
                object_of(
                    {
                        "from_workpoints": COUNT,
                        "to_workpoints": told(maybe(COUNT), "null: any more."),
                        "side": told(one_of(*SIDES), "Where the whole interval lies; unknown: there is none."),
                        "improvement_percentage": IMPROVEMENT,
                        "interval_percentage": told(maybe(PAIR), "Of the improvement: [low, high]."),
                        "change_percentage": told(maybe(PAIR), "By which the metric is higher: [low, high]."),
                        "change": told(maybe(PAIR), "The same in `unit`, at the baseline's mean in the class."),
                        "unit": told(maybe(one_of("h", "s")), "Of `change` and `baseline_mean`."),
                        "baseline_mean": told(maybe(NUMBER), "Mean of model_a's users, in the metric's unit."),
                        "users": map_of(COUNT, "Arm -> users; of pairs the same users for both."),
                        "samples": map_of(COUNT, "Arm -> requests, or pairs."),
                        "reason": told(maybe(ref("Reason")), "Why there is no interval."),
                    }
                )
            ),
            "unknown_samples": told(COUNT, "Requests, or pairs, whose size is not on record."),
        },
        about="The effect by number of work points; a breakdown that decides nothing.",
    ),
    "raw_means_contradict": told(
        FLAG, "`improvement_percentage` and that of `anytime_effect` have opposite signs: go by the latter."
    ),
    "contradiction": told(maybe(ref("Contradiction")), "Why they have; null: they have not."),
    **JUDGED,
    "anytime_effect": maybe(
        object_of(
            {
                "improvement_percentage": IMPROVEMENT,
                "confidence_sequence": SEQUENCE,
                "confidence_level": LEVEL,
                "users": told(COUNT, "That it rests on; of both arms together, or of pairs."),
                "covariate_correlation": told(
                    maybe(NUMBER), "Of makespans with lower bounds, or of both sides of pairs; -1 to 1, null: neither."
                ),
            },
            about="The headline: the improvement that the verdict rests on, with bounds that are valid at every "
            "moment. Where the metric is a makespan, each request is measured by its lower bound, and failures count.",
        )
    ),
    "minimum_detectable_effect_percentage": told(
        maybe(NUMBER), "The least improvement that is found by now with a chance of 80 %, percent of the baseline."
    ),
    "projected_days_left": told(maybe(NUMBER), "Until a verdict, if all goes on as it is; days."),
    "projected_days_left_range": told(
        maybe(list_of(maybe(NUMBER))), "Of one standard error, [least, most]; a null most is beyond ten years."
    ),
    "projected_days_left_reason": told(maybe(ref("Reason")), "Why no days are projected."),
    "failing": told(
        maybe(
            object_of(
                {
                    "is_certain": FLAG,
                    "success_rates": told(PAIR, "Shares of the requests answered, 0 to 1: [baseline, candidate]."),
                }
            )
        ),
        "Where the candidate fails more often; else null.",
    ),
    "guardrails": list_of(ref("Guardrail")),
    "secondary": map_of(
        object_of(
            {
                "direction": TEXT,
                "improvement_percentage": told(
                    maybe(NUMBER), "Of the raw means of the users, percent of the baseline's; positive is better."
                ),
                "p_value": P_VALUE,
                "p_value_holm": told(maybe(SHARE), "Corrected for looking at several metrics (Holm), 0 to 1."),
                "is_significant": told(FLAG, "`p_value_holm` is below 0.05."),
                "reason": maybe(ref("Reason")),
            }
        ),
        "Metrics that the experiment is not judged by: raw means and tests of one look, which decide nothing.",
    ),
}
CONTRADICTION = object_of(
    {
        "causes": told(
            list_of(one_of(*get_args(Cause))),
            "failures: the raw means leave failed runs out; requests: the candidate's requests are longer or shorter; "
            "pairs: the effect is of the same requests; weights: few users with large values outweigh the others.",
        ),
        "message": TEXT,
        "raw_improvement_percentage": told(NUMBER, "Percent of the baseline: `improvement_percentage`."),
        "effect_improvement_percentage": told(NUMBER, "Percent of the baseline: that of `anytime_effect`."),
        "failed_percentages": told(PAIR, "Percent of the requests: [baseline, candidate]."),
        "requests_longer_percentage": told(
            maybe(NUMBER), "By which the candidate's requests are longer than the baseline's, by their lower bounds."
        ),
    },
    about="The raw means and the effect that the verdict rests on have opposite signs.",
)

FINDING = object_of(
    {
        "basis": told(one_of(*BASES), "What the interval is of; raw_means: holds for one look at the end."),
        "is_of_verdict": told(FLAG, "Whether the verdict rests on it."),
        "metric": TEXT,
        "side": told(
            one_of(*SIDES), "worse, better: where the whole interval lies; open: on both sides; unknown: there is none."
        ),
        "improvement_percentage": IMPROVEMENT,
        "interval_percentage": told(maybe(PAIR), "Of the improvement: [low, high]."),
        "change_percentage": told(maybe(PAIR), "By which the candidate's metric is higher: [low, high]."),
        "change": told(maybe(PAIR), "The same in `unit`, at the baseline's mean; null where there is no unit."),
        "unit": told(maybe(one_of("h", "s")), "Of `change` and `baseline_mean`; null: the metric has none."),
        "baseline_mean": told(maybe(NUMBER), "Mean of the users of model_a, in the metric's unit."),
        "confidence_level": LEVEL,
        "users": map_of(COUNT, "Arm -> users; of pairs the same users for both."),
        "samples": map_of(COUNT, "Arm -> requests, or pairs."),
        "sentence": told(TEXT, "The interval, its sign and the samples in words."),
    }
)
