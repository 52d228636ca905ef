"""An instance with a calendar, in hours at work.

With one calendar for the whole plant, and steps that rest outside its shifts, time without work can be cut out: a
schedule of the instance in hours at work becomes one in elapsed hours by the calendar alone. The order of all events
stays, so the shortest schedule stays the shortest, and a bound stays a bound.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from scheduler_env.availability import Availability, Interval
from scheduler_env.calendars import SAME_H, Calendar
from scheduler_env.problem import Instance, Team, WorkPoint
from scheduler_env.replan.progress import Placement, Status

REST_TOLERANCE_H = 1e-6
"""As `schedule.TOLERANCE_H`."""


def in_hours_at_work(instance: Instance) -> Instance:
    """The same instance in hours at work, without its clock and calendar; itself if it has no calendar."""
    calendar = instance.calendar
    if calendar is None:
        return instance
    workpoints = instance.workpoints
    if any(step.release_h for step in instance.steps):
        workpoints = tuple(
            WorkPoint(
                each.id,
                each.name,
                tuple(step._replace(release_h=calendar.working(step.release_h)) for step in each.steps),
            )
            for each in workpoints
        )
    teams = tuple(_team(team, calendar) for team in instance.teams)
    status = None if instance.status is None else _status(instance.status, calendar)
    return Instance(teams, workpoints, instance.places, status=status)


def _team(team: Team, calendar: Calendar) -> Team:
    return team if team.availability is None else replace(team, availability=_availability(team.availability, calendar))


def _availability(availability: Availability, calendar: Calendar) -> Availability:
    """Without the intervals in which nobody works."""
    if isinstance(availability, int):
        return availability
    intervals = [
        Interval(calendar.working(from_h), calendar.working(to_h), people) for from_h, to_h, people in availability
    ]
    return tuple(each for each in intervals if each.to_h > each.from_h + SAME_H)


def _status(status: Status, calendar: Calendar) -> Status:
    work = calendar.working

    def placements(told: Mapping[str, Placement]) -> dict[str, Placement]:
        return {
            step_id: Placement(None if each.start_h is None else work(each.start_h), each.crew)
            for step_id, each in told.items()
        }

    data_date_h = work(status.data_date_h)
    return Status(
        data_date_h,
        {
            step_id: fact._replace(start_h=work(fact.start_h), end_h=work(fact.end_h))
            for step_id, fact in status.facts.items()
        },
        placements(status.pinned),
        placements(status.overtaken),
        None if status.published is None else placements(status.published),
        work(status.data_date_h + status.frozen_h) - data_date_h,
        status.tolerance_h,
        calendar,
    )


def rest_violations(calendar: Calendar, steps: Iterable[tuple[str, float, float, float]]) -> Iterator[str]:
    """Where a step begins or ends while nobody works, or is at work for other than its hours; English sentences.

    It looks at the stretches of work themselves, not at the calendar's sums.

    Args:
        steps: id, start, end, hours at work.
    """
    rows = list(steps)
    stretches = calendar.stretches(max(end_h for _, _, end_h, _ in rows) + 1.0) if rows else []
    begins, ends = [begin for begin, _ in stretches], [end for _, end in stretches]
    for step_id, start_h, end_h, duration_h in rows:
        first = bisect_right(begins, start_h + REST_TOLERANCE_H) - 1
        last = bisect_left(begins, end_h - REST_TOLERANCE_H) - 1
        if first < 0 or start_h >= ends[first] - REST_TOLERANCE_H:
            yield f"step {step_id!r} starts at {start_h:.4f} h, when nobody works"
        elif duration_h <= REST_TOLERANCE_H:
            continue
        elif last < 0 or end_h > ends[last] + REST_TOLERANCE_H:
            yield f"step {step_id!r} ends at {end_h:.4f} h, when nobody works"
        else:
            between = sum(ends[at] - begins[at] for at in range(first, last))
            work_h = between + (end_h - begins[last]) - (start_h - begins[first])
            if abs(work_h - duration_h) > REST_TOLERANCE_H:
                yield f"step {step_id!r} is at work for {work_h:.4f} h, but takes {duration_h:.4f} h"
