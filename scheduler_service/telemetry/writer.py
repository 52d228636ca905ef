"""The only writer of records: on disk when it returns, all records of a call in one commit."""

import hashlib
import json
import math
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any
from uuid import uuid4

import orjson
from sqlalchemy import Boolean, Column, Connection, Engine, Float, Integer, LargeBinary, String, Table, update
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from scheduler_service.clock import to_iso
from scheduler_service.errors import LeaseLost, NotFound, StorageUnavailable
from scheduler_service.telemetry.database import database_of, given, insert_text, put
from scheduler_service.telemetry.naming import check_run, put_name
from scheduler_service.telemetry.record import PairRecord, PerformanceRecord, ReplayRecord, check_satisfaction
from scheduler_service.telemetry.schema import (
    feedback,
    pairs,
    replay_ranges,
    replays,
    runs,
    schema_version,
)

MAX_BLOCKED, BLOCKED_AFTER_S = 4, 1.0
"""If a commit takes longer than `BLOCKED_AFTER_S`, at most this many writes wait: half of the storage threads."""
MAX_ATTEMPTS = 3
MAX_WHOLE = 2**63 - 1
"""The greatest whole number that a database stores."""
MAX_KEY_BYTES = 800
"""The greatest length of a text in an index; PostgreSQL's entries have at most 2,704 bytes, of up to three texts."""

Record = PerformanceRecord | PairRecord | ReplayRecord
Row = dict[str, object]


class Writer:
    """Writes records; safe for threads, and for several processes with a writer each (created after a fork).

    One thread at a time commits. Many records should be written in one call (`http/runs/recording.py` does this).

    A file is checked before and after each commit. If it was moved or deleted during the commit, the change is
    written again, so that no acknowledged record is lost. If the file is restored later, the change may be there twice.

    If the connection to a server is lost, the change is written once more. Its id keeps it from being there twice.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._database = database_of(engine)
        self._committing = threading.RLock()
        self._connection: Connection | None = None
        self._pending: set[object] = set()  # changes that wait or are being committed
        self._slow_since_s: float | None = None  # start of the first commit since the last that ended quickly
        self._failure: StorageUnavailable | None = None  # of the last commit

    def add_runs(self, records: Sequence[PerformanceRecord], now: datetime) -> None:
        """Record runs with their ratings, all or none.

        Raises:
            StorageUnavailable: the database cannot be written; nothing was recorded.
        """
        rows = [run_row(record, now) for record in records]

        def add(connection: Connection) -> None:
            connection.exec_driver_sql(insert_text(connection, runs), rows)
            for record in records:
                if record.user_satisfaction:
                    _put_feedback(connection, record.request_id, record.user_satisfaction, None, now)

        if rows:
            self.write(add)

    def add_feedback(self, request_id: str, user_satisfaction: int, comment: str | None, now: datetime) -> None:
        """Record a rating, 1..5, of a run; replaces an earlier one.

        Raises:
            InvalidInput: the rating is not within 1..5.
            RunNotFound: there is no such run.
            StorageUnavailable: the database cannot be written; nothing was recorded.
        """
        check_satisfaction(user_satisfaction)
        self.write(lambda connection: _put_feedback(connection, request_id, user_satisfaction, comment, now))

    def name_run(self, request_id: str, name: str | None, owner: str | None, now: datetime) -> None:
        """Record the name and the owner of a run; replaces earlier ones.

        Raises:
            RunNotFound: there is no such run.
            StorageUnavailable: the database cannot be written; nothing was recorded.
        """
        key = storable_key(request_id)
        self.write(lambda connection: put_name(connection, key, name, owner, now))

    def add_pairs(self, records: Sequence[PairRecord], now: datetime) -> None:
        """Record pairs in one commit; a second pair of a replay for the same request is ignored.

        Raises:
            StorageUnavailable: the database cannot be written; nothing was recorded.
        """
        rows = [_row(pairs, record, now) for record in records]
        if rows:
            self.write(
                lambda connection: connection.exec_driver_sql(insert_text(connection, pairs, unless_exists=True), rows)
            )

    def add_replay(self, record: ReplayRecord, ranges: Sequence[Row], now: datetime) -> None:
        """Record a replay with its ranges of runs, unless its id is recorded already. Raises as `add_pairs`."""
        row = _row(replays, record, now, since=to_iso(record.since), options=_json(dict(record.options)))

        def add(connection: Connection) -> None:
            # The first of two processes that begin the same replay counts; the second one waits for it here.
            added = connection.exec_driver_sql(
                insert_text(connection, replays, unless_exists=True) + " RETURNING id", row
            )
            if added.first() is not None and ranges:
                connection.exec_driver_sql(insert_text(connection, replay_ranges), list(ranges))

        self.write(add)

    def check_writable(self) -> None:
        """Check that records can be written.

        Raises:
            StorageUnavailable: they cannot.
        """
        with self._database.errors():
            self._database.check_usable()
            if self._failure is None:
                with self._engine.connect() as connection:
                    self._database.check_lock(connection)
                return
        # Locking may succeed where a commit fails: a full or broken disk.
        self.write(
            lambda connection: connection.execute(update(schema_version).values(version=schema_version.c.version))
        )

    @property
    def note(self) -> str:
        """What happened to the database since the process started; "" if nothing."""
        return self._database.note

    def close(self) -> None:
        """Close the database; the next write opens it again."""
        with self._committing:
            self._disconnect()
            self._engine.dispose()
            self._database.close()

    def write(self, change: Callable[[Connection], object]) -> None:
        """Commit a change.

        While the database is locked, a few writes wait, up to twice `BUSY_TIMEOUT_S`; others are refused immediately,
        so that they do not occupy all threads, which also read.

        Raises:
            NotFound, LeaseLost: raised by `change`; nothing was changed.
            StorageUnavailable: the database cannot be written; nothing was changed.
        """
        self._refuse_beyond(MAX_BLOCKED - 1)
        mine = object()
        self._pending.add(mine)
        try:
            if not self._committing.acquire(timeout=BLOCKED_AFTER_S):
                self._refuse_beyond(MAX_BLOCKED)
                self._committing.acquire()
            try:
                self._commit(change)
            finally:
                self._committing.release()
        finally:
            self._pending.discard(mine)

    def _refuse_beyond(self, limit: int) -> None:
        """Raise StorageUnavailable if a commit is blocked and more than `limit` changes are pending."""
        since_s, last = self._slow_since_s, self._failure
        if since_s is None or time.monotonic() - since_s <= BLOCKED_AFTER_S or len(self._pending) <= limit:
            return
        # A copy of the last failure: several threads raise it.
        raise StorageUnavailable("commit_blocked", path=self._database.name) if last is None else last.at(last.loc)

    def _commit(self, change: Callable[[Connection], object]) -> None:
        """Called with the lock held."""
        began_s = time.monotonic()
        self._slow_since_s = self._slow_since_s or began_s
        try:
            with self._database.errors():
                self._database.check_sound()
                self._commit_surely(change)
        except (NotFound, LeaseLost):
            self._slow_since_s = None
            if self._connection is not None:
                self._connection.rollback()
            raise
        except Exception as err:
            self._disconnect()
            self._failure = err if isinstance(err, StorageUnavailable) else None
            if time.monotonic() - began_s < BLOCKED_AFTER_S:
                self._slow_since_s = None
            raise
        self._failure = self._slow_since_s = None

    def _commit_surely(self, change: Callable[[Connection], object]) -> None:
        """Commit the change, again if it did not reach the database or if this is unknown."""
        attempt = uuid4().hex
        for number in range(MAX_ATTEMPTS):
            try:
                if self._commit_once(change, attempt):
                    return
            except DBAPIError as err:
                self._disconnect()
                if not err.connection_invalidated or number > 0:
                    raise
        raise StorageUnavailable("database_replaced", path=self._database.name)

    def _commit_once(self, change: Callable[[Connection], object], attempt: str) -> bool:
        """Whether the committed change is in the database; a file may have been moved meanwhile."""
        if not self._database.is_in_place:
            self._disconnect()
        if self._connection is None:
            self._connection = self._engine.connect()  # creates or prepares the database
        if self._database.is_new(self._connection, attempt):
            change(self._connection)
        self._connection.commit()
        return self._database.is_in_place

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(SQLAlchemyError):  # the rollback may fail, too, if the disk fails
                connection.close()


def run_row(record: PerformanceRecord, now: datetime) -> Row:
    """The columns of `runs` for a record; `now` replaces a missing timestamp."""
    team_utilization = _json(dict(record.team_utilization)) if record.team_utilization else None
    input_params = None if record.input_params is None else _json(record.input_params)
    return _row(runs, record, now, team_utilization=team_utilization, input_params=input_params)


def _row(table: Table, record: Record, now: datetime, **others: object) -> Row:
    """The columns of `table`: from `others`, else the fields of the same names.

    Every value is converted to one that the database accepts: otherwise one record would fail the whole commit.
    """
    row: Row = {}
    for name, storable in _STORABLE[table.name]:
        value = others[name] if name in others else getattr(record, name)
        row[name] = None if value is None else storable(value)
    row["timestamp"] = to_iso(record.timestamp or now)
    return row


def _storable(column: Column[Any]) -> Callable[[Any], object]:
    """The conversion of a value that is not None to the column's type."""
    if isinstance(column.type, Float):
        return lambda value: float(value) if math.isfinite(value) else None
    if isinstance(column.type, Boolean):
        return bool
    if isinstance(column.type, Integer):
        return lambda value: int(value) if -MAX_WHOLE <= value <= MAX_WHOLE else None
    if isinstance(column.type, LargeBinary):
        return bytes
    if column in _KEYS:
        return lambda value: storable_key(str(value))
    return lambda value: storable_text(str(value))


