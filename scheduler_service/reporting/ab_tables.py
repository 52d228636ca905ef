"""The tables of the A/B report."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from scheduler_service.experiments.examination import Examination
from scheduler_service.experiments.sizes import SizeClass, breakdowns
from scheduler_service.reporting.content import Badge, Cell, Column, Table
from scheduler_service.reporting.formatting import Formatter, letter, minus
from scheduler_service.reporting.timeline import Event
from scheduler_service.reporting.verdict_writer import VerdictWriter
from scheduler_service.stats.arms import BASELINE, FAILED_RATIO
from scheduler_service.stats.breaker import BREAKER
from scheduler_service.stats.comparison import ArmComparison
from scheduler_service.stats.guardrails import QUANTILE, Guardrail
from scheduler_service.stats.metrics import METRICS
from scheduler_service.words import SENTENCE_MARKS, Message

if TYPE_CHECKING:
    import pandas as pd

ARMS = "experiments.arms"
ARM = f"{ARMS}.arm"
MARKS = {"kept": "✓", "breached": "×", "undecided": "○"}
STATES = {"kept": "ok", "breached": "crossed", "undecided": "unknown"}
"""State of a guardrail -> tone of its badge."""


def _comparisons(examined: Examination) -> dict[str, ArmComparison]:
    """Arm -> the comparison that knows its figures."""
    return {BASELINE: examined.latest} | dict(examined.comparisons)


def arms_table(examined: Examination, show: Formatter) -> Table:
    """The arms with their users, shares and means."""
    experiment, comparisons = examined.experiment, _comparisons(examined)
    metric, configured = examined.latest.metric.name, experiment.traffic_split or {}
    total = sum(comparison.users[arm] for arm, comparison in comparisons.items())
    rows: list[list[Cell]] = [
        [
            letter(arm),
            show.name(experiment.models.get(arm)),
            show.percent(configured.get(arm)),
            show.count(comparison.users[arm]),
            show.percent(comparison.users[arm] / total if total else None),
            show.count(comparison.total_requests[arm]),
            show.percent(comparison.average_metrics[arm]["success"].mean),
            show.of_metric(metric, comparison.user_means[arm].mean),
        ]
        for arm, comparison in comparisons.items()
    ]
    keys = [(ARM, 0.5), ("model", 2.2), ("asked_share", 1.0), (f"{ARMS}.users", 0.8), (f"{ARMS}.actual", 1.0)]
    columns = show.columns(*keys, (f"{ARMS}.requests", 0.8), (f"{ARMS}.success", 0.9), texts=(ARM, "model"))
    mean = Column(show.label(Message("experiments.arms.mean", {"metric": metric})), 1.6)
    return Table("", [*columns, mean], rows)


def guardrails_table(examined: Examination, show: Formatter) -> Table:
    """The guardrails of each candidate."""
    rows = [_guardrail(check, arm, show) for arm, checks in examined.guardrails.items() for check in checks]
    guard = "experiments.guard"
    keys = [(ARM, 0.5), (f"{guard}.name", 3.4), ("harm", 1.0), ("harm_bounds", 1.8), (f"{guard}.allowed", 0.9)]
    columns = show.columns(*keys, ("state", 1.0), texts=(ARM, f"{guard}.name"))
    return Table("", columns, rows, show.text(f"{guard}.none"), show.text("guardrails.note", ratio=FAILED_RATIO))


def _guardrail(check: Guardrail, arm: str, show: Formatter) -> list[Cell]:
    """A row; for the compute time, the share of slow requests and not its excess over 5 %."""
    is_slow = check.margin_unit == "share_of_baseline_percentile"
    is_points = check.unit == "share_of_requests" and not is_slow and check.name != BREAKER

    def text(value: float | None) -> str:
        if value is None:
            return show.none
        if is_slow:
            return show.fine_percent(min(1.0, max(0.0, value + 1.0 - QUANTILE)))
        if check.name == BREAKER:
            return show.percent(value)
        return show.signed_percent(value).removesuffix(" %" if is_points else "")

    allowed = f"{100.0 * (1.0 - QUANTILE if is_slow else check.margin):.3g}" + ("" if is_points else " %")
    bounds = show.none
    if check.low is not None:
        bounds = show.text("experiments.plot.range", low=text(check.low), high=text(check.high))
    return [
        letter(arm),
        show.label(check.label),
        text(check.harm),
        bounds,
        f"≤ {allowed}",
        Badge(f"{MARKS[check.state]} {show.term('guardrail_state', check.state)}", STATES[check.state]),
    ]


def events_table(events: Sequence[Event], show: Formatter) -> Table:
    """The events of the experiment."""
    keys = [("number", 0.5), ("time", 1.7), ("event", 1.2), ("actor", 1.1), ("after", 0.9), ("reason", 3.6)]
    rows: list[list[Cell]] = [
        [str(number), show.moment(event.time), event.label, event.actor, show.percent(event.share), event.reason]
        for number, event in enumerate(events, start=1)
    ]
    return Table("", show.columns(*keys, texts=("time", "event", "actor", "reason")), rows)


def sizes_table(
    examined: Examination, runs: "pd.DataFrame", pairs: "pd.DataFrame | None", writer: VerdictWriter, show: Formatter
) -> Table:
    """The effect by size of plant, for every candidate."""
    found = breakdowns(examined, runs, pairs)
    rows = [_size(each, arm, writer, show) for arm, of_arm in found.items() for each in of_arm.classes]
    first = next(iter(found.values()))
    note = show.text("experiments.sizes.note", level=first.level)
    if first.unknown:
        note += SENTENCE_MARKS[show.lang] + show.text("experiments.sizes.unknown", count=first.unknown)
    keys = [(ARM, 0.5), ("workpoints", 1.0), ("sizes_improvement", 1.1), ("sizes_interval", 2.0)]
    more = [("sizes_change", 1.8), ("sizes_users", 1.2), ("sizes_samples", 1.5)]
    return Table("", show.columns(*keys, *more, texts=(ARM, "workpoints")), rows, note=note)


def _size(each: SizeClass, arm: str, writer: VerdictWriter, show: Formatter) -> list[Cell]:
    figures = each.finding.to_dict()
    bounds, change = figures["interval_percentage"], figures["change"]
    interval, difference = show.text("experiments.sizes.none"), show.none
    if bounds is not None:
        low, high = (show.signed_percent(bound / 100.0) for bound in bounds)
        interval = show.text("experiments.plot.range", low=low, high=high)
    elif each.reason is not None and any(each.finding.samples.values()):
        interval = writer.why_no_bounds(each.reason)
    if change is not None:
        low, high = (f"{end:+.2f}" for end in change)
        text = show.text("experiments.plot.range", low=low, high=high)
        difference = minus(f"{text} {show.term('unit', figures['unit'])}")
    size = str(each.low) if each.low == each.high else f"{each.low}–{each.high}"
    return [
        letter(arm),
        show.text("experiments.sizes.class_more", **{"from": each.low}) if each.high is None else size,
        show.none if bounds is None else show.signed_percent(figures["improvement_percentage"] / 100.0),
        interval,
        difference,
        " / ".join(map(show.count, each.finding.users.values())),
        " / ".join(map(show.count, each.finding.samples.values())),
    ]


def secondary_table(examined: Examination, show: Formatter) -> Table:
    """The metrics that the experiment is not judged by."""
    rows = [
        _secondary(letter(arm), name, found, show)
        for arm, metrics in examined.secondary.items()
        for name, found in metrics.items()
    ]
    of = "experiments.secondary"
    keys = [(ARM, 0.5), (f"{of}.metric", 2.2), (f"{of}.improvement", 1.0), ("p_value", 0.9), (f"{of}.p", 0.9)]
    columns = show.columns(*keys, (f"{of}.verdict", 2.6), texts=(ARM, f"{of}.metric", f"{of}.verdict"))
    return Table("", columns, rows, note=show.text(f"{of}.note"))


def _secondary(arm: str, name: str, found: Mapping[str, Any], show: Formatter) -> list[Cell]:
    improvement = found["improvement_percentage"]
    p_values = (found["p_value"], found["p_value_holm"])
    if found["reason"] is not None:
        text = found["reason"]["text"]
        verdict = show.text(text["code"], **text["params"])
    else:
        verdict = show.text(f"experiments.secondary.{'' if found['is_significant'] else 'not_'}significant")
    return [
        arm,
        show.label(name),
        show.none if improvement is None else show.signed_percent(improvement / 100.0),
        *(show.none if p is None else show.p_value(p)[2:].removeprefix("= ") for p in p_values),
        verdict,
    ]


def metrics_table(examined: Examination, labels: Mapping[str, str], show: Formatter) -> Table:
    """Mean, spread and extremes of every metric in every arm, over requests."""
    comparisons, rows = _comparisons(examined), list[list[Cell]]()
    for name in examined.latest.average_metrics[BASELINE]:
        # Figures of the compute time come with their unit.
        label = show.label(name) if METRICS[name].unit == "s" else show.axis(name)
        for arm, comparison in comparisons.items():
            figures = comparison.average_metrics[arm][name]
            values = (figures.mean, figures.std, figures.min, figures.max)
            texts = (show.of_metric(name, value) for value in values)
            rows.append([label if arm == BASELINE else "", show.name(labels[arm]), show.count(figures.count), *texts])
    keys = [("metric_heading", 2.2), (ARM, 2.2), ("count", 0.8), ("mean", 0.9), ("std", 0.9), ("min", 0.9)]
    return Table("", show.columns(*keys, ("max", 0.9), texts=("metric_heading", ARM)), rows)
