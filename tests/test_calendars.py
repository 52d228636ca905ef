"""Working time against a walk over minutes, and plans in a calendar against CP-SAT."""

import random
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from ortools.sat.python import cp_model

from scheduler_env import SAMPLE_PARAMS, InvalidInstance, Schedule
from scheduler_env.agent import Agent, load_agent
from scheduler_env.calendars import Calendar, Pattern, Shift
from scheduler_env.clock import Clock, moment, zone_named
from scheduler_env.placements import packed, unpacked
from scheduler_env.readers import instance_from_request
from scheduler_env.replan.report import changes, unpinned, warnings
from scheduler_env.schedule import ScheduledStep
from scheduler_env.standard_cycle import STANDARD_STEPS

SAMPLE = list(SAMPLE_PARAMS)
DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
START = "2027-03-01T07:00+08:00"
N_DAYS = 40


@pytest.fixture(scope="module")
def agent() -> Agent:
    return load_agent(Path(__file__).parent.parent / "models" / "seed" / "ddqn_v2.pth")


def all_week(*shifts) -> dict:
    return {"week": {day: [*map(list, shifts)] for day in DAYS}}


DAY = {"start": START, "calendars": {"day": all_week(("07:00", "19:00"))}, "calendar": "day"}


def calendar(week, exceptions=None, start=START, zone=None) -> Calendar:
    time = moment(start)
    return Calendar(Pattern(week, exceptions or {}), Clock(time, zone_named(zone) if zone else time.tzinfo))


def mistakes(body: dict) -> list[tuple]:
    with pytest.raises(InvalidInstance) as caught:
        instance_from_request(body)
    return [(err.code, err.loc) for err in caught.value.each]


def solved(agent, body, evaluations=2_000) -> Schedule:
    found = agent.solve(instance_from_request(body), time_budget_ms=600_000, max_evaluations=evaluations)
    assert found.schedule.violations() == []
    assert found.lower_bound_h <= found.schedule.makespan_h
    return found.schedule


def places(schedule) -> dict:
    return {each.step.id: (round(each.start_h, 6), round(each.end_h, 6)) for each in schedule.steps}


# --- working time ---


def random_shifts(rng) -> tuple[Shift, ...]:
    found = []
    for _ in range(rng.randint(0, 3)):
        begin = rng.randrange(0, 1440, rng.choice((1, 30)))
        found.append(Shift(begin, begin + rng.choice((15, 60, 480, 719, 1440))))
    return tuple(found)


def minutes_at_work(cal: Calendar) -> np.ndarray:
    """Whether each minute after the start is at work: every shift is painted, by times that datetime converts."""
    painted = np.zeros(N_DAYS * 1440, dtype=bool)
    zone, start = cal.clock.zone, cal.clock.start.timestamp()
    first = cal.clock.start.astimezone(zone).date() - timedelta(days=2)
    for number in range(N_DAYS + 4):
        day = first + timedelta(days=number)
        for shift in cal.pattern.of(day):
            times = [
                datetime(day.year, day.month, day.day) + timedelta(minutes=minute)
                for minute in (shift.begin, shift.end)
            ]
            begin, end = (round((time.replace(tzinfo=zone).astimezone(UTC).timestamp() - start) / 60) for time in times)
            painted[max(0, begin) : max(0, end)] = True
    return painted


