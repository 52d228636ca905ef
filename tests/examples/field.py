"""Run `examples/` as users would: real client libraries, and a service with API keys and a rate limit.

A test whose tools are missing is skipped and names them; in CI as root they are fetched, so the test fails instead.
"""

import os
import re
import sqlite3
import subprocess
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT, LiveService
from tests.waiting import HANG_S

EXAMPLES = ROOT / "examples"
SPRING = EXAMPLES / "springboot"
VUE = EXAMPLES / "vue"
HOURS = [10, 5, 8, 6, 7, 9, 6, 7, 6, 7, 7, 7, 4, 7, 5]
OPTIMUM_H = 52.87
KEYS = {
    "vue": "run",
    "spring": "run",
    "python": "admin",
    "operator": "admin",
    "planner": "run",
    "crowd": "run",
}
"""Name of a key (and the key itself) -> its scope. Each has a limit of its own."""
BURST, PER_MINUTE = 20, 120
"""What the service lets through at once, and later."""


def experiment(plant: LiveService, name: str) -> None:
    answer = plant.post("/experiments", json={"experiment_name": name, "model_a": "DDQN_v1.0", "model_b": "DDQN_v2.0"})
    assert answer.status_code == 201, answer.text


def recorded(plant: LiveService, request_id: str) -> dict[str, Any]:
    """The recorded run, with its verdict."""
    with closing(sqlite3.connect(plant.home / "logs" / "performance.db")) as database:
        database.row_factory = sqlite3.Row
        row = database.execute(
            "SELECT * FROM runs LEFT JOIN feedback USING (request_id) WHERE request_id = ?", (request_id,)
        ).fetchone()
    return dict(row)


def refusals(plant: LiveService) -> int:
    """The number of runs refused by the rate limit so far."""
    lines = re.findall(r'^http_requests_total\{.*status="429".*\} (\S+)$', plant.get("/metrics").text, re.MULTILINE)
    return sum(int(float(line)) for line in lines)


def used_up(plant: LiveService, key: str) -> int:
    """Send requests with this key until one is refused; return the number of refused runs before."""
    body, headers = {"params": HOURS, "time_budget_ms": 0}, {"X-API-Key": key}
    answer = (plant.post("/run_algorithm", json=body, headers=headers).status_code for _ in range(10 * BURST))
    assert 429 in answer
    return refusals(plant)


@contextmanager
def stand_in(*answers: tuple[int, dict[str, str], str]) -> Iterator[str]:
    """The address of a server in place of the service: gives each answer once, and the last one repeatedly."""
    waiting = list(answers)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            status, headers, body = waiting.pop(0) if len(waiting) > 1 else waiting[0]
            content = body.encode()
            self.send_response(status)
            for name, value in ({"Content-Length": str(len(content))} | headers).items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()


BUSY_FOR_NO_TIME = (503, {"Retry-After": "0"}, "")
LOGIN_PAGE = (200, {"Content-Type": "text/html"}, "<html>Please log in</html>")


def absent(what: str, *can_be_had: str) -> None:
    """Skip the test because `what` is missing; in CI as root fail if the command says that it can be fetched."""
    if os.environ.get("CI") == "true" and os.geteuid() == 0:
        tried = subprocess.run(can_be_had, capture_output=True, timeout=HANG_S, check=False)
        assert tried.returncode != 0, f"in CI {what} must be there: make setup-dev"
    pytest.skip(f"{what} is absent: make setup-dev")


def ended(command: list[str | Path], *, timeout_s: float = 120, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, timeout=timeout_s, check=False, **options)


def blocks(document: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", document.read_text("utf-8"), re.MULTILINE | re.DOTALL)


def guide(language: str, of: str) -> str:
    """The block of the user's guide that contains `of`."""
    (found,) = (block for block in blocks(ROOT / "docs" / "GUIDE.zh.md", language) if of in block)
    return found
