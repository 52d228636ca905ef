"""The definition of an experiment, as in `ab_test_config.json`; frozen and validated."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from types import MappingProxyType
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    StringConstraints,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from scheduler_env.validation import Whole, refusal
from scheduler_service.clock import to_iso
from scheduler_service.errors import InvalidExperiment, invalid
from scheduler_service.experiments.about import ABOUT, Hypothesis, Owner, Title
from scheduler_service.experiments.assignment import Range, bucket, bucket_ranges, choose
from scheduler_service.experiments.definition import Definition, FromList
from scheduler_service.experiments.lifecycle import Status
from scheduler_service.experiments.moment import Moment
from scheduler_service.experiments.rollout import Rollout
from scheduler_service.stats.arms import ARMS
from scheduler_service.stats.guardrails import DEFAULT_MARGINS, GUARDRAILS
from scheduler_service.stats.metrics import ALIASES, METRICS, metric_named
from scheduler_service.stats.verdict import DEFAULT_MARGIN
from scheduler_service.words import WORDS, Message

SPLIT_TOLERANCE = 1e-9
DEFAULT_DURATION_DAYS = 7.0
MAX_DURATION_DAYS = 3_650
"""An experiment with this duration is open-ended: it runs until it is promoted, aborted or ended by a person."""
MAX_MARGIN = 100.0


def _known_metric(name: str) -> str:
    if name not in METRICS and name not in ALIASES:
        raise invalid("unknown_metric", metric=repr(name), known=[*METRICS, *ALIASES])
    return metric_named(name).name


def _empty() -> Mapping[str, Any]:
    return MappingProxyType({})


def _valid_shares(split: Mapping[str, float]) -> Mapping[str, float]:
    for arm, share in split.items():
        if not 0.0 <= share <= 1.0:  # also refuses NaN
            raise invalid("share_out_of_range", share=str(share), arm=arm)
    total = math.fsum(split.values())
    if abs(total - 1.0) > SPLIT_TOLERANCE:
        raise invalid("split_not_one", total=f"{total:g}")
    return MappingProxyType(dict(split))


def _read_guardrails(value: object) -> object:
    """`true` means the default margins; null and `{}` no guardrails; a null margin removes one guardrail."""
    if value is True:
        return dict(DEFAULT_MARGINS)
    if value in (None, False):
        return {}
    return {name: margin for name, margin in value.items() if margin is not None} if isinstance(value, dict) else value


def _valid_margins(margins: Mapping[str, float]) -> Mapping[str, float]:
    for name, margin in margins.items():
        if name not in GUARDRAILS:
            raise invalid("unknown_guardrail", guardrail=name[:100], known=[*GUARDRAILS])
        if not 0.0 < margin <= MAX_MARGIN:
            raise invalid("guardrail_margin", guardrail=name, margin=str(margin), limit=MAX_MARGIN)
    return MappingProxyType(dict(margins))


def _read_shadow(value: object) -> object:
    return 1.0 if value is True else 0.0 if value in (None, False) else value


ExperimentName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")]
ModelName = Annotated[str, StringConstraints(min_length=1, max_length=200)]
Split = Annotated[Mapping[str, float], AfterValidator(_valid_shares)]
Margins = Annotated[Mapping[str, float], BeforeValidator(_read_guardrails), AfterValidator(_valid_margins)]
UserId = Annotated[str, StringConstraints(min_length=1, max_length=200)]


class Promotion(Definition):
    """A candidate that became the default model."""

    arm: str
    model: str  # key of the candidate
    previous_default: str  # as configured
    previous_stable: str | None = None  # key of the model of the same algorithm that had the tag `stable`
    is_reverted: bool = False
    are_tags_right: bool = False  # whether the registry's tags were updated


class Experiment(Definition):
    """Two or more models, their shares of the users, and the duration. The unit is the user.

    Use `parse` to create one; the constructor raises pydantic's error.
    """

    name: ExperimentName  # also the salt of the assignment
    title: Title | None = None
    hypothesis: Hypothesis | None = None
    owner: Owner | None = None
    model_a: ModelName  # the baseline; a key, short name or tag of the registry
    model_b: ModelName  # the candidate
    model_c: ModelName | None = None  # further candidates
    model_d: ModelName | None = None
    model_e: ModelName | None = None
    model_f: ModelName | None = None
    model_g: ModelName | None = None
    model_h: ModelName | None = None
    traffic_split: Split = Field(default_factory=_empty)  # default: equal shares
    coverage: float = Field(default=1.0, gt=0.0, le=1.0, allow_inf_nan=False)  # share of the users who take part
    success_metric: Annotated[str, AfterValidator(_known_metric)] = "makespan"
    start_time: Moment
    duration_days: float = Field(default=DEFAULT_DURATION_DAYS, gt=0.0, le=MAX_DURATION_DAYS, allow_inf_nan=False)
    status: Status = "active"
    min_samples: Whole = Field(default=100, ge=2, le=10**9)
    alpha: float = Field(default=0.05, gt=0.0, lt=1.0, allow_inf_nan=False)
    margin: float = Field(default=DEFAULT_MARGIN, gt=0.0, lt=1.0, allow_inf_nan=False)  # of non-inferiority, a share
    guardrails: Margins = Field(default_factory=lambda: DEFAULT_MARGINS)  # name -> tolerated harm
    shadow: Annotated[float, BeforeValidator(_read_shadow)] = Field(default=0.0, ge=0.0, le=1.0, allow_inf_nan=False)
    forced_variants: Mapping[UserId, str] = Field(default_factory=_empty)  # testers, excluded from the results
    excluded_users: Annotated[tuple[UserId, ...], FromList] = ()  # they get the default model
    stopped_arms: Mapping[str, Moment] = Field(default_factory=_empty)  # candidate -> time of the stop
    rollout: Rollout | None = None
    promotion: Promotion | None = None
    last_transition: dict[str, Any] | None = None  # written together with the new state, for the history
    last_description: dict[str, Any] | None = None  # likewise, for the last change of title, hypothesis or owner
    archived_at: Moment | None = None  # only of archived experiments

    @model_validator(mode="before")
    @classmethod
    def _fill_in(cls, definition: object) -> object:
        """Add defaults: equal shares; a rollout starts with the experiment."""
        if not isinstance(definition, Mapping):
            return definition
        filled = {key: value for key, value in definition.items() if value is not None or key == "guardrails"}
        arms = [arm for arm in ARMS if arm in filled]
        if "traffic_split" not in filled and arms:
            filled["traffic_split"] = dict.fromkeys(arms, 1.0 / len(arms))
        rollout = filled.get("rollout")
        if isinstance(rollout, Mapping) and "start_time" in filled:
            filled["rollout"] = {"stage_since": filled["start_time"], **rollout}
        return filled

    @field_validator(*ARMS[1:])
    @classmethod
    def _another_model(cls, model: str | None, info: ValidationInfo) -> str | None:
        assert info.field_name is not None
        before = {arm: info.data.get(arm) for arm in ARMS[: ARMS.index(info.field_name)]}
        if model is None:
            return None
        for arm, other in before.items():
            if other is None and arm in info.data:
                raise invalid("arm_skipped", arm=info.field_name, missing=arm)
            if other == model:
                raise invalid("same_name", arms=[arm, info.field_name], model=model)
        return model

    @field_validator("traffic_split")
    @classmethod
    def _one_share_per_arm(cls, split: Mapping[str, float], info: ValidationInfo) -> Mapping[str, float]:
        arms = _arms(info)
        if arms is None:
            return split
        if set(split) != set(arms):
            raise invalid("split_keys", arms=list(arms), found=list(split))
        return MappingProxyType({arm: split[arm] for arm in arms})

    @field_validator("forced_variants")
    @classmethod
    def _known_arms(cls, forced: Mapping[str, str], info: ValidationInfo) -> Mapping[str, str]:
        arms = _arms(info) or ARMS
        for user, arm in forced.items():
            if arm not in arms:
                raise invalid("forced_arm", user=user, arm=arm, arms=list(arms))
        return MappingProxyType(dict(forced))

    @field_validator("stopped_arms")
    @classmethod
    def _only_candidates(cls, stopped: Mapping[str, datetime], info: ValidationInfo) -> Mapping[str, datetime]:
        candidates = (_arms(info) or ARMS)[1:]
        for arm in stopped:
            if arm not in candidates:
                raise invalid("not_a_candidate", arm=arm, known=list(candidates))
        return MappingProxyType({arm: stopped[arm] for arm in candidates if arm in stopped})

    @field_validator("rollout")
    @classmethod
    def _one_candidate(cls, rollout: Rollout | None, info: ValidationInfo) -> Rollout | None:
        if rollout is None:
            return None
        if len(_arms(info) or ()) > 2:
            raise invalid("rollout_one_candidate")
        if len(set(info.data.get("traffic_split", {}).values())) > 1:
            raise invalid("rollout_equal_arms")
        if info.data.get("coverage", 1.0) != 1.0:
            raise invalid("rollout_coverage")
        return rollout

    @classmethod
    def parse(cls, definition: Mapping[str, object], unknown: set[str] | None = None) -> "Experiment":
        """Parse a definition as in the file.

        Args:
            unknown: names that are not known are added to it, and ignored; None: they are refused.

        Raises:
            InvalidExperiment: it is invalid; `errors` has the places.
        """
        try:
            return cls.model_validate(definition, context=unknown)
        except ValidationError as err:
            raise refusal(err, cls, InvalidExperiment) from err

    def to_dict(self) -> dict[str, Any]:
        """JSON, as in the file and in the HTTP interface; rarely used members only if they are set."""
        members: dict[str, Any] = {
            "name": self.name,
            **self.models,
            "traffic_split": dict(self.traffic_split),
            "success_metric": self.success_metric,
            "start_time": to_iso(self.start_time),
            "duration_days": int(self.duration_days) if self.duration_days.is_integer() else self.duration_days,
            "status": self.status,
            "min_samples": self.min_samples,
            "alpha": self.alpha,
            "margin": self.margin,
            "guardrails": dict(self.guardrails),
        }
        optional = {
            **{name: getattr(self, name) for name in ABOUT},
            "coverage": self.coverage if self.coverage < 1.0 else None,
            "shadow": self.shadow or None,
            "forced_variants": dict(self.forced_variants) or None,
            "excluded_users": list(self.excluded_users) or None,
            "stopped_arms": {arm: to_iso(since) for arm, since in self.stopped_arms.items()} or None,
            "rollout": None if self.rollout is None else self.rollout.to_dict(),
            "promotion": None if self.promotion is None else self.promotion.model_dump(),
            "last_transition": self.last_transition,
            "archived_at": None if self.archived_at is None else to_iso(self.archived_at),
        }
        return members | {name: value for name, value in optional.items() if value is not None}

    @cached_property
    def models(self) -> Mapping[str, str]:
        """Arm -> model, in the order of the arms."""
        return MappingProxyType({arm: model for arm in ARMS if (model := getattr(self, arm)) is not None})

    @property
    def candidates(self) -> tuple[str, ...]:
        """All arms except the baseline, model_a."""
        return tuple(self.models)[1:]

    @property
    def running_candidates(self) -> tuple[str, ...]:
        """The candidates that are not in `stopped_arms`."""
        return tuple(arm for arm in self.candidates if arm not in self.stopped_arms)

    @cached_property
    def end_time(self) -> datetime:
        """The end of the assignment; pauses do not extend it."""
        return self.start_time + timedelta(days=self.duration_days)

    @property
    def is_open_ended(self) -> bool:
        """Whether the experiment has no planned end."""
        return self.duration_days >= MAX_DURATION_DAYS

    def status_at(self, now: datetime) -> Status:
        """The status at this time; an experiment without a running candidate is stopped."""
        if self.status in ("scheduled", "active", "paused"):
            if not self.running_candidates:
                return "stopped"
            if now >= self.end_time:
                return "completed"
        if self.status in ("scheduled", "active"):
            return "scheduled" if now < self.start_time else "active"
        return self.status

    def place_of(self, user_id: str) -> "Place":
        """The arm of a user, with the reason. Exclusions and forced arms take precedence over the hash."""
        if user_id in self._excluded:
            return Place(None, "excluded", None)
        if user_id in self.forced_variants:
            return self._place(self.forced_variants[user_id], "forced", None)
        number = bucket(self.name, user_id)
        index = choose(number, self._ranges)
        return Place(None, "outside", number) if index is None else self._place(self._arms[index], "hashed", number)

    @property
    def present_coverage(self) -> float:
        """Share of the users who take part now; in a rollout, twice the candidate's share."""
        return self.coverage if self.rollout is None else self.rollout.coverage

    @cached_property
    def split_now(self) -> str:
        """The current shares of the arms as recorded with each run, such as "0.9/0.1"; in a rollout "0.5/0.5"."""
        return "/".join(f"{share:g}" for share in self.split_at().values())

    def split_at(self, moment: datetime | None = None) -> Mapping[str, float]:
        """The shares of the arms at `moment` (None: now); 0 for an arm that was stopped before.

        The other shares are not increased: no user changes arms, so their ratios are unchanged.
        """
        stopped = {arm for arm, since in self.stopped_arms.items() if moment is None or since < moment}
        if not stopped:
            return self.traffic_split
        return {arm: 0.0 if arm in stopped else share for arm, share in self.traffic_split.items()}

    @property
    def ranges(self) -> Mapping[str, Range]:
        """Arm -> its current buckets, `[from, to)`."""
        return MappingProxyType(dict(zip(self.models, self._ranges, strict=True)))

    def _place(self, arm: str, why: Literal["hashed", "forced"], number: float | None) -> "Place":
        return Place(None, "stopped", number, arm) if arm in self.stopped_arms else Place(arm, why, number)

    @cached_property
    def _excluded(self) -> frozenset[str]:
        return frozenset(self.excluded_users)

    @cached_property
    def _arms(self) -> tuple[str, ...]:
        return tuple(self.models)

    @cached_property
    def _ranges(self) -> tuple[Range, ...]:
        return bucket_ranges(len(self.models), self.present_coverage, list(self.traffic_split.values()))


