"""How often somebody may ask: the generic cell rate algorithm, one number for each client, shared by all workers.

The number is the time at which the client's next request would be exactly on schedule. A request before that by more
than the burst allows is refused; any other moves the time on by one interval.

Source: ITU-T I.371, Annex A (GCRA, virtual scheduling).
"""

import hashlib
import mmap
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass

from scheduler_service.errors import TooManyRequests

SLOTS = 65_536
"""Clients are hashed to them: two that fall together share their allowance."""

# Made where this module is imported, which is before workers are forked: they share it.
_memory = mmap.mmap(-1, 8 * SLOTS)
_double = struct.Struct("=d")


@dataclass(frozen=True, slots=True)
class Allowance:
    """What is left to a client after a request."""

    policy: str  # RateLimit-Policy
    state: str  # RateLimit


class RateLimit:
    """So many requests a minute for each client, some of them at once.

    There is no lock: of two requests of a client that two workers look at in the same microsecond, one may go
    uncounted, and a process that is killed holds nobody up.
    """

    def __init__(
        self, name: str, per_minute: int, burst: int, *, salt: str = "", clock: Callable[[], float] = time.monotonic
    ) -> None:
        """`name` tells limits apart, for clients (in headers) and among those that share memory; so does `salt`."""
        self._name = name
        self._interval_s = 60.0 / per_minute
        self._ahead_s = self._interval_s * (burst - 1)
        self._salt = f"{name}\0{salt}\0"
        self._clock = clock
        self._policy = f'"{name}";q={per_minute};w=60'

    def take(self, client: str) -> Allowance:
        """Count a request of `client`.

        Raises:
            TooManyRequests: that was one too many.
        """
        place = 8 * (int.from_bytes(hashlib.blake2b((self._salt + client).encode(), digest_size=4).digest()) % SLOTS)
        now_s = self._clock()
        due_s = max(now_s, _double.unpack_from(_memory, place)[0])
        too_early_s = due_s - now_s - self._ahead_s
        if too_early_s > 1e-9:
            raise TooManyRequests(
                f"more than {round(60.0 / self._interval_s)} requests a minute; come back in {too_early_s:.1f} s",
                retry_after_s=int(too_early_s) + 1,
                policy=self._policy,
                state=f'"{self._name}";r=0;t={int(too_early_s) + 1}',
            )
        due_s += self._interval_s
        _double.pack_into(_memory, place, due_s)
        left = int((self._ahead_s + self._interval_s - (due_s - now_s)) / self._interval_s + 1e-9)
        return Allowance(self._policy, f'"{self._name}";r={left};t={int(due_s - now_s) + 1}')
