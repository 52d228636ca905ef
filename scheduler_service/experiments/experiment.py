"""What an experiment is: frozen, born valid, in the words of the guide's `ab_test_config.json`."""

import math
import reprlib
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import cached_property
from types import MappingProxyType
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    ValidationInfo,
    field_validator,
)

from scheduler_service.clock import parse_time, to_iso
from scheduler_service.errors import InvalidExperiment
from scheduler_service.experiments.assignment import Range, bucket, bucket_ranges, choose
from scheduler_service.stats.comparison import ARMS
from scheduler_service.stats.metrics import ALIASES, METRICS, metric_named

Status = Literal["scheduled", "active", "paused", "stopped", "completed", "concluded"]
"""`scheduled` (before its start) and `completed` (after its last day) follow from the clock; see `status_at`."""

Action = Literal["start", "pause", "stop", "conclude"]

MOVES: Mapping[Action, tuple[frozenset[Status], Status]] = MappingProxyType(
    {  # action -> (from which statuses, to which)
        "start": (frozenset({"paused"}), "active"),
        "pause": (frozenset({"scheduled", "active"}), "paused"),
        "stop": (frozenset({"scheduled", "active", "paused"}), "stopped"),
        "conclude": (frozenset({"active", "paused", "stopped", "completed"}), "concluded"),
    }
)
"""What may be done with an experiment. Stopped and concluded ones never run again: a new name is a fresh split."""

SPLIT_TOLERANCE = 1e-9
MAX_DURATION_DAYS = 3_650


def _read_moment(value: object) -> object:
    if isinstance(value, str):
        try:
            value = parse_time(value)
        except (ValueError, OverflowError) as err:
            raise ValueError(f"{value!r} is not an ISO-8601 time such as 2024-01-01T00:00:00") from err
    if isinstance(value, datetime):
        if not 1970 < value.year < 3000:
            raise ValueError(f"the year {value.year} is not within 1971..2999")
        return value.astimezone(UTC)
    return value


def _known_metric(name: str) -> str:
    if name not in METRICS and name not in ALIASES:
        raise ValueError(f"{name!r} is not a metric; the metrics are {', '.join([*METRICS, *ALIASES])}")
    return metric_named(name).name


def _valid_split(split: Mapping[str, float]) -> Mapping[str, float]:
    if set(split) != set(ARMS):
        raise ValueError(f"the keys must be {', '.join(ARMS)}; they are {', '.join(split) or 'none'}")
    for arm, share in split.items():
        if not 0.0 <= share <= 1.0:  # also refuses NaN
            raise ValueError(f"the share {share} of {arm} is not within 0..1")
    total = math.fsum(split.values())
    if abs(total - 1.0) > SPLIT_TOLERANCE:
        raise ValueError(f"the shares add up to {total:g}, not to 1")
    return MappingProxyType(dict(split))


ExperimentName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")]
ModelName = Annotated[str, StringConstraints(min_length=1, max_length=200)]
Split = Annotated[Mapping[str, float], AfterValidator(_valid_split)]
Moment = Annotated[datetime, BeforeValidator(_read_moment)]


class Experiment(BaseModel):
    """Two models, the share of the users that each gets, and for how long. Times are aware; the unit is the user.

    `parse` builds one from the file's or a request's words; the constructor itself raises pydantic's error.
    """

    model_config = ConfigDict(frozen=True, strict=True, extra="ignore")

    name: ExperimentName  # also the salt of the assignment
    model_a: ModelName  # the baseline; a key, short name or tag of the registry, as it was given
    model_b: ModelName
    traffic_split: Split = Field(default_factory=lambda: MappingProxyType(dict.fromkeys(ARMS, 1.0 / len(ARMS))))
    success_metric: Annotated[str, AfterValidator(_known_metric)] = "makespan"
    start_time: Moment
    duration_days: float = Field(default=7.0, gt=0.0, le=MAX_DURATION_DAYS, allow_inf_nan=False)
    status: Status = "active"
    min_samples: int = Field(default=100, ge=2, le=10**9)
    alpha: float = Field(default=0.05, gt=0.0, lt=1.0, allow_inf_nan=False)

    @field_validator("model_b")
    @classmethod
    def _another_model(cls, model_b: str, info: ValidationInfo) -> str:
        if model_b == info.data.get("model_a"):
            raise ValueError(f"both arms are {model_b!r}; an experiment compares two models")
        return model_b

    @classmethod
    def parse(cls, definition: Mapping[str, object]) -> "Experiment":
        """The experiment that `definition` describes, in the words of the file.

        Raises:
            InvalidExperiment: it cannot work; `errors` says where.
        """
        try:
            return cls.model_validate(definition)
        except ValidationError as err:
            raise invalid_experiment(problems(err)) from err

    def to_dict(self) -> dict[str, Any]:
        """The words of the file and of the HTTP interface, as JSON."""
        return {
            "name": self.name,
            "model_a": self.model_a,
            "model_b": self.model_b,
            "traffic_split": dict(self.traffic_split),
            "success_metric": self.success_metric,
            "start_time": to_iso(self.start_time),
            "duration_days": int(self.duration_days) if self.duration_days.is_integer() else self.duration_days,
            "status": self.status,
            "min_samples": self.min_samples,
            "alpha": self.alpha,
        }

    @cached_property
    def models(self) -> Mapping[str, str]:
        """Arm -> model, in the order of the arms."""
        return MappingProxyType({"model_a": self.model_a, "model_b": self.model_b})

    @cached_property
    def end_time(self) -> datetime:
        """From here on nobody is assigned. Pauses do not prolong an experiment."""
        return self.start_time + timedelta(days=self.duration_days)

    def status_at(self, now: datetime) -> Status:
        """The status when the clock is taken into account."""
        if self.status in ("scheduled", "active", "paused") and now >= self.end_time:
            return "completed"
        if self.status in ("scheduled", "active"):
            return "scheduled" if now < self.start_time else "active"
        return self.status

    def arm_of(self, user_id: str) -> str | None:
        """The arm of the user; None for one who takes no part (nobody, as long as the arms share all traffic)."""
        arm = choose(bucket(self.name, user_id), self._ranges)
        return None if arm is None else ARMS[arm]

    @cached_property
    def _ranges(self) -> tuple[Range, ...]:
        return bucket_ranges(len(ARMS), weights=[self.traffic_split[arm] for arm in ARMS])


def problems(err: ValidationError) -> list[tuple[tuple[str | int, ...], str]]:
    """Where and what, of pydantic's error."""
    found = []
    for problem in err.errors(include_url=False):
        message = problem["msg"].removeprefix("Value error, ")
        if problem["type"] not in ("value_error", "missing"):  # these name the value already, or there is none
            message += f", not {reprlib.repr(problem['input'])}"
        found.append((problem["loc"], message))
    return found


def invalid_experiment(errors: Sequence[tuple[tuple[str | int, ...], str]]) -> InvalidExperiment:
    """The error whose text is one sentence about the first few of `errors`, (location, message) pairs."""
    return InvalidExperiment("; ".join(f"{'.'.join(map(str, loc))}: {message}" for loc, message in errors[:5]), errors)
