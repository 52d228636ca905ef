"""The queries on runs and pairs."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import (
    CTE,
    Boolean,
    ColumnElement,
    Connection,
    Engine,
    Float,
    Integer,
    Row,
    Select,
    String,
    Table,
    and_,
    case,
    cast,
    column,
    func,
    select,
    values,
)

from scheduler_service.clock import parse_time, to_iso
from scheduler_service.telemetry.database import database_of
from scheduler_service.telemetry.schema import feedback, pairs, replays, runs

if TYPE_CHECKING:
    import pandas as pd  # slow to import

_DTYPES = {Boolean: "bool", Integer: "Int64", Float: "float64", String: "str"}


def _dtypes(table: Table, *names: str, **others: str) -> dict[str, str]:
    """Column -> dtype: that of `others`, or the one for the column's type."""
    types = {"timestamp": "datetime64[us, UTC]"} | others
    for name in (each for each in names if each not in types):
        types[name] = next(dtype for kind, dtype in _DTYPES.items() if isinstance(table.c[name].type, kind))
    return {name: types[name] for name in names}


# Programs may read exported files by position, so new columns are added at the end.
DTYPES: dict[str, str] = _dtypes(
    runs,
    *("timestamp", "request_id", "model_key", "algorithm", "experiment", "variant", "reason", "user_id", "makespan"),
    *("execution_time", "lower_bound", "gap", "resource_utilization", "team_utilization", "n_workpoints", "n_steps"),
    *("stage", "input_params", "success", "error_message", "time_budget_ms", "queue_time", "total_time"),
    *("user_satisfaction", "policy_makespan", "split"),
    user_satisfaction="float64",
)
"""The columns of a data frame of runs. Missing texts are NaN; JSON columns contain JSON."""

PAIR_DTYPES: dict[str, str] = _dtypes(
    pairs,
    *("id", "timestamp", "request_id", "experiment", "source", "replay", "user_id", "candidate", "key_a", "key_b"),
    *("makespan_a", "makespan_b", "success_a", "success_b", "execution_time_a", "execution_time_b", "error_a"),
    *("error_b", "lower_bound", "n_workpoints", "n_steps", "time_budget_ms", "input_digest", "policy_makespan_a"),
    *("policy_makespan_b", "replay_number"),
    id="int64",
    replay_number="Int64",  # among all replays of the same two models, from 1; NA for a shadow run
)
"""The columns of a data frame of pairs."""

