"""The tables of the records, and their migration.

The SQL is portable; settings of SQLite (WAL, synchronous=FULL, busy_timeout) are made when a connection opens. Times
are ISO-8601 texts in UTC with microseconds, which sort by time; JSON is text.

A database of an older version is migrated when it is opened: missing tables, indexes and columns are added, nothing is
rewritten, and older programs that have it open continue to write. Therefore a new column must be nullable. A change
that is not an addition needs a migration step before the version is updated.
Versions: 1 runs and feedback; 2 pairs, replays and `runs.time_budget_ms`; 3 alerts, silences, the outbox, `days`, and
`runs.queue_time` and `runs.total_time`; 4 `policy_makespan` of runs and pairs, and its sums in `days`; 5 `runs.split`;
6 `runs.placements`; 7 `named_runs`; 8 `alerts.params`.
"""

import sqlite3
import time
from pathlib import Path

from sqlalchemy import (
    Boolean,
    Column,
    Connection,
    Engine,
    Float,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    exists,
    insert,
    inspect,
    literal,
    select,
    text,
    update,
)
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.schema import CreateColumn, CreateIndex, CreateTable

from scheduler_service.errors import StorageUnavailable

SCHEMA_VERSION = 8
BUSY_TIMEOUT_S = 4.0
"""A connection waits this long for a lock of the database, and clients wait with it."""

metadata = MetaData()

runs = Table(
    "runs",
    metadata,
    # Not the request id: a repeated request (a retry) is recorded again.
    Column("id", Integer, primary_key=True),
    Column("request_id", String, nullable=False),
    Column("timestamp", String(32), nullable=False),
    Column("model_key", String),
    Column("algorithm", String),
    Column("experiment", String),
    Column("variant", String),
    Column("reason", String),
    Column("user_id", String),
    Column("makespan", Float),
    Column("execution_time", Float),
    Column("lower_bound", Float),
    Column("gap", Float),
    Column("resource_utilization", Float),
    Column("team_utilization", Text),
    Column("n_workpoints", Integer),
    Column("n_steps", Integer),
    Column("stage", String),
    Column("input_params", Text),
    Column("success", Boolean, nullable=False),
    Column("error_message", Text),
    Column("time_budget_ms", Float),
    Column("queue_time", Float),
    Column("total_time", Float),
    Column("policy_makespan", Float),  # also null in runs recorded before version 4
    Column("split", Text),  # also null in runs recorded before version 5
    Column("placements", LargeBinary),  # also null in runs recorded before version 6
    Index("runs_by_request", "request_id"),
    Index("runs_by_time", "timestamp"),
    Index("runs_by_model", "model_key", "timestamp"),
    Index("runs_by_experiment", "experiment", "timestamp"),
)

feedback = Table(
    "feedback",
    metadata,
    Column("request_id", String, primary_key=True),  # the last rating counts
    Column("user_satisfaction", Integer, nullable=False),
    Column("comment", Text),
    Column("timestamp", String(32), nullable=False),
)

named_runs = Table(  # names and owners of runs, see `naming`
    "named_runs",
    metadata,
    Column("request_id", String, primary_key=True),
    Column("name", String),
    Column("owner", String),
    Column("search_key", String, nullable=False),  # both, case-folded and in normal form KC
    Column("timestamp", String(32), nullable=False),
)

pairs = Table(  # two models on the identical instance, for one request
    "pairs",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("timestamp", String(32), nullable=False),
    Column("request_id", String, nullable=False),
    Column("experiment", String),
    Column("source", String(16), nullable=False),  # "shadow" or "replay"
    Column("replay", String),  # its id; null for a shadow run
    Column("user_id", String),
    Column("candidate", String, nullable=False),  # the arm
    Column("key_a", String),
    Column("key_b", String),
    Column("makespan_a", Float),
    Column("makespan_b", Float),
    Column("success_a", Boolean, nullable=False),
    Column("success_b", Boolean, nullable=False),
    Column("execution_time_a", Float),
    Column("execution_time_b", Float),
    Column("error_a", Text),
    Column("error_b", Text),
    Column("lower_bound", Float),
    Column("n_workpoints", Integer),
    Column("n_steps", Integer),
    Column("time_budget_ms", Float),
    Column("input_digest", String(64)),
    Column("policy_makespan_a", Float),  # also null in pairs recorded before version 4
    Column("policy_makespan_b", Float),
    # A resumed replay stores no request twice. Nulls are distinct, so shadow runs are not restricted.
    Index("pairs_once", "replay", "request_id", "candidate", unique=True),
    Index("pairs_by_experiment", "experiment", "timestamp"),
)

replays = Table(  # the selection of a replay, so that it continues with the same requests
    "replays",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("definition", String(64), nullable=False),  # digest of models, arm and options
    Column("timestamp", String(32), nullable=False),
    Column("experiment", String),
    Column("candidate", String, nullable=False),
    Column("key_a", String, nullable=False),
    Column("key_b", String, nullable=False),
    Column("since", String(32), nullable=False),
    Column("last_run", Integer, nullable=False),  # id of the newest run that is included
    Column("total", Integer, nullable=False),  # number of selected requests
    Column("options", Text, nullable=False),  # JSON
    Index("replays_by_definition", "definition", "timestamp"),
    Index("replays_by_experiment", "experiment", "timestamp"),
)

