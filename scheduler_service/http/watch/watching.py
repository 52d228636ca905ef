"""Periodic tasks: advance rollouts, stop bad candidates, roll back live models, send alerts.

Each is done by one process, see `duties`; only the breakers are checked by the process whose runs have failed.
"""

import logging
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING

import gevent

from model_manager import AUTO_ROLLBACK
from monitoring import PerformanceMonitor
from scheduler_service.alert_rules import RULES
from scheduler_service.alerts import rules
from scheduler_service.alerts.desk import SERVICE_LEASE
from scheduler_service.clock import to_iso, utc_now
from scheduler_service.errors import LeaseLost, ServiceError
from scheduler_service.experiments.examination import RUN_COLUMNS
from scheduler_service.experiments.experiment import Experiment
from scheduler_service.experiments.history import reason_of
from scheduler_service.experiments.lifecycle import Transition
from scheduler_service.experiments.rollout import Rollout
from scheduler_service.files import remove_leftovers
from scheduler_service.http.services import Services
from scheduler_service.http.watch.duties import do_alone
from scheduler_service.lease import Lease
from scheduler_service.settings import Settings
from scheduler_service.stats.breaker import REQUEST_COLUMNS
from scheduler_service.store.change import Store
from scheduler_service.store.folder import PENDING
from scheduler_service.telemetry.queries import Seen, experiments_since
from scheduler_service.words import Lang

if TYPE_CHECKING:
    import pandas as pd  # slow to import, and the service starts without it

EXPERIMENT_INTERVAL_S = 1.0
"""Interval between reviews of experiments with new runs."""
PAUSE_FACTOR, MAX_PAUSE_S = 9.0, 10.0
"""After a review of an experiment, the next one is due after `PAUSE_FACTOR` times its duration, at most `MAX_PAUSE_S`.
Many runs take long to read, and clients need the processor; but a bad candidate must be stopped within seconds."""
BREAKER_PAUSE_FACTOR = 3.0
"""As `PAUSE_FACTOR`, after a check of the breaker alone, which failed requests trigger and which reads little."""
UNCHANGED_INTERVAL_S = 30.0
"""Minimum time between two reviews of an experiment without new data: a rollout may no longer be held back, or an error
may be resolved. One such experiment per round, so that thousands cost no more than a few."""
MODEL_INTERVAL_S = 30.0
"""Interval between checks of the live models, with SCHED_AUTO_ROLLBACK."""
EVENT_WINDOW = timedelta(days=1)
"""How long a single event stays an alert."""
REPLAY_INTERVAL_S = 1.0
DELIVERY_INTERVAL_S = 5.0
CLEANUP_INTERVAL_S = 6 * 3_600.0
ALERT_RETENTION = timedelta(days=400)
"""For ended alerts and their notifications."""
EXPERIMENT_LEASE, MODEL_LEASE = "experiments.lease", "live_models.lease"

log = logging.getLogger(__name__)


def records_of(experiment: str, monitor: PerformanceMonitor) -> "tuple[pd.DataFrame, pd.DataFrame]":
    """The runs and the pairs of shadow runs of an experiment, for its review; no decision rests on a replay."""
    runs = monitor.get_performance_data(experiment=experiment, columns=RUN_COLUMNS)
    return runs, monitor.get_pairs(experiment, source="shadow")


@dataclass(frozen=True, slots=True)
class _Check:
    """The last review of an experiment, or the last check of its breaker."""

    at_s: float  # time.monotonic
    at: datetime
    took_s: float


