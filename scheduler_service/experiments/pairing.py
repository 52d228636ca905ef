"""Two models on the identical instance, and which requests that is done for."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from scheduler_service.experiments.assignment import bucket
from scheduler_service.stats.arms import BASELINE
from scheduler_service.telemetry.record import PairRecord

if TYPE_CHECKING:
    from model_manager import LoadedModel
    from scheduler_env.problem import Instance

MAX_ERROR_LENGTH = 300
"""Of the text that is kept of a failure, characters."""


@dataclass(frozen=True, slots=True)
class Side:
    """What one model made of an instance: a makespan, or an error."""

    key: str  # of the registry; what was asked for, when it could not be loaded
    makespan_h: float | None = None
    policy_makespan_h: float | None = None
    lower_bound_h: float | None = None
    execution_time_s: float | None = None
    error: str | None = None


def solve(name: str, load: "Callable[[str], LoadedModel]", instance: "Instance", time_budget_ms: float) -> Side:
    """What the model `name` makes of the instance; never an error, for a failure is a result too."""
    key, began_s = name, time.perf_counter()
    try:
        model = load(name)
        key, began_s = model.key, time.perf_counter()  # reading the weights is not the model's doing
        solution = model.agent.solve(instance, time_budget_ms=time_budget_ms)
        solution.schedule.check()
    except Exception as err:
        text = f"{type(err).__name__}: {err}"[:MAX_ERROR_LENGTH]
        return Side(key, execution_time_s=time.perf_counter() - began_s, error=text)
    took_s = time.perf_counter() - began_s
    return Side(key, solution.schedule.makespan_h, solution.policy_makespan_h, solution.lower_bound_h, took_s)


def solve_both(
    names: tuple[str, str],
    load: "Callable[[str], LoadedModel]",
    instance: "Instance",
    time_budget_ms: float,
    *,
    request_id: str,
) -> tuple[Side, Side]:
    """What the baseline and the candidate, `names` in this order, make of the same instance in the same time.

    One after the other. Which one comes first is drawn by the request's id, so that whatever favours the first (a cool
    processor) or the second (a warm cache) favours neither in the long run.
    """
    a, b = names
    if bucket("pair:order", request_id) < 0.5:
        side_a = solve(a, load, instance, time_budget_ms)
        return side_a, solve(b, load, instance, time_budget_ms)
    side_b = solve(b, load, instance, time_budget_ms)
    return solve(a, load, instance, time_budget_ms), side_b


def pair_record(
    sides: tuple[Side, Side],
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
    """The two sides, baseline first, as they are recorded."""
    from scheduler_env.bounds import lower_bound  # with the compiler: the service starts without it
    from scheduler_env.kernel import compile_instance

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
        # A failed run is judged by the bound, so it has to be known also where both failed.
        lower_bound=max(proved) if proved else float(lower_bound(compile_instance(instance))),
        n_workpoints=len(instance.workpoints),
        n_steps=len(instance.steps),
        time_budget_ms=time_budget_ms,
        input_digest=digest,
    )


def is_shadowed(experiment: str, share: float, request_id: str) -> bool:
    """Whether a request belongs to the share of an experiment's that is shadowed; the same answer each time."""
    return bucket(f"{experiment}:shadow", request_id) < share


def shadow_candidate(experiment: str, candidates: Sequence[str], variant: str, request_id: str) -> str:
    """The arm that stands against the baseline: the one that answered, or for other users any, by hash.

    Args:
        variant: the user's arm; the baseline's also for who falls into none.
    """
    if variant != BASELINE:
        return variant
    return candidates[int(bucket(f"{experiment}:candidate", request_id) * len(candidates))]
