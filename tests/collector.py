"""A collector of spans for tests: an HTTP server that decodes what OTLP exporters send."""

import gzip
import threading
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.waiting import until


@dataclass(frozen=True)
class Sent:
    """A span as it arrived, with hexadecimal ids."""

    name: str
    kind: int
    trace_id: str
    span_id: str
    parent_id: str
    state: str
    is_failed: bool
    start_ns: int
    end_ns: int
    attributes: dict[str, Any]
    resource: dict[str, Any]


class Collector(ThreadingHTTPServer):
    """Keeps the spans it gets, and answers with `status`."""

    def __init__(self, port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.status = 200
        self.requests = 0
        self.bytes = b""
        self.spans: list[Sent] = []
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def server_close(self) -> None:
        self.shutdown()
        super().server_close()

    def wait_for(self, *names: str, trace_id: str) -> dict[str, Sent]:
        """The spans of a trace by name, once all of `names` have arrived."""

        def found() -> dict[str, Sent]:
            spans = {each.name: each for each in list(self.spans) if each.trace_id == trace_id}
            return spans if spans.keys() >= set(names) else {}

        return until(found, f"the spans {names} in {sorted({each.name for each in self.spans})}")


class _Handler(BaseHTTPRequestHandler):
    server: Collector
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        body = gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body
        self.server.requests += 1
        if self.server.status == 200:
            self.server.bytes += body
            self.server.spans += _spans(body)
        self.send_response(self.server.status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


def _spans(body: bytes) -> list[Sent]:
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    return [
        Sent(
            name=span.name,
            kind=span.kind,
            trace_id=span.trace_id.hex(),
            span_id=span.span_id.hex(),
            parent_id=span.parent_span_id.hex(),
            state=span.trace_state,
            is_failed=span.status.code == 2,
            start_ns=span.start_time_unix_nano,
            end_ns=span.end_time_unix_nano,
            attributes=_values(span.attributes),
            resource=_values(part.resource.attributes),
        )
        for part in ExportTraceServiceRequest.FromString(body).resource_spans
        for scope in part.scope_spans
        for span in scope.spans
    ]


def _values(attributes: Any) -> dict[str, Any]:
    return {each.key: getattr(each.value, each.value.WhichOneof("value")) for each in attributes}
