"""Planning again over HTTP: the published plan is named by its run, and the record keeps the request as it came."""

import pytest

from monitoring import PerformanceMonitor
from tests.test_http_errors import refused
from tests.test_http_runs import SAMPLE

DONE = {"1.1": {"status": "done", "actual_start": 0, "actual_finish": 9.5, "workers": 5}}


@pytest.fixture(scope="module")
def first(service) -> dict:
    return service.run(params=SAMPLE)


@pytest.fixture(scope="module")
def replan(first) -> dict:
    """A request that names the first run as the published plan."""
    return {
        "params": SAMPLE,
        "data_date": 10,
        "progress": DONE,
        "published": first["request_id"],
        "stability_tolerance_h": 1,
        "time_budget_ms": 50,
    }


@pytest.fixture(scope="module")
def answer(service, replan) -> dict:
    return service.run(**replan)


def test_a_replan_tells_of_each_step_where_it_stands_and_how_far_it_moves(first, answer):
    published = {step["id"]: step["start"] for step in first["result"]["schedule_details"]}
    result = answer["result"]
    steps = {step["id"]: step for step in result["schedule_details"]}
    assert {step["status"] for step in steps.values()} == {"done", "planned"}
    assert (steps["1.1"]["status"], steps["1.1"]["end"], result["data_date"]) == ("done", 9.5, 10.0)
    for step_id, step in steps.items():
        assert step["published_start"] == published[step_id]
        assert step["shift"] == pytest.approx(step["start"] - published[step_id])
    shifts = [abs(step["shift"]) for step in steps.values() if step["status"] == "planned"]
    assert result["changes"]["total_shift"] == pytest.approx(sum(shifts))
    assert result["changes"]["moved"] == sum(shift > 1e-6 for shift in shifts)
    assert (result["warnings"], result["unpinned"]) == ([], [])


def test_the_record_keeps_the_request_as_it_came_and_shows_the_same_schedule(service, replan, answer):
    shown = service.get(f"/runs/{answer['request_id']}").json()
    assert shown["input"] == {name: value for name, value in replan.items() if name != "time_budget_ms"}
    assert shown["schedule"] == {name: answer["result"][name] for name in shown["schedule"]}


def test_a_replan_of_a_replan_names_the_later_run(service, replan, answer):
    later = service.run(**replan | {"published": answer["request_id"]})
    assert later["result"]["changes"]["total_shift"] == pytest.approx(0.0, abs=1e-6)


def test_a_replay_takes_the_published_plan_from_the_records(service, replan, answer):
    log = PerformanceMonitor(service.home / "logs" / "performance.db").replays
    found = log.with_published(replan)["published"]
    assert found["1.2"].keys() == {"start", "workers"}
    assert log.with_published(replan | {"published": "gone"})["published"] == "gone"


@pytest.mark.parametrize("path", ["/run_algorithm", "/requests/read"])
def test_an_unknown_published_plan_is_refused(service, replan, path):
    del_budget = {name: value for name, value in replan.items() if name != "time_budget_ms"}
    (error,) = refused(service.post(path, json=del_budget | {"published": "nobody"}), 422)["errors"]
    assert (error["loc"], error["code"]) == (["published"], "published_unknown")


def test_a_file_with_a_status_is_read_as_it_is(service, replan):
    assert service.post("/requests/read", json=replan).json()["request"] == replan


def test_a_contradiction_is_a_warning_in_words(service):
    progress = {**DONE, "1.3": {"status": "done", "actual_start": 1, "actual_finish": 9, "workers": 10}}
    result = service.run(params=SAMPLE, data_date=10, progress=progress, charts=["process", "workpoint", "team"])[
        "result"
    ]
    (warning,) = result["warnings"]
    assert (warning["code"], warning["loc"]) == ("out_of_sequence", ["progress", "1.3"])
    assert "1.1, 1.2" in warning["msg"]
    assert set(result["gantt_charts"]) == {"process", "workpoint", "team"}


def test_every_mistake_has_its_place(service):
    progress = {"1.1": DONE["1.1"] | {"actual_finish": 12}, "9.9": DONE["1.1"], "1.2": {"status": "done"}}
    body = {"params": SAMPLE, "data_date": 10, "progress": progress, "pinned": {"1.4": {"workers": 40}}}
    errors = refused(service.post("/run_algorithm", json=body), 422)["errors"]
    assert [error["loc"] for error in errors] == [
        ["progress", "1.2", "actual_start"],
        ["progress", "1.2", "actual_finish"],
        ["progress", "1.1", "actual_finish"],
        ["progress", "9.9"],
        ["pinned", "1.4", "workers"],
    ]
