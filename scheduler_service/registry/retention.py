"""Selection of models for the cleanup. Pure."""

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta

from scheduler_service.clock import parse_time
from scheduler_service.registry.history import Event, previous_target
from scheduler_service.registry.index import Index
from scheduler_service.registry.names import STABLE

REMOVABLE = ("registered", "retired")
"""Statuses of models that a cleanup may remove."""


def expired(
    index: Index,
    events: Sequence[Event],
    now: datetime,
    retention_days: float,
    keep_last: int,
    in_use: Collection[str],
) -> list[str]:
    """Keys of the models that a cleanup removes, oldest first.

    These have been `registered` or `retired` for more than `retention_days`. Excluded are models with a tag, the newest
    `keep_last` of an algorithm, those of `in_use` (keys), and the target of a rollback.
    """
    limit = now - timedelta(days=retention_days)
    old = [
        record
        for record in reversed(index.newest_first)
        if record.status in REMOVABLE and not record.tags and parse_time(record.status_since) < limit
    ]
    kept: set[str | None] = set(in_use)
    for algorithm in {record.algorithm for record in old}:
        kept.update(record.model_key for record in index.of_algorithm(algorithm)[:keep_last])
        kept.add(previous_target(events, f"{algorithm}:{STABLE}", index.records))
    return [record.model_key for record in old if record.model_key not in kept]
