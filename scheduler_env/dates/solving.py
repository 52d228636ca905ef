"""Plans an instance with due dates or deadlines under its objective.

A solver first plans it as if there were no dates, for a share of the time. Its schedule, and those of priority rules
that know the dates, are improved by annealing (`tardiness`); `CPSAT` improves them by CP-SAT. A schedule is better if
it misses deadlines by fewer hours in all, then by what is asked for: the weighted tardiness, then the makespan; or the
makespan, then the weighted tardiness.
"""

import time
from collections.abc import Callable, Iterator
from math import inf
from typing import Any, NamedTuple

import numpy as np

from scheduler_env.dates.bounds import tardiness_bound_h
from scheduler_env.exact import STAGE, Lateness, improve_dates_exactly
from scheduler_env.improvement import COOLING_FACTOR, MOVES_PER_SAMPLE, min_search_evaluations
from scheduler_env.kernel import Floats, Ints, Problem, compile_instance, new_state, to_schedule
from scheduler_env.problem import Instance
from scheduler_env.random_numbers import new_random
from scheduler_env.rules import CREW_SHARES, EVEN, activity_list, parallel_scheme, preferred_modes, serial_scheme
from scheduler_env.schedule import Schedule, Solution
from scheduler_env.serial import new_decoder, order_by_time
from scheduler_env.tardiness import Cost, anneal_cost

FIRST_SHARE = {"makespan": 0.7, "weighted_tardiness": 0.2}
"""Of the time budget, for the schedule that knows no dates."""
MIN_BUDGET_MS = 20.0
"""From this budget on, `min_search_evaluations` schedules are built even on a busy machine."""
START_TEMPERATURE = 2.0
"""In units of the mean weight of a work point times the mean shortest duration over the number of work points."""
FIRST, SECOND = 1e-4, 100.0
"""Factors: of what is to be least second while the first is searched, and of the first while the second is."""
DEADLINE, PROMISE = 1e4, 1e7
"""Cost per hour of a missed deadline, and of the end after which promises are broken, in units of the first."""
MAX_UNTIMED_STEPS = 100
"""In a larger instance the deadline is checked after each rule, and without a budget each rule is tried only once."""
MAX_STAGE_S = 2.0
"""Longest run of the annealing before `stop` is called again."""
SAME_H = 1e-6
RULES = ("due date, slack", "due date, slack by weight", "weight by work", "latest start")
ANNEALING = "annealing"


class _Found(NamedTuple):
    """A schedule and how good it is: hours after the promised end and after deadlines, then the objectives."""

    mode: Ints
    start: Floats
    stage: str
    values: tuple[float, ...]

    def is_better_than(self, other: "_Found") -> bool:
        for mine, theirs in zip(self.values, other.values, strict=True):
            if abs(mine - theirs) > SAME_H:
                return mine < theirs
        return False


class _Goal:
    """What makes a schedule of an instance good."""

    def __init__(self, instance: Instance, problem: Problem, horizon_h: float) -> None:
        self.problem, self.horizon_h, workpoints = problem, horizon_h, instance.workpoints
        self.is_tardiness = instance.objective == "weighted_tardiness"
        self.workpoint_of = np.repeat(np.arange(len(workpoints)), [len(each.steps) for each in workpoints])
        self.due = [
            Lateness(number, each.due_h, each.weight)
            for number, each in enumerate(workpoints)
            if each.due_h is not None
        ]
        self.deadlines = [
            Lateness(number, each.deadline_h, 1.0)
            for number, each in enumerate(workpoints)
            if each.deadline_h is not None
        ]
        self.mean_weight = sum(each.weight for each in self.due) / len(self.due) if self.due else 1.0
        self._heaviest = max([1.0, *(each.weight for each in self.due)])

    def rated(self, mode: Ints, start: Floats, stage: str) -> _Found:
        ends = np.zeros(int(self.workpoint_of[-1]) + 1)
        np.maximum.at(ends, self.workpoint_of, start + self.problem.duration[mode])
        makespan_h = float(ends.max())
        broken_h = max(0.0, makespan_h - self.horizon_h)
        missed_h, late_h = (
            sum(weight * max(0.0, float(ends[number]) - due_h) for number, due_h, weight in rows)
            for rows in (self.deadlines, self.due)
        )
        objectives = (late_h, makespan_h) if self.is_tardiness else (makespan_h, late_h)
        return _Found(mode, start, stage, (broken_h, missed_h, *objectives))

    def cost(self, *, is_second: bool) -> Cost:
        """The cost for the search: mostly of the first objective, or of the second one if the first does not rise."""
        first, second = _factors(is_second=is_second)
        per_late, per_makespan = (first, second) if self.is_tardiness else (second, first)
        unit = max(per_late * self._heaviest, per_makespan)
        rows = [(number, due_h, per_late * weight) for number, due_h, weight in self.due]
        rows += [(number, due_h, DEADLINE * unit) for number, due_h, _ in self.deadlines]
        n_workpoints = int(self.workpoint_of[-1]) + 1
        if self.horizon_h < inf:
            rows.append((n_workpoints, self.horizon_h, PROMISE * unit))
        return Cost(
            self.workpoint_of,
            np.array([number for number, _, _ in rows], dtype=np.int64),
            np.array([due_h for _, due_h, _ in rows], dtype=np.float64),
            np.array([weight for _, _, weight in rows], dtype=np.float64),
            per_makespan,
            np.zeros(n_workpoints + 1),
        )

    def temperature(self, *, is_second: bool) -> float:
        is_late = self.is_tardiness != is_second
        weight = self.mean_weight if is_late else 1.0
        return START_TEMPERATURE * weight * self.problem.unit / (int(self.workpoint_of[-1]) + 1)