@pytest.mark.parametrize("seed", range(12))
def test_working_time_agrees_with_a_walk_over_the_minutes(seed):
    rng = random.Random(seed)
    zone, start = rng.choice(
        [
            (None, "2027-03-01T06:40+08:00"),
            ("Europe/Berlin", "2027-03-20T22:00+01:00"),
            ("Europe/Berlin", "2027-10-20T00:00+02:00"),
            ("America/St_Johns", "2027-10-28T12:30-02:30"),
            ("Australia/Lord_Howe", "2027-03-25T01:00Z"),
        ]
    )
    week = (*(random_shifts(rng) for _ in range(6)), (Shift(420, 900),))
    dates = {date.fromisoformat(start[:10]) + timedelta(days=rng.randrange(N_DAYS)): random_shifts(rng) for _ in "abc"}
    cal = calendar(week, dates, start, zone)
    painted = minutes_at_work(cal)
    done = np.concatenate([[0], np.cumsum(painted)])
    working = np.flatnonzero(painted)
    for minute in [0, 1, *(rng.randrange(N_DAYS * 1440) for _ in range(100))]:
        assert cal.working(minute / 60) * 60 == pytest.approx(done[minute], abs=1e-6)
        following = working[working >= minute]
        if following.size:
            assert cal.next(minute / 60) * 60 == pytest.approx(following[0], abs=1e-6)
        before = working[working < minute]
        assert cal.last(minute / 60) * 60 == pytest.approx(before[-1] + 1 if before.size else 0, abs=1e-6)
        length = rng.randrange(1, 2_000)
        if following.size >= length:
            assert cal.add(minute / 60, length / 60) * 60 == pytest.approx(following[length - 1] + 1, abs=1e-6)
    for work in [rng.randrange(working.size - 1) for _ in range(50)]:
        assert cal.begin(work / 60) * 60 == pytest.approx(working[work], abs=1e-6)
        assert cal.end((work + 1) / 60) * 60 == pytest.approx(working[work] + 1, abs=1e-6)


def test_a_day_and_a_night_shift_are_an_hour_shorter_or_longer_when_the_clock_is_changed():
    whole = ((Shift(0, 1440),),)
    spring = calendar((*((),) * 6, *whole), start="2027-03-22T00:00+01:00", zone="Europe/Berlin")
    assert [end - begin for begin, end in spring.stretches(320)] == [23.0, 24.0]
    nights = tuple((Shift(1320, 1800),) for _ in range(7))
    autumn = calendar(nights, start="2027-10-29T12:00+02:00", zone="Europe/Berlin")
    assert [end - begin for begin, end in autumn.stretches(70)] == [8.0, 9.0, 8.0]


def test_round_the_clock_working_hours_are_elapsed_hours():
    cal = calendar(tuple((Shift(0, 1440),) for _ in range(7)))
    for hour in (0.0, 1 / 3, 5_000.25, 900_000.125):
        assert (cal.working(hour), cal.begin(hour), cal.end(hour), cal.next(hour)) == (hour,) * 4
    assert cal.stretches(1_000)[0][0] == 0.0


def test_sums_that_differ_in_their_last_digits_end_with_the_shift_and_begin_with_the_next():
    cal = calendar(tuple((Shift(420, 1140),) for _ in range(7)))
    for work in (8.4 + 3.6, 12.0 - 1e-9, 12.0 + 1e-9):
        assert (cal.end(work), cal.begin(work)) == (pytest.approx(12.0, abs=1e-8), pytest.approx(24.0, abs=1e-8))


def test_an_exception_replaces_the_shifts_that_begin_on_its_date():
    shifts = tuple((Shift(420, 900), Shift(1320, 1800)) for _ in range(7))
    cal = calendar(shifts, {date(2027, 3, 2): ()})
    assert cal.stretches(60) == [(0, 8), (15, 23), (48, 56)]  # Monday's night shift ends on Tuesday morning


def test_a_plan_that_hardly_anybody_works_on_is_refused_rather_than_counted_for_ever(agent):
    thin = {"start": START, "calendars": {"thin": {"week": {"mon": [["07:00", "07:01"]]}}}, "calendar": "thin"}
    with pytest.raises(InvalidInstance) as caught:
        agent.solve(instance_from_request({"params": [10_000] * 15} | thin))
    assert caught.value.code == "beyond_calendar"


# --- what a request may say ---


