"""Files shared by several processes: replaced atomically, changed under a lock."""

import json
import multiprocessing
import os
import threading
import time
from pathlib import Path

import pytest

from scheduler_service.errors import StorageUnavailable
from scheduler_service.files import locked, write_atomically, write_json
from tests.waiting import HANG_S, in_threads


def test_what_was_written_is_read_back_and_no_other_file_remains(tmp_path):
    target = tmp_path / "new" / "folder" / "value.json"
    write_json(target, {"makespan": 52.87, "name": "工作点"})
    assert json.loads(target.read_text(encoding="utf-8")) == {"makespan": 52.87, "name": "工作点"}
    assert "工作点" in target.read_text(encoding="utf-8")  # readable with cat
    assert os.listdir(target.parent) == ["value.json"]


def test_a_value_that_json_cannot_represent_leaves_the_old_file(tmp_path):
    target = tmp_path / "value.json"
    write_json(target, {"a": 1})
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(target, {"a": float("nan")})
    assert json.loads(target.read_text()) == {"a": 1}


def test_a_failed_write_leaves_the_old_file_and_no_temporary_one(tmp_path, monkeypatch):
    target = tmp_path / "value.json"
    write_atomically(target, b"old")

    def disk_is_full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", disk_is_full)
    with pytest.raises(StorageUnavailable, match=r"value\.json cannot be written: No space left"):
        write_atomically(target, b"new")
    assert target.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["value.json"]


def test_a_folder_that_is_a_file_is_a_clear_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageUnavailable, match="cannot be written"):
        write_atomically(tmp_path / "file" / "value.json", b"x")
    with pytest.raises(StorageUnavailable, match="cannot be locked"), locked(tmp_path / "file" / "value.json"):
        pass


def test_readers_see_the_old_or_the_new_file_while_it_is_replaced(tmp_path):
    target = tmp_path / "value"
    contents = [bytes([letter]) * 200_000 for letter in b"ab"]
    write_atomically(target, contents[0])
    stop = threading.Event()

    def write():
        for turn in range(60):
            write_atomically(target, contents[turn % 2])
        stop.set()

    writer = threading.Thread(target=write)
    writer.start()
    seen = set()
    while not stop.is_set():
        seen.add(target.read_bytes())
    writer.join()
    assert seen <= set(contents)


def test_the_lock_excludes_threads_of_one_process(tmp_path):
    counter = [0]

    def count():
        for _ in range(20):
            with locked(tmp_path / "counter"):
                value = counter[0]
                time.sleep(0.0001)
                counter[0] = value + 1

    in_threads(count, [()] * 4)
    assert counter == [80]


def _count_in_a_file(path: Path, times: int) -> None:
    for _ in range(times):
        with locked(path):
            path.write_text(str(int(path.read_text()) + 1))


def test_the_lock_excludes_processes(tmp_path):
    counter = tmp_path / "counter"
    counter.write_text("0")
    fork = multiprocessing.get_context("fork")
    processes = [fork.Process(target=_count_in_a_file, args=(counter, 50)) for _ in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert counter.read_text() == "200"


def test_waiting_too_long_for_the_lock_is_an_error(tmp_path):
    with (
        locked(tmp_path / "x"),
        pytest.raises(StorageUnavailable, match=r"locked by others; waited 0\.05 s"),
        locked(tmp_path / "x", timeout_s=0.05),
    ):
        pass


def test_a_killed_holder_releases_the_lock(tmp_path):
    def hold_and_die():
        with locked(tmp_path / "x"):
            os._exit(9)

    process = multiprocessing.get_context("fork").Process(target=hold_and_die)
    process.start()
    process.join()
    with locked(tmp_path / "x", timeout_s=HANG_S):
        pass
