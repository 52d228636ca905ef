"""The archive of experiments: an archived experiment is neither lost nor present twice."""

import json
import signal
from datetime import timedelta

import pytest

from ab_testing import ABTestManager
from enhanced_flask import create_app
from scheduler_service.backup import back_up, restore
from scheduler_service.clock import utc_now
from scheduler_service.errors import ExperimentConflict, ExperimentNotFound, InvalidExperiment, StorageUnavailable
from scheduler_service.experiments.archive import Archive
from scheduler_service.experiments.cli import main
from scheduler_service.http.services import EXTENSION
from scheduler_service.http.watch.watching import clean_up
from scheduler_service.settings import Settings
from scheduler_service.store.folder import FolderStore
from tests.codes import coded
from tests.programs import run_python


def users_of(character):
    return [f"{number:05d}{character * 195}" for number in range(9_500)]


USERS = users_of("x")
KINDS = {"quotes": users_of('"'), "chinese": users_of("中")}
"""9,500 users each; 4 and 6 MB of JSON."""


@pytest.fixture
def path(tmp_path):
    return tmp_path / "ab_test_config.json"


@pytest.fixture
def manager(path):
    return ABTestManager(path)


def over(manager, name, **options):
    manager.create_experiment(name, "A", "B", **options)
    return manager.stop_experiment(name)


def archived_lines(path):
    return (path.parent / "logs" / "experiments_archive.jsonl").read_text("utf-8").splitlines()


def test_an_archived_experiment_leaves_the_list_and_can_still_be_read(manager, path):
    before = over(manager, "old", excluded_users=["u1"], forced_variants={"u2": "model_b"})
    found = manager.archive_experiment("old", actor="ann", reason="room")
    assert manager.list_experiments() == []
    assert found.archived_at is not None
    assert found.model_copy(update={"archived_at": None}) == before
    assert "old" not in json.loads(path.read_text("utf-8"))["experiments"]
    other = ABTestManager(path)
    assert other.get_experiment("old") == found
    assert other.explain_assignment("old", "u1")["status"] == "stopped"
    last = other.history.of("old")[-1]
    assert (last["event"], last["actor"], last["reason"]) == ("archived", "ann", "room")
    assert last["before"] == {"status": "stopped"}
    assert last["after"] == {"status": "stopped", "is_archived": True}
    (listed,) = other.archived_experiments()
    assert (listed.name, listed.excluded_users, dict(listed.forced_variants)) == ("old", (), {})


@pytest.mark.parametrize("status", ["active", "paused", "scheduled"])
def test_an_experiment_that_may_run_again_cannot_be_archived(manager, path, status):
    manager.create_experiment("young", "A", "B")
    if status == "scheduled":
        manager.config["experiments"]["young"]["start_time"] = "2999-01-01T00:00:00+00:00"
    elif status == "paused":
        manager.pause_experiment("young")
    allowed = ["completed", "concluded", "stopped"]
    with pytest.raises(ExperimentConflict, check=coded("move_of_experiment", status=status, allowed=allowed)):
        manager.archive_experiment("young")
    assert manager.get_experiment("young").status == status
    assert not Archive(FolderStore(path.parent)).summaries()


def test_an_expired_experiment_can_be_archived(manager):
    manager.create_experiment("done", "A", "B")
    manager.config["experiments"]["done"]["start_time"] = "2020-01-01T00:00:00+00:00"
    assert manager.archive_experiment("done").status == "completed"


def test_an_archived_experiment_allows_no_move_and_keeps_its_name(manager):
    over(manager, "old")
    manager.archive_experiment("old")
    moves = [
        getattr(manager, f"{each}_experiment") for each in ("start", "pause", "stop", "conclude", "archive", "advance")
    ]
    for move in [*moves, manager.promote_arm, manager.revert_promotion, lambda name: manager.stop_arm(name, "model_b")]:
        with pytest.raises(ExperimentConflict, check=coded("experiment_archived")):
            move("old")
    with pytest.raises(ExperimentConflict, check=coded("name_in_archive")):
        manager.create_experiment("old", "A", "B")
    with pytest.raises(ExperimentNotFound):
        manager.archive_experiment("never_was")


