"""Models and experiments over HTTP, as described in the contract."""

import io
import json
import shutil

import pytest

from enhanced_flask import create_app
from scheduler_service.settings import Settings

SAMPLE = [10, 5, 8, 6, 7, 9, 6, 7, 6, 7, 7, 7, 4, 7, 5]
SEEDS = Settings().seed_models_dir


@pytest.fixture(scope="module")
def client(app):
    return app.test_client()


def registration(home, **options) -> dict:
    shutil.copy(SEEDS / "ddqn_v2.pth", home / "best_model.pth")
    return {
        "model_path": "./best_model.pth",
        "algorithm_name": "DDQN",
        "training_params": {"episodes": 1000},
        "performance_metrics": {"makespan": 53.0},
        "description": "改进奖励函数的DDQN模型",
        "created_by": "developer_name",
    } | options


def test_the_life_of_a_model_from_registration_to_deletion(client, home):
    answer = client.post("/models/register", json=registration(home, tags=["canary"]))
    assert answer.status_code == 201, answer.text
    assert set(answer.json) >= {"status", "model_key", "message"}
    key = answer.json["model_key"]

    listed = client.get("/models?algorithm=DDQN").json
    assert listed["total"] == len(listed["models"]) == 3
    assert listed["models"][0]["model_key"] == key, "newest first"
    assert {
        *("model_key", "algorithm", "version", "status", "tags"),
        *("performance", "created_at", "created_by", "description"),
    } <= set(listed["models"][0])
    assert [model["model_key"] for model in client.get("/models?tag=canary").json["models"]] == [key]
    assert client.get("/models?algorithm=none").json["models"] == []
    assert client.get("/models/DDQN:canary").json["model"]["model_key"] == key

    used = client.post("/run_algorithm", json={"params": SAMPLE, "model": "DDQN:canary"})
    assert used.json["result"]["model_info"]["model_key"] == key

    before = client.get("/models/DDQN:stable").json["model"]["model_key"]
    assert client.post(f"/models/{key}/promote", json={"status": "deployed"}).status_code == 409, "not yet validated"
    assert client.post(f"/models/{key}/promote", json={"status": "validated"}).json["model"]["status"] == "validated"
    assert client.post(f"/models/{key}/promote", json={"status": "deployed"}).json["model"]["status"] == "deployed"
    assert client.get("/models/DDQN:stable").json["model"]["model_key"] == key
    assert client.delete(f"/models/{key}").status_code == 409, "the model is in use"

    back = client.post("/models/rollback", json={"algorithm": "DDQN", "reason": "makespan rose"})
    assert back.json["model_key"] == before
    assert client.put("/models/tags/canary", json={"model_key": before}).json["model_key"] == before
    assert client.delete(f"/models/{key}").status_code == 200
    assert client.get(f"/models/{key}").status_code == 404


@pytest.fixture
def own(tmp_path):
    """A service for one test: (client, home)."""
    return create_app(Settings(home=tmp_path)).test_client(), tmp_path


def outlook(client, name: str) -> dict:
    answer = client.get(f"/models/{name}/outlook")
    assert answer.status_code == 200, answer.text
    return answer.json


MOVES = {
    **{
        status: lambda client, key, status=status: client.post(f"/models/{key}/promote", json={"status": status})
        for status in ("validated", "deployed", "retired")
    },
    "deleted": lambda client, key: client.delete(f"/models/{key}"),
}


@pytest.mark.parametrize("move", MOVES)
@pytest.mark.parametrize("path", [(), ("validated",), ("validated", "deployed"), ("retired",), ("tagged",)])
def test_the_outlook_lists_the_allowed_actions(own, path, move):
    client, home = own
    key = client.post("/models/register", json=registration(home)).json["model_key"]
    for step in path:
        if step == "tagged":
            assert client.put("/models/tags/canary", json={"model_key": key}).status_code == 200
        else:
            assert MOVES[step](client, key).status_code == 200

    refusal, reason = (outlook(client, key)[name][move] for name in ("refusals", "reasons"))

    done = MOVES[move](client, key)
    if refusal is None:
        assert done.status_code == 200, done.text
        assert move == "deleted" or done.json["model"]["status"] == move
    elif reason["code"] == "model_has_status":
        assert done.status_code == 200, "a repetition changes nothing"
        assert done.json["model"]["status"] == move
    else:
        assert (done.status_code, done.json["detail"]) == (409, refusal)
        assert {name: done.json[name] for name in ("code", "params")} == reason


