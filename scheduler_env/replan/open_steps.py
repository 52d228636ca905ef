"""The problem that is left at the data date: open steps, when each may start, and what is free of each resource.

Steps that are done or at work are facts. They are no part of the problem: their ends are releases of the steps that
wait for them, and crews at work are units that are not free.

A pinned step stays in the problem, with a place of its own that is there only for it: until its promised end, and then
not before `horizon_h`. So a schedule that keeps all pins ends before `horizon_h`, and every other one later; the search
needs to know nothing else. If start and crew are both promised, the crew's people are kept free for it.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from math import inf
from typing import NamedTuple

from scheduler_env.problem import Demand, Instance, Mode, Step, Taken, WorkPoint
from scheduler_env.replan.progress import Fact, Placement, Status
from scheduler_env.schedule import Schedule, ScheduledStep, as_it_happened

GATE_TOLERANCE_H = 5e-7
"""A pinned step may start so much late: sums of floating-point durations differ in their last digits."""


class Left(NamedTuple):
    """What is left of an instance.

    Attributes:
        instance: the open steps; their releases follow from the facts.
        modes: of each pinned step the numbers of its modes that are left.
        horizon_h: a schedule of this length or longer breaks a pin; infinity without pins.
    """

    instance: Instance
    modes: Mapping[str, tuple[int, ...]]
    horizon_h: float


def status_of(instance: Instance) -> Status:
    """The status; an instance without one is at hour 0 with nothing done."""
    return instance.status or Status()


def releases(instance: Instance) -> dict[str, float]:
    """The earliest start of each open step, by id: its release, the data date, and the end of every fact before it."""
    status = status_of(instance)
    facts = status.facts
    found: dict[str, float] = {}
    for workpoint in instance.workpoints:
        ends: dict[int, float] = {}  # of the facts, by order
        for step in workpoint.steps:
            if step.order is not None and step.id in facts:
                ends[step.order] = max(ends.get(step.order, 0.0), facts[step.id].end_h)
        for step in workpoint.steps:
            if step.id in facts:
                continue
            before = [facts[other].end_h for other in step.predecessors if other in facts]
            if step.order is not None:
                before += [end_h for order, end_h in ends.items() if order < step.order]
            found[step.id] = max(step.release_h, status.data_date_h, *before, 0.0)
    return found


def at_work(instance: Instance) -> Iterator[Taken]:
    """What running crews hold; a dedicated team works on nothing else meanwhile."""
    whole = {team.name: instance.capacity[team.name] for team in instance.teams if team.dedicated}
    for step in instance.steps:
        fact = status_of(instance).facts.get(step.id)
        if fact is not None and fact.status == "running":
            for resource, units in as_it_happened(step, fact).mode.demand:
                yield Taken(resource, 0.0, fact.end_h, whole.get(resource, units))


def modes_left(step: Step, pin: Placement) -> tuple[int, ...]:
    """The numbers of the step's modes that have the crew of `pin`; all of them if it says none."""
    return tuple(number for number, mode in enumerate(step.modes) if pin.crew is None or step.crew(mode) == pin.crew)


def what_is_left(instance: Instance, pins: Mapping[str, Placement]) -> Left | None:
    """The problem that is left; None if every step is done or at work."""
    facts = status_of(instance).facts
    released_h, taken = releases(instance), [*instance.taken, *at_work(instance)]
    if not released_h:
        return None
    last = [hour for team in instance.teams for hour, _ in team.people] + [use.to_h for use in taken]
    longest = [max(mode.duration_h for mode in step.modes) for step in instance.steps if step.id not in facts]
    promised = [pin.start_h for pin in pins.values() if pin.start_h is not None]
    horizon_h = max([*last, *released_h.values(), *promised]) + sum(longest) + max(longest) + 1.0
    whole = {team.name: instance.capacity[team.name] for team in instance.teams if team.dedicated}
    places, modes = dict(instance.places), {}
    workpoints = []
    for workpoint in instance.workpoints:
        steps = []
        for step in workpoint.steps:
            if step.id in facts:
                continue
            release_h, left = released_h[step.id], step.modes
            if step.id in pins:
                pin = pins[step.id]
                modes[step.id] = modes_left(step, pin)
                left = tuple(step.modes[number] for number in modes[step.id])
                if pin.start_h is not None:
                    release_h = max(release_h, pin.start_h)
                    gate = f"pin:{step.id}"
                    if pin.crew is not None:
                        (mode,) = left
                        end_h = pin.start_h + mode.duration_h
                        taken += [Taken(name, pin.start_h, end_h, whole.get(name, n)) for name, n in mode.demand]
                        left = (Mode(mode.duration_h, ()),)
                    left, places[gate], closed = _gated(left, gate, pin.start_h, horizon_h)
                    taken += closed
            before = tuple(other for other in step.predecessors if other not in facts)
            steps.append(step._replace(modes=left, predecessors=before, release_h=release_h))
        if steps:
            workpoints.append(_left_of(workpoint, tuple(steps), _facts_end_h(workpoint, facts)))
    is_pinned = bool(promised)
    return Left(
        Instance(instance.teams, tuple(workpoints), places, tuple(taken), objective=instance.objective),
        modes,
        horizon_h if is_pinned else inf,
    )


