"""`/openapi.json`: OpenAPI 3.1, made from the contracts that stand on the handlers."""

from collections.abc import Iterable, Iterator, Sequence
from http import HTTPStatus
from typing import Any, Literal

from pydantic import TypeAdapter
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue

from scheduler_service.http.contract import problems
from scheduler_service.http.contract.api import Api
from scheduler_service.http.contract.contract import UNCOUNTED, Contract
from scheduler_service.http.contract.models import FORM_JSON_FIELDS, RegisterRequest
from scheduler_service.http.contract.operations import UnwellAnswer
from scheduler_service.http.contract.types import Problem, Schema

VERSION = "1.0.0"
REF = "#/components/schemas/{model}"
JSON, CSV, FORM = "application/json", "text/csv", "multipart/form-data"
DESCRIPTION = """
Schedules inspection shutdowns; registers models; compares them in A/B tests.

On loopback nobody needs a key; bound elsewhere, every operation names the scope that a key needs. Answers may get
further members. Errors are problems (RFC 9457): what each `code` means is in the documentation of the HTTP interface.
"""
TRACEPARENT = "00-[0-9a-f]{32}-[0-9a-f]{16}-0[0-3]"
_TEXT: Schema = {"type": "string"}
_HEADERS: dict[str, Schema] = {
    "X-Request-ID": {
        "description": "The client's own id, if it sent a sane one, or a new UUID; the log has it.",
        "required": True,
        "schema": _TEXT,
    },
    "Server-Timing": {
        "description": "The trace of the request: the caller's, or a new one. As traceparent writes it.",
        "required": True,
        "schema": {"type": "string", "pattern": f'^traceparent;desc="{TRACEPARENT}"$'},
    },
    "RateLimit-Policy": {"description": "Requests (q) in a window of seconds (w).", "schema": _TEXT},
    "RateLimit": {"description": "Requests left (r), and seconds until there are more (t).", "schema": _TEXT},
    "Retry-After": {
        "description": "Seconds until it is worth while to ask again; none where a person has to mend something first.",
        "required": False,
        "schema": {"type": "string", "pattern": "^[0-9]+$"},
    },
    "WWW-Authenticate": {"description": "How keys are sent.", "required": True, "schema": _TEXT},
}
_REQUEST_HEADERS: list[Schema] = [
    {"name": name, "in": "header", "description": description, "schema": _TEXT}
    for name, description in {
        "X-Request-ID": "An id of the client's: letters, digits and ._:-, at most 100; others are passed over.",
        "traceparent": "The caller's position in its trace (W3C Trace Context); an invalid one is passed over.",
        "tracestate": "Goes with traceparent; passed on in calls that the service makes for the request.",
    }.items()
]


class _Schemas(GenerateJsonSchema):
    """Without titles, which say the names again."""

    def field_title_should_be_set(self, schema: Any) -> bool:  # noqa: ARG002  (pydantic's signature)
        return False

    def get_title_from_name(self, name: str) -> str:  # noqa: ARG002
        return ""


def document(apis: Sequence[Api]) -> dict[str, Any]:
    """The OpenAPI 3.1 document of these routes."""
    contracts = [contract for api in apis for contract in api.contracts]
    components, refs = _components(contracts)
    paths: dict[str, dict[str, Any]] = {}
    for contract in contracts:
        paths.setdefault(contract.path, {})[contract.method.lower()] = _operation(contract, refs)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Shutdown scheduler", "version": VERSION, "description": DESCRIPTION.strip()},
        "servers": [{"url": "/"}],
        "tags": [{"name": api.tag, "description": api.about} for api in apis],
        "paths": paths,
        "components": {
            "schemas": components | {"UploadRequest": _upload(components["RegisterRequest"])},
            "headers": _HEADERS,
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer", "description": "An API key; scopes run, read, admin."},
                "key": {"type": "apiKey", "in": "header", "name": "X-API-Key", "description": "The same."},
            },
        },
    }


Refs = dict[Any, JsonSchemaValue]
"""Type -> the reference to its schema."""


def _components(contracts: Iterable[Contract]) -> tuple[dict[str, Schema], Refs]:
    types: dict[Any, Literal["validation", "serialization"]] = {Problem: "serialization", UnwellAnswer: "serialization"}
    for contract in contracts:
        types |= {contract.body: "validation"} if contract.body is not None else {}
        types |= {contract.answer: "serialization"} if contract.answer is not None else {}
    adapters = [(each, mode, TypeAdapter(each)) for each, mode in types.items()]
    found, definitions = TypeAdapter.json_schemas(adapters, ref_template=REF, schema_generator=_Schemas)
    return _without_titles(definitions["$defs"]), {each: schema for (each, _), schema in found.items()}


def _without_titles(schemas: dict[str, Schema]) -> dict[str, Schema]:
    return {name: {key: value for key, value in each.items() if key != "title"} for name, each in schemas.items()}


