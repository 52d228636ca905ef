"""What several replicas, or workers of one, do once or share: reviews, alerts, compaction, reports, replays."""

import os
import re
import signal
from collections import Counter
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path

import pytest

from enhanced_flask import create_app
from monitoring import PerformanceMonitor, PerformanceRecord
from scheduler_service.errors import LeaseLost, Overloaded, StorageUnavailable
from scheduler_service.experiments.replay import ReplayOptions
from scheduler_service.http.services import EXTENSION, Services
from scheduler_service.http.watch.duties import TAKE_INTERVAL_S
from scheduler_service.settings import Settings
from scheduler_service.telemetry.database import Slices, database_of
from tests.codes import coded
from tests.conftest import NEW_PROCESS, LiveService, live_service
from tests.instances import params_of
from tests.waiting import in_threads, until

NOW = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)
DUTIES = ("experiments.lease", "live_models.lease", "alerts.lease")
DUTIES_ON = {"SCHED_AUTO_ROLLBACK": "true", "SCHED_ALERT_EVERY_S": "0.2"}


def holders(name: str, *services: LiveService) -> list[int]:
    """The processes that took a lease, in the order of their services' logs."""
    return [int(pid) for each in services for pid in re.findall(rf"process (\d+) holds the lease {name}", each.log())]


@pytest.fixture
def replica(postgresql, tmp_path):
    """Make another replica over the same schema, in this process: `replica().test_client()`."""
    with postgresql.schema() as url:
        options = url.parameters["options"].replace("=", "%3D")
        homes, made = count(), []

        def make(**options_of_it: object):
            home = tmp_path / f"replica{next(homes)}"
            address = f"{postgresql.address}?options={options}"
            made.append(create_app(Settings(home=home, database_url=address, **options_of_it)))
            return made[-1]

        yield make
        for app in made:
            parts_of(app).models.store.close()


@pytest.fixture
def postgresql_monitor(postgresql, tmp_path):
    """A monitor over a schema of its own, and a function that opens others."""
    with postgresql.schema() as url, ExitStack() as opened:

        def open_one(**options: bool) -> PerformanceMonitor:
            monitor = PerformanceMonitor(url, reports_dir=tmp_path / "reports", clock=lambda: NOW, **options)
            opened.callback(monitor.close)
            return monitor

        yield open_one


def expire(monitor: PerformanceMonitor, name: str) -> None:
    """As if the lease had not been renewed in time."""
    with monitor.engine.begin() as connection:
        connection.exec_driver_sql(f"UPDATE leases SET expires = now() - interval '1 hour' WHERE name = '{name}'")


def test_one_replica_does_each_duty_and_another_one_continues_after_its_death(postgresql, tmp_path):
    with postgresql.schema() as url:
        options = url.parameters["options"].replace("=", "%3D")
        environment = {"SCHED_DATABASE_URL": f"{postgresql.address}?options={options}"} | DUTIES_ON
        with (
            live_service(tmp_path / "a", environment=environment, command=NEW_PROCESS) as first,
            live_service(tmp_path / "b", environment=environment, command=NEW_PROCESS) as second,
        ):
            both = (first, second)
            for name in DUTIES:
                until(lambda name=name: holders(name, *both), name)
            for name in DUTIES:  # a busy machine may lose a lease for want of a renewal
                lost = sum(each.log().count(f"has lost the lease {name}") for each in both)
                assert len(holders(name, *both)) - lost <= 1
            dead, alive = both if holders("experiments.lease", first) else (second, first)
            held = [name for name in DUTIES if holders(name, dead)]
            os.kill(dead.process.pid, signal.SIGKILL)
            dead.process.wait()
            for name in held:
                assert until(lambda name=name: holders(name, alive), name) == [alive.process.pid]
            assert alive.run(params=[10.0] * 15)


def test_one_worker_does_each_duty_and_another_one_continues_after_its_death(tmp_path):
    with live_service(tmp_path, arguments=("--workers", "2"), environment=DUTIES_ON) as service:
        for name in DUTIES:
            (holder,) = until(lambda name=name: holders(name, service), name)
        os.kill(holder, signal.SIGKILL)
        _, other = until(lambda: found if len(found := holders(DUTIES[-1], service)) > 1 else None, "another holder")
        assert other != holder


def test_a_lease_ends_and_is_taken_within_five_seconds():
    leases = pytest.importorskip("scheduler_service.postgresql.leases")
    assert leases.LEASE_S + TAKE_INTERVAL_S < 5.0
    assert leases.RENEW_S <= leases.LEASE_S / 3, "two renewals may fail"


