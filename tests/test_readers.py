"""What a client writes becomes the instance that was meant, or a refusal that says where."""

import copy
import math
from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.requests import bodies
from scheduler_env import readers
from scheduler_env.errors import InvalidInstance
from scheduler_env.kernel import compile_instance
from scheduler_env.problem import Instance
from scheduler_env.readers import instance_from_request
from scheduler_env.standard_cycle import DEFAULT_TEAMS, SAMPLE_PARAMS, standard_instance
from tests.properties import examples

SAMPLE = list(SAMPLE_PARAMS)


def step(name="A", team="team3", duration=4, **more):
    return {"name": name, "team": team, "duration": duration, **more}


def one_workpoint(*steps, **more):
    return {"workpoints": [{"id": "w", "steps": list(steps)}], **more}


def loc_of(payload) -> tuple:
    with pytest.raises(InvalidInstance) as caught:
        instance_from_request(payload)
    assert caught.value.loc, "a refusal says where"
    return caught.value.loc


def crews(instance: Instance, step_id: str) -> list[int]:
    found = next(step for step in instance.steps if step.id == step_id)
    return [found.crew(mode) for mode in found.modes]


def names_before(instance: Instance, step_id: str) -> set[str]:
    number = [step.id for step in instance.steps].index(step_id)
    return {instance.steps[before].id for before in instance.predecessors[number]}


def headcounts(instance: Instance) -> dict[str, int]:
    return {team.name: team.headcount for team in instance.teams}


# --- params ---


def test_params_are_the_standard_cycle():
    assert instance_from_request({"params": SAMPLE}) == standard_instance(SAMPLE)


def test_the_linear_curve_can_be_chosen():
    instance = instance_from_request({"params": SAMPLE, "crew_efficiency": "linear"})
    assert instance.steps[0].modes[-1].duration_h == 10.0
    assert instance_from_request({"params": SAMPLE}).steps[0].modes[-1].duration_h == pytest.approx(8.0)


def test_teams_change_the_plant_also_under_params():
    instance = instance_from_request({"params": SAMPLE, "teams": {"team3": {"headcount": 20}}})
    assert headcounts(instance)["team3"] == 20
    assert crews(instance, "1.4") == list(range(2, 21))


@pytest.mark.parametrize(
    "bad", [True, "5", None, [5], {}, math.nan, math.inf, -math.inf, -1, 0, 10_001, 10**12, 10**400]
)
def test_a_param_that_is_no_sensible_number_of_hours_is_refused_where_it_stands(bad):
    assert loc_of({"params": [*SAMPLE[:6], bad, *SAMPLE[7:]]}) == ("params", 6)


@pytest.mark.parametrize("bad", [SAMPLE[:14], [*SAMPLE, 1], [], "10,5", 15, {"0": 1}, True])
def test_params_that_are_not_15_numbers_are_refused(bad):
    assert loc_of({"params": bad}) == ("params",)


@pytest.mark.parametrize("payload", [{}, {"params": SAMPLE, "workpoints": [{}]}, {"params": None, "workpoints": None}])
def test_exactly_one_of_params_and_workpoints_is_wanted(payload):
    loc_of(payload)


def test_a_curve_that_does_not_exist_is_refused():
    assert loc_of({"params": SAMPLE, "crew_efficiency": "magic"}) == ("crew_efficiency",)


# --- work points ---


def test_a_work_point_without_steps_gets_the_standard_cycle():
    instance = instance_from_request({"workpoints": [{"id": "boiler", "name": "锅炉"}, {"id": "b", "steps": []}]})
    assert [len(workpoint.steps) for workpoint in instance.workpoints] == [15, 15]
    assert instance.workpoints[0].name == "锅炉"
    assert instance.steps[0].modes == standard_instance(SAMPLE).steps[0].modes


def test_a_work_point_may_bring_its_own_params():
    instance = instance_from_request({"workpoints": [{"params": [20, *SAMPLE[1:]]}]})
    assert instance.steps[0].modes[0].duration_h == pytest.approx(16.0)
    assert loc_of({"workpoints": [{}, {"params": [*SAMPLE[:14], 0]}]}) == ("workpoints", 1, "params", 14)
    assert loc_of({"workpoints": [{"params": SAMPLE, "steps": [step()]}]}) == ("workpoints", 0, "params")


