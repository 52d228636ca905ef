"""The records in a SQLite file: creation, recovery after it was moved or deleted, detection of damage, locks, vacuum.

SQLite continues to write to a file that was deleted, moved or replaced, and those records would be lost. Therefore the
file is checked at each connection and each commit. A deleted file is written again from the open descriptor; a moved
one is replaced by an empty one; another file in its place is used. Acknowledged records are in one of these files.
"""

import errno
import logging
import math
import os
import shutil
import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

from sqlalchemy import URL, Connection, Engine, NullPool, Table, create_engine, event, text
from sqlalchemy.exc import SQLAlchemyError

from scheduler_service.errors import DatabaseDamaged, StorageUnavailable
from scheduler_service.files import locked, move, temporary_beside
from scheduler_service.telemetry.layout import LAYOUT_SUFFIX, save_layout
from scheduler_service.telemetry.schema import prepare

log = logging.getLogger(__name__)

LOCK_TIMEOUT_S = 10.0
BUSY_TIMEOUT_S = 4.0
"""A connection waits this long for a lock of the database, and clients wait with it."""
MISSING_FOR_S = 2.0
"""A missing file may be moved back within this time; after it, a new one is created."""
VACUUM_SPACE_FACTOR = 2.1
"""VACUUM writes a copy, and then copies it to the write-ahead log."""
RECHECK_DAMAGED_S, RECHECK_DAMAGED_FACTOR = 2.0, 20.0
RECHECK_SOUND_S, RECHECK_SOUND_FACTOR = 30.0, 200.0
"""A check reads the whole file; it is repeated after this time, or this multiple of its duration if that is longer."""
MAX_CHECKED_BYTES = 2**30
"""A larger file is checked only if damage is known."""

_Identity = tuple[int, int]  # device, inode
_Identities = tuple[_Identity | None, _Identity | None]  # of the file and of its log
_files: "WeakValueDictionary[Path, DatabaseFile]" = WeakValueDictionary()


