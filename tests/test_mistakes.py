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


OTHER_TYPES = [5.5, True, ["a"], {"a": 1}, "x" * 201, None, "a\nb"]


@pytest.mark.parametrize("value", OTHER_TYPES, ids=repr)
@pytest.mark.parametrize("place", ["id of a work point", "id of a step", "name of a step", "name of a team"])
def test_a_name_of_another_type_is_one_mistake_whatever_refers_to_it(place, value):
    steps = [step("a", "welders", id="s", max_crew=5), step("b", "welders", id="t", predecessors=["s", "a", "w.s"])]
    other = step("c", "team3", max_crew=900, predecessors=["w.s", "w.t"])
    payload = {
        "workpoints": [{"id": "w", "steps": steps}, {"id": "v", "steps": [other]}],
        "teams": [{"name": "welders", "headcount": 6}, {"name": "team3", "headcount": 900}],
    }
    instance_from_request(copy.deepcopy(payload))
    where = {
        "id of a work point": (payload["workpoints"][0], "id", ("workpoints", 0, "id")),
        "id of a step": (steps[0], "id", ("workpoints", 0, "steps", 0, "id")),
        "name of a step": (steps[0], "name", ("workpoints", 0, "steps", 0, "name")),
        "name of a team": (payload["teams"][value is True], "name", ("teams", int(value is True), "name")),
    }
    entry, key, loc = where[place]
    entry[key] = value
    if value is None and key == "id":
        return  # absent, which is no mistake
    assert mistakes_in(payload) == [loc]


@pytest.mark.parametrize("entry", [None, 5, "s", [], True], ids=repr)
@pytest.mark.parametrize("is_workpoint", [False, True])
def test_an_entry_of_another_type_is_one_mistake_whatever_refers_to_it(entry, is_workpoint):
    steps = [step("a"), step("b", predecessors=["a"])]
    workpoints = [{"id": "w", "steps": steps}, {"id": "v", "steps": [step("c", predecessors=["w.1"])]}]
    instance_from_request({"workpoints": copy.deepcopy(workpoints)})
    if is_workpoint:
        workpoints[0] = entry
    else:
        steps[0] = entry
    (loc,) = mistakes_in({"workpoints": workpoints})
    assert loc[:4] == (("workpoints", 0) if is_workpoint else ("workpoints", 0, "steps", 0))


@pytest.mark.parametrize("key", ["", "a\nb", "x" * 201])
def test_a_key_that_is_no_name_is_one_mistake_whatever_refers_to_it(key):
    others = {"v": {"steps": [step(team="welders", predecessors=["w.1"])]}}
    payload = {"workpoints": {key: {"steps": [step()]}, **others}, "teams": {"welders": {"headcount": 5}}}
    assert mistakes_in(payload) == [("workpoints", key)]
    payload = {"workpoints": {"w": {"steps": [step()]}, **others}, "teams": {key: {"headcount": 5}}}
    assert mistakes_in(payload) == [("teams", key)]


@pytest.mark.parametrize("steps", [5, "a", {"a": 1}, True], ids=repr)
def test_steps_of_another_type_are_one_mistake_whatever_refers_to_them(steps):
    workpoints = [{"id": "w", "steps": steps}, {"id": "v", "steps": [step("c", predecessors=["w.1"])]}]
    assert mistakes_in({"workpoints": workpoints}) == [("workpoints", 0, "steps")]


def test_what_has_nothing_to_do_with_a_name_that_cannot_be_read_is_still_told():
    workpoints = [{"id": "w", "steps": [step(5)]}, {"id": "v", "steps": [step("c", predecessors=["nothing"])]}]
    assert mistakes_in({"workpoints": workpoints}) == [
        ("workpoints", 0, "steps", 0, "name"),
        ("workpoints", 1, "steps", 0, "predecessors", 0),
    ]


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
