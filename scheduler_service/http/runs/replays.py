"""Replays in the background, started by a request. Independent of Flask.

With a PostgreSQL database, all replicas share a replay: each does slices of it, and continues those of one that dies.
A slice is one of the replay's ranges of run ids. Pairs of a slice that is begun twice are recorded once.
"""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ab_testing import ABTestManager
from model_manager import LoadedModel, ModelVersionManager
from monitoring import PerformanceMonitor
from scheduler_service.clock import Clock, utc_now
from scheduler_service.errors import Overloaded, ReplayNotFound, ServiceError, StorageUnavailable
from scheduler_service.experiments.replay import (
    Contest,
    ReplayOptions,
    ReplayPlan,
    ReplayState,
    contest_of,
    definition_of,
    judge_replay,
    options_of,
    plan_replay,
    replay_status,
    run_replay,
)
from scheduler_service.http.server.background import Background
from scheduler_service.stats.metrics import paired_metric
from scheduler_service.telemetry.database import Slice, Slices, database_of
from scheduler_service.telemetry.record import ReplayRecord

VERDICT_PAUSE_FACTOR = 9.0
"""While a replay runs, its verdict is computed again after this many times the duration of the last computation."""
MAX_VERDICTS = 100

log = logging.getLogger(__name__)


@dataclass
class _Work:
    """The current or last replay of this process; written by the background thread, read by others."""

    contest: Contest
    plan: ReplayPlan
    models: tuple[LoadedModel, LoadedModel]
    state: ReplayState = "running"
    done: int = 0
    error: str | None = None
    began: tuple[float, int] | None = None  # time.monotonic and `done` at the start

    @property
    def remaining_s(self) -> float | None:
        """Estimated from the rate so far; None before the first request is done."""
        if self.state != "running" or self.began is None or self.done == self.began[1]:
            return None
        pace_s = (time.monotonic() - self.began[0]) / (self.done - self.began[1])
        return round(pace_s * (self.plan.total - self.done), 1)


@dataclass(frozen=True, slots=True)
class _Verdict:
    """A verdict, and the progress at which it was computed."""

    content: dict[str, Any]
    progress: tuple[ReplayState, int]  # state, and number of done requests
    due_s: float  # time.monotonic; while the replay runs, it is not computed again before


