"""Clients that ask for much work, or for work that nobody waits for."""

import json
import time
from contextlib import suppress
from pathlib import Path

from benchmarks.attacks.crowd import Crowd, status_of
from benchmarks.attacks.floods import HEAD
from benchmarks.requests import near_sample

CPSAT_FILE = "cpsat_8.json"
"""A solver with 8 threads, in the folder of the service."""
SMALL_CHART = {"params": [5.0] * 15, "charts": "process"}


def message(content: object, line: bytes = b"POST /run_algorithm") -> bytes:
    body = json.dumps(content).encode()
    return HEAD.replace(b"POST /run_algorithm", line) + b"Content-Length: %d\r\n\r\n" % len(body) + body


def large(n_workpoints: int, **more: object) -> dict[str, object]:
    workpoints = [{"id": str(number), **near_sample(number)} for number in range(n_workpoints)]
    return {"workpoints": workpoints, **more}


def searches(crowd: Crowd) -> None:
    """12 searches of 5 s by the exact solver with 8 threads each."""
    seconds = crowd.until_s - time.monotonic()
    crowd.outcome.notes.append(f"registered: {_answer(crowd, _registration(crowd), 30.0)}")
    crowd.until_s = time.monotonic() + seconds
    crowd.ask(12, message(large(5, model="CPSAT_v1.0", time_budget_ms=5_000)))


def improvements(crowd: Crowd) -> None:
    """12 searches of 5 s by the usual model."""
    crowd.ask(12, message(large(20, time_budget_ms=5_000)))


def large_instances(crowd: Crowd) -> None:
    """4 clients with 200 work points each, again and again."""
    crowd.ask(4, message(large(200, time_budget_ms=0)))


def charts_of_the_gone(crowd: Crowd) -> None:
    """40 clients want charts of 100 work points and leave; then one wants a small chart."""

    def leave() -> None:
        client = crowd.connect(reads=False)
        crowd.send(client, message(large(100, time_budget_ms=0, charts=["process", "workpoint", "team"])))
        import gevent

        gevent.sleep(1.0)
        crowd.close(client)

    crowd.together([leave] * 40)
    begun_s = time.monotonic()
    status = _answer(crowd, message(SMALL_CHART), 14.0)
    took_s = time.monotonic() - begun_s
    crowd.outcome.notes.append(f"small chart: {status} after {took_s:.1f} s")
    if status != "200":
        crowd.outcome.wrong.append(f"a small chart has no answer after {took_s:.0f} s ({status})")


def overload(crowd: Crowd) -> None:
    """256 clients ask for schedules without a pause."""
    body = message({"params": [5.0] * 15})
    crowd.ask(256, body)


def _registration(crowd: Crowd) -> bytes:
    path = str((crowd.target.home or Path()) / CPSAT_FILE)
    content = {"model_path": path, "algorithm_name": "CPSAT", "training_params": {}, "performance_metrics": {}}
    return message(content, b"POST /models/register")


def _answer(crowd: Crowd, asked: bytes, patience_s: float) -> str:
    """The status, or what happened instead."""
    client = crowd.target.connect(timeout_s=patience_s)
    with suppress(TimeoutError):
        client.sendall(asked)
        return status_of(client)
    return "no answer"
