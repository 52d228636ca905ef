"""From an alert to the runs that it is about, and from a run to its log lines."""

import re
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from monitoring import PerformanceMonitor, PerformanceRecord, alert_desk
from scheduler_service.alerts.rules import RULES_OF_RUNS
from scheduler_service.keys import digest_of
from scheduler_service.loglines import lines_about
from scheduler_service.settings import Settings
from tests.conftest import LiveService, live_service
from tests.receiver import Receiver
from tests.waiting import until

NOON = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)
SAMPLE = [10, 5, 8, 6, 7, 9, 6, 7, 6, 7, 7, 7, 4, 7, 5]
KEY = "a-key-of-the-readers-0123456789"


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    with Receiver() as server:
        yield server


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory, receiver: Receiver) -> Iterator[LiveService]:
    environment = {
        "SCHED_ALERT_THRESHOLDS": '{"max_makespan": 10, "min_free_disk_gib": 0}', "SCHED_ALERT_EVERY_S": "0.5",
        "SCHED_ALERT_CONFIRM_S": "0", "SCHED_ALERT_WEBHOOKS": f"json={receiver.url}",
        "SCHED_API_KEYS": f"reader:read:{digest_of(KEY)}",
    }  # fmt: skip
    with live_service(tmp_path_factory.mktemp("runs"), environment=environment) as running:
        for scale in (1.0, 1.2, 1.1):
            running.run(params=[scale * hours for hours in SAMPLE])
        steps = [{"name": name, "duration": 8, "team": "team1"} for name in ("strip", "paint")]
        running.run(workpoints=[{"steps": steps}] * 2)
        until(lambda: alert_of(running).get("id") is not None)
        until(lambda: running.get(f"/alerts/{alert_of(running)['id']}").json()["total"] >= 3)
        yield running


def alert_of(service: LiveService) -> dict[str, Any]:
    return next((each for each in service.get("/alerts").json()["alerts"] if each["name"] == "max_makespan"), {})


def cycles_of(service: LiveService) -> list[dict[str, Any]]:
    return [run for run in service.get("/runs").json()["runs"] if run["n_workpoints"] == 1]


def test_an_alert_links_to_its_runs_with_the_worst_first(service: LiveService):
    address = f"/alerts/{alert_of(service)['id']}"
    until(lambda: service.get(address).json()["total"] == len(cycles_of(service)))
    body = service.get(address).json()
    cycles = cycles_of(service)
    assert len(cycles) < len(service.get("/runs").json()["runs"]), "the request with two work points is not included"
    assert body["total"] == len(cycles)
    assert [run["makespan"] for run in body["runs"]] == sorted((run["makespan"] for run in cycles), reverse=True)
    worst = body["runs"][0]
    assert worst["value"] == worst["makespan"]
    assert (worst["n_workpoints"], worst["n_steps"], worst["success"]) == (1, 15, True)
    assert service.get(worst["url"]).json()["run"]["request_id"] == worst["request_id"]
    assert alert_of(service)["requests"] == [run["request_id"] for run in body["runs"]][:5]
    start, end = (datetime.fromisoformat(body["window"][side]) for side in ("start", "end"))
    assert start < datetime.fromisoformat(worst["timestamp"]) <= end
    assert len(service.get(f"/alerts/{body['alert']['id']}?limit=1").json()["runs"]) == 1


def test_a_notice_names_the_requests_and_a_link(receiver: Receiver, service: LiveService):
    notice = next(each for each in receiver.wait_for(1) if each.get("name") == "max_makespan")
    assert notice["requests"]
    assert f"最差的请求：{', '.join(notice['requests'])}" in notice["text"]
    assert f"GET /alerts/{notice['id']}" in notice["text"]


def test_the_command_in_an_alert_finds_its_log_lines(service: LiveService):
    log = service.get(f"/alerts/{alert_of(service)['id']}").json()["log"]
    found = subprocess.run(log["command"], shell=True, cwd=service.home, capture_output=True, text=True, check=True)
    assert len(found.stdout.splitlines()) == len(log["request_ids"]) >= 3
    assert all("算法执行完成" in line for line in found.stdout.splitlines())


def test_a_run_links_to_its_log_lines(service: LiveService):
    (other, mine) = (service.run(params=SAMPLE)["request_id"] for _ in range(2))
    until(lambda: service.get(f"/runs/{mine}/log").json()["lines"])
    lines = service.get(f"/runs/{mine}/log").json()["lines"]
    assert any(f"run={mine}" in line and "算法执行完成" in line for line in lines)
    assert all(other not in line for line in lines)
    request_id = re.search(r"\[([^\]]+)\]", lines[0])
    assert request_id is not None
    assert all(f"[{request_id[1]}]" in line for line in lines), "only lines of this request"


def test_reading_log_lines_needs_the_operator_scope(service: LiveService):
    run = service.get("/runs").json()["runs"][0]["request_id"]
    refused = service.session.get(f"{service.url}/runs/{run}/log", headers={"X-API-Key": KEY}, timeout=60)
    assert refused.status_code == 403
    answer = service.session.get(
        f"{service.url}/alerts/{alert_of(service)['id']}", headers={"X-API-Key": KEY}, timeout=60
    )
    assert answer.status_code == 200


