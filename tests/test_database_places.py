"""Where a database is: addresses and paths are told apart at every door, and passwords come from a file."""

import os
import re
import subprocess
from pathlib import Path

import pytest
from pydantic import ValidationError

from ab_testing import ABTestManager
from model_manager import ModelVersionManager
from monitoring import PerformanceMonitor, PerformanceRecord
from scheduler_service.database_url import DatabaseUrl, parse_database_url, parse_place
from scheduler_service.errors import InvalidInput, StorageUnavailable
from scheduler_service.postgresql.connecting import COMMIT_TIMEOUT_S, MIN_VERSION, PARAMETERS, SESSION
from scheduler_service.postgresql.leases import LEASE_S
from scheduler_service.settings import Settings, settings_from_environment
from scheduler_service.store.database import CONNECTIONS as STORE_CONNECTIONS
from scheduler_service.telemetry.engines.postgresql import CONNECTIONS, OWN_CONNECTIONS
from tests.codes import coded
from tests.conftest import ROOT
from tests.postgresql import programs
from tests.programs import run_python
from tests.waiting import HANG_S

SECRET = "hidden"
URL = f"postgresql://user:{SECRET}@127.0.0.1:1/d"


def write(tmp_path: Path, content: bytes) -> Path:
    (tmp_path / "password").write_bytes(content)
    return tmp_path / "password"


PASSWORD_FILES = {
    "missing": (lambda folder: folder / "none", "password_file_unreadable"),
    "a folder": (lambda folder: folder, "password_file_unreadable"),
    "empty": (lambda folder: write(folder, b""), "password_file_empty"),
    "only a line's end": (lambda folder: write(folder, b"\r\n"), "password_file_empty"),
    "not UTF-8": (lambda folder: write(folder, b"\xff\xfe" + SECRET.encode("utf-16-le")), "password_file_encoding"),
}


@pytest.mark.parametrize("kind", PASSWORD_FILES)
def test_a_password_file_without_a_password_is_named_in_both_languages(tmp_path, kind):
    make, code = PASSWORD_FILES[kind]
    file = make(tmp_path)
    url = parse_database_url("postgresql://user@127.0.0.1:1/d", file)
    with pytest.raises(StorageUnavailable, check=coded(code, path=str(file))) as refused:
        PerformanceMonitor(url, reports_dir=tmp_path)
    texts = [refused.value.text(lang) for lang in ("en", "zh")]
    assert len(set(texts)) == 2
    assert all(str(file) in text and SECRET not in text for text in texts)
    assert url.scrubbed("text") == "text"


@pytest.mark.skipif(os.getuid() == 0, reason="root reads every file")
def test_an_unreadable_password_file_is_named(tmp_path):
    file = write(tmp_path, b"x")
    file.chmod(0)
    with pytest.raises(StorageUnavailable, check=coded("password_file_unreadable")):
        PerformanceMonitor(parse_database_url("postgresql://user@127.0.0.1:1/d", file), reports_dir=tmp_path)


def test_a_command_names_the_password_file_without_a_stack_trace(tmp_path):
    environment = {"SCHED_DATABASE_URL": "postgresql://u@127.0.0.1:1/d", "SCHED_HOME": str(tmp_path)}
    file = write(tmp_path, b"\xff")
    done = run_python(
        "monitoring.py", "stats", env=os.environ | environment | {"SCHED_DATABASE_PASSWORD_FILE": str(file)}
    )
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == f"error: the password file {file} is not a text in UTF-8"
    assert "Traceback" not in done.stderr


def test_a_byte_order_mark_and_the_end_of_the_line_do_not_belong_to_the_password(tmp_path):
    url = parse_database_url("postgresql://u@h/d", write(tmp_path, b"\xef\xbb\xbf p w \r\n"))
    assert url.arguments()["password"] == " p w "


def test_a_password_file_without_an_address_is_refused(tmp_path):
    with pytest.raises(ValidationError) as refused:
        Settings(home=tmp_path, database_password_file=tmp_path / "password")
    assert [error["type"] for error in refused.value.errors()] == ["password_file_without_url"]
    with pytest.raises(InvalidInput, check=coded("password_without_url")):
        parse_place(str(tmp_path / "performance.db"), tmp_path / "password")


def test_a_text_is_an_address_if_it_has_a_scheme(tmp_path):
    assert parse_place("logs/performance.db") == Path("logs/performance.db")
    assert parse_place(tmp_path) == tmp_path
    found = parse_place(URL)
    assert isinstance(found, DatabaseUrl)
    assert found.hosts == (("127.0.0.1", 1),)
    for text, code in (
        (f"mysql://u:{SECRET}@h/d", "database_url_scheme"),
        (f"postgresql:/u:{SECRET}@h", "address_as_path"),
    ):
        with pytest.raises(InvalidInput, check=coded(code)) as refused:
            parse_place(text)
        assert SECRET not in str(refused.value)


