"""The outlook of a promotion: the findings for and against it, and the consent that objections require."""

import json
from unittest.mock import Mock

import pytest

from ab_testing import ABTestManager
from monitoring import PerformanceMonitor, PerformanceRecord
from scheduler_service.errors import ConsentNeeded, ExperimentConflict, InvalidExperiment
from scheduler_service.experiments.advice import advised_move
from scheduler_service.experiments.cli import main
from scheduler_service.experiments.experiment import Experiment
from scheduler_service.stats.judged import DaysLeft, Failing
from scheduler_service.stats.metrics import METRICS
from scheduler_service.stats.outcome import NotComputable
from scheduler_service.stats.verdict import Verdict
from tests.codes import coded

MODELS = {"model_a": "DDQN_v2.0", "model_b": "DDQN_v1.0"}
HALVES = {"model_a": 0.5, "model_b": 0.5}


@pytest.fixture
def service(app, home):
    """A client, and a function that records runs of `users` users; model_b's makespans are `times` as long."""
    client = app.test_client()
    keys = {arm: client.get(f"/models/{model}").json["model"]["model_key"] for arm, model in MODELS.items()}

    def record(name, users, times, *, only_b=0):
        monitor = PerformanceMonitor(home / "logs" / "performance.db")
        records = []
        for user in range(users + only_b):
            arm = ("model_a", "model_b")[user % 2] if user < users else "model_b"
            length = (20.0 + user % 5 / 100) * (times if arm == "model_b" else 1.0)
            records.append(
                PerformanceRecord(
                    request_id=f"{name}_{user}", user_id=f"u{user}", experiment=name, variant=arm, reason="assigned",
                    model_key=keys[arm], makespan=length, lower_bound=16.0, gap=length / 16.0 - 1.0,
                    execution_time=0.002,
                )
            )  # fmt: skip
        monitor.record_performance(*records)
        monitor.close()

    yield client, record
    ABTestManager(home / "ab_test_config.json").config["default_model"] = MODELS["model_a"]


def create(client, name, **options):
    request = (
        {"experiment_name": name, "traffic_split": HALVES, "guardrails": False, "min_samples": 50} | MODELS | options
    )
    assert client.post("/experiments", json=request).status_code == 201


def outlook(client, name, arm="model_b"):
    return client.get(f"/experiments/{name}/outlook?arm={arm}").json["outlook"]


def default_of(client):
    return client.get("/experiments").json["default_model"]


def test_with_too_few_samples_an_unfavourable_interval_comes_first_but_does_not_block(service):
    client, record = service
    create(client, "few")
    record("few", 16, 1.05)
    result = outlook(client, "few")
    assert (result["verdict"], result["verdict_reason"]["code"]) == ("invalid", "too_few_samples")
    raw = result["findings"][0]
    assert (raw["basis"], raw["side"]) == ("raw_means", "worse")
    assert raw["interval_percentage"][1] < 0.0
    assert raw["change_percentage"] == pytest.approx([-each for each in raw["interval_percentage"][::-1]])
    assert raw["change"] == pytest.approx([each / 100 * raw["baseline_mean"] for each in raw["change_percentage"]])
    assert raw["change"] == pytest.approx([1.0, 1.0], abs=0.1)  # 5 % of 20 h
    assert raw["users"] == {"model_a": 8, "model_b": 8}
    text = raw["text"]
    assert (text["code"], text["params"]["way"], text["params"]["side"]) == ("findings.one_sided", "longer", "worse")
    assert result["needs_consent"]
    before = default_of(client)
    refused = client.post("/experiments/few/promote", json={"reason": "hope"})
    assert (refused.status_code, refused.content_type) == (409, "application/problem+json")
    assert refused.json["type"] == "/docs#consent-needed"
    assert {each["code"] for each in refused.json["params"]["why"]} == {
        each["text"]["code"] for each in result["objections"]
    }
    assert raw["sentence"] in refused.json["detail"]
    assert "although_worse" in refused.json["detail"]
    assert default_of(client) == before
    assert client.get("/experiments/few").json["experiment"]["status"] == "active"
    done = client.post("/experiments/few/promote", json={"reason": "tests", "although_worse": True})
    assert done.status_code == 200
    line = client.get("/experiments/few/history").json["history"][-1]
    assert line["figures"]["although_worse"] is True
    assert line["figures"]["verdict"] == "invalid"
    assert line["figures"]["samples"] == {"model_a": 8, "model_b": 8}


