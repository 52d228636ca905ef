"""Repair of a damaged database: every readable row is written to a new file; the damaged file is kept beside it."""

import os
import shutil
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from types import UnionType
from typing import Any

from sqlalchemy import Boolean, Float, Integer, LargeBinary, Table
from sqlalchemy.types import TypeEngine

from scheduler_service.command_line import Progress
from scheduler_service.errors import StorageUnavailable
from scheduler_service.files import locked, move, temporary_beside
from scheduler_service.telemetry.engines.sqlite import beside, plain_engine, remove, storage_errors
from scheduler_service.telemetry.layout import CATALOGUE, LAYOUT_SUFFIX, Layout, saved_layout
from scheduler_service.telemetry.schema import metadata, prepare

LOCK_TIMEOUT_S = 10.0
MAX_MISSES = 1_000_000
"""The search in a table of unknown length ends after so many consecutive row ids without a readable row."""
HEADER_BYTES, PAGE_BYTES = 100, 4_096
NO_ROWS = b"\x0d\x00\x00\x00\x00\x10\x00\x00" + bytes(PAGE_BYTES - HEADER_BYTES - 8)
"""The rest of the first page in a database without tables: a leaf page without rows."""
TABLE_PAGES = (b"\x05", b"\x0d")
"""The first byte of an interior or leaf page of a table (https://sqlite.org/fileformat2.html)."""
SUFFIXES = ("", "-wal", "-shm")
TABLES = [table for table in metadata.sorted_tables if table.name != "schema_version"]

STORED_AS: dict[type[TypeEngine[Any]], type | UnionType]
STORED_AS = {Boolean: int, Integer: int, Float: int | float, LargeBinary: bytes}
"""The type of SQLite's values by column type; text for all others."""

Row = tuple[object, ...]


@dataclass(frozen=True, slots=True)
class Repair:
    """The result of a repair."""

    saved: dict[str, int]  # table -> rows
    lost: dict[str, int]  # table -> rows that are only in an index
    damaged: Path  # new path of the damaged file


def repair(path: Path, progress: Progress | None = None) -> Repair | None:
    """Replace a damaged file by a new one with all readable rows; None if the file is sound.

    Services may use the file meanwhile: they cannot record (503) during the repair, and then use the new file.

    Raises:
        StorageUnavailable: the file is locked, no row can be read, or the disk is full.
    """
    with storage_errors(path), locked(beside(path, ".repair"), LOCK_TIMEOUT_S):
        path.stat()  # connecting would create a missing file
        with closing(sqlite3.connect(path, timeout=LOCK_TIMEOUT_S, isolation_level=None)) as holder:
            if _is_sound(holder):
                return None
            _block_writers(holder)
            new, copy = temporary_beside(path), temporary_beside(path)
            try:
                saved, lost = _save(path, copy, new, progress)
                damaged = _exchange(path, new)
            finally:
                remove(new)
                remove(copy)
    return Repair(saved, lost, damaged)


def _is_sound(connection: sqlite3.Connection) -> bool:
    try:
        return bool(connection.execute("PRAGMA integrity_check(1)").fetchone()[0] == "ok")
    except sqlite3.DatabaseError as err:
        if _is_lock(err):
            raise
        return False


def _block_writers(holder: sqlite3.Connection) -> None:
    """Lock the file; this fails without a header, but then nobody else can write either."""
    try:
        holder.execute("BEGIN IMMEDIATE")
    except sqlite3.DatabaseError as err:
        if _is_lock(err):
            raise


def _is_lock(err: sqlite3.DatabaseError) -> bool:
    return str(getattr(err, "sqlite_errorname", "")).startswith(("SQLITE_BUSY", "SQLITE_LOCKED"))


def _save(path: Path, copy: Path, new: Path, progress: Progress | None) -> tuple[dict[str, int], dict[str, int]]:
    """Fill `new` from `path`, or from a copy with another header or first page if nothing can be read."""
    for source in _sources(path, copy):
        remove(new)
        saved, lost = _save_all(source, new, progress)
        if sum(saved.values()) > 0:
            return saved, lost
    raise StorageUnavailable("nothing_to_save", path=str(path))


def _sources(path: Path, copy: Path) -> Iterator[Path]:
    """The file itself; with a new header; with an empty first page and the layout that makes most rows readable."""
    yield path
    header, layouts = _new_databases(path)
    yield _with_start(path, copy, header)
    if (known := saved_layout(beside(path, LAYOUT_SUFFIX))) is not None:
        layouts.insert(0, known)  # it may describe an earlier state of the file

    def with_layout(layout: Layout) -> Path:
        _add_layout(_with_start(path, copy, header + NO_ROWS), layout)
        return copy

    yield with_layout(max(layouts, key=lambda layout: _count_rows(with_layout(layout))))


def _new_databases(path: Path) -> tuple[bytes, list[Layout]]:
    """The header of a new database, and the layouts of a new and of a vacuumed one."""
    fresh = temporary_beside(path)
    layouts: list[Layout] = []
    try:
        _create(fresh)
        for statement in ("PRAGMA optimize", "VACUUM"):
            with closing(sqlite3.connect(fresh)) as connection:
                connection.execute(statement)
                layouts.append(connection.execute(CATALOGUE).fetchall())
        return fresh.read_bytes()[:HEADER_BYTES], layouts
    finally:
        remove(fresh)


