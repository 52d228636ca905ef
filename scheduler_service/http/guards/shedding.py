"""Load shedding: while the queue is full, runs are refused before their bodies are read.

Otherwise a service under three times its load would spend its time on reading and refusing requests.
"""

import logging
import time
import uuid
from collections.abc import Iterable
from typing import TYPE_CHECKING

from scheduler_service.errors import Overloaded
from scheduler_service.http.contract.problems import kind_of, problem
from scheduler_service.http.contract.runs import RUN_PATHS
from scheduler_service.http.guards.hygiene import SECURITY_HEADERS, trace_header
from scheduler_service.http.services import Services
from scheduler_service.trace_context import new_trace, trace_of
from scheduler_service.words import WORDS

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

RETRY_AFTER_S = 1
LOG_INTERVAL_S = 60.0

log = logging.getLogger(__name__)


class Shedding:
    """WSGI middleware that refuses runs while the queue for ordinary runs is full."""

    def __init__(self, app: "WSGIApplication", parts: Services) -> None:
        self._app = app
        self._parts = parts
        code, kind, headers = "runs_overloaded", kind_of(Overloaded), {"Retry-After": str(RETRY_AFTER_S)}
        refusal = problem(503, WORDS.text(f"errors.{code}"), kind=kind, code=code, headers=headers)
        self._body = refusal.get_data()
        self._headers = [*refusal.headers.items(), *SECURITY_HEADERS.items()]
        self._logged_s = float("-inf")

    def __call__(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        path = environ["PATH_INFO"]
        # Web pages need CORS headers to see a refusal, so their few requests are passed on.
        if path not in RUN_PATHS or not self._parts.compute.is_full or "HTTP_ORIGIN" in environ:
            return self._app(environ, start_response)
        if environ["REQUEST_METHOD"] != "POST":
            return self._app(environ, start_response)
        self._parts.compute.count_refused()
        self._parts.metrics.observe_request("POST", path, 503, 0.0)
        if time.monotonic() - self._logged_s > LOG_INTERVAL_S:
            self._logged_s = time.monotonic()
            log.warning("overloaded: runs are refused (%s wait or are computed)", self._parts.compute.load)
        ids = [("X-Request-ID", str(uuid.uuid4())), trace_header(trace_of(environ) or new_trace())]
        start_response("503 Service Unavailable", [*self._headers, *ids])
        return [self._body]
