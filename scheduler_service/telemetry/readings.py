"""The current readings of the alert rules, and the runs that an alert is about."""

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
"""Most rules read the runs of this period."""
ALERT_COLUMNS = (
    *("success", "makespan", "execution_time", "model_key", "error_message", "gap", "n_workpoints", "n_steps"),
    *("time_budget_ms", "request_id"),
)
ABOUT_COLUMNS = (*ALERT_COLUMNS, "timestamp", "lower_bound", "experiment", "variant")
DAILY_RULES = frozenset({*rules.EVENTS, "input_drift"})
PAST_COLUMNS = ("n_workpoints", "lower_bound", "success", "makespan", "n_steps", "time_budget_ms")
DRIFT_WINDOW, DRIFT_REFERENCE = timedelta(days=1), timedelta(days=28)
MAX_RUNS = 5_000
"""Limit of the runs read for a window; the newest ones are read."""


def readings(
    engine: Engine,
    now: datetime,
    in_force: ThresholdsInForce,
    folder: Path,
    lang: Lang,
    runs: "pd.DataFrame | None" = None,
) -> list[rules.Reading]:
    """The current readings of the rules `RULES_OF_RUNS`.

    Args:
        folder: the free space of its disk is read; if it does not exist, of the disk where it would be.
        runs: of the last hour; columns `ALERT_COLUMNS`. None: read from the database.

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
        free_bytes=_free_bytes(folder),
        limits=in_force.all(),
        gap_limits=in_force.gaps(),
        custom_gaps=frozenset(in_force.custom_gaps()),
    )
    return [reading for read in rules.READERS for reading in read(seen, lang)]


def _free_bytes(folder: Path) -> int:
    return shutil.disk_usage(next(each for each in (folder, *folder.parents) if each.exists())).free


def window_of(episode: Episode) -> tuple[datetime, datetime]:
    """The period whose runs an alert is about: from the window of its first reading to its last reading.

    For a rise of the makespan, it is the window of the last reading.
    """
    if episode.name == "max_makespan_rise":
        return episode.last_beyond - DRIFT_WINDOW, episode.last_beyond
    length = DRIFT_WINDOW if episode.name in DAILY_RULES else ALERT_WINDOW
    return episode.began - length, episode.last_beyond


def runs_of(engine: Engine, episode: Episode, in_force: ThresholdsInForce) -> "pd.DataFrame":
    """The runs that an alert is about, worst first, with the rule's reading of each as `value`.

    Only the newest `MAX_RUNS` of the period are considered. Raises StorageUnavailable.
    """
    start, end = window_of(episode)
    if episode.name == "max_makespan_rise":
        limits = in_force.gaps()
        risen = judged(*_day_and_weeks(engine, end, end, ABOUT_COLUMNS), end, limits)
        return risen[[subject_of(size, limits) == episode.subject for size in risen["size"]]]
    runs = queries.run_frame(engine, start=start, end=end, columns=ABOUT_COLUMNS, latest=MAX_RUNS).iloc[::-1]
    return runs_about(episode.name, episode.subject, runs, in_force.gaps(), custom=in_force.custom_gaps())


def _day_and_weeks(
    engine: Engine, now: datetime, end: datetime | None, columns: Sequence[str]
) -> "tuple[pd.DataFrame, pd.DataFrame]":
    """The runs of the last day, until `end`, with `columns`; and those of the weeks before, with `PAST_COLUMNS`."""
    since, reference = now - DRIFT_WINDOW, now - DRIFT_REFERENCE
    recent = queries.run_frame(engine, start=since, end=end, columns=columns, latest=MAX_RUNS)
    return recent, queries.run_frame(engine, start=reference, end=since, columns=PAST_COLUMNS, latest=MAX_RUNS)


def plain_rows(runs: "pd.DataFrame") -> list[dict[str, Any]]:
    """Each run as a dict of its columns; None for missing and non-finite values."""
    known = runs.replace([math.inf, -math.inf], math.nan)
    rows = known.astype(object).where(known.notna(), None).to_dict("records")
    return [{str(name): value for name, value in row.items()} for row in rows]
