"""What runs and the verdicts on them are answered with."""

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

_DETAILS: dict[str, Schema] = {
    "team_utilization": map_of(SHARE, "Crew-hours at work over headcount times makespan, of each team."),
    "team_headcount": map_of(COUNT, "People of each team that the instance uses."),
    "schedule_details": list_of(_STEP),
}

RUNS: dict[str, Schema] = {
    "RunSchedule": object_of(_DETAILS, {}, "Who does what when, as POST /run_algorithm answered it."),
    "RunResult": object_of(
        {
            "makespan": told(NUMBER, "End of the last step, in hours after the start of the shutdown."),
            "lower_bound": told(NUMBER, "Hours; no schedule is shorter."),
            "gap": told(NUMBER, "Share of the bound by which the schedule is longer: makespan / lower_bound - 1."),
            "resource_utilization": told(SHARE, "Crew-hours at work over headcount times makespan, of the plant."),
            **_DETAILS,
            "gantt_charts": map_of(TEXT, "Pictures in base64 by view, as asked for with charts."),
            "model_info": object_of({"model_key": TEXT, "algorithm": TEXT, "version": TEXT}),
        },
        {
            "plot_image": told(TEXT, "The first of gantt_charts."),
            "stage": told(
                TEXT,
                "What found the schedule: greedy (the model's own), exact (its parts, all of them proved), "
                "parts (not all), a priority rule such as MWKR, sampling, resampling, annealing, genetic, cpsat.",
            ),
            "evaluations": told(COUNT, "How many schedules were built for it."),
            "search_cut_short": told(
                FLAG, "true: the service was busy, or time_budget_ms is short for such an instance; more time may help."
            ),
        },
    ),
    "RunAnswer": success(
        {
            "result": ref("RunResult"),
            "performance": object_of(
                {
                    "makespan": told(NUMBER, "Hours."),
                    "policy_makespan": told(NUMBER, "Hours; of the model's own schedule, before any search or proof."),
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
            **dict.fromkeys(
                ("makespan", "policy_makespan", "lower_bound", "gap", "resource_utilization"), maybe(NUMBER)
            ),
            **dict.fromkeys(("execution_time", "time_budget_ms"), maybe(NUMBER)),
            **dict.fromkeys(("stage", "error_message", "comment", "name", "owner"), maybe(TEXT)),
            "split": told(maybe(TEXT), "Shares of the arms that it was assigned under, 0.9/0.1; null: not assigned."),
            "user_satisfaction": maybe({"type": "integer", "minimum": 1, "maximum": 5}),
        }
    ),
    "RunsAnswer": success({"runs": list_of(ref("RecordedRun")), "next": maybe(COUNT)}),
    "RunRecordAnswer": success(
        {
            "run": ref("RecordedRun"),
            "input": told(maybe(ANYTHING), "As POST /run_algorithm took it."),
            "schedule": told(maybe(ref("RunSchedule")), "null: it failed, or was recorded before schedules were kept."),
        }
    ),
    "Finding": object_of(
        {
            "loc": told(
                list_of({"type": ["string", "integer"]}),
                "line, its number and the column, of CSV; the path of JSON; nothing for the whole file.",
            ),
            "code": one_of("team_read_as", "filled_down"),
            "params": told(ANYTHING, "What the text is made of."),
            "msg": TEXT,
        },
        {"source": told(TEXT, "The line, its cells separated by commas.")},
    ),
    "ReadAnswer": success(
        {
            "request": told(
                ANYTHING, "As POST /run_algorithm takes it, with nothing added that the file does not say."
            ),
            "n_workpoints": COUNT,
            "n_steps": COUNT,
            "findings": told(list_of(ref("Finding")), "What was read otherwise than it is written."),
        }
    ),
    "NamedAnswer": success({"request_id": TEXT, "name": maybe(TEXT), "owner": maybe(TEXT)}),
    "FeedbackAnswer": success({"request_id": TEXT, "message": TEXT}),
}
