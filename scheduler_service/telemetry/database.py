"""The database's file: made, found again when it was taken away, and named when it is damaged.

SQLite writes on into a file that was deleted, moved away or replaced, where nobody would find the records again. So it
is looked at with every connection and every commit: a file that is gone is made anew, from what is still open if it was
deleted; another one in its place is used from then on. What was acknowledged is in the one or the other.
"""

import logging
import os
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from datetime import datetime
from pathlib import Path
from weakref import WeakValueDictionary

from sqlalchemy import URL, Engine, NullPool, create_engine, event, text
from sqlalchemy.exc import SQLAlchemyError

from scheduler_service.errors import DatabaseDamaged, StorageUnavailable
from scheduler_service.files import locked, move, temporary_beside
from scheduler_service.telemetry.layout import LAYOUT_SUFFIX, keep_layout
from scheduler_service.telemetry.schema import configure, prepare

log = logging.getLogger(__name__)

LOCK_TIMEOUT_S = 10.0
EXAMINED_AGAIN_S = 2.0
"""After so long a damaged file is looked at again, or after 20 times what that took: all of it is read."""
SOUND_FOR_S = 30.0
"""After so long a file without damage is read through again, or after 200 times what that took."""
EXAMINED_AT_MOST_BYTES = 2**30
"""A larger file is only read through when damage is known."""

_Identity = tuple[int, int]  # device, inode
_standings: "WeakValueDictionary[Path, DatabaseFile]" = WeakValueDictionary()


