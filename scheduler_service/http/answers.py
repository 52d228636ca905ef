"""What every answer holds, as JSON Schema: the components that `openapi` refers to.

Answers may get further members, so none of these schemas forbids any. `examples.json` has an answer of each kind that
a service gave; a test holds them, and what a running service answers, against these schemas.
"""

from typing import Any, get_args

from scheduler_service.experiments.lifecycle import EventKind, Status
from scheduler_service.registry.history import EventKind as ModelEventKind
from scheduler_service.registry.outlook import PROMOTIONS
from scheduler_service.registry.records import STATUSES

Schema = dict[str, Any]

TEXT: Schema = {"type": "string"}
NUMBER: Schema = {"type": "number"}
SHARE: Schema = {"type": "number", "minimum": 0, "maximum": 1}
COUNT: Schema = {"type": "integer", "minimum": 0}
FLAG: Schema = {"type": "boolean"}
TIME: Schema = {"type": "string", "format": "date-time", "description": "ISO-8601, UTC."}
ANYTHING: Schema = {"type": "object", "additionalProperties": True}
PAIR: Schema = {"type": "array", "items": NUMBER, "minItems": 2, "maxItems": 2}


def object_of(required: Schema, optional: Schema | None = None, about: str = "") -> Schema:
    """An object with these members, and maybe others."""
    told: Schema = {"type": "object", "required": list(required), "properties": required | (optional or {})}
    return told | ({"description": about} if about else {})


def list_of(items: Schema) -> Schema:
    return {"type": "array", "items": items}


def map_of(values: Schema, about: str = "") -> Schema:
    """An object whose names are not known beforehand."""
    return {"type": "object", "additionalProperties": values} | ({"description": about} if about else {})


def maybe(schema: Schema) -> Schema:
    """`schema` or null."""
    if isinstance(schema.get("type"), str) and "enum" not in schema:
        return schema | {"type": [schema["type"], "null"]}
    return {"anyOf": [schema, {"type": "null"}]}


def ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


def told(schema: Schema, about: str) -> Schema:
    return schema | {"description": about}


def one_of(*words: str) -> Schema:
    return {"type": "string", "enum": list(words)}


def success(required: Schema, optional: Schema | None = None) -> Schema:
    """The answer of a request that succeeded."""
    return object_of({"status": {"const": "success"}} | required, optional)


REASONS = ("assigned", "default", "pinned", "experiment_not_found", "experiment_not_active", "fallback")

_STEP = object_of(
    {
        "id": told(TEXT, "<work point>.<step>."),
        "name": TEXT,
        "workpoint_id": TEXT,
        "workpoint_name": TEXT,
        "team": TEXT,
        "order": maybe({"type": "integer"}),
        "workers": {"type": "integer", "minimum": 1, "description": "People at work on it."},
        "start": told(NUMBER, "Hours after the start of the shutdown."),
        "end": told(NUMBER, "Hours after the start of the shutdown."),
        "critical": told(FLAG, "Delayed, it delays the makespan: it lies on a critical sequence."),
    }
)

