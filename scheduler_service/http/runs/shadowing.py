"""Shadow runs: both models of an experiment on an answered request. Independent of Flask.

They run in the background with a short queue. Jobs beyond its capacity are dropped and counted; errors are logged.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass

from ab_testing import ABTestManager
from model_manager import LoadedModel, ModelVersionManager
from monitoring import PerformanceMonitor
from scheduler_env.problem import Instance
from scheduler_service.errors import ServiceError
from scheduler_service.experiments.pairing import is_shadowed, pair_record, shadow_candidate, solve_both
from scheduler_service.http.contract.runs import RunRequest
from scheduler_service.http.runs.running import Run
from scheduler_service.http.server.background import Background
from scheduler_service.http.watch.metrics import Metrics
from scheduler_service.stats.arms import BASELINE
from scheduler_service.telemetry.record import input_digest

MAX_WAITING = 64
"""Capacity of the queue: under 3 s of work at 20 ms per model."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ShadowJob:
    """A request to run both models on."""

    request_id: str
    user_id: str
    experiment: str
    candidate: str  # the arm
    models: tuple[str, str]  # as configured; the baseline first
    instance: Instance
    problem: dict[str, object]
    time_budget_ms: float


def shadow_job(run: Run, request: RunRequest, experiments: ABTestManager) -> ShadowJob | None:
    """The shadow run of an answered request; None without an active experiment, or if the request is not sampled.

    Users without an arm are sampled too: a pair needs no arm. Testers and excluded users are not.
    """
    assigned = run.assigned
    if assigned.experiment is None or assigned.reason not in ("assigned", "default"):
        return None
    try:
        experiment = experiments.get_experiment(assigned.experiment)
    except ServiceError:  # deleted meanwhile
        return None
    candidates = experiment.running_candidates
    if not candidates or not is_shadowed(experiment.name, experiment.shadow, run.request_id):
        return None
    # Users without an arm are paired like users of the baseline. Testers and excluded users have no bucket.
    if assigned.variant is None and experiment.place_of(run.user_id).bucket is None:
        return None
    candidate = shadow_candidate(experiment.name, candidates, assigned.variant or BASELINE, run.request_id)
    if candidate not in candidates:  # changed meanwhile
        return None
    return ShadowJob(
        request_id=run.request_id,
        user_id=run.user_id,
        experiment=experiment.name,
        candidate=candidate,
        models=(experiment.models[BASELINE], experiment.models[candidate]),
        instance=run.solution.schedule.instance,
        problem=request.problem,
        time_budget_ms=run.time_budget_ms,
    )


class Shadow:
    """The shadow runs of this process."""

    def __init__(
        self,
        models: ModelVersionManager,
        experiments: ABTestManager,
        monitor: PerformanceMonitor,
        metrics: Metrics,
        is_busy: Callable[[], bool],
    ) -> None:
        """`is_busy` returns whether clients wait for schedules."""
        self._models = models
        self._experiments = experiments
        self._monitor = monitor
        self._metrics = metrics
        self._background = Background("shadow", is_busy, max_waiting=MAX_WAITING)

    def offer(self, run: Run, request: RunRequest) -> None:
        """Queue a shadow run if the experiment samples this request. Never blocks or raises."""
        try:
            job = shadow_job(run, request, self._experiments)
            if job is not None:
                self.submit(job)
        except Exception:  # must not affect the answer
            log.exception("the request %s could not be shadowed", run.request_id)

    def submit(self, job: ShadowJob) -> bool:
        """Queue the job; if the queue is full, count it as dropped and return False. Never blocks."""
        is_taken = self._background.submit(lambda: self._run(job))
        if not is_taken:
            self._metrics.count_shadow_dropped(job.experiment)
        self._metrics.set_shadow_waiting(self._background.waiting)
        return is_taken

    def close(self) -> None:
        """Drop the queue and wait for the current computation."""
        self._background.close()

    def _run(self, job: ShadowJob) -> None:
        self._metrics.set_shadow_waiting(self._background.waiting)
        try:
            sides = solve_both(job.models, self._load, job.instance, job.time_budget_ms, request_id=job.request_id)
            record = pair_record(
                sides,
                job.instance,
                request_id=job.request_id,
                user_id=job.user_id,
                experiment=job.experiment,
                candidate=job.candidate,
                source="shadow",
                time_budget_ms=job.time_budget_ms,
                digest=input_digest(job.problem),
            )
            self._monitor.record_pair(record)
        except Exception:
            self._metrics.count_shadow_dropped(job.experiment)
            raise
        self._metrics.count_shadow_pair(job.experiment)

    def _load(self, name: str) -> LoadedModel:
        return self._models.load_model(self._models.resolve(name, oldest=True))
