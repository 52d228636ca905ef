"""Plans an instance that has a status: what is left is planned, and the facts are put back.

Every solver's `solve` is wrapped by `replans`, so it never sees a fact, a pin, a published plan or a date. The plan is
the best one found. If there is a published plan, a search then takes, among the schedules that end within the
tolerance, the one that moves least (`stability`).
"""

import time
from collections.abc import Callable
from dataclasses import replace
from functools import wraps
from math import nan
from typing import Any, TypeVar, cast

import numpy as np

from scheduler_env.bounds import lower_bound
from scheduler_env.dates.solving import as_arrays, plan_with_dates
from scheduler_env.errors import InvalidInstance
from scheduler_env.exact import improve_exactly
from scheduler_env.improvement import improve, min_search_evaluations
from scheduler_env.incumbent import OPTIMAL_WITHIN_H, Incumbent
from scheduler_env.kernel import Floats, compile_instance, to_schedule
from scheduler_env.placements import placed_at
from scheduler_env.problem import Instance, Step
from scheduler_env.random_numbers import new_random
from scheduler_env.replan.open_steps import (
    Left,
    broken_pins,
    late_already_h,
    modes_left,
    status_of,
    what_is_left,
    whole_schedule,
)
from scheduler_env.replan.pins import kept_pins
from scheduler_env.replan.progress import Placement
from scheduler_env.schedule import Schedule, Solution
from scheduler_env.serial import new_decoder
from scheduler_env.stability import steadier
from scheduler_env.working_time import crosses_rest, first_horizon_h, in_hours_at_work, uncut
from scheduler_env.zone_bounds import zone_bound_h

NOTHING_LEFT = "progress"
"""Stage of a schedule that consists of facts."""
SEARCH_SHARE = 0.5
"""Of the time budget, for the shortest schedule, if there is a published plan."""
KEEPING_MOVES, KEEPING_S = 20_000, 2.0
"""Limits of the searches for a schedule that keeps all pins, if the solver's does not: schedules, then seconds."""
KEEPING_TRIES = 2
"""With fewer and fewer of the published starts within the frozen hours; then none of them is kept."""
Solve = TypeVar("Solve", bound=Callable[..., Solution])


def replans(solve: Solve) -> Solve:
    """A solver's `solve`, for instances with and without a status, with and without dates or a calendar."""

    @wraps(solve)
    def solve_what_is_left(solver: object, instance: Instance, **options: Any) -> Solution:
        def plan(left: Instance, more: dict[str, Any]) -> Solution:
            return solve(solver, left, **{**options, **more})

        if instance.calendar is not None:
            return in_elapsed_hours(instance, lambda work: solve_what_is_left(solver, work, **options))
        workers: int | None = getattr(solver, "exact_workers", None)
        if instance.status is not None:
            return replan(instance, plan, options, exact_workers=workers)
        if instance.has_dates:
            return plan_with_dates(instance, plan, options, exact_workers=workers)
        return solve(solver, instance, **options)

    return cast(Solve, solve_what_is_left)


def lower_bound_h(instance: Instance) -> float:
    """A lower bound on the makespan of every schedule, hours; the last end of the facts included."""
    if instance.calendar is not None:
        found = lower_bound_h(in_hours_at_work(instance))
        return max(instance.calendar.end(found) if found > 0.0 else 0.0, _last_fact_h(instance))
    left = what_is_left(instance, status_of(instance).pinned)
    found = 0.0
    if left is not None:
        found = max(float(lower_bound(compile_instance(left.instance))), zone_bound_h(left.instance))
    return max(found, _last_fact_h(instance))


