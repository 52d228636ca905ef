"""The sections of the A/B report on pairs: both models on the same requests."""

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from scheduler_service.experiments.examination import Examination, pairs_by_source
from scheduler_service.reporting import ab_figures
from scheduler_service.reporting.content import Block, Cell, Column, Picture, Pictures, Section, Statement, Table
from scheduler_service.reporting.evolution import pair_differences, pair_effects_over_time
from scheduler_service.reporting.formatting import Formatter
from scheduler_service.reporting.verdict_writer import VerdictWriter
from scheduler_service.stats.arms import BASELINE, FAILED_RATIO
from scheduler_service.stats.effect import Effect
from scheduler_service.stats.pair_sums import Differences, differences_of
from scheduler_service.stats.pairs import PairedVerdict
from scheduler_service.words import Message

if TYPE_CHECKING:
    import pandas as pd


def paired_sections(
    examined: Examination,
    pairs: "pd.DataFrame",
    writer: VerdictWriter,
    show: Formatter,
    period: tuple[datetime, datetime],
) -> list[Section]:
    """One section for each source that was judged."""
    frames = pairs_by_source(pairs, examined.experiment.candidates[0])
    return [
        Section(
            show.text(f"experiments.pairs.heading_{source}"),
            _blocks(source, frames[source], examined, writer, show, period),
        )
        for source in ("shadow", "replay")
        if source in examined.pairs
    ]


def _blocks(
    source: str,
    pairs: "pd.DataFrame",
    examined: Examination,
    writer: VerdictWriter,
    show: Formatter,
    period: tuple[datetime, datetime],
) -> list[Block]:
    verdict = examined.pairs[source]
    if source == "replay" and examined.replayed is not None:
        found = examined.replayed.differences(verdict.metric)
    else:
        usable = pair_differences(pairs, verdict.metric.name)
        found = differences_of(usable["improvement"].to_numpy(dtype="float64"), len(pairs) - len(usable))
    notes = []
    if isinstance(verdict.effect, Effect) and verdict.effect.correlation is not None:
        notes.append(show.text("pairs_correlation", value=round(verdict.effect.correlation, 3)))
    if not found.n:
        notes.append(show.text("pairs_none"))
    blocks: list[Block] = [Statement(writer.sentence(verdict), badge=writer.badge(verdict), notes=notes)]
    if not found.n:
        return blocks
    blocks.append(Pictures([_differences(found, verdict, show)]))
    if source == "shadow":  # the pairs of a replay are made at once, so there is no development over time
        margin, metric = examined.experiment.margin, verdict.metric.name
        effects = pair_effects_over_time(pairs, margin, verdict.alpha, verdict.candidate, metric)
        missing = {"": writer.why_no_bounds(verdict.effect)}
        drawn = ab_figures.sequences({"": effects}, margin, (), show.words, period, missing)
        blocks.append(Pictures([Picture(show.text("sequence_pairs", level=writer.level(verdict.alpha)), drawn)]))
    return [*blocks, _losses(verdict, show)]


def _differences(found: Differences, verdict: PairedVerdict, show: Formatter) -> Picture:
    effect = verdict.effect if isinstance(verdict.effect, Effect) else None
    drawn = ab_figures.differences(
        found,
        (verdict.wins, verdict.ties, verdict.losses),
        None if effect is None else effect.improvement,
        None if effect is None else (effect.low, effect.high),
        show.words,
    )
    note = show.text("pairs_clipped")
    if found.unanswered:
        note += show.text("pairs_failed", count=show.count(found.unanswered), ratio=FAILED_RATIO)
    return Picture(show.text("experiments.pairs.differences", metric=verdict.metric.name), drawn, note)


def _losses(verdict: PairedVerdict, show: Formatter) -> Table:
    """The requests on which the candidate did worst."""
    metric, arms = verdict.metric.name, (BASELINE, verdict.candidate)
    of_arms = [Message("experiments.pairs.metric_of", {"arm": arm, "metric": metric}) for arm in arms]
    columns = [
        Column(show.text("request_id"), 2.4, is_text=True),
        Column(show.text("experiments.pairs.user"), 1.6, is_text=True),
        Column(show.text("workpoints"), 0.8),
        *(Column(show.label(each), 1.2) for each in of_arms),
        Column(show.text("experiments.pairs.difference"), 0.9),
    ]
    rows = [_loss(request, metric, show) for request in verdict.worst]
    title, nothing = (show.text(f"experiments.pairs.{key}", b=verdict.candidate) for key in ("worst", "no_worst"))
    return Table(title, columns, rows, nothing)


def _loss(request: Mapping[str, Any], metric: str, show: Formatter) -> list[Cell]:
    return [
        show.name(request.get("request_id"), 40),
        show.name(request.get("user_id"), 40),
        show.count(request.get("n_workpoints")),
        show.hours(request[f"{metric}_a"]),
        show.hours(request[f"{metric}_b"]),
        show.signed_percent(1.0 - request["ratio"]),
    ]