def test_a_list_and_an_object_by_id_mean_the_same():
    steps = [step("A", order=1), step("B", order=2)]
    as_list = {"workpoints": [{"id": "x", "name": "X", "steps": steps}, {"id": "y", "name": "Y"}]}
    as_object = {"workpoints": {"x": {"name": "X", "steps": steps}, "y": {"id": "y", "name": "Y"}}}
    assert instance_from_request(as_list) == instance_from_request(as_object)
    assert loc_of({"workpoints": {"x": {"id": "z"}}}) == ("workpoints", "x", "id")


def test_ids_may_be_whole_numbers_and_default_to_the_position():
    instance = instance_from_request({"workpoints": [{"steps": [step(id=7)]}, {"id": 12, "steps": [step()]}]})
    assert [found.id for found in instance.steps] == ["1.7", "12.1"]


def test_a_whole_number_may_be_written_with_a_point():
    with_points = {"id": 12.0, "steps": [step(id=7.0, order=1.0, team_size=4.0, min_crew=2.0, max_crew=3.0)]}
    without = {"id": 12, "steps": [step(id=7, order=1, team_size=4, min_crew=2, max_crew=3)]}
    assert instance_from_request({"workpoints": [with_points]}) == instance_from_request({"workpoints": [without]})
    assert loc_of({"workpoints": [{"id": 1e300}]}) == ("workpoints", 0, "id")


@pytest.mark.parametrize(
    "name",
    [
        "锅炉　内检",
        "no\u00a0break",
        "\u062f\u06cc\u06af\u200c\u0647\u0627",
        "👩\u200d🔧",
        "\U00020bb7\ue000",
        "Caf\u0065\u0301",
    ],
)
def test_names_are_texts_of_any_script(name):
    (found,) = instance_from_request(one_workpoint(step(name))).workpoints[0].steps
    assert found.name == name


def test_repeated_ids_are_refused():
    assert loc_of({"workpoints": [{"id": "x"}, {"id": "x"}]}) == ("workpoints", 1)
    assert loc_of(one_workpoint(step(id="s"), step(id="s"))) == ("workpoints", 0, "steps", 1)


def test_two_work_points_whose_step_ids_would_collide_are_refused():
    loc_of({"workpoints": [{"id": "a.b", "steps": [step(id="c")]}, {"id": "a", "steps": [step(id="b.c")]}]})


@pytest.mark.parametrize("key", ["name", "team", "duration"])
@pytest.mark.parametrize("missing", [True, False])
def test_a_step_needs_name_team_and_duration(key, missing):
    bad = step()
    if missing:
        del bad[key]
    else:
        bad[key] = None
    assert loc_of(one_workpoint(step(), bad)) == ("workpoints", 0, "steps", 1, key)


@pytest.mark.parametrize(
    ("key", "bad"),
    [
        *(("duration", bad) for bad in (True, "5", math.nan, math.inf, 0, -3, 10**12, [1])),
        *(("order", bad) for bad in (True, "1", 1.5, [1])),
        *(("min_crew", bad) for bad in (True, "2", 0, -1, 2.5, 11)),
        *(("max_crew", bad) for bad in (True, "2", 0, 11, 1)),
        *(("team_size", bad) for bad in (True, "2", 0, 1_001)),
        *(("dedicated", bad) for bad in (1, "true", [])),
        *(("parallel", bad) for bad in (0, "false", {})),
        *(("name", bad) for bad in ("", 5, "x" * 201, ["n"])),
        *(("name", f"a{bad}b") for bad in "\n\t\0\x7f\x85\u2028\u202e\u2066\ud800\uffff"),
        *(("team", bad) for bad in ("", True, "no such team", {})),
        *(("predecessors", bad) for bad in ("A", 3, {})),
        ("max_crews", 3),
    ],
)
def test_a_bad_value_in_a_step_is_refused_where_it_stands(key, bad):
    payload = one_workpoint(step("first", order=1), step(**{"order": 2, "name": "A", key: bad}))
    assert loc_of(payload)[:5] == ("workpoints", 0, "steps", 1, key)


@pytest.mark.parametrize("bad", ["text", 5, True, [], {}, [5], [None], [{"steps": 5}], [{"steps": {}}], [{"step": []}]])
def test_work_points_of_the_wrong_shape_are_refused(bad):
    assert loc_of({"workpoints": bad})[0] == "workpoints"


def test_too_much_is_refused_before_it_costs_memory():
    loc_of({"workpoints": [{}] * 201})
    loc_of({"workpoints": [{"steps": [step()] * 1_001}]})
    loc_of({"workpoints": [{"steps": [step()] * 600}] * 10})
    loc_of({"workpoints": [{"steps": [step(team="huge", team_size=1_000)] * 150}]})
    loc_of({"workpoints": [{}] * 50, "teams": [{"name": f"team{n}", "headcount": 1_000} for n in (2, 3, 5)]})
    assert len(instance_from_request({"workpoints": [{}] * 200}).steps) == 3_000


