"""Gantt charts of a schedule: matplotlib figures in three views, as PNG or SVG.

`process` has a row for each step; `workpoint` has one for each work point, with parallel steps in lanes; `team` has a
band for each team, whose height is its headcount. Every view marks the makespan and the lower bound, if given. A team
has the same colour in all views. matplotlib is imported inside the functions: the import is slow, and only charts need
it.
"""

import math
from collections.abc import Sequence
from io import BytesIO
from typing import TYPE_CHECKING

from scheduler_env.fonts import drawable, use_cjk_font
from scheduler_env.gantt_layout import LAYOUTS, WORDS, Chart, Lang, Row, View
from scheduler_env.schedule import TOLERANCE_H, Schedule

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TEAM_COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442", "#999999")
"""Distinguishable with colour blindness; repeated from the ninth team on. Source: Okabe & Ito 2008, Color Universal
Design."""

WIDTH_IN = 12.0
DPI = 100
MAX_HEIGHT_IN = 80.0
HOURS_ABOVE_PT = 16.0
MIN_LABEL_PT = 5.0
"""If rows are lower than this, some labels are omitted, which limits the drawing time of large charts to seconds."""
MAX_STRETCHES = 200
"""Of work, between which rests are shaded; more are not legible."""
INK, PALE = "#1F2933", "#D9DEE4"
MAKESPAN_COLOUR = "#B3261E"


def figure(schedule: Schedule, view: View, *, lower_bound_h: float | None = None, lang: Lang = "zh") -> "Figure":
    """The Gantt chart of `schedule`, 12 inches wide and at most 80 inches high; rows shrink if there are too many.

    Args:
        lower_bound_h: hours; drawn as a dashed line, and given in the title with the gap.
        lang: language of the labels and of the standard steps' names; other names are not translated.

    Raises:
        ValueError: the view does not exist.
    """
    from matplotlib.figure import Figure

    if view not in LAYOUTS:
        raise ValueError(f"view {view!r} is not one of {', '.join(LAYOUTS)}")
    words = WORDS[lang]
    chart = LAYOUTS[view](schedule, lang)
    total = sum(row.height for row in chart.rows)
    row_in = min(0.25, max(0.16, 40.0 / total), (MAX_HEIGHT_IN - 1.7) / total)
    top_in, bottom_in, left_in = 1.05, 0.55, _left_margin_in(chart.rows, row_in)
    right_in = 1.05 if chart.margin_notes else 0.25
    is_tall = total * row_in > 14.0  # then the hours are shown at the top, too
    if is_tall:
        top_in += HOURS_ABOVE_PT / 72.0
    height_in = max(2.6, total * row_in + top_in + bottom_in)
    with use_cjk_font():
        drawn = Figure(figsize=(WIDTH_IN, height_in), dpi=DPI, facecolor="white")
        axes = drawn.add_axes(
            (
                left_in / WIDTH_IN,
                bottom_in / height_in,
                1.0 - (left_in + right_in) / WIDTH_IN,
                1.0 - (top_in + bottom_in) / height_in,
            )
        )
        span_h = max(schedule.makespan_h, lower_bound_h or 0.0, TOLERANCE_H)
        axes.set_xlim(0.0, span_h * 1.03)
        axes.set_ylim(total, 0.0)
        hour_in = (WIDTH_IN - left_in - right_in) / (span_h * 1.03)
        _draw_frame(axes, chart, row_in, words["hours"])
        _draw_bars(axes, chart, schedule, hour_in, row_in)
        _draw_rests(axes, schedule)
        if is_tall:
            axes.tick_params(axis="x", labeltop=True)
        _draw_marks(axes, schedule.makespan_h, lower_bound_h, words, lift_pt=HOURS_ABOVE_PT if is_tall else 0.0)
        status = schedule.instance.status
        if status is not None:
            _draw_data_date(axes, status.data_date_h, words)
        _draw_legend(drawn, schedule, words, at_work=bool(chart.profiles), height_in=height_in)
        title = _title(schedule.makespan_h, lower_bound_h, view, words)
        drawn.text(0.2 / WIDTH_IN, 1.0 - 0.14 / height_in, title, fontsize=14, color=INK, va="top")
    return drawn


def to_png(drawn: "Figure") -> bytes:
    """`drawn` as a PNG with 100 dots per inch."""
    data = BytesIO()
    with use_cjk_font():  # also prevents other threads from changing the settings
        # Level 1 takes a third less time than the default 6; the file is a tenth larger.
        drawn.savefig(data, format="png", pil_kwargs={"compress_level": 1})
    return data.getvalue()


