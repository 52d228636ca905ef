"""`/openapi.json` and `/docs`: made from the request schemas and one table of routes; a test compares it with the URLs.

Written rather than taken from flask-openapi3: that answers validation errors in its own shape, reads bodies with its
own (lenient) JSON, and its Swagger UI is megabytes of JavaScript; here nothing is loaded and nothing runs.
"""

import html
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from http import HTTPStatus
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from scheduler_env.standard_cycle import SAMPLE_PARAMS
from scheduler_service.http import problems, schemas
from scheduler_service.http.auth import READING_METHODS

VERSION = "1.0.0"


@dataclass(frozen=True, slots=True)
class Operation:
    """A row of the table: what a route takes and answers."""

    method: str
    path: str  # as in OpenAPI: /models/{name}
    tag: str
    summary: str
    body: type[BaseModel] | None = None
    is_body_optional: bool = False
    query: Sequence[str] = ()
    answer: str = "Success"  # name of a component schema, or media types
    success: int = 200
    errors: Sequence[int] = ()
    example: object = None
    is_open: bool = False  # needs no key also when bound beyond loopback


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
_FILTERS = ("start_time", "end_time", "model_key", "experiment")
_MODEL_FILTERS = ("algorithm", "status", "tag")
_RUN_ERRORS = (400, 404, 409, 413, 415, 422, 503)
_BODY_ERRORS = (400, 413, 415, 422)


def _run(path: str) -> Operation:
    return Operation(
        *("POST", path, "runs", "Build a schedule"),
        body=schemas.RunRequest, answer="RunAnswer", errors=_RUN_ERRORS, example=_RUN, is_open=True,
    )  # fmt: skip


def _move(action: str, what: str) -> Operation:
    return Operation(
        *("POST", f"/experiments/{{name}}/{action}", "experiments", what),
        body=schemas.MoveRequest, is_body_optional=True, errors=(*_BODY_ERRORS, 404, 409, 503),
        example={"reason": "the results were discussed", "actor": "developer_name"},
    )  # fmt: skip


def _get(path: str, tag: str, summary: str, **more: Any) -> Operation:
    return Operation("GET", path, tag, summary, **more)


