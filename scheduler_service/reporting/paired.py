"""The part of the A/B report on pairs: both models on the same requests."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from scheduler_service.experiments.examination import Examination, pairs_by_source
from scheduler_service.reporting import ab_figures, figures
from scheduler_service.reporting.evolution import pair_differences, pair_effects_over_time
from scheduler_service.reporting.page import Formatter
from scheduler_service.reporting.standing import SYMBOLS, Standing, Teller, letter, standing_of_pairs
from scheduler_service.stats.arms import FAILED_RATIO
from scheduler_service.stats.comparison import BASELINE
from scheduler_service.stats.effect import Effect

if TYPE_CHECKING:
    import pandas as pd


Words = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Loss:
    """A request on which the candidate did worse."""

    request_id: str
    user: str
    workpoints: str
    makespan_a: str  # answered, or the model's own: what the pairs are judged by
    makespan_b: str
    difference: str


@dataclass(frozen=True, slots=True)
class PairedChart:
    """A chart with what is said below it."""

    title: str
    image: str
    notes: Sequence[str]


@dataclass(frozen=True, slots=True)
class PairedSection:
    """What is said of the pairs of one source."""

    title: str
    word: str
    symbol: str
    sentence: str
    interval: str | None
    notes: Sequence[str]
    charts: Sequence[PairedChart]
    losses: Sequence[Loss]
    labels: tuple[str, str]  # of the two makespans


def paired_sections(
    examined: Examination,
    pairs: "pd.DataFrame",
    teller: Teller,
    words: Words,
    show: Formatter,
    period: tuple[datetime, datetime],
) -> list[PairedSection]:
    """One section for each source that was judged."""
    return [
        _section(source, mine, standing_of_pairs(examined, source), examined, teller, words, show, period)
        for source, mine in pairs_by_source(pairs, examined.experiment.candidates[0]).items()
        if source in examined.pairs
    ]


def _section(
    source: str,
    pairs: "pd.DataFrame",
    found: Standing,
    examined: Examination,
    teller: Teller,
    words: Words,
    show: Formatter,
    period: tuple[datetime, datetime],
) -> PairedSection:
    experiment, verdict = examined.experiment, examined.pairs[source]
    metric = verdict.metric.name
    usable = pair_differences(pairs, metric)
    charts, notes = [], []
    if isinstance(verdict.effect, Effect) and verdict.effect.correlation is not None:
        notes.append(words["pairs_correlation"].format(verdict.effect.correlation))
    if verdict.replay_number is not None:
        notes.append(words["replay_counted"].format(verdict.replay_number, 100.0 * verdict.alpha))
    if len(usable):
        drawn = ab_figures.differences(
            usable["improvement"].to_numpy(dtype="float64"),
            (verdict.wins, verdict.ties, verdict.losses),
            found.improvement,
            found.bounds,
            words,
        )
        remarks = [words["pairs_clipped"]]
        if len(pairs) > len(usable):
            remarks.append(words["pairs_failed"].format(show.count(len(pairs) - len(usable)), FAILED_RATIO))
        charts.append(PairedChart(words[f"differences_{metric}"], figures.data_uri(drawn), remarks))
        if source == "shadow":  # a replay's pairs all come at once: there is no course of time to show
            effects = pair_effects_over_time(pairs, experiment.margin, verdict.alpha, found.arm, metric)
            missing = {"": teller.why_no_bounds(verdict.effect, of_pairs=True)}
            drawn = ab_figures.sequences({"": effects}, experiment.margin, (), words, period, missing)
            title = words["sequence_pairs"].format(teller.level(found.alpha))
            charts.append(PairedChart(title, figures.data_uri(drawn), ()))
    else:
        notes.append(words["pairs_none"])
    return PairedSection(
        title=words[f"paired_{source}"],
        word=found.word,
        symbol=SYMBOLS[found.word],
        sentence=teller.sentence(found),
        interval=None if found.bounds is None else teller.interval(found.bounds, found.alpha),
        notes=notes,
        charts=charts,
        losses=[_loss(request, metric, show) for request in verdict.worst],
        labels=(
            words[f"{metric}_of"].format(letter(BASELINE)),
            words[f"{metric}_of"].format(letter(found.arm)),
        ),
    )


def _loss(request: Mapping[str, Any], metric: str, show: Formatter) -> Loss:
    return Loss(
        request_id=show.name(request.get("request_id"), 40),
        user=show.name(request.get("user_id"), 40),
        workpoints=show.count(request.get("n_workpoints")),
        makespan_a=show.hours(request[f"{metric}_a"]),
        makespan_b=show.hours(request[f"{metric}_b"]),
        difference=show.signed_percent(100.0 * (1.0 - request["ratio"])),
    )
