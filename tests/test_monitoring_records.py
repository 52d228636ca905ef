"""Records: durable, shared by threads and processes, read back with the right types."""

import math
import os
import secrets
import signal
import sqlite3
import subprocess
import textwrap
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from monitoring import PerformanceMonitor, PerformanceRecord
from scheduler_service.errors import InvalidInput, RunNotFound, StorageUnavailable
from tests.codes import coded
from tests.programs import run_python, start_python
from tests.test_monitoring_pairs import pair
from tests.waiting import HANG_S, in_threads

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
ENGINES = ("sqlite", "postgresql")


def record(request_id: str = "r1", **fields: object) -> PerformanceRecord:
    return PerformanceRecord(**({"request_id": request_id, "makespan": 53.0, "execution_time": 0.004} | fields))


def test_recorded_runs_are_read_back(monitor):
    plain = {
        "model_key": "DDQN_1a2b3c4d_v2.0.0", "algorithm": "DDQN", "experiment": "e", "variant": "model_b",
        "reason": "assigned", "user_id": "用户1", "lower_bound": 50.0, "gap": 0.06, "resource_utilization": 0.4,
        "n_workpoints": 1, "n_steps": 15, "stage": "greedy", "timestamp": NOW - timedelta(minutes=1),
    }  # fmt: skip
    monitor.record_performance(record(**plain, team_utilization={"team1": 0.2}, input_params=[10, 5.5]))
    row = monitor.get_performance_data().iloc[0]
    assert {name: row[name] for name in plain} == plain
    assert row["makespan"] == 53.0
    assert row["input_params"] == "[10,5.5]"
    assert row["team_utilization"] == '{"team1":0.2}'
    assert bool(row["success"])


def test_columns_have_their_types_without_records(monitor):
    empty = monitor.get_performance_data()
    monitor.record_performance(record())
    monitor.record_performance(record("r2", success=False, makespan=None, error_message="超时"))
    full = monitor.get_performance_data()
    assert dict(empty.dtypes.astype(str)) == dict(full.dtypes.astype(str))
    assert str(full["timestamp"].dtype) == "datetime64[us, UTC]"
    assert math.isnan(empty["makespan"].mean())
    assert math.isnan(empty["success"].mean())
    assert full["success"].mean() == 0.5
    assert full["makespan"].mean() == 53.0


@pytest.mark.parametrize("offset_h", [0, 8, -5])
def test_times_may_be_naive_local_or_have_an_offset(monitor, set_time_zone, offset_h):
    set_time_zone(f"ABC{-offset_h:+d}")  # POSIX counts west as positive
    for minutes in range(5):
        monitor.record_performance(record(f"r{minutes}", timestamp=NOW + timedelta(minutes=minutes)))
    naive = (NOW + timedelta(hours=offset_h)).replace(tzinfo=None)
    for start in (
        naive + timedelta(minutes=3),
        (naive + timedelta(minutes=3)).isoformat(),
        "2026-11-23T12:03:00Z",
        "2026-11-23T20:03:00+08:00",
        NOW + timedelta(minutes=3),
    ):
        assert list(monitor.get_performance_data(start_time=start)["request_id"]) == ["r3", "r4"]
        assert list(monitor.get_performance_data(end_time=start)["request_id"]) == ["r0", "r1", "r2", "r3"]


def test_an_invalid_time_is_refused_by_name(monitor):
    with pytest.raises(InvalidInput, check=coded("not_a_time")):
        monitor.get_performance_data(start_time="yesterday")


def test_runs_are_filtered_by_model_and_experiment(monitor):
    for number, (model, experiment) in enumerate([("a", "x"), ("a", None), ("b", "x")]):
        monitor.record_performance(record(str(number), model_key=model, experiment=experiment))
    assert list(monitor.get_performance_data(model_key="a")["request_id"]) == ["0", "1"]
    assert list(monitor.get_performance_data(experiment="x")["request_id"]) == ["0", "2"]
    assert list(monitor.get_performance_data(model_key="b", experiment="x")["request_id"]) == ["2"]


def test_the_last_verdict_on_a_run_counts(monitor):
    monitor.record_performance(record("r1"))
    monitor.record_performance(record("r2", user_satisfaction=2))
    monitor.record_feedback("r1", 5, "很好")
    monitor.record_feedback("r1", 4)
    verdicts = monitor.get_performance_data().set_index("request_id")["user_satisfaction"]
    assert dict(verdicts) == {"r1": 4.0, "r2": 2.0}


