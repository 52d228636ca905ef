"""Each run records the split under which it was assigned, so that results can be judged by periods of one split."""

import sqlite3
from datetime import UTC, datetime

import pandas as pd
import pytest

from ab_testing import ABTestManager
from monitoring import PerformanceMonitor, PerformanceRecord
from scheduler_env.standard_cycle import SAMPLE_PARAMS
from scheduler_service.experiments.examination import RUN_COLUMNS, examine
from scheduler_service.http.contract.runs import RunRequest
from scheduler_service.http.runs.running import compute
from scheduler_service.telemetry.history import latest_runs
from scheduler_service.telemetry.schema import SCHEMA_VERSION
from tests.databases import write_database
from tests.parts import parts_over

NOW = datetime(2026, 11, 28, tzinfo=UTC)
SAMPLE = list(SAMPLE_PARAMS)


@pytest.fixture
def manager(tmp_path):
    return ABTestManager(tmp_path / "ab_test_config.json", clock=lambda: NOW)


def user_in(manager, experiment, arm):
    """A user whom the hash assigns to the arm; None: to no arm."""
    found = manager.get_experiment(experiment)
    return next(user for n in range(10_000) if found.place_of(user := f"user_{n}").arm == arm)


@pytest.mark.parametrize(
    ("options", "split"),
    [
        ({}, "0.5/0.5"),
        ({"traffic_split": {"model_b": 0.1, "model_a": 0.9}}, "0.9/0.1"),
        ({"traffic_split": {"model_a": 0.95, "model_b": 0.05}, "coverage": 0.4}, "0.95/0.05"),
        ({"model_c": "c"}, "0.333333/0.333333/0.333333"),
        ({"traffic_split": {"model_a": 1.0, "model_b": 0.0}}, "1/0"),
    ],
)
def test_an_assignment_has_the_shares_of_the_arms_in_order(manager, options, split):
    manager.create_experiment("e", "a", "b", **options)
    assigned = manager.assign("e", user_in(manager, "e", "model_a"))
    assert (assigned.reason, assigned.split) == ("assigned", split)


def test_an_unassigned_user_has_no_split(manager):
    manager.create_experiment(
        "e", "a", "b", coverage=0.5, forced_variants={"tester": "model_b"}, excluded_users=["excluded"]
    )
    for user, reason in [("tester", "pinned"), ("excluded", "default"), (user_in(manager, "e", None), "default")]:
        assert (manager.assign("e", user).reason, manager.assign("e", user).split) == (reason, None)
    assert manager.assign("nobody", "u").split is manager.assign(None, "u").split is None
    manager.pause_experiment("e")
    assert manager.assign("e", user_in(manager, "e", "model_a")).split is None


def test_a_rollout_has_equal_shares_at_every_stage(manager):
    manager.create_experiment("ramp", "a", "b", rollout={})
    user = user_in(manager, "ramp", "model_b")
    seen = []
    for _ in range(3):
        seen.append(manager.assign("ramp", user).split)
        manager.advance_experiment("ramp")
    assert seen == ["0.5/0.5"] * 3


def test_a_changed_split_applies_to_the_next_assignment(manager):
    manager.create_experiment("e", "a", "b", {"model_a": 0.9, "model_b": 0.1})
    user = user_in(manager, "e", "model_a")
    before = manager.assign("e", user).split
    manager.config["experiments"]["e"]["traffic_split"] = {"model_a": 0.5, "model_b": 0.5}
    assert (before, manager.assign("e", user).split) == ("0.9/0.1", "0.5/0.5")


def test_the_service_records_it_for_assigned_runs_only(service):
    experiment = {"experiment_name": "split_recorded", "model_a": "DDQN_v1.0", "model_b": "DDQN_v2.0"}
    answer = service.post(
        "/experiments", json=experiment | {"traffic_split": {"model_a": 0.8, "model_b": 0.2}, "coverage": 0.7}
    )
    assert answer.status_code == 201
    splits: dict[str, set[str | None]] = {"assigned": set(), "default": set()}
    for n in range(30):
        result = service.run(params=SAMPLE, experiment="split_recorded", user_id=f"user_{n}", time_budget_ms=0)
        run = service.get(f"/runs/{result['request_id']}").json()["run"]
        splits[run["reason"]].add(run["split"])
    assert splits == {"assigned": {"0.8/0.2"}, "default": {None}}
    pinned = service.run(params=SAMPLE, experiment="split_recorded", user_id="user_1", model="DDQN_v1.0")
    assert service.get(f"/runs/{pinned['request_id']}").json()["run"]["split"] is None


def test_a_failed_run_of_an_arm_has_it_and_the_fallback_run_has_not(tmp_path):
    parts = parts_over(tmp_path)
    parts.experiments.create_experiment("e", "DDQN_v2.0", "DDQN_v1.0", {"model_a": 0.25, "model_b": 0.75})
    (tmp_path / "models" / "models" / f"{parts.models.resolve('DDQN_v1.0')}.pth").unlink()
    user = user_in(parts.experiments, "e", "model_b")
    request = RunRequest.model_validate({"params": SAMPLE, "experiment": "e", "time_budget_ms": 0, "user_id": user})
    outcome = compute(request, "r1", parts.models, parts.experiments, 1_000)
    results = [(record.success, record.variant, record.reason, record.split) for record in outcome.records]
    assert results == [(False, "model_b", "assigned", "0.25/0.75"), (True, None, "fallback", None)]


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_frames_and_exported_files_have_it_as_their_last_column(monitor, tmp_path, suffix):
    monitor.record_performance(
        PerformanceRecord(request_id="r1", makespan=50.0, split="0.9/0.1", timestamp=NOW),
        PerformanceRecord(request_id="r2", makespan=51.0, timestamp=NOW),
    )
    runs = monitor.get_performance_data()
    path = tmp_path / f"runs{suffix}"
    monitor.export(path)
    read = pd.read_csv(path) if suffix == ".csv" else pd.read_parquet(path)
    for frame in (runs, read):
        assert frame.columns[-1] == "split"
        assert frame["split"].fillna("-").tolist() == ["0.9/0.1", "-"]
    assert [run["split"] for run in latest_runs(monitor.engine, 2)] == [None, "0.9/0.1"]


def test_an_older_database_is_upgraded_and_judged_as_before(tmp_path):
    """Six runs of two arms, one of them failed, recorded without the column."""
    path = write_database(tmp_path / "old.db", 4)
    old = PerformanceMonitor(path, reports_dir=tmp_path / "reports", clock=lambda: NOW)
    with sqlite3.connect(path) as connection:
        assert connection.execute("SELECT version FROM schema_version").fetchone() == (SCHEMA_VERSION,)
    runs = old.get_performance_data(columns=RUN_COLUMNS)
    assert len(runs) == 6
    assert runs["split"].isna().all()
    manager = ABTestManager(tmp_path / "ab_test_config.json", clock=lambda: NOW)
    manager.create_experiment("e", "DDQN_a", "DDQN_b")
    data = examine(manager.get_experiment("e"), runs, None, NOW).to_dict()
    assert data["total_requests"] == {"model_a": 3, "model_b": 3}
    old.record_performance(PerformanceRecord(request_id="new", split="0.5/0.5"))
    assert old.get_performance_data()["split"].dropna().tolist() == ["0.5/0.5"]
    old.close()
