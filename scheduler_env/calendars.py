"""Working time: from elapsed hours to hours at work and back, exact, for a week of shifts with exceptions.

A shift belongs to the day on which it begins, also if it ends after midnight, so an exception replaces the shifts that
begin on its date. Shifts that overlap are one stretch of work. A local time that does not exist is read with the offset
before the change, and one that comes twice is the first (RFC 5545, section 3.3.5).
"""

import math
from bisect import bisect_left, bisect_right
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from functools import cached_property
from itertools import accumulate
from typing import NamedTuple

from scheduler_env.availability import MAX_HOUR
from scheduler_env.clock import Clock
from scheduler_env.errors import InvalidInstance

SAME_H = 1e-7
"""Hours at work that differ by less are the same: they are sums of floating-point durations."""
REACH_H = 2 * MAX_HOUR
"""Later times are refused: a plan in a calendar with little work may last for ever."""
ONE_YEAR_H = 8_784.0
FIRST_DAYS = 64
_ONE_HOUR, _DAY = timedelta(hours=1), timedelta(days=1)


class Shift(NamedTuple):
    """Minutes after midnight; the end is later than the beginning, by a day at most."""

    begin: int
    end: int


@dataclass(frozen=True)
class Pattern:
    """The shifts of each day of the week, Monday first, and those of single dates.

    Raises:
        InvalidInstance: no day of the week has a shift.
    """

    week: tuple[tuple[Shift, ...], ...]
    exceptions: Mapping[date, tuple[Shift, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not any(self.week):
            raise InvalidInstance("calendar_without_hours", ("week",))

    def of(self, day: date) -> tuple[Shift, ...]:
        """The shifts that begin on `day`."""
        return self.exceptions.get(day, self.week[day.weekday()])


class _Table(NamedTuple):
    """The stretches of work before `until`, all in hours; those that follow may begin there."""

    begins: list[float]
    ends: list[float]
    before: list[float]  # hours at work before each stretch, and before `until`
    until: float


@dataclass(frozen=True)
class Calendar:
    """The working time after the start of a clock. Hours at work count from there too."""

    pattern: Pattern
    clock: Clock
    _tables: list[_Table] = field(default_factory=list, init=False, repr=False, compare=False)
    """The longest table so far; it is replaced as a whole, so that threads need no lock."""

    def working(self, hour: float) -> float:
        """The hours at work before the elapsed hour."""
        table = self._until(hour)
        at = bisect_right(table.begins, hour) - 1
        if at < 0:
            return 0.0
        return table.before[at] + (min(hour, table.ends[at]) - table.begins[at])

    def begin(self, work: float) -> float:
        """The last elapsed hour before which there are `work` hours at work: when work goes on after them."""
        table = self._with(work)
        at = max(0, bisect_right(table.before, work + SAME_H) - 1)
        after = work - table.before[at]
        return table.begins[at] + (after if after > SAME_H else 0.0)

    def end(self, work: float) -> float:
        """The first elapsed hour before which there are `work` hours at work; the first shift's beginning for none."""
        table = self._with(work)
        at = max(0, bisect_left(table.before, work - SAME_H) - 1)
        return min(table.begins[at] + max(0.0, work - table.before[at]), table.ends[at])

    def add(self, start: float, duration: float) -> float:
        """When work of `duration` hours ends that goes on from `start`, with rests between the shifts."""
        return self.end(self.working(start) + duration) if duration > 0.0 else start

    def next(self, hour: float) -> float:
        """The first elapsed hour, not before `hour`, at which work may begin."""
        return max(hour, self.begin(self.working(hour)))

    def last(self, hour: float) -> float:
        """The last elapsed hour, not after `hour`, at which work may end; 0 if there is none."""
        work = self.working(hour)
        return min(hour, self.end(work)) if work > SAME_H else 0.0

    def stretches(self, until: float) -> list[tuple[float, float]]:
        """The stretches of work that begin before `until`; the last one may be longer."""
        table = self._until(until)
        return [(begin, end) for begin, end in zip(table.begins, table.ends, strict=True) if begin < until]

    def breaks(self, until: float) -> list[float]:
        """The hours at work, below `until`, after which people rest."""
        before = self._with(until).before
        return before[1 : bisect_left(before, until)]

    @cached_property
    def longest_h(self) -> float:
        """The longest stretch of work, of a year, or until a week after the last exception, hours."""
        clock, last = self.clock, max(self.pattern.exceptions, default=None)
        until = ONE_YEAR_H
        if last is not None:
            until = max(until, clock.hours(datetime.combine(last, datetime.min.time(), UTC)) + 24 * 9)
        return max(math.inf if end >= until else end - begin for begin, end in self.stretches(until))

    def _until(self, hour: float) -> _Table:
        table = self._table
        while table.until <= hour:
            table = self._longer(table)
        return table

    def _with(self, work: float) -> _Table:
        table = self._table
        while table.before[-1] <= work + SAME_H:
            table = self._longer(table)
        return table

    @property
    def _table(self) -> _Table:
        if not self._tables:
            self._tables.append(self._built(FIRST_DAYS))
        return self._tables[0]

    def _longer(self, table: _Table) -> _Table:
        if table.until > REACH_H:
            raise InvalidInstance("beyond_calendar", limit=MAX_HOUR)
        longer = self._built(min(2 * round(table.until / 24.0), round(REACH_H / 24.0)) + FIRST_DAYS)
        self._tables[0] = longer
        return longer

    def _built(self, n_days: int) -> _Table:
        """The stretches of the next `n_days` days."""
        start, zone = self.clock.start, self.clock.zone
        offset = start.utcoffset() or timedelta(0)
        start_utc = start.replace(tzinfo=None) - offset

        def hours(midnight: datetime, minutes: int) -> float:
            wall = midnight + timedelta(minutes=minutes)
            return (wall - (zone.utcoffset(wall.replace(tzinfo=zone)) or timedelta(0)) - start_utc) / _ONE_HOUR

        first = start.astimezone(UTC).astimezone(zone).date() - _DAY
        midnights = [datetime.combine(first + number * _DAY, datetime.min.time()) for number in range(n_days)]
        until = hours(midnights[-1], 0)
        shifts = sorted(
            (hours(midnight, shift.begin), hours(midnight, shift.end))
            for midnight in midnights
            for shift in self.pattern.of(midnight.date())
        )
        begins: list[float] = []
        ends: list[float] = []
        for begin, end in shifts:
            begin, end = max(begin, 0.0), min(end, until)
            if ends and begin <= ends[-1] + SAME_H:
                ends[-1] = max(ends[-1], end)
            elif begin < end:
                begins.append(begin)
                ends.append(end)
        lengths = [end - begin for begin, end in zip(begins, ends, strict=True)]
        return _Table(begins, ends, [*accumulate(lengths, initial=0.0)], until)
