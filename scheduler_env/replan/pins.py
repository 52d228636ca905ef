"""Pins that no plan can keep, found without a search: too early, without people, or against another pin."""

from collections.abc import Iterator, Mapping
from itertools import combinations
from typing import NamedTuple

from scheduler_env.availability import before, less
from scheduler_env.errors import InvalidInstance
from scheduler_env.problem import Instance, Step
from scheduler_env.replan.open_steps import GATE_TOLERANCE_H, at_work, modes_left, releases
from scheduler_env.replan.progress import Placement
from scheduler_env.zones import is_zone


class _Promise(NamedTuple):
    """A pinned start, and what the step takes at least."""

    step: Step
    start_h: float
    end_h: float  # not earlier
    units: Mapping[str, int]  # by resource, at least


def mistakes_of_pins(instance: Instance, pins: Mapping[str, Placement]) -> list[InvalidInstance]:
    """Why the pins cannot all be kept, as far as one can tell without a search; each at the place of a pin.

    Of two pins that contradict each other, the later one is refused, and both are named.
    """
    promises = {
        step.id: _promise(instance, step, pin.start_h, pin)
        for step in instance.steps
        if (pin := pins.get(step.id)) is not None and pin.start_h is not None
    }
    if not promises:
        return []
    return [*_too_early(instance, promises, pins), *_without_people(instance, promises)]


def kept_pins(
    instance: Instance, pins: Mapping[str, Placement], wishes: Mapping[str, Placement]
) -> dict[str, Placement]:
    """Those of `wishes` that can be kept beside `pins`, as far as one can tell without a search; earlier ones first."""
    kept = dict(wishes)
    while kept:
        refused = set()
        for mistake in mistakes_of_pins(instance, {**pins, **kept}):
            named = [step for step in mistake.params["steps"] if step in kept]
            if named:
                refused.add(max(named, key=lambda step: (kept[step].start_h or 0.0, step)))
        if not refused:
            break
        kept = {step: pin for step, pin in kept.items() if step not in refused}
    return kept


def _promise(instance: Instance, step: Step, start_h: float, pin: Placement) -> _Promise:
    modes = [step.modes[number] for number in modes_left(step, pin)]
    dedicated = {team.name for team in instance.teams if team.dedicated}
    units: dict[str, int] = {}
    for name in {name for mode in modes for name, _ in mode.demand}:
        least = min(dict(mode.demand).get(name, 0) for mode in modes)
        units[name] = instance.capacity[name] if name in dedicated and least else least
    return _Promise(step, start_h, start_h + min(mode.duration_h for mode in modes), units)


def _too_early(
    instance: Instance, promises: Mapping[str, _Promise], pins: Mapping[str, Placement]
) -> Iterator[InvalidInstance]:
    """Pins before the earliest end, in shortest modes, of what the step waits for."""
    released_h = releases(instance)
    number = {step.id: at for at, step in enumerate(instance.steps)}
    head: dict[int, tuple[float, str | None]] = {}  # earliest end, and the pin that it follows from
    for at in instance.topological_order:
        step = instance.steps[at]
        if step.id not in released_h:
            continue
        ready_h, cause = released_h[step.id], None
        for other in _open_before(instance, at, number, released_h):
            if head[other][0] > ready_h:
                ready_h, cause = head[other]
        promise = promises.get(step.id)
        if promise is None:
            pin = pins.get(step.id, Placement(None, None))
            shortest_h = min(step.modes[mode].duration_h for mode in modes_left(step, pin))
            head[at] = ready_h + shortest_h, cause
            continue
        head[at] = promise.end_h, step.id
        if ready_h > promise.start_h + GATE_TOLERANCE_H:
            loc = ("pinned", step.id, "start")
            if cause is None:
                yield InvalidInstance(
                    "pin_too_early", loc, step=step.id, start=promise.start_h, earliest=ready_h, steps=[step.id]
                )
            else:
                yield _clash(promise, promises[cause])


def _open_before(
    instance: Instance, at: int, number: Mapping[str, int], open_steps: Mapping[str, float]
) -> Iterator[int]:
    """The open steps that the step waits for. Behind a lower order that is done, that is those of the orders below."""
    step = instance.steps[at]
    is_open = [instance.steps[other].id in open_steps for other in instance.predecessors[at]]
    yield from (other for other, is_left in zip(instance.predecessors[at], is_open, strict=True) if is_left)
    if step.order is not None and not all(is_open):
        workpoint = next(each for each in instance.workpoints if each.id == step.workpoint_id)
        for each in workpoint.steps:
            if each.order is not None and each.order < step.order and each.id in open_steps:
                yield number[each.id]


def _without_people(instance: Instance, promises: Mapping[str, _Promise]) -> Iterator[InvalidInstance]:
    """Pins whose least crews are not there, each resource's first."""
    uses: dict[str, list[tuple[float, float, int]]] = {}
    for resource, *use in at_work(instance):
        uses.setdefault(resource, []).append(tuple(use))  # type: ignore[arg-type]
    for name in {name for promise in promises.values() for name in promise.units}:
        levels = instance.levels.get(name, ((0.0, instance.capacity[name]),))
        free = less(levels, uses.get(name, ()))
        takers = sorted(
            (promise for promise in promises.values() if promise.units.get(name)), key=lambda each: each.start_h
        )
        hours = {each.start_h for each in takers} | {hour for hour, _ in free}
        told: set[str] = set()
        for hour in sorted(hours):
            there = before(free, hour + 2 * GATE_TOLERANCE_H)
            present = [
                each
                for each in takers
                if each.start_h <= hour + GATE_TOLERANCE_H and each.end_h > hour + 2 * GATE_TOLERANCE_H
            ]
            if sum(each.units[name] for each in present) <= there:
                continue
            for each in present:
                if each.units[name] > there and each.step.id not in told:
                    told.add(each.step.id)
                    if is_zone(name):
                        yield InvalidInstance(
                            "pin_in_taken_zone",
                            ("pinned", each.step.id, "start"),
                            step=each.step.id,
                            start=each.start_h,
                            steps=[each.step.id],
                        )
                        continue
                    yield InvalidInstance(
                        "pin_without_people",
                        ("pinned", each.step.id, "start"),
                        step=each.step.id,
                        start=each.start_h,
                        resource=name,
                        people=each.units[name],
                        hour=hour,
                        there=there,
                        steps=[each.step.id],
                    )
            pair = next(
                (
                    (one, other)
                    for one, other in combinations(present, 2)
                    if one.units[name] + other.units[name] > there and not {one.step.id, other.step.id} & told
                ),
                None,
            )
            if pair is not None:
                told.update(each.step.id for each in pair)
                yield _clash(pair[1], pair[0])
            elif not any(each.step.id in told for each in present):
                told.update(each.step.id for each in present)
                yield _clash(present[-1], *present[:-1])


def _clash(later: _Promise, *others: _Promise) -> InvalidInstance:
    steps = sorted([later.step.id, *(each.step.id for each in others)])
    return InvalidInstance("pins_clash", ("pinned", later.step.id, "start"), steps=steps)
