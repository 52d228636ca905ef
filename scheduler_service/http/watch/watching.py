"""What the service does by itself, every few seconds: move rollouts, stop bad candidates, roll live models back, alert.

Of several processes one acts at a time: who holds the lease, which the system takes back when the process dies.
"""

import logging
import math
import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING

import gevent

from model_manager import AUTO_ROLLBACK
from monitoring import PerformanceMonitor
from scheduler_service.alert_rules import BY_NAME
from scheduler_service.alerts import rules
from scheduler_service.clock import to_iso, utc_now
from scheduler_service.errors import ServiceError, StorageUnavailable
from scheduler_service.experiments.examination import RUN_COLUMNS
from scheduler_service.experiments.experiment import Experiment
from scheduler_service.experiments.rollout import Rollout
from scheduler_service.files import locked, remove_leftovers
from scheduler_service.http.services import Services
from scheduler_service.settings import Settings
from scheduler_service.stats.breaker import REQUEST_COLUMNS
from scheduler_service.telemetry.queries import experiments_since
from scheduler_service.words import Lang

if TYPE_CHECKING:
    import pandas as pd  # slow to import, and the service starts without it

EXPERIMENTS_EVERY_S = 1.0
"""How often experiments with new runs are judged."""
REST, MOST_REST_S = 9.0, 10.0
"""How many times longer it rests than a look took, and the limit: many runs take long to read, and clients need the
processor, too; but a bad candidate has to go within seconds."""
GLANCE_REST = 3.0
"""As `REST`, after a look at the breaker alone, which failed requests ask for and which reads little."""
ANYWAY_EVERY_S = 30.0
"""How often, at most, one of those is judged that have nothing new: a rollout that was held back may go on by now, or a
trouble be over. One in a round, so that thousands that rest cost no more than a few."""
MODELS_EVERY_S = 30.0
"""How often the live models are judged, if they are (SCHED_AUTO_ROLLBACK)."""
EVENT_WINDOW = timedelta(days=1)
"""How long something that happened once is an alert."""
DELIVER_EVERY_S = 5.0
TIDY_EVERY_S = 6 * 3_600.0
ALERTS_KEPT = timedelta(days=400)
"""Of alerts that have ended, and of what was sent of them."""

log = logging.getLogger(__name__)


def records_of(experiment: str, monitor: PerformanceMonitor) -> "tuple[pd.DataFrame, pd.DataFrame]":
    """The runs and the pairs that an experiment is judged by."""
    return monitor.get_performance_data(experiment=experiment, columns=RUN_COLUMNS), monitor.get_pairs(experiment)


@dataclass(frozen=True, slots=True)
class _Look:
    """The last time that an experiment was judged, or its breaker was looked at."""

    at_s: float  # time.monotonic
    at: datetime
    took_s: float