def plan_with_dates(
    instance: Instance,
    solve: Callable[[Instance, dict[str, Any]], Solution],
    options: dict[str, Any],
    *,
    horizon_h: float = inf,
    exact_workers: int | None = None,
) -> Solution:
    """The best schedule found; see the module's docstring. `instance` has no status.

    Args:
        solve: plans an instance without dates; the second argument replaces some of `options`.
        options: those of `solver.Solver.solve`.
        horizon_h: a schedule that ends later breaks a promise, which is worse than anything else.
        exact_workers: threads of CP-SAT; None: annealing.
    """
    began_s = time.perf_counter()
    budget_ms, limit = options.get("time_budget_ms", 0.0), options.get("max_evaluations")
    share = FIRST_SHARE[instance.objective]
    first_limit = None if limit is None else max(1, int(share * limit))
    found = solve(instance.without_dates(), {"time_budget_ms": share * budget_ms, "max_evaluations": first_limit})
    problem = compile_instance(instance)
    goal = _Goal(instance, problem, horizon_h)
    late_bound = tardiness_bound_h(instance, problem)
    bounds = (late_bound, found.lower_bound_h) if goal.is_tardiness else (found.lower_bound_h, late_bound)
    best = goal.rated(*as_arrays(problem, found.schedule), found.stage)
    deadline_s, evaluations = began_s + budget_ms / 1000.0, found.evaluations
    is_large = len(instance.steps) > MAX_UNTIMED_STEPS
    for tried in _by_rules(goal, is_short=is_large and budget_ms <= 0.0):
        is_late = is_large and budget_ms > 0.0 and time.perf_counter() > deadline_s
        if (limit is not None and evaluations >= limit) or is_late:
            break
        evaluations += 1
        best = tried if tried.is_better_than(best) else best
    is_improving = budget_ms > 0.0 and (limit is None or limit > evaluations)
    required = 0
    if is_improving and not _is_best(best, bounds):
        if exact_workers is not None:
            best, proved = _exactly(goal, best, deadline_s, options.get("seed", 0), exact_workers)
            late_bound, evaluations = max(late_bound, proved), evaluations + 1
        else:
            required = min_search_evaluations(len(instance.steps)) if budget_ms >= MIN_BUDGET_MS else 0
            search = _Search(goal, bounds, options, evaluations)
            best = search.improved(best, deadline_s, required)
            evaluations = search.evaluations
    schedule = to_schedule(instance, problem, best.mode, best.start)
    schedule.check()
    return Solution(
        schedule,
        min(found.lower_bound_h, schedule.makespan_h),
        best.stage,
        evaluations,
        found.instance_bound_h,
        max(found.policy_makespan_h, schedule.makespan_h),
        is_cut_short=is_improving and evaluations < required and not _is_best(best, bounds),
        tardiness_bound_h=min(late_bound, schedule.weighted_tardiness_h) if goal.is_tardiness else None,
    )


def _is_best(found: _Found, bounds: tuple[float, float]) -> bool:
    return all(value <= bound + SAME_H for value, bound in zip(found.values, (0.0, 0.0, *bounds), strict=True))


def _factors(*, is_second: bool) -> tuple[float, float]:
    """Cost of an hour of the first objective and of the second one."""
    return (SECOND, 1.0) if is_second else (1.0, FIRST)


