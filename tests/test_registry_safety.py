"""The registry under attack, under load and under kill -9."""

import json
import multiprocessing
import os
import pickle
import random
import shutil
import signal
import time
import zipfile
from datetime import UTC, datetime
from pathlib import Path

import pytest
import torch

import model_manager
from model_manager import ModelVersionManager
from scheduler_env.agent import load_agent
from scheduler_env.network import QNetwork, save_checkpoint, signature_of
from scheduler_service.clock import utc_now
from scheduler_service.errors import ForbiddenPath, InvalidModel, ServiceError, StorageUnavailable
from scheduler_service.registry import weights as weights_module
from scheduler_service.registry.examination import examine
from scheduler_service.registry.fsck import fsck
from scheduler_service.registry.store import RegistryStore
from scheduler_service.store.folder import FolderStore
from tests.codes import coded
from tests.waiting import until

FORK = multiprocessing.get_context("fork")


def opened(base):
    """The registry's part of the store, without a sweep of leftovers."""
    return RegistryStore(FolderStore(base.parent), base.name, utc_now)


@pytest.fixture(autouse=True)
def imports_done(no_fsync, weights):
    """Load a model once: forked processes inherit the imports."""
    load_agent(weights(0))


def files_below(base: Path) -> set[str]:
    return {str(path.relative_to(base)) for path in base.rglob("*") if path.is_file()}


# --- hostile files ---


class Evil:
    def __init__(self, trap: Path) -> None:
        self.trap = trap

    def __reduce__(self):
        return (Path.touch, (self.trap,))


def a_pickle(path, trap):
    path.write_bytes(pickle.dumps(Evil(trap)))


def a_pickle_inside_a_checkpoint(path, trap):
    torch.save({**signature_of(QNetwork((4, 4, 4))), "state_dict": Evil(trap)}, path)


def a_pickle_of_the_old_format(path, trap):
    torch.save({"state_dict": Evil(trap)}, path, _use_new_zipfile_serialization=False)


def half_a_checkpoint(path, trap):
    save_checkpoint(path, QNetwork((4, 4, 4)), {})
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def a_checkpoint_without_its_end(path, trap):
    save_checkpoint(path, QNetwork((4, 4, 4)), {})
    path.write_bytes(path.read_bytes()[:-30])


def a_zip_bomb(path, trap):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", bytes(50_000_000))


def members_that_overlap(path, trap):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", bytes(100_000))
        for copy in range(20):  # directory entries that all point to the same bytes
            info = zipfile.ZipInfo(f"archive/data/{copy}")
            first = archive.infolist()[0]
            info.file_size = info.compress_size = first.file_size
            info.CRC, info.header_offset = first.CRC, 0
            archive.filelist.append(info)


def thousands_of_members(path, trap):
    with zipfile.ZipFile(path, "w") as archive:
        for number in range(2_000):
            archive.writestr(f"archive/data/{number}", b"")


def with_weight(value):
    def write(path, trap):
        network = QNetwork((4, 4, 4))
        with torch.no_grad():
            network.value[0].weight[0, 0] = value
        save_checkpoint(path, network, {})

    write.__name__ = f"with_weight_{value}"
    return write


def other_features(path, trap):
    network = QNetwork((4, 4, 4))
    torch.save({**signature_of(network), "state_features": ["x"], "state_dict": network.state_dict()}, path)


def giant_layers(path, trap):
    network = QNetwork((4, 4, 4))
    torch.save({**signature_of(network), "hidden": [10**9] * 3, "state_dict": network.state_dict()}, path)


def a_giant_tensor_of_few_bytes(path, trap):
    network = QNetwork((4, 4, 4))
    state = {**network.state_dict(), "value.0.weight": torch.zeros(1).expand(10**7, 10**7)}
    torch.save({**signature_of(network), "state_dict": state}, path)


def a_script(path, trap):
    torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), str(path))


def a_value_that_grows_when_it_is_printed(path, trap):
    value: list = []
    for _ in range(16):
        value = [value, value]
    torch.save({**signature_of(QNetwork((4, 4, 4))), "format": value}, path)


def nothing_but_a_list(path, trap):
    torch.save([1, 2, 3], path)


def nothing(path, trap):
    path.write_bytes(b"")


def text(path, trap):
    path.write_text("weights, honestly")


def a_folder(path, trap):
    path.mkdir()


