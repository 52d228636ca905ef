"""The comparison of the secondary metrics of an experiment, with a correction for multiple testing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from scheduler_service.stats.comparison import compare_arms
from scheduler_service.stats.holm import holm
from scheduler_service.stats.metrics import METRICS, metric_named
from scheduler_service.stats.outcome import NotComputable

if TYPE_CHECKING:
    import pandas as pd


def secondary(runs: pd.DataFrame, metric: str, candidate: str, alpha: float = 0.05) -> dict[str, dict[str, Any]]:
    """Metric -> improvement, p-value and Holm's adjusted p-value, for every recorded metric except `metric`.

    p-values are from Welch's test on user means and valid for a single look at the end. Comparing the adjusted ones
    with alpha keeps the family-wise error rate at or below alpha. A figure that cannot be computed is None, with a
    reason.
    """
    judged = metric_named(metric).name
    others = [name for name in METRICS if name != judged and (name in runs.columns or name == "success")]
    found = {name: compare_arms(runs, name, alpha=alpha, candidate=candidate) for name in others}
    p_values = {name: each.p_value for name, each in found.items() if not isinstance(each.p_value, NotComputable)}
    adjusted = holm(p_values)
    results: dict[str, dict[str, Any]] = {}
    for name, each in found.items():
        improvement, reason = each.improvement_percentage, each.p_value
        results[name] = {
            "direction": each.metric.direction,
            "improvement_percentage": None if isinstance(improvement, NotComputable) else improvement,
            "p_value": p_values.get(name),
            "p_value_holm": adjusted.get(name),
            "is_significant": name in adjusted and adjusted[name] < alpha,
            "reason": reason.to_dict() if isinstance(reason, NotComputable) else None,
        }
    return results
