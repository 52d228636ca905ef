"""Clients that do nothing wrong, in processes of their own: what they see while somebody else attacks."""

import gc
import json
import multiprocessing
import time
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException
from multiprocessing.connection import Connection

from benchmarks.attacks.target import GOOD_CLIENTS, prefer_this_process
from benchmarks.requests import sample

LIVE_EVERY_S, RUN_EVERY_S = 0.01, 0.25
PATIENCE_S = 10.0
"""A client that has no answer after so long gives up and connects again."""
_context = multiprocessing.get_context("spawn")


@dataclass
class Seen:
    """What a client saw."""

    latencies_s: list[float] = field(default_factory=list)  # from when a request was due until its answer, or its end
    late_s: list[float] = field(default_factory=list)  # of the client itself: how late the system woke it
    failed: list[str] = field(default_factory=list)

    def ms(self, share: float) -> float:
        """A quantile of the latencies."""
        return quantile(self.latencies_s, share) * 1e3


def quantile(values: list[float], share: float) -> float:
    """The nearest-rank quantile; 0 of nothing."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0


class Beat:
    """A client that asks the same thing at fixed times.

    A time that passes while it waits for an answer counts as a request that was answered with it: a stall of two
    seconds is 200 slow requests, not one.
    """

    def __init__(self, host: str, port: int, path: str, every_s: float, body: bytes = b"") -> None:
        self._here, there = _context.Pipe()
        self._process = _context.Process(target=_beat, args=(host, port, path, every_s, body, there), daemon=True)
        self._process.start()
        self._here.recv()  # it is ready

    def stop(self) -> Seen:
        self._here.send(None)
        seen: Seen = self._here.recv()
        self._process.join()
        return seen


def beats(host: str, port: int) -> tuple[Beat, Beat]:
    """One that asks whether the service lives, and one that asks for a schedule."""
    run = json.dumps(sample()).encode()
    return (
        Beat(host, port, "/health/live", LIVE_EVERY_S),
        Beat(host, port, "/run_algorithm", RUN_EVERY_S, run),
    )


def _beat(host: str, port: int, path: str, every_s: float, body: bytes, pipe: Connection) -> None:
    prefer_this_process(GOOD_CLIENTS)
    gc.disable()
    connection, seen = HTTPConnection(host, port, timeout=PATIENCE_S), Seen()
    method, headers = ("POST", {"Content-Type": "application/json"}) if body else ("GET", {})
    _ask(connection, method, path, body, headers)  # which connects
    pipe.send(None)
    due_s = time.monotonic()
    while not pipe.poll(0):
        due_s += every_s
        pause_s = due_s - time.monotonic()
        if pause_s > 0:
            time.sleep(pause_s)
            seen.late_s.append(time.monotonic() - due_s)
        if trouble := _ask(connection, method, path, body, headers):
            seen.failed.append(trouble)
        # What fell due meanwhile would have waited for the rest of it. Nobody asks it late: that would be more load.
        while due_s <= (now_s := time.monotonic()):
            seen.latencies_s.append(now_s - due_s)
            due_s += every_s
        due_s -= every_s
    pipe.send(seen)


def _ask(connection: HTTPConnection, method: str, path: str, body: bytes, headers: dict[str, str]) -> str:
    """What went wrong; "" if nothing did. One that finds its idle connection closed connects again, as clients do."""
    for is_second in (False, True):
        try:
            connection.request(method, path, body or None, headers)
            answer = connection.getresponse()
            answer.read()
        except (ConnectionError, HTTPException) as err:
            connection.close()
            if is_second:
                return f"{type(err).__name__}: {err}"
        except OSError as err:
            connection.close()
            return f"{type(err).__name__}: {err}"
        else:
            return "" if answer.status == 200 else str(answer.status)
    raise AssertionError("either of the two ends")