def replan(
    instance: Instance,
    solve: Callable[[Instance, dict[str, Any]], Solution],
    options: dict[str, Any],
    *,
    exact_workers: int | None = None,
) -> Solution:
    """The best schedule found for what is left; the steadiest of those within the tolerance, if one is published.

    Args:
        solve: plans an instance without a status and dates; the second argument replaces some of `options`.
        options: those of `solver.Solver.solve`.
        exact_workers: see `dates.solving.plan_with_dates`.

    Raises:
        InvalidInstance: no schedule was found that keeps the pins.
    """
    status, deadline_s = status_of(instance), time.perf_counter() + options.get("time_budget_ms", 0.0) / 1000.0
    is_published, is_tardiness = status.published is not None, instance.objective == "weighted_tardiness"
    frozen, tries = _frozen(instance), 0
    while True:
        tries += 1
        pins = {**status.pinned, **frozen}
        left = what_is_left(instance, pins)
        if left is None:
            schedule = whole_schedule(instance, None, None)
            end_h, late_h = schedule.makespan_h, schedule.weighted_tardiness_h if is_tardiness else None
            return Solution(schedule, end_h, NOTHING_LEFT, 0, end_h, end_h, tardiness_bound_h=late_h)
        share = {"time_budget_ms": options.get("time_budget_ms", 0.0) * (SEARCH_SHARE if is_published else 1.0)}
        if left.instance.has_dates:
            found = plan_with_dates(
                left.instance, solve, {**options, **share}, horizon_h=left.horizon_h, exact_workers=exact_workers
            )
        else:
            found = solve(left.instance, share)
        evaluations, planned, is_repaired = found.evaluations, found.schedule, False
        if planned.makespan_h >= left.horizon_h > found.lower_bound_h:  # otherwise it is proved that there is none
            planned, more = _keeping_pins(left, planned, options)
            evaluations, is_repaired = evaluations + more, True
        if planned.makespan_h < left.horizon_h:
            break
        broken = broken_pins(whole_schedule(instance, left, planned), pins)
        if not frozen:
            raise InvalidInstance("pins_not_kept", ("pinned", broken[0]), steps=broken)
        rest = {step: pin for step, pin in frozen.items() if step not in broken}
        frozen = rest if len(rest) < len(frozen) and tries < KEEPING_TRIES else {}
    if is_published:
        planned, more = _steadiest(instance, left, planned, deadline_s, options)
        evaluations += more
    schedule = whole_schedule(instance, left, planned)
    schedule.check()
    facts_h = _last_fact_h(instance)
    policy_h = found.policy_makespan_h if found.policy_makespan_h < left.horizon_h else schedule.makespan_h
    bound_h = found.instance_bound_h if is_repaired else found.lower_bound_h
    late_h = late_already_h(instance) + (0.0 if is_repaired else found.tardiness_bound_h or 0.0)
    return Solution(
        schedule,
        min(max(bound_h, facts_h), schedule.makespan_h),
        found.stage,
        evaluations,
        max(found.instance_bound_h, facts_h),
        max(policy_h, schedule.makespan_h),
        is_cut_short=found.is_cut_short,
        tardiness_bound_h=min(late_h, schedule.weighted_tardiness_h) if is_tardiness else None,
    )


def in_elapsed_hours(instance: Instance, solve: Callable[[Instance], Solution]) -> Solution:
    """The solution of an instance with a calendar; `solve` plans it in hours at work."""
    calendar, horizon_h = instance.calendar, first_horizon_h(instance)
    assert calendar is not None
    found = solve(in_hours_at_work(instance, horizon_h))
    while horizon_h is not None and found.schedule.makespan_h > horizon_h:  # there a step may be interrupted
        horizon_h *= 2.0
        found = solve(in_hours_at_work(instance, horizon_h))
    work_h = found.schedule.makespan_h
    step_of = {step.id: step for step in instance.steps}
    placements = [
        (step_of[step.id], uncut(step, mode), calendar.begin(start_h))
        for step, mode, start_h, _ in found.schedule.steps
    ]
    schedule = placed_at(instance, placements)
    schedule.check()
    facts_h = _last_fact_h(instance)

    def told(hour: float) -> float:
        """A bound, or another makespan."""
        if abs(hour - work_h) <= OPTIMAL_WITHIN_H:
            return schedule.makespan_h
        return max(calendar.end(hour) if hour > 0.0 else 0.0, facts_h)

    return replace(
        found,
        schedule=schedule,
        lower_bound_h=min(told(found.lower_bound_h), schedule.makespan_h),
        instance_bound_h=min(told(found.instance_bound_h), schedule.makespan_h),
        policy_makespan_h=max(told(found.policy_makespan_h), schedule.makespan_h),
    )


def _last_fact_h(instance: Instance) -> float:
    return max((fact.end_h for fact in status_of(instance).facts.values()), default=0.0)


def _frozen(instance: Instance) -> dict[str, Placement]:
    """What is kept of the published plan while that is possible, as far as one can tell without a search."""
    status = status_of(instance)
    published = status.published or {}
    wishes = {
        step.id: published[step.id]
        for step in instance.steps
        if status.is_frozen(step.id) and _fits_between_rests(instance, step, published[step.id])
    }
    return kept_pins(instance, status.pinned, wishes)


