"""What every scheduler in service can do, however it was made: instance in, checked schedule out."""

from typing import Any, Protocol

from scheduler_env.incumbent import Stop
from scheduler_env.problem import Instance
from scheduler_env.schedule import Solution


class Solver(Protocol):
    """A scheduler: a trained agent, a priority rule, a genetic algorithm, an exact solver."""

    @property
    def signature(self) -> dict[str, Any]:
        """What it expects and what it is, JSON-able."""

    @property
    def training(self) -> dict[str, Any]:
        """How it was made, JSON-able; empty if nothing was trained."""

    @property
    def default_budget_ms(self) -> float:
        """The time budget that the service grants when a request names none."""

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
            time_budget_ms: 0 answers what the solver starts from, the same schedule each time.
            seed: of whatever is random.
            max_evaluations: stop after so many complete schedules also if there is time left; the same seed and number
                give the same schedule.
            stop: asked every second or so of a search; once it answers True, the best schedule so far is returned.
        """
