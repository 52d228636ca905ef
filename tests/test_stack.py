"""The processes of deploy/compose.replicas.yaml on loopback: replicas over PostgreSQL behind the real HAProxy."""

import pytest
import requests

from tests.postgresql import NoServer
from tests.stack import Stack, running_stack, settings_of_compose
from tests.waiting import HANG_S, until


@pytest.fixture(scope="module")
def stack(tmp_path_factory):
    try:
        with running_stack(tmp_path_factory.mktemp("stack")) as running:
            yield running
    except NoServer as err:
        pytest.skip(str(err))


def ask(stack: Stack, method: str, path: str, **options: object) -> requests.Response:
    return requests.request(method, stack.front.url + path, headers=stack.headers, timeout=HANG_S, **options)


def is_ready(stack: Stack) -> bool:
    return all(each.get("/health/ready").status_code == 200 for each in stack.replicas)


def runs_at(stack: Stack) -> list[set[str]]:
    return [{run["request_id"] for run in each.get("/runs?limit=1000").json()["runs"]} for each in stack.replicas]


def test_replicas_answer_through_the_front_and_all_know_each_run(stack):
    until(lambda: is_ready(stack), "both replicas to be ready")
    ids: set[str] = set()

    def used_by_the_front() -> bool:
        """Send a request, and see whether both replicas have answered one; the front checks them from time to time."""
        answer = ask(stack, "POST", "/run_algorithm", json={"params": [10.0] * 15})
        assert answer.status_code == 200, answer.text
        ids.add(answer.json()["request_id"])
        return min(written()) > 0

    def written() -> list[int]:
        return [each.output.read_text("utf-8").count("算法执行完成") for each in stack.replicas]

    until(used_by_the_front, "an answer from each replica")
    assert runs_at(stack) == [ids, ids]
    until(lambda: sum(written()) == len(ids), "a line for each run")


def test_a_replica_that_is_killed_is_not_noticed_by_clients_of_the_front(stack):
    until(lambda: is_ready(stack), "both replicas to be ready")
    stack.kill_replica(1)
    answers = [ask(stack, "POST", "/run_algorithm", json={"params": [9.0] * 15}) for _ in range(4)]
    assert {answer.status_code for answer in answers} == {200}
    stack.start_replica(1)
    until(lambda: is_ready(stack), "the replica to be back")
    assert runs_at(stack)[0] == runs_at(stack)[1] >= {answer.json()["request_id"] for answer in answers}


def test_the_replicas_write_no_log_files(stack):
    assert settings_of_compose()["SCHED_LOG_TO"] == "stdout"
    for each in stack.replicas:
        assert list((each.home / "logs").glob("flask_service.log*")) == []
