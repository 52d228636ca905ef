"""What the registry finds out about a model itself: measured, limited, validated, traced, watched."""

import json
import os
import subprocess
import zipfile
from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pytest
import torch

import model_manager
from model_manager import ModelVersionManager
from scheduler_env.network import QNetwork, read_checkpoint, save_checkpoint
from scheduler_service.clock import parse_time
from scheduler_service.errors import InvalidInput, InvalidModel, InvalidTransition, ModelNotFound, StorageUnavailable
from scheduler_service.registry import examination
from scheduler_service.registry.degradation import ALPHA, MIN_RUNS, WINDOW, window_at
from scheduler_service.registry.validation import flags, measure, validation_set
from scheduler_service.settings import Settings
from tests.checkpoints import SEED, write_checkpoint
from tests.clocks import Clock
from tests.codes import coded

pytestmark = pytest.mark.usefixtures("no_fsync")
SEEDS = Settings().seed_models_dir


@pytest.fixture
def moment():
    return datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def clock(moment):
    return Clock(moment)


@pytest.fixture
def manager(tmp_path, clock):
    return ModelVersionManager(tmp_path / "models", clock=clock)


def untrained(path):
    torch.manual_seed(0)
    save_checkpoint(path, QNetwork((4, 4, 4)), {})
    return path


# --- measurements ---


def test_models_are_measured_and_shown_beside_the_claimed_metrics(manager):
    key = manager.register_model(SEED, "DDQN", {}, {"makespan": 42.5, "resource_utilization": 0.87})
    shown = manager.get_model(key).to_dict()
    assert shown["performance"] == {"makespan": 42.5, "resource_utilization": 0.87}
    from scheduler_env.agent import load_agent

    expected = measure(load_agent(SEED))
    measured = shown["verified_metrics"]
    assert {name: measured[name] for name in measured if name != "execution_time"} == {
        name: expected[name] for name in expected if name != "execution_time"
    }
    assert 0 < measured["execution_time"] < 1
    assert [flag["metric"] for flag in shown["flags"]] == ["makespan", "resource_utilization"]
    assert "claimed makespan 42.5 is better than" in manager.history()[0].details["flags"][0]


def test_the_validation_set_is_fixed_and_not_used_in_training():
    from scheduler_env.pool import TRAINING_SEEDS_FROM
    from scheduler_env.training import VALIDATION_SEEDS_FROM
    from scheduler_service.registry.validation import PER_SIZE
    from scheduler_service.registry.validation import VALIDATION_SEEDS_FROM as OURS

    assert [len(instance.workpoints) for instance in validation_set()] == [1] * 5 + [2] * 4 + [5] * 4
    assert OURS + PER_SIZE <= VALIDATION_SEEDS_FROM < TRAINING_SEEDS_FROM


@pytest.mark.parametrize(
    ("claimed", "flagged"),
    [
        ({"makespan": 100.0}, []),
        ({"makespan": 101.9}, []),
        ({"makespan": 97.9}, ["makespan"]),
        ({"makespan": 103}, ["makespan"]),
        ({"makespan": "50"}, []),
        ({"makespan": True}, []),
        ({"other": 1.0}, []),
        ({"resource_utilization": 0.9}, ["resource_utilization"]),
    ],
)
def test_a_claim_more_than_two_percent_off_is_flagged(claimed, flagged):
    found = flags(claimed, {"makespan": 100.0, "resource_utilization": 0.25})
    assert [flag.metric for flag in found] == flagged


def test_a_flag_states_whether_the_claim_is_too_good():
    verified = {"makespan": 100.0, "resource_utilization": 0.25}
    flattering = flags({"makespan": 90, "resource_utilization": 0.5}, verified)
    modest = flags({"makespan": 110, "resource_utilization": 0.1}, verified)
    assert [flag.is_better_than_measured for flag in (*flattering, *modest)] == [True, True, False, False]


# --- limits of the examination ---


def with_pickle(path, stream):
    """The seed's archive with another pickle in it."""
    with zipfile.ZipFile(SEED) as whole, zipfile.ZipFile(path, "w") as changed:
        for member in whole.infolist():
            content = stream if member.filename.endswith("data.pkl") else whole.read(member)
            changed.writestr(member.filename, content)
    return path


