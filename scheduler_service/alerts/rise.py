"""Whether schedules of a size have become longer, which a mean over all sizes does not show.

The *length* of a run is its makespan divided by the lower bound of its instance. The usual length is the median of
comparable earlier runs: those of the same instance (same lower bound), else those with the same number of work points,
steps per work point (rounded) and time budget. So another mix of sizes, a larger plant or a smaller budget is not a
rise. A size has risen if the median of length / usual - 1 over its recent runs is above the threshold, and
significantly many of them are above the usual length (sign test, one-sided, 0.1 %).
"""

import math
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from scheduler_service.alerts.about import sizes, worst_first

if TYPE_CHECKING:
    import pandas as pd

MIN_RUNS = 20
"""Minimum number of recent runs of a size, and of comparable earlier runs."""
RECENT = timedelta(hours=1)
ALPHA = 0.001
"""Level of the sign test."""
COMPARABLE = ["n_workpoints", "steps", "time_budget_ms"]
SAME_INSTANCE = [*COMPARABLE, "lower_bound"]


def judged(recent: "pd.DataFrame", before: "pd.DataFrame", now: datetime, limits: Iterable[int]) -> "pd.DataFrame":
    """The runs that are judged, with their `size`, the worst first.

    They are those of the last hour, but at least `MIN_RUNS` of each size, if there are so many. `value` is the share by
    which a run is longer than usual, NA if unknown. `has_past` says whether the usual length is that of the same
    instance. The usual length is taken from `before`, or if that has too few comparable runs, from the runs of `recent`
    that are not judged.

    Args:
        recent, before: columns `success`, `makespan` (h), `lower_bound` (h), `n_workpoints`, `n_steps`,
            `time_budget_ms`; `recent`: of the last day, with `timestamp`; `before`: of the time before.
    """
    found = _lengths(recent.sort_values("timestamp", ascending=False, kind="stable"))
    found = found.assign(size=sizes(found, limits))
    is_judged = (found["timestamp"] > now - RECENT) | (found.groupby("size").cumcount() < MIN_RUNS)
    runs, earlier = found[is_judged], (_lengths(before), found[~is_judged])
    same = _usual(runs, earlier, SAME_INSTANCE)
    value = runs["length"] / same.fillna(_usual(runs, earlier, COMPARABLE)) - 1.0
    return worst_first(runs.assign(has_past=same.notna()), value)


def rise_of(runs: "pd.DataFrame") -> tuple[float | None, bool]:
    """(how much longer the runs of a size are, a share or None; whether that may be chance); `runs` from `judged`."""
    import pandas as pd
    from scipy.special import bdtrc

    known = runs[runs["value"].notna()]
    if len(known) < MIN_RUNS:
        return None, True
    # Runs of one instance share its gap, so without a past of that instance they count as one.
    others = known[~known["has_past"]].groupby(SAME_INSTANCE)["value"].median()
    values = pd.concat([known.loc[known["has_past"], "value"], others])
    above = int((values > 0.0).sum())
    by_chance = 1.0 if above == 0 else float(bdtrc(above - 1, len(values), 0.5))  # P(at least so many above)
    return float(values.median()), by_chance > ALPHA


def _lengths(runs: "pd.DataFrame") -> "pd.DataFrame":
    """The runs that have a length, with the columns `length` and `steps` (per work point)."""
    good = runs[runs["success"].astype(bool) & (runs["lower_bound"] > 0.0) & runs["n_workpoints"].notna()]
    steps = (good["n_steps"].astype(float) / good["n_workpoints"].astype(float)).round().fillna(0.0)
    budget_ms = good["time_budget_ms"].fillna(0.0)
    return good.assign(steps=steps, time_budget_ms=budget_ms, length=good["makespan"] / good["lower_bound"])


def _usual(runs: "pd.DataFrame", earlier: "Sequence[pd.DataFrame]", keys: list[str]) -> "pd.Series[float]":
    """The median length of comparable runs for each run, from the first of `earlier` that has enough; NA: none has."""
    import pandas as pd

    found: pd.Series[float] = pd.Series(math.nan, index=runs.index)
    for past in earlier:
        known = past.groupby(keys)["length"].agg(["median", "size"])
        known = known[known["size"] >= MIN_RUNS].rename(columns={"median": "usual"})
        found = found.fillna(runs[keys].join(known["usual"], on=keys)["usual"])
    return found
