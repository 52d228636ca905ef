"""The registry in normal operation: versions, names, the life of a model, seeds, cleanup."""

import io
import json
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

import model_manager
from model_manager import ModelVersionManager
from scheduler_env import SAMPLE_PARAMS, standard_instance
from scheduler_service.errors import (
    AmbiguousModelName,
    InvalidInput,
    InvalidTransition,
    ModelConflict,
    ModelNotFound,
    StorageUnavailable,
)
from scheduler_service.registry.loading import LoadedModels
from scheduler_service.registry.names import Version, choose_version, hash_of_config
from scheduler_service.registry.records import STATUSES
from scheduler_service.settings import Settings
from scheduler_service.store import opening
from tests.clocks import Clock
from tests.codes import coded
from tests.waiting import until

pytestmark = pytest.mark.usefixtures("no_fsync")
STORES = ("folder", "postgresql")
CONFIG = {"episodes": 1000, "learning_rate": 0.001, "batch_size": 32}
OTHER_CONFIG = {**CONFIG, "learning_rate": 0.01}


@pytest.fixture
def clock():
    return Clock(datetime(2026, 1, 1, tzinfo=UTC), step=timedelta(seconds=1))


@pytest.fixture
def manager(open_store, clock):
    return ModelVersionManager(store=open_store(), clock=clock)


@pytest.fixture
def register(manager, weights):
    def register(number, params=CONFIG, metrics=None, **options):
        return manager.register_model(weights(number), "DDQN", params, metrics or {}, **options)

    return register


def deploy(manager, name):
    manager.promote_model(name, "validated")
    return manager.promote_model(name, "deployed")


def three_deployed(manager, register):
    return [deploy(manager, register(number)).model_key for number in (1, 2, 3)]


# --- registration ---


@pytest.mark.only_folder
def test_a_registered_model_is_three_readable_files(manager, register, weights, tmp_path):
    key = register(1, metrics={"makespan": 42.5}, description="改进奖励函数的DDQN模型", created_by="developer_name")
    base = tmp_path / "models"
    assert (base / "models" / f"{key}.pth").read_bytes() == weights(1).read_bytes()
    assert json.loads((base / "configs" / f"{key}.json").read_text()) == CONFIG
    metadata = (base / "metadata" / f"{key}.json").read_text(encoding="utf-8")
    assert "改进奖励函数的DDQN模型" in metadata
    record = manager.get_model(key)
    assert (record.algorithm, record.version, record.status) == ("DDQN", "1.0.0", "registered")
    assert (record.performance, record.created_by) == ({"makespan": 42.5}, "developer_name")
    assert record.signature["hidden"] == [64, 32, 32]


def test_the_record_for_the_api_is_json_with_the_documented_members(manager, register):
    shown = json.loads(json.dumps(manager.get_model(register(1)).to_dict()))
    assert shown.keys() >= {
        "model_key", "algorithm", "version", "status", "tags", "performance", "created_at", "created_by", "description"
    }  # fmt: skip
    assert shown["tags"] == ["latest"]


def test_new_weights_raise_minor_and_a_new_configuration_raises_major(manager, register):
    versions = [
        manager.get_model(register(number, params)).version
        for number, params in [(1, CONFIG), (2, CONFIG), (3, OTHER_CONFIG), (4, CONFIG), (5, OTHER_CONFIG)]
    ]
    assert versions == ["1.0.0", "1.1.0", "2.0.0", "1.2.0", "2.1.0"]


def test_bump_and_version_override_the_rule(manager, register):
    register(1)
    assert register(2, bump="patch").endswith("_v1.0.1")
    assert register(3, bump="major").endswith("_v2.0.0")
    assert register(4, version="3.5").endswith("_v3.5.0")
    with pytest.raises(ModelConflict, check=coded("version_taken", version="3.5.0")):
        register(5, OTHER_CONFIG, version="3.5.0")
    with pytest.raises(InvalidInput, check=coded("version_form")):
        register(5, version="1.2.3.4")
    with pytest.raises(InvalidInput, check=coded("literal_error", expected=("major", "minor", "patch"))):
        register(5, bump="huge")


