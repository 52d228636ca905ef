"""Converts pydantic's validation errors: its error types become codes, their context the parameters."""

from collections.abc import Callable, Iterable, Iterator
from difflib import get_close_matches
from typing import Annotated, TypeVar

from pydantic import BaseModel, BeforeValidator, ValidationError
from pydantic_core import ErrorDetails, PydanticCustomError

from scheduler_env.errors import CodedError, Loc
from scheduler_env.values import shortened, whole
from scheduler_env.words import WORDS, Catalogue

MAX_MISTAKES = 100
"""Limit of listed mistakes per input."""
MAX_FIELDS = 100
"""Of an object; no request has half as many."""
WHOLE = BeforeValidator(whole)
Whole = Annotated[int, WHOLE]
"""JSON has one kind of number: 2.0 is as whole as 2. Limits stand before `WHOLE`: after it, JSON Schema loses them."""
Refusal = TypeVar("Refusal", bound=CodedError)


def refusal(err: ValidationError, schema: type[BaseModel], cls: type[Refusal]) -> Refusal:
    """The mistakes in `err`, as one `cls`."""
    found = err.errors(include_url=False)[:MAX_MISTAKES]
    return cls.of([_mistake(each, (), schema.model_fields, cls) for each in found])


def mistakes(err: ValidationError, loc: Loc, fields: Iterable[str], cls: type[Refusal]) -> Iterator[Refusal]:
    """Each mistake in `err`; `loc` is the path to what was validated, `fields` are the names of its fields."""
    return (_mistake(each, loc, fields, cls) for each in err.errors(include_url=False))


def invalid_in(words: Catalogue) -> Callable[..., PydanticCustomError]:
    """A function that makes an error for pydantic validators to raise, from a code of `words` and its parameters."""

    def invalid(code: str, /, **params: object) -> PydanticCustomError:
        text = words.text(f"errors.{code}", params).replace("{", "{{").replace("}", "}}")
        return PydanticCustomError(code, text, params)

    return invalid


invalid = invalid_in(WORDS)


def text_of_id(value: object) -> object:
    """An id as a text: clients also send whole numbers."""
    value = whole(value)
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _mistake(error: ErrorDetails, at: Loc, fields: Iterable[str], cls: type[Refusal]) -> Refusal:
    code, loc = error["type"], (*at, *error["loc"])
    if code == "extra_forbidden":
        known = {_plain(name): name for name in fields} if len(error["loc"]) == 1 else {}
        near = get_close_matches(_plain(str(loc[-1])[:60]), known, n=1, cutoff=0.7)
        return cls("unknown_member_near", loc, nearest=known[near[0]]) if near else cls("unknown_member", loc)
    if code == "model_type":
        return cls("not_a_json_object", loc)
    if code == "missing" or (code.endswith("_type") and error["input"] is None):
        return cls("missing", loc, name=str(loc[-1]))
    if (template := cls.words.template(f"errors.{code}", "en")) is None:
        return cls("invalid_value", loc, reason=error["msg"].removeprefix("Value error, "))
    value = {"value": shortened(error["input"])} if "{value" in template else {}
    return cls(code, loc, **value | error.get("ctx", {}))


def _plain(name: str) -> str:
    return name.casefold().replace("_", "")
