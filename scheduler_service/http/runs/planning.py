"""The next version of a plan: its request, its schedule and its record."""

from collections.abc import Callable, Mapping
from typing import Any

from scheduler_env.errors import InvalidInstance
from scheduler_service.errors import InvalidInput
from scheduler_service.http.bodies import validated
from scheduler_service.http.contract import plans as contract
from scheduler_service.http.contract.runs import RunRequest
from scheduler_service.http.runs.lanes import run_and_record
from scheduler_service.http.runs.running import Run
from scheduler_service.http.services import Services
from scheduler_service.plans.changes import Change, Next, complete_facts, next_request
from scheduler_service.plans.edits import AddedStep, CancelledStep
from scheduler_service.plans.records import conflict
from scheduler_service.plans.versions import Edits, Kind, PlanVersion, digest_of
from scheduler_service.telemetry.history import run_of_request
from scheduler_service.telemetry.published import ABOUT_PUBLISHED, recorded_schedule


def create(parts: Services, body: contract.NewPlanRequest) -> PlanVersion:
    """The first version of a new plan; of the existing one, if the same request has created it.

    Raises:
        PlanConflict: there is another plan of this name.
        RunNotFound: no run has the request id.
        InvalidInput, InvalidInstance: the request is invalid, or the run has no schedule.
    """
    digest = _digest("created", body)
    existing = parts.storage.run(lambda: parts.plans.find(body.name, 1))
    if existing is not None:
        if existing.digest != digest:
            raise conflict(body.name, None, existing.number)
        return existing
    if body.request_id is not None:
        request_id = body.request_id
        version = parts.storage.run(lambda: _recorded(parts, body, request_id, digest))
    else:
        assert body.request is not None
        if body.request.frozen_hours is not None or body.request.stability_tolerance_h is not None:
            raise InvalidInput("plan_publishes_itself", ("request",))
        try:
            run = run_and_record(body.request, parts)
        except (InvalidInstance, InvalidInput) as err:
            raise type(err).of([each.at(("request", *each.loc)) for each in err.each]) from err
        request = complete_facts(body.request.problem, run.solution.schedule.instance)
        version = _version(body.name, 1, "created", body, digest, None, None, request, Edits(), run)
    return parts.storage.run(lambda: parts.plans.add(version))


def change(parts: Services, plan: str, body: contract.PlanProgressRequest, kind: Kind) -> PlanVersion:
    """The next version of a plan; the existing one, if the same change has made it already.

    Raises:
        PlanNotFound: there is no such plan.
        PlanConflict: there is a later version than the one that the change is based on.
        InvalidInput, InvalidInstance: the change is invalid.
    """
    digest = _digest(kind, body)
    base, held, made = parts.storage.run(lambda: _state(parts, plan, body.based_on))
    if base.number != body.based_on:
        if made is not None and made.digest == digest:
            return made
        raise conflict(plan, body.based_on, base.number)
    found: Next = parts.reading.run(lambda: next_request(base, held, change_of(body)))
    named = {} if held is None else {"published": held.request_id or found.problem["published"]}
    asked = validated(RunRequest, {**found.request, **named, **body.options})
    run = run_and_record(asked, parts, lambda: found.problem)
    published = None if held is None else held.number
    version = _version(
        plan, base.number + 1, kind, body, digest, base.number, published, found.request, found.edits, run
    )
    return parts.storage.run(lambda: parts.plans.add(version))


def _state(parts: Services, plan: str, based_on: int) -> tuple[PlanVersion, PlanVersion | None, PlanVersion | None]:
    """The latest version, the one that people hold, and the one that was made from `based_on`."""
    latest = parts.plans.latest(plan)
    made = parts.plans.find(plan, based_on + 1) if based_on < latest.number else None
    return latest, parts.plans.held(plan), made


def change_of(body: contract.PlanProgressRequest) -> Change:
    """The change that a request describes."""
    said: dict[str, Any] = {"data_date": body.data_date, "progress": body.progress, "withdrawn": body.withdraw}
    if isinstance(body, contract.PlanReplanRequest):
        said |= {
            "pinned": body.pinned,
            "released": body.unpin,
            "teams": {name: _written(team) for name, team in body.teams.items()},
            "frozen_hours": body.frozen_hours,
            "stability_tolerance_h": body.stability_tolerance_h,
            "added": [
                AddedStep(each.workpoint, _without_nulls(each.step), each.before, each.reason)
                for each in body.add_steps
            ],
            "cancelled": [CancelledStep(each.id, each.reason) for each in body.cancel_steps],
        }
    return Change(**said)


def _without_nulls(step: Any) -> dict[str, Any]:
    return {name: value for name, value in step.items() if value is not None}


def _written(entry: Any) -> dict[str, Any]:
    """An entry as it stands in a request."""
    written: dict[str, Any] = entry.model_dump(by_alias=True, exclude_none=True, warnings=False)
    return written


def _recorded(parts: Services, body: contract.NewPlanRequest, request_id: str, digest: str) -> PlanVersion:
    """The first version of a plan that is a recorded run."""
    from scheduler_env.placements import packed  # imports numpy, which is slow

    found, asked, placements = run_of_request(parts.monitor.engine, request_id)
    schedule = recorded_schedule(asked, placements, parts.monitor.engine)
    if asked is None or schedule is None:
        raise InvalidInput("run_without_schedule", ("request_id",), request_id=request_id)
    request = {name: value for name, value in asked.items() if name not in ABOUT_PUBLISHED}
    return PlanVersion(
        plan=body.name,
        number=1,
        kind="created",
        by=body.by,
        reason=body.reason,
        based_on=None,
        published=None,
        digest=digest,
        request=complete_facts(request, schedule.instance),
        placements=packed(schedule),
        makespan_h=schedule.makespan_h,
        lower_bound_h=min(found["lower_bound"] or 0.0, schedule.makespan_h),
        n_steps=len(schedule.steps),
        model_key=found["model_key"],
        request_id=request_id,
    )


def _version(
    plan: str,
    number: int,
    kind: Kind,
    body: contract.Authored,
    digest: str,
    based_on: int | None,
    published: int | None,
    request: Mapping[str, Any],
    edits: Edits,
    run: Run,
) -> PlanVersion:
    from scheduler_env.placements import packed

    schedule = run.solution.schedule
    return PlanVersion(
        plan=plan,
        number=number,
        kind=kind,
        by=body.by,
        reason=body.reason,
        based_on=based_on,
        published=published,
        digest=digest,
        request=request,
        placements=packed(schedule),
        makespan_h=schedule.makespan_h,
        lower_bound_h=run.solution.lower_bound_h,
        n_steps=len(schedule.steps),
        model_key=run.model.key,
        request_id=run.request_id,
        edits=edits,
    )


def _digest(kind: Kind, body: contract.Authored) -> str:
    said: Callable[..., Mapping[str, Any]] = body.model_dump
    return digest_of({"kind": kind, **said(mode="json", exclude_unset=True, warnings=False)})
