"""Validated registration requests, and the cards of the seed models. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, get_args

from scheduler_env.values import shortened
from scheduler_service.errors import InvalidInput, ModelConflict
from scheduler_service.registry.index import Index
from scheduler_service.registry.names import (
    LATEST,
    STABLE,
    Bump,
    Version,
    check_algorithm,
    hash_of_config,
    parse_version,
    split_tag,
)
from scheduler_service.registry.records import ModelRecord, Status, check_status, check_text, plain_object
from scheduler_service.registry.weights import LOADERS


@dataclass(frozen=True, slots=True)
class Draft:
    """A validated registration whose weights have not been examined."""

    algorithm: str
    training_params: Mapping[str, Any]
    performance: Mapping[str, Any]
    description: str
    created_by: str
    version: Version | None
    bump: Bump | None
    tags: tuple[str, ...]  # bare
    status: Status = "registered"
    lineage: Mapping[str, Any] = field(default_factory=dict)


LINEAGE = ("parent", "training_data_seed", "code_version")
"""Provenance fields of a registration; `parent` is the model from which the training started."""


def new_draft(
    algorithm_name: str,
    training_params: object,
    performance_metrics: object,
    description: str,
    created_by: str,
    version: str | None,
    bump: str | None,
    tags: Sequence[str],
    lineage: Mapping[str, Any] | None = None,
    status: Status = "registered",
) -> Draft:
    """The validated registration.

    Raises:
        InvalidInput: an unknown algorithm, bump, tag or lineage field, or parameters that are not JSON or not finite.
    """
    check_algorithm(algorithm_name, LOADERS)
    if bump not in (None, *get_args(Bump)):
        raise InvalidInput("literal_error", ("bump",), expected=get_args(Bump), value=shortened(bump))
    if version is not None and bump is not None:
        raise InvalidInput("version_and_bump", ("bump",))
    bare_tags = []
    for tag in tags:
        algorithm, bare = split_tag(tag)
        if algorithm not in (None, algorithm_name):
            raise InvalidInput("tag_of_other_algorithm", ("tags",), tag=tag, algorithm=algorithm_name)
        if bare == STABLE and status != "deployed":
            raise InvalidInput("stable_not_deployed", ("tags",), status=status)
        bare_tags.append(bare)
    origin = plain_object("lineage", lineage or {})
    if unknown := sorted(origin.keys() - set(LINEAGE)):
        raise InvalidInput("unknown_lineage", ("lineage", unknown[0]), known=LINEAGE)
    if not isinstance(origin.get("parent"), str | None):
        raise InvalidInput("string_type", ("lineage", "parent"), value=shortened(origin["parent"]))
    return Draft(
        algorithm=algorithm_name,
        training_params=plain_object("training_params", training_params),
        performance=plain_object("performance_metrics", performance_metrics),
        description=check_text("description", description),
        created_by=check_text("created_by", created_by),
        version=None if version is None else parse_version(version),
        bump=bump,  # type: ignore[arg-type]  # checked above
        tags=tuple(bare_tags),
        status=status,
        lineage=origin,
    )


def seed_draft(card: Mapping[str, Any]) -> Draft:
    """The registration in a seed's card; KeyError if a member is missing."""
    return new_draft(
        card["algorithm_name"],
        card["training_params"],
        card["performance_metrics"],
        card["description"],
        card["created_by"],
        card["version"],
        None,
        card["tags"],
        card.get("lineage"),
        check_status(card["status"]),
    )


def full_lineage(draft: Draft, parent_key: str | None, training: Mapping[str, Any]) -> dict[str, Any]:
    """The provenance of a model: as stated, else from the training data in its file, else None."""
    config = training.get("config")
    seed = config.get("seed") if isinstance(config, Mapping) else training.get("seed")
    return {
        "parent": parent_key,
        "training_data_seed": draft.lineage.get("training_data_seed", seed),
        "code_version": draft.lineage.get("code_version", training.get("code_version")),
        "config": config,
    }


def same_model(index: Index, draft: Draft, sha256: str) -> str | None:
    """The key under which the same weights and parameters are already registered, if any."""
    config_hash = hash_of_config(draft.training_params)
    for record in index.of_algorithm(draft.algorithm):
        if (record.sha256, record.config_hash) == (sha256, config_hash):
            if draft.version not in (None, record.parsed_version):
                raise ModelConflict("same_weights", model=record.model_key)
            return record.model_key
    return None


def seed_may_have_tag(index: Index, seed: ModelRecord, tag: str) -> bool:
    """Whether a shipped model may get `tag`: it is free, or it is `latest` and its model has a lower version."""
    holder = index.tags.get(f"{seed.algorithm}:{tag}")
    if holder is None:
        return True
    return tag == LATEST and index.records[holder].parsed_version < seed.parsed_version
