"""The trace of a request by W3C Trace Context, and the part of it (the span) that is being worked on.

`trace_var` travels like the id of the request: a job on another thread and a log line have a copy of its context.
Source: https://www.w3.org/TR/trace-context-2/ (headers `traceparent` and `tracestate`).
"""

import contextvars
import re
import secrets
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, Protocol

SAMPLED, RANDOM = 0x01, 0x02
"""Flags: the caller records this trace; its id is random. Other flags are set to 0."""
MAX_STATE_MEMBERS = 32
MAX_STATE_LENGTH, LONG_MEMBER = 512, 128
"""In characters. A longer tracestate loses first its long members, then its last ones."""

_TRACEPARENT = re.compile(
    r"(?P<version>[0-9a-f]{2})-(?P<trace_id>[0-9a-f]{32})-(?P<parent_id>[0-9a-f]{16})-(?P<flags>[0-9a-f]{2})"
    r"(?P<more>-.*)?",
    re.DOTALL,
)
_INVALID_VERSION = "ff"
_MEMBER = re.compile(r"[a-z0-9][a-z0-9_*/@-]{0,255}=[\x20-\x2b\x2d-\x3c\x3e-\x7e]{0,255}[\x21-\x2b\x2d-\x3c\x3e-\x7e]")

Attributes = dict[str, str | int | float | bool]


@dataclass(frozen=True, slots=True)
class Trace:
    """A position in a trace."""

    trace_id: str  # 32 lower-case hexadecimal digits, not all 0
    span_id: str  # 16; of the caller if this service records no span
    flags: int = 0  # of SAMPLED and RANDOM
    state: str = ""  # the value of tracestate; "": none
    recorded: "RecordedSpan | None" = None  # the span that this service records

    @property
    def traceparent(self) -> str:
        """The value of the header, of version 00."""
        return f"00-{self.trace_id}-{self.span_id}-{self.flags:02x}"


class RecordedSpan(Protocol):
    """A span that is sent to a collector."""

    @property
    def trace(self) -> Trace:
        """The position of its parts."""

    def child(self, name: str, since_s: float | None) -> "RecordedSpan":
        """Begin a part of it; `since_s`: when, of `time.perf_counter`, None: now."""

    def end(self, attributes: Attributes, error: BaseException | None = None) -> None:
        """End it now."""


trace_var: contextvars.ContextVar[Trace | None] = contextvars.ContextVar("trace", default=None)
"""The position of the current request; None outside of requests."""


def trace_of(environ: Mapping[str, Any]) -> Trace | None:
    """The caller's position in its trace, by the headers in a WSGI environment; None without a valid traceparent."""
    return read_headers(environ.get("HTTP_TRACEPARENT", ""), environ.get("HTTP_TRACESTATE", ""))


def read_headers(traceparent: str, tracestate: str = "") -> Trace | None:
    """The position that the headers say; None if `traceparent` is invalid.

    A version after 00 may have more fields, which are not read. An invalid `tracestate` is ignored. A header that was
    sent several times has its values joined by commas: this is invalid for `traceparent`.
    """
    found = _TRACEPARENT.fullmatch(traceparent)
    if found is None or found["version"] == _INVALID_VERSION:
        return None
    is_known = found["version"] == "00"
    if (is_known and found["more"] is not None) or not int(found["trace_id"], 16) or not int(found["parent_id"], 16):
        return None
    flags = int(found["flags"], 16) & (SAMPLED | RANDOM if is_known else SAMPLED)
    return Trace(found["trace_id"], found["parent_id"], flags, _state(tracestate))


def new_trace() -> Trace:
    """A trace that begins here and is not recorded."""
    ids = secrets.token_hex(24)
    return Trace(ids[:32], ids[32:])


def outgoing_headers() -> dict[str, str]:
    """The headers for a call of this service to another one; empty outside of requests."""
    trace = trace_var.get()
    if trace is None:
        return {}
    return {"traceparent": trace.traceparent} | ({"tracestate": trace.state} if trace.state else {})


def span(name: str, *, since_s: float | None = None) -> AbstractContextManager[Attributes]:
    """Record the block as a part of the current span; does nothing if that is not recorded.

    The block may put attributes into what it gets. Log lines and calls of the block have its position.

    Args:
        since_s: when the part began, of `time.perf_counter`; None: now.
    """
    trace = trace_var.get()
    if trace is None or trace.recorded is None:
        return nullcontext(Attributes())
    return _while_recorded(trace.recorded.child(name, since_s))


@contextmanager
def _while_recorded(recorded: RecordedSpan) -> Iterator[Attributes]:
    attributes, error, token = Attributes(), None, trace_var.set(recorded.trace)
    try:
        yield attributes
    except BaseException as err:
        error = err
        raise
    finally:
        trace_var.reset(token)
        recorded.end(attributes, error)


def _state(tracestate: str) -> str:
    """The value to pass on, unchanged if it is valid and not too long; "" if it is invalid."""
    members = [member for each in tracestate.split(",") if (member := each.strip(" \t"))]
    keys = {member.partition("=")[0] for member in members}
    if not len(keys) == len(members) <= MAX_STATE_MEMBERS or not all(map(_MEMBER.fullmatch, members)):
        return ""
    return tracestate if len(tracestate) <= MAX_STATE_LENGTH else _shortened(members)


def _shortened(members: list[str]) -> str:
    kept = [member for member in members if len(member) <= LONG_MEMBER]
    while len(",".join(kept)) > MAX_STATE_LENGTH:
        kept.pop()
    return ",".join(kept)
