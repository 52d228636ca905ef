"""The routes of experiments: archiving over HTTP, and their answers while the configuration is broken."""

import pytest

from enhanced_flask import create_app
from scheduler_service.settings import Settings

EXPERIMENT = {"experiment_name": "old", "model_a": "DDQN_v1.0", "model_b": "DDQN_v2.0"}
READING = (
    *("/experiments", "/experiments/old", "/experiments/old/assignment?user_id=u1", "/experiments/old/history"),
    *("/experiments/old/results", "/experiments/old/course"),
)
CHANGING = {
    **{
        f"/experiments/old/{move}": {}
        for move in ("start", "pause", "stop", "conclude", "archive", "advance", "promote", "revert")
    },
    "/experiments/old/stop_arm": {"arm": "model_b"},
    "/experiments": EXPERIMENT | {"experiment_name": "new"},
}
OF_BOTH = {"/experiments/old/replay": {}}
BROKEN = {
    "no JSON": b'{"experiments": {',
    "too large": b" " * (16 * 2**20 + 1),
    "another experiment is wrong": b'{"experiments": {"x": {"model_a": "A"}}, "default_model": "DDQN_v2.0"}',
}


def client_over(home):
    return create_app(Settings(home=home)).test_client()


@pytest.fixture
def client(tmp_path):
    found = client_over(tmp_path)
    assert found.post("/experiments", json=EXPERIMENT).status_code == 201
    return found


def assert_broken(answer):
    assert answer.status_code == 503, answer.request.path
    assert answer.content_type == "application/problem+json"
    assert answer.json["code"] == "file_needs_repair"
    assert "ab_test_config.json" in str(answer.json["params"]["problem"])
    assert "Retry-After" not in answer.headers, "retrying does not help"


@pytest.mark.parametrize("content", BROKEN.values(), ids=BROKEN)
def test_every_route_that_needs_it_reports_a_broken_configuration(client, tmp_path, content):
    path = tmp_path / "ab_test_config.json"
    good = path.read_bytes()
    path.write_bytes(content)
    for route in READING:
        assert client.get(route).status_code == 200, "the last valid configuration applies"
    for route, body in CHANGING.items():
        assert_broken(client.post(route, json=body))
    restarted = client_over(tmp_path)
    for route in (*READING, "/experiments/old/replay"):
        assert_broken(restarted.get(route))
    for route, body in (CHANGING | OF_BOTH).items():
        assert_broken(restarted.post(route, json=body))
    for service in (client, restarted):
        assert_broken(service.post("/reports/ab_test", json={"experiment_name": "old"}))
    assert restarted.get("/metrics").status_code == 200
    assert "ab_test_config.json is not valid" in restarted.get("/health").text
    run = restarted.post("/run_algorithm", json={"params": [10] * 15, "experiment": "old", "user_id": "u1"})
    assert run.status_code == 200, "a run does not need the configuration"
    assert path.read_bytes() == content
    path.write_bytes(good)
    assert restarted.get("/experiments/old").status_code == 200
    assert restarted.post("/experiments/old/pause", json={}).status_code == 200


def test_an_archived_experiment_can_be_read_and_listed_on_request(mostly_words, client, tmp_path):
    run = client.post("/run_algorithm", json={"params": [10] * 15, "experiment": "old", "user_id": "u1"})
    assert run.status_code == 200
    refused = client.post("/experiments/old/archive", json={})
    assert (refused.status_code, refused.content_type) == (409, "application/problem+json")
    assert refused.json["code"] == "move_of_experiment"
    client.post("/experiments/old/stop", json={})
    before = {route: client.get(route).json for route in READING[1:]}
    answer = client.post("/experiments/old/archive", json={"actor": "ann", "reason": "room"})
    assert answer.status_code == 200
    assert answer.json["message"] == "the experiment old is stopped and archived"
    for service in (client, client_over(tmp_path)):
        assert service.get("/experiments").json["experiments"] == []
        (listed,) = service.get("/experiments?archived=true").json["experiments"]
        assert listed["name"] == "old"
        after = {route: service.get(route).json for route in READING[1:]}
        found = after["/experiments/old"]["experiment"]
        assert found.pop("archived_at") == listed["archived_at"]
        assert after["/experiments/old/history"]["history"].pop()["event"] == "archived"
        after["/experiments/old/history"]["total"] -= 1
        assert after == before
        report = service.post("/reports/ab_test", json={"experiment_name": "old"})
        assert report.status_code in (200, 201)
        again = service.post("/experiments", json=EXPERIMENT)
        assert (again.status_code, again.json["code"]) == (409, "name_in_archive")
    assert client.get("/experiments?archived=yes").status_code == 422
    assert client.get("/experiments?archived=").json["total"] == 0
