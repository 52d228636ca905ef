"""What a client wrote, read into an `Instance`: pure, strict, and every refusal says where.

Nothing is guessed: `True` is not a number, `"5"` is not 5, a key that the format does not have is refused, because a
misspelt `max_crew` would silently give a plan that nobody asked for. `null` counts as absent.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple, TypeVar

from scheduler_env.clock_request import ReadClock, read_clock
from scheduler_env.errors import InvalidInstance, Loc
from scheduler_env.mistakes import Mistakes
from scheduler_env.problem import MAX_STEPS, CrewModes, Instance, Objective, Step, Team, WorkPoint
from scheduler_env.problem_request import (
    MAX_STEPS_OF_A_WORKPOINT,
    MAX_WORKPOINTS,
    ProblemRequest,
    StepRequest,
    WorkPointRequest,
    WrittenStep,
    WrittenWorkPoint,
)
from scheduler_env.replan.reading import read_status, says_status, with_status
from scheduler_env.standard_cycle import (
    MAX_DURATION_H,
    SAMPLE_PARAMS,
    STANDARD_STEPS,
    Curve,
    crew_modes,
    standard_workpoint,
)
from scheduler_env.teams import name_in, plant
from scheduler_env.values import shortened
from scheduler_env.working_time import too_long_steps
from scheduler_env.zones import with_zones

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
                `zone`: where it is; `due`, `weight`, `deadline`: when it should end, and has to.
            `teams`: a list of `{"name", "headcount", "dedicated", "min_crew", "availability"}`, or an object of them by
                name; each changes what it names of the default plant's team, or adds a team; the other default teams
                stay.
            `crew_efficiency`: the curve, "default" or "linear".
            `objective`: "makespan" or "weighted_tardiness".
            `data_date`, `progress`, `pinned`, `published`, `frozen_hours`, `stability_tolerance_h`: where things stand;
                see `replan.reading`.
            `start`, `time_zone`: the time of hour 0. Then a time may stand wherever hours are counted from there.
            `calendars`, `calendar`: when people work, by name, and the name of the plant's; see `clock_request`.
            Other keys are somebody else's.

            A step is `{"name", "order", "team", "duration"}` with, optionally,
            `id`: default its number in the work point, from 1. In the instance its id is `<work point>.<id>`.
            `dedicated`: it takes its team's whole headcount.
            `team_size`: the headcount of its team, for the whole plant.
            `min_crew`, `max_crew`: people, within 1..headcount.
            `reference_crew`: how many people need `duration` hours; the curve gives the hours of the other crews.
            `release`: its earliest start, hours after the start of the shutdown, as that of its work point.
            `interruptible: false`: it must fit into one stretch of the calendar.
            `parallel: false`: it runs alone among the steps of the same order of its work point.
            `exclusive: true`: it runs alone in the zone of its work point.
            `predecessors`: ids or names of steps of its work point, or `<work point>.<id>` of any step.
            `order` may be left out when the step has `predecessors`, or when no step of the work point has one.

    Raises:
        InvalidInstance: with `loc`, the path in `payload` to what is wrong, and `more`, what else is.
    """
    clock = read_clock(payload)
    if not says_status(payload):
        return _problem(payload, clock)
    mistakes = Mistakes(clock and clock.clock)
    status = read_status(payload, mistakes)
    try:
        instance = _problem(payload, clock)
    except InvalidInstance as err:
        mistakes.add(*err.each)
        mistakes.refuse()
        raise
    return with_status(instance, status, mistakes)


def _problem(payload: Mapping[str, object], clock: ReadClock | None) -> Instance:
    """The instance without its status."""
    if clock is not None:  # the same text may mean other hours
        return _read(payload, clock).with_clock(*clock)
    outlined = _outline(payload)
    if outlined is None:
        return _read(payload, None)
    outline, hours = outlined
    known = _known.get(outline)
    if known is not None:
        return known.with_durations(hours)
    instance = _read(payload, None)
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
    outline = {name: payload.get(name) for name in ("params", "workpoints", "teams", "crew_efficiency", "objective")}
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


