"""Possible problems of the registry's files, their detection and repair; and the command line."""

import json
import os
import shutil
import signal
import subprocess

import pytest

from model_manager import ModelVersionManager
from scheduler_service.clock import utc_now
from scheduler_service.command_line import table
from scheduler_service.registry.cli import main
from scheduler_service.registry.fsck import fsck
from scheduler_service.registry.store import RegistryStore
from scheduler_service.settings import PROJECT_ROOT, Settings
from scheduler_service.store.folder import FolderStore
from tests import preloaded
from tests.checkpoints import write_checkpoint
from tests.programs import run_python
from tests.waiting import HANG_S

pytestmark = pytest.mark.usefixtures("no_fsync")
SEEDS = Settings().seed_models_dir


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    """A registry of three models, the second deployed; and their keys."""
    base = tmp_path_factory.mktemp("sound")
    manager = ModelVersionManager(base / "models")
    keys = [
        manager.register_model(write_checkpoint(base / f"w{number}.pth", number), "DDQN", {"n": number}, {})
        for number in (1, 2, 3)
    ]
    for status in ("validated", "deployed"):
        manager.promote_model(keys[1], status)
    manager.tag_model("canary", keys[0])
    return base / "models", keys


@pytest.fixture
def base(sound, tmp_path):
    shutil.copytree(sound[0], tmp_path / "models")
    return tmp_path / "models"


@pytest.fixture
def keys(sound):
    return sound[1]


def kinds(base, *, mend=False):
    found = fsck(RegistryStore(FolderStore(base.parent), base.name, utc_now), mend=mend)
    assert all(problem.to_dict().keys() >= {"message", "remedy", "code", "params"} for problem in found)
    return [(problem.kind, problem.subject, problem.is_mendable) for problem in found]


def test_an_intact_registry_has_no_problems(base):
    assert kinds(base) == []


def temporary_file(base, keys):
    (base / "metadata" / ".x.json.123.tmp").write_text("{")
    return [("leftover", ".x.json.123.tmp", True)]


def old_copy(base, keys):
    file = base / ".incoming" / "0123.pth"
    file.write_text("half")
    os.utime(file, (1, 1))
    return [("leftover", "0123.pth", True)]


def weights_of_nobody(base, keys):
    (base / "models" / "DDQN_00000000_v9.0.0.pth").write_text("x")
    return [("orphan", "DDQN_00000000_v9.0.0", True)]


def configuration_of_nobody(base, keys):
    (base / "configs" / "mine.json").write_text("{}")
    return [("orphan", "mine", True)]


def missing_weights(base, keys):
    (base / "models" / f"{keys[2]}.pth").unlink()
    return [("missing", keys[2], True)]


def changed_weights(base, keys):
    shutil.copy(base / "models" / f"{keys[1]}.pth", base / "models" / f"{keys[0]}.pth")
    return [("damaged", keys[0], True)]


def missing_configuration(base, keys):
    (base / "configs" / f"{keys[0]}.json").unlink()
    return [("missing", keys[0], True)]


def changed_configuration(base, keys):
    (base / "configs" / f"{keys[0]}.json").write_text('{"n": 99}')
    return [("damaged", keys[0], True)]


def broken_configuration(base, keys):
    (base / "configs" / f"{keys[0]}.json").write_text("{")
    return [("damaged", keys[0], True)]


def tag_of_nobody(base, keys):
    tags = json.loads((base / "tags.json").read_text())
    (base / "tags.json").write_text(json.dumps({**tags, "DDQN:lost": "DDQN_00000000_v9.0.0"}))
    return [("tag", "DDQN:lost", True)]


def status_by_hand(base, keys):
    file = base / "metadata" / f"{keys[0]}.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "status": "retired"}))
    return [("history", keys[0], True)]


def tag_by_hand(base, keys):
    tags = json.loads((base / "tags.json").read_text())
    (base / "tags.json").write_text(json.dumps({**tags, "DDQN:canary": keys[2]}))
    return [("history", "DDQN:canary", True)]


def model_without_history(base, keys):
    history = base / "history.jsonl"
    history.write_text("".join(line for line in history.open() if keys[2] not in line))
    return [("history", keys[2], True), ("history", "DDQN:latest", True)]


