"""The records in PostgreSQL; several machines may use one database."""

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from sqlalchemy import Connection, Engine, ExceptionContext, Table, event, text

from scheduler_service.database_url import DatabaseUrl
from scheduler_service.errors import StorageUnavailable
from scheduler_service.postgresql import attempts
from scheduler_service.postgresql.connecting import check_keeps_commits, postgresql_engine
from scheduler_service.postgresql.faults import postgresql_errors, state_of
from scheduler_service.postgresql.leases import Lease, held, leases
from scheduler_service.postgresql.migration import lock_migrations
from scheduler_service.postgresql.reports import reports
from scheduler_service.postgresql.slices import Slices
from scheduler_service.telemetry.schema import metadata, prepare_at_once

OTHER_TABLES = (attempts.attempts, leases, reports)
"""Those that are not records."""
LOCK_NAME = text("SELECT pg_advisory_xact_lock(hashtextextended(:name, 0))")
SIZES = text(
    "SELECT relname, pg_total_relation_size(oid) FROM pg_class"
    " WHERE relkind = 'r' AND relnamespace = current_schema()::regnamespace ORDER BY relname"
)
HIGHER = text("SELECT setval(pg_get_serial_sequence(:table, :column), :last)")
WRITERS = text(
    "SELECT virtualtransaction FROM pg_locks WHERE locktype = 'relation' AND relation = to_regclass(:table)"
    " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
    " AND mode = 'RowExclusiveLock' AND granted AND pid IS DISTINCT FROM pg_backend_pid()"
)
WRITERS_END_WITHIN_S, POLL_S = 10.0, 0.01
CONNECTIONS, OWN_CONNECTIONS = 16, 4
"""Per process: for records and queries; and for health, leases and new tables, which must not wait for those."""
UNKNOWN_TABLE = "42P01"
CLOCK_DIFFERENCE_S = 2.0
"""A smaller difference between this machine's clock and the server's is not reported."""