class ExperimentWatch:
    """Judges active experiments when there is something new; see `ABTestManager.review`.

    New is a run, a pair, a change of the experiment or of the default model, and the end of a stage's least time. What
    an experiment without a run could be judged by does not exist.
    """

    def __init__(self, parts: Services) -> None:
        self._parts = parts
        self._since = (0, 0)  # ids of the last run and pair that were seen
        self._started: set[str] = set()  # experiments with runs
        self._due: set[str] = set()
        self._seen: dict[str, Experiment] = {}
        self._default = ""
        self._looks: dict[str, _Look] = {}
        self._glances: dict[str, _Look] = {}
        self._troubles: dict[str, str] = {}
        self._lease = parts.settings.ab_config_file.with_name("experiments.lease")

    def look(self) -> None:
        """One round, if no other process is at it."""
        self._holding(self._round)

    def glance(self, names: frozenset[str]) -> None:
        """Whether the breaker of one of these experiments trips, whose requests failed just now; then it is stopped."""
        self._holding(lambda: self._glance_round(names))

    def _holding(self, work: Callable[[], None]) -> None:
        with ExitStack() as held:
            try:
                held.enter_context(locked(self._lease, timeout_s=0.0))
            except StorageUnavailable as err:  # usually another process has it
                log.debug("%s", err)
                return
            work()

    def _glance_round(self, names: frozenset[str]) -> None:
        experiments, monitor = self._parts.experiments, self._parts.monitor
        for experiment in experiments.active_experiments():
            name = experiment.name
            if name not in names or not experiment.guardrails:
                continue
            began_s, last = time.monotonic(), self._glances.get(name)
            if last is not None and began_s - last.at_s < min(GLANCE_REST * last.took_s, MOST_REST_S):
                continue
            experiments.trip(name, monitor.get_performance_data(experiment=name, columns=REQUEST_COLUMNS))
            self._glances[name] = _look(began_s, is_first=last is None)

    def _round(self) -> None:
        experiments, monitor = self._parts.experiments, self._parts.monitor
        experiments.settle()
        new, *since = experiments_since(monitor.engine, *self._since)
        self._since = (since[0], since[1])
        self._started |= new
        active = {
            each.name: each
            for each in experiments.active_experiments()
            if each.name in self._started and (each.rollout or each.guardrails)
        }
        self._due = (self._due | new | self._changed(active)) & active.keys()
        self._due |= self._stale(active)
        for name in sorted(self._due):
            began_s, last = time.monotonic(), self._looks.get(name)
            if last is not None and began_s - last.at_s < min(REST * last.took_s, MOST_REST_S):
                continue
            self._due.discard(name)
            try:
                experiments.review(name, *records_of(name, monitor))
                self._troubles.pop(name, None)
            except Exception as err:  # one experiment's trouble does not keep the others from being judged
                if self._troubles.get(name) != str(err):
                    self._troubles[name] = str(err)
                    trace = None if isinstance(err, ServiceError) else err
                    log.warning("the experiment %s could not be judged: %s", name, err, exc_info=trace)
            self._looks[name] = _look(began_s, is_first=last is None)

    def _changed(self, active: Mapping[str, Experiment]) -> set[str]:
        """Those that are not what they were at the last round, or whose stage may be left since."""
        now, default = utc_now(), self._parts.experiments.default_model
        is_other_default, self._default = default != self._default, default
        found = {
            name
            for name, each in active.items()
            if (each is not (seen := self._seen.get(name)) and each != seen)
            or (each.rollout is not None and (is_other_default or self._may_be_left(name, each.rollout, now)))
        }
        self._seen = dict(active)
        return found

    def _may_be_left(self, name: str, rollout: Rollout, now: datetime) -> bool:
        """Whether the least time of its stage is over, and it was not judged since."""
        last, until = self._looks.get(name), rollout.stage_since + timedelta(hours=rollout.min_hours)
        return until <= now and (last is None or last.at < until)

    def _stale(self, active: Mapping[str, Experiment]) -> set[str]:
        """The one that was judged longest ago, of those that may have something new that cannot be seen here."""
        waiting = [name for name, each in active.items() if each.rollout is not None or name in self._troubles]
        looks = {name: self._looks[name].at_s for name in waiting if name in self._looks}
        oldest = min(looks, key=looks.__getitem__, default=None)
        return set() if oldest is None or time.monotonic() - looks[oldest] < ANYWAY_EVERY_S else {oldest}


def _look(began_s: float, *, is_first: bool) -> _Look:
    """The first one of a process also imports pandas and scipy, which tells nothing of the next."""
    return _Look(began_s, utc_now(), 0.0 if is_first else time.monotonic() - began_s)


def watch_experiments(parts: Services) -> None:
    """Judge the experiments, at once where requests fail; goes on for ever."""
    watch, looked_s, failed = ExperimentWatch(parts), -math.inf, frozenset[str]()
    while True:
        try:
            if failed:
                parts.storage.run(partial(watch.glance, failed))
            if time.monotonic() - looked_s >= EXPERIMENTS_EVERY_S:
                parts.storage.run(watch.look)
                looked_s = time.monotonic()
        except Exception:  # the next look may work
            log.exception("the experiments could not be judged")
            gevent.sleep(EXPERIMENTS_EVERY_S)
        failed = parts.failed_runs.wait(max(0.0, looked_s + EXPERIMENTS_EVERY_S - time.monotonic()))


def watch_live_models(parts: Services) -> None:
    """Roll back whatever live model does worse than it was validated for; goes on for ever (docs/registry.md)."""
    cool_down = timedelta(hours=parts.settings.auto_rollback_cool_down_h)

    def look() -> None:
        runs = parts.monitor.get_performance_data(start_time=to_iso(utc_now() - timedelta(days=1)))
        for algorithm in {record.algorithm for record in parts.models.list_models(tag="stable")}:
            parts.models.roll_back_if_degraded(algorithm, runs, cool_down)

    while True:
        gevent.sleep(MODELS_EVERY_S)
        try:
            parts.storage.run(look)
        except Exception:  # the next look may work
            log.exception("the live models could not be judged")


