"""The performance report in words: headline figures against the period before, and what follows from them."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from scheduler_service.alerts.about import are_one_cycle
from scheduler_service.alerts.rules import GAP_RUNS
from scheduler_service.reporting import analysis
from scheduler_service.reporting.analysis import Headline
from scheduler_service.reporting.anomalies import WORTH_SAYING_GAP
from scheduler_service.reporting.content import Card
from scheduler_service.reporting.facts import Facts
from scheduler_service.reporting.formatting import Formatter

if TYPE_CHECKING:
    import pandas as pd


def cards(now: Headline, then: Headline, show: Formatter) -> list[Card]:
    """The headline figures of the period, each against that of the period before.

    What depends on the sizes of what was asked for is neither good nor bad by itself; the findings compare like with
    like.
    """

    def card(
        name: str,
        value: float | None,
        previous: float | None,
        text: Callable[[float | None], str],
        *,
        better: int,
        in_points: bool = False,
    ) -> Card:
        if value is None or previous is None or (previous == 0.0 and not in_points):
            return Card(show.text(name), text(value), show.text("no_before"), "plain")
        difference = 100.0 * (value - previous) if in_points else 100.0 * (value / previous - 1.0)
        if abs(difference) < 0.05:
            return Card(show.text(name), text(value), f"{show.text('vs_before')} {show.text('unchanged')}", "plain")
        unit = f" {show.text('points')}" if in_points else "%"
        shown = f"{'▲' if difference > 0 else '▼'} {abs(difference):.1f}{unit}"
        tone = "plain"
        if better and abs(difference) >= (0.5 if in_points else 2.0):  # less comes and goes by chance
            tone = "good" if difference * better > 0 else "bad"
        return Card(show.text(name), text(value), f"{show.text('vs_before')} {shown}", tone)

    return [
        card("requests", now.requests, then.requests, show.count, better=0),
        card("success_rate", now.success_rate, then.success_rate, show.percent, better=1, in_points=True),
        card("makespan", now.makespan_h, then.makespan_h, show.hours, better=0),
        card("gap", now.gap, then.gap, show.percent, better=0, in_points=True),
        card("p50", now.p50_s, then.p50_s, show.seconds, better=0),
        card("p99", now.p99_s, then.p99_s, show.seconds, better=0),
        card("utilization", now.utilization, then.utilization, show.percent, better=0, in_points=True),
        card("satisfaction", now.satisfaction, then.satisfaction, show.plain, better=1),
    ]


def findings(facts: Facts, show: Formatter) -> list[str]:
    """What follows from the figures, the most urgent first; at least one sentence."""
    runs, now, thresholds, teams = facts.runs, facts.now, facts.thresholds, facts.teams
    if runs.empty:
        return [show.text("find_no_runs"), *_alert_finding(facts, show)]
    found = []
    good = runs[runs["success"]]
    if now.success_rate is not None and now.success_rate < thresholds["min_success_rate"]:
        reason, times = facts.reasons[0]
        limit = show.percent(thresholds["min_success_rate"])
        found.append(show.text("find_success", show.percent(now.success_rate), limit, show.name(reason, 80), times))
    makespan_h, late_s = facts.measured["max_makespan"], facts.measured["max_execution_time"]
    if makespan_h is not None and makespan_h > thresholds["max_makespan"]:
        cycles = good[are_one_cycle(good)]
        share = float((cycles["makespan"] > thresholds["max_makespan"]).mean())
        limit = show.hours(thresholds["max_makespan"])
        found.append(show.text("find_makespan", show.hours(makespan_h), limit, show.percent(share)))
    if late_s is not None and late_s > thresholds["max_execution_time"]:
        found.append(show.text("find_time", show.seconds(late_s), show.seconds(thresholds["max_execution_time"])))
    found += _gap_finding(facts, show)
    fallbacks = float((runs["reason"] == "fallback").mean())
    if fallbacks > 0.0:
        found.append(show.text("find_fallback", show.percent(fallbacks)))
    if now.satisfaction is not None and now.satisfaction < 3.0:
        verdicts = int(runs["user_satisfaction"].count())
        found.append(show.text("find_satisfaction", show.plain(now.satisfaction), verdicts))
    if facts.gap_change is not None:
        was, became = facts.gap_change
        if became > was + WORTH_SAYING_GAP:
            found.append(show.text("find_worse", show.percent(was), show.percent(became)))
        if became < was - WORTH_SAYING_GAP:
            found.append(show.text("find_better", show.percent(was), show.percent(became)))
    found += _model_finding(good, show)
    if len(teams) > 1 and len(good) >= analysis.ENOUGH_RUNS:
        (busiest, most), (_, second) = list(teams.items())[:2]
        if most > 1.15 * second:
            found.append(show.text("find_team", show.name(busiest, 20), show.percent(most), show.percent(second)))
    if not found and all(alert.ended is not None for alert in facts.alerts):
        found.append(show.text("find_fine"))
    return [*_alert_finding(facts, show), *found, *_anomaly_finding(facts, show)]


def _gap_finding(facts: Facts, show: Formatter) -> list[str]:
    """The sizes whose mean gap is beyond its threshold."""
    labels = analysis.size_labels(facts.gap_thresholds)
    beyond = [
        show.text("size_beyond", labels[size], show.fine_percent(mean), show.fine_percent(limit))
        for size, (mean, count) in facts.gaps.items()
        if count >= GAP_RUNS and (limit := facts.gap_thresholds.get(size)) is not None and mean > limit
    ]
    return [show.text("find_gap", show.text("list_separator").join(beyond))] if beyond else []


def _alert_finding(facts: Facts, show: Formatter) -> list[str]:
    if not facts.alerts:
        return []
    critical = sum(alert.is_critical for alert in facts.alerts)
    unended = sum(alert.ended is None for alert in facts.alerts)
    return [show.text("find_alerts", len(facts.alerts), critical, unended)]


def _anomaly_finding(facts: Facts, show: Formatter) -> list[str]:
    found = []
    if facts.run_anomalies:
        metrics = [each.metric for each in facts.run_anomalies]
        counts = (show.count(metrics.count(metric)) for metric in ("gap", "execution_time"))
        found.append(show.text("find_anomalous_runs", *counts))
    if facts.bucket_anomalies:
        found.append(show.text("find_anomalous_buckets", len({each.moment for each in facts.bucket_anomalies})))
    return found


def _model_finding(good: "pd.DataFrame", show: Formatter) -> list[str]:
    """The model with the smallest mean gap, if another one with enough runs is clearly behind."""
    gaps = good.groupby("model_key")["gap"].agg(["mean", "count"])
    means = gaps.loc[gaps["count"] >= analysis.ENOUGH_RUNS, "mean"].sort_values()
    if len(means) < 2:
        return []
    best, worst = str(means.index[0]), str(means.index[-1])
    low, high = float(means.iloc[0]), float(means.iloc[-1])
    if high - low < WORTH_SAYING_GAP:
        return []
    return [show.text("find_model", show.name(best), show.percent(low), show.name(worst), show.percent(high))]
