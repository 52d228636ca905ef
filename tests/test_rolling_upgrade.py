"""One database, used by this version and a later one at the same time.

The later version is played by what it may do: it adds nullable columns, tables, members of documents, kinds of events
and settings of experiments, and says that older programs may go on.
"""

import json
from contextlib import contextmanager

import pytest

from monitoring import PerformanceMonitor, PerformanceRecord
from scheduler_env import SAMPLE_PARAMS
from scheduler_service.clock import utc_now
from scheduler_service.errors import InvalidExperiment, StorageUnavailable
from scheduler_service.experiments.config import ConfigFile
from scheduler_service.experiments.exchange import export_config, import_config
from scheduler_service.store.database import DatabaseStore
from scheduler_service.telemetry.moving import move
from scheduler_service.telemetry.schema import SCHEMA_VERSION
from tests.codes import coded
from tests.conftest import live_service
from tests.waiting import until

LATER_TABLES = (
    f"UPDATE schema_version SET version = {SCHEMA_VERSION + 1}",
    "ALTER TABLE runs ADD COLUMN shift text",
    "ALTER TABLE days ADD COLUMN shifts bigint",
    "ALTER TABLE plan_versions ADD COLUMN shift text",
    "ALTER TABLE alerts ADD COLUMN team text",
    "ALTER TABLE reports ADD COLUMN author text",
    "ALTER TABLE store_entries ADD COLUMN written_by text",
    "ALTER TABLE store_lines ADD COLUMN written_by text",
    "CREATE TABLE shifts (name text PRIMARY KEY)",
    "INSERT INTO shifts VALUES ('night')",
)


@pytest.fixture(scope="module")
def url(address):
    from scheduler_service.database_url import parse_database_url

    return parse_database_url(address)


@pytest.fixture(scope="module")
def rows(url):
    """Run a statement in the database; returns its rows."""
    import psycopg

    def execute(statement, *values):
        arguments = url.arguments() | {"application_name": "a test", "autocommit": True}
        with psycopg.connect(**arguments) as connection:
            cursor = connection.execute(statement, values)
            return cursor.fetchall() if cursor.description else []

    return execute


@pytest.fixture(scope="module")
def service(address, tmp_path_factory):
    """A replica of this version, started before the later version came."""
    with live_service(tmp_path_factory.mktemp("replica"), environment={"SCHED_DATABASE_URL": address}) as running:
        for name, status in (("DDQN_v2.0", "validated"), ("DDQN_v2.0", "deployed")):
            answer = running.post(f"/models/{name}/promote", json={"status": status, "reason": "x", "actor": "li"})
            assert answer.status_code == 200, answer.text
        yield running


@pytest.fixture(scope="module")
def later(service, rows):
    """The later version has started on the same database, and has upgraded it."""
    for statement in LATER_TABLES:
        rows(statement)


@contextmanager
def changed(url, folder):
    """A change of the store, as the later version makes it."""
    store = DatabaseStore(url, folder)
    with store.changing() as change:
        yield change
    store.close()


def change_document(url, folder, name, edit):
    with changed(url, folder) as change:
        document = json.loads(change.read(name).content)
        edit(document)
        change.put(name, json.dumps(document).encode())


def document(url, folder, name):
    store = DatabaseStore(url, folder)
    content = json.loads(store.read(name).content)
    store.close()
    return content


def create(service, name):
    body = {
        "experiment_name": name, "model_a": "DDQN_v1.0", "model_b": "DDQN_v2.0", "success_metric": "makespan",
        "traffic_split": {"model_a": 0.5, "model_b": 0.5}, "duration_days": 7,
    }  # fmt: skip
    answer = service.post("/experiments", json=body)
    assert answer.status_code == 201, answer.text


def run(service):
    answer = service.post("/run_algorithm", json={"params": list(SAMPLE_PARAMS), "time_budget_ms": 0})
    assert answer.status_code == 200, answer.text
    return answer.json()["request_id"]


def test_runs_go_on_beside_later_columns_and_tables(service, later, rows):
    request = run(service)
    assert service.get(f"/runs/{request}").status_code == 200
    assert rows("SELECT shift FROM runs WHERE request_id = %s", request) == [(None,)]
    assert service.post("/plans", json={"name": "p", "request_id": request}).status_code == 201
    assert service.post("/reports/performance", json={"days": 1}).status_code == 201


def test_a_check_of_the_database_does_not_make_it_older(service, later, rows):
    assert service.get("/health/ready").status_code == 200
    assert rows("SELECT version FROM schema_version") == [(SCHEMA_VERSION + 1,)]


def test_this_version_starts_on_the_later_database_and_leaves_its_additions(later, url, rows, tmp_path):
    monitor = PerformanceMonitor(url, reports_dir=tmp_path)
    monitor.record_performance(PerformanceRecord(request_id="by an old one"))
    monitor.check_writable()
    monitor.upkeep.compact(utc_now())
    monitor.close()
    assert rows("SELECT version FROM schema_version") == [(SCHEMA_VERSION + 1,)]
    assert rows("SELECT name FROM shifts") == [("night",)]


