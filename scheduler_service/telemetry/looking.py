"""What the alerts' rules see in the records now: the last hour, the weeks before, and the disk."""

import math
import shutil
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import Engine

from scheduler_service.alerts import rules
from scheduler_service.alerts.about import runs_about
from scheduler_service.alerts.episodes import Episode
from scheduler_service.alerts.in_force import ThresholdsInForce
from scheduler_service.alerts.texts import Lang
from scheduler_service.telemetry import queries

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
RULES_OF_A_DAY = frozenset({"max_makespan_rise", *rules.EVENTS, "input_drift"})
ABOUT_AT_MOST = 5_000
DRIFT_COLUMNS = ["n_workpoints", "lower_bound"]
PAST_COLUMNS = (*DRIFT_COLUMNS, "timestamp", "request_id", "success", "makespan", "n_steps")
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
    recent, before = (
        queries.run_frame(engine, start=start, end=end, columns=PAST_COLUMNS, latest=DRIFT_RUNS_AT_MOST)
        for start, end in ((now - DRIFT_WINDOW, None), (now - DRIFT_REFERENCE, now - DRIFT_WINDOW))
    )
    silent, runs_then = queries.runs_of_weeks_before(engine, now, at_least=rules.SILENCE_AT_LEAST)
    free_bytes = shutil.disk_usage(folder).free
    limits, of_gaps, psi = in_force.all(), in_force.gaps(), in_force.all()["input_drift"]
    return [
        *rules.performance(runs, limits, lang),
        *rules.gaps(runs, of_gaps, lang, said=in_force.said_gaps()),
        *rules.makespan_rises(recent, before, now, limits["max_makespan_rise"], lang, limits=of_gaps),
        rules.drift("n_workpoints", recent["n_workpoints"], before["n_workpoints"], lang, limit=psi),
        rules.drift_of_bounds(recent[DRIFT_COLUMNS], before[DRIFT_COLUMNS], lang, limit=psi),
        rules.silence(silent, runs_then, lang, limit=limits["silent_service"]),
        rules.disk(free_bytes, limits["min_free_disk_gib"], lang),
    ]


def window_of(episode: Episode) -> tuple[datetime, datetime]:
    """The time whose runs an alert is about: of its first sign, until it was beyond last."""
    length = DRIFT_WINDOW if episode.name in RULES_OF_A_DAY else ALERT_WINDOW
    return episode.began - length, episode.last_beyond


def runs_of(engine: Engine, episode: Episode, in_force: ThresholdsInForce) -> "pd.DataFrame":
    """The runs that an alert is about, the worst first, with what its rule reads of each as `value`.

    Of many those are looked at that were recorded last. Raises StorageUnavailable.
    """
    start, end = window_of(episode)
    runs = queries.run_frame(engine, start=start, end=end, columns=ABOUT_COLUMNS, latest=ABOUT_AT_MOST).iloc[::-1]
    return runs_about(episode.name, episode.subject, runs, in_force.gaps(), said=in_force.said_gaps())


def plain_rows(runs: "pd.DataFrame") -> list[dict[str, Any]]:
    """Each run by the names of its columns; None for what is missing or not finite."""
    known = runs.replace([math.inf, -math.inf], math.nan)
    rows = known.astype(object).where(known.notna(), None).to_dict("records")
    return [{str(name): value for name, value in row.items()} for row in rows]
