"""What people write in JSON is read strictly wherever it is read: nothing that they wrote is dropped."""

import subprocess

import pytest

from scheduler_env import training
from scheduler_env.baselines import InvalidBaseline, load_baseline
from scheduler_env.values import strict_json
from tests import preloaded


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"a": 1, "a": 2}', "the key 'a' is written twice"),
        ('[{"b": {"a": 1, "a": 1}}]', "the key 'a' is written twice"),
        ("NaN", "NaN is not a number of JSON"),
        ("[-Infinity]", "-Infinity is not a number of JSON"),
        ("{", "property name"),
    ],
)
def test_json_that_says_no_one_thing_is_refused(text, words):
    with pytest.raises(ValueError, match=words):
        strict_json(text)


def test_json_that_says_one_thing_is_taken():
    assert strict_json(b'{"a": [1, 2.5, null, "\xe5\xb7\xa5"]}') == {"a": [1, 2.5, None, "工"]}


def test_a_baseline_that_says_a_thing_twice_is_refused(tmp_path):
    path = tmp_path / "rule.json"
    path.write_text('{"format": "scheduler-baseline/1", "algorithm": "GA", "algorithm": "RULE", "parameters": {}}')
    with pytest.raises(InvalidBaseline, match="the key 'algorithm' is written twice"):
        load_baseline(path, "RULE")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "No such file"),
        ("{", "cannot be read"),
        ("[1]", "does not contain a JSON object"),
        ('{"seed": 1, "seed": 2}', "the key 'seed' is written twice"),
        ('{"training_params": 3}', "does not contain a JSON object"),
        ('{"updatez": 3}', "updatez"),
    ],
)
def test_a_configuration_that_trains_nothing_ends_with_a_reason(tmp_path, capsys, content, words):
    path = tmp_path / "config.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(SystemExit) as ended:
        training.main(["--config", str(path), "--out", str(tmp_path / "x.pth"), "--run-dir", str(tmp_path / "run")])
    assert ended.value.code == 2
    assert words in capsys.readouterr().err


def test_the_registrys_command_line_takes_no_object_that_says_a_thing_twice():
    command = [preloaded.python(), "-m", "model_manager", "register", "x.pth", "--params", '{"lr": 1, "lr": 2}']
    told = subprocess.run(command, capture_output=True, text=True, check=False)
    assert told.returncode == 2
    assert "the key 'lr' is written twice" in told.stderr
