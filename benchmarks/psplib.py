"""Public instances (PSPLIB) with known optima: the rules, the search with and without the agent, CP-SAT."""

import csv
import re
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
from tqdm import tqdm

from benchmarks.machine import markdown_table
from scheduler_env.agent import Agent
from scheduler_env.bounds import lower_bound
from scheduler_env.exact import improve_exactly
from scheduler_env.improvement import improve
from scheduler_env.incumbent import nothing_yet
from scheduler_env.kernel import compile_instance
from scheduler_env.problem import Instance
from scheduler_env.psplib import instance_from_psplib
from scheduler_env.rules import improve_by_rules
from scheduler_service.settings import Settings

FOLDER = Settings().data / "psplib"
BUDGETS_MS = (20, 100, 1_000)


def optima(family: str) -> Iterator[tuple[str, int]]:
    """(file, optimal makespan) of `j30.sm` or `n0`."""
    if family == "j30.sm":
        with (FOLDER / "j30_optimum.csv").open(newline="") as file:
            yield from ((row["problem"], int(row["optimum"])) for row in csv.DictReader(file))
        return
    for line in (FOLDER / f"{family}opt.mm").read_text(encoding="latin-1").splitlines():
        if row := re.match(r"\s*(\d+)\s+(\d+)\s+(\d+)\s", line):
            yield f"{family}{row[1]}_{row[2]}.mm", int(row[3])


def measure(agent: Agent, n_instances: int, kept: dict[str, Any] | None = None) -> dict[str, Any]:
    """Mean gap to the optimum and share solved to it, by family and scheduler, over `n_instances` spread evenly.

    With `kept`, an earlier answer, only the agent is measured; the other figures are taken from there.
    """
    found: dict[str, Any] = {}
    for family in ("n0", "j30.sm"):
        known = [(name, optimum) for name, optimum in optima(family) if (FOLDER / family / name).is_file()]
        chosen = known[:: max(1, len(known) // n_instances)][:n_instances]
        ratios: dict[str, list[float]] = {}
        for name, optimum in tqdm(chosen, unit="instance", desc=f"PSPLIB {family}"):
            instance = instance_from_psplib((FOLDER / family / name).read_text(encoding="latin-1"))
            for scheduler, makespan_h in _makespans(instance, agent, agent_only=kept is not None):
                ratios.setdefault(scheduler, []).append(makespan_h / optimum)
        found[family] = {
            "instances": len(chosen),
            "gap": {scheduler: float(np.mean(values)) - 1.0 for scheduler, values in ratios.items()},
            "optimal": {
                scheduler: float(np.mean(np.array(values) <= 1 + 1e-9)) for scheduler, values in ratios.items()
            },
        }
        if kept is not None:
            found[family] |= {figure: kept[family][figure] | found[family][figure] for figure in ("gap", "optimal")}
    return found


def as_text(found: dict[str, Any]) -> str:
    """The section of the report."""
    header = ["scheduler"] + [f"{family}, {column}" for family in found for column in ("mean gap", "optimal")]
    schedulers = list(next(iter(found.values()))["gap"])
    table = []
    for name in schedulers:
        cells = [(f"{part['gap'][name]:.2%}", f"{part['optimal'][name]:.0%}") for part in found.values()]
        table.append([name, *(cell for pair in cells for cell in pair)])
    counts = ", ".join(f"{part['instances']} of {family}" for family, part in found.items())
    return f"## PSPLIB: gap to the known optimum\n\n{counts}, spread evenly.\n\n{markdown_table(header, table)}"


def _makespans(instance: Instance, agent: Agent, *, agent_only: bool) -> Iterator[tuple[str, float]]:
    yield "greedy", agent.solve(instance).schedule.makespan_h
    for budget_ms in BUDGETS_MS:
        yield f"agent + search {budget_ms} ms", agent.solve(instance, time_budget_ms=budget_ms).schedule.makespan_h
    if agent_only:
        return
    problem = compile_instance(instance)
    bound_h = float(lower_bound(problem))
    by_rules = nothing_yet(problem)
    improve_by_rules(problem, by_rules)
    yield "best of all rules", by_rules.makespan_h
    for budget_ms in BUDGETS_MS:
        deadline_s = time.perf_counter() + budget_ms / 1e3
        incumbent = nothing_yet(problem)
        improve_by_rules(problem, incumbent, deadline_s=deadline_s)
        improve(problem, None, incumbent, lower_bound_h=bound_h, deadline_s=deadline_s)
        yield f"search without agent {budget_ms} ms", incumbent.makespan_h
    for seconds in (1, 10):
        incumbent = nothing_yet(problem)
        improve_by_rules(problem, incumbent)
        improve_exactly(problem, incumbent, lower_bound_h=bound_h, deadline_s=time.perf_counter() + seconds)
        yield f"CP-SAT {seconds} s", incumbent.makespan_h
