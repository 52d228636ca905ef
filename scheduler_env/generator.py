"""The published, seeded generator of instances: what training learns from and benchmarks measure on."""

import numpy as np

from scheduler_env.problem import Instance, WorkPoint
from scheduler_env.standard_cycle import DEFAULT_TEAMS, STANDARD_STEPS, standard_workpoint

SHORTEST_H, LONGEST_H = 2.0, 20.0
MISSING_SHARE = 0.1
"""Chance that a work point does without one of the parallel tests or the repair."""

OPTIONAL_STEPS = frozenset(index for index, step in enumerate(STANDARD_STEPS) if step.order in (4, 6))


def random_durations(n_workpoints: int, seed: int) -> list[dict[int, float]]:
    """The steps of each work point: index in `STANDARD_STEPS` -> nominal hours; a missing step is absent.

    Durations are uniform from 2 to 20 h; each test of order 4 and the repair is missing with a chance of 10 %.
    """
    rng = np.random.default_rng([n_workpoints, seed])
    found = []
    for _ in range(n_workpoints):
        params = rng.uniform(SHORTEST_H, LONGEST_H, len(STANDARD_STEPS))
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
    """`n_workpoints` standard-cycle work points of the default plant, with the steps of `random_durations`.

    The same seed gives the same instance. Training uses seeds from 1,000,000 on; benchmarks and validation stay below.
    """
    workpoints = []
    for number, hours in enumerate(random_durations(n_workpoints, seed), start=1):
        params = [hours.get(index, LONGEST_H) for index in range(len(STANDARD_STEPS))]
        complete = standard_workpoint(str(number), f"工作点{number}", params)
        kept = tuple(step for index, step in enumerate(complete.steps) if index in hours)
        workpoints.append(WorkPoint(complete.id, complete.name, kept))
    return Instance(DEFAULT_TEAMS, tuple(workpoints))
