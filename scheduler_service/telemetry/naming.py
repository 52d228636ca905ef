"""What people call a run and whose it is: said after the run, found by search, and gone with the run."""

import unicodedata
from datetime import datetime

from sqlalchemy import ColumnElement, Connection, delete, insert, or_, select

from scheduler_service.clock import to_iso
from scheduler_service.errors import RunNotFound
from scheduler_service.telemetry.schema import named_runs, runs

SHOWN_OF_ID = 8
"""Characters of a request id that people see; fewer would be in many ids by chance."""
AFTER_ALL_IDS = "\U0010ffff"


def put_name(connection: Connection, request_id: str, name: str | None, owner: str | None, now: datetime) -> None:
    """Puts name and owner of a run in place of earlier ones; with neither, it has none.

    Raises:
        RunNotFound: no run has this request id.
    """
    if connection.execute(select(runs.c.id).where(runs.c.request_id == request_id).limit(1)).first() is None:
        raise RunNotFound("run_not_found", request_id=request_id)
    connection.execute(delete(named_runs).where(named_runs.c.request_id == request_id))
    if name or owner:
        key = _key(f"{name or ''}\n{owner or ''}")
        row = {"request_id": request_id, "name": name, "owner": owner, "search_key": key, "timestamp": to_iso(now)}
        connection.execute(insert(named_runs), row)


def is_found_by(words: str) -> ColumnElement[bool]:
    """Whether a run's name and owner have all of these words, in either case and width, or its request id begins so."""
    has_all = [named_runs.c.search_key.contains(word, autoescape=True) for word in dict.fromkeys(_key(words).split())]
    is_named_so = runs.c.request_id.in_(select(named_runs.c.request_id).where(*has_all))
    beginning = words.strip()
    if len(beginning) < SHOWN_OF_ID:
        return is_named_so
    return or_(runs.c.request_id.between(beginning, beginning + AFTER_ALL_IDS), is_named_so)


def _key(text: str) -> str:
    return unicodedata.normalize("NFKC", text).casefold()
