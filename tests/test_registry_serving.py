"""A new version is deployed while the service runs: in every worker, without a restart; and its history."""

import shutil
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import requests

from enhanced_flask import create_app
from monitoring import PerformanceRecord
from scheduler_service.http.services import EXTENSION
from scheduler_service.http.watch import watching
from scheduler_service.settings import Settings
from tests.checkpoints import write_checkpoint
from tests.conftest import live_service
from tests.waiting import HANG_S, until

SAMPLE = [10, 5, 8, 6, 7, 9, 6, 7, 6, 7, 7, 7, 4, 7, 5]


@pytest.fixture(scope="module")
def two_workers(tmp_path_factory):
    home = tmp_path_factory.mktemp("two")
    (home / "ab_test_config.json").write_text('{"experiments": {}, "default_model": "DDQN:stable"}')
    with live_service(home, arguments=["--workers", "2"]) as running:
        yield running


def test_a_promotion_reaches_every_worker_without_a_refused_request(two_workers):
    write_checkpoint(two_workers.home / "new.pth", 1)
    response = two_workers.post(
        "/models/register", json={"model_path": "new.pth", "algorithm_name": "DDQN", "training_params": {"new": 1}}
    )
    key = response.json()["model_key"]
    assert two_workers.post(f"/models/{key}/promote", json={"status": "validated"}).status_code == 200

    def ask(_number):
        # A connection of its own, so that both workers get some.
        answer = requests.post(f"{two_workers.url}/run_algorithm", json={"params": SAMPLE}, timeout=HANG_S)
        assert answer.status_code == 200, answer.text
        body = answer.json()["experiment_info"]
        return body["model_used"], body["reason"]

    with ThreadPoolExecutor(8) as pool:
        before = list(pool.map(ask, range(40)))
        assert {model for model, _ in before}.isdisjoint({key})
        assert two_workers.post(f"/models/{key}/promote", json={"status": "deployed"}).status_code == 200
        after = []
        until(lambda: after.extend(pool.map(ask, range(20))) or {model for model, _ in after[-20:]} == {key})
        after_all = list(pool.map(ask, range(40)))
    assert {reason for _, reason in before + after + after_all} == {"default"}
    assert {model for model, _ in after_all} == {key}, "no client sees the old model again"


@pytest.fixture(scope="module")
def client(app):
    return app.test_client()


def test_history_and_live_models_are_shown(client):
    stable = client.get("/models/DDQN:stable").json["model"]
    other = next(m for m in client.get("/models").json["models"] if m["model_key"] != stable["model_key"])
    key = other["model_key"]
    for status in ("validated", "deployed"):
        client.post(f"/models/{key}/promote", json={"status": status, "reason": "better", "actor": "li"})
    now = client.get("/models/history").json
    assert now["live"]["DDQN"]["model_key"] == key
    assert (now["live"]["DDQN"]["actor"], now["live"]["DDQN"]["reason"]) == ("li", "better")
    assert now["events"][0]["event"] == "promoted"
    shipped = next(event for event in now["events"] if event["model_key"] == stable["model_key"])
    then = client.get("/models/history", query_string={"at": shipped["time"]}).json
    assert then["live"]["DDQN"]["model_key"] == stable["model_key"]
    assert all(event["time"] <= shipped["time"] for event in then["events"])
    assert client.get("/models/history?limit=1").json["total"] == now["total"]
    assert client.get("/models/history?algorithm=GA").json["events"] == []
    mine = client.get("/models/history", query_string={"model_key": key}).json["events"]
    assert {event["event"] for event in mine} >= {"registered", "promoted"}


@pytest.mark.parametrize("query", ["at=yesterday", "limit=0", "limit=many", "limit=99999", "limit=٣"])
def test_an_invalid_query_is_refused(client, query):
    assert client.get(f"/models/history?{query}").status_code == 422


def test_a_tag_can_be_removed_and_the_history_names_the_person(client):
    client.put("/models/tags/blue", json={"model_key": "DDQN_v1.0", "actor": "li", "reason": "trial"})
    assert client.delete("/models/tags/blue", json={"actor": "wang", "reason": "over"}).status_code == 200
    removed, given = client.get("/models/history?limit=2").json["events"]
    assert (given["event"], given["actor"], given["reason"]) == ("tagged", "li", "trial")
    assert (removed["event"], removed["actor"], removed["reason"]) == ("untagged", "wang", "over")
    assert client.delete("/models/tags/blue").status_code == 404


def test_a_model_shows_measured_metrics_and_origin(app, client):
    home = app.extensions[EXTENSION].settings.home
    shutil.copy(Settings().seed_models_dir / "ddqn_v1.pth", home / "mine.pth")
    body = {
        "model_path": "mine.pth", "algorithm_name": "DDQN", "training_params": {"mine": 1},
        "performance_metrics": {"makespan": 42.5}, "lineage": {"parent": "DDQN_v1.0", "code_version": "abc"},
    }  # fmt: skip
    key = client.post("/models/register", json=body).json["model_key"]
    shown = client.get(f"/models/{key}").json["model"]
    assert shown["verified_metrics"]["makespan"] > 52.8
    assert [flag["metric"] for flag in shown["flags"]] == ["makespan"]
    assert shown["lineage"]["parent"] == client.get("/models/DDQN_v1.0").json["model"]["model_key"]
    assert client.post("/models/register", json=body | {"lineage": {"mother": "x"}}).status_code == 422


def test_the_watch_rolls_back_a_degraded_live_model(tmp_path, monkeypatch):
    """The loop of a service with SCHED_AUTO_ROLLBACK, on records written by the monitor."""
    parts = create_app(Settings(home=tmp_path, auto_rollback=True)).extensions[EXTENSION]
    key = parts.models.resolve("DDQN_v2.0")
    for status in ("validated", "deployed"):
        parts.models.promote_model(key, status)
    for number, gap in enumerate(np.random.default_rng(0).uniform(0.7, 0.9, 80)):
        parts.monitor.record_performance(
            PerformanceRecord(
                request_id=f"r{number}", model_key=key, algorithm="DDQN", experiment=None, variant=None,
                reason="default", user_id="u", makespan=80.0, execution_time=0.01, lower_bound=45.0, gap=float(gap),
                resource_utilization=0.2, team_utilization={}, n_workpoints=1, n_steps=15, stage="greedy",
                input_params={"params": [number + 1, *SAMPLE[1:]]},
            )
        )  # fmt: skip

    class EnoughLooks(Exception):
        pass

    looks = []

    def sleep(_seconds):
        looks.append(parts.models.resolve("DDQN:stable"))
        if len(looks) == 3:
            raise EnoughLooks

    monkeypatch.setattr(watching.gevent, "sleep", sleep)
    with pytest.raises(EnoughLooks):
        watching.watch_live_models(parts)
    assert looks[0] == key
    assert looks[1] == looks[2] == parts.models.resolve("DDQN_v1.0"), "the second review changes nothing"
    assert parts.models.history()[-1].actor == "auto-rollback"