def test_an_existing_version_is_skipped():
    used = {("aaaaaaaa", Version(1, 0, 0)), ("bbbbbbbb", Version(1, 1, 0))}
    assert choose_version(used, "aaaaaaaa", None, None) == Version(1, 2, 0)


def test_a_version_at_its_limit_does_not_end_the_series(manager, register):
    end = register(1, version="999999.0.0")
    manager.delete_model(end)
    assert register(2, {"another": 1}).endswith("_v1.0.0")
    assert register(3, {"another": 2}, version="999998.999999.999999").endswith("_v999998.999999.999999")
    assert register(4, {"another": 3}).endswith("_v2.0.0"), "999999.0.0 was used for other weights"
    assert register(5, {"another": 2}, bump="patch").endswith("_v999999.0.1"), "in the series of the deleted one"


@pytest.mark.parametrize("bump", ["major", "minor", "patch", None])
@pytest.mark.parametrize("end", [Version(999_999, 0, 0), Version(1, 999_999, 0), Version(999_999, 999_999, 999_999)])
@pytest.mark.parametrize("has_lower", [True, False])
def test_the_next_version_is_always_new_and_readable(bump, end, has_lower):
    used = {("aaaaaaaa", end)} | ({("aaaaaaaa", Version(0, 3, 0))} if has_lower else set())
    for config in ("aaaaaaaa", "bbbbbbbb"):
        for _ in range(3):
            version = choose_version(used, config, None, bump)
            assert max(version) <= 999_999
            assert version not in {each for _, each in used}
            used.add((config, version))


def test_a_version_above_the_limit_is_refused_with_the_limit(register):
    with pytest.raises(InvalidInput, check=coded("version_form", limit=999_999)) as caught:
        register(1, version="1000000.0.0")
    assert caught.value.loc == ("version",)


def test_the_same_file_with_the_same_parameters_is_registered_once(manager, register):
    key = register(1)
    assert register(1, dict(reversed(CONFIG.items())), metrics={"makespan": 1.0}) == key
    assert len(manager.list_models()) == 1
    assert len(manager.history()) == 1
    assert register(1, OTHER_CONFIG) != key
    with pytest.raises(ModelConflict, check=coded("same_weights")):
        register(1, version="7.0.0")


def test_the_key_does_not_depend_on_the_number_format():
    assert hash_of_config({"a": 1000, "b": 0.001}) == hash_of_config({"b": 1e-3, "a": 1000.0})
    assert hash_of_config({"a": 1}) != hash_of_config({"a": True}) != hash_of_config({"a": "1"})


def test_numpy_values_are_accepted_as_numbers(manager, register):
    key = register(1, {"episodes": np.int64(1000)}, metrics={"makespan": np.float32(42.5), "per_seed": [np.float64(1)]})
    assert manager.get_model(key).performance == {"makespan": 42.5, "per_seed": [1.0]}


@pytest.mark.parametrize(
    ("params", "metrics", "loc"),
    [
        ({"lr": float("nan")}, {}, ("training_params", "lr")),
        ({}, {"makespan": float("inf")}, ("performance_metrics", "makespan")),
        ({"layers": [1, [2, np.nan]]}, {}, ("training_params", "layers", 1, 1)),
        ({"rng": object()}, {}, ("training_params", "rng")),
        ({1: "x"}, {}, ("training_params",)),
        ({"name": "\ud800"}, {}, ("training_params", "name")),
        ({"big": 10**30}, {}, ("training_params", "big")),
        ({"many": list(range(20_000))}, {}, ("training_params",)),
        ([], {}, ("training_params",)),
        ({}, None, ("performance_metrics",)),
    ],
)
def test_values_that_json_cannot_represent_are_refused_with_their_place(manager, weights, params, metrics, loc):
    with pytest.raises(InvalidInput) as caught:
        manager.register_model(weights(1), "DDQN", params, metrics)
    assert caught.value.loc == loc
    assert manager.list_models() == []


