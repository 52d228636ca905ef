"""The service as clients meet it: a real process on a real port, over a folder of its own."""

import atexit
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import requests
from hypothesis import settings

from tests.preloaded import python
from tests.waiting import HANG_S, until

if TYPE_CHECKING:
    from flask import Flask
    from playwright.sync_api import Browser

ROOT = Path(__file__).resolve().parent.parent

NEW_PROCESS = (sys.executable, str(ROOT / "enhanced_flask.py"))
"""The command of a service whose start, process id, memory or sudden end is tested."""

MEMORY, MIN_FREE_BYTES = Path("/dev/shm"), 4 * 2**30
# `tmp_path` is in memory where there is room: services wait for the disk after each change, most of the time of some
# files' tests. Whether they ask the disk to wait, `test_commits_go_to_the_disk` looks.
if "PYTEST_DEBUG_TEMPROOT" not in os.environ and MEMORY.is_dir() and shutil.disk_usage(MEMORY).free > MIN_FREE_BYTES:
    os.environ["PYTEST_DEBUG_TEMPROOT"] = str(MEMORY)

settings.register_profile("untimed", deadline=None)  # an example that takes long is not wrong
settings.load_profile("untimed")


@dataclass
class LiveService:
    """A running service; `post("/x", json=...)` and the like call it."""

    url: str
    home: Path
    process: subprocess.Popen[bytes]
    output: Path
    session: requests.Session = field(default_factory=requests.Session)

    def get(self, path: str, **more: Any) -> requests.Response:
        return self.session.get(self.url + path, timeout=HANG_S, **more)

    def post(self, path: str, **more: Any) -> requests.Response:
        return self.session.post(self.url + path, timeout=HANG_S, **more)

    def put(self, path: str, **more: Any) -> requests.Response:
        return self.session.put(self.url + path, timeout=HANG_S, **more)

    def delete(self, path: str, **more: Any) -> requests.Response:
        return self.session.delete(self.url + path, timeout=HANG_S, **more)

    def run(self, **body: Any) -> dict[str, Any]:
        """The answer of a run that has to succeed."""
        answer = self.post("/run_algorithm", json=body)
        assert answer.status_code == 200, answer.text
        told: dict[str, Any] = answer.json()
        return told

    def log(self) -> str:
        """Its log as it is now; lines are written some milliseconds after they were said, see `said`."""
        return (self.home / "logs" / "flask_service.log").read_text(encoding="utf-8")

    def said(self, text: str, times: int = 1) -> str:
        """Its log, as soon as the text is in it so often."""
        return until(lambda: self.log() if self.log().count(text) >= times else "", f"{text!r} in the log")

    def queued(self, kind: str = "improving") -> float:
        """Pieces of work of a kind that it is at, or that wait for their turn, in all of its processes."""
        found = re.findall(rf'^queue_depth\{{kind="{kind}"\}} (\S+)$', self.get("/metrics").text, re.MULTILINE)
        return sum(map(float, found))

    def stop(self) -> int:
        """End it as an init system does; the exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=HANG_S)


@contextmanager
def live_service(
    home: Path,
    *,
    arguments: Sequence[str] = (),
    environment: dict[str, str] | None = None,
    command: Sequence[str] = (),
) -> Iterator[LiveService]:
    """`python enhanced_flask.py --port 0` over `home`; ends with the block. A failed start shows its output.

    One process is forked from a Python that has everything imported (see `preloaded`), unless `command` says another.
    Several are always new: the metrics that they share are set up before their library is imported.
    """
    workers = dict(pairwise(arguments)).get("--workers") or (environment or {}).get("SCHED_WORKERS", "1")
    command = command or ((python(), NEW_PROCESS[1]) if workers == "1" else NEW_PROCESS)
    home.mkdir(parents=True, exist_ok=True)
    output = home / "output.txt"
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("SCHED_", "PROMETHEUS_"))}
    clean["MPLCONFIGDIR"] = str(_fonts_known())  # or each home's first chart begins by looking for fonts
    with output.open("wb") as file:
        process = subprocess.Popen(
            [*command, *arguments],
            cwd=home,
            env=clean
            | {"HOME": str(home), "SCHED_PORT": "0", "SCHED_HOME": str(home), "OMP_NUM_THREADS": "1"}
            | (environment or {}),
            stdout=file,
            stderr=subprocess.STDOUT,
        )
    try:
        yield LiveService(_url(process, output), home, process, output)
    finally:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(timeout=HANG_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@cache
def _fonts_known() -> Path:
    """A folder where matplotlib keeps its list of fonts, shared by the services of this run."""
    folder = Path(tempfile.mkdtemp(prefix="matplotlib-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def _url(process: subprocess.Popen[bytes], output: Path) -> str:
    deadline = time.monotonic() + HANG_S
    while time.monotonic() < deadline:
        text = output.read_text(encoding="utf-8", errors="replace")
        if found := re.search(r"serving on (http://\S+)", text):
            return found[1]
        if process.poll() is not None:
            break
        time.sleep(0.02)
    pytest.fail(f"the service did not start (exit status {process.poll()}):\n{output.read_text()[-3_000:]}")


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveService]:
    """The service that tests share. What one test makes there, the others must not mind."""
    with live_service(tmp_path_factory.mktemp("service")) as running:
        yield running


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a service that the tests of a module share."""
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def app(home: Path) -> "Flask":
    """The service over `home`, in this process."""
    from enhanced_flask import create_app
    from scheduler_service.settings import Settings

    return create_app(Settings(home=home))


@pytest.fixture
def pictures() -> None:
    """Asked for by tests of reports that are about the charts."""


@pytest.fixture
def mostly_words(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Reports without charts, unless the test asks for `pictures`: drawing takes most of the time of a report."""
    if "pictures" not in request.fixturenames:
        monkeypatch.setattr("scheduler_service.reporting.page.data_uri", lambda drawn: "data:,")
        for name in ("boxes", "cumulative"):
            monkeypatch.setattr(f"scheduler_service.reporting.figures.{name}", lambda *_, **__: None)
        monkeypatch.setattr("scheduler_service.reporting.evolution.MOMENTS", 8)


@pytest.fixture(scope="session")
def browser() -> Iterator["Browser"]:
    """Debian's Chromium; playwright brings none along. One for all tests: it can be driven once in a process.

    Its headless shell loads a page with half the processor time of the browser that has windows.
    """
    from playwright.sync_api import sync_playwright

    programs = (os.environ.get("CHROMIUM"), "chromium-headless-shell", "chromium", "chromium-browser")
    chromium = next(filter(None, (shutil.which(name) for name in programs if name)), None)
    if chromium is None:
        pytest.skip("there is no chromium: apt-get install chromium")
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        yield running
        running.close()


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    """Show the end of the shared service's log with the failure of a test that uses it.

    What was captured goes from the process that ran the test to the one that tells, as UTF-8; some tests log lone
    surrogates on purpose.
    """
    outcome: Any = yield
    report = outcome.get_result()
    running = getattr(item, "funcargs", {}).get("service")
    if report.failed and isinstance(running, LiveService):
        report.sections.append(("log of the service", running.output.read_text(errors="replace")[-3_000:]))
    report.sections = [(name, text.encode("utf-8", "backslashreplace").decode()) for name, text in report.sections]
