"""The processes of deploy/compose.replicas.yaml on loopback, without containers: PostgreSQL, replicas, HAProxy.

  python -m tests.stack --home FOLDER [--replicas 2]

Settings of the replicas and the configuration of the front are those of the files in deploy/; only addresses and
passwords differ. Needs `make setup-dev`. Records are deleted at its end.
"""

import argparse
import secrets
import signal
import socket
import struct
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import yaml  # type: ignore[import-untyped]

from scheduler_service.keys import digest_of
from scheduler_service.settings import PROJECT_ROOT
from tests.conftest import NEW_PROCESS, LiveService, live_service
from tests.fronts import Front, front
from tests.postgresql import Server, new_folder, new_server

COMPOSE = PROJECT_ROOT / "deploy" / "compose.yaml", PROJECT_ROOT / "deploy" / "compose.replicas.yaml"
SERVICE = "scheduler"
NAME_QUESTION = struct.Struct("!6H")
A_RECORD, LIFETIME_S = 1, 1


class NameServer:
    """Tells the addresses of the replicas, as Docker's does: one name has them all. It is used by a `with` block."""

    def __init__(self, addresses: list[str]) -> None:
        self._addresses = addresses
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._socket.getsockname()[1]}"

    def __enter__(self) -> "NameServer":
        threading.Thread(target=self._answer, name="names", daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def _answer(self) -> None:
        with suppress(OSError):  # closed
            while True:
                question, client = self._socket.recvfrom(4_096)
                self._socket.sendto(self._answer_to(question), client)

    def _answer_to(self, question: bytes) -> bytes:
        """RFC 1035, section 4: the question again, and an A record for each address."""
        end = question.index(b"\x00", NAME_QUESTION.size) + 5  # after the name, type and class
        (kind,) = struct.unpack_from("!H", question, end - 4)
        addresses = self._addresses if kind == A_RECORD else []
        head = NAME_QUESTION.pack(struct.unpack_from("!H", question)[0], 0x8180, 1, len(addresses), 0, 0)
        records = (
            struct.pack("!HHHIH", 0xC00C, A_RECORD, 1, LIFETIME_S, 4) + socket.inet_aton(each) for each in addresses
        )
        return head + question[NAME_QUESTION.size : end] + b"".join(records)


@dataclass
class Stack:
    """A running stack; clients use `front.url` with `key`."""

    database: Server
    standby: Server | None
    key: str
    environment: Mapping[str, str]  # of the replicas
    homes: Path
    port: int
    front: Front = field(init=False)
    replicas: list[LiveService] = field(default_factory=list)
    _running: list[ExitStack] = field(default_factory=list)
    _others: ExitStack = field(default_factory=ExitStack)

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.key}"}

    def start_replica(self, number: int) -> LiveService:
        """Start the replica with this number, from 0, for the first time or again."""
        home = self.homes / f"replica{number}"
        address = {"SCHED_HOST": address_of(number), "SCHED_PORT": str(self.port)}
        running = ExitStack()
        replica = running.enter_context(
            live_service(home, environment=dict(self.environment) | address, command=NEW_PROCESS)
        )
        replica.session.headers.update(self.headers)
        if number < len(self.replicas):
            self._running[number].close()
            self.replicas[number], self._running[number] = replica, running
        else:
            self.replicas.append(replica)
            self._running.append(running)
        return replica

    def kill_replica(self, number: int) -> None:
        """End a replica as a lost machine does."""
        self.replicas[number].process.send_signal(signal.SIGKILL)
        self.replicas[number].process.wait()

    def promote_standby(self) -> None:
        """Make the standby the primary, as an operator's script does after the loss of the primary."""
        assert self.standby is not None
        self.standby.execute("ALTER SYSTEM RESET synchronous_standby_names")
        self.standby.execute("SELECT pg_promote()")

    def replace_primary(self) -> None:
        """After `promote_standby`: a new standby at the address of the lost primary follows the new primary."""
        assert self.standby is not None
        lost, self.database = self.database, self.standby
        self.standby = Server(self._others.enter_context(new_folder()), port=lost.port)
        self._others.callback(self.standby.stop)
        self.database.copy_to(self.standby)

    def close(self) -> None:
        """End the replicas, and servers that were added."""
        for each in self._running:
            each.close()
        self._others.close()


