"""The recorded runs as users see them: one by one, with rating, name and owner."""

import json
from datetime import datetime
from typing import Any

from sqlalchemy import Column, Engine, Select, func, select

from scheduler_service.clock import to_iso
from scheduler_service.errors import RunNotFound
from scheduler_service.telemetry.naming import matches_words
from scheduler_service.telemetry.queries import LISTED, fetch, matching
from scheduler_service.telemetry.schema import feedback, named_runs, runs


def latest_runs(
    engine: Engine,
    limit: int,
    *,
    before: int | None = None,
    model_key: str | None = None,
    experiment: str | None = None,
    search: str = "",
    without_experiments: bool = False,
) -> list[dict[str, Any]]:
    """The newest runs, newest first: `LISTED` with rating, comment, name and owner. Raises as `run_frame`.

    Args:
        before: only runs recorded before the run with this id.
        search: only runs whose name and owner contain all of these words, or whose request id begins with the text.
        without_experiments: only runs that no experiment assigned.
    """
    query = matching(_listed(), runs, model_key=model_key, experiment=experiment)
    if before is not None:
        query = query.where(runs.c.id < before)
    if search.strip():
        query = query.where(matches_words(search))
    if without_experiments:
        # Not `experiment IS NULL`: SQLite would fetch all of these by their index and sort them.
        query = query.where(func.coalesce(runs.c.experiment, "") == "")
    return [row._asdict() for row in fetch(engine, query.order_by(runs.c.id.desc()).limit(limit))]


def run_of_request(engine: Engine, request_id: str) -> tuple[dict[str, Any], dict[str, Any] | None, bytes | None]:
    """The last run of a request, its input and its placements; None if unknown.

    Raises:
        RunNotFound: no run has this request id.
        StorageUnavailable: the database cannot be read.
    """
    query = matching(_listed(runs.c.input_params, runs.c.placements), runs, request_id=request_id)
    found = next((row._asdict() for row in fetch(engine, query.order_by(runs.c.id.desc()).limit(1))), None)
    if found is None:
        raise RunNotFound("run_not_found", request_id=request_id)
    asked, placements = found.pop("input_params"), found.pop("placements")
    return found, None if asked is None else json.loads(asked), placements


def answered_by(engine: Engine, since: datetime, latest: int) -> dict[str, int]:
    """Model key -> number of the successful runs since then that it answered, of the newest `latest` ones.

    Raises as `run_frame`.
    """
    query = select(runs.c.model_key)
    query = query.where(runs.c.timestamp >= to_iso(since), runs.c.success, runs.c.model_key.is_not(None))
    newest = query.order_by(runs.c.timestamp.desc()).limit(latest).subquery()
    counted = select(newest.c.model_key, func.count().label("answers")).group_by(newest.c.model_key)
    return {row.model_key: row.answers for row in fetch(engine, counted)}


def _listed(*more: Column[Any]) -> Select[Any]:
    added = (feedback.c.user_satisfaction, feedback.c.comment, named_runs.c.name, named_runs.c.owner)
    source = runs.outerjoin(feedback, feedback.c.request_id == runs.c.request_id)
    source = source.outerjoin(named_runs, named_runs.c.request_id == runs.c.request_id)
    return select(*(runs.c[name] for name in LISTED), *added, *more).select_from(source)
