"""The record of a model, the transitions of its status, and the JSON values that the registry accepts. Pure."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Literal, get_args

from scheduler_env.values import shortened
from scheduler_service.errors import InvalidInput, InvalidTransition
from scheduler_service.registry.names import Version, parse_version, parse_versioned
from scheduler_service.registry.validation import Flag, flags
from scheduler_service.words import WORDS

Status = Literal["registered", "validated", "deployed", "retired"]
STATUSES: tuple[Status, ...] = get_args(Status)

MOVES: Mapping[Status, tuple[Status, ...]] = {
    "registered": ("validated", "retired"),
    "validated": ("deployed", "retired"),
    "deployed": ("retired",),
    "retired": ("validated",),
}
"""Allowed promotions. A rollback makes two further transitions: the version it leaves becomes `validated`, the version
it returns to becomes `deployed`."""

MAX_TEXT = 10_000
"""Longest description, author or reason, in characters."""
MAX_JSON_DEPTH = 32
MAX_JSON_VALUES = 10_000


@dataclass(frozen=True, slots=True)
class ModelRecord:
    """One registered model; stored in `metadata/<model_key>.json`, except for the tags, which are in `tags.json`."""

    model_key: str
    algorithm: str
    version: str
    status: Status
    performance: Mapping[str, Any]  # as claimed at registration
    created_at: str  # ISO-8601, UTC
    created_by: str
    description: str
    training_params: Mapping[str, Any]
    sha256: str  # of the weights file
    size_bytes: int
    signature: Mapping[str, Any]  # format, features and hidden layers of the weights
    status_since: str  # ISO-8601, UTC
    verified_metrics: Mapping[str, Any] = field(default_factory=dict)  # measured at registration: `validation.measure`
    validation: Mapping[str, Any] = field(default_factory=dict)  # measured at the last validation; empty before it
    lineage: Mapping[str, Any] = field(default_factory=dict)  # parent, training_data_seed, code_version, config
    tags: tuple[str, ...] = ()  # bare: `stable`, not `DDQN:stable`; sorted

    def __post_init__(self) -> None:
        if self.status not in STATUSES:
            raise InvalidInput("unknown_model_status", ("status",), status=shortened(self.status), known=STATUSES)
        if parse_versioned(self.model_key) is None:
            raise InvalidInput("not_a_model_key", ("model_key",), key=shortened(self.model_key))

    @property
    def config_hash(self) -> str:
        name = parse_versioned(self.model_key)
        return name.config_hash if name and name.config_hash else ""

    @property
    def parsed_version(self) -> Version:
        return parse_version(self.version)

    def figure(self, metric: str) -> float | None:
        """The metric as measured at registration, else as claimed; None without a number."""
        for figures in (self.verified_metrics, self.performance):
            value = figures.get(metric)
            if isinstance(value, int | float) and not isinstance(value, bool):
                return value
        return None

    @property
    def flags(self) -> tuple[Flag, ...]:
        """The claims in `performance` that differ strongly from the measured values."""
        return flags(self.performance, self.verified_metrics)

    def to_dict(self) -> dict[str, Any]:
        """The model as the API shows it; JSON-able."""
        shown = {name: getattr(self, name) for name in MEMBERS}
        return shown | {"tags": list(self.tags), "flags": [flag.to_dict() for flag in self.flags]}

    def to_stored(self) -> dict[str, Any]:
        """The content of the metadata file."""
        return {name: getattr(self, name) for name in MEMBERS}

    @classmethod
    def from_stored(cls, stored: Mapping[str, Any]) -> "ModelRecord":
        """The record of a metadata file; members of later versions are ignored.

        Raises:
            KeyError: a member is missing that every version writes.
            InvalidInput: a member has an invalid value.
        """
        return cls(**{name: stored[name] for name in MEMBERS if name in stored or name not in _OPTIONAL})


MEMBERS = tuple(member.name for member in fields(ModelRecord) if member.name != "tags")
_OPTIONAL = frozenset({"verified_metrics", "validation", "lineage"})


def stable_elsewhere(record: ModelRecord, default: str | None) -> str:
    """The notice for a model that is stable but is not the default model."""
    return WORDS.text("errors.stable_elsewhere", stable_elsewhere_params(record, default))


def stable_elsewhere_params(record: ModelRecord, default: str | None) -> dict[str, str]:
    """The parameters of `stable_elsewhere`, whose code is `stable_elsewhere`."""
    return {"model": record.model_key, "algorithm": record.algorithm, "default": default or "–"}


def check_status(status: str) -> Status:
    """`status` if it is valid; else InvalidInput."""
    for known in STATUSES:
        if status == known:
            return known
    raise InvalidInput("unknown_model_status", ("status",), status=shortened(status), known=STATUSES)


def check_text(name: str, value: str) -> str:
    """`value` if it is a text that can be stored; else InvalidInput."""
    if not isinstance(value, str) or len(value) > MAX_TEXT or not _is_unicode(value):
        raise InvalidInput("not_a_unicode_text", (name,), limit=MAX_TEXT)
    return value


def check_move(record: ModelRecord, status: Status) -> None:
    """Check that the model's status allows the promotion.

    Raises:
        InvalidTransition: the text lists the allowed transitions.
    """
    if status not in MOVES[record.status]:
        raise InvalidTransition(
            "move_not_allowed",
            model=record.model_key,
            status=record.status,
            allowed=MOVES[record.status],
            wanted=status,
        )


def plain_object(name: str, value: object) -> dict[str, Any]:
    """`value` as a JSON object of plain values; NumPy scalars become numbers.

    Raises:
        InvalidInput: not an object, not JSON, a number that is not finite, or too large; `errors` has the location.
    """
    if not isinstance(value, Mapping):
        raise InvalidInput("not_a_json_object", (name,))
    budget = [MAX_JSON_VALUES]
    plain: dict[str, Any] = _plain(value, (name,), budget)
    return plain


def _plain(value: object, loc: tuple[str | int, ...], budget: list[int]) -> Any:
    budget[0] -= 1
    if budget[0] < 0 or len(loc) > MAX_JSON_DEPTH:
        raise InvalidInput("too_many_values", loc[:1], limit=MAX_JSON_VALUES, levels=MAX_JSON_DEPTH)
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        if not _is_unicode(value):
            raise InvalidInput("half_surrogate", loc)
        return value
    if isinstance(value, int):
        if abs(value) >= 2**63:
            raise InvalidInput("above_64_bits", loc)
        return int(value)
    if isinstance(value, float):
        if not math.isfinite(value):
            raise InvalidInput("finite_number", loc)
        return float(value)
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str) or not _is_unicode(key):
                raise InvalidInput("name_not_unicode", loc, name=shortened(key))
        return {key: _plain(value[key], (*loc, key), budget) for key in value}
    if isinstance(value, Sequence) and not isinstance(value, bytes | bytearray):
        return [_plain(member, (*loc, index), budget) for index, member in enumerate(value)]
    if hasattr(value, "item") and getattr(value, "ndim", None) == 0:
        return _plain(value.item(), loc, budget)
    raise InvalidInput("not_a_json_value", loc, found=type(value).__name__)


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:  # JSON may contain half of a surrogate pair; UTF-8 files cannot
        return False
    return True
