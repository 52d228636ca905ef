"""ABTestManager: which user gets which model, for how long, and the results."""

import builtins
import json
import os
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ab_testing import ABTestManager
from scheduler_service.errors import (
    AmbiguousModelName,
    ExperimentConflict,
    ExperimentNotFound,
    InvalidExperiment,
    ModelNotFound,
)
from scheduler_service.store.folder import FolderStore
from tests.clocks import Clock
from tests.codes import coded
from tests.programs import run_python

SPLIT = {"model_a": 0.7, "model_b": 0.3}


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def manager(tmp_path, clock):
    return ABTestManager(tmp_path / "ab_test_config.json", clock=clock)


@pytest.fixture
def running(manager):
    manager.create_experiment("ddqn_v1_vs_v2", "DDQN_v1.0", "DDQN_v2.1", SPLIT)
    return manager


class FakeRegistry:
    """Resolves names like the model registry; the test sets which models may be deployed."""

    store = FolderStore(Path("elsewhere"))
    KEYS = {"DDQN_v1.0": "DDQN_aa_v1.0.0", "DDQN_v2.0": "DDQN_bb_v2.0.0", "DDQN:stable": "DDQN_bb_v2.0.0"}  # noqa: RUF012

    def resolve(self, name, *, oldest=False):
        if name == "DDQN":
            raise AmbiguousModelName("DDQN fits two models")
        if name not in self.KEYS:
            raise ModelNotFound("no_such_model", name=name)
        return self.KEYS[name]


# --- creating ---


def test_an_experiment_is_written_in_the_guides_format(running, tmp_path):
    document = json.loads((tmp_path / "ab_test_config.json").read_text(encoding="utf-8"))
    written = document["experiments"]["ddqn_v1_vs_v2"]
    assert written.pop("last_transition")["event"] == "created"
    assert written == {
        "name": "ddqn_v1_vs_v2",
        "model_a": "DDQN_v1.0",
        "model_b": "DDQN_v2.1",
        "traffic_split": SPLIT,
        "success_metric": "makespan",
        "start_time": "2026-03-01T08:00:00.000000+00:00",
        "duration_days": 7,
        "status": "active",
        "min_samples": 100,
        "alpha": 0.05,
        "margin": 0.05,
        "guardrails": {"makespan": 0.05, "success": 0.05, "execution_time": 0.5},
    }


def test_without_a_split_each_arm_gets_half(manager):
    assert manager.create_experiment("halves", "a", "b").traffic_split == {"model_a": 0.5, "model_b": 0.5}


@pytest.mark.parametrize(
    ("change", "loc"),
    [
        ({"traffic_split": {"model_a": 0.7, "model_b": 0.4}}, ("traffic_split",)),
        ({"traffic_split": {"model_a": 0.7, "model_b": 0.3 + 1e-8}}, ("traffic_split",)),
        ({"traffic_split": {"model_a": 1.0}}, ("traffic_split",)),
        ({"traffic_split": {"model_a": 0.5, "model_b": 0.3, "model_c": 0.2}}, ("traffic_split",)),
        ({"traffic_split": {"model_a": 1.5, "model_b": -0.5}}, ("traffic_split",)),
        ({"traffic_split": {"model_a": float("nan"), "model_b": 0.3}}, ("traffic_split",)),
        ({"traffic_split": {"model_a": "0.7", "model_b": 0.3}}, ("traffic_split", "model_a")),
        ({"traffic_split": "half"}, ("traffic_split",)),
        ({"model_b": "DDQN_v1.0"}, ("model_b",)),
        ({"model_a": ""}, ("model_a",)),
        ({"model_a": 5}, ("model_a",)),
        ({"experiment_name": "../etc/passwd"}, ("experiment_name",)),
        ({"experiment_name": ""}, ("experiment_name",)),
        ({"experiment_name": "x" * 65}, ("experiment_name",)),
        ({"experiment_name": "line\n"}, ("experiment_name",)),
        ({"success_metric": "speed"}, ("success_metric",)),
        ({"duration_days": 0}, ("duration_days",)),
        ({"duration_days": -7}, ("duration_days",)),
        ({"duration_days": float("inf")}, ("duration_days",)),
        ({"duration_days": 10**400}, ("duration_days",)),
        ({"duration_days": "7"}, ("duration_days",)),
        ({"min_samples": 1}, ("min_samples",)),
        ({"alpha": 1.0}, ("alpha",)),
    ],
)
def test_an_invalid_experiment_is_refused_with_its_place_and_not_written(manager, tmp_path, change, loc):
    with pytest.raises(InvalidExperiment) as caught:
        manager.create_experiment(
            **{"experiment_name": "exp", "model_a": "DDQN_v1.0", "model_b": "DDQN_v2.0", "traffic_split": SPLIT}
            | change
        )
    assert [found for found, _ in caught.value.errors] == [loc]
    assert not (tmp_path / "ab_test_config.json").exists()


