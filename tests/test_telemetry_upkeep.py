"""Database maintenance: compaction without loss, export, and the command line."""

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sqlalchemy import event

from monitoring import ABTestAnalyzer, PerformanceMonitor, PerformanceRecord, alert_desk
from scheduler_service.errors import InvalidInput, StorageUnavailable
from scheduler_service.telemetry.cli import Door, main
from scheduler_service.telemetry.queries import DTYPES
from scheduler_service.telemetry.record import ReplayRecord
from scheduler_service.telemetry.selection import Range
from tests.codes import coded
from tests.programs import run_python, start_python
from tests.test_monitoring_pairs import pair

DOOR = Door(PerformanceMonitor, ABTestAnalyzer, alert_desk)
NOW = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)
ENGINES = ("sqlite", "postgresql")


@pytest.fixture
def records(request, tmp_path):
    """As in `conftest`, but the file is where a service has it."""
    (tmp_path / "logs").mkdir()
    if getattr(request, "param", "sqlite") == "sqlite":
        yield tmp_path / "logs" / "performance.db"
        return
    with request.getfixturevalue("postgresql").schema() as url:
        yield url


def fill(monitor: PerformanceMonitor, count: int = 60) -> None:
    """One run every six hours back from now; some failed, some without a gap, some of an experiment."""
    for number in reversed(range(count)):
        is_good = number % 7 != 0
        monitor.record_performance(
            PerformanceRecord(
                request_id=f"r{number}", timestamp=NOW - timedelta(hours=6 * number), user_id=f"用户,\"{number}\"\n",
                model_key=None if number % 11 == 0 else f"M{number % 2}", success=is_good,
                makespan=50.0 + number if is_good else None, gap=0.01 * number if is_good and number % 3 else None,
                execution_time=0.5 + number, experiment="kept" if number % 5 == 0 else None, n_workpoints=1,
                user_satisfaction=4 if number % 4 == 0 else None, error_message=None if is_good else "x",
                team_utilization={"吊装": 0.5}, input_params={"params": [1.0]}, queue_time=0.001, total_time=0.01,
            )
        )  # fmt: skip


def days_of(monitor: PerformanceMonitor) -> pd.DataFrame:
    with monitor.engine.connect() as connection:
        return pd.read_sql("SELECT * FROM days", connection)


def insert_runs(path: Path, count: int) -> None:
    """Runs of January 2020, without the checks and commits of the monitor."""
    with sqlite3.connect(path) as connection:
        connection.executemany(
            "INSERT INTO runs (request_id, timestamp, success, makespan, model_key) VALUES (?, ?, 1, 1.0, 'M')",
            [(f"r{n}", f"2020-01-{1 + n % 28:02}T00:00:00.000000+00:00") for n in range(count)],
        )


# --- compaction ---


def test_a_compacted_day_is_the_sum_of_its_runs(monitor):
    fill(monitor)
    before = NOW - timedelta(days=7)
    runs = monitor.get_performance_data()
    old = runs[(runs["timestamp"] < before) & (runs["experiment"] != "kept")]
    good = old[old["success"]]
    assert monitor.upkeep.compact(before, keep_experiments=["kept"]) == len(old) > 20
    days = days_of(monitor)
    assert days["runs"].sum() == len(old)
    assert days["failures"].sum() == len(old) - len(good)
    for column, expected in (
        ("makespan_sum", good["makespan"].sum()), ("gap_sum", good["gap"].sum()), ("gaps", good["gap"].count()),
        ("execution_time_sum", good["execution_time"].sum()),
    ):  # fmt: skip
        assert days[column].sum() == pytest.approx(expected), column
    verdicts = old["user_satisfaction"].dropna()
    assert (days["verdicts"].sum(), days["verdict_sum"].sum()) == (len(verdicts), verdicts.sum())
    assert days["execution_time_max"].max() == good["execution_time"].max()
    assert set(zip(days["day"], days["model_key"], strict=True)) == set(
        zip(old["timestamp"].dt.strftime("%Y-%m-%d"), old["model_key"].fillna(""), strict=True)
    )
    left = monitor.get_performance_data()
    pd.testing.assert_frame_equal(left, runs.drop(old.index).reset_index(drop=True))


