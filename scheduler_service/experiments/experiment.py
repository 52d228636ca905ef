"""What an experiment is: frozen, born valid, in the words of the guide's `ab_test_config.json`."""

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

from scheduler_env.validation import Whole, invalid, refusal
from scheduler_service.clock import to_iso
from scheduler_service.errors import InvalidExperiment
from scheduler_service.experiments.about import ABOUT, Hypothesis, Owner, Title
from scheduler_service.experiments.assignment import Range, bucket, bucket_ranges, choose
from scheduler_service.experiments.definition import Definition
from scheduler_service.experiments.lifecycle import Status
from scheduler_service.experiments.moment import Moment
from scheduler_service.experiments.rollout import Rollout
from scheduler_service.stats.arms import ARMS
from scheduler_service.stats.guardrails import DEFAULT_MARGINS, GUARDRAILS
from scheduler_service.stats.metrics import ALIASES, METRICS, metric_named
from scheduler_service.stats.verdict import DEFAULT_MARGIN

SPLIT_TOLERANCE = 1e-9
DEFAULT_DURATION_DAYS = 7.0
MAX_DURATION_DAYS = 3_650
"""An experiment of so many days is open-ended: it runs until it is promoted, aborted or ended by a person."""
MAX_MARGIN = 100.0


def _known_metric(name: str) -> str:
    if name not in METRICS and name not in ALIASES:
        raise invalid("unknown_metric", metric=repr(name), known=[*METRICS, *ALIASES])
    return metric_named(name).name


def _nothing() -> Mapping[str, Any]:
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
    """`true` and what is left out stand for the default margins; null and `{}` for none, a null margin for none."""
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
    """A candidate that became the default model. The registry's tags follow the file; a kill may come in between."""

    arm: str
    model: str  # key of the candidate, the default model since then
    previous_default: str  # as it was configured
    previous_stable: str | None = None  # key of the model of the same algorithm that bore `stable`
    is_reverted: bool = False
    are_tags_right: bool = False


