"""The seeded generator of random instances for training and benchmarks."""

from dataclasses import replace

import numpy as np

from scheduler_env.availability import Availability, Interval
from scheduler_env.problem import Instance, Objective, Step, Team, WorkPoint
from scheduler_env.replan.progress import Fact, Placement, Status
from scheduler_env.standard_cycle import DEFAULT_TEAMS, STANDARD_STEPS, crew_modes, standard_workpoint
from scheduler_env.zones import with_zones

MIN_NOMINAL_H, MAX_NOMINAL_H = 2.0, 20.0
MISSING_SHARE = 0.1
"""Probability that a work point lacks a given optional step: one of the parallel tests, or the repair."""

MAX_OPEN_STEPS = 8
"""Of a small residual instance, of all its work points together; an exact solver proves its optimum in a second."""

OPTIONAL_STEPS = frozenset(index for index, step in enumerate(STANDARD_STEPS) if step.order in (4, 6))


def random_durations(n_workpoints: int, seed: int) -> list[dict[int, float]]:
    """The steps of each work point: index in `STANDARD_STEPS` -> nominal hours; missing steps are absent.

    Durations are uniform from 2 to 20 h. Each test of order 4, and the repair, is missing with probability 10 %.
    """
    rng = np.random.default_rng([n_workpoints, seed])
    found = []
    for _ in range(n_workpoints):
        params = rng.uniform(MIN_NOMINAL_H, MAX_NOMINAL_H, len(STANDARD_STEPS))
        missing = rng.random(len(STANDARD_STEPS)) < MISSING_SHARE
        found.append(
            {
                index: float(hours)
                for index, hours in enumerate(params)
                if not (missing[index] and index in OPTIONAL_STEPS)
            }
        )
    return found


def random_instance(n_workpoints: int, seed: int) -> Instance:
    """An instance with `n_workpoints` standard-cycle work points of the default plant, see `random_durations`.

    The same seed gives the same instance. Training uses seeds from 1,000,000; benchmarks and validation use lower ones.
    """
    workpoints = []
    for number, hours in enumerate(random_durations(n_workpoints, seed), start=1):
        params = [hours.get(index, MAX_NOMINAL_H) for index in range(len(STANDARD_STEPS))]
        complete = standard_workpoint(str(number), f"工作点{number}", params)
        kept = tuple(step for index, step in enumerate(complete.steps) if index in hours)
        workpoints.append(WorkPoint(complete.id, complete.name, kept))
    return Instance(DEFAULT_TEAMS, tuple(workpoints))


def random_residual(seed: int, max_steps: int = MAX_OPEN_STEPS) -> Instance:
    """A small residual instance of the default plant: 1 to 4 work points with 1 to `max_steps` steps together.

    The steps are what is left of standard cycles. Some teams are short, away, or have more people for some time; some
    work points and steps are released late. Times are multiples of 0.5 h. The same seed gives the same instance.
    """
    rng = np.random.default_rng([max_steps, seed])
    teams = tuple(
        replace(team, availability=_random_availability(team, rng)) if rng.random() < 0.5 else team
        for team in DEFAULT_TEAMS
    )
    by_name = {team.name: team for team in teams}
    n_steps = int(rng.integers(1, max_steps + 1))
    numbers = np.sort(rng.integers(min(4, n_steps), size=n_steps))
    workpoints = []
    for number in np.unique(numbers):
        released_h = float(rng.integers(0, 60)) / 2 if rng.random() < 0.5 else 0.0
        size = int((numbers == number).sum())
        indices = np.sort(rng.choice(len(STANDARD_STEPS), size, replace=False))
        steps = []
        for index in indices:
            standard = STANDARD_STEPS[index]
            modes = crew_modes(float(rng.integers(4, 41)) / 2, by_name[standard.team])
            release_h = max(released_h, float(rng.integers(0, 100)) / 2 if rng.random() < 0.2 else 0.0)
            step_id = f"{number + 1}.{index + 1}"
            steps.append(
                Step(step_id, standard.name_zh, str(number + 1), standard.team, standard.order, modes, (), release_h)
            )
        workpoints.append(WorkPoint(str(number + 1), f"工作点{number + 1}", tuple(steps)))
    return Instance(teams, tuple(workpoints))


