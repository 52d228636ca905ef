"""Under load: queueing, refusals, disconnected clients, and the cache of answers."""

import gc
import re
import sqlite3
import threading
import time
import weakref
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from functools import partial
from unittest.mock import patch

import gevent
import pytest
import requests

from enhanced_flask import create_app
from scheduler_env import SAMPLE_PARAMS
from scheduler_env.agent import load_agent
from scheduler_env.standard_cycle import standard_instance
from scheduler_service.errors import Overloaded
from scheduler_service.http.contract.runs import VIEWS, RunRequest
from scheduler_service.http.runs.caching import AnswerCache, key_of
from scheduler_service.http.runs.running import NEGLIGIBLE_WAIT_MS, compute, draw
from scheduler_service.http.server import offload
from scheduler_service.http.server.offload import NativeThreads
from scheduler_service.http.services import EXTENSION
from scheduler_service.http.watch.metrics import Metrics
from scheduler_service.settings import Settings
from tests.checkpoints import SEED
from tests.conftest import LiveService, live_service
from tests.connections import computing, run_in_progress
from tests.waiting import HANG_S, until

SAMPLE = list(SAMPLE_PARAMS)
LARGE = [{"id": str(number), "name": f"W{number}"} for number in range(20)]  # 300 steps


@pytest.fixture(scope="module")
def narrow(tmp_path_factory):
    """A service with small queues and a cache."""
    environment = {"SCHED_MAX_WAITING": "2", "SCHED_COMPUTE_THREADS": "1", "SCHED_ANSWER_CACHE_MIB": "8"}
    with live_service(tmp_path_factory.mktemp("narrow"), environment=environment) as running:
        running.run(params=SAMPLE[::-1])
        yield running


def _n_runs(service: LiveService) -> int:
    return service.get("/performance").json()["performance"]["total_requests"]


# --- the cache ---


def test_a_cached_answer_is_recorded_as_a_new_run(narrow):
    before = _n_runs(narrow)
    first, second = narrow.run(params=SAMPLE, user_id="a"), narrow.run(params=SAMPLE, user_id="b")
    assert (first["cached"], second["cached"]) == (False, True)
    assert first["result"] == second["result"]
    assert first["request_id"] != second["request_id"]
    assert second["experiment_info"]["user_id"] == "b"
    assert _n_runs(narrow) == before + 2
    assert (
        narrow.post("/feedback", json={"request_id": second["request_id"], "user_satisfaction": 5}).status_code == 200
    )


@pytest.mark.parametrize(
    "changed", [{"params": [*SAMPLE[:-1], 5.5]}, {"time_budget_ms": 7}, {"model": "DDQN_v1.0"}, {"seed": 7}]
)
def test_another_problem_budget_model_or_seed_is_not_cached(narrow, changed):
    narrow.run(params=SAMPLE)
    assert narrow.run(**{"params": SAMPLE} | changed)["cached"] is False


def test_charts_of_a_cached_schedule_are_drawn(narrow):
    narrow.run(params=SAMPLE)
    answer = narrow.run(params=SAMPLE, charts="team")
    assert answer["cached"] is True
    assert answer["result"]["plot_image"]


def test_without_room_nothing_is_cached(service):
    service.run(params=SAMPLE)
    assert service.run(params=SAMPLE)["cached"] is False


@pytest.mark.parametrize(
    ("waited_ms", "is_left", "is_kept"), [(0.0, False, True), (400.0, False, False), (0.0, True, False)]
)
def test_a_search_cut_short_is_not_reused_for_a_full_budget(tmp_path, waited_ms, is_left, is_kept):
    parts = create_app(Settings(home=tmp_path)).extensions[EXTENSION]
    request, cache = RunRequest(workpoints=LARGE[:2], time_budget_ms=450), AnswerCache(2**20)
    compute_run = partial(compute, request, "r", parts.models, parts.experiments, 60_000, cache)
    assert compute_run(waited_ms=waited_ms, stop=lambda: is_left).run.is_cached is False
    assert compute_run().run.is_cached is is_kept