def test_compacting_again_adds_to_existing_days(monitor):
    fill(monitor)
    runs = monitor.get_performance_data()
    for days in (12, 10, 9.9, 3, 3):
        monitor.upkeep.compact(NOW - timedelta(days=days))
    gone = len(runs) - monitor.count_runs()
    table = days_of(monitor)
    assert table["runs"].sum() == gone == (runs["timestamp"] < NOW - timedelta(days=3)).sum()
    assert not table.duplicated(["day", "model_key"]).any()
    assert monitor.upkeep.stats()["rows"]["feedback"] == monitor.get_performance_data()["user_satisfaction"].count()


def test_simultaneous_compactions_count_each_run_once(tmp_path):
    path = tmp_path / "p.db"
    monitor = PerformanceMonitor(path, reports_dir=tmp_path)
    insert_runs(path, 10_001)
    code = (
        "import sys; from datetime import UTC, datetime; from monitoring import PerformanceMonitor\n"
        "PerformanceMonitor(sys.argv[1]).upkeep.compact(datetime(2021, 1, 1, tzinfo=UTC))\n"
    )
    processes = [start_python("-c", code, str(path)) for _ in range(3)]
    assert [process.wait() for process in processes] == [0, 0, 0]
    assert days_of(monitor)["runs"].sum() == 10_000
    assert monitor.count_runs() == 1, "the newest run is kept so that no id is reused"


@pytest.mark.only_sqlite
def test_runs_of_experiments_are_not_compacted_while_the_configuration_is_broken(monitor, tmp_path, capsys):
    fill(monitor)
    (tmp_path / "ab_test_config.json").write_text('{"experiments": {"kept"')
    assert main(DOOR, ["vacuum", "--keep-days", "1", "--home", str(tmp_path)]) == 1
    assert "repair the file" in capsys.readouterr().err
    assert monitor.count_runs() == 60


@pytest.mark.only_sqlite
def test_a_vacuum_without_enough_space_is_refused(monitor, monkeypatch):
    fill(monitor, 3)
    usage = shutil.disk_usage(monitor.db_path.parent)._replace(free=1_000)
    monkeypatch.setattr("shutil.disk_usage", lambda _: usage)
    with pytest.raises(StorageUnavailable, check=coded("no_room_to_rewrite")):
        monitor.upkeep.vacuum()


def test_pairs_of_configured_experiments_are_kept(monitor):
    old = {"timestamp": NOW - timedelta(days=9)}
    monitor.record_pair(pair(experiment="kept", **old), pair(experiment="gone", **old), pair(experiment="gone"))
    monitor.upkeep.compact(NOW - timedelta(days=7), keep_experiments=["kept"])
    assert sorted(monitor.get_pairs()["experiment"]) == ["gone", "kept"]


def test_compaction_deletes_the_ranges_of_old_replays_in_several_commits(monitor, monkeypatch):
    """The replay remains, and counts among those of the two models."""
    monkeypatch.setattr("scheduler_service.telemetry.upkeep.BATCH_SIZE", 7)
    old = {"definition": "d", "candidate": "m", "key_a": "a", "key_b": "b", "last_run": 20, "total": 20, "options": {}}
    times = {"old": (200, None), "kept": (200, "kept"), "new": (2, None)}
    for name, (days, experiment) in times.items():
        at = NOW - timedelta(days=days)
        begun = ReplayRecord(id=name, experiment=experiment, since=at, timestamp=at, **old)
        monitor.replays.begin(begun, [Range(number, number, number, 1, number) for number in range(20)])
    monitor.record_pair(*(pair(f"p{number}", timestamp=NOW - timedelta(days=200)) for number in range(20)))
    commits = []
    event.listen(monitor.engine, "commit", commits.append)
    monitor.upkeep.compact(NOW - timedelta(days=90), keep_experiments=("kept",))
    assert {name: len(monitor.replays.ranges(name)) for name in times} == {"old": 0, "kept": 20, "new": 20}
    assert monitor.replays.last(definition="d") is not None
    assert len(monitor.get_pairs()) == 0
    assert len(commits) >= 3 + 3, "20 rows each, 7 in a commit"


