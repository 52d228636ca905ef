"""Every SELECT on the records."""

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import Engine, Select, select, text

from scheduler_service.clock import to_iso
from scheduler_service.telemetry.schema import feedback, runs, storage_errors

if TYPE_CHECKING:
    import pandas as pd  # slow to import; `run_frame` does when it is called

DTYPES: dict[str, Any] = {
    "timestamp": "datetime64[us, UTC]",
    "request_id": "str",
    "model_key": "str",
    "algorithm": "str",
    "experiment": "str",
    "variant": "str",
    "reason": "str",
    "user_id": "str",
    "makespan": "float64",
    "execution_time": "float64",
    "lower_bound": "float64",
    "gap": "float64",
    "resource_utilization": "float64",
    "team_utilization": "str",
    "n_workpoints": "Int64",
    "n_steps": "Int64",
    "stage": "str",
    "input_params": "str",
    "success": "bool",
    "error_message": "str",
    "user_satisfaction": "float64",
}
"""The columns of a frame of runs, also of an empty one. A text that is missing is NaN; JSON columns hold JSON."""


def run_frame(
    engine: Engine,
    *,
    start: datetime | None = None,
    end: datetime | None = None,
    model_key: str | None = None,
    experiment: str | None = None,
    columns: Sequence[str] = tuple(DTYPES),
) -> "pd.DataFrame":
    """The runs from `start` to `end`, both included, oldest first; columns and dtypes as in `DTYPES`.

    Raises:
        StorageUnavailable: the database cannot be read.
    """
    import pandas as pd

    query = _filtered(start, end, model_key, experiment, columns)
    with storage_errors(Path(str(engine.url.database))), engine.connect() as connection:
        rows = connection.execute(query).all()
    # Column by column: a frame of rows would first guess the types that are known here.
    by_column = zip(*rows, strict=True) if rows else [()] * len(columns)
    return pd.DataFrame({name: _series(name, values) for name, values in zip(columns, by_column, strict=True)})


def _series(name: str, values: Sequence[Any]) -> "pd.Series[Any]":
    import pandas as pd

    if name == "timestamp":
        return pd.to_datetime(pd.Series(values, dtype="str"), format="ISO8601", utc=True).dt.as_unit("us")
    column: pd.Series[Any] = pd.Series(values, dtype=DTYPES[name])
    return column


def check_reachable(engine: Engine) -> None:
    """Nothing, if the database takes writes now; it changes nothing.

    Raises:
        StorageUnavailable: it does not, or its file is gone.
    """
    path = Path(str(engine.url.database))
    with storage_errors(path):
        path.stat()  # an open file that was deleted would still take writes, and nobody would read them
        with engine.connect() as connection:
            connection.execute(text("PRAGMA busy_timeout = 2000"))
            connection.execute(text("BEGIN IMMEDIATE"))
            connection.rollback()


def _filtered(
    start: datetime | None,
    end: datetime | None,
    model_key: str | None,
    experiment: str | None,
    columns: Sequence[str],
) -> Select[tuple[object, ...]]:
    chosen = [feedback.c[name] if name == "user_satisfaction" else runs.c[name] for name in columns]
    source = runs.outerjoin(feedback, feedback.c.request_id == runs.c.request_id)
    query = select(*chosen).select_from(source if "user_satisfaction" in columns else runs)
    if start is not None:
        query = query.where(runs.c.timestamp >= to_iso(start))
    if end is not None:
        query = query.where(runs.c.timestamp <= to_iso(end))
    if model_key is not None:
        query = query.where(runs.c.model_key == model_key)
    if experiment is not None:
        query = query.where(runs.c.experiment == experiment)
    return query.order_by(runs.c.timestamp, runs.c.id)