def test_a_name_can_be_used_once(running):
    with pytest.raises(ExperimentConflict, check=coded("experiment_exists")):
        running.create_experiment("ddqn_v1_vs_v2", "other_a", "other_b")
    assert running.get_experiment("ddqn_v1_vs_v2").model_a == "DDQN_v1.0"


def test_unregistered_models_are_refused(tmp_path):
    manager = ABTestManager(tmp_path / "c.json", registry=FakeRegistry())
    with pytest.raises(ModelNotFound):
        manager.create_experiment("exp", "DDQN_v1.0", "DDQN_v7.0")
    with pytest.raises(AmbiguousModelName):
        manager.create_experiment("exp", "DDQN_v1.0", "DDQN")
    with pytest.raises(ModelNotFound):
        manager.config["default_model"] = "DDQN_v7.0"
    assert manager.list_experiments() == []
    manager.config["default_model"] = "DDQN:stable"
    manager.create_experiment("exp", "DDQN_v1.0", "DDQN_v2.0")
    assert manager.get_experiment("exp").model_b == "DDQN_v2.0"


def test_two_names_of_the_same_model_are_refused(tmp_path):
    manager = ABTestManager(tmp_path / "c.json", registry=FakeRegistry())
    with pytest.raises(InvalidExperiment, check=coded("same_model", model="DDQN_bb_v2.0.0")) as caught:
        manager.create_experiment("exp", "DDQN_v2.0", "DDQN:stable")
    assert caught.value.errors[0][0] == ("model_b",)


def test_an_experiment_of_deleted_models_can_still_be_stopped(tmp_path):
    ABTestManager(tmp_path / "c.json").create_experiment("exp", "gone_1", "gone_2")
    manager = ABTestManager(tmp_path / "c.json", registry=FakeRegistry())
    assert manager.stop_experiment("exp").status == "stopped"


# --- assigning ---


def test_a_user_keeps_the_arm_across_a_restart(tmp_path):
    path = tmp_path / "c.json"
    manager = ABTestManager(path)
    manager.create_experiment("exp", "DDQN_v1.0", "DDQN_v2.0", SPLIT)
    users = [f"用户_{number}" for number in range(200)]
    code = (
        "import sys, json; from ab_testing import ABTestManager; manager = ABTestManager(sys.argv[1])\n"
        "print(json.dumps([manager.get_model_for_request('exp', user) for user in json.loads(sys.argv[2])]))"
    )
    done = run_python("-c", code, str(path), json.dumps(users))
    assert json.loads(done.stdout) == [manager.get_model_for_request("exp", user) for user in users]


def test_users_are_split_in_the_requested_ratio(running):
    chosen = Counter(running.get_model_for_request("ddqn_v1_vs_v2", f"user_{number}") for number in range(10_000))
    assert chosen["DDQN_v1.0"] == pytest.approx(7_000, abs=140)  # three standard errors
    assert chosen["DDQN_v2.1"] == 10_000 - chosen["DDQN_v1.0"]


