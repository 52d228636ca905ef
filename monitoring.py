"""What the service did: records of runs, figures and reports of them.

    monitor = PerformanceMonitor()
    monitor.record_performance(PerformanceRecord(request_id="r1", model_key="DDQN_1a2b3c4d_v2.0.0", makespan=53.1))
    monitor.get_performance_data(start_time="2026-11-23T00:00:00")["makespan"].mean()
    monitor.generate_performance_report(days=7)
    ABTestAnalyzer(monitor).generate_ab_test_report("ddqn_v1_vs_v2", days=7)
    check_performance_alerts()  # what is beyond its threshold; the service does it by itself
    send_alert("性能告警: 平均完工时间超过阈值")

numpy, pandas, matplotlib and scipy are imported by the methods that need them: the service starts without them.
"""

import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from scheduler_service.alert_rules import GAP_PREFIX, GAP_THRESHOLDS
from scheduler_service.alerts.episodes import Episode, Policy
from scheduler_service.alerts.in_force import ThresholdsInForce
from scheduler_service.alerts.limits import LimitFile
from scheduler_service.alerts.rules import RULES_OF_RUNS
from scheduler_service.clock import Clock, parse_time, utc_now
from scheduler_service.command_line import Progress
from scheduler_service.database_url import DatabaseUrl, parse_path, parse_place
from scheduler_service.errors import InvalidInput
from scheduler_service.reporting.shelf import open_shelf
from scheduler_service.settings import Settings, settings_from_environment
from scheduler_service.store.change import Store
from scheduler_service.store.opening import store_for
from scheduler_service.telemetry import queries
from scheduler_service.telemetry.alerts import AlertLog
from scheduler_service.telemetry.database import open_database
from scheduler_service.telemetry.export import export
from scheduler_service.telemetry.readings import readings, runs_of
from scheduler_service.telemetry.record import MAX_REPORT_DAYS, PairRecord, PerformanceRecord
from scheduler_service.telemetry.replays import ReplayLog
from scheduler_service.telemetry.upkeep import Upkeep
from scheduler_service.telemetry.writer import Writer

if TYPE_CHECKING:
    import pandas as pd

    from scheduler_service.alerts.desk import AlertDesk
    from scheduler_service.alerts.rules import Reading

__all__ = [
    "GAP_THRESHOLDS",
    "PERFORMANCE_THRESHOLDS",
    "ABTestAnalyzer",
    "PairRecord",
    "PerformanceMonitor",
    "PerformanceRecord",
    "alert_desk",
    "check_performance_alerts",
    "send_alert",
]

Lang = Literal["zh", "en"]
Time = str | datetime | None

LIMITS_NAME = "alert_thresholds.json"

PERFORMANCE_THRESHOLDS: dict[str, float] = {
    "max_makespan": 60.0,  # hours, mean of requests of one standard cycle
    "max_execution_time": 10.0,  # seconds beyond what was granted, 99th percentile
    "min_success_rate": 0.95,
}
"""What reports and alerts hold the figures against; read when they are made, so that a change acts at once.

`SCHED_ALERT_THRESHOLDS` says others, also for `GAP_THRESHOLDS`, which are by size; and people may set any of them.
"""


