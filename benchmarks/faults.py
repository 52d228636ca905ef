"""What clients see of each fault, and what is lost: a real service under a light load, broken for real, then mended.

    python -m benchmarks.faults                 every fault, about five minutes; needs root for most of them
    python -m benchmarks.faults --only locked   those whose name has the word

Writes results/faults.md. A run counts as lost if it was answered with 200 and no file of records has it afterwards.
"""

import argparse
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import requests

from benchmarks.machine import markdown_table, write_results
from scheduler_env import SAMPLE_PARAMS

ROOT = Path(__file__).resolve().parent.parent
N_CLIENTS = 4
PAUSE_S = 0.02
HELD_S = 3.0
NAMED_WITHIN_S = HEALED_WITHIN_S = 40.0
FAKETIME = "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1"


class NotPossibleHere(Exception):
    """The machine does not allow this fault."""


@dataclass
class Seen:
    """What clients saw; shared by their threads."""

    answers: Counter[str] = field(default_factory=Counter)
    reads: Counter[str] = field(default_factory=Counter)
    acknowledged: list[str] = field(default_factory=list)
    health_s: list[float] = field(default_factory=list)
    texts: set[str] = field(default_factory=set)  # of errors
    is_over: bool = False


class Trial:
    """A service over a home of its own, and the clients that call it."""

    def __init__(self, home: Path, output: Path, *, arguments: tuple[str, ...] = (), env: dict[str, str] | None = None):
        self.home, self._output, self._arguments, self._env = home, output, arguments, env or {}
        self.seen = Seen()
        self.mended_s = 0.0
        self._clients: list[threading.Thread] = []

    @property
    def database(self) -> Path:
        return self.home / "logs" / "performance.db"

    def start(self) -> None:
        with self._output.open("wb") as file:
            self.process = subprocess.Popen(
                [sys.executable, str(ROOT / "enhanced_flask.py"), "--port", "0", *self._arguments],
                cwd=ROOT, stdout=file, stderr=file,
                env=os.environ | {"SCHED_HOME": str(self.home), "OMP_NUM_THREADS": "1"} | self._env,
            )  # fmt: skip
        deadline = time.monotonic() + 60.0
        while not (found := re.search(r"serving on (http://\S+)", self._output.read_text(errors="replace"))):
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"it did not start: {self._output.read_text(errors='replace')[-2_000:]}")
            time.sleep(0.02)
        self.url = found[1]

    def load(self, n_clients: int = N_CLIENTS) -> None:
        calls = [self._run] * n_clients + [self._read]
        self._clients = [threading.Thread(target=self._call, args=(call,)) for call in calls]
        for client in self._clients:
            client.start()

    def stop(self) -> None:
        self.seen.is_over = True
        for client in self._clients:
            client.join()
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def health(self) -> tuple[int, dict[str, Any]]:
        begun_s = time.monotonic()
        try:
            answer = requests.get(f"{self.url}/health", timeout=10)
        except requests.RequestException:
            return 0, {}
        finally:
            self.seen.health_s.append(time.monotonic() - begun_s)
        return answer.status_code, answer.json()

    def named(self, part: str, word: str = "") -> str:
        """What /health says of the part, once it says that it fails, or has the word."""
        deadline = time.monotonic() + NAMED_WITHIN_S
        while time.monotonic() < deadline:
            _, told = self.health()
            found = told.get("parts", {}).get(part, {})
            if (found.get("status") == "failing" and not word) or (word and word in found.get("detail", "")):
                return f"{part}: {found['detail']}"
            time.sleep(0.1)
        return "**not named**"

    def healed_s(self) -> float | None:
        """Seconds from the mending until /health is well and a run is answered."""
        deadline = time.monotonic() + HEALED_WITHIN_S
        while time.monotonic() < deadline:
            if self.health()[0] == 200 and self._run(requests.Session(), 10.0) == "200":
                return time.monotonic() - self.mended_s
            time.sleep(0.1)
        return None

    def lost(self) -> int:
        """Acknowledged runs that no file of records has."""
        recorded: set[str] = set()
        for file in self.database.parent.glob("performance.db*"):
            if file.name.endswith(("-shm", "-wal", ".lock")):
                continue
            with suppress(sqlite3.DatabaseError), closing(sqlite3.connect(file)) as connection:
                recorded |= {row[0] for row in connection.execute("SELECT request_id FROM runs")}
        return len(set(self.seen.acknowledged) - recorded)

    def _call(self, call: Callable[[requests.Session], str]) -> None:
        session = requests.Session()
        while not self.seen.is_over:
            answered = call(session)
            time.sleep(PAUSE_S if answered != "no answer" else 0.25)

    def _run(self, session: requests.Session, timeout_s: float = 60.0) -> str:
        body = {"params": list(SAMPLE_PARAMS), "time_budget_ms": 0, "experiment": "compared"}
        try:
            answer = session.post(f"{self.url}/run_algorithm", json=body, timeout=timeout_s)
        except requests.RequestException:
            status = "no answer"
        else:
            status = str(answer.status_code)
            if answer.status_code == 200:
                told = answer.json()
                self.seen.acknowledged.append(told["request_id"])
                if told["experiment_info"]["reason"] == "fallback":
                    status = "200 by another model"
            else:
                self.seen.texts.add(answer.text)
        self.seen.answers[status] += 1
        return status

    def _read(self, session: requests.Session) -> str:
        for path in ("/models", "/experiments", "/performance"):
            try:
                status = str(session.get(f"{self.url}{path}", timeout=60).status_code)
            except requests.RequestException:
                status = "no answer"
            self.seen.reads[status] += 1
        return status


