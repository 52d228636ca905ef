"""For every request and answer: an id, security headers, CORS headers, metrics."""

import re
import time
import uuid

from flask import Flask, Response, g, request
from flask_cors.core import get_cors_options, set_cors_headers

from scheduler_service.http.guards.auth import origin_patterns
from scheduler_service.http.watch.metrics import Metrics
from scheduler_service.logs import request_id_var
from scheduler_service.settings import Settings

_VALID_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,99}")

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


def add_ids_and_headers(app: Flask, settings: Settings, metrics: Metrics) -> None:
    """Give every request of `app` an id, and every answer its headers."""

    def begin() -> None:
        wanted = request.environ.get("HTTP_X_REQUEST_ID", "")
        request_id_var.set(wanted if _VALID_ID.fullmatch(wanted) else str(uuid.uuid4()))
        g.begun_s = time.perf_counter()

    def finish(answer: Response) -> Response:
        present = {name.lower() for name, _ in answer.headers}
        missing = [header for header in SECURITY_HEADERS.items() if header[0].lower() not in present]
        answer.headers.extend([("X-Request-ID", request_id()), *missing])
        if "HTTP_ORIGIN" in request.environ:  # other requests need no CORS headers, and computing them takes time
            set_cors_headers(answer, cors)
        # The rule, not the path: clients choose paths, and each new one would create a time series.
        route = request.url_rule.rule if request.url_rule is not None else "unmatched"
        metrics.observe_request(request.method, route, answer.status_code, time.perf_counter() - g.begun_s)
        return answer

    cors = get_cors_options(
        app,
        {
            "origins": [re.compile(pattern) for pattern in origin_patterns(settings.cors_origins)],
            "allow_headers": ["Content-Type", "Authorization", "X-API-Key", "X-Request-ID"],
            "expose_headers": ["X-Request-ID", "Retry-After", "RateLimit", "RateLimit-Policy"],
            "max_age": 600,
        },
    )
    app.before_request(begin)
    app.after_request(finish)
