"""Where things stand in a shutdown: what is done or at work, what is promised, and the plan that people have in hand.

These are the plain values; `reading` reads and checks them, `solving` plans what is left, and `report` says what came
of them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from scheduler_env.calendars import Calendar

FACT_TOLERANCE_H = 0.01
"""Reported times are rounded: facts contradict each other, or a plan, only if they differ by more (36 s)."""

State = Literal["done", "running", "planned"]


class Fact(NamedTuple):
    """A step that is done or at work: it is not planned again.

    `end_h` of a running step is expected: its crew is held until then. `is_overdue`: by the duration of its crew it
    would have ended before the data date, and nobody said how much is left.
    """

    status: Literal["done", "running"]
    start_h: float
    end_h: float
    crew: int
    is_overdue: bool = False


class Placement(NamedTuple):
    """A start in hours and a crew; None: nothing is said about it."""

    start_h: float | None
    crew: int | None


@dataclass(frozen=True)
class Status:
    """Where things stand at `data_date_h`, hours after the start of the shutdown. Steps are named by their ids.

    Attributes:
        facts: the steps that are done or at work. All others start at the data date at the earliest.
        pinned: what is promised, and kept.
        overtaken: what was promised about steps that are done or at work.
        published: the plan that people have in hand; None if there is none.
        frozen_h: what that plan starts within so many hours after the data date is kept while that is possible.
        tolerance_h: the plan that moves least may end so much later than the shortest one; elapsed hours.
        calendar: if all other hours are hours at work in a calendar.
    """

    data_date_h: float = 0.0
    facts: Mapping[str, Fact] = field(default_factory=dict)
    pinned: Mapping[str, Placement] = field(default_factory=dict)
    overtaken: Mapping[str, Placement] = field(default_factory=dict)
    published: Mapping[str, Placement] | None = None
    frozen_h: float = 0.0
    tolerance_h: float = 0.0
    calendar: Calendar | None = None

    def latest_h(self, end_h: float) -> float:
        """The latest end of the plan that moves least, if the shortest one ends at `end_h`."""
        if self.calendar is None or self.tolerance_h <= 0.0:
            return end_h + self.tolerance_h
        return max(end_h, self.calendar.working(self.calendar.end(end_h) + self.tolerance_h))

    def is_frozen(self, step_id: str) -> bool:
        """Whether the published plan starts the step within the frozen hours."""
        there = None if self.published is None else self.published.get(step_id)
        if there is None or there.start_h is None or step_id in self.facts or step_id in self.pinned:
            return False
        return self.data_date_h <= there.start_h < self.data_date_h + self.frozen_h