@pytest.mark.parametrize(
    "harm",
    [
        temporary_file, old_copy, weights_of_nobody, configuration_of_nobody, missing_weights, changed_weights,
        missing_configuration, changed_configuration, broken_configuration, tag_of_nobody, status_by_hand, tag_by_hand,
        model_without_history,
    ],
    ids=lambda harm: harm.__name__,
)  # fmt: skip
def test_repairable_problems_are_found_and_repaired(base, keys, harm):
    expected = harm(base, keys)
    assert kinds(base) == expected
    assert kinds(base) == expected, "a check changes nothing"
    kinds(base, mend=True)
    assert kinds(base) == []
    assert ModelVersionManager(base).resolve("stable") == keys[1]


def broken_metadata(base, keys):
    (base / "metadata" / f"{keys[2]}.json").write_text("{")
    return ("damaged", keys[2], False)


def missing_weights_of_the_live_model(base, keys):
    (base / "models" / f"{keys[1]}.pth").unlink()
    return ("missing", keys[1], False)


def unreadable_history(base, keys):
    with open(base / "history.jsonl", "a") as history:
        history.write("garbage\n")
    return ("history", "history.jsonl", False)


def stable_that_is_not_deployed(base, keys):
    tags = json.loads((base / "tags.json").read_text())
    (base / "tags.json").write_text(json.dumps({**tags, "DDQN:stable": keys[0]}))
    return ("tag", "DDQN:stable", False)


@pytest.mark.parametrize(
    "harm",
    [broken_metadata, missing_weights_of_the_live_model, unreadable_history, stable_that_is_not_deployed],
    ids=lambda harm: harm.__name__,
)
def test_other_problems_are_reported_and_not_changed(base, keys, harm):
    expected = harm(base, keys)
    assert expected in kinds(base)
    assert expected in kinds(base, mend=True)
    assert expected in kinds(base)


def test_an_intact_copy_in_the_trash_is_restored(base, keys):
    file = base / "models" / f"{keys[1]}.pth"
    shutil.move(file, base / ".trash" / file.name)
    assert kinds(base, mend=True) == [("missing", keys[1], True)]
    assert ModelVersionManager(base).load_model("stable").key == keys[1]


def test_an_interrupted_change_is_found_and_finished(base, keys):
    """The process dies after the change was written down, before its first file was."""
    code = (
        "import os, signal\nfrom model_manager import ModelVersionManager\n"
        "from scheduler_service.store.folder import FolderStore\n"
        "manager = ModelVersionManager(os.environ['BASE'])\n"
        "FolderStore._apply = lambda *_: os.kill(os.getpid(), signal.SIGKILL)\n"
        "manager.tag_model('canary', os.environ['KEY'])\n"
    )
    environment = os.environ | {"BASE": str(base), "KEY": keys[2]}
    ended = run_python("-c", code, env=environment)
    assert ended.returncode == -signal.SIGKILL
    assert kinds(base) == [("unfinished", ".pending.json", True)]
    kinds(base, mend=True)
    assert kinds(base) == []
    assert ModelVersionManager(base).resolve("canary") == keys[2]


# --- the command line ---


@pytest.fixture
def cli(base, capsys):
    def run(*arguments):
        command, *rest = arguments
        status = main(ModelVersionManager, [command, "--models", str(base), *rest])
        output = capsys.readouterr()
        return status, output.out, output.err

    return run


def test_the_list_shows_measured_beside_claimed_metrics(cli, base):
    cli("register", str(SEEDS / "ddqn_v1.pth"), "--params", '{"x": 1}', "--metrics", '{"makespan": 42.5}')
    status, out, _ = cli("list")
    lines = out.splitlines()
    assert status == 0
    assert lines[0].split()[:2] == ["model", "status"]
    assert "42.50!" in lines[2]
    assert "4 models" in out
    assert len(json.loads(cli("list", "--json")[1])) == 4
    assert len(json.loads(cli("list", "--json", "--status", "deployed")[1])) == 1


def test_the_life_of_a_model_on_the_command_line(cli, keys):
    assert cli("promote", keys[0], "validated", "--reason", "good", "--actor", "li")[0] == 0
    assert cli("promote", keys[0], "deployed")[1].strip() == f"{keys[0]} is deployed"
    assert cli("rollback", "DDQN", "--reason", "worse")[1].strip() == f"DDQN:stable is {keys[1]} again"
    assert cli("tag", "blue", keys[2])[0] == 0
    assert cli("tag", "blue", "--remove")[1].strip() == "no model bears blue any more"
    shown = json.loads(cli("history", "--json")[1])
    assert [event["event"] for event in shown["events"][:3]] == ["untagged", "tagged", "rolled_back"]
    assert shown["live"]["DDQN"]["model_key"] == keys[1]
    assert "worse" in cli("history")[1]
    assert f"live: {keys[1]} since" in cli("history", keys[0])[1]
    assert "measured     makespan:" in cli("show", "stable")[1]
    assert cli("cleanup", "--dry-run")[1].strip() == "0 models would be removed"


