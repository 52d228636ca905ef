"""A run on the threads of its lane, and its record: what every route that builds a schedule has in common."""

import json
import logging
import math
import time
import uuid
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace

from flask import g, request

from scheduler_service.http.contract.runs import RunRequest
from scheduler_service.http.runs.running import DefaultBudgetTooLong, Run, RunOutcome, compute
from scheduler_service.http.server.offload import HAS_CLIENT_LEFT, NativeThreads, Ticket
from scheduler_service.http.services import Services
from scheduler_service.logs import log_run
from scheduler_service.trace_context import span

PATIENCE_MS = 50.0
"""Longest default of a model that is improved among the short answers; an agent's is 20 ms."""
SMALL = 60
"""Steps of a problem that is solved among the short answers; a larger one takes longer only to be read and checked."""

log = logging.getLogger(__name__)

ProblemSource = Callable[[], Mapping[str, object]]
"""The problem of a request with the published plan that it names; called on a thread."""


def run_and_record(body: RunRequest, parts: Services, problem: ProblemSource | None = None) -> Run:
    """The run that `body` asks for, once it is recorded.

    Args:
        problem: None if the request names no published plan.

    Raises:
        InvalidInstance, InvalidInput, ModelNotFound, AmbiguousModelName: as `compute`.
        StorageUnavailable: no model answers, or the run cannot be recorded.
        Overloaded, ClientGone: nobody computed it.
    """
    # An id of our own: a client may send the same X-Request-ID twice, and a verdict belongs to one run.
    own_id = str(uuid.uuid4())
    outcome, queued_s = _compute(body, own_id, parts, problem)
    total_s = time.perf_counter() - g.begun_s
    records = [replace(each, queue_time=queued_s, total_time=total_s) for each in outcome.records]
    with span("record"):
        parts.recorder.record(records, lambda: _log(outcome, own_id))
    parts.failed_runs.add(records)
    if outcome.run is None:
        assert outcome.failure is not None
        raise outcome.failure
    return outcome.run


def _compute(body: RunRequest, own_id: str, parts: Services, problem: ProblemSource | None) -> tuple[RunOutcome, float]:
    """The outcome, and the seconds that the request waited for it to be begun.

    By the threads for what is done at once, by those for large problems, or by those for searches that take their
    time: nobody waits behind what takes longer than his own request.
    """
    begun_s, ticket, is_gone = g.begun_s, Ticket(), request.environ.get(HAS_CLIENT_LEFT)

    def on(threads: NativeThreads, patience_ms: float = math.inf) -> tuple[RunOutcome, float]:
        asked_s = time.perf_counter()

        def begin() -> tuple[RunOutcome, float]:
            with span("queue", since_s=asked_s):
                queued_s = time.perf_counter() - begun_s
            outcome = compute(
                body, own_id, parts.models, parts.experiments, parts.settings.max_time_budget_ms, parts.answers,
                problem=problem and problem(),
                patience_ms=patience_ms, waited_ms=1000.0 * queued_s, stop=lambda: ticket.is_dropped,
            )  # fmt: skip
            return outcome, queued_s

        return threads.run(begin, is_gone=is_gone, ticket=ticket)

    if not body.time_budget_ms:
        with suppress(DefaultBudgetTooLong):
            return on(parts.compute if body.size <= SMALL else parts.large, PATIENCE_MS)
    return on(parts.improving)


def _log(outcome: RunOutcome, own_id: str) -> None:
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
