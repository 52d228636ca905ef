"""A store in PostgreSQL, shared by any number of replicas.

Each process holds all documents and lines in memory, as of one revision, and answers from there. A thread listens for
changes of others and asks for the revision every second as well, so that all replicas agree within a second or two, and
reading goes on while the database is gone. A change is one transaction, which locks the row of the revision first: so
changes follow one another in the order of their revisions, and each begins with the result of the one before.
"""

import hashlib
import json
import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar
from uuid import uuid4

from sqlalchemy import Connection, func, select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.schema import CreateIndex, CreateTable

from scheduler_service.database_url import DatabaseUrl
from scheduler_service.errors import StorageUnavailable
from scheduler_service.files import sha256_of, write_atomically
from scheduler_service.lease import Lease
from scheduler_service.postgresql import attempts
from scheduler_service.postgresql.connecting import connect, postgresql_engine
from scheduler_service.postgresql.faults import postgresql_errors
from scheduler_service.postgresql.migration import lock_migrations
from scheduler_service.store.change import Change, Found, Line, Stamp
from scheduler_service.store.tables import blobs, entries, lines, metadata, revision

log = logging.getLogger(__name__)
Item = TypeVar("Item")

CONNECTIONS = 3
CHANNEL = "scheduler_store"
POLL_S, RETRY_S = 1.0, 0.5
LOCK_TIMEOUT_S = 10.0
OUTCOME_TIMEOUT_S = 10.0
"""After a commit without an answer, its outcome is asked for that long; a standby is usually promoted by then."""
BATCH_SIZE = 100
"""Rows of a statement."""
_NEW = insert(entries)
PUT = _NEW.on_conflict_do_update(
    index_elements=[entries.c.name],
    set_={name: _NEW.excluded[name] for name in ("content", "sha256", "revision")} | {"changed_at": func.now()},
)
CACHE = "cache"
"""The folder below SCHED_HOME for copies of files; it may be deleted at any time."""


class _Entry(NamedTuple):
    content: bytes | None
    sha256: str | None
    revision: int


class _State(NamedTuple):
    """What this process has read; replaced as a whole."""

    revision: int
    entries: Mapping[str, _Entry]


class DatabaseLog(Generic[Line]):
    """A log, as far as the store has read it."""

    def __init__(self, store: "DatabaseStore", name: str, read: Callable[[dict[str, Any]], Line]) -> None:
        self.name = name
        self._store, self._read = store, read
        self._ids: list[int] = []
        self._lines: list[Line] = []
        self._n_unreadable = 0
        self.last_id = 0
        self.is_read = False

    def lines(self) -> list[Line]:
        if not self.is_read:
            self._store.refresh()
        return list(self._lines)

    def raw(self, position: int) -> dict[str, Any]:
        with self._store.reading() as connection:
            query = select(lines.c.content).where(lines.c.id == self._ids[position])
            content = connection.execute(query).scalar()
        if content is None:
            raise ValueError(f"line {position} of {self.name} is gone")
        value: dict[str, Any] = json.loads(content)
        return value

    def unreadable_lines(self) -> int:
        return self._n_unreadable

    def forget(self) -> None:
        """Read everything again."""
        self._ids, self._lines, self._n_unreadable, self.last_id, self.is_read = [], [], 0, 0, False

    def add(self, new: Sequence[tuple[int, bytes]]) -> None:
        """Add lines that the store has read."""
        found: list[Line] = []
        ids: list[int] = []
        for id_, content in new:
            self.last_id = max(self.last_id, id_)
            try:
                found.append(self._read(json.loads(content)))
                ids.append(id_)
            except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as err:
                self._n_unreadable += 1
                log.warning("%s: line %d is unreadable and passed over: %s", self.name, id_, err)
        self._lines, self._ids = self._lines + found, self._ids + ids
        self.is_read = True


