"""Maintenance of the database: sizes, compaction of old runs, vacuum."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from functools import partial
from typing import Any

from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    Engine,
    Select,
    Table,
    and_,
    case,
    delete,
    exists,
    func,
    or_,
    select,
    update,
)

from scheduler_service.clock import to_iso
from scheduler_service.command_line import Progress
from scheduler_service.lease import Lease
from scheduler_service.telemetry import queries
from scheduler_service.telemetry.database import database_of, upsert
from scheduler_service.telemetry.schema import (
    days,
    feedback,
    metadata,
    named_runs,
    pairs,
    replay_ranges,
    replay_runs,
    replays,
    runs,
)
from scheduler_service.telemetry.writer import Writer

LOCK_TIMEOUT_S = 10.0
BATCH_SIZE = 1_000
"""Runs per commit; other writers wait about 20 ms for it."""


class Upkeep:
    """Maintains one database; every method raises StorageUnavailable."""

    def __init__(self, engine: Engine, writer: Writer) -> None:
        self._engine = engine
        self._database = database_of(engine)
        self._writer = writer

    def stats(self) -> dict[str, Any]:
        """Rows by table, the times of the first and last run, and the sizes of the files or tables in bytes."""
        tables = [table for table in metadata.sorted_tables if table.name != "schema_version"]
        counts = {table.name: int(self._scalar(select(func.count()).select_from(table))) for table in tables}
        first, last = (self._scalar(select(end(runs.c.timestamp))) for end in (func.min, func.max))
        name, sizes = self._database.name, self._database.sizes()
        return {"path": name, "rows": counts, "first_run": first, "last_run": last, "bytes": sizes}

    def compact(
        self, before: datetime, *, keep_experiments: Sequence[str] = (), progress: Progress | None = None
    ) -> int:
        """Replace runs that ended before then by their sums per day and model in `days`; returns their number.

        Pairs and the selected requests of replays that are as old are deleted. What belongs to `keep_experiments` is
        kept for their results. Each commit moves or deletes some rows, so that others need not wait, and no run is lost
        or counted twice if the process is killed.

        Raises:
            LeaseLost: another process has taken over.
        """

        def kept(table: Table) -> ColumnElement[bool]:
            return table.c.experiment.is_(None) | table.c.experiment.not_in(list(keep_experiments))

        # Without the newest run, SQLite would use its id again.
        newest = select(func.max(runs.c.id)).scalar_subquery()
        old = and_(runs.c.timestamp < to_iso(before), kept(runs), runs.c.id < newest)
        with self._database.hold("compaction", LOCK_TIMEOUT_S) as lease:
            total = int(self._scalar(select(func.count()).select_from(runs).where(old)))
            done = 0
            for ids in self._batches(old):
                self._writer.write(partial(_move_to_days, lease=lease, ids=ids))
                done += len(ids)
                if progress is not None:
                    progress(done, total)
            self._delete(pairs.c.id, and_(pairs.c.timestamp < to_iso(before), kept(pairs)))
            old_replays = select(replays.c.id).where(replays.c.timestamp < to_iso(before), kept(replays))
            for (replay,) in queries.fetch(self._engine, old_replays):
                self._delete(replay_ranges.c.number, replay_ranges.c.replay == replay)
                self._delete(replay_runs.c.position, replay_runs.c.replay == replay)
        return done

    def _delete(self, key: Column[Any], old: ColumnElement[bool]) -> None:
        """Delete the rows that `old` matches, some in a commit; `key` tells them apart."""
        query = select(key).where(old).order_by(key).limit(BATCH_SIZE)
        while found := [row[0] for row in queries.fetch(self._engine, query)]:
            matched = and_(old, key.in_(found))
            self._writer.write(partial(_delete_rows, key.table, matched))

    def vacuum(self) -> int:
        """Return unused space to the system; returns the freed bytes. See `Database.vacuum`."""
        return self._database.vacuum(self._engine)

    def _scalar(self, query: Select[Any]) -> Any:
        return queries.fetch(self._engine, query)[0][0]

    def _batches(self, old: ColumnElement[bool]) -> Iterator[list[int]]:
        """The ids by time, in batches; each batch starts where the last one ended, so kept runs are read once."""
        query = select(runs.c.id, runs.c.timestamp).where(old).order_by(runs.c.timestamp, runs.c.id).limit(BATCH_SIZE)
        found = queries.fetch(self._engine, query)
        while found:
            yield [int(row.id) for row in found]
            last = found[-1]
            beyond = or_(
                runs.c.timestamp > last.timestamp, and_(runs.c.timestamp == last.timestamp, runs.c.id > last.id)
            )
            # SQLite uses the index only for the first condition.
            found = queries.fetch(self._engine, query.where(runs.c.timestamp >= last.timestamp, beyond))


def _delete_rows(table: Table, which: ColumnElement[bool], connection: Connection) -> None:
    connection.execute(delete(table).where(which))


def _move_to_days(connection: Connection, lease: Lease, ids: Sequence[int]) -> None:
    lease.confirm(connection)
    # The runs and their ratings must not change between the sums and the deletion. SQLite takes its write lock for an
    # update of no row; PostgreSQL locks the rows, so that another compaction waits and then finds them deleted.
    connection.execute(update(days).where(days.c.day == "").values(runs=days.c.runs))
    connection.execute(select(runs.c.id).where(runs.c.id.in_(ids)).order_by(runs.c.id).with_for_update())
    day, model = func.substr(runs.c.timestamp, 1, 10), func.coalesce(runs.c.model_key, "")

    def if_successful(value: Any, otherwise: float | None = None) -> Any:
        return case((runs.c.success, value), else_=otherwise)

    def total(value: Any) -> Any:
        return func.coalesce(func.sum(if_successful(value, 0.0)), 0.0)

    sums = {
        "runs": func.count(),
        "failures": func.sum(case((runs.c.success, 0), else_=1)),
        "makespan_sum": total(runs.c.makespan),
        "gap_sum": total(runs.c.gap),
        "gaps": func.count(if_successful(runs.c.gap)),
        "execution_time_sum": total(runs.c.execution_time),
        "policy_makespan_sum": total(runs.c.policy_makespan),
        "policy_makespans": func.count(if_successful(runs.c.policy_makespan)),
        "verdict_sum": func.coalesce(func.sum(feedback.c.user_satisfaction), 0),
        "verdicts": func.count(feedback.c.user_satisfaction),
    }
    longest = func.max(if_successful(func.coalesce(runs.c.execution_time, 0.0), 0.0))
    chosen = [day.label("day"), model.label("model_key"), longest.label("execution_time_max")]
    chosen += [figure.label(name) for name, figure in sums.items()]
    mine = runs.c.id.in_(ids)
    rated = runs.outerjoin(feedback, feedback.c.request_id == runs.c.request_id)
    for row in connection.execute(select(*chosen).select_from(rated).where(mine).group_by(day, model)).all():
        new = row._asdict()
        statement = upsert(connection, days).values(new)
        # A column that was added to the schema later is null in older rows.
        added = {name: func.coalesce(days.c[name], 0) + statement.excluded[name] for name in sums}
        former, longest_s = days.c.execution_time_max, statement.excluded.execution_time_max
        added["execution_time_max"] = case((former < longest_s, longest_s), else_=former)
        connection.execute(statement.on_conflict_do_update(index_elements=list(days.primary_key), set_=added))
    requests = select(runs.c.request_id).where(mine)
    for of_run in (feedback, named_runs):
        others = exists(select(runs.c.id).where(runs.c.request_id == of_run.c.request_id, runs.c.id.not_in(ids)))
        connection.execute(delete(of_run).where(of_run.c.request_id.in_(requests), ~others))
    connection.execute(delete(runs).where(mine))
