"""Machine code that a user's checkouts share."""

import os
import shutil
import subprocess
import sys

import numba
import pytest

from scheduler_env import shared_cache
from tests.conftest import ROOT

PROGRAM = """
from scheduler_env.shared_cache import take
take()
from scheduler_env.kernel import compile_instance
from scheduler_env.bounds import lower_bound
from scheduler_env.standard_cycle import SAMPLE_PARAMS, standard_instance
assert lower_bound(compile_instance(standard_instance(SAMPLE_PARAMS))) > 50
"""


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "scheduler_env"


@pytest.fixture
def compiled(tmp_path, monkeypatch):
    """The folder of a checkout that has compiled something."""
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path / "checkout"))
    folder = shared_cache.own_folder()
    folder.mkdir(parents=True)
    (folder / "code.nbc").write_bytes(b"machine code")
    return folder


def test_another_checkout_of_the_same_sources_compiles_nothing(cache, tmp_path):
    shared_cache.give()
    shutil.copytree(ROOT / "scheduler_env", tmp_path / "scheduler_env", ignore=shutil.ignore_patterns("__pycache__"))
    environment = os.environ | {"NUMBA_DEBUG_CACHE": "1", "PYTHONPATH": str(tmp_path)}
    command = [sys.executable, "-c", PROGRAM]
    told = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True).stdout
    assert f"data loaded from '{tmp_path}" in told
    assert "data saved" not in told


def test_a_checkout_that_has_compiled_keeps_its_own(cache, compiled, tmp_path, monkeypatch):
    shared_cache.give()
    (compiled / "code.nbc").write_bytes(b"newer")
    shared_cache.take()
    assert (compiled / "code.nbc").read_bytes() == b"newer"
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path / "another checkout"))
    shared_cache.take()
    assert (shared_cache.own_folder() / "code.nbc").read_bytes() == b"machine code"


def test_code_of_the_oldest_sources_is_removed(cache, compiled):
    cache.mkdir(mode=0o700, parents=True)
    for age in range(1, 6):
        (cache / f"version {age}").mkdir(parents=True)
        os.utime(cache / f"version {age}", (1e9 - age, 1e9 - age))
    shared_cache.give()
    kept = {path.name for path in cache.iterdir()}
    assert kept == {shared_cache.shared_folder().name, "version 1", "version 2", "version 3"}


@pytest.mark.parametrize("place", ["shared_folder", "its parent"])
@pytest.mark.parametrize("wrong", ["writable by the group", "writable by all", "a link", "of another user"])
def test_code_is_only_taken_from_a_folder_that_nobody_else_can_write(
    cache, compiled, tmp_path, monkeypatch, place, wrong
):
    shared_cache.give()
    folder = shared_cache.shared_folder() if place == "shared_folder" else shared_cache.shared_folder().parent
    if wrong == "a link":
        folder.rename(tmp_path / "elsewhere")
        folder.symlink_to(tmp_path / "elsewhere")
    elif wrong == "of another user":
        if os.getuid() != 0:
            pytest.skip("only root can give a folder away")
        os.chown(folder, 12_345, 12_345)
    else:
        folder.chmod(0o770 if wrong == "writable by the group" else 0o707)
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path / "another checkout"))
    shared_cache.take()
    assert not shared_cache.own_folder().exists()


def test_nothing_is_kept_in_a_folder_that_others_can_write(cache, compiled):
    cache.mkdir(parents=True)
    cache.chmod(0o777)
    shared_cache.give()
    assert list(cache.iterdir()) == []


def test_without_a_folder_to_keep_it_in_every_checkout_compiles(compiled, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    shared_cache.give()
    shared_cache.take()
    assert [path.name for path in compiled.iterdir()] == ["code.nbc"]