class Experiment(Definition):
    """Two or more models, the share of the users that each gets, and for how long. The unit is the user.

    `parse` builds one from the file's or a request's words; the constructor itself raises pydantic's error.
    """

    name: ExperimentName  # also the salt of the assignment
    title: Title | None = None
    hypothesis: Hypothesis | None = None  # what is expected to come out
    owner: Owner | None = None  # whom to ask
    model_a: ModelName  # the baseline; a key, short name or tag of the registry, as it was given
    model_b: ModelName  # the candidate
    model_c: ModelName | None = None  # further candidates
    model_d: ModelName | None = None
    model_e: ModelName | None = None
    model_f: ModelName | None = None
    model_g: ModelName | None = None
    model_h: ModelName | None = None
    traffic_split: Split = Field(default_factory=_nothing)  # equal shares of all arms if left out
    coverage: float = Field(default=1.0, gt=0.0, le=1.0, allow_inf_nan=False)  # share of the users that take part
    success_metric: Annotated[str, AfterValidator(_known_metric)] = "makespan"
    start_time: Moment
    duration_days: float = Field(default=DEFAULT_DURATION_DAYS, gt=0.0, le=MAX_DURATION_DAYS, allow_inf_nan=False)
    status: Status = "active"
    min_samples: Whole = Field(default=100, ge=2, le=10**9)
    alpha: float = Field(default=0.05, gt=0.0, lt=1.0, allow_inf_nan=False)
    margin: float = Field(default=DEFAULT_MARGIN, gt=0.0, lt=1.0, allow_inf_nan=False)  # of non-inferiority, a share
    guardrails: Margins = Field(default_factory=lambda: DEFAULT_MARGINS)  # name -> harm that is put up with
    shadow: Annotated[float, BeforeValidator(_read_shadow)] = Field(default=0.0, ge=0.0, le=1.0, allow_inf_nan=False)
    forced_variants: Mapping[UserId, str] = Field(
        default_factory=_nothing
    )  # testers; their runs are left out of the results
    excluded_users: tuple[UserId, ...] = ()  # they get the default model
    stopped_arms: Mapping[str, Moment] = Field(default_factory=_nothing)  # candidate -> since when nobody gets it
    rollout: Rollout | None = None
    promotion: Promotion | None = None
    last_transition: dict[str, Any] | None = None  # written with the state it led to, so that a kill loses no line
    last_description: dict[str, Any] | None = None  # likewise, of the last change of title, hypothesis or owner
    archived_at: Moment | None = None  # since when it is in the archive and not in the configuration

    @field_validator("excluded_users", mode="before")
    @classmethod
    def _tuple(cls, value: object) -> object:
        return tuple(value) if isinstance(value, list) else value

    @model_validator(mode="before")
    @classmethod
    def _fill_in(cls, definition: object) -> object:
        """Equal shares where none are given; a rollout begins with the experiment."""
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
    def parse(cls, definition: Mapping[str, object]) -> "Experiment":
        """The experiment that `definition` describes, in the words of the file.

        Raises:
            InvalidExperiment: it cannot work; `errors` says where.
        """
        try:
            return cls.model_validate(definition)
        except ValidationError as err:
            raise refusal(err, cls, InvalidExperiment) from err

    def to_dict(self) -> dict[str, Any]:
        """The words of the file and of the HTTP interface, as JSON; rare ones only where they are used."""
        words: dict[str, Any] = {
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
        return words | {name: value for name, value in optional.items() if value is not None}

    @cached_property
    def models(self) -> Mapping[str, str]:
        """Arm -> model, in the order of the arms."""
        return MappingProxyType({arm: model for arm in ARMS if (model := getattr(self, arm)) is not None})

    @property
    def candidates(self) -> tuple[str, ...]:
        """The arms that are compared with the baseline, model_a."""
        return tuple(self.models)[1:]

    @property
    def running_candidates(self) -> tuple[str, ...]:
        """The candidates that were not stopped by themselves."""
        return tuple(arm for arm in self.candidates if arm not in self.stopped_arms)

    @cached_property
    def end_time(self) -> datetime:
        """From here on nobody is assigned. Pauses do not prolong an experiment."""
        return self.start_time + timedelta(days=self.duration_days)

    @property
    def is_open_ended(self) -> bool:
        """Whether `end_time` is so far away that nobody need reckon with it."""
        return self.duration_days >= MAX_DURATION_DAYS

    def status_at(self, now: datetime) -> Status:
        """The status when the clock is taken into account; without a running candidate an experiment is stopped."""
        if self.status in ("scheduled", "active", "paused"):
            if not self.running_candidates:
                return "stopped"
            if now >= self.end_time:
                return "completed"
        if self.status in ("scheduled", "active"):
            return "scheduled" if now < self.start_time else "active"
        return self.status

    def place_of(self, user_id: str) -> "Place":
        """Where a user falls and why. Testers and exclusions come before the hash."""
        if user_id in self._excluded:
            return Place(None, "excluded", None)
        if user_id in self.forced_variants:
            return self._place(self.forced_variants[user_id], "forced", None)
        number = bucket(self.name, user_id)
        index = choose(number, self._ranges)
        return Place(None, "outside", number) if index is None else self._place(self._arms[index], "hashed", number)

    @property
    def present_coverage(self) -> float:
        """Share of the users that take part now; while ramping, twice the candidate's share."""
        return self.coverage if self.rollout is None else self.rollout.coverage

    @cached_property
    def split_now(self) -> str:
        """The shares of the arms in their order, joined by "/", as each run records them: "0.9/0.1".

        Those of `split_at` now, six digits each: a rollout's are "0.5/0.5" at every stage.
        """
        return "/".join(f"{share:g}" for share in self.split_at().values())

    def split_at(self, moment: datetime | None = None) -> Mapping[str, float]:
        """The shares of the arms at `moment` (None: now): as asked for, 0 of an arm that was stopped before.

        The others' are not raised to add up to 1, since nobody changes arms: the ratio of any two stays what it was.
        """
        gone = {arm for arm, since in self.stopped_arms.items() if moment is None or since < moment}
        if not gone:
            return self.traffic_split
        return {arm: 0.0 if arm in gone else share for arm, share in self.traffic_split.items()}

    @property
    def ranges(self) -> Mapping[str, Range]:
        """Arm -> its buckets now, `[from, to)`."""
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
    """Where a user falls: the arm, or None for one who takes no part and gets the default model."""

    arm: str | None
    why: Literal["hashed", "forced", "excluded", "outside", "stopped"]  # outside: of the buckets that take part
    bucket: float | None  # None where nothing was hashed
    stopped_arm: str | None = None  # where they were before it was stopped


def _arms(info: ValidationInfo) -> tuple[str, ...] | None:
    """The arms of an experiment that is being read; None while the name of one is wrong."""
    if any(arm not in info.data for arm in ARMS):
        return None
    return tuple(arm for arm in ARMS if info.data.get(arm) is not None)


OPTIONS = frozenset(
    {
        *ARMS[2:],
        *ABOUT,
        "coverage",
        "min_samples",
        "alpha",
        "margin",
        "guardrails",
        "shadow",
        "forced_variants",
        "excluded_users",
        "rollout",
    }
)
"""What may be said of a new experiment beside the arms, their shares, the metric and the days."""


def explanation(experiment: Experiment, user_id: str, model: str, reason: str) -> dict[str, Any]:
    """Where a user falls and why, as JSON; `model` and `reason` are what a request gets now."""
    place = experiment.place_of(user_id)
    ranges = {arm: list(pair) for arm, pair in experiment.ranges.items()}
    told = {
        "forced": f"{user_id!r} is a tester whom the experiment forces into {place.arm}; left out of the results",
        "excluded": f"{user_id!r} is on the list of excluded users",
        "hashed": f"bucket {place.bucket} of {user_id!r} lies within {place.arm}'s {ranges.get(place.arm or '')}",
        "outside": f"bucket {place.bucket} of {user_id!r} lies in no arm's range: only a share of "
        f"{experiment.present_coverage:g} of the users takes part",
        "stopped": f"{user_id!r} belongs to {place.stopped_arm}, which is stopped; its users get the default model",
    }[place.why]
    now = "" if experiment.status == "active" else f"; the experiment is {experiment.status}, so the default answers"
    return {
        "experiment": experiment.name,
        "status": experiment.status,
        "user_id": user_id,
        "variant": place.arm if experiment.status == "active" else None,
        "variant_while_active": place.arm,
        "stopped_arm": place.stopped_arm,
        "model": model,
        "reason": reason,
        "why": told + now,
        "bucket": place.bucket,
        "hash_version": 2,
        "coverage": experiment.present_coverage,
        "ranges": ranges,
    }


def asked_for(definition: Mapping[str, object]) -> Experiment:
    """As `Experiment.parse`, of a caller's definition: its errors say `experiment_name`, where the file says `name`.

    Without `duration_days` a rollout is open-ended: a ramp must not end before its promotion because nobody thought of
    it. In a file that leaves it out, as in any experiment without a rollout, it is `DEFAULT_DURATION_DAYS`: what was
    over before this rule must not run again.
    """
    if definition.get("duration_days") is None and definition.get("rollout") is not None:
        definition = {**definition, "duration_days": float(MAX_DURATION_DAYS)}
    try:
        return Experiment.parse(definition)
    except InvalidExperiment as err:
        asked = [each.at(("experiment_name",)) if each.loc == ("name",) else each for each in err.each]
        raise InvalidExperiment.of(asked) from err
