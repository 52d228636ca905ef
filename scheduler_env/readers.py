"""What a client wrote, read into an `Instance`: pure, strict, and every refusal says where.

Nothing is guessed: `True` is not a number, `"5"` is not 5, a key that the format does not have is refused, because a
misspelt `max_crew` would silently give a plan that nobody asked for. `null` counts as absent.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

from scheduler_env import values
from scheduler_env.errors import InvalidInstance
from scheduler_env.mistakes import further_mistakes
from scheduler_env.problem import MAX_STEPS, CrewModes, Instance, Step, Team, WorkPoint
from scheduler_env.standard_cycle import (
    DEFAULT_TEAMS,
    MAX_DURATION_H,
    SAMPLE_PARAMS,
    STANDARD_STEPS,
    Curve,
    crew_modes,
    standard_workpoint,
)
from scheduler_env.values import Loc
from scheduler_env.vocabulary import team_of

MAX_WORKPOINTS = 200
MAX_TEAMS = 200
MAX_STEPS_OF_A_WORKPOINT = 1_000
MAX_PREDECESSORS = 200
"""Of one step. With the limit above it bounds the precedence graph, which grows with the square of a group."""
MAX_MODES = 100_000
"""Ways to do a step (crew sizes), summed over the steps: bounds the memory that one request may take."""
MAX_REMEMBERED = 256
MAX_STEPS_REMEMBERED, MAX_MODES_REMEMBERED, MAX_OUTLINE = 60, 1_000, 16_384
"""Of what several requests have in common but for their durations, which is read once; some 20 MB in all at most."""

TEAM_KEYS = ("name", "headcount", "dedicated", "min_crew")
WORKPOINT_KEYS = ("id", "name", "steps", "params")
STEP_KEYS = (
    *("id", "name", "order", "team", "duration", "dedicated", "team_size", "parallel"),
    *("min_crew", "max_crew", "predecessors"),
)


def instance_from_request(payload: Mapping[str, object]) -> Instance:
    """The instance that a run request describes.

    Args:
        payload: the request's JSON object. Read are
            `params`: 15 nominal hours, the standard cycle on one work point of the default plant; or else
            `workpoints`: a list of work points, or an object of them by id. A work point is `{"id", "name", "steps"}`;
                without `steps` it gets the standard cycle, with `params` of its own if it has them.
            `teams`: a list of `{"name", "headcount", "dedicated", "min_crew"}`, or an object of them by name; each
                changes what it names of the default plant's team, or adds a team; the other default teams stay.
            `crew_efficiency`: the curve, "default" or "linear".
            Other keys are somebody else's.

            A step is `{"name", "order", "team", "duration"}` with, optionally,
            `id`: default its number in the work point, from 1. In the instance its id is `<work point>.<id>`.
            `dedicated`: it takes its team's whole headcount.
            `team_size`: the headcount of its team, for the whole plant.
            `min_crew`, `max_crew`: people, within 1..headcount.
            `parallel: false`: it runs alone among the steps of the same order of its work point.
            `predecessors`: ids or names of steps of its work point, or `<work point>.<id>` of any step.
            `order` may be left out when the step has `predecessors`, or when no step of the work point has one.

    Raises:
        InvalidInstance: with `loc`, the path in `payload` to what is wrong, and `more`, what else is.
    """
    try:
        return _read_or_known(payload)
    except InvalidInstance as err:
        raise InvalidInstance(str(err), err.loc, further_mistakes(payload, err, _read)) from err


def _read_or_known(payload: Mapping[str, object]) -> Instance:
    outlined = _outline(payload)
    if outlined is None:
        return _read(payload)
    outline, hours = outlined
    known = _known.get(outline)
    if known is not None:
        return known.with_durations(hours)
    instance = _read(payload)
    if sum(len(step.modes) for step in instance.steps) <= MAX_MODES_REMEMBERED:
        if len(_known) >= MAX_REMEMBERED:
            _known.clear()
        _known[outline] = instance
    return instance


_known: dict[str, Instance] = {}  # outline -> an instance that was read


def _outline(payload: Mapping[str, Any]) -> tuple[str, list[float]] | None:
    """The request as a text without its durations, and the hours of all its steps; None if it is wrong there, or long.

    As a text, for as keys of a dictionary 1, 1.0 and True are the same.
    """
    hours: list[Any] = []
    outline = {name: payload.get(name) for name in ("params", "workpoints", "teams", "crew_efficiency")}
    try:
        if (params := outline["params"]) is not None:
            hours += params
            outline["params"] = len(params)
        if (workpoints := outline["workpoints"]) is not None:
            outline["workpoints"] = [_workpoint_outline(workpoint, hours) for workpoint in workpoints]
    except (TypeError, KeyError, AttributeError):
        return None
    if not all(type(entry) in (float, int) and 0.0 < entry <= MAX_DURATION_H for entry in hours):
        return None
    text = repr(outline) if len(hours) <= MAX_STEPS_REMEMBERED else ""
    return (text, [float(entry) for entry in hours]) if 0 < len(text) <= MAX_OUTLINE else None


def _workpoint_outline(workpoint: Mapping[str, Any], hours: list[Any]) -> dict[str, object]:
    """Adds the work point's durations to `hours`."""
    if steps := workpoint.get("steps"):
        hours += [step["duration"] for step in steps]
        return {**workpoint, "steps": [{**step, "duration": None} for step in steps]}
    params = workpoint.get("params")
    hours += SAMPLE_PARAMS if params is None else params
    return {**workpoint, "params": None if params is None else len(params)}