@pytest.mark.parametrize("algorithm", ["PPO", "ddqn", "", "DDQN_v2", "../DDQN", "DDQN\n"])
def test_an_unknown_algorithm_is_refused_and_the_known_ones_are_listed(manager, weights, algorithm):
    with pytest.raises(InvalidInput, check=coded("unknown_algorithm", known=["CPSAT", "DDQN", "GA", "RULE"])):
        manager.register_model(weights(1), algorithm, CONFIG, {})


def test_an_upload_is_registered_like_a_file(manager, weights):
    key = manager.register_upload(io.BytesIO(weights(1).read_bytes()), "DDQN", CONFIG, {})
    assert key == manager.register_model(weights(1), "DDQN", CONFIG, {})


# --- names ---


def test_a_model_is_found_by_key_short_name_and_tag(manager, register):
    key = register(1, tags=["current_production_model"])
    config_hash = hash_of_config(CONFIG)
    for name in (
        key, f"DDQN_{config_hash}_v1.0", f"DDQN_{config_hash}_v1", "DDQN_v1.0", "DDQN_v1", "DDQN_v1.0.0",
        "latest", "DDQN:latest", "current_production_model", "DDQN:current_production_model",
    ):  # fmt: skip
        assert manager.resolve(name) == key, name


def test_an_ambiguous_short_name_lists_the_models(manager, register):
    keys = [register(number) for number in (1, 2, 3)]
    with pytest.raises(AmbiguousModelName) as caught:
        manager.resolve("DDQN_v1")
    assert set(caught.value.params["candidates"]) == set(keys)
    assert manager.resolve("DDQN_v1.1") == keys[1]


UNKNOWN = ["DDQN", "DDQN_v9", "DDQN_12345678_v1.0.0", "DDQN_v1.0.0.0", "DDQN_v01", "DDQN:nothing", "../x", "DDQN:"]


@pytest.mark.parametrize("name", [*UNKNOWN, "", "a b"])
def test_an_unknown_name_is_not_found(manager, register, name):
    register(1)
    with pytest.raises(ModelNotFound, check=coded("no_such_model")):
        manager.resolve(name)


def test_a_tag_without_algorithm_is_ambiguous_for_two_algorithms():
    from scheduler_service.registry.index import Index
    from scheduler_service.registry.records import ModelRecord

    def record(key, algorithm):
        return ModelRecord(key, algorithm, "1.0.0", "registered", {}, "2026", "", "", {}, "", 0, {}, "2026")

    index = Index(
        [record("GA_11111111_v1.0.0", "GA"), record("RULE_22222222_v1.0.0", "RULE")],
        {"GA:latest": "GA_11111111_v1.0.0", "RULE:latest": "RULE_22222222_v1.0.0"},
    )
    with pytest.raises(AmbiguousModelName, check=coded("ambiguous_model", candidates=["GA:latest", "RULE:latest"])):
        index.resolve("latest")
    assert index.resolve("RULE:latest") == "RULE_22222222_v1.0.0"


@pytest.mark.parametrize("tag", ["DDQN_v1", "DDQN_1a2b3c4d_v1.0.0", "x_v3.1", "", "a b", "é", "GA:x", "-x", "x" * 65])
def test_a_tag_that_could_be_another_name_is_refused(manager, register, tag):
    key = register(1)
    with pytest.raises(InvalidInput):
        manager.tag_model(tag, key)


def test_latest_follows_registrations_and_other_tags_move_only_on_request(manager, register):
    first = register(1, tags=["canary"])
    second = register(2)
    assert (manager.resolve("latest"), manager.resolve("canary")) == (second, first)
    assert manager.tag_model("canary", "latest").tags == ("canary", "latest")
    assert manager.resolve("canary") == second
    manager.untag_model("canary")
    with pytest.raises(ModelNotFound):
        manager.resolve("canary")


def test_models_are_listed_newest_first_and_filtered(manager, register):
    first, second, third = (register(number) for number in (1, 2, 3))
    manager.promote_model(second, "validated")
    manager.tag_model("canary", first)

    def keys(**filters):
        return [record.model_key for record in manager.list_models(**filters)]

    assert keys() == keys(algorithm="DDQN") == [third, second, first]
    assert keys(status="validated") == [second]
    assert keys(tag="canary") == keys(tag="DDQN:canary") == [first]
    assert keys(algorithm="GA") == []
    with pytest.raises(InvalidInput, check=coded("unknown_model_status", known=STATUSES)):
        manager.list_models(status="live")


