"""The one door through which records are written: on disk when it returns, all records of a call in one commit."""

import errno
import json
import math
import os
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any

import orjson
from sqlalchemy import (
    Boolean,
    Column,
    Connection,
    Engine,
    Float,
    Insert,
    Integer,
    LargeBinary,
    Table,
    and_,
    bindparam,
    delete,
    exists,
    insert,
    literal,
    select,
    update,
)
from sqlalchemy.dialects import sqlite
from sqlalchemy.exc import SQLAlchemyError

from scheduler_service.clock import to_iso
from scheduler_service.errors import NotFound, RunNotFound, StorageUnavailable
from scheduler_service.telemetry import queries
from scheduler_service.telemetry.database import file_of, path_of, storage_errors
from scheduler_service.telemetry.naming import put_name
from scheduler_service.telemetry.record import PairRecord, PerformanceRecord, ReplayRecord, check_satisfaction
from scheduler_service.telemetry.schema import SCHEMA_VERSION, feedback, pairs, replays, runs, schema_version

MOST_BLOCKED = 4
"""Writes that may wait while commits take long: half of the threads that also read."""
BLOCKED_AFTER_S = 1.0
ATTEMPTS = 3
GONE_FOR_S = 2.0
"""How long a file that somebody moved may be on its way back."""

Record = PerformanceRecord | PairRecord | ReplayRecord
Row = dict[str, object]