def test_the_live_model_at_a_given_time_is_shown(cli, keys):
    assert json.loads(cli("history", "--json", "--at", "2020-01-01")[1]) == {"events": [], "live": {}}


def test_a_comparison_names_the_better_model(cli):
    for name in ("ddqn_v1", "ddqn_v2"):
        cli(
            "register",
            str(SEEDS / f"{name}.pth"),
            "--params",
            json.dumps({"seed": name}),
            "--tag",
            name.replace("_v", "x"),
        )
    status, out, _ = cli("compare", "ddqnx1", "ddqnx2", "--instances", "8", "--sizes", "1", "2", "5")
    assert status == 0
    assert "is better: its schedules are" in out.splitlines()[-1]
    found = json.loads(cli("compare", "--json", "ddqnx1", "ddqnx2", "--instances", "8", "--sizes", "1", "2", "5")[1])
    swapped = json.loads(cli("compare", "--json", "ddqnx2", "ddqnx1", "--instances", "8", "--sizes", "1", "2", "5")[1])
    assert found["low"] <= found["mean_ratio"] <= found["high"] < 1.0
    assert (found["wins"], found["losses"]) == (swapped["losses"], swapped["wins"])
    assert found["mean_ratio"] == pytest.approx(1 / swapped["mean_ratio"])
    same = json.loads(cli("compare", "--json", "ddqnx1", "ddqnx1", "--instances", "3", "--sizes", "1")[1])
    assert (same["ties"], same["low"], same["mean_ratio"]) == (3, None, 1.0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["show", "nothing"], "no model is called 'nothing'"),
        (["promote", "DDQN_v1", "deployed"], "may become: validated, retired"),
        (["register", "/no/such/file"], "does not exist"),
        (["rollback", "GA"], "nothing to roll back"),
        (["compare", "DDQN_v1", "DDQN_v2", "--sizes", "99"], "within 1..50"),
    ],
)
def test_a_refusal_is_one_line_and_exit_status_1(cli, arguments, message):
    status, out, err = cli(*arguments)
    assert (status, out) == (1, "")
    assert err.startswith("error: ")
    assert message in err


@pytest.mark.parametrize(
    "arguments", [[], ["explode"], ["tag", "x"], ["register", "x", "--params", "{"], ["promote", "x", "y"]]
)
def test_an_invalid_command_line_ends_with_2(arguments, capsys):
    with pytest.raises(SystemExit) as ended:
        main(ModelVersionManager, arguments)
    assert ended.value.code == 2
    assert "usage:" in capsys.readouterr().err


def test_fsck_ends_with_1_while_there_is_a_problem(cli, base, keys):
    assert cli("fsck")[0] == 0
    missing_configuration(base, keys)
    status, out, _ = cli("fsck")
    assert status == 1
    assert "is missing" in out
    assert cli("fsck", "--mend")[0] == 0
    assert json.loads(cli("fsck", "--json")[1]) == {"found": [], "left": []}


def test_leftovers_of_a_crash_are_no_problem(cli, base, keys):
    for residue in (temporary_file, old_copy, weights_of_nobody):
        residue(base, keys)
    status, out, _ = cli("fsck")
    assert status == 0, out


def test_a_closed_output_pipe_causes_no_traceback(base):
    command = [preloaded.python(), "-m", "model_manager", "list", "--models", str(base)]
    process = subprocess.Popen(command, cwd=PROJECT_ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    process.stdout.close()
    assert process.stderr.read() == ""
    assert process.wait(timeout=HANG_S) == 0


def test_the_module_runs_as_a_program(base):
    assert "3 models" in run_python("-m", "model_manager", "list", "--models", str(base)).stdout
    missing = run_python("-m", "model_manager", "list", "--models", str(base / "nowhere"))
    assert (missing.returncode, missing.stdout) == (1, "")
    assert not (base / "nowhere").exists()


def test_columns_are_aligned_with_chinese_text():
    lines = table(("name", "n"), [("团队", 1), ("team", 22)]).splitlines()
    assert lines == ["name  n", "----  --", "团队  1", "team  22"]
