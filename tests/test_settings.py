"""Settings: from the environment or flags, with safe defaults."""

import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import ValidationError

from enhanced_flask import settings_from_arguments
from scheduler_service.settings import (
    PROJECT_ROOT,
    Settings,
    settings_from_environment,
    settings_table,
    unknown_variables,
)
from tests.conftest import live_service


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch):
    for name in Settings.model_fields:
        monkeypatch.delenv(f"SCHED_{name.upper()}", raising=False)
    settings_from_environment.cache_clear()
    yield
    settings_from_environment.cache_clear()


def test_the_default_is_localhost_5001_with_the_project_folder():
    settings = Settings()
    assert (settings.host, settings.port, settings.workers) == ("127.0.0.1", 5001, 1)
    assert settings.home == PROJECT_ROOT
    assert settings.database_file == PROJECT_ROOT / "logs" / "performance.db"
    assert settings.ab_config_file == PROJECT_ROOT / "ab_test_config.json"


def test_the_environment_is_read(monkeypatch, tmp_path):
    monkeypatch.setenv("SCHED_HOME", str(tmp_path))
    monkeypatch.setenv("SCHED_PORT", "8080")
    monkeypatch.setenv("SCHED_CORS_ORIGINS", "https://a.example, https://b.example")
    settings = Settings()
    assert settings.models_dir == tmp_path / "models"
    assert settings.port == 8080
    assert settings.cors_origins == ("https://a.example", "https://b.example")


def test_a_flag_overrides_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("SCHED_PORT", "8080")
    monkeypatch.setenv("SCHED_LOG_LEVEL", "DEBUG")
    settings = settings_from_arguments(["--port", "9090", "--home", str(tmp_path), "--workers", "2"])
    assert (settings.port, settings.workers, settings.home, settings.log_level) == (9090, 2, tmp_path, "DEBUG")


def test_a_relative_home_becomes_absolute(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert settings_from_arguments(["--home", "here"]).home == tmp_path / "here"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PORT", "70000"),
        ("PORT", "x"),
        ("WORKERS", "0"),
        ("REPLICAS", "0"),
        ("LOG_TO", "syslog"),
        ("COMPUTE_THREADS", "-1"),
        ("LOG_LEVEL", "LOUD"),
    ],
)
def test_invalid_settings_are_refused(monkeypatch, name, value):
    monkeypatch.setenv(f"SCHED_{name}", value)
    with pytest.raises(ValidationError, match=name.lower()):
        Settings()


def test_an_unknown_variable_is_reported_with_the_most_similar_setting():
    names = ["SCHED_API_KEY", "sched_port", "SCHED_HOME", "SCHED_XYZZY", "SCHEDULER_SERVICE_HOST", "PATH"]
    assert unknown_variables(names) == [
        "the variable SCHED_API_KEY is no setting of this service; did you mean SCHED_API_KEYS?",
        "the variable SCHED_XYZZY is no setting of this service; `python enhanced_flask.py --help` names them",
    ]


@pytest.mark.parametrize("workers", ["1", "2"])
def test_unknown_variables_are_reported_at_the_start(tmp_path, workers):
    with live_service(tmp_path, environment={"SCHED_RATE_LIMITS": "1"}, arguments=["--workers", workers]) as running:
        message = "the variable SCHED_RATE_LIMITS is no setting of this service; did you mean SCHED_RATE_LIMIT?"
        assert running.wait_for_log(message).count(message) == 1


def test_a_log_level_may_be_lower_case(monkeypatch):
    monkeypatch.setenv("SCHED_LOG_LEVEL", "warning")
    assert Settings().log_level == "WARNING"


def test_the_table_shows_defaults_and_limits_in_the_format_of_the_variables():
    rows = {row.split("`")[1]: row for row in settings_table().splitlines()[2:]}
    assert set(rows) == {f"SCHED_{name.upper()}" for name in Settings.model_fields}
    assert "| `5001` | 0 to 65,535 |" in rows["SCHED_PORT"]
    assert "| `false` | true, false |" in rows["SCHED_AUTO_ROLLBACK"]
    assert "| `24` | above 0, to 8,760 |" in rows["SCHED_ALERT_REMIND_H"]
    assert "| `8388608` | at least 1,024 |" in rows["SCHED_MAX_BODY_BYTES"]
    assert "| `zh` | zh, en |" in rows["SCHED_ALERT_LANG"]
    assert "|  |  | Secret that signs" in rows["SCHED_ALERT_FEISHU_SECRET"]
    assert r"\<kind>=\<url>" in rows["SCHED_ALERT_WEBHOOKS"], "escaped, otherwise Markdown would treat it as HTML"


def test_an_invalid_flag_ends_with_a_message(capsys):
    with pytest.raises(SystemExit):
        settings_from_arguments(["--port", "70000"])
    assert "--port" in capsys.readouterr().err


def test_every_setting_has_a_description():
    assert all(field.description for field in Settings.model_fields.values())


def test_help_lists_every_flag():
    output = subprocess.run(
        [sys.executable, "enhanced_flask.py", "--help"], cwd=PROJECT_ROOT, capture_output=True, text=True, check=True
    ).stdout
    assert all(flag in output for flag in ("--host", "--port", "--workers", "--home"))


def test_the_seed_models_are_those_of_the_project():
    assert Settings(home=Path("/somewhere/else")).seed_models_dir == PROJECT_ROOT / "models" / "seed"
