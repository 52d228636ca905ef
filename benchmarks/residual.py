"""Small residual problems and replans: how often 100 ms find the optimum, against the exact solver of the tests.

`python -m benchmarks.residual [--instances 1000] [--first-seed 1000] [--budget-ms 100] [--oracle-seconds 20]`

Half of the seeded instances are residual problems (releases, people who come and go), the other half are replans, with
work that is done or at work, pins and published plans (`scheduler_env.generator`). The seed model answers each of
them in one thread. CP-SAT solves the same instance with a model that shares nothing with the product; instances that
it does not prove in time are counted apart. Of a published plan, the sum of the shifts is compared with CP-SAT's.

Writes benchmarks/results/residual.{md,json}; ends with 1 if a schedule breaks a constraint, a bound is above an
optimum, or pins are refused that can be kept.
"""

import argparse
import sys
from collections import Counter
from pathlib import Path

from tqdm import tqdm

from benchmarks.machine import markdown_table, write_results
from scheduler_env.agent import Agent, load_agent
from scheduler_env.errors import InvalidInstance
from scheduler_env.generator import random_replan, random_residual
from scheduler_env.problem import Instance
from scheduler_env.replan.report import changes
from scheduler_service.settings import Settings
from tests.residual_oracle import INFEASIBLE, TICKS, least_shift_h, optimum_h

MODEL = "ddqn_v2.pth"
SAME_H = 0.01
WRONG = ("violations", "bound_above_optimum", "below_optimum", "wrongly_refused", "wrongly_kept")


def examine(instance: Instance, agent: Agent, budget_ms: float, limit_s: float, seed: int) -> list[str]:
    """What holds of the answer: names that are counted."""
    optimum, rounding_h = optimum_h(instance, limit_s), (len(instance.steps) + 1) / TICKS
    if optimum is None:
        return ["not_proved"]
    try:
        found = agent.solve(instance, time_budget_ms=budget_ms, seed=seed)
    except InvalidInstance:
        return ["impossible" if optimum == INFEASIBLE else "wrongly_refused"]
    if optimum == INFEASIBLE:
        return ["wrongly_kept"]
    makespan_h, status = found.schedule.makespan_h, instance.status
    tolerance_h = 0.0 if status is None else status.tolerance_h
    names = ["answered"]
    names += ["violations"] * bool(found.schedule.violations())
    names += ["bound_above_optimum"] * (found.lower_bound_h > optimum + rounding_h)
    names += ["below_optimum"] * (makespan_h < optimum - 1e-6)
    names += ["optimal"] * (makespan_h <= optimum + rounding_h + tolerance_h)
    if status is not None and status.published:
        least_h = least_shift_h(instance, optimum + tolerance_h + rounding_h, limit_s)
        if least_h is not None:
            names += ["published"]
            names += ["steadiest"] * (changes(found.schedule).total_shift_h <= least_h + SAME_H)
    return names


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--instances", type=int, default=1_000)
    parser.add_argument("--first-seed", type=int, default=1_000)
    parser.add_argument("--budget-ms", type=float, default=100.0)
    parser.add_argument("--oracle-seconds", type=float, default=20.0)
    options = parser.parse_args()
    agent = load_agent(Path(Settings().home) / "models" / "seed" / MODEL)
    counted: dict[str, Counter[str]] = {"residual": Counter(), "replans": Counter()}
    for number in tqdm(range(options.instances)):
        kind, seed = ("replans", "residual")[number % 2], options.first_seed + number
        instance = random_residual(seed) if kind == "residual" else random_replan(seed)
        counted[kind].update(examine(instance, agent, options.budget_ms, options.oracle_seconds, seed))
    rows = [_row(kind, found) for kind, found in counted.items()]
    head = ["instances", "answered", "optimal", "steadiest", "impossible, refused", "not proved", *WRONG]
    text = markdown_table(head, rows)
    print(text)
    command = (
        f"python -m benchmarks.residual --instances {options.instances} --first-seed {options.first_seed} "
        f"--budget-ms {options.budget_ms:g} --oracle-seconds {options.oracle_seconds:g}"
    )
    write_results("residual", command, text, {kind: dict(found) for kind, found in counted.items()})
    return int(any(found[name] for found in counted.values() for name in WRONG))


def _row(kind: str, found: Counter[str]) -> list[str]:
    return [
        kind,
        str(found["answered"]),
        _share(found["optimal"], found["answered"]),
        _share(found["steadiest"], found["published"]),
        str(found["impossible"]),
        str(found["not_proved"]),
        *(str(found[name]) for name in WRONG),
    ]


def _share(part: int, whole: int) -> str:
    return f"{part} of {whole} ({100.0 * part / whole:.1f} %)" if whole else "-"


if __name__ == "__main__":
    sys.exit(main())
