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
_ROLLOUT = object_of(
    {
        "stages": list_of(SHARE),
        "min_samples": COUNT,
        "min_hours": NUMBER,
        "auto": FLAG,
        "promote_on": one_of("better", "non_inferior"),
        "stage": told(COUNT, "Index into stages."),
        "stage_since": TIME,
    }
)
_SUMMARY = object_of({"mean": maybe(NUMBER), "count": COUNT} | dict.fromkeys(("min", "max", "std"), maybe(NUMBER)))
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
    "margin_percentage": NUMBER,
}
_CANNOT_TELL = object_of(
    {
        "code": one_of("proven_optimal"),
        "message": TEXT,
        "telling_metric": TEXT,
        "proven_shares": map_of(SHARE, "Arm -> of its answers that are proven optimal."),
    },
    about="Both arms answer proven optima, so that no figure of the answers tells the models apart.",
)
_GUARDRAIL = object_of(
    {
        "name": TEXT,
        "margin": NUMBER,
        "state": one_of("breached", "kept", "undecided"),
        "harm": maybe(NUMBER),
        "harm_bounds": maybe({"type": "array", "items": maybe(NUMBER), "minItems": 2, "maxItems": 2}),
        "users": list_of(COUNT),
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
    "improvement_percentage": told(maybe(NUMBER), "Positive when the candidate is better, whatever the direction."),
    "confidence_interval": maybe(PAIR),
    "confidence_level": SHARE,
    "p_value": told(maybe(SHARE), "Holds for one look at the end."),
    "srm_p_value": told(maybe(SHARE), "Whether the users fell into the arms as they should."),
    "is_significant": FLAG,
    "alpha": NUMBER,
    "min_samples": COUNT,
    "reasons": map_of(ref("Reason"), "Figure -> why it is null."),
    "summary": TEXT,
    **_JUDGED,
    "anytime_effect": maybe(
        object_of(
            {
                "improvement_percentage": maybe(NUMBER),
                "confidence_sequence": maybe(PAIR),
                "confidence_level": NUMBER,
                "users": COUNT,
                "covariate_correlation": maybe(NUMBER),
            },
            about="The improvement with bounds that are valid at every moment.",
        )
    ),
    "minimum_detectable_effect_percentage": maybe(NUMBER),
    "projected_days_left": told(maybe(NUMBER), "Until a verdict, if all goes on as it is; days."),
    "projected_days_left_range": told(
        maybe(list_of(maybe(NUMBER))), "Of one standard error, [least, most]; a null most is beyond ten years."
    ),
    "projected_days_left_reason": told(maybe(ref("Reason")), "Why no days are projected."),
    "failing": told(
        maybe(object_of({"is_certain": FLAG, "success_rates": PAIR})),
        "Success rates of the baseline and of the candidate, where that one fails more often; else null.",
    ),
    "guardrails": list_of(ref("Guardrail")),
    "secondary": map_of(
        object_of(
            {
                "direction": TEXT,
                "improvement_percentage": maybe(NUMBER),
                "p_value": maybe(SHARE),
                "p_value_holm": maybe(SHARE),
                "is_significant": FLAG,
                "reason": maybe(ref("Reason")),
            }
        ),
        "The other metrics.",
    ),
}
_ARMS = {f"model_{letter}": TEXT for letter in "ab"}
_MORE_ARMS = {f"model_{letter}": TEXT for letter in "cdefgh"}
_LOST = object_of(
    {"makespan_a": NUMBER, "makespan_b": NUMBER, "ratio": NUMBER},
    {
        "policy_makespan_a": NUMBER,
        "policy_makespan_b": NUMBER,
        "request_id": TEXT,
        "user_id": maybe(TEXT),
        "n_workpoints": maybe(COUNT),
        "input_digest": maybe(TEXT),
    },
)

_SEEN = told(maybe(NUMBER), "The least improvement that is found with a chance of 80 %; null: none yet.")
_DEFAULT = told(TEXT, "The model of every request that no running experiment claims, as configured.")
_POINT = object_of({"time": TIME, "improvement_percentage": maybe(NUMBER), "confidence_sequence": maybe(PAIR)})

_RAMP = object_of(
    {
        "basis": told(one_of("users", "pairs"), "What the verdict of the rollout rests on."),
        "users": told(COUNT, "Of the whole service, within `horizon_days`."),
        "horizon_days": NUMBER,
        "stages": told(
            list_of(object_of({"share": SHARE, "users": COUNT, "days": NUMBER})),
            "Before the promotion: users in both arms, and the first day on which the stage can be left.",
        ),
        "smallest_improvement_percentage": told(
            maybe(NUMBER), "That the promotion can be decided by, with a chance of 80 %; null: none."
        ),
        "proposed_stages": told(maybe(list_of(SHARE)), "With which more can be shown; null: none are better."),
        "notes": told(list_of(TEXT), "What its owner should know, in English."),
    },
    about="How far a rollout can come with the users that are known.",
)

EXPERIMENTS: dict[str, Schema] = {
    "Reason": _WHY,
    "CannotTell": _CANNOT_TELL,
    "Summary": _SUMMARY,
    "Guardrail": _GUARDRAIL,
    "Transition": _TRANSITION,
    "Rollout": _ROLLOUT,
    "Experiment": object_of(
        {
            "name": TEXT,
            **_ARMS,
            "traffic_split": map_of(SHARE, "Arm -> share of the users who take part."),
            "success_metric": TEXT,
            "start_time": TIME,
            "duration_days": NUMBER,
            "status": one_of(*get_args(Status)),
            "min_samples": COUNT,
            "alpha": NUMBER,
            "margin": NUMBER,
            "guardrails": map_of(NUMBER, "Name -> harm that is put up with."),
        },
        {
            **_MORE_ARMS,
            "coverage": SHARE,
            "shadow": SHARE,
            "forced_variants": map_of(TEXT),
            "excluded_users": list_of(TEXT),
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
        },
    ),
    "PlanAnswer": success(
        {
            "plan": object_of(
                {
                    "metric": TEXT,
                    "direction": one_of("lower_is_better", "higher_is_better"),
                    "alpha": told(NUMBER, "Of each candidate."),
                    "power": SHARE,
                    "reason": told(maybe(ref("Reason")), "Why the records do not allow a plan."),
                    "basis": object_of(
                        {
                            "model": told(maybe(TEXT), "Whose runs the spread is of; null: of every model."),
                            "days": told(NUMBER, "That the runs are of."),
                            "runs": COUNT,
                            "users": COUNT,
                            "least_users": COUNT,
                            "requests_per_day": NUMBER,
                            "new_users_per_day": told(NUMBER, "Once those on record have come again."),
                            "covariate_correlation": maybe(NUMBER),
                        }
                    ),
                    "minimum_effect_percentage": NUMBER,
                    "users_needed": maybe(map_of(COUNT, "Arm -> users.")),
                    "days_needed": told(maybe(NUMBER), "To find the minimum effect; null: beyond ten years."),
                    "days_to_non_inferior": told(maybe(NUMBER), "If both are equal, until that is sure by the margin."),
                    "duration_days": NUMBER,
                    "users_in_duration": map_of(COUNT),
                    "minimum_detectable_effect_percentage": _SEEN,
                    "ramp": maybe(_RAMP),
                    "curve": list_of(
                        object_of(
                            {"days": NUMBER, "users": map_of(COUNT), "minimum_detectable_effect_percentage": _SEEN}
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
                    "model": TEXT,
                    "reason": TEXT,
                    "why": TEXT,
                    "bucket": told(maybe(SHARE), "Where the hash falls; null where nothing was hashed."),
                    "hash_version": {"type": "integer"},
                    "coverage": SHARE,
                    "ranges": map_of(PAIR, "Arm -> its buckets, [from, to)."),
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
            **dict.fromkeys(("pairs", "users", "distinct_instances", "wins", "ties", "losses"), COUNT),
            **dict.fromkeys(("improvement_percentage", "geometric_mean_ratio", "correlation"), maybe(NUMBER)),
            "confidence_sequence": maybe(PAIR),
            "p_value": maybe(SHARE),
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
                    "traffic_split": map_of(SHARE),
                    "coverage": SHARE,
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
                    "state": one_of("running", "done", "unfinished", "failed", "identical"),
                    "done": COUNT,
                    "total": COUNT,
                    "remaining_s": maybe(NUMBER),
                    "began_at": maybe(TIME),
                    "options": ANYTHING,
                    "error": maybe(TEXT),
                    "verdict": ref("PairedVerdict"),
                }
            )
        }
    ),
}