class DatabaseServer:
    """The database at `url` as this process uses it; safe for threads."""

    is_in_place = True
    late_ids = 1_000  # more rows than those of all transactions that are open at a time, as a rule

    def __init__(self, url: DatabaseUrl) -> None:
        self._url = url
        self._engine = postgresql_engine(url, OWN_CONNECTIONS)  # connects without creating tables
        self._mutex = threading.Lock()
        self._is_ready = False
        self._commits = 0
        self._clock_ahead_s = 0.0
        self.slices = Slices(self._engine, url)

    @property
    def note(self) -> str:
        """A difference between the clocks, as of the last check; "" if there is none."""
        if abs(self._clock_ahead_s) < CLOCK_DIFFERENCE_S:
            return ""
        direction = "ahead of" if self._clock_ahead_s > 0.0 else "behind"
        return f"this machine's clock is {abs(self._clock_ahead_s):.0f} s {direction} the database's"

    @property
    def name(self) -> str:
        """The URL without the password."""
        return self._url.shown

    def errors(self) -> AbstractContextManager[None]:
        """Convert errors of the driver to `StorageUnavailable`."""
        return postgresql_errors(self._url)

    def make_ready(self, *, check_tables: bool = False) -> None:
        """Create the tables, or migrate those of an older version, in one transaction; several replicas may do so.

        Raises:
            StorageUnavailable, SQLAlchemyError, OSError: the database cannot be used.
        """
        if self._is_ready and not check_tables:
            return
        with self._mutex:
            with self._engine.begin() as connection:
                self.prepare_fill(connection)  # a new index of a large table takes long
                lock_migrations(connection)
                prepare_at_once(connection, self.name, OTHER_TABLES)
            self._is_ready = True

    def check_tables_again(self) -> None:
        """Let the next connection create the tables: the server may have another database by now."""
        self._is_ready = False

    def check_sound(self) -> None:
        """Nothing: the server detects damage itself."""

    def check_usable(self) -> None:
        """Check that the server accepts writes and keeps them, see `check_keeps_commits`."""
        self.make_ready()
        with self._engine.connect() as connection:
            self._clock_ahead_s = check_keeps_commits(connection, self._url)

    def check_lock(self, connection: Connection) -> None:
        """Nothing: there is no lock that blocks all writers."""

    def is_new(self, connection: Connection, attempt: str) -> bool:
        """Whether this attempt is not committed yet; it will be by the connection's transaction."""
        if self._commits % attempts.FORGET_EVERY == 0:
            attempts.forget_old(connection)
        self._commits += 1
        return attempts.is_new(connection, attempt)

    def serialise(self, connection: Connection, name: str) -> None:
        """Let transactions with the same name write one after the other."""
        connection.execute(LOCK_NAME, {"name": name})

    @contextmanager
    def hold(self, name: str, timeout_s: float) -> Iterator[Lease]:
        """A lease among all replicas for the length of the block; see `leases.held`."""
        with self.errors():
            self.make_ready()
        with held(self._engine, self._url, name, timeout_s) as lease:
            yield lease

    def sizes(self) -> dict[str, int]:
        """The size of each table with its indexes, bytes."""
        with self.errors(), self._engine.connect() as connection:
            return {row[0]: int(row[1]) for row in connection.execute(SIZES)}

    def await_writers(self, connection: Connection, table: Table) -> None:
        """Wait for the transactions that write to the table now; later ones get higher ids, and nobody waits for this.

        A transaction takes its lock of the table before it draws an id, and keeps it until its rows are visible. So the
        holders of that lock are all that may still add a row with an id that is not greater than the greatest one now.
        `CREATE INDEX CONCURRENTLY` waits in the same way.

        Raises:
            StorageUnavailable: one of them did not end within `WRITERS_END_WITHIN_S`.
        """
        until_s = time.monotonic() + WRITERS_END_WITHIN_S
        automatic = connection.execution_options(isolation_level="AUTOCOMMIT")

        def writers() -> set[str]:
            return {row[0] for row in automatic.execute(WRITERS, {"table": table.name})}

        waited = writers()
        while waited := waited & writers():
            if time.monotonic() >= until_s:
                raise StorageUnavailable("locked_by_others", path=self.name, waited=WRITERS_END_WITHIN_S)
            time.sleep(POLL_S)

    def begin_reading(self, connection: Connection) -> None:
        """Begin a transaction whose queries all see the state of the same moment."""
        connection.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"))

    def prepare_fill(self, connection: Connection) -> None:
        """Let the statements of this transaction take as long as they need."""
        for name in ("statement_timeout", "idle_in_transaction_session_timeout"):
            connection.execute(text(f"SET LOCAL {name} = 0"))

    def fill(self, connection: Connection, table: Table, rows: Sequence[Sequence[Any]]) -> None:
        """Insert rows with all columns of the table, in their order; ids that are generated later are higher."""
        cursor = connection.connection.cursor()
        names = ", ".join(table.columns.keys())
        with cursor.copy(f"COPY {table.name} ({names}) FROM STDIN") as copy:
            for row in rows:
                copy.write_row(row)
        if (key := table.autoincrement_column) is not None:
            connection.execute(HIGHER, {"table": table.name, "column": key.name, "last": rows[-1][0]})

    def vacuum(self, engine: Engine) -> int:
        """Free the space of deleted rows for new ones and update the statistics; returns the bytes for the system.

        The server's autovacuum does the same from time to time. Nobody waits.
        """
        before = sum(self.sizes().values())
        with self.errors(), engine.connect() as connection:
            automatic = connection.execution_options(isolation_level="AUTOCOMMIT")
            automatic.execute(text("SET statement_timeout = 0"))
            for table in metadata.sorted_tables:
                automatic.execute(text(f"VACUUM (ANALYZE) {table.name}"))
            connection.invalidate()  # the setting ends with the session
        return max(0, before - sum(self.sizes().values()))

    def close(self) -> None:
        """Close all connections; the next one opens the database again."""
        self._engine.dispose()


def open_server(url: DatabaseUrl) -> tuple[Engine, DatabaseServer]:
    """An engine for the database at `url`, whose tables are created when it connects. Connections are pooled."""
    server = DatabaseServer(url)
    engine = postgresql_engine(url, CONNECTIONS, before_login=server.make_ready)

    def check_again(context: ExceptionContext) -> None:
        if isinstance(err := context.original_exception, Exception) and state_of(err) == UNKNOWN_TABLE:
            context.is_disconnect = True  # all connections are made anew
        if context.is_disconnect:
            server.check_tables_again()

    event.listen(engine, "handle_error", check_again)
    return engine, server
