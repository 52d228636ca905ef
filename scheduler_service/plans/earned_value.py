"""Planned and earned value in people-hours, against a baseline; scope that was added or cancelled is told apart. Pure.

Only steps of both the baseline and the present plan count as planned and earned. The people-hours of a step are due
evenly from its start to its end. A step at work has earned the share of its time that has passed.

Source: PMI, The Standard for Earned Value Management (2019).
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import NamedTuple

from scheduler_env.replan.open_steps import status_of
from scheduler_env.schedule import Schedule, ScheduledStep

MAX_POINTS = 61
"""Of the S-curve."""


class Scope(NamedTuple):
    """Steps and their people-hours."""

    steps: int
    people_hours: float
    earned: float  # people-hours


class Point(NamedTuple):
    """A point of the S-curve, people-hours from hour 0 on. None: beyond, or before, the data date."""

    hour: float
    planned: float
    earned: float | None
    forecast: float | None


@dataclass(frozen=True, slots=True)
class EarnedValue:
    """How far a plan has come at its data date.

    Attributes:
        spi: schedule performance index, earned over planned value; None if nothing was due.
        total: the people-hours of the baseline that are still to be done or done.
        cancelled: steps of the baseline that the plan does not have any more; they count nowhere else.
        added: steps that the baseline does not have.
    """

    data_date_h: float
    planned_value: float
    earned_value: float
    spi: float | None
    total: float
    cancelled: Scope
    added: Scope
    baseline_end_h: float
    forecast_end_h: float
    curve: tuple[Point, ...]


def earned_value(baseline: Schedule, current: Schedule) -> EarnedValue:
    """The figures of `current` at its data date, against `baseline`."""
    status = status_of(current.instance)
    data_date_h, facts = status.data_date_h, status.facts
    now = {placed.step.id: placed for placed in current.steps}
    then = {placed.step.id: placed for placed in baseline.steps}
    kept = [
        (placed, now[step_id], _people_hours(baseline, placed)) for step_id, placed in then.items() if step_id in now
    ]

    def planned(hour: float) -> float:
        return sum(hours * _share(before, hour) for before, _, hours in kept)

    def earned(hour: float) -> float:
        return sum(hours * _share(after, hour) for _, after, hours in kept if after.step.id in facts)

    def forecast(hour: float) -> float:
        return sum(hours * _share(after, hour) for _, after, hours in kept)

    due, done = planned(data_date_h), earned(data_date_h)
    last_h = max(baseline.makespan_h, current.makespan_h, data_date_h)
    return EarnedValue(
        data_date_h,
        due,
        done,
        done / due if due > 0.0 else None,
        sum(hours for *_, hours in kept),
        _scope(baseline, (placed for step_id, placed in then.items() if step_id not in now), lambda _: 0.0),
        _scope(
            current,
            (placed for step_id, placed in now.items() if step_id not in then),
            lambda placed: _share(placed, data_date_h) if placed.step.id in facts else 0.0,
        ),
        baseline.makespan_h,
        current.makespan_h,
        tuple(
            Point(
                hour,
                planned(hour),
                earned(hour) if hour <= data_date_h else None,
                forecast(hour) if hour >= data_date_h else None,
            )
            for hour in _hours(last_h, data_date_h)
        ),
    )


def _hours(last_h: float, data_date_h: float) -> list[float]:
    grid = [last_h * number / (MAX_POINTS - 2) for number in range(MAX_POINTS - 1)]
    return sorted({*grid, data_date_h})


def _share(placed: ScheduledStep, hour: float) -> float:
    """The share of a step's time that lies before `hour`."""
    length_h = placed.end_h - placed.start_h
    if length_h <= 0.0:
        return 1.0 if hour >= placed.start_h else 0.0
    return min(1.0, max(0.0, (hour - placed.start_h) / length_h))


def _people_hours(schedule: Schedule, placed: ScheduledStep) -> float:
    teams = {team.name for team in schedule.instance.teams}
    return placed.mode.duration_h * sum(units for name, units in placed.mode.demand if name in teams)


def _scope(schedule: Schedule, steps: Iterable[ScheduledStep], share: Callable[[ScheduledStep], float]) -> Scope:
    rows = [(_people_hours(schedule, placed), share(placed)) for placed in steps]
    return Scope(len(rows), sum(hours for hours, _ in rows), sum(hours * done for hours, done in rows))
