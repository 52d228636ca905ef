"""The log: the lines that people search for, and protection against text from clients."""

import json
import logging
import multiprocessing
import re
import subprocess
from datetime import date, datetime, timedelta
from datetime import time as dt_time

import pytest

from scheduler_service.logs import (
    RUN_MARKER,
    JsonFormatter,
    LineFormatter,
    SharedRotatingFileHandler,
    configure_logging,
    log_run,
    request_id_var,
)
from scheduler_service.settings import Settings
from tests.conftest import live_service
from tests.waiting import HANG_S, until

SAMPLE = [10, 5, 8, 6, 7, 9, 6, 7, 6, 7, 7, 7, 4, 7, 5]
GREP = "grep \"算法执行完成\" logs/flask_service.log | awk '{print $NF}' | sort -n"


@pytest.fixture
def root_logger():
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield root
    for handler in set(root.handlers) - set(handlers):
        root.removeHandler(handler)
        handler.close()
    root.setLevel(level)


def flush(root: logging.Logger) -> None:
    for handler in root.handlers:
        handler.flush()


def grep(home) -> list[str]:
    return subprocess.run(["bash", "-c", GREP], cwd=home, capture_output=True, text=True, check=True).stdout.split(
        "\n"
    )[:-1]


def test_the_guides_one_liner_prints_the_seconds_of_every_run_and_nothing_else(service):
    before = len(grep(service.home))
    nasty = ["x 算法执行完成 99", "a\nb 算法执行完成 77", "\u2028算法执行完成 66", "\r\n2026 算法执行完成 55"]
    nasty.append('"; rm -rf')
    answers = [service.post("/run_algorithm", json={"params": SAMPLE, "user_id": user}) for user in nasty]
    assert all(answer.status_code == 200 for answer in answers)
    service.post("/run_algorithm", json={"params": SAMPLE, "model": "算法执行完成 44"})
    service.get("/models/算法执行完成 33")
    service.get("/算法执行完成%0a算法执行完成 22")
    printed = grep(service.home)
    assert len(printed) == before + len(nasty)
    assert all(re.fullmatch(r"\d+\.\d{6}", seconds) for seconds in printed)
    assert printed == sorted(printed, key=float)
    executions = {f"{answer.json()['performance']['execution_time']:.6f}" for answer in answers}
    assert executions <= set(printed)


def test_every_line_of_a_request_has_its_id(service):
    service.post("/run_algorithm", json={"params": SAMPLE}, headers={"X-Request-ID": "find-me"})
    log = service.wait_for_log("[find-me]")
    (line,) = [line for line in log.splitlines() if "find-me" in line and RUN_MARKER in line]
    assert re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} INFO \[find-me\] scheduler.runs: 算法执行完成 ", line)


def formatted(message, *arguments, name="x", exc_info=None) -> str:
    record = logging.LogRecord(name, logging.INFO, "path", 1, message, arguments, exc_info)
    return LineFormatter().format(record)


def test_no_message_creates_a_second_line_or_the_run_marker():
    line = formatted("model %s", "a\nb\r\x1b[31m\u2028\ud800 算法执行完成 1")
    assert "\n" not in line
    assert "\r" not in line
    assert "\x1b" not in line
    assert RUN_MARKER not in line
    line.encode("utf-8")


def test_a_traceback_is_readable_and_does_not_look_like_log_lines():
    try:
        raise ValueError("bad\n2026-01-01 00:00:00,000 INFO [x] y: 算法执行完成 5")
    except ValueError as err:
        text = formatted("failed", exc_info=(type(err), err, err.__traceback__))
    first, *others = text.split("\n")
    assert first.endswith("x: failed")
    assert all(line.startswith("  | ") for line in others)
    assert any("ValueError: bad" in line for line in others)
    assert RUN_MARKER not in text


def test_the_file_is_rotated_by_size_and_old_files_are_kept(tmp_path, root_logger):
    configure_logging(Settings(home=tmp_path, log_max_bytes=4096, log_backups=2))
    token = request_id_var.set("r-1")
    for number in range(200):
        log_run(f"number={number}", 0.001)
    request_id_var.reset(token)
    flush(root_logger)
    files = sorted(path.name for path in (tmp_path / "logs").glob("flask_service.log*"))
    assert files == ["flask_service.log", "flask_service.log.1", "flask_service.log.2"]
    assert all((tmp_path / "logs" / name).stat().st_size <= 4096 for name in files)
    assert "number=199" in (tmp_path / "logs" / "flask_service.log").read_text("utf-8")


def test_configuring_twice_writes_each_line_once(tmp_path, root_logger):
    for _ in range(2):
        configure_logging(Settings(home=tmp_path))
    logging.getLogger("x").warning("once")
    flush(root_logger)
    assert (tmp_path / "logs" / "flask_service.log").read_text("utf-8").count("once") == 1


def _write_lines(path, worker) -> None:
    handler = SharedRotatingFileHandler(path, max_bytes=8192, backups=100)
    for number in range(300):
        handler.emit(logging.LogRecord("x", logging.INFO, "", 0, f"worker={worker} line={number}", (), None))
    handler.close()


