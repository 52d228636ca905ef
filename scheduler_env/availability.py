"""How many people of a team are there over time. Hours count from the start of the shutdown."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import NamedTuple

from scheduler_env.errors import InvalidInstance

MAX_HOUR = 1_000_000.0
"""114 years: latest end of an interval. All sums of hours stay exact to less than a microsecond."""
MAX_INTERVALS = 200
"""Of one team."""
MAX_PEOPLE = 1_000


class Interval(NamedTuple):
    """From `from_h` until just before `to_h` hours, `people` are there."""

    from_h: float
    to_h: float
    people: int


Availability = int | tuple[Interval, ...]
"""The people there for the whole time, or those of some intervals; outside them it is the team's headcount."""
Levels = tuple[tuple[float, int], ...]
"""(hour, people there from that hour on), ascending; the first hour is 0, and neighbours differ in people."""


def check(availability: Availability) -> None:
    """Raise InvalidInstance, with `loc` relative to the team, unless all numbers are possible and nothing overlaps."""
    if isinstance(availability, int):
        _check_people(availability, ("availability",))
        return
    if len(availability) > MAX_INTERVALS:
        raise InvalidInstance("too_long", ("availability",), max_length=MAX_INTERVALS, actual_length=len(availability))
    for number, (from_h, to_h, people) in enumerate(availability):
        _check_people(people, ("availability", number, "people"))
        if not 0.0 <= from_h <= MAX_HOUR:
            raise InvalidInstance("hour_out_of_range", ("availability", number, "from"), value=from_h, limit=MAX_HOUR)
        if not to_h <= MAX_HOUR:
            raise InvalidInstance("hour_out_of_range", ("availability", number, "to"), value=to_h, limit=MAX_HOUR)
        if not from_h < to_h:
            raise InvalidInstance("interval_ends_first", ("availability", number, "to"), begin=from_h, end=to_h)
    by_time = sorted(range(len(availability)), key=lambda number: availability[number])
    for earlier, later in pairwise(by_time):
        if availability[later].from_h < availability[earlier].to_h:
            first, second = availability[earlier], availability[later]
            raise InvalidInstance(
                "intervals_overlap",
                ("availability", later, "from"),
                begin=second.from_h,
                end=second.to_h,
                other_begin=first.from_h,
                other_end=first.to_h,
            )


def _check_people(people: int, loc: tuple[str | int, ...]) -> None:
    if not 0 <= people <= MAX_PEOPLE:
        raise InvalidInstance("people_out_of_range", loc, value=people, limit=MAX_PEOPLE)


def levels(headcount: int, availability: Availability | None) -> Levels:
    """The people there over time. `availability` has passed `check`; None means that everybody is always there."""
    if availability is None or isinstance(availability, int):
        return ((0.0, headcount if availability is None else availability),)
    changes = {0.0: headcount}
    for from_h, to_h, people in sorted(availability):
        changes[from_h] = people
        changes[to_h] = headcount  # a following interval that begins there overwrites it
    return merged(sorted(changes.items()))


def merged(rows: Sequence[tuple[float, int]]) -> Levels:
    """`rows`, ascending, without those that change nothing."""
    return tuple(row for number, row in enumerate(rows) if number == 0 or row[1] != rows[number - 1][1])


def less(rows: Levels, taken: Iterable[tuple[float, float, int]]) -> Levels:
    """What is left of `rows`, never below zero, while the units of `taken` (from hour, to hour, units) are in use."""
    changes = dict.fromkeys([hour for hour, _ in rows], 0)
    for from_h, to_h, units in taken:
        changes[from_h] = changes.get(from_h, 0) + units
        changes[to_h] = changes.get(to_h, 0) - units
    there, left, used = dict(rows), [], 0
    units_there = rows[0][1]
    for hour, more in sorted(changes.items()):
        units_there = there.get(hour, units_there)
        used += more
        left.append((hour, max(0, units_there - used)))
    return merged(left)


def before(rows: Levels, hour: float) -> int:
    """The people who are there just before `hour`, or at hour 0."""
    return rows[max(0, bisect_left(rows, (hour,)) - 1)][1]


def person_hours(rows: Levels, until_h: float) -> float:
    """The integral of the people there from 0 to `until_h`."""
    ends = [hour for hour, _ in rows[1:]]
    last = bisect_right(ends, until_h)
    whole = sum(people * (end - hour) for (hour, people), end in zip(rows[:last], ends, strict=False))
    hour, people = rows[last]
    return whole + people * (until_h - hour)


def written(availability: Availability) -> int | list[dict[str, float]]:
    """As it stands in a request, JSON."""
    if isinstance(availability, int):
        return availability
    return [{"from": from_h, "to": to_h, "people": people} for from_h, to_h, people in availability]