def test_the_promotion_that_can_still_be_reverted_cannot_be_archived(manager):
    manager.create_experiment("first", "A", "B")
    manager.promote_arm("first")
    with pytest.raises(ExperimentConflict, check=coded("way_back")):
        manager.archive_experiment("first")
    manager.create_experiment("second", "B", "C")
    manager.promote_arm("second")
    assert manager.archive_experiment("first").archived_at is not None
    manager.revert_promotion("second")
    assert manager.archive_experiment("second").archived_at is not None


@pytest.mark.parametrize("users", KINDS.values(), ids=KINDS)
def test_archiving_makes_room_for_four_experiments_with_9500_excluded_users(manager, path, users):
    names, refused = [f"e{number}" for number in range(6)], []
    for number, name in enumerate(names):
        try:
            over(manager, name, excluded_users=users)
        except InvalidExperiment as err:
            refused.append(err.code)
            before = path.read_bytes()
            assert ABTestManager(path).config_problem is None
            assert len(ABTestManager(path).list_experiments()) >= 1
            assert path.read_bytes() == before
            manager.archive_experiment(next(each.name for each in reversed(manager.list_experiments())))
            over(manager, name, excluded_users=users)
        assert len(manager.list_experiments()) + len(manager.archived_experiments()) == number + 1
    assert set(refused) == {"file_too_large"}
    fresh = ABTestManager(path)
    assert {each.name for each in (*fresh.list_experiments(), *fresh.archived_experiments())} == set(names)
    assert all(fresh.get_experiment(name).excluded_users == tuple(users) for name in names)


KILLED_BETWEEN = {
    "before the change": "folder.write_json = die",
    "after the change": "FolderStore._apply = die",
    "after the configuration": "w = folder.write_atomically; folder.write_atomically = lambda *a: (w(*a), die())",
    "after the archive": "append = JsonLines.append_missing\n"
    "JsonLines.append_missing = lambda *a: (append(*a), 'archive' in a[0].path.name and die())",
    "after the history": "append = JsonLines.append_missing\n"
    "JsonLines.append_missing = lambda *a: (append(*a), 'archive' not in a[0].path.name and die())",
}


def kill_while_archiving(path, where):
    program = (
        "import os, signal\n"
        "from pathlib import Path\n"
        "from ab_testing import ABTestManager\n"
        "from scheduler_service.jsonlines import JsonLines\n"
        "from scheduler_service.store import folder\n"
        "from scheduler_service.store.folder import FolderStore\n"
        "die = lambda *_: os.kill(os.getpid(), signal.SIGKILL)\n"
        f"manager = ABTestManager(Path({str(path)!r}))\n"
        f"{KILLED_BETWEEN[where]}\n"
        "manager.archive_experiment('old', actor='ann')\n"
    )
    assert run_python("-c", program).returncode == -signal.SIGKILL


@pytest.mark.parametrize("where", KILLED_BETWEEN)
def test_a_kill_at_any_step_leaves_the_experiment_exactly_once(manager, path, where):
    over(manager, "old", excluded_users=["u1"])
    over(manager, "other")
    kill_while_archiving(path, where)
    found = ABTestManager(path)
    assert found.get_experiment("old").excluded_users == ("u1",)
    assert [each.name for each in (*found.list_experiments(), *found.archived_experiments())].count("old") == 1
    found.describe_experiment("other", {"title": "next change"})
    is_archived = "old" not in {each.name for each in found.list_experiments()}
    assert is_archived == (where != "before the change")
    if not is_archived:
        found.archive_experiment("old", actor="ann")
    assert found.get_experiment("old").excluded_users == ("u1",)
    assert [each.name for each in found.list_experiments()] == ["other"]
    assert [each.name for each in found.archived_experiments()] == ["old"]
    assert len(archived_lines(path)) == 1
    events = [line["event"] for line in found.history.of("old")]
    assert events == ["created", "stopped", "archived"]


def test_a_full_disk_leaves_the_experiment_in_the_configuration(manager, path, monkeypatch):
    over(manager, "old")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("scheduler_service.files.os.fsync", full)
    with pytest.raises(StorageUnavailable, check=coded("cannot_write", reason="No space left on device")):
        manager.archive_experiment("old")
    monkeypatch.undo()
    assert manager.get_experiment("old").archived_at is None
    manager.archive_experiment("old")
    assert len(archived_lines(path)) == 1


