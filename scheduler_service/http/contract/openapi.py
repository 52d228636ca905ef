"""`/openapi.json` and `/docs`: made from the request schemas and one table of routes; a test compares it with the URLs.

Written rather than taken from flask-openapi3: that answers validation errors in its own shape, reads bodies with its
own (lenient) JSON, and its Swagger UI is megabytes of JavaScript; here nothing is loaded and nothing runs.
"""

import json
from functools import cache
from http import HTTPStatus
from pathlib import Path
from typing import Any

from pydantic.json_schema import models_json_schema

from scheduler_service.http.contract import problems, schemas
from scheduler_service.http.contract.answers import ANSWERS
from scheduler_service.http.contract.answers.words import COUNT, TEXT, Schema, object_of, one_of, ref, told
from scheduler_service.http.contract.error_examples import error_example
from scheduler_service.http.contract.operation import Operation
from scheduler_service.http.contract.operations import OPERATIONS
from scheduler_service.registry.records import STATUSES
from scheduler_service.stats.arms import ARMS

VERSION = "1.0.0"


_NAME: Schema = {"type": "string", "minLength": 1, "maxLength": 200}
_MOMENT: Schema = {
    "anyOf": [{"type": "string", "format": "date-time"}, {"type": "string", "format": "date"}, {"const": ""}],
    "examples": ["2026-01-01"],
}
_QUERY: dict[str, Schema] = {
    "algorithm": told(TEXT, "Only models of this algorithm."),
    "status": told(one_of(*STATUSES, ""), "Only models of this status."),
    "tag": told(TEXT, "Only models that bear this tag."),
    "at": told(_MOMENT, "ISO-8601; without an offset local time. Now if left out."),
    "limit": {"type": "integer", "minimum": 1, "maximum": 1_000, "description": "So many at most."},
    "start_time": told(_MOMENT, "ISO-8601, included; without an offset local time."),
    "end_time": told(_MOMENT, "ISO-8601, included; without an offset local time."),
    "model_key": told(TEXT, "Only what concerns this model's key."),
    "experiment": told(TEXT, "Only runs of this experiment."),
    "before": told(COUNT, "Only runs recorded before the one of this id: `next` of an earlier answer."),
    "search": told({"type": "string", "maxLength": 200}, "Words of name and owner, or a request id from its start."),
    "without_experiments": told(one_of("true", "false", ""), "true: only runs that no experiment assigned."),
    "user_id": told(_NAME, "The user."),
    "arm": told(one_of(*ARMS, ""), "The arm; model_b if left out."),
    "archived": told(one_of("true", "false", ""), "true: those in the archive, without their lists of users."),
    "fill_down": told(one_of("true", "false", ""), "true: a blank workpoint_id of a CSV is that of the line above."),
    "teams": told(TEXT, "JSON, as in a run's body: the plant that a file without teams of its own is for."),
    "hours": {
        "type": "number", "exclusiveMinimum": 0, "maximum": 8_784, "default": 24, "description": "How far back.",
    },
    "points": {"type": "integer", "minimum": 1, "maximum": 500, "default": 60, "description": "Buckets at most."},
    "time_zone": told(TEXT, "IANA name (Asia/Shanghai) of the clock by which buckets begin; the server's if left out."),
    "utc_offset_min": {
        "type": "integer", "minimum": -840, "maximum": 840,
        "description": "Instead of time_zone: minutes that the clock is ahead of UTC, all year.",
    },
    "days": {
        "type": "number", "exclusiveMinimum": 0, "maximum": 3_660, "default": 7, "description": "How far back.",
    },
}  # fmt: skip
_PATH: dict[str, tuple[str, str]] = {  # tag -> what its {name} is, an example
    "models": ("Key, short name or tag.", "DDQN_v2.0"),
    "experiments": ("Name of the experiment.", "ddqn_v1_vs_v2"),
    "operations": ("Name of the report.", "performance_20261123_130241_en.html"),
}
_TAG = "^([A-Za-z][A-Za-z0-9_-]{0,31}:)?[A-Za-z][A-Za-z0-9_.-]{0,63}$"
_OTHER_PATH: dict[str, tuple[str, str]] = {
    "tag": ("A letter, then letters, digits, _, . and -, 64 at most; also <algorithm>:<tag>.", "canary"),
    "alert": ("Its id, as in GET /alerts.", "1"),
    "request_id": ("That of the run.", "0d2d4c3e-7f0b-4a52-8a52-9f2f8d1c7b11"),
    "threshold": ("Its name, as in GET /alerts/thresholds.", "max_makespan"),
    "number": ("Its id, as in GET /alerts.", "1"),
}
_HEADERS: dict[str, Schema] = {
    "X-Request-ID": {
        "description": "The client's own id, if it sent a sane one, or a new UUID; the log has it.",
        "required": True,
        "schema": TEXT,
    },
    "RateLimit-Policy": {"description": "Requests (q) in a window of seconds (w).", "schema": TEXT},
    "RateLimit": {"description": "Requests left (r), and seconds until there are more (t).", "schema": TEXT},
    "Retry-After": {
        "description": "Seconds until it is worth while to ask again; none where a person has to mend something first.",
        "required": False,
        "schema": {"type": "string", "pattern": "^[0-9]+$"},
    },
    "WWW-Authenticate": {"description": "How keys are sent.", "required": True, "schema": TEXT},
}