class DatabaseFile:
    """The file at `path` as this process uses it; safe for threads, and shared by all who open the same path."""

    slices = None  # the processes of one machine share no jobs
    late_ids = 0  # only one transaction at a time writes

    def __init__(self, path: Path) -> None:
        self.path = path
        self.note = ""
        """What happened to the file since the process started, for users; "" if nothing."""
        self._mutex = threading.RLock()
        self._engine = plain_engine(path)  # connects without checking the file
        self._ready: _Identities | None = None
        # Held open, so that a deleted file can be read, and no other process closes the log as its last user.
        self._keeper: sqlite3.Connection | None = None
        self._handle: int | None = None
        self._damage: tuple[_Identity | None, str] | None = None
        self._checked: _Identity | None = None
        self._checked_at_s = self._check_took_s = 0.0
        self._missing_since_s: float | None = None

    @property
    def name(self) -> str:
        """The path."""
        return str(self.path)

    @property
    def is_in_place(self) -> bool:
        """Whether the file that was prepared is still at `path`; takes some microseconds."""
        return self._ready is not None and self._ready == self._identities()

    def make_ready(self, *, check_tables: bool = False) -> None:
        """Create the file and its tables if the file that was prepared is not in place.

        Args:
            check_tables: also if it is in place, create missing tables and columns.

        Raises:
            StorageUnavailable, SQLAlchemyError, OSError: it cannot be used or created.
        """
        if self.is_in_place and not check_tables:
            return
        with self._mutex:
            if self.is_in_place:
                if check_tables:
                    self._prepare()
                return
            if self._ready is not None or not self.path.exists():
                self.path.parent.mkdir(parents=True, exist_ok=True)
                with locked(self.path, LOCK_TIMEOUT_S):
                    self._abandon()
                    self._prepare()
            else:
                self._prepare()
            self._hold()

    def _prepare(self) -> None:
        prepare(self._engine, self.name)
        save_layout(self._engine, beside(self.path, LAYOUT_SUFFIX))

    def close(self) -> None:
        """Close the file; the next connection opens it again."""
        with self._mutex:
            self._release()

    def errors(self) -> AbstractContextManager[None]:
        """Convert errors of the database and the file system to `StorageUnavailable`."""
        return storage_errors(self.path)

    def is_new(self, _connection: Connection, _attempt: str, /) -> bool:
        """True: the outcome of a commit is always known."""
        return True

    def serialise(self, _connection: Connection, _name: str, /) -> None:
        """Nothing: only one transaction at a time writes."""

    def hold(self, name: str, timeout_s: float) -> AbstractContextManager["FileLease"]:
        """A lock for the length of the block, among all processes of this machine.

        Raises:
            StorageUnavailable: others held it for `timeout_s`.
        """
        return _held(self.path.with_name(name), timeout_s)

    def check_usable(self) -> None:
        """Check that the file is there and sound.

        Raises:
            StorageUnavailable: it is not. After `MISSING_FOR_S` it is created, as by the next record: if clients send
                no runs while this raises, no record would create it.
        """
        if self.path.exists():
            self._missing_since_s = None
        else:
            now_s = time.monotonic()
            self._missing_since_s = self._missing_since_s or now_s
            if now_s - self._missing_since_s < MISSING_FOR_S:
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), self.name)
            self.make_ready()
        self.check_sound(search_for_damage=True)

    def check_lock(self, connection: Connection) -> None:
        """Check that the write lock can be taken."""
        connection.execute(text("PRAGMA busy_timeout = 300"))
        connection.execute(text("BEGIN IMMEDIATE"))
        connection.rollback()

    def sizes(self) -> dict[str, int]:
        """The size of each of the database's files, bytes."""
        files = sorted(self.path.parent.glob(f"{self.path.name}*"))
        return {file.name: file.stat().st_size for file in files if file.is_file()}

    def await_writers(self, _connection: Connection, _table: Table) -> None:
        """Nothing: one transaction at a time writes, so lower ids appear first."""

    def begin_reading(self, connection: Connection) -> None:
        """Begin a transaction whose queries all see the state of the same moment."""
        connection.exec_driver_sql("BEGIN")  # the driver would begin it at the first write only

    def prepare_fill(self, _connection: Connection, /) -> None:
        """Nothing."""

    def fill(self, connection: Connection, table: Table, rows: Sequence[Sequence[Any]]) -> None:
        """Insert rows with all columns of the table, in their order."""
        names, marks = ", ".join(table.columns.keys()), ", ".join("?" * len(table.columns))  # names of the schema
        statement = f"INSERT INTO {table.name} ({names}) VALUES ({marks})"  # noqa: S608
        connection.exec_driver_sql(statement, [tuple(row) for row in rows])

    def vacuum(self, engine: Engine) -> int:
        """Shrink the file; returns the freed bytes. Other writers wait meanwhile, seconds for a large file.

        Raises:
            StorageUnavailable: the disk has no room for the copies that SQLite makes.
        """
        with self.errors():
            before, free = self.path.stat().st_size, shutil.disk_usage(self.path.parent).free
            if free < (needed := VACUUM_SPACE_FACTOR * before):
                raise StorageUnavailable("no_room_to_rewrite", path=self.name, size=before, needed=needed, free=free)
            with engine.connect() as connection:
                automatic = connection.execution_options(isolation_level="AUTOCOMMIT")
                for statement in ("VACUUM", "PRAGMA optimize", "PRAGMA wal_checkpoint(TRUNCATE)"):
                    automatic.execute(text(statement))
            save_layout(engine, beside(self.path, LAYOUT_SUFFIX))
            return before - self.path.stat().st_size

    # --- damage ---

    def mark_damaged(self, cause: str) -> None:
        """Note that SQLite reported damage."""
        if self._damage is None:
            log.error("%s", self._damaged(cause))
        self._damage = (_identity(self.path), cause)

    def check_sound(self, *, search_for_damage: bool = False) -> None:
        """Check for known damage, which ends if the file was replaced or can be read completely.

        Args:
            search_for_damage: also reads the whole file at intervals, to find damage that no query has met.

        Raises:
            DatabaseDamaged: it is.
        """
        damage, present = self._damage, _identity(self.path)
        age_s, took_s = time.monotonic() - self._checked_at_s, self._check_took_s
        if damage is None:
            is_due = present != self._checked or age_s > max(RECHECK_SOUND_S, RECHECK_SOUND_FACTOR * took_s)
            if not (search_for_damage and is_due) or self.path.stat().st_size > MAX_CHECKED_BYTES:
                return
        elif damage[0] != present:
            self._damage = None
            return
        elif age_s < max(RECHECK_DAMAGED_S, RECHECK_DAMAGED_FACTOR * took_s):
            raise self._damaged(damage[1])
        self._check(present)

    def _check(self, present: _Identity | None) -> None:
        with self._mutex:
            if time.monotonic() - self._checked_at_s > self._check_took_s:  # otherwise another thread has just checked
                began_s = time.monotonic()
                try:
                    with self._engine.connect() as connection:
                        found = str(connection.execute(text("PRAGMA quick_check(1)")).scalar())
                except SQLAlchemyError as err:
                    found = str(_cause(err))
                    if not _is_damage(err):  # locked, or no permission: the content is unknown
                        found = "ok" if self._damage is None else self._damage[1]
                self._checked, self._checked_at_s = present, time.monotonic()
                self._check_took_s = self._checked_at_s - began_s
                if found != "ok":
                    self.mark_damaged(self._damage[1] if self._damage is not None else found)
                elif self._damage is not None:
                    log.warning("%s can be read again", self.path)
                    self._damage = None
        if self._damage is not None:
            raise self._damaged(self._damage[1])

    def _damaged(self, cause: str) -> DatabaseDamaged:
        return DatabaseDamaged("database_damaged", path=str(self.path), reason=" ".join(cause.split())[:200])

    # --- the file ---

    def _identities(self) -> _Identities:
        return _identity(self.path), _identity(beside(self.path, "-wal"))

    def _hold(self) -> None:
        self._release()
        keeper = sqlite3.connect(self.path, timeout=1.0, check_same_thread=False, isolation_level=None)
        try:
            keeper.execute("SELECT version FROM schema_version").fetchall()  # opens the log, too
            # O_PATH: closing a descriptor that can read would release SQLite's locks on the file.
            self._handle = os.open(self.path, os.O_PATH) if hasattr(os, "O_PATH") else None
        except BaseException:
            keeper.close()
            raise
        self._keeper, self._ready = keeper, self._identities()

    def _abandon(self) -> None:
        """Release a file that is no longer in place; called with the lock held."""
        former, present, was_deleted = self._ready, _identity(self.path), False
        if former is not None and self._keeper is not None:
            was_deleted = self._handle is not None and os.fstat(self._handle).st_nlink == 0
            if was_deleted:
                self._rewrite(self._keeper, is_replaced=present is not None)
            else:
                with suppress(sqlite3.Error):  # makes the moved file complete without its log
                    self._keeper.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        self._release()
        is_missing = _identity(self.path) is None
        if is_missing or (former is not None and _identity(beside(self.path, "-wal")) == former[1]):
            # SQLite would apply the log of the former file to the new one.
            self._set_logs_aside()
        if former is None or was_deleted:
            return
        if is_missing:
            self._report("was taken away; the records begin anew")
        elif former[0] != present:
            self._report("was replaced by another file, which is used from now on")

    def _rewrite(self, keeper: sqlite3.Connection, *, is_replaced: bool) -> None:
        """Write the deleted file again from the open connection; under another name if there is a new file."""
        copy = temporary_beside(self.path)
        target = beside(self.path, f".replaced-{time.time_ns()}") if is_replaced else self.path
        try:
            _copy(keeper, copy, self.path)
            if not is_replaced:
                self._set_logs_aside()
            move(copy, target)
        except (sqlite3.Error, OSError, DatabaseDamaged) as err:
            log.error(
                "%s was deleted or replaced, and cannot be written again from what is still open: %s", self.path, err
            )
        else:
            if is_replaced:
                self._report(
                    f"was replaced by another file, which is used from now on; what it held is in {target.name}"
                )
            else:
                self._report("was deleted; it was written again from what was still open: nothing is lost")
        finally:
            remove(copy)

    def _set_logs_aside(self) -> None:
        """Delete empty logs and shared memory; rename logs with content."""
        for suffix in ("-wal", "-shm"):
            log_file = beside(self.path, suffix)
            with suppress(FileNotFoundError):
                if suffix == "-shm" or log_file.stat().st_size == 0:
                    log_file.unlink()
                else:
                    move(log_file, beside(log_file, f".of-a-lost-file-{time.time_ns()}"))

    def _release(self) -> None:
        if self._keeper is not None:
            self._keeper.close()
        if self._handle is not None:
            os.close(self._handle)
        self._keeper = self._handle = self._ready = None

    def _report(self, event: str) -> None:
        log.error("%s %s", self.path, event)
        self.note = f"at {datetime.now().astimezone():%Y-%m-%d %H:%M:%S %z} {self.path} {event}"

    def __del__(self) -> None:
        with suppress(Exception):
            self._release()