def test_an_experiment_moved_out_of_the_archive_by_hand_runs_again(manager, path):
    manager.create_experiment("old", "A", "B")
    manager.config["experiments"]["old"]["start_time"] = "2020-01-01T00:00:00+00:00"
    manager.archive_experiment("old")
    entry = json.loads(archived_lines(path)[0])["experiment"]
    manager.config["experiments"] = {"old": entry | {"duration_days": 3650}}
    assert manager.get_experiment("old").status == "active"
    assert manager.archived_experiments() == []
    with pytest.raises(InvalidExperiment, check=coded("archived_at_given")):
        manager.config["experiments"] = {"old": entry | {"archived_at": "2026-01-01T00:00:00+00:00"}}


def test_broken_lines_of_the_archive_are_skipped(manager, path, caplog):
    for name in ("one", "two"):
        over(manager, name)
        manager.archive_experiment(name)
    file = path.parent / "logs" / "experiments_archive.jsonl"
    file.write_bytes(b"{}\n[1]\nnonsense\n" + file.read_bytes() + b'{"experiment"')
    found = ABTestManager(path)
    assert {each.name for each in found.archived_experiments()} == {"one", "two"}
    assert caplog.text.count("a line is unreadable and passed over") == 3
    over(found, "three")
    found.archive_experiment("three")
    assert ABTestManager(path).get_experiment("three").status == "stopped"
    assert file.read_bytes().count(b"\n") == 6, "the incomplete line was removed"


def test_reading_a_large_archive_takes_little_memory(manager, path):
    over(manager, "old", excluded_users=USERS)
    manager.archive_experiment("old")
    file = path.parent / "logs" / "experiments_archive.jsonl"
    line = file.read_bytes()
    with file.open("wb") as written:
        for number in range(150):  # 290 MB
            written.write(line.replace(b'"old"', b'"old%d"' % number))
    program = (
        "import resource, sys\n"
        "from pathlib import Path\n"
        "from scheduler_service.experiments.archive import Archive\n"
        "from scheduler_service.store.folder import FolderStore\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "assert len(Archive(FolderStore(Path(sys.argv[1]))).summaries()) == 150\n"
        "print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)\n"
    )
    assert float(run_python("-c", program, str(path.parent)).stdout) < 60.0


def test_the_command_line_archives_and_lists(tmp_path, capsys):
    create_app(Settings(home=tmp_path))
    manager = ABTestManager(tmp_path / "ab_test_config.json")
    over(manager, "old")
    home = ["--home", str(tmp_path)]
    assert main(ABTestManager, ["list", "--archived", *home]) == 0
    assert "no experiment is archived" in capsys.readouterr().out
    assert main(ABTestManager, ["archive", "old", "--reason", "room", *home]) == 0
    assert "the experiment old is stopped and archived" in capsys.readouterr().out
    assert main(ABTestManager, ["list", "--archived", *home, "--json"]) == 0
    (found,) = json.loads(capsys.readouterr().out)["experiments"]
    assert (found["name"], "archived_at" in found) == ("old", True)
    assert main(ABTestManager, ["list", *home]) == 0
    assert "there is no experiment yet" in capsys.readouterr().out
    assert main(ABTestManager, ["archive", "old", *home]) == 1
    assert "was archived on" in capsys.readouterr().err


def test_a_backup_includes_the_archive_and_runs_of_archived_experiments_are_not_compacted(tmp_path, monkeypatch):
    home = tmp_path / "home"
    app = create_app(Settings(home=home, retention_days=1))
    parts, client = app.extensions[EXTENSION], app.test_client()
    parts.experiments.create_experiment("old", "DDQN_v1.0", "DDQN_v2.0")
    for experiment in (None, "old", None):  # the newest run is always kept
        run = {"params": [10] * 15, "user_id": "u1"} | ({"experiment": experiment} if experiment else {})
        assert client.post("/run_algorithm", json=run).status_code == 200
    for move in ("stop", "archive"):
        assert client.post(f"/experiments/old/{move}", json={}).status_code == 200
    copy = back_up(Settings(home=home), tmp_path / "backups")
    monkeypatch.setattr("scheduler_service.http.watch.watching.utc_now", lambda: utc_now() + timedelta(days=5))
    clean_up(parts)
    assert len(parts.monitor.get_performance_data()) == 2
    assert len(parts.monitor.get_performance_data(experiment="old")) == 1
    restore(copy.path, Settings(home=tmp_path / "again"))
    assert ABTestManager(tmp_path / "again" / "ab_test_config.json").get_experiment("old").archived_at is not None
