"""Replicas: services with homes of their own that share one PostgreSQL database."""

import json
import os
from concurrent.futures import ThreadPoolExecutor

import pytest

from scheduler_env import SAMPLE_PARAMS
from tests.checkpoints import write_checkpoint
from tests.conftest import live_service
from tests.programs import run_python
from tests.waiting import HANG_S, until

V1, V2 = "DDQN_v1.0", "DDQN_v2.0"


@pytest.fixture(scope="module")
def start(address, tmp_path_factory):
    """Start another replica."""

    def start(**settings):
        environment = {"SCHED_DATABASE_URL": address, **settings}
        return live_service(tmp_path_factory.mktemp("replica"), environment=environment)

    return start


@pytest.fixture(scope="module")
def replicas(start):
    """Two replicas that were started at the same time on an empty database."""
    opened = [start(), start()]
    with ThreadPoolExecutor(2) as pool:
        running = list(pool.map(lambda each: each.__enter__(), opened))
    yield running
    for each in opened:
        each.__exit__(None, None, None)


def promote(replica, name, status):
    answer = replica.post(f"/models/{name}/promote", json={"status": status, "reason": "drill", "actor": "li"})
    assert answer.status_code == 200, answer.text
    return answer.json()


def stable(replica):
    (found,) = replica.get("/models?tag=stable").json()["models"]
    return found["model_key"]


def test_replicas_that_start_at_once_agree_on_the_seed_models(replicas):
    until(lambda: replicas[0].get("/models").json()["models"] == replicas[1].get("/models").json()["models"])
    versions = [model["version"] for model in replicas[0].get("/models").json()["models"]]
    assert sorted(versions) == ["1.0.0", "2.0.0"], "each is registered once"
    assert not any((replica.home / "models" / "tags.json").exists() for replica in replicas)


def test_every_replica_answers_with_the_model_of_the_database(replicas):
    for replica in replicas:
        answer = replica.post("/run_algorithm", json={"params": list(SAMPLE_PARAMS), "time_budget_ms": 0})
        assert answer.status_code == 200, answer.text
        assert answer.json()["result"]["model_info"]["model_key"].endswith("v2.0.0")


def test_a_promotion_and_a_rollback_are_seen_by_the_other_replica(replicas):
    first, second = replicas
    promote(first, V2, "validated")
    for name in (V2, V1, V2):
        promoted = promote(first, name, "deployed") if name == V2 else promote(second, name, "deployed")
        key = promoted["model"]["model_key"]
        for replica in replicas:
            until(lambda replica=replica, key=key: stable(replica) == key, "the promotion to be seen")
    assert first.post("/models/rollback", json={"algorithm": "DDQN", "reason": "x"}).status_code == 200
    until(lambda: stable(first) == stable(second), "the rollback to be seen")
    events = [replica.get("/models/history").json()["events"] for replica in replicas]
    assert events[0] == events[1]


def test_registrations_at_once_get_different_versions(replicas):
    def register(number):
        replica = replicas[number % 2]
        weights = write_checkpoint(replica.home / f"w{number}.pth", number)
        body = {"model_path": weights.name, "algorithm_name": "DDQN", "training_params": {"n": 1}}
        return replica.post("/models/register", json=body | {"performance_metrics": {}})

    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(register, range(6)))
    assert [answer.status_code for answer in answers] == [201] * 6, answers[0].text
    assert len({answer.json()["model_key"] for answer in answers}) == 6
    until(lambda: len({len(replica.get("/models").json()["models"]) for replica in replicas}) == 1)


def test_an_experiment_created_here_assigns_there_and_is_promoted_as_one_change(replicas):
    first, second = replicas
    body = {"experiment_name": "shared", "model_a": V2, "model_b": V1, "guardrails": False}
    assert first.post("/experiments", json=body).status_code == 201
    until(lambda: second.get("/experiments/shared").status_code == 200, "the experiment to be seen")
    arms = [{u: r.get(f"/experiments/shared/assignment/u{u}").json() for u in range(20)} for r in replicas]
    assert arms[0] == arms[1]
    promoted = second.post("/experiments/shared/promote", json={"reason": "例会", "actor": "li"})
    assert promoted.status_code == 200, promoted.text
    key = promoted.json()["experiment"]["promotion"]["model"]
    until(lambda: first.get("/models").json()["default_model"]["model_key"] == key, "the default to be seen")
    assert stable(first) == key
    history = first.get("/experiments/shared/history").json()["history"]
    assert [line["event"] for line in history] == ["created", "promoted"]
    assert first.post("/experiments/shared/revert", json={}).status_code == 200


def test_thresholds_set_here_are_in_force_there(replicas):
    first, second = replicas
    path = "/alerts/thresholds/max_makespan"
    assert first.put(path, json={"value": 70, "reason": "winter"}).status_code == 200

    def value(replica):
        found = replica.get("/alerts/thresholds").json()["thresholds"]
        return next(each["value"] for each in found if each["name"] == "max_makespan")

    until(lambda: value(second) == 70.0, "the threshold to be seen")


def test_a_run_answered_here_is_told_there(replicas):
    first, second = replicas
    run = first.post("/run_algorithm", json={"params": list(SAMPLE_PARAMS), "time_budget_ms": 0}).json()
    found = second.get(f"/runs/{run['request_id']}")
    assert found.status_code == 200, found.text
    assert found.json()["run"]["makespan"] == run["result"]["makespan"]


