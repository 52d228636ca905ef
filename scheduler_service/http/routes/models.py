"""Models: register, list, promote, tag, roll back, delete; and their history."""

from collections.abc import Mapping
from typing import Any

from flask import Blueprint, request
from werkzeug.datastructures import FileStorage

from scheduler_env.values import shortened
from scheduler_service.clock import parse_time, utc_now
from scheduler_service.errors import InvalidInput
from scheduler_service.http.answering import answering, default_model, held_rollouts, is_default
from scheduler_service.http.bodies import MalformedBody, number_of, parse_json, read_body, read_form, validated
from scheduler_service.http.contract.schemas import (
    DefaultRequest,
    PromoteRequest,
    RegisterRequest,
    RemovalRequest,
    RollbackRequest,
    TagRequest,
)
from scheduler_service.http.services import services
from scheduler_service.registry.records import ModelRecord

blueprint = Blueprint("models", __name__)

MAX_EVENTS = 1_000
"""Most changes that one answer lists."""

MAX_FIELD_BYTES = 2**20
"""Of a part of an upload's form that is not the file."""
FORM_JSON_FIELDS = frozenset({"training_params", "performance_metrics", "tags", "lineage"})
"""Parts of an upload's form that hold JSON; the others are texts."""


@blueprint.post("/models/register")
def register_model() -> tuple[dict[str, Any], int]:
    """Register a trained model, by its path or as an upload."""
    models = services().models
    if request.mimetype == "multipart/form-data":
        body, stream = _read_upload()
        key = services().examining.run(lambda: models.register_upload(stream, **_members(body)))
    else:
        body = read_body(RegisterRequest)
        key = services().examining.run(lambda: models.register_model(body.model_path, **_members(body)))
    return {"status": "success", "model_key": key, "message": f"the model is registered as {key}"}, 201


@blueprint.get("/models")
def list_models() -> dict[str, Any]:
    """The registered models, newest first; without their signatures, which are long and alike (see one model)."""
    wanted = {name: request.args.get(name) or None for name in ("algorithm", "status", "tag")}
    parts = services()

    def listed() -> dict[str, Any]:
        found, default = parts.models.list_models(**wanted), default_model(parts)
        told = [record.to_dict() | is_default(record, default) for record in found]
        models = [{name: value for name, value in each.items() if name != "signature"} for each in told]
        return {"models": models, "default_model": default, "answering": answering(parts, found)}

    answer = parts.storage.run(listed)
    return {"status": "success", **answer, "total": len(answer["models"])}


@blueprint.get("/models/history")
def history() -> dict[str, Any]:
    """What changed, newest first, and what is live; or was, at the time `at`."""
    algorithm, name = request.args.get("algorithm") or None, request.args.get("model_key") or None
    try:
        moment = parse_time(request.args["at"]) if request.args.get("at") else utc_now()
    except (ValueError, OverflowError) as err:
        raise InvalidInput("not_a_time", ("at",), value=shortened(request.args["at"])) from err
    limit = number_of("limit", default=MAX_EVENTS, most=MAX_EVENTS)
    events, live = services().storage.run(lambda: services().models.history_at(moment, algorithm, name))
    return {
        "status": "success",
        "events": [event.to_dict() for event in events[::-1][:limit]],
        "total": len(events),
        "live": {found.algorithm: found.to_dict() for found in live},
    }


@blueprint.get("/models/<name>")
def get_model(name: str) -> dict[str, Any]:
    """What is known of one model."""
    parts = services()
    record, default = parts.storage.run(lambda: (parts.models.get_model(name), default_model(parts)))
    return {"status": "success", "model": record.to_dict() | is_default(record, default), "default_model": default}


@blueprint.get("/models/<name>/outlook")
def look_ahead(name: str) -> dict[str, Any]:
    """What may be done with a model now, why not the rest, and who would notice."""
    parts = services()
    outlook, default, held = parts.storage.run(
        lambda: (parts.models.outlook(name), default_model(parts), held_rollouts(parts))
    )
    return {"status": "success", **outlook.to_dict(), "default_model": default, "held_by_default": held}


