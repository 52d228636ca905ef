"""The request of a plan's next version: what was reported, promised and decided since the last one. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from scheduler_env.errors import InvalidInstance
from scheduler_env.problem import Instance
from scheduler_env.readers import instance_from_request
from scheduler_env.replan.progress import Fact
from scheduler_env.teams import DEFAULT_PLANT
from scheduler_service.errors import InvalidInput
from scheduler_service.plans.edits import AddedStep, CancelledStep, edited, teams_by_name
from scheduler_service.plans.versions import NEEDS_PUBLISHED, Edits, PlanVersion, Request, problem_of


@dataclass(frozen=True, slots=True)
class Change:
    """What the next version has otherwise. None, or nothing in it: as before.

    Attributes:
        progress: by step id; each replaces what was reported of the step before.
        withdrawn: steps of which nothing was done after all.
        pinned: by step id; each replaces the promise about the step.
        released: steps whose promise is taken back.
        teams: by name; what it says of a team replaces that.
    """

    data_date: Any = None
    progress: Mapping[str, Any] = field(default_factory=dict)
    withdrawn: Sequence[str] = ()
    pinned: Mapping[str, Any] = field(default_factory=dict)
    released: Sequence[str] = ()
    teams: Mapping[str, Any] = field(default_factory=dict)
    frozen_hours: float | None = None
    stability_tolerance_h: float | None = None
    added: Sequence[AddedStep] = ()
    cancelled: Sequence[CancelledStep] = ()


class Next(NamedTuple):
    """The request of the next version, and its whole problem, with the published plan."""

    request: dict[str, Any]
    problem: dict[str, Any]
    edits: Edits


def next_request(base: PlanVersion, held: PlanVersion | None, change: Change) -> Next:
    """The request of the version after `base`.

    Facts are kept from version to version, each with its crew; of a step at work, what is left of the reported rest is
    kept. A promise whose start has passed, of a step that is not at work, is dropped.

    Args:
        held: the version that people have in hand.

    Raises:
        InvalidInput, InvalidInstance: the change contradicts itself, or the version before; `loc` is the place in the
            change, or in the request where that is not of the change.
    """
    before = instance_from_request(problem_of(base.request, None))
    _check_names(base.request, change)
    for name in NEEDS_PUBLISHED:
        if held is None and getattr(change, name) is not None:
            raise InvalidInput("plan_not_published", (name,), plan=base.plan, name=name)
    request, added, cancelled, places = edited(base.request, before, change.added, change.cancelled, base.number + 1)
    facts = {key: value for key, value in (request.get("progress") or {}).items() if key not in change.withdrawn}
    facts |= change.progress
    pins = {key: value for key, value in (request.get("pinned") or {}).items() if key not in change.released}
    pins |= change.pinned
    said = {
        "data_date": request.get("data_date") if change.data_date is None else change.data_date,
        "progress": facts,
        "pinned": pins,
        "teams": _with_teams(request.get("teams"), change.teams, before),
        **{name: getattr(change, name) for name in NEEDS_PUBLISHED if getattr(change, name) is not None},
    }
    request = {name: value for name, value in (request | said).items() if value not in (None, {})}
    try:
        return _placed(request, before, held, change, Edits(added, cancelled))
    except InvalidInstance as err:
        raise InvalidInstance.of([each.at(_place(each.loc, places)) for each in err.each]) from err


def complete_facts(request: Request, instance: Instance) -> dict[str, Any]:
    """`request` with the crew of each fact, so that it can be read without the plan that was published then."""
    facts = {} if instance.status is None else instance.status.facts
    if not facts:
        return dict(request)
    return {
        **request,
        "progress": {key: {**request["progress"][key], "workers": fact.crew} for key, fact in facts.items()},
    }


def _placed(request: dict[str, Any], before: Instance, held: PlanVersion | None, change: Change, edits: Edits) -> Next:
    """The request with what depends on the new data date: it is known once the request is read."""
    facts: Mapping[str, Fact] = {} if before.status is None else before.status.facts
    progress, pins = dict(request.get("progress") or {}), dict(request.get("pinned") or {})
    at_work = [
        key
        for key, entry in progress.items()
        if key not in change.progress and key in facts and entry.get("remaining_duration") is not None
    ]
    old = {key: pin for key, pin in pins.items() if key not in change.pinned}
    readable = {**request, "progress": progress | {key: {**progress[key], "remaining_duration": 0} for key in at_work}}
    readable["pinned"] = {key: pin for key, pin in pins.items() if key not in old}
    now = instance_from_request(problem_of(readable, held))
    data_date_h = 0.0 if now.status is None else now.status.data_date_h
    former_h = 0.0 if before.status is None else before.status.data_date_h
    if data_date_h < former_h:
        raise InvalidInput("data_date_back", ("data_date",), value=data_date_h, former=former_h)
    for key in at_work:
        progress[key] = {**progress[key], "remaining_duration": _hours_at_work(before, data_date_h, facts[key].end_h)}
    lapsed = _lapsed(before, old, progress, data_date_h)
    for key in lapsed:
        pins[key] = {name: value for name, value in pins[key].items() if name != "start" and value is not None}
    request = request | {"progress": progress, "pinned": {key: pin for key, pin in pins.items() if pin}}
    request = {name: value for name, value in request.items() if value != {}}
    problem = problem_of(request, held)
    request = complete_facts(request, instance_from_request(problem))
    return Next(request, problem, Edits(edits.added, edits.cancelled, tuple(lapsed)))


def _hours_at_work(instance: Instance, from_h: float, to_h: float) -> float:
    """The hours from one time to another that count for a step at work, at least 0."""
    calendar = instance.calendar
    return max(0.0, to_h - from_h if calendar is None else calendar.working(to_h) - calendar.working(from_h))


def _lapsed(before: Instance, old: Mapping[str, Any], progress: Mapping[str, Any], data_date_h: float) -> list[str]:
    """The steps not at work whose promised start has passed."""
    pinned = {} if before.status is None else before.status.pinned
    return [
        key
        for key, pin in pinned.items()
        if key in old and key not in progress and pin.start_h is not None and pin.start_h < data_date_h
    ]


def _check_names(request: Request, change: Change) -> None:
    """Refuse to take back what was never said."""
    mistakes = []
    for name, member, listed in (("withdraw", "progress", change.withdrawn), ("unpin", "pinned", change.released)):
        known = request.get(member) or {}
        mistakes += [
            InvalidInput("nothing_to_withdraw", (name, at), step=key, member=member)
            for at, key in enumerate(listed)
            if key not in known
        ]
    if mistakes:
        raise InvalidInput.of(mistakes)


def _with_teams(written: Any, changed: Mapping[str, Any], before: Instance) -> Any:
    if not changed:
        return written
    teams, known = teams_by_name(written), {team.name: team for team in before.teams}
    for name, said in changed.items():
        usual: dict[str, Any] = {}
        if name in known and name not in DEFAULT_PLANT:  # only its steps say how large it is
            usual = {"headcount": known[name].headcount, "dedicated": known[name].dedicated}
        teams[name] = {
            **usual,
            **teams.get(name, {}),
            **{key: value for key, value in said.items() if value is not None},
        }
    return teams


def _place(loc: Sequence[str | int], places: Mapping[tuple[str | int, ...], int]) -> tuple[str | int, ...]:
    """The place in the change of a place in the request."""
    number = places.get(tuple(loc[:4]))
    return tuple(loc) if number is None else ("add_steps", number, "step", *loc[4:])
