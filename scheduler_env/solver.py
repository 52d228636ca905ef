"""The interface of every solver in service: instance in, checked schedule out."""

from typing import Any, Protocol

from scheduler_env.incumbent import Stop
from scheduler_env.problem import Instance
from scheduler_env.schedule import Solution


class Solver(Protocol):
    """A trained agent, priority rules, a genetic algorithm or an exact solver."""

    @property
    def signature(self) -> dict[str, Any]:
        """What the solver is and what input it expects; JSON values."""

    @property
    def training(self) -> dict[str, Any]:
        """How the solver was trained; JSON values. Empty if it was not trained."""

    @property
    def default_budget_ms(self) -> float:
        """The time budget, in milliseconds, of a request that does not set one."""

    def solve(
        self,
        instance: Instance,
        *,
        time_budget_ms: float = 0.0,
        seed: int = 0,
        max_evaluations: int | None = None,
        stop: Stop | None = None,
    ) -> Solution:
        """The shortest schedule found within the budget.

        Args:
            time_budget_ms: 0 returns the solver's own schedule without a search; it is deterministic.
            seed: of everything random.
            max_evaluations: stop after this many complete schedules, even if there is time left; the same seed and
                number give the same schedule.
            stop: called about every second during a search; when it returns True, the best schedule so far is returned.
        """
