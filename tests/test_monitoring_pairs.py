"""Pairs (two models on one instance), and databases of earlier versions."""

import shutil
import sqlite3
import subprocess
import textwrap
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pandas as pd
import pytest
from sqlalchemy.exc import IntegrityError

from monitoring import PairRecord, PerformanceMonitor, PerformanceRecord
from scheduler_service.errors import InvalidInput, StorageUnavailable
from scheduler_service.telemetry.queries import DTYPES, PAIR_DTYPES
from scheduler_service.telemetry.record import ReplayRecord, input_digest
from scheduler_service.telemetry.schema import SCHEMA_VERSION
from tests.codes import coded
from tests.databases import write_database
from tests.programs import start_python
from tests.waiting import HANG_S

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
ENGINES = ("sqlite", "postgresql")


def pair(request_id: str = "r1", **fields: object) -> PairRecord:
    sides = {"key_a": "A", "key_b": "B", "success_a": True, "success_b": True, "makespan_a": 53.0, "makespan_b": 52.5}
    return PairRecord(**({"request_id": request_id, "source": "shadow", "candidate": "model_b"} | sides | fields))


# --- recording ---


def test_recorded_pairs_are_read_back(monitor):
    failed = {"success_b": False, "makespan_b": None, "error_b": "InvalidModel: 坏了"}
    sizes = {"lower_bound": 50.0, "n_workpoints": 1, "n_steps": 15, "time_budget_ms": 20.0, "input_digest": "ab" * 32}
    time = NOW - timedelta(minutes=1)
    monitor.record_pair(pair(experiment="e", user_id="用户1", execution_time_a=0.02, timestamp=time, **failed, **sizes))
    found = monitor.get_pairs()
    assert list(found.columns) == list(PAIR_DTYPES)
    row = found.iloc[0]
    assert row["timestamp"] == pd.Timestamp(NOW - timedelta(minutes=1))
    assert (row["experiment"], row["user_id"], row["source"]) == ("e", "用户1", "shadow")
    assert (row["makespan_a"], row["time_budget_ms"], row["n_steps"]) == (53.0, 20.0, 15)
    assert (bool(row["success_a"]), bool(row["success_b"]), row["error_b"]) == (True, False, "InvalidModel: 坏了")
    assert pd.isna(row["makespan_b"])
    assert pd.isna(row["replay"])


def test_columns_have_their_types_without_records(monitor):
    empty = monitor.get_pairs()
    monitor.record_pair(pair())
    assert dict(empty.dtypes) == dict(monitor.get_pairs().dtypes)


def test_pairs_are_filtered(monitor):
    monitor.record_pair(
        pair("r1", experiment="x"),
        pair("r2", experiment="y"),
        pair("r3", experiment="x", source="replay", replay="p", timestamp=NOW - timedelta(days=2)),
    )
    assert list(monitor.get_pairs("x")["request_id"]) == ["r3", "r1"]
    assert list(monitor.get_pairs("x", source="shadow")["request_id"]) == ["r1"]
    assert list(monitor.get_pairs(replay="p")["request_id"]) == ["r3"]
    assert list(monitor.get_pairs(start_time=NOW - timedelta(days=1))["request_id"]) == ["r1", "r2"]


@pytest.mark.parametrize(
    "fields", [{"request_id": ""}, {"source": "replay"}, {"replay": "p"}, {"success_b": False}, {"makespan_a": None}]
)
def test_a_contradictory_pair_is_refused(fields):
    with pytest.raises(InvalidInput):
        pair(**fields)


def test_a_replay_records_a_request_once_and_a_shadow_run_each_time(monitor):
    monitor.record_pair(pair(source="replay", replay="p"), pair(), pair())
    monitor.record_pair(pair(source="replay", replay="p", makespan_a=99.0), pair("r2", source="replay", replay="p"))
    monitor.record_pair(pair(source="replay", replay="q"), pair(source="replay", replay="p", candidate="model_c"))
    found = monitor.get_pairs()
    assert len(found[found["source"] == "shadow"]) == 2
    assert list(monitor.get_pairs(replay="p")["request_id"]) == ["r1", "r2", "r1"]
    assert 99.0 not in list(found["makespan_a"])
    assert len(monitor.get_pairs(replay="q")) == 1


