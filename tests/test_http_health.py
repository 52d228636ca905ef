"""The three health routes of a real service: each fault is named where it matters, and clears with its cause."""

import json
import os
import subprocess
import sys

import pytest

from enhanced_flask import create_app, warm_up
from scheduler_service.errors import StorageUnavailable
from scheduler_service.http.services import EXTENSION
from scheduler_service.settings import PROJECT_ROOT, Settings
from tests.conftest import LiveService, live_service
from tests.waiting import until

PARTS = {"database", "models", "experiments", "thresholds", "disk", "folders", "clock", "queues", "warm_up"}


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    """A service of this module, since its files are removed; every test restores them."""
    with live_service(tmp_path_factory.mktemp("health")) as running:
        until_ready(running)
        yield running


@pytest.fixture
def app(tmp_path):
    return create_app(Settings(home=tmp_path))


def until_ready(service: LiveService) -> None:
    until(lambda: service.get("/health/ready").status_code == 200, lambda: service.get("/health/ready").text)


def until_named(service: LiveService, part: str) -> None:
    """Wait until `/health` names this part alone; an answer may be a second old."""
    until(lambda: service.get("/health").json().get("failing") == [part], lambda: service.get("/health").text)


def is_not_ready(service: LiveService, part: str, word: str) -> None:
    """/health/ready names the failing part and the reason, with Retry-After, while /health/live is fine."""
    until_named(service, part)
    answer = service.get("/health/ready")
    assert answer.status_code == 503, answer.text
    body = answer.json()
    assert part in body["failing"]
    assert body["parts"][part]["status"] == "failing"
    assert word in body["parts"][part]["detail"]
    assert f"{part}: " in body["error"]
    assert int(answer.headers["Retry-After"]) >= 1
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert service.get("/health/live").status_code == 200


def test_a_warm_service_is_ready_in_every_part(own):
    body = own.get("/health/ready").json()
    assert body["status"] == "ready"
    assert {name: part["status"] for name, part in body["parts"].items()} == dict.fromkeys(PARTS, "ok")


@pytest.mark.parametrize(
    ("path", "replacement", "part", "word"),
    [
        ("logs/performance.db", None, "database", "performance.db"),
        ("ab_test_config.json", "{ broken", "experiments", "ab_test_config.json"),
        ("models/metadata", "a folder", "models", "DDQN_v2.0"),
        ("reports", None, "folders", "reports"),
    ],
)
def test_a_missing_or_broken_file_is_named_and_recovers(own, path, replacement, part, word):
    file, away = own.home / path, own.home / "away"
    file.rename(away)
    if replacement == "a folder":
        file.mkdir()
    elif replacement:
        file.write_text(replacement)
    is_not_ready(own, part, word)
    away.replace(file)
    until_ready(own)


def test_a_read_only_folder_is_named_and_recovers(own):
    logs = own.home / "logs"
    logs.chmod(0o555)
    try:
        if os.access(logs, os.W_OK):
            pytest.skip("this user (root, as a rule) writes everywhere")
        is_not_ready(own, "folders", "logs")
    finally:
        logs.chmod(0o755)
    until_ready(own)


def test_a_service_is_not_ready_before_the_end_of_its_warm_up(app):
    client = app.test_client()
    assert client.get("/health").status_code == 200
    cold = client.get("/health/ready")
    assert (cold.status_code, cold.json["failing"]) == (503, ["warm_up"])
    warm_up(app.extensions[EXTENSION])
    assert client.get("/health/ready").status_code == 200


IS_LOADED = """
import sys
from pathlib import Path
from enhanced_flask import create_app, warm_up
from scheduler_service.http.services import EXTENSION
from scheduler_service.settings import Settings

warm_up(create_app(Settings(home=Path(sys.argv[1]))).extensions[EXTENSION])
from scheduler_env import annealing, decomposition, improvement, rules

called = (improvement.sample, improvement.justify, annealing.anneal, decomposition.decompose_some, rules._try_rules)
print([each.py_func.__name__ for each in called if not each.signatures])
print("scipy.optimize" in sys.modules)
"""


def test_the_warm_up_loads_the_search_for_several_work_points(tmp_path):
    """Compiled functions are read from disk at their first call: some 400 ms in all, compared with a budget of 20."""
    command = [sys.executable, "-c", IS_LOADED, str(tmp_path)]
    output = subprocess.run(command, cwd=PROJECT_ROOT, check=True, capture_output=True, text=True)
    assert output.stdout.splitlines()[-2:] == ["[]", "True"]


def test_after_a_failed_warm_up_the_service_is_ready(app, tmp_path):
    config = tmp_path / "ab_test_config.json"
    config.write_text(json.dumps({"experiments": {}, "default_model": "DDQN_v77.0"}))
    warm_up(app.extensions[EXTENSION])
    assert app.test_client().get("/health/ready").json["failing"] == ["models"], "only the cause is named"


@pytest.mark.parametrize("kind", ["compute", "improving", "storage"])
def test_a_full_queue_is_named_and_recovers(app, monkeypatch, kind):
    parts, client = app.extensions[EXTENSION], app.test_client()
    warm_up(parts)
    with monkeypatch.context() as full:
        full.setattr(getattr(parts, kind), "_capacity", 0)
        answer = client.get("/health/ready")
        assert (answer.status_code, answer.json["failing"]) == (503, ["queues"])
        assert f"the queue {kind} is full" in answer.json["error"]
        assert client.get("/health/live").status_code == 200
        assert client.get("/metrics").status_code == 200, "the full queue is visible"
    assert client.get("/health/ready").status_code == 200


def test_liveness_checks_no_part(app, monkeypatch):
    def fail(*_: object) -> None:
        raise StorageUnavailable("database_replaced", path="all.db")

    parts = app.extensions[EXTENSION]
    for threads in (parts.storage, parts.probing, parts.compute):
        monkeypatch.setattr(threads, "run", fail)
    answer = app.test_client().get("/health/live")
    assert answer.status_code == 200
    assert answer.json["status"] == "alive"
