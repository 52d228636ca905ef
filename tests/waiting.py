"""Waiting for what another thread or process does.

A test asks for an order, a count or a property, never for a time: a busy machine is slow, and right all the same. How
long something takes is measured in `benchmarks/`. `HANG_S` only ends what would never come.
"""

import time
from collections.abc import Callable
from typing import TypeVar

HANG_S = 300.0
Found = TypeVar("Found")


def until(found: Callable[[], Found], what: object = "what was waited for") -> Found:
    """What `found` answers, as soon as that is true; `what` is named when it never is."""
    give_up_s = time.monotonic() + HANG_S
    while not (answer := found()):
        assert time.monotonic() < give_up_s, f"{what() if callable(what) else what}: not within {HANG_S:.0f} s"
        time.sleep(0.02)
    return answer
