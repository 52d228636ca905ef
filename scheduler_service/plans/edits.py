"""Steps that are added to a request and cancelled in it: work that was found, work that is not needed.

Ids stay: a step or work point that was named by its number gets that number as its id, so that it keeps it when others
go. An added step without an id gets one that no other step of the plan has ever had.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from difflib import get_close_matches
from typing import Any, NamedTuple

from scheduler_env.errors import Loc
from scheduler_env.problem import Instance
from scheduler_env.standard_cycle import SAMPLE_PARAMS, STANDARD_STEPS
from scheduler_env.teams import DEFAULT_PLANT
from scheduler_env.validation import text_of_id
from scheduler_service.errors import InvalidInput
from scheduler_service.plans.versions import Request, ScopeChange

Step = dict[str, Any]


class AddedStep(NamedTuple):
    """A step to add.

    Attributes:
        step: as a request has it.
        before: ids of the steps that wait for it.
    """

    workpoint: str
    step: Mapping[str, Any]
    before: Sequence[str]
    reason: str


class CancelledStep(NamedTuple):
    """A step to cancel, by its id."""

    id: str
    reason: str


class Edited(NamedTuple):
    """A request with changed steps.

    Attributes:
        places: path of each added step in `request`, and its number among the added ones.
    """

    request: dict[str, Any]
    added: tuple[ScopeChange, ...]
    cancelled: tuple[ScopeChange, ...]
    places: Mapping[Loc, int]


def edited(
    request: Request, instance: Instance, added: Sequence[AddedStep], cancelled: Sequence[CancelledStep], number: int
) -> Edited:
    """`request` without the cancelled steps and with the added ones.

    Steps that waited for a cancelled step wait for what it waited for.

    Args:
        instance: that of `request`, with its status.
        number: of the new version.

    Raises:
        InvalidInput: a step or work point does not exist, or a cancelled step is done or at work.
    """
    refused = [*_mistakes(instance, added, cancelled)]
    if refused:
        raise InvalidInput.of(refused)
    if not added and not cancelled:
        return Edited(dict(request), (), (), {})
    plan = _Listed(request)
    gone = tuple([plan.cancel(each, instance) for each in cancelled])
    new = tuple([plan.add(each, f"v{number}-{at}") for at, each in enumerate(added, start=1)])
    if not plan.workpoints:
        raise InvalidInput("all_steps_cancelled", ("cancel_steps",))
    kept = plan.request(instance)
    return Edited(kept, new, gone, plan.places(new))


def _mistakes(
    instance: Instance, added: Sequence[AddedStep], cancelled: Sequence[CancelledStep]
) -> Iterator[InvalidInput]:
    steps = {step.id for step in instance.steps}
    workpoints = [workpoint.id for workpoint in instance.workpoints]
    facts = {} if instance.status is None else instance.status.facts
    gone: set[str] = set()
    for at, each in enumerate(cancelled):
        loc = ("cancel_steps", at, "id")
        if each.id not in steps or each.id in gone:
            yield no_such_step(each.id, steps - gone, loc)
        elif each.id in facts:
            yield InvalidInput("cancel_started", loc, step=each.id, status=facts[each.id].status)
        gone.add(each.id)
    for at, add in enumerate(added):
        if add.workpoint not in workpoints:
            loc = ("add_steps", at, "workpoint")
            yield InvalidInput("no_such_workpoint", loc, workpoint=add.workpoint[:60], known=workpoints[:20])
        for position, other in enumerate(add.before):
            if other not in steps - gone:
                yield no_such_step(other, steps - gone, ("add_steps", at, "before", position))


def no_such_step(step_id: str, steps: Collection[str], loc: Loc) -> InvalidInput:
    """The refusal of an unknown step, with the nearest one that there is."""
    near = get_close_matches(step_id[:60], steps, n=1, cutoff=0.0)
    return InvalidInput("no_such_step", loc, step=step_id[:60], nearest=near[0] if near else "")


class _Listed:
    """A request whose work points are a list, each with its id; those that change have all steps, with their ids."""

    def __init__(self, request: Request) -> None:
        self._rest = {name: value for name, value in request.items() if name not in ("params", "workpoints")}
        written = request.get("workpoints")
        if written is None:
            written = [{"id": "1", "name": "工作点1", "params": request["params"]}]
        keyed = written.items() if isinstance(written, Mapping) else ((None, each) for each in written)
        self.workpoints: dict[str, dict[str, Any]] = {}
        for position, (key, each) in enumerate(keyed, start=1):
            own = each.get("id") if each.get("id") is not None else key
            workpoint_id = str(own if own is not None else position)
            self.workpoints[workpoint_id] = {**each, "id": workpoint_id}

    def steps(self, workpoint_id: str) -> list[Step]:
        """The steps of a work point, to be changed."""
        workpoint = self.workpoints[workpoint_id]
        written = workpoint.get("steps")
        if not written:
            params = workpoint.pop("params", None) or SAMPLE_PARAMS
            written = [
                {"name": each.name_zh, "order": each.order, "team": each.team, "duration": hours}
                for each, hours in zip(STANDARD_STEPS, params, strict=True)
            ]
        listed = [
            {**step, "id": str(position if step.get("id") is None else step["id"])}
            for position, step in enumerate(written, start=1)
        ]
        workpoint["steps"] = listed
        return listed

    def cancel(self, cancelled: CancelledStep, instance: Instance) -> ScopeChange:
        step = next(step for step in instance.steps if step.id == cancelled.id)
        steps = self.steps(step.workpoint_id)
        local_id = step.id.removeprefix(f"{step.workpoint_id}.")
        gone = next(each for each in steps if each["id"] == local_id)
        instead = [self._full(step.workpoint_id, entry) for entry in gone.get("predecessors") or ()]
        steps.remove(gone)
        for workpoint_id in [*self.workpoints]:
            if not any(each.get("predecessors") for each in self.workpoints[workpoint_id].get("steps") or ()):
                continue
            for other in self.steps(workpoint_id):
                before = [self._full(workpoint_id, entry, gone, step) for entry in other.get("predecessors") or ()]
                if any(_id_of(entry) == step.id for entry in before):
                    kept = [entry for entry in before if _id_of(entry) != step.id]
                    other["predecessors"] = kept + [entry for entry in instead if entry not in kept]
        if not steps:
            del self.workpoints[step.workpoint_id]
        for name in ("progress", "pinned"):
            if step.id in (self._rest.get(name) or {}):
                self._rest[name] = {key: value for key, value in self._rest[name].items() if key != step.id}
        return ScopeChange(step.id, step.name, step.workpoint_id, step.team, cancelled.reason)

    def add(self, added: AddedStep, usual_id: str) -> ScopeChange:
        if added.workpoint not in self.workpoints:  # all its other steps are cancelled
            self.workpoints[added.workpoint] = {"id": added.workpoint, "steps": []}
            steps = self.workpoints[added.workpoint]["steps"]
        else:
            steps = self.steps(added.workpoint)
        step = {**added.step, "id": text_of_id(added.step.get("id", usual_id))}
        steps.append(step)
        full_id = f"{added.workpoint}.{step['id']}"
        for other in added.before:
            workpoint_id, waiting = self._find(other)
            waiting["predecessors"] = [*(waiting.get("predecessors") or ()), full_id]
            assert workpoint_id in self.workpoints
        name, team = str(step.get("name") or ""), str(step.get("team") or "")
        return ScopeChange(full_id, name, added.workpoint, team, added.reason)

    def request(self, instance: Instance) -> dict[str, Any]:
        """The whole request. A team whose size only a cancelled step told keeps it."""
        left = {str(step.get("team")) for each in self.workpoints.values() for step in each.get("steps") or ()}
        sized = {
            str(step.get("team"))
            for each in self.workpoints.values()
            for step in each.get("steps") or ()
            if step.get("team_size") is not None
        }
        rest = dict(self._rest)
        teams = teams_by_name(rest.get("teams"))
        for team in instance.teams:
            if team.name in left - sized - teams.keys() and team != DEFAULT_PLANT.get(team.name):
                teams[team.name] = {"headcount": team.headcount, "dedicated": team.dedicated}
        if teams:
            rest["teams"] = teams
        return {**rest, "workpoints": [*self.workpoints.values()]}

    def places(self, new: Sequence[ScopeChange]) -> dict[Loc, int]:
        """Path of each added step in the request -> its number."""
        found: dict[Loc, int] = {}
        numbers = {each.id: number for number, each in enumerate(new)}
        for at, (workpoint_id, workpoint) in enumerate(self.workpoints.items()):
            for position, step in enumerate(workpoint.get("steps") or ()):
                number = numbers.get(f"{workpoint_id}.{step.get('id')}")
                if number is not None:
                    found["workpoints", at, "steps", position] = number
        return found

    def _find(self, full_id: str) -> tuple[str, Step]:
        for workpoint_id in self.workpoints:
            if full_id.startswith(f"{workpoint_id}."):
                for step in self.steps(workpoint_id):
                    if f"{workpoint_id}.{step['id']}" == full_id:
                        return workpoint_id, step
        raise InvalidInput("no_such_step", ("add_steps",), step=full_id[:60], nearest="")

    def _full(self, workpoint_id: str, entry: Any, gone: Step | None = None, cancelled: Any = None) -> Any:
        """An entry of `predecessors` with the full id of the step that it means; `gone` is not listed any more."""
        name = _id_of(entry)
        for position, step in enumerate(self.workpoints[workpoint_id].get("steps") or (), start=1):
            step_id = position if step.get("id") is None else step["id"]
            if name in (str(step_id), step.get("name")):
                return _with_id(entry, f"{workpoint_id}.{step_id}")
        is_meant = gone is not None and cancelled.workpoint_id == workpoint_id and name in (gone["id"], gone["name"])
        return _with_id(entry, cancelled.id) if is_meant else entry


def _id_of(entry: Any) -> str:
    """The step that an entry of `predecessors` names."""
    return str(entry.get("id") if isinstance(entry, Mapping) else entry)


def _with_id(entry: Any, full_id: str) -> Any:
    return {**entry, "id": full_id} if isinstance(entry, Mapping) else full_id


def teams_by_name(written: Any) -> dict[str, Any]:
    """The `teams` of a request, by their names."""
    if isinstance(written, Mapping):
        return {str(name): {**team} for name, team in written.items()}
    return {str(team["name"]): {key: value for key, value in team.items() if key != "name"} for team in written or ()}
