"""What the alerts' rules see in the records now: the last hour, the weeks before, and the disk."""

import math
import shutil
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import Engine

from scheduler_service.alerts import rules
from scheduler_service.alerts.about import runs_about, subject_of
from scheduler_service.alerts.episodes import Episode
from scheduler_service.alerts.in_force import ThresholdsInForce
from scheduler_service.alerts.rise import judged
from scheduler_service.telemetry import queries
from scheduler_service.words import Lang

if TYPE_CHECKING:
    import pandas as pd

ALERT_WINDOW = timedelta(hours=1)
"""The runs that alerts judge."""
ALERT_COLUMNS = (
    *("success", "makespan", "execution_time", "model_key", "error_message", "gap", "n_workpoints", "n_steps"),
    *("time_budget_ms", "request_id"),
)
ABOUT_COLUMNS = (
    *ALERT_COLUMNS,
    *("timestamp", "lower_bound", "experiment", "variant"),
)
"""Of the runs that an alert is about."""
RULES_OF_A_DAY = frozenset({*rules.EVENTS, "input_drift"})
ABOUT_AT_MOST = 5_000
DRIFT_COLUMNS = ["n_workpoints", "lower_bound"]
PAST_COLUMNS = (*DRIFT_COLUMNS, "success", "makespan", "n_steps", "time_budget_ms")
DRIFT_WINDOW, DRIFT_REFERENCE = timedelta(days=1), timedelta(days=28)
DRIFT_RUNS_AT_MOST = 5_000


def readings(
    engine: Engine,
    now: datetime,
    in_force: ThresholdsInForce,
    folder: Path,
    lang: Lang,
    runs: "pd.DataFrame | None" = None,
) -> list[rules.Reading]:
    """What the rules `RULES_OF_RUNS` see now.

    Args:
        folder: whose disk is looked at.
        runs: of the last hour, if they are at hand; columns `ALERT_COLUMNS`.

    Raises:
        StorageUnavailable: the database cannot be read.
    """
    if runs is None:
        runs = queries.run_frame(engine, start=now - ALERT_WINDOW, columns=ALERT_COLUMNS)
    recent, before = _day_and_weeks(engine, now, None, (*PAST_COLUMNS, "timestamp", "request_id"))
    silent, runs_then = queries.runs_of_weeks_before(engine, now, at_least=rules.SILENCE_AT_LEAST)
    seen = rules.Seen(
        now=now,
        runs=runs,
        recent=recent,
        before=before,
        silent=silent,
        runs_then=runs_then,
        free_bytes=shutil.disk_usage(folder).free,
        limits=in_force.all(),
        gap_limits=in_force.gaps(),
        custom_gaps=frozenset(in_force.custom_gaps()),
    )
    return [reading for read in rules.READERS for reading in read(seen, lang)]


def window_of(episode: Episode) -> tuple[datetime, datetime]:
    """The time whose runs an alert is about: of its first sign, until it was beyond last; of a rise, its last look."""
    if episode.name == "max_makespan_rise":
        return episode.last_beyond - DRIFT_WINDOW, episode.last_beyond
    length = DRIFT_WINDOW if episode.name in RULES_OF_A_DAY else ALERT_WINDOW
    return episode.began - length, episode.last_beyond


def runs_of(engine: Engine, episode: Episode, in_force: ThresholdsInForce) -> "pd.DataFrame":
    """The runs that an alert is about, the worst first, with what its rule reads of each as `value`.

    Of many those are looked at that were recorded last. Raises StorageUnavailable.
    """
    start, end = window_of(episode)
    if episode.name == "max_makespan_rise":
        limits = in_force.gaps()
        risen = judged(*_day_and_weeks(engine, end, end, ABOUT_COLUMNS), end, limits)
        return risen[[subject_of(size, limits) == episode.subject for size in risen["size"]]]
    runs = queries.run_frame(engine, start=start, end=end, columns=ABOUT_COLUMNS, latest=ABOUT_AT_MOST).iloc[::-1]
    return runs_about(episode.name, episode.subject, runs, in_force.gaps(), custom=in_force.custom_gaps())


def _day_and_weeks(
    engine: Engine, now: datetime, end: datetime | None, columns: Sequence[str]
) -> "tuple[pd.DataFrame, pd.DataFrame]":
    """The runs of the last day, until `end`, with `columns`; and `PAST_COLUMNS` of those of the weeks before."""
    since, at_most = now - DRIFT_WINDOW, DRIFT_RUNS_AT_MOST
    recent = queries.run_frame(engine, start=since, end=end, columns=columns, latest=at_most)
    weeks = (now - DRIFT_REFERENCE, since)
    return recent, queries.run_frame(engine, start=weeks[0], end=weeks[1], columns=PAST_COLUMNS, latest=at_most)


def plain_rows(runs: "pd.DataFrame") -> list[dict[str, Any]]:
    """Each run by the names of its columns; None for what is missing or not finite."""
    known = runs.replace([math.inf, -math.inf], math.nan)
    rows = known.astype(object).where(known.notna(), None).to_dict("records")
    return [{str(name): value for name, value in row.items()} for row in rows]