LISTED = (
    *("id", "request_id", "timestamp", "success", "n_workpoints", "n_steps", "model_key", "algorithm", "experiment"),
    *("variant", "reason", "user_id", "makespan", "lower_bound", "gap", "resource_utilization", "execution_time"),
    *("time_budget_ms", "stage", "error_message", "policy_makespan", "split"),
)
"""The columns of a run in a list for users."""
PAST_WEEKS = 4


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
        latest: limit; the newest runs are returned, newest first.

    Raises:
        StorageUnavailable: the database cannot be read.
    """
    query = runs_query(start=start, end=end, model_key=model_key, experiment=experiment, columns=columns)
    if latest is not None:
        query = query.order_by(None).order_by(runs.c.timestamp.desc()).limit(latest)
    return frame_of(fetch(engine, query), {name: DTYPES[name] for name in columns})


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
    return frame_of(fetch(engine, query), PAIR_DTYPES)


def count_runs(engine: Engine, experiment: str | None = None) -> int:
    """The number of recorded runs, in total or of an experiment; reads an index only. Raises as `run_frame`."""
    return int(fetch(engine, matching(select(func.count()).select_from(runs), runs, experiment=experiment))[0][0])


class Seen(NamedTuple):
    """The rows of a table that were seen: up to the id `last`, and of the newest ones exactly these ids."""

    last: int = 0
    recent: frozenset[int] = frozenset()


def experiments_since(engine: Engine, seen_runs: Seen, seen_pairs: Seen) -> tuple[frozenset[str], Seen, Seen]:
    """The experiments with runs or pairs that were not seen, and what is seen now. Raises as `run_frame`.

    Only new rows are read. If the seen ids are greater than the latest ones, the database was replaced, and all
    experiments are returned.
    """
    of_runs, runs_now = _unseen(engine, runs, seen_runs)
    of_pairs, pairs_now = _unseen(engine, pairs, seen_pairs)
    return of_runs | of_pairs, runs_now, pairs_now


def _unseen(engine: Engine, table: Table, seen: Seen) -> tuple[frozenset[str], Seen]:
    """Several writers may commit a lower id after a higher one, so the newest ids are compared one by one."""
    width = database_of(engine).late_ids
    last = int(fetch(engine, select(func.max(table.c.id)))[0][0] or 0)
    if last == seen.last and width == 0:
        return frozenset(), seen
    newest = fetch(engine, select(table.c.id, table.c.experiment).where(table.c.id > last - width)) if width else ()
    named = select(table.c.experiment).distinct().where(table.c.experiment.is_not(None))
    named = named.where(table.c.id > seen.last) if 0 < seen.last < last else named
    names = {row[0] for row in fetch(engine, named)} if last != seen.last else set()
    names |= {row.experiment for row in newest if row.id not in seen.recent} - {None}
    return frozenset(names), Seen(last, frozenset(row.id for row in newest))


def runs_of_weeks_before(engine: Engine, now: datetime, *, at_least: timedelta) -> tuple[timedelta, list[int]]:
    """The time since the last run (zero if there is none), and the number of runs in the same hours of earlier weeks.

    The runs are counted if the time is at least `at_least`, for the last `PAST_WEEKS` recorded weeks. If it is more
    than a week, its first week is compared. Reads an index only. Raises as `run_frame`.
    """
    first, last = (fetch(engine, select(end(runs.c.timestamp)))[0][0] for end in (func.min, func.max))
    if last is None:
        return timedelta(0), []
    first, since = parse_time(first), min(parse_time(last), now)
    week = timedelta(days=7)
    if now - since < at_least:
        return now - since, []
    counts = []
    for begin in (since - n * week for n in range(1, PAST_WEEKS + 1)):
        if begin >= first:
            query = select(func.count()).select_from(runs)
            counts.append(int(fetch(engine, between(query, runs, begin, begin + min(now - since, week)))[0][0]))
    return now - since, counts


def trend_rows(
    engine: Engine, bounds: Sequence[datetime], *, model_key: str | None = None, experiment: str | None = None
) -> dict[int, dict[str, Any]]:
    """Index of a bound -> figures of the runs between this bound and the next; only for intervals with runs.

    The figures are those of `trends.TrendPoint`, None if there is no value. Raises as `run_frame`.
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


def fetch(engine: Engine, query: Select[Any]) -> Sequence[Row[Any]]:
    """The rows of the query. Raises as `run_frame`."""
    with database_of(engine).errors(), engine.connect() as connection:
        return connection.execute(query).all()


@contextmanager
def reading(engine: Engine) -> Iterator[Connection]:
    """A connection whose queries all see the state of one moment, and may take long. Raises as `run_frame`."""
    database = database_of(engine)
    with database.errors(), engine.connect() as connection:
        database.begin_reading(connection)
        database.prepare_fill(connection)
        yield connection


def frame_of(rows: Sequence[Row[Any]], dtypes: Mapping[str, Any]) -> "pd.DataFrame":
    import pandas as pd

    def series(values: Sequence[Any], dtype: str) -> Any:
        if dtype.startswith("datetime"):
            return pd.to_datetime(pd.Series(values, dtype="str"), format="ISO8601", utc=True).dt.as_unit("us")
        return pd.Series(values, dtype=dtype)

    # Column by column: a frame made from rows would first infer the types, which are known here.
    by_column = zip(*rows, strict=True) if rows else [()] * len(dtypes)
    named = zip(dtypes.items(), by_column, strict=True)
    return pd.DataFrame({name: series(values, dtype) for (name, dtype), values in named})


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
    query = matching(between(query, runs, start, end), runs, model_key=model_key, experiment=experiment)
    return query.order_by(runs.c.timestamp, runs.c.id)


def _trend_query(bounds: Sequence[datetime], named: Mapping[str, str | None]) -> Select[Any]:
    buckets = _buckets(bounds, {})

    def if_successful(value: ColumnElement[Any]) -> ColumnElement[Any]:
        return case((runs.c.success, value))

    figures = {
        "runs": func.count(),
        "failures": func.sum(case((runs.c.success, 0), else_=1)),
        "timed": func.count(if_successful(runs.c.execution_time)),
        "mean_makespan": func.avg(if_successful(runs.c.makespan)),
        "mean_policy_makespan": func.avg(if_successful(runs.c.policy_makespan)),
        "mean_gap": func.avg(if_successful(runs.c.gap)),
        # The mean of whole numbers is a Decimal in PostgreSQL.
        "mean_satisfaction": cast(func.avg(feedback.c.user_satisfaction), Float),
        "verdicts": func.count(feedback.c.user_satisfaction),
    }
    source = buckets.join(runs, _is_in(buckets)).outerjoin(feedback, feedback.c.request_id == runs.c.request_id)
    query = select(buckets.c.bucket, *(figure.label(name) for name, figure in figures.items())).select_from(source)
    return matching(query, runs, **named).group_by(buckets.c.bucket)


