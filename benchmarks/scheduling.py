"""How good and how fast schedules are: `python -m benchmarks.scheduling [--instances 20] [--sizes 1 2 5 10 20 50]`.

Instances come from `scheduler_env.generator` with seeds 0, 1, 2, ... that neither training nor validation uses, and
from PSPLIB (`../shared/data`). CP-SAT's figures on the generated ones are read from benchmarks/results/cpsat.json,
which `python -m benchmarks.exact` makes in hours. Writes benchmarks/results/scheduling.{md,json} and the measured
block of each model card in models/seed/.
"""

import argparse
import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from benchmarks import psplib
from benchmarks.machine import RESULTS, markdown_table, write_results
from scheduler_env import SAMPLE_PARAMS, standard_instance
from scheduler_env.agent import Agent, load_agent
from scheduler_env.bounds import lower_bound
from scheduler_env.compilation import compiled
from scheduler_env.generator import random_instance
from scheduler_env.genetic import evolve
from scheduler_env.improvement import SAMPLING_TEMPERATURE, improve
from scheduler_env.incumbent import empty_incumbent
from scheduler_env.kernel import Outlook, Problem, SimulationState, compile_instance, new_outlook, new_state
from scheduler_env.observation import Network, Workspace, new_workspace
from scheduler_env.policy import run_policy
from scheduler_env.problem import Instance
from scheduler_env.random_numbers import RandomState, new_random
from scheduler_env.rules import ALL_RULES, RULES, build, improve_by_rules

SEED_MODELS = Path(__file__).parent.parent / "models" / "seed"
AGENT = "ddqn_v2"
"""The model whose search is measured; of the others only the greedy policy."""
BUDGETS_MS = (20, 100, 1_000)
CPSAT_SECONDS = (1, 10, 60)
CARD_BEGIN, CARD_END = "<!-- measured: begin -->", "<!-- measured: end -->"

Hours = dict[str, dict[int, list[float | None]]]
"""Scheduler -> work points -> makespan of each instance; None: not measured."""
Gaps = dict[str, dict[int, float]]
BOUND, BEST = "lower bound", "best found"


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line; see the module's docstring."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0] if __doc__ else None)
    parser.add_argument("--instances", type=int, default=20, help="instances per size (default 20)")
    parser.add_argument("--sizes", type=int, nargs="+", default=[1, 2, 5, 10, 20, 50], help="work points")
    parser.add_argument("--no-budgets", action="store_true", help="leave out the runs with a time budget")
    parser.add_argument("--psplib", type=int, default=48, help="PSPLIB instances per family (default 48; 0: none)")
    parser.add_argument(
        "--agent-only", action="store_true", help=f"measure only {AGENT} again and keep the other columns"
    )
    options = parser.parse_args(arguments)
    models = {path.stem: load_agent(path) for path in sorted(SEED_MODELS.glob("ddqn_*.pth"))}

    kept = _kept(options.sizes) if options.agent_only else None
    hours, took_s, crews = measure(
        models, options.sizes, options.instances, () if options.no_budgets else BUDGETS_MS, AGENT if kept else ""
    )
    if kept:
        hours, took_s = kept["hours"] | hours, kept["seconds"] | took_s
    to_bound, to_best = gaps(hours, BOUND), gaps(hours, BEST)
    public = psplib.measure(models[AGENT], options.psplib, kept and kept["psplib"]) if options.psplib else None
    speed = measure_speed(models)
    header = ["scheduler", *(f"N = {size}" for size in options.sizes)]
    text = "\n\n".join(
        [
            "# Schedules: quality and speed",
            f"{options.instances} instances per size, one thread each. Each rule is shown with the crew policy and "
            "scheme that serve it best at that size. CP-SAT: one worker, warm-started from the best rule, on as many "
            "instances as `benchmarks.exact` has measured."
            + (
                f" All columns but those of {AGENT} and its speed were measured at {kept['measured_at']}."
                if kept
                else ""
            ),
            "## Mean gap to the lower bound",
            markdown_table(header, rows(to_bound, options.sizes)),
            "## Mean gap to the best schedule found by any of them",
            markdown_table(header, rows(to_best, options.sizes)),
            "## Mean gap to the optimum where CP-SAT proves one within 60 s",
            markdown_table(*proved_rows(hours, options.sizes)),
            "## Mean time of an answer, ms",
            markdown_table(
                header,
                [[name, *(f"{1e3 * by_size[size]:.1f}" for size in options.sizes)] for name, by_size in took_s.items()],
            ),
            "## Crew policy and scheme of each rule",
            markdown_table(header, [[rule, *(crews[rule][size] for size in options.sizes)] for rule in RULES]),
            *([] if public is None else [psplib.as_text(public)]),
            "## Speed, one thread",
            markdown_table(["figure", *models], speed["rows"]),
        ]
    )
    figures = {"hours": hours, "gap_to_bound": to_bound, "gap_to_best": to_best, "seconds": took_s, "rules": crews}
    figures |= {"psplib": public, "speed": speed["figures"]}
    write_results("scheduling", "python -m benchmarks.scheduling", text, figures)
    for name, agent in models.items():
        write_card(name, agent, to_bound, options.sizes, options.instances)
    print(text)


