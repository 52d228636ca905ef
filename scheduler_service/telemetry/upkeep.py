"""The database over the years: what it holds, what is compacted, and how its file is kept small."""

import shutil
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Engine,
    Table,
    and_,
    case,
    delete,
    exists,
    func,
    insert,
    or_,
    select,
    text,
    update,
)

from scheduler_service.clock import to_iso
from scheduler_service.errors import StorageUnavailable
from scheduler_service.files import locked
from scheduler_service.telemetry import queries
from scheduler_service.telemetry.database import beside, path_of, storage_errors
from scheduler_service.telemetry.layout import LAYOUT_SUFFIX, keep_layout
from scheduler_service.telemetry.schema import days, feedback, metadata, named_runs, pairs, runs
from scheduler_service.telemetry.writer import Writer

COPIES = 2.1
"""VACUUM writes a copy, and with a write-ahead log the copy back."""
LOCK_TIMEOUT_S = 10.0
AT_A_TIME = 1_000
"""Runs in one commit: others that write wait for it, some 20 ms."""

Progress = Callable[[int, int], None]
"""Told how many are done, of how many."""


class Upkeep:
    """Looks after one database; every method raises StorageUnavailable."""

    def __init__(self, engine: Engine, writer: Writer) -> None:
        self._engine = engine
        self._writer = writer

    def stats(self) -> dict[str, Any]:
        """Rows by table, the runs' period, and the sizes of the files in bytes."""
        counts = {
            table.name: int(queries.fetch(self._engine, select(func.count()).select_from(table))[0][0])
            for table in metadata.sorted_tables
            if table.name != "schema_version"
        }
        ends = {"first_run": func.min(runs.c.timestamp), "last_run": func.max(runs.c.timestamp)}
        period = {name: queries.fetch(self._engine, select(end))[0][0] for name, end in ends.items()}
        path = self._path
        sizes = {file.name: file.stat().st_size for file in sorted(path.parent.glob(f"{path.name}*")) if file.is_file()}
        return {"path": str(path), "rows": counts, **period, "bytes": sizes}

    def compact(
        self, before: datetime, *, keep_experiments: Sequence[str] = (), progress: Progress | None = None
    ) -> int:
        """How many runs ended before then and are gone now: their sums by day and model are in `days`.

        Runs and pairs of `keep_experiments` stay, since their experiments are still to be judged. Each commit moves
        some runs, so that a kill at any moment loses and doubles none.
        """

        def kept(table: Table) -> ColumnElement[bool]:
            return table.c.experiment.is_(None) | table.c.experiment.not_in(list(keep_experiments))

        # The newest run stays, or SQLite would give its id to another one.
        newest = select(func.max(runs.c.id)).scalar_subquery()
        old = and_(runs.c.timestamp < to_iso(before), kept(runs), runs.c.id < newest)
        with locked(self._path.with_name("compaction"), LOCK_TIMEOUT_S):
            total = int(queries.fetch(self._engine, select(func.count()).select_from(runs).where(old))[0][0])
            done = 0
            for ids in self._batches(old):
                self._writer.write(partial(_move_to_days, ids=ids))
                done += len(ids)
                if progress is not None:
                    progress(done, total)
            old_pairs = and_(pairs.c.timestamp < to_iso(before), kept(pairs))
            self._writer.write(lambda connection: connection.execute(delete(pairs).where(old_pairs)))
        return done

    def vacuum(self) -> int:
        """How many bytes the file has become smaller; others that write wait meanwhile, seconds for a large one.

        Raises:
            StorageUnavailable: there is no room for the copies that SQLite makes.
        """
        with storage_errors(self._path):
            before, free = self._path.stat().st_size, shutil.disk_usage(self._path.parent).free
        if free < COPIES * before:
            raise StorageUnavailable(
                "no_room_to_rewrite", path=str(self._path), size=before, needed=COPIES * before, free=free
            )
        with storage_errors(self._path), self._engine.connect() as connection:
            automatic = connection.execution_options(isolation_level="AUTOCOMMIT")
            automatic.execute(text("VACUUM"))
            automatic.execute(text("PRAGMA optimize"))
            automatic.execute(text("PRAGMA wal_checkpoint(TRUNCATE)"))
        with storage_errors(self._path):
            keep_layout(self._engine, beside(self._path, LAYOUT_SUFFIX))
        return before - self._path.stat().st_size

    @property
    def _path(self) -> Path:
        return path_of(self._engine)

    def _batches(self, old: ColumnElement[bool]) -> Iterator[list[int]]:
        """The runs' ids by time, each once: what is kept is not looked at again for every batch."""
        query = select(runs.c.id, runs.c.timestamp).where(old).order_by(runs.c.timestamp, runs.c.id).limit(AT_A_TIME)
        found = queries.fetch(self._engine, query)
        while found:
            yield [int(row.id) for row in found]
            last = found[-1]
            beyond = or_(
                runs.c.timestamp > last.timestamp, and_(runs.c.timestamp == last.timestamp, runs.c.id > last.id)
            )
            # The first condition alone lets the index begin there.
            found = queries.fetch(self._engine, query.where(runs.c.timestamp >= last.timestamp, beyond))


