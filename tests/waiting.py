"""Wait for another thread or process.

Tests assert orders, counts and properties, never a duration: a busy machine is slow but correct. Durations are
measured in `benchmarks/`. `HANG_S` only ends a wait that would never finish.
"""

import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import TypeVar

HANG_S = 300.0
Found = TypeVar("Found")


def until(found: Callable[[], Found], what: object = "what was waited for") -> Found:
    """Wait until `found()` is true and return it; the failure message contains `what`."""
    give_up_s = time.monotonic() + HANG_S
    while not (answer := found()):
        assert time.monotonic() < give_up_s, f"{what() if callable(what) else what}: not within {HANG_S:.0f} s"
        time.sleep(0.02)
    return answer


def in_threads(work: Callable[..., object], arguments: Iterable[tuple[object, ...]]) -> None:
    """Call `work` with each of the arguments, all at the same time, and wait for all calls; raise an error of one."""
    given = list(arguments)
    all_there = Barrier(len(given))

    def call(*each: object) -> None:
        all_there.wait(HANG_S)
        work(*each)

    with ThreadPoolExecutor(len(given)) as threads:
        calls = [threads.submit(call, *each) for each in given]
    for call in calls:
        call.result()
