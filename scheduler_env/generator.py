"""The seeded generator of random instances for training and benchmarks."""

import numpy as np

from scheduler_env.problem import Instance, WorkPoint
from scheduler_env.standard_cycle import DEFAULT_TEAMS, STANDARD_STEPS, standard_workpoint

MIN_NOMINAL_H, MAX_NOMINAL_H = 2.0, 20.0
MISSING_SHARE = 0.1
"""Probability that a work point lacks a given optional step: one of the parallel tests, or the repair."""

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
