"""A run: choice of the model, schedule, fallbacks and records. Independent of Flask.

`compute` runs on a native thread. It returns the records of every attempt, including failed ones, and the caller
writes them.
"""

import base64
import logging
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from ab_testing import ABTestManager, Assignment
from model_manager import LoadedModel, ModelVersionManager
from monitoring import PerformanceRecord
from scheduler_env.errors import InvalidInstance
from scheduler_env.placements import packed
from scheduler_env.problem import Instance
from scheduler_env.readers import instance_from_request
from scheduler_env.schedule import Solution
from scheduler_service.errors import InvalidInput, ModelNotFound, ServiceError, StorageUnavailable
from scheduler_service.http.contract.runs import RunRequest, View
from scheduler_service.http.runs.caching import NO_CACHE, AnswerCache, Key, key_of
from scheduler_service.http.runs.details import details
from scheduler_service.trace_context import span

NEGLIGIBLE_WAIT_MS = 50.0
"""A shorter wait is normal and is not deducted from the time budget."""

CUT_SHORT_SHARE = 0.5
"""A search counts as cut short if waiting has reduced its time to less than this share of the budget."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Choice:
    """A model that may answer, and the reason for its choice."""

    model: str  # a key, or a name in the configuration
    reason: str
    experiment: str | None = None
    variant: str | None = None
    split: str | None = None  # shares of the arms; None unless the experiment assigned the user


@dataclass(frozen=True, slots=True)
class Run:
    """A schedule with all data of its answer."""

    request_id: str
    user_id: str
    is_user_generated: bool  # no user was given: the request's id is the unit of assignment
    assigned: Choice
    used: Choice
    model: LoadedModel
    solution: Solution
    execution_time_s: float  # to build and check the schedule, or to find it in the cache
    time_budget_ms: float  # of the search
    asked_ms: float  # the budget before waiting was deducted
    is_cached: bool = False  # computed for an earlier request

    @property
    def is_cut_short(self) -> bool:
        """Whether the search ended early: the service was busy, or the budget is too short for the instance."""
        has_waited = self.time_budget_ms < CUT_SHORT_SHARE * self.asked_ms and self.solution.objective_gap != 0.0
        return has_waited or self.solution.is_cut_short


@dataclass(frozen=True, slots=True)
class RunOutcome:
    """The result of a request: a run or a failure, and the attempts to record, the successful one last."""

    run: Run | None
    records: tuple[PerformanceRecord, ...]
    failure: ServiceError | None = None


class DefaultBudgetTooLong(Exception):
    """The chosen model's default budget exceeds `patience_ms`; nothing was computed."""


