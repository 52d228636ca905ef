"""Stores: a change of documents, logs and files happens as a whole or not at all, in a folder and in PostgreSQL."""

import json
import os
import signal
import subprocess
import threading
import time
from pathlib import Path

import pytest

from scheduler_service.errors import Conflict, ExperimentConflict, InvalidExperiment, MustBeMended, StorageUnavailable
from scheduler_service.experiments.config import ConfigFile
from scheduler_service.experiments.exchange import export_config, import_config
from scheduler_service.store.folder import FolderStore
from scheduler_service.store.moving import digest, move_store
from tests.codes import coded
from tests.programs import run_python, start_python
from tests.waiting import HANG_S, until

STORES = ("folder", "postgresql")


def objects(store, name="logs/events.jsonl"):
    return store.log(name, dict)


def content(store, name):
    return store.read(name).content


def weights(store, data=b"weights"):
    path = store.scratch("models/.incoming") / "new.pth"
    path.write_bytes(data)
    return path


def write_all(store):
    """A change of every kind."""
    with store.changing() as change:
        change.put("a.json", b"1")
        change.put("models/metadata/m.json", b"{}")
        change.add_file("models/models/m.pth", weights(store))
        change.append("logs/events.jsonl", {"event": 1})
        change.append("logs/events.jsonl", {"event": 2})
        change.append("models/history.jsonl", {"event": "registered"})


@pytest.fixture
def folders(tmp_path):
    for name in ("models/models", "models/metadata"):
        (tmp_path / name).mkdir(parents=True)


def test_a_change_is_seen_as_a_whole_by_every_other_process(open_store, folders):
    first, second = open_store(), open_store()
    log = objects(second)
    assert (content(second, "a.json"), log.lines()) == (None, [])
    write_all(first)
    until(lambda: content(second, "a.json") == b"1", "the other process to see it")
    assert content(second, "models/metadata/m.json") == b"{}"
    assert list(second.documents("models/metadata")) == ["models/metadata/m.json"]
    assert second.file("models/models/m.pth").read_bytes() == b"weights"
    assert second.file_names("models/models") == ["models/models/m.pth"]
    assert log.lines() == [{"event": 1}, {"event": 2}]
    assert log.raw(1) == {"event": 2}
    assert objects(second, "models/history.jsonl").lines() == [{"event": "registered"}]


def test_nothing_of_a_change_remains_if_its_block_raises(open_store, folders):
    store = open_store()
    with pytest.raises(ZeroDivisionError), store.changing() as change:  # noqa: PT012
        change.put("a.json", b"1")
        change.append("logs/events.jsonl", {"event": 1})
        change.add_file("models/models/m.pth", weights(store))
        raise ZeroDivisionError
    assert (content(store, "a.json"), objects(store).lines()) == (None, [])
    assert store.file_names("models/models") == []


def test_a_change_reads_its_own_writes_and_others_do_not(open_store, folders):
    store = open_store()
    with store.changing() as change:
        change.put("models/metadata/a.json", b"1")
        assert change.read("models/metadata/a.json").content == b"1"
        assert list(change.documents("models/metadata")) == ["models/metadata/a.json"]
        assert content(store, "models/metadata/a.json") is None
    with store.changing() as change:
        change.move("models/metadata/a.json", "models/.trash/a.json")
        assert change.read("models/metadata/a.json").content is None
        assert not change.documents("models/metadata")
    assert content(store, "models/metadata/a.json") is None
    assert content(store, "models/.trash/a.json") == b"1"


def test_a_change_within_another_is_committed_with_it(open_store):
    store = open_store()
    with pytest.raises(ZeroDivisionError), store.changing() as outer:  # noqa: PT012
        with store.changing(within=outer) as inner:
            inner.put("a.json", b"1")
        assert outer.read("a.json").content == b"1"
        raise ZeroDivisionError
    assert content(store, "a.json") is None


def test_equal_stamps_mean_equal_contents(open_store):
    store = open_store()
    with store.changing() as change:
        change.put("a.json", b"1")
    time.sleep(0.1)  # for a folder: longer than a tick of the file system's clock
    found = store.read("a.json")
    assert found.stamp is not None
    assert found.stamp == store.stamp("a.json")
    with store.changing() as change:
        change.put("a.json", b"2")
    assert found.stamp != store.stamp("a.json")


