"""The database of the records, in one of two engines: a SQLite file, or PostgreSQL by its URL.

What differs between the engines is behind `Database`; all queries are the same.
"""

import logging
from collections.abc import Sequence
from contextlib import AbstractContextManager
from functools import cache
from pathlib import Path
from typing import Any, Protocol
from weakref import WeakKeyDictionary

from sqlalchemy import Connection, Engine, Executable, Table, insert
from sqlalchemy.dialects import sqlite

from scheduler_service.database_url import DatabaseUrl
from scheduler_service.errors import DatabaseDamaged, InvalidInput, StorageUnavailable
from scheduler_service.lease import Lease
from scheduler_service.telemetry.engines.sqlite import open_file

log = logging.getLogger(__name__)


class Slice(Protocol):
    """A part of a job that this process does."""

    @property
    def job(self) -> str: ...

    @property
    def number(self) -> int: ...

    @property
    def lease(self) -> Lease: ...


class Slices(Protocol):
    """The parts of jobs that several machines share; see `postgresql.slices`."""

    def add(self, job: str, slices: int) -> None: ...
    def take(self) -> Slice | None: ...
    def finish(self, done: Any) -> None: ...
    def fail(self, begun: Any) -> None: ...
    def give_back(self, begun: Any) -> None: ...
    def left(self, job: str) -> tuple[int, int]: ...
    def jobs(self) -> list[str]: ...


class Database(Protocol):
    """A database as this process uses it; safe for threads."""

    late_ids: int
    """Among so many newest rows of a table, one with a lower id may appear after one with a higher id; 0: never."""

    @property
    def note(self) -> str:
        """What happened to it since the process started, or is unusual, for users; "" if nothing."""

    @property
    def name(self) -> str:
        """Its path, or its URL without the password."""

    @property
    def slices(self) -> Slices | None:
        """The jobs that the users of the database share; None: each process does its own."""

    @property
    def is_in_place(self) -> bool:
        """False if a commit may have gone to a file that was moved or deleted meanwhile."""

    def errors(self) -> AbstractContextManager[None]:
        """Convert errors of the engine to `StorageUnavailable`."""

    def make_ready(self, *, check_tables: bool = False) -> None:
        """Create what is missing; `check_tables`: also missing tables of a database that is in use."""

    def check_sound(self) -> None:
        """Raise DatabaseDamaged if damage is known."""

    def check_usable(self) -> None:
        """Raise StorageUnavailable if records cannot be kept; takes no lock that writers need."""

    def check_lock(self, connection: Connection) -> None:
        """Raise an error of the engine if another transaction blocks all writers."""

    def is_new(self, connection: Connection, attempt: str, /) -> bool:
        """Whether the change with this id is not committed yet; called first in its transaction."""

    def serialise(self, connection: Connection, name: str, /) -> None:
        """Let transactions with the same name write one after the other."""

    def hold(self, name: str, timeout_s: float) -> AbstractContextManager[Lease]:
        """A lease among all processes that use the database.

        Raises:
            StorageUnavailable: others held it for `timeout_s`.
        """

    def sizes(self) -> dict[str, int]:
        """The size of each of its files or tables, bytes."""

    def await_writers(self, connection: Connection, table: Table) -> None:
        """Wait until each row that the greatest id of the table is not lower than is there for the next query, if ever.

        Raises:
            StorageUnavailable: a transaction that writes to the table did not end.
        """

    def begin_reading(self, connection: Connection) -> None:
        """Begin a transaction whose queries all see the state of the same moment."""

    def prepare_fill(self, connection: Connection) -> None:
        """Prepare the transaction for `fill`, which may take long."""

    def fill(self, connection: Connection, table: Table, rows: Sequence[Sequence[Any]]) -> None:
        """Insert rows with all columns of the table, in their order, also those that the database generates."""

    def vacuum(self, engine: Engine) -> int:
        """Return unused space to the system; returns the bytes."""

    def close(self) -> None:
        """Close it; the next connection opens it again."""


_databases: "WeakKeyDictionary[Engine, Database]" = WeakKeyDictionary()


def open_database(where: Path | DatabaseUrl, *, must_open: bool = True) -> Engine:
    """The database, with current tables; it is created if it is missing.

    Args:
        must_open: False: a database that cannot be used is logged, and each connection tries again.

    Raises:
        StorageUnavailable: it cannot be reached or written, is not a database, or has a newer version.
    """
    engine, database = _open(where)
    _databases[engine] = database
    try:
        with database.errors():
            database.make_ready(check_tables=True)
    except StorageUnavailable as err:
        if must_open:
            raise
        if not isinstance(err, DatabaseDamaged):  # that is logged already
            log.error("%s", err)
    return engine


def _open(where: Path | DatabaseUrl) -> tuple[Engine, Database]:
    if isinstance(where, Path):
        return open_file(where)
    try:
        # Not at the top: its driver is not needed for a file, and takes time to import.
        from scheduler_service.telemetry.engines.postgresql import open_server
    except ImportError as err:
        raise InvalidInput("database_driver_missing", reason=str(err)) from err
    return open_server(where)


def database_of(engine: Engine) -> Database:
    """The database of an engine made by `open_database`."""
    return _databases[engine]


def changed(connection: Connection, statement: Executable) -> int:
    """The number of rows that an INSERT, UPDATE or DELETE changed; without the option, some drivers do not tell."""
    return connection.execute(statement, execution_options={"preserve_rowcount": True}).rowcount


def insert_text(connection: Connection, table: Table, *, unless_exists: bool = False) -> str:
    """An INSERT for the driver's own `executemany`: SQLAlchemy would process each value again.

    The parameters are named as the columns, except those that the database generates.

    Args:
        unless_exists: a row whose key exists is passed over.
    """
    return _insert_text(connection.dialect.name, table) + (" ON CONFLICT DO NOTHING" if unless_exists else "")


@cache
def _insert_text(dialect: str, table: Table) -> str:
    named = sqlite.dialect(paramstyle="named") if dialect == "sqlite" else _psycopg().dialect()
    return str(insert(table).inline().compile(dialect=named, column_keys=given(table)))


def _psycopg() -> Any:
    from sqlalchemy.dialects.postgresql import psycopg

    return psycopg


def given(table: Table) -> list[str]:
    """The columns that the database does not generate."""
    return [column.name for column in table.columns if column is not table.autoincrement_column]


def upsert(connection: Connection, table: Table) -> Any:
    """An INSERT of the engine's dialect, which has `on_conflict_do_update`."""
    if connection.dialect.name == "sqlite":
        return sqlite.insert(table)
    from sqlalchemy.dialects.postgresql import insert as insert_of_postgresql

    return insert_of_postgresql(table)


def put(connection: Connection, table: Table, row: dict[str, Any]) -> None:
    """Insert a row, or replace the one with the same primary key."""
    statement = upsert(connection, table).values(row)
    new = {name: statement.excluded[name] for name in row if not table.c[name].primary_key}
    connection.execute(statement.on_conflict_do_update(index_elements=list(table.primary_key), set_=new))
