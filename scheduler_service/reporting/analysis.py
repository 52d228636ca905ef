"""Figures of recorded runs, computed from frames; a missing figure is None, or NaN in a frame."""

import json
import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from scheduler_service.alerts.about import FOR_EVER
from scheduler_service.clock import to_iso

if TYPE_CHECKING:
    import pandas as pd

SUMMARY_COLUMNS = (
    "model_key",
    "makespan",
    "policy_makespan",
    "execution_time",
    "gap",
    "resource_utilization",
    "success",
    "user_satisfaction",
    "n_workpoints",
)
REPORT_COLUMNS = (
    *SUMMARY_COLUMNS,
    "timestamp",
    "request_id",
    "reason",
    "team_utilization",
    "n_steps",
    "error_message",
    "time_budget_ms",
)
"""The columns that the performance report needs; loading the inputs of all requests would exhaust the memory."""
MIN_RUNS = 30
"""Successful runs that a figure needs before advice is based on it."""
UNKNOWN_MODEL = "-"
"""The model key of runs that failed before a model was chosen."""


def number(value: object) -> float | None:
    """`value` as a finite float, or None."""
    try:
        converted = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return None
    return converted if math.isfinite(converted) else None


def distribution(values: "pd.Series[Any]") -> dict[str, float | int | None]:
    """Count, mean, spread and percentiles of the known values."""
    present = values.dropna()
    quantiles = present.quantile([0.5, 0.95, 0.99])
    return {
        "count": len(present),
        "mean": number(present.mean()),
        "std": number(present.std()),
        "min": number(present.min()),
        "max": number(present.max()),
        "p50": number(quantiles[0.5]),
        "p95": number(quantiles[0.95]),
        "p99": number(quantiles[0.99]),
    }


def summarise_runs(runs: "pd.DataFrame", start: datetime | None, end: datetime | None) -> dict[str, object]:
    """The figures of `runs` as JSON, of all runs and by model.

    Makespans, gap, time and utilisation cover successful runs only: a failure after 1 ms is not a quick answer.
    """
    return {
        "start_time": to_iso(start) if start else None,
        "end_time": to_iso(end) if end else None,
        **_figures(runs),
        "by_model": {
            str(model): _figures(group)
            for model, group in runs.groupby(runs["model_key"].fillna(UNKNOWN_MODEL), sort=True)
        },
    }


def _figures(runs: "pd.DataFrame") -> dict[str, object]:
    good = runs[runs["success"]]
    verdicts = runs["user_satisfaction"]
    return {
        "total_requests": len(runs),
        "failed_requests": len(runs) - len(good),
        "success_rate": number(runs["success"].mean()),
        "makespan": distribution(good["makespan"]),
        "policy_makespan": distribution(good["policy_makespan"]),
        "execution_time": distribution(good["execution_time"]),
        "gap": distribution(good["gap"]),
        "resource_utilization": number(good["resource_utilization"].mean()),
        "user_satisfaction": {"mean": number(verdicts.mean()), "count": int(verdicts.count())},
    }


Headline = Mapping[str, float | None]
"""The figures of some runs at a glance, by the key of their label: shares, hours, seconds, and ratings from 1 to 5."""


def headline(runs: "pd.DataFrame") -> Headline:
    good = runs[runs["success"]]
    figures = {
        "requests": len(runs),
        "success_rate": runs["success"].mean(),
        "makespan": good["makespan"].mean(),
        "policy_makespan": good["policy_makespan"].mean(),
        "gap": good["gap"].mean(),
        "p50": good["execution_time"].quantile(0.5),
        "p99": good["execution_time"].quantile(0.99),
        "utilization": good["resource_utilization"].mean(),
        "satisfaction": runs["user_satisfaction"].mean(),
    }
    return {name: number(value) for name, value in figures.items()}


def by_model(runs: "pd.DataFrame") -> list[tuple[str, Headline]]:
    """The figures of each model, the busiest first."""
    models = runs["model_key"].fillna(UNKNOWN_MODEL)
    rows = [(str(model), headline(group)) for model, group in runs.groupby(models)]
    return sorted(rows, key=lambda row: (-(row[1]["requests"] or 0.0), row[0]))


def failure_reasons(runs: "pd.DataFrame") -> list[tuple[str, int]]:
    """Error messages of failed runs with their counts, the most frequent first.

    Messages that differ only in numbers and quoted names count as one reason.
    """
    messages = runs.loc[~runs["success"], "error_message"].fillna("?")
    similar = messages.str.replace(r"\d+(\.\d+)?", "#", regex=True).str.replace(r"'[^']*'", "'…'", regex=True)
    counts = similar.value_counts()
    example = dict(zip(reversed(list(similar)), reversed(list(messages)), strict=True))
    return [
        (example[reason] if count == 1 else str(reason), int(count))
        for reason, count in zip(counts.index, counts.to_numpy(), strict=True)
    ]