def test_the_database_refuses_a_second_pair_of_a_replay(monitor):
    monitor.record_pair(pair(source="replay", replay="p"))
    with monitor.engine.connect() as connection, pytest.raises(IntegrityError, match=r"(?i)unique"):
        connection.exec_driver_sql(
            "INSERT INTO pairs (timestamp, request_id, source, replay, candidate, success_a, success_b) "
            "VALUES ('', 'r1', 'replay', 'p', 'model_b', true, true)"
        )


def test_the_digest_of_an_input_depends_on_its_meaning():
    assert input_digest({"a": 1, "b": [1.5, 2]}) == input_digest({"b": [1.5, 2], "a": 1})
    assert input_digest({"a": [1, 2]}) != input_digest({"a": [2, 1]})
    assert input_digest({"name": "工作点"}) != input_digest({"name": "工作"})


# --- replays ---


def replay(replay_id: str = "p-1", **fields: object) -> ReplayRecord:
    usual = {
        "id": replay_id, "definition": "p", "candidate": "model_b", "key_a": "A", "key_b": "B",
        "since": NOW - timedelta(days=7), "last_run": 5, "total": 3, "options": {"limit": 10},
    }  # fmt: skip
    return ReplayRecord(**(usual | fields))


def test_a_replay_is_found_by_its_options_and_experiment(monitor):
    assert monitor.replays.last(definition="p") is None
    monitor.replays.begin(replay())
    monitor.replays.begin(replay("p-2", timestamp=NOW + timedelta(hours=1)))
    monitor.replays.begin(replay("q-1", definition="q", experiment="x", timestamp=NOW - timedelta(hours=1)))
    assert monitor.replays.last(definition="p").id == "p-2"
    found = monitor.replays.last(experiment="x")
    assert found == replay("q-1", definition="q", experiment="x", timestamp=NOW - timedelta(hours=1))


def test_of_two_equal_replays_the_first_is_kept(monitor):
    monitor.replays.begin(replay())
    monitor.replays.begin(replay(last_run=9))
    assert monitor.replays.last(definition="p").last_run == 5


# --- runs ---


def test_only_the_chosen_columns_are_read(monitor):
    monitor.record_performance(
        PerformanceRecord(request_id="r1", user_id="u", time_budget_ms=20.0, user_satisfaction=4)
    )
    found = monitor.get_performance_data(columns=["user_id", "time_budget_ms", "user_satisfaction"])
    assert found.to_dict("records") == [{"user_id": "u", "time_budget_ms": 20.0, "user_satisfaction": 4.0}]


@pytest.mark.parametrize("columns", [["makespan", "1; DROP TABLE runs"], ["id"], []])
def test_unknown_columns_are_refused(monitor, columns):
    with pytest.raises(InvalidInput, check=coded("unknown_columns")):
        monitor.get_performance_data(columns=columns)


def test_runs_are_counted(monitor):
    assert monitor.count_runs() == 0
    for experiment in ("x", "x", None):
        monitor.record_performance(PerformanceRecord(request_id="r", experiment=experiment))
    assert (monitor.count_runs(), monitor.count_runs("x"), monitor.count_runs("nobody")) == (3, 2, 0)


# --- databases of version 1 ---


@pytest.fixture
def old_database(tmp_path):
    return write_database(tmp_path / "old.db", 1)


def version(path: Path) -> int:
    with sqlite3.connect(path) as connection:
        return connection.execute("SELECT version FROM schema_version").fetchone()[0]


