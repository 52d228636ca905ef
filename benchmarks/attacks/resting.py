"""What many active experiments without a run cost."""

import json
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import requests

from benchmarks.attacks.beat import beats
from benchmarks.attacks.target import Target

N_EXPERIMENTS = 2_000
SETTLES_S, SECONDS = 5.0, 10.0
CONFIG = "ab_test_config.json"


def at_rest(start: Callable[[Path], AbstractContextManager[Target]], home: Path) -> dict[str, Any]:
    """Start over a folder with `N_EXPERIMENTS` experiments: share of a core, and what clients see."""
    with start(home) as target:
        wanted = {"experiment_name": "first", "model_a": "DDQN_v1.0", "model_b": "DDQN_v2.0"}
        requests.post(f"{target.url}/experiments", json=wanted, timeout=60).raise_for_status()
    config = json.loads((home / CONFIG).read_text("utf-8"))
    first = config["experiments"].pop("first")
    names = [f"resting-{number}" for number in range(N_EXPERIMENTS)]
    config["experiments"] = {name: first | {"name": name} for name in names}
    (home / CONFIG).write_text(json.dumps(config), encoding="utf-8")
    with start(home) as target:
        time.sleep(SETTLES_S)
        begun_cpu_s, begun_s = target.cpu_s(), time.monotonic()
        time.sleep(SECONDS)
        share = (target.cpu_s() - begun_cpu_s) / (time.monotonic() - begun_s)
        live, runs = beats(target.host, target.port)
        time.sleep(SECONDS / 2)
        health = requests.get(f"{target.url}/health", timeout=60).status_code
        seen, run = live.stop(), runs.stop()
    return {
        "experiments": N_EXPERIMENTS, "cpu_share": round(share, 3), "health": health,
        "live_p99_ms": round(seen.ms(0.99), 1), "run_p99_ms": round(run.ms(0.99), 1),
    }  # fmt: skip
