"""The shutdown as a Gymnasium environment on top of the kernel, for training with other libraries.

Serving and training do not need Gymnasium: `pip install gymnasium` (the tests' version is in requirements-dev.txt).
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scheduler_env.kernel import (
    BOUND,
    NOW,
    UNSTARTED,
    candidates,
    compile_instance,
    decide,
    new_outlook,
    new_state,
    observe,
    to_schedule,
)
from scheduler_env.observation import (
    N_CANDIDATE,
    N_GLOBAL,
    N_SHARED,
    N_STATE,
    N_TEAM,
    candidate_features,
    shared_features,
    state_features,
)
from scheduler_env.problem import Instance
from scheduler_env.schedule import Schedule

try:
    import gymnasium
except ImportError as err:
    raise ImportError("scheduler_env.environment needs Gymnasium: pip install gymnasium") from err

Observation = dict[str, NDArray[Any]]

FEATURE_LIMIT = 1e6
"""Bound of the observation space; the features of any instance are far smaller."""


class SchedulingEnv(gymnasium.Env[Observation, np.int64]):
    """One inspection shutdown per episode: start an (activity, mode) or wait, until every activity has started.

    Observation, a dict:
        `candidates`: float32, shape (max_candidates, 36), a row per feasible candidate, zeros beyond; the columns are
            `observation.CANDIDATE_FEATURES`.
        `action_mask`: int8, shape (max_candidates,), 1 where a row is a candidate.
        `state`: float32, shape (22,), the columns are `observation.STATE_FEATURES`.

    Action: the index of a row whose mask is 1. It starts that activity in that mode; the `WAIT` row (the last candidate
        while an activity is running) advances to the next finish time. An index whose mask is 0 executes the last
        candidate, and `info["masked"]` is True.

    Reward: minus the growth of the lower bound on the makespan, in hours. So the return of an episode is the lower
        bound of the empty schedule minus the makespan.

    Episode: terminates when every activity has started, because the makespan is then known; never truncated.

    `info`: `activity` (-1 for wait), `mode`, `now_h`, `bound_h`, `masked`; at the end also `makespan_h`.

    Args:
        instance: the problem, or a function of a numpy generator that draws one for each episode.
        max_candidates: rows of the observation; required for a function, otherwise by default what the instance needs.

    Raises:
        ValueError: `max_candidates` is missing or smaller than an instance needs.
    """

    metadata = {"render_modes": []}  # noqa: RUF012  (declared so by Gymnasium)

    def __init__(
        self,
        instance: Instance | Callable[[np.random.Generator], Instance],
        *,
        max_candidates: int | None = None,
    ) -> None:
        self._draw = instance if callable(instance) else lambda _: instance
        if max_candidates is None:
            if callable(instance):
                raise ValueError("max_candidates must be given when instances are drawn by a function")
            max_candidates = sum(len(step.modes) for step in instance.steps) + 1
        self.max_candidates = max_candidates
        self.action_space = gymnasium.spaces.Discrete(max_candidates)
        self.observation_space = gymnasium.spaces.Dict(  # type: ignore[assignment]
            {
                "candidates": gymnasium.spaces.Box(
                    -FEATURE_LIMIT, FEATURE_LIMIT, (max_candidates, N_CANDIDATE), np.float32
                ),
                "action_mask": gymnasium.spaces.MultiBinary(max_candidates),
                "state": gymnasium.spaces.Box(-FEATURE_LIMIT, FEATURE_LIMIT, (N_STATE,), np.float32),
            }
        )

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Start an episode; `seed` reseeds the generator that draws instances."""
        super().reset(seed=seed, options=options)
        self.instance = self._draw(self.np_random)
        self._problem = compile_instance(self.instance)
        if self._problem.duration.size + 1 > self.max_candidates:
            raise ValueError(
                f"max_candidates is {self.max_candidates}, but this instance needs {self._problem.duration.size + 1}"
            )
        self._state, self._outlook = new_state(self._problem), new_outlook(self._problem)
        self._activity = np.zeros(self.max_candidates, dtype=np.int64)
        self._mode = np.zeros(self.max_candidates, dtype=np.int64)
        observe(self._problem, self._state, self._outlook)
        self._initial_bound_h = float(self._state.clock[BOUND])
        return self._observation(), {"now_h": 0.0, "bound_h": self._initial_bound_h}

    def step(self, action: np.int64) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """Execute a candidate; returns (observation, reward in hours, terminated, truncated, info)."""
        masked = not 0 <= action < self._count
        chosen = self._count - 1 if masked else int(action)
        activity, mode = int(self._activity[chosen]), int(self._mode[chosen])
        before_h = float(self._state.clock[BOUND])
        decide(self._problem, self._state, activity, mode)
        observe(self._problem, self._state, self._outlook)
        bound_h = float(self._state.clock[BOUND])
        terminated = bool(self._state.counts[UNSTARTED] == 0)
        info: dict[str, Any] = {
            "activity": activity,
            "mode": mode,
            "now_h": float(self._state.clock[NOW]),
            "bound_h": bound_h,
            "masked": masked,
        }
        if terminated:
            info["makespan_h"] = self.schedule().makespan_h
        return self._observation(), before_h - bound_h, terminated, False, info

    def schedule(self) -> Schedule:
        """The schedule of the finished episode.

        Raises:
            RuntimeError: the episode is not over.
        """
        if self._state.counts[UNSTARTED] > 0:
            raise RuntimeError(f"{self._state.counts[UNSTARTED]} steps have not started yet")
        return to_schedule(self.instance, self._problem, self._state.mode, self._state.start)

    def _observation(self) -> Observation:
        problem, state, outlook = self._problem, self._state, self._outlook
        self._count = candidates(problem, state, self._activity, self._mode)
        team_features = np.zeros((problem.capacity.size, N_TEAM), dtype=np.float32)
        common = np.zeros(N_GLOBAL, dtype=np.float32)
        context = shared_features(problem, state, outlook, self._initial_bound_h, team_features, common)
        rows = np.zeros((self.max_candidates, N_CANDIDATE), dtype=np.float32)
        resource = np.zeros(self.max_candidates, dtype=np.int64)
        own = np.zeros((self.max_candidates, N_CANDIDATE - N_SHARED), dtype=np.float32)
        candidate_features(problem, state, outlook, context, self._activity, self._mode, self._count, resource, own)
        rows[: self._count, :N_GLOBAL] = common
        rows[: self._count, N_GLOBAL:N_SHARED] = team_features[resource[: self._count]]
        rows[: self._count, N_SHARED:] = own[: self._count]
        state_row = np.zeros(N_STATE, dtype=np.float32)
        state_features(problem, context, team_features, common, state_row)
        mask = np.zeros(self.max_candidates, dtype=np.int8)
        mask[: self._count] = 1
        return {"candidates": rows, "action_mask": mask, "state": state_row}
