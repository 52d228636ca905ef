"""schemathesis against a running service, all checks: `python -m benchmarks.fuzzing`; the summary goes to results/.

The service runs over a throw-away folder that has models, an experiment with runs, and a weights file to register.
"""

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.machine import machine
from tests.conftest import ROOT, LiveService, live_service

RESULTS = ROOT / "benchmarks" / "results" / "fuzzing.md"
CONFIG = ROOT / "tests" / "fuzz" / "schemathesis.toml"
ENVIRONMENT = {"SCHED_MAX_TIME_BUDGET_MS": "50"}


@contextmanager
def inhabited_service(home: Path) -> Iterator[LiveService]:
    """A service in which the documentation's examples name what is there."""
    home.mkdir(parents=True, exist_ok=True)
    shutil.copy(ROOT / "models" / "seed" / "ddqn_v2.pth", home / "best_model_v2.pth")
    with live_service(home, environment=ENVIRONMENT) as running:
        names = {"experiment_name": "ddqn_v1_vs_v2", "model_a": "DDQN_v1.0", "model_b": "DDQN_v2.0"}
        assert running.post("/experiments", json=names).status_code == 201
        for number in range(10):
            running.run(params=[number + 1.0] * 15, experiment="ddqn_v1_vs_v2", user_id=f"user_{number}")
        assert running.post("/plans", json={"name": "锅炉大修", "request": {"params": [1.0] * 15}}).status_code == 201
        assert running.post("/plans/锅炉大修/publish", json={"version": 1}).status_code == 200
        # What a process does once for its first chart and its first report is not what is asked about here.
        running.run(params=[1.0] * 15, charts=["process", "workpoint", "team"])
        assert running.post("/reports/performance", json={}).status_code == 201
        yield running


def fuzz(running: LiveService, n_examples: int, seed: int, *more: str, config: Path = CONFIG) -> tuple[int, str]:
    """Exit status and report of schemathesis, with so many examples for each operation and check of a phase."""
    command = [
        *(str(Path(sys.executable).with_name("schemathesis")), "--config-file", str(config)),
        *("run", f"{running.url}/openapi.json", "--checks", "all", "--max-examples", str(n_examples)),
        # /models/register also fits /models/{name}: `Allow` tells of the methods of both, and both answer.
        *("--exclude-checks", "allow_header_conformance"),
        *("--seed", str(seed), "--request-timeout", "300", "--max-response-time", "300", "--no-color", *more),
    ]
    done = subprocess.run(command, capture_output=True, text=True, cwd=running.home, check=False)
    return done.returncode, done.stdout + done.stderr


def n_cases(report: str) -> int:
    """How many cases a report says it generated."""
    found = re.search(r"(\d[\d,]*) generated", report)
    return int(found[1].replace(",", "")) if found else 0


def machine_line() -> str:
    """What this was run on."""
    return "; ".join(f"{name}: {value}" for name, value in machine().items())


def main() -> int:
    """0 if nothing was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--max-examples", type=int, default=200, help="examples per operation")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--report", type=Path, default=RESULTS)
    wanted = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, inhabited_service(Path(folder) / "home") as running:
        began_s = time.monotonic()
        status, report = fuzz(running, wanted.max_examples, wanted.seed)
        took_s = time.monotonic() - began_s
        is_alive = running.get("/health").status_code == 200
        n_traces = running.output.read_text(errors="replace").count("Traceback")
    summary = report[report.rfind("SUMMARY") :]
    told = (
        "# Fuzzing the HTTP interface\n\n"
        f"`python -m benchmarks.fuzzing --max-examples {wanted.max_examples} --seed {wanted.seed}`: "
        f"schemathesis with all checks (see `tests/fuzz/schemathesis.toml`) against a running service.\n\n"
        f"{machine_line()}\n\n"
        f"| cases | seconds | exit status | healthy afterwards | traces in the log |\n|---|---|---|---|---|\n"
        f"| {n_cases(report)} | {took_s:.0f} | {status} | {'yes' if is_alive else 'NO'} | {n_traces} |\n\n"
        f"```text\n{summary[summary.find(chr(10)) :].strip()}\n```\n"
    )
    wanted.report.write_text(told, encoding="utf-8")
    sys.stdout.write(report + told)
    return status


if __name__ == "__main__":
    sys.exit(main())