OPERATIONS: tuple[Operation, ...] = (
    _run("/run_algorithm"),
    _run("/api/algorithm/run"),
    Operation(
        *("POST", "/feedback", "runs", "Tie a person's verdict to a run"),
        body=schemas.FeedbackRequest, errors=(*_BODY_ERRORS, 404, 503), is_open=True,
        example={"request_id": "0d2d4c3e-7f0b-4a52-8a52-9f2f8d1c7b11", "user_satisfaction": 5},
    ),
    Operation(
        *("POST", "/models/register", "models", "Register a trained model, by its path or as an upload"),
        body=schemas.RegisterRequest, success=201, errors=(*_BODY_ERRORS, 409, 503), example=_REGISTRATION,
    ),
    _get("/models", "models", "The registered models, newest first", query=_MODEL_FILTERS, errors=(422,)),
    _get(
        "/models/history", "models", "What changed, newest first, and what is live; or was, at a time",
        query=("algorithm", "model_key", "at", "limit"), errors=(422, 503),
    ),
    _get("/models/{name}", "models", "One model, by key, short name or tag", errors=(404, 409)),
    Operation(
        *("POST", "/models/{name}/promote", "models", "Move a model on in its life"),
        body=schemas.PromoteRequest, errors=(*_BODY_ERRORS, 404, 409, 503), example={"status": "validated"},
    ),
    Operation(
        *("PUT", "/models/tags/{tag}", "models", "Let a tag name another model"),
        body=schemas.TagRequest, errors=(*_BODY_ERRORS, 404, 409, 503), example={"model_key": "DDQN_v2.0"},
    ),
    Operation(
        *("DELETE", "/models/tags/{tag}", "models", "Take a tag from the model that bears it"),
        body=schemas.RemovalRequest, is_body_optional=True, errors=(*_BODY_ERRORS, 404, 409, 503),
    ),
    Operation(
        *("POST", "/models/rollback", "models", "Return to the version that was stable before"),
        body=schemas.RollbackRequest, errors=(*_BODY_ERRORS, 404, 409, 503),
        example={"algorithm": "DDQN", "reason": "makespan rose"},
    ),
    Operation(
        *("DELETE", "/models/{name}", "models", "Take a model out of the registry"),
        body=schemas.RemovalRequest, is_body_optional=True, errors=(*_BODY_ERRORS, 404, 409, 503),
    ),
    Operation(
        *("POST", "/experiments", "experiments", "Compare models on live traffic, ramp up a candidate"),
        body=schemas.ExperimentRequest, success=201, errors=(*_BODY_ERRORS, 404, 409, 503), example=_EXPERIMENT,
    ),
    _get("/experiments", "experiments", "All experiments"),
    _get("/experiments/{name}", "experiments", "One experiment", errors=(404,)),
    _move("start", "Let a paused experiment run on"),
    _move("pause", "Send everyone to the default model for a while"),
    _move("stop", "Send everyone to the default model for good"),
    _move("conclude", "Close an experiment whose results have been acted upon"),
    _move("advance", "Move a rollout to its next stage by hand"),
    Operation(
        *("POST", "/experiments/{name}/promote", "experiments", "Make an arm's model the default one"),
        body=schemas.PromoteArmRequest, is_body_optional=True, errors=(*_BODY_ERRORS, 404, 409, 503),
        example={"arm": "model_b", "reason": "better in every week"},
    ),
    _move("revert", "Undo a promotion"),
    _get(
        "/experiments/{name}/assignment", "experiments", "Where a user falls, and why",
        query=("user_id",), errors=(404, 422),
    ),
    Operation(
        *("POST", "/experiments/{name}/replay", "experiments", "Run a candidate on logged traffic"),
        body=schemas.ReplayRequest, is_body_optional=True, success=202, errors=(*_BODY_ERRORS, 404, 409, 503),
        example={"days": 7, "limit": 1000},
    ),
    _get("/experiments/{name}/replay", "experiments", "What the last replay says so far", errors=(404, 503)),
    _get("/experiments/{name}/history", "experiments", "What was done with an experiment, and why", errors=(404, 503)),
    _get("/experiments/{name}/results", "experiments", "What the runs say of an experiment", errors=(404, 503)),
    _get("/health", "operations", "Whether every part works", errors=(503,)),
    _get("/health/live", "operations", "Whether the process answers"),
    _get("/health/ready", "operations", "Whether runs should be sent here now", errors=(503,)),
    _get("/metrics", "operations", "Counters, histograms and the present state for Prometheus", answer="text/plain"),
    _get("/performance", "operations", "Figures of the recorded runs", query=_FILTERS, errors=(422, 503)),
    Operation(
        *("POST", "/reports/performance", "operations", "Make a report of the last days"),
        body=schemas.PerformanceReportRequest, is_body_optional=True, success=201, errors=(*_BODY_ERRORS, 503),
        example={"days": 7},
    ),
    Operation(
        *("POST", "/reports/ab_test", "operations", "Make a report of an experiment"),
        body=schemas.ABTestReportRequest, success=201, errors=(*_BODY_ERRORS, 404, 503),
        example={"experiment_name": "ddqn_v1_vs_v2", "days": 7},
    ),
    _get("/reports/{name}", "operations", "A report that was made", answer="text/html application/pdf", errors=(404,)),
    _get("/alerts", "alerts", "What is beyond its threshold now, and what was told of it", errors=(503,)),
    _get("/alerts/history", "alerts", "The alerts of the last days, newest first", query=("days",), errors=(422, 503)),
    Operation(
        *("POST", "/alerts/{alert}/acknowledge", "alerts", "Say that somebody sees to an alert"),
        body=schemas.AcknowledgeRequest, is_body_optional=True, errors=(*_BODY_ERRORS, 404, 503),
        example={"actor": "operator_name", "note": "the pump team is short of people"},
    ),
    Operation(
        *("POST", "/alerts/silences", "alerts", "Let nobody be told of an alert for some hours"),
        body=schemas.SilenceRequest, success=201, errors=(*_BODY_ERRORS, 503),
        example={"name": "silent_service", "hours": 48, "reason": "national holiday", "actor": "operator_name"},
    ),
    Operation(
        *("DELETE", "/alerts/silences/{number}", "alerts", "Let people be told again"), errors=(404, 503)
    ),
    Operation(
        *("POST", "/alerts/test", "alerts", "Send a test message through each channel"), errors=(503,)
    ),
    _get("/openapi.json", "operations", "This interface as OpenAPI 3.1"),
    _get("/docs", "operations", "This interface to read", answer="text/html"),
)  # fmt: skip