def _read(payload: Mapping[str, object]) -> Instance:
    curve = _curve(payload.get("crew_efficiency"))
    params, workpoints = payload.get("params"), payload.get("workpoints")
    if (params is None) == (workpoints is None):
        raise InvalidInstance("give either params or workpoints, not both and not neither", ("params",))
    if params is not None:
        declared = _declared_teams(payload.get("teams"))
        _refuse_misnamed(payload.get("teams"), declared, ())
        teams = tuple(declared.values())
        numbers = _numbers(params, ("params",))
        return _build(teams, (standard_workpoint("1", "工作点1", numbers, teams, curve),), {})
    raw_workpoints = _raw_workpoints(workpoints)
    declared = _declared_teams(payload.get("teams"))
    _refuse_misnamed(payload.get("teams"), declared, raw_workpoints)
    by_name = _plant(raw_workpoints, declared)
    places: dict[str, int] = {}
    step_names = _StepNames(raw_workpoints)
    read: list[WorkPoint] = []
    n_modes = 0
    for raw in raw_workpoints:
        if raw.steps is None:
            try:
                read.append(standard_workpoint(raw.id, raw.name, raw.params, tuple(by_name.values()), curve))
            except InvalidInstance as err:
                raise InvalidInstance(str(err), (*raw.loc, *err.loc)) from err
            n_modes += sum(len(step.modes) for step in read[-1].steps)
            _refuse_too_many_modes(n_modes)
            continue
        steps: list[Step] = []
        for step, place in zip(raw.steps, _places(raw), strict=True):
            modes = _modes(step, by_name[step.team], curve)
            n_modes += len(modes)
            _refuse_too_many_modes(n_modes)
            if place is not None:
                places[place.name] = place.units
                held = (place.name, place.demand)
                relative_h = {(*demand, held): hours for demand, hours in modes.relative_h.items()}
                modes = CrewModes(modes.nominal_h, relative_h)
            predecessors = tuple(step_names.resolve(raw, text, loc) for text, loc in step.predecessors)
            steps.append(Step(f"{raw.id}.{step.id}", step.name, raw.id, step.team, step.order, modes, predecessors))
        read.append(WorkPoint(raw.id, raw.name, tuple(steps)))
    return _build(tuple(by_name.values()), tuple(read), places)


@dataclass(frozen=True, slots=True)
class _RawStep:
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
class _RawWorkPoint:
    loc: Loc
    id: str
    name: str
    steps: tuple[_RawStep, ...] | None  # None: the standard cycle
    params: Sequence[float]