def test_the_best_model_is_chosen_by_measured_metrics(manager, register, weights):
    seeds = Settings().seed_models_dir
    keys = {
        name: manager.register_model(seeds / f"{name}.pth", "DDQN", {"seed": name}, {"makespan": claim})
        for name, claim in (("ddqn_v1", 40.0), ("ddqn_v2", 60.0))
    }
    assert manager.get_best_model("DDQN").model_key == keys["ddqn_v2"]
    assert manager.get_best_model("DDQN", "gap").model_key == keys["ddqn_v2"]
    manager.promote_model(keys["ddqn_v2"], "retired")
    assert manager.get_best_model("DDQN").model_key == keys["ddqn_v1"]


def test_unmeasured_models_are_compared_by_claimed_metrics(manager, register):
    glad = register(1, metrics={"user_satisfaction": 4.5, "success": "all"})
    register(2, metrics={"user_satisfaction": 3})
    assert manager.get_best_model("DDQN", "user_satisfaction").model_key == glad
    with pytest.raises(ModelNotFound, check=coded("no_model_with_metric", metric="success")):
        manager.get_best_model("DDQN", "success")
    with pytest.raises(InvalidInput, check=coded("unknown_metric")):
        manager.get_best_model("DDQN", "beauty")


# --- the life of a model ---


def test_the_guides_release_ends_with_a_deployed_and_stable_model(manager, register):
    key = register(1, version="2.0")
    assert manager.promote_model("DDQN_v2.0", "validated").status == "validated"
    assert manager.promote_model("DDQN_v2.0", "deployed", reason="won the test", actor="li").status == "deployed"
    assert manager.resolve("DDQN:stable") == key


def test_a_forbidden_move_names_the_allowed_ones(manager, register):
    key = register(1)
    with pytest.raises(
        InvalidTransition, check=coded("move_not_allowed", status="registered", allowed=("validated", "retired"))
    ):
        manager.promote_model(key, "deployed")
    with pytest.raises(InvalidInput, check=coded("unknown_model_status")):
        manager.promote_model(key, "live")
    manager.promote_model(key, "retired")
    with pytest.raises(InvalidTransition, check=coded("move_not_allowed", allowed=("validated",), wanted="registered")):
        manager.promote_model(key, "registered")


def test_promoting_to_the_current_status_changes_nothing(manager, register):
    key = register(1)
    before = manager.promote_model(key, "validated")
    assert manager.promote_model(key, "validated") == before
    assert [event.event for event in manager.history()] == ["registered", "promoted"]


def test_a_stable_model_cannot_be_retired_until_another_is_stable(manager, register):
    first, second = (deploy(manager, register(number)).model_key for number in (1, 2))
    with pytest.raises(InvalidTransition, check=coded("model_is_stable")):
        manager.promote_model(second, "retired")
    manager.promote_model(first, "deployed")
    assert manager.resolve("DDQN:stable") == first
    assert manager.promote_model(second, "retired").status == "retired"


def test_only_deployed_models_can_be_stable(manager, register):
    key = register(1)
    with pytest.raises(ModelConflict, check=coded("stable_not_deployed")):
        manager.tag_model("stable", key)
    with pytest.raises(InvalidInput, check=coded("stable_not_deployed")):
        register(2, tags=["stable"])


def test_each_rollback_returns_to_one_stable_version_before(manager, register):
    first, second, third = three_deployed(manager, register)
    assert manager.rollback("DDQN", "makespan rose").model_key == second
    assert manager.get_model(third).status == "validated"
    assert manager.rollback("DDQN", "rose still").model_key == first
    with pytest.raises(ModelConflict, check=coded("no_earlier_version")):
        manager.rollback("DDQN", "again")
    with pytest.raises(ModelNotFound, check=coded("no_stable_version", algorithm="GA")):
        manager.rollback("GA", "x")