_NUMBER = {"type": "number"}
_TEXT = {"type": "string"}
_OPTIONAL_TEXT = {"type": ["string", "null"]}


def _object(required: dict[str, Any], optional: dict[str, Any] | None = None) -> dict[str, Any]:
    return {"type": "object", "required": list(required), "properties": required | (optional or {})}


ANSWERS: dict[str, Any] = {
    "Success": _object({"status": _TEXT}),
    "Problem": _object(
        {"type": _TEXT, "title": _TEXT, "status": {"type": "integer"}, "detail": _TEXT, "error": _TEXT},
        {"errors": {"type": "array", "items": _object({"loc": {"type": "array"}, "msg": _TEXT})}},
    ),
    "RunAnswer": _object(
        {
            "status": {"const": "success"},
            "result": _object(
                {
                    "makespan": _NUMBER | {"description": "Hours."},
                    "lower_bound": _NUMBER | {"description": "Hours; no schedule is shorter."},
                    "gap": _NUMBER | {"description": "Share of the bound by which the schedule is longer."},
                    "resource_utilization": _NUMBER,
                    "team_utilization": {"type": "object", "additionalProperties": _NUMBER},
                    "schedule_details": {
                        "type": "array",
                        "items": _object(
                            {
                                **dict.fromkeys(("id", "name", "workpoint_id", "workpoint_name", "team"), _TEXT),
                                "order": {"type": ["integer", "null"]},
                                "workers": {"type": "integer"},
                                "start": _NUMBER,
                                "end": _NUMBER,
                            }
                        ),
                    },
                    "gantt_charts": {"type": "object", "additionalProperties": _TEXT},
                    "model_info": _object(dict.fromkeys(("model_key", "algorithm", "version"), _TEXT)),
                },
                {"plot_image": _TEXT, "stage": _TEXT, "evaluations": {"type": "integer"}},
            ),
            "performance": _object(dict.fromkeys(("makespan", "execution_time", "resource_utilization"), _NUMBER)),
            "experiment_info": _object(
                {
                    **dict.fromkeys(("experiment", "variant"), _OPTIONAL_TEXT),
                    **dict.fromkeys(("model_used", "user_id"), _TEXT),
                    "user_id_generated": {"type": "boolean"},
                    "reason": {
                        "enum": [
                            *("assigned", "default", "pinned", "experiment_not_found", "experiment_not_active"),
                            "fallback",
                        ]
                    },
                }
            ),
            "request_id": _TEXT,
        }
    ),
}


@cache
def document() -> dict[str, Any]:
    """The OpenAPI 3.1 document."""
    bodies = list(dict.fromkeys(operation.body for operation in OPERATIONS if operation.body is not None))
    _, definitions = models_json_schema(
        [(body, "validation") for body in bodies], ref_template="#/components/schemas/{model}"
    )
    paths: dict[str, dict[str, Any]] = {}
    for operation in OPERATIONS:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _described(operation)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Shutdown scheduler",
            "version": VERSION,
            "description": "Schedules inspection shutdowns; registers models; compares them in A/B tests.",
        },
        "servers": [{"url": "/"}],
        "paths": paths,
        "components": {
            "schemas": definitions.get("$defs", {}) | ANSWERS,
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "key": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
            },
        },
    }


