"""Runs: build a schedule, and take a person's verdict on one."""

from flask import request

from scheduler_env.errors import InvalidInstance
from scheduler_service.clock import utc_now
from scheduler_service.errors import (
    AmbiguousModelName,
    ExperimentNotFound,
    ModelNotFound,
    Overloaded,
    RunNotFound,
)
from scheduler_service.http.contract import runs as contract
from scheduler_service.http.contract.api import Api, success
from scheduler_service.http.contract.problems import told_finding
from scheduler_service.http.contract.types import RequestId
from scheduler_service.http.filters import runs_asked_for
from scheduler_service.http.runs.details import details
from scheduler_service.http.runs.lanes import run_and_record
from scheduler_service.http.runs.reading import read_file
from scheduler_service.http.runs.running import Run, answer, draw
from scheduler_service.http.server.offload import HAS_CLIENT_LEFT, Ticket
from scheduler_service.http.services import Services
from scheduler_service.telemetry.history import latest_runs, run_of_request
from scheduler_service.telemetry.published import recorded_schedule, with_published
from scheduler_service.trace_context import span

api = Api("runs", "Build schedules, and judge them.")
NAMES = (ModelNotFound, AmbiguousModelName)


@api.post(contract.RUN_PATHS[0], scope="run", lane=None, raises=(*NAMES, InvalidInstance, Overloaded))
@api.post(contract.RUN_PATHS[1], scope="run", lane=None, raises=(*NAMES, InvalidInstance, Overloaded))
def run_algorithm(parts: Services, body: contract.RunRequest) -> contract.RunAnswer:
    """Build a schedule.

    The experiment, the request's `model` or the default decides which model builds it.
    """
    named = body.published is not None
    run = run_and_record(body, parts, (lambda: with_published(body.problem, parts.monitor.engine)) if named else None)
    charts = _charts(run, body, parts) if body.views else {}
    parts.shadow.offer(run, body)
    if parts.answers.is_on:
        parts.metrics.count_answer_lookup(is_hit=run.is_cached)
    return answer(run, charts)


@api.post(
    "/requests/read",
    scope="run",
    lane=None,
    body=contract.RunRequest,
    table=contract.TABLE,
    raises=(InvalidInstance, Overloaded),
)
def read_request(parts: Services, query: contract.ReadQuery) -> contract.ReadAnswer:
    """Read a file, CSV or JSON.

    The answer is the request that the file describes, and what was read otherwise than it is written. Nothing is run.
    """
    read = read_file(
        parts.reading,
        fills_down=query.fill_down,
        teams=query.teams,
        with_published=lambda problem: with_published(problem, parts.monitor.engine),
    )
    return success(
        request=read.request,
        n_workpoints=read.n_workpoints,
        n_steps=read.n_steps,
        findings=[told_finding(each) for each in read.findings],
    )


@api.post("/feedback", scope="run", raises=(RunNotFound,))
def give_feedback(parts: Services, body: contract.FeedbackRequest) -> contract.FeedbackAnswer:
    """Rate a schedule."""
    parts.monitor.record_feedback(body.request_id, body.user_satisfaction, body.comment)
    parts.metrics.observe_feedback(body.user_satisfaction)
    return success(request_id=body.request_id, message="thank you")


@api.put("/runs/{request_id}/name", scope="run", raises=(RunNotFound,))
def name_run(parts: Services, request_id: RequestId, body: contract.NameRequest) -> contract.NamedAnswer:
    """Name a run, and say whose it is."""
    parts.monitor.writer.name_run(request_id, body.name, body.owner, utc_now())
    return success(request_id=request_id, name=body.name, owner=body.owner)


@api.get("/runs", raises=(*NAMES, ExperimentNotFound))
def list_runs(parts: Services, query: contract.RunsQuery) -> contract.RunsAnswer:
    """List runs, newest first."""
    found = latest_runs(
        parts.monitor.engine,
        query.limit,
        before=query.before or None,
        search=query.search,
        without_experiments=query.without_experiments,
        **runs_asked_for(parts, query),
    )
    return success(runs=found, next=found[-1]["id"] if len(found) == query.limit else None)


@api.get("/runs/{request_id}", raises=(RunNotFound,))
def get_run(parts: Services, request_id: RequestId) -> contract.RunRecordAnswer:
    """Get a run.

    The answer has its schedule and the request: enough to show it and to run it again.
    """
    found, asked, placements = run_of_request(parts.monitor.engine, request_id)
    schedule = recorded_schedule(asked, placements, parts.monitor.engine)
    return success(run=found, input=asked, schedule=schedule and details(schedule))


def _charts(run: Run, body: contract.RunRequest, parts: Services) -> dict[contract.View, str]:
    ticket = Ticket()

    def begin() -> dict[contract.View, str]:
        return draw(run.solution, body.views, body.chart_format, lambda: ticket.is_dropped)

    with span("draw"):
        return parts.drawing.run(begin, is_gone=request.environ.get(HAS_CLIENT_LEFT), ticket=ticket)
