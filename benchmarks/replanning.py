"""Simulated shutdowns, replanned every 12 hours: `python -m benchmarks.replanning [--shutdowns 40] [--sizes 5 20]`.

Of each shutdown the first plan is made from the planned durations. What happens is drawn beforehand (`Truth`):
durations differ (lognormal), some repairs need a second radiography that nobody had planned, and one team is short for
a time, which is known from the shift before. Between two plans the crews follow the latest one: each team takes the
steps that may begin in the order of their planned starts, as soon as its people are there (`follow`). Compared are:

| name | who decides |
|---|---|
| keep | the first plan's order and crews, to the end |
| push right | the same, and nothing begins before its planned start, as Microsoft Project levels |
| replan | a new plan every 12 h from where things stand, `stability_tolerance_h` 0 |
| replan, 2 h | the same with `stability_tolerance_h` 2 |

The forecast at half time is the makespan of the plan in force at half of the final makespan; that of `keep` and `push
right` is the first plan's. Afterwards, instances of 75, 300 and 750 steps are planned, and again from half time on,
with the same time budget. Writes results/replanning.{md,json}; ends with 1 if a plan breaks a constraint.
"""

import argparse
import math
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
from tqdm import tqdm

from benchmarks.machine import markdown_table, write_results
from scheduler_env.agent import Agent, load_agent
from scheduler_env.availability import Interval, before
from scheduler_env.generator import random_instance
from scheduler_env.problem import Instance, Mode, Step, Team, WorkPoint
from scheduler_env.replan.progress import Fact, Placement, Status
from scheduler_env.replan.report import changes
from scheduler_env.schedule import Schedule
from scheduler_env.standard_cycle import STANDARD_STEPS, crew_modes
from scheduler_service.settings import Settings

MODEL = "ddqn_v2.pth"
SHIFT_H = 12.0
FIRST_SEED = 700_000
SPREAD = 0.2
"""Standard deviation of the logarithm of a duration's factor; its mean is 1, as for an estimator without bias."""
P_REPAIR = 0.3
"""Probability that the repair of a work point needs a second radiography."""
RADIOGRAPHY = next(step for step in STANDARD_STEPS if step.name_zh.startswith("射线"))
BUDGET_MS = {5: 300.0, 20: 1_000.0, 50: 3_000.0}
"""Work points -> time budget of a plan."""
TOLERANCE_H = {"keep": 0.0, "push right": 0.0, "replan": 0.0, "replan, 2 h": 2.0}


@dataclass(frozen=True)
class Truth:
    """What will happen; nobody on the site knows it beforehand.

    Attributes:
        factor: by step id, actual duration / planned duration.
        repairs: by the id of the step after which it is found, the additional step.
        short: the team that is short, and when.
    """

    factor: Mapping[str, float]
    repairs: Mapping[str, Step]
    short: tuple[str, Interval]


@dataclass
class Site:
    """A shutdown at a moment: what was planned so far, and what has happened."""

    instance: Instance
    truth: Truth
    at_h: float = 0.0
    begun: dict[str, tuple[float, float, Mode]] = field(default_factory=dict)  # step id -> start, end, mode
    found_h: dict[str, float] = field(default_factory=dict)  # repairs that are known -> since when

    @property
    def is_over(self) -> bool:
        return len(self.begun) == len(self.instance.steps) and not self._unknown()

    @property
    def makespan_h(self) -> float:
        return max(end_h for _, end_h, _ in self.begun.values())

    def _unknown(self) -> list[str]:
        return [step for step in self.truth.repairs if self.truth.repairs[step].id not in self.found_h]

    def learn(self) -> None:
        """Add the repairs that were found by now, and the absence once it is a shift ahead."""
        for step_id in self._unknown():
            if step_id in self.begun and self.begun[step_id][1] <= self.at_h:
                extra = self.truth.repairs[step_id]
                self.found_h[extra.id] = self.at_h
                self.instance = _with_step(self.instance, extra)
        team, interval = self.truth.short
        if self.at_h + SHIFT_H >= interval.from_h:
            self.instance = _short(self.instance, team, interval)