@pytest.mark.parametrize(
    ("said", "code", "loc"),
    [
        ({"start": None}, "needs_start", ("calendars",)),
        ({"calendar": "night"}, "unknown_calendar", ("calendar",)),
        ({"calendars": {"day": {"week": {"mon": [["7", "19:00"]]}}}}, "not_time_of_day", ("week", "mon", 0, 0)),
        ({"calendars": {"day": {"week": {"mon": [["07:00", "24:01"]]}}}}, "not_time_of_day", ("week", "mon", 0, 1)),
        ({"calendars": {"day": {"week": {"mon": [["24:00", "06:00"]]}}}}, "not_time_of_day", ("week", "mon", 0)),
        ({"calendars": {"day": {"week": {"mon": [["07:00"]]}}}}, "too_short", ("week", "mon", 0)),
        ({"calendars": {"day": {"week": {"monday": []}}}}, "unknown_member", ("week", "monday")),
        ({"calendars": {"day": {"week": {"mon": []}}}}, "calendar_without_hours", ("week",)),
        (
            {"calendars": {"day": {"week": {}, "exceptions": [{"date": "2027-03-01", "hours": [["07:00", "19:00"]]}]}}},
            "calendar_without_hours",
            ("week",),
        ),
        (
            {"calendars": {"day": all_week(("00:00", "24:00")) | {"exceptions": [{"date": "1.3.2027", "hours": []}]}}},
            "not_iso_date",
            ("exceptions", 0, "date"),
        ),
        (
            {"calendars": {"day": all_week() | {"exceptions": 2 * [{"date": "2027-03-01", "hours": []}]}}},
            "date_twice",
            ("exceptions", 1, "date"),
        ),
    ],
)  # fmt: skip
def test_a_calendar_that_means_nothing_is_refused_with_its_place(said, code, loc):
    found = mistakes({"params": SAMPLE} | DAY | said)[0]
    assert found == (code, loc if loc[0] in ("calendars", "calendar") else ("calendars", "day", *loc))


def test_a_calendar_that_nobody_uses_changes_nothing(agent):
    body = {"params": SAMPLE, "start": START, "calendars": DAY["calendars"]}
    assert solved(agent, body, 1).makespan_h == solved(agent, {"params": SAMPLE}, 1).makespan_h


# --- plans ---


def test_the_flagship_in_a_day_shift_ends_after_100_87_hours(agent):
    schedule = solved(agent, {"params": SAMPLE} | DAY)
    assert schedule.makespan_h == pytest.approx(100.87, abs=0.01)
    assert schedule.at_work.makespan_h == pytest.approx(52.87, abs=0.01)
    assert schedule.instance.clock.told(schedule.makespan_h).startswith("2027-03-05T11:52")
    plain = solved(agent, {"params": SAMPLE})
    assert schedule.team_utilization == pytest.approx(plain.team_utilization)
    assert schedule.critical_steps == plain.critical_steps
    again = unpacked(schedule.instance, packed(schedule))
    assert again == schedule


def two_steps(**more) -> dict:
    steps = [
        {
            "id": name,
            "name": name,
            "team": "team3",
            "duration": hours,
            "reference_crew": 4,
            "min_crew": 4,
            "max_crew": 4,
        }
        for name, hours in (("a", 8), ("b", 8))
    ]
    steps[1]["predecessors"] = ["a"]
    return {"workpoints": [{"id": "1", "steps": steps}]} | DAY | more


def test_a_step_rests_after_the_shift_and_goes_on_with_the_next(agent):
    assert places(solved(agent, two_steps())) == {"1.a": (0, 8), "1.b": (8, 28)}
    body = two_steps()
    body["workpoints"][0]["release"] = "2027-03-01T20:00+08:00"
    assert places(solved(agent, body)) == {"1.a": (24, 32), "1.b": (32, 52)}


def test_people_who_are_away_while_nobody_works_delay_nothing(agent):
    away = {"team3": {"availability": [{"from": 12, "to": 24, "people": 0}]}}
    assert places(solved(agent, two_steps(teams=away))) == {"1.a": (0, 8), "1.b": (8, 28)}
    away = {"team3": {"availability": [{"from": 20, "to": 25, "people": 0}]}}
    assert places(solved(agent, two_steps(teams=away))) == {"1.a": (0, 8), "1.b": (25, 33)}


