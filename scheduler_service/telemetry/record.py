"""One run of the service, and two models' runs on one instance, as they are recorded."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from scheduler_service.errors import InvalidInput

MAX_REPORT_DAYS = 3660
"""The longest period of a report, of a list of alerts, or before runs are compacted."""


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
    split: str | None = None  # shares of the experiment's arms when it was assigned, in their order: "0.9/0.1"
    makespan: float | None = None  # hours
    policy_makespan: float | None = None  # hours; of the model's own schedule, before any search or proof
    execution_time: float | None = None  # seconds
    lower_bound: float | None = None  # hours; known before a model was chosen (`gap` is to the best bound proved)
    gap: float | None = None  # share of the lower bound, >= 0
    resource_utilization: float | None = None  # 0..1
    team_utilization: Mapping[str, float] = field(default_factory=dict)  # team -> 0..1
    n_workpoints: int | None = None
    n_steps: int | None = None
    stage: str | None = None  # what found the schedule
    input_params: object = None  # what was asked for; anything that JSON can hold
    placements: bytes | None = None  # the schedule, as of `scheduler_env.placements`
    success: bool = True
    error_message: str | None = None
    time_budget_ms: float | None = None  # that the model had
    queue_time: float | None = None  # seconds that the request waited before anything was computed
    total_time: float | None = None  # seconds from its arrival until it was recorded; charts are drawn after that
    timestamp: datetime | None = None  # of the end; None: when it is recorded
    user_satisfaction: int | None = None  # 1..5; usually comes later, by `record_feedback`

    def __post_init__(self) -> None:
        if not self.request_id:
            raise InvalidInput("missing", ("request_id",))
        check_satisfaction(self.user_satisfaction)


@dataclass(frozen=True, slots=True, kw_only=True)
class PairRecord:
    """What two models made of one request's instance; a side that failed has no makespan, and says why.

    Raises:
        InvalidInput: no request id; a replay without its id, or a shadow run with one; or a side whose success and
            makespan contradict each other.
    """

    request_id: str
    source: Literal["shadow", "replay"]
    candidate: str  # the arm that stands against model_a
    key_a: str | None  # registry key; what was configured, when nothing bears it
    key_b: str | None
    success_a: bool
    success_b: bool
    experiment: str | None = None
    replay: str | None = None  # its id
    user_id: str | None = None
    makespan_a: float | None = None  # hours
    makespan_b: float | None = None
    policy_makespan_a: float | None = None  # hours; of the models' own schedules, before any search or proof
    policy_makespan_b: float | None = None
    execution_time_a: float | None = None  # seconds
    execution_time_b: float | None = None
    error_a: str | None = None
    error_b: str | None = None
    lower_bound: float | None = None  # hours; the higher one of the two that were proved
    n_workpoints: int | None = None
    n_steps: int | None = None
    time_budget_ms: float | None = None  # that each model had
    input_digest: str | None = None  # see `input_digest`
    timestamp: datetime | None = None  # None: when it is recorded

    def __post_init__(self) -> None:
        if not self.request_id:
            raise InvalidInput("missing", ("request_id",))
        if (self.source == "replay") != (self.replay is not None):
            raise InvalidInput("pair_replay", ("replay",), source=self.source, replay=self.replay)
        if (self.makespan_a is not None, self.makespan_b is not None) != (self.success_a, self.success_b):
            raise InvalidInput("pair_makespan")
        of_failures = [not self.success_a and self.policy_makespan_a, not self.success_b and self.policy_makespan_b]
        if any(of_failures):
            raise InvalidInput("pair_failed")


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayRecord:
    """What a replay selected when it began: requests from `since` to the run `last_run`, thinned out by `options`."""

    id: str
    definition: str  # digest of what was asked for
    candidate: str
    key_a: str
    key_b: str
    since: datetime
    last_run: int  # id of the newest run that may take part
    total: int  # requests selected
    options: Mapping[str, object]
    experiment: str | None = None
    timestamp: datetime | None = None  # of its beginning; None: when it is recorded


def input_digest(problem: object) -> str:
    """SHA-256, in hex, of what was asked for: the same for JSON that differs in the order of its keys only."""
    canonical = json.dumps(problem, sort_keys=True, ensure_ascii=True, separators=(",", ":"), default=str)
    return hashlib.sha256(canonical.encode()).hexdigest()


def check_satisfaction(verdict: int | None) -> None:
    """Nothing, if `verdict` is a whole number from 1 to 5, or none was given.

    Raises:
        InvalidInput: it is not.
    """
    if verdict is not None and (isinstance(verdict, bool) or verdict not in range(1, 6)):
        raise InvalidInput("out_of_range", ("user_satisfaction",), minimum=1, maximum=5, value=verdict)
