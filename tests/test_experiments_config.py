"""`ab_test_config.json`: the guide's file, edited by hand and by several processes at once."""

import json
import logging
import os
import subprocess
import textwrap
import time

import pytest

from ab_testing import ABTestManager
from scheduler_service.clock import parse_time
from scheduler_service.errors import InvalidExperiment, StorageUnavailable
from scheduler_service.experiments.config import DEFAULT_MODEL, parse, validate
from scheduler_service.settings import PROJECT_ROOT
from tests.codes import coded
from tests.programs import start_python

# As in GUIDE.zh.md, including the comment.
GUIDE_FILE = """\
// ab_test_config.json
{
    "experiments": {
        "ddqn_v1_vs_v2": {
            "name": "ddqn_v1_vs_v2",
            "model_a": "DDQN_v1.0",
            "model_b": "DDQN_v2.0",
            "traffic_split": {"model_a": 0.7, "model_b": 0.3},
            "success_metric": "makespan",
            "start_time": "2024-01-01T00:00:00",
            "duration_days": 7,
            "status": "active"
        }
    },
    "default_model": "DDQN_v1.0"
}
"""


@pytest.fixture
def path(tmp_path):
    return tmp_path / "ab_test_config.json"


@pytest.fixture
def guide(path):
    path.write_text(GUIDE_FILE, encoding="utf-8")
    return ABTestManager(path)


def edit(path, change):
    """Change the file as a person with an editor does."""
    document = parse(path.read_bytes())
    change(document)
    path.write_text(json.dumps(document, ensure_ascii=False), encoding="utf-8")


# --- reading ---


def test_the_guides_file_is_accepted_unchanged(guide):
    assert guide.config_problem is None
    assert guide.default_model == "DDQN_v1.0"
    experiment = guide.get_experiment("ddqn_v1_vs_v2")
    assert (experiment.model_a, experiment.model_b) == ("DDQN_v1.0", "DDQN_v2.0")
    assert experiment.traffic_split == {"model_a": 0.7, "model_b": 0.3}
    assert experiment.status == "completed"  # its seven days of 2024 are over
    assert guide.config["experiments"]["ddqn_v1_vs_v2"]["status"] == "active"  # the word in the file


def test_the_shipped_file_is_valid():
    assert validate(parse((PROJECT_ROOT / "ab_test_config.json").read_bytes())).experiments == {}


def test_a_start_without_an_offset_is_local_time(path, set_time_zone):
    set_time_zone("Asia/Shanghai")
    path.write_text(GUIDE_FILE, encoding="utf-8")
    assert ABTestManager(path).get_experiment("ddqn_v1_vs_v2").start_time == parse_time("2023-12-31T16:00:00+00:00")


def test_a_missing_file_means_no_experiments_and_the_built_in_default_model(path):
    manager = ABTestManager(path)
    assert (manager.list_experiments(), manager.default_model) == ([], DEFAULT_MODEL)
    assert manager.config_problem is None
    assert not path.exists()


def test_a_byte_order_mark_is_accepted(path):
    path.write_text(GUIDE_FILE, encoding="utf-8-sig")
    assert ABTestManager(path).config_problem is None


def test_an_edit_by_hand_applies_to_the_next_request(guide, path):
    edit(path, lambda document: document.update(default_model="DDQN_v9.0"))
    assert guide.get_model_for_request(None, "user_1") == "DDQN_v9.0"


def test_edits_within_one_clock_tick_of_the_file_system_are_all_seen(guide, path):
    tick = time.time_ns() + 10**10  # far enough ahead to hold on a slow machine
    seen = []
    for number in range(100, 150):
        path.write_text(f'{{"default_model": "M{number}"}}', encoding="utf-8")  # same size, same inode
        os.utime(path, ns=(tick, tick))
        seen.append(guide.default_model)
    assert seen == [f"M{number}" for number in range(100, 150)]


def test_another_manager_sees_a_change_immediately(guide, path):
    other = ABTestManager(path)
    other.config["default_model"] = "DDQN_v3.0"
    assert guide.default_model == "DDQN_v3.0"


# --- a broken file ---

