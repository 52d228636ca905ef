"""The headline figures of the performance report, their changes, and the conclusions from them."""

from collections.abc import Iterator, Mapping

from scheduler_service.alerts.about import are_one_cycle
from scheduler_service.alerts.rules import GAP_RUNS
from scheduler_service.reporting import analysis
from scheduler_service.reporting.analysis import Headline
from scheduler_service.reporting.anomalies import MIN_GAP_DIFFERENCE
from scheduler_service.reporting.content import Card
from scheduler_service.reporting.facts import Facts
from scheduler_service.reporting.formatting import Formatter
from scheduler_service.words import Message

CARDS: Mapping[str, tuple[int, bool]] = {
    "requests": (0, False),
    "success_rate": (1, True),
    "makespan": (0, False),
    "gap": (0, True),
    "p50": (0, False),
    "p99": (0, False),
    "utilization": (0, True),
    "satisfaction": (1, False),
}
"""Figure -> (1 if more is better; whether its change is in percentage points).

Figures that depend on the sizes of the requests are neither good nor bad; the findings compare equal sizes.
"""


def cards(now: Headline, before: Headline, show: Formatter) -> list[Card]:
    """The headline figures of the period, each with its change from the period before."""
    return [_card(name, now[name], before[name], show) for name in CARDS]


def _card(name: str, value: float | None, before: float | None, show: Formatter) -> Card:
    better, in_points = CARDS[name]
    label, text = show.text(name), show.of_figure(name, value)
    if value is None or before is None or (before == 0.0 and not in_points):
        return Card(label, text, show.text("no_before"))
    change = 100.0 * (value - before) if in_points else 100.0 * (value / before - 1.0)
    if abs(change) < 0.05:
        return Card(label, text, f"{show.text('vs_before')} {show.text('unchanged')}")
    unit = f" {show.text('points')}" if in_points else " %"
    tone = "plain"
    if better and abs(change) >= (0.5 if in_points else 2.0):  # smaller changes may be chance
        tone = "good" if change > 0 else "bad"
    return Card(label, text, f"{show.text('vs_before')} {'▲' if change > 0 else '▼'} {abs(change):.1f}{unit}", tone)


def findings(facts: Facts, show: Formatter) -> list[str]:
    """The conclusions as sentences, the most urgent first; at least one."""
    return [show.say(message) for message in messages(facts, show)]


def messages(facts: Facts, show: Formatter) -> list[Message]:
    """The conclusions, the most urgent first; at least one."""
    alerts = _alert_finding(facts)
    if facts.runs.empty:
        return [Message("performance.no_runs"), *alerts]
    topics = (_thresholds, _gaps, _service, _gap_change, _models, _bottleneck)
    found = [message for topic in topics for message in topic(facts, show)]
    if not found and all(alert.ended is not None for alert in facts.alerts):
        found.append(Message("performance.fine"))
    return [*alerts, *found, *_anomaly_findings(facts)]


def _thresholds(facts: Facts, show: Formatter) -> Iterator[Message]:
    """Success rate, makespan and compute time beyond their thresholds."""
    rate, limits = facts.now["success_rate"], facts.thresholds
    if rate is not None and rate < limits["min_success_rate"]:
        reason, times = facts.reasons[0]
        params = {"rate": rate, "limit": limits["min_success_rate"], "reason": show.name(reason, 80), "times": times}
        yield Message("performance.success", params)
    makespan_h, late_s = facts.measured["max_makespan"], facts.measured["max_execution_time"]
    if makespan_h is not None and makespan_h > limits["max_makespan"]:
        cycles = facts.good[are_one_cycle(facts.good)]
        share = float((cycles["makespan"] > limits["max_makespan"]).mean())
        params = {"mean": round(makespan_h, 2), "limit": limits["max_makespan"], "share": share}
        yield Message("performance.makespan", params)
    if late_s is not None and late_s > limits["max_execution_time"]:
        yield Message("performance.time", {"p99": round(late_s, 3), "limit": limits["max_execution_time"]})


def _gaps(facts: Facts, _: Formatter) -> Iterator[Message]:
    """The sizes whose mean gap is above its threshold."""
    labels = analysis.size_labels(facts.gap_thresholds)
    above = [
        Message("performance.gap_of_size", {"size": labels[size], "mean": mean, "limit": limit})
        for size, (mean, count) in facts.gaps.items()
        if count >= GAP_RUNS and (limit := facts.gap_thresholds.get(size)) is not None and mean > limit
    ]
    if above:
        yield Message("performance.gap", {"sizes": above})


def _service(facts: Facts, _: Formatter) -> Iterator[Message]:
    """Answers by another model, and dissatisfied users."""
    fallbacks, satisfaction = float((facts.runs["reason"] == "fallback").mean()), facts.now["satisfaction"]
    if fallbacks > 0.0:
        yield Message("performance.fallback", {"share": fallbacks})
    if satisfaction is not None and satisfaction < 3.0:
        ratings = int(facts.runs["user_satisfaction"].count())
        yield Message("performance.satisfaction", {"mean": satisfaction, "ratings": ratings})


def _gap_change(facts: Facts, _: Formatter) -> Iterator[Message]:
    was, became = facts.gap_change or (0.0, 0.0)
    if abs(became - was) > MIN_GAP_DIFFERENCE:
        code = "performance.worse" if became > was else "performance.better"
        yield Message(code, {"was": was, "became": became})


def _models(facts: Facts, show: Formatter) -> Iterator[Message]:
    """The model with the smallest mean gap, if that of another one with enough runs is clearly larger."""
    gaps = facts.good.groupby("model_key")["gap"].agg(["mean", "count"])
    means = gaps.loc[gaps["count"] >= analysis.MIN_RUNS, "mean"].sort_values()
    if len(means) > 1 and means.iloc[-1] - means.iloc[0] >= MIN_GAP_DIFFERENCE:
        best, worst = (show.name(str(means.index[place])) for place in (0, -1))
        gap, other = (float(means.iloc[place]) for place in (0, -1))
        yield Message("performance.model", {"best": best, "gap": gap, "worst": worst, "other": other})


def _bottleneck(facts: Facts, show: Formatter) -> Iterator[Message]:
    if len(facts.teams) > 1 and len(facts.good) >= analysis.MIN_RUNS:
        (busiest, most), (_, second) = list(facts.teams.items())[:2]
        if most > 1.15 * second:
            yield Message("performance.team", {"team": show.team(busiest), "most": most, "second": second})


def _alert_finding(facts: Facts) -> list[Message]:
    if not facts.alerts:
        return []
    critical = sum(alert.is_critical for alert in facts.alerts)
    ongoing = sum(alert.ended is None for alert in facts.alerts)
    return [Message("performance.alerts", {"count": len(facts.alerts), "critical": critical, "ongoing": ongoing})]


def _anomaly_findings(facts: Facts) -> list[Message]:
    found = []
    if facts.run_anomalies:
        metrics = [each.metric for each in facts.run_anomalies]
        params = {"gaps": metrics.count("gap"), "times": metrics.count("execution_time")}
        found.append(Message("performance.anomalous_runs", params))
    if facts.bucket_anomalies:
        count = len({each.moment for each in facts.bucket_anomalies})
        found.append(Message("performance.anomalous_buckets", {"count": count}))
    return found