class PerformanceMonitor:
    """Records runs and tells of them; threads and processes may share a database, each process with its own monitor.

    Args:
        db_path: of the SQLite file, made with its folder when missing, or the address of a PostgreSQL database;
            by default `SCHED_DATABASE_URL`, and `<SCHED_HOME>/logs/performance.db` if that is not set.
        reports_dir: where reports go; `<SCHED_HOME>/reports` by default.
        thresholds: instead of the usual ones of the same names; `SCHED_ALERT_THRESHOLDS` by default.
        thresholds_file: what people set, which counts before `thresholds`; beside `db_path` or in `store` if None.
        share_reports: reports go to the PostgreSQL database, if the records are there, and not to `reports_dir`.
        must_open: False: a database that cannot be opened (StorageUnavailable) is tried again whenever it is needed.
    """

    def __init__(
        self,
        db_path: str | Path | DatabaseUrl | None = None,
        *,
        reports_dir: str | Path | None = None,
        thresholds: Mapping[str, float] | None = None,
        thresholds_file: str | Path | None = None,
        share_reports: bool = False,
        must_open: bool = True,
        clock: Clock = utc_now,
        store: Store | None = None,
    ) -> None:
        usual = settings_from_environment()
        where = usual.records if db_path is None else db_path
        where = where if isinstance(where, DatabaseUrl) else parse_place(where)
        self.db_path = where if isinstance(where, Path) else usual.database_file
        self.reports_dir = usual.reports_dir if reports_dir is None else parse_path(reports_dir)
        self.clock = clock
        if thresholds_file is None and db_path is not None and isinstance(where, Path):
            thresholds_file = self.db_path.with_name(LIMITS_NAME)
        said = usual.alert_thresholds if thresholds is None else thresholds
        limits = LimitFile(store_for(thresholds_file, store), Path(thresholds_file or LIMITS_NAME).name, clock)
        self.limits = ThresholdsInForce(limits, said, lambda: PERFORMANCE_THRESHOLDS)
        self.engine = open_database(where, must_open=must_open)
        self.reports = open_shelf(self.reports_dir, self.engine, where, is_shared=share_reports)
        self.writer = Writer(self.engine)
        self.replays = ReplayLog(self.engine, self.writer, clock)
        self.alerts = AlertLog(self.engine, self.writer, clock)
        self.upkeep = Upkeep(self.engine, self.writer)

    @property
    def thresholds(self) -> dict[str, float]:
        """The thresholds in force, but for those on the gap."""
        return {name: limit for name, limit in self.limits.all().items() if not name.startswith(GAP_PREFIX)}

    @property
    def gap_thresholds(self) -> dict[int, float]:
        """Greatest number of work points of a size -> greatest mean gap to the lower bound, a share."""
        return self.limits.gaps()

    def record_performance(self, *records: PerformanceRecord) -> None:
        """Records a run, or several; they are on disk when this returns, and survive a kill and a power cut.

        Raises:
            StorageUnavailable: the database cannot be written; none is recorded.
        """
        self.writer.add_runs(records, self.clock())

    def record_feedback(self, request_id: str, user_satisfaction: int, comment: str | None = None) -> None:
        """Records a person's verdict on a run, 1 (bad) to 5 (good), in place of an earlier one.

        Raises:
            InvalidInput: the verdict is not a whole number from 1 to 5.
            RunNotFound: no run has this request id.
            StorageUnavailable: the database cannot be written.
        """
        self.writer.add_feedback(request_id, user_satisfaction, comment, self.clock())

    def get_performance_data(
        self,
        start_time: Time = None,
        end_time: Time = None,
        model_key: str | None = None,
        experiment: str | None = None,
        *,
        columns: Sequence[str] | None = None,
        latest: int | None = None,
    ) -> "pd.DataFrame":
        """The recorded runs, oldest first: one row each, columns and dtypes as in `telemetry.queries.DTYPES`.

        Args:
            start_time, end_time: both included; ISO-8601 text or datetime, local time unless it has an offset.
            columns: only these, in this order.
            latest: only so many, the newest ones, and newest first.

        Raises:
            InvalidInput: a time is not ISO-8601, or `columns` is empty or names one that does not exist.
            StorageUnavailable: the database cannot be read.
        """
        chosen = tuple(queries.DTYPES) if columns is None else tuple(columns)
        if not chosen or not set(chosen) <= set(queries.DTYPES):
            raise InvalidInput("unknown_columns", ("columns",), names=list(chosen), known=list(queries.DTYPES))
        start, end = _moment("start_time", start_time), _moment("end_time", end_time)
        which: dict[str, Any] = {"model_key": model_key, "experiment": experiment, "latest": latest}
        return queries.run_frame(self.engine, start=start, end=end, columns=chosen, **which)

    def count_runs(self, experiment: str | None = None) -> int:
        """How many runs are recorded, of an experiment or at all: cheap enough to ask every few seconds.

        Raises:
            StorageUnavailable: the database cannot be read.
        """
        return queries.count_runs(self.engine, experiment)

    def record_pair(self, *pairs: PairRecord) -> None:
        """Records what two models made of the same instance, several pairs in one commit; on disk when this returns.

        A replay's pair of a request that is recorded already is passed over.

        Raises:
            StorageUnavailable: the database cannot be written; none of them is recorded.
        """
        self.writer.add_pairs(pairs, self.clock())

    def get_pairs(
        self,
        experiment: str | None = None,
        *,
        replay: str | None = None,
        source: Literal["shadow", "replay"] | None = None,
        start_time: Time = None,
        end_time: Time = None,
    ) -> "pd.DataFrame":
        """The recorded pairs, oldest first: columns and dtypes as in `telemetry.queries.PAIR_DTYPES`.

        Args:
            replay: only of this one, by its id.

        Raises:
            InvalidInput, StorageUnavailable: as `get_performance_data`.
        """
        start, end = _moment("start_time", start_time), _moment("end_time", end_time)
        return queries.pair_frame(
            self.engine, experiment=experiment, replay=replay, source=source, start=start, end=end
        )

    def export(
        self,
        path: str | Path,
        what: Literal["runs", "pairs"] = "runs",
        *,
        start_time: Time = None,
        end_time: Time = None,
        model_key: str | None = None,
        experiment: str | None = None,
        progress: Progress | None = None,
    ) -> int:
        """How many rows were written to a `.csv` or `.parquet` file; see `telemetry.export`, whose errors it raises."""
        start, end = _moment("start_time", start_time), _moment("end_time", end_time)
        chosen: dict[str, Any] = {"model_key": model_key, "experiment": experiment, "progress": progress}
        return export(self.engine, Path(path), what, start=start, end=end, **chosen)

    def summary(
        self,
        start_time: Time = None,
        end_time: Time = None,
        model_key: str | None = None,
        experiment: str | None = None,
    ) -> dict[str, object]:
        """The figures of the runs that `get_performance_data` gives for the same arguments, as JSON; None for none.

        Raises:
            InvalidInput, StorageUnavailable: as `get_performance_data`.
        """
        from scheduler_service.reporting.analysis import SUMMARY_COLUMNS, summarise_runs

        start, end = _moment("start_time", start_time), _moment("end_time", end_time)
        runs = queries.run_frame(
            self.engine, start=start, end=end, model_key=model_key, experiment=experiment, columns=SUMMARY_COLUMNS
        )
        return summarise_runs(runs, start, end)

    def generate_performance_report(self, days: float = 7, *, lang: Lang = "zh", pdf: bool = False) -> str:
        """The path, or name if shared, of a new report on the last `days` days: one HTML file that needs nothing else.

        Args:
            pdf: writes the same as PDF beside it, too, under the same name but for `.pdf`.

        Raises:
            InvalidInput: `days` is not within 0..3660, or the language is unknown.
            StorageUnavailable: the database cannot be read, or the report not be written.
        """
        from scheduler_service.reporting import analysis
        from scheduler_service.reporting.facts import AlertRow
        from scheduler_service.reporting.performance import performance_report

        end = self.clock()
        start = end - _period(days, lang)
        runs = queries.run_frame(self.engine, start=start, end=end, columns=analysis.REPORT_COLUMNS)
        before = queries.run_frame(
            self.engine, start=start - (end - start), end=start, columns=analysis.SUMMARY_COLUMNS
        )
        alerts = [AlertRow.of(episode, lang) for episode in self.alerts.between(start, end)]
        said = tuple(self.limits.custom_gaps())
        more: dict[str, Any] = {"gap_thresholds": self.gap_thresholds, "alerts": alerts, "custom_gaps": said}
        report = performance_report(runs, before, start, end, self.thresholds, lang, **more)
        return self.reports.save(report, "performance", pdf=pdf)

    def alert_readings(self, lang: Lang = "zh", *, runs: "pd.DataFrame | None" = None) -> "list[Reading]":
        """What the rules `RULES_OF_RUNS` see now: in the last hour and the weeks before, and on the disk.

        Args:
            runs: of the last hour, if they are at hand; columns `telemetry.readings.ALERT_COLUMNS`.

        Raises:
            StorageUnavailable: the database cannot be read.
        """
        return readings(self.engine, self.clock(), self.limits, self.db_path.parent, lang, runs)

    def runs_of_alert(self, alert: int) -> "tuple[Episode, pd.DataFrame]":
        """An alert, and the runs that it is about, the worst first: see `telemetry.readings.runs_of`.

        Raises:
            AlertNotFound: there is none with this id.
            StorageUnavailable: the database cannot be read.
        """
        episode = self.alerts.find(alert)
        return episode, runs_of(self.engine, episode, self.limits)

    def check_writable(self) -> str:
        """What became of the database since this was made, "" if nothing did; runs can be recorded now.

        Raises:
            StorageUnavailable: they cannot.
        """
        self.writer.check_writable()
        return self.writer.note

    def close(self) -> None:
        """Lets go of the database; the monitor opens it again when it is used again."""
        self.writer.close()