def test_the_outlook_lists_who_is_affected(own):
    client, home = own
    key = client.post("/models/register", json=registration(home)).json["model_key"]
    stable = client.get("/models/DDQN:stable").json["model"]["model_key"]
    default = client.get("/models/DDQN_v2.0").json["model"]["model_key"]
    halves = {"model_a": 0.5, "model_b": 0.5}
    experiment = {"experiment_name": "trial", "model_a": "DDQN:stable", "model_b": key, "traffic_split": halves}
    assert client.post("/experiments", json=experiment).status_code == 201

    before = outlook(client, key)
    assert (before["stable"], before["rollback_to"]) == (stable, None)
    assert before["default_model"] == {"name": "DDQN_v2.0", "model_key": default}
    assert before["used_by"] == [{"role": "experiment", "named": key, "experiment": "trial"}]
    assert before["follows_stable"] == [{"role": "experiment", "named": "DDQN:stable", "experiment": "trial"}]
    assert before["reasons"]["deleted"]["code"] == "used_by_experiment"
    assert before["reasons"]["deleted"]["params"] == {"model": key, "experiment": "trial"}
    assert outlook(client, default)["reasons"]["deleted"]["code"] == "used_as_default"

    for status in ("validated", "deployed"):
        MOVES[status](client, key)
    after = outlook(client, key)
    assert (after["stable"], after["rollback_to"]) == (key, stable)


def test_the_outlook_says_that_damaged_weights_cannot_be_deployed(own):
    client, home = own
    key = client.post("/models/register", json=registration(home)).json["model_key"]
    MOVES["validated"](client, key)
    (home / "models" / "models" / f"{key}.pth").write_bytes(b"damaged")
    assert outlook(client, key)["reasons"]["deployed"]["code"] == "model_weights_changed"


def test_the_outlook_of_an_unknown_model_is_404(client):
    assert client.get("/models/DDQN_v9.9/outlook").status_code == 404


@pytest.mark.parametrize("has_types", [False, True])
def test_weights_can_be_uploaded(client, has_types):
    """Browsers and generated clients send the media type that OpenAPI's `encoding` states."""
    texts = {
        "algorithm_name": ("DDQN", "text/plain"),
        "training_params": (json.dumps({"uploaded": has_types}), "application/json"),
        "tags": (f'["uploaded-{has_types}"]', "application/json"),
    }
    form = {
        name: (io.BytesIO(text.encode()), "blob", media_type) if has_types else text
        for name, (text, media_type) in texts.items()
    }
    form["file"] = (io.BytesIO((SEEDS / "ddqn_v1.pth").read_bytes()), "weights.pth")
    answer = client.post("/models/register", data=form | ({} if has_types else {"performance_metrics": "{}"}))
    assert answer.status_code == 201, answer.text
    model = client.get(f"/models/DDQN:uploaded-{has_types}").json["model"]
    assert model["training_params"] == {"uploaded": has_types}


@pytest.mark.parametrize(
    "options",
    [
        {"tag": "x"},
        {"training_param": (b"{}", "blob")},
        {"created_by": ["a", "b"]},
        {"file": [(b"x", "v.pth"), (b"x", "w.pth")]},
        {"file": [(b"x", "v.pth"), "a text"]},
        {"training_params": ["{}", (b"{}", "blob")]},
        {"training_params": (b"\xff", "blob")},
        {"training_params": (b" " * 2**20 + b"{}", "blob")},
    ],
)
def test_duplicate_and_unknown_parts_of_an_upload_are_refused(client, options):
    form = {"file": (b"x", "w.pth"), "algorithm_name": "DDQN"} | options
    fields = {
        name: [as_part(each) for each in (value if isinstance(value, list) else [value])]
        for name, value in form.items()
    }
    answer = client.post("/models/register", data=fields, content_type="multipart/form-data")
    assert answer.status_code == 422, answer.text
    assert answer.json["errors"][0]["loc"] == list(options)


def as_part(value):
    return (io.BytesIO(value[0]), value[1]) if isinstance(value, tuple) else value


