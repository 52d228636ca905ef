"""One work point, what most requests ask for: how often its answer is a proved optimum, and how long that takes.

`python -m benchmarks.one_workpoint [--requests 75] [--kinds near generated missing teams] [--cpsat-seconds 20]`

The requests are seeded and no model was trained or chosen on them (see `benchmarks.requests`). Each seed model answers
each of them with its default budget, in one thread. CP-SAT solves the same instances beside it. It reckons in
thousandths of an hour and rounds durations down, so what it proves may be less than the true optimum by a thousandth
for each step; that much is allowed for. What CP-SAT found is kept in benchmarks/results/one_workpoint_cpsat.json, and a
run that was stopped goes on where it was.

Writes benchmarks/results/one_workpoint.{md,json}; ends with 1 when an answer and CP-SAT contradict each other: a bound,
or a proved optimum, of the one that is longer than a schedule of the other.
"""

import argparse
import hashlib
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from benchmarks.answers import PROVED_GAP
from benchmarks.machine import RESULTS, markdown_table, write_results
from benchmarks.requests import FIRST_SEED, KINDS, Body, bodies
from scheduler_env.agent import Agent, load_agent
from scheduler_env.bounds import lower_bound
from scheduler_env.exact import TICKS_PER_HOUR, improve_exactly
from scheduler_env.incumbent import OPTIMAL_WITHIN_H, empty_incumbent
from scheduler_env.kernel import compile_instance
from scheduler_env.problem import Instance
from scheduler_env.readers import instance_from_request
from scheduler_env.rules import improve_by_rules
from scheduler_service.settings import Settings

CPSAT_FILE = RESULTS / "one_workpoint_cpsat.json"
HELD_OUT_FROM = FIRST_SEED + 100_000
"""Not the bodies that the benchmarks of the server send, in case anything is ever tuned on those."""
WARM_UP = 5


@dataclass(frozen=True)
class ByCpSat:
    """What CP-SAT knows of an instance."""

    makespan_h: float  # of the schedule that it found
    proved_h: float  # no schedule is shorter; rounding included
    took_s: float

    def is_proved(self, n_steps: int) -> bool:
        """Whether its schedule is optimal but for the rounding."""
        return self.makespan_h <= self.proved_h + rounding_h(n_steps)


@dataclass(frozen=True)
class Answered:
    """One answer of one model."""

    model: str
    kind: str
    seed: int
    makespan_h: float
    lower_bound_h: float
    gap: float
    policy_gap: float  # of the network's own schedule, to the same bound
    stage: str
    evaluations: int
    took_ms: float
    cpu_ms: float
    over_best: float  # how much longer than the shortest schedule known, as a share
    equals_cpsat: bool | None  # None: CP-SAT has not proved its own
    contradicts_cpsat: bool  # a bound above a schedule of CP-SAT's, or a schedule below a bound of CP-SAT's

    @property
    def is_proved(self) -> bool:
        return self.gap < PROVED_GAP


