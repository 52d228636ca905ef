"""Runs of two models on the identical instance, and the selection of requests for shadow runs."""

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

from scheduler_env.errors import InvalidInstance
from scheduler_env.readers import instance_from_request
from scheduler_service.experiments.assignment import bucket
from scheduler_service.registry.loading import shared_model
from scheduler_service.stats.arms import BASELINE
from scheduler_service.telemetry.record import PairRecord

if TYPE_CHECKING:
    from model_manager import LoadedModel
    from scheduler_env.problem import Instance

MAX_ERROR_LENGTH = 300
"""Characters of a recorded error."""


@dataclass(frozen=True, slots=True)
class ModelResult:
    """The result of one model on an instance: a makespan, or an error."""

    key: str  # of the registry; the configured name if the model could not be loaded
    makespan_h: float | None = None
    policy_makespan_h: float | None = None
    lower_bound_h: float | None = None
    execution_time_s: float | None = None
    error: str | None = None


def solve(name: str, load: "Callable[[str], LoadedModel]", instance: "Instance", time_budget_ms: float) -> ModelResult:
    """Run the model `name` on the instance; never raises, since a failure is a result, too."""
    key, began_s = name, time.perf_counter()
    try:
        model = load(name)
        key, began_s = model.key, time.perf_counter()  # without the time for loading
        solution = model.agent.solve(instance, time_budget_ms=time_budget_ms)
        solution.schedule.check()
    except Exception as err:
        text = f"{type(err).__name__}: {err}"[:MAX_ERROR_LENGTH]
        return ModelResult(key, execution_time_s=time.perf_counter() - began_s, error=text)
    took_s = time.perf_counter() - began_s
    return ModelResult(key, solution.schedule.makespan_h, solution.policy_makespan_h, solution.lower_bound_h, took_s)


def solve_both(
    names: tuple[str, str],
    load: "Callable[[str], LoadedModel]",
    instance: "Instance",
    time_budget_ms: float,
    *,
    request_id: str,
) -> tuple[ModelResult, ModelResult]:
    """The results of the baseline and the candidate (`names`) on the same instance with the same time budget.

    They run one after the other, in an order that depends on the request's id: advantages of the first (a cool
    processor) or the second (a warm cache) cancel out on average.
    """
    first = 0 if bucket("pair:order", request_id) < 0.5 else 1
    found = {place: solve(names[place], load, instance, time_budget_ms) for place in (first, 1 - first)}
    return found[0], found[1]


def pair_record(
    sides: tuple[ModelResult, ModelResult],
    instance: "Instance",
    *,
    request_id: str,
    user_id: str | None,
    experiment: str | None,
    candidate: str,
    source: Literal["shadow", "replay"],
    replay: str | None = None,
    time_budget_ms: float,
    digest: str,
) -> PairRecord:
    """The record of two results, baseline first."""
    from scheduler_env.replan.solving import (
        lower_bound_h,  # imports the compiler, which the service does not load at start
    )

    a, b = sides
    proved = [side.lower_bound_h for side in sides if side.lower_bound_h is not None]
    return PairRecord(
        request_id=request_id,
        experiment=experiment,
        source=source,
        replay=replay,
        user_id=user_id,
        candidate=candidate,
        key_a=a.key,
        key_b=b.key,
        makespan_a=a.makespan_h,
        makespan_b=b.makespan_h,
        policy_makespan_a=a.policy_makespan_h,
        policy_makespan_b=b.policy_makespan_h,
        success_a=a.error is None,
        success_b=b.error is None,
        execution_time_a=a.execution_time_s,
        execution_time_b=b.execution_time_s,
        error_a=a.error,
        error_b=b.error,
        # The penalty of a failed run depends on the bound, so it is needed also if both failed.
        lower_bound=max(proved) if proved else lower_bound_h(instance),
        n_workpoints=len(instance.workpoints),
        n_steps=len(instance.steps),
        time_budget_ms=time_budget_ms,
        input_digest=digest,
    )


@dataclass(frozen=True, slots=True)
class Repetition:
    """A recorded request that both models of a replay shall run; JSON values."""

    problem: object  # the recorded input
    request_id: str
    user_id: str | None
    experiment: str | None
    candidate: str
    replay: str
    time_budget_ms: float
    digest: str  # of the input


def repeat(repetition: Repetition, models: "Sequence[LoadedModel]") -> PairRecord | None:
    """The pair of a recorded request, by the baseline and the candidate; None if its input is invalid."""
    instance = instance_of(repetition.problem)
    if instance is None:
        return None
    a, b = models
    facts = asdict(repetition)
    del facts["problem"]
    load = {model.key: model for model in models}.__getitem__
    sides = solve_both((a.key, b.key), load, instance, facts["time_budget_ms"], request_id=facts["request_id"])
    return pair_record(sides, instance, source="replay", **facts)


def repeat_chunk(chunk: dict[str, Any]) -> dict[str, Any] | None:
    """A chunk of batch work: `repeat` of one request."""
    pair = repeat(Repetition(**chunk["repetition"]), [shared_model(model) for model in chunk["models"]])
    return None if pair is None else asdict(pair)


def instance_of(problem: object) -> "Instance | None":
    """The instance of a recorded input; None for an invalid one: programs may record any input."""
    try:
        return instance_from_request(problem) if isinstance(problem, dict) else None
    except InvalidInstance:
        return None


def is_shadowed(experiment: str, share: float, request_id: str) -> bool:
    """Whether a request belongs to the shadowed share of an experiment; a deterministic hash."""
    return bucket(f"{experiment}:shadow", request_id) < share


def shadow_candidate(experiment: str, candidates: Sequence[str], variant: str, request_id: str) -> str:
    """The arm to compare with the baseline: the user's arm if it is a candidate, otherwise one chosen by a hash.

    Args:
        variant: the user's arm; the baseline for users who do not take part.
    """
    if variant != BASELINE:
        return variant
    return candidates[int(bucket(f"{experiment}:candidate", request_id) * len(candidates))]