def draw(instance: Instance, seed: int) -> Truth:
    """What will happen to an instance of standard work points whose orders are even."""
    rng = np.random.default_rng([7, seed])

    def drawn() -> float:
        return float(rng.lognormal(-(SPREAD**2) / 2.0, SPREAD))

    factor = {step.id: drawn() for step in instance.steps}
    repairs = {}
    for point in instance.workpoints:
        last = max((step for step in point.steps), key=lambda step: step.order or 0)
        cause = next((step for step in point.steps if step.order == 2 * 6), None)
        if cause is not None and cause is not last and rng.random() < P_REPAIR:
            modes = crew_modes(float(rng.lognormal(math.log(8.0), SPREAD)), _team(instance, RADIOGRAPHY.team))
            extra = Step(f"{cause.id}b", "射线复检", point.id, RADIOGRAPHY.team, 2 * 6 + 1, modes)
            repairs[cause.id], factor[extra.id] = extra, drawn()
    team = instance.teams[int(rng.integers(len(instance.teams)))]
    begin_h = float(rng.integers(1, 5)) * SHIFT_H
    people = max(team.least_crew if not team.dedicated else 0, team.headcount // 2)
    return Truth(factor, repairs, (team.name, Interval(begin_h, begin_h + 2 * SHIFT_H, people)))


def shutdown(n_workpoints: int, seed: int) -> tuple[Instance, Truth]:
    """A plant's instance, its orders doubled so that further steps fit between them, and what will happen."""
    made = random_instance(n_workpoints, seed)
    points = tuple(
        replace(point, steps=tuple(step._replace(order=2 * (step.order or 0)) for step in point.steps))
        for point in made.workpoints
    )
    instance = Instance(made.teams, points)
    return instance, draw(instance, seed)


def follow(site: Site, plan: Mapping[str, tuple[float, Mode]], until_h: float, *, may_be_early: bool) -> None:
    """Let the crews work until an hour: each team begins what may begin in the order of the planned starts.

    A step without people waits, and its team begins nothing that is planned later. Steps that the plan does not have
    come after what is planned before they were found.
    """
    steps = {step.id: step for step in site.instance.steps}
    ids = [step.id for step in site.instance.steps]
    needed = {ids[j]: [ids[i] for i in found] for j, found in enumerate(site.instance.predecessors)}
    waiting = {step_id for step_id in ids if step_id not in site.begun}
    planned = {step_id: plan.get(step_id) or (site.found_h[step_id], steps[step_id].modes[0]) for step_id in waiting}
    queue = sorted(waiting, key=lambda step_id: planned[step_id][0])
    now_h = site.at_h
    while queue and now_h < until_h:
        blocked: set[str] = set()
        for step_id in list(queue):
            step, (start_h, mode) = steps[step_id], planned[step_id]
            ends = [site.begun[other][1] if other in site.begun else math.inf for other in needed[step_id]]
            if max(ends, default=0.0) > now_h or (start_h > now_h and not may_be_early):
                continue
            if step.team in blocked or not _has_people(site, mode, now_h):
                blocked.add(step.team)
                continue
            site.begun[step_id] = (now_h, now_h + mode.duration_h * site.truth.factor[step_id], mode)
            queue.remove(step_id)
        moments = [end_h for _, end_h, _ in site.begun.values()]
        moments += [hour for team in site.instance.teams for hour, _ in team.people]
        moments += [planned[step_id][0] for step_id in queue]
        now_h = min((hour for hour in moments if hour > now_h + 1e-9), default=until_h)
        if any(end_h <= now_h and other in site._unknown() for other, (_, end_h, _) in site.begun.items()):
            break  # a repair is found, and joins the queue
    site.at_h = min(now_h, until_h)


def _has_people(site: Site, mode: Mode, now_h: float) -> bool:
    """Whether the crew is there now and, as far as is known, until the step should end."""
    at_work = [found for _, end_h, found in site.begun.values() if end_h > now_h + 1e-9]
    for name, units in mode.demand:
        used = sum(units_used for other in at_work for resource, units_used in other.demand if resource == name)
        team = _team(site.instance, name)
        hours = [now_h, *(hour for hour, _ in team.usable if now_h < hour < now_h + mode.duration_h)]
        if used + units > min(before(team.usable, hour + 1e-9) for hour in hours):
            return False
    return True


def status_of(site: Site, published: Schedule, tolerance_h: float) -> Status:
    """What is reported at the end of a shift; how long a running step still takes is known when asked."""
    facts = {}
    for step in site.instance.steps:
        if step.id in site.begun:
            start_h, end_h, mode = site.begun[step.id]
            facts[step.id] = Fact("done" if end_h <= site.at_h else "running", start_h, end_h, step.crew(mode))
    placements = {each.step.id: Placement(each.start_h, each.step.crew(each.mode)) for each in published.steps}
    return Status(site.at_h, facts, published=placements, tolerance_h=tolerance_h)


@dataclass
class Outcome:
    makespan_h: float
    forecast_error_h: float
    moved: float = 0.0  # share of the steps that neither plan had begun, mean of the replans
    violations: int = 0


def simulate(instance: Instance, truth: Truth, first: Schedule, agent: Agent, how: str, budget_ms: float) -> Outcome:
    """One shutdown from the first plan to its end."""
    site, plan = Site(instance, truth), first
    forecasts, moved, violations = [(0.0, first.makespan_h)], [], 0
    next_h = SHIFT_H
    while True:
        site.learn()
        if site.is_over:
            break
        follow(site, _starts(plan), next_h, may_be_early=how != "push right")
        if site.at_h < next_h:
            continue
        next_h += SHIFT_H
        site.learn()
        if how.startswith("replan") and len(site.begun) < len(site.instance.steps):
            asked = site.instance.with_status(status_of(site, plan, TOLERANCE_H[how]))
            plan = agent.solve(asked, time_budget_ms=budget_ms).schedule
            violations += len(plan.violations())
            open_steps = [step.id for step in site.instance.steps if step.id not in site.begun]
            published = set(asked.status.published or {}) if asked.status else set()
            untouched = len(published.intersection(open_steps))
            moved.append(changes(plan).moved / max(1, untouched))
            forecasts.append((site.at_h, plan.makespan_h))
    half_h = site.makespan_h / 2.0
    forecast_h = [made for at_h, made in forecasts if at_h <= half_h][-1]
    share = mean(moved) if moved else 0.0
    return Outcome(site.makespan_h, abs(forecast_h - site.makespan_h), share, violations)


def _starts(plan: Schedule) -> dict[str, tuple[float, Mode]]:
    return {each.step.id: (each.start_h, each.mode) for each in plan.steps}


def _team(instance: Instance, name: str) -> Team:
    return next(team for team in instance.teams if team.name == name)


def _with_step(instance: Instance, extra: Step) -> Instance:
    points = tuple(
        WorkPoint(point.id, point.name, (*point.steps, extra)) if point.id == extra.workpoint_id else point
        for point in instance.workpoints
    )
    return Instance(instance.teams, points)


def _short(instance: Instance, team: str, interval: Interval) -> Instance:
    teams = tuple(replace(each, availability=(interval,)) if each.name == team else each for each in instance.teams)
    return Instance(teams, instance.workpoints)


def timed(agent: Agent, n_workpoints: int, budget_ms: float, seed: int) -> dict[str, float]:
    """The first plan and a replan at half time of one instance: seconds and gaps."""
    instance, truth = shutdown(n_workpoints, seed)
    site = Site(instance, truth)
    began_s = time.perf_counter()
    first = agent.solve(instance, time_budget_ms=budget_ms)
    first_s = time.perf_counter() - began_s
    while site.at_h < first.schedule.makespan_h / 2.0:
        site.learn()
        follow(site, _starts(first.schedule), first.schedule.makespan_h / 2.0, may_be_early=True)
    site.learn()
    asked = site.instance.with_status(status_of(site, first.schedule, 0.0))
    began_s = time.perf_counter()
    again = agent.solve(asked, time_budget_ms=budget_ms)
    again_s = time.perf_counter() - began_s
    return {
        "steps": len(site.instance.steps),
        "open": len(site.instance.steps) - len(site.begun),
        "first_s": first_s,
        "again_s": again_s,
        "first_gap": first.schedule.makespan_h / first.lower_bound_h - 1.0,
        "again_gap": again.schedule.makespan_h / again.lower_bound_h - 1.0,
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; see the module's docstring."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shutdowns", type=int, default=40, help="of all sizes together (default: %(default)s)")
    parser.add_argument("--sizes", type=int, nargs="+", default=[5, 20], help="work points (default: 5 20)")
    parser.add_argument("--timed", type=int, default=5, help="instances of 75, 300, 750 steps (default: %(default)s)")
    options = parser.parse_args(arguments)
    agent = load_agent(Path(Settings().home) / "models" / "seed" / MODEL)
    found: dict[int, dict[str, list[Outcome]]] = {}
    for size in options.sizes:
        budget_ms = BUDGET_MS.get(size, 1_000.0)
        outcomes: dict[str, list[Outcome]] = {how: [] for how in TOLERANCE_H}
        for number in tqdm(range(options.shutdowns // len(options.sizes)), desc=f"{size} work points"):
            instance, truth = shutdown(size, FIRST_SEED + number)
            first = agent.solve(instance, time_budget_ms=budget_ms).schedule
            for how, done in outcomes.items():
                done.append(simulate(instance, truth, first, agent, how, budget_ms))
        found[size] = outcomes
    measured = {
        size: [timed(agent, size, budget_ms, FIRST_SEED + 500 + n) for n in range(options.timed)]
        for size, budget_ms in BUDGET_MS.items()
    }
    text = _report(found, measured)
    print(text)
    figures = {
        "shutdowns": {
            size: {how: [vars(each) for each in done] for how, done in of.items()} for size, of in found.items()
        },
        "timed": measured,
    }
    command = f"python -m benchmarks.replanning --shutdowns {options.shutdowns}"
    command += f" --sizes {' '.join(map(str, options.sizes))}" * (options.sizes != [5, 20])
    write_results("replanning", command, text, figures)
    return int(any(each.violations for of in found.values() for done in of.values() for each in done))


def _report(found: Mapping[int, Mapping[str, Sequence[Outcome]]], measured: Mapping[int, Sequence[Any]]) -> str:
    head = ["work points", "shutdowns", "how", "makespan h", "against keep", "forecast error h", "moved per replan"]
    rows = []
    for size, of in found.items():
        for how, done in of.items():
            shorter = mean(1.0 - a.makespan_h / b.makespan_h for a, b in zip(done, of["keep"], strict=True))
            rows.append(
                [
                    size,
                    len(done),
                    how,
                    f"{mean(each.makespan_h for each in done):.1f}",
                    f"{-100.0 * shorter:+.1f} %",
                    f"{mean(each.forecast_error_h for each in done):.1f}",
                    f"{100.0 * mean(each.moved for each in done):.0f} %" if how.startswith("replan") else "-",
                ]
            )
    times = ["work points", "budget ms", "steps", "of them open", "first plan s", "gap", "replan s", "gap"]
    of_size: Callable[[Sequence[Any], str], float] = lambda each, name: mean(one[name] for one in each)  # noqa: E731
    timings = [
        [
            size,
            f"{BUDGET_MS[size]:g}",
            *(f"{of_size(each, name):.0f}" for name in ("steps", "open")),
            f"{of_size(each, 'first_s'):.2f}",
            f"{100.0 * of_size(each, 'first_gap'):.2f} %",
            f"{of_size(each, 'again_s'):.2f}",
            f"{100.0 * of_size(each, 'again_gap'):.2f} %",
        ]
        for size, each in measured.items()
    ]
    return "\n\n".join(
        (
            f"Replanned every {SHIFT_H:g} h by {MODEL}, in one thread. Means; "
            "'moved': of the published steps that were not begun, those whose start changed.",
            markdown_table(head, rows),
            "The first plan, and a plan from half time on (means; the gap is to the lower bound):",
            markdown_table(times, timings),
        )
    )


if __name__ == "__main__":
    sys.exit(main())
