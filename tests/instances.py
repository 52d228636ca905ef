"""Random instances for property tests: hypothesis strategies that cover more than real plants need."""

import numpy as np
from hypothesis import strategies as st

from scheduler_env import Instance, Mode, Step, Team, WorkPoint


def params_of(user: int) -> list[float]:
    """The durations of a user's plant; all users have different ones."""
    return [float(hours) for hours in np.random.default_rng(user).integers(2, 20, 15)]


def three_points(**more: object) -> dict[str, object]:
    """PLANNING.md: A, B and C, each team1 (nominal 10, 5, 20 h) then team4 (5, 10, 5 h)."""
    points = [
        {"id": name, "steps": [
            {"name": "1", "order": 1, "team": "team1", "duration": first},
            {"name": "2", "order": 2, "team": "team4", "duration": then},
        ]}
        for name, first, then in (("A", 10, 5), ("B", 5, 10), ("C", 20, 5))
    ]  # fmt: skip
    return {"workpoints": points, **more}


@st.composite
def instances(draw: st.DrawFn, *, max_steps: int = 8) -> Instance:
    """Up to three teams and `max_steps` steps with orders, extra predecessors, and modes that may need two teams."""
    teams = tuple(
        Team(f"t{number}", draw(st.integers(1, 6)), dedicated=draw(st.booleans()))
        for number in range(draw(st.integers(1, 3)))
    )
    n_workpoints = draw(st.integers(1, 3))
    steps_of: list[list[Step]] = [[] for _ in range(n_workpoints)]
    ids: list[str] = []
    for number in range(draw(st.integers(n_workpoints, max(n_workpoints, max_steps)))):
        workpoint = number % n_workpoints
        before = tuple(draw(st.sets(st.sampled_from(ids), max_size=2))) if ids else ()
        # Extra predecessors have smaller numbers and orders only grow, so the two never contradict each other.
        order = draw(st.none() | st.just(number // 3))
        step_id = f"s{number}"
        steps_of[workpoint].append(
            Step(step_id, step_id, str(workpoint), teams[0].name, order, draw(_modes(teams)), tuple(sorted(before)))
        )
        ids.append(step_id)
    return Instance(teams, tuple(WorkPoint(str(n), str(n), tuple(steps)) for n, steps in enumerate(steps_of)))


@st.composite
def _modes(draw: st.DrawFn, teams: tuple[Team, ...]) -> tuple[Mode, ...]:
    modes = []
    for _ in range(draw(st.integers(1, 3))):
        used = draw(st.lists(st.sampled_from(teams), min_size=1, max_size=2, unique_by=lambda team: team.name))
        demand = tuple(
            (team.name, team.headcount if team.dedicated else draw(st.integers(1, team.headcount))) for team in used
        )
        modes.append(Mode(draw(st.sampled_from([0.5, 1.0, 1.25, 2.0, 3.0, 7.5])), demand))
    return tuple(modes)