BROKEN = {
    "cut off": GUIDE_FILE[:200],
    "empty": "",
    "not an object": "[]",
    "a split of 1.1": GUIDE_FILE.replace('"model_b": 0.3', '"model_b": 0.4'),
    "a share for an unknown arm": GUIDE_FILE.replace('"model_b": 0.3', '"model_c": 0.3'),
    "NaN": GUIDE_FILE.replace('"duration_days": 7', '"duration_days": NaN'),
    "an unknown status": GUIDE_FILE.replace('"active"', '"running"'),
    "no time": GUIDE_FILE.replace("2024-01-01T00:00:00", "New Year"),
    "a time that UTC cannot hold": GUIDE_FILE.replace("2024-01-01T00:00:00", "0001-01-01T00:00:00+14:00"),
    "two names": GUIDE_FILE.replace('"name": "ddqn_v1_vs_v2"', '"name": "other"'),
    "a key written twice": GUIDE_FILE.replace('"default_model"', '"default_model": "x", "default_model"'),
    "a list for the experiments": '{"experiments": [], "default_model": "DDQN_v1.0"}',
    "a default model of no name": '{"experiments": {}, "default_model": ""}',
    "nested too deep": "[" * 100_000,
}


@pytest.mark.parametrize("text", BROKEN.values(), ids=BROKEN.keys())
def test_a_broken_file_keeps_the_last_valid_one_and_is_reported(guide, path, text, caplog):
    path.write_text(text, encoding="utf-8")
    with caplog.at_level(logging.WARNING):
        assert guide.default_model == "DDQN_v1.0"
        assert guide.default_model == "DDQN_v1.0"
    assert [experiment.name for experiment in guide.list_experiments()] == ["ddqn_v1_vs_v2"]
    assert str(path) in guide.config_problem
    assert len(caplog.records) == 1  # logged once, not per request
    path.write_text(GUIDE_FILE.replace("DDQN_v1.0", "DDQN_v5.0"), encoding="utf-8")
    assert (guide.default_model, guide.config_problem) == ("DDQN_v5.0", None)


def test_a_broken_file_is_never_overwritten(guide, path):
    path.write_text(GUIDE_FILE[:200], encoding="utf-8")
    with pytest.raises(StorageUnavailable, check=coded("file_needs_repair")):
        guide.config["default_model"] = "DDQN_v2.0"
    with pytest.raises(StorageUnavailable, check=coded("file_needs_repair")):
        guide.create_experiment("another", "DDQN_v1.0", "DDQN_v2.0")
    assert path.read_text(encoding="utf-8") == GUIDE_FILE[:200]


def test_a_start_with_a_broken_file_serves_the_built_in_default_model(path):
    path.write_text("{", encoding="utf-8")
    manager = ABTestManager(path)
    assert manager.get_model_for_request("ddqn_v1_vs_v2", "user_1") == DEFAULT_MODEL
    assert manager.config_problem is not None


def test_a_deleted_file_is_reported_and_written_again_with_the_next_change(guide, path):
    path.unlink()
    assert guide.default_model == "DDQN_v1.0"
    assert "vanished" in guide.config_problem
    guide.config["default_model"] = "DDQN_v2.0"
    assert guide.config_problem is None
    assert ABTestManager(path).get_experiment("ddqn_v1_vs_v2").model_b == "DDQN_v2.0"


# --- the mapping ---


def test_assigning_the_default_model_is_written_immediately(guide, path):
    guide.config["default_model"] = "DDQN_v2.0"
    assert json.loads(path.read_text(encoding="utf-8"))["default_model"] == "DDQN_v2.0"
    assert guide.config["default_model"] == guide.default_model == "DDQN_v2.0"


def test_deleting_the_default_model_restores_the_built_in_one(guide):
    del guide.config["default_model"]
    assert "default_model" not in guide.config
    assert guide.default_model == DEFAULT_MODEL
    with pytest.raises(KeyError):
        guide.config["default_model"]


def test_an_experiment_can_be_deleted_and_changed_through_the_mapping(guide, path):
    guide.config["experiments"]["ddqn_v1_vs_v2"]["duration_days"] = 30
    guide.config["experiments"]["ddqn_v1_vs_v2"]["traffic_split"] = {"model_a": 0.5, "model_b": 0.5}
    assert ABTestManager(path).get_experiment("ddqn_v1_vs_v2").traffic_split["model_b"] == 0.5
    assert ABTestManager(path).get_experiment("ddqn_v1_vs_v2").duration_days == 30
    del guide.config["experiments"]["ddqn_v1_vs_v2"]
    assert ABTestManager(path).list_experiments() == []


def test_the_mapping_behaves_like_a_dict(guide):
    assert list(guide.config) == ["experiments", "default_model"]
    assert len(guide.config) == 2
    assert guide.config.get("rollout") is None
    assert "'DDQN_v1.0'" in repr(guide.config)


