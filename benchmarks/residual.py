"""Small residual problems and replans: how often 100 ms find the optimum, against the exact solver of the tests.

`python -m benchmarks.residual [--instances 1000] [--first-seed 1000] [--budget-ms 100] [--oracle-seconds 20]`

A quarter of the seeded instances are residual problems (releases, people who come and go), another one replans, with
work that is done or at work, pins and published plans (`scheduler_env.generator`). The others are both of these with
exclusive steps in zones, and with due dates and deadlines under both objectives. The seed model answers each of them in
one thread. CP-SAT solves the same instance with a model that shares nothing with the product; instances that
it does not prove in time are counted apart. Of a published plan, the sum of the shifts is compared with CP-SAT's.

Writes benchmarks/results/residual.{md,json}; ends with 1 if a schedule breaks a constraint, a bound is above an
optimum, or pins are refused that can be kept.
"""

import argparse
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

from tqdm import tqdm

from benchmarks.machine import markdown_table, write_results
from scheduler_env.agent import Agent, load_agent
from scheduler_env.errors import InvalidInstance
from scheduler_env.generator import random_replan, random_residual, with_random_dates, with_random_zones
from scheduler_env.problem import Instance, Objective
from scheduler_env.replan.report import changes
from scheduler_service.settings import Settings
from tests.residual_oracle import INFEASIBLE, TICKS, best_values, least_shift_h, optimum_h

MODEL = "ddqn_v2.pth"
KINDS = ("replans", "residual", "zones", "dates")
SAME_H = 0.01
WRONG = ("violations", "bound_above_optimum", "below_optimum", "wrongly_refused", "wrongly_kept")


def instance_of(kind: str, seed: int) -> Instance:
    """The instance of a kind and a seed."""
    instance = (
        random_replan(seed) if kind == "replans" or (kind != "residual" and seed % 8 < 4) else random_residual(seed)
    )
    if kind == "zones":
        return with_random_zones(instance, seed)
    if kind == "dates":
        if instance.status is not None:
            instance = instance.with_status(replace(instance.status, published=None, tolerance_h=0.0))
        objective: Objective = "makespan" if seed % 3 == 0 else "weighted_tardiness"
        return with_random_dates(instance, seed, objective, has_deadlines=seed % 5 == 0)
    return instance


def examine_dates(instance: Instance, agent: Agent, budget_ms: float, limit_s: float, seed: int) -> list[str]:
    """As `examine`, of an instance with dates: the objective after the hours of missed deadlines."""
    is_tardiness, rounding = instance.objective == "weighted_tardiness", (len(instance.steps) + 1) / TICKS
    if is_tardiness:
        rounding *= sum(each.weight for each in instance.workpoints)
    name = "tardiness" if is_tardiness else "makespan"
    values = best_values(instance, "missed", name, limit_s=limit_s)
    if values is None:
        return ["not_proved"]
    try:
        found = agent.solve(instance, time_budget_ms=budget_ms, seed=seed)
    except InvalidInstance:
        return ["impossible" if values == INFEASIBLE else "wrongly_refused"]
    if values == INFEASIBLE:
        return ["wrongly_kept"]
    schedule = found.schedule
    missed_h = sum(
        max(0.0, schedule.workpoint_ends_h[each.id] - each.deadline_h)
        for each in instance.workpoints
        if each.deadline_h is not None
    )
    value = schedule.weighted_tardiness_h if is_tardiness else schedule.makespan_h
    is_least_missed = missed_h <= values[0] + rounding
    names = ["answered"]
    names += ["violations"] * bool(schedule.violations())
    names += ["bound_above_optimum"] * (is_least_missed and found.objective_bound_h > values[1] + rounding)
    names += ["below_optimum"] * (missed_h < values[0] - 1e-6 or (missed_h <= values[0] and value < values[1] - 1e-6))
    names += ["optimal"] * (is_least_missed and value <= values[1] + rounding)
    return names


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
    counted: dict[str, Counter[str]] = {kind: Counter() for kind in KINDS}
    for number in tqdm(range(options.instances)):
        kind, seed = KINDS[number % len(KINDS)], options.first_seed + number
        look = examine_dates if kind == "dates" else examine
        counted[kind].update(look(instance_of(kind, seed), agent, options.budget_ms, options.oracle_seconds, seed))
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
