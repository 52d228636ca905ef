"""Faults below a running service are named in /health, lose nothing acknowledged, and clear without a restart.

`python -m benchmarks.faults` does the same with whole disks, and writes the table of docs/operations.md.
"""

import json
import logging
import os
import resource
import sqlite3
import subprocess
import threading
import time
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from monitoring import PerformanceMonitor, PerformanceRecord
from scheduler_env import SAMPLE_PARAMS
from scheduler_service.errors import StorageUnavailable
from scheduler_service.http.runs.recording import MAX_BLOCKED
from scheduler_service.http.watch.checks import STALE_AFTER_S, Checks
from scheduler_service.logs import LineFormatter, Relay, RepetitionFilter, SharedRotatingFileHandler
from scheduler_service.telemetry.history import latest_runs
from scheduler_service.telemetry.repair import repair
from tests.codes import coded
from tests.conftest import NEW_PROCESS, LiveService, live_service
from tests.databases import write_database
from tests.programs import run_python
from tests.waiting import HANG_S, in_threads, until

SAMPLE = list(SAMPLE_PARAMS)


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    """A service of this module; every test repairs what it breaks."""
    with live_service(tmp_path_factory.mktemp("faults"), command=NEW_PROCESS) as running:
        until_well(running)
        yield running


def until_well(service: LiveService) -> None:
    until(lambda: service.get("/health").status_code == 200, lambda: service.get("/health").text)


def until_named(service: LiveService, part: str, word: str) -> None:
    """Wait until /health names the part; it does not wait for the part itself."""

    def detail() -> str:
        return service.get("/health").json()["parts"][part]["detail"]

    until(lambda: word in detail(), detail)


@contextmanager
def clients(service: LiveService, count: int = 3):
    """Clients that request schedules one after the other; their answers by request id or status."""
    answered: list[str | int] = []
    is_over = threading.Event()

    def ask() -> None:
        mine = LiveService(service.url, service.home, service.process, service.output)
        while not is_over.is_set():
            try:
                answer = mine.post("/run_algorithm", json={"params": SAMPLE})
            except OSError:
                return
            answered.append(answer.json()["request_id"] if answer.status_code == 200 else answer.status_code)

    threads = [threading.Thread(target=ask) for _ in range(count)]
    for thread in threads:
        thread.start()
    try:
        yield answered
    finally:
        is_over.set()
        for thread in threads:
            thread.join()


def more(answered: list[str | int]) -> None:
    """Wait for some more answers."""
    before = len(answered)
    until(lambda: len(answered) > before + 10)


def database_of(service: LiveService) -> Path:
    return service.home / "logs" / "performance.db"


def recorded(*files: Path) -> set[str]:
    found: set[str] = set()
    for file in files:
        with closing(sqlite3.connect(file)) as connection:
            found |= {row[0] for row in connection.execute("SELECT request_id FROM runs")}
    return found


def refused(service: LiveService, word: str) -> None:
    answer = service.post("/run_algorithm", json={"params": SAMPLE})
    assert answer.status_code == 503, answer.text
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert int(answer.headers["Retry-After"]) >= 1
    assert word in answer.json()["detail"]
    assert "Traceback" not in answer.text


def damage(path: Path, at: int, n_bytes: int) -> None:
    with path.open("r+b") as file:
        file.seek(at)
        file.write(b"\xa5" * n_bytes)


# --- the database of a running service ---


def test_a_deleted_database_is_restored_with_everything_acknowledged(own):
    with clients(own) as answered:
        more(answered)
        for file in database_of(own).parent.glob("performance.db*"):
            file.unlink()
        more(answered)
    ids = {answer for answer in answered if isinstance(answer, str)}
    assert len(ids) == len(answered), "no client is refused"
    assert ids <= recorded(database_of(own))
    until_named(own, "database", "was deleted")
    assert own.get("/health").status_code == 200


