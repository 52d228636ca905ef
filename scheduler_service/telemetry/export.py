"""Export of runs and pairs to files: CSV for spreadsheets, Parquet for other programs."""

import csv
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from sqlalchemy import Engine, Select, func, select

from scheduler_service.clock import parse_time
from scheduler_service.command_line import Progress
from scheduler_service.errors import InvalidInput, cannot_write
from scheduler_service.files import move, temporary_beside
from scheduler_service.telemetry import queries
from scheduler_service.telemetry.database import database_of

BATCH_SIZE = 10_000
Rows = Sequence[Sequence[Any]]


def export(
    engine: Engine,
    path: Path,
    what: Literal["runs", "pairs"],
    *,
    start: datetime | None = None,
    end: datetime | None = None,
    model_key: str | None = None,
    experiment: str | None = None,
    progress: Progress | None = None,
) -> int:
    """Write rows, oldest first, to `path`; returns their number. The suffix selects the format: `.csv` or `.parquet`.

    The columns are those of `get_performance_data` or `get_pairs`. Only `BATCH_SIZE` rows are in memory at a time. The
    file appears when it is complete, and replaces an existing one.

    CSV is UTF-8 with a byte order mark, which spreadsheets need; missing values are empty, times are ISO-8601.

    Raises:
        InvalidInput: another suffix, or `model_key` with pairs.
        StorageUnavailable: the database cannot be read, or the file cannot be written.
    """
    writer = WRITERS.get(path.suffix.lower())
    if writer is None:
        raise InvalidInput("export_format", name=path.name, known=[*WRITERS])
    if what == "pairs" and model_key is not None:
        raise InvalidInput("pairs_by_model")
    query, dtypes = queries.pairs_query(experiment=experiment, start=start, end=end), queries.PAIR_DTYPES
    if what == "runs":
        query = queries.runs_query(start=start, end=end, model_key=model_key, experiment=experiment)
        dtypes = queries.DTYPES
    total = int(queries.fetch(engine, select(func.count()).select_from(query.order_by(None).subquery()))[0][0])
    temporary = temporary_beside(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        rows = writer(temporary, dtypes, _chunks(engine, query, total, progress))
        move(temporary, path)
    except OSError as err:
        raise cannot_write(path, err) from err
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
    return rows


def _chunks(engine: Engine, query: Select[Any], total: int, progress: Progress | None) -> Iterator[Rows]:
    done = 0
    with database_of(engine).errors(), engine.connect() as connection:
        # One statement reads a consistent state of the database.
        found = connection.execution_options(stream_results=True, yield_per=BATCH_SIZE).execute(query)
        for rows in found.partitions(BATCH_SIZE):
            yield rows
            done += len(rows)
            if progress is not None:
                progress(done, max(total, done))


def _write_csv(path: Path, dtypes: Mapping[str, Any], chunks: Iterator[Rows]) -> int:
    count = 0
    with path.open("x", encoding="utf-8-sig", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(dtypes)
        for rows in chunks:
            writer.writerows(rows)
            count += len(rows)
    return count


def _write_parquet(path: Path, dtypes: Mapping[str, Any], chunks: Iterator[Rows]) -> int:
    import pyarrow as pa
    import pyarrow.parquet as pq

    types = {
        "str": pa.string(),
        "float64": pa.float64(),
        "int64": pa.int64(),
        "Int64": pa.int64(),
        "bool": pa.bool_(),
        "datetime64[us, UTC]": pa.timestamp("us", tz="UTC"),
    }
    schema = pa.schema([(name, types[dtype]) for name, dtype in dtypes.items()])
    times = [name for name, dtype in dtypes.items() if dtype.startswith("datetime")]
    count = 0
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        for rows in chunks:
            columns = dict(zip(dtypes, map(list, zip(*rows, strict=True)), strict=True))
            for name in times:
                columns[name] = [None if value is None else parse_time(value) for value in columns[name]]
            writer.write_table(pa.table(columns, schema=schema))
            count += len(rows)
    return count


WRITERS: Mapping[str, Callable[[Path, Mapping[str, Any], Iterator[Rows]], int]]
WRITERS = {".csv": _write_csv, ".parquet": _write_parquet}
