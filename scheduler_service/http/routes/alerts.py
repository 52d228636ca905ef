"""Alerts: what is wrong now and was before, and what people say to it."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from datetime import timedelta
from typing import Any, Literal
from urllib.parse import quote

from scheduler_service.alert_rules import RULES
from scheduler_service.alerts import rules
from scheduler_service.alerts.desk import as_json
from scheduler_service.alerts.episodes import Episode, Silence
from scheduler_service.alerts.wording import params_of
from scheduler_service.clock import parse_time, to_iso, utc_now
from scheduler_service.errors import AlertNotFound, InvalidInput, NotFound, RunNotFound
from scheduler_service.http.contract import alerts as contract
from scheduler_service.http.contract.api import Api, success
from scheduler_service.http.contract.runs import RunLogAnswer
from scheduler_service.http.contract.types import Done, RequestId
from scheduler_service.http.services import Services
from scheduler_service.http.watch.watching import service_readings
from scheduler_service.loglines import command_for, lines_about
from scheduler_service.telemetry.alerts import Delivery
from scheduler_service.telemetry.history import run_of_request
from scheduler_service.telemetry.readings import ALERT_COLUMNS, ALERT_WINDOW, plain_rows, window_of

api = Api("alerts", "What is wrong, and who sees to it.")

SHOWN_COLUMNS = (
    *("request_id", "timestamp", "success", "model_key", "experiment", "variant", "n_workpoints", "n_steps"),
    *("makespan", "lower_bound", "gap", "execution_time", "time_budget_ms", "error_message"),
)
"""Of a run that an alert is about."""
MAX_ID_DIGITS = 18
"""SQLite's ids have 63 bits."""


@api.get("/alerts")
def get_alerts(parts: Services) -> contract.AlertsAnswer:
    """List the alerts of now.

    These are the rules beyond their threshold in the last hour, and alerts that still fire, with their notices.
    """
    return _now(parts)


@api.get("/alerts/history")
def get_history(parts: Services, query: contract.AlertHistoryQuery) -> contract.AlertHistoryAnswer:
    """List the alerts of the last days, newest first."""
    end = utc_now()
    found = parts.monitor.alerts.between(end - timedelta(days=query.days), end)
    return success(alerts=[as_json(each) for each in reversed(found)], total=len(found))


@api.get("/alerts/{alert}", raises=(AlertNotFound,))
def get_alert(parts: Services, alert: contract.AlertId, query: contract.AlertRunsQuery) -> contract.AlertRunsAnswer:
    """Get an alert with its runs, the worst first."""
    episode, runs = parts.monitor.runs_of_alert(_id("alert", alert))
    start, end = window_of(episode)
    shown = [_run(run) for run in plain_rows(runs.head(query.limit))]
    ids = [run["request_id"] for run in shown]
    return success(
        alert=as_json(episode),
        window={"start": to_iso(start), "end": to_iso(end)},
        total=len(runs),
        runs=shown,
        log={"request_ids": ids, "command": command_for(ids) if ids else None},
    )


@api.get("/runs/{request_id}/log", scope="admin", raises=(RunNotFound,))
def get_log(parts: Services, request_id: RequestId) -> RunLogAnswer:
    """Log lines of a run."""
    found, _, _ = run_of_request(parts.monitor.engine, request_id)
    lines = lines_about(parts.settings.logs_dir, request_id, parse_time(found["timestamp"]))
    return success(request_id=request_id, lines=lines, command=command_for([request_id]))


@api.post("/alerts/{alert}/acknowledge", is_body_optional=True, raises=(AlertNotFound,))
def acknowledge(parts: Services, alert: contract.AlertId, body: contract.AcknowledgeRequest) -> contract.AlertAnswer:
    """Acknowledge an alert: there are no more reminders of it."""
    episode = parts.monitor.alerts.acknowledge(_id("alert", alert), body.actor, body.note or None)
    return success(alert=as_json(episode))


@api.post("/alerts/silences", success=201)
def silence(parts: Services, body: contract.SilenceRequest) -> contract.SilenceAnswer:
    """Silence a rule for some hours."""
    now = utc_now()
    if body.name is not None and body.name not in RULES:
        raise InvalidInput("unknown_alert_rule", ("name",), name=body.name, known=list(RULES))
    until = now + timedelta(hours=body.hours)
    wanted = Silence(body.name, body.subject, now, until, body.actor, body.reason)
    return success(silence=_silence(parts.monitor.alerts.silence(wanted), parts.monitor.gap_thresholds))


@api.delete("/alerts/silences/{number}", raises=(AlertNotFound,))
def end_silence(parts: Services, number: contract.AlertId) -> Done:
    """End a silence."""
    parts.monitor.alerts.end_silence(_id("silence", number))
    return success(message=f"the silence {number} is over")


@api.get("/alerts/thresholds")
def get_thresholds(parts: Services) -> contract.ThresholdsAnswer:
    """List thresholds, their defaults and changes."""
    return success(**parts.monitor.limits.shown())


