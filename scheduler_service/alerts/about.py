"""Which runs a rule is about, and what it reads of each: for its figure, and for whoever looks into an alert."""

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from scheduler_env.standard_cycle import STANDARD_STEPS
from scheduler_service.alert_rules import GAP_THRESHOLDS

if TYPE_CHECKING:
    import pandas as pd

FOR_EVER = 2**31
"""Stands for the size beyond the greatest of `GAP_THRESHOLDS`."""
RUNS_SHOWN = 5
"""Runs that an alert names."""


def size_of(n_workpoints: int, limits: Iterable[int] = GAP_THRESHOLDS) -> int:
    """The one of `limits` that instances of `n_workpoints` fall under; `FOR_EVER` beyond the greatest."""
    return min((largest for largest in limits if n_workpoints <= largest), default=FOR_EVER)


def subject_of(size: int, limits: Iterable[int] = GAP_THRESHOLDS) -> str:
    """How an alert names a size of `size_of`."""
    return f"N>{max(limits)}" if size == FOR_EVER else f"N<={size}"


def sizes(runs: "pd.DataFrame", limits: Iterable[int] = GAP_THRESHOLDS) -> "pd.Series[Any]":
    """Of each run the one of `limits` that its number of work points falls under, as `size_of`; NA: not known."""
    import numpy as np
    import pandas as pd

    known = runs["n_workpoints"].dropna()
    largest = np.array([*sorted(limits), FOR_EVER])
    found = largest[np.searchsorted(largest, known.to_numpy(dtype="int64"))]
    return pd.Series(found, index=known.index, dtype="Int64").reindex(runs.index)


def are_standard(runs: "pd.DataFrame") -> "pd.Series[bool]":
    """Whether each run is of standard cycles alone; what is not recorded counts as such."""
    if not {"n_steps", "n_workpoints"} <= set(runs.columns):
        return _everywhere(runs)
    other = runs["n_steps"] != runs["n_workpoints"] * len(STANDARD_STEPS)
    return ~other.fillna(value=False).astype(bool)


def is_gap_judged(runs: "pd.DataFrame", limits: Iterable[int], said: Iterable[int]) -> "pd.Series[bool]":
    """Whether the gap of each run is held against its size's threshold: the usual ones are for standard cycles."""
    return are_standard(runs) | sizes(runs, limits).isin(frozenset(said)).astype(bool)


def are_one_cycle(runs: "pd.DataFrame") -> "pd.Series[bool]":
    """Whether each run is of one standard cycle, which is what the guide's threshold of the makespan was made for."""
    if "n_workpoints" not in runs:
        return _everywhere(runs)
    return are_standard(runs) & (runs["n_workpoints"].fillna(1) == 1).astype(bool)


def is_one_cycle(n_workpoints: int | None, n_steps: int | None) -> bool:
    """`are_one_cycle` of one run; what is not known counts as such."""
    return n_workpoints in (1, None) and n_steps in (len(STANDARD_STEPS), None)


def overruns_s(runs: "pd.DataFrame") -> "pd.Series[float]":
    """By how many seconds each run took longer than the time it was granted, >= 0."""
    if "time_budget_ms" not in runs:
        return runs["execution_time"]
    return (runs["execution_time"] - runs["time_budget_ms"].fillna(0.0) / 1_000.0).clip(lower=0.0)


def runs_about(
    name: str,
    subject: str,
    runs: "pd.DataFrame",
    limits: Iterable[int] = GAP_THRESHOLDS,
    *,
    said: Iterable[int] = (),
) -> "pd.DataFrame":
    """Those of `runs` that an alert is about, the worst first, with what it reads of each as `value`.

    Args:
        runs: oldest first; columns as the rule needs, of `success`, `makespan` (h), `execution_time` (s), `model_key`,
            `experiment`, `variant`, `gap`, `lower_bound` (h), `n_workpoints`, `n_steps` and `time_budget_ms`.
        limits: greatest number of work points of each size.
        said: the sizes whose gaps are judged of all runs, not of standard cycles alone.
    """
    newest = runs.iloc[::-1]
    is_done = newest["success"].astype(bool)
    good, bad = newest[is_done], newest[~is_done]
    if name == "max_makespan":
        return worst_first(good[are_one_cycle(good)], good["makespan"])
    if name == "max_execution_time":
        return worst_first(good, overruns_s(good))
    if name == "max_gap":
        limits = tuple(limits)
        mine = with_judged_gaps(good, limits, said)
        return mine[[subject_of(size, limits) == subject for size in mine["size"]]]
    if name == "min_success_rate":
        return bad.assign(value=0.0)
    if name == "model_failures":
        return bad[bad["model_key"] == subject].assign(value=0.0)
    if name in ("experiment_aborted", "experiment_arm_stopped"):
        experiment, _, arm = subject.partition("/")
        mine = newest[(newest["experiment"] == experiment) & ((newest["variant"] == arm) | (not arm))]
        return worst_first(mine, newest["gap"].where(is_done, math.inf))
    if name == "model_rolled_back":
        return bad.assign(value=0.0)
    if name == "input_drift":
        return newest.assign(value=newest[subject])
    return newest.iloc[:0].assign(value=0.0)


def with_judged_gaps(good: "pd.DataFrame", limits: Iterable[int], said: Iterable[int]) -> "pd.DataFrame":
    """Those of successful runs whose gap is held against their size's threshold, the worst first, with their `size`."""
    limits = tuple(limits)
    mine = good[good["gap"].notna() & good["n_workpoints"].notna() & is_gap_judged(good, limits, said)]
    return worst_first(mine.assign(size=sizes(mine, limits)), mine["gap"])


def worst_first(runs: "pd.DataFrame", value: "pd.Series[float]") -> "pd.DataFrame":
    """The runs with what is read of each as `value`, the greatest first."""
    # An empty frame would take all of `value` in.
    told = runs.assign(value=value.reindex(runs.index))
    return told.sort_values("value", ascending=False, kind="stable")


def _everywhere(runs: "pd.DataFrame") -> "pd.Series[bool]":
    import pandas as pd

    return pd.Series(True, index=runs.index)
