"""Connections to PostgreSQL: log in, session settings, what the server must offer, and whether it keeps commits."""

import re
import time
from collections.abc import Callable
from typing import Any

import psycopg
from psycopg.types.string import StrDumperUnknown
from sqlalchemy import Connection, Engine, ExceptionContext, create_engine, event, text

from scheduler_service.database_url import DatabaseUrl
from scheduler_service.errors import StorageUnavailable
from scheduler_service.postgresql.faults import CONNECTION_STATES, READ_ONLY, state_of

MIN_VERSION = 13
POOL_TIMEOUT_S = 4.0
"""Threads wait so long for a free connection."""
COMMIT_TIMEOUT_S = 10.0
PARAMETERS = {
    "application_name": "scheduler",
    "target_session_attrs": "read-write",  # of several hosts, the one that accepts writes
    "connect_timeout": "3",  # seconds, for each host
    # A host that disappears without closing its connections is noticed within about 10 s.
    "keepalives_idle": "5",
    "keepalives_interval": "2",
    "keepalives_count": "3",
    "tcp_user_timeout": "10000",
}
"""Parameters of libpq; those in the URL replace them."""
SESSION = {
    "jit": "off",  # compiling takes ten times as long as the queries of the trends
    "statement_timeout": "60s",
    "lock_timeout": "4s",  # as SQLite's busy_timeout
    "idle_in_transaction_session_timeout": "60s",
    "timezone": "UTC",
}
SERVER = ("server_version_num", "server_encoding", "synchronous_commit", "synchronous_standby_names")
CONFIGURE = "SELECT {}".format(
    ", ".join(
        [
            *(f"current_setting('{name}')" for name in SERVER),
            *(f"set_config('{name}', '{value}', false)" for name, value in SESSION.items()),
        ]
    )
)
"""One statement, so that a new connection needs one round trip."""
HEALTH = text(
    "SELECT pg_is_in_recovery() OR current_setting('transaction_read_only')::boolean,"
    " current_setting('synchronous_commit'), current_setting('synchronous_standby_names'),"
    # Without pg_monitor, the state of a standby is null.
    " (SELECT count(*) FROM pg_stat_replication WHERE coalesce(sync_state, 'sync') IN ('sync', 'quorum')),"
    " extract(epoch FROM clock_timestamp())::float8"
)
_NEEDED_STANDBYS = re.compile(r"\s*(?:(?:any|first)\s+)?(\d+)\s*\(", re.IGNORECASE)


class _Connection(psycopg.Connection[Any]):
    """A connection whose commits end: a server waits without limit for a synchronous standby that is gone."""

    _timeout_s: float | None = None

    def commit(self) -> None:
        """As `psycopg.Connection`; after `COMMIT_TIMEOUT_S` the connection is closed, and the outcome is unknown."""
        self._timeout_s = COMMIT_TIMEOUT_S
        try:
            super().commit()
        except psycopg.errors._WaitTimeout as err:
            self.close()
            raise psycopg.OperationalError(f"no answer to a commit within {COMMIT_TIMEOUT_S:g} s") from err
        finally:
            self._timeout_s = None

    def wait(self, gen: Any, interval: float = 0.1, timeout: float | None = None) -> Any:
        """As `psycopg.Connection`, with the limit of a commit."""
        return super().wait(gen, interval, self._timeout_s if timeout is None else timeout)


class _Text(StrDumperUnknown):
    """A text as PostgreSQL accepts it: with U+FFFD instead of NUL."""

    def dump(self, obj: str) -> Any:
        return super().dump(obj.replace("\x00", "\ufffd") if "\x00" in obj else obj)


