"""Moving all records to another engine and back."""

from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pandas as pd
import pytest

from monitoring import ABTestAnalyzer, PerformanceMonitor, PerformanceRecord, alert_desk
from scheduler_service.alerts.rules import RULES_OF_RUNS
from scheduler_service.errors import Conflict
from scheduler_service.settings import Settings, settings_from_environment
from scheduler_service.telemetry.cli import Door, main
from scheduler_service.telemetry.moving import TABLES, move
from scheduler_service.telemetry.record import ReplayRecord
from tests.codes import coded
from tests.test_monitoring_pairs import pair

NOW = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)


def fill(monitor: PerformanceMonitor, tmp_path: Path) -> None:
    """Rows in every table, with unusual values."""
    for number in range(30):
        monitor.record_performance(
            PerformanceRecord(
                request_id=f"r{number}\x00\ud800", makespan=90.0 + 1 / (number + 3), n_steps=2**40, user_id="用户",
                timestamp=NOW - timedelta(days=number), success=number % 5 > 0, placements=bytes([0, 255, number]),
                input_params={"params": [0.1 + 0.2, "\x00"]}, user_satisfaction=4 if number % 3 else None,
                model_key="M",
            )
        )  # fmt: skip
    found = list(monitor.get_performance_data()["request_id"])
    monitor.writer.name_run(found[-1], "名称", "李工", NOW)
    monitor.record_pair(pair(), pair(source="replay", replay="d-1"))
    since = NOW - timedelta(days=7)
    usual = {"definition": "d", "candidate": "b", "key_a": "A", "key_b": "B", "since": since, "options": {}}
    monitor.replays.begin(ReplayRecord(id="d-1", last_run=3, total=2, **usual), [3, 1])
    monitor.upkeep.compact(NOW - timedelta(days=20))
    alert_desk(monitor, Settings(home=tmp_path)).look(monitor.alert_readings(), RULES_OF_RUNS)
    alert_desk(monitor, Settings(home=tmp_path)).tell("text")


def test_all_records_are_the_same_after_moving_there_and_back(postgresql, tmp_path):
    with ExitStack() as held:
        places = [tmp_path / "a.db", held.enter_context(postgresql.schema()), tmp_path / "b.db"]
        first, second, third = (PerformanceMonitor(place, reports_dir=tmp_path, clock=lambda: NOW) for place in places)
        fill(first, tmp_path)
        there, back = move(first.engine, second.engine), move(second.engine, third.engine)
        assert there == back
        assert {name for name, content in there.items() if content.rows == 0} <= {"silences"}
        assert set(there) == {table.name for table in TABLES}
        for monitor in (second, third):
            pd.testing.assert_frame_equal(
                monitor.get_performance_data().replace("\ufffd", "\x00", regex=True),
                first.get_performance_data().replace("\ufffd", "\x00", regex=True),
            )
            pd.testing.assert_frame_equal(monitor.get_pairs(), first.get_pairs())
            before = set(monitor.get_performance_data()["request_id"])
            monitor.record_performance(PerformanceRecord(request_id="later"))  # with a higher id
            assert set(monitor.get_performance_data()["request_id"]) == before | {"later"}
        with pytest.raises(Conflict, check=coded("move_target_used")):
            move(first.engine, second.engine)
        second.close()


def test_a_source_that_is_written_to_meanwhile_is_refused_and_nothing_is_moved(postgresql, tmp_path):
    with postgresql.schema() as url:
        source = PerformanceMonitor(tmp_path / "a.db", reports_dir=tmp_path)
        target = PerformanceMonitor(url, reports_dir=tmp_path)
        source.record_performance(PerformanceRecord(request_id="a"))

        def progress(_done: int, _total: int) -> None:
            source.record_performance(PerformanceRecord(request_id="meanwhile"))

        with pytest.raises(Conflict, check=coded("move_source_used")):
            move(source.engine, target.engine, progress)
        assert target.count_runs() == 0
        target.close()


def test_the_command_moves_the_records_of_a_home(postgresql, tmp_path, capsys, monkeypatch):
    door = Door(PerformanceMonitor, ABTestAnalyzer, alert_desk)
    with postgresql.schema() as url:
        (tmp_path / "logs").mkdir()
        source = PerformanceMonitor(tmp_path / "logs" / "performance.db", reports_dir=tmp_path)
        source.record_performance(PerformanceRecord(request_id="a"))
        password = tmp_path / "password"
        password.write_text(url.password)
        options = f"options={url.parameters['options'].replace('=', '%3D')}"
        address = f"postgresql+psycopg://postgres@127.0.0.1:{postgresql.port}/postgres?{options}"
        to = ["move", "--to", address, "--password-file", str(password), "--home", str(tmp_path)]
        assert main(door, to) == 0
        assert "runs" in capsys.readouterr().out
        assert main(door, ["move", "--to", "mysql://x:hidden@y/z", "--home", str(tmp_path)]) == 1
        assert "hidden" not in capsys.readouterr().err
        to_file = ["move", "--to", str(tmp_path / "new.db"), "--password-file", str(password), "--home", str(tmp_path)]
        assert main(door, to_file) == 1
        assert "password" in capsys.readouterr().err
        monkeypatch.setenv("SCHED_DATABASE_URL", address)
        monkeypatch.setenv("SCHED_DATABASE_PASSWORD_FILE", str(password))
        settings_from_environment.cache_clear()
        try:
            assert main(door, ["stats", "--home", str(tmp_path)]) == 0
            assert "postgres" not in capsys.readouterr().err
            assert main(door, ["repair", "--home", str(tmp_path)]) == 1
            assert "repair is for database files" in capsys.readouterr().err
        finally:
            settings_from_environment.cache_clear()