class ExperimentWatch:
    """Reviews active experiments with new data; see `ABTestManager.review`.

    New data are a run, a pair, a change of the experiment or of the default model, and the end of a stage's minimum
    time. An experiment without runs is not reviewed.

    Args:
        lease: after its loss, nothing more is reviewed or changed; None: no other process reviews.
    """

    def __init__(self, parts: Services, lease: Lease | None = None) -> None:
        self._parts = parts
        self._lease = lease
        self._seen_rows = (Seen(), Seen())  # of runs and pairs
        self._started: set[str] = set()  # experiments with runs
        self._due: set[str] = set()
        self._seen: dict[str, Experiment] = {}
        self._default = ""
        self._reviews: dict[str, _Check] = {}
        self._errors: dict[str, str] = {}

    def review(self) -> None:
        """Review the experiments that are due."""
        experiments, monitor = self._parts.experiments, self._parts.monitor
        new, *seen = experiments_since(monitor.engine, *self._seen_rows)
        self._seen_rows = (seen[0], seen[1])
        self._started |= new
        active = {
            each.name: each
            for each in experiments.active_experiments()
            if each.name in self._started and (each.rollout or each.guardrails)
        }
        self._due = (self._due | new | self._changed(active)) & active.keys()
        self._due |= self._longest_unreviewed(active)
        for name in sorted(self._due):
            if self._lease is not None and not self._lease.is_held:
                return
            began_s, last = time.monotonic(), self._reviews.get(name)
            if last is not None and began_s - last.at_s < min(PAUSE_FACTOR * last.took_s, MAX_PAUSE_S):
                continue
            self._due.discard(name)
            try:
                experiments.review(name, *records_of(name, monitor), lease=self._lease)
                self._errors.pop(name, None)
            except LeaseLost as err:  # the holder of the lease reviews it
                log.info("%s", err)
                return
            except Exception as err:  # the other experiments are still reviewed
                if self._errors.get(name) != str(err):
                    self._errors[name] = str(err)
                    trace = None if isinstance(err, ServiceError) else err
                    log.warning("the experiment %s could not be reviewed: %s", name, err, exc_info=trace)
            self._reviews[name] = _check(began_s, is_first=last is None)

    def _changed(self, active: Mapping[str, Experiment]) -> set[str]:
        """The experiments that have changed since the last round, or whose stage may end."""
        now, default = utc_now(), self._parts.experiments.default_model
        is_other_default, self._default = default != self._default, default
        found = {
            name
            for name, each in active.items()
            if (each is not (seen := self._seen.get(name)) and each != seen)
            or (each.rollout is not None and (is_other_default or self._may_leave_stage(name, each.rollout, now)))
        }
        self._seen = dict(active)
        return found

    def _may_leave_stage(self, name: str, rollout: Rollout, now: datetime) -> bool:
        """Whether the minimum time of the stage is over, without a review since."""
        last, until = self._reviews.get(name), rollout.stage_since + timedelta(hours=rollout.min_hours)
        return until <= now and (last is None or last.at < until)

    def _longest_unreviewed(self, active: Mapping[str, Experiment]) -> set[str]:
        """The experiment whose review is oldest, of those whose result may change without new data."""
        waiting = [name for name, each in active.items() if each.rollout is not None or name in self._errors]
        reviewed_at = {name: self._reviews[name].at_s for name in waiting if name in self._reviews}
        oldest = min(reviewed_at, key=reviewed_at.__getitem__, default=None)
        return set() if oldest is None or time.monotonic() - reviewed_at[oldest] < UNCHANGED_INTERVAL_S else {oldest}


class BreakerWatch:
    """Checks the breakers of experiments with failed requests.

    Every process does so for its own requests, without a lease: a candidate must be stopped at once, and a second stop
    of the same candidate is refused.
    """

    def __init__(self, parts: Services) -> None:
        self._parts = parts
        self._checks: dict[str, _Check] = {}

    def check(self, names: frozenset[str]) -> None:
        """Stop the experiments in `names`, which have new failed requests, if their breakers trip."""
        experiments, monitor = self._parts.experiments, self._parts.monitor
        for experiment in experiments.active_experiments():
            name = experiment.name
            if name not in names or not experiment.guardrails:
                continue
            began_s, last = time.monotonic(), self._checks.get(name)
            if last is not None and began_s - last.at_s < min(BREAKER_PAUSE_FACTOR * last.took_s, MAX_PAUSE_S):
                continue
            experiments.trip(name, monitor.get_performance_data(experiment=name, columns=REQUEST_COLUMNS))
            self._checks[name] = _check(began_s, is_first=last is None)