class Replays:
    """The replays of this process, one at a time. Thread-safe; calls may block."""

    def __init__(
        self,
        models: ModelVersionManager,
        experiments: ABTestManager,
        monitor: PerformanceMonitor,
        is_busy: Callable[[], bool],
        *,
        clock: Clock = utc_now,
    ) -> None:
        """`is_busy` returns whether clients wait for schedules."""
        self._models = models
        self._experiments = experiments
        self._monitor = monitor
        self._clock = clock
        self._background = Background("replay", is_busy, max_waiting=1)
        self._starting = threading.Lock()
        self._work: _Work | None = None
        self._slices = database_of(monitor.engine).slices
        self._joining = threading.Lock()
        self._is_joining = self._is_asked_to_join = False
        self._verdicts: dict[tuple[Contest, str], _Verdict] = {}  # by the id of the replay
        self._first_seen: dict[str, tuple[float, int]] = {}  # shared replay -> time.monotonic, and `done` at that time

    def start(self, experiment: str, *, candidate: str | None = None, options: ReplayOptions) -> dict[str, Any]:
        """Start or resume a replay, and return its state; if the same one is running, only return its state.

        Args:
            candidate: the arm that is compared with model_a; the first one if None.

        Raises:
            ExperimentNotFound, ModelNotFound: there is none of this name.
            InvalidExperiment: the experiment has no such candidate.
            InvalidModel: a model cannot be loaded.
            NothingToReplay: no request of the period is recorded with its input.
            Overloaded: another replay is running.
            StorageUnavailable: the database cannot be used.
        """
        contest = self._contest(experiment, candidate)
        if contest.key_a == contest.key_b:
            return replay_status(contest, None, "identical", 0, self._monitor)
        with self._starting:
            if self._slices is not None:
                return self._share(self._slices, contest, options)
            work = self._work
            if work is not None and work.state == "running":
                if work.plan.record.definition != definition_of(contest, options):
                    raise Overloaded(
                        "replay_at_work",
                        retry_after_s=max(1, round(work.remaining_s or 10.0)),
                        experiment=work.contest.experiment,
                        done=work.done,
                        total=work.plan.total,
                    )
                return self._state_of(work)
            loaded = self._models.load_model(contest.key_a), self._models.load_model(contest.key_b)
            plan = plan_replay(self._monitor.replays, contest, options, self._clock())
            work = self._work = _Work(contest, plan, loaded)
            if not self._background.submit(lambda: self._run(work)):
                work.state = "unfinished"
        return self._state_of(work)

    def state(self, experiment: str) -> dict[str, Any]:
        """The progress of the experiment's last replay, and the verdict on its results so far.

        Raises:
            ExperimentNotFound: there is none of this name.
            ReplayNotFound: it has not been replayed.
            StorageUnavailable: the database cannot be read.
        """
        configured = self._experiments.get_experiment(experiment)
        last = self._monitor.replays.last(experiment=experiment)
        if last is None:
            raise ReplayNotFound("not_replayed", experiment=experiment)
        work = self._work
        if work is not None and work.plan.id == last.id:
            return self._state_of(work)
        contest = Contest(
            last.key_a,
            last.key_b,
            experiment,
            last.candidate,
            margin=configured.margin,
            alpha=configured.alpha,
            metric=paired_metric(configured.success_metric),
        )
        if self._slices is not None:
            return self._shared_state(self._slices, contest, last)
        is_done, done = self._monitor.replays.is_done(last), self._monitor.replays.done(last.id)
        return self._status(contest, last, "done" if is_done else "unfinished", done)

    def join(self) -> None:
        """Begin slices of shared replays in the background, until none is free; called periodically, does not block."""
        if self._slices is None:
            return
        slices = self._slices
        with self._joining:
            is_joining, self._is_joining, self._is_asked_to_join = self._is_joining, True, True
        if not is_joining and not self._background.submit(lambda: self._do_slices(slices)):
            self._is_joining = False

    def _goes_on_joining(self) -> bool:
        """Whether `join` was called since the last call: what was added then may have been seen by nobody."""
        with self._joining:
            self._is_joining, self._is_asked_to_join = self._is_asked_to_join, False
            return self._is_joining

    def close(self) -> None:
        """Stop the running replay after the current computation; it can be resumed."""
        self._background.close()

    def _contest(self, experiment: str, candidate: str | None) -> Contest:
        def resolve(name: str) -> str:
            return self._models.resolve(name, oldest=True)

        return contest_of(self._experiments.get_experiment(experiment), candidate, resolve)

    def _run(self, work: _Work) -> None:
        def progress(done: int, _total: int) -> None:
            if work.began is None:
                work.began = (time.monotonic(), done)
            work.done = done

        log.info("replay %s: %d requests", work.plan.id, work.plan.total)
        try:
            is_done = run_replay(
                work.plan, self._monitor, *work.models, progress=progress, may_continue=self._background.may_go_on
            )
        except Exception as err:
            work.error = str(err) if isinstance(err, ServiceError) else "an internal error; see the log"
            work.state = "failed"
            raise
        work.state = "done" if is_done else "unfinished"
        log.info("replay %s is %s: %d of %d requests", work.plan.id, work.state, work.done, work.plan.total)

    def _state_of(self, work: _Work) -> dict[str, Any]:
        state = self._status(work.contest, work.plan.record, work.state, work.done)
        return state | {"remaining_s": work.remaining_s, "error": work.error}

    def _status(self, contest: Contest, record: ReplayRecord, state: ReplayState, done: int) -> dict[str, Any]:
        """`replay_status`, with the last verdict if that is recent or nothing has changed."""
        key, progress, began_s = (contest, record.id), (state, done), time.monotonic()
        found = self._verdicts.get(key)
        if found is None or (found.progress != progress and (state != "running" or began_s >= found.due_s)):
            content = judge_replay(contest, record, self._monitor)
            now_s = time.monotonic()
            found = _Verdict(content, progress, now_s + VERDICT_PAUSE_FACTOR * (now_s - began_s))
            self._verdicts[key] = found
            for old in list(self._verdicts)[:-MAX_VERDICTS]:
                self._verdicts.pop(old, None)
        return replay_status(contest, record, state, done, self._monitor, found.content)

    # --- shared by replicas ---

    def _share(self, slices: Slices, contest: Contest, options: ReplayOptions) -> dict[str, Any]:
        definition, replays = definition_of(contest, options), self._monitor.replays
        for job in slices.jobs():
            if (other := replays.find(job)) is not None and other.definition != definition:
                about = {"experiment": other.experiment, "done": replays.done(job), "total": other.total}
                raise Overloaded("replay_at_work", retry_after_s=10, **about)
        for key in (contest.key_a, contest.key_b):
            self._models.load_model(key)
        plan = plan_replay(replays, contest, options, self._clock())
        if not replays.is_done(plan.record):
            slices.add(plan.id, len(plan.ranges))
            self.join()
        return self._shared_state(slices, contest, plan.record)

    def _do_slices(self, slices: Slices) -> None:
        try:
            while self._goes_on_joining():
                self._do_free_slices(slices)
        except BaseException:
            self._is_joining = False
            raise

    def _do_free_slices(self, slices: Slices) -> None:
        try:
            while self._background.may_go_on() and (mine := slices.take()) is not None:
                try:
                    if self._do(mine):
                        slices.finish(mine)
                    else:
                        slices.give_back(mine)
                except Exception as err:
                    slices.fail(mine)
                    trace = None if isinstance(err, ServiceError) else err
                    log.error("slice %d of the replay %s failed: %s", mine.number, mine.job, err, exc_info=trace)
        except StorageUnavailable as err:  # /health shows it
            log.debug("%s", err)

    def _do(self, mine: Slice) -> bool:
        """Whether all requests of the slice are done."""
        record = self._monitor.replays.find(mine.job)
        if record is None:
            return True
        ranges = tuple(each for each in self._monitor.replays.ranges(record.id) if each.number == mine.number)
        return run_replay(
            ReplayPlan(record, ranges, options_of(record)),
            self._monitor,
            *(self._models.load_model(key) for key in (record.key_a, record.key_b)),
            progress=lambda _done, _total: None,
            may_continue=lambda: self._background.may_go_on() and mine.lease.is_held,
        )

    def _shared_state(self, slices: Slices, contest: Contest, record: ReplayRecord) -> dict[str, Any]:
        n_left, n_failed = slices.left(record.id)
        is_done = n_left == 0 and self._monitor.replays.is_done(record)
        done, now_s = self._monitor.replays.done(record.id), time.monotonic()
        state: ReplayState = "running" if n_left > n_failed else "failed" if n_failed else "unfinished"
        state = "done" if is_done else state
        since_s, before = self._first_seen.setdefault(record.id, (now_s, done))
        remaining_s = None
        if state == "running" and done > before:
            remaining_s = round((now_s - since_s) / (done - before) * (record.total - done), 1)
        error = "an internal error; see the logs of the replicas" if state == "failed" else None
        return self._status(contest, record, state, done) | {"remaining_s": remaining_s, "error": error}
