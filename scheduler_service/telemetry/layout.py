"""A copy of the table layout, kept beside the database: SQLite stores it on the first page, which may be lost."""

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


def save_layout(engine: Engine, file: Path) -> None:
    """Write the layout of a database to `file` if it changed; a file that cannot be written is not an error.

    Raises:
        SQLAlchemyError: the database cannot be read.
    """
    with engine.connect() as connection:
        content = json.dumps([list(row) for row in connection.execute(text(CATALOGUE))], indent=0).encode()
    with suppress(OSError, StorageUnavailable):
        if not file.exists() or file.read_bytes() != content:
            write_atomically(file, content)


def saved_layout(file: Path) -> Layout | None:
    """The saved layout; None if the file is missing or invalid."""
    try:
        rows = json.loads(file.read_bytes())
        return [(str(kind), str(name), str(table), int(page), sql) for kind, name, table, page, sql in rows]
    except (OSError, ValueError, TypeError):
        return None
