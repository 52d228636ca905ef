"""Work points and steps as a request has them: each value is checked, what they refer to is not."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from scheduler_env import values
from scheduler_env.errors import InvalidInstance, Loc
from scheduler_env.problem import MAX_STEPS
from scheduler_env.standard_cycle import MAX_DURATION_H, SAMPLE_PARAMS, STANDARD_STEPS

MAX_WORKPOINTS = 200
MAX_STEPS_OF_A_WORKPOINT = 1_000
MAX_PREDECESSORS = 200
"""Of one step. With the limit above it bounds the precedence graph, which grows with the square of a group."""

WORKPOINT_KEYS = ("id", "name", "steps", "params")
STEP_KEYS = (
    *("id", "name", "order", "team", "duration", "dedicated", "team_size", "parallel"),
    *("min_crew", "max_crew", "predecessors"),
)


@dataclass(frozen=True, slots=True)
class RawStep:
    """A step as written, its types checked, before it is known who else names its team."""

    loc: Loc
    id: str
    name: str
    team: str
    duration: float
    order: int | None
    dedicated: bool
    team_size: int | None
    parallel: bool
    min_crew: int | None
    max_crew: int | None
    predecessors: tuple[tuple[str, Loc], ...]
    has_predecessors: bool  # also when it says that it has none


@dataclass(frozen=True, slots=True)
class RawWorkPoint:
    loc: Loc
    id: str
    name: str
    steps: tuple[RawStep, ...] | None  # None: the standard cycle
    params: Sequence[float]


def raw_workpoints(value: object) -> list[RawWorkPoint]:
    if isinstance(value, Mapping):
        entries: list[tuple[Loc, str | None, object]] = [
            (("workpoints", key), values.identifier(key, ("workpoints", key)), entry) for key, entry in value.items()
        ]
    elif isinstance(value, list):
        entries = [(("workpoints", index), None, entry) for index, entry in enumerate(value)]
    else:
        raise InvalidInstance("not_a_list_or_object", ("workpoints",), found=values.kind_of(value))
    if not entries:
        raise InvalidInstance("no_workpoints", ("workpoints",))
    if len(entries) > MAX_WORKPOINTS:
        raise InvalidInstance("too_many_workpoints", ("workpoints",), n=len(entries), limit=MAX_WORKPOINTS)
    read = []
    n_steps = 0
    for number, (loc, key, entry) in enumerate(entries, start=1):
        workpoint = _raw_workpoint(entry, loc, key, number, MAX_STEPS - n_steps)
        n_steps += len(STANDARD_STEPS) if workpoint.steps is None else len(workpoint.steps)
        if n_steps > MAX_STEPS:
            raise InvalidInstance("too_many_steps", ("workpoints",), limit=MAX_STEPS)
        read.append(workpoint)
    seen: dict[str, Loc] = {}
    for workpoint in read:
        if workpoint.id in seen:
            raise InvalidInstance("workpoint_id_twice", workpoint.loc, id=workpoint.id)
        seen[workpoint.id] = workpoint.loc
    return read


def _raw_workpoint(value: object, loc: Loc, key: str | None, number: int, steps_left: int) -> RawWorkPoint:
    entry = values.json_object(value, loc, WORKPOINT_KEYS, "workpoint")
    written = entry.get("id")
    workpoint_id = key or str(number)
    if written is not None:
        workpoint_id = values.identifier(written, (*loc, "id"))
        if key is not None and workpoint_id != key:
            raise InvalidInstance("key_differs", (*loc, "id"), key=key, name=workpoint_id)
    name = entry.get("name")
    name = f"工作点{workpoint_id}" if name is None else values.text(name, (*loc, "name"))
    steps, params = entry.get("steps"), entry.get("params")
    if steps is None or steps == []:
        numbers = SAMPLE_PARAMS if params is None else standard_hours(params, (*loc, "params"))
        return RawWorkPoint(loc, workpoint_id, name, None, numbers)
    if params is not None:
        raise InvalidInstance("steps_and_params", (*loc, "params"), id=workpoint_id)
    if not isinstance(steps, list):
        raise InvalidInstance("not_a_list", (*loc, "steps"), found=values.kind_of(steps))
    if len(steps) > MAX_STEPS_OF_A_WORKPOINT:
        raise InvalidInstance(
            "too_many_steps_of_a_workpoint", (*loc, "steps"), n=len(steps), limit=MAX_STEPS_OF_A_WORKPOINT
        )
    if len(steps) > steps_left:
        raise InvalidInstance("too_many_steps", (*loc, "steps"), limit=MAX_STEPS)
    read = tuple(_raw_step(step, (*loc, "steps", index), index + 1) for index, step in enumerate(steps))
    seen: set[str] = set()
    any_order = any(step.order is not None for step in read)
    for step in read:
        if step.id in seen:
            raise InvalidInstance("step_id_twice", step.loc, id=step.id, workpoint=workpoint_id)
        seen.add(step.id)
        if any_order and step.order is None and not step.has_predecessors:
            raise InvalidInstance("no_order", (*step.loc, "order"), step=step.name)
    return RawWorkPoint(loc, workpoint_id, name, read, ())


def _raw_step(value: object, loc: Loc, number: int) -> RawStep:
    entry = values.json_object(value, loc, STEP_KEYS, "step")
    for key in ("name", "team", "duration"):
        if entry.get(key) is None:
            raise InvalidInstance("missing", (*loc, key), name=key)
    written_id, order, predecessors = entry.get("id"), entry.get("order"), entry.get("predecessors")
    if predecessors is not None and not isinstance(predecessors, list):
        raise InvalidInstance("not_a_list", (*loc, "predecessors"), found=values.kind_of(predecessors))
    if predecessors is not None and len(predecessors) > MAX_PREDECESSORS:
        raise InvalidInstance(
            "too_many_predecessors", (*loc, "predecessors"), n=len(predecessors), limit=MAX_PREDECESSORS
        )
    name = values.text(entry["name"], (*loc, "name"))
    duration = values.number(entry["duration"], (*loc, "duration"))
    if not 0.0 < duration <= MAX_DURATION_H:
        raise InvalidInstance("duration_out_of_range", (*loc, "duration"), value=duration, limit=MAX_DURATION_H)
    return RawStep(
        loc=loc,
        id=str(number) if written_id is None else values.identifier(written_id, (*loc, "id")),
        name=name,
        team=values.identifier(entry["team"], (*loc, "team")),
        duration=duration,
        order=None if order is None else values.integer(order, (*loc, "order")),
        dedicated=values.boolean(entry.get("dedicated"), (*loc, "dedicated"), default=False),
        team_size=values.people(entry.get("team_size"), (*loc, "team_size")),
        parallel=values.boolean(entry.get("parallel"), (*loc, "parallel"), default=True),
        min_crew=values.people(entry.get("min_crew"), (*loc, "min_crew")),
        max_crew=values.people(entry.get("max_crew"), (*loc, "max_crew")),
        predecessors=tuple(
            (values.identifier(text, (*loc, "predecessors", index)), (*loc, "predecessors", index))
            for index, text in enumerate(predecessors or ())
        ),
        has_predecessors=predecessors is not None,
    )


def standard_hours(value: object, loc: Loc) -> list[float]:
    if not isinstance(value, list):
        raise InvalidInstance("not_a_list", loc, found=values.kind_of(value))
    if len(value) != len(STANDARD_STEPS):
        raise InvalidInstance("wrong_number_of_params", loc, n=len(value), expected=len(STANDARD_STEPS))
    return [values.number(entry, (*loc, index)) for index, entry in enumerate(value)]


def steps_written(payload: Mapping[str, Any]) -> Iterator[tuple[Loc, dict[str, Any]]]:
    """The steps, with their paths; what is no step is passed over here."""
    workpoints = payload.get("workpoints")
    entries: list[tuple[Any, Any]] = []
    if isinstance(workpoints, Mapping):
        entries = list(workpoints.items())
    elif isinstance(workpoints, list):
        entries = list(enumerate(workpoints))
    for key, workpoint in entries:
        steps = workpoint.get("steps") if isinstance(workpoint, Mapping) else None
        for at, step in enumerate(steps if isinstance(steps, list) else ()):
            if isinstance(step, dict):
                yield ("workpoints", key, "steps", at), step
