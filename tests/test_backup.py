"""A backup of a running service holds everything acknowledged, appears atomically, and serves after it is restored."""

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from monitoring import ABTestAnalyzer, PerformanceMonitor, alert_desk
from scheduler_env import SAMPLE_PARAMS
from scheduler_service.backup import MANIFEST, backups
from scheduler_service.files import locked
from scheduler_service.telemetry.cli import Door, main
from tests.conftest import NEW_PROCESS, ROOT, LiveService, live_service
from tests.programs import run_python
from tests.test_faults import clients, damage, recorded, until_well
from tests.waiting import until

SAMPLE = list(SAMPLE_PARAMS)
DOOR = Door(PerformanceMonitor, ABTestAnalyzer, alert_desk)


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    """A service with an experiment, its own model and some runs."""
    with live_service(tmp_path_factory.mktemp("backup")) as running:
        shutil.copy(ROOT / "models" / "seed" / "ddqn_v1.pth", running.home / "third.pth")
        third = {"model_path": "third.pth", "algorithm_name": "DDQN", "version": "3.0.0", "description": "third",
                 "training_params": {"seed": 3}, "performance_metrics": {}, "created_by": "t"}  # fmt: skip
        assert running.post("/models/register", json=third).status_code == 201
        experiment = {"experiment_name": "kept", "model_a": "DDQN_v1.0", "model_b": "DDQN_v3.0"}
        assert running.post("/experiments", json=experiment).status_code == 201
        limit = {"value": 80, "reason": "two shifts less"}
        assert running.put("/alerts/thresholds/max_makespan", json=limit).status_code == 200
        plan = {"name": "大修", "request": {"params": SAMPLE}}
        assert running.post("/plans", json=plan).status_code == 201
        for number in range(5):
            running.run(params=SAMPLE, experiment="kept", user_id=f"u{number}")
        yield running


def back_up(home: Path, folder: Path, *arguments: str) -> Path:
    """Run the backup in its own process, as an operator does."""
    ended = run_python("-m", "monitoring", "backup", str(folder), "--home", str(home), *arguments)
    assert ended.returncode == 0, ended.stderr
    return Path(ended.stdout.strip())


def what_clients_see(service: LiveService) -> dict[str, object]:
    tags = {model["model_key"]: model["tags"] for model in service.get("/models").json()["models"]}
    history = service.get(f"/models/{sorted(tags)[0]}/history").json()
    counts = service.get("/experiments/kept/results").json()["results"]["total_requests"]
    answers = {
        "list": service.get("/experiments").json(),
        "thresholds": service.get("/alerts/thresholds").json(),
        "plan": service.get("/plans/大修").json(),
    }
    return {"models": tags, "history": history, "counts": counts} | answers


def test_a_restored_backup_serves_as_the_service_did(own, tmp_path, capsys):
    before = what_clients_see(own)
    copy = back_up(own.home, tmp_path / "backups")
    home = tmp_path / "home"
    assert main(DOOR, ["restore", str(copy), "--home", str(home)]) == 0
    assert str(home) in capsys.readouterr().out
    with live_service(home) as restored:
        assert what_clients_see(restored) == before
        assert restored.run(params=SAMPLE, experiment="kept", user_id="u0")["status"] == "success"
        until_well(restored)


def test_everything_acknowledged_before_the_backup_is_in_it(own, tmp_path):
    with clients(own) as answered:
        until(lambda: len(answered) > 20)
        acknowledged = {each for each in list(answered) if isinstance(each, str)}
        copy = back_up(own.home, tmp_path)
    assert len(acknowledged) > 10
    assert acknowledged <= recorded(copy / "logs" / "performance.db")
    assert all(isinstance(each, str) for each in answered), "no request was refused"


def test_a_killed_service_is_backed_up_with_everything_acknowledged(tmp_path):
    with live_service(tmp_path / "home", command=NEW_PROCESS) as running:
        acknowledged = {str(running.run(params=SAMPLE)["request_id"]) for _ in range(20)}
        running.process.kill()
        running.process.wait()
        copy = back_up(running.home, tmp_path / "backups")
    assert acknowledged <= recorded(copy / "logs" / "performance.db")
    assert not list((copy / "logs").glob("performance.db-*")), "no WAL file is needed"


def test_a_killed_backup_leaves_no_folder_that_looks_like_a_backup(own, tmp_path):
    with locked(own.home / "changes"):  # the backup waits here with a half-filled staging folder
        process = subprocess.Popen(
            [sys.executable, "-m", "monitoring", "backup", str(tmp_path), "--home", str(own.home)], cwd=ROOT
        )
        until(lambda: list(tmp_path.glob(".unfinished-*/models/models/*.pth")))
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert backups(tmp_path) == []
    copy = back_up(own.home, tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".backup.lock", copy.name], "nothing unfinished"