def a_pipe(path, trap):
    os.mkfifo(path)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize(
    ("attack", "code"),
    [
        (a_pickle, "not_a_torch_archive"),
        (a_pickle_inside_a_checkpoint, "checkpoint_unreadable"),
        (a_pickle_of_the_old_format, "not_a_torch_archive"),
        (half_a_checkpoint, "archive_damaged"),
        (a_checkpoint_without_its_end, "archive_damaged"),
        (a_zip_bomb, "archive_compressed"),
        (members_that_overlap, "archive_overlaps"),
        (thousands_of_members, "archive_members"),
        (with_weight(float("nan")), "checkpoint_not_finite"),
        (with_weight(float("inf")), "checkpoint_not_finite"),
        (other_features, "checkpoint_features_differ"),
        (giant_layers, "checkpoint_hidden"),
        (a_giant_tensor_of_few_bytes, "checkpoint_misfit"),
        (a_script, "archive_compressed"),
        (a_value_that_grows_when_it_is_printed, "checkpoint_format"),
        (nothing_but_a_list, "checkpoint_format"),
        (nothing, "weights_empty"),
        (text, "not_a_torch_archive"),
        (a_folder, "path_not_a_file"),
        (a_pipe, "path_not_a_file"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_a_hostile_file_is_refused_and_leaves_nothing(tmp_path, weights, attack, code):
    manager = ModelVersionManager(tmp_path / "models")
    manager.register_model(weights(1), "DDQN", {}, {})
    before = files_below(tmp_path / "models")
    attack(tmp_path / "x.pth", tmp_path / "trap")
    for door in (None, [tmp_path]):
        with pytest.raises(InvalidModel, check=coded(code)) as caught:
            ModelVersionManager(tmp_path / "models", allowed_sources=door).register_model(
                tmp_path / "x.pth", "DDQN", {"attack": 1}, {}
            )
        assert len(str(caught.value)) <= 600
    assert not (tmp_path / "trap").exists()
    assert files_below(tmp_path / "models") == before
    assert manager.load_model("latest").version == "1.0.0"


def test_a_file_above_the_limit_is_refused_while_it_is_copied(tmp_path, weights, monkeypatch):
    monkeypatch.setattr(weights_module, "MAX_WEIGHTS_BYTES", 1_000)
    manager = ModelVersionManager(tmp_path / "models")
    with pytest.raises(InvalidModel, check=coded("weights_too_large", limit=1_000)):
        manager.register_model(weights(1), "DDQN", {}, {})
    with pytest.raises(InvalidModel, check=coded("weights_too_large", limit=1_000)), open("/dev/zero", "rb") as endless:
        manager.register_upload(endless, "DDQN", {}, {})
    assert list((tmp_path / "models" / ".incoming").iterdir()) == []


@pytest.mark.parametrize(
    ("path", "error"),
    [
        *((path, ForbiddenPath) for path in (
            "../outside.pth", "sub/../../outside.pth", "{tmp}/outside.pth", "{tmp}/home2/w.pth", "/etc/passwd",
            "/no/such/file", "link.pth", "linked_folder/w.pth", ".", "",
        )),
        *((path, InvalidModel) for path in (
            "%2e%2e/outside.pth", "..%2foutside.pth", "missing.pth", "w.pth/x", "w.pth\0.png", "\ud800", "x" * 5_000,
            "~/w.pth",
        )),
    ],
)  # fmt: skip
def test_a_path_outside_the_allowed_folders_is_refused(tmp_path, weights, path, error):
    home = tmp_path / "home"
    for folder in (home / "sub", tmp_path / "home2"):
        folder.mkdir(parents=True)
    for target in (home / "w.pth", tmp_path / "home2" / "w.pth", tmp_path / "outside.pth"):
        shutil.copy(weights(1), target)
    (home / "link.pth").symlink_to(home / "w.pth")
    (home / "linked_folder").symlink_to(home)
    manager = ModelVersionManager(tmp_path / "models", allowed_sources=[home])
    with pytest.raises(error):
        manager.register_model(path.format(tmp=tmp_path), "DDQN", {}, {})
    assert manager.list_models() == []


@pytest.mark.parametrize("path", ["w.pth", "./w.pth", "sub/w.pth", "{home}/w.pth", "{alias}/w.pth", "{second}/w.pth"])
def test_a_path_in_an_allowed_folder_does_not_depend_on_the_working_folder(tmp_path, weights, monkeypatch, path):
    home, second = tmp_path / "home", tmp_path / "second"
    for folder in (home / "sub", second):
        folder.mkdir(parents=True)
    for target in (home, home / "sub", second):
        shutil.copy(weights(1), target / "w.pth")
    alias = tmp_path / "alias"
    alias.symlink_to(home)
    monkeypatch.chdir("/")
    manager = ModelVersionManager(tmp_path / "models", allowed_sources=[alias, second])
    key = manager.register_model(path.format(home=home, alias=alias, second=second), "DDQN", {}, {})
    assert manager.get_model(key).version == "1.0.0"


def test_without_allowed_folders_every_path_is_refused(tmp_path, weights):
    manager = ModelVersionManager(tmp_path / "models", allowed_sources=[])
    for path in (weights(1), "w.pth"):
        with pytest.raises(ForbiddenPath):
            manager.register_model(path, "DDQN", {}, {})


def test_a_missing_file_is_named_as_given(tmp_path):
    with pytest.raises(InvalidModel, check=coded("path_missing", path="'./best_model_v2.pth'")):
        ModelVersionManager(tmp_path).register_model("./best_model_v2.pth", "DDQN", {}, {})


def test_weights_changed_on_disk_are_not_loaded(tmp_path, weights):
    manager = ModelVersionManager(tmp_path)
    key = manager.register_model(weights(1), "DDQN", {}, {})
    stored = tmp_path / "models" / f"{key}.pth"
    shutil.copy(weights(2), stored)
    with pytest.raises(InvalidModel, check=coded("model_weights_changed")):
        manager.load_model(key)
    stored.unlink()
    with pytest.raises(InvalidModel, check=coded("model_weights_unreadable")):
        manager.load_model(key)


def test_a_broken_metadata_file_hides_only_its_own_model(tmp_path, weights, caplog):
    manager = ModelVersionManager(tmp_path)
    broken = manager.register_model(weights(1), "DDQN", {}, {})
    whole = manager.register_model(weights(2), "DDQN", {}, {})
    (tmp_path / "metadata" / f"{broken}.json").write_text("{")
    again = ModelVersionManager(tmp_path)
    assert [record.model_key for record in again.list_models()] == [whole]
    assert broken in caplog.text
    assert (tmp_path / "models" / f"{broken}.pth").exists()
    assert again.register_model(weights(3), "DDQN", {}, {}).endswith("v1.2.0")


def test_a_broken_tags_file_is_reported_prevents_changes_and_hides_no_model(tmp_path, weights):
    manager = ModelVersionManager(tmp_path)
    key = manager.register_model(weights(1), "DDQN", {}, {}, tags=["canary"])
    before = (tmp_path / "tags.json").read_bytes()
    (tmp_path / "tags.json").write_text("[")
    fresh = ModelVersionManager(tmp_path)  # does not depend on the tags
    assert (manager.resolve("DDQN:canary"), fresh.resolve(key)) == (key, key)
    for each in (manager, fresh):
        assert "tags.json is not JSON" in str(each.fault)
        with pytest.raises(StorageUnavailable, check=coded("file_not_json", file=str(tmp_path / "tags.json"))):
            each.tag_model("other", key)
    (tmp_path / "tags.json").write_bytes(before)
    assert (fresh.resolve("DDQN:canary"), fresh.fault) == (key, None)


def test_a_full_disk_is_a_clear_error_and_changes_nothing(tmp_path, weights, monkeypatch):
    manager = ModelVersionManager(tmp_path)
    key = manager.register_model(weights(1), "DDQN", {}, {})

    def disk_is_full(descriptor):
        raise OSError(28, "No space left on device")

    with_room = os.fsync
    monkeypatch.setattr(os, "fsync", disk_is_full)
    for change in (
        lambda: manager.register_model(weights(2), "DDQN", {}, {}),
        lambda: manager.promote_model(key, "validated"),
        lambda: manager.tag_model("canary", key),
        lambda: manager.delete_model(key),
    ):
        with pytest.raises(StorageUnavailable, check=lambda err: err.params["reason"] == "No space left on device"):
            change()
    monkeypatch.setattr(os, "fsync", with_room)
    assert [(record.model_key, record.status, record.tags) for record in manager.list_models()] == [
        (key, "registered", ("latest",))
    ]
    assert len(manager.history()) == 1


# --- several processes ---


def run_together(target, arguments) -> None:
    processes = [FORK.Process(target=target, args=args) for args in arguments]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * len(processes)


def _register_several(base, paths, params):
    manager = ModelVersionManager(base)
    for path in paths:
        key = manager.register_model(path, "DDQN", params, {})
        manager.tag_model("canary", key)
        assert manager.get_model(key).model_key == key


def test_eight_processes_that_register_at_once_lose_and_duplicate_nothing(tmp_path, weights):
    paths = [weights(number) for number in range(1, 41)]
    run_together(
        _register_several,
        [(tmp_path, [weights(0), *paths[5 * number : 5 * number + 5]], {"config": number % 2}) for number in range(8)],
    )
    manager = ModelVersionManager(tmp_path)
    records = manager.list_models()
    assert len(records) == 42  # five each, and the common one once per configuration
    assert len({record.version for record in records}) == 42
    registered = [event.model_key for event in manager.history() if event.event == "registered"]
    assert sorted(registered) == sorted(record.model_key for record in records)
    assert_sound(tmp_path)


def _seed(base, seed_dir):
    ModelVersionManager(base).register_seed_models(seed_dir)


def test_processes_that_start_together_register_each_seed_once(tmp_path, weights):
    seed_dir = tmp_path / "seed"
    seed_dir.mkdir()
    for number in (1, 2):
        shutil.copy(weights(number), seed_dir / f"v{number}.pth")
        card = {
            "algorithm_name": "DDQN", "version": f"{number}.0.0", "training_params": {"n": number}, "created_by": "us",
            "performance_metrics": {}, "description": "", "status": "validated", "tags": [],
        }  # fmt: skip
        (seed_dir / f"v{number}.json").write_text(json.dumps(card))
    run_together(_seed, [(tmp_path / "models", seed_dir)] * 4)
    assert len(ModelVersionManager(tmp_path / "models").history()) == 2


def _roll_back_and_deploy_again(base, key, times):
    manager = ModelVersionManager(base)
    for _ in range(times):
        manager.rollback("DDQN", "x")
        manager.promote_model(key, "deployed")


def two_stable_models(base, weights) -> tuple[ModelVersionManager, list[str]]:
    manager = ModelVersionManager(base)
    keys = [manager.register_model(weights(number), "DDQN", {}, {}) for number in (1, 2)]
    for key in keys:
        manager.promote_model(key, "validated")
        manager.promote_model(key, "deployed")
    return manager, keys


def test_a_reader_always_sees_exactly_one_stable_deployed_model(tmp_path, weights):
    manager, keys = two_stable_models(tmp_path, weights)
    writer = FORK.Process(target=_roll_back_and_deploy_again, args=(tmp_path, keys[1], 20))
    writer.start()
    seen = set()
    while writer.is_alive():
        (stable,) = manager.list_models(tag="stable")
        assert stable.status == "deployed"
        seen.add(stable.model_key)
    writer.join()
    assert writer.exitcode == 0
    assert seen == set(keys)


def test_a_change_between_two_reads_is_seen_completely(tmp_path, weights):
    manager, keys = two_stable_models(tmp_path, weights)
    reader = opened(tmp_path)
    read_records = reader._read_records
    changes = [lambda: manager.rollback("DDQN", "between the reading of tags and records")]

    def read_records_late(source):
        if changes:
            changes.pop()()
        return read_records(source)

    reader._read_records = read_records_late
    index = reader.index()
    assert index.resolve("stable") == keys[0]
    assert [record.status for record in index.newest_first] == ["validated", "deployed"]


@pytest.mark.parametrize("is_in_history", [False, True])
def test_a_change_that_an_earlier_version_left_unfinished_is_finished(tmp_path, weights, is_in_history):
    manager = ModelVersionManager(tmp_path / "models")
    key = manager.register_model(weights(1), "DDQN", {}, {})
    manager.tag_model("canary", key)
    last = manager.history()[-1].to_dict()
    event = last | {
        "event": "untagged",
        "before": last["after"],
        "after": {"status": {}, "tags": {"DDQN:canary": None}},
    }
    former = {"records": {}, "tags": {"DDQN:latest": key}, "event": event}
    (tmp_path / "models" / ".pending.json").write_text(json.dumps(former))
    if is_in_history:
        with open(tmp_path / "models" / "history.jsonl", "a") as history:
            history.write(json.dumps(event) + "\n")
    for _ in range(2):
        again = ModelVersionManager(tmp_path / "models")
        assert again.get_model(key).tags == ("latest",)
        assert [each.event for each in again.history()] == ["registered", "tagged", "untagged"]
    assert not (tmp_path / "models" / ".pending.json").exists()
    assert fsck(opened(tmp_path / "models")) == []


def test_an_incomplete_last_line_of_the_history_is_removed(tmp_path, weights):
    manager = ModelVersionManager(tmp_path)
    key = manager.register_model(weights(1), "DDQN", {}, {})
    with open(tmp_path / "history.jsonl", "a") as history:
        history.write('{"time": "2026')
    assert len(manager.history()) == 1
    manager.tag_model("canary", key)
    assert [event.event for event in manager.history()] == ["registered", "tagged"]
    assert_sound(tmp_path)


# --- kill -9 ---


def replayed(base: Path) -> tuple[dict[str, str], dict[str, str]]:
    """Status of each model and target of each tag, from the history alone."""
    status, tags = {}, {}
    for line in (base / "history.jsonl").read_text().splitlines():
        event = json.loads(line)
        status.update(event["after"]["status"])
        tags.update(event["after"]["tags"])
    return ({key: value for key, value in status.items() if value}, {tag: key for tag, key in tags.items() if key})


def assert_sound(base: Path) -> None:
    """All files are consistent with each other, and nothing else remains."""
    records = ModelVersionManager(base).list_models()
    keys = {record.model_key for record in records}
    status, tags = replayed(base)
    assert {record.model_key: record.status for record in records} == status
    assert json.loads((base / "tags.json").read_text()) == tags
    assert set(tags.values()) <= keys
    assert {path.stem for path in (base / "models").iterdir()} == keys
    assert {path.stem for path in (base / "metadata").iterdir()} == keys
    assert {path.stem for path in (base / "configs").iterdir()} == keys
    for record in records:
        assert weights_module.sha256_of(base / "models" / f"{record.model_key}.pth") == record.sha256
    assert not (base / ".pending.json").exists()


OPERATIONS = {
    "register": lambda manager, path: manager.register_model(path, "DDQN", {"n": 9}, {}, tags=["canary"]),
    "promote": lambda manager, path: manager.promote_model("DDQN_v1.2", "deployed"),
    "tag": lambda manager, path: manager.tag_model("canary", "DDQN_v1.0"),
    "roll back": lambda manager, path: manager.rollback("DDQN", "x"),
    "delete": lambda manager, path: manager.delete_model("latest"),
}


def content(base: Path) -> dict[str, bytes]:
    """The registry's files, without hidden ones (temporary files and trash)."""
    return {
        str(path.relative_to(base)): path.read_bytes()
        for path in base.rglob("*")
        if path.is_file() and not any(part.startswith(".") for part in path.relative_to(base).parts)
    }


def a_moment() -> datetime:
    return datetime(2026, 1, 1, tzinfo=UTC)


def _die_at_step(base: Path, operation, path: Path, fatal_step: int) -> None:
    """Perform the operation, but die at the n-th call that changes or syncs a file."""
    manager = ModelVersionManager(base, clock=a_moment)
    steps = [0]

    def counted(real):
        def call(*args, **kwargs):
            steps[0] += 1
            if steps[0] == fatal_step:
                os.kill(os.getpid(), signal.SIGKILL)
            return real(*args, **kwargs)

        return call

    for name in ("replace", "fsync", "unlink", "write", "ftruncate", "utime"):
        setattr(os, name, counted(getattr(os, name)))
    operation(manager, path)
    os._exit(0)


@pytest.mark.parametrize("name", OPERATIONS)
def test_a_kill_at_any_step_leaves_the_state_before_or_after(tmp_path, weights, name, monkeypatch):
    # Cache the examination of the file: its decision time is the only value that differs between repetitions.
    examined = {}

    def examine_once(algorithm, path):
        digest = weights_module.sha256_of(path)
        if digest not in examined:
            examined[digest] = examine(algorithm, path)
        return examined[digest]

    monkeypatch.setattr(model_manager, "examine", examine_once)
    start = tmp_path / "start"
    manager = ModelVersionManager(start, clock=a_moment)
    for number in (1, 2, 3, 4):
        manager.register_model(weights(number), "DDQN", {}, {})
    for version in ("1.0", "1.1"):
        manager.promote_model(f"DDQN_v{version}", "validated")
        manager.promote_model(f"DDQN_v{version}", "deployed")
    manager.promote_model("DDQN_v1.2", "validated")
    after = tmp_path / "after"
    shutil.copytree(start, after)
    done = ModelVersionManager(after, clock=a_moment)
    OPERATIONS[name](done, weights(5))
    views = [manager.list_models(), done.list_models()]
    contents = [content(start), content(after)]
    outcomes = []
    for step in range(1, 100):
        base = tmp_path / f"killed_{step}"
        shutil.copytree(start, base)
        process = FORK.Process(target=_die_at_step, args=(base, OPERATIONS[name], weights(5), step))
        process.start()
        process.join()
        seen = list(opened(base).index().newest_first)  # a reader, before any repair
        assert seen in views, f"killed at step {step}"
        assert_sound(base)
        assert content(base) == contents[views.index(seen)], f"killed at step {step}"
        outcomes.append(views.index(seen))
        if process.exitcode == 0:
            break
    assert outcomes == sorted(outcomes), "a visible change stays visible"
    assert set(outcomes) == {0, 1}
    assert len(outcomes) > 8


def _change_at_random(base: Path, paths, seed: int, registered) -> None:
    """Make changes until killed; count the registrations in `registered`."""
    choose = random.Random(seed)
    manager = ModelVersionManager(base)
    while True:
        try:
            key = manager.register_model(choose.choice(paths), "DDQN", {"n": choose.randrange(3)}, {})
            registered.value += 1
            manager.promote_model(key, choose.choice(["validated", "retired"]))
            manager.promote_model(key, "deployed")
            manager.tag_model(choose.choice(["canary", "latest"]), key)
            manager.rollback("DDQN", "x")
            manager.untag_model("canary")
            manager.delete_model(key)
        except ServiceError:
            pass  # not every move is allowed at every time


def test_fifteen_kills_at_random_moments_leave_a_consistent_registry(tmp_path, weights):
    ModelVersionManager(tmp_path).register_model(weights(0), "DDQN", {}, {})
    paths = [weights(number) for number in range(1, 6)]
    moments = random.Random(7)
    for seed in range(15):
        registered = FORK.Value("i", 0)
        process = FORK.Process(target=_change_at_random, args=(tmp_path, paths, seed, registered))
        process.start()
        wanted = moments.randrange(3)
        until(lambda: registered.value >= wanted)  # noqa: B023  (called at once)
        time.sleep(moments.uniform(0.0, 0.1))
        os.kill(process.pid, signal.SIGKILL)
        process.join()
        assert all(problem.is_mendable for problem in fsck(opened(tmp_path)))
        assert_sound(tmp_path)
        assert fsck(opened(tmp_path)) == []
    assert len(ModelVersionManager(tmp_path).history()) > 5


# --- many models ---


def test_unchanged_files_of_a_thousand_models_are_not_reread(tmp_path, weights, monkeypatch):
    manager = ModelVersionManager(tmp_path)
    key = manager.register_model(weights(1), "DDQN", {}, {}, tags=["canary"])
    stored = json.loads((tmp_path / "metadata" / f"{key}.json").read_text())
    for number in range(999):
        copy = f"DDQN_00000000_v2.{number}.0"
        (tmp_path / "metadata" / f"{copy}.json").write_text(
            json.dumps({**stored, "model_key": copy, "version": f"2.{number}.0"})
        )
    assert len(manager.list_models()) == 1_000

    read = []
    monkeypatch.setattr(Path, "read_bytes", lambda path, real=Path.read_bytes: read.append(path.name) or real(path))
    assert len(manager.list_models(algorithm="DDQN")) == 1_000
    assert manager.resolve("DDQN:canary") == key
    assert read == []
    manager.tag_model("canary", "DDQN_v2.500")
    assert manager.resolve("DDQN:canary") == "DDQN_00000000_v2.500.0"
    assert len(manager.list_models()) == 1_000
    assert len([name for name in read if name.startswith("DDQN_")]) <= 2, "of the two models that the change is about"
