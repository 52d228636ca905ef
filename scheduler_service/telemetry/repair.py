"""A damaged database: every row that can still be read goes into a new file, and the damaged one is kept beside it."""

import os
import shutil
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from types import UnionType
from typing import Any

from sqlalchemy import Boolean, Float, Integer, LargeBinary, Table
from sqlalchemy.types import TypeEngine

from scheduler_service.errors import StorageUnavailable
from scheduler_service.files import locked, move, temporary_beside
from scheduler_service.telemetry.database import beside, plain_engine, storage_errors
from scheduler_service.telemetry.layout import CATALOGUE, LAYOUT_SUFFIX, Layout, kept_layout
from scheduler_service.telemetry.schema import metadata, prepare

LOCK_TIMEOUT_S = 10.0
MOST_MISSES = 1_000_000
"""Row ids in a row that hold nothing readable before a table is taken to be over, where nothing says how long it is."""
HEADER_BYTES, PAGE_BYTES = 100, 4_096
NO_ROWS = b"\x0d\x00\x00\x00\x00\x10\x00\x00" + bytes(PAGE_BYTES - HEADER_BYTES - 8)
"""What follows the header on the first page of a database without tables: a leaf without rows."""
TABLE_PAGES = (b"\x05", b"\x0d")
"""First byte of a page of a table: one that refers to other pages, or one with rows (https://sqlite.org/fileformat2.html)."""
SUFFIXES = ("", "-wal", "-shm")
TABLES = [table for table in metadata.sorted_tables if table.name != "schema_version"]

KEPT_AS: dict[type[TypeEngine[Any]], type | UnionType] = {
    Boolean: int,
    Integer: int,
    Float: int | float,
    LargeBinary: bytes,
}
"""What SQLite gives for a column of that type; text for every other one."""

Progress = Callable[[int, int], None]
"""Told how many rows are saved, of how many that are known of."""
Row = tuple[object, ...]


@dataclass(frozen=True, slots=True)
class Repair:
    """What came of it."""

    saved: dict[str, int]  # table -> rows
    lost: dict[str, int]  # table -> rows that an index still knows of
    damaged: Path  # where the damaged file is now


def repair(path: Path, progress: Progress | None = None) -> Repair | None:
    """Puts a new file with all that can be read in place of a damaged one; None, if it is sound.

    May be called while services use the file: they cannot record meanwhile (503), and go on with the new one.

    Raises:
        StorageUnavailable: others keep the file locked, nothing can be read of it, or there is no room for the new one.
    """
    with storage_errors(path), locked(beside(path, ".repair"), LOCK_TIMEOUT_S):
        path.stat()  # to connect would make one
        with closing(sqlite3.connect(path, timeout=LOCK_TIMEOUT_S, isolation_level=None)) as holder:
            if _is_sound(holder):
                return None
            _keep_writers_out(holder)
            new, copy = temporary_beside(path), temporary_beside(path)
            try:
                saved, lost = _best_of(path, copy, new, progress)
                damaged = _exchange(path, new)
            finally:
                for file in (new, copy):
                    for suffix in (*SUFFIXES, "-journal"):
                        beside(file, suffix).unlink(missing_ok=True)
    return Repair(saved, lost, damaged)


def _is_sound(connection: sqlite3.Connection) -> bool:
    try:
        return bool(connection.execute("PRAGMA integrity_check(1)").fetchone()[0] == "ok")
    except sqlite3.DatabaseError as err:
        if _is_lock(err):
            raise
        return False


def _keep_writers_out(holder: sqlite3.Connection) -> None:
    """As far as that can be done: where the header is gone nobody can write either."""
    try:
        holder.execute("BEGIN IMMEDIATE")
    except sqlite3.DatabaseError as err:
        if _is_lock(err):
            raise


def _is_lock(err: sqlite3.DatabaseError) -> bool:
    return str(getattr(err, "sqlite_errorname", "")).startswith(("SQLITE_BUSY", "SQLITE_LOCKED"))