_RUN = {
    "RunResult": object_of(
        {
            "makespan": told(NUMBER, "End of the last step, in hours after the start of the shutdown."),
            "lower_bound": told(NUMBER, "Hours; no schedule is shorter."),
            "gap": told(NUMBER, "Share of the bound by which the schedule is longer: makespan / lower_bound - 1."),
            "resource_utilization": told(SHARE, "Crew-hours at work over headcount times makespan, of the plant."),
            "team_utilization": map_of(SHARE, "The same of each team."),
            "team_headcount": map_of(COUNT, "People of each team that the instance uses."),
            "schedule_details": list_of(_STEP),
            "gantt_charts": map_of(TEXT, "Pictures in base64 by view, as asked for with charts."),
            "model_info": object_of({"model_key": TEXT, "algorithm": TEXT, "version": TEXT}),
        },
        {
            "plot_image": told(TEXT, "The first of gantt_charts."),
            "stage": told(TEXT, "What found the schedule: greedy, a priority rule, sampling, annealing ..."),
            "evaluations": told(COUNT, "How many schedules were built for it."),
        },
    ),
    "RunAnswer": success(
        {
            "result": ref("RunResult"),
            "performance": object_of(
                {
                    "makespan": told(NUMBER, "Hours."),
                    "execution_time": told(NUMBER, "Seconds that building and checking took."),
                    "resource_utilization": SHARE,
                }
            ),
            "experiment_info": object_of(
                {
                    "experiment": maybe(TEXT),
                    "variant": maybe(TEXT),
                    "model_used": TEXT,
                    "user_id": told(TEXT, "The unit of assignment; the request's own id where nobody was named."),
                    "user_id_generated": FLAG,
                    "reason": one_of(*REASONS),
                }
            ),
            "request_id": told(TEXT, "What POST /feedback asks for."),
        },
        {"cached": told(FLAG, "true: the schedule was computed for an identical request before.")},
    ),
    "RecordedRun": object_of(
        {
            "id": told(COUNT, "Rises with each record; what `before` takes."),
            "request_id": TEXT,
            "timestamp": TIME,
            "success": FLAG,
            "n_workpoints": maybe(COUNT),
            "n_steps": maybe(COUNT),
            **dict.fromkeys(("model_key", "algorithm", "experiment", "variant", "reason", "user_id"), maybe(TEXT)),
            **dict.fromkeys(("makespan", "lower_bound", "gap", "resource_utilization"), maybe(NUMBER)),
            **dict.fromkeys(("execution_time", "time_budget_ms"), maybe(NUMBER)),
            **dict.fromkeys(("stage", "error_message", "comment"), maybe(TEXT)),
            "user_satisfaction": maybe({"type": "integer", "minimum": 1, "maximum": 5}),
        }
    ),
    "RunsAnswer": success({"runs": list_of(ref("RecordedRun")), "next": maybe(COUNT)}),
    "RunRecordAnswer": success(
        {"run": ref("RecordedRun"), "input": told(maybe(ANYTHING), "As POST /run_algorithm took it.")}
    ),
    "FeedbackAnswer": success({"request_id": TEXT, "message": TEXT}),
}

_METRICS = map_of(
    {"type": ["number", "string", "boolean", "object", "array", "null"]}, "Metric -> what the caller claimed."
)
_MODEL = {
    "model_key": told(TEXT, "<algorithm>_<hash of the configuration>_v<version>."),
    "algorithm": TEXT,
    "version": TEXT,
    "status": one_of(*STATUSES),
    "tags": list_of(TEXT),
    "performance": told(_METRICS, "As claimed at registration."),
    "created_at": TIME,
    "created_by": TEXT,
    "description": TEXT,
    "training_params": ANYTHING,
    "sha256": {"type": "string", "pattern": "^[0-9a-f]{64}$", "description": "Of the weights file."},
    "size_bytes": COUNT,
    "status_since": TIME,
    "verified_metrics": told(ANYTHING, "As measured at registration on a fixed set of instances."),
    "validation": told(ANYTHING, "As measured when it last became validated; empty before."),
    "lineage": told(ANYTHING, "Where the weights come from: parent, training_data_seed, code_version, config."),
    "flags": list_of(
        object_of(
            {
                "metric": TEXT,
                "claimed": NUMBER,
                "verified": NUMBER,
                "difference_percent": maybe(NUMBER),
                "message": TEXT,
            },
            about="A claim that differs from what was measured by more than 2 %.",
        )
    ),
}
_STATE = object_of({"status": map_of(maybe(TEXT)), "tags": map_of(maybe(TEXT))})

