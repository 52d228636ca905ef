"""For every request and answer: an id, the trace, security headers, CORS headers, metrics."""

import re
import time
import uuid
from typing import TYPE_CHECKING

from flask import Flask, Response, g, request
from flask_cors.core import get_cors_options, set_cors_headers

from scheduler_service.http.guards.auth import origin_patterns
from scheduler_service.http.watch.metrics import Metrics
from scheduler_service.logs import request_id_var
from scheduler_service.settings import Settings
from scheduler_service.trace_context import Attributes, Trace, new_trace, trace_of, trace_var

if TYPE_CHECKING:
    from scheduler_service.http.watch.otlp import Spans

_VALID_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,99}")

TRACE_HEADERS = ("traceparent", "tracestate")

SECURITY_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
    # Reports and the documentation embed their pictures and styles; no other content is loaded or run.
    "Content-Security-Policy": (
        "default-src 'none'; img-src data:; font-src data:; style-src 'unsafe-inline'; base-uri 'none'; "
        "form-action 'none'; frame-ancestors 'none'"
    ),
}


def request_id() -> str:
    """The id of the current request: the client's X-Request-ID if it is valid, else a new UUID."""
    return request_id_var.get()


def trace_header(trace: Trace) -> tuple[str, str]:
    """The header that tells the client its trace.

    W3C Trace Context has no header for answers yet: `traceresponse` is a draft. Browsers read Server-Timing, and so do
    the agents of several vendors (https://github.com/open-telemetry/opentelemetry-specification/issues/3811).
    """
    return "Server-Timing", f'traceparent;desc="{trace.traceparent}"'


def add_ids_and_headers(app: Flask, settings: Settings, metrics: Metrics, spans: "Spans | None") -> None:
    """Give every request of `app` an id and a trace, and every answer its headers."""

    def begin() -> None:
        wanted = request.environ.get("HTTP_X_REQUEST_ID", "")
        request_id_var.set(wanted if _VALID_ID.fullmatch(wanted) else str(uuid.uuid4()))
        g.begun_s = time.perf_counter()
        g.trace = _trace(spans)
        trace_var.set(g.trace)

    def finish(answer: Response) -> Response:
        present = {name.lower() for name, _ in answer.headers}
        missing = [header for header in SECURITY_HEADERS.items() if header[0].lower() not in present]
        answer.headers.extend([("X-Request-ID", request_id()), trace_header(g.trace), *missing])
        if "HTTP_ORIGIN" in request.environ:  # other requests need no CORS headers, and computing them takes time
            set_cors_headers(answer, cors)
        # The rule, not the path: clients choose paths, and each new one would create a time series.
        route = request.url_rule.rule if request.url_rule is not None else "unmatched"
        metrics.observe_request(request.method, route, answer.status_code, time.perf_counter() - g.begun_s)
        _end(g.trace, answer.status_code)
        return answer

    cors = get_cors_options(
        app,
        {
            "origins": [re.compile(pattern) for pattern in origin_patterns(settings.cors_origins)],
            "allow_headers": ["Content-Type", "Authorization", "X-API-Key", "X-Request-ID", *TRACE_HEADERS],
            "expose_headers": ["X-Request-ID", "Server-Timing", "Retry-After", "RateLimit", "RateLimit-Policy"],
            "max_age": 600,
        },
    )
    app.before_request(begin)
    app.after_request(finish)


def _trace(spans: "Spans | None") -> Trace:
    """The position of this request: in the caller's trace, or in a new one."""
    caller = trace_of(request.environ)
    if spans is None:
        return caller or new_trace()
    route = request.url_rule.rule if request.url_rule is not None else None
    return spans.of_request(request.method, route, request.scheme, caller)


def _end(trace: Trace, status: int) -> None:
    if trace.recorded is not None:
        attributes: Attributes = {"http.response.status_code": status, "scheduler.request_id": request_id()}
        trace.recorded.end(attributes | ({"error.type": str(status)} if status >= 500 else {}))
