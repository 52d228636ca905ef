"""Zones: while an exclusive step is at work, nobody else works in the zone of its work point."""

from dataclasses import replace
from pathlib import Path

import pytest

from scheduler_env import SAMPLE_PARAMS, InvalidInstance, Schedule
from scheduler_env.agent import Agent, load_agent
from scheduler_env.generator import random_replan, random_residual, with_random_zones
from scheduler_env.placements import packed, unpacked
from scheduler_env.readers import instance_from_request
from scheduler_env.replan.solving import lower_bound_h
from scheduler_env.standard_cycle import STANDARD_STEPS
from scheduler_env.tables import read_csv
from scheduler_env.zone_bounds import zone_bound_h
from tests.residual_oracle import INFEASIBLE, TICKS, optimum_h

FLAGSHIP_H, ALONE_H = 52.87, 60.07
RADIOGRAPHY = next(number for number, step in enumerate(STANDARD_STEPS) if step.team == "team4")


@pytest.fixture(scope="module")
def agent() -> Agent:
    return load_agent(Path(__file__).parent.parent / "models" / "seed" / "ddqn_v2.pth")


def flagship(workpoint_id="1", exclusive=(RADIOGRAPHY,), **more) -> dict:
    steps = [
        {"name": step.name_zh, "order": step.order, "team": step.team, "duration": hours}
        | ({"exclusive": True} if number in exclusive else {})
        for number, (step, hours) in enumerate(zip(STANDARD_STEPS, SAMPLE_PARAMS, strict=True))
    ]
    return {"id": workpoint_id, "steps": steps, **more}


def overlapping(schedule: Schedule, step_id: str) -> list[str]:
    alone = next(placed for placed in schedule.steps if placed.step.id == step_id)
    return [
        placed.step.id
        for placed in schedule.steps
        if placed is not alone and placed.start_h < alone.end_h - 1e-6 and alone.start_h < placed.end_h - 1e-6
    ]


@pytest.mark.parametrize("zone", [{}, {"zone": "东区"}], ids=["its own", "named"])
def test_the_flagship_with_exclusive_radiography_is_proved(agent, zone):
    instance = instance_from_request({"workpoints": [flagship(**zone)]})
    found = agent.solve(instance, time_budget_ms=600_000, max_evaluations=20_000)
    assert found.schedule.makespan_h == pytest.approx(ALONE_H, abs=0.01)
    assert found.lower_bound_h == pytest.approx(found.schedule.makespan_h), "proved"
    assert overlapping(found.schedule, f"1.{RADIOGRAPHY + 1}") == []
    assert found.schedule.violations() == []


def test_a_zone_is_no_team(agent):
    schedule = agent.solve(instance_from_request({"workpoints": [flagship()]}), time_budget_ms=0).schedule
    assert set(schedule.team_utilization) == {step.team for step in STANDARD_STEPS}


def test_work_points_of_one_zone_wait_for_each_other_and_those_of_others_do_not(agent):
    def solved(*zones):
        step = {"name": "射线检测", "team": "team4", "duration": 10, "exclusive": True}
        other = {"name": "搭架子", "team": "team1", "duration": 10}
        points = [{"id": "a", "zone": zones[0], "steps": [step]}, {"id": "b", "zone": zones[1], "steps": [other]}]
        return agent.solve(instance_from_request({"workpoints": points}), time_budget_ms=20)

    for zones, hours in ((("n", "n"), 16.0), (("n", "s"), 8.0), ((None, None), 8.0), (("b", None), 8.0)):
        found = solved(*zones)
        assert (found.schedule.makespan_h, found.lower_bound_h) == pytest.approx((hours, hours)), zones


def test_without_an_exclusive_step_zones_change_nothing():
    plain, zoned = (
        instance_from_request({"workpoints": [flagship(exclusive=(), **zone)]}) for zone in ({}, {"zone": "n"})
    )
    assert zoned.places == plain.places == {}
    assert zoned.steps == plain.steps


def test_durations_of_a_zone_that_was_read_before_are_read_anew():
    first, second = ({"workpoints": [flagship(zone="n")]}, {"workpoints": [flagship(zone="n")]})
    second["workpoints"][0]["steps"][0]["duration"] = 20.0
    one, other = instance_from_request(first), instance_from_request(second)
    assert other.workpoints[0].zone == "n"
    assert other.steps[0].modes[0].duration_h == 2 * one.steps[0].modes[0].duration_h
    assert other.steps[RADIOGRAPHY].is_exclusive


