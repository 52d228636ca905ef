"""Shadow runs: both models of an experiment on a request that was answered already. Knows no Flask.

Nobody waits for them: they are work in the background with a short queue; what does not fit in is dropped and counted,
and whatever goes wrong stays in the log.
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
from scheduler_service.stats.comparison import BASELINE
from scheduler_service.telemetry.record import input_digest

MAX_WAITING = 64
"""Shadow runs in the queue: at 20 ms for a model, under 3 s of work."""

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
    """The shadow run that an answered request asks for; None for one that names no active experiment, or is not drawn.

    Users who fall into no arm yet are drawn as well: a pair needs no arm. Testers and excluded users take no part.
    """
    assigned = run.assigned
    if assigned.experiment is None or assigned.reason not in ("assigned", "default"):
        return None
    try:
        experiment = experiments.get_experiment(assigned.experiment)
    except ServiceError:  # gone since
        return None
    candidates = experiment.running_candidates
    if not candidates or not is_shadowed(experiment.name, experiment.shadow, run.request_id):
        return None
    # Who falls into no arm is paired like the baseline's users; but who is excluded or a tester was never hashed.
    if assigned.variant is None and experiment.place_of(run.user_id).bucket is None:
        return None
    candidate = shadow_candidate(experiment.name, candidates, assigned.variant or BASELINE, run.request_id)
    if candidate not in candidates:  # changed since
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
        """`is_busy` says whether clients wait for schedules now."""
        self._models = models
        self._experiments = experiments
        self._monitor = monitor
        self._metrics = metrics
        self._background = Background("shadow", is_busy, max_waiting=MAX_WAITING)

    def offer(self, run: Run, request: RunRequest) -> None:
        """Shadows the run if its experiment wants that and there is room. Never waits and never raises."""
        try:
            job = shadow_job(run, request, self._experiments)
            if job is not None:
                self.submit(job)
        except Exception:  # the answer must not suffer
            log.exception("the request %s could not be shadowed", run.request_id)

    def submit(self, job: ShadowJob) -> bool:
        """Whether the job will be run; False, and counted, if the queue is full. Never waits."""
        is_taken = self._background.submit(lambda: self._run(job))
        if not is_taken:
            self._metrics.count_shadow_dropped(job.experiment)
        self._metrics.set_shadow_waiting(self._background.waiting)
        return is_taken

    def close(self) -> None:
        """Drops the queue, and waits for what is being computed."""
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
        return self._models.load_model(self._models.resolve(name, standing=True))
