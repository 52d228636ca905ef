"""The training instances, and the best known schedule of each for demonstrations."""

import math
from collections.abc import Sequence

import numba
import numpy as np
import torch

from scheduler_env.bounds import lower_bound
from scheduler_env.generator import random_instance
from scheduler_env.improvement import improve
from scheduler_env.incumbent import empty_incumbent
from scheduler_env.kernel import Floats, Ints, compile_instance, new_outlook, new_state
from scheduler_env.observation import Network, new_workspace
from scheduler_env.rules import improve_by_rules

TRAINING_SEEDS_FROM = 1_000_000

NO_DEMONSTRATION = (np.empty(0, dtype=np.int64), np.empty(0))
"""The empty demonstration: the network plays the episode."""


class Pool:
    """The training instances, equally many of each size, and a simulation of each."""

    def __init__(self, sizes: Sequence[int], instances: int, seed: int, network: Network) -> None:
        self.problems, self.states = numba.typed.List(), numba.typed.List()
        self.outlooks, self.workspaces = numba.typed.List(), numba.typed.List()
        self.n_activities = 0
        self.sizes, self.per_size = layout(sizes, instances)
        for size in self.sizes:
            for number in range(self.per_size):
                instance = random_instance(size, TRAINING_SEEDS_FROM + seed * 1_000_000 + number)
                problem = compile_instance(instance)
                self.problems.append(problem)
                self.states.append(new_state(problem))
                self.outlooks.append(new_outlook(problem))
                self.workspaces.append(new_workspace(problem, network))
                self.n_activities = max(self.n_activities, problem.shortest.size)

    def draw(self, chooser: np.random.Generator, curriculum: float) -> int:
        """The number of a random instance; larger sizes are added one by one as `curriculum` goes from 0 to 1.

        An episode of twice the size has twice as many decisions, so its size is drawn half as often.
        """
        n_open = min(len(self.sizes), 1 + int(curriculum * len(self.sizes)))
        weights = 1.0 / np.array(self.sizes[:n_open], dtype=np.float64)
        size = int(chooser.choice(n_open, p=weights / weights.sum()))
        return size * self.per_size + int(chooser.integers(self.per_size))


def layout(sizes: Sequence[int], instances: int) -> tuple[list[int], int]:
    """The sizes of a pool in ascending order, and the number of instances of each."""
    different = sorted(set(sizes))
    return different, -(-instances // len(different))


class Demonstrations:
    """The best known schedule of each instance of the pool, which the search improves each time it is requested.

    The first schedule is that of the priority rules. The search then samples with the current network (expert
    iteration: Anthony, Tian and Barber 2017), so the demonstrations improve with the network.
    """

    def __init__(self, pool: Pool) -> None:
        n = len(pool.problems)
        self._pool = pool
        self.mode = np.full((n, pool.n_activities), -1, dtype=np.int64)
        self.start = np.zeros((n, pool.n_activities))
        self.makespan_h = np.full(n, np.inf)

    def demonstrate(self, number: int, network: Network, evaluations: int, seed: int) -> tuple[Ints, Floats]:
        """Mode and start of each activity of the instance, after `evaluations` more schedules were tried."""
        problem = self._pool.problems[number]
        best = empty_incumbent(problem)
        n = best.start.size
        if np.isfinite(self.makespan_h[number]):
            best.take(self.mode[number, :n], self.start[number, :n], float(self.makespan_h[number]), "shown")
        else:
            improve_by_rules(problem, best)
        improve(
            problem,
            network,
            best,
            lower_bound_h=float(lower_bound(problem)),
            deadline_s=math.inf,
            seed=seed,
            max_evaluations=best.evaluations + evaluations,
        )
        self.mode[number, :n], self.start[number, :n] = best.mode, best.start
        self.makespan_h[number] = best.makespan_h
        return best.mode, best.start

    def state_dict(self) -> dict[str, torch.Tensor]:
        """The schedules in the format of `load_state_dict`, as in torch."""
        return {name: torch.from_numpy(getattr(self, name)) for name in ("mode", "start", "makespan_h")}

    def load_state_dict(self, saved: dict[str, torch.Tensor]) -> None:
        for name, array in saved.items():
            getattr(self, name)[...] = array.numpy()