class DatabaseFile:
    """The file at `path` as this process uses it; safe for threads, and shared by all who open the same path."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.note = ""
        """What became of the file since the process began, for people; "" as long as it is the first one."""
        self._mutex = threading.RLock()
        self._bare = plain_engine(path)  # connects without looking
        self._ready: tuple[_Identity | None, _Identity | None] | None = None  # of the file and of its log
        # Held open, so that a deleted file can be read, and its log is never the last one's to remove.
        self._keeper: sqlite3.Connection | None = None
        self._handle: int | None = None
        self._damage: tuple[_Identity | None, str] | None = None
        self._examined: _Identity | None = None
        self._examined_at_s = self._examination_took_s = 0.0

    @property
    def is_in_place(self) -> bool:
        """Whether what was made ready is still what bears the name; some microseconds."""
        return self._ready is not None and self._ready == self._identities()

    def make_ready(self, *, anew: bool = False) -> None:
        """Nothing, if all is in place; else the file is there afterwards, and has its tables.

        Args:
            anew: looks for the tables in any case.

        Raises:
            StorageUnavailable, SQLAlchemyError, OSError: it cannot be used or made.
        """
        if self.is_in_place and not anew:
            return
        with self._mutex:
            if self.is_in_place:
                if anew:
                    self._prepare()
                return
            if self._ready is not None or not self.path.exists():
                self.path.parent.mkdir(parents=True, exist_ok=True)
                with locked(self.path, LOCK_TIMEOUT_S):
                    self._leave()
                    self._prepare()
            else:
                self._prepare()
            self._hold()

    def _prepare(self) -> None:
        prepare(self._bare, self.path)
        keep_layout(self._bare, beside(self.path, LAYOUT_SUFFIX))

    def close(self) -> None:
        """Lets go of the file; whoever connects next has it again."""
        with self._mutex:
            self._let_go()

    # --- damage ---

    def suspect(self, cause: str) -> None:
        """Notes that SQLite found the file damaged."""
        if self._damage is None:
            log.error("%s", self._damaged(cause))
        self._damage = (_identity(self.path), cause)

    def check_sound(self, *, thoroughly: bool = False) -> None:
        """Nothing, if no damage is known, or none is left: another file is there, or all of it can be read again.

        Args:
            thoroughly: also looks for damage that nothing has met yet, now and then.

        Raises:
            DatabaseDamaged: it is.
        """
        damage, present = self._damage, _identity(self.path)
        if damage is None:
            age_s = time.monotonic() - self._examined_at_s
            is_due = present != self._examined or age_s > max(SOUND_FOR_S, 200.0 * self._examination_took_s)
            if not (thoroughly and is_due) or self.path.stat().st_size > EXAMINED_AT_MOST_BYTES:
                return
        elif damage[0] != present:
            self._damage = None
            return
        elif time.monotonic() - self._examined_at_s < max(EXAMINED_AGAIN_S, 20.0 * self._examination_took_s):
            raise self._damaged(damage[1])
        self._examine(present)

    def _examine(self, present: _Identity | None) -> None:
        with self._mutex:
            if time.monotonic() - self._examined_at_s > self._examination_took_s:  # else another thread just has
                began_s = time.monotonic()
                try:
                    with self._bare.connect() as connection:
                        found = str(connection.execute(text("PRAGMA quick_check(1)")).scalar())
                except SQLAlchemyError as err:
                    found = str(getattr(err, "orig", None) or err)
                    if not _is_damage(err):  # locked, or no permission: that says nothing of what it holds
                        found = "ok" if self._damage is None else self._damage[1]
                self._examined, self._examined_at_s = present, time.monotonic()
                self._examination_took_s = self._examined_at_s - began_s
                if found != "ok":
                    self.suspect(self._damage[1] if self._damage is not None else found)
                elif self._damage is not None:
                    log.warning("%s can be read again", self.path)
                    self._damage = None
        if self._damage is not None:
            raise self._damaged(self._damage[1])

    def _damaged(self, cause: str) -> DatabaseDamaged:
        return DatabaseDamaged("database_damaged", path=str(self.path), reason=" ".join(cause.split())[:200])

    # --- the file ---

    def _identities(self) -> tuple[_Identity | None, _Identity | None]:
        return _identity(self.path), _identity(beside(self.path, "-wal"))

    def _hold(self) -> None:
        self._let_go()
        keeper = sqlite3.connect(self.path, timeout=1.0, check_same_thread=False, isolation_level=None)
        try:
            keeper.execute("SELECT version FROM schema_version").fetchall()  # opens the log, too
            # A descriptor that cannot read: to close any other one would end SQLite's locks on the file.
            self._handle = os.open(self.path, os.O_PATH) if hasattr(os, "O_PATH") else None
        except BaseException:
            keeper.close()
            raise
        self._keeper, self._ready = keeper, self._identities()

    def _leave(self) -> None:
        """Takes leave of a file that is not in its place any more; under the lock."""
        former, present, was_deleted = self._ready, _identity(self.path), False
        if former is not None and self._keeper is not None:
            was_deleted = self._handle is not None and os.fstat(self._handle).st_nlink == 0
            if was_deleted:
                self._save(self._keeper, is_replaced=present is not None)
            else:
                with suppress(sqlite3.Error):  # so that it is whole without its log, wherever it is now
                    self._keeper.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        self._let_go()
        is_gone = _identity(self.path) is None
        if is_gone or (former is not None and _identity(beside(self.path, "-wal")) == former[1]):
            # The log of a file that is gone would be taken for that of the new one.
            for suffix in ("-wal", "-shm"):
                _set_aside(beside(self.path, suffix))
        if former is None or was_deleted:
            return
        if is_gone:
            self._tell("was taken away; the records begin anew")
        elif former[0] != present:
            self._tell("was replaced by another file, which is used from now on")

    def _save(self, keeper: sqlite3.Connection, *, is_replaced: bool) -> None:
        """Writes the deleted file again, from what is still open of it; under another name if there is a new one."""
        copy = temporary_beside(self.path)
        target = beside(self.path, f".replaced-{time.time_ns()}") if is_replaced else self.path
        try:
            with closing(sqlite3.connect(copy)) as written:
                keeper.backup(written)
                found = written.execute("PRAGMA quick_check(1)").fetchone()[0]
            if found != "ok":
                raise sqlite3.DatabaseError(found)
            if not is_replaced:
                for suffix in ("-wal", "-shm"):
                    _set_aside(beside(self.path, suffix))
            move(copy, target)
        except (sqlite3.Error, OSError) as err:
            log.error(
                "%s was deleted or replaced, and cannot be written again from what is still open: %s", self.path, err
            )
        else:
            if is_replaced:
                self._tell(f"was replaced by another file, which is used from now on; what it held is in {target.name}")
            else:
                self._tell("was deleted; it was written again from what was still open: nothing is lost")
        finally:
            for leftover in (copy, beside(copy, "-wal"), beside(copy, "-shm"), beside(copy, "-journal")):
                leftover.unlink(missing_ok=True)

    def _let_go(self) -> None:
        if self._keeper is not None:
            self._keeper.close()
        if self._handle is not None:
            os.close(self._handle)
        self._keeper = self._handle = self._ready = None

    def _tell(self, what: str) -> None:
        log.error("%s %s", self.path, what)
        self.note = f"at {datetime.now().astimezone():%Y-%m-%d %H:%M:%S %z} {self.path} {what}"

    def __del__(self) -> None:
        with suppress(Exception):
            self._let_go()


def open_database(path: Path, *, must_open: bool = True) -> Engine:
    """The database at `path`, made ready: its folder and tables exist, up to date. Connections are not pooled.

    Each new connection makes it ready again if that has become necessary.

    Args:
        must_open: False: one that cannot be used now is logged, and each connection tries again.

    Raises:
        StorageUnavailable: the folder or file cannot be written, is no database, or is of a newer version.
    """
    engine = plain_engine(path)
    file = _standings.get(path) or DatabaseFile(path)
    _standings[path] = file

    def look(*_: object) -> None:  # the engine holds it, and with it the file
        file.make_ready()

    event.listen(engine, "do_connect", look)
    try:
        with storage_errors(path):
            file.make_ready(anew=True)
    except StorageUnavailable as err:
        if must_open:
            raise
        if not isinstance(err, DatabaseDamaged):  # that was logged
            log.error("%s", err)
    return engine


def file_of(engine: Engine) -> DatabaseFile:
    """The file of a database that `open_database` gave."""
    return _standings[path_of(engine)]


def path_of(engine: Engine) -> Path:
    """Where the database is."""
    return Path(str(engine.url.database))


@contextmanager
def storage_errors(path: Path) -> Iterator[None]:
    """Turns whatever the database or the file system says into `StorageUnavailable`, naming `path`."""
    try:
        yield
    except (SQLAlchemyError, sqlite3.Error, OSError) as err:
        cause = getattr(err, "orig", None) or err
        file = _standings.get(path)
        if _is_damage(err):
            if file is not None:
                file.suspect(str(cause))
            raise DatabaseDamaged("database_damaged", path=str(path), reason=str(cause)) from err
        raise StorageUnavailable("records_unusable", path=str(path), reason=str(cause)) from err


def snapshot(source: Path, target: Path) -> None:
    """Writes the database as it is at one moment into a file without a log beside it; who writes does not wait.

    Raises:
        DatabaseDamaged: the copy is not sound.
        StorageUnavailable: it cannot be read, or there is no room.
    """
    with (
        storage_errors(source),
        closing(sqlite3.connect(source, timeout=LOCK_TIMEOUT_S)) as read_from,
        closing(sqlite3.connect(target, isolation_level=None)) as written,
    ):
        # In one step: of several, each would begin again when another process has written.
        read_from.backup(written, pages=-1)
        found = written.execute("PRAGMA quick_check(1)").fetchone()[0]
        if found != "ok":
            raise DatabaseDamaged("database_damaged", path=str(source), reason=str(found))
        written.execute("PRAGMA journal_mode = DELETE")


def plain_engine(path: Path) -> Engine:
    """The database at `path` as it is there."""
    engine = create_engine(URL.create("sqlite", database=str(path)), poolclass=NullPool)
    event.listen(engine, "connect", configure)
    return engine


def _is_damage(err: Exception) -> bool:
    name = getattr(getattr(err, "orig", None) or err, "sqlite_errorname", "") or ""
    return name.startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB"))


def _identity(path: Path) -> _Identity | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino


def beside(path: Path, suffix: str) -> Path:
    """The file of that name with a suffix."""
    return path.with_name(f"{path.name}{suffix}")


def _set_aside(path: Path) -> None:
    """Out of the way, but kept if it holds anything."""
    with suppress(FileNotFoundError):
        if path.stat().st_size == 0 or path.name.endswith("-shm"):
            path.unlink()
        else:
            move(path, path.with_name(f"{path.name}.of-a-lost-file-{time.time_ns()}"))
