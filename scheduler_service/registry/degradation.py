"""Test whether the live model is worse than at its validation. Pure.

A run's *excess* is its gap to the lower bound minus the model's largest gap on the validation set for the same number
of work points, or for the next smaller number there. A failed run has gap 1, as a schedule of twice the necessary
length. A drop is found if the mean excess is significantly above `TOLERANCE`, by a test that may be repeated after
every run (`stats.sequential`). The runs are tested in windows of `WINDOW`, counted from the deployment. Window k has
the share 1 / ((k + 1) (k + 2)) of `ALPHA`, so that the probability of a false alarm in any window of a deployment is
`ALPHA`.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np

from scheduler_service.clock import parse_time
from scheduler_service.errors import ServiceError
from scheduler_service.registry.history import LiveModel
from scheduler_service.registry.index import Index
from scheduler_service.stats.sequential import lower_confidence_sequence
from scheduler_service.stats.summaries import Values

if TYPE_CHECKING:
    import pandas as pd

WINDOW = timedelta(days=1)
ALPHA = 0.05
TOLERANCE = 0.05
"""Acceptable mean excess, in units of the gap (0.05: five percent of the lower bound)."""
MIN_RUNS = 50
"""The asymptotic bound needs at least this many runs."""
FAILED_GAP = 1.0


@dataclass(frozen=True, slots=True)
class Drop:
    """The evidence that a live model is worse than at its validation; gaps are shares of the lower bound."""

    model_key: str
    runs: int
    failed_runs: int
    mean_gap: float  # a failed run counts as `FAILED_GAP`
    mean_excess: float
    lower_bound: float  # of the mean excess, above `TOLERANCE`
    alpha: float  # of this window
    window_start: str

    @property
    def reason(self) -> ServiceError:
        """Why the model is rolled back."""
        return ServiceError("performance_drop", tolerance=TOLERANCE, **self.to_dict())

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def window_at(now: datetime, deployed_at: datetime) -> tuple[datetime, float]:
    """(start, alpha) of the window that contains `now`."""
    number = max(0, int((now - deployed_at) / WINDOW))
    return deployed_at + number * WINDOW, ALPHA / ((number + 1) * (number + 2))


def drop_of_live_model(index: Index, live: LiveModel | None, runs: "pd.DataFrame", now: datetime) -> Drop | None:
    """The drop of the live model; None without a drop or without a live model.

    Args:
        runs: of any models; columns model_key, timestamp (aware), success, gap, n_workpoints, reason, input_params.
            Pinned runs are ignored; of runs on the same input only the last counts.
    """
    record = index.records.get(live.model_key) if live else None
    level = (record.validation or record.verified_metrics) if record else {}
    if live is None or "worst_gap" not in level:
        return None
    # If a model cannot be loaded, the run is recorded under the requested name.
    names = [name for name in runs["model_key"].dropna().unique() if index.find(name) == live.model_key]
    mine = runs[runs["model_key"].isin(names) & (runs["reason"] != "pinned")]
    # Each input counts once: a client that repeats a request must not decide the test.
    mine = mine.drop_duplicates("input_params", keep="last")
    return find_drop(live.model_key, mine, level, parse_time(live.since), now)


def find_drop(
    model_key: str, runs: "pd.DataFrame", validation: Mapping[str, Any], deployed_at: datetime, now: datetime
) -> Drop | None:
    """The drop in the runs of the current window; None without a drop.

    Args:
        runs: columns timestamp (aware), success, gap, n_workpoints; any order, all of this model.
        validation: the model's figures, from `validation.measure`.
    """
    start, alpha = window_at(now, deployed_at)
    recent = runs[(runs["timestamp"] >= start) & (runs["timestamp"] <= now)].sort_values("timestamp")
    succeeded = recent["success"].to_numpy(dtype=bool)
    gap = np.where(succeeded, recent["gap"].to_numpy(dtype=float, na_value=np.nan), FAILED_GAP)
    known = np.isfinite(gap)
    gap = np.clip(gap[known], 0.0, FAILED_GAP)
    excess = gap - _levels(recent["n_workpoints"].to_numpy(dtype=float, na_value=1.0)[known], validation["worst_gap"])
    if gap.size < MIN_RUNS:
        return None
    bounds = lower_confidence_sequence(excess, alpha)[MIN_RUNS - 1 :]
    if not bounds.max() > TOLERANCE:
        return None
    return Drop(
        model_key=model_key,
        runs=int(gap.size),
        failed_runs=int((~succeeded).sum()),
        mean_gap=float(gap.mean()),
        mean_excess=float(excess.mean()),
        lower_bound=float(bounds.max()),
        alpha=alpha,
        window_start=start.isoformat(),
    )


def _levels(n_workpoints: Values, worst_gap: Mapping[str, float]) -> Values:
    """The largest gap at validation for each number of work points."""
    sizes = sorted(int(size) for size in worst_gap)
    levels = np.array([worst_gap[str(size)] for size in sizes])
    place = np.searchsorted(sizes, n_workpoints, side="right") - 1
    return levels[np.clip(place, 0, len(sizes) - 1)]
