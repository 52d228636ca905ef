"""A planner's file, read into what `POST /run_algorithm` takes: CSV or JSON, in the encodings that Excel writes."""

from collections.abc import Mapping
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
    refuse_masses,
    refuse_other_encodings,
    validated,
    whole_body,
)
from scheduler_service.http.contract.runs import RunRequest
from scheduler_service.http.server.offload import NativeThreads

SMALL_FILE = 2_048
"""Bytes; a longer file may describe hundreds of steps, and is read by a thread."""
WORKBOOKS = (b"PK\x03\x04", b"\xd0\xcf\x11\xe0")
"""How .xlsx and .xls begin."""
BYTE_ORDER_MARKS = {b"\xef\xbb\xbf": "utf-8-sig", b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}
CHARSETS = ("utf-8", "utf8", "us-ascii", "utf-16", "gb18030", "gbk", "gb2312")
"""What a Content-Type may say; the bytes decide."""
CSV_MARKS = (*(delimiter.encode() for delimiter in DELIMITERS), b"\n", b"\r")


def read_file(reading: NativeThreads, *, fills_down: bool, teams: str | None) -> ReadRequest:
    """What the file in the body of the present request describes.

    Args:
        reading: the threads that read a long file.
        fills_down: whether a blank work point of a CSV is that of the line above.
        teams: JSON, the teams of the plant that the file is for; None if it is for no plant in particular.

    Raises:
        MalformedBody, WrongMediaType, RequestEntityTooLarge: it cannot be read at all.
        InvalidFile, InvalidInstance, InvalidInput: it does not describe a request.
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
        return read_table(text, fills_down, plant) if media == "text/csv" else read_json(text, plant)

    return read() if len(data) <= SMALL_FILE else reading.run(read)


def _plant(said: str | None) -> Mapping[str, Any] | None:
    if said is None:
        return None
    with suppress(MalformedBody):
        teams = parse_json(said.encode())
        if isinstance(teams, dict):
            return teams
    raise InvalidInput("teams_not_an_object", ("teams",))


def read_table(text: str, fills_down: bool, teams: Mapping[str, Any] | None = None) -> ReadRequest:
    """What a CSV describes."""
    refuse_masses(text.encode(), CSV_MARKS, "cells and lines")
    return read_csv(text, fill_down=fills_down, teams=teams)


def read_json(text: str, teams: Mapping[str, Any] | None = None) -> ReadRequest:
    """What the JSON of a request describes: as strict as `POST /run_algorithm` is."""
    value = parse_json(text.encode())
    validated(RunRequest, value)
    return read_request(cast(Mapping[str, Any], value), teams=teams)


def text_of(data: bytes) -> str:
    """A file's text: in UTF-8 or UTF-16 as its mark says, else in UTF-8, else what Excel writes on a Chinese Windows.

    Raises:
        InvalidFile: it is a workbook, or no text in any of these.
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
