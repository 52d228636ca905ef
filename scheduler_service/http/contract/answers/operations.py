"""What operators are answered: health, figures, trends, reports, alerts; and every problem."""

from scheduler_service.http.contract.answers.words import (
    ANYTHING,
    COUNT,
    FLAG,
    NUMBER,
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

_PARTS = map_of(object_of({"status": one_of("ok", "degraded", "failing"), "detail": TEXT}), "Part -> how it is.")
_DISTRIBUTION = object_of(
    {"count": COUNT} | dict.fromkeys(("mean", "std", "min", "max", "p50", "p95", "p99"), maybe(NUMBER)),
    about="In the unit of what it is of.",
)
_RUN_FIGURES = {
    "total_requests": COUNT,
    "failed_requests": COUNT,
    "success_rate": told(maybe(SHARE), "Share of the runs, 0 to 1."),
    "makespan": told(ref("Distribution"), "Hours."),
    "policy_makespan": told(ref("Distribution"), "Hours; of the models' own schedules, before any search or proof."),
    "execution_time": told(ref("Distribution"), "Seconds."),
    "gap": told(ref("Distribution"), "Share of the lower bound: 0.05 is 5 % above it."),
    "resource_utilization": told(maybe(SHARE), "Mean share of the crew-hours at work, 0 to 1."),
    "user_satisfaction": object_of({"mean": told(maybe(NUMBER), "1 to 5."), "count": COUNT}),
}
_OF_RULE = (
    "In the rule's unit, which the message names: max_makespan hours; max_execution_time seconds; min_success_rate and "
    "max_gap shares (0.05 is 5 %); min_free_disk_gib GiB; input_drift the population stability index, without a unit "
    "(0: no drift); counts otherwise."
)
_SCOPE = one_of("admin", "read", "run")
_NOTED = {
    "id": maybe({"type": "integer"}),
    "name": TEXT,
    "subject": told(TEXT, "Which model, experiment or size it is about, where a rule has several."),
    "severity": one_of("warning", "critical"),
    "value": told(maybe(NUMBER), _OF_RULE),
    "threshold": told(maybe(NUMBER), "In the unit of value."),
    "message": TEXT,
    "advice": TEXT,
    "fired": maybe(TIME),
    "notified": maybe(TIME),
    "acknowledged": maybe(TIME),
    "acknowledged_by": maybe(TEXT),
    "note": maybe(TEXT),
}

OPERATIONS: dict[str, Schema] = {
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
            "success_rate": told(maybe(SHARE), "Share of the runs, 0 to 1."),
            "mean_makespan": told(maybe(NUMBER), "Hours; of the successful runs, as the gap and the times."),
            "mean_policy_makespan": told(maybe(NUMBER), "Hours; of the models' own schedules."),
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
    "AccessAnswer": success(
        {
            "key": told(maybe(TEXT), "The name of the key that came along; null: none, or none counts here."),
            "scopes": told(list_of(_SCOPE), "What this request may do."),
            "without_key": told(list_of(_SCOPE), "What anybody may do without a key."),
            "needs_key": told(FLAG, "Whether anything needs a key here."),
            "knows_keys": told(FLAG, "Whether the service has keys; one then tells histories who did it."),
        }
    ),
    "Alert": object_of(
        _NOTED | {"state": one_of("pending", "firing", "resolved"), "began": maybe(TIME)},
        {
            "silenced": FLAG,
            "requests": told(list_of(TEXT), "Ids of the worst runs that it is about now, 5 at most."),
            "deliveries": told(
                list_of(
                    object_of(
                        {
                            "channel": TEXT,
                            "state": one_of("delivered", "waiting", "failed"),
                            "at": told(TIME, "When it arrived, or else was written."),
                            "error": told(maybe(TEXT), "Of the last attempt."),
                        }
                    )
                ),
                "What became of the last notice, channel by channel; none where no channel is configured.",
            ),
            "ended": maybe(TIME),
            "last_beyond": TIME,
            "notices": COUNT,
            "experiment": TEXT,
            "arm": TEXT,
        },
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
            "thresholds": map_of(told(NUMBER, "In the rule's unit."), "Rule -> from which it fires."),
            "since": TIME,
            "runs": COUNT,
            "silences": list_of(ref("Silence")),
            "channels": list_of(TEXT),
            "outbox": object_of({"waiting": COUNT, "given_up": COUNT}),
        },
        {"rules": told(list_of(ref("RuleNow")), "What each rule sees now, also where nothing is wrong.")},
    ),
    "RuleNow": object_of(
        {
            "name": TEXT,
            "subject": TEXT,
            "state": one_of("beyond", "near", "within", "unknown"),
            "value": told(maybe(NUMBER), "In the rule's unit; null: too few runs to say."),
            "threshold": maybe(NUMBER),
        }
    ),
    "Threshold": object_of(
        {
            "name": TEXT,
            "rule": told(TEXT, "Whose it is, as in GET /alerts."),
            "unit": one_of("hours", "seconds", "share", "index", "runs", "gib"),
            "value": told(maybe(NUMBER), "In force; null: none counts."),
            "default": told(maybe(NUMBER), "What it goes back to: of SCHED_ALERT_THRESHOLDS, or the usual one."),
            "is_set": told(FLAG, "Whether somebody set it."),
            "most": told(NUMBER, "The greatest value that it may have; the least is 0."),
            "changed": told(maybe(ref("ThresholdChange")), "How it came to be set."),
        }
    ),
    "ThresholdChange": object_of(
        {
            "id": TEXT,
            "time": TIME,
            "name": TEXT,
            "before": told(maybe(NUMBER), "Null: it was not set."),
            "after": told(maybe(NUMBER), "Null: it was put back."),
            "actor": TEXT,
            "reason": TEXT,
        }
    ),
    "ThresholdsAnswer": success(
        {
            "thresholds": list_of(ref("Threshold")),
            "changes": told(list_of(ref("ThresholdChange")), "The newest first, 100 at most."),
            "problem": told(maybe(TEXT), "What is wrong with the file of what people set; null: nothing."),
        }
    ),
    "ThresholdAnswer": success({"threshold": ref("Threshold"), "change": ref("ThresholdChange")}),
    "AlertRun": object_of(
        {
            "request_id": TEXT,
            "timestamp": TIME,
            "success": FLAG,
            "model_key": maybe(TEXT),
            "experiment": maybe(TEXT),
            "variant": maybe(TEXT),
            "n_workpoints": maybe(COUNT),
            "n_steps": maybe(COUNT),
            "makespan": told(maybe(NUMBER), "Hours."),
            "lower_bound": told(maybe(NUMBER), "Hours."),
            "gap": maybe(NUMBER),
            "execution_time": told(maybe(NUMBER), "Seconds."),
            "time_budget_ms": maybe(NUMBER),
            "error_message": maybe(TEXT),
            "value": told(maybe(NUMBER), "What the rule reads of it, in the rule's unit."),
            "url": told(TEXT, "Of the run: GET it."),
        }
    ),
    "AlertRunsAnswer": success(
        {
            "alert": ref("Alert"),
            "window": told(object_of({"start": TIME, "end": TIME}), "Whose runs it is about."),
            "total": told(COUNT, "Runs that it is about, of the last 5,000 in that time."),
            "runs": list_of(ref("AlertRun")),
            "log": object_of(
                {"request_ids": list_of(TEXT), "command": told(maybe(TEXT), "For a shell in SCHED_HOME.")}
            ),
        }
    ),
    "RunLogAnswer": success(
        {
            "request_id": TEXT,
            "lines": told(list_of(TEXT), "As they were written, without secrets; a trace's lines belong to its first."),
            "command": told(TEXT, "For a shell in SCHED_HOME."),
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
            "code": told(TEXT, "What is wrong, as a name that stays when the text is improved."),
            "params": told(ANYTHING, "The values that detail names."),
            "errors": told(
                list_of(
                    object_of(
                        {"loc": list_of({"type": ["string", "integer"]}), "msg": TEXT},
                        {
                            "code": told(TEXT, "What is wrong, as a name that stays when the text is improved."),
                            "params": told(ANYTHING, "The values that msg names."),
                            "source": told(TEXT, "The line of the file."),
                        },
                    ),
                ),
                "Where each mistake is (422).",
            ),
        },
        "RFC 9457.",
    ),
}
