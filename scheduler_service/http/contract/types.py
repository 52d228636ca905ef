"""The words that requests and answers are written in.

A request is a pydantic model: strict, and a field that does not exist is refused. An answer is a `TypedDict`: its
schema is in OpenAPI, and answers may get further members.
"""

import re
from typing import Annotated, Any, Literal, NotRequired

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    WithJsonSchema,
    model_validator,
)
from pydantic.fields import FieldInfo
from typing_extensions import TypedDict

from scheduler_env.validation import MAX_FIELDS, text_of_id
from scheduler_env.values import is_printable, shortened
from scheduler_service.errors import invalid

MAX_ENTRIES = 10_000
MAX_CHARTS = 100
READ_ELSEWHERE = frozenset({"params", "workpoints", "teams"})
"""Members that `scheduler_env.readers` validates, with limits of their own."""
MAX_NAME, MAX_TEXT = 200, 2_000
Schema = dict[str, Any]


def about(text: str) -> Any:
    """The description of an annotated type."""
    return Field(description=text)


# --- answers ---

JsonObject = dict[str, Any]
Count = Annotated[int, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]
Hours = Annotated[float, about("Hours.")]
Seconds = Annotated[float, about("Seconds.")]
Days = Annotated[float, about("Days.")]
Pair = Annotated[list[float], Field(min_length=2, max_length=2)]
Moment = Annotated[str, Field(description="ISO-8601, UTC.", json_schema_extra={"format": "date-time"})]


def one_of(*words: str) -> FieldInfo:
    """A text that is one of these."""
    info: FieldInfo = Field(json_schema_extra={"enum": list(words)})
    return info


class Success(TypedDict):
    """A request that succeeded."""

    status: Literal["success"]


class Done(Success):
    """What was done, in words."""

    message: str


class Mistake(TypedDict):
    """A mistake of the input, and where it is."""

    loc: list[str | int]
    msg: str
    code: NotRequired[Annotated[str, about("What is wrong, as a name that stays when the text is improved.")]]
    params: NotRequired[Annotated[JsonObject, about("The values that msg names.")]]
    source: NotRequired[Annotated[str, about("The line of the file.")]]


class Problem(TypedDict):
    """RFC 9457."""

    type: Annotated[
        str, Field(description="Where this page tells of it.", json_schema_extra={"format": "uri-reference"})
    ]
    title: str
    status: Annotated[int, Field(ge=400, le=599)]
    detail: str
    error: Annotated[str, about("The same as detail.")]
    code: NotRequired[Annotated[str, about("What is wrong, as a name that stays when the text is improved.")]]
    params: NotRequired[Annotated[JsonObject, about("The values that detail names.")]]
    errors: NotRequired[Annotated[list[Mistake], about("Where each mistake is (422).")]]


# --- bodies ---


def _none_if_empty(value: object) -> object:
    # Front ends send "" for a user who is not logged in: not one user, but each of them.
    return None if value == "" else value


def _printable(text: str | None) -> str | None:
    if text is not None and not (text.strip() and is_printable(text)):
        raise invalid("not_one_line")
    return text


_MAYBE_EMPTY: Schema = {"type": ["string", "null"], "maxLength": MAX_NAME}

Name = Annotated[str, Field(min_length=1, max_length=MAX_NAME)]
OptionalName = Annotated[Name | None, BeforeValidator(_none_if_empty), WithJsonSchema(_MAYBE_EMPTY)]
OneLine = Annotated[OptionalName, AfterValidator(_printable)]
"""A name that people see, in any script."""
OptionalId = Annotated[
    Name | None,
    BeforeValidator(_none_if_empty),
    BeforeValidator(text_of_id),
    WithJsonSchema({"anyOf": [_MAYBE_EMPTY, {"type": "integer"}]}),
]


class Strict(BaseModel):
    """A body: unknown fields, "5" for 5 and numbers that are not finite are refused."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False, protected_namespaces=())

    @model_validator(mode="before")
    @classmethod
    def _refuse_masses(cls, value: object) -> object:
        # Each entry that does not fit would be an error of its own: a minute of them in 3 MB, on the event loop.
        if not isinstance(value, dict):
            return value
        if len(value) > MAX_FIELDS:
            raise invalid("too_many_fields", n=len(value), limit=MAX_FIELDS)
        for name, entry in value.items():
            most = MAX_CHARTS if name == "charts" else MAX_ENTRIES
            if isinstance(entry, list | dict) and name not in READ_ELSEWHERE and len(entry) > most:
                raise invalid("too_many_entries", name=str(name)[:60], n=len(entry), limit=most)
        return value


class Signed(Strict):
    """A change: who makes it, and why."""

    reason: Annotated[str, Field(max_length=MAX_TEXT)] = ""
    actor: Annotated[str, Field(max_length=MAX_NAME)] = ""


class Reasoned(Signed):
    """A change for which a reason is needed."""

    reason: Annotated[str, Field(min_length=1, max_length=MAX_TEXT)]


def examples(*bodies: Schema, **more: Any) -> ConfigDict:
    """The configuration of a body with these examples, the usual one first, and `more` members of its schema."""
    return ConfigDict(json_schema_extra={"examples": [*bodies], **more})


# --- queries ---


class Query(BaseModel):
    """The parameters of a query, which are texts."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, protected_namespaces=())


_WHOLE = re.compile(r"-?[0-9]{1,19}", re.ASCII)
_DECIMAL = re.compile(r"[+-]?([0-9]{1,19}(\.[0-9]{0,30})?|\.[0-9]{1,30})([eE][+-]?[0-9]{1,3})?", re.ASCII)


def whole_number(text: object) -> object:
    """`text`, if it is a whole number in digits."""
    if isinstance(text, str) and not _WHOLE.fullmatch(text):
        raise invalid("int_type", value=shortened(text))
    return text


def _decimal_number(text: object) -> object:
    if isinstance(text, str) and not _DECIMAL.fullmatch(text):
        raise invalid("float_type", value=shortened(text))
    return text


def _flag(text: object) -> object:
    if text not in ("true", "false", True, False):
        raise invalid("bool_type", value=shortened(text))
    return text in ("true", True)


WholeNumber = Annotated[int, BeforeValidator(whole_number)]
DecimalNumber = Annotated[float, BeforeValidator(_decimal_number)]
QueryFlag = Annotated[bool, BeforeValidator(_flag), WithJsonSchema({"type": "string", "enum": ["true", "false", ""]})]
AnyTime = Annotated[
    str,
    WithJsonSchema(
        {
            "anyOf": [{"type": "string", "format": "date-time"}, {"type": "string", "format": "date"}, {"const": ""}],
            "examples": ["2026-01-01"],
        }
    ),
]

# --- names in paths ---

ModelName = Annotated[str, Field(description="Key, short name or tag.", examples=["DDQN_v2.0"])]
ExperimentName = Annotated[str, Field(description="Name of the experiment.", examples=["ddqn_v1_vs_v2"])]
RequestId = Annotated[str, Field(description="That of the run.", examples=["0d2d4c3e-7f0b-4a52-8a52-9f2f8d1c7b11"])]