# --- teams ---


def test_an_unknown_team_is_refused_with_the_known_ones():
    with pytest.raises(InvalidInstance, match=r"team9.*team1, team2") as caught:
        instance_from_request(one_workpoint(step(team="team9")))
    assert caught.value.loc == ("workpoints", 0, "steps", 0, "team")


def test_team_size_defines_a_team_that_the_plant_lacks():
    instance = instance_from_request(one_workpoint(step("A", team="welders", team_size=4), step("B", team="welders")))
    assert headcounts(instance)["welders"] == 4
    assert crews(instance, "w.1") == crews(instance, "w.2") == [2, 3, 4]


def test_a_team_that_only_dedicated_steps_define_is_dedicated():
    instance = instance_from_request(one_workpoint(step(team="crane", team_size=3, dedicated=True)))
    assert instance.teams[-1].dedicated
    assert crews(instance, "w.1") == [3]


def test_team_size_overrides_the_headcount_of_the_default_plant_everywhere():
    payload = {"workpoints": [{"id": "w", "steps": [step(team_size=12)]}, {"id": "standard"}]}
    instance = instance_from_request(payload)
    assert headcounts(instance)["team3"] == 12
    assert crews(instance, "standard.4")[-1] == 12


def test_team_sizes_that_disagree_are_refused_and_both_are_named():
    with pytest.raises(InvalidInstance) as refused:
        instance_from_request(one_workpoint(step(team="x", team_size=3), step(team="x", team_size=4)))
    assert refused.value.code == "team_sizes_differ"
    assert refused.value.params == {"team": "x", "here": 4, "there": 3, "place": "workpoints.0.steps.0"}
    with pytest.raises(InvalidInstance) as refused:
        instance_from_request(one_workpoint(step(team="x", team_size=3), teams=[{"name": "x", "headcount": 8}]))
    assert refused.value.params == {"team": "x", "here": 3, "there": 8, "place": "teams"}


def test_a_dedicated_step_takes_the_whole_of_a_shared_team():
    instance = instance_from_request(one_workpoint(step("A", dedicated=True), step("B")))
    assert crews(instance, "w.1") == [10]
    assert crews(instance, "w.2") == list(range(2, 11))


def test_a_dedicated_team_stays_dedicated_whatever_the_step_says():
    assert crews(instance_from_request(one_workpoint(step(team="team4", dedicated=False))), "w.1") == [5]
    assert loc_of(one_workpoint(step(team="team4", max_crew=3)))[-1] == "max_crew"


def test_min_and_max_crew_narrow_the_crews():
    instance = instance_from_request(one_workpoint(step(min_crew=1, max_crew=3), step(max_crew=2), step(min_crew=9)))
    assert [crews(instance, f"w.{n}") for n in (1, 2, 3)] == [[1, 2, 3], [2], [9, 10]]
    assert loc_of(one_workpoint(step(min_crew=5, max_crew=4)))[-1] == "max_crew"


def test_a_declared_team_may_have_its_own_least_crew():
    teams = [{"name": "duo", "headcount": 4, "min_crew": 1}]
    assert crews(instance_from_request(one_workpoint(step(team="duo"), teams=teams)), "w.1") == [1, 2, 3, 4]


@pytest.mark.parametrize(
    "teams",
    [
        *("x", 5, [5], [{}], [{"name": "new"}], [{"name": "a", "headcount": 0}], {"a": {"name": "b", "headcount": 1}}),
        *(
            [{"name": "a", "headcount": 2}, {"name": "a", "headcount": 2}],
            [{"name": "a", "headcount": 2, "min_crew": 3}],
        ),
        *([{"name": "a", "headcount": 2, "size": 3}], [{"name": "team1", "headcount": 2, "min_crew": 1}]),
        [{"name": f"t{n}", "headcount": 1} for n in range(201)],
    ],
)
def test_teams_that_cannot_be_are_refused(teams):
    assert loc_of({"params": SAMPLE, "teams": teams})[0] == "teams"


def test_a_changed_team_keeps_what_is_not_said():
    teams = {team.name: team for team in instance_from_request({"workpoints": [{}], "teams": {"team1": {}}}).teams}
    assert teams["team1"] == DEFAULT_TEAMS[0]