@dataclass(frozen=True, slots=True)
class _Place:
    """What keeps the steps of one order apart, and how much of it one step takes."""

    name: str
    units: int
    demand: int


# --- work points and steps, as written ---


def _raw_workpoints(value: object) -> list[_RawWorkPoint]:
    if isinstance(value, Mapping):
        entries: list[tuple[Loc, str | None, object]] = [
            (("workpoints", key), values.identifier(key, ("workpoints", key), "its id"), entry)
            for key, entry in value.items()
        ]
    elif isinstance(value, list):
        entries = [(("workpoints", index), None, entry) for index, entry in enumerate(value)]
    else:
        raise InvalidInstance(
            f"workpoints is {values.kind_of(value)}; wanted is a list of work points or an object of them by id",
            ("workpoints",),
        )
    if not entries:
        raise InvalidInstance("workpoints is empty: there is nothing to schedule", ("workpoints",))
    if len(entries) > MAX_WORKPOINTS:
        raise InvalidInstance(
            f"{len(entries)} work points are more than the limit of {MAX_WORKPOINTS}", ("workpoints",)
        )
    read = []
    n_steps = 0
    for number, (loc, key, entry) in enumerate(entries, start=1):
        workpoint = _raw_workpoint(entry, loc, key, number, MAX_STEPS - n_steps)
        n_steps += len(STANDARD_STEPS) if workpoint.steps is None else len(workpoint.steps)
        if n_steps > MAX_STEPS:
            raise InvalidInstance(f"there are more steps than the limit of {MAX_STEPS}", ("workpoints",))
        read.append(workpoint)
    seen: dict[str, Loc] = {}
    for workpoint in read:
        if workpoint.id in seen:
            raise InvalidInstance(f"the work point id {workpoint.id!r} is used twice", workpoint.loc)
        seen[workpoint.id] = workpoint.loc
    return read


def _raw_workpoint(value: object, loc: Loc, key: str | None, number: int, steps_left: int) -> _RawWorkPoint:
    entry = values.json_object(value, loc, WORKPOINT_KEYS, "a work point")
    written = entry.get("id")
    workpoint_id = key or str(number)
    if written is not None:
        workpoint_id = values.identifier(written, (*loc, "id"), "id")
        if key is not None and workpoint_id != key:
            raise InvalidInstance(f"the work point under {key!r} says that its id is {workpoint_id!r}", (*loc, "id"))
    name = entry.get("name")
    name = f"工作点{workpoint_id}" if name is None else values.text(name, (*loc, "name"), "name")
    steps, params = entry.get("steps"), entry.get("params")
    if steps is None or steps == []:
        numbers = SAMPLE_PARAMS if params is None else _numbers(params, (*loc, "params"))
        return _RawWorkPoint(loc, workpoint_id, name, None, numbers)
    if params is not None:
        raise InvalidInstance(f"work point {workpoint_id!r} has both steps and params: leave one out", (*loc, "params"))
    if not isinstance(steps, list):
        raise InvalidInstance(f"steps is {values.kind_of(steps)}; wanted is a list", (*loc, "steps"))
    if len(steps) > MAX_STEPS_OF_A_WORKPOINT:
        raise InvalidInstance(
            f"{len(steps)} steps of one work point are more than the limit of {MAX_STEPS_OF_A_WORKPOINT}",
            (*loc, "steps"),
        )
    if len(steps) > steps_left:
        raise InvalidInstance(f"there are more steps than the limit of {MAX_STEPS}", (*loc, "steps"))
    read = tuple(_raw_step(step, (*loc, "steps", index), index + 1) for index, step in enumerate(steps))
    seen: set[str] = set()
    any_order = any(step.order is not None for step in read)
    for step in read:
        if step.id in seen:
            raise InvalidInstance(f"the step id {step.id!r} is used twice in work point {workpoint_id!r}", step.loc)
        seen.add(step.id)
        if any_order and step.order is None and not step.has_predecessors:
            raise InvalidInstance(
                f"step {step.name!r} has neither order nor predecessors, while others of its work point have an order",
                (*step.loc, "order"),
            )
    return _RawWorkPoint(loc, workpoint_id, name, read, ())