def test_writers_that_come_together_lose_no_update(open_store):
    stores = [open_store() for _ in range(3)]

    def count(store):
        for _ in range(10):
            with store.changing() as change:
                number = int(change.read("n.json").content or b"0")
                change.put("n.json", b"%d" % (number + 1))
                change.append("logs/events.jsonl", {"event": number})

    threads = [threading.Thread(target=count, args=(store,)) for store in (*stores, stores[0])]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(HANG_S)
    for store in stores:
        until(lambda store=store: content(store, "n.json") == b"40", "all changes to be seen")
        assert [line["event"] for line in objects(store).lines()] == list(range(40))


def test_what_was_moved_to_the_trash_is_deleted_by_its_age(open_store, folders):
    store = open_store()
    write_all(store)
    with store.changing() as change:
        change.move("models/metadata/m.json", "models/.trash/m.json")
        change.move("models/models/m.pth", "models/.trash/m.pth")
    store.empty("models/.trash", 3_600.0)
    assert content(store, "models/.trash/m.json") == b"{}"
    assert store.file("models/.trash/m.pth").read_bytes() == b"weights"
    time.sleep(0.02)
    store.empty("models/.trash", 0.0)
    until(lambda: content(open_store(), "models/.trash/m.json") is None, "the trash to be empty")
    assert not store.file("models/.trash/m.pth").exists()


# --- a folder ---


def kill_at(home: Path, step: int) -> int:
    """Change everything in a process that is killed before its file operation number `step`."""
    program = (
        "import os, signal, sys\nfrom pathlib import Path\n"
        "from scheduler_service.store.folder import FolderStore\nfrom tests.test_store import write_all\n"
        "home, step = Path(sys.argv[1]), int(sys.argv[2])\n"
        "store, done = FolderStore(home), 0\n"
        "def watched(event, arguments):\n"
        "    global done\n"
        "    if event in ('os.rename', 'os.remove') or (event == 'open' and arguments[1] is None):\n"
        "        done += 1\n"
        "        if done == step:\n"
        "            os.kill(os.getpid(), signal.SIGKILL)\n"
        "sys.addaudithook(watched)\n"
        "write_all(store)\n"
    )
    return run_python("-c", program, str(home), str(step)).returncode


def test_a_kill_at_any_step_leaves_all_of_a_change_or_nothing(tmp_path):
    seen = set()
    for step in range(1, 40):
        home = tmp_path / str(step)
        for name in ("models/models", "models/metadata"):
            (home / name).mkdir(parents=True)
        ended = kill_at(home, step)
        for _ in range(2):
            store = FolderStore(home)
            is_done = content(store, "a.json") == b"1"
            seen.add(is_done)
            assert content(store, "models/metadata/m.json") == (b"{}" if is_done else None), step
            assert objects(store).lines() == ([{"event": 1}, {"event": 2}] if is_done else []), step
            assert objects(store, "models/history.jsonl").lines() == ([{"event": "registered"}] if is_done else [])
            with store.changing():  # finishes it
                pass
            assert not (home / ".pending.json").exists()
            assert content(store, "a.json") == (b"1" if is_done else None)
        if ended == 0:
            break
        assert ended == -signal.SIGKILL
    assert ended == 0, "more steps than were tried"
    assert step > 8
    assert seen == {True, False}


def test_files_are_readable_and_editable_by_people(tmp_path):
    store = FolderStore(tmp_path)
    with store.changing() as change:
        change.put("a.json", b'{\n  "x": 1\n}\n')
    assert (tmp_path / "a.json").read_text() == '{\n  "x": 1\n}\n'
    (tmp_path / "a.json").write_text("2")
    assert content(store, "a.json") == b"2"