def _fits_between_rests(instance: Instance, step: Step, pin: Placement) -> bool:
    """Whether the step can have the crew of `pin`, and is not interrupted if it may not be."""
    durations = [step.modes[number].duration_h for number in modes_left(step, pin)]
    is_free = step.is_interruptible or pin.start_h is None
    return any(is_free or not crosses_rest(instance, float(pin.start_h or 0.0), hours) for hours in durations)


def _keeping_pins(left: Left, planned: Schedule, options: dict[str, Any]) -> tuple[Schedule, int]:
    """A schedule that keeps all pins, if one is found, else `planned`; and the number of schedules built."""
    problem = compile_instance(left.instance)
    mode, start = as_arrays(problem, planned)
    best, seed, stop = Incumbent(mode, start, planned.makespan_h, "", 0), options.get("seed", 0), options.get("stop")
    enough_h = left.horizon_h - 0.5  # the horizon is an hour above what any schedule needs
    improve(
        problem,
        None,
        best,
        seed=seed,
        lower_bound_h=enough_h,
        deadline_s=time.perf_counter() + KEEPING_S,
        max_evaluations=KEEPING_MOVES,
        stop=stop,
    )
    if best.makespan_h >= left.horizon_h and not (stop is not None and stop()):
        improve_exactly(
            problem, best, lower_bound_h=0.0, deadline_s=time.perf_counter() + KEEPING_S, seed=seed, workers=1
        )
    return to_schedule(left.instance, problem, best.mode, best.start), best.evaluations


def _latest_ends_h(planned: Schedule, latest_h: float, tolerance_h: float) -> Floats:
    """The hour by which the steadiest plan has to end each activity.

    No work point misses its deadline by more than in the best plan. Under weighted tardiness, none ends later than the
    tolerance after its due date, or after its end in the best plan.
    """
    instance, found = planned.instance, []
    for workpoint in instance.workpoints:
        latest, end_h = latest_h, planned.workpoint_ends_h[workpoint.id]
        if workpoint.deadline_h is not None:
            latest = min(latest, max(workpoint.deadline_h, end_h))
        if workpoint.due_h is not None and instance.objective == "weighted_tardiness":
            latest = min(latest, max(workpoint.due_h, end_h) + tolerance_h)
        found += [latest] * len(workpoint.steps)
    return np.array(found)


def _steadiest(
    instance: Instance, left: Left, planned: Schedule, deadline_s: float, options: dict[str, Any]
) -> tuple[Schedule, int]:
    """The schedule that moves least among those that end within the tolerance; and the number of schedules built."""
    status, problem = status_of(instance), compile_instance(left.instance)
    published = status.published or {}
    mode, start = as_arrays(problem, planned)
    published_start = np.full(start.size, nan)
    published_mode = np.full(start.size, -1, dtype=np.int64)
    of_id = {step.id: step for step in instance.steps}
    for j, step in enumerate(left.instance.steps):
        if (there := published.get(step.id)) is None or there.start_h is None:
            continue
        published_start[j] = there.start_h
        numbers = left.modes.get(step.id, range(len(step.modes)))
        for at, number in enumerate(numbers):
            if of_id[step.id].crew(of_id[step.id].modes[number]) == there.crew:
                published_mode[j] = problem.mode_at[j] + at
    latest_h = status.latest_h(max(planned.makespan_h, _last_fact_h(instance)))
    spare = latest_h - _latest_ends_h(planned, latest_h, status.tolerance_h)
    decoder, random = new_decoder(problem), new_random(options.get("seed", 0))
    least, limit, stop = min_search_evaluations(start.size), options.get("max_evaluations"), options.get("stop")
    budget_ms, built, cost = options.get("time_budget_ms", 0.0), 0, np.inf
    moves = least
    while True:
        if limit is not None:
            moves = min(moves, limit - built)
        began_s = time.perf_counter()
        if moves <= 0:
            break
        cost = float(
            steadier(
                problem, decoder, mode, start, published_start, published_mode, latest_h, spare, moves, random
            )
        )  # fmt: skip
        built += moves
        now_s = time.perf_counter()
        left_s = deadline_s - now_s
        if budget_ms <= 0.0 or left_s <= 0.0 or cost <= 0.0 or (stop is not None and stop()):
            break
        moves = int(max(1.0, min(2 * moves, moves * min(left_s, 2.0) / max(now_s - began_s, 1e-6))))
    return to_schedule(left.instance, problem, mode, start), built
