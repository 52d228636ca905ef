"""Public instances (PSPLIB): the rules, the search with and without the agent, CP-SAT, against known optima.

`python -m benchmarks.psplib` measures the large single-mode families as the literature does: mean deviation from the
critical path and from the best known makespan after a number of schedules, each one that is placed counted. It needs
`j60.sm/*.sm` and `j120.sm/*.sm` in the folder of PSPLIB's data, and for the second figure `j60_best.csv` and
`j120_best.csv` there (columns `problem` and `optimum`, the latter a number or `lower..upper`).
"""

import argparse
import csv
import math
import re
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from benchmarks.machine import markdown_table
from scheduler_env.agent import Agent, load_agent
from scheduler_env.annealing import anneal
from scheduler_env.bounds import lower_bound
from scheduler_env.exact import improve_exactly
from scheduler_env.genetic import evolve
from scheduler_env.improvement import COOLING_FACTOR, START_TEMPERATURE, improve, justify
from scheduler_env.incumbent import OPTIMAL_WITHIN_H, Incumbent, empty_incumbent
from scheduler_env.kernel import Problem, compile_instance
from scheduler_env.problem import Instance
from scheduler_env.psplib import instance_from_psplib
from scheduler_env.random_numbers import new_random
from scheduler_env.rules import improve_by_rules
from scheduler_env.serial import new_decoder
from scheduler_service.settings import Settings

FOLDER = Settings().data / "psplib"
BUDGETS_MS = (20, 100, 1_000)
LARGE_FAMILIES = ("j60", "j120")
SCHEDULES = (1_000, 5_000, 50_000)
AGENT_FILE = Path(__file__).parent.parent / "models" / "seed" / "ddqn_v2.pth"


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
    by_rules = empty_incumbent(problem)
    improve_by_rules(problem, by_rules)
    yield "best of all rules", by_rules.makespan_h
    for budget_ms in BUDGETS_MS:
        deadline_s = time.perf_counter() + budget_ms / 1e3
        incumbent = empty_incumbent(problem)
        improve_by_rules(problem, incumbent, deadline_s=deadline_s)
        improve(problem, None, incumbent, lower_bound_h=bound_h, deadline_s=deadline_s)
        yield f"search without agent {budget_ms} ms", incumbent.makespan_h
    for seconds in (1, 10):
        incumbent = empty_incumbent(problem)
        improve_by_rules(problem, incumbent)
        improve_exactly(problem, incumbent, lower_bound_h=bound_h, deadline_s=time.perf_counter() + seconds)
        yield f"CP-SAT {seconds} s", incumbent.makespan_h


