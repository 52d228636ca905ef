"""`Schedule.violations` finds every kind of violation, and the formulas of the domain hold."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler_env import (
    SAMPLE_PARAMS,
    InvalidInstance,
    InvalidSchedule,
    Schedule,
    ScheduledStep,
    standard_instance,
)
from scheduler_env.problem import Instance, Mode, Step, Team, WorkPoint
from scheduler_env.rules import Rule, solve_by_rule
from scheduler_env.standard_cycle import duration_h
from tests.instances import instances
from tests.properties import examples


@pytest.fixture(scope="module")
def schedule() -> Schedule:
    return solve_by_rule(standard_instance(SAMPLE_PARAMS), Rule("LFT", 0.5, "parallel")).schedule


def _changed(schedule: Schedule, index: int, **changes: object) -> Schedule:
    steps = list(schedule.steps)
    steps[index] = steps[index]._replace(**changes)
    return Schedule(schedule.instance, tuple(steps))


def test_the_schedule_of_a_rule_has_no_violation(schedule):
    assert schedule.violations() == []


@pytest.mark.parametrize(
    ("step", "earlier_h", "violation"), [(12, 0.1, "of order 5 starts"), (0, 1.0, "before the shutdown")]
)
def test_a_step_that_starts_too_early_is_found(schedule, step, earlier_h, violation):
    early = _changed(schedule, step, start_h=schedule.steps[step].start_h - earlier_h)
    assert any(violation in text for text in early.violations())


def test_a_team_over_its_headcount_is_found(schedule):
    full = schedule.steps[4].step.modes[-1]
    crowded = _changed(_changed(schedule, 3, start_h=30.0), 4, start_h=30.0, mode=full)
    assert any("'team3' needs" in text and "more than its 10" in text for text in crowded.violations())


@pytest.mark.parametrize(
    "mode", [Mode(duration_h(6, 2, 10) * 0.9, (("team3", 2),)), Mode(duration_h(6, 1, 10), (("team3", 1),))]
)
def test_a_duration_or_crew_that_the_step_does_not_allow_is_found(schedule, mode):
    assert any("not one of its modes" in text for text in _changed(schedule, 3, mode=mode).violations())


def test_a_dedicated_team_on_two_simultaneous_steps_is_found():
    team = Team("crane", 4, dedicated=True)
    half = Mode(2.0, (("crane", 2),))
    steps = tuple(Step(name, name, "1", "crane", None, (half,)) for name in ("a", "b"))
    instance = Instance((team,), (WorkPoint("1", "1", steps),))
    both = Schedule(instance, tuple(ScheduledStep(step, half, 0.0) for step in steps))
    assert any("dedicated team 'crane' works on 2 steps" in text for text in both.violations())


def test_a_missing_and_a_duplicate_step_are_found(schedule):
    missing = Schedule(schedule.instance, schedule.steps[:-1])
    assert any("is not scheduled" in text for text in missing.violations())
    doubled = Schedule(schedule.instance, (*schedule.steps, schedule.steps[0]))
    assert any("is scheduled twice" in text for text in doubled.violations())


def test_a_predecessor_that_ends_too_late_is_found():
    team = Team("t", 2)
    mode = Mode(1.0, (("t", 1),))
    steps = (Step("a", "a", "1", "t", None, (mode,)), Step("b", "b", "1", "t", None, (mode,), ("a",)))
    instance = Instance((team,), (WorkPoint("1", "1", steps),))
    early = Schedule(instance, (ScheduledStep(steps[0], mode, 0.0), ScheduledStep(steps[1], mode, 0.5)))
    assert any("before its predecessor 'a'" in text for text in early.violations())


def test_check_raises_with_the_violations(schedule):
    with pytest.raises(InvalidSchedule, match="before the shutdown"):
        _changed(schedule, 0, start_h=-1.0).check()


def test_the_crew_efficiency_curve_matches_the_domain():
    assert duration_h(10, 10, 10) == pytest.approx(8.0)
    assert duration_h(1, 5, 10) == pytest.approx(1.374, abs=5e-4)
    assert duration_h(10, 5, 10, "linear") == pytest.approx(20.0)


def test_utilisation_is_crew_hours_over_headcount_times_makespan(schedule):
    hours = sum(placed.crew * placed.mode.duration_h for placed in schedule.steps if placed.step.team == "team3")
    assert schedule.team_utilization["team3"] == pytest.approx(hours / (10 * schedule.makespan_h))
    everybody = sum(placed.crew * placed.mode.duration_h for placed in schedule.steps)
    assert schedule.resource_utilization == pytest.approx(everybody / (50 * schedule.makespan_h))


@pytest.mark.parametrize(
    ("params", "loc"),
    [
        ([1.0] * 14, ("params",)),
        ([1.0] * 16, ("params",)),
        ([1.0] * 14 + [float("nan")], ("params", 14)),
        ([0.0] + [1.0] * 14, ("params", 0)),
        ([1.0, -1.0] + [1.0] * 13, ("params", 1)),
        ([1.0] * 14 + [1e12], ("params", 14)),
    ],
)
def test_values_out_of_range_are_refused_with_their_position(params, loc):
    with pytest.raises(InvalidInstance) as caught:
        standard_instance(params)
    assert caught.value.loc == loc


def test_a_cycle_is_refused_with_its_steps():
    mode = Mode(1.0, (("t", 1),))
    steps = (Step("a", "a", "1", "t", None, (mode,), ("b",)), Step("b", "b", "1", "t", None, (mode,), ("a",)))
    with pytest.raises(InvalidInstance) as refused:
        Instance((Team("t", 2),), (WorkPoint("1", "1", steps),))
    assert refused.value.code == "cycle"
    assert refused.value.params["steps"] in (["a", "b", "a"], ["b", "a", "b"])


def _critical_by_brute_force(schedule: Schedule) -> set[str]:
    """Critical steps by definition: compares every step with every other one."""
    instance, capacity, near = schedule.instance, schedule.instance.capacity, 1e-6
    number = {step.id: index for index, step in enumerate(instance.steps)}

    def waits_for(late, early) -> bool:
        if late is early or abs(early.end_h - late.start_h) > near or late.start_h <= near:
            return False
        if number[early.step.id] in instance.predecessors[number[late.step.id]]:
            return True
        for name, wanted in late.mode.demand:
            moment = late.start_h - 2 * near
            at_work = sum(
                dict(each.mode.demand).get(name, 0) for each in schedule.steps if each.start_h <= moment < each.end_h
            )
            if at_work + wanted > capacity[name] and dict(early.mode.demand).get(name, 0):
                return True
        return False

    found = {each.step.id for each in schedule.steps if each.end_h >= schedule.makespan_h - near}
    while True:
        waiting = {
            early.step.id
            for late in schedule.steps
            if late.step.id in found
            for early in schedule.steps
            if waits_for(late, early)
        }
        if waiting <= found:
            return found
        found |= waiting


@examples(60)
@given(instance=instances(max_steps=12), crew=st.sampled_from([0.3, 0.5, 1.0]))
def test_critical_steps_match_the_definition(instance, crew):
    schedule = solve_by_rule(instance, Rule("LFT", crew, "parallel")).schedule
    assert schedule.critical_steps == _critical_by_brute_force(schedule)


def test_the_critical_sequence_of_the_flagship_is_contiguous_from_start_to_end(schedule):
    critical = sorted(
        (each for each in schedule.steps if each.step.id in schedule.critical_steps), key=lambda s: s.end_h
    )
    assert critical[0].start_h == 0.0
    assert critical[-1].end_h == schedule.makespan_h
    ends = {0.0, *(each.end_h for each in critical)}
    assert all(min(abs(each.start_h - end) for end in ends) < 1e-6 for each in critical)
    assert len(critical) < len(schedule.steps)
