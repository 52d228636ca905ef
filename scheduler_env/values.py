"""JSON and its single values, read strictly: what a text, a number of hours, a count of people may be.

Every function with a `loc` returns the value or raises `InvalidInstance` there, at the path to it in the input.
"""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from scheduler_env.errors import InvalidInstance, Loc
from scheduler_env.problem import MAX_HEADCOUNT
from scheduler_env.standard_cycle import MAX_DURATION_H

MAX_NAME_LENGTH = 200

MAX_EXACT = 2**53
"""Up to here a float is the number that was written."""
_CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff]")
"""Control characters, line and paragraph separators, changes of the direction of writing, and what is no character."""

_JSON_WORDS: Mapping[object, str] = {None: "null", True: "true", False: "false"}


def strict_json(text: str | bytes) -> Any:
    """The value that `text` says.

    Raises:
        ValueError: it is not JSON, holds NaN or an infinity, or a key twice in one object.
    """
    return json.loads(text, object_pairs_hook=_without_repeats, parse_constant=_refuse_constant)


def _without_repeats(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"the key {key!r} is written twice")
        found[key] = value
    return found


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not a number of JSON")


def json_object(value: object, loc: Loc, keys: Sequence[str], owner: str) -> Mapping[str, object]:
    """An object that has no keys but `keys`; `owner` is what has it: a step, team or workpoint."""
    if not isinstance(value, Mapping):
        raise InvalidInstance("not_an_object", loc, found=kind_of(value), allowed=list(keys))
    for key in value:
        if key not in keys:
            raise InvalidInstance(
                "unknown_field", (*loc, str(key)), owner=owner, name=shortened(key), allowed=list(keys)
            )
    return value


def number(value: object, loc: Loc) -> float:
    """Hours: finite, not beyond the longest duration either way."""
    if value is None:
        raise InvalidInstance("missing", loc, name=str(loc[-1]))
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InvalidInstance("not_a_number_of_hours", loc, value=shortened(value), found=kind_of(value))
    if not abs(value) <= MAX_DURATION_H:  # also refuses NaN, and integers too big for a float
        raise InvalidInstance("duration_out_of_range", loc, value=shortened(value), limit=MAX_DURATION_H)
    return float(value)


def whole(value: object) -> object:
    """`value`, as an integer if it is a float that says one: JSON has one kind of number, and 2.0 is as whole as 2."""
    return int(value) if isinstance(value, float) and value.is_integer() and abs(value) <= MAX_EXACT else value


def integer(value: object, loc: Loc) -> int:
    """A whole number."""
    value = whole(value)
    if isinstance(value, bool) or not isinstance(value, int):
        raise InvalidInstance("not_an_integer", loc, value=shortened(value))
    return value


def people(value: object, loc: Loc) -> int | None:
    """A headcount or a crew, 1..MAX_HEADCOUNT; None when absent."""
    if value is None:
        return None
    count = integer(value, loc)
    if not 1 <= count <= MAX_HEADCOUNT:
        raise InvalidInstance("out_of_range", loc, value=shortened(count), minimum=1, maximum=MAX_HEADCOUNT)
    return count


def boolean(value: object, loc: Loc, *, default: bool) -> bool:
    """True or false; `default` when absent."""
    if value is None:
        return default
    if not isinstance(value, bool):
        raise InvalidInstance("not_a_boolean", loc, value=shortened(value))
    return value


def identifier(value: object, loc: Loc) -> str:
    """A text, or a whole number that stands for one: clients count their work points."""
    value = whole(value)
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else text(value, loc)


def text(value: object, loc: Loc) -> str:
    """A name in any script: no control characters, neither empty nor endless."""
    if not isinstance(value, str):
        raise InvalidInstance("not_a_text", loc, found=kind_of(value))
    if not 1 <= len(value) <= MAX_NAME_LENGTH or not is_printable(value):
        raise InvalidInstance("not_printable", loc, limit=MAX_NAME_LENGTH)
    return value


def is_printable(text: str) -> bool:
    """Whether `text` is one line of characters of any script."""
    return not _CONTROLS.search(text)


def kind_of(value: object) -> str:
    """The JSON type of `value`."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int | float):
        return "number"
    if isinstance(value, str):
        return "string"
    return "object" if isinstance(value, Mapping) else "array"


def shortened(value: object) -> str:
    """`value` in a message, cut where a client would only get its own megabyte back."""
    if value is None or isinstance(value, bool):
        return _JSON_WORDS[value]
    text = repr(value) if not isinstance(value, int) or abs(value) < 10**30 else "the number"
    return text if len(text) <= 60 else f"{text[:57]}..."