def team_utilization(runs: "pd.DataFrame") -> dict[str, float]:
    """Team -> mean utilisation, 0..1, of the successful runs that used it; the busiest first."""
    totals: dict[str, float] = defaultdict(float)
    counts: dict[str, int] = defaultdict(int)
    for text in runs.loc[runs["success"], "team_utilization"].dropna():
        for team, share in json.loads(text).items():
            value = number(share)
            if value is not None:
                totals[team] += value
                counts[team] += 1
    means = {team: totals[team] / counts[team] for team in totals}
    return dict(sorted(means.items(), key=lambda item: -item[1]))


def over_time(runs: "pd.DataFrame", start: datetime, end: datetime) -> "pd.DataFrame":
    """Figures of the successful runs by moment: one row per bucket with data, 12 to 60 buckets in the period.

    Columns: `requests` and `failures` of all runs; `makespan` (mean), `low` and `high` (of its 95 % confidence
    interval, NaN for fewer than 2 runs), `gap` (mean), `p50`, `p95`, `p99` (of the execution time).
    Index: the buckets' starts, in the time zone of `runs`.
    """
    import pandas as pd

    times = bucket_starts(runs["timestamp"], bucket_length(start, end))
    good = runs["success"]
    columns = {
        "requests": runs.groupby(times).size(),
        "failures": (~good).groupby(times).sum(),
    }
    grouped = runs[good].groupby(times[good])
    makespan = grouped["makespan"]
    margin = 1.96 * makespan.std() / makespan.count() ** 0.5
    columns |= {
        "makespan": makespan.mean(),
        "low": makespan.mean() - margin,
        "high": makespan.mean() + margin,
        "gap": grouped["gap"].mean(),
    }
    columns |= {f"p{rank}": grouped["execution_time"].quantile(rank / 100) for rank in (50, 95, 99)}
    return pd.DataFrame(columns)


def bucket_starts(times: "pd.Series[Any]", length: str) -> "pd.Series[Any]":
    """The start of each moment's bucket, in its time zone.

    When clocks are set back, the repeated hour is one bucket.
    """
    import numpy as np

    first_of_two = np.ones(len(times), dtype=bool)
    starts: pd.Series[Any] = times.dt.floor(length, ambiguous=first_of_two, nonexistent="shift_forward")
    return starts


def bucket_length(start: datetime, end: datetime) -> str:
    """The length of a bucket, as pandas writes it, that cuts the period into 12 to 60 of them (more beyond a year)."""
    hours = (end - start).total_seconds() / 3600.0
    for limit_h, bucket in ((0.2, "15s"), (1.0, "1min"), (5.0, "5min"), (15.0, "15min"), (48.0, "1h"), (360.0, "6h")):
        if hours <= limit_h:
            return bucket
    return "1D" if hours <= 60 * 24 else "7D"


def top(runs: "pd.DataFrame", column: str, count: int = 10) -> list[dict[str, Any]]:
    """The successful runs with the greatest values of `column`, as mappings."""
    good = runs[runs["success"] & runs[column].notna()]
    return [{str(key): value for key, value in row.items()} for row in good.nlargest(count, column).to_dict("records")]


def gap_change(before: "pd.DataFrame", runs: "pd.DataFrame") -> tuple[float, float] | None:
    """The mean gaps before and now, of runs with the same numbers of work points; None: too few runs.

    Both are weighted by the present numbers of runs of each size, so that another mix of sizes is no change.
    """
    was, now = (
        each[each["success"] & each["gap"].notna()].groupby("n_workpoints")["gap"].agg(["mean", "count"])
        for each in (before, runs)
    )
    both = was.add_suffix("_was").join(now.add_suffix("_now"), how="inner")
    if both.empty or min(both["count_was"].sum(), both["count_now"].sum()) < MIN_RUNS:
        return None
    weights = both["count_now"] / both["count_now"].sum()
    return float((both["mean_was"] * weights).sum()), float((both["mean_now"] * weights).sum())


def size_labels(limits: Iterable[int]) -> dict[int, str]:
    """Size -> the numbers of work points it stands for, 5 -> "3–5"; the last one is for all larger ones."""
    labels, least = {}, 1
    for largest in sorted(limits):
        labels[largest] = str(largest) if largest == least else f"{least}–{largest}"
        least = largest + 1
    return labels | {FOR_EVER: f">{least - 1}"}