def rounding_h(n_steps: int) -> float:
    """The most that rounding durations down to ticks takes off a makespan, hours."""
    return n_steps / TICKS_PER_HOUR


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; see the module's docstring."""
    options = _options(arguments)
    wanted = [
        (kind, HELD_OUT_FROM + number, body)
        for kind in options.kinds
        for number, body in enumerate(bodies(kind, options.requests, first_seed=HELD_OUT_FROM))
    ]
    instances = [instance_from_request(body) for _, _, body in wanted]
    cpsat = solved_by_cpsat([body for _, _, body in wanted], instances, options.cpsat_seconds, is_kept=not options.dry)
    answered: list[Answered] = []
    for name in options.models:
        agent = load_agent(Settings().seed_models_dir / f"ddqn_{name}.pth")
        for instance in instances[:WARM_UP]:
            agent.solve(instance, time_budget_ms=agent.default_budget_ms)
        for (kind, seed, _), instance, known in tqdm(
            list(zip(wanted, instances, cpsat, strict=True)), desc=f"DDQN {name}", unit="request", file=sys.stderr
        ):
            answered.append(answer(agent, name, kind, seed, instance, known))
    answered = _over_best(answered, wanted, cpsat)
    text = as_text(answered, cpsat, options)
    if not options.dry:
        command = "python -m benchmarks.one_workpoint " + " ".join(sys.argv[1:] if arguments is None else arguments)
        write_results("one_workpoint", command.strip(), text, {"answers": [asdict(each) for each in answered]})
    print(text)
    return int(any(each.contradicts_cpsat for each in answered))


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.one_workpoint",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--requests", type=int, default=75, help="requests of each kind (default: %(default)s)")
    add("--kinds", nargs="+", choices=KINDS, default=["near", "generated", "missing", "teams"])
    add("--models", nargs="+", default=["v1", "v2"], help="seed models (default: v1 v2)")
    add("--cpsat-seconds", type=float, default=20.0, help="time per instance; 0: no CP-SAT (default: %(default)s)")
    add("--dry", action="store_true", help="print only; do not change benchmarks/results/")
    return parser.parse_args(arguments)


def answer(agent: Agent, model: str, kind: str, seed: int, instance: Instance, known: ByCpSat | None) -> Answered:
    """What the agent answers within its default budget, held against CP-SAT; `over_best` is not known yet."""
    began_s, began_cpu_s = time.perf_counter(), time.thread_time()
    solution = agent.solve(instance, time_budget_ms=agent.default_budget_ms)
    took_ms, cpu_ms = 1e3 * (time.perf_counter() - began_s), 1e3 * (time.thread_time() - began_cpu_s)
    makespan_h, bound_h = solution.schedule.makespan_h, solution.lower_bound_h
    equals, contradicts_cpsat = None, False
    if known is not None:
        contradicts_cpsat = (
            bound_h > known.makespan_h + OPTIMAL_WITHIN_H or makespan_h < known.proved_h - OPTIMAL_WITHIN_H
        )
        if known.is_proved(len(instance.steps)):
            equals = makespan_h <= known.proved_h + rounding_h(len(instance.steps))
    return Answered(
        model, kind, seed, makespan_h, bound_h, solution.gap, max(0.0, solution.policy_makespan_h / bound_h - 1.0),
        solution.stage, solution.evaluations, took_ms, cpu_ms, 0.0, equals, contradicts_cpsat,
    )  # fmt: skip


def _over_best(
    answered: Sequence[Answered], wanted: Sequence[tuple[str, int, Body]], cpsat: Sequence[ByCpSat | None]
) -> list[Answered]:
    best_h = {
        (kind, seed): known.makespan_h if known else float("inf")
        for (kind, seed, _), known in zip(wanted, cpsat, strict=True)
    }
    for each in answered:
        best_h[each.kind, each.seed] = min(best_h[each.kind, each.seed], each.makespan_h)
    return [
        Answered(**asdict(each) | {"over_best": each.makespan_h / best_h[each.kind, each.seed] - 1.0})
        for each in answered
    ]


# --- CP-SAT ---


def solved_by_cpsat(
    sent: Sequence[Body], instances: Sequence[Instance], seconds: float, *, is_kept: bool
) -> list[ByCpSat | None]:
    """What CP-SAT found of each instance within so long, or has found before; None for each if that is 0."""
    if seconds <= 0.0:
        return [None] * len(instances)
    kept = json.loads(CPSAT_FILE.read_text(encoding="utf-8"))["instances"] if CPSAT_FILE.exists() else {}
    found: list[ByCpSat | None] = []
    for body, instance in tqdm(
        list(zip(sent, instances, strict=True)), desc="CP-SAT", unit="instance", file=sys.stderr
    ):
        # By what was asked for: a changed generator must not meet the figures of another instance.
        key = hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()[:16]
        known = ByCpSat(**kept[key]) if key in kept else None
        if known is None or (not known.is_proved(len(instance.steps)) and known.took_s < 0.9 * seconds):
            known = solve_by_cpsat(instance, seconds)
            kept[key] = asdict(known)
            if is_kept:
                told = {"by": "python -m benchmarks.one_workpoint", "instances": kept}
                _write(CPSAT_FILE, json.dumps(told, indent=1))
        found.append(known)
    return found