def test_a_small_file_that_requests_twenty_gigabytes_is_refused_at_no_cost(manager, tmp_path):
    size = (20 * 2**30).to_bytes(5, "little")
    bomb = with_pickle(tmp_path / "x.pth", b"\x80\x02cbuiltins\nbytearray\n\x8a\x05" + size + b"\x85R.")
    with pytest.raises(InvalidModel, check=coded("unusable_weights", reason="MemoryError")):
        manager.register_model(bomb, "DDQN", {}, {})
    assert manager.list_models() == []
    assert manager.register_model(SEED, "DDQN", {}, {})


def test_reading_that_never_ends_is_aborted(tmp_path, monkeypatch):
    monkeypatch.setattr(examination, "MAX_EXAMINATION_S", 1)
    os.mkfifo(tmp_path / "endless")  # opening it blocks until there is a writer, and there is none
    examination.examine("DDQN", SEED)
    with pytest.raises(InvalidModel, check=coded("examination_limits", limit_s=1)):
        examination.examine("DDQN", tmp_path / "endless")
    assert examination.examine("DDQN", SEED).verified_metrics["instances"] == 13


def test_one_helper_examines_every_file(monkeypatch):
    examination.examine("DDQN", SEED)
    started = []
    monkeypatch.setattr(subprocess, "Popen", lambda *command, **_: started.append(command))
    for _ in range(3):
        examination.examine("DDQN", SEED)
    assert started == []


def test_a_killed_helper_is_replaced():
    examination.examine("DDQN", SEED)
    listed = subprocess.run(
        ["pgrep", "-P", str(os.getpid()), "-f", "registry.examiner"], capture_output=True, text=True
    )
    helpers = [int(number) for number in listed.stdout.split()]
    assert helpers
    for helper in helpers:
        os.kill(helper, 9)
    assert examination.examine("DDQN", SEED).verified_metrics["instances"] == 13


# --- validation ---


def test_a_model_no_better_than_a_rule_is_not_validated(manager, tmp_path):
    key = manager.register_model(untrained(tmp_path / "w.pth"), "DDQN", {}, {"makespan": 50.0})
    with pytest.raises(InvalidModel, check=coded("model_no_better", rule="LFT")):
        manager.promote_model(key, "validated", actor="li")
    assert manager.get_model(key).status == "registered"
    refusal = manager.history()[-1]
    assert (refusal.event, refusal.actor, len(manager.history())) == ("refused", "li", 2)
    assert (refusal.details["code"], refusal.details["params"]["model"]) == ("model_no_better", key)
    assert refusal.details["validation"]["gap"] >= refusal.details["validation"]["baseline_gap"]


def test_the_measurements_of_a_validation_are_kept_and_in_the_history(manager):
    key = manager.register_model(SEED, "DDQN", {}, {})
    assert manager.get_model(key).validation == {}
    validation = manager.promote_model(key, "validated", actor="li").validation
    assert validation["gap"] == manager.get_model(key).verified_metrics["gap"]
    assert validation["measured_at"] == manager.history()[-1].time
    assert manager.history()[-1].details["validation"] == validation


def test_weights_changed_on_disk_are_not_validated(manager, tmp_path):
    key = manager.register_model(SEED, "DDQN", {}, {})
    write_checkpoint(tmp_path / "models" / "models" / f"{key}.pth", 5)
    with pytest.raises(InvalidModel, check=coded("model_weights_changed")):
        manager.promote_model(key, "validated")


def test_an_unmeasured_model_is_not_deployed(manager, tmp_path):
    key = manager.register_model(SEED, "DDQN", {}, {})
    file = tmp_path / "models" / "metadata" / f"{key}.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "status": "validated"}))
    with pytest.raises(InvalidTransition, check=coded("never_validated")):
        manager.promote_model(key, "deployed")
    manager.promote_model(key, "validated")
    assert manager.promote_model(key, "deployed").status == "deployed"


def test_a_seed_shipped_as_validated_is_measured(manager):
    manager.register_seed_models(SEEDS)
    for record in manager.list_models():
        assert record.verified_metrics["instances"] == 13
        assert bool(record.validation) == (record.status != "registered")


# --- origin ---