class Writer:
    """Writes records; safe for threads, and for several processes with a writer each (made after a fork).

    One thread at a time commits. Who has many records gives them in one call, as the service does
    (`http/runs/recording.py`).

    Nothing is acknowledged that went into a file which nobody finds again: the file is looked at before and after each
    commit, and what was written into one that is gone is written again. If it was deleted and restored in between, such
    a change may be there twice.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._file = file_of(engine)
        self._path = path_of(engine)
        self._committing = threading.RLock()
        self._connection: Connection | None = None
        self._inside: set[object] = set()  # changes that wait, or are being committed
        self._unfinished_since_s: float | None = None  # when the first commit began that has not come to a quick end
        self._gone_since_s: float | None = None
        self._trouble: StorageUnavailable | None = None  # of the last commit

    def add_runs(self, records: Sequence[PerformanceRecord], now: datetime) -> None:
        """Records runs, all or none; their verdicts, if they have any, too.

        Raises:
            StorageUnavailable: the database cannot be written; nothing was recorded.
        """
        rows = [run_row(record, now) for record in records]

        def add(connection: Connection) -> None:
            # One statement for all, and the driver's own: SQLAlchemy would look at each value again.
            connection.exec_driver_sql(ADD_RUN, rows)
            for record in records:
                if record.user_satisfaction:
                    _put_feedback(connection, record.request_id, record.user_satisfaction, None, now)

        if rows:
            self.write(add)

    def add_feedback(self, request_id: str, user_satisfaction: int, comment: str | None, now: datetime) -> None:
        """Records the verdict on a run, in place of an earlier one.

        Raises:
            InvalidInput: the verdict is not within 1..5.
            RunNotFound: there is no such run.
            StorageUnavailable: the database cannot be written; nothing was recorded.
        """
        check_satisfaction(user_satisfaction)
        self.write(lambda connection: _put_feedback(connection, request_id, user_satisfaction, comment, now))

    def name_run(self, request_id: str, name: str | None, owner: str | None, now: datetime) -> None:
        """Records what a run is called and whose it is, in place of what was said before.

        Raises:
            RunNotFound: there is no such run.
            StorageUnavailable: the database cannot be written; nothing was recorded.
        """
        self.write(lambda connection: put_name(connection, request_id, name, owner, now))

    def add_pairs(self, records: Sequence[PairRecord], now: datetime) -> None:
        """Records pairs in one commit; of a replay, only those of requests that it has no pair of yet.

        Raises:
            StorageUnavailable: the database cannot be written; nothing was recorded.
        """
        rows = [_parameters(_row(pairs, record, now)) for record in records]
        if rows:
            self.write(lambda connection: connection.execute(ADD_PAIR, rows))

    def add_replay(self, record: ReplayRecord, now: datetime) -> None:
        """Records what a replay selected, unless one of its id is recorded already. Raises as `add_pairs`."""
        given = _row(replays, record, now, since=to_iso(record.since), options=_json(dict(record.options)))
        row = _parameters(given)
        self.write(lambda connection: connection.execute(ADD_REPLAY, row))

    def check_writable(self) -> None:
        """Nothing, if records can be written now.

        Raises:
            StorageUnavailable: they cannot, or the file is gone. After `GONE_FOR_S` it is made anew, as it is by the
                next record: where no runs are sent while this raises, none would come.
        """
        with storage_errors(self._path):
            if self._path.exists():
                self._gone_since_s = None
            else:
                now_s = time.monotonic()
                self._gone_since_s = self._gone_since_s or now_s
                if now_s - self._gone_since_s < GONE_FOR_S:
                    raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(self._path))
                self._file.make_ready()
            self._file.check_sound(thoroughly=True)
        if self._trouble is None:
            queries.check_reachable(self._engine)
        else:  # a lock may be had also where a commit fails: no room, a broken disk
            self.write(lambda connection: connection.execute(update(schema_version).values(version=SCHEMA_VERSION)))

    @property
    def note(self) -> str:
        """What became of the database's file since the process began; "" if nothing did."""
        return self._file.note

    def close(self) -> None:
        """Lets go of the database; the next write opens it again."""
        with self._committing:
            self._disconnect()
            self._file.close()

    def write(self, change: Callable[[Connection], object]) -> None:
        """Commits a change.

        While the database is locked, a few wait for it, up to twice `BUSY_TIMEOUT_S`; the others are refused at once,
        so that they do not take all the threads that also read.

        Raises:
            NotFound: what `change` raised; it changed nothing.
            StorageUnavailable: the database cannot be written; nothing was changed.
        """
        if self._is_blocked and len(self._inside) >= MOST_BLOCKED:
            raise self._refusal()
        mine = object()
        self._inside.add(mine)
        try:
            if not self._committing.acquire(timeout=BLOCKED_AFTER_S):
                if self._is_blocked and len(self._inside) > MOST_BLOCKED:
                    raise self._refusal()
                self._committing.acquire()
            try:
                self._commit(change)
            finally:
                self._committing.release()
        finally:
            self._inside.discard(mine)

    @property
    def _is_blocked(self) -> bool:
        since_s = self._unfinished_since_s
        return since_s is not None and time.monotonic() - since_s > BLOCKED_AFTER_S

    def _refusal(self) -> StorageUnavailable:
        if (last := self._trouble) is not None:
            return last.at(last.loc)  # a new one: several threads raise it
        return StorageUnavailable("commit_blocked", path=str(self._path))

    def _commit(self, change: Callable[[Connection], object]) -> None:
        """Only ever run by the holder of the lock."""
        begun_s = time.monotonic()
        self._unfinished_since_s = self._unfinished_since_s or begun_s
        try:
            with storage_errors(self._path):
                self._file.check_sound()
                for _ in range(ATTEMPTS):
                    if self._commit_once(change):
                        break
                else:
                    raise StorageUnavailable("database_replaced", path=str(self._path))
        except NotFound:  # it changed nothing
            self._unfinished_since_s = None
            if self._connection is not None:
                self._connection.rollback()
            raise
        except Exception as err:
            self._disconnect()
            self._trouble = err if isinstance(err, StorageUnavailable) else None
            if time.monotonic() - begun_s < BLOCKED_AFTER_S:
                self._unfinished_since_s = None
            raise
        self._trouble = self._unfinished_since_s = None

    def _commit_once(self, change: Callable[[Connection], object]) -> bool:
        """Whether what the file of that name holds now has the change."""
        if not self._file.is_in_place:
            self._disconnect()
        if self._connection is None:
            self._connection = self._engine.connect()  # makes the file ready
        change(self._connection)
        self._connection.commit()
        return self._file.is_in_place

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(SQLAlchemyError):  # a disk that fails may not even take it back; the next one begins anew
                connection.close()  # rolls back