def _read(payload: Mapping[str, object], clock: ReadClock | None) -> Instance:
    mistakes = Mistakes(clock and clock.clock)
    head = mistakes.read(ProblemRequest, {name: payload.get(name) for name in ProblemRequest.model_fields}, ())
    workpoints = payload.get("workpoints")
    if (payload.get("params") is None) == (workpoints is None):
        mistakes.stop(InvalidInstance("params_or_workpoints", ("params",)))
    curve: Curve = (head and head.crew_efficiency) or "default"
    written = [] if workpoints is None else _written(workpoints, mistakes)
    teams = plant(payload.get("teams"), [step for each in written for step in each.steps or ()], mistakes)
    is_named = not isinstance(workpoints, dict) or len(written) == len(workpoints)
    step_names = _StepNames(written, is_named=is_named)
    checked = [[*_checked(each, step_names, teams, mistakes)] for each in written]
    mistakes.refuse()
    places: dict[str, int] = {}
    if head is not None and head.params is not None:
        read = [standard_workpoint("1", "工作点1", head.params, tuple(teams.values()), curve)]
    else:
        read = [*_workpoints(zip(written, checked, strict=True), teams, curve, places)]
        if clock is not None and clock.calendar is not None:
            places_of = [[step.loc for step in each.steps or ()] for each in written]
            mistakes.add(*too_long_steps(read, places_of, teams, clock.calendar))
            mistakes.refuse()
    objective: Objective = (head and head.objective) or "makespan"
    if objective == "weighted_tardiness" and all(workpoint.due_h is None for workpoint in read):
        raise InvalidInstance("needs_due", ("objective",), objective=objective)
    if objective == "weighted_tardiness" and clock is not None and clock.calendar is not None:
        raise InvalidInstance("objective_in_calendar", ("objective",), objective=objective)
    workpoints_read, zones = with_zones(read)
    try:
        return Instance(tuple(teams.values()), workpoints_read, places | zones, objective=objective)
    except InvalidInstance as err:
        raise err.at(err.loc or ("workpoints",)) from err


# --- one entry after the other ---


def _written(workpoints: object, mistakes: Mistakes) -> list[WrittenWorkPoint]:
    """The work points with their defaults; what they refer to is not checked."""
    found: list[WrittenWorkPoint] = []
    n_steps = 0
    entries = mistakes.entries(workpoints, ("workpoints",), MAX_WORKPOINTS)
    if not entries:
        mistakes.stop(InvalidInstance("too_short", ("workpoints",), min_length=1, actual_length=0))
    for number, (loc, key, entry) in enumerate(entries, start=1):
        found.append(_written_workpoint(entry, loc, key, number, MAX_STEPS - n_steps, mistakes))
        steps = found[-1].steps
        n_steps += len(STANDARD_STEPS) if steps is None else len(steps)
        if n_steps > MAX_STEPS:
            mistakes.stop(InvalidInstance("too_many_steps", ("workpoints",), limit=MAX_STEPS))
    for each in _repeated([workpoint for workpoint in found if workpoint.read is not None]):
        mistakes.add(InvalidInstance("workpoint_id_twice", each.loc, id=each.id))
    return found


def _written_workpoint(
    entry: object, loc: Loc, key: str | None, number: int, steps_left: int, mistakes: Mistakes
) -> WrittenWorkPoint:
    read = mistakes.read(WorkPointRequest, entry, loc)
    own_id = name_in(entry, "id", is_id=True) if read is None else read.id
    if read is not None and key is not None and own_id not in (None, key):
        mistakes.add(InvalidInstance("key_differs", (*loc, "id"), key=key, name=own_id))
    workpoint_id = own_id or key or str(number)
    listed = entry.get("steps") if isinstance(entry, dict) else None
    is_named = isinstance(entry, dict) and (key is not None or _has_name(entry, "id", may_lack=True))
    if listed is None or listed == []:
        return WrittenWorkPoint(loc, workpoint_id, read, None, is_named)
    if read is not None and read.params is not None:
        mistakes.add(InvalidInstance("steps_and_params", (*loc, "params"), id=workpoint_id))
    steps = _written_steps(listed, (*loc, "steps"), workpoint_id, steps_left, mistakes)
    return WrittenWorkPoint(loc, workpoint_id, read, steps, is_named and isinstance(listed, list))


def _written_steps(
    listed: object, loc: Loc, workpoint_id: str, steps_left: int, mistakes: Mistakes
) -> list[WrittenStep]:
    if not isinstance(listed, list):
        mistakes.add(InvalidInstance("list_type", loc, value=shortened(listed)))
        return []
    if len(listed) > MAX_STEPS_OF_A_WORKPOINT:
        mistakes.stop(InvalidInstance("too_long", loc, max_length=MAX_STEPS_OF_A_WORKPOINT, actual_length=len(listed)))
    if len(listed) > steps_left:
        mistakes.stop(InvalidInstance("too_many_steps", loc, limit=MAX_STEPS))
    steps = [_written_step(entry, (*loc, at), at + 1, mistakes) for at, entry in enumerate(listed)]
    for step in _repeated([step for step in steps if step.read is not None]):
        mistakes.add(InvalidInstance("step_id_twice", step.loc, id=step.id, workpoint=workpoint_id))
    read = [(step.loc, step.read) for step in steps if step.read is not None]
    if any(each.order is not None for _, each in read):
        for at, each in read:
            if each.order is None and each.predecessors is None:
                mistakes.add(InvalidInstance("no_order", (*at, "order"), step=each.name))
    return steps


