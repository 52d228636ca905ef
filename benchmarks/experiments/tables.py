"""Shares of experiments with their intervals, as figures and as text."""

from collections.abc import Sequence
from typing import Any

from statsmodels.stats.proportion import proportion_confint

Figures = dict[str, Any]


def share_of(count: int, n: int) -> Figures:
    """A share with its 95 % Wilson interval."""
    low, high = proportion_confint(count, n, method="wilson")
    return {"count": count, "experiments": n, "share": count / n, "wilson_95": [float(low), float(high)]}


def told(found: Figures) -> str:
    """ "1.25 % (0.85 to 1.84)"."""
    low, high = found["wilson_95"]
    return f"{100 * found['share']:.2f} % ({100 * low:.2f} to {100 * high:.2f})"


def told_beside(found: Figures) -> str:
    """The same, and that of the method of before where there is one."""
    before = found.get("share_before")
    return told(found) if before is None else f"{told(found)}; {100 * before:.1f} %"


def quantiles(values: Sequence[float | None], unit: str = "") -> str:
    """Median and 90 % of the experiments, "never" where so many never came to an end."""
    return " / ".join(_quantile(values, share, unit) for share in (0.5, 0.9))


def _quantile(values: Sequence[float | None], share: float, unit: str) -> str:
    ordered = sorted(float("inf") if value is None else value for value in values)
    if not ordered:
        return "-"
    value = ordered[min(int(share * len(ordered)), len(ordered) - 1)]
    return "never" if value == float("inf") else f"{value:,.3g}{unit}" if value < 1_000 else f"{value:,.0f}{unit}"
