"""`ab_test_config.json`: the experiments and the default model, shared by all processes (see `documents`)."""

import copy
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from dataclasses import dataclass
from typing import Any, cast

from pydantic import Field, ValidationError, ValidationInfo, field_validator

from scheduler_env.validation import refusal
from scheduler_service.documents import Document, DocumentFile, parse
from scheduler_service.errors import InvalidExperiment, invalid
from scheduler_service.experiments.definition import Definition
from scheduler_service.experiments.experiment import Experiment, ModelName
from scheduler_service.store.change import Store

__all__ = ["DEFAULT_MODEL", "ConfigFile", "ConfigView", "Document", "Snapshot", "parse", "validate"]

NAME = "ab_test_config.json"
DEFAULT_MODEL = "DDQN_v2.0"
"""The better one of the delivered models; used if there is no file."""

_CHANGE = frozenset({"id", "time", "before", "after", "actor", "reason"})
_CODED = frozenset({"code", "params"})
"""Further members if an experiment made the change: of its reason."""


class _Schema(Definition):
    experiments: dict[str, Experiment] = Field(default_factory=dict)
    default_model: ModelName = DEFAULT_MODEL
    default_change: dict[str, Any] | None = None  # the last one made by the service

    @field_validator("default_change")
    @classmethod
    def _whole(cls, change: dict[str, Any] | None, info: ValidationInfo) -> dict[str, Any] | None:
        is_whole = change is None or set(change) in (_CHANGE, _CHANGE | _CODED)
        if not is_whole and (info.context is None or not set(change or ()) >= _CHANGE):
            raise invalid("members_of_change", members=sorted(_CHANGE))
        return change

    @field_validator("experiments", mode="before")
    @classmethod
    def _named_by_key(cls, value: object) -> object:
        if not isinstance(value, dict):
            return value
        for key, entry in value.items():
            if isinstance(entry, dict) and entry.get("name", key) != key:
                raise invalid("key_differs", key=key, name=str(entry["name"])[:200])
            if isinstance(entry, dict) and "archived_at" in entry:
                raise invalid("archived_at_given", experiment=key)
        return {key: {"name": key, **entry} if isinstance(entry, dict) else entry for key, entry in value.items()}


@dataclass(frozen=True)
class Snapshot:
    """One valid state of the file."""

    document: Document  # the complete JSON; never changed
    experiments: Mapping[str, Experiment]
    default_model: str
    default_change: Mapping[str, Any] | None = None


class ConfigFile(DocumentFile[Snapshot]):
    """The document. A missing file means no experiments and `DEFAULT_MODEL`; comments (`_...`) are kept."""

    def __init__(
        self, store: Store, name: str = NAME, *, approve: Callable[[Snapshot, Snapshot], None] | None = None
    ) -> None:
        """`approve(before, after)` is called with the file locked before a change is written; it raises to refuse."""
        initial = validate({"experiments": {}, "default_model": DEFAULT_MODEL})
        super().__init__(store, name, validate, initial, approve=approve, too_large=InvalidExperiment)


class ConfigView(MutableMapping[str, Any]):
    """The file's JSON as a mapping: assigning or deleting a key on any level changes the file.

    Reads show the current file. Objects are views themselves; lists are copies.

    Raises (on assignment and deletion):
        InvalidExperiment: the file would become invalid.
    """

    def __init__(self, file: ConfigFile, path: tuple[str, ...] = ()) -> None:
        self._file = file
        self._path = path

    def __getitem__(self, key: str) -> Any:
        value = self._node(self._file.current().document)[key]
        return ConfigView(self._file, (*self._path, key)) if isinstance(value, dict) else copy.deepcopy(value)

    def __setitem__(self, key: str, value: Any) -> None:
        plain = _plain(value)
        self._file.update(lambda document: self._node(document).__setitem__(key, plain))

    def __delitem__(self, key: str) -> None:
        self._file.update(lambda document: self._node(document).__delitem__(key))

    def __iter__(self) -> Iterator[str]:
        return iter(list(self._node(self._file.current().document)))

    def __len__(self) -> int:
        return len(self._node(self._file.current().document))

    def __repr__(self) -> str:
        return repr(_plain(self))

    def _node(self, document: Document) -> Document:
        node: Any = document
        for key in self._path:
            node = node[key]
        return cast(Document, node)


def validate(document: object, unknown: set[str] | None = None) -> Snapshot:
    """Parse the file's JSON.

    Args:
        unknown: names that are not known are added to it, and ignored; None: they are refused.

    Raises:
        InvalidExperiment: it does not have the documented format; `errors` has the places.
    """
    if not isinstance(document, dict):
        raise InvalidExperiment("config_not_object")
    try:
        schema = _Schema.model_validate(document, context=unknown)
    except ValidationError as err:
        raise refusal(err, _Schema, InvalidExperiment) from err
    return Snapshot(document, schema.experiments, schema.default_model, schema.default_change)


def _plain(value: Any) -> Any:
    return {key: _plain(item) for key, item in value.items()} if isinstance(value, Mapping) else value