def storable_text(text: str) -> str:
    """`text` with lone surrogates replaced, which UTF-8 cannot encode."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def storable_key(text: str) -> str:
    """As `storable_text`, for a text in an index: a long one is replaced by its beginning with its digest."""
    if text.isascii() and len(text) <= MAX_KEY_BYTES:
        return text
    data = text.encode("utf-8", "replace")
    if len(data) <= MAX_KEY_BYTES:
        return data.decode()
    digest = hashlib.sha256(data).hexdigest()
    return data[: MAX_KEY_BYTES - len(digest) - 1].decode(errors="ignore") + "~" + digest


_KEYS = {
    column
    for table in (runs, pairs, replays)
    for columns in (table.primary_key.columns, *(index.columns for index in table.indexes))
    for column in columns
    if isinstance(column.type, String)
}
_STORABLE = {
    table.name: [(name, _storable(table.c[name])) for name in given(table)] for table in (runs, pairs, replays)
}


def _json(value: object) -> str:
    try:
        return orjson.dumps(value, default=str).decode()
    except TypeError:  # a number of more than 64 bits, a key that is not a text, a lone surrogate
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=str)


def _put_feedback(connection: Connection, request_id: str, rating: int, comment: str | None, now: datetime) -> None:
    request_id = storable_key(request_id)
    check_run(connection, request_id)
    text = None if comment is None else storable_text(comment)
    row = {"request_id": request_id, "user_satisfaction": rating, "comment": text}
    put(connection, feedback, row | {"timestamp": to_iso(now)})
