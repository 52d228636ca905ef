"""What is told about a schedule of an instance with a status: contradictions of the facts, and what moves."""

from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

from scheduler_env.availability import before
from scheduler_env.findings import Finding
from scheduler_env.problem import Instance
from scheduler_env.replan.open_steps import is_kept, status_of
from scheduler_env.replan.progress import FACT_TOLERANCE_H, State, Status
from scheduler_env.schedule import TOLERANCE_H, Schedule, ScheduledStep, as_it_happened
from scheduler_env.working_time import in_hours_at_work

MAX_WARNINGS = 100


class Changes(NamedTuple):
    """What people have to be told who have the published plan in hand: about the open steps that it has."""

    moved: int
    crews_changed: int
    total_shift_h: float


def state_of(step_id: str, status: Status) -> State:
    """Whether the step is done, running or planned."""
    fact = status.facts.get(step_id)
    return "planned" if fact is None else fact.status


def shift_h(placed: ScheduledStep, status: Status) -> float | None:
    """The start minus the published one, hours; None if the step was not published."""
    there = (status.published or {}).get(placed.step.id)
    return None if there is None or there.start_h is None else placed.start_h - there.start_h


def changes(schedule: Schedule) -> Changes:
    """The open steps that start otherwise than published or with another crew, and the sum of their shifts."""
    status = status_of(schedule.instance)
    published = status.published or {}
    moved = crews = 0
    total_h = 0.0
    for placed in schedule.steps:
        shift = shift_h(placed, status)
        if shift is None or placed.step.id in status.facts:
            continue
        moved += abs(shift) > TOLERANCE_H
        crews += placed.crew != published[placed.step.id].crew
        total_h += abs(shift)
    return Changes(moved, crews, total_h)


def unpinned(schedule: Schedule) -> list[str]:
    """The steps within the frozen hours that could not be kept as published."""
    status = status_of(schedule.instance)
    return [
        placed.step.id
        for placed in schedule.steps
        if status.is_frozen(placed.step.id) and not is_kept(placed, (status.published or {})[placed.step.id])
    ]


def warnings(instance: Instance) -> list[Finding]:
    """Contradictions of the facts, at most `MAX_WARNINGS`: the plan is made in spite of them."""
    if instance.status is None:
        return []
    found: list[Finding] = []
    for each in (_of_steps(instance), _of_rests(instance), _of_people(instance), _of_promises(instance)):
        found += each
    return found[:MAX_WARNINGS]


def _of_steps(instance: Instance) -> Iterator[Finding]:
    facts = status_of(instance).facts
    if not facts:
        return
    for workpoint in instance.workpoints:
        for step in workpoint.steps:
            if (fact := facts.get(step.id)) is None:
                continue
            loc = ("progress", step.id)
            before_it = list(step.predecessors)
            if step.order is not None:
                before_it += [o.id for o in workpoint.steps if o.order is not None and o.order < step.order]
            late = [
                other
                for other in dict.fromkeys(before_it)
                if other not in facts or facts[other].end_h > fact.start_h + FACT_TOLERANCE_H
            ]
            if late:
                yield Finding(loc, "out_of_sequence", {"step": step.id, "predecessors": late})
            if fact.start_h < step.release_h - FACT_TOLERANCE_H:
                params = {"step": step.id, "start": fact.start_h, "release": step.release_h}
                yield Finding((*loc, "actual_start"), "started_before_release", params)
            crews = [step.crew(mode) for mode in step.modes]
            if fact.crew not in crews:
                params = {"step": step.id, "crew": fact.crew, "crews": crews}
                yield Finding((*loc, "workers"), "unusual_crew", params)
            if fact.is_overdue:
                yield Finding(loc, "overdue", {"step": step.id, "data_date": status_of(instance).data_date_h})


def _of_rests(instance: Instance) -> Iterator[Finding]:
    """Facts that begin or end while nobody works by the calendar; what lies between is counted by the calendar."""
    if (calendar := instance.calendar) is None:
        return
    for step_id, fact in status_of(instance).facts.items():
        is_early = calendar.next(fact.start_h) > fact.start_h + FACT_TOLERANCE_H
        is_late = fact.status == "done" and calendar.last(fact.end_h) < fact.end_h - FACT_TOLERANCE_H
        if is_early or is_late:
            params = {"step": step_id, "start": fact.start_h, "end": fact.end_h}
            yield Finding(("progress", step_id), "outside_calendar", params)


def _of_people(instance: Instance) -> Iterator[Finding]:
    """The first hour of each team at which the facts take more people than are there."""
    calendar = instance.calendar
    if calendar is not None:
        for found in _of_people(in_hours_at_work(instance)):
            yield replace(found, params={**found.params, "hour": calendar.begin(found.params["hour"])})  # type: ignore[arg-type]
        return
    facts = status_of(instance).facts
    happened = [as_it_happened(step, facts[step.id]) for step in instance.steps if step.id in facts]
    for team in instance.teams:
        moves: list[tuple[float, int, int]] = [(hour + FACT_TOLERANCE_H, 0, 0) for hour, _ in team.people]
        for placed in happened:
            people = dict(placed.mode.demand).get(team.name, 0)
            if people and placed.mode.duration_h > 2 * FACT_TOLERANCE_H:
                moves += [
                    (placed.start_h + FACT_TOLERANCE_H, people, 1),
                    (placed.end_h - FACT_TOLERANCE_H, -people, -1),
                ]
        at_work = steps = 0
        for hour, people, more in sorted(moves):
            at_work, steps = at_work + people, steps + more
            there = before(team.people, hour)
            if at_work > there:
                told_h = max(0.0, hour - FACT_TOLERANCE_H)
                params = {"team": team.name, "hour": told_h, "people": at_work, "there": there}
                yield Finding(("progress",), "more_people_than_there", params)
                break
            if team.dedicated and steps > 1:
                params = {"team": team.name, "hour": max(0.0, hour - FACT_TOLERANCE_H), "n": steps}
                yield Finding(("progress",), "dedicated_on_several", params)
                break


def _of_promises(instance: Instance) -> Iterator[Finding]:
    """Pins of steps that were started otherwise, and published steps that no longer exist."""
    status = status_of(instance)
    steps = {step.id: step for step in instance.steps}
    for step_id, pin in status.overtaken.items():
        happened = as_it_happened(steps[step_id], status.facts[step_id])
        is_late = pin.start_h is not None and abs(happened.start_h - pin.start_h) > FACT_TOLERANCE_H
        if is_late or pin.crew not in (None, happened.crew):
            yield Finding(("pinned", step_id), "pin_overtaken", {"step": step_id, "start": happened.start_h})
    gone = [step_id for step_id in status.published or {} if step_id not in steps]
    if gone:
        yield Finding(("published",), "published_step_gone", {"steps": gone, "n": len(gone)})
