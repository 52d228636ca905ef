"""The standard inspection cycle: the default plant, its 15 steps, and the crew-efficiency curve.

`standard_instance(params)` is what a request with `params` asks for.
"""

import math
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Literal, NamedTuple

from scheduler_env.errors import InvalidInstance
from scheduler_env.problem import CrewModes, Demand, Instance, Step, Team, WorkPoint

Curve = Literal["default", "linear"]

MAX_DURATION_H = 10_000.0
"""Longest nominal duration of a step, in hours."""

SAMPLE_PARAMS: tuple[float, ...] = (10, 5, 8, 6, 7, 9, 6, 7, 6, 7, 7, 7, 4, 7, 5)
"""The flagship request: nominal hours of the 15 standard steps."""

DEFAULT_TEAMS: tuple[Team, ...] = (
    Team("team1", headcount=5, dedicated=True),
    Team("team2", headcount=10),
    Team("team3", headcount=10),
    Team("team4", headcount=5, dedicated=True),
    Team("team5", headcount=15),
    Team("team6", headcount=5, dedicated=True),
)


class StandardStep(NamedTuple):
    """One row of the standard cycle (DOMAIN.md)."""

    name: str
    name_zh: str
    order: int
    team: str


STANDARD_STEPS: tuple[StandardStep, ...] = (
    StandardStep("scaffolding", "搭架子", 1, "team1"),
    StandardStep("insulation removal", "拆保温", 2, "team2"),
    StandardStep("grinding", "打磨", 3, "team2"),
    StandardStep("visual inspection", "宏观检验", 4, "team3"),
    StandardStep("wall thickness", "壁厚测定", 4, "team3"),
    StandardStep("radiographic testing", "射线检测", 4, "team4"),
    StandardStep("surface testing", "表面检测", 4, "team5"),
    StandardStep("ultrasonic testing", "超声检测", 4, "team5"),
    StandardStep("other NDT", "其他无损检测", 4, "team5"),
    StandardStep("ferrite testing", "铁素体检测", 4, "team3"),
    StandardStep("hardness testing", "硬度检测", 4, "team3"),
    StandardStep("metallography", "金相检验", 4, "team3"),
    StandardStep("result evaluation", "检验结果评定", 5, "team3"),
    StandardStep("repair", "返修", 6, "team6"),
    StandardStep("acceptance report", "合格报告出具", 7, "team3"),
)


def duration_h(nominal_h: float, crew: int, headcount: int, curve: Curve = "default") -> float:
    """Hours that a crew of `crew` out of `headcount` people needs for a step of `nominal_h` hours.

    The default crew-efficiency curve is `d / r * (0.6 + 0.4 r) * (1 - 0.2 sqrt(r))` with `r = crew / headcount`:
    a full crew takes `0.8 d`, half a crew about `1.374 d`. `linear` is `d / r`.

    Source: DOMAIN.md, "How long a step takes".
    """
    return nominal_h * relative_duration(crew, headcount, curve)


def relative_duration(crew: int, headcount: int, curve: Curve = "default") -> float:
    """Hours per nominal hour; see `duration_h`."""
    r = crew / headcount
    return 1.0 / r if curve == "linear" else (0.6 + 0.4 * r) * (1.0 - 0.2 * math.sqrt(r)) / r


def crew_modes(
    nominal_h: float,
    team: Team,
    *,
    min_crew: int | None = None,
    max_crew: int | None = None,
    curve: Curve = "default",
) -> CrewModes:
    """One mode per crew size that `team` may put on a step, smallest crew first.

    A dedicated team always works with everybody. `min_crew` and `max_crew` (people) narrow a shared team's range.

    Raises:
        InvalidInstance: the range is empty or outside 1..headcount.
    """
    low = team.headcount if team.dedicated else (team.least_crew if min_crew is None else min_crew)
    high = team.headcount if max_crew is None or team.dedicated else max_crew
    if not 1 <= low <= high <= team.headcount:
        raise InvalidInstance("crew_range_out_of_range", low=low, high=high, team=team.name, headcount=team.headcount)
    return CrewModes(nominal_h, _crews(team.name, team.headcount, low, high, curve))


@lru_cache(maxsize=1_024)
def _crews(team: str, headcount: int, low: int, high: int, curve: Curve) -> Mapping[Demand, float]:
    """Hours per nominal hour of each crew size from `low` to `high`: the same for every step of a team."""
    return {((team, crew),): relative_duration(crew, headcount, curve) for crew in range(low, high + 1)}


def standard_workpoint(
    workpoint_id: str,
    name: str,
    params: Sequence[float] = SAMPLE_PARAMS,
    teams: Sequence[Team] = DEFAULT_TEAMS,
    curve: Curve = "default",
) -> WorkPoint:
    """A work point that goes through the 15 standard steps; `params` as in `standard_instance`.

    Raises:
        InvalidInstance: `params` is not 15 durations, or `teams` lacks one of the standard teams.
    """
    if len(params) != len(STANDARD_STEPS):
        raise InvalidInstance("wrong_number_of_params", ("params",), n=len(params), expected=len(STANDARD_STEPS))
    by_name = {team.name: team for team in teams}
    steps = []
    for index, (standard, nominal_h) in enumerate(zip(STANDARD_STEPS, params, strict=True)):
        if not 0.0 < nominal_h <= MAX_DURATION_H:  # also refuses NaN
            raise InvalidInstance("duration_out_of_range", ("params", index), value=nominal_h, limit=MAX_DURATION_H)
        if standard.team not in by_name:
            raise InvalidInstance("no_standard_team", step=standard.name, team=standard.team)
        steps.append(
            Step(
                id=f"{workpoint_id}.{index + 1}",
                name=standard.name_zh,
                workpoint_id=workpoint_id,
                team=standard.team,
                order=standard.order,
                modes=crew_modes(float(nominal_h), by_name[standard.team], curve=curve),
            )
        )
    return WorkPoint(workpoint_id, name, tuple(steps))


def standard_instance(params: Sequence[float], *, curve: Curve = "default") -> Instance:
    """One work point of the default plant with the standard cycle.

    Args:
        params: 15 nominal durations, hours, each in (0, 10000], in the order of `STANDARD_STEPS`.

    Raises:
        InvalidInstance: wrong number of durations, or one out of range; `loc` names which.
    """
    return Instance(DEFAULT_TEAMS, (standard_workpoint("1", "工作点1", params, curve=curve),))
