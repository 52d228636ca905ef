"""Where things stand, as a request says it: read, checked against the instance, and every refusal says where."""

from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from typing import NamedTuple

from scheduler_env.calendars import Calendar
from scheduler_env.errors import InvalidInstance, Loc
from scheduler_env.mistakes import Mistakes
from scheduler_env.problem import Instance, Step
from scheduler_env.problem_request import (
    MAX_STATUS_ENTRIES,
    DoneRequest,
    PinRequest,
    PublishedRequest,
    RunningRequest,
    StatusRequest,
)
from scheduler_env.replan.open_steps import GATE_TOLERANCE_H, modes_left, status_of
from scheduler_env.replan.pins import mistakes_of_pins
from scheduler_env.replan.progress import Fact, Placement, Status
from scheduler_env.values import shortened
from scheduler_env.working_time import in_hours_at_work

MEMBERS = tuple(StatusRequest.model_fields)


class WrittenStatus(NamedTuple):
    """The members of a request about its status, each entry valid by itself."""

    head: StatusRequest | None
    progress: Mapping[str, DoneRequest | RunningRequest]
    pinned: Mapping[str, PinRequest]
    published: Mapping[str, PublishedRequest] | None


def says_status(payload: Mapping[str, object]) -> bool:
    """Whether a request says anything about where things stand."""
    return any(payload.get(name) is not None for name in MEMBERS)


def read_status(payload: Mapping[str, object], mistakes: Mistakes) -> WrittenStatus:
    """The status as it is written; what it refers to is not checked."""
    head = mistakes.read(StatusRequest, {name: payload.get(name) for name in MEMBERS}, ())
    progress: dict[str, DoneRequest | RunningRequest] = {}
    for loc, step_id, entry in _entries(payload, "progress", mistakes):
        said = entry.get("status") if isinstance(entry, dict) else None
        if isinstance(entry, dict) and said not in ("done", "running"):
            mistakes.add(InvalidInstance("no_such_status", (*loc, "status"), value=shortened(said)))
            continue
        model: type[DoneRequest] | type[RunningRequest] = DoneRequest if said == "done" else RunningRequest
        read = mistakes.read(model, entry, loc)
        if read is not None:
            progress[step_id] = read
    pinned = {}
    for loc, step_id, entry in _entries(payload, "pinned", mistakes):
        pin = mistakes.read(PinRequest, entry, loc)
        if pin is not None and pin.start is None and pin.workers is None:
            mistakes.add(InvalidInstance("pin_says_nothing", loc, step=step_id))
        elif pin is not None:
            pinned[step_id] = pin
    if progress and payload.get("data_date") is None:
        mistakes.add(InvalidInstance("missing", ("data_date",), name="data_date"))
    published = _published(payload, mistakes)
    if payload.get("published") is None:
        for name in ("frozen_hours", "stability_tolerance_h"):
            if payload.get(name) is not None:
                mistakes.add(InvalidInstance("needs_published", (name,), name=name))
    return WrittenStatus(head, progress, pinned, published)


def _published(payload: Mapping[str, object], mistakes: Mistakes) -> dict[str, PublishedRequest] | None:
    written = payload.get("published")
    if written is None:
        return None
    if isinstance(written, str):  # the service has replaced those it knows by what they planned
        mistakes.add(InvalidInstance("published_unknown", ("published",), request_id=shortened(written)))
        return None
    read: dict[str, PublishedRequest | None] = {
        step_id: mistakes.read(PublishedRequest, entry, loc)
        for loc, step_id, entry in _entries(payload, "published", mistakes)
    }
    return {step_id: each for step_id, each in read.items() if each is not None}


def _entries(payload: Mapping[str, object], name: str, mistakes: Mistakes) -> list[tuple[Loc, str, object]]:
    written = payload.get(name)
    if written is None:
        return []
    if not isinstance(written, dict):
        mistakes.add(InvalidInstance("dict_type", (name,), value=shortened(written)))
        return []
    entries = mistakes.entries(written, (name,), MAX_STATUS_ENTRIES)
    return [(loc, key, entry) for loc, key, entry in entries if key is not None]


