"""The service that is attacked, and what the kernel says about it."""

import os
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

ATTACKER = "127.0.0.2"
"""The address that attackers connect from, so that their connections can be told from those of others."""
ESTABLISHED = "01"
GOOD_CLIENTS, SERVICE, ATTACKERS = -15, -10, -5
"""Niceness where the system allows it: clients are on other machines, and whatever else runs here counts for less."""


@dataclass(frozen=True)
class Target:
    """Where to connect, and the processes behind it."""

    host: str
    port: int
    pids: tuple[int, ...]  # of the service; their descendants count, too
    home: Path | None = None  # its folder, where files may be put

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}"

    def connect(self, *, receive_buffer: int = 0, timeout_s: float = 20.0) -> socket.socket:
        """A connection of an attacker; `receive_buffer` in bytes, 0: the system's."""
        client = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        if receive_buffer:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        client.settimeout(timeout_s)
        try:
            client.bind((ATTACKER, 0))
            client.connect((self.host, self.port))
        except OSError:
            client.close()
            raise
        return client

    def prefer(self) -> None:
        """Let its threads run before other programs; those that the service itself puts behind stay there."""
        for pid in descendants(self.pids):
            _prefer_session(pid, SERVICE)
            for thread in Path(f"/proc/{pid}/task").iterdir():
                with suppress(OSError):
                    if os.getpriority(os.PRIO_PROCESS, int(thread.name)) == 0:
                        os.setpriority(os.PRIO_PROCESS, int(thread.name), SERVICE)

    def rss_mib(self) -> float:
        """Resident memory of all its processes; pages that they share count in each."""
        return sum(_rss_mib(pid) for pid in descendants(self.pids))

    def cpu_s(self) -> float:
        """Processor time that its processes used until now."""
        total = 0.0
        for pid in descendants(self.pids):
            with suppress(OSError):
                fields = _stat(pid)
                total += (int(fields[11]) + int(fields[12])) / 100.0
        return total

    def waited_s(self) -> float:
        """How long their event loops were ready to run, and the processor was somebody else's, until now."""
        total = 0.0
        for pid in descendants(self.pids):
            with suppress(OSError):
                total += int(Path(f"/proc/{pid}/schedstat").read_text().split()[1]) / 1e9
        return total

    def attackers(self) -> set[int]:
        """The ports of attackers whose connections the service has not closed."""
        here = f":{self.port:04X}"
        there = f"{struct.unpack('=I', socket.inet_aton(ATTACKER))[0]:08X}:"
        lines = (line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:])
        return {
            int(fields[2].removeprefix(there), 16)
            for fields in lines
            if fields[3] == ESTABLISHED and fields[1].endswith(here) and fields[2].startswith(there)
        }


def descendants(pids: tuple[int, ...]) -> Iterator[int]:
    """`pids` and the processes that they started, those of these, and so on."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError):
                children.setdefault(int(_stat(int(entry.name))[1]), []).append(int(entry.name))
    waiting = list(pids)
    while waiting:
        pid = waiting.pop()
        yield pid
        waiting += children.get(pid, [])


def prefer_this_process(niceness: int) -> None:
    """Let it run before other programs, where the system allows it."""
    with suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, 0, niceness)


@contextmanager
def preferred_session() -> Iterator[None]:
    """Let all that is started here run before other programs, which Linux weighs by sessions."""
    _prefer_session(os.getpid(), SERVICE)
    try:
        yield
    finally:
        _prefer_session(os.getpid(), 0)


def _prefer_session(pid: int, niceness: int) -> None:
    with suppress(OSError):
        Path(f"/proc/{pid}/autogroup").write_text(str(niceness))


def _stat(pid: int) -> list[str]:
    """The fields of `/proc/<pid>/stat` after the name, which may hold spaces: state, parent, group, ..."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def _rss_mib(pid: int) -> float:
    with suppress(OSError, IndexError):
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) / 256.0
    return 0.0
