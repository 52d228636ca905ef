"""Zones: while an exclusive step, such as radiography, is at work, nobody else works in the zone of its work point.

For the solvers a zone is a renewable resource with one unit for each of its steps. A step takes one unit, an exclusive
step all of them. A zone without an exclusive step, or with a single step, needs no such resource.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from scheduler_env.problem import CrewModes, Demand, Instance, Mode, Step, WorkPoint

PREFIX = "zone:"
"""Of the place of a zone that a request names."""
OWN_PREFIX = "zone of:"
"""Of the place of a work point that is a zone of its own."""


def zone_of(workpoint: WorkPoint) -> str:
    """The name of its place; a work point of which no zone is said is a zone of its own."""
    return f"{OWN_PREFIX}{workpoint.id}" if workpoint.zone is None else f"{PREFIX}{workpoint.zone}"


def is_zone(place: str) -> bool:
    """Whether a place of an instance is a zone."""
    return place.startswith((PREFIX, OWN_PREFIX))


def by_zone(workpoints: Iterable[WorkPoint]) -> dict[str, list[WorkPoint]]:
    """The work points of each zone that has an exclusive step and another step."""
    found: dict[str, list[WorkPoint]] = {}
    for workpoint in workpoints:
        found.setdefault(zone_of(workpoint), []).append(workpoint)
    return {zone: each for zone, each in found.items() if _needs_place([step for w in each for step in w.steps])}


def _needs_place(steps: Sequence[Step]) -> bool:
    return len(steps) > 1 and any(step.is_exclusive for step in steps)


def with_zones(workpoints: Sequence[WorkPoint]) -> tuple[tuple[WorkPoint, ...], dict[str, int]]:
    """The work points whose steps take units of their zones, and the places to add for that."""
    zones = by_zone(workpoints)
    if not zones:
        return tuple(workpoints), {}
    places = {zone: sum(len(workpoint.steps) for workpoint in each) for zone, each in zones.items()}
    known: dict[tuple[int, tuple[str, int]], Mapping[Demand, float]] = {}  # many steps have the same crews
    found = []
    for workpoint in workpoints:
        zone = zone_of(workpoint)
        if zone in places:
            steps = tuple(
                step._replace(modes=_holding(step, (zone, places[zone] if step.is_exclusive else 1), known))
                for step in workpoint.steps
            )
            workpoint = replace(workpoint, steps=steps)
        found.append(workpoint)
    return tuple(found), places


def _holding(
    step: Step, held: tuple[str, int], known: dict[tuple[int, tuple[str, int]], Mapping[Demand, float]]
) -> Sequence[Mode]:
    modes = step.modes
    if not isinstance(modes, CrewModes):
        return tuple(Mode(mode.duration_h, (*mode.demand, held)) for mode in modes)
    key = id(modes.relative_h), held  # the mapping lives as long as the step does
    if key not in known:
        known[key] = {(*demand, held): hours for demand, hours in modes.relative_h.items()}
    return CrewModes(modes.nominal_h, known[key])


def zone_problems(instance: Instance) -> list[tuple[float, Instance]]:
    """Relaxations for bounds: (hours, instance), so that hours + its makespan is a lower bound on that of `instance`.

    There is one for each zone, with its work points alone. No other step of the zone is at work while an exclusive step
    is. So a schedule remains valid, and is shorter by the durations of the exclusive steps, if the time of these is cut
    out, and if all people are there at any time.
    """
    if not any(is_zone(place) for place in instance.places):
        return []
    teams = tuple(
        team
        if instance.capacity[team.name] == team.headcount
        else replace(team, availability=instance.capacity[team.name])
        for team in (replace(team, availability=None) for team in instance.teams)
    )
    capacity = {name: instance.capacity[name] for name in instance.places}
    found = []
    for zone, workpoints in by_zone(instance.workpoints).items():
        ids = {step.id for workpoint in workpoints for step in workpoint.steps}
        hours = min(step.release_h for workpoint in workpoints for step in workpoint.steps)
        kept = []
        for workpoint in workpoints:
            steps = []
            for step in workpoint.steps:
                before = tuple(other for other in step.predecessors if other in ids)
                modes = tuple(
                    Mode(mode.duration_h, tuple(each for each in mode.demand if each[0] != zone)) for mode in step.modes
                )
                if step.is_exclusive:
                    hours += min(mode.duration_h for mode in modes)
                    modes = (Mode(0.0, ()),)
                steps.append(step._replace(modes=modes, predecessors=before, release_h=0.0, is_exclusive=False))
            kept.append(replace(workpoint, steps=tuple(steps)))
        found.append((hours, Instance(teams, tuple(kept), capacity)))
    return found
