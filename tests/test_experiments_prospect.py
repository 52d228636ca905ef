"""What a promotion rests on is told before it, and what speaks against it has to be consented to, at every door."""

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
    """A client, and a function that records runs of `users` users of whom model_b's take `times` as long."""
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


def create(client, name, **more):
    asked = {"experiment_name": name, "traffic_split": HALVES, "guardrails": False, "min_samples": 50} | MODELS | more
    assert client.post("/experiments", json=asked).status_code == 201


def outlook(client, name, arm="model_b"):
    return client.get(f"/experiments/{name}/outlook?arm={arm}").json["outlook"]


def default_of(client):
    return client.get("/experiments").json["default_model"]


def test_with_too_few_samples_an_interval_on_the_bad_side_is_told_first_and_hinders(service):
    client, record = service
    create(client, "few")
    record("few", 16, 1.05)
    told = outlook(client, "few")
    assert (told["verdict"], told["verdict_reason"]["code"]) == ("invalid", "too_few_samples")
    raw = told["findings"][0]
    assert (raw["basis"], raw["side"]) == ("raw_means", "worse")
    assert raw["interval_percentage"][1] < 0.0
    assert raw["change_percentage"] == pytest.approx([-each for each in raw["interval_percentage"][::-1]])
    assert raw["change"] == pytest.approx([each / 100 * raw["baseline_mean"] for each in raw["change_percentage"]])
    assert raw["change"] == pytest.approx([1.0, 1.0], abs=0.1)  # 5 % of 20 h
    assert raw["users"] == {"model_a": 8, "model_b": 8}
    text = raw["text"]
    assert (text["code"], text["params"]["way"], text["params"]["side"]) == ("findings.one_sided", "longer", "worse")
    assert told["needs_consent"]
    before = default_of(client)
    refused = client.post("/experiments/few/promote", json={"reason": "hope"})
    assert (refused.status_code, refused.content_type) == (409, "application/problem+json")
    assert refused.json["type"] == "/docs#consent-needed"
    assert {each["code"] for each in refused.json["params"]["why"]} == {
        each["text"]["code"] for each in told["objections"]
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


def test_a_split_that_is_wrong_hides_no_interval_on_the_bad_side(service):
    client, record = service
    create(client, "mismatched")
    record("mismatched", 120, 1.3, only_b=200)
    told = outlook(client, "mismatched")
    assert (told["verdict"], told["verdict_reason"]["code"]) == ("invalid", "ratio_mismatch")
    assert [each["side"] for each in told["findings"]] == ["worse", "worse"]
    assert told["findings"][0]["is_of_verdict"]
    assert client.post("/experiments/mismatched/promote").status_code == 409


@pytest.mark.parametrize(
    ("times", "verdict", "side", "advised"),
    [(1.3, "worse", "worse", "stop"), (0.7, "better", "better", "promote"), (1.0, "non_inferior", "open", None)],
)
def test_the_advice_follows_the_verdict_in_results_and_outlook(service, times, verdict, side, advised):
    client, record = service
    name = f"advised_{verdict}"
    create(client, name, margin=0.2)
    record(name, 400, times)
    results, told = client.get(f"/experiments/{name}/results").json["results"], outlook(client, name)
    assert (results["verdict"], results["advised_move"]) == (verdict, advised)
    assert (told["verdict"], told["advised_move"], told["findings"][0]["side"]) == (verdict, advised, side)
    assert told["needs_consent"] == (verdict == "worse")
    answer = client.post(f"/experiments/{name}/promote", json={})
    assert answer.status_code == (409 if verdict == "worse" else 200)


def test_without_any_run_there_is_nothing_against_it_and_no_interval(service):
    client, _ = service
    create(client, "empty")
    told = outlook(client, "empty")
    assert [each["side"] for each in told["findings"]] == ["unknown"]
    assert told["findings"][0]["text"]["code"] == "findings.none"
    assert told["findings"][0]["sentence"] == (
        "No interval of B against A in makespan yet; A 0 users with 0 requests, B 0 users with 0 requests."
    )
    assert not told["needs_consent"]
    assert outlook(client, "empty", "model_a")["findings"] == []
    for arm, status in (("model_c", 422), ("x", 422)):
        assert client.get(f"/experiments/empty/outlook?arm={arm}").status_code == status
    assert client.get("/experiments/nothing/outlook").status_code == 404
    client.post("/experiments/empty/conclude")
    assert client.get("/experiments/empty/outlook").status_code == 409


def test_what_cannot_be_promoted_is_refused_before_any_run_is_read(service, home):
    client, _ = service
    create(client, "unread")
    manager = ABTestManager(home / "ab_test_config.json")
    with pytest.raises(InvalidExperiment, check=coded("unknown_arm", arm="model_c")):
        manager.prospect("unread", "model_c", lambda: pytest.fail("read"))
    client.post("/experiments/unread/conclude")
    with pytest.raises(ExperimentConflict, check=coded("concluded_already")):
        manager.prospect("unread", "model_b", lambda: pytest.fail("read"))


def test_the_last_stage_of_a_rollout_is_not_left_for_a_worse_model_without_consent(service):
    client, record = service
    ramp = {"stages": [0.5, 1.0], "auto": False}
    create(client, "ramp", traffic_split=None, rollout=ramp, shadow=False)
    record("ramp", 400, 1.3)
    assert client.post("/experiments/ramp/advance").json["type"] == "/docs#consent-needed"
    assert client.get("/experiments/ramp").json["experiment"]["status"] == "active"
    assert client.post("/experiments/ramp/advance", json={"although_worse": True}).status_code == 200
    assert client.get("/experiments/ramp").json["experiment"]["status"] == "concluded"


def test_a_breached_guardrail_and_certain_failures_speak_against_it(service):
    client, record = service
    create(client, "guarded", guardrails={"makespan": 0.05}, margin=0.5)
    record("guarded", 400, 1.3)
    codes = [each["code"] for each in outlook(client, "guarded")["objections"]]
    assert "guardrail" in codes
    assert codes[0] == "interval"


def test_the_command_line_tells_it_first_and_takes_the_same_consent(service, home, capsys, monkeypatch):
    client, record = service
    create(client, "told")
    record("told", 400, 1.3)
    said = ("--home", str(home))
    assert main(ABTestManager, ["results", "told", *said]) == 0
    assert "to do so: python -m ab_testing stop told" in capsys.readouterr().out
    before = default_of(client)
    assert main(ABTestManager, ["promote", "told", *said]) == 1
    err = capsys.readouterr().err
    assert err.startswith("AGAINST IT: B is ")
    assert "longer than A in makespan = worse" in err
    assert "although_worse" in err or "--although-worse" in err
    assert default_of(client) == before
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    for answer in ("n", EOFError):  # Ctrl-D
        monkeypatch.setattr("builtins.input", Mock(side_effect=[answer]))
        assert main(ABTestManager, ["promote", "told", "--although-worse", *said]) == 1
        assert default_of(client) == before
    monkeypatch.setattr("builtins.input", lambda _: "y")
    assert main(ABTestManager, ["promote", "told", "--although-worse", *said]) == 0
    assert default_of(client) != before


def test_python_promotes_without_records_as_before_and_checks_where_it_has_them(service, home):
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


def experiment(**more):
    told = {"name": "e", **MODELS, "start_time": "2026-01-01T00:00:00+00:00"} | more
    return Experiment.parse(json.loads(json.dumps(told)))


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


def test_what_is_advised_depends_on_the_status():
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
    assert advised_move(experiment(rollout=ramp), verdict("better")) is None, "it goes on by itself"