def test_the_command_lines_work_on_the_database(replicas, address, tmp_path):
    environment = os.environ | {"SCHED_DATABASE_URL": address, "SCHED_HOME": str(tmp_path)}
    listed = run_python("-m", "model_manager", "list", "--json", env=environment)
    assert listed.returncode == 0, listed.stderr
    assert len(json.loads(listed.stdout)) == len(replicas[0].get("/models").json()["models"])
    checked = run_python("-m", "model_manager", "fsck", "--json", env=environment)
    assert json.loads(checked.stdout) == {"found": [], "left": []}, checked.stderr
    shown = run_python("-m", "ab_testing", "list", "--json", env=environment)
    assert "shared" in shown.stdout, shown.stderr


def test_a_killed_replica_is_replaced_by_a_new_one_with_all_it_had(start, replicas):
    with start() as third:
        answer = third.post("/run_algorithm", json={"params": list(SAMPLE_PARAMS), "time_budget_ms": 0})
        assert answer.status_code == 200
        third.process.kill()
        third.process.wait(HANG_S)
    assert replicas[0].get(f"/runs/{answer.json()['request_id']}").status_code == 200
    with start() as fourth:
        assert fourth.get("/models").json()["models"] == replicas[0].get("/models").json()["models"]


def test_changes_by_many_clients_at_both_replicas_lose_nothing(replicas):
    def create(number):
        body = {"experiment_name": f"e{number}", "model_a": V2, "model_b": V1, "guardrails": False}
        return replicas[number % 2].post("/experiments", json=body).status_code

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(create, range(16))) == [201] * 16
    names = {f"e{number}" for number in range(16)}
    for replica in replicas:
        until(
            lambda replica=replica: (
                names <= {each["name"] for each in replica.get("/experiments").json()["experiments"]}
            )
        )


def test_a_backup_of_the_database_is_restored_into_an_empty_one(replicas, postgresql, tmp_path):
    """The backup is of the whole database, so this has a server's database of its own."""
    postgresql.execute("CREATE DATABASE original")
    postgresql.execute("CREATE DATABASE restored")
    addresses = [postgresql.address.replace("/postgres?", "?").rsplit("/", 1)[0] for _ in range(2)]
    original, restored = (f"{each}/{name}" for each, name in zip(addresses, ("original", "restored"), strict=True))
    with live_service(tmp_path / "a", environment={"SCHED_DATABASE_URL": original}) as service:
        run = service.post("/run_algorithm", json={"params": list(SAMPLE_PARAMS), "time_budget_ms": 0}).json()
        models = service.get("/models").json()["models"]
    copies = tmp_path / "copies"

    def command(address, *arguments):
        environment = os.environ | {"SCHED_DATABASE_URL": address, "SCHED_HOME": str(tmp_path / "b")}
        return run_python("-m", "monitoring", *arguments, env=environment)

    made = command(original, "backup", str(copies))
    assert made.returncode == 0, made.stderr
    copy = made.stdout.strip()
    assert command(original, "restore", copy).returncode == 1, "it is not empty"
    assert command(restored, "restore", copy).returncode == 0
    with live_service(tmp_path / "c", environment={"SCHED_DATABASE_URL": restored}) as service:
        assert service.get("/models").json()["models"] == models
        assert service.get(f"/runs/{run['request_id']}").json()["run"]["makespan"] == run["result"]["makespan"]
    into_a_file = run_python("-m", "monitoring", "restore", copy, "--home", str(tmp_path / "d"))
    assert "SCHED_DATABASE_URL" in into_a_file.stderr
    damaged = next(copies.glob("*/database.dump"))
    damaged.write_bytes(damaged.read_bytes()[:-1])
    assert "damaged" in command(restored, "restore", copy).stderr
    for each in (made, into_a_file):
        assert "p%40ss" not in each.stderr
        assert postgresql.PASSWORD not in each.stderr


def test_a_service_started_without_its_database_serves_once_it_is_there(tmp_path):
    from tests.postgresql import NoServer, new_server

    try:
        with new_server() as server:
            server.stop()
            with live_service(tmp_path, environment={"SCHED_DATABASE_URL": server.address}) as service:
                body = {"params": list(SAMPLE_PARAMS), "time_budget_ms": 0}
                assert service.post("/run_algorithm", json=body).status_code == 503
                assert service.get("/health/live").status_code == 200
                assert service.get("/health/ready").status_code == 503
                server.start()
                until(lambda: service.get("/health/ready").status_code == 200, "the service to be ready")
                assert service.post("/run_algorithm", json=body).status_code == 200
                assert len(service.get("/models").json()["models"]) == 2
                server.stop()
                assert service.post("/run_algorithm", json=body).status_code == 503
                assert len(service.get("/models").json()["models"]) == 2
                assert service.post("/models/DDQN_v2.0/promote", json={"status": "validated"}).status_code == 503
                server.start()
                until(lambda: service.post("/run_algorithm", json=body).status_code == 200, "runs to be answered")
                assert server.PASSWORD not in service.output.read_text()
    except NoServer as err:
        pytest.skip(str(err))
