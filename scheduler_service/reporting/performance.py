"""The performance report: what a plant manager should know of a period, and what to do about it."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from scheduler_service.reporting import analysis, figures
from scheduler_service.reporting.content import Block, Findings, Picture, Pictures, Report, Section
from scheduler_service.reporting.facts import AlertRow, Facts, gather
from scheduler_service.reporting.findings import cards, findings
from scheduler_service.reporting.page import Formatter, local_zone
from scheduler_service.reporting.performance_tables import (
    alerts_table,
    anomalies_table,
    models_table,
    requests_table,
    thresholds_table,
)
from scheduler_service.reporting.texts import TEXTS, Lang

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

Words = Mapping[str, str]


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
    """The report on `runs`, all recorded from `start` to `end`; `page.html_of` and `pdf.pdf_of` put it on paper.

    Args:
        runs: any number of rows, none included; columns `analysis.REPORT_COLUMNS`, as in `telemetry.queries.DTYPES`.
        before: the runs of the period of the same length before; columns `analysis.SUMMARY_COLUMNS`.
        thresholds: as `monitoring.PERFORMANCE_THRESHOLDS`.
        gap_thresholds: as `thresholds.GAP_THRESHOLDS`.
        alerts: that were under way in the period.
        said_gaps: sizes whose threshold somebody said; the others are for standard cycles alone.
    """
    words = TEXTS[lang]
    zone = local_zone(end)
    show = Formatter(lang, zone)
    facts = gather(runs, before, start, end, thresholds, gap_thresholds, alerts, said_gaps)
    sections = [
        Section(words["summary"], [Findings(findings(facts, words, show)), thresholds_table(facts, words, show)]),
        Section(words["alerts"], [alerts_table(facts, words, show)]),
    ]
    if len(runs):
        sections += _sections(facts, words, show)
    return Report(
        title=words["performance_title"],
        lang=lang,
        period=words["period"].format(show.moment(start), show.moment(end), show.zone_name(end)),
        moment=end,
        cards=cards(facts.now, facts.then, words, show),
        sections=sections,
    )


def _sections(facts: Facts, words: Words, show: Formatter) -> list[Section]:
    """Charts and tables of the runs; there is at least one."""
    runs = facts.runs
    quality = [_trend(facts, words), *_distributions(facts, words)] if runs["success"].any() else [_trend(facts, words)]
    return [
        Section(words["quality"], quality),
        Section(words["speed"], [_speed(facts, words)]),
        Section(words["reliability"], [_load(facts, words)]),
        Section(words["anomalies"], [anomalies_table(facts, words, show)]),
        Section(words["models"], [models_table(facts, words, show)]),
        Section(
            words["requests_heading"],
            [
                requests_table(analysis.top(runs, "execution_time"), words["slowest"], words, show),
                requests_table(analysis.top(runs, "gap"), words["largest_gap"], words, show),
            ],
        ),
    ]


def _trend(facts: Facts, words: Words) -> Block:
    drawn = figures.trend(facts.buckets, words, (facts.start, facts.end), _marks(facts))
    return Pictures([Picture(words["trend"], drawn, words["trend_note"])])


def _distributions(facts: Facts, words: Words) -> list[Block]:
    """Makespans and gaps by size and by model, as boxes and as curves."""
    labels = analysis.size_labels(facts.gap_thresholds)
    limits = {labels[size]: 100.0 * limit for size, limit in facts.gap_thresholds.items()}
    gaps_by_size, hours_by_size = _by_size(facts, "gap", 100.0, labels), _by_size(facts, "makespan", 1.0, labels)
    gaps = figures.values_by_model(facts.runs, "gap", 100.0, words)
    hours = figures.values_by_model(facts.runs, "makespan", 1.0, words)
    gap_axis, hour_axis = words["axis_gap_root"], words["axis_makespan"]

    def picture(name: str, drawn: "Figure", note: str = "") -> Picture:
        return Picture(words[name], drawn, words[note] if note else "")

    boxes, cumulative = figures.boxes, figures.cumulative
    return [
        Pictures(
            [
                picture(
                    "gap_by_size",
                    boxes(gaps_by_size, gap_axis, words, colour=figures.SKY, limits=limits, scale="root"),
                    "gap_by_size_note",
                ),
                picture(
                    "makespan_by_size",
                    boxes(hours_by_size, hour_axis, words, colour=figures.SKY, scale="log"),
                    "makespan_by_size_note",
                ),
            ]
        ),
        Pictures(
            [
                picture("gap_by_model", boxes(gaps, gap_axis, words, scale="root"), "boxes_note"),
                picture("makespan_by_model", boxes(hours, hour_axis, words, scale="log"), "mix_note"),
            ]
        ),
        Pictures(
            [
                picture("gap_cumulative", cumulative(gaps, gap_axis, words, scale="root"), "cumulative_note"),
                picture("makespan_cumulative", cumulative(hours, hour_axis, words, scale="log")),
            ]
        ),
    ]


def _speed(facts: Facts, words: Words) -> Block:
    drawn = figures.latency(facts.buckets, words, (facts.start, facts.end), _marks(facts))
    return Pictures(
        [Picture(words["latency"], drawn), Picture(words["load_by_hour"], figures.hours(facts.runs, words))]
    )


def _load(facts: Facts, words: Words) -> Block:
    """The busiest teams, and why requests failed."""
    teams = dict(list(facts.teams.items())[:12])
    drawn = figures.bars(teams, words["axis_utilization"], words, colour=figures.GREEN, is_percent=True)
    failures = Picture(words["failures"], None, words["no_failures"])
    if facts.reasons:
        counts = dict(facts.reasons[:8])
        bars = figures.bars(counts, words["axis_count"], words, colour=figures.RED, is_percent=False)
        failures = Picture(words["failures"], bars)
    return Pictures([Picture(words["teams"], drawn), failures])


def _by_size(facts: Facts, column: str, scale: float, labels: Mapping[int, str]) -> "dict[str, pd.Series[Any]]":
    """The values of successful runs of each size, by its label, the smallest first."""
    good = facts.runs["success"]
    groups = dict(list((facts.runs.loc[good, column] * scale).groupby(facts.sizes[good])))
    return {labels[int(size)]: groups[size] for size in sorted(groups)}


def _marks(facts: Facts) -> figures.Marks:
    spans = [
        (max(alert.began, facts.start), min(alert.ended or facts.end, facts.end), alert.is_critical)
        for alert in facts.alerts
    ]
    buckets: dict[str, list[datetime]] = {}
    for each in facts.far_buckets:
        buckets.setdefault(each.metric, []).append(each.moment)
    runs = [each.moment for each in facts.far_runs if each.metric == "gap"]
    return figures.Marks(spans, buckets, runs)
