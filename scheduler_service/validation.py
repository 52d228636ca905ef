"""Converts pydantic's validation errors: its error types become codes, their context the parameters."""

from difflib import get_close_matches
from typing import TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from scheduler_env.values import shortened
from scheduler_service.errors import InvalidInput
from scheduler_service.words import WORDS

MAX_MISTAKES = 100
"""Limit of listed mistakes per input."""
Refusal = TypeVar("Refusal", bound=InvalidInput)


def refusal(err: ValidationError, schema: type[BaseModel], cls: type[Refusal]) -> Refusal:
    """The mistakes in `err`, as one `cls`."""
    found = err.errors(include_url=False)[:MAX_MISTAKES]
    return cls.of([_mistake(each, schema, cls) for each in found])


def _mistake(error: ErrorDetails, schema: type[BaseModel], cls: type[Refusal]) -> Refusal:
    code, loc = error["type"], error["loc"]
    if code == "extra_forbidden":
        known = {_plain(name): name for name in schema.model_fields} if len(loc) == 1 else {}
        near = get_close_matches(_plain(str(loc[-1])[:60]), known, n=1)
        return cls("unknown_member_near", loc, nearest=known[near[0]]) if near else cls("unknown_member", loc)
    if code == "missing":
        return cls("missing", loc, name=str(loc[-1]))
    if code == "model_type":
        return cls("not_a_json_object", loc)
    if WORDS.template(f"errors.{code}", "en") is None:
        return cls("invalid_value", loc, reason=error["msg"].removeprefix("Value error, "))
    return cls(code, loc, **{"value": shortened(error["input"]), **error.get("ctx", {})})


def _plain(name: str) -> str:
    return name.casefold().replace("_", "")