class ABTestAnalyzer:
    """Tells what the runs of `monitor` say of an experiment, as it is defined in `config_path` (as `ABTestManager`)."""

    def __init__(
        self, monitor: PerformanceMonitor, *, config_path: str | Path | None = None, store: Store | None = None
    ) -> None:
        self._monitor = monitor
        self._config_path, self._store = config_path, store

    def generate_ab_test_report(
        self, experiment_name: str, days: float = 7, *, lang: Lang = "zh", pdf: bool = False
    ) -> str:
        """The path of a new report on the experiment's last `days` days: one HTML file that needs nothing else.

        An experiment that is no longer configured is judged by its makespan at the usual limits.

        Args:
            pdf: as `generate_performance_report`.

        Raises:
            ExperimentNotFound: it is neither configured nor in any recorded run.
            InvalidInput: `days` is not within 0..3660, or the language is unknown.
            StorageUnavailable: the database or the experiments cannot be read, or the report not be written.
        """
        from scheduler_service.experiments.archive import Archive
        from scheduler_service.experiments.config import NAME, ConfigFile
        from scheduler_service.experiments.examination import RUN_COLUMNS, examine, experiment_of_runs
        from scheduler_service.experiments.history import ExperimentHistory
        from scheduler_service.reporting.ab_test import ab_test_report

        end = self._monitor.clock()
        start = end - _period(days, lang)
        store, path = store_for(self._config_path, self._store), Path(self._config_path or NAME)
        config = ConfigFile(store, path.name).known().experiments
        configured = config.get(experiment_name) or Archive(store).find(experiment_name)
        runs = self._monitor.get_performance_data(start, end, experiment=experiment_name, columns=RUN_COLUMNS)
        pairs = self._monitor.get_pairs(experiment_name, source="shadow", start_time=start, end_time=end)
        experiment = configured
        if experiment is None:
            ever = self._monitor.get_performance_data(experiment=experiment_name, columns=("variant", "model_key"))
            experiment = experiment_of_runs(experiment_name, ever, start)
        history, replays = ExperimentHistory(store).of(experiment_name), self._monitor.replays
        examined = examine(experiment, runs, pairs, end, replays.pairs_of_last(experiment_name, start, end))
        report = ab_test_report(examined, runs, pairs, history, start, end, lang, is_configured=configured is not None)
        return self._monitor.reports.save(report, f"ab_test_{experiment_name}", pdf=pdf)


