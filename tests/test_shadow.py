"""Shadow runs: both models on answered requests, without an effect on clients."""

import json
import shutil
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from ab_testing import ABTestManager
from enhanced_flask import make_folders, make_services
from monitoring import PerformanceMonitor
from scheduler_env.standard_cycle import SAMPLE_PARAMS, standard_instance
from scheduler_service.experiments.pairing import is_shadowed, shadow_candidate, solve_both
from scheduler_service.http.contract.runs import RunRequest
from scheduler_service.http.runs import shadowing
from scheduler_service.http.runs.running import compute
from scheduler_service.http.runs.shadowing import MAX_WAITING, Shadow, ShadowJob, shadow_job
from scheduler_service.http.server.background import Background
from scheduler_service.http.services import Services
from scheduler_service.settings import PROJECT_ROOT, Settings
from scheduler_service.telemetry.record import input_digest
from tests.conftest import LiveService, live_service
from tests.instances import params_of
from tests.waiting import HANG_S, until

PARAMS = list(SAMPLE_PARAMS)


def workpoints_of(user: int, number: int) -> list[dict[str, object]]:
    return [{"id": str(place), "params": params_of(100 * user + place)} for place in range(number)]


def create(service: LiveService, name: str, **options: object) -> None:
    body = {"experiment_name": name, "model_a": "DDQN_v1.0", "model_b": "DDQN_v2.0", **options}
    assert service.post("/experiments", json=body).status_code == 201


def pairs_of(service: LiveService, experiment: str, at_least: int):
    """The pairs, when there are that many."""
    monitor = PerformanceMonitor(service.home / "logs" / "performance.db", reports_dir=service.home)
    until(lambda: len(monitor.get_pairs(experiment)) >= at_least, lambda: f"{len(monitor.get_pairs(experiment))} pairs")
    return monitor.get_pairs(experiment)


def metric(service: LiveService, name: str) -> float:
    for line in service.get("/metrics").text.splitlines():
        if line.startswith(name):
            return float(line.rpartition(" ")[2])
    return 0.0


def metric_becomes(service: LiveService, name: str, value: float) -> bool:
    """Wait for the metric: a pair is counted shortly after it is recorded."""
    return until(lambda: metric(service, name) == value, lambda: f"{name} is {metric(service, name)}")


# --- against the running service ---


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    with live_service(tmp_path_factory.mktemp("shadow")) as service:
        yield service


def test_every_request_of_either_arm_is_run_by_both_models(running):
    create(running, "all", shadow=True)
    answers = [
        running.run(params=params_of(user), experiment="all", user_id=f"u{user}", time_budget_ms=0)
        for user in range(20)
    ]
    pairs = pairs_of(running, "all", 20).set_index("request_id")
    arms = Counter(answer["experiment_info"]["variant"] for answer in answers)
    assert set(arms) == {"model_a", "model_b"}
    for user, answer in enumerate(answers):
        pair, variant = pairs.loc[answer["request_id"]], answer["experiment_info"]["variant"]
        # Greedy schedules are deterministic, so the shadow run must find the answered one.
        assert pair["makespan_a" if variant == "model_a" else "makespan_b"] == answer["result"]["makespan"]
        assert pair["key_a" if variant == "model_a" else "key_b"] == answer["result"]["model_info"]["model_key"]
        assert (pair["source"], pair["candidate"], pair["user_id"]) == ("shadow", "model_b", f"u{user}")
        assert (pair["n_steps"], pair["time_budget_ms"]) == (15, 0.0)
        assert pair["input_digest"] == input_digest({"params": params_of(user)})
        assert pair["lower_bound"] <= min(pair["makespan_a"], pair["makespan_b"])
        assert pair["success_a"]
        assert pair["success_b"]
    assert (pairs["makespan_a"] != pairs["makespan_b"]).any()
    assert metric_becomes(running, 'shadow_pairs_total{experiment="all"}', 20.0)
    assert running.get("/experiments/all/results").json()["results"]["paired"]["shadow"]["pairs"] == 20


def test_both_models_get_the_time_of_the_answer(running):
    create(running, "times", shadow=True)
    running.run(params=PARAMS, experiment="times", user_id="u1")
    running.run(params=PARAMS, experiment="times", user_id="u1", time_budget_ms=700)
    in_pairs = sorted(pairs_of(running, "times", 2)["time_budget_ms"])
    monitor = PerformanceMonitor(running.home / "logs" / "performance.db", reports_dir=running.home)
    in_runs = list(monitor.get_performance_data(experiment="times")["time_budget_ms"])
    assert in_pairs == in_runs
    assert in_runs[0] == 20.0
    assert 20.0 < in_runs[1] <= 700.0  # less the time that a busy machine made it wait


