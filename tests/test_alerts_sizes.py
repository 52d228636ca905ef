"""Alerts by size of plant: a large plant is not an alarm, a plant that grows neither, and schedules that worsen are."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from monitoring import PERFORMANCE_THRESHOLDS, PerformanceMonitor, PerformanceRecord
from scheduler_service.alert_rules import GAP_THRESHOLDS
from scheduler_service.alerts import rules
from scheduler_service.alerts.rise import MIN_RUNS
from scheduler_service.alerts.rules import Reading

NOON = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)
LATE = timedelta(minutes=5)


def frame(**columns: Any) -> pd.DataFrame:
    return pd.DataFrame(columns)


def beyond(readings: list[Reading]) -> list[tuple[str, str]]:
    return [(each.name, each.subject) for each in readings if each.state == "beyond"]


class Plant:
    """Runs of a plant, recorded: lower bounds grow with its size, gaps are those that a search leaves by chance."""

    def __init__(self, folder: Path) -> None:
        self.monitor = PerformanceMonitor(
            folder / "p.db", reports_dir=folder, thresholds={"min_free_disk_gib": 0}, clock=lambda: NOON
        )
        self.rng = np.random.default_rng(7)
        self.count = 0

    def runs(self, ago: timedelta, count: int, n: int, *, gap: float, steps: float = 15.0, **more: Any) -> None:
        """`count` runs in the hour that ended `ago`; `gap` is the mean one."""
        made = []
        for place in range(count):
            self.count += 1
            bound = float(18.0 * n * self.rng.uniform(0.9, 1.1) + 30.0)
            found = gap * float(self.rng.gamma(4.0, 0.25))
            at = NOON - ago - timedelta(hours=1) * (place / count) * 0.9
            figures = {"makespan": bound * (1.0 + found), "lower_bound": bound, "gap": found, "execution_time": 0.1}
            made.append(
                PerformanceRecord(
                    request_id=f"r{self.count}", timestamp=at, model_key="m", n_workpoints=n, n_steps=round(n * steps),
                    **figures | more,
                )
            )  # fmt: skip
        self.monitor.record_performance(*made)

    def alarms(self) -> list[tuple[str, str]]:
        return beyond(self.monitor.alert_readings())


@pytest.fixture
def plant(tmp_path: Path) -> Plant:
    return Plant(tmp_path)


def past(plant: Plant, *sizes: int, gap: float = 0.04, steps: float = 15.0, days: int = 20) -> None:
    for day in range(2, days + 2):
        for n in sizes:
            plant.runs(timedelta(days=day), 6, n, gap=gap, steps=steps)


def test_a_healthy_plant_of_twenty_work_points_is_no_alarm(plant: Plant):
    """Its schedules take some 400 h, and its steps leave three times the gap of standard cycles."""
    past(plant, 20, gap=0.04, steps=13.35)
    plant.runs(LATE, 40, 20, gap=0.04, steps=13.35)
    assert plant.monitor.get_performance_data()["makespan"].mean() > 300.0
    assert plant.alarms() == []


def test_neither_is_one_that_has_no_past(plant: Plant):
    plant.runs(LATE, 60, 20, gap=0.04, steps=13.35)
    assert plant.alarms() == []


def test_schedules_of_a_size_that_become_longer_are_an_alarm_of_that_size(plant: Plant):
    past(plant, 3, 20, gap=0.02, steps=13.35)
    plant.runs(LATE, 30, 20, gap=0.13, steps=13.35)
    plant.runs(LATE, 30, 3, gap=0.02, steps=13.35)
    (risen,) = [each for each in plant.monitor.alert_readings() if each.state == "beyond"]
    assert (risen.name, risen.subject, risen.threshold) == ("max_makespan_rise", "N<=20", 0.05)
    assert risen.value == pytest.approx(0.105, abs=0.03)
    runs = plant.monitor.get_performance_data().set_index("request_id")
    worst = runs[runs["timestamp"] > pd.Timestamp(NOON - timedelta(hours=2))].query("n_workpoints == 20")
    length = (worst["makespan"] / worst["lower_bound"]).sort_values(ascending=False)
    assert list(risen.requests) == list(length.index[:5])


def test_they_are_also_when_the_mix_of_sizes_changes_the_other_way(plant: Plant):
    """The mean makespan of all falls by half while those of 20 work points become a tenth longer."""
    past(plant, 20, gap=0.02, steps=13.35)
    past(plant, 3, gap=0.02, steps=13.35, days=2)
    plant.runs(LATE, 100, 3, gap=0.02, steps=13.35)
    plant.runs(LATE, 25, 20, gap=0.13, steps=13.35)
    assert ("max_makespan_rise", "N<=20") in plant.alarms()
    assert ("max_makespan_rise", "N<=5") not in plant.alarms()


@pytest.mark.parametrize("larger", [20, 60])
def test_a_plant_that_begins_to_send_larger_requests_raises_no_alarm(plant: Plant, larger: int):
    past(plant, 1, 3, gap=0.01)
    plant.runs(LATE, 60, larger, gap=0.01)
    assert plant.alarms() == []


def test_within_a_size_a_larger_number_of_work_points_is_held_against_its_own_past(plant: Plant):
    """11 and 20 work points are one size; smaller ones leave larger gaps, which is no rise."""
    past(plant, 20, gap=0.01, steps=13.0)
    past(plant, 11, gap=0.10, steps=13.0)
    plant.runs(LATE, 60, 11, gap=0.10, steps=13.0)
    assert plant.alarms() == []


def test_a_size_that_is_run_seldom_is_judged_by_its_last_runs_of_the_day(plant: Plant):
    past(plant, 20, gap=0.02, steps=13.35)
    for hours in range(12):
        plant.runs(timedelta(hours=hours), 2, 20, gap=0.13, steps=13.35)
    assert plant.alarms() == [("max_makespan_rise", "N<=20")]


def test_a_plant_of_one_day_is_held_against_that_day(plant: Plant):
    for hours in range(2, 20):
        plant.runs(timedelta(hours=hours), 10, 20, gap=0.02, steps=13.35)
    assert plant.alarms() == []
    plant.runs(LATE, 40, 20, gap=0.13, steps=13.35)
    assert plant.alarms() == [("max_makespan_rise", "N<=20")]


def test_chance_seldom_raises_an_alarm_at_any_size():
    """Of 60 plants that are as ever, with gaps of 10 % and more by chance, none at 5 % and few at no threshold."""
    rng = np.random.default_rng(3)
    found = {0.0: 0, 0.05: 0}
    ago = pd.to_timedelta(np.r_[np.full(25, 10.0), np.full(195, 3_000.0)], unit="min")
    runs = frame(
        timestamp=pd.Timestamp(NOON) - ago, success=True,
        makespan=100.0, lower_bound=100.0, n_workpoints=20, n_steps=260, time_budget_ms=20.0,
    )  # fmt: skip
    for _ in range(60):
        runs["makespan"] = 100.0 * (1.0 + rng.gamma(2.0, 0.05, 220))
        for limit in found:
            found[limit] += bool(beyond(rules.makespan_rises(runs[:25], runs[25:], NOON, limit)))
    assert found[0.05] == 0
    assert found[0.0] <= 1, "one or two in a thousand are expected, and the past is known by 195 runs only"


def test_few_runs_say_nothing_of_a_rise():
    runs = frame(
        timestamp=[pd.Timestamp(NOON)] * (MIN_RUNS - 1), success=True, makespan=200.0, lower_bound=100.0,
        n_workpoints=20, n_steps=260, time_budget_ms=20.0,
    )  # fmt: skip
    before = pd.concat([runs.assign(makespan=101.0, timestamp=pd.Timestamp(NOON) - pd.Timedelta(days=2))] * 3)
    (reading,) = rules.makespan_rises(runs, before, NOON, 0.05)
    assert (reading.state, reading.value) == ("unknown", None)


# --- thresholds that were made for one size ---


def test_the_threshold_of_the_guide_is_for_one_standard_cycle():
    runs = frame(
        success=True, makespan=[55.0] * 5 + [400.0] * 20 + [90.0] * 5, execution_time=0.1, model_key="m",
        error_message=None, n_workpoints=[1] * 5 + [20] * 20 + [1] * 5, n_steps=[15] * 5 + [267] * 20 + [30] * 5,
    )  # fmt: skip
    reading = rules.performance(runs, PERFORMANCE_THRESHOLDS)[0]
    assert (reading.state, reading.value) == ("within", 55.0)
    longer = runs.assign(makespan=runs["makespan"] + 10.0)
    assert beyond(rules.performance(longer, PERFORMANCE_THRESHOLDS)) == [("max_makespan", "")]


def test_what_was_recorded_without_a_size_is_held_against_it_too():
    runs = frame(
        success=True, makespan=[70.0] * 3, execution_time=0.1, model_key="m", error_message=None,
        n_workpoints=pd.Series([pd.NA] * 3, dtype="Int64"), n_steps=pd.Series([pd.NA] * 3, dtype="Int64"),
    )  # fmt: skip
    assert beyond(rules.performance(runs, PERFORMANCE_THRESHOLDS)) == [("max_makespan", "")]


def test_time_that_was_granted_is_no_slow_answer():
    runs = frame(
        success=True, makespan=50.0, execution_time=[60.2] * 30, model_key="m", error_message=None,
        time_budget_ms=60_000.0,
    )  # fmt: skip
    reading = rules.performance(runs, PERFORMANCE_THRESHOLDS)[1]
    assert (reading.state, reading.value) == ("within", pytest.approx(0.2))
    slow = rules.performance(runs.assign(execution_time=71.0), PERFORMANCE_THRESHOLDS)
    assert beyond(slow) == [("max_execution_time", "")]


def test_the_usual_gaps_are_for_standard_cycles_and_one_that_was_said_for_all():
    own = frame(success=True, gap=[0.05] * 30, n_workpoints=20, n_steps=267)
    standard = own.assign(n_steps=300)
    assert beyond(rules.gaps(own, GAP_THRESHOLDS)) == []
    assert beyond(rules.gaps(standard, GAP_THRESHOLDS)) == [("max_gap", "N<=20")]
    said = GAP_THRESHOLDS | {20: 0.04}
    assert beyond(rules.gaps(own, said, custom=[20])) == [("max_gap", "N<=20")]


def test_larger_requests_change_the_distribution_of_sizes_but_not_that_of_the_bounds_of_each():
    rng = np.random.default_rng(5)
    before = frame(
        n_workpoints=[1] * 400 + [20] * 400, lower_bound=np.r_[rng.normal(50, 4, 400), rng.normal(390, 9, 400)]
    )
    now = frame(n_workpoints=[1] * 30 + [20] * 370, lower_bound=np.r_[rng.normal(50, 4, 30), rng.normal(390, 9, 370)])
    assert rules.drift("lower_bound", now["lower_bound"], before["lower_bound"]).state == "beyond"
    assert rules.drift_of_bounds(now, before).state != "beyond"
    longer = now.assign(lower_bound=now["lower_bound"] * 1.1)
    assert rules.drift_of_bounds(longer, before).state == "beyond"
    assert rules.drift_of_bounds(now.assign(n_workpoints=7), before).state == "unknown"
