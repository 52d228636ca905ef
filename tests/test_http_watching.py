"""The watch over experiments: which are reviewed, when, and how faults are isolated."""

from datetime import timedelta
from types import SimpleNamespace

import pytest

from enhanced_flask import create_app
from monitoring import PerformanceRecord
from scheduler_env.standard_cycle import SAMPLE_PARAMS
from scheduler_service.clock import utc_now
from scheduler_service.http.services import EXTENSION
from scheduler_service.http.watch.watching import (
    PAUSE_FACTOR,
    UNCHANGED_INTERVAL_S,
    BreakerWatch,
    ExperimentWatch,
)
from scheduler_service.settings import Settings
from scheduler_service.telemetry.queries import Seen, experiments_since
from scheduler_service.telemetry.record import PairRecord

NAMES = ("first", "second", "unguarded", "paused")


@pytest.fixture
def parts(tmp_path):
    found = create_app(Settings(home=tmp_path)).extensions[EXTENSION]
    for name in ("first", "second"):
        found.experiments.create_experiment(name, "DDQN_v1.0", "DDQN_v2.0")
    found.experiments.create_experiment("unguarded", "DDQN_v1.0", "DDQN_v2.0", guardrails={})
    found.experiments.create_experiment("paused", "DDQN_v1.0", "DDQN_v2.0")
    found.experiments.pause_experiment("paused")
    return found


@pytest.fixture
def judged(parts, monkeypatch):
    """The names of the reviewed experiments, in order."""
    names = []
    monkeypatch.setattr(parts.experiments, "review", lambda name, *_, **__: names.append(name))
    return names


def run_each(parts, *names):
    for name in names:
        record = PerformanceRecord(request_id=f"{name}-{parts.monitor.count_runs()}", experiment=name, success=True)
        parts.monitor.record_performance(record)


def test_active_experiments_are_reviewed_once_until_there_is_something_new(parts, judged):
    watch = ExperimentWatch(parts)
    watch.review()
    assert judged == [], "no runs to review"
    run_each(parts, *NAMES)
    for _ in range(3):
        watch.review()
    assert judged == ["first", "second"]
    run_each(parts, "second")
    watch.review()
    assert judged == ["first", "second", "second"]


def test_new_pairs_and_changes_cause_a_review(parts, judged):
    run_each(parts, *NAMES)
    watch = ExperimentWatch(parts)
    watch.review()
    pair = {"candidate": "model_b", "key_a": "a", "key_b": "b", "success_a": False, "success_b": False}
    parts.monitor.record_pair(PairRecord(request_id="r", experiment="first", source="shadow", **pair))
    watch.review()
    parts.experiments.config["experiments"]["second"]["margin"] = 0.02
    watch.review()
    parts.experiments.start_experiment("paused")
    watch.review()
    watch.review()
    assert judged == ["first", "second", "first", "second", "paused"]


def test_another_database_causes_a_review_of_all(parts, judged):
    run_each(parts, "first", "first", "first")
    watch = ExperimentWatch(parts)
    watch.review()
    assert experiments_since(parts.monitor.engine, Seen(2), Seen()) == ({"first"}, Seen(3), Seen())
    assert experiments_since(parts.monitor.engine, Seen(3), Seen()) == (set(), Seen(3), Seen())
    assert experiments_since(parts.monitor.engine, Seen(9), Seen(9)) == ({"first"}, Seen(3), Seen())


def test_a_rollout_is_reviewed_when_its_stage_is_due_and_otherwise_in_rotation(parts, judged, monkeypatch):
    now = SimpleNamespace(time=utc_now(), s=1_000.0)
    monkeypatch.setattr("scheduler_service.http.watch.watching.utc_now", lambda: now.time)
    monkeypatch.setattr("scheduler_service.http.watch.watching.time", SimpleNamespace(monotonic=lambda: now.s))
    ramps = [f"ramp_{number}" for number in range(3)]
    for name in ramps:
        parts.experiments.create_experiment(name, "DDQN_v2.0", "DDQN_v1.0", rollout={"min_hours": 2.0})
    run_each(parts, *ramps)
    watch = ExperimentWatch(parts)
    for _ in range(3):
        watch.review()
    assert judged == ramps
    now.time += timedelta(hours=3)
    for _ in range(3):
        watch.review()
    assert judged == [*ramps, *ramps]
    now.s += UNCHANGED_INTERVAL_S
    for _ in range(5):
        watch.review()
    assert len(judged) == 9, "one per round, each once"
    assert set(judged[6:]) == set(ramps)