def compute(
    request: RunRequest,
    request_id: str,
    models: ModelVersionManager,
    experiments: ABTestManager,
    max_budget_ms: int,
    cache: AnswerCache = NO_CACHE,
    *,
    problem: Mapping[str, object] | None = None,
    patience_ms: float = math.inf,
    waited_ms: float = 0.0,
    stop: Callable[[], bool] | None = None,
) -> RunOutcome:
    """Compute the schedule for `request` with the chosen model, or else with the first fallback that works.

    Args:
        max_budget_ms: the longest time budget, of a request or by default.
        problem: the request's problem with the published plan that it names; None if it names none.
        patience_ms: the longest default budget of a model on the caller's thread.
        waited_ms: since the request arrived. It is deducted from the requested budget, but never below the model's
            default budget: a busy service answers later, but not with worse schedules than by default.
        stop: returns whether the client has disconnected.

    Raises:
        DefaultBudgetTooLong: call again on a thread with more `patience_ms`.
        InvalidInstance, InvalidInput: the request is invalid; there is nothing to record.
        ModelNotFound, AmbiguousModelName: the pinned model does not exist.
    """
    problem = request.problem if problem is None else problem
    if request.time_budget_ms is not None and request.time_budget_ms > max_budget_ms:
        raise InvalidInput(
            "less_than_equal",
            ("time_budget_ms",),
            value=request.time_budget_ms,
            le=max_budget_ms,
            more=_mistakes_in(problem),
        )
    user_id = request.user_id or request_id
    instance: Instance | None = None if cache.is_on else instance_from_request(problem)
    first = _first_choice(request, user_id, models, experiments)
    records: list[PerformanceRecord] = []
    for choice in _choices(first, models, experiments):
        began_s = time.perf_counter()
        model: LoadedModel | None = None
        budget_ms: float | None = request.time_budget_ms
        try:
            model = models.load_model(choice.model, oldest=True)
            if budget_ms is None:
                budget_ms = min(model.agent.default_budget_ms, max_budget_ms)
                if budget_ms > patience_ms:
                    raise DefaultBudgetTooLong
            full_ms = budget_ms
            if request.time_budget_ms is not None and waited_ms > NEGLIGIBLE_WAIT_MS:
                budget_ms = max(full_ms - waited_ms, min(full_ms, model.agent.default_budget_ms))
            began_s = time.perf_counter()
            with span("compute") as attributes:
                attributes |= {"scheduler.model_key": model.key, "scheduler.reason": choice.reason}
                key, solution = (
                    _look_up(cache, model.key, problem, request.seed, full_ms) if cache.is_on else (None, None)
                )
                is_cached = solution is not None
                if solution is None:
                    instance = instance or instance_from_request(problem)
                    solution = model.agent.solve(instance, time_budget_ms=budget_ms, seed=request.seed or 0, stop=stop)
                    solution.schedule.check()
                    _ = solution.schedule.critical_steps  # computed and cached here rather than on the event loop
                    # The result of a shortened search must not be cached: later requests have the full budget.
                    if key is not None and budget_ms == full_ms and not (stop is not None and stop()):
                        cache.put(key, solution)
                attributes["scheduler.steps"] = len(solution.schedule.steps)
                attributes["scheduler.makespan_h"] = solution.schedule.makespan_h
        except (InvalidInstance, DefaultBudgetTooLong):
            raise
        except Exception as err:  # another model may work
            # A traceback is for defects. A ServiceError, such as a missing file, may occur with every request.
            trace = None if isinstance(err, ServiceError) else err
            log.error("the model %r could not answer (%s): %s", choice.model, choice.reason, err, exc_info=trace)
            took_s = time.perf_counter() - began_s
            instance = instance or instance_from_request(problem)
            choice = replace(choice, model=_key(choice.model, models) or choice.model)
            records.append(_failure(choice, model, instance, request, request_id, user_id, took_s, budget_ms, err))
            continue
        took_s = time.perf_counter() - began_s
        run = Run(
            *(request_id, user_id, request.user_id is None, first, choice, model, solution, took_s),
            *(budget_ms, full_ms, is_cached),
        )
        if records:
            log.warning("%r did not answer; %s did (fallback)", first.model, model.key)
        return RunOutcome(run, (*records, _success(run, request)))
    if not records:
        return RunOutcome(None, (), StorageUnavailable("no_model_registered"))
    reason = records[-1].error_message
    return RunOutcome(None, tuple(records), StorageUnavailable("no_model_answers", reason=reason))


def _look_up(
    cache: AnswerCache, model_key: str, problem: Mapping[str, object], seed: int | None, budget_ms: float
) -> tuple[Key, Solution | None]:
    """The request's key in the cache, and its solution there."""
    with span("cache") as attributes:
        key = key_of(model_key, problem, budget_ms, seed or 0)
        solution = cache.get(key)
        attributes["scheduler.cache_hit"] = solution is not None
    return key, solution


def answer(run: Run, charts: dict[View, str]) -> Any:
    """The JSON of a run; `charts` has base64 images by view."""
    schedule = run.solution.schedule
    result: dict[str, object] = {
        "makespan": schedule.makespan_h,
        "lower_bound": run.solution.objective_bound_h,
        "gap": run.solution.objective_gap,
        "resource_utilization": schedule.resource_utilization,
        **details(schedule),
        "gantt_charts": charts,
        "model_info": {"model_key": run.model.key, "algorithm": run.model.algorithm, "version": run.model.version},
        "stage": run.solution.stage,
        "evaluations": run.solution.evaluations,
        "search_cut_short": run.is_cut_short,
    }
    if charts:
        result["plot_image"] = next(iter(charts.values()))
    return {
        "status": "success",
        "result": result,
        "performance": {
            "makespan": schedule.makespan_h,
            "policy_makespan": run.solution.policy_makespan_h,
            "execution_time": run.execution_time_s,
            "resource_utilization": schedule.resource_utilization,
        },
        "experiment_info": {
            "experiment": run.assigned.experiment,
            "variant": run.assigned.variant,
            "model_used": run.model.key,
            "user_id": run.user_id,
            "user_id_generated": run.is_user_generated,
            "reason": run.used.reason,
        },
        "cached": run.is_cached,
        "request_id": run.request_id,
    }


def draw(
    solution: Solution, views: Sequence[View], image_format: Literal["png", "svg"], stop: Callable[[], bool]
) -> dict[View, str]:
    """The requested Gantt charts in base64; ends early when `stop` returns True."""
    from scheduler_env import gantt  # imports matplotlib, which is slow; most requests need no chart

    to_image = gantt.to_svg if image_format == "svg" else gantt.to_png
    charts: dict[View, str] = {}
    for view in views:
        if stop():
            break
        drawn = gantt.figure(solution.schedule, view, lower_bound_h=solution.lower_bound_h)
        charts[view] = base64.b64encode(to_image(drawn)).decode()
        drawn.clear()  # breaks reference cycles: a large chart holds 30 MB until the garbage collector runs
    return charts


