"""Operations: health, metrics, figures, reports, and the documentation of all of it."""

from dataclasses import asdict
from datetime import timedelta, timezone, tzinfo
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from flask import Response

from scheduler_service.clock import to_iso, utc_now
from scheduler_service.errors import (
    AmbiguousModelName,
    ExperimentNotFound,
    InvalidInput,
    ModelNotFound,
    Overloaded,
    ReportNotFound,
)
from scheduler_service.http.contract import operations as contract
from scheduler_service.http.contract.api import Api, success
from scheduler_service.http.contract.problems import problem
from scheduler_service.http.filters import runs_asked_for
from scheduler_service.http.guards.auth import access, may_read
from scheduler_service.http.services import Services
from scheduler_service.http.watch import health
from scheduler_service.http.watch.checks import CheckResults
from scheduler_service.telemetry.trends import Trend, trend_of_last

api = Api("operations", "Health, figures and reports.")

REPORT_TYPES = {".html": "text/html; charset=utf-8", ".pdf": "application/pdf"}
"""Endings of the files that are reports."""
RUNS_OF = (ModelNotFound, ExperimentNotFound, AmbiguousModelName)


@api.get("/access", lane=None, admission="identifying")
def get_access(parts: Services) -> contract.AccessAnswer:
    """What this request may do, with its key or without one."""
    return success(**access(parts.settings))


@api.get("/health", lane=None, admission="probe", raises=(Overloaded,))
def get_health(parts: Services) -> contract.HealthAnswer:
    """Whether every part works."""
    told = _shown(health.health(parts))
    times = {"started_at": to_iso(parts.started_at), "uptime_s": parts.checks.uptime_s}
    return _unwell(told) or success(parts=told, **times) | {"status": "healthy"}


@api.get("/health/live", lane=None, admission="liveness")
def get_liveness(parts: Services) -> contract.LivenessAnswer:
    """Whether the process answers.

    It touches nothing, so that no full disk gets the process killed.
    """
    return {"status": "alive", "uptime_s": parts.checks.uptime_s}


@api.get("/health/ready", lane=None, admission="probe", raises=(Overloaded,))
def get_readiness(parts: Services) -> contract.ReadinessAnswer:
    """Whether runs should be sent here now."""
    told = _shown(health.readiness(parts))
    return _unwell(told) or success(parts=told) | {"status": "ready"}


@api.get("/metrics", lane="probing", media=("text/plain",))
def get_metrics(parts: Services) -> Response:
    """Metrics for Prometheus."""
    return Response(parts.metrics.exposition(), content_type="text/plain; version=0.0.4; charset=utf-8")


@api.get("/performance", raises=RUNS_OF)
def get_performance(parts: Services, query: contract.PerformanceQuery) -> contract.PerformanceAnswer:
    """Figures of recorded runs."""
    named = runs_asked_for(parts, query)
    return success(performance=parts.monitor.summary(start_time=query.start_time, end_time=query.end_time, **named))


@api.get("/performance/trends", raises=RUNS_OF)
def get_trends(parts: Services, query: contract.TrendsQuery) -> contract.TrendsAnswer:
    """Figures of recorded runs over time."""
    zone, named = _zone(query), runs_asked_for(parts, query)
    trend = trend_of_last(parts.monitor.engine, utc_now(), query.hours, query.points, zone=zone, **named)
    return success(trends={"hours": query.hours, **named, **_trend(trend)})


@api.get("/reports")
def list_reports(parts: Services, query: contract.ReportsQuery) -> contract.ReportsAnswer:
    """List reports, newest first."""
    found = parts.monitor.reports.listed()
    told = [
        asdict(each) | {"created_at": to_iso(each.created_at), "url": _url(each.name)} for each in found[: query.limit]
    ]
    return success(reports=told, total=len(found))


@api.post("/reports/performance", lane="reporting", is_body_optional=True, success=201)
def make_performance_report(parts: Services, body: contract.PerformanceReportRequest) -> contract.ReportAnswer:
    """Make a performance report."""
    pdf = body.format == "pdf"
    return _report_made(parts.monitor.generate_performance_report(body.days, lang=body.lang, pdf=pdf), pdf)


@api.post("/reports/ab_test", lane="reporting", success=201, raises=(ExperimentNotFound,))
def make_ab_test_report(parts: Services, body: contract.ABTestReportRequest) -> contract.ReportAnswer:
    """Make a report of an experiment."""
    pdf = body.format == "pdf"
    return _report_made(
        parts.analyzer.generate_ab_test_report(body.experiment_name, body.days, lang=body.lang, pdf=pdf), pdf
    )


@api.get("/reports/{name}", media=("text/html", "application/pdf"), raises=(ReportNotFound,))
def get_report(parts: Services, name: contract.ReportName) -> Response:
    """Get a report."""
    content_type = REPORT_TYPES.get(Path(name).suffix)
    if content_type is None:
        raise ReportNotFound("report_not_found", name=name)
    return Response(parts.monitor.reports.read(name), content_type=content_type)


def _report_made(page: str, pdf: bool) -> Any:
    path = Path(page).with_suffix(".pdf") if pdf else Path(page)
    return success(report=path.name, url=_url(path.name), path=str(path))


def _url(report: str) -> str:
    return f"/reports/{report}"


def _zone(query: contract.TrendsQuery) -> tzinfo | None:
    """That of the clock by which buckets are to begin; None: the server's."""
    name, offset_min = query.time_zone, query.utc_offset_min
    if name is not None and offset_min is not None:
        raise InvalidInput("time_zone_or_offset", ("utc_offset_min",))
    if offset_min is not None:
        return timezone(timedelta(minutes=offset_min))
    if name is None:
        return None
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError) as err:
        raise InvalidInput("unknown_time_zone", ("time_zone",), name=name[:60]) from err


def _trend(trend: Trend) -> dict[str, Any]:
    points = [
        asdict(point) | {"start": to_iso(point.start), "end": to_iso(point.end), "success_rate": point.success_rate}
        for point in trend.points
    ]
    return {"end": to_iso(trend.end), "bucket_s": trend.bucket_s, "points": points}


def _shown(told: CheckResults) -> CheckResults:
    return told if may_read() else health.without_details(told)


def _unwell(told: CheckResults) -> Any:
    """The answer that names the parts which do not work; None where all do."""
    failing = health.failing(told)
    if not failing:
        return None
    detail = "; ".join(f"{name}: {told[name]['detail']}" for name in failing)
    return problem(503, detail, headers={"Retry-After": "5"}, failing=failing, parts=told)
