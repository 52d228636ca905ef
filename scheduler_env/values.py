"""JSON, read strictly, and what its single values may be."""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

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


def whole(value: object) -> object:
    """`value`, as an integer if it is a float that says one: JSON has one kind of number, and 2.0 is as whole as 2."""
    return int(value) if isinstance(value, float) and value.is_integer() and abs(value) <= MAX_EXACT else value


def is_printable(text: str) -> bool:
    """Whether `text` is one line of characters of any script."""
    return not _CONTROLS.search(text)


def shortened(value: object) -> str:
    """`value` in a message, cut where a client would only get its own megabyte back."""
    if value is None or isinstance(value, bool):
        return _JSON_WORDS[value]
    text = repr(value) if not isinstance(value, int) or abs(value) < 10**30 else "the number"
    return text if len(text) <= 60 else f"{text[:57]}..."
