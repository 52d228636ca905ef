"""A home moved to PostgreSQL and back: `python -m benchmarks.moving --database URL [--runs 1000000] [--models 10000]`.

The home gets rows in all tables, models, experiments' history and reports. The first move to the empty database is
killed (`kill -9`) while it copies, and begun again; then everything is moved back into a new home. All digests must be
equal.

Writes benchmarks/results/moving.{md,json}; ends with 1 if a digest differs.
"""

import argparse
import hashlib
import json
import os
import random
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import func, select
from tqdm import tqdm

from benchmarks.machine import markdown_table, write_results
from benchmarks.telemetry import DAYS, MODELS, records
from model_manager import ModelVersionManager
from scheduler_service.clock import to_iso, utc_now
from scheduler_service.database_url import parse_place
from scheduler_service.registry.history import ChangedValues, Event
from scheduler_service.settings import Settings
from scheduler_service.store.folder import FolderStore
from scheduler_service.telemetry.database import database_of, open_database
from scheduler_service.telemetry.moving import TABLES
from scheduler_service.telemetry.schema import metadata
from scheduler_service.telemetry.writer import run_row

SEED = Settings().seed_models_dir / "ddqn_v2.pth"
BATCH_SIZE = 5_000
POLL_S = 0.1
N_DIFFERENT = 20_000
"""Runs that differ in more than id and time."""
NOW = utc_now()

Figures = dict[str, Any]


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; see the module's docstring."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0] if __doc__ else None)
    parser.add_argument("--database", metavar="URL", required=True, help="an empty PostgreSQL database")
    parser.add_argument("--runs", type=int, default=1_000_000, help="(default: %(default)s)")
    parser.add_argument("--models", type=int, default=10_000, help="(default: %(default)s)")
    parser.add_argument("--reports", type=int, default=1_000, help="(default: %(default)s)")
    parser.add_argument("--kill-after", type=float, default=60.0, metavar="S", help="(default: %(default)g)")
    parser.add_argument(
        "--home", type=Path, metavar="FOLDER", help="use, or make, this home instead of a temporary one"
    )
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="moving-benchmark-") as folder:
        home = options.home or Path(folder) / "home"
        if not (home / "complete").exists():
            make_home(home, options.runs, options.models, options.reports)
        killed = moved(home, options.database, kill_after_s=options.kill_after)
        there = moved(home, options.database)
        print(json.dumps(there), flush=True)
        finished = moved(home, options.database)
        back = moved(home, str(Path(folder) / "back" / "logs" / "performance.db"), source=options.database)
    results = [there, finished, back]
    is_equal = all(each["parts"] == there["parts"] for each in results)
    names = ("to PostgreSQL, after the killed move", "again, although it is all there", "back into a new home")
    rows = sum(part["rows"] for part in there["parts"].values())
    text = "\n\n".join(
        (
            f"A home with {options.runs:,} runs, {options.models:,} models and {options.reports:,} reports "
            f"({rows:,} rows, documents, files and reports; {killed['home_mib']:.0f} MiB), moved by "
            "`python -m monitoring move`:",
            markdown_table(
                ("move", "elapsed s", "CPU s", "peak MiB"),
                [
                    [name, f"{each['elapsed_s']:.0f}", f"{each['cpu_s']:.0f}", f"{each['peak_mib']:.0f}"]
                    for name, each in zip(names, results, strict=True)
                ],
            ),
            f"The first move was killed after {options.kill_after:.0f} s; it left {killed['rows_left']} rows in the "
            "database. "
            f"The digests of all parts are {'equal' if is_equal else 'NOT EQUAL'}.",
            markdown_table(
                ("part", "rows", "digest"), [[name, p["rows"], p["digest"][:16]] for name, p in there["parts"].items()]
            ),
        )
    )
    figures = {"killed": killed, "there": there, "finished": finished, "back": back}
    command = f"python -m benchmarks.moving --runs {options.runs} --models {options.models}"
    write_results("moving", command, text, figures)
    return int(not is_equal)


# --- the home ---


def make_home(home: Path, n_runs: int, n_models: int, n_reports: int) -> None:
    """A home as a service would have it after some years, except that nothing of it passed through the service."""
    (home / "logs").mkdir(parents=True)
    engine = open_database(home / "logs" / "performance.db")
    for name, rows in tables(n_runs).items():
        table = metadata.tables[name]
        with engine.begin() as connection:
            batch: list[list[object]] = []
            for row in tqdm(rows, desc=name, unit="row", file=sys.stderr):
                batch.append([row.get(column.name) for column in table.columns])
                if len(batch) == BATCH_SIZE:
                    database_of(engine).fill(connection, table, batch)
                    batch = []
            if batch:
                database_of(engine).fill(connection, table, batch)
    engine.dispose()
    make_models(home, n_models)
    make_reports(home / "reports", n_reports)
    (home / "complete").touch()


