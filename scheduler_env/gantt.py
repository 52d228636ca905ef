"""Gantt charts of a schedule: matplotlib figures in three views, as PNG or SVG.

`process` has a row for each step, `workpoint` one for each work point (steps side by side in lanes), `team` a band for
each team in which height is people. Every view marks the makespan and, when given, the lower bound; a team has
the same colour everywhere. matplotlib is imported inside the functions: it takes a while, and only charts need it.
"""

import heapq
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING, Literal

from scheduler_env.fonts import drawable, use_cjk_font
from scheduler_env.schedule import TOLERANCE_H, Schedule, ScheduledStep
from scheduler_env.standard_cycle import STANDARD_STEPS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

View = Literal["process", "workpoint", "team"]
Lang = Literal["zh", "en"]

TEAM_COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442", "#999999")
"""Told apart by colour-blind readers; a ninth team starts again. Source: Okabe & Ito, Color Universal Design, 2008."""

WIDTH_IN = 12.0
DPI = 100
MAX_HEIGHT_IN = 80.0
INK, PALE = "#1F2933", "#D9DEE4"

_WORDS = {
    "zh": {
        "process": "工序视图",
        "workpoint": "工作点视图",
        "team": "团队视图",
        "makespan": "完工时间",
        "lower_bound": "下界",
        "gap": "差距",
        "hours": "时间（小时）",
        "people": "{} 人",
        "crew": "{}人",
        "used": "利用率 {:.0%}",
        "at_work": "在岗人数（浅色）",
    },
    "en": {
        "process": "Steps",
        "workpoint": "Work points",
        "team": "Teams",
        "makespan": "makespan",
        "lower_bound": "lower bound",
        "gap": "gap",
        "hours": "Time (hours)",
        "people": "{} people",
        "crew": "{}p",
        "used": "{:.0%} used",
        "at_work": "people at work (pale)",
    },
}
_ENGLISH_STEPS = {standard.name_zh: standard.name for standard in STANDARD_STEPS}


@dataclass(frozen=True, slots=True)
class _Row:
    """A horizontal strip of the chart; `height` in rows of the process view."""

    label: str
    height: float


@dataclass(frozen=True, slots=True)
class _Bar:
    """A rectangle of the chart; the first of `texts` that fits is drawn inside, or the last cut short.

    With `beside`, a text that does not fit is drawn to the right.
    """

    start_h: float
    end_h: float
    bottom: float
    height: float
    team: str
    texts: tuple[str, ...]
    beside: bool = False


@dataclass(frozen=True, slots=True)
class _Profile:
    """The people of a team at work from each of `hours` on, as an area over the line `floor`."""

    team: str
    floor: float
    hours: list[float]
    heights: list[float]
    full: float  # the height at which everybody works


@dataclass(frozen=True, slots=True)
class _Chart:
    rows: list[_Row]
    bars: list[_Bar]
    shaded: list[tuple[float, float]]  # (bottom, top) of every other group
    margin_notes: list[tuple[float, str]]  # (height, text) right of the chart
    profiles: list[_Profile]


def figure(schedule: Schedule, view: View, *, lower_bound_h: float | None = None, lang: Lang = "zh") -> "Figure":
    """The Gantt chart of `schedule`, 12 inches wide; rows stay legible up to 80 inches of height, then shrink.

    Args:
        lower_bound_h: hours; drawn as a dashed line and named in the title with the gap that it proves.
        lang: of the words around the chart and of the standard steps' names; other names stay as they are.

    Raises:
        ValueError: no such view.
    """
    from matplotlib.figure import Figure

    if view not in _LAYOUTS:
        raise ValueError(f"view {view!r} is not one of {', '.join(_LAYOUTS)}")
    words = _WORDS[lang]
    chart = _LAYOUTS[view](schedule, lang)
    total = sum(row.height for row in chart.rows)
    row_in = min(0.25, (MAX_HEIGHT_IN - 1.7) / total)
    top_in, bottom_in, left_in = 1.05, 0.55, _left_margin_in(chart.rows, row_in)
    right_in = 1.05 if chart.margin_notes else 0.25
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
        _draw_marks(axes, schedule.makespan_h, lower_bound_h, words)
        _draw_legend(drawn, schedule, words, at_work=bool(chart.profiles), height_in=height_in)
        title = _title(schedule.makespan_h, lower_bound_h, view, words)
        drawn.text(0.2 / WIDTH_IN, 1.0 - 0.14 / height_in, title, fontsize=14, color=INK, va="top")
    return drawn


