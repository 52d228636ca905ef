"""Where everything of a Gantt chart goes, before anything is drawn: rows, bars and their texts, headcount profiles.

Heights count in rows of the process view, from the top down; `gantt` draws them.
"""

import heapq
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from scheduler_env.fonts import drawable
from scheduler_env.problem import WorkPoint
from scheduler_env.schedule import TOLERANCE_H, Schedule, ScheduledStep
from scheduler_env.standard_cycle import STANDARD_STEPS

View = Literal["process", "workpoint", "team"]
Lang = Literal["zh", "en"]

WORDS = {
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
MOST_OF_AN_ID = 16
"""Characters of a work point's number that are drawn."""
_ENGLISH_STEPS = {standard.name_zh: standard.name for standard in STANDARD_STEPS}


@dataclass(frozen=True, slots=True)
class Row:
    """A horizontal strip of the chart."""

    label: str
    height: float


@dataclass(frozen=True, slots=True)
class Bar:
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
class Profile:
    """The people of a team at work from each of `hours` on, as an area over the line `floor`."""

    team: str
    floor: float
    hours: list[float]
    heights: list[float]
    full: float  # the height at which everybody works


@dataclass(frozen=True, slots=True)
class Chart:
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
            label = f"{_place(workpoint, 10)}  {name}" if several else name
            bars.append(_bar(step, len(rows) + 0.12, 0.76, (crew.format(step.crew),), beside=True))
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
            _bar(step, bottom + 0.15 + 0.9 * lane, 0.84, _step_texts(step, lang))
            for step, lane in zip(placed, lanes, strict=True)
        ]
        if number % 2:
            shaded.append((bottom, bottom + height))
        rows.append(Row(_place(workpoint, 16), height))
        bottom += height
    return Chart(rows, bars, shaded, [], [])


def _team_chart(schedule: Schedule, lang: Lang) -> Chart:
    words = WORDS[lang]
    several = len(schedule.instance.workpoints) > 1
    places = {each.id: (_place(each, 8), _short_place(each, 8)) for each in schedule.instance.workpoints}
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
        # Few people get room for a name, many share a band that still fits the page.
        person = max(0.25, 1.6 / team.headcount) if team.headcount <= 40 else 10.0 / team.headcount
        floor = bottom + 0.25 + team.headcount * person
        for step, runs in zip(placed, _seats(placed, team.headcount), strict=True):
            texts = _step_texts(step, lang)
            if several:
                place, short = places[step.step.workpoint_id]
                texts = (f"{place} {texts[0]}", f"{short} {texts[0]}", f"{short} {texts[1]}", *texts)
            widest = max(runs, key=lambda run: run[1])
            bars += [
                _bar(step, floor - (first + people) * person, people * person, texts if run == widest else ())
                for run in runs
                for first, people in [run]
            ]
        hours, people_at_work = _people_at_work(placed)
        full = 0.7
        heights = [full * people / team.headcount for people in people_at_work]
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


def _bar(placed: ScheduledStep, bottom: float, height: float, texts: tuple[str, ...], *, beside: bool = False) -> Bar:
    return Bar(placed.start_h, placed.end_h, bottom, height, placed.step.team, texts, beside)


def _place(workpoint: WorkPoint, most: int) -> str:
    """The number of a work point, by which people know the equipment, and its name of `most` characters at most."""
    if _tells_id(workpoint):
        return drawable(workpoint.name, most + MOST_OF_AN_ID)
    return f"{drawable(workpoint.id, MOST_OF_AN_ID)} {drawable(workpoint.name, most)}"


def _short_place(workpoint: WorkPoint, most: int) -> str:
    """Where there is little room: the number, or the name that tells it."""
    return drawable(workpoint.name, most) if _tells_id(workpoint) else drawable(workpoint.id, MOST_OF_AN_ID)


def _tells_id(workpoint: WorkPoint) -> bool:
    """Whether the name has the number in it already, as 工作点1 has."""
    whole = rf"(?<![0-9A-Za-z]){re.escape(workpoint.id)}(?![0-9A-Za-z])"
    return re.search(whole, workpoint.name) is not None


def _step_texts(placed: ScheduledStep, lang: Lang) -> tuple[str, ...]:
    name = _step_name(placed, lang)
    return (f"{name} {WORDS[lang]['crew'].format(placed.crew)}", name)


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