def test_status_pins_and_the_published_plan_are_told_in_elapsed_hours(agent):
    body = two_steps(
        data_date=14,
        progress={"1.a": {"status": "running", "actual_start": 10, "workers": 4}},
        published={"1.a": {"start": 0, "workers": 4}, "1.b": {"start": 26, "workers": 4}},
        frozen_hours=12.5,
    )
    schedule = solved(agent, body)
    assert places(schedule) == {"1.a": (10, 30), "1.b": (30, 50)}  # 2 h on the first day, 6 h on the second
    assert changes(schedule).total_shift_h == pytest.approx(4.0)
    assert warnings(schedule.instance) == []
    body["progress"]["1.a"]["remaining_duration"] = 1
    schedule = solved(agent, body)
    assert places(schedule) == {"1.a": (10, 25), "1.b": (26, 34)}
    assert changes(schedule).moved == 0
    body["published"]["1.b"]["start"] = 13  # at night: nothing can be kept
    schedule = solved(agent, body | {"data_date": 12.5})
    assert (places(schedule)["1.b"], unpinned(schedule)) == ((25, 33), ["1.b"])


def test_the_tolerance_of_the_steadiest_plan_counts_elapsed_hours(agent):
    body = two_steps(published={"1.a": {"start": 4, "workers": 4}, "1.b": {"start": 24, "workers": 4}})
    assert solved(agent, body | {"stability_tolerance_h": 3.9}).makespan_h == pytest.approx(31.9, abs=0.01)
    assert places(solved(agent, body | {"stability_tolerance_h": 4})) == {"1.a": (4, 12), "1.b": (24, 32)}


def test_a_pin_while_nobody_works_is_refused_and_another_mistake_is_told_in_elapsed_hours():
    assert mistakes(two_steps(pinned={"1.b": {"start": 13}})) == [("pin_outside_calendar", ("pinned", "1.b", "start"))]
    with pytest.raises(InvalidInstance) as caught:
        instance_from_request(two_steps(pinned={"1.a": {"start": 8}, "1.b": {"start": 27}}))
    assert caught.value.code == "pins_clash"
    with pytest.raises(InvalidInstance) as caught:
        instance_from_request(two_steps(data_date=23, pinned={"1.b": {"start": 24}}))
    assert (caught.value.code, caught.value.params["earliest"]) == ("pin_too_early", 32.0)


def test_work_that_is_done_at_night_is_a_warning_and_stays_as_it_was(agent):
    done = {"status": "done", "actual_start": 13, "actual_finish": 21, "workers": 4}
    schedule = solved(agent, two_steps(data_date=21, progress={"1.a": done}))
    assert places(schedule) == {"1.a": (13, 21), "1.b": (24, 32)}
    assert [(each.code, each.loc) for each in warnings(schedule.instance)] == [
        ("outside_calendar", ("progress", "1.a"))
    ]


def test_a_schedule_that_works_at_night_or_rests_too_little_is_invalid(agent):
    schedule = solved(agent, two_steps())
    instance, (first, second) = schedule.instance, schedule.steps

    def violations(start_h, finish_h) -> str:
        placed = ScheduledStep(second.step, second.mode, start_h, finish_h)
        return "; ".join(Schedule(instance, (first, placed)).violations())

    assert violations(8.0, 28.0) == ""
    assert "starts at 13.0000 h, when nobody works" in violations(13.0, 32.0)
    assert "ends at 24.0000 h, when nobody works" in violations(8.0, 24.0)
    assert "takes 8.0000 h" in violations(8.0, 26.0)
    assert "before its predecessor" in violations(7.0, 27.0)


def test_dates_are_met_in_elapsed_hours_and_weighted_tardiness_is_refused(agent):
    body = two_steps(teams={"team3": {"headcount": 4}})
    body["workpoints"].append({**body["workpoints"][0], "id": "2", "due": 33, "deadline": 34, "release": 2})
    schedule = solved(agent, body)
    assert (schedule.makespan_h, schedule.missed_deadlines, schedule.workpoint_ends_h["2"]) == (58.0, [], 30.0)
    assert mistakes(body | {"objective": "weighted_tardiness"}) == [("objective_in_calendar", ("objective",))]


# --- steps that may not be interrupted ---


