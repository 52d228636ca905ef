"""Runs: build a schedule, and take a person's verdict on one."""

import json
import logging
import math
import time
import uuid
from contextlib import suppress
from dataclasses import replace
from typing import Any

from flask import Blueprint, Response, g, request

from scheduler_service.clock import utc_now
from scheduler_service.http.bodies import flag_of, json_bytes, number_of, read_body, text_of
from scheduler_service.http.contract.problems import told_finding
from scheduler_service.http.contract.schemas import FeedbackRequest, NameRequest, RunRequest, View
from scheduler_service.http.filters import runs_asked_for
from scheduler_service.http.runs.reading import read_file
from scheduler_service.http.runs.running import Outcome, Run, TakesLonger, answer, compute, draw, recorded_details
from scheduler_service.http.server.offload import HAS_CLIENT_LEFT, Ticket
from scheduler_service.http.services import Services, services
from scheduler_service.logs import log_run
from scheduler_service.telemetry.history import latest_runs, run_of_request

blueprint = Blueprint("runs", __name__)
log = logging.getLogger(__name__)

PATIENCE_MS = 50.0
"""Longest default of a model that is improved among the short answers; an agent's is 20 ms."""
LISTED_RUNS, MAX_LISTED_RUNS, MAX_SEARCH = 50, 1_000, 200
MAX_ID = 2**63 - 1
SMALL = 60
"""Steps of a problem that is solved among the short answers; a larger one takes longer only to be read and checked."""


@blueprint.post("/run_algorithm")
@blueprint.post("/api/algorithm/run")
def run_algorithm() -> Response:
    """Build a schedule, by the model that the experiment, the pin or the default says."""
    # An id of our own: a client may send the same X-Request-ID twice, and a verdict belongs to one run.
    body, own_id, parts = read_body(RunRequest), str(uuid.uuid4()), services()
    outcome, queued_s = _compute(body, own_id, parts)
    total_s = time.perf_counter() - g.begun_s
    records = [replace(each, queue_time=queued_s, total_time=total_s) for each in outcome.records]
    parts.recorder.record(records, lambda: _log(outcome, own_id))
    parts.failed_runs.tell(records)
    run = outcome.run
    if run is None:
        assert outcome.failure is not None
        raise outcome.failure
    charts = _charts(run, body, parts) if body.views else {}
    parts.shadow.offer(run, body)
    if parts.answers.is_on:
        parts.metrics.count_answer_lookup(is_hit=run.is_cached)
    return Response(json_bytes(answer(run, charts)), mimetype="application/json")


@blueprint.post("/requests/read")
def read_request() -> dict[str, Any]:
    """The request that a file describes, and what was found on the way; nothing is run."""
    read = read_file(services())
    return {
        "status": "success",
        "request": read.request,
        "n_workpoints": read.n_workpoints,
        "n_steps": read.n_steps,
        "findings": [told_finding(each) for each in read.findings],
    }


@blueprint.post("/feedback")
def give_feedback() -> dict[str, Any]:
    """Tie a person's verdict to a run."""
    body, parts = read_body(FeedbackRequest), services()
    parts.storage.run(lambda: parts.monitor.record_feedback(body.request_id, body.user_satisfaction, body.comment))
    parts.metrics.observe_feedback(body.user_satisfaction)
    return {"status": "success", "request_id": body.request_id, "message": "thank you"}


@blueprint.put("/runs/<request_id>/name")
def name_run(request_id: str) -> dict[str, Any]:
    """Say what a run is called and whose it is."""
    body, parts = read_body(NameRequest), services()
    parts.storage.run(lambda: parts.monitor.writer.name_run(request_id, body.name, body.owner, utc_now()))
    return {"status": "success", "request_id": request_id, "name": body.name, "owner": body.owner}


@blueprint.get("/runs")
def list_runs() -> dict[str, Any]:
    """The recorded runs, newest first."""
    limit = number_of("limit", default=LISTED_RUNS, most=MAX_LISTED_RUNS)
    before = number_of("before", default=0, least=0, most=MAX_ID) or None
    parts = services()
    asked = runs_asked_for(parts)
    search, is_without = text_of("search", most=MAX_SEARCH), flag_of("without_experiments")
    found = parts.storage.run(
        lambda: latest_runs(
            parts.monitor.engine, limit, before=before, search=search, without_experiments=is_without, **asked()
        )
    )
    return {"status": "success", "runs": found, "next": found[-1]["id"] if len(found) == limit else None}


@blueprint.get("/runs/<request_id>")
def get_run(request_id: str) -> dict[str, Any]:
    """A recorded run with its schedule, and what was asked for: enough to show it and to ask for it again."""
    parts = services()

    def read() -> dict[str, Any]:
        found, asked, placements = run_of_request(parts.monitor.engine, request_id)
        return {"run": found, "input": asked, "schedule": recorded_details(asked, placements)}

    return {"status": "success", **parts.storage.run(read)}


def _compute(body: RunRequest, own_id: str, parts: Services) -> tuple[Outcome, float]:
    """The outcome, and the seconds that the request waited for it to be begun.

    By the threads for what is done at once, by those for large problems, or by those for searches that take their
    time: nobody waits behind what takes longer than his own request.
    """
    begun_s, ticket, is_gone = g.begun_s, Ticket(), request.environ.get(HAS_CLIENT_LEFT)

    def begin(patience_ms: float = math.inf) -> tuple[Outcome, float]:
        queued_s = time.perf_counter() - begun_s
        outcome = compute(
            body, own_id, parts.models, parts.experiments, parts.settings.max_time_budget_ms, parts.answers,
            patience_ms=patience_ms, waited_ms=1000.0 * queued_s, stop=lambda: ticket.is_dropped,
        )  # fmt: skip
        return outcome, queued_s

    if not body.time_budget_ms:
        at_once = parts.compute if body.size <= SMALL else parts.large
        with suppress(TakesLonger):
            return at_once.run(lambda: begin(PATIENCE_MS), is_gone=is_gone, ticket=ticket)
    return parts.improving.run(begin, is_gone=is_gone, ticket=ticket)


def _charts(run: Run, body: RunRequest, parts: Services) -> dict[View, str]:
    ticket = Ticket()

    def begin() -> dict[View, str]:
        return draw(run.solution, body.views, body.chart_format, lambda: ticket.is_dropped)

    return parts.drawing.run(begin, is_gone=request.environ.get(HAS_CLIENT_LEFT), ticket=ticket)


def _log(outcome: Outcome, own_id: str) -> None:
    run = outcome.run
    if run is None:
        log.info("run=%s had no answer: %s", own_id, outcome.failure)
    else:
        schedule = run.solution.schedule
        log_run(
            f"run={run.request_id} model={run.model.key} reason={run.used.reason} variant={run.used.variant or '-'} "
            f"user={json.dumps(run.user_id)} steps={len(schedule.steps)} makespan_h={schedule.makespan_h:.4f}",
            run.execution_time_s,
        )
