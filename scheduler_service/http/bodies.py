"""Strict JSON in, fast JSON out.

Strict: one value, UTF-8, no duplicate keys, no NaN or infinity, limited depth. A body that is not JSON is a
`MalformedBody` (400). NaN, infinity and duplicate keys are invalid input (422).
"""

import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from io import BytesIO
from typing import Any, TypeVar, cast

import orjson
from flask import request
from flask.json.provider import JSONProvider
from pydantic import BaseModel, ValidationError
from werkzeug.datastructures import FileStorage
from werkzeug.exceptions import RequestEntityTooLarge

from scheduler_env.validation import refusal
from scheduler_service.errors import InvalidInput, ServiceError
from scheduler_service.http.guards.auth import attributed
from scheduler_service.http.server.offload import NativeThreads

Body = TypeVar("Body", bound=BaseModel)
Read = TypeVar("Read")

LONG_BODY_BYTES = 32_768
"""A longer body is parsed by a thread, so that the event loop can serve others."""
MAX_DEPTH = 32
"""Maximum nesting of arrays and objects; a work point's predecessors are at level 5."""
SEPARATORS, MAX_SEPARATORS = (b",", b":", b"[", b"{"), 250_000
"""Limit on commas, colons and opening brackets of a body, including those in strings. There is one per value, except
for the first.

5,000 steps with every field have 140,000. orjson holds the GIL while it parses: 0.1 s for 250,000, 1 s for 8 MiB."""
MAX_PARTS, MAX_PART_HEAD = 1_000, 8_192
"""Parts of a form, and bytes of a part's head, which holds its name and file name."""
_TOO_DEEP = "depth limit exceeded"
"""orjson's message for more than 1,024 levels."""
_HEAD_END = re.compile(rb"\r\n\r\n|\n\n|\r\r")
_MAY_BE_INFINITE = re.compile(rb"NaN|Infinity|[0-9][eE]")


class MalformedBody(ServiceError):
    """The body is missing or not JSON."""


class WrongMediaType(ServiceError):
    """The body is not sent as JSON."""


def read_query(schema: type[Body] | None) -> Body | None:
    """The request's query as `schema`; an empty value counts as absent. None if the route takes no query.

    Raises:
        InvalidInput: a parameter is unknown (a misspelt filter would otherwise select everything), repeated, or has an
            invalid value.
    """
    if request.environ.get("QUERY_STRING"):
        allowed = list(schema.model_fields) if schema is not None else []
        for name, values in request.args.lists():
            if name not in allowed:
                raise InvalidInput(
                    "unknown_parameter", (name[:60],), path=request.path, name=name[:60], allowed=allowed
                )
            if len(values) > 1:
                raise InvalidInput("parameter_twice", (name,), n=len(values))
    if schema is None:
        return None
    return validated(schema, {name: value for name, value in request.args.items() if value})


def read_body(schema: type[Body], reading: NativeThreads, *, is_optional: bool = False) -> Body:
    """The request's body as `schema`; an absent one counts as `{}` when `is_optional`.

    Args:
        reading: the threads that parse long bodies.

    Raises:
        MalformedBody: absent, or not JSON.
        WrongMediaType: not sent as application/json in UTF-8.
        InvalidInput: it does not match `schema`.
    """
    data = whole_body()
    if not data:
        if is_optional:
            return validated(schema, {})
        raise MalformedBody("body_empty")
    if request.mimetype != "application/json" and not re.fullmatch(r"application/[\w.-]+\+json", request.mimetype):
        raise WrongMediaType("wrong_media_type", found=request.mimetype)
    refuse_other_encodings("utf-8", "utf8", "us-ascii")
    return _inline_or_offloaded(len(data), reading, lambda: validated(schema, parse_json(data)))


def read_form(reading: NativeThreads) -> tuple[Mapping[str, str], Mapping[str, FileStorage]]:
    """The fields and the files of the request's form (multipart/form-data), by name.

    Raises:
        InvalidInput: two parts have the same name.
        MalformedBody: there is no boundary, or the head of a part is too long.
        RequestEntityTooLarge: more than `MAX_PARTS` parts.
    """
    data, boundary = whole_body(), request.mimetype_params.get("boundary", "").encode("latin-1", "replace")
    if not boundary:
        raise MalformedBody("form_without_boundary")
    parser, mimetype, options = request.make_form_data_parser(), request.mimetype, request.mimetype_params

    def read() -> tuple[Mapping[str, str], Mapping[str, FileStorage]]:
        # Checked before werkzeug parses the form, which takes seconds for a head of 8 MiB.
        for part in data.split(b"--" + boundary, MAX_PARTS + 1)[1:]:
            if len(part) > MAX_PART_HEAD and not _HEAD_END.search(part, 0, MAX_PART_HEAD):
                raise MalformedBody("part_head_too_long", limit=MAX_PART_HEAD)
        _, fields, files = parser.parse(BytesIO(data), mimetype, len(data), options)
        for name in (*fields, *files):
            if len(fields.getlist(name)) + len(files.getlist(name)) > 1:
                raise InvalidInput("part_twice", (name[:60],))
        return fields, files

    return _inline_or_offloaded(len(data), reading, read)