def test_a_locked_registry_is_reported_and_nothing_is_left(own, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("scheduler_service.store.folder.LOCK_TIMEOUT_S", 0.2)
    with locked(own.home / "changes"):
        assert main(DOOR, ["backup", str(tmp_path), "--home", str(own.home)]) == 1
    assert "changes is locked" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == [".backup.lock"]


def test_only_the_newest_backups_are_kept(own, tmp_path):
    first = back_up(own.home, tmp_path)
    second, third = back_up(own.home, tmp_path), back_up(own.home, tmp_path, "--keep", "2")
    assert backups(tmp_path) == [second, third]
    assert not first.exists()


def test_keeping_no_backup_is_refused(own, tmp_path, capsys):
    assert main(DOOR, ["backup", str(tmp_path), "--keep", "0", "--home", str(own.home)]) == 1
    assert "--keep: must be at least 1, not 0" in capsys.readouterr().err


def test_a_damaged_database_is_not_backed_up(own, tmp_path, capsys):
    home = tmp_path / "home"
    (home / "logs").mkdir(parents=True)
    file = home / "logs" / "performance.db"
    with closing(sqlite3.connect(own.home / "logs" / "performance.db")) as live, closing(sqlite3.connect(file)) as copy:
        live.backup(copy)
    damage(file, file.stat().st_size // 2 // 4096 * 4096, 8 * 4096)
    assert main(DOOR, ["backup", str(tmp_path / "backups"), "--home", str(home)]) == 1
    assert "monitoring repair" in capsys.readouterr().err
    assert backups(tmp_path / "backups") == []


def test_a_home_without_records_is_reported(tmp_path, capsys):
    assert main(DOOR, ["backup", str(tmp_path / "backups"), "--home", str(tmp_path)]) == 1
    assert "no records" in capsys.readouterr().err


# --- restoring ---


def test_an_upgrade_is_reverted_by_restoring_the_earlier_backup(own, tmp_path):
    """The procedure of docs/operations.md for reverting an upgrade."""
    home = tmp_path / "home"
    assert main(DOOR, ["restore", str(back_up(own.home, tmp_path / "first")), "--home", str(home)]) == 0
    before = back_up(home, tmp_path / "before")
    with closing(sqlite3.connect(home / "logs" / "performance.db")) as upgraded:
        upgraded.execute("UPDATE schema_version SET version = version + 1, oldest_program = version + 1")
        upgraded.commit()
    with live_service(home) as older:
        assert older.post("/run_algorithm", json={"params": SAMPLE}).status_code == 503
        assert "version" in older.get("/health").json()["parts"]["database"]["detail"]
    assert main(DOOR, ["restore", str(before), "--home", str(tmp_path / "back")]) == 0
    with live_service(tmp_path / "back") as older:
        until_well(older)
        assert what_clients_see(older)["counts"] == what_clients_see(own)["counts"]


@pytest.fixture
def copy(own, tmp_path) -> Path:
    return back_up(own.home, tmp_path / "backups")


def test_restoring_into_a_home_with_records_or_models_is_refused(own, copy, tmp_path, capsys):
    for name in ("logs/performance.db", "logs/performance.db-wal", "ab_test_config.json", "models/tags.json"):
        home = tmp_path / name.replace("/", "_")
        (home / name).parent.mkdir(parents=True)
        (home / name).write_bytes(b"mine")
        assert main(DOOR, ["restore", str(copy), "--home", str(home)]) == 1
        assert name in capsys.readouterr().err
        assert [path for path in home.rglob("*") if path.is_file()] == [home / name]
        assert (home / name).read_bytes() == b"mine"


def test_a_changed_backup_is_not_restored(copy, tmp_path, capsys):
    weights = next((copy / "models" / "models").iterdir())
    damage(weights, 100, 1)
    home = tmp_path / "home"
    assert main(DOOR, ["restore", str(copy), "--home", str(home)]) == 1
    assert weights.name in capsys.readouterr().err
    assert list(home.iterdir()) == [], "not even partially"


def test_an_incomplete_backup_is_not_restored(copy, tmp_path, capsys):
    (copy / "models" / "tags.json").unlink()
    assert main(DOOR, ["restore", str(copy), "--home", str(tmp_path / "home")]) == 1
    assert "tags.json" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("manifest", "word"),
    [
        (b"{", "cannot be understood"),
        (b"[]", "cannot be understood"),
        (b'{"format": 2, "files": {}}', "format 2"),
        (b'{"format": 1, "files": {"../../etc/passwd": {}}}', "outside"),
        (b'{"format": 1, "files": {"/etc/passwd": {}}}', "outside"),
        (None, "is no backup"),
    ],
)  # fmt: skip
def test_what_is_not_a_backup_is_refused(tmp_path, capsys, manifest, word):
    if manifest is not None:
        (tmp_path / MANIFEST).write_bytes(manifest)
    assert main(DOOR, ["restore", str(tmp_path), "--home", str(tmp_path / "home")]) == 1
    assert word in capsys.readouterr().err
    assert not (tmp_path / "home").exists()


def test_the_json_output_lists_every_file_with_its_digest(own, tmp_path, capsys):
    assert main(DOOR, ["backup", str(tmp_path), "--home", str(own.home), "--json"]) == 0
    output = json.loads(capsys.readouterr().out)
    copy = Path(output["path"])
    files = {str(path.relative_to(copy)) for path in copy.rglob("*") if path.is_file()}
    assert set(output["files"]) == files - {MANIFEST}
    assert {"logs/performance.db", "logs/experiments.jsonl", "ab_test_config.json", "models/history.jsonl"} <= files
    assert len([name for name in files if name.endswith(".pth")]) == 3
    assert os.stat(copy).st_mode & 0o077 == 0, "the file contains user names"