def to_svg(drawn: "Figure") -> bytes:
    """`drawn` as an SVG that needs no font and contains no script and no date."""
    data = BytesIO()
    with use_cjk_font():  # its settings draw text as paths
        drawn.savefig(data, format="svg", metadata={"Date": None})
    return data.getvalue()


def _text_in(text: str, points: float) -> float:
    """Approximate width of `text`, inches: hanzi are square, other characters a little over half as wide."""
    return sum(1.0 if character > "⺀" else 0.57 for character in text) * points / 72.0


def _label_points(row_in: float) -> float:
    return max(MIN_LABEL_PT, min(9.0, row_in * 72.0 * 0.62))


def _left_margin_in(rows: Sequence[Row], row_in: float) -> float:
    lines = (line for row in rows for line in row.label.split("\n"))
    return min(4.0, 0.35 + max(_text_in(line, _label_points(row_in)) for line in lines))


def _draw_frame(axes: "Axes", chart: Chart, row_in: float, hours: str) -> None:
    middles, edge = [], 0.0
    for row in chart.rows:
        middles.append(edge + row.height / 2)
        edge += row.height
        if row.height > 1.0:
            axes.axhline(edge, color=PALE, linewidth=0.8, zorder=0.5)
    for bottom, top in chart.shaded:
        axes.axhspan(bottom, top, color="#F4F6F8", zorder=0)
    # Texts instead of tick labels: each tick creates five invisible lines, a fifth of the time of a tall chart.
    axes.set_yticks([])
    points, beside = _label_points(row_in), axes.get_yaxis_transform()
    free_from = -math.inf
    for middle, row in zip(middles, chart.rows, strict=True):
        if middle < free_from:  # it would overlap the label above
            continue
        free_from = middle + points / 72.0 / row_in
        axes.text(
            -0.004, middle, row.label, transform=beside, fontsize=points, color=INK, ha="right", va="center_baseline"
        )
    axes.tick_params(axis="x", labelsize=9, color=PALE, labelcolor=INK)
    axes.grid(axis="x", color=PALE, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.set_xlabel(hours, fontsize=9, color=INK)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(PALE)
    for height, note in chart.margin_notes:
        axes.text(1.01, height, note, transform=axes.get_yaxis_transform(), fontsize=9, color=INK, va="center")


def _draw_bars(axes: "Axes", chart: Chart, schedule: Schedule, hour_in: float, row_in: float) -> None:
    from matplotlib.collections import PolyCollection

    colours = _team_colours(schedule)
    corners = [
        (
            (bar.start_h, bar.bottom),
            (bar.end_h, bar.bottom),
            (bar.end_h, bar.bottom + bar.height),
            (bar.start_h, bar.bottom + bar.height),
        )
        for bar in chart.bars
    ]
    faces = [_paler(colours[bar.team]) if bar.is_pale else colours[bar.team] for bar in chart.bars]
    axes.add_collection(PolyCollection(corners, facecolors=faces, edgecolors="white", linewidths=0.7), autolim=False)
    for profile in chart.profiles:
        tops = [profile.floor - height for height in profile.heights]
        axes.fill_between(
            profile.hours, tops, profile.floor, step="post", color=colours[profile.team], alpha=0.4, linewidth=0
        )
        axes.axhline(profile.floor - profile.full, color=PALE, linewidth=0.8, linestyle=(0, (1, 2)), zorder=1)
        axes.axhline(profile.floor, color=PALE, linewidth=0.8, zorder=1)
    right_h = axes.get_xlim()[1]
    for bar, face in zip(chart.bars, faces, strict=True):
        points = min(8.5, bar.height * row_in * 72.0 * 0.72)
        if points < 4.0 or not bar.texts:  # not legible
            continue
        middle = bar.bottom + bar.height / 2
        text = _fitted(bar.texts, (bar.end_h - bar.start_h) * hour_in - 0.06, points)
        if text in bar.texts or (text and not bar.beside):
            ink = "white" if _is_dark(face) else INK
            centre = (bar.start_h + bar.end_h) / 2
            axes.text(centre, middle, text, fontsize=points, color=ink, ha="center", va="center_baseline")
        elif bar.beside and (right_h - bar.end_h) * hour_in > _text_in(bar.texts[-1], points) + 0.1:
            axes.text(bar.end_h, middle, f" {bar.texts[-1]}", fontsize=points, color=INK, va="center_baseline")
        elif bar.beside:
            text = f"{bar.texts[-1]} "
            axes.text(bar.start_h, middle, text, fontsize=points, color=INK, ha="right", va="center_baseline")


def _draw_rests(axes: "Axes", schedule: Schedule) -> None:
    """Shade the time in which nobody works by the calendar."""
    calendar = schedule.instance.calendar
    stretches = [] if calendar is None else calendar.stretches(schedule.makespan_h)
    if len(stretches) > MAX_STRETCHES:
        return
    rest_from = 0.0
    for begin, end in stretches:
        if begin > rest_from:
            axes.axvspan(rest_from, begin, color=INK, alpha=0.12, linewidth=0, zorder=1.5)
        rest_from = end


def _fitted(texts: Sequence[str], width_in: float, points: float) -> str:
    """The first of `texts` that fits, otherwise the last one shortened; empty if fewer than two characters fit."""
    for text in texts:
        if _text_in(text, points) <= width_in:
            return text
    room = width_in - _text_in("…", points)
    kept = ""
    for character in texts[-1]:
        if _text_in(kept + character, points) > room:
            break
        kept += character
    return f"{kept.rstrip()}…" if len(kept) >= 2 else ""


def _draw_marks(
    axes: "Axes", makespan_h: float, lower_bound_h: float | None, words: dict[str, str], *, lift_pt: float
) -> None:
    def name(hour: float, text: str, colour: str, height_pt: float) -> None:
        # Each text ends at its line, so that it stays on the page. The makespan's text is one line above the bound's.
        axes.annotate(
            text,
            (hour, 1.0),
            xycoords=axes.get_xaxis_transform(),
            xytext=(0.0, lift_pt + height_pt),
            textcoords="offset points",
            fontsize=9,
            color=colour,
            ha="right" if hour > 0.2 * axes.get_xlim()[1] else "left",
            va="bottom",
        )

    if lower_bound_h is not None:
        axes.axvline(lower_bound_h, color=INK, linewidth=1.2, linestyle=(0, (4, 3)), zorder=2)
        name(lower_bound_h, f"{words['lower_bound']} {lower_bound_h:.2f} h", INK, 1.0)
    axes.axvline(makespan_h, color=MAKESPAN_COLOUR, linewidth=1.6, zorder=2)
    name(makespan_h, f"{words['makespan']} {makespan_h:.2f} h", MAKESPAN_COLOUR, 14.0)


def _draw_data_date(axes: "Axes", hour: float, words: dict[str, str]) -> None:
    axes.axvline(hour, color=INK, linewidth=1.2, zorder=2)
    text = f" {words['data_date']} {hour:.2f} h"
    axes.text(hour, axes.get_ylim()[0], text, fontsize=9, color=INK, ha="left", va="bottom")


def _draw_legend(
    drawn: "Figure", schedule: Schedule, words: dict[str, str], *, at_work: bool, height_in: float
) -> None:
    from matplotlib.patches import Patch

    colours = _team_colours(schedule)
    handles = [Patch(color=colours[team], label=drawable(team, 14)) for team in schedule.team_utilization]
    status = schedule.instance.status
    if status is not None and any(fact.status == "done" for fact in status.facts.values()):
        handles.append(Patch(color=PALE, label=words["done"]))
    if at_work:
        handles.append(Patch(color="#C9CED6", label=words["at_work"]))
    drawn.legend(
        handles=handles[:10],
        loc="upper left",
        bbox_to_anchor=(0.12 / WIDTH_IN, 1.0 - 0.42 / height_in),
        ncols=10,
        fontsize=9,
        frameon=False,
        handlelength=1.1,
        handletextpad=0.5,
        columnspacing=1.4,
        borderaxespad=0.0,
    )


def _title(makespan_h: float, lower_bound_h: float | None, view: str, words: dict[str, str]) -> str:
    title = f"{words[view]}   {words['makespan']} {makespan_h:.2f} h"
    if lower_bound_h is None or lower_bound_h <= 0.0:
        return title
    gap = max(0.0, makespan_h / lower_bound_h - 1.0)
    return f"{title}   {words['lower_bound']} {lower_bound_h:.2f} h   {words['gap']} ≤ {gap:.1%}"


def _team_colours(schedule: Schedule) -> dict[str, str]:
    return {team.name: TEAM_COLOURS[number % len(TEAM_COLOURS)] for number, team in enumerate(schedule.instance.teams)}


def _paler(colour: str) -> str:
    """The colour, mixed with twice as much white."""
    parts = (int(colour[start : start + 2], 16) for start in (1, 3, 5))
    return "#" + "".join(f"{(part + 2 * 255) // 3:02X}" for part in parts)


def _is_dark(colour: str) -> bool:
    red, green, blue = (int(colour[start : start + 2], 16) for start in (1, 3, 5))
    return 0.299 * red + 0.587 * green + 0.114 * blue < 140.0