def test_a_sweep_of_its_own_finds_who_is_not_alone(agent):
    instance = instance_from_request({"workpoints": [flagship()]})
    schedule = agent.solve(instance, time_budget_ms=20).schedule
    steps = [placed._replace(start_h=20.0) if placed.step.order == 4 else placed for placed in schedule.steps]
    # The modes say nothing of the zone, so only the sweep over the zones can tell.
    steps = [
        placed._replace(
            mode=placed.mode._replace(demand=tuple(each for each in placed.mode.demand if "zone" not in each[0]))
        )
        for placed in steps
    ]
    told = Schedule(instance, tuple(steps)).violations()
    assert any("in the zone '1'" in text and "alone" in text for text in told)


def test_work_at_hand_in_a_zone_counts(agent):
    body = {
        "workpoints": [flagship(exclusive=(RADIOGRAPHY,))],
        "data_date": 20,
        "progress": {
            **{f"1.{n}": {"status": "done", "actual_start": 4 * n, "actual_finish": 4 * n + 4, "workers": w}
               for n, w in ((1, 5), (2, 4), (3, 4))},
            "1.4": {"status": "running", "actual_start": 18, "workers": 4, "remaining_duration": 30},
        },
    }  # fmt: skip
    schedule = agent.solve(instance_from_request(body), time_budget_ms=20).schedule
    radiography = next(placed for placed in schedule.steps if placed.step.id == f"1.{RADIOGRAPHY + 1}")
    assert radiography.start_h >= 50.0 - 1e-6
    assert schedule.violations() == []
    body["pinned"] = {f"1.{RADIOGRAPHY + 1}": {"start": 30}}
    with pytest.raises(InvalidInstance) as caught:
        instance_from_request(body)
    assert (caught.value.code, caught.value.loc) == ("pin_in_taken_zone", ("pinned", "1.6", "start"))


def test_pins_that_are_not_alone_clash():
    pinned = {f"1.{RADIOGRAPHY + 1}": {"start": 30}, "1.4": {"start": 31, "workers": 3}}
    with pytest.raises(InvalidInstance) as caught:
        instance_from_request({"workpoints": [flagship()], "pinned": pinned})
    assert caught.value.code == "pins_clash"
    assert caught.value.params["steps"] == ["1.4", "1.6"]


@pytest.mark.parametrize(
    ("change", "loc"), [({"exclusive": 1}, "exclusive"), ({"exclusive": "yes"}, "exclusive")], ids=str
)
def test_a_mistake_is_refused_with_its_place(change, loc):
    workpoint = flagship()
    workpoint["steps"][2] |= change
    with pytest.raises(InvalidInstance) as caught:
        instance_from_request({"workpoints": [workpoint]})
    assert caught.value.loc == ("workpoints", 0, "steps", 2, loc)
    with pytest.raises(InvalidInstance) as caught:
        instance_from_request({"workpoints": [flagship(zone=3)]})
    assert caught.value.loc == ("workpoints", 0, "zone")


def test_a_recorded_schedule_and_a_table_keep_who_is_alone(agent):
    instance = instance_from_request({"workpoints": [flagship(zone="n")]})
    schedule = agent.solve(instance, time_budget_ms=20).schedule
    assert unpacked(instance, packed(schedule)).violations() == []
    read = read_csv("工作点,工序,班组,工时,独占区域\nA,射线检测,team4,7,是\nA,除锈,team2,7,\n")
    assert [step.get("exclusive") for step in read.request["workpoints"][0]["steps"]] == [True, None]


@pytest.mark.parametrize("seed", range(30))
def test_random_zones_give_valid_plans_and_bounds_that_are_proofs(agent, seed):
    instance = with_random_zones(random_residual(seed) if seed % 2 else random_replan(seed), seed)
    optimum, rounding_h = optimum_h(instance, limit_s=20.0), (len(instance.steps) + 1) / TICKS
    if optimum is None:
        return
    if optimum == INFEASIBLE:
        with pytest.raises(InvalidInstance):
            agent.solve(instance, time_budget_ms=600_000, max_evaluations=5_000)
        return
    found = agent.solve(instance, time_budget_ms=600_000, max_evaluations=5_000)
    assert found.schedule.violations() == []
    assert found.lower_bound_h <= optimum + rounding_h
    assert lower_bound_h(instance) <= optimum + rounding_h
    tolerance_h = 0.0 if instance.status is None else instance.status.tolerance_h
    assert optimum - 1e-6 <= found.schedule.makespan_h <= optimum + rounding_h + tolerance_h


def test_the_bound_of_exclusive_steps_holds_where_everything_else_is_free():
    instance = instance_from_request({"workpoints": [flagship(zone="n"), flagship("2", zone="n")]})
    alone_h = [step.modes[0].duration_h for step in instance.steps if step.is_exclusive]
    free = replace(instance, workpoints=instance.workpoints[:1])
    assert zone_bound_h(instance) >= sum(alone_h) + zone_bound_h(free) - alone_h[0] - 1e-9