def flagship_steps(**more) -> list[dict]:
    return [
        {"id": str(number), "name": step.name_zh, "order": step.order, "team": step.team, "duration": hours} | more
        for number, (step, hours) in enumerate(zip(STANDARD_STEPS, SAMPLE, strict=True), start=1)
    ]


def test_the_flagship_of_which_nothing_may_be_interrupted_ends_after_124_hours(agent):
    body = {"workpoints": [{"id": "1", "steps": flagship_steps(interruptible=False)}]} | DAY
    assert solved(agent, body).makespan_h == pytest.approx(124.0, abs=0.01)
    body["workpoints"][0]["steps"] = flagship_steps(interruptible=True)
    assert solved(agent, body).makespan_h == pytest.approx(100.87, abs=0.01)


def whole(**more) -> dict:
    """Two steps of 8 h, of which the second may not be interrupted."""
    body = two_steps(**more)
    body["workpoints"][0]["steps"][1]["interruptible"] = False
    return body


def test_a_step_that_may_not_be_interrupted_waits_for_a_shift_that_can_hold_it(agent):
    schedule = solved(agent, whole())
    assert places(schedule) == {"1.a": (0, 8), "1.b": (24, 32)}
    cut = ScheduledStep(schedule.steps[1].step, schedule.steps[1].mode, 8.0, 28.0)
    assert "is interrupted" in "; ".join(Schedule(schedule.instance, (schedule.steps[0], cut)).violations())


def test_a_step_that_no_stretch_holds_is_refused_with_its_name():
    body = whole()
    body["workpoints"][0]["steps"][1]["duration"] = 13
    assert mistakes(body) == [("no_stretch_holds", ("workpoints", 0, "steps", 1, "interruptible"))]
    long_day = [{"date": "2027-03-09", "hours": [["07:00", "20:00"]]}]
    body["calendars"] = {"day": DAY["calendars"]["day"] | {"exceptions": long_day}}
    assert instance_from_request(body).calendar.longest_h == 13.0


def test_the_one_shift_that_holds_a_step_is_waited_for(agent):
    long_day = [{"date": "2027-04-29", "hours": [["07:00", "20:00"]]}]
    body = whole(calendars={"day": DAY["calendars"]["day"] | {"exceptions": long_day}})
    body["workpoints"][0]["steps"][1]["duration"] = 13
    assert places(solved(agent, body, 50))["1.b"] == (59 * 24, 59 * 24 + 13)


def test_pins_and_published_starts_that_a_rest_would_interrupt_are_not_kept(agent):
    assert mistakes(whole(pinned={"1.b": {"start": 10}})) == [("pin_interrupted", ("pinned", "1.b", "start"))]
    assert places(solved(agent, whole(pinned={"1.b": {"start": 28}})))["1.b"] == (28, 36)
    published = {"1.a": {"start": 0, "workers": 4}, "1.b": {"start": 8, "workers": 4}}
    schedule = solved(agent, whole(published=published, frozen_hours=9))
    assert (places(schedule), unpinned(schedule)) == ({"1.a": (0, 8), "1.b": (24, 32)}, ["1.b"])


def test_a_crew_at_work_may_have_been_interrupted(agent):
    running = {"status": "running", "actual_start": 8, "workers": 4}
    done = {"status": "done", "actual_start": 0, "actual_finish": 8, "workers": 4}
    schedule = solved(agent, whole(data_date=10, progress={"1.a": done, "1.b": running}))
    assert places(schedule)["1.b"] == (8, 28)


def test_without_a_calendar_nothing_interrupts_a_step(agent):
    body = {name: value for name, value in whole().items() if name not in ("start", "calendars", "calendar")}
    assert places(solved(agent, body)) == {"1.a": (0, 8), "1.b": (8, 16)}


# --- against CP-SAT, which counts elapsed hours ---


