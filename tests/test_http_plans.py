"""Plans over HTTP, on both engines: versions, reports, changes, publication, and what a kill leaves."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.conftest import live_service
from tests.instances import three_points
from tests.test_http_errors import refused
from tests.test_http_runs import SAMPLE

STEP = {"name": "x", "order": 9, "team": "team2", "duration": 1}
DONE = {"C.1": {"status": "done", "actual_start": 0, "actual_finish": 16, "workers": 5}}


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def where(request, tmp_path_factory):
    """The home and the environment of a service."""
    url = {"SCHED_DATABASE_URL": request.getfixturevalue("address")} if request.param == "postgresql" else {}
    return tmp_path_factory.mktemp("plans"), url


@pytest.fixture(scope="module")
def own(where):
    home, environment = where
    with live_service(home, environment=environment) as running:
        yield running


def made(answer) -> dict:
    assert answer.status_code == 201, answer.text
    return answer.json()


@pytest.fixture(scope="module")
def plan(own) -> dict:
    """A plan with a published first version, and a report: the answer about the second version."""
    made(own.post("/plans", json={"name": "大修", "request": three_points(), "by": "张工"}))
    answer = own.post("/plans/大修/publish", json={"version": 1, "reason": "晨会"})
    assert answer.json()["publication"]["version"] == 1
    return made(own.post("/plans/大修/progress", json=REPORT))


REPORT = {"based_on": 1, "data_date": 16, "progress": DONE, "by": "李工", "reason": "早班"}


def test_a_report_makes_the_next_version_and_tells_what_moves(own, plan):
    version = plan["version"]
    assert (version["number"], version["kind"], version["by"], version["reason"]) == (2, "progress", "李工", "早班")
    assert (version["based_on"], version["published"], plan["published"], plan["latest"]) == (1, 1, 1, 2)
    steps = {step["id"]: step for step in plan["schedule"]["schedule_details"]}
    assert (steps["C.1"]["status"], steps["C.1"]["end"]) == ("done", 16.0)
    assert plan["schedule"]["changes"]["moved"] >= 0
    assert own.get("/plans/大修").json() == plan
    first = own.get("/plans/大修", params={"version": 1}).json()
    assert (first["version"]["kind"], first["version"]["by"], first["version"]["makespan"]) == ("created", "张工", 32.0)
    assert "status" not in first["schedule"]["schedule_details"][0]


def test_a_version_is_a_recorded_run(own, plan):
    run = own.get(f"/runs/{plan['version']['request_id']}").json()
    assert run["schedule"] == plan["schedule"]
    assert run["input"]["published"] == own.get("/plans/大修?version=1").json()["version"]["request_id"]


def test_a_repeated_request_is_answered_as_before(own, plan):
    assert made(own.post("/plans/大修/progress", json=REPORT)) == plan
    again = made(own.post("/plans", json={"name": "大修", "request": three_points(), "by": "张工"}))
    assert again["version"]["number"] == 1
    assert len(own.get("/plans/大修/versions").json()["versions"]) == 2
    other = own.post("/plans/大修/progress", json=REPORT | {"by": "王工"})
    assert refused(other, 409)["code"] == "plan_moved_on"
    assert (
        refused(own.post("/plans", json={"name": "大修", "request": {"params": SAMPLE}}), 409)["code"] == "plan_exists"
    )


def test_of_changes_at_the_same_time_one_succeeds(own):
    made(own.post("/plans", json={"name": "小修", "request": {"params": SAMPLE}}))
    body = {"based_on": 1, "data_date": 1}
    with ThreadPoolExecutor(4) as pool:
        answers = [*pool.map(lambda by: own.post("/plans/小修/replan", json=body | {"by": by}), "abcd")]
    assert sorted(answer.status_code for answer in answers) == [201, 409, 409, 409]
    (won,) = [answer.json() for answer in answers if answer.status_code == 201]
    assert own.get("/plans/小修").json() == won


def test_a_change_adds_cancels_promises_and_sends_people_away(own, plan):
    step = {"name": "复拍", "order": 3, "team": "team4", "duration": 5}
    body = {
        "based_on": 2,
        "add_steps": [{"workpoint": "A", "step": step, "reason": "返修后"}],
        "cancel_steps": [{"id": "C.2", "reason": "not needed"}],
        "teams": {"team4": {"availability": [{"from": 16, "to": 22, "people": 0}]}},
        "pinned": {"B.2": {"start": 30}},
        "stability_tolerance_h": 1,
        "time_budget_ms": 20,
    }
    answer = made(own.post("/plans/大修/replan", json=body))
    version = answer["version"]
    assert [(each["id"], each["reason"]) for each in version["added"]] == [("A.v3-1", "返修后")]
    assert [(each["id"], each["name"]) for each in version["cancelled"]] == [("C.2", "2")]
    steps = {each["id"]: each for each in answer["schedule"]["schedule_details"]}
    assert steps.keys() == {"A.1", "A.2", "A.v3-1", "B.1", "B.2", "C.1"}
    assert (steps["B.2"]["start"], steps["A.2"]["published_start"] is not None) == (30.0, True)
    assert answer["request"]["stability_tolerance_h"] == 1
    assert [v["number"] for v in own.get("/plans/大修/versions").json()["versions"]] == [3, 2, 1]


def test_a_recorded_run_becomes_a_plan_as_it_is(own):
    run = own.run(params=SAMPLE, data_date=10, progress={"1.1": DONE["C.1"] | {"actual_finish": 9.5}})
    answer = made(own.post("/plans", json={"name": "of a run", "request_id": run["request_id"]}))
    assert answer["schedule"]["schedule_details"] == run["result"]["schedule_details"]
    assert answer["version"]["model_key"] == run["result"]["model_info"]["model_key"]
    nobody = own.post("/plans", json={"name": "x", "request_id": "nobody"})
    assert refused(nobody, 404)["code"] == "run_not_found"


@pytest.fixture(scope="module")
def small(own) -> None:
    """A plan of one version."""
    made(own.post("/plans", json={"name": "small", "request": {"params": SAMPLE}}))


@pytest.mark.parametrize(
    ("path", "body", "status", "code", "loc"),
    [
        ("", {"name": "a/b", "request": {"params": SAMPLE}}, 422, "plan_name_form", ["name"]),
        ("", {"name": "p"}, 422, "plan_source", []),
        ("", {"name": "p", "request": {"params": [1]}}, 422, "wrong_number_of_params", ["request", "params"]),
        ("", {"name": "p", "request": {"params": SAMPLE, "charts": "team"}}, 422, "plan_without_charts", []),
        ("", {"name": "p", "request": {"params": SAMPLE, "published": "x"}}, 422, "plan_publishes_itself", []),
        ("/大修/progress", {"data_date": 1}, 422, "missing", ["based_on"]),
        ("/大修/progress", {"based_on": 99, "progress": []}, 422, "dict_type", ["progress"]),
        ("/大修/progress", {"based_on": 99}, 409, "plan_moved_on", None),
        ("/nobody/replan", {"based_on": 1}, 404, "plan_not_found", None),
        ("/nobody/publish", {"version": 1}, 404, "plan_not_found", None),
        ("/大修/publish", {"version": 99}, 404, "plan_version_not_found", None),
        ("/small/replan", {"based_on": 1, "add_steps": [{"workpoint": "1", "step": {"id": 7}, "reason": "y"}]}, 422,
         "missing", ["add_steps", 0, "step", "team"]),
        ("/small/replan", {"based_on": 1, "add_steps": [{"workpoint": "1", "step": [], "reason": "y"}]}, 422,
         "dict_type", ["add_steps", 0, "step"]),
        ("/small/replan", {"based_on": 1, "add_steps": [{"workpoint": "1", "step": STEP | {"id": []}, "reason": "y"}]},
         422, "string_type", ["add_steps", 0, "step", "id"]),
        ("/small/replan", {"based_on": 1, "teams": {"team3": {"availability": 1.5}}}, 422, "people_or_intervals",
         ["teams", "team3", "availability"]),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused(own, plan, small, path, body, status, code, loc):
    problem = refused(own.post(f"/plans{path}", json=body), status)
    assert problem["code"] == code
    if loc is not None:
        assert loc in [error["loc"] for error in problem["errors"]]


# --- figures ---


@pytest.fixture(scope="module")
def changed(own) -> dict:
    """A plan whose published first version was changed: the answer about the second version."""
    made(own.post("/plans", json={"name": "figures", "request": three_points()}))
    assert refused(own.get("/plans/figures/compare"), 409)["code"] == "plan_without_baseline"
    assert own.post("/plans/figures/publish", json={"version": 1}).status_code == 200
    step = {"name": "复拍", "order": 3, "team": "team4", "duration": 5}
    body = {
        "based_on": 1,
        "data_date": 16,
        "add_steps": [{"workpoint": "A", "step": step, "reason": "返修后"}],
        "cancel_steps": [{"id": "B.2", "reason": "not needed"}],
    }
    return made(own.post("/plans/figures/replan", json=body))


def test_a_comparison_names_moves_teams_and_reasons(own, changed):
    found = own.get("/plans/figures/compare").json()
    assert (found["before"], found["after"], found["makespan"]) == (1, 2, changed["version"]["makespan"])
    assert [(each["id"], each["reason"]) for each in found["added"]] == [("A.v2-1", "返修后")]
    assert [(each["id"], each["reason"]) for each in found["cancelled"]] == [("B.2", "not needed")]
    assert {each["id"] for each in found["moved"]} >= {"A.1"}
    assert sum(each["moved"] for each in found["teams"]) == sum(abs(each["shift"]) > 1e-6 for each in found["moved"])
    none = own.get("/plans/figures/compare", params={"before": 2, "after": 2}).json()
    assert (none["moved"], none["teams"], none["added"], none["cancelled"]) == ([], [], [], [])


def test_the_progress_of_a_plan_is_measured_against_the_published_version(own, changed):
    found = own.get("/plans/figures/progress").json()
    assert (found["version"], found["baseline"], found["data_date"], found["earned_value"]) == (2, 1, 16, 0)
    assert (found["spi"], found["added"]["steps"], found["cancelled"]["steps"]) == (0, 1, 1)
    assert found["curve"][-1]["planned"] == pytest.approx(found["total"])


def test_the_explanation_adds_up_to_the_makespan(own, changed):
    found = own.get("/plans/figures/explain").json()
    assert sum(each["hours"] for each in found["chain"]) == pytest.approx(found["makespan"])
    assert found["chain"][0]["reason"] == "data_date"


def test_advice_is_given_for_the_teams_that_have_work(own, changed):
    found = own.get("/plans/figures/advice", params={"time_budget_ms": 20}).json()
    assert [(each["team"], each["people"]) for each in found["teams"]] == [
        ("team1", 1), ("team1", 2), ("team4", 1), ("team4", 2),
    ]  # fmt: skip
    assert all(each["saves"] >= 0 for each in found["teams"])


def test_risk_is_simulated(own, changed):
    body = {"spread": [0.8, 1, 1.5], "steps": {"A.v2-1": {"chance": 0.5}}, "samples": 200}
    found = own.post("/plans/figures/risk", json=body).json()
    assert found["p10"] < found["p50"] < found["p80"] < found["p90"]
    assert {each["id"] for each in found["steps"]} == {"A.1", "A.2", "A.v2-1", "B.1", "C.1", "C.2"}
    assert own.post("/plans/figures/risk", json=body).json() == found
    for wrong, code in (
        ({"steps": {"A.9": {}}}, "no_such_step"),
        ({"spread": [2, 1, 3]}, "three_points_not_rising"),
    ):
        assert refused(own.post("/plans/figures/risk", json=wrong), 422)["code"] == code


def test_figures_of_a_plan_or_version_that_does_not_exist_are_refused(own, changed):
    for path, code in (
        ("/nobody/explain", "plan_not_found"),
        ("/nobody/advice", "plan_not_found"),
        ("/nobody/compare", "plan_not_found"),
        ("/figures/explain?version=9", "plan_version_not_found"),
        ("/figures/progress?baseline=9", "plan_version_not_found"),
    ):
        assert refused(own.get(f"/plans{path}"), 404)["code"] == code


def test_what_was_answered_survives_a_kill(own, where, plan):
    """Runs last: the service of the other tests is killed."""
    name = "before the kill"
    answer = made(own.post("/plans", json={"name": name, "request": {"params": SAMPLE}}))
    assert own.post(f"/plans/{name}/publish", json={"version": 1}).status_code == 200
    before = own.get("/plans").json()
    own.process.kill()
    home, environment = where
    with live_service(home, environment=environment) as again:
        assert again.get("/plans").json() == before
        assert again.get(f"/plans/{name}").json() == answer | {"published": 1}
        assert made(again.post("/plans/大修/progress", json=REPORT))["version"] == plan["version"]
