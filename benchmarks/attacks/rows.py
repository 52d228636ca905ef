"""The attacks, and when each counts as held."""

from collections.abc import Callable
from dataclasses import dataclass

from benchmarks.attacks import floods, slow, texts, work
from benchmarks.attacks.crowd import Crowd

MAX_GROWTH_MIB = 256.0
HELD_MIB = 512.0 + 256.0
"""What the service may hold of all clients together, and what its allocator keeps beside it."""
EXAMINED_MIB = 900.0
"""A file that is registered is examined in a process of its own, which counts."""
DEADLINE_S = 24.0
"""A client that stalls has 20 s; the service looks every second."""


@dataclass(frozen=True)
class Row:
    """One attack, and when it counts as held."""

    name: str
    play: Callable[[Crowd], None]
    seconds: float = 4.0
    must_end: bool = False  # none of its connections may be open when it is over
    max_growth_mib: float = MAX_GROWTH_MIB  # of the resident memory of all processes
    may_refuse_runs: bool = False  # schedules of others may be refused meanwhile


def nobody(crowd: Crowd) -> None:
    """No attack: what clients see of the machine and of the service at rest."""
    crowd.wait()


ROWS: tuple[Row, ...] = (
    Row("nobody", nobody),
    Row("one-byte chunks", floods.one_byte_chunks),
    Row("one-byte chunks after a 401", floods.one_byte_chunks_after_401),
    Row("endless trailers", floods.endless_trailers),
    Row("endless trailers after a 401", floods.endless_trailers_after_401),
    Row("bad chunks, then a hidden request", slow.smuggled_after_a_bad_chunk, 5.0),
    Row("Expect: 100-continue, refused", slow.expects_to_be_asked, 5.0),
    Row("dribbled chunks, 20 clients", slow.few_dribblers, DEADLINE_S, must_end=True),
    Row("dribblers of every kind, 600 clients", slow.many_dribblers, DEADLINE_S, must_end=True),
    Row("uploads that stall at 7.9 MB, 80 clients", slow.stalled_uploads, DEADLINE_S, True, HELD_MIB),
    Row("6 MB unread, 150 clients", slow.unread_reports, DEADLINE_S + 4.0, True, HELD_MIB),
    Row("0.4 MB unread, again and again, 60 clients", slow.unread_documents, DEADLINE_S + 4.0, True, HELD_MIB),
    Row("small answers unread, 8 clients", slow.unread_pipeline, DEADLINE_S + 4.0, True),
    Row("2,000 idle connections", slow.idle_connections, 10.0),
    Row("endless chunk extension", floods.endless_extension),
    Row("endless headers", floods.endless_headers),
    Row("endless request line", floods.endless_request_line),
    Row("endless empty lines", floods.endless_empty_lines),
    Row("body of 900 GB", floods.endless_body),
    Row("pipelined requests, read", floods.pipelined_and_read),
    Row("unknown keys", floods.unknown_keys),
    Row("connections opened and closed", floods.connections_opened_and_closed),
    Row("bytes that are not HTTP", floods.not_http),
    *(Row(name, play, 3.0, False, HELD_MIB) for name, play in texts.attacks().items()),
    Row("12 improvements of 5 s", work.improvements, 8.0),
    Row("12 searches of 5 s, 8 threads each", work.searches, 8.0, False, EXAMINED_MIB),
    Row("200 work points, 4 clients", work.large_instances, 8.0),
    Row("charts of 40 clients that left", work.charts_of_the_gone, 18.0),
    Row("256 clients without a pause", work.overload, 6.0, may_refuse_runs=True),
)
