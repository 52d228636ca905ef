"""The tables of the performance report."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from scheduler_service.alerts.about import FOR_EVER
from scheduler_service.alerts.rules import GAP_RUNS
from scheduler_service.reporting import analysis
from scheduler_service.reporting.analysis import number
from scheduler_service.reporting.anomalies import BucketAnomaly, RunAnomaly
from scheduler_service.reporting.content import Badge, Cell, Column, Table
from scheduler_service.reporting.facts import Facts
from scheduler_service.reporting.formatting import Formatter

MODELS_LISTED, ALERTS_LISTED, RUNS_LISTED, BUCKETS_LISTED = 100, 40, 12, 8
"""Lines of the tables; what is left out is counted below them."""


def thresholds_table(facts: Facts, show: Formatter) -> Table:
    def check(
        label: str, limit: float, actual: float | None, text: Callable[[float | None], str], state: str
    ) -> list[Cell]:
        return [label, text(limit), text(actual), Badge(show.text(state), state)]

    def state(actual: float | None, limit: float, *, at_most: bool) -> str:
        if actual is None:
            return "unknown"
        return "ok" if (actual <= limit if at_most else actual >= limit) else "crossed"

    actual, limits = facts.measured, facts.thresholds
    rows = [
        check(show.text(name), limits[name], actual[name], text, state(actual[name], limits[name], at_most=at_most))
        for name, text, at_most in (
            ("max_makespan", show.hours, True),
            ("max_execution_time", show.seconds, True),
            ("min_success_rate", show.percent, False),
        )
    ]
    labels = analysis.size_labels(facts.gap_thresholds)
    for size, (mean, count) in facts.gaps.items():
        if size == FOR_EVER:
            continue
        limit, name = facts.gap_thresholds[size], show.text("max_gap", labels[size])
        # The limits were measured on means: a mean of a few runs is beyond them by chance.
        found = "few" if count < GAP_RUNS else state(mean, limit, at_most=True)
        rows.append(check(name, limit, mean, show.fine_percent, found))
    columns = [
        Column(show.text("metric_heading"), 3.0, is_text=True),
        *(Column(show.text(name)) for name in ("threshold", "actual", "state")),
    ]
    return Table(show.text("thresholds"), columns, rows, show.text("no_data"))


def alerts_table(facts: Facts, show: Formatter) -> Table:
    columns = [
        Column(show.text("severity"), 0.8, is_text=True),
        Column(show.text("alert"), 4.2, is_text=True),
        Column(show.text("began"), 1.7, is_text=True),
        Column(show.text("ended"), 1.7, is_text=True),
        Column(show.text("value")),
        Column(show.text("threshold")),
    ]
    latest = facts.alerts[-ALERTS_LISTED:]
    rows: list[list[Cell]] = [
        [
            Badge(show.text("critical"), "crossed") if alert.is_critical else Badge(show.text("warning"), "warned"),
            f"{show.name(alert.message, 160)} ({show.name(alert.name)})",
            show.moment(alert.began),
            show.text("goes_on") if alert.ended is None else show.moment(alert.ended),
            show.of_rule(alert.name, alert.value),
            show.of_rule(alert.name, alert.threshold),
        ]
        for alert in latest
    ]
    return Table(
        show.text("alerts_of_period"), columns, rows, show.text("no_alerts"), _left_out(facts.alerts, len(latest), show)
    )


def anomalies_table(facts: Facts, show: Formatter) -> Table:
    columns = [
        Column(show.text("time"), 1.6, is_text=True),
        Column(show.text("request_or_spell"), 1.9, is_text=True),
        Column(show.text("model"), 1.9, is_text=True),
        Column(show.text("workpoints"), 0.7),
        Column(show.text("reason_heading"), 4.6, is_text=True),
    ]

    def reason(each: RunAnomaly | BucketAnomaly, key: str) -> str:
        text = {"gap": show.percent, "execution_time": show.seconds, "makespan": show.hours}[each.metric]
        score = f"{each.score:.1f}".replace("-", "−")
        return show.text(f"{key}_{each.metric}", text(each.value), text(each.usual), score)

    rows: list[list[Cell]] = [
        [show.moment(each.moment), show.text("spell", show.count(each.runs)), "", "", reason(each, "bucket_anomaly")]
        for each in facts.bucket_anomalies[:BUCKETS_LISTED]
    ]
    rows += [
        [
            show.moment(each.moment),
            show.name(each.request_id, 40),
            show.name(each.model),
            show.count(each.n_workpoints),
            reason(each, "run_anomaly"),
        ]
        for each in _listed(facts.run_anomalies)
    ]
    note = _left_out([*facts.bucket_anomalies, *facts.run_anomalies], len(rows), show) + show.text("anomalies_note")
    return Table(show.text("anomalies_of_period"), columns, rows, show.text("no_anomalies"), note)


def _listed(runs: Sequence[RunAnomaly]) -> list[RunAnomaly]:
    """The most anomalous ones, of either metric half of them if it has so many."""
    gaps = [each for each in runs if each.metric == "gap"]
    times = [each for each in runs if each.metric != "gap"]
    half = RUNS_LISTED // 2
    shown = gaps[: max(half, RUNS_LISTED - len(times))] + times[: max(half, RUNS_LISTED - len(gaps))]
    return sorted(shown, key=lambda each: -each.score)


def models_table(facts: Facts, show: Formatter) -> Table:
    of_schedules, of_service = ("makespan", "policy_makespan", "gap"), ("p50", "p99", "utilization", "satisfaction")
    names = ("requests", "success_rate", *of_schedules, *of_service)
    columns = [Column(show.text("model"), 2.4, is_text=True), *(Column(show.text(name)) for name in names)]
    models = analysis.by_model(facts.runs)
    rows: list[list[Cell]] = [
        [
            show.name(row.model),
            show.count(row.figures.requests),
            show.percent(row.figures.success_rate),
            show.hours(row.figures.makespan_h),
            show.hours(row.figures.policy_makespan_h),
            show.percent(row.figures.gap),
            show.seconds(row.figures.p50_s),
            show.seconds(row.figures.p99_s),
            show.percent(row.figures.utilization),
            show.plain(row.figures.satisfaction),
        ]
        for row in models[:MODELS_LISTED]
    ]
    return Table(show.text("models_of_period"), columns, rows, show.text("no_data"), _left_out(models, len(rows), show))


def requests_table(runs: Sequence[Mapping[str, Any]], title: str, show: Formatter) -> Table:
    columns = [
        Column(show.text("time"), 1.7, is_text=True),
        Column(show.text("request_id"), 2.4, is_text=True),
        Column(show.text("model"), 2.4, is_text=True),
        *(Column(show.text(name)) for name in ("workpoints", "compute_time", "makespan_short", "gap_short")),
    ]
    rows: list[list[Cell]] = [
        [
            show.moment(run["timestamp"]),
            show.name(run["request_id"], 40),
            show.name(run["model_key"]),
            show.count(number(run["n_workpoints"])),
            show.seconds(number(run["execution_time"])),
            show.hours(number(run["makespan"])),
            show.percent(number(run["gap"])),
        ]
        for run in runs
    ]
    return Table(title, columns, rows, show.text("no_data"))


def _left_out(items: Sequence[object], shown: int, show: Formatter) -> str:
    return show.text("left_out", f"{len(items) - shown:,}") if len(items) > shown else ""