_MODELS = {
    "ListedModel": object_of(_MODEL),
    "Model": object_of(_MODEL | {"signature": told(ANYTHING, "What the weights expect: format, features, layers.")}),
    "RegistrationAnswer": success({"model_key": TEXT, "message": TEXT}),
    "ModelsAnswer": success(
        {"models": list_of(ref("ListedModel")), "total": COUNT, "default_model": ref("DefaultModel")}
    ),
    "ModelAnswer": success({"model": ref("Model")}),
    "ModelChangedAnswer": success({"model_key": TEXT, "model": ref("Model")}),
    "TaggedAnswer": success({"tag": TEXT, "model_key": TEXT, "model": ref("Model")}),
    "DoneAnswer": success({"message": TEXT}),
    "ModelUser": object_of(
        {
            "role": told(one_of("default", "experiment", "way_back"), "way_back: the default before an experiment."),
            "named": told(TEXT, "What the model is called there."),
            "experiment": maybe(TEXT),
        },
        about="Who needs a model.",
    ),
    "OutlookAnswer": success(
        {
            "model_key": TEXT,
            "refusals": object_of(
                {move: maybe(TEXT) for move in (*PROMOTIONS, "deleted")},
                about="Move -> why it would be refused; null: it may be made.",
            ),
            "used_by": told(list_of(ref("ModelUser")), "Who needs this model."),
            "stable": told(maybe(TEXT), "Key of the live version of its algorithm."),
            "follows_stable": told(list_of(ref("ModelUser")), "Who gets another model when the tag stable moves."),
            "rollback_to": told(maybe(TEXT), "What a rollback of its algorithm would return to; null: nothing."),
            "default_model": ref("DefaultModel"),
        }
    ),
    "DefaultModel": object_of(
        {"name": told(TEXT, "As configured."), "model_key": told(maybe(TEXT), "null: no model bears the name.")},
        about="Who answers where no experiment and no request names a model.",
    ),
    "ModelEvent": object_of(
        {
            "time": TIME,
            "event": one_of(*get_args(ModelEventKind)),
            "model_key": TEXT,
            "actor": TEXT,
            "reason": TEXT,
            "before": _STATE,
            "after": _STATE,
            "details": ANYTHING,
        }
    ),
    "ModelHistoryAnswer": success(
        {
            "events": list_of(ref("ModelEvent")),
            "total": told(COUNT, "Of all that fit, also those beyond the limit."),
            "live": map_of(
                object_of(
                    {
                        "algorithm": TEXT,
                        "model_key": TEXT,
                        "since": TIME,
                        "event": one_of(*get_args(ModelEventKind)),
                        "actor": TEXT,
                        "reason": TEXT,
                    }
                ),
                "Algorithm -> the model that bears the tag stable.",
            ),
        }
    ),
}

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
    "margin_percentage": NUMBER,
}
_GUARDRAIL = object_of(
    {
        "name": TEXT,
        "margin": NUMBER,
        "state": one_of("breached", "kept", "undecided"),
        "harm": maybe(NUMBER),
        "harm_bounds": maybe({"type": "array", "items": maybe(NUMBER), "minItems": 2, "maxItems": 2}),
        "users": list_of(COUNT),
        "message": TEXT,
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
    "projected_days_left": maybe(NUMBER),
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
    {"request_id": TEXT, "user_id": maybe(TEXT), "n_workpoints": maybe(COUNT), "input_digest": maybe(TEXT)},
)

_SEEN = told(maybe(NUMBER), "The least improvement that is found with a chance of 80 %; null: none yet.")
_DEFAULT = told(TEXT, "The model of every request that no running experiment claims, as configured.")
_POINT = object_of({"time": TIME, "improvement_percentage": maybe(NUMBER), "confidence_sequence": maybe(PAIR)})

_EXPERIMENTS = {
    "Reason": _WHY,
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

_PARTS = map_of(object_of({"status": one_of("ok", "degraded", "failing"), "detail": TEXT}), "Part -> how it is.")
_DISTRIBUTION = object_of(
    {"count": COUNT} | dict.fromkeys(("mean", "std", "min", "max", "p50", "p95", "p99"), maybe(NUMBER))
)
_RUN_FIGURES = {
    "total_requests": COUNT,
    "failed_requests": COUNT,
    "success_rate": maybe(SHARE),
    "makespan": told(ref("Distribution"), "Hours."),
    "execution_time": told(ref("Distribution"), "Seconds."),
    "gap": ref("Distribution"),
    "resource_utilization": maybe(SHARE),
    "user_satisfaction": object_of({"mean": maybe(NUMBER), "count": COUNT}),
}
_NOTED = {
    "id": maybe({"type": "integer"}),
    "name": TEXT,
    "subject": told(TEXT, "Which model, experiment or size it is about, where a rule has several."),
    "severity": one_of("warning", "critical"),
    "value": maybe(NUMBER),
    "threshold": maybe(NUMBER),
    "message": TEXT,
    "advice": TEXT,
    "fired": maybe(TIME),
    "notified": maybe(TIME),
    "acknowledged": maybe(TIME),
    "acknowledged_by": maybe(TEXT),
    "note": maybe(TEXT),
}

_OPERATIONS = {
    "Distribution": _DISTRIBUTION,
    "HealthAnswer": object_of(
        {"status": one_of("healthy", "degraded"), "parts": _PARTS, "started_at": TIME, "uptime_s": NUMBER}
    ),
    "LivenessAnswer": object_of({"status": {"const": "alive"}, "uptime_s": NUMBER}),
    "ReadinessAnswer": object_of({"status": one_of("ready", "degraded"), "parts": _PARTS}),
    "UnwellAnswer": {
        "allOf": [ref("Problem")],
        "type": "object",
        "properties": {"failing": list_of(TEXT), "parts": _PARTS},
        "description": "A problem that names the parts which do not work.",
    },
    "PerformanceAnswer": success(
        {
            "performance": object_of(
                {
                    "start_time": maybe(TIME),
                    "end_time": maybe(TIME),
                    **_RUN_FIGURES,
                    "by_model": map_of(object_of(_RUN_FIGURES), "The same of each model's key."),
                }
            )
        }
    ),
    "TrendPoint": object_of(
        {
            "start": TIME,
            "end": told(TIME, "Where the next one begins."),
            "runs": COUNT,
            "failures": COUNT,
            "success_rate": maybe(SHARE),
            "mean_makespan": told(maybe(NUMBER), "Hours; of the successful runs, as the gap and the times."),
            "mean_gap": told(maybe(NUMBER), "Share of the lower bound."),
            "p50_execution_time": told(maybe(NUMBER), "Seconds."),
            "p95_execution_time": told(maybe(NUMBER), "Seconds."),
            "mean_satisfaction": told(maybe(NUMBER), "Of people's verdicts on these runs, 1 to 5."),
            "verdicts": COUNT,
        }
    ),
    "TrendsAnswer": success(
        {
            "trends": object_of(
                {
                    "hours": NUMBER,
                    "model_key": maybe(TEXT),
                    "experiment": maybe(TEXT),
                    "end": told(TIME, "When it was looked at: the last bucket is not over yet."),
                    "bucket_s": told({"type": "integer", "minimum": 1}, "Length of a bucket, seconds."),
                    "points": told(list_of(ref("TrendPoint")), "The buckets, the oldest first, without a gap."),
                }
            )
        }
    ),
    "MadeReport": object_of(
        {
            "name": TEXT,
            "kind": one_of("performance", "ab_test"),
            "experiment": maybe(TEXT),
            "format": one_of("html", "pdf"),
            "lang": maybe(one_of("zh", "en")),
            "size_bytes": COUNT,
            "created_at": TIME,
            "url": TEXT,
        }
    ),
    "ReportsAnswer": success({"reports": list_of(ref("MadeReport")), "total": told(COUNT, "Also beyond the limit.")}),
    "ReportAnswer": success(
        {"report": told(TEXT, "Its name."), "url": TEXT, "path": told(TEXT, "On the service's machine.")}
    ),
    "Alert": object_of(
        _NOTED | {"state": one_of("pending", "firing", "resolved"), "began": maybe(TIME)},
        {"silenced": FLAG, "ended": maybe(TIME), "last_beyond": TIME, "notices": COUNT},
    ),
    "Silence": object_of(
        {
            "id": {"type": "integer"},
            "name": told(maybe(TEXT), "The rule; null: every one."),
            "subject": maybe(TEXT),
            "began": TIME,
            "until": TIME,
            "actor": TEXT,
            "reason": TEXT,
        }
    ),
    "AlertsAnswer": success(
        {
            "alerts": list_of(ref("Alert")),
            "thresholds": map_of(NUMBER),
            "since": TIME,
            "runs": COUNT,
            "silences": list_of(ref("Silence")),
            "channels": list_of(TEXT),
            "outbox": object_of({"waiting": COUNT, "given_up": COUNT}),
        }
    ),
    "AlertHistoryAnswer": success({"alerts": list_of(ref("Alert")), "total": COUNT}),
    "AlertAnswer": success({"alert": ref("Alert")}),
    "SilenceAnswer": success({"silence": ref("Silence")}),
    "ChannelsAnswer": success(
        {"channels": list_of(object_of({"channel": TEXT, "delivered": FLAG, "error": maybe(TEXT)}))}
    ),
    "Document": object_of(
        {"openapi": {"type": "string", "pattern": "^3\\.1\\."}, "info": ANYTHING, "paths": ANYTHING},
        {"components": ANYTHING},
    ),
    "Problem": object_of(
        {
            "type": {"type": "string", "format": "uri-reference", "description": "Where this page tells of it."},
            "title": TEXT,
            "status": {"type": "integer", "minimum": 400, "maximum": 599},
            "detail": TEXT,
            "error": told(TEXT, "The same as detail."),
        },
        {
            "errors": told(
                list_of(
                    object_of({"loc": list_of({"type": ["string", "integer"]}), "msg": TEXT}),
                ),
                "Where each mistake is (422).",
            )
        },
        "RFC 9457.",
    ),
}

ANSWERS: dict[str, Schema] = _RUN | _MODELS | _EXPERIMENTS | _OPERATIONS
