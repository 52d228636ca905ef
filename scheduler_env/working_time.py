"""An instance with a calendar, in hours at work.

With one calendar for the whole plant, and steps that rest outside its shifts, time without work can be cut out: a
schedule of the instance in hours at work becomes one in elapsed hours by the calendar alone. The order of all events
stays, so the shortest schedule stays the shortest, and a bound stays a bound.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from scheduler_env.availability import Availability, Interval
from scheduler_env.calendars import SAME_H, Calendar
from scheduler_env.errors import InvalidInstance, Loc
from scheduler_env.problem import Instance, Mode, Step, Taken, Team, WorkPoint
from scheduler_env.replan.progress import Placement, Status

REST_TOLERANCE_H = 1e-6
"""As `schedule.TOLERANCE_H`."""


STRETCH = "stretch:"
"""A place of which steps that may not be interrupted need one unit. No unit is there for an instant after each stretch
of work, so that they do not go on after it."""
INSTANT_H = 5e-10
"""Too short to delay a step that begins there: the kernel's times are the same within 1e-9."""


def first_horizon_h(instance: Instance) -> float | None:
    """Hours at work within which a plan probably ends; None if every step may be interrupted."""
    calendar = instance.calendar
    if calendar is None or all(step.is_interruptible for step in instance.steps):
        return None
    status = instance.status or Status()
    given = [step.release_h for step in instance.steps] + [hour for team in instance.teams for hour, _ in team.people]
    given += [status.data_date_h, *(fact.end_h for fact in status.facts.values())]
    given += [pin.start_h for pin in status.pinned.values() if pin.start_h is not None]
    shortest_h = sum(min(mode.duration_h for mode in step.modes) for step in instance.steps)
    return calendar.working(max(given)) + 2.0 * shortest_h + 72.0


def too_long_steps(
    workpoints: Sequence[WorkPoint], locs: Sequence[Sequence[Loc]], teams: Mapping[str, Team], calendar: Calendar
) -> Iterator[InvalidInstance]:
    """The steps that may not be interrupted, but are longer than every stretch of work with any crew that is there.

    Args:
        locs: the places of the steps in the request; none for those of the standard cycle.
    """
    for workpoint, places in zip(workpoints, locs, strict=False):
        for step, loc in zip(workpoint.steps, places, strict=False):
            most = teams[step.team].largest_crew
            shortest_h = min(mode.duration_h for mode in step.modes if step.crew(mode) <= most)
            if not step.is_interruptible and shortest_h > calendar.longest_h + SAME_H:
                where, longest_h = (*loc, "interruptible"), calendar.longest_h
                yield InvalidInstance("no_stretch_holds", where, step=step.id, shortest=shortest_h, longest=longest_h)


def uncut(step: Step, mode: Mode) -> Mode:
    """A mode of the step without the place that keeps it from being interrupted."""
    return mode if step.is_interruptible else Mode(mode.duration_h, mode.demand[:-1])


def crosses_rest(instance: Instance, start_h: float, duration_h: float) -> bool:
    """Whether a step of an instance in hours at work would be interrupted."""
    return any(
        use.resource == STRETCH and start_h + SAME_H < use.from_h < start_h + duration_h - SAME_H
        for use in instance.taken
    )


def in_hours_at_work(instance: Instance, horizon_h: float | None = None) -> Instance:
    """The same instance in hours at work, without its clock and calendar; itself if it has no calendar.

    `horizon_h`: until then steps that may not be interrupted are not, hours at work; None: they may be.
    """
    calendar = instance.calendar
    if calendar is None:
        return instance
    workpoints, places, taken = instance.workpoints, instance.places, instance.taken
    if instance.has_dates or any(step.release_h for step in instance.steps):
        workpoints = tuple(
            replace(
                each,
                due_h=None if each.due_h is None else calendar.working(each.due_h),
                deadline_h=None if each.deadline_h is None else calendar.working(each.deadline_h),
                steps=tuple(step._replace(release_h=calendar.working(step.release_h)) for step in each.steps),
            )
            for each in workpoints
        )
    if horizon_h is not None:
        whole = [step for each in workpoints for step in each.steps if not step.is_interruptible]
        workpoints = tuple(
            replace(each, steps=tuple(_whole(step, calendar.longest_h) for step in each.steps)) for each in workpoints
        )
        places = {**places, STRETCH: len(whole)}
        taken += tuple(Taken(STRETCH, hour, hour + INSTANT_H, len(whole)) for hour in calendar.breaks(horizon_h))
    return replace(
        instance,
        teams=tuple(_team(team, calendar) for team in instance.teams),
        workpoints=workpoints,
        places=places,
        taken=taken,
        status=None if instance.status is None else _status(instance.status, calendar),
        clock=None,
        calendar=None,
        shared={},
    )


def _whole(step: Step, longest_h: float) -> Step:
    """A step that may not be interrupted, with a demand of `STRETCH`, in the modes that some stretch can hold."""
    if step.is_interruptible:
        return step
    modes = [Mode(duration_h, (*demand, (STRETCH, 1))) for duration_h, demand in step.modes]
    return step._replace(modes=tuple(mode for mode in modes if mode.duration_h <= longest_h + SAME_H))


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


def rest_violations(calendar: Calendar, steps: Iterable[tuple[Step, float, float, float]]) -> Iterator[str]:
    """Where a step begins or ends while nobody works, or is at work for other than its hours; English sentences.

    It looks at the stretches of work themselves, not at the calendar's sums.

    Args:
        steps: each with its start, end and hours at work.
    """
    rows = list(steps)
    stretches = calendar.stretches(max(end_h for _, _, end_h, _ in rows) + 1.0) if rows else []
    begins, ends = [begin for begin, _ in stretches], [end for _, end in stretches]
    for step, start_h, end_h, duration_h in rows:
        first = bisect_right(begins, start_h + REST_TOLERANCE_H) - 1
        last = bisect_left(begins, end_h - REST_TOLERANCE_H) - 1
        if first < 0 or start_h >= ends[first] - REST_TOLERANCE_H:
            yield f"step {step.id!r} starts at {start_h:.4f} h, when nobody works"
        elif duration_h <= REST_TOLERANCE_H:
            continue
        elif last < 0 or end_h > ends[last] + REST_TOLERANCE_H:
            yield f"step {step.id!r} ends at {end_h:.4f} h, when nobody works"
        else:
            between = sum(ends[at] - begins[at] for at in range(first, last))
            work_h = between + (end_h - begins[last]) - (start_h - begins[first])
            if abs(work_h - duration_h) > REST_TOLERANCE_H:
                yield f"step {step.id!r} is at work for {work_h:.4f} h, but takes {duration_h:.4f} h"
            if not step.is_interruptible and last != first:
                yield f"step {step.id!r} is interrupted by a rest"