Fault = Callable[[Trial], str]
"""Breaks, waits until it is named, holds, mends (setting `mended_s`), and answers what /health named."""


def held(trial: Trial, part: str, mend: Callable[[], object], word: str = "", for_s: float = HELD_S) -> str:
    named = trial.named(part, word)
    time.sleep(for_s)
    mend()
    trial.mended_s = time.monotonic()
    return named


def healed_by_itself(trial: Trial, part: str, word: str) -> str:
    return held(trial, part, lambda: None, word, 0.5)


# --- the database ---


def locked(trial: Trial, for_s: float) -> str:
    with closing(sqlite3.connect(trial.database, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        return held(trial, "database", lambda: other.execute("ROLLBACK"), for_s=for_s)


def damage(path: Path, at: int, n_bytes: int) -> None:
    with path.open("r+b") as file:
        file.seek(at)
        file.write(os.urandom(n_bytes))


def repair(trial: Trial) -> None:
    subprocess.run(
        [sys.executable, "-m", "monitoring", "repair", "--home", str(trial.home)], cwd=ROOT, check=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip


def into_the_file(trial: Trial) -> None:
    """All that is in the log so far; a page that is there, too, is not missed in the file."""
    with closing(sqlite3.connect(trial.database)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def damaged_in_the_middle(trial: Trial) -> str:
    into_the_file(trial)
    size = trial.database.stat().st_size
    damage(trial.database, size // 2 // 4_096 * 4_096, 8 * 4_096)
    return held(trial, "database", lambda: repair(trial))


def damaged_header(trial: Trial) -> str:
    into_the_file(trial)
    damage(trial.database, 0, 100)
    return held(trial, "database", lambda: repair(trial))


def deleted(trial: Trial) -> str:
    for file in trial.database.parent.glob("performance.db*"):
        file.unlink()
    return healed_by_itself(trial, "database", "was deleted")


def moved_away(trial: Trial) -> str:
    trial.database.rename(trial.database.with_name("performance.db.away"))
    return healed_by_itself(trial, "database", "was taken away")


def replaced(trial: Trial) -> str:
    copy = trial.database.with_name("performance.db.copy")
    with closing(sqlite3.connect(trial.database)) as source, closing(sqlite3.connect(copy)) as target:
        source.backup(target)
    time.sleep(0.5)
    os.replace(copy, trial.database)
    return healed_by_itself(trial, "database", "was replaced")


# --- disk and folders ---


def full_disk(trial: Trial) -> str:
    ballast = trial.home / "ballast"
    with suppress(OSError), ballast.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(2**16))
    with suppress(OSError), ballast.open("ab", buffering=0) as file:
        while True:
            file.write(b"x")
    return held(trial, "disk", ballast.unlink)


def frozen_disk(trial: Trial) -> str:
    subprocess.run(["fsfreeze", "-f", str(trial.home)], check=True)
    try:
        return held(trial, "database", lambda: subprocess.run(["fsfreeze", "-u", str(trial.home)], check=True))
    except BaseException:
        subprocess.run(["fsfreeze", "-u", str(trial.home)], check=False)
        raise


def read_only(folder: str) -> Fault:
    def break_it(trial: Trial) -> str:
        path = str(trial.home / folder)
        for command in (["--bind", path, path], ["-o", "remount,ro,bind", path]):
            if subprocess.run(["mount", *command], check=False, stderr=subprocess.DEVNULL).returncode:
                raise NotPossibleHere("mount is not allowed")
        try:
            return held(trial, "folders", lambda: subprocess.run(["umount", "-l", path], check=True))
        except BaseException:
            subprocess.run(["umount", "-l", path], check=False)
            raise

    return break_it


# --- models and configuration ---


def weights(trial: Trial, name: str) -> Path:
    key = requests.get(f"{trial.url}/models/{name}", timeout=10).json()["model"]["model_key"]
    return trial.home / "models" / "models" / f"{key}.pth"


def put(content: bytes | None, find: Callable[[Trial], Path], part: str) -> Fault:
    """Another content, or none, in place of a file."""

    def break_it(trial: Trial) -> str:
        path = find(trial)
        before = path.read_bytes()
        path.unlink()
        if content is not None:
            path.write_bytes(content)
        return held(trial, part, lambda: path.write_bytes(before))

    return break_it


def no_models(trial: Trial) -> str:
    away = trial.home / "away"
    (trial.home / "models" / "metadata").rename(away)
    (trial.home / "models" / "metadata").mkdir()

    def mend() -> None:
        (trial.home / "models" / "metadata").rmdir()
        away.rename(trial.home / "models" / "metadata")

    return held(trial, "models", mend)


def configuration(trial: Trial) -> Path:
    return trial.home / "ab_test_config.json"


# --- clock and processes ---


def clock(offset: str) -> Fault:
    def break_it(trial: Trial) -> str:
        trial.home.joinpath("offset").write_text(f"{offset}\n")
        return held(trial, "clock", lambda: trial.home.joinpath("offset").write_text("+0\n"), "was set", 1.0)

    return break_it


def killed(trial: Trial) -> str:
    """kill -9 and a new start, five times."""
    for _ in range(5):
        time.sleep(1.0)
        trial.process.send_signal(signal.SIGKILL)
        trial.process.wait()
        trial.start()
        trial.mended_s = time.monotonic()
    return "the clients' connections break; a supervisor starts it again"


def worker_killed(trial: Trial) -> str:
    children = Path(f"/proc/{trial.process.pid}/task/{trial.process.pid}/children").read_text().split()
    os.kill(int(children[0]), signal.SIGKILL)
    trial.mended_s = time.monotonic()
    return "the other worker answers"


@dataclass(frozen=True)
class Case:
    """A fault, and what it needs."""

    name: str
    fault: Fault
    where: str = "folder"  # or "tmpfs", "ext4": a small file system of its own
    arguments: tuple[str, ...] = ()
    before: Callable[[Trial], object] = lambda _: None  # before the start
    is_broken: bool = False  # when it starts
    has_clock: bool = False
    n_clients: int = N_CLIENTS


def broken_before_start(trial: Trial) -> None:
    into_the_file(trial)
    damage(trial.database, 0, 4_096)


DEFAULT, ASSIGNED = "DDQN_v2.0", "DDQN_v1.0"
CONFIGS = {
    "garbage": b"\x00\xff{",
    "empty": b"",
    "cut off": b'{"experiments": {"a"',
    "of wrong types": b'{"experiments": 3}',
}
CASES = (
    Case("database locked by another process for 30 s", lambda trial: locked(trial, 30.0)),
    Case("database damaged in the middle; mended by `repair`", damaged_in_the_middle),
    Case("database's header damaged; mended by `repair`", damaged_header),
    Case(
        "database damaged before the start; mended by `repair`",
        lambda trial: held(trial, "database", lambda: repair(trial)), before=broken_before_start, is_broken=True,
    ),
    Case("database deleted, with its log", deleted),
    Case("database deleted below two workers", deleted, arguments=("--workers", "2")),
    Case("database moved away", moved_away),
    Case("database replaced by a copy", replaced),
    Case("disk full (tmpfs)", full_disk, "tmpfs"),
    Case("disk hangs (ext4, frozen)", frozen_disk, "ext4"),
    *(Case(f"{name or 'SCHED_HOME'} read-only", read_only(name)) for name in ("logs", "models", "reports", "")),
    Case("default model's file deleted", put(None, lambda trial: weights(trial, DEFAULT), "models")),
    Case("default model's file damaged", put(b"x" * 99, lambda trial: weights(trial, DEFAULT), "models")),
    Case("assigned model's file deleted", put(None, lambda trial: weights(trial, ASSIGNED), "models")),
    Case("all models' metadata gone", no_models),
    *(Case(f"ab_test_config.json {name}", put(text, configuration, "experiments")) for name, text in CONFIGS.items()),
    Case("ab_test_config.json of 64 MiB", put(b" " * 2**26, configuration, "experiments")),
    Case("clock set back by 5 h", clock("-5h"), has_clock=True),
    Case("clock set forward by 5 h", clock("+5h"), has_clock=True),
    Case("kill -9 of the service, five times, 8 clients", killed, n_clients=8),
    Case("kill -9 of one of two workers, 8 clients", worker_killed, arguments=("--workers", "2"), n_clients=8),
)  # fmt: skip


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--only", default="", metavar="WORD", help="only faults with WORD in their name; writes nothing"
    )
    chosen = parser.parse_args(arguments)
    rows = []
    with tempfile.TemporaryDirectory(prefix="faults-") as folder:
        template = made_home(Path(folder) / "template")
        for number, case in enumerate(each for each in CASES if chosen.only in each.name):
            row = measure(case, Path(folder) / str(number), template)
            print(" | ".join(str(cell) for cell in row), flush=True)
            rows.append(row)
    header = (
        "fault",
        "runs",
        "reading routes",
        "/health named",
        "/health at most",
        "healed after",
        "acknowledged, lost",
    )
    if not chosen.only:
        table = markdown_table(header, rows)
        text = f"# Faults\n\n{table}\n\n{NOTES}"
        write_results("faults", "python -m benchmarks.faults", text, {"header": header, "rows": rows})
    return int(any(str(row[-1]).rpartition(" ")[2] not in ("0", "-") for row in rows))


NOTES = """Runs and reads are counted by status from one second before the fault until one second after it was healed.
"Healed after": from when the cause was gone until `/health` is well and a run is answered; of what heals by itself,
from when it was named. "Lost": answered with 200, and in no file of records afterwards."""


def made_home(home: Path) -> Path:
    """With seed models, an experiment, and some thousand runs."""
    home.mkdir()
    trial = Trial(home, home.with_suffix(".txt"))
    trial.start()
    body = {"experiment_name": "compared", "model_a": DEFAULT, "model_b": ASSIGNED, "guardrails": {}}
    requests.post(f"{trial.url}/experiments", json=body, timeout=30).raise_for_status()
    trial.load(8)
    time.sleep(8.0)
    trial.stop()
    return home


def measure(case: Case, folder: Path, template: Path) -> tuple[str, ...]:
    folder.mkdir()
    home = folder / "home"
    home.mkdir()
    try:
        with mounted(case.where, home, folder):
            shutil.copytree(template, home, dirs_exist_ok=True)
            env = {}
            if case.has_clock:
                if not Path(FAKETIME).exists():
                    raise NotPossibleHere("libfaketime is not installed")
                (home / "offset").write_text("+0\n")
                env = {
                    "LD_PRELOAD": FAKETIME, "FAKETIME_TIMESTAMP_FILE": str(home / "offset"),
                    "FAKETIME_CACHE_DURATION": "1", "FAKETIME_DONT_FAKE_MONOTONIC": "1",
                }  # fmt: skip
            trial = Trial(home, folder / "output.txt", arguments=case.arguments, env=env)
            case.before(trial)
            trial.start()
            try:
                while requests.get(f"{trial.url}/health/ready", timeout=30).status_code != 200 and not case.is_broken:
                    time.sleep(0.05)
                trial.load(case.n_clients)
                time.sleep(1.0)
                named = case.fault(trial)
                healed_s = trial.healed_s()
                time.sleep(1.0)
            finally:
                trial.stop()
            for text in trial.seen.texts:
                if "Traceback" in text:
                    raise RuntimeError(text)
            return (
                case.name,
                counts(trial.seen.answers),
                counts(trial.seen.reads),
                re.sub(r"(\S*/)+home/", "", named).replace("|", "/")[:160],
                f"{max(trial.seen.health_s):.2f} s",
                "**never**" if healed_s is None else f"{healed_s:.1f} s",
                f"{len(trial.seen.acknowledged)}, {trial.lost()}",
            )
    except NotPossibleHere as err:
        return (case.name, f"not possible here: {err}", "-", "-", "-", "-", "-")


def counts(seen: Counter[str]) -> str:
    return ", ".join(f"{status}: {count}" for status, count in sorted(seen.items()))


@contextmanager
def mounted(where: str, home: Path, folder: Path) -> Iterator[None]:
    if where == "folder":
        yield
        return
    if where == "tmpfs":
        command = ["mount", "-t", "tmpfs", "-o", "size=160m", "tmpfs", str(home)]
    else:
        with (folder / "disk").open("wb") as file:
            file.truncate(256 * 2**20)
        subprocess.run(["mkfs.ext4", "-q", str(folder / "disk")], check=True)
        command = ["mount", "-o", "loop", str(folder / "disk"), str(home)]
    if subprocess.run(command, check=False, stderr=subprocess.DEVNULL).returncode:
        raise NotPossibleHere("mount is not allowed")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(home)], check=False)


if __name__ == "__main__":
    sys.exit(main())
