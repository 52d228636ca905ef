"""`python -m ab_testing replay`: progress, the verdict, Ctrl-C and kill -9."""

import json
import os
import signal
import subprocess
from contextlib import closing, suppress
from pathlib import Path

import pytest

from model_manager import ModelVersionManager
from monitoring import PerformanceMonitor
from scheduler_env.batch import local
from scheduler_service.clock import utc_now
from scheduler_service.experiments.replay import (
    Contest,
    ReplayOptions,
    in_this_thread,
    on_workers,
    plan_replay,
    run_replay,
)
from tests import preloaded
from tests.conftest import ROOT
from tests.instances import params_of
from tests.parts import parts_over
from tests.test_batch import has_ray, needs_ray
from tests.test_replay import log_runs
from tests.waiting import HANG_S, until

LARGE = 16  # requests of large plants
MARK = "TEST_OF_REPLAYS"
"""An environment variable, by which the workers of a command are found."""


@pytest.fixture
def home(tmp_path) -> Path:
    """A service's home with an experiment and the requests of 40 users."""
    services = parts_over(tmp_path)
    services.experiments.create_experiment("e", "DDQN_v1.0", "DDQN_v2.0")
    log_runs(services.monitor, 40)
    services.monitor.close()
    return tmp_path


@pytest.fixture
def large(home) -> Path:
    """The same with plants too large for an optimum in 0.1 s, so that a replay takes seconds."""
    monitor = PerformanceMonitor(home / "logs" / "performance.db", reports_dir=home)
    for user in range(40, 40 + LARGE):
        plant = {"workpoints": [{"id": str(place), "params": params_of(100 * user + place)} for place in range(4)]}
        log_runs(monitor, 1, first=user, input_params=plant)
    return home


def command(home: Path, *arguments: str, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [preloaded.python(), "-m", "ab_testing", "replay", "--home", str(home), *arguments],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1", MARK: str(home)} | environment,
        # As in a terminal: background processes of a shell ignore Ctrl-C, and so would their children.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def finished(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=HANG_S)
    return process.returncode, out, err


def pairs_in(home: Path):
    monitor = PerformanceMonitor(home / "logs" / "performance.db", reports_dir=home)
    return monitor.get_pairs(source="replay")


def wait_for_pairs(home: Path, number: int) -> None:
    until(lambda: len(pairs_in(home)) >= number)


def workers_of(home: Path) -> list[int]:
    """Process ids of the workers of a command for this home."""
    found = []
    for process in Path("/proc").iterdir():
        with suppress(OSError):
            is_worker = process.name.isdigit() and b"scheduler_env.batch.worker" in (process / "cmdline").read_bytes()
            if is_worker and f"{MARK}={home}".encode() in (process / "environ").read_bytes().split(b"\0"):
                found.append(int(process.name))
    return found


def test_the_command_shows_progress_and_the_verdict(home):
    status, out, err = finished(command(home, "e"))
    assert status == 0, err
    assert "40/40" in err
    assert "B is at most 5 % worse than A, but not shown to be better: makespan" in out
    assert "Replay 1 of these two models, judged with an error probability of 2.5 %" in out
    assert "makespan model_b / model_a: 0.9" in out
    assert "where model_b lost most:" in out
    assert len(pairs_in(home)) == 40


def test_the_command_can_print_json(home):
    status, out, _ = finished(command(home, "e", "--limit", "30", "--seed", "1", "--time-budget-ms", "0", "--json"))
    value = json.loads(out)
    assert status == 0
    assert (value["state"], value["done"], value["total"]) == ("done", 30, 30)
    assert value["options"]["seed"] == 1
    assert value["verdict"]["pairs"] == 30


def test_two_models_are_compared_without_an_experiment(home):
    status, out, err = finished(
        command(home, "--baseline", "DDQN_v2.0", "--candidate-model", "DDQN_v1.0", "--limit", "30", "--json")
    )
    assert status == 0, err
    value = json.loads(out)
    assert value["experiment"] is None
    assert value["models"]["model_a"].endswith("v2.0.0")
    assert value["verdict"]["wins"] < value["verdict"]["losses"]


def test_a_model_against_itself_is_reported_as_identical_at_once(home):
    status, out, _ = finished(command(home, "--baseline", "DDQN_v2.0", "--candidate-model", "DDQN_v2.0.0"))
    assert status == 0
    assert "one and the same model" in out
    assert len(pairs_in(home)) == 0


@pytest.mark.slow
def test_kill_9_loses_and_duplicates_nothing(large):
    arguments = ("e", "--limit", str(LARGE), "--time-budget-ms", "200", "--json")
    for at_least in (2, 8):
        victim = command(large, *arguments)
        wait_for_pairs(large, at_least)
        victim.kill()
        victim.communicate()
        assert victim.returncode == -signal.SIGKILL
    before = pairs_in(large)
    assert 8 <= len(before) < LARGE, "the machine is too fast: the kill came too late"
    status, out, err = finished(command(large, *arguments))
    assert status == 0, err
    pairs = pairs_in(large)
    assert len(pairs) == pairs["request_id"].nunique() == LARGE
    assert pairs["replay"].nunique() == 1
    assert set(pairs["request_id"]) == {f"r{number}" for number in range(40, 40 + LARGE)}
    kept = pairs.set_index("request_id").loc[before["request_id"], ["makespan_a", "makespan_b"]]
    assert kept.equals(before.set_index("request_id")[["makespan_a", "makespan_b"]])
    assert json.loads(out)["verdict"]["pairs"] == LARGE


@pytest.mark.slow
def test_a_killed_worker_loses_and_duplicates_nothing(large):
    process = command(large, "e", "--limit", str(LARGE), "--time-budget-ms", "200", "--json")
    victim = until(lambda: workers_of(large))[0]
    os.kill(victim, signal.SIGKILL)
    status, out, err = finished(process)
    assert status == 0, err
    pairs = pairs_in(large)
    assert len(pairs) == pairs["request_id"].nunique() == LARGE
    assert json.loads(out)["verdict"]["pairs"] == LARGE
    until(lambda: not workers_of(large))


@pytest.mark.slow
def test_ctrl_c_keeps_the_finished_pairs_and_prints_how_to_resume(large):
    process = command(large, "e", "--time-budget-ms", "100")
    wait_for_pairs(large, 5)
    process.send_signal(signal.SIGINT)
    status, _, err = finished(process)
    assert status == 130
    assert f"To go on: python -m ab_testing replay --home {large} e --time-budget-ms 100" in err
    assert "Traceback" not in err
    assert 5 <= len(pairs_in(large)) < 40 + LARGE


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("nobody_made_this",), "no experiment 'nobody_made_this' is configured"),
        (("e", "--candidate", "model_c"), "has no candidate 'model_c'"),
        (("e", "--days", "0"), "days: must be greater than 0"),
        (("e", "--baseline", "DDQN_v1.0"), "give either an experiment, or --baseline and --candidate-model"),
        ((), "without an experiment, give --baseline and --candidate-model"),
        (("--baseline", "DDQN_v1.0", "--candidate-model", "DDQN_v7.0"), "DDQN_v7.0"),
    ],
)
def test_an_error_is_one_line(home, arguments, expected):
    status, out, err = finished(command(home, *arguments))
    assert (status, out) == (1, "")
    assert err.startswith("error: ")
    assert expected in err
    assert err.count("\n") == 1


