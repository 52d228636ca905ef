"""Who is there when: availability beside the headcount, releases and reference crews, from request to schedule."""

from dataclasses import replace
from pathlib import Path

import pytest

from scheduler_env import SAMPLE_PARAMS, InvalidInstance, Schedule, standard_instance
from scheduler_env.agent import Agent, load_agent
from scheduler_env.availability import Interval, levels, person_hours
from scheduler_env.problem import Team
from scheduler_env.readers import instance_from_request
from scheduler_env.rules import ALL_RULES, solve_by_rule
from scheduler_env.standard_cycle import duration_h
from tests.instances import three_points

SAMPLE = list(SAMPLE_PARAMS)


@pytest.fixture(scope="module")
def agent() -> Agent:
    return load_agent(Path(__file__).parent.parent / "models" / "seed" / "ddqn_v2.pth")


def flagship(**teams) -> dict:
    return {"params": SAMPLE, "teams": {name: {"availability": there} for name, there in teams.items()}}


def absent(from_h, to_h, people=0) -> list[dict]:
    return [{"from": from_h, "to": to_h, "people": people}]


def refused(payload) -> InvalidInstance:
    with pytest.raises(InvalidInstance) as caught:
        instance_from_request(payload)
    return caught.value


def moved(schedule: Schedule, step_id: str, start_h: float) -> Schedule:
    steps = [placed._replace(start_h=start_h) if placed.step.id == step_id else placed for placed in schedule.steps]
    return Schedule(schedule.instance, tuple(steps))


# --- schedules ---


@pytest.mark.parametrize(("people", "hours"), [(8, 59.86), (9, 56.71), (10, 52.87), (11, 52.21), (12, 50.44)])
def test_more_people_shorten_the_flagship_and_fewer_lengthen_it(agent, people, hours):
    found = agent.solve(instance_from_request(flagship(team3=people)), time_budget_ms=600_000, max_evaluations=20_000)
    # The hours of PLANNING.md are of durations rounded up to 0.01 h, five of them one after the other.
    assert hours - 0.03 <= found.schedule.makespan_h <= hours + 0.005
    assert found.lower_bound_h == pytest.approx(found.schedule.makespan_h), "proved"


def test_people_above_the_headcount_form_more_crews_and_none_is_larger_than_the_headcount():
    instance = instance_from_request(flagship(team3=20))
    assert max(step.crew(mode) for step in instance.steps for mode in step.modes if step.team == "team3") == 10
    assert instance.capacity["team3"] == 20


def test_durations_do_not_depend_on_who_is_there():
    usual, short = (
        {step.id: {mode.demand: mode.duration_h for mode in step.modes} for step in instance.steps}
        for instance in (standard_instance(SAMPLE), instance_from_request(flagship(team3=6, team5=absent(0, 90, 3))))
    )
    assert all(usual[step_id][demand] == hours for step_id in short for demand, hours in short[step_id].items())


def test_a_step_ends_before_its_crew_leaves_or_begins_when_it_is_back(agent):
    for until_h, start_h in ((7.9, 10.0), (8.0, 0.0)):  # the scaffolding takes everybody 8 hours
        found = agent.solve(instance_from_request(flagship(team1=absent(until_h, 10.0, 4))), time_budget_ms=20)
        assert found.schedule.steps[0].start_h == pytest.approx(start_h)


@pytest.mark.parametrize("rule", ALL_RULES, ids=str)
def test_every_rule_waits_for_people_and_releases_also_while_nobody_is_at_work(rule):
    body = flagship(team2=absent(3, 30, 1), team3=absent(40, 60, 5), team6=absent(0, 100))
    body["workpoints"] = [{"params": body.pop("params"), "release": 5}]
    schedule = solve_by_rule(instance_from_request(body), rule).schedule
    assert schedule.violations() == []
    starts = {placed.step.id: placed.start_h for placed in schedule.steps}
    assert starts["1.1"] == 5.0
    assert starts["1.14"] >= 100.0


def test_a_dedicated_team_stands_still_while_fewer_are_there_and_has_one_crew_if_more_are(agent):
    steps = [{"name": name, "team": "team4", "duration": 5} for name in "ab"]
    body = {"workpoints": [{"steps": steps}]}
    for there, hours in ((absent(2, 6, 4), 14.0), (10, 8.0)):
        instance = instance_from_request(body | {"teams": {"team4": {"availability": there}}})
        found = agent.solve(instance, time_budget_ms=20)
        assert found.schedule.makespan_h == pytest.approx(hours)
        assert found.lower_bound_h == pytest.approx(hours)