Entry = TypeVar("Entry", WrittenStep, WrittenWorkPoint)


def _repeated(entries: Sequence[Entry]) -> Iterator[Entry]:
    """Those whose id another one before them has."""
    seen: set[str] = set()
    for entry in entries:
        if entry.id in seen:
            yield entry
        seen.add(entry.id)


def _written_step(entry: object, loc: Loc, number: int, mistakes: Mistakes) -> WrittenStep:
    read = mistakes.read(StepRequest, entry, loc)
    if read is not None:
        return WrittenStep(loc, read.id or str(number), read.name, read.team, read.team_size is not None, read)
    step_id, name, team = (name_in(entry, key, is_id=key != "name") for key in ("id", "name", "team"))
    sizes_team = isinstance(entry, dict) and entry.get("team_size") is not None
    is_named = _has_name(entry, "id", may_lack=True) and _has_name(entry, "name")
    return WrittenStep(loc, step_id or str(number), name, team, sizes_team, None, is_named)


def _has_name(entry: object, field: str, *, may_lack: bool = False) -> bool:
    """Whether the name in an entry can be read; `may_lack`: or there is none."""
    if not isinstance(entry, dict):
        return False
    value = entry.get(field)
    return (may_lack and value is None) or value == "" or name_in(entry, field, is_id=field == "id") is not None


# --- what steps refer to ---


class _Checked(NamedTuple):
    """A step without a mistake."""

    id: str  # <work point>.<step>
    read: StepRequest
    crews: range
    predecessors: tuple[str, ...]  # full ids


def _checked(
    workpoint: WrittenWorkPoint, step_names: "_StepNames", teams: Mapping[str, Team], mistakes: Mistakes
) -> Iterator[_Checked]:
    for step in workpoint.steps or ():
        if step.read is None:
            continue
        predecessors = step_names.resolved(workpoint, step.loc, step.read.predecessors or (), mistakes)
        if (team := teams.get(step.read.team)) is None:
            loc = (*step.loc, "team")
            mistakes.add(InvalidInstance("unknown_team", loc, step=step.name, team=step.team, known=list(teams)))
        else:
            mistakes.add(*(err.at((*step.loc, *err.loc)) for err in _crew_mistakes(step.read, team)))
            yield _Checked(f"{workpoint.id}.{step.id}", step.read, _crews(step.read, team), predecessors)


def _crews(step: StepRequest, team: Team) -> range:
    """The possible crews, if all the headcount is there at some time."""
    low = team.headcount if step.dedicated or team.dedicated else step.min_crew or team.least_crew
    return range(low, (step.max_crew or team.headcount) + 1)


def _crew_mistakes(step: StepRequest, team: Team) -> Iterator[InvalidInstance]:
    too_many = {key: people for key, people in _people(step) if people is not None and people > team.headcount}
    for key, people in too_many.items():
        yield InvalidInstance("crew_above_headcount", (key,), people=people, team=team.name, headcount=team.headcount)
    crews = _crews(step, team)
    if crews and not too_many and crews.start > team.largest_crew:
        yield InvalidInstance(
            "no_crew_there", ("team",), step=step.name, crew=crews.start, team=team.name, people=team.largest_crew
        )
    if too_many or crews:
        return
    if crews.start == team.headcount and (step.dedicated or team.dedicated):
        yield InvalidInstance(
            "dedicated_above_max_crew", ("max_crew",), people=step.max_crew, team=team.name, headcount=team.headcount
        )
    else:
        yield InvalidInstance("max_crew_below_min_crew", ("max_crew",), max_crew=step.max_crew, min_crew=crews.start)


def _people(step: StepRequest) -> Iterator[tuple[str, int | None]]:
    """The members of a step that are limited by its team's headcount."""
    yield "min_crew", step.min_crew
    yield "max_crew", step.max_crew
    yield "reference_crew", step.reference_crew


# --- the instance ---


