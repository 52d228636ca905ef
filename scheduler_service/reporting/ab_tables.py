"""The tables of the A/B report."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from scheduler_service.experiments.examination import Examination
from scheduler_service.experiments.sizes import Breakdown, SizeClass, breakdowns
from scheduler_service.reporting.content import Badge, Cell, Column, Table
from scheduler_service.reporting.formatting import Formatter, minus
from scheduler_service.reporting.timeline import Event
from scheduler_service.reporting.verdict_writer import VerdictWriter, letter
from scheduler_service.stats.arms import FAILED_RATIO
from scheduler_service.stats.breaker import BREAKER
from scheduler_service.stats.comparison import BASELINE, ArmComparison
from scheduler_service.stats.guardrails import QUANTILE, UNNOTICED_S, Guardrail

if TYPE_CHECKING:
    import pandas as pd

STATES = {"kept": "ok", "breached": "crossed", "undecided": "unknown"}
"""State of a guardrail -> tone of its badge."""


def columns_of(show: Formatter, *columns: tuple[str, float], texts: Sequence[str] = ()) -> list[Column]:
    """Columns by the key of their label and their width; those of `texts` are of text."""
    return [Column(show.text(key), width, is_text=key in texts) for key, width in columns]


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
    keys = [("arm", 0.5), ("model", 2.2), ("asked_share", 1.0), ("users", 0.8), ("actual_share", 1.0)]
    columns = columns_of(show, *keys, ("requests", 0.8), ("success_rate", 0.9), texts=("arm", "model"))
    mean = Column(show.text("user_mean", show.text(f"metric_{metric}")), 1.6)
    return Table("", [*columns, mean], rows)


def guardrails_table(examined: Examination, show: Formatter) -> Table:
    """The guardrails of each candidate."""
    rows = [_guardrail(check, arm, show) for arm, checks in examined.guardrails.items() for check in checks]
    keys = [("arm", 0.5), ("guardrail", 3.4), ("harm", 1.0), ("harm_bounds", 1.8), ("allowed", 0.9), ("state", 1.0)]
    columns = columns_of(show, *keys, texts=("arm", "guardrail"))
    return Table("", columns, rows, show.text("no_guardrails"), show.text("guard_note", FAILED_RATIO))


def _guardrail(check: Guardrail, arm: str, show: Formatter) -> list[Cell]:
    """A row; for the compute time, the share of slow requests and not its excess over 5 %."""
    is_time, is_points = check.name == "execution_time", check.name == "success"

    def text(value: float | None) -> str:
        if value is None:
            return show.none
        if is_time:
            return show.fine_percent(min(1.0, max(0.0, value + 1.0 - QUANTILE)))
        if check.name == BREAKER:
            return show.percent(value)
        return show.signed_percent(value).removesuffix("%" if is_points else "")

    allowed = f"{100.0 * (1.0 - QUANTILE if is_time else check.margin):.3g}" + ("" if is_points else "%")
    return [
        letter(arm),
        show.text(f"guard_{check.name}", 100.0 * check.margin, 1000.0 * UNNOTICED_S),
        text(check.harm),
        show.none if check.low is None else show.text("range", text(check.low), text(check.high)),
        f"≤ {allowed}",
        Badge(show.text(f"state_{check.state}"), STATES[check.state]),
    ]


def events_table(events: Sequence[Event], show: Formatter) -> Table:
    """What was done with the experiment."""
    keys = [("number", 0.5), ("time", 1.7), ("event", 1.2), ("actor", 1.1), ("after", 0.9), ("reason", 3.6)]
    rows: list[list[Cell]] = [
        [str(number), show.moment(event.time), event.label, event.actor, show.percent(event.share), event.reason]
        for number, event in enumerate(events, start=1)
    ]
    return Table("", columns_of(show, *keys, texts=("time", "event", "actor", "reason")), rows)


def sizes_table(
    examined: Examination, runs: "pd.DataFrame", pairs: "pd.DataFrame | None", writer: VerdictWriter, show: Formatter
) -> Table:
    """The effect by size of plant, for every candidate."""
    found = breakdowns(examined, runs, pairs)
    rows = [_size(each, arm, of_arm, writer, show) for arm, of_arm in found.items() for each in of_arm.classes]
    first = next(iter(found.values()))
    note = show.text("sizes_note", round(100.0 * first.level, 2))
    if first.unknown:
        note += show.text("sizes_unknown", show.count(first.unknown))
    keys = [("arm", 0.5), ("sizes_workpoints", 1.0), ("sizes_improvement", 1.1), ("sizes_interval", 2.0)]
    more = [("sizes_change", 1.8), ("sizes_users", 1.2), ("sizes_samples", 1.5)]
    return Table("", columns_of(show, *keys, *more, texts=("arm", "sizes_workpoints")), rows, note=note)


def _size(each: SizeClass, arm: str, found: Breakdown, writer: VerdictWriter, show: Formatter) -> list[Cell]:
    figures = each.finding.to_dict()
    bounds, change = figures["interval_percentage"], figures["change"]
    interval, difference = show.text("sizes_none"), show.none
    if bounds is not None:
        interval = show.text("range", *(show.signed_percent(bound / 100.0) for bound in bounds))
    elif each.reason is not None and any(each.finding.samples.values()):
        interval = writer.why_no_bounds(each.reason, of_pairs=found.is_of_pairs)
    if change is not None:
        unit = show.text(f"unit_{figures['unit']}")
        difference = minus(show.text("range", *(f"{end:+.2f} {unit}" for end in change)))
    size = str(each.low) if each.low == each.high else f"{each.low}–{each.high}"
    return [
        letter(arm),
        show.text("sizes_more", each.low) if each.high is None else size,
        show.none if bounds is None else show.signed_percent(figures["improvement_percentage"] / 100.0),
        interval,
        difference,
        " / ".join(map(show.count, each.finding.users.values())),
        " / ".join(map(show.count, each.finding.samples.values())),
    ]


def secondary_table(examined: Examination, writer: VerdictWriter, show: Formatter) -> Table:
    """The metrics that the experiment is not judged by."""
    rows = [
        _secondary(letter(arm), name, found, writer, show)
        for arm, metrics in examined.secondary.items()
        for name, found in metrics.items()
    ]
    keys = [("arm", 0.5), ("metric_heading", 2.2), ("raw_improvement", 1.0), ("p_value", 0.9), ("adjusted_p", 0.9)]
    columns = columns_of(show, *keys, ("one_look", 2.6), texts=("arm", "metric_heading", "one_look"))
    return Table("", columns, rows, note=show.text("secondary_note"))


def _secondary(arm: str, name: str, found: Mapping[str, Any], writer: VerdictWriter, show: Formatter) -> list[Cell]:
    improvement = found["improvement_percentage"]
    p_values = (found["p_value"], found["p_value_holm"])
    if found["reason"] is not None:
        verdict = writer.reason(found["reason"]["code"], 2)
    else:
        verdict = show.text("significant" if found["is_significant"] else "not_significant")
    return [
        arm,
        show.text(f"name_{name}"),
        show.none if improvement is None else show.signed_percent(improvement / 100.0),
        *(show.none if p is None else show.p_value(p)[2:].removeprefix("= ") for p in p_values),
        verdict,
    ]


def metrics_table(examined: Examination, labels: Mapping[str, str], show: Formatter) -> Table:
    """Mean, spread and extremes of every metric in every arm, over requests."""
    comparisons, rows = _comparisons(examined), list[list[Cell]]()
    for name in examined.latest.average_metrics[BASELINE]:
        # Figures of the compute time come with their unit.
        label = show.text("compute_time" if name == "execution_time" else f"metric_{name}")
        for arm, comparison in comparisons.items():
            figures = comparison.average_metrics[arm][name]
            values = (figures.mean, figures.std, figures.min, figures.max)
            texts = (show.of_metric(name, value) for value in values)
            rows.append([label if arm == BASELINE else "", show.name(labels[arm]), show.count(figures.count), *texts])
    keys = [("metric_heading", 2.2), ("arm", 2.2), ("count", 0.8), ("mean", 0.9), ("std", 0.9), ("min", 0.9)]
    return Table("", columns_of(show, *keys, ("max", 0.9), texts=("metric_heading", "arm")), rows)