def test_a_verdict_needs_a_run_and_a_number_from_1_to_5(monitor):
    with pytest.raises(RunNotFound, check=coded("run_not_found", request_id="nobody")):
        monitor.record_feedback("nobody", 3)
    monitor.record_performance(record("r1"))
    for verdict in (0, 6, True, 2.5):
        with pytest.raises(InvalidInput, check=coded("out_of_range", minimum=1, maximum=5)):
            monitor.record_feedback("r1", verdict)
    assert monitor.get_performance_data()["user_satisfaction"].isna().all()


def test_unusual_values_are_recorded_and_break_nothing(monitor):
    figures = {"makespan": math.nan, "gap": math.inf, "input_params": [math.nan, object()]}
    monitor.record_performance(record("\ud800", user_id="'; DROP TABLE runs;--\x00", **figures))
    monitor.record_performance(record("r2"))
    runs = monitor.get_performance_data()
    assert len(runs) == 2
    assert math.isnan(runs["makespan"][0])
    assert math.isnan(runs["gap"][0])


def test_a_long_text_of_an_index_is_shortened_and_found_again(monitor):
    """From Python; requests have limits. PostgreSQL cannot store longer ones in an index."""
    texts = [("长" * 900 + secrets.token_hex(4_000)) + end for end in "ab"]
    for text in texts:
        monitor.record_performance(record(text, model_key=text, experiment=text, user_satisfaction=3))
        monitor.record_pair(pair(text, candidate=text, replay=text, source="replay"))
        monitor.record_feedback(text, 5)
        monitor.writer.name_run(text, "name", None, NOW)
    runs = monitor.get_performance_data()
    assert list(runs["user_satisfaction"]) == [5, 5]
    assert runs["request_id"].nunique() == len(runs) == len(monitor.get_pairs()) == 2
    assert all(len(each.encode()) <= 800 and each.startswith("长" * 200) for each in runs["request_id"])


def test_a_repeated_request_id_is_recorded_again(monitor):
    monitor.record_performance(record("same"))
    monitor.record_performance(record("same"))
    monitor.record_feedback("same", 3)
    assert list(monitor.get_performance_data()["user_satisfaction"]) == [3.0, 3.0]


def test_many_threads_lose_nothing_and_the_records_of_a_call_share_a_commit(monitor):
    from sqlalchemy import event

    commits = []
    event.listen(monitor.engine, "commit", commits.append)

    def write(thread: int) -> None:
        for number in range(5):
            monitor.record_performance(*(record(f"{thread}-{number}-{each}") for each in range(5)))

    in_threads(write, [(number,) for number in range(16)])
    runs = monitor.get_performance_data()
    assert runs["request_id"].nunique() == len(runs) == 400
    assert len(commits) == 80


def test_an_error_in_a_thread_is_not_lost(monitor):
    with pytest.raises(ExceptionGroup) as failed:
        in_threads(monitor.record_feedback, [("missing", 3), ("missing", 4)])
    assert [type(each) for each in failed.value.exceptions] == [RunNotFound] * 2


def test_an_invalid_verdict_does_not_affect_simultaneous_writes(monitor):
    failures = []

    def write(number: int) -> None:
        try:
            if number % 2:
                monitor.record_feedback(f"missing{number}", 3)
            else:
                monitor.record_performance(record(f"r{number}"))
        except RunNotFound as err:
            failures.append(str(err))

    in_threads(write, [(number,) for number in range(40)])
    assert len(failures) == 20
    assert len(monitor.get_performance_data()) == 20


WRITE_IN_PROCESS = """
    import os, sys
    from monitoring import PerformanceMonitor, PerformanceRecord
    from tests.waiting import in_threads
    monitor = PerformanceMonitor(sys.argv[1], reports_dir=sys.argv[1] + ".reports")
    def write(thread):
        for number in range({count}):
            request_id = f"{{sys.argv[2]}}-{{thread}}-{{number}}"
            monitor.record_performance(PerformanceRecord(request_id=request_id))
            os.write(1, (request_id + "\\n").encode())  # one call: threads must not mix their lines
    in_threads(write, [(number,) for number in range(4)])
"""


def start_writer(db: Path, name: str, count: int) -> subprocess.Popen[str]:
    code = textwrap.dedent(WRITE_IN_PROCESS).format(count=count)
    return start_python("-c", code, str(db), name, stdout=subprocess.PIPE)