def test_a_monitor_reads_a_text_with_a_scheme_as_an_address(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(StorageUnavailable, check=coded("database_unreachable")):
        PerformanceMonitor(URL, reports_dir=tmp_path)
    assert list(tmp_path.iterdir()) == []


PLACES = {
    "database": lambda: PerformanceMonitor(Path(URL)),
    "reports": lambda: PerformanceMonitor("performance.db", reports_dir=URL),
    "thresholds": lambda: PerformanceMonitor("performance.db", thresholds_file=URL),
    "models": lambda: ModelVersionManager(URL),
    "experiments": lambda: ABTestManager(URL),
}


@pytest.mark.parametrize("place", PLACES)
def test_no_file_or_folder_gets_the_name_of_an_address(tmp_path, monkeypatch, place):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InvalidInput, check=coded("address_as_path")) as refused:
        PLACES[place]()
    assert SECRET not in str(refused.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["HOME", "DATA", "MODEL_SOURCES", "DATABASE_PASSWORD_FILE"])
def test_a_setting_of_a_path_refuses_an_address_and_does_not_repeat_it(monkeypatch, name):
    monkeypatch.setenv("SCHED_DATABASE_URL", "postgresql://u@h/d")
    monkeypatch.setenv(f"SCHED_{name}", URL)
    settings_from_environment.cache_clear()
    with pytest.raises(SystemExit) as ended:
        settings_from_environment()
    settings_from_environment.cache_clear()
    assert f"SCHED_{name}: is an address" in str(ended.value)
    assert SECRET not in str(ended.value)


COMMANDS = {
    "monitoring": [("stats", "--home", URL), ("export", URL), ("backup", URL), ("restore", URL)],
    "ab_testing": [("list", "--home", URL)],
    "model_manager": [("list", "--models", URL), ("register", URL)],
    "enhanced_flask": [("--home", URL)],
}


@pytest.mark.parametrize("program", COMMANDS)
def test_a_command_refuses_an_address_as_a_path_and_does_not_repeat_it(tmp_path, program):
    (tmp_path / "logs").mkdir()
    PerformanceMonitor(tmp_path / "logs" / "performance.db", reports_dir=tmp_path).close()
    before = sorted(tmp_path.rglob("*"))
    for arguments in COMMANDS[program]:
        done = run_python(f"{program}.py", *arguments, env=os.environ | {"SCHED_HOME": str(tmp_path)})
        assert done.returncode == 2
        assert "is an address" in done.stderr
        assert SECRET not in done.stdout + done.stderr
    assert sorted(tmp_path.rglob("*")) == before


# --- docs/operations.md ---

OPERATIONS = (ROOT / "docs" / "operations.md").read_text("utf-8")


def test_the_documented_commands_make_a_database_that_the_service_uses(postgresql, tmp_path):
    (block,) = re.findall(r"```text\n(createuser .*?)```", OPERATIONS, re.DOTALL)
    *commands, url, password_file = block.splitlines()
    login = {"PGHOST": "127.0.0.1", "PGPORT": str(postgresql.port), "PGUSER": "postgres"}
    for command in commands:
        program, *arguments = command.split()
        if not (programs() / program).is_file():
            pytest.skip(f"there is no {program}")
        subprocess.run(
            [str(programs() / program), *arguments],
            env=os.environ | login | {"PGPASSWORD": postgresql.PASSWORD},
            input=f"{SECRET}\n{SECRET}\n",  # createuser asks twice; without a terminal it reads this
            start_new_session=True,
            text=True,
            capture_output=True,
            check=True,
            timeout=HANG_S,
        )
    try:
        assert password_file.startswith("SCHED_DATABASE_PASSWORD_FILE=")
        url = url.removeprefix("SCHED_DATABASE_URL=").partition("?")[0]  # the server of the tests has no TLS
        url = url.replace("db1:5432,db2:5432", f"127.0.0.1:{postgresql.port}")
        settings = Settings(home=tmp_path, database_url=url, database_password_file=write(tmp_path, SECRET.encode()))
        monitor = PerformanceMonitor(settings.records, reports_dir=tmp_path)
        monitor.record_performance(PerformanceRecord(request_id="a"))
        assert monitor.count_runs() == 1
        monitor.close()
    finally:
        postgresql.execute("DROP DATABASE IF EXISTS scheduler WITH (FORCE)")
        postgresql.execute("DROP ROLE IF EXISTS scheduler")


def test_the_documented_capacity_follows_from_the_connections_of_a_process():
    each = CONNECTIONS + OWN_CONNECTIONS + STORE_CONNECTIONS + 1
    assert f"Each process has at most {each}:" in OPERATIONS
    assert f"{CONNECTIONS} of the {each} are for records and queries, {OWN_CONNECTIONS} for" in OPERATIONS
    rows = re.findall(r"^\| (\d+) \| (\d+) \| (\d+)\b", OPERATIONS.partition("connections at most")[2], re.MULTILINE)
    assert len(rows) == 4
    for processes, most, needed in rows:
        assert int(most) == int(processes) * each
        assert int(needed) >= int(most) + 10


def test_the_documented_times_are_those_of_the_code():
    for text in (
        f"ends after {COMMIT_TIMEOUT_S:g} s, for example",
        f"tried once more for {SESSION['lock_timeout'].removesuffix('s')} s",
        f"It ends {LEASE_S:g} s after its last renewal",
        f"a new one is tried for {PARAMETERS['connect_timeout']} s per host",
        f"PostgreSQL {MIN_VERSION} or newer",
    ):
        assert text in " ".join(OPERATIONS.split())