@cache
def examples() -> dict[str, Any]:
    """`METHOD /path` -> an answer that a service gave, shortened."""
    read: dict[str, Any] = json.loads(Path(__file__).with_name("examples.json").read_text(encoding="utf-8"))
    return read


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
    requests: dict[str, Any] = definitions.get("$defs", {})
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Shutdown scheduler",
            "version": VERSION,
            "description": "Schedules inspection shutdowns; registers models; compares them in A/B tests. On loopback "
            "nobody needs a key; bound elsewhere, every operation names the scope that a key needs. Answers may get "
            "further members.",
        },
        "servers": [{"url": "/"}],
        "tags": [{"name": tag, "description": about} for tag, about in TAGS.items()],
        "paths": paths,
        "components": {
            "schemas": requests | {"UploadRequest": _upload(requests["RegisterRequest"])} | ANSWERS,
            "headers": _HEADERS,
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer", "description": "An API key; scopes run, read, admin."},
                "key": {"type": "apiKey", "in": "header", "name": "X-API-Key", "description": "The same."},
            },
        },
    }


TAGS = {
    "runs": "Build schedules, and judge them.",
    "models": "Register, promote, tag, roll back.",
    "experiments": "Compare models on live traffic.",
    "operations": "Health, figures and reports.",
    "alerts": "What is wrong, and who sees to it.",
}


def _described(operation: Operation) -> dict[str, Any]:
    said: dict[str, Any] = {
        "operationId": f"{operation.method.lower()}{operation.path.translate(str.maketrans('/{}.', '____'))}",
        "tags": [operation.tag],
        "summary": operation.summary,
        "parameters": [
            *(_path_parameter(operation, part[1:-1]) for part in operation.path.split("/") if part.startswith("{")),
            *(_query_parameter(name) for name in operation.query),
            {
                "name": "X-Request-ID",
                "in": "header",
                "description": "An id of the client's: letters, digits and ._:-, at most 100; others are passed over.",
                "schema": TEXT,
            },
        ],
        # The empty requirement: on loopback, and where SCHED_ANONYMOUS_SCOPES has the scope, no key is needed.
        "security": [{}, {"bearer": [operation.scope]}, {"key": [operation.scope]}] if operation.scope else [],
    }
    if operation.scope:
        said["description"] = f"Where keys are needed: one with the scope `{operation.scope}`."
        said["x-required-scope"] = operation.scope
    if operation.body is not None:
        told_examples = {"example": operation.example, **operation.more_examples}
        shown = {name: {"value": value} for name, value in told_examples.items()}
        content: Schema = {"application/json": {"schema": ref(operation.body.__name__), "examples": shown}}
        if operation.table:
            content["text/csv"] = {"schema": TEXT, "example": operation.table}
        if operation.body is schemas.RegisterRequest:
            content["multipart/form-data"] = {
                "schema": ref("UploadRequest"),
                "encoding": {"file": {"contentType": "application/octet-stream"}}
                | {name: {"contentType": "application/json"} for name in _JSON_FIELDS},
            }
        said["requestBody"] = {"required": not operation.is_body_optional, "content": content}
    said["responses"] = {str(operation.success): _success(operation)} | {
        str(status): _error(operation, status) for status in operation.statuses
    }
    return said


def _path_parameter(operation: Operation, name: str) -> Schema:
    about, example = _OTHER_PATH.get(name) or _PATH[operation.tag]
    return {
        "name": name, "in": "path", "required": True, "description": about, "example": example,
        "schema": {"type": "string", "minLength": 1} | ({"pattern": _TAG} if name == "tag" else {}),
    }  # fmt: skip


def _query_parameter(name: str) -> Schema:
    schema = dict(_QUERY[name])
    about = schema.pop("description")
    return {"name": name, "in": "query", "required": name == "user_id", "description": about, "schema": schema}


def _headers(*more: str, is_probe: bool) -> Schema:
    limits = () if is_probe else ("RateLimit-Policy", "RateLimit")
    return {name: {"$ref": f"#/components/headers/{name}"} for name in ("X-Request-ID", *limits, *more)}


def _success(operation: Operation) -> Schema:
    media = operation.answer.split() if "/" in operation.answer else ["application/json"]
    schema = TEXT if "/" in operation.answer else ref(operation.answer)
    shown = {"schema": schema, "example": examples()[operation.key]}
    return {
        "description": operation.summary,
        "headers": _headers(is_probe=operation.is_probe),
        "content": {each: shown if each != "application/pdf" else {"schema": {}} for each in media},
    }


def _error(operation: Operation, status: int) -> Schema:
    more = {401: ("WWW-Authenticate",), 429: ("Retry-After",), 503: ("Retry-After",)}.get(status, ())
    schema = "UnwellAnswer" if operation.is_probe and status == 503 else "Problem"
    shown = {"schema": ref(schema), "example": error_example(status, operation.tag)}
    return {
        "description": HTTPStatus(status).phrase,
        "headers": _headers(*more, is_probe=operation.is_probe),
        "content": {problems.PROBLEM_MEDIA_TYPE: shown},
    }


_JSON_FIELDS = ("training_params", "performance_metrics", "tags", "lineage")


def _upload(registration: Schema) -> Schema:
    """The form: `file` for model_path; a field that is not sent is absent, there is no null."""
    fields = {
        name: next((each for each in schema.get("anyOf", ()) if each.get("type") != "null"), schema)
        for name, schema in registration["properties"].items()
        if name != "model_path"
    }
    file = {"type": "string", "format": "binary", "description": "The weights: a .pth file."}
    required = {"file": file, "algorithm_name": fields.pop("algorithm_name")}
    return object_of(required, fields, "An upload; the fields that are not texts hold JSON.") | {
        "additionalProperties": False
    }