def test_processes_that_wait_for_a_lease_write_nothing(postgresql_monitor, monkeypatch):
    for name in ("LEASE_S", "RENEW_S"):  # a busy machine must not lose it meanwhile
        monkeypatch.setattr(f"scheduler_service.postgresql.leases.{name}", 600.0)
    monitor, other = postgresql_monitor(), postgresql_monitor()
    with monitor.alerts.hold("job", 0.0):
        for _ in range(3):
            with pytest.raises(StorageUnavailable, check=coded("locked_by_others")), other.alerts.hold("job", 0.0):
                pass
        with other.engine.connect() as connection:  # a row that somebody tried to change has their transaction
            assert connection.exec_driver_sql("SELECT xmax::text FROM leases").scalar() == "0"


def test_a_deposed_holder_compacts_nothing_more(postgresql_monitor, monkeypatch):
    monkeypatch.setattr("scheduler_service.telemetry.upkeep.BATCH_SIZE", 10)
    monitor, other = postgresql_monitor(), postgresql_monitor()
    old = datetime(2020, 1, 1, tzinfo=UTC)
    records = (PerformanceRecord(request_id=f"r{n}", timestamp=old + timedelta(hours=n)) for n in range(50))
    monitor.record_performance(*records)
    with ExitStack() as held:

        def depose(done: int, total: int) -> None:
            if done == 20:
                expire(monitor, "compaction")
                held.enter_context(other.alerts.hold("compaction", 0.0))

        with pytest.raises(LeaseLost, check=coded("lease_lost")):
            monitor.upkeep.compact(NOW, progress=depose)
        assert monitor.count_runs() == 30
        monitor.check_writable()
    assert other.upkeep.compact(NOW) == 29, "the newest run stays"
    with monitor.engine.connect() as connection:
        assert connection.exec_driver_sql("SELECT sum(runs) FROM days").scalar() == 49


# --- reports ---


def test_a_report_is_the_same_whichever_replica_answers(replica, mostly_words):
    first, second = (replica().test_client() for _ in range(2))
    assert first.post("/run_algorithm", json={"params": [10.0] * 15}).status_code == 200
    made = [each.post("/reports/performance", json={"format": "pdf", "lang": "en"}).json for each in (first, second)]
    listed = [each.get("/reports").json for each in (first, second)]
    assert listed[0] == listed[1]
    assert listed[0]["total"] == 4
    assert {each["report"] for each in made} <= {each["name"] for each in listed[0]["reports"]}
    assert {each["kind"] for each in listed[0]["reports"]} == {"performance"}
    for each in listed[0]["reports"]:
        pages = [client.get(each["url"]) for client in (first, second)]
        assert pages[0].data == pages[1].data
        assert len(pages[0].data) == each["size_bytes"]
        assert pages[0].data.startswith(b"%PDF" if each["format"] == "pdf" else b"<!DOCTYPE html>")


def test_reports_of_replicas_in_the_same_second_have_different_names(postgresql, postgresql_monitor, mostly_words):
    monitors = [postgresql_monitor(share_reports=True) for _ in range(4)]
    made: list[str] = []
    in_threads(lambda each: made.append(each.generate_performance_report(pdf=True)), [(each,) for each in monitors])
    assert len(set(made)) == 4
    assert len(monitors[0].reports.listed()) == 8


@pytest.mark.parametrize("name", ["performance_20200101_000000_en.html", "performance_20200101_000000.txt", "%00.html"])
def test_an_unknown_report_is_not_found(replica, name):
    answer = replica().test_client().get(f"/reports/{name}")
    assert (answer.status_code, answer.json["code"]) == (404, "report_not_found")


def test_the_command_line_writes_reports_to_files(postgresql_monitor, tmp_path):
    path = Path(postgresql_monitor().generate_performance_report())
    assert path.parent == tmp_path / "reports"
    assert path.is_file()


def test_tables_that_a_later_version_needs_are_added_to_a_database_in_use(postgresql_monitor):
    monitor = postgresql_monitor()
    with monitor.engine.begin() as connection:
        connection.exec_driver_sql("DROP TABLE reports")
    with postgresql_monitor().engine.connect() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM reports").scalar() == 0


# --- replays ---


def parts_of(app) -> Services:
    return app.extensions[EXTENSION]


def log_requests(monitor: PerformanceMonitor, number: int) -> None:
    for n in range(number):
        given = {"input_params": {"params": params_of(n)}, "time_budget_ms": 0.0}
        monitor.record_performance(PerformanceRecord(request_id=f"r{n}", user_id=f"u{n}", **given))


@pytest.fixture
def replaying(replica):
    """Two replicas with 90 recorded requests and two experiments."""
    both = [parts_of(replica()) for _ in range(2)]
    log_requests(both[0].monitor, 90)
    both[0].experiments.create_experiment("other", "DDQN_v2.0", "DDQN_v1.0")
    both[0].experiments.create_experiment("e", "DDQN_v1.0", "DDQN_v2.0")
    until(lambda: len(both[1].experiments.list_experiments()) == 2, "the other replica to know the experiments")
    yield both
    for each in both:
        each.replays.close()


def pairs_each_once(monitor: PerformanceMonitor, number: int) -> bool:
    counts = Counter(monitor.get_pairs("e", source="replay")["request_id"])
    return len(counts) == number and set(counts.values()) == {1}


