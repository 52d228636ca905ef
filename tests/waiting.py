"""Wait for another thread or process.

Tests assert orders, counts and properties, never a duration: a busy machine is slow but correct. Durations are
measured in `benchmarks/`. `HANG_S` only ends a wait that would never finish.
"""

import threading
import time
from collections.abc import Callable, Iterable
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
    """Call `work` with each of the arguments, all at the same time, and wait for the end of all calls.

    Raises:
        ExceptionGroup: some calls failed; it has the error of each.
    """
    errors: list[Exception] = []

    def call(*each: object) -> None:
        try:
            work(*each)
        except Exception as err:
            errors.append(err)

    threads = [threading.Thread(target=call, args=each) for each in arguments]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise ExceptionGroup("in threads", errors)