def to_png(drawn: "Figure") -> bytes:
    """`drawn` as a PNG, 100 dots an inch."""
    data = BytesIO()
    # Level 1 takes a third less time than the default 6, for a file a tenth larger.
    drawn.savefig(data, format="png", pil_kwargs={"compress_level": 1})
    return data.getvalue()


def to_svg(drawn: "Figure") -> bytes:
    """`drawn` as an SVG that needs no font and holds no script and no date."""
    data = BytesIO()
    with use_cjk_font():  # its setting makes paths of the text
        drawn.savefig(data, format="svg", metadata={"Date": None})
    return data.getvalue()


# --- the three views: where each bar goes ---


def _process_chart(schedule: Schedule, lang: Lang) -> _Chart:
    crew = _WORDS[lang]["crew"]
    placed_by_id = {placed.step.id: placed for placed in schedule.steps}
    several = len(schedule.instance.workpoints) > 1
    rows: list[_Row] = []
    bars: list[_Bar] = []
    shaded: list[tuple[float, float]] = []
    for number, workpoint in enumerate(schedule.instance.workpoints):
        if number % 2:
            shaded.append((len(rows), len(rows) + len(workpoint.steps)))
        for step in sorted((placed_by_id[step.id] for step in workpoint.steps), key=lambda placed: placed.start_h):
            name = _step_name(step, lang)
            label = f"{drawable(workpoint.name, 10)}  {name}" if several else name
            bars.append(_bar(step, len(rows) + 0.12, 0.76, (crew.format(step.crew),), beside=True))
            rows.append(_Row(label, 1.0))
    return _Chart(rows, bars, shaded, [], [])


def _workpoint_chart(schedule: Schedule, lang: Lang) -> _Chart:
    rows: list[_Row] = []
    bars: list[_Bar] = []
    shaded: list[tuple[float, float]] = []
    bottom = 0.0
    for number, workpoint in enumerate(schedule.instance.workpoints):
        placed = sorted(
            (placed for placed in schedule.steps if placed.step.workpoint_id == workpoint.id),
            key=lambda placed: (placed.start_h, placed.end_h),
        )
        lanes = _lanes(placed)
        height = 0.9 * (max(lanes, default=0) + 1) + 0.3
        bars += [
            _bar(step, bottom + 0.15 + 0.9 * lane, 0.84, _step_texts(step, lang))
            for step, lane in zip(placed, lanes, strict=True)
        ]
        if number % 2:
            shaded.append((bottom, bottom + height))
        rows.append(_Row(drawable(workpoint.name, 16), height))
        bottom += height
    return _Chart(rows, bars, shaded, [], [])


def _team_chart(schedule: Schedule, lang: Lang) -> _Chart:
    words = _WORDS[lang]
    several = len(schedule.instance.workpoints) > 1
    names = {workpoint.id: drawable(workpoint.name, 8) for workpoint in schedule.instance.workpoints}
    rows: list[_Row] = []
    bars: list[_Bar] = []
    notes: list[tuple[float, str]] = []
    profiles: list[_Profile] = []
    bottom = 0.0
    for team in schedule.instance.teams:
        if team.name not in schedule.team_utilization:
            continue
        placed = sorted(
            (placed for placed in schedule.steps if placed.step.team == team.name and placed.crew),
            key=lambda placed: placed.start_h,
        )
        # Few people get room for a name, many share a band that still fits the page.
        person = max(0.25, 1.6 / team.headcount) if team.headcount <= 40 else 10.0 / team.headcount
        floor = bottom + 0.25 + team.headcount * person
        for step, runs in zip(placed, _seats(placed, team.headcount), strict=True):
            texts = _step_texts(step, lang)
            if several:
                texts = (f"{names[step.step.workpoint_id]} {texts[0]}", *texts)
            widest = max(runs, key=lambda run: run[1])
            bars += [
                _bar(step, floor - (first + people) * person, people * person, texts if run == widest else ())
                for run in runs
                for first, people in [run]
            ]
        hours, people_at_work = _people_at_work(placed)
        full = 0.7
        heights = [full * people / team.headcount for people in people_at_work]
        profiles.append(_Profile(team.name, floor + 0.1 + full, hours, heights, full))
        height = floor + full + 0.35 - bottom
        rows.append(_Row(f"{drawable(team.name, 14)}\n{words['people'].format(team.headcount)}", height))
        notes.append((bottom + height / 2, words["used"].format(schedule.team_utilization[team.name])))
        bottom += height
    return _Chart(rows, bars, [], notes, profiles)


