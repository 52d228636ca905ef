"""Alerts: what is wrong now and was before, and what people say to it."""

from collections.abc import Mapping
from dataclasses import asdict
from datetime import timedelta
from typing import Any, Literal
from urllib.parse import quote

from flask import Blueprint

from scheduler_service.alerts import rules
from scheduler_service.alerts.desk import as_json
from scheduler_service.alerts.episodes import Episode, Silence
from scheduler_service.clock import parse_time, to_iso, utc_now
from scheduler_service.errors import AlertNotFound, InvalidInput
from scheduler_service.http.bodies import amount_of, number_of, read_body
from scheduler_service.http.contract.schemas import (
    AcknowledgeRequest,
    SilenceRequest,
    ThresholdRequest,
    ThresholdResetRequest,
)
from scheduler_service.http.services import Services, services
from scheduler_service.http.watch.watching import service_readings
from scheduler_service.loglines import command_for, lines_about
from scheduler_service.telemetry.alerts import Delivery
from scheduler_service.telemetry.looking import ALERT_COLUMNS, ALERT_WINDOW, plain_rows, window_of

blueprint = Blueprint("alerts", __name__)

HISTORY_DAYS, MAX_HISTORY_DAYS = 7.0, 3_660.0
SHOWN_RUNS, MAX_SHOWN_RUNS = 20, 200
SHOWN_COLUMNS = (
    *("request_id", "timestamp", "success", "model_key", "experiment", "variant", "n_workpoints", "n_steps"),
    *("makespan", "lower_bound", "gap", "execution_time", "time_budget_ms", "error_message"),
)
"""Of a run that an alert is about."""
MAX_ID_DIGITS = 18
"""SQLite's ids have 63 bits."""


@blueprint.get("/alerts")
def get_alerts() -> dict[str, Any]:
    """What is beyond its threshold in the last hour or fires still, with what people were told of it."""
    parts = services()
    return parts.storage.run(lambda: _now(parts))


@blueprint.get("/alerts/history")
def get_history() -> dict[str, Any]:
    """The alerts of the last days, the newest first."""
    parts, days = services(), amount_of("days", default=HISTORY_DAYS, most=MAX_HISTORY_DAYS)
    end = utc_now()
    found = parts.storage.run(lambda: parts.monitor.alerts.between(end - timedelta(days=days), end))
    return {"status": "success", "alerts": [as_json(each) for each in reversed(found)], "total": len(found)}


@blueprint.get("/alerts/<alert>")
def get_alert(alert: str) -> dict[str, Any]:
    """One alert, with the runs that it is about and where the log tells of them."""
    limit = number_of("limit", default=SHOWN_RUNS, most=MAX_SHOWN_RUNS)
    parts, known = services(), _id("alert", alert)
    episode, runs = parts.storage.run(lambda: parts.monitor.runs_of_alert(known))
    start, end = window_of(episode)
    shown = [_run(run) for run in plain_rows(runs.head(limit))]
    ids = [run["request_id"] for run in shown]
    return {
        "status": "success",
        "alert": as_json(episode),
        "window": {"start": to_iso(start), "end": to_iso(end)},
        "total": len(runs),
        "runs": shown,
        "log": {"request_ids": ids, "command": command_for(ids) if ids else None},
    }


@blueprint.get("/runs/<request_id>/log")
def get_log(request_id: str) -> dict[str, Any]:
    """What the log says of a run."""
    parts = services()

    def read() -> list[str]:
        found, _, _ = parts.monitor.history.run(request_id)
        return lines_about(parts.settings.logs_dir, request_id, parse_time(found["timestamp"]))

    lines = parts.storage.run(read)
    return {"status": "success", "request_id": request_id, "lines": lines, "command": command_for([request_id])}


@blueprint.post("/alerts/<alert>/acknowledge")
def acknowledge(alert: str) -> dict[str, Any]:
    """Say that somebody sees to it: there are no more reminders of it."""
    body, parts, known = read_body(AcknowledgeRequest, optional=True), services(), _id("alert", alert)
    episode = parts.storage.run(lambda: parts.monitor.alerts.acknowledge(known, body.actor, body.note or None))
    return {"status": "success", "alert": as_json(episode)}