def measure(
    models: dict[str, Agent], sizes: Sequence[int], n_instances: int, budgets_ms: Sequence[int], only: str
) -> tuple[Hours, Gaps, dict[str, dict[int, str]]]:
    """Makespans and mean seconds by scheduler and size; and which crew policy and scheme served each rule.

    Besides the rules only schedulers whose names begin with `only` are measured.
    """
    hours: Hours = {rule: {} for rule in RULES}
    bounds: dict[int, list[float]] = {}
    took_s: Gaps = {}
    policies: dict[str, dict[int, str]] = {rule: {} for rule in RULES}
    schedulers = {f"{name} greedy": _solver(agent, 0) for name, agent in models.items()}
    for budget_ms in budgets_ms:
        schedulers |= {
            f"search without agent {budget_ms} ms": _search_without_agent(budget_ms),
            f"{AGENT} + search {budget_ms} ms": _solver(models[AGENT], budget_ms),
            f"GA {budget_ms} ms": _genetic(budget_ms),
        }
    schedulers = {label: solve for label, solve in schedulers.items() if label.startswith(only)}
    work = tqdm(total=len(sizes) * n_instances, unit="instance", desc="quality")
    for size in sizes:
        instances = [random_instance(size, seed) for seed in range(n_instances)]
        problems = [compile_instance(instance) for instance in instances]
        bounds[size] = [float(lower_bound(problem)) for problem in problems]
        hours.setdefault(BOUND, {})[size] = [*bounds[size]]
        for rule in RULES:
            by_policy = {
                str(variant).split(", ", 1)[1]: [build(problem, new_state(problem), variant) for problem in problems]
                for variant in ALL_RULES
                if variant.name == rule
            }
            best = min(by_policy, key=lambda policy: np.divide(by_policy[policy], bounds[size]).mean())
            hours[rule][size], policies[rule][size] = [*by_policy[best]], best
        for solve in schedulers.values():
            solve(instances[0])  # the first answer of a size warms the caches
        for instance in instances:
            for label, solve in schedulers.items():
                began = time.perf_counter()
                hours.setdefault(label, {}).setdefault(size, []).append(solve(instance))
                by_size = took_s.setdefault(label, {})
                by_size[size] = by_size.get(size, 0.0) + (time.perf_counter() - began) / n_instances
            work.update()
    work.close()
    return _with_cpsat(hours, sizes, n_instances), took_s, policies


def _kept(sizes: Sequence[int]) -> dict[str, Any]:
    """The figures of the last whole run, by size as numbers, and when it was."""
    content = json.loads((RESULTS / "scheduling.json").read_text(encoding="utf-8"))
    by_size = {
        name: {scheduler: {size: column[str(size)] for size in sizes} for scheduler, column in content[name].items()}
        for name in ("hours", "seconds")
    }
    return {**by_size, "psplib": content["psplib"], "measured_at": content["machine"]["measured_at"]}


