"""The performance report: what a plant manager should know of a period, and what to do about it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from scheduler_service.reporting import analysis, figures
from scheduler_service.reporting.analysis import Headline
from scheduler_service.reporting.page import Formatter, local_zone, render
from scheduler_service.reporting.texts import TEXTS, Lang

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

ENOUGH_RUNS = 30
"""Successful runs that a figure needs before advice is built on it."""
WORTH_SAYING_GAP = 0.005
"""Difference of mean gaps, a share, below which two models or periods count as alike."""


@dataclass(frozen=True, slots=True)
class Card:
    """A headline figure; `tone` says whether its change is good news: "good", "bad" or "plain"."""

    label: str
    value: str
    change: str
    tone: str


@dataclass(frozen=True, slots=True)
class Check:
    """A figure held against its threshold; `state` is "ok", "crossed" or "unknown"."""

    label: str
    limit: str
    actual: str
    state: str


def performance_page(
    runs: "pd.DataFrame",
    before: "pd.DataFrame",
    start: datetime,
    end: datetime,
    thresholds: Mapping[str, float],
    lang: Lang,
) -> str:
    """The report on `runs`, all recorded from `start` to `end`, as an HTML page.

    Args:
        runs: any number of rows, none included; columns as in `telemetry.queries.DTYPES`.
        before: the runs of the period of the same length before.
        thresholds: `monitoring.PERFORMANCE_THRESHOLDS`.
    """
    words = TEXTS[lang]
    zone = local_zone(end)
    runs = runs.assign(timestamp=runs["timestamp"].dt.tz_convert(zone))
    show = Formatter(lang, zone)
    now, then = analysis.headline(runs), analysis.headline(before)
    checks = _checks(now, thresholds, words, show)
    reasons = analysis.failure_reasons(runs)
    teams = analysis.team_utilization(runs)
    charts = {} if runs.empty else _charts(runs, (start.astimezone(zone), end.astimezone(zone)), reasons, teams, words)
    return render(
        "performance.html",
        lang,
        title=words["performance_title"],
        start=start,
        end=end,
        zone=show.zone_name(end),
        show=show,
        cards=_cards(now, then, words, show),
        checks=checks,
        findings=_findings(runs, now, then, thresholds, reasons, teams, words, show),
        charts={name: figures.data_uri(drawn) for name, drawn in charts.items()},
        models=analysis.by_model(runs),
        slowest=analysis.top(runs, "execution_time"),
        largest_gap=analysis.top(runs, "gap"),
        number=analysis.number,
    )


def _charts(
    runs: "pd.DataFrame",
    period: figures.Period,
    reasons: list[tuple[str, int]],
    teams: Mapping[str, float],
    words: figures.Words,
) -> "dict[str, Figure]":
    buckets = analysis.over_time(runs, *period)
    makespans = figures.values_by_model(runs, "makespan", 1.0, words)
    gaps = figures.values_by_model(runs, "gap", 100.0, words)
    charts = {
        "makespan_by_model": figures.boxes(makespans, words["axis_makespan"], words),
        "gap_by_model": figures.boxes(gaps, words["axis_gap"], words),
        "trend": figures.trend(buckets, words, period),
        "latency": figures.latency(buckets, words, period),
        "load_by_hour": figures.hours(runs, words),
        "teams": figures.bars(
            dict(list(teams.items())[:12]), words["axis_utilization"], words, colour=figures.GREEN, is_percent=True
        ),
    }
    if reasons:
        charts["failures"] = figures.bars(
            dict(reasons[:8]), words["axis_count"], words, colour=figures.RED, is_percent=False
        )
    return charts


def _cards(now: Headline, then: Headline, words: Mapping[str, str], show: Formatter) -> list[Card]:
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
            return Card(words[name], text(value), words["no_before"], "plain")
        difference = 100.0 * (value - previous) if in_points else 100.0 * (value / previous - 1.0)
        if abs(difference) < 0.05:
            return Card(words[name], text(value), f"{words['vs_before']} {words['unchanged']}", "plain")
        unit = f" {words['points']}" if in_points else "%"
        shown = f"{'▲' if difference > 0 else '▼'} {abs(difference):.1f}{unit}"
        tone = "plain"
        if better and abs(difference) >= (0.5 if in_points else 2.0):  # less comes and goes by chance
            tone = "good" if difference * better > 0 else "bad"
        return Card(words[name], text(value), f"{words['vs_before']} {shown}", tone)

    return [
        card("requests", now.requests, then.requests, show.count, better=0),
        card("success_rate", now.success_rate, then.success_rate, show.percent, better=1, in_points=True),
        card("makespan", now.makespan_h, then.makespan_h, show.hours, better=-1),
        card("gap", now.gap, then.gap, show.percent, better=-1, in_points=True),
        card("p50", now.p50_s, then.p50_s, show.seconds, better=-1),
        card("p99", now.p99_s, then.p99_s, show.seconds, better=-1),
        card("utilization", now.utilization, then.utilization, show.percent, better=1, in_points=True),
        card("satisfaction", now.satisfaction, then.satisfaction, show.plain, better=1),
    ]


def _checks(now: Headline, thresholds: Mapping[str, float], words: Mapping[str, str], show: Formatter) -> list[Check]:
    def check(name: str, actual: float | None, text: Callable[[float | None], str], *, at_most: bool) -> Check:
        limit = thresholds[name]
        if actual is None:
            state = "unknown"
        else:
            state = "ok" if (actual <= limit if at_most else actual >= limit) else "crossed"
        return Check(words[name], text(limit), text(actual), state)

    return [
        check("max_makespan", now.makespan_h, show.hours, at_most=True),
        check("max_execution_time", now.p99_s, show.seconds, at_most=True),
        check("min_success_rate", now.success_rate, show.percent, at_most=False),
    ]


def _findings(
    runs: "pd.DataFrame",
    now: Headline,
    then: Headline,
    thresholds: Mapping[str, float],
    reasons: list[tuple[str, int]],
    teams: Mapping[str, float],
    words: Mapping[str, str],
    show: Formatter,
) -> list[str]:
    """What follows from the figures, the most urgent first; at least one sentence."""
    if runs.empty:
        return [words["find_no_runs"]]
    found = []
    good = runs[runs["success"]]
    if now.success_rate is not None and now.success_rate < thresholds["min_success_rate"]:
        reason, times = reasons[0]
        limit = show.percent(thresholds["min_success_rate"])
        found.append(words["find_success"].format(show.percent(now.success_rate), limit, show.name(reason, 80), times))
    if now.makespan_h is not None and now.makespan_h > thresholds["max_makespan"]:
        share = float((good["makespan"] > thresholds["max_makespan"]).mean())
        limit = show.hours(thresholds["max_makespan"])
        found.append(words["find_makespan"].format(show.hours(now.makespan_h), limit, show.percent(share)))
    if now.p99_s is not None and now.p99_s > thresholds["max_execution_time"]:
        found.append(words["find_time"].format(show.seconds(now.p99_s), show.seconds(thresholds["max_execution_time"])))
    fallbacks = float((runs["reason"] == "fallback").mean())
    if fallbacks > 0.0:
        found.append(words["find_fallback"].format(show.percent(fallbacks)))
    if now.satisfaction is not None and now.satisfaction < 3.0:
        verdicts = int(runs["user_satisfaction"].count())
        found.append(words["find_satisfaction"].format(show.plain(now.satisfaction), verdicts))
    if now.gap is not None and then.gap is not None and min(len(good), then.requests) >= ENOUGH_RUNS:
        if now.gap > then.gap + WORTH_SAYING_GAP:
            found.append(words["find_worse"].format(show.percent(then.gap), show.percent(now.gap)))
        if now.gap < then.gap - WORTH_SAYING_GAP:
            found.append(words["find_better"].format(show.percent(then.gap), show.percent(now.gap)))
    found += _model_finding(good, words, show)
    if len(teams) > 1 and len(good) >= ENOUGH_RUNS:
        (busiest, most), (_, second) = list(teams.items())[:2]
        if most > 1.15 * second:
            found.append(words["find_team"].format(show.name(busiest, 20), show.percent(most), show.percent(second)))
    return found or [words["find_fine"]]


def _model_finding(good: "pd.DataFrame", words: Mapping[str, str], show: Formatter) -> list[str]:
    """The model with the smallest mean gap, if another one with enough runs is clearly behind."""
    gaps = good.groupby("model_key")["gap"].agg(["mean", "count"])
    means = gaps.loc[gaps["count"] >= ENOUGH_RUNS, "mean"].sort_values()
    if len(means) < 2:
        return []
    best, worst = str(means.index[0]), str(means.index[-1])
    low, high = float(means.iloc[0]), float(means.iloc[-1])
    if high - low < WORTH_SAYING_GAP:
        return []
    return [words["find_model"].format(show.name(best), show.percent(low), show.name(worst), show.percent(high))]
