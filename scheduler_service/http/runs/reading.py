"""Reads a planner's file, CSV or JSON in the encodings of Excel, into the body of `POST /run_algorithm`."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, cast

from flask import request

from scheduler_env.findings import Finding, InvalidFile
from scheduler_env.json_requests import ReadRequest, read_request
from scheduler_env.tables import DELIMITERS, read_csv
from scheduler_service.errors import InvalidInput
from scheduler_service.http.bodies import (
    MalformedBody,
    WrongMediaType,
    parse_json,
    refuse_other_encodings,
    refuse_too_many_separators,
    validated,
    whole_body,
)
from scheduler_service.http.contract.runs import RunRequest
from scheduler_service.http.server.offload import NativeThreads

SMALL_FILE_BYTES = 2_048
"""A longer file may describe hundreds of steps, and is parsed by a thread."""
WORKBOOKS = (b"PK\x03\x04", b"\xd0\xcf\x11\xe0")
"""The first bytes of .xlsx and .xls."""
BYTE_ORDER_MARKS = {b"\xef\xbb\xbf": "utf-8-sig", b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}
CHARSETS = ("utf-8", "utf8", "us-ascii", "utf-16", "gb18030", "gbk", "gb2312")
"""Charsets that a Content-Type may declare; the encoding is detected from the bytes."""
CSV_SEPARATORS = (*(delimiter.encode() for delimiter in DELIMITERS), b"\n", b"\r")


def read_file(
    reading: NativeThreads,
    *,
    fills_down: bool,
    teams: str | None,
    with_published: Callable[[Mapping[str, Any]], Mapping[str, Any]],
) -> ReadRequest:
    """The run that the file in the body of the current request describes.

    Args:
        reading: the threads that parse long files.
        fills_down: whether a blank work point of a CSV means that of the line above.
        teams: JSON, the teams of the plant; None if no plant is given.
        with_published: puts the published plan in the place of the run that names it.

    Raises:
        MalformedBody, WrongMediaType, RequestEntityTooLarge: it cannot be read.
        InvalidFile, InvalidInstance, InvalidInput: it does not describe a valid request.
    """
    data, media, plant = whole_body(), request.mimetype, _plant(teams)
    if media not in ("text/csv", "application/json"):
        raise WrongMediaType("file_media_type", found=media)
    refuse_other_encodings(*CHARSETS)
    if not data:
        raise MalformedBody("body_without_file")
    if fills_down and media != "text/csv":
        raise InvalidInput("only_for_csv", ("fill_down",))

    def read() -> ReadRequest:
        text = text_of(data)
        return read_table(text, fills_down, plant) if media == "text/csv" else read_json(text, plant, with_published)

    return read() if len(data) <= SMALL_FILE_BYTES else reading.run(read)


def _plant(teams_json: str | None) -> Mapping[str, Any] | None:
    if teams_json is None:
        return None
    with suppress(MalformedBody):
        teams = parse_json(teams_json.encode())
        if isinstance(teams, dict):
            return teams
    raise InvalidInput("teams_not_an_object", ("teams",))


def read_table(text: str, fills_down: bool, teams: Mapping[str, Any] | None = None) -> ReadRequest:
    """The request that a CSV describes."""
    refuse_too_many_separators(text.encode(), CSV_SEPARATORS, "cells and lines")
    return read_csv(text, fill_down=fills_down, teams=teams)


def read_json(
    text: str,
    teams: Mapping[str, Any] | None = None,
    with_published: Callable[[Mapping[str, Any]], Mapping[str, Any]] | None = None,
) -> ReadRequest:
    """The request in a JSON file, validated as `POST /run_algorithm` does."""
    value = parse_json(text.encode())
    validated(RunRequest, value)
    return read_request(cast(Mapping[str, Any], value), teams=teams, with_published=with_published)


def text_of(data: bytes) -> str:
    """A file's text: UTF-8 or UTF-16 by its byte order mark, else UTF-8, else GB 18030 (Excel on a Chinese Windows).

    Raises:
        InvalidFile: it is a workbook, or not a text in any of these.
    """
    if data.startswith(WORKBOOKS):
        raise InvalidFile([Finding((), "is_workbook")])
    marked = [name for mark, name in BYTE_ORDER_MARKS.items() if data.startswith(mark)]
    for encoding in marked or ("utf-8", "gb18030"):
        try:
            return data.decode(encoding)
        except UnicodeDecodeError:
            continue
    raise InvalidFile([Finding((), "not_text")])
