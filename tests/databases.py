"""Databases as earlier versions of the program wrote them."""

import sqlite3
from contextlib import closing
from pathlib import Path

DATA = Path(__file__).parent / "data"


def write_database(path: Path, version: int) -> Path:
    """Write the database of a schema version, with a few runs in it."""
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript((DATA / f"performance_v{version}.sql").read_text("utf-8"))
    return path
