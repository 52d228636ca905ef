"""Schedules that were answered before: the same model, problem, budget and seed need not be computed again.

Off unless `SCHED_ANSWER_CACHE_MIB` gives it room. Each process has its own. A model's key names its weights for good,
so nothing in here ever becomes wrong; what was used longest ago makes room.
"""

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Mapping

import orjson

from scheduler_env.schedule import Solution

Key = tuple[str, float, int, bytes]

BYTES_PER_STEP, BYTES_PER_MODE = 1_200, 120
"""Of a solution in memory with its instance, on the safe side: 33 KB for 15 steps with 126 modes, which take 21."""


class AnswerCache:
    """Solutions by what was asked for; may be used from any thread."""

    def __init__(self, max_bytes: int) -> None:
        """`max_bytes` 0: nothing is ever kept."""
        self._max_bytes = max_bytes
        self._bytes = 0
        self._solutions: OrderedDict[Key, Solution] = OrderedDict()
        self._lock = threading.Lock()

    @property
    def is_on(self) -> bool:
        return self._max_bytes > 0

    def get(self, key: Key) -> Solution | None:
        """What was found before, if it is still here."""
        with self._lock:
            solution = self._solutions.get(key)
            if solution is not None:
                self._solutions.move_to_end(key)
            return solution

    def put(self, key: Key, solution: Solution) -> None:
        """Keep a solution, unless it alone would take more than a tenth of the room."""
        size = _bytes_of(solution)
        if size > self._max_bytes / 10:
            return
        with self._lock:
            if key in self._solutions:
                return
            self._solutions[key] = solution
            self._bytes += size
            while self._bytes > self._max_bytes:
                _, dropped = self._solutions.popitem(last=False)
                self._bytes -= _bytes_of(dropped)

    @property
    def bytes(self) -> int:
        """Memory taken, about."""
        return self._bytes


NO_CACHE = AnswerCache(0)


def key_of(model_key: str, problem: Mapping[str, object], time_budget_ms: float, seed: int = 0) -> Key:
    """What a solution is found by: the problem as it was written, its members in any order."""
    written = orjson.dumps(problem, option=orjson.OPT_SORT_KEYS)
    return model_key, time_budget_ms, seed, hashlib.blake2b(written, digest_size=32).digest()


def _bytes_of(solution: Solution) -> int:
    steps = solution.schedule.instance.steps
    return BYTES_PER_STEP * len(steps) + BYTES_PER_MODE * sum(len(step.modes) for step in steps)