def test_a_wrong_split_does_not_hide_an_unfavourable_interval(service):
    client, record = service
    create(client, "mismatched")
    record("mismatched", 120, 1.3, only_b=200)
    result = outlook(client, "mismatched")
    assert (result["verdict"], result["verdict_reason"]["code"]) == ("invalid", "ratio_mismatch")
    assert [each["side"] for each in result["findings"]] == ["worse", "worse"]
    assert result["findings"][0]["is_of_verdict"]
    assert client.post("/experiments/mismatched/promote").status_code == 409


@pytest.mark.parametrize(
    ("times", "verdict", "side", "advised"),
    [(1.3, "worse", "worse", "stop"), (0.7, "better", "better", "promote"), (1.0, "non_inferior", "open", None)],
)
def test_results_and_outlook_give_the_advice_of_the_verdict(service, times, verdict, side, advised):
    client, record = service
    name = f"advised_{verdict}"
    create(client, name, margin=0.2)
    record(name, 400, times)
    results, body = client.get(f"/experiments/{name}/results").json["results"], outlook(client, name)
    assert (results["verdict"], results["advised_move"]) == (verdict, advised)
    assert (body["verdict"], body["advised_move"], body["findings"][0]["side"]) == (verdict, advised, side)
    assert body["needs_consent"] == (verdict == "worse")
    answer = client.post(f"/experiments/{name}/promote", json={})
    assert answer.status_code == (409 if verdict == "worse" else 200)


def test_without_runs_there_are_no_objections_and_no_interval(service):
    client, _ = service
    create(client, "empty")
    result = outlook(client, "empty")
    assert [each["side"] for each in result["findings"]] == ["unknown"]
    assert result["findings"][0]["text"]["code"] == "findings.none"
    assert result["findings"][0]["sentence"] == (
        "No interval of B against A in makespan yet; A 0 users with 0 requests, B 0 users with 0 requests."
    )
    assert not result["needs_consent"]
    assert outlook(client, "empty", "model_a")["findings"] == []
    for arm, status in (("model_c", 422), ("x", 422)):
        assert client.get(f"/experiments/empty/outlook?arm={arm}").status_code == status
    assert client.get("/experiments/nothing/outlook").status_code == 404
    client.post("/experiments/empty/conclude")
    assert client.get("/experiments/empty/outlook").status_code == 409


def test_a_promotion_that_is_not_allowed_is_refused_before_runs_are_read(service, home):
    client, _ = service
    create(client, "unread")
    manager = ABTestManager(home / "ab_test_config.json")
    with pytest.raises(InvalidExperiment, check=coded("unknown_arm", arm="model_c")):
        manager.prospect("unread", "model_c", lambda: pytest.fail("read"))
    client.post("/experiments/unread/conclude")
    with pytest.raises(ExperimentConflict, check=coded("concluded_already")):
        manager.prospect("unread", "model_b", lambda: pytest.fail("read"))


def test_the_last_stage_is_not_left_for_a_worse_model_without_consent(service):
    client, record = service
    ramp = {"stages": [0.5, 1.0], "auto": False}
    create(client, "ramp", traffic_split=None, rollout=ramp, shadow=False)
    record("ramp", 400, 1.3)
    assert client.post("/experiments/ramp/advance").json["type"] == "/docs#consent-needed"
    assert client.get("/experiments/ramp").json["experiment"]["status"] == "active"
    assert client.post("/experiments/ramp/advance", json={"although_worse": True}).status_code == 200
    assert client.get("/experiments/ramp").json["experiment"]["status"] == "concluded"


