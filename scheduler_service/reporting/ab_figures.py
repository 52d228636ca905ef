"""The charts of the A/B report. Colour is never the only distinction: line style, position or sign differ too."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from scheduler_env.fonts import drawable, use_cjk_font
from scheduler_env.gantt import INK
from scheduler_service.reporting import look
from scheduler_service.reporting.formatting import minus
from scheduler_service.reporting.timeline import Event

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from scheduler_service.stats.pair_sums import Differences

MAX_MARKS = 40
"""Maximum number of events named in a chart; the table below has all."""

Mark = tuple[datetime, str]


@use_cjk_font()
def sequences(
    frames: "Mapping[str, pd.DataFrame]",
    margin: float,
    marks: Sequence[Mark],
    words: look.Words,
    period: look.Period,
    missing: Mapping[str, str],
) -> "Figure":
    """The improvement of each candidate over time, its anytime-valid bounds, and the lines that decide the verdict.

    Args:
        frames: label -> as `evolution.effects_over_time` has them.
        margin: of non-inferiority, a share.
        marks: moments at which the rollout changed.
        missing: label -> text shown if there are no bounds.
    """
    from matplotlib.figure import Figure

    rows = max(1, len(frames))
    is_empty = all(frame.dropna().empty for frame in frames.values())
    height = 0.6 + 0.7 * rows if is_empty else 3.5 if rows == 1 else 0.5 + 2.1 * rows
    drawn = Figure(figsize=(look.FULL, height), layout="constrained", facecolor="white")
    for place, (axes, (label, frame)) in enumerate(
        zip(drawn.subplots(rows, 1, squeeze=False)[:, 0], frames.items(), strict=False)
    ):
        look.style_axes(axes)
        if rows > 1:
            axes.set_title(drawable(label, 60), loc="right", fontsize=9.5, color=INK)
        known = frame.dropna()
        if known.empty:
            look.show_text(axes, missing[label])
            continue
        _sequence(axes, known, margin, words)
        _name_marks(axes, marks, period, inside=True)
        axes.set_ylabel(words["axis_improvement"])
        if place == 0:
            look.legend_above(axes)
        look.time_axis(axes, period)
    return drawn


def _sequence(axes: "Axes", frame: "pd.DataFrame", margin: float, words: look.Words) -> None:
    band = 100.0 * frame
    axes.axhline(0.0, color=INK, linewidth=1.1, label=words["sequence_zero"], zorder=2)
    axes.axhline(
        -100.0 * margin, color=look.RED, linewidth=1.2, linestyle="--", zorder=2,
        label=words["sequence_margin"].format(margin=f"−{100.0 * margin:g} %"),
    )  # fmt: skip
    axes.fill_between(band.index, band["low"], band["high"], color=look.SKY, alpha=0.35, linewidth=0)
    for bound in ("low", "high"):
        axes.plot(band.index, band[bound], color=look.BLUE, linewidth=0.8)
    axes.plot(
        band.index, band["improvement"], color=look.BLUE, linewidth=2.0, marker="o", markersize=3.0,
        label=words["sequence_estimate"],
    )  # fmt: skip
    axes.fill_between([], [], [], color=look.SKY, alpha=0.35, label=words["sequence_band"])
    # The first bounds are very wide; the axis fits those of the later half.
    late = band.iloc[len(band) // 2 :]
    low = min(late["low"].min(), -130.0 * margin)
    high = max(late["high"].max(), 50.0 * margin)
    axes.set_ylim(low - 0.06 * (high - low), high + 0.12 * (high - low))
    axes.yaxis.set_major_formatter(_signed)


@use_cjk_font()
def ramp(events: Sequence[Event], words: look.Words, period: look.Period) -> "Figure":
    """The share of all users on the candidate as steps; the events that changed it are named above.

    Args:
        events: at least one, oldest first.
    """
    drawn, axes = look.chart(look.FULL, 3.0)
    moments = [*(event.time for event in events), max(period[1], events[-1].time)]
    percent = [100.0 * event.share for event in (*events, events[-1])]
    axes.step(moments, percent, where="post", color=look.BLUE, linewidth=2.0)  # type: ignore[arg-type]
    axes.fill_between(moments, percent, step="post", color=look.SKY, alpha=0.3, linewidth=0)  # type: ignore[arg-type]
    axes.set_ylim(0.0, min(104.0, max(20.0, 1.3 * max(percent))))
    axes.set_ylabel(words["axis_share"])
    marks = [(event.time, f"{number} {event.label}") for number, event in enumerate(events, start=1)]
    _name_marks(axes, marks, period, inside=False)
    look.time_axis(axes, period)
    return drawn


def _name_marks(axes: "Axes", marks: Sequence[Mark], period: look.Period, *, inside: bool) -> None:
    """A dotted line at each mark within the period, and its name at the top of the axes, or above them."""
    start, end = period
    shown = [mark for mark in marks if start <= mark[0] <= end][:MAX_MARKS]
    places = [(moment - start) / (end - start) for moment, _ in shown]
    for (moment, text), (row, is_whole, side) in zip(shown, _rows(places, shown), strict=True):
        axes.axvline(moment, color=look.GREY, linewidth=0.9, linestyle=":", zorder=1)  # type: ignore[arg-type]
        gap = 3 if side == "left" else -3
        axes.annotate(
            text if is_whole else text.split(" ", 1)[0], (moment, 1.0), xycoords=("data", "axes fraction"),
            xytext=(gap, -3 - 12 * row) if inside else (gap, 3 + 13 * row), textcoords="offset points",
            va="top" if inside else "bottom", ha=side, fontsize=8.5, color=INK,
        )  # fmt: skip


def _rows(places: Sequence[float], marks: Sequence[Mark]) -> list[tuple[int, bool, str]]:
    """The place of each name: (row, whether the whole name fits or only its first word, alignment)."""
    free = [-1.0] * 4  # right end of the text in each row, as a share of the axis
    found: list[tuple[int, bool, str]] = []
    for place, (_, text) in zip(places, marks, strict=True):
        width = sum(0.0112 if ord(character) > 0x2E7F else 0.0064 for character in text) + 0.012
        side, left = ("left", place) if place + width <= 1.0 else ("right", place - width)
        row = next((row for row, end in enumerate(free) if left >= end), None)
        if row is None:
            found.append((min(range(4), key=free.__getitem__), False, "left"))
            continue
        free[row] = left + width
        found.append((row, True, side))
    return found


@use_cjk_font()
def differences(
    found: "Differences",
    counts: tuple[int, int, int],
    mean: float | None,
    interval: tuple[float, float] | None,
    words: look.Words,
) -> "Figure":
    """How often the candidate won, tied and lost, and by how much.

    Args:
        found: those of the pairs that both models answered.
        counts: pairs won, tied and lost by the candidate, failures included.
        mean: of all pairs, a share; None: unknown.
        interval: of the mean.
    """
    import numpy as np

    from scheduler_service.stats.pair_sums import BINS_A_SIDE

    drawn, axes = look.chart(look.FULL, 3.3)
    if not found.n:
        return look.nothing(drawn, axes, words)
    reach = 100.0 * found.reach
    width = reach / BINS_A_SIDE
    sides = np.arange(BINS_A_SIDE + 1) * width
    won, tied, lost = counts
    groups = (
        ("pairs_lost", lost, found.lost[::-1], -sides[::-1], look.ORANGE, "///"),
        ("pairs_tied", tied, np.array([found.tied]), np.array([-0.35, 0.35]) * width, look.GREY, ""),
        ("pairs_won", won, found.won, sides, look.BLUE, ""),
    )
    tallest = 0.0
    for key, count, heights, edges, colour, hatch in groups:
        share = f"{100.0 * count / max(1, sum(counts)):.1f}% ({count:,})"
        axes.bar(
            edges[:-1], heights, np.diff(edges), align="edge", color=colour, hatch=hatch, edgecolor="white",
            linewidth=0.6, label=words[key].format(share=share), zorder=3 if key == "pairs_tied" else 2,
        )  # fmt: skip
        tallest = max(tallest, float(heights.max()))
    if mean is not None:
        centre = 100.0 * mean
        error = None if interval is None else [[centre - 100.0 * interval[0]], [100.0 * interval[1] - centre]]
        axes.errorbar(
            [centre], [1.1 * tallest], xerr=error, fmt="D", color=look.GREEN, markersize=6, capsize=4, linewidth=2.0,
            label=words["pairs_mean"].format(mean=minus(f"{centre:+.2f} %")), zorder=4,
        )  # fmt: skip
    axes.axvline(0.0, color=INK, linewidth=1.0)
    axes.set_ylim(0.0, 1.2 * tallest)
    axes.set_xlim(-1.03 * reach, 1.03 * reach)
    axes.xaxis.set_major_formatter(_signed)
    axes.set_xlabel(words["axis_difference"])
    axes.set_ylabel(words["requests"])
    look.legend_above(axes)
    return drawn


def _signed(value: float, _: object) -> str:
    return "0" if value == 0.0 else minus(f"{value:+g}")
