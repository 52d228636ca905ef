"""Which retired models have been kept long enough. Pure."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from scheduler_service.clock import parse_time
from scheduler_service.registry.history import Event, previous_target
from scheduler_service.registry.index import Index
from scheduler_service.registry.names import STABLE


def expired(index: Index, events: Sequence[Event], now: datetime, retention_days: float) -> list[str]:
    """Keys of the models that a cleanup removes, oldest first.

    Only what has been retired for more than `retention_days`; never a model that bears a tag, the newest of an
    algorithm, or the one that a rollback would return to.
    """
    limit = now - timedelta(days=retention_days)
    old = [
        record
        for record in reversed(index.newest_first)
        if record.status == "retired" and not record.tags and parse_time(record.status_since) < limit
    ]
    kept: set[str | None] = set()
    for algorithm in {record.algorithm for record in old}:
        kept.add(index.of_algorithm(algorithm)[0].model_key)
        kept.add(previous_target(events, f"{algorithm}:{STABLE}", index.records))
    return [record.model_key for record in old if record.model_key not in kept]