def test_a_moved_database_is_complete_and_a_new_one_is_started(own):
    away = database_of(own).with_name("moved.db")
    with clients(own) as answered:
        more(answered)
        database_of(own).rename(away)
        more(answered)
    assert set(answered) <= recorded(away, database_of(own))
    assert not away.with_name("moved.db-wal").exists(), "no WAL file is needed"


def test_a_database_blocked_for_two_seconds_refuses_none_of_a_dozen_clients(own):
    """If the machine stands still, the database is blocked longer than requests wait, and clients are refused."""

    def blocked_s() -> float:
        with closing(sqlite3.connect(database_of(own), isolation_level=None)) as other, clients(own, 12) as answered:
            began_s = time.monotonic()
            other.execute("BEGIN IMMEDIATE")
            begun = len(answered)
            time.sleep(2.0)
            during = len(answered) - begun
            other.execute("ROLLBACK")
            took_s = time.monotonic() - began_s
            more(answered)
        assert during <= 12, "blocked, except for answers in progress"
        answers.append(set(answered) <= recorded(database_of(own)))
        return took_s

    answers: list[bool] = []
    until(lambda: blocked_s() < 3.0, "a block of two seconds")
    assert answers[-1]


def test_a_locked_database_refuses_a_crowd_but_neither_reads_nor_health(own):
    own.get("/performance")  # the first one also imports pandas
    with closing(sqlite3.connect(database_of(own), isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        # The first few are in the blocked batch, and MAX_BLOCKED wait for the next one.
        with clients(own, MAX_BLOCKED + 26) as answered:
            until_named(own, "database", "locked")
            until(lambda: 503 in answered)
            for path in ("/models", "/performance", "/health/live"):
                assert own.get(path).status_code == 200, "while the database is locked"
            other.execute("ROLLBACK")
            until_well(own)
    assert {answer for answer in answered if isinstance(answer, str)} <= recorded(database_of(own))


def test_a_damaged_database_is_named_and_repaired_while_the_service_runs(own):
    database = database_of(own)
    kept = own.run(params=SAMPLE)["request_id"]
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    damage(database, 0, 4_096)
    own.get("/performance")  # reading it finds the damage
    until_named(own, "database", "python -m monitoring repair")
    refused(own, "is damaged")
    done = run_python("-m", "monitoring", "repair", "--home", str(own.home), "--json")
    assert done.returncode == 0, done.stderr
    output = json.loads(done.stdout)
    assert output["is_sound"] is False
    assert Path(output["damaged"]).exists(), "nothing is deleted"
    until_well(own)
    after = own.run(params=SAMPLE)["request_id"]
    assert {kept, after} <= recorded(database)
    assert own.get("/performance").status_code == 200


# --- the disk ---


def test_a_full_disk_refuses_runs_and_changes_until_there_is_room(own):
    """Simulated by a limit on file sizes, which needs no disk of its own; the benchmark fills a disk."""
    database, config = database_of(own), own.home / "ab_test_config.json"
    before = config.read_bytes()
    log_size = (own.home / "logs" / "flask_service.log").stat().st_size
    damaged_before = own.output.read_text().count("is damaged")  # in earlier tests; once a minute
    unlimited = resource.prlimit(own.process.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(own.process.pid, resource.RLIMIT_FSIZE, (64, unlimited[1]))
    try:
        for _ in range(3):
            refused(own, "performance.db")
        until_named(own, "database", "performance.db")
        experiment = {"experiment_name": "full", "model_a": "DDQN_v1.0", "model_b": "DDQN_v2.0"}
        assert own.post("/experiments", json=experiment).status_code == 503
        assert own.post("/reports/performance", json={}).status_code == 503
        assert own.get("/models").status_code == 200
        assert config.read_bytes() == before
        assert not list(own.home.rglob("*.tmp")), "no partial file remains"
        assert (own.home / "logs" / "flask_service.log").stat().st_size == log_size
    finally:
        resource.prlimit(own.process.pid, resource.RLIMIT_FSIZE, unlimited)
    until_well(own)
    assert own.run(params=SAMPLE)["request_id"] in recorded(database)
    own.wait_for_log("lines are missing here")
    assert own.output.read_text().count("is damaged") - damaged_before <= 2
    assert "Logging error" not in own.output.read_text()


@pytest.mark.parametrize("folder", ["logs", "models", "reports"])
def test_a_read_only_folder_is_named_and_recovers(own, folder):
    path = str(own.home / folder)
    for command in (["--bind", path, path], ["-o", "remount,ro,bind", path]):
        if subprocess.run(["mount", *command], check=False, capture_output=True).returncode:
            pytest.skip("mount is not allowed here")
    try:
        until_named(own, "folders", folder)
        assert own.get("/models").status_code == 200
    finally:
        subprocess.run(["umount", "-l", path], check=True)
    until_well(own)
    own.run(params=SAMPLE)


# --- models and configuration ---


@pytest.mark.parametrize("content", [None, b"no weights"])
def test_a_lost_or_damaged_model_file_is_named_and_the_loaded_model_still_answers(own, content):
    key = own.run(params=SAMPLE)["experiment_info"]["model_used"]
    path = own.home / "models" / "models" / f"{key}.pth"
    before = path.read_bytes()
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    until_named(own, "models", key)
    assert own.run(params=SAMPLE)["experiment_info"]["model_used"] == key
    path.write_bytes(before)
    until_well(own)


@pytest.mark.parametrize(
    "content", [b"\x00\xff{", b"", b'{"experiments": {"a"', b'{"experiments": 3}', b"[" * 100_000, b" " * 2**25]
)
def test_a_broken_configuration_leaves_the_last_valid_one_in_effect(own, content):
    path = own.home / "ab_test_config.json"
    before = path.read_bytes()
    path.write_bytes(content)
    until_named(own, "experiments", "ab_test_config.json")
    assert own.run(params=SAMPLE)["experiment_info"]["reason"] == "default"
    assert path.read_bytes() == content, "the edited file is not overwritten"
    path.write_bytes(before)
    until_well(own)


def test_no_fault_caused_an_internal_error(own):
    assert "internal error" not in own.log()
    assert "unexpected " not in own.log()


def test_kill_9_under_load_loses_nothing_acknowledged(own):
    with clients(own, 8) as answered:
        more(answered)
        own.process.kill()
        own.process.wait()
    assert {answer for answer in answered if isinstance(answer, str)} <= recorded(database_of(own))
    with closing(sqlite3.connect(database_of(own))) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone()[0] == "ok"


def test_a_service_starts_with_everything_broken_and_recovers_without_a_restart(own):
    """Runs last: the service of the other tests was killed, and its home is used again."""
    home, database = own.home, database_of(own)
    damage(database, 0, 8_192)
    (home / "ab_test_config.json").write_bytes(b"{")
    (home / "models" / "tags.json").write_bytes(b"[")
    with live_service(home) as again:
        again.get("/health")  # the first answer may take long
        for part, word in {"database": "repair", "experiments": "not valid", "models": "tags.json"}.items():
            until_named(again, part, word)
        assert again.get("/models").status_code == 200
        refused(again, "damaged")
        database.rename(database.with_name("aside.db"))
        (home / "ab_test_config.json").write_text('{"experiments": {}, "default_model": "DDQN_v1.0"}')
        (home / "models" / "tags.json").write_text("{}")
        until_well(again)
        assert again.run(params=SAMPLE)["experiment_info"]["reason"] == "default"


# --- single parts ---


@pytest.fixture
def monitor(tmp_path):
    return PerformanceMonitor(tmp_path / "performance.db", reports_dir=tmp_path)


def fill(monitor: PerformanceMonitor, count: int) -> None:
    def record(thread: int) -> None:
        usual = {"input_params": {"params": SAMPLE}, "placements": b"\x01\xff"}
        for number in range(count // 8):
            monitor.record_performance(PerformanceRecord(request_id=f"{thread}-{number}", **usual))

    in_threads(record, [(thread,) for thread in range(8)])


@pytest.mark.parametrize("is_vacuumed", [False, True])
@pytest.mark.parametrize(("first_page", "pages"), [(0, 1), (30, 2)])
def test_repair_saves_every_row_on_an_intact_page(monitor, is_vacuumed, first_page, pages):
    fill(monitor, 800)
    if is_vacuumed:
        monitor.upkeep.vacuum()
    monitor.close()
    before = recorded(monitor.db_path)
    damage(monitor.db_path, first_page * 4_096, pages * 4_096)
    done = repair(monitor.db_path)
    assert done is not None
    saved = recorded(monitor.db_path)
    assert saved <= before
    assert len(saved) == done.saved["runs"] >= len(before) - 40 * pages, "a page has some 20 rows"
    if first_page == 0:
        assert saved == before
    monitor.record_performance(PerformanceRecord(request_id="after"))
    assert monitor.count_runs() == len(saved) + 1
    assert repair(monitor.db_path) is None, "an intact database is not changed"


@pytest.mark.parametrize(("noted", "is_vacuumed"), [(None, False), (None, True), (b"[", True), (b'[["table"]]', True)])
def test_repair_uses_the_recorded_layout_of_an_upgraded_database(tmp_path, noted, is_vacuumed):
    """Its first page differs from that of a new one; with a missing or broken layout record, no row is invented."""
    path = write_database(tmp_path / "old.db", 1)
    monitor = PerformanceMonitor(path, reports_dir=tmp_path)
    fill(monitor, 64)
    if is_vacuumed:
        monitor.upkeep.vacuum()
    monitor.close()
    before = recorded(path)
    damage(path, 0, 4_096)
    if noted is None:
        done = repair(path)
        assert done is not None
        assert recorded(path) == before
        assert latest_runs(monitor.engine, 1)[0]["request_id"] in before
    else:
        path.with_name("old.db.layout").write_bytes(noted)
        with pytest.raises(StorageUnavailable, check=coded("nothing_to_save")):
            repair(path)
    assert not list(tmp_path.glob(".*.tmp*"))


def test_repair_ignores_a_recorded_layout_that_reads_fewer_rows(monitor):
    """The layout record describes an earlier state of the file: it has the runs where the pairs are."""
    fill(monitor, 64)
    monitor.record_feedback(min(recorded(monitor.db_path)), 5)
    monitor.close()
    before = recorded(monitor.db_path)
    note = monitor.db_path.with_name(f"{monitor.db_path.name}.layout")
    rows = json.loads(note.read_bytes())
    root_of = {name: root for _, name, _, root, _ in rows}
    moved = {"runs": root_of["pairs"], "pairs": root_of["runs"]}
    note.write_text(json.dumps([[kind, name, of, moved.get(name, root), sql] for kind, name, of, root, sql in rows]))
    damage(monitor.db_path, 0, 4_096)
    done = repair(monitor.db_path)
    assert done is not None
    assert (done.saved["runs"], done.saved["feedback"], recorded(monitor.db_path)) == (64, 1, before)


def test_a_completely_destroyed_database_is_not_changed(tmp_path):
    path = tmp_path / "performance.db"
    path.write_bytes(b"x" * 50_000)
    with pytest.raises(StorageUnavailable, check=coded("nothing_to_save")):
        repair(path)
    assert path.read_bytes() == b"x" * 50_000
    assert not list(tmp_path.glob(".*.tmp*"))


def test_an_unwritable_log_is_reported_once_and_later_with_the_number_of_lost_lines(tmp_path, capsys):
    path = tmp_path / "flask_service.log"
    path.symlink_to("/dev/full")
    handler = SharedRotatingFileHandler(path, max_bytes=10_000, backups=2)
    handler.setFormatter(LineFormatter())

    def say(number: int) -> None:
        handler.handle(logging.LogRecord("x", logging.INFO, "", 0, f"line {number}", (), None))

    for number in range(5):
        say(number)
    assert capsys.readouterr().err.count("cannot be written (No space left on device)") == 1
    path.unlink()
    say(5)
    lines = path.read_text("utf-8").splitlines()
    assert ["5 lines are missing here" in lines[0], "line 5" in lines[1], len(lines)] == [True, True, 2]
    handler.close()


def test_a_repeated_fault_is_logged_once_a_minute_with_its_count(tmp_path):
    now = [0.0]
    filter_ = RepetitionFilter(clock=lambda: now[0])

    def passes(message: str, level: int = logging.ERROR) -> str | None:
        record = logging.LogRecord("x", level, "", 0, message, (), None)
        return LineFormatter().format(record) if filter_.filter(record) else None

    assert passes("the disk is full") is not None
    assert [passes("the disk is full") for _ in range(3)] == [None] * 3
    assert passes("another fault") is not None
    assert passes("no fault", logging.INFO) == passes("no fault", logging.INFO) is not None
    now[0] = 61.0
    assert str(passes("the disk is full")).endswith("(repeated 3 times meanwhile)")


def test_a_log_on_a_blocked_disk_blocks_no_request():
    goes_on, written = threading.Event(), []

    class Hanging(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            goes_on.wait(HANG_S)
            written.append(record)

    relay = Relay(Hanging())
    for number in range(100):
        relay.handle(logging.LogRecord("x", logging.INFO, "", 0, f"{number}", (), None))
    assert written == [], "no record waited for the disk"
    goes_on.set()
    relay.close()


@pytest.mark.parametrize(("step_s", "word"), [(-18_000.0, "back by 18000 s"), (7_200.0, "forward by 7200 s")])
def test_a_clock_change_is_logged(monkeypatch, step_s, word):
    checks, true_time = Checks(), time.time
    assert checks.check_clock() == ""
    monkeypatch.setattr(time, "time", lambda: true_time() + step_s)
    assert word in checks.check_clock()
    assert 0.0 <= checks.uptime_s < 3_600.0
    assert word in checks.check_clock(), "reported again"


def test_a_blocked_check_is_reported_and_not_started_again():
    begun, ended = [], []
    goes_on = threading.Event()
    goes_on.set()

    def hang() -> str:
        begun.append("disk")
        goes_on.wait(HANG_S)
        ended.append("disk")
        return "well"

    checks = Checks()
    assert set(checks.ask({"disk": hang, "clock": lambda _: "well"})) == {"disk", "clock"}  # type: ignore[arg-type]
    goes_on.clear()
    time.sleep(STALE_AFTER_S)
    for _ in range(2):
        states = checks.ask({"disk": hang, "clock": lambda: "well"})
        assert states["clock"] == {"status": "ok", "detail": "well"}
        assert "no answer for" in states["disk"]["detail"]
    assert (len(begun), len(ended)) == (2, 1), "started once, and no caller waited for its end"
    goes_on.set()
    until(lambda: checks.ask({"disk": hang})["disk"]["status"] == "ok")


def test_a_file_deleted_between_commits_is_noticed(monitor):
    monitor.record_performance(PerformanceRecord(request_id="a"))
    os.replace(monitor.db_path, monitor.db_path.with_name("elsewhere.db"))
    monitor.record_performance(PerformanceRecord(request_id="b"))
    assert recorded(monitor.db_path) == {"b"}
    os.replace(monitor.db_path.with_name("elsewhere.db"), monitor.db_path)
    monitor.record_performance(PerformanceRecord(request_id="c"))
    assert recorded(monitor.db_path) == {"a", "c"}
    (kept,) = monitor.db_path.parent.glob("performance.db.replaced-*")
    assert recorded(kept) == {"b"}, "the replaced file is kept"
