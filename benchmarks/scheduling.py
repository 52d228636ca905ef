"""How good and how fast schedules are: `python -m benchmarks.scheduling [--instances 20] [--sizes 1 2 5 10 20]`.

Instances come from `scheduler_env.generator` with seeds 0, 1, 2, ... that neither training nor validation uses.
Writes benchmarks/results/scheduling.{md,json} and the measured block of each model card in models/seed/.
"""

import argparse
import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from benchmarks.machine import markdown_table, write_results
from scheduler_env import SAMPLE_PARAMS, standard_instance
from scheduler_env.agent import Agent, load_agent
from scheduler_env.bounds import lower_bound
from scheduler_env.compilation import compiled
from scheduler_env.generator import random_instance
from scheduler_env.improvement import SAMPLING_TEMPERATURE
from scheduler_env.kernel import Problem, State, View, compile_instance, new_state, new_view
from scheduler_env.observation import Network, Workspace, new_workspace
from scheduler_env.rollout import RandomState, new_random, roll_out
from scheduler_env.rules import ALL_RULES, RULES, build

SEED_MODELS = Path(__file__).parent.parent / "models" / "seed"
BUDGETS_MS = (20, 100, 1_000)
CARD_BEGIN, CARD_END = "<!-- measured: begin -->", "<!-- measured: end -->"

Gaps = dict[str, dict[int, float]]


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line; see the module's docstring."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0] if __doc__ else None)
    parser.add_argument("--instances", type=int, default=20, help="per size (default 20)")
    parser.add_argument("--sizes", type=int, nargs="+", default=[1, 2, 5, 10, 20], help="work points")
    parser.add_argument("--no-budgets", action="store_true", help="leave out the runs with a time budget")
    options = parser.parse_args(arguments)
    models = {path.stem: load_agent(path) for path in sorted(SEED_MODELS.glob("*.pth"))}

    gaps, chosen_rules = measure_gaps(models, options.sizes, options.instances, budgets=not options.no_budgets)
    speed = measure_speed(models)
    header = ["scheduler", *(f"N = {size}" for size in options.sizes)]
    rows = [[name, *(f"{by_size[size]:.2%}" for size in options.sizes)] for name, by_size in gaps.items()]
    crews = [[f"`{rule}`", *(chosen_rules[rule][size].split(", ", 1)[1] for size in options.sizes)] for rule in RULES]
    text = "\n\n".join(
        [
            "# Schedules: quality and speed",
            f"Mean gap of the makespan to the lower bound over {options.instances} instances per size. Each rule is "
            "shown with the crew policy and scheme that serve it best at that size.",
            markdown_table(header, rows),
            "Crew policy and scheme of each rule:",
            markdown_table(["rule", *header[1:]], crews),
            "Speed, one thread:",
            markdown_table(["figure", *models], speed["rows"]),
        ]
    )
    command = "python -m benchmarks.scheduling"
    write_results("scheduling", command, text, {"gaps": gaps, "rules": chosen_rules, "speed": speed["figures"]})
    for name, agent in models.items():
        write_card(name, agent, gaps, options.sizes, options.instances)
    print(text)


def measure_gaps(
    models: dict[str, Agent], sizes: Sequence[int], n_instances: int, *, budgets: bool
) -> tuple[Gaps, dict[str, dict[int, str]]]:
    """Mean gap to the lower bound by scheduler and size; and which crew policy served each rule."""
    gaps: Gaps = {rule: {} for rule in RULES}
    chosen: dict[str, dict[int, str]] = {rule: {} for rule in RULES}
    work = tqdm(total=len(sizes) * n_instances, unit="instance", desc="quality")
    for size in sizes:
        instances = [random_instance(size, seed) for seed in range(n_instances)]
        problems = [compile_instance(instance) for instance in instances]
        bounds = np.array([lower_bound(problem) for problem in problems])
        for rule in RULES:
            by_policy = {
                str(variant): float((np.array([build(p, new_state(p), variant) for p in problems]) / bounds).mean() - 1)
                for variant in ALL_RULES
                if variant.name == rule
            }
            best = min(by_policy, key=lambda policy: by_policy[policy])
            gaps[rule][size], chosen[rule][size] = by_policy[best], best
        for instance in instances:
            for name, agent in models.items():
                for budget_ms in (0, *(BUDGETS_MS if budgets else ())):
                    label = f"{name} greedy" if budget_ms == 0 else f"{name} + search {budget_ms} ms"
                    gap = agent.solve(instance, time_budget_ms=budget_ms).gap
                    by_size = gaps.setdefault(label, {})
                    by_size[size] = by_size.get(size, 0.0) + gap / n_instances
            work.update()
    work.close()
    return gaps, chosen


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
def _roll_out_many(
    problem: Problem,
    state: State,
    view: View,
    network: Network,
    workspace: Workspace,
    random: RandomState,
    rounds: int,
) -> int:
    decisions = 0
    for _ in range(rounds):
        decisions += roll_out(problem, state, view, network, workspace, 0.0, SAMPLING_TEMPERATURE, random)
    return decisions


def _decisions_per_second(agent: Agent, problem: Problem) -> float:
    """Of rollouts as sampling makes them, called in bulk; the best of five tries, since the machine is shared."""
    state, view, random = new_state(problem), new_view(problem), new_random(0)
    workspace = new_workspace(problem, agent.network)
    rounds = max(1, 20_000 // problem.shortest.size // 2)
    best = 0.0
    for _ in range(5):
        began = time.perf_counter()
        decisions = _roll_out_many(problem, state, view, agent.network, workspace, random, rounds)
        best = max(best, decisions / (time.perf_counter() - began))
    return best


if __name__ == "__main__":
    main()