def test_a_kill_during_compaction_loses_and_duplicates_nothing(tmp_path):
    path = tmp_path / "p.db"
    monitor = PerformanceMonitor(path, reports_dir=tmp_path)
    total = 30_000
    insert_runs(path, total)
    code = (
        "import sys; from datetime import UTC, datetime; from monitoring import PerformanceMonitor\n"
        "monitor = PerformanceMonitor(sys.argv[1])\n"
        "def progress(*done): print(*done, flush=True); sys.stdin.readline()\n"
        "monitor.upkeep.compact(datetime(2021, 1, 1, tzinfo=UTC), progress=progress)\n"
    )
    for wait_for in (1, 3, 6):
        process = start_python("-c", code, str(path), stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert process.stdin is not None
        assert process.stdout is not None
        for _ in range(wait_for):
            process.stdout.readline()
            process.stdin.write("go on\n")
            process.stdin.flush()
        time.sleep(0.01 * wait_for)  # into the next piece, at whose end it waits
        process.send_signal(signal.SIGKILL)
        process.communicate()  # returns once the forked child, which holds the other end, is gone too
        left = monitor.count_runs()
        assert 0 < left < total, "killed in the middle"
        assert days_of(monitor)["runs"].sum() == days_of(monitor)["makespan_sum"].sum() == total - left
    with sqlite3.connect(path) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


@pytest.mark.only_sqlite
def test_vacuum_frees_space(monitor):
    fill(monitor, 400)
    monitor.upkeep.vacuum()
    monitor.upkeep.compact(NOW)
    assert monitor.upkeep.vacuum() > 50_000
    assert monitor.upkeep.stats()["bytes"]["performance.db"] == monitor.db_path.stat().st_size


# --- export ---


def test_parquet_has_the_content_of_the_frame(monitor, tmp_path):
    fill(monitor)
    seen: list[tuple[int, int]] = []
    assert monitor.export(tmp_path / "runs.parquet", progress=lambda *done: seen.append(done)) == 60
    assert seen == [(60, 60)]
    read = pd.read_parquet(tmp_path / "runs.parquet")
    expected = monitor.get_performance_data()
    assert list(read.columns) == list(DTYPES)
    for name in expected.columns:
        ours, theirs = expected[name], read[name]
        assert list(ours.isna()) == list(theirs.isna()), name
        assert ours.dropna().tolist() == theirs.dropna().tolist(), name
    assert str(read["timestamp"].dtype) == "datetime64[us, UTC]"


def test_csv_has_the_content_of_the_frame(monitor, tmp_path):
    fill(monitor)
    end = NOW - timedelta(days=2)
    rows = monitor.export(tmp_path / "runs.csv", end_time=end, model_key="M1")
    read = pd.read_csv(tmp_path / "runs.csv")
    expected = monitor.get_performance_data(end_time=end, model_key="M1")
    assert rows == len(read) == len(expected) > 10
    assert list(read["user_id"]) == list(expected["user_id"]), "commas, quotes and line breaks"
    np.testing.assert_allclose(read["makespan"], expected["makespan"])
    assert (tmp_path / "runs.csv").read_bytes().startswith(b"\xef\xbb\xbf")


def test_pairs_are_exported_too(monitor, tmp_path):
    monitor.record_pair(pair(experiment="e"), pair(experiment="f"))
    assert monitor.export(tmp_path / "p.parquet", "pairs", experiment="e") == 1
    assert pd.read_parquet(tmp_path / "p.parquet")["experiment"].tolist() == ["e"]
    assert monitor.export(tmp_path / "none.csv", "pairs", experiment="g") == 0
    assert len(pd.read_csv(tmp_path / "none.csv")) == 0


def test_an_impossible_export_is_refused_and_leaves_no_file(monitor, tmp_path):
    fill(monitor, 3)
    with pytest.raises(InvalidInput, check=coded("export_format", name="runs.xlsx", known=[".csv", ".parquet"])):
        monitor.export(tmp_path / "runs.xlsx")
    with pytest.raises(InvalidInput, check=coded("pairs_by_model")):
        monitor.export(tmp_path / "p.csv", "pairs", model_key="M1")
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageUnavailable, check=coded("cannot_write")):
        monitor.export(tmp_path / "file" / "runs.csv")
    (tmp_path / "runs.csv").write_text("the former one")

    def stop(*_: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        monitor.export(tmp_path / "runs.csv", progress=stop)
    assert (tmp_path / "runs.csv").read_text() == "the former one"
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_file()) == ["file", "runs.csv"]


# --- the command line ---


def cli(home: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("SCHED_")}
    return run_python("-m", "monitoring", *arguments, "--home", str(home), env=clean | environment)


