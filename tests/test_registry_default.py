"""The default model: the same in registry, outlook and command line."""

import json

import pytest

from ab_testing import ABTestManager
from enhanced_flask import create_app
from model_manager import ModelVersionManager
from monitoring import PerformanceMonitor, PerformanceRecord
from scheduler_service.registry.cli import main
from scheduler_service.settings import Settings
from scheduler_service.telemetry.history import answered_by

V1, V2 = "DDQN_v1.0", "DDQN_v2.0"


@pytest.fixture
def client(app, home):
    yield app.test_client()
    ABTestManager(home / "ab_test_config.json").config["default_model"] = V2


def key(client, name):
    return client.get(f"/models/{name}").json["model"]["model_key"]


def answering(client):
    return client.get("/models").json["answering"]


def put(client, model, **options):
    return client.put("/models/default", json={"model_key": model} | options)


def test_v1_is_stable_and_the_registry_shows_v2_as_the_default(client):
    v1, v2 = key(client, V1), key(client, V2)
    listed = {each["model_key"]: each for each in client.get("/models").json["models"]}
    assert [listed[v1]["is_default"], listed[v2]["is_default"]] == [False, True]
    assert client.get(f"/models/{V2}").json["model"]["is_default"] is True
    (elsewhere,) = answering(client)["stable_elsewhere"]
    assert (elsewhere["algorithm"], elsewhere["model_key"]) == ("DDQN", v1)
    assert elsewhere["message"] == (
        f"{v1} bears the tag stable, and answers only requests that name DDQN:stable or the algorithm DDQN; "
        f"the default model is {v2}"
    )
    assert client.post("/run_algorithm", json={"params": [5] * 15}).json["result"]["model_info"]["model_key"] == v2


def test_changing_the_default_model_is_effective_and_in_the_history(client, home):
    v1, v2 = key(client, V1), key(client, V2)
    outlooks = [client.get(f"/models/{each}/outlook").json for each in (V1, V2)]
    assert outlooks[0]["refusals"]["default"] is None
    assert outlooks[1]["refusals"]["default"] == f"{v2} is the default model already"
    answer = put(client, V1, reason="planners know its plans", actor="王工")
    assert answer.status_code == 200, answer.json
    assert answer.json["default_model"] == {"name": v1, "model_key": v1}
    assert answer.json["model"]["is_default"] is True
    assert client.post("/run_algorithm", json={"params": [6] * 15}).json["result"]["model_info"]["model_key"] == v1
    assert answering(client)["stable_elsewhere"] == []
    event = client.get("/models/history").json["events"][0]
    assert (event["event"], event["model_key"], event["actor"]) == ("made_default", v1, "王工")
    assert (event["reason"], event["details"]["before"]) == ("planners know its plans", v2)
    for model in (V1, V2):  # the page of the former default shows it too
        assert client.get(f"/models/history?model_key={model}").json["events"][0]["event"] == "made_default"
    again = put(client, V1)
    assert (again.status_code, again.content_type) == (409, "application/problem+json")
    restarted = create_app(Settings(home=home)).test_client()
    assert restarted.get("/models").json["default_model"]["model_key"] == v1
    events = [each["event"] for each in restarted.get("/models/history").json["events"]]
    assert events.count("made_default") == 1, "logged once"


def test_unknown_and_undeployable_models_are_refused(client, home):
    (weights,) = (home / "models").rglob("*_v1.0.0.pth")
    body = {"model_path": str(weights), "algorithm_name": "DDQN", "bump": "major"}
    new = client.post("/models/register", json=body).json["model_key"]
    refused = put(client, new)
    assert (refused.status_code, refused.json["code"]) == (409, "move_not_allowed")
    assert client.get(f"/models/{new}/outlook").json["refusals"]["default"] in refused.json["detail"]
    assert put(client, "DDQN_v9.0").status_code == 404
    for wrong in ({}, {"model_key": ""}, {"model_key": V1, "extra": 1}, {"model_key": 7}):
        assert client.put("/models/default", json=wrong).status_code == 422
    assert client.get("/models").json["default_model"]["model_key"] == key(client, V2)