def oracle_h(instance, horizon: int) -> int:
    """The least makespan of an instance whose hours are all whole, in elapsed hours."""
    cal = instance.calendar
    shifts = [(round(begin), round(end)) for begin, end in cal.stretches(horizon)]
    hours = [hour for begin, end in shifts for hour in range(begin, min(end, horizon))]  # at which somebody works
    model = cp_model.CpModel()
    starts, ends, uses = {}, {}, {}
    for step in instance.steps:
        (mode,) = step.modes
        length = round(mode.duration_h)
        first = model.new_int_var(0, len(hours) - length, "")
        last = model.new_int_var(0, len(hours) - 1, "")
        model.add(last == first + length - 1)
        start, end = model.new_int_var(0, horizon, ""), model.new_int_var(0, horizon + 1, "")
        model.add_element(first, hours, start)
        model.add_element(last, [hour + 1 for hour in hours], end)
        model.add(start >= int(np.ceil(step.release_h)))
        if not step.is_interruptible:
            model.add(end == start + length)
        size = model.new_int_var(0, horizon + 1, "")
        for name, units in mode.demand:
            uses.setdefault(name, []).append((model.new_interval_var(start, size, end, ""), units))
        starts[step.id], ends[step.id] = start, end
    for number, step in enumerate(instance.steps):
        for other in instance.predecessors[number]:
            model.add(starts[step.id] >= ends[instance.steps[other].id])
    for name, taken in uses.items():
        rows = [*instance.levels.get(name, ((0.0, instance.capacity[name]),)), (float(horizon), 0)]
        most = instance.capacity[name]
        for (from_h, there), (to_h, _) in pairwise(rows):
            for begin, end in shifts:
                begin, end = max(begin, round(from_h)), min(end, round(to_h))
                if begin < end and there < most:
                    taken.append((model.new_fixed_size_interval_var(begin, end - begin, ""), most - there))
        model.add_cumulative([interval for interval, _ in taken], [units for _, units in taken], most)
    makespan = model.new_int_var(0, horizon + 1, "")
    model.add_max_equality(makespan, list(ends.values()))
    model.minimize(makespan)
    solver = cp_model.CpSolver()
    solver.parameters.num_workers = 1
    assert solver.solve(model) == cp_model.OPTIMAL
    return round(solver.objective_value)


def random_request(seed: int) -> dict:
    rng = random.Random(seed)
    shifts = rng.choice([[["07:00", "15:00"]], [["22:00", "06:00"]], [["06:00", "11:00"], ["12:00", "16:00"]]])
    longest = 8 if len(shifts) == 1 else 5
    workpoints = []
    for number in range(rng.randint(1, 3)):
        steps = []
        for at in range(rng.randint(1, 3)):
            crew = rng.randint(2, 8)
            steps.append(
                {"name": f"s{at}", "order": rng.randint(1, 3), "team": rng.choice(("team3", "team5")),
                 "duration": rng.randint(1, 9), "reference_crew": crew, "min_crew": crew, "max_crew": crew}
            )  # fmt: skip
            if steps[-1]["duration"] <= longest and rng.random() < 0.4:
                steps[-1]["interruptible"] = False
        workpoints.append({"id": f"w{number}", "steps": steps, "release": rng.choice((0, 0, rng.randint(1, 40)))})
    away = [{"from": 9, "to": 9 + rng.randint(1, 30), "people": rng.randint(0, 6)}]
    return {
        "workpoints": workpoints,
        "teams": {"team3": {"availability": away}, "team5": {"headcount": 8, "dedicated": False}},
        "start": "2027-03-05T09:00+08:00",
        "calendars": {
            "c": {
                "week": dict.fromkeys(DAYS[: rng.choice((5, 7))], shifts),
                "exceptions": [{"date": "2027-03-08", "hours": []}],
            }
        },
        "calendar": "c",
    }  # fmt: skip


@pytest.mark.parametrize("seeds", [range(15), range(15, 30)], ids=str)
def test_random_plans_are_as_short_as_cp_sat_finds_in_elapsed_hours(agent, seeds):
    for seed in seeds:
        instance = instance_from_request(random_request(seed))
        found = agent.solve(instance, time_budget_ms=600_000, max_evaluations=1_000)
        least = oracle_h(instance, 500)
        assert found.schedule.violations() == []
        assert found.lower_bound_h <= least + 1e-6, seed
        assert found.schedule.makespan_h == pytest.approx(least, abs=1e-6), seed
