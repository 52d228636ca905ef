"""Whose schedules were answered: the newest requests by model."""

from datetime import datetime

from sqlalchemy import Engine, func, select

from scheduler_service.clock import to_iso
from scheduler_service.telemetry.queries import fetch
from scheduler_service.telemetry.schema import runs


def answered_by(engine: Engine, since: datetime, latest: int) -> dict[str, int]:
    """Model key -> how many of the newest successful runs since then it answered; at most `latest` are looked at.

    Raises:
        StorageUnavailable: the database cannot be read.
    """
    newest = (
        select(runs.c.model_key)
        .where(runs.c.timestamp >= to_iso(since), runs.c.success, runs.c.model_key.is_not(None))
        .order_by(runs.c.timestamp.desc())
        .limit(latest)
        .subquery()
    )
    query = select(newest.c.model_key, func.count().label("answers")).group_by(newest.c.model_key)
    return {row.model_key: row.answers for row in fetch(engine, query)}
