"""The stored schedule of a run: compact, and equal to the answer."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitoring import PerformanceMonitor, PerformanceRecord
from scheduler_env.errors import InvalidSchedule
from scheduler_env.placements import packed, unpacked
from scheduler_env.problem import Instance
from scheduler_env.readers import instance_from_request
from scheduler_env.schedule import Schedule, ScheduledStep
from scheduler_service.telemetry.history import run_of_request
from scheduler_service.telemetry.published import recorded_schedule
from tests.codes import coded
from tests.properties import examples

SAMPLE = [10, 5, 8, 6, 7, 9, 6, 7, 6, 7, 7, 7, 4, 7, 5]
PLANT = {
    "workpoints": [
        {
            "id": "锅炉",
            "steps": [{"name": f"s{n}", "team": "team2", "duration": 1.5 * n, "order": n} for n in (1, 2, 3)],
        },
        {},
    ],
    "teams": {"team2": {"headcount": 9}},
}


def schedules(instance: Instance) -> st.SearchStrategy[Schedule]:
    """Any starts and modes: the record stores answers without validating them."""
    placed = [
        st.builds(ScheduledStep, st.just(step), st.sampled_from(list(step.modes)), st.floats(0.0, 1e6), st.none())
        for step in instance.steps
    ]
    return st.tuples(*placed).map(lambda steps: Schedule(instance, steps))


@examples(50)
@given(st.data(), st.sampled_from([{"params": SAMPLE}, PLANT]))
def test_unpacking_returns_what_was_packed(data, request):
    schedule = data.draw(schedules(instance_from_request(request)))
    assert unpacked(instance_from_request(request), packed(schedule)) == schedule


def test_placements_of_another_instance_are_refused(service):
    result = service.run(params=SAMPLE)
    engine = PerformanceMonitor(service.home / "logs" / "performance.db").engine
    _, request, placements = run_of_request(engine, result["request_id"])
    assert len(placements) < 150
    for other in (PLANT, {"workpoints": [{}, {}]}):
        with pytest.raises(InvalidSchedule, check=coded("placements_of_other")):
            unpacked(instance_from_request(other), placements)
        assert recorded_schedule(other, placements, engine) is None
    smaller = {**request, "teams": {team: {"headcount": 1, "min_crew": 1} for team in ("team3", "team4")}}
    assert recorded_schedule(smaller, placements, engine) is None
    with pytest.raises(InvalidSchedule, check=coded("placements_damaged")):
        unpacked(instance_from_request(request), placements[:-3])
    assert recorded_schedule(request, None, engine) is recorded_schedule(None, placements, engine) is None


@pytest.mark.parametrize("body", [{"params": SAMPLE}, PLANT, PLANT | {"model": "DDQN_v1.0", "time_budget_ms": 0}])
def test_a_recorded_run_returns_its_schedule(service, body):
    result = service.run(**body)
    data = service.get(f"/runs/{result['request_id']}").json()
    names = ("schedule_details", "team_utilization", "team_headcount")
    assert data["schedule"] == {name: result["result"][name] for name in names}


def test_a_failed_or_older_run_has_no_schedule(service):
    monitor = PerformanceMonitor(service.home / "logs" / "performance.db")
    for number, success in enumerate((True, False)):
        record = PerformanceRecord(request_id=f"old_{number}", input_params={"params": SAMPLE}, success=success)
        monitor.record_performance(record)
        body = service.get(f"/runs/old_{number}").json()
        assert (body["schedule"], body["input"]) == (None, {"params": SAMPLE})
