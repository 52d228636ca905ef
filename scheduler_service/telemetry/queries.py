"""Every SELECT on the records."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from sqlalchemy import (
    CTE,
    ColumnElement,
    Engine,
    Integer,
    Row,
    Select,
    String,
    Table,
    and_,
    case,
    column,
    func,
    select,
    text,
    values,
)

from scheduler_service.clock import parse_time, to_iso
from scheduler_service.telemetry.database import path_of, storage_errors
from scheduler_service.telemetry.record import ReplayRecord
from scheduler_service.telemetry.schema import feedback, pairs, replays, runs

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
    "time_budget_ms": "float64",
    "queue_time": "float64",
    "total_time": "float64",
    "user_satisfaction": "float64",
    "policy_makespan": "float64",  # at the end, as what is added later: programs may read files by position
    "split": "str",
}
"""The columns of a frame of runs, also of an empty one. A text that is missing is NaN; JSON columns hold JSON."""

PAIR_DTYPES: dict[str, Any] = {
    "id": "int64",
    "timestamp": "datetime64[us, UTC]",
    "request_id": "str",
    "experiment": "str",
    "source": "str",
    "replay": "str",
    "user_id": "str",
    "candidate": "str",
    "key_a": "str",
    "key_b": "str",
    "makespan_a": "float64",
    "makespan_b": "float64",
    "success_a": "bool",
    "success_b": "bool",
    "execution_time_a": "float64",
    "execution_time_b": "float64",
    "error_a": "str",
    "error_b": "str",
    "lower_bound": "float64",
    "n_workpoints": "Int64",
    "n_steps": "Int64",
    "time_budget_ms": "float64",
    "input_digest": "str",
    "policy_makespan_a": "float64",
    "policy_makespan_b": "float64",
    "replay_number": "Int64",  # of all replays of the same two models, from 1 on; NA for a shadow run
}
"""The columns of a frame of pairs, also of an empty one."""

LISTED = (
    *("id", "request_id", "timestamp", "success", "n_workpoints", "n_steps", "model_key", "algorithm", "experiment"),
    *("variant", "reason", "user_id", "makespan", "lower_bound", "gap", "resource_utilization", "execution_time"),
    *("time_budget_ms", "stage", "error_message", "policy_makespan", "split"),
)
"""The columns of a run that people are shown in a list."""

AT_A_TIME = 500
"""Ids in one statement; SQLite takes 32,766, but other databases and old versions fewer."""


@dataclass(frozen=True, slots=True)
class LoggedRequest:
    """A recorded request as far as it takes to run it again."""

    run: int  # id of its last run
    request_id: str
    user_id: str | None
    experiment: str | None
    input_params: str  # JSON
    time_budget_ms: float | None  # that the model had; None: not known


def run_frame(
    engine: Engine,
    *,
    start: datetime | None = None,
    end: datetime | None = None,
    model_key: str | None = None,
    experiment: str | None = None,
    columns: Sequence[str] = tuple(DTYPES),
    latest: int | None = None,
) -> "pd.DataFrame":
    """The runs from `start` to `end`, both included, oldest first; columns and dtypes as in `DTYPES`.

    Args:
        latest: only so many, the newest ones, and newest first.

    Raises:
        StorageUnavailable: the database cannot be read.
    """
    query = runs_query(start=start, end=end, model_key=model_key, experiment=experiment, columns=columns)
    if latest is not None:
        query = query.order_by(None).order_by(runs.c.timestamp.desc()).limit(latest)
    return _frame(fetch(engine, query), {name: DTYPES[name] for name in columns})


def pair_frame(
    engine: Engine,
    *,
    experiment: str | None = None,
    replay: str | None = None,
    source: str | None = None,
    start: datetime | None = None,
    end: datetime | None = None,
) -> "pd.DataFrame":
    """The pairs from `start` to `end`, both included, oldest first; columns and dtypes as in `PAIR_DTYPES`.

    Raises:
        StorageUnavailable: the database cannot be read.
    """
    query = pairs_query(experiment=experiment, replay=replay, source=source, start=start, end=end)
    return _frame(fetch(engine, query), PAIR_DTYPES)


def count_runs(engine: Engine, experiment: str | None = None) -> int:
    """How many runs are recorded, of an experiment or at all; reads an index only. Raises as `run_frame`."""
    query = select(func.count()).select_from(runs)
    query = query if experiment is None else query.where(runs.c.experiment == experiment)
    return int(fetch(engine, query)[0][0])


def experiments_since(engine: Engine, run: int, pair: int) -> tuple[frozenset[str], int, int]:
    """The experiments with runs or pairs of greater ids, and the greatest ids now. Raises as `run_frame`.

    Reads what is new only. Ids that are greater than any are those of another database, which was replaced: all of its
    experiments are new.
    """
    newest = [int(fetch(engine, select(func.max(table.c.id)))[0][0] or 0) for table in (runs, pairs)]
    names: set[str] = set()
    for table, last, since in ((runs, newest[0], run), (pairs, newest[1], pair)):
        if last != since:
            query = select(table.c.experiment).distinct().where(table.c.experiment.is_not(None))
            query = query.where(table.c.id > since) if 0 < since < last else query
            names.update(row[0] for row in fetch(engine, query))
    return frozenset(names), newest[0], newest[1]


def runs_of_weeks_before(
    engine: Engine, now: datetime, *, at_least: timedelta, weeks: int = 4
) -> tuple[timedelta, list[int]]:
    """The time since the last run, zero before there is one; and of earlier weeks the runs in the same hours.

    They are counted if that time is `at_least` so long, for each of the last `weeks` weeks before it that is recorded.
    Of a silence of more than a week the first week counts. Reads an index only. Raises as `run_frame`.
    """
    row = fetch(engine, select(func.min(runs.c.timestamp).label("first")))[0]
    last = fetch(engine, select(func.max(runs.c.timestamp)))[0][0]
    if last is None:
        return timedelta(0), []
    first, since = parse_time(row.first), min(parse_time(last), now)
    week = timedelta(days=7)
    if now - since < at_least:
        return now - since, []
    counts = []
    for begin in (since - n * week for n in range(1, weeks + 1)):
        if begin >= first:
            query = select(func.count()).select_from(runs)
            counts.append(int(fetch(engine, _between(query, runs, begin, begin + min(now - since, week)))[0][0]))
    return now - since, counts


def trend_rows(
    engine: Engine, bounds: Sequence[datetime], *, model_key: str | None = None, experiment: str | None = None
) -> dict[int, dict[str, Any]]:
    """Figures of the runs between each bound and the next, by the place of the earlier one; only where there are runs.

    `runs`, `failures`; of the successful ones `mean_makespan`, `mean_policy_makespan`, `mean_gap`,
    `p50_execution_time` and `p95_execution_time`; `mean_satisfaction` and `verdicts`. None where there is no such
    figure. Raises as `run_frame`.
    """
    named = {"model_key": model_key, "experiment": experiment}
    figures = _by_bucket(fetch(engine, _trend_query(bounds, named)))
    timed = {bucket: found.pop("timed") for bucket, found in figures.items()}
    percentiles = _by_bucket(fetch(engine, _percentile_query(bounds, timed, named)))
    nothing = {"p50_execution_time": None, "p95_execution_time": None}
    return {bucket: found | percentiles.get(bucket, nothing) for bucket, found in figures.items()}


def _by_bucket(rows: Sequence[Row[Any]]) -> dict[int, dict[str, Any]]:
    found = [row._asdict() for row in rows]
    return {row.pop("bucket"): row for row in found}


def last_run(engine: Engine) -> int:
    """The id of the newest run; 0 before there is one. Raises as `run_frame`."""
    return int(fetch(engine, select(func.max(runs.c.id)))[0][0] or 0)


def requests_to_repeat(
    engine: Engine, *, experiment: str | None, since: datetime, last_run: int, limit: int | None = None
) -> list[int]:
    """The run ids of the requests whose input is known, one of each request (its last), newest first.

    Raises:
        StorageUnavailable: the database cannot be read.
    """
    newest = func.max(runs.c.id)
    query = _between(select(newest), runs, since, None).where(runs.c.id <= last_run, runs.c.input_params.is_not(None))
    query = query if experiment is None else query.where(runs.c.experiment == experiment)
    rows = fetch(engine, query.group_by(runs.c.request_id).order_by(newest.desc()).limit(limit))
    return [row[0] for row in rows]


def logged_requests(engine: Engine, run_ids: Sequence[int]) -> list[LoggedRequest]:
    """The requests of these runs, in this order; those that are gone are left out. Raises as `run_frame`."""
    names = ("request_id", "user_id", "experiment", "input_params", "time_budget_ms")
    query = select(runs.c.id.label("run"), *(runs.c[name] for name in names))
    found: dict[int, LoggedRequest] = {}
    for begin in range(0, len(run_ids), AT_A_TIME):
        for row in fetch(engine, query.where(runs.c.id.in_(run_ids[begin : begin + AT_A_TIME]))):
            found[row.run] = LoggedRequest(**row._asdict())
    return [found[run] for run in run_ids if run in found]


def requests_of_replay(engine: Engine, replay: str) -> set[str]:
    """The request ids that the replay has a pair of. Raises as `run_frame`."""
    return {row[0] for row in fetch(engine, select(pairs.c.request_id).where(pairs.c.replay == replay))}


def last_replay(engine: Engine, *, definition: str | None = None, experiment: str | None = None) -> ReplayRecord | None:
    """The replay that began last, of those asked for in the same way or of an experiment's. Raises as `run_frame`."""
    query = select(replays).order_by(replays.c.timestamp.desc(), replays.c.id.desc()).limit(1)
    for name, value in (("definition", definition), ("experiment", experiment)):
        if value is not None:
            query = query.where(replays.c[name] == value)
    for row in fetch(engine, query):
        values = row._asdict()
        values |= {"timestamp": parse_time(values["timestamp"]), "since": parse_time(values["since"])}
        return ReplayRecord(**values | {"options": json.loads(values["options"])})
    return None