def _workpoints(
    checked: Iterable[tuple[WrittenWorkPoint, Sequence[_Checked]]],
    teams: Mapping[str, Team],
    curve: Curve,
    places: dict[str, int],
) -> Iterator[WorkPoint]:
    """The work points; adds the places that their steps share to `places`."""
    n_modes = 0
    for written, steps in checked:
        assert written.read is not None
        name = written.read.name or f"工作点{written.id}"
        if written.steps is None:
            params = SAMPLE_PARAMS if written.read.params is None else written.read.params
            release_h = written.read.release or 0.0
            workpoint = standard_workpoint(written.id, name, params, tuple(teams.values()), curve, release_h)
            n_modes += sum(len(step.modes) for step in workpoint.steps)
        else:
            n_modes += sum(len(step.crews) for step in steps)
        if n_modes > MAX_MODES:
            raise InvalidInstance("too_many_modes", ("workpoints",), limit=MAX_MODES)
        if written.steps is not None:
            own = tuple(_steps(written.id, steps, written.read.release, teams, curve, places))
            workpoint = WorkPoint(written.id, name, own)
        yield _dated(workpoint, written.read)


def _dated(workpoint: WorkPoint, read: WorkPointRequest) -> WorkPoint:
    if read.zone is None and read.due is None and read.weight is None and read.deadline is None:
        return workpoint
    weight = 1.0 if read.weight is None else read.weight
    return replace(workpoint, zone=read.zone, due_h=read.due, weight=weight, deadline_h=read.deadline)


def _steps(
    workpoint_id: str,
    steps: Sequence[_Checked],
    release_h: float | None,
    teams: Mapping[str, Team],
    curve: Curve,
    places: dict[str, int],
) -> Iterator[Step]:
    """The steps. Those of an order of which one runs alone share a place. `release_h` is that of the work point."""
    n_of_order = Counter(step.read.order for step in steps)
    apart = {step.read.order for step in steps if step.read.parallel is False and n_of_order[step.read.order] > 1}
    for step in steps:
        read, order, crews = step.read, step.read.order, step.crews
        modes = crew_modes(
            read.duration,
            teams[read.team],
            min_crew=crews.start,
            max_crew=crews.stop - 1,
            curve=curve,
            reference_crew=read.reference_crew,
        )
        if order in apart:
            place = f"place:{workpoint_id}:{'' if order is None else order}"
            places[place] = n_of_order[order]
            held = (place, n_of_order[order] if read.parallel is False else 1)
            modes = CrewModes(modes.nominal_h, {(*demand, held): h for demand, h in modes.relative_h.items()})
        not_before_h = max(release_h or 0.0, read.release or 0.0)
        yield Step(
            *(step.id, read.name, workpoint_id, read.team, order, modes, step.predecessors, not_before_h),
            is_interruptible=read.interruptible is not False,
            is_exclusive=bool(read.exclusive),
        )


class _StepNames:
    """Every id and name that a step goes by."""

    def __init__(self, workpoints: Sequence[WrittenWorkPoint], *, is_named: bool) -> None:
        """`is_named`: False if there is a work point besides, whose id cannot be read."""
        self._full: set[str] = set()
        self._unnamed = {  # ids of work points with a step that may have any name
            each.id for each in workpoints if not (each.is_named and all(step.is_named for step in each.steps or ()))
        }
        self._is_named = is_named and not self._unnamed
        self._local: dict[str, dict[str, set[str]]] = {}
        for workpoint in workpoints:
            names = self._local.setdefault(workpoint.id, {})
            if workpoint.steps is None:
                written = [(str(number), step.name_zh) for number, step in enumerate(STANDARD_STEPS, start=1)]
            else:
                written = [(step.id, step.name or "") for step in workpoint.steps]
            for step_id, name in written:
                full = f"{workpoint.id}.{step_id}"
                self._full.add(full)
                for text in (step_id, name):
                    names.setdefault(text, set()).add(full)

    def resolved(
        self, workpoint: WrittenWorkPoint, loc: Loc, names: Sequence[str], mistakes: Mistakes
    ) -> tuple[str, ...]:
        """The full ids of the steps that `names`, the predecessors of the step at `loc`, mean inside `workpoint`."""
        found: list[str] = []
        for at, name in enumerate(names):
            where = (*loc, "predecessors", at)
            fits = self._local[workpoint.id].get(name, set()) | ({name} & self._full)
            if workpoint.id in self._unnamed or ("." in name and not self._is_named):
                continue  # it may be the name that cannot be read, and that is a mistake already
            if not fits:
                mistakes.add(InvalidInstance("unknown_predecessor", where, name=name, workpoint=workpoint.id))
            elif len(fits) > 1:
                mistakes.add(InvalidInstance("ambiguous_predecessor", where, name=name, steps=sorted(fits)))
            found += fits
        return tuple(found)
