"""Thresholds set by people: effective immediately, recorded with person and reason, validated the same everywhere."""

import json
import os
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from monitoring import PerformanceMonitor, PerformanceRecord
from scheduler_service.alert_rules import check, single_thresholds, threshold
from scheduler_service.alerts.limits import LimitFile
from scheduler_service.errors import InvalidInput, MustBeMended, NotFound
from scheduler_service.settings import Settings
from scheduler_service.store.folder import FolderStore
from tests.codes import coded
from tests.conftest import LiveService, live_service
from tests.programs import run_python, start_python
from tests.waiting import until

NOON = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)

NAMES = [*(each.name for each in single_thresholds()), "max_gap_<work points>"]


@pytest.fixture
def file(tmp_path: Path) -> LimitFile:
    return LimitFile(FolderStore(tmp_path), "alert_thresholds.json", lambda: NOON)


def test_a_set_threshold_applies_until_it_is_reset(file: LimitFile, tmp_path: Path):
    other = LimitFile(FolderStore(tmp_path), "alert_thresholds.json", lambda: NOON)
    file.put("max_makespan", 80.0, actor="李工", reason="冬季少两班")
    file.put("max_gap_20", 0.04, actor="李工", reason="our steps")
    assert other.thresholds == {"max_makespan": 80.0, "max_gap_20": 0.04}, "in another process"
    other.put("max_makespan", None, actor="王工", reason="")
    assert file.thresholds == {"max_gap_20": 0.04}
    results = [(each.name, each.before, each.after, each.actor, each.reason) for each in file.changes()]
    assert results == [
        ("max_makespan", None, 80.0, "李工", "冬季少两班"),
        ("max_gap_20", None, 0.04, "李工", "our steps"),
        ("max_makespan", 80.0, None, "王工", ""),
    ]


@pytest.mark.parametrize(
    ("name", "value"),
    [("min_success_rate", 1.01), ("max_makespan", -1.0), ("max_makespan", float("inf")), ("max_gap_20", float("nan"))],
)
def test_a_value_outside_its_limits_is_refused_everywhere(file: LimitFile, name: str, value: float):
    with pytest.raises(InvalidInput, check=coded("out_of_range", minimum=0)) as refused:
        file.put(name, value, actor="", reason="x")
    assert refused.value.loc == ("value",)
    with pytest.raises(ValidationError, match=rf"{name}: .* is not within 0\.\."):
        Settings(alert_thresholds={name: value})
    assert file.thresholds == {}


@pytest.mark.parametrize("name", ["max_makspan", "max_gap_0", "max_gap_", "model_failures", ""])
def test_an_unknown_name_is_refused_everywhere(file: LimitFile, name: str):
    with pytest.raises(NotFound, check=coded("unknown_threshold", known=NAMES)):
        file.put(name, 1.0, actor="", reason="x")
    with pytest.raises(NotFound, check=coded("unknown_threshold")):
        check(name, 1.0)


def test_a_threshold_that_was_never_set_cannot_be_reset(file: LimitFile):
    with pytest.raises(NotFound, check=coded("threshold_not_set")):
        file.put("max_makespan", None, actor="", reason="")
    assert file.changes() == []


@pytest.mark.parametrize(
    ("content", "word"),
    [
        ('{"thresholds": {"max_makespan": "80"}}', "max_makespan: must be a finite number"),
        ('{"thresholds": {"max_makespan": 1e9}}', "max_makespan: 1e+09 is not within 0.."),
        ('{"tresholds": {}}', "tresholds"),
        ('{"thresholds": {"max_makspan": 80}}', "max_makspan"),
        ('{"thresholds": {"max_makespan": 1, "max_makespan": 2}}', "twice"),
        ('{"thresholds": {"max_makespan": true}}', "max_makespan: must be a finite number"),
        ('{"thresholds": {}, "last_change": 1}', "last_change"),
        ("{", "not valid"),
    ],
)
def test_a_broken_file_leaves_the_last_valid_one_in_effect(file: LimitFile, tmp_path: Path, content: str, word: str):
    file.put("max_makespan", 80.0, actor="", reason="x")
    path = tmp_path / "alert_thresholds.json"
    path.write_text(content)
    assert word in (file.problem or "")
    assert file.thresholds == {"max_makespan": 80.0}
    with pytest.raises(MustBeMended):
        file.put("max_makespan", 90.0, actor="", reason="x")
    assert path.read_text() == content
    path.write_text('{"thresholds": {"max_makespan": 70}}')
    assert file.problem is None
    assert file.thresholds == {"max_makespan": 70.0}


