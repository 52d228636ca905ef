"""The tables of the records, and their migration; the same for every engine.

Times are ISO-8601 texts in UTC with microseconds, which sort by time; JSON is text. Texts are compared by their bytes.

A database of an older version is migrated when it is opened: missing tables, indexes and columns are added, nothing is
rewritten, and older programs continue to use it, so that replicas can be upgraded one after the other. Therefore a new
column must be nullable. A change that is not an addition needs a migration step before the version is updated, and a
new `OLDEST_PROGRAM`.
Versions: 1 runs and feedback; 2 pairs, replays and `runs.time_budget_ms`; 3 alerts, silences, the outbox, `days`, and
`runs.queue_time` and `runs.total_time`; 4 `policy_makespan` of runs and pairs, and its sums in `days`; 5 `runs.split`;
6 `runs.placements`; 7 `named_runs`; 8 `alerts.params`; 9 `replay_runs`; 10 `replay_ranges` instead of it,
`replays.sample_to` and `pairs_by_input`; 11 `plan_versions` and `plan_publications`.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import (
    BigInteger,
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
    TextClause,
    and_,
    exists,
    insert,
    inspect,
    literal,
    or_,
    select,
    text,
    update,
)
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.schema import CreateColumn, CreateIndex, CreateTable

from scheduler_service.errors import StorageUnavailable

SCHEMA_VERSION = 11
OLDEST_PROGRAM = 10
"""The lowest version whose programs may use a database of `SCHEMA_VERSION`."""

metadata = MetaData()

# SQLite stores whole numbers of 64 bits, compares the bytes of texts and ignores their declared length.
WHOLE = Integer().with_variant(BigInteger(), "postgresql")
LONG_TEXT = Text().with_variant(Text(collation="C"), "postgresql")


def _text(length: int | None = None) -> String:
    return String(length).with_variant(Text(collation="C"), "postgresql")


runs = Table(
    "runs",
    metadata,
    # Not the request id: a repeated request (a retry) is recorded again.
    Column("id", WHOLE, primary_key=True),
    Column("request_id", _text(), nullable=False),
    Column("timestamp", _text(32), nullable=False),
    Column("model_key", _text()),
    Column("algorithm", _text()),
    Column("experiment", _text()),
    Column("variant", _text()),
    Column("reason", _text()),
    Column("user_id", _text()),
    Column("makespan", Float),
    Column("execution_time", Float),
    Column("lower_bound", Float),
    Column("gap", Float),
    Column("resource_utilization", Float),
    Column("team_utilization", LONG_TEXT),
    Column("n_workpoints", WHOLE),
    Column("n_steps", WHOLE),
    Column("stage", _text()),
    Column("input_params", LONG_TEXT),
    Column("success", Boolean, nullable=False),
    Column("error_message", LONG_TEXT),
    Column("time_budget_ms", Float),
    Column("queue_time", Float),
    Column("total_time", Float),
    Column("policy_makespan", Float),  # also null in runs recorded before version 4
    Column("split", LONG_TEXT),  # also null in runs recorded before version 5
    Column("placements", LargeBinary),  # also null in runs recorded before version 6
    Index("runs_by_request", "request_id"),
    Index("runs_by_time", "timestamp"),
    Index("runs_by_model", "model_key", "timestamp"),
    Index("runs_by_experiment", "experiment", "timestamp"),
)

feedback = Table(
    "feedback",
    metadata,
    Column("request_id", _text(), primary_key=True),  # the last rating counts
    Column("user_satisfaction", Integer, nullable=False),  # 1 to 5
    Column("comment", LONG_TEXT),
    Column("timestamp", _text(32), nullable=False),
)

named_runs = Table(  # names and owners of runs, see `naming`
    "named_runs",
    metadata,
    Column("request_id", _text(), primary_key=True),
    Column("name", _text()),
    Column("owner", _text()),
    Column("search_key", _text(), nullable=False),  # both, case-folded and in normal form KC
    Column("timestamp", _text(32), nullable=False),
)


pairs = Table(  # two models on the identical instance, for one request
    "pairs",
    metadata,
    Column("id", WHOLE, primary_key=True),
    Column("timestamp", _text(32), nullable=False),
    Column("request_id", _text(), nullable=False),
    Column("experiment", _text()),
    Column("source", _text(16), nullable=False),  # "shadow" or "replay"
    Column("replay", _text()),  # its id; null for a shadow run
    Column("user_id", _text()),
    Column("candidate", _text(), nullable=False),  # the arm
    Column("key_a", _text()),
    Column("key_b", _text()),
    Column("makespan_a", Float),
    Column("makespan_b", Float),
    Column("success_a", Boolean, nullable=False),
    Column("success_b", Boolean, nullable=False),
    Column("execution_time_a", Float),
    Column("execution_time_b", Float),
    Column("error_a", LONG_TEXT),
    Column("error_b", LONG_TEXT),
    Column("lower_bound", Float),
    Column("n_workpoints", WHOLE),
    Column("n_steps", WHOLE),
    Column("time_budget_ms", Float),
    Column("input_digest", _text(64)),
    Column("policy_makespan_a", Float),  # also null in pairs recorded before version 4
    Column("policy_makespan_b", Float),
    # A resumed replay stores no request twice. Nulls are distinct, so shadow runs are not restricted.
    Index("pairs_once", "replay", "request_id", "candidate", unique=True),
    Index("pairs_by_input", "replay", "input_digest"),
    Index("pairs_by_experiment", "experiment", "timestamp"),
)

replays = Table(  # the selection of a replay, so that it continues with the same requests
    "replays",
    metadata,
    Column("id", _text(64), primary_key=True),
    Column("definition", _text(64), nullable=False),  # digest of models, arm and options
    Column("timestamp", _text(32), nullable=False),
    Column("experiment", _text()),
    Column("candidate", _text(), nullable=False),
    Column("key_a", _text(), nullable=False),
    Column("key_b", _text(), nullable=False),
    Column("since", _text(32), nullable=False),
    Column("last_run", WHOLE, nullable=False),  # id of the newest run that is included
    Column("total", WHOLE, nullable=False),  # number of selected requests
    Column("options", LONG_TEXT, nullable=False),  # JSON
    # Greatest `selection.sampling_number` of a run in the random sample; null: no sample, or before version 10.
    Column("sample_to", WHOLE),
    Index("replays_by_definition", "definition", "timestamp"),
    Index("replays_by_experiment", "experiment", "timestamp"),
)

replay_ranges = Table(  # the ranges of run ids of a replay, in the order of execution; see `selection`
    "replay_ranges",
    metadata,
    Column("replay", _text(64), primary_key=True),
    Column("number", WHOLE, primary_key=True, autoincrement=False),  # from 0
    Column("first", WHOLE, nullable=False),  # id of the oldest and of the newest selected run
    Column("last", WHOLE, nullable=False),
    Column("requests", WHOLE, nullable=False),  # number of selected requests
    Column("checksum", WHOLE, nullable=False),  # of the ids of their runs
    Column("skipped", WHOLE),  # requests without a pair, because their input is invalid; null: the range is not done
)

replay_runs = Table(  # lists of the selected requests of replays, which version 9 wrote; only to be deleted
    "replay_runs",
    metadata,
    Column("replay", _text(64), primary_key=True),
    Column("position", WHOLE, primary_key=True, autoincrement=False),  # from 0
    Column("run", WHOLE, nullable=False),  # id of the request's last run
)

days = Table(  # daily sums of compacted runs; all but `runs`, `failures` and ratings are of successful runs
    "days",
    metadata,
    Column("day", _text(10), primary_key=True),  # UTC
    Column("model_key", _text(), primary_key=True),  # "" for runs without a model
    Column("runs", WHOLE, nullable=False),
    Column("failures", WHOLE, nullable=False),
    Column("makespan_sum", Float, nullable=False),  # hours
    Column("gap_sum", Float, nullable=False),
    Column("gaps", WHOLE, nullable=False),  # runs with a gap
    Column("execution_time_sum", Float, nullable=False),  # seconds
    Column("execution_time_max", Float, nullable=False),
    Column("verdict_sum", WHOLE, nullable=False),  # of users' ratings, 1 to 5
    Column("verdicts", WHOLE, nullable=False),
    Column("policy_makespan_sum", Float),  # hours; null in days compacted before version 4
    Column("policy_makespans", WHOLE),  # runs with a policy_makespan
)

alerts = Table(  # one row per episode, from the first reading beyond the threshold to the end
    "alerts",
    metadata,
    Column("id", WHOLE, primary_key=True),
    Column("name", _text(64), nullable=False),  # of the rule
    Column("subject", _text(), nullable=False),  # a model, an experiment, a size; "" for rules without subjects
    Column("severity", _text(16), nullable=False),
    Column("state", _text(16), nullable=False),  # "pending", "firing" or "resolved"
    Column("began", _text(32), nullable=False),
    Column("last_beyond", _text(32), nullable=False),  # last reading beyond the threshold
    Column("fired", _text(32)),
    Column("ended", _text(32)),
    Column("value", Float),
    Column("threshold", Float),
    Column("message", LONG_TEXT, nullable=False),
    Column("advice", LONG_TEXT, nullable=False),
    Column("params", LONG_TEXT),  # JSON: parameters of the texts; also null in alerts from before version 8
    Column("notified", _text(32)),  # time of the last notice
    Column("notices", WHOLE, nullable=False),
    Column("acknowledged", _text(32)),
    Column("acknowledged_by", _text()),
    Column("note", LONG_TEXT),
    Index("alerts_by_state", "state"),
    Index("alerts_by_rule", "name", "subject", "began"),
    Index("alerts_by_time", "began"),
    sqlite_autoincrement=True,  # an id is never used again
)

silences = Table(
    "silences",
    metadata,
    Column("id", WHOLE, primary_key=True),
    Column("name", _text(64)),  # of the rule; null: every rule
    Column("subject", _text()),  # null: every subject
    Column("began", _text(32), nullable=False),
    Column("until", _text(32), nullable=False),
    Column("actor", _text(), nullable=False),
    Column("reason", LONG_TEXT, nullable=False),
    sqlite_autoincrement=True,
)

outbox = Table(  # notices to deliver
    "outbox",
    metadata,
    Column("id", WHOLE, primary_key=True),
    Column("written", _text(32), nullable=False),
    Column("channel", _text(), nullable=False),
    Column("digest", _text(64), nullable=False),  # of the content, to recognise repetitions
    Column("notice", LONG_TEXT, nullable=False),  # JSON
    Column("attempts", WHOLE, nullable=False),
    Column("due", _text(32)),  # time of the next attempt; null: delivered or given up
    Column("delivered", _text(32)),
    Column("error", LONG_TEXT),  # of the last attempt
    Index("outbox_due", "due"),
    Index("outbox_by_time", "written"),
)

plan_versions = Table(  # each is written once and never changed; see `scheduler_service.plans`
    "plan_versions",
    metadata,
    Column("plan", _text(), primary_key=True),
    Column("number", WHOLE, primary_key=True, autoincrement=False),  # from 1
    Column("timestamp", _text(32), nullable=False),
    Column("kind", _text(16), nullable=False),
    Column("author", _text(), nullable=False),
    Column("reason", LONG_TEXT, nullable=False),
    Column("based_on", WHOLE),  # number of the version that it was made from
    Column("published", WHOLE),  # number of the version that people held at that time
    Column("digest", _text(64), nullable=False),  # of the change, to recognise a repeated one
    Column("request", LONG_TEXT, nullable=False),  # JSON
    Column("placements", LargeBinary, nullable=False),
    Column("edits", LONG_TEXT, nullable=False),  # JSON
    Column("makespan", Float, nullable=False),
    Column("lower_bound", Float, nullable=False),
    Column("n_steps", WHOLE, nullable=False),
    Column("model_key", _text()),
    Column("request_id", _text()),  # of the run that built it
    Index("plan_versions_by_time", "timestamp"),
)

plan_publications = Table(  # which version people held from when on; the last one of a plan counts
    "plan_publications",
    metadata,
    Column("id", WHOLE, primary_key=True),
    Column("plan", _text(), nullable=False),
    Column("version", WHOLE, nullable=False),
    Column("timestamp", _text(32), nullable=False),
    Column("author", _text(), nullable=False),
    Column("reason", LONG_TEXT, nullable=False),
    Index("plan_publications_by_plan", "plan", "id"),
)

schema_version = Table(
    "schema_version",
    metadata,
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("oldest_program", Integer),  # null: only programs of this version
)


def prepare(engine: Engine, name: str) -> None:
    """Create the tables of the database `name`, or migrate those of an older version, in several transactions.

    Raises:
        SQLAlchemyError: it cannot be written, or is not a database.
        StorageUnavailable: it has a newer version that this program may not use.
    """
    with engine.begin() as connection:
        connection.execute(CreateTable(schema_version, if_not_exists=True))
        _check_marked(connection, name)
    _add_missing_columns(engine, schema_version)
    with engine.begin() as connection:
        _create_tables(connection, metadata.sorted_tables, name)
    for table in metadata.sorted_tables:
        _add_missing_columns(engine, table)
    with engine.begin() as connection:
        _create_indexes(connection, metadata.sorted_tables)


def prepare_at_once(connection: Connection, name: str, more: Sequence[Table] = ()) -> None:
    """As `prepare`, in the transaction of the connection, with the tables `more`; changes nothing if all is there.

    A user who may not create tables can so use those that somebody else has created.
    """
    present = set(inspect(connection).get_table_names())
    if schema_version.name not in present:
        connection.execute(CreateTable(schema_version))
    _check_marked(connection, name)
    for column in _missing_columns(connection, schema_version):
        connection.execute(_added(connection, column))
    is_current = _check_version(connection, name) >= SCHEMA_VERSION
    if is_current and present.issuperset(table.name for table in more):
        return
    tables = [*metadata.sorted_tables, *more]
    _create_tables(connection, tables, name)
    for table in (table for table in metadata.sorted_tables if table.name in present):
        for column in _missing_columns(connection, table):
            connection.execute(_added(connection, column))
    _create_indexes(connection, tables)


def _create_tables(connection: Connection, tables: Iterable[Table], name: str) -> None:
    _check_version(connection, name)
    for table in tables:
        connection.execute(CreateTable(table, if_not_exists=True))


def _create_indexes(connection: Connection, tables: Iterable[Table]) -> None:
    for table in tables:
        for index in sorted(table.indexes, key=lambda index: str(index.name)):
            connection.execute(CreateIndex(index, if_not_exists=True))
    version, oldest = schema_version.c.version, schema_version.c.oldest_program
    is_older = or_(version < SCHEMA_VERSION, and_(version == SCHEMA_VERSION, oldest.is_(None)))
    new = {"version": SCHEMA_VERSION, "oldest_program": OLDEST_PROGRAM}
    connection.execute(update(schema_version).where(is_older).values(new))


def _check_version(connection: Connection, name: str) -> int:
    """The version of the database, which is written if there is none."""
    # One statement: if several processes start at the same time, only one of them writes the version.
    new = select(literal(SCHEMA_VERSION, Integer), literal(OLDEST_PROGRAM, Integer))
    first = new.where(~exists(select(schema_version.c.version)))
    connection.execute(insert(schema_version).from_select(["version", "oldest_program"], first))
    found, oldest = connection.execute(select(schema_version.c.version, schema_version.c.oldest_program)).one()
    if found > SCHEMA_VERSION and (oldest is None or oldest > SCHEMA_VERSION):
        raise StorageUnavailable("schema_version", path=name, found=found, known=SCHEMA_VERSION)
    return int(found)


def _check_marked(connection: Connection, name: str) -> None:
    """Refuse a newer version that does not say which programs may use it."""
    if schema_version.c.oldest_program in _missing_columns(connection, schema_version):
        check_complete(connection, name)


def check_complete(connection: Connection, name: str) -> None:
    """Check that this program knows all columns of the database.

    Raises:
        StorageUnavailable: it has a newer version.
    """
    found = connection.execute(select(schema_version.c.version)).scalar()
    if found is not None and found > SCHEMA_VERSION:
        raise StorageUnavailable("schema_version", path=name, found=found, known=SCHEMA_VERSION)


def _add_missing_columns(engine: Engine, table: Table) -> None:
    """Each in its own transaction: another process that starts at the same time may add a column first."""
    for column in _missing_columns(engine, table):
        try:
            with engine.begin() as connection:
                connection.execute(_added(connection, column))
        except SQLAlchemyError:
            if column in _missing_columns(engine, table):
                raise


def _missing_columns(database: Engine | Connection, table: Table) -> list[Column[Any]]:
    present = {str(column["name"]) for column in inspect(database).get_columns(table.name)}
    return [column for column in table.columns if column.name not in present]


def _added(connection: Connection, column: Column[Any]) -> TextClause:
    definition = CreateColumn(column).compile(dialect=connection.dialect)
    return text(f"ALTER TABLE {column.table.name} ADD COLUMN {definition}")
