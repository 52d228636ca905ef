"""Names and owners of runs: set after the run, used by the search, deleted with the run."""

import unicodedata
from datetime import datetime

from sqlalchemy import ColumnElement, Connection, delete, or_, select

from scheduler_service.clock import to_iso
from scheduler_service.errors import RunNotFound
from scheduler_service.telemetry.database import put
from scheduler_service.telemetry.schema import named_runs, runs

MIN_ID_PREFIX = 8
"""Request ids are shown with this many characters; a shorter prefix would match by chance."""
AFTER_ALL_IDS = "\U0010ffff"


def put_name(connection: Connection, request_id: str, name: str | None, owner: str | None, now: datetime) -> None:
    """Replace the name and the owner of a run; without both, the entry is deleted.

    Raises:
        RunNotFound: no run has this request id.
    """
    check_run(connection, request_id)
    if name or owner:
        key = _key(f"{name or ''}\n{owner or ''}")
        row = {"request_id": request_id, "name": name, "owner": owner, "search_key": key, "timestamp": to_iso(now)}
        put(connection, named_runs, row)
    else:
        connection.execute(delete(named_runs).where(named_runs.c.request_id == request_id))


def check_run(connection: Connection, request_id: str) -> None:
    """Check that a run has this request id, and keep it from being compacted before the transaction ends.

    Raises:
        RunNotFound: there is none.
    """
    found = select(runs.c.id).where(runs.c.request_id == request_id).limit(1)
    if connection.execute(found.with_for_update(read=True)).first() is None:
        raise RunNotFound("run_not_found", request_id=request_id)


def matches_words(text: str) -> ColumnElement[bool]:
    """Whether name and owner contain all words of `text`, ignoring case and width, or the request id begins with it."""
    has_all = [named_runs.c.search_key.contains(word, autoescape=True) for word in dict.fromkeys(_key(text).split())]
    by_name = runs.c.request_id.in_(select(named_runs.c.request_id).where(*has_all))
    prefix = text.strip()
    return (
        by_name
        if len(prefix) < MIN_ID_PREFIX
        else or_(runs.c.request_id.between(prefix, prefix + AFTER_ALL_IDS), by_name)
    )


def _key(text: str) -> str:
    return unicodedata.normalize("NFKC", text).casefold()