def with_status(instance: Instance, written: WrittenStatus, mistakes: Mistakes) -> Instance:
    """`instance` with its status.

    Raises:
        InvalidInstance: a step or a crew does not exist, times contradict each other or the data date, or pins cannot
            be kept.
    """
    head = written.head or StatusRequest()
    data_date_h = head.data_date or 0.0
    steps = {step.id: step for step in instance.steps}
    teams = {team.name: team.headcount for team in instance.teams}
    published = None
    if written.published is not None:
        published = {step_id: Placement(each.start, each.workers) for step_id, each in written.published.items()}
    facts: dict[str, Fact] = {}
    for step_id, each in written.progress.items():
        loc = ("progress", step_id)
        if (step := _step(step_id, steps, loc, mistakes)) is None:
            continue
        found = [*_mistakes_of_fact(each, data_date_h, loc)]
        crew = each.workers or _usual_crew(step, None if published is None else published.get(step_id))
        if crew is None:
            found.append(InvalidInstance("missing", (*loc, "workers"), name="workers"))
        elif crew > teams.get(step.team, crew):
            found.append(
                InvalidInstance(
                    "crew_above_headcount",
                    (*loc, "workers"),
                    people=crew,
                    team=step.team,
                    headcount=teams[step.team],
                )
            )
        elif not found:
            fact = _fact(step, each, crew, data_date_h, instance.calendar)
            if fact is None:
                found.append(
                    InvalidInstance("remaining_unknown", (*loc, "remaining_duration"), step=step_id, crew=crew)
                )
            else:
                facts[step_id] = fact
        mistakes.add(*found)
    pinned, overtaken = {}, {}
    for step_id, pin in written.pinned.items():
        loc = ("pinned", step_id)
        if (step := _step(step_id, steps, loc, mistakes)) is None:
            continue
        crews = [step.crew(mode) for mode in step.modes]
        if pin.workers is not None and pin.workers not in crews:
            mistakes.add(
                InvalidInstance("no_such_crew", (*loc, "workers"), step=step_id, crew=pin.workers, crews=crews)
            )
        elif step_id in written.progress:
            overtaken[step_id] = Placement(pin.start, pin.workers)
        elif pin.start is not None and pin.start < data_date_h:
            mistakes.add(InvalidInstance("pin_in_the_past", (*loc, "start"), value=pin.start, limit=data_date_h))
        else:
            pinned[step_id] = Placement(pin.start, pin.workers)
    mistakes.refuse()
    placed = instance.with_status(
        Status(
            data_date_h,
            facts,
            pinned,
            overtaken,
            published,
            head.frozen_hours or 0.0,
            head.stability_tolerance_h or 0.0,
        )
    )
    mistakes.add(*_mistakes_of_pins(placed))
    mistakes.refuse()
    return placed


def _step(step_id: str, steps: Mapping[str, Step], loc: Loc, mistakes: Mistakes) -> Step | None:
    step = steps.get(step_id)
    if step is None:
        near = get_close_matches(step_id[:60], steps, n=1, cutoff=0.0)
        mistakes.add(InvalidInstance("no_such_step", loc, step=step_id, nearest=near[0] if near else ""))
    return step


def _mistakes_of_fact(each: DoneRequest | RunningRequest, data_date_h: float, loc: Loc) -> list[InvalidInstance]:
    found = []
    if each.actual_start > data_date_h:
        found.append(
            InvalidInstance("after_data_date", (*loc, "actual_start"), value=each.actual_start, limit=data_date_h)
        )
    if isinstance(each, DoneRequest):
        if each.actual_finish > data_date_h:
            found.append(
                InvalidInstance("after_data_date", (*loc, "actual_finish"), value=each.actual_finish, limit=data_date_h)
            )
        if each.actual_finish < each.actual_start:
            found.append(
                InvalidInstance(
                    "finish_before_start", (*loc, "actual_finish"), begin=each.actual_start, end=each.actual_finish
                )
            )
    return found


def _usual_crew(step: Step, published: Placement | None) -> int | None:
    """The crew of which nothing is said: that of the published plan, or the only possible one."""
    if published is not None:
        return published.crew
    crews = {step.crew(mode) for mode in step.modes}
    return crews.pop() if len(crews) == 1 else None


def _fact(
    step: Step, each: DoneRequest | RunningRequest, crew: int, data_date_h: float, calendar: Calendar | None
) -> Fact | None:
    """The fact; None if nobody says how long the step still takes, and the crew is none that it can have."""
    if isinstance(each, DoneRequest):
        return Fact("done", each.actual_start, each.actual_finish, crew)
    if each.remaining_duration is not None:
        return Fact("running", each.actual_start, _end(data_date_h, each.remaining_duration, calendar), crew)
    for mode in step.modes:
        if step.crew(mode) == crew:
            planned_h = _end(each.actual_start, mode.duration_h, calendar)
            return Fact("running", each.actual_start, max(planned_h, data_date_h), crew, planned_h < data_date_h)
    return None


def _end(start_h: float, duration_h: float, calendar: Calendar | None) -> float:
    return start_h + duration_h if calendar is None else calendar.add(start_h, duration_h)


def _mistakes_of_pins(instance: Instance) -> list[InvalidInstance]:
    """Why the pins cannot all be kept; with a calendar, found in hours at work."""
    calendar, pinned = instance.calendar, status_of(instance).pinned
    if calendar is None:
        return mistakes_of_pins(instance, pinned)
    found = [*_pins_at_rest(instance, pinned, calendar)]
    if found:
        return found
    work = in_hours_at_work(instance)
    for mistake in mistakes_of_pins(work, status_of(work).pinned):
        told = mistake.at(mistake.loc)
        for name in ("start", "earliest", "hour"):
            if name in told.params:
                told.params[name] = calendar.begin(told.params[name])
        found.append(told)
    return found


def _pins_at_rest(instance: Instance, pinned: Mapping[str, Placement], calendar: Calendar) -> Iterator[InvalidInstance]:
    """Pins whose step would begin while nobody works, or be interrupted although it may not."""
    for step in instance.steps:
        pin = pinned.get(step.id)
        if pin is None or pin.start_h is None:
            continue
        loc, start_h = ("pinned", step.id, "start"), pin.start_h
        if (next_h := calendar.next(start_h)) > start_h + GATE_TOLERANCE_H:
            yield InvalidInstance("pin_outside_calendar", loc, step=step.id, start=start_h, next=next_h)
        elif not step.is_interruptible:
            shortest_h = min(step.modes[number].duration_h for number in modes_left(step, pin))
            if calendar.add(start_h, shortest_h) > start_h + shortest_h + GATE_TOLERANCE_H:
                rest_h = calendar.last(start_h + shortest_h)
                yield InvalidInstance("pin_interrupted", loc, step=step.id, start=start_h, rest=rest_h)