def test_connections_that_the_server_ends_are_made_anew_on_the_later_database(service, later, rows):
    rows("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'scheduler'")
    body = {"params": list(SAMPLE_PARAMS), "time_budget_ms": 0}
    until(lambda: service.post("/run_algorithm", json=body).status_code == 200, "a run to be recorded")


def test_a_later_database_that_this_version_may_not_use_is_refused(later, url, rows, tmp_path):
    rows(f"UPDATE schema_version SET oldest_program = {SCHEMA_VERSION + 1}")
    try:
        with pytest.raises(StorageUnavailable, check=coded("schema_version", found=SCHEMA_VERSION + 1)):
            PerformanceMonitor(url, reports_dir=tmp_path)
    finally:
        rows(f"UPDATE schema_version SET oldest_program = {SCHEMA_VERSION}")


def test_a_later_database_is_not_moved_because_its_additions_would_be_lost(later, url, tmp_path):
    source = PerformanceMonitor(url, reports_dir=tmp_path)
    target = PerformanceMonitor(tmp_path / "new.db", reports_dir=tmp_path)
    with pytest.raises(StorageUnavailable, check=coded("schema_version", found=SCHEMA_VERSION + 1)):
        move(source.engine, target.engine)
    assert target.count_runs() == 0
    source.close()


def test_members_of_metadata_survive_a_rollback(service, later, url, tmp_path):
    (model,) = service.get("/models?tag=stable").json()["models"]
    name = f"models/metadata/{model['model_key']}.json"
    change_document(url, tmp_path, name, lambda each: each.update(reviewed_by="王工", safety={"level": 2}))
    answer = service.post("/models/rollback", json={"algorithm": "DDQN", "reason": "x", "actor": "li"})
    assert answer.status_code == 200, answer.text
    found = document(url, tmp_path, name)
    assert found["status"] == "validated", "it was written again"
    assert (found["reviewed_by"], found["safety"]) == ("王工", {"level": 2})


def test_kinds_of_events_that_are_unknown_are_shown(service, later, url, tmp_path):
    (model,) = service.get("/models?tag=stable").json()["models"]
    line = {
        "time": "2026-11-30T12:00:00.000000+00:00", "event": "reviewed", "model_key": model["model_key"], "actor": "li",
        "reason": "", "before": {"status": {}, "tags": {}}, "after": {"status": {}, "tags": {}}, "reviewer": "王工",
    }  # fmt: skip
    with changed(url, tmp_path) as change:
        change.append("models/history.jsonl", line)

    def is_shown():
        answer = service.get("/models/history")
        assert answer.status_code == 200, answer.text
        return any(each["event"] == "reviewed" for each in answer.json()["events"])

    until(is_shown, "the event to be shown")


def test_settings_of_experiments_survive_the_moves_of_this_version(service, later, url, tmp_path):
    create(service, "e1")

    def edit(config):
        config["experiments"]["e1"]["holdout"] = 0.1
        config["default_scope"] = "plant 1"

    change_document(url, tmp_path, "ab_test_config.json", edit)
    until(lambda: service.get("/experiments/e1").status_code == 200)
    for move_ in ("pause", "start"):
        answer = service.post(f"/experiments/e1/{move_}", json={"reason": "x", "actor": "li"})
        assert answer.status_code == 200, answer.text
    create(service, "e2")
    assert service.get("/health").json()["parts"]["experiments"]["status"] == "ok"
    found = document(url, tmp_path, "ab_test_config.json")
    assert (found["experiments"]["e1"]["holdout"], found["default_scope"]) == (0.1, "plant 1")
    for move_ in ("stop", "archive"):
        answer = service.post(f"/experiments/e1/{move_}", json={"reason": "x", "actor": "li"})
        assert answer.status_code == 200, answer.text
    assert service.get("/experiments/e1").status_code == 200, "archived with the setting"


def test_a_misspelled_setting_is_refused_although_later_ones_are_kept(later, url, tmp_path):
    store = DatabaseStore(url, tmp_path)
    file = ConfigFile(store)
    file.update(lambda each: None)
    text = export_config(file)
    with pytest.raises(InvalidExperiment, check=coded("no_such_name_near")):
        import_config(file, text.replace('"default_model"', '"defaultmodel"').encode())
    store.close()


def test_thresholds_of_later_rules_are_kept(service, later, url, tmp_path):
    assert service.put("/alerts/thresholds/max_makespan", json={"value": 80, "reason": "x"}).status_code == 200
    change_document(
        url,
        tmp_path,
        "alert_thresholds.json",
        lambda each: each["thresholds"].update(max_energy=5) or each.update(note="x"),
    )
    assert service.put("/alerts/thresholds/max_makespan", json={"value": 81, "reason": "x"}).status_code == 200
    found = document(url, tmp_path, "alert_thresholds.json")
    assert (found["thresholds"], found["note"]) == ({"max_makespan": 81.0, "max_energy": 5}, "x")
