"""Every error as `application/problem+json` (RFC 9457), and the one table from class to status."""

import logging
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from http import HTTPStatus
from pathlib import Path
from typing import Any, cast

from flask import Flask, Response
from werkzeug.exceptions import HTTPException
from werkzeug.exceptions import MethodNotAllowed as WrongMethod

from scheduler_env.errors import CodedError, InvalidCheckpoint, InvalidInstance
from scheduler_env.findings import MAX_TOLD, Finding, InvalidFile
from scheduler_service.errors import (
    ClientGone,
    Conflict,
    InvalidInput,
    MustBeMended,
    NotFound,
    Overloaded,
    StorageUnavailable,
)
from scheduler_service.http.bodies import MalformedBody, WrongMediaType, json_bytes
from scheduler_service.http.guards.auth import ForeignOrigin, MissingKey, MissingScope, may_read
from scheduler_service.http.guards.limits import RateExceeded
from scheduler_service.words import WORDS

PROBLEM_MEDIA_TYPE = "application/problem+json"

STATUS_OF: dict[type[Exception], int] = {
    MalformedBody: 400,
    MissingKey: 401,
    ForeignOrigin: 403,
    MissingScope: 403,
    NotFound: 404,
    Conflict: 409,
    WrongMediaType: 415,
    InvalidInput: 422,
    InvalidInstance: 422,
    InvalidCheckpoint: 422,
    RateExceeded: 429,
    Overloaded: 503,
    StorageUnavailable: 503,
    MustBeMended: 503,
}
"""A class stands for its subclasses too. What is not here is our fault: 500, and the text stays in the log."""

HTTP_CODES = {400: "bad_request", 404: "no_such_path", 405: "method_not_allowed", 413: "content_too_large"}
"""Status of what the web framework refuses -> its code; of others it is `http_error`."""

CLIENT_GONE = 499
"""What nginx counts such requests as; nobody reads the answer, but the metrics tell of it."""

log = logging.getLogger(__name__)

Errors = Sequence[Mapping[str, object]]
"""Each with `loc` and `msg`; what a file has wrong also with `code`, `params` and `source`."""


def handle_errors(app: Flask, home: Path) -> None:
    """Answer every error of `app`, the expected and the others, as a problem; who may not read is not told `home`."""

    def shown(text: str) -> str:
        return text if may_read() else text.replace(str(home), "SCHED_HOME")

    app.register_error_handler(HTTPException, _answer_http)
    app.register_error_handler(Exception, lambda err: _answer(err, shown))


def problem(
    status: int,
    detail: str,
    *,
    kind: str = "about:blank",
    code: str = "",
    params: Mapping[str, object] | None = None,
    errors: Errors = (),
    headers: dict[str, str] | None = None,
    **more: object,
) -> Response:
    """The answer that tells of an error; `more` become further members of the body."""
    body: dict[str, object] = {
        "type": kind,
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        "error": detail,
    }
    if code:
        body |= {"code": code, "params": params or {}}
    if errors:
        body["errors"] = list(errors)
    return Response(json_bytes(body | more), status, headers, mimetype=PROBLEM_MEDIA_TYPE)


def _answer(err: Exception, shown: Callable[[str], str]) -> Response:
    if isinstance(err, ClientGone):
        return Response(status=CLIENT_GONE)
    status = status_of(type(err))
    if status == 500:
        log.error("unexpected %s", type(err).__name__, exc_info=err)
        return problem(500, WORDS.text("errors.internal_error"), code="internal_error")
    headers = {}
    if status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    if isinstance(err, RateExceeded):
        headers["Retry-After"] = str(err.retry_after_s)
    if status == 503:
        log.warning("%s: %s", type(err).__name__, err)
        if not isinstance(err, MustBeMended):
            headers["Retry-After"] = str(err.retry_after_s if isinstance(err, Overloaded) else 5)
    coded = _coded(err, shown) if isinstance(err, CodedError) else {}
    errors, kind = _errors_of(err, shown), kind_of(type(err))
    return problem(status, shown(str(err)), kind=kind, errors=errors, headers=headers, **coded)


def _errors_of(err: Exception, shown: Callable[[str], str]) -> Errors:
    """Where each mistake is, if `err` is one of the input's."""
    if isinstance(err, InvalidFile):
        return [told_finding(each) for each in err.findings]
    if isinstance(err, InvalidInput | InvalidInstance | InvalidCheckpoint):
        return [_entry(each, shown) for each in err.each[:MAX_TOLD]]
    return ()


def _entry(err: CodedError, shown: Callable[[str], str]) -> dict[str, object]:
    return mistake(err.loc, shown(err.text())) | _coded(err, shown)


def _coded(err: CodedError, shown: Callable[[str], str]) -> dict[str, Any]:
    """Code and parameters of `err`, with `shown` applied to each text."""

    def each(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: each(inner) for name, inner in value.items()}
        return shown(value) if isinstance(value, str) else [*map(each, value)] if isinstance(value, list) else value

    told: dict[str, Any] = each(err.to_dict())
    return told


def mistake(loc: Sequence[str | int], msg: str) -> dict[str, object]:
    """An entry of `errors`."""
    return {"loc": list(loc), "msg": msg}


def told_finding(finding: Finding) -> dict[str, object]:
    """What was found in a file, as it is answered: among errors or beside what was read."""
    source = {"source": finding.source} if finding.source else {}
    return mistake(finding.loc, finding.text) | {"code": finding.code, "params": finding.params} | source


def _answer_http(err: HTTPException) -> Response:
    status = err.code or 500
    headers = {"Allow": ", ".join(err.valid_methods)} if isinstance(err, WrongMethod) and err.valid_methods else {}
    detail = err.description or HTTPStatus(status).phrase
    return problem(
        status, detail, code=HTTP_CODES.get(status, "http_error"), params={"detail": detail}, headers=headers
    )


def kind_of(cls: type[Exception]) -> str:
    """The `type` member for errors of this class: where the documentation tells of it."""
    return f"/docs#{re.sub(r'(?<!^)(?=[A-Z])', '-', cls.__name__).lower()}"


def status_of(cls: type[Exception]) -> int:
    """What errors of this class are answered with."""
    return next((STATUS_OF[each] for each in cast(Iterable[type[Exception]], cls.__mro__) if each in STATUS_OF), 500)


def meaning_of(cls: type[Exception]) -> str:
    """What errors of this class mean, in a sentence."""
    return (cls.__doc__ or "").partition("\n")[0]


def classes() -> list[type[Exception]]:
    """Every class of errors that a client may be told of, by status."""
    found, waiting = list[type[Exception]](), list(STATUS_OF)
    while waiting:
        cls = waiting.pop(0)
        if cls not in found:
            found.append(cls)
            waiting += cls.__subclasses__()
    return sorted(found, key=status_of)


def example(status: int, cls: type[Exception] | None) -> dict[str, object]:
    """The body of an answer that tells of an error of this class; None: of one that has no class of its own."""
    phrase = HTTPStatus(status).phrase
    detail, kind = (phrase, "about:blank") if cls is None else (meaning_of(cls), kind_of(cls))
    body: dict[str, object] = {"type": kind, "title": phrase, "status": status, "detail": detail, "error": detail}
    return body | ({"errors": [mistake((), detail)]} if status == 422 else {})
