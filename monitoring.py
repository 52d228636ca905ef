"""What the service did: records of runs, figures and reports of them.

    monitor = PerformanceMonitor()
    monitor.record_performance(PerformanceRecord(request_id="r1", model_key="DDQN_1a2b3c4d_v2.0.0", makespan=53.1))
    monitor.get_performance_data(start_time="2026-11-23T00:00:00")["makespan"].mean()
    monitor.generate_performance_report(days=7)
    ABTestAnalyzer(monitor).generate_ab_test_report("ddqn_v1_vs_v2", days=7)

numpy, pandas, matplotlib and scipy are imported by the methods that need them: the service starts without them.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from scheduler_service.clock import Clock, parse_time, utc_now
from scheduler_service.errors import ExperimentNotFound, InvalidInput
from scheduler_service.settings import settings_from_environment
from scheduler_service.telemetry import queries
from scheduler_service.telemetry.record import PairRecord, PerformanceRecord
from scheduler_service.telemetry.replays import ReplayLog
from scheduler_service.telemetry.schema import open_database
from scheduler_service.telemetry.writer import Writer

if TYPE_CHECKING:
    import pandas as pd

    from scheduler_service.experiments.experiment import Experiment

__all__ = ["PERFORMANCE_THRESHOLDS", "ABTestAnalyzer", "PairRecord", "PerformanceMonitor", "PerformanceRecord"]

Lang = Literal["zh", "en"]
Time = str | datetime | None

MAX_REPORT_DAYS = 3660

PERFORMANCE_THRESHOLDS: dict[str, float] = {
    "max_makespan": 60.0,  # hours, mean
    "max_execution_time": 10.0,  # seconds, 99th percentile
    "min_success_rate": 0.95,
}
"""What reports hold the figures against; read when a report is made, so that a change acts at once."""


class PerformanceMonitor:
    """Records runs and tells of them; threads and processes may share a database, each process with its own monitor.

    Args:
        db_path: of the SQLite file, made with its folder when missing; `<SCHED_HOME>/logs/performance.db` by default.
        reports_dir: where reports go; `<SCHED_HOME>/reports` by default.

    Raises:
        StorageUnavailable: the database cannot be opened.
    """

    def __init__(
        self, db_path: str | Path | None = None, *, reports_dir: str | Path | None = None, clock: Clock = utc_now
    ) -> None:
        self.db_path = Path(db_path) if db_path is not None else settings_from_environment().database_file
        self.reports_dir = Path(reports_dir) if reports_dir is not None else settings_from_environment().reports_dir
        self.clock = clock
        self._engine = open_database(self.db_path)
        self._writer = Writer(self._engine)
        self.replays = ReplayLog(self._engine, self._writer, clock)

    def record_performance(self, record: PerformanceRecord) -> None:
        """Records a run; it is on disk when this returns, and survives a kill and a power cut.

        Raises:
            StorageUnavailable: the database cannot be written; the run is not recorded.
        """
        self._writer.add_run(record, self.clock())

    def record_feedback(self, request_id: str, user_satisfaction: int, comment: str | None = None) -> None:
        """Records a person's verdict on a run, 1 (bad) to 5 (good), in place of an earlier one.

        Raises:
            InvalidInput: the verdict is not a whole number from 1 to 5.
            RunNotFound: no run has this request id.
            StorageUnavailable: the database cannot be written.
        """
        self._writer.add_feedback(request_id, user_satisfaction, comment, self.clock())

    def get_performance_data(
        self,
        start_time: Time = None,
        end_time: Time = None,
        model_key: str | None = None,
        experiment: str | None = None,
        *,
        columns: Sequence[str] | None = None,
    ) -> "pd.DataFrame":
        """The recorded runs, oldest first: one row each, columns and dtypes as in `telemetry.queries.DTYPES`.

        Args:
            start_time, end_time: both included; ISO-8601 text or datetime, local time unless it has an offset.
            columns: only these, in this order.

        Raises:
            InvalidInput: a time is not ISO-8601, or `columns` is empty or names one that does not exist.
            StorageUnavailable: the database cannot be read.
        """
        chosen = tuple(queries.DTYPES) if columns is None else tuple(columns)
        if not chosen or not set(chosen) <= set(queries.DTYPES):
            raise InvalidInput(f"columns {list(chosen)} are not some of {', '.join(queries.DTYPES)}")
        return queries.run_frame(
            self._engine,
            start=_moment("start_time", start_time),
            end=_moment("end_time", end_time),
            model_key=model_key,
            experiment=experiment,
            columns=chosen,
        )

    def count_runs(self, experiment: str | None = None) -> int:
        """How many runs are recorded, of an experiment or at all: cheap enough to ask every few seconds.

        Raises:
            StorageUnavailable: the database cannot be read.
        """
        return queries.count_runs(self._engine, experiment)

    def record_pair(self, *pairs: PairRecord) -> None:
        """Records what two models made of the same instance, several pairs in one commit; on disk when this returns.

        A replay's pair of a request that is recorded already is passed over.

        Raises:
            StorageUnavailable: the database cannot be written; none of them is recorded.
        """
        self._writer.add_pairs(pairs, self.clock())

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
            self._engine, experiment=experiment, replay=replay, source=source, start=start, end=end
        )

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
            self._engine, start=start, end=end, model_key=model_key, experiment=experiment, columns=SUMMARY_COLUMNS
        )
        return summarise_runs(runs, start, end)

    def generate_performance_report(self, days: float = 7, *, lang: Lang = "zh") -> str:
        """The path of a new report on the last `days` days: one HTML file that needs nothing else.

        Raises:
            InvalidInput: `days` is not within 0..3660, or the language is unknown.
            StorageUnavailable: the database cannot be read, or the report not be written.
        """
        from scheduler_service.reporting import analysis
        from scheduler_service.reporting.page import save
        from scheduler_service.reporting.performance import performance_page

        end = self.clock()
        start = end - _period(days, lang)
        runs = queries.run_frame(self._engine, start=start, end=end)
        before = queries.run_frame(
            self._engine, start=start - (end - start), end=start, columns=analysis.SUMMARY_COLUMNS
        )
        page = performance_page(runs, before, start, end, PERFORMANCE_THRESHOLDS, lang)
        return str(save(page, self.reports_dir, "performance", end, lang))

    def check_writable(self) -> None:
        """Nothing, if runs can be recorded now.

        Raises:
            StorageUnavailable: they cannot.
        """
        queries.check_reachable(self._engine)

    def close(self) -> None:
        """Lets go of the database file; the monitor opens it again when it is used again."""
        self._writer.close()


class ABTestAnalyzer:
    """Tells what the recorded runs say of an experiment.

    Args:
        monitor: whose runs, and whose folder for reports.
        config_path: of the experiments' definitions; `<SCHED_HOME>/ab_test_config.json` by default.
    """

    def __init__(self, monitor: PerformanceMonitor, *, config_path: str | Path | None = None) -> None:
        self._monitor = monitor
        self._config_path = Path(config_path) if config_path is not None else settings_from_environment().ab_config_file

    def generate_ab_test_report(self, experiment_name: str, days: float = 7, *, lang: Lang = "zh") -> str:
        """The path of a new report on the experiment's last `days` days: one HTML file that needs nothing else.

        An experiment that is no longer configured is judged by its makespan at the usual limits.

        Raises:
            ExperimentNotFound: it is neither configured nor in any recorded run.
            InvalidInput: `days` is not within 0..3660, or the language is unknown.
            StorageUnavailable: the database cannot be read, or the report not be written.
        """
        from scheduler_service.experiments.config import ConfigFile
        from scheduler_service.experiments.examination import RUN_COLUMNS, examine
        from scheduler_service.experiments.history import ExperimentHistory
        from scheduler_service.reporting.ab_test import ab_test_page
        from scheduler_service.reporting.page import save

        end = self._monitor.clock()
        start = end - _period(days, lang)
        configured = ConfigFile(self._config_path).current().experiments.get(experiment_name)
        runs = self._monitor.get_performance_data(start, end, experiment=experiment_name, columns=RUN_COLUMNS)
        pairs = self._monitor.get_pairs(experiment_name, start_time=start, end_time=end)
        experiment = configured
        if experiment is None:
            ever = self._monitor.get_performance_data(experiment=experiment_name, columns=("variant", "model_key"))
            experiment = _experiment_of_runs(experiment_name, ever, start)
        history = ExperimentHistory(self._config_path.parent / "logs" / "experiments.jsonl").of(experiment_name)
        examined = examine(experiment, runs, pairs, end)
        page = ab_test_page(examined, runs, pairs, history, start, end, lang, is_configured=configured is not None)
        return str(save(page, self._monitor.reports_dir, f"ab_test_{experiment_name}", end, lang))


def _experiment_of_runs(name: str, runs: "pd.DataFrame", start: datetime) -> "Experiment":
    """An experiment that only its runs know: their arms and models, and the usual limits; the split is unknown.

    Raises:
        ExperimentNotFound: no run of that name had an arm. Requests may name an experiment that never was.
    """
    from scheduler_service.experiments.experiment import Experiment
    from scheduler_service.stats.comparison import ARMS

    recorded = set(runs["variant"].dropna())
    if not recorded:
        raise ExperimentNotFound(f"no experiment {name!r} is configured, and none ran by that name")
    last = max((ARMS.index(arm) for arm in recorded if arm in ARMS), default=0)
    definition: dict[str, Any] = {"name": name, "start_time": start, "traffic_split": None}
    for arm in ARMS[: max(2, last + 1)]:
        keys = runs.loc[runs["variant"].eq(arm).fillna(value=False).astype(bool), "model_key"].dropna()
        definition[arm] = str(keys.iloc[-1]) if len(keys) else "?"
    # Not validated: the name may be none that can be configured, and nobody knows which split was asked for.
    return Experiment.model_construct(**definition)


def _moment(name: str, value: Time) -> datetime | None:
    """`value` as an aware time; without an offset it is local time."""
    if value is None:
        return None
    try:
        return parse_time(value) if isinstance(value, str) else value.astimezone(UTC)
    except (ValueError, OverflowError) as err:
        raise InvalidInput(
            f"{name} {value!r} is not an ISO-8601 time", [((name,), "must be an ISO-8601 time")]
        ) from err


def _period(days: float, lang: str) -> timedelta:
    if not 0.0 < days <= MAX_REPORT_DAYS:
        raise InvalidInput(f"days {days} is not greater than 0 and at most {MAX_REPORT_DAYS}")
    if lang not in ("zh", "en"):
        raise InvalidInput(f"lang {lang!r} is not one of zh, en")
    return timedelta(days=days)