def test_the_origin_of_a_model_is_recorded(manager, tmp_path):
    parent = manager.register_model(SEED, "DDQN", {}, {})
    child = manager.register_model(
        write_checkpoint(tmp_path / "w.pth", 3), "DDQN", {}, {}, lineage={"parent": "DDQN_v1", "code_version": "abc123"}
    )
    assert manager.get_model(child).lineage == {
        "parent": parent, "training_data_seed": 3, "code_version": "abc123", "config": {"seed": 3, "episodes": 1000}
    }  # fmt: skip
    with pytest.raises(ModelNotFound):
        manager.register_model(write_checkpoint(tmp_path / "x.pth", 4), "DDQN", {}, {}, lineage={"parent": "DDQN_v9"})
    with pytest.raises(InvalidInput, check=coded("unknown_lineage")):
        manager.register_model(tmp_path / "x.pth", "DDQN", {}, {}, lineage={"mother": "DDQN_v1"})


def test_a_model_with_other_features_is_refused_by_their_names(manager, tmp_path):
    content = torch.load(SEED, weights_only=True)
    content["candidate_features"] = [*content["candidate_features"][:-1], "phase_of_the_moon"]
    torch.save(content, tmp_path / "w.pth")
    with pytest.raises(
        InvalidModel, check=coded("checkpoint_features_differ", features="candidate_features")
    ) as caught:
        manager.register_model(tmp_path / "w.pth", "DDQN", {}, {})
    assert "'phase_of_the_moon'" in caught.value.params["differing"]


def test_a_registry_without_newer_measurements_can_be_read(manager, tmp_path):
    key = manager.register_model(SEED, "DDQN", {}, {"makespan": 50.0})
    file = tmp_path / "models" / "metadata" / f"{key}.json"
    stored = json.loads(file.read_text())
    for member in ("verified_metrics", "validation", "lineage"):
        del stored[member]
    file.write_text(json.dumps(stored))
    assert ModelVersionManager(tmp_path / "models").get_best_model("DDQN").verified_metrics == {}


# --- live models ---


def two_deployed(manager, clock, tmp_path):
    """Two versions, deployed on the 1st and on the 11th."""
    keys = []
    for number in (1, 2):
        key = manager.register_model(write_checkpoint(tmp_path / f"w{number}.pth", number), "DDQN", {}, {})
        manager.promote_model(key, "validated")
        manager.promote_model(key, "deployed", actor="li", reason=f"number {number}")
        keys.append(key)
        clock.now += timedelta(days=10)
    return keys


def test_the_history_shows_the_live_model_of_any_time(manager, clock, moment, tmp_path):
    first, second = two_deployed(manager, clock, tmp_path)
    manager.rollback("DDQN", "worse", actor="on-call")
    live_on = {}
    for day in (-1, 0, 9, 10, 19, 20, 99):
        live = manager.live_at(moment + timedelta(days=day), "DDQN")
        live_on[day] = live and (live.model_key, live.actor, live.reason)
    assert live_on == {
        -1: None,
        **dict.fromkeys((0, 9), (first, "li", "number 1")),
        **dict.fromkeys((10, 19), (second, "li", "number 2")),
        **dict.fromkeys((20, 99), (first, "on-call", "worse")),
    }
    assert manager.live_at(moment, "GA") is None


# --- automatic rollback ---