def _raw_step(value: object, loc: Loc, number: int) -> _RawStep:
    entry = values.json_object(value, loc, STEP_KEYS, "a step")
    for key in ("name", "team", "duration"):
        if entry.get(key) is None:
            raise InvalidInstance(f"the step has no {key}", (*loc, key))
    written_id, order, predecessors = entry.get("id"), entry.get("order"), entry.get("predecessors")
    if predecessors is not None and not isinstance(predecessors, list):
        raise InvalidInstance(
            f"predecessors is {values.kind_of(predecessors)}; wanted is a list", (*loc, "predecessors")
        )
    if predecessors is not None and len(predecessors) > MAX_PREDECESSORS:
        raise InvalidInstance(
            f"{len(predecessors)} predecessors are more than the limit of {MAX_PREDECESSORS}", (*loc, "predecessors")
        )
    name = values.text(entry["name"], (*loc, "name"), "name")
    duration = values.number(entry["duration"], (*loc, "duration"))
    if not 0.0 < duration <= MAX_DURATION_H:
        raise InvalidInstance(
            f"duration {duration} h of step {name!r} is not greater than 0 and at most {MAX_DURATION_H:g} h",
            (*loc, "duration"),
        )
    return _RawStep(
        loc=loc,
        id=str(number) if written_id is None else values.identifier(written_id, (*loc, "id"), "id"),
        name=name,
        team=values.identifier(entry["team"], (*loc, "team"), "team"),
        duration=duration,
        order=None if order is None else values.integer(order, (*loc, "order"), "order"),
        dedicated=values.boolean(entry.get("dedicated"), (*loc, "dedicated"), default=False),
        team_size=values.people(entry.get("team_size"), (*loc, "team_size"), "team_size"),
        parallel=values.boolean(entry.get("parallel"), (*loc, "parallel"), default=True),
        min_crew=values.people(entry.get("min_crew"), (*loc, "min_crew"), "min_crew"),
        max_crew=values.people(entry.get("max_crew"), (*loc, "max_crew"), "max_crew"),
        predecessors=tuple(
            (values.identifier(text, (*loc, "predecessors", index), "a predecessor"), (*loc, "predecessors", index))
            for index, text in enumerate(predecessors or ())
        ),
        has_predecessors=predecessors is not None,
    )


# --- teams ---


def _declared_teams(value: object) -> dict[str, Team]:
    """The default plant with the teams of the request's `teams` changed and added."""
    by_name = {team.name: team for team in DEFAULT_TEAMS}
    if value is None:
        return by_name
    if isinstance(value, Mapping):
        entries: list[tuple[Loc, str | None, object]] = [(("teams", key), key, entry) for key, entry in value.items()]
    elif isinstance(value, list):
        entries = [(("teams", index), None, entry) for index, entry in enumerate(value)]
    else:
        raise InvalidInstance(
            f"teams is {values.kind_of(value)}; wanted is a list of teams or an object of them by name", ("teams",)
        )
    if len(entries) > MAX_TEAMS:
        raise InvalidInstance(f"{len(entries)} teams are more than the limit of {MAX_TEAMS}", ("teams",))
    seen: set[str] = set()
    for loc, key, raw in entries:
        entry = values.json_object(raw, loc, TEAM_KEYS, "a team")
        written = entry.get("name", key)
        if written is None:
            raise InvalidInstance("the team has no name", (*loc, "name"))
        name = values.identifier(written, (*loc, "name"), "name")
        if key is not None and name != key:
            raise InvalidInstance(f"the team under {key!r} says that its name is {name!r}", (*loc, "name"))
        if name in seen:
            raise InvalidInstance(f"the team {name!r} is declared twice", loc)
        seen.add(name)
        known = by_name.get(name)
        headcount = values.people(entry.get("headcount"), (*loc, "headcount"), "headcount")
        if headcount is None and known is None:
            raise InvalidInstance(f"the new team {name!r} has no headcount", (*loc, "headcount"))
        dedicated = values.boolean(
            entry.get("dedicated"), (*loc, "dedicated"), default=known is not None and known.dedicated
        )
        min_crew = values.people(entry.get("min_crew"), (*loc, "min_crew"), "min_crew")
        if dedicated and min_crew is not None:
            raise InvalidInstance(
                f"team {name!r} is dedicated, it always works with everybody: leave min_crew out", (*loc, "min_crew")
            )
        try:
            by_name[name] = Team(name, headcount or cast(Team, known).headcount, dedicated, min_crew)
        except InvalidInstance as err:
            raise InvalidInstance(str(err), loc) from err
    return by_name