def postgresql_engine(url: DatabaseUrl, connections: int, *, before_login: Callable[[], None] = lambda: None) -> Engine:
    """An engine with at most so many connections to `url`, made when they are used. Create it after a fork.

    A connection is checked before its use, so that a restart of the server costs no request.

    Args:
        before_login: called before each new connection; the engine refers to it.
    """
    pool: dict[str, Any] = {"max_overflow": 0, "pool_timeout": POOL_TIMEOUT_S, "pool_pre_ping": True}
    engine = create_engine("postgresql+psycopg://", use_native_hstore=False, pool_size=connections, **pool)

    def log_in(_dialect: object, _record: object, _arguments: object, parameters: dict[str, Any]) -> _Connection:
        before_login()
        return connect(url, **parameters)

    def configure(connection: psycopg.Connection[Any], _record: object) -> None:
        try:
            _configure(connection, url)
        except BaseException:
            connection.close()
            raise

    event.listen(engine, "do_connect", log_in)
    event.listen(engine, "connect", configure)
    event.listen(engine, "handle_error", _mark_lost)
    return engine


def connect(url: DatabaseUrl, **parameters: Any) -> _Connection:
    """A connection of its own, outside any pool.

    Args:
        parameters: of libpq, or `autocommit`; those of `PARAMETERS` and of the URL replace them.

    Raises:
        psycopg.Error: the server cannot be reached, or refuses.
        OSError: the password's file cannot be read.
    """
    return _Connection.connect(**parameters | PARAMETERS | url.arguments())


def check_keeps_commits(connection: Connection, url: DatabaseUrl) -> float:
    """Check that the server accepts writes and that a commit survives the loss of a machine, as far as it is asked to.

    Returns:
        How many seconds at least this machine's clock is ahead of the server's; negative: behind it.

    Raises:
        StorageUnavailable: it is a standby or read-only; `synchronous_commit` is off; or a commit would wait for a
            synchronous standby that is not connected.
        SQLAlchemyError: the server cannot be reached.
    """
    asked = time.time()
    is_read_only, commit, names, connected, clock = connection.execute(HEALTH).one()
    answered = time.time()
    if is_read_only:
        raise StorageUnavailable("database_read_only", database=url.shown, reason="pg_is_in_recovery")
    _check_durable(url, commit, names)
    if names.strip() and connected < needed_standbys(names):
        raise StorageUnavailable("database_standby_missing", database=url.shown, names=names)
    # Between the two the clocks may agree: a slow answer is no difference.
    return float(min(answered - clock, 0.0) + max(asked - clock, 0.0))


def needed_standbys(names: str) -> int:
    """The number of standbys that a commit waits for, by the setting `synchronous_standby_names`."""
    found = _NEEDED_STANDBYS.match(names)
    return 1 if found is None else int(found[1])


def _configure(connection: psycopg.Connection[Any], url: DatabaseUrl) -> None:
    connection.adapters.register_dumper(str, _Text)
    connection.autocommit = True  # a rollback would undo the settings
    row = connection.execute(CONFIGURE).fetchone()
    connection.autocommit = False
    assert row is not None
    version, encoding, commit, names = row[: len(SERVER)]
    if int(version) < MIN_VERSION * 10_000:
        found = f"{int(version) // 10_000}"
        raise StorageUnavailable("database_too_old", database=url.shown, found=found, needed=str(MIN_VERSION))
    if encoding != "UTF8":
        raise StorageUnavailable("database_encoding", database=url.shown, found=encoding)
    _check_durable(url, commit, names)


def _check_durable(url: DatabaseUrl, commit: str, names: str) -> None:
    # `local` does not wait for the standbys, which is right if there are none.
    if commit == "off" or (commit == "local" and names.strip()):
        raise StorageUnavailable("database_not_durable", database=url.shown, setting="synchronous_commit", value=commit)


def _mark_lost(context: ExceptionContext) -> None:
    """Also give up connections to a server that became a standby, or that is stopping."""
    state = state_of(context.original_exception) if isinstance(context.original_exception, Exception) else ""
    if state == READ_ONLY or state.startswith(CONNECTION_STATES):
        context.is_disconnect = True
