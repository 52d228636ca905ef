"""Checkpoints cached as arrays: equal to what was read, usable without torch, and validated."""

import gc
import hashlib
import json
import subprocess
import sys
from pathlib import Path

import numba
import numpy as np
import pytest
import torch

from model_manager import ModelVersionManager
from scheduler_env import weights
from scheduler_env.agent import load_agent
from scheduler_env.errors import InvalidCheckpoint
from scheduler_env.network import QNetwork, read_checkpoint, save_checkpoint, signature_of
from scheduler_env.standard_cycle import SAMPLE_PARAMS, standard_instance
from scheduler_env.warm_up import packed_file
from tests.checkpoints import write_checkpoint
from tests.conftest import NEW_PROCESS, ROOT, live_service

SEEDS = sorted((ROOT / "models" / "seed").glob("*.pth"))


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """The empty folder of the cache."""
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache" / "weights"


def packed() -> bytes:
    network = QNetwork((2, 3, 4))
    return weights.pack(weights.Weights(network.to_arrays(), signature_of(network), {}))


def signed(content: bytes) -> bytes:
    """`content` as if `pack` had made it."""
    return hashlib.sha256(content).digest() + content


def same(a, b) -> bool:
    return all(np.array_equal(x, y) and x.dtype == y.dtype for x, y in zip(a.network, b.network, strict=True)) and (
        (a.signature, a.training) == (b.signature, b.training)
    )


@pytest.mark.parametrize("path", SEEDS, ids=lambda path: path.stem)
def test_what_was_stored_is_read_back(folder, path, monkeypatch):
    read = load_agent(path)
    assert len(list(folder.iterdir())) == 1
    monkeypatch.setattr(torch, "load", lambda *_, **__: pytest.fail("read by torch again"))
    again = load_agent(path)
    assert same(again, read)
    instance = standard_instance(SAMPLE_PARAMS)
    assert again.solve(instance).schedule.steps == read.solve(instance).schedule.steps


def test_a_process_that_only_schedules_does_not_import_torch():
    for path in SEEDS:
        load_agent(path)
    code = (
        "import sys; from pathlib import Path; from scheduler_env.agent import load_agent\n"
        "from scheduler_env.standard_cycle import SAMPLE_PARAMS, standard_instance\n"
        f"load_agent(Path({str(SEEDS[-1])!r})).solve(standard_instance(SAMPLE_PARAMS), time_budget_ms=20)\n"
        "print('torch' in sys.modules)"
    )
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "False"


@pytest.mark.parametrize(
    "spoil",
    [
        lambda data: b"",
        lambda data: data[:-4],
        lambda data: data[:100] + bytes([data[100] ^ 1]) + data[101:],
        lambda data: data[:-1] + bytes([data[-1] ^ 1]),
    ],
    ids=["empty", "cut short", "a bit of the text", "a bit of a weight"],
)
def test_a_damaged_file_is_read_by_torch_and_replaced(folder, spoil):
    read = load_agent(SEEDS[0])
    (kept,) = folder.iterdir()
    whole = kept.read_bytes()
    kept.write_bytes(spoil(whole))
    assert same(load_agent(SEEDS[0]), read)
    assert kept.read_bytes() == whole


def test_models_load_even_if_nothing_can_be_written(tmp_path, monkeypatch):
    (tmp_path / "a file").touch()
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path / "a file"))
    assert load_agent(SEEDS[0]).training


