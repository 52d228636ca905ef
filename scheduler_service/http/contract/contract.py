"""What a route promises, as a row: declared at its handler (`api.Api`), read by the guards and by OpenAPI."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from flask import current_app
from pydantic import BaseModel

from scheduler_service.keys import Scope

Lane = Literal["storage", "probing", "reporting"]
"""Threads of `Services`: for files and records, for what answers while everything else is full, for reports."""
Admission = Literal["keyed", "open", "identifying", "probe", "liveness", "page"]
"""Who is let in, where keys are needed.

keyed: whoever has a key with the route's scope. open: anybody, within the rate limit. identifying: the same, but an
unknown key is refused. probe: anybody, at any rate; details only for who may read. liveness: the same without details,
under any host name. page: the console's files, at any rate.
"""
UNCOUNTED: frozenset[Admission] = frozenset({"probe", "liveness", "page"})
"""These are never told to come back later."""
READING_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Contract:
    """What a route takes, answers and raises."""

    method: str
    path: str  # as in OpenAPI: /models/{name}
    tag: str
    summary: str
    details: str
    handler: Callable[..., Any]
    path_types: Mapping[str, Any]  # name in the path -> annotated type
    query: type[BaseModel] | None
    body: type[BaseModel] | None
    is_body_read: bool  # false: the handler reads it itself
    is_body_optional: bool
    table: str  # an example of the CSV that it also takes
    answer: Any  # a TypedDict; None where `media` says what is answered
    media: Sequence[str]
    success: int
    raises: Sequence[type[Exception]]
    lane: Lane | None  # the threads that it runs on; None: the event loop
    scope: Scope | None  # that a key needs, where keys are needed
    admission: Admission

    @property
    def key(self) -> str:
        return f"{self.method} {self.path}"

    @property
    def operation_id(self) -> str:
        return f"{self.method.lower()}{self.path.translate(str.maketrans('/{}.', '____'))}"


def contract_of(endpoint: str | None) -> Contract | None:
    """The contract of one of the present application's endpoints."""
    return getattr(current_app.view_functions.get(endpoint or ""), "contract", None)


def required_scope(method: str, endpoint: str | None) -> Scope | None:
    """The scope that a request needs; None: none. An unknown path (no endpoint) is answered 404 anyway.

    An endpoint without a contract wants `admin` if it changes anything, so a new one is guarded by default.
    """
    if endpoint is None or method == "OPTIONS":
        return None
    contract = contract_of(endpoint)
    if contract is not None:
        return contract.scope
    return "read" if method in READING_METHODS else "admin"
