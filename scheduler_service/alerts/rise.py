"""Whether schedules of a size have become longer than they were: what a mean over all sizes cannot say.

A run's *length* is its makespan over the lower bound of its instance. It is held against the usual length, the median,
of earlier runs alike: as many work points, and as many steps to one (rounded). So neither another mix of sizes nor a
larger plant is a rise. A size has risen when the median of length / usual - 1 over its recent runs is above the
threshold, and more of them are above the usual length than chance makes so (sign test, one-sided, 0.1 %).
"""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from scheduler_service.alerts.about import sizes, subject_of

if TYPE_CHECKING:
    import pandas as pd

MIN_RUNS = 20
"""Recent runs of a size, and earlier runs alike, before anything is said."""
RECENT = timedelta(hours=1)
BY_CHANCE = 0.001
"""How often a size that is as ever counts as risen, at a threshold of 0."""

Rise = tuple[str, float | None, bool]
"""A size as alerts name it; how much longer its schedules are, a share (None: not known); whether that is chance."""


def rises(recent: "pd.DataFrame", before: "pd.DataFrame", now: datetime, limits: Iterable[int]) -> list[Rise]:
    """What became of each size that has recent runs.

    Judged are the runs of the last hour, or the last `MIN_RUNS` where a size has fewer in it. They are held against
    `before`; where that has too few runs alike, against those of `recent` that are not judged.

    Args:
        recent, before: columns `timestamp`, `success`, `makespan` (h), `lower_bound` (h), `n_workpoints`, `n_steps`;
            `recent` of the last day, `before` of the time before that.
    """
    limits = tuple(limits)
    told, past = _lengths(recent, limits), _lengths(before, limits)
    is_judged = (told["timestamp"] > now - RECENT) | (told.groupby("size").cumcount() < MIN_RUNS)
    usual = _usual(told[~is_judged]) | _usual(past)
    judged = told[is_judged].assign(usual=told["alike"].map(usual))
    found = []
    for size, runs in judged.groupby("size"):
        ratios = (runs["length"] / runs["usual"]).dropna().tolist()
        found.append((subject_of(int(str(size)), limits), *_rise(ratios)))
    return found


def _rise(ratios: Sequence[float]) -> tuple[float | None, bool]:
    import numpy as np
    from scipy.special import bdtrc

    if len(ratios) < MIN_RUNS:
        return None, True
    above = int(np.sum(np.asarray(ratios) > 1.0))
    by_chance = 1.0 if above == 0 else float(bdtrc(above - 1, len(ratios), 0.5))  # P(at least so many above)
    return float(np.median(ratios)) - 1.0, by_chance > BY_CHANCE


def _lengths(runs: "pd.DataFrame", limits: Sequence[int]) -> "pd.DataFrame":
    """`timestamp`, `size`, `alike` and `length` of each run that has them, the newest first."""
    good = runs[runs["success"].astype(bool) & (runs["lower_bound"] > 0.0) & runs["n_workpoints"].notna()]
    n = good["n_workpoints"].astype(int)
    steps = (good["n_steps"].astype(float) / n).round().fillna(0).astype(int)
    return good.assign(
        size=sizes(good, limits),
        alike=n.astype(str) + "x" + steps.astype(str),
        length=good["makespan"] / good["lower_bound"],
    ).sort_values("timestamp", ascending=False, kind="stable")[["timestamp", "size", "alike", "length"]]


def _usual(runs: "pd.DataFrame") -> dict[str, float]:
    """The median length of runs alike, where there are enough."""
    found = {str(alike): lengths for alike, lengths in runs.groupby("alike")["length"]}
    return {alike: float(lengths.median()) for alike, lengths in found.items() if len(lengths) >= MIN_RUNS}
