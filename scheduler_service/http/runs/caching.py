"""Schedules that were answered before: the same model, problem, budget and seed need not be computed again.

Off unless `SCHED_ANSWER_CACHE_MIB` gives it room. Each process has its own. A model's key names its weights for good,
so nothing in here ever becomes wrong; what was used longest ago makes room.
"""

import hashlib
import threading
from collections.abc import Mapping

import orjson
from cachetools import LRUCache

from scheduler_env.schedule import Solution

Key = tuple[str, float, int, bytes]

BYTES_PER_STEP, BYTES_PER_MODE = 1_200, 120
"""Of a solution in memory with its instance, on the safe side: 33 KB for 15 steps with 126 modes, which take 21."""


def _bytes_of(solution: Solution) -> int:
    steps = solution.schedule.instance.steps
    return BYTES_PER_STEP * len(steps) + BYTES_PER_MODE * sum(len(step.modes) for step in steps)


class AnswerCache:
    """Solutions by what was asked for; may be used from any thread."""

    def __init__(self, max_bytes: int) -> None:
        """`max_bytes` 0: nothing is ever kept."""
        self._solutions: LRUCache[Key, Solution] = LRUCache(max_bytes, getsizeof=_bytes_of)
        self._lock = threading.Lock()

    @property
    def is_on(self) -> bool:
        return self._solutions.maxsize > 0

    def get(self, key: Key) -> Solution | None:
        """What was found before, if it is still here."""
        with self._lock:
            return self._solutions.get(key)

    def put(self, key: Key, solution: Solution) -> None:
        """Keep a solution, unless it alone would take more than a tenth of the room."""
        if _bytes_of(solution) <= self._solutions.maxsize / 10:
            with self._lock:
                self._solutions[key] = solution

    @property
    def bytes(self) -> float:
        """Memory taken, about."""
        return self._solutions.currsize


NO_CACHE = AnswerCache(0)


def key_of(model_key: str, problem: Mapping[str, object], time_budget_ms: float, seed: int = 0) -> Key:
    """What a solution is found by: the problem as it was written, its members in any order."""
    written = orjson.dumps(problem, option=orjson.OPT_SORT_KEYS)
    return model_key, time_budget_ms, seed, hashlib.blake2b(written, digest_size=32).digest()