def test_an_absence_that_no_step_meets_changes_nothing(agent):
    usual = agent.solve(standard_instance(SAMPLE), time_budget_ms=20)
    found = agent.solve(instance_from_request(flagship(team3=absent(500, 600))), time_budget_ms=1000)
    assert found.schedule.makespan_h == pytest.approx(usual.schedule.makespan_h, abs=0.01)


def test_a_step_is_not_started_before_its_release_or_that_of_its_work_point(agent):
    steps = [{"name": "a", "team": "team3", "duration": 2, "release": 7}, {"name": "b", "team": "team5", "duration": 2}]
    found = agent.solve(instance_from_request({"workpoints": [{"steps": steps, "release": 3.5}]}), time_budget_ms=20)
    assert [placed.start_h for placed in found.schedule.steps] == [7.0, 3.5]
    assert found.lower_bound_h == pytest.approx(found.schedule.makespan_h)


def test_three_work_points_that_are_handed_over_late_need_38_hours(agent):
    """PLANNING.md: two teams, one after the other; 32 h without the releases. Crews work at the curve's full team."""
    teams = {"team1": {"headcount": 5}, "team4": {"headcount": 5}}
    body = three_points(teams=teams)
    points = body["workpoints"]
    found = agent.solve(instance_from_request(body), time_budget_ms=200)
    assert found.schedule.makespan_h == pytest.approx(32.0)
    late = [point | {"release": hour} for point, hour in zip(points, (10, 6, 12), strict=True)]
    found = agent.solve(instance_from_request({"workpoints": late, "teams": teams}), time_budget_ms=200)
    assert found.schedule.makespan_h == pytest.approx(38.0)


# --- reference crews ---


def test_the_hours_of_a_step_hold_for_its_reference_crew_and_the_curve_gives_the_others():
    step = {"name": "a", "team": "team3", "duration": 8, "reference_crew": 2}
    (read,) = instance_from_request({"workpoints": [{"steps": [step]}]}).steps
    hours = {read.crew(mode): mode.duration_h for mode in read.modes}
    assert hours[2] == 8.0
    assert hours[10] == pytest.approx(8.0 * duration_h(1, 10, 10) / duration_h(1, 2, 10))


def test_two_requests_that_differ_only_in_hours_keep_their_reference_crew():
    for hours in (8, 5):
        step = {"name": "a", "team": "team3", "duration": hours, "reference_crew": 3}
        (read,) = instance_from_request({"workpoints": [{"steps": [step], "release": 2}]}).steps
        assert read.modes[1].duration_h == hours
        assert read.release_h == 2.0


# --- utilisation ---


def test_utilisation_is_over_the_hours_of_the_people_who_are_there(agent):
    usual = agent.solve(standard_instance(SAMPLE), time_budget_ms=20).schedule
    for there, person_hours_there in (
        (12, lambda end_h: 12 * end_h),
        (absent(10, 20, 4), lambda end_h: 10 * end_h - 60),
        (absent(50, 90, 30), lambda end_h: 10 * end_h + 20 * (end_h - 50)),
    ):
        instance = instance_from_request(flagship(team2=there))
        schedule = Schedule(instance, usual.steps)
        end_h = usual.makespan_h
        share = usual.team_utilization["team2"] * 10 * end_h / person_hours_there(end_h)
        assert schedule.team_utilization["team2"] == pytest.approx(share)
        all_people = 40 * end_h + person_hours_there(end_h)
        assert schedule.resource_utilization == pytest.approx(usual.resource_utilization * 50 * end_h / all_people)


@pytest.mark.parametrize(("until_h", "hours"), [(0.0, 0.0), (2.0, 20.0), (4.0, 36.0), (6.0, 48.0), (9.0, 93.0)])
def test_the_people_there_are_summed_over_time(until_h, hours):
    rows = levels(10, (Interval(6.0, 9.0, 15), Interval(3.0, 5.0, 6), Interval(5.0, 6.0, 6)))
    assert rows == ((0.0, 10), (3.0, 6), (6.0, 15), (9.0, 10))
    assert person_hours(rows, until_h) == pytest.approx(hours)


# --- violations ---


@pytest.fixture(scope="module")
def schedule(agent) -> Schedule:
    body = flagship(team2=absent(20, 25, 9), team3=absent(70, 90, 1))
    return agent.solve(instance_from_request(body), time_budget_ms=20).schedule