def test_two_processes_that_set_thresholds_at_once_lose_none(tmp_path: Path):
    script = (
        "import sys\nfrom pathlib import Path\nfrom scheduler_service.alerts.limits import LimitFile\n"
        "from scheduler_service.clock import utc_now\n"
        "from scheduler_service.store.folder import FolderStore\n"
        "file = LimitFile(FolderStore(Path(sys.argv[1])), 'alert_thresholds.json', utc_now)\n"
        "for n in range(15): file.put(f'max_gap_{sys.argv[2]}{n:02}', 0.5, actor=sys.argv[2], reason='x')\n"
    )
    both = [start_python("-c", script, str(tmp_path), name) for name in ("1", "2")]
    assert [each.wait(timeout=120) for each in both] == [0, 0]
    file = LimitFile(FolderStore(tmp_path), "alert_thresholds.json", lambda: NOON)
    assert len(file.thresholds) == len(file.changes()) == 30


# --- their effect ---


def test_set_thresholds_override_settings_and_settings_override_defaults(tmp_path: Path):
    monitor = PerformanceMonitor(tmp_path / "p.db", thresholds={"max_makespan": 70.0, "max_gap_15": 0.03})
    assert (monitor.thresholds["max_makespan"], monitor.gap_thresholds[15]) == (70.0, 0.03)
    monitor.limits.file.put("max_makespan", 90.0, actor="", reason="x")
    monitor.limits.file.put("max_gap_20", 0.05, actor="", reason="x")
    assert (monitor.thresholds["max_makespan"], monitor.gap_thresholds[20]) == (90.0, 0.05)
    shown = {each["name"]: each for each in monitor.limits.shown()["thresholds"]}
    assert (shown["max_makespan"]["default"], shown["max_gap_20"]["default"]) == (70.0, 0.0125)
    assert {name for name, each in shown.items() if each["is_set"]} == {"max_makespan", "max_gap_20"}
    monitor.limits.file.put("max_makespan", None, actor="", reason="")
    assert monitor.thresholds["max_makespan"] == 70.0


def test_every_listed_threshold_can_be_set(tmp_path: Path):
    monitor = PerformanceMonitor(tmp_path / "p.db", thresholds={})
    for each in monitor.limits.shown()["thresholds"]:
        monitor.limits.file.put(each["name"], each["value"], actor="", reason="x")
    shown = monitor.limits.shown()["thresholds"]
    assert all(each["is_set"] for each in shown)
    assert {each.name for each in single_thresholds()} < {each["name"] for each in shown}
    assert threshold("max_gap_20").usual == 0.0125


def test_the_next_evaluation_uses_the_set_threshold(tmp_path: Path):
    monitor = PerformanceMonitor(tmp_path / "p.db", thresholds={"min_free_disk_gib": 0})
    monitor.record_performance(PerformanceRecord(request_id="r", makespan=70.0, execution_time=0.1))
    assert monitor.alert_readings()[0].state == "beyond"
    monitor.limits.file.put("max_makespan", 80.0, actor="", reason="x")
    assert monitor.alert_readings()[0].state == "within"


# --- over HTTP, from several workers, and on the command line ---


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveService]:
    environment = {"SCHED_WORKERS": "2", "SCHED_ALERT_THRESHOLDS": '{"max_makespan": 75}'}
    with live_service(tmp_path_factory.mktemp("thresholds"), environment=environment) as running:
        yield running


def of(service: LiveService, name: str) -> dict[str, Any]:
    (found,) = [each for each in service.get("/alerts/thresholds").json()["thresholds"] if each["name"] == name]
    return found


def test_a_threshold_set_over_http_applies_in_every_worker(service: LiveService):
    assert of(service, "max_makespan")["value"] == 75.0
    body = {"value": 80, "reason": "冬季少两班", "actor": "李工"}
    answer = service.put("/alerts/thresholds/max_makespan", json=body)
    assert answer.status_code == 200, answer.text
    assert (
        answer.json()["threshold"].items() >= {"value": 80.0, "default": 75.0, "is_set": True, "unit": "hours"}.items()
    )
    assert {service.get("/alerts").json()["thresholds"]["max_makespan"] for _ in range(12)} == {80.0}
    assert of(service, "max_makespan")["changed"].items() >= {"actor": "李工", "reason": "冬季少两班"}.items()
    back = service.delete("/alerts/thresholds/max_makespan", json={"reason": "春天", "actor": "李工"})
    assert back.json()["threshold"].items() >= {"value": 75.0, "is_set": False, "changed": None}.items()
    (newest, first, *_) = service.get("/alerts/thresholds").json()["changes"]
    assert [newest["after"], newest["reason"], first["after"]] == [None, "春天", 80.0]


