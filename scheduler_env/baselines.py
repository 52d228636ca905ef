"""Solvers without training: priority rules (`RULE`), a genetic algorithm (`GA`) and CP-SAT (`CPSAT`).

Each is described by a small JSON file, which takes the place of a trained model's weights:

    {"format": "scheduler-baseline/1", "algorithm": "RULE", "parameters": {"rule": "LFT", "crew_share": 0.5,
     "scheme": "parallel"}}
    {"format": "scheduler-baseline/1", "algorithm": "RULE", "parameters": {"rule": "BEST"}}
    {"format": "scheduler-baseline/1", "algorithm": "GA", "parameters": {}}
    {"format": "scheduler-baseline/1", "algorithm": "CPSAT", "parameters": {"time_limit_s": 10, "workers": 1}}

`BEST` tries every rule with every crew policy and scheme. `GA` and `CPSAT` start from its schedule and shorten it.
"""

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from scheduler_env.bounds import bound_with_parts
from scheduler_env.decomposition import PART_NODES, decompose, has_parts, nodes_for, take_parts
from scheduler_env.errors import SchedulingError
from scheduler_env.exact import improve_exactly
from scheduler_env.genetic import evolve
from scheduler_env.incumbent import Incumbent, Limits, Stop, empty_incumbent
from scheduler_env.kernel import Problem, compile_instance, to_schedule
from scheduler_env.problem import Instance
from scheduler_env.replan.solving import replans
from scheduler_env.rules import ALL_RULES, Rule, improve_by_rules
from scheduler_env.schedule import Solution
from scheduler_env.solver import Solver
from scheduler_env.values import shortened, strict_json
from scheduler_env.zone_bounds import zone_bound_h

FORMAT = "scheduler-baseline/1"
MAX_FILE_BYTES = 10_000
MAX_TIME_LIMIT_S = 600.0
MAX_WORKERS = 8
BEST = "BEST"
_CPSAT = ("time_limit_s", "workers")
_MEMBERS = ("format", "algorithm", "parameters")

Improver = Callable[[Problem, Incumbent, int, Limits], float]
"""(problem, incumbent, seed, limits) -> proved lower bound in hours; shortens the incumbent."""


class InvalidBaseline(SchedulingError):
    """The file does not describe one of the algorithms; the text says what is wrong and what is expected."""


@dataclass(frozen=True)
class Baseline:
    """Priority rules, and optionally a search from the best of their schedules."""

    signature: dict[str, Any]
    rules: tuple[Rule, ...]
    default_budget_ms: float
    improver: Improver | None = None
    training: dict[str, Any] = field(default_factory=dict)
    exact_workers: int | None = None  # threads of CP-SAT, which then also improves schedules with dates

    @replans
    def solve(
        self,
        instance: Instance,
        *,
        time_budget_ms: float = 0.0,
        seed: int = 0,
        max_evaluations: int | None = None,
        stop: Stop | None = None,
    ) -> Solution:
        """The shortest schedule found; see `solver.Solver`. Without a budget, the best of the rules.

        Raises:
            InvalidSchedule: the schedule violates a constraint; this is a defect of the solver.
        """
        deadline_s = time.perf_counter() + time_budget_ms / 1000.0
        problem = compile_instance(instance)
        parts = decompose(problem, PART_NODES)
        bound_h = instance_bound_h = max(float(bound_with_parts(problem, parts)), zone_bound_h(instance))
        best = empty_incumbent(problem)
        improve_by_rules(problem, best, rules=self.rules, seed=seed)
        policy_makespan_h = best.makespan_h
        if self.improver is not None and time_budget_ms > 0.0:
            if parts.is_cut_short and nodes_for(time_budget_ms) > PART_NODES:
                parts = decompose(problem, nodes_for(time_budget_ms))
                bound_h = max(bound_h, float(parts.bound))
            if has_parts(parts):
                take_parts(problem, parts, best)
            if not best.is_optimal(bound_h):
                limits = Limits(
                    lower_bound_h=bound_h, deadline_s=deadline_s, max_evaluations=max_evaluations, stop=stop
                )
                bound_h = self.improver(problem, best, seed, limits)
                if has_parts(parts):
                    take_parts(problem, parts, best)
        schedule = to_schedule(instance, problem, best.mode, best.start)
        schedule.check()
        return Solution(
            schedule, best.bound_h(bound_h), best.stage, best.evaluations, instance_bound_h, policy_makespan_h
        )