def _refuse_misnamed(written: object, declared: Mapping[str, Team], workpoints: Sequence[_RawWorkPoint]) -> None:
    """A new team that no step needs, under another name of a team of the default plant, would change nothing."""
    needed = {step.team for workpoint in workpoints for step in workpoint.steps or ()}
    for name in list(declared)[len(DEFAULT_TEAMS) :]:
        meant = None if name in needed else team_of(name)
        if meant is not None:
            names = [str(team["name"]) for team in written] if isinstance(written, list) else []
            place = names.index(name) if names else name
            raise InvalidInstance(f"no step needs the team {name!r}; is {meant!r} meant?", ("teams", place))


def _plant(workpoints: Sequence[_RawWorkPoint], declared: dict[str, Team]) -> dict[str, Team]:
    """`declared` with what the steps' `team_size` add; every step's team is in it.

    A team that only steps define is dedicated when all of its steps are.
    """
    steps = [step for workpoint in workpoints for step in workpoint.steps or ()]
    default = {team.name: team for team in DEFAULT_TEAMS}
    size_of: dict[str, tuple[int, Loc]] = {}
    shared = {step.team for step in steps if not step.dedicated}
    for step in steps:
        if step.team_size is None:
            continue
        size, where = size_of.setdefault(step.team, (step.team_size, step.loc))
        if size != step.team_size:
            raise InvalidInstance(
                f"team {step.team!r} has team_size {step.team_size} here and {size} at {_path(where)}",
                (*step.loc, "team_size"),
            )
    plant = dict(declared)
    for name, (size, where) in size_of.items():
        team = plant.get(name)
        # A declared team is one that `teams` changed or added: then both must say the same.
        if team is not None and team != default.get(name) and team.headcount != size:
            raise InvalidInstance(
                f"team {name!r} has team_size {size} here and headcount {team.headcount} in teams",
                (*where, "team_size"),
            )
        plant[name] = Team(name, size, name not in shared) if team is None else replace(team, headcount=size)
    if len(plant) > MAX_TEAMS:
        raise InvalidInstance(f"{len(plant)} teams are more than the limit of {MAX_TEAMS}", ("workpoints",))
    for step in steps:
        if step.team not in plant:
            raise InvalidInstance(
                f"step {step.name!r} needs the team {step.team!r}; known teams are {', '.join(plant)} (give the step a "
                "team_size, or declare the team in teams)",
                (*step.loc, "team"),
            )
    return plant


def _modes(step: _RawStep, team: Team, curve: Curve) -> CrewModes:
    everybody = step.dedicated or team.dedicated
    for key, people in (("min_crew", step.min_crew), ("max_crew", step.max_crew)):
        if people is None:
            continue
        if people > team.headcount:
            raise InvalidInstance(
                f"{key} {people} of step {step.name!r} is over the headcount of {team.name!r}, {team.headcount}",
                (*step.loc, key),
            )
        if everybody and people < team.headcount and key == "max_crew":
            raise InvalidInstance(
                f"step {step.name!r} takes the whole of {team.name!r} ({team.headcount}, dedicated), more than its "
                f"max_crew {people}",
                (*step.loc, key),
            )
    low = team.headcount if everybody else team.least_crew if step.min_crew is None else step.min_crew
    high = team.headcount if step.max_crew is None else step.max_crew
    if low > high:
        raise InvalidInstance(
            f"max_crew {high} of step {step.name!r} is below its least crew, {low} (min_crew; by default "
            f"{team.least_crew} in {team.name!r})",
            (*step.loc, "max_crew"),
        )
    return crew_modes(step.duration, team, min_crew=low, max_crew=high, curve=curve)


