"""The A/B report: which model is better, how sure that is, what to do now, and the evidence."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from scheduler_service.experiments.about import ABOUT
from scheduler_service.experiments.examination import Examination
from scheduler_service.experiments.sizes import breakdowns
from scheduler_service.reporting import ab_figures, figures, timeline
from scheduler_service.reporting.content import Card
from scheduler_service.reporting.evolution import effects_over_time
from scheduler_service.reporting.page import Formatter, local_zone, render
from scheduler_service.reporting.paired import PairedSection, paired_sections
from scheduler_service.reporting.sizes import size_section
from scheduler_service.reporting.standing import SYMBOLS, Teller, letter, standing_of
from scheduler_service.reporting.texts import TEXTS, Lang
from scheduler_service.stats.arms import FAILED_RATIO, metric_values, rows_of_arm, totals, units
from scheduler_service.stats.breaker import BREAKER
from scheduler_service.stats.comparison import BASELINE
from scheduler_service.stats.guardrails import QUANTILE, UNNOTICED_S, Guardrail
from scheduler_service.stats.metrics import Metric
from scheduler_service.stats.outcome import NotComputable
from scheduler_service.stats.srm import MIN_EXPECTED, SRM_ALARM
from scheduler_service.stats.summaries import Summary

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

SHARES = ("gap", "resource_utilization", "success")
"""Metrics that are shown as percent."""

Words = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class VerdictBox:
    """What is said of one candidate."""

    heading: str
    word: str
    symbol: str
    sentence: str
    next_step: str
    cards: Sequence[Card]
    contradiction: str | None  # that the raw means have another sign
    raw_means: str | None


@dataclass(frozen=True, slots=True)
class ArmRow:
    """A line of the table of arms."""

    letter: str
    model: str | None
    asked: float | None  # share of the users taking part
    users: int
    actual: float | None
    requests: int
    success_rate: float | None
    mean: float | None  # of the success metric, over users


@dataclass(frozen=True, slots=True)
class GuardrailRow:
    """A line of the table of guardrails."""

    candidate: str
    label: str
    harm: str
    bounds: str
    allowed: str
    state: str


@dataclass(frozen=True, slots=True)
class MetricRow:
    """A line of the table of metrics."""

    label: str
    arm: str
    figures: Summary
    text: Callable[[float | None], str]  # how its figures are written


@dataclass(frozen=True, slots=True)
class SecondaryRow:
    """A line of the table of metrics that the experiment is not judged by."""

    candidate: str
    label: str
    improvement: str
    p_value: str
    adjusted: str
    verdict: str


def ab_test_page(
    examined: Examination,
    runs: "pd.DataFrame",
    pairs: "pd.DataFrame | None",
    history: Iterable[Mapping[str, object]],
    start: datetime,
    end: datetime,
    lang: Lang,
    *,
    is_configured: bool = True,
) -> str:
    """The report on an experiment from `start` to `end`, as an HTML page.

    Args:
        examined: of exactly these `runs` and `pairs`, at `end`.
        runs, pairs: as `experiments.examination.examine` takes them; may be empty.
        history: lines of `experiments.history`, of this experiment, oldest first.
        is_configured: false when the experiment is known from its runs alone.
    """
    words = TEXTS[lang]
    zone = local_zone(end)
    show = Formatter(lang, zone)
    experiment = examined.experiment
    teller = Teller(examined, words, show)
    runs = runs.assign(timestamp=runs["timestamp"].dt.tz_convert(zone))
    metric = next(iter(examined.comparisons.values())).metric
    labels = {arm: _arm_label(arm, experiment.models.get(arm), words) for arm in (BASELINE, *experiment.candidates)}
    told = timeline.timeline(experiment, history, end, words, show, lang)
    status = experiment.status_at(end) if is_configured else None
    period = _period(runs, told, start.astimezone(zone), end.astimezone(zone), is_running=status == "active")
    boxes = [
        _verdict_box(
            examined,
            arm,
            teller,
            labels,
            words,
            status=status,
            last_event=told.last_event,
            days_planned=(experiment.end_time - end) / timedelta(days=1),
        )
        for arm in experiment.candidates
    ]
    level = teller.level(experiment.alpha / len(experiment.candidates))
    charts = _distributions(runs, labels, metric, words)
    if len(runs):
        alpha = experiment.alpha / len(experiment.candidates)
        split, ends = experiment.traffic_split, experiment.stopped_arms
        frames = effects_over_time(runs, metric, experiment.candidates, alpha, split, ends)
        charts["sequence"] = ab_figures.sequences(
            {labels[arm]: frame for arm, frame in frames.items()},
            experiment.margin,
            told.stage_marks,
            words,
            period,
            {labels[arm]: teller.why_no_bounds(verdict.effect) for arm, verdict in examined.verdicts.items()},
        )
    if told.events:
        charts["ramp"] = ab_figures.ramp(told.times, told.shares, told.marks, words, period)
    return render(
        "ab_test.html",
        lang,
        title=words["ab_title"],
        period=words["period"].format(show.moment(start), show.moment(end), show.zone_name(end)),
        show=show,
        experiment=experiment,
        status=status,
        is_empty=runs.empty,
        cut_off=_cut_off(examined, start, end, words, show) if is_configured else None,
        notes=_notes(examined, words, level),
        boxes=boxes,
        about={name: getattr(experiment, name, None) for name in ABOUT},
        settings=_settings(examined, status, words, show) if is_configured else None,
        arms=_arm_rows(examined),
        raw_label=words[teller.raw_key(metric)],
        mean_label=words["user_mean"].format(words[f"metric_{metric.name}"]),
        mean_text=_texts(show).get(metric.name, show.plain),
        srm=_srm(examined, teller, words, show),
        guardrails=_guardrail_rows(examined, words, show),
        failed_ratio=FAILED_RATIO,
        secondary=_secondary_rows(examined, teller, words, show),
        rows=_metric_rows(examined, labels, words, show),
        charts={name: figures.data_uri(drawn) for name, drawn in charts.items()},
        sequence_title=words["sequence"].format(level),
        sequence_note=words["sequence_note"].format(f"−{100.0 * experiment.margin:g}%"),
        events=told.events,
        sizes=size_section(breakdowns(examined, runs, pairs), teller, words, show),
        paired=_paired(examined, pairs, teller, words, show, period),
    )


def _verdict_box(
    examined: Examination,
    arm: str,
    teller: Teller,
    labels: Mapping[str, str],
    words: Words,
    *,
    status: str | None,
    last_event: str | None,
    days_planned: float,
) -> VerdictBox:
    found = standing_of(examined, arm)
    return VerdictBox(
        heading=words["versus"].format(labels[arm], labels[BASELINE]),
        word=found.word,
        symbol=SYMBOLS[found.word],
        sentence=teller.sentence(found),
        next_step=teller.next_step(found, status or "concluded", last_event, days_planned),
        cards=teller.cards(found, is_running=status == "active" and arm not in examined.experiment.stopped_arms),
        contradiction=teller.contradiction(found, examined.contradiction(arm)),
        raw_means=teller.raw_means(examined.comparisons[arm], examined.verdicts[arm].cannot_tell),
    )


def _paired(
    examined: Examination,
    pairs: "pd.DataFrame | None",
    teller: Teller,
    words: Words,
    show: Formatter,
    period: tuple[datetime, datetime],
) -> list[PairedSection]:
    return [] if pairs is None else paired_sections(examined, pairs, teller, words, show, period)


def _period(
    runs: "pd.DataFrame", told: timeline.Timeline, start: datetime, end: datetime, *, is_running: bool
) -> tuple[datetime, datetime]:
    """What the axes of time span: the part of the report's period in which something happened."""
    seen = [moment.astimezone(start.tzinfo) for moment in told.times]
    if len(runs):
        seen += [runs["timestamp"].min().to_pydatetime(), runs["timestamp"].max().to_pydatetime()]
    seen = [moment for moment in seen if start <= moment <= end]
    if not seen:
        return start, end
    first, last = min(seen), end if is_running else max(seen)
    pad = max(timedelta(minutes=1), (last - first) * 0.03)
    return max(start, first - pad), min(end, last + pad)


