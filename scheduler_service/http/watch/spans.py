"""Spans of requests for an OpenTelemetry collector (OTLP over HTTP); off unless OTEL_EXPORTER_OTLP_ENDPOINT is set.

The packages of `requirements-otlp.txt` read the other standard variables: OTEL_SERVICE_NAME, OTEL_TRACES_SAMPLER,
OTEL_BSP_* and so on. They batch the spans in a bounded queue and send them on a thread of their own.
"""

import logging
import threading
from collections.abc import Mapping
from importlib.util import find_spec
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from scheduler_service.errors import ServiceError

if TYPE_CHECKING:
    from scheduler_service.http.watch.otlp import Spans

PACKAGE = "opentelemetry.exporter.otlp.proto.http.trace_exporter"
ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
PROTOCOL = "http/protobuf"
FLUSH_TIMEOUT_S = 2.0
"""At the end of the process; spans that cannot be sent in this time are lost."""

log = logging.getLogger(__name__)

_in_use: list["Spans"] = []  # in this process


def spans_from(environ: Mapping[str, str]) -> "Spans | None":
    """What records the spans of this process; None if they are off. To be called after the fork of a worker.

    Raises:
        ServiceError: see `check_spans`.
    """
    variable = check_spans(environ)
    if variable is None:
        return None
    from scheduler_service.http.watch.otlp import Spans  # takes a quarter of a second; most services need no spans

    try:
        spans = Spans(collector=urlsplit(environ[variable]).netloc.rpartition("@")[2])
    except ValueError as err:
        raise ServiceError("otlp_setting_invalid", reason=str(err)) from err
    _in_use.append(spans)
    log.info("spans are sent to %s", spans.collector)
    return spans


def check_spans(environ: Mapping[str, str]) -> str | None:
    """The variable with the address of the collector; None if spans are off.

    Raises:
        ServiceError: spans are on, but the packages are missing, or a variable has a value that cannot be used.
    """
    if environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true" or environ.get("OTEL_TRACES_EXPORTER") == "none":
        return None
    variable = next((name for name in ENDPOINTS if environ.get(name, "").strip()), None)
    if variable is None:
        return None
    if not _is_installed():
        raise ServiceError("otlp_not_installed", variable=variable)
    if not _is_address(environ[variable].strip()):
        raise ServiceError("otlp_address", variable=variable)  # not its value, which may contain a password
    for name in PROTOCOLS:
        if environ.get(name, "").strip() not in ("", PROTOCOL):
            raise ServiceError("otlp_protocol", variable=name, found=environ[name], supported=PROTOCOL)
    return variable


def flush_spans() -> None:
    """Send the waiting spans at the end of the process; waits at most `FLUSH_TIMEOUT_S`."""
    senders = [threading.Thread(target=spans.shut_down, daemon=True) for spans in _in_use]
    for sender in senders:
        sender.start()
    for sender in senders:
        sender.join(FLUSH_TIMEOUT_S)


def _is_installed() -> bool:
    try:
        return find_spec(PACKAGE) is not None
    except ModuleNotFoundError:  # of a package that contains it
        return False


def _is_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
