"""The stored replays of recorded requests, and the requests they can repeat."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, Engine, and_, exists, func, select, update

from scheduler_service.clock import Clock, parse_time
from scheduler_service.telemetry.database import database_of
from scheduler_service.telemetry.published import with_published
from scheduler_service.telemetry.queries import REPLAY_NUMBERS, fetch, matching, reading
from scheduler_service.telemetry.record import PairRecord, ReplayRecord
from scheduler_service.telemetry.schema import pairs, replay_ranges, replays, runs
from scheduler_service.telemetry.selection import Range, ranges_of, ranges_query, sample_limit, selected
from scheduler_service.telemetry.writer import Writer

if TYPE_CHECKING:
    from scheduler_service.telemetry.replayed import ReplayedPairs  # imports numpy, which is slow

_PAIR = tuple(name for name in PairRecord.__dataclass_fields__ if name != "timestamp")


@dataclass(frozen=True, slots=True)
class LoggedRequest:
    """The part of a recorded request that is needed to run it again."""

    run: int  # id of its last run
    request_id: str
    user_id: str | None
    experiment: str | None
    input_params: str  # JSON
    time_budget_ms: float | None  # budget of the model; None: unknown


class ReplayLog:
    """The replays of one database, and the requests that they repeat; every method raises StorageUnavailable."""

    def __init__(self, engine: Engine, writer: Writer, clock: Clock) -> None:
        self._engine = engine
        self._writer = writer
        self._clock = clock

    def begin(self, replay: ReplayRecord, ranges: Sequence[Range] = ()) -> None:
        """Record a replay with the ranges that it repeats; if its id is recorded already, nothing changes."""
        rows = [asdict(each) | {"replay": replay.id} for each in ranges]
        self._writer.add_replay(replay, rows, self._clock())

    def ranges(self, replay: str) -> tuple[Range, ...]:
        """The ranges that a replay repeats, in its order; none for a replay from before version 10."""
        return tuple(Range(**row._asdict()) for row in fetch(self._engine, ranges_query(replay)))

    def finish(self, replay: str, skipped: Mapping[int, int]) -> None:
        """Record that ranges are done.

        Args:
            skipped: number of each range -> its requests without a pair.
        """

        def change(connection: Connection) -> None:
            for number, requests in skipped.items():
                which = and_(replay_ranges.c.replay == replay, replay_ranges.c.number == number)
                connection.execute(update(replay_ranges).where(which).values(skipped=requests))

        if skipped:
            self._writer.write(change)

    def find(self, replay: str) -> ReplayRecord | None:
        """The replay with this id."""
        return self.last(id=replay)

    def last(self, **wanted: str | None) -> ReplayRecord | None:
        """The latest replay with these values of `id`, `definition` or `experiment`, where they are not None."""
        query = matching(select(replays), replays, **wanted)
        for row in fetch(self._engine, query.order_by(replays.c.timestamp.desc(), replays.c.id.desc()).limit(1)):
            values = row._asdict()
            values |= {name: parse_time(values[name]) for name in ("timestamp", "since")}
            return ReplayRecord(**values | {"options": json.loads(values["options"])})
        return None

    def number(self, replay: str) -> int:
        """The number of a replay among all replays of the same two models, from 1."""
        query = select(REPLAY_NUMBERS.c.number).where(REPLAY_NUMBERS.c.id == replay)
        return int(fetch(self._engine, query)[0][0])

    def done(self, replay: str) -> int:
        """The number of requests that have a pair in this replay, or are known to have none."""
        of_pairs = select(func.count()).select_from(pairs).where(pairs.c.replay == replay)
        skipped = select(func.coalesce(func.sum(replay_ranges.c.skipped), 0)).where(replay_ranges.c.replay == replay)
        return sum(int(fetch(self._engine, query)[0][0]) for query in (of_pairs, skipped))

    def is_done(self, record: ReplayRecord) -> bool:
        """Whether each request with a valid input has its pair."""
        ranges = self.ranges(record.id)
        return all(each.is_done for each in ranges) if ranges else self.done(record.id) >= record.total

    def with_published(self, problem: Mapping[str, Any]) -> Mapping[str, Any]:
        """A recorded problem with the published plan in place of the run that it names, if that is still on record."""
        return with_published(problem, self._engine)

    def select(self, record: ReplayRecord) -> tuple[ReplayRecord, tuple[Range, ...]]:
        """The record with its selection completed, and the ranges of the selection; see `selection`.

        Only numbers are read, however many requests are selected.
        """
        limit, seed = int(str(record.options["limit"])), record.options.get("seed")
        with database_of(self._engine).errors(), self._engine.connect() as connection:
            last_run = int(connection.execute(select(func.max(runs.c.id))).scalar() or 0)
            connection.rollback()  # ends the snapshot
            database_of(self._engine).await_writers(connection, runs)
        record = replace(record, last_run=last_run)
        with reading(self._engine) as connection:
            if isinstance(seed, int):
                record = replace(record, sample_to=sample_limit(connection, record, seed, limit))
            ranges = ranges_of(connection, record, limit if seed is None else None)
        return replace(record, total=sum(each.requests for each in ranges)), ranges

    def requests(
        self, record: ReplayRecord, among: Range, limit: int, *, below: int | None = None
    ) -> list[LoggedRequest]:
        """The newest requests of a range that have no pair yet.

        Args:
            below: only those whose last run has a lower id.
        """
        names = ("request_id", "user_id", "experiment", "input_params", "time_budget_ms")
        query = select(runs.c.id.label("run"), *(runs.c[name] for name in names))
        has_pair = exists().where(
            pairs.c.replay == record.id,
            pairs.c.request_id == runs.c.request_id,
            pairs.c.candidate == record.candidate,
        )
        query = query.where(runs.c.id.between(among.first, among.last), selected(record), ~has_pair)
        query = query if below is None else query.where(runs.c.id < below)
        found = fetch(self._engine, query.order_by(runs.c.id.desc()).limit(limit))
        return [LoggedRequest(**row._asdict()) for row in found]

    def computed(self, replay: str, digests: Iterable[str]) -> dict[tuple[str, float], PairRecord]:
        """(digest of an input, budget in ms) -> a pair that the replay has of it, without failed runs."""
        columns = [pairs.c[name] for name in _PAIR]
        query = select(*columns).where(pairs.c.replay == replay, pairs.c.input_digest.in_(list(digests)))
        rows = fetch(self._engine, query.where(pairs.c.success_a, pairs.c.success_b))
        found = (PairRecord(**row._asdict()) for row in rows)
        return {(str(each.input_digest), float(each.time_budget_ms or 0.0)): each for each in found}

    def pairs(self, replay: str) -> "ReplayedPairs":
        """The pairs of a replay, for a verdict."""
        from scheduler_service.telemetry.replayed import ReplayedPairs

        number = fetch(self._engine, select(REPLAY_NUMBERS.c.number).where(REPLAY_NUMBERS.c.id == replay))
        return ReplayedPairs(self._engine, number[0][0] if number else None, pairs.c.replay == replay)

    def pairs_of_last(
        self, experiment: str, start: datetime | None = None, end: datetime | None = None
    ) -> "ReplayedPairs | None":
        """The pairs of the last replay of the experiment's first candidate; None: it has none in this period."""
        from scheduler_service.stats.arms import ARMS
        from scheduler_service.telemetry.replayed import ReplayedPairs

        return ReplayedPairs.of_last(self._engine, experiment, ARMS[1], start, end)
