"""One run of the service, as it is recorded."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from scheduler_service.errors import InvalidInput


@dataclass(frozen=True, slots=True, kw_only=True)
class PerformanceRecord:
    """A finished request to schedule, successful or not; figures that it does not have are None.

    Raises:
        InvalidInput: no request id, or a verdict outside 1..5.
    """

    request_id: str
    model_key: str | None = None  # that computed the schedule
    algorithm: str | None = None
    experiment: str | None = None
    variant: str | None = None  # "model_a" or "model_b"
    reason: str | None = None  # why this model: "assigned", "default", "pinned", "fallback", ...
    user_id: str | None = None
    makespan: float | None = None  # hours
    execution_time: float | None = None  # seconds
    lower_bound: float | None = None  # hours
    gap: float | None = None  # share of the lower bound, >= 0
    resource_utilization: float | None = None  # 0..1
    team_utilization: Mapping[str, float] = field(default_factory=dict)  # team -> 0..1
    n_workpoints: int | None = None
    n_steps: int | None = None
    stage: str | None = None  # what found the schedule
    input_params: object = None  # what was asked for; anything that JSON can hold
    success: bool = True
    error_message: str | None = None
    timestamp: datetime | None = None  # of the end; None: when it is recorded
    user_satisfaction: int | None = None  # 1..5; usually comes later, by `record_feedback`

    def __post_init__(self) -> None:
        if not self.request_id:
            raise InvalidInput("a run cannot be recorded without its request_id")
        check_satisfaction(self.user_satisfaction)


def check_satisfaction(verdict: int | None) -> None:
    """Nothing, if `verdict` is a whole number from 1 to 5, or none was given.

    Raises:
        InvalidInput: it is not.
    """
    if verdict is not None and (isinstance(verdict, bool) or verdict not in range(1, 6)):
        raise InvalidInput(
            f"user_satisfaction {verdict!r} is not a whole number from 1 to 5",
            [(("user_satisfaction",), "must be a whole number from 1 to 5")],
        )