def solve_by_cpsat(instance: Instance, seconds: float) -> ByCpSat:
    """From the best priority rule on, with one thread."""
    problem = compile_instance(instance)
    incumbent = empty_incumbent(problem)
    improve_by_rules(problem, incumbent)
    began_s = time.perf_counter()
    proved_h = improve_exactly(
        problem, incumbent, lower_bound_h=float(lower_bound(problem)), deadline_s=began_s + seconds
    )
    return ByCpSat(incumbent.makespan_h, proved_h, time.perf_counter() - began_s)


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(exist_ok=True)
    new = path.with_suffix(".new")
    new.write_text(text + "\n", encoding="utf-8")
    new.replace(path)


# --- results ---


def as_text(answered: Sequence[Answered], cpsat: Sequence[ByCpSat | None], options: argparse.Namespace) -> str:
    """The table by model and kind, then what found the schedules."""
    kinds = [*options.kinds, "all"]
    groups = [
        (model, kind, [a for a in answered if a.model == model and kind in (a.kind, "all")])
        for model in options.models
        for kind in kinds
    ]
    stages = [
        [model, stage, count, f"{count / len(group):.1%}"]
        for model, kind, group in groups
        if kind == "all"
        for stage, count in _counts([a.stage for a in group])
    ]
    contradictions = sum(a.contradicts_cpsat for a in answered)
    took_s = [known.took_s for known in cpsat if known]
    parts = [
        f"{options.requests} requests of each kind, seeds from {HELD_OUT_FROM:,} on; kinds as in "
        "`benchmarks/requests.py`. `agent.solve` with the model's default budget, one thread, no server. Equal to "
        "CP-SAT: of the instances whose optimum CP-SAT proves, those where the answer is as short, but for its "
        "rounding. Over best known: mean, to the shortest schedule of any model or CP-SAT. The policy is the network's "
        "own schedule before any search or proof.",
        markdown_table(
            ("model", "requests", "n", "proved optimal", "mean gap", "largest gap", "equal to CP-SAT",
             "over best known", "policy's mean gap", "p50 ms", "p99 ms", "max ms", "mean CPU ms", "mean evaluations"),
            [_row(model, kind, group) for model, kind, group in groups],
        ),
        f"{contradictions} answers and CP-SAT contradict each other. "
        + (f"CP-SAT: {np.median(took_s):.1f} s an instance (median), {max(took_s):.1f} s at most." if took_s else ""),
        markdown_table(("model", "schedules found by", "answers", "share"), stages),
    ]  # fmt: skip
    return "\n\n".join(parts)


def _row(model: str, kind: str, group: Sequence[Answered]) -> list[object]:
    took_ms = [a.took_ms for a in group]
    judged = [a.equals_cpsat for a in group if a.equals_cpsat is not None]
    return [
        model, kind, len(group), f"{np.mean([a.is_proved for a in group]):.1%}",
        f"{np.mean([a.gap for a in group]):.2%}", f"{max(a.gap for a in group):.2%}",
        f"{sum(judged)} of {len(judged)}", f"{np.mean([a.over_best for a in group]):.3%}",
        f"{np.mean([a.policy_gap for a in group]):.2%}",
        *(f"{value:.2f}" for value in (*np.percentile(took_ms, [50, 99]), max(took_ms))),
        f"{np.mean([a.cpu_ms for a in group]):.2f}", f"{np.mean([a.evaluations for a in group]):.0f}",
    ]  # fmt: skip


def _counts(stages: Sequence[str]) -> list[tuple[str, int]]:
    names, counts = np.unique(stages, return_counts=True)
    return sorted(zip(names.tolist(), counts.tolist(), strict=True), key=lambda each: -each[1])


if __name__ == "__main__":
    sys.exit(main())