def test_an_experiment_without_shadow_records_no_pair(running):
    create(running, "none")
    create(running, "after", shadow=True)
    for user in range(5):
        running.run(params=PARAMS, experiment="none", user_id=f"u{user}", time_budget_ms=0)
    running.run(params=PARAMS, experiment="after", user_id="u1", time_budget_ms=0)
    assert len(pairs_of(running, "after", 1)) == 1
    assert len(pairs_of(running, "none", 0)) == 0


def test_the_configured_share_of_requests_is_shadowed(running):
    create(running, "share", shadow=0.3)
    with ThreadPoolExecutor(4) as clients:
        answers = list(
            clients.map(
                lambda user: running.run(params=PARAMS, experiment="share", user_id=f"u{user}", time_budget_ms=0),
                range(60),
            )
        )
    drawn = {each["request_id"] for each in answers if is_shadowed("share", 0.3, each["request_id"])}
    assert set(pairs_of(running, "share", len(drawn))["request_id"]) == drawn


def test_clients_are_answered_during_a_long_shadow_run(running):
    create(running, "slow", shadow=True)
    create(running, "quick")
    running.run(workpoints=workpoints_of(1, 10), experiment="slow", user_id="u1", time_budget_ms=2_500)
    for user in range(10):
        running.run(params=params_of(user), experiment="quick", user_id=f"u{user}", time_budget_ms=0)
    assert len(pairs_of(running, "slow", 0)) == 0, "they were answered before it was over"
    pairs_of(running, "slow", 1)


def test_many_requests_are_answered_and_dropped_shadow_runs_are_counted(running):
    create(running, "flood", shadow=True)
    sent = 100
    with ThreadPoolExecutor(6) as clients:
        list(
            clients.map(
                lambda user: running.run(
                    workpoints=workpoints_of(user, 5), experiment="flood", user_id=f"u{user}", time_budget_ms=10
                ),
                range(sent),
            )
        )
    dropped = metric(running, 'shadow_dropped_total{experiment="flood"}')
    assert dropped > 0
    pairs = pairs_of(running, "flood", int(sent - dropped))
    assert len(pairs) == pairs["request_id"].nunique() == sent - dropped
    assert metric_becomes(running, "shadow_waiting", 0.0)


@pytest.mark.slow
def test_sigterm_does_not_wait_for_shadow_runs(tmp_path):
    with live_service(tmp_path) as service:
        create(service, "long", shadow=True)
        for user in range(2):
            service.run(workpoints=workpoints_of(user, 10), experiment="long", user_id=f"u{user}", time_budget_ms=1_500)
        assert service.stop() == 0
        service.wait_for_log("a computation in the background is broken off")


@pytest.mark.slow
def test_several_worker_processes_shadow_equally(tmp_path):
    with live_service(tmp_path, arguments=["--workers", "2"]) as service:
        create(service, "workers", shadow=True)
        for user in range(12):
            service.session.close()  # the next connection may go to the other worker
            service.run(params=params_of(user), experiment="workers", user_id=f"u{user}", time_budget_ms=0)
        assert len(pairs_of(service, "workers", 12)) == 12
        assert metric_becomes(service, 'shadow_pairs_total{experiment="workers"}', 12.0)
        service.run(workpoints=workpoints_of(1, 10), experiment="workers", user_id="u1", time_budget_ms=1_500)
        assert service.stop() == 0
        assert "SIGABRT" not in service.output.read_text(errors="replace"), "no worker aborts when it ends"


# --- which requests ---


def test_the_draw_has_the_given_share_and_is_deterministic():
    ids = [f"request-{number}" for number in range(4_000)]
    drawn = [each for each in ids if is_shadowed("e", 0.3, each)]
    assert drawn == [each for each in ids if is_shadowed("e", 0.3, each)]
    assert len(drawn) == pytest.approx(1_200, abs=90)  # three standard errors
    assert set(drawn) <= {each for each in ids if is_shadowed("e", 0.5, each)}
    assert not any(is_shadowed("e", 0.0, each) for each in ids)
    assert all(is_shadowed("e", 1.0, each) for each in ids)


def test_the_candidate_is_the_answering_arm_or_any_for_users_of_the_baseline():
    arms = ("model_b", "model_c", "model_d")
    assert shadow_candidate("e", arms, "model_c", "r1") == "model_c"
    drawn = Counter(shadow_candidate("e", arms, "model_a", f"r{number}") for number in range(3_000))
    assert set(drawn) == set(arms)
    assert all(count == pytest.approx(1_000, abs=80) for count in drawn.values())


@pytest.fixture(scope="module")
def parts(tmp_path_factory) -> Services:
    settings = Settings(home=tmp_path_factory.mktemp("parts"))
    make_folders(settings)
    return make_services(settings)