def _best_of(path: Path, copy: Path, new: Path, progress: Progress | None) -> tuple[dict[str, int], dict[str, int]]:
    """Fills `new` from `path`, or, where that cannot be opened, from a copy with another beginning."""
    for attempt in _attempts(path, copy):
        for suffix in SUFFIXES:
            beside(new, suffix).unlink(missing_ok=True)
        saved, lost = _save_all(attempt, new, progress)
        if sum(saved.values()) > 0:
            return saved, lost
    raise StorageUnavailable("nothing_to_save", path=str(path))


def _attempts(path: Path, copy: Path) -> Iterator[Path]:
    """The file itself; with another header; with an empty first page and the layout by which most rows are readable."""
    yield path
    header, layouts = _new_databases(path)
    yield _with_beginning(path, copy, header)
    if (known := kept_layout(beside(path, LAYOUT_SUFFIX))) is not None:
        layouts.insert(0, known)  # it may be of an earlier state of the file

    def laid_out(layout: Layout) -> Path:
        _put_layout(_with_beginning(path, copy, header + NO_ROWS), layout)
        return copy

    yield laid_out(max(layouts, key=lambda layout: _count_rows(laid_out(layout))))


def _new_databases(path: Path) -> tuple[bytes, list[Layout]]:
    """The header of a new database, and the layouts of one that was just made and one that was vacuumed."""
    fresh = temporary_beside(path)
    layouts: list[Layout] = []
    try:
        _make(fresh)
        for statement in ("PRAGMA optimize", "VACUUM"):
            with closing(sqlite3.connect(fresh)) as connection:
                connection.execute(statement)
                layouts.append(connection.execute(CATALOGUE).fetchall())
        return fresh.read_bytes()[:HEADER_BYTES], layouts
    finally:
        for suffix in SUFFIXES:
            beside(fresh, suffix).unlink(missing_ok=True)


def _with_beginning(path: Path, copy: Path, start: bytes) -> Path:
    for suffix in SUFFIXES:
        beside(copy, suffix).unlink(missing_ok=True)
    for suffix in SUFFIXES[:2]:
        with suppress(FileNotFoundError):
            shutil.copyfile(beside(path, suffix), beside(copy, suffix))
    with copy.open("r+b") as file:
        n_pages = os.fstat(file.fileno()).st_size // PAGE_BYTES
        header = bytearray(start)
        header[28:32] = n_pages.to_bytes(4, "big")
        header[32:40] = bytes(8)  # no page is known to be free
        header[92:96] = header[24:28]  # the number of pages counts
        file.write(header)
    return copy


def _put_layout(copy: Path, layout: Layout) -> None:
    """Says in a database without tables where they are; nothing where there are some."""
    with closing(sqlite3.connect(copy)) as connection, suppress(sqlite3.DatabaseError):
        if not connection.execute(CATALOGUE).fetchall():  # a log may still hold the first page
            connection.execute("PRAGMA writable_schema = ON")
            with connection:
                connection.executemany("INSERT INTO sqlite_master VALUES (?, ?, ?, ?, ?)", layout)


def _make(path: Path) -> None:
    engine = plain_engine(path)
    prepare(engine, path)
    engine.dispose()


def _count_rows(source: Path) -> int:
    with closing(_reader(source)) as old:
        return sum(1 for table in TABLES for _ in _rows(old, table)[1])


def _reader(source: Path) -> sqlite3.Connection:
    old = sqlite3.connect(source, timeout=LOCK_TIMEOUT_S)
    old.text_factory = lambda raw: raw.decode("utf-8", "replace")
    return old


def _save_all(source: Path, new: Path, progress: Progress | None) -> tuple[dict[str, int], dict[str, int]]:
    _make(new)
    saved: dict[str, int] = {}
    lost: dict[str, int] = {}
    with closing(_reader(source)) as old, closing(sqlite3.connect(new)) as target:
        for table in TABLES:
            n_saved, known = 0, _known(old, table)
            columns, rows = _rows(old, table)
            marks = ", ".join("?" * len(columns))
            # OR IGNORE: of two rows with one key, which a sound database does not have, the first one stays.
            names = ", ".join(columns)  # of the schema, as all names here
            statement = f"INSERT OR IGNORE INTO {table.name} ({names}) VALUES ({marks})"  # noqa: S608
            for row in rows:
                n_saved += target.execute(statement, row).rowcount
                if progress is not None and n_saved % 1_000 == 0:
                    progress(n_saved, max(known, n_saved))
            saved[table.name] = n_saved
            if known > n_saved:
                lost[table.name] = known - n_saved
        target.commit()
        target.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return saved, lost