def test_a_rollback_can_redeploy_a_retired_version_but_not_a_deleted_one(manager, register):
    first, second, _ = three_deployed(manager, register)
    for key in (first, second):
        manager.promote_model(key, "retired")
    manager.delete_model(second)
    back = manager.rollback("DDQN", "x")
    assert (back.model_key, back.status, back.tags) == (first, "deployed", ("stable",))


def test_a_deployed_or_tagged_model_cannot_be_deleted(manager, register):
    tagged, deployed, free = (register(number) for number in (1, 2, 3))
    manager.tag_model("canary", tagged)
    deploy(manager, deployed)
    with pytest.raises(ModelConflict, check=coded("model_has_tags", tags=["canary"])):
        manager.delete_model(tagged)
    with pytest.raises(ModelConflict, check=coded("model_is_stable")):
        manager.delete_model(deployed)
    manager.delete_model(free, reason="mistake", actor="li")
    assert {record.model_key for record in manager.list_models()} == {tagged, deployed}
    assert manager.resolve("latest") == deployed


@pytest.mark.only_folder
def test_a_deleted_model_is_in_the_trash_and_its_version_is_not_reused(manager, register, tmp_path):
    register(1)
    key = register(2)
    manager.delete_model(key)
    assert {path.name for path in (tmp_path / "models" / ".trash").iterdir()} == {f"{key}.pth", f"{key}.json"}
    assert not (tmp_path / "models" / "configs" / f"{key}.json").exists()
    assert register(2).endswith("_v1.2.0")
    with pytest.raises(ModelConflict, check=coded("version_taken", version="1.1.0")):
        register(3, version="1.1.0")


@pytest.mark.only_folder
def test_replaying_the_history_gives_the_current_state(manager, register, tmp_path):
    first, second = register(1, created_by="wang"), register(2)
    deploy(manager, first)
    deploy(manager, second)
    manager.rollback("DDQN", "告警: makespan 上升", actor="on-call")
    manager.tag_model("canary", second)
    manager.untag_model("canary")
    manager.delete_model(second)
    lines = [json.loads(line) for line in (tmp_path / "models" / "history.jsonl").read_text().splitlines()]
    assert [line["event"] for line in lines] == [
        "registered", "registered", "promoted", "promoted", "promoted", "promoted", "rolled_back", "tagged",
        "untagged", "deleted",
    ]  # fmt: skip
    assert lines[0]["actor"] == "wang"
    assert (lines[6]["actor"], lines[6]["reason"]) == ("on-call", "告警: makespan 上升")
    assert lines[6]["before"]["tags"] == {"DDQN:stable": second}
    assert lines[6]["after"]["status"] == {second: "validated", first: "deployed"}
    assert [line["time"] for line in lines] == sorted(line["time"] for line in lines)
    status, tags = {}, {}
    for line in lines:
        for state, part in ((status, "status"), (tags, "tags")):
            assert {name: state.get(name) for name in line["before"][part]} == line["before"][part]
            state.update(line["after"][part])
    present = {record.model_key: record.status for record in manager.list_models()}
    assert {key: value for key, value in status.items() if value} == present
    assert {tag: key for tag, key in tags.items() if key} == json.loads((tmp_path / "models" / "tags.json").read_text())


# --- loading ---


def test_a_loaded_model_builds_the_same_schedule_as_its_source_file(manager, register, weights):
    from scheduler_env.agent import load_agent

    key = register(1)
    loaded = manager.load_model("latest")
    assert (loaded.key, loaded.algorithm, loaded.version) == (key, "DDQN", "1.0.0")
    instance = standard_instance(SAMPLE_PARAMS)
    expected = load_agent(weights(1)).solve(instance).schedule
    assert loaded.agent.solve(instance).schedule.makespan_h == expected.makespan_h


def test_a_model_is_loaded_once_and_the_cache_is_limited(manager, register, monkeypatch, open_store):
    small = ModelVersionManager(store=open_store())
    small.loaded = LoadedModels(2)
    keys = [register(number) for number in (1, 2, 3)]
    first = small.load_model(keys[0])
    assert small.load_model("DDQN_v1.0") is first
    small.load_model(keys[1])
    small.load_model(keys[0])  # used again, so the second one is evicted
    small.load_model(keys[2])
    assert small.load_model(keys[0]) is first
    assert len(small.loaded._loaded) == 2