def job_of(parts: Services, experiment: str, user: str, request_id: str = "r1", **options: object) -> ShadowJob | None:
    request = RunRequest(params=PARAMS, experiment=experiment, user_id=user, time_budget_ms=0, **options)
    run = compute(request, request_id, parts.models, parts.experiments, 60_000).run
    assert run is not None
    return shadow_job(run, request, parts.experiments)


def test_testers_excluded_users_and_requests_without_an_active_experiment_are_not_shadowed(parts):
    parts.experiments.create_experiment(
        "who", "DDQN_v1.0", "DDQN_v2.0", shadow=True, forced_variants={"tester": "model_b"}, excluded_users=["boss"]
    )
    assert job_of(parts, "who", "anybody") is not None
    assert job_of(parts, "who", "tester") is None
    assert job_of(parts, "who", "boss") is None
    assert job_of(parts, "nobody_made_this", "anybody") is None
    assert job_of(parts, "who", "anybody", model="DDQN_v1.0") is None
    assert job_of(parts, None, "anybody") is None
    parts.experiments.pause_experiment("who")
    assert job_of(parts, "who", "anybody") is None


def test_users_outside_the_coverage_are_shadowed_like_those_of_the_baseline(parts):
    rules = parts.settings.home / "rule.json"  # models are registered only from the service's folder
    shutil.copy(PROJECT_ROOT / "models" / "baselines" / "rule.json", rules)
    third = parts.models.register_model(rules, "RULE", json.loads(rules.read_text()), {})
    parts.experiments.create_experiment(
        "few", "DDQN_v1.0", "DDQN_v2.0", shadow=True, coverage=0.2, model_c=third, excluded_users=["7"]
    )
    users = list(map(str, range(60)))
    outside = [user for user in users if parts.experiments.assign("few", user).variant is None]
    assert 20 < len(outside) < 60
    jobs = {user: job_of(parts, "few", user, request_id=f"of-{user}") for user in users}
    assert [user for user in users if jobs[user] is None] == ["7"]
    assert {jobs[user].candidate for user in outside if user != "7"} == {"model_b", "model_c"}
    for user in outside:
        if user != "7":
            assert jobs[user].candidate == shadow_candidate("few", ("model_b", "model_c"), "model_a", f"of-{user}")
            assert jobs[user].user_id == user


def test_the_same_share_is_drawn_for_users_outside_the_coverage(parts):
    parts.experiments.create_experiment("third", "DDQN_v1.0", "DDQN_v2.0", shadow=0.3, coverage=0.01)
    ids = [f"r{number}" for number in range(200)]
    drawn = [each for each in ids if job_of(parts, "third", "somebody", request_id=each)]
    assert parts.experiments.assign("third", "somebody").variant is None
    assert drawn == [each for each in ids if is_shadowed("third", 0.3, each)]


def test_a_request_answered_by_a_fallback_is_shadowed_too(parts, monkeypatch):
    """The failed arm is a failed side, so that a candidate with many failures does not avoid its pairs."""
    parts.experiments.create_experiment(
        "broken", "DDQN_v1.0", "DDQN_v2.0", {"model_a": 0.0, "model_b": 1.0}, shadow=True
    )
    load = parts.models.load_model

    def refuse(name, **how):
        if "v2.0" in name:
            raise RuntimeError("out of order")
        return load(name, **how)

    monkeypatch.setattr(parts.models, "load_model", refuse)
    job = job_of(parts, "broken", "u1")
    assert job is not None
    assert parts.shadow.submit(job)
    pair = wait_for_pairs(parts, "broken", 1).iloc[0]
    assert (bool(pair["success_a"]), bool(pair["success_b"])) == (True, False)
    assert pair["error_b"] == "RuntimeError: out of order"
    assert pair["makespan_a"] > 0.0


# --- the queue ---


def wait_for_pairs(parts: Services, experiment: str, number: int):
    until(lambda: len(parts.monitor.get_pairs(experiment)) >= number)
    return parts.monitor.get_pairs(experiment)


@pytest.fixture
def job() -> ShadowJob:
    instance = standard_instance(SAMPLE_PARAMS)
    return ShadowJob("r", "u", "queue", "model_b", ("DDQN_v1.0", "DDQN_v2.0"), instance, {"params": PARAMS}, 0.0)


def test_a_full_queue_drops_and_counts_without_waiting(parts, job):
    started, go_on = threading.Event(), threading.Event()

    class Stuck:
        def record_pair(self, pair):
            started.set()
            go_on.wait(HANG_S)

    shadow = Shadow(parts.models, parts.experiments, Stuck(), parts.metrics, lambda: False)
    job = replace(job, experiment="full")
    assert shadow.submit(job)
    assert started.wait(HANG_S)
    taken = [shadow.submit(job) for _ in range(MAX_WAITING + 5)]  # while the first one is blocked
    assert taken == [True] * MAX_WAITING + [False] * 5
    result = parts.metrics.exposition().decode()
    assert 'shadow_dropped_total{experiment="full"} 5.0' in result
    assert f"shadow_waiting {float(MAX_WAITING)}" in result
    go_on.set()
    shadow.close()
    assert not shadow.submit(job)