def _move_to_days(connection: Connection, ids: Sequence[int]) -> None:
    # Changes nothing, but takes the database's write lock: nobody moves a run between its sum and its end.
    connection.execute(update(days).where(days.c.day == "").values(runs=days.c.runs))
    day, model = func.substr(runs.c.timestamp, 1, 10), func.coalesce(runs.c.model_key, "")
    good = runs.c.success

    def total(value: Any) -> Any:
        return func.coalesce(func.sum(case((good, value), else_=0.0)), 0.0)

    sums = {
        "runs": func.count(),
        "failures": func.sum(case((good, 0), else_=1)),
        "makespan_sum": total(runs.c.makespan),
        "gap_sum": total(runs.c.gap),
        "gaps": func.sum(case((and_(good, runs.c.gap.is_not(None)), 1), else_=0)),
        "execution_time_sum": total(runs.c.execution_time),
        "policy_makespan_sum": total(runs.c.policy_makespan),
        "policy_makespans": func.sum(case((and_(good, runs.c.policy_makespan.is_not(None)), 1), else_=0)),
        "verdict_sum": func.coalesce(func.sum(feedback.c.user_satisfaction), 0),
        "verdicts": func.count(feedback.c.user_satisfaction),
    }
    longest = func.max(case((good, func.coalesce(runs.c.execution_time, 0.0)), else_=0.0))
    chosen = [day.label("day"), model.label("model_key"), longest.label("execution_time_max")]
    chosen += [figure.label(name) for name, figure in sums.items()]
    mine = runs.c.id.in_(ids)
    judged = runs.outerjoin(feedback, feedback.c.request_id == runs.c.request_id)
    for row in connection.execute(select(*chosen).select_from(judged).where(mine).group_by(day, model)).all():
        new = row._asdict()
        known = and_(days.c.day == new["day"], days.c.model_key == new["model_key"])
        # A column that was added later is null in the sums from before.
        added: dict[str, Any] = {name: func.coalesce(days.c[name], 0) + new[name] for name in sums}
        added["execution_time_max"] = case(
            (days.c.execution_time_max < new["execution_time_max"], new["execution_time_max"]),
            else_=days.c.execution_time_max,
        )
        if connection.execute(update(days).where(known).values(added)).rowcount == 0:
            connection.execute(insert(days), new)
    requests = select(runs.c.request_id).where(mine)
    for of_run in (feedback, named_runs):
        others = exists(select(runs.c.id).where(runs.c.request_id == of_run.c.request_id, runs.c.id.not_in(ids)))
        connection.execute(delete(of_run).where(of_run.c.request_id.in_(requests), ~others))
    connection.execute(delete(runs).where(mine))