def random_replan(seed: int, max_steps: int = MAX_OPEN_STEPS) -> Instance:
    """As `random_residual`, with a status: more steps, of which some are done or at work, some pinned, some published.

    At most `max_steps` are open. Facts may contradict the precedence and the people there; pins may be impossible.
    """
    rng = np.random.default_rng([max_steps, seed, 1])
    instance = random_residual(seed, max_steps + int(rng.integers(0, 5)))
    data_date_h = float(rng.integers(0, 60)) / 2
    facts: dict[str, Fact] = {}
    pinned: dict[str, Placement] = {}
    published: dict[str, Placement] = {}
    share, later_h = rng.random(), data_date_h
    for number, step in enumerate(instance.steps):
        crew = step.crew(step.modes[int(rng.integers(len(step.modes)))])
        start_h = float(rng.integers(0, int(2 * data_date_h) + 1)) / 2
        # What comes last is reported last, but for some work out of sequence.
        is_early = rng.random() < 0.1 or number < share * len(instance.steps) - 1
        is_too_many = len(instance.steps) - number > max_steps - (number - len(facts))
        if is_early or is_too_many:
            if rng.random() < 0.6:
                facts[step.id] = Fact("done", start_h, (start_h + data_date_h) / 2, crew)
            else:
                facts[step.id] = Fact("running", start_h, data_date_h + float(rng.integers(0, 31)) / 2, crew)
        else:
            later_h += float(rng.integers(0, 16)) / 2
            if rng.random() < 0.12:
                pinned[step.id] = Placement(
                    later_h if rng.random() < 0.8 else None, crew if rng.random() < 0.5 else None
                )
                if pinned[step.id] == (None, None):
                    del pinned[step.id]
            if rng.random() < 0.9:
                published[step.id] = Placement(later_h, crew)
    tolerance_h = float(rng.integers(0, 5)) if rng.random() < 0.5 else 0.0
    is_published = rng.random() < 0.5
    return instance.with_status(
        Status(
            data_date_h,
            facts,
            pinned,
            published=published if is_published else None,
            tolerance_h=tolerance_h if is_published else 0.0,
        )
    )


def with_random_zones(instance: Instance, seed: int) -> Instance:
    """`instance` with some of its work points in two common zones and a quarter of its steps exclusive there."""
    rng = np.random.default_rng([seed, 2])
    workpoints = [
        replace(
            workpoint,
            steps=tuple(step._replace(is_exclusive=bool(rng.random() < 0.25)) for step in workpoint.steps),
            zone=(None, "north", "south")[int(rng.integers(3))],
        )
        for workpoint in instance.workpoints
    ]
    held, places = with_zones(workpoints)
    changed = Instance(instance.teams, held, dict(instance.places) | places)
    return changed if instance.status is None else changed.with_status(instance.status)


def with_random_dates(instance: Instance, seed: int, objective: Objective, *, has_deadlines: bool) -> Instance:
    """`instance` with due dates and weights for most of its work points, and deadlines for some if wanted."""
    rng = np.random.default_rng([seed, 3])
    workpoints = []
    for number, workpoint in enumerate(instance.workpoints):
        due_h, deadline_h = (float(rng.integers(0, 160)) / 2 for _ in range(2))
        is_due, is_limited = number == 0 or rng.random() < 0.8, has_deadlines and rng.random() < 0.5
        workpoints.append(
            replace(
                workpoint,
                due_h=due_h if is_due else None,
                weight=float(rng.integers(1, 6)),
                deadline_h=deadline_h if is_limited else None,
            )
        )
    changed = replace(instance, workpoints=tuple(workpoints), objective=objective, status=None, shared={})
    return changed if instance.status is None else changed.with_status(instance.status)


def _random_availability(team: Team, rng: np.random.Generator) -> Availability:
    """For the whole time so many that the smallest crew is there, or one to three intervals."""
    most = team.headcount + 4
    if rng.random() < 0.2:
        return int(rng.integers(team.least_crew, most + 1))
    hours = np.sort(rng.choice(np.arange(0, 120), 2 * int(rng.integers(1, 4)), replace=False)) / 2
    return tuple(
        Interval(float(from_h), float(to_h), int(rng.integers(0, most + 1))) for from_h, to_h in hours.reshape(-1, 2)
    )