def test_the_cache_evicts_the_least_recently_used_and_keeps_its_limit():
    from scheduler_env.agent import Agent
    from scheduler_env.network import QNetwork, signature_of
    from scheduler_env.standard_cycle import standard_instance

    network = QNetwork((8, 8, 8))
    agent = Agent(network.to_arrays(), signature_of(network), {})
    solution = agent.solve(standard_instance(SAMPLE_PARAMS))
    cache = AnswerCache(400_000)
    keys = [key_of("m", {"params": [number]}, 0.0) for number in range(40)]
    for key in keys:
        cache.put(key, solution)
        assert cache.get(keys[0]) is solution
        assert cache.bytes <= 400_000
    assert cache.get(keys[1]) is None
    assert cache.get(keys[-1]) is solution


def test_the_order_of_members_does_not_matter_to_the_cache():
    one, other = {"params": [1], "teams": {}}, {"teams": {}, "params": [1]}
    assert key_of("m", one, 20.0) == key_of("m", other, 20.0) != key_of("m", one, 21.0)


# --- full queues ---


def test_above_the_queue_limit_clients_are_refused_immediately_and_every_answer_is_recorded(narrow):
    before = _n_runs(narrow)

    answers: list[requests.Response] = []  # in the order of arrival

    def ask(number: int) -> None:
        answers.append(
            requests.post(
                narrow.url + "/run_algorithm", json={"workpoints": LARGE, "user_id": f"u{number}",
                "time_budget_ms": None, "teams": {"team5": {"headcount": 20 + number}}}, timeout=HANG_S,
            )
        )  # fmt: skip

    with ThreadPoolExecutor(24) as clients:
        list(clients.map(ask, range(24)))
    statuses = [answer.status_code for answer in answers]
    assert set(statuses) == {200, 503}
    for answer in answers:
        if answer.status_code == 503:
            assert int(answer.headers["Retry-After"]) >= 1
            assert answer.headers["Content-Type"] == "application/problem+json"
    assert statuses[-1] == 200, "refusals are sent immediately"
    assert _n_runs(narrow) == before + statuses.count(200)
    assert narrow.get("/health/ready").status_code == 200


def test_with_a_full_queue_runs_are_refused_before_they_are_parsed(tmp_path):
    """The body is invalid: parsing it would give 400."""
    app = create_app(Settings(home=tmp_path))
    client, compute = app.test_client(), app.extensions[EXTENSION].compute
    assert client.post("/run_algorithm", data=b"{").status_code == 415
    with patch.object(type(compute), "is_full", True):
        refused = client.post("/run_algorithm", data=b"{", headers={"X-Request-ID": "a"})
        assert refused.status_code == 503
        assert int(refused.headers["Retry-After"]) >= 1
        assert refused.mimetype == "application/problem+json"
        assert refused.headers["X-Content-Type-Options"] == "nosniff"
        assert refused.json["type"] == "/docs#overloaded"
        assert client.get("/health/live").status_code == 200
        page = client.post("/run_algorithm", json={"params": SAMPLE}, headers={"Origin": "http://localhost:1"})
        assert page.status_code == 503
        assert page.headers["Access-Control-Allow-Origin"] == "http://localhost:1"


@pytest.mark.parametrize(
    ("body", "size"),
    [
        ({"params": SAMPLE}, 15),
        ({"workpoints": LARGE}, 300),
        ({"workpoints": {"a": {"steps": [{}] * 7}, "b": {}}}, 22),
        ({"workpoints": "nonsense"}, 15),
    ],
)
def test_the_size_of_a_problem_is_known_before_it_is_parsed(body, size):
    assert RunRequest.model_validate(body).size == size


# --- deadlines and disconnected clients ---


def test_a_budget_counts_from_the_arrival(service):
    """Sixteen searches of a second, eight at a time: the last ones have waited before they start."""

    def ask(number: int) -> None:
        body = {"workpoints": LARGE[:4], "time_budget_ms": 1_000, "user_id": f"arrival-{number}"}
        assert requests.post(service.url + "/run_algorithm", json=body, timeout=HANG_S).status_code == 200

    with ThreadPoolExecutor(16) as clients:
        list(clients.map(ask, range(16)))
    with closing(sqlite3.connect(service.home / "logs" / "performance.db")) as connection:
        query = "SELECT queue_time, time_budget_ms FROM runs WHERE user_id LIKE 'arrival-%'"
        runs = [(1_000.0 * queued_s, had_ms) for queued_s, had_ms in connection.execute(query)]
    assert len(runs) == 16
    assert any(waited_ms > NEGLIGIBLE_WAIT_MS for waited_ms, _ in runs)
    default_ms = load_agent(SEED).default_budget_ms
    for waited_ms, had_ms in runs:
        taken_off_ms = waited_ms if waited_ms > NEGLIGIBLE_WAIT_MS else 0.0
        assert had_ms == pytest.approx(max(1_000.0 - taken_off_ms, default_ms))