# --- relations between steps ---


def _places(workpoint: _RawWorkPoint) -> list[_Place | None]:
    """For each step the place that it shares with the others of its order; None where all may run side by side."""
    groups: dict[int | None, list[_RawStep]] = {}
    for step in workpoint.steps or ():
        groups.setdefault(step.order, []).append(step)
    found: list[_Place | None] = []
    for step in workpoint.steps or ():
        group = groups[step.order]
        if len(group) == 1 or all(other.parallel for other in group):
            found.append(None)
        else:
            name = f"place:{workpoint.id}:{'' if step.order is None else step.order}"
            found.append(_Place(name, len(group), 1 if step.parallel else len(group)))
    return found


class _StepNames:
    """Every id and name that a step goes by."""

    def __init__(self, workpoints: Sequence[_RawWorkPoint]) -> None:
        self._full: set[str] = set()
        self._local: dict[str, dict[str, set[str]]] = {}
        for workpoint in workpoints:
            names = self._local.setdefault(workpoint.id, {})
            if workpoint.steps is None:
                written = [(str(number), step.name_zh) for number, step in enumerate(STANDARD_STEPS, start=1)]
            else:
                written = [(step.id, step.name) for step in workpoint.steps]
            for step_id, name in written:
                full = f"{workpoint.id}.{step_id}"
                self._full.add(full)
                for text in (step_id, name):
                    names.setdefault(text, set()).add(full)

    def resolve(self, workpoint: _RawWorkPoint, text: str, loc: Loc) -> str:
        """The full id of the one step that `text` names from inside `workpoint`."""
        fits = set(self._local[workpoint.id].get(text, ()))
        if text in self._full:
            fits.add(text)
        if not fits:
            raise InvalidInstance(
                f"the predecessor {text!r} is neither the id nor the name of a step of work point {workpoint.id!r}, "
                "nor the <work point>.<step id> of another",
                loc,
            )
        if len(fits) > 1:
            raise InvalidInstance(f"the predecessor {text!r} fits several steps: {', '.join(sorted(fits))}", loc)
        return fits.pop()


def _build(teams: tuple[Team, ...], workpoints: tuple[WorkPoint, ...], places: Mapping[str, int]) -> Instance:
    try:
        return Instance(teams, workpoints, places)
    except InvalidInstance as err:
        raise InvalidInstance(str(err), err.loc or ("workpoints",)) from err


def _refuse_too_many_modes(n_modes: int) -> None:
    if n_modes > MAX_MODES:
        raise InvalidInstance(
            f"the steps have more than {MAX_MODES} possible crews in all; narrow them with min_crew and max_crew",
            ("workpoints",),
        )


# --- small ones ---


def _curve(value: object) -> Curve:
    if value is None or value == "default":
        return "default"
    if value == "linear":
        return "linear"
    raise InvalidInstance(
        f"crew_efficiency is {values.shortened(value)}; wanted is default or linear", ("crew_efficiency",)
    )


def _numbers(value: object, loc: Loc) -> list[float]:
    if not isinstance(value, list):
        raise InvalidInstance(f"{loc[-1]} is {values.kind_of(value)}; wanted is a list of numbers", loc)
    if len(value) != len(STANDARD_STEPS):
        raise InvalidInstance(
            f"params has {len(value)} numbers; the standard cycle has {len(STANDARD_STEPS)} steps", loc
        )
    return [values.number(entry, (*loc, index)) for index, entry in enumerate(value)]


def _path(loc: Loc) -> str:
    return ".".join(map(str, loc))