def test_a_share_of_0_gets_nobody(manager):
    manager.create_experiment("all_a", "a", "b", {"model_a": 1, "model_b": 0})
    assert {manager.get_model_for_request("all_a", f"user_{number}") for number in range(1_000)} == {"a"}


def test_a_raised_share_moves_users_into_the_arm_only(running):
    users = [f"user_{number}" for number in range(2_000)]
    before = {user for user in users if running.assign("ddqn_v1_vs_v2", user).variant == "model_b"}
    running.config["experiments"]["ddqn_v1_vs_v2"]["traffic_split"] = {"model_a": 0.5, "model_b": 0.5}
    after = {user for user in users if running.assign("ddqn_v1_vs_v2", user).variant == "model_b"}
    assert before < after


def test_every_reason_of_an_assignment_is_reported(running, clock):
    assigned = running.assign("ddqn_v1_vs_v2", "user_1")
    assert assigned.reason == "assigned"
    assert assigned.model == {"model_a": "DDQN_v1.0", "model_b": "DDQN_v2.1"}[assigned.variant]
    for experiment, reason in ((None, "default"), ("", "default"), ("nobody_made_this", "experiment_not_found")):
        found = running.assign(experiment, "user_1")
        assert (found.reason, found.model, found.variant) == (reason, running.default_model, None)
    clock.forward(days=8)
    assert running.assign("ddqn_v1_vs_v2", "user_1").reason == "experiment_not_active"


@pytest.mark.parametrize("user_id", ["", "张三", "\ud800", "x" * 10_000, "\x00", "👷"])
def test_any_text_is_a_valid_user(running, user_id):
    assert running.assign("ddqn_v1_vs_v2", user_id).reason == "assigned"


def test_an_assignment_reads_the_file_only_when_it_has_changed(tmp_path, monkeypatch):
    path = tmp_path / "c.json"
    manager = ABTestManager(path)
    manager.create_experiment("ddqn_v1_vs_v2", "DDQN_v1.0", "DDQN_v2.0", SPLIT)
    long_ago_s = path.stat().st_mtime - 60.0
    os.utime(path, (long_ago_s, long_ago_s))  # old enough for its time stamp to be trusted
    read = []
    monkeypatch.setattr(
        builtins, "open", lambda *names, real=open, **options: read.append(names[0]) or real(*names, **options)
    )
    for number in range(100):
        manager.get_model_for_request("ddqn_v1_vs_v2", f"user_{number}")
    assert read.count(path) == 1, "once, because of the changed time stamp"


# --- the life of an experiment ---


def test_an_experiment_ends_after_its_days(running, clock):
    clock.forward(days=7, seconds=-1)
    assert running.assign("ddqn_v1_vs_v2", "user_1").reason == "assigned"
    clock.forward(seconds=1)
    assert running.get_model_for_request("ddqn_v1_vs_v2", "user_1") == running.default_model
    assert running.get_experiment("ddqn_v1_vs_v2").status == "completed"
    assert [experiment.status for experiment in running.list_experiments()] == ["completed"]


def test_an_experiment_that_starts_later_is_scheduled(running, clock):
    running.config["experiments"]["ddqn_v1_vs_v2"]["start_time"] = "2026-03-02T08:00:00+00:00"
    assert running.get_experiment("ddqn_v1_vs_v2").status == "scheduled"
    assert running.assign("ddqn_v1_vs_v2", "user_1").reason == "experiment_not_active"
    clock.forward(days=1)
    assert running.get_experiment("ddqn_v1_vs_v2").status == "active"
    assert running.assign("ddqn_v1_vs_v2", "user_1").reason == "assigned"


def test_a_pause_gives_everyone_the_default_and_then_the_same_arm_again(running):
    before = running.assign("ddqn_v1_vs_v2", "user_1")
    assert running.pause_experiment("ddqn_v1_vs_v2").status == "paused"
    assert running.assign("ddqn_v1_vs_v2", "user_1").reason == "experiment_not_active"
    assert running.start_experiment("ddqn_v1_vs_v2").status == "active"
    assert running.assign("ddqn_v1_vs_v2", "user_1") == before