def replay_number(engine: Engine, replay: str) -> int:
    """Which replay of its two models it is, from 1 on. Raises as `run_frame`."""
    numbers = _replay_numbers()
    return int(fetch(engine, select(numbers.c.number).where(numbers.c.id == replay))[0][0])


def _replay_numbers() -> CTE:
    """(id, number) of each replay: those of the same two models, in whatever order, counted as they were begun."""
    a, b = replays.c.key_a, replays.c.key_b
    models = case((a < b, a), else_=b), case((a < b, b), else_=a)
    number = func.row_number().over(partition_by=models, order_by=(replays.c.timestamp, replays.c.id))
    return select(replays.c.id, number.label("number")).cte("replay_numbers")


def fetch(engine: Engine, query: Select[Any]) -> Sequence[Row[Any]]:
    """What the query finds. Raises as `run_frame`."""
    with storage_errors(path_of(engine)), engine.connect() as connection:
        return connection.execute(query).all()


def _frame(rows: Sequence[Row[Any]], dtypes: Mapping[str, Any]) -> "pd.DataFrame":
    import pandas as pd

    # Column by column: a frame of rows would first guess the types that are known here.
    by_column = zip(*rows, strict=True) if rows else [()] * len(dtypes)
    named = zip(dtypes.items(), by_column, strict=True)
    return pd.DataFrame({name: _series(name, values, dtype) for (name, dtype), values in named})