@blueprint.post("/alerts/silences")
def silence() -> tuple[dict[str, Any], int]:
    """Let nobody be told of a rule for some hours."""
    body, parts, now = read_body(SilenceRequest), services(), utc_now()
    if body.name is not None and body.name not in rules.SEVERITIES:
        raise InvalidInput("unknown_alert_rule", ("name",), name=body.name, known=list(rules.SEVERITIES))
    until = now + timedelta(hours=body.hours)
    wanted = Silence(body.name, body.subject, now, until, body.actor, body.reason)
    return {
        "status": "success",
        "silence": _silence(parts.storage.run(lambda: parts.monitor.alerts.silence(wanted))),
    }, 201


@blueprint.delete("/alerts/silences/<number>")
def end_silence(number: str) -> dict[str, Any]:
    """Let people be told again."""
    parts, known = services(), _id("silence", number)
    parts.storage.run(lambda: parts.monitor.alerts.end_silence(known))
    return {"status": "success", "message": f"the silence {number} is over"}


@blueprint.get("/alerts/thresholds")
def get_thresholds() -> dict[str, Any]:
    """What each rule is held against, what it was without people, and what they did."""
    monitor = services().monitor
    return services().storage.run(lambda: {"status": "success", **monitor.limits.shown()})


@blueprint.put("/alerts/thresholds/<threshold>")
def set_threshold(threshold: str) -> dict[str, Any]:
    """Hold a rule against another figure."""
    body = read_body(ThresholdRequest)
    return _put(threshold, body.value, body.actor, body.reason)


@blueprint.delete("/alerts/thresholds/<threshold>")
def reset_threshold(threshold: str) -> dict[str, Any]:
    """Hold a rule against what counts where nobody says otherwise."""
    body = read_body(ThresholdResetRequest, optional=True)
    return _put(threshold, None, body.actor, body.reason)


@blueprint.post("/alerts/test")
def test() -> dict[str, Any]:
    """Send a test message through each channel, and tell what came of it."""
    parts = services()
    told = parts.storage.run(parts.desk.test)
    results = [{"channel": name, "delivered": error is None, "error": error} for name, error in told.items()]
    return {"status": "success", "channels": results}


def _put(name: str, value: float | None, actor: str, reason: str) -> dict[str, Any]:
    monitor = services().monitor

    def put() -> dict[str, Any]:
        change = monitor.limits.file.put(name, value, actor=actor, reason=reason)
        return {"threshold": monitor.limits.shown_one(name, change), "change": asdict(change)}

    return {"status": "success", **services().storage.run(put)}


def _now(parts: Services) -> dict[str, Any]:
    monitor, lang, since = parts.monitor, parts.settings.alert_lang, utc_now() - ALERT_WINDOW
    runs = monitor.get_performance_data(start_time=since, columns=ALERT_COLUMNS)
    readings = [*monitor.alert_readings(lang, runs=runs), *service_readings(parts, lang)]
    stored = {episode.key: episode for episode in monitor.alerts.unended()}
    silences = monitor.alerts.silences()
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
        "silences": [_silence(each) for each in silences],
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
    return {name: getattr(reading, name) for name in ("name", "subject", "state", "value", "threshold")}


def _run(run: Mapping[str, Any]) -> dict[str, Any]:
    told = {name: run[name] for name in SHOWN_COLUMNS}
    address = f"/runs/{quote(str(told['request_id']), safe='')}"
    return told | {"timestamp": to_iso(run["timestamp"]), "value": run["value"], "url": address}


def _delivery(delivery: Delivery) -> dict[str, Any]:
    return asdict(delivery) | {"at": to_iso(delivery.at)}


def _silence(silence: Silence) -> dict[str, Any]:
    times = {"began": to_iso(silence.began), "until": to_iso(silence.until)}
    return {"id": silence.id, "name": silence.name, "subject": silence.subject, **times} | {
        "actor": silence.actor,
        "reason": silence.reason,
    }


def _id(kind: Literal["alert", "silence"], text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) <= MAX_ID_DIGITS):
        if kind == "alert":
            raise AlertNotFound("alert_not_found", id=text[:100])
        raise AlertNotFound("silence_not_found", id=text[:100])
    return int(text)
