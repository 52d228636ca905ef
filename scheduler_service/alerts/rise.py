"""Whether schedules of a size have become longer than they were: what a mean over all sizes cannot say.

A run's *length* is its makespan over the lower bound of its instance. It is held against the usual length, the median,
of earlier runs alike: of the same instance, which its lower bound tells apart; else of as many work points, as many
steps to one (rounded) and as much time to improve. So neither another mix of sizes nor a larger plant nor less time is
a rise. A size has risen when the median of length / usual - 1 over its recent runs is above the threshold, and more of
them are above the usual length than chance makes so (sign test, one-sided, 0.1 %).
"""

import math
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from scheduler_service.alerts.about import sizes, worst_first

if TYPE_CHECKING:
    import pandas as pd

MIN_RUNS = 20
"""Recent runs of a size, and earlier runs alike, before anything is said."""
RECENT = timedelta(hours=1)
BY_CHANCE = 0.001
"""How often a size that is as ever counts as risen, at a threshold of 0."""
ALIKE = ["n_workpoints", "steps", "time_budget_ms"]
SAME = [*ALIKE, "lower_bound"]


def judged(recent: "pd.DataFrame", before: "pd.DataFrame", now: datetime, limits: Iterable[int]) -> "pd.DataFrame":
    """The runs that are judged, the worst first, with their `size`.

    Those of the last hour, or the last `MIN_RUNS` where a size has fewer in it. `value` is by which share each is
    longer than usual, NA where that is not known; `has_past`, whether that is the past of the same instance. They are
    held against `before`; where that has too few runs alike, against those of `recent` that are not judged.

    Args:
        recent, before: columns `success`, `makespan` (h), `lower_bound` (h), `n_workpoints`, `n_steps`,
            `time_budget_ms`; `recent` of the last day, with `timestamp`; `before` of the time before that.
    """
    told = _lengths(recent.sort_values("timestamp", ascending=False, kind="stable"))
    told = told.assign(size=sizes(told, limits))
    is_judged = (told["timestamp"] > now - RECENT) | (told.groupby("size").cumcount() < MIN_RUNS)
    runs, earlier = told[is_judged], (_lengths(before), told[~is_judged])
    same = _usual(runs, earlier, SAME)
    value = runs["length"] / same.fillna(_usual(runs, earlier, ALIKE)) - 1.0
    return worst_first(runs.assign(has_past=same.notna()), value)


def rise_of(runs: "pd.DataFrame") -> tuple[float | None, bool]:
    """How much longer the runs of a size are, a share (None: not known), and whether that is chance; as `judged`."""
    import pandas as pd
    from scipy.special import bdtrc

    known = runs[runs["value"].notna()]
    if len(known) < MIN_RUNS:
        return None, True
    # Runs of one instance have its gap in common: without a past of its own they say no more than one.
    others = known[~known["has_past"]].groupby(SAME)["value"].median()
    values = pd.concat([known.loc[known["has_past"], "value"], others])
    above = int((values > 0.0).sum())
    by_chance = 1.0 if above == 0 else float(bdtrc(above - 1, len(values), 0.5))  # P(at least so many above)
    return float(values.median()), by_chance > BY_CHANCE


def _lengths(runs: "pd.DataFrame") -> "pd.DataFrame":
    """Those of the runs that have a length, with `length`, and `steps` to a work point."""
    good = runs[runs["success"].astype(bool) & (runs["lower_bound"] > 0.0) & runs["n_workpoints"].notna()]
    steps = (good["n_steps"].astype(float) / good["n_workpoints"].astype(float)).round().fillna(0.0)
    budget_ms = good["time_budget_ms"].fillna(0.0)
    return good.assign(steps=steps, time_budget_ms=budget_ms, length=good["makespan"] / good["lower_bound"])


def _usual(runs: "pd.DataFrame", earlier: "Sequence[pd.DataFrame]", alike: list[str]) -> "pd.Series[float]":
    """Of each run the median length of earlier ones alike, of the first of `earlier` that has enough; NA: none has."""
    import pandas as pd

    found: pd.Series[float] = pd.Series(math.nan, index=runs.index)
    for past in earlier:
        known = past.groupby(alike)["length"].agg(["median", "size"])
        known = known[known["size"] >= MIN_RUNS].rename(columns={"median": "usual"})
        found = found.fillna(runs[alike].join(known["usual"], on=alike)["usual"])
    return found