@pytest.mark.parametrize("content_of", [b"{", b"[]", b'{"documents": {}}'])
def test_a_pending_change_that_is_damaged_prevents_changes_and_is_named(tmp_path, content_of):
    store = FolderStore(tmp_path)
    with store.changing() as change:
        change.put("a.json", b"1")
    (tmp_path / ".pending.json").write_bytes(content_of)
    with pytest.raises(MustBeMended, match=r"\.pending\.json"), store.changing():
        pass
    with pytest.raises(MustBeMended, match=r"\.pending\.json"):
        store.read("a.json")
    assert objects(store).lines() == []
    (tmp_path / ".pending.json").unlink()
    assert content(store, "a.json") == b"1"


# --- PostgreSQL ---


@pytest.fixture
def server():
    """A server of its own, which a test may stop."""
    from tests.postgresql import NoServer, new_server

    try:
        with new_server() as server:
            yield server
    except NoServer as err:
        pytest.skip(str(err))


def test_without_the_database_everything_can_be_read_and_nothing_changed(server, tmp_path):
    from scheduler_service.database_url import parse_database_url
    from scheduler_service.store.database import DatabaseStore

    store = DatabaseStore(parse_database_url(server.address), tmp_path)
    log = objects(store)
    write_all(store)
    server.stop()
    assert content(store, "a.json") == b"1"
    assert log.lines() == [{"event": 1}, {"event": 2}]
    with pytest.raises(StorageUnavailable, check=coded("database_unreachable")), store.changing():
        pass
    until(lambda: store.fault is not None, "the fault to be noticed")
    assert server.PASSWORD not in str(store.fault)
    server.start()
    until(lambda: store.fault is None, "the database's return to be noticed")
    with store.changing() as change:
        change.put("a.json", b"2")
    assert content(store, "a.json") == b"2"
    store.close()


def test_a_store_opened_without_the_database_works_once_it_is_there(server, tmp_path):
    from scheduler_service.database_url import parse_database_url
    from scheduler_service.store.database import DatabaseStore

    url = parse_database_url(server.address)
    server.stop()
    store = DatabaseStore(url, tmp_path)
    log = objects(store)
    for read in (lambda: store.read("a.json"), log.lines):
        with pytest.raises(StorageUnavailable, check=coded("database_unreachable")):
            read()
    server.start()
    until(lambda: store.fault is None, "the database to be noticed")
    assert (content(store, "a.json"), log.lines()) == (None, [])
    store.close()


def test_a_lost_listener_costs_a_second(postgresql, tmp_path):
    from scheduler_service.store.database import DatabaseStore

    with postgresql.schema() as url:
        reader, writer = DatabaseStore(url, tmp_path / "a"), DatabaseStore(url, tmp_path / "b")
        postgresql.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'LISTEN%' OR query LIKE '%store%'"
            " AND pid <> pg_backend_pid()"
        )
        with writer.changing() as change:
            change.put("a.json", b"1")
        until(lambda: content(reader, "a.json") == b"1", "the change to be seen")
        reader.close()
        writer.close()


def test_another_database_under_the_same_address_is_read_from_its_beginning(postgresql, tmp_path):
    from scheduler_service.store.database import DatabaseStore

    with postgresql.schema() as url:
        store = DatabaseStore(url, tmp_path)
        log = objects(store)
        write_all(store)
        postgresql.execute(f"DROP SCHEMA {(name := url.parameters['options'].rpartition('=')[2])} CASCADE")
        postgresql.execute(f"CREATE SCHEMA {name}")
        until(lambda: store.fault is None and content(store, "a.json") is None, "the new database to be read")
        assert log.lines() == []
        write_all(store)
        assert (content(store, "a.json"), len(log.lines())) == (b"1", 2)
        store.close()


def test_a_damaged_copy_of_a_file_is_fetched_again(postgresql, tmp_path):
    from scheduler_service.store.database import DatabaseStore

    with postgresql.schema() as url:
        store = DatabaseStore(url, tmp_path)
        write_all(store)
        copy = store.file("models/models/m.pth")
        copy.write_bytes(b"damaged")
        again = DatabaseStore(url, tmp_path)
        assert again.file("models/models/m.pth").read_bytes() == b"weights"
        copy.unlink()
        assert again.file("models/models/m.pth").read_bytes() == b"weights"
        for each in (store, again):
            each.close()