def alert_desk(
    monitor: PerformanceMonitor, settings: Settings | None = None, *, confirm_s: float = 0.0, is_service: bool = False
) -> "AlertDesk":
    """What tells people of the monitor's alerts, through the channels that the settings name.

    Args:
        settings: those of the environment by default.
        confirm_s: how long something is wrong before it is told.
        is_service: whether it belongs to a service that holds the lease of the alerts.
    """
    from scheduler_service.alerts.channels import channels_from
    from scheduler_service.alerts.desk import AlertDesk

    settings = settings or settings_from_environment()
    policy = Policy(confirm_s, settings.alert_cool_down_s, settings.alert_remind_h * 3_600.0)
    chosen: dict[str, Any] = {"policy": policy, "lang": settings.alert_lang, "is_service": is_service}
    return AlertDesk(monitor.alerts, channels_from(settings), monitor.clock, **chosen)


@cache
def _usual_desk() -> "tuple[PerformanceMonitor, AlertDesk]":
    monitor = PerformanceMonitor()
    return monitor, alert_desk(monitor)


def check_performance_alerts(monitor: PerformanceMonitor | None = None) -> list[dict[str, object]]:
    """What is beyond its threshold now, each alert with its fields; what was not told yet is sent.

    An alert is told once, when it begins, and once more when it ends, however often this is called. A service does it
    by itself every `SCHED_ALERT_EVERY_S` seconds; while it runs, this tells nobody and only answers what it sees.

    Args:
        monitor: whose runs; those of `SCHED_HOME` by default.

    Raises:
        StorageUnavailable: the database cannot be used.
    """
    from scheduler_service.alerts.desk import as_json

    judged, desk = _usual_desk() if monitor is None else (monitor, alert_desk(monitor))
    firing = desk.look(judged.alert_readings(settings_from_environment().alert_lang), RULES_OF_RUNS)
    desk.deliver()
    return [as_json(episode) for episode in firing]


