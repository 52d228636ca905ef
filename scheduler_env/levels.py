"""How much of each resource is there over time, for compiled code.

`Problem.levels` has a row for each change of the units of a resource, in ascending order of the hour:

* `FROM`: the hour from which the row applies; 0 in a resource's first row,
* `UNITS`: the units that are there from then on,
* `DONE`: the unit-hours that were there from hour 0 to that hour.

Rows `level_at[k]` .. `level_at[k + 1] - 1` are those of resource k. It has none if all its units are always there. In
the last row at least the demand of every mode is there, so each activity fits at some time.
"""

import numpy as np
from numpy.typing import NDArray

from scheduler_env.compilation import compiled

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

FROM, UNITS, DONE = 0, 1, 2
SAME_H = 1e-9
"""Times closer together than this (4 microseconds) are the same."""


@compiled
def there_at(levels: Floats, level_at: Ints, k: int, hour: float, capacity: int) -> int:
    """The units of `k` that are there at `hour`."""
    first, last = level_at[k], level_at[k + 1] - 1
    if last < first:
        return capacity
    while last > first and levels[last, FROM] > hour + SAME_H:
        last -= 1
    return int(levels[last, UNITS])


@compiled
def next_change(levels: Floats, hour: float) -> float:
    """The first change of any resource after `hour`; infinity if there is none."""
    soonest = np.inf
    for row in range(levels.shape[0]):
        if levels[row, FROM] > hour + SAME_H:
            soonest = min(soonest, levels[row, FROM])
    return soonest


@compiled
def work_end(levels: Floats, level_at: Ints, k: int, begin: float, work: float, capacity: int) -> float:
    """The earliest end of `work` unit-hours on `k` that begin at `begin` and take all units that are there."""
    first, last = level_at[k], level_at[k + 1] - 1
    if last < first:
        return begin + work / capacity
    if work <= 0.0:
        return begin
    row = _last_row(levels, first, last, FROM, begin)
    target = levels[row, DONE] + levels[row, UNITS] * (begin - levels[row, FROM]) + work
    row = _last_row(levels, row, last, DONE, target)
    # The last row whose DONE is below the target has units, because the next one's DONE is higher.
    return float(levels[row, FROM] + (target - levels[row, DONE]) / levels[row, UNITS])


@compiled
def _last_row(levels: Floats, first: int, last: int, column: int, value: float) -> int:
    """The last row from `first` to `last` whose `column` is below `value`, or `first`; binary search."""
    while first < last:
        middle = (first + last + 1) // 2
        if levels[middle, column] < value:
            first = middle
        else:
            last = middle - 1
    return first


@compiled
def earliest_fit(levels: Floats, level_at: Ints, begin: float, duration: float, resources: Ints, units: Ints) -> float:
    """The earliest start, not before `begin`, at which the units of one mode are there for `duration` hours.

    Other activities are ignored.
    """
    moved = True
    while moved:
        moved = False
        for d in range(resources.size):
            k = resources[d]
            for row in range(level_at[k], level_at[k + 1]):
                if levels[row, FROM] >= begin + duration - SAME_H:
                    break
                is_last = row + 1 == level_at[k + 1]
                if levels[row, UNITS] < units[d] and not is_last and levels[row + 1, FROM] > begin + SAME_H:
                    begin = levels[row + 1, FROM]
                    moved = True
    return begin
