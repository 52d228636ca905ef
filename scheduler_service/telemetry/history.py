"""The recorded runs for people to look at: one by one, with verdict, name and owner."""

import json
from typing import Any

from sqlalchemy import Column, Engine, Select, func, select

from scheduler_service.errors import RunNotFound
from scheduler_service.telemetry.naming import is_found_by
from scheduler_service.telemetry.queries import LISTED, fetch
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
    """The newest runs, the newest first: `LISTED` with verdict, name and owner. Raises as `run_frame`.

    Args:
        before: only runs recorded before the one of this id.
        search: only runs with all of these words in name and owner, or whose request id begins with it.
        without_experiments: only runs that no experiment assigned.
    """
    query = _listed().order_by(runs.c.id.desc()).limit(limit)
    if before is not None:
        query = query.where(runs.c.id < before)
    if search.strip():
        query = query.where(is_found_by(search))
    if without_experiments:
        # Not `experiment IS NULL`: SQLite would fetch all of these by their index and sort them.
        query = query.where(func.coalesce(runs.c.experiment, "") == "")
    for name, value in (("model_key", model_key), ("experiment", experiment)):
        if value is not None:
            query = query.where(runs.c[name] == value)
    return [row._asdict() for row in fetch(engine, query)]


def run_of_request(engine: Engine, request_id: str) -> tuple[dict[str, Any], dict[str, Any] | None, bytes | None]:
    """The last run of a request, its input and its placements; None where they are not known.

    Raises:
        RunNotFound: no run has this request id.
        StorageUnavailable: the database cannot be read.
    """
    query = (
        _listed(runs.c.input_params, runs.c.placements)
        .where(runs.c.request_id == request_id)
        .order_by(runs.c.id.desc())
        .limit(1)
    )
    found = next((row._asdict() for row in fetch(engine, query)), None)
    if found is None:
        raise RunNotFound("run_not_found", request_id=request_id)
    asked, placements = found.pop("input_params"), found.pop("placements")
    return found, None if asked is None else json.loads(asked), placements


def _listed(*more: Column[Any]) -> Select[Any]:
    said = (feedback.c.user_satisfaction, feedback.c.comment, named_runs.c.name, named_runs.c.owner)
    source = runs.outerjoin(feedback, feedback.c.request_id == runs.c.request_id)
    source = source.outerjoin(named_runs, named_runs.c.request_id == runs.c.request_id)
    return select(*(runs.c[name] for name in LISTED), *said, *more).select_from(source)