class _Search:
    """Annealing in rounds that double in length: for the first objective, and each fourth time for the second."""

    def __init__(self, goal: _Goal, bounds: tuple[float, float], options: dict[str, Any], evaluations: int) -> None:
        self._goal, self._bounds, self._options, self.evaluations = goal, bounds, options, evaluations

    def improved(self, best: _Found, deadline_s: float, required: int) -> _Found:
        """The best schedule found from `best` on until the deadline, and in at least `required` schedules."""
        problem, options = self._goal.problem, self._options
        random, limit, stop = new_random(options.get("seed", 0)), options.get("max_evaluations"), options.get("stop")
        decoder = new_decoder(problem, incremental=True)
        n, moves, rounds, seconds_per_move = best.start.size, MOVES_PER_SAMPLE, 0, 0.0
        required += self.evaluations
        while not _is_best(best, self._bounds):
            left_s = deadline_s - time.perf_counter()
            if (left_s <= 0.0 and self.evaluations >= required) or (stop is not None and stop()):
                break
            if seconds_per_move > 0.0:
                moves = int(max(50.0, min(moves, min(left_s, MAX_STAGE_S) / seconds_per_move)))
            if limit is not None:
                moves = min(moves, limit - self.evaluations)
            if moves <= 0:
                break
            is_first_done = all(
                value <= bound + SAME_H
                for value, bound in zip(best.values[:3], (0.0, 0.0, self._bounds[0]), strict=True)
            )
            is_second = is_first_done or rounds % 4 == 3
            cost, temperature = self._goal.cost(is_second=is_second), self._goal.temperature(is_second=is_second)
            first, second = _factors(is_second=is_second)
            target = first * self._bounds[0] + second * self._bounds[1] + SAME_H * second
            order, mode, start = np.empty(n, dtype=np.int64), best.mode.copy(), best.start.copy()
            order_by_time(problem, start, order)
            began_s = time.perf_counter()
            anneal_cost(
                problem, decoder, order, mode, start, cost, moves, temperature, temperature / COOLING_FACTOR, random,
                target,
            )  # fmt: skip
            seconds_per_move = (time.perf_counter() - began_s) / moves
            self.evaluations += moves
            tried = self._goal.rated(mode, start, ANNEALING)
            best = tried if tried.is_better_than(best) else best
            rounds, moves = rounds + 1, min(2 * moves, 200_000)
        return best


def _by_rules(goal: _Goal, *, is_short: bool) -> Iterator[_Found]:
    """The schedules of `RULES`, with several crew policies in both schemes; `is_short`: with even crews only."""
    problem, state = goal.problem, new_state(goal.problem)
    decoder = new_decoder(problem)
    for name, priority in zip(RULES, _priorities(goal), strict=True):
        order = activity_list(problem, priority)
        for crew_share in (EVEN,) if is_short else (EVEN, *CREW_SHARES):
            preferred = preferred_modes(problem, 1.0 if crew_share == EVEN else crew_share)
            parallel_scheme(problem, state, priority, preferred, crew_share == EVEN, False)
            crews = "even" if crew_share == EVEN else f"{crew_share:.0%}"
            yield goal.rated(state.mode.copy(), state.start.copy(), f"{name}, crews {crews}, parallel")
            if crew_share != EVEN:
                serial_scheme(problem, state, decoder, order, preferred)
                yield goal.rated(state.mode.copy(), state.start.copy(), f"{name}, crews {crews}, serial")


def _priorities(goal: _Goal) -> tuple[Floats, ...]:
    """Of each of `RULES`, shape (n,); the lowest goes first."""
    problem, workpoint_of = goal.problem, goal.workpoint_of
    n_workpoints = int(workpoint_of[-1]) + 1
    due = np.full(n_workpoints, float(problem.shortest.sum() + problem.release.max()))
    weight = np.full(n_workpoints, 1e-3)
    for number, due_h, each in goal.due:
        due[number], weight[number] = due_h, each
    for number, due_h, _ in goal.deadlines:
        due[number] = min(due[number], due_h)
        weight[number] = max(weight[number], goal.mean_weight)
    tail = np.zeros(problem.shortest.size)
    for j in problem.topological[::-1]:
        after = problem.successors[problem.successor_at[j] : problem.successor_at[j + 1]]
        own = after[workpoint_of[after] == workpoint_of[j]]
        tail[j] = problem.shortest[j] + (tail[own].max() if own.size else 0.0)
    slack = due[workpoint_of] - tail
    work = np.zeros(n_workpoints)
    np.add.at(work, workpoint_of, problem.shortest)
    return (
        slack,
        np.where(slack > 0.0, slack / weight[workpoint_of], slack * weight[workpoint_of]),
        -(weight / np.maximum(work, 1e-9))[workpoint_of] - 1e-9 * tail,
        -problem.tail,
    )


def _exactly(goal: _Goal, best: _Found, deadline_s: float, seed: int, workers: int) -> tuple[_Found, float]:
    """The schedule of CP-SAT if it is better, and a lower bound on the weighted tardiness."""
    makespan: list[Lateness] = []
    objectives = (goal.due, makespan) if goal.is_tardiness else (makespan, goal.due)
    ranks = [rank for rank in (goal.deadlines, *objectives) if rank or rank is makespan]
    mode, start, proved = improve_dates_exactly(
        goal.problem,
        goal.workpoint_of,
        ranks,
        best.mode,
        best.start,
        ends_by_h=goal.horizon_h,
        deadline_s=deadline_s,
        seed=seed,
        workers=workers,
    )
    tried = goal.rated(mode, start, STAGE)
    return tried if tried.is_better_than(best) else best, proved if ranks[0] is goal.due else 0.0


def as_arrays(problem: Problem, schedule: Schedule) -> tuple[Ints, Floats]:
    """The mode and the start of each activity, as in `kernel.SimulationState`."""
    number = {placed.step.id: at for at, placed in enumerate(schedule.steps)}
    in_order = [schedule.steps[number[step.id]] for step in schedule.instance.steps]
    mode = [problem.mode_at[at] + [*each.step.modes].index(each.mode) for at, each in enumerate(in_order)]
    return np.array(mode, dtype=np.int64), np.array([each.start_h for each in in_order])
