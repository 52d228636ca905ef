"""What a replay reads and writes of the records."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Engine

from scheduler_service.clock import Clock
from scheduler_service.telemetry import queries
from scheduler_service.telemetry.queries import LoggedRequest
from scheduler_service.telemetry.record import ReplayRecord
from scheduler_service.telemetry.writer import Writer


class ReplayLog:
    """The replays of one database, and the requests that they repeat; every method raises StorageUnavailable."""

    def __init__(self, engine: Engine, writer: Writer, clock: Clock) -> None:
        self._engine = engine
        self._writer = writer
        self._clock = clock

    def begin(self, replay: ReplayRecord) -> None:
        """Records what a replay selected; if one of its id has begun already, that one stands."""
        self._writer.add_replay(replay, self._clock())

    def last(self, *, definition: str | None = None, experiment: str | None = None) -> ReplayRecord | None:
        """The replay that began last, of those asked for in the same way or of an experiment's."""
        return queries.last_replay(self._engine, definition=definition, experiment=experiment)

    def number(self, replay: str) -> int:
        """Which replay of its two models it is, from 1 on, whoever asked for the others and for which experiment."""
        return queries.replay_number(self._engine, replay)

    def done(self, replay: str) -> set[str]:
        """The ids of the requests that are done."""
        return queries.requests_of_replay(self._engine, replay)

    def last_run(self) -> int:
        """The id of the newest run; 0 before there is one."""
        return queries.last_run(self._engine)

    def select(self, *, experiment: str | None, since: datetime, last_run: int, limit: int | None = None) -> list[int]:
        """The runs that can be repeated, one of each request, newest first."""
        return queries.requests_to_repeat(
            self._engine, experiment=experiment, since=since, last_run=last_run, limit=limit
        )

    def requests(self, runs: Sequence[int]) -> list[LoggedRequest]:
        """What was asked for in these runs."""
        return queries.logged_requests(self._engine, runs)