_LAYOUTS: dict[str, Callable[[Schedule, Lang], _Chart]] = {
    "process": _process_chart,
    "workpoint": _workpoint_chart,
    "team": _team_chart,
}


def _bar(placed: ScheduledStep, bottom: float, height: float, texts: tuple[str, ...], *, beside: bool = False) -> _Bar:
    return _Bar(placed.start_h, placed.end_h, bottom, height, placed.step.team, texts, beside)


def _step_texts(placed: ScheduledStep, lang: Lang) -> tuple[str, ...]:
    name = _step_name(placed, lang)
    return (f"{name} {_WORDS[lang]['crew'].format(placed.crew)}", name)


def _step_name(placed: ScheduledStep, lang: Lang) -> str:
    name = placed.step.name
    return drawable(_ENGLISH_STEPS.get(name, name) if lang == "en" else name, 22)


def _lanes(placed: Sequence[ScheduledStep]) -> list[int]:
    """For each step (sorted by start) the lowest lane that is free while it lasts; as few lanes as possible."""
    free: list[int] = []
    busy: list[tuple[float, int]] = []
    count = 0
    lanes = []
    for step in placed:
        while busy and busy[0][0] <= step.start_h + TOLERANCE_H:
            heapq.heappush(free, heapq.heappop(busy)[1])
        if not free:
            heapq.heappush(free, count)
            count += 1
        lane = heapq.heappop(free)
        heapq.heappush(busy, (step.end_h, lane))
        lanes.append(lane)
    return lanes


def _seats(placed: Sequence[ScheduledStep], headcount: int) -> list[list[tuple[int, int]]]:
    """For each step (sorted by start) the people who do it, as runs (first person, how many).

    One run where a gap is wide enough, otherwise the lowest free people. In an invalid schedule a team may lack
    people: these seats lie above its headcount.
    """
    free_from = [0.0] * headcount
    found = []
    for step in placed:
        free = [person for person, hour in enumerate(free_from) if hour <= step.start_h + TOLERANCE_H]
        while len(free) < step.crew:
            free.append(len(free_from))
            free_from.append(0.0)
        runs = _runs(free)
        fitting = [run for run in runs if run[1] >= step.crew]
        seats = [(min(fitting, key=lambda run: run[1])[0], step.crew)] if fitting else _runs(free[: step.crew])
        for first, people in seats:
            free_from[first : first + people] = [step.end_h] * people
        found.append(seats)
    return found


def _runs(numbers: Sequence[int]) -> list[tuple[int, int]]:
    runs: list[tuple[int, int]] = []
    for number in numbers:
        if runs and number == sum(runs[-1]):
            runs[-1] = (runs[-1][0], runs[-1][1] + 1)
        else:
            runs.append((number, 1))
    return runs


def _people_at_work(placed: Sequence[ScheduledStep]) -> tuple[list[float], list[int]]:
    """People at work from each moment at which their number changes: (hours, people)."""
    changes: dict[float, int] = {0.0: 0}
    for step in placed:
        for hour, people in ((step.start_h, step.crew), (step.end_h, -step.crew)):
            changes[round(hour, 6)] = changes.get(round(hour, 6), 0) + people
    hours = sorted(changes)
    people_at_work, now = [], 0
    for hour in hours:
        now += changes[hour]
        people_at_work.append(now)
    return hours, people_at_work


