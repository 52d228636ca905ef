"""Operations: health, metrics, figures, reports, and the documentation of all of it."""

from collections.abc import Mapping
from dataclasses import asdict
from datetime import timedelta, timezone, tzinfo
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from flask import Blueprint, Response, request

from scheduler_service.clock import to_iso, utc_now
from scheduler_service.errors import InvalidInput, ReportNotFound
from scheduler_service.http.bodies import amount_of, json_bytes, number_of, read_body
from scheduler_service.http.contract.docs_page import docs_page
from scheduler_service.http.contract.openapi import document
from scheduler_service.http.contract.problems import problem
from scheduler_service.http.contract.schemas import ABTestReportRequest, PerformanceReportRequest
from scheduler_service.http.filters import runs_asked_for
from scheduler_service.http.guards.auth import access, may_read
from scheduler_service.http.server.offload import HAS_CLIENT_LEFT
from scheduler_service.http.services import services
from scheduler_service.http.watch import health
from scheduler_service.reporting.report_files import saved_reports
from scheduler_service.telemetry.trends import Trend, trend_of_last

blueprint = Blueprint("operations", __name__)

REPORT_TYPES = {".html": "text/html; charset=utf-8", ".pdf": "application/pdf"}
"""Endings of the files that are reports."""
LISTED_REPORTS, MAX_LISTED_REPORTS = 100, 1_000
TREND_HOURS, MAX_TREND_HOURS = 24.0, 24.0 * 366
TREND_POINTS, MAX_TREND_POINTS = 60, 500
MAX_UTC_OFFSET_MIN = 14 * 60


@blueprint.get("/access")
def get_access() -> dict[str, Any]:
    """What may be done here, by the key that came along or without one."""
    return {"status": "success", **access(services().settings)}


@blueprint.get("/health")
def get_health() -> Response:
    """Whether every part works; names those that do not."""
    parts = services()
    told = _shown(health.health(parts))
    if health.failing(told):
        return _unwell(told)
    return _json({"status": "healthy", "parts": told, "started_at": to_iso(parts.started_at), "uptime_s": _uptime_s()})


@blueprint.get("/health/live")
def get_liveness() -> Response:
    """Whether the process answers; touches nothing, so that no full disk gets it killed."""
    return _json({"status": "alive", "uptime_s": _uptime_s()})


@blueprint.get("/health/ready")
def get_readiness() -> Response:
    """Whether runs should be sent here now; names what is in the way."""
    parts = services()
    told = _shown(health.readiness(parts))
    return _unwell(told) if health.failing(told) else _json({"status": "ready", "parts": told})


@blueprint.get("/metrics")
def get_metrics() -> Response:
    """Counters, histograms and the present state for Prometheus."""
    parts = services()
    told = parts.probing.run(parts.metrics.exposition)
    return Response(told, content_type="text/plain; version=0.0.4; charset=utf-8")


@blueprint.get("/performance")
def get_performance() -> dict[str, Any]:
    """Figures of the recorded runs."""
    parts, period = services(), {name: request.args.get(name) or None for name in ("start_time", "end_time")}
    asked = runs_asked_for(parts)
    found = parts.storage.run(lambda: parts.monitor.summary(**period, **asked()))
    return {"status": "success", "performance": found}


@blueprint.get("/performance/trends")
def get_trends() -> dict[str, Any]:
    """How the runs went over time."""
    hours = amount_of("hours", default=TREND_HOURS, most=MAX_TREND_HOURS)
    points = number_of("points", default=TREND_POINTS, most=MAX_TREND_POINTS)
    parts, now = services(), utc_now()
    zone, asked = _zone(), runs_asked_for(parts)

    def read() -> tuple[Mapping[str, str | None], Trend]:
        found = asked()
        return found, trend_of_last(parts.monitor.engine, now, hours, points, zone=zone, **found)

    named, trend = parts.storage.run(read)
    return {"status": "success", "trends": {"hours": hours, **named, **_trend(trend)}}