def _series(name: str, values: Sequence[Any], dtype: Any) -> "pd.Series[Any]":
    import pandas as pd

    if name == "timestamp":
        return pd.to_datetime(pd.Series(values, dtype="str"), format="ISO8601", utc=True).dt.as_unit("us")
    column: pd.Series[Any] = pd.Series(values, dtype=dtype)
    return column


def check_reachable(engine: Engine) -> None:
    """Nothing, if the database takes writes now; it changes nothing.

    Raises:
        StorageUnavailable: it does not, or its file is gone.
    """
    path = path_of(engine)
    with storage_errors(path):
        path.stat()  # to connect would make a new one
        with engine.connect() as connection:
            connection.execute(text("PRAGMA busy_timeout = 300"))
            connection.execute(text("BEGIN IMMEDIATE"))
            connection.rollback()


def runs_query(
    *,
    start: datetime | None = None,
    end: datetime | None = None,
    model_key: str | None = None,
    experiment: str | None = None,
    columns: Sequence[str] = tuple(DTYPES),
) -> Select[tuple[object, ...]]:
    """The runs from `start` to `end`, both included, oldest first."""
    chosen = [feedback.c[name] if name == "user_satisfaction" else runs.c[name] for name in columns]
    source = runs.outerjoin(feedback, feedback.c.request_id == runs.c.request_id)
    query = select(*chosen).select_from(source if "user_satisfaction" in columns else runs)
    query = _between(query, runs, start, end)
    if model_key is not None:
        query = query.where(runs.c.model_key == model_key)
    if experiment is not None:
        query = query.where(runs.c.experiment == experiment)
    return query.order_by(runs.c.timestamp, runs.c.id)