def runs(key, start, n, *, gap, n_workpoints=2, failed=0, every_s=60.0, seed=0):
    """Recorded runs of a model; gaps vary around `gap`."""
    rng = np.random.default_rng(seed)
    gaps = gap + rng.uniform(-0.02, 0.02, n)
    success = np.arange(n) % max(1, n // failed) != 0 if failed else np.ones(n, dtype=bool)
    return pd.DataFrame(
        {
            "timestamp": pd.to_datetime([start + timedelta(seconds=every_s * number) for number in range(n)], utc=True),
            "model_key": key,
            "success": success,
            "gap": np.where(success, gaps, np.nan),
            "n_workpoints": n_workpoints,
            "reason": "default",
            "input_params": [str(number) for number in range(n)],
        }
    )


@pytest.fixture
def live(manager, clock, tmp_path):
    """(previous, live): the live one was deployed on the 11th, half a day ago."""
    keys = two_deployed(manager, clock, tmp_path)
    clock.now -= timedelta(days=9.5)
    return keys


def deployed_at(manager):
    return parse_time(manager.live_at(manager._clock(), "DDQN").since)


def level_of(manager, key, n_workpoints="2"):
    return manager.get_model(key).validation["worst_gap"][n_workpoints]


def test_a_degradation_of_the_live_model_is_rolled_back_with_its_figures_in_the_history(manager, live):
    previous, key = live
    worse = runs(key, deployed_at(manager), 300, gap=level_of(manager, key) + 0.2)
    back = manager.roll_back_if_degraded("DDQN", worse)
    assert back.model_key == previous
    event = manager.history()[-1]
    assert (event.event, event.actor) == ("rolled_back", "auto-rollback")
    assert event.details["runs"] == 300
    assert event.details["lower_bound"] > 0.05
    assert event.details["code"] == "performance_drop"
    assert (event.details["params"]["runs"], event.details["params"]["failed_runs"]) == (300, 0)


def test_failures_under_the_requested_name_count_as_degradation(manager, live):
    _, key = live
    failing = runs("DDQN:stable", deployed_at(manager), 200, gap=level_of(manager, key) - 0.05, failed=100)
    assert manager.roll_back_if_degraded("DDQN", failing) is not None
    assert manager.history()[-1].details["failed_runs"] >= 100


@pytest.mark.parametrize(
    "change",
    [
        {"gap": 0.0},
        {"gap": 0.04},
        {"gap": 0.2, "n": MIN_RUNS - 1},
        {"gap": 0.2, "key": "another"},
        {"gap": 0.2, "days": -3},
    ],
    ids=["as validated", "within tolerance", "too few runs", "another model", "before it was live"],
)
def test_nothing_is_rolled_back_without_degradation(manager, live, change):
    _, key = live
    start = deployed_at(manager) + timedelta(days=change.get("days", 0))
    found = runs(change.get("key", key), start, change.get("n", 300), gap=level_of(manager, key) + change["gap"])
    assert manager.roll_back_if_degraded("DDQN", found) is None
    assert manager.resolve("stable") == key


@pytest.mark.parametrize("change", [{"input_params": "one and the same"}, {"reason": "pinned"}])
def test_repeated_or_pinned_requests_of_one_client_roll_nothing_back(manager, live, change):
    _, key = live
    forced = runs(key, deployed_at(manager), 400, gap=level_of(manager, key) + 0.3).assign(**change)
    assert manager.roll_back_if_degraded("DDQN", forced) is None


def test_if_a_tag_moves_during_validation_the_measured_model_is_promoted(manager, tmp_path, monkeypatch):
    good = manager.register_model(write_checkpoint(tmp_path / "good.pth", 1), "DDQN", {}, {}, tags=["canary"])
    other = manager.register_model(untrained(tmp_path / "bad.pth"), "DDQN", {"other": 1}, {})
    validate = model_manager.validate

    def validate_while_the_tag_moves(*arguments):
        manager.tag_model("canary", other)
        return validate(*arguments)

    monkeypatch.setattr(model_manager, "validate", validate_while_the_tag_moves)
    assert manager.promote_model("canary", "validated").model_key == good
    assert manager.get_model(other).status == "registered"


def test_a_model_without_weights_is_neither_deployed_nor_rolled_back_to(manager, clock, tmp_path):
    first, second = two_deployed(manager, clock, tmp_path)
    third = manager.register_model(write_checkpoint(tmp_path / "w3.pth", 3), "DDQN", {}, {})
    manager.promote_model(third, "validated")
    (tmp_path / "models" / "models" / f"{third}.pth").rename(tmp_path / "lost.pth")
    with pytest.raises(InvalidModel, check=coded("model_weights_unreadable")):
        manager.promote_model(third, "deployed")
    (tmp_path / "lost.pth").rename(tmp_path / "models" / "models" / f"{third}.pth")
    manager.promote_model(third, "deployed")
    (tmp_path / "models" / "models" / f"{second}.pth").unlink()
    assert manager.rollback("DDQN", "worse").model_key == first


def test_a_rollback_skips_retired_models(manager, clock, tmp_path):
    first, second = two_deployed(manager, clock, tmp_path)
    third = manager.register_model(write_checkpoint(tmp_path / "w3.pth", 3), "DDQN", {}, {})
    for status in ("validated", "deployed"):
        manager.promote_model(third, status)
    manager.promote_model(second, "retired", reason="bad schedules")
    assert manager.rollback("DDQN", "worse").model_key == first


def test_a_model_with_temporarily_unreadable_metadata_keeps_its_tags(manager, clock, tmp_path):
    _, second = two_deployed(manager, clock, tmp_path)
    metadata = tmp_path / "models" / "metadata" / f"{second}.json"
    content = metadata.read_bytes()
    metadata.write_text("{ half")
    fresh = ModelVersionManager(tmp_path / "models", clock=clock)
    fresh.register_model(write_checkpoint(tmp_path / "w3.pth", 3), "DDQN", {}, {})
    metadata.write_bytes(content)
    assert ModelVersionManager(tmp_path / "models", clock=clock).resolve("DDQN:stable") == second


def test_weights_are_kept_while_all_metadata_is_missing(manager, clock, tmp_path):
    _, second = two_deployed(manager, clock, tmp_path)
    metadata = tmp_path / "models" / "metadata"
    metadata.rename(tmp_path / "being restored")
    ModelVersionManager(tmp_path / "models", clock=clock).list_models()
    assert (tmp_path / "models" / "models" / f"{second}.pth").exists()


def test_after_an_automatic_rollback_there_is_a_pause(manager, live, clock, tmp_path):
    _, key = live
    manager.roll_back_if_degraded("DDQN", runs(key, deployed_at(manager), 300, gap=level_of(manager, key) + 0.3))
    manager.promote_model(key, "deployed")
    again = runs(key, deployed_at(manager), 300, gap=level_of(manager, key) + 0.3, every_s=1.0)
    clock.now += timedelta(hours=2)
    assert manager.roll_back_if_degraded("DDQN", again, timedelta(hours=3)) is None
    clock.now += timedelta(hours=2)
    assert manager.roll_back_if_degraded("DDQN", again, timedelta(hours=3)) is not None


def test_of_two_processes_that_detect_the_degradation_one_acts(manager, live, tmp_path, clock):
    """The second one has judged the model that the first has already replaced."""
    from scheduler_service.errors import ModelConflict
    from scheduler_service.registry.moves import roll_back

    previous, key = live
    manager.roll_back_if_degraded("DDQN", runs(key, deployed_at(manager), 300, gap=level_of(manager, key) + 0.3))
    with pytest.raises(ModelConflict, check=coded("another_is_live", expected=key)):
        roll_back(manager._store, clock, "DDQN", "late", "auto-rollback", only_from=key)
    assert manager.resolve("stable") == previous


def test_a_first_version_is_not_rolled_back(manager, tmp_path, clock, caplog):
    key = manager.register_model(SEED, "DDQN", {}, {})
    for status in ("validated", "deployed"):
        manager.promote_model(key, status)
    clock.now += timedelta(hours=10)
    found = runs(key, deployed_at(manager), 300, gap=level_of(manager, key) + 0.3)
    assert manager.roll_back_if_degraded("DDQN", found) is None
    assert "no automatic rollback" in caplog.text
    assert manager.roll_back_if_degraded("GA", found) is None


def test_all_windows_of_a_deployment_together_use_at_most_alpha(moment):
    spent = [window_at(moment + number * WINDOW + WINDOW / 2, moment) for number in range(10_000)]
    assert [start for start, _ in spent[:3]] == [moment + number * WINDOW for number in range(3)]
    assert sum(alpha for _, alpha in spent) == pytest.approx(ALPHA, rel=1e-3)
    assert sum(alpha for _, alpha in spent) < ALPHA


# --- a full disk ---


@pytest.fixture
def small_disk(tmp_path):
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=400k", "tmpfs", str(folder)], capture_output=True)
    if mounted.returncode != 0:
        pytest.skip(f"a small disk cannot be mounted here: {mounted.stderr.decode().strip()}")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_really_full_disk_is_a_clear_error_and_the_registry_stays_consistent(small_disk, tmp_path):
    from scheduler_service.clock import utc_now
    from scheduler_service.registry.fsck import fsck
    from scheduler_service.registry.store import RegistryStore
    from scheduler_service.store.folder import FolderStore

    manager = ModelVersionManager(small_disk / "models")
    keys = []
    for number in range(1, 100):
        weights = write_checkpoint(tmp_path / f"w{number}.pth", number)
        try:
            keys.append(manager.register_model(weights, "DDQN", {}, {}))
        except StorageUnavailable as err:
            assert "No space left" in str(err)  # noqa: PT017  # the others have to succeed
            break
    assert 0 < len(keys) < 99
    again = ModelVersionManager(small_disk / "models")
    assert {record.model_key for record in again.list_models()} == set(keys)
    assert fsck(RegistryStore(FolderStore(small_disk), "models", utc_now)) == []
    assert again.load_model(keys[0]).key == keys[0]


def test_the_checkpoints_of_these_tests_are_valid(tmp_path):
    assert (
        read_checkpoint(write_checkpoint(tmp_path / "w.pth", 1)).network.hidden == read_checkpoint(SEED).network.hidden
    )
