"""The real HAProxy with the shipped configuration, deploy/front/haproxy.cfg; variables set addresses and limits."""

import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from scheduler_service.settings import PROJECT_ROOT
from tests.waiting import HANG_S, until

CONFIGURATION = PROJECT_ROOT / "deploy" / "front" / "haproxy.cfg"
CLIENT_TIMEOUT_S = 1
END_S = 20.0
QUICK = {"FRONT_REQUEST_TIMEOUT": "1s", "FRONT_CLIENT_TIMEOUT": f"{CLIENT_TIMEOUT_S}s", "FRONT_CHECK_EVERY": "100ms"}


@dataclass
class Front:
    port: int
    process: subprocess.Popen[bytes]
    output: Path

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def connect(self, *, source: str = "127.0.0.1") -> socket.socket:
        connection = socket.create_connection(("127.0.0.1", self.port), HANG_S, source_address=(source, 0))
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection

    def wait_for_log(self, text: str, times: int = 1) -> None:
        until(lambda: self.output.read_text("utf-8").count(text) >= times, f"{text!r} {times} times")


@contextmanager
def front(service: str, folder: Path, *, limits: Mapping[str, str] = QUICK, **variables: str) -> Iterator[Front]:
    """HAProxy on a free port in front of `service` (host:port), with its master process, started as its image does.

    Args:
        limits: of time, by default those of tests; {}: the shipped ones.
    """
    haproxy = shutil.which("haproxy", path=f"{os.environ['PATH']}:/usr/sbin")
    assert haproxy is not None, "make debian-packages installs it; apt-get install haproxy"
    output = folder / "haproxy.txt"
    with socket.create_server(("127.0.0.1", 0)) as listener, output.open("wb") as file:
        number = listener.fileno()
        known = {"PATH": os.environ["PATH"], "FRONT_SERVICE": service, "FRONT_REPLICAS": "1"}
        process = subprocess.Popen(
            [haproxy, "-W", "-f", CONFIGURATION],
            env=known | dict(limits) | variables | {"FRONT_ADDRESS": f"fd@{number}"},
            pass_fds=[number],
            start_new_session=True,
            stdout=file,
            stderr=subprocess.STDOUT,
        )
        running = Front(listener.getsockname()[1], process, output)
    try:
        running.wait_for_log("Loading success")
        yield running
    finally:
        process.terminate()
        try:
            process.wait(END_S)
        except subprocess.TimeoutExpired:  # a master that is re-reading its configuration may miss the signal
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(HANG_S)
