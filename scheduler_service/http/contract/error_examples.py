"""What the errors look like, for the documentation: one of each status, in the words of the service."""

from typing import Any

from scheduler_service import errors
from scheduler_service.http.bodies import MalformedBody, WrongMediaType
from scheduler_service.http.contract import problems
from scheduler_service.http.guards.auth import MissingKey, MissingScope
from scheduler_service.http.guards.limits import RateExceeded

_MODEL = (errors.ModelNotFound, "no model is called 'DDQN_v9.9'; GET /models lists them")
_EXAMPLES: dict[tuple[int, str], tuple[type[Exception] | None, str]] = {
    (400, ""): (MalformedBody, "the body is empty; wanted is a JSON object"),
    (401, ""): (MissingKey, "this needs an API key with the scope admin (Authorization: Bearer <key>, or X-API-Key)"),
    (403, ""): (MissingScope, "the key reader has the scopes read; this needs admin"),
    (404, "runs"): _MODEL,
    (404, "models"): _MODEL,
    (404, "experiments"): (errors.ExperimentNotFound, "there is no experiment 'ddqn_v1_vs_v3'"),
    (404, "operations"): (errors.ReportNotFound, "there is no report 'yesterday.html'"),
    (404, "alerts"): (errors.AlertNotFound, "no alert has the id '17'; GET /alerts lists them"),
    (409, ""): (errors.AmbiguousModelName, "'DDQN_v1' fits several models: DDQN_1adf98e2_v1.0.0, ..."),
    (409, "models"): (
        errors.InvalidTransition,
        "DDQN_1adf98e2_v1.0.0 is deployed and cannot become validated; it may become: retired",
    ),
    (409, "experiments"): (errors.ExperimentConflict, "the experiment ddqn_v1_vs_v2 is concluded"),
    (413, ""): (None, "The data value transmitted exceeds the capacity limit."),
    (415, ""): (
        WrongMediaType,
        "the body is sent as 'text/plain'; send it with Content-Type: application/json",
    ),
    (422, ""): (errors.InvalidInput, "days: Input should be greater than 0"),
    (429, ""): (RateExceeded, "more requests than SCHED_RATE_LIMIT allows; come back later"),
    (500, ""): (None, "an internal error; the log has it under this request's id"),
    (503, ""): (errors.Overloaded, "1002 requests are being computed or wait for it; come back later"),
}


def error_example(status: int, tag: str) -> dict[str, Any]:
    """The body of an answer of this status to an operation of the tag."""
    cls, detail = _EXAMPLES.get((status, tag)) or _EXAMPLES[status, ""]
    kind = "about:blank" if cls is None else problems.kind_of(cls)
    more = [problems.mistake((), detail)] if status == 422 else ()
    body: dict[str, Any] = problems.problem(status, detail, kind=kind, errors=more).get_json()
    return body
