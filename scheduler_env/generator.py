"""The published, seeded generator of instances: what training learns from and benchmarks measure on."""

import numpy as np

from scheduler_env.problem import Instance, WorkPoint
from scheduler_env.standard_cycle import DEFAULT_TEAMS, STANDARD_STEPS, standard_workpoint

SHORTEST_H, LONGEST_H = 2.0, 20.0
MISSING_SHARE = 0.1
"""Chance that a work point does without one of the parallel tests or the repair."""

OPTIONAL_STEPS = frozenset(index for index, step in enumerate(STANDARD_STEPS) if step.order in (4, 6))


def random_instance(n_workpoints: int, seed: int) -> Instance:
    """`n_workpoints` standard-cycle work points of the default plant.

    Durations are uniform from 2 to 20 h; each test of order 4 and the repair is missing with a chance of 10 %.
    The same seed gives the same instance. Training uses seeds from 1,000,000 on; benchmarks and validation stay below.
    """
    rng = np.random.default_rng([n_workpoints, seed])
    workpoints = []
    for number in range(1, n_workpoints + 1):
        params = rng.uniform(SHORTEST_H, LONGEST_H, len(STANDARD_STEPS))
        missing = rng.random(len(STANDARD_STEPS)) < MISSING_SHARE
        complete = standard_workpoint(str(number), f"工作点{number}", [float(hours) for hours in params])
        kept = tuple(
            step for index, step in enumerate(complete.steps) if not (missing[index] and index in OPTIONAL_STEPS)
        )
        workpoints.append(WorkPoint(complete.id, complete.name, kept))
    return Instance(DEFAULT_TEAMS, tuple(workpoints))