def test_a_failed_write_leaves_no_file(folder, monkeypatch):
    def full(_descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    load_agent(SEEDS[0])
    assert list(folder.iterdir()) == []


def test_content_that_json_cannot_represent_is_not_stored(folder, tmp_path):
    save_checkpoint(tmp_path / "odd.pth", QNetwork((2, 2, 2)), {"by size": {1: 0.5}, "nothing": float("nan")})
    assert load_agent(tmp_path / "odd.pth").training["by size"] == {1: 0.5}
    assert not folder.exists()


def test_other_bytes_or_another_reader_version_are_not_used(folder, tmp_path, monkeypatch):
    for number in range(2):
        load_agent(write_checkpoint(tmp_path / f"{number}.pth", number))
    assert len(list(folder.iterdir())) == 2
    monkeypatch.setattr(weights, "_readers", lambda: b"a later version")
    assert weights.load_cached((tmp_path / "0.pth").read_bytes()) is None


def test_the_most_recently_used_files_are_kept(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(weights, "MAX_FILES", 3)
    paths = [write_checkpoint(tmp_path / f"{number}.pth", number) for number in range(5)]
    for path in paths[:3]:
        load_agent(path)
    load_agent(paths[0])
    for path in paths[3:]:
        load_agent(path)
    assert len(list(folder.iterdir())) == 3
    assert [weights.load_cached(path.read_bytes()) is not None for path in paths] == [True, False, False, True, True]


def header(packed_weights: bytes, **changes: object) -> bytes:
    """The same arrays with another header and a matching digest."""
    line, _, arrays = packed_weights[32:].partition(b"\n")
    about = json.loads(line)
    about["signature"] |= changes
    return signed(json.dumps(about).encode() + b"\n" + arrays)


@pytest.mark.parametrize(
    "hostile",
    [
        signed(b""),
        signed(b"\n"),
        signed(b"[]\n"),
        signed(b"{}\n"),
        signed(b'{"signature": {"hidden": [1, 1]}, "training": {}}\n'),
        header(packed(), hidden=[2, 3, 5]),
        header(packed(), hidden=[2.0, 3, 4]),
        header(packed(), hidden=[2, 3, -4]),
        header(packed(), hidden=[2, 3, 4, 5]),
        header(packed(), hidden=[10**9, 10**9, 10**9]),
        header(packed(), hidden="234"),
        header(packed(), hidden=None),
        header(packed(), format="ddqn-scheduler/2"),
        header(packed(), state_features=[]),
        signed(packed()[32:] + b"\0"),
        signed(packed()[32:] + b"\0\0\0\0"),
        signed(packed()[32:-4] + np.array([np.nan], dtype="<f4").tobytes()),
    ],
)
def test_only_a_network_of_this_version_is_accepted(folder, hostile):
    with pytest.raises(InvalidCheckpoint, match="packed weights"):
        weights.unpack(hostile)
    with pytest.raises(InvalidCheckpoint):
        weights.store_cached(b"some checkpoint", hostile)
    assert not folder.exists()


def test_a_registered_model_is_loaded_without_torch(tmp_path):
    """By the process that registered it, which did not read the file itself, and by a later process."""
    checkpoint = write_checkpoint(tmp_path / "new.pth", 77)
    code = (
        "import sys; from pathlib import Path; from model_manager import ModelVersionManager\n"
        "home, new = Path(sys.argv[1]), Path(sys.argv[2])\n"
        "models = ModelVersionManager(home)\n"
        "if new.exists(): models.register_model(new, 'DDQN', {'n': 77}, {})\n"
        "assert models.load_model('DDQN:latest').agent.training['config']['seed'] == 77\n"
        "new.unlink(missing_ok=True)\n"
        "print('torch' in sys.modules)"
    )
    for _ in range(2):
        command = [sys.executable, "-c", code, str(tmp_path / "models"), str(checkpoint)]
        result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
        assert result.stdout.strip() == "False"
    assert len(ModelVersionManager(tmp_path / "models").list_models()) == 1


@pytest.mark.parametrize("checkpoint", SEEDS, ids=lambda path: path.stem)
def test_the_packed_weights_of_a_shipped_model_equal_those_read_by_torch(checkpoint):
    """`make serve` stores them, so that the first answers need no PyTorch."""
    assert packed_file(checkpoint).read_bytes() == weights.pack(read_checkpoint(checkpoint).to_weights())


def test_without_torch_an_uncached_checkpoint_names_the_remedy(tmp_path, monkeypatch):
    checkpoint = write_checkpoint(tmp_path / "new.pth", 79)
    monkeypatch.setitem(sys.modules, "scheduler_env.network", None)  # as if torch were not installed
    with pytest.raises(InvalidCheckpoint, match=r"pip install -r requirements\.txt"):
        load_agent(checkpoint)


def test_deeply_nested_content_is_refused():
    gc.collect()
    gc.disable()  # finalizers that run inside the nesting would fail, and pytest would report them
    try:
        with pytest.raises(InvalidCheckpoint, match="packed weights"):
            weights.unpack(signed(b"[" * 100_000 + b"\n"))
    finally:
        gc.enable()


def test_setup_names_a_missing_file_before_it_compiles():
    command = [sys.executable, "-m", "scheduler_env.warm_up", str(SEEDS[0]), "/nowhere.pth"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 2
    assert "file not found: /nowhere.pth" in result.stderr


@pytest.mark.parametrize("arguments", [[], ["--workers", "2"]], ids=["one process", "two workers"])
def test_a_service_that_registers_and_serves_a_new_model_does_not_import_torch(tmp_path, arguments):
    for path in SEEDS:
        load_agent(path)
    (tmp_path / "home").mkdir()
    new = write_checkpoint(tmp_path / "home" / "new.pth", 78)
    with live_service(tmp_path / "home", arguments=arguments, command=NEW_PROCESS) as running:
        answer = running.post("/models/register", json={"model_path": new.name, "algorithm_name": "DDQN"})
        key = answer.json()["model_key"]
        for _ in range(8):
            assert running.run(params=list(SAMPLE_PARAMS), model=key)["result"]["makespan"] > 0
        pid = running.process.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        serving = [pid for pid in (str(pid), *children) if "examiner" not in Path(f"/proc/{pid}/cmdline").read_text()]
        assert len(serving) == (3 if arguments else 1)
        for pid in serving:
            assert "libtorch" not in Path(f"/proc/{pid}/maps").read_text()