def test_a_deleted_model_is_a_failed_side(parts, job):
    parts.shadow.submit(replace(job, experiment="gone", models=("DDQN_v1.0", "DDQN_v9.9")))
    pair = wait_for_pairs(parts, "gone", 1).iloc[0]
    assert pair["key_b"] == "DDQN_v9.9"
    assert pair["error_b"].startswith("ModelNotFound: ")
    assert (bool(pair["success_a"]), bool(pair["success_b"])) == (True, False)


def test_two_failed_sides_are_a_pair_with_its_bound(parts, job):
    parts.shadow.submit(replace(job, experiment="neither", models=("DDQN_v8.8", "DDQN_v9.9")))
    pair = wait_for_pairs(parts, "neither", 1).iloc[0]
    assert not pair["success_a"]
    assert not pair["success_b"]
    assert 0.0 < pair["lower_bound"] < 53.2


def test_an_unrecordable_pair_is_counted_and_the_next_one_is_run(parts, job, monkeypatch):
    record = parts.monitor.record_pair

    def refuse_once(*pairs):
        monkeypatch.setattr(parts.monitor, "record_pair", record)
        raise OSError("the disk is full")

    monkeypatch.setattr(parts.monitor, "record_pair", refuse_once)
    for number in range(2):
        parts.shadow.submit(replace(job, experiment="disk", request_id=f"r{number}"))
    assert list(wait_for_pairs(parts, "disk", 1)["request_id"]) == ["r1"]
    assert 'shadow_dropped_total{experiment="disk"} 1.0' in parts.metrics.exposition().decode()


def test_no_error_reaches_the_client(parts, monkeypatch):
    request = RunRequest(params=PARAMS, experiment="e", user_id="u", time_budget_ms=0)
    run = compute(request, "r1", parts.models, parts.experiments, 60_000).run

    def fail(*arguments):
        raise RuntimeError("a defect")

    monkeypatch.setattr(shadowing, "shadow_job", fail)
    parts.shadow.offer(run, request)


def test_background_work_gives_way_to_clients_for_a_limited_time(monkeypatch):
    busy, done = threading.Event(), threading.Event()
    busy.set()
    background = Background("test", busy.is_set, max_waiting=1)
    monkeypatch.setattr("scheduler_service.http.server.background.MAX_PAUSE_S", HANG_S)
    background.submit(done.set)
    assert not done.wait(0.3)
    busy.clear()
    assert done.wait(HANG_S / 2)
    busy.set()
    done.clear()
    monkeypatch.setattr("scheduler_service.http.server.background.MAX_PAUSE_S", 0.5)
    began_s = time.monotonic()
    background.submit(done.set)
    assert done.wait(HANG_S), "though clients wait still"
    assert time.monotonic() >= began_s + 0.5
    background.close()


# --- one pair ---


class Recorder:
    """A model that records its requests."""

    def __init__(self, key: str, calls: list[object]) -> None:
        self.key, self.agent, self._calls = key, self, calls

    def solve(self, instance, *, time_budget_ms):
        self._calls.append((self.key, id(instance), time_budget_ms))
        raise RuntimeError("noted")


def test_both_models_get_the_same_object_and_alternate_in_order():
    instance, firsts = standard_instance(SAMPLE_PARAMS), []
    for number in range(400):
        calls: list[object] = []
        models = {key: Recorder(key, calls) for key in "AB"}
        sides = solve_both(("A", "B"), models.__getitem__, instance, 7.0, request_id=f"r{number}")
        assert sorted(calls) == [("A", id(instance), 7.0), ("B", id(instance), 7.0)]
        assert [side.key for side in sides] == ["A", "B"]
        firsts.append(calls[0][0])
    assert firsts.count("A") == pytest.approx(200, abs=30)


def test_an_experiment_with_several_arms_shadows_every_candidate(parts):
    file = parts.settings.home / "rule.json"
    file.write_text('{"format": "scheduler-baseline/1", "algorithm": "RULE", "parameters": {"rule": "BEST"}}')
    manager: ABTestManager = parts.experiments
    parts.models.register_model(file, "RULE", {}, {}, "", "")
    manager.create_experiment("three", "DDQN_v1.0", "DDQN_v2.0", model_c="RULE:latest", shadow=True)
    jobs = [job_of(parts, "three", f"u{user}", request_id=f"r{user}") for user in range(40)]
    assert {job.candidate for job in jobs if job is not None} == {"model_b", "model_c"}
    for user, job in enumerate(jobs):
        variant = manager.assign("three", f"u{user}").variant
        assert job is not None
        assert variant in ("model_a", job.candidate)