def test_a_promotion_by_another_manager_is_seen(manager, register, open_store):
    other = ModelVersionManager(store=open_store())
    first, second = register(1), register(2)

    def is_seen(key):
        return [record.model_key for record in other.list_models(tag="stable")] == [key]

    deploy(manager, first)
    until(lambda: is_seen(first))
    assert other.load_model("stable").key == first
    deploy(manager, second)
    until(lambda: is_seen(second))
    assert other.load_model("stable").key == second
    manager.rollback("DDQN", "x")
    until(lambda: is_seen(first))


# --- seeds ---


@pytest.fixture
def seed_dir(tmp_path, weights):
    folder = tmp_path / "seed"
    folder.mkdir()
    for number, (version, status, tags) in {
        1: ("1.0.0", "deployed", ["stable"]),
        2: ("2.0.0", "validated", ["canary"]),
    }.items():
        (folder / f"ddqn_v{number}.pth").write_bytes(weights(10 + number).read_bytes())
        card = {
            "algorithm_name": "DDQN", "version": version, "training_params": {"episodes": number},
            "performance_metrics": {"makespan": 60 - number}, "description": "seed", "created_by": "the project",
            "status": status, "tags": tags,
        }  # fmt: skip
        (folder / f"ddqn_v{number}.json").write_text(json.dumps(card))
        (folder / f"ddqn_v{number}.md").write_text("# card")
    return folder


def test_seed_models_have_their_status_and_tags(manager, seed_dir):
    manager.register_seed_models(seed_dir)
    second, first = manager.list_models()
    assert (first.version, first.status, first.tags) == ("1.0.0", "deployed", ("stable",))
    assert (second.version, second.status, second.tags) == ("2.0.0", "validated", ("canary", "latest"))


def test_seed_models_are_registered_once_and_never_changed(manager, seed_dir):
    before = {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in seed_dir.iterdir()}
    manager.register_seed_models(seed_dir)
    manager.register_seed_models(seed_dir)
    assert len(manager.history()) == 2
    assert {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in seed_dir.iterdir()} == before


def test_a_deleted_seed_is_not_registered_again(manager, seed_dir, open_store):
    manager.register_seed_models(seed_dir)
    manager.untag_model("canary")
    manager.delete_model("DDQN_v2.0")
    ModelVersionManager(store=open_store()).register_seed_models(seed_dir)
    assert [record.version for record in manager.list_models()] == ["1.0.0"]


def test_a_seed_takes_no_tag_from_other_models(manager, register, seed_dir):
    own = register(1, version="5.0.0", tags=["canary"])
    deploy(manager, own)
    manager.register_seed_models(seed_dir)
    assert {manager.resolve(tag) for tag in ("latest", "stable", "canary")} == {own}


def test_a_broken_seed_does_not_affect_the_others(manager, seed_dir, caplog):
    (seed_dir / "ddqn_v1.pth").write_bytes(b"not weights")
    (seed_dir / "aaa.json").write_text("{")
    manager.register_seed_models(seed_dir)
    assert [record.version for record in manager.list_models()] == ["2.0.0"]
    assert "ddqn_v1.pth" in caplog.text
    assert "aaa.json" in caplog.text


# --- cleanup and settings ---


@pytest.fixture
def keep_one(monkeypatch):
    monkeypatch.setattr(model_manager, "KEEP_LAST_VERSIONS", 1)


def test_a_cleanup_removes_only_models_long_retired_or_never_validated(manager, register, clock, keep_one):
    old, forgotten, tagged, validated, newest = (register(number) for number in (1, 2, 3, 4, 5))
    for key in (old, tagged, newest):
        manager.promote_model(key, "retired")
    manager.promote_model(validated, "validated")
    manager.tag_model("keep", tagged)
    clock.now += timedelta(days=364)
    assert manager.cleanup() == []
    clock.now += timedelta(days=2)
    assert manager.cleanup(dry_run=True) == [old, forgotten]
    assert len(manager.list_models()) == 5
    assert manager.cleanup() == [old, forgotten]
    assert {record.model_key for record in manager.list_models()} == {tagged, validated, newest}
    assert manager.history()[-1].actor == "cleanup"