def _operation(contract: Contract, refs: Refs) -> dict[str, Any]:
    scope = contract.scope
    told: dict[str, Any] = {
        "operationId": contract.operation_id,
        "tags": [contract.tag],
        "summary": contract.summary,
        "description": _description(contract),
        "parameters": [*_path_parameters(contract), *_query_parameters(contract), *_REQUEST_HEADERS],
        # The empty requirement: on loopback, and where SCHED_ANONYMOUS_SCOPES has the scope, no key is needed.
        "security": [{}, {"bearer": [scope]}, {"key": [scope]}] if scope else [],
    }
    if scope:
        told["x-required-scope"] = scope
    if contract.body is not None:
        told["requestBody"] = {"required": not contract.is_body_optional, "content": _body(contract, refs)}
    errors = {str(status): _error(contract, status, refs) for status in statuses(contract)}
    return told | {"responses": {str(contract.success): _success(contract, refs)} | errors}


def _description(contract: Contract) -> str:
    scope = f"Where keys are needed: one with the scope `{contract.scope}`." if contract.scope else "No key is needed."
    return f"{contract.details}\n\n{scope}".strip()


def _path_parameters(contract: Contract) -> Iterator[Schema]:
    for name, annotated in contract.path_types.items():
        schema = TypeAdapter(annotated).json_schema(schema_generator=_Schemas)
        about, (example,) = schema.pop("description"), schema.pop("examples")
        described = {"name": name, "in": "path", "required": True, "description": about, "example": example}
        yield described | {"schema": {"minLength": 1} | schema}


def _query_parameters(contract: Contract) -> Iterator[Schema]:
    if contract.query is None:
        return
    schema = contract.query.model_json_schema(schema_generator=_Schemas)
    for name, each in schema["properties"].items():
        about, is_needed = each.pop("description"), name in schema.get("required", ())
        kinds = [kind for kind in each.pop("anyOf", ()) if kind != {"type": "null"}]  # a query has no null
        each |= kinds[0] if len(kinds) == 1 else {"anyOf": kinds} if kinds else {}
        if each.get("default", "") in (None, "", False):
            each.pop("default", None)
        yield {"name": name, "in": "query", "required": is_needed, "description": about, "schema": each}


def _body(contract: Contract, refs: Refs) -> Schema:
    assert contract.body is not None
    schema = refs[contract.body]
    examples = contract.body.model_json_schema()["examples"]
    content: Schema = {
        JSON: {"schema": schema, "examples": {f"example {n}": {"value": each} for n, each in enumerate(examples, 1)}}
    }
    if contract.table:
        content[CSV] = {"schema": _TEXT, "example": contract.table}
    if contract.body is RegisterRequest:
        files = {"file": {"contentType": "application/octet-stream"}}
        content[FORM] = {
            "schema": {"$ref": REF.format(model="UploadRequest")},
            "encoding": files | {name: {"contentType": JSON} for name in FORM_JSON_FIELDS},
        }
    return content


def statuses(contract: Contract) -> list[int]:
    """Every error that a route may answer: of what reads the request, of the guards, of its lane and of its own."""
    found = {422, 500, *(problems.status_of(each) for each in contract.raises)}
    if contract.body is not None:
        found |= {400, 413, 415}
    if contract.scope:
        found |= {401, 403}
    if contract.admission == "identifying":
        found.add(401)
    if contract.admission not in UNCOUNTED:
        found.add(429)
    if contract.lane is not None:
        found.add(503)
    return sorted(found)


def _headers(contract: Contract, *more: str) -> Schema:
    limits = () if contract.admission in UNCOUNTED else ("RateLimit-Policy", "RateLimit")
    return {
        name: {"$ref": f"#/components/headers/{name}"} for name in ("X-Request-ID", "Server-Timing", *limits, *more)
    }


def _success(contract: Contract, refs: Refs) -> Schema:
    content: Schema = {media: {"schema": {} if media == "application/pdf" else _TEXT} for media in contract.media} or {
        JSON: {"schema": refs[contract.answer]}
    }
    return {"description": contract.summary, "headers": _headers(contract), "content": content}


def _error(contract: Contract, status: int, refs: Refs) -> Schema:
    more = {401: ("WWW-Authenticate",), 429: ("Retry-After",), 503: ("Retry-After",)}.get(status, ())
    answer = UnwellAnswer if contract.admission == "probe" and status == 503 else Problem
    own = [each for each in contract.raises if problems.status_of(each) == status]
    causes = own or [each for each, its_status in problems.STATUS_OF.items() if its_status == status]
    example = problems.example(status, causes[0] if causes else None)
    if answer is UnwellAnswer:
        example |= {"failing": ["disk"], "parts": {"disk": {"status": "failing", "detail": "0.1 GiB are free"}}}
    shown = {"schema": refs[answer], "example": example}
    return {
        "description": " ".join([f"{HTTPStatus(status).phrase}.", *map(problems.meaning_of, causes)]),
        "headers": _headers(contract, *more),
        "content": {problems.PROBLEM_MEDIA_TYPE: shown},
    }


def _upload(registration: Schema) -> Schema:
    """The form: `file` for model_path; a field that is not sent is absent, there is no null."""
    fields = {
        name: next((each for each in schema.get("anyOf", ()) if each.get("type") != "null"), schema)
        for name, schema in registration["properties"].items()
        if name != "model_path"
    }
    file = {"type": "string", "format": "binary", "description": "The weights: a .pth file."}
    return {
        "type": "object",
        "description": "An upload; the fields that are not texts hold JSON.",
        "required": ["file", "algorithm_name"],
        "properties": {"file": file} | fields,
        "additionalProperties": False,
    }