def _cut_off(examined: Examination, start: datetime, end: datetime, words: Words, show: Formatter) -> str | None:
    """That the report does not reach back to the experiment's beginning; None if it does."""
    begin = examined.experiment.start_time
    if begin >= start:
        return None
    return words["ab_cut_off"].format(show.moment(begin), show.count((end - begin) // timedelta(days=1) + 1))


def _notes(examined: Examination, words: Words, level: str) -> list[str]:
    notes = [words["ab_anytime"].format(f"{100.0 * examined.experiment.alpha:g}%")]
    if len(examined.verdicts) > 1:
        notes.append(words["ab_shared_error"].format(len(examined.verdicts), level))
    return notes


def _distributions(
    runs: "pd.DataFrame", labels: Mapping[str, str], metric: Metric, words: Words
) -> "dict[str, Figure]":
    import numpy as np
    import pandas as pd

    by_request, by_user = {}, {}
    for arm, label in labels.items():
        rows = rows_of_arm(runs, arm)
        values = metric_values(rows, metric)
        by_request[label] = pd.Series(dtype="float64") if values is None else values
        of_users = totals(by_request[label], units(rows) if values is not None else np.empty(0, np.int64))
        by_user[label] = pd.Series(of_users.sums / of_users.counts)
    axis, is_share = words[f"metric_{metric.name}"], metric.name in SHARES
    return {
        "by_user": figures.boxes(by_user, axis, words, is_share=is_share),
        "by_request": figures.boxes(by_request, axis, words, is_share=is_share),
    }


def _settings(examined: Examination, status: str | None, words: Words, show: Formatter) -> list[tuple[str, str]]:
    experiment = examined.experiment
    found = [
        (words["experiment"], show.name(experiment.name)),
        *((words[f"about_{name}"], text) for name in ABOUT if (text := getattr(experiment, name)) is not None),
        (words["status"], words[f"status_{status}"]),
        (words["metric"], words[f"metric_{experiment.success_metric}"]),
        (words["begin"], show.moment(experiment.start_time)),
        (words["planned_end"], words["open_ended"] if experiment.is_open_ended else show.moment(experiment.end_time)),
        (words["coverage"], show.percent(experiment.present_coverage)),
        (words["margin"], f"{100.0 * experiment.margin:g}%"),
        (words["error"], f"{100.0 * experiment.alpha:g}%"),
    ]
    if experiment.stopped_arms:
        stopped = (f"{letter(arm)} ({show.moment(since)})" for arm, since in experiment.stopped_arms.items())
        found.append((words["stopped_arms"], words["list_separator"].join(stopped)))
    if experiment.shadow > 0.0:
        found.append((words["shadow"], show.percent(experiment.shadow)))
    if experiment.rollout is not None:
        stages = " → ".join(f"{100.0 * stage:g}%" for stage in experiment.rollout.stages)
        found.append((words["stages"], stages))
    return found


def _arm_rows(examined: Examination) -> list[ArmRow]:
    experiment, comparisons = examined.experiment, examined.comparisons
    of_arm = {BASELINE: examined.latest} | dict(comparisons)
    total = sum(comparison.users[arm] for arm, comparison in of_arm.items())
    asked = experiment.traffic_split or {}
    return [
        ArmRow(
            letter=letter(arm),
            model=experiment.models.get(arm),
            asked=asked.get(arm),
            users=comparison.users[arm],
            actual=comparison.users[arm] / total if total else None,
            requests=comparison.total_requests[arm],
            success_rate=comparison.average_metrics[arm]["success"].mean,
            mean=comparison.user_means[arm].mean,
        )
        for arm, comparison in of_arm.items()
    ]


def _srm(examined: Examination, teller: Teller, words: Words, show: Formatter) -> tuple[str, str, str]:
    """(state, what the check says, what that means)."""
    comparison = examined.latest
    note = words["srm_note"].format(f"{SRM_ALARM:g}")
    if isinstance(comparison.srm_p, NotComputable):
        reason = teller.reason(comparison.srm_p.reason, int(MIN_EXPECTED))
        return "unknown", words["srm_unknown"].format(reason), note
    p_value = show.p_value(comparison.srm_p)
    if not comparison.has_ratio_mismatch:
        return "ok", words["srm_ok"].format(p_value), note
    split = {arm: share for arm, share in (comparison.split or {}).items() if share > 0.0}
    users = " / ".join(f"{comparison.users[arm]:,}" for arm in split)
    asked = " / ".join(f"{100.0 * share:g}%" for share in split.values())
    return "bad", words["srm_bad"].format(users, asked, p_value), note


def _guardrail_rows(examined: Examination, words: Words, show: Formatter) -> list[GuardrailRow]:
    return [
        guardrail_row(check, letter(arm), words, show)
        for arm, checks in examined.guardrails.items()
        for check in checks
    ]


def guardrail_row(check: Guardrail, candidate: str, words: Words, show: Formatter) -> GuardrailRow:
    """A guardrail as it is shown; of the compute time, the share of slow requests and not its excess over 5 %.

    Of the requests whose own model failed there are no bounds.
    """
    is_time = check.name == "execution_time"

    def text(value: float | None) -> str:
        if value is None:
            return words["none"]
        if is_time:
            return f"{100.0 * min(1.0, max(0.0, value + 1.0 - QUANTILE)):.2f}%"
        if check.name == BREAKER:
            return show.percent(value)
        signed = show.signed_percent(100.0 * value)
        return signed.removesuffix("%") if check.name == "success" else signed

    allowed = f"{100.0 * (1.0 - QUANTILE if is_time else check.margin):.3g}%"
    label = words[f"guard_{check.name}"]
    return GuardrailRow(
        candidate=candidate,
        label=label.format(100.0 * check.margin, 1000.0 * UNNOTICED_S) if is_time else label,
        harm=text(check.harm),
        bounds=words["none"] if check.low is None else words["range"].format(text(check.low), text(check.high)),
        allowed="≤ " + (allowed.removesuffix("%") if check.name == "success" else allowed),
        state=check.state,
    )


def _secondary_rows(examined: Examination, teller: Teller, words: Words, show: Formatter) -> list[SecondaryRow]:
    def improvement(percentage: float | None) -> str:
        return words["none"] if percentage is None else show.signed_percent(percentage)

    def p_value(value: float | None) -> str:
        return words["none"] if value is None else show.p_value(value)[2:].removeprefix("= ")

    def verdict(found: Mapping[str, Any]) -> str:
        if found["reason"] is not None:
            return teller.reason(found["reason"]["code"], 2)
        return words["significant" if found["is_significant"] else "not_significant"]

    return [
        SecondaryRow(
            candidate=letter(arm),
            label=words[f"name_{name}"],
            improvement=improvement(found["improvement_percentage"]),
            p_value=p_value(found["p_value"]),
            adjusted=p_value(found["p_value_holm"]),
            verdict=verdict(found),
        )
        for arm, metrics in examined.secondary.items()
        for name, found in metrics.items()
    ]


def _texts(show: Formatter) -> Mapping[str, Callable[[float | None], str]]:
    return {"execution_time": show.seconds} | dict.fromkeys(SHARES, show.percent)


def _metric_rows(examined: Examination, labels: Mapping[str, str], words: Words, show: Formatter) -> list[MetricRow]:
    first = next(iter(examined.comparisons.values()))
    of_arm = {BASELINE: first} | dict(examined.comparisons)
    names = {name: words[f"metric_{name}"] for name in first.average_metrics[BASELINE]}
    names["execution_time"] = words["compute_time"]  # its figures bring their unit
    texts = _texts(show)
    return [
        MetricRow(
            names[name] if arm == BASELINE else "",
            labels[arm],
            comparison.average_metrics[arm][name],
            texts.get(name, show.plain),
        )
        for name in first.average_metrics[BASELINE]
        for arm, comparison in of_arm.items()
    ]


def _arm_label(arm: str, model: str | None, words: Words) -> str:
    return f"{letter(arm)} · {model}" if model else words["arm_named"].format(letter(arm))
