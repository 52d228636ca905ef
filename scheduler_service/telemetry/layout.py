"""Where the tables lie in a database's file, kept beside it: SQLite has that on the first page, which may be lost."""

import json
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from sqlalchemy import Engine, text

from scheduler_service.errors import StorageUnavailable
from scheduler_service.files import write_atomically

LAYOUT_SUFFIX = ".layout"
CATALOGUE = "SELECT type, name, tbl_name, rootpage, sql FROM sqlite_master ORDER BY rowid"

Layout = Sequence[tuple[str, str, str, int, str | None]]
"""The rows of `sqlite_master`."""


def keep_layout(engine: Engine, kept: Path) -> None:
    """Notes the layout of a database in the file `kept`, if it is another one than was noted; no error if it cannot.

    Raises:
        SQLAlchemyError: the database cannot be read.
    """
    with engine.connect() as connection:
        content = json.dumps([list(row) for row in connection.execute(text(CATALOGUE))], indent=0).encode()
    with suppress(OSError, StorageUnavailable):
        if not kept.exists() or kept.read_bytes() != content:
            write_atomically(kept, content)


def kept_layout(kept: Path) -> Layout | None:
    """What was noted last; None where nothing was, or what was noted is no layout."""
    try:
        rows = json.loads(kept.read_bytes())
        return [(str(kind), str(name), str(table), int(page), sql) for kind, name, table, page, sql in rows]
    except (OSError, ValueError, TypeError):
        return None
