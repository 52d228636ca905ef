"""Files left by processes killed while writing, and their removal at the next start."""

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from ab_testing import ABTestManager
from enhanced_flask import create_app
from scheduler_service.files import LEFTOVER_S, remove_leftovers, temporary_beside
from scheduler_service.settings import Settings
from tests.programs import run_python, start_python
from tests.waiting import HANG_S

DIE = "import os, signal\nfrom pathlib import Path\ndie = lambda *_: os.kill(os.getpid(), signal.SIGKILL)\n"
KILLED = {
    "the experiments": "from ab_testing import ABTestManager\nfrom scheduler_service import files\nfiles.move = die\n"
    "ABTestManager(home / 'ab_test_config.json').create_experiment('x', 'A', 'B')",
    "a report": "from scheduler_service import files\nfiles.move = die\n"
    "files.write_atomically(home / 'reports' / 'performance.html', b'<html>')",
    "the registry": "from scheduler_service import files\nfrom scheduler_service.clock import utc_now\n"
    "from scheduler_service.registry.store import RegistryStore\n"
    "from scheduler_service.store.folder import FolderStore\n"
    "store = RegistryStore(FolderStore(home), 'models', utc_now)\nfiles.move = die\n"
    "files.write_json(home / 'models' / 'metadata' / 'x.json', {})",
    "the records": "import sqlite3\nfrom scheduler_service.files import temporary_beside\n"
    "base = sqlite3.connect(temporary_beside(home / 'logs' / 'performance.db'), isolation_level=None)\n"
    "base.execute('PRAGMA journal_mode=WAL')\nbase.execute('CREATE TABLE t (x)')\ndie()",
}


def left_in(home):
    return sorted(path for path in home.rglob(".*.tmp*"))


def kill_in(home, program):
    assert run_python("-c", f"{DIE}home = Path({str(home)!r})\n{program}\n").returncode == -signal.SIGKILL


@pytest.mark.parametrize("program", KILLED.values(), ids=KILLED)
def test_files_left_by_a_kill_are_removed_at_the_next_start(tmp_path, program):
    create_app(Settings(home=tmp_path))
    kill_in(tmp_path, program)
    left = left_in(tmp_path)
    assert left
    for path in left:
        if path.parent.name in ("logs", "reports"):
            os.utime(path, (time.time() - LEFTOVER_S - 1,) * 2)
    create_app(Settings(home=tmp_path))
    assert left_in(tmp_path) == []


def test_a_file_that_is_being_written_is_kept(tmp_path):
    create_app(Settings(home=tmp_path))
    young = temporary_beside(tmp_path / "reports" / "performance.html")
    young.write_bytes(b"half of it")
    create_app(Settings(home=tmp_path))
    assert young.exists()


def test_a_change_in_progress_is_waited_for(tmp_path):
    path = tmp_path / "ab_test_config.json"
    program = (
        f"{DIE}import sys\nfrom ab_testing import ABTestManager\n"
        "from scheduler_service import files\nmove = files.move\n"
        "def wait(*paths):\n    files.move = move\n"
        "    print('written', flush=True), sys.stdin.readline(), move(*paths)\n"
        "files.move = wait\n"
        f"ABTestManager(Path({str(path)!r})).create_experiment('x', 'A', 'B')\n"
    )
    pipe = subprocess.PIPE
    with start_python("-c", program, stdin=pipe, stdout=pipe) as writer:
        assert writer.stdout.readline() == "written\n"
        assert len(left_in(tmp_path)) == 1
        remover = start_python(
            "-c", f"{DIE}from scheduler_service.http.watch.watching import clean_folders\n"
            f"from scheduler_service.settings import Settings\nfrom scheduler_service.store.opening import store_of\n"
            f"settings = Settings(home={str(tmp_path)!r})\nclean_folders(settings, store_of(settings))"
        )  # fmt: skip
        time.sleep(0.5)  # it may check meanwhile; no assertion depends on its progress
        assert len(left_in(tmp_path)) == 1
        print(file=writer.stdin, flush=True)
        assert writer.wait(HANG_S) == 0
        assert remover.wait(HANG_S) == 0
    assert ABTestManager(path).get_experiment("x").status == "active"


def test_only_our_own_temporary_files_are_removed(tmp_path):
    near = (".x.0123456789abcdeg.tmp", ".x.0123456789abcdef.tmp.bak", ".x.0123456789abcdef")
    names = (".vimrc.tmp", "report.tmp", *near)
    for name in names:
        (tmp_path / name).touch()
    (tmp_path / ".x.0123456789abcdef.tmp").mkdir()
    ours = temporary_beside(tmp_path / "x")
    ours.touch()
    remove_leftovers(tmp_path, of="y", unchanged_for_s=0.0)
    assert ours.exists()
    remove_leftovers(tmp_path, unchanged_for_s=0.0)
    assert not ours.exists()
    assert {path.name for path in tmp_path.iterdir()} == {*names, ".x.0123456789abcdef.tmp"}
    remove_leftovers(Path(tmp_path / "missing"))


def test_metrics_of_killed_workers_are_removed_and_those_of_running_ones_kept(tmp_path):
    program = (
        "import os, sys\nfrom pathlib import Path\nfrom scheduler_service.http.server import processes\n"
        f"processes.MEMORY_FOLDER = Path({str(tmp_path)!r})\nprocesses._make_metrics_folder(None)\n"
        "os.utime(os.environ['PROMETHEUS_MULTIPROC_DIR'], (0, 0))\n"
        "print(os.environ['PROMETHEUS_MULTIPROC_DIR'], flush=True)\nsys.stdin.readline()\n"
    )

    def service():
        pipe = subprocess.PIPE
        started = start_python("-c", program, stdin=pipe, stdout=pipe)
        return started, Path(started.stdout.readline().strip())

    (first, killed), (second, living) = service(), service()
    first.kill()
    first.communicate(timeout=HANG_S)
    assert killed.is_dir()
    third, fresh = service()
    assert not killed.exists()
    assert living.is_dir()
    assert fresh.is_dir()
    for each in (second, third):
        each.communicate("\n", timeout=HANG_S)
