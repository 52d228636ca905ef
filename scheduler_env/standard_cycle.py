"""The standard inspection cycle: the default plant, its 15 steps, and the crew-efficiency curve.

`standard_instance(params)` is the instance of a request with `params`.
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
"""The sample request: nominal hours of the 15 standard steps."""

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
    """The hours that a crew of `crew` of the `headcount` people needs for a step of `nominal_h` nominal hours.

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
    reference_crew: int | None = None,
) -> CrewModes:
    """One mode for each possible crew size of `team`, smallest crew first.

    A dedicated team always works with its whole headcount. `min_crew` and `max_crew` (people) narrow the range of a
    shared team. No crew is larger than the team's `largest_crew`.

    Args:
        reference_crew: a crew of so many people needs `nominal_h` hours. None: they are the curve's nominal hours.

    Raises:
        InvalidInstance: the range is empty or outside 1..headcount, or the smallest crew is never there.
    """
    low = team.headcount if team.dedicated else (team.least_crew if min_crew is None else min_crew)
    high = team.headcount if max_crew is None or team.dedicated else max_crew
    if not 1 <= low <= high <= team.headcount:
        raise InvalidInstance("crew_range_out_of_range", low=low, high=high, team=team.name, headcount=team.headcount)
    if low > team.largest_crew:
        raise InvalidInstance("no_crew_there", team=team.name, crew=low, people=team.largest_crew, step="")
    high = min(high, team.largest_crew)
    return CrewModes(nominal_h, _crews(team.name, team.headcount, low, high, curve, reference_crew))


@lru_cache(maxsize=1_024)
def _crews(
    team: str, headcount: int, low: int, high: int, curve: Curve, reference_crew: int | None
) -> Mapping[Demand, float]:
    """Hours per given hour of each crew size from `low` to `high`; cached, because it is the same for many steps."""
    hours: dict[Demand, float] = {
        ((team, crew),): relative_duration(crew, headcount, curve) for crew in range(low, high + 1)
    }
    if reference_crew is None:
        return hours
    reference = relative_duration(reference_crew, headcount, curve)
    return {demand: relative / reference for demand, relative in hours.items()}


def standard_workpoint(
    workpoint_id: str,
    name: str,
    params: Sequence[float] = SAMPLE_PARAMS,
    teams: Sequence[Team] = DEFAULT_TEAMS,
    curve: Curve = "default",
    release_h: float = 0.0,
) -> WorkPoint:
    """A work point with the 15 standard steps; `params` as in `standard_instance`.

    Args:
        release_h: no step starts earlier.

    Raises:
        InvalidInstance: `params` are not 15 valid durations, `teams` lacks one of the standard teams, or a step's
            smallest crew is never there.
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
                modes=_standard_modes(standard, float(nominal_h), by_name[standard.team], curve),
                release_h=release_h,
            )
        )
    return WorkPoint(workpoint_id, name, tuple(steps))


def _standard_modes(standard: StandardStep, nominal_h: float, team: Team, curve: Curve) -> CrewModes:
    try:
        return crew_modes(nominal_h, team, curve=curve)
    except InvalidInstance as err:
        raise InvalidInstance(err.code, ("teams",), **err.params | {"step": standard.name_zh}) from err


def standard_instance(params: Sequence[float], *, curve: Curve = "default") -> Instance:
    """One work point of the default plant with the standard cycle.

    Args:
        params: 15 nominal durations, hours, each in (0, 10000], in the order of `STANDARD_STEPS`.

    Raises:
        InvalidInstance: wrong number of durations, or one out of range; `loc` is its position.
    """
    return Instance(DEFAULT_TEAMS, (standard_workpoint("1", "工作点1", params, curve=curve),))