def load_baseline(path: Path, algorithm: str) -> Solver:
    """The solver that the file describes.

    Raises:
        InvalidBaseline: the file is not a description of `algorithm`.
        OSError: the file cannot be read.
    """
    with open(path, "rb") as file:
        content = file.read(MAX_FILE_BYTES + 1)
    if len(content) > MAX_FILE_BYTES:
        raise InvalidBaseline("baseline_too_large", algorithm=algorithm, limit=MAX_FILE_BYTES)
    try:
        content = strict_json(content)
    except (ValueError, RecursionError) as err:
        raise InvalidBaseline("baseline_not_json", algorithm=algorithm, format=FORMAT, reason=str(err)) from err
    if not isinstance(content, dict) or set(content) != set(_MEMBERS):
        raise InvalidBaseline("baseline_members", algorithm=algorithm, members=_MEMBERS)
    if content["format"] != FORMAT:
        raise InvalidBaseline("baseline_format", found=shortened(content["format"]), expected=FORMAT)
    if content["algorithm"] != algorithm:
        raise InvalidBaseline("baseline_of_other", found=shortened(content["algorithm"]), algorithm=algorithm)
    parameters = content["parameters"]
    if not isinstance(parameters, dict):
        raise InvalidBaseline("baseline_parameters", algorithm=algorithm)
    return _MAKERS[algorithm](parameters, {"format": FORMAT, "algorithm": algorithm, "parameters": parameters})


def _rule(parameters: Mapping[str, Any], signature: dict[str, Any]) -> Solver:
    if parameters == {"rule": BEST}:
        return Baseline(signature, ALL_RULES, default_budget_ms=0.0)
    wanted = tuple(parameters.get(name) for name in ("rule", "crew_share", "scheme"))
    found = [rule for rule in ALL_RULES if (rule.name, round(rule.crew_share, 3), rule.scheme) == _rounded(wanted)]
    if set(parameters) != {"rule", "crew_share", "scheme"} or not found:
        raise InvalidBaseline(
            "rule_parameters",
            rules=[BEST, *dict.fromkeys(rule.name for rule in ALL_RULES)],
            crew_shares=sorted({round(rule.crew_share, 3) for rule in ALL_RULES}),
            found=shortened(dict(parameters)),
        )
    return Baseline(signature, (found[0],), default_budget_ms=0.0)


def _rounded(wanted: tuple[Any, ...]) -> tuple[Any, ...]:
    name, share, scheme = wanted
    is_number = isinstance(share, int | float) and not isinstance(share, bool)
    return name, round(share, 3) if is_number else None, scheme  # a bool is excluded, because True == 1


def _genetic(parameters: Mapping[str, Any], signature: dict[str, Any]) -> Solver:
    if parameters:
        raise InvalidBaseline("baseline_takes_none", algorithm="GA", names=[*map(shortened, parameters)])

    def improver(problem: Problem, best: Incumbent, seed: int, limits: Limits) -> float:
        evolve(problem, best, seed=seed, **limits)
        return limits["lower_bound_h"]

    return Baseline(signature, ALL_RULES, 20.0, improver)


def _exact(parameters: Mapping[str, Any], signature: dict[str, Any]) -> Solver:
    unknown = parameters.keys() - set(_CPSAT)
    if unknown:
        raise InvalidBaseline(
            "baseline_extra", algorithm="CPSAT", names=sorted(map(shortened, unknown)), allowed=sorted(_CPSAT)
        )
    limit_s, workers = parameters.get("time_limit_s", 10.0), parameters.get("workers", 1)
    if isinstance(limit_s, bool) or not isinstance(limit_s, int | float) or not 0.0 < limit_s <= MAX_TIME_LIMIT_S:
        raise InvalidBaseline("baseline_time_limit", value=shortened(limit_s), limit_s=MAX_TIME_LIMIT_S)
    if isinstance(workers, bool) or not isinstance(workers, int) or not 1 <= workers <= MAX_WORKERS:
        raise InvalidBaseline("baseline_workers", value=shortened(workers), limit=MAX_WORKERS)

    def improver(problem: Problem, best: Incumbent, seed: int, limits: Limits) -> float:
        bound_h, max_evaluations = limits["lower_bound_h"], limits.get("max_evaluations")
        if max_evaluations is not None and best.evaluations >= max_evaluations:
            return bound_h
        until_s = min(limits["deadline_s"], time.perf_counter() + limit_s)  # CP-SAT does not call `stop`
        return improve_exactly(problem, best, lower_bound_h=bound_h, deadline_s=until_s, seed=seed, workers=workers)

    return Baseline(signature, ALL_RULES, math.ceil(1000.0 * limit_s), improver, exact_workers=workers)


_MAKERS: Mapping[str, Callable[[Mapping[str, Any], dict[str, Any]], Solver]] = {
    "RULE": _rule,
    "GA": _genetic,
    "CPSAT": _exact,
}
BASELINES = tuple(_MAKERS)