def _known(old: sqlite3.Connection, table: Table) -> int:
    """The rows that some index of the table knows of, or the table itself: at least so many there were."""
    counts = [0]
    for hint in ("NOT INDEXED", *(f"INDEXED BY {index.name}" for index in table.indexes)):
        with suppress(sqlite3.DatabaseError):
            counts.append(old.execute(f"SELECT count(*) FROM {table.name} {hint}").fetchone()[0])  # noqa: S608
    return max(counts)


def _rows(old: sqlite3.Connection, table: Table) -> tuple[list[str], Iterator[Row]]:
    """The columns that both have, and the readable and plausible rows by their ids."""
    try:
        present = {row[1] for row in old.execute(f"PRAGMA table_info({table.name})")}
    except sqlite3.DatabaseError:
        present = set()
    columns = [column.name for column in table.columns if column.name in present]
    rows = _readable(old, table, columns) if columns else iter(())
    return columns, (row for row in rows if _is_plausible(table, columns, row))


def _readable(old: sqlite3.Connection, table: Table, columns: list[str]) -> Iterator[Row]:
    chosen = f"SELECT rowid, {', '.join(columns)} FROM {table.name} NOT INDEXED"  # noqa: S608
    last, end = 0, _last_id(old, table)
    while True:
        try:
            for row in old.execute(f"{chosen} WHERE rowid > ? ORDER BY rowid", (last,)):
                last = row[0]
                yield row[1:]
            return
        except sqlite3.DatabaseError:
            if not _has_root(old, table):
                return
        # Behind the damage, id by id: every row that is on a page that can be read.
        for candidate in range(last + 1, min(end, last + MOST_MISSES) + 1):
            with suppress(sqlite3.DatabaseError):
                if (found := old.execute(f"{chosen} WHERE rowid = ?", (candidate,)).fetchone()) is not None:
                    last = candidate
                    yield found[1:]
                    break
        else:
            return


def _has_root(old: sqlite3.Connection, table: Table) -> bool:
    """Whether the table's first page is one of a table. If it is not, SQLite finds no row, whatever its id."""
    try:
        (root,) = old.execute("SELECT rootpage FROM sqlite_master WHERE name = ?", (table.name,)).fetchone()
        path = Path(old.execute("PRAGMA database_list").fetchone()[2])
    except sqlite3.DatabaseError:
        return True
    log = beside(path, "-wal")
    if log.exists() and log.stat().st_size:  # the log may hold a newer version of the page
        return True
    with path.open("rb") as file:
        file.seek((root - 1) * PAGE_BYTES)
        return file.read(1) in TABLE_PAGES


def _last_id(old: sqlite3.Connection, table: Table) -> int:
    for hint in ("NOT INDEXED", *(f"INDEXED BY {index.name}" for index in table.indexes)):
        with suppress(sqlite3.DatabaseError):
            last = old.execute(f"SELECT max(rowid) FROM {table.name} {hint}").fetchone()[0]  # noqa: S608
            return 0 if last is None else int(last)
    return 2**62


def _is_plausible(table: Table, columns: list[str], row: Row) -> bool:
    """Whether the values are such as the columns take: a damaged page may hold anything."""
    for name, value in zip(columns, row, strict=True):
        column = table.c[name]
        kept_as = next((kinds for of, kinds in KEPT_AS.items() if isinstance(column.type, of)), str)
        if not (column.nullable if value is None else isinstance(value, kept_as)):
            return False
    return True


def _exchange(path: Path, new: Path) -> Path:
    """The damaged file's new name; the new one has its place."""
    damaged = beside(path, f".damaged-{time.time_ns()}")
    with locked(path, LOCK_TIMEOUT_S):  # nobody makes a third one in between
        for suffix in SUFFIXES:
            with suppress(FileNotFoundError):
                move(beside(path, suffix), beside(damaged, suffix))
        move(new, path)
    return damaged
