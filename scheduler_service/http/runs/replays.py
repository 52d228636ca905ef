"""Replays in the background, started by a request. Independent of Flask."""

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
from scheduler_service.errors import Overloaded, ReplayNotFound, ServiceError
from scheduler_service.experiments.replay import (
    Contest,
    ReplayOptions,
    ReplayPlan,
    ReplayState,
    contest_of,
    definition_of,
    plan_replay,
    replay_status,
    run_replay,
)
from scheduler_service.http.server.background import Background
from scheduler_service.stats.metrics import paired_metric

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
        done = len(self._monitor.replays.done(last.id))
        contest = Contest(
            last.key_a,
            last.key_b,
            experiment,
            last.candidate,
            margin=configured.margin,
            alpha=configured.alpha,
            metric=paired_metric(configured.success_metric),
        )
        return replay_status(contest, last, "done" if done >= last.total else "unfinished", done, self._monitor)

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
        state = replay_status(work.contest, work.plan.record, work.state, work.done, self._monitor)
        return state | {"remaining_s": work.remaining_s, "error": work.error}
