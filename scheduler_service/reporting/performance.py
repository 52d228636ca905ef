"""The performance report: what a plant manager should know of a period, and what to do about it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from scheduler_service.alerts.episodes import Episode
from scheduler_service.alerts.rules import FOR_EVER, GAP_RUNS
from scheduler_service.reporting import analysis, figures
from scheduler_service.reporting.analysis import Headline, number
from scheduler_service.reporting.anomalies import (
    WORTH_SAYING_GAP,
    BucketAnomaly,
    RunAnomaly,
    anomalous_buckets,
    anomalous_runs,
)
from scheduler_service.reporting.content import (
    Block,
    Card,
    Cell,
    Column,
    Findings,
    Picture,
    Pictures,
    Report,
    Section,
    State,
    Table,
)
from scheduler_service.reporting.page import Formatter, local_zone
from scheduler_service.reporting.texts import TEXTS, Lang

if TYPE_CHECKING:
    import pandas as pd

ENOUGH_RUNS = 30
"""Successful runs that a figure needs before advice is built on it."""
MODELS_LISTED, ALERTS_LISTED, RUNS_LISTED, BUCKETS_LISTED = 100, 40, 12, 8
"""Lines of the tables; what is left out is counted below them."""

Words = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class AlertRow:
    """An alert that was under way in the period."""

    name: str
    message: str
    severity: str
    began: datetime
    ended: datetime | None  # None: it goes on
    value: float | None
    threshold: float | None

    @classmethod
    def of(cls, episode: Episode) -> "AlertRow":
        return cls(
            episode.name,
            episode.message,
            episode.severity,
            episode.began,
            episode.ended,
            episode.value,
            episode.threshold,
        )

    @property
    def is_critical(self) -> bool:
        return self.severity == "critical"


@dataclass(frozen=True, slots=True)
class _Facts:
    """All that the report is told from."""

    runs: "pd.DataFrame"  # times in the local zone
    now: Headline
    then: Headline
    start: datetime  # local time, as `end`
    end: datetime
    thresholds: Mapping[str, float]
    gap_thresholds: Mapping[int, float]
    sizes: "pd.Series[Any]"  # of each run, as `analysis.sizes`
    gaps: Mapping[int, tuple[float, int]]  # by size: mean of the successful runs, and their number
    reasons: Sequence[tuple[str, int]]
    teams: Mapping[str, float]
    far_runs: Sequence[RunAnomaly]
    far_buckets: Sequence[BucketAnomaly]
    alerts: Sequence[AlertRow]


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
) -> Report:
    """The report on `runs`, all recorded from `start` to `end`; `page.html_of` and `pdf.pdf_of` put it on paper.

    Args:
        runs: any number of rows, none included; columns `analysis.REPORT_COLUMNS`, as in `telemetry.queries.DTYPES`.
        before: the runs of the period of the same length before; columns `analysis.SUMMARY_COLUMNS`.
        thresholds: as `monitoring.PERFORMANCE_THRESHOLDS`.
        gap_thresholds: as `alerts.rules.GAP_THRESHOLDS`.
        alerts: that were under way in the period.
    """
    words = TEXTS[lang]
    zone = local_zone(end)
    show = Formatter(lang, zone)
    facts = _facts(runs, before, start, end, thresholds, gap_thresholds, alerts)
    sections = [
        Section(words["summary"], [Findings(_findings(facts, words, show)), _thresholds(facts, words, show)]),
        Section(words["alerts"], [_alerts(facts, words, show)]),
    ]
    if len(runs):
        sections += _sections(facts, words, show)
    return Report(
        title=words["performance_title"],
        lang=lang,
        period=words["period"].format(show.moment(start), show.moment(end), show.zone_name(end)),
        moment=end,
        cards=_cards(facts.now, facts.then, words, show),
        sections=sections,
    )


def _facts(
    runs: "pd.DataFrame",
    before: "pd.DataFrame",
    start: datetime,
    end: datetime,
    thresholds: Mapping[str, float],
    gap_thresholds: Mapping[int, float],
    alerts: Sequence[AlertRow],
) -> _Facts:
    zone = local_zone(end)
    runs = runs.assign(timestamp=runs["timestamp"].dt.tz_convert(zone))
    start, end = start.astimezone(zone), end.astimezone(zone)
    sizes = analysis.sizes(runs, gap_thresholds)
    gaps = runs.loc[runs["success"], "gap"].groupby(sizes[runs["success"]]).agg(["mean", "count"]).dropna()
    return _Facts(
        runs=runs,
        now=analysis.headline(runs),
        then=analysis.headline(before),
        start=start,
        end=end,
        thresholds=thresholds,
        gap_thresholds=gap_thresholds,
        sizes=sizes,
        gaps={int(size): (float(row["mean"]), int(row["count"])) for size, row in gaps.iterrows()},
        reasons=analysis.failure_reasons(runs),
        teams=analysis.team_utilization(runs),
        far_runs=anomalous_runs(runs, gap_thresholds),
        far_buckets=anomalous_buckets(runs, start, end),
        alerts=sorted(alerts, key=lambda alert: alert.began),
    )


def _sections(facts: _Facts, words: Words, show: Formatter) -> list[Section]:
    """Charts and tables of the runs; there is at least one."""
    runs, period = facts.runs, (facts.start, facts.end)
    buckets, marks = analysis.over_time(runs, *period), _marks(facts)
    makespans = figures.values_by_model(runs, "makespan", 1.0, words)
    gaps = figures.values_by_model(runs, "gap", 100.0, words)
    labels = analysis.size_labels(facts.gap_thresholds)
    limits = {labels[size]: 100.0 * limit for size, limit in facts.gap_thresholds.items()}
    gaps_by_size = _by_size(facts, "gap", 100.0, labels)
    makespans_by_size = _by_size(facts, "makespan", 1.0, labels)
    hours, gap = words["axis_makespan"], words["axis_gap"]
    teams = dict(list(facts.teams.items())[:12])

    def pair(one: Picture, other: Picture) -> Block:
        return Pictures([one, other])

    failures = Picture(words["failures"], None, words["no_failures"])
    if facts.reasons:
        counts = dict(facts.reasons[:8])
        drawn = figures.bars(counts, words["axis_count"], words, colour=figures.RED, is_percent=False)
        failures = Picture(words["failures"], drawn)
    quality = [
        Pictures([Picture(words["trend"], figures.trend(buckets, words, period, marks), words["trend_note"])]),
        pair(
            Picture(words["gap_by_size"], figures.boxes(
                gaps_by_size, gap, words, colour=figures.SKY, limits=limits), words["gap_by_size_note"]),
            Picture(words["makespan_by_size"], figures.boxes(
                makespans_by_size, hours, words, colour=figures.SKY, is_log=True), words["makespan_by_size_note"]),
        ),
        pair(
            Picture(words["gap_by_model"], figures.boxes(gaps, gap, words), words["boxes_note"]),
            Picture(words["makespan_by_model"], figures.boxes(makespans, hours, words, is_log=True), words["mix_note"]),
        ),
        pair(
            Picture(words["gap_cumulative"], figures.cumulative(gaps, gap, words), words["cumulative_note"]),
            Picture(words["makespan_cumulative"], figures.cumulative(makespans, hours, words, is_log=True)),
        ),
    ]  # fmt: skip
    speed = pair(
        Picture(words["latency"], figures.latency(buckets, words, period, marks)),
        Picture(words["load_by_hour"], figures.hours(runs, words)),
    )
    utilization = figures.bars(teams, words["axis_utilization"], words, colour=figures.GREEN, is_percent=True)
    return [
        Section(words["quality"], quality),
        Section(words["speed"], [speed]),
        Section(words["reliability"], [pair(Picture(words["teams"], utilization), failures)]),
        Section(words["anomalies"], [_anomalies(facts, words, show)]),
        Section(words["models"], [_models(facts, words, show)]),
        Section(
            words["requests_heading"],
            [
                _requests(analysis.top(runs, "execution_time"), words["slowest"], words, show),
                _requests(analysis.top(runs, "gap"), words["largest_gap"], words, show),
            ],
        ),
    ]


def _by_size(facts: _Facts, column: str, scale: float, labels: Mapping[int, str]) -> "dict[str, pd.Series[Any]]":
    """The values of successful runs of each size, by its label, the smallest first."""
    good = facts.runs["success"]
    groups = dict(list((facts.runs.loc[good, column] * scale).groupby(facts.sizes[good])))
    return {labels[int(size)]: groups[size] for size in sorted(groups)}


def _marks(facts: _Facts) -> figures.Marks:
    spans = [
        (max(alert.began, facts.start), min(alert.ended or facts.end, facts.end), alert.is_critical)
        for alert in facts.alerts
    ]
    buckets: dict[str, list[datetime]] = {}
    for each in facts.far_buckets:
        buckets.setdefault(each.metric, []).append(each.moment)
    runs = [each.moment for each in facts.far_runs if each.metric == "gap"]
    return figures.Marks(spans, buckets, runs)


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


def _thresholds(facts: _Facts, words: Words, show: Formatter) -> Table:
    def check(
        label: str, limit: float, actual: float | None, text: Callable[[float | None], str], state: str
    ) -> list[Cell]:
        return [label, text(limit), text(actual), State(words[state], state)]

    def state(actual: float | None, limit: float, *, at_most: bool) -> str:
        if actual is None:
            return "unknown"
        return "ok" if (actual <= limit if at_most else actual >= limit) else "crossed"

    now, limits = facts.now, facts.thresholds
    rows = [
        check(words[name], limits[name], actual, text, state(actual, limits[name], at_most=at_most))
        for name, actual, text, at_most in (
            ("max_makespan", now.makespan_h, show.hours, True),
            ("max_execution_time", now.p99_s, show.seconds, True),
            ("min_success_rate", now.success_rate, show.percent, False),
        )
    ]
    labels = analysis.size_labels(facts.gap_thresholds)
    for size, (mean, count) in facts.gaps.items():
        if size == FOR_EVER:
            continue
        limit, name = facts.gap_thresholds[size], words["max_gap"].format(labels[size])
        # The limits were measured on means: a mean of a few runs is beyond them by chance.
        found = "few" if count < GAP_RUNS else state(mean, limit, at_most=True)
        rows.append(check(name, limit, mean, show.percent, found))
    columns = [
        Column(words["metric_heading"], 3.0, is_text=True),
        *(Column(words[name]) for name in ("threshold", "actual", "state")),
    ]
    return Table(words["thresholds"], columns, rows, words["no_data"])


def _alerts(facts: _Facts, words: Words, show: Formatter) -> Table:
    columns = [
        Column(words["severity"], 0.8, is_text=True),
        Column(words["alert"], 4.2, is_text=True),
        Column(words["began"], 1.7, is_text=True),
        Column(words["ended"], 1.7, is_text=True),
        Column(words["value"]),
        Column(words["threshold"]),
    ]
    latest = facts.alerts[-ALERTS_LISTED:]
    rows: list[list[Cell]] = [
        [
            State(words["critical"], "crossed") if alert.is_critical else State(words["warning"], "warned"),
            f"{show.name(alert.message, 160)} ({show.name(alert.name)})",
            show.moment(alert.began),
            words["goes_on"] if alert.ended is None else show.moment(alert.ended),
            show.plain(alert.value),
            show.plain(alert.threshold),
        ]
        for alert in latest
    ]
    return Table(
        words["alerts_of_period"], columns, rows, words["no_alerts"], _left_out(facts.alerts, len(latest), words)
    )


def _left_out(items: Sequence[object], shown: int, words: Words) -> str:
    return words["left_out"].format(len(items) - shown) if len(items) > shown else ""


def _anomalies(facts: _Facts, words: Words, show: Formatter) -> Table:
    columns = [
        Column(words["time"], 1.6, is_text=True),
        Column(words["request_or_spell"], 1.9, is_text=True),
        Column(words["model"], 1.9, is_text=True),
        Column(words["workpoints"], 0.7),
        Column(words["reason_heading"], 4.6, is_text=True),
    ]

    def reason(each: RunAnomaly | BucketAnomaly, key: str) -> str:
        text = {"gap": show.percent, "execution_time": show.seconds, "makespan": show.hours}[each.metric]
        score = f"{each.score:.1f}".replace("-", "−")
        return words[f"{key}_{each.metric}"].format(text(each.value), text(each.usual), score)

    rows: list[list[Cell]] = [
        [show.moment(each.moment), words["spell"].format(each.runs), "", "", reason(each, "far_bucket")]
        for each in facts.far_buckets[:BUCKETS_LISTED]
    ]
    rows += [
        [
            show.moment(each.moment),
            show.name(each.request_id, 40),
            show.name(each.model),
            show.count(each.n_workpoints),
            reason(each, "far_run"),
        ]
        for each in facts.far_runs[:RUNS_LISTED]
    ]
    note = _left_out([*facts.far_buckets, *facts.far_runs], len(rows), words) + words["anomalies_note"]
    return Table(words["anomalies_of_period"], columns, rows, words["no_anomalies"], note)


def _models(facts: _Facts, words: Words, show: Formatter) -> Table:
    names = ("requests", "success_rate", "makespan", "gap", "p50", "p99", "utilization", "satisfaction")
    columns = [Column(words["model"], 2.4, is_text=True), *(Column(words[name]) for name in names)]
    models = analysis.by_model(facts.runs)
    rows: list[list[Cell]] = [
        [
            show.name(row.model),
            show.count(row.figures.requests),
            show.percent(row.figures.success_rate),
            show.hours(row.figures.makespan_h),
            show.percent(row.figures.gap),
            show.seconds(row.figures.p50_s),
            show.seconds(row.figures.p99_s),
            show.percent(row.figures.utilization),
            show.plain(row.figures.satisfaction),
        ]
        for row in models[:MODELS_LISTED]
    ]
    return Table(words["models_of_period"], columns, rows, words["no_data"], _left_out(models, len(rows), words))


def _requests(runs: Sequence[Mapping[str, Any]], title: str, words: Words, show: Formatter) -> Table:
    columns = [
        Column(words["time"], 1.7, is_text=True),
        Column(words["request_id"], 2.4, is_text=True),
        Column(words["model"], 2.4, is_text=True),
        *(Column(words[name]) for name in ("workpoints", "compute_time", "makespan_short", "gap_short")),
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
    return Table(title, columns, rows, words["no_data"])


def _findings(facts: _Facts, words: Words, show: Formatter) -> list[str]:
    """What follows from the figures, the most urgent first; at least one sentence."""
    runs, now, then, thresholds, teams = facts.runs, facts.now, facts.then, facts.thresholds, facts.teams
    if runs.empty:
        return [words["find_no_runs"], *_alert_finding(facts, words)]
    found = []
    good = runs[runs["success"]]
    if now.success_rate is not None and now.success_rate < thresholds["min_success_rate"]:
        reason, times = facts.reasons[0]
        limit = show.percent(thresholds["min_success_rate"])
        found.append(words["find_success"].format(show.percent(now.success_rate), limit, show.name(reason, 80), times))
    if now.makespan_h is not None and now.makespan_h > thresholds["max_makespan"]:
        share = float((good["makespan"] > thresholds["max_makespan"]).mean())
        limit = show.hours(thresholds["max_makespan"])
        found.append(words["find_makespan"].format(show.hours(now.makespan_h), limit, show.percent(share)))
    if now.p99_s is not None and now.p99_s > thresholds["max_execution_time"]:
        found.append(words["find_time"].format(show.seconds(now.p99_s), show.seconds(thresholds["max_execution_time"])))
    found += _gap_finding(facts, words, show)
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
    found = found or [words["find_fine"]]
    return [*_alert_finding(facts, words), *found, *_anomaly_finding(facts, words, show)]


def _gap_finding(facts: _Facts, words: Words, show: Formatter) -> list[str]:
    """The sizes whose mean gap is beyond its threshold."""
    labels = analysis.size_labels(facts.gap_thresholds)
    beyond = [
        words["size_beyond"].format(labels[size], show.percent(mean), show.percent(limit))
        for size, (mean, count) in facts.gaps.items()
        if count >= GAP_RUNS and (limit := facts.gap_thresholds.get(size)) is not None and mean > limit
    ]
    return [words["find_gap"].format(words["list_separator"].join(beyond))] if beyond else []


def _alert_finding(facts: _Facts, words: Words) -> list[str]:
    if not facts.alerts:
        return []
    critical = sum(alert.is_critical for alert in facts.alerts)
    unended = sum(alert.ended is None for alert in facts.alerts)
    return [words["find_alerts"].format(len(facts.alerts), critical, unended)]


def _anomaly_finding(facts: _Facts, words: Words, show: Formatter) -> list[str]:
    found = []
    if facts.far_runs:
        metrics = [each.metric for each in facts.far_runs]
        text = words["find_anomalous_runs"]
        found.append(text.format(show.count(metrics.count("gap")), show.count(metrics.count("execution_time"))))
    if facts.far_buckets:
        found.append(words["find_anomalous_buckets"].format(len({each.moment for each in facts.far_buckets})))
    return found


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