def test_a_disconnected_client_ends_its_search(service):

    def ends_early() -> bool:
        searching = run_in_progress(service, workpoints=LARGE[:4], time_budget_ms=60_000)
        until(lambda: service.queued() == 1)
        began_s = time.monotonic()
        searching.close()
        until(lambda: service.queued() == 0)
        return time.monotonic() - began_s < 50.0

    assert any(ends_early() for _ in range(3)), "far less than its budget of a minute, unless the machine stands still"


def test_a_request_whose_client_left_the_queue_is_never_computed(service):
    before = _n_runs(service)
    body = {"workpoints": LARGE[:4], "time_budget_ms": 6_000}
    busy = [run_in_progress(service, **body) for _ in range(8)]
    until(lambda: service.queued() == 8)
    leaving = run_in_progress(service, **body)
    until(lambda: service.queued() == 9)
    leaving.close()
    for connection in busy:
        assert connection.recv(16).startswith(b"HTTP/1.1 200")
        connection.close()
    until(lambda: service.queued() == 0)
    assert _n_runs(service) == before + 8
    until(lambda: 'status="499"' in service.get("/metrics").text)


def test_charts_of_disconnected_clients_are_not_drawn(service):
    def left() -> float:
        counted = r'^http_requests_total\{.*route="/run_algorithm",status="499"\} (\S+)$'
        return sum(map(float, re.findall(counted, service.get("/metrics").text, re.MULTILINE)))

    before = left()
    leaving = [run_in_progress(service, workpoints=LARGE, charts=list(VIEWS), time_budget_ms=0) for _ in range(8)]
    until(lambda: service.queued("drawing") >= 6)
    for connection in leaving:
        connection.close()
    until(lambda: left() >= before + 6)
    assert service.run(params=SAMPLE, charts="team")["result"]["plot_image"]


def test_the_next_view_is_not_drawn_after_the_client_has_disconnected():
    solution = load_agent(SEED).solve(standard_instance(SAMPLE_PARAMS))
    looks = iter([False, True])
    assert list(draw(solution, VIEWS, "png", lambda: next(looks))) == [VIEWS[0]]


def test_a_report_does_not_wait_for_charts(service):
    waiting = [run_in_progress(service, workpoints=LARGE, charts=list(VIEWS), time_budget_ms=0) for _ in range(8)]
    until(lambda: service.queued("drawing") >= 6)
    assert service.post("/reports/performance", json={"days": 1}).status_code == 201
    assert service.queued("drawing") >= 1, "the report came before the last chart"
    for connection in waiting:
        connection.close()


def test_health_answers_while_all_cores_compute(service):
    with computing(service, 6, LARGE):
        for _ in range(20):
            assert service.get("/health/live").status_code == 200


def test_a_queue_with_a_long_wait_accepts_no_more_until_it_is_shorter(monkeypatch):
    monkeypatch.setattr(offload, "MAX_QUEUE_WAIT_S", 0.05)
    threads = NativeThreads(1, max_waiting=100, metrics=Metrics().queue("compute"))
    first, second = threading.Event(), threading.Event()
    jobs = [gevent.spawn(threads.run, first.wait)]
    gevent.sleep(0)
    assert not threads.is_full  # one is running, and none is waiting
    jobs += [gevent.spawn(threads.run, second.wait) for _ in range(2)]
    gevent.sleep(0.2)
    first.set()
    jobs[0].join()
    while not threads.is_full:  # after the second has started
        gevent.sleep(0.01)
    with pytest.raises(Overloaded):
        threads.run(second.wait)
    second.set()
    gevent.joinall(jobs)
    assert threads.run(lambda: "done") == "done"


class Data:
    """Represents a body of some megabytes."""


def test_failed_work_leaves_no_references():
    """A cycle of error, traceback and work kept gigabytes of refused bodies until the next garbage collection."""
    threads = NativeThreads(1, max_waiting=100, metrics=Metrics().queue("compute"))

    def refuse(_data: Data) -> None:
        raise ValueError

    data = Data()
    is_there = weakref.ref(data)
    gc.disable()
    try:
        with suppress(ValueError):
            threads.run(partial(refuse, data))
        del data
        until(lambda: is_there() is None)
    finally:
        gc.enable()
