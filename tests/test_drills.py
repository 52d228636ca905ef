"""The rollback drill of docs/operations.md on a service with its own alerts: no call fails during it."""

import shutil
from collections.abc import Iterator

import pytest

from scheduler_service.settings import PROJECT_ROOT
from tests.conftest import LiveService, live_service
from tests.waiting import until

LOOKING = {
    "SCHED_ALERT_EVERY_S": "0.5",
    "SCHED_ALERT_CONFIRM_S": "1",
    # Without search, as in the drill, the second seed model leaves a gap of 2.4 % and the first one 8.5 %.
    "SCHED_ALERT_THRESHOLDS": '{"max_gap_1": 0.05}',
}


@pytest.fixture
def service(tmp_path) -> Iterator[LiveService]:
    with live_service(tmp_path, environment=LOOKING) as running:
        yield running


def plants(service: LiveService, count: int) -> set[str]:
    """Send that many requests, each for another plant, without search; return the models that answered."""
    answers = [
        service.run(params=[6 + n % 9, 5, 8, 6, 7, 4 + n % 11, 6, 7, 6, 7, 7, 3 + n % 7, 4, 7, 5], time_budget_ms=0)
        for n in range(count)
    ]
    return {answer["result"]["model_info"]["model_key"] for answer in answers}


def deploy(service: LiveService, name: str) -> None:
    for status in ("validated", "deployed"):
        answer = service.post(f"/models/{name}/promote", json={"status": status, "reason": "drill"})
        assert answer.status_code == 200, answer.text


def firing(service: LiveService) -> set[str]:
    return {each["name"] for each in service.get("/alerts").json()["alerts"] if each["state"] == "firing"}


def test_a_weak_deployed_model_raises_an_alert_and_is_rolled_back(service):
    deploy(service, "DDQN_v2.0")
    config = service.home / "ab_test_config.json"
    config.write_text(config.read_text("utf-8").replace("DDQN_v2.0", "DDQN:stable"), "utf-8")
    good = plants(service, 30)
    assert good == {service.get("/models/DDQN_v2.0").json()["model"]["model_key"]}

    shutil.copy(PROJECT_ROOT / "models" / "seed" / "ddqn_v1.pth", service.home / "candidate.pth")
    weak = {
        "model_path": "candidate.pth", "algorithm_name": "DDQN", "version": "9.0.0", "training_params": {"drill": True},
        "performance_metrics": {}, "description": "the first seed model under another name", "created_by": "drill",
    }  # fmt: skip
    registered = service.post("/models/register", json=weak)
    assert registered.status_code == 201, registered.text
    deploy(service, "DDQN_v9.0")
    assert "max_gap" not in firing(service)
    assert plants(service, 60) == {registered.json()["model_key"]}
    until(lambda: "max_gap" in firing(service))

    answer = service.post("/models/rollback", json={"algorithm": "DDQN", "reason": "max_gap fires", "actor": "drill"})
    assert answer.status_code == 200, answer.text
    assert plants(service, 1) == good, "from the next request on"
    plants(service, 120)
    until(lambda: "max_gap" not in firing(service))
    events = service.get("/models/history?limit=1").json()["events"]
    assert [(each["event"], each["actor"], each["reason"]) for each in events] == [
        ("rolled_back", "drill", "max_gap fires")
    ]