ACTIONS = ("start", "pause", "stop", "conclude")
ALLOWED = {
    "scheduled": {"pause": "paused", "stop": "stopped"},
    "active": {"pause": "paused", "stop": "stopped", "conclude": "concluded"},
    "paused": {"start": "active", "stop": "stopped", "conclude": "concluded"},
    "stopped": {"conclude": "concluded"},
    "completed": {"conclude": "concluded"},
    "concluded": {},
}


@pytest.mark.parametrize("status", ALLOWED)
@pytest.mark.parametrize("action", ACTIONS)
def test_only_the_moves_of_the_table_are_allowed(running, clock, status, action):
    if status == "scheduled":
        clock.forward(days=-1)
    elif status == "completed":
        clock.forward(days=7)
    else:
        running.config["experiments"]["ddqn_v1_vs_v2"]["status"] = status
    assert running.get_experiment("ddqn_v1_vs_v2").status == status
    move = getattr(running, f"{action}_experiment")
    if action in ALLOWED[status]:
        assert move("ddqn_v1_vs_v2").status == ALLOWED[status][action]
    else:
        with pytest.raises(ExperimentConflict, check=coded("move_of_experiment", status=status)):
            move("ddqn_v1_vs_v2")
        assert running.get_experiment("ddqn_v1_vs_v2").status == status


def test_an_unknown_experiment_is_not_found(manager):
    for call in (manager.get_experiment, manager.start_experiment, manager.conclude_experiment):
        with pytest.raises(ExperimentNotFound, check=coded("experiment_not_found", experiment="nobody_made_this")):
            call("nobody_made_this")
    with pytest.raises(ExperimentNotFound):
        manager.results("nobody_made_this", pd.DataFrame())


def test_the_newest_experiment_is_listed_first(running, clock):
    clock.forward(hours=1)
    running.create_experiment("second", "a", "b")
    assert [experiment.name for experiment in running.list_experiments()] == ["second", "ddqn_v1_vs_v2"]


# --- results ---


def test_the_results_have_the_members_of_the_contract(running):
    rng = np.random.default_rng(0)
    users = [f"user_{number}" for number in rng.integers(0, 200, 1_000)]
    variants = [running.assign("ddqn_v1_vs_v2", user).variant for user in users]
    runs = pd.DataFrame({"variant": variants, "user_id": users, "success": True})
    runs["makespan"] = rng.normal(56, 1, 1_000) - 2.0 * (runs["variant"] == "model_b")
    results = running.results("ddqn_v1_vs_v2", runs)
    assert results["experiment_name"] == "ddqn_v1_vs_v2"
    assert results["status"] == "active"
    assert results["models"] == {"model_a": "DDQN_v1.0", "model_b": "DDQN_v2.1"}
    assert results["total_requests"] == runs["variant"].value_counts().to_dict()
    assert set(results["average_metrics"]["model_a"]["makespan"]) == {"mean", "count", "min", "max", "std"}
    assert results["improvement_percentage"] == pytest.approx(100 * 2 / 56, abs=0.5)
    assert results["is_significant"] is True
    assert results["srm_p_value"] > 0.01
    start = f"{results['verdict']}: {results['verdict_sentence']} Raw means of successful runs"
    assert results["summary"].startswith(start)
    assert json.loads(json.dumps(results, allow_nan=False)) == results


def test_the_results_use_the_experiments_own_metric_samples_and_alpha(manager):
    manager.create_experiment("strict", "a", "b", success_metric="success_rate", min_samples=7, alpha=0.01)
    runs = pd.DataFrame({"variant": ["model_a", "model_b"], "user_id": ["u", "v"], "success": [True, False]})
    results = manager.results("strict", runs)
    assert (results["metric"], results["direction"]) == ("success", "higher_is_better")
    assert (results["min_samples"], results["alpha"]) == (7, 0.01)
    assert results["improvement_percentage"] == -100.0
