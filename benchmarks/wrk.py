"""wrk, the load generator of Debian: closed loop, each connection sends its next request when it has its answer."""

import json
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.requests import Body

REPORT = """
function done(summary, latency, requests)
  local e = summary.errors
  io.stderr:write(string.format(
    '{"requests":%d,"seconds":%.6f,"refused":%d,"broken":%d,"timeouts":%d,"p50_ms":%.3f,"p95_ms":%.3f,"p99_ms":%.3f,' ..
    '"max_ms":%.3f}', summary.requests, summary.duration / 1e6, e.status, e.connect + e.read + e.write, e.timeout,
    latency:percentile(50) / 1e3, latency:percentile(95) / 1e3, latency:percentile(99) / 1e3, latency.max / 1e3))
end
"""
POST = """
local bodies, sent = {{bodies}}, 0
wrk.headers["Content-Type"] = "application/json"
function request()
  sent = sent + 1
  return wrk.format("POST", nil, nil, bodies[sent % #bodies + 1] .. sent .. '"}')
end
"""
PAUSE = """
function delay() return {pause_ms} end
"""


@dataclass(frozen=True)
class Load:
    """What wrk sends."""

    path: str
    connections: int
    bodies: Sequence[Body] = ()  # of POSTs: request `number` carries `bodies[number % len(bodies)]`; none: a GET
    user: str = ""  # the request's number is appended
    pause_ms: float = 0.0  # that a connection waits before each request

    def script(self) -> str:
        text = REPORT
        if self.bodies:
            # The user comes last in each body, so that its number and '"}' complete the text.
            texts = [json.dumps(body | {"user_id": self.user}).removesuffix('"}') for body in self.bodies]
            text += POST.replace("{bodies}", ",\n".join(f"[==[{each}]==]" for each in texts))
        if self.pause_ms:
            text += PAUSE.replace("{pause_ms}", f"{self.pause_ms:g}")
        return text


@dataclass(frozen=True)
class Drive:
    """What came of a load."""

    requests: int  # answered, with whatever status
    seconds: float
    refused: int  # answered with 400 or more
    broken: int  # connections that failed
    timeouts: int
    p50_ms: float
    p95_ms: float
    p99_ms: float
    max_ms: float

    @property
    def good(self) -> int:
        return self.requests - self.refused

    @property
    def failed(self) -> int:
        return self.refused + self.broken + self.timeouts

    @property
    def rate(self) -> float:
        """Good answers a second."""
        return self.good / self.seconds


class Driving:
    """A wrk that runs; `wait` ends with its figures."""

    def __init__(self, url: str, load: Load, seconds: float) -> None:
        self._script = tempfile.NamedTemporaryFile("w", suffix=".lua")  # noqa: SIM115  (lives as long as wrk)
        self._script.write(load.script())
        self._script.flush()
        self._process = subprocess.Popen(
            ["wrk", "-t", "1", "-c", str(load.connections), "-d", f"{max(1, round(seconds))}s", "--timeout", "60s",
             "-s", self._script.name, url + load.path],
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    def wait(self) -> Drive:
        """Raises RuntimeError: wrk said something else than its report."""
        _, told = self._process.communicate()
        self._script.close()
        if self._process.returncode != 0 or not told.startswith("{"):
            raise RuntimeError(f"wrk ended with {self._process.returncode}: {told[-500:]}")
        return Drive(**json.loads(told))

    def stop(self) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        self._script.close()


def drive(url: str, load: Load, seconds: float) -> Drive:
    """The load, for so long."""
    driving = Driving(url, load, seconds)
    try:
        return driving.wait()
    finally:
        driving.stop()


def is_installed() -> bool:
    return shutil.which("wrk") is not None