def measure_by_schedules(
    agent: Agent, family: str, n_instances: int, schedules: Sequence[int], seeds: Sequence[int]
) -> dict[str, Any] | None:
    """Mean deviations of the agent's search, the genetic algorithm and annealing on a large single-mode family.

    Returns:
        None without data; otherwise `instances`, and by search, then by number of schedules, the mean deviations
        `critical_path` and `best_known` (of the instances that have one, else None), over instances and seeds; under
        the name `best known` that of the best known makespans themselves from the critical path.
    """
    files = sorted((FOLDER / f"{family}.sm").glob("*.sm"))
    if not files:
        return None
    chosen = files[:: max(1, len(files) // n_instances)][:n_instances]
    best_known = _best_known(family)
    searches: dict[str, Search] = {"agent + search": _by_agent(agent), "genetic": _genetically, "annealing": _annealed}
    over_path: dict[tuple[str, int], list[float]] = {}
    over_best: dict[tuple[str, int], list[float]] = {}
    best_over_path = []
    for file in tqdm(chosen, unit="instance", desc=f"PSPLIB {family}"):
        problem = compile_instance(instance_from_psplib(file.read_text(encoding="latin-1")))
        path_h, best_h = float(problem.tail.max()), best_known.get(file.name)
        if best_h is not None:
            best_over_path.append(best_h / path_h - 1.0)
        for name, search in searches.items():
            for most in schedules:
                for seed in seeds:
                    incumbent = empty_incumbent(problem)
                    improve_by_rules(problem, incumbent, seed=seed, max_evaluations=most)
                    search(problem, incumbent, float(lower_bound(problem)), most, seed)
                    over_path.setdefault((name, most), []).append(incumbent.makespan_h / path_h - 1.0)
                    if best_h is not None:
                        over_best.setdefault((name, most), []).append(incumbent.makespan_h / best_h - 1.0)
    return {
        "instances": len(chosen),
        "with_best_known": len(best_over_path),
        "best known": _mean(best_over_path),
        "deviation": {
            name: {
                most: {"critical_path": _mean(over_path[name, most]), "best_known": _mean(over_best.get((name, most)))}
                for most in schedules
            }
            for name in searches
        },
    }


Search = Callable[[Problem, Incumbent, float, int, int], None]
"""(problem, incumbent to shorten, lower bound in hours, most schedules, seed)."""


def _by_agent(agent: Agent) -> Search:
    def search(problem: Problem, incumbent: Incumbent, bound_h: float, most: int, seed: int) -> None:
        improve(
            problem, agent.network, incumbent,
            lower_bound_h=bound_h, deadline_s=math.inf, seed=seed, max_evaluations=most,
        )  # fmt: skip

    return search


def _genetically(problem: Problem, incumbent: Incumbent, bound_h: float, most: int, seed: int) -> None:
    evolve(problem, incumbent, lower_bound_h=bound_h, deadline_s=math.inf, seed=seed, max_evaluations=most)


def _annealed(problem: Problem, incumbent: Incumbent, bound_h: float, most: int, seed: int) -> None:
    """Annealing alone, from the double justification of the best rule's schedule, in one cooling."""
    if incumbent.is_optimal(bound_h):
        return
    decoder, order = new_decoder(problem, incremental=True), np.empty(problem.shortest.size, dtype=np.int64)
    mode, start = incumbent.mode.copy(), incumbent.start.copy()
    begin_h = float(justify(problem, decoder, mode, start, order))
    hot_h = START_TEMPERATURE * problem.unit / problem.shortest.size
    found_h = anneal(
        problem, decoder, order, mode, start, begin_h, most - incumbent.evaluations - 2, hot_h, hot_h / COOLING_FACTOR,
        new_random(seed), bound_h + OPTIMAL_WITHIN_H,
    )  # fmt: skip
    incumbent.take(mode, start, float(found_h), "annealing")


def _best_known(family: str) -> dict[str, float]:
    """File name to makespan; empty without the file of them."""
    file = FOLDER / f"{family}_best.csv"
    if not file.is_file():
        return {}
    with file.open(newline="") as lines:
        return {row["problem"]: float(row["optimum"].split("..")[-1]) for row in csv.DictReader(lines)}


def _mean(values: Sequence[float] | None) -> float | None:
    return float(np.mean(values)) if values else None


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; see the module's docstring."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.psplib", description="PSPLIB's large families")
    parser.add_argument("--instances", type=int, default=20, help="instances per family, evenly spread (default 20)")
    parser.add_argument("--seeds", type=int, default=1, help="runs of each search (default 1)")
    parser.add_argument("--schedules", type=int, nargs="+", default=SCHEDULES, help="schedules per search")
    options = parser.parse_args(arguments)
    agent = load_agent(AGENT_FILE)
    for family in LARGE_FAMILIES:
        found = measure_by_schedules(agent, family, options.instances, options.schedules, range(options.seeds))
        if found is None:
            print(f"{family}: skipped, there is no {FOLDER / family}.sm/*.sm", file=sys.stderr)
            continue
        print(by_schedules_as_text(family, found))
    return 0


def by_schedules_as_text(family: str, found: dict[str, Any]) -> str:
    """A table: searches by numbers of schedules."""
    deviation = found["deviation"]
    numbers = list(next(iter(deviation.values())))
    table = [
        [name, *(f"{_percent(by[most]['critical_path'])} ({_percent(by[most]['best_known'])})" for most in numbers)]
        for name, by in deviation.items()
    ]
    header = ["search", *(f"{most:,} schedules" for most in numbers)]
    return (
        f"{family}: {found['instances']} instances; mean deviation from the critical path (from the best known of "
        f"{found['with_best_known']}; those: {_percent(found['best known'])} from the critical path)\n\n"
        f"{markdown_table(header, table)}\n"
    )


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{share:.2%}"


if __name__ == "__main__":
    sys.exit(main())