days = Table(  # daily sums of compacted runs; all but `runs`, `failures` and ratings are of successful runs
    "days",
    metadata,
    Column("day", String(10), primary_key=True),  # UTC
    Column("model_key", String, primary_key=True),  # "" for runs without a model
    Column("runs", Integer, nullable=False),
    Column("failures", Integer, nullable=False),
    Column("makespan_sum", Float, nullable=False),  # hours
    Column("gap_sum", Float, nullable=False),
    Column("gaps", Integer, nullable=False),  # runs with a gap
    Column("execution_time_sum", Float, nullable=False),  # seconds
    Column("execution_time_max", Float, nullable=False),
    Column("verdict_sum", Integer, nullable=False),  # of users' ratings, 1 to 5
    Column("verdicts", Integer, nullable=False),
    Column("policy_makespan_sum", Float),  # hours; null in days compacted before version 4
    Column("policy_makespans", Integer),  # runs with a policy_makespan
)

alerts = Table(  # one row per episode, from the first reading beyond the threshold to the end
    "alerts",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", String(64), nullable=False),  # of the rule
    Column("subject", String, nullable=False),  # a model, an experiment, a size; "" for rules without subjects
    Column("severity", String(16), nullable=False),
    Column("state", String(16), nullable=False),  # "pending", "firing" or "resolved"
    Column("began", String(32), nullable=False),
    Column("last_beyond", String(32), nullable=False),  # last reading beyond the threshold
    Column("fired", String(32)),
    Column("ended", String(32)),
    Column("value", Float),
    Column("threshold", Float),
    Column("message", Text, nullable=False),
    Column("advice", Text, nullable=False),
    Column("params", Text),  # JSON: parameters of the texts; also null in alerts from before version 8
    Column("notified", String(32)),  # time of the last notice
    Column("notices", Integer, nullable=False),
    Column("acknowledged", String(32)),
    Column("acknowledged_by", String),
    Column("note", Text),
    Index("alerts_by_state", "state"),
    Index("alerts_by_rule", "name", "subject", "began"),
    Index("alerts_by_time", "began"),
    sqlite_autoincrement=True,  # an id is never used again
)

silences = Table(
    "silences",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", String(64)),  # of the rule; null: every rule
    Column("subject", String),  # null: every subject
    Column("began", String(32), nullable=False),
    Column("until", String(32), nullable=False),
    Column("actor", String, nullable=False),
    Column("reason", Text, nullable=False),
    sqlite_autoincrement=True,
)

outbox = Table(  # notices to deliver
    "outbox",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("written", String(32), nullable=False),
    Column("channel", String, nullable=False),
    Column("digest", String(64), nullable=False),  # of the content, to recognise repetitions
    Column("notice", Text, nullable=False),  # JSON
    Column("attempts", Integer, nullable=False),
    Column("due", String(32)),  # time of the next attempt; null: delivered or given up
    Column("delivered", String(32)),
    Column("error", Text),  # of the last attempt
    Index("outbox_due", "due"),
    Index("outbox_by_time", "written"),
)

schema_version = Table("schema_version", metadata, Column("version", Integer, primary_key=True, autoincrement=False))


def prepare(engine: Engine, path: Path) -> None:
    """Create the tables of the database at `path`, or migrate those of an older version.

    Raises:
        SQLAlchemyError: it cannot be written, or is not a database.
        StorageUnavailable: it has a newer version.
    """
    with engine.begin() as connection:
        connection.execute(CreateTable(schema_version, if_not_exists=True))
        _check_version(connection, path)
        for table in metadata.sorted_tables:
            connection.execute(CreateTable(table, if_not_exists=True))
    for table in metadata.sorted_tables:
        _add_missing_columns(engine, table)
    with engine.begin() as connection:
        for table in metadata.sorted_tables:
            for index in sorted(table.indexes, key=lambda index: str(index.name)):
                connection.execute(CreateIndex(index, if_not_exists=True))
        older = schema_version.c.version < SCHEMA_VERSION
        connection.execute(update(schema_version).where(older).values(version=SCHEMA_VERSION))


def _check_version(connection: Connection, path: Path) -> None:
    # One statement: if several processes start at the same time, only one of them writes the version.
    first = select(literal(SCHEMA_VERSION, Integer)).where(~exists(select(schema_version.c.version)))
    connection.execute(insert(schema_version).from_select(["version"], first))
    found = connection.execute(select(schema_version.c.version)).scalar_one()
    if found > SCHEMA_VERSION:
        raise StorageUnavailable("schema_version", path=str(path), found=found, known=SCHEMA_VERSION)


def _add_missing_columns(engine: Engine, table: Table) -> None:
    """Each in its own transaction: another process that starts at the same time may add a column first."""
    present = _columns(engine, table)
    for column in table.columns:
        if column.name in present:
            continue
        definition = CreateColumn(column).compile(dialect=engine.dialect)
        try:
            with engine.begin() as connection:
                connection.execute(text(f"ALTER TABLE {table.name} ADD COLUMN {definition}"))
        except SQLAlchemyError:
            if column.name not in _columns(engine, table):
                raise


def _columns(engine: Engine, table: Table) -> set[str]:
    return {str(column["name"]) for column in inspect(engine).get_columns(table.name)}


def configure(connection: sqlite3.Connection, _: object) -> None:
    """Make the settings of SQLite for a new connection."""
    connection.execute(f"PRAGMA busy_timeout = {int(BUSY_TIMEOUT_S * 1000)}")
    _set_wal(connection)
    # FULL: a commit survives a power failure; NORMAL: only a crash of the process.
    connection.execute("PRAGMA synchronous = FULL")


def _set_wal(connection: sqlite3.Connection) -> None:
    """Use a write-ahead log: readers and the writer do not block each other. The file keeps the setting.

    The change needs an exclusive lock, for which SQLite does not wait as it does for other locks.
    """
    until = time.monotonic() + BUSY_TIMEOUT_S
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as err:
            if "locked" not in str(err) or time.monotonic() > until:
                raise
            time.sleep(0.01)
