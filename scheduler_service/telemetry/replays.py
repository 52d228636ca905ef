"""The stored replays of recorded requests, and the requests they can repeat."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Engine, func, select

from scheduler_service.clock import Clock, parse_time
from scheduler_service.telemetry.published import with_published
from scheduler_service.telemetry.queries import REPLAY_NUMBERS, between, fetch, matching
from scheduler_service.telemetry.record import ReplayRecord
from scheduler_service.telemetry.schema import pairs, replay_runs, replays, runs
from scheduler_service.telemetry.writer import Writer

BATCH_SIZE = 500
"""Ids per statement; SQLite accepts 32,766, other databases and old versions fewer."""


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

    def begin(self, replay: ReplayRecord, run_ids: Sequence[int] = ()) -> None:
        """Record a replay with the runs that it repeats; if its id is recorded already, nothing changes."""
        self._writer.add_replay(replay, run_ids, self._clock())

    def selection(self, replay: str, begin: int = 0, end: int | None = None) -> list[int]:
        """The ids of the runs that a replay repeats, in its order; empty for a replay recorded before version 9.

        It is stored: of several processes that record runs, one may commit a lower id later than another a higher one.

        Args:
            begin, end: only those at these positions, `end` not included.
        """
        position = replay_runs.c.position
        query = select(replay_runs.c.run).where(replay_runs.c.replay == replay, position >= begin).order_by(position)
        query = query if end is None else query.where(position < end)
        return [row[0] for row in fetch(self._engine, query)]

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

    def done(self, replay: str, among: Sequence[int] | None = None) -> set[str]:
        """The ids of the requests that have a pair in this replay; only those of the runs `among` if they are few."""
        query = select(pairs.c.request_id).where(pairs.c.replay == replay)
        if among is not None and len(among) <= BATCH_SIZE:
            query = query.where(pairs.c.request_id.in_(select(runs.c.request_id).where(runs.c.id.in_(among))))
        return {row[0] for row in fetch(self._engine, query)}

    def with_published(self, problem: Mapping[str, Any]) -> Mapping[str, Any]:
        """A recorded problem with the published plan in place of the run that it names, if that is still on record."""
        return with_published(problem, self._engine)

    def last_run(self) -> int:
        """The id of the newest run; 0 if there is none."""
        return int(fetch(self._engine, select(func.max(runs.c.id)))[0][0] or 0)

    def select(self, *, experiment: str | None, since: datetime, last_run: int, limit: int | None = None) -> list[int]:
        """The ids of the last run of each request with a recorded input, newest first."""
        newest = func.max(runs.c.id)
        query = between(select(newest), runs, since, None).where(
            runs.c.id <= last_run, runs.c.input_params.is_not(None)
        )
        query = matching(query, runs, experiment=experiment).group_by(runs.c.request_id)
        return [row[0] for row in fetch(self._engine, query.order_by(newest.desc()).limit(limit))]

    def requests(self, run_ids: Sequence[int]) -> list[LoggedRequest]:
        """The requests of these runs, in this order, without those that were deleted."""
        names = ("request_id", "user_id", "experiment", "input_params", "time_budget_ms")
        query = select(runs.c.id.label("run"), *(runs.c[name] for name in names))
        found: dict[int, LoggedRequest] = {}
        for begin in range(0, len(run_ids), BATCH_SIZE):
            for row in fetch(self._engine, query.where(runs.c.id.in_(run_ids[begin : begin + BATCH_SIZE]))):
                found[row.run] = LoggedRequest(**row._asdict())
        return [found[run] for run in run_ids if run in found]
