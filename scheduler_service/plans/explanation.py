"""Why a plan takes as long as it does: a chain of steps, each with the reason why it did not start earlier. Pure.

The chain is followed backwards from a step that ends last. Before each step comes the one that it waited for. The waits
and the durations of the chain add up to the makespan.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

from scheduler_env.availability import before
from scheduler_env.problem import Instance
from scheduler_env.replan.open_steps import status_of
from scheduler_env.schedule import TOLERANCE_H, Schedule, ScheduledStep

Reason = Literal[
    "start",
    "predecessor",
    "team",
    "place",
    "absence",
    "release",
    "data_date",
    "calendar",
    "pin",
    "published",
    "reported",
    "choice",
]
REASONS: tuple[Reason, ...] = get_args(Reason)
"""Why a step did not start earlier.

start: it begins with the shutdown. predecessor: a step before it ended then. team: a step of its team ended then, and
until then too few people were free. place: a step that must not run beside it ended then. absence: people of its team
were not there. release, data_date: not earlier by the request. calendar: nobody worked before. pin: promised.
published: kept as it was published. reported: it happened so. choice: nothing else; it could have started earlier.
"""


@dataclass(frozen=True, slots=True)
class Link:
    """A step of the chain.

    Attributes:
        wait_h: from the end of the step before it in the chain, or from hour 0, to its start.
        cause: the step that it waited for; None if it waited for none.
        resource: the team or place that was not free.
    """

    placed: ScheduledStep
    wait_h: float
    reason: Reason
    cause: str | None
    resource: str | None

    @property
    def hours(self) -> float:
        """What the link adds to the makespan."""
        return self.wait_h + (self.placed.end_h - self.placed.start_h)


class _Cause(NamedTuple):
    reason: Reason
    step: int | None = None
    resource: str | None = None


def explain(schedule: Schedule) -> tuple[Link, ...]:
    """The chain in the order of time; the `hours` of its links add up to the makespan.

    With a calendar of the plant, the reasons are found in hours at work, in which nothing waits for a shift to begin.
    """
    at_work = schedule.at_work
    if at_work is None or len(at_work.steps) != len(schedule.steps):
        return _links(schedule, _chain(schedule), None)
    number = {placed.step.id: at for at, placed in enumerate(schedule.steps)}
    to_ours = [number[placed.step.id] for placed in at_work.steps]
    chain = [
        (to_ours[at], cause if cause.step is None else cause._replace(step=to_ours[cause.step]))
        for at, cause in _chain(at_work)
    ]
    return _links(schedule, chain, at_work)


def _chain(schedule: Schedule) -> list[tuple[int, "_Cause"]]:
    """The steps of the chain by their numbers, in the order of time, each with its cause."""
    index = {placed.step.id: number for number, placed in enumerate(schedule.steps)}
    ids = [step.id for step in schedule.instance.steps]
    predecessors = {
        index[ids[activity]]: [index[ids[other]] for other in others]
        for activity, others in enumerate(schedule.instance.predecessors)
    }
    number: int | None = max(range(len(schedule.steps)), key=lambda each: schedule.steps[each].end_h)
    chain: list[tuple[int, _Cause]] = []
    seen: set[int] = set()
    while number is not None:
        seen.add(number)
        cause = _cause(schedule, number, predecessors, seen)
        chain.append((number, cause))
        number = cause.step
    chain.reverse()
    return chain


def _links(schedule: Schedule, chain: Iterable[tuple[int, "_Cause"]], at_work: Schedule | None) -> tuple[Link, ...]:
    """The chain with its hours, which are elapsed ones."""
    working = {} if at_work is None else {placed.step.id: placed for placed in at_work.steps}
    links, from_h, from_work_h = [], 0.0, 0.0
    for number, cause in chain:
        placed = schedule.steps[number]
        by = None if cause.step is None else schedule.steps[cause.step].step.id
        reason, wait_h = cause.reason, placed.start_h - from_h
        if working and wait_h > TOLERANCE_H and working[placed.step.id].start_h - from_work_h <= TOLERANCE_H:
            reason = "calendar"
        links.append(Link(placed, wait_h, reason, by, cause.resource))
        from_h = placed.end_h
        from_work_h = working[placed.step.id].end_h if working else 0.0
    return tuple(links)


def _cause(schedule: Schedule, number: int, predecessors: Mapping[int, list[int]], seen: set[int]) -> _Cause:
    steps, instance = schedule.steps, schedule.instance
    placed, status = steps[number], status_of(instance)
    start_h, step_id = placed.start_h, placed.step.id
    if start_h <= TOLERANCE_H:
        return _Cause("start")
    ended = [
        other for other in predecessors[number] if other not in seen and steps[other].end_h <= start_h + TOLERANCE_H
    ]
    last = max(ended, key=lambda other: steps[other].end_h, default=None)
    if last is not None and steps[last].end_h >= start_h - TOLERANCE_H:
        return _Cause("predecessor", last)
    scarce = _scarce(schedule, placed)
    for other, by in enumerate(steps):
        if other not in seen and abs(by.end_h - start_h) <= TOLERANCE_H and by.mode.duration_h > 0.0:
            held = next((name for name, _ in by.mode.demand if name in scarce), None)
            if held is not None:
                return _Cause("place" if held in instance.places else "team", other, held)
    is_fact = step_id in status.facts
    not_before: list[tuple[float, Reason]] = [(placed.step.release_h, "release")]
    if not is_fact:
        not_before.append((status.data_date_h, "data_date"))
    for hour, reason in not_before:
        if abs(hour - start_h) <= TOLERANCE_H:
            return _Cause(reason)
    # Nothing ends now: the wait began with the last of what the step had to wait for.
    latest_h = max(hour for hour, _ in not_before)
    began = last if last is not None and steps[last].end_h >= latest_h - TOLERANCE_H else None
    absent = next((name for name in scarce if _comes_back(instance, name, start_h)), None)
    if absent is not None:
        return _Cause("absence", began, absent)
    pin, there = status.pinned.get(step_id), (status.published or {}).get(step_id)
    if is_fact:
        return _Cause("reported", began)
    if pin is not None and pin.start_h is not None and abs(pin.start_h - start_h) <= TOLERANCE_H:
        return _Cause("pin", began)
    if there is not None and there.start_h is not None and abs(there.start_h - start_h) <= TOLERANCE_H:
        return _Cause("published", began)
    return _Cause("choice", began)


def _scarce(schedule: Schedule, placed: ScheduledStep) -> set[str]:
    """The resources that had too little for the step just before its start."""
    instance, hour = schedule.instance, placed.start_h
    busy: dict[str, int] = {}
    for other in schedule.steps:
        if other.start_h < hour - TOLERANCE_H <= other.end_h:
            for name, units in other.mode.demand:
                busy[name] = busy.get(name, 0) + units
    return {
        name
        for name, units in placed.mode.demand
        if units + busy.get(name, 0) > _there(instance, name, hour - TOLERANCE_H)
    }


def _there(instance: Instance, name: str, hour: float) -> int:
    """The units of a resource that are there just before `hour`."""
    levels = instance.levels.get(name)
    return instance.capacity[name] if levels is None else before(levels, hour)


def _comes_back(instance: Instance, name: str, hour: float) -> bool:
    return _there(instance, name, hour + 2 * TOLERANCE_H) > _there(instance, name, hour - TOLERANCE_H)
