"""The A/B report: which model is better, with what certainty, the next step, and the evidence."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from scheduler_service.experiments.about import ABOUT
from scheduler_service.experiments.examination import Examination
from scheduler_service.experiments.experiment import Experiment
from scheduler_service.experiments.lifecycle import Status
from scheduler_service.reporting import ab_figures, figures
from scheduler_service.reporting.ab_pairs import paired_sections
from scheduler_service.reporting.ab_tables import (
    arms_table,
    events_table,
    guardrails_table,
    metrics_table,
    secondary_table,
    sizes_table,
)
from scheduler_service.reporting.content import Block, Fields, Notes, Picture, Pictures, Report, Section, Statement
from scheduler_service.reporting.evolution import effects_over_time
from scheduler_service.reporting.formatting import Formatter, first_moment, letter, local_zone
from scheduler_service.reporting.timeline import Event, last_change, timeline
from scheduler_service.reporting.verdict_writer import VerdictWriter
from scheduler_service.stats.arms import BASELINE, metric_values, rows_of_arm, totals, units
from scheduler_service.stats.metrics import Metric
from scheduler_service.stats.outcome import NotComputable
from scheduler_service.stats.srm import SRM_ALARM
from scheduler_service.words import LIST_MARKS, Lang

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, slots=True)
class _Basis:
    """The input of the sections."""

    examined: Examination
    runs: "pd.DataFrame"  # times in the local zone
    pairs: "pd.DataFrame | None"
    events: list[Event]
    labels: Mapping[str, str]  # arm -> letter and model
    period: tuple[datetime, datetime]  # of the charts
    status: Status | None  # None: the experiment is known from its runs alone
    writer: VerdictWriter
    show: Formatter

    @property
    def metric(self) -> Metric:
        return self.examined.latest.metric

    @property
    def level(self) -> str:
        """Of the bounds of one candidate, in words."""
        return self.writer.level(self.alpha)

    @property
    def alpha(self) -> float:
        """Chance of an error for one candidate."""
        experiment = self.examined.experiment
        return experiment.alpha / len(experiment.candidates)


def ab_test_report(
    examined: Examination,
    runs: "pd.DataFrame",
    pairs: "pd.DataFrame | None",
    history: Iterable[Mapping[str, Any]],
    start: datetime,
    end: datetime,
    lang: Lang,
    *,
    is_configured: bool = True,
) -> Report:
    """The report on an experiment from `start`, or its first run after it, to `end`.

    Args:
        examined: of exactly these `runs` and `pairs`, at `end`.
        runs, pairs: as `experiments.examination.examine` takes them; may be empty.
        history: lines of `experiments.history`, of this experiment, oldest first.
        is_configured: false when the experiment is known from its runs alone.
    """
    zone = local_zone(end)
    show = Formatter(lang, zone)
    experiment = examined.experiment
    runs = runs.assign(timestamp=runs["timestamp"].dt.tz_convert(zone))
    events = timeline(experiment, history, end, show)
    status = experiment.status_at(end) if is_configured else None
    begin = first_moment(runs, start.astimezone(zone), end)
    basis = _Basis(
        examined=examined,
        runs=runs,
        pairs=pairs,
        events=events,
        labels={arm: _label(arm, experiment.models.get(arm), show) for arm in (BASELINE, *experiment.candidates)},
        period=(begin, end if status == "active" else _last_moment(runs, events, begin, end)),
        status=status,
        writer=VerdictWriter(examined, show),
        show=show,
    )
    return Report(
        title=show.text("ab_title"),
        lang=lang,
        period=show.period(begin, end),
        moment=end,
        sections=[Section("", _verdicts(basis, start, end)), *_sections(basis)],
    )


def _label(arm: str, model: str | None, show: Formatter) -> str:
    return f"{letter(arm)} · {show.name(model)}" if model else show.text("arm_named", arm=letter(arm))


def _last_moment(runs: "pd.DataFrame", events: list[Event], begin: datetime, end: datetime) -> datetime:
    """The end of the charts of an experiment that is over: slightly after its last run or event."""
    moments = [event.time for event in events if begin <= event.time <= end]
    if len(runs):
        moments.append(runs["timestamp"].max().to_pydatetime())
    last = max(moments, default=end)
    return min(end, last + max(timedelta(minutes=1), 0.03 * (last - begin)))


def _verdicts(basis: _Basis, start: datetime, end: datetime) -> list[Block]:
    """The first section: the description of the experiment, and the verdict on each candidate."""
    experiment, show, is_empty = basis.examined.experiment, basis.show, basis.runs.empty
    blocks: list[Block] = []
    if experiment.title or experiment.hypothesis:
        rest = [each for each in _about(experiment) if each[0] != "experiments.said.title"]
        notes = [f"{show.text(key)}{show.text('colon')}{text}" for key, text in rest]
        blocks.append(Statement("", experiment.title or show.name(experiment.name), notes=notes))
    if is_empty:
        blocks.append(Statement(show.text("ab_no_data")))
    else:
        blocks += [_verdict(basis, arm, end) for arm in experiment.candidates]
    notes = []
    if basis.status is not None and experiment.start_time < start:
        days = (end - experiment.start_time) // timedelta(days=1) + 1
        notes.append(show.text("ab_cut_off", start=show.moment(experiment.start_time), days=show.count(days)))
    if not is_empty:
        notes.append(show.text("ab_anytime", alpha=experiment.alpha))
        if len(experiment.candidates) > 1:
            notes.append(show.text("ab_shared_error", count=len(experiment.candidates), level=basis.level))
    return [*blocks, Notes(notes)]


def _about(experiment: Experiment) -> list[tuple[str, str]]:
    """(key of the label, text) of the descriptions that users wrote."""
    return [(f"experiments.said.{name}", text) for name in ABOUT if (text := getattr(experiment, name))]


def _verdict(basis: _Basis, arm: str, end: datetime) -> Statement:
    examined, writer = basis.examined, basis.writer
    experiment, found = examined.experiment, examined.judged(arm)
    days_planned = (experiment.end_time - end) / timedelta(days=1)
    raw = writer.raw_means(arm)
    return Statement(
        heading=basis.show.text("versus", candidate=basis.labels[arm], baseline=basis.labels[BASELINE]),
        badge=writer.badge(found),
        text=writer.sentence(found),
        warning=writer.contradiction(examined.contradiction(arm)),
        advice=writer.next_step(found, basis.status or "concluded", last_change(basis.events), days_planned),
        cards=writer.cards(found, is_running=basis.status == "active" and arm not in experiment.stopped_arms),
        notes=[raw] if raw else [],
    )


def _sections(basis: _Basis) -> list[Section]:
    examined, show, has_runs = basis.examined, basis.show, not basis.runs.empty
    sections = [
        Section(
            show.text("experiments.arms.heading"), [arms_table(examined, show), _split_check(basis), _settings(basis)]
        ),
        Section(show.text("experiments.guard.heading"), [guardrails_table(examined, show)]),
    ]
    evidence = _evidence(basis)
    if evidence:
        sections.append(Section(show.text("evidence"), evidence))
    if has_runs:
        table = sizes_table(examined, basis.runs, basis.pairs, basis.writer, show)
        sections.append(Section(show.text("experiments.sizes.heading"), [table]))
    if basis.pairs is not None:
        sections += paired_sections(examined, basis.pairs, basis.writer, show, basis.period)
    if has_runs:
        if examined.secondary:
            sections.append(Section(show.text("experiments.secondary.heading"), [secondary_table(examined, show)]))
        sections.append(Section(show.text("metrics_table"), [metrics_table(examined, basis.labels, show)]))
    return sections


def _split_check(basis: _Basis) -> Statement:
    """Whether the users are split as configured."""
    comparison, show = basis.examined.latest, basis.show
    mark = "○" if isinstance(comparison.srm_p, NotComputable) else "×" if comparison.has_ratio_mismatch else "✓"
    text, note = f"{mark} {show.say(comparison.split_message)}", show.text("split.note", limit=SRM_ALARM)
    return Statement(text, notes=[note], tone="warning" if mark == "×" else "")


def _settings(basis: _Basis) -> Block:
    experiment, show = basis.examined.experiment, basis.show
    if basis.status is None:
        name = show.text("experiment") + show.text("colon") + show.name(experiment.name)
        return Notes([f"{name} · {show.text('not_configured')}"])
    end = show.text("experiments.settings.open_ended") if experiment.is_open_ended else show.moment(experiment.end_time)
    fields = [
        ("experiment", show.name(experiment.name)),
        *_about(experiment),
        ("status", show.term("experiment_status", basis.status)),
        ("experiments.settings.metric", show.axis(experiment.success_metric)),
        ("experiments.settings.began", show.moment(experiment.start_time)),
        ("experiments.settings.ends", end),
        ("experiments.settings.coverage", show.percent(experiment.present_coverage)),
        ("experiments.settings.margin", f"{100.0 * experiment.margin:g} %"),
        ("experiments.settings.alpha", f"{100.0 * experiment.alpha:g} %"),
    ]
    if experiment.stopped_arms:
        stopped = (f"{letter(arm)} ({show.moment(since)})" for arm, since in experiment.stopped_arms.items())
        fields.append(("experiments.settings.stopped_arms", LIST_MARKS[show.lang].join(stopped)))
    if experiment.shadow > 0.0:
        fields.append(("experiments.settings.shadow", show.percent(experiment.shadow)))
    if experiment.rollout is not None:
        fields.append(("stages", " → ".join(f"{100.0 * stage:g} %" for stage in experiment.rollout.stages)))
    return Fields(show.text("experiments.settings.heading"), [(show.text(key), value) for key, value in fields])


def _evidence(basis: _Basis) -> list[Block]:
    """The development of the improvement and of the candidate's share, and the distributions by arm."""
    show, blocks = basis.show, list[Block]()
    if not basis.runs.empty:
        blocks.append(Pictures([_sequence(basis)]))
    if basis.events:
        drawn = ab_figures.ramp(basis.events, show.words, basis.period)
        blocks += [Pictures([Picture(show.text("ramp"), drawn)]), events_table(basis.events, show)]
    if not basis.runs.empty:
        blocks.append(_distributions(basis))
    return blocks


