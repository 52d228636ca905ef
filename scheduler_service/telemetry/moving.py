"""Move all records from one database to another one, of either engine, and prove that they are the same."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from sqlalchemy import Connection, Engine, String, Table, func, select

from scheduler_service.command_line import Progress
from scheduler_service.errors import Conflict, StorageUnavailable
from scheduler_service.telemetry.database import database_of
from scheduler_service.telemetry.schema import check_complete, metadata

BATCH_SIZE = 5_000
TABLES = [table for table in metadata.sorted_tables if table.name != "schema_version"]

Row = Sequence[Any]


@dataclass(frozen=True, slots=True)
class Content:
    """The rows of a table."""

    rows: int
    digest: str  # sum of the SHA-256 of each row, in hex; the same for both engines, whose orders of texts may differ


def move(source: Engine, target: Engine, progress: Progress | None = None) -> dict[str, Content]:
    """Copy every row of `source` to the empty database `target` in one transaction; returns the content of each table.

    The source stays as it is. If the target has the same rows already, nothing is copied: so a move that was
    interrupted in another part can be repeated.

    Raises:
        Conflict: the target has other rows, or the source was written to meanwhile: stop its services first.
        StorageUnavailable: a database cannot be used, has a newer version with further columns, or the copy differs.
            Nothing was copied.
    """
    total = sum(_counts(source).values())
    with database_of(target).errors(), target.begin() as written:
        database_of(target).prepare_fill(written)
        if any((there := _counts_of(written)).values()):
            return _same(source, written, there, database_of(target).name)
        copied = _copy(source, target, written, total, progress)
        for table in TABLES:
            if (found := _content(written, table)) != copied[table.name]:
                raise StorageUnavailable("move_differs", table=table.name, rows=found.rows)
        if _counts(source) != {name: content.rows for name, content in copied.items()}:
            raise Conflict("move_source_used", database=database_of(source).name)
    return copied


def _same(source: Engine, written: Connection, there: Mapping[str, int], name: str) -> dict[str, Content]:
    """The content of both; raises Conflict if they differ."""
    with database_of(source).errors(), source.connect() as connection:
        database_of(source).begin_reading(connection)
        if _counts_of(connection) == there:
            found = {table.name: _content(connection, table) for table in TABLES}
            if all(_content(written, table) == found[table.name] for table in TABLES):
                return found
    raise Conflict("move_target_used", database=name)


def _copy(
    source: Engine, target: Engine, written: Connection, total: int, progress: Progress | None
) -> dict[str, Content]:
    """One transaction reads the source: all tables have the state of the same moment."""
    copied: dict[str, Content] = {}
    done = 0
    with database_of(source).errors(), source.connect() as connection:
        database_of(source).begin_reading(connection)
        check_complete(connection, database_of(source).name)
        for table in TABLES:
            digest, before = 0, done
            for rows in _batches(connection, table):
                database_of(target).fill(written, table, rows)
                digest, done = digest + _digest(rows), done + len(rows)
                if progress is not None:
                    progress(done, max(total, done))
            copied[table.name] = Content(done - before, _shown(digest))
    return copied


def _content(connection: Connection, table: Table) -> Content:
    digest = count = 0
    for rows in _batches(connection, table):
        digest, count = digest + _digest(rows), count + len(rows)
    return Content(count, _shown(digest))


def _batches(connection: Connection, table: Table) -> Iterator[list[Row]]:
    query = select(table).order_by(*table.primary_key)
    found = connection.execute(query, execution_options={"stream_results": True, "yield_per": BATCH_SIZE})
    texts = [position for position, column in enumerate(table.columns) if isinstance(column.type, String)]
    for rows in found.partitions(BATCH_SIZE):
        yield [_storable(list(row), texts) for row in rows]


def _storable(row: list[Any], texts: Sequence[int]) -> list[Any]:
    """The row as every engine stores it: without NUL, which only SQLite's texts may contain."""
    for position in texts:
        value = row[position]
        if value is not None and "\x00" in value:
            row[position] = value.replace("\x00", "\ufffd")
    return row


def _digest(rows: Sequence[Row]) -> int:
    lines = (orjson.dumps(row, default=bytes.hex) for row in rows)
    return sum(int.from_bytes(hashlib.sha256(line).digest(), "big") for line in lines)


def _shown(digest: int) -> str:
    return f"{digest % 2**256:064x}"


def _counts(engine: Engine) -> dict[str, int]:
    with database_of(engine).errors(), engine.connect() as connection:
        return _counts_of(connection)


def _counts_of(connection: Connection) -> dict[str, int]:
    return {table.name: connection.execute(select(func.count()).select_from(table)).scalar_one() for table in TABLES}