class DatabaseStore:
    """The store in the database at `url`; see `Store`. Create it after a fork.

    Args:
        home: where this process keeps copies of files.
    """

    is_edited_by_hand = False

    def __init__(self, url: DatabaseUrl, home: Path) -> None:
        self.home = home.absolute()
        self.fault: StorageUnavailable | None = None
        self._url = url
        self._unread = StorageUnavailable("database_unreachable", database=url.shown, reason="not read yet")
        self._engine = postgresql_engine(url, CONNECTIONS)
        self._state: _State | None = None
        self._logs: list[DatabaseLog[Any]] = []
        self._mutex = threading.Lock()  # of what was read
        self._writing = threading.Lock()  # one transaction at a time, so that threads do not use up the connections
        self._verified: set[str] = set()  # SHA-256 of copies that were right when they were first used
        self._is_ready = False
        self._closed = threading.Event()
        with suppress(StorageUnavailable):  # told by the first reading; the thread tries again
            self.refresh()
        threading.Thread(target=self._follow, name="store", daemon=True).start()

    def shown(self, name: str = "") -> str:
        return f"{self._url.shown} ({name})" if name else self._url.shown

    def close(self) -> None:
        """Stop listening, and close all connections."""
        self._closed.set()
        with self._mutex:  # a connection in use would stay open
            self._engine.dispose()

    # --- reading ---

    def check_read(self) -> _State:
        """What was read last.

        Raises:
            StorageUnavailable: nothing could be read yet.
        """
        state = self._state
        if state is None:
            raise (self.fault or self._unread).at(())
        return state

    def stamp(self, *names: str) -> Stamp:
        state = self.check_read()
        if len(names) == 1 and names[0] in state.entries:
            return state.entries[names[0]].revision
        return ("all", state.revision)

    def read(self, name: str) -> Found:
        state = self.check_read()
        found = state.entries.get(name)
        if found is None or found.content is None:
            return Found(None, ("all", state.revision) if found is None else found.revision)
        return Found(found.content, found.revision)

    def documents(self, folder: str) -> dict[str, Stamp]:
        return {
            name: entry.revision
            for name, entry in self.check_read().entries.items()
            if entry.content is not None and _is_in(folder, name)
        }

    def log(self, name: str, read: Callable[[dict[str, Any]], Line]) -> DatabaseLog[Line]:
        made = DatabaseLog(self, name, read)
        with self._mutex:
            self._logs.append(made)
        with suppress(StorageUnavailable):  # then it is read later
            self.refresh()
        return made

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A connection for queries."""
        with postgresql_errors(self._url):
            self._make_ready()
            with self._engine.connect() as connection:
                yield connection

    def refresh(self) -> None:
        """Read what others have changed.

        Raises:
            StorageUnavailable: the database cannot be read; `fault` keeps the error.
        """
        try:
            # The connection first: who waits for one must not keep a change waiting, which has one and needs the mutex.
            with self.reading() as connection, self._mutex:
                connection.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"))
                self._refresh(connection)
        except StorageUnavailable as err:
            if str(err) != str(self.fault):
                log.error("%s; what was read before stays in force", err)
            self.fault = err
            self._is_ready = False  # perhaps it is another database by now, without tables
            raise
        self.fault = None

    def _refresh(self, connection: Connection) -> None:
        """Read the changes since the last time, all as of the same moment; with the mutex held."""
        seen = -1 if self._state is None else self._state.revision
        number = connection.execute(select(revision.c.number)).scalar_one()
        if number < seen:  # it is another database, or an older state of it
            self._state, seen = None, -1
            for each in self._logs:
                each.forget()
        if number == seen and all(each.is_read for each in self._logs):
            return
        found = connection.execute(
            select(entries.c.name, entries.c.content, entries.c.sha256, entries.c.revision).where(
                entries.c.revision > seen
            )
        )
        known = {} if self._state is None else dict(self._state.entries)
        for name, content, sha256, its_revision in found:
            known[name] = _Entry(None if content is None else bytes(content), sha256, its_revision)
        for each in self._logs:
            each.add(_new_lines(connection, each.name, each.last_id, number))
        self._state = _State(number, known)

    def _follow(self) -> None:
        """Read each change of others soon after its commit; the thread ends with the process."""
        while not self._closed.is_set():
            try:
                with postgresql_errors(self._url), connect(self._url, autocommit=True) as listening:
                    listening.execute(f"LISTEN {CHANNEL}")
                    while not self._closed.is_set():
                        self.refresh()
                        for _ in listening.notifies(timeout=POLL_S, stop_after=1):
                            pass
            except StorageUnavailable as err:
                self.fault = err
                self._closed.wait(RETRY_S)
            except Exception:  # the thread must go on
                log.exception("%s cannot be followed", self.shown())
                self._closed.wait(RETRY_S)
        self._engine.dispose()  # the connection of a last reading

    # --- changing ---

    @contextmanager
    def changing(self, *, within: Change | None = None, lease: Lease | None = None) -> Iterator[Change]:
        if within is not None:
            yield within
            return
        change, attempt, is_written = Change(self), uuid4().hex, False
        try:
            with self._exclusive() as (connection, number):
                if lease is not None:
                    lease.confirm(connection)
                with self._mutex:
                    self._refresh(connection)
                yield change
                if not change.is_empty:
                    self._write(connection, change, number + 1)
                    is_written = attempts.is_new(connection, attempt)
        except StorageUnavailable as err:
            if not is_written or not self._was_committed(attempt):
                raise
            log.warning("%s; the change was committed", err)
        if not change.is_empty:
            with suppress(StorageUnavailable):  # it is committed, and the thread reads it later
                self.refresh()
            for call in change.after:
                call()

    @contextmanager
    def _exclusive(self) -> Iterator[tuple[Connection, int]]:
        """A transaction without other writers, and the number of the last change."""
        if not self._writing.acquire(timeout=LOCK_TIMEOUT_S):
            raise StorageUnavailable("locked_by_others", path=self.shown(), waited=LOCK_TIMEOUT_S)
        try:
            with postgresql_errors(self._url):
                self._make_ready()
                with self._engine.begin() as connection:
                    connection.execute(text(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT_S:g}s'"))
                    yield connection, connection.execute(select(revision.c.number).with_for_update()).scalar_one()
        finally:
            self._writing.release()

    def _was_committed(self, attempt: str) -> bool:
        """Whether a change is committed whose commit got no answer; waits for the database's return.

        Raises:
            StorageUnavailable: this is still unknown after `OUTCOME_TIMEOUT_S`.
        """
        until_s = time.monotonic() + OUTCOME_TIMEOUT_S
        while True:
            try:
                # A commit that is still in progress holds the lock. And locking writes: with a synchronous standby, the
                # end of this transaction waits until the standby has everything before it, so also that commit.
                with self._exclusive() as (connection, _):
                    is_there = attempts.is_committed(connection, attempt)
            except StorageUnavailable as err:
                if time.monotonic() >= until_s or self._closed.wait(RETRY_S):
                    waited = OUTCOME_TIMEOUT_S
                    raise StorageUnavailable("change_outcome_unknown", database=self.shown(), waited=waited) from err
            else:
                return is_there

    def _write(self, connection: Connection, change: Change, number: int) -> None:
        state = self.check_read()
        put: list[tuple[str, bytes | None, str | None]] = []  # (name, content, SHA-256)
        for name, new_name in change.moves.items():
            entry = state.entries.get(name)
            if entry is not None and (entry.content is not None or entry.sha256 is not None):
                put += [(new_name, entry.content, entry.sha256), (name, None, None)]
        for some in _batches(list(change.files.items())):
            contents = {name: path.read_bytes() for name, path in some}
            digests = {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}
            new = [{"sha256": digests[name], "content": content} for name, content in contents.items()]
            connection.execute(insert(blobs).on_conflict_do_nothing(), new)
            put += [(name, None, sha256) for name, sha256 in digests.items()]
        put += [(name, document, None) for name, document in change.written.items()]
        for these in _batches(put):
            values = [dict(zip(("name", "content", "sha256"), each, strict=True)) for each in these]
            connection.execute(PUT, [each | {"revision": number} for each in values])
        for added in _batches(change.lines):
            connection.execute(lines.insert(), [_line(log, line, number) for log, line in added])
        connection.execute(revision.update().values(number=number))
        connection.execute(select(func.pg_notify(CHANNEL, str(number))))

    def _make_ready(self) -> None:
        """Create the tables if they are missing; several replicas may do so at once."""
        if self._is_ready:
            return
        with self._engine.begin() as connection:
            if not _has_tables(connection):
                lock_migrations(connection)
                for table in (*metadata.sorted_tables, attempts.attempts):
                    connection.execute(CreateTable(table, if_not_exists=True))
                    for index in table.indexes:
                        connection.execute(CreateIndex(index, if_not_exists=True))
                connection.execute(insert(revision).values(id=1, number=0).on_conflict_do_nothing())
        self._is_ready = True

    # --- files ---

    def file(self, name: str) -> Path:
        """The copy of a file on this machine, fetched if it is missing.

        Raises:
            StorageUnavailable: it is missing here, and the database cannot be read.
        """
        entry = self.check_read().entries.get(name)
        if entry is None or entry.sha256 is None:
            return self.home / CACHE / "missing" / name
        path = self.home / CACHE / entry.sha256
        if entry.sha256 not in self._verified or not path.exists():
            if not path.exists() or sha256_of(path) != entry.sha256:
                with self.reading() as connection:
                    content = connection.execute(select(blobs.c.content).where(blobs.c.sha256 == entry.sha256)).scalar()
                if content is not None:
                    write_atomically(path, bytes(content))
            self._verified.add(entry.sha256)
        return path

    def file_names(self, folder: str) -> list[str]:
        found = self.check_read().entries.items()
        return sorted(name for name, entry in found if entry.sha256 is not None and _is_in(folder, name))

    def digests(self, folder: str) -> dict[str, str]:
        stored = func.encode(func.sha256(blobs.c.content), "hex")  # by the server: the contents stay there
        found = select(entries.c.name, stored).join(blobs, blobs.c.sha256 == entries.c.sha256)
        with self.reading() as connection:
            rows = connection.execute(found.where(entries.c.name.startswith(f"{folder}/", autoescape=True))).all()
        return {name: sha256 for name, sha256 in rows if _is_in(folder, name)}

    def scratch(self, folder: str) -> Path:
        path = self.home / CACHE / folder
        path.mkdir(parents=True, exist_ok=True)
        return path

    def empty(self, folder: str, older_than_s: float) -> None:
        """As `Store.empty`, by the database's clock; contents that no name refers to are deleted as well."""
        with self._exclusive() as (connection, number):
            is_old = entries.c.changed_at < func.now() - timedelta(seconds=older_than_s)
            is_there = entries.c.content.is_not(None) | entries.c.sha256.is_not(None)
            found = connection.execute(
                entries.update()
                .where(entries.c.name.startswith(f"{folder}/", autoescape=True), is_old, is_there)
                .values(content=None, sha256=None, changed_at=func.now(), revision=number + 1)
                .returning(entries.c.name)
            ).all()
            if found:
                is_used = select(entries.c.name).where(entries.c.sha256 == blobs.c.sha256).exists()
                connection.execute(blobs.delete().where(~is_used))
                connection.execute(revision.update().values(number=number + 1))
        with suppress(StorageUnavailable):
            self.refresh()


def _has_tables(connection: Connection) -> bool:
    names = (revision.name, attempts.attempts.name)
    return None not in connection.execute(select(*(func.to_regclass(name) for name in names))).one()


def _is_in(folder: str, name: str) -> bool:
    path, _, bare = name.rpartition("/")
    return path == folder and not bare.startswith(".")


def _new_lines(connection: Connection, name: str, last_id: int, until: int) -> list[tuple[int, bytes]]:
    query = (
        select(lines.c.id, lines.c.content)
        .where(lines.c.log == name, lines.c.id > last_id, lines.c.revision <= until)
        .order_by(lines.c.id)
    )
    return [(row.id, bytes(row.content)) for row in connection.execute(query)]


def _line(log: str, line: Mapping[str, Any], number: int) -> dict[str, Any]:
    content = json.dumps(line, ensure_ascii=False, allow_nan=False).encode()
    return {"log": log, "content": content, "revision": number}


def _batches(items: Sequence[Item]) -> Iterator[Sequence[Item]]:
    """In parts of a size that a statement can have."""
    for first in range(0, len(items), BATCH_SIZE):
        yield items[first : first + BATCH_SIZE]
