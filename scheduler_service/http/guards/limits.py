"""Rate limits: the generic cell rate algorithm (GCRA) in memory that all worker processes share.

A client is a key, or an address if it has no key. For each client the algorithm stores one number, the theoretical
arrival time. An allowed request advances it by the interval between two requests; a request is refused if it is too far
ahead of the current time. The numbers are in an anonymous memory map, created before the workers are forked. There is
no lock: if a client sends two requests in the same microsecond, one update may be lost, which allows one extra request.
"""

import hashlib
import math
import mmap
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

from scheduler_service.errors import ServiceError
from scheduler_service.http.guards.proxies import plain_address
from scheduler_service.settings import Settings

ADDRESS_SLOTS = 65_536
"""Addresses with the same hash share a limit: with 1,000 clients, one in 66."""
FAILED_KEYS_PER_MINUTE, FAILED_KEYS_BURST = 10, 10
"""Unknown keys from one address: enough for a client with an old key to get 401, too few for guessing keys."""
FAILED_LOCAL_PER_MINUTE, FAILED_LOCAL_BURST = 100, 100
"""Unknown keys from this machine, which may run a proxy for many clients."""
BURST_S, MIN_BURST = 5.0, 20
"""A burst may contain the requests of `BURST_S` seconds, and at least `MIN_BURST` requests."""


class RateExceeded(ServiceError):
    """A client exceeds its rate limit; its next request is allowed after `retry_after_s`."""

    def __init__(self, code: str, /, *, retry_after_s: float) -> None:
        super().__init__(code)
        self.retry_after_s = max(1, math.ceil(retry_after_s))


@dataclass(frozen=True, slots=True)
class RateDecision:
    """The decision of a rate limit on one request."""

    remaining: int  # further requests that would be allowed now
    wait_s: float  # until a request will be allowed; 0 if this one is

    @property
    def is_allowed(self) -> bool:
        return self.wait_s <= 0.0


class RateLimit:
    """At most `per_minute` requests on average and bursts of `burst`, for each of `slots` clients."""

    def __init__(self, per_minute: int, burst: int, *, slots: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.per_minute, self.burst = per_minute, burst
        # The monotonic clock is the same in every process. Unused pages of the map take no memory.
        self._clock = clock
        self._interval_s = 60.0 / per_minute
        self._tolerance_s = (burst - 1) * self._interval_s + 1e-9
        self._arrival_times = memoryview(mmap.mmap(-1, 8 * max(1, slots))).cast("d")

    def take(self, slot: int) -> RateDecision:
        """Decide on a request of the client in `slot`; only an allowed request counts."""
        now = self._clock()
        moment = max(self._arrival_times[slot], now)
        ahead_s = moment - now
        if ahead_s > self._tolerance_s:
            return RateDecision(0, ahead_s - self._tolerance_s)
        self._arrival_times[slot] = moment + self._interval_s
        return RateDecision(int((self._tolerance_s - ahead_s) / self._interval_s), 0.0)

    def peek(self, slot: int) -> float:
        """Seconds until the client's next request would be allowed; does not count a request."""
        return max(0.0, self._arrival_times[slot] - self._clock() - self._tolerance_s)

    @property
    def policy(self) -> str:
        """The header `RateLimit-Policy`: q requests in a window of w seconds."""
        return f'"requests";q={self.per_minute};w=60'


class Limits:
    """The limits of a service: for keys, for addresses, and for unknown keys.

    Created before the workers are forked, so that they share it. Replicas do not: each has its part of the limits.
    """

    def __init__(self, settings: Settings) -> None:
        # A keyed hash, so that nobody can find addresses that share the slot of another client.
        self._hash_key = secrets.token_bytes(16)
        self._slot = lru_cache(maxsize=8_192)(self._hashed)
        self.keys: RateLimit | None = None
        self.addresses: RateLimit | None = None
        if settings.rate_limit:
            rate = _part(settings.rate_limit, settings)
            burst = max(MIN_BURST, math.ceil(rate * BURST_S / 60))
            self.keys = RateLimit(rate, burst, slots=len(settings.api_keys))
            self.addresses = RateLimit(rate, burst, slots=ADDRESS_SLOTS)
        failed = (_part(limit, settings) for limit in (FAILED_KEYS_PER_MINUTE, FAILED_KEYS_BURST))
        failed_local = (_part(limit, settings) for limit in (FAILED_LOCAL_PER_MINUTE, FAILED_LOCAL_BURST))
        self._failed = RateLimit(*failed, slots=ADDRESS_SLOTS)
        self._failed_local = RateLimit(*failed_local, slots=1)

    def decide_for_key(self, position: int) -> RateDecision | None:
        """The decision for the key at this index of the settings; None without a limit."""
        return self.keys.take(position) if self.keys else None

    def decide_for_address(self, address: str) -> RateDecision | None:
        """The decision for a client without a key; None without a limit, and for this machine (it may run a proxy)."""
        slot = self._slot(address)
        return self.addresses.take(slot) if self.addresses and slot is not None else None

    def refuse_guessers(self, address: str) -> None:
        """Called before a key is checked.

        Raises:
            RateExceeded: too many unknown keys came from this address.
        """
        slot = self._slot(address)
        if slot is not None and (wait_s := self._failed.peek(slot)) > 0.0:
            raise RateExceeded("too_many_unknown_keys", retry_after_s=wait_s)

    def count_failed_key(self, address: str) -> None:
        """Called after an unknown key.

        Raises:
            RateExceeded: too many came from this machine; known keys from there are still accepted.
        """
        slot = self._slot(address)
        if slot is not None:
            self._failed.take(slot)
        elif not (rate_decision := self._failed_local.take(0)).is_allowed:
            raise RateExceeded("too_many_unknown_keys", retry_after_s=rate_decision.wait_s)

    def _hashed(self, address: str) -> int | None:
        """The slot of an address; None for loopback. Only the first 64 bits of IPv6 count: one client has the rest."""
        try:
            ip = plain_address(address)
        except ValueError:
            network = address.encode("utf-8", "surrogateescape")
        else:
            if ip.is_loopback:
                return None
            network = ip.packed if ip.version == 4 else ip.packed[:8]
        return int.from_bytes(hashlib.blake2b(network, key=self._hash_key, digest_size=8).digest()) % ADDRESS_SLOTS


def _part(limit: int, settings: Settings) -> int:
    """The part of a limit that one replica allows; at least 1, and together not less than the limit."""
    return math.ceil(limit / settings.replicas)