def tables(n_runs: int) -> dict[str, Iterator[Mapping[str, Any]]]:
    """Rows of every table; most sizes follow from the number of runs."""
    choose = random.Random(2)

    def time_of(number: int, total: int) -> str:
        return to_iso(NOW - timedelta(days=DAYS * (1.0 - number / max(1, total))))

    def pair(number: int, total: int) -> Mapping[str, Any]:
        bound = choose.uniform(40.0, 200.0)
        return {
            "timestamp": time_of(number, total), "request_id": f"run-1-{number}", "experiment": "ddqn_v1_vs_v2",
            "source": "replay" if number % 2 else "shadow", "replay": f"replay-{number % 50}" if number % 2 else None,
            "user_id": f"user_{number % 2_000}", "candidate": "model_b", "key_a": MODELS[0], "key_b": MODELS[1],
            "makespan_a": bound * choose.uniform(1.0, 1.1), "makespan_b": bound * choose.uniform(1.0, 1.1),
            "success_a": True, "success_b": True, "execution_time_a": choose.expovariate(50.0),
            "execution_time_b": choose.expovariate(50.0), "lower_bound": bound, "n_workpoints": 1, "n_steps": 15,
            "time_budget_ms": 20.0, "input_digest": hashlib.sha256(str(number).encode()).hexdigest(),
        }  # fmt: skip

    def replay(number: int, total: int) -> Mapping[str, Any]:
        return {
            "id": f"replay-{number}", "definition": f"definition-{number % 7}", "timestamp": time_of(number, total),
            "experiment": "ddqn_v1_vs_v2", "candidate": "model_b", "key_a": MODELS[0], "key_b": MODELS[1],
            "since": time_of(0, total), "last_run": n_runs, "total": 1_000, "options": '{"time_budget_ms": 20}',
        }  # fmt: skip

    def day(number: int, total: int) -> Mapping[str, Any]:
        first = NOW - timedelta(days=DAYS + total / 3)
        return {
            "day": to_iso(first + timedelta(days=number // 3))[:10], "model_key": MODELS[number % 3], "runs": 14_000,
            "failures": 280, "makespan_sum": choose.uniform(9e5, 1e6), "gap_sum": choose.uniform(1e2, 2e2),
            "gaps": 13_720, "execution_time_sum": choose.uniform(2e2, 3e2), "execution_time_max": choose.random(),
            "verdict_sum": 400, "verdicts": 100,
        }  # fmt: skip

    def alert(number: int, total: int) -> Mapping[str, Any]:
        began = time_of(number, total)
        return {
            "name": "max_makespan", "subject": f"模型 {number % 5}", "severity": "warning", "state": "resolved",
            "began": began, "last_beyond": began, "fired": began, "ended": began, "value": choose.uniform(60.0, 90.0),
            "threshold": 60.0, "message": "平均完工时间 67.1 h 超过阈值 60 h", "advice": "检查最近的模型和输入",
            "params": '{"mean": 67.1}', "notified": began, "notices": 1,
        }  # fmt: skip

    def notice(number: int, total: int) -> Mapping[str, Any]:
        written = time_of(number, total)
        return {
            "written": written, "channel": "dingtalk=https://robot.example/send", "digest": f"{number:064x}",
            "notice": json.dumps({"title": "性能告警", "text": "平均完工时间超过阈值 " * 4}), "attempts": 1,
            "delivered": written,
        }  # fmt: skip

    def silence(number: int, total: int) -> Mapping[str, Any]:
        times = {"began": time_of(number, total), "until": time_of(number + 1, total)}
        return {"name": "max_makespan", **times, "actor": "李工", "reason": "年度大修"}

    def rating(number: int, total: int) -> Mapping[str, Any]:
        comment = "比手工排程短" if number % 3 == 0 else None
        which = {"request_id": f"run-1-{number}", "timestamp": time_of(number, total)}
        return which | {"user_satisfaction": 1 + number % 5, "comment": comment}

    def name(number: int, total: int) -> Mapping[str, Any]:
        said = {"name": f"装置 {number % 90}", "owner": "王工", "search_key": f"装置 {number % 90} 王工"}
        return {"request_id": f"run-1-{number}", "timestamp": time_of(number, total)} | said

    def made(what: Any, total: int) -> Iterator[Mapping[str, Any]]:
        return ({"id": number + 1} | what(number, total) for number in range(total))

    def run(number: int, total: int) -> Mapping[str, Any]:
        which = {"request_id": f"run-1-{number}", "timestamp": time_of(number, total)}
        return different[number % len(different)] | which | {"placements": placements}

    different = [run_row(record, NOW) for record in records(min(n_runs, N_DIFFERENT))]
    placements = hashlib.shake_256(b"placements").digest(240)
    ranges = (
        {
            "replay": f"replay-{n // 1_000}", "number": n % 1_000, "first": 20 * n + 1, "last": 20 * n + 20,
            "requests": 20, "checksum": 400 * n + 210, "skipped": 0,
        }
        for n in range(n_runs // 20)
    )  # fmt: skip
    return {
        "runs": made(run, n_runs),
        "feedback": made(rating, n_runs // 20),
        "named_runs": made(name, n_runs // 50),
        "pairs": made(pair, n_runs // 10),
        "replays": made(replay, n_runs // 20_000),
        "replay_ranges": ranges,
        "days": made(day, 900),
        "alerts": made(alert, n_runs // 500),
        "silences": made(silence, 50),
        "outbox": made(notice, n_runs // 200),
    }


def make_models(home: Path, total: int) -> None:
    """One model is registered; the others have its metadata, and weights that end with another comment."""
    manager = ModelVersionManager(home / "models")
    key = manager.register_model(SEED, "DDQN", {"learning_rate": 0.001}, {}, version="8.0", tags=["canary"])
    record = json.loads((home / "models" / "metadata" / f"{key}.json").read_bytes())
    config = (home / "models" / "configs" / f"{key}.json").read_bytes()
    weights = SEED.read_bytes()
    with FolderStore(home).changing() as change:
        for number in tqdm(range(total - 1), desc="models", unit="model", file=sys.stderr):
            version = f"9.{number}.0"
            copy = f"{key.rpartition('_v')[0]}_v{version}"
            content = weights[:-2] + b"\x08\x00" + f"{number:08}".encode()  # the comment of a zip archive
            digest = hashlib.sha256(content).hexdigest()
            its = {"model_key": copy, "version": version, "sha256": digest, "size_bytes": len(content)}
            change.put(f"models/metadata/{copy}.json", json.dumps(record | its, ensure_ascii=False).encode())
            change.put(f"models/configs/{copy}.json", config)
            (home / "models" / "models" / f"{copy}.pth").write_bytes(content)
            before, after = ChangedValues({copy: None}, {}), ChangedValues({copy: "registered"}, {})
            event = Event(record["created_at"], "registered", copy, "李工", "benchmark", before, after)
            change.append("models/history.jsonl", asdict(event))
        for number in range(200):
            line = {"time": to_iso(NOW), "experiment": f"e{number}", "event": "created", "actor": "李工", "reason": ""}
            change.append("logs/experiments.jsonl", line)


def make_reports(folder: Path, total: int) -> None:
    """Pages of 200 KB and PDFs of 60 KB."""
    folder.mkdir()
    for number in range(total):
        moment = NOW - timedelta(hours=number)
        suffix, size = ("html", 100_000) if number % 2 else ("pdf", 60_000)
        content = random.Random(number).randbytes(size)
        path = folder / f"performance_{moment:%Y%m%d_%H%M%S}_zh.{suffix}"
        path.write_bytes(content.hex().encode() if suffix == "html" else content)


# --- the moves ---


def moved(home: Path, to: str, *, source: str | None = None, kill_after_s: float | None = None) -> Figures:
    """One move by the command, in a process of its own: its result, time, CPU time and greatest memory.

    Args:
        source: the database to move from; None: the file of the home.
        kill_after_s: the process is killed then, if it is still running.
    """
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SCHED_")}
    if source is not None:
        environment["SCHED_DATABASE_URL"] = source
    command = [sys.executable, "-m", "monitoring", "move", "--to", to, "--home", str(home), "--json"]
    peak_mib, before = 0.0, os.times()
    began_s = time.perf_counter()
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(command, stdout=output, stderr=errors, env=environment)
        while process.poll() is None:
            peak_mib = max(peak_mib, _peak_mib(process.pid))
            if kill_after_s is not None and time.perf_counter() - began_s > kill_after_s:
                process.kill()
            time.sleep(POLL_S)
        elapsed_s, after = time.perf_counter() - began_s, os.times()
        output.seek(0)
        figures: Figures = {
            "elapsed_s": elapsed_s,
            "cpu_s": after.children_user + after.children_system - before.children_user - before.children_system,
            "peak_mib": peak_mib,
        }
        if kill_after_s is not None:
            return figures | {"exit_status": process.returncode, "rows_left": rows_in(to), "home_mib": _mib(home)}
        if process.returncode != 0:
            errors.seek(0)
            raise RuntimeError(errors.read()[-1_000:].decode())
        return figures | {"parts": json.load(output)}


def rows_in(url: str) -> int:
    """The number of records."""
    engine = open_database(parse_place(url))
    with engine.connect() as connection:
        queries = (select(func.count()).select_from(table) for table in TABLES)
        total = sum(connection.execute(query).scalar_one() for query in queries)
    engine.dispose()
    return total


def _peak_mib(process: int) -> float:
    """Of a process's resident memory."""
    try:
        status = Path(f"/proc/{process}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):  # it has ended
        return 0.0
    found = re.search(r"VmHWM:\s*(\d+)", status)
    return int(found[1]) / 1024 if found else 0.0


def _mib(folder: Path) -> float:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 2**20


if __name__ == "__main__":
    sys.exit(main())
