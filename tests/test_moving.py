"""Moving all records to another engine and back."""

import json
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pandas as pd
import pytest

from monitoring import ABTestAnalyzer, PerformanceMonitor, PerformanceRecord, alert_desk
from scheduler_service.alerts.rules import RULES_OF_RUNS
from scheduler_service.errors import Conflict, InvalidInput
from scheduler_service.plans.records import PlanRecords
from scheduler_service.reporting.moving import move_reports
from scheduler_service.reporting.report_files import ReportFolder, named_report
from scheduler_service.reporting.shelf import open_shelf
from scheduler_service.settings import Settings, settings_from_environment
from scheduler_service.telemetry.cli import Door, main
from scheduler_service.telemetry.database import open_database
from scheduler_service.telemetry.moving import TABLES, move
from scheduler_service.telemetry.record import ReplayRecord
from scheduler_service.telemetry.selection import Range
from tests.codes import coded
from tests.instances import three_points
from tests.plans import version
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
    monitor.replays.begin(ReplayRecord(id="d-1", last_run=3, total=2, **usual), [Range(0, 1, 3, 2, 4)])
    with monitor.engine.begin() as connection:  # a list of an earlier version
        connection.exec_driver_sql("INSERT INTO replay_runs (replay, position, run) VALUES ('c-1', 0, 3)")
    plans = PlanRecords(monitor.engine, monitor.writer, lambda: NOW)
    plans.add(version("大修", three_points()))
    plans.publish("大修", 1, "李工", "")
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
        assert move(first.engine, second.engine) == there, "all of it is there already"
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


@pytest.fixture
def folder(tmp_path):
    """A folder with three reports, and a file that is none."""
    folder = ReportFolder(tmp_path / "reports")
    for number, name in enumerate(NAMES):
        made = named_report(name, 0, NOW - timedelta(days=number))
        folder.put(made, f"page {number}".encode())
    (tmp_path / "reports" / "notes.txt").write_text("mine")
    return folder


NAMES = (
    "performance_20261125_120000_zh.html",
    "performance_20261124_120000_en.pdf",
    "ab_test_v1_vs_v2_20261123_120000_zh.html",
)


@contextmanager
def table(postgresql):
    with postgresql.schema() as url:
        engine = open_database(url)
        yield open_shelf(Path("unused"), engine, url, is_shared=True)
        engine.dispose()


def test_reports_are_the_same_after_moving_there_and_back(postgresql, folder, tmp_path):
    back = ReportFolder(tmp_path / "back")
    with table(postgresql) as shared:
        there = move_reports(folder, shared)
        assert there == move_reports(shared, back)
        assert there[0] == 3
        for shelf in (shared, back):
            assert shelf.listed() == folder.listed(), "with their times"
            assert [shelf.read(name) for name in NAMES] == [b"page 0", b"page 1", b"page 2"]
        assert move_reports(folder, shared) == there, "a repeated move adds nothing"


def test_an_interrupted_move_of_reports_is_finished_by_the_next_one(postgresql, folder):
    def interrupt(done, _total):
        if done == 2:
            raise KeyboardInterrupt

    with table(postgresql) as shared:
        with pytest.raises(KeyboardInterrupt):
            move_reports(folder, shared, interrupt)
        assert len(shared.listed()) == 2
        assert move_reports(folder, shared)[0] == 3
        assert shared.listed() == folder.listed()


def test_another_report_of_the_same_name_is_not_replaced(postgresql, folder, tmp_path):
    other = ReportFolder(tmp_path / "other")
    other.put(named_report(NAMES[0], 0, NOW), b"another page")
    with table(postgresql) as shared:
        move_reports(folder, shared)
        for source, target in ((other, shared), (shared, other)):
            with pytest.raises(Conflict, check=coded("report_differs")):
                move_reports(source, target)
        assert shared.read(NAMES[0]) == b"page 0"
        assert other.read(NAMES[0]) == b"another page"


def test_a_name_that_leads_out_of_the_folder_is_refused(folder, tmp_path):
    name = "ab_test_/../../evil_20261123_120000_zh.html"
    with pytest.raises(InvalidInput, check=coded("report_name")):
        folder.put(named_report(name, 0, NOW), b"page")
    assert not list(tmp_path.glob("evil*"))


def test_old_reports_are_deleted_from_both_shelves_and_other_files_remain(postgresql, folder, tmp_path):
    with table(postgresql) as shared:
        move_reports(folder, shared)
        for shelf in (folder, shared):
            assert shelf.forget(NOW - timedelta(days=3)) == 0
            assert shelf.forget(NOW - timedelta(hours=36)) == 1
            assert [report.name for report in shelf.listed()] == list(NAMES[:2])
    assert (tmp_path / "reports" / "notes.txt").read_text() == "mine"


def test_the_command_moves_models_experiments_and_reports_there_and_back(postgresql, tmp_path, capsys, monkeypatch):
    door = Door(PerformanceMonitor, ABTestAnalyzer, alert_desk)
    home, back = tmp_path / "home", tmp_path / "back"
    (home / "logs").mkdir(parents=True)
    source = PerformanceMonitor(home / "logs" / "performance.db", reports_dir=home / "reports")
    source.record_performance(PerformanceRecord(request_id="a"))
    name = Path(source.generate_performance_report(7)).name
    (home / "ab_test_config.json").write_text("{}")
    with postgresql.schema() as url:
        options = f"options={url.parameters['options'].replace('=', '%3D')}"
        address = f"{postgresql.address}?{options}"
        there = ["move", "--to", address, "--home", str(home), "--json"]
        assert main(door, there) == 0
        first = json.loads(capsys.readouterr().out)
        assert main(door, there) == 0, "again, as after an interruption"
        assert json.loads(capsys.readouterr().out) == first
        assert first["reports"]["rows"] == 1
        monkeypatch.setenv("SCHED_DATABASE_URL", address)
        settings_from_environment.cache_clear()
        try:
            to_file = ["move", "--to", str(back / "logs" / "performance.db"), "--home", str(tmp_path / "x"), "--json"]
            assert main(door, to_file) == 0
        finally:
            monkeypatch.delenv("SCHED_DATABASE_URL")
            settings_from_environment.cache_clear()
        assert json.loads(capsys.readouterr().out) == first
    assert (back / "reports" / name).read_bytes() == (home / "reports" / name).read_bytes()
    assert (back / "ab_test_config.json").read_text() == "{}"