def _trend_query(bounds: Sequence[datetime], named: Mapping[str, str | None]) -> Select[Any]:
    buckets = _buckets(bounds, {})

    def of_good(value: ColumnElement[Any]) -> ColumnElement[Any]:
        return case((runs.c.success, value))

    figures = {
        "runs": func.count(),
        "failures": func.sum(case((runs.c.success, 0), else_=1)),
        "timed": func.count(of_good(runs.c.execution_time)),
        "mean_makespan": func.avg(of_good(runs.c.makespan)),
        "mean_policy_makespan": func.avg(of_good(runs.c.policy_makespan)),
        "mean_gap": func.avg(of_good(runs.c.gap)),
        "mean_satisfaction": func.avg(feedback.c.user_satisfaction),
        "verdicts": func.count(feedback.c.user_satisfaction),
    }
    source = buckets.join(runs, _is_in(buckets)).outerjoin(feedback, feedback.c.request_id == runs.c.request_id)
    query = select(buckets.c.bucket, *(figure.label(name) for name, figure in figures.items())).select_from(source)
    return _of(query, named).group_by(buckets.c.bucket)


def _percentile_query(
    bounds: Sequence[datetime], counts: Mapping[int, int], named: Mapping[str, str | None]
) -> Select[Any]:
    """Percentiles of the execution time, interpolated between ranks as numpy does.

    That is the sum of the times of successful runs, weighted by 1 less how many ranks they are off, if that is not
    negative. `counts` has how many there are, by bucket: to count them beside ranking them takes twice as long.
    """
    buckets = _buckets(bounds, counts)
    place = func.row_number().over(partition_by=buckets.c.bucket, order_by=runs.c.execution_time) - 1
    ranking = select(buckets.c.bucket, buckets.c.count, runs.c.execution_time, place.label("place"))
    ranking = ranking.select_from(buckets.join(runs, _is_in(buckets)))
    ranking = _of(ranking.where(runs.c.success, runs.c.execution_time.is_not(None)), named)
    ranked = ranking.subquery("ranked").c
    chosen = []
    for percent in (50, 95):
        off = func.abs(ranked.place - percent / 100.0 * (ranked.count - 1))
        weighted = func.sum(case((off < 1.0, (1.0 - off) * ranked.execution_time)))
        chosen.append(weighted.label(f"p{percent}_execution_time"))
    return select(ranked.bucket, *chosen).group_by(ranked.bucket)


def _buckets(bounds: Sequence[datetime], counts: Mapping[int, int]) -> CTE:
    """A row for each bound but the last."""
    columns = (column("bucket", Integer), column("since", String), column("until", String), column("count", Integer))
    times = [to_iso(bound) for bound in bounds]
    rows = [(place, *pair, counts.get(place, 0)) for place, pair in enumerate(pairwise(times))]
    return values(*columns).data(rows).cte("buckets")


def _is_in(buckets: CTE) -> ColumnElement[bool]:
    return and_(runs.c.timestamp >= buckets.c.since, runs.c.timestamp < buckets.c.until)


def _of(query: Select[Any], named: Mapping[str, str | None]) -> Select[Any]:
    return query.where(*(runs.c[name] == value for name, value in named.items() if value is not None))


def pairs_query(
    *,
    experiment: str | None = None,
    replay: str | None = None,
    source: str | None = None,
    start: datetime | None = None,
    end: datetime | None = None,
) -> Select[tuple[object, ...]]:
    """The pairs from `start` to `end`, both included, oldest first."""
    numbers = _replay_numbers()
    columns = (numbers.c.number if name == "replay_number" else pairs.c[name] for name in PAIR_DTYPES)
    query = select(*columns).outerjoin_from(pairs, numbers, numbers.c.id == pairs.c.replay)
    query = query.order_by(pairs.c.timestamp, pairs.c.id)
    query = _between(query, pairs, start, end)
    for name, value in (("experiment", experiment), ("replay", replay), ("source", source)):
        if value is not None:
            query = query.where(pairs.c[name] == value)
    return query


def _between(query: Select[Any], table: Table, start: datetime | None, end: datetime | None) -> Select[Any]:
    if start is not None:
        query = query.where(table.c.timestamp >= to_iso(start))
    return query if end is None else query.where(table.c.timestamp <= to_iso(end))
