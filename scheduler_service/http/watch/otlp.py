"""Spans by the SDK of OpenTelemetry; imported only if they are on (see `spans`).

Names of attributes: https://opentelemetry.io/docs/specs/semconv/http/http-spans/. Path, query and client are left out,
because they may identify a user. An error is given by its class, because its text may quote a request.
"""

import logging
import time
from collections.abc import Sequence
from http import HTTPMethod

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExportResult
from opentelemetry.trace import (
    NonRecordingSpan,
    Span,
    SpanContext,
    SpanKind,
    StatusCode,
    TraceFlags,
    Tracer,
    TraceState,
    set_span_in_context,
)

from scheduler_service.trace_context import Attributes, Trace, new_trace

SERVICE_NAME = "shutdown-scheduler"
"""Unless OTEL_SERVICE_NAME or OTEL_RESOURCE_ATTRIBUTES gives a name."""
QUIET_ROUTES = ("/health", "/metrics", "/console", "/docs", "/openapi.json")
"""Their requests, and those of the page `/`, have no spans: they would be most traces of a service with few runs."""
WARN_EVERY_S = 60.0
"""A collector that fails again and again is reported once in this time."""
METHODS = frozenset(HTTPMethod)
MAX_REASON = 300

log = logging.getLogger(__name__)


class Spans:
    """Records the spans of this process.

    Attributes:
        collector: the collector's host and port, for messages.
    """

    def __init__(self, *, collector: str) -> None:
        """Starts the thread that sends them.

        Raises:
            ValueError: a variable of OpenTelemetry has a value that cannot be used.
        """
        self.collector = collector
        named = OTELResourceDetector().detect().attributes
        resource = Resource.create({} if "service.name" in named else {"service.name": SERVICE_NAME})
        self._provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(_Delivery(collector)))
        self._tracer = self._provider.get_tracer(SERVICE_NAME)

    def of_request(self, method: str, route: str | None, scheme: str, caller: Trace | None) -> Trace:
        """Begin the span of a request, if the sampler wants it; returns the request's position.

        Args:
            route: the rule of the path; None if there is none.
            caller: the position of the caller.
        """
        if route is not None and (route == "/" or route.startswith(QUIET_ROUTES)):
            return caller or new_trace()
        known = method if method in METHODS else "_OTHER"
        attributes: Attributes = {"http.request.method": known, "url.scheme": scheme}
        if route is not None:
            attributes["http.route"] = route
        name = f"{known if known == method else 'HTTP'} {route or ''}".strip()
        span = self._tracer.start_span(name, _context_of(caller), kind=SpanKind.SERVER, attributes=attributes)
        return _RecordedSpan(self._tracer, span, caller.state if caller else "").trace

    def shut_down(self) -> None:
        """Send the waiting spans, then stop; takes as long as the collector does."""
        self._provider.shutdown()


class _RecordedSpan:
    """See `trace_context.RecordedSpan`."""

    def __init__(self, tracer: Tracer, span: Span, state: str) -> None:
        self._tracer, self._span, self._state = tracer, span, state

    @property
    def trace(self) -> Trace:
        at = self._span.get_span_context()
        recorded = self if self._span.is_recording() else None
        return Trace(f"{at.trace_id:032x}", f"{at.span_id:016x}", int(at.trace_flags), self._state, recorded)

    def child(self, name: str, since_s: float | None) -> "_RecordedSpan":
        start_ns = None if since_s is None else time.time_ns() - int((time.perf_counter() - since_s) * 1e9)
        span = self._tracer.start_span(name, set_span_in_context(self._span, Context()), start_time=start_ns)
        return _RecordedSpan(self._tracer, span, self._state)

    def end(self, attributes: Attributes, error: BaseException | None = None) -> None:
        self._span.set_attributes(attributes)
        if error is not None:
            self._span.set_attribute("error.type", type(error).__qualname__)
        if error is not None or "error.type" in attributes:
            self._span.set_status(StatusCode.ERROR)
        self._span.end()


class _Delivery:
    """Sends spans; logs that they cannot be sent, at most every `WARN_EVERY_S`, and that they are sent again."""

    def __init__(self, collector: str) -> None:
        self._collector = collector
        self._exporter = OTLPSpanExporter()
        self._reason = _Reason()
        self._is_told = False  # that it fails
        self._quiet_until_s = 0.0  # time.monotonic
        logging.getLogger(OTLPSpanExporter.__module__).addFilter(self._reason)
        # It warns of each full queue, which follows from a collector that does not answer.
        logging.getLogger("opentelemetry.sdk._shared_internal").setLevel(logging.ERROR)

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self._reason.text = ""
        try:
            result = self._exporter.export(spans)
        except Exception as err:  # the SDK would log each with its traceback
            result, self._reason.text = SpanExportResult.FAILURE, self._reason.text or type(err).__name__
        is_failing = result is not SpanExportResult.SUCCESS
        if is_failing and not self._is_told and time.monotonic() >= self._quiet_until_s:
            self._is_told, self._quiet_until_s = True, time.monotonic() + WARN_EVERY_S
            log.warning(
                "spans cannot be sent to %s (%s); requests are not affected, and further failures are not logged",
                *(self._collector, self._reason.text[:MAX_REASON]),
            )
        elif self._is_told and not is_failing:
            self._is_told = False
            log.info("spans are sent to %s again", self._collector)
        return result

    def shutdown(self) -> None:
        self._exporter.shutdown()


class _Reason(logging.Filter):
    """Keeps the first message of the exporter about a batch, and hides all of them."""

    text = ""

    def filter(self, record: logging.LogRecord) -> bool:
        self.text = self.text or record.getMessage()
        return False


def _context_of(caller: Trace | None) -> Context:
    """The caller as the parent of a span."""
    if caller is None:
        return Context()
    state = TraceState.from_header([caller.state]) if caller.state else None
    at = SpanContext(int(caller.trace_id, 16), int(caller.span_id, 16), True, TraceFlags(caller.flags), state)
    return set_span_in_context(NonRecordingSpan(at), Context())
