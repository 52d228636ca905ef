"""How often a client may ask: the generic cell rate algorithm (GCRA) in memory that all worker processes share.

A client is a key, or without one an address. Each has one number, the time at which it would have used up nothing: a
request moves it on by the interval between two requests, and is refused while it is too far ahead of now. The numbers
lie in an anonymous map made before the workers are forked. No lock: of two requests of one client in the same
microsecond one move may get lost, which lets one request more through.
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
"""Addresses that fall into the same slot share their limit: with 1,000 clients one of 66 has to."""
FAILED_KEYS_PER_MINUTE, FAILED_KEYS_BURST = 10, 10
"""Unknown keys from one address: a client with an old key is told so, a guesser gets nowhere."""
FAILED_HERE_PER_MINUTE, FAILED_HERE_BURST = 100, 100
"""Unknown keys from this machine, which may be a proxy of many clients."""
BURST_S, LEAST_BURST = 5.0, 20
"""A client may send what it is allowed in so many seconds, and at least so many requests, all at once."""


class RateExceeded(ServiceError):
    """A client asks more often than it may; `retry_after_s` says when its next request will be taken."""

    def __init__(self, code: str, /, *, retry_after_s: float) -> None:
        super().__init__(code)
        self.retry_after_s = max(1, math.ceil(retry_after_s))


@dataclass(frozen=True, slots=True)
class Standing:
    """What a limit says to one request."""

    remaining: int  # requests that would be taken now, after this one
    wait_s: float  # until a request will be taken; 0 if this one is

    @property
    def is_taken(self) -> bool:
        return self.wait_s <= 0.0


class RateLimit:
    """At most `per_minute` on average, and `burst` at once, for each of `slots` clients."""

    def __init__(self, per_minute: int, burst: int, *, slots: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.per_minute, self.burst = per_minute, burst
        # The clock of the machine, the same in every process. A page that no client has used costs no memory.
        self._clock = clock
        self._interval_s = 60.0 / per_minute
        self._tolerance_s = (burst - 1) * self._interval_s + 1e-9
        self._moments = memoryview(mmap.mmap(-1, 8 * max(1, slots))).cast("d")

    def take(self, slot: int) -> Standing:
        """Count a request of the client in `slot`, if it may be taken; one that is refused does not count."""
        now = self._clock()
        moment = max(self._moments[slot], now)
        ahead_s = moment - now
        if ahead_s > self._tolerance_s:
            return Standing(0, ahead_s - self._tolerance_s)
        self._moments[slot] = moment + self._interval_s
        return Standing(int((self._tolerance_s - ahead_s) / self._interval_s), 0.0)

    def peek(self, slot: int) -> float:
        """Seconds until the client's next request would be taken; counts nothing."""
        return max(0.0, self._moments[slot] - self._clock() - self._tolerance_s)

    @property
    def policy(self) -> str:
        """For the header `RateLimit-Policy`: so many (q) in a window of so many seconds (w)."""
        return f'"requests";q={self.per_minute};w=60'


class Limits:
    """The limits of a service: for keys, for addresses, and for keys that it does not know.

    Made before the workers are forked, so that they share it.
    """

    def __init__(self, settings: Settings) -> None:
        # Keyed, so that nobody can look for addresses that fall into the slot of another.
        self._hash_key = secrets.token_bytes(16)
        self._slot = lru_cache(maxsize=8_192)(self._hashed)
        self.keys: RateLimit | None = None
        self.addresses: RateLimit | None = None
        if rate := settings.rate_limit:
            burst = max(LEAST_BURST, math.ceil(rate * BURST_S / 60))
            self.keys = RateLimit(rate, burst, slots=len(settings.api_keys))
            self.addresses = RateLimit(rate, burst, slots=ADDRESS_SLOTS)
        self._failed = RateLimit(FAILED_KEYS_PER_MINUTE, FAILED_KEYS_BURST, slots=ADDRESS_SLOTS)
        self._failed_here = RateLimit(FAILED_HERE_PER_MINUTE, FAILED_HERE_BURST, slots=1)

    def take_for_key(self, position: int) -> Standing | None:
        """The standing of the key at this place of the settings; None without a limit."""
        return self.keys.take(position) if self.keys else None

    def take_for_address(self, address: str) -> Standing | None:
        """The standing of whoever has no key; None without a limit, and for this machine, which may be a proxy."""
        slot = self._slot(address)
        return self.addresses.take(slot) if self.addresses and slot is not None else None

    def refuse_guessers(self, address: str) -> None:
        """Before a key is looked at.

        Raises:
            RateExceeded: too many unknown keys came from this address.
        """
        slot = self._slot(address)
        if slot is not None and (wait_s := self._failed.peek(slot)) > 0.0:
            raise RateExceeded("too_many_unknown_keys", retry_after_s=wait_s)

    def count_failed_key(self, address: str) -> None:
        """After a key turned out to be unknown.

        Raises:
            RateExceeded: too many came from this machine; right keys from there are taken all the same.
        """
        slot = self._slot(address)
        if slot is not None:
            self._failed.take(slot)
        elif not (standing := self._failed_here.take(0)).is_taken:
            raise RateExceeded("too_many_unknown_keys", retry_after_s=standing.wait_s)

    def _hashed(self, address: str) -> int | None:
        """The slot of an address, an IPv6 one by its first 64 bits: one client has the others; None: loopback."""
        try:
            ip = plain_address(address)
        except ValueError:
            network = address.encode("utf-8", "surrogateescape")
        else:
            if ip.is_loopback:
                return None
            network = ip.packed if ip.version == 4 else ip.packed[:8]
        return int.from_bytes(hashlib.blake2b(network, key=self._hash_key, digest_size=8).digest()) % ADDRESS_SLOTS