def send_alert(
    message: str,
    *,
    severity: Literal["info", "warning", "critical"] = "warning",
    monitor: PerformanceMonitor | None = None,
) -> bool:
    """Tells people something: the log, and every channel that is configured (SCHED_ALERT_*).

    A channel that cannot be reached now is tried again, by the service or by the next call; until then the message
    is in the database. False, if the same was told less than SCHED_ALERT_COOL_DOWN_S ago: then nothing is sent.

    Raises:
        InvalidInput: the message is empty.
        StorageUnavailable: the database cannot be written; nothing was sent.
    """
    if not message.strip():
        raise InvalidInput("missing", ("message",))
    desk = _usual_desk()[1] if monitor is None else alert_desk(monitor)
    is_new = desk.tell(message, severity=severity)
    desk.deliver()
    return is_new


def _moment(name: str, value: Time) -> datetime | None:
    """`value` as an aware time; without an offset it is local time."""
    if value is None:
        return None
    try:
        return parse_time(value) if isinstance(value, str) else value.astimezone(UTC)
    except (ValueError, OverflowError) as err:
        raise InvalidInput("not_a_time", (name,), value=repr(value)) from err


def _period(days: float, lang: str) -> timedelta:
    if not 0.0 < days <= MAX_REPORT_DAYS:
        raise InvalidInput("not_positive", ("days",), maximum=MAX_REPORT_DAYS, value=days)
    if lang not in ("zh", "en"):
        raise InvalidInput("literal_error", ("lang",), expected=["zh", "en"], value=repr(lang))
    return timedelta(days=days)


if __name__ == "__main__":
    from scheduler_service.telemetry.cli import Door, main

    sys.exit(main(Door(PerformanceMonitor, ABTestAnalyzer, alert_desk)))
