"""What is computed from a plan: comparison, progress, explanation, advice and risk.

The modules of `scheduler_service.plans` are imported by the handlers: some of them import the compiler, which is slow.
"""

from collections.abc import Callable
from typing import Any

from flask import request

from scheduler_env.problem import Instance
from scheduler_env.schedule import ScheduledStep, Solution
from scheduler_service.errors import ModelNotFound, Overloaded, PlanConflict, PlanNotFound
from scheduler_service.http.contract import plan_figures as contract
from scheduler_service.http.contract.api import success
from scheduler_service.http.contract.plans import PlanName, VersionQuery
from scheduler_service.http.routes.plans import api as api
from scheduler_service.http.server.offload import HAS_CLIENT_LEFT, Ticket
from scheduler_service.http.services import Services
from scheduler_service.plans.versions import PlanVersion, problem_of


@api.get("/plans/{name}/compare", raises=(PlanNotFound, PlanConflict))
def compare_versions(parts: Services, name: PlanName, query: contract.ComparisonQuery) -> contract.PlanComparisonAnswer:
    """Compare two versions: what moved, by how much, and whose crews."""
    from scheduler_service.plans.comparison import compare

    before, after = parts.plans.baseline(name, query.before), parts.plans.version(name, query.after)
    found = compare(parts.plans.schedule(before), parts.plans.schedule(after))
    reasons = {
        each.id: each.reason
        for version in parts.plans.versions(name)
        for each in (*version.edits.added, *version.edits.cancelled)
    }
    return success(
        plan=name,
        before=before.number,
        after=after.number,
        makespan_before=found.makespan_before_h,
        makespan=found.makespan_after_h,
        moved=[
            {
                **_named(each.after),
                "status": each.state,
                "start_before": each.before.start_h,
                "start": each.after.start_h,
                "shift": each.shift_h,
                "end_before": each.before.end_h,
                "end": each.after.end_h,
                "workers_before": each.before.crew,
                "workers": each.after.crew,
            }
            for each in found.moved
        ],
        teams=[
            {
                "team": each.team,
                "moved": each.moved,
                "crews_changed": each.crews_changed,
                "total_shift": each.total_shift_h,
            }
            for each in found.teams
        ],
        added=[_named(each) | {"reason": reasons.get(each.step.id, "")} for each in found.added],
        cancelled=[_named(each) | {"reason": reasons.get(each.step.id, "")} for each in found.gone],
    )


@api.get("/plans/{name}/progress", raises=(PlanNotFound, PlanConflict))
def get_progress(parts: Services, name: PlanName, query: contract.ProgressQuery) -> contract.PlanProgressAnswer:
    """Planned and earned value at the data date, and the S-curve."""
    from scheduler_service.plans.earned_value import earned_value

    baseline, version = parts.plans.baseline(name, query.baseline), parts.plans.version(name, query.version)
    found = earned_value(parts.plans.schedule(baseline), parts.plans.schedule(version))
    return success(
        plan=name,
        version=version.number,
        baseline=baseline.number,
        data_date=found.data_date_h,
        planned_value=found.planned_value,
        earned_value=found.earned_value,
        spi=found.spi,
        total=found.total,
        added=found.added._asdict(),
        cancelled=found.cancelled._asdict(),
        baseline_end=found.baseline_end_h,
        forecast_end=found.forecast_end_h,
        curve=[point._asdict() for point in found.curve],
    )


@api.get("/plans/{name}/explain", raises=(PlanNotFound,))
def explain_plan(parts: Services, name: PlanName, query: VersionQuery) -> contract.PlanExplanationAnswer:
    """Explain the makespan: the chain of steps and waits that it consists of."""
    from scheduler_service.plans.explanation import explain

    version = parts.plans.version(name, query.version)
    shown = parts.plans.schedule(version)
    chain = [
        {
            **_named(link.placed),
            "start": link.placed.start_h,
            "end": link.placed.end_h,
            "wait": link.wait_h,
            "hours": link.hours,
            "reason": link.reason,
            "cause": link.cause,
            "resource": link.resource,
        }
        for link in explain(shown)
    ]
    return success(plan=name, version=version.number, makespan=shown.makespan_h, chain=chain)


@api.get("/plans/{name}/advice", lane=None, raises=(PlanNotFound, ModelNotFound, Overloaded))
def advise_on_people(parts: Services, name: PlanName, query: contract.AdviceQuery) -> contract.PlanAdviceAnswer:
    """What one and two more people in each team would save.

    Each case is planned by a short search; headcounts, and so durations, stay.
    """
    from scheduler_service.plans.advice import Advice, advise

    version = parts.storage.run(lambda: parts.plans.version(name, query.version))
    ticket, budget_ms = Ticket(), min(query.time_budget_ms, parts.settings.max_time_budget_ms)

    def begin() -> Advice:
        agent = parts.models.load_model(parts.experiments.default_model, oldest=True).agent

        def solve(instance: Instance, limit_ms: float) -> Solution:
            return agent.solve(instance, time_budget_ms=limit_ms, stop=lambda: ticket.is_dropped)

        return advise(problem_of(version.request, None), version.makespan_h, solve, budget_ms)

    is_gone = request.environ.get(HAS_CLIENT_LEFT)
    found = parts.improving.run(begin, is_gone=is_gone, ticket=ticket)
    savings = [
        {
            "team": each.team,
            "people": each.people,
            "makespan": each.makespan_h,
            "saves": each.saves_h,
            "proved": each.is_proved,
        }
        for each in found.savings
    ]
    return success(plan=name, version=version.number, makespan=found.makespan_h, proved=found.is_proved, teams=savings)


@api.post("/plans/{name}/risk", scope="read", lane=None, raises=(PlanNotFound, Overloaded))
def simulate_risk(parts: Services, name: PlanName, body: contract.PlanRiskRequest) -> contract.PlanRiskAnswer:
    """The makespan if durations vary: P50, P80, and how often each step is critical.

    Simulated with the plan's order and crews. Nothing is stored.
    """
    version = parts.storage.run(lambda: parts.plans.version(name, body.version or 0))
    ticket, is_gone = Ticket(), request.environ.get(HAS_CLIENT_LEFT)
    return parts.improving.run(
        lambda: _risk(parts, version, body, lambda: ticket.is_dropped), is_gone=is_gone, ticket=ticket
    )


def _risk(parts: Services, version: PlanVersion, body: contract.PlanRiskRequest, stop: Callable[[], bool]) -> Any:
    from scheduler_service.plans.risk import simulate, uncertainties

    shown = parts.plans.schedule(version)
    steps = {key: (each.duration, each.chance) for key, each in body.steps.items()}
    found = simulate(shown, uncertainties(shown, body.spread, steps), samples=body.samples, seed=body.seed, stop=stop)
    names = {step.id: step.name for step in shown.instance.steps}
    often = sorted(found.critical.items(), key=lambda item: (-item[1], item[0]))
    return success(
        plan=version.plan,
        version=version.number,
        samples=found.samples,
        makespan=shown.makespan_h,
        mean=found.mean_h,
        deviation=found.deviation_h,
        **{f"p{round(100 * share)}": hours for share, hours in found.quantiles_h.items()},
        steps=[{"id": key, "name": names[key], "critical": share} for key, share in often],
    )


def _named(placed: ScheduledStep) -> dict[str, Any]:
    step = placed.step
    return {"id": step.id, "name": step.name, "workpoint_id": step.workpoint_id, "team": step.team}
