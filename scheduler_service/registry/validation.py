"""The fixed set of instances on which every model is measured, and the check of its claims. Pure.

The set: the guide's sample request, and four instances each of 1, 2 and 5 work points with seeds from 400,000 on.
Training (1,000,000 and up), the choice of its best weights (500,000 and up) and the benchmarks (from 0) use other
seeds.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from statistics import fmean, median
from typing import TYPE_CHECKING, Any

from scheduler_service.errors import InvalidModel
from scheduler_service.stats.metrics import METRICS
from scheduler_service.words import WORDS

if TYPE_CHECKING:
    from scheduler_env.problem import Instance
    from scheduler_env.solver import Solver

VALIDATION_SEEDS_FROM = 400_000
SIZES = (1, 2, 5)
PER_SIZE = 4
BASELINE_RULE = "LFT"
"""A model has to be better to be validated: the latest-finish-time rule with half crews. Untrained models are not."""
MAX_EXECUTION_TIME_S = 10.0
"""Limit of the median decision time of a validated model: the guide's `max_execution_time`."""
FLAGGED_DIFFERENCE = 0.02
"""A claim is flagged if it differs from the measured value by more than this share."""
COMPARED = ("makespan", "resource_utilization", "gap")
"""Metrics that are both claimed and measured."""


@dataclass(frozen=True, slots=True)
class Flag:
    """A claim that differs strongly from the measured value."""

    metric: str
    claimed: float
    verified: float
    is_better_than_measured: bool  # the claim is more favourable than the measured value

    @property
    def code(self) -> str:
        return "claim_too_good" if self.is_better_than_measured else "claim_too_bad"

    @property
    def params(self) -> dict[str, Any]:
        return {"metric": self.metric, "claimed": self.claimed, "verified": float(f"{self.verified:.4g}")}

    @property
    def message(self) -> str:
        return WORDS.text(f"errors.{self.code}", self.params)

    def to_dict(self) -> dict[str, Any]:
        return {
            "metric": self.metric,
            "claimed": self.claimed,
            "verified": self.verified,
            "difference_percent": None if self.verified == 0 else 100.0 * (self.claimed / self.verified - 1.0),
            "message": self.message,
            "code": self.code,
            "params": self.params,
        }


@cache
def validation_set() -> tuple["Instance", ...]:
    """The sample request first, then the generated instances by size."""
    from scheduler_env.generator import random_instance
    from scheduler_env.standard_cycle import SAMPLE_PARAMS, standard_instance

    generated = [random_instance(size, VALIDATION_SEEDS_FROM + number) for size in SIZES for number in range(PER_SIZE)]
    return (standard_instance(SAMPLE_PARAMS), *generated)


def measure(agent: "Solver") -> dict[str, Any]:
    """The results of `agent` on the validation set, greedily; JSON-able.

    `makespan` (h) and `resource_utilization` are for the sample request, `gap` (to the lower bound) is the mean of all,
    `worst_gap` the largest by number of work points, `baseline_gap` the mean gap of `BASELINE_RULE`, and
    `execution_time` (s) the median of a decision. All but the last are reproducible.

    Raises:
        InvalidSchedule: a schedule breaks a rule.
    """
    from scheduler_env.rules import Rule, solve_by_rule

    instances = validation_set()
    solutions, took_s = [], []
    agent.solve(instances[0])  # the first one loads compiled code
    for instance in instances:
        began = time.perf_counter()
        solutions.append(agent.solve(instance))
        took_s.append(time.perf_counter() - began)
    worst: dict[str, float] = {}
    for instance, solution in zip(instances, solutions, strict=True):
        size = str(len(instance.workpoints))
        worst[size] = max(worst.get(size, 0.0), solution.gap)
    sample = solutions[0].schedule
    rule = Rule(BASELINE_RULE, 0.5, "parallel")
    return {
        "makespan": sample.makespan_h,
        "resource_utilization": sample.resource_utilization,
        "gap": fmean(solution.gap for solution in solutions),
        "worst_gap": worst,
        "baseline_gap": fmean(solve_by_rule(instance, rule).gap for instance in instances),
        "execution_time": median(took_s),
        "instances": len(instances),
    }


def check_validated(model_key: str, measured: Mapping[str, Any]) -> None:
    """Check that a model is good enough for production.

    Raises:
        InvalidModel: slower than `MAX_EXECUTION_TIME_S`, or no better than `BASELINE_RULE`.
    """
    if measured["execution_time"] > MAX_EXECUTION_TIME_S:
        raise InvalidModel(
            "model_too_slow", model=model_key, took_s=round(measured["execution_time"], 1), limit_s=MAX_EXECUTION_TIME_S
        )
    if measured["gap"] >= measured["baseline_gap"]:
        raise InvalidModel(
            "model_no_better",
            model=model_key,
            gap=measured["gap"],
            rule=BASELINE_RULE,
            rule_gap=measured["baseline_gap"],
        )


def flags(claimed: Mapping[str, Any], verified: Mapping[str, Any]) -> tuple[Flag, ...]:
    """The claims that differ from the measured values by more than `FLAGGED_DIFFERENCE`.

    A claim may refer to other instances: a flag shows only that the values differ.
    """
    found = []
    for metric in COMPARED:
        claim, truth = claimed.get(metric), verified.get(metric)
        if isinstance(claim, bool) or not isinstance(claim, int | float) or truth is None:
            continue
        if abs(claim - truth) > FLAGGED_DIFFERENCE * abs(truth):
            found.append(Flag(metric, float(claim), float(truth), (claim < truth) == METRICS[metric].lower_is_better))
    return tuple(found)