@pytest.mark.only_sqlite
def test_the_command_line_in_typical_use(monitor, tmp_path):
    fill(monitor)
    report = cli(tmp_path, "report", "--days", "30", "--lang", "en", "--pdf")
    assert report.returncode == 0, report.stderr
    page, paper = (Path(line) for line in report.stdout.splitlines())
    assert "</html>" in page.read_text("utf-8")
    assert paper.read_bytes().startswith(b"%PDF-")
    unknown = cli(tmp_path, "report", "--experiment", "nobody_knows_it")
    assert (unknown.returncode, unknown.stdout) == (1, "")
    assert "nobody_knows_it" in unknown.stderr
    stats = cli(tmp_path, "stats")
    assert "runs" in stats.stdout
    assert "2026-11-25" in stats.stdout
    exported = cli(tmp_path, "export", str(tmp_path / "out.parquet"), "--since", "2026-11-20")
    assert exported.returncode == 0, exported.stderr
    assert len(pd.read_parquet(tmp_path / "out.parquet")) == len(monitor.get_performance_data("2026-11-20"))


@pytest.mark.only_sqlite
def test_the_command_line_keeps_runs_of_configured_experiments(monitor, tmp_path, capsys):
    fill(monitor)
    arguments = ["vacuum", "--keep-days", "7", "--home", str(tmp_path), "--json"]
    before = monitor.count_runs()
    assert main(DOOR, arguments) == 0
    output = json.loads(capsys.readouterr().out)
    assert output["compacted"] == before - monitor.count_runs() >= 0


def test_the_exit_status_of_alerts_shows_whether_any_fires(tmp_path):
    (tmp_path / "logs").mkdir()
    monitor = PerformanceMonitor(tmp_path / "logs" / "performance.db")
    assert cli(tmp_path, "alerts", "--acknowledge", "9" * 30).stderr.startswith("error: ")
    environment = {"SCHED_ALERT_CONFIRM_S": "0", "SCHED_ALERT_THRESHOLDS": '{"min_free_disk_gib": 0}'}
    quiet = cli(tmp_path, "alerts", **environment)
    assert (quiet.returncode, quiet.stdout.strip()) == (0, "nothing is wrong"), quiet.stderr
    monitor.record_performance(PerformanceRecord(request_id="r", makespan=99.0))
    firing = cli(tmp_path, "alerts", **environment)
    assert firing.returncode == 1
    assert "平均总工期高于阈值" in firing.stdout
    number = json.loads(cli(tmp_path, "alerts", "--json", **environment).stdout)[0]["id"]
    acknowledged = cli(tmp_path, "alerts", "--acknowledge", str(number), "--actor", "李工", **environment)
    assert "李工" in acknowledged.stdout
    assert "李工" in cli(tmp_path, "alerts", "--history", "1", **environment).stdout
    assert cli(tmp_path, "alerts", "--acknowledge", "99").returncode == 1
    assert "SCHED_ALERT_WEBHOOKS" in cli(tmp_path, "alerts", "--test").stdout


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["export", "x.xlsx"], ".parquet"), (["export", "x.csv", "--since", "yesterday"], "ISO-8601"),
        (["vacuum", "--keep-days", "0"], "--keep-days"), (["report", "--days", "-1"], "days"),
        (["alerts", "--history", "0"], "--history"),
    ],
)  # fmt: skip
@pytest.mark.only_sqlite
def test_an_invalid_command_is_refused_in_one_line(monitor, tmp_path, capsys, arguments, word):
    assert main(DOOR, [*arguments, "--home", str(tmp_path)]) == 1
    output = capsys.readouterr().err
    assert word in output
    assert output.count("\n") == 1


@pytest.mark.parametrize("written", ["1_0", "nan", "inf", "ten", "1,5", "0x10", ""])
@pytest.mark.parametrize("option", ["alerts --history=", "thresholds --set=max_makespan=", "alerts --acknowledge="])
def test_a_number_that_is_not_in_decimal_digits_is_refused(capsys, option, written):
    with pytest.raises(SystemExit) as ended:
        main(DOOR, f"{option}{written}".split())
    assert ended.value.code == 2
    assert "argument --" in capsys.readouterr().err


def test_a_folder_without_records_is_reported(tmp_path, capsys):
    assert main(DOOR, ["stats", "--home", str(tmp_path)]) == 1
    assert "no records" in capsys.readouterr().err
    assert not (tmp_path / "logs").exists(), "reading creates no folder"
