"""Models: register, list, promote, tag, roll back, delete; and their history."""

from collections.abc import Mapping
from typing import Any

from flask import request
from werkzeug.datastructures import FileStorage

from scheduler_env.values import shortened
from scheduler_service.clock import parse_time, utc_now
from scheduler_service.errors import (
    AmbiguousModelName,
    Conflict,
    InvalidInput,
    InvalidTransition,
    ModelConflict,
    ModelNotFound,
    Overloaded,
)
from scheduler_service.http.answering import answering, default_model, held_rollouts, is_default
from scheduler_service.http.bodies import MalformedBody, parse_json, read_body, read_form, validated
from scheduler_service.http.contract import models as contract
from scheduler_service.http.contract.api import Api, success
from scheduler_service.http.contract.types import Done, ModelName
from scheduler_service.http.services import Services
from scheduler_service.registry.records import ModelRecord

api = Api("models", "Register, promote, tag, roll back.")

MAX_FIELD_BYTES = 2**20
"""Of a part of an upload's form that is not the file."""
NAMES = (ModelNotFound, AmbiguousModelName)


@api.post("/models/register", lane=None, body=contract.RegisterRequest, success=201, raises=(ModelConflict, Overloaded))
def register_model(parts: Services) -> contract.RegistrationAnswer:
    """Register a model, by its path or as an upload."""
    models = parts.models
    if request.mimetype == "multipart/form-data":
        body, stream = _read_upload(parts)
        key = parts.examining.run(lambda: models.register_upload(stream, **_members(body)))
    else:
        body = read_body(contract.RegisterRequest, parts.reading)
        key = parts.examining.run(lambda: models.register_model(body.model_path, **_members(body)))
    return success(model_key=key, message=f"the model is registered as {key}")


@api.get("/models")
def list_models(parts: Services, query: contract.ModelsQuery) -> contract.ModelsAnswer:
    """List models, newest first.

    Without their signatures, which are long and alike: `GET /models/{name}` has them.
    """
    found, default = parts.models.list_models(**query.model_dump()), default_model(parts)
    told = [record.to_dict() | is_default(record, default) for record in found]
    models = [{name: value for name, value in each.items() if name != "signature"} for each in told]
    return success(models=models, default_model=default, answering=answering(parts, found), total=len(models))


@api.get("/models/history", raises=NAMES)
def history(parts: Services, query: contract.HistoryQuery) -> contract.ModelHistoryAnswer:
    """List changes, newest first, and what was live at a time."""
    try:
        moment = utc_now() if query.at is None else parse_time(query.at)
    except (ValueError, OverflowError) as err:
        raise InvalidInput("not_a_time", ("at",), value=shortened(query.at)) from err
    events, live = parts.models.history_at(moment, query.algorithm, query.model_key)
    return success(
        events=[event.to_dict() for event in events[::-1][: query.limit]],
        total=len(events),
        live={found.algorithm: found.to_dict() for found in live},
    )


@api.get("/models/{name}", raises=NAMES)
def get_model(parts: Services, name: ModelName) -> contract.ModelAnswer:
    """Get a model, by key, short name or tag."""
    record, default = parts.models.get_model(name), default_model(parts)
    return success(model=record.to_dict() | is_default(record, default), default_model=default)


@api.get("/models/{name}/outlook", raises=NAMES)
def look_ahead(parts: Services, name: ModelName) -> contract.OutlookAnswer:
    """Which moves a model allows.

    The answer has the reason for each move that is refused, and who uses the model.
    """
    outlook, default = parts.models.outlook(name), default_model(parts)
    return success(**outlook.to_dict(), default_model=default, held_by_default=held_rollouts(parts))


@api.put("/models/default", raises=(*NAMES, Conflict))
def make_default(parts: Services, body: contract.DefaultRequest) -> contract.DefaultChangedAnswer:
    """Set the default model.

    It answers every request that no experiment takes.
    """
    parts.experiments.make_default(body.model_key, reason=body.reason, actor=body.actor)
    record, default = parts.models.get_model(body.model_key), default_model(parts)
    told = record.to_dict() | is_default(record, default)
    return success(model_key=record.model_key, model=told, default_model=default)