def gaps(hours: Hours, base: str) -> Gaps:
    """Mean gap of each scheduler to `BOUND` or to `BEST`, over the instances on which it was measured."""
    found: Gaps = {}
    for size, bounds in hours[BOUND].items():
        columns = {name: by_size[size] for name, by_size in hours.items() if name != BOUND and size in by_size}
        best = [min(h for h in together if h is not None) for together in zip(*columns.values(), strict=True)]
        reference = bounds if base == BOUND else best
        if base == BOUND:
            columns[BEST] = [*best]
        else:
            columns[BOUND] = bounds
        for name, column in columns.items():
            ratios = [h / r for h, r in zip(column, reference, strict=True) if h is not None and r is not None]
            if ratios:
                found.setdefault(name, {})[size] = float(np.mean(ratios)) - 1.0
    return found


def proved_rows(hours: Hours, sizes: Sequence[int]) -> tuple[list[str], list[list[str]]]:
    """Header and rows: each scheduler's mean gap to the optimum, by size, over the instances with a proof."""
    measured = _exact_results()
    optima: dict[int, dict[int, float]] = {size: {} for size in sizes}
    for size in sizes:
        for seed in range(len(hours[BOUND][size])):
            found = measured.get(f"{size}/{seed}", {"optimal": False})
            if found["optimal"]:
                optima[size][seed] = found["lower_bound_h"]
    proved = {size: by_seed for size, by_seed in optima.items() if by_seed}
    header = ["scheduler", *(f"N = {size}, {len(by_seed)} instances" for size, by_seed in proved.items())]
    table = []
    for name, by_size in hours.items():
        cells = [
            np.mean([column / optimum_h for seed, optimum_h in by_seed.items() if (column := by_size[size][seed])]) - 1
            for size, by_seed in proved.items()
        ]
        table.append([name, *(f"{cell:.2%}" for cell in cells)])
    return header, table


def rows(by_scheduler: Gaps, sizes: Sequence[int]) -> list[list[str]]:
    """Per scheduler its mean gaps; a dash where nothing was measured."""
    return [
        [name, *(f"{by_size[size]:.2%}" if size in by_size else "-" for size in sizes)]
        for name, by_size in by_scheduler.items()
    ]


def _solver(agent: Agent, budget_ms: int) -> Callable[[Instance], float]:
    return lambda instance: agent.solve(instance, time_budget_ms=budget_ms).schedule.makespan_h


def _search_without_agent(budget_ms: int) -> Callable[[Instance], float]:
    """Rules and annealing, which get all the time."""

    def solve(instance: Instance) -> float:
        deadline_s = time.perf_counter() + budget_ms / 1e3
        problem = compile_instance(instance)
        incumbent, bound_h = empty_incumbent(problem), float(lower_bound(problem))
        improve_by_rules(problem, incumbent, deadline_s=deadline_s)
        improve(problem, None, incumbent, lower_bound_h=bound_h, deadline_s=deadline_s)
        return incumbent.makespan_h

    return solve


def _genetic(budget_ms: int) -> Callable[[Instance], float]:
    """The genetic algorithm from the best rule on, as the model `GA` runs it."""

    def solve(instance: Instance) -> float:
        deadline_s = time.perf_counter() + budget_ms / 1e3
        problem = compile_instance(instance)
        incumbent, bound_h = empty_incumbent(problem), float(lower_bound(problem))
        improve_by_rules(problem, incumbent, deadline_s=deadline_s)
        evolve(problem, incumbent, lower_bound_h=bound_h, deadline_s=deadline_s)
        return incumbent.makespan_h

    return solve


def _with_cpsat(hours: Hours, sizes: Sequence[int], n_instances: int) -> Hours:
    """`hours` with the columns of CP-SAT, as far as `benchmarks.exact` has measured them."""
    measured = _exact_results()
    for seconds in CPSAT_SECONDS:
        for size in sizes:
            found = [
                measured.get(f"{size}/{seed}", {}).get("hours", {}).get(str(seconds)) for seed in range(n_instances)
            ]
            hours.setdefault(f"CP-SAT {seconds} s", {})[size] = found
    return hours


def _exact_results() -> dict[str, Any]:
    path = RESULTS / "cpsat.json"
    return json.loads(path.read_text(encoding="utf-8"))["instances"] if path.exists() else {}


