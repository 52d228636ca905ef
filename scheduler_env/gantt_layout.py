"""The layout of a Gantt chart, independent of drawing: rows, bars with their texts, headcount profiles.

Heights are in rows of the process view, measured from the top; `gantt` draws the layout.
"""

import heapq
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from scheduler_env.fonts import drawable
from scheduler_env.problem import WorkPoint
from scheduler_env.replan.report import state_of
from scheduler_env.schedule import TOLERANCE_H, Schedule, ScheduledStep
from scheduler_env.standard_cycle import STANDARD_STEPS

View = Literal["process", "workpoint", "team"]
Lang = Literal["zh", "en"]

WORDS = {
    "zh": {
        "process": "工序视图",
        "workpoint": "工作点视图",
        "team": "班组视图",
        "makespan": "总工期",
        "lower_bound": "理论最短工期",
        "gap": "比理论最短多",
        "hours": "时间（小时）",
        "people": "{} 人",
        "crew": "{}人",
        "used": "利用率 {:.0%}",
        "at_work": "作业人数（浅色）",
        "data_date": "数据日期",
        "done": "已完工（浅色）",
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
        "used": "{:.0%} utilized",
        "at_work": "people working (light)",
        "data_date": "data date",
        "done": "done (pale)",
    },
}
MAX_ID_CHARACTERS = 16
"""Maximum number of characters of a work point's id that are drawn."""
_ENGLISH_STEPS = {standard.name_zh: standard.name for standard in STANDARD_STEPS}


@dataclass(frozen=True, slots=True)
class Row:
    """A horizontal strip of the chart."""

    label: str
    height: float


@dataclass(frozen=True, slots=True)
class Bar:
    """A rectangle of the chart; the first of `texts` that fits is drawn inside, or the last one, shortened.

    With `beside`, a text that does not fit is drawn next to the bar. `is_pale`: the step is done.
    """

    start_h: float
    end_h: float
    bottom: float
    height: float
    team: str
    texts: tuple[str, ...]
    beside: bool = False
    is_pale: bool = False


@dataclass(frozen=True, slots=True)
class Profile:
    """The number of working people of a team over time, as an area above the line `floor`."""

    team: str
    floor: float
    hours: list[float]  # the times at which the number changes
    heights: list[float]  # the height from each of these times on
    full: float  # the height of everybody who is ever there


@dataclass(frozen=True, slots=True)
class Chart:
    """The complete layout of one view."""

    rows: list[Row]
    bars: list[Bar]
    shaded: list[tuple[float, float]]  # (bottom, top) of every other group
    margin_notes: list[tuple[float, str]]  # (height, text) right of the chart
    profiles: list[Profile]


def _process_chart(schedule: Schedule, lang: Lang) -> Chart:
    crew = WORDS[lang]["crew"]
    placed_by_id = {placed.step.id: placed for placed in schedule.steps}
    several = len(schedule.instance.workpoints) > 1
    rows: list[Row] = []
    bars: list[Bar] = []
    shaded: list[tuple[float, float]] = []
    for number, workpoint in enumerate(schedule.instance.workpoints):
        if number % 2:
            shaded.append((len(rows), len(rows) + len(workpoint.steps)))
        for step in sorted((placed_by_id[step.id] for step in workpoint.steps), key=lambda placed: placed.start_h):
            name = _step_name(step, lang)
            label = f"{_label(workpoint, 10)}  {name}" if several else name
            done = _is_done(schedule, step)
            bars.append(_bar(step, len(rows) + 0.12, 0.76, (crew.format(step.crew),), beside=True, is_pale=done))
            rows.append(Row(label, 1.0))
    return Chart(rows, bars, shaded, [], [])


def _workpoint_chart(schedule: Schedule, lang: Lang) -> Chart:
    rows: list[Row] = []
    bars: list[Bar] = []
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
            _bar(step, bottom + 0.15 + 0.9 * lane, 0.84, _step_texts(step, lang), is_pale=_is_done(schedule, step))
            for step, lane in zip(placed, lanes, strict=True)
        ]
        if number % 2:
            shaded.append((bottom, bottom + height))
        rows.append(Row(_label(workpoint, 16), height))
        bottom += height
    return Chart(rows, bars, shaded, [], [])


