"""What several replicas, or workers of one, do once: reviews, alerts, compaction; and who continues after a death."""

import os
import re
import signal
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path

import pytest

from enhanced_flask import create_app
from monitoring import PerformanceMonitor, PerformanceRecord
from scheduler_service.errors import LeaseLost, StorageUnavailable
from scheduler_service.http.watch.duties import TAKE_INTERVAL_S
from scheduler_service.settings import Settings
from tests.codes import coded
from tests.conftest import NEW_PROCESS, LiveService, live_service
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
        homes = count()

        def make(**options_of_it: object):
            home = tmp_path / f"replica{next(homes)}"
            address = f"{postgresql.address}?options={options}"
            return create_app(Settings(home=home, database_url=address, **options_of_it))

        yield make


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
            for name in DUTIES:
                assert len(holders(name, *both)) == 1
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


def test_processes_that_wait_for_a_lease_write_nothing(postgresql_monitor):
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