@blueprint.put("/models/default")
def make_default() -> dict[str, Any]:
    """Let another model answer what no experiment takes."""
    body, parts = read_body(DefaultRequest), services()

    def made() -> tuple[ModelRecord, dict[str, str | None]]:
        parts.experiments.make_default(body.model_key, reason=body.reason, actor=body.actor)
        return parts.models.get_model(body.model_key), default_model(parts)

    record, default = parts.storage.run(made)
    told = record.to_dict() | is_default(record, default)
    return {"status": "success", "model_key": record.model_key, "model": told, "default_model": default}


@blueprint.post("/models/<name>/promote")
def promote_model(name: str) -> dict[str, Any]:
    """Move a model on in its life."""
    body = read_body(PromoteRequest)
    # Becoming validated means being measured, which takes about a second, and no run is to wait for that.
    threads = services().examining if body.status == "validated" else services().storage
    record = threads.run(
        lambda: services().models.promote_model(name, body.status, reason=body.reason, actor=body.actor)
    )
    return {"status": "success", "model_key": record.model_key, "model": record.to_dict()}


@blueprint.put("/models/tags/<tag>")
def tag_model(tag: str) -> dict[str, Any]:
    """Let a tag name another model."""
    body = read_body(TagRequest)
    record = services().storage.run(
        lambda: services().models.tag_model(tag, body.model_key, reason=body.reason, actor=body.actor)
    )
    return {"status": "success", "tag": tag, "model_key": record.model_key, "model": record.to_dict()}


@blueprint.delete("/models/tags/<tag>")
def untag_model(tag: str) -> dict[str, Any]:
    """Take a tag from the model that bears it."""
    body = read_body(RemovalRequest, optional=True)
    services().storage.run(lambda: services().models.untag_model(tag, reason=body.reason, actor=body.actor))
    return {"status": "success", "message": f"no model bears the tag {tag} any more"}


@blueprint.post("/models/rollback")
def roll_back() -> dict[str, Any]:
    """Return to the version that was stable before."""
    body = read_body(RollbackRequest)
    record = services().storage.run(lambda: services().models.rollback(body.algorithm, body.reason, actor=body.actor))
    return {"status": "success", "model_key": record.model_key, "model": record.to_dict()}


@blueprint.delete("/models/<name>")
def delete_model(name: str) -> dict[str, Any]:
    """Take a model out of the registry."""
    body = read_body(RemovalRequest, optional=True)
    services().storage.run(lambda: services().models.delete_model(name, reason=body.reason, actor=body.actor))
    return {"status": "success", "message": f"the model {name} is deleted"}


def _read_upload() -> tuple[RegisterRequest, Any]:
    """The form's fields, and the stream of its `file` part."""
    form, files = read_form()
    if "file" not in files:
        raise InvalidInput("no_file_part", ("file",))
    if "model_path" in form:
        raise InvalidInput("file_and_path", ("model_path",))
    fields = {name: _field(name, text) for name, text in form.items()}
    # Clients that send a part's media type, as OpenAPI's `encoding` asks them to, send it as a file as a rule.
    fields |= {name: _field(name, _text(name, part)) for name, part in files.items() if name != "file"}
    return validated(RegisterRequest, {"model_path": "the uploaded file", **fields}), files["file"].stream


def _text(name: str, part: FileStorage) -> str:
    content = part.stream.read(MAX_FIELD_BYTES + 1)
    if len(content) > MAX_FIELD_BYTES:
        raise InvalidInput("field_too_large", (name[:60],), limit=MAX_FIELD_BYTES)
    try:
        return content.decode()
    except UnicodeDecodeError as err:
        raise InvalidInput("field_not_utf8", (name[:60],)) from err


def _field(name: str, text: str) -> object:
    if name not in FORM_JSON_FIELDS:
        return text
    try:
        return parse_json(text.encode("utf-8", "replace"))
    except MalformedBody as err:
        raise InvalidInput("field_not_json", (name,), reason=str(err)) from err


def _members(body: RegisterRequest) -> Mapping[str, Any]:
    return {name: getattr(body, name) for name in RegisterRequest.model_fields if name != "model_path"}
