"""The shortest schedule known so far: what every way of improving starts from and leaves better or as it was."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from scheduler_env.kernel import Floats, Ints, Problem

SHORTER_H = 1e-9
"""A schedule counts as shorter only by more than this many hours, less than a rounding error of the sums."""

PROVED_H = 1e-6
"""A schedule this close to a lower bound is optimal; nobody restarts a plant 4 milliseconds earlier."""

Stop = Callable[[], bool]
"""Whether a search is to end before its time, since nobody wants the result any more."""


@dataclass
class Incumbent:
    """A complete schedule; `mode` and `start` as in `kernel.State`."""

    mode: Ints
    start: Floats
    makespan_h: float
    stage: str  # what found it
    evaluations: int  # complete schedules built so far, by all stages

    def is_optimal(self, lower_bound_h: float) -> bool:
        """Whether nothing shorter is possible, by a proved bound in hours."""
        return self.makespan_h <= lower_bound_h + PROVED_H

    def bound_h(self, lower_bound_h: float) -> float:
        """What to answer as the lower bound: the makespan itself if it is optimal."""
        return self.makespan_h if self.is_optimal(lower_bound_h) else lower_bound_h

    def take(self, mode: Ints, start: Floats, makespan_h: float, stage: str) -> bool:
        """Copy the given schedule if it is shorter; whether it was."""
        if makespan_h >= self.makespan_h - SHORTER_H:
            return False
        self.mode[:], self.start[:] = mode, start
        self.makespan_h, self.stage = makespan_h, stage
        return True


def nothing_yet(problem: Problem) -> Incumbent:
    """No schedule at all, which any schedule is shorter than."""
    n = problem.shortest.size
    return Incumbent(np.full(n, -1, dtype=np.int64), np.zeros(n), np.inf, "", 0)