def _facts_end_h(workpoint: WorkPoint, facts: Mapping[str, Fact]) -> float:
    return max((facts[step.id].end_h for step in workpoint.steps if step.id in facts), default=0.0)


def _left_of(workpoint: WorkPoint, steps: tuple[Step, ...], facts_end_h: float) -> WorkPoint:
    """What is left of a work point: it cannot end before its facts do, so it is late by what comes after that."""
    due_h, deadline_h = (
        None if hour is None else max(hour, facts_end_h) for hour in (workpoint.due_h, workpoint.deadline_h)
    )
    return replace(workpoint, steps=steps, due_h=due_h, deadline_h=deadline_h)


def late_already_h(instance: Instance) -> float:
    """The weighted tardiness that the facts alone cause."""
    facts = status_of(instance).facts
    return sum(
        each.weight * max(0.0, _facts_end_h(each, facts) - each.due_h)
        for each in instance.workpoints
        if each.due_h is not None
    )


def _gated(
    modes: Iterable[Mode], gate: str, start_h: float, horizon_h: float
) -> tuple[tuple[Mode, ...], int, list[Taken]]:
    """The modes with a demand of the place `gate`, its units, and what is taken of them.

    The place loses one unit at the end of each mode that starts at `start_h`, the shortest first. A mode needs as many
    as are there just before its own end, so none fits that starts later.
    """
    modes = tuple(modes)
    lengths: list[float] = []
    for length in sorted(mode.duration_h for mode in modes):
        if not lengths or length > lengths[-1] + 2 * GATE_TOLERANCE_H:
            lengths.append(length)
    count = len(lengths)
    gated = []
    for mode in modes:
        rank = sum(length < mode.duration_h - GATE_TOLERANCE_H for length in lengths)
        demand: Demand = (*mode.demand, (gate, count - rank))
        gated.append(Mode(mode.duration_h, demand))
    closed = [Taken(gate, start_h + length + GATE_TOLERANCE_H, horizon_h, 1) for length in lengths]
    return tuple(gated), count, closed


def whole_schedule(instance: Instance, left: Left | None, schedule: Schedule | None) -> Schedule:
    """The schedule of all steps: the facts, and `schedule` of what is left."""
    facts = status_of(instance).facts
    placed = {} if schedule is None else {each.step.id: each for each in schedule.steps}
    steps = []
    for step in instance.steps:
        fact: Fact | None = facts.get(step.id)
        if fact is not None:
            steps.append(as_it_happened(step, fact))
            continue
        found = placed[step.id]
        mode = found.mode
        if left is not None and step.id in left.modes:
            mode = step.modes[left.modes[step.id][[*found.step.modes].index(mode)]]
        steps.append(ScheduledStep(step, mode, found.start_h))
    return Schedule(instance, tuple(steps))


def broken_pins(schedule: Schedule, pins: Mapping[str, Placement]) -> list[str]:
    """The ids of the pinned steps that `schedule` starts otherwise."""
    return [
        placed.step.id
        for placed in schedule.steps
        if (pin := pins.get(placed.step.id)) is not None and not is_kept(placed, pin)
    ]


def is_kept(placed: ScheduledStep, pin: Placement) -> bool:
    """Whether the step starts, and with the crew, as promised."""
    is_on_time = pin.start_h is None or abs(placed.start_h - pin.start_h) <= 2 * GATE_TOLERANCE_H
    return is_on_time and pin.crew in (None, placed.crew)
