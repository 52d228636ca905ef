"""What the routes of experiments answer: their state, their figures, and verdicts."""

from typing import get_args

from scheduler_service.experiments.lifecycle import EventKind, Status
from scheduler_service.experiments.prospect import OBJECTIONS
from scheduler_service.http.contract.answers.verdicts import (
    ADVISED,
    ALPHA,
    CANNOT_TELL,
    CONTRADICTION,
    COUNTED,
    FIGURES,
    FINDING,
    GUARDRAIL,
    IMPROVEMENT,
    JUDGED,
    SEQUENCE,
    SUMMARY,
    WHY,
    WORDS,
)
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
_POINT = object_of({"time": TIME, "improvement_percentage": IMPROVEMENT, "confidence_sequence": SEQUENCE})
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

_OUTLOOK = object_of(
    {
        "experiment_name": TEXT,
        "arm": TEXT,
        "model": TEXT,
        "default_model": _DEFAULT,
        "verdict": maybe(one_of(*WORDS)),
        "verdict_reason": maybe(ref("Reason")),
        "verdict_sentence": maybe(TEXT),
        "recommendation": maybe(TEXT),
        "advised_move": ADVISED,
        "needs_consent": told(FLAG, "Whether promoting it takes `although_worse`."),
        "objections": told(
            list_of(object_of({"code": one_of(*OBJECTIONS), "message": TEXT})), "What speaks against the promotion."
        ),
        "findings": told(list_of(FINDING), "Every interval there is; those wholly on the bad side first."),
    },
    about="What promoting the arm would rest on. Of model_a all is null and empty.",
)

EXPERIMENTS: dict[str, Schema] = {
    "Reason": WHY,
    "CannotTell": CANNOT_TELL,
    "Contradiction": CONTRADICTION,
    "Summary": SUMMARY,
    "Guardrail": GUARDRAIL,
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
            "alpha": ALPHA,
            "margin": told(NUMBER, "Of non-inferiority, a share of the baseline: 0.05 is 5 %."),
            "guardrails": map_of(
                told(NUMBER, "A share: 0.05 is 5 %, in the `margin_unit` of the results."),
                "Name -> harm that is put up with.",
            ),
        },
        {
            **_MORE_ARMS,
            "title": TEXT,
            "hypothesis": told(TEXT, "What is expected to come out."),
            "owner": told(TEXT, "Whom to ask."),
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
    "Comparison": object_of(FIGURES),
    "PairedVerdict": object_of(
        {
            "metric": one_of(*PAIRED),
            **JUDGED,
            **COUNTED,
            **dict.fromkeys(("pairs", "users", "distinct_instances", "wins", "ties", "losses"), COUNT),
            "improvement_percentage": IMPROVEMENT,
            "geometric_mean_ratio": told(maybe(NUMBER), "Candidate's over baseline's makespan; below 1 is better."),
            "correlation": told(maybe(NUMBER), "Of both models' makespans, -1 to 1."),
            "confidence_sequence": SEQUENCE,
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
                    **FIGURES,
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
    "ExperimentOutlookAnswer": success({"outlook": _OUTLOOK}),
    "ReplayAnswer": success(
        {
            "replay": object_of(
                {
                    "experiment": TEXT,
                    "candidate": TEXT,
                    "models": map_of(TEXT),
                    "replay_id": maybe(TEXT),
                    **COUNTED,
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
