"""Times of the clock beside elapsed hours: what a request may say, and what is answered."""

from datetime import datetime, timedelta

import pytest

from scheduler_env import SAMPLE_PARAMS, InvalidInstance
from scheduler_env.clock import Clock, moment, zone_named
from scheduler_env.problem import Instance
from scheduler_env.readers import instance_from_request
from tests.test_http_errors import refused

SAMPLE = list(SAMPLE_PARAMS)
START = "2027-03-01T07:00+08:00"


def with_hours(time) -> dict:
    """A request with an hour at every place where one may stand; `time` makes it."""
    steps = [
        {"id": "a", "name": "a", "team": "team1", "duration": 8},
        {"id": "b", "name": "b", "team": "team1", "duration": 8, "release": time(16)},
        {"id": "c", "name": "c", "team": "team3", "duration": 8},
        {"id": "d", "name": "d", "team": "team3", "duration": 8},
    ]
    return {
        "workpoints": [{"id": "1", "release": time(2), "steps": steps}],
        "teams": {"team3": {"availability": [{"from": time(30.5), "to": time(72), "people": 6}]}},
        "data_date": time(20),
        "progress": {
            "1.a": {"status": "done", "actual_start": time(2), "actual_finish": time(9.5), "workers": 5},
            "1.b": {"status": "running", "actual_start": time(17), "workers": 5},
        },
        "pinned": {"1.c": {"start": time(30)}},
        "published": {"1.d": {"start": time(40), "workers": 4}},
    }


def read(body: dict) -> Instance:
    return instance_from_request(body)


def mistakes(body: dict) -> list[tuple]:
    with pytest.raises(InvalidInstance) as caught:
        instance_from_request(body)
    return [(err.code, err.loc) for err in caught.value.each]


def as_time(offset_h: float):
    """Makes the text of an hour after `START`, with this offset from UTC."""
    start = datetime.fromisoformat(START)
    zone = datetime.fromisoformat(f"2027-03-01T00:00{'-' if offset_h < 0 else '+'}{int(abs(offset_h)):02}:30").tzinfo
    return lambda hour: (start + timedelta(hours=hour)).astimezone(zone).isoformat()


@pytest.mark.parametrize("offset_h", [8, -3])
def test_a_time_with_any_offset_stands_for_the_hours_since_the_start(offset_h):
    said, expected = read(with_hours(as_time(offset_h)) | {"start": START}), read(with_hours(lambda hour: hour))
    assert (said.status, said.teams, said.workpoints) == (expected.status, expected.teams, expected.workpoints)


def test_a_time_needs_a_start_an_offset_and_a_date_after_the_start():
    body = {"params": SAMPLE, "data_date": START}
    assert mistakes(body) == [("time_without_start", ("data_date",))]
    assert mistakes({"params": SAMPLE, "data_date": "noon"}) == [("float_type", ("data_date",))]
    for text, code in [
        ("2027-03-01T08:00", "time_without_offset"),
        ("2027-03-01", "time_without_offset"),
        ("2027-03-01T06:59+08:00", "time_before_start"),
        ("2027-13-01T07:00+08:00", "not_iso_time"),
        ("0001-01-01T00:00+14:00", "time_before_start"),
        ("9999-12-31T23:59-14:00", "less_than_equal"),
    ]:
        assert mistakes(body | {"start": START, "data_date": text}) == [(code, ("data_date",))]
    assert len(mistakes(with_hours(as_time(8)))) == 10


def test_every_place_of_a_wrong_time_is_told():
    found = mistakes(with_hours(lambda hour: f"{hour}:00") | {"start": START})
    assert {code for code, _ in found} == {"not_iso_time"}
    assert {loc for _, loc in found} == {
        ("workpoints", 0, "release"),
        ("workpoints", 0, "steps", 1, "release"),
        ("teams", "team3", "availability", 0, "from"),
        ("teams", "team3", "availability", 0, "to"),
        ("data_date",),
        ("progress", "1.a", "actual_start"),
        ("progress", "1.a", "actual_finish"),
        ("progress", "1.b", "actual_start"),
        ("pinned", "1.c", "start"),
        ("published", "1.d", "start"),
    }


@pytest.mark.parametrize(
    ("said", "code", "loc"),
    [
        ({"start": "2027-03-01T07:00"}, "time_without_offset", "start"),
        ({"start": "monday"}, "not_iso_time", "start"),
        ({"start": 7}, "string_type", "start"),
        ({"start": "1800-03-01T07:00Z"}, "start_out_of_range", "start"),
        ({"start": START, "time_zone": "Asia/Peking"}, "no_such_time_zone", "time_zone"),
        ({"start": START, "time_zone": "../../../etc/passwd"}, "no_such_time_zone", "time_zone"),
        ({"start": START, "time_zone": "Europe"}, "no_such_time_zone", "time_zone"),
        ({"time_zone": "Asia/Shanghai"}, "needs_start", "time_zone"),
    ],
)
def test_a_start_or_a_zone_that_means_nothing_is_refused(said, code, loc):
    assert mistakes({"params": SAMPLE} | said) == [(code, (loc,))]