@api.put("/alerts/thresholds/{threshold}", raises=(NotFound,))
def set_threshold(
    parts: Services, threshold: contract.ThresholdName, body: contract.ThresholdRequest
) -> contract.ThresholdAnswer:
    """Set a threshold."""
    return _put(parts, threshold, body.value, body.actor, body.reason)


@api.delete("/alerts/thresholds/{threshold}", is_body_optional=True, raises=(NotFound,))
def reset_threshold(
    parts: Services, threshold: contract.ThresholdName, body: contract.ThresholdResetRequest
) -> contract.ThresholdAnswer:
    """Reset a threshold to its default."""
    return _put(parts, threshold, None, body.actor, body.reason)


@api.post("/alerts/test")
def test(parts: Services) -> contract.ChannelsAnswer:
    """Send a test message through each channel."""
    told = parts.desk.test()
    return success(
        channels=[{"channel": name, "delivered": error is None, "error": error} for name, error in told.items()]
    )


def _put(parts: Services, name: str, value: float | None, actor: str, reason: str) -> Any:
    limits = parts.monitor.limits
    change = limits.file.put(name, value, actor=actor, reason=reason)
    return success(threshold=limits.shown_one(name, change), change=asdict(change))


def _now(parts: Services) -> Any:
    monitor, lang, since = parts.monitor, parts.settings.alert_lang, utc_now() - ALERT_WINDOW
    runs = monitor.get_performance_data(start_time=since, columns=ALERT_COLUMNS)
    readings = [*monitor.alert_readings(lang, runs=runs), *service_readings(parts, lang)]
    stored = {episode.key: episode for episode in monitor.alerts.unended()}
    silences, sizes = monitor.alerts.silences(), tuple(monitor.gap_thresholds)
    alerts = []
    for reading in readings:
        episode = stored.pop((reading.name, reading.subject), None)
        # One that has come near its threshold again is not over yet.
        if reading.state == "beyond" or (episode is not None and episode.state == "firing"):
            alerts.append(_merged(reading, episode))
    now = utc_now()
    told = {each["id"]: each["notified"] for each in alerts if each["notified"] is not None}
    deliveries = monitor.alerts.deliveries(told, parse_time(min(told.values()))) if told else {}
    for alert in alerts:
        alert["deliveries"] = [_delivery(each) for each in deliveries.get(alert["id"], ())]
        key = (alert["name"], alert["subject"])
        alert["silenced"] = any(each.covers(key, now) for each in silences)
    return {
        "status": "success",
        "alerts": alerts,
        "thresholds": monitor.thresholds | {f"max_gap_{n}": limit for n, limit in monitor.gap_thresholds.items()},
        "since": to_iso(since),
        "runs": len(runs),
        "silences": [_silence(each, sizes) for each in silences],
        "channels": list(parts.desk.channels),
        "outbox": monitor.alerts.outbox(),
        "rules": [_seen(reading) for reading in readings if not reading.is_event],
    }


def _merged(reading: rules.Reading, episode: Episode | None) -> dict[str, Any]:
    """An alert with the figures of now; without an episode the next check will begin one."""
    told: dict[str, Any] = {
        "id": None, "state": "pending", "began": None, "fired": None, "notified": None, "acknowledged": None,
        "acknowledged_by": None, "note": None,
    }  # fmt: skip
    if episode is not None:
        stored = as_json(episode)
        told = {name: stored[name] for name in told}
    return {
        "name": reading.name,
        "code": reading.name,
        "params": reading.params,
        "subject": reading.subject,
        "severity": reading.severity,
        "value": reading.value,
        "threshold": reading.threshold,
        "message": reading.message,
        "advice": reading.advice,
        "requests": list(reading.requests),
        **reading.details,
        **told,
    }


def _seen(reading: rules.Reading) -> dict[str, Any]:
    return {name: getattr(reading, name) for name in ("name", "params", "subject", "state", "value", "threshold")}


def _run(run: Mapping[str, Any]) -> dict[str, Any]:
    told = {name: run[name] for name in SHOWN_COLUMNS}
    address = f"/runs/{quote(str(told['request_id']), safe='')}"
    return told | {"timestamp": to_iso(run["timestamp"]), "value": run["value"], "url": address}


def _delivery(delivery: Delivery) -> dict[str, Any]:
    return asdict(delivery) | {"at": to_iso(delivery.at)}


def _silence(silence: Silence, sizes: Iterable[int]) -> dict[str, Any]:
    params = params_of(silence.name, silence.subject, sizes) if silence.name and silence.subject else {}
    times = {"began": to_iso(silence.began), "until": to_iso(silence.until)}
    return {
        **{name: getattr(silence, name) for name in ("id", "name", "subject", "actor", "reason")},
        "params": params,
        **times,
    }


def _id(kind: Literal["alert", "silence"], text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) <= MAX_ID_DIGITS):
        if kind == "alert":
            raise AlertNotFound("alert_not_found", id=text[:100])
        raise AlertNotFound("silence_not_found", id=text[:100])
    return int(text)