def _team_chart(schedule: Schedule, lang: Lang) -> Chart:
    words = WORDS[lang]
    several = len(schedule.instance.workpoints) > 1
    places = {each.id: (_label(each, 8), _short_label(each, 8)) for each in schedule.instance.workpoints}
    rows: list[Row] = []
    bars: list[Bar] = []
    notes: list[tuple[float, str]] = []
    profiles: list[Profile] = []
    bottom = 0.0
    for team in schedule.instance.teams:
        if team.name not in schedule.team_utilization:
            continue
        placed = sorted(
            (placed for placed in schedule.steps if placed.step.team == team.name and placed.crew),
            key=lambda placed: placed.start_h,
        )
        hours, people_at_work = _people_at_work(placed)
        # More than the headcount may be there, and even more may be reported at work.
        most = max(team.headcount, schedule.instance.capacity[team.name], *people_at_work)
        # The rows of a small team are high enough for a text; a large team's band still fits on the page.
        person = max(0.25, 1.6 / most) if most <= 40 else 10.0 / most
        floor = bottom + 0.25 + most * person
        for step, runs in zip(placed, _seats(placed, most), strict=True):
            texts = _step_texts(step, lang)
            if several:
                place, short = places[step.step.workpoint_id]
                texts = (f"{place} {texts[0]}", f"{short} {texts[0]}", f"{short} {texts[1]}", *texts)
            widest, done = max(runs, key=lambda run: run[1]), _is_done(schedule, step)
            bars += [
                _bar(
                    step,
                    floor - (first + people) * person,
                    people * person,
                    texts if run == widest else (),
                    is_pale=done,
                )
                for run in runs
                for first, people in [run]
            ]
        full = 0.7
        heights = [full * people / most for people in people_at_work]
        profiles.append(Profile(team.name, floor + 0.1 + full, hours, heights, full))
        height = floor + full + 0.35 - bottom
        rows.append(Row(f"{drawable(team.name, 14)}\n{words['people'].format(team.headcount)}", height))
        notes.append((bottom + height / 2, words["used"].format(schedule.team_utilization[team.name])))
        bottom += height
    return Chart(rows, bars, [], notes, profiles)


LAYOUTS: dict[str, Callable[[Schedule, Lang], Chart]] = {
    "process": _process_chart,
    "workpoint": _workpoint_chart,
    "team": _team_chart,
}


def _bar(
    placed: ScheduledStep,
    bottom: float,
    height: float,
    texts: tuple[str, ...],
    *,
    beside: bool = False,
    is_pale: bool = False,
) -> Bar:
    return Bar(placed.start_h, placed.end_h, bottom, height, placed.step.team, texts, beside, is_pale)


def _is_done(schedule: Schedule, placed: ScheduledStep) -> bool:
    status = schedule.instance.status
    return status is not None and state_of(placed.step.id, status) == "done"


def _label(workpoint: WorkPoint, max_characters: int) -> str:
    """The id of a work point, by which people know the equipment, and at most `max_characters` of its name."""
    if _contains_id(workpoint):
        return drawable(workpoint.name, max_characters + MAX_ID_CHARACTERS)
    return f"{drawable(workpoint.id, MAX_ID_CHARACTERS)} {drawable(workpoint.name, max_characters)}"


def _short_label(workpoint: WorkPoint, max_characters: int) -> str:
    """The id of a work point, or its name if the name contains the id; for narrow bars."""
    if _contains_id(workpoint):
        return drawable(workpoint.name, max_characters)
    return drawable(workpoint.id, MAX_ID_CHARACTERS)


def _contains_id(workpoint: WorkPoint) -> bool:
    """Whether the name contains the id, as 工作点1 does."""
    whole = rf"(?<![0-9A-Za-z]){re.escape(workpoint.id)}(?![0-9A-Za-z])"
    return re.search(whole, workpoint.name) is not None


def _step_texts(placed: ScheduledStep, lang: Lang) -> tuple[str, ...]:
    name = _step_name(placed, lang)
    return (f"{name} {WORDS[lang]['crew'].format(placed.crew)}", name)


def _step_name(placed: ScheduledStep, lang: Lang) -> str:
    name = placed.step.name
    return drawable(_ENGLISH_STEPS.get(name, name) if lang == "en" else name, 22)


def _lanes(placed: Sequence[ScheduledStep]) -> list[int]:
    """The lane of each step (sorted by start): the lowest free one, which uses the fewest lanes possible."""
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
    """The people who work on each step (sorted by start), as runs (first person, number of people).

    One run if a gap is wide enough, otherwise the lowest free people. In an invalid schedule a team may have too few
    people; the additional ones are numbered from its headcount on.
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
    """Ascending numbers as runs of consecutive ones (first, length)."""
    runs: list[tuple[int, int]] = []
    for number in numbers:
        if runs and number == sum(runs[-1]):
            runs[-1] = (runs[-1][0], runs[-1][1] + 1)
        else:
            runs.append((number, 1))
    return runs


def _people_at_work(placed: Sequence[ScheduledStep]) -> tuple[list[float], list[int]]:
    """The number of working people over time: (hours at which it changes, number from then on)."""
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
