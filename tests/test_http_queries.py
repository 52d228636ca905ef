"""Query parameters: unknown ones are refused, and names in them are resolved."""

import pytest

from scheduler_service.http.routes.docs import CONTRACTS
from tests.conftest import LiveService, live_service

FILLED_IN = {"{name}": "ddqn_v1_vs_v2", "{request_id}": "x", "{alert}": "1", "{tag}": "canary", "{number}": "1"}


@pytest.fixture(scope="module")
def running(tmp_path_factory) -> LiveService:
    with live_service(tmp_path_factory.mktemp("queries")) as service:
        names = {"experiment_name": "ddqn_v1_vs_v2", "model_a": "DDQN_v1.0", "model_b": "DDQN_v2.0"}
        assert service.post("/experiments", json=names).status_code == 201
        assert service.put("/models/tags/canary", json={"model_key": "DDQN_v2.0"}).status_code == 200
        service.run(params=[5.0] * 15)
        yield service


def filled_in(path: str) -> str:
    for part, value in FILLED_IN.items():
        path = path.replace(part, value)
    return path


@pytest.mark.parametrize("contract", CONTRACTS, ids=lambda contract: contract.key)
def test_an_unknown_parameter_is_refused_by_name(running, contract):
    answer = running.session.request(contract.method, f"{running.url}{filled_in(contract.path)}?modle_key=x")
    assert answer.status_code == 422, answer.text
    problem = answer.json()
    assert problem["errors"][0]["loc"] == ["modle_key"]
    assert problem["code"] == "unknown_parameter"
    assert (problem["params"]["name"], problem["params"]["allowed"]) == (
        "modle_key",
        list(contract.query.model_fields) if contract.query else [],
    )


def test_a_repeated_parameter_is_refused(running):
    answer = running.get("/runs?limit=1&limit=2")
    assert answer.status_code == 422
    (error,) = answer.json()["errors"]
    assert (error["loc"], error["code"], error["params"]) == (["limit"], "parameter_twice", {"n": 2})


COUNTED = {
    "/performance": lambda body: body["performance"]["total_requests"],
    "/performance/trends": lambda body: sum(point["runs"] for point in body["trends"]["points"]),
    "/runs": lambda body: len(body["runs"]),
    "/models/history": lambda body: body["total"],
}


@pytest.mark.parametrize("name", ["DDQN_v2.0", "canary"])
@pytest.mark.parametrize("path", COUNTED)
def test_a_short_name_or_a_tag_finds_the_same_as_the_key(running, path, name):
    key = running.get(f"/models/{name}").json()["model"]["model_key"]
    by_key, by_name = (COUNTED[path](running.get(f"{path}?model_key={each}").json()) for each in (key, name))
    assert by_name == by_key > 0


@pytest.mark.parametrize("path", COUNTED)
def test_an_unknown_name_is_reported(running, path):
    assert running.get(f"{path}?model_key=DDQN_v9.9").status_code == 404
    if path != "/models/history":
        answer = running.get(f"{path}?experiment=ddqn_v1_vs_v3")
        assert answer.status_code == 404
        assert answer.json()["params"] == {"experiment": "ddqn_v1_vs_v3"}
        assert running.get(f"{path}?experiment=ddqn_v1_vs_v2").status_code == 200