def _check(began_s: float, *, is_first: bool) -> _Check:
    """The first check also imports pandas and scipy, so its duration does not count."""
    return _Check(began_s, utc_now(), 0.0 if is_first else time.monotonic() - began_s)


def watch_failures(parts: Services) -> None:
    """Check breakers immediately after failures of this process; runs forever."""
    watch = BreakerWatch(parts)
    while True:
        failed = parts.failed_runs.wait(None)
        try:
            parts.storage.run(partial(watch.check, failed))
        except Exception:  # the next check may work
            log.exception("the breakers could not be checked")
            gevent.sleep(EXPERIMENT_INTERVAL_S)


def watch_experiments(parts: Services) -> None:
    """Review the experiments; runs forever."""

    def review(lease: Lease) -> None:
        watch = ExperimentWatch(parts, lease)
        while lease.is_held:
            try:
                parts.storage.run(watch.review)
            except Exception:  # the next review may work
                log.exception("the experiments could not be reviewed")
            gevent.sleep(EXPERIMENT_INTERVAL_S)

    do_alone(parts, EXPERIMENT_LEASE, review)


def watch_live_models(parts: Services) -> None:
    """Roll back live models that are worse than at their validation; runs forever (docs/registry.md)."""
    cool_down = timedelta(hours=parts.settings.auto_rollback_cool_down_h)

    def check(lease: Lease) -> None:
        runs = parts.monitor.get_performance_data(start_time=to_iso(utc_now() - timedelta(days=1)))
        for algorithm in {record.algorithm for record in parts.models.list_models(tag="stable")}:
            if lease.is_held:
                parts.models.roll_back_if_degraded(algorithm, runs, cool_down, lease=lease)

    def check_periodically(lease: Lease) -> None:
        while lease.is_held:
            gevent.sleep(MODEL_INTERVAL_S)
            try:
                parts.storage.run(partial(check, lease))
            except LeaseLost as err:  # the holder of the lease checks them
                log.info("%s", err)
            except Exception:  # the next check may work
                log.exception("the live models could not be checked")

    do_alone(parts, MODEL_LEASE, check_periodically)


def watch_replays(parts: Services) -> None:
    """Take part in replays that replicas share; runs forever."""
    while True:
        parts.replays.join()
        gevent.sleep(REPLAY_INTERVAL_S)


def watch_alerts(parts: Services) -> None:
    """Evaluate alerts, deliver notifications, and clean up periodically; runs forever.

    One process does this for its whole life: alerts need pandas, which the other processes then need not load.
    """

    def check(lease: Lease) -> None:
        gevent.spawn(_deliver_alerts, parts, lease)
        _evaluate_alerts(parts, lease)

    if parts.settings.alert_every_s > 0.0:
        gevent.sleep(parts.settings.alert_every_s)
        do_alone(parts, SERVICE_LEASE, check)


def _evaluate_alerts(parts: Services, lease: Lease) -> None:
    last_error, next_cleanup_s = "", 0.0
    while lease.is_held:
        try:
            parts.storage.run(lambda: evaluate_alerts(parts))
            last_error = ""
            if time.monotonic() >= next_cleanup_s:
                next_cleanup_s = time.monotonic() + CLEANUP_INTERVAL_S
                parts.storage.run(lambda: clean_up(parts))
        except Exception as err:  # the next evaluation may work
            if last_error != str(err):
                last_error = str(err)
                log.warning("alerts could not be evaluated: %s", err, exc_info=not isinstance(err, ServiceError))
        gevent.sleep(parts.settings.alert_every_s)


