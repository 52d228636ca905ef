"""What the performance report is told from: the runs of a period, and all figures of them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from scheduler_service.alerts.about import is_gap_judged
from scheduler_service.alerts.about import sizes as sizes_of
from scheduler_service.alerts.episodes import Episode
from scheduler_service.alerts.rules import measured
from scheduler_service.alerts.texts import RULES, Lang
from scheduler_service.reporting import analysis
from scheduler_service.reporting.analysis import Headline
from scheduler_service.reporting.anomalies import BucketAnomaly, RunAnomaly, anomalous_buckets, anomalous_runs
from scheduler_service.reporting.page import local_zone

if TYPE_CHECKING:
    import pandas as pd


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
    def of(cls, episode: Episode, lang: Lang) -> "AlertRow":
        """The episode in a language; a reason that came with it stays in the one it was told in."""
        told, _ = RULES[lang].get(episode.name, ("{reason}", ""))
        return cls(
            episode.name,
            episode.message if "{reason}" in told else told.format(subject=episode.subject),
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
class Facts:
    """All that the report is told from."""

    runs: "pd.DataFrame"  # times in the local zone
    now: Headline
    then: Headline
    start: datetime  # local time, as `end`
    end: datetime
    thresholds: Mapping[str, float]
    gap_thresholds: Mapping[int, float]
    sizes: "pd.Series[Any]"  # of each run, as `analysis.sizes`
    measured: Mapping[str, float | None]  # what is held against `thresholds`, as `rules.measured`
    gaps: Mapping[int, tuple[float, int]]  # by size: mean of the successful runs that are judged, and their number
    gap_change: tuple[float, float] | None  # mean gap of runs of the same sizes, before and now
    buckets: "pd.DataFrame"  # as `analysis.over_time`
    reasons: Sequence[tuple[str, int]]
    teams: Mapping[str, float]
    far_runs: Sequence[RunAnomaly]
    far_buckets: Sequence[BucketAnomaly]
    alerts: Sequence[AlertRow]


def gather(
    runs: "pd.DataFrame",
    before: "pd.DataFrame",
    start: datetime,
    end: datetime,
    thresholds: Mapping[str, float],
    gap_thresholds: Mapping[int, float],
    alerts: Sequence[AlertRow],
    said_gaps: Iterable[int] = (),
) -> Facts:
    """The facts of `runs`; arguments as `performance.performance_report` has them."""
    zone = local_zone(end)
    runs = runs.assign(timestamp=runs["timestamp"].dt.tz_convert(zone))
    start, end = start.astimezone(zone), end.astimezone(zone)
    sizes = sizes_of(runs, gap_thresholds)
    judged = runs[runs["success"] & is_gap_judged(runs, gap_thresholds, said_gaps)]
    gaps = judged["gap"].groupby(sizes[judged.index]).agg(["mean", "count"]).dropna()
    return Facts(
        runs=runs,
        now=analysis.headline(runs),
        then=analysis.headline(before),
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
        far_runs=anomalous_runs(runs, gap_thresholds),
        far_buckets=anomalous_buckets(runs, start, end),
        alerts=sorted(alerts, key=lambda alert: alert.began),
    )