def test_more_people_at_work_than_there_are_found(schedule):
    assert schedule.violations() == []
    grinding = next(placed for placed in schedule.steps if placed.step.id == "1.3")
    full = grinding.step.modes[-1]
    early = [placed._replace(mode=full, start_h=16.0) if placed is grinding else placed for placed in schedule.steps]
    found = Schedule(schedule.instance, tuple(early)).violations()
    assert any("'team2' needs 10 people at 20.0000 h, when 9 are there" in text for text in found)


def test_a_step_may_begin_and_end_at_the_hour_at_which_people_come_and_go(agent):
    body = flagship(team1=absent(8, 9, 0), team2=absent(0, 9, 0))
    found = agent.solve(instance_from_request(body), time_budget_ms=20).schedule
    assert (found.steps[0].start_h, found.steps[1].start_h) == (0.0, 9.0)
    assert found.violations() == []


def test_a_step_before_its_release_is_found(agent):
    steps = [{"name": "a", "team": "team3", "duration": 2, "release": 7}]
    schedule = agent.solve(instance_from_request({"workpoints": [{"id": "w", "steps": steps}]})).schedule
    assert any("before its release at 7.0 h" in text for text in moved(schedule, "w.1", 6.9).violations())


def test_a_critical_sequence_begins_where_people_come_back(agent):
    found = agent.solve(instance_from_request(flagship(team3=absent(0, 60))), time_budget_ms=200).schedule
    assert "1.1" not in found.critical_steps, "the scaffolding is done long before"
    assert "1.15" in found.critical_steps


# --- refusals ---


@pytest.mark.parametrize(
    ("availability", "code", "place"),
    [
        (-1, "people_out_of_range", ()),
        (1001, "people_out_of_range", ()),
        (2.5, "people_or_intervals", ()),
        ("6", "people_or_intervals", ()),
        (True, "people_or_intervals", ()),
        ({"from": 1, "to": 2, "people": 3}, "people_or_intervals", ()),
        ([6], "not_a_json_object", (0,)),
        ([{"from": 1, "people": 3}], "missing", (0, "to")),
        ([{"from": -1, "to": 2, "people": 3}], "greater_than_equal", (0, "from")),
        ([{"from": 1, "to": 2e6, "people": 3}], "less_than_equal", (0, "to")),
        ([{"from": "1", "to": 2, "people": 3}], "float_type", (0, "from")),
        ([{"from": 1, "to": 2, "people": -3}], "greater_than_equal", (0, "people")),
        ([{"from": 1, "to": 2, "people": 3, "form": 1}], "unknown_member_near", (0, "form")),
        ([{"from": 2, "to": 2, "people": 3}], "interval_ends_first", (0, "to")),
        ([{"from": 5, "to": 9, "people": 3}, {"from": 1, "to": 5.5, "people": 2}], "intervals_overlap", (0, "from")),
        ([{"from": 5, "to": 9, "people": 3}] * 201, "too_long", ()),
    ],
)
def test_an_impossible_availability_is_refused_where_it_stands(availability, code, place):
    err = refused({"params": SAMPLE, "teams": [{"name": "team3", "availability": availability}]})
    assert (err.code, err.loc) == (code, ("teams", 0, "availability", *place))


def test_intervals_may_touch_and_need_no_order():
    there = [*absent(5, 9, 3), *absent(1, 5, 2)]
    instance = instance_from_request(flagship(team3=there))
    assert instance.levels["team3"] == ((0.0, 10), (1.0, 2), (5.0, 3), (9.0, 10))


def test_a_step_that_no_crew_can_ever_do_is_named():
    steps = [{"name": "weld", "team": "team3", "duration": 3, "min_crew": 5}]
    err = refused({"workpoints": [{"steps": steps}], "teams": {"team3": {"availability": 4}}})
    assert (err.code, err.loc) == ("no_crew_there", ("workpoints", 0, "steps", 0, "team"))
    assert "weld" in str(err)
    err = refused(flagship(team4=4))
    assert (err.code, err.loc, err.params["step"]) == ("no_crew_there", ("teams",), "射线检测")


@pytest.mark.parametrize("field", ["reference_crew", "release"])
def test_impossible_crews_and_releases_are_refused_where_they_stand(field):
    steps = [{"name": "a", "team": "team3", "duration": 3, field: {"reference_crew": 11, "release": -1}[field]}]
    assert refused({"workpoints": [{"steps": steps}]}).loc == ("workpoints", 0, "steps", 0, field)


def test_a_team_of_the_library_is_born_valid():
    with pytest.raises(InvalidInstance, match="overlaps"):
        replace(Team("a", 5), availability=(Interval(0, 5, 1), Interval(4, 6, 1)))