def test_each_rule_is_listed_with_its_current_value(service: LiveService):
    service.run(params=[10, 5, 8, 6, 7, 9, 6, 7, 6, 7, 7, 7, 4, 7, 5])
    seen = {(each["name"], each["subject"]): each for each in service.get("/alerts").json()["rules"]}
    assert seen["min_success_rate", ""].items() >= {"value": 1.0, "threshold": 0.95, "state": "within"}.items()
    assert seen["max_makespan", ""]["value"] == pytest.approx(52.9, abs=3.0)
    assert seen["max_gap", "N<=20"].items() >= {"value": None, "state": "unknown", "threshold": 0.0125}.items()


@pytest.mark.parametrize(
    ("name", "body", "status", "code", "params"),
    [
        ("max_makespan", {"value": -1, "reason": "x"}, 422, "greater_than_equal", {"ge": 0.0}),
        ("max_makespan", {"value": 1e9, "reason": "x"}, 422, "out_of_range", {"maximum": "100,000"}),
        ("min_success_rate", {"value": 95, "reason": "x"}, 422, "out_of_range", {"minimum": 0, "maximum": "1"}),
        ("max_makespan", {"value": "x", "reason": "x"}, 422, "float_type", {}),
        ("max_makespan", {"value": 80}, 422, "missing", {"name": "reason"}),
        ("max_makespan", {"value": 80, "reason": "x", "valu": 1}, 422, "unknown_member_near", {"nearest": "value"}),
        ("max_makspan", {"value": 80, "reason": "x"}, 404, "unknown_threshold", {"name": "max_makspan"}),
        ("model_failures", {"value": 80, "reason": "x"}, 404, "unknown_threshold", {"name": "model_failures"}),
    ],
)
def test_an_invalid_threshold_is_refused_with_field_and_limit(
    service: LiveService, name: str, body: dict[str, Any], status: int, code: str, params: dict[str, Any]
):
    answer = service.put(f"/alerts/thresholds/{name}", json=body)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert params.items() <= answer.json()["params"].items()
    assert not of(service, "min_success_rate")["is_set"]


def test_a_broken_file_is_named_in_health(service: LiveService):
    service.put("/alerts/thresholds/max_gap_20", json={"value": 0.03, "reason": "our steps"})
    path = service.home / "alert_thresholds.json"
    good = path.read_text()
    path.write_text(good.replace("0.03", "three"))
    try:
        until(lambda: service.get("/health").status_code == 503)
        part = service.get("/health").json()["parts"]["thresholds"]
        assert part["status"] == "failing"
        assert "alert_thresholds.json" in part["detail"]
        assert service.get("/alerts").json()["thresholds"]["max_gap_20"] == 0.03, "the last valid value"
        assert "alert_thresholds.json" in service.get("/alerts/thresholds").json()["problem"]
        refused = service.put("/alerts/thresholds/max_gap_20", json={"value": 0.04, "reason": "x"})
        assert refused.status_code == 503
        assert "Retry-After" not in refused.headers, "a person has to repair the file first"
    finally:
        path.write_text(good)
    until(lambda: service.get("/health").status_code == 200)


def command(service: LiveService, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SCHED_")}
    line = ("-m", "monitoring", "thresholds", "--home", str(service.home), *arguments)
    return run_python(*line, env=environment)


def test_the_command_line_sets_thresholds_of_the_running_service(service: LiveService):
    done = command(service, "--set", "input_drift=0.5", "--reason", "a new plant", "--actor", "ops")
    assert (done.returncode, done.stdout) == (0, "input_drift is 0.5\n"), done.stderr
    assert of(service, "input_drift")["changed"]["reason"] == "a new plant"
    assert "ops: a new plant" in command(service).stdout
    assert json.loads(command(service, "--history", "--json").stdout)[0]["name"] == "input_drift"
    assert command(service, "--reset", "input_drift").returncode == 0
    assert not of(service, "input_drift")["is_set"]
    for wrong, word in (
        (["--set", "input_drift=0.5"], "--reason"),
        (["--set", "input_drift=1000", "--reason", "x"], "within 0..100"),
        (["--reset", "input_drift"], "not set"),
    ):
        refused = command(service, *wrong)
        assert refused.returncode == 1
        assert word in refused.stderr
    assert command(service, "--set", "input_drift").returncode == 2