def _described(operation: Operation) -> dict[str, Any]:
    names = [part[1:-1] for part in operation.path.split("/") if part.startswith("{")]
    parameters = [{"name": name, "in": "path", "required": True, "schema": _TEXT} for name in names]
    parameters += [{"name": name, "in": "query", "schema": _TEXT} for name in operation.query]
    told: dict[str, Any] = {
        "operationId": f"{operation.method.lower()}{operation.path.translate(str.maketrans('/{}.', '____'))}",
        "tags": [operation.tag],
        "summary": operation.summary,
        "parameters": parameters,
    }
    guarded = operation.method not in READING_METHODS and not operation.is_open
    if guarded:
        told["security"] = [{}, {"bearer": []}, {"key": []}]
    if operation.body is not None:
        content: dict[str, Any] = {"schema": {"$ref": f"#/components/schemas/{operation.body.__name__}"}}
        if operation.example is not None:
            content["example"] = operation.example
        told["requestBody"] = {"required": not operation.is_body_optional, "content": {"application/json": content}}
        if operation.body is schemas.RegisterRequest:
            upload = {"type": "object", "required": ["file", "algorithm_name"], "properties": {"file": {}}}
            told["requestBody"]["content"]["multipart/form-data"] = {"schema": upload}
    media, schema = ["application/json"], {"$ref": f"#/components/schemas/{operation.answer}"}
    if "/" in operation.answer:
        media, schema = operation.answer.split(), _TEXT
    elif operation.path == "/openapi.json":
        schema = {"type": "object"}
    told["responses"] = {
        str(operation.success): {
            "description": operation.summary,
            "content": {each: {"schema": schema} for each in media},
        }
    }
    for status in sorted({*operation.errors, *((401, 403) if guarded else ()), 500}):
        told["responses"][str(status)] = {
            "description": HTTPStatus(status).phrase,
            "content": {problems.PROBLEM_MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
        }
    return told


@cache
def docs_page() -> str:
    """The document as one HTML page that needs nothing else."""
    schemas_of = document()["components"]["schemas"]
    parts = [
        "<h1>Shutdown scheduler</h1><p>The machine-readable form is <a href='/openapi.json'>/openapi.json</a>.</p>"
    ]
    for operation in OPERATIONS:
        told = document()["paths"][operation.path][operation.method.lower()]
        parts.append(
            f"<h3><code>{operation.method} {html.escape(operation.path)}</code></h3><p>{operation.summary}</p>"
        )
        if operation.query:
            parts.append(f"<p>Query: {', '.join(f'<code>{name}</code>' for name in operation.query)}</p>")
        if operation.example is not None:
            parts.append(_pre(operation.example))
        if operation.body is not None:
            name = operation.body.__name__
            parts.append(f"<details><summary>Body: {name}</summary>{_pre(schemas_of[name])}</details>")
        parts.append(f"<p>Answers: {', '.join(told['responses'])}</p>")
    parts.append(
        f"<details><summary>Answer of a run</summary>{_pre(schemas_of['RunAnswer'])}</details><h2>Errors</h2><dl>"
    )
    for cls, status in problems.STATUS_OF.items():
        for kind in (cls, *_subclasses(cls)):
            anchor = problems.kind_of(kind).partition("#")[2]
            about = html.escape((kind.__doc__ or "").strip().partition("\n")[0])
            parts.append(f"<dt id='{anchor}'><code>{status} {kind.__name__}</code></dt><dd>{about}</dd>")
    parts.append("</dl>")
    style = (
        "body{font:16px/1.5 sans-serif;max-width:60em;margin:2em auto;padding:0 1em}"
        "pre{background:#f4f4f4;padding:.7em;overflow:auto}"
    )
    return (
        "<!doctype html><html lang='en'><head><meta charset='utf-8'><title>Shutdown scheduler: HTTP interface</title>"
        f"<style>{style}</style></head><body>{''.join(parts)}</body></html>"
    )


def _subclasses(cls: type[Exception]) -> list[type[Exception]]:
    return [found for child in cls.__subclasses__() for found in (child, *_subclasses(child))]


def _pre(value: object) -> str:
    return f"<pre>{html.escape(json.dumps(value, ensure_ascii=False, indent=2))}</pre>"