@api.post("/models/{name}/promote", lane=None, raises=(*NAMES, InvalidTransition, Overloaded))
def promote_model(parts: Services, name: ModelName, body: contract.PromoteRequest) -> contract.ModelChangedAnswer:
    """Promote or retire a model."""
    # Becoming validated means being measured, which takes about a second, and no run is to wait for that.
    lane = parts.examining if body.status == "validated" else parts.storage
    record = lane.run(lambda: parts.models.promote_model(name, body.status, reason=body.reason, actor=body.actor))
    return _changed(record)


@api.put("/models/tags/{tag}", raises=(*NAMES, ModelConflict))
def tag_model(parts: Services, tag: contract.Tag, body: contract.TagRequest) -> contract.TaggedAnswer:
    """Move a tag to another model."""
    record = parts.models.tag_model(tag, body.model_key, reason=body.reason, actor=body.actor)
    return _changed(record) | {"tag": tag}


@api.delete("/models/tags/{tag}", is_body_optional=True, raises=(ModelNotFound, ModelConflict))
def untag_model(parts: Services, tag: contract.Tag, body: contract.RemovalRequest) -> Done:
    """Remove a tag."""
    parts.models.untag_model(tag, reason=body.reason, actor=body.actor)
    return success(message=f"no model bears the tag {tag} any more")


@api.post("/models/rollback", raises=(ModelNotFound, ModelConflict))
def roll_back(parts: Services, body: contract.RollbackRequest) -> contract.ModelChangedAnswer:
    """Roll back to the version that was stable before."""
    return _changed(parts.models.rollback(body.algorithm, body.reason, actor=body.actor))


@api.delete("/models/{name}", is_body_optional=True, raises=(*NAMES, ModelConflict))
def delete_model(parts: Services, name: ModelName, body: contract.RemovalRequest) -> Done:
    """Delete a model."""
    parts.models.delete_model(name, reason=body.reason, actor=body.actor)
    return success(message=f"the model {name} is deleted")


def _changed(record: ModelRecord) -> Any:
    return success(model_key=record.model_key, model=record.to_dict())


def _read_upload(parts: Services) -> tuple[contract.RegisterRequest, Any]:
    """The form's fields, and the stream of its `file` part."""
    form, files = read_form(parts.reading)
    if "file" not in files:
        raise InvalidInput("no_file_part", ("file",))
    if "model_path" in form:
        raise InvalidInput("file_and_path", ("model_path",))
    fields = {name: _field(name, text) for name, text in form.items()}
    # Clients that send a part's media type, as OpenAPI's `encoding` asks them to, send it as a file as a rule.
    fields |= {name: _field(name, _text(name, part)) for name, part in files.items() if name != "file"}
    return validated(contract.RegisterRequest, {"model_path": "the uploaded file", **fields}), files["file"].stream


def _text(name: str, part: FileStorage) -> str:
    content = part.stream.read(MAX_FIELD_BYTES + 1)
    if len(content) > MAX_FIELD_BYTES:
        raise InvalidInput("field_too_large", (name[:60],), limit=MAX_FIELD_BYTES)
    try:
        return content.decode()
    except UnicodeDecodeError as err:
        raise InvalidInput("field_not_utf8", (name[:60],)) from err


def _field(name: str, text: str) -> object:
    if name not in contract.FORM_JSON_FIELDS:
        return text
    try:
        return parse_json(text.encode("utf-8", "replace"))
    except MalformedBody as err:
        raise InvalidInput("field_not_json", (name,), reason=str(err)) from err


def _members(body: contract.RegisterRequest) -> Mapping[str, Any]:
    return {name: getattr(body, name) for name in contract.RegisterRequest.model_fields if name != "model_path"}
