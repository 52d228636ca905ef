"""Fixtures that run the service as clients see it: a real process on a real port, with its own home folder."""

import atexit
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import requests
from hypothesis import settings

from scheduler_service.store.folder import FolderStore
from tests.preloaded import OWN_PATH, python
from tests.waiting import HANG_S, until

if TYPE_CHECKING:
    from flask import Flask
    from playwright.sync_api import Browser

    from monitoring import PerformanceMonitor
    from scheduler_service.database_url import DatabaseUrl
    from scheduler_service.store.change import Store
    from tests.postgresql import Server

ROOT = Path(__file__).resolve().parent.parent

NEW_PROCESS = (sys.executable, str(ROOT / "enhanced_flask.py"))
"""The command of a service whose start, process id, memory or sudden end is tested."""

MEMORY, MIN_FREE_BYTES = Path("/dev/shm"), 4 * 2**30
# `tmp_path` is in memory if there is room: most of the time of some tests is the service waiting for the disk.
# `test_commits_are_synced_to_disk` checks that the service does request the sync.
if "PYTEST_DEBUG_TEMPROOT" not in os.environ and MEMORY.is_dir() and shutil.disk_usage(MEMORY).free > MIN_FREE_BYTES:
    os.environ["PYTEST_DEBUG_TEMPROOT"] = str(MEMORY)

settings.register_profile("untimed", deadline=None)  # slow examples are not failures
settings.load_profile("untimed")


def pytest_configure(config: pytest.Config) -> None:
    """The processes of pytest-xdist share one preloaded Python. It imports nothing before its first use."""
    if getattr(config.option, "numprocesses", None) and OWN_PATH not in os.environ:
        os.environ[OWN_PATH] = python()


@dataclass
class LiveService:
    """A running service with HTTP helpers such as `post("/x", json=...)`."""

    url: str
    home: Path
    process: subprocess.Popen[bytes]
    output: Path
    session: requests.Session = field(default_factory=requests.Session)

    def get(self, path: str, **options: Any) -> requests.Response:
        return self.session.get(self.url + path, timeout=HANG_S, **options)

    def post(self, path: str, **options: Any) -> requests.Response:
        return self.session.post(self.url + path, timeout=HANG_S, **options)

    def put(self, path: str, **options: Any) -> requests.Response:
        return self.session.put(self.url + path, timeout=HANG_S, **options)

    def delete(self, path: str, **options: Any) -> requests.Response:
        return self.session.delete(self.url + path, timeout=HANG_S, **options)

    def run(self, **request: Any) -> dict[str, Any]:
        """Run the algorithm, require success and return the answer."""
        answer = self.post("/run_algorithm", json=request)
        assert answer.status_code == 200, answer.text
        body: dict[str, Any] = answer.json()
        return body

    def log(self) -> str:
        """The current log. Lines are written a few milliseconds after the event; see `wait_for_log`."""
        return (self.home / "logs" / "flask_service.log").read_text(encoding="utf-8")

    def wait_for_log(self, text: str, times: int = 1) -> str:
        """Wait until the log contains `text` at least `times` times; return the log."""
        return until(lambda: self.log() if self.log().count(text) >= times else "", f"{text!r} in the log")

    def queued(self, kind: str = "improving") -> float:
        """The number of running and waiting jobs of a kind, over all worker processes."""
        found = re.findall(rf'^queue_depth\{{kind="{kind}"\}} (\S+)$', self.get("/metrics").text, re.MULTILINE)
        return sum(map(float, found))

    def stop(self) -> int:
        """Stop it with SIGTERM, as an init system does; return the exit status."""
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
    """Run `python enhanced_flask.py --port 0` with `home` for the length of the block; a failed start shows its output.

    A single process is forked from a Python that has everything imported (see `preloaded`), unless `command` is given.
    Several workers need a new process: their shared metrics must be set up before the metrics library is imported.
    """
    workers = dict(pairwise(arguments)).get("--workers") or (environment or {}).get("SCHED_WORKERS", "1")
    command = command or ((python(), NEW_PROCESS[1]) if workers == "1" else NEW_PROCESS)
    home.mkdir(parents=True, exist_ok=True)
    output = home / "output.txt"
    clean = {
        name: value for name, value in os.environ.items() if not name.startswith(("SCHED_", "PROMETHEUS_", "OTEL_"))
    }
    clean["MPLCONFIGDIR"] = str(_fonts_known())  # otherwise the first chart of each home starts with a search for fonts
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
    """A folder for matplotlib's font list, shared by all services of this test run."""
    folder = Path(tempfile.mkdtemp(prefix="matplotlib-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def _url(process: subprocess.Popen[bytes], output: Path) -> str:
    deadline = time.monotonic() + HANG_S
    while time.monotonic() < deadline:
        text = output.read_text(encoding="utf-8", errors="replace")
        if found := re.search(r'serving on (http://[^\s"]+)', text):
            return found[1]
        if process.poll() is not None:
            break
        time.sleep(0.02)
    pytest.fail(f"the service did not start (exit status {process.poll()}):\n{output.read_text()[-3_000:]}")


@pytest.fixture(autouse=True)
def outside_of_requests() -> None:
    """Requests of a test client run in the context of the test, which keeps their trace."""
    from scheduler_service.trace_context import trace_var

    trace_var.set(None)


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveService]:
    """A service shared by all tests; what one test creates must not disturb the others."""
    with live_service(tmp_path_factory.mktemp("service")) as running:
        yield running


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The home folder of a service shared by the tests of a module."""
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def app(home: Path) -> "Flask":
    """The service over `home`, in this process."""
    from enhanced_flask import create_app
    from scheduler_service.settings import Settings

    return create_app(Settings(home=home))


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test of a module with `ENGINES` or `STORES` runs over each of them, unless it examines the files of one."""
    stores = getattr(metafunc.module, "STORES", ())
    if stores and "open_store" in metafunc.fixturenames and not metafunc.definition.get_closest_marker("only_folder"):
        metafunc.parametrize("open_store", stores, indirect=True)
    engines = getattr(metafunc.module, "ENGINES", ())
    if engines and "records" in metafunc.fixturenames and not metafunc.definition.get_closest_marker("only_sqlite"):
        metafunc.parametrize("records", engines, indirect=True)


@pytest.fixture(scope="session")
def postgresql() -> Iterator["Server"]:
    """A PostgreSQL server for all tests of this process."""
    from tests.postgresql import NoServer, long_timeouts, new_server

    try:
        with new_server() as server, long_timeouts():
            yield server
    except NoServer as err:
        pytest.skip(str(err))


@pytest.fixture(autouse=True)
def no_open_connections() -> Iterator[None]:
    """Monitors that a test does not close have closed connections at its end."""
    yield
    if module := sys.modules.get("tests.postgresql"):
        module.close_connections()


@pytest.fixture(scope="module")
def address(postgresql: "Server") -> Iterator[str]:
    """SCHED_DATABASE_URL for the services of a module: a schema of its own."""
    with postgresql.schema() as url:
        options = url.parameters["options"].replace("=", "%3D")
        yield f"{postgresql.address}?options={options}"


@pytest.fixture
def records(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator["Path | DatabaseUrl"]:
    """Where a new monitor keeps its records: in a file, or in a schema of its own in PostgreSQL."""
    if getattr(request, "param", "sqlite") == "sqlite":
        yield tmp_path / "performance.db"
        return
    server: Server = request.getfixturevalue("postgresql")
    with server.schema() as url:
        yield url


@pytest.fixture
def open_store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[], "Store"]]:
    """Open another store with the same content, as another process would: the folder `tmp_path`, or PostgreSQL."""
    if getattr(request, "param", "folder") == "folder":
        yield lambda: FolderStore(tmp_path)
        return
    from scheduler_service.store.database import DatabaseStore

    opened: list[DatabaseStore] = []

    def open_one() -> DatabaseStore:
        opened.append(DatabaseStore(url, tmp_path / f"replica{len(opened)}"))
        return opened[-1]

    server: Server = request.getfixturevalue("postgresql")
    with server.schema() as url:
        yield open_one
        for store in opened:
            store.close()