def test_elapsed_hours_are_real_hours_when_the_clock_is_changed():
    start = moment("2027-03-27T20:00+01:00")
    clock = Clock(start, zone_named("Europe/Berlin"))
    assert clock.told(5) == "2027-03-28T01:00:00+01:00"
    assert clock.told(6) == "2027-03-28T03:00:00+02:00"
    assert clock.hours(moment("2027-03-28T03:00+02:00")) == 6.0
    assert clock.told(6 + 24 * 217 + 24) == "2027-11-01T02:00:00+01:00"


def test_a_time_is_told_to_the_millisecond_and_read_back_within_the_tolerance():
    clock = Clock(moment(START), zone_named("Asia/Kathmandu"))
    for hour in (0.0, 1 / 3, 52.8679123, 999_999.123456):
        assert clock.hours(moment(clock.told(hour))) == pytest.approx(hour, abs=2e-7)
    assert clock.told(0) == "2027-03-01T04:45:00+05:45"
    assert clock.told(1 / 3600 / 3) == "2027-03-01T04:45:00.333+05:45"
    assert clock.told(8e7) is None


def test_an_answer_tells_the_times_of_each_step_and_its_record_keeps_the_clock(service):
    plain = service.run(params=SAMPLE)["result"]
    answer = service.run(params=SAMPLE, start=START, time_zone="America/New_York")
    clock = Clock(moment(START), zone_named("America/New_York"))
    steps = answer["result"]["schedule_details"]
    assert [
        {name: value for name, value in step.items() if name not in ("start_at", "end_at")} for step in steps
    ] == plain["schedule_details"]
    assert [(step["start_at"], step["end_at"]) for step in steps] == [
        (clock.told(step["start"]), clock.told(step["end"])) for step in steps
    ]
    assert steps[0]["start_at"] == "2027-02-28T18:00:00-05:00"
    shown = service.get(f"/runs/{answer['request_id']}").json()
    assert shown["input"] == {"params": SAMPLE, "start": START, "time_zone": "America/New_York"}
    assert shown["schedule"]["schedule_details"] == steps


def test_a_published_run_with_another_start_is_counted_from_the_start_of_the_request(service):
    first = service.run(params=SAMPLE, start="2027-03-01T00:00Z")
    later = service.run(params=SAMPLE, start="2027-02-28T22:00Z", data_date=2, published=first["request_id"])["result"]
    starts = [step["start"] + 2 for step in first["result"]["schedule_details"]]
    assert [step["published_start"] for step in later["schedule_details"]] == pytest.approx(starts)
    assert later["changes"]["total_shift"] == pytest.approx(0.0, abs=1e-6)


def test_a_wrong_time_is_refused_over_http_with_its_place(service):
    body = {"params": SAMPLE, "start": START, "data_date": "2027-03-02T07:00"}
    (error,) = refused(service.post("/run_algorithm", json=body), 422)["errors"]
    assert (error["loc"], error["code"]) == (["data_date"], "time_without_offset")


def test_a_run_with_a_calendar_is_answered_drawn_and_recorded_in_elapsed_hours(service):
    week = dict.fromkeys(("mon", "tue", "wed", "thu", "fri", "sat", "sun"), (("07:00", "19:00"),))
    body = {"params": SAMPLE, "start": START, "calendars": {"day": {"week": week}}, "calendar": "day"}
    answer = service.run(**body, charts=["process", "team"], time_budget_ms=50)
    result = answer["result"]
    assert (result["makespan"], result["hours_at_work"]) == (
        pytest.approx(100.87, abs=0.01),
        pytest.approx(52.87, abs=0.01),
    )
    assert (result["gap"], answer["performance"]["makespan"]) == (0.0, result["makespan"])
    assert max(step["end_at"] for step in result["schedule_details"]).startswith("2027-03-05T11:52")
    assert set(result["gantt_charts"]) == {"process", "team"}
    shown = service.get(f"/runs/{answer['request_id']}").json()
    assert shown["schedule"] == {name: result[name] for name in shown["schedule"]}
    assert shown["schedule"]["hours_at_work"] == result["hours_at_work"]
    again = service.run(**shown["input"], published=answer["request_id"])["result"]
    assert again["changes"] == {"moved": 0, "crews_changed": 0, "total_shift": pytest.approx(0.0, abs=1e-6)}
