"""The incumbent: the shortest schedule known so far, which every search starts from and shortens."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NotRequired, TypedDict

import numpy as np

from scheduler_env.kernel import Floats, Ints, Problem

MIN_IMPROVEMENT_H = 1e-9
"""A schedule counts as shorter only if the difference in hours is larger: a smaller one may be a rounding error."""

OPTIMAL_WITHIN_H = 1e-6
"""A schedule counts as optimal if it is at most this much (4 milliseconds) longer than a proved lower bound."""

Stop = Callable[[], bool]
"""Returns True if a search is to end early, for example because the client has disconnected."""


class Limits(TypedDict):
    """When a search ends: at the first of these limits that is reached."""

    lower_bound_h: float  # a proved bound, hours; a schedule of this length is optimal
    deadline_s: float  # a time of `time.perf_counter`; may be exceeded by the time of one sample
    min_evaluations: NotRequired[int]  # the deadline does not apply before this many schedules
    max_evaluations: NotRequired[int | None]  # schedules built, including those that the incumbent already counts
    stop: NotRequired[Stop | None]  # called about every second; True ends the search


@dataclass
class Incumbent:
    """A complete schedule; `mode` and `start` as in `kernel.SimulationState`."""

    mode: Ints
    start: Floats
    makespan_h: float
    stage: str  # name of the method that found it
    evaluations: int  # complete schedules built so far, by all methods

    def is_optimal(self, lower_bound_h: float) -> bool:
        """Whether a proved lower bound, in hours, shows that no schedule is shorter."""
        return self.makespan_h <= lower_bound_h + OPTIMAL_WITHIN_H

    def bound_h(self, lower_bound_h: float) -> float:
        """The lower bound to report: the makespan if it is optimal, otherwise `lower_bound_h`."""
        return self.makespan_h if self.is_optimal(lower_bound_h) else lower_bound_h

    def take(self, mode: Ints, start: Floats, makespan_h: float, stage: str) -> bool:
        """Copy the given schedule if it is shorter; returns whether it was."""
        if makespan_h >= self.makespan_h - MIN_IMPROVEMENT_H:
            return False
        self.mode[:], self.start[:] = mode, start
        self.makespan_h, self.stage = makespan_h, stage
        return True


def empty_incumbent(problem: Problem) -> Incumbent:
    """An incumbent without a schedule; its makespan is infinite."""
    n = problem.shortest.size
    return Incumbent(np.full(n, -1, dtype=np.int64), np.zeros(n), np.inf, "", 0)