def test_a_cleanup_keeps_the_newest_versions_of_any_age(manager, register, clock, monkeypatch):
    keys = [register(number) for number in range(1, 5)]
    clock.now += timedelta(days=1000)
    assert manager.cleanup(dry_run=True) == []
    monkeypatch.setattr(model_manager, "KEEP_LAST_VERSIONS", 3)
    assert manager.cleanup() == keys[:1]


def experiments_of(tmp_path, **members):
    return (tmp_path / "ab_test_config.json").write_text(json.dumps(members))


@pytest.mark.only_folder
def test_models_needed_by_an_experiment_or_as_default_are_not_removed(manager, register, clock, keep_one, tmp_path):
    default, arm, over, ambiguous, _ = (register(number, version=f"{number}.0") for number in range(1, 6))
    clock.now += timedelta(days=400)
    definition = {"model_a": "DDQN_v1.0", "start_time": clock.now.isoformat(), "duration_days": 7}
    experiments = {
        "runs": {**definition, "model_b": "DDQN_v2.0", "status": "paused"},
        "over": {**definition, "model_b": "DDQN_v3.0", "status": "concluded"},
    }
    experiments_of(tmp_path, experiments=experiments, default_model="DDQN_v4")
    assert manager.cleanup(dry_run=True) == [over]
    for key, use in ((arm, coded("used_by_experiment", experiment="runs")), (ambiguous, coded("used_as_default"))):
        with pytest.raises(ModelConflict, check=use):
            manager.delete_model(key)
    clock.now += timedelta(days=8)
    assert manager.cleanup() == [default, arm, over], "the experiment has ended"


@pytest.mark.only_folder
def test_nothing_is_removed_while_the_experiments_file_is_broken(manager, register, clock, keep_one, tmp_path, caplog):
    old = register(1)
    clock.now += timedelta(days=400)
    (tmp_path / "ab_test_config.json").write_text("{")
    with pytest.raises(StorageUnavailable, check=coded("users_unknown")):
        manager.cleanup()
    register(2)
    assert "the cleanup after a registration failed" in caplog.text
    assert old in {record.model_key for record in manager.list_models()}


def test_a_cleanup_keeps_the_target_of_a_rollback(manager, register, clock, keep_one):
    first, _ = (deploy(manager, register(number)).model_key for number in (1, 2))
    manager.promote_model(first, "retired")
    clock.now += timedelta(days=1000)
    assert manager.cleanup() == []
    assert manager.rollback("DDQN", "x").model_key == first


@pytest.mark.parametrize(("enabled", "days", "remains"), [(True, 365, False), (False, 365, True), (True, 5000, True)])
def test_the_guides_constants_apply_to_the_next_registration(
    manager, register, clock, monkeypatch, keep_one, enabled, days, remains
):
    monkeypatch.setattr(model_manager, "AUTO_CLEANUP_ENABLED", enabled)
    monkeypatch.setattr(model_manager, "METADATA_RETENTION_DAYS", days)
    old = register(1)
    manager.promote_model(old, "retired")
    clock.now += timedelta(days=400)
    register(2)
    assert (old in {record.model_key for record in manager.list_models()}) == remains


def test_models_are_stored_in_the_home_folder_or_where_the_guides_constant_says(tmp_path, monkeypatch):
    monkeypatch.setattr(opening, "settings_from_environment", lambda: Settings(home=tmp_path / "home"))
    ModelVersionManager()
    assert {path.name for path in (tmp_path / "home" / "models").iterdir()} >= {"models", "metadata", "configs"}
    monkeypatch.setattr(model_manager, "MODEL_BASE_PATH", str(tmp_path / "elsewhere"))
    ModelVersionManager()
    assert (tmp_path / "elsewhere" / "metadata").is_dir()