@pytest.mark.parametrize("tag", ["DDQN:stable", "stable"])
def test_a_tag_is_resolved(client, tag):
    assert put(client, tag).json["default_model"] == {"name": "DDQN:stable", "model_key": key(client, V1)}


def test_a_promotion_and_its_reversal_are_recorded_as_changes_of_the_default(client):
    body = {"experiment_name": "moved", "model_a": V2, "model_b": V1, "guardrails": False}
    assert client.post("/experiments", json=body).status_code == 201
    client.post("/experiments/moved/promote", json={"reason": "例会", "actor": "li"})
    client.post("/experiments/moved/revert", json={"actor": "li"})
    changes = [each for each in client.get("/models/history").json["events"] if each["event"] == "made_default"][:2]
    reasons = [each["reason"] for each in changes]
    assert reasons == ["experiment moved: the promotion was reverted", "experiment moved: 例会"]
    assert [each["details"]["code"] for each in changes] == ["experiment_reverted", "by_experiment_because"]
    assert changes[1]["details"]["params"] == {"experiment": "moved", "reason": "例会"}
    assert [each["model_key"] for each in changes] == [key(client, V2), key(client, V1)]


def test_shares_are_of_answered_requests_and_arms_of_their_users(client, home):
    v1, v2 = key(client, V1), key(client, V2)
    monitor = PerformanceMonitor(home / "logs" / "performance.db")
    before = answered_by(monitor.engine, monitor.clock().replace(year=2000), 20_000)
    records = [
        PerformanceRecord(request_id=f"share_{number}", model_key=v1 if number < 30 else v2, makespan=20.0)
        for number in range(100)
    ]
    failed = PerformanceRecord(request_id="share_failed", model_key=v1, success=False)
    monitor.record_performance(*records, failed)
    monitor.close()
    body = {"experiment_name": "shared", "model_a": V2, "model_b": V1, "coverage": 0.5}
    client.post("/experiments", json=body | {"traffic_split": {"model_a": 0.8, "model_b": 0.2}})
    result = answering(client)
    models = {each["model_key"]: each for each in result["models"]}
    total = sum(before.values()) + 100
    assert result["requests"] == total
    assert models[v1]["requests"] == before.get(v1, 0) + 30
    assert models[v2]["share"] == pytest.approx((before.get(v2, 0) + 70) / total)
    assert models[v1]["experiments"] == [{"experiment": "shared", "arm": "model_b", "share_of_users": 0.1}]
    client.post("/experiments/shared/stop")
    assert all(each["experiments"] == [] for each in answering(client)["models"])


def test_the_outlook_names_a_rollout_that_needs_the_default(client):
    ramp = {"experiment_name": "ramp", "model_a": V2, "model_b": V1, "rollout": {"auto": True}, "shadow": False}
    assert client.post("/experiments", json=ramp).status_code == 201
    assert client.get(f"/models/{V1}/outlook").json["held_by_default"] == ["ramp"]
    client.post("/experiments/ramp/stop")
    assert client.get(f"/models/{V1}/outlook").json["held_by_default"] == []


def test_the_command_line_shows_and_changes_the_same(client, home, capsys):
    v1, v2 = key(client, V1), key(client, V2)
    models = ("--models", str(home / "models"))

    def run(*arguments):
        status = main(ModelVersionManager, [*arguments, *models])
        return status, capsys.readouterr()

    status, result = run("default")
    assert status == 0
    assert result.out.startswith(f"{v2} answers what no experiment takes (configured as {V2})")
    assert f"{v1} bears the tag stable" in result.out
    listed = run("list")[1].out
    assert next(line for line in listed.splitlines() if v2 in line).split()[2] == "default"
    flags = {each["model_key"]: each["is_default"] for each in json.loads(run("list", "--json")[1].out)}
    assert (flags[v1], flags[v2]) == (False, True)
    status, result = run("default", V1, "--reason", "night shift", "--actor", "ann")
    assert status == 0
    assert result.out.startswith(f"{v1} answers what no experiment takes")
    assert client.get("/models").json["default_model"]["model_key"] == v1
    assert run("default", V1)[0] == 1
    assert "made_default" in run("history")[1].out