def _with_start(path: Path, copy: Path, start: bytes) -> Path:
    """Copy the file and its log, and overwrite the first bytes with `start`."""
    remove(copy)
    for suffix in ("", "-wal"):
        with suppress(FileNotFoundError):
            shutil.copyfile(beside(path, suffix), beside(copy, suffix))
    with copy.open("r+b") as file:
        n_pages = os.fstat(file.fileno()).st_size // PAGE_BYTES
        header = bytearray(start)
        header[28:32] = n_pages.to_bytes(4, "big")
        header[32:40] = bytes(8)  # no free pages
        header[92:96] = header[24:28]  # marks the number of pages as valid
        file.write(header)
    return copy


def _add_layout(copy: Path, layout: Layout) -> None:
    """Write the layout into a database without tables."""
    with closing(sqlite3.connect(copy)) as connection, suppress(sqlite3.DatabaseError):
        if not connection.execute(CATALOGUE).fetchall():  # the log may still contain the first page
            connection.execute("PRAGMA writable_schema = ON")
            with connection:
                connection.executemany("INSERT INTO sqlite_master VALUES (?, ?, ?, ?, ?)", layout)


def _create(path: Path) -> None:
    engine = plain_engine(path)
    prepare(engine, str(path))
    engine.dispose()


def _count_rows(source: Path) -> int:
    with closing(_reader(source)) as old:
        return sum(1 for table in TABLES for _ in _rows(old, table)[1])


def _reader(source: Path) -> sqlite3.Connection:
    old = sqlite3.connect(source, timeout=LOCK_TIMEOUT_S)
    old.text_factory = lambda raw: raw.decode("utf-8", "replace")
    return old


def _save_all(source: Path, new: Path, progress: Progress | None) -> tuple[dict[str, int], dict[str, int]]:
    _create(new)
    saved: dict[str, int] = {}
    lost: dict[str, int] = {}
    with closing(_reader(source)) as old, closing(sqlite3.connect(new)) as target:
        for table in TABLES:
            n_saved, known = 0, max(_by_each_index(old, table, "count(*)"), default=0)
            columns, rows = _rows(old, table)
            names, marks = ", ".join(columns), ", ".join("?" * len(columns))  # names of the schema, as all names here
            # OR IGNORE: a damaged database may have two rows with the same key; the first one is kept.
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


def _by_each_index(old: sqlite3.Connection, table: Table, aggregate: str) -> Iterator[Any]:
    """The aggregate of the table by a scan and by each index, as far as they are readable."""
    for hint in ("NOT INDEXED", *(f"INDEXED BY {index.name}" for index in table.indexes)):
        with suppress(sqlite3.DatabaseError):
            yield old.execute(f"SELECT {aggregate} FROM {table.name} {hint}").fetchone()[0]  # noqa: S608


def _rows(old: sqlite3.Connection, table: Table) -> tuple[list[str], Iterator[Row]]:
    """The common columns of the file and the schema, and the readable and plausible rows by their ids."""
    try:
        present = {row[1] for row in old.execute(f"PRAGMA table_info({table.name})")}
    except sqlite3.DatabaseError:
        present = set()
    columns = [column.name for column in table.columns if column.name in present]
    rows = _readable(old, table, columns) if columns else iter(())
    return columns, (row for row in rows if _is_plausible(table, columns, row))


def _readable(old: sqlite3.Connection, table: Table, columns: list[str]) -> Iterator[Row]:
    chosen = f"SELECT rowid, {', '.join(columns)} FROM {table.name} NOT INDEXED"  # noqa: S608
    last, end = 0, next(_by_each_index(old, table, "coalesce(max(rowid), 0)"), 2**62)
    while True:
        try:
            for row in old.execute(f"{chosen} WHERE rowid > ? ORDER BY rowid", (last,)):
                last = row[0]
                yield row[1:]
            return
        except sqlite3.DatabaseError:
            if not _has_root(old, table):
                return
        # After the damage, try each id until a row can be read.
        for row_id in range(last + 1, min(end, last + MAX_MISSES) + 1):
            with suppress(sqlite3.DatabaseError):
                if (found := old.execute(f"{chosen} WHERE rowid = ?", (row_id,)).fetchone()) is not None:
                    last = row_id
                    yield found[1:]
                    break
        else:
            return


def _has_root(old: sqlite3.Connection, table: Table) -> bool:
    """Whether the table's root page is a page of a table; otherwise SQLite finds no row by any id."""
    try:
        (root,) = old.execute("SELECT rootpage FROM sqlite_master WHERE name = ?", (table.name,)).fetchone()
        path = Path(old.execute("PRAGMA database_list").fetchone()[2])
    except sqlite3.DatabaseError:
        return True
    log = beside(path, "-wal")
    if log.exists() and log.stat().st_size:  # the log may contain a newer version of the page
        return True
    with path.open("rb") as file:
        file.seek((root - 1) * PAGE_BYTES)
        return file.read(1) in TABLE_PAGES


def _is_plausible(table: Table, columns: list[str], row: Row) -> bool:
    """Whether the values have the types of the columns; a damaged page may contain any bytes."""
    for name, value in zip(columns, row, strict=True):
        column = table.c[name]
        stored_as = next((kinds for of, kinds in STORED_AS.items() if isinstance(column.type, of)), str)
        if not (column.nullable if value is None else isinstance(value, stored_as)):
            return False
    return True


def _exchange(path: Path, new: Path) -> Path:
    """Put the new file in place of the damaged one; returns the damaged file's new path."""
    damaged = beside(path, f".damaged-{time.time_ns()}")
    with locked(path, LOCK_TIMEOUT_S):  # no other process can create a file between the moves
        for suffix in SUFFIXES:
            with suppress(FileNotFoundError):
                move(beside(path, suffix), beside(damaged, suffix))
        move(new, path)
    return damaged
