"""All records and tags at one moment, with name resolution. Immutable, so threads share it without a lock."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import cached_property

from scheduler_env.values import shortened
from scheduler_service.errors import AmbiguousModelName, InvalidInput, ModelNotFound, ServiceError
from scheduler_service.registry.names import parse_versioned, split_tag
from scheduler_service.registry.records import ModelRecord
from scheduler_service.stats.metrics import ALIASES, METRICS, metric_named


class Index:
    """The registry's content at one moment.

    Attributes:
        records: by model key.
        tags: `DDQN:stable` -> model key; tags of deleted models are omitted.
    """

    def __init__(self, records: Iterable[ModelRecord], tags: Mapping[str, str]) -> None:
        stored = {record.model_key: record for record in records}
        self.tags = {tag: key for tag, key in tags.items() if key in stored}
        borne: dict[str, list[str]] = {}
        for tag, key in sorted(self.tags.items()):
            borne.setdefault(key, []).append(tag.rpartition(":")[2])
        self.records = {
            key: replace(record, tags=tuple(borne[key])) if key in borne else record for key, record in stored.items()
        }
        self._resolved: dict[str, str] = {}

    @cached_property
    def newest_first(self) -> tuple[ModelRecord, ...]:
        """All records, newest first; with equal times, the higher version first."""
        return tuple(
            sorted(self.records.values(), key=lambda record: (record.created_at, record.parsed_version), reverse=True)
        )

    def of_algorithm(self, algorithm: str) -> tuple[ModelRecord, ...]:
        """The algorithm's records, newest first."""
        return tuple(record for record in self.newest_first if record.algorithm == algorithm)

    def resolve(self, name: str) -> str:
        """The key of the model that `name` (a key, a short name or a tag) refers to now.

        Raises:
            ModelNotFound: no model has this name.
            AmbiguousModelName: several models match; the text lists them.
        """
        key = self._resolved.get(name)
        if key is None:
            # Only names that resolve are cached, so unknown names cannot fill the memory.
            key = self._resolved[name] = self._search(name)
        return key

    def find(self, name: str) -> str | None:
        """As `resolve`; None instead of an error."""
        try:
            return self.resolve(name)
        except ServiceError:
            return None

    def resolve_oldest(self, name: str) -> str:
        """As `resolve`, for a name in a configuration: of several matching models, the one registered first.

        That is the model which the name meant when it was written; a patch release must not make it ambiguous.
        """
        try:
            return self.resolve(name)
        except AmbiguousModelName:
            return min(self.candidates(name), key=lambda key: self.records[key].created_at)

    def candidates(self, name: str) -> list[str]:
        """The keys of all models that `name` may refer to, older versions first."""
        if name in self.records:
            return [name]
        wanted = parse_versioned(name)
        if wanted is None:
            return [key for tag, key in self.tags.items() if name in (tag, tag.rpartition(":")[2])]
        return [
            record.model_key
            for record in sorted(self.records.values(), key=lambda record: record.parsed_version)
            if record.algorithm == wanted.algorithm
            and wanted.config_hash in (None, record.config_hash)
            and record.parsed_version[: len(wanted.numbers)] == wanted.numbers
        ]

    def best(self, algorithm: str, metric: str) -> ModelRecord:
        """See `ModelVersionManager.get_best_model`."""
        try:
            lower_is_better = metric_named(metric).lower_is_better
        except KeyError as err:
            raise InvalidInput("unknown_metric", metric=shortened(metric), known=[*METRICS, *ALIASES]) from err
        values = [
            (value if lower_is_better else -value, record)
            for record in self.of_algorithm(algorithm)
            if record.status != "retired" and (value := record.figure(metric)) is not None
        ]
        if not values:
            raise ModelNotFound("no_model_with_metric", algorithm=shortened(algorithm), metric=metric)
        return min(values, key=lambda value: value[0])[1]

    def find_tag(self, name: str) -> str:
        """The full form (`DDQN:stable`) of a tag, given in full or bare.

        Raises:
            ModelNotFound: no model has the tag.
            AmbiguousModelName: models of several algorithms have it.
        """
        algorithm, bare = split_tag(name)
        found = [tag for tag in self.tags if (tag == name if algorithm else tag.rpartition(":")[2] == bare)]
        return _only(name, sorted(found))

    def _search(self, name: str) -> str:
        if name in self.records or parse_versioned(name) is not None:
            return _only(name, self.candidates(name))
        try:
            return self.tags[self.find_tag(name)]
        except InvalidInput as err:  # not a valid tag either
            raise _not_found(name) from err


def _only(name: str, candidates: list[str]) -> str:
    if not candidates:
        raise _not_found(name)
    if len(candidates) > 1:
        raise AmbiguousModelName("ambiguous_model", name=shortened(name), candidates=candidates)
    return candidates[0]


def _not_found(name: str) -> ModelNotFound:
    return ModelNotFound("no_such_model", name=shortened(name)[1:-1])