def _sequence(basis: _Basis) -> Picture:
    experiment, show, labels = basis.examined.experiment, basis.show, basis.labels
    split, ends = experiment.traffic_split, experiment.stopped_arms
    frames = effects_over_time(basis.runs, basis.metric, experiment.candidates, basis.alpha, split, ends)
    pairs = zip(basis.events, basis.events[1:], strict=False)
    drawn = ab_figures.sequences(
        {labels[arm]: frame for arm, frame in frames.items()},
        experiment.margin,
        [(event.time, event.label) for before, event in pairs if event.share != before.share],
        show.words,
        basis.period,
        {labels[arm]: basis.writer.why_no_bounds(each.effect) for arm, each in basis.examined.verdicts.items()},
    )
    note = show.text("sequence_note", margin=f"−{100.0 * experiment.margin:g} %")
    return Picture(show.text("sequence", level=basis.level), drawn, note)


def _distributions(basis: _Basis) -> Pictures:
    """Boxes of the users' means and of the requests, by arm."""
    import numpy as np
    import pandas as pd

    show, metric, by_user, by_request = basis.show, basis.metric, {}, {}
    for arm, label in basis.labels.items():
        rows = rows_of_arm(basis.runs, arm)
        values = metric_values(rows, metric)
        by_request[label] = pd.Series(dtype="float64") if values is None else values
        of_users = totals(by_request[label], units(rows) if values is not None else np.empty(0, np.int64))
        by_user[label] = pd.Series(of_users.sums / of_users.counts)
    axis, is_share = show.axis(metric.name), metric.unit == "share"
    return Pictures(
        [
            Picture(show.text(title), figures.boxes(values, axis, show.words, is_share=is_share))
            for title, values in (("user_means_by_arm", by_user), ("distribution_by_arm", by_request))
        ]
    )