def evaluate_alerts(parts: Services) -> None:
    """Evaluate all alert rules once."""
    lang = parts.settings.alert_lang
    readings = [*parts.monitor.alert_readings(lang), *service_readings(parts, lang)]
    parts.desk.look(readings, frozenset(RULES))


def _deliver_alerts(parts: Services, lease: Lease) -> None:
    """Separate from the evaluation, which a slow channel would delay."""
    last_error = ""
    while lease.is_held:
        try:
            parts.storage.run(parts.desk.deliver)
            last_error = ""
        except Exception as err:  # the next time may work
            if last_error != str(err):
                last_error = str(err)
                log.warning("alerts could not be delivered: %s", err, exc_info=not isinstance(err, ServiceError))
        gevent.sleep(min(DELIVERY_INTERVAL_S, parts.settings.alert_every_s))


def clean_up(parts: Services) -> None:
    """Compact runs older than SCHED_RETENTION_DAYS, and delete old ended alerts and old reports."""
    clean_folders(parts.settings, parts.models.store)
    now, monitor, days = utc_now(), parts.monitor, parts.settings.retention_days
    monitor.alerts.forget(now - ALERT_RETENTION)
    if (kept_days := parts.settings.report_retention_days) > 0.0:
        n_deleted = monitor.reports.forget(now - timedelta(days=kept_days))
        if n_deleted:
            log.info("%d reports older than %g days were deleted", n_deleted, kept_days)
    if days > 0.0:
        if parts.experiments.config_problem is not None:  # unknown which experiments' runs must be kept
            log.warning("old runs are not compacted: %s", parts.experiments.config_problem)
            return
        kept = [*parts.experiments.list_experiments(), *parts.experiments.archived_experiments()]
        compacted = monitor.upkeep.compact(now - timedelta(days=days), keep_experiments=[each.name for each in kept])
        if compacted:
            log.info("%d runs older than %g days are now sums by day and model", compacted, days)


def clean_folders(settings: Settings, store: Store) -> None:
    """Remove temporary files of killed processes; the registry removes its own.

    Raises:
        StorageUnavailable: the lock of the experiments is held too long.
    """
    for folder in (settings.logs_dir, settings.reports_dir):  # not all writers hold a lock
        remove_leftovers(folder)
    with store.changing():
        for name in (settings.ab_config_file.name, settings.thresholds_file.name, PENDING):
            remove_leftovers(settings.home, of=name, unchanged_for_s=0.0)


def service_readings(parts: Services, lang: Lang) -> list[rules.Reading]:
    """Automatic actions of the last day: stopped experiments and arms, rolled back models."""
    since = to_iso(utc_now() - EVENT_WINDOW)
    moves = [each for each in parts.experiments.history.transitions() if each.time >= since]
    aborted = (each for each in moves if each.event == "aborted")
    # Actions of a person are not alerts.
    arms = (each for each in moves if (each.event, each.actor) == ("arm_stopped", "guardrail"))
    rolled_back = (
        each
        for each in parts.models.history()
        if (each.event, each.actor) == ("rolled_back", AUTO_ROLLBACK) and each.time >= since
    )

    def reason(move: Transition) -> rules.Reason:
        return reason_of(move.to_dict()) or move.reason

    return [
        *(rules.experiment_aborted(e.experiment, reason(e), e.time, lang) for e in aborted),
        *(rules.arm_stopped(e.experiment, str(e.figures.get("arm")), reason(e), e.time, lang) for e in arms),
        *(rules.rolled_back(e.model_key, e.coded_reason or e.reason, e.time, lang) for e in rolled_back),
    ]


def firing_alerts(monitor: PerformanceMonitor) -> Counter[tuple[str, str]]:
    """(rule, severity) -> number of firing alerts."""
    return Counter((each.name, each.severity) for each in monitor.alerts.unended() if each.state == "firing")
