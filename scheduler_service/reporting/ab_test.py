"""The A/B report: what the recorded runs say of two models, in one sentence and in charts."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from scheduler_service.reporting import figures
from scheduler_service.reporting.page import Formatter, local_zone, render
from scheduler_service.reporting.performance import Card
from scheduler_service.reporting.texts import TEXTS, Lang
from scheduler_service.stats.comparison import ArmComparison, compare_arms
from scheduler_service.stats.metrics import Metric
from scheduler_service.stats.outcome import NotComputable
from scheduler_service.stats.summaries import Summary

if TYPE_CHECKING:
    import pandas as pd

POINTS = 120
"""Moments at which the cumulative chart is computed."""

SHARES = ("gap", "resource_utilization", "success")
"""Metrics that are shown as percent."""

Words = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class ExperimentView:
    """What the report says of the experiment's definition; None where it is not known."""

    name: str
    models: Mapping[str, str]  # arm -> model, as configured
    split: Mapping[str, float] | None
    metric: str
    status: str | None
    min_samples: int = 100
    alpha: float = 0.05


@dataclass(frozen=True, slots=True)
class MetricRow:
    """A line of the table of metrics."""

    label: str
    arm: str
    figures: Summary
    text: Callable[[float | None], str]  # how its figures are written


def ab_test_page(runs: "pd.DataFrame", experiment: ExperimentView, start: datetime, end: datetime, lang: Lang) -> str:
    """The report on the runs of `experiment` from `start` to `end`, as an HTML page; `runs` may be empty."""
    words = TEXTS[lang]
    zone = local_zone(end)
    show = Formatter(lang, zone)
    runs = runs.assign(timestamp=runs["timestamp"].dt.tz_convert(zone))
    result = compare_arms(
        runs, experiment.metric, min_samples=experiment.min_samples, alpha=experiment.alpha, split=experiment.split
    )
    labels = {arm: _arm_label(arm, experiment.models.get(arm), words) for arm in result.arms}
    of_arm = {labels[arm]: _valid_runs(runs, arm, result.metric) for arm in result.arms}
    axis = words[f"metric_{result.metric.name}"]
    is_share = result.metric.name in SHARES
    level = 100.0 * (1.0 - experiment.alpha)
    charts = {
        "by_request": figures.boxes(
            {label: frame["value"] for label, frame in of_arm.items()}, axis, words, is_share=is_share
        ),
        "by_user": figures.boxes(
            {label: frame.groupby("unit")["value"].mean() for label, frame in of_arm.items()},
            axis,
            words,
            is_share=is_share,
        ),
        "cumulative": figures.cumulative(
            {label: cumulative_means(frame, experiment.alpha) for label, frame in of_arm.items()},
            axis,
            words,
            (start.astimezone(zone), end.astimezone(zone)),
            is_share=is_share,
        ),
    }
    return render(
        "ab_test.html",
        lang,
        title=words["ab_title"],
        start=start,
        end=end,
        zone=show.zone_name(end),
        show=show,
        experiment=experiment,
        metric_label=axis,
        result=result,
        verdict=_verdict(result, words, show),
        mismatch=_mismatch(result, words),
        cards=_cards(result, words, show),
        rows=_metric_rows(result, labels, words, show),
        charts={name: figures.data_uri(drawn) for name, drawn in charts.items()},
        cumulative_title=words["cumulative"].format(level),
    )


def cumulative_means(runs: "pd.DataFrame", alpha: float) -> "pd.DataFrame":
    """The mean of the user means so far, and its interval at 1 - `alpha`, at up to 120 moments.

    Columns `mean`, `low`, `high` (NaN for fewer than 2 users); index: times. The same estimate as in the comparison,
    Student's interval of independent users, as it stood at each moment.

    Args:
        runs: columns `timestamp`, `unit` and `value`, by time, no value missing.
    """
    import numpy as np
    import pandas as pd
    from scipy import stats

    if runs.empty:
        return pd.DataFrame({"mean": [], "low": [], "high": []}, index=pd.DatetimeIndex([], tz="UTC"))
    # When a user's mean moves from m to m', the sum of means moves by m' - m and that of squares by m'^2 - m^2.
    by_user = runs.groupby("unit")["value"]
    means = by_user.cumsum() / (by_user.cumcount() + 1)
    before = means.groupby(runs["unit"]).shift()
    users = before.isna().cumsum().to_numpy(dtype=float)
    centre = float(runs["value"].mean())  # squares of small numbers lose no digits
    now, old = (means - centre).to_numpy(), (before - centre).fillna(0.0).to_numpy()
    total, squares = np.cumsum(now - old), np.cumsum(now**2 - old**2)
    mean = total / users
    with np.errstate(divide="ignore", invalid="ignore"):
        variance = np.maximum(squares - users * mean**2, 0.0) / (users - 1.0)
        margin = stats.t.isf(alpha / 2.0, users - 1.0) * np.sqrt(variance / users)
    margin[users < 2.0] = np.nan
    frame = pd.DataFrame(
        {"mean": centre + mean, "low": centre + mean - margin, "high": centre + mean + margin},
        index=pd.DatetimeIndex(runs["timestamp"]),
    )
    chosen = np.unique(np.linspace(0, len(frame) - 1, POINTS).round().astype(int))
    return frame.iloc[chosen]


