"""The performance report: the figures of a period for plant managers, and recommended actions."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from scheduler_service.reporting import analysis, figures, look
from scheduler_service.reporting.content import Block, Cards, Findings, Picture, Pictures, Report, Section
from scheduler_service.reporting.facts import AlertRow, Facts, gather
from scheduler_service.reporting.findings import cards, findings
from scheduler_service.reporting.formatting import Formatter, local_zone
from scheduler_service.reporting.performance_tables import (
    alerts_table,
    anomalies_table,
    models_table,
    requests_table,
    thresholds_table,
)
from scheduler_service.words import Lang

if TYPE_CHECKING:
    import pandas as pd


def performance_report(
    runs: "pd.DataFrame",
    before: "pd.DataFrame",
    start: datetime,
    end: datetime,
    thresholds: Mapping[str, float],
    lang: Lang,
    *,
    gap_thresholds: Mapping[int, float],
    alerts: Sequence[AlertRow],
    custom_gaps: Iterable[int] = (),
) -> Report:
    """The report on `runs`, all recorded from `start` to `end`; it begins at the first of them.

    Args:
        runs: may be empty; columns `analysis.REPORT_COLUMNS`, as in `telemetry.queries.DTYPES`.
        before: the runs of the period of the same length before; columns `analysis.SUMMARY_COLUMNS`.
        thresholds: as `monitoring.PERFORMANCE_THRESHOLDS`.
        gap_thresholds: as `thresholds.GAP_THRESHOLDS`.
        alerts: that were active in the period.
        custom_gaps: as for `alerts.about.is_gap_judged`.
    """
    show = Formatter(lang, local_zone(end))
    facts = gather(runs, before, start, end, thresholds, gap_thresholds, alerts, custom_gaps)
    sections = [
        Section("", [Cards(cards(facts.now, facts.before, show))]),
        Section(show.text("summary"), [Findings(findings(facts, show)), thresholds_table(facts, show)]),
        Section(show.text("alerts"), [alerts_table(facts, show)]),
    ]
    if len(runs):
        sections += _sections(facts, show)
    return Report(
        title=show.text("performance_title"),
        lang=lang,
        period=show.period(facts.start, facts.end),
        moment=end,
        sections=sections,
    )


def _sections(facts: Facts, show: Formatter) -> list[Section]:
    """Charts and tables of the runs; there is at least one."""
    slowest, largest_gaps = analysis.top(facts.runs, "execution_time"), analysis.top(facts.runs, "gap")
    distributions = _distributions(facts, show) if len(facts.good) else []
    sections: dict[str, list[Block]] = {
        "quality": [_trend(facts, show), *distributions],
        "speed": [_speed(facts, show)],
        "reliability": [_load(facts, show)],
        "anomalies": [anomalies_table(facts, show)],
        "models": [models_table(facts, show)],
        "requests_heading": [
            requests_table(slowest, show.text("slowest"), show),
            requests_table(largest_gaps, show.text("largest_gap"), show),
        ],
    }
    return [Section(show.text(title), blocks) for title, blocks in sections.items()]


def _trend(facts: Facts, show: Formatter) -> Block:
    drawn = figures.trend(facts.buckets, show.words, facts.chart_period, _marks(facts))
    return Pictures([Picture(show.text("trend"), drawn, show.text("trend_note"))])


def _distributions(facts: Facts, show: Formatter) -> list[Block]:
    """Gaps and makespans by size and model, as box plots and distribution functions."""
    labels = analysis.size_labels(facts.gap_thresholds)
    limits = {labels[size]: 100.0 * limit for size, limit in facts.gap_thresholds.items()}
    pairs: list[list[Picture]] = [[], [], []]
    for name, factor, axis, scale, limits_of in (
        ("gap", 100.0, "axis_gap_root", "root", limits),
        ("makespan", 1.0, "axis_makespan", "log", None),
    ):
        how: dict[str, Any] = {"axis_label": show.text(axis), "words": show.words, "scale": scale}
        by_size = _by_size(facts, name, factor, labels)
        by_model = figures.values_by_model(facts.runs, name, factor, show.words)
        drawn = {
            f"{name}_by_size": figures.boxes(by_size, colour=look.SKY, limits=limits_of, **how),
            f"{name}_by_model": figures.boxes(by_model, **how),
            f"{name}_cumulative": figures.cumulative(by_model, **how),
        }
        for pair, (key, chart) in zip(pairs, drawn.items(), strict=True):
            pair.append(Picture(show.text(key), chart, show.words.get(f"{key}_note", "")))
    return [Pictures(pair) for pair in pairs]


def _by_size(facts: Facts, column: str, factor: float, labels: Mapping[int, str]) -> "dict[str, pd.Series[Any]]":
    """The values of successful runs of each size, by its label, the smallest first."""
    good = facts.good
    groups = dict(list((good[column] * factor).groupby(facts.sizes[good.index])))
    return {labels[int(size)]: groups[size] for size in sorted(groups)}


def _speed(facts: Facts, show: Formatter) -> Block:
    drawn = figures.latency(facts.buckets, show.words, facts.chart_period, _marks(facts))
    hours = figures.hours(facts.runs, show.words)
    return Pictures([Picture(show.text("latency"), drawn), Picture(show.text("load_by_hour"), hours)])


def _load(facts: Facts, show: Formatter) -> Block:
    """The busiest teams, and the reasons of failures."""
    teams = {show.team(name): share for name, share in list(facts.teams.items())[:12]}
    drawn = figures.bars(teams, show.text("axis_utilization"), show.words, colour=look.GREEN, is_percent=True)
    failures = Picture(show.text("failures"), None, show.text("no_failures"))
    if facts.reasons:
        counts = dict(facts.reasons[:8])
        bars = figures.bars(counts, show.text("axis_count"), show.words, colour=look.RED, is_percent=False)
        failures = Picture(show.text("failures"), bars)
    return Pictures([Picture(show.text("teams"), drawn), failures])


def _marks(facts: Facts) -> figures.Marks:
    start, end = facts.chart_period
    spans = [
        (max(alert.began, start), min(alert.ended or end, end), alert.is_critical)
        for alert in facts.alerts
        if (alert.ended or end) > start
    ]
    buckets: dict[str, list[datetime]] = {}
    for each in facts.bucket_anomalies:
        buckets.setdefault(each.metric, []).append(each.moment)
    runs = [each.moment for each in facts.run_anomalies if each.metric == "gap"]
    return figures.Marks(spans, buckets, runs)
