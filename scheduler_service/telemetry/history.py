"""What was run lately, run by run or by time: for people who look, where `queries.run_frame` is for those who count."""

import json
from datetime import datetime, tzinfo
from typing import Any

from sqlalchemy import Engine

from scheduler_service.clock import Clock
from scheduler_service.errors import RunNotFound
from scheduler_service.telemetry import queries
from scheduler_service.telemetry.answered import answered_by
from scheduler_service.telemetry.trends import Trend, trend_of_last
from scheduler_service.telemetry.writer import Writer


class RunHistory:
    """The recorded runs of one database as plain values; every method raises StorageUnavailable."""

    def __init__(self, engine: Engine, writer: Writer, clock: Clock) -> None:
        self._engine, self._writer, self._clock = engine, writer, clock

    def latest(
        self,
        limit: int,
        *,
        before: int | None = None,
        model_key: str | None = None,
        experiment: str | None = None,
        search: str = "",
        without_experiments: bool = False,
    ) -> list[dict[str, Any]]:
        """The newest `limit` runs, the newest first; without what was asked for, which may be long.

        Args:
            before: only runs recorded before the one of this id.
            search: only runs with all of these words in name and owner, or a request id that begins so.
            without_experiments: only runs that no experiment assigned.
        """
        return queries.latest_runs(
            self._engine,
            limit,
            before=before,
            model_key=model_key,
            experiment=experiment,
            search=search,
            without_experiments=without_experiments,
        )

    def run(self, request_id: str) -> tuple[dict[str, Any], dict[str, Any] | None, bytes | None]:
        """The last run of a request, what it asked for, and its placements; None where they are not known.

        Raises:
            RunNotFound: no run has this request id.
        """
        found = queries.run_of_request(self._engine, request_id)
        if found is None:
            raise RunNotFound("run_not_found", request_id=request_id)
        asked, placements = found.pop("input_params"), found.pop("placements")
        return found, None if asked is None else json.loads(asked), placements

    def name(self, request_id: str, name: str | None, owner: str | None) -> None:
        """Says what a run is called and whose it is, in place of what was said before; None takes it back.

        Raises:
            RunNotFound: no run has this request id.
        """
        self._writer.name_run(request_id, name, owner, self._clock())

    def trend(
        self,
        now: datetime,
        *,
        hours: float,
        points: int,
        zone: tzinfo | None = None,
        model_key: str | None = None,
        experiment: str | None = None,
    ) -> Trend:
        """How the last `hours` before `now` went, or nearly so, in at most `points` buckets."""
        narrowed = {"model_key": model_key, "experiment": experiment}
        return trend_of_last(self._engine, now, hours, points, zone=zone, **narrowed)

    def answered_by(self, since: datetime, latest: int) -> dict[str, int]:
        """Model key -> how many of the newest `latest` answers since then were its own."""
        return answered_by(self._engine, since, latest)

    def experiments_since(self, run: int, pair: int) -> tuple[frozenset[str], int, int]:
        """Which experiments have runs or pairs of greater ids than these, and the greatest ids: reads what is new."""
        return queries.experiments_since(self._engine, run, pair)
