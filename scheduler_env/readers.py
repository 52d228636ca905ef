"""What a client wrote, read into an `Instance`: pure, strict, and every refusal says where.

Nothing is guessed: `True` is not a number, `"5"` is not 5, a key that the format does not have is refused, because a
misspelt `max_crew` would silently give a plan that nobody asked for. `null` counts as absent.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from scheduler_env import values
from scheduler_env.errors import InvalidInstance, Loc
from scheduler_env.mistakes import further_mistakes
from scheduler_env.problem import CrewModes, Instance, Step, Team, WorkPoint
from scheduler_env.standard_cycle import (
    MAX_DURATION_H,
    SAMPLE_PARAMS,
    STANDARD_STEPS,
    Curve,
    crew_modes,
    standard_workpoint,
)
from scheduler_env.teams import plant
from scheduler_env.written import RawStep, RawWorkPoint, raw_workpoints, standard_hours

MAX_MODES = 100_000
"""Ways to do a step (crew sizes), summed over the steps: bounds the memory that one request may take."""
MAX_REMEMBERED = 256
MAX_STEPS_REMEMBERED, MAX_MODES_REMEMBERED, MAX_OUTLINE = 60, 1_000, 16_384
"""Of what several requests have in common but for their durations, which is read once; some 20 MB in all at most."""


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
        raise InvalidInstance.of([err, *further_mistakes(payload, err, _read)]) from err


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
        raise InvalidInstance("params_or_workpoints", ("params",))
    if params is not None:
        teams = tuple(plant(payload.get("teams"), ()).values())
        numbers = standard_hours(params, ("params",))
        return _build(teams, (standard_workpoint("1", "工作点1", numbers, teams, curve),), {})
    written = raw_workpoints(workpoints)
    by_name = plant(payload.get("teams"), written)
    places: dict[str, int] = {}
    step_names = _StepNames(written)
    read: list[WorkPoint] = []
    n_modes = 0
    for raw in written:
        if raw.steps is None:
            try:
                read.append(standard_workpoint(raw.id, raw.name, raw.params, tuple(by_name.values()), curve))
            except InvalidInstance as err:
                raise err.at((*raw.loc, *err.loc)) from err
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
class _Place:
    """What keeps the steps of one order apart, and how much of it one step takes."""

    name: str
    units: int
    demand: int


def _modes(step: RawStep, team: Team, curve: Curve) -> CrewModes:
    everybody = step.dedicated or team.dedicated
    for key, people in (("min_crew", step.min_crew), ("max_crew", step.max_crew)):
        if people is None:
            continue
        if people > team.headcount:
            raise InvalidInstance(
                "crew_above_headcount", (*step.loc, key), people=people, team=team.name, headcount=team.headcount
            )
        if everybody and people < team.headcount and key == "max_crew":
            raise InvalidInstance(
                "dedicated_above_max_crew", (*step.loc, key), people=people, team=team.name, headcount=team.headcount
            )
    low = team.headcount if everybody else team.least_crew if step.min_crew is None else step.min_crew
    high = team.headcount if step.max_crew is None else step.max_crew
    if low > high:
        raise InvalidInstance("max_crew_below_min_crew", (*step.loc, "max_crew"), max_crew=high, min_crew=low)
    return crew_modes(step.duration, team, min_crew=low, max_crew=high, curve=curve)


# --- relations between steps ---


def _places(workpoint: RawWorkPoint) -> list[_Place | None]:
    """For each step the place that it shares with the others of its order; None where all may run side by side."""
    n_of_order = Counter(step.order for step in workpoint.steps or ())
    apart = {step.order for step in workpoint.steps or () if not step.parallel and n_of_order[step.order] > 1}
    found: list[_Place | None] = []
    for step in workpoint.steps or ():
        if step.order in apart:
            name, units = f"place:{workpoint.id}:{'' if step.order is None else step.order}", n_of_order[step.order]
            found.append(_Place(name, units, 1 if step.parallel else units))
        else:
            found.append(None)
    return found


class _StepNames:
    """Every id and name that a step goes by."""

    def __init__(self, workpoints: Sequence[RawWorkPoint]) -> None:
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

    def resolve(self, workpoint: RawWorkPoint, text: str, loc: Loc) -> str:
        """The full id of the one step that `text` names from inside `workpoint`."""
        fits = set(self._local[workpoint.id].get(text, ()))
        if text in self._full:
            fits.add(text)
        if not fits:
            raise InvalidInstance("unknown_predecessor", loc, name=text, workpoint=workpoint.id)
        if len(fits) > 1:
            raise InvalidInstance("ambiguous_predecessor", loc, name=text, steps=sorted(fits))
        return fits.pop()


def _build(teams: tuple[Team, ...], workpoints: tuple[WorkPoint, ...], places: Mapping[str, int]) -> Instance:
    try:
        return Instance(teams, workpoints, places)
    except InvalidInstance as err:
        raise err.at(err.loc or ("workpoints",)) from err


def _refuse_too_many_modes(n_modes: int) -> None:
    if n_modes > MAX_MODES:
        raise InvalidInstance("too_many_modes", ("workpoints",), limit=MAX_MODES)


# --- small ones ---


def _curve(value: object) -> Curve:
    if value is None or value == "default":
        return "default"
    if value == "linear":
        return "linear"
    raise InvalidInstance(
        "unknown_curve", ("crew_efficiency",), value=values.shortened(value), known=["default", "linear"]
    )
