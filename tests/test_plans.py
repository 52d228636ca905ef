"""Plans: versions that never change, in both engines, and the request of the next version."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from scheduler_env import SAMPLE_PARAMS, InvalidInstance
from scheduler_env.readers import instance_from_request
from scheduler_service.errors import InvalidInput, PlanConflict, PlanNotFound
from scheduler_service.plans.changes import Change, next_request
from scheduler_service.plans.edits import AddedStep, CancelledStep
from scheduler_service.plans.records import PlanRecords
from scheduler_service.plans.versions import placements_of, problem_of, schedule_of
from tests.codes import coded
from tests.instances import three_points
from tests.plans import after, version
from tests.test_progress import done, late_grinding, running

ENGINES = ("sqlite", "postgresql")
NOW = datetime(2026, 12, 1, 8, 0, tzinfo=UTC)
SAMPLE = list(SAMPLE_PARAMS)


@pytest.fixture(scope="module")
def first():
    return version("大修", three_points())


@pytest.fixture
def plans(monitor):
    return PlanRecords(monitor.engine, monitor.writer, lambda: NOW)


# --- the records ---


def test_a_version_is_stored_as_it_was_made(plans, first):
    stored = plans.add(first)
    assert stored == replace(first, timestamp=NOW)
    assert schedule_of(stored) == schedule_of(first)
    second = after(first, first, data_date=4, progress={"A.1": done(0, 4, 5)}, cancelled=[CancelledStep("B.1", "no")])
    assert plans.add(second) == replace(second, timestamp=NOW)
    assert [each.number for each in plans.versions("大修")] == [2, 1]
    assert (plans.latest("大修").number, plans.version("大修", 1), plans.find("大修", 3)) == (2, stored, None)


def test_the_same_change_is_stored_once_and_another_one_is_refused(plans, first):
    stored = plans.add(first)
    assert plans.add(replace(first, request_id="of the repetition")) == stored
    with pytest.raises(PlanConflict, check=coded("plan_exists")):
        plans.add(replace(first, digest="other"))
    second = replace(first, number=2, based_on=1)
    plans.add(second)
    with pytest.raises(PlanConflict, check=coded("plan_moved_on", based_on=1, latest=2)):
        plans.add(replace(second, digest="other"))


def test_of_changes_at_the_same_time_one_succeeds(open_monitor, first):
    monitors = [open_monitor(clock=lambda: NOW) for _ in range(4)]
    replicas = [PlanRecords(each.engine, each.writer, each.clock) for each in monitors]
    replicas[0].add(first)

    def add(number: int) -> int:
        try:
            return int(replicas[number].add(replace(first, number=2, based_on=1, digest=f"d{number}")).digest[1:])
        except PlanConflict:
            return -1

    with ThreadPoolExecutor(4) as pool:
        won = {*pool.map(add, range(4))} - {-1}
        published = {*pool.map(lambda each: each.publish("大修", 2, "li", "").version, replicas)}
    assert {f"d{number}" for number in won} == {replicas[0].latest("大修").digest}
    assert published == {2}
    assert len(replicas[1].publications("大修")) == 1


def test_the_last_publication_counts_and_a_repeated_one_changes_nothing(plans, first):
    plans.add(first)
    plans.add(replace(first, number=2, based_on=1))
    assert plans.held("大修") is None
    for number in (1, 1, 2, 2, 1):
        assert plans.publish("大修", number, "李工", "晨会").version == number
    assert [each.version for each in plans.publications("大修")] == [1, 2, 1]
    assert plans.held("大修").number == 1
    for plan, number, code in (("大修", 3, "plan_version_not_found"), ("小修", 1, "plan_not_found")):
        with pytest.raises(PlanNotFound, check=coded(code)):
            plans.publish(plan, number, "", "")


def test_plans_are_listed_by_name_with_their_latest_version(plans, first):
    for name in ("c", "a_%", "b"):
        plans.add(replace(first, plan=name))
    plans.add(replace(first, plan="b", number=2, based_on=1))
    plans.publish("b", 1, "", "")
    found = plans.plans(10)
    assert [(each.latest.plan, each.latest.number, each.published) for each in found] == [
        ("a_%", 1, None), ("b", 2, 1), ("c", 1, None),
    ]  # fmt: skip
    assert [each.latest.plan for each in plans.plans(1, after="a_%")] == ["b"]
    assert [each.latest.plan for each in plans.plans(10, search="_%")] == ["a_%"]
    with pytest.raises(PlanNotFound):
        plans.versions("d")


# --- the next request ---


def test_facts_add_up_and_a_running_step_keeps_what_is_left_of_its_reported_rest(first):
    second = after(first, data_date=3, progress={"C.1": running(0, 5, remaining_duration=10)})
    third = after(second, data_date=8)
    assert third.request["progress"]["C.1"] == running(0, 5, remaining_duration=5.0)
    assert schedule_of(third).instance.status.facts["C.1"].end_h == 13.0
    fourth = after(third, data_date=20, progress={"B.1": done(13, 17, 5)})
    assert fourth.request["progress"] == {"C.1": running(0, 5, remaining_duration=0.0), "B.1": done(13, 17, 5)}
    fifth = after(fourth, withdrawn=["B.1"], progress={"C.1": done(0, 14, 5)})
    assert (fifth.request["progress"], fifth.request["data_date"]) == ({"C.1": done(0, 14, 5)}, 20)


def test_a_fact_without_a_crew_keeps_the_crew_of_the_plan_that_was_published_then():
    first = version("p", {"params": SAMPLE})
    fact = {"status": "running", "actual_start": 20}
    progress = {"1.1": done(0, 8, 5), "1.2": done(8, 12, 10), "1.3": done(12, 18, 10), "1.4": fact}
    second = after(first, first, data_date=21, progress=progress)
    crew = placements_of(schedule_of(first))["1.4"]["workers"]
    assert second.request["progress"]["1.4"] == {**fact, "workers": crew}
    assert schedule_of(second) == replace(schedule_of(second), instance=schedule_of(second).instance)


def test_a_promise_whose_start_has_passed_lapses_and_its_crew_stays(first):
    second = after(first, pinned={"A.2": {"start": 40, "workers": 5}, "B.2": {"start": 60}})
    third = after(second, data_date=45)
    assert third.edits.lapsed == ("A.2",)
    assert third.request["pinned"] == {"A.2": {"workers": 5}, "B.2": {"start": 60}}
    assert "pinned" not in after(third, released=["A.2", "B.2"]).request


def test_the_people_of_a_team_change_and_what_else_was_said_of_it_stays():
    request = {
        "workpoints": [{"steps": [{"name": "w", "order": 1, "team": "welders", "team_size": 4, "duration": 6}]}],
        "teams": [{"name": "team2", "headcount": 8}],
    }
    second = after(version("p", request), teams={"welders": {"availability": 3}, "team2": {"availability": 6}})
    teams = {team.name: team for team in schedule_of(second).instance.teams}
    assert (teams["welders"].headcount, teams["welders"].availability) == (4, 3)
    assert (teams["team2"].headcount, teams["team2"].availability) == (8, 6)


def test_the_second_radiography_of_planning_md_is_added_between_repair_and_report():
    first = version("大修", late_grinding())
    step = {"name": "射线检测 2", "team": "team4", "duration": 9 / 0.8, "predecessors": ["14"]}
    second = after(first, first, added=[AddedStep("1", step, ["1.15"], "返修后复拍")])
    assert second.makespan_h == pytest.approx(54.48 + 9, abs=0.6)
    assert [(each.id, each.reason) for each in second.edits.added] == [("1.v2-1", "返修后复拍")]
    schedule = schedule_of(second, first)
    placed = {each.step.id: each for each in schedule.steps}
    assert placed["1.14"].end_h <= placed["1.v2-1"].start_h + 1e-6
    assert placed["1.v2-1"].end_h <= placed["1.15"].start_h + 1e-6
    assert schedule.violations() == []


def test_listing_the_steps_of_a_work_point_changes_nothing_else():
    for request in (
        {"params": SAMPLE},
        {"workpoints": {"a": {"params": SAMPLE}, "b": {"name": "B", "release": 3}}, "teams": {"team3": {}}},
        {"workpoints": [{}, {"id": 7, "steps": [{"name": "x", "team": "team2", "duration": 4, "order": 1, "id": 3},
                                                {"name": "z", "team": "w", "team_size": 3, "duration": 4, "order": 1,
                                                 "parallel": False}]}]},
    ):  # fmt: skip
        first = version("p", request)
        before = schedule_of(first).instance
        workpoint = before.workpoints[-1]
        step = {"name": "new", "team": "team5", "duration": 2, "order": 99}
        second = next_request(first, None, Change(added=[AddedStep(workpoint.id, step, (), "x")]))
        now = instance_from_request(second.problem)
        kept = [tuple(s for s in each.steps if "v2-1" not in s.id) for each in now.workpoints]
        assert [[step._replace(modes=tuple(step.modes)) for step in steps] for steps in kept] == [
            [step._replace(modes=tuple(step.modes)) for step in each.steps] for each in before.workpoints
        ]
        assert [(each.id, each.name) for each in now.workpoints] == [(w.id, w.name) for w in before.workpoints]
        assert now.teams == before.teams
        third = next_request(
            replace(first, request=second.request), None, Change(cancelled=[CancelledStep(f"{workpoint.id}.v2-1", "x")])
        )
        assert [s.id for s in instance_from_request(third.problem).steps] == [s.id for s in before.steps]


def test_what_waited_for_a_cancelled_step_waits_for_what_that_waited_for():
    steps = [
        {"name": name, "team": "team2", "duration": 4, "predecessors": before}
        for name, before in (("a", []), ("b", ["a"]), ("c", ["b"]), ("d", ["2", "c"]))
    ]
    request = {"workpoints": [{"id": "A", "steps": steps},
                              {"id": "B", "steps": [{"name": "e", "team": "w", "team_size": 3, "duration": 1,
                                                     "predecessors": ["A.2"]}]},
                              {"id": "C", "steps": [{"name": "f", "team": "w", "duration": 1}]}]}  # fmt: skip
    first = version("p", request)
    now = instance_from_request(next_request(first, None, Change(cancelled=[CancelledStep("A.2", "x")])).problem)
    before = {step.id: set(step.predecessors) for step in now.steps}
    assert before == {"A.1": set(), "A.3": {"A.1"}, "A.4": {"A.1", "A.3"}, "B.1": {"A.1"}, "C.1": set()}
    gone = [CancelledStep(each, "x") for each in ("B.1", "A.4")]
    now = instance_from_request(next_request(first, None, Change(cancelled=gone)).problem)
    assert [each.id for each in now.workpoints] == ["A", "C"], "no work point gets the standard cycle"
    assert next(team for team in now.teams if team.name == "w").headcount == 3


@pytest.mark.parametrize(
    ("change", "code", "loc"),
    [
        ({"data_date": 2}, "data_date_back", ("data_date",)),
        ({"frozen_hours": 2.0}, "plan_not_published", ("frozen_hours",)),
        ({"withdrawn": ["A.1"]}, "nothing_to_withdraw", ("withdraw", 0)),
        ({"released": ["A.1"]}, "nothing_to_withdraw", ("unpin", 0)),
        ({"cancelled": [CancelledStep("C.1", "x")]}, "cancel_started", ("cancel_steps", 0, "id")),
        ({"cancelled": [CancelledStep("A.1", "x")] * 2}, "no_such_step", ("cancel_steps", 1, "id")),
        ({"added": [AddedStep("D", {}, (), "x")]}, "no_such_workpoint", ("add_steps", 0, "workpoint")),
        ({"added": [AddedStep("A", {}, ["A.9"], "x")]}, "no_such_step", ("add_steps", 0, "before", 0)),
        ({"added": [AddedStep("A", {"name": "n", "team": "q", "duration": 1, "order": 9}, (), "x")]}, "unknown_team",
         ("add_steps", 0, "step", "team")),
        ({"progress": {"A.9": done(0, 1, 5)}}, "no_such_step", ("progress", "A.9")),
        ({"teams": {"team1": {"availability": -1}}}, "people_out_of_range", ("teams", "team1", "availability")),
    ],
)  # fmt: skip
def test_a_change_that_contradicts_the_plan_is_refused_with_its_place(change, code, loc):
    first = version("p", three_points(data_date=3, progress={"C.1": running(0, 5)}))
    with pytest.raises((InvalidInput, InvalidInstance)) as caught:
        next_request(first, None, Change(**change))
    assert (caught.value.code, caught.value.loc) == (code, loc)


def test_all_steps_cannot_be_cancelled():
    request = {"workpoints": [{"steps": [{"name": "a", "team": "team2", "duration": 4}]}]}
    with pytest.raises(InvalidInput, check=coded("all_steps_cancelled")):
        next_request(version("p", request), None, Change(cancelled=[CancelledStep("1.1", "x")]))


def test_later_versions_are_made_with_the_published_one(first):
    request = problem_of({**first.request, "frozen_hours": 2}, first)
    assert request["published"]["C.1"]["workers"] == 5
    assert "frozen_hours" not in problem_of({**first.request, "frozen_hours": 2}, None)