# --- orders, predecessors, parallel ---


def test_lower_orders_come_first():
    instance = instance_from_request(one_workpoint(step("A", order=5), step("B", order=1), step("C", order=5)))
    assert names_before(instance, "w.1") == names_before(instance, "w.3") == {"w.2"}
    assert names_before(instance, "w.2") == set()


def test_no_step_of_a_work_point_needs_an_order():
    instance = instance_from_request(one_workpoint(step("A"), step("B")))
    assert names_before(instance, "w.2") == set()


def test_a_step_without_order_among_ordered_ones_needs_predecessors():
    assert loc_of(one_workpoint(step("A", order=1), step("B")))[-1] == "order"
    instance = instance_from_request(one_workpoint(step("A", order=1), step("B", predecessors=["A"])))
    assert names_before(instance, "w.2") == {"w.1"}


def test_predecessors_are_ids_names_or_full_ids_of_other_work_points():
    payload = {
        "workpoints": [
            {"id": "p", "steps": [step("A", id="a"), step("B", predecessors=["a"]), step("C", predecessors=["B"])]},
            {"id": "q", "steps": [step("A", predecessors=["p.3", "s.15"])]},
            {"id": "s"},
        ]
    }
    instance = instance_from_request(payload)
    assert names_before(instance, "p.2") == {"p.a"}
    assert names_before(instance, "p.3") == {"p.2"}
    assert names_before(instance, "q.1") == {"p.3", "s.15"}


def test_a_name_that_fits_two_steps_is_refused_and_the_full_id_is_the_way_out():
    steps = (step("A", id="a"), step("A", id="b"))
    with pytest.raises(InvalidInstance, match=r"w\.a, w\.b") as caught:
        instance_from_request(one_workpoint(*steps, step("C", predecessors=["A"])))
    assert caught.value.loc == ("workpoints", 0, "steps", 2, "predecessors", 0)
    instance = instance_from_request(one_workpoint(*steps, step("C", predecessors=["w.b"])))
    assert names_before(instance, "w.3") == {"w.b"}


def test_unknown_predecessors_and_cycles_are_refused():
    assert loc_of(one_workpoint(step(predecessors=["nobody"]))) == ("workpoints", 0, "steps", 0, "predecessors", 0)
    cycle = one_workpoint(step("A", predecessors=["B"]), step("B", predecessors=["A"]))
    with pytest.raises(InvalidInstance, match="cycle"):
        instance_from_request(cycle)
    loc_of(cycle)
    loc_of(one_workpoint(step("A", predecessors=["A"])))
    loc_of(one_workpoint(step("A", order=1, predecessors=["B"]), step("B", order=2)))


def test_a_step_that_is_not_parallel_shares_a_place_with_its_order():
    alone = (step("A", order=1), step("B", order=1, parallel=False), step("C", order=1), step("D", order=2))
    instance = instance_from_request(one_workpoint(*alone))
    (place,) = instance.places
    assert instance.places[place] == 3
    demands = [dict(found.modes[0].demand).get(place, 0) for found in instance.steps]
    assert demands == [1, 3, 1, 0]


def test_a_lone_step_that_is_not_parallel_needs_no_place():
    assert instance_from_request(one_workpoint(step(order=1, parallel=False), step(order=2))).places == {}


# --- properties ---

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
near_steps = st.fixed_dictionaries(
    {
        "name": st.sampled_from(["A", "B", "C"]),
        "team": st.sampled_from(["team1", "team3", "x"]),
        "duration": json_values,
    },
    optional={
        "order": st.integers(0, 3) | json_values,
        "dedicated": st.booleans(),
        "team_size": st.integers(0, 12) | json_values,
        "parallel": st.booleans(),
        "min_crew": st.integers(0, 12),
        "max_crew": st.integers(0, 12) | json_values,
        "predecessors": st.lists(st.sampled_from(["A", "B", "1", "2", "1.1", "2.1", 1])) | json_values,
    },
)
near_workpoints = st.fixed_dictionaries(
    {}, optional={"id": st.integers(1, 3), "steps": st.lists(near_steps, max_size=4)}
)
payloads = st.one_of(
    st.fixed_dictionaries(
        {}, optional=dict.fromkeys(("params", "workpoints", "teams", "crew_efficiency"), json_values)
    ),
    st.fixed_dictionaries({"workpoints": st.lists(near_workpoints | json_values, max_size=4)}),
)


