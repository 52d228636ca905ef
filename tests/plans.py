"""Versions of plans for tests of what is stored and of what is computed from it."""

from dataclasses import replace
from typing import Any

from scheduler_env import Schedule
from scheduler_env.placements import packed
from scheduler_env.readers import instance_from_request
from scheduler_service.plans.changes import Change, complete_facts, next_request
from scheduler_service.plans.versions import PlanVersion


def solved(request: dict[str, Any], evaluations: int = 500) -> Schedule:
    """A schedule of a request, by rules and a short search."""
    return solver().solve(instance_from_request(request), time_budget_ms=60_000, max_evaluations=evaluations).schedule


def solver() -> Any:
    from pathlib import Path

    from scheduler_env.agent import load_agent

    return load_agent(Path(__file__).parent.parent / "models" / "seed" / "ddqn_v2.pth")


def version(plan: str, request: dict[str, Any], schedule: Schedule | None = None, **more: Any) -> PlanVersion:
    """The first version of a plan, or another one."""
    found = schedule or solved(request)
    values = {
        "plan": plan, "number": 1, "kind": "created", "by": "张工", "reason": "", "based_on": None, "published": None,
        "digest": "d1", "request": complete_facts(request, found.instance), "placements": packed(found),
        "makespan_h": found.makespan_h, "lower_bound_h": 0.0, "n_steps": len(found.steps), "model_key": "M",
        "request_id": "r1",
    }  # fmt: skip
    return PlanVersion(**{**values, **more})


def after(base: PlanVersion, held: PlanVersion | None = None, **change: Any) -> PlanVersion:
    """The version that a change of `base` makes."""
    found = next_request(base, held, Change(**change))
    made = version(base.plan, found.request, solved(found.problem), edits=found.edits)
    published = None if held is None else held.number
    return replace(
        made, number=base.number + 1, kind="replan", based_on=base.number, published=published, digest=f"d{base.number}"
    )
