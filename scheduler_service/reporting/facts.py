"""The input of the performance report: the runs of a period, and all figures computed from them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from scheduler_service.alerts.about import is_gap_judged
from scheduler_service.alerts.about import sizes as sizes_of
from scheduler_service.alerts.episodes import Episode
from scheduler_service.alerts.rules import measured
from scheduler_service.alerts.wording import stored_message
from scheduler_service.reporting import analysis
from scheduler_service.reporting.analysis import Headline
from scheduler_service.reporting.anomalies import Anomaly, anomalous_buckets, anomalous_runs
from scheduler_service.reporting.formatting import first_moment, local_zone
from scheduler_service.words import Lang

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, slots=True)
class AlertRow:
    """An alert that was active in the period."""

    name: str
    message: str
    severity: str
    began: datetime
    ended: datetime | None  # None: ongoing
    value: float | None
    threshold: float | None

    @classmethod
    def of(cls, episode: Episode, lang: Lang) -> "AlertRow":
        """The episode in a language; a reason that was recorded as text keeps its language."""
        text = episode.message
        if episode.params is not None:
            text = stored_message(episode.name, episode.params, lang, text)
        figures = (episode.began, episode.ended, episode.value, episode.threshold)
        return cls(episode.name, text, episode.severity, *figures)

    @property
    def is_critical(self) -> bool:
        return self.severity == "critical"


@dataclass(frozen=True, slots=True)
class Facts:
    """All figures of the report."""

    runs: "pd.DataFrame"  # times in the local zone
    now: Headline
    before: Headline
    start: datetime  # the first run, if that is later than the start of the period; local time, as `end`
    end: datetime
    thresholds: Mapping[str, float]
    gap_thresholds: Mapping[int, float]
    sizes: "pd.Series[Any]"  # of each run, as `analysis.sizes`
    measured: Mapping[str, float | None]  # the values compared with `thresholds`, from `rules.measured`
    gaps: Mapping[int, tuple[float, int]]  # size -> (mean, number) of the successful runs to which thresholds apply
    gap_change: tuple[float, float] | None  # mean gap of runs of the same sizes, before and now
    buckets: "pd.DataFrame"  # as `analysis.over_time`
    reasons: Sequence[tuple[str, int]]
    teams: Mapping[str, float]
    run_anomalies: Sequence[Anomaly]
    bucket_anomalies: Sequence[Anomaly]
    alerts: Sequence[AlertRow]

    @property
    def good(self) -> "pd.DataFrame":
        """The successful runs."""
        return self.runs[self.runs["success"]]

    @property
    def chart_period(self) -> tuple[datetime, datetime]:
        """The range of time axes. It begins with the first bucket, so that this is shown as a whole."""
        first = [self.buckets.index[0].to_pydatetime()] if len(self.buckets) else []
        return min([self.start, *first]), self.end


def gather(
    runs: "pd.DataFrame",
    before: "pd.DataFrame",
    start: datetime,
    end: datetime,
    thresholds: Mapping[str, float],
    gap_thresholds: Mapping[int, float],
    alerts: Sequence[AlertRow],
    custom_gaps: Iterable[int] = (),
) -> Facts:
    """The facts of `runs`; arguments as `performance.performance_report` has them."""
    zone = local_zone(end)
    runs = runs.assign(timestamp=runs["timestamp"].dt.tz_convert(zone))
    end = end.astimezone(zone)
    start = first_moment(runs, start.astimezone(zone), end)
    sizes = sizes_of(runs, gap_thresholds)
    judged = runs[runs["success"] & is_gap_judged(runs, gap_thresholds, custom_gaps)]
    gaps = judged["gap"].groupby(sizes[judged.index]).agg(["mean", "count"]).dropna()
    return Facts(
        runs=runs,
        now=analysis.headline(runs),
        before=analysis.headline(before),
        start=start,
        end=end,
        thresholds=thresholds,
        gap_thresholds=gap_thresholds,
        sizes=sizes,
        measured=measured(runs),
        gap_change=analysis.gap_change(before, runs),
        gaps={int(str(size)): (float(row["mean"]), int(row["count"])) for size, row in gaps.iterrows()},
        buckets=analysis.over_time(runs, start, end),
        reasons=analysis.failure_reasons(runs),
        teams=analysis.team_utilization(runs),
        run_anomalies=anomalous_runs(runs, gap_thresholds),
        bucket_anomalies=anomalous_buckets(runs, start, end),
        alerts=sorted(alerts, key=lambda alert: alert.began),
    )
