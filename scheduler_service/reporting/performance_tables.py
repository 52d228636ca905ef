"""The tables of the performance report."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from scheduler_service.alerts.about import FOR_EVER
from scheduler_service.alerts.rules import GAP_RUNS
from scheduler_service.reporting import analysis
from scheduler_service.reporting.analysis import number
from scheduler_service.reporting.anomalies import Anomaly
from scheduler_service.reporting.content import Badge, Cell, Table
from scheduler_service.reporting.facts import Facts
from scheduler_service.reporting.formatting import Formatter, minus

MODELS_LISTED, ALERTS_LISTED, RUNS_LISTED, BUCKETS_LISTED = 100, 40, 12, 8
"""Maximum rows of the tables; a note gives the number of the others."""


def thresholds_table(facts: Facts, show: Formatter) -> Table:
    """Each threshold with the value that is compared with it."""
    texts = show.text

    def row(name: str, limit: float, actual: float | None, text: Callable[[float | None], str]) -> list[Cell]:
        state, tone = "unknown" if actual is None else "ok", ""
        if actual is not None and (actual < limit if name == "min_success_rate" else actual > limit):
            state, tone = "below" if name == "min_success_rate" else "above", "crossed"
        return [texts(name), text(limit), text(actual), Badge(texts(state), tone or state)]

    by_name = {"max_makespan": show.hours, "max_execution_time": show.seconds, "min_success_rate": show.percent}
    rows = [row(name, facts.thresholds[name], facts.measured[name], text) for name, text in by_name.items()]
    labels = analysis.size_labels(facts.gap_thresholds)
    for size, (mean, count) in facts.gaps.items():
        if size == FOR_EVER:
            continue
        _, *figures, badge = row("gap", facts.gap_thresholds[size], mean, show.fine_percent)
        # The limits were measured on means; the mean of a few runs may exceed them by chance.
        few = Badge(texts("few"), "few")
        rows.append([texts("max_gap", size=labels[size]), *figures, badge if count >= GAP_RUNS else few])
    keys = [("metric_heading", 3.0), ("threshold", 1.0), ("actual", 1.0), ("state", 1.0)]
    columns = show.columns(*keys, texts=("metric_heading",))
    return Table(texts("thresholds"), columns, rows, texts("no_data"))


def alerts_table(facts: Facts, show: Formatter) -> Table:
    keys = [("severity", 0.8), ("alert", 4.2), ("began", 1.7), ("ended", 1.7), ("value", 1.0), ("threshold", 1.0)]
    columns = show.columns(*keys, texts=("severity", "alert", "began", "ended"))
    latest = facts.alerts[-ALERTS_LISTED:]
    rows: list[list[Cell]] = [
        [
            Badge(show.text("critical"), "crossed") if alert.is_critical else Badge(show.text("warning"), "warned"),
            f"{show.name(alert.message, 160)} ({show.name(alert.name)})",
            show.moment(alert.began),
            show.text("ongoing") if alert.ended is None else show.moment(alert.ended),
            show.of_rule(alert.name, alert.value),
            show.of_rule(alert.name, alert.threshold),
        ]
        for alert in latest
    ]
    return Table(
        show.text("alerts_of_period"), columns, rows, show.text("no_alerts"), _left_out(facts.alerts, len(latest), show)
    )


def anomalies_table(facts: Facts, show: Formatter) -> Table:
    keys = [("time", 1.6), ("request_or_bucket", 1.9), ("model", 1.9), ("workpoints", 0.7), ("reason", 4.6)]
    columns = show.columns(*keys, texts=("time", "request_or_bucket", "model", "reason"))

    def row(each: Anomaly, kind: str, *subject: str) -> list[Cell]:
        text = {"gap": show.percent, "execution_time": show.seconds, "makespan": show.hours}[each.metric]
        figures = {"value": text(each.value), "usual": text(each.usual), "z": minus(f"{each.score:.1f}")}
        return [show.moment(each.moment), *subject, show.text(f"{kind}_{each.metric}", **figures)]

    rows = [
        row(each, "bucket_anomaly", show.text("bucket_requests", count=show.count(each.runs)), "", "")
        for each in facts.bucket_anomalies[:BUCKETS_LISTED]
    ]
    for each in _listed(facts.run_anomalies):
        subject = (show.name(each.request_id, 40), show.name(each.model), show.count(each.n_workpoints))
        rows.append(row(each, "run_anomaly", *subject))
    note = _left_out([*facts.bucket_anomalies, *facts.run_anomalies], len(rows), show) + show.text("anomalies_note")
    return Table(show.text("anomalies_of_period"), columns, rows, show.text("no_anomalies"), note)


def _listed(runs: Sequence[Anomaly]) -> list[Anomaly]:
    """The most anomalous ones, of either metric half of them if it has so many."""
    gaps = [each for each in runs if each.metric == "gap"]
    times = [each for each in runs if each.metric != "gap"]
    half = RUNS_LISTED // 2
    shown = gaps[: max(half, RUNS_LISTED - len(times))] + times[: max(half, RUNS_LISTED - len(gaps))]
    return sorted(shown, key=lambda each: -each.score)


def models_table(facts: Facts, show: Formatter) -> Table:
    models = analysis.by_model(facts.runs)
    rows: list[list[Cell]] = [
        [show.name(model), *(show.of_figure(name, value) for name, value in figures.items())]
        for model, figures in models[:MODELS_LISTED]
    ]
    columns = show.columns(("model", 2.4), *((name, 1.0) for name in facts.now), texts=("model",))
    return Table(show.text("models_of_period"), columns, rows, show.text("no_data"), _left_out(models, len(rows), show))


def requests_table(runs: Sequence[Mapping[str, Any]], title: str, show: Formatter) -> Table:
    keys = [("time", 1.7), ("request_id", 2.4), ("model", 2.4), ("workpoints", 1.0)]
    more = [("compute_time", 1.0), ("makespan_short", 1.0), ("gap_short", 1.0)]
    columns = show.columns(*keys, *more, texts=("time", "request_id", "model"))
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
    return show.text("left_out", count=f"{len(items) - shown:,}") if len(items) > shown else ""