def whole_body() -> bytes:
    """The request's body, as it was sent.

    Raises:
        RequestEntityTooLarge: it is longer than the limit.
    """
    data = request.get_data(cache=False)
    limit = request.max_content_length
    if request.content_length is None and limit is not None and len(data) >= limit:
        raise RequestEntityTooLarge  # werkzeug silently truncates a chunked body at the limit
    return data


def _inline_or_offloaded(n_bytes: int, reading: NativeThreads, read: Callable[[], Read]) -> Read:
    """The result of `read`, which a thread calls if there are many bytes."""
    return read() if n_bytes <= LONG_BODY_BYTES else reading.run(read)


def validated(schema: type[Body], value: object) -> Body:
    """`value` as `schema`.

    Raises:
        InvalidInput: lists every invalid value.
    """
    try:
        return attributed(schema.model_validate(value))
    except ValidationError as err:
        raise refusal(err, schema, InvalidInput) from err


def parse_json(data: bytes) -> object:
    """The JSON value in `data`.

    Raises:
        MalformedBody: it is not JSON, or nested too deeply.
        InvalidInput: it holds NaN, an infinity, or a duplicate key.
        RequestEntityTooLarge: it has more than `MAX_SEPARATORS` values.
    """
    refuse_too_many_separators(data, SEPARATORS, "commas, colons and opening brackets")
    try:
        value: object = orjson.loads(data)
    except orjson.JSONDecodeError as err:
        if err.msg.startswith(_TOO_DEEP):
            raise MalformedBody("body_too_deep", limit=MAX_DEPTH) from err
        place = _non_finite_place(data)
        if place is not None:
            raise InvalidInput("finite_number", place) from err
        raise MalformedBody("body_not_json", reason=str(err)) from err
    # orjson silently keeps the last of two equal keys. Each key has a colon, so if there are as many colons as keys,
    # none was dropped. Strings may contain colons too, so otherwise a second parser compares the keys.
    if data.count(b":") != _count_keys(value):
        json.loads(data, object_pairs_hook=_refuse_repeats, parse_int=str, parse_float=str)
    return value


def refuse_too_many_separators(data: bytes, marks: Sequence[bytes], what: str) -> None:
    """Raises RequestEntityTooLarge if `data` has more than `MAX_SEPARATORS` of the `marks`."""
    if len(data) > MAX_SEPARATORS and sum(map(data.count, marks)) > MAX_SEPARATORS:
        raise RequestEntityTooLarge(f"the body has more than {MAX_SEPARATORS} {what}")


def json_bytes(value: object) -> bytes:
    """`value` as JSON in UTF-8; NaN becomes null."""
    return orjson.dumps(value, option=orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_NON_STR_KEYS)


class OrjsonProvider(JSONProvider):
    """Flask's `jsonify` and returned dictionaries, through orjson."""

    def dumps(self, obj: Any, **kwargs: Any) -> str:  # noqa: ARG002  (Flask's signature)
        return json_bytes(obj).decode()

    def loads(self, s: str | bytes, **kwargs: Any) -> Any:  # noqa: ARG002
        return orjson.loads(s)


def refuse_other_encodings(*charsets: str) -> None:
    """Refuse a compressed body, or one that declares a charset outside `charsets`, whose first entry is the default."""
    charset = request.mimetype_params.get("charset", charsets[0]).lower()
    if charset not in charsets:
        raise WrongMediaType("wrong_charset", found=charset[:60], expected=charsets[0].upper())
    if request.environ.get("HTTP_CONTENT_ENCODING", "identity").lower() != "identity":
        raise WrongMediaType("body_compressed")


def _count_keys(value: object, levels: int = MAX_DEPTH) -> int:
    """The number of keys of all objects in `value`.

    Raises:
        MalformedBody: nested deeper than `levels`.
    """
    if not isinstance(value, dict | list):
        return 0
    if levels == 0:
        raise MalformedBody("body_too_deep", limit=MAX_DEPTH)
    if isinstance(value, list):
        return sum([_count_keys(entry, levels - 1) for entry in value if isinstance(entry, dict | list)])
    entries = [_count_keys(entry, levels - 1) for entry in value.values() if isinstance(entry, dict | list)]
    return len(value) + sum(entries)


def _refuse_repeats(pairs: list[tuple[str, object]]) -> Mapping[str, object]:
    found = dict(pairs)
    if len(found) < len(pairs):
        seen: set[str] = set()
        repeated = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise InvalidInput("key_twice", (repeated,), key=repeated[:60])
    return found


def _non_finite_place(data: bytes) -> tuple[str | int, ...] | None:
    """The path of the first NaN or infinity, if `data` is JSON apart from those; else None."""
    if not _MAY_BE_INFINITE.search(data):  # parsing 8 MB again would hold the GIL once more
        return None
    try:
        value = json.loads(data.decode(), parse_int=lambda _: 0)
        return _find_non_finite(value, ())
    except (ValueError, RecursionError):
        return None


def _find_non_finite(value: object, loc: tuple[str | int, ...]) -> tuple[str | int, ...] | None:
    if isinstance(value, float):
        return None if math.isfinite(value) else loc
    entries: list[tuple[str | int, object]] = []
    if isinstance(value, dict):
        entries = list(value.items())
    elif isinstance(value, list):
        entries = list(enumerate(cast(list[object], value)))
    for key, entry in entries:
        found = _find_non_finite(entry, (*loc, key))
        if found is not None:
            return found
    return None
