"""Schedules stay available after releases, deletions, lost files, long searches and repeated ids."""

import pytest

from scheduler_env import SAMPLE_PARAMS
from tests.checkpoints import write_checkpoint
from tests.conftest import LiveService, live_service
from tests.connections import computing

SAMPLE = list(SAMPLE_PARAMS)


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    """A service of this module, since its models and default change."""
    with live_service(tmp_path_factory.mktemp("resilience")) as running:
        yield running


def _default_key(service: LiveService) -> str:
    return service.run(params=SAMPLE)["experiment_info"]["model_used"]


def test_the_default_model_of_a_fresh_home_cannot_be_deleted(own):
    refused = own.delete("/models/DDQN_v2.0")
    assert (refused.status_code, refused.json()["code"]) == (409, "used_as_default")
    assert own.run(params=SAMPLE)["experiment_info"]["reason"] == "default"


def test_after_a_patch_release_the_configured_model_answers_and_the_short_name_is_ambiguous(own):
    before = _default_key(own)
    write_checkpoint(own.home / "patch.pth", 1)
    body = {"model_path": "patch.pth", "algorithm_name": "DDQN", "training_params": {}, "performance_metrics": {}}
    released = own.post("/models/register", json={**body, "version": "2.0.1"})
    assert released.status_code == 201, released.text
    answer = own.run(params=SAMPLE)
    assert answer["experiment_info"]["model_used"] == before
    assert answer["experiment_info"]["reason"] == "default"
    assert own.get("/health").status_code == 200
    ambiguous = own.get("/models/DDQN_v2.0")
    assert (ambiguous.status_code, ambiguous.json()["code"]) == (409, "ambiguous_model")
    assert released.json()["model_key"] in ambiguous.json()["params"]["candidates"]


def test_two_runs_with_the_same_request_id_are_two_runs(own):
    ids = {
        own.post("/run_algorithm", json={"params": SAMPLE}, headers={"X-Request-ID": "same"}).json()["request_id"]
        for _ in range(3)
    }
    assert len(ids) == 3
    assert "same" not in ids
    assert own.post("/feedback", json={"request_id": ids.pop(), "user_satisfaction": 4}).status_code == 200


def test_a_page_whose_host_name_resolves_to_the_service_is_refused(own):
    forged = {"Host": "evil.example:5001", "Origin": "http://evil.example:5001"}
    assert own.put("/models/tags/canary", json={"model_key": "DDQN_v1.0"}, headers=forged).status_code == 403
    assert own.put("/models/tags/canary", json={"model_key": "DDQN_v1.0"}).status_code == 200
    assert own.post("/run_algorithm", json={"params": SAMPLE}, headers=forged).status_code == 403
    for path in ("/models", "/performance", "/console/", "/health", "/docs", "/nowhere"):
        assert own.get(path, headers={"Host": "evil.example"}).status_code == 403, path
    assert own.get("/health/live", headers=forged).status_code == 200


def test_long_searches_do_not_block_others(own):
    own.run(params=SAMPLE, time_budget_ms=50)
    unproved = [{"params": SAMPLE[::-1]}, {"params": SAMPLE}] * 2
    with computing(own, 4, unproved):
        own.run(params=SAMPLE)


def test_lost_weights_of_the_default_are_shown_in_health_and_another_model_answers(tmp_path):
    with live_service(tmp_path / "home") as first:
        key = _default_key(first)
        first.stop()
    (tmp_path / "home" / "models" / "models" / f"{key}.pth").unlink()
    with live_service(tmp_path / "home") as second:
        answer = second.run(params=SAMPLE)
        assert answer["experiment_info"]["reason"] == "fallback"
        broken = [alert for alert in second.get("/alerts").json()["alerts"] if alert["name"] == "model_failures"]
        assert [(alert["value"], key in alert["message"]) for alert in broken] == [(1.0, True)]
        health = second.get("/health")
        assert health.status_code == 503
        assert health.json()["failing"] == ["models"]


def test_an_unwritable_home_ends_the_start_with_one_line(tmp_path):
    (tmp_path / "logs").write_text("a file where a folder should be")
    with pytest.raises(pytest.fail.Exception, match="cannot write below SCHED_HOME") as caught, live_service(tmp_path):
        pass
    assert "Traceback" not in str(caught.value)