def watch_alerts(parts: Services) -> None:
    """Look for what is wrong, deliver what people are to be told, and tidy up now and then; goes on for ever.

    One process does it, as long as it lives: a look needs pandas, which the others need not load for it.
    """
    every_s, troubles, next_tidying_s = parts.settings.alert_every_s, "", 0.0
    if every_s == 0.0:
        return
    with ExitStack() as held:
        while True:
            gevent.sleep(every_s)
            try:
                held.enter_context(locked(parts.settings.logs_dir / "alerts.lease", timeout_s=0.0))
                break
            except StorageUnavailable as err:  # usually another process has it
                log.debug("%s", err)
        gevent.spawn(_deliver_alerts, parts)
        while True:
            try:
                parts.storage.run(lambda: look_for_alerts(parts))
                troubles = ""
                if time.monotonic() >= next_tidying_s:
                    next_tidying_s = time.monotonic() + TIDY_EVERY_S
                    parts.storage.run(lambda: tidy_up(parts))
            except Exception as err:  # the next look may work
                if troubles != str(err):
                    troubles = str(err)
                    log.warning("alerts could not be looked for: %s", err, exc_info=not isinstance(err, ServiceError))
            gevent.sleep(every_s)


def look_for_alerts(parts: Services) -> None:
    """One look."""
    lang = parts.settings.alert_lang
    readings = [*parts.monitor.alert_readings(lang), *service_readings(parts, lang)]
    parts.desk.look(readings, frozenset(BY_NAME))


def _deliver_alerts(parts: Services) -> None:
    """Beside the looks, which a channel that does not answer would hold up."""
    troubles = ""
    while True:
        try:
            parts.storage.run(parts.desk.deliver)
            troubles = ""
        except Exception as err:  # the next time may work
            if troubles != str(err):
                troubles = str(err)
                log.warning("alerts could not be delivered: %s", err, exc_info=not isinstance(err, ServiceError))
        gevent.sleep(min(DELIVER_EVERY_S, parts.settings.alert_every_s))


def tidy_up(parts: Services) -> None:
    """Compacts what is older than is to be kept (SCHED_RETENTION_DAYS), and forgets alerts that are long over."""
    tidy_folders(parts.settings)
    now, monitor, days = utc_now(), parts.monitor, parts.settings.retention_days
    monitor.alerts.forget(now - ALERTS_KEPT)
    if days > 0.0:
        if parts.experiments.config_problem is not None:  # nobody knows which experiments' runs have to stay
            log.warning("old runs are not compacted: %s", parts.experiments.config_problem)
            return
        kept = [*parts.experiments.list_experiments(), *parts.experiments.archived_experiments()]
        compacted = monitor.upkeep.compact(now - timedelta(days=days), keep_experiments=[each.name for each in kept])
        if compacted:
            log.info("%d runs older than %g days are now sums by day and model", compacted, days)


def tidy_folders(settings: Settings) -> None:
    """Removes the temporary files of killed processes; the registry's are swept by itself.

    Raises:
        StorageUnavailable: the experiments are locked for too long.
    """
    for folder in (settings.logs_dir, settings.reports_dir):  # written without a lock that all writers hold
        remove_leftovers(folder)
    with locked(settings.ab_config_file):
        remove_leftovers(settings.home, of=settings.ab_config_file.name, unchanged_for_s=0.0)


def service_readings(parts: Services, lang: Lang) -> list[rules.Reading]:
    """What the service did by itself during the last day: experiments that it stopped, models that it took back."""
    since = to_iso(utc_now() - EVENT_WINDOW)
    moves = [each for each in parts.experiments.history.transitions() if each.time >= since]
    aborted = (each for each in moves if each.event == "aborted")
    # What a person did is no alert.
    arms = (each for each in moves if (each.event, each.actor) == ("arm_stopped", "guardrail"))
    taken_back = (each for each in parts.models.history() if (each.event, each.actor) == ("rolled_back", AUTO_ROLLBACK))
    return [
        *(rules.experiment_aborted(e.experiment, e.reason, e.time, lang) for e in aborted),
        *(rules.arm_stopped(e.experiment, str(e.figures.get("arm")), e.reason, e.time, lang) for e in arms),
        *(rules.rolled_back(e.model_key, e.reason, e.time, lang) for e in taken_back if e.time >= since),
    ]


def firing_alerts(monitor: PerformanceMonitor) -> Counter[tuple[str, str]]:
    """(rule, severity) -> how many alerts fire now."""
    return Counter((each.name, each.severity) for each in monitor.alerts.unended() if each.state == "firing")