@pytest.mark.parametrize(
    ("path", "status"),
    [("/alerts/999999", 404), ("/alerts/x", 404), ("/alerts/1?limit=0", 422), ("/runs/nothing/log", 404)],
)
def test_unknown_alerts_and_runs_are_not_found(service: LiveService, path: str, status: int):
    answer = service.get(path)
    assert answer.status_code == status
    assert answer.headers["Content-Type"] == "application/problem+json"


# --- log lines ---


LINE = "2026-11-25 12:00:00,000 {level} [{request}] scheduler: {text}"


def test_log_lines_of_a_request_are_shown_without_secrets(tmp_path: Path):
    lines = [
        LINE.format(level="ERROR", request="q1", text="the model 'x' could not answer") + "\n  | Traceback\n  | boom",
        LINE.format(level="INFO", request="q2", text="run=r2 done"),
        LINE.format(level="INFO", request="q1", text="run=r1 done api_key=hunter2"),
        LINE.format(level="INFO", request="-", text="r3 is named outside of a request"),
        LINE.format(level="INFO", request="-", text="something else"),
        LINE.format(level="INFO", request="q11", text="another request"),
        '{"time": "x", "level": "INFO", "request_id": "q4", "logger": "l", "message": "run=r4 done"}',
        '{"time": "x", "level": "INFO", "request_id": "q4", "logger": "l", "message": "its other line"}',
    ]
    (tmp_path / "flask_service.log").write_text("\n".join(lines) + "\n")
    found = lines_about(tmp_path, "r1", NOON - timedelta(days=1))
    assert [line.splitlines()[0][24:29] for line in found] == ["ERROR", "INFO "]
    assert found[0].endswith("| boom")
    assert "hunter2" not in found[1]
    assert len(lines_about(tmp_path, "r3", NOON - timedelta(days=1))) == 1
    assert len(lines_about(tmp_path, "r4", NOON - timedelta(days=1))) == 2


def test_log_lines_are_found_in_rotated_files(tmp_path: Path):
    import os

    for name, text, at in (("log.2", "old", 100.0), ("log.1", "run=r1 done", 1_000.0), ("log", "new", 2_000.0)):
        path = tmp_path / f"flask_service.{name}"
        path.write_text(LINE.format(level="INFO", request=name, text=text) + "\n")
        os.utime(path, (at, at))
    found = lines_about(tmp_path, "r1", datetime.fromtimestamp(990.0, UTC))
    assert [line[-11:] for line in found] == ["run=r1 done"]
    assert lines_about(tmp_path, "r1", datetime.fromtimestamp(1_500.0, UTC)) == []
    assert lines_about(tmp_path / "nothing", "r1", NOON) == []


# --- runs of each rule ---


@pytest.fixture
def monitor(tmp_path: Path) -> PerformanceMonitor:
    return PerformanceMonitor(
        tmp_path / "p.db", reports_dir=tmp_path, thresholds={"min_free_disk_gib": 0}, clock=lambda: NOON
    )


def runs_of(monitor: PerformanceMonitor, name: str, subject: str = "") -> list[str]:
    alert_desk(monitor, Settings(home=monitor.db_path.parent)).look(monitor.alert_readings(), RULES_OF_RUNS)
    (found,) = [each for each in monitor.alerts.unended() if (each.name, each.subject) == (name, subject)]
    assert found.id is not None
    return list(monitor.runs_of_alert(found.id)[1]["request_id"])


def record(monitor: PerformanceMonitor, *runs: dict[str, Any]) -> None:
    usual = {"model_key": "m", "makespan": 50.0, "execution_time": 0.1, "n_workpoints": 1, "n_steps": 15}
    records = [
        PerformanceRecord(timestamp=NOON - timedelta(minutes=n + 1), **{"request_id": f"r{n}"} | usual | run)
        for n, run in enumerate(runs)
    ]
    monitor.record_performance(*records)


def test_runs_of_a_low_success_rate_are_the_failures(monitor: PerformanceMonitor):
    record(monitor, {}, {"success": False, "error_message": "x"}, {}, {"success": False, "model_key": "other"})
    assert runs_of(monitor, "min_success_rate") == ["r1", "r3"], "newest first"
    assert runs_of(monitor, "model_failures", "other") == ["r3"]


def test_slow_runs_are_ordered_by_time_beyond_their_budget(monitor: PerformanceMonitor):
    slow = {"execution_time": 65.0, "time_budget_ms": 60_000.0}
    record(monitor, slow, {"execution_time": 40.0}, {"execution_time": 50.0})
    assert runs_of(monitor, "max_execution_time")[:2] == ["r2", "r1"]


def test_runs_of_a_gap_alert_are_standard_cycles_of_its_size(monitor: PerformanceMonitor):
    large = {"n_workpoints": 20, "n_steps": 300, "makespan": 400.0}
    record(
        monitor,
        *({**large, "gap": 0.02 + n / 1_000} for n in range(25)),
        {**large, "n_steps": 267, "gap": 0.9},
        {"gap": 0.5},
    )
    assert runs_of(monitor, "max_gap", "N<=20")[:3] == ["r24", "r23", "r22"]
    assert len(runs_of(monitor, "max_gap", "N<=20")) == 25
