"""The query of a request: only parameters that its route has, and each once."""

from collections.abc import Mapping
from functools import cache
from re import sub

from flask import Flask, request

from scheduler_service.errors import InvalidInput
from scheduler_service.http.contract.operations import OPERATIONS


def check_queries(app: Flask) -> None:
    """Refuse a parameter that would not count: a misspelled filter answers with everything."""

    def check() -> None:
        if request.environ.get("QUERY_STRING") and request.url_rule is not None:
            method = "GET" if request.method == "HEAD" else request.method
            allowed = _parameters().get(f"{method} {_as_documented(request.url_rule.rule)}")
            if allowed is not None:
                _refuse_others(allowed)

    app.before_request(check)


def _refuse_others(allowed: tuple[str, ...]) -> None:
    for name, values in request.args.lists():
        if name not in allowed:
            raise InvalidInput(
                "unknown_parameter", (name[:60],), path=request.path, name=name[:60], allowed=list(allowed)
            )
        if len(values) > 1:
            raise InvalidInput("parameter_twice", (name,), n=len(values))


def _as_documented(rule: str) -> str:
    """`/models/{name}` for Flask's `/models/<name>`."""
    return sub(r"<(?:[a-z]+:)?([a-z_]+)>", r"{\1}", rule)


@cache
def _parameters() -> Mapping[str, tuple[str, ...]]:
    return {operation.key: tuple(operation.query) for operation in OPERATIONS}