def test_processes_that_start_together_share_a_new_database(tmp_path):
    db = tmp_path / "new" / "performance.db"
    writers = [start_writer(db, f"p{number}", 15) for number in range(3)]
    for writer in writers:
        writer.communicate(timeout=HANG_S)
        assert writer.returncode == 0
    assert len(PerformanceMonitor(db, reports_dir=tmp_path).get_performance_data()) == 3 * 4 * 15


def test_acknowledged_records_survive_kill_9(tmp_path):
    db = tmp_path / "performance.db"
    writer = start_writer(db, "victim", 100_000)
    acknowledged = [writer.stdout.readline().strip() for _ in range(60)]
    os.kill(writer.pid, signal.SIGKILL)
    acknowledged += [line.strip() for line in writer.stdout.read().splitlines(keepends=True) if line.endswith("\n")]
    writer.wait(timeout=HANG_S)
    assert writer.returncode == -signal.SIGKILL

    found = set(PerformanceMonitor(db, reports_dir=tmp_path).get_performance_data()["request_id"])

    assert set(acknowledged) <= found
    with sqlite3.connect(db) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)


@pytest.mark.only_sqlite
def test_commits_are_synced_to_disk(monitor):
    with monitor.engine.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 2  # FULL


def test_native_threads_beside_an_event_loop_do_not_block(tmp_path):
    """As in the service, whose workers are not monkey-patched."""
    code = textwrap.dedent(
        """
        import gevent, sys
        from monitoring import PerformanceMonitor, PerformanceRecord
        monitor = PerformanceMonitor(sys.argv[1], reports_dir="unused")
        pool = gevent.get_hub().threadpool
        def write(number):
            pool.apply(monitor.record_performance, (PerformanceRecord(request_id=str(number)),))
        jobs = [gevent.spawn(write, number) for number in range(300)]
        gevent.joinall(jobs, raise_error=True)
        monitor.record_performance(PerformanceRecord(request_id="hub"))
        print(len(monitor.get_performance_data()))
        """
    )
    done = run_python("-c", code, str(tmp_path / "performance.db"))
    assert (done.stdout.strip(), done.returncode) == ("301", 0), done.stderr


def test_an_unusable_database_is_reported(tmp_path):
    not_a_database = tmp_path / "x.db"
    not_a_database.write_bytes(b"this is no database" * 100)
    with pytest.raises(StorageUnavailable, check=coded("database_damaged", reason="file is not a database")):
        PerformanceMonitor(not_a_database, reports_dir=tmp_path)
    with pytest.raises(StorageUnavailable, check=coded("records_unusable")):
        PerformanceMonitor(not_a_database / "below" / "a.db", reports_dir=tmp_path)


@pytest.mark.only_sqlite
def test_health_notices_a_deleted_database(monitor):
    monitor.check_writable()
    monitor.record_performance(record())
    monitor.close()
    monitor.db_path.unlink()
    with pytest.raises(StorageUnavailable, match="No such file"):
        monitor.check_writable()


def test_health_changes_nothing_and_does_not_block_writers(monitor):
    monitor.record_performance(record())
    monitor.check_writable()
    monitor.record_performance(record("r2"))
    assert len(monitor.get_performance_data()) == 2


def test_the_summary_agrees_with_pandas(monitor):
    for number in range(20):
        failed = number % 5 == 4
        monitor.record_performance(
            record(
                f"r{number}",
                model_key="ab"[number % 2],
                makespan=None if failed else 50.0 + number,
                gap=None if failed else 0.01 * number,
                execution_time=0.001 * (number + 1),
                success=not failed,
                error_message="worker timeout" if failed else None,
                user_satisfaction=4 if number == 0 else None,
            )
        )
    runs = monitor.get_performance_data()
    summary = monitor.summary()
    good = runs[runs["success"]]
    assert summary["total_requests"] == 20
    assert summary["failed_requests"] == 4
    assert summary["success_rate"] == 0.8
    assert summary["makespan"]["mean"] == pytest.approx(good["makespan"].mean())
    assert summary["execution_time"]["p95"] == pytest.approx(good["execution_time"].quantile(0.95))
    assert summary["user_satisfaction"] == {"mean": 4.0, "count": 1}
    assert summary["by_model"]["a"]["total_requests"] == 10
    assert monitor.summary(model_key="b")["total_requests"] == 10


def test_the_summary_of_nothing_is_json_without_nan(monitor):
    import json

    summary = monitor.summary()
    assert summary["total_requests"] == 0
    assert summary["success_rate"] is None
    assert summary["makespan"]["mean"] is None
    json.dumps(summary, allow_nan=False)
