"""Requests a second, and how soon `/health/live` is answered beside them."""

from dataclasses import dataclass
from typing import Any

from benchmarks.attacks.beat import LIVE_EVERY_S, Beat
from benchmarks.attacks.target import Target
from benchmarks.requests import bodies
from benchmarks.wrk import Load, drive

CONNECTIONS, N_BODIES = 32, 200
WARM_UP_S, SECONDS = 1.0, 4.0


@dataclass(frozen=True)
class Speed:
    """One load on one server."""

    load: str
    rate: float  # good answers a second
    failed: int
    p99_ms: float
    live_p99_ms: float

    def figures(self) -> dict[str, Any]:
        return self.__dict__


def speeds(target: Target) -> list[Speed]:
    """By the kinds of requests, `CONNECTIONS` of them at a time."""
    loads = {"/health/live": Load("/health/live", CONNECTIONS)}
    loads |= {
        f"schedules, {kind}": Load("/run_algorithm", CONNECTIONS, bodies(kind, N_BODIES), "speed-")
        for kind in ("sample", "varied")
    }
    return [_speed(name, load, target) for name, load in loads.items()]


def _speed(name: str, load: Load, target: Target) -> Speed:
    drive(target.url, load, WARM_UP_S)
    beat = Beat(target.host, target.port, "/health/live", LIVE_EVERY_S)
    came = drive(target.url, load, SECONDS)
    seen = beat.stop()
    return Speed(name, round(came.rate, 1), came.failed, round(came.p99_ms, 1), round(seen.ms(0.99), 1))
