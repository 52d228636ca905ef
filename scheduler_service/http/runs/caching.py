"""A cache of schedules by model, problem, budget and seed.

It is off unless `SCHED_ANSWER_CACHE_MIB` is set. Each process has its own. A model's key always names the same weights,
so entries never become invalid. The least recently used entries are evicted.
"""

import hashlib
import threading
from collections.abc import Mapping

import orjson
from cachetools import LRUCache

from scheduler_env.schedule import Solution

Key = tuple[str, float, int, bytes]

BYTES_PER_STEP, BYTES_PER_MODE = 1_200, 120
"""An upper estimate of the memory of a solution with its instance: 33 KB for 15 steps with 126 modes, which take 21."""


def _bytes_of(solution: Solution) -> int:
    steps = solution.schedule.instance.steps
    return BYTES_PER_STEP * len(steps) + BYTES_PER_MODE * sum(len(step.modes) for step in steps)


class AnswerCache:
    """Solutions by request; thread-safe."""

    def __init__(self, max_bytes: int) -> None:
        """`max_bytes` 0 turns the cache off."""
        self._solutions: LRUCache[Key, Solution] = LRUCache(max_bytes, getsizeof=_bytes_of)
        self._lock = threading.Lock()

    @property
    def is_on(self) -> bool:
        return self._solutions.maxsize > 0

    def get(self, key: Key) -> Solution | None:
        """The cached solution, if there is one."""
        with self._lock:
            return self._solutions.get(key)

    def put(self, key: Key, solution: Solution) -> None:
        """Cache a solution, unless it would take more than a tenth of the cache."""
        if _bytes_of(solution) <= self._solutions.maxsize / 10:
            with self._lock:
                self._solutions[key] = solution

    @property
    def bytes(self) -> float:
        """Estimated memory use."""
        return self._solutions.currsize


NO_CACHE = AnswerCache(0)


def key_of(model_key: str, problem: Mapping[str, object], time_budget_ms: float, seed: int = 0) -> Key:
    """The key of a solution; the order of the problem's members does not matter."""
    written = orjson.dumps(problem, option=orjson.OPT_SORT_KEYS)
    return model_key, time_budget_ms, seed, hashlib.blake2b(written, digest_size=32).digest()
