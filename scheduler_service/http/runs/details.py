"""The JSON of a schedule: its steps, and how busy the teams are."""

from scheduler_env.availability import written
from scheduler_env.clock import Clock
from scheduler_env.replan.progress import Status
from scheduler_env.replan.report import changes, shift_h, state_of, unpinned, warnings
from scheduler_env.schedule import Schedule, ScheduledStep
from scheduler_service.http.contract.problems import told_finding


def details(schedule: Schedule) -> dict[str, object]:
    """The steps of the schedule, the utilisation of the teams, and what is told about its status, as JSON."""
    status, clock = schedule.instance.status, schedule.instance.clock
    critical = schedule.critical_steps
    names = {workpoint.id: workpoint.name for workpoint in schedule.instance.workpoints}
    teams = [team for team in schedule.instance.teams if team.name in schedule.team_utilization]
    availability = {team.name: written(team.availability) for team in teams if team.availability is not None}
    return {
        "team_utilization": schedule.team_utilization,
        "team_headcount": {team.name: team.headcount for team in teams},
        **({"team_availability": availability} if availability else {}),
        **({} if schedule.at_work is None else {"hours_at_work": schedule.at_work.makespan_h}),
        "schedule_details": [
            {
                "id": placed.step.id,
                "name": placed.step.name,
                "workpoint_id": placed.step.workpoint_id,
                "workpoint_name": names[placed.step.workpoint_id],
                "team": placed.step.team,
                "order": placed.step.order,
                "workers": placed.crew,
                "start": placed.start_h,
                "end": placed.end_h,
                **(
                    {}
                    if clock is None
                    else {"start_at": clock.told(placed.start_h), "end_at": clock.told(placed.end_h)}
                ),
                "critical": placed.step.id in critical,
                **({} if status is None else _standing(placed, status)),
            }
            for placed in schedule.steps
        ],
        **(_dates(schedule) if schedule.instance.has_dates else {}),
        **({} if status is None else _told(schedule, status)),
    }


def _times(placed: ScheduledStep, clock: Clock) -> dict[str, object]:
    return {"start_at": clock.told(placed.start_h), "end_at": clock.told(placed.end_h)}


def _dates(schedule: Schedule) -> dict[str, object]:
    """How late the work points are."""
    ends_h = schedule.workpoint_ends_h
    return {
        "objective": schedule.instance.objective,
        "weighted_tardiness": schedule.weighted_tardiness_h,
        "missed_deadlines": schedule.missed_deadlines,
        "dates": [
            {
                "workpoint_id": each.id,
                "end": ends_h[each.id],
                "due": each.due_h,
                "weight": each.weight,
                "tardiness": 0.0 if each.due_h is None else max(0.0, ends_h[each.id] - each.due_h),
                "deadline": each.deadline_h,
            }
            for each in schedule.instance.workpoints
            if each.due_h is not None or each.deadline_h is not None
        ],
    }


def _standing(placed: ScheduledStep, status: Status) -> dict[str, object]:
    """Where the step stands, and what was published about it."""
    found: dict[str, object] = {"status": state_of(placed.step.id, status)}
    if status.published is not None:
        there = status.published.get(placed.step.id)
        found |= {"published_start": there and there.start_h, "shift": shift_h(placed, status)}
    return found


def _told(schedule: Schedule, status: Status) -> dict[str, object]:
    found: dict[str, object] = {
        "data_date": status.data_date_h,
        "warnings": [told_finding(each) for each in warnings(schedule.instance)],
    }
    if status.published is not None:
        moved, crews_changed, total_shift_h = changes(schedule)
        found["changes"] = {"moved": moved, "crews_changed": crews_changed, "total_shift": total_shift_h}
        found["unpinned"] = unpinned(schedule)
    return found
