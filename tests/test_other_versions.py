"""Lines and rows that another version of the program has written, or a person has edited, break no answer."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from enhanced_flask import create_app
from model_manager import ModelVersionManager
from monitoring import PerformanceMonitor
from scheduler_service.alerts.episodes import Episode, Silence
from scheduler_service.alerts.limits import LimitFile
from scheduler_service.clock import to_iso, utc_now
from scheduler_service.settings import Settings
from scheduler_service.store.folder import FolderStore
from scheduler_service.words import WORDS, Message

NOW = to_iso(utc_now())
UNKNOWN = {"code": "experiments.history.why_later_version", "params": {"n": 3}}


def experiment_line(**changed: object) -> dict[str, object]:
    line = {"id": "1", "time": NOW, "experiment": "e", "event": "aborted", "actor": "rollout", "reason": "too slow"}
    return {**line, "before": {}, "after": {}, "figures": {}, "reason_text": [UNKNOWN], **changed}


def model_line(**changed: object) -> dict[str, object]:
    key = "DDQN_1a2b3c4d_v2.0.0"
    line = {"time": NOW, "event": "rolled_back", "model_key": key, "actor": "auto_rollback", "reason": "worse"}
    values = {"status": {key: "deployed"}, "tags": {"DDQN:stable": key}}
    details = {"code": "later_version", "params": {"x": 1}}
    return {**line, "before": values, "after": {**values, "later": {}}, "details": details, **changed}


def limit_line(**changed: object) -> dict[str, object]:
    line = {"id": "1", "time": NOW, "name": "max_makespan", "before": None, "after": 80.0, "actor": "a", "reason": "r"}
    return {**line, **changed}


def write(path: Path, *lines: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{json.dumps(each)}\n" for each in lines), encoding="utf-8")


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    home = tmp_path_factory.mktemp("home")
    write(
        home / "logs" / "experiments.jsonl",
        experiment_line(),
        experiment_line(id="2", event="of_a_later_version"),
        experiment_line(id="3", event="arm_stopped", actor="guardrail", reason_text=[{"code": 5}]),
        *(experiment_line(id="4", **{name: 5}) for name in ("time", "event", "reason", "figures", "reason_text")),
        [],
        "text",
    )
    write(
        home / "models" / "history.jsonl",
        model_line(),
        model_line(details={"code": "later_version"}),
        *(model_line(**{name: 5}) for name in ("time", "event", "model_key", "before", "details")),
        model_line(after={"status": {}, "tags": {"DDQN:stable": 5}}),
    )
    write(
        home / "logs" / "alert_thresholds.jsonl",
        limit_line(),
        limit_line(id="2", name="of_a_later_version"),
        *(limit_line(id="3", **wrong) for wrong in ({"after": "80"}, {"time": 5}, {"name": ["a"]}, {"actor": None})),
    )
    monitor = PerformanceMonitor(home / "logs" / "performance.db")
    at = datetime.now(UTC)
    usual = {
        "severity": "warning",
        "state": "firing",
        "began": at,
        "fired": at,
        "last_beyond": at,
        "advice": "look at it",
    }
    for name, params in (
        ("of_a_later_version", {"x": 1}),
        ("max_gap", {}),
        ("model_rolled_back", {"reason": [UNKNOWN]}),
    ):
        monitor.alerts.store(
            [Episode(name=name, subject="s", message="it is bad", params=params, **usual)], lambda _: []
        )
    for subject in ("N<=x", "N<=" + "9" * 5_000, "N>x"):
        monitor.alerts.silence(Silence("max_gap", subject, at, at + timedelta(hours=1), "a", "r"))
    monitor.close()
    return create_app(Settings(home=home)).test_client()


@pytest.mark.parametrize(
    "path",
    ["/alerts", "/alerts/history", "/alerts/thresholds", "/models/history", "/models", "/experiments"],
)
def test_an_answer_passes_over_what_it_cannot_read(client, path):
    answer = client.get(path)
    assert answer.status_code == 200, answer.text


def test_an_alert_of_a_later_version_is_shown_as_it_was_written(client):
    stored = {each["name"]: each for each in client.get("/alerts/history").json["alerts"]}
    assert stored["of_a_later_version"]["message"] == "it is bad"
    found = {each["name"]: each for each in client.get("/alerts").json["alerts"]}
    reason = found["experiment_aborted"]["message"]
    assert UNKNOWN["code"] in reason or "too slow" in reason


def test_lines_that_cannot_be_read_are_named_in_the_log(tmp_path, caplog):
    write(tmp_path / "models" / "history.jsonl", model_line(time=5), model_line())
    assert len(ModelVersionManager(tmp_path / "models").history()) == 1
    assert "a line is unreadable and passed over (time is 5)" in caplog.text


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_a_report_shows_alerts_of_a_later_version(client, lang):
    answer = client.post("/reports/performance", json={"days": 1, "lang": lang})
    assert answer.status_code in (200, 201), answer.text


@pytest.mark.parametrize(
    "content",
    [
        {"thresholds": {"max_makespan": "80"}},
        {"thresholds": {"max_makespan": None}},
        {"thresholds": {"max_makespan": [80]}},
        {"thresholds": {"max_makespan": 10**400}},
        {"thresholds": None},
        {"last_change": limit_line(time=5)},
        {"last_change": limit_line(name=["a"])},
        {"last_change": "x"},
        [],
        None,
    ],
)
def test_an_edited_file_of_thresholds_is_a_problem_and_no_error(tmp_path, content):
    (tmp_path / "alert_thresholds.json").write_text(json.dumps(content))
    file = LimitFile(FolderStore(tmp_path), "alert_thresholds.json", utc_now)
    assert file.problem
    assert file.changes() == []
    assert dict(file.thresholds) == {}


def test_a_message_of_a_later_version_within_another_is_written_as_its_code():
    found = WORDS.text("alerts.with_reason", {"message": "bad", "reason": [UNKNOWN]})
    assert "experiments.history.why_later_version (n=3)" in found
    assert WORDS.say_known(Message(**UNKNOWN)) == ""