def test_a_process_killed_in_a_change_leaves_nothing_and_holds_nobody_up(postgresql, tmp_path):
    from scheduler_service.store.database import DatabaseStore

    program = (
        "import os, sys, time\nfrom pathlib import Path\n"
        "from scheduler_service.database_url import parse_database_url\n"
        "from scheduler_service.store.database import DatabaseStore\n"
        "store = DatabaseStore(parse_database_url(os.environ['URL']), Path(sys.argv[1]))\n"
        "with store.changing() as change:\n"
        "    change.put('a.json', b'1')\n"
        "    print('inside', flush=True)\n"
        "    time.sleep(600)\n"
    )
    with postgresql.schema() as url:
        options = url.parameters["options"].replace("=", "%3D")
        environment = os.environ | {"URL": f"{postgresql.address}?options={options}"}
        writer = start_python("-c", program, str(tmp_path / "w"), env=environment, stdout=subprocess.PIPE)
        assert writer.stdout.readline() == "inside\n"
        writer.kill()
        writer.wait(HANG_S)
        store = DatabaseStore(url, tmp_path)
        with store.changing() as change:
            assert change.read("a.json").content is None
            change.put("b.json", json.dumps(1).encode())
        assert (content(store, "a.json"), content(store, "b.json")) == (None, b"1")
        store.close()


# --- export, import, move ---


def test_an_exported_configuration_can_be_edited_and_imported(open_store):
    file = ConfigFile(open_store())
    file.update(lambda document: document.update(default_model="DDQN_v1.0", _note="kept"))
    exported = json.loads(export_config(file))
    assert exported.pop("_exported")
    assert exported == {"experiments": {}, "default_model": "DDQN_v1.0", "_note": "kept"}
    edited = export_config(file).replace("DDQN_v1.0", "DDQN_v9.0")
    assert import_config(file, edited.encode()).default_model == "DDQN_v9.0"
    assert "_exported" not in file.current().document
    other = ConfigFile(open_store())
    until(lambda: other.current().default_model == "DDQN_v9.0", "the import to be seen")


def test_an_import_does_not_overwrite_a_change_made_since_the_export(open_store):
    file = ConfigFile(open_store())
    edited = export_config(file).encode()
    file.update(lambda document: document.update(default_model="DDQN_v1.0"))
    with pytest.raises(ExperimentConflict, check=coded("changed_since_export")):
        import_config(file, edited)
    assert file.current().default_model == "DDQN_v1.0"
    assert import_config(file, edited, although_changed=True).default_model == "DDQN_v2.0"


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b'{"experiments": {"x": {}}}', b'{"default_model": 7}'])
def test_an_invalid_import_changes_nothing(open_store, content):
    file = ConfigFile(open_store())
    with pytest.raises(InvalidExperiment):
        import_config(file, content)
    assert not file.exists


@pytest.mark.only_folder
def test_everything_is_the_same_after_moving_to_a_database_and_back(postgresql, tmp_path):
    from scheduler_service.store.database import DatabaseStore

    home, back = tmp_path / "home", FolderStore(tmp_path / "back")
    for folder in ("models/models", "models/metadata", "models/configs"):
        (home / folder).mkdir(parents=True)
    write_all(FolderStore(home))
    (home / "ab_test_config.json").write_text("{}")
    with postgresql.schema() as url:
        database = DatabaseStore(url, tmp_path / "replica")
        there = move_store(FolderStore(home), database)
        assert there == move_store(database, back)
        assert move_store(FolderStore(home), database) == there, "all of it is there already"
        (home / "ab_test_config.json").write_text('{"default_model": "DDQN_v1.0"}')
        with pytest.raises(Conflict, check=coded("move_target_used")):
            move_store(FolderStore(home), database)
        (home / "ab_test_config.json").write_text("{}")
        database.close()
    assert digest(back) == digest(FolderStore(home)) == there[1]
    assert (home / "models/models/m.pth").read_bytes() == b"weights"
    assert (back.home / "models/history.jsonl").read_bytes() == (home / "models/history.jsonl").read_bytes()
