"""What one and two more people in a team would save: each case is planned anyway. Pure.

People are added through `availability`: the headcount, the reference of the crew-efficiency curve, stays, and so do
durations.
"""

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from scheduler_env.availability import MAX_HOUR
from scheduler_env.errors import InvalidInstance
from scheduler_env.problem import Instance, Team
from scheduler_env.readers import instance_from_request
from scheduler_env.replan.open_steps import status_of
from scheduler_env.schedule import TOLERANCE_H, Solution
from scheduler_service.plans.edits import teams_by_name

MOST = 2
"""So many more people are tried."""
MAX_TOTAL_MS = 60_000.0
LEFT_OUT = ("published", "frozen_hours", "stability_tolerance_h", "objective")
"""Members of a request that ask for something else than the shortest schedule."""
PROVED_H = 1e-6
"""A schedule is proved to be shortest if its lower bound is not further away."""


@dataclass(frozen=True, slots=True)
class Saving:
    """What more people in a team would save.

    Attributes:
        saves_h: by which the shortest schedule found with them is shorter; never negative.
        is_proved: both schedules are proved to be the shortest ones.
    """

    team: str
    people: int
    makespan_h: float
    saves_h: float
    is_proved: bool


@dataclass(frozen=True, slots=True)
class Advice:
    """The savings, each compared with the shortest schedule found with the people who are there."""

    makespan_h: float
    is_proved: bool
    savings: tuple[Saving, ...]


def advise(
    problem: Mapping[str, Any], makespan_h: float, solve: Callable[[Instance, float], Solution], budget_ms: float
) -> Advice:
    """What one and two more people in each team with open steps would save.

    Shortest schedules are compared, whatever else was asked for.

    Args:
        problem: a request, with or without a published plan.
        makespan_h: of the plan; the shortest schedule is not longer.
        solve: a search; its second argument is the time budget, ms.
        budget_ms: of each search; less if all together would take longer than `MAX_TOTAL_MS`.
    """
    plain = {name: value for name, value in problem.items() if name not in LEFT_OUT}
    instance = instance_from_request(plain)
    facts = status_of(instance).facts
    used = {step.team for step in instance.steps if step.id not in facts}
    budget_ms = min(budget_ms, MAX_TOTAL_MS / (1 + MOST * len(used)))
    now = solve(instance, budget_ms)
    best_h = min(makespan_h, now.schedule.makespan_h)
    is_proved = now.lower_bound_h >= best_h - PROVED_H
    savings: list[Saving] = []
    for team in (team for team in instance.teams if team.name in used):
        shortest_h, is_settled = best_h, is_proved
        for more in range(1, MOST + 1):
            found = _with_more(plain, instance, team, more)
            if found is None:
                break
            if found is not instance:
                solution = solve(found, budget_ms)
                shortest_h = min(shortest_h, solution.schedule.makespan_h)
                is_settled = is_proved and solution.lower_bound_h >= shortest_h - PROVED_H
            saves_h = best_h - shortest_h
            savings.append(Saving(team.name, more, shortest_h, saves_h if saves_h > TOLERANCE_H else 0.0, is_settled))
    return Advice(best_h, is_proved, tuple(savings))


def _with_more(problem: dict[str, Any], instance: Instance, team: Team, more: int) -> Instance | None:
    """The instance with more people in a team; `instance` itself if they can do nothing; None if it is refused."""
    with suppress(InvalidInstance):  # too many people, or too many intervals
        found = instance_from_request(with_more_people(problem, team, more))
        now = next(each for each in found.teams if each.name == team.name)
        has_same_crews = all(
            len(step.modes) == len(other.modes) for step, other in zip(instance.steps, found.steps, strict=True)
        )
        return instance if now.usable == team.usable and has_same_crews else found
    return None


def with_more_people(problem: Mapping[str, Any], team: Team, more: int) -> dict[str, Any]:
    """The request with `more` people in a team, at all times."""
    levels = team.people
    there: int | list[dict[str, float]] = levels[0][1] + more
    if len(levels) > 1:
        ends = [*(hour for hour, _ in levels[1:]), MAX_HOUR]
        there = [
            {"from": hour, "to": end, "people": people + more} for (hour, people), end in zip(levels, ends, strict=True)
        ]
    teams = teams_by_name(problem.get("teams"))
    usual = {"headcount": team.headcount, "dedicated": team.dedicated}
    teams[team.name] = {**usual, **teams.get(team.name, {}), "availability": there}
    return {**problem, "teams": teams}