@pytest.fixture
def open_monitor(records: "Path | DatabaseUrl", tmp_path: Path) -> Iterator[Callable[..., "PerformanceMonitor"]]:
    """Open another monitor over `records`."""
    from monitoring import PerformanceMonitor

    opened: list[PerformanceMonitor] = []

    def open_one(**options: Any) -> "PerformanceMonitor":
        usual = {"reports_dir": tmp_path / "reports", "thresholds_file": tmp_path / "alert_thresholds.json"}
        opened.append(PerformanceMonitor(records, **(usual | options)))
        return opened[-1]

    yield open_one
    for each in opened:
        each.close()


@pytest.fixture
def monitor(request: pytest.FixtureRequest, open_monitor: Callable[..., "PerformanceMonitor"]) -> "PerformanceMonitor":
    """A monitor over a new database; its clock stands at the `NOW` of the test's module."""
    now = request.module.NOW
    return open_monitor(clock=lambda: now)


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Callable[[int], Path]:
    """`weights(n)` is the path of the n-th real checkpoint; different numbers have different weights."""
    from tests.checkpoints import write_checkpoint

    folder = tmp_path_factory.mktemp("weights")
    return cache(lambda number: write_checkpoint(folder / f"w{number}.pth", number))


@pytest.fixture
def set_time_zone(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """Set the local time zone of this process until the end of the test."""

    def set_zone(zone: str) -> None:
        monkeypatch.setenv("TZ", zone)
        time.tzset()

    yield set_zone
    monkeypatch.undo()
    time.tzset()


@pytest.fixture
def no_fsync(monkeypatch: pytest.MonkeyPatch) -> None:
    """Skip fsync, which protects only against power failures; after kill -9 written data is kept by the system."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


@pytest.fixture
def pictures() -> None:
    """Requested by tests of the charts of reports."""


@pytest.fixture
def mostly_words(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Skip the drawing of charts, which takes most of the time of a report, unless the test requests `pictures`."""
    if "pictures" not in request.fixturenames:
        monkeypatch.setattr("scheduler_service.reporting.page.data_uri", lambda drawn: "data:,")
        for name in ("boxes", "cumulative"):
            monkeypatch.setattr(f"scheduler_service.reporting.figures.{name}", lambda *_, **__: None)
        monkeypatch.setattr("scheduler_service.reporting.evolution.MOMENTS", 8)


@pytest.fixture(scope="session")
def browser() -> Iterator["Browser"]:
    """Debian's Chromium (playwright is installed without browsers), one instance for the whole test process.

    Its headless shell needs half the CPU time of the full browser to load a page.
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
    """On failure of a test that uses the shared service, add the end of the service's log.

    Captured output is re-encoded: some tests log lone surrogates, which cannot be sent as UTF-8 to the main process.
    """
    outcome: Any = yield
    report = outcome.get_result()
    running = getattr(item, "funcargs", {}).get("service")
    if report.failed and isinstance(running, LiveService):
        report.sections.append(("log of the service", running.output.read_text(errors="replace")[-3_000:]))
    report.sections = [(name, text.encode("utf-8", "backslashreplace").decode()) for name, text in report.sections]