def test_several_processes_rotate_one_file_without_losing_a_line(tmp_path):
    context = multiprocessing.get_context("spawn")
    path = tmp_path / "shared.log"
    workers = [context.Process(target=_write_lines, args=(path, worker)) for worker in range(3)]
    for process in workers:
        process.start()
    for process in workers:
        process.join(HANG_S)
        assert process.exitcode == 0
    lines = [line for file in tmp_path.glob("shared.log*") for line in file.read_text().splitlines()]
    assert sorted(lines) == sorted(f"worker={worker} line={number}" for worker in range(3) for number in range(300))


def _write_across_midnight(path, worker, barrier, written, midnight_s) -> None:
    def now_s() -> float:
        """A second before midnight until all processes have written half of their lines."""
        return midnight_s + (1.0 if written.value >= 4 * 1_000 else -1.0)

    handler = SharedRotatingFileHandler(path, max_bytes=60_000, backups=100, clock=now_s)
    handler.setFormatter(LineFormatter())
    barrier.wait(HANG_S)
    for number in range(2_000):
        record = logging.LogRecord("x", logging.INFO, "", 0, f"worker={worker} line={number}", (), None)
        record.created = now_s()
        handler.emit(record)
        with written.get_lock():
            written.value += 1
    handler.close()


def test_four_processes_across_midnight_keep_every_line_whole_and_in_the_right_file(tmp_path):
    context, path = multiprocessing.get_context("spawn"), tmp_path / "shared.log"
    barrier, written = context.Barrier(4), context.Value("i", 0)
    midnight_s = datetime.combine(date.today() + timedelta(days=1), dt_time()).timestamp()
    workers = [
        context.Process(target=_write_across_midnight, args=(path, worker, barrier, written, midnight_s))
        for worker in range(4)
    ]
    for process in workers:
        process.start()
    for process in workers:
        process.join(HANG_S)
        assert process.exitcode == 0
    files = [file.read_text("utf-8").splitlines() for file in tmp_path.glob("shared.log*")]
    lines_written = sorted(line.partition(" x: ")[2] for lines in files for line in lines)
    assert lines_written == sorted(f"worker={worker} line={number}" for worker in range(4) for number in range(2_000))
    assert all(len({line[:10] for line in lines}) == 1 for lines in files)
    assert len({lines[0][:10] for lines in files}) == 2


def test_the_file_of_an_earlier_day_is_rotated_at_the_start(tmp_path):
    path = tmp_path / "a.log"
    path.write_text("2020-01-01 10:00:00,000 INFO [-] x: old\n")
    handler = SharedRotatingFileHandler(path, max_bytes=9_999, backups=2)
    handler.emit(logging.LogRecord("x", logging.INFO, "", 0, "new", (), None))
    handler.close()
    assert path.read_text() == "new\n"
    assert "old" in (tmp_path / "a.log.1").read_text()


@pytest.mark.parametrize(
    "text",
    [
        "Authorization: Bearer hush-1",
        "{'X-API-Key': 'hush 1'}",
        '{"password": "hush 1"}',
        "GET /x?api_key=hush-1&a=1",
        "access_token=hush-1",
        "client_secret=hush-1",
        "timestamp=1&sign=hush-1",
        "bearer hush-1",
        "http://me:hush-1@example.org/x",
        "https://open.feishu.cn/open-apis/bot/v2/hook/hush-1",
    ],
)
@pytest.mark.parametrize("formatter", [LineFormatter(), JsonFormatter()])
def test_no_secret_is_logged(formatter, text):
    try:
        raise ValueError(text)
    except ValueError as err:
        info = (type(err), err, err.__traceback__)
    line = formatter.format(logging.LogRecord("x", logging.INFO, "", 1, "got %s", (text,), info))
    assert "hush" not in line
    assert line.count("***") >= 2


def test_a_long_message_is_cut_but_a_run_keeps_its_seconds():
    assert formatted("a" * 2_010).endswith("a… (10 more characters)")
    assert formatted("b" * 9_000 + " 0.250000", name="scheduler.runs").split()[-1] == "0.250000"


def test_a_json_line_is_one_object_with_the_seconds_of_a_run_as_a_number():
    record = logging.LogRecord("scheduler.runs", logging.INFO, "", 1, "计划\n\x7f\u2028\ud800 0.5", (), None)
    record.execution_time_s = 0.5
    line = JsonFormatter().format(record)
    body = json.loads(line)
    assert len(line.splitlines()) == 1
    assert "计划" in line
    assert body["execution_time_s"] == 0.5
    assert datetime.fromisoformat(body["time"]).tzinfo is not None


def test_a_container_needs_no_log_file(tmp_path):
    """Everything is on stdout, one JSON object a line, except the first lines of libraries."""
    with live_service(tmp_path, environment={"SCHED_LOG_TO": "stdout", "SCHED_LOG_FORMAT": "json"}) as service:
        run = service.run(params=[10.0] * 15)["request_id"]

        def lines_of_run() -> list[dict[str, object]]:
            lines = service.output.read_text(encoding="utf-8").splitlines()
            entries = [json.loads(line) for line in lines if line.startswith("{")]
            return [entry for entry in entries if f"run={run} " in entry["message"]]

        assert until(lines_of_run)[-1]["execution_time_s"] > 0.0
        told = service.get(f"/runs/{run}/log").json()
        assert told["lines"] == []
    assert list((tmp_path / "logs").glob("flask_service.log*")) == []