def test_a_breached_guardrail_and_certain_failures_are_objections(service):
    client, record = service
    create(client, "guarded", guardrails={"makespan": 0.05}, margin=0.5)
    record("guarded", 400, 1.3)
    codes = [each["code"] for each in outlook(client, "guarded")["objections"]]
    assert "guardrail" in codes
    assert codes[0] == "interval"


def test_the_command_line_shows_the_outlook_and_requires_the_same_consent(service, home, capsys, monkeypatch):
    client, record = service
    create(client, "asked_about")
    record("asked_about", 400, 1.3)
    home_option = ("--home", str(home))
    assert main(ABTestManager, ["results", "asked_about", *home_option]) == 0
    assert "to do so: python -m ab_testing stop asked_about" in capsys.readouterr().out
    before = default_of(client)
    assert main(ABTestManager, ["promote", "asked_about", *home_option]) == 1
    err = capsys.readouterr().err
    assert err.startswith("AGAINST IT: B is ")
    assert "longer than A in makespan = worse" in err
    assert "although_worse" in err or "--although-worse" in err
    assert default_of(client) == before
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    for answer in ("n", EOFError):  # Ctrl-D
        monkeypatch.setattr("builtins.input", Mock(side_effect=[answer]))
        assert main(ABTestManager, ["promote", "asked_about", "--although-worse", *home_option]) == 1
        assert default_of(client) == before
    monkeypatch.setattr("builtins.input", lambda _: "y")
    assert main(ABTestManager, ["promote", "asked_about", "--although-worse", *home_option]) == 0
    assert default_of(client) != before


def test_python_promotes_without_records_and_checks_the_outlook_with_records(service, home):
    client, record = service
    create(client, "python")
    record("python", 400, 1.3)
    manager, monitor = (
        ABTestManager(home / "ab_test_config.json"),
        PerformanceMonitor(home / "logs" / "performance.db"),
    )

    def records():
        return monitor.get_performance_data(experiment="python"), monitor.get_pairs("python")

    with pytest.raises(ConsentNeeded, match="longer than A"):
        manager.promote_arm("python", records=records)
    assert manager.promote_arm("python").status == "concluded"
    monitor.close()


def experiment(**options):
    members = {"name": "e", **MODELS, "start_time": "2026-01-01T00:00:00+00:00"} | options
    return Experiment.parse(json.loads(json.dumps(members)))


def verdict(word, arm="model_b", *, is_certain=False):
    unknown = NotComputable("no_data", "no_pairs")
    return Verdict(
        candidate=arm,
        metric=METRICS["makespan"],
        word=word,
        reason=None,
        effect=unknown,
        margin=0.05,
        alpha=0.05,
        days_left=DaysLeft(None),
        failing=Failing(True, (1.0, 0.5)) if is_certain else None,
        users={"model_a": 1, arm: 1},
        requests={"model_a": 1, arm: 1},
    )


def test_the_advice_depends_on_the_status():
    ramp = {"auto": True}
    for status, worse, better, open_ in (
        ("active", "stop", "promote", None),
        ("paused", "stop", "start", "start"),
        ("stopped", "conclude", "promote", None),
        ("concluded", None, None, None),
    ):
        found = experiment(status=status)
        assert advised_move(found, verdict("worse")) == worse
        assert advised_move(found, verdict("better")) == better
        assert advised_move(found, verdict("inconclusive")) == open_
    several = experiment(model_c="DDQN_v3.0")
    assert advised_move(several, verdict("worse", "model_c")) == "stop_arm"
    assert advised_move(experiment(), verdict("better", is_certain=True)) is None
    assert advised_move(experiment(rollout=ramp), verdict("better")) is None, "the rollout continues by itself"