# --- drawing ---


def _text_in(text: str, points: float) -> float:
    """About how wide `text` is, in inches: hanzi are square, other characters a little over half as wide."""
    return sum(1.0 if character > "⺀" else 0.57 for character in text) * points / 72.0


def _label_points(row_in: float) -> float:
    return max(3.0, min(9.0, row_in * 72.0 * 0.62))


def _left_margin_in(rows: Sequence[_Row], row_in: float) -> float:
    lines = (line for row in rows for line in row.label.split("\n"))
    return min(4.0, 0.35 + max(_text_in(line, _label_points(row_in)) for line in lines))


def _draw_frame(axes: "Axes", chart: _Chart, row_in: float, hours: str) -> None:
    middles, edge = [], 0.0
    for row in chart.rows:
        middles.append(edge + row.height / 2)
        edge += row.height
        if row.height > 1.0:
            axes.axhline(edge, color=PALE, linewidth=0.8, zorder=0.5)
    for bottom, top in chart.shaded:
        axes.axhspan(bottom, top, color="#F4F6F8", zorder=0)
    axes.set_yticks(middles, [row.label for row in chart.rows], fontsize=_label_points(row_in), color=INK)
    axes.tick_params(axis="y", length=0)
    axes.tick_params(axis="x", labelsize=9, color=PALE, labelcolor=INK)
    axes.grid(axis="x", color=PALE, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.set_xlabel(hours, fontsize=9, color=INK)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(PALE)
    for height, note in chart.margin_notes:
        axes.text(1.01, height, note, transform=axes.get_yaxis_transform(), fontsize=9, color=INK, va="center")


def _draw_bars(axes: "Axes", chart: _Chart, schedule: Schedule, hour_in: float, row_in: float) -> None:
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
    faces = [colours[bar.team] for bar in chart.bars]
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
        if points < 4.0 or not bar.texts:  # nobody could read it
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


def _fitted(texts: Sequence[str], width_in: float, points: float) -> str:
    """The first of `texts` that fits, or the last cut short; nothing if less than two characters of it remain."""
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


def _draw_marks(axes: "Axes", makespan_h: float, lower_bound_h: float | None, words: dict[str, str]) -> None:
    above = axes.get_xaxis_transform()
    if lower_bound_h is not None:
        axes.axvline(lower_bound_h, color=INK, linewidth=1.2, linestyle=(0, (4, 3)), zorder=2)
        text = f"{words['lower_bound']} {lower_bound_h:.2f} h "
        axes.text(lower_bound_h, 1.0, text, transform=above, fontsize=9, color=INK, ha="right", va="bottom")
    axes.axvline(makespan_h, color="#B3261E", linewidth=1.6, zorder=2)
    near_edge = makespan_h > 0.85 * axes.get_xlim()[1]
    if lower_bound_h is None or not near_edge:
        align = "right" if near_edge else "left"
        text = f" {words['makespan']} {makespan_h:.2f} h "
        axes.text(makespan_h, 1.0, text, transform=above, fontsize=9, color="#B3261E", ha=align, va="bottom")
    else:
        # The bound's label ends at its line, at most as far right as this one begins: the second line avoids a clash.
        text = f"{words['makespan']} {makespan_h:.2f} h"
        axes.annotate(
            text,
            (makespan_h, 1.0),
            xycoords=above,
            xytext=(0, 13),
            textcoords="offset points",
            fontsize=9,
            color="#B3261E",
            ha="right",
            va="bottom",
        )


def _draw_legend(
    drawn: "Figure", schedule: Schedule, words: dict[str, str], *, at_work: bool, height_in: float
) -> None:
    from matplotlib.patches import Patch

    colours = _team_colours(schedule)
    handles = [Patch(color=colours[team], label=drawable(team, 14)) for team in schedule.team_utilization]
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


def _is_dark(colour: str) -> bool:
    red, green, blue = (int(colour[start : start + 2], 16) for start in (1, 3, 5))
    return 0.299 * red + 0.587 * green + 0.114 * blue < 140.0