@dataclass(frozen=True, slots=True)
class Place:
    """The arm of a user; None for users who get the default model."""

    arm: str | None
    why: Literal["hashed", "forced", "excluded", "outside", "stopped"]  # outside: the bucket belongs to no arm
    bucket: float | None  # None if the user id was not hashed
    stopped_arm: str | None = None  # the user's arm before it was stopped


def _arms(info: ValidationInfo) -> tuple[str, ...] | None:
    """The arms during validation; None if one is invalid."""
    if any(arm not in info.data for arm in ARMS):
        return None
    return tuple(arm for arm in ARMS if info.data.get(arm) is not None)


OPTIONS = frozenset(
    {
        *(*ARMS[2:], *ABOUT, "coverage", "min_samples", "alpha", "margin", "guardrails", "shadow"),
        *("forced_variants", "excluded_users", "rollout"),
    }
)
"""The optional members of a new experiment."""


def explanation(experiment: Experiment, user_id: str, model: str, reason: str) -> dict[str, Any]:
    """The arm of a user with the reason, as JSON; `model` and `reason` are those of a request now."""
    place = experiment.place_of(user_id)
    ranges = {arm: list(pair) for arm, pair in experiment.ranges.items()}
    arm = place.arm or place.stopped_arm or ""
    low, high = ranges.get(arm, (None, None))
    known = {"user": user_id, "arm": arm, "bucket": place.bucket, "low": low, "high": high}
    known["coverage"] = experiment.present_coverage
    why = [Message(f"assignment.{place.why}", known)]
    if experiment.status != "active":
        why.append(Message("assignment.not_active", {"status": experiment.status}))
    return {
        "experiment": experiment.name,
        "status": experiment.status,
        "user_id": user_id,
        "variant": place.arm if experiment.status == "active" else None,
        "variant_while_active": place.arm,
        "stopped_arm": place.stopped_arm,
        "model": model,
        "reason": reason,
        "why": WORDS.say(*why),
        "why_text": [each.to_dict() for each in why],
        "bucket": place.bucket,
        "hash_version": 2,
        "coverage": experiment.present_coverage,
        "ranges": ranges,
    }


def parse_request(definition: Mapping[str, object]) -> Experiment:
    """Parse the definition of a new experiment; errors name `experiment_name`, the request's member for `name`.

    A rollout without `duration_days` is open-ended, so that it does not end before its promotion. In the file, the
    default is `DEFAULT_DURATION_DAYS` also for rollouts, so that finished ones do not run again.
    """
    if definition.get("duration_days") is None and definition.get("rollout") is not None:
        definition = {**definition, "duration_days": float(MAX_DURATION_DAYS)}
    try:
        return Experiment.parse(definition)
    except InvalidExperiment as err:
        each_at = [each.at(("experiment_name",)) if each.loc == ("name",) else each for each in err.each]
        raise InvalidExperiment.of(each_at) from err
