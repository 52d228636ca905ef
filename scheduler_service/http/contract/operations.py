"""The table of routes: what each takes and answers. `openapi` and `docs_page` are made from it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel

from scheduler_env.standard_cycle import SAMPLE_PARAMS
from scheduler_service.http.contract import schemas
from scheduler_service.keys import Scope


@dataclass(frozen=True, slots=True)
class Operation:
    """A row of the table: what a route takes and answers."""

    method: str
    path: str  # as in OpenAPI: /models/{name}
    tag: str
    summary: str
    body: type[BaseModel] | None = None
    is_body_optional: bool = False
    table: str = ""  # an example of the CSV that it takes, too
    query: Sequence[str] = ()  # names in QUERY
    answer: str = "DoneAnswer"  # name of a component schema, or media types
    success: int = 200
    errors: Sequence[int] = ()
    example: object = None
    more_examples: Mapping[str, object] = field(default_factory=dict)
    scope: Scope | None = None  # that a key needs, where keys are needed
    is_probe: bool = False  # never told to come back later

    @property
    def statuses(self) -> tuple[int, ...]:
        """Every error that it may answer."""
        guarded = (401, 403) if self.scope else ()
        return tuple(sorted({*self.errors, *guarded, 422, *(() if self.is_probe else (429,)), 500}))

    @property
    def key(self) -> str:
        return f"{self.method} {self.path}"


_RUN = {"params": list(SAMPLE_PARAMS), "experiment": "ddqn_v1_vs_v2", "user_id": "user_12345"}
_REGISTRATION = {
    "model_path": "./best_model_v2.pth",
    "algorithm_name": "DDQN",
    "training_params": {"episodes": 1000, "learning_rate": 0.001, "batch_size": 32},
    "performance_metrics": {"makespan": 53.1, "resource_utilization": 0.6},
    "description": "改进奖励函数的DDQN模型",
    "created_by": "developer_name",
}
_EXPERIMENT = {
    "experiment_name": "ddqn_v1_vs_v2",
    "model_a": "DDQN_v1.0",
    "model_b": "DDQN_v2.0",
    "traffic_split": {"model_a": 0.7, "model_b": 0.3},
    "success_metric": "makespan",
    "duration_days": 7,
}
_WORKPOINTS = {
    "workpoints": [
        {
            "id": "boiler",
            "name": "锅炉",
            "steps": [
                {"name": "搭架子", "order": 1, "team": "team1", "duration": 10},
                {"name": "焊接", "order": 2, "team": "welders", "team_size": 4, "duration": 6, "parallel": False},
            ],
        },
        {"id": "pipe"},
    ],
    "time_budget_ms": 50,
    "charts": ["team"],
}
_TABLE = "工作点,工序,班组,工时,前置工序\r\n锅炉,除锈,team2,7,\r\n锅炉,焊接,team2,7,除锈\r\n锅炉,返修,返修,7,焊接\r\n"
_REASON = {"reason": "not needed any more", "actor": "developer_name"}
_FILTERS = ("start_time", "end_time", "model_key", "experiment")
_MODEL_FILTERS = ("algorithm", "status", "tag")
_RUN_ERRORS = (400, 404, 409, 413, 415, 422, 503)
_BODY_ERRORS = (400, 413, 415, 422)


def _run(path: str) -> Operation:
    return Operation(
        *("POST", path, "runs", "Build a schedule"),
        body=schemas.RunRequest,
        answer="RunAnswer",
        errors=_RUN_ERRORS,
        example=_RUN,
        scope="run",
        more_examples={"work points": _WORKPOINTS},
    )


def _move(action: str, what: str, body: type[schemas.MoveRequest] = schemas.MoveRequest) -> Operation:
    return Operation(
        *("POST", f"/experiments/{{name}}/{action}", "experiments", what),
        body=body,
        is_body_optional=True,
        errors=(*_BODY_ERRORS, 404, 409, 503),
        answer="ExperimentChangedAnswer",
        scope="admin",
        example={"reason": "the results were discussed", "actor": "developer_name"},
    )


def _get(path: str, tag: str, summary: str, **more: Any) -> Operation:
    return Operation("GET", path, tag, summary, **({"scope": "read"} | more))


OPERATIONS: tuple[Operation, ...] = (
    _run("/run_algorithm"),
    _run("/api/algorithm/run"),
    _get(
        "/runs",
        "runs",
        "The recorded runs, newest first",
        query=("limit", "before", "model_key", "experiment", "search", "without_experiments"),
        answer="RunsAnswer",
        errors=(404, 409, 422, 503),
    ),
    _get(
        "/runs/{request_id}",
        "runs",
        "A recorded run and what was asked for",
        answer="RunRecordAnswer",
        errors=(404, 503),
    ),
    Operation(
        *("POST", "/requests/read", "runs", "The request that a file describes, CSV or JSON; nothing is run"),
        body=schemas.RunRequest,
        table=_TABLE,
        query=("fill_down", "teams"),
        answer="ReadAnswer",
        errors=(*_BODY_ERRORS, 503),
        scope="run",
        example=_WORKPOINTS,
    ),
    Operation(
        *("PUT", "/runs/{request_id}/name", "runs", "Say what a run is called and whose it is"),
        body=schemas.NameRequest,
        errors=(*_BODY_ERRORS, 404, 503),
        scope="run",
        answer="NamedAnswer",
        example={"name": "2 号锅炉 十二月检修", "owner": "张工"},
    ),
    Operation(
        *("POST", "/feedback", "runs", "Tie a person's verdict to a run"),
        body=schemas.FeedbackRequest,
        errors=(*_BODY_ERRORS, 404, 503),
        scope="run",
        answer="FeedbackAnswer",
        example={"request_id": "0d2d4c3e-7f0b-4a52-8a52-9f2f8d1c7b11", "user_satisfaction": 5},
    ),
    Operation(
        *("POST", "/models/register", "models", "Register a trained model, by its path or as an upload"),
        body=schemas.RegisterRequest,
        answer="RegistrationAnswer",
        scope="admin",
        success=201,
        errors=(*_BODY_ERRORS, 409, 503),
        example=_REGISTRATION,
    ),
    _get(
        "/models",
        "models",
        "The registered models, newest first",
        query=_MODEL_FILTERS,
        answer="ModelsAnswer",
        errors=(422, 503),
    ),
    _get(
        "/models/history",
        "models",
        "What changed, newest first, and what is live; or was, at a time",
        query=("algorithm", "model_key", "at", "limit"),
        answer="ModelHistoryAnswer",
        errors=(404, 409, 422, 503),
    ),
    _get(
        "/models/{name}",
        "models",
        "One model, by key, short name or tag",
        answer="ModelAnswer",
        errors=(404, 409, 422, 503),
    ),
    _get(
        "/models/{name}/outlook",
        "models",
        "What may be done with a model now, and who would notice",
        answer="OutlookAnswer",
        errors=(404, 409, 422, 503),
    ),
    Operation(
        *("POST", "/models/{name}/promote", "models", "Move a model on in its life"),
        body=schemas.PromoteRequest,
        answer="ModelChangedAnswer",
        scope="admin",
        errors=(*_BODY_ERRORS, 404, 409, 503),
        example={"status": "validated"},
    ),
    Operation(
        *("PUT", "/models/tags/{tag}", "models", "Let a tag name another model"),
        body=schemas.TagRequest,
        answer="TaggedAnswer",
        scope="admin",
        errors=(*_BODY_ERRORS, 404, 409, 503),
        example={"model_key": "DDQN_v2.0"},
    ),
    Operation(
        *("DELETE", "/models/tags/{tag}", "models", "Take a tag from the model that bears it"),
        body=schemas.RemovalRequest,
        scope="admin",
        is_body_optional=True,
        errors=(*_BODY_ERRORS, 404, 409, 503),
        example=_REASON,
    ),
    Operation(
        *("POST", "/models/rollback", "models", "Return to the version that was stable before"),
        body=schemas.RollbackRequest,
        answer="ModelChangedAnswer",
        scope="admin",
        errors=(*_BODY_ERRORS, 404, 409, 503),
        example={"algorithm": "DDQN", "reason": "makespan rose"},
    ),
    Operation(
        *("DELETE", "/models/{name}", "models", "Take a model out of the registry"),
        body=schemas.RemovalRequest,
        scope="admin",
        is_body_optional=True,
        errors=(*_BODY_ERRORS, 404, 409, 503),
        example=_REASON,
    ),
    Operation(
        *("POST", "/experiments", "experiments", "Compare models on live traffic, ramp up a candidate"),
        body=schemas.ExperimentRequest,
        answer="ExperimentCreatedAnswer",
        scope="admin",
        success=201,
        errors=(*_BODY_ERRORS, 404, 409, 503),
        example=_EXPERIMENT,
    ),
    Operation(
        *("POST", "/experiments/plan", "experiments", "How long an experiment would take that is being thought of"),
        body=schemas.PlanRequest,
        answer="PlanAnswer",
        scope="read",
        errors=(*_BODY_ERRORS, 404, 409, 503),
        example={"model_a": "DDQN_v1.0", "success_metric": "makespan", "duration_days": 7, "minimum_effect": 0.02},
    ),
    _get(
        "/experiments",
        "experiments",
        "All experiments that are not archived, or those that are",
        query=("archived",),
        answer="ExperimentsAnswer",
        errors=(422, 503),
    ),
    _get("/experiments/{name}", "experiments", "One experiment", answer="ExperimentAnswer", errors=(404, 503)),
    _move("start", "Let a paused experiment run on"),
    _move("pause", "Send everyone to the default model for a while"),
    _move("stop", "Send everyone to the default model for good"),
    _move("conclude", "Close an experiment whose results have been acted upon"),
    _move("archive", "Take an experiment that is over out of the list"),
    _move("advance", "Move a rollout to its next stage by hand", schemas.AdvanceRequest),
    Operation(
        *("POST", "/experiments/{name}/promote", "experiments", "Make an arm's model the default one"),
        body=schemas.PromoteArmRequest,
        answer="ExperimentChangedAnswer",
        scope="admin",
        is_body_optional=True,
        errors=(*_BODY_ERRORS, 404, 409, 503),
        example={"arm": "model_b", "reason": "better in every week"},
    ),
    Operation(
        *("POST", "/experiments/{name}/stop_arm", "experiments", "Take one candidate away from its users for good"),
        body=schemas.StopArmRequest,
        answer="ExperimentChangedAnswer",
        scope="admin",
        errors=(*_BODY_ERRORS, 404, 409, 503),
        example={"arm": "model_c", "reason": "planners complain of its crews"},
    ),
    _move("revert", "Undo a promotion"),
    _get(
        "/experiments/{name}/assignment",
        "experiments",
        "Where a user falls, and why",
        query=("user_id",),
        answer="AssignmentAnswer",
        errors=(404, 422, 503),
    ),
    Operation(
        *("POST", "/experiments/{name}/replay", "experiments", "Run a candidate on logged traffic"),
        body=schemas.ReplayRequest,
        answer="ReplayAnswer",
        scope="admin",
        is_body_optional=True,
        success=202,
        errors=(*_BODY_ERRORS, 404, 409, 503),
        example={"days": 7, "limit": 1000},
    ),
    _get(
        "/experiments/{name}/replay",
        "experiments",
        "What the last replay says so far",
        answer="ReplayAnswer",
        errors=(404, 503),
    ),
    _get(
        "/experiments/{name}/history",
        "experiments",
        "What was done with an experiment, and why",
        answer="ExperimentHistoryAnswer",
        errors=(404, 503),
    ),
    _get(
        "/experiments/{name}/results",
        "experiments",
        "What the runs say of an experiment",
        answer="ResultsAnswer",
        errors=(404, 503),
    ),
    _get(
        "/experiments/{name}/course",
        "experiments",
        "How the improvement and its bounds came about",
        answer="CourseAnswer",
        errors=(404, 503),
    ),
    _get(
        "/access",
        "operations",
        "What may be done here, by the key that came along or without one",
        answer="AccessAnswer",
        scope=None,
        errors=(401,),
    ),
    _get(
        "/health",
        "operations",
        "Whether every part works",
        answer="HealthAnswer",
        errors=(503,),
        scope=None,
        is_probe=True,
    ),
    _get(
        "/health/live",
        "operations",
        "Whether the process answers",
        answer="LivenessAnswer",
        scope=None,
        is_probe=True,
    ),
    _get(
        "/health/ready",
        "operations",
        "Whether runs should be sent here now",
        answer="ReadinessAnswer",
        errors=(503,),
        scope=None,
        is_probe=True,
    ),
    _get(
        "/metrics",
        "operations",
        "Counters, histograms and the present state for Prometheus",
        answer="text/plain",
        errors=(503,),
    ),
    _get(
        "/performance",
        "operations",
        "Figures of the recorded runs",
        query=_FILTERS,
        answer="PerformanceAnswer",
        errors=(404, 409, 422, 503),
    ),
    _get(
        "/performance/trends",
        "operations",
        "How the runs went over time",
        query=("hours", "points", "time_zone", "utc_offset_min", "model_key", "experiment"),
        answer="TrendsAnswer",
        errors=(404, 409, 422, 503),
    ),
    _get(
        "/reports",
        "operations",
        "The reports that are there, newest first",
        query=("limit",),
        answer="ReportsAnswer",
        errors=(422, 503),
    ),
    Operation(
        *("POST", "/reports/performance", "operations", "Make a report of the last days"),
        body=schemas.PerformanceReportRequest,
        answer="ReportAnswer",
        scope="admin",
        is_body_optional=True,
        success=201,
        errors=(*_BODY_ERRORS, 503),
        example={"days": 7},
    ),
    Operation(
        *("POST", "/reports/ab_test", "operations", "Make a report of an experiment"),
        body=schemas.ABTestReportRequest,
        answer="ReportAnswer",
        scope="admin",
        success=201,
        errors=(*_BODY_ERRORS, 404, 503),
        example={"experiment_name": "ddqn_v1_vs_v2", "days": 7},
    ),
    _get(
        "/reports/{name}", "operations", "A report that was made", answer="text/html application/pdf", errors=(404, 503)
    ),
    _get(
        "/alerts",
        "alerts",
        "What is beyond its threshold now, and what was told of it",
        answer="AlertsAnswer",
        errors=(503,),
    ),
    _get(
        "/alerts/history",
        "alerts",
        "The alerts of the last days, newest first",
        query=("days",),
        answer="AlertHistoryAnswer",
        errors=(422, 503),
    ),
    _get(
        "/alerts/{alert}",
        "alerts",
        "An alert with the runs that it is about, the worst first",
        query=("limit",),
        answer="AlertRunsAnswer",
        errors=(404, 422, 503),
    ),
    Operation(
        *("GET", "/runs/{request_id}/log", "alerts", "What the log says of a run"),
        answer="RunLogAnswer",
        scope="admin",
        errors=(404, 503),
    ),
    Operation(
        *("POST", "/alerts/{alert}/acknowledge", "alerts", "Say that somebody sees to an alert"),
        body=schemas.AcknowledgeRequest,
        answer="AlertAnswer",
        scope="admin",
        is_body_optional=True,
        errors=(*_BODY_ERRORS, 404, 503),
        example={"actor": "operator_name", "note": "the pump team is short of people"},
    ),
    Operation(
        *("POST", "/alerts/silences", "alerts", "Let nobody be told of an alert for some hours"),
        body=schemas.SilenceRequest,
        answer="SilenceAnswer",
        scope="admin",
        success=201,
        errors=(*_BODY_ERRORS, 503),
        example={"name": "silent_service", "hours": 48, "reason": "national holiday", "actor": "operator_name"},
    ),
    Operation(
        *("DELETE", "/alerts/silences/{number}", "alerts", "Let people be told again"), scope="admin", errors=(404, 503)
    ),
    _get(
        "/alerts/thresholds",
        "alerts",
        "The thresholds of the alerts: in force, where nobody says otherwise, and what was done with them",
        answer="ThresholdsAnswer",
        errors=(503,),
    ),
    Operation(
        *("PUT", "/alerts/thresholds/{threshold}", "alerts", "Set a threshold"),
        body=schemas.ThresholdRequest,
        answer="ThresholdAnswer",
        scope="admin",
        errors=(*_BODY_ERRORS, 404, 503),
        example={"value": 80, "reason": "two shifts less in winter", "actor": "operator_name"},
    ),
    Operation(
        *("DELETE", "/alerts/thresholds/{threshold}", "alerts", "Put a threshold back"),
        body=schemas.ThresholdResetRequest,
        answer="ThresholdAnswer",
        scope="admin",
        is_body_optional=True,
        errors=(*_BODY_ERRORS, 404, 503),
        example={"reason": "the winter is over", "actor": "operator_name"},
    ),
    Operation(
        *("POST", "/alerts/test", "alerts", "Send a test message through each channel"),
        answer="ChannelsAnswer",
        scope="admin",
        errors=(503,),
    ),
    _get("/openapi.json", "operations", "This interface as OpenAPI 3.1", answer="Document", scope=None),
    _get("/docs", "operations", "This interface to read", answer="text/html", scope=None),
)
