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
    for age in range(1, 6):
        (cache / f"version {age}").mkdir(parents=True)
        os.utime(cache / f"version {age}", (1e9 - age, 1e9 - age))
    shared_cache.give()
    kept = {path.name for path in cache.iterdir()}
    assert kept == {shared_cache.shared_folder().name, "version 1", "version 2", "version 3"}


def test_without_a_folder_to_keep_it_in_every_checkout_compiles(compiled, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    shared_cache.give()
    shared_cache.take()
    assert [path.name for path in compiled.iterdir()] == ["code.nbc"]