@dataclass(frozen=True, slots=True)
class FileLease:
    """A lock file that is held; the system releases it when the process ends."""

    name: str

    @property
    def is_held(self) -> bool:
        """Always: nobody else can take the lock of a running process."""
        return True

    def confirm(self, connection: Connection) -> None:
        """Nothing: the lock is held until it is released."""


@contextmanager
def _held(path: Path, timeout_s: float) -> Iterator[FileLease]:
    with locked(path, timeout_s):
        yield FileLease(path.name)


def open_file(path: Path) -> tuple[Engine, DatabaseFile]:
    """An engine for the file at `path`, which it creates when it connects. Connections are not pooled.

    Each new connection checks the file, and creates it again if necessary.
    """
    engine = plain_engine(path)
    file = _files.get(path) or DatabaseFile(path)
    _files[path] = file

    def check_file(*_: object) -> None:  # the engine refers to this function, and thereby to the file
        file.make_ready()

    event.listen(engine, "do_connect", check_file)
    return engine, file


@contextmanager
def storage_errors(path: Path) -> Iterator[None]:
    """Convert errors of the database and the file system to `StorageUnavailable` with `path`."""
    try:
        yield
    except (SQLAlchemyError, sqlite3.Error, OSError) as err:
        reason = str(_cause(err))
        if _is_damage(err):
            if (file := _files.get(path)) is not None:
                file.mark_damaged(reason)
            raise DatabaseDamaged("database_damaged", path=str(path), reason=reason) from err
        raise StorageUnavailable("records_unusable", path=str(path), reason=reason) from err