def test_a_fault_of_one_experiment_is_logged_once_and_does_not_affect_the_others(parts, monkeypatch, caplog):
    names = []

    def review(name, *_, **__):
        names.append(name)
        raise ZeroDivisionError("a defect of ours")

    monkeypatch.setattr(parts.experiments, "review", review)
    monkeypatch.setattr("scheduler_service.http.watch.watching.UNCHANGED_INTERVAL_S", 0.0)
    watch = ExperimentWatch(parts)
    run_each(parts, *NAMES)
    watch.review()
    watch.review()
    assert names[:2] == ["first", "second"]
    assert len(names) == 3, "the fault may be gone"
    assert caplog.text.count("experiment first could not be reviewed: a defect of ours") == 1


def test_a_long_review_is_followed_by_a_pause(parts, monkeypatch):
    names, now = [], SimpleNamespace(s=1_000.0)

    def review(name, *_, **__):
        names.append(name)
        now.s += 0.05

    monkeypatch.setattr("scheduler_service.http.watch.watching.time", SimpleNamespace(monotonic=lambda: now.s))
    monkeypatch.setattr(parts.experiments, "review", review)
    watch = ExperimentWatch(parts)
    for _ in range(4):  # the first determines no pause, the second took long
        run_each(parts, "first")
        watch.review()
    assert names.count("first") == 2
    now.s += PAUSE_FACTOR * 0.05
    watch.review()
    assert names.count("first") == 3, "runs recorded during the pause are reviewed after it"


# --- failing requests ---


@pytest.fixture
def failing(tmp_path, monkeypatch):
    """A service with an experiment whose candidate cannot be loaded; the watch makes no pauses."""
    monkeypatch.setattr("scheduler_service.http.watch.watching.BREAKER_PAUSE_FACTOR", 0.0)
    app = create_app(Settings(home=tmp_path))
    parts = app.extensions[EXTENSION]
    for name, options in (("bad", {}), ("unguarded", {"guardrails": False})):
        parts.experiments.create_experiment(
            name, "DDQN_v2.0", "DDQN_v1.0", {"model_a": 0.0, "model_b": 1.0}, actor="王工", **options
        )
    for weights in (tmp_path / "models" / "models").glob("*_v1.0.0*"):
        weights.unlink()
    return app, parts


def ask(app, experiment, user="u"):
    body = {"params": list(SAMPLE_PARAMS), "experiment": experiment, "user_id": user, "time_budget_ms": 0}
    answer = app.test_client().post("/run_algorithm", json=body)
    assert answer.status_code == 200
    return answer.json["experiment_info"]


def test_a_failing_candidate_is_stopped_within_its_first_20_requests_even_from_one_user(failing):
    app, parts = failing
    watch, answers = BreakerWatch(parts), []
    while (info := ask(app, "bad"))["reason"] == "fallback" and len(answers) < 100:
        answers.append(info)
        watch.check(parts.failed_runs.wait(0.0))
    assert len(answers) == 13
    assert info["reason"] == "experiment_not_active"
    last = parts.experiments.history.of("bad")[-1]
    assert (last["event"], last["actor"], last["after"]) == ("aborted", "guardrail", {"status": "stopped"})
    assert last["reason"] == (
        "Guardrail breached: the candidate's own model failed in 13 of 13 requests; 50 % may."
    )  # fmt: skip
    assert [each["code"] for each in last["reason_text"]] == ["rollout.breached"]
    assert last["figures"] == {"guardrails": {"requests": {"state": "breached", "harm": 1.0}}}


def test_the_periodic_review_also_stops_it_and_the_results_name_the_breaker(failing):
    app, parts = failing
    for _ in range(20):
        ask(app, "bad")
    ExperimentWatch(parts).review()
    assert parts.experiments.get_experiment("bad").status == "stopped"
    results = app.test_client().get("/experiments/bad/results").json["results"]
    (breaker,) = (each for each in results["guardrails"] if each["name"] == "requests")
    assert (breaker["state"], breaker["harm"], breaker["margin"]) == ("breached", 1.0, 0.5)


def test_switching_the_guardrails_off_also_switches_the_breaker_off(failing):
    app, parts = failing
    watch = BreakerWatch(parts)
    for _ in range(30):
        ask(app, "unguarded")
        watch.check(parts.failed_runs.wait(0.0))
    ExperimentWatch(parts).review()
    assert parts.experiments.get_experiment("unguarded").status == "active"
    assert app.test_client().get("/experiments/unguarded/results").json["results"]["guardrails"] == []


def test_only_failures_of_an_arms_own_model_wake_the_watch(failing):
    app, parts = failing
    ask(app, None)
    assert parts.failed_runs.wait(0.0) == frozenset()
    ask(app, "bad")
    assert parts.failed_runs.wait(60.0) == {"bad"}
    assert parts.failed_runs.wait(0.0) == frozenset()