@pytest.mark.parametrize(
    ("form", "status"),
    [
        ({"algorithm_name": "DDQN"}, 422),
        ({"file": (b"not weights", "w.pth"), "algorithm_name": "DDQN"}, 422),
        ({"file": (b"", "w.pth"), "algorithm_name": "DDQN"}, 422),
        ({"file": (b"x", "w.pth")}, 422),
        ({"file": (b"x", "w.pth"), "algorithm_name": "DDQN", "training_params": "{"}, 422),
        ({"file": (b"x", "w.pth"), "algorithm_name": "DDQN", "model_path": "/etc/passwd"}, 422),
        ({"file": (b"x" * (9 * 2**20), "w.pth"), "algorithm_name": "DDQN"}, 413),
    ],
)
def test_an_upload_that_is_not_a_model_is_refused(client, form, status):
    fields = {name: as_part(value) for name, value in form.items()}
    answer = client.post("/models/register", data=fields, content_type="multipart/form-data")
    assert answer.status_code == status, answer.text
    assert answer.mimetype == "application/problem+json"


@pytest.mark.parametrize("path", ["/etc/passwd", "../../etc/passwd", "./missing.pth", "models", "ab\x00c"])
def test_a_path_that_is_not_an_allowed_model_is_refused(client, home, path):
    answer = client.post("/models/register", json=registration(home, model_path=path))
    assert answer.status_code == 422, answer.text
    assert "root:" not in answer.text


@pytest.mark.parametrize(
    "change",
    [
        *({"algorithm_name": value} for value in ("", "no/such", 5, None)),
        *({"version": value} for value in ("new", 2)),
        *({"bump": value} for value in ("huge", 1)),
        *({"tags": value} for value in ("canary", [""], [5])),
        *({"training_params": value} for value in ([], "x", 5)),
        {"unknown": 1},
    ],
)
def test_an_invalid_registration_is_refused(client, home, change):
    assert client.post("/models/register", json=registration(home) | change).status_code == 422


def test_an_unknown_status_or_tag_is_refused(client):
    assert client.get("/models?status=famous").status_code == 422
    assert client.post("/models/DDQN_v1.0/promote", json={"status": "famous"}).status_code == 422
    assert client.post("/models/DDQN_v99.0/promote", json={"status": "validated"}).status_code == 404
    assert client.put("/models/tags/canary", json={"model_key": "DDQN_v99.0"}).status_code == 404
    assert client.post("/models/rollback", json={"algorithm": "SARSA", "reason": "x"}).status_code == 404


def test_an_ambiguous_short_name_lists_the_models(client, home):
    for patch in (0, 1):
        body = registration(home, training_params={"patch": patch}, version=f"7.0.{patch}")
        assert client.post("/models/register", json=body).status_code == 201
    answer = client.get("/models/DDQN_v7.0")
    assert answer.status_code == 409
    assert len(answer.json["params"]["candidates"]) == 2


def test_the_life_of_an_experiment(client):
    body = {"experiment_name": "life", "model_a": "DDQN_v1.0", "model_b": "DDQN_v2.0", "duration_days": 7}
    answer = client.post("/experiments", json=body)
    assert answer.status_code == 201
    assert answer.json["experiment_name"] == "life"
    assert client.get("/experiments/life").json["experiment"]["status"] == "active"
    assert [each["name"] for each in client.get("/experiments").json["experiments"]] == ["life"]
    for action, status in (("pause", "paused"), ("start", "active"), ("stop", "stopped"), ("conclude", "concluded")):
        answer = client.post(f"/experiments/life/{action}", json={} if action == "pause" else None)
        assert answer.json["experiment"]["status"] == status
    assert client.post("/experiments/life/start").status_code == 409
    assert client.post("/experiments/none/stop").status_code == 404
    assert client.post("/experiments/life/explode").status_code == 404


def test_results_before_the_first_run_are_empty(client):
    body = {"experiment_name": "empty", "model_a": "DDQN_v1.0", "model_b": "DDQN_v2.0"}
    assert client.post("/experiments", json=body).status_code == 201
    results = client.get("/experiments/empty/results").json["results"]
    assert results["total_requests"] == {"model_a": 0, "model_b": 0}
    assert results["is_significant"] is False
    assert results["p_value"] is None
    assert results["improvement_percentage"] is None
