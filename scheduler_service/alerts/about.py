"""The runs that a rule judges, and the value that it uses of each; also shown for an alert."""

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from scheduler_env.standard_cycle import STANDARD_STEPS
from scheduler_service.alert_rules import GAP_THRESHOLDS

if TYPE_CHECKING:
    import pandas as pd

FOR_EVER = 2**31
"""The size above the largest of `GAP_THRESHOLDS`."""
RUNS_SHOWN = 5
"""Maximum number of runs listed in an alert."""


def subject_of(size: int, limits: Iterable[int] = GAP_THRESHOLDS) -> str:
    """The subject of an alert about a size of `sizes`."""
    return f"N>{max(limits)}" if size == FOR_EVER else f"N<={size}"


def sizes(runs: "pd.DataFrame", limits: Iterable[int] = GAP_THRESHOLDS) -> "pd.Series[Any]":
    """The size of each run: the smallest of `limits` that is at least its work points, else `FOR_EVER`; NA: unknown."""
    import numpy as np
    import pandas as pd

    known = runs["n_workpoints"].dropna()
    largest = np.array([*sorted(limits), FOR_EVER])
    found = largest[np.searchsorted(largest, known.to_numpy(dtype="int64"))]
    return pd.Series(found, index=known.index, dtype="Int64").reindex(runs.index)


def are_standard(runs: "pd.DataFrame") -> "pd.Series[bool]":
    """Whether each run consists of standard cycles only; true if that is not recorded."""
    if not {"n_steps", "n_workpoints"} <= set(runs.columns):
        return _everywhere(runs)
    other = runs["n_steps"] != runs["n_workpoints"] * len(STANDARD_STEPS)
    return ~other.fillna(value=False).astype(bool)


def is_gap_judged(runs: "pd.DataFrame", limits: Iterable[int], custom: Iterable[int]) -> "pd.Series[bool]":
    """Whether the threshold of its size applies to each run: the default ones are for standard cycles only.

    Args:
        custom: the sizes with a configured threshold, which applies to all their runs.
    """
    return are_standard(runs) | sizes(runs, limits).isin(frozenset(custom)).astype(bool)


def are_one_cycle(runs: "pd.DataFrame") -> "pd.Series[bool]":
    """Whether each run is one standard cycle, for which the makespan threshold of the guide is meant."""
    if "n_workpoints" not in runs:
        return _everywhere(runs)
    return are_standard(runs) & (runs["n_workpoints"].fillna(1) == 1).astype(bool)


def is_one_cycle(n_workpoints: int | None, n_steps: int | None) -> bool:
    """`are_one_cycle` for one run; true if unknown."""
    return n_workpoints in (1, None) and n_steps in (len(STANDARD_STEPS), None)


def overruns_s(runs: "pd.DataFrame") -> "pd.Series[float]":
    """Compute time of each run beyond its time budget, seconds, >= 0."""
    if "time_budget_ms" not in runs:
        return runs["execution_time"]
    return (runs["execution_time"] - runs["time_budget_ms"].fillna(0.0) / 1_000.0).clip(lower=0.0)


def runs_about(
    name: str,
    subject: str,
    runs: "pd.DataFrame",
    limits: Iterable[int] = GAP_THRESHOLDS,
    *,
    custom: Iterable[int] = (),
) -> "pd.DataFrame":
    """The runs that an alert is about, the worst first; `value` is the value that its rule uses of each.

    Args:
        runs: oldest first; columns as the rule needs, of `success`, `makespan` (h), `execution_time` (s), `model_key`,
            `experiment`, `variant`, `gap`, `lower_bound` (h), `n_workpoints`, `n_steps` and `time_budget_ms`.
        limits: largest number of work points of each size.
        custom: as for `is_gap_judged`.
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
        mine = with_judged_gaps(good, limits, custom)
        return mine[[subject_of(size, limits) == subject for size in mine["size"]]]
    if name in ("min_success_rate", "model_rolled_back"):
        return bad.assign(value=0.0)
    if name == "model_failures":
        return bad[bad["model_key"] == subject].assign(value=0.0)
    if name in ("experiment_aborted", "experiment_arm_stopped"):
        experiment, _, arm = subject.partition("/")
        mine = newest[(newest["experiment"] == experiment) & ((newest["variant"] == arm) | (not arm))]
        return worst_first(mine, newest["gap"].where(is_done, math.inf))
    if name == "input_drift":
        return newest.assign(value=newest[subject])
    return newest.iloc[:0].assign(value=0.0)


def with_judged_gaps(good: "pd.DataFrame", limits: Iterable[int], custom: Iterable[int]) -> "pd.DataFrame":
    """The successful runs to which the gap threshold of their `size` applies, the worst first."""
    limits = tuple(limits)
    mine = good[good["gap"].notna() & good["n_workpoints"].notna() & is_gap_judged(good, limits, custom)]
    return worst_first(mine.assign(size=sizes(mine, limits)), mine["gap"])


def worst_first(runs: "pd.DataFrame", value: "pd.Series[float]") -> "pd.DataFrame":
    """The runs with the column `value`, the largest first."""
    # Without `reindex`, an empty frame would take over the whole index of `value`.
    return runs.assign(value=value.reindex(runs.index)).sort_values("value", ascending=False, kind="stable")


def _everywhere(runs: "pd.DataFrame") -> "pd.Series[bool]":
    import pandas as pd

    return pd.Series(True, index=runs.index)
