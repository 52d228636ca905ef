"""How an experiment developed: the effect and its bounds over time, the candidate's share, and its pairs."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from scheduler_service.clock import parse_time, to_iso
from scheduler_service.experiments.examination import alpha_of_pairs, judge_replayed, pairs_by_source
from scheduler_service.experiments.experiment import Experiment
from scheduler_service.stats.arms import BASELINE, rows_of_arm, since_recorded, user_values
from scheduler_service.stats.effect import Effect, effect_of_arms
from scheduler_service.stats.metrics import METRICS, Metric, metric_named, paired_metric
from scheduler_service.stats.outcome import NotComputable
from scheduler_service.stats.pairs import judge_pairs

if TYPE_CHECKING:
    import pandas as pd

    from scheduler_service.stats.pair_sums import Replayed

MOMENTS = 40
"""Number of times at which the effect is computed, each on the runs until then."""
REPLAYED_PAIRS = 4_000_000
"""The times of a replay are fewer, at least 2, if times x pairs were more: the database adds up the pairs for each."""

TIE = 1e-9
"""Makespans count as equal if they differ by a smaller share of the baseline's; smaller differences are rounding."""


def effects_over_time(
    runs: "pd.DataFrame",
    metric: Metric,
    candidates: Sequence[str],
    alpha: float,
    split: Mapping[str, float] | None = None,
    ends: Mapping[str, datetime] = MappingProxyType({}),
) -> "dict[str, pd.DataFrame]":
    """The improvement and its anytime-valid bounds at up to 40 moments, for each candidate.

    They are computed by the functions of the verdict on the runs until then; the last moment has the verdict's figures.

    Args:
        runs: as `experiments.examination.examine` takes them.
        alpha: of each candidate's bounds.
        split: shares of the arms, for runs that do not record them.
        ends: candidate -> when it was stopped; there are no bounds from then on.

    Returns:
        candidate -> columns `improvement`, `low`, `high` (shares of the baseline), NaN where no bounds can be
        computed yet; index: times, evenly spaced by the number of requests.
    """
    import pandas as pd

    columns = {"variant", "reason", "user_id", "success", "timestamp", "split", metric.name, metric.covariate}
    runs = since_recorded(runs, metric)[[name for name in runs.columns if name in columns]]
    runs = runs.sort_values("timestamp", kind="stable")
    times = pd.concat([rows_of_arm(runs, arm)["timestamp"] for arm in (BASELINE, *candidates)])
    moments = _moments(times.sort_values(ignore_index=True))

    def effect(until: "pd.DataFrame", arm: str) -> Effect | NotComputable:
        return effect_of_arms(user_values(until, metric, (BASELINE, arm), split), metric, alpha)

    return {
        arm: _over_time(runs, moments, lambda until, arm=arm: effect(until, arm), ends.get(arm))  # type: ignore[misc]
        for arm in candidates
    }


def pair_effects_over_time(
    pairs: "pd.DataFrame", margin: float, alpha: float, candidate: str, metric: str
) -> "pd.DataFrame":
    """As `effects_over_time`, for the pairs of one candidate and one source."""
    pairs = pairs.sort_values("timestamp", kind="stable")
    options: dict[str, Any] = {"margin": margin, "alpha": alpha, "candidate": candidate, "metric": metric}
    return _over_time(pairs, _moments(pairs["timestamp"]), lambda until: judge_pairs(until, **options).effect)


def _over_time(
    rows: "pd.DataFrame",
    moments: "pd.DatetimeIndex",
    effect_of: "Callable[[pd.DataFrame], Effect | NotComputable]",
    end: datetime | None = None,
) -> "pd.DataFrame":
    """The effect in the rows until each of the `moments`, NaN after `end`; as `effects_over_time`."""
    import pandas as pd

    found = []
    for moment in moments:
        until = rows.iloc[: int(rows["timestamp"].searchsorted(moment, side="right"))]
        effect = effect_of(until) if end is None or moment <= end else None
        known = isinstance(effect, Effect)
        found.append((effect.improvement, effect.low, effect.high) if known else (math.nan,) * 3)  # type: ignore[union-attr]
    return pd.DataFrame(found, index=moments, columns=["improvement", "low", "high"], dtype="float64")