def slices_of(parts: Services) -> Slices:
    found = database_of(parts.monitor.engine).slices
    assert found is not None
    return found


def test_a_replay_is_shared_out_and_its_state_is_the_same_everywhere(replaying):
    first, second = replaying
    started = first.replays.start("e", options=ReplayOptions())
    assert (started["total"], started["state"]) == (90, "running")
    second.replays.join()
    for each in replaying:
        until(lambda each=each: each.replays.state("e")["state"] == "done", lambda each=each: each.replays.state("e"))
    assert first.replays.state("e") == second.replays.state("e")
    assert pairs_each_once(first.monitor, 90)
    assert slices_of(first).jobs() == []
    again = second.replays.start("e", options=ReplayOptions())
    assert (again["replay_id"], again["state"]) == (started["replay_id"], "done")


def test_slices_of_a_replica_that_died_are_done_by_another_one(replaying):
    dead, alive = replaying
    dead.replays.close()  # it begins slices and does not do them
    started = dead.replays.start("e", options=ReplayOptions())
    slices = slices_of(dead)
    taken = [slices.take(), slices.take()]
    slices.give_back(taken[0])
    taken[1].lease._ended.set()  # renews nothing more, as a killed process

    def is_done() -> bool:
        alive.replays.join()
        return alive.replays.state("e")["state"] == "done"

    until(is_done, lambda: alive.replays.state("e"))
    assert alive.replays.state("e")["done"] == started["total"] == 90
    assert pairs_each_once(alive.monitor, 90)
    slices.finish(taken[1])  # somebody else has done it


def test_one_replay_runs_at_a_time_in_all_replicas(replaying):
    first, second = replaying
    for each in replaying:
        each.replays.close()
    first.replays.start("e", options=ReplayOptions())
    with pytest.raises(Overloaded, check=coded("replay_at_work", experiment="e", done=0, total=90)):
        second.replays.start("other", options=ReplayOptions())
    assert second.replays.start("e", options=ReplayOptions())["total"] == 90


def test_a_slice_that_fails_again_and_again_is_given_up_until_the_replay_is_started_again(replaying, monkeypatch):
    parts = replaying[0]

    def fail(*_args: object, **_more: object) -> bool:
        raise RuntimeError("out of order")

    with monkeypatch.context() as broken:
        broken.setattr("scheduler_service.http.runs.replays.run_replay", fail)
        parts.replays.start("e", options=ReplayOptions())
        until(lambda: parts.replays.state("e")["state"] == "failed", lambda: parts.replays.state("e"))
    assert slices_of(parts).jobs() == []
    parts.replays.start("e", options=ReplayOptions())
    until(lambda: parts.replays.state("e")["state"] == "done", lambda: parts.replays.state("e"))
    assert pairs_each_once(parts.monitor, 90)


def test_slices_added_while_the_last_look_for_slices_ends_are_done(replaying, monkeypatch):
    parts, looks = replaying[0], []
    slices, take = slices_of(parts), slices_of(parts).take

    def take_and_be_overtaken():
        found = take()
        looks.append(found)
        if len(looks) == 1:
            assert found is None, "nothing was added yet"
            parts.replays.start("e", options=ReplayOptions())  # by another thread, in life
        return found

    monkeypatch.setattr(slices, "take", take_and_be_overtaken)
    parts.replays.join()
    until(lambda: len(looks) > 1)
    until(lambda: parts.replays.state("e")["state"] == "done", lambda: parts.replays.state("e"))
    assert pairs_each_once(parts.monitor, 90)


def test_a_killed_replica_costs_a_replay_only_time(postgresql, tmp_path):
    with postgresql.schema() as url:
        options = url.parameters["options"].replace("=", "%3D")
        environment = {"SCHED_DATABASE_URL": f"{postgresql.address}?options={options}"}
        with ExitStack() as running:
            killed, alive = (
                running.enter_context(live_service(tmp_path / name, environment=environment, command=NEW_PROCESS))
                for name in "ab"
            )
            monitor = PerformanceMonitor(url, reports_dir=tmp_path)
            running.callback(monitor.close)
            log_requests(monitor, 120)
            body = {"experiment_name": "e", "model_a": "DDQN_v1.0", "model_b": "DDQN_v2.0"}
            assert killed.post("/experiments", json=body).status_code == 201
            until(lambda: alive.get("/experiments/e").status_code == 200, "the other replica to know the experiment")
            started = killed.post("/experiments/e/replay", json={"time_budget_ms": 30.0})
            assert started.json()["replay"]["total"] == 120
            until(lambda: len(monitor.get_pairs("e")) > 0, "the first pairs")
            os.kill(killed.process.pid, signal.SIGKILL)

            def state() -> dict[str, object]:
                return alive.get("/experiments/e/replay").json()["replay"]

            until(lambda: state()["state"] == "done", state)
            assert pairs_each_once(monitor, 120)
