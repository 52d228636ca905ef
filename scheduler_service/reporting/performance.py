"""The performance report: what a plant manager should know about a period, and what to do about it."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from scheduler_service.reporting import analysis, figures
from scheduler_service.reporting.axes import GREEN, RED, SKY
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
from scheduler_service.reporting.texts import Lang

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure


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
    said_gaps: Iterable[int] = (),
) -> Report:
    """The report on `runs`, all recorded from `start` to `end`; it begins at the first of them.

    Args:
        runs: any number of rows, none included; columns `analysis.REPORT_COLUMNS`, as in `telemetry.queries.DTYPES`.
        before: the runs of the period of the same length before; columns `analysis.SUMMARY_COLUMNS`.
        thresholds: as `monitoring.PERFORMANCE_THRESHOLDS`.
        gap_thresholds: as `thresholds.GAP_THRESHOLDS`.
        alerts: that were active in the period.
        said_gaps: sizes whose threshold was configured; the others are for standard cycles alone.
    """
    show = Formatter(lang, local_zone(end))
    facts = gather(runs, before, start, end, thresholds, gap_thresholds, alerts, said_gaps)
    sections = [
        Section("", [Cards(cards(facts.now, facts.then, show))]),
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
    distributions = _distributions(facts, show) if facts.runs["success"].any() else []
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
    """Gaps and makespans by size and by model, as boxes and as curves."""
    words, labels = show.words, analysis.size_labels(facts.gap_thresholds)
    limits = {labels[size]: 100.0 * limit for size, limit in facts.gap_thresholds.items()}
    gap: dict[str, Any] = {"axis_label": show.text("axis_gap_root"), "words": words, "scale": "root"}
    makespan: dict[str, Any] = {"axis_label": show.text("axis_makespan"), "words": words, "scale": "log"}
    gaps, makespans = _by_size(facts, "gap", 100.0, labels), _by_size(facts, "makespan", 1.0, labels)
    gaps_of, makespans_of = (
        figures.values_by_model(facts.runs, column, factor, words)
        for column, factor in (("gap", 100.0), ("makespan", 1.0))
    )

    def picture(name: str, drawn: "Figure", note: str = "") -> Picture:
        return Picture(show.text(name), drawn, show.text(note) if note else "")

    return [
        Pictures(
            [
                picture("gap_by_size", figures.boxes(gaps, colour=SKY, limits=limits, **gap), "gap_by_size_note"),
                picture("makespan_by_size", figures.boxes(makespans, colour=SKY, **makespan), "makespan_by_size_note"),
            ]
        ),
        Pictures(
            [
                picture("gap_by_model", figures.boxes(gaps_of, **gap), "boxes_note"),
                picture("makespan_by_model", figures.boxes(makespans_of, **makespan), "mix_note"),
            ]
        ),
        Pictures(
            [
                picture("gap_cumulative", figures.cumulative(gaps_of, **gap), "cumulative_note"),
                picture("makespan_cumulative", figures.cumulative(makespans_of, **makespan)),
            ]
        ),
    ]


def _by_size(facts: Facts, column: str, factor: float, labels: Mapping[int, str]) -> "dict[str, pd.Series[Any]]":
    """The values of successful runs of each size, by its label, the smallest first."""
    good = facts.runs["success"]
    groups = dict(list((facts.runs.loc[good, column] * factor).groupby(facts.sizes[good])))
    return {labels[int(size)]: groups[size] for size in sorted(groups)}


def _speed(facts: Facts, show: Formatter) -> Block:
    drawn = figures.latency(facts.buckets, show.words, facts.chart_period, _marks(facts))
    hours = figures.hours(facts.runs, show.words)
    return Pictures([Picture(show.text("latency"), drawn), Picture(show.text("load_by_hour"), hours)])


def _load(facts: Facts, show: Formatter) -> Block:
    """The busiest teams, and why requests failed."""
    teams = dict(list(facts.teams.items())[:12])
    drawn = figures.bars(teams, show.text("axis_utilization"), show.words, colour=GREEN, is_percent=True)
    failures = Picture(show.text("failures"), None, show.text("no_failures"))
    if facts.reasons:
        counts = dict(facts.reasons[:8])
        bars = figures.bars(counts, show.text("axis_count"), show.words, colour=RED, is_percent=False)
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
