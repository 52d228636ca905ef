"""What the routes of experiments answer: their state, their figures, and verdicts."""

from typing import get_args

from scheduler_service.experiments.lifecycle import EventKind, Status
from scheduler_service.http.contract.answers.words import (
    ANYTHING,
    COUNT,
    FLAG,
    NUMBER,
    PAIR,
    SHARE,
    TEXT,
    TIME,
    Schema,
    list_of,
    map_of,
    maybe,
    object_of,
    one_of,
    ref,
    success,
    told,
)
from scheduler_service.stats.guardrails import MarginUnit, Unit
from scheduler_service.stats.headline import Cause
from scheduler_service.stats.metrics import PAIRED

_TRANSITION = object_of(
    {
        "id": TEXT,
        "time": TIME,
        "experiment": TEXT,
        "event": one_of(*get_args(EventKind)),
        "actor": told(TEXT, "A person; rollout or guardrail for what the service did by itself."),
        "reason": TEXT,
        "before": ANYTHING,
        "after": ANYTHING,
        "figures": told(ANYTHING, "What it was decided upon."),
    }
)
_IMPROVEMENT = told(maybe(NUMBER), "Percent of the baseline; positive when the candidate is better.")
_SEQUENCE = told(maybe(PAIR), "Bounds of the improvement that hold at every moment, percent: [low, high].")
_LEVEL = told(SHARE, "Chance that the bounds hold, a share: 0.95 is 95 %.")
_ALPHA = told(NUMBER, "Chance of an error that is put up with, a share: 0.05 is 5 %.")
_P_VALUE = told(maybe(SHARE), "Chance, 0 to 1, of means this far apart or farther if nothing differs; one look.")
_USERS_SHARE = told(SHARE, "Share of the users, 0 to 1.")
_ROLLOUT = object_of(
    {
        "stages": told(list_of(_USERS_SHARE), "Of the candidate's arm, 0 to 1, rising to 1."),
        "min_samples": COUNT,
        "min_hours": told(NUMBER, "Of each stage, hours."),
        "auto": FLAG,
        "promote_on": one_of("better", "non_inferior"),
        "stage": told(COUNT, "Index into stages."),
        "stage_since": TIME,
    }
)
_OF_METRIC = told(
    maybe(NUMBER),
    "In the metric's unit: makespans hours; execution_time seconds; gap a share of the lower bound; "
    "resource_utilization and success shares, 0 to 1; user_satisfaction 1 to 5.",
)
_SUMMARY = object_of({"mean": _OF_METRIC, "count": COUNT} | dict.fromkeys(("min", "max", "std"), _OF_METRIC))
_WHY = object_of({"code": TEXT, "message": TEXT}, about="Why a figure cannot be computed.")
_WORDS = ("better", "non_inferior", "worse", "inconclusive", "invalid", "identical")
_JUDGED = {
    "verdict": one_of(*_WORDS),
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
_COUNTED = {
    "alpha": told(SHARE, "Chance of a wrong verdict; replay k of the same two models is left 1 / (k (k + 1)) of it."),
    "replay_number": told(maybe(COUNT), "Of all replays of the same two models; null: no replay."),
}
_CANNOT_TELL = object_of(
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
_GUARDRAIL = object_of(
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
_FIGURES = {
    "metric": TEXT,
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
    "alpha": _ALPHA,
    "min_samples": COUNT,
    "reasons": map_of(ref("Reason"), "Figure -> why it is null."),
    "summary": told(
        TEXT, "What contradicts the verdict, if anything; the verdict and its effect; then the raw means, named so."
    ),
    "raw_means_contradict": told(
        FLAG, "`improvement_percentage` and that of `anytime_effect` have opposite signs: go by the latter."
    ),
    "contradiction": told(maybe(ref("Contradiction")), "Why they have; null: they have not."),
    **_JUDGED,
    "anytime_effect": maybe(
        object_of(
            {
                "improvement_percentage": _IMPROVEMENT,
                "confidence_sequence": _SEQUENCE,
                "confidence_level": _LEVEL,
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
                "p_value": _P_VALUE,
                "p_value_holm": told(maybe(SHARE), "Corrected for looking at several metrics (Holm), 0 to 1."),
                "is_significant": told(FLAG, "`p_value_holm` is below 0.05."),
                "reason": maybe(ref("Reason")),
            }
        ),
        "Metrics that the experiment is not judged by: raw means and tests of one look, which decide nothing.",
    ),
}
_ARMS = {f"model_{letter}": TEXT for letter in "ab"}
_MORE_ARMS = {f"model_{letter}": TEXT for letter in "cdefgh"}
_HOURS = told(NUMBER, "Hours.")
_LOST = object_of(
    {"makespan_a": _HOURS, "makespan_b": _HOURS, "ratio": told(NUMBER, "Candidate's over baseline's makespan.")},
    {
        "policy_makespan_a": _HOURS,
        "policy_makespan_b": _HOURS,
        "request_id": TEXT,
        "user_id": maybe(TEXT),
        "n_workpoints": maybe(COUNT),
        "input_digest": maybe(TEXT),
    },
)

_SEEN = told(maybe(NUMBER), "The least improvement that is found with a chance of 80 %, percent; null: none yet.")
_DEFAULT = told(TEXT, "The model of every request that no running experiment claims, as configured.")
_POINT = object_of({"time": TIME, "improvement_percentage": _IMPROVEMENT, "confidence_sequence": _SEQUENCE})
_CONTRADICTION = object_of(
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

_RAMP = object_of(
    {
        "basis": told(one_of("users", "pairs"), "What the verdict of the rollout rests on."),
        "users": told(COUNT, "Of the whole service, within `horizon_days`."),
        "horizon_days": told(NUMBER, "Days."),
        "stages": told(
            list_of(object_of({"share": _USERS_SHARE, "users": COUNT, "days": told(NUMBER, "Days.")})),
            "Before the promotion: users in both arms, and the first day on which the stage can be left.",
        ),
        "smallest_improvement_percentage": told(
            maybe(NUMBER), "Percent; that the promotion can be decided by, with a chance of 80 %; null: none."
        ),
        "proposed_stages": told(maybe(list_of(_USERS_SHARE)), "Which can end sooner where users are few; null: none."),
        "notes": told(list_of(TEXT), "What its owner should know, in English."),
    },
    about="How far a rollout can come with the users that are known.",
)

EXPERIMENTS: dict[str, Schema] = {
    "Reason": _WHY,
    "CannotTell": _CANNOT_TELL,
    "Contradiction": _CONTRADICTION,
    "Summary": _SUMMARY,
    "Guardrail": _GUARDRAIL,
    "Transition": _TRANSITION,
    "Rollout": _ROLLOUT,
    "Experiment": object_of(
        {
            "name": TEXT,
            **_ARMS,
            "traffic_split": map_of(_USERS_SHARE, "Arm -> share of the users who take part."),
            "success_metric": TEXT,
            "start_time": TIME,
            "duration_days": told(NUMBER, "Days."),
            "status": one_of(*get_args(Status)),
            "min_samples": COUNT,
            "alpha": _ALPHA,
            "margin": told(NUMBER, "Of non-inferiority, a share of the baseline: 0.05 is 5 %."),
            "guardrails": map_of(
                told(NUMBER, "A share: 0.05 is 5 %, in the `margin_unit` of the results."),
                "Name -> harm that is put up with.",
            ),
        },
        {
            **_MORE_ARMS,
            "coverage": told(SHARE, "Share of the users who take part, 0 to 1."),
            "shadow": told(SHARE, "Share of the requests that are run a second time by both models, 0 to 1."),
            "forced_variants": map_of(TEXT),
            "excluded_users": list_of(TEXT),
            "stopped_arms": map_of(TIME, "Candidate -> since when its users get the default model."),
            "rollout": ref("Rollout"),
            "promotion": object_of(
                {
                    "arm": TEXT,
                    "model": TEXT,
                    "previous_default": TEXT,
                    "previous_stable": maybe(TEXT),
                    "is_reverted": FLAG,
                    "are_tags_right": FLAG,
                }
            ),
            "last_transition": ref("Transition"),
            "archived_at": told(TIME, "Since when it is in the archive; left out before."),
        },
    ),
    "PlanAnswer": success(
        {
            "plan": object_of(
                {
                    "metric": TEXT,
                    "direction": one_of("lower_is_better", "higher_is_better"),
                    "alpha": told(NUMBER, "Of each candidate; a share: 0.05 is 5 %."),
                    "power": told(SHARE, "Chance of finding what is there, a share: 0.8 is 80 %."),
                    "reason": told(maybe(ref("Reason")), "Why the records do not allow a plan."),
                    "basis": object_of(
                        {
                            "model": told(maybe(TEXT), "Whose runs the spread is of; null: of every model."),
                            "days": told(NUMBER, "That the runs are of."),
                            "runs": COUNT,
                            "users": COUNT,
                            "least_users": COUNT,
                            "requests_per_day": told(NUMBER, "Of the record."),
                            "new_users_per_day": told(NUMBER, "Once those on record have come again."),
                            "covariate_correlation": told(maybe(NUMBER), "Of makespans with lower bounds, -1 to 1."),
                        }
                    ),
                    "minimum_effect_percentage": told(NUMBER, "Improvement that is to be found, percent."),
                    "users_needed": maybe(map_of(COUNT, "Arm -> users.")),
                    "days_needed": told(maybe(NUMBER), "To find the minimum effect; null: beyond ten years."),
                    "days_to_non_inferior": told(maybe(NUMBER), "If both are equal, until that is sure by the margin."),
                    "duration_days": told(NUMBER, "Days."),
                    "users_in_duration": map_of(COUNT),
                    "minimum_detectable_effect_percentage": _SEEN,
                    "ramp": maybe(_RAMP),
                    "curve": list_of(
                        object_of(
                            {
                                "days": told(NUMBER, "Since the beginning."),
                                "users": map_of(COUNT),
                                "minimum_detectable_effect_percentage": _SEEN,
                            }
                        )
                    ),
                }
            )
        }
    ),
    "CourseAnswer": success(
        {
            "course": object_of(
                {
                    "experiment_name": TEXT,
                    "metric": TEXT,
                    "users": map_of(list_of(_POINT), "Candidate -> its improvement at up to 40 moments."),
                    "pairs": map_of(list_of(_POINT), "shadow and replay, where there are pairs: of model_b."),
                }
            )
        }
    ),
    "ExperimentsAnswer": success(
        {"experiments": list_of(ref("Experiment")), "total": COUNT, "default_model": _DEFAULT}
    ),
    "ExperimentAnswer": success({"experiment": ref("Experiment"), "default_model": _DEFAULT}),
    "ExperimentChangedAnswer": success({"experiment_name": TEXT, "message": TEXT, "experiment": ref("Experiment")}),
    "ExperimentCreatedAnswer": success(
        {
            "experiment_name": TEXT,
            "message": TEXT,
            "experiment": ref("Experiment"),
            "notes": told(list_of(TEXT), "Of a rollout: how far it can come with the users that are known."),
        }
    ),
    "AssignmentAnswer": success(
        {
            "assignment": object_of(
                {
                    "experiment": TEXT,
                    "status": one_of(*get_args(Status)),
                    "user_id": TEXT,
                    "variant": told(maybe(TEXT), "The arm now; null: none."),
                    "variant_while_active": maybe(TEXT),
                    "stopped_arm": told(maybe(TEXT), "The arm that they were in until it was stopped; null: none."),
                    "model": TEXT,
                    "reason": TEXT,
                    "why": TEXT,
                    "bucket": told(maybe(SHARE), "Where the hash falls, 0 to 1; null where nothing was hashed."),
                    "hash_version": {"type": "integer"},
                    "coverage": told(SHARE, "Share of the users who take part, 0 to 1."),
                    "ranges": map_of(told(PAIR, "Of buckets, 0 to 1."), "Arm -> its buckets, [from, to)."),
                }
            )
        }
    ),
    "ExperimentHistoryAnswer": success({"history": list_of(ref("Transition")), "total": COUNT}),
    "Comparison": object_of(_FIGURES),
    "PairedVerdict": object_of(
        {
            "metric": one_of(*PAIRED),
            **_JUDGED,
            **_COUNTED,
            **dict.fromkeys(("pairs", "users", "distinct_instances", "wins", "ties", "losses"), COUNT),
            "improvement_percentage": _IMPROVEMENT,
            "geometric_mean_ratio": told(maybe(NUMBER), "Candidate's over baseline's makespan; below 1 is better."),
            "correlation": told(maybe(NUMBER), "Of both models' makespans, -1 to 1."),
            "confidence_sequence": _SEQUENCE,
            "p_value": told(maybe(SHARE), "Of the paired t-test, 0 to 1; holds for one look at the end."),
            "p_value_reason": maybe(ref("Reason")),
            "failures": map_of(COUNT),
            "worst": told(list_of(_LOST), "The requests where the candidate lost most."),
        }
    ),
    "ResultsAnswer": success(
        {
            "results": object_of(
                {
                    "experiment_name": TEXT,
                    "status": one_of(*get_args(Status)),
                    "models": map_of(TEXT),
                    "traffic_split": map_of(_USERS_SHARE, "Arm -> share of the users who take part."),
                    "coverage": told(SHARE, "Share of the users who take part, 0 to 1."),
                    "start_time": TIME,
                    "end_time": TIME,
                    **_FIGURES,
                    "verdict_basis": one_of("users", "pairs"),
                    "paired": map_of(ref("PairedVerdict"), "shadow and replay, where there are pairs."),
                    "comparisons": map_of(ref("Comparison"), "The same figures of model_c and further candidates."),
                    "rollout": maybe(ref("Rollout")),
                    "is_baseline_the_default": told(FLAG, "Whether model_a is what answers by default."),
                    "rollout_decision": told(
                        maybe(object_of({"kind": one_of("hold", "advance", "promote", "abort"), "reason": TEXT})),
                        "What an active rollout does next by itself, and why; hold: what it waits for.",
                    ),
                    "stopped_arms": map_of(TIME, "Candidate -> its end; its figures are of the runs until then."),
                    "stage_samples": told(maybe(map_of(COUNT)), "Arm -> values of the metric since the stage began."),
                }
            )
        }
    ),
    "ReplayAnswer": success(
        {
            "replay": object_of(
                {
                    "experiment": TEXT,
                    "candidate": TEXT,
                    "models": map_of(TEXT),
                    "replay_id": maybe(TEXT),
                    **_COUNTED,
                    "state": one_of("running", "done", "unfinished", "failed", "identical"),
                    "done": COUNT,
                    "total": COUNT,
                    "remaining_s": told(maybe(NUMBER), "Seconds."),
                    "began_at": maybe(TIME),
                    "options": ANYTHING,
                    "error": maybe(TEXT),
                    "verdict": ref("PairedVerdict"),
                }
            )
        }
    ),
}