@pytest.mark.parametrize("value", ["", None, 7, ["DDQN_v1.0"]])
def test_what_is_assigned_is_checked_before_it_is_written(guide, path, value):
    with pytest.raises(InvalidExperiment) as caught:
        guide.config["default_model"] = value
    assert caught.value.errors[0][0] == ("default_model",)
    with pytest.raises(InvalidExperiment) as caught:
        guide.config["experiments"]["ddqn_v1_vs_v2"]["traffic_split"]["model_a"] = 0.9
    assert caught.value.errors[0][0] == ("experiments", "ddqn_v1_vs_v2", "traffic_split")
    assert path.read_text(encoding="utf-8") == GUIDE_FILE


def test_unknown_members_survive_changes_by_the_service(guide, path):
    def annotate(document):
        document["_负责人"] = "张三"
        document["experiments"]["ddqn_v1_vs_v2"]["_note"] = {"why": ["试点", 1]}

    edit(path, annotate)
    guide.config["default_model"] = "DDQN_v2.0"
    guide.create_experiment("another", "DDQN_v1.0", "DDQN_v2.0")
    document = json.loads(path.read_text(encoding="utf-8"))
    assert document["_负责人"] == "张三"
    assert document["experiments"]["ddqn_v1_vs_v2"]["_note"] == {"why": ["试点", 1]}
    assert document["experiments"]["ddqn_v1_vs_v2"]["start_time"] == "2024-01-01T00:00:00"


@pytest.mark.parametrize(
    ("place", "name", "meant"),
    [
        ((), "default_modle", "default_model"),
        ((), "experiment", "experiments"),
        (("experiments", "ddqn_v1_vs_v2"), "coverge", "coverage"),
        (("experiments", "ddqn_v1_vs_v2"), "exclude_users", "excluded_users"),
        (("experiments", "ddqn_v1_vs_v2", "rollout"), "min_hour", "min_hours"),
    ],
)
def test_a_misspelled_name_is_reported_and_the_last_valid_file_stays(guide, path, place, name, meant):
    def misspell(document):
        document["experiments"]["ddqn_v1_vs_v2"].update({"rollout": {}} if "rollout" in place else {})
        if "rollout" in place:
            del document["experiments"]["ddqn_v1_vs_v2"]["traffic_split"]
        node = document
        for key in place:
            node = node[key]
        node[name] = 0.1

    before = guide.get_experiment("ddqn_v1_vs_v2")
    edit(path, misspell)
    assert guide.get_experiment("ddqn_v1_vs_v2") == before
    assert f"there is no '{name}'; the nearest is '{meant}'" in guide.config_problem


# --- several processes ---


def test_several_processes_that_write_at_once_lose_nothing(path):
    code = textwrap.dedent(
        """
        import sys
        from ab_testing import ABTestManager
        manager = ABTestManager(sys.argv[1])
        print("ready", flush=True)
        sys.stdin.readline()
        for number in range(10):
            manager.create_experiment(f"p{sys.argv[2]}_{number}", "DDQN_v1.0", "DDQN_v2.0")
            manager.config[f"_note_{sys.argv[2]}"] = number
        """
    )
    writers = [
        start_python("-c", code, str(path), str(writer), stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        for writer in range(3)
    ]
    for writer in writers:
        assert writer.stdout.readline() == "ready\n"
    reader = ABTestManager(path)
    for writer in writers:
        writer.stdin.write("go\n")
        writer.stdin.flush()
    problems = set()
    while any(writer.poll() is None for writer in writers):
        problems.add(reader.config_problem)
    assert [writer.wait() for writer in writers] == [0, 0, 0]
    expected = {f"p{writer}_{number}" for writer in range(3) for number in range(10)}
    assert {experiment.name for experiment in reader.list_experiments()} == expected
    assert [reader.config[f"_note_{writer}"] for writer in range(3)] == [9, 9, 9]
    assert problems == {None}  # half a file was never read


def test_a_file_too_large_to_read_back_is_not_written(tmp_path):
    path = tmp_path / "ab_test_config.json"
    manager = ABTestManager(path)
    many = [f"{number:05d}-{'x' * 194}" for number in range(30_000)]
    for name in ("one", "two"):
        manager.create_experiment(name, "A", "B", excluded_users=many)
    before = path.read_bytes()
    with pytest.raises(InvalidExperiment, check=coded("file_too_large", limit=16 * 2**20)):
        manager.create_experiment("three", "A", "B", excluded_users=many)
    assert path.read_bytes() == before
    assert ABTestManager(path).config_problem is None
    manager.pause_experiment("one")
