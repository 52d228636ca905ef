"""Gantt charts: their content for any names, and their size."""

import itertools
import random
from xml.etree import ElementTree

import pytest

from scheduler_env import SAMPLE_PARAMS, Instance, Schedule, ScheduledStep, Team, gantt
from scheduler_env.fonts import NOT_IN_FONT, drawable, use_cjk_font
from scheduler_env.standard_cycle import DEFAULT_TEAMS, crew_modes, standard_workpoint

VIEWS = ("process", "workpoint", "team")


pytestmark = pytest.mark.filterwarnings("error")  # matplotlib only warns about a missing glyph


def greedy(instance: Instance) -> Schedule:
    """A valid schedule: each step in the mode at a quarter of its list, as early as its team allows."""
    capacity = instance.capacity
    placed: dict[int, ScheduledStep] = {}

    def fits(candidate: ScheduledStep) -> bool:
        team = [other for other in placed.values() if other.step.team == candidate.step.team]
        moments = [candidate.start_h] + [
            other.start_h for other in team if candidate.start_h < other.start_h < candidate.end_h
        ]
        return all(
            candidate.crew + sum(other.crew for other in team if other.start_h <= moment < other.end_h - 1e-9)
            <= capacity[candidate.step.team]
            for moment in moments
        )

    for activity in instance.topological_order:
        step = instance.steps[activity]
        mode = step.modes[len(step.modes) // 4]
        ready = max((placed[before].end_h for before in instance.predecessors[activity]), default=0.0)
        starts = sorted({ready} | {other.end_h for other in placed.values() if other.end_h > ready})
        placed[activity] = next(
            candidate for candidate in (ScheduledStep(step, mode, start) for start in starts) if fits(candidate)
        )
    return Schedule(instance, tuple(placed.values()))


def schedule_of(workpoints: int, name: str = "工作点{}") -> Schedule:
    rng = random.Random(workpoints)
    return greedy(
        Instance(
            DEFAULT_TEAMS,
            tuple(
                standard_workpoint(
                    str(number),
                    name.format(number),
                    SAMPLE_PARAMS if number == 1 else [rng.uniform(2, 20) for _ in range(15)],
                )
                for number in range(1, workpoints + 1)
            ),
        )
    )


def texts(figure) -> list[str]:
    from matplotlib.text import Text

    return [text.get_text() for text in figure.findobj(Text) if text.get_text()]


@pytest.mark.parametrize(("view", "lang", "workpoints"), [*itertools.product(VIEWS, ("zh", "en"), (1, 3))])
def test_a_view_shows_makespan_bound_and_teams(view, lang, workpoints):
    schedule = schedule_of(workpoints)
    assert schedule.violations() == []

    figure = gantt.figure(schedule, view, lower_bound_h=schedule.makespan_h * 0.9, lang=lang)

    assert gantt.to_png(figure).startswith(b"\x89PNG")
    ElementTree.fromstring(gantt.to_svg(figure))
    shown = " ".join(texts(figure))
    assert f"{schedule.makespan_h:.2f} h" in shown
    assert f"{schedule.makespan_h * 0.9:.2f} h" in shown
    assert "≤ 11.1%" in shown
    assert all(team.name in shown for team in schedule.instance.teams)


@pytest.mark.parametrize("view", VIEWS)
def test_a_chart_of_twenty_work_points_has_a_usable_size(view):
    figure = gantt.figure(schedule_of(20), view)
    gantt.to_png(figure)
    assert figure.get_figheight() <= gantt.MAX_HEIGHT_IN


def test_labels_of_many_rows_are_legible_and_do_not_overlap(monkeypatch):
    monkeypatch.setattr(gantt, "MAX_HEIGHT_IN", 8.0)  # as many inches per row as the largest instance has
    figure = gantt.figure(schedule_of(20), "process")
    (axes,) = figure.axes
    labels = [text for text in axes.texts if text.get_ha() == "right" and text.get_position()[0] < 0.0]
    row_in = axes.get_position().height * figure.get_figheight() / axes.get_ylim()[0]
    heights = [text.get_position()[1] for text in labels]
    assert 30 < len(labels) < 100, "of 300"
    assert all(text.get_fontsize() >= gantt.MIN_LABEL_PT for text in labels)
    assert min(map(float.__sub__, heights[1:], heights)) * row_in * 72.0 >= gantt.MIN_LABEL_PT - 1e-6


def test_the_process_view_has_a_row_for_each_step_with_its_crew():
    schedule = schedule_of(1)
    figure = gantt.figure(schedule, "process")
    names = {step.name for step in schedule.instance.steps}
    assert sorted(text for text in texts(figure) if text in names) == sorted(names)
    crews = [text for text in texts(figure) if text.strip().endswith("人")]
    assert sorted(int(text.strip()[:-1]) for text in crews) == sorted(placed.crew for placed in schedule.steps)


@pytest.mark.parametrize(
    ("name", "place"), [("锅炉", "E-101 锅炉"), ("锅炉 E-101", "锅炉 E-101"), ("锅炉 E-1011", "E-101 锅炉 E-1011")]
)
@pytest.mark.parametrize("view", ["process", "workpoint", "team"])
def test_every_view_names_the_equipment_by_number(view, name, place):
    named = (("E-101", name), ("E-102", "换热器"))
    workpoints = tuple(standard_workpoint(number, result, SAMPLE_PARAMS) for number, result in named)
    drawn = texts(gantt.figure(greedy(Instance(DEFAULT_TEAMS, workpoints)), view))
    shown = place[:8] if view != "team" else ("E-101 ", "锅炉 E-101")  # a bar may have room for the number only
    assert any(text.startswith(shown) for text in drawn)
    assert any(text.startswith("E-102") for text in drawn)


def test_the_standard_steps_have_english_names_in_an_english_chart():
    shown = texts(gantt.figure(schedule_of(1), "process", lang="en"))
    assert "scaffolding" in shown
    assert not any(character > "⺀" for text in shown for character in text)


def test_crews_of_a_team_never_overlap_in_the_team_view():
    figure = gantt.figure(schedule_of(3), "team")
    boxes = [path.get_extents() for path in figure.axes[0].collections[0].get_paths()]
    assert len(boxes) >= 45
    for one, other in itertools.combinations(boxes, 2):
        apart = (
            one.x1 <= other.x0 + 1e-6
            or other.x1 <= one.x0 + 1e-6
            or one.y1 <= other.y0 + 1e-6
            or other.y1 <= one.y0 + 1e-6
        )
        assert apart


def test_names_from_users_are_drawn_literally_and_break_no_chart():
    hostile = "$\\frac{1}{0}$ 𠮷😀\n<script>&" + "很长" * 200
    team = Team("$x^", 4)
    instance = Instance((*DEFAULT_TEAMS, team), (standard_workpoint("1", hostile), standard_workpoint("2", "")))
    step = instance.workpoints[0].steps[0]
    odd = type(step)("odd", hostile, "1", team.name, 1, crew_modes(3.0, team))
    instance = Instance(
        instance.teams,
        (type(instance.workpoints[0])("1", hostile, (*instance.workpoints[0].steps, odd)), instance.workpoints[1]),
    )
    schedule = greedy(instance)
    for view in VIEWS:
        figure = gantt.figure(schedule, view)
        gantt.to_png(figure)
        ElementTree.fromstring(gantt.to_svg(figure))
        assert all(len(text) < 120 for text in texts(figure))


def test_characters_missing_in_the_font_become_a_visible_mark():
    assert drawable("返修𠮷😀\x00") == f"返修{NOT_IN_FONT * 3}"
    assert drawable("a\n b" * 30, 10) == "a ba ba b…"


def test_the_settings_of_matplotlib_are_restored():
    import matplotlib

    before = dict(matplotlib.rcParams)
    with use_cjk_font():
        assert matplotlib.rcParams["font.family"] == ["Chart Sans SC"]
    assert dict(matplotlib.rcParams) == before


def test_an_unknown_view_is_refused():
    with pytest.raises(ValueError, match="'pie' is not one of process, workpoint, team"):
        gantt.figure(schedule_of(1), "pie")  # type: ignore[arg-type]


@pytest.mark.parametrize("view", VIEWS)
def test_the_number_of_drawn_objects_is_linear_in_the_steps(view):
    artists = {count: len(gantt.figure(schedule_of(count), view).findobj()) for count in (3, 6, 12)}
    assert artists[12] - artists[6] <= 2.2 * (artists[6] - artists[3])