def test_an_old_database_opens_and_keeps_its_rows(old_database, tmp_path):
    assert version(old_database) == 1
    monitor = PerformanceMonitor(old_database, reports_dir=tmp_path)
    assert version(old_database) == SCHEMA_VERSION
    runs = monitor.get_performance_data()
    assert list(runs["request_id"]) == ["old-1", "old-2", "old-2"]
    assert list(runs["user_id"]) == ["用户1", "user_2", "user_2"]
    assert list(runs["success"]) == [True, False, True]
    assert runs["user_satisfaction"][0] == 4.0
    assert runs["time_budget_ms"].isna().all()
    assert list(runs.columns) == list(DTYPES)

    monitor.record_performance(PerformanceRecord(request_id="new", time_budget_ms=20.0))
    monitor.record_pair(pair())
    assert monitor.get_performance_data()["time_budget_ms"].dropna().tolist() == [20.0]
    assert len(monitor.get_pairs()) == 1


def test_an_upgraded_database_has_the_layout_of_a_new_one(old_database, tmp_path):
    PerformanceMonitor(old_database, reports_dir=tmp_path)
    PerformanceMonitor(tmp_path / "new.db", reports_dir=tmp_path)

    def layout(path: Path) -> dict[str, object]:
        with sqlite3.connect(path) as connection:
            names = connection.execute("SELECT type, name FROM sqlite_master ORDER BY name").fetchall()
            return {
                name: connection.execute(f"PRAGMA {'table' if kind == 'table' else 'index'}_info({name})").fetchall()
                for kind, name in names
            }

    assert layout(old_database) == layout(tmp_path / "new.db")


def test_processes_that_start_together_upgrade_once(old_database, tmp_path):
    code = textwrap.dedent(
        """
        import sys, time
        from monitoring import PerformanceMonitor, PerformanceRecord
        time.sleep(max(0.0, float(sys.argv[2]) - time.time()))
        monitor = PerformanceMonitor(sys.argv[1], reports_dir="unused")
        monitor.record_performance(PerformanceRecord(request_id=sys.argv[3], time_budget_ms=1.0))
        """
    )
    for attempt in range(3):
        path = tmp_path / f"{attempt}.db"
        shutil.copy(old_database, path)
        start = str(datetime.now().timestamp() + 1.5)
        started = [
            start_python("-c", code, str(path), start, str(number), stderr=subprocess.PIPE) for number in range(6)
        ]
        for process in started:
            _, errors = process.communicate(timeout=HANG_S)
            assert process.returncode == 0, errors
        assert PerformanceMonitor(path, reports_dir=tmp_path).count_runs() == 3 + 6
        assert version(path) == SCHEMA_VERSION


def test_an_interrupted_upgrade_is_finished(old_database, tmp_path):
    with sqlite3.connect(old_database) as connection:
        connection.execute("ALTER TABLE runs ADD COLUMN time_budget_ms FLOAT")
    monitor = PerformanceMonitor(old_database, reports_dir=tmp_path)
    monitor.record_pair(pair())
    assert version(old_database) == SCHEMA_VERSION


def test_an_older_program_keeps_writing_while_a_newer_one_upgrades(old_database, tmp_path):
    with sqlite3.connect(old_database, isolation_level=None) as older:
        older.execute("SELECT * FROM runs").fetchall()
        monitor = PerformanceMonitor(old_database, reports_dir=tmp_path)
        older.execute("INSERT INTO runs (request_id, timestamp, success) VALUES ('late', '2026-11-23T12:00:00', 1)")
    assert monitor.count_runs() == 4


def test_a_newer_database_is_not_changed(old_database, tmp_path):
    with sqlite3.connect(old_database) as connection:
        connection.execute("UPDATE schema_version SET version = 99")
        before = connection.execute("SELECT sql FROM sqlite_master").fetchall()
    with pytest.raises(StorageUnavailable, check=coded("schema_version", found=99, known=SCHEMA_VERSION)):
        PerformanceMonitor(old_database, reports_dir=tmp_path)
    with sqlite3.connect(old_database) as connection:
        assert connection.execute("SELECT sql FROM sqlite_master").fetchall() == before
