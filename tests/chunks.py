"""Functions for the chunks of tests/test_batch.py: a worker imports them by name."""

import os
import signal
import time
from pathlib import Path
from typing import Any

from scheduler_env.batch import input_file


def square(chunk: int) -> int:
    return chunk * chunk


def process(chunk: int) -> dict[str, Any]:
    """Facts about the worker."""
    time.sleep(0.05)
    return {"pid": os.getpid(), "niceness": os.nice(0), "omp": os.environ.get("OMP_NUM_THREADS")}


def fail_at_three(chunk: int) -> int:
    if chunk == 3:
        raise ValueError("three is refused")
    return chunk


def die_once(chunk: dict[str, Any]) -> int:
    """Kill the worker at the first attempt of the chunk."""
    first = Path(chunk["folder"]) / str(chunk["number"])
    if not first.exists():
        first.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return int(chunk["number"])


def die(chunk: int) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def announce(chunk: dict[str, Any]) -> None:
    """Write the worker's process id, then compute for a long time."""
    (Path(chunk["folder"]) / f"{chunk['number']}.pid").write_text(str(os.getpid()))
    time.sleep(600)


def length_of(digest: str) -> int:
    return len(input_file(digest).read_bytes())