@blueprint.get("/reports")
def list_reports() -> dict[str, Any]:
    """The reports that are there, the newest first."""
    limit, parts = number_of("limit", default=LISTED_REPORTS, most=MAX_LISTED_REPORTS), services()
    found = parts.storage.run(lambda: saved_reports(parts.settings.reports_dir))
    told = [asdict(each) | {"created_at": to_iso(each.created_at), "url": _url(each.name)} for each in found[:limit]]
    return {"status": "success", "reports": told, "total": len(found)}


@blueprint.post("/reports/performance")
def make_performance_report() -> tuple[dict[str, Any], int]:
    """Make a report of the last days."""
    body, parts = read_body(PerformanceReportRequest, optional=True), services()
    pdf = body.format == "pdf"
    path = parts.reporting.run(
        lambda: parts.monitor.generate_performance_report(body.days, lang=body.lang, pdf=pdf),
        is_gone=request.environ.get(HAS_CLIENT_LEFT),
    )
    return _report_made(str(Path(path).with_suffix(".pdf")) if pdf else path), 201


@blueprint.post("/reports/ab_test")
def make_ab_test_report() -> tuple[dict[str, Any], int]:
    """Make a report of an experiment."""
    body, parts = read_body(ABTestReportRequest), services()
    pdf = body.format == "pdf"
    path = parts.reporting.run(
        lambda: parts.analyzer.generate_ab_test_report(body.experiment_name, body.days, lang=body.lang, pdf=pdf),
        is_gone=request.environ.get(HAS_CLIENT_LEFT),
    )
    return _report_made(str(Path(path).with_suffix(".pdf")) if pdf else path), 201


@blueprint.get("/reports/<name>")
def get_report(name: str) -> Response:
    """A report that was made."""
    folder = services().settings.reports_dir

    def read() -> tuple[bytes, str]:
        # Looked up among the files that are there: no path is ever made of a client's text.
        found = {path.name: path for path in folder.glob("*.*") if path.is_file() and not path.is_symlink()}
        path = found.get(name)
        if path is None or path.suffix not in REPORT_TYPES:
            raise ReportNotFound("report_not_found", name=name)
        return path.read_bytes(), REPORT_TYPES[path.suffix]

    content, content_type = services().storage.run(read)
    return Response(content, content_type=content_type)


@blueprint.get("/openapi.json")
def get_openapi() -> Response:
    """This interface as OpenAPI 3.1."""
    return _json(document())


@blueprint.get("/docs")
def get_docs() -> Response:
    """This interface to read."""
    return Response(docs_page(), content_type="text/html; charset=utf-8")


def _report_made(path: str) -> dict[str, Any]:
    name = Path(path).name
    return {"status": "success", "report": name, "url": _url(name), "path": path}


def _url(report: str) -> str:
    return f"/reports/{report}"


def _zone() -> tzinfo | None:
    """That of the clock by which buckets are to begin; None: the server's."""
    name, offset = request.args.get("time_zone"), request.args.get("utc_offset_min")
    if name and offset:
        raise InvalidInput("time_zone_or_offset", ("utc_offset_min",))
    if offset:
        most = MAX_UTC_OFFSET_MIN
        return timezone(timedelta(minutes=number_of("utc_offset_min", default=0, least=-most, most=most)))
    if not name:
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


def _shown(told: health.Told) -> health.Told:
    return told if may_read() else health.without_details(told)


def _unwell(told: health.Told) -> Response:
    failing = health.failing(told)
    detail = "; ".join(f"{name}: {told[name]['detail']}" for name in failing)
    return problem(503, detail, headers={"Retry-After": "5"}, failing=failing, parts=told)


def _uptime_s() -> float:
    return services().checks.uptime_s


def _json(value: object) -> Response:
    return Response(json_bytes(value), mimetype="application/json")