def _percentile_query(
    bounds: Sequence[datetime], counts: Mapping[int, int], named: Mapping[str, str | None]
) -> Select[Any]:
    """Percentiles of the execution time of successful runs, linearly interpolated between ranks as numpy does.

    A percentile is the sum of the times, each weighted with max(0, 1 - distance between its rank and the percentile's).
    `counts` has the number of times by bucket: counting and ranking in one query takes twice as long.
    """
    buckets = _buckets(bounds, counts)
    rank = func.row_number().over(partition_by=buckets.c.bucket, order_by=runs.c.execution_time) - 1
    ranking = select(buckets.c.bucket, buckets.c.count, runs.c.execution_time, rank.label("rank"))
    ranking = ranking.select_from(buckets.join(runs, _is_in(buckets)))
    ranking = matching(ranking.where(runs.c.success, runs.c.execution_time.is_not(None)), runs, **named)
    ranked = ranking.subquery("ranked").c
    chosen = []
    for percent in (50, 95):
        distance = func.abs(ranked.rank - percent / 100.0 * (ranked.count - 1))
        weighted = func.sum(case((distance < 1.0, (1.0 - distance) * ranked.execution_time)))
        chosen.append(weighted.label(f"p{percent}_execution_time"))
    return select(ranked.bucket, *chosen).group_by(ranked.bucket)


def _buckets(bounds: Sequence[datetime], counts: Mapping[int, int]) -> CTE:
    """A row for each bound except the last."""
    columns = (column("bucket", Integer), column("since", String), column("until", String), column("count", Integer))
    times = [to_iso(bound) for bound in bounds]
    rows = [(number, *pair, counts.get(number, 0)) for number, pair in enumerate(pairwise(times))]
    return values(*columns).data(rows).cte("buckets")


def _is_in(buckets: CTE) -> ColumnElement[bool]:
    return and_(runs.c.timestamp >= buckets.c.since, runs.c.timestamp < buckets.c.until)


def matching(query: Select[Any], table: Table, **wanted: str | None) -> Select[Any]:
    """The rows with these values in these columns of `table`; None matches every row."""
    return query.where(*(table.c[name] == value for name, value in wanted.items() if value is not None))


def pairs_query(
    *,
    experiment: str | None = None,
    replay: str | None = None,
    source: str | None = None,
    start: datetime | None = None,
    end: datetime | None = None,
) -> Select[tuple[object, ...]]:
    """The pairs from `start` to `end`, both included, oldest first."""
    columns = (REPLAY_NUMBERS.c.number if name == "replay_number" else pairs.c[name] for name in PAIR_DTYPES)
    query = select(*columns).outerjoin_from(pairs, REPLAY_NUMBERS, REPLAY_NUMBERS.c.id == pairs.c.replay)
    query = matching(between(query, pairs, start, end), pairs, experiment=experiment, replay=replay, source=source)
    return query.order_by(pairs.c.timestamp, pairs.c.id)


def _replay_numbers() -> CTE:
    a, b = replays.c.key_a, replays.c.key_b
    models = case((a < b, a), else_=b), case((a < b, b), else_=a)
    number = func.row_number().over(partition_by=models, order_by=(replays.c.timestamp, replays.c.id))
    return select(replays.c.id, number.label("number")).cte("replay_numbers")


REPLAY_NUMBERS = _replay_numbers()
"""(id, number) of each replay; replays of the same two models, in either order, are numbered by their start from 1."""


def between(query: Select[Any], table: Table, start: datetime | None, end: datetime | None) -> Select[Any]:
    """The rows of `table` recorded from `start` to `end`, both included; None: unlimited."""
    if start is not None:
        query = query.where(table.c.timestamp >= to_iso(start))
    return query if end is None else query.where(table.c.timestamp <= to_iso(end))