def run_row(record: PerformanceRecord, now: datetime) -> Row:
    """The columns of `runs` for a record; `now` stands in for a missing timestamp."""
    team_utilization = _json(dict(record.team_utilization)) if record.team_utilization else None
    input_params = None if record.input_params is None else _json(record.input_params)
    return _row(runs, record, now, team_utilization=team_utilization, input_params=input_params)


def _row(table: Table, record: Record, now: datetime, **instead: object) -> Row:
    """The columns of `table`: the fields of their names, but what is said otherwise.

    Every value is one that the database takes: a record that it refused would take those down that share its commit.
    """
    row: Row = {}
    for name, storable in _STORABLE[table.name]:
        value = instead[name] if name in instead else getattr(record, name)
        row[name] = None if value is None else storable(value)
    row["timestamp"] = to_iso(record.timestamp or now)
    return row


def _given(table: Table) -> list[str]:
    """The columns that the database does not fill in itself."""
    return [column.name for column in table.columns if column is not table.autoincrement_column]


def _new_row_unless_known(table: Table, *once: str) -> Insert:
    """Adds the row of parameters `new_<column>`, unless there is one with the same values in the columns `once`."""
    new = {name: bindparam(f"new_{name}", type_=table.c[name].type) for name in _given(table)}
    is_known = exists(select(literal(1)).select_from(table).where(and_(*(table.c[name] == new[name] for name in once))))
    return insert(table).from_select(list(new), select(*new.values()).where(~is_known))


ADD_RUN = str(insert(runs).compile(dialect=sqlite.dialect(paramstyle="named"), column_keys=_given(runs)))
ADD_PAIR = _new_row_unless_known(pairs, "replay", "request_id", "candidate")
ADD_REPLAY = _new_row_unless_known(replays, "id")


def _parameters(row: dict[str, object]) -> dict[str, object]:
    return {f"new_{name}": value for name, value in row.items()}


def _storable(column: Column[Any]) -> Callable[[Any], object]:
    """What makes a value of the column out of one that is not None."""
    if isinstance(column.type, Float):
        return lambda value: float(value) if math.isfinite(value) else None
    if isinstance(column.type, Boolean):
        return bool
    if isinstance(column.type, Integer):
        return int
    if isinstance(column.type, LargeBinary):
        return bytes
    return lambda value: storable_text(str(value))


def storable_text(text: str) -> str:
    """`text` as a database takes it: half a surrogate pair is none."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


_STORABLE = {
    table.name: [(name, _storable(table.c[name])) for name in _given(table)] for table in (runs, pairs, replays)
}


def _json(value: object) -> str:
    try:
        return orjson.dumps(value, default=str).decode()
    except TypeError:  # a number of more than 64 bits, a key that is no text, half a surrogate pair
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=str)


def _put_feedback(connection: Connection, request_id: str, verdict: int, comment: str | None, now: datetime) -> None:
    connection.execute(delete(feedback).where(feedback.c.request_id == request_id))
    row = {"request_id": request_id, "user_satisfaction": verdict, "comment": comment, "timestamp": to_iso(now)}
    values = [
        literal(None if value is None else _storable(feedback.c[name])(value), feedback.c[name].type)
        for name, value in row.items()
    ]
    its_run = select(runs.c.id).where(runs.c.request_id == request_id)
    if (
        connection.execute(insert(feedback).from_select(list(row), select(*values).where(exists(its_run)))).rowcount
        == 0
    ):
        raise RunNotFound("run_not_found", request_id=request_id)