@examples(100)
@given(payloads)
def test_whatever_comes_is_an_instance_or_a_refusal(payload):
    try:
        instance = instance_from_request(payload)
    except InvalidInstance as err:
        assert err.loc  # noqa: PT017  (both outcomes are fine; this one must say where)
    else:
        assert isinstance(instance, Instance)
        instance.topological_order  # noqa: B018


@examples(100)
@given(st.lists(st.floats(0, 10_000, exclude_min=True), min_size=15, max_size=15))
def test_any_15_durations_in_range_are_accepted_as_they_are(durations):
    instance = instance_from_request({"params": durations, "crew_efficiency": "linear"})
    assert [found.modes[-1].duration_h for found in instance.steps] == durations


# --- requests that differ in durations only ---


@pytest.mark.parametrize(
    "ask",
    [
        lambda hours: {"params": hours},
        lambda hours: {"workpoints": [{}, {"id": 7, "params": hours}], "teams": {"team3": {"headcount": 12}}},
        lambda hours: one_workpoint(*[step(f"s{n}", duration=h, order=n // 4) for n, h in enumerate(hours)]),
        lambda hours: one_workpoint(*[step(f"s{n}", duration=h, parallel=n > 2) for n, h in enumerate(hours)]),
    ],
    ids=["params", "params of a work point", "steps", "steps that run alone"],
)
def test_a_request_is_read_alike_whether_or_not_one_was_read_that_differs_in_durations_only(monkeypatch, ask):
    monkeypatch.setattr(readers, "_known", {})
    hours = [1 / (2 + number) for number in range(15)]
    first = instance_from_request(ask(hours))
    monkeypatch.setattr(readers, "_known", {})
    known = instance_from_request(ask(SAMPLE))
    again = instance_from_request(ask(hours))
    assert again.shared is known.shared
    assert again == first
    for one, other in zip(compile_instance(again), compile_instance(first), strict=True):
        assert np.array_equal(one, other)


@pytest.mark.parametrize("wrong", [0, -1, True, "5", None, math.nan, 10_001, [5]])
def test_a_wrong_duration_is_refused_also_where_the_rest_of_the_request_is_known(wrong):
    instance_from_request({"params": SAMPLE})
    instance_from_request(one_workpoint(step()))
    assert loc_of({"params": [*SAMPLE[:14], wrong]}) == ("params", 14)
    assert loc_of(one_workpoint(step(duration=wrong))) == ("workpoints", 0, "steps", 0, "duration")


@pytest.mark.parametrize("member", ["parallel", "dedicated"])
def test_what_is_no_boolean_is_refused_also_after_the_boolean_that_it_equals(member):
    instance_from_request(one_workpoint(step(**{member: True})))
    assert loc_of(one_workpoint(step(**{member: 1}))) == ("workpoints", 0, "steps", 0, member)


def test_what_is_remembered_refuses_and_reads_just_as_what_is_read_for_the_first_time():
    """Requests with something else in a place or two: known structures must not be read more leniently."""

    def told(read, body):
        try:
            instance = read(body)
        except InvalidInstance as err:
            return err.code, err.params, err.loc
        return instance.workpoints, instance.teams, instance.places

    def places_of(value, path=()):
        entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
        return [place for key, entry in entries for place in ((value, key), *places_of(entry))]

    random = Random(4)
    odd = [None, True, False, 0, -1, 1, 1.0, 2.5, 1e-320, 1e4, 10_000.1, math.nan, math.inf, "5", [], {}, [1], 10**30]
    kept = ("params", "workpoints", "teams", "crew_efficiency")
    plain = [body for kind in ("sample", "missing", "teams", "mix") for body in bodies(kind, 4)]
    for _ in range(1_500):
        body = copy.deepcopy({key: value for key, value in random.choice(plain).items() if key in kept})
        for _ in range(random.randint(0, 2)):
            holder, key = random.choice(places_of(body))
            holder[key] = random.choice(odd)
        assert repr(told(instance_from_request, body)) == repr(told(lambda each: readers._read(each, None), body))


def test_what_is_remembered_of_requests_is_bounded(monkeypatch):
    monkeypatch.setattr(readers, "_known", {})
    for number in range(readers.MAX_REMEMBERED + 5):
        instance_from_request(one_workpoint(step(f"step {number}")))
    assert 0 < len(readers._known) <= readers.MAX_REMEMBERED
    instance_from_request({"workpoints": [{}] * 5})  # 75 steps
    assert max(len(instance.steps) for instance in readers._known.values()) <= readers.MAX_STEPS_REMEMBERED