def course(
    experiment: Experiment, runs: "pd.DataFrame", pairs: "pd.DataFrame", replayed: "Replayed | None" = None
) -> dict[str, Any]:
    """The development of the effects as JSON: of the users by candidate, of model_b's pairs by source.

    The last point has the figures of the verdict; figures are null where no bounds could be computed yet. Arguments as
    for `examine`. A large replay has fewer points, see `REPLAYED_PAIRS`.
    """
    alpha = experiment.alpha / len(experiment.candidates)
    first = experiment.candidates[0]
    metric, split, ends = metric_named(experiment.success_metric), experiment.traffic_split, experiment.stopped_arms
    of_users = effects_over_time(runs, metric, experiment.candidates, alpha, split, ends)
    of_pairs = {
        source: pair_effects_over_time(
            mine, experiment.margin, alpha_of_pairs(experiment, mine), first, paired_metric(experiment.success_metric)
        )
        for source, mine in pairs_by_source(pairs, first).items()
        if len(mine)
    }
    if replayed is not None:
        of_pairs["replay"] = _replayed_over_time(experiment, first, replayed)
    return {
        "experiment_name": experiment.name,
        "metric": experiment.success_metric,
        "users": {arm: _points(frame) for arm, frame in of_users.items()},
        "pairs": {source: _points(frame) for source, frame in of_pairs.items()},
    }


def _replayed_over_time(experiment: Experiment, candidate: str, replayed: "Replayed") -> "pd.DataFrame":
    """As `effects_over_time`, for the pairs of a replay."""
    import pandas as pd

    n = replayed.sums(METRICS[paired_metric(experiment.success_metric)]).pairs
    moments = replayed.moments(min(max(REPLAYED_PAIRS // max(n, 1), 2), MOMENTS))
    found = [judge_replayed(experiment, candidate, replayed, moment).effect for moment in moments]
    columns = ("improvement", "low", "high")
    figures = {name: [getattr(each, name, math.nan) for each in found] for name in columns}
    return pd.DataFrame(figures, index=pd.DatetimeIndex(moments), dtype="float64")


def _points(frame: "pd.DataFrame") -> list[dict[str, Any]]:
    figures = (100.0 * frame[["improvement", "low", "high"]]).to_numpy().tolist()
    return [
        {
            "time": to_iso(moment.to_pydatetime()),
            "improvement_percentage": None if low != low else improvement,  # NaN is not equal to itself
            "confidence_sequence": None if low != low else [low, high],
        }
        for moment, (improvement, low, high) in zip(frame.index, figures, strict=True)
    ]


def _moments(times: "pd.Series[pd.Timestamp]") -> "pd.DatetimeIndex":
    """Up to 40 of the sorted `times`, evenly spaced by place, the first and the last among them."""
    import numpy as np
    import pandas as pd

    places = np.unique(np.linspace(0, len(times) - 1, MOMENTS).round().astype(int))[: len(times)]
    return pd.DatetimeIndex(times.iloc[places].drop_duplicates())


@dataclass(frozen=True, slots=True)
class Step:
    """An event of the history, and the share of all users on the candidate from then on."""

    time: datetime
    share: float
    event: str
    stage: float | None  # of the rollout after the event, a share
    line: Mapping[str, Any]  # of the history


def ramp(experiment: Experiment, history: Iterable[Mapping[str, Any]]) -> list[Step]:
    """The share of all users on model_b after each event, oldest first.

    It is 0 while the experiment does not run, and 1 after the promotion. Lines that cannot be read are skipped: the
    file may have been edited.
    """
    whole = experiment.coverage * (experiment.traffic_split or {}).get("model_b", 0.0)
    steps: list[Step] = []
    is_promoted = False
    for line in history:
        try:
            time, event, after = parse_time(line["time"]), str(line["event"]), line["after"]
            stage = None if after.get("stage") is None else float(after["stage"])
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError):
            continue
        if event == "archived":  # does not change the share
            continue
        is_promoted = event == "promoted" or (is_promoted and event != "reverted")
        running = 0.0 if "model_b" in after.get("stopped_arms", ()) else whole if stage is None else stage
        share = 1.0 if is_promoted else running if after.get("status") == "active" else 0.0
        steps.append(Step(time, share, event, stage, line))
    return sorted(steps, key=lambda step: step.time)


def ended_by_itself(experiment: Experiment, steps: Sequence[Step], now: datetime) -> datetime | None:
    """When the experiment reached its planned end while active; None if it has not by `now`."""
    is_over = experiment.status_at(now) == "completed"
    return experiment.end_time if is_over and (not steps or steps[-1].share > 0.0) else None


def pair_differences(pairs: "pd.DataFrame", metric: str) -> "pd.DataFrame":
    """`pairs` of one candidate in which both models succeeded, with `improvement`: 1 - b / a, positive is better.

    Args:
        metric: one of `metrics.PAIRED`.
    """
    both = pairs["success_a"].astype(bool) & pairs["success_b"].astype(bool)
    a, b = pairs[f"{metric}_a"].astype("float64"), pairs[f"{metric}_b"].astype("float64")
    usable = both & (a > 0.0) & b.notna()
    improvement = (1.0 - b / a)[usable]
    return pairs[usable].assign(improvement=improvement.where(improvement.abs() > TIE, 0.0))
