"""The database over the years: what it holds, what is compacted, and how its file is kept small."""

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, Select, and_, case, delete, exists, func, insert, select, text, update

from scheduler_service.clock import to_iso
from scheduler_service.telemetry import queries
from scheduler_service.telemetry.schema import days, feedback, metadata, pairs, runs, storage_errors
from scheduler_service.telemetry.writer import Writer

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
        old = and_(
            runs.c.timestamp < to_iso(before),
            runs.c.experiment.is_(None) | runs.c.experiment.not_in(list(keep_experiments)),
        )
        total = int(queries.fetch(self._engine, select(func.count()).select_from(runs).where(old))[0][0])
        done = 0
        for batch in self._batches(select(runs.c.id).where(old).limit(AT_A_TIME)):
            self._writer.write(lambda connection, ids=batch: _move_to_days(connection, ids))  # type: ignore[misc]
            done += len(batch)
            if progress is not None:
                progress(done, total)
        old_pairs = and_(
            pairs.c.timestamp < to_iso(before),
            pairs.c.experiment.is_(None) | pairs.c.experiment.not_in(list(keep_experiments)),
        )
        self._writer.write(lambda connection: connection.execute(delete(pairs).where(old_pairs)))
        return done

    def vacuum(self) -> int:
        """How many bytes the file has become smaller; others that write wait meanwhile, seconds for a large one."""
        before = self._path.stat().st_size
        with storage_errors(self._path), self._engine.connect() as connection:
            automatic = connection.execution_options(isolation_level="AUTOCOMMIT")
            automatic.execute(text("VACUUM"))
            automatic.execute(text("PRAGMA optimize"))
            automatic.execute(text("PRAGMA wal_checkpoint(TRUNCATE)"))
        return before - self._path.stat().st_size

    @property
    def _path(self) -> Path:
        return Path(str(self._engine.url.database))

    def _batches(self, query: Select[Any]) -> Iterator[list[int]]:
        """What the query finds, again and again, until it finds nothing."""
        while ids := [int(row[0]) for row in queries.fetch(self._engine, query)]:
            yield ids


def _move_to_days(connection: Connection, ids: Sequence[int]) -> None:
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
    }
    longest = func.max(case((good, func.coalesce(runs.c.execution_time, 0.0)), else_=0.0))
    chosen = [day.label("day"), model.label("model_key"), longest.label("execution_time_max")]
    chosen += [figure.label(name) for name, figure in sums.items()]
    mine = runs.c.id.in_(ids)
    for row in connection.execute(select(*chosen).where(mine).group_by(day, model)).all():
        new = row._asdict()
        known = and_(days.c.day == new["day"], days.c.model_key == new["model_key"])
        added: dict[str, Any] = {name: days.c[name] + new[name] for name in sums}
        added["execution_time_max"] = case(
            (days.c.execution_time_max < new["execution_time_max"], new["execution_time_max"]),
            else_=days.c.execution_time_max,
        )
        if connection.execute(update(days).where(known).values(added)).rowcount == 0:
            connection.execute(insert(days), new)
    requests = select(runs.c.request_id).where(mine)
    others = exists(select(runs.c.id).where(runs.c.request_id == feedback.c.request_id, runs.c.id.not_in(ids)))
    connection.execute(delete(feedback).where(feedback.c.request_id.in_(requests), ~others))
    connection.execute(delete(runs).where(mine))