@pytest.mark.skipif(has_ray, reason="Ray is installed")
def test_an_executor_that_cannot_be_used_is_refused_in_one_line(home):
    status, out, err = finished(command(home, "e", SCHED_BATCH="ray"))
    assert (status, out) == (1, "")
    assert "error: SCHED_BATCH is ray, but Ray is not installed; run pip install -r requirements-ray.txt" in err
    assert "Traceback" not in err


def test_a_folder_without_a_service_is_refused(tmp_path):
    status, _, err = finished(command(tmp_path / "nowhere", "e"))
    assert status == 1
    assert "there is no service in" in err
    assert not (tmp_path / "nowhere").exists()


@pytest.mark.parametrize(
    ("executor", "cores"),
    [("local", 1), ("local", 3), pytest.param("ray", 2, marks=needs_ray)],
)
def test_the_pairs_are_the_same_with_every_executor_and_number_of_workers(home, monkeypatch, executor, cores):
    monkeypatch.setenv("SCHED_BATCH", executor)
    monkeypatch.setattr(local, "usable_cores", lambda: cores)
    monitor = PerformanceMonitor(home / "logs" / "performance.db", reports_dir=home)
    with closing(monitor):
        models = [ModelVersionManager(home / "models").load_model(name) for name in ("DDQN_v1.0", "DDQN_v2.0")]
        found = []
        for experiment, compute in ((None, in_this_thread(*models)), ("e", on_workers(*models, here_s=0.0))):
            contest = Contest(models[0].key, models[1].key, experiment)
            plan = plan_replay(monitor.replays, contest, ReplayOptions(), utc_now())
            run_replay(plan, monitor, *models, progress=lambda done, total: None, compute=compute)
            pairs = monitor.get_pairs(replay=plan.id).set_index("request_id").sort_index()
            found.append(pairs[["user_id", "makespan_a", "makespan_b", "lower_bound", "input_digest"]])
    assert len(found[0]) == 40
    assert found[1].equals(found[0])
