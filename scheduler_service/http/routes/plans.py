"""Plans: a shutdown's plan under a name, with a version for each report, replan and edit."""

from typing import Any

from scheduler_env.errors import InvalidInstance
from scheduler_service.clock import to_iso
from scheduler_service.errors import (
    AmbiguousModelName,
    ModelNotFound,
    Overloaded,
    PlanConflict,
    PlanNotFound,
    RunNotFound,
    StorageUnavailable,
)
from scheduler_service.http.contract import plans as contract
from scheduler_service.http.contract.api import Api, success
from scheduler_service.http.contract.plans import PlanName
from scheduler_service.http.runs.details import details
from scheduler_service.http.runs.planning import change, create
from scheduler_service.http.services import Services
from scheduler_service.plans.records import Publication
from scheduler_service.plans.versions import PlanVersion

api = Api("plans", "Keep a plan from its first version to the last report.")
MADE = (ModelNotFound, AmbiguousModelName, PlanConflict, InvalidInstance, Overloaded, StorageUnavailable)


@api.post("/plans", scope="run", lane=None, success=201, raises=(*MADE, RunNotFound))
def create_plan(parts: Services, body: contract.NewPlanRequest) -> contract.PlanVersionAnswer:
    """Create a plan.

    Its first version is the schedule of a request, or of a recorded run.
    """
    version = create(parts, body)
    return parts.storage.run(lambda: _answer(parts, version))


@api.get("/plans")
def list_plans(parts: Services, query: contract.PlansQuery) -> contract.PlansAnswer:
    """List plans by name."""
    found = parts.plans.plans(query.limit, after=query.after, search=query.search)
    plans = [
        {
            "name": each.latest.plan,
            "created": to_iso(each.created),
            "published": each.published,
            "latest": told(each.latest),
        }
        for each in found
    ]
    return success(plans=plans, next=plans[-1]["name"] if len(plans) == query.limit else None)


@api.get("/plans/{name}", raises=(PlanNotFound,))
def get_plan(parts: Services, name: PlanName, query: contract.VersionQuery) -> contract.PlanVersionAnswer:
    """Get a version of a plan: its request and its schedule."""
    return _answer(parts, parts.plans.version(name, query.version))


@api.get("/plans/{name}/versions", raises=(PlanNotFound,))
def list_versions(parts: Services, name: PlanName) -> contract.PlanVersionsAnswer:
    """List the versions of a plan, the latest first, and which of them people held since when."""
    versions = [told(each) for each in parts.plans.versions(name)]
    publications = [_published(each) for each in parts.plans.publications(name)]
    return success(plan=name, versions=versions, publications=publications)


@api.post("/plans/{name}/progress", scope="run", lane=None, success=201, raises=(*MADE, PlanNotFound))
def report_progress(parts: Services, name: PlanName, body: contract.PlanProgressRequest) -> contract.PlanVersionAnswer:
    """Report what was done, and plan again.

    Earlier reports stay; a step at work that nothing new is said about goes on as it was reported.
    """
    version = change(parts, name, body, "progress")
    return parts.storage.run(lambda: _answer(parts, version))


@api.post("/plans/{name}/replan", scope="run", lane=None, success=201, raises=(*MADE, PlanNotFound))
def replan(parts: Services, name: PlanName, body: contract.PlanReplanRequest) -> contract.PlanVersionAnswer:
    """Change a plan: reports, promises, people, added and cancelled steps.

    Without any of these the plan is made again as it is, with more time or another model.
    """
    version = change(parts, name, body, "replan")
    return parts.storage.run(lambda: _answer(parts, version))


@api.post("/plans/{name}/publish", scope="run", raises=(PlanNotFound,))
def publish(parts: Services, name: PlanName, body: contract.PlanPublishRequest) -> contract.PublishedAnswer:
    """Publish a version: people hold it from now on, and later versions move as little of it as they may."""
    made = parts.plans.publish(name, body.version, body.by, body.reason)
    return success(plan=name, publication=_published(made))


def told(version: PlanVersion) -> dict[str, Any]:
    """The JSON of a version, without its schedule."""
    assert version.timestamp is not None
    return {
        "number": version.number,
        "timestamp": to_iso(version.timestamp),
        "kind": version.kind,
        "by": version.by,
        "reason": version.reason,
        "based_on": version.based_on,
        "published": version.published,
        "makespan": version.makespan_h,
        "lower_bound": version.lower_bound_h,
        "n_steps": version.n_steps,
        "model_key": version.model_key,
        "request_id": version.request_id,
        "added": [_scope(each) for each in version.edits.added],
        "cancelled": [_scope(each) for each in version.edits.cancelled],
        "lapsed": list(version.edits.lapsed),
    }


def _scope(each: Any) -> dict[str, str]:
    names = ("id", "name", "workpoint_id", "team", "reason")
    return {name: getattr(each, name) for name in names}


def _published(each: Publication) -> dict[str, Any]:
    timestamp = to_iso(each.timestamp)
    return {"version": each.version, "timestamp": timestamp, "by": each.by, "reason": each.reason}


def _answer(parts: Services, version: PlanVersion) -> Any:
    plan = version.plan
    publications = parts.plans.publications(plan)
    return success(
        plan=plan,
        latest=parts.plans.latest(plan).number,
        published=publications[0].version if publications else None,
        version=told(version),
        request=version.request,
        schedule=details(parts.plans.schedule(version)),
    )
