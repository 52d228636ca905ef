"""Every mistake of a request is told at once, and none that nobody made."""

import copy
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler_env.errors import InvalidInstance
from scheduler_env.json_requests import read_request
from scheduler_env.readers import instance_from_request


def step(name="A", team="team3", duration=4, **more):
    return {"name": name, "team": team, "duration": duration, **more}


MASS = {f"k{number}": 1 for number in range(1_000)}


def one_workpoint(*steps, **more):
    return {"workpoints": [{"id": "w", "steps": list(steps)}], **more}


def mistakes_in(payload):
    with pytest.raises(InvalidInstance) as caught:
        instance_from_request(payload)
    return [each.loc for each in caught.value.each]


def test_every_mistake_of_a_request_is_told_at_once_each_where_it_stands():
    workpoints = [
        {
            "id": "1",
            "steps": [
                step("a", "team2", 0, order=1),
                step("", "team2", 5, order=1.5),
                step("c", "welders", 5, order=1, min_crew=900),
                step("d", "team2", 5, order=1, max_crew=1),
                step("e", "team2", 5, order=1, predecessors=["zz", "a"]),
            ],
        },
        {"id": "1", "steps": [step("f", "team2", None, ordr=1)]},
    ]
    payload = {"workpoints": workpoints, "teams": {"team3": {"headcount": 0}, "fitters": {"headcount": 0}}}
    before = copy.deepcopy(payload)
    with pytest.raises(InvalidInstance) as caught:
        instance_from_request(payload)
    assert payload == before
    steps = ("workpoints", 0, "steps")
    assert {each.loc for each in caught.value.each} == {
        *((*steps, 0, "duration"), (*steps, 1, "name"), (*steps, 1, "order")),
        *((*steps, 2, "team"), (*steps, 3, "max_crew"), (*steps, 4, "predecessors", 0)),
        *(("workpoints", 1), ("workpoints", 1, "steps", 0, "ordr"), ("workpoints", 1, "steps", 0, "duration")),
        *(("teams", "team3", "headcount"), ("teams", "fitters", "headcount")),
    }
    assert len(caught.value.each) == 11


@given(st.data())
def test_where_one_mistake_is_made_one_is_told(data):
    """No mistake comes from how another one was put right."""
    team = data.draw(st.sampled_from(["team2", "welders"]))
    n_sized = data.draw(st.integers(1, 4))
    steps = [step("abcd"[n], team, 5, order=n, predecessors=["abcd"[n - 1]] * (n > 0), min_crew=2) for n in range(4)]
    for each in steps[:n_sized]:
        each["team_size"] = 8
    payload = one_workpoint(*steps)
    instance_from_request(payload)
    wrong = {
        "duration": -1,
        "order": "first",
        "min_crew": 9,
        "max_crew": 1_001,
        "parallel": "yes",
        "predecessors": ["9"],
        "team_size": 0,
    }
    key = data.draw(st.sampled_from(sorted(wrong)))
    data.draw(st.sampled_from(steps[:n_sized]))[key] = wrong[key]
    assert [loc[4] for loc in mistakes_in(payload)] == [key]


@pytest.mark.parametrize(
    ("payload", "loc"),
    [
        ({"workpoints": [{"id": "2", "steps": [step()]}, {"id": "", "steps": [step()]}]}, ("workpoints", 1, "id")),
        ({"teams": [{"name": "", "headcount": 5}], **one_workpoint(step())}, ("teams", 0, "name")),
        ({"teams": {"welders": 5}, **one_workpoint(step(team="welders"))}, ("teams", "welders")),
        ({"teams": {"team3": 5}, **one_workpoint(step(max_crew=3))}, ("teams", "team3")),
    ],
)
def test_no_mistake_comes_from_what_takes_the_place_of_a_name_or_a_team(payload, loc):
    assert mistakes_in(payload) == [loc]


@pytest.mark.parametrize(
    "teams",
    [
        [{"name": "Team 2", "headcount": 5}, {"name": "a", "headcount": 0}],
        [{"name": "a", "headcount": 5}, {"name": "a", "headcount": 5}, {"name": "b", "headcount": 0}],
        [5, {"headcount": 5}, {"name": "b", "headcount": 0}],
    ],
)
def test_a_team_of_a_list_that_cannot_be_keeps_no_other_mistake_from_being_told(teams):
    assert mistakes_in({"teams": teams, **one_workpoint(step())})[-1] == ("teams", len(teams) - 1, "headcount")


def test_at_most_a_hundred_mistakes_are_told():
    assert len(mistakes_in(one_workpoint(*(step(str(n), duration=0) for n in range(1_000))))) == 100
    assert len(mistakes_in(one_workpoint(*(step(str(n), team="nobody") for n in range(1_000))))) == 100
    assert mistakes_in({"params": [0] * 15}) == [("params", n) for n in range(15)]


@pytest.mark.parametrize(
    "payload", [{"workpoints": [{"steps": [MASS]}]}, {"workpoints": [MASS]}, {"teams": {"a": MASS}, "workpoints": [{}]}]
)
def test_a_mass_of_unknown_fields_is_one_mistake(payload):
    """Or each would be looked up among the known ones: seconds for a body of a megabyte."""
    with pytest.raises(InvalidInstance) as caught:
        instance_from_request(payload)
    assert [each.code for each in caught.value.each] == ["too_many_fields"]


def test_a_step_with_a_mistake_of_its_own_is_not_held_against_the_others():
    steps = [step("a", "welders", 0, team_size=3, id="x"), step("b", "welders", predecessors=["a", "x"], min_crew=2)]
    assert mistakes_in(one_workpoint(*steps)) == [("workpoints", 0, "steps", 0, "duration")]
    steps = [step("a", "team2", 0, team_size=20), step("b", "team2", min_crew=15)]
    assert mistakes_in(one_workpoint(*steps)) == [("workpoints", 0, "steps", 0, "duration")]


def test_the_others_of_its_team_are_checked_all_the_same():
    steps = [step("a", "team2", 0), step("b", "team2", min_crew=50)]
    places = [("workpoints", 0, "steps", 0, "duration"), ("workpoints", 0, "steps", 1, "min_crew")]
    assert mistakes_in(one_workpoint(*steps)) == places


@pytest.mark.parametrize("team", [["team2"], {"name": "team2"}, None, 3.5])
def test_a_team_that_is_no_name_is_refused_also_in_a_plant_of_ones_own(team):
    payload = json.loads(json.dumps(one_workpoint(step(team=team))))
    with pytest.raises(InvalidInstance) as caught:
        read_request(payload, teams={"team2": {"headcount": 7}})
    assert caught.value.loc == ("workpoints", 0, "steps", 0, "team")