def snapshot(source: Path, target: Path) -> None:
    """Write a consistent copy of the database to one file without a log; writers do not wait.

    Raises:
        DatabaseDamaged: the copy is not sound.
        StorageUnavailable: it cannot be read, or the disk is full.
    """
    with storage_errors(source), closing(sqlite3.connect(source, timeout=LOCK_TIMEOUT_S)) as connection:
        _copy(connection, target, source)


def _copy(connection: sqlite3.Connection, target: Path, source: Path) -> None:
    with closing(sqlite3.connect(target, isolation_level=None)) as written:
        # In one step: with several, a write by another process would restart the backup.
        connection.backup(written, pages=-1)
        found = written.execute("PRAGMA quick_check(1)").fetchone()[0]
        if found != "ok":
            raise DatabaseDamaged("database_damaged", path=str(source), reason=str(found))
        written.execute("PRAGMA journal_mode = DELETE")


def plain_engine(path: Path) -> Engine:
    """An engine that connects to `path` without checking the file."""
    engine = create_engine(URL.create("sqlite", database=str(path)), poolclass=NullPool)
    event.listen(engine, "connect", configure)
    return engine


def configure(connection: sqlite3.Connection, _: object) -> None:
    """Make the settings of SQLite for a new connection."""
    connection.execute(f"PRAGMA busy_timeout = {int(BUSY_TIMEOUT_S * 1000)}")
    _set_wal(connection)
    # FULL: a commit survives a power failure; NORMAL: only a crash of the process.
    connection.execute("PRAGMA synchronous = FULL")
    if not _has_logarithm():
        connection.create_function("ln", 1, lambda x: math.log(x) if x else None, deterministic=True)


@cache
def _has_logarithm() -> bool:
    """Whether SQLite was built with its mathematical functions."""
    with closing(sqlite3.connect(":memory:")) as connection:
        return bool(connection.execute("SELECT count(*) FROM pragma_function_list WHERE name = 'ln'").fetchone()[0])


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


def _cause(err: Exception) -> Exception:
    """The driver's error within one of SQLAlchemy's."""
    return getattr(err, "orig", None) or err


def _is_damage(err: Exception) -> bool:
    name = getattr(_cause(err), "sqlite_errorname", "") or ""
    return name.startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB"))


def _identity(path: Path) -> _Identity | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino


def remove(path: Path) -> None:
    """Delete a database's file, log, shared memory and journal, if they exist."""
    for suffix in ("", "-wal", "-shm", "-journal"):
        beside(path, suffix).unlink(missing_ok=True)


def beside(path: Path, suffix: str) -> Path:
    """`path` with `suffix` added to its name."""
    return path.with_name(f"{path.name}{suffix}")
