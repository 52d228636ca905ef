"""The common style of all charts: colours, axes, legends and shortened names.

Colours are Okabe and Ito's, which colour-blind readers can distinguish.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal

from scheduler_env.fonts import drawable
from scheduler_env.gantt import INK, PALE

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure

BLUE, ORANGE, GREEN, PINK, SKY, RED = "#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00"
MODEL_COLOURS = (BLUE, ORANGE, GREEN, PINK, SKY, RED)
GREY = "#7B8794"
HALF, FULL = 5.6, 11.5
"""Inches: a chart beside another one, and one across the page."""

Words = Mapping[str, str]
Period = tuple[datetime, datetime]
Scale = Literal["linear", "log", "root"]
"""Of the axis of values: logarithmic if the values are far apart, or of square roots, which has room for 0."""


def chart(width_in: float, height_in: float) -> "tuple[Figure, Axes]":
    """A new figure with one pair of axes."""
    from matplotlib.figure import Figure

    drawn = Figure(figsize=(width_in, height_in), layout="constrained", facecolor="white")
    axes = drawn.subplots()
    style_axes(axes)
    return drawn, axes


def style_axes(axes: "Axes") -> None:
    """Sets the look of all charts."""
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(PALE)
    axes.tick_params(labelsize=9, color=PALE, labelcolor=INK)
    axes.xaxis.label.set(fontsize=9, color=INK)
    axes.yaxis.label.set(fontsize=9, color=INK)
    axes.grid(color=PALE, linewidth=0.6)
    axes.set_axisbelow(True)


def legend_above(axes: "Axes", *, at_right: bool = False) -> None:
    """A legend in one row above the axes."""
    loc: Literal["lower right", "lower left"] = "lower right" if at_right else "lower left"
    axes.legend(fontsize=8, frameon=False, ncols=4, loc=loc, bbox_to_anchor=(float(at_right), 1.0), borderaxespad=0)


def nothing(drawn: "Figure", axes: "Axes", words: Words) -> "Figure":
    """The figure with the text that there are no data."""
    show_text(axes, words["no_data"])
    return drawn


def show_text(axes: "Axes", text: str) -> None:
    """Shows a text in place of a chart."""
    axes.set_axis_off()
    axes.text(0.5, 0.5, text, ha="center", va="center", transform=axes.transAxes, color=GREY)


def time_axis(axes: "Axes", period: Period) -> None:
    """Makes the time axis span the period; its labels are in the time zone of the period's start."""
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter

    zone = period[0].tzinfo
    # These numbers of ticks give a suitable step for every length of period.
    locator = AutoDateLocator(tz=zone, minticks=3, maxticks=8)  # type: ignore[no-untyped-call]
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(
        ConciseDateFormatter(  # type: ignore[no-untyped-call]
            locator,
            tz=zone,
            formats=["%Y", "%m", "%m-%d", "%H:%M", "%H:%M", "%S"],  # of years, months, days, hours, minutes, seconds
            zero_formats=["", "%Y", "%m", "%m-%d", "%H:%M", "%H:%M"],  # where the next larger unit begins
            offset_formats=["", "%Y", "%Y", "%Y-%m-%d", "%Y-%m-%d", "%Y-%m-%d %H:%M"],
        )
    )
    axes.set_xlim(*period)  # type: ignore[arg-type]  # matplotlib converts times
    axes.xaxis.get_offset_text().set(fontsize=8, color=INK)


def rescale(axes: "Axes", values: Any, scale: Scale) -> None:
    import numpy as np

    largest = float(values.max())
    if scale == "log" and values.min() > 0.0 and largest > 20.0 * values.min():
        axes.set_xscale("log")
        axes.set_xlim(float(values.min()) / 1.1, 1.1 * largest)  # of all values, though not each is drawn
        plain_numbers(axes.xaxis, largest / float(values.min()))
    if scale == "root":
        axes.set_xscale("function", functions=(lambda x: np.sqrt(np.maximum(x, 0.0)), np.square))
        axes.set_xlim(0.0, max(1.05 * largest, 1.0))
        ticks = [tick for tick in (0.0, 0.1, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0) if tick <= max(largest, 1.0)]
        ticks += [tick for tick in (100.0, 200.0, 500.0, 1000.0, 10_000.0) if tick <= largest]
        axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])


def plain_numbers(axis: "Axis", ratio: float) -> None:
    """Label a logarithmic axis, over values whose largest is `ratio` times the least, with few and plain numbers.

    If the axis spans little, Matplotlib also labels minor ticks, in mathematical notation and overlapping.
    """
    from matplotlib.ticker import LogLocator, NullFormatter

    beginnings = (1.0, 2.0, 5.0) if ratio <= 200.0 else (1.0, 3.0) if ratio <= 2_000.0 else (1.0,)
    axis.set_major_locator(LogLocator(subs=beginnings, numticks=12))
    axis.set_major_formatter("{x:,.10g}")
    axis.set_minor_formatter(NullFormatter())


def percent_text(share: float, _: object) -> str:
    """A share as percent, for the labels of an axis."""
    return f"{100.0 * share:.4g}%"


def label(name: str, columns: int) -> str:
    """`name` as it can be drawn, without its middle if it is wider than `columns`; a hanzi takes two columns."""
    whole = drawable(name, 10 * columns)
    if _columns(whole) <= columns:
        return whole
    # Long names often differ at their ends, as versions do.
    tail = next(whole[place:] for place in range(len(whole)) if _columns(whole[place:]) <= columns // 3)
    head = next(whole[:place] for place in range(len(whole), -1, -1) if _columns(whole[:place] + "…" + tail) <= columns)
    return f"{head}…{tail}"


def _columns(text: str) -> int:
    return sum(2 if ord(character) > 0x2E7F else 1 for character in text)