def address_of(replica: int) -> str:
    """The address of the replica with this number, from 0."""
    return f"127.0.1.{replica + 1}"


def settings_of_compose() -> dict[str, str]:
    """The environment of the replicas in the files for Docker Compose."""
    found: dict[str, str] = {}
    for path in COMPOSE:
        document = yaml.load(path.read_text("utf-8"), Loader=_WithoutTags)
        found |= document["services"][SERVICE]["environment"]
    return found


class _WithoutTags(yaml.SafeLoader):  # type: ignore[misc]
    """Reads `!override` of Compose as the value after it."""


_WithoutTags.add_constructor("!override", lambda loader, node: loader.construct_sequence(node))


@contextmanager
def running_stack(
    homes: Path, *, replicas: int = 2, has_standby: bool = False, settings: Mapping[str, str] | None = None
) -> Iterator[Stack]:
    """A stack for the length of the block.

    Args:
        has_standby: a second PostgreSQL follows the first one synchronously.
        settings: of the replicas, in addition to those of Compose.
    """
    key, port = secrets.token_urlsafe(24), _free_port([address_of(number) for number in range(replicas)])
    with ExitStack() as running:
        database = running.enter_context(new_server())
        standby = None
        if has_standby:
            standby = Server(running.enter_context(new_folder()))
            running.callback(standby.stop)
            database.copy_to(standby)
        password = homes / "database_password"
        password.write_text(Server.PASSWORD)
        hosts = ",".join(f"127.0.0.1:{each.port}" for each in (database, standby) if each is not None)
        environment = settings_of_compose() | {
            "SCHED_WORKERS": "1",
            "SCHED_DATABASE_URL": f"postgresql+psycopg://postgres@{hosts}/postgres",
            "SCHED_DATABASE_PASSWORD_FILE": str(password),
            "SCHED_REPLICAS": str(replicas),
            "SCHED_TRUSTED_PROXIES": "127.0.0.0/8",
            "SCHED_API_KEYS": f"stack:admin:{digest_of(key)}",
        }
        stack = Stack(database, standby, key, environment | dict(settings or {}), homes, port)
        running.callback(stack.close)
        for number in range(replicas):
            stack.start_replica(number)
        names = running.enter_context(NameServer([address_of(number) for number in range(replicas)]))
        more = {"FRONT_REPLICAS": "4", "FRONT_NAMESERVER": names.address}
        stack.front = running.enter_context(front(f"{SERVICE}:{port}", homes, limits={}, **more))
        yield stack


def _free_port(addresses: list[str]) -> int:
    """A port that is free on all of these addresses."""
    while True:
        with ExitStack() as bound:
            listener = bound.enter_context(socket.create_server((addresses[0], 0)))
            port = int(listener.getsockname()[1])
            try:
                for address in addresses[1:]:
                    bound.enter_context(socket.create_server((address, port)))
            except OSError:
                continue
            return port


def main() -> int:
    """Run a stack until Ctrl-C."""
    parser = argparse.ArgumentParser(prog="python -m tests.stack", description="Run the Compose stack on loopback.")
    parser.add_argument("--home", type=Path, help="folder for the replicas' files; by default a temporary one")
    parser.add_argument("--replicas", type=int, default=2, help="number of replicas, at most 4 (default: %(default)d)")
    options = parser.parse_args()
    with ExitStack() as held:
        home = options.home or Path(held.enter_context(tempfile.TemporaryDirectory(prefix="stack-")))
        home.mkdir(parents=True, exist_ok=True)
        with running_stack(home, replicas=max(1, min(4, options.replicas))) as stack:
            print(f"{stack.front.url}  with the header Authorization: Bearer {stack.key}")
            for each in stack.replicas:
                print(f"  replica {each.url}, process {each.process.pid}")
            print(f"  PostgreSQL 127.0.0.1:{stack.database.port}; Ctrl-C ends all", flush=True)
            with suppress(KeyboardInterrupt):
                signal.pause()
    return 0


if __name__ == "__main__":
    sys.exit(main())