def measure_speed(models: dict[str, Agent]) -> dict[str, Any]:
    """Answer times of the flagship and of larger instances, and decisions a second of compiled rollouts."""
    flagship = standard_instance(SAMPLE_PARAMS)
    figures: dict[str, dict[str, float]] = {}
    for name, agent in models.items():
        agent.solve(flagship)
        times_ms = 1e3 * np.array([_seconds(lambda a=agent: a.solve(flagship)) for _ in range(500)])  # type: ignore[misc]
        found = {
            "flagship makespan, h": agent.solve(flagship).schedule.makespan_h,
            "flagship p50, ms": float(np.percentile(times_ms, 50)),
            "flagship p99, ms": float(np.percentile(times_ms, 99)),
        }
        for size in (1, 5, 10, 50):
            instance = random_instance(size, seed=0)
            found[f"N = {size}: whole answer, ms"] = 1e3 * min(
                _seconds(lambda a=agent, i=instance: a.solve(i))  # type: ignore[misc]
                for _ in range(5)
            )
            found[f"N = {size}: decisions per second"] = _decisions_per_second(agent, compile_instance(instance))
        figures[name] = found
    names = list(next(iter(figures.values())))
    rows = [[figure, *(f"{figures[model][figure]:,.2f}" for model in models)] for figure in names]
    return {"figures": figures, "rows": rows}


def write_card(name: str, agent: Agent, gaps: Gaps, sizes: Sequence[int], n_instances: int) -> None:
    """Renew the measured block of the model's card and the claimed metrics in its description."""
    greedy = gaps[f"{name} greedy"]
    flagship_h = agent.solve(standard_instance(SAMPLE_PARAMS)).schedule.makespan_h
    table = markdown_table(
        ["scheduler", *(f"N = {size}" for size in sizes)],
        [
            [label, *(f"{by_size[size]:.2%}" for size in sizes)]
            for label, by_size in gaps.items()
            if label in RULES or label == f"{name} greedy"
        ],
    )
    block = (
        f"{CARD_BEGIN}\nFlagship request: {flagship_h:.2f} h (optimum 52.87 h).\n\nMean gap to the lower bound, "
        f"{n_instances} instances per size (`python -m benchmarks.scheduling`), beside every priority rule with the "
        f"crew policy that serves it best at that size:\n\n{table}\n{CARD_END}"
    )
    card = SEED_MODELS / f"{name}.md"
    text = card.read_text(encoding="utf-8")
    before, rest = text.split(CARD_BEGIN, 1)
    card.write_text(before + block + rest.split(CARD_END, 1)[1], encoding="utf-8")
    description = SEED_MODELS / f"{name}.json"
    content = json.loads(description.read_text(encoding="utf-8"))
    content["performance_metrics"] = {"makespan": round(flagship_h, 4)} | {
        f"mean_gap_{size}_workpoints": round(greedy[size], 5) for size in sizes
    }
    description.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _seconds(action: Callable[[], object]) -> float:
    began = time.perf_counter()
    action()
    return time.perf_counter() - began


@compiled
def _run_policy_often(
    problem: Problem,
    state: SimulationState,
    outlook: Outlook,
    network: Network,
    workspace: Workspace,
    random: RandomState,
    rounds: int,
) -> int:
    decisions = 0
    for _ in range(rounds):
        decisions += run_policy(problem, state, outlook, network, workspace, 0.0, SAMPLING_TEMPERATURE, random)
    return decisions


def _decisions_per_second(agent: Agent, problem: Problem) -> float:
    """Of rollouts as sampling makes them, called in bulk; the best of five tries, since the machine is shared."""
    state, outlook, random = new_state(problem), new_outlook(problem), new_random(0)
    workspace = new_workspace(problem, agent.network)
    rounds = max(1, 20_000 // problem.shortest.size // 2)
    best = 0.0
    for _ in range(5):
        began = time.perf_counter()
        decisions = _run_policy_often(problem, state, outlook, agent.network, workspace, random, rounds)
        best = max(best, decisions / (time.perf_counter() - began))
    return best


if __name__ == "__main__":
    main()