def _mistakes_in(problem: Mapping[str, object]) -> list[InvalidInput]:
    try:
        instance_from_request(problem)
    except InvalidInstance as err:
        return [*InvalidInput.of(err.each).each]
    return []


def _first_choice(request: RunRequest, user_id: str, models: ModelVersionManager, experiments: ABTestManager) -> Choice:
    if request.model is not None:
        record = models.get_model(request.model)
        if request.algorithm not in (None, record.algorithm):
            raise InvalidInput("other_algorithm", ("algorithm",), model=record.model_key, algorithm=record.algorithm)
        return Choice(record.model_key, "pinned")
    assignment: Assignment = experiments.assign(request.experiment, user_id)
    model, reason = assignment.model, str(assignment.reason)
    if request.algorithm is not None and reason != "assigned":
        model = _current_model(request.algorithm, models)
        reason = "pinned" if reason == "default" else reason
    return Choice(model, reason, assignment.experiment, assignment.variant, assignment.split)


def _current_model(algorithm: str, models: ModelVersionManager) -> str:
    """The algorithm's stable model; if it has none, the newest one that is not retired."""
    try:
        return models.resolve(f"{algorithm}:stable")
    except ServiceError:
        usable = [record for record in models.list_models(algorithm) if record.status != "retired"]
    if not usable:
        raise ModelNotFound("no_model_of_algorithm", algorithm=algorithm)
    return usable[0].model_key


def _choices(first: Choice, models: ModelVersionManager, experiments: ABTestManager) -> Iterator[Choice]:
    """`first`, then its fallbacks: the default model, deployed models from the newest on, then others.

    A pinned model has no fallback. Fallbacks are looked up only when they are needed.
    """
    yield first
    if first.reason == "pinned":
        return
    tried = {_key(first.model, models)}
    newest_first = models.list_models()
    rank = {"deployed": 0, "validated": 1, "registered": 2, "retired": 3}
    others = [record.model_key for record in sorted(newest_first, key=lambda record: rank[record.status])]
    for name in (experiments.default_model, *others):
        key = _key(name, models)
        if key is not None and key not in tried:
            tried.add(key)
            yield Choice(key, "fallback", first.experiment)


def _key(name: str, models: ModelVersionManager) -> str | None:
    """The model key of a name in the configuration; None if there is no such model."""
    try:
        return models.resolve(name, oldest=True)
    except ServiceError:
        return None


def _success(run: Run, request: RunRequest) -> PerformanceRecord:
    schedule, instance = run.solution.schedule, run.solution.schedule.instance
    return PerformanceRecord(
        request_id=run.request_id,
        model_key=run.model.key,
        algorithm=run.model.algorithm,
        experiment=run.used.experiment,
        # A fallback's figures belong to no arm; the failure of the arm has its own record.
        variant=run.used.variant,
        split=run.used.split,
        reason=run.used.reason,
        user_id=run.user_id,
        makespan=schedule.makespan_h,
        policy_makespan=run.solution.policy_makespan_h,
        # A cached answer does not measure the model's computing time.
        execution_time=None if run.is_cached else run.execution_time_s,
        lower_bound=run.solution.instance_bound_h,
        gap=run.solution.gap if run.solution.tardiness_bound_h is None else None,  # it does not rate such a makespan
        resource_utilization=schedule.resource_utilization,
        team_utilization=schedule.team_utilization,
        n_workpoints=len(instance.workpoints),
        n_steps=len(instance.steps),
        stage=run.solution.stage,
        input_params=request.problem,
        placements=packed(schedule),
        time_budget_ms=run.time_budget_ms,
    )


def _failure(
    choice: Choice,
    model: LoadedModel | None,
    instance: Instance,
    request: RunRequest,
    request_id: str,
    user_id: str,
    took_s: float,
    budget_ms: float | None,
    err: Exception,
) -> PerformanceRecord:
    from scheduler_env.replan.solving import lower_bound_h  # imports the compiler, which the service loads later

    return PerformanceRecord(
        request_id=request_id,
        model_key=choice.model if model is None else model.key,
        algorithm=None if model is None else model.algorithm,
        experiment=choice.experiment,
        variant=choice.variant,
        split=choice.split,
        reason=choice.reason,
        user_id=user_id,
        execution_time=took_s,
        lower_bound=lower_bound_h(instance),  # the penalty of a failure is based on it
        n_workpoints=len(instance.workpoints),
        n_steps=len(instance.steps),
        input_params=request.problem,
        success=False,
        error_message=f"{type(err).__name__}: {err}",
        time_budget_ms=budget_ms,
    )
