"""The records: a run of the service, a pair of runs of two models on one instance, and a replay."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from scheduler_service.errors import InvalidInput

MAX_REPORT_DAYS = 3660
"""Limit for the period of a report or a list of alerts, and for the age at which runs are compacted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PerformanceRecord:
    """A finished scheduling request, successful or not; unknown values are None.

    Raises:
        InvalidInput: no request id, or a rating outside 1..5.
    """

    request_id: str
    model_key: str | None = None  # of the model that computed the schedule
    algorithm: str | None = None
    experiment: str | None = None
    variant: str | None = None  # "model_a" or "model_b"
    reason: str | None = None  # why this model: "assigned", "default", "pinned", "fallback", ...
    user_id: str | None = None
    split: str | None = None  # shares of the experiment's arms at the assignment, in their order: "0.9/0.1"
    makespan: float | None = None  # hours
    policy_makespan: float | None = None  # hours; of the policy's schedule, before search and proof
    execution_time: float | None = None  # seconds
    lower_bound: float | None = None  # hours; independent of the model (`gap` is to the best proven bound)
    gap: float | None = None  # share of the lower bound, >= 0
    resource_utilization: float | None = None  # 0..1
    team_utilization: Mapping[str, float] = field(default_factory=dict)  # team -> 0..1
    n_workpoints: int | None = None
    n_steps: int | None = None
    stage: str | None = None  # the method that found the schedule
    input_params: object = None  # the request, as JSON
    placements: bytes | None = None  # the schedule, encoded by `scheduler_env.placements`
    success: bool = True
    error_message: str | None = None
    time_budget_ms: float | None = None  # of the model
    queue_time: float | None = None  # seconds from the arrival to the first computation
    total_time: float | None = None  # seconds from the arrival to the record, without drawing charts
    timestamp: datetime | None = None  # end of the run; None: the time of recording
    user_satisfaction: int | None = None  # rating, 1..5; usually given later, by `record_feedback`

    def __post_init__(self) -> None:
        if not self.request_id:
            raise InvalidInput("missing", ("request_id",))
        check_satisfaction(self.user_satisfaction)


@dataclass(frozen=True, slots=True, kw_only=True)
class PairRecord:
    """The results of two models on the instance of one request; a failed side has an error instead of a makespan.

    Raises:
        InvalidInput: no request id; a replay without its id, or a shadow run with one; or a side whose success and
            makespan contradict each other.
    """

    request_id: str
    source: Literal["shadow", "replay"]
    candidate: str  # the arm that is compared with model_a
    key_a: str | None  # registry key; the configured name if the registry has no such model
    key_b: str | None
    success_a: bool
    success_b: bool
    experiment: str | None = None
    replay: str | None = None  # its id
    user_id: str | None = None
    makespan_a: float | None = None  # hours
    makespan_b: float | None = None
    policy_makespan_a: float | None = None  # hours; of the policy's schedule, before search and proof
    policy_makespan_b: float | None = None
    execution_time_a: float | None = None  # seconds
    execution_time_b: float | None = None
    error_a: str | None = None
    error_b: str | None = None
    lower_bound: float | None = None  # hours; the greater of the two proven bounds
    n_workpoints: int | None = None
    n_steps: int | None = None
    time_budget_ms: float | None = None  # of each model
    input_digest: str | None = None  # see `input_digest`
    timestamp: datetime | None = None  # None: the time of recording

    def __post_init__(self) -> None:
        if not self.request_id:
            raise InvalidInput("missing", ("request_id",))
        if (self.source == "replay") != (self.replay is not None):
            raise InvalidInput("pair_replay", ("replay",), source=self.source, replay=self.replay)
        if (self.makespan_a is not None, self.makespan_b is not None) != (self.success_a, self.success_b):
            raise InvalidInput("pair_makespan")
        if (not self.success_a and self.policy_makespan_a) or (not self.success_b and self.policy_makespan_b):
            raise InvalidInput("pair_failed")


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayRecord:
    """The selection of a replay at its start: requests from `since` to the run `last_run`, filtered by `options`."""

    id: str
    definition: str  # digest of models, arm and options
    candidate: str
    key_a: str
    key_b: str
    since: datetime
    last_run: int  # id of the newest run that is included
    total: int  # number of selected requests
    options: Mapping[str, object]
    experiment: str | None = None
    sample_to: int | None = None  # greatest `selection.sampling_number` of a random sample; None: no sample
    timestamp: datetime | None = None  # of its start; None: the time of recording


def input_digest(problem: object) -> str:
    """SHA-256 of a request, in hex; independent of the order of keys."""
    canonical = json.dumps(problem, sort_keys=True, ensure_ascii=True, separators=(",", ":"), default=str)
    return hashlib.sha256(canonical.encode()).hexdigest()


def check_satisfaction(rating: int | None) -> None:
    """Raise InvalidInput unless `rating` is an integer from 1 to 5, or None."""
    if rating is not None and (isinstance(rating, bool) or rating not in range(1, 6)):
        raise InvalidInput("out_of_range", ("user_satisfaction",), minimum=1, maximum=5, value=rating)