def _valid_runs(runs: "pd.DataFrame", arm: str, metric: Metric) -> "pd.DataFrame":
    """The values of `metric` in one arm that the comparison counts, by time: `timestamp`, `unit`, `value`."""
    import pandas as pd

    of_arm = runs[(runs["variant"] == arm).fillna(value=False).astype(bool)]
    answered = of_arm["success"] & (of_arm["reason"] != "fallback")
    value = (answered if metric.name == "success" else of_arm[metric.name]).astype(float)
    if metric.of_successes:
        value = value.where(answered)
    # A request without a user is a user of its own.
    unit = of_arm["user_id"].fillna("#" + of_arm.index.to_series().astype(str))
    return pd.DataFrame({"timestamp": of_arm["timestamp"], "unit": unit, "value": value}).dropna()


def _arm_label(arm: str, model: str | None, words: Words) -> str:
    letter = arm.removeprefix("model_").upper()
    return f"{letter} · {model}" if model else words["arm_named"].format(letter)


def _verdict(result: ArmComparison, words: Words, show: Formatter) -> str:
    improvement = result.improvement_percentage
    if not any(result.total_requests.values()):
        return words["ab_no_data"]
    if isinstance(improvement, NotComputable):
        return words["ab_not_comparable"].format(_reason(improvement, result, words))
    if result.not_significant is not None:
        return words["ab_not_significant"].format(
            show.signed_percent(improvement), _reason(result.not_significant, result, words)
        )
    text = words["ab_better"] if improvement > 0.0 else words["ab_worse"]
    p_value = result.p_value if isinstance(result.p_value, float) else 1.0
    users = [show.count(result.user_means[arm].count) for arm in result.arms]
    return text.format(f"{abs(improvement):.2f}%", _interval(result, words, show), show.p_value(p_value), *users)


def _interval(result: ArmComparison, words: Words, show: Formatter) -> str:
    interval = result.confidence_interval
    if isinstance(interval, NotComputable):
        return words["none"]
    bounds = (show.signed_percent(bound) for bound in interval)
    return words["ab_interval"].format(100.0 * (1.0 - result.alpha), *bounds)


def _reason(why: NotComputable, result: ArmComparison, words: Words) -> str:
    limit = result.min_samples if why.reason == "too_few_samples" else f"{result.alpha:g}"
    return words[f"reason_{why.reason}"].format(limit)


def _mismatch(result: ArmComparison, words: Words) -> str | None:
    if not result.has_ratio_mismatch or result.split is None or isinstance(result.srm_p, NotComputable):
        return None
    users = [result.users[arm] for arm in result.arms]
    shares = [f"{100.0 * result.split[arm]:g}%" for arm in result.arms]
    return words["ab_mismatch"].format(*users, *shares, f"{result.srm_p:.2g}")


def _cards(result: ArmComparison, words: Words, show: Formatter) -> list[Card]:
    requests = [show.count(result.total_requests[arm]) for arm in result.arms]
    users = [show.count(result.users[arm]) for arm in result.arms]
    improvement, p_value, srm_p = result.improvement_percentage, result.p_value, result.srm_p
    if isinstance(improvement, NotComputable):
        shown, note, tone = words["none"], _reason(improvement, result, words), "plain"
    else:
        shown, note = show.signed_percent(improvement), _interval(result, words, show)
        tone = "plain" if result.not_significant else "good" if improvement > 0.0 else "bad"
    cards = [
        Card(f"{words['requests']}  A / B", " / ".join(requests), f"{words['users']} {' / '.join(users)}", "plain"),
        Card(words["improvement"], shown, note, tone),
    ]
    if isinstance(p_value, NotComputable):
        cards.append(Card(words["p_value"], words["none"], _reason(p_value, result, words), "plain"))
    else:
        verdict = words["significant"] if result.is_significant else words["not_significant"]
        cards.append(Card(words["p_value"], show.p_value(p_value)[2:].removeprefix("= "), verdict, tone))
    if isinstance(srm_p, NotComputable):
        cards.append(Card(words["srm"], words["none"], _reason(srm_p, result, words), "plain"))
    else:
        state, tone = ("srm_bad", "bad") if result.has_ratio_mismatch else ("srm_ok", "good")
        cards.append(Card(words["srm"], words[state], f"p = {srm_p:.2g}", tone))
    return cards


def _metric_rows(result: ArmComparison, labels: Mapping[str, str], words: Words, show: Formatter) -> list[MetricRow]:
    names = {name: words[f"metric_{name}"] for name in result.average_metrics[result.arms[0]]}
    names["execution_time"] = words["compute_time"]  # its figures bring their unit
    texts = {"execution_time": show.seconds} | dict.fromkeys(SHARES, show.percent)
    return [
        MetricRow(names[name], labels[arm], result.average_metrics[arm][name], texts.get(name, show.plain))
        for name in result.average_metrics[result.arms[0]]
        for arm in result.arms
    ]
